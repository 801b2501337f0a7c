# -*- coding: utf-8 -*-
"""How a turn of the loop is shared: the row, in which address groups take turns, and the time that each part has."""

import pytest

import ws2s
from raw_client import BINARY, CLOSE, TEXT, RawClient, frame
from targets import recorder, serving
from waiting import wait_until

pytestmark = pytest.mark.usefixtures('no_mistakes')

LONG, NONE = 3600, -1  # seconds


class Waiting(ws2s.Handler):
    """Has turns, of which it tells, and lines up again as often as it is told to."""

    def __init__(self, loop, name, told, again=0):
        self.name, self._loop, self._told, self._again = name, loop, told, again

    def on_turn(self):
        self._told.append(self.name)
        if self._again:
            self._again -= 1
            self._loop.line_up(self, self.name[0], ws2s.HEAVY)


@pytest.fixture
def loop():
    loop = ws2s.Loop()
    yield loop
    loop.close()


def turn(loop):
    loop.waker.wake()  # so that the poll returns
    loop.turn()


def lined_up(loop, names, reason=ws2s.HEAVY, again=0):
    told = []
    for name in names.split():
        loop.line_up(Waiting(loop, name, told, again), name[0], reason)
    return told


@pytest.fixture
def no_time_passes(monkeypatch):
    monkeypatch.setattr(ws2s, 'stopwatch', lambda: 0.0)


def test_the_line_that_has_used_least_time_goes_first(loop, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(ws2s, 'stopwatch', lambda: clock[0])
    monkeypatch.setattr(ws2s, 'TURN_SECONDS', LONG)
    monkeypatch.setattr(ws2s, 'LATELY_SECONDS', LONG)
    told = []

    class Slow(Waiting):
        def on_turn(self):
            clock[0] += 1.0 if self.name[0] == 'a' else 0.1
            Waiting.on_turn(self)

    for name in ('a1', 'a2', 'a3', 'b1', 'b2', 'b3'):
        loop.line_up(Slow(loop, name, told), name[0], ws2s.HEAVY)
    turn(loop)
    assert ' '.join(told) == 'a1 b1 b2 b3 a2 a3'


def test_who_has_used_much_does_not_wait_for_ever_behind_those_who_come_anew():
    row, now = ws2s.Row(), 0.0
    row.add('old', 'old')
    row.add('older', 'old')
    row.take()
    row.charge(now, now + 0.05)
    for number in range(100):
        row.add(number, number)
        taken = row.take()
        row.charge(now, now + 0.01)
        now += 0.01
        if taken == 'older':
            break
    assert number < 99


def test_what_was_used_is_forgotten_and_a_clock_that_is_set_back_does_no_harm(loop, monkeypatch):
    row, order = ws2s.Row(), []
    for number in range(3):
        row.add('a%d' % number, 'a')
        row.add('b%d' % number, 'b')
    for began, now in ((0, 5), (5, 5.1), (100, 100.1), (100.1, 50), (50, 50.1), (50.1, 50.2)):
        order.append(row.take())
        row.charge(began, now)
    assert sorted(order) == ['a0', 'a1', 'a2', 'b0', 'b1', 'b2'] and row.count == 0


@pytest.mark.usefixtures('no_time_passes')
def test_in_the_row_address_groups_take_turns(loop, monkeypatch):
    monkeypatch.setattr(ws2s, 'TURN_SECONDS', LONG)
    told = lined_up(loop, 'a1 a2 a3 a4 b1 c1 c2')
    turn(loop)
    assert ' '.join(told) == 'a1 b1 c1 a2 c2 a3 a4'


@pytest.mark.parametrize('reason', [ws2s.NEW, ws2s.LIGHT])
def test_who_stands_there_for_another_reason_has_a_line_of_its_own(loop, monkeypatch, reason):
    monkeypatch.setattr(ws2s, 'TURN_SECONDS', LONG)
    told = []
    for name in 'a1 a2 a3':
        loop.line_up(Waiting(loop, 'heavy', told), 'a', ws2s.HEAVY)
    loop.line_up(Waiting(loop, 'other', told), 'a', reason)
    turn(loop)
    assert told[:2] == ['heavy', 'other']


def test_the_row_has_its_time_and_no_more_but_one_gets_on_in_each_turn(loop, monkeypatch):
    monkeypatch.setattr(ws2s, 'TURN_SECONDS', NONE)
    told = lined_up(loop, 'a1 a2 b1')
    for expected in (['a1'], ['a1', 'b1'], ['a1', 'b1', 'a2'], ['a1', 'b1', 'a2']):
        turn(loop)
        assert told == expected


@pytest.mark.usefixtures('no_time_passes')
def test_who_lines_up_again_has_the_next_turn_behind_the_others(loop, monkeypatch):
    monkeypatch.setattr(ws2s, 'TURN_SECONDS', LONG)
    told = lined_up(loop, 'a1 b1', again=1)
    turn(loop)
    assert told == ['a1', 'b1', 'a1', 'b1']


def test_one_who_lines_up_again_and_again_does_not_keep_the_loop(loop, monkeypatch):
    monkeypatch.setattr(ws2s, 'TURN_SECONDS', LONG)  # as if somebody had set the clock
    told = lined_up(loop, 'a1', again=10 ** 6)
    turn(loop)
    assert len(told) == ws2s.ROW_TURNS


def test_who_stands_in_the_row_is_not_put_there_twice(loop, monkeypatch):
    monkeypatch.setattr(ws2s, 'TURN_SECONDS', LONG)
    told = []
    handler = Waiting(loop, 'a1', told)
    for _ in range(3):
        loop.line_up(handler, 'a', ws2s.HEAVY)
    turn(loop)
    turn(loop)
    assert told == ['a1']


def test_with_somebody_in_the_row_the_poll_does_not_wait(loop):
    told = lined_up(loop, 'a1')
    loop.turn()  # would wait for ever: there is no timer
    assert told == ['a1']


def test_all_that_is_posted_is_called_in_the_end_and_in_order(loop, monkeypatch):
    monkeypatch.setattr(ws2s, 'TURN_SECONDS', NONE)
    told = []
    handlers = [Waiting(loop, 'p%d' % number, told) for number in range(5)]
    for handler in handlers:
        loop.post(handler.on_turn)
    turn(loop)
    assert told == ['p0']
    for _ in range(4):
        loop.turn()
    assert told == ['p0', 'p1', 'p2', 'p3', 'p4']


def test_all_that_is_posted_is_called_when_the_loop_closes(monkeypatch):
    monkeypatch.setattr(ws2s, 'TURN_SECONDS', NONE)
    loop, told = ws2s.Loop(), []
    for number in range(5):
        loop.post(Waiting(loop, 'p%d' % number, told).on_turn)
    loop.close()
    assert told == ['p0', 'p1', 'p2', 'p3', 'p4']


def test_many_timers_that_are_due_at_once_do_not_take_all_of_a_turn(loop, monkeypatch):
    told = []
    for number in range(5):
        loop.call_later(0, Waiting(loop, 't%d' % number, told).on_turn)
    monkeypatch.setattr(ws2s, 'TURN_SECONDS', NONE)
    turn(loop)
    assert len(told) < 5
    monkeypatch.setattr(ws2s, 'TURN_SECONDS', LONG)
    loop.turn()
    assert told == ['t0', 't1', 't2', 't3', 't4']


def test_a_callback_that_arms_a_timer_for_now_does_not_keep_the_loop(loop):
    class Again(ws2s.Handler):
        def on_time(self):
            loop.call_later(0, self.on_time)

    Again().on_time()
    for _ in range(3):
        loop.turn()


# -- a gateway whose turns are as short as can be ----------------------------------------------------------------------

SHORT = pytest.mark.parametrize('seconds', [NONE, 0.002, LONG])


@SHORT
def test_what_comes_in_one_read_is_answered_in_order_however_short_a_turn_is(running_gateway, monkeypatch, seconds):
    monkeypatch.setattr(ws2s, 'TURN_SECONDS', seconds)
    received = []
    with serving(recorder(received)) as port, RawClient(running_gateway().address) as client:
        client.open().connect_to(port)
        requests = [b'{"command": "ping"}', b'{"command": "send", "data": "abc"}', b'nonsense'] * 50
        client.send(b''.join(frame(TEXT, request) for request in requests) + frame(BINARY, b'end') + frame(CLOSE))
        replies = [client.receive_json() for _ in requests]
        assert [reply['message'] for reply in replies[:2]] == ['ping done', 'send done']
        assert replies == replies[:3] * 50
        wait_until(lambda: received == [b'abc' * 50 + b'end'])


@SHORT
def test_a_close_behind_a_long_text_comes_after_it(running_gateway, monkeypatch, seconds):
    monkeypatch.setattr(ws2s, 'TURN_SECONDS', seconds)
    received, data = [], b'x' * 300000
    with serving(recorder(received)) as port, RawClient(running_gateway().address) as client:
        client.open().connect_to(port)
        client.send(frame(TEXT, b'{"command": "send", "data": "' + data + b'"}') + frame(TEXT, b'{"command": "ping"}') +
                    frame(BINARY, b'y') + frame(CLOSE))
        assert [client.receive_json()['message'] for _ in range(2)] == ['send done', 'ping done']
        wait_until(lambda: received == [data + b'y'])


MUCH = frame(TEXT, b'{"command": "ping", "x": "' + b'y' * 1000000 + b'"}') + frame(TEXT, b'{"command": "ping"}') * 200


def test_a_client_that_goes_while_much_is_to_be_done_leaves_nothing(running_gateway, monkeypatch):
    monkeypatch.setattr(ws2s, 'TURN_SECONDS', NONE)
    gateway = running_gateway()
    with RawClient(gateway.address) as client:
        client.open().send(MUCH)
        client.abort()
    wait_until(lambda: not gateway.clients)
    assert gateway.budget.bytes == 0


def test_a_gateway_stops_while_much_is_to_be_done(running_gateway, monkeypatch):
    monkeypatch.setattr(ws2s.JsonDialect, 'on_turn', lambda dialect: [])  # it never gets to the end
    gateway = running_gateway({'limits': {'drainSeconds': 0.3}})
    with RawClient(gateway.address) as client:
        client.open().send(MUCH)
        wait_until(lambda: gateway.budget.bytes > 1000000)
        gateway.stop()
    assert not gateway.clients and gateway.budget.bytes == 0
