# -*- coding: utf-8 -*-
"""Sockets of emscripten and WordPress Playground as they were recorded (tests/data/recorded.json), played again."""

import binascii
import contextlib
import io
import json
import os
import socket

import pytest

import ws2s
from program import REPOSITORY
from raw_client import BINARY, CLOSE, RawClient

pytestmark = pytest.mark.usefixtures('no_mistakes')

ANSWER = b'\xff answer \x00'
with io.open(os.path.join(REPOSITORY, 'tests', 'data', 'recorded.json'), encoding='utf-8') as file:
    RECORDED = json.load(file)


def recorded(client, belongs):
    """The sessions of a client to which ``belongs(session)`` applies, as parameters."""
    return [pytest.param(session, id='%s, %s' % (client, session['name'])) for session in RECORDED[client]
            if belongs(session)]


def has_failed(session):
    return 'closed' in session


def is_datagrams(session):
    return '?udp=1 ' in session['request'][0]


def is_connection(session):
    return not (has_failed(session) or is_datagrams(session))


@pytest.fixture
def all_forms(running_gateway):
    return running_gateway({'raw': {'playground': True, 'udp': True}}, resolve=lambda host, port: ws2s.UNKNOWN_NAME)


@contextlib.contextmanager
def target(kind):
    sock = socket.socket(socket.AF_INET, kind)
    try:
        sock.settimeout(20)
        sock.bind(('127.0.0.1', 0))
        yield sock
    finally:
        sock.close()


def begin(client, session, sock):
    """Send the request; the reply must name the subprotocol, if one was offered."""
    request = '\r\n'.join(session['request']).replace('PORT', str(sock.getsockname()[1])) + '\r\n\r\n'
    client.send(request.encode('ascii'))
    head, name = client.receive_head().decode('ascii'), 'Sec-WebSocket-Protocol: binary\r\n'
    assert head.startswith('HTTP/1.1 101 ')
    assert (name in head) == (name in request)


def bytes_of(texts):
    return [binascii.unhexlify(text) for text in texts]


def receive_exactly(sock, count):
    data = b''
    while len(data) < count:
        data += sock.recv(count - len(data)) or b'<end>'
    return data


def end(client, write):
    """Send the client's Close; the gateway's must come, then the end."""
    client.send(write)
    assert client.receive_frame()[0] == CLOSE
    assert client.receive_all() == b''


def converse(gateway, session):
    writes, heard = bytes_of(session['writes']), bytes_of(session['heard'])[0]
    with target(socket.SOCK_STREAM) as listener, RawClient(gateway.address) as client:
        listener.listen(1)
        begin(client, session, listener)
        client.send(b''.join(writes[:-1]))
        with contextlib.closing(listener.accept()[0]) as sock:
            sock.settimeout(20)
            assert receive_exactly(sock, len(heard)) == heard
            sock.sendall(ANSWER)
            assert client.receive_data(len(ANSWER)) == ANSWER
            end(client, writes[-1])
            assert sock.recv(1) == b''


@pytest.mark.parametrize('session', recorded('emscripten', is_connection) + recorded('playground', is_connection))
def test_a_connection_of_a_recorded_client(all_forms, session):
    converse(all_forms, session)


@pytest.mark.parametrize('session', recorded('emscripten', is_connection) +
                         recorded('playground, plain', is_connection))
def test_a_connection_of_a_recorded_client_for_which_nothing_is_set(gateway, session):
    converse(gateway, session)


@pytest.mark.parametrize('session', recorded('emscripten', is_datagrams))
def test_datagrams_of_a_recorded_client(all_forms, session):
    writes = bytes_of(session['writes'])
    with target(socket.SOCK_DGRAM) as sock, RawClient(all_forms.address) as client:
        begin(client, session, sock)
        client.send(b''.join(writes[:-1]))
        arrived = [sock.recvfrom(65536) for _ in session['heard']]
        assert [words for words, _ in arrived] == bytes_of(session['heard'])
        sock.sendto(ANSWER, arrived[0][1])
        assert client.receive_frame() == (BINARY, ANSWER)
        end(client, writes[-1])


@pytest.mark.parametrize('session', recorded('emscripten', has_failed) + recorded('playground', has_failed))
def test_a_recorded_client_that_reaches_nothing(all_forms, session):
    """Playground is told by an empty message that a name is not known, as its own proxy does it."""
    with target(socket.SOCK_STREAM) as bound, RawClient(all_forms.address) as client:
        begin(client, session, bound)
        if session['closed'][1] == 'dns':
            assert client.receive_frame() == (BINARY, b'')
        assert client.receive_close() == tuple(session['closed'])
        client.send(b''.join(bytes_of(session['writes'])))
        assert client.receive_all() == b''
