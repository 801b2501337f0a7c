"""The TCP target behind the gateway. The first byte of a connection says what it is to be:

    E               an echo of all that comes, that byte too
    S + 8 bytes     a source of so many pattern bytes; 0: until the run stops
    K + 8 bytes     a sink, which answers so many bytes with their SHA-256; 0: it only counts

Echoes are served by the process that accepts, so that opening costs nothing more; the others by a second process, so
that round trips do not wait behind downloads.
"""
import array
import hashlib
import socket
import struct

from board import LOOKED_AT, MEASURING, PATTERN, RECEIVED, SENT, WRONG, is_pattern
from turns import READ, WRITE, Turns

ECHO, SOURCE, SINK = b'E', b'S', b'K'
REQUEST = struct.Struct('>cQ')
PIECE = 262144
INTEGERS = 'i'


class Gone(Exception):
    """The gateway has closed the connection."""


def received(sock, size=65536):
    try:
        data = sock.recv(size)
    except BlockingIOError:
        return None
    except ConnectionError:
        raise Gone
    if not data:
        raise Gone
    return data


def sent(sock, data):
    """How many bytes went out."""
    try:
        return sock.send(data)
    except BlockingIOError:
        return 0
    except ConnectionError:
        raise Gone


class Echo(object):
    """It keeps what cannot go out yet, and does not read meanwhile."""

    def __init__(self, sock, turns):
        self.sock, self._turns, self._waiting = sock, turns, b''

    def on_ready(self, events):
        data = self._waiting or received(self.sock)
        if data:
            rest = data[sent(self.sock, data):]
            if rest or self._waiting:
                self._turns.change(self.sock.fileno(), WRITE if rest else READ)
            self._waiting = rest


class Undecided(object):
    """Accepted, and still silent."""

    def __init__(self, sock, turns, owners, pass_on):
        self.sock, self._turns, self._owners, self._pass_on, self._request = sock, turns, owners, pass_on, b''

    def on_ready(self, events):
        # No more than the request: what follows it is for the process that gets the socket.
        data = received(self.sock, REQUEST.size - len(self._request))
        self._request += data or b''
        if self._request[:1] == ECHO:
            self._become_echo()
        elif len(self._request) == REQUEST.size:
            self._pass_on(self.sock, self._request)
            raise Gone

    def _become_echo(self):
        echo = self._owners[self.sock.fileno()] = Echo(self.sock, self._turns)
        if sent(self.sock, self._request) != len(self._request):
            raise Gone
        echo.on_ready(READ)


class Source(object):
    def __init__(self, sock, turns, total, board, writer):
        self.sock, self._turns, self._total, self._position = sock, turns, total, 0
        self._board, self._place = board, board.place(writer, SENT)
        turns.watch(sock.fileno(), READ | WRITE)

    def on_ready(self, events):
        if events & ~WRITE:
            received(self.sock)
        if events & WRITE and not self._send():
            self._turns.change(self.sock.fileno(), READ)

    def _send(self):
        """Is there more to come?"""
        if not self._total and self._board.phase > MEASURING:
            return False
        start = self._position % len(PATTERN)
        size = min(PIECE, self._total - self._position) if self._total else PIECE
        count = sent(self.sock, self.PATTERN[start:start + size])
        self._position += count
        if not self._total:
            self._board.words[self._place] += count
        return not self._total or self._position < self._total

    PATTERN = memoryview(PATTERN)


class Sink(object):
    def __init__(self, sock, turns, total, board, writer):
        self.sock, self._total, self._position = sock, total, 0
        self._board = board
        self._received, self._wrong = board.place(writer, RECEIVED), board.place(writer, WRONG)
        self._digest = hashlib.sha256()
        turns.watch(sock.fileno(), READ)

    BUFFER = memoryview(bytearray(4 * PIECE))

    def on_ready(self, events):
        try:
            count = self.sock.recv_into(self.BUFFER)
        except BlockingIOError:
            return
        except ConnectionError:
            raise Gone
        if not count:
            raise Gone
        if self._total:
            self._check(self.BUFFER[:count])
        else:
            self._count(bytes(self.BUFFER[:min(count, LOOKED_AT)]), count)
        self._position += count

    def _count(self, head, count):
        self._board.words[self._received] += count
        self._board.words[self._wrong] += not is_pattern(head, self._position)

    def _check(self, data):
        self._digest.update(data)
        if self._position + len(data) == self._total:
            self.sock.sendall(self._digest.digest())


def serve(owners, turns, seconds=0.1):
    for descriptor, events in turns.ready(seconds):
        owner = owners.get(descriptor)
        if owner is None:
            continue  # closed by an earlier one of this turn
        try:
            owner.on_ready(events)
        except Gone:
            del owners[descriptor]
            turns.forget(descriptor)
            owner.sock.close()


class Door(object):
    """The listening socket."""

    def __init__(self, listener, turns, owners, channel):
        self.sock, self._turns, self._owners, self._channel = listener, turns, owners, channel
        listener.setblocking(False)
        turns.watch(listener.fileno(), READ)

    def on_ready(self, events):
        for _ in range(64):
            try:
                sock = self.sock.accept()[0]
            except BlockingIOError:
                return
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._owners[sock.fileno()] = Undecided(sock, self._turns, self._owners, self._pass_on)
            self._turns.watch(sock.fileno(), READ)

    def _pass_on(self, sock, request):
        descriptors = array.array(INTEGERS, [sock.fileno()])
        self._channel.sendmsg([request], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, descriptors)])


class Channel(object):
    """Where the second process gets connections that have said what they want."""

    KINDS = {SOURCE: Source, SINK: Sink}

    def __init__(self, sock, turns, owners, board, writer):
        self.sock, self._turns, self._owners, self._board, self._writer = sock, turns, owners, board, writer
        turns.watch(sock.fileno(), READ)

    def on_ready(self, events):
        descriptors = array.array(INTEGERS)
        request, ancillary, _, _ = self.sock.recvmsg(REQUEST.size, socket.CMSG_SPACE(descriptors.itemsize))
        descriptors.frombytes(ancillary[0][2][:descriptors.itemsize])
        sock = socket.socket(fileno=descriptors[0])
        sock.setblocking(False)
        kind, total = REQUEST.unpack(request)
        self._owners[sock.fileno()] = self.KINDS[kind](sock, self._turns, total, self._board, self._writer)


def listening():
    listener = socket.socket()
    listener.bind(('127.0.0.1', 0))
    listener.listen(4096)
    return listener


def run_door(listener, channel):
    turns, owners = Turns(), {}
    owners[listener.fileno()] = Door(listener, turns, owners, channel)
    while True:
        serve(owners, turns)


def run_bulk(channel, board, writer):
    turns, owners = Turns(), {}
    owners[channel.fileno()] = Channel(channel, turns, owners, board, writer)
    while True:
        serve(owners, turns)
