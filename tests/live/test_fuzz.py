# -*- coding: utf-8 -*-
"""S08: seeded nonsense. Whatever a client sends, the gateway answers by the rules, and the next client is served.

WS2S_TEST_SEED in the environment repeats a run; each failure tells its seed.
"""

import base64
import json
import os
import random
import re
import socket
import struct

import pytest

import ws2s
from census import is_empty
from raw_client import BINARY, CLOSE, TEXT, RawClient, frame, upgrade_request
from targets import echo, serving
from waiting import wait_until

pytestmark = pytest.mark.usefixtures('no_mistakes')

SEED = int(os.environ.get('WS2S_TEST_SEED') or random.SystemRandom().randrange(10 ** 6))

LIMITS = {'messageBytes': 65536, 'bufferBytes': 16384, 'totalBytes': 4194304, 'handshakeSeconds': 5,
          'connectSeconds': 1, 'drainSeconds': 0.3, 'pingSeconds': 0.5, 'idleSeconds': 2}

CLOSE_CODES = (0, 999, 1000, 1001, 1004, 1005, 1006, 1011, 1012, 1016, 1100, 2000, 2999, 3000, 5000, 65535)
SIZES = (0, 1, 2, 3, 5, 100, 125, 126, 127, 1000, 65535, 65536, 70000)


def random_bytes(chance, most):
    return bytes(bytearray(chance.randrange(256) for _ in range(chance.randrange(most + 1))))


# -- random frames -----------------------------------------------------------------------------------------------------

def odd_frame(chance):
    """A frame of which anything may be wrong."""
    payload = odd_payload(chance)
    length = chance.choice([len(payload)] * 20 + [0, 125, 126, 65536, 2 ** 31, 2 ** 63 - 1, 2 ** 63, 2 ** 64 - 1])
    form = chance.choice([None] * 10 + [0, 126, 127])
    first = chance.choice([1, 2, 8, 9, 10] * 5 + list(range(16))) | chance.choice([0x80] * 8 + [0])
    first |= chance.choice([0] * 20 + [0x10, 0x20, 0x40, 0x70])
    masked = chance.choice([0x80] * 20 + [0])
    head = bytearray([first]) + length_field(length, form, masked)
    return bytes(head) + (random_key(chance) if masked else b'') + payload


def length_field(length, form, masked):
    if form is None:
        form = 0 if length < 126 else 126 if length < 65536 else 127
    if form == 126:
        return struct.pack('!BH', masked | 126, length & 0xffff)
    if form == 127:
        return struct.pack('!BQ', masked | 127, length)
    return struct.pack('!B', masked | min(length & 127, 125))


def random_key(chance):
    return bytes(bytearray(chance.randrange(256) for _ in range(4)))


def odd_payload(chance):
    kind = chance.randrange(4)
    if kind == 0:
        return b'x' * chance.choice(SIZES)
    if kind == 1:
        return struct.pack('!H', chance.choice(CLOSE_CODES)) + random_bytes(chance, 4)
    return random_bytes(chance, 30) if kind == 2 else json.dumps(odd_request(chance, 9)).encode('ascii')


def frames(chance, port):
    return upgrade_request() + opening(chance, port) + b''.join(
        odd_frame(chance) if chance.random() < 0.3 else good_message(chance, port)
        for _ in range(chance.randrange(1, 12)))


def opening(chance, port):
    """Most conversations begin with a connect that works."""
    if chance.random() < 0.3:
        return b''
    return frame(TEXT, json.dumps({'command': 'connect', 'host': '127.0.0.1', 'port': port}).encode('ascii'))


# -- conversations, and what becomes of them ---------------------------------------------------------------------------

def odd_value(chance, depth=0):
    kind = chance.randrange(9 if depth < 3 else 7)
    if kind == 7:
        return [odd_value(chance, depth + 1) for _ in range(chance.randrange(4))]
    if kind == 8:
        return {word(chance): odd_value(chance, depth + 1) for _ in range(chance.randrange(4))}
    return [None, True, chance.randrange(-10, 70000), chance.random() * 1e9, 2 ** chance.randrange(200), word(chance),
            u'\ud800'][kind]


def word(chance):
    return chance.choice(['command', 'connect', 'send', 'sendb', 'close', 'ping', 'ack', 'host', 'port', 'data', 'tls',
                          'window', 'binary', 'bytes', '127.0.0.1', '::1', 'a.test', 'YWJj', 'YQ==', '', u'\xe9', '\0'])


def odd_request(chance, port):
    request = good_request(chance, port)
    for _ in range(chance.randrange(3)):
        request[word(chance)] = odd_value(chance)
    return request


def good_request(chance, port):
    return dict(chance.choice([
        {'command': 'connect', 'host': '127.0.0.1', 'port': port, 'binary': chance.random() < 0.5},
        {'command': 'connect', 'host': '127.0.0.1', 'port': port, 'window': 16384},
        {'command': 'connect', 'host': 'name.test', 'port': port},
        {'command': 'send', 'data': 'x' * chance.randrange(100)},
        {'command': 'sendb', 'data': base64.b64encode(b'y' * chance.randrange(40000)).decode('ascii')},
        {'command': 'ack', 'bytes': chance.randrange(20000)}, {'command': 'ping'}, {'command': 'close'}]))


def good_message(chance, port):
    if chance.random() < 0.2:
        return frame(BINARY, b'z' * chance.choice(SIZES), mask=random_key(chance))
    make = odd_request if chance.random() < 0.3 else good_request
    return frame(TEXT, json.dumps(make(chance, port)).encode('ascii'), mask=random_key(chance))


def mutated_conversation(chance, port):
    data = bytearray(upgrade_request()) if chance.random() < 0.8 else bytearray()
    kept = len(data) if chance.random() < 0.8 else 0  # mostly, the handshake stays whole
    data += opening(chance, port)
    for _ in range(chance.randrange(1, 15)):
        data += good_message(chance, port)
    for _ in range(chance.choice([0, 1, 1, 2, 5, 20])):
        mutate(chance, data, kept)
    return bytes(data)


def mutate(chance, data, kept):
    if len(data) <= kept + 1:
        return
    at = chance.randrange(kept, len(data))
    end = min(len(data), at + chance.choice([1, 1, 4, 100]))
    kind = chance.randrange(5)
    if kind == 0:
        data[at] ^= 1 << chance.randrange(8)
    elif kind == 1:
        del data[at:end]
    elif kind == 2:
        data[at:at] = data[at:end]
    elif kind == 3:
        data[at:at] = random_bytes(chance, 10)
    else:
        del data[at + chance.randrange(len(data) - at):]


# -- HTTP --------------------------------------------------------------------------------------------------------------

HEADERS = [b'Host: 127.0.0.1', b'Upgrade: websocket', b'Connection: Upgrade', b'Sec-WebSocket-Version: 13',
           b'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==']
ODD_HEADERS = [b'Host: 127.0.0.1', b'Host:', b': x', b'X', b' folded: yes', b'Connection: close, Upgrade',
               b'Content-Length: 5', b'Transfer-Encoding: chunked', b'Sec-WebSocket-Version: 8', b'Origin: null',
               b'Expect: 100-continue', b'X: ' + b'y' * 9000, b'X: \xff\x00', b'Sec-WebSocket-Key: x',
               b'Upgrade: h2c', b'Range: bytes=0-', b'Sec-WebSocket-Extensions: permessage-deflate',
               b'Sec-WebSocket-Protocol: chat', b'Origin: http://a b']
LINES = [b'GET / HTTP/1.1', b'GET /healthz HTTP/1.1', b'HEAD / HTTP/1.0', b'GET /../x HTTP/1.1', b'GET / HTTP/2.0',
         b'POST / HTTP/1.1', b'GET http://x/ HTTP/1.1', b'GET  / HTTP/1.1', b'GET /%00%zz HTTP/1.1', b'GET', b'',
         b'PRI * HTTP/2.0', b'\x16\x03\x01', b'OPTIONS * HTTP/1.1', b'GET /' + b'a' * 9000 + b' HTTP/1.1']


def http(chance, port):
    lines = [chance.choice(LINES[:2] * 10 + LINES)]
    lines += [header for header in HEADERS if chance.random() < 0.9]
    lines += [chance.choice(ODD_HEADERS) for _ in range(chance.choice([0, 0, 1, 3, 80]))]
    if chance.random() < 0.05:
        chance.shuffle(lines)
    ending = chance.choice([b'\r\n'] * 10 + [b'\n', b'\r', b'\r\n\r\n'])
    data = bytearray(ending.join(lines) + ending * 2)
    if chance.random() < 0.3:
        mutate(chance, data, 0)
    return bytes(data) + random_bytes(chance, 20)


# -- the run -----------------------------------------------------------------------------------------------------------

KINDS = [frames, mutated_conversation, http]


def play(address, chance, data):
    """Send ``data`` in pieces of any size and leave in any way; what the gateway has said."""
    with RawClient(address) as client:
        try:
            while data:
                size = chance.choice([1, 10, 1000, 100000])
                client.send(data[:size])
                data = data[size:]
            if chance.random() < 0.5:
                client.wait_for_more(0.01)  # what was begun may get somewhere
            leave = chance.randrange(10)
            if leave == 0:
                client.abort()
                return b''
            if leave == 1:
                return b''
            client.sock.shutdown(socket.SHUT_WR)
            return client.receive_all()
        except (IOError, OSError) as error:
            assert not isinstance(error, socket.timeout), 'the gateway neither reads nor ends'
            return b''  # it has ended the connection already


def check_answer(answer):
    """It is HTTP, then at most frames of a server that say what the protocol knows, and nothing after a Close."""
    if not answer:
        return
    assert re.match(br'HTTP/1\.1 (101|200|204|4\d\d|503) ', answer), answer[:100]
    if not answer.startswith(b'HTTP/1.1 101 '):
        return
    data = answer[answer.index(b'\r\n\r\n') + 4:]
    closed = False
    while len(data) >= 2:
        assert not closed, 'something after the Close'
        opcode, payload, data = split_frame(data)
        assert opcode in (TEXT, BINARY, CLOSE, 9, 10)
        closed = opcode == CLOSE
        if opcode == TEXT and payload is not None:
            check_reply(json.loads(payload.decode('utf-8')))


def split_frame(data):
    """(opcode, payload, rest); the payload is None where the end of the connection has cut it."""
    first, size = bytearray(data[:2])
    assert first & 0xf0 == 0x80 and size < 128
    start = 2
    if size > 125:
        width = 2 if size == 126 else 8
        field = data[2:2 + width]
        if len(field) < width:
            return first & 15, None, b''
        size, start = struct.unpack('!H' if width == 2 else '!Q', field)[0], 2 + width
    payload = data[start:start + size]
    return first & 15, payload if len(payload) == size else None, data[start + size:]


def check_reply(reply):
    assert reply['success'] == (reply['code'] <= 0)
    assert set(reply) <= {'success', 'code', 'message', 'data', 'reason'}
    assert reply['code'] in (-1, 0) or (reply['code'] in (1, 2, 3, 4, 5) and reply['reason'] != 'internal'), reply


@pytest.mark.parametrize('rounds', [250, pytest.param(5000, marks=pytest.mark.soak)])
@pytest.mark.parametrize('make', KINDS, ids=lambda make: make.__name__)
def test_gateway_survives(running_gateway, make, rounds):
    with serving(echo) as port:
        gateway = running_gateway({'limits': LIMITS, 'allowTargets': ['127.0.0.1:%d' % port]},
                                  resolve=lambda host, port: ws2s.UNKNOWN_NAME)
        for seed in range(SEED, SEED + rounds):
            print('WS2S_TEST_SEED=%d' % seed)
            chance = random.Random(seed)
            check_answer(play(gateway.address, chance, make(chance, port)))
            if seed % 50 == 0:
                assert_serves(gateway.address, port)
        assert_serves(gateway.address, port)
        wait_until(lambda: is_empty(gateway))


def assert_serves(address, port):
    with RawClient(address) as client:
        client.open().connect_to(port, binary=True).send_frame(BINARY, b'well-formed')
        assert client.receive_data(11) == b'well-formed'
        client.close()
