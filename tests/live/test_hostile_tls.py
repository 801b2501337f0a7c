# -*- coding: utf-8 -*-
"""Clients and targets that misuse TLS, half-close and what goes with them."""

import contextlib
import shutil
import socket
import ssl
import struct
import tempfile
import threading

import pytest

import ws2s
from census import is_empty
from fronts import make_certificate
from raw_client import RawClient, exchange
from targets import recorder, serving, silence
from waiting import wait_until

pytestmark = pytest.mark.usefixtures('no_mistakes')

HEALTH = b'GET /healthz HTTP/1.0\r\n\r\n'


@pytest.fixture(scope='module')
def certificate():
    """The paths of a certificate and its key."""
    folder = tempfile.mkdtemp(dir='/tmp', prefix='ws2s-')
    yield make_certificate(folder)
    shutil.rmtree(folder)


@pytest.fixture
def secure(running_gateway, certificate):
    """A gateway that speaks TLS to its clients."""
    tls = dict(zip(('certificate', 'key'), certificate))
    return running_gateway({'listen': {'port': 0, 'tls': True}, 'tls': tls})


def test_a_client_that_is_gone_before_its_handshake_leaves_nothing(secure):
    hello = b'\x16\x03\x01\0\5hello'
    for _ in range(50):
        with contextlib.closing(socket.create_connection(secure.address, 10)) as sock:
            sock.sendall(hello)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
    wait_until(lambda: is_empty(secure) and not secure.places._groups)


@pytest.mark.parametrize('requests', [
    [{'command': 'starttls'}], [{'command': 'finish'}], [{'command': 'starttls'}, {'command': 'starttls'}],
    [{'command': 'finish'}, {'command': 'send', 'data': 'x'}]])
@pytest.mark.parametrize('tls', [False, True])
def test_who_leaves_while_its_target_is_dialled_leaves_nothing(running_gateway, requests, tls):
    begun, go_on = threading.Event(), threading.Event()
    received = []

    def resolve(host, port):
        begun.set()
        go_on.wait(10)
        return [(socket.AF_INET, ('127.0.0.1', port))]

    gateway = running_gateway({'limits': {'connectSeconds': 2}}, resolve=resolve)
    with serving(recorder(received)) as port, RawClient(gateway.address) as client:
        client.open()
        client.send_json(command='connect', host='slow.test', port=port, tls=tls)
        client.send_json(command='send', data='early')
        for request in requests:
            client.send_json(**request)
        client.send_json(command='send', data='secret')
        assert begun.wait(10)
        client.close()
        go_on.set()
        wait_until(lambda: is_empty(gateway))
        wait_until(lambda: received)
        assert b'secret' not in received[0] and (tls or received == [b'early'])


def hellos_for_ever(sock):
    """Answers a ClientHello by requests for another one (RFC 5246 section 7.4.1.1), which OpenSSL passes over."""
    sock.recv(65536)
    while True:
        sock.sendall((b'\x16\x03\x03\x40\0' + b'\0' * 16384) * 16)


def test_a_target_that_goes_on_saying_hello_keeps_nobody_waiting(running_gateway):
    gateway = running_gateway({'limits': {'connectSeconds': 60}})
    with serving(hellos_for_ever) as port, RawClient(gateway.address) as client:
        client.open()
        reply = client.ask(command='connect', host='127.0.0.1', port=port, tls=True)
        assert (reply['code'], reply['reason']) == (1, 'tls')
        assert exchange(gateway.address, HEALTH)[2] == b'ok'


class AtOnce(object):
    """Workers that do not wait."""

    def submit(self, group, function, arguments, on_result):
        on_result(function(*arguments))
        return self


def test_who_has_many_ways_of_tls_leaves_others_theirs():
    contexts, found = ws2s.Contexts(AtOnce()), []

    def is_served(group, tls):
        contexts.find(tls, 'a.test', group, found.append)
        return found[-1] is not ws2s.NO_ROOM

    ways = [ws2s.PLAIN_TLS._replace(alpn=('a%d' % number,)) for number in range(ws2s.CONTEXTS)]
    assert [is_served(b'one', tls) for tls in ways].count(True) == ws2s.CONTEXTS // 2
    assert is_served(b'two', ways[-1])
    for group in (b'three', b'four'):
        for tls in ways:
            is_served(group, tls._replace(verify=False))
    assert not is_served(b'five', ways[-1]._replace(verify=False))
    assert all(is_served(b'five', tls) for tls in (ws2s.PLAIN_TLS, ws2s.PLAIN_TLS._replace(verify=False)))
    first = found[-1]
    assert is_served(b'one', ws2s.PLAIN_TLS._replace(verify=False)) and found[-1] is first


def test_a_chunk_that_was_not_taken_may_grow(gateway, monkeypatch):
    def refuse(sock, data):
        raise ssl.SSLWantWriteError(ssl.SSL_ERROR_WANT_WRITE, 'there is no room')

    monkeypatch.setattr(ws2s, 'tls_send', refuse)
    wire, chunk = ws2s.TlsWire(False, gateway.loop.guard), ws2s.Joined(b'x')
    try:
        wire.send(None, [chunk])
    except ws2s.NetworkError:
        pass
    chunk += b'y'
    assert chunk == b'xy'


def test_a_reload_of_a_gateway_that_stops_is_no_mistake(running_gateway, certificate):
    tls = dict(zip(('certificate', 'key'), certificate))
    gateway = running_gateway({'listen': [{'port': 0}, {'port': 0, 'tls': True}], 'tls': tls})
    with serving(silence) as port, RawClient(gateway.address) as client:
        client.open().connect_to(port)
        gateway.drain()
        wait_until(lambda: gateway.draining)
        reloaded = gateway.config.replace({'limits.clients': 7})
        gateway.reload(reloaded)
        wait_until(lambda: gateway.places.config is reloaded)
        client.close()


def test_no_target_chooses_a_prime_of_its_own(gateway):
    hellos = []
    with serving(lambda sock: hellos.append(bytearray(sock.recv(65536)))) as port, RawClient(gateway.address) as client:
        client.open()
        assert client.ask(command='connect', host='127.0.0.1', port=port, tls=True)['reason'] == 'tls'
    start = 44 + hellos[0][43]  # of the list of suites (RFC 5246 section 7.4.1.2)
    count = struct.unpack('!H', bytes(hellos[0][start:start + 2]))[0] // 2
    suites = struct.unpack('!%dH' % count, bytes(hellos[0][start + 2:start + 2 + 2 * count]))
    assert 0xc030 in suites and not {0x9e, 0x9f, 0xccaa, 0x67, 0x6b, 0x33, 0x39}.intersection(suites)
