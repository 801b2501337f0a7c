# -*- coding: utf-8 -*-
"""What an innocent client notices of attackers: next to nothing.

Each trial measures him alone, and at once again beside a flood. What disturbs both, or a trial once, is the machine; so
the bars are also ratios to what he has alone, and the best of three trials counts.
"""

import pytest

from floods import LONG_MESSAGES, attack
from innocent import innocent, percentile
from program import logging_program
from targets import echo, serving

pytestmark = [pytest.mark.quiet, pytest.mark.trials]

TRIP_MS, OPEN_MS = 25, 100  # bars of the 99th percentile of round trips, and of fresh opens with a connect
RATIO = 5                   # to what the innocent has alone; only a machine that is busy with something else needs it
TRIALS = 3
TRIPS = 80, 150             # alone, and beside


class Trial(object):

    def __init__(self, tmpdir, kind, count, config):
        with logging_program(tmpdir.join('ws2s.log'), config) as (_, address), serving(echo) as port, \
                innocent(address, port, TRIPS) as meter:
            self._alone = meter.measure()
            with attack(kind, address, count) as attackers:
                self._beside = meter.measure()
                self._answered = attackers.end()
        assert self._answered > 0, '%s x %d: nobody was attacked' % (kind, count)

    def __repr__(self):
        return 'alone: %r; beside: %r; attackers got %d' % (self._alone, self._beside, self._answered)

    def is_harmless(self):
        return (self._is_below(TRIP_MS, self._alone.trips, self._beside.trips)
                and self._is_below(OPEN_MS, self._alone.opens, self._beside.opens) and not self._beside.refused)

    def _is_below(self, bar, alone, beside):
        return percentile(beside, 0.99) <= max(bar, RATIO * percentile(alone, 0.99))


def assert_harmless(tmpdir, kind, count=1, config=None):
    seen = []
    for _ in range(TRIALS):
        trial = Trial(tmpdir, kind, count, config or {})
        print('%s x %d: %r' % (kind, count, trial))
        if trial.is_harmless():
            return
        seen.append(trial)
    raise AssertionError('%s x %d: %s' % (kind, count, seen))


CROWDS = pytest.mark.parametrize('count', [1, 20, 100])


@CROWDS
@pytest.mark.parametrize('kind', ['empty objects', 'pings', 'empty fragments', 'forbidden connects', 'closes'])
def test_floods_of_small_messages(tmpdir, kind, count):
    assert_harmless(tmpdir, kind, count)


HOSTS = ['hosts behind SSH', 'hosts beside SSH', 'hosts']
CLOSED = {'ssh': {'enabled': False}, 'allowTargets': ['127.0.0.1']}


@pytest.mark.parametrize('count, config', [(1, {}), (8, CLOSED)], ids=['1', '8 and all forbidden'])
@pytest.mark.parametrize('kind', HOSTS)
def test_hosts_that_take_long_to_become_names(tmpdir, kind, count, config):
    assert_harmless(tmpdir, kind, count, config)


@pytest.mark.parametrize('kind', sorted(LONG_MESSAGES))
def test_messages_as_long_as_may_be(tmpdir, kind):
    assert_harmless(tmpdir, kind, 4)


@pytest.mark.parametrize('kind, count', [
    ('JSON floods read', 10), ('binary floods read', 20), ('binary floods not read', 200),
    ('JSON floods not read', 200), ('floods with a window', 20)])
def test_floods_from_targets(tmpdir, kind, count):
    assert_harmless(tmpdir, kind, count)


@pytest.mark.parametrize('kind', ['resets after the connect', 'WebSockets that reset', 'opens', 'pages',
                                  'pages not read', 'nonsense', 'urgent data'])
def test_storms_of_connections(tmpdir, kind):
    assert_harmless(tmpdir, kind, 4)


def test_headers_of_200_clients_that_come_byte_by_byte(tmpdir):
    assert_harmless(tmpdir, 'dripping headers', 200)
