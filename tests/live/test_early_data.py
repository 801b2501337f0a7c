# -*- coding: utf-8 -*-
"""What a dialect writes before its target stands: the upstream keeps it, for every dialect."""

import socket
import struct
import threading

import pytest

import ws2s
from census import is_empty
from raw_client import BINARY, CLOSE, PING, PONG, TEXT, RawClient, frame
from tape import Reading, Tape, record
from targets import echo, recorder, released, serving, shut
from waiting import assert_holds, wait_until, wait_until_still

pytestmark = pytest.mark.usefixtures('no_mistakes')

BUFFER = 262144  # limits.bufferBytes
READ = 65536     # what may be read on top of it in one go
PIECE = 16384
MEGABYTE = 1 << 20
FIRST = b'the first words'


class EarlyDialect(ws2s.Dialect):
    """Begins at once to talk to the port that the path names; all that the client sends goes there."""

    def __init__(self, request, config):
        self._port = int(request.path.strip('/'))

    def on_start(self):
        return [ws2s.Open(1, u'target.test', self._port), ws2s.Write(1, FIRST)]

    def on_text(self, text):
        return [ws2s.Write(1, text.encode('utf-8'))]

    def on_binary(self, piece, final):
        return [ws2s.Write(1, piece)]

    def on_data(self, channel, data):
        return [ws2s.Send(ws2s.BINARY, data)]

    def on_failed(self, channel, failure):
        return [ws2s.Send(ws2s.TEXT, failure.reason.encode('ascii'))]


class SlowName(object):
    """A resolve that answers when it is told to, and what."""

    def __init__(self):
        self.go, self.failure = threading.Event(), None

    def __call__(self, host, port):
        self.go.wait(60)
        return self.failure or [(socket.AF_INET, ('127.0.0.1', port))]


@pytest.fixture
def name():
    slow = SlowName()
    with released(slow.go):
        yield slow


@pytest.fixture
def start(running_gateway, name):
    """Gateways that speak EarlyDialect and find their targets when ``name`` says so."""
    def start_one(**limits):
        rows = ((lambda request, config: True, EarlyDialect),)
        return running_gateway({'limits': limits}, resolve=name, dialects=rows)
    return start_one


@pytest.fixture
def gateway(start):
    return start()


def opened(gateway, port):
    client = RawClient(gateway.address)
    return client.open('/%d' % port)


def only_upstream(gateway):
    (upstream,) = list(gateway.upstreams)
    return upstream


def send_until_held(gateway, client, pieces, count):
    """Send small messages until ``count`` bytes are held; how many bytes were sent."""
    sent = 0
    for piece in pieces:
        if gateway.budget.bytes >= count:
            return sent
        client.send(frame(BINARY, piece) + frame(PING))
        assert client.receive_frame() == (PONG, b'')
        sent += len(piece)
    raise AssertionError('it is not held')


def test_early_data_arrive_first_and_in_order(gateway, name):
    received = []
    with serving(recorder(received)) as port, opened(gateway, port) as client:
        client.send(frame(TEXT, b', second') + frame(BINARY, b', third') + frame(BINARY, b''))
        wait_until(lambda: gateway.budget.bytes == len(FIRST + b', second, third'))
        name.go.set()
        wait_until(lambda: only_upstream(gateway).stream)
        client.send_frame(BINARY, b', last')
        client.close()
        wait_until(lambda: received)
    assert received == [FIRST + b', second, third, last']
    wait_until(lambda: is_empty(gateway))


def test_many_early_pieces_of_all_sizes_arrive_whole(gateway, name):
    tape, sizes, position = Tape(31), (1, 7, 4095, 4096, 1, 1, 30000) * 6, 0
    received = []
    with serving(recorder(received)) as port, opened(gateway, port) as client:
        for size in sizes:
            client.send_frame(BINARY, tape.cut(position, size))
            position += size
        wait_until(lambda: gateway.budget.bytes == len(FIRST) + position)
        name.go.set()
        client.close()
        wait_until(lambda: received)
    assert received == [FIRST + tape.cut(0, position)]


def test_an_answer_to_early_data_comes_back(gateway, name):
    name.go.set()
    with serving(echo) as port, opened(gateway, port) as client:
        assert client.receive_data(len(FIRST)) == FIRST


def test_a_client_hears_and_is_heard_until_bufferBytes_of_early_data_are_held(gateway, name):
    received = []
    with serving(recorder(received)) as port, opened(gateway, port) as client:
        sent = send_until_held(gateway, client, Tape(32).pieces(BUFFER - 2 * PIECE, PIECE), BUFFER - 3 * PIECE)
        wait_until(lambda: gateway.budget.bytes == only_upstream(gateway).held() == len(FIRST) + sent)
        name.go.set()
        client.close()
        wait_until(lambda: received)
    assert received == [FIRST + Tape(32).cut(0, sent)]


def test_a_client_is_read_no_further_when_bufferBytes_of_early_data_are_held(gateway, name):
    tape, total = Tape(33), 32 * MEGABYTE
    reading, sent = Reading(tape), [0]

    def check(sock):
        assert sock.recv(len(FIRST), socket.MSG_WAITALL) == FIRST
        record(sock, reading)

    def upload():
        for piece in tape.pieces(total, PIECE):
            client.send_frame(BINARY, piece)
            sent[0] += len(piece)

    with serving(check) as port, opened(gateway, port) as client:
        client.sock.settimeout(60)
        thread = threading.Thread(target=upload)
        thread.start()
        try:
            wait_until(lambda: gateway.budget.bytes >= BUFFER)
            assert wait_until_still(lambda: sent[0]) < total
            assert BUFFER <= gateway.budget.bytes <= BUFFER + 2 * READ
            name.go.set()
            wait_until(lambda: reading.position == total, 60)
        finally:
            if reading.position < total:
                shut(client.sock)
            thread.join(30)
        wait_until(lambda: gateway.budget.bytes == 0)


def close(client):
    client.send_frame(CLOSE, struct.pack('!H', 1000))
    assert client.receive_close()[0] == 1000
    client.finish()


@pytest.mark.parametrize('leave', [close, RawClient.finish], ids=['Close', 'FIN'])
def test_early_data_are_delivered_though_the_client_leaves_while_the_target_is_dialled(gateway, name, leave):
    data = Tape(34).cut(0, 100000)
    received = []
    with serving(recorder(received)) as port, opened(gateway, port) as client:
        send_until_held(gateway, client, [data, b''], len(FIRST) + len(data))
        leave(client)
        wait_until(lambda: not gateway.clients)
        assert gateway.budget.bytes == len(FIRST) + len(data)
        name.go.set()
        wait_until(lambda: received)
    assert received == [FIRST + data]
    wait_until(lambda: is_empty(gateway))


def test_a_target_that_takes_no_early_data_of_one_who_has_left_is_given_drainSeconds(start, name):
    gateway, go = start(bufferBytes=8 * MEGABYTE, drainSeconds=0.5), threading.Event()
    with serving(lambda sock: go.wait(30), receive_buffer=4096) as port, released(go):
        with opened(gateway, port) as client:
            send_until_held(gateway, client, [b'x' * 7 * MEGABYTE, b''], 7 * MEGABYTE)
            close(client)
        wait_until(lambda: not gateway.clients)
        name.go.set()
        wait_until(lambda: is_empty(gateway), 5)


def test_early_data_of_a_client_that_resets_its_connection_are_dropped(gateway, name):
    with serving(recorder([])) as port, opened(gateway, port) as client:
        send_until_held(gateway, client, [b'x' * 100000, b''], 100000)
        client.abort()
        wait_until(lambda: is_empty(gateway))
        name.go.set()
        assert_holds(lambda: is_empty(gateway), 0.1)


def test_early_data_are_dropped_when_the_dial_fails(gateway, name):
    name.failure = ws2s.UNKNOWN_NAME
    with opened(gateway, 9) as client:
        send_until_held(gateway, client, [b'x' * 100000, b''], 100000)
        name.go.set()
        assert client.receive_text() == b'dns'
        wait_until(lambda: gateway.budget.bytes == 0 and not gateway.upstreams)
        client.send_frame(BINARY, b'to nobody')
        client.close()
    wait_until(lambda: is_empty(gateway))


def test_early_data_of_one_who_has_left_are_dropped_when_the_dial_fails(gateway, name):
    name.failure = ws2s.TIMEOUT
    with opened(gateway, 9) as client:
        send_until_held(gateway, client, [b'x' * 100000, b''], 100000)
        client.close()
        wait_until(lambda: not gateway.clients)
        assert gateway.budget.bytes == len(FIRST) + 100000
        name.go.set()
        wait_until(lambda: is_empty(gateway))


def test_early_data_are_given_up_by_a_gateway_that_aborts(gateway, name):
    with opened(gateway, 9) as client:
        send_until_held(gateway, client, [b'x' * 100000, b''], 100000)
        gateway.abort()
        wait_until(lambda: is_empty(gateway))
