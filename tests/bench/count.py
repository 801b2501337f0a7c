#!/usr/bin/env python3
"""Counts what the gateway does for one step, so that a change for speed shows on a noisy machine, too.

    python3 tests/bench/count.py [STEP] [FORM] [--gateway FILE] [--steps N] [--lines N]

Steps: `open` (upgrade, target, one echo, goodbye), `echo` (64 bytes there and back), `stream` (Wisp: one more stream in
a WebSocket, one echo, its end), `bulk` (64 KiB there and back). The gateway runs in a thread of this process, which
alone is counted; the target is another process. Printed are the calls of Python functions and of C functions for one
step, system calls among these, and which are the most frequent ones.
"""
import argparse
import collections
import contextlib
import importlib.util
import os
import struct
import sys
import threading

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.dirname(HERE)]

import board  # noqa: E402 - found only by the path above
import load  # noqa: E402
import run  # noqa: E402
import servers  # noqa: E402
import targets  # noqa: E402
import wires  # noqa: E402

WARM_STEPS = 20
SYSTEM_CALLS = {'C socket.' + name for name in (
    'accept bind close connect connect_ex getpeername getsockname getsockopt listen recv recv_into send sendmsg '
    'setblocking setsockopt shutdown').split()}
SYSTEM_CALLS |= {'C epoll.' + name for name in ('modify', 'poll', 'register', 'unregister')}
SYSTEM_CALLS |= {'C ' + name for name in ('splice', 'pipe', 'write', 'read')}


class Counter(object):
    """Calls by name while it counts."""

    def __init__(self):
        self.calls, self.is_counting = collections.Counter(), False

    def __call__(self, frame, event, argument):
        if self.is_counting:
            if event == 'call':
                self.calls['%s:%d' % (frame.f_code.co_name, frame.f_code.co_firstlineno)] += 1
            elif event == 'c_call':
                self.calls['C ' + getattr(argument, '__qualname__', str(argument))] += 1

    def report(self, steps, lines):
        total, c_calls = sum(self.calls.values()), sum(self.calls[name] for name in self.calls if name[:2] == 'C ')
        system = sum(self.calls[name] for name in self.calls if name.replace('._', '.') in SYSTEM_CALLS)
        print('%.1f Python calls, %.1f C calls, %.1f system calls' % (
            (total - c_calls) / steps, c_calls / steps, system / steps))
        for name, number in self.calls.most_common(lines):
            print('%8.2f  %s' % (number / steps, name))


# --- Steps: each makes a function that takes one ------------------------------------------------------

def opening(wire, port):
    return lambda: one_life(wire, port)


def one_life(wire, port):
    client = load.opened(wire, port).block()
    echo(client, wire.message(targets.ECHO + board.PATTERN[1:64]))
    client.sock.sendall(wires.GOODBYE)
    while not any(frame[0] == wires.CLOSE for frame in client.inbox.frames()):
        load.waited_fill(client)
    client.sock.close()


def echo(client, message, size=64):
    client.sock.sendall(message)
    load.read_exactly(client, size)


def echoing(wire, port):
    client = load.opened(wire, port).block()
    return lambda: echo(client, wire.message(targets.ECHO + board.PATTERN[1:64]))


def carrying(wire, port):
    def step():
        client.sock.sendall(wire.message(board.PATTERN[:load.BLOCK]))
        load.read_exactly(client, load.BLOCK)
    client = load.opened(wire, port).block()
    echo(client, wire.message(targets.ECHO), 1)
    return step


def streaming(wire, port):
    """In a Wisp WebSocket each step opens a stream of its own."""
    def step():
        stream = next(numbers)
        head = wire.HEAD.pack(wire.CONNECT, stream) + struct.pack('<BH', 1, wire.target_port) + b'127.0.0.1'
        client.sock.sendall(wires.masked(wires.BINARY, head))
        echo(client, wire.message(targets.ECHO + board.PATTERN[1:64], stream))
        client.sock.sendall(wires.masked(wires.BINARY, wire.HEAD.pack(wire.END, stream) + b'\2'))
    client, numbers = load.opened(wire, port).block(), iter(range(2, 1 << 32))
    return step


STEPS = {'open': opening, 'echo': echoing, 'bulk': carrying, 'stream': streaming}


# --- The gateway in this process ----------------------------------------------------------------------

def module_at(path):
    spec = importlib.util.spec_from_file_location('ws2s', path)
    module = sys.modules['ws2s'] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@contextlib.contextmanager
def counted_gateway(path, counter):
    """The port of a gateway whose thread alone is counted."""
    ws2s = module_at(path)
    config = ws2s.parse_config('{"listen": {"host": "127.0.0.1", "port": 0}, "allowConnectToServerLocal": true}')
    gateway = ws2s.Gateway(config)
    gateway.prepare()

    def serve():
        sys.setprofile(counter)
        gateway.run()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield gateway.address[1]
    finally:
        gateway.abort()
        thread.join()


def count(options):
    counter = Counter()
    with run.target(board.Board(run.BULK + 1)) as (target_port, _):
        with counted_gateway(options.gateway, counter) as port:
            step = STEPS[options.step](servers.OUR_WIRES[options.form](target_port), port)
            for _ in range(WARM_STEPS):
                step()
            counter.is_counting = True
            for _ in range(options.steps):
                step()
            counter.is_counting = False
    print('%s, %s: ' % (options.step, options.form), end='')
    counter.report(options.steps, options.lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('step', nargs='?', default='open', choices=sorted(STEPS))
    parser.add_argument('form', nargs='?', default='raw', choices=sorted(servers.OUR_WIRES))
    parser.add_argument('--gateway', metavar='FILE', default=servers.WS2S)
    parser.add_argument('--steps', type=int, default=200)
    parser.add_argument('--lines', type=int, default=0)
    count(parser.parse_args())


if __name__ == '__main__':
    main()
