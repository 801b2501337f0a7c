# -*- coding: utf-8 -*-
"""A real OpenSSH server of our own, a user of this machine who may log in there, and keys."""

import collections
import contextlib
import errno
import itertools
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import tempfile

import pytest

from installed import needs
from targets import closed_port
from waiting import wait_until

ATTEMPTS = 5
HOST = '127.0.0.1'
NUMBERS = itertools.count()
ADMINISTRATION = ('/usr/sbin', '/usr/local/sbin', '/sbin')  # often not on the PATH, not even on root's
PRIVILEGE_SEPARATION = '/run/sshd'

OPTIONS = {
    'ListenAddress': HOST,
    'PidFile': 'none',
    'LogLevel': 'DEBUG1',
    'StrictModes': 'no',
    'PasswordAuthentication': 'yes',
    'KbdInteractiveAuthentication': 'no',
    'UsePAM': 'no',
    'UseDNS': 'no',
    'MaxStartups': '1000',
    'KexAlgorithms': 'curve25519-sha256',  # half the time of a login goes into what is the default today
}

Key = collections.namedtuple('Key', 'path text public fingerprint passphrase')


def administrative(program, package):
    """The path of a program that may lie outside the PATH."""
    paths = [os.path.join(folder, program) for folder in ADMINISTRATION]
    return next((path for path in paths if os.access(path, os.X_OK)), None) or needs(program, package)


def folder_for_all():
    """A new folder that every user may enter, with a short path; not where a test may have moved TMPDIR to."""
    folder = tempfile.mkdtemp(dir='/tmp', prefix='ws2stest-')
    os.chmod(folder, 0o755)
    return folder


def run(command, text=u'', **options):
    """(exit status, all that it writes) of a program that is given ``text``."""
    process = subprocess.Popen(command, cwd='/', env=dict(os.environ, LC_ALL='C'), close_fds=True,
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **options)
    output = process.communicate(text.encode('utf-8'))[0]
    return process.returncode, output.decode('utf-8')


def run_well(command, text=u'', **options):
    status, output = run(command, text, **options)
    assert status == 0, (command, output)
    return output


def write(path, text, mode=0o600):
    with open(path, 'wb') as file:
        file.write(text.encode('utf-8'))
    os.chmod(path, mode)


def read(path):
    with open(path, 'rb') as file:
        return file.read().decode('utf-8', 'replace')


# -- keys --------------------------------------------------------------------------------------------------------------

def make_key(folder, kind='ed25519', form='RFC4716', passphrase=u''):
    """A new Key of ``kind`` (rsa, ecdsa, ed25519) in a file of ``folder``.

    ``form`` is what ssh-keygen calls it: RFC4716 is OpenSSH's own, which Ed25519 must have; else PEM or PKCS8.
    """
    path = os.path.join(folder, 'key%d' % next(NUMBERS))
    keygen = needs('ssh-keygen', 'openssh-client')
    size = ['-b', '2048'] if kind == 'rsa' else []
    # Few rounds: how slow it is to guess a passphrase is not what we test.
    run_well([keygen, '-q', '-t', kind, '-m', form, '-a', '2', '-C', '', '-N', passphrase, '-f', path] + size)
    fingerprint = run_well([keygen, '-l', '-f', path + '.pub']).split(' ')[1]
    return Key(path, read(path), read(path + '.pub'), fingerprint, passphrase)


# -- users -------------------------------------------------------------------------------------------------------------

class Account(object):
    """A user of this machine."""

    def __init__(self, name):
        entry = pwd.getpwnam(name)
        self.name, self.uid, self.gid, self.home = name, entry.pw_uid, entry.pw_gid, entry.pw_dir

    def set_password(self, password):
        """Skips the test when that takes rights that we have not got; ``password`` itself otherwise."""
        if os.getuid() != 0:
            pytest.skip('needs root: only root can make a user whose password is known')
        change_users(['usermod', '--password', hashed(password), self.name])
        return password


def hashed(password):
    return run_well([needs('openssl', 'openssl'), 'passwd', '-6', '-stdin'], password + u'\n').strip()


def change_users(command):
    """Run useradd and the like; somebody else may be changing users just now, or the user's last process ending."""
    command = [administrative(command[0], 'passwd')] + command[1:]

    def changed():
        status, output = run(command)
        assert status == 0 or 'lock' in output or 'currently used' in output, (command, output)
        return status == 0
    wait_until(changed, 20, ' '.join(command))


@contextlib.contextmanager
def temporary_account():
    """An Account of a new user, who may log in to forward and for nothing else. For root alone."""
    name, folder = 'ws2stest%d-%d' % (os.getpid(), next(NUMBERS)), folder_for_all()
    # With no password at all the account would be locked, to those who have a key too.
    change_users(['useradd', '--system', '--create-home', '--home-dir', os.path.join(folder, 'home'),
                  '--shell', administrative('nologin', 'login'), '--password', hashed(u'not yet known'), name])
    try:
        yield Account(name)
    finally:
        change_users(['userdel', name])
        shutil.rmtree(folder)


@contextlib.contextmanager
def some_account():
    """One that we may change when we are root; else that of whoever runs the tests, who may log in with a key."""
    if os.getuid() != 0:
        yield Account(pwd.getpwuid(os.getuid()).pw_name)
        return
    with temporary_account() as account:
        yield account


# -- the server --------------------------------------------------------------------------------------------------------

def children_of(pid):
    """Also when that one is ending."""
    try:
        return [int(child) for child in read('/proc/%d/task/%d/children' % (pid, pid)).split()]
    except (IOError, OSError):
        return []


def send_signal(pid, number):
    try:
        os.kill(pid, number)
    except OSError:
        pass  # it has just ended


class SshServer(object):
    """An sshd on ``port`` of 127.0.0.1 where ``account`` may log in.

    ``options`` are laid over OPTIONS; None is the server's own default.

    It takes any Key given to authorize(). What it logs is kept over a restart.
    """

    def __init__(self, folder, port, account, options):
        self.folder, self.port, self.account = folder, port, account
        self._options, self._process = dict(options), None
        self._log, self._config = os.path.join(folder, 'log'), os.path.join(folder, 'config')
        self._authorized = os.path.join(folder, 'authorized_keys')
        write(self._log, u'')
        write(self._authorized, u'', 0o644)
        self.change_host_key()
        self._begin()

    def change_host_key(self):
        """From the next start on."""
        self.host_key = make_key(self.folder)

    def authorize(self, key):
        """The key."""
        write(self._authorized, read(self._authorized) + key.public, 0o644)
        return key

    def hop(self, **fields):
        """What a `connect` through this server needs, without credentials."""
        return dict({'ssh_host': HOST, 'ssh_port': self.port, 'ssh_username': self.account.name}, **fields)

    def _begin(self):
        options = dict(OPTIONS, Port=self.port, HostKey=self.host_key.path, AuthorizedKeysFile=self._authorized)
        options.update(self._options)
        lines = [u'%s %s\n' % (name, value) for name, value in sorted(options.items()) if value is not None]
        write(self._config, u''.join(lines))
        make_privilege_separation()
        command = [administrative('sshd', 'openssh-server'), '-f', self._config] + self._no_penalties()
        self._start_of_log = os.path.getsize(self._log)
        with open(self._log, 'ab') as log, open(os.devnull) as nothing:
            self._process = subprocess.Popen(command + ['-D', '-e'], cwd='/', stdin=nothing, stdout=log, stderr=log,
                                             close_fds=True)

    def _no_penalties(self):
        """From 9.8 on a server refuses who fails to log in again and again, which tests do."""
        option = ['-o', 'PerSourcePenalties=no']
        status, _ = run([administrative('sshd', 'openssh-server'), '-t', '-f', self._config] + option)
        return option if status == 0 else []

    def is_begun(self):
        """Waits. False when it has ended at once: somebody else has the port."""
        if wait_until(self._state, 20, 'sshd to begin') != 'listening':
            return False
        with contextlib.closing(socket.create_connection((HOST, self.port), 10)) as sock:
            assert sock.recv(4) == b'SSH-', self.log()
        return True

    def _state(self):
        if self._process.poll() is not None:
            return 'ended'
        # In our own log: who listens there need not be ours.
        listens = 'Server listening on %s port %d.' % (HOST, self.port)
        return 'listening' if listens in self.log()[self._start_of_log:] else None

    def restart(self, **options):
        """On the same port."""
        self.stop()
        self._options.update(options)
        self._begin()
        assert self.is_begun(), self.log()

    def sessions(self):
        """The processes that serve those who are connected."""
        return children_of(self._process.pid)

    def stop(self):
        """With all who are connected: each has processes, which outlive the one that accepts."""
        if self._process.poll() is None:
            stopped, found = [], [self._process.pid]
            while found:
                # Stopped first, so that it cannot begin another while we look.
                for pid in found:
                    send_signal(pid, signal.SIGSTOP)
                stopped += found
                found = [child for pid in stopped for child in children_of(pid) if child not in stopped]
            for pid in reversed(stopped):
                send_signal(pid, signal.SIGKILL)
        self._process.wait()

    # -- what it has seen

    def log(self):
        return read(self._log)

    def forget(self):
        """What it has logged so far."""
        write(self._log, u'')

    def logins(self):
        """How often somebody has logged in."""
        return len(re.findall(r'^Accepted \S+ for ', self.log(), re.MULTILINE))

    def failed_passwords(self):
        """How often a wrong password was tried."""
        return len(re.findall(r'^Failed (?:password|keyboard-interactive\S*) for ', self.log(), re.MULTILINE))

    def offered_keys(self):
        """The fingerprints of all keys that anybody has offered, whatever came of it."""
        return set(re.findall(r'(?: pkblob |^\w+ publickey for .*: )\S+ (SHA256:\S+)', self.log(), re.MULTILINE))

    def has_been_asked(self):
        """Has anybody come so far as to name a user?"""
        return 'userauth-request for user' in self.log()


def make_privilege_separation():
    """As the service does when it starts; other tests may be doing so just now."""
    try:
        if os.getuid() == 0:
            os.mkdir(PRIVILEGE_SEPARATION, 0o755)
    except OSError as error:
        if error.errno != errno.EEXIST:
            raise


@contextlib.contextmanager
def running_sshd(account, **options):
    """An SshServer that serves. Nothing of it is left in the end."""
    folder, begun = folder_for_all(), []
    try:
        while not (begun and begun[-1].is_begun()):
            assert len(begun) < ATTEMPTS, begun[-1].log()
            begun.append(SshServer(folder, closed_port(), account, options))
        yield begun[-1]
    finally:
        for server in begun:
            server.stop()
        shutil.rmtree(folder)
