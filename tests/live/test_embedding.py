# -*- coding: utf-8 -*-
"""``import ws2s``: gateways within another program, and dialects that it brings along."""

import logging
import os
import socket
import subprocess
import sys
import threading
import time

import pytest

import ws2s
from echo_dialect import EchoDialect
from program import REPOSITORY, clean_environment
from raw_client import BINARY, CLOSE, TEXT, RawClient, exchange, upgrade_request
from targets import closed_port, echo, saying, serving, sink
from waiting import wait_until


def config(text='{}'):
    return ws2s.parse_config(text).replace({'listen.port': 0})


def connect_code(gateway, port):
    with RawClient(gateway.address) as client:
        return client.open().ask(command='connect', host='127.0.0.1', port=port)['code']


# -- importing ---------------------------------------------------------------------------------------------------------

IMPORT = """
import json, logging, os, signal, sys, threading
sys.path.insert(0, %r)

def world():
    signals = [str(signal.getsignal(n)) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE)]
    return [sorted(os.listdir('/dev/fd')), threading.active_count(), signals, len(logging.root.handlers),
            logging.raiseExceptions, sorted(os.environ.items()), os.getcwd(), os.umask(0o22), sys.argv[:],
            sys.getrecursionlimit(), sys.stdout.fileno(), id(sys.stdout), id(sys.stderr), id(sys.excepthook)]

before = world()
import ws2s
assert world() == before, (before, world())
assert all(isinstance(handler, logging.NullHandler) for handler in logging.getLogger('ws2s').handlers)
"""


def test_importing_opens_starts_writes_and_configures_nothing(tmpdir):
    process = subprocess.Popen([sys.executable, '-c', IMPORT % REPOSITORY], cwd=str(tmpdir), stdin=subprocess.PIPE,
                               env=clean_environment(str(tmpdir)), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.communicate() == (b'', b'')
    assert process.returncode == 0
    assert tmpdir.listdir() == []


# -- life --------------------------------------------------------------------------------------------------------------

def test_two_gateways_in_one_process_keep_their_own_rules_and_counts(running_gateway):
    strict = running_gateway({'allowConnectToServerLocal': False, 'limits': {'clients': 1, 'drainSeconds': 0.3}})
    lenient = running_gateway()
    with serving(echo) as port, RawClient(strict.address) as client, RawClient(lenient.address) as other:
        assert client.open().ask(command='connect', host='127.0.0.1', port=port)['code'] == 4
        assert other.open().connect_to(port)
        assert connect_code(lenient, port) == 0
        assert exchange(strict.address, upgrade_request())[0] == 503
        assert strict.address != lenient.address
        strict.stop()
        other.send_json(command='send', data='still here')
        assert other.receive_data(10) == b'still here'


def test_gateways_start_and_stop_again_and_again():
    for _ in range(20):
        gateway = ws2s.Gateway(config())
        gateway.start()
        host, port = gateway.address
        assert host == '127.0.0.1' and port > 0
        assert exchange(gateway.address, b'GET /healthz HTTP/1.0\r\n\r\n')[2] == b'ok'
        gateway.stop()


def test_a_port_is_free_again_once_the_gateway_has_stopped():
    gateway = ws2s.Gateway(config())
    gateway.start()
    with RawClient(gateway.address) as client:
        client.open()
        stopper = threading.Thread(target=gateway.stop)
        stopper.start()
        assert client.receive_close()[0] == 1001
        client.send_frame(CLOSE, b'\x03\xe9')
        assert client.receive_all() == b''
    stopper.join(10)
    again = ws2s.Gateway(config().replace({'listen.port': gateway.address[1]}))
    again.start()
    assert again.address == gateway.address
    again.stop()


def test_stop_is_quick_and_may_be_said_twice(running_gateway):
    gateway = running_gateway({'limits': {'drainSeconds': 60}})
    with RawClient(gateway.address):
        wait_until(lambda: gateway.clients)
        begun = time.time()
        gateway.stop()
        gateway.stop()
        assert time.time() - begun < 10
    with pytest.raises(socket.error):
        RawClient(gateway.address)


def test_stop_waits_no_longer_than_it_is_told_to(running_gateway):
    gateway = running_gateway({'limits': {'drainSeconds': 0.3}})
    with serving(sink) as port, RawClient(gateway.address) as client:
        client.open().connect_to(port)
        begun = time.time()
        gateway.stop()
        assert 0.2 < time.time() - begun < 10
        assert client.receive_close()[0] == 1001
        assert client.receive_all() == b''


def test_stop_before_start_gives_back_what_listen_took():
    ws2s.Gateway(config()).stop()
    gateway = ws2s.Gateway(config())
    gateway.listen()
    gateway.stop()
    with pytest.raises(socket.error):
        RawClient(gateway.address)


def test_a_gateway_may_be_run_and_stopped_in_any_threads():
    gateway = ws2s.Gateway(config())
    runner = threading.Thread(target=gateway.run)
    runner.start()
    wait_until(lambda: gateway.address)
    with RawClient(gateway.address) as client:
        assert client.open().ask(command='ping')['success']
    stoppers = [threading.Thread(target=gateway.stop) for _ in range(4)]
    for thread in stoppers:
        thread.start()
    for thread in stoppers + [runner]:
        thread.join(20)
        assert not thread.is_alive()


def test_abort_ends_everything_at_once(running_gateway):
    gateway = running_gateway({'limits': {'drainSeconds': 60}})
    with serving(sink) as port, RawClient(gateway.address) as client:
        client.open().connect_to(port)
        gateway.abort()
        assert client.receive_all() == b''
    gateway.stop()


@pytest.mark.parametrize('changes, error', [
    ({'listen.host': 'a..b'}, ws2s.ServeError), ({'listen.host': '198.51.100.77'}, ws2s.ServeError),
    ({'web': '/nowhere/at/all'}, ws2s.ConfigError)], ids=['no such name', 'not our address', 'no such folder'])
def test_a_gateway_that_cannot_start_says_why(changes, error):
    with pytest.raises(error) as raised:
        ws2s.Gateway(config().replace(changes)).start()
    assert '\n' not in str(raised.value)


def test_a_taken_port_is_an_error_that_names_it(gateway):
    with pytest.raises(ws2s.ServeError) as raised:
        ws2s.Gateway(config().replace({'listen.port': gateway.address[1]})).start()
    assert '127.0.0.1:%d' % gateway.address[1] in str(raised.value)


# -- dialects ----------------------------------------------------------------------------------------------------------

def test_a_dialect_is_chosen_by_path_and_the_others_stay(running_gateway):
    rows = ((lambda request, config: request.path == '/echo', EchoDialect),) + ws2s.DIALECTS
    gateway = running_gateway(dialects=rows)
    with RawClient(gateway.address) as echoing, RawClient(gateway.address) as asking:
        echoing.open('/echo?x=1').send_frame(TEXT, u'{"command": "ping"} \u20ac'.encode('utf-8'))
        assert echoing.receive_text() == u'{"command": "ping"} \u20ac'.encode('utf-8')
        echoing.send_frame(BINARY, b'\0\1', final=False)
        echoing.send_frame(0, b'\2')
        assert echoing.receive_frame() == (BINARY, b'\0\1\2')
        assert asking.open('/other').ask(command='ping') == {'success': True, 'code': 0, 'message': 'ping done'}


def test_a_path_that_no_dialect_serves_gets_404(running_gateway):
    gateway = running_gateway(dialects=((lambda request, config: request.path == '/echo', EchoDialect),))
    assert exchange(gateway.address, upgrade_request('/'))[0] == 404
    with RawClient(gateway.address) as client:
        client.open('/echo').close()


class PortDialect(ws2s.Dialect):
    """Raw bytes to 127.0.0.1 at the port that the path names; the WebSocket ends with the connection."""

    def __init__(self, request, config):
        self._port = int(request.path.strip('/'))

    def on_start(self):
        return [ws2s.Open('only', u'127.0.0.1', self._port)]

    def on_text(self, text):
        return [ws2s.Shut('only')] if text == u'shut' else [ws2s.Write('only', text.encode('utf-8'))]

    def on_data(self, channel, data):
        return [ws2s.Send(ws2s.BINARY, data)]

    def on_failed(self, channel, failure):
        return [ws2s.Hangup(3000 + failure.code, failure.reason)]

    on_closed = on_failed


def test_a_dialect_opens_writes_shuts_and_hangs_up(running_gateway):
    gateway = running_gateway(dialects=((lambda request, config: True, PortDialect),))
    with serving(echo) as port, RawClient(gateway.address) as client:
        client.open('/%d' % port)
        wait_until(lambda: any(upstream.stream for upstream in list(gateway.upstreams)))
        client.send_frame(TEXT, b'through')
        assert client.receive_data(7) == b'through'
        client.send_frame(TEXT, b'shut')
        wait_until(lambda: not gateway.upstreams)
        client.close()
    with serving(saying(b'bye')) as port, RawClient(gateway.address) as client:
        client.open('/%d' % port)
        assert client.receive_data(3) == b'bye'
        assert client.receive_close() == (3005, 'closed')
    with RawClient(gateway.address) as client:
        assert client.open('/%d' % closed_port()).receive_close() == (3002, 'refused')


# -- mistakes of a dialect ---------------------------------------------------------------------------------------------

def faulty(event):
    """A JSON dialect that raises where ``event`` names a method; its exception quotes what a log must not have."""
    def fail(self, *arguments):
        raise ValueError('SECRET of a client')
    return type('FaultyDialect', (ws2s.JsonDialect,), {event: fail})


EVENTS = ['on_start', 'on_text', 'on_binary', 'on_opened', 'on_failed', 'on_data', 'on_closed']


@pytest.mark.parametrize('event', EVENTS)
def test_a_mistake_of_a_dialect_is_told_and_logged_and_hurts_no_other(running_gateway, caplog, event):
    rows = ((lambda request, config: request.path == '/faulty', faulty(event)),)
    gateway = running_gateway(dialects=rows + ws2s.DIALECTS)
    with serving(saying(b'x', None if event == 'on_closed' else sink)) as port:
        with serving(echo) as other, RawClient(gateway.address) as bystander, RawClient(gateway.address) as client:
            bystander.open().connect_to(other)
            client.open('/faulty')
            provoke(client, event, port)
            assert last_words(client) == ({'success': False, 'code': 1, 'reason': 'internal'}, 1011)
            assert client.receive_all() == b''
            client.finish()
            bystander.send_json(command='send', data='unharmed')
            assert bystander.receive_data(8) == b'unharmed'
            wait_until(lambda: len(gateway.upstreams) == len(gateway.clients) == 1)
    assert_logged_without_its_text(caplog)


def provoke(client, event, port):
    if event == 'on_text':
        client.send_json(command='ping')
    elif event == 'on_binary':
        client.send_frame(BINARY, b'x')
    elif event == 'on_failed':
        client.send_frame(TEXT, b'{"command": "connect", "host": "127.0.0.1", "port": %d}'.replace(
            b'%d', str(closed_port()).encode('ascii')))
    elif event != 'on_start':
        client.send_json(command='connect', host='127.0.0.1', port=port)


def last_words(client):
    """The last reply, without its message, and the code of the Close after it."""
    reply = client.receive_json()
    while reply['success']:
        reply = client.receive_json()
    assert 'SECRET' not in reply.pop('message')
    code, reason = client.receive_close()
    assert 'SECRET' not in reason
    client.send_frame(CLOSE, b'\x03\xf3')
    return reply, code


def assert_logged_without_its_text(caplog):
    logged = [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]
    assert len(logged) == 1 and 'ValueError' in logged[0]
    assert 'test_embedding.py' in logged[0] and 'in fail' in logged[0]
    assert 'SECRET of' not in ''.join(logged).replace("raise ValueError('SECRET of a client')", '')


def test_a_dialect_that_cannot_begin_is_answered_with_500(running_gateway, caplog):
    gateway = running_gateway(dialects=((lambda request, config: request.path == '/faulty', faulty('__init__')),)
                              + ws2s.DIALECTS)
    status, _, body = exchange(gateway.address, upgrade_request('/faulty'))
    assert status == 500 and b'SECRET' not in body
    assert_logged_without_its_text(caplog)
    with RawClient(gateway.address) as client:
        assert client.open().ask(command='ping')['success']


def test_a_resolver_that_raises_is_answered_with_code_1_internal(running_gateway, caplog):
    def fail(host, port):
        raise ValueError('SECRET of a client')
    gateway = running_gateway(resolve=fail)
    with RawClient(gateway.address) as client:
        reply = client.open().ask(command='connect', host='name.test', port=80)
        assert (reply['code'], reply['reason']) == (1, 'internal') and 'SECRET' not in reply['message']
        assert client.ask(command='ping')['success']
    assert_logged_without_its_text(caplog)


def test_an_embedding_program_finds_what_it_needs():
    assert {'Gateway', 'Dialect', 'Send', 'Open', 'Write', 'Shut', 'Hangup', 'Config', 'parse_config', 'ConfigError',
            'ServeError', 'DIALECTS', 'main'} <= set(ws2s.__all__)
    assert all(hasattr(ws2s, name) for name in ws2s.__all__)
    assert os.path.dirname(os.path.abspath(ws2s.__file__)) == REPOSITORY
