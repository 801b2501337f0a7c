# -*- coding: utf-8 -*-
"""Load in processes of its own: ``python load.py ROLE ARGUMENT...``, so that it takes neither the descriptors nor the
interpreter lock of who measures.

A role tells how far it is in lines on standard output; ``go`` on standard input starts what must wait, and the end of
standard input ends all.
"""

import base64
import contextlib
import json
import os
import resource
import select
import socket
import subprocess
import sys
import threading
import time
import zlib

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from raw_client import BINARY, OFFER, PING, PONG, TEXT, RawClient, compressed_frame, frame  # noqa: E402
from tape import Reading, Tape  # noqa: E402

PIECE = 262144


# -- for the test ------------------------------------------------------------------------------------------------------

class Load(object):
    """A running role."""

    def __init__(self, process):
        self._process = process
        self.pid = process.pid
        self._lines = []
        self._reader = threading.Thread(target=self._read)
        self._reader.daemon = True
        self._reader.start()

    def _read(self):
        for line in iter(self._process.stdout.readline, b''):
            self._lines.append(line.decode('ascii').strip())

    def hears(self, word):
        """The rest of the first line that begins with ``word``; None when there is none yet."""
        return next((line[len(word):].strip() for line in list(self._lines) if line.split(' ')[0] == word), None)

    def wait_for(self, word, seconds=60):
        deadline = time.time() + seconds
        while self.hears(word) is None:
            assert self._process.poll() is None, 'a load program has ended: %r' % self._lines
            assert time.time() < deadline, 'waited %s s for %r, got %r' % (seconds, word, self._lines)
            time.sleep(0.005)
        return self.hears(word)

    def go(self):
        self._process.stdin.write(b'go\n')
        self._process.stdin.flush()

    def end(self):
        """May be called again."""
        if self._process.stdin.closed:
            return
        self._process.stdin.close()
        killer = threading.Timer(20, self._process.kill)
        killer.start()
        self._process.wait()
        killer.cancel()
        killer.join()
        self._reader.join(5)
        self._process.stdout.close()


@contextlib.contextmanager
def running(path, *arguments):
    """The Python file ``path`` as a program of its own, which keeps to the manners above."""
    process = subprocess.Popen([sys.executable, path] + [str(one) for one in arguments],
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE, close_fds=True,
                               env=dict(os.environ, PYTHONDONTWRITEBYTECODE='1'))
    begun = Load(process)
    try:
        yield begun
    finally:
        begun.end()


def load(role, *arguments):
    return running(os.path.abspath(__file__), role, *arguments)


# -- the roles ---------------------------------------------------------------------------------------------------------

def tell(*words):
    sys.stdout.write(' '.join(str(word) for word in words) + '\n')
    sys.stdout.flush()


def wait_for_line():
    """True for a line, False at the end."""
    return bool(sys.stdin.readline())


def listener():
    sock = socket.socket()
    sock.bind(('127.0.0.1', 0))
    sock.listen(1024)
    tell('port', sock.getsockname()[1])
    return sock


def holding(count=0):
    """Accepts, sends ``count`` zeros to each, and keeps what it has accepted."""
    waiting, kept = listener(), []
    while True:
        ready = select.select([waiting, sys.stdin], [], [])[0]
        if sys.stdin in ready:
            return
        kept.append(waiting.accept()[0])
        kept[-1].sendall(bytearray(int(count)))


def counting(every):
    """Reads whatever the first sends that comes, and says a byte for so many."""
    sock, count, every = listener().accept()[0], 0, int(every)
    while True:
        data = sock.recv(PIECE)
        if not data:
            break
        count += len(data)
        if count >= every:
            count -= every
            sock.sendall(b'.')
    tell('over')
    wait_for_line()


def flooding(total):
    """Sends ``total`` bytes of the tape to the first that comes."""
    sock = listener().accept()[0]
    for piece in Tape(1).pieces(int(total), PIECE):
        sock.sendall(piece)
    tell('sent')
    sock.shutdown(socket.SHUT_WR)
    wait_for_line()


def flooding_for_ever(every):
    """Sends zeros to the first that comes, so many at one time, as long as it is there."""
    sock, piece = listener().accept()[0], bytearray(int(every))
    try:
        while True:
            sock.sendall(piece)
    except (IOError, OSError):
        tell('over')
    wait_for_line()


def taking(total):
    """Reads nothing until it may go; then it must get ``total`` bytes of the tape."""
    sock, reading = listener().accept()[0], Reading(Tape(1))
    wait_for_line()
    while reading.position < int(total):
        reading.take(sock.recv(PIECE) or b'the end')
    tell('whole')
    wait_for_line()


def connected(host, port, target_port, **fields):
    return RawClient((host, int(port)), timeout=120).open().connect_to(int(target_port), **fields)


def downloader(host, port, target_port, total):
    """A client that reads nothing until it may go; then it must get ``total`` bytes of the tape."""
    client, reading = connected(host, port, target_port, binary=True), Reading(Tape(1))
    tell('connected')
    wait_for_line()
    reading.take_from(client, int(total))
    assert client.receive_json()['code'] == 5
    tell('whole')
    wait_for_line()


def uploader(host, port, target_port, total):
    """A client that sends ``total`` bytes of the tape as fast as it can."""
    client = connected(host, port, target_port)
    tell('connected')
    wait_for_line()
    for piece in Tape(1).pieces(int(total), PIECE):
        client.send(frame(BINARY, piece))
    tell('sent')
    wait_for_line()


def idlers(host, port, target_port, count, source):
    """``count`` clients, each with a target, that then do nothing."""
    clients = []
    for _ in range(int(count)):
        client = RawClient((host, int(port)), timeout=120, source=source).open()
        clients.append(client.connect_to(int(target_port)))
    tell('connected')
    wait_for_line()


def compressors(host, port, target_port, count, zeros):
    """``count`` clients that talk both ways, compressed, and then do nothing. When they may go each of them begins one
    more message."""
    clients, request = [], b'{"command": "send", "data": "' + b'x' * 1000 + b'"}'
    whole, begun = [compressed_frame(TEXT, request, final) for final in (True, False)]
    for _ in range(int(count)):
        clients.append(RawClient((host, int(port)), timeout=120).open('/', [OFFER]).connect_to(int(target_port)))
        clients[-1].send(whole)
        assert hears(clients[-1], int(zeros)) == 'compressed'
    tell('connected')
    wait_for_line()
    for client in clients:
        client.send(begun)
        client.send_frame(PING)
        assert client.receive_frame()[0] == PONG
    tell('begun')
    wait_for_line()


def hears(client, zeros):
    """Wait for so many of the target, and for the reply to `send`: was that all plain, or was anything compressed?"""
    inflater, said, form = zlib.decompressobj(-15), [], 'plain'
    while said.count('send done') < 1 or zeros:
        payload = client.receive_text()
        if client.is_compressed:
            form, payload = 'compressed', inflater.decompress(payload + b'\0\0\xff\xff')
        reply = json.loads(payload.decode('ascii'))
        said.append(reply['message'])
        zeros -= len(base64.b64decode(reply.get('data', '')))
    return form


def raise_descriptor_limit():
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    most = 65536 if hard == resource.RLIM_INFINITY else min(hard, 65536)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


if __name__ == '__main__':
    raise_descriptor_limit()
    ROLES = (compressors, holding, counting, flooding, flooding_for_ever, taking, downloader, uploader, idlers)
    {role.__name__: role for role in ROLES}[sys.argv[1]](*sys.argv[2:])
