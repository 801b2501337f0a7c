# -*- coding: utf-8 -*-
"""Clients that do not wait for replies: whatever they send is carried out and answered, completely and in order."""

import base64
import json
import random
import struct
import threading

import pytest

from census import is_empty
from raw_client import BINARY, CLOSE, PING, PONG, TEXT, RawClient, frame
from targets import closed_port, recorder, serving
from waiting import wait_until

pytestmark = pytest.mark.usefixtures('no_mistakes', 'many_descriptors')

NOT_CONNECTED, BAD, REFUSED = (3, 'not-connected'), (1, 'bad-request'), (2, 'refused')
BROKEN = [b'', b'{', b'[]', b'{}', b'null', b'{"command": "nothing"}', b'{"command": ["ping"]}',
          b'{"command": "ping",}', b'[' * 10001, b'{"more": "' + b'\\n' * 3000 + b'"}']


class Talk(object):
    """Requests, one after another, what must be answered to them, and what each target must get. Pongs come in order
    among themselves: they may overtake what waits for a connect."""

    def __init__(self, port, seed=1):
        self.frames, self.replies, self.pongs, self.arrived = [], [], [], []
        self._port, self._closed_port, self._chance = port, closed_port(), random.Random(seed)
        self._is_connected = False

    def say(self, count):
        """``count`` requests of all kinds."""
        kinds = [self.close, self.connect, self.broken_connect, self.connect_in_vain]
        for _ in range(count):
            self._chance.choice(kinds + self._kinds_that_stay())()
        return self

    def stay(self, count):
        """``count`` requests that leave what is connected as it is."""
        for _ in range(count):
            self._chance.choice(self._kinds_that_stay())()
        return self

    def _kinds_that_stay(self):
        return [self.ping, self.send, self.sendb, self.binary, self.long_send, self.broken, self.ack,
                self.websocket_ping]

    def _ask(self, reply, **request):
        self.frames.append(frame(TEXT, json.dumps(request).encode('ascii')))
        self.replies.append(reply)

    def ping(self):
        self._ask('ping done', command='ping')

    def connect(self):
        self._ask('connect done', command='connect', host='127.0.0.1', port=self._port)
        self._is_connected = True
        self.arrived.append(b'')

    def connect_in_vain(self):
        self._ask(REFUSED, command='connect', host='127.0.0.1', port=self._closed_port)
        self._is_connected = False

    def close(self):
        self._ask('close done', command='close')
        self._is_connected = False

    def _data(self, size=10):
        """Bytes for the target, which name their place."""
        data = b'%0*d;' % (size, len(self.frames))
        if self._is_connected:
            self.arrived[-1] += data
        return data

    def _reply(self, done):
        return done if self._is_connected else NOT_CONNECTED

    def send(self):
        self._ask(self._reply('send done'), command='send', data=self._data().decode('ascii'))

    def long_send(self):
        self._ask(self._reply('send done'), command='send', data=self._data(20000).decode('ascii'))

    def sendb(self):
        data = base64.b64encode(self._data()).decode('ascii')
        self._ask(self._reply('sendb done'), command='sendb', data=data)

    def binary(self):
        self.frames.append(frame(BINARY, self._data()))
        if not self._is_connected:
            self.replies.append(NOT_CONNECTED)

    def broken(self):
        self.frames.append(frame(TEXT, self._chance.choice(BROKEN)))
        self.replies.append(BAD)

    def broken_connect(self):
        """It ends what was connected, as any connect."""
        self._ask(BAD, command='connect', host='127.0.0.1', port='none')
        self._is_connected = False

    def ack(self):
        self.frames.append(frame(TEXT, b'{"command": "ack", "bytes": 1}'))

    def websocket_ping(self):
        mark = b'%d' % len(self.frames)
        self.frames.append(frame(PING, mark))
        self.pongs.append(mark)


class Replies(object):
    """What a client hears, read in a thread of its own while it sends: so many replies, or all up to the Close."""

    def __init__(self, client, count):
        self.found, self.pongs, self.close, self._client, self._count = [], [], None, client, count
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self):
        try:
            while len(self.found) + len(self.pongs) < self._count and self.close is None:
                self._take(*self._client.receive_frame())
        except (IOError, OSError, EOFError, KeyError, ValueError) as error:
            self.found.append(repr(error))

    def _take(self, opcode, payload):
        if opcode == PONG:
            self.pongs.append(payload)
        elif opcode == CLOSE:
            self.close = payload
        else:
            reply = json.loads(payload.decode('utf-8'))
            self.found.append(reply['message'] if reply['success'] else (reply['code'], reply['reason']))

    def join(self):
        self._thread.join(30)
        assert not self._thread.is_alive()
        return self


def in_one_write(client, data):
    client.send(data)


def byte_by_byte(client, data):
    for number in range(len(data)):
        client.send(data[number:number + 1])


def in_odd_pieces(client, data):
    chance = random.Random(5)
    while data:
        size = chance.choice([1, 2, 7, 100, 5000])
        client.send(data[:size])
        data = data[size:]


CUTS = ['one write', 'odd pieces', 'byte by byte']


@pytest.mark.parametrize('send, count', [(in_one_write, 300), (in_odd_pieces, 300), (byte_by_byte, 60)], ids=CUTS)
def test_all_that_is_sent_at_once_is_answered_completely_and_in_order(gateway, send, count):
    received = []
    with serving(recorder(received)) as port, RawClient(gateway.address, timeout=30) as client:
        client.open()
        talk = Talk(port).say(count)
        talk.close()
        replies = Replies(client, len(talk.replies) + len(talk.pongs))
        send(client, b''.join(talk.frames))
        replies.join()
        assert replies.found == talk.replies
        assert replies.pongs == talk.pongs
        wait_until(lambda: len(received) == len(talk.arrived))
        assert sorted(received) == sorted(talk.arrived)


@pytest.mark.parametrize('send, count', [(in_one_write, 300), (in_odd_pieces, 300), (byte_by_byte, 60)], ids=CUTS)
def test_all_that_is_sent_before_a_close_is_carried_out(gateway, send, count):
    received = []
    with serving(recorder(received)) as port, RawClient(gateway.address, timeout=30) as client:
        client.open()
        talk = Talk(port, 2)
        talk.connect()
        talk.stay(count)
        replies = Replies(client, float('inf'))
        send(client, b''.join(talk.frames) + frame(CLOSE, struct.pack('!H', 1000)))
        replies.join()
        wait_until(lambda: received)
        assert received == talk.arrived
        # What waits for a connect is not answered any more when the client has left.
        assert replies.found == talk.replies[:len(replies.found)]
        assert (replies.pongs, replies.close) == (talk.pongs, struct.pack('!H', 1000))
    wait_until(lambda: is_empty(gateway))


def test_many_that_send_all_at_once_are_each_answered_completely_and_in_order(gateway):
    received, clients = [], []
    with serving(recorder(received)) as port:
        try:
            talks = [Talk(port, seed).say(100) for seed in range(20)]
            clients.extend(RawClient(gateway.address, timeout=30).open() for _ in talks)
            heard = [Replies(client, len(talk.replies) + len(talk.pongs)) for client, talk in zip(clients, talks)]
            for client, talk in zip(clients, talks):
                client.send(b''.join(talk.frames))
            for replies, talk in zip(heard, talks):
                assert replies.join().found == talk.replies
        finally:
            for client in clients:
                client.sock.close()
        arrived = [one for talk in talks for one in talk.arrived]
        wait_until(lambda: len(received) == len(arrived))
        assert sorted(received) == sorted(arrived)
