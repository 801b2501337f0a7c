# -*- coding: utf-8 -*-
"""ws2s.py as a program of its own, as a user starts it."""

import contextlib
import json
import os
import re
import subprocess
import sys
import tempfile
import threading

from waiting import wait_until

REPOSITORY = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
WS2S = os.path.join(REPOSITORY, 'ws2s.py')


def clean_environment(home):
    """The environment of a user whose home is ``home``."""
    environment = {name: os.environ[name] for name in ('PATH', 'LANG', 'LD_LIBRARY_PATH') if name in os.environ}
    environment['HOME'] = home
    environment['PYTHONDONTWRITEBYTECODE'] = '1'
    return environment


class Program(object):
    """A running ``ws2s.py``. ``lines`` is what it has written to standard error so far."""

    def __init__(self, process):
        self.process, self.pid = process, process.pid
        self.lines = []
        self._reader = threading.Thread(target=self._read)
        self._reader.daemon = True
        self._reader.start()

    def _read(self):
        for line in iter(self.process.stderr.readline, b''):
            self.lines.append(line.decode('utf-8').rstrip('\n'))

    @property
    def address(self):
        """('127.0.0.1', port), from the line that says so."""
        def listening():
            found = [re.search(r'listens on (\S+):([0-9]+)$', line) for line in list(self.lines)]
            assert self.process.poll() is None, self.lines
            return next((match.groups() for match in found if match), None)
        host, port = wait_until(listening, 20, 'the gateway to listen')
        return host.strip('[]'), int(port)

    def signal(self, number):
        self.process.send_signal(number)

    def wait(self, seconds=20):
        """The exit status."""
        wait_until(lambda: self.process.poll() is not None, seconds, 'the gateway to exit')
        self._reader.join(5)
        return self.process.returncode

    def resident_bytes(self):
        with open('/proc/%d/statm' % self.pid) as file:
            return int(file.read().split()[1]) * os.sysconf('SC_PAGE_SIZE')

    def peak_bytes(self):
        """The most that was resident so far."""
        with open('/proc/%d/status' % self.pid) as file:
            return 1024 * int(re.search(r'^VmHWM:\s*(\d+) kB$', file.read(), re.MULTILINE).group(1))

    def cpu_seconds(self):
        with open('/proc/%d/stat' % self.pid) as file:
            fields = file.read().rpartition(')')[2].split()
        return (int(fields[11]) + int(fields[12])) / float(os.sysconf('SC_CLK_TCK'))

    def descriptors(self):
        return len(os.listdir('/proc/%d/fd' % self.pid))

    def threads(self):
        return len(os.listdir('/proc/%d/task' % self.pid))

    def end(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._reader.join(5)
        self.process.stderr.close()


def listening_ports(pid):
    """On which this process listens by TCP and IPv4."""
    inodes = set(link_of('/proc/%d/fd/%s' % (pid, fd)) for fd in os.listdir('/proc/%d/fd' % pid))
    with open('/proc/%d/net/tcp' % pid) as file:
        rows = [line.split() for line in file.readlines()[1:]]
    return [int(row[1].rpartition(':')[2], 16) for row in rows if row[3] == '0A' and 'socket:[%s]' % row[9] in inodes]


def link_of(path):
    try:
        return os.readlink(path)
    except OSError:  # a descriptor that was closed meanwhile
        return ''


@contextlib.contextmanager
def running_program(config=None, arguments=(), python=None, preexec=None):
    """A Program on a free port, with ``config`` (a dict) in a file. It is killed in the end if it still runs."""
    home = tempfile.mkdtemp()
    settings = dict({'listen': {'port': 0}}, **(config or {}))
    path = os.path.join(home, 'gateway.json')
    with open(path, 'w') as file:
        json.dump(settings, file)
    try:
        with started(['--config', path] + list(arguments), home, python, preexec) as program:
            yield program
    finally:
        for name in os.listdir(home):
            os.unlink(os.path.join(home, name))
        os.rmdir(home)


@contextlib.contextmanager
def logging_program(folder, config=None):
    """A Program that logs to files in ``folder`` (a path of py), which nobody has to read meanwhile, and its address.
    It must not have failed within; its log is removed."""
    log = folder.join('ws2s.log')
    settings = dict({'listen': {'port': 0}, 'allowConnectToServerLocal': True, 'log': {'file': str(log)}},
                    **(config or {}))
    with running_program(settings) as program:
        line = wait_until(lambda: log.check() and [line for line in log.readlines() if ' listens on ' in line], 20)[0]
        yield program, ('127.0.0.1', int(line.rpartition(':')[2]))
        assert program.process.poll() is None
    for path in folder.listdir('ws2s.log*'):
        assert 'a mistake of ws2s itself' not in path.read()
        path.remove()


@contextlib.contextmanager
def started(arguments, home, python=None, preexec=None, command=(WS2S,), **environment):
    """A Program with just these arguments, at home in ``home``. It is killed in the end if it still runs."""
    process = subprocess.Popen([python or sys.executable] + list(command) + list(arguments), cwd=home,
                               env=dict(clean_environment(home), **environment), stderr=subprocess.PIPE,
                               stdin=subprocess.PIPE, close_fds=True, preexec_fn=preexec)
    program = Program(process)
    try:
        yield program
    finally:
        program.end()
        process.stdin.close()


def run_to_end(arguments, home, seconds=20, **environment):
    """(exit status, standard output, standard error) of one call of ws2s.py."""
    process = subprocess.Popen([sys.executable, WS2S] + list(arguments), cwd=home,
                               env=dict(clean_environment(home), **environment), stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, close_fds=True)
    killer = threading.Timer(seconds, process.kill)
    killer.start()
    try:
        output, errors = process.communicate()
    finally:
        killer.cancel()
        killer.join()
    return process.returncode, output.decode('utf-8'), errors.decode('utf-8')
