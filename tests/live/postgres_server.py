# -*- coding: utf-8 -*-
"""A real PostgreSQL server of our own, which keeps nothing, and its users."""

import contextlib
import glob
import os
import pwd
import shutil
import signal
import subprocess

from installed import needs
from ssh_server import folder_for_all, run_well, write
from targets import closed_port
from waiting import wait_until

ATTEMPTS = 5
HOST = '127.0.0.1'
PROGRAMS = '/usr/lib/postgresql/*/bin'  # Debian puts them beside the PATH
PASSWORD = u'a pass\u00f6rd'
CLEAR, SCRAM = 'clear', 'scram'         # users by how they log in

RULES = u'''
local all postgres trust
host all clear 127.0.0.1/32 password
host all scram 127.0.0.1/32 scram-sha-256
'''
USERS = u'CREATE USER %s SUPERUSER PASSWORD \'%s\'; CREATE USER %s SUPERUSER PASSWORD \'%s\';' % (
    CLEAR, PASSWORD, SCRAM, PASSWORD)
OPTIONS = {'listen_addresses': HOST, 'fsync': 'off', 'shared_buffers': '8MB', 'max_connections': '20',
           'autovacuum': 'off', 'log_connections': 'on'}


def postgres_program(name):
    """The path of one of its programs, of the newest version that is there."""
    found = sorted(glob.glob(os.path.join(PROGRAMS, name)), key=lambda path: [len(path), path])
    return found[-1] if found else needs(name, 'postgresql')


def unprivileged():
    """Root becomes nobody: the server refuses to run as root."""
    if os.getuid() == 0:
        nobody = pwd.getpwnam('nobody')
        os.setgroups([])
        os.setgid(nobody.pw_gid)
        os.setuid(nobody.pw_uid)


class PostgresServer(object):
    """Serves on ``port`` of 127.0.0.1 and a socket in its folder."""

    def __init__(self, folder, port):
        self.port, self._folder, self._log = port, folder, os.path.join(folder, 'log')
        options = dict(OPTIONS, port=port, unix_socket_directories=folder)
        command = [postgres_program('postgres'), '-D', os.path.join(folder, 'data')]
        for name in sorted(options):
            command += ['-c', '%s=%s' % (name, options[name])]
        with open(self._log, 'wb') as log, open(os.devnull) as nothing:
            self._process = subprocess.Popen(command, cwd=folder, stdin=nothing, stdout=log, stderr=log,
                                             close_fds=True, preexec_fn=unprivileged)

    def ask(self, sql):
        """What psql prints of the result: a line for each row."""
        return run_well([postgres_program('psql'), '-h', self._folder, '-p', str(self.port), '-U', 'postgres',
                         '-qAtX', '-v', 'ON_ERROR_STOP=1', '-f', '-', 'postgres'], sql).strip()

    def is_begun(self):
        """Waits. False when it has ended at once: somebody else has the port."""
        return wait_until(self._state, 60, 'PostgreSQL to begin') == 'serving'

    def _state(self):
        if self._process.poll() is not None:
            return 'ended'
        try:
            with open(os.path.join(self._folder, 'data', 'postmaster.pid')) as file:
                lines = file.read().splitlines()
        except (IOError, OSError):
            return None
        ours = lines[:1] == [str(self._process.pid)]
        return 'serving' if ours and lines[7:8] and lines[7].strip() == 'ready' else None

    def log(self):
        with open(self._log) as log:
            return log.read()

    def end(self):
        """With every process of its own: only the first one can tell them."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGQUIT)
        self._process.wait()


def make_database(folder):
    if os.getuid() == 0:
        os.chown(folder, pwd.getpwnam('nobody').pw_uid, -1)
    data = os.path.join(folder, 'data')
    run_well([postgres_program('initdb'), '-D', data, '-U', 'postgres', '-E', 'UTF8', '--no-locale', '--no-sync',
              '--auth=trust'], preexec_fn=unprivileged)
    write(os.path.join(data, 'pg_hba.conf'), RULES, 0o644)


@contextlib.contextmanager
def running_postgres():
    """A PostgresServer that serves, with the users CLEAR and SCRAM. Nothing of it is left in the end."""
    postgres_program('postgres')
    folder = folder_for_all()
    begun = []
    try:
        make_database(folder)
        while not (begun and begun[-1].is_begun()):
            assert len(begun) < ATTEMPTS, begun[-1].log()
            begun.append(PostgresServer(folder, closed_port()))
        begun[-1].ask(USERS)
        yield begun[-1]
    finally:
        for server in begun:
            server.end()
        shutil.rmtree(folder)
