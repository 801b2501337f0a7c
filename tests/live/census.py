# -*- coding: utf-8 -*-
"""What this process, or a gateway in it, holds."""

import os
import threading

import ws2s

DESCRIPTORS = '/proc/self/fd' if os.path.isdir('/proc/self/fd') else '/dev/fd'


def descriptors():
    """What each open descriptor of this process leads to."""
    found = {}
    for name in os.listdir(DESCRIPTORS):
        try:
            found[name] = os.readlink(os.path.join(DESCRIPTORS, name))
        except OSError:
            pass  # the one that listed them
    return found


def children():
    """Processes begun by this one that have not been reaped."""
    found = []
    for task in os.listdir('/proc/self/task') if os.path.isdir('/proc/self/task') else ():
        try:
            with open('/proc/self/task/%s/children' % task) as file:
                found += file.read().split()
        except (IOError, OSError):
            pass  # that thread has just ended
    return sorted(found)


def census():
    threads = sorted(thread.name for thread in threading.enumerate())
    return {'threads': threads, 'descriptors': len(descriptors()), 'children': children()}


def is_empty(gateway):
    """Does the gateway hold nothing of any client any more?"""
    return not (gateway.clients or gateway.upstreams or gateway.tunnels.tunnels or gateway.budget.bytes
                or gateway.budget.left or gateway.loop.pipes.lent)


def sessions(gateway):
    """Its WebSockets, from the 101 to the Close; the loop's thread may be changing the set."""
    return [client for client in list(gateway.clients) if isinstance(client, ws2s.Session)]
