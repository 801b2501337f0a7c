# -*- coding: utf-8 -*-
"""Programs of Node that play pages: clients of others, run as they come from npm."""

import contextlib
import json
import os
import subprocess
import threading

from installed import needs, needs_node_modules

LIVE = os.path.dirname(os.path.abspath(__file__))
PACKAGES = {'neon_client.js': '@neondatabase/serverless', 'v86_client.js': 'v86'}  # that the scripts run


class NodeProgram(object):
    """``node [FLAG...] SCRIPT SETTINGS``, with npm's packages below NODE_PATH; it writes one JSON value."""

    def __init__(self, script, settings, flags):
        environment = dict(os.environ, NODE_PATH=needs_node_modules(PACKAGES[script]), NODE_NO_WARNINGS='1')
        self._process = subprocess.Popen(
            [needs('node', 'nodejs')] + list(flags) + [os.path.join(LIVE, script), json.dumps(settings)],
            env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, close_fds=True)

    def result(self, text=b'', seconds=90):
        """What it has written when it has ended well; it is told ``text``."""
        killer = threading.Timer(seconds, self._process.kill)
        killer.start()
        try:
            output, errors = self._process.communicate(text)
        finally:
            killer.cancel()
            killer.join()
        assert self._process.returncode == 0, (self._process.returncode, errors.decode('utf-8'))
        return json.loads(output.decode('utf-8'))

    def end(self):
        if self._process.returncode is None:
            self._process.kill()
            self._process.communicate()


@contextlib.contextmanager
def running_node(script, flags=(), **settings):
    program = NodeProgram(script, settings, flags)
    try:
        yield program
    finally:
        program.end()


def run_node(script, flags=(), **settings):
    """What the script has written."""
    with running_node(script, flags, **settings) as program:
        return program.result()
