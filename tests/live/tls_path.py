# -*- coding: utf-8 -*-
"""A way to a gateway that speaks TLS, on which a client's records are counted, cut and delayed."""

import contextlib
import select
import socket
import ssl
import struct

from targets import reset

HEAD = 5  # bytes before each record (RFC 8446 section 5.1)


def client_hello(context, name=u'gateway.example.com'):
    """The first record of a client."""
    with contextlib.closing(socket.socket()) as listener:
        listener.bind(('127.0.0.1', 0))
        listener.listen(1)
        near = socket.create_connection(listener.getsockname())
        near.setblocking(False)
        secure = context.wrap_socket(near, server_hostname=name, do_handshake_on_connect=False)
        with contextlib.closing(secure), contextlib.closing(listener.accept()[0]) as far:
            try:
                secure.do_handshake()
            except ssl.SSLWantReadError:
                return far.recv(65536)


def records(data):
    """Those that are whole at the head of ``data``, and how many bytes they have."""
    found, start = [], 0
    while len(data) - start >= HEAD:
        end = start + HEAD + struct.unpack('!H', data[start + 3:start + HEAD])[0]
        if end > len(data):
            break
        found.append(data[start:end])
        start = end
    return found, start


class TlsPath(object):
    """Passes on ``count`` records of the client, then does ``then(far)``, and takes and gives nothing more. Before them
    comes ``header``, in one segment with the first; ``is_slow``: each byte comes by itself."""

    def __init__(self, address, count=float('inf'), then=None, header=b'', is_slow=False):
        self._address, self._count, self._then = address, count, then
        self._header, self._is_slow = header, is_slow

    def __call__(self, near):
        far = socket.create_connection(self._address)
        far.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            self._pass_on(near, far)
        finally:
            far.close()

    def _pass_on(self, near, far):
        ahead, left, header = b'', self._count, self._header
        while True:
            for sock in select.select([near, far], [], [])[0]:
                data = sock.recv(65536)
                if not data:
                    return
                if sock is far:
                    near.sendall(data)
                    continue
                found, size = records(ahead + data)
                ahead, taken = (ahead + data)[size:], found[:left if left < len(found) else None]
                left -= len(taken)
                self._send(far, header + b''.join(taken))
                header = b'' if taken else header
                if not left:
                    self._stop(near, far, (found[len(taken):] or [ahead])[0])
                    return

    def _send(self, far, data):
        if self._is_slow:
            for start in range(len(data)):
                far.sendall(data[start:start + 1])
        elif data:
            far.sendall(data)

    def _stop(self, near, far, record):
        if self._then:
            self._then(far, record)
        while near.recv(65536):
            pass


def half(far, record):
    far.sendall((record or b'\x17\x03\x03\x01\0')[:8])


def garbage(far, record):
    far.sendall(b'\x17\x03\x03\x01\0' + b'garbage ' * 32)


def alert(far, record):
    far.sendall(b'\x15\x03\x03\0\x02\x02\x28')


def fin(far, record):
    far.shutdown(socket.SHUT_WR)


def rst(far, record):
    reset(far)
