# -*- coding: utf-8 -*-
"""The bars of flow and memory at their full size; only by ``make soak``. Run with -s, they print what they measure."""

import contextlib
import resource
import threading
import time

import pytest

from load import load
from program import running_program
from raw_client import BINARY, RawClient
from targets import echo, serving
from test_flow import Flood, assert_quiet
from tape import Reading, Tape
from waiting import wait_until, wait_until_still

pytestmark = [pytest.mark.soak, pytest.mark.timeout(300), pytest.mark.usefixtures('no_mistakes')]

MEGABYTE = 1000000
CONFIG = {'allowConnectToServerLocal': True}


@contextlib.contextmanager
def watched_program():
    """A gateway of its own that must not have failed within."""
    with running_program(CONFIG) as program:
        assert program.address  # it has loaded all that it needs
        yield program
        assert not [line for line in program.lines if 'mistake' in line]


# -- 200 MB within a window --------------------------------------------------------------------------------------------

def test_200_megabytes_within_a_window_of_65536_acknowledged_in_steps(gateway):
    tape, total, window = Tape(1), 200 * MEGABYTE, 65536
    flood, reading, given_back, most = Flood(tape, total), Reading(tape), 0, 0
    with serving(flood) as port, RawClient(gateway.address) as client:
        client.open().connect_to(port, binary=True, window=window)
        reading.take_from(client, window)
        throttled = wait_until_still(lambda: flood.sent)
        assert throttled < 20 * MEGABYTE
        assert_quiet(client)
        begun = time.time()
        while reading.position < total:
            most = max(most, reading.position - given_back)
            step = reading.position - given_back
            client.send_json(command='ack', bytes=step)
            given_back += step
            reading.take(client.receive_data(1))
            assert reading.position - given_back <= window
        client.send_json(command='ack', bytes=window)
        assert client.receive_json()['code'] == 5
        print('\n200 MB, window %d: at most %d outstanding, the target stood at %.1f MB, then %.0f MB/s'
              % (window, most, throttled / 1e6, 200 / (time.time() - begun)))


# -- 1 GB and who stands beside it -------------------------------------------------------------------------------------

class RoundTrips(object):
    """In a thread: an echo through the gateway and the bare echo, in turn, and how long each takes."""

    def __init__(self, address, port):
        self.through, self.bare = [], []
        self._clients = [RawClient(address).open().connect_to(port, binary=True), RawClient(('127.0.0.1', port))]
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self):
        through, bare = self._clients
        while not self._over.wait(0.002):
            begun = time.time()
            through.send_frame(BINARY, b'x' * 64)
            through.receive_data(64)
            middle = time.time()
            bare.send(b'x' * 64)
            bare.sock.recv(64)
            self.through.append(middle - begun)
            self.bare.append(time.time() - middle)

    def end(self):
        self._over.set()
        self._thread.join()
        for client in self._clients:
            client.sock.close()

    def __str__(self):
        return 'round trip p50/p99/max %s ms through the gateway, %s ms bare, of %d' % (
            ticks(self.through), ticks(self.bare), len(self.bare))


def ticks(seconds):
    return '/'.join('%.1f' % (1000 * percentile(seconds, part)) for part in (0.5, 0.99, 1))


def percentile(values, part):
    return sorted(values)[min(len(values) - 1, int(part * len(values)))]


@contextlib.contextmanager
def round_trips(address, port):
    measured = RoundTrips(address, port)
    try:
        yield measured
    finally:
        measured.end()


def peak_growth(program, before, until, seconds=120):
    """The most that resident memory is above ``before`` while waiting for ``until()``."""
    peak = [0]

    def look():
        peak[0] = max(peak[0], program.resident_bytes() - before)
        return until()
    wait_until(look, seconds, 'the flood')
    return peak[0]


@pytest.mark.quiet
@pytest.mark.parametrize('source, drain, who', [('flooding', 'downloader', 'client'), ('uploader', 'taking', 'target')],
                         ids=['client reads nothing', 'target reads nothing'])
def test_flood_of_1_GB_costs_under_2_MB_and_no_one_else_anything(source, drain, who):
    total = 1000 * MEGABYTE
    with watched_program() as program, serving(echo) as echo_port:
        target_role, client_role = (source, drain) if who == 'client' else (drain, source)
        with load(target_role, total) as target:
            port = target.wait_for('port')
            before = program.resident_bytes()
            with load(client_role, program.address[0], program.address[1], port, total) as client:
                client.wait_for('connected')
                reader, writer = (client, target) if who == 'client' else (target, client)
                if who == 'target':
                    client.go()
                with round_trips(program.address, echo_port) as stalled:
                    over = time.time() + 4
                    growth = peak_growth(program, before, lambda: time.time() > over)
                assert writer.hears('sent') is None, 'it was not throttled'
                with round_trips(program.address, echo_port) as flowing:
                    begun = time.time()
                    reader.go()
                    growth = max(growth, peak_growth(program, before, lambda: reader.hears('whole') is not None))
                    taken = time.time() - begun
                print('\n1 GB, %s: %.2f MB more, %.0f MB/s\n  stalled: %s\n  flowing: %s'
                      % (source, growth / 1e6, total / taken / 1e6, stalled, flowing))
                assert growth < 2 * MEGABYTE
                assert percentile(stalled.through, 0.99) < 0.02, stalled
                assert percentile(flowing.through, 0.99) < 0.02, flowing


# -- 9,000 that do nothing ---------------------------------------------------------------------------------------------

def possible_clients(wanted):
    """Each takes two descriptors of the gateway."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return wanted if hard == resource.RLIM_INFINITY else min(wanted, (hard - 100) // 2)


def test_9000_idle_clients_with_a_target_each_cost_under_6_KB_each():
    count = possible_clients(9000) // 2 * 2
    with watched_program() as program, load('holding') as target:
        address, port = program.address, target.wait_for('port')
        before = program.resident_bytes()
        crowd = ('idlers', address[0], address[1], port, count // 2)
        with load(*crowd + ('127.0.0.2',)) as some, load(*crowd + ('127.0.0.3',)) as others:
            some.wait_for('connected', 120)
            others.wait_for('connected', 120)
            each = (program.resident_bytes() - before) / float(count)
            begun, used = time.time(), program.cpu_seconds()
            threading.Event().wait(3)
            busy = (program.cpu_seconds() - used) / (time.time() - begun)
            print('\n%d idle clients: %.0f bytes each, %.2f %% of a processor, %d threads'
                  % (count, each, 100 * busy, program.threads()))
            assert each < 6 * 1024
            assert busy < 0.05
            with serving(echo) as echo_port, round_trips(address, echo_port) as beside:
                wait_until(lambda: len(beside.bare) >= 300)
            print('  beside them: %s' % beside)
        wait_until(lambda: program.descriptors() < 20, 30, 'all to be gone')
