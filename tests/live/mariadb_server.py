# -*- coding: utf-8 -*-
"""A real MariaDB server of our own, which keeps nothing, with TLS, and its user."""

import contextlib
import os
import shutil
import subprocess

from installed import needs
from mail_servers import give_away
from ssh_server import administrative, folder_for_all, read, run_well, write
from targets import closed_port
from waiting import wait_until

ATTEMPTS = 5
HOST = '127.0.0.1'
USER, PASSWORD = 'ann', u'a pass\u00f6rd'
OPTIONS = ['--bind-address=' + HOST, '--skip-log-bin', '--performance-schema=OFF', '--innodb-buffer-pool-size=8M',
           '--innodb-flush-log-at-trx-commit=0', '--skip-name-resolve', '--max-allowed-packet=16M',
           '--character-set-server=utf8mb4']
USERS = (u"CREATE DATABASE test; CREATE USER '%s'@'%s' IDENTIFIED BY '%s'; GRANT ALL ON *.* TO '%s'@'%s';"
         % (USER, HOST, PASSWORD, USER, HOST))


class MariaDbServer(object):
    """Serves on ``port`` of 127.0.0.1 and a socket in its folder."""

    def __init__(self, folder, port, owner):
        self.port, self._socket, self._log = port, os.path.join(folder, 'socket'), os.path.join(folder, 'log')
        command = [administrative('mariadbd', 'mariadb-server'), '--no-defaults', '--datadir=' + folder + '/data',
                   '--socket=' + self._socket, '--pid-file=' + folder + '/pid', '--port=%d' % port,
                   '--ssl-cert=' + folder + '/certificate', '--ssl-key=' + folder + '/key']
        with open(self._log, 'wb') as log, open(os.devnull) as nothing:
            self._process = subprocess.Popen(command + OPTIONS + owner, cwd=folder, stdin=nothing, stdout=log,
                                             stderr=log, close_fds=True)

    def ask(self, sql):
        return run_well([needs('mariadb', 'mariadb-client'), '--no-defaults', '--socket=' + self._socket, '-u', 'root',
                         '--default-character-set=utf8mb4', '-N', '-B'], sql).strip()

    def is_begun(self):
        """Waits. False when it has ended at once: somebody else has the port."""
        return wait_until(self._state, 60, 'MariaDB to begin') == 'serving'

    def _state(self):
        if self._process.poll() is not None:
            return 'ended'
        return 'serving' if 'ready for connections' in self.log() else None

    def log(self):
        return read(self._log)

    def end(self):
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()


def make_database(folder, certified, owner):
    for name, path in (('certificate', certified.path), ('key', certified.key)):
        write(os.path.join(folder, name), read(path))
    if owner:
        for name in ('', 'certificate', 'key'):
            give_away(os.path.join(folder, name))
    run_well([needs('mariadb-install-db', 'mariadb-server'), '--no-defaults', '--datadir=' + folder + '/data',
              '--auth-root-authentication-method=normal', '--skip-test-db'] + owner)


@contextlib.contextmanager
def running_mariadb(certified):
    """A MariaDbServer that serves, with TLS and the user USER. Nothing of it is left in the end."""
    administrative('mariadbd', 'mariadb-server')
    folder, begun = folder_for_all(), []
    owner = [] if os.getuid() else ['--user=nobody']
    try:
        make_database(folder, certified, owner)
        while not (begun and begun[-1].is_begun()):
            assert len(begun) < ATTEMPTS, begun[-1].log()
            begun.append(MariaDbServer(folder, closed_port(), owner))
        begun[-1].ask(USERS)
        yield begun[-1]
    finally:
        for server in begun:
            server.end()
        shutil.rmtree(folder)
