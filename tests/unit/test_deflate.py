# -*- coding: utf-8 -*-
"""Room 5 against RFC 7692, permessage-deflate."""
import hashlib
import struct
import time
import zlib

import pytest

import ws2s
from every_split import byte_by_byte, every_split, shown

LIMIT = 1 << 20
KEY = b'\x37\xfa\x21\x3d'
CONTINUATION, TEXT, BINARY, PING = 0, 1, 2, 9
RSV1 = 0x40
HELLO = bytes(bytearray.fromhex(u'f248cdc9c90700'))  # section 7.2.3.1


def config(**changes):
    return ws2s.DEFAULTS.replace(dict({'deflate.enabled': True},
                                      **{'deflate.' + name: value for name, value in changes.items()}))


def agreed(offer, **changes):
    return ws2s.agree_on_deflate([offer] if isinstance(offer, str) else offer, config(**changes))


def websocket(offer='permessage-deflate; client_max_window_bits', limit=LIMIT, whole=False, **changes):
    return ws2s.WebSocket(limit, whole, agreed(offer, **changes)[0])


def frame(first, payload, final=True):
    mask = bytearray(KEY)
    length = len(payload)
    if length <= 125:
        head = struct.pack('!BB', first | 0x80 * final, 0x80 | length)
    elif length <= 0xffff:
        head = struct.pack('!BBH', first | 0x80 * final, 0xfe, length)
    else:
        head = struct.pack('!BBQ', first | 0x80 * final, 0xff, length)
    return head + KEY + bytes(bytearray(byte ^ mask[i & 3] for i, byte in enumerate(bytearray(payload))))


def deflated(data, deflater=None, bits=15, end=zlib.Z_SYNC_FLUSH):
    deflater = deflater or zlib.compressobj(9, zlib.DEFLATED, -bits)
    coded = deflater.compress(data) + deflater.flush(end)
    return coded[:-4] if end == zlib.Z_SYNC_FLUSH else coded


def received(ws, pieces, steps=None):
    events = []
    for piece in pieces:
        events += ws.receive(piece)
        while ws.is_behind:
            if steps is not None:
                steps.append(ws.held)
            events += ws.receive(b'')
    return events


def messages(events):
    """[(kind, bytes)...] with binary pieces joined, a Fault by its code."""
    found, binary = [], b''
    for event in events:
        if isinstance(event, ws2s.Piece):
            binary += bytes(event.data)
            if event.final:
                found.append(('binary', binary))
                binary = b''
        elif isinstance(event, ws2s.Text):
            found.append(('text', event.text.encode('utf-8')))
        elif isinstance(event, ws2s.LongText):
            found.append(('text', bytes(event.data)))
        elif isinstance(event, ws2s.Fault):
            found.append(('fault', event.code))
        else:
            found.append((type(event).__name__.lower(), event[0]))
    return found


def noise(size):
    blocks = [hashlib.sha1(str(i).encode('ascii')).digest() for i in range(size // 20 + 1)]
    return b''.join(blocks)[:size]


# --- What is agreed on ----------------------------------------------------------------------------

def test_nothing_is_agreed_on_while_it_is_switched_off():
    assert ws2s.agree_on_deflate(['permessage-deflate'], ws2s.DEFAULTS) == (None, None)
    assert ws2s.agree_on_deflate(['this; is = "malformed'], ws2s.DEFAULTS) == (None, None)


NEITHER = '; server_no_context_takeover; client_no_context_takeover'


@pytest.mark.parametrize('offer, reply', [
    ('permessage-deflate', NEITHER),
    ('permessage-deflate; client_max_window_bits', '; client_max_window_bits=12' + NEITHER),
    ('permessage-deflate; client_max_window_bits=9', '; client_max_window_bits=9' + NEITHER),
    ('permessage-deflate; client_max_window_bits=8', '; client_max_window_bits=8' + NEITHER),
    ('permessage-deflate; client_max_window_bits="10"', '; client_max_window_bits=10' + NEITHER),
    ('permessage-deflate;server_max_window_bits=15', '; server_max_window_bits=12' + NEITHER),
    ('permessage-deflate ;\tserver_max_window_bits = 9 ', '; server_max_window_bits=9' + NEITHER),
    ('permessage-deflate; server_no_context_takeover; client_no_context_takeover', NEITHER),
    ('x-webkit-deflate-frame, permessage-deflate', NEITHER),
    ('foo; bar="baz"; n=1,permessage-deflate', NEITHER),
    (',, permessage-deflate ,', NEITHER),
    (['foo', 'permessage-deflate'], NEITHER),
    # Declined, and the next offer taken.
    ('permessage-deflate; server_max_window_bits=8, permessage-deflate', NEITHER),
    ('permessage-deflate; later=1, permessage-deflate; server_max_window_bits=11',
     '; server_max_window_bits=11' + NEITHER),
    ('permessage-deflate; server_no_context_takeover; server_no_context_takeover, permessage-deflate', NEITHER),
])
def test_the_first_offer_that_can_be_taken_is_answered(offer, reply):
    deflate, extension = agreed(offer)
    assert extension == 'permessage-deflate' + reply
    assert not deflate.we_keep and not deflate.they_keep


@pytest.mark.parametrize('offer', [
    '', 'permessage-bzip2', 'Permessage-Deflate', 'permessage-deflate; unknown', 'permessage-deflate; unknown=1',
    'permessage-deflate; server_max_window_bits', 'permessage-deflate; server_max_window_bits=""',
    'permessage-deflate; server_max_window_bits=8', 'permessage-deflate; server_max_window_bits=7',
    'permessage-deflate; server_max_window_bits=16', 'permessage-deflate; server_max_window_bits=09',
    'permessage-deflate; server_max_window_bits=+9', 'permessage-deflate; client_max_window_bits=16',
    'permessage-deflate; client_max_window_bits=""', 'permessage-deflate; client_max_window_bits=x',
    'permessage-deflate; server_no_context_takeover=1', 'permessage-deflate; client_no_context_takeover="yes"',
    'permessage-deflate; client_max_window_bits; client_max_window_bits',
    'permessage-deflate; server_max_window_bits=10; server_max_window_bits=10',
    'permessage-deflate; SERVER_NO_CONTEXT_TAKEOVER',
])
def test_an_offer_of_what_is_not_known_is_declined(offer):
    assert agreed(offer) == (None, None)


@pytest.mark.parametrize('header', ['permessage-deflate;', 'permessage-deflate; =1', 'permessage deflate', '=', ';',
                                    'permessage-deflate; a="b', 'permessage-deflate; client_max_window_bits=',
                                    'permessage-deflate; a=b c', 'a"b"'])
def test_a_malformed_header_is_400(header):
    with pytest.raises(ws2s.HttpError) as caught:
        agreed(header)
    assert caught.value.status == 400


@pytest.mark.parametrize('header', [' ' * 16000 + '=', 'a;' * 8000, 'a' + '; a' * 5000 + ' =', 'a;' + ' ' * 15000 + '"',
                                    'a,' * 8000 + '"', 'a; b=' + '"' * 8000, 'a' * 16000 + '"'])
def test_no_header_takes_long(header):
    began = time.time()
    try:
        agreed(header)
    except ws2s.HttpError:
        pass
    assert time.time() - began < 1


def test_with_context_takeover_only_what_the_client_asked_for_is_left_out():
    assert agreed('permessage-deflate', contextTakeover=True)[1] == 'permessage-deflate'
    deflate, extension = agreed('permessage-deflate; server_no_context_takeover', contextTakeover=True)
    assert extension == 'permessage-deflate; server_no_context_takeover' and deflate.they_keep and not deflate.we_keep
    deflate, extension = agreed('permessage-deflate; client_no_context_takeover', contextTakeover=True)
    assert extension == 'permessage-deflate; client_no_context_takeover' and deflate.we_keep and not deflate.they_keep


# --- What is received -----------------------------------------------------------------------------

@pytest.mark.parametrize('name, data, expected', [
    ('section 7.2.3.1', frame(RSV1 | TEXT, HELLO), [('text', b'Hello')]),
    ('in two frames', frame(RSV1 | TEXT, HELLO[:3], False) + frame(CONTINUATION, HELLO[3:]), [('text', b'Hello')]),
    ('no compression, section 7.2.3.3', frame(RSV1 | TEXT, bytes(bytearray.fromhex(u'000500faff48656c6c6f00'))),
     [('text', b'Hello')]),
    ('BFINAL set, section 7.2.3.4', frame(RSV1 | TEXT, bytes(bytearray.fromhex(u'f348cdc9c9070000'))),
     [('text', b'Hello')]),
    ('two blocks, section 7.2.3.5', frame(RSV1 | TEXT, bytes(bytearray.fromhex(u'f24805000000ffffcac9c90700'))),
     [('text', b'Hello')]),
    ('empty', frame(RSV1 | TEXT, b'\0'), [('text', b'')]),
    ('not even a block', frame(RSV1 | BINARY, b''), [('binary', b'')]),
    ('not compressed', frame(TEXT, b'Hello'), [('text', b'Hello')]),
    ('a ping between', frame(RSV1 | TEXT, HELLO[:3], False) + frame(PING, b'p') + frame(CONTINUATION, HELLO[3:]),
     [('ping', b'p'), ('text', b'Hello')]),
    ('an empty last frame', frame(RSV1 | BINARY, HELLO, False) + frame(CONTINUATION, b''), [('binary', b'Hello')]),
    ('binary then text', frame(RSV1 | BINARY, HELLO) + frame(RSV1 | TEXT, HELLO), [('binary', b'Hello'),
                                                                                   ('text', b'Hello')]),
    ('RSV1 on a continuation', frame(RSV1 | TEXT, HELLO[:3], False) + frame(RSV1, HELLO[3:]), [('fault', 1002)]),
    ('RSV1 on a ping', frame(RSV1 | PING, b''), [('fault', 1002)]),
    ('RSV1 on a close', frame(RSV1 | 8, b''), [('fault', 1002)]),
    ('RSV2', frame(0x20 | TEXT, b''), [('fault', 1002)]),
    ('RSV1 and RSV3', frame(RSV1 | 0x10 | TEXT, HELLO), [('fault', 1002)]),
    ('RSV1 on a reserved opcode', frame(RSV1 | 3, b''), [('fault', 1002)]),
    ('garbage', frame(RSV1 | TEXT, b'\xff\xff\xff'), [('fault', 1007)]),
    ('garbage behind a last block', frame(RSV1 | BINARY, deflated(b'x', end=zlib.Z_FINISH) + b'\xff\xff'),
     [('fault', 1007)]),
    ('not UTF-8', frame(RSV1 | TEXT, deflated(b'\xff')), [('fault', 1007)]),
    ('a character cut off', frame(RSV1 | TEXT, deflated(b'\xc3')), [('fault', 1007)]),
    ('hundreds of last blocks', frame(RSV1 | BINARY, b'\x03\x00' * 200), [('fault', 1007)]),
], ids=lambda value: value if isinstance(value, str) else '')
def test_a_frame_means_the_same_wherever_it_is_cut(name, data, expected):
    for pieces in every_split(data):
        assert messages(received(websocket(), pieces))[-len(expected):] == expected, shown(pieces)
    if expected[-1][0] != 'fault':
        behind = frame(PING, b'behind')
        assert messages(received(websocket(), [data + behind])) == expected + [('ping', b'behind')]


def test_without_the_extension_rsv1_is_1002():
    assert messages(ws2s.WebSocket(LIMIT).receive(frame(RSV1 | TEXT, HELLO))) == [('fault', 1002)]


@pytest.mark.parametrize('opcode, kind', [(TEXT, 'text'), (BINARY, 'binary')])
@pytest.mark.parametrize('size', [1, 4096, 4097, 65535, 65536, 65537, 131072, LIMIT])
@pytest.mark.parametrize('whole', [False, True])
def test_every_length_comes_whole(opcode, kind, size, whole):
    data = b'0123456789abcdef' * (size // 16) + b'x' * (size % 16)
    for cut in (10 ** 9, 5):
        coded = frame(RSV1 | opcode, deflated(data))
        pieces = [coded[i:i + cut] for i in range(0, len(coded), cut)]
        assert messages(received(websocket(whole=whole), pieces)) == [(kind, data)]


def test_what_cannot_be_compressed_comes_whole():
    data = noise(300000)
    assert messages(received(websocket(), [frame(RSV1 | BINARY, deflated(data))])) == [('binary', data)]


def test_a_message_may_be_as_long_as_the_limit_and_not_a_byte_longer():
    for opcode in (TEXT, BINARY):
        assert messages(received(websocket(limit=5000), [frame(RSV1 | opcode, deflated(b'a' * 5000))]))[-1][1] \
            == b'a' * 5000
        events = received(websocket(limit=5000), [frame(RSV1 | opcode, deflated(b'a' * 5001))])
        assert messages(events)[-1] == ('fault', 1009)


@pytest.mark.parametrize('opcode', [TEXT, BINARY])
def test_a_bomb_is_1009_before_it_is_inflated(opcode):
    deflater = zlib.compressobj(9, zlib.DEFLATED, -15)
    bomb = b''.join(deflater.compress(b'\0' * LIMIT) for _ in range(64)) + deflater.flush(zlib.Z_SYNC_FLUSH)
    assert len(bomb) < 70000
    ws, most, total = websocket(), [], 0
    events = received(ws, [frame(RSV1 | opcode, bomb[:-4])], most)
    assert messages(events)[-1] == ('fault', 1009)
    total = sum(len(event.data) for event in events if isinstance(event, ws2s.Piece))
    assert total <= LIMIT and max(most) <= LIMIT + len(bomb) + 40960 and ws.held == 0


def test_one_call_inflates_no_more_than_a_step():
    ws = websocket()
    events = ws.receive(frame(RSV1 | BINARY, deflated(b'\0' * LIMIT)) + frame(PING, b''))
    sizes = [len(events[0].data)]
    assert len(events) == 1 and ws.is_behind and ws.held
    while ws.is_behind:
        events = ws.receive(b'')
        sizes += [len(event.data) for event in events if isinstance(event, ws2s.Piece)]
    assert max(sizes) <= ws2s.INFLATED_BYTES and sum(sizes) == LIMIT
    assert messages(events)[-1] == ('ping', b'') and ws.held == 0


def test_after_our_close_what_is_left_of_a_message_comes_to_nothing():
    ws = websocket()
    ws.receive(frame(RSV1 | BINARY, deflated(b'\0' * LIMIT)))
    ws.close(1001)
    assert messages(received(ws, [frame(8, b'')])) == [('closed', None)]
    assert ws.held == 0


def test_with_context_takeover_the_next_message_may_refer_to_the_last():
    deflater = zlib.compressobj(9, zlib.DEFLATED, -12)
    first, second = [deflated(noise(1000), deflater) for _ in range(2)]
    assert len(second) < 50
    kept = websocket(contextTakeover=True)
    for coded in (first, second):
        assert messages(received(kept, byte_by_byte(frame(RSV1 | BINARY, coded)))) == [('binary', noise(1000))]
    dropped = websocket()
    assert messages(received(dropped, [frame(RSV1 | BINARY, first)])) == [('binary', noise(1000))]
    assert messages(received(dropped, [frame(RSV1 | BINARY, second)])) == [('fault', 1007)]


# --- What is sent ---------------------------------------------------------------------------------

def sent(ws, opcode, payload, prefix=b''):
    """(first byte, payload as it goes over the wire) of one message."""
    ws.send(opcode, payload, prefix)
    data = bytearray(b''.join(bytes(chunk) for chunk in ws.data_to_send()))
    start = {126: 4, 127: 10}.get(data[1], 2)
    return data[0], bytes(data[start:])


def inflated(coded, bits=12, inflater=None):
    return (inflater or zlib.decompressobj(-bits)).decompress(coded + b'\x00\x00\xff\xff')


@pytest.mark.parametrize('opcode', [TEXT, BINARY])
def test_a_message_goes_out_compressed_and_with_rsv1(opcode):
    first, coded = sent(websocket(), opcode, b'abc ' * 1000, b'head ')
    assert first == 0xc0 | opcode and len(coded) < 100
    assert inflated(coded) == b'head ' + b'abc ' * 1000


def test_short_messages_pings_and_what_gets_no_shorter_go_as_they_are():
    ws = websocket()
    assert sent(ws, TEXT, b'a' * 255) == (0x81, b'a' * 255)
    assert sent(ws, BINARY, noise(1000)) == (0x82, noise(1000))
    assert sent(ws, PING, b'a' * 100) == (0x89, b'a' * 100)
    assert sent(ws, TEXT, b'a' * 256)[0] == 0xc1
    assert sent(websocket(minBytes=0), TEXT, b'') == (0x81, b'')


def test_without_takeover_each_message_stands_alone():
    ws = websocket()
    for _ in range(3):
        assert inflated(sent(ws, TEXT, b'{"a": 1}' * 100)[1]) == b'{"a": 1}' * 100


def test_with_takeover_all_messages_are_one_stream():
    ws, inflater = websocket(contextTakeover=True), zlib.decompressobj(-12)
    sizes = []
    for payload in (noise(1000), noise(1000), b'short', b'a' * 255, noise(1000)):
        first, coded = sent(ws, BINARY, payload)
        sizes.append(len(coded))
        assert (inflated(coded, inflater=inflater) if first & RSV1 else coded) == payload
    assert sizes[1] < 50


@pytest.mark.parametrize('bits', [9, 10, 15])
def test_our_window_is_no_larger_than_agreed(bits):
    ws = websocket('permessage-deflate; server_max_window_bits=%d' % bits, windowBits=15)
    data = noise(3000) * 20
    first, coded = sent(ws, BINARY, data + b' ' * 10000)
    assert first & RSV1 and inflated(coded, bits) == data + b' ' * 10000


def test_a_message_head_is_never_marked_as_compressed():
    assert websocket().message_head(BINARY, 70000, b'')[:1] == b'\x82'
