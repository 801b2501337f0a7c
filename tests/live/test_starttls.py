# -*- coding: utf-8 -*-
"""`starttls`: TLS on a connection that has begun in the clear (protocol, 1a)."""

import socket
import threading

import pytest

import ws2s
from census import is_empty
from certificates import server_context
from raw_client import BINARY, CLOSE, frame, sendb_frame
from tape import Reading, Tape, record
from targets import echo, recorder, released, reset, saying, serving, silence, sink, unaccepted
from test_flow import Upload
from tls_targets import (BAD_REQUEST, CLOSED, NOT_CONNECTED, RESET, TLS, connect, failure, is_secured, opened, said_of,
                         trusting)
from waiting import wait_until, wait_until_still

pytestmark = pytest.mark.usefixtures('no_mistakes')

MEGABYTE = 1 << 20
NOISE = Tape(72)
SECRET = b'a-secret-of-the-client'


def line(sock):
    """Up to the end of a line, and nothing that is behind."""
    data = b''
    while not data.endswith(b'\n'):
        piece = sock.recv(1)
        if not piece:
            raise IOError('it has ended')
        data += piece
    return data


def take(sock, reading, total):
    """As record(), without what is behind."""
    while reading.position < total:
        reading.take(sock.recv(min(65536, total - reading.position)))


class Upgrading(object):
    """A target that speaks TLS after the first line, to which it has said ``answer``. ``lines``: what has come in the
    clear."""

    def __init__(self, certified, then, answer=b'ready\n', behind=b'', reads=line):
        self._context, self._then, self._answer, self._behind = server_context(certified), then, answer, behind
        self.lines, self._reads = [], reads

    def __call__(self, sock):
        self.lines.append(self._reads(sock))
        sock.sendall(self._answer)
        if self._behind:
            sock.recv(1, socket.MSG_PEEK)  # the ClientHello has come
            sock.sendall(self._behind)
        secured = self._context.wrap_socket(sock.dup(), server_side=True, suppress_ragged_eofs=False)
        try:
            self._then(secured)
        finally:
            secured.close()


def starttls(client, pki, **fields):
    client.send_json(command='starttls', **trusting(pki, **fields))


def said(reply):
    return reply['message'] if reply['success'] else (reply['code'], reply['reason'])


@pytest.mark.parametrize('form', ['json', 'binary'])
def test_what_is_sent_before_goes_in_the_clear_and_what_follows_encrypted(gateway, pki, good, form):
    received = []
    target = Upgrading(good, recorder(received), answer=b'')
    with serving(target) as port, opened(gateway) as client:
        client.send_json(command='connect', host='127.0.0.1', port=port, binary=form == 'binary')
        client.send_json(command='send', data='a')
        client.send(frame(BINARY, b'b', final=False) + frame(0, b'c') + sendb_frame(b'd\n'))
        starttls(client, pki)
        client.send_json(command='send', data='e')
        client.send(frame(BINARY, b'f', final=False) + frame(0, b'g') + sendb_frame(b'h'))
        client.send_json(command='ping')
        starttls(client, pki)
        client.send_json(command='send', data='i')
        client.send_json(command='close')
        replies = [client.receive_json() for _ in range(10)]
        wait_until(lambda: received)
    assert [said(reply) for reply in replies] == [
        'connect done', 'send done', 'sendb done', 'starttls done', 'send done', 'sendb done', 'ping done',
        BAD_REQUEST, 'send done', 'close done']
    assert is_secured(replies[3], 'starttls')
    assert target.lines == [b'abcd\n'] and received == [b'efghi']


def test_a_dialogue_goes_on_behind_tls_with_its_window(gateway, pki, good):
    with serving(Upgrading(good, lambda sock: sock.sendall(NOISE.cut(0, 100000)) or sink(sock))) as port, \
            opened(gateway) as client:
        client.connect_to(port, binary=True, window=20000)
        client.send_json(command='send', data='please\n')
        assert client.receive_data(6) == b'ready\n'
        starttls(client, pki, servername='target.test', alpn=['x'])
        assert is_secured(client.receive_json(), 'starttls')
        got = client.receive_data(20000 - 6)
        assert said(client.ask(command='ping')) == 'ping done'
        while len(got) < 100000:
            client.send_json(command='ack', bytes=20000)
            got += client.receive_data(min(20000, 100000 - len(got)))
        assert got == NOISE.cut(0, 100000)


def test_much_that_is_sent_before_arrives_before_the_handshake(small_kernel_buffers, gateway, pki, good):
    total, before, behind = 8 * MEGABYTE, Reading(NOISE), Reading(NOISE, 5)
    may_read = threading.Event()

    def reads(sock):
        may_read.wait(60)
        take(sock, before, total)

    target = Upgrading(good, lambda sock: record(sock, behind), b'', reads=reads)
    with serving(target, receive_buffer=65536) as port, released(may_read), opened(gateway) as client:
        client.connect_to(port)
        with Upload(client, NOISE, total, True) as upload:
            wait_until_still(lambda: upload.sent)
            assert upload.sent < total
            may_read.set()
        starttls(client, pki)
        for piece in NOISE.pieces(total, MEGABYTE, 5):
            client.send_frame(BINARY, piece)
        assert is_secured(client.receive_json(), 'starttls')
        client.send_json(command='close')
        assert said(client.receive_json()) == 'close done'
        wait_until(lambda: behind.position == total, 30)
    assert before.position == total


@pytest.mark.parametrize('leave', ['close', 'end'])
def test_a_client_that_leaves_has_sent_all_that_it_has_sent(small_kernel_buffers, gateway, pki, good, leave):
    total, before, received, may_read = 131072, Reading(NOISE), [], threading.Event()

    def reads(sock):
        may_read.wait(60)
        take(sock, before, total)

    target = Upgrading(good, recorder(received), b'', reads=reads)
    with serving(target, receive_buffer=4096) as port, released(may_read):
        with opened(gateway) as client:
            client.connect_to(port)
            client.send_frame(BINARY, NOISE.cut(0, total))
            starttls(client, pki)
            if leave == 'close':
                client.send_json(command='send', data='behind')
            client.send_frame(CLOSE)
            while client.receive_frame()[0] != CLOSE:
                pass
        may_read.set()
        wait_until(lambda: received)
    assert before.position == total and received == [b'behind' if leave == 'close' else b'']
    wait_until(lambda: is_empty(gateway))


@pytest.mark.parametrize('answer, behind', [(b'', b'* PREAUTH injected\r\n'), (b'* injected\r\n', b''),
                                            (b'ready\n', b'injected')])
def test_what_a_server_says_in_the_clear_is_never_taken_for_what_tls_brings(gateway, pki, good, answer, behind):
    with serving(Upgrading(good, saying(b'from TLS', sink), answer, behind)) as port, opened(gateway) as client:
        client.connect_to(port)
        client.send_json(command='send', data='line\n')
        if answer == b'ready\n':
            assert said(client.receive_json()) == 'send done' and client.receive_data(6) == b'ready\n'
        starttls(client, pki)
        replies = []
        while not replies or replies[-1] not in ('starttls done', TLS, CLOSED, RESET):
            replies.append(said(client.receive_json()))
        if behind:
            assert replies[-1] == TLS
        if replies[-1] == 'starttls done':
            assert client.receive_data(8) == b'from TLS'
        else:
            assert 'recv data' not in replies[replies.index(TLS):]


def test_a_starttls_that_fails_leaves_nothing_connected(gateway, pki, good):
    bad = pki.server('expired', days=(-20, -10))
    ended = []
    for target in (Upgrading(bad, sink), saying(b'no\n', echo), lambda sock: line(sock) and reset(sock),
                   lambda sock: line(sock) and sock.recv(1)):
        with serving(lambda sock: (target(sock), ended.append(True))) as port, opened(gateway) as client:
            client.connect_to(port)
            client.send_json(command='send', data='line\n')
            starttls(client, pki)
            client.send_json(command='send', data='secret')
            answers = []  # to three requests; the target may have ended before it was asked for TLS
            while len(answers) < 3:
                answers += [reply for reply in [said(client.receive_json())]
                            if reply not in ('recv data', RESET, CLOSED)]
            assert answers in (['send done', TLS, NOT_CONNECTED], ['send done', NOT_CONNECTED, NOT_CONNECTED])
            with serving(echo) as other:
                client.connect_to(other)
                assert said(client.ask(command='send', data='x')) == 'send done'
                assert client.receive_data(1) == b'x'


def test_starttls_where_it_has_no_place_is_refused_and_changes_nothing(gateway, pki, good):
    with serving(echo) as port, opened(gateway) as client:
        assert failure(client.ask(command='starttls')) == NOT_CONNECTED
        client.connect_to(port)
        for fields in ({'verify': False}, {'verfy': True}, {'servername': 5}, {'ca': 'x'}, {'tls': True}):
            assert failure(client.ask(command='starttls', **fields)) == BAD_REQUEST
            assert said(client.ask(command='send', data='x')) == 'send done'
            assert client.receive_data(1) == b'x'
        assert said(client.ask(command='finish')) == 'finish done'
        replies = [said(client.ask(command='starttls')), said(client.receive_json())]
        assert sorted(replies, key=str) in ([BAD_REQUEST, CLOSED], [NOT_CONNECTED, CLOSED])


def test_without_verification_only_where_the_operator_allows_that(running_gateway, gateway, pki):
    bad = pki.self_signed('self')
    lax = running_gateway({'tls': {'allowUnverified': True}})
    with serving(Upgrading(bad, sink, b'')) as port:
        for at, outcome in ((gateway, BAD_REQUEST), (lax, 'starttls done')):
            with opened(at) as client:
                client.connect_to(port)
                client.send_json(command='send', data='line\n')
                assert said(client.receive_json()) == 'send done'
                assert said(client.ask(command='starttls', verify=False)) == outcome
                assert said(connect(client, port, tls={'verify': False, 'servername': 'x'})) in (BAD_REQUEST, TLS)


@pytest.mark.parametrize('then', [silence, unaccepted], ids=['silent', 'full'])
def test_a_target_that_does_not_go_on_fails_in_time(running_gateway, small_kernel_buffers, pki, then):
    gateway = running_gateway({'limits': {'connectSeconds': 0.4, 'bufferBytes': 16 * MEGABYTE}})
    with unaccepted() as port, opened(gateway) as client:
        client.connect_to(port)
        if then is unaccepted:  # it does not even take what goes before
            client.send_frame(BINARY, b'x' * 8 * MEGABYTE)
        starttls(client, pki)
        client.send_json(command='send', data='x')
        assert said_of(client.receive_json()) == ws2s.TLS_SILENT.message
        assert failure(client.receive_json()) == NOT_CONNECTED
        wait_until(lambda: not gateway.upstreams)
