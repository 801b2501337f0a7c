"""What the processes of one run share: the phase that it is in, and counters. Pattern bytes that all know."""
import hashlib
import multiprocessing.sharedctypes

WARMING, MEASURING, STOPPING, ENDED = range(4)

BLOCK = 65536
PATTERN = b''.join(hashlib.sha512(b'ws2s %d' % number).digest() for number in range(16 * BLOCK // 64))
LOOKED_AT = 48  # bytes of each piece that are compared while it is measured; the pass before compares all
UNROLLED = PATTERN + PATTERN[:LOOKED_AT]

PHASE = 0
SENT, RECEIVED, DONE, WRONG = range(4)
COUNTERS = 4


class Board(object):
    """Counters by writer: each process has its own, so that no increment is lost."""

    def __init__(self, writers):
        self.words = multiprocessing.sharedctypes.RawArray('Q', 1 + COUNTERS * writers)

    @property
    def phase(self):
        return self.words[PHASE]

    @phase.setter
    def phase(self, phase):
        self.words[PHASE] = phase

    @staticmethod
    def place(writer, counter):
        return 1 + COUNTERS * writer + counter

    def total(self, counter):
        return sum(self.words[1 + counter::COUNTERS])


def is_pattern(head, position):
    start = position % len(PATTERN)
    return UNROLLED[start:start + len(head)] == head
