# -*- coding: utf-8 -*-
"""ws2s.js: its tests run in Node, and one file of them talks to a gateway on this very Python."""

import glob
import os
import signal
import subprocess
import sys
import threading

import pytest

from installed import needs, needs_node_modules
from program import REPOSITORY

pytestmark = [pytest.mark.pages, pytest.mark.timeout(320)]

TESTS = os.path.join(REPOSITORY, 'tests', 'js')
FILES = sorted(os.path.basename(path) for path in glob.glob(os.path.join(TESTS, '*.test.js')))
PROGRAMS = {
    'gateway.test.js': ('redis-server', 'redis-server'), 'gateway_cluster.test.js': ('redis-server', 'redis-server'),
    'gateway_tls.test.js': ('openssl', 'openssl'), 'sockets_gateway.test.js': ('openssl', 'openssl'),
    'net.test.js': ('node', 'nodejs'), 'nettls.test.js': ('openssl', 'openssl'),
}
SECONDS = 300


def run_node(name, **variables):
    """(exit status, what the file's tests have written)."""
    command = [needs('node', 'nodejs'), '--test', '--test-reporter=tap', os.path.join(TESTS, name)]
    process = subprocess.Popen(command, cwd=REPOSITORY, env=dict(os.environ, **variables), close_fds=True,
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT, preexec_fn=os.setsid)
    # The whole group: the tests start a gateway and a redis-server of their own.
    killer = threading.Timer(SECONDS, os.killpg, (process.pid, signal.SIGKILL))
    killer.start()
    try:
        output = process.communicate()[0]
    finally:
        killer.cancel()
        killer.join()
    return process.returncode, output.decode('utf-8', 'replace')


def needs_for(name):
    """The variables for a file of tests. What it would skip for want of a program is skipped here, where it is seen."""
    if name in ('types.test.js', 'examples.test.js'):
        return {'WS2S_TEST_NODE_MODULES': needs_node_modules()}
    if name not in PROGRAMS:
        return {}
    needs(*PROGRAMS[name])
    return {'WS2S_TEST_NODE_MODULES': needs_node_modules(), 'WS2S_TEST_PYTHON': sys.executable}


@pytest.mark.parametrize('name', FILES)
def test_in_node(name):
    status, output = run_node(name, **needs_for(name))
    assert status == 0, output
    assert '# skipped 0' in output, output
