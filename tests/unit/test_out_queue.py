"""OutQueue: chunks on their way out, without a socket. Whatever is taken, in whatever pieces, comes in order."""
import pytest

import ws2s
from every_split import every_split, shown
from ws2s import RECEIVE_BYTES, SEND_CHUNKS, SMALL_CHUNK, OutQueue


def queue(*chunks):
    out = OutQueue()
    for chunk in chunks:
        out.add(chunk)
    return out


def left(out):
    return b''.join(bytes(bytearray(chunk)) for chunk in out)


def sizes(out):
    return [len(chunk) for chunk in out]


def taken(out, count):
    """``count`` bytes, taken as a stream takes them: what head() gives, as much of it as there is room for."""
    got = b''
    while count and out:
        some = b''.join(bytes(bytearray(chunk)) for chunk in out.head())[:count]
        assert some
        out.drop(len(some))
        got += some
        count -= len(some)
    return got


def noise(dice, size):
    return bytes(bytearray(dice.getrandbits(8) for _ in range(size)))


# --- add ------------------------------------------------------------------------------------------

@pytest.mark.parametrize('data', [b'', b'a', b'abc', b'0123456789' * 60], ids=lambda data: str(len(data)))
@pytest.mark.parametrize('kind', [bytes, bytearray])
def test_what_is_added_in_any_pieces_stands_there_in_order(data, kind):
    for pieces in every_split(data, near=[1, len(data) // 2, len(data)]):
        assert left(queue(*[kind(piece) for piece in pieces])) == data, shown(pieces)


@pytest.mark.parametrize('kind', [bytes, bytearray])
def test_an_empty_chunk_takes_no_place(kind):
    assert queue(kind(b'')) == [] and sizes(queue(b'ab', kind(b''), b'x' * SMALL_CHUNK, kind(b''))) == [2, SMALL_CHUNK]


def test_small_chunks_are_joined_until_they_are_one_long_read():
    out = queue(*[b'x' * 100] * 10000)
    assert len(out) == 1000000 // RECEIVE_BYTES + 1
    assert all(RECEIVE_BYTES <= size < RECEIVE_BYTES + 100 for size in sizes(out)[:-1])


def test_two_chunks_of_just_less_than_small_are_joined_and_others_are_not():
    least, small = SMALL_CHUNK, SMALL_CHUNK - 1
    assert sizes(queue(b'x' * small, b'y' * small)) == [2 * small]
    assert sizes(queue(b'x' * least, b'y' * small)) == [least, small]
    assert sizes(queue(b'x' * small, b'y' * least)) == [small, least]
    assert sizes(queue(b'x', b'y' * least, b'z')) == [1, least, 1]


def test_large_chunk_is_not_copied():
    chunk = b'x' * SMALL_CHUNK
    assert queue(b'a', chunk, b'b')[1] is chunk


@pytest.mark.parametrize('size', [1, 100, SMALL_CHUNK - 1, SMALL_CHUNK])
def test_chunk_that_belongs_to_somebody_else_is_never_changed(size):
    theirs = bytearray(b'x' * size)
    for out in (queue(theirs, b'a', b'b'), queue(b'a', theirs, b'b', b'c'), queue(theirs, theirs, theirs)):
        expected = left(out)
        taken(out, 1)
        out.add(b'd')
        assert theirs == b'x' * size and left(out) == expected[1:] + b'd'


def test_bytes_that_stand_there_are_never_changed_by_what_is_added():
    first = b'first'
    out = queue(first, b' second')
    assert first == b'first' and left(out) == b'first second'


def test_chunk_behind_one_that_has_gone_in_part_is_not_lost():
    out = queue(b'abcdef')
    out.drop(2)
    for chunk in (b'g', b'h', bytearray(b'i')):
        out.add(chunk)
    assert left(out) == b'cdefghi'


def test_chunk_behind_joined_ones_that_have_gone_in_part_is_not_lost():
    out = queue(b'ab', b'cd')
    out.drop(1)
    out.add(b'ef')
    out.drop(1)
    out.add(b'gh')
    assert left(out) == b'cdefgh'


# --- head -----------------------------------------------------------------------------------------

def test_head_of_an_empty_queue_is_empty():
    assert OutQueue().head() == []


def test_head_gives_at_most_as_many_chunks_as_one_call_may_have():
    out = OutQueue(b'x' for _ in range(3 * SEND_CHUNKS))
    assert sizes(out.head()) == [1] * SEND_CHUNKS
    out.drop(SEND_CHUNKS)
    assert len(out) == 2 * SEND_CHUNKS


def test_head_gives_a_chunk_more_only_below_the_bytes_of_one_read():
    large, small = b'x' * RECEIVE_BYTES, b'y' * (RECEIVE_BYTES - 1)
    assert OutQueue([large, b'a']).head() == [large]
    assert OutQueue([small, b'a', b'b']).head() == [small, b'a']
    assert OutQueue([small, large, b'b']).head() == [small, large]


def test_head_takes_nothing_away():
    out = queue(b'a', b'x' * SMALL_CHUNK)
    assert left(out.head()) == left(out) == b'a' + b'x' * SMALL_CHUNK


# --- drop -----------------------------------------------------------------------------------------

CHUNKS = [b'abc', bytearray(b'd'), memoryview(b'efgh'), b'ijk']
ALL = b'abcdefghijk'


@pytest.mark.parametrize('count', range(len(ALL) + 1))
def test_drop_takes_just_so_many_bytes_across_chunks(count):
    out = OutQueue(CHUNKS)
    out.drop(count)
    assert left(out) == ALL[count:] and b'' not in [bytes(bytearray(chunk)) for chunk in out]
    assert [bytes(bytearray(chunk)) for chunk in CHUNKS] == [b'abc', b'd', b'efgh', b'ijk']


def test_drop_in_any_two_steps_is_that_of_both():
    for first in range(len(ALL) + 1):
        for second in range(len(ALL) + 1 - first):
            out = OutQueue(CHUNKS)
            out.drop(first)
            out.drop(second)
            assert left(out) == ALL[first + second:], (first, second)


def test_rest_of_a_large_chunk_is_not_copied():
    chunk = b'x' * 1000000
    out = queue(chunk)
    out.drop(10)
    assert isinstance(out[0], memoryview) and len(out[0]) == len(chunk) - 10


# --- All of them together -------------------------------------------------------------------------

@pytest.mark.parametrize('data', [b'abcdefghij', b'0123456789' * 50, b'x' * 5000 + b'y' * 5000],
                         ids=lambda data: str(len(data)))
def test_what_is_added_and_taken_wherever_it_is_cut_comes_in_order(data):
    for pieces in every_split(data, near=[1, SMALL_CHUNK, len(data)]):
        for room in (1, 3, 4095, 4096, len(data)):
            if len(data) // room < 1000 or len(pieces) < 3:
                out, got = OutQueue(), b''
                for piece in pieces:
                    out.add(piece)
                    got += taken(out, room)
                got += taken(out, len(data))
                assert got == data and out == [], (room, shown(pieces))


@pytest.mark.parametrize('turn', range(10))
def test_random_chunks_come_in_order_with_random_room(dice, turn):
    out, put, got, theirs = OutQueue(), b'', b'', []
    for _ in range(300):
        chunk = noise(dice, dice.choice((0, 1, 2, 10, 300, SMALL_CHUNK - 1, SMALL_CHUNK, 5000)))
        kind = dice.choice((bytes, bytearray))(chunk)
        theirs.append((kind, chunk))
        out.add(kind)
        put += chunk
        if dice.random() < 0.5:
            got += taken(out, dice.choice((1, 5, 100, SMALL_CHUNK, 20000)))
        assert sum(sizes(out)) == len(put) - len(got)
    assert got + left(out) == put
    assert got + taken(out, len(put)) == put and out == []
    assert [chunk for kind, chunk in theirs if bytes(kind) != chunk] == []


def test_a_pipe_is_a_chunk_of_its_own(monkeypatch):
    """Bytes in the kernel stand in the queue, too: they go by themselves, and nothing is joined to them."""
    class Holding(object):
        def __len__(self):
            return 5

    monkeypatch.setattr(ws2s, 'Pipe', Holding)
    pipe = Holding()
    out = queue(b'ab')
    out.append(pipe)
    for chunk in (b'cd', b'ef'):
        out.add(chunk)
    assert sizes(out) == [2, 5, 4] and out.head() == [b'ab']
    out.drop(2)
    assert out[0] is pipe and out.head() == []
    out.drop(5)
    assert left(out) == b'cdef' and left(out.head()) == b'cdef'
