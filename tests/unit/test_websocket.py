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
from every_split import every_split, shown
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


def websocket(limit=LIMIT):
    return ws2s.WebSocket(limit)


def received(pieces, ws=None):
    ws = ws or websocket()
    return [event for piece in pieces for event in ws.receive(piece)]


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
    assert ws.held() == 0


def test_fragments_over_the_limit_are_refused_by_the_header_that_exceeds_it():
    ws = websocket()
    assert received([frame(TEXT, b'x' * LIMIT, False), frame(CONTINUATION, b'', False)], ws) == []
    assert plain(ws.receive(frame(CONTINUATION, length=1))) == ([], 1009)
    assert ws.held() == 0


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
        assert received([frame(TEXT, b'a'), ending, b'\xff' * 99], ws) == [] and ws.held() == 0


def test_what_is_faulty_is_refused_as_early_as_it_shows():
    for data, shows_at in ((frame(TEXT | 0x40), 2), (frame(3), 2), (b'\x81\x05', 2),
                           (frame(PING, b'x' * 126), 2), (frame(BINARY, length=2 ** 63), 14)):
        ws = websocket()
        assert plain(received([data[:shows_at]], ws)) == ([], 1002)


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
        assert ws.held() == 0 and held_bytes(ws) < empty + 2000


@pytest.mark.parametrize('opcode', [TEXT, BINARY], ids=['text', 'binary'])
def test_a_flood_of_empty_continuations_holds_nothing(opcode):
    ws, empty = websocket(), held_bytes(websocket())
    ws.receive(frame(opcode, b'', False))
    for _ in range(20):
        assert ws.receive(frame(CONTINUATION, b'', False) * 1000) == []
    assert ws.held() == 0 and held_bytes(ws) < empty + 2000


def test_a_text_in_fragments_of_one_byte_holds_no_more_than_its_bytes():
    ws, empty = websocket(100000), held_bytes(websocket())
    ws.receive(frame(TEXT, b'x', False))
    for i in range(50):
        ws.receive(frame(CONTINUATION, b'x', False) * 1000)
        assert ws.held() == 1 + 1000 * (i + 1)
    assert held_bytes(ws) < empty + 50000 * 1.5 + 2000
    assert ws.receive(frame(CONTINUATION)) == [ws2s.Text(u'x' * 50001)] and ws.held() == 0


def test_what_is_held_of_an_unfinished_message_and_frame_is_counted():
    ws, ping = websocket(), frame(PING, b'xy')
    lengths = []
    for data in (frame(TEXT, b'abcd', False), ping[:1], ping[1:7], ping[7:], frame(CONTINUATION, b'e')):
        ws.receive(data)
        lengths.append(ws.held())
    assert lengths == [4, 5, 5, 4, 0]


def test_messages_that_are_finished_are_not_held():
    ws, empty = websocket(100000), held_bytes(websocket())
    ws.receive(frame(TEXT, b'x' * 90000) + frame(BINARY, b'y' * 90000) + frame(PONG, b'z'))
    assert ws.held() == 0 and held_bytes(ws) < empty + 2000


# --- Masking --------------------------------------------------------------------------------------

SIZES = list(range(10)) + list(range(509, 518)) + [1023, 1024, 5000]


@pytest.mark.parametrize('key', [KEY, b'\0\0\0\0', b'\0\xff\0\1', b'\xff\xff\xff\xff', b'\0\0\0\x80'],
                         ids=lambda key: binascii.hexlify(key).decode('ascii'))
def test_unmasking_is_the_naive_xor_for_all_sizes_and_phases(key, dice):
    for size in SIZES:
        for phase in range(4):
            data = bytearray(dice.getrandbits(8) for _ in range(size))
            head = ws2s.FrameHead(BINARY, True, size, key)
            head.turn_key(phase)
            plain = ws2s.unmasked(b'ab' + bytes(data) + b'c', 2, 2 + size, head.key)
            assert plain == masked(data, key[phase:] + key[:phase]), (size, phase)


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
    assert pongs_to(numbered(ws2s.PONGS_WAITING + 1)) == [b'%d' % ws2s.PONGS_WAITING]


@pytest.mark.parametrize('count', [20, 100, 1000])
def test_a_flood_of_pings_is_answered_by_few_pongs_and_the_latest_is_among_them(count):
    pongs = pongs_to(numbered(count))
    assert 1 <= len(pongs) <= ws2s.PONGS_WAITING
    assert pongs == numbered(count)[-len(pongs):]


def test_pong_never_falls_within_a_message():
    ws = websocket()
    ws.send(BINARY, b'x' * 300)
    ws.receive(frame(PING, b'p'))
    message, pong = b'\x82\x7e\x01\x2c' + b'x' * 300, b'\x8a\x01p'
    assert to_send(ws) in (message + pong, pong + message)


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
    assert ws.held() == 0
    later = frame(CONTINUATION, b'y' * 1000) + frame(BINARY, b'z') + frame(TEXT, b'z' * 9, False)
    assert received([later], ws) == [] and ws.held() == 0
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

def random_bytes(dice, size):
    return bytes(bytearray(dice.getrandbits(8) for _ in range(size)))


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
        assert not ends or (ws.receive(frame(PING)) == [] and ws.held() == 0), data
        assert ws.held() <= len(data) + 1
