# -*- coding: utf-8 -*-
"""nginx, haproxy or Caddy of our own in front of a gateway: TLS, and the configuration that README.md recommends."""

import contextlib
import io
import os
import re
import shutil
import ssl
import subprocess
import tempfile

from installed import needs
from program import REPOSITORY
from raw_client import RawClient
from ssh_server import administrative, run_well, write
from targets import closed_port
from waiting import wait_until

ATTEMPTS = 5
HOST = '127.0.0.1'
NAME = 'gateway.example.com'  # as in README.md
PREFIX = '/ws2s/'

# Around what README.md says: one process, which is no service and writes nowhere but into its folder.
FRAME = u'''
daemon off;
master_process off;
error_log stderr;
pid nginx.pid;
lock_file nginx.lock;
events {
    worker_connections 256;
}
http {
    access_log off;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
%s
}
'''


def recommended(language='nginx', chapter='Behind '):
    """The configuration in the chapter of README.md whose title begins so."""
    with io.open(os.path.join(REPOSITORY, 'README.md'), encoding='utf-8') as file:
        chapters = re.split('^## ', file.read(), flags=re.MULTILINE)
    text = ''.join(one for one in chapters if one.startswith(chapter))
    blocks = re.findall(r'^```%s\n(.*?)^```$' % language, text, re.MULTILINE | re.DOTALL)
    assert len(blocks) == 1, blocks
    return blocks[0]


def replaced(text, places):
    """``text`` with other places; each of them must stand in it once. In one go: a new one may hold an old one."""
    for old in places:
        assert text.count(old) == 1, old
    return re.sub('|'.join(map(re.escape, places)), lambda found: places[found.group()], text)


def make_certificate(folder):
    """The files of a certificate for NAME and HOST that has signed itself, and of its key."""
    certificate, key = os.path.join(folder, 'certificate'), os.path.join(folder, 'key')
    run_well([needs('openssl', 'openssl'), 'req', '-x509', '-nodes', '-days', '2', '-subj', '/CN=' + NAME,
              '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-keyout', key, '-out', certificate,
              '-addext', 'subjectAltName=DNS:%s,IP:%s' % (NAME, HOST),
              '-addext', 'keyUsage=critical,digitalSignature,keyCertSign'])
    return certificate, key


class TlsClient(RawClient):
    """A raw client that trusts one certificate."""

    def __init__(self, address, certificate, **options):
        RawClient.__init__(self, address, **options)
        try:
            context = ssl.create_default_context(cafile=certificate)
            self.sock = context.wrap_socket(self.sock, server_hostname=NAME)
        except (IOError, OSError):
            self.sock.close()
            raise


class Front(object):
    """A program on ``port`` of 127.0.0.1, in front of the gateway at ``upstream``, with a certificate for NAME."""

    prefix = PREFIX

    def __init__(self, program, folder, port, upstream, *options):
        self.port = port
        self.certificate, self._key = make_certificate(folder)
        self._log, config = os.path.join(folder, 'log'), os.path.join(folder, 'config')
        write(config, self._text(upstream, *options))
        environment = dict(os.environ, HOME=folder, XDG_CONFIG_HOME=folder, XDG_DATA_HOME=folder)
        with open(self._log, 'wb') as log, open(os.devnull) as nothing:
            self._process = subprocess.Popen([program] + self._words(folder, config), cwd=folder, stdin=nothing,
                                             stdout=log, stderr=log, close_fds=True, env=environment)

    def _text(self, upstream, *options):
        """The configuration, which uses the files of certificate and key."""
        raise NotImplementedError

    def _words(self, folder, config):
        """The arguments of the program."""
        raise NotImplementedError

    def url(self, scheme, host=HOST):
        return '%s://%s:%d%s' % (scheme, host, self.port, self.prefix)

    def client(self, **options):
        """A TlsClient."""
        return TlsClient((HOST, self.port), self.certificate, **options)

    def is_begun(self):
        """Waits. False when it has ended at once: somebody else has the port."""
        return wait_until(self._state, 60, 'the program in front to begin') == 'serving'

    def _state(self):
        if self._process.poll() is not None:
            return 'ended'
        try:
            with self.client():  # who listens there need not be ours, but our certificate nobody else has
                return 'serving'
        except (IOError, OSError):
            return None

    def log(self):
        with open(self._log) as log:
            return log.read()

    def end(self):
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()


class Nginx(Front):
    """Its configuration has no line that begins with one of ``without``, and other words for those of ``places``."""

    def _text(self, upstream, without=(), places=()):
        lines = [line for line in recommended().splitlines(True) if not line.lstrip().startswith(without)]
        return FRAME % replaced(''.join(lines), dict(places, **{
            'listen 443 ': 'listen %s:%d ' % (HOST, self.port),
            '/etc/ssl/certs/gateway.pem': self.certificate,
            '/etc/ssl/private/gateway.key': self._key,
            '127.0.0.1:3613': '%s:%d' % tuple(upstream),
        }))

    def _words(self, folder, config):
        return ['-p', folder + '/', '-c', config]


class Haproxy(Front):
    """``line``: how it introduces the client to the gateway."""

    prefix = '/'

    def _both(self):
        """The file of certificate and key."""
        both = self.certificate + '.both'
        with open(self.certificate) as certificate, open(self._key) as key:
            write(both, (certificate.read() + key.read()))
        return both

    def _text(self, upstream, line='send-proxy-v2'):
        place = '%s:%d' % tuple(upstream) if isinstance(upstream, tuple) else 'unix@' + upstream
        return replaced(recommended('haproxy'), {
            'bind :443 ': 'bind %s:%d ' % (HOST, self.port), '/etc/haproxy/gateway.pem': self._both(),
            '127.0.0.1:3613': place, 'send-proxy-v2': line})

    def _words(self, folder, config):
        return ['-db', '-f', config]


class ScaledHaproxy(Haproxy):
    """In front of the gateways at the two addresses ``upstream``."""

    def _text(self, upstream):
        return replaced(recommended('haproxy', 'Scale'), {
            'bind :443 ': 'bind %s:%d ' % (HOST, self.port), '/etc/haproxy/gateway.pem': self._both(),
            '10.0.0.11:3613': '%s:%d' % upstream[0], '10.0.0.12:3613': '%s:%d' % upstream[1]})


class ScaledNginx(Nginx):
    """In front of the gateways at the two addresses ``upstream``."""

    prefix = '/'

    def _text(self, upstream):
        return FRAME % replaced(recommended('nginx', 'Scale'), {
            'listen 443 ': 'listen %s:%d ' % (HOST, self.port), '/etc/ssl/certs/gateway.pem': self.certificate,
            '/etc/ssl/private/gateway.key': self._key,
            '10.0.0.11:3613': '%s:%d' % upstream[0], '10.0.0.12:3613': '%s:%d' % upstream[1]})


class Caddy(Front):
    """Without a certificate authority."""

    def _text(self, upstream):
        site = 'https://%s:%d, https://%s:%d {\n    tls %s %s' % (NAME, self.port, HOST, self.port, self.certificate,
                                                                  self._key)
        return '{\n    admin off\n    auto_https off\n    default_bind %s\n}\n' % HOST + replaced(
            recommended('caddy'), {NAME + ' {': site, '127.0.0.1:3613': '%s:%d' % tuple(upstream)})

    def _words(self, folder, config):
        return ['run', '--adapter', 'caddyfile', '--config', config]


@contextlib.contextmanager
def running(front, upstream, *options):
    """A Front of this class that serves. Nothing of it is left in the end."""
    name = front.__name__.replace('Scaled', '').lower()
    program, folder = administrative(name, name), tempfile.mkdtemp()
    begun = []
    try:
        while not (begun and begun[-1].is_begun()):
            assert len(begun) < ATTEMPTS, begun[-1].log()
            begun.append(front(program, folder, closed_port(), upstream, *options))
        yield begun[-1]
    finally:
        for server in begun:
            server.end()
        shutil.rmtree(folder)


def running_nginx(upstream, without=(), places=()):
    """An Nginx that serves."""
    return running(Nginx, upstream, without, places)
