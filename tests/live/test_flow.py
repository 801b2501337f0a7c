# -*- coding: utf-8 -*-
"""How data flows: throttling both ways, windows, half-closes, idleness, pings, and what is still under way."""

import collections
import contextlib
import json
import socket
import struct
import threading
import time

import pytest

import ws2s
from census import is_empty, sessions
from program import running_program
from raw_client import BINARY, CLOSE, PING, PONG, TEXT, RawClient, frame, sendb_frame
from tape import Reading, Tape, record
from targets import echo, recorder, released, saying, serving, shut, silence, sink, unaccepted, when
from waiting import assert_holds, wait_until, wait_until_still

pytestmark = pytest.mark.usefixtures('no_mistakes')

PIECE = 32768
BUFFER = 262144      # limits.bufferBytes
READ = 65536         # what may be read on top of it in one go
WINDOW = 65536
SMALL_BUFFER = 65536  # of the kernel, at our ends
SMALL_SHARE = 65536   # what a client may always make the gateway hold
MEGABYTE = 1 << 20

FORMS = pytest.mark.parametrize('binary', [True, False], ids=['binary', 'json'])


class Upload(object):
    """Sends ``total`` bytes of ``tape`` in a thread of its own; ``sent`` of them so far."""

    def __init__(self, client, tape, total, binary, limit=None):
        self.sent, self.client, self._binary = 0, client, binary
        self._limit = limit or (lambda: total)
        self._urgent, self._over, self._lock = collections.deque(), False, threading.Lock()
        self._thread = threading.Thread(target=self._run, args=(tape, total))
        self._thread.daemon = True
        self._thread.start()

    def _run(self, tape, total):
        try:
            for piece in tape.pieces(total, PIECE):
                self._wait_for_room()
                self.client.send(frame(BINARY, piece) if self._binary else sendb_frame(piece))
                self.sent += len(piece)
            with self._lock:
                self._over = True
                self._send_urgent()
        except (IOError, OSError):
            pass  # the test is over; it knows how much was sent

    def _wait_for_room(self):
        self._send_urgent()
        while self.sent >= self._limit() and self.client.sock.fileno() >= 0:
            time.sleep(0.0005)
            self._send_urgent()

    def _send_urgent(self):
        while self._urgent:
            self.client.send(self._urgent.popleft())

    def say(self, **request):
        """Send a request, before any data that the kernel has not got yet."""
        with self._lock:
            self._urgent.append(frame(TEXT, json.dumps(request).encode('ascii')))
            if self._over:
                self._send_urgent()

    def join(self):
        self._thread.join(30)
        assert not self._thread.is_alive()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        if exception[0]:
            shut(self.client.sock)
        self.join()


class Flood(object):
    """A target that sends ``total`` bytes of a tape and ends; ``sent`` of them so far."""

    def __init__(self, tape, total):
        self.sent, self._tape, self._total = 0, tape, total

    def __call__(self, sock):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL_BUFFER)
        for piece in self._tape.pieces(self._total, PIECE):
            sock.sendall(piece)
            self.sent += len(piece)

    def has_ended(self):
        return self.sent == self._total


@contextlib.contextmanager
def opened(gateway, **parameters):
    with RawClient(gateway.address, **parameters) as client:
        yield client.open()


def patient_gateway(running_gateway, **limits):
    """It takes more than the kernel does before it throttles, so that it still hears what the client says."""
    return running_gateway({'limits': dict({'bufferBytes': 16 * MEGABYTE}, **limits)})


def assert_quiet(client):
    """The gateway has nothing to say: replies to what is asked now are all that comes."""
    for _ in range(10):
        assert client.ask(command='ping')['message'] == 'ping done'


def failure(reply):
    return reply['success'], reply['code'], reply.get('reason')


# -- throttling --------------------------------------------------------------------------------------------------------

@FORMS
def test_client_that_reads_nothing_stalls_its_target_and_gets_every_byte_later(small_kernel_buffers, gateway, binary):
    tape, total = Tape(1), 32 * MEGABYTE
    flood = Flood(tape, total)
    with serving(flood) as port, opened(gateway, receive_buffer=SMALL_BUFFER) as client:
        client.connect_to(port, binary=binary)
        stalled = wait_until_still(lambda: flood.sent)
        assert stalled < total // 2
        assert gateway.budget.bytes <= BUFFER + 2 * READ
        Reading(tape).take_from(client, total)
        assert failure(client.receive_json()) == (False, 5, 'closed')


@FORMS
def test_target_that_reads_nothing_stalls_its_client_and_gets_every_byte_later(small_kernel_buffers, gateway, binary):
    tape, total, go = Tape(2), 32 * MEGABYTE, threading.Event()
    reading = Reading(tape)
    with serving(when(go, lambda sock: record(sock, reading)), receive_buffer=SMALL_BUFFER) as port:
        with released(go), opened(gateway) as client:
            client.connect_to(port)
            with Upload(client, tape, total, binary) as upload:
                stalled = wait_until_still(lambda: upload.sent)
                assert stalled < total
                assert gateway.budget.bytes <= BUFFER + 2 * READ
                go.set()
                for _ in range(0 if binary else total // PIECE):
                    assert client.receive_json()['message'] == 'sendb done'
            wait_until(lambda: reading.position == total)
            assert_quiet(client)


@FORMS
def test_one_message_far_above_bufferBytes_arrives_whole(running_gateway, binary):
    tape, total = Tape(4), 4 * MEGABYTE
    reading = Reading(tape)
    gateway = running_gateway({'limits': {'bufferBytes': 16384}})
    with serving(lambda sock: record(sock, reading)) as port, opened(gateway) as client:
        client.connect_to(port)
        data = b''.join(tape.pieces(total, PIECE))
        client.send(frame(BINARY, data) if binary else sendb_frame(data))
        if not binary:
            assert client.receive_json()['message'] == 'sendb done'
        wait_until(lambda: reading.position == total)
        assert_quiet(client)


# -- window ------------------------------------------------------------------------------------------------------------

@FORMS
def test_window_is_filled_never_exceeded_and_moves_with_each_ack(small_kernel_buffers, gateway, binary):
    tape, total = Tape(5), 16 * MEGABYTE
    flood, reading = Flood(tape, total), Reading(tape)
    with serving(flood) as port, opened(gateway) as client:
        client.connect_to(port, window=WINDOW, binary=binary)
        reading.take_from(client, WINDOW)
        assert wait_until_still(lambda: flood.sent) < total // 2
        assert_quiet(client)
        for step in (1, 1000, 16384, WINDOW - 1, WINDOW):
            client.send_json(command='ack', bytes=step)
            reading.take_from(client, reading.position + step)
            assert_quiet(client)
        outstanding = WINDOW
        while reading.position < total:
            client.send_json(command='ack', bytes=outstanding)
            before = reading.position
            reading.take(client.receive_data(1))
            outstanding = reading.position - before
            assert outstanding <= WINDOW
        client.send_json(command='ack', bytes=outstanding)
        assert failure(client.receive_json()) == (False, 5, 'closed')


@pytest.mark.parametrize('count', [0, -1, -WINDOW, '5', 1.5, True, None, [5], 10 ** 18],
                         ids=lambda value: repr(value)[:12])
def test_ack_that_makes_no_sense_gives_nothing_or_what_is_outstanding(gateway, count):
    with serving(Flood(Tape(7), MEGABYTE)) as port, opened(gateway) as client:
        client.connect_to(port, window=WINDOW, binary=True).receive_data(WINDOW)
        client.send_json(command='ack', bytes=count)
        if count == 10 ** 18:
            assert len(client.receive_data(WINDOW)) == WINDOW
        assert_quiet(client)


def test_ack_without_a_window_is_no_request_and_gets_no_reply(gateway):
    with serving(echo) as port, opened(gateway) as client:
        client.send_json(command='ack', bytes=5)
        client.connect_to(port)
        client.send_json(command='ack', bytes=5)
        client.send_json(command='ack')
        assert_quiet(client)


def test_new_connection_begins_with_its_whole_window(gateway):
    with serving(Flood(Tape(8), MEGABYTE)) as port, opened(gateway) as client:
        for window in (WINDOW, 16384):
            client.connect_to(port, window=window, binary=True)
            assert len(client.receive_data(window)) == window
            assert_quiet(client)


def echo_within_a_window(client, tape, total, ahead):
    """Upload all, at most ``ahead`` bytes before what has come back; read and acknowledge what comes at once."""
    reading = Reading(tape)
    with Upload(client, tape, total, binary=True, limit=lambda: reading.position + ahead) as upload:
        while reading.position < total:
            before = reading.position
            reading.take(client.receive_data(1))
            upload.say(command='ack', bytes=reading.position - before)


def test_upload_far_above_all_buffers_to_an_echo_within_a_window_does_not_lock_up(gateway):
    """The acks stand in line behind data, and the target does not read while it cannot write: the gateway reads on."""
    with serving(echo) as port, opened(gateway) as client:
        client.connect_to(port, window=WINDOW, binary=True)
        echo_within_a_window(client, Tape(9), 96 * MEGABYTE, ahead=8 * MEGABYTE)
        assert_quiet(client)


def test_upload_without_restraint_to_an_echo_within_a_window_is_ended_by_idleSeconds(running_gateway):
    """More is on its way at one time than anybody may hold, and the acks come behind it: nothing can move any more."""
    gateway = running_gateway({'limits': {'idleSeconds': 1, 'drainSeconds': 0.5}})
    with serving(echo) as port, opened(gateway) as client:
        client.connect_to(port, window=WINDOW, binary=True)
        with pytest.raises(AssertionError) as refused:
            echo_within_a_window(client, Tape(9), 128 * MEGABYTE, ahead=128 * MEGABYTE)
        assert 'idle' in str(refused.value)


# -- ends --------------------------------------------------------------------------------------------------------------

def test_target_that_closes_its_half_still_gets_all_that_was_taken(gateway):
    """S20: what got `sendb done` arrives, what came later is answered with code 3."""
    tape, pieces, go = Tape(10), 400, threading.Event()
    reading, ended = Reading(tape), threading.Event()

    def half_close(sock):
        go.wait(30)
        sock.shutdown(socket.SHUT_WR)
        record(sock, reading)
        ended.set()

    with serving(half_close) as port, released(go), opened(gateway) as client:
        client.connect_to(port)
        with Upload(client, tape, pieces * PIECE, binary=False) as upload:
            wait_until(lambda: upload.sent >= 100 * PIECE or wait_until_still(lambda: upload.sent))
            go.set()
            replies = [client.receive_json() for _ in range(pieces + 1)]
        codes = [reply['code'] for reply in replies]
        taken = codes.count(0)
        assert codes == [0] * taken + [5] + [3] * (pieces - taken)
        assert ended.wait(10)
        assert reading.position == taken * PIECE


LEAVES = [
    ('close', lambda client: client.send_json(command='close')),
    ('another connect', lambda client: client.send_json(command='connect', host='127.0.0.1', port=1)),
    ('Close', lambda client: client.send_frame(CLOSE, b'\x03\xe8')),
    ('FIN', lambda client: client.sock.shutdown(socket.SHUT_WR)),
    ('RST', lambda client: client.abort()),
]


@pytest.mark.parametrize('leave', [leave for _, leave in LEAVES], ids=[name for name, _ in LEAVES])
def test_what_was_taken_reaches_a_slow_target_when_the_client_leaves_by(running_gateway, leave):
    tape, total, go = Tape(11), 8 * MEGABYTE, threading.Event()
    reading, ended, gateway = Reading(tape), threading.Event(), patient_gateway(running_gateway)

    def late(sock):
        record(sock, reading)
        ended.set()

    with serving(when(go, late), receive_buffer=SMALL_BUFFER) as port, released(go), opened(gateway) as client:
        client.connect_to(port)
        client.send(sendb_frame(b''.join(tape.pieces(total, PIECE))))
        assert client.receive_json()['message'] == 'sendb done'
        leave(client)
        wait_until(lambda: [upstream.state for upstream in list(gateway.upstreams)] == ['draining'])
        assert gateway.budget.bytes > 0
        go.set()
        assert ended.wait(10)
        assert reading.position == total


@FORMS
def test_code_5_comes_after_the_last_byte_when_the_client_reads_late(gateway, binary):
    """The target has long gone when the client begins to read."""
    tape, total = Tape(12), 4 * MEGABYTE
    flood, reading = Flood(tape, total), Reading(tape)
    with serving(flood) as port, opened(gateway, receive_buffer=16384) as client:
        client.connect_to(port, binary=binary)
        wait_until_still(lambda: (flood.sent, gateway.budget.bytes))
        assert gateway.budget.bytes > 0
        reading.take_from(client, total)
        assert failure(client.receive_json()) == (False, 5, 'closed')
        assert client.ask(command='send', data='x')['code'] == 3


def test_close_of_the_client_is_answered_after_what_was_on_its_way(gateway):
    tape, total = Tape(13), 32 * MEGABYTE
    flood, reading = Flood(tape, total), Reading(tape)
    with serving(flood) as port, opened(gateway, receive_buffer=SMALL_BUFFER) as client:
        client.connect_to(port, binary=True)
        wait_until_still(lambda: flood.sent)
        client.send_frame(CLOSE, b'\x03\xe8')
        opcode, payload = client.receive_frame()
        while opcode == BINARY:
            reading.take(payload)
            opcode, payload = client.receive_frame()
        assert (opcode, payload) == (CLOSE, b'\x03\xe8')
        assert client.is_ended()
        assert reading.position >= BUFFER  # all that the gateway had
        client.sock.close()
        wait_until(lambda: is_empty(gateway))


@pytest.mark.parametrize('seconds', [0.3, 1.2])
def test_target_that_never_reads_is_given_drainSeconds_after_close(running_gateway, seconds):
    gateway = patient_gateway(running_gateway, drainSeconds=seconds)
    with unaccepted() as port, opened(gateway) as client:
        client.connect_to(port)
        client.send(sendb_frame(b'x' * 8 * MEGABYTE))
        assert client.receive_json()['message'] == 'sendb done'
        begun = time.time()
        assert client.ask(command='close')['message'] == 'close done'
        wait_until(lambda: not gateway.upstreams)
        assert seconds - 0.1 <= time.time() - begun < seconds + 1
        assert gateway.budget.bytes == 0
        assert_quiet(client)


@FORMS
def test_client_that_is_gone_while_it_had_not_read_is_noticed_at_once(gateway, binary):
    flood = Flood(Tape(14), 32 * MEGABYTE)
    with serving(flood) as port, opened(gateway, receive_buffer=SMALL_BUFFER) as client:
        client.connect_to(port, binary=binary)
        wait_until_still(lambda: flood.sent)
        client.sock.close()
        wait_until(lambda: is_empty(gateway), 2)


@pytest.mark.parametrize('leave', [leave for _, leave in LEAVES[-2:]], ids=['FIN', 'RST'])
def test_throttled_client_that_is_gone_is_noticed_by_pings_and_its_target_drained(running_gateway, leave):
    gateway = pinging_gateway(running_gateway)
    with unaccepted() as port, opened(gateway) as client:
        client.connect_to(port)
        client.sock.settimeout(0.5)
        with pytest.raises(socket.timeout):
            while True:
                client.send_frame(BINARY, b'x' * PIECE)
        leave(client)
        client.sock.close()
        wait_until(lambda: is_empty(gateway), 4)


# -- idleness ----------------------------------------------------------------------------------------------------------

def idle_gateway(running_gateway):
    return running_gateway({'limits': {'idleSeconds': 0.6}})


def test_connection_idle_too_long_gets_code_5_idle_and_the_websocket_lives_on(running_gateway):
    gateway = idle_gateway(running_gateway)
    ended = threading.Event()

    def watched(sock):
        sink(sock)
        ended.set()

    with serving(watched) as port, opened(gateway) as client:
        begun = time.time()
        client.connect_to(port)
        assert failure(client.receive_json()) == (False, 5, 'idle')
        assert 0.5 <= time.time() - begun < 1.6
        assert ended.wait(5)
        assert client.ask(command='send', data='x')['code'] == 3
        client.connect_to(port)


def test_websocket_without_a_connection_is_never_idle(running_gateway):
    with opened(idle_gateway(running_gateway)) as client:
        client.sock.settimeout(1.5)
        assert not client.is_ended()
        assert_quiet(client)


def test_data_of_the_client_alone_keeps_a_connection(running_gateway):
    with serving(sink) as port, opened(idle_gateway(running_gateway)) as client:
        client.connect_to(port)
        for _ in range(15):
            assert client.ask(command='send', data='x')['message'] == 'send done'
            threading.Event().wait(0.1)


def test_data_of_the_target_alone_keeps_a_connection(running_gateway):
    def tick(sock):
        while True:
            sock.sendall(b'x')
            threading.Event().wait(0.1)

    with serving(tick) as port, opened(idle_gateway(running_gateway)) as client:
        client.connect_to(port, binary=True)
        assert client.receive_data(15) == b'x' * 15


def test_pings_do_not_keep_a_connection(running_gateway):
    with serving(sink) as port, opened(idle_gateway(running_gateway)) as client:
        client.connect_to(port)
        replies = []
        while not replies or replies[-1]['code'] == 0:
            assert len(replies) < 20
            replies.append(client.ask(command='ping'))
            threading.Event().wait(0.1)
        assert failure(replies[-1]) == (False, 5, 'idle')


def keep_pace(reading, begun, rate=10 * MEGABYTE):
    """Read no faster than ``rate`` bytes a second."""
    threading.Event().wait(max(0, begun + reading.position / float(rate) - time.time()))


def test_queue_that_a_slow_client_is_still_reading_is_not_idle(running_gateway):
    """Bytes move, from the gateway's queue to the client, though nothing new is read from the target meanwhile."""
    gateway = patient_gateway(running_gateway, idleSeconds=1)
    tape, total = Tape(15), 24 * MEGABYTE
    flood, reading = Flood(tape, total), Reading(tape)
    with serving(flood) as port, opened(gateway, receive_buffer=SMALL_BUFFER) as client:
        client.connect_to(port, binary=True)
        begun = time.time()
        while reading.position < total:
            reading.take(client.receive_data(1))
            keep_pace(reading, begun)
        assert failure(client.receive_json()) == (False, 5, 'closed')


def test_queue_that_a_slow_target_is_still_reading_is_not_idle(running_gateway):
    gateway = patient_gateway(running_gateway, idleSeconds=1)
    tape, total = Tape(16), 24 * MEGABYTE
    reading = Reading(tape)

    def slow(sock):
        begun = time.time()
        while reading.position < total:
            reading.take(sock.recv(65536))
            keep_pace(reading, begun)

    data = frame(BINARY, b''.join(tape.pieces(total, PIECE)))  # made before, or its maker would be idle
    with serving(slow, receive_buffer=SMALL_BUFFER) as port, opened(gateway) as client:
        client.connect_to(port).send(data)
        assert failure(client.receive_json()) == (False, 5, 'closed')
        assert reading.position == total


# -- pings -------------------------------------------------------------------------------------------------------------

def pinging_gateway(running_gateway):
    return running_gateway({'limits': {'pingSeconds': 0.3, 'drainSeconds': 0.3}})


@pytest.mark.quiet
def test_silent_client_is_pinged_and_lives_as_long_as_it_answers(running_gateway):
    with opened(pinging_gateway(running_gateway)) as client:
        begun = time.time()
        for number in range(1, 7):
            opcode, payload = client.receive_frame()
            assert opcode == PING
            assert time.time() - begun >= 0.3 * number - 0.1
            client.send_frame(PONG, payload)
        assert time.time() - begun < 6
        assert_quiet(client)


@pytest.mark.quiet
def test_client_that_speaks_is_not_pinged(running_gateway):
    with opened(pinging_gateway(running_gateway)) as client:
        for _ in range(20):
            assert client.ask(command='ping')['message'] == 'ping done'
            threading.Event().wait(0.05)


def test_client_that_answers_no_ping_is_ended_after_two_periods(running_gateway):
    gateway = pinging_gateway(running_gateway)
    with opened(gateway) as client:
        begun = time.time()
        assert client.receive_frame()[0] == PING
        client.receive_close()
        assert 0.5 <= time.time() - begun < 1.6
        assert client.is_ended()
        wait_until(lambda: is_empty(gateway))


@pytest.mark.parametrize('before', [0, 3600])
def test_pingSeconds_of_a_new_configuration_count_for_who_is_there(running_gateway, before):
    gateway = running_gateway({'limits': {'pingSeconds': before}})
    with opened(gateway) as client:
        reload_with(gateway, pingSeconds=0.3)
        assert client.receive_frame()[0] == PING


@pytest.mark.parametrize('before', [0, 3600])
def test_idleSeconds_of_a_new_configuration_count_for_who_is_there(running_gateway, before):
    gateway = running_gateway({'limits': {'pingSeconds': 0, 'idleSeconds': before}})
    with serving(echo) as port, opened(gateway) as client:
        client.connect_to(port)
        reload_with(gateway, pingSeconds=0, idleSeconds=0.3)
        assert failure(client.receive_json()) == (False, 5, 'idle')


def reload_with(gateway, **limits):
    settings = {'listen': {'port': 0}, 'allowConnectToServerLocal': True, 'web': False, 'limits': limits}
    gateway.reload(ws2s.parse_config(json.dumps(settings) + u''))


def test_a_new_configuration_does_not_ping_everybody_at_one_time(running_gateway):
    gateway = running_gateway({'limits': {'pingSeconds': 3600, 'handshakeSeconds': 3600}})
    with crowd_of(gateway, 100):
        moments = []
        gateway.loop.call_later = recording_delays(gateway.loop.call_later, moments)
        reload_with(gateway, pingSeconds=60)
        wait_until(lambda: len(moments) >= 100)
        assert 0 <= min(moments) < 10 and 50 < max(moments) <= 60
        assert len(set(moments)) > 90


def recording_delays(call_later, moments):
    def recorded(seconds, callback):
        moments.append(seconds)
        return call_later(seconds, callback)
    return recorded


@contextlib.contextmanager
def crowd_of(gateway, count):
    clients = [RawClient(gateway.address).open() for _ in range(count)]
    try:
        yield
    finally:
        for client in clients:
            client.abort()


def test_client_that_we_throttle_cannot_answer_and_is_not_ended(running_gateway):
    tape, total, go = Tape(17), 32 * MEGABYTE, threading.Event()
    reading, gateway = Reading(tape), pinging_gateway(running_gateway)
    with serving(when(go, lambda sock: record(sock, reading)), receive_buffer=SMALL_BUFFER) as port:
        with released(go), opened(gateway) as client:
            with Upload(client.connect_to(port), tape, total, binary=True) as upload:
                wait_until_still(lambda: upload.sent)
                assert_holds(lambda: len(sessions(gateway)) == 1, 2, 'the session')
                go.set()
                wait_until(lambda: reading.position == total, 100)


def test_client_that_does_not_read_yet_is_not_ended_and_costs_no_work(running_gateway):
    """It has not answered a ping when its target begins to flood: neither an end nor a busy loop is the answer."""
    tape, total, go = Tape(18), 32 * MEGABYTE, threading.Event()
    flood = Flood(tape, total)
    with running_program({'allowConnectToServerLocal': True, 'limits': {'pingSeconds': 0.5}}) as program:
        with serving(when(go, flood)) as port, released(go), \
                RawClient(program.address, receive_buffer=SMALL_BUFFER) as client:
            client.open().connect_to(port, binary=True)
            assert client.receive_frame()[0] == PING
            go.set()
            wait_until_still(lambda: flood.sent, still=0.6)
            begun, before = time.time(), program.cpu_seconds()
            threading.Event().wait(2)
            share = (program.cpu_seconds() - before) / (time.time() - begun)
            assert share < 0.1, 'a client that reads nothing costs %d %% of a processor' % (100 * share)
            Reading(tape).take_from(client, total)


# -- all clients together ----------------------------------------------------------------------------------------------

def test_client_that_takes_too_much_of_totalBytes_is_ended_and_the_small_ones_live_on(running_gateway):
    gateway = running_gateway({'limits': {'totalBytes': MEGABYTE, 'drainSeconds': 0.5}})
    with serving(echo) as port, opened(gateway) as greedy, opened(gateway) as small, opened(gateway) as other:
        for client in (small, other):
            client.connect_to(port, binary=True)
        greedy.send(frame(TEXT, b'"' + b'x' * 2 * MEGABYTE)[:MEGABYTE + MEGABYTE // 2])
        assert greedy.receive_close()[0] == 1013
        for client in (small, other):
            client.send_frame(BINARY, b'x' * 1000)
            assert client.receive_data(1000) == b'x' * 1000
        wait_until(lambda: gateway.budget.bytes < MEGABYTE)


def watch_what_is_held(gateway, monkeypatch):
    """A list of one figure: the most that was held when it was found to be too much."""
    most, enforce = [0], gateway.budget.enforce

    def checked(holder):
        most[0] = max(most[0], gateway.budget.bytes)
        enforce(holder)

    monkeypatch.setattr(gateway.budget, 'enforce', checked)
    return most


def test_clients_that_do_not_read_together_hold_no_more_than_totalBytes(running_gateway, monkeypatch):
    gateway = running_gateway({'limits': {'totalBytes': MEGABYTE, 'drainSeconds': 30}})
    clients, most = [], watch_what_is_held(gateway, monkeypatch)
    with serving(Flood(Tape(19), 32 * MEGABYTE)) as port, serving(echo) as echo_port, opened(gateway) as small:
        small.connect_to(echo_port, binary=True)
        try:
            for _ in range(12):
                clients.append(RawClient(gateway.address, receive_buffer=SMALL_BUFFER).open().connect_to(port))
            wait_until(lambda: most[0] > MEGABYTE, 20)
            wait_until_still(lambda: most[0])
            assert most[0] <= MEGABYTE + 2 * READ
            small.send_frame(BINARY, b'still here')
            assert small.receive_data(10) == b'still here'
        finally:
            for client in clients:
                client.abort()


@pytest.fixture
def nearly_full(running_gateway):
    """A gateway for whose other clients almost all of totalBytes is held."""
    gateway = running_gateway({'limits': {'totalBytes': MEGABYTE}})
    count = MEGABYTE - 1000

    def change(by):
        gateway.budget.bytes += by

    gateway.loop.post(lambda: change(count))
    yield gateway
    gateway.loop.post(lambda: change(-count))


@FORMS
def test_one_read_goes_little_beyond_totalBytes(nearly_full, monkeypatch, binary):
    most = watch_what_is_held(nearly_full, monkeypatch)
    with serving(Flood(Tape(20), 32 * MEGABYTE)) as port, opened(nearly_full, receive_buffer=SMALL_BUFFER) as client:
        client.connect_to(port, binary=binary)
        wait_until(lambda: not nearly_full.clients)
    assert MEGABYTE < most[0] <= MEGABYTE + SMALL_SHARE + 16384


def test_what_the_kernel_takes_is_sent_before_a_client_is_ended_for_it(nearly_full):
    data = Tape(21).cut(0, 100000)
    with opened(nearly_full) as client:
        (session,) = sessions(nearly_full)

        def write_much():
            session.stream.write(ws2s.frame_header(ws2s.BINARY, len(data)), data)
            nearly_full.budget.enforce(session)

        nearly_full.loop.post(write_much)
        assert client.receive_data(len(data)) == data
        assert_quiet(client)


def leave_behind(gateway, port, count):
    """A client sends until ``count`` bytes are held for a target that reads nothing, or until it is ended; then it
    goes."""
    with opened(gateway) as client:
        send_until_held(gateway, client, port, count)
    wait_until(lambda: not gateway.clients)


def send_until_held(gateway, client, port, count):
    """The client's session."""
    client.connect_to(port, binary=True)
    session = max(sessions(gateway), key=lambda one: one.number)
    (upstream,) = session.talk.upstreams.values()
    opcode = None
    while upstream.stream.pending < count and opcode != CLOSE:
        client.send_frame(BINARY, b'x' * 16384)
        client.send_frame(PING, b'')
        opcode = client.receive_frame()[0]
    return session


def leave_while_dialling(clients, gateway):
    """Its TCP connection stays: only the WebSocket is closed."""
    client = RawClient(gateway.address).open()
    clients.append(client)
    client.send_json(command='connect', host='target.test', port=80, binary=True)
    for _ in range(12):
        client.send_frame(BINARY, b'x' * 16384)
    client.send_frame(CLOSE, struct.pack('!H', 1000))
    assert client.receive_close()[0] == 1000


def assert_one_who_is_there_lives(gateway, port, data):
    """It holds up to bufferBytes as long as it does not read."""
    with opened(gateway, receive_buffer=SMALL_BUFFER) as client:
        client.connect_to(port, binary=True)
        wait_until(lambda: gateway.budget.bytes < MEGABYTE)
        wait_until_still(lambda: gateway.budget.bytes)
        assert client.receive_data(len(data)) == data
        client.send_frame(BINARY, b'still here')
        assert client.receive_data(10) == b'still here'


def end_all(upstreams, loop):
    for upstream in list(upstreams):
        loop.post(upstream.end)


def test_what_those_left_who_have_gone_does_not_end_one_who_is_there(small_kernel_buffers, running_gateway):
    data, gateway = Tape(23).cut(0, MEGABYTE), running_gateway({'limits': {'totalBytes': MEGABYTE, 'drainSeconds': 60}})
    with serving(silence, receive_buffer=4096) as silent, serving(saying(data, echo)) as port:
        while gateway.budget.bytes < 900000:
            leave_behind(gateway, silent, 190000)
        assert_one_who_is_there_lives(gateway, port, data)
        end_all(gateway.upstreams, gateway.loop)


def test_what_those_left_whose_targets_are_still_dialled_does_not_end_one_who_is_there(
        small_kernel_buffers, running_gateway):
    data, go, clients = Tape(24).cut(0, MEGABYTE), threading.Event(), []

    def resolve(host, port):
        go.wait(60)
        return ws2s.TIMEOUT

    gateway = running_gateway({'limits': {'totalBytes': MEGABYTE, 'drainSeconds': 60}}, resolve=resolve)
    with released(go), serving(saying(data, echo)) as port:
        try:
            for _ in range(5):
                leave_while_dialling(clients, gateway)
            assert gateway.budget.bytes > 900000
            assert_one_who_is_there_lives(gateway, port, data)
        finally:
            for client in clients:
                client.abort()


def test_no_more_is_given_up_of_what_those_left_than_must_be(small_kernel_buffers, running_gateway):
    gateway = running_gateway({'limits': {'totalBytes': MEGABYTE, 'drainSeconds': 60}})
    with serving(silence, receive_buffer=4096) as silent:
        for count in (100000, 200000, 150000):
            leave_behind(gateway, silent, count)
        left = wait_until_still(lambda: sorted(upstream.held() for upstream in list(gateway.upstreams)))
        with opened(gateway) as client:
            session = send_until_held(gateway, client, silent, 80000)

            def find_too_much():
                missing = MEGABYTE - gateway.budget.bytes + 1
                gateway.budget.bytes += missing
                gateway.budget.enforce(session)
                gateway.budget.bytes -= missing

            gateway.loop.post(find_too_much)
            wait_until(lambda: len(gateway.upstreams) == 3)
            assert_quiet(client)
            kept = [upstream.held() for upstream in gateway.upstreams if upstream.state == ws2s.DRAINING]
            assert sorted(kept) == left[:2]
        end_all(gateway.upstreams, gateway.loop)


class Glutton(ws2s.Holder):
    """For whom too much is held."""

    def held(self):
        return MEGABYTE


def test_what_the_kernel_takes_of_those_who_have_gone_is_sent_and_not_given_up(running_gateway):
    gateway, received, data = running_gateway({'limits': {'totalBytes': MEGABYTE}}), [], Tape(25).cut(0, 100000)
    with serving(recorder(received)) as port, opened(gateway) as client:
        client.connect_to(port, binary=True)
        (session,) = sessions(gateway)

        def leave_and_find_too_much():
            session.on_received(session.stream, frame(BINARY, data) + frame(CLOSE, struct.pack('!H', 1000)))
            gateway.budget.bytes += MEGABYTE
            gateway.budget.enforce(Glutton())
            gateway.budget.bytes -= MEGABYTE

        gateway.loop.post(leave_and_find_too_much)
        wait_until(lambda: received)
        assert received == [data]


def test_those_who_come_and_go_leave_no_more_than_totalBytes(small_kernel_buffers, running_gateway, monkeypatch):
    gateway = running_gateway({'limits': {'totalBytes': MEGABYTE, 'drainSeconds': 60}})
    most = watch_what_is_held(gateway, monkeypatch)
    with serving(silence, receive_buffer=4096) as silent:
        for _ in range(50):
            leave_behind(gateway, silent, 190000)
        assert MEGABYTE < most[0] <= MEGABYTE + 2 * READ
        end_all(gateway.upstreams, gateway.loop)


@pytest.mark.parametrize('binary', [False, True], ids=['JSON', 'binary'])
def test_a_client_that_takes_all_at_once_is_not_ended_for_what_others_hold(nearly_full, binary):
    data = Tape(7).cut(0, 400000)
    with serving(saying(data, echo)) as port, opened(nearly_full) as client:
        client.connect_to(port, binary=binary)
        assert client.receive_data(len(data)) == data
        for size in (60000, 131072, 400000) if binary else (1000, 40000):
            client.send_frame(BINARY, data[:size])
            assert client.receive_data(size) == data[:size]


def test_a_session_that_is_hung_up_on_while_too_much_is_held_ends_once_and_leaves_no_timer(running_gateway):
    gateway = running_gateway({'limits': {'drainSeconds': 30}})
    with serving(Flood(Tape(26), 32 * MEGABYTE)) as port, opened(gateway, receive_buffer=SMALL_BUFFER) as client:
        client.connect_to(port)
        wait_until(lambda: sessions(gateway)[0].stream.congested)
        (session,) = sessions(gateway)

        def hang_up_when_full():
            gateway.budget.bytes += gateway.budget.most
            session.hang_up(1001, 'too much is held')
            gateway.budget.bytes -= gateway.budget.most

        gateway.loop.post(hang_up_when_full)
        wait_until(lambda: is_empty(gateway) and gateway.loop.live_timers() == 0, 3)


# -- time --------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize('jump', [86400 * 365, -86400 * 365], ids=['forward', 'back'])
def test_clock_that_is_set_while_connections_stand_ends_none(running_gateway, monkeypatch, jump):
    """S23"""
    gateway = running_gateway({'limits': {'pingSeconds': 60, 'idleSeconds': 60}})
    with serving(echo) as port, opened(gateway) as client:
        client.connect_to(port, binary=True)
        real = time.time
        monkeypatch.setattr(time, 'time', lambda: real() + jump)
        for _ in range(20):
            client.send_frame(BINARY, b'x')
            assert client.receive_data(1) == b'x'
            threading.Event().wait(0.01)
        monkeypatch.undo()
        assert_quiet(client)
