# -*- coding: utf-8 -*-
"""Services that nobody may reach, spellings of where they are, and a resolver that answers as it is told."""

import contextlib
import errno
import socket
import threading

import pytest

from targets import own_address, serving_together
from waiting import wait_until

HELLO, OVER = b'hello', b'over'


def can_listen(host):
    sock = socket.socket(socket.AF_INET6 if ':' in host else socket.AF_INET)
    try:
        sock.bind((host, 0))
        return True
    except (IOError, OSError):
        return False
    finally:
        sock.close()


OWN = own_address()
LOCAL = [host for host in ('127.0.0.1', '127.0.0.2', '::1', OWN) if host and can_listen(host)]
needs_own_address = pytest.mark.skipif(OWN is None, reason='this machine has no address but loopback')


def greet(sock):
    """The target of those who are allowed."""
    sock.sendall(HELLO)
    sock.recv(100)


def greet_by_datagrams(sock):
    """Until one comes that says OVER."""
    data, sender = sock.recvfrom(100)
    while data != OVER:
        sock.sendto(HELLO, sender)
        data, sender = sock.recvfrom(100)


@contextlib.contextmanager
def canary(hosts, public=()):
    """The port of services on ``hosts``, TCP and UDP, which must see nothing but what comes from here in the end.

    Connections are accepted, and datagrams read, in the order in which they came: one before ours would be seen. On
    the hosts of ``public`` HELLO is said to whoever comes.
    """
    touched, ears = [], None
    services = [(host, lambda sock: touched.append(sock.getpeername())) for host in hosts]
    while ears is None:
        with serving_together(services + [(host, greet) for host in public]) as port:
            ears = datagram_sockets(list(hosts) + list(public), port)
            if ears is not None:
                with contextlib.closing(ears), greeting(ears[len(hosts):]):
                    yield port
                    assert_untouched(hosts, port, touched)
                    for ear in ears[:len(hosts)]:
                        assert_unheard(ear)


@contextlib.contextmanager
def greeting(socks):
    threads = [threading.Thread(target=greet_by_datagrams, args=(sock,)) for sock in socks]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        for sock, thread in zip(socks, threads):
            sock.sendto(OVER, sock.getsockname())
            thread.join(10)


class Sockets(list):

    def close(self):
        for sock in self:
            sock.close()


def datagram_sockets(hosts, port):
    """One for each host, or None where one is in use."""
    socks = Sockets()
    try:
        for host in hosts:
            socks.append(socket.socket(socket.AF_INET6 if ':' in host else socket.AF_INET, socket.SOCK_DGRAM))
            socks[-1].bind((host, port))
        return socks
    except (IOError, OSError) as error:
        socks.close()
        if error.errno != errno.EADDRINUSE:
            raise


def assert_untouched(hosts, port, touched):
    ours = []
    for host in hosts:
        sock = socket.create_connection((host, port), 10)
        ours.append(sock.getsockname())
        wait_until(lambda: ours[-1] in touched)
        sock.close()
    assert sorted(touched) == sorted(ours)


def assert_unheard(ear):
    sock = socket.socket(ear.family, socket.SOCK_DGRAM)
    sock.sendto(b'ours', ear.getsockname())
    ear.settimeout(10)
    heard = ear.recvfrom(100)
    sock.close()
    assert heard[0] == b'ours', heard


class Names(object):
    """A resolver: each look-up takes the next list of addresses, and the last one stays."""

    def __init__(self, *answers):
        self.answers, self.asked = list(answers), 0

    def __call__(self, host, port):
        self.asked += 1
        addresses = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return [(socket.AF_INET6, (address, port, 0, 0)) if ':' in address else (socket.AF_INET, (address, port))
                for address in addresses]


LEADS_HERE = [
    '127.0.0.1', '127.1', '127.0.1', '0x7f.1', '0x7f000001', '2130706433', '017700000001', '0177.0.0.1', '0', '0.0.0.0',
    '0.0.0.1', '0x0', '127.0.0.2', '127.255.255.254', '::', '::1', '[::1]', '[::]', '0:0:0:0:0:0:0:1',
    '::ffff:127.0.0.1', '[::ffff:127.0.0.1]', '::ffff:7f00:1', '::ffff:0:127.0.0.1', '::127.0.0.1', '64:ff9b::7f00:1',
    '64:ff9b::127.0.0.1', '2002:7f00:1::', '::ffff:0.0.0.0', 'localhost', 'LocalHost',
    u'\u2460\u2461\u2466.0.0.1', u'127\u30020.0.1',
]

# Never to be dialled, this machine or not; whether such a name can be looked up at all differs.
LEADS_NOWHERE = [
    'fe80::1', 'fe80::1%lo', '::1%lo', '169.254.169.254', '224.0.0.1', 'ff02::1', '255.255.255.255', '240.0.0.1',
    '100.100.100.200', '168.63.129.16', 'fd00:ec2::254', '2001::7f00:1', 'LOCALHOST.', 'localhost.', '127.0.0.1.',
    '127.0.0.1\0', '127.0.0.1\0.example', '127.0.0.1\r\nx', '127.0.0.1 ', ' 127.0.0.1', '127.0.0.1\t', '', 'a' * 300,
    'a.' * 126 + 'a', u'\u00e9' * 64, '[127.0.0.1]', '[localhost]', '[::1', '::1]', '127.0.0.1:80', '127.0.0.1/',
    '@127.0.0.1', u'\u202e127.0.0.1', '%31%32%37.0.0.1', '-127.0.0.1', '$(id)', ';', '/tmp/socket', '*',
    'foo.localhost', u'\uff1a\uff1a1', '127.0.0.1\\', '127\\.0.0.1', 'local\\host', 'localhost\\000',
    '::ffff:127.0.0.1%lo',
]
