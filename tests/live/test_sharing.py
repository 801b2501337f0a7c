# -*- coding: utf-8 -*-
"""Workers that share a listening socket: who takes a connection, by a clock that only the test sets."""

import contextlib
import mmap
import socket

import pytest

import ws2s
from waiting import wait_until

pytestmark = pytest.mark.usefixtures('no_mistakes')


class Worker(object):
    """A loop with a listener on a socket of all, which says that it has ``clients``."""

    def __init__(self, sock, memory, number, clients):
        self.loop, self.accepted, self.load = ws2s.Loop(), [], ws2s.Load(memory, number)
        self.tell(clients)
        self.listener = ws2s.Listener(self.loop, sock, self._on_accepted, self.load)
        self.turn()

    def tell(self, clients):
        self.clients = clients
        self.load.tell(clients)

    def _on_accepted(self, sock, address):
        self.accepted.append(sock)
        self.tell(self.clients + 1)

    def turn(self):
        self.loop.waker.wake()
        self.loop.turn()

    def close(self):
        for sock in self.accepted:
            sock.close()
        self.listener.close()
        self.loop.close()


class Crew(object):

    def __init__(self, clients):
        (self._sock,) = ws2s.bound_sockets('127.0.0.1', 0)
        memory = mmap.mmap(-1, ws2s.Load.SHAPE.size * len(clients))
        self.workers = [Worker(self._sock.dup(), memory, number, count)
                        for number, count in enumerate(clients)]
        self.came = []

    def come(self):
        self.came.append(socket.create_connection(self._sock.getsockname(), 10))

    def turn(self):
        for worker in self.workers:
            worker.turn()

    def taken(self):
        return [len(worker.accepted) for worker in self.workers]

    def close(self):
        for one in self.workers + self.came + [self._sock]:
            one.close()


@pytest.fixture
def clock(monkeypatch):
    class Clock(object):
        now = 1000.0
    monkeypatch.setattr(ws2s, 'monotonic', lambda: Clock.now)
    return Clock


@pytest.mark.parametrize('loads, expected', [
    ([0], False), ([9], False), ([0, 0], False), ([1, 0], False), ([2, 0], False), ([3, 0], True), ([0, 3], False),
    ([13, 10, 10, 10], True), ([12, 10, 10, 10], False), ([1000, 950], False), ([1000, 800], True),
    ([3, -1, -1, -1], False), ([3, -1, 0, -1], True)], ids=str)
def test_above_the_average_is_who_is_more_than_one_client_ahead_of_those_that_are_there(loads, expected):
    memory = mmap.mmap(-1, ws2s.Load.SHAPE.size * len(loads))
    workers = [ws2s.Load(memory, number) for number in range(len(loads))]
    for worker, load in zip(workers, loads):
        worker.tell(load)
    assert workers[0].is_above() == expected


def test_who_has_many_clients_takes_no_connection_before_the_others_had_time(clock):
    with contextlib.closing(Crew([9, 1])) as crew:
        busy, idle = crew.workers
        crew.come()
        for _ in range(3):
            busy.turn()
        assert crew.taken() == [0, 0] and busy.loop.live_timers() == 1
        clock.now += ws2s.STAND_BACK_SECONDS
        busy.turn()
        assert crew.taken() == [1, 0]
        crew.come()
        busy.turn()
        wait_until(lambda: idle.turn() or idle.accepted)
        clock.now += ws2s.STAND_BACK_SECONDS
        crew.turn()
        assert crew.taken() == [1, 1] and busy.loop.live_timers() == 0


def test_who_has_no_longer_the_most_clients_takes_a_connection_at_once(clock):
    with contextlib.closing(Crew([9, 1])) as crew:
        busy, idle = crew.workers
        idle.tell(9)
        crew.come()
        wait_until(lambda: busy.turn() or busy.accepted)
        assert clock.now == 1000


def test_who_has_hardly_any_descriptors_left_takes_a_connection_only_when_nobody_else_does(clock, monkeypatch):
    with contextlib.closing(Crew([0, 0])) as crew:
        short, other = crew.workers
        monkeypatch.setattr(ws2s, 'most_descriptors', lambda: 0)
        crew.come()
        wait_until(lambda: short.turn() or short.accepted)
        monkeypatch.setattr(ws2s, 'most_descriptors', lambda: 1 << 20)
        for _ in range(2):
            crew.come()
            for _ in range(3):
                short.turn()
            assert len(short.accepted) == 1
            wait_until(lambda: other.turn() or len(other.accepted) == len(crew.came) - 1)
            clock.now += ws2s.STAND_BACK_SECONDS
            short.turn()
        crew.come()
        short.turn()
        clock.now += ws2s.STAND_BACK_SECONDS
        short.turn()
        assert crew.taken() == [2, 2]
        crew.come()
        wait_until(lambda: short.turn() or len(short.accepted) == 3)


@pytest.mark.parametrize('clients, count', [([0, 0, 0, 0], 40), ([9, 0, 3, 0], 28), ([0], 40)], ids=str)
def test_nobody_gets_much_more_than_the_average_and_no_connection_has_to_wait(clock, clients, count):
    with contextlib.closing(Crew(clients)) as crew:
        for _ in range(count):
            crew.come()
            wait_until(lambda: crew.turn() or sum(crew.taken()) == len(crew.came))
            clock.now += ws2s.STAND_BACK_SECONDS
            crew.turn()
        loads = [worker.clients for worker in crew.workers]
        assert max(loads) <= 17 / 16.0 * sum(loads) / len(loads) + 2, loads


def test_a_listener_that_is_closed_while_it_stands_back_leaves_nothing(clock):
    with contextlib.closing(Crew([9, 1])) as crew:
        busy = crew.workers[0]
        crew.come()
        busy.turn()
        busy.listener.close()
        clock.now += ws2s.STAND_BACK_SECONDS
        busy.turn()
        assert busy.loop.live_timers() == 0 and crew.taken() == [0, 0]


@pytest.mark.parametrize('clients, taken', [([0, 0], [1, 0]), ([9, 1], [0, 0])], ids=str)
def test_who_leaves_a_socket_to_others_takes_a_connection_first_that_may_be_known_to_nobody_else(clock, clients, taken):
    with contextlib.closing(Crew(clients)) as crew:
        crew.come()
        crew.workers[0].listener.take_last()
        assert crew.taken() == taken
