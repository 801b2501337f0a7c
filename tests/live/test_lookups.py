# -*- coding: utf-8 -*-
"""Names whose servers are silent: a look-up of such a one cannot be stopped, and keeps its thread."""

import contextlib
import socket
import threading

import pytest

import ws2s
from census import is_empty
from raw_client import RawClient
from targets import recorder, serving
from waiting import wait_until

pytestmark = pytest.mark.usefixtures('no_mistakes')


class Names(object):
    """A resolve. Names with `dead` in them hang until ``go`` is set; all others are this machine's."""

    def __init__(self):
        self.go, self.hanging, self.found = threading.Event(), [], []

    def resolve(self, host, port):
        if 'dead' not in host:
            self.found.append(host)
            return [(socket.AF_INET, ('127.0.0.1', port))]
        self.hanging.append(host)
        assert self.go.wait(60)
        return ws2s.UNKNOWN_NAME


@pytest.fixture
def names():
    names = Names()
    yield names
    names.go.set()


@pytest.fixture
def port():
    with serving(recorder([])) as port:
        yield port


@contextlib.contextmanager
def asking(gateway, hosts, sources=('127.0.0.1',)):
    """A WebSocket for each of these names, which it connects to; they come from all the sources in turn."""
    clients = []
    try:
        for number, host in enumerate(hosts):
            clients.append(RawClient(gateway.address, source=sources[number % len(sources)], timeout=30).open())
            clients[-1].send_json(command='connect', host=host, port=1)
        yield clients
    finally:
        for client in clients:
            client.abort()


def connects(gateway, port, host, source='127.0.0.1'):
    """Does a new client reach what has this name?"""
    with RawClient(gateway.address, source=source, timeout=30) as client:
        client.open().connect_to(port, host=host)
        return True


ONE, MANY = 'name%d.dead.test', 'name.dead%d.test'
SOURCES = ['127.0.0.1'], ['127.0.0.1', '127.0.0.2', '127.0.0.3']


@pytest.mark.parametrize('sources', SOURCES, ids=['one address', 'three addresses'])
@pytest.mark.parametrize('count', [9, 40])
@pytest.mark.parametrize('name, most', [(ONE, ws2s.ZONE_LOOKUPS), (MANY, 240)], ids=['one zone', 'many zones'])
def test_names_of_others_are_found_while_those_of_many_clients_hang(running_gateway, names, port, sources, count, name,
                                                                    most):
    gateway = running_gateway({'limits': {'connectSeconds': 30}}, resolve=names.resolve)
    most, count = most * (len(sources) if name is ONE else 1), count * len(sources)
    hosts = [name % number for number in range(2 * count)]
    with asking(gateway, hosts[:count], sources):
        wait_until(lambda: len(names.hanging) == min(count, most))
    wait_until(lambda: is_empty(gateway))
    with asking(gateway, hosts[count:], sources):  # those before have left, and hang still
        wait_until(lambda: len(names.hanging) == min(2 * count, most))
        for source in ('127.0.0.1', '127.0.0.9'):
            assert connects(gateway, port, 'db.example.test', source)
            assert connects(gateway, port, 'localhost', source)
        assert len(names.hanging) == min(2 * count, most) and not names.go.is_set()


def test_names_below_two_labels_of_a_registry_do_not_keep_out_those_that_are_known(running_gateway, names, port):
    gateway = running_gateway({'limits': {'connectSeconds': 30}}, resolve=names.resolve)
    assert connects(gateway, port, 'www.known.co.test')
    with asking(gateway, ['name.dead%d.co.test' % number for number in range(ws2s.ZONE_LOOKUPS)]):
        wait_until(lambda: len(names.hanging) == ws2s.ZONE_LOOKUPS)
        assert connects(gateway, port, 'mail.known.co.test')


def test_a_name_that_waits_for_others_of_its_zone_is_found_when_they_return(running_gateway, names, port):
    gateway = running_gateway({'limits': {'connectSeconds': 30}}, resolve=names.resolve)
    with asking(gateway, [ONE % number for number in range(ws2s.ZONE_LOOKUPS)]):
        wait_until(lambda: len(names.hanging) == ws2s.ZONE_LOOKUPS)
        with RawClient(gateway.address, timeout=30) as client:
            client.open().send_json(command='connect', host='well.DEAD.test.', port=port)
            assert connects(gateway, port, 'db.example.test') and 'well.DEAD.test.' not in names.found
            names.go.set()
            assert client.receive_json()['success']


@pytest.mark.parametrize('seconds', [ws2s.QUICK_SECONDS, -1], ids=['quick', 'slow'])
def test_a_zone_that_is_known_to_be_quick_has_threads_when_all_others_are_taken(running_gateway, names, port,
                                                                                monkeypatch, seconds):
    monkeypatch.setattr(ws2s, 'LOOKUP_THREADS', 16)
    monkeypatch.setattr(ws2s, 'QUICK_SECONDS', seconds)
    gateway = running_gateway({'limits': {'connectSeconds': 30}}, resolve=names.resolve)
    assert connects(gateway, port, 'www.known.test')
    with asking(gateway, [MANY % number for number in range(40)], SOURCES[1]), RawClient(gateway.address) as client:
        wait_until(lambda: len(names.hanging) == 12)
        client.open().send_json(command='connect', host='db.www.known.test', port=port)
        if seconds < 0:
            names.go.set()  # only this helps
        assert client.receive_json()['success']
        assert names.go.is_set() == (seconds < 0)


def test_one_address_has_half_of_the_threads(running_gateway, names, port, monkeypatch):
    monkeypatch.setattr(ws2s, 'LOOKUP_THREADS', 16)
    gateway = running_gateway({'limits': {'connectSeconds': 30}}, resolve=names.resolve)
    with asking(gateway, [MANY % number for number in range(40)]):
        wait_until(lambda: len(names.hanging) == 8)
        assert connects(gateway, port, 'db.example.test', '127.0.0.9')
        assert len(names.hanging) == 8


def test_a_client_that_gives_up_name_after_name_keeps_two_threads(running_gateway, names, port):
    gateway = running_gateway({'limits': {'connectSeconds': 0.2}}, resolve=names.resolve)
    with RawClient(gateway.address) as client:
        client.open()
        for number in range(5):
            assert client.ask(command='connect', host=MANY % number, port=1)['reason'] == 'timeout'
        wait_until(lambda: sorted(names.hanging) == [MANY % 0, MANY % 1])


def test_forty_names_of_forty_zones_are_looked_up_at_one_time(running_gateway, port):
    all_here, here = threading.Event(), []

    def resolve(host, port):
        here.append(host)
        if len(here) == 40:
            all_here.set()
        assert all_here.wait(60)
        return [(socket.AF_INET, ('127.0.0.1', port))]

    gateway = running_gateway({'limits': {'connectSeconds': 60}}, resolve=resolve)
    with asking(gateway, ['db.zone%d.test' % number for number in range(40)]) as clients:
        assert all(client.receive_json()['reason'] == 'refused' for client in clients)


# -- the threads -------------------------------------------------------------------------------------------------------

class Bench(object):
    """Workers whose calls return when they are told to."""

    def __init__(self, threads, waiting=100):
        self.loop = ws2s.Loop()
        self.workers = ws2s.Workers(self.loop, threads, waiting)
        self.begun, self.done, self._events = [], [], {}

    def submit(self, group, name, **shares):
        event = self._events[name] = threading.Event()

        def blocking_wait():
            self.begun.append(name)
            assert event.wait(60)
            return name

        return self.workers.submit(group, blocking_wait, (), self.done.append, **shares)

    def let_go(self, name):
        self._events[name].set()
        wait_until(lambda: self.turn() or name in self.done)

    def turn(self):
        self.loop.waker.wake()
        self.loop.turn()

    def wait_for(self, *names):
        wait_until(lambda: self.begun == list(names))

    def close(self):
        for event in self._events.values():
            event.set()
        self.workers.close(10)
        self.loop.close()


@pytest.fixture
def bench():
    benches = []

    def make(*arguments):
        benches.append(Bench(*arguments))
        return benches[-1]

    yield make
    for bench in benches:
        bench.close()


def test_whoever_is_kept_out_by_others_comes_before_them(bench):
    bench = bench(2)
    bench.submit('a', 'a1')
    bench.wait_for('a1')
    bench.submit('b', 'b1')
    bench.wait_for('a1', 'b1')
    for name in ('a2', 'b2', 'a3', 'b3', 'c1'):
        bench.submit(name[0], name)
    bench.let_go('a1')
    bench.wait_for('a1', 'b1', 'c1')
    bench.let_go('b1')
    bench.wait_for('a1', 'b1', 'c1', 'a2')


def test_a_call_waits_for_each_of_its_shares(bench):
    bench = bench(8)
    bench.submit('a', 'first', shares=(('x', 1),))
    bench.wait_for('first')
    bench.submit('b', 'second', shares=(('y', 1),))
    bench.wait_for('first', 'second')
    bench.submit('c', 'third', shares=(('x', 1), ('y', 1)))
    bench.let_go('first')
    bench.turn()
    bench.submit('d', 'fourth', shares=(('x', 1),))
    bench.wait_for('first', 'second', 'fourth')
    bench.let_go('second')
    bench.let_go('fourth')
    bench.wait_for('first', 'second', 'fourth', 'third')


def test_what_is_withdrawn_while_it_waits_is_never_run_and_gives_its_place_back(bench):
    bench = bench(2, 2)
    bench.submit('a', 'running')
    bench.wait_for('running')
    waiting = bench.submit('a', 'withdrawn')
    assert waiting and bench.submit('a', 'one too many') is None
    waiting.cancel()
    assert bench.submit('a', 'last')
    bench.let_go('running')
    bench.let_go('last')
    assert bench.begun == ['running', 'last']


def test_with_no_more_threads_than_one_that_one_does_all(bench, monkeypatch):
    bench = bench(8)
    bench.submit('a', 'first')
    bench.wait_for('first')

    def start(thread):
        raise threading.ThreadError("can't start new thread")

    monkeypatch.setattr(threading.Thread, 'start', start)
    bench.submit('b', 'second')
    bench.submit('c', 'third')
    for name in ('first', 'second', 'third'):
        bench.let_go(name)
