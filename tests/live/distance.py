# -*- coding: utf-8 -*-
"""A way to a TCP server that takes its time, as wide as any."""

import contextlib
import select
import socket
import time

from targets import serving


class Way(object):
    """``port`` leads to a server. There and back together takes ``seconds``, which may be changed at any time."""

    def __init__(self, target):
        self._target = target
        self.port, self.seconds = None, 0.0

    def carry(self, near):
        far = socket.create_connection(('127.0.0.1', self._target), 10)
        with contextlib.closing(far):
            carry_between(near, far, lambda: time.time() + self.seconds / 2)


def carry_between(near, far, due):
    """What comes in at one goes out at the other when it is ``due()``."""
    onward, waiting = {near: far, far: near}, []
    while onward or waiting:
        pause = max(0, waiting[0][0] - time.time()) if waiting else None
        for sock in select.select(list(onward), [], [], pause)[0]:
            data = sock.recv(65536)
            waiting.append((due(), onward[sock], data))
            if not data:
                del onward[sock]
        while waiting and waiting[0][0] <= time.time():
            _, drain, data = waiting.pop(0)
            drain.sendall(data) if data else drain.shutdown(socket.SHUT_WR)


@contextlib.contextmanager
def way_to(target):
    """A Way to this port."""
    way = Way(target)
    with serving(way.carry) as way.port:
        yield way
