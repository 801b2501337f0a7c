# -*- coding: utf-8 -*-
"""A web server as the target: as many bytes as the path says, with TLS if wanted, and the files of some folders."""

import hashlib
import io
import os
import ssl
import subprocess

from installed import needs
from tape import Tape
from targets import silence

MEGABYTE = 1 << 20
NOISE = Tape(31)
TYPES = {'.html': 'text/html', '.js': 'text/javascript', '.mjs': 'text/javascript', '.wasm': 'application/wasm'}


def digest(count, begin=0):
    """SHA-256 of what ``/noise/COUNT/BEGIN`` gives."""
    whole = hashlib.sha256()
    for piece in NOISE.pieces(count, MEGABYTE, begin):
        whole.update(piece)
    return whole.hexdigest()


def read_head(sock):
    """The words of the first line; what follows the head is left out."""
    head = b''
    while b'\r\n\r\n' not in head:
        data = sock.recv(65536)
        if not data:
            raise IOError('the client has gone')
        head += data
    return head.split(b'\r\n')[0].decode('ascii').split(' ')


def send_head(sock, length, content_type='application/octet-stream'):
    sock.sendall(('HTTP/1.1 200 OK\r\nContent-Type: %s\r\nContent-Length: %d\r\nConnection: close\r\n\r\n'
                  % (content_type, length)).encode('ascii'))


def send_noise(sock, count, begin=0):
    send_head(sock, count)
    for piece in NOISE.pieces(count, MEGABYTE, begin):
        sock.sendall(piece)


def send_file(sock, path):
    with io.open(path, 'rb') as file:
        data = file.read()
    send_head(sock, len(data), TYPES.get(os.path.splitext(path)[1], 'application/octet-stream'))
    sock.sendall(data)


def web(*folders):
    """Serves one request: ``/noise/COUNT/BEGIN``, ``/stuck``, which reads no more, or a file of one of the folders."""
    def serve(sock):
        path = read_head(sock)[1].lstrip('/')
        if path == 'stuck':
            silence(sock)
        elif path.startswith('noise/'):
            send_noise(sock, *[int(word) for word in path.split('/')[1:]])
        else:
            found = [os.path.join(folder, path) for folder in folders]
            send_file(sock, next(each for each in found if os.path.isfile(each)))
    return serve


class Authority(object):
    """One that nobody knows but who has ``pem``, and what it says of localhost."""

    def __init__(self, folder):
        self._openssl, self._folder = needs('openssl', 'openssl'), folder
        self._make('authority', '/CN=ws2s tests', 'basicConstraints=critical,CA:TRUE')
        self._make('localhost', '/CN=localhost', 'basicConstraints=CA:FALSE', 'subjectAltName=DNS:localhost',
                   authority='authority')
        with io.open(self._path('authority.pem'), encoding='ascii') as file:
            self.pem = file.read()

    def _path(self, name):
        return os.path.join(self._folder, name)

    def _make(self, name, subject, *extensions, **signer):
        # What the system's own settings would add is not wanted twice.
        words = ['req', '-x509', '-nodes', '-days', '2', '-subj', subject, '-newkey', 'ec', '-pkeyopt',
                 'ec_paramgen_curve:prime256v1', '-keyout', self._path(name + '.key'), '-out',
                 self._path(name + '.pem'), '-config', os.devnull]
        for extension in extensions:
            words += ['-addext', extension]
        for authority in signer.values():
            words += ['-CA', self._path(authority + '.pem'), '-CAkey', self._path(authority + '.key')]
        subprocess.check_output([self._openssl] + words, stderr=subprocess.STDOUT)

    def secure(self, serve):
        """``serve`` behind TLS."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self._path('localhost.pem'), self._path('localhost.key'))

        def serve_securely(sock):
            with context.wrap_socket(sock, server_side=True) as secure_sock:
                serve(secure_sock)
        return serve_securely
