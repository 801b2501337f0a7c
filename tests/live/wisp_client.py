# -*- coding: utf-8 -*-
"""A client of Wisp that does just what it is told."""

import struct

from raw_client import BINARY, RawClient

CONNECT, DATA, CONTINUE, END, INFO = 1, 2, 3, 4, 5
TCP, UDP = 1, 2
HEAD, CREDIT = struct.Struct('<BI'), struct.Struct('<I')
FIRST_CREDIT = 16  # packets of a new stream


def packet(kind, stream, payload=b''):
    return HEAD.pack(kind, stream) + payload


def connect(stream, port, host=b'127.0.0.1', kind=TCP):
    return packet(CONNECT, stream, struct.pack('<BH', kind, port) + host)


INFO_2 = packet(INFO, 0, b'\2\0')


class WispClient(RawClient):
    """``credit``, ``data`` and ``ended`` by stream, of what has come so far."""

    def begin(self):
        """As version 1 has it."""
        return self._begin('/wisp/')

    def begin_2(self):
        """As version 2 has it, which an offer on any path begins."""
        return self._begin('/any', [('Sec-WebSocket-Protocol', 'wisp-v2')], INFO_2)

    def _begin(self, path, headers=(), info=b''):
        self.open(path, headers)
        self.credit, self.data, self.ended = {}, {}, {}
        if info:
            assert self.receive_frame()[1][:7] == INFO_2
            self.send_frame(BINARY, info)
        self.take()
        assert self.credit == {0: FIRST_CREDIT}
        return self

    def take(self):
        """One packet."""
        opcode, payload = self.receive_frame()
        assert opcode == BINARY
        kind, stream = HEAD.unpack(payload[:HEAD.size])
        if kind == CONTINUE:
            self.credit[stream] = CREDIT.unpack(payload[HEAD.size:])[0]
        elif kind == DATA:
            self.data.setdefault(stream, bytearray()).extend(payload[5:])
        else:
            assert kind == END
            self.ended[stream] = bytearray(payload)[5]

    def take_until(self, condition):
        while not condition():
            self.take()

    def packet(self, kind, stream, payload=b''):
        self.send_frame(BINARY, packet(kind, stream, payload))

    def connect(self, stream, port, host=b'127.0.0.1', kind=TCP):
        self.credit[stream] = FIRST_CREDIT
        self.send_frame(BINARY, connect(stream, port, host, kind))

    def write(self, stream, data, size=16384):
        """As a client that keeps to its credit."""
        for start in range(0, len(data), size):
            self.take_until(lambda: self.credit[stream] > 0)
            self.credit[stream] -= 1
            self.packet(DATA, stream, data[start:start + size])
