# -*- coding: utf-8 -*-
"""Clients of the dialects that strangers wrote, and of ours, served as theirs are. All that reach targets answer the
same calls, so that a test can state one fact of all."""

import random
import struct
import threading
import time

import ws2s
import wisp_client as wisp
from echo_dialect import EchoDialect
from mux_dialect import CREDIT, HEAD, MuxDialect
from raw_client import BINARY, CLOSE, TEXT, RawClient, frame
from raw_dialect import RawDialect
from tape import Reading

ROWS = ((lambda request, config: request.path == '/echo', EchoDialect),
        (lambda request, config: request.path == '/mux', MuxDialect),
        (lambda request, config: request.path == '/json', ws2s.JsonDialect),
        (lambda request, config: request.path == '/wisp/', ws2s.WispDialect),
        (lambda request, config: request.path.startswith('/ours/'), ws2s.RawDialect),
        (lambda request, config: True, RawDialect))


class RawSpeaker(RawClient):
    """One target, which the path names."""

    def begin(self, port, host='127.0.0.1'):
        """Have the gateway dial, and do not wait for it."""
        return self.open('/%s:%d' % (host, port))

    reach = begin  # nothing is said when the target stands

    def data_frame(self, data):
        return frame(BINARY, data)

    def next_data(self):
        """The bytes of the target in the next message, which must hold some."""
        opcode, payload = self.receive_frame()
        assert opcode == BINARY, (opcode, payload)
        return payload

    def read(self, reading, total):
        while reading.position < total:
            reading.take(self.next_data())

    def hears_the_end(self):
        return self.receive_close() == (1000, 'closed')

    def end_its_channel(self):
        """There is none but the WebSocket."""
        self.send_frame(CLOSE)

    def wait_until(self, condition, seconds=30):
        """As wait_until(), taking meanwhile what the gateway says, which must not be data."""
        deadline = time.time() + seconds
        while not condition():
            assert time.time() < deadline, 'waited %s s' % seconds
            if self.has_news():
                assert self.next_data() == b''


class OurSpeaker(RawSpeaker):
    """As the raw bytes of ws2s itself have it."""

    def begin(self, port, host='127.0.0.1'):
        return self.open('/ours/%s:%d' % (host, port))

    reach = begin


class MuxSpeaker(RawSpeaker):
    """Channel 1 of many; ``credit`` is what may be sent on it now."""

    credit = CREDIT

    def spends(self, count):
        """May so much be sent? Then it counts."""
        if self.credit < count:
            return False
        self.credit -= count
        return True

    def begin(self, port, host='127.0.0.1'):
        self.open('/mux').send_frame(TEXT, ('open 1 %s:%d' % (host, port)).encode('ascii'))
        return self

    def reach(self, port, host='127.0.0.1'):
        assert self.begin(port, host).receive_text() == b'opened 1'
        return self

    def data_frame(self, data):
        return frame(BINARY, HEAD.pack(1) + data)

    def next_data(self):
        opcode, payload = self.receive_frame()
        if opcode == BINARY:
            assert payload[:2] == HEAD.pack(1), payload[:2]
            return payload[2:]
        words = payload.split(b' ')
        assert opcode == TEXT and words[:2] == [b'credit', b'1'], (opcode, payload)
        self.credit += int(words[2])
        assert self.credit <= CREDIT
        return b''

    def hears_the_end(self):
        payload = self.receive_text()
        while payload.startswith(b'credit 1 '):
            payload = self.receive_text()
        return payload == b'closed 1 closed'

    def end_its_channel(self):
        self.send_frame(TEXT, b'close 1')


class WispSpeaker(RawSpeaker):
    """Stream 1 of a Wisp; the credit is of packets, and the gateway says anew how many there are."""

    _spent, _limit = 0, wisp.FIRST_CREDIT

    def begin(self, port, host='127.0.0.1'):
        self.open('/wisp/')
        assert self.receive_frame() == (BINARY, wisp.packet(wisp.CONTINUE, 0, wisp.CREDIT.pack(wisp.FIRST_CREDIT)))
        self.send_frame(BINARY, wisp.connect(1, port, host.encode('ascii')))
        return self

    reach = begin

    def data_frame(self, data):
        return frame(BINARY, wisp.packet(wisp.DATA, 1, data))

    def spends(self, count):
        if self._spent >= self._limit:
            return False
        self._spent += 1
        return True

    def next_data(self):
        kind, payload = self._next_packet()
        assert kind in (wisp.DATA, wisp.CONTINUE), (kind, payload)
        return payload if kind == wisp.DATA else b''

    def _next_packet(self):
        opcode, payload = self.receive_frame()
        kind, stream = wisp.HEAD.unpack(payload[:wisp.HEAD.size])
        assert (opcode, stream) == (BINARY, 1), (opcode, payload)
        if kind == wisp.CONTINUE:
            self._limit = self._spent + wisp.CREDIT.unpack(payload[wisp.HEAD.size:])[0]
        return kind, payload[wisp.HEAD.size:]

    def hears_the_end(self):
        kind, payload = self._next_packet()
        while kind == wisp.CONTINUE:
            kind, payload = self._next_packet()
        return (kind, payload) == (wisp.END, b'\2')

    def end_its_channel(self):
        self.send_frame(BINARY, wisp.packet(wisp.END, 1, b'\2'))


class Sender(object):
    """Sends ``total`` bytes of ``tape`` in a thread of its own, within the client's credit if it has one; ``sent`` so
    far. It ends early when the connection does."""

    def __init__(self, client, tape, total, begin=0, pieces=32768, make_frame=None, heedless=False):
        self.sent, self._client, self._heedless = 0, client, heedless or not hasattr(client, 'spends')
        self._make_frame = make_frame or client.data_frame
        self._thread = threading.Thread(target=self._run, args=(tape.pieces(total, pieces, begin),))
        self._thread.daemon = True
        self._thread.start()

    def _run(self, pieces):
        try:
            for piece in pieces:
                self._wait_for_credit(len(piece))
                self._client.send(self._make_frame(piece))
                self.sent += len(piece)
        except (IOError, OSError):
            pass  # the test is over; it knows how much was sent

    def _wait_for_credit(self, count):
        if self._heedless:
            return
        while not self._client.spends(count) and self._client.sock.fileno() >= 0:
            threading.Event().wait(0.001)

    def join(self):
        self._thread.join(30)
        assert not self._thread.is_alive()


class Channel(object):
    """One of many on a WebSocket, and the noise that it sends and should get back."""

    def __init__(self, number, tape, begin, total):
        self.number, self.left, self.credit, self.is_open, self.end = number, total, CREDIT, False, None
        self.tape, self._begin, self._total = tape, begin, total
        self.reading = Reading(tape, begin)

    def next_piece(self, chance):
        size = min(self.left, self.credit, chance.choice([1, 1000, 16384, 60000]))
        start = self._begin + self._total - self.left
        self.left -= size
        self.credit -= size
        return self.tape.cut(start, size)

    def is_complete(self):
        return self.reading.position == self._total

    def reason(self):
        return self.end.split(' ', 2)[2]


class MuxCrowd(object):
    """Many channels over one WebSocket: a thread sends as far as each one's credit goes, the test's own reads. Who read
    and sent by turns could wait for ever: a gateway whose answers nobody takes takes no more either."""

    path, closed = '/mux', 'closed'

    def __init__(self, client, channels, seed=0):
        self.client, self.channels = client, {channel.number: channel for channel in channels}
        self._news, self._over, self._chance = threading.Condition(), False, random.Random(seed)
        self._opening = []  # frames that are still to be sent

    def opening(self, number, port, host='127.0.0.1'):
        """The frame that opens one channel: its opcode and payload."""
        return TEXT, ('open %d %s:%d' % (number, host, port)).encode('ascii')

    def open(self, number, port):
        with self._news:
            self._opening.append(self.opening(number, port))
            self._news.notify_all()

    def __enter__(self):
        self._thread = threading.Thread(target=self._send_all)
        self._thread.daemon = True
        self._thread.start()
        return self

    def __exit__(self, *exception):
        with self._news:
            self._over = True
            self._news.notify_all()
        self.client.abort()
        self._thread.join(30)
        assert not self._thread.is_alive()

    def packet(self, number, piece):
        return HEAD.pack(number) + piece

    def _send_all(self):
        try:
            while True:
                with self._news:
                    ready = [one for one in self.channels.values() if one.left and one.credit and one.is_open]
                    if self._over:
                        return
                    if not ready and not self._opening:
                        self._news.wait(60)
                        continue
                    frames, self._opening = self._opening, []
                    frames += [(BINARY, self.packet(one.number, one.next_piece(self._chance))) for one in ready]
                for opcode, payload in frames:
                    self.client.send_frame(opcode, payload)
        except (IOError, OSError):
            pass  # the test is over

    def read_until(self, condition, seconds=60):
        deadline = time.time() + seconds
        while not condition():
            assert time.time() < deadline, 'waited %s s' % seconds
            if self.client.has_news():
                self._take(*self.client.receive_frame())

    def _take(self, opcode, payload):
        if opcode == BINARY:
            self.channels[struct.unpack('!H', payload[:2])[0]].reading.take(payload[2:])
            return
        words = payload.decode('ascii').split(' ')
        with self._news:
            channel = self.channels[int(words[1])]
            if words[0] == 'credit':
                channel.credit += int(words[2])
                assert channel.credit <= CREDIT
            elif words[0] == 'opened':
                channel.is_open = True
            else:
                channel.end = ' '.join(words)
            self._news.notify_all()


class WispChannel(Channel):
    """A stream, which may send packets before it is known to stand. ``credit``: how many."""

    def __init__(self, *arguments):
        Channel.__init__(self, *arguments)
        self.credit, self.is_open = wisp.FIRST_CREDIT, False

    def next_piece(self, chance):
        packets, self.credit = self.credit, 60000
        piece = Channel.next_piece(self, chance)
        self.credit = packets - 1
        return piece

    def reason(self):
        return self.end


class WispCrowd(MuxCrowd):
    """Many streams over one Wisp."""

    path, closed = '/wisp/', b'\2'

    def opening(self, number, port, host='127.0.0.1'):
        return BINARY, wisp.connect(number, port, host.encode('ascii'))

    def open(self, number, port):
        with self._news:
            MuxCrowd.open(self, number, port)
            self.channels[number].is_open = True

    def packet(self, number, piece):
        return wisp.packet(wisp.DATA, number, piece)

    def _take(self, opcode, payload):
        kind, number = wisp.HEAD.unpack(payload[:wisp.HEAD.size])
        payload = payload[wisp.HEAD.size:]
        if kind == wisp.DATA:
            self.channels[number].reading.take(payload)
        elif number:
            with self._news:
                if kind == wisp.CONTINUE:
                    self.channels[number].credit = wisp.CREDIT.unpack(payload)[0]
                else:
                    self.channels[number].end = payload
                self._news.notify_all()
