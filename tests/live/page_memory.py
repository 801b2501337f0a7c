# -*- coding: utf-8 -*-
"""Much data for a page and from one, and what memory the page takes for it."""

import binascii
import hashlib
import threading

from tape import Tape

MEGABYTE = 1 << 20
NOISE = Tape(23)


class ChainedHash(object):
    """As that of library.js: of whole megabytes, each behind the hash of all before it."""

    def __init__(self):
        self._hash, self._piece = b'\0' * 32, bytearray()

    def add(self, data):
        self._piece += data
        while len(self._piece) >= MEGABYTE:
            self._hash = hashlib.sha256(self._hash + bytes(self._piece[:MEGABYTE])).digest()
            del self._piece[:MEGABYTE]

    @property
    def hex(self):
        return binascii.hexlify(self._hash).decode('ascii')


class Flood(object):
    """A target that says ``total`` bytes of noise; ``sent`` so far, and the hash that the page must come to."""

    def __init__(self, total):
        self.total, self.sent, self._hash = total, 0, ChainedHash()

    def __call__(self, sock):
        for piece in NOISE.pieces(self.total, MEGABYTE):
            self._hash.add(piece)
            for start in range(0, len(piece), 65536):
                part = piece[start:start + 65536]
                sock.sendall(part)
                self.sent += len(part)

    @property
    def hex(self):
        return self._hash.hex


def resident_bytes(pid):
    """Without what it shares with other processes of the browser, such as the program itself."""
    with open('/proc/%d/status' % pid) as file:
        sizes = dict(line.split(':', 1) for line in file)
    return sum(int(sizes[name].split()[0]) for name in ('RssAnon', 'RssShmem')) * 1024


class MemoryWatch(object):
    """How far the memory of each process has grown at most since the beginning."""

    def __init__(self, pids):
        self.begun = {pid: resident_bytes(pid) for pid in pids}
        self.most = dict(self.begun)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self):
        while not self._over.wait(0.02):
            for pid in self.most:
                self.most[pid] = max(self.most[pid], resident_bytes(pid))

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        self._thread.join()

    def growth(self):
        return max(self.most[pid] - self.begun[pid] for pid in self.begun)


def heap_bytes(page):
    metrics = page.call('Performance.getMetrics')['metrics']
    return next(metric['value'] for metric in metrics if metric['name'] == 'JSHeapUsedSize')


class SlowSink(object):
    """A target that reads nothing before ``begin`` is set; ``hex`` once it has read all there is."""

    def __init__(self):
        self.begin, self.received, self.hex = threading.Event(), 0, None

    def __call__(self, sock):
        self.begin.wait()
        chain = ChainedHash()
        for data in iter(lambda: sock.recv(65536), b''):
            chain.add(data)
            self.received += len(data)
        self.hex = chain.hex
