# -*- coding: utf-8 -*-
"""Clients that come at an even rate, have an echo target say something, and leave; until standard input ends.

    python churn.py HOST PORT TARGET_PORT CLIENTS_A_SECOND

A program of its own, so that whoever measures meanwhile shares no interpreter with it. It prints how many came.
"""
import select
import sys
import threading
import time

from raw_client import BINARY, RawClient

THREADS = 4  # of which each may wait for a reply while others go on


class Churn(object):
    def __init__(self, address, port, rate):
        self._address, self._port, self._pause = address, port, THREADS / float(rate)
        self._stopped, self.counts, self.errors = threading.Event(), [0] * THREADS, []

    def run(self, number):
        due = time.time()
        try:
            while not self._stopped.is_set():
                self._visit()
                self.counts[number] += 1
                due += self._pause
                self._stopped.wait(max(0, due - time.time()))
        except BaseException as error:  # whoever began this program is told
            self.errors.append(repr(error))

    def _visit(self):
        with RawClient(self._address, timeout=20) as client:
            client.open().connect_to(self._port, binary=True)
            client.send_frame(BINARY, b'here I am')
            if client.receive_data(9) != b'here I am':
                raise AssertionError('other bytes came back')

    def stop(self):
        self._stopped.set()


def main(host, port, target, rate):
    churn = Churn((host, int(port)), int(target), float(rate))
    threads = [threading.Thread(target=churn.run, args=(number,)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    while not churn.errors and not select.select([sys.stdin], [], [], 0.2)[0]:
        pass
    churn.stop()
    for thread in threads:
        thread.join()
    print(sum(churn.counts))
    return '\n'.join(churn.errors) or None


if __name__ == '__main__':
    sys.exit(main(*sys.argv[1:]))
