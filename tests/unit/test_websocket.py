# -*- coding: utf-8 -*-
"""Room 5 against RFC 6455. Most vectors lie in tests/data/websocket.json; here is what hex says badly."""
import binascii
import gc
import io
import json
import os
import struct
import sys
import types

import pytest

import ws2s
from every_split import byte_by_byte, every_split, shown
from ws2s import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT

DATA = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), 'data')
LIMIT = 1024
KEY = b'\x37\xfa\x21\x3d'


def vectors(name):
    with io.open(os.path.join(DATA, name), encoding='utf-8') as source:
        return json.load(source)


def masked(data, key=KEY):
    return bytes(bytearray(byte ^ bytearray(key)[i % 4] for i, byte in enumerate(bytearray(data))))


def frame(opcode, payload=b'', final=True, length=None):
    """A client's frame; with ``length`` the header announces that instead of what the payload has."""
    length = len(payload) if length is None else length
    first = opcode | (0x80 if final else 0)
    if length <= 125:
        head = struct.pack('!BB', first, 0x80 | length)
    elif length <= 0xffff:
        head = struct.pack('!BBH', first, 0x80 | 126, length)
    else:
        head = struct.pack('!BBQ', first, 0x80 | 127, length)
    return head + KEY + masked(payload)


def random_bytes(dice, size):
    return bytes(bytearray(dice.getrandbits(8) for _ in range(size)))


def websocket(limit=LIMIT):
    return ws2s.WebSocket(limit)


def received(pieces, ws=None):
    ws = ws or websocket()
    return [event for piece in pieces for event in all_of(ws, piece)]


def all_of(ws, data, most=-1):
    """The events in ``data``, ``most`` frames at a time, long texts decoded."""
    events = ws.receive(data, most)
    while ws.is_behind:
        events += ws.receive(b'', most)
    return [ws2s.Text(ws2s.utf8_text(event.data)) if isinstance(event, ws2s.LongText) else event for event in events]


def to_send(ws):
    return b''.join(bytes(chunk) for chunk in ws.data_to_send())


def plain(events):
    """(events in the form of the vectors, with binary messages joined; the close code of a fault)."""
    form, binary = [], bytearray()
    for event in events:
        if isinstance(event, ws2s.Fault):
            assert event is events[-1] and len(event.reason) < 124 and event.reason.encode('ascii')
            return form, event.code
        if isinstance(event, ws2s.Piece):
            binary += event.data
            if event.final:
                form.append(['binary', binascii.hexlify(binary).decode('ascii')])
                binary = bytearray()
        elif isinstance(event, (ws2s.Ping, ws2s.Pong)):
            form.append([type(event).__name__.lower(), binascii.hexlify(event.payload).decode('ascii')])
        else:
            form.append([type(event).__name__.lower()] + list(event))
    return form, None


def is_over(events):
    return bool(events) and isinstance(events[-1], (ws2s.Closed, ws2s.Fault))


# --- What is received -----------------------------------------------------------------------------

@pytest.mark.parametrize('vector', vectors('websocket.json'), ids=lambda vector: str(vector['name']))
def test_vector_means_the_same_wherever_it_is_cut(vector):
    data = bytes(bytearray.fromhex(vector['hex']))
    expected = (vector['events'], vector.get('close'))
    for pieces in every_split(data):
        assert plain(received(pieces)) == expected, shown(pieces)
    # What comes behind is a frame of its own, or nothing once all is over.
    behind = frame(PING, b'behind')
    more = [] if is_over(received([data])) else [['ping', u'626568696e64']]
    assert plain(received([data + behind])) == (expected[0] + more, expected[1])
    assert plain(received([data, behind])) == (expected[0] + more, expected[1])


@pytest.mark.parametrize('row', vectors('utf8.json')['bad'], ids=lambda row: str(row['name']))
def test_bad_utf8_fails_the_connection_at_its_first_bad_byte(row):
    text = bytes(bytearray.fromhex(row['hex']))
    in_one = websocket()
    assert received([frame(TEXT, text)[:6 + row['bad_at']]], in_one) == []
    assert plain(received([frame(TEXT, text)[6 + row['bad_at']:][:1]], in_one)) == ([], 1007)
    byte_frames = websocket()
    for i in range(row['bad_at']):
        assert received([frame(CONTINUATION if i else TEXT, text[i:i + 1], False)], byte_frames) == []
    opcode = CONTINUATION if row['bad_at'] else TEXT
    assert plain(received([frame(opcode, text[row['bad_at']:][:1], False)], byte_frames)) == ([], 1007)


@pytest.mark.parametrize('row', vectors('utf8.json')['good'], ids=lambda row: str(row['name']))
def test_good_utf8_is_one_text_however_it_is_fragmented(row):
    text = bytes(bytearray.fromhex(row['hex']))
    frames = frame(TEXT, b'', False)
    frames += b''.join(frame(CONTINUATION, text[i:i + 1], False) for i in range(len(text)))
    for pieces in every_split(frames + frame(CONTINUATION)):
        assert received(pieces) == [ws2s.Text(text.decode('utf-8'))], shown(pieces)


@pytest.mark.parametrize('size', [0, 1, 125, 126, 127, 65535, 65536])
def test_messages_of_every_form_of_length(size):
    body = b'0123456789' * (size // 10) + b'x' * (size % 10)
    both = frame(TEXT, body) + frame(BINARY, body)
    for pieces in every_split(both, near=[2, 8, 14, len(both) // 2, len(both)]):
        form, fault = plain(received(pieces, websocket(65536)))
        assert fault is None and form[0] == ['text', body.decode('ascii')], shown(pieces)
        assert form[1:] == [['binary', binascii.hexlify(body).decode('ascii')]], shown(pieces)


def test_text_as_long_as_the_limit_is_taken():
    assert received([frame(TEXT, b'x' * LIMIT)]) == [ws2s.Text(u'x' * LIMIT)]
    halves = frame(TEXT, b'x' * 24, False) + frame(PING) + frame(CONTINUATION, b'x' * 1000)
    assert received([halves])[-1] == ws2s.Text(u'x' * LIMIT)


@pytest.mark.parametrize('length', [LIMIT + 1, 65536, 2 ** 31, 2 ** 32, 2 ** 63 - 1])
def test_text_over_the_limit_is_refused_by_its_header_alone(length):
    ws = websocket()
    header = frame(TEXT, length=length)
    assert received([header[:-1]], ws) == []
    assert plain(ws.receive(header[-1:])) == ([], 1009)
    assert ws.held == 0


def test_fragments_over_the_limit_are_refused_by_the_header_that_exceeds_it():
    ws = websocket()
    assert received([frame(TEXT, b'x' * LIMIT, False), frame(CONTINUATION, b'', False)], ws) == []
    assert plain(ws.receive(frame(CONTINUATION, length=1))) == ([], 1009)
    assert ws.held == 0


def test_limit_of_text_is_of_bytes_and_of_one_message():
    euro = b'\xe2\x82\xac'
    assert plain(received([frame(TEXT, euro * (LIMIT // 3 + 1))])) == ([], 1009)
    assert len(received([frame(TEXT, b'x' * LIMIT) * 3])) == 3


def test_binary_is_not_limited():
    assert received([frame(BINARY, length=2 ** 63 - 1) + b'x'])[0] == ws2s.Piece(masked(b'x'), False)


def test_every_piece_of_a_binary_message_comes_at_once():
    ws = websocket()
    data = frame(BINARY, b'abc', False) + frame(CONTINUATION) + frame(BINARY)
    events = [[tuple(event) for event in ws.receive(data[i:i + 1])] for i in range(len(data))]
    assert [event for event in events if event] == [
        [(b'a', False)], [(b'b', False)], [(b'c', False)], [(b'', True)], [(b'', True)]]


def test_nothing_comes_after_a_fault_or_a_close():
    for ending in (frame(3), frame(CLOSE)):
        ws = websocket()
        assert is_over(ws.receive(ending + frame(TEXT, b'a')))
        assert received([frame(TEXT, b'a'), ending, b'\xff' * 99], ws) == [] and ws.held == 0


def test_what_is_faulty_is_refused_as_early_as_it_shows():
    for data, shows_at in ((frame(TEXT | 0x40), 2), (frame(3), 2), (b'\x81\x05', 2),
                           (frame(PING, b'x' * 126), 2), (frame(BINARY, length=2 ** 63), 14)):
        ws = websocket()
        assert plain(received([data[:shows_at]], ws)) == ([], 1002)


# --- The first two bytes --------------------------------------------------------------------------

def is_legal(first, second):
    """RFC 6455 section 5.2: no reserved bits or opcodes, masked; a control frame whole and of at most 125 bytes."""
    return (first & 0x70 == 0 and first & 15 in (0, 1, 2, 8, 9, 10) and second >= 0x80
            and (first & 15 < 8 or (first >= 0x80 and second <= 0x80 + 125)))


PAIRS = [(first, second) for first in range(256) for second in range(256)]


def test_every_pair_of_first_bytes_is_judged_as_the_rfc_has_it():
    def is_taken(first, second):
        try:
            ws2s.check_first_bytes(first, second)
            return True
        except ws2s.WebSocketError as error:
            assert error.code == 1002 and error.reason
            return False

    assert [pair for pair in PAIRS if is_taken(*pair) != is_legal(*pair)] == []


def test_table_of_second_bytes_is_right_for_every_pair():
    assert [pair for pair in PAIRS if (0x80 <= pair[1] <= ws2s.LAST_LEGAL[pair[0]]) != is_legal(*pair)] == []


@pytest.mark.parametrize('cut', [True, False], ids=['byte by byte', 'whole'])
def test_every_pair_of_first_bytes_that_is_wrong_is_a_fault_at_once(cut):
    for first, second in PAIRS:
        data = struct.pack('!BB', first, second)
        events = received([data[:1], data[1:]] if cut else [data])
        assert plain(events) == ([], None if is_legal(first, second) else 1002), (first, second)


@pytest.mark.parametrize('opcode', [TEXT, BINARY], ids=['text', 'binary'])
@pytest.mark.parametrize('form', [16, 64])
@pytest.mark.parametrize('size', [0, 1, 124, 125, 126, 127, 65535, 65536])
def test_length_that_is_written_too_long_is_a_fault(opcode, form, size):
    if form == 16 and size > 65535:
        return
    head = struct.pack('!BBH' if form == 16 else '!BBQ', 0x80 | opcode, 0x80 | (126 if form == 16 else 127), size)
    data = head + b'\0\0\0\0' + b'x' * size
    is_minimal = size > (125 if form == 16 else 65535)
    for pieces in every_split(data + frame(PING), near=[2, len(head), len(data)]):
        form_of_it, code = plain(received(pieces, websocket(65536)))
        assert (code, len(form_of_it)) == ((None, 2) if is_minimal else (1002, 0)), shown(pieces)


@pytest.mark.parametrize('opcode', [TEXT, BINARY], ids=['text', 'binary'])
@pytest.mark.parametrize('size', [1, 125, 126, 200, 600])
def test_no_byte_is_given_that_is_still_to_come(opcode, size):
    whole = frame(opcode, b'x' * size)
    for there in range(len(whole)):
        for pieces in ([whole[:there]], byte_by_byte(whole[:there])):
            ws = websocket()
            events = received(pieces, ws)
            payload = max(0, there - (len(whole) - size))
            assert b''.join(bytes(event.data) for event in events) == b'x' * (payload if opcode == BINARY else 0)
            assert not [event for event in events if isinstance(event, ws2s.Text) or event.final]
            assert ws.due == (size - payload if there >= len(whole) - size else 0)


# --- Random streams -------------------------------------------------------------------------------

LONG = 70000  # the limit of a text here
EDGES = (0, 1, 2, 7, 124, 125, 126, 127, 128, 511, 512, 513)
LARGE = (LONG - 1, LONG, LONG + 1, 65535, 65536, 65537)
BAD_TEXTS = (b'\xff', b'ab\xc3', b'\xed\xa0\x80', b'\xc0\x80', b'\xf4\x90\x80\x80', b'\x80',
             b'good until here \xe2\x82')


def unlike(opcode, payload=b'', final=True, reserved=0, key=KEY, form=7, length=None):
    """A frame of the client that may be wrong in what frame() has right."""
    length = len(payload) if length is None else length
    first, bit = opcode | reserved | (0x80 if final else 0), 0x80 if key else 0
    head = {7: lambda: struct.pack('!BB', first, bit | length),
            16: lambda: struct.pack('!BBH', first, bit | 126, length),
            64: lambda: struct.pack('!BBQ', first, bit | 127, length)}[form]()
    return head + (key + masked(payload, key) if key else payload)


def joined(events):
    """The events with adjacent pieces of one binary message made one."""
    form = []
    for event in events:
        if not isinstance(event, ws2s.Piece):
            form.append((type(event).__name__,) + tuple(event))
        elif form and form[-1][0] == 'Piece' and not form[-1][2]:
            form[-1] = ('Piece', form[-1][1] + bytes(event.data), event.final)
        else:
            form.append(('Piece', bytes(event.data), event.final))
    return form


def words(dice, size):
    """UTF-8 of just ``size`` bytes."""
    text = b''
    while len(text) < size:
        text += dice.choice((u'plain ' * 20, u'\xe4', u'\u20ac', u'\U0001f600')).encode('utf-8')
    return text[:size].decode('utf-8', 'ignore').encode('utf-8').ljust(size, b'.')


def whole_message(dice):
    size = dice.choice(EDGES + (dice.randrange(2000),) * 12 + (dice.choice(LARGE),))
    if size > 3000:
        return frame(dice.choice((TEXT, BINARY)), length=size) + KEY * (size // 4) + KEY[:size % 4]
    return frame(TEXT, words(dice, size)) if dice.random() < 0.4 else frame(BINARY, random_bytes(dice, size))


def control_frame(dice):
    return frame(dice.choice((PING, PONG)), random_bytes(dice, dice.choice((0, 1, 2, 100, 124, 125))))


def fragmented_message(dice):
    opcode, payload = dice.choice((TEXT, BINARY)), words(dice, dice.randrange(400))
    parts = random_cuts(dice, payload, dice.randrange(1, 5))
    frames = []
    for number, part in enumerate(parts):
        frames.append(frame(CONTINUATION if number else opcode, part, number == len(parts) - 1))
        if dice.random() < 0.3:
            frames.append(control_frame(dice))
    return b''.join(frames)


FAULTS = (
    lambda dice: unlike(dice.choice((TEXT, BINARY)), random_bytes(dice, 20), key=None),
    lambda dice: unlike(dice.choice((TEXT, BINARY, PING)), b'x', reserved=dice.choice((0x10, 0x20, 0x40, 0x70))),
    lambda dice: unlike(dice.choice((3, 4, 5, 6, 7, 11, 12, 13, 14, 15)), b'x'),
    lambda dice: unlike(CONTINUATION, b'nothing to continue'),
    lambda dice: unlike(BINARY, b'begun', final=False) + frame(dice.choice((TEXT, BINARY)), b'within'),
    lambda dice: unlike(TEXT, dice.choice(BAD_TEXTS)),
    lambda dice: frame(TEXT, b'x' * 200 + dice.choice(BAD_TEXTS)),
    lambda dice: unlike(TEXT, b'a', final=False) + frame(CONTINUATION, dice.choice(BAD_TEXTS)),
    lambda dice: unlike(dice.choice((TEXT, BINARY)), random_bytes(dice, 125), form=dice.choice((16, 64))),
    lambda dice: unlike(BINARY, random_bytes(dice, 200), form=64),
    lambda dice: unlike(BINARY, form=64, length=1 << 63),
    lambda dice: unlike(TEXT, form=64, length=1 << 40),
    lambda dice: unlike(PING, b'x' * 126, form=16),
    lambda dice: unlike(PONG, b'x', final=False),
    lambda dice: frame(CLOSE, dice.choice((b'\x03', b'\x03\xed', b'\x03\xe8\xff'))),
)
# What ends a connection otherwise, or may.
ENDINGS = FAULTS + (
    lambda dice: frame(CLOSE, dice.choice((b'', b'\x03\xe8', b'\x03\xe8bye'))),
    lambda dice: random_bytes(dice, 40),
)
KINDS = (whole_message,) * 5 + (control_frame, fragmented_message)


def random_stream(dice):
    frames = [dice.choice(KINDS)(dice) for _ in range(dice.randrange(1, 12))]
    if dice.random() < 0.6:
        frames.insert(dice.randrange(len(frames) + 1), dice.choice(ENDINGS)(dice))
    stream = b''.join(frames)
    return stream[:dice.randrange(len(stream))] if dice.random() < 0.2 else stream


def random_cuts(dice, data, count):
    places = sorted(dice.randrange(len(data) + 1) for _ in range(count))
    return [data[i:j] for i, j in zip([0] + places, places + [len(data)])]


def meaning(pieces, whole, before=b'', most=-1):
    """All that a WebSocket makes of the pieces, and how it stands then; our Close follows ``before``.

    The pongs count where all pings are answered, wherever they are cut.
    """
    ws = ws2s.WebSocket(LONG, whole)
    events, pongs = all_of(ws, before), b''
    if before and ws.state == ws2s.OPEN and not is_over(events):
        ws.close(1000)
    for piece in pieces:
        events += all_of(ws, piece, most)
        pongs += to_send(ws)
    pongs += to_send(ws)
    is_flood = sum(isinstance(event, ws2s.Ping) for event in events) > ws2s.PONGS_WAITING
    due = None if is_over(events) else ws.due
    return joined(events), None if is_flood else pongs, ws.state, ws.held, due


def ways_to_cut(dice, stream):
    cuts = [random_cuts(dice, stream, dice.randrange(12)) for _ in range(3)]
    return cuts + ([byte_by_byte(stream)] if len(stream) < 2500 else [])


@pytest.mark.parametrize('whole', [False, True], ids=['pieces', 'whole messages'])
@pytest.mark.parametrize('turn', range(12))
def test_random_stream_means_the_same_wherever_it_is_cut(dice, turn, whole):
    for _ in range(25):
        stream = random_stream(dice)
        at_once = meaning([stream], whole)
        for pieces in ways_to_cut(dice, stream):
            assert meaning(pieces, whole) == at_once, shown(pieces)


@pytest.mark.parametrize('whole', [False, True], ids=['pieces', 'whole messages'])
@pytest.mark.parametrize('most', [1, 2, 16])
def test_random_stream_means_the_same_however_many_frames_are_read_at_once(dice, most, whole):
    for _ in range(25):
        stream = random_stream(dice)
        at_once = meaning([stream], whole)
        for pieces in [[stream]] + ways_to_cut(dice, stream):
            assert meaning(pieces, whole, most=most) == at_once, shown(pieces)


def test_what_is_behind_the_frames_that_are_read_is_held():
    ws, ping = websocket(), frame(PING, b'p')
    assert ws.receive(ping * 5, 2) == [ws2s.Ping(b'p')] * 2 and ws.is_behind and ws.held == 3 * len(ping)
    assert ws.receive(ping[:3], 2) == [ws2s.Ping(b'p')] * 2 and ws.is_behind and ws.held == len(ping) + 3
    assert ws.receive(b'', 2) == [ws2s.Ping(b'p')] and not ws.is_behind and ws.held == 3


def test_empty_fragments_count_as_frames():
    ws = websocket()
    ws.receive(frame(TEXT, b'', False) + frame(CONTINUATION, b'', False) * 10, 4)
    assert ws.is_behind and ws.held == 7 * len(frame(CONTINUATION, b'', False))


@pytest.mark.parametrize('size, kind', [(ws2s.LONG_TEXT, ws2s.Text), (ws2s.LONG_TEXT + 1, ws2s.LongText)])
def test_a_long_text_is_not_decoded_and_what_follows_waits(size, kind):
    message, ping = frame(TEXT, b'x' * size), frame(PING, b'p')
    for pieces in every_split(message, near=[14]):
        ws = ws2s.WebSocket(1 << 20)
        events = [event for piece in pieces for event in ws.receive(piece)]
        assert [type(event) for event in events] == [kind] and len(events[0][0]) == size
        assert ws.is_behind == (kind is ws2s.LongText) and ws.held == 0
    ws = ws2s.WebSocket(1 << 20)
    assert len(ws.receive(message + ping)) == (1 if kind is ws2s.LongText else 2)


def test_a_long_text_that_is_no_utf8_is_a_fault():
    for data in (b'x' * 70000 + b'\xff', b'x' * 70000 + b'\xc3', b'\xff' + b'x' * 70000):
        assert plain(received([frame(TEXT, data)], ws2s.WebSocket(1 << 20))) == ([], 1007)


@pytest.mark.parametrize('whole', [False, True], ids=['pieces', 'whole messages'])
def test_random_stream_after_our_close_means_the_same_wherever_it_is_cut(dice, whole):
    for _ in range(100):
        stream = random_stream(dice)
        place = dice.randrange(len(stream) + 1)
        before, after = stream[:place], stream[place:]
        at_once = meaning([after], whole, before)
        for pieces in ways_to_cut(dice, after):
            assert meaning(pieces, whole, before) == at_once, (place, shown(pieces))


def test_random_stream_after_our_close_brings_no_message_and_no_answer(dice):
    for _ in range(100):
        stream, ws = random_stream(dice), ws2s.WebSocket(LONG)
        ws.close(1000)
        events = ws.receive(stream)
        assert not [event for event in events if isinstance(event, (ws2s.Text, ws2s.Piece))]
        assert to_send(ws) == b'\x88\x02\x03\xe8' and ws.held < 150


@pytest.mark.parametrize('whole', [False, True], ids=['pieces', 'whole messages'])
@pytest.mark.parametrize('number', range(len(FAULTS)))
def test_fault_in_a_stream_is_a_fault_and_the_last_event(dice, number, whole):
    for _ in range(10):
        stream = control_frame(dice) + FAULTS[number](dice) + control_frame(dice)
        for pieces in [[stream]] + ways_to_cut(dice, stream):
            events = received(pieces, ws2s.WebSocket(LONG, whole))
            assert isinstance(events[-1], ws2s.Fault) and events[-1].code in (1002, 1007, 1009), shown(pieces)


@pytest.mark.parametrize('opcode', [TEXT, BINARY], ids=['text', 'binary'])
@pytest.mark.parametrize('size', EDGES + LARGE)
def test_message_between_two_others_means_the_same_wherever_it_is_cut(opcode, size):
    before, message, after = frame(TEXT, b'before'), frame(opcode, b'x' * size), frame(BINARY, b'after')
    stream = before + message + after
    for pieces in every_split(stream, near=(len(before), len(before) + len(message))):
        if len(pieces) < 2000:
            form, code = plain(received(pieces, websocket(LONG)))
            if opcode == TEXT and size > LONG:
                assert (form, code) == ([['text', u'before']], 1009), shown(pieces)
            else:
                body = u'x' * size if opcode == TEXT else u'78' * size
                assert code is None and form[1] == [['', 'text', 'binary'][opcode], body], shown(pieces)
                assert [each[1] for each in (form[0], form[2])] == [u'before', u'6166746572'], shown(pieces)


@pytest.mark.parametrize('limit', [0, 1, 5, 125, 126, 127, 1000])
@pytest.mark.parametrize('opcode', [TEXT, BINARY], ids=['text', 'binary'])
def test_message_that_comes_whole_is_bounded_to_the_byte(opcode, limit):
    for size in (limit - 1, limit, limit + 1):
        data = frame(opcode, b'x' * max(size, 0)) * 2
        for pieces in ([data], byte_by_byte(data)):
            form, code = plain(received(pieces, ws2s.WebSocket(limit, whole=True)))
            assert (len(form), code) == ((0, 1009) if size > limit else (2, None)), (size, shown(pieces))


@pytest.mark.parametrize('bad', BAD_TEXTS, ids=repr)
@pytest.mark.parametrize('before', [b'', b'x' * 130, b'x' * 600], ids=['short', 'long', 'longer'])
def test_text_that_is_not_utf8_is_a_fault_at_its_own_place(bad, before):
    good, wrong = frame(TEXT, b'good'), frame(TEXT, before + bad)
    for stream, number in ((wrong, 0), (good + wrong + good, 1)):
        for pieces in every_split(stream, near=(len(stream) - len(good), len(stream))):
            assert plain(received(pieces)) == ([['text', u'good']] * number, 1007), shown(pieces)


# --- Binary messages that come whole --------------------------------------------------------------

def whole_websocket(limit=LIMIT):
    return ws2s.WebSocket(limit, whole=True)


@pytest.mark.parametrize('size', [0, 1, 125, 126, 512, 513, LIMIT])
def test_binary_message_comes_whole_wherever_it_is_cut(size):
    body = b'0123456789' * (size // 10) + b'x' * (size % 10)
    data = frame(BINARY, body)
    for behind in (b'', frame(PING), b'\x82'):
        for pieces in every_split(data + behind, near=[2, 6, 8, len(data)]):
            ws = whole_websocket()
            events = received(pieces, ws)
            assert events[0] == ws2s.Piece(body, True), shown(pieces)
            assert events[1:] == ([ws2s.Ping(b'')] if len(behind) > 1 else []), shown(pieces)
            assert ws.held == len(behind) % 6, shown(pieces)


@pytest.mark.parametrize('parts', [[b'ab', b'cd'], [b'', b'abcd'], [b'abcd', b''], [b'', b'', b'abcd', b''],
                                   [b'a', b'b', b'c', b'd'], [b'ab' * 150, b'cd' * 300], [b'', b'x' * 700]],
                         ids=lambda parts: '-'.join(str(len(part)) for part in parts))
def test_fragments_of_a_binary_message_come_as_one(parts):
    last = len(parts) - 1
    frames = [frame(CONTINUATION if i else BINARY, part, i == last) for i, part in enumerate(parts)]
    data = frame(PING, b'p').join(frames) + frame(TEXT, b't')
    for pieces in every_split(data, near=[len(data) // 2, len(data)]):
        events = received(pieces, whole_websocket())
        pings, rest = events[:last], events[last:]
        assert pings == [ws2s.Ping(b'p')] * last, shown(pieces)
        assert rest == [ws2s.Piece(b''.join(parts), True), ws2s.Text(u't')], shown(pieces)


@pytest.mark.parametrize('length', [LIMIT + 1, 65536, 2 ** 31, 2 ** 63 - 1])
def test_binary_message_over_the_limit_is_refused_by_its_header_alone(length):
    header = frame(BINARY, length=length)
    for pieces in ([header], byte_by_byte(header), [header + b'x' * 100]):
        ws = whole_websocket()
        assert plain(received(pieces, ws)) == ([], 1009), shown(pieces)
        assert ws.held == 0


def test_fragments_of_a_binary_message_over_the_limit_are_refused_by_the_header_that_exceeds_it():
    ws = whole_websocket()
    assert received([frame(BINARY, b'x' * LIMIT, False), frame(CONTINUATION, b'', False)], ws) == []
    assert ws.held == LIMIT
    assert plain(ws.receive(frame(CONTINUATION, length=1))) == ([], 1009)
    assert ws.held == 0


def test_limit_of_whole_messages_is_of_each_one():
    assert len(received([frame(BINARY, b'x' * LIMIT) * 3], whole_websocket())) == 3


def test_what_is_held_of_a_binary_message_is_counted_byte_by_byte():
    ws, data = whole_websocket(), frame(BINARY, b'x' * 10)
    held = [ws.receive(data[i:i + 1]) or ws.held for i in range(len(data))]
    assert held == [1, 2, 3, 4, 5, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, [ws2s.Piece(b'x' * 10, True)]]
    assert ws.held == 0


def test_a_binary_message_in_fragments_of_one_byte_holds_no_more_than_its_bytes():
    ws, empty = whole_websocket(100000), held_bytes(whole_websocket())
    ws.receive(frame(BINARY, b'x', False))
    for i in range(50):
        ws.receive(frame(CONTINUATION, b'x', False) * 1000)
        assert ws.held == 1 + 1000 * (i + 1)
    assert held_bytes(ws) < empty + 50000 * 1.5 + 2000
    assert ws.receive(frame(CONTINUATION)) == [ws2s.Piece(b'x' * 50001, True)] and ws.held == 0


def test_after_our_close_whole_binary_messages_are_neither_delivered_nor_held():
    later = frame(CONTINUATION, b'y' * 1000) + frame(BINARY, b'z') + frame(BINARY, b'z' * 9, False)
    for pieces in every_split(later, near=[8, len(later)]):
        ws = whole_websocket()
        ws.receive(frame(BINARY, b'x' * 1000, False))
        ws.close(1000)
        assert ws.held == 0
        assert received(pieces, ws) == [] and ws.held == 0, shown(pieces)
        assert received([frame(CLOSE)], ws) == [ws2s.Closed(None, u'')]


@pytest.mark.parametrize('cut', [True, False], ids=['byte by byte', 'whole'])
def test_after_our_close_a_message_over_the_limit_is_a_fault_all_the_same(cut):
    ws, data = whole_websocket(), frame(BINARY, length=LIMIT + 1)
    ws.close(1000)
    assert plain(received(byte_by_byte(data) if cut else [data], ws)) == ([], 1009)


# --- What it costs --------------------------------------------------------------------------------

def held_bytes(thing):
    """The memory of all that hangs on ``thing``, apart from code."""
    code = (type, types.ModuleType, types.FunctionType, types.BuiltinFunctionType)
    found, waiting = {}, [thing]
    while waiting:
        one = waiting.pop()
        if id(one) not in found and not isinstance(one, code):
            found[id(one)] = one
            waiting += gc.get_referents(one)
    return sum(sys.getsizeof(one) for one in found.values())


def test_a_binary_message_of_100_mb_goes_through_in_constant_memory():
    ws, piece, empty = websocket(), b'\0' * 65536, held_bytes(websocket())
    assert received([frame(BINARY, length=1600 * len(piece))], ws) == []
    for i in range(1600):
        assert ws.receive(piece) == [ws2s.Piece(KEY * 16384, i == 1599)]
        assert ws.held == 0 and held_bytes(ws) < empty + 2000


@pytest.mark.parametrize('opcode', [TEXT, BINARY], ids=['text', 'binary'])
def test_a_flood_of_empty_continuations_holds_nothing(opcode):
    ws, empty = websocket(), held_bytes(websocket())
    ws.receive(frame(opcode, b'', False))
    for _ in range(20):
        assert ws.receive(frame(CONTINUATION, b'', False) * 1000) == []
    assert ws.held == 0 and held_bytes(ws) < empty + 2000


def test_a_text_in_fragments_of_one_byte_holds_no_more_than_its_bytes():
    ws, empty = websocket(100000), held_bytes(websocket())
    ws.receive(frame(TEXT, b'x', False))
    for i in range(50):
        ws.receive(frame(CONTINUATION, b'x', False) * 1000)
        assert ws.held == 1 + 1000 * (i + 1)
    assert held_bytes(ws) < empty + 50000 * 1.5 + 2000
    assert all_of(ws, frame(CONTINUATION)) == [ws2s.Text(u'x' * 50001)] and ws.held == 0


def test_what_is_held_of_an_unfinished_message_and_frame_is_counted():
    ws, ping = websocket(), frame(PING, b'xy')
    lengths = []
    for data in (frame(TEXT, b'abcd', False), ping[:1], ping[1:7], ping[7:], frame(CONTINUATION, b'e')):
        ws.receive(data)
        lengths.append(ws.held)
    assert lengths == [4, 5, 5, 4, 0]


def test_messages_that_are_finished_are_not_held():
    ws, empty = websocket(100000), held_bytes(websocket())
    all_of(ws, frame(TEXT, b'x' * 90000) + frame(BINARY, b'y' * 90000) + frame(PONG, b'z'))
    assert ws.held == 0 and held_bytes(ws) < empty + 2000


# --- Masking --------------------------------------------------------------------------------------

SIZES = list(range(10)) + list(range(509, 518)) + [1023, 1024, 5000]


@pytest.mark.parametrize('key', [KEY, b'\0\0\0\0', b'\0\xff\0\1', b'\xff\xff\xff\xff', b'\0\0\0\x80'],
                         ids=lambda key: binascii.hexlify(key).decode('ascii'))
def test_unmasking_is_the_naive_xor_for_all_sizes_and_phases(key, dice):
    for size in SIZES:
        for phase in range(4):
            data, turned = random_bytes(dice, size), key[phase:] + key[:phase]
            assert ws2s.unmasked(b'ab' + data + b'c', 2, 2 + size, turned) == masked(data, turned), (size, phase)


@pytest.mark.parametrize('size', [1, 512, 513, 5000])
def test_unmasked_bytes_belong_to_the_caller(size):
    data = bytearray(b'x' * size)
    plain = ws2s.unmasked(data, 0, size, KEY)
    data[0:1] = b'y'
    assert plain == masked(b'x' * size) and data == b'y' + b'x' * (size - 1)


def test_unmasking_of_a_payload_in_any_pieces_is_that_of_the_whole(dice):
    payload = bytes(bytearray(dice.getrandbits(8) for _ in range(5000)))
    data = frame(BINARY, payload)
    for _ in range(50):
        pieces, start = [], 0
        while start < len(data):
            size = dice.choice((1, 2, 3, 5, 511, 513, 700))
            pieces.append(data[start:start + size])
            start += size
        assert b''.join(bytes(event.data) for event in received(pieces)) == payload


# --- What is sent ---------------------------------------------------------------------------------

@pytest.mark.parametrize('size, header', [
    (0, b'\x82\x00'), (1, b'\x82\x01'), (125, b'\x82\x7d'), (126, b'\x82\x7e\x00\x7e'),
    (65535, b'\x82\x7e\xff\xff'), (65536, b'\x82\x7f\0\0\0\0\0\1\0\0')],
    ids=['0', '1', '125', '126', '65535', '65536'])
def test_frames_are_unmasked_with_the_shortest_length(size, header):
    ws = websocket()
    ws.send(BINARY, b'x' * size)
    assert to_send(ws) == header + b'x' * size
    assert ws.data_to_send() == []


def test_header_of_a_length_beyond_32_bits():
    assert ws2s.frame_header(BINARY, 2 ** 40) == b'\x82\x7f\0\0\1\0\0\0\0\0'
    assert ws2s.frame_header(BINARY, 5, final=False) == b'\x02\x05'


def test_large_payload_is_not_copied():
    ws, payload = websocket(), b'x' * 100000
    ws.send(BINARY, payload)
    assert any(chunk is payload for chunk in ws.data_to_send())


@pytest.mark.parametrize('size', [0, 1, 120, 121, 122, 511, 512, 513, 65530, 65531, 65532])
@pytest.mark.parametrize('prefix', [b'', b'\0\1\2\3\4'], ids=['no prefix', 'prefix'])
def test_prefix_stands_before_the_payload_in_the_same_message(prefix, size):
    payload = b'0123456789' * (size // 10) + b'x' * (size % 10)
    for kind in (bytes, bytearray):
        ws = websocket()
        ws.send(BINARY, kind(payload), prefix)
        assert to_send(ws) == ws2s.frame_header(BINARY, len(prefix) + size) + prefix + payload


@pytest.mark.parametrize('prefix', [b'', b'\0\1\2\3\4'], ids=['no prefix', 'prefix'])
@pytest.mark.parametrize('size', [0, 1, 120, 121, 125, 126, 65530, 65531, 65535, 65536])
def test_head_of_a_message_and_what_the_caller_sends_behind_it_are_that_message(prefix, size):
    sent, headed = websocket(), websocket()
    sent.send(BINARY, b'x' * size, prefix)
    assert headed.message_head(BINARY, size, prefix) + b'x' * size == to_send(sent)
    assert headed.data_to_send() == []


def test_no_head_is_given_while_something_is_queued_or_after_our_close():
    queued, closing = websocket(), websocket()
    queued.send(TEXT, b'a')
    closing.close(1000)
    closing.data_to_send()
    for ws in (queued, closing):
        with pytest.raises(AssertionError):
            ws.message_head(BINARY, 5, b'')


def test_large_payload_behind_a_prefix_is_not_copied():
    ws, payload = websocket(), bytearray(b'x' * 100000)
    ws.send(BINARY, payload, b'prefix')
    chunks = ws.data_to_send()
    assert chunks[-1] is payload and b''.join(chunks[:-1]).endswith(b'prefix')


def test_messages_are_sent_in_order():
    ws = websocket()
    ws.send(TEXT, b'a')
    ws.send(PING, b'b')
    ws.send(BINARY, b'c')
    assert to_send(ws) == b'\x81\x01a\x89\x01b\x82\x01c'


def test_ping_is_answered_with_its_payload_and_pong_is_not():
    ws = websocket()
    received([frame(PING, b'Hello') + frame(PONG, b'no') + frame(PING)], ws)
    assert to_send(ws) == b'\x8a\x05Hello\x8a\x00'
    assert ws.data_to_send() == []


def pongs_to(pings):
    ws = websocket()
    events = ws.receive(b''.join(frame(PING, ping) for ping in pings))
    assert events == [ws2s.Ping(ping) for ping in pings]
    answer = to_send(ws)
    pongs = []
    while answer:
        assert answer[:1] == b'\x8a'
        size = bytearray(answer)[1]
        pongs.append(answer[2:2 + size])
        answer = answer[2 + size:]
    return pongs


def numbered(count):
    return [('%d' % i).encode('ascii') for i in range(count)]


@pytest.mark.parametrize('count', [1, 2, 10, ws2s.PONGS_WAITING])
def test_pings_of_one_read_are_all_answered_in_order(count):
    assert pongs_to(numbered(count)) == numbered(count)


def test_of_too_many_pings_only_the_latest_is_answered():
    assert pongs_to(numbered(ws2s.PONGS_WAITING + 1)) == numbered(ws2s.PONGS_WAITING + 1)[-1:]


@pytest.mark.parametrize('count', [20, 100, 1000])
def test_a_flood_of_pings_is_answered_by_few_pongs_and_the_latest_is_among_them(count):
    pongs = pongs_to(numbered(count))
    assert 1 <= len(pongs) <= ws2s.PONGS_WAITING
    assert pongs == numbered(count)[-len(pongs):]


def test_pongs_go_before_what_else_is_queued_and_in_their_own_order():
    ws = websocket()
    ws.send(BINARY, b'x' * 600)
    for pings in ((b'1', b'2'), (b'3',)):
        ws.receive(b''.join(frame(PING, ping) for ping in pings))
        ws.send(TEXT, b'a')
    assert to_send(ws) == b'\x8a\x011\x8a\x012\x8a\x013\x82\x7e\x02\x58' + b'x' * 600 + b'\x81\x01a\x81\x01a'


def test_pongs_after_what_was_taken_go_before_what_came_since():
    ws = websocket()
    ws.receive(frame(PING, b'1'))
    ws.send(TEXT, b'a')
    assert to_send(ws) == b'\x8a\x011\x81\x01a'
    ws.send(TEXT, b'b')
    ws.receive(frame(PING, b'2'))
    assert to_send(ws) == b'\x8a\x012\x81\x01b'


@pytest.mark.parametrize('cut', [True, False], ids=['byte by byte', 'whole'])
def test_too_many_pings_cost_no_message_that_is_queued(cut):
    ws = websocket()
    ws.send(TEXT, b'a')
    ws.send(BINARY, b'x' * 600)
    pings = b''.join(frame(PING, ping) for ping in numbered(ws2s.PONGS_WAITING + 2))
    received(byte_by_byte(pings) if cut else [pings], ws)
    latest = b''.join(b'\x8a\x02' + ping for ping in numbered(ws2s.PONGS_WAITING + 2)[-2:])
    assert to_send(ws) == latest + b'\x81\x01a\x82\x7e\x02\x58' + b'x' * 600


def test_pongs_are_counted_anew_when_they_were_taken():
    ws = websocket()
    for _ in range(3):
        ws.receive(frame(PING) * ws2s.PONGS_WAITING)
        assert to_send(ws) == b'\x8a\x00' * ws2s.PONGS_WAITING


def test_pong_never_falls_within_a_message():
    ws = websocket()
    ws.send(BINARY, b'x' * 600)
    ws.receive(frame(PING, b'p'))
    assert to_send(ws) == b'\x8a\x01p\x82\x7e\x02\x58' + b'x' * 600


# --- Closing --------------------------------------------------------------------------------------

def test_our_close_is_the_last_frame():
    ws = websocket()
    ws.send(TEXT, b'a')
    ws.close(1001, 'bye')
    ws.send(TEXT, b'b')
    ws.send(PING, b'')
    ws.close(1000)
    assert received([frame(PING, b'p'), frame(TEXT, b'c')], ws) == [ws2s.Ping(b'p')]
    assert to_send(ws) == b'\x81\x01a\x88\x05\x03\xe9bye'
    assert ws.state == ws2s.CLOSING


def test_after_our_close_messages_are_neither_delivered_nor_held():
    ws = websocket()
    ws.receive(frame(TEXT, b'x' * 1000, False))
    ws.close(1000)
    assert ws.held == 0
    later = frame(CONTINUATION, b'y' * 1000) + frame(BINARY, b'z') + frame(TEXT, b'z' * 9, False)
    assert received([later], ws) == [] and ws.held == 0
    assert received([frame(CLOSE)], ws) == [ws2s.Closed(None, u'')]


@pytest.mark.parametrize('payload, event', [
    (b'', (None, u'')), (b'\x03\xe8', (1000, u'')), (b'\x0f\xa0done', (4000, u'done'))])
def test_close_of_the_peer_is_answered_with_its_code(payload, event):
    ws = websocket()
    assert received([frame(CLOSE, payload)], ws) == [ws2s.Closed(*event)]
    ws.close(event[0])
    assert to_send(ws) == b'\x88' + (b'\x02' + payload[:2] if payload else b'\x00')
    assert ws.state == ws2s.CLOSED_DOWN


def test_close_of_the_peer_after_ours_ends_it_without_another_frame():
    ws = websocket()
    ws.close(1000)
    assert to_send(ws) == b'\x88\x02\x03\xe8'
    assert received([frame(CLOSE, b'\x03\xe8')], ws) == [ws2s.Closed(1000, u'')]
    ws.close(1000)
    assert to_send(ws) == b'' and ws.state == ws2s.CLOSED_DOWN


def test_fault_is_told_with_its_code_and_then_all_is_over():
    ws = websocket()
    fault = ws.receive(frame(3))[0]
    ws.close(fault.code, fault.reason)
    assert to_send(ws)[2:] == b'\x03\xea' + fault.reason.encode('ascii')
    ws.send(TEXT, b'a')
    ws.close(1000)
    assert to_send(ws) == b'' and ws.state == ws2s.CLOSED_DOWN


def test_pings_before_a_close_are_answered_before_it():
    ws = websocket()
    ws.receive(frame(PING, b'p') + frame(CLOSE))
    ws.close()
    assert to_send(ws) == b'\x8a\x01p\x88\x00'


@pytest.mark.parametrize('reason, kept', [
    (u'r' * 200, 123), (u'\xe9' * 100, 122), (u'\u20ac' * 60, 123), (u'\U0001f600' * 50, 120),
    (u'a\U0001f600' * 50, 121)], ids=['ascii', '2 bytes', '3 bytes', '4 bytes', 'mixed'])
def test_long_reason_is_cut_between_characters(reason, kept):
    ws = websocket()
    ws.close(1000, reason)
    assert to_send(ws)[4:] == reason.encode('utf-8')[:kept]


# --- Fuzz -----------------------------------------------------------------------------------------

def random_frames(dice):
    """Frames that are mostly right, so that what lies behind the first two bytes gets its share."""
    frames = b''
    for _ in range(dice.randint(1, 3)):
        opcode = dice.choice((CONTINUATION, TEXT, BINARY, PING, PONG, CLOSE, TEXT, BINARY))
        payload = dice.choice((b'', b'ok', b'\x03\xe8', b'\xc3\xa9', random_bytes(dice, 3)))
        frames += frame(opcode, payload, opcode & 8 or dice.random() < 0.6)
    return frames


def spoilt(dice, data):
    place = dice.randrange(len(data))
    return data[:place] + random_bytes(dice, dice.randint(0, 2)) + data[place + 1:]


def test_a_hundred_thousand_random_inputs_never_raise(dice):
    for number in range(100000):
        data = random_bytes(dice, dice.randint(0, 9)) if number % 2 else random_frames(dice)
        if number % 4 == 0:
            data = spoilt(dice, data)
        ws, place = websocket(8), dice.randint(0, len(data))
        events = received([data[:place], data[place:], b'\x88'], ws)
        ends = [event for event in events if isinstance(event, (ws2s.Closed, ws2s.Fault))]
        assert ends == events[-1:] or not ends, data
        assert not ends or (ws.receive(frame(PING)) == [] and ws.held == 0), data
        assert ws.held <= len(data) + 1
