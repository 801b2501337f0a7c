# -*- coding: utf-8 -*-
"""Attackers: a program of its own, which gives way to all others (nice 19). ``python floods.py KIND HOST PORT COUNT
SOURCE...``; it ends with its standard input, or after a while, and then says how much it was answered."""

import base64
import contextlib
import errno
import itertools
import os
import select
import socket
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from load import raise_descriptor_limit, running, tell  # noqa: E402
from raw_client import CONTINUATION, PING, PONG, TEXT, RawClient, frame  # noqa: E402
from targets import reset  # noqa: E402

MOST_SECONDS = 30
LONGEST_MESSAGE = 16777216   # limits.messageBytes
BLOCK_BYTES = 65536          # what is written at a time
FAILURE = b'"success": false'
WINDOW = 16384


# -- for the test ------------------------------------------------------------------------------------------------------

class Attack(object):
    """The running program."""

    def __init__(self, program):
        self._program = program
        program.wait_for('attacking')

    def end(self):
        """How often it was answered, which must be once at least; of floods from a target, how many bytes have gone."""
        self._program.wait_for('heard')
        self._program.end()
        return int(self._program.wait_for('answered'))


@contextlib.contextmanager
def attack(kind, address, count, sources=('127.0.0.2',)):
    with running(os.path.abspath(__file__), kind, address[0], address[1], count, *sources) as program:
        yield Attack(program)


# -- what is sent ------------------------------------------------------------------------------------------------------

def text(request):
    return frame(TEXT, request)


def many(message):
    return message * (BLOCK_BYTES // len(message) + 1)


# One label of 253 characters, none of which is ASCII: what makes an xn-- name of it takes a square of that.
LONG_LABEL = u''.join(u'%c' % (0x4e00 + 71 * number) for number in range(253)).encode('utf-8')
TO_ITSELF = b'"host": "127.0.0.1", "port": 1, "ssh_username": "u"'
DIRECT = text(b'{"command": "connect", "host": "%s", "port": 1}' % LONG_LABEL)
THROUGH_SSH = text(b'{"command": "connect", "ssh_host": "%s", %s}' % (LONG_LABEL, TO_ITSELF))
BESIDE_SSH = text(b'{"command": "connect", "ssh_host": "a.test", "ssh_username": "u", "host": "%s", "port": 1}'
                  % LONG_LABEL)
FORBIDDEN = text(b'{"command": "connect", "host": "169.254.1.1", "port": 80}')
CLOSE = text(b'{"command": "close"}')
# The last of them ends the message, so that there is an answer.
FRAGMENTS = frame(TEXT, b'', False) + frame(CONTINUATION, b'', False) * 2000 + frame(CONTINUATION, b'')


def longest(head, filling, tail):
    """A message of at most limits.messageBytes."""
    room = LONGEST_MESSAGE - len(head) - len(tail)
    return text(head + filling * (room // len(filling)) + tail)


SEND = b'{"command": "send", "data": "'
MARKS = b'"more": [' + b'0,' * 9990 + b'0], '  # just few enough for a request
LONG_MESSAGES = {
    'a long send': lambda: longest(SEND, b'x', b'"}'),
    'a long sendb': lambda: longest(b'{"command": "sendb", "data": "', base64.b64encode(b'abc') * 256, b'"}'),
    'a long send with escapes': lambda: longest(SEND, b'\\n', b'"}'),
    'a long send with marks and escaped quotes': lambda: longest(
        b'{"command": "send", ' + MARKS + b'"data": "', b'\\",', b'"}'),
    'a long sendb with too many marks': lambda: longest(
        b'{"command": "sendb", "more": [' + b',' * 10001 + b'], "data": "', b'\\"', b'"}'),
    'a long unknown command, deep': lambda: longest(b'{"more": ' + b'[' * 900 + b'"', b'x', b'"' + b']' * 900 + b'}'),
    'a long message of brackets': lambda: longest(b'', b'[', b''),
    'a long message of spaces': lambda: longest(b'{"command": ', b' ', b'"ping"}'),
}


# -- connections, all in one thread ------------------------------------------------------------------------------------

class Handler(object):
    """A socket that is ready now and then. ``answers`` is how many have come."""

    answers, wants = 0, select.POLLIN

    def __init__(self, sock):
        self.sock = sock
        sock.setblocking(False)

    def fileno(self):
        return self.sock.fileno()

    def on_readable(self):
        """False when it has ended."""
        return bool(self.sock.recv(BLOCK_BYTES))

    def on_writable(self):
        """There is nothing to say."""

    def newcomers(self, lives):
        """Further handlers that are there because of it; asked whenever it was ready, and when it has ended."""
        return []


class Repeater(Handler):
    """Sends the same bytes for ever, and counts what is in the replies."""

    wants = select.POLLIN | select.POLLOUT

    def __init__(self, sock, block, mark):
        Handler.__init__(self, sock)
        self._block, self._mark, self._at, self._tail = memoryview(block), mark, 0, b''

    def on_writable(self):
        self._at += self.sock.send(self._block[self._at:self._at + BLOCK_BYTES])
        self._at %= len(self._block)

    def on_readable(self):
        data = self.sock.recv(BLOCK_BYTES)
        seen = self._tail + data
        self.answers += seen.count(self._mark)
        self._tail = seen[1 - len(self._mark):] if len(self._mark) > 1 else b''
        return bool(data)


class Reader(Handler):
    """Reads what its target floods it with."""

    def on_readable(self):
        data = self.sock.recv(BLOCK_BYTES)
        self.answers += len(data)
        return bool(data)


class Granter(Reader):
    """Gives back at once what it has read of its window."""

    ACK = text(b'{"command": "ack", "bytes": %d}' % WINDOW)

    def on_readable(self):
        lives = Reader.on_readable(self)
        self.sock.send(self.ACK)
        return lives


class Stopped(Handler):
    """Reads nothing."""

    wants = 0


class Listening(Handler):
    """A target; its ``kind`` is the class of what it accepts."""

    def __init__(self, kind):
        listener = socket.socket()
        listener.bind(('127.0.0.1', 0))
        listener.listen(1024)
        Handler.__init__(self, listener)
        self._kind, self._accepted = kind, []
        self.port = listener.getsockname()[1]

    def on_readable(self):
        self._accepted.append(self._kind(self.sock.accept()[0]))
        return True

    def newcomers(self, lives):
        accepted, self._accepted = self._accepted, []
        return accepted


class Source(Handler):
    """A target that sends for ever. What has gone out counts as answered."""

    wants = select.POLLOUT
    _block = b'x' * BLOCK_BYTES

    def __init__(self, sock):
        Handler.__init__(self, sock)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2 * BLOCK_BYTES)  # the kernel need not hold a GB of it

    def on_writable(self):
        self.answers += self.sock.send(self._block)


class Crowd(object):
    """All handlers; total() is how often they were answered."""

    def __init__(self, handlers):
        self._poller, self._handlers, self.answers = select.poll(), {}, 0
        for handler in handlers:
            self._add(handler)
        self._poller.register(sys.stdin, select.POLLIN)

    def _add(self, handler):
        self._handlers[handler.fileno()] = handler
        self._poller.register(handler, handler.wants)

    def run(self, seconds):
        """False when standard input has ended."""
        end = time.time() + seconds
        while time.time() < end:
            for fd, events in self._poller.poll(100):
                if fd == sys.stdin.fileno():
                    return False
                self._serve(self._handlers[fd], events)
        return True

    def _serve(self, handler, events):
        try:
            lives = not events & ~select.POLLOUT or handler.on_readable()
            if lives and events & select.POLLOUT:
                handler.on_writable()
        except (IOError, OSError) as error:
            lives = error.errno == errno.EAGAIN
        if not lives:
            self._remove(handler)
        elif events & ~handler.wants & select.POLLOUT:
            self._poller.modify(handler, handler.wants)
        for newcomer in handler.newcomers(lives):
            self._add(newcomer)

    def _remove(self, handler):
        self._poller.unregister(handler)
        self.answers += handler.answers
        del self._handlers[handler.fileno()]
        handler.sock.close()

    def end(self):
        """Nothing is left to be done."""

    def total(self):
        return self.answers + sum(handler.answers for handler in self._handlers.values())


class Scene(object):
    """Who is attacked, by how many, and from where."""

    def __init__(self, address, count, sources):
        self.address, self.count, self._sources = address, count, itertools.cycle(sources)

    def client(self, **parameters):
        return RawClient(self.address, timeout=60, source=next(self._sources), **parameters)

    def websockets(self):
        return [self.client().open() for _ in range(self.count)]


def repeating(message, mark=FAILURE):
    """WebSockets that all send this message for ever."""
    def handlers(scene):
        block = many(message)
        return [Repeater(client.sock, block, mark) for client in scene.websockets()]
    return handlers


def repeating_long(make):
    """The same with a target that takes what there is for it."""
    def handlers(scene):
        target, message = Listening(Handler), make()
        clients = [client.connect_to(target.port) for client in scene.websockets()]
        return [target] + [Repeater(client.sock, message, b'"success": ') for client in clients]
    return handlers


def flooded(kind, **fields):
    """WebSockets whose targets flood them."""
    def handlers(scene):
        target = Listening(Source)
        clients = [client.connect_to(target.port, **fields) for client in scene.websockets()]
        return [target] + [kind(client.sock) for client in clients]
    return handlers


class Dripper(Handler):
    """Behind almost as much of a request as is allowed comes byte after byte. A byte that has gone counts as answered:
    an answer comes only when it was too much."""

    wants = select.POLLIN | select.POLLOUT
    _head = (b'GET /' + b'x' * 8000 + b' HTTP/1.1\r\n' + (b'X-Padding: ' + b'y' * 989 + b'\r\n') * 15 + b'X-Drip: ')

    def __init__(self, scene):
        client = scene.client()
        client.send(self._head)
        Handler.__init__(self, client.sock)
        self._scene = scene

    def on_writable(self):
        self.answers += self.sock.send(b'z')

    def newcomers(self, lives):
        return [] if lives else [Dripper(self._scene)]


class Silence(Handler):
    """Asks for nothing; when it is ended another takes its place. Each that has connected counts as answered."""

    answers = 1

    def __init__(self, scene):
        Handler.__init__(self, scene.client().sock)
        self._scene = scene

    def newcomers(self, lives):
        return [] if lives else [Silence(self._scene)]


class Unfinished(Handler):
    """A message that is begun and as long as may be, of which all comes but the end. Its bytes count as answered."""

    wants = select.POLLIN | select.POLLOUT

    def __init__(self, scene, message):
        Handler.__init__(self, scene.client().open().sock)
        self._scene, self._message = scene, message

    def on_writable(self):
        self.answers += self.sock.send(self._message[self.answers:self.answers + BLOCK_BYTES])
        if self.answers == len(self._message):
            self.wants = select.POLLIN

    def newcomers(self, lives):
        return [] if lives else [Unfinished(self._scene, self._message)]


def unfinished(scene):
    message = memoryview(frame(TEXT, b' ' * (LONGEST_MESSAGE - 1000), False))
    return [Unfinished(scene, message) for _ in range(scene.count)]


def many_of(kind):
    return lambda scene: [kind(scene) for _ in range(scene.count)]


# -- connections that come and go, in threads --------------------------------------------------------------------------

def resets_after_connect(scene):
    reset(scene.client().sock)


def websockets_that_reset(scene):
    client = scene.client()
    try:
        client.open()
    finally:
        client.abort()


def opens_and_closes(scene):
    with scene.client() as client:
        client.open().close()


PAGE = b'GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n'


def pages(scene):
    with scene.client() as client:
        client.send(PAGE)
        assert client.receive_reply()[0] == 200


def pages_not_read(scene):
    clients = [scene.client(receive_buffer=4096) for _ in range(20)]
    try:
        for client in clients:
            client.send(PAGE)
        assert clients[-1].receive_head().startswith(b'HTTP/1.1 200 ')
    finally:
        for client in clients:
            client.abort()


def nonsense(scene):
    client = scene.client()
    try:
        client.send(b'\x03\x00\x00\x13\x0e' + b'\r\n\r\n' + b'x' * 200000)
        assert client.receive_head().startswith(b'HTTP/1.1 400 ')
    finally:
        client.abort()


def urgent_data(scene):
    client = scene.client()
    try:
        client.open()
        for _ in range(200):
            client.sock.send(frame(PING))
            client.sock.send(b'!', socket.MSG_OOB)
        assert client.receive_frame()[0] == PONG
    finally:
        client.abort()


class Storm(object):
    """``act`` again and again in some threads."""

    def __init__(self, act, scene):
        self._act, self._scene, self._over = act, scene, threading.Event()
        self._counts = [0] * scene.count
        self._threads = [threading.Thread(target=self._repeat, args=(number,)) for number in range(scene.count)]

    def run(self, seconds):
        """False when standard input has ended."""
        for thread in self._threads:
            if not thread.is_alive():
                thread.start()
        return not select.select([sys.stdin], [], [], seconds)[0]

    def _repeat(self, number):
        while not self._over.is_set():
            try:
                self._act(self._scene)
                self._counts[number] += 1
            except (IOError, OSError, EOFError, AssertionError):
                pass  # it was refused: that does not count

    def end(self):
        self._over.set()
        for thread in self._threads:
            thread.join()

    def total(self):
        return sum(self._counts)


def storm(act):
    return lambda scene: Storm(act, scene)


def crowd(handlers):
    return lambda scene: Crowd(handlers(scene))


KINDS = {
    'hosts behind SSH': crowd(repeating(THROUGH_SSH)),
    'hosts beside SSH': crowd(repeating(BESIDE_SSH)),
    'hosts': crowd(repeating(DIRECT)),
    'empty objects': crowd(repeating(text(b'{}'))),
    'pings': crowd(repeating(frame(PING), b'\x8a\0')),
    'empty fragments': crowd(repeating(FRAGMENTS)),
    'forbidden connects': crowd(repeating(FORBIDDEN, b'"forbidden"')),
    'closes': crowd(repeating(CLOSE, b'close done')),
    'JSON floods read': crowd(flooded(Reader)),
    'JSON floods not read': crowd(flooded(Stopped)),
    'binary floods read': crowd(flooded(Reader, binary=True)),
    'binary floods not read': crowd(flooded(Stopped, binary=True)),
    'floods with a window': crowd(flooded(Granter, binary=True, window=WINDOW)),
    'dripping headers': crowd(many_of(Dripper)),
    'silence': crowd(many_of(Silence)),
    'unfinished messages': crowd(unfinished),
    'resets after the connect': storm(resets_after_connect),
    'WebSockets that reset': storm(websockets_that_reset),
    'opens': storm(opens_and_closes),
    'pages': storm(pages),
    'pages not read': storm(pages_not_read),
    'nonsense': storm(nonsense),
    'urgent data': storm(urgent_data),
}
KINDS.update((name, crowd(repeating_long(make))) for name, make in LONG_MESSAGES.items())


def main(kind, host, port, count, *sources):
    os.nice(19)
    raise_descriptor_limit()
    attackers, is_heard = KINDS[kind](Scene((host, int(port)), int(count), sources)), False
    end = time.time() + MOST_SECONDS
    tell('attacking')
    while attackers.run(0.1) and time.time() < end:
        if not is_heard and attackers.total():
            is_heard = True
            tell('heard')
    attackers.end()
    tell('answered', attackers.total())


if __name__ == '__main__':
    main(*sys.argv[1:])
