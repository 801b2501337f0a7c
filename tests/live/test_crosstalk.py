# -*- coding: utf-8 -*-
"""S05: many clients at one time, each with streams of its own both ways, some of them slow. No byte may be wrong."""

import base64
import json
import random
import threading
import time

import pytest

from census import is_empty
from raw_client import BINARY, RawClient, frame, sendb_frame
from tape import Reading, Tape
from targets import serving
from waiting import wait_until

pytestmark = pytest.mark.usefixtures('no_mistakes')

TAPE = Tape(5)
SMALL_BUFFER = 8192  # of the kernel
NAME_BYTES = 8  # each client tells the target its number first


class Plan(object):
    """What client ``number`` does; both its ends know it."""

    def __init__(self, seed, number, most):
        chance = random.Random(seed * 1000 + number)
        self.number = number
        self.binary = chance.random() < 0.6
        self.window = chance.choice([None, None, 16384, 65536])
        self.up, self.down = chance.randrange(1, most), chance.randrange(1, most)
        self.up_begin, self.down_begin = chance.randrange(Tape.PERIOD), chance.randrange(Tape.PERIOD)
        # How often each of the two readers dozes, and what each of the two writers writes at once.
        self.dozes = [chance.choice([0, 0, 0.02, 0.1]) for _ in range(2)]
        self.pieces = [chance.choice([1000, 10000, 100000]) for _ in range(2)]
        self.chance = [random.Random(seed * 1000 + number + side) for side in range(2)]

    def replies(self):
        """How many its upload gets: binary messages get none, the name and each piece one each."""
        return 0 if self.binary else 1 + -(-self.up // self.pieces[1])

    def doze(self, side):
        if self.chance[side].random() < self.dozes[side]:
            time.sleep(self.chance[side].random() / 20)


class Crowd(object):
    """All clients and what has gone wrong with any."""

    def __init__(self, seed, count, most):
        self.plans = [Plan(seed, number, most) for number in range(count)]
        self.errors, self.arrived = [], set()

    def begin(self, function, *arguments):
        def run():
            try:
                function(*arguments)
            except Exception as error:  # any: the test reports it
                self.errors.append('%s: %r' % (function.__name__, error))
        thread = threading.Thread(target=run)
        thread.daemon = True
        thread.start()
        return thread

    def serve(self, sock):
        """The target's side of one connection."""
        name = b''
        while len(name) < NAME_BYTES:
            name += sock.recv(NAME_BYTES - len(name))
        plan = self.plans[int(name)]
        writer = self.begin(self.say, sock, plan)
        reading = Reading(TAPE, plan.up_begin)
        while reading.position < plan.up:
            plan.doze(0)
            data = sock.recv(50000)
            if not data:
                self.errors.append('the target of %d has got only %d' % (plan.number, reading.position))
                return
            reading.take(data)
        writer.join()
        if not sock.recv(1):
            self.arrived.add(plan.number)

    def say(self, sock, plan):
        for piece in TAPE.pieces(plan.down, plan.pieces[0], plan.down_begin):
            sock.sendall(piece)

    def play(self, address, port, plan):
        """The client's side."""
        with RawClient(address, timeout=60, receive_buffer=SMALL_BUFFER) as client:
            fields = {'window': plan.window} if plan.window else {}
            client.open().connect_to(port, binary=plan.binary, **fields)
            lock = threading.Lock()
            writer = self.begin(self.upload, client, lock, plan)
            self.read(client, lock, plan)
            writer.join()
            client.send_json(command='close')
            while client.receive_json()['message'] != 'close done':
                pass
            client.close()

    def upload(self, client, lock, plan):
        name = ('%0*d' % (NAME_BYTES, plan.number)).encode('ascii')
        for piece in [name] + list(TAPE.pieces(plan.up, plan.pieces[1], plan.up_begin)):
            with lock:
                client.send(frame(BINARY, piece) if plan.binary else sendb_frame(piece))
            time.sleep(0)  # the lock is the reader's too

    def read(self, client, lock, plan):
        """All that comes: the gateway takes nothing from a client that lets its replies pile up."""
        reading, replies = Reading(TAPE, plan.down_begin), plan.replies()
        while reading.position < plan.down or replies:
            plan.doze(1)
            data = data_in(*client.receive_frame())
            reading.take(data)
            if not data:
                replies -= 1
            elif plan.window:
                with lock:
                    client.send_json(command='ack', bytes=len(data))
        assert reading.position == plan.down


def data_in(opcode, payload):
    """The target's bytes in a message; empty for `sendb done`."""
    if opcode == BINARY:
        return payload
    reply = json.loads(payload.decode('utf-8'))
    assert reply['message'] in ('recv data', 'sendb done'), reply
    return base64.b64decode(reply.get('data', ''))


@pytest.mark.parametrize('most', [200000, pytest.param(8000000, marks=pytest.mark.soak)], ids=['some MB', '400 MB'])
@pytest.mark.parametrize('seed', [1])
def test_no_byte_of_50_clients_is_wrong_or_crosses(running_gateway, small_kernel_buffers, seed, most):
    gateway = running_gateway({'limits': {'bufferBytes': 32768}})
    crowd = Crowd(seed, 50, most)
    with serving(crowd.serve, receive_buffer=SMALL_BUFFER) as port:
        threads = [crowd.begin(crowd.play, gateway.address, port, plan) for plan in crowd.plans]
        for thread in threads:
            thread.join(100)
        assert not crowd.errors
        wait_until(lambda: len(crowd.arrived) == 50, 10, 'all targets to have got all')
        wait_until(lambda: is_empty(gateway))
