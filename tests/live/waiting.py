# -*- coding: utf-8 -*-
"""Waiting for a condition, with a deadline; never for time."""

import time


def wait_until(condition, seconds=10, what='the condition'):
    """The first true value of ``condition()``. AssertionError when there is none within ``seconds``."""
    deadline = time.time() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.time() < deadline, 'waited %s s for %s' % (seconds, what)
        time.sleep(0.005)
