# -*- coding: utf-8 -*-
"""Streams of seeded noise, checked byte for byte: what is lost, doubled, moved or another's shows at once."""

import binascii
import random

LONGEST = 1 << 20  # bytes of one cut


class Tape(object):
    """An endless tape of noise. Its period is a prime, so that no power of two falls in step with it."""

    PERIOD = 1000003

    def __init__(self, seed):
        noise = random.Random(seed).getrandbits(8 * self.PERIOD)
        data = binascii.unhexlify('%0*x' % (2 * self.PERIOD, noise))
        self._data = (data * 3)[:self.PERIOD + LONGEST]

    def cut(self, start, count):
        start %= self.PERIOD
        assert count <= LONGEST
        return self._data[start:start + count]

    def pieces(self, total, size, begin=0):
        """``total`` bytes from ``begin`` on, ``size`` at a time."""
        for start in range(0, total, size):
            yield self.cut(begin + start, min(size, total - start))


class Reading(object):
    """A stream that should be ``tape`` from ``begin`` on, and how far it has come."""

    def __init__(self, tape, begin=0):
        self._tape, self._begin, self.position = tape, begin, 0

    def take(self, data):
        for start in range(0, len(data), LONGEST):
            piece = data[start:start + LONGEST]
            if piece != self._tape.cut(self._begin + self.position, len(piece)):
                raise AssertionError('wrong bytes from %d on' % self.position)
            self.position += len(piece)

    def take_from(self, client, total):
        """Read ``client`` until ``total`` bytes of its target have come."""
        while self.position < total:
            self.take(client.receive_data(1))
        assert self.position == total


def record(sock, reading, total=float('inf')):
    """A target that checks what it gets until there are ``total`` bytes, or until the other side ends."""
    while reading.position < total:
        data = sock.recv(65536)
        if not data:
            return
        reading.take(data)
