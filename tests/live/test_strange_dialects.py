# -*- coding: utf-8 -*-
"""Three dialects written from the docstrings alone, and our own raw bytes and Wisp: what is promised of JSON is true of
them."""

import contextlib
import random
import socket
import threading
import time

import pytest

import ws2s
from census import is_empty
from mux_dialect import CREDIT, HEAD
from raw_client import BINARY, CLOSE, PING, PONG, TEXT, RawClient, exchange, frame, upgrade_request
from raw_dialect import target_in
from strangers import (ROWS, Channel, MuxCrowd, MuxSpeaker, OurSpeaker, RawSpeaker, Sender, WispChannel, WispCrowd,
                       WispSpeaker)
from tape import Reading, Tape, record
from targets import (closed_port, echo, recorder, released, reset, saying, serving, serving_together, shut,
                     silent_port, sink, unaccepted, when)
from waiting import wait_until, wait_until_still

pytestmark = [pytest.mark.programs, pytest.mark.usefixtures('no_mistakes')]

PIECE = 32768
BUFFER = 262144      # limits.bufferBytes
READ = 131072        # what may be read on top of it in one go
SMALL_BUFFER = 65536  # of the kernel, at our ends
MEGABYTE = 1 << 20

WISP_CREDIT = 16 * PIECE  # bytes that the first packets of a stream take here
SPEAKERS = pytest.mark.parametrize('speaker', [RawSpeaker, MuxSpeaker, OurSpeaker, WispSpeaker],
                                   ids=['raw', 'mux', 'our raw', 'wisp'])
ONE_FOR_ONE = pytest.mark.parametrize('speaker', [RawSpeaker, OurSpeaker], ids=['raw', 'our raw'])


@pytest.fixture
def start(running_gateway):
    """Starts a gateway that speaks all of them: ``start(limits, raw, resolve=...)``."""
    return lambda limits=None, raw=None, **parameters: running_gateway({'limits': limits or {}, 'raw': raw or {}},
                                                                       dialects=ROWS, **parameters)


@pytest.fixture
def gateway(start):
    return start()


@pytest.fixture(params=['pipes', 'copies'] if ws2s.CAN_SPLICE else ['copies'])
def has_pipes(request, monkeypatch):
    monkeypatch.setattr(ws2s, 'CAN_SPLICE', request.param == 'pipes')
    return request.param == 'pipes'


def has_used_pipes(gateway):
    return gateway.loop.pipes.lent > 0 or gateway.loop.pipes.free is not None


class Flood(object):
    """A target that sends ``total`` bytes of a tape and ends; ``sent`` of them so far."""

    def __init__(self, tape, total):
        self.sent, self._tape, self._total = 0, tape, total

    def __call__(self, sock):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL_BUFFER)
        for piece in self._tape.pieces(self._total, PIECE):
            sock.sendall(piece)
            self.sent += len(piece)


@contextlib.contextmanager
def opened(speaker, gateway, port, **parameters):
    with speaker(gateway.address, **parameters) as client:
        yield client.reach(port)


def wait_until_heard(client):
    """The gateway has read all that was sent so far."""
    client.send_frame(PING, b'heard?')
    opcode, payload = client.receive_frame()
    while opcode != PONG:
        opcode, payload = client.receive_frame()
    assert payload == b'heard?'


# -- what each says ----------------------------------------------------------------------------------------------------

def test_echo_says_texts_and_binary_messages_back(gateway):
    with RawClient(gateway.address) as client:
        client.open('/echo').send_frame(TEXT, u'\u20ac'.encode('utf-8'))
        assert client.receive_frame() == (TEXT, u'\u20ac'.encode('utf-8'))
        client.send_frame(BINARY, b'\0\1', final=False)
        client.send_frame(0, b'\2')
        assert client.receive_frame() == (BINARY, b'\0\1\2')


@pytest.mark.parametrize('path, name', [('/echo', 'echo'), ('/127.0.0.1:9', 'binary')], ids=['echo', 'raw'])
@pytest.mark.parametrize('offered', [None, '%s', 'other, %s', 'other'])
def test_subprotocol_is_named_when_it_is_offered_only(gateway, path, name, offered):
    headers = [('Sec-WebSocket-Protocol', offered.replace('%s', name))] if offered else []
    with RawClient(gateway.address) as client:
        client.send(upgrade_request(path, headers=headers))
        head = client.receive_head()
        assert head.startswith(b'HTTP/1.1 101 ')
        is_named = ('\r\nSec-WebSocket-Protocol: %s\r\n' % name).encode('ascii') in head
        assert is_named == bool(offered and '%s' in offered)
        assert is_named or b'sec-websocket-protocol' not in head.lower()


@pytest.mark.parametrize('status, header', [(401, ('www-authenticate', 'Ticket')), (429, ('retry-after', '7'))])
def test_constructor_refuses_with_a_status_and_headers(gateway, status, header):
    got, headers, _ = exchange(gateway.address, upgrade_request('/echo?refuse=%d' % status))
    assert got == status and headers[header[0]] == header[1]


@pytest.mark.parametrize('query', ['after=soon', 'after=%zz', '%ff=1'])
def test_query_that_makes_no_sense_gets_400(gateway, query):
    assert exchange(gateway.address, upgrade_request('/echo?' + query))[0] == 400


def test_greeting_comes_later_and_unasked(gateway):
    with RawClient(gateway.address) as client:
        client.open('/echo?greet=good+morning%21&after=0.2').send_frame(TEXT, b'first')
        assert client.receive_text() == b'first'
        assert client.receive_text() == b'good morning!'


def test_later_of_a_client_that_has_left_is_not_waited_for(gateway):
    with RawClient(gateway.address) as client:
        client.open('/echo?greet=hello&after=3600').close()
    wait_until(lambda: is_empty(gateway))
    wait_until(lambda: gateway.loop.live_timers() == 0)


@pytest.mark.parametrize('path, target', [
    ('/127.0.0.1:80', (u'127.0.0.1', 80)), ('/[::1]:80', (u'::1', 80)), ('/%5B::1%5D%3A80', (u'::1', 80)),
    ('/l%6Fcalhost:1', (u'localhost', 1)), ('/b%C3%BCcher.test:65535', (u'b\xfccher.test', 65535))])
def test_target_in_a_path(path, target):
    assert target_in(path) == target


@pytest.mark.parametrize('path', ['/', '/127.0.0.1', '/127.0.0.1:', '/:80', '/127.0.0.1:0', '/127.0.0.1:65536',
                                  '/a:80/', '/::1:80', '/[::1]', '/[::1]80', '/[x.test]:80', '/a%20b:80', '/a/b:80',
                                  '/%ff:80', '/a:8%30%30%30%30%30', '/a%00:80', '/' + 254 * 'a' + ':80'])
def test_path_that_names_no_target_gets_400(gateway, path):
    assert exchange(gateway.address, upgrade_request(path))[0] == 400


def test_raw_reaches_ipv6_and_ipv4_by_the_path(gateway):
    with serving_together([('127.0.0.1', saying(b'four')), ('::1', saying(b'six'))]) as port:
        for host, word in ('127.0.0.1', b'four'), ('%5B::1%5D', b'six'), ('[::1]', b'six'):
            with RawSpeaker(gateway.address) as client:
                assert client.reach(port, host).next_data() == word
                assert client.hears_the_end()


def test_raw_takes_texts_for_data(gateway):
    with serving(echo) as port, opened(RawSpeaker, gateway, port) as client:
        for opcode, data in (TEXT, u'\u20ac'.encode('utf-8')), (BINARY, b'\xff'), (TEXT, b'x'):
            client.send_frame(opcode, data)
            assert client.receive_frame() == (BINARY, data)


def test_raw_closes_with_1011_and_the_reason_when_the_target_cannot_be_reached(gateway):
    with RawSpeaker(gateway.address) as client:
        assert client.reach(closed_port()).receive_close() == (1011, 'refused')


def test_raw_does_not_let_a_cut_connection_look_complete(gateway):
    go = threading.Event()
    with serving(when(go, reset)) as port, released(go), opened(RawSpeaker, gateway, port) as client:
        go.set()
        assert client.receive_close() == (1011, 'reset')


def mux_words(client, *requests):
    for request in requests:
        client.send_frame(TEXT, request.encode('ascii'))
    return client.receive_text()


def test_mux_opens_closes_and_opens_again(gateway):
    received = []
    with serving(recorder(received)) as port, RawClient(gateway.address) as client:
        client.open('/mux')
        for word in b'first', b'second':
            assert mux_words(client, 'open 7 127.0.0.1:%d' % port) == b'opened 7'
            client.send_frame(BINARY, HEAD.pack(7) + word)
            assert client.receive_text() == ('credit 7 %d' % len(word)).encode('ascii')
            assert mux_words(client, 'close 7') == b'closed 7 asked'
        wait_until(lambda: len(received) == 2)
        assert sorted(received) == [b'first', b'second']
        assert mux_words(client, 'open 8 127.0.0.1:%d' % closed_port()) == b'failed 8 refused'
        client.send_frame(BINARY, HEAD.pack(8) + b'too late')
        for target in '127.0.0.1:0', 'x', ':80', 'x:80y', 'x\x07:80', 'x' * 254 + ':80':
            assert mux_words(client, 'open 8 ' + target) == b'failed 8 target'
    with serving(saying(b'bye')) as port, opened(MuxSpeaker, gateway, port) as client:
        assert client.next_data() == b'bye' and client.hears_the_end()


@pytest.mark.parametrize('request_text', ['', 'open', 'open 1', 'open x 127.0.0.1:1', 'open 65536 127.0.0.1:1',
                                          'hello 1', 'close 1 2', 'open 1 127.0.0.1:1 x'])
def test_mux_closes_with_1008_what_it_does_not_know(gateway, request_text):
    with RawClient(gateway.address) as client:
        client.open('/mux').send_frame(TEXT, request_text.encode('ascii'))
        assert client.receive_close()[0] == 1008


def test_mux_closes_with_1008_when_a_channel_is_opened_twice(gateway):
    with serving(sink) as port, opened(MuxSpeaker, gateway, port) as client:
        client.send_frame(TEXT, ('open 1 127.0.0.1:%d' % port).encode('ascii'))
        assert client.receive_close()[0] == 1008
    wait_until(lambda: is_empty(gateway))


# -- flow --------------------------------------------------------------------------------------------------------------

@SPEAKERS
def test_bulk_both_ways_at_once_arrives_intact(gateway, speaker, has_pipes):
    up, down, total = Tape(1), Tape(2), 16 * MEGABYTE
    uploaded, reading, go = Reading(up), Reading(down), threading.Event()

    def both(sock):
        writer = threading.Thread(target=Flood(down, total), args=(sock,))
        writer.start()
        record(sock, uploaded, total)
        writer.join()
        go.wait(30)

    with serving(both) as port, released(go), opened(speaker, gateway, port) as client:
        sender = Sender(client, up, total)
        client.read(reading, total)
        client.wait_until(lambda: uploaded.position == total)
        sender.join()
        go.set()
        assert client.hears_the_end()


@SPEAKERS
def test_client_that_reads_nothing_stalls_its_target_and_gets_every_byte_later(
        small_kernel_buffers, gateway, speaker, has_pipes):
    tape, total = Tape(3), 32 * MEGABYTE
    flood = Flood(tape, total)
    with serving(flood) as port, opened(speaker, gateway, port, receive_buffer=SMALL_BUFFER) as client:
        assert wait_until_still(lambda: flood.sent) < total // 2
        assert gateway.budget.bytes <= BUFFER + READ or has_pipes
        assert gateway.budget.bytes <= BUFFER + ws2s.BULK_BYTES
        client.read(Reading(tape), total)
        assert client.hears_the_end()


@SPEAKERS
def test_kernel_pipes_carry_downloads_behind_a_prefix(gateway, speaker, has_pipes):
    tape, total = Tape(4), 32 * MEGABYTE
    with serving(Flood(tape, total)) as port, opened(speaker, gateway, port) as client:
        reading = Reading(tape)
        client.read(reading, total)
        assert has_used_pipes(gateway) == has_pipes
        assert client.hears_the_end()
    wait_until(lambda: gateway.loop.pipes.lent == 0)


@ONE_FOR_ONE
def test_target_that_reads_nothing_stalls_a_raw_client_and_gets_every_byte_later(
        small_kernel_buffers, gateway, speaker):
    tape, total, go = Tape(5), 32 * MEGABYTE, threading.Event()
    reading = Reading(tape)
    with serving(when(go, lambda sock: record(sock, reading)), receive_buffer=SMALL_BUFFER) as port:
        with released(go), opened(speaker, gateway, port) as client:
            sender = Sender(client, tape, total)
            assert wait_until_still(lambda: sender.sent) < total
            assert gateway.budget.bytes <= BUFFER + READ
            go.set()
            sender.join()
            wait_until(lambda: reading.position == total, 30)
            wait_until_heard(client)


CREDITS = pytest.mark.parametrize('speaker, credit', [(MuxSpeaker, CREDIT), (WispSpeaker, WISP_CREDIT)],
                                  ids=['mux', 'wisp'])


@CREDITS
def test_target_that_reads_nothing_gets_no_more_of_a_client_than_its_credit(
        small_kernel_buffers, gateway, speaker, credit):
    """What the kernel takes is given back; the client is never choked, and every byte arrives later."""
    tape, total, go = Tape(6), 8 * MEGABYTE, threading.Event()
    reading = Reading(tape)
    with serving(when(go, lambda sock: record(sock, reading)), receive_buffer=SMALL_BUFFER) as port:
        with released(go), opened(speaker, gateway, port) as client:
            sender = Sender(client, tape, total)
            client.wait_until(lambda: is_stuck(client, gateway))
            assert 0 < gateway.budget.bytes <= credit
            wait_until_heard(client)
            go.set()
            client.wait_until(lambda: reading.position == total)
            sender.join()


def is_stuck(client, gateway):
    """Nothing comes and goes, while something is held."""
    held = gateway.budget.bytes
    return held > 0 and not client.has_news(0.4) and gateway.budget.bytes == held


@CREDITS
@pytest.mark.parametrize('pieces', [PIECE, 1000, 60000])
def test_client_that_overruns_its_credit_is_choked_at_messageBytes_and_loses_nothing(
        small_kernel_buffers, start, pieces, speaker, credit):
    tape, total, go, gateway = Tape(7), 16 * MEGABYTE, threading.Event(), start({'messageBytes': MEGABYTE})
    reading = Reading(tape)
    with serving(when(go, lambda sock: record(sock, reading)), receive_buffer=SMALL_BUFFER) as port:
        with released(go), opened(speaker, gateway, port) as client:
            sender = Sender(client, tape, total, pieces=pieces, heedless=True)
            wait_until(lambda: gateway.budget.bytes > BUFFER)
            assert wait_until_still(lambda: sender.sent) < total
            assert BUFFER < gateway.budget.bytes <= MEGABYTE + READ
            go.set()
            sender.join()
            wait_until(lambda: reading.position == total, 30)


def test_echo_client_that_reads_nothing_is_read_no_more_and_gets_every_byte_later(small_kernel_buffers, gateway):
    tape, total = Tape(8), 32 * MEGABYTE
    with RawSpeaker(gateway.address, receive_buffer=SMALL_BUFFER) as client:
        sender = Sender(client.open('/echo'), tape, total)
        assert wait_until_still(lambda: sender.sent) < total
        assert gateway.budget.bytes <= BUFFER + 2 * READ
        client.read(Reading(tape), total)
        sender.join()
        client.close()


@pytest.mark.parametrize('path', ['/echo', '/mux'])
def test_whole_message_longer_than_messageBytes_closes_with_1009_and_is_not_held(start, path):
    gateway = start({'messageBytes': 100000})
    with RawClient(gateway.address) as client:
        client.open(path).send(frame(BINARY, b'x' * 100001)[:50000])
        assert client.receive_close()[0] == 1009
    with RawClient(gateway.address) as client:
        client.open(path).send_frame(BINARY, b'x' * 60000, final=False)
        wait_until(lambda: gateway.budget.bytes >= 60000)
        client.send_frame(0, b'x' * 60000)
        assert client.receive_close()[0] == 1009
    wait_until(lambda: is_empty(gateway))


LEAVES = [
    ('Close', lambda client: client.send_frame(CLOSE, b'\x03\xe8')),
    ('FIN', lambda client: client.sock.shutdown(socket.SHUT_WR)),
    ('RST', lambda client: client.abort()),
]
LEAVING = pytest.mark.parametrize('leave', [leave for _, leave in LEAVES], ids=[name for name, _ in LEAVES])


def late_recorder(tape, go):
    """(target, reading, ended): a target that reads nothing until ``go`` is set."""
    reading, ended = Reading(tape), threading.Event()

    def late(sock):
        record(sock, reading)
        ended.set()

    return when(go, late), reading, ended


@SPEAKERS
@LEAVING
def test_what_was_taken_reaches_a_slow_target_when_the_client_leaves_by(start, speaker, leave):
    tape, total, go = Tape(9), 8 * MEGABYTE, threading.Event()
    target, reading, ended = late_recorder(tape, go)
    gateway = start({'bufferBytes': 16 * MEGABYTE})
    with serving(target, receive_buffer=SMALL_BUFFER) as port, released(go), opened(speaker, gateway, port) as client:
        client.send(b''.join(client.data_frame(piece) for piece in tape.pieces(total, PIECE)))
        wait_until_heard(client)
        leave(client)
        wait_until(lambda: [upstream.state for upstream in list(gateway.upstreams)] == ['draining'])
        assert gateway.budget.bytes > 0
        go.set()
        assert ended.wait(10)
        assert reading.position == total


@CREDITS
@LEAVING
def test_what_was_taken_reaches_a_slow_target_when_its_channel_is_closed_and_the_client_leaves(
        start, leave, speaker, credit):
    tape, total, go = Tape(10), 4 * MEGABYTE, threading.Event()
    target, reading, ended = late_recorder(tape, go)
    gateway = start({'bufferBytes': 16 * MEGABYTE})
    with serving(target, receive_buffer=SMALL_BUFFER) as port, released(go):
        with opened(speaker, gateway, port) as client:
            client.send(b''.join(client.data_frame(piece) for piece in tape.pieces(total, PIECE)))
            client.end_its_channel()
            wait_until_heard(client)
            leave(client)
        go.set()
        assert ended.wait(10)
        assert reading.position == total


class SlowNames(object):
    """A resolve that waits for an event; then every name is this machine."""

    def __init__(self):
        self.go = threading.Event()

    def __call__(self, host, port):
        self.go.wait(60)
        return [(socket.AF_INET, ('127.0.0.1', port))]


@pytest.mark.parametrize('leave', [leave for _, leave in LEAVES[:2]], ids=[name for name, _ in LEAVES[:2]])
@pytest.mark.parametrize('speaker, count', [
    (RawSpeaker, 5), (RawSpeaker, 200000), (OurSpeaker, 5), (OurSpeaker, 200000), (MuxSpeaker, 5),
    (MuxSpeaker, 2 * BUFFER), (WispSpeaker, 5), (WispSpeaker, 2 * BUFFER)],
    ids=['raw-5', 'raw-most', 'our-5', 'our-most', 'mux-5', 'mux-more', 'wisp-5', 'wisp-more'])
def test_early_data_reaches_the_target_when_the_client_leaves_before_it_stands(start, speaker, leave, count):
    names, received, tape = SlowNames(), [], Tape(11)
    gateway = start(resolve=names)
    with serving(recorder(received)) as port, released(names.go), speaker(gateway.address) as client:
        client.begin(port, 'target.test').send(client.data_frame(tape.cut(0, count)))
        wait_until(lambda: gateway.budget.bytes >= count)
        leave(client)
        wait_until(lambda: not [one for one in list(gateway.clients) if isinstance(one, ws2s.Session)])
        names.go.set()
        wait_until(lambda: received)
        assert received == [tape.cut(0, count)]


@SPEAKERS
def test_early_data_goes_first_and_in_order(start, speaker):
    names, reading, tape, total = SlowNames(), Reading(Tape(12)), Tape(12), 100000
    gateway = start(resolve=names)
    with serving(lambda sock: record(sock, reading)) as port, released(names.go), speaker(gateway.address) as client:
        client.begin(port, 'target.test')
        for number, piece in enumerate(tape.pieces(total, 1000)):
            client.send(client.data_frame(piece))
            if number == 50:
                wait_until(lambda: gateway.budget.bytes >= 51000)
                names.go.set()
        wait_until(lambda: reading.position == total)


@pytest.mark.parametrize('speaker, most', [(RawSpeaker, BUFFER), (MuxSpeaker, MEGABYTE), (OurSpeaker, BUFFER),
                                           (WispSpeaker, MEGABYTE)], ids=['raw', 'mux', 'our raw', 'wisp'])
def test_early_data_is_bounded(start, speaker, most):
    names, tape, total = SlowNames(), Tape(13), 32 * MEGABYTE
    gateway, reading = start({'messageBytes': MEGABYTE}, resolve=names), Reading(tape)
    with serving(lambda sock: record(sock, reading)) as port, released(names.go), speaker(gateway.address) as client:
        sender = Sender(client.begin(port, 'target.test'), tape, total, heedless=True)
        wait_until(lambda: gateway.budget.bytes >= most)
        assert wait_until_still(lambda: sender.sent) < total
        assert most <= gateway.budget.bytes <= most + READ
        names.go.set()
        sender.join()
        wait_until(lambda: reading.position == total, 30)


@SPEAKERS
def test_a_client_is_heard_while_its_early_data_waits(start, speaker):
    names = SlowNames()
    with released(names.go), speaker(start(resolve=names).address) as client:
        client.begin(80, 'target.test').send(client.data_frame(b'early'))
        wait_until_heard(client)
        client.close()


@SPEAKERS
def test_the_end_is_told_after_the_last_byte_when_the_client_reads_late(gateway, speaker, has_pipes):
    tape, total = Tape(14), 4 * MEGABYTE
    flood = Flood(tape, total)
    with serving(flood) as port, opened(speaker, gateway, port, receive_buffer=16384) as client:
        wait_until_still(lambda: (flood.sent, gateway.budget.bytes))
        assert gateway.budget.bytes > 0
        client.read(Reading(tape), total)
        assert client.hears_the_end()


@SPEAKERS
def test_client_that_is_gone_while_it_had_not_read_is_noticed_at_once(gateway, speaker, has_pipes):
    flood = Flood(Tape(15), 32 * MEGABYTE)
    with serving(flood) as port, opened(speaker, gateway, port, receive_buffer=SMALL_BUFFER) as client:
        wait_until_still(lambda: flood.sent)
        client.sock.close()
        wait_until(lambda: is_empty(gateway), 2)


@pytest.mark.parametrize('speaker, words', [
    (RawSpeaker, b'\x03\xf3idle'), (MuxSpeaker, b'closed 1 idle'), (OurSpeaker, b'\x03\xf3idle'),
    (WispSpeaker, b'\4\1\0\0\0\x47')], ids=['raw', 'mux', 'our raw', 'wisp'])
def test_target_that_is_idle_too_long_is_told_as_such(start, speaker, words):
    with serving(sink) as port, opened(speaker, start({'idleSeconds': 0.3}), port) as client:
        assert client.receive_frame()[1] == words


def test_channel_that_is_idle_too_long_does_not_take_others_along(start):
    with serving(sink) as port, opened(MuxSpeaker, start({'idleSeconds': 1}), port) as client:
        assert mux_words(client, 'open 2 127.0.0.1:%d' % port) == b'opened 2'
        payload = b''
        while payload != b'closed 2 idle':
            client.send(client.data_frame(b'x'))
            payload = client.receive_text()
            assert payload in (b'credit 1 1', b'closed 2 idle')
            threading.Event().wait(0.05)
        client.send(client.data_frame(b'x'))
        wait_until_heard(client)


@pytest.mark.parametrize('path', ['/echo', '/mux'])
def test_client_without_a_target_gets_1001_at_once_when_the_gateway_stops(start, path):
    gateway = start({'drainSeconds': 60})
    with RawClient(gateway.address) as client:
        client.open(path)
        gateway.drain()
        assert client.receive_close()[0] == 1001


@SPEAKERS
def test_target_under_way_is_finished_when_the_gateway_stops(start, speaker):
    gateway, tape, total, go = start({'drainSeconds': 60}), Tape(20), MEGABYTE, threading.Event()
    with serving(when(go, Flood(tape, total))) as port, released(go), opened(speaker, gateway, port) as client:
        gateway.drain()
        go.set()
        client.read(Reading(tape), total)
        assert client.hears_the_end()
        if speaker in (MuxSpeaker, WispSpeaker):
            assert client.receive_close()[0] == 1001


# -- aborts ------------------------------------------------------------------------------------------------------------

def flood_for_ever(sock):
    while True:
        sock.sendall(b'x' * 65536)


def quick_resolve(host, port):
    """Some look-ups are under way when their client leaves, some still wait."""
    threading.Event().wait(0.005)
    return [(socket.AF_INET, ('127.0.0.1', port))]


class Scene(object):
    """A gateway, a kind of client, and the targets of all stages."""

    def __init__(self, gateway, speaker, ports):
        self.gateway, self.speaker, self.ports = gateway, speaker, ports

    def begun(self, target, host='127.0.0.1'):
        return self.speaker(self.gateway.address).begin(self.ports[target], host)

    def connected(self, target):
        return self.speaker(self.gateway.address).reach(self.ports[target])


def in_a_frame(scene):
    client = scene.begun('sink')
    client.send(client.data_frame(b'x' * 10000)[:5000])
    return client


def in_the_look_up(scene):
    client = scene.begun('sink', 'name.test')
    client.send(client.data_frame(b'taken along'))
    return client


def in_the_connect(scene):
    return scene.begun('silent')


def in_the_connect_with_early_data(scene):
    client = scene.begun('silent')
    client.send(client.data_frame(b'early'))
    return client


def when_idle(scene):
    return scene.connected('sink')


def streaming_up(scene):
    client = scene.connected('unread')
    client.send(client.data_frame(b'x' * CREDIT))
    return client


def streaming_down(scene):
    client = scene.connected('flood')
    client.next_data()
    return client


def when_the_target_has_gone(scene):
    client = scene.connected('gone')
    assert client.next_data() == b'hello'
    return client


def in_its_close(scene):
    client = streaming_down(scene)
    client.send_frame(CLOSE)
    return client


def in_the_close_of_its_channel(scene):
    client = streaming_up(scene)
    client.end_its_channel()
    return client


def in_an_echo(scene):
    client = scene.speaker(scene.gateway.address).open('/echo?greet=hello&after=0.01')
    client.send_frame(BINARY, b'x' * 200000)
    return client


def in_the_agreement_on_wisp(scene):
    return scene.speaker(scene.gateway.address).open('/wisp/', [('Sec-WebSocket-Protocol', 'wisp-v2')])


def in_the_look_up_of_a_token(scene):
    client = scene.speaker(scene.gateway.address)
    client.send(upgrade_request('/ours/?token=sink') + frame(BINARY, b'early'))
    return client


def by_datagrams(scene):
    client = scene.speaker(scene.gateway.address).open('/ours/127.0.0.1:%d?udp=1' % scene.ports['sink'])
    client.send_frame(BINARY, b'datagram')
    return client


STAGES = [in_a_frame, in_the_look_up, in_the_connect, in_the_connect_with_early_data, when_idle, streaming_up,
          streaming_down, when_the_target_has_gone, in_its_close, in_the_close_of_its_channel, in_an_echo,
          in_the_agreement_on_wisp, in_the_look_up_of_a_token, by_datagrams]


def with_fin(client):
    client.sock.shutdown(socket.SHUT_WR)
    client.sock.close()


def with_reset(client):
    client.abort()


@SPEAKERS
def test_nothing_is_left_of_clients_that_go_at_any_stage(start, speaker, many_descriptors, tmpdir):
    tokens = tmpdir.join('tokens')
    tokens.write('')
    gateway = start({'drainSeconds': 0.3, 'connectSeconds': 2}, {'tokens': str(tokens), 'udp': True},
                    resolve=quick_resolve)
    with serving(sink) as sink_port, serving(flood_for_ever) as flood_port, serving(saying(b'hello')) as gone_port, \
            unaccepted(1024) as unread_port, silent_port() as silent:
        scene = Scene(gateway, speaker, {'sink': sink_port, 'flood': flood_port, 'gone': gone_port,
                                         'unread': unread_port, 'silent': silent})
        tokens.write('sink: name.test:%d' % sink_port)
        for _ in range(8):
            for stage in STAGES:
                for leave in (with_fin, with_reset):
                    leave(stage(scene))
        wait_until(lambda: is_empty(gateway), 20, 'the last of them to be gone')
        wait_until(lambda: gateway.loop.live_timers() == 0)
        with scene.connected('sink') as client:
            client.close()


# -- many --------------------------------------------------------------------------------------------------------------

def echo_all(gateway, speaker, port, number, errors):
    """One client of many: what it sends to an echo comes back, and nothing else."""
    try:
        chance, tape = random.Random(number), Tape(16)
        begin, total = chance.randrange(Tape.PERIOD), chance.randrange(1, 400000)
        with opened(speaker, gateway, port, timeout=60, receive_buffer=8192) as client:
            sender = Sender(client, tape, total, begin, chance.choice([1000, 10000, 60000]))
            reading = Reading(tape, begin)
            while reading.position < total:
                time.sleep(chance.choice([0, 0, 0, 0.005, 0.02]))  # one reader of many is slow
                client.read(reading, min(total, reading.position + chance.randrange(1, 50000)))
            sender.join()
            client.send_frame(CLOSE, b'\x03\xe8')
            client.receive_all()
    except Exception as error:  # any: the test reports it
        errors.append('%d: %r' % (number, error))


class EchoSpeaker(RawSpeaker):
    """Says to the gateway what the others say to a target."""

    def reach(self, port, host='127.0.0.1'):
        return self.open('/echo')


@pytest.mark.parametrize('speaker', [EchoSpeaker, RawSpeaker, MuxSpeaker, OurSpeaker, WispSpeaker],
                         ids=['echo', 'raw', 'mux', 'our raw', 'wisp'])
def test_no_byte_of_50_clients_is_wrong_or_crosses(start, small_kernel_buffers, speaker):
    gateway, errors = start({'bufferBytes': 32768}), []
    with serving(echo, receive_buffer=8192) as port:
        threads = [threading.Thread(target=echo_all, args=(gateway, speaker, port, number, errors))
                   for number in range(50)]
        for thread in threads:
            thread.daemon = True
            thread.start()
        for thread in threads:
            thread.join(100)
        assert not errors
        wait_until(lambda: is_empty(gateway))


STUCK = 100


CROWDS = pytest.mark.parametrize('crowd_of, channel', [(MuxCrowd, Channel), (WispCrowd, WispChannel)],
                                 ids=['mux', 'wisp'])


def random_channels(channel, tape, count):
    chance = random.Random(17)
    return [channel(number, tape, chance.randrange(Tape.PERIOD), chance.randrange(1, 200000))
            for number in range(1, count + 1)]


@CROWDS
def test_channels_of_one_websocket_are_intact_while_one_is_stuck(
        small_kernel_buffers, gateway, has_pipes, crowd_of, channel):
    """All others have got everything before the stuck one gets its first byte."""
    tape, total, go, stuck_reading = Tape(17), 4 * MEGABYTE, threading.Event(), Reading(Tape(18))
    others, stuck = random_channels(channel, tape, STUCK - 1), channel(STUCK, Tape(18), 0, total)
    with serving(echo) as port, released(go), RawSpeaker(gateway.address, timeout=30) as client:
        with serving(when(go, lambda sock: record(sock, stuck_reading)), receive_buffer=4096) as stuck_port:
            with crowd_of(client.open(crowd_of.path), others + [stuck]) as crowd:
                crowd.open(STUCK, stuck_port)
                crowd.read_until(lambda: not stuck.credit and is_stuck(client, gateway))
                for other in others:
                    crowd.open(other.number, port)
                crowd.read_until(lambda: all(other.is_complete() for other in others))
                assert stuck.left and not stuck_reading.position
                go.set()
                crowd.read_until(lambda: not stuck.left)
                wait_until(lambda: stuck_reading.position == total)
                assert not any(other.end for other in others)


@CROWDS
def test_channels_whose_client_reads_nothing_hold_no_more_than_one_would(
        small_kernel_buffers, gateway, has_pipes, crowd_of, channel):
    tape, total = Tape(19), 2 * MEGABYTE
    floods, channels = [], [channel(number, tape, 0, total) for number in range(1, 21)]
    for each in channels:
        each.left = 0  # these only read

    def flood(sock):
        floods.append(Flood(tape, total))
        floods[-1](sock)

    with serving(flood) as port, RawSpeaker(gateway.address, 30, SMALL_BUFFER) as client:
        with crowd_of(client.open(crowd_of.path), channels) as crowd:
            for each in channels:
                crowd.open(each.number, port)
            wait_until_still(lambda: sum(flood.sent for flood in floods))
            assert gateway.budget.bytes <= BUFFER + ws2s.BULK_BYTES
            crowd.read_until(lambda: all(each.end for each in channels))
            assert all(each.is_complete() for each in channels)
            assert {each.reason() for each in channels} == {crowd_of.closed}


@CROWDS
@pytest.mark.parametrize('stage', ['stuck', 'dialled'])
def test_channels_that_overrun_their_credit_together_are_bounded_as_one(
        small_kernel_buffers, start, stage, crowd_of, channel):
    """None alone is choked: each gets less than messageBytes, but more than its kernel takes."""
    names, tape, size, channels = SlowNames(), Tape(21), 768 * 1024, range(1, 21)
    gateway = start({'messageBytes': MEGABYTE}, resolve=names)
    host = '127.0.0.1' if stage == 'stuck' else 'target.test'
    with unaccepted() as port, released(names.go), RawSpeaker(gateway.address) as client:
        crowd = crowd_of(client.open(crowd_of.path), [channel(number, tape, 0, size) for number in channels])
        for number in channels:
            client.send_frame(*crowd.opening(number, port, host))
        pieces = [crowd.packet(number, tape.cut(start, PIECE)) for start in range(0, size, PIECE)
                  for number in channels]
        sender = Sender(client, tape, len(pieces), pieces=1, heedless=True,
                        make_frame=lambda piece: frame(BINARY, pieces.pop()))
        wait_until(lambda: gateway.budget.bytes > BUFFER)
        wait_until_still(lambda: (sender.sent, gateway.budget.bytes))
        assert pieces
        assert gateway.budget.bytes <= MEGABYTE + READ
        shut(client.sock)
        sender.join()
        end_all(gateway)


def end_all(gateway):
    for upstream in list(gateway.upstreams):
        gateway.loop.post(upstream.end)


def test_mux_opens_no_more_channels_than_it_has(gateway):
    with serving(sink) as port, RawClient(gateway.address) as client:
        client.open('/mux')
        for number in range(256):
            assert mux_words(client, 'open %d 127.0.0.1:%d' % (number, port)).startswith(b'opened ')
        assert mux_words(client, 'open 256 127.0.0.1:%d' % port) == b'failed 256 channels'
        assert mux_words(client, 'close 7') == b'closed 7 asked'
        assert mux_words(client, 'open 256 127.0.0.1:%d' % port) == b'opened 256'
        client.close()
