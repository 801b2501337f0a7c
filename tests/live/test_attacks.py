# -*- coding: utf-8 -*-
"""What an innocent client notices of attackers: next to nothing.

Each trial measures him alone, and at once again beside a flood. What disturbs both, or a trial once, is the machine; so
the bars are also ratios to what he has alone, and the best of three trials counts.
"""

import itertools
import os
import signal
import threading

import pytest

from fake_ssh import FakeSsh, private_temporary_directory
from floods import LONG_MESSAGES, attack
from innocent import innocent, percentile
from program import logging_program
from raw_client import RawClient
from service import Service, ended
from targets import echo, serving
from waiting import wait_until, wait_until_still

pytestmark = [pytest.mark.quiet, pytest.mark.trials]

TRIP_MS, OPEN_MS = 25, 100  # bars of the 99th percentile of round trips, and of fresh opens with a connect
RATIO = 5                   # to what the innocent has alone; only a machine that is busy with something else needs it
TRIALS = 3
TRIPS = 80, 150             # alone, and beside
PIPE_DESCRIPTORS = 64       # of pipes that a gateway keeps
MEGABYTE = 1048576
MOST_BYTES = 256 * MEGABYTE  # of a gateway that is flooded


class Trial(object):
    """What an innocent has measured alone and beside attackers, who were answered so often."""

    def __init__(self, alone, beside, answered):
        self._alone, self._beside, self._answered = alone, beside, answered
        assert answered > 0, 'nobody was attacked: %r' % self

    def __repr__(self):
        return 'alone: %r; beside: %r; attackers got %d' % (self._alone, self._beside, self._answered)

    def is_harmless(self):
        return (self._is_below(TRIP_MS, self._alone.trips, self._beside.trips)
                and self._is_below(OPEN_MS, self._alone.opens, self._beside.opens) and not self._beside.refused)

    def _is_below(self, bar, alone, beside):
        return percentile(beside, 0.99) <= max(bar, RATIO * percentile(alone, 0.99))


def assert_harmless(trial, *arguments):
    """``trial(*arguments)`` gives a Trial; the best of a few counts."""
    seen = []
    for _ in range(TRIALS):
        seen.append(trial(*arguments))
        print('%s: %r' % (arguments[1:], seen[-1]))
        if seen[-1].is_harmless():
            return
    raise AssertionError('%s: %s' % (arguments[1:], seen))


def flood(tmpdir, kind, count, config=None):
    """A gateway that is flooded. What it has opened for that it closes again."""
    with logging_program(tmpdir, config) as (program, address), serving(echo) as port, \
            innocent(address, port, TRIPS) as meter:
        alone, opened = meter.measure(), program.descriptors()
        with attack(kind, address, count) as attackers:
            beside, answered = meter.measure(), attackers.end()
        wait_until(lambda: program.descriptors() <= opened + PIPE_DESCRIPTORS, 20, 'all to be closed')
        print('%s: %d MB' % (kind, program.peak_bytes() / MEGABYTE))
        assert program.peak_bytes() < MOST_BYTES
    return Trial(alone, beside, answered)


CROWDS = pytest.mark.parametrize('count', [1, 20, 100])


@CROWDS
@pytest.mark.parametrize('kind', ['empty objects', 'pings', 'empty fragments', 'forbidden connects', 'closes'])
def test_floods_of_small_messages(tmpdir, kind, count):
    assert_harmless(flood, tmpdir, kind, count)


HOSTS = ['hosts behind SSH', 'hosts beside SSH', 'hosts']
CLOSED = {'ssh': {'enabled': False}, 'allowTargets': ['127.0.0.1']}


@pytest.mark.parametrize('count, config', [(1, {}), (8, CLOSED)], ids=['1', '8 and all forbidden'])
@pytest.mark.parametrize('kind', HOSTS)
def test_hosts_that_take_long_to_become_names(tmpdir, kind, count, config):
    assert_harmless(flood, tmpdir, kind, count, config)


@pytest.mark.parametrize('kind', sorted(LONG_MESSAGES))
def test_messages_as_long_as_may_be(tmpdir, kind):
    assert_harmless(flood, tmpdir, kind, 4)


@pytest.mark.parametrize('kind, count', [
    ('JSON floods read', 10), ('binary floods read', 20), ('binary floods not read', 200),
    ('JSON floods not read', 200), ('floods with a window', 20)])
def test_floods_from_targets(tmpdir, kind, count):
    assert_harmless(flood, tmpdir, kind, count)


@pytest.mark.parametrize('kind', ['resets after the connect', 'WebSockets that reset', 'opens', 'pages',
                                  'pages not read', 'nonsense', 'urgent data'])
def test_storms_of_connections(tmpdir, kind):
    assert_harmless(flood, tmpdir, kind, 4)


# What a hostile SSH server has ssh say once its tunnel stands, by the reads of a pipe.
SSH_LINES = {'nothing': '\n', 'debugging': 'debug1: Remote: x\n', 'forged': 'debug2: channel 2: open confirm\n',
             'closed': 'Connection closed by x\n'}
SAID = 2000000  # characters of each server: more than a tunnel may stand for


def lines_of_servers(tmpdir, line, count):
    """Tunnels whose servers all begin to have ssh say as much as they can."""
    fake = FakeSsh(str(tmpdir.mkdtemp()))
    fake.does(['say', 'debug1: Connection established.\r\n'], ['serve'], ['wait'], ['say', line * (SAID // len(line))])
    with private_temporary_directory(), logging_program(tmpdir, fake.config()) as (program, address), \
            serving(echo) as port, innocent(address, port, TRIPS) as meter:
        alone = meter.measure()
        fake.leads_to(port)
        clients = [RawClient(address, source='127.0.0.2', timeout=30).open() for _ in range(count)]
        for client in clients:
            client.send_json(command='connect', host='inner.test', port=port, ssh_host='127.0.0.1', ssh_username='u')
        assert [client.receive_json()['message'] for client in clients] == ['connect done'] * count
        fake.go()
        beside = meter.measure()
        for client in clients:
            client.abort()
        wait_until(lambda: not fake.alive(), 20, 'every ssh to be gone')
    return Trial(alone, beside, count)


@pytest.mark.parametrize('count', [1, 10])
@pytest.mark.parametrize('kind', sorted(SSH_LINES))
def test_what_hostile_ssh_servers_have_ssh_say(tmpdir, kind, count):
    assert_harmless(lines_of_servers, tmpdir, SSH_LINES[kind], count)


def test_headers_of_200_clients_that_come_byte_by_byte(tmpdir):
    assert_harmless(flood, tmpdir, 'dripping headers', 200)


@pytest.mark.parametrize('total', [32 * MEGABYTE, 64 * MEGABYTE], ids=['32 MB', '64 MB'])
def test_unfinished_messages_take_no_more_memory_than_totalBytes_allows(tmpdir, total):
    with logging_program(tmpdir, {'limits': {'totalBytes': total}}) as (program, address):
        before = program.peak_bytes()
        with attack('unfinished messages', address, 33):
            wait_until(lambda: program.peak_bytes() - before > 0.7 * total, 20)
            grown = wait_until_still(program.peak_bytes, 20) - before
        print('with %d MB allowed it has grown by %d MB' % (total / MEGABYTE, grown / MEGABYTE))
        assert grown < total + 64 * MEGABYTE  # all 33 would be 528 MB


# -- reloads -----------------------------------------------------------------------------------------------------------

class Reloads(object):
    """SIGHUP after SIGHUP, every other one with a broken file; ``count`` so far."""

    def __init__(self, service):
        self.count, self._service, self._over = 0, service, threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self):
        for number in itertools.count():
            if self._over.is_set():
                return
            if number % 2:
                self._service.write('config.json', b'{')
            else:
                self._service.configure(denyTargets=['host-%d.test' % number])
            os.kill(self._service.pid, signal.SIGHUP)
            self.count += 1
            self._over.wait(0.005)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *exception):
        self._over.set()
        self._thread.join()


def is_forbidden(address, port):
    with RawClient(address) as client:
        return client.open().ask(command='connect', host='127.0.0.1', port=port)['code'] == 4


def reload_without_end(tmpdir):
    with ended(Service(tmpdir.mkdir('service'))) as service, serving(echo) as port:
        service.start()
        before = set(service.workers)
        with innocent(service.address, port, TRIPS) as meter:
            alone = meter.measure()
            with Reloads(service) as reloads:
                beside = meter.measure()
        service.configure(denyTargets=['0.0.0.0/0'])
        os.kill(service.pid, signal.SIGHUP)
        wait_until(lambda: all(is_forbidden(service.address, port) for _ in range(6)), 20, 'the last rule')
        assert set(service.workers) == before
    tmpdir.join('service').remove()
    return Trial(alone, beside, reloads.count)


def test_a_storm_of_reloads(tmpdir):
    assert_harmless(reload_without_end, tmpdir)


def test_two_reloads_at_one_time_are_both_true(tmpdir):
    with ended(Service(tmpdir)) as service:
        service.start()
        service.configure(denyTargets=['0.0.0.0/0'])
        commands = [service.begin('reload') for _ in range(2)]
        assert [command.outcome()[0] for command in commands] == [0, 0]
        with serving(echo) as port:
            assert all(is_forbidden(service.address, port) for _ in range(6))
        service.do('stop')
