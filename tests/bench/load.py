"""The clients. Each kind of load is a function that a process of its own runs until the board says that it is over."""
import array
import hashlib
import select
import socket
import struct
import time

import targets
from board import BLOCK, DONE, ENDED, MEASURING, PATTERN, RECEIVED, SENT, STOPPING, is_pattern
from turns import READ, WRITE, Turns
from wires import ACCEPT, CLOSE, GOODBYE, PING, PONG, Broken, Inbox, Tape, masked

ANSWER_SECONDS = 15   # for any one thing that a gateway must do
ECHO_BYTES = 64
STREAMS = 10          # in one WebSocket, where there are more than one
WIDE = 1 << 20
CHECKED = 2 * len(PATTERN) + 12345
CHECKED_ECHOES = (1, 125, 126, 4096, 65535, 65536)
RESET = struct.pack('ii', 1, 0)
TIMEOUT = struct.pack('ll', ANSWER_SECONDS, 0)


class Client(object):
    """One WebSocket. ``opening()`` is a generator of what it waits for, so that many can be opened at a time."""

    def __init__(self, wire, port):
        self.wire, self.port, self.inbox, self.allowance, self.position = wire, port, Inbox(), 0, 0
        self.sock = socket.socket()
        self.sock.setblocking(False)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def opening(self):
        self._dial()
        yield WRITE
        error = self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            raise Broken('connecting: errno %d' % error)
        self.sock.send(self.wire.request(self.port))
        yield from self._handshake()
        if self.wire.opening:
            self.sock.send(self.wire.opening)
        if self.wire.says_opened:
            yield from self._until_opened()

    def _dial(self):
        try:
            self.sock.connect(('127.0.0.1', self.port))
        except BlockingIOError:
            pass  # it is under way

    def _handshake(self):
        answer = None
        while answer is None:
            yield READ
            self.fill()
            answer = self.inbox.line_end()
        if not answer.startswith(b'HTTP/1.1 101 ') or ACCEPT not in answer:
            raise Broken('the handshake was answered %r' % answer[:60])

    def _until_opened(self):
        while True:
            for opcode, start, end in self.inbox.frames():
                payload = bytes(self.inbox.buffer[start:end])
                if self.wire.opened_by(opcode, payload):
                    return self._on_opened(opcode, payload)
            yield READ
            self.fill()

    def _on_opened(self, opcode, payload):
        if self.wire.credited:
            self.allowance = self.wire.credit(opcode, payload)
        if self.wire.follow_up:
            self.sock.send(self.wire.follow_up)

    def fill(self):
        """Receive what is there."""
        try:
            if not self.inbox.receive_from(self.sock):
                raise Broken('the gateway has closed the connection')
        except BlockingIOError:
            pass  # it is not ready after all

    def frames(self):
        """Those that are not about the WebSocket itself."""
        for opcode, start, end in self.inbox.frames():
            if opcode < CLOSE:
                yield opcode, start, end
            elif opcode == PING:
                self.sock.send(masked(PONG, bytes(self.inbox.buffer[start:end])))
            elif opcode == CLOSE:
                raise Broken('the gateway says goodbye: %r' % bytes(self.inbox.buffer[start:end]))

    def data(self):
        """The target's bytes that have come, and how many answers."""
        found, answers = [], 0
        for opcode, start, end in self.frames():
            payload = bytes(self.inbox.buffer[start:end])
            self._count_credit(opcode, payload)
            data = self.wire.data(opcode, payload)
            found.append(data)
            answers += not data
        return b''.join(found), answers

    def _count_credit(self, opcode, payload):
        if self.wire.credited:
            allowance = self.wire.credit(opcode, payload)
            self.allowance = self.allowance if allowance is None else allowance

    def count(self):
        """How many of the target's bytes have come; the first of each frame are compared."""
        total = 0
        for opcode, start, end in self.frames():
            head, size = self.wire.look(opcode, self.inbox.buffer, start, end)
            if not is_pattern(head, self.position):
                raise Broken('wrong bytes at %d of a download' % self.position)
            self.position += size
            total += size
        return total

    def answers(self):
        """How many replies have come; credits are noted."""
        data, answers = self.data()
        if data:
            raise Broken('a target that only takes has sent %r' % data[:40])
        return answers

    def ask(self, kind, total=0):
        """Tell the target what it is to be."""
        self.sock.send(self.wire.message(targets.REQUEST.pack(kind, total)))
        self.allowance -= 1

    def block(self):
        """Receiving waits from now on, but not for ever. The kernel's own timer needs no call for it."""
        self.sock.setblocking(True)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, TIMEOUT)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, TIMEOUT)
        return self

    def reset(self):
        """Close without leaving the port in TIME_WAIT."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self.sock.close()


def opened(wire, port):
    """A Client with an open target, or Broken."""
    client = Client(wire, port)
    deadline = time.monotonic() + ANSWER_SECONDS
    for wanted in client.opening():
        poll = select.poll()
        poll.register(client.sock, select.POLLIN if wanted == READ else select.POLLOUT)
        if not poll.poll(max(0, deadline - time.monotonic()) * 1000):
            raise Broken('not open after %d s' % ANSWER_SECONDS)
    return client


def all_opened(wires, port):
    clients = [opened(wire, port) for wire in wires]
    return {client.sock.fileno(): client for client in clients}


# --- The pass before: all bytes are compared ------------------------------------------------------

def check(wire, port):
    """Broken when a byte is lost, doubled or changed on the way."""
    for checked in (check_download, check_upload, check_echoes):
        client = opened(wire, port).block()
        try:
            checked(client)
        except (BlockingIOError, ConnectionError) as error:
            raise Broken('%s: %s' % (checked.__name__, error.strerror))
        finally:
            client.reset()


def check_download(client):
    client.ask(targets.SOURCE, CHECKED)
    data = read_exactly(client, CHECKED)
    if data != (PATTERN * (CHECKED // len(PATTERN) + 1))[:CHECKED]:
        raise Broken('a download has other bytes than its target has sent')


def read_exactly(client, size):
    parts, count = [], 0
    while count < size:
        waited_fill(client)
        data = client.data()[0]
        parts.append(data)
        count += len(data)
    if count > size:
        raise Broken('%d bytes came where the target has sent %d' % (count, size))
    return b''.join(parts)


def waited_fill(client):
    if not client.inbox.receive_from(client.sock):
        raise Broken('the gateway has closed the connection')


def check_upload(client):
    client.ask(targets.SINK, CHECKED)
    digest, answer = hashlib.sha256(), b''
    for start in range(0, CHECKED, BLOCK):
        while client.wire.credited and client.allowance < 1:
            waited_fill(client)
            answer += client.data()[0]
        piece = (PATTERN + PATTERN)[start % len(PATTERN):][:min(BLOCK, CHECKED - start)]
        digest.update(piece)
        client.sock.sendall(client.wire.message(piece))
        client.allowance -= 1
    if answer + read_exactly(client, digest.digest_size - len(answer)) != digest.digest():
        raise Broken('an upload has reached its target with other bytes')


def check_echoes(client):
    for size in CHECKED_ECHOES:
        data = targets.ECHO + PATTERN[1:size]
        client.sock.sendall(client.wire.message(data))
        if read_exactly(client, size) != data:
            raise Broken('an echo of %d bytes came back as others' % size)


# --- Downloads and uploads ------------------------------------------------------------------------

def download(wires, port, board, writer):
    clients = all_opened(wires, port)
    turns, place = Turns(), board.place(writer, RECEIVED)
    for descriptor, client in clients.items():
        client.inbox = Inbox(WIDE)
        client.ask(targets.SOURCE)
        turns.watch(descriptor, READ)
    yield
    while board.phase < ENDED:
        for descriptor, _ in turns.ready(0.05):
            client = clients[descriptor]
            client.fill()
            board.words[place] += client.count()


class Uploading(object):
    """How far one client is on its tape."""

    def __init__(self, client, turns):
        self.client, self._turns, self._tape = client, turns, Tape.of(client.wire)
        self.sent, self.answered, self._offset, self._number, self._stops_at = 0, 0, 0, 0, None
        self._wanted = READ | WRITE
        turns.watch(client.sock.fileno(), READ | WRITE)

    def on_ready(self, events, stopping):
        """How many messages have gone out whole."""
        if events & ~WRITE:
            self.client.fill()
            self.answered += self.client.answers()
        before = self.sent
        if events & WRITE or self._wanted == READ:
            self._send(stopping)
        return self.sent - before

    def _send(self, stopping):
        limit = self._limit(stopping)
        if limit > self._offset:
            self._advance(send(self.client.sock, self._tape.view[self._offset:min(limit, self._offset + WIDE)]))
        self._want(READ | WRITE if self._limit(stopping) > self._offset else READ)

    def _limit(self, stopping):
        """Where on the tape it must stop: at a border between messages when it may send no more of them."""
        if stopping:
            return self._tape.borders[self._number] if self._is_within() else self._offset
        if self.client.wire.credited:
            return self._border_after(self.client.allowance)
        return len(self._tape.view)

    def _is_within(self):
        return self._offset > (self._tape.borders[self._number - 1] if self._number else 0)

    def _border_after(self, messages):
        last = min(self._number + messages, len(self._tape.borders)) - 1
        return self._tape.borders[last] if last >= self._number else self._offset

    def _advance(self, count):
        self._offset += count
        borders = self._tape.borders
        while self._number < len(borders) and self._offset >= borders[self._number]:
            self._number += 1
            self.sent += 1
            self.client.allowance -= 1
        if self._number == len(borders):
            self._number = self._offset = 0

    def _want(self, wanted):
        if wanted != self._wanted:
            self._wanted = wanted
            self._turns.change(self.client.sock.fileno(), wanted)

    @property
    def is_answered(self):
        return not self.client.wire.replies or self.answered == self.sent + 1  # the request to the target, too


def send(sock, data):
    try:
        return sock.send(data)
    except BlockingIOError:
        return 0


def upload(wires, port, board, writer):
    clients = all_opened(wires, port)
    turns, place = Turns(), board.place(writer, SENT)
    for client in clients.values():
        client.ask(targets.SINK)
    uploads = {descriptor: Uploading(client, turns) for descriptor, client in clients.items()}
    yield
    while board.phase < ENDED:
        ready = dict(turns.ready(0.05))
        stopping = board.phase >= STOPPING
        for descriptor in uploads if stopping else ready:
            board.words[place] += BLOCK * uploads[descriptor].on_ready(ready.get(descriptor, WRITE), stopping)
    finish_answers(uploads, turns)


def finish_answers(uploads, turns):
    deadline = time.monotonic() + ANSWER_SECONDS
    while not all(one.is_answered for one in uploads.values()):
        for descriptor, events in turns.ready(0.05):
            uploads[descriptor].on_ready(events, True)
        if time.monotonic() > deadline:
            raise Broken('messages were left without their replies')


# --- Round trips ----------------------------------------------------------------------------------

class Pinging(object):
    """One client that sends its bytes again when they have come back. No two clients send the same."""

    def __init__(self, client, number):
        self.client, self.sock, self.since = client, client.sock, 0
        self.payload = (targets.ECHO + b'%d ' % number + PATTERN)[:ECHO_BYTES]
        self.ping, self._pong = client.wire.message(self.payload), client.wire.carried(self.payload)
        self._data, self._answers, self._whole = b'', 0, True

    def is_back(self):
        """Receive; has all of it come, and its reply, too?"""
        received = self.sock.recv(4096)
        if self._whole and received == self._pong:
            return True
        if not received:
            raise Broken('the gateway has closed the connection')
        self.client.inbox.feed(received)
        return self._is_complete()

    def _is_complete(self):
        data, answers = self.client.data()
        self._data += data
        self._answers += answers
        if not self.payload.startswith(self._data):
            raise Broken('an echo came back as %r' % self._data)
        self._whole = self._data == self.payload and (self._answers > 0 or not self.client.wire.replies)
        if self._whole:
            self._data, self._answers = b'', 0
        return self._whole


def pinging(wires, port, writer):
    clients = all_opened(wires, port)
    for number, (descriptor, client) in enumerate(clients.items()):
        yield descriptor, Pinging(client, 1000 * writer + number)


def round_trips(wires, port, board, writer):
    """The seconds of each one while it was measured."""
    pingings = dict(pinging(wires, port, writer))
    yield
    run = round_trips_of_one if len(pingings) == 1 else round_trips_of_many
    return run(pingings, board, board.place(writer, DONE))


def round_trips_of_one(pingings, board, place):
    """It blocks: another call that waits for readiness would be measured, too."""
    times = array.array('d')
    (one,) = pingings.values()
    one.client.block()
    while board.phase < STOPPING:
        one.since = time.monotonic()
        one.sock.send(one.ping)
        while not one.is_back():
            pass
        if board.phase == MEASURING:
            times.append(time.monotonic() - one.since)
            board.words[place] += 1
    return times


def round_trips_of_many(pingings, board, place):
    times, turns, words, clock = array.array('d'), Turns(), board.words, time.monotonic
    for descriptor, one in pingings.items():
        turns.watch(descriptor, READ)
        one.since = clock()
        one.sock.send(one.ping)
    heard = clock()
    while board.phase < STOPPING:
        for descriptor, _ in turns.ready(0.05):
            one = pingings[descriptor]
            if not one.is_back():
                continue
            heard = clock()
            if board.phase == MEASURING:
                times.append(heard - one.since)
                words[place] += 1
            one.since = heard
            one.sock.send(one.ping)
        if clock() - heard > ANSWER_SECONDS:
            raise Broken('no echo for %d s' % ANSWER_SECONDS)
    return times


class Stream(object):
    """One of many in a WebSocket: it sends its bytes again when they have come back, as far as its credit goes."""

    def __init__(self, wire, stream, number, allowance):
        self.payload = (targets.ECHO + b'%d.%d ' % (number, stream) + PATTERN)[:ECHO_BYTES]
        self.ping, self.allowance, self.since = wire.message(self.payload, stream), allowance, None
        self._data = b''

    def go(self, now):
        """What is to be sent now."""
        if self.since is not None or self.allowance < 1:
            return b''
        self.since = now
        self.allowance -= 1
        return self.ping

    def on_data(self, data):
        """Is all of it back?"""
        self._data += data
        if self.since is None or not self.payload.startswith(self._data):
            raise Broken('an echo came back as %r' % self._data)
        if self._data != self.payload:
            return False
        self._data = b''
        return True


class Streams(object):
    """One WebSocket with many streams. What one read brings back goes out again with one write."""

    def __init__(self, client, number):
        self.client, self.sock = client, client.sock
        self.streams = {stream: Stream(client.wire, stream, number, client.allowance) for stream in client.wire.streams}

    def begin(self, now):
        self.sock.send(b''.join([stream.go(now) for stream in self.streams.values()]))

    def on_ready(self):
        """The seconds of each round trip that has ended."""
        self.client.fill()
        now, times, out = time.monotonic(), [], []
        wire, buffer = self.client.wire, self.client.inbox.buffer
        for opcode, start, end in self.client.frames():
            packet = bytes(buffer[start:end])
            stream = self.streams.get(wire.kind_and_stream(opcode, packet)[1])
            if stream is None:
                raise Broken('a packet of no stream: %r' % packet)
            credit = wire.credit(opcode, packet)
            if credit is not None:
                stream.allowance = credit
            elif stream.on_data(packet[wire.HEAD.size:]):
                times.append(now - stream.since)
                stream.since = None
            out.append(stream.go(now))
        if any(out):
            self.sock.send(b''.join(out))
        return times


def stream_round_trips(wires, port, board, writer):
    """As round_trips(), each of the ``wires`` a stream, some of them in one WebSocket."""
    groups = [wires[start:start + STREAMS] for start in range(0, len(wires), STREAMS)]
    clients = all_opened([type(group[0])(group[0].target_port, len(group)) for group in groups], port)
    opened = {descriptor: Streams(client, 1000 * writer + number)
              for number, (descriptor, client) in enumerate(clients.items())}
    times, turns, place = array.array('d'), Turns(), board.place(writer, DONE)
    yield
    for descriptor, one in opened.items():
        turns.watch(descriptor, READ)
        one.begin(time.monotonic())
    heard = time.monotonic()
    while board.phase < STOPPING:
        for descriptor, _ in turns.ready(0.05):
            found, heard = opened[descriptor].on_ready(), time.monotonic()
            if board.phase == MEASURING:
                times.extend(found)
                board.words[place] += len(found)
        if time.monotonic() - heard > ANSWER_SECONDS:
            raise Broken('no echo for %d s' % ANSWER_SECONDS)
    return times


# --- Opening and closing --------------------------------------------------------------------------

def life(client):
    """Open, one echo, goodbye, as a generator of what is waited for."""
    payload = (targets.ECHO + PATTERN)[:ECHO_BYTES]
    yield from client.opening()
    client.sock.send(client.wire.message(payload))
    echo = b''
    while len(echo) < len(payload):
        yield READ
        client.fill()
        echo += client.data()[0]
    if echo != payload:
        raise Broken('an echo came back as %r' % echo)
    client.sock.send(GOODBYE)


def farewell(client):
    """Until the gateway says goodbye, or just closes."""
    while True:
        if any(opcode == CLOSE for opcode, _, _ in client.inbox.frames()):
            return
        yield READ
        try:
            if not client.inbox.receive_from(client.sock):
                return
        except ConnectionError:
            return


class Life(object):
    """One client on its way through what it waits for."""

    def __init__(self, client, turns):
        self.client, self.since, self.is_leaving = client, time.monotonic(), False
        self._turns, self._steps = turns, life(client)
        self._wanted = next(self._steps)
        self.descriptor = client.sock.fileno()
        turns.watch(self.descriptor, self._wanted)

    def goes_on(self):
        """One step; is there another?"""
        wanted = next(self._steps, None)
        if wanted not in (None, self._wanted):
            self._turns.change(self.descriptor, wanted)
            self._wanted = wanted
        return wanted is not None

    def leaves(self):
        """Has the gateway's goodbye still to come?"""
        self.is_leaving, self._steps = True, farewell(self.client)
        return self.goes_on()

    def bury(self):
        self._turns.forget(self.descriptor)
        self.client.reset()


class Lives(object):
    """Clients that live and end; with each goodbye the next one begins.

    The gateway's own goodbye is waited for aside, or a server that is slow to say it would be measured by that alone.
    """

    def __init__(self, port, board, writer):
        self.times, self._port, self._board, self._place = array.array('d'), port, board, board.place(writer, DONE)
        self._turns, self._lives = Turns(), {}

    def begin(self, wire):
        one = Life(Client(wire, self._port), self._turns)
        self._lives[one.descriptor] = one

    def turn(self):
        for descriptor, _ in self._turns.ready(0.05):
            one = self._lives[descriptor]
            if not one.goes_on():
                self._on_end(one)

    def _on_end(self, one):
        if one.is_leaving:
            del self._lives[one.descriptor]
            one.bury()
            return
        if self._board.phase == MEASURING:
            self.times.append(time.monotonic() - one.since)
            self._board.words[self._place] += 1
        if self._board.phase < STOPPING:
            self.begin(one.client.wire)
        if not one.leaves():
            self._on_end(one)

    def finish(self):
        deadline = time.monotonic() + ANSWER_SECONDS
        while self._lives:
            self.turn()
            if time.monotonic() > deadline:
                raise Broken('%d connections have not ended after %d s' % (len(self._lives), ANSWER_SECONDS))


def open_and_close(wires, port, board, writer):
    """The seconds of each life while they were measured."""
    lives = Lives(port, board, writer)
    yield
    for wire in wires:
        lives.begin(wire)
    while board.phase < STOPPING:
        lives.turn()
    lives.finish()
    return lives.times


# --- Doing nothing --------------------------------------------------------------------------------

def idle(wires, port, board, writer):
    pingings = dict(pinging(wires, port, writer))
    for one in pingings.values():
        echo_once(one)
    yield
    while board.phase < STOPPING:
        time.sleep(0.05)
    for one in pingings.values():
        echo_once(one)


def echo_once(pinging):
    pinging.client.block()
    pinging.sock.send(pinging.ping)
    while not pinging.is_back():
        pass


def checking(wires, port, board, writer):
    """Not a load: the pass before, in a process of its own."""
    yield
    for wire in wires:
        check(wire, port)
