# -*- coding: utf-8 -*-
"""TCP servers that play the target: each connection is given to a function, in a thread of its own."""

import contextlib
import errno
import select
import socket
import struct
import threading

POLLRDHUP = 0x2000  # Python 2 has no name for it


@contextlib.contextmanager
def serving(on_connection, host='127.0.0.1', receive_buffer=None, listener=None):
    """A server that calls ``on_connection(sock)`` for each connection; its port. All is closed in the end."""
    if listener is None:
        listener = socket.socket(socket.AF_INET6 if ':' in host else socket.AF_INET)
        if receive_buffer:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        listener.bind((host, 0))
    listener.listen(128)
    socks, threads = [], []

    def run(sock):
        try:
            on_connection(sock)
        except (IOError, OSError):
            pass  # the other side went first, or the test is over
        finally:
            sock.close()

    def accept():
        while True:
            try:
                sock = listener.accept()[0]
            except (IOError, OSError):
                return
            socks.append(sock)
            threads.append(threading.Thread(target=run, args=(sock,)))
            threads[-1].daemon = True
            threads[-1].start()

    acceptor = threading.Thread(target=accept)
    acceptor.daemon = True
    acceptor.start()
    try:
        yield listener.getsockname()[1]
    finally:
        shut(listener)
        listener.close()
        acceptor.join(5)
        for sock in list(socks):
            shut(sock)
        for thread in list(threads):
            thread.join(5)


def shut(sock):
    """Wake whoever waits on ``sock``."""
    try:
        sock.shutdown(socket.SHUT_RDWR)
    except (IOError, OSError):
        pass  # it was not connected


def echo(sock):
    while True:
        data = sock.recv(65536)
        if not data:
            return
        sock.sendall(data)


def sink(sock):
    while sock.recv(65536):
        pass


@contextlib.contextmanager
def serving_together(services):
    """A server for each pair (host, on_connection), all on one port, which may be busy on none of the hosts."""
    listeners = listeners_together([host for host, _ in services])

    @contextlib.contextmanager
    def serving_from(number):
        if number == len(services):
            yield listeners[0].getsockname()[1]
            return
        with serving(services[number][1], listener=listeners[number]), serving_from(number + 1) as port:
            yield port

    with serving_from(0) as port:
        yield port


def listeners_together(hosts):
    while True:
        listeners, port = [], 0
        try:
            for host in hosts:
                listeners.append(socket.socket(socket.AF_INET6 if ':' in host else socket.AF_INET))
                listeners[-1].bind((host, port))
                listeners[-1].listen(128)
                port = listeners[0].getsockname()[1]
            return listeners
        except (IOError, OSError) as error:
            for listener in listeners:
                listener.close()
            if error.errno != errno.EADDRINUSE:
                raise


def silence(sock):
    """Reads nothing and says nothing until the connection ends."""
    poller = select.poll()
    poller.register(sock, POLLRDHUP)
    poller.poll()


def recorder(received):
    """Puts what each connection sent, as one bytes, into the list ``received`` when it has ended."""
    def record(sock):
        pieces = []
        while True:
            data = sock.recv(65536)
            if not data:
                received.append(b''.join(pieces))
                return
            pieces.append(data)
    return record


def saying(data, then=None):
    """Sends ``data``, then does ``then(sock)``, or closes."""
    def say(sock):
        sock.sendall(data)
        if then:
            then(sock)
    return say


def reset(sock):
    """End with a RST."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
    sock.close()


def closed_port():
    """A port on which nothing listens."""
    sock = socket.socket()
    sock.bind(('127.0.0.1', 0))
    port = sock.getsockname()[1]
    sock.close()
    return port


@contextlib.contextmanager
def silent_port():
    """A port that answers no SYN: its queue of connections is full, and nobody takes from it."""
    listener, filler = socket.socket(), socket.socket()
    try:
        listener.bind(('127.0.0.1', 0))
        listener.listen(0)
        filler.connect(listener.getsockname())
        yield listener.getsockname()[1]
    finally:
        filler.close()
        listener.close()


def own_address():
    """An address of this machine that is not loopback, or None. Nothing is sent: it only asks for the way out."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        sock.connect(('198.51.100.1', 9))
        address = sock.getsockname()[0]
    except (IOError, OSError):
        return None
    finally:
        sock.close()
    return None if address.startswith('127.') else address


def when(event, then):
    """Does nothing until ``event`` is set, then ``then(sock)``."""
    def wait(sock):
        event.wait(60)
        then(sock)
    return wait


@contextlib.contextmanager
def released(event):
    """``event`` is set in the end, come what may."""
    try:
        yield
    finally:
        event.set()


@contextlib.contextmanager
def unaccepted(backlog=1024):
    """A port that connects, through the kernel alone, and whose connections nobody ever reads."""
    listener = socket.socket()
    listener.bind(('127.0.0.1', 0))
    listener.listen(backlog)
    try:
        yield listener.getsockname()[1]
    finally:
        listener.close()


class MortalPath(object):
    """A way to ``address``. Once it has died it takes what comes, passes nothing on and ends nothing; others live."""

    def __init__(self, address):
        self._address, self._deaths = address, 0

    def die(self):
        self._deaths += 1

    def __call__(self, near):
        born, far = self._deaths, socket.create_connection(self._address)
        try:
            ways = {near: far, far: near}
            while True:
                for sock in select.select(list(ways), [], [])[0]:
                    data = sock.recv(65536)
                    if not data:
                        return
                    if self._deaths == born:
                        ways[sock].sendall(data)
        finally:
            far.close()
