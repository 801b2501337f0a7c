# -*- coding: utf-8 -*-
"""A real redis-server of our own, and RESP, the protocol that it speaks."""

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile

from installed import needs
from targets import closed_port
from waiting import wait_until

ATTEMPTS = 5


def resp(words):
    """The request that consists of ``words``, bytes or text."""
    words = [word if isinstance(word, bytes) else word.encode('utf-8') for word in words]
    pieces = [('*%d\r\n' % len(words)).encode('ascii')]
    for word in words:
        pieces += [('$%d\r\n' % len(word)).encode('ascii'), word, b'\r\n']
    return b''.join(pieces)


class RedisServer(object):
    """A redis-server on ``port`` of 127.0.0.1 that keeps nothing on disk. ``arguments`` may name a second one, which is
    ``tls_port``, as {tls_port}."""

    def __init__(self, program, folder, port, arguments=()):
        self.port, self.tls_port = port, closed_port()
        self._log = os.path.join(folder, 'redis.log')
        with open(self._log, 'wb') as log, open(os.devnull) as nothing:
            self._process = subprocess.Popen(
                [program, '--port', str(port), '--bind', '127.0.0.1', '--dir', folder, '--save', '',
                 '--appendonly', 'no'] + [argument.format(tls_port=self.tls_port) for argument in arguments],
                cwd=folder, stdin=nothing, stdout=log, stderr=log, close_fds=True)

    def ask(self, *words):
        """The reply to one request, straight from Redis: the bytes of a bulk, the line of anything else."""
        sock = socket.create_connection(('127.0.0.1', self.port), 10)
        try:
            sock.sendall(resp(words))
            with contextlib.closing(sock.makefile('rb')) as reply:
                line = reply.readline()
                return reply.read(int(line[1:])) if line.startswith(b'$') else line
        finally:
            sock.close()

    def is_begun(self):
        """Waits. False when it has ended at once: somebody else has the port."""
        return wait_until(self._state, 20, 'redis-server to begin') == 'serving'

    def _state(self):
        if self._process.poll() is not None:
            return 'ended'
        try:
            # Who listens there need not be ours.
            ours = ('\r\nprocess_id:%d\r\n' % self._process.pid).encode('ascii') in self.ask('INFO', 'server')
        except (IOError, OSError):
            ours = False
        return 'serving' if ours else None

    def log(self):
        with open(self._log) as log:
            return log.read()

    def end(self):
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()


@contextlib.contextmanager
def running_redis(*arguments):
    """A RedisServer that serves, with these arguments. Nothing of it is left in the end."""
    program, folder = needs('redis-server', 'redis-server'), tempfile.mkdtemp()
    begun = []
    try:
        while not (begun and begun[-1].is_begun()):
            assert len(begun) < ATTEMPTS, begun[-1].log()
            begun.append(RedisServer(program, folder, closed_port(), arguments))
        yield begun[-1]
    finally:
        for server in begun:
            server.end()
        shutil.rmtree(folder)


# The value of Redis, 5, is for several replicas at once.
SYNC_AT_ONCE = '--repl-diskless-sync-delay', '0'


# -- a cluster ---------------------------------------------------------------------------------------------------------

SLOTS = 16384


def run_together(nodes):
    """Have these RedisServers share all slots."""
    for number, node in enumerate(nodes):
        first, behind = (SLOTS * place // len(nodes) for place in (number, number + 1))
        node.ask('CLUSTER', 'ADDSLOTSRANGE', str(first), str(behind - 1))
        node.ask('CLUSTER', 'SET-CONFIG-EPOCH', str(number + 1))
        node.ask('CLUSTER', 'MEET', '127.0.0.1', str(nodes[0].port), str(nodes[0].tls_port))
    for node in nodes:
        wait_until(lambda: has_all_slots(node, len(nodes)), 30, 'the cluster to stand')


def has_all_slots(node, count):
    told = node.ask('CLUSTER', 'INFO')
    return b'cluster_state:ok' in told and ('cluster_size:%d\r' % count).encode('ascii') in told


@contextlib.contextmanager
def running_nodes(count, timeout=5000):
    """That many RedisServers that want to be a cluster. Nothing of them is left in the end."""
    if count == 0:
        yield []
        return
    arguments = ('--cluster-enabled', 'yes', '--cluster-port', '{tls_port}', '--cluster-node-timeout', str(timeout))
    arguments += SYNC_AT_ONCE
    with running_redis(*arguments) as node, running_nodes(count - 1, timeout) as others:
        yield [node] + others


@contextlib.contextmanager
def running_cluster(count=3):
    """RedisServers that are one cluster."""
    with running_nodes(count) as nodes:
        run_together(nodes)
        yield nodes


@contextlib.contextmanager
def running_cluster_with_replica(timeout=2000):
    """Three masters that are one cluster, and a replica of the first, which takes over when that is silent so long."""
    with running_nodes(4, timeout) as nodes:
        masters, replica = nodes[:3], nodes[3]
        run_together(masters)
        replica.ask('CLUSTER', 'MEET', '127.0.0.1', str(masters[0].port), str(masters[0].tls_port))
        identity = masters[0].ask('CLUSTER', 'MYID')
        wait_until(lambda: replica.ask('CLUSTER', 'REPLICATE', identity).startswith(b'+OK'), 30, 'a replica')
        wait_until(lambda: is_in_step(replica), 30, 'the replica to be in step')
        yield masters, replica


def is_in_step(replica):
    return b'master_link_status:up' in replica.ask('INFO', 'replication')


# -- a Sentinel --------------------------------------------------------------------------------------------------------

SENTINEL = """port {port}
bind 127.0.0.1
sentinel monitor {name} 127.0.0.1 {master} 1
sentinel down-after-milliseconds {name} 1000
sentinel failover-timeout {name} 5000
"""


class SentinelServer(RedisServer):
    """A Sentinel that watches over the RedisServer ``master`` by this name, and alone decides."""

    def __init__(self, program, folder, port, master, name):
        self.port = port
        self._log, config = os.path.join(folder, 'sentinel.log'), os.path.join(folder, 'sentinel.conf')
        with open(config, 'w') as file:
            file.write(SENTINEL.format(port=port, name=name, master=master.port))
        with open(self._log, 'wb') as log, open(os.devnull) as nothing:
            self._process = subprocess.Popen(
                [program, config, '--sentinel'], cwd=folder, stdin=nothing, stdout=log, stderr=log, close_fds=True)


@contextlib.contextmanager
def running_sentinel(master, name):
    """A SentinelServer that serves, and knows the replica of its master. Nothing of it is left in the end."""
    program, folder = needs('redis-server', 'redis-server'), tempfile.mkdtemp()
    begun = []
    try:
        while not (begun and begun[-1].is_begun()):
            assert len(begun) < ATTEMPTS, begun[-1].log()
            begun.append(SentinelServer(program, folder, closed_port(), master, name))
        wait_until(lambda: b'slaves=1' in begun[-1].ask('INFO', 'sentinel'), 30, 'the Sentinel to know the replica')
        yield begun[-1]
    finally:
        for server in begun:
            server.end()
        shutil.rmtree(folder)


@contextlib.contextmanager
def running_pair():
    """A master and its replica."""
    with running_redis(*SYNC_AT_ONCE) as master, running_redis('--replicaof', '127.0.0.1 %d' % master.port) as replica:
        wait_until(lambda: is_in_step(replica), 30, 'the replica to be in step')
        yield master, replica
