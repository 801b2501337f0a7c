# -*- coding: utf-8 -*-
"""Real mail servers of our own: exim for SMTP, which speaks TLS by GnuTLS, and Dovecot for IMAP and POP3."""

import contextlib
import os
import pwd
import shutil
import signal
import subprocess

import pytest

from ssh_server import administrative, folder_for_all, read, write
from targets import closed_port
from waiting import wait_until

ATTEMPTS = 5
HOST = '127.0.0.1'
DOVECOT_PROGRAMS = '/usr/lib/dovecot'

EXIM = u'''
exim_user = nobody
exim_group = nogroup
never_users =
spool_directory = {folder}/spool
log_file_path = {folder}/log-%s
pid_file_path = {folder}/pid
local_interfaces = 127.0.0.1
daemon_smtp_ports = {port}
primary_hostname = mail.test
tls_advertise_hosts = *
tls_certificate = {certificate}
tls_privatekey = {key}
acl_smtp_rcpt = accept
acl_smtp_data = accept
keep_environment =
begin acl
accept:
  accept
begin routers
all:
  driver = accept
  transport = file
begin transports
file:
  driver = appendfile
  file = {folder}/mail
  user = nobody
  group = nogroup
  mode = 0600
begin authenticators
plain:
  driver = plaintext
  public_name = PLAIN
  server_prompts = :
  server_condition = ${{if eq{{$auth3}}{{secret}}}}
  server_advertise_condition = ${{if def:tls_in_cipher}}
'''

DOVECOT = u'''
base_dir = {folder}/run
state_dir = {folder}/state
log_path = {folder}/log-main
protocols = {protocol}
listen = 127.0.0.1
ssl = required
ssl_cert = <{certificate}
ssl_key = <{key}
service {protocol}-login {{
  chroot =
  inet_listener {protocol} {{
    port = {port}
  }}
  inet_listener {protocol}s {{
    port = {tls_port}
    ssl = yes
  }}
}}
passdb {{
  driver = static
  args = password=secret
}}
userdb {{
  driver = static
  args = uid=nobody gid=nogroup home={folder}/home
}}
mail_location = maildir:~/mail
first_valid_uid = 1
auth_failure_delay = 0
service anvil {{
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
'''


class MailServer(object):
    """Serves on ``port``, and where it has one ``tls_port``, of 127.0.0.1."""

    def __init__(self, folder, command, settings, certified):
        self.folder, self.port, self.tls_port = folder, closed_port(), closed_port()
        certificate, key = os.path.join(folder, 'certificate'), os.path.join(folder, 'key')
        for path, name in ((certificate, certified.path), (key, certified.key)):
            write(path, read(name), 0o600)
            give_away(path)
        config = os.path.join(folder, 'config')
        write(config, settings.format(folder=folder, port=self.port, tls_port=self.tls_port, certificate=certificate,
                                      key=key), 0o644)
        self._output = os.path.join(folder, 'output')
        with open(self._output, 'wb') as output, open(os.devnull) as nothing:
            self._process = subprocess.Popen(command(config), cwd=folder, stdin=nothing, stdout=output, stderr=output,
                                             close_fds=True, preexec_fn=os.setsid)

    def is_begun(self):
        """Waits. False when it has ended at once: somebody else has the port."""
        return wait_until(self._state, 30, 'the mail server to begin') == 'serving'

    def _state(self):
        if self._process.poll() is not None:
            return 'ended'
        # Who listens there need not be ours.
        inodes = listening_inodes(self.port)
        return 'serving' if inodes & socket_inodes(self._process.pid) else None

    def log(self):
        names = [name for name in sorted(os.listdir(self.folder)) if name.startswith(('log', 'output'))]
        return ''.join(read(os.path.join(self.folder, name)) for name in names)

    def end(self):
        """With every process of its own."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        self._process.wait()
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except OSError:
            pass  # all have ended


def give_away(path):
    nobody = pwd.getpwnam('nobody')
    os.chown(path, nobody.pw_uid, nobody.pw_gid)


def listening_inodes(port):
    with open('/proc/net/tcp') as file:
        rows = [row.split() for row in file.readlines()[1:]]
    return set(row[9] for row in rows if row[3] == '0A' and int(row[1].rpartition(':')[2], 16) == port)


def socket_inodes(pid):
    found = set()
    for fd in os.listdir('/proc/%d/fd' % pid):
        try:
            found.add(os.readlink('/proc/%d/fd/%s' % (pid, fd)).strip('socket:[]'))
        except OSError:
            pass  # it was closed meanwhile
    return found


@contextlib.contextmanager
def running_mail_server(command, settings, certified):
    if os.getuid() != 0:
        pytest.skip('owed: needs root, as which mail servers begin')
    folder, begun = folder_for_all(), []
    try:
        give_away(folder)
        while not (begun and begun[-1].is_begun()):
            assert len(begun) < ATTEMPTS, begun[-1].log()
            begun.append(MailServer(folder, command, settings, certified))
        yield begun[-1]
    finally:
        for server in begun:
            server.end()
        shutil.rmtree(folder)


def running_exim(certified):
    """A MailServer for SMTP, with STARTTLS, and within TLS a login by the password `secret`. It puts what
    comes into the file `mail` of its folder."""
    program = administrative('exim4', 'exim4-daemon-light')
    return running_mail_server(lambda config: [program, '-C', config, '-bdf'], EXIM, certified)


def running_dovecot(certified, protocol='imap'):
    """A MailServer for IMAP or POP3, with STARTTLS, and on tls_port with TLS. Every user's password is `secret`."""
    package = 'dovecot-%sd' % protocol
    program = administrative('dovecot', package)
    if not os.access(os.path.join(DOVECOT_PROGRAMS, protocol), os.X_OK):
        pytest.skip('owed: needs Dovecot for %s (Debian: apt-get install %s)' % (protocol, package))
    settings = DOVECOT.replace('{protocol}', protocol)
    return running_mail_server(lambda config: [program, '-F', '-c', config], settings, certified)
