# -*- coding: utf-8 -*-
"""The contract of every step of a way: one answer, never from within begin(), none after cancel()."""

import socket

import pytest

import ws2s
from targets import closed_port
from waiting import wait_until

pytestmark = pytest.mark.usefixtures('no_mistakes')

HOP = ws2s.Hop(u'127.0.0.1', 22, u'me', b'secret', None, None)


class Bench(object):
    """A loop and what steps need of it; no thread can begin, and nothing on this machine may be dialled but by name."""

    def __init__(self):
        self.loop, self.told = ws2s.Loop(), []
        config = ws2s.parse_config('{"ssh": {"enabled": false}, "limits": {"connectSeconds": 5}}')
        judge = ws2s.Judge(config, lambda packed: False)
        self.workers = ws2s.Workers(self.loop, 0, 0)
        self.resolver = ws2s.Resolver(self.loop, self.workers, None, judge, ws2s.Sources(config))
        self.tunnels = ws2s.Tunnels(self.loop, config)

    def on_done(self, result, failure):
        self.told.append((result, failure and failure.reason))

    def turn(self):
        self.loop.waker.wake()
        self.loop.turn()


@pytest.fixture
def bench():
    bench = Bench()
    yield bench
    bench.tunnels.close(1)
    bench.loop.close()


def lookup(host):
    return lambda bench: bench.resolver.look_up(host, 80, ('group', 1), 5, bench.on_done)


def dial(host):
    return lambda bench: ws2s.Dial(bench.resolver, host, 80, ('group', 1), 5, bench.on_done)


def connect_to_a_closed_port(bench):
    return ws2s.Connect(bench.loop, [(socket.AF_INET, ('127.0.0.1', closed_port()))], 5, bench.on_done)


def connect_to_an_impossible_address(bench):
    return ws2s.Connect(bench.loop, [(socket.AF_INET, ('255.255.255.255', 80))], 5, bench.on_done)


def forward(bench):
    return ws2s.Logins(bench.tunnels, 'group', 1, bench.resolver).forward(HOP, 'target.test', 80, bench.on_done)


STEPS = [
    ('a look-up of an address', lookup('192.0.2.1'), ([(socket.AF_INET, ('192.0.2.1', 80))], None)),
    ('a look-up of a forbidden address', lookup('127.0.0.1'), (None, 'forbidden')),
    ('a look-up for which there is no place', lookup('name.test'), (None, 'limit')),
    ('a dial of a forbidden address', dial('169.254.169.254'), (None, 'forbidden')),
    ('a dial for which there is no place', dial('name.test'), (None, 'limit')),
    ('a connect that is refused', connect_to_a_closed_port, (None, 'refused')),
    ('a connect that is impossible', connect_to_an_impossible_address, (None, 'unreachable')),
    ('a way through ssh, which is disabled', forward, (None, 'ssh-disabled')),
]


@pytest.mark.parametrize('make, answer', [row[1:] for row in STEPS], ids=[row[0] for row in STEPS])
def test_a_step_answers_once_and_never_from_within_begin(bench, make, answer):
    step = make(bench)
    step.begin()
    assert bench.told == []
    wait_until(lambda: bench.turn() or bench.told)
    bench.turn()
    step.settle()
    step.fail(ws2s.BROKEN)
    step.cancel()
    assert bench.told == [answer]
    assert bench.loop.live_timers() == 0


@pytest.mark.parametrize('make', [row[1] for row in STEPS], ids=[row[0] for row in STEPS])
def test_a_step_that_is_cancelled_in_its_own_turn_never_answers_and_leaves_nothing(bench, make):
    step = make(bench)
    step.begin()
    step.cancel()
    bench.turn()
    step.cancel()
    assert bench.told == [] and step.sock is None
    assert bench.loop.live_timers() == 0


@pytest.mark.parametrize('make', [row[1] for row in STEPS], ids=[row[0] for row in STEPS])
def test_a_mistake_of_ours_is_an_answer_too(bench, make):
    step = make(bench)
    step.begin()
    step.on_mistake()
    bench.turn()
    assert bench.told == [(None, 'internal')]
    assert bench.loop.live_timers() == 0


def test_a_refusal_tells_the_operator_more_than_the_client(bench):
    failures = []
    ws2s.Dial(bench.resolver, '127.0.0.1', 80, ('group', 1), 5, lambda sock, failure: failures.append(failure)).begin()
    bench.turn()
    failure, = failures
    assert failure.message.endswith('(allowConnectToServerLocal)') and 'own machine' not in failure.message
    assert 'own machine' in failure.why
