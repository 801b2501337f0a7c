# -*- coding: utf-8 -*-
"""The bench measures: each mode runs for a moment, and what is broken has no figures. Python 3.8 and newer only."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import xml.etree.ElementTree

import pytest

from program import REPOSITORY
from waiting import wait_until

__test__ = sys.version_info >= (3, 8)
pytestmark = pytest.mark.programs

TESTS = os.path.join(REPOSITORY, 'tests')
BENCH = os.path.join(TESTS, 'bench', 'bench.py')
SECONDS = 60
TRANSFER = ['CPU s/GB', 'MB/s']
TRIPS = [u'CPU µs each', '/s', u'p50 µs', u'p99 µs']

BROKEN = """
import sys, threading
sys.path.insert(0, %r)
import ws2s

on_received, write = ws2s.Upstream.on_received, ws2s.Upstream.write
ws2s.Upstream.on_received = lambda self, stream, data: on_received(self, stream, down(bytes(data)))
ws2s.Upstream.write = lambda self, data: write(self, up(bytes(data)))
ws2s.CAN_SPLICE = False  # what goes through a pipe is seen by nobody
down = up = lambda data: data
%s
with open(sys.argv[2]) as file:
    config = ws2s.parse_config(file.read())
gateway = ws2s.Gateway(config)
gateway.start()
sys.stderr.write('listens on %%s:%%d\\n' %% gateway.address)
threading.Event().wait()
"""
CHANGED = "(lambda data: data[:-1] + b'\\0' if len(data) > 1000 else data)"
DOUBLED = "(lambda data: data + data[-1:] if len(data) > 1000 else data)"
WITHOUT_PEERS = """
import sys
sys.path[:0] = [%r, %r]
import bench, environments
environments.ENVS = '/nonexistent'
bench.main('--compare --json --only idle --forms binary --clients 1 --rounds 1'.split())
"""


@pytest.fixture
def environment(tmpdir):
    return dict(os.environ, TMPDIR=str(tmpdir), PYTHONDONTWRITEBYTECODE='1')


@contextlib.contextmanager
def begun(arguments, environment):
    """A running bench whose processes and files are all in the folder of TMPDIR."""
    command = [sys.executable, BENCH, '--python', sys.executable] + list(arguments)
    process = subprocess.Popen(command, cwd=environment['TMPDIR'], env=environment, stdin=subprocess.DEVNULL,
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        yield process
    finally:
        process.terminate()
        process.communicate(timeout=SECONDS)


def run_bench(environment, *arguments):
    """(exit status, output)"""
    with begun(('--rounds', '1', '--seconds', '0.2') + arguments, environment) as process:
        output = process.communicate(timeout=SECONDS)[0].decode('utf-8')
    return process.returncode, output


def lines_of(output):
    return [json.loads(line) for line in output.splitlines()]


def measured(environment, *arguments):
    """What --json prints after the line about the machine."""
    status, output = run_bench(environment, '--json', *arguments)
    assert status == 0, output
    machine, results = lines_of(output)[0], lines_of(output)[1:]
    assert machine['machine']['cores'] == os.cpu_count()
    return results


@pytest.mark.parametrize('mode, form, figures', [
    ('download', 'mixed', TRANSFER),
    ('upload', 'mixed', TRANSFER),
    ('round-trip', 'mixed', TRIPS),
    ('open', 'json', TRIPS),
    ('open', 'raw', TRIPS),
    ('streams', 'wisp', TRIPS),
    ('latency', 'binary', [u'p50 µs', u'p99 µs', 'MB/s']),
])
def test_each_mode_gives_its_figures(environment, mode, form, figures):
    (result,) = measured(environment, '--only', mode, '--forms', form, '--clients', '3')
    assert (result['mode'], result['form'], result['clients'], result['server']) == (mode, form, 3, 'ws2s')
    assert list(result['figures']) == figures
    # The CPU clock ticks 100 times a second: of a moment it may show nothing.
    assert all(value > 0 or name.startswith('CPU') for name, value in result['figures'].items())


def test_idle_clients_take_memory(environment):
    (result,) = measured(environment, '--only', 'idle', '--forms', 'binary', '--clients', '1000')
    assert 0.5 < result['figures']['KB each'] < 20


def test_two_gateways_take_turns_and_are_compared(environment):
    other = os.path.join(REPOSITORY, 'ws2s.py')
    ours, theirs, ratios = measured(environment, '--only', 'round-trip', '--forms', 'binary', '--clients', '1',
                                    '--gateway', other)
    assert (ratios['server'], ratios['against']) == (ours['server'], theirs['server']) == ('ws2s', other)
    assert ratios['ratios']['/s'] == pytest.approx(ours['figures']['/s'] / theirs['figures']['/s'])


def test_lines_table_and_picture_come_from_what_was_measured(environment, tmpdir):
    saved, picture = tmpdir.join('saved.json'), tmpdir.join('picture.svg')
    lines = [{'machine': {'processor': 'an abacus', 'cores': 3, 'system': 'Beads 1', 'load before': 0.5}},
             {'mode': 'download', 'form': 'json', 'clients': 4, 'server': 'ws2s', 'about': 'Python 2.7', 'busy': 0.95,
              'figures': {'CPU s/GB': 1.234, 'MB/s': 1234.5}},
             {'mode': 'download', 'form': 'json', 'clients': 4, 'server': 'ws2s-2.1.5', 'about': 'old',
              'failure': 'it ended'},
             {'server': 'websocat', 'missing': 'not installed'}]
    saved.write('\n'.join(map(json.dumps, lines)))
    status, output = run_bench(environment, '--from', str(saved), '--table', '--plot', str(picture))
    assert status == 1
    assert output.splitlines()[:4] == [
        'an abacus, 3 cores, Beads 1, load before 0.5',
        'download   json      4 clients  ws2s         1.23 CPU s/GB   1,234 MB/s   (bench 95 % busy)',
        'download   json      4 clients  ws2s-2.1.5   FAILED: it ended',
        'websocat: not installed']
    assert '| ws2s, JSON (Python 2.7) | 1.23 (1,234) |' in output
    assert '| ws2s-2.1.5, JSON (old) | failed |' in output
    texts = {element.text for element in xml.etree.ElementTree.parse(str(picture)).iter()}
    assert {'Download: CPU seconds for a GB', 'ws2s, JSON', '1.23'} <= texts


@pytest.mark.parametrize('fault, mode, complaint', [
    ('down = ' + CHANGED, 'download', 'a download has other bytes'),
    ('down = ' + DOUBLED, 'download', 'bytes came where the target has sent'),
    ('up = ' + CHANGED, 'upload', 'an upload has reached its target with other bytes'),
], ids=['changed-down', 'doubled-down', 'changed-up'])
def test_a_broken_gateway_has_no_figures(environment, tmpdir, fault, mode, complaint):
    broken = tmpdir.join('broken.py')
    broken.write(BROKEN % (REPOSITORY, fault))
    status, output = run_bench(environment, '--json', '--only', mode, '--forms', 'binary', '--gateway', str(broken))
    (failed,) = [line for line in lines_of(output) if line.get('server') == str(broken)]
    assert status == 1
    assert complaint in failed['failure']
    assert 'figures' not in failed


def test_peers_that_are_not_installed_are_named(environment):
    output = subprocess.check_output([sys.executable, '-c', WITHOUT_PEERS % (os.path.dirname(BENCH), TESTS)],
                                     env=environment, stdin=subprocess.DEVNULL, timeout=SECONDS)
    missing = [line['server'] for line in lines_of(output.decode('utf-8')) if 'missing' in line]
    assert missing == ['ws2s-2.1.5', 'websocat', 'websockify', 'ws+net', 'wisp-js', 'wisp-python']


def processes_in(folder):
    """Those whose working directory is it, or in it."""
    found = []
    for pid in filter(str.isdigit, os.listdir('/proc')):
        with contextlib.suppress(OSError):
            if os.readlink('/proc/%s/cwd' % pid).startswith(folder):
                found.append(int(pid))
    return found


@pytest.mark.skipif(not os.path.isdir('/proc/self'), reason='looks for processes in /proc')
@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT])
def test_an_interrupted_bench_leaves_nothing(environment, number):
    folder = os.path.realpath(environment['TMPDIR'])
    with begun(['--only', 'download', '--clients', '4', '--seconds', '60'], environment) as process:
        wait_until(lambda: len(processes_in(folder)) >= 6, 20, 'gateway, target and clients to run')
        process.send_signal(number)
        process.wait(SECONDS)
        wait_until(lambda: not processes_in(folder), 10, 'all processes to be gone')
    assert not os.listdir(folder)
