# -*- coding: utf-8 -*-
"""Places for connections: those who ask for nothing, or have been answered, keep nobody out."""

import contextlib
import resource
import threading
import time

import pytest

import ws2s
from census import is_empty
from floods import attack
from program import logging_program
from raw_client import BINARY, RawClient, exchange
from targets import echo, recorder, released, serving
from waiting import wait_until

pytestmark = pytest.mark.usefixtures('no_mistakes', 'many_descriptors')

ONE, TWELVE = ['127.0.0.2'], ['127.0.0.%d' % number for number in range(2, 14)]
SPARE = 64        # connections beside limits.clients
ATTEMPTS = 26
AT_ONCE = 3       # seconds; limits.handshakeSeconds is 10
HEALTH = b'GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n'
MOST_DESCRIPTORS = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
NEEDS_MANY = pytest.mark.skipif(0 <= MOST_DESCRIPTORS < 12000, reason='owed: a process may have too few descriptors')


def round_trip(client):
    client.send_frame(BINARY, b'x')
    assert client.receive_data(1) == b'x'


def visit(address, port):
    with RawClient(address) as client:
        round_trip(client.open().connect_to(port, binary=True))


def health(address, port):
    assert exchange(address, HEALTH)[0] == 200


def faults_of(act, *arguments):
    """What went wrong, if it did."""
    try:
        act(*arguments)
    except (IOError, OSError, EOFError, AssertionError) as error:
        return ['%s: %r' % (act.__name__, error)]
    return []


@pytest.mark.trials
@pytest.mark.quiet
@pytest.mark.parametrize('places, sources', [
    (20, ONE), (20, TWELVE), (500, ONE), (500, TWELVE), pytest.param(10000, TWELVE, marks=NEEDS_MANY)],
    ids=['84 of one address', '84 of 12', '564 of one', '564 of 12', '10064 of 12'])
def test_silent_connections_on_all_places_keep_nobody_out(tmpdir, places, sources):
    config = {'limits': {'clients': places}}
    with logging_program(tmpdir, config) as (_, address), serving(echo) as port, \
            RawClient(address) as early:
        early.open().connect_to(port, binary=True)
        with attack('silence', address, places + SPARE, sources):
            faults = []
            for _ in range(ATTEMPTS):
                faults += faults_of(visit, address, port) + faults_of(health, address, port)
            faults += faults_of(round_trip, early)
        assert not faults, '%d of %d: %s' % (len(faults), 2 * ATTEMPTS + 1, faults[:5])


# -- few places --------------------------------------------------------------------------------------------------------

def nothing(client):
    """Asks for nothing."""


def a_page(client):
    """Reads its answer, and does not close."""
    client.send(b'GET / HTTP/1.1\r\nHost: x\r\n\r\n')
    client.receive_head()


def nonsense(client):
    client.send(b'nonsense\r\n\r\n')


@contextlib.contextmanager
def crowd(address, come, count):
    """Connections that have said something, and stay. Those that are turned away before are none of them."""
    clients = []
    try:
        for _ in range(count):
            clients.append(RawClient(address))
            faults_of(come, clients[-1])
        yield
    finally:
        for client in clients:
            client.sock.close()


# M2: who says nothing gives way.
@pytest.mark.parametrize('come', [nothing, a_page, nonsense])
def test_a_newcomer_is_served_at_once_beside_100_connections_of_his_own_address_for_5_places(running_gateway, come):
    gateway = running_gateway({'limits': {'clients': 5}})
    with serving(echo) as port, crowd(gateway.address, come, 100):
        for _ in range(5):
            begun = time.time()
            visit(gateway.address, port)
            health(gateway.address, port)
            assert time.time() - begun < AT_ONCE


def test_websockets_keep_their_places_beside_connections_that_ask_for_nothing(running_gateway):
    gateway = running_gateway({'limits': {'clients': 5}})
    with serving(echo) as port:
        clients = [RawClient(gateway.address).open().connect_to(port, binary=True) for _ in range(5)]
        try:
            with crowd(gateway.address, nothing, 200):
                for client in clients:
                    round_trip(client)
        finally:
            for client in clients:
                client.sock.close()


# -- what is left and what is begun ------------------------------------------------------------------------------------

UNFINISHED = b'GET /' + b'x' * 8000 + b' HTTP/1.1\r\n' + (b'X-Padding: ' + b'y' * 989 + b'\r\n') * 15


def test_requests_that_are_not_finished_are_held_by_the_budget(running_gateway):
    gateway = running_gateway()
    with crowd(gateway.address, lambda client: client.send(UNFINISHED), 20):
        wait_until(lambda: gateway.budget.bytes >= 20 * len(UNFINISHED))
    wait_until(lambda: is_empty(gateway))


def test_connections_left_with_nothing_under_way_do_not_cut_what_another_of_the_same_address_has_left(
        running_gateway, monkeypatch):
    monkeypatch.setattr(ws2s, 'DRAINING_CONNECTIONS', 20)
    gateway = running_gateway({'limits': {'drainSeconds': 20}})
    received, go, data = [], threading.Event(), b'x' * 3000000

    def slow(sock):
        go.wait(20)
        recorder(received)(sock)

    with serving(slow, receive_buffer=4096) as slow_port, serving(lambda sock: go.wait(20)) as mute_port, released(go):
        with RawClient(gateway.address) as honest:
            honest.open().connect_to(slow_port)
            honest.send_frame(BINARY, data)
            honest.close()
        wait_until(lambda: not gateway.clients)
        with RawClient(gateway.address) as attacker:
            attacker.open()
            for _ in range(60):
                assert attacker.connect_to(mute_port).ask(command='close')['message'] == 'close done'
        wait_until(lambda: not gateway.clients)
        go.set()
        wait_until(lambda: received)
    assert [len(one) for one in received] == [len(data)]
    assert received == [data]
