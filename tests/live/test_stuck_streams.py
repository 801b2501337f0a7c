# -*- coding: utf-8 -*-
"""S06: beside a stream whose target takes nothing another one keeps its rate, and the gateway its size."""

import contextlib
import socket
import time

import pytest

from load import load
from program import running_program
from raw_client import BINARY, RawClient, frame
from wisp_client import DATA, WispClient, packet

pytestmark = [pytest.mark.quiet, pytest.mark.programs]

MEGABYTE = 1 << 20
PIECE = 65536
MEASURED = 16 * MEGABYTE
SHARE = 0.8             # of its rate that a live stream keeps
LEAST, MOST = 5, 60     # turns; other programs here may slow each of them down, but not all
LIVE, STUCK = 1, 9
UNMASKED = b'\0\0\0\0'
GROWTH = 16 * MEGABYTE  # of the gateway: limits.messageBytes, which one client may make it hold


class Wisp(object):
    """Both streams on one WebSocket."""

    def __init__(self, address):
        self.client = WispClient(address, timeout=30).begin()

    def ends(self):
        return [self.client]

    def get_stuck(self, port):
        self.client.connect(STUCK, port)
        while self.client.credit[STUCK] or self.client.has_news(0.5):
            if self.client.credit[STUCK]:
                self._send(STUCK)
            else:
                self.client.take()

    def _send(self, stream):
        self.client.credit[stream] -= 1
        self.client.send(frame(BINARY, packet(DATA, stream, b'x' * PIECE), mask=UNMASKED))

    def connect(self, port):
        self.client.connect(LIVE, port)

    def download(self):
        data = self.client.data.setdefault(LIVE, bytearray())
        self.client.take_until(lambda: len(data) >= MEASURED)
        del data[:]

    def upload(self):
        for _ in range(MEASURED // PIECE):
            self.client.take_until(lambda: self.client.credit[LIVE] > 0)
            self._send(LIVE)
        self.client.take_until(lambda: self.client.data.pop(LIVE, None))


class Raw(object):
    """Each stream is a client."""

    def __init__(self, address):
        self.client, self._stuck = RawClient(address, timeout=30), RawClient(address, timeout=0.5)

    def ends(self):
        return [self.client, self._stuck]

    def get_stuck(self, port):
        self._stuck.open('/127.0.0.1:%d' % port)
        with pytest.raises(socket.timeout):
            while True:
                self._stuck.send(frame(BINARY, b'x' * PIECE))

    def connect(self, port):
        self.client.open('/127.0.0.1:%d' % port)

    def download(self):
        self.client.receive_data(MEASURED)

    def upload(self):
        for _ in range(MEASURED // PIECE):
            self.client.send(frame(BINARY, b'x' * PIECE, mask=UNMASKED))
        assert self.client.receive_data(1) == b'.'


@contextlib.contextmanager
def gateway():
    with running_program({'allowConnectToServerLocal': True, 'limits': {'stallSeconds': 0}}) as program:
        yield program


@contextlib.contextmanager
def streams(kind, program):
    pair = kind(program.address)
    try:
        yield pair
    finally:
        for end in pair.ends():
            end.sock.close()


def seconds(act):
    begun = time.time()
    act()
    return time.time() - begun


@pytest.mark.parametrize('kind', [Raw, Wisp])
@pytest.mark.parametrize('way, target', [('download', 'flooding_for_ever'), ('upload', 'counting')],
                         ids=['download', 'upload'])
def test_beside_a_stuck_stream_a_live_one_keeps_its_rate(kind, way, target):
    with gateway() as free, gateway() as burdened, load('holding') as holding, load(target, MEASURED) as first, \
            load(target, MEASURED) as second, streams(kind, free) as alone, streams(kind, burdened) as beside:
        before = burdened.resident_bytes()  # it listens: all of it is there
        beside.get_stuck(int(holding.wait_for('port')))
        alone.connect(int(first.wait_for('port')))
        beside.connect(int(second.wait_for('port')))
        quickest = {alone: float('inf'), beside: float('inf')}
        for turn in range(MOST):
            for each in (alone, beside):
                quickest[each] = min(quickest[each], seconds(getattr(each, way)))
            if turn >= LEAST and quickest[beside] <= quickest[alone] / SHARE:
                break
        rates = [MEASURED / MEGABYTE / quickest[each] for each in (alone, beside)]
        print('%d turns: %.0f MB/s alone, %.0f MB/s beside a stuck one' % ((turn + 1,) + tuple(rates)))
        assert rates[1] >= SHARE * rates[0]
        assert burdened.peak_bytes() < before + GROWTH
