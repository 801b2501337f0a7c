# -*- coding: utf-8 -*-
"""One who does nobody any harm, and how long he has to wait: a program of its own, so that nobody else holds its
interpreter lock. ``python innocent.py HOST PORT TARGET_PORT SOURCE TRIPS...``; each `go` is one measurement, of so
many trips."""

import contextlib
import json
import math
import os
import socket
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from load import running, tell, wait_for_line  # noqa: E402
from raw_client import BINARY, RawClient  # noqa: E402

TRIP_SECONDS = 0.01   # between the beginnings of two
OPEN_SECONDS = 0.1
MOST_SECONDS = 4      # of one measurement; what is not answered by then has taken so long


# -- for the test ------------------------------------------------------------------------------------------------------

class Measured(object):
    """Milliseconds of round trips and of fresh opens with a connect, and what was refused or cut off."""

    def __init__(self, trips, opens, refused):
        self.trips, self.opens, self.refused = trips, opens, refused

    def __repr__(self):
        return 'trips %s, opens %s, refused %r' % (in_short(self.trips), in_short(self.opens), self.refused)


def in_short(values):
    return '%d: p50 %.1f p99 %.1f ms' % (len(values), percentile(values, 0.5), percentile(values, 0.99))


def percentile(values, share):
    """The nearest rank; without any value all is lost."""
    return sorted(values)[int(math.ceil(share * len(values))) - 1] if values else float('inf')


class Innocent(object):
    """The running program, with a WebSocket and a target."""

    def __init__(self, program):
        self._program, self._count = program, 0
        program.wait_for('connected')

    def measure(self):
        self._count += 1
        self._program.go()
        return Measured(**json.loads(self._program.wait_for('measured-%d' % self._count)))


@contextlib.contextmanager
def innocent(address, target_port, counts, source='127.0.0.1'):
    """``counts`` is how many trips each measurement has."""
    with running(os.path.abspath(__file__), address[0], address[1], target_port, source, *counts) as program:
        yield Innocent(program)


# -- the program -------------------------------------------------------------------------------------------------------

class Measurement(object):

    def __init__(self, connect, client, count):
        self._connect, self._client, self._count = connect, client, count
        self._end, self._trips_are_over = time.time() + MOST_SECONDS, threading.Event()
        self.trips, self.opens, self.refused = [], [], []

    def run(self):
        opening = threading.Thread(target=self._paced, args=(self._open, self.opens, OPEN_SECONDS))
        opening.start()
        self._paced(self._trip, self.trips, TRIP_SECONDS)
        self._trips_are_over.set()
        opening.join()

    def _paced(self, act, taken, seconds):
        """``act`` again and again, each ``seconds`` after the one before has begun or at once when that was longer."""
        while time.time() < self._end and len(taken) < self._count and not self._trips_are_over.is_set():
            begun = time.time()
            try:
                act()
            except socket.timeout:
                pass  # it counts as long as was waited for it
            except (IOError, OSError, EOFError, AssertionError) as error:
                self.refused.append('%s: %r' % (act.__name__, error))
            taken.append(1000 * (time.time() - begun))
            self._trips_are_over.wait(max(0, begun + seconds - time.time()))

    def _patience(self):
        return max(0.001, self._end - time.time())

    def _trip(self):
        mark = b'%c' % (len(self.trips) % 256)
        self._client.sock.settimeout(self._patience())
        self._client.send_frame(BINARY, mark)
        while self._client.receive_data(1)[-1:] != mark:
            pass  # of a trip before this one, for which nobody has waited

    def _open(self):
        with self._connect(self._patience()):
            pass


def main(host, port, target_port, source, *counts):
    def connect(patience):
        client = RawClient((host, int(port)), timeout=patience, source=source)
        try:
            return client.open().connect_to(int(target_port), binary=True)
        except BaseException:
            client.sock.close()
            raise

    with connect(60) as client:
        tell('connected')
        for number, count in enumerate(counts, 1):
            if not wait_for_line():
                return
            measurement = Measurement(connect, client, int(count))
            measurement.run()
            tell('measured-%d' % number, json.dumps({'trips': measurement.trips, 'opens': measurement.opens,
                                                     'refused': measurement.refused[:5]}))
        wait_for_line()


if __name__ == '__main__':
    main(*sys.argv[1:])
