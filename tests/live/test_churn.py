# -*- coding: utf-8 -*-
"""A service under which clients come and go and whose configuration is read again and again, for as long as one
wants: WS2S_TEST_CHURN_SECONDS (60), of which the README's figures had 1,800."""

import contextlib
import os
import subprocess
import sys
import time

import pytest

from raw_client import BINARY, RawClient
from service import Crowd, Service, echoing, ended
from waiting import wait_until

pytestmark = [pytest.mark.soak, pytest.mark.quiet]

SECONDS = float(os.environ.get('WS2S_TEST_CHURN_SECONDS', 60))
RATE, IDLE = 300, 500
CHURN = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'churn.py')
# Allocators give and take pages of 64 KB and more: that much may a worker have more in the last third than before.
SLACK_KB = 1024
PING_SECONDS = 0.050  # 0.003 to 0.02 were seen; no machine of tests is ever quite alone


@contextlib.contextmanager
def churning(address, port):
    """A function that ends what comes and goes, and tells how many clients came."""
    process = subprocess.Popen([sys.executable, CHURN, address[0], str(address[1]), str(port), str(RATE)],
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def finish():
        output, errors = process.communicate()
        assert (process.returncode, errors) == (0, b''), errors
        return int(output)

    try:
        yield finish
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def resident_kb(pid):
    with open('/proc/%d/status' % pid) as file:
        return next(int(line.split()[1]) for line in file if line.startswith('VmRSS:'))


def descriptors_of(pid):
    return len(os.listdir('/proc/%d/fd' % pid))


class Watch(object):
    """What one client waits for an answer, and what the workers hold, all the time."""

    def __init__(self, service, client):
        self._service, self._client = service, client
        self.waits, self.resident = [], []  # seconds; (seconds since the beginning, KB of all workers)
        self._begun = time.time()

    def elapsed(self):
        return time.time() - self._begun

    def go_on(self, until):
        while self.elapsed() < until:
            self._ping()
            if not self.resident or self.elapsed() > self.resident[-1][0] + 1:
                self.resident.append((self.elapsed(), sum(map(resident_kb, self._service.workers))))
            time.sleep(0.02)

    def _ping(self):
        began = time.time()
        self._client.send_frame(BINARY, b'ping')
        assert self._client.receive_data(4) == b'ping'
        self.waits.append(time.time() - began)

    def p99(self):
        return sorted(self.waits)[int(len(self.waits) * 0.99)]

    def most_resident(self, begin, end):
        """The most in these parts of the time."""
        whole = self.resident[-1][0]
        return max(kb for seconds, kb in self.resident if begin * whole <= seconds <= end * whole)


@pytest.mark.timeout(SECONDS + 240)
def test_clients_that_come_and_go_leave_nothing_and_hold_nobody_up(tmpdir, many_descriptors):
    with ended(Service(tmpdir)) as service, echoing() as port:
        service.start()
        workers = service.workers
        before = list(map(descriptors_of, workers))
        with Crowd(service.address, IDLE, port), RawClient(service.address) as client:
            client.open().connect_to(port, binary=True)
            watch = Watch(service, client)
            with churning(service.address, port) as finish:
                while watch.elapsed() < SECONDS:
                    watch.go_on(min(SECONDS, watch.elapsed() + 10))
                    service.do('reload')
                came = finish()
        assert service.workers == workers
        wait_until(lambda: list(map(descriptors_of, workers)) == before, 30, 'the descriptors of those who went')
        growth = watch.most_resident(2 / 3.0, 1) - watch.most_resident(1 / 3.0, 2 / 3.0)
        print('%d came, %d pings, p99 %.1f ms, %d KB, in the last third %+d KB' % (
            came, len(watch.waits), 1000 * watch.p99(), watch.resident[-1][1], growth))
        assert came > RATE * SECONDS / 2
        assert growth <= SLACK_KB
        assert watch.p99() < PING_SECONDS
        service.do('stop')
        assert service.processes() == []
