# -*- coding: utf-8 -*-
"""Who plays the scenarios: clients that nobody here wrote.

A player has ``at(gateway)``, a context manager for a stage. Its ``begin(scenario, **settings)`` gives a
function that waits for the result; ``run`` does both.
"""

import contextlib
import json
import os
import struct
import subprocess
import sys
import threading

import websocket

import scenarios
from chromium import running_chromium
from installed import needs, needs_node_modules

LIVE = os.path.dirname(os.path.abspath(__file__))
PAGES = os.path.join(LIVE, 'pages')
SECONDS = 30
OFFER = 'Sec-WebSocket-Extensions: permessage-deflate'


class WebSocketClient(object):
    """The package websocket-client as a client of scenarios.py."""

    code = None

    def __init__(self, url):
        # It checks UTF-8 byte by byte in Python, which would take most of the time.
        self._socket = websocket.create_connection(url, timeout=SECONDS, header=[OFFER],
                                                   skip_utf8_validation=True, http_no_proxy=['127.0.0.1'])
        self.extensions = self._socket.getheaders().get('sec-websocket-extensions', '')

    def send_text(self, text):
        self._socket.send(text)

    def send_binary(self, data):
        self._socket.send_binary(data)

    def receive(self):
        opcode, data = self._socket.recv_data()
        if opcode == websocket.ABNF.OPCODE_CLOSE:
            self.code = struct.unpack('!H', data[:2])[0] if data else 1005
            raise EOFError(self.code)
        return data.decode('utf-8') if opcode == websocket.ABNF.OPCODE_TEXT else data

    def close(self, code):
        self._socket.send_close(code)
        scenarios.read_to_end(self)

    def end(self):
        self._socket.shutdown()


class Stage(object):
    """Where a player plays."""

    def end(self):
        """Nothing of its own is left by most."""

    def run(self, scenario, **settings):
        return self.begin(scenario, **settings)()


class PythonStage(Stage):
    """Plays in a thread."""

    def __init__(self, open_client):
        self._open_client = open_client

    def begin(self, scenario, **settings):
        outcome = {}

        def play():
            try:
                outcome['result'] = getattr(scenarios, scenario)(self._open_client, **settings)
            except Exception as error:
                outcome['error'] = error

        def result():
            thread.join(3 * SECONDS)
            assert not thread.is_alive(), 'the scenario does not end'
            if 'error' in outcome:
                raise outcome['error']
            return outcome['result']

        thread = threading.Thread(target=play)
        thread.daemon = True
        thread.start()
        return result


class NodeStage(Stage):
    """Plays in a process of its own, which ``script`` directs."""

    def __init__(self, program, modules, script='node_client.js'):
        self._program, self._environment = program, dict(os.environ, NODE_PATH=modules)
        self._script = os.path.join(LIVE, script)
        self._unfinished = []

    def begin(self, scenario, **settings):
        process = subprocess.Popen(
            [self._program, self._script, scenario, json.dumps(settings)],
            env=self._environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, close_fds=True)
        self._unfinished.append(process)
        return lambda: self._result(process)

    def _result(self, process):
        self._unfinished.remove(process)
        killer = threading.Timer(3 * SECONDS, process.kill)
        killer.start()
        try:
            output, errors = process.communicate()
        finally:
            killer.cancel()
            killer.join()
        assert process.returncode == 0, errors.decode('utf-8')
        return json.loads(output.decode('utf-8'))

    def end(self):
        while self._unfinished:
            process = self._unfinished.pop()
            process.kill()
            process.communicate()


class Player(object):
    """Whose stage is the same everywhere."""

    def __init__(self, stage):
        self._stage = stage

    @contextlib.contextmanager
    def at(self, gateway):
        try:
            yield self._stage
        finally:
            self._stage.end()


class ChromiumPlayer(object):
    """Plays in a page that the gateway itself serves."""

    def __init__(self, browser):
        self._browser = browser

    def at(self, gateway):
        return self._browser.page('http://%s:%d/' % tuple(gateway.address))


@contextlib.contextmanager
def websocket_client():
    yield Player(PythonStage(WebSocketClient))


@contextlib.contextmanager
def websockets():
    from websockets_client import WebsocketsClient  # not for Python 2
    yield Player(PythonStage(WebsocketsClient))


@contextlib.contextmanager
def node():
    yield Player(NodeStage(needs('node', 'nodejs npm'), needs_node_modules()))


@contextlib.contextmanager
def chromium():
    with running_chromium() as browser:
        yield ChromiumPlayer(browser)


PLAYERS = {'websocket-client': websocket_client, 'node-ws': node, 'chromium': chromium}
if sys.version_info[0] > 2:
    PLAYERS['websockets'] = websockets
