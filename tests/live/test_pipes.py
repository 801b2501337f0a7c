# -*- coding: utf-8 -*-
"""Bulk data, and the streams that carry them.

Where Python can, data of a target that nobody has to look at goes to the client through a pipe in the kernel. What
comes and goes must be the same without pipes: tests of downloads are run BOTH_WAYS.
"""

import collections
import contextlib
import errno
import itertools
import json
import os
import random
import socket
import threading

import pytest

import ws2s
from census import is_empty, sessions
from raw_client import BINARY, CLOSE, CONTINUATION, TEXT, RawClient, frame, sendb_frame
from tape import Reading, Tape, record
from targets import echo, released, reset, serving, sink, when
from waiting import wait_until, wait_until_still

pytestmark = pytest.mark.usefixtures('no_mistakes')

BUFFER = 262144       # limits.bufferBytes
WINDOW = 1 << 20
SMALL_BUFFER = 65536  # of the kernel, at our ends
MEGABYTE = 1 << 20


WAYS = [('pipes', True), ('copies', False)] if ws2s.CAN_SPLICE else [('copies', False)]
BOTH_WAYS = pytest.mark.parametrize('can_splice', [way for _, way in WAYS], ids=[name for name, _ in WAYS],
                                    indirect=True)


@pytest.fixture(autouse=True)
def can_splice(request, monkeypatch):
    """Whether data goes through pipes: where it can, unless the test is run BOTH_WAYS."""
    monkeypatch.setattr(ws2s, 'CAN_SPLICE', getattr(request, 'param', ws2s.CAN_SPLICE))


def lent(gateway):
    return gateway.loop.pipes.lent


def has_used_pipes(gateway):
    return lent(gateway) > 0 or gateway.loop.pipes.free is not None


@pytest.fixture
def start(running_gateway):
    """As running_gateway; when all clients have gone no bytes and no pipe may be left with the gateway."""
    begun = []

    def start_one(**limits):
        begun.append(running_gateway({'limits': limits}))
        return begun[-1]

    yield start_one
    for gateway in begun:
        wait_until(lambda: is_empty(gateway), 5, 'an empty gateway')
        gateway.stop()
        assert gateway.loop.pipes.free is None


@pytest.fixture
def gateway(start):
    return start()


@contextlib.contextmanager
def opened(gateway, **parameters):
    with RawClient(gateway.address, **parameters) as client:
        yield client.open()


def flood(tape, total, then=None):
    """A target that sends ``total`` bytes of ``tape`` as fast as they are taken."""
    def pour(sock):
        for piece in tape.pieces(total, MEGABYTE):
            sock.sendall(piece)
        if then:
            then(sock)
    return pour


def byte_by_byte(data):
    return [data[i:i + 1] for i in range(len(data))]


def failure(reply):
    return reply['success'], reply['code'], reply.get('reason')


def the_only(connections):
    """The one session or upstream; the loop's thread may be changing the set."""
    found = list(connections)
    assert len(found) == 1
    return found[0]


def read_bytes(client, reading, count):
    """At least ``count`` bytes more of the target."""
    goal = reading.position + count
    while reading.position < goal:
        reading.take(client.receive_data(1))


def read_to_reply(client, reading):
    """Data of the target up to the next text, which is a reply."""
    while True:
        opcode, payload = client.receive_frame()
        if opcode == TEXT:
            return json.loads(payload.decode('utf-8'))
        assert opcode == BINARY, (opcode, payload)
        reading.take(payload)


def read_to_close(client, reading):
    """Data of the target up to the Close; its payload."""
    while True:
        opcode, payload = client.receive_frame()
        if opcode == CLOSE:
            return payload
        assert opcode == BINARY, (opcode, payload)
        reading.take(payload)


def assert_nothing_more(client):
    for _ in range(5):
        assert client.ask(command='ping')['message'] == 'ping done'


def stands_full(gateway):
    return all(session.stream.congested for session in sessions(gateway))


def fill(gateway, client, reading):
    """Let the client stop so that much waits for it, in a pipe where there are any. How much was taken for it."""
    for _ in range(60):
        wait_until(lambda: stands_full(gateway))
        if lent(gateway) or not ws2s.CAN_SPLICE:
            return the_only(gateway.upstreams).received
        read_bytes(client, reading, MEGABYTE // 3)
    raise AssertionError('no pipe ever stands full')


@contextlib.contextmanager
def full(gateway, target, tape=None):
    """A client that has stopped to read in the middle of what ``target`` sends; what has come, how much was taken."""
    with serving(target) as port, opened(gateway, receive_buffer=SMALL_BUFFER) as client:
        client.connect_to(port, binary=True)
        reading = Reading(tape or Tape(1))
        taken = fill(gateway, client, reading)
        yield client, reading, taken


# -- downloads ---------------------------------------------------------------------------------------------------------

@BOTH_WAYS
def test_bulk_download_to_a_fast_reader_arrives_whole(gateway):
    tape, total = Tape(1), 16 * MEGABYTE + 12345
    reading = Reading(tape)
    with serving(flood(tape, total)) as port, opened(gateway) as client:
        client.connect_to(port, binary=True)
        reading.take_from(client, total)
        assert failure(client.receive_json()) == (False, 5, 'closed')
        assert has_used_pipes(gateway) == ws2s.CAN_SPLICE


@BOTH_WAYS
@pytest.mark.parametrize('buffer_bytes', [16384, 65536, BUFFER, 4 * MEGABYTE])
def test_bulk_download_to_a_reader_that_stops_and_goes_arrives_whole(start, buffer_bytes):
    gateway, tape, total = start(bufferBytes=buffer_bytes), Tape(2), 12 * MEGABYTE + 7
    reading, dice = Reading(tape), random.Random(3)
    with serving(flood(tape, total)) as port, opened(gateway, receive_buffer=SMALL_BUFFER) as client:
        client.connect_to(port, binary=True)
        while reading.position < total - 8 * MEGABYTE:
            wait_until(lambda: stands_full(gateway))
            assert gateway.budget.bytes <= buffer_bytes + ws2s.BULK_BYTES + 64
            read_bytes(client, reading, dice.randrange(MEGABYTE))
        reading.take_from(client, total)
        assert failure(client.receive_json()) == (False, 5, 'closed')


@BOTH_WAYS
def test_pipe_that_stands_full_is_emptied_when_its_client_goes_on(gateway):
    tape, total = Tape(1), 24 * MEGABYTE
    with full(gateway, flood(tape, total)) as (client, reading, taken):
        assert BUFFER // 4 <= gateway.budget.bytes <= BUFFER + ws2s.BULK_BYTES + 64
        reading.take_from(client, total)
        assert failure(client.receive_json()) == (False, 5, 'closed')
        assert lent(gateway) == 0


@BOTH_WAYS
@pytest.mark.parametrize('pipes', [0, 1, 3])
def test_more_slow_clients_than_pipes_all_get_their_bytes(start, monkeypatch, pipes):
    monkeypatch.setattr(ws2s, 'PIPES', pipes)
    gateway, tape, total, most = start(), Tape(4), 6 * MEGABYTE, []
    starts = itertools.count(0, 777)
    begins, clients = {}, []

    def from_somewhere(sock):
        begin = next(starts)
        sock.sendall(b'%08d' % begin)
        for piece in tape.pieces(total, MEGABYTE, begin):
            sock.sendall(piece)

    def looked_at():
        most.append(lent(gateway))
        return most[-1], gateway.budget.bytes

    with serving(from_somewhere) as port:
        try:
            for _ in range(8):
                client = RawClient(gateway.address, receive_buffer=SMALL_BUFFER).open()
                clients.append(client)
                client.connect_to(port, binary=True)
            wait_until_still(looked_at, still=0.2)
            for client in clients:
                head = bytearray()
                while len(head) < 8:
                    head += client.receive_data(1)
                begins[client] = Reading(tape, int(bytes(head[:8])))
                begins[client].take(bytes(head[8:]))
            for _ in range(4):  # by turns, so that many pipes stand full and few clients have one
                for client in clients:
                    looked_at()
                    read_bytes(client, begins[client], MEGABYTE // 2)
            for client in clients:
                begins[client].take_from(client, total)
                assert failure(client.receive_json()) == (False, 5, 'closed')
            assert max(most) <= pipes
            assert has_used_pipes(gateway) == (pipes > 0 and ws2s.CAN_SPLICE)
        finally:
            for client in clients:
                client.sock.close()


@BOTH_WAYS
@pytest.mark.parametrize('window', [WINDOW, 300001, 16384])
def test_window_is_kept_to_the_byte(gateway, window):
    tape, total = Tape(5), 8 * MEGABYTE
    reading = Reading(tape)
    with serving(flood(tape, total, sink)) as port, opened(gateway) as client:
        client.connect_to(port, binary=True, window=window)
        reading.take_from(client, window)
        assert_nothing_more(client)
        for step in (1, 100003, 32768, 65537, window - 1, window):
            step = min(step, window)
            client.send_json(command='ack', bytes=step)
            reading.take_from(client, reading.position + step)
            assert_nothing_more(client)
        if window > BUFFER:
            assert has_used_pipes(gateway) == ws2s.CAN_SPLICE


@BOTH_WAYS
def test_bulk_becomes_small_talk_and_bulk_again(gateway):
    tape, bulk = Tape(6), 3 * MEGABYTE

    def talk(sock):
        while sock.recv(1):
            flood(tape, bulk)(sock)
            for _ in range(20):
                sock.sendall(sock.recv(100))

    with serving(talk) as port, opened(gateway) as client:
        client.connect_to(port, binary=True)
        for turn in range(3):
            client.send_frame(BINARY, b'!')
            Reading(tape).take_from(client, bulk)
            for number in range(20):
                word = b'%d-%d' % (turn, number)
                client.send_frame(BINARY, word)
                assert client.receive_data(len(word)) == word
        assert has_used_pipes(gateway) == ws2s.CAN_SPLICE


@BOTH_WAYS
@pytest.mark.parametrize('sizes', [(1, 32767, 32768, 32769, 65535, 65536, 65537), (40000, 3), (262144, 262145)],
                         ids=['around the mark', 'large and small', 'around a pipe'])
def test_blocks_of_a_target_that_waits_between_them_come_whole_and_at_once(gateway, sizes):
    tape, total = Tape(7), 20 * sum(sizes)

    def ask_for_each(sock):
        position = 0
        for size in sizes * 20:
            sock.sendall(tape.cut(position, size))
            position += size
            sock.recv(1)

    reading = Reading(tape)
    with serving(ask_for_each) as port, opened(gateway) as client:
        client.connect_to(port, binary=True)
        for size in sizes * 20:
            reading.take_from(client, reading.position + size)
            client.send_frame(BINARY, b'.')
        assert reading.position == total


# -- requests in the middle of a bulk transfer -------------------------------------------------------------------------

@BOTH_WAYS
def test_replies_to_pings_stand_behind_what_was_taken_before_and_break_no_data(gateway):
    with full(gateway, flood(Tape(1), 512 * MEGABYTE)) as (client, reading, taken):
        for _ in range(5):
            client.send_json(command='ping')
            assert read_to_reply(client, reading)['message'] == 'ping done'
            assert reading.position >= taken
            taken = fill(gateway, client, reading)


@BOTH_WAYS
def test_close_is_answered_behind_what_was_taken_before_and_nothing_follows(gateway):
    with full(gateway, flood(Tape(1), 64 * MEGABYTE)) as (client, reading, taken):
        client.send_json(command='close')
        assert read_to_reply(client, reading)['message'] == 'close done'
        assert reading.position >= taken
        assert_nothing_more(client)


@BOTH_WAYS
def test_connect_in_the_middle_parts_the_data_of_both_targets(gateway):
    tape, other, total = Tape(1), Tape(8), 6 * MEGABYTE
    with serving(flood(other, total)) as other_port:
        with full(gateway, flood(tape, 64 * MEGABYTE)) as (client, reading, taken):
            client.send_json(command='connect', host='127.0.0.1', port=other_port, binary=True)
            assert read_to_reply(client, reading)['message'] == 'connect done'
            assert reading.position >= taken
            Reading(other).take_from(client, total)
            assert failure(client.receive_json()) == (False, 5, 'closed')


# -- ends --------------------------------------------------------------------------------------------------------------

@BOTH_WAYS
def test_target_that_closes_while_its_client_has_stopped_loses_nothing(gateway):
    tape, total = Tape(1), 12 * MEGABYTE
    with full(gateway, flood(tape, total)) as (client, reading, taken):
        assert failure(read_to_reply(client, reading)) == (False, 5, 'closed')
        assert reading.position == total
        assert client.ask(command='send', data='x')['code'] == 3


@BOTH_WAYS
def test_target_that_resets_while_its_client_has_stopped_loses_nothing_that_was_taken(gateway):
    tape, go = Tape(1), threading.Event()

    def target(sock):
        sock.settimeout(0.05)
        position = 0
        while not go.is_set():
            try:
                position += sock.send(tape.cut(position, MEGABYTE))
            except socket.timeout:
                continue  # its client has stopped
        reset(sock)

    with full(gateway, target) as (client, reading, taken):
        go.set()
        assert failure(read_to_reply(client, reading)) == (False, 5, 'reset')
        assert reading.position >= taken
        assert client.ask(command='send', data='x')['code'] == 3


LEAVES = [
    ('RST', lambda client: client.abort()),
    ('closing', lambda client: client.sock.close()),
]


@BOTH_WAYS
@pytest.mark.parametrize('leave', [leave for _, leave in LEAVES], ids=[name for name, _ in LEAVES])
def test_client_that_leaves_with_a_full_pipe_leaves_nothing(gateway, leave):
    with full(gateway, flood(Tape(1), 64 * MEGABYTE)) as (client, reading, taken):
        leave(client)
        wait_until(lambda: is_empty(gateway), 3, 'an empty gateway')


@BOTH_WAYS
def test_close_frame_is_answered_behind_what_was_taken_before(gateway):
    with full(gateway, flood(Tape(1), 64 * MEGABYTE)) as (client, reading, taken):
        client.send_frame(CLOSE, b'\x03\xe8')
        assert read_to_close(client, reading) == b'\x03\xe8'
        assert reading.position >= taken
        assert client.is_ended()


@BOTH_WAYS
def test_client_that_never_reads_again_is_ended_by_a_gateway_that_stops(start):
    gateway = start(drainSeconds=0.1)
    with full(gateway, flood(Tape(1), 64 * MEGABYTE)):
        gateway.stop()
        assert is_empty(gateway)


@BOTH_WAYS
def test_gateway_that_aborts_gives_its_pipes_back(gateway):
    with full(gateway, flood(Tape(1), 64 * MEGABYTE)):
        gateway.abort()
        wait_until(lambda: is_empty(gateway), 3, 'an empty gateway')


@BOTH_WAYS
def test_client_that_reads_on_gets_all_that_was_taken_before_the_gateway_stops(start):
    gateway = start(drainSeconds=0.3)
    with full(gateway, flood(Tape(1), 512 * MEGABYTE)) as (client, reading, taken):
        gateway.drain()
        assert read_to_close(client, reading)[:2] == b'\x03\xe9'
        assert reading.position >= taken


@BOTH_WAYS
def test_target_that_ends_in_time_is_delivered_by_a_gateway_that_stops(start):
    gateway, tape, total = start(drainSeconds=8), Tape(1), 16 * MEGABYTE
    with full(gateway, flood(tape, total)) as (client, reading, taken):
        gateway.drain()
        assert failure(read_to_reply(client, reading)) == (False, 5, 'closed')
        assert reading.position == total
        assert client.receive_close()[0] == 1001


# -- what one turn of the loop brings together -------------------------------------------------------------------------

@contextlib.contextmanager
def held_still(gateway):
    """The gateway's loop does nothing meanwhile; what comes is there in one turn."""
    holds, go = threading.Event(), threading.Event()
    gateway.loop.post(lambda: (holds.set(), go.wait(10)))
    assert holds.wait(10)
    try:
        yield
    finally:
        go.set()


@contextlib.contextmanager
def a_connection(gateway, **fields):
    """A client and its target's socket, which the test itself uses."""
    listener = socket.socket()
    listener.bind(('127.0.0.1', 0))
    listener.listen(1)
    try:
        with opened(gateway) as client:
            client.connect_to(listener.getsockname()[1], binary=True, **fields)
            sock = listener.accept()[0]
            try:
                yield client, sock
            finally:
                sock.close()
    finally:
        listener.close()


@BOTH_WAYS
@pytest.mark.parametrize('count', [0, 1000, 32768, 40000])
def test_reset_behind_data_is_told_as_a_reset(gateway, count):
    tape = Tape(9)
    with a_connection(gateway) as (client, sock):
        with held_still(gateway):
            sock.sendall(tape.cut(0, count))
            reset(sock)
        reading = Reading(tape)
        assert failure(read_to_reply(client, reading)) == (False, 5, 'reset')
        assert reading.position == count


@BOTH_WAYS
def test_urgent_byte_in_the_middle_of_bulk_data_holds_nothing_up(gateway):
    tape, reading = Tape(19), Reading(Tape(19))
    with a_connection(gateway) as (client, sock):
        with held_still(gateway):
            sock.sendall(tape.cut(0, 40000))
            sock.send(b'!', socket.MSG_OOB)
            sock.sendall(tape.cut(40000, 40000))
        reading.take_from(client, 80000)
        assert_nothing_more(client)


SENT = [
    ('nothing', b''), ('a piece of a head', frame(BINARY, b'x')[:4]), ('an empty message', frame(BINARY, b'')),
    ('a message', frame(BINARY, b'x')), ('messages', frame(BINARY, b'x' * 1000) * 20),
]


@pytest.mark.parametrize('sent', [sent for _, sent in SENT], ids=[name for name, _ in SENT])
def test_reset_is_told_as_a_reset_whatever_the_client_sends_just_then(gateway, sent):
    with a_connection(gateway) as (client, sock):
        with held_still(gateway):
            client.send(sent)
            reset(sock)
        assert failure(client.receive_json()) == (False, 5, 'reset')


TRICKLES = [
    ('empty messages', [frame(BINARY, b'')] * 12), ('unfinished empty messages', [frame(BINARY, b'', final=False)] + [
        frame(CONTINUATION, b'', final=False)] * 11),
    ('a head', byte_by_byte(frame(BINARY, b'x' * 70000)[:14])), ('a text', byte_by_byte(frame(TEXT, b'x' * 60)[:18])),
]


@pytest.mark.parametrize('pieces', [pieces for _, pieces in TRICKLES], ids=[name for name, _ in TRICKLES])
def test_idle_connection_is_ended_though_its_client_sends_what_gives_the_target_nothing(start, pieces):
    gateway = start(idleSeconds=0.3)
    with serving(sink) as port, opened(gateway) as client:
        client.connect_to(port, binary=True)
        client.sock.settimeout(0.1)
        for piece in pieces:
            client.send(piece)
            try:
                assert failure(client.receive_json()) == (False, 5, 'idle')
                return
            except socket.timeout:
                continue
        raise AssertionError('it was never idle')


# -- uploads -----------------------------------------------------------------------------------------------------------

SIZES = (1, 7, 8191, 65536, 1, 1, 7, MEGABYTE, 8191, 0, 8191, 1, 65536)


def messages(tape, sizes, mask=None):
    """(binary messages that are ``tape``, one for each size; how many bytes that is)."""
    position, frames = 0, []
    for size in sizes:
        frames.append(frame(BINARY, tape.cut(position, size), mask=mask))
        position += size
    return frames, position


def joined(frames):
    """As many small ones at a time as a program sends that is in a hurry."""
    return [b''.join(frames[i:i + 64]) for i in range(0, len(frames), 64)] if len(frames) > 1000 else frames


class Sender(object):
    """Sends pieces in a thread of its own; ``sent`` bytes so far."""

    def __init__(self, client, pieces):
        self.sent, self._client = 0, client
        self._thread = threading.Thread(target=self._run, args=(pieces,))
        self._thread.daemon = True
        self._thread.start()

    def _run(self, pieces):
        try:
            for piece in pieces:
                self._client.send(piece)
                self.sent += len(piece)
        except (IOError, OSError):
            pass  # the test is over; it knows how much was sent

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        if exception[0]:
            self._client.sock.close()
        self._thread.join(20)
        assert not self._thread.is_alive()


@contextlib.contextmanager
def uploading(gateway, reading, total, then=None, **parameters):
    """A client whose target checks what comes, once ``then`` is set; in the end ``total`` bytes have come."""
    then = then or threading.Event()
    if not parameters:
        then.set()
    with serving(when(then, lambda sock: record(sock, reading)), **parameters) as port, released(then):
        with opened(gateway) as client:
            yield client.connect_to(port, binary=True)
            wait_until(lambda: reading.position == total, 20, 'all bytes')
            assert_nothing_more(client)


def test_pipelined_messages_of_all_sizes_arrive_whole_however_they_are_cut(gateway):
    tape, dice, sizes = Tape(10), random.Random(11), SIZES * 4
    frames, total = messages(tape, sizes)
    stream, pieces = b''.join(frames), []
    while stream:
        count = dice.choice((1, 5, 100, 8192, 65536, 300000))
        pieces, stream = pieces + [stream[:count]], stream[count:]
    reading = Reading(tape)
    with uploading(gateway, reading, total) as client:
        for piece in pieces:
            client.send(piece)


@pytest.mark.parametrize('size', sorted(set(SIZES)))
def test_messages_of_one_size_arrive_whole(gateway, size):
    tape = Tape(12)
    frames, total = messages(tape, (size,) * max(3, min(500, 3 * MEGABYTE // max(size, 1))))
    with uploading(gateway, Reading(tape), total) as client:
        client.send(b''.join(frames))


def test_small_messages_sent_byte_by_byte_arrive_whole(gateway):
    tape = Tape(13)
    frames, total = messages(tape, (1, 7, 0, 125, 126, 127, 300, 1))
    with uploading(gateway, Reading(tape), total) as client:
        for byte in byte_by_byte(b''.join(frames)):
            client.send(byte)


def test_messages_between_requests_stay_in_order_with_them(gateway):
    tape, reading = Tape(14), Reading(Tape(14))
    with uploading(gateway, reading, 300 * 60) as client:
        stream = []
        for number in range(0, 300 * 60, 300):
            part = [tape.cut(number + step, 100) for step in (0, 100, 200)]
            stream += [frame(BINARY, part[0]), sendb_frame(part[1]), frame(BINARY, part[2])]
            if number % 900 == 0:
                stream.append(frame(TEXT, b'{"command": "ping"}'))
        client.send(b''.join(stream))
        replies = [client.receive_json()['message'] for _ in range(80)]
        assert collections.Counter(replies) == {'sendb done': 60, 'ping done': 20}
        assert replies[:5] == ['sendb done', 'ping done', 'sendb done', 'sendb done', 'sendb done']


@BOTH_WAYS
def test_bytes_come_back_in_order_from_an_echo_of_all_sizes(gateway):
    tape = Tape(15)
    frames, total = messages(tape, SIZES * 3)
    with serving(echo) as port, opened(gateway) as client:
        client.connect_to(port, binary=True)
        with Sender(client, frames):
            Reading(tape).take_from(client, total)


@pytest.mark.parametrize('size', [1000, 65536, MEGABYTE])
def test_target_that_stops_reading_throttles_its_client_and_all_arrives_when_it_goes_on(gateway, size):
    tape, go, most = Tape(16), threading.Event(), [0]
    frames, total = messages(tape, (size,) * (20 * MEGABYTE // size), mask=b'\0\0\0\0')
    reading = Reading(tape)

    def looked_at():
        most[0] = max(most[0], gateway.budget.bytes)
        return sender.sent, gateway.budget.bytes

    with uploading(gateway, reading, total, go, receive_buffer=SMALL_BUFFER) as client:
        with Sender(client, joined(frames)) as sender:
            wait_until(lambda: the_only(gateway.upstreams).stream.congested)
            sent = wait_until_still(looked_at, still=0.2)[0]
            assert sent < total
            assert BUFFER // 4 <= most[0] <= BUFFER + max(size, ws2s.RECEIVE_BYTES)
            go.set()
        wait_until(lambda: reading.position == total, 20, 'all bytes')
        wait_until(lambda: gateway.budget.bytes == 0)


@BOTH_WAYS
def test_throttled_client_is_read_again_when_its_window_is_used_up(start):
    """Only its `ack`, which stands behind its data, can go on then; the target reads nothing until it has written."""
    gateway, upload, download = start(messageBytes=256 * MEGABYTE), Tape(17), Tape(18)
    frames, total = messages(upload, (65536,) * 320)
    say, listen, taken = threading.Event(), threading.Event(), Reading(upload)

    def target(sock):
        say.wait(20)
        flood(download, 2 * WINDOW)(sock)
        listen.wait(20)
        record(sock, taken)

    def is_throttled():
        upstream, session = the_only(gateway.upstreams), the_only(sessions(gateway))
        return upstream.stream.congested and not session.stream.events & ws2s.READ

    ack = frame(TEXT, b'{"command": "ack", "bytes": %d}' % WINDOW)
    with serving(target, receive_buffer=SMALL_BUFFER) as port, released(say), released(listen), \
            opened(gateway) as client:
        client.connect_to(port, binary=True, window=WINDOW)
        reading = Reading(download)
        with Sender(client, frames + [ack]):
            wait_until(is_throttled)
            say.set()
            reading.take_from(client, 2 * WINDOW)
        assert has_used_pipes(gateway) == ws2s.CAN_SPLICE
        listen.set()
        wait_until(lambda: taken.position == total, 20, 'all bytes')
        assert_nothing_more(client)


# -- a stream and a pipe -----------------------------------------------------------------------------------------------

class Owner(ws2s.StreamOwner):
    """Keeps what its stream tells."""

    def __init__(self):
        self.told = []

    def on_flow(self, stream):
        self.told.append('congested' if stream.congested else 'not congested')

    def on_unwritable(self, stream):
        self.told.append('unwritable')


@contextlib.contextmanager
def stream_and_peer(high):
    """A loop that the test turns, its stream, and the other end."""
    loop, budget = ws2s.Loop(), ws2s.Budget(2 ** 29)
    near, far = socket.socketpair()
    for sock in (near, far):
        sock.setblocking(False)
    stream = ws2s.Stream(loop, near, Owner(), high, budget)
    loop.turn()
    try:
        yield loop, stream, far, budget
    finally:
        stream.close()
        far.close()
        assert (lent_by(loop), budget.bytes, stream.pending) == (0, 0, 0)
        loop.close()


def lent_by(loop):
    return loop.pipes.lent


class Reader(Owner):
    """Takes what the room of its stream allows, and keeps it."""

    def __init__(self):
        Owner.__init__(self)
        self.pieces = []

    def wants_data(self, stream):
        return stream.room()

    def on_received(self, stream, data):
        self.pieces.append(data)


@contextlib.contextmanager
def readers_and_peers(count, high=MEGABYTE, kind=Reader):
    """A loop that the test turns, and pairs of a Reader and the other end of its stream."""
    loop, budget, pairs, streams = ws2s.Loop(), ws2s.Budget(2 ** 29), [], []
    try:
        for _ in range(count):
            near, far = socket.socketpair()
            for sock in (near, far):
                sock.setblocking(False)
            pairs.append((kind(), far))
            pairs[-1][0].budget = budget
            streams.append(ws2s.Stream(loop, near, pairs[-1][0], high, budget))
        loop.turn()
        yield loop, pairs
    finally:
        for stream in streams:
            stream.close()
        for _, far in pairs:
            far.close()
        loop.close()


def test_what_was_read_stays_as_it_was_when_others_are_read():
    with readers_and_peers(3) as (loop, pairs):
        for letters in (b'abc', b'xyz'):
            for i, (_, far) in enumerate(pairs):
                far.sendall(letters[i:i + 1] * (5 + i))
            wait_until(lambda: loop.turn() or all(b''.join(reader.pieces).endswith(letters[i:i + 1])
                                                  for i, (reader, _) in enumerate(pairs)))
        assert [b''.join(reader.pieces) for reader, _ in pairs] == [b'aaaaaxxxxx', b'bbbbbbyyyyyy', b'ccccccczzzzzzz']


@pytest.mark.parametrize('ready, most', [(1, 131072), (2, 131072), (3, 116508), (4, 65536), (9, 32768)])
def test_the_more_are_ready_in_a_turn_the_less_each_brings(ready, most):
    with readers_and_peers(ready) as (loop, pairs):
        for _, far in pairs:
            assert stuff(far) > 131072
        loop.turn()
        one = min(most, ws2s.RECEIVE_BYTES)
        assert [[len(piece) for piece in reader.pieces] for reader, _ in pairs] == [[one]] * ready


@pytest.mark.parametrize('high, most, room', [
    (MEGABYTE, 2 ** 29, MEGABYTE), (131072, 2 ** 29, 4 * 131072), (16384, 2 ** 29, 65536),
    (MEGABYTE, 2 ** 24, 2 ** 18), (MEGABYTE, 2 ** 22, 65536), (MEGABYTE, 2 ** 20, 32768)])
def test_pipes_hold_no_more_than_four_buffers_and_all_of_them_half_of_totalBytes(high, most, room):
    with stream_and_peer(high) as (loop, stream, far, budget):
        budget.resize(most)
        assert stream.room() == room


def test_a_stream_with_a_small_buffer_brings_little_at_a_time():
    with readers_and_peers(1, high=16384) as (loop, [(reader, far)]):
        stuff(far)
        loop.turn()
        assert [len(piece) for piece in reader.pieces] == [65536]


def pipe_with(loop, data):
    """A pipe of the loop with ``data`` in it."""
    near, far = socket.socketpair()
    far.sendall(data)
    pipe = loop.pipes.take()
    assert pipe.fill(near, len(data)) == len(data)
    near.close()
    far.close()
    return pipe


def stuff(sock):
    """Write until the kernel takes no more; how much that was."""
    count = 0
    for size in (65536, 1):
        try:
            while True:
                count += sock.send(b'.' * size)
        except socket.error as error:
            assert ws2s.is_not_ready(error)
    return count


def read_what_comes(loop, stream, far, count):
    data = bytearray()
    while len(data) < count:
        loop.touch(stream)
        loop.turn()
        piece = far.recv(65536)
        assert piece, 'the end comes before the last byte'
        data += piece
    return bytes(data)


def test_what_is_written_twice_in_a_turn_keeps_its_order():
    with stream_and_peer(high=50000) as (loop, stream, far, budget):
        stream.write(b'first', b' message')
        assert stream.pending == budget.bytes == 13 and not stream.is_clear()
        stream.write(b', second')
        stream.write(b'x' * 10000)
        loop.turn()
        assert far.recv(65536) == b'first message, second' + b'x' * 10000
        assert stream.is_clear()


def test_what_the_kernel_does_not_take_waits_and_keeps_its_order():
    with stream_and_peer(high=50000) as (loop, stream, far, budget):
        stuffing = stuff(stream.sock)
        stream.write(b'first', b'y' * 70000)
        loop.turn()
        stream.write(b'second')
        assert stream.pending == budget.bytes == 70011 and stream.owner.told == ['congested']
        assert read_what_comes(loop, stream, far, stuffing + 70011)[stuffing:] == b'first' + b'y' * 70000 + b'second'
        assert stream.owner.told == ['congested', 'not congested'] and stream.is_clear()


def test_a_part_that_the_kernel_takes_is_not_sent_again():
    with stream_and_peer(high=MEGABYTE) as (loop, stream, far, budget):
        message = bytes(bytearray(range(251))) * 8000
        stream.write(b'header', message)
        loop.turn()
        assert 0 < stream.pending < len(message)
        assert read_what_comes(loop, stream, far, len(message) + 6) == b'header' + message


def test_what_was_written_goes_out_before_our_half_is_closed():
    with stream_and_peer(high=50000) as (loop, stream, far, budget):
        stream.write(b'last words')
        stream.finish()
        stream.owner.on_finished = lambda stream: stream.owner.told.append('finished')
        stream.write(b'too late')
        loop.turn()
        assert (far.recv(100), far.recv(100)) == (b'last words', b'')
        assert stream.owner.told == ['finished']


def test_what_is_written_when_the_queue_gets_short_goes_out_before_our_half_is_closed():
    def on_flow(stream):
        if not stream.congested:
            stream.write(b'last words')
            stream.finish()

    with stream_and_peer(high=5000) as (loop, stream, far, budget):
        stuffing = stuff(stream.sock)
        stream.owner.on_flow, stream.owner.on_finished = on_flow, lambda stream: stream.owner.told.append('finished')
        stream.write(b'x' * 10000)
        assert read_what_comes(loop, stream, far, stuffing + 10010)[stuffing:] == b'x' * 10000 + b'last words'
        assert stream.owner.told == ['finished'] and far.recv(100) == b''


def test_a_stream_that_is_closed_throws_away_what_was_not_sent():
    with stream_and_peer(high=50000) as (loop, stream, far, budget):
        stream.write(b'unsent')
        stream.close()
        assert stream.pending == budget.bytes == 0
        loop.waker.wake()
        loop.turn()
        assert far.recv(100) == b''


def test_a_peer_that_is_gone_is_told_of_once_and_after_the_write():
    with stream_and_peer(high=50000) as (loop, stream, far, budget):
        far.close()
        stream.write(b'nobody')
        assert not stream.owner.told
        for _ in range(3):
            loop.touch(stream)
            loop.turn()
        assert stream.owner.told == ['unwritable'] and stream.pending == budget.bytes == 0
        stream.write(b'hears it')
        assert stream.pending == 0


def test_a_stream_that_is_settled_sends_all_that_the_kernel_takes():
    with stream_and_peer(high=50000) as (loop, stream, far, budget):
        stuffing = stuff(stream.sock)
        stream.write(b'queued')
        loop.turn()
        while stuffing:
            stuffing -= len(far.recv(stuffing))
        assert stream.pending == 6
        stream.write(b', and fresh')
        stream.settle()
        assert far.recv(100) == b'queued, and fresh' and stream.pending == budget.bytes == 0


def test_a_peer_that_is_gone_is_told_of_once_and_later_when_its_stream_is_settled():
    with stream_and_peer(high=50000) as (loop, stream, far, budget):
        stuff(stream.sock)
        stream.write(b'nobody')
        loop.turn()
        far.close()
        stream.settle()
        assert not stream.owner.told and stream.pending == budget.bytes == 0
        stream.settle()
        for _ in range(3):
            loop.touch(stream)
            loop.turn()
        assert stream.owner.told == ['unwritable']


@contextlib.contextmanager
def tcp_pair():
    listener = socket.socket()
    listener.bind(('127.0.0.1', 0))
    listener.listen(1)
    near = socket.create_connection(listener.getsockname())
    far = listener.accept()[0]
    listener.close()
    try:
        yield near, far
    finally:
        near.close()
        far.close()


class Speaker(Reader):
    """Says much to another when it hears something."""

    def on_received(self, stream, data):
        self.other.write(b'x' * 2 * ws2s.FAIR_BYTES)


def test_last_words_of_one_who_has_reset_the_connection_are_heard_though_writing_has_failed():
    loop, budget, speaker, listening = ws2s.Loop(), ws2s.Budget(2 ** 29), Speaker(), Reader()
    with tcp_pair() as (first, first_far), tcp_pair() as (second, second_far):
        for sock in (first, second):
            sock.setblocking(False)
        streams = [ws2s.Stream(loop, first, speaker, MEGABYTE, budget),
                   ws2s.Stream(loop, second, listening, MEGABYTE, budget)]
        speaker.other = streams[1]
        listening.on_end = lambda stream, is_reset: None
        listening.on_unwritable = lambda stream: stream.close()
        second.send(b'unread')
        loop.turn()
        first_far.send(b'speak')
        second_far.send(b'last words')
        ws2s.reset_on_close(second_far)
        second_far.close()
        for _ in range(4):
            loop.waker.wake()
            loop.turn()
        assert listening.pieces == [b'last words']
        assert streams[1].sock is None and budget.bytes == 0
        for stream in streams:
            stream.close()
    loop.close()


def test_what_begins_to_wait_has_not_waited_long():
    with stream_and_peer(high=50000) as (loop, stream, far, budget):
        stream.moved -= 1000
        stream.write(b'x')
        assert stream.moved == loop.now
        stream.moved -= 1000
        stream.write(b'y')
        assert stream.moved == loop.now - 1000


class Parrot(Reader):
    """Sends back what it gets, and notes how much waited to be sent then, for all."""

    def on_received(self, stream, data):
        stream.write(data)
        self.pieces.append(self.budget.bytes)


@pytest.mark.parametrize('size, most', [(100, ws2s.SEND_BATCH * 100), (ws2s.FAIR_BYTES, ws2s.FAIR_BYTES)])
def test_what_waits_for_the_end_of_a_turn_is_not_much(size, most):
    with readers_and_peers(80, kind=Parrot) as (loop, pairs):
        for _, far in pairs:
            far.sendall(b'z' * size)
        for _ in range(100):  # a turn that has lasted long leaves some for the next one
            loop.waker.wake()
            loop.turn()
        assert [len(far.recv(2 * size)) for _, far in pairs] == [size] * 80
        waited = [count for reader, _ in pairs for count in reader.pieces]
        assert len(waited) == 80 and max(waited) <= most


if ws2s.CAN_SPLICE:
    def test_header_and_pipe_wait_together_when_the_kernel_takes_not_even_the_header():
        with stream_and_peer(high=5000) as (loop, stream, far, budget):
            stuffing = stuff(stream.sock)
            assert stream.is_clear()
            stream.pour(b'header', pipe_with(loop, b'x' * 10000))
            stream.write(b'behind')
            assert stream.pending == budget.bytes == 10012
            assert stream.owner.told == ['congested'] and not stream.is_clear() and lent_by(loop) == 1
            data = read_what_comes(loop, stream, far, stuffing + 10012)
            assert data[stuffing:] == b'header' + b'x' * 10000 + b'behind'
            assert stream.owner.told == ['congested', 'not congested'] and stream.is_clear()

    def test_pipe_that_the_kernel_takes_is_free_at_once():
        with stream_and_peer(high=5000) as (loop, stream, far, budget):
            for _ in range(3):
                stream.pour(b'header', pipe_with(loop, b'x' * 10000))
                assert stream.is_clear() and lent_by(loop) == budget.bytes == 0
                assert read_what_comes(loop, stream, far, 10006) == b'header' + b'x' * 10000
            assert not stream.owner.told

    def test_pipe_for_a_peer_that_is_gone_is_thrown_away_and_the_owner_told_once():
        with stream_and_peer(high=50000) as (loop, stream, far, budget):
            far.close()
            stream.pour(b'header', pipe_with(loop, b'x' * 10000))
            assert not stream.is_clear() and not stream.owner.told
            for _ in range(3):
                loop.touch(stream)
                loop.turn()
            assert stream.owner.told == ['unwritable'] and lent_by(loop) == budget.bytes == 0
            stream.write(b'nobody hears it')
            assert stream.pending == 0

    def test_stream_that_is_closed_gives_its_pipe_back():
        with stream_and_peer(high=50000) as (loop, stream, far, budget):
            stuff(stream.sock)
            stream.pour(b'header', pipe_with(loop, b'x' * 10000))
            assert lent_by(loop) == 1
            stream.close()
            assert lent_by(loop) == 0 and loop.pipes.free is None


# -- C3: how much of what the system allows a user pipes take ----------------------------------------------------------

@pytest.mark.parametrize('pages, workers, share', [
    (16384, 1, (32, MEGABYTE)), (16384, 2, (16, MEGABYTE)), (16384, 4, (8, MEGABYTE)), (16384, 32, (1, MEGABYTE)),
    (16384, 64, (1, MEGABYTE // 2)), (16384, 256, (1, MEGABYTE // 8)), (16384, 1024, (0, MEGABYTE // 8)),
    (4096, 1, (8, MEGABYTE)), (4096, 4, (2, MEGABYTE)), (64, 1, (1, MEGABYTE // 8)), (64, 2, (0, MEGABYTE // 8)),
    (1, 1, (0, MEGABYTE // 8)), (0, 1, (32, MEGABYTE)), (0, 64, (1, MEGABYTE // 2)), (10 ** 9, 2, (16, MEGABYTE)),
    ('odd', 2, (16, MEGABYTE)), (None, 2, (16, MEGABYTE))])
def test_workers_together_take_no_more_than_half_of_what_a_user_has_for_pipes(
        tmpdir, monkeypatch, pages, workers, share):
    monkeypatch.setattr(ws2s.resource, 'getpagesize', lambda: 4096)
    monkeypatch.setattr(ws2s, 'USER_PIPE_PAGES', str(tmpdir.join('pages')))
    if pages is not None:
        tmpdir.join('pages').write('%s\n' % pages)
    assert ws2s.pipe_share(workers) == share
    assert workers * share[0] * share[1] <= 32 * MEGABYTE


if ws2s.CAN_SPLICE:
    SMALL_PIPES_ONLY = pytest.mark.parametrize('number', [errno.EPERM, errno.EBUSY, errno.ENOMEM],
                                               ids=errno.errorcode.get)

    def have_small_pipes_only(monkeypatch, number):
        """The list of the tries to have larger ones."""
        tried, really_control = [], ws2s.fcntl.fcntl

        def control(fd, command, *argument):
            if command == ws2s.fcntl.F_SETPIPE_SZ:
                tried.append(argument)
                raise OSError(number, 'no larger pipe')
            return really_control(fd, command, *argument)

        monkeypatch.setattr(ws2s.fcntl, 'fcntl', control)
        return tried

    @SMALL_PIPES_ONLY
    def test_a_download_arrives_as_fast_as_without_pipes_where_the_system_gives_small_ones(start, monkeypatch, number):
        """A pipe of one page would make each second read one of 4 KiB."""
        tried = have_small_pipes_only(monkeypatch, number)
        monkeypatch.setattr(ws2s.Pipe, 'fill', None)
        gateway, tape, total = start(), Tape(1), 16 * MEGABYTE
        with serving(flood(tape, total)) as port, opened(gateway) as client:
            client.connect_to(port, binary=True)
            Reading(tape).take_from(client, total)
            assert failure(client.receive_json()) == (False, 5, 'closed')
        assert tried and not has_used_pipes(gateway)

    @SMALL_PIPES_ONLY
    def test_a_pipe_that_the_system_did_not_give_is_tried_again_after_a_pause_and_not_before(monkeypatch, number):
        loop, tried = ws2s.Loop(), have_small_pipes_only(monkeypatch, number)
        began, counts = loop.now, []
        for pauses in (0, 0.1, 0.9, 1.1, 1.2, 2, 2.2, 5, 5.9):
            loop.now = began + pauses * ws2s.PIPE_PAUSE
            assert loop.pipes.take() is None and loop.pipes.lent == 0
            counts.append(len(tried))
        loop.close()
        assert counts == [1, 1, 1, 2, 2, 2, 3, 4, 4]

    def test_pipes_come_back_when_the_user_has_room_for_them_again():
        """As a plain user, whose pipes are full: other programs have all of them."""
        pid = os.fork()
        if not pid:
            try:
                os._exit(as_plain_user())
            finally:
                os._exit(99)
        assert os.WEXITSTATUS(os.waitpid(pid, 0)[1]) == 0

    def as_plain_user():
        """The number of the first of our demands that does not hold; in a child."""
        if os.getuid() == 0:
            os.setuid(54321)
        loop = ws2s.Loop()
        others, last = [], None
        while last is None and len(others) < 150:
            try:
                others.append(ws2s.Pipe(MEGABYTE))
            except OSError as error:
                last = error.errno
        if last is None:
            return 0  # this user may have as many as there are
        before = len(os.listdir('/proc/self/fd'))
        if loop.pipes.take() is not None or len(os.listdir('/proc/self/fd')) != before or loop.pipes.lent:
            return 1
        for pipe in others:
            pipe.close()
        loop.now += ws2s.PIPE_PAUSE / 2
        if loop.pipes.take() is not None:
            return 2
        loop.now += ws2s.PIPE_PAUSE
        pipe = loop.pipes.take()
        return 3 if pipe is None or ws2s.fcntl.fcntl(pipe._near, ws2s.fcntl.F_GETPIPE_SZ) < MEGABYTE else 0
