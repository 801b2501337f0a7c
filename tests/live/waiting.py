# -*- coding: utf-8 -*-
"""Waiting for a condition, with a deadline; never for time."""

import time


def wait_until(condition, seconds=30, what='the condition'):
    """The first true value of ``condition()``. AssertionError when there is none within ``seconds``."""
    deadline = time.time() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.time() < deadline, 'waited %s s for %s' % (seconds, what)
        time.sleep(0.005)


def wait_until_still(value, seconds=30, still=0.4):
    """What ``value()`` is when it has not changed for ``still`` seconds."""
    deadline = time.time() + seconds
    last, since = value(), time.time()
    while time.time() - since < still:
        assert time.time() < deadline, 'it still moves after %s s: %r' % (seconds, last)
        time.sleep(0.01)
        if value() != last:
            last, since = value(), time.time()
    return last


def assert_holds(condition, seconds, what='the condition'):
    """``condition()`` is true all the time for ``seconds``."""
    end = time.time() + seconds
    while time.time() < end:
        assert condition(), '%s held only until %.2f s before the end' % (what, end - time.time())
        time.sleep(0.01)
