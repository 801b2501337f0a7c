# -*- coding: utf-8 -*-
"""A raw client that speaks TLS."""

import errno
import select
import socket
import ssl
import threading

from pki import NAME
from raw_client import RawClient
from ws2s import beneath


class TlsSocket(object):
    """TLS over ``sock``. One thread may read while another writes, which OpenSSL does not allow, and the end of the
    other side must be said by it: to stop without a word is an error."""

    def __init__(self, sock, context, name=NAME):
        self._lock, self._timeout = threading.Lock(), sock.gettimeout()
        self._sock = context.wrap_socket(sock, server_hostname=name, suppress_ragged_eofs=False)
        self._sock.setblocking(False)
        for verb in ('close', 'fileno', 'getsockopt', 'setsockopt', 'version', 'compression', 'getpeercert'):
            setattr(self, verb, getattr(self._sock, verb))

    def gettimeout(self):
        return self._timeout

    def settimeout(self, seconds):
        self._timeout = seconds

    def _patiently(self, act):
        """``act()`` as soon as that can be done."""
        while True:
            try:
                with self._lock:
                    return act()
            except ssl.SSLWantReadError:
                event = select.POLLIN
            except ssl.SSLWantWriteError:
                event = select.POLLOUT
            except (IOError, OSError) as error:
                if error.errno != errno.EAGAIN:
                    raise
                event = select.POLLIN  # of a plain socket: TLS has ended both ways
            poller = select.poll()
            poller.register(self._sock, event)
            if not poller.poll(None if self._timeout is None else 1000 * self._timeout):
                raise socket.timeout('timed out')

    def recv(self, count):
        try:
            return self._patiently(lambda: self._sock.recv(count))
        except ssl.SSLZeroReturnError:  # after our own end
            return b''

    def sendall(self, data):
        view = memoryview(data)
        while len(view):
            view = view[self._patiently(lambda: self._sock.send(view[:16384])):]

    def shutdown(self, how):
        """As most programs do: the other side's end, too, is asked for, though not waited for."""
        if how == socket.SHUT_WR:
            with self._lock:
                try:
                    self._sock.unwrap()
                except (IOError, OSError, ValueError):
                    return  # the other side's end is not there yet, or data is
        beneath(self._sock).shutdown(how)

    def end_beneath(self):
        """Close our half as if TLS were none."""
        beneath(self._sock).shutdown(socket.SHUT_WR)


def trusting(authority, **settings):
    """An SSLContext that trusts the certificate in this file, with these attributes."""
    context = ssl.create_default_context(cafile=authority)
    for name, value in settings.items():
        setattr(context, name, value)
    return context


class TlsClient(RawClient):
    """``context``: what trusting() gives."""

    def __init__(self, address, context, name=NAME, **options):
        RawClient.__init__(self, address, **options)
        try:
            self.sock = TlsSocket(self.sock, context, name)
        except (IOError, OSError):
            self.sock.close()
            raise
