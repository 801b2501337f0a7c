# -*- coding: utf-8 -*-
"""Every way in which a client may name a target: each dialect, each form, and what an operator's settings name.

A Way has ``config(host, port)``, what the gateway must be set up with, and ``ask(gateway, host, port)``: None when the
target has said HELLO, or a word for the reason why not: those of JSON's `reason`, and NO_TARGET. A new dialect is one
more row of WAYS.
"""

import contextlib
import json
import shutil
import struct
import tempfile

from fake_ssh import FakeSsh, private_temporary_directory, setting
from raw_client import BINARY, CLOSE, TEXT, RawClient, upgrade_request
from targets import serving
from wisp_client import TCP, WispClient

try:
    from urllib.parse import quote
except ImportError:  # Python 2
    from urllib import quote

HELLO = b'hello'
NO_TARGET = 'no target'  # the form names none, and the WebSocket speaks JSON
STATUSES = {400: 'bad-request', 403: 'forbidden', 500: 'bad-request', 503: 'limit'}  # 500: what the operator wrote
WISP_WORDS = {0x41: 'bad-request', 0x42: 'dns', 0x43: 'timeout', 0x44: 'refused', 0x48: 'forbidden', 0x49: 'limit'}


def greet(sock):
    """The target of those who are allowed."""
    sock.sendall(HELLO)
    sock.recv(100)


def escaped(text):
    return quote(text.encode('utf-8'), safe='')


def bracketed(host):
    return '[%s]' % host if ':' in host and '[' not in host and ']' not in host else host


class Json(object):

    name = 'json'

    @contextlib.contextmanager
    def config(self, host, port):
        yield {}

    def ask(self, gateway, host, port):
        with RawClient(gateway.address) as client:
            client.open().send_json(**self.request(host, port))
            reply = client.receive_json()
            if reply['success']:
                assert client.receive_data(len(HELLO)) == HELLO
            else:
                assert client.ask(command='ping')['success']
            return reply.get('reason')

    def request(self, host, port):
        return dict(command='connect', host=host, port=port)

    def dialled(self):
        """The addresses to which another program was sent; the gateway's own dials show at the targets."""
        return []


class BySsh(Json):
    """The host is that of an SSH server: no rule is asked about what is behind it."""

    name = 'ssh_host'

    @contextlib.contextmanager
    def config(self, host, port):
        folder = tempfile.mkdtemp(dir='/tmp')
        try:
            with private_temporary_directory(), serving(greet) as behind:
                self._ssh = FakeSsh(folder)
                self._ssh.leads_to(behind)
                yield self._ssh.config()
        finally:
            shutil.rmtree(folder)

    def request(self, host, port):
        return dict(Json.request(self, 'behind.test', 80), ssh_host=host, ssh_port=port, ssh_username='me',
                    ssh_password='secret')

    def dialled(self):
        return [setting(call, 'HostName') for call in self._ssh.calls()]


class Raw(object):
    """Raw bytes to the target that ``target``, the request's, names."""

    end = 1011

    def __init__(self, name, target, config=None, host_header='127.0.0.1'):
        self.name, self._target, self._config, self._host_header = name, target, config, host_header

    @contextlib.contextmanager
    def config(self, host, port):
        yield self._config or {}

    def ask(self, gateway, host, port):
        with RawClient(gateway.address) as client:
            client.send(upgrade_request(self._target(host, port), self._host_header))
            status = int(client.receive_head().split(b' ')[1])
            return self._outcome(client) if status == 101 else STATUSES[status]

    def _outcome(self, client):
        client.send_frame(BINARY, b'x')  # which JSON answers, while others keep it for their target
        opcode, payload = client.receive_frame()
        if opcode == TEXT:
            assert json.loads(payload.decode('ascii'))['reason'] == 'not-connected'
            return NO_TARGET
        if opcode == BINARY and not payload:  # as Playground says that there is no such name
            opcode, payload = client.receive_frame()
        if opcode == BINARY:
            assert payload == HELLO
            return None
        assert opcode == CLOSE and struct.unpack('!H', payload[:2])[0] in (self.end, 1013), payload
        return payload[2:].decode('ascii')

    def dialled(self):
        return []


class Playground(Raw):
    end = 3000


class Configured(Raw):
    """The operator names the target: what cannot be one is refused when the gateway starts."""

    def __init__(self, name, settings_for, **parameters):
        Raw.__init__(self, name, lambda host, port: '/v2', **parameters)
        self._settings_for = settings_for

    @contextlib.contextmanager
    def config(self, host, port):
        yield self._settings_for('%s:%d' % (bracketed(host), port))


class ByToken(Raw):

    def __init__(self, name, target, **settings):
        Raw.__init__(self, name, target, host_header='vm')
        self._settings = settings

    @contextlib.contextmanager
    def config(self, host, port):
        with tempfile.NamedTemporaryFile() as file:
            file.write((u'vm: %s:%d\n' % (host, port)).encode('utf-8'))
            file.flush()
            yield {'raw': dict(self._settings, tokens=file.name)}


class Wisp(object):

    kind = TCP

    def __init__(self, name, begin):
        self.name, self._begin = name, begin

    @contextlib.contextmanager
    def config(self, host, port):
        yield {}

    def ask(self, gateway, host, port):
        with WispClient(gateway.address) as client:
            self._begin(client)
            client.connect(1, port, host.encode('utf-8'), self.kind)
            client.take_until(lambda: client.ended or client.data)
            assert not client.ended or not client.data
            return WISP_WORDS[client.ended[1]] if client.ended else None

    def dialled(self):
        return []


def query(host, port):
    return '/?host=%s&port=%d' % (escaped(host), port)


WAYS = [
    Json(), BySsh(),
    Raw('address', lambda host, port: '/v1?address=%s' % escaped('%s:%d' % (host, port))),
    Raw('host and port', query), Playground('playground', query, {'raw': {'playground': True}}),
    Raw('path', lambda host, port: '/a/' + escaped('%s:%d' % (host, port))),
    Configured('raw.target', lambda target: {'raw': {'target': target}}),
    Configured('hostTargets', lambda target: {'raw': {'hostTargets': {'db.test': target}}}, host_header='db.test:80'),
    ByToken('token', lambda host, port: '/websockify?token=vm'),
    ByToken('name in Host', lambda host, port: '/websockify', hostToken=True),
    Wisp('wisp 1', WispClient.begin), Wisp('wisp 2', WispClient.begin_2),
]
