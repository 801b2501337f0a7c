#!/usr/bin/env python3
"""What TLS costs: ws2s, stunnel in front of ws2s, and Node's https with ws, in turns.

    python3 tests/bench/tls.py [--python PYTHON] [--megabytes N] [--handshakes N] [--rounds N] [--node-modules DIR]

The figures are CPU seconds of the server and all its processes, as /proc has them: for each gigabyte down and up, and
for each thousand handshakes. Wants openssl, stunnel4, node and the package ws.
"""
import argparse
import contextlib
import json
import multiprocessing
import os
import shutil
import signal
import socket
import ssl
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

import usage  # noqa: E402
from environments import ENVS, ROOT  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
PIECE = 65536
SECONDS = 20
CLIENTS = 4
MASK = b'\x37\xfa\x21\x3d'
REQUEST = ('GET /%s HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n'
           'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n')
STUNNEL = 'foreground = yes\npid =\ndebug = err\nsocket = r:TCP_NODELAY=1\nsocket = l:TCP_NODELAY=1\n' \
          '[wss]\naccept = 127.0.0.1:%d\nconnect = 127.0.0.1:%d\ncert = %s\nkey = %s\n'


def free_port():
    with socket.socket() as sock:
        sock.bind(('127.0.0.1', 0))
        return sock.getsockname()[1]


def make_certificate(folder):
    files = os.path.join(folder, 'certificate'), os.path.join(folder, 'key')
    subprocess.run(['openssl', 'req', '-x509', '-nodes', '-days', '2', '-subj', '/CN=localhost', '-newkey', 'ec',
                    '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-out', files[0], '-keyout', files[1]], check=True,
                   stderr=subprocess.DEVNULL)
    return files


class Target(object):
    """It floods whoever says `down`, and takes what others say; ``taken`` is how many bytes that were."""

    def __init__(self):
        self.taken, self._listener = 0, socket.create_server(('127.0.0.1', 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            threading.Thread(target=self._serve, args=(self._listener.accept()[0],), daemon=True).start()

    def _serve(self, sock):
        buffer = bytearray(1 << 20)
        try:
            count = sock.recv_into(buffer)
            while count:
                if buffer[:4] == b'down':
                    sock.sendall(b'\x55' * (1 << 20))
                else:
                    self.taken += count
                    count = sock.recv_into(buffer)
        except OSError:
            pass  # the client has what it wants


# --- Servers: the port of each, and the words of its processes --------------------------------------------------------

def ws2s_words(python, folder, port, files=None):
    path = os.path.join(folder, 'ws2s-%d' % port)
    config = {'listen': {'host': '127.0.0.1', 'port': port, 'tls': bool(files)}, 'allowConnectToServerLocal': True,
              'log': {'level': 'warning'}}
    if files:
        config['tls'] = dict(zip(('certificate', 'key'), files))
    with open(path, 'w') as file:
        json.dump(config, file)
    return [python, os.path.join(ROOT, 'ws2s.py'), '--config', path]


def ws2s(options, folder, files, target):
    port = free_port()
    return port, [ws2s_words(options.python, folder, port, files)]


def stunnel(options, folder, files, target):
    port, plain = free_port(), free_port()
    path = os.path.join(folder, 'stunnel')
    with open(path, 'w') as file:
        file.write(STUNNEL % ((port, plain) + files))
    program = shutil.which('stunnel4') or shutil.which('stunnel')
    return port, [[program, path], ws2s_words(options.python, folder, plain)]


def node(options, folder, files, target):
    port = free_port()
    return port, [['node', os.path.join(HERE, 'node_relay.mjs'), os.path.join(options.node_modules, 'ws'), str(port),
                   str(target)] + list(files)]


SERVERS = {'ws2s': ws2s, 'stunnel+ws2s': stunnel, 'node': node}


@contextlib.contextmanager
def running(server, options, folder, files, target):
    """(port, function that tells the CPU seconds)"""
    port, commands = server(options, folder, files, target)
    processes = [subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for words in commands]
    try:
        deadline = time.time() + SECONDS
        while True:
            try:
                opened(port, target).close()
                break
            except (OSError, AssertionError):
                assert time.time() < deadline, 'it does not begin: %s' % commands
                time.sleep(0.05)
        yield port, lambda: sum(usage.cpu_seconds(each.pid, usage.processes()) for each in processes)
    finally:
        for process in processes:
            process.send_signal(signal.SIGKILL)
            process.wait()


# --- Loads ------------------------------------------------------------------------------------------------------------

CONTEXT = ssl.create_default_context()
CONTEXT.check_hostname, CONTEXT.verify_mode = False, ssl.CERT_NONE


def secured(port):
    sock = socket.create_connection(('127.0.0.1', port), SECONDS)
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return CONTEXT.wrap_socket(sock)
    except OSError:
        sock.close()
        raise


def opened(port, target):
    sock = secured(port)
    sock.sendall((REQUEST % ('127.0.0.1:%d' % target)).encode())
    head = b''
    while b'\r\n\r\n' not in head:
        data = sock.recv(4096)
        assert data, head
        head += data
    assert b' 101 ' in head, head
    return sock


def masked_frame(data):
    head = struct.pack('!BB', 0x82, 0x80 | len(data)) if len(data) < 126 else struct.pack('!BBQ', 0x82, 0xff, len(data))
    return head + MASK + data  # as it comes, it is noise


def download(port, target, options):
    buffer, left = bytearray(1 << 18), options.megabytes << 20
    with opened(port, target.port) as sock:
        sock.sendall(masked_frame(bytes(a ^ b for a, b in zip(b'down', MASK))))
        while left > 0:
            count = sock.recv_into(buffer)
            assert count
            left -= count


def upload(port, target, options):
    frame, goal = masked_frame(os.urandom(PIECE)), target.taken + (options.megabytes << 20)
    with opened(port, target.port) as sock:
        for _ in range((options.megabytes << 20) // PIECE):
            sock.sendall(frame)
        deadline = time.time() + SECONDS
        while target.taken < goal:
            assert time.time() < deadline, 'bytes are missing'
            time.sleep(0.002)


def handshakes(port, target, options):
    """By several clients at a time, so that none waits."""
    share = port, options.handshakes // CLIENTS
    children = [multiprocessing.Process(target=shake, args=share) for _ in range(CLIENTS)]
    for child in children:
        child.start()
    for child in children:
        child.join()
        assert child.exitcode == 0


def shake(port, count):
    for _ in range(count):
        secured(port).close()


LOADS = [('s/GB down', download, lambda options: options.megabytes / 1024),
         ('s/GB up', upload, lambda options: options.megabytes / 1024),
         ('s/1000 handshakes', handshakes, lambda options: options.handshakes / 1000)]


def measure(options):
    figures = {}
    target = Target()
    with tempfile.TemporaryDirectory() as folder:
        files = make_certificate(folder)
        for _ in range(options.rounds):
            for name in options.servers:
                with running(SERVERS[name], options, folder, files, target.port) as (port, cpu):
                    for title, load, size in LOADS:
                        before, begun = cpu(), time.time()
                        load(port, target, options)
                        figures.setdefault((name, title), []).append(
                            ((cpu() - before) / size(options), size(options) / (time.time() - begun)))
    return figures


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('--python', default=sys.executable)
    parser.add_argument('--megabytes', type=int, default=512)
    parser.add_argument('--handshakes', type=int, default=500)
    parser.add_argument('--rounds', type=int, default=3)
    parser.add_argument('--servers', nargs='+', default=sorted(SERVERS), choices=sorted(SERVERS))
    parser.add_argument('--node-modules', default=os.path.join(ENVS, 'node', 'node_modules'))
    options = parser.parse_args()
    for (name, title), pairs in sorted(measure(options).items(), key=lambda item: item[0][1]):
        costs, rates = zip(*pairs)
        print('%-18s %-14s %7.3f  (%s)  %8.3f/s' % (title, name, statistics.median(costs), ' '.join(
            '%.3f' % cost for cost in costs), statistics.median(rates)), flush=True)


if __name__ == '__main__':
    main()
