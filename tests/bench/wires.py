"""What a client says to each kind of gateway, and how it finds the target's bytes in what comes back.

Frames are made in advance where they can be: a client that makes them while it is measured measures itself.
"""
import base64
import binascii
import hashlib
import json
import struct

from board import BLOCK, LOOKED_AT, PATTERN

MASK = b'\x37\xfa\x21\x3d'
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
KEY = base64.b64encode(b'the sample nonce')
ACCEPT = base64.b64encode(hashlib.sha1(KEY + b'258EAFA5-E914-47DA-95CA-C5AB0DC85B11').digest())


class Broken(Exception):
    """The gateway has answered what it must not, or gone."""


def header(opcode, length, masked):
    bit = 0x80 if masked else 0
    if length < 126:
        return struct.pack('>BB', 0x80 | opcode, bit | length)
    if length < 65536:
        return struct.pack('>BBH', 0x80 | opcode, bit | 126, length)
    return struct.pack('>BBQ', 0x80 | opcode, bit | 127, length)


def masked(opcode, payload):
    """A client's frame."""
    mask = (MASK * (len(payload) // 4 + 1))[:len(payload)]
    mixed = int.from_bytes(payload, 'big') ^ int.from_bytes(mask, 'big')
    return header(opcode, len(payload), True) + MASK + mixed.to_bytes(len(payload), 'big')


def unmasked(opcode, payload):
    """A server's frame."""
    return header(opcode, len(payload), False) + payload


GOODBYE = masked(CLOSE, struct.pack('>H', 1000))


class Inbox(object):
    """Received bytes, cut into frames. ``buffer`` is replaced when a frame does not fit."""

    def __init__(self, size=4096):
        self._start = self._end = 0
        self._take(bytearray(size))

    def _take(self, buffer):
        self.buffer, self._view = buffer, memoryview(buffer)

    def receive_from(self, sock):
        """How many bytes came: 0 at the end."""
        if self._start == self._end:
            self._start = self._end = 0
        elif self._end > len(self.buffer) // 2:
            self._make_room(len(self.buffer) // 2)
        count = sock.recv_into(self._view[self._end:])
        self._end += count
        return count

    def feed(self, data):
        """Bytes that were received otherwise."""
        if self._end + len(data) > len(self.buffer):
            self._make_room(len(data))
        self._view[self._end:self._end + len(data)] = data
        self._end += len(data)

    def _make_room(self, size):
        rest = bytes(self._view[self._start:self._end])
        if len(rest) + size > len(self.buffer):
            self._take(bytearray(2 * (len(rest) + size)))
        self._start, self._end = 0, len(rest)
        self._view[:len(rest)] = rest

    def line_end(self):
        """The HTTP answer, once it has come whole; it is taken off."""
        end = self.buffer.find(b'\r\n\r\n', self._start, self._end)
        if end < 0:
            return None
        answer = bytes(self._view[self._start:end + 2])
        self._start = end + 4
        return answer

    def frames(self):
        """(opcode, first byte of the payload, end of it) of each whole frame; they are taken off."""
        buffer = self.buffer
        while self._end - self._start >= 2:
            start, length = self._start + 2, buffer[self._start + 1]
            if length == 126:
                start += 2
            elif length == 127:
                start += 8
            if start > self._end:
                return
            if length >= 126:
                length = int.from_bytes(buffer[self._start + 2:start], 'big')
            if start + length > self._end:
                return
            first, self._start = buffer[self._start], start + length
            yield first & 15, start, start + length


class Wire(object):
    """Binary messages are the bytes, and the gateway knows the target: websockify, websocat, `ws` with `net`."""

    path = '/'
    replies = False       # is each message answered?
    credited = False      # may the client send only as many messages as it is told?
    opening = b''         # what the client says after the handshake
    says_opened = False   # does the server say that it is ready? Then there is opened_by(opcode, payload)
    follow_up = b''       # what the client says to that

    def __init__(self, target_port):
        self.target_port = target_port

    def request(self, port):
        return ('GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n'
                'Sec-WebSocket-Key: %s\r\nSec-WebSocket-Version: 13\r\n\r\n'
                % (self.path, port, KEY.decode())).encode()

    def message(self, data):
        """The masked frame that carries data to the target."""
        return masked(BINARY, data)

    def carried(self, data):
        """What one message with this data must be answered with when the target is an echo."""
        return unmasked(BINARY, data)

    def data(self, opcode, payload):
        """The target's bytes in a frame; empty for one that only answers or grants."""
        if opcode not in (BINARY, CONTINUATION):
            raise Broken('unexpected frame %d: %r' % (opcode, bytes(payload[:100])))
        return payload

    def look(self, opcode, buffer, start, end):
        """(the first bytes of the target's, how many there are) without taking all of them out."""
        if opcode not in (BINARY, CONTINUATION):
            self.data(opcode, bytes(buffer[start:end]))
        return bytes(buffer[start:min(end, start + LOOKED_AT)]), end - start

    def credit(self, opcode, payload):
        """How many messages the client may send from now on; None when the frame does not say."""
        return None


def json_message(**fields):
    return masked(TEXT, json.dumps(fields).encode())


def parsed(payload):
    try:
        return json.loads(bytes(payload).decode('ascii'))
    except ValueError:
        raise Broken('not a JSON object: %r' % bytes(payload[:100]))


class JsonWire(Wire):
    """The protocol of ws2s, data in base64 both ways."""

    says_opened = replies = True
    CONNECT = {'command': 'connect', 'host': '127.0.0.1'}
    DONE = b'{"success": true, "code": 0, "message": "sendb done"}'
    HEAD = b'{"success": true, "code": -1, "message": "recv data", "data": "'
    TAIL = b'"}'

    def __init__(self, target_port):
        Wire.__init__(self, target_port)
        self.opening = json_message(port=target_port, **self.CONNECT)

    def opened_by(self, opcode, payload):
        reply = parsed(payload)
        if opcode != TEXT or reply.get('code') != 0:
            raise Broken('the target was not opened: %r' % payload)
        return True

    def message(self, data):
        return json_message(command='sendb', data=base64.b64encode(data).decode())

    def carried(self, data):
        return unmasked(TEXT, self.DONE) + unmasked(TEXT, self.HEAD + base64.b64encode(data) + self.TAIL)

    def data(self, opcode, payload):
        reply = parsed(payload) if opcode == TEXT else {}
        if reply.get('code') == -1:
            return base64.b64decode(reply['data'], validate=True)
        if reply != json.loads(self.DONE):  # 2.1.5 on Python 2 has its keys in another order
            raise Broken('unexpected frame %d: %r' % (opcode, bytes(payload[:100])))
        return b''

    def look(self, opcode, buffer, start, end):
        first, last = start + len(self.HEAD), end - len(self.TAIL)
        if opcode != TEXT or buffer[start:first] != self.HEAD or buffer[last:end] != self.TAIL:
            data = self.data(opcode, bytes(buffer[start:end]))
            return data[:LOOKED_AT], len(data)
        head = binascii.a2b_base64(bytes(buffer[first:min(last, first + LOOKED_AT * 4 // 3)]))
        return head, (last - first) // 4 * 3 - buffer.count(b'=', last - 2, last)


class BinaryWire(JsonWire):
    """The protocol of ws2s, data in binary messages both ways."""

    replies = False
    CONNECT = dict(JsonWire.CONNECT, binary=True)
    message, carried, data, look = Wire.message, Wire.carried, Wire.data, Wire.look


class RawWire(Wire):
    """Binary messages are the bytes, and the path names the target: ws2s, as clients of wsproxy ask for it."""

    def __init__(self, target_port):
        Wire.__init__(self, target_port)
        self.path = '/127.0.0.1:%d' % target_port


class WispWire(Wire):
    """Wisp 1, with one stream in each WebSocket, or more."""

    path = '/wisp/'
    says_opened = credited = True
    CONNECT, DATA, CONTINUE, END = 1, 2, 3, 4
    STREAM = 1
    HEAD = struct.Struct('<BI')

    def __init__(self, target_port, streams=1):
        Wire.__init__(self, target_port)
        self.streams = range(self.STREAM, self.STREAM + streams)
        self.follow_up = b''.join(masked(BINARY, self.HEAD.pack(self.CONNECT, stream) +
                                         struct.pack('<BH', 1, target_port) + b'127.0.0.1') for stream in self.streams)

    def opened_by(self, opcode, payload):
        """The server speaks first; a stream may be used at once, for what it cannot do it says later."""
        return self.credit(opcode, payload) is not None

    def message(self, data, stream=STREAM):
        return masked(BINARY, self.HEAD.pack(self.DATA, stream) + data)

    def carried(self, data):
        return unmasked(BINARY, self.HEAD.pack(self.DATA, self.STREAM) + data)

    def kind(self, opcode, packet):
        return self.kind_and_stream(opcode, packet)[0]

    def kind_and_stream(self, opcode, packet):
        if opcode != BINARY or len(packet) < self.HEAD.size:
            raise Broken('unexpected frame %d: %r' % (opcode, bytes(packet[:100])))
        kind, stream = self.HEAD.unpack_from(packet)
        if kind not in (self.DATA, self.CONTINUE):
            raise Broken('Wisp packet %d: %r' % (kind, bytes(packet[:100])))
        return kind, stream

    def data(self, opcode, payload):
        return payload[self.HEAD.size:] if self.kind(opcode, payload) == self.DATA else b''

    def look(self, opcode, buffer, start, end):
        head = bytes(buffer[start:min(end, start + self.HEAD.size + LOOKED_AT)])
        if self.kind(opcode, head) != self.DATA:
            return b'', 0
        return head[self.HEAD.size:], end - start - self.HEAD.size

    def credit(self, opcode, payload):
        if self.kind(opcode, payload) != self.CONTINUE:
            return None
        return struct.unpack_from('<I', payload, self.HEAD.size)[0]


class Tape(object):
    """The pattern as messages, ready to be sent over and over. ``borders`` are the ends of the messages in it."""

    MADE = {}

    def __init__(self, wire):
        messages = [wire.message(PATTERN[start:start + BLOCK]) for start in range(0, len(PATTERN), BLOCK)]
        self.view, self.borders = memoryview(b''.join(messages)), []
        for message in messages:
            self.borders.append(len(message) + (self.borders[-1] if self.borders else 0))

    @classmethod
    def of(cls, wire):
        """One for all clients of a process."""
        if type(wire) not in cls.MADE:
            cls.MADE[type(wire)] = cls(wire)
        return cls.MADE[type(wire)]
