# -*- coding: utf-8 -*-
"""A web server as the target: as many bytes as the path says, with TLS if wanted, and the files of some folders."""

import hashlib
import io
import os
import re
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
    """(path, length of the body, what has come of the body)."""
    head = b''
    while b'\r\n\r\n' not in head:
        data = sock.recv(65536)
        if not data:
            raise IOError('the client has gone')
        head += data
    head, body = head.split(b'\r\n\r\n', 1)
    length = re.search(br'(?i)\r\ncontent-length: *(\d+)', head)
    return head.split(b' ')[1].decode('ascii').lstrip('/'), int(length.group(1)) if length else 0, body


def send_head(sock, length, content_type='application/octet-stream'):
    sock.sendall(('HTTP/1.1 200 OK\r\nContent-Type: %s\r\nContent-Length: %d\r\nConnection: close\r\n\r\n'
                  % (content_type, length)).encode('ascii'))


def send_noise(sock, count, begin=0):
    send_head(sock, count)
    for piece in NOISE.pieces(count, MEGABYTE, begin):
        sock.sendall(piece)


def send_file(sock, path, folders):
    found = [os.path.join(folder, path) for folder in folders if os.path.isfile(os.path.join(folder, path))]
    if not found:
        sock.sendall(b'HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n')
        return
    with io.open(found[0], 'rb') as file:
        data = file.read()
    send_head(sock, len(data), TYPES.get(os.path.splitext(path)[1], 'application/octet-stream'))
    sock.sendall(data)


def take_upload(sock, length, body):
    """Answers with the SHA-256 of the body."""
    whole = hashlib.sha256(body)
    while length > len(body):
        length -= len(body)
        body = sock.recv(MEGABYTE)
        if not body:
            raise IOError('the client has gone')
        whole.update(body)
    send_head(sock, 64, 'text/plain')
    sock.sendall(whole.hexdigest().encode('ascii'))


def get_stuck(sock, on_request):
    """Takes some of what is uploaded, and no more."""
    left = 100000
    while left > 0:
        left -= len(sock.recv(left))
    on_request('it is')
    silence(sock)


def web(*folders, **hooks):
    """Serves one request: ``/noise/COUNT/BEGIN``, ``/upload``, ``/stuck``, or a file of one of the folders.
    ``on_request(path)`` is called when the request has come."""
    on_request = hooks.get('on_request', len)

    def serve(sock):
        path, length, body = read_head(sock)
        on_request(path)
        if path == 'stuck':
            get_stuck(sock, on_request)
        elif path == 'upload':
            take_upload(sock, length, body)
        elif path.startswith('noise/'):
            send_noise(sock, *[int(word) for word in path.split('/')[1:]])
        else:
            send_file(sock, path, folders)
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
        # In WebAssembly AES, which version 1.3 would have, takes three times as long.
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers('ECDHE-ECDSA-CHACHA20-POLY1305')
        context.load_cert_chain(self._path('localhost.pem'), self._path('localhost.key'))

        def serve_securely(sock):
            with context.wrap_socket(sock, server_side=True) as secure_sock:
                serve(secure_sock)
        return serve_securely
