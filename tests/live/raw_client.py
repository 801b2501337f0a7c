# -*- coding: utf-8 -*-
"""A WebSocket client that does just what it is told, right or wrong, a frame at a time."""

import base64
import json
import os
import select
import socket
import struct
import zlib

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
COMPRESSED = 0x40
OFFER = 'Sec-WebSocket-Extensions', 'permessage-deflate'

KEY = 'dGhlIHNhbXBsZSBub25jZQ=='
REQUEST = ('GET %s HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n'
           'Sec-WebSocket-Key: ' + KEY + '\r\nSec-WebSocket-Version: 13\r\n%s\r\n')


def upgrade_request(path='/', host='127.0.0.1', headers=()):
    lines = ''.join('%s: %s\r\n' % header for header in headers)
    return (REQUEST % (path, host, lines)).encode('latin-1')


def frame(opcode, payload=b'', final=True, mask=None):
    """A masked frame."""
    mask = os.urandom(4) if mask is None else mask
    size = len(payload)
    head = bytearray([opcode | (0x80 if final else 0)])
    if size <= 125:
        head += struct.pack('!B', 0x80 | size)
    elif size <= 0xffff:
        head += struct.pack('!BH', 0x80 | 126, size)
    else:
        head += struct.pack('!BQ', 0x80 | 127, size)
    return bytes(head) + mask + xor(payload, mask)


def compressed_frame(opcode, payload, final=True):
    """The first message of a client that compresses, or the first frame of it."""
    deflater = zlib.compressobj(9, zlib.DEFLATED, -15)
    coded = (deflater.compress(payload) + deflater.flush(zlib.Z_SYNC_FLUSH))[:-4]
    return frame(opcode | COMPRESSED, coded, final)


def sendb_frame(data):
    """A `sendb` request."""
    return frame(TEXT, ('{"command": "sendb", "data": "%s"}' % base64.b64encode(data).decode('ascii')).encode('ascii'))


def xor(payload, mask):
    if not payload or mask == b'\0\0\0\0':
        return bytes(payload)
    data, keys = bytearray(payload), bytearray(mask)
    for i in range(4):
        table = bytes(bytearray(byte ^ keys[i] for byte in range(256)))
        data[i::4] = data[i::4].translate(table)
    return bytes(data)


class RawClient(object):
    """Connected to a gateway; after open() it speaks frames."""

    def __init__(self, address, timeout=10, receive_buffer=None, source=None):
        is_unix = not isinstance(address, (tuple, list))  # then the address is a path
        self.sock = socket.socket(socket.AF_UNIX if is_unix else
                                  socket.AF_INET6 if ':' in address[0] else socket.AF_INET)
        if receive_buffer:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        if source:
            self.sock.bind((source, 0))
        self.sock.settimeout(timeout)
        try:
            self.sock.connect(address if is_unix else tuple(address))
            if not is_unix:
                self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except (IOError, OSError):
            self.sock.close()
            raise
        self._buffer = bytearray()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.sock.close()

    def send(self, data):
        self.sock.sendall(data)

    def send_frame(self, opcode, payload=b'', final=True):
        self.send(frame(opcode, payload, final))

    def send_json(self, **request):
        self.send_frame(TEXT, json.dumps(request).encode('utf-8'))

    def open(self, path='/', headers=()):
        """Make the handshake; self."""
        self.send(upgrade_request(path, '127.0.0.1', headers))
        head = self.receive_head()
        assert head.startswith(b'HTTP/1.1 101 '), head
        return self

    def receive_head(self):
        """The head of an HTTP reply; what comes after it is kept."""
        while b'\r\n\r\n' not in self._buffer:
            self._fill()
        end = self._buffer.index(b'\r\n\r\n') + 4
        head = bytes(self._buffer[:end])
        del self._buffer[:end]
        return head

    def receive_reply(self):
        """(status, headers by lower-case name, body) of an HTTP reply, after which the gateway closes."""
        lines = self.receive_head().decode('latin-1').split('\r\n')
        headers = [line.split(': ', 1) for line in lines[1:] if line]
        return int(lines[0].split(' ')[1]), {name.lower(): value for name, value in headers}, self.receive_all()

    def receive_all(self):
        """Everything until the gateway closes; after it the connection is at its end."""
        while True:
            try:
                self._fill()
            except EOFError:
                return bytes(self._buffer)

    def wait_for_more(self, seconds):
        """Read until nothing has come for ``seconds``, or the gateway has closed; all is kept."""
        patience = self.sock.gettimeout()
        self.sock.settimeout(seconds)
        try:
            while True:
                self._fill()
        except (socket.timeout, EOFError):
            self.sock.settimeout(patience)

    def has_news(self, seconds=0.05):
        """Has something come that is not read yet? The socket's own patience is also that of whoever sends."""
        poller = select.poll()
        poller.register(self.sock, select.POLLIN)
        return bool(self._buffer or poller.poll(1000 * seconds))

    def _fill(self):
        data = self.sock.recv(65536)
        if not data:
            raise EOFError('the gateway has closed the connection')
        self._buffer += data

    def _need(self, count):
        while len(self._buffer) < count:
            self._fill()

    def receive_frame(self):
        """(opcode, payload) of the next frame, which must be unmasked and whole; ``is_compressed``: was it?"""
        self._need(2)
        first, size = self._buffer[0], self._buffer[1]
        assert first & 0x80, 'fragmented'
        self.is_compressed = bool(first & COMPRESSED)
        assert size < 128, 'masked'
        start = {126: 4, 127: 10}.get(size, 2)
        self._need(start)
        if start > 2:
            size = int(base64.b16encode(bytes(self._buffer[2:start])), 16)
        self._need(start + size)
        payload = bytes(self._buffer[start:start + size])
        del self._buffer[:start + size]
        return first & 15, payload

    def receive_text(self):
        """The payload of the next frame, which must be a text."""
        opcode, payload = self.receive_frame()
        assert opcode == TEXT, (opcode, payload[:100])
        return payload

    def receive_json(self):
        return json.loads(self.receive_text().decode('utf-8'))

    def ask(self, **request):
        """Send a JSON request; the next message as an object."""
        self.send_json(**request)
        return self.receive_json()

    def connect_to(self, port, host='127.0.0.1', **fields):
        """Have the gateway connect; fails the test when it does not."""
        reply = self.ask(command='connect', host=host, port=port, **fields)
        assert reply == {'success': True, 'code': 0, 'message': 'connect done'}, reply
        return self

    def receive_data(self, count):
        """``count`` bytes of the target, from code -1 texts and binary messages; other replies are passed over."""
        data = bytearray()
        while len(data) < count:
            opcode, payload = self.receive_frame()
            if opcode == BINARY:
                data += payload
            elif opcode == TEXT:
                reply = json.loads(payload.decode('utf-8'))
                assert reply['success'], reply
                data += base64.b64decode(reply.get('data', ''))
        return bytes(data)

    def receive_close(self):
        """(code, reason) of the Close that must come next; code None when it has none."""
        opcode, payload = self.receive_frame()
        assert opcode == CLOSE, (opcode, payload[:100])
        if not payload:
            return None, ''
        return struct.unpack('!H', payload[:2])[0], payload[2:].decode('utf-8')

    def is_ended(self):
        """Has the gateway closed the connection, with nothing more to read?"""
        try:
            data = self.sock.recv(65536)
        except socket.timeout:
            return False
        except (IOError, OSError):
            return True
        self._buffer += data
        return not data and not self._buffer

    def close(self, code=1000):
        """The close handshake from this side."""
        self.send_frame(CLOSE, struct.pack('!H', code))
        while self.receive_frame()[0] != CLOSE:
            pass
        assert self.is_ended()
        self.sock.close()

    def finish(self):
        """Close our half; the gateway must then close its own, and nothing may have been reset."""
        self.sock.shutdown(socket.SHUT_WR)
        assert self.receive_all() == b''
        assert self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0

    def abort(self):
        """End with a RST."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
        self.sock.close()


def exchange(address, request):
    """Send ``request`` over a connection of its own; what receive_reply() gives."""
    with RawClient(address) as client:
        client.send(request)
        return client.receive_reply()
