# -*- coding: utf-8 -*-
"""The bytes that all clients together may make the gateway hold: who pays when they are too many, who has stalled."""

import contextlib
import itertools
import socket
import threading
import time

import pytest

import ws2s
from census import is_empty, sessions
from raw_client import BINARY, CONTINUATION, TEXT, RawClient, frame, sendb_frame
from tape import Reading, Tape, record
from targets import echo, saying, serving, silence, sink
from waiting import assert_holds, wait_until

pytestmark = [pytest.mark.quiet, pytest.mark.trials,
              pytest.mark.usefixtures('no_mistakes', 'many_descriptors', 'small_kernel_buffers')]

MEGABYTE = 1 << 20
TOTAL = 16 * MEGABYTE     # limits.totalBytes; a fourth of it is more than all innocents together ever hold
UPLOAD = 400000           # bytes of one `sendb`, which come to be held all at once
READ = 65536              # what may be read on top of it in one go
SMALL_SHARE = 65536       # what one client may always make the gateway hold
SMALL_BUFFER = 65536      # of the kernel, at the client's end
STRANGERS = ('127.0.0.2', '127.0.0.3', '127.0.0.4')
FLOOD = b'x' * (16 * MEGABYTE)
TAPE = Tape(12)


# -- attackers ---------------------------------------------------------------------------------------------------------

def unfinished_message(client, ports):
    client.send(frame(TEXT, b' ' * (MEGABYTE - 1000), final=False))


def just_under_a_small_share(client, ports):
    client.send(frame(TEXT, b' ' * (SMALL_SHARE - 1000), final=False))


def stuck_reader(client, ports):
    client.connect_to(ports['flood'])


def stuck_target(client, ports):
    client.connect_to(ports['silent']).send(frame(BINARY, b'x' * 400000))


class Attackers(object):
    """``count`` clients that fill the gateway from some addresses. For one that has been ended another comes."""

    def __init__(self, gateway, fill, count, sources, ports):
        self._gateway, self._fill, self._ports, self._count = gateway, fill, ports, count
        self._sources, self._groups = itertools.cycle(sources), set(map(ws2s.address_group, sources))
        self._clients, self._opened, self._over = [], 0, threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *exception):
        self._over.set()
        self._thread.join()
        for client in self._clients:
            client.abort()

    def _run(self):
        while not self._over.is_set() and self._opened < 10 * self._count:
            if self._present() < self._count:
                self._begin()
            else:
                self._over.wait(0.01)

    def _present(self):
        return sum(session.group in self._groups for session in sessions(self._gateway))

    def ended(self):
        return self._opened - self._present()

    def _begin(self):
        client = RawClient(self._gateway.address, timeout=2, source=next(self._sources), receive_buffer=4096)
        self._clients.append(client)
        try:
            client.open()
            self._opened += 1
            self._fill(client, self._ports)
        except socket.timeout:
            pass  # the gateway takes no more of it: it stays
        except (IOError, OSError, EOFError):
            pass  # it has been ended already


# -- innocents ---------------------------------------------------------------------------------------------------------

def download(address, port, total, rate=float('inf')):
    """``total`` bytes of the tape, in order, at no more than ``rate`` bytes/s."""
    with RawClient(address, timeout=20, receive_buffer=SMALL_BUFFER) as client:
        client.open().connect_to(port, binary=True)
        reading, begun = Reading(TAPE), time.time()
        while reading.position < total:
            reading.take(client.receive_data(1))
            threading.Event().wait(max(0, reading.position / rate - (time.time() - begun)))
        assert reading.position == total


def slow_download(address, ports):
    download(address, ports['slow'], 2 * MEGABYTE, float(MEGABYTE))


def fast_downloads(address, ports):
    for _ in range(3):
        download(address, ports['fast'], 4 * MEGABYTE)


def uploads(address, ports):
    with RawClient(address, timeout=20) as client:
        client.open().connect_to(ports['upload'])
        for piece in TAPE.pieces(5 * UPLOAD, UPLOAD):
            client.send(sendb_frame(piece))
            assert client.receive_json()['message'] == 'sendb done'
        client.send_json(command='close')
        assert client.receive_json()['message'] == 'close done'


class Innocents(object):
    """Each does what it does in a thread of its own, and must come to its end."""

    def __init__(self, *arguments):
        self._arguments, self._faults, self._threads = arguments, [], []

    def begin(self, *tasks):
        for task in tasks:
            self._threads.append(threading.Thread(target=self._run, args=(task,)))
            self._threads[-1].start()

    def _run(self, task):
        begun = time.time()
        try:
            task(*self._arguments)
        except Exception as error:
            self._faults.append('%s after %.2f s: %r' % (task.__name__, time.time() - begun, error))

    def join(self):
        for thread in self._threads:
            thread.join(40)
            assert not thread.is_alive()
        assert not self._faults, self._faults


class Highest(object):
    """The most bytes that the gateway has been seen to hold."""

    def __init__(self, gateway):
        self.bytes, self._gateway, self._over = 0, gateway, threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self):
        while not self._over.is_set():
            self.bytes = max(self.bytes, self._gateway.budget.bytes)
            self._over.wait(0.001)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *exception):
        self._over.set()
        self._thread.join()


@contextlib.contextmanager
def targets(uploaded):
    """The ports of all that clients connect to."""
    with serving(saying(b''.join(TAPE.pieces(2 * MEGABYTE, MEGABYTE)), sink)) as slow, \
            serving(saying(b''.join(TAPE.pieces(4 * MEGABYTE, MEGABYTE)), sink)) as fast, \
            serving(saying(FLOOD, sink)) as flood, serving(silence, receive_buffer=4096) as silent, \
            serving(lambda sock: record(sock, uploaded)) as upload:
        yield {'slow': slow, 'fast': fast, 'flood': flood, 'silent': silent, 'upload': upload}


FILLED = [(unfinished_message, 33), (just_under_a_small_share, 320), (stuck_reader, 100), (stuck_target, 100)]


@pytest.mark.parametrize('sources', [STRANGERS[:1], STRANGERS], ids=['one address', 'three addresses'])
@pytest.mark.parametrize('fill, count', FILLED, ids=[case[0].__name__ for case in FILLED])
def test_when_all_hold_too_much_attackers_pay_and_innocents_live_on_whole(running_gateway, fill, count, sources):
    gateway = running_gateway({'limits': {'totalBytes': TOTAL, 'messageBytes': MEGABYTE, 'drainSeconds': 0.5}})
    uploaded = Reading(TAPE)
    with targets(uploaded) as ports, Highest(gateway) as highest:
        innocents = Innocents(gateway.address, ports)
        innocents.begin(slow_download)
        try:
            with Attackers(gateway, fill, count, sources, ports) as attackers:
                wait_until(lambda: attackers.ended() or gateway.budget.bytes > 0.9 * TOTAL, 20)
                innocents.begin(slow_download, fast_downloads, uploads)
                innocents.join()
                ended = wait_until(attackers.ended, 5, 'an attacker to be ended')
            print('%d attackers ended' % ended)
        finally:
            print('at most %.1f MB held' % (highest.bytes / float(MEGABYTE)))
        assert highest.bytes <= TOTAL + UPLOAD + 4 * READ
        wait_until(lambda: uploaded.position == 5 * UPLOAD)
    wait_until(lambda: is_empty(gateway), 10, 'the gateway to be empty')


# -- what has stalled --------------------------------------------------------------------------------------------------

STALL = 1.0  # limits.stallSeconds


def stalling(running_gateway, stall_seconds=STALL, **limits):
    return running_gateway({'limits': dict({'stallSeconds': stall_seconds, 'drainSeconds': 0.3}, **limits)})


def begin_a_message(client, ports):
    client.send(frame(TEXT, b'{"command": ', final=False))


def begin_a_frame(client, ports):
    client.send(frame(TEXT, b'{"command": "ping"}')[:-1])


# M3: with or without pings.
@pytest.mark.parametrize('stall, ping_seconds', [
    (begin_a_message, 30), (begin_a_frame, 30), (stuck_reader, STALL), (stuck_reader, 30), (stuck_target, STALL),
    (stuck_target, 30)], ids=['message', 'frame', 'reader and pings', 'reader', 'target and pings', 'target'])
def test_a_client_whose_bytes_do_not_move_for_stallSeconds_is_ended(running_gateway, stall, ping_seconds):
    gateway = stalling(running_gateway, pingSeconds=ping_seconds)
    with targets(Reading(TAPE)) as ports, RawClient(gateway.address, receive_buffer=4096) as client:
        client.open()
        begun = time.time()
        stall(client, ports)
        wait_until(lambda: is_empty(gateway), STALL + 5)
        assert time.time() - begun > STALL - 0.1
        client.abort()


@pytest.mark.parametrize('stall', [begin_a_message, begin_a_frame, stuck_reader, stuck_target])
def test_stallSeconds_0_is_never(running_gateway, stall):
    gateway = stalling(running_gateway, 0)
    with targets(Reading(TAPE)) as ports, RawClient(gateway.address, receive_buffer=4096) as client:
        stall(client.open(), ports)
        assert_holds(lambda: len(gateway.clients) == 1, 2 * STALL)
        client.abort()
    wait_until(lambda: is_empty(gateway))


def test_a_message_that_gets_a_byte_now_and_then_lives_on(running_gateway):
    gateway, text = stalling(running_gateway), b'{"command": "ping"}'
    with RawClient(gateway.address) as client:
        client.open().send(frame(TEXT, text[:1], final=False))
        for number in range(1, len(text)):
            threading.Event().wait(0.15)
            client.send(frame(CONTINUATION, text[number:number + 1], final=number == len(text) - 1))
        assert client.receive_json()['message'] == 'ping done'


def test_a_client_without_anything_under_way_has_not_stalled(running_gateway):
    gateway = stalling(running_gateway)
    with serving(echo) as port, RawClient(gateway.address) as client, RawClient(gateway.address) as other:
        client.open().connect_to(port, binary=True)
        other.open()
        assert_holds(lambda: len(gateway.clients) == 2 and len(gateway.upstreams) == 1, 2.5 * STALL)
        client.send_frame(BINARY, b'still here')
        assert client.receive_data(10) == b'still here'
        assert other.ask(command='ping')['message'] == 'ping done'


def test_a_client_whose_window_is_used_up_has_not_stalled(running_gateway):
    gateway = stalling(running_gateway)
    with targets(Reading(TAPE)) as ports, RawClient(gateway.address) as client:
        client.open().connect_to(ports['fast'], binary=True, window=16384).receive_data(16384)
        assert_holds(lambda: len(gateway.clients) == 1 and len(gateway.upstreams) == 1, 2.5 * STALL)
        client.send_json(command='ack', bytes=16384)
        client.receive_data(16384)


@pytest.mark.parametrize('binary', [True, False], ids=['binary', 'json'])
def test_a_reader_that_takes_a_little_now_and_then_lives_on(running_gateway, binary):
    """As much as makes the kernel ask for more."""
    gateway, reading = stalling(running_gateway, pingSeconds=0.4), Reading(TAPE)
    with targets(Reading(TAPE)) as ports, RawClient(gateway.address, receive_buffer=SMALL_BUFFER) as client:
        client.open().connect_to(ports['fast'], binary=binary)
        for _ in range(10):
            least = reading.position + 3 * SMALL_BUFFER
            while reading.position < least:
                reading.take(client.receive_data(1))
            threading.Event().wait(0.3)
        assert len(gateway.clients) == 1
        reading.take_from(client, 4 * MEGABYTE)


def test_a_target_that_takes_a_little_now_and_then_lives_on(running_gateway):
    gateway, reading = stalling(running_gateway), Reading(TAPE)

    def read_slowly(sock):
        while reading.position < 2 * MEGABYTE:
            data = sock.recv(2 * SMALL_BUFFER, socket.MSG_WAITALL)
            if not data:
                return
            reading.take(data)
            threading.Event().wait(0.15)

    with serving(read_slowly, receive_buffer=SMALL_BUFFER) as port, RawClient(gateway.address, timeout=30) as client:
        client.open().connect_to(port)
        for piece in TAPE.pieces(2 * MEGABYTE, READ):
            client.send_frame(BINARY, piece)
        wait_until(lambda: reading.position == 2 * MEGABYTE, 30)
        assert client.ask(command='close')['message'] == 'close done'
