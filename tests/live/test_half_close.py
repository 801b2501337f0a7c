# -*- coding: utf-8 -*-
"""`finish` and `half_open`: each half of a connection ends by itself (protocol, 1a), with TLS and without."""

import contextlib
import json
import socket
import ssl
import threading

import pytest

import ws2s
from raw_client import BINARY, CLOSE
from tape import Reading, Tape
from targets import echo, released, reset, serving, when
from test_flow import Upload
from tls_targets import (BAD_REQUEST, CLOSED, FINISHED, NOT_CONNECTED, RESET, connect, failure, is_secured, opened,
                         tls_target, trusting)
from waiting import wait_until, wait_until_still

pytestmark = pytest.mark.usefixtures('no_mistakes')

MEGABYTE = 1 << 20
NOISE = Tape(73)
KINDS = ['clear', '1.2', '1.3']


class Way(object):
    """To targets of one kind: in the clear, or with a version of TLS."""

    def __init__(self, kind, gateway, pki, good):
        self.kind, self.gateway, self._pki, self._good = kind, gateway, pki, good

    @contextlib.contextmanager
    def connected(self, then, **fields):
        """A client that is connected to a target that does ``then(sock)``."""
        target = serving(then) if self.kind == 'clear' else tls_target(self._good, then, newest=self.kind)
        with target as port, opened(self.gateway) as client:
            if self.kind == 'clear':
                client.connect_to(port, **fields)
            else:
                assert is_secured(connect(client, port, tls=trusting(self._pki), **fields))
            yield client
        wait_until(lambda: not self.gateway.upstreams)


@pytest.fixture(params=KINDS)
def way(request, gateway, pki, good):
    return Way(request.param, gateway, pki, good)


def end_half(sock):
    """Of a target: no more will be sent. With TLS the connection beneath goes on, as TLS's own words have it."""
    if hasattr(sock, 'cipher'):
        ws2s.beneath(sock).send(ws2s.close_notify(sock))
    else:
        sock.shutdown(socket.SHUT_WR)


def until_end(sock):
    """All that comes up to an end in order."""
    pieces = []
    try:
        pieces.extend(iter(lambda: sock.recv(65536), b''))
    except ssl.SSLZeroReturnError:
        pass  # so the end is told to whoever has ended its own half
    return b''.join(pieces)


def said(reply):
    return reply['message'] if reply['success'] else (reply['code'], reply['reason'])


def hear(client, reading, until):
    """What comes until ``until`` is said: the data into ``reading``, replies as a list."""
    replies = []
    while until not in replies:
        opcode, payload = client.receive_frame()
        if opcode == BINARY:
            reading.take(payload)
        else:
            replies.append(said(json.loads(payload.decode('utf-8'))))
    return replies


# -- finish ------------------------------------------------------------------------------------------------------------

def test_the_target_sees_the_end_behind_all_that_was_sent_and_its_answer_comes(way):
    received, may_answer = [], threading.Event()

    def then(sock):
        received.append(until_end(sock))
        may_answer.wait(30)  # the end of the answer ends the connection, and what is still asked has another reply
        sock.sendall(NOISE.cut(0, 100000))
        end_half(sock)

    with released(may_answer), way.connected(then, binary=True) as client:
        client.send_frame(BINARY, NOISE.cut(0, MEGABYTE))
        for request in ({'command': 'send', 'data': 'x'}, {'command': 'finish'}, {'command': 'send', 'data': 'late'}):
            client.send_json(**request)
        client.send_frame(BINARY, b'late')
        client.send_json(command='finish')
        assert [said(client.receive_json()) for _ in range(5)] == [
            'send done', 'finish done', BAD_REQUEST, BAD_REQUEST, 'finish done']
        may_answer.set()
        reading = Reading(NOISE)
        assert hear(client, reading, CLOSED) == [CLOSED]
        assert reading.position == 100000 and received == [NOISE.cut(0, MEGABYTE) + b'x']
        assert failure(client.ask(command='finish')) == NOT_CONNECTED


def test_finish_waits_for_the_connect_before_it(gateway, pki, good):
    received = []
    for tls in (None, trusting(pki)):
        then = (lambda sock: received.append(until_end(sock)))
        with (tls_target(good, then) if tls else serving(then)) as port, opened(gateway) as client:
            client.send_json(command='connect', host='127.0.0.1', port=port, tls=tls)
            client.send_json(command='send', data='x')
            client.send_json(command='finish')
            assert [said(client.receive_json()) for _ in range(3)] == ['connect done', 'send done', 'finish done']
            wait_until(lambda: len(received) == (2 if tls else 1))
    assert received == [b'x', b'x']


def test_a_download_under_way_is_whole_when_our_half_is_closed_meanwhile(way):
    """OpenSSL, when it says that our half ends, would throw away what it reads then."""
    total, ended = 50 * MEGABYTE, []

    def then(sock):
        for piece in NOISE.pieces(total, 65536):
            sock.sendall(piece)
        ended.append(until_end(sock))
        end_half(sock)

    with way.connected(then, binary=True) as client:
        reading = Reading(NOISE)
        while reading.position < 5 * MEGABYTE:
            reading.take(client.receive_frame()[1])
        client.send_frame(BINARY, b'words')
        client.send_json(command='finish')
        assert hear(client, reading, 'finish done') == ['finish done']
        assert hear(client, reading, CLOSED) == [CLOSED]
        assert reading.position == total and ended == [b'words']


def test_what_waits_for_the_window_when_our_half_is_closed_is_whole(way):
    """With TLS it waits in the middle of a record, which OpenSSL has decrypted already."""
    total, window = 200000, 20000

    def then(sock):
        sock.sendall(NOISE.cut(0, total))
        until_end(sock)
        end_half(sock)

    with way.connected(then, binary=True, window=window) as client:
        reading = Reading(NOISE)
        while reading.position < window:
            reading.take(client.receive_frame()[1])
        client.send_json(command='finish')
        assert hear(client, reading, 'finish done') == ['finish done']
        while reading.position < total:
            client.send_json(command='ack', bytes=16384)
            end = min(reading.position + 16384, total)
            while reading.position < end:
                reading.take(client.receive_frame()[1])
        assert hear(client, reading, CLOSED) == [CLOSED]
        assert reading.position == total


def test_a_slow_target_gets_all_before_it_sees_the_end(small_kernel_buffers, way):
    total, reading, may_read, ended = 8 * MEGABYTE, Reading(NOISE), threading.Event(), []

    def then(sock):
        for data in iter(lambda: sock.recv(65536), b''):
            reading.take(data)
        ended.append(reading.position)

    with released(may_read), way.connected(when(may_read, then)) as client:
        with Upload(client, NOISE, total, True) as upload:
            assert wait_until_still(lambda: upload.sent) < total
            may_read.set()
        client.send_json(command='finish')
        assert said(client.receive_json()) == 'finish done'
        wait_until(lambda: ended == [total], 30)


def test_a_reset_is_told_after_finish_too(way):
    def then(sock):
        until_end(sock)
        reset(sock)

    with way.connected(then) as client:
        client.send_json(command='finish')
        assert [said(client.receive_json()) for _ in range(2)] == ['finish done', RESET]


def test_another_connect_after_finish_begins_anew(way):
    with way.connected(lambda sock: (until_end(sock), end_half(sock))) as client:
        assert said(client.ask(command='finish')) == 'finish done'
        with serving(echo) as port:
            replies = [said(client.ask(command='connect', host='127.0.0.1', port=port))]
            while replies[-1] != 'connect done':
                replies.append(said(client.receive_json()))
            assert replies[:-1] in ([], [CLOSED])
            assert said(client.ask(command='send', data='x')) == 'send done'
            assert client.receive_data(1) == b'x'


# -- half_open ---------------------------------------------------------------------------------------------------------

class HalfOpen(object):
    """A target that says 'bye', ends its half, and takes what comes up to an end in order."""

    def __init__(self):
        self.received = []

    def __call__(self, sock):
        sock.sendall(b'bye')
        end_half(sock)
        self.received.append(until_end(sock))


@pytest.mark.parametrize('last', ['close', 'finish', 'leave'])
def test_a_target_that_has_ended_its_half_may_still_be_sent_to(way, last):
    target = HalfOpen()
    with way.connected(target, half_open=True) as client:
        assert client.receive_data(3) == b'bye'
        assert client.receive_json() == {'success': False, 'code': 5, 'reason': 'finished',
                                         'message': ws2s.FINISHED.message}
        for piece in NOISE.pieces(2 * MEGABYTE, 65536):
            client.send_frame(BINARY, piece)
        assert said(client.ask(command='send', data='x')) == 'send done'
        if last == 'leave':
            client.send_frame(CLOSE)
        else:
            assert said(client.ask(command=last)) == '%s done' % last
        wait_until(lambda: target.received)
        if last == 'finish':  # now both have ended
            assert said(client.receive_json()) == CLOSED
            assert failure(client.ask(command='send', data='x')) == NOT_CONNECTED
    assert target.received == [NOISE.cut(0, MEGABYTE) + NOISE.cut(MEGABYTE, MEGABYTE) + b'x']


def test_without_the_field_the_end_of_one_half_ends_both(way):
    target = HalfOpen()
    with way.connected(target) as client:
        assert client.receive_data(3) == b'bye'
        assert said(client.receive_json()) == CLOSED
        assert failure(client.ask(command='send', data='x')) == NOT_CONNECTED
        wait_until(lambda: target.received == [b''])


def test_whoever_has_finished_hears_of_the_targets_end_as_closed(way):
    def then(sock):
        until_end(sock)
        end_half(sock)

    with way.connected(then, half_open=True) as client:
        client.send_json(command='finish')
        assert [said(client.receive_json()) for _ in range(2)] == ['finish done', CLOSED]


def test_a_half_open_target_that_resets_is_told(way):
    may_reset = threading.Event()

    def then(sock):
        end_half(sock)
        may_reset.wait(30)
        reset(sock)

    with released(may_reset), way.connected(then, half_open=True) as client:
        assert said(client.receive_json()) == FINISHED
        may_reset.set()
        replies = []
        while RESET not in replies:
            client.send_json(command='send', data='x')
            replies.append(said(client.receive_json()))
        assert failure(client.ask(command='send', data='x')) == NOT_CONNECTED


def test_tls_that_ends_without_a_word_is_a_reset_to_whoever_is_half_open(gateway, pki, good):
    with tls_target(good, lambda sock: sock.sendall(b'bye')) as port, opened(gateway) as client:
        assert is_secured(connect(client, port, tls=trusting(pki), half_open=True))
        assert client.receive_data(3) == b'bye'
        assert said(client.receive_json()) == RESET
