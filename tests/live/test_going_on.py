# -*- coding: utf-8 -*-
"""What takes many turns: sessions that are behind, rows, timers; and who has left or stalled meanwhile."""

import gc
import socket
import threading

import pytest

import ws2s
from census import sessions
from raw_client import BINARY, CLOSE, TEXT, RawClient, frame
from targets import recorder, serving, silence
from waiting import wait_until


class Pair(ws2s.Dialect):
    """Two targets at once; the end of one is the end of all."""

    def __init__(self, request, config):
        self.opened = 0

    def on_text(self, text):
        return [ws2s.Open(1, '127.0.0.1', int(text), prefix=b''), ws2s.Open(2, '127.0.0.1', int(text), prefix=b'')]

    def on_opened(self, channel):
        self.opened += 1
        return [ws2s.Write(channel, b'x' * 4000000), ws2s.Send(ws2s.TEXT, b'opened')]

    def on_closed(self, channel, failure):
        return [ws2s.Hangup(1000, failure.reason)]


@pytest.mark.parametrize('limits', [{'idleSeconds': 1, 'stallSeconds': 0}, {'stallSeconds': 1}], ids=['idle', 'stall'])
def test_two_silent_targets_of_one_websocket_end_it_in_order(running_gateway, no_mistakes, small_kernel_buffers,
                                                             monkeypatch, limits):
    on_time = ws2s.Silence.on_time

    def late(session):
        """As in a turn that took long: both are due at one time."""
        session.gateway.loop.now += 0.5
        on_time(session)

    monkeypatch.setattr(ws2s.Silence, 'on_time', late)
    gateway = running_gateway({'limits': limits}, dialects=((lambda request, config: True, Pair),))
    with serving(silence, receive_buffer=4096) as port, RawClient(gateway.address) as client:
        client.open().send_frame(TEXT, b'%d' % port)
        assert client.receive_frame()[1] == b'opened'
        assert client.receive_frame()[1] == b'opened'
        assert client.receive_frame()[0] == CLOSE


def test_a_stalled_message_that_is_not_read_costs_no_turns(running_gateway, monkeypatch):
    release, counts = threading.Event(), []
    on_time = ws2s.Silence.on_time

    def counted(session):
        counts.append(1)
        on_time(session)

    monkeypatch.setattr(ws2s.Silence, 'on_time', counted)

    def resolve(host, port):
        release.wait(20)
        return ws2s.UNKNOWN_NAME

    gateway = running_gateway({'limits': {'stallSeconds': 1, 'bufferBytes': 65536, 'connectSeconds': 5}},
                              resolve=resolve)
    try:
        with RawClient(gateway.address) as client:
            client.open().send_json(command='connect', host='a.example.com', port=80)
            client.send(frame(BINARY, b'x' * 70000) + frame(TEXT, b'{', final=False)[:3])
            reply = client.receive_json()
            assert reply['reason'] == 'timeout'
        assert len(counts) < 50, len(counts)
    finally:
        release.set()


@pytest.mark.parametrize('count', [3, 60])
def test_what_was_sent_with_a_close_arrives_though_nobody_reads_the_replies(running_gateway, count):
    """One segment of less than a read, and the program is gone: all of it was taken before."""
    gateway = running_gateway()
    got = []
    with serving(recorder(got)) as port:
        for _ in range(5):
            del got[:]
            client = RawClient(gateway.address)
            client.open().connect_to(port)
            client.send(frame(TEXT, b'{"command": "send", "data": "0123456789"}') * count
                        + frame(CLOSE, b'\x03\xe8'))
            client.sock.close()
            wait_until(lambda: not gateway.clients and not gateway.upstreams, 5)
            assert len(b''.join(got)) == 10 * count


class Behind(ws2s.Dialect):
    """Says that it is behind as soon as a text has come, and wants to hear nothing before its turn."""

    def __init__(self, request, config):
        self.heard = []

    def on_text(self, text):
        was_behind, self.is_behind = self.is_behind, True
        return [ws2s.Send(ws2s.TEXT, b'too early' if was_behind else b'ok')]

    def on_turn(self):
        self.is_behind = False
        return []


def test_a_dialect_that_is_behind_hears_nothing_before_its_turn(running_gateway):
    gateway = running_gateway(dialects=((lambda request, config: True, Behind),))
    with RawClient(gateway.address) as client:
        client.open().send(frame(TEXT, b'a') * 2)
        assert [client.receive_text(), client.receive_text()] == [b'ok', b'ok']


def test_whoever_stands_in_the_row_has_a_turn_however_slow_newcomers_are(monkeypatch):
    loop, ticks, order = ws2s.Loop(), [0.0], []
    monkeypatch.setattr(ws2s, 'stopwatch', lambda: ticks[0])

    class One(ws2s.Handler):
        def __init__(self, name):
            self.name = name

        def on_turn(self):
            order.append(self.name)
            ticks[0] += 1.0  # longer than the row has
            loop.line_up(self, b'', ws2s.NEW if self.name == 'new' else ws2s.HEAVY)

    loop.line_up(One('old'), b'', ws2s.HEAVY)
    for _ in range(3):
        loop.line_up(One('new'), b'', ws2s.NEW)
    for _ in range(10):
        loop.turn()
    loop.close()
    assert 'old' in order, order


def unfinished_messages():
    gc.collect()
    return [one for one in gc.get_objects() if isinstance(one, ws2s.WebSocket) and one._kept]


def test_what_an_ended_client_held_is_freed(running_gateway):
    """Over the bound a Ranking of all is made: it must not keep those alive who go by themselves afterwards."""
    gateway = running_gateway({'limits': {'totalBytes': 4 << 20, 'messageBytes': 1 << 20}})
    clients = [RawClient(gateway.address).open() for _ in range(8)]
    for client in clients:
        client.send(frame(TEXT, b' ' * 900000, final=False))
    wait_until(lambda: sum(session.state != ws2s.OPEN for session in gateway.clients) or len(gateway.clients) < 8, 5)
    for client in clients:
        client.abort()
    wait_until(lambda: not gateway.clients, 5)
    assert gateway.budget.bytes == 0
    wait_until(lambda: not unfinished_messages(), 5)


class Hoard(ws2s.Dialect):
    """Holds what it gets, and says so by its backlog."""

    def __init__(self, request, config):
        self.backlog = 0

    def on_text(self, text):
        self.backlog += int(text)
        return []


def test_no_more_clients_than_needed_lose_for_the_backlogs_of_others(running_gateway):
    gateway = running_gateway({'limits': {'totalBytes': 8 << 20, 'drainSeconds': 2}},
                              dialects=((lambda request, config: True, Hoard),))
    clients = [RawClient(gateway.address).open() for _ in range(9)]
    for client in clients:
        client.send_frame(TEXT, b'1000000')
    wait_until(lambda: len(sessions(gateway)) < 9 and gateway.budget.bytes <= 8 << 20, 5)
    assert sum(session.state == ws2s.OPEN for session in sessions(gateway)) == 8
    for client in clients:
        client.abort()


if ws2s.CAN_SPLICE:
    def test_bytes_that_begin_to_wait_in_a_pipe_have_not_waited_long():
        class Full(ws2s.Wire):
            def send_head(self, sock, data):
                raise OSError(ws2s.errno.EAGAIN, 'full')

        loop, (near, far) = ws2s.Loop(), socket.socketpair()
        near.setblocking(False)
        try:
            while near.send(b'x' * 100000):
                pass
        except (IOError, OSError):
            pass
        stream = ws2s.Stream(loop, near, ws2s.StreamOwner(), 262144, ws2s.Budget(1 << 20))
        stream.wire = Full()
        begun = loop.now
        pipe = loop.pipes.take()
        far.sendall(b'y' * 50000)
        pipe.fill(near, 50000)
        loop.now += 400
        stream.pour(b'head', pipe)
        assert stream.pending and stream.taken == loop.now, (stream.taken - begun)
        stream.close()
        far.close()
        loop.close()


def test_a_timer_that_is_armed_anew_at_once_does_not_hold_the_turn():
    loop, calls = ws2s.Loop(), []

    class Eager(ws2s.Handler):
        def again(self):
            calls.append(1)
            if len(calls) < 1000:
                loop.call_later(0, self.again)

    loop.call_later(0, Eager().again)
    loop.turn()
    loop.close()
    assert len(calls) == 1


def test_a_browser_gets_its_six_files_at_once_however_few_websockets_its_address_may_have(running_gateway):
    """It opens six connections at a time; each asks at once."""
    gateway = running_gateway({'web': None, 'limits': {'clientsPerAddress': 1}})
    clients = [RawClient(gateway.address) for _ in range(6)]
    for client in clients:
        client.send(b'GET /ws2s.js HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n')
    statuses = []
    for client in clients:
        try:
            statuses.append(client.receive_reply()[0])
        except (IOError, OSError, EOFError, ValueError) as error:
            statuses.append(repr(error))
        client.sock.close()
    assert statuses == [200] * 6, statuses
