import os

import pytest

import ws2s


def filled(*pieces):
    buffer = ws2s.Buffer()
    for piece in pieces:
        buffer.append(piece)
    return buffer


def processor_seconds():
    return sum(os.times()[:2])


def test_a_new_buffer_is_empty():
    buffer = ws2s.Buffer()
    assert len(buffer) == 0
    assert buffer.peek(5) == b'' and buffer.take(5) == b''


def test_bytes_are_taken_in_the_order_they_came():
    buffer = filled(b'abc', b'', b'defg')
    assert len(buffer) == 7
    assert [buffer.take(count) for count in (2, 3, 2)] == [b'ab', b'cde', b'fg']
    assert len(buffer) == 0


def test_peek_leaves_the_bytes_there():
    buffer = filled(b'abc')
    assert buffer.peek(2) == b'ab' and buffer.peek(9) == b'abc'
    assert len(buffer) == 3


@pytest.mark.parametrize('count', [3, 4, 2 ** 63])
def test_take_gives_what_there_is_when_more_is_asked_for(count):
    buffer = filled(b'abc')
    assert buffer.take(count) == b'abc'
    assert len(buffer) == 0


def test_take_of_nothing_takes_nothing():
    buffer = filled(b'abc')
    assert buffer.take(0) == b''
    assert buffer.take(3) == b'abc'


def test_what_was_taken_belongs_to_the_caller():
    buffer = filled(b'abcdef')
    taken = buffer.take(2)
    taken[:] = b'XXXXXXXX'
    assert buffer.take(4) == b'cdef'


def test_what_was_appended_may_be_changed_afterwards():
    data = bytearray(b'abc')
    buffer = filled(data)
    data[:] = b'XXX'
    assert buffer.take(3) == b'abc'


@pytest.mark.parametrize('kind', [bytes, bytearray, memoryview])
def test_all_kinds_of_bytes_can_be_appended(kind):
    assert filled(kind(b'abc')).take(3) == b'abc'


def test_any_mixture_of_appends_peeks_and_takes_keeps_the_order(dice):
    source = bytearray(dice.getrandbits(8) for _ in range(20000))
    buffer, appended, taken = ws2s.Buffer(), 0, bytearray()
    while len(taken) < len(source):
        step = dice.choice((0, 1, 2, 5, 300))
        buffer.append(source[appended:appended + step])
        appended = min(appended + step, len(source))
        count = dice.choice((0, 1, 3, 250))
        assert buffer.peek(count) == source[len(taken):appended][:count]
        taken += buffer.take(count)
        assert len(buffer) == appended - len(taken)
    assert taken == source


def test_fifty_megabytes_in_small_takes_cost_linear_time():
    """Deleting at the head each time would copy 300 GB here, minutes of work."""
    buffer = filled(b'x' * 50000000)
    began = processor_seconds()
    while len(buffer):
        buffer.take(4096)
    assert processor_seconds() - began < 10


def test_many_small_appends_behind_a_long_backlog_cost_linear_time():
    buffer = filled(b'x' * 50000000)
    began = processor_seconds()
    for _ in range(20000):
        buffer.append(b'y' * 100)
        buffer.take(100)
    assert len(buffer) == 50000000
    assert processor_seconds() - began < 10


def test_what_was_taken_is_not_held_for_ever():
    buffer = filled(b'x' * 1000000)
    for _ in range(2000):
        buffer.take(4096)
        buffer.append(b'y' * 4096)
    assert buffer._data.__sizeof__() < 4000000
