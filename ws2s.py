#!/usr/bin/env python3
# -*- coding: utf-8 -*-
"""ws2s: a WebSocket-to-TCP gateway in one file.

JavaScript in a browser cannot open a TCP socket. A page opens a WebSocket to this gateway, asks for host:port, sends
bytes and gets bytes. Copy the file to a server and run it: ``python3 ws2s.py``. Standard library only; the same file
runs on Python 2.7 and 3.6 and newer, and ``import ws2s`` embeds it.

The file reads top to bottom. It is cut into rooms; a name is used only in its own room or in a later one:

     1. Compat         what differs between Pythons
     2. Vocabulary     opcodes, codes, limits, failures and the tree of errors
     3. Configuration  the table of options, and how each value is read
     4. HTTP           the request before the WebSocket, its answers, and what proxies say of the client
     5. WebSocket      RFC 6455 without a socket
     6. Access rules   which pages may come, who a client is, and where it may go
     7. SSH            what ssh is told, and what it says
     8. Dialects       what messages mean
     ------------------------------------------------------------------
     9. Event loop     turns, timers, and the door for other threads
    10. Streams        non-blocking sockets with bounded queues, with TLS or without; listeners
    11. Workers        the threads for what can only block
    12. Dialling       the ways to a target: look-up, rules, connection, TLS
    13. Tunnels        ssh processes, and the way through them
    14. Gateway        visits, who makes them, sessions, upstreams, and what keeps count of them
    15. Command line   arguments, the config file, logs, signals

Rooms 1-8 are pure: bytes and values in, bytes and values out. Rooms 9-15 hold the world: sockets, clocks, threads,
files and logs. The way of a byte from a browser to its target: Stream.on_ready -> Session.on_received ->
WebSocket.receive -> Dialect.on_text -> Conversation.perform -> Upstream.write -> Stream.write, and at the end of the
turn Stream.settle. The way back: Stream.on_ready -> Upstream.on_received -> Session.relay -> WebSocket.send ->
Stream.write.
"""

from __future__ import absolute_import, division

import argparse
import base64
import binascii
import bisect
import codecs
import collections
import contextlib
import encodings.idna  # noqa: F401  a first import from a look-up thread could wait for the import lock for ever
import encodings.unicode_escape  # noqa: F401  a first import when descriptors have run out would fail
import errno
import fcntl
import fnmatch
import functools
import getpass
import hashlib
import heapq
import hmac
import io
import itertools
import json
import logging
import operator
import os
import re
import resource
import select
import signal
import socket
import ssl
import stat
import struct
import subprocess
import sys
import threading
import time
import traceback
import unicodedata
import weakref
import zlib

__version__ = '3.0.0.dev0'
__all__ = ['Gateway', 'Dialect', 'Send', 'Open', 'Write', 'Grant', 'Carry', 'Shut', 'Hangup', 'Later', 'Authenticate',
           'TEXT', 'BINARY', 'HttpError', 'Config', 'parse_config', 'ConfigError', 'ServeError', 'DIALECTS', 'main']


# ======================================================================================================================
# 1. Compat
# ======================================================================================================================
# Everything that differs between Pythons, and nothing else. No later room asks which Python it runs on.

PY2 = sys.version_info[0] == 2
PYTHON_VERSION = '%d.%d.%d' % sys.version_info[:3]

HAS_EPOLL = hasattr(select, 'epoll')
READ, WRITE = 1, 4 if PY2 or HAS_EPOLL else 2
EXCLUSIVE = 1 << 28 if HAS_EPOLL else 0  # of processes that wait one is woken; systems older than Linux 4.5 wake all

# How far a child stands behind us when there is not enough CPU time for all; where there is, it is as fast as ever.
NICENESS = 5

if PY2:
    import Queue as queue
    text_type = unicode  # noqa: F821
    dup2 = os.dup2
    beneath = operator.attrgetter('_sock')  # the socket of an SSLSocket, without TLS
    engine_of = operator.attrgetter('_sslobj')
    integer_types = (int, long)  # noqa: F821

    def monotonic():
        """Seconds of a clock that no one sets. Here it ticks in hundredths: times(2) counts from the boot."""
        return os.times()[4]

    stopwatch = time.time  # for parts of a turn, which are shorter than that; should somebody set it, one is cut wrong

    def to_int(data):
        return int(binascii.hexlify(data), 16)

    def to_bytes(number, length):
        return binascii.unhexlify('%0*x' % (2 * length, number))

    def close_on_exec(fd):
        fcntl.fcntl(fd, fcntl.F_SETFD, fcntl.fcntl(fd, fcntl.F_GETFD) | fcntl.FD_CLOEXEC)

    # This Python does not tell it, though Linux knows it: more comes at once, so that it goes in one packet.
    MSG_MORE = 0x8000 if sys.platform.startswith('linux') else 0
    LONG_CHUNK = 32768  # bytes; to join it with another costs more than a second call

    def joined(chunks):
        return b''.join(chunk.tobytes() if isinstance(chunk, memoryview) else bytes(chunk) for chunk in chunks)

    def send_chunks(sock, chunks):
        """Send what the kernel takes of two ``chunks`` or more; the number of bytes taken."""
        if len(chunks) != 2 or len(chunks[1]) < LONG_CHUNK:
            return sock.send(joined(chunks))
        sent = sock.send(chunks[0], MSG_MORE)
        try:
            return sent if sent < len(chunks[0]) else sent + sock.send(chunks[1])
        except NetworkError as error:
            if not is_not_ready(error):
                raise
            return sent

    SURROGATE = re.compile(b'\xed[\xa0-\xbf]')

    def utf8_text(data):
        """The text of UTF-8 ``data``; UnicodeError for anything else, surrogates among it."""
        try:
            return bytes(data).decode('ascii')  # in half the time, where it will do
        except UnicodeError:
            text = bytes(data).decode('utf-8')
        if SURROGATE.search(data):
            raise UnicodeError('a surrogate in UTF-8')
        return text

    def utf8_bytes(text):
        """The UTF-8 of ``text``; UnicodeError for half a surrogate pair."""
        data = text.encode('utf-8')
        if len(data) != len(text) and SURROGATE.search(data):
            raise UnicodeError('half a surrogate pair')
        return data

    def base64_bytes(data):
        return binascii.b2a_base64(data)[:-1]

    def tls_send(sock, data):
        """As send() of an SSLSocket, which would give a 0 for each kind of refusal."""
        return engine_of(sock).write(data)

    def check_peer_name(sock, name):
        """Raise ssl.CertificateError when the certificate does not name the address ``name``: Python looks at names of
        DNS only."""
        names = sock.getpeercert().get('subjectAltName', ())
        if packed_address(name) not in [packed_address(value) for kind, value in names if kind == 'IP Address']:
            raise ssl.CertificateError('the address is not named')

    def path_bytes(path):
        """A path as the system takes it, also when it is not UTF-8."""
        return path if isinstance(path, bytes) else path.encode('utf-8')

    def begin_child():
        """In a child, before it becomes another program: a session of its own, a back seat, and an end to all of our
        descriptors."""
        os.setsid()
        os.nice(NICENESS)
        for fd in open_descriptors():
            try:
                close_on_exec(fd)
            except IOError:  # it is closed
                continue

    # How Popen is told to start a child. Left to itself it would close each descriptor that the limit allows for, open
    # or not: with a limit of a million that takes longer than a login.
    DETACHED = {'close_fds': False, 'preexec_fn': begin_child}

    def take_back_seat(pid):
        """Nothing to do: begin_child() has done it."""
else:
    import queue
    text_type = str
    integer_types = (int,)
    monotonic = stopwatch = time.monotonic
    dup2 = functools.partial(os.dup2, inheritable=False)
    joined = b''.join
    beneath = functools.partial(super, ssl.SSLSocket)
    tls_send = ssl.SSLSocket.send

    to_int = functools.partial(int.from_bytes, byteorder='big')
    to_bytes = functools.partial(int.to_bytes, byteorder='big')
    utf8_text = functools.partial(str, encoding='utf-8')
    utf8_bytes = functools.partial(str.encode, encoding='utf-8')
    base64_bytes = functools.partial(binascii.b2a_base64, newline=False)
    path_bytes = functools.partial(str.encode, encoding='utf-8', errors='surrogateescape')

    check_peer_name = None  # Python does so

    def close_on_exec(fd):
        """Nothing to do: descriptors are not inherited since 3.4."""

    def send_chunks(sock, chunks):
        """Send what the kernel takes of two ``chunks`` or more in one call; the number of bytes taken."""
        return sock.sendmsg(chunks)

    # How Popen is told to start a child: with none of our descriptors, in a session and a process group of its own.
    DETACHED = {'close_fds': True, 'start_new_session': True}

    def take_back_seat(pid):
        """From outside, as code of ours that ran in the child could find a lock held by a thread that is not there."""
        os.setpriority(os.PRIO_PROCESS, pid, min(19, os.nice(0) + NICENESS))

if PY2 or HAS_EPOLL:
    class Poller(object):
        """The verbs of ``selectors`` that the loop uses, over epoll or poll, in half the time."""

        Key = collections.namedtuple('Key', 'events data')

        def __init__(self):
            self._poll = select.epoll() if HAS_EPOLL else select.poll()
            self._unit = 1 if HAS_EPOLL else 1000
            self._keys = {}
            if hasattr(self._poll, 'fileno'):
                close_on_exec(self._poll.fileno())

        def register(self, sock, events, data):
            self._poll.register(sock, events)
            self._keys[sock.fileno()] = self.Key(events, data)

        def modify(self, sock, events, data):
            self._poll.modify(sock, events)
            self._keys[sock.fileno()] = self.Key(events, data)

        def unregister(self, sock):
            del self._keys[sock.fileno()]
            self._poll.unregister(sock)

        def select(self, timeout):
            try:
                ready = self._poll.poll(-1 if timeout is None else timeout * self._unit)
            except (select.error, IOError) as error:
                if error.args[0] != errno.EINTR:
                    raise
                ready = ()
            # Errors and hang-ups are told to whoever is listening, as selectors does.
            return [(self._keys[fd], (events if events in (READ, WRITE) else READ | WRITE) & self._keys[fd].events)
                    for fd, events in ready if fd in self._keys]

        def close(self):
            if hasattr(self._poll, 'close'):
                self._poll.close()
else:
    import selectors
    Poller = selectors.DefaultSelector

# Where a Python and its system let bytes go from socket to socket inside the kernel: Linux, from 3.10 on.
CAN_SPLICE = hasattr(os, 'splice')

IP_BIND_ADDRESS_NO_PORT = 24 if sys.platform.startswith('linux') else None  # few Pythons know it, ip(7)

# To open a folder that may be searched, but not read. No Python names the other number, that of fcntl(2) on macOS.
O_PATH = getattr(os, 'O_PATH', 0o10000000 if sys.platform.startswith('linux') else os.O_RDONLY)
F_GETPATH = 50

# Not all Pythons make an OSError of a socket's error; this name fits everywhere.
NetworkError = socket.error
AF_INET, AF_INET6, AF_UNIX = socket.AF_INET, socket.AF_INET6, socket.AF_UNIX


def packed_address(text):
    """The 4 or 16 bytes of an address in its standard spelling, or None. ``127.1`` is a name here, not an address."""
    for family in (AF_INET, AF_INET6):
        try:
            return socket.inet_pton(family, text)
        except (NetworkError, ValueError, TypeError):  # not of this family; NUL; not ASCII
            continue
    return None


def address_text(packed):
    return socket.inet_ntop(AF_INET if len(packed) == 4 else AF_INET6, bytes(packed))


def path_of(fd):
    """The path (bytes) of what is open, all links followed, as the system knows it. Raises OSError or IOError."""
    if sys.platform == 'darwin':
        return fcntl.fcntl(fd, F_GETPATH, b'\0' * 1024).rstrip(b'\0')
    return os.readlink(path_bytes('/proc/self/fd/%d' % fd))


def open_descriptors():
    """Those above standard error that are open, and some that are not. To try each that the limit allows for would
    take minutes in a container. There is one open: a folder that tells of none is one that never changes."""
    for folder in ('/dev/fd', '/proc/self/fd'):
        try:
            found = [int(name) for name in os.listdir(folder) if int(name) > 2]
        except OSError:
            continue
        if found:
            return found
    return range(3, 65536)


def count_descriptors():
    """How many this process has open."""
    size = os.path.isdir('/proc/self/fd') and os.stat('/proc/self/fd').st_size  # since Linux 6.2 that tells it
    try:
        return size or len(os.listdir('/dev/fd')) - 1
    except OSError:  # there is none left to look with
        return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def resident_bytes():
    """What this process has in memory; where the system does not tell, the most that it has had."""
    try:
        with open('/proc/self/statm') as file:
            return int(file.read().split()[1]) * resource.getpagesize()
    except (IOError, OSError):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == 'darwin' else 1024)


OP_NO_RENEGOTIATION = getattr(ssl, 'OP_NO_RENEGOTIATION', 0x40000000)  # OpenSSL 1.1.0h and newer
OP_IGNORE_UNEXPECTED_EOF = 0x80  # OpenSSL 3; means nothing to an older one


def allow_versions_from(context, least):
    """Have a TLS context speak version ``least``, '1.2' or '1.3', and newer ones."""
    if hasattr(context, 'minimum_version'):
        context.minimum_version = {'1.2': ssl.TLSVersion.TLSv1_2, '1.3': ssl.TLSVersion.TLSv1_3}[least]
    else:
        context.options |= ssl.OP_NO_SSLv3 | ssl.OP_NO_TLSv1 | ssl.OP_NO_TLSv1_1
        context.options |= ssl.OP_NO_TLSv1_2 if least == '1.3' else 0
    context.options |= ssl.OP_NO_COMPRESSION | OP_NO_RENEGOTIATION
    # Python 3.8 and 3.9 have OpenSSL 3 pass off a connection cut short as one that ended in order.
    context.options &= ~OP_IGNORE_UNEXPECTED_EOF
    # The newest Python alone is strict about fields that many private authorities leave out.
    context.verify_flags &= ~getattr(ssl, 'VERIFY_X509_STRICT', 0)


def unblock(sock):
    sock.setblocking(False)
    close_on_exec(sock.fileno())


def is_not_ready(error):
    """Does this error only say that the socket has nothing to give or no room just now?"""
    return error.errno in (errno.EAGAIN, errno.EWOULDBLOCK, errno.EINTR)


# ======================================================================================================================
# 2. Vocabulary
# ======================================================================================================================
# Words that several rooms share: numbers of the protocols, fixed limits, failures that clients are told, errors.

# RFC 6455 sections 5.2 and 7.4.1
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
NORMAL, GOING_AWAY, PROTOCOL_ERROR, UNSUPPORTED, BAD_TEXT, POLICY = 1000, 1001, 1002, 1003, 1007, 1008
TOO_BIG, INTERNAL, TRY_LATER = 1009, 1011, 1013

HOST_CHARACTERS = 253  # the longest name that DNS can carry
TOKEN = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"  # RFC 9110 section 5.6.2

# Why a request failed: reply code, stable word for programs, sentence for people; `why`: words for the operator alone.
Failure = collections.namedtuple('Failure', 'code reason message why')
Failure.__new__.__defaults__ = ('',)

REFUSED = Failure(2, 'refused', 'connection refused')
NOT_CONNECTED = Failure(3, 'not-connected', 'nothing is connected, please connect first')
CLOSED = Failure(5, 'closed', 'connection closed by peer')
RESET = Failure(5, 'reset', 'connection reset by peer')
IDLE = Failure(5, 'idle', 'connection closed: nothing was sent either way for too long')
STALLED = Failure(5, 'idle', 'connection closed: the target took nothing for too long')
UNKNOWN_NAME = Failure(1, 'dns', 'the name of the host cannot be resolved')
TIMEOUT = Failure(1, 'timeout', 'the target did not answer in time')
UNREACHABLE = Failure(1, 'unreachable', 'the target cannot be reached')
TLS_CUT = Failure(1, 'tls', 'the target has ended the connection in the TLS handshake')
TLS_SILENT = Failure(1, 'tls', 'the target did not answer in time to the TLS handshake')
NO_ROOM = Failure(1, 'limit', 'the gateway has too much to do just now, please try again')
NO_PORT = Failure(1, 'limit', 'the gateway has no address or port left from which this target can be connected to',
                  'no port left; more of dial.sourceAddresses help')
SSH_AUTH = Failure(6, 'ssh-auth', 'the SSH server did not accept the login')
SSH_NO_PASSWORD = Failure(6, 'ssh-auth', 'the SSH server did not accept the login; it takes keys only')
SSH_NO_KEY = Failure(6, 'ssh-auth', 'the SSH server did not accept the login; it takes passwords only')
SSH_HALF = Failure(6, 'ssh-auth', 'the SSH server took one part of the login, but not the rest: another key, password '
                                  'or code (second factor) is missing or wrong')
SSH_FACTOR = Failure(6, 'ssh-auth', 'the SSH server asks for something else than the password, such as the code of a '
                                    'second factor, which this gateway does not pass on')
SSH_TOO_MANY = Failure(6, 'ssh-auth', 'the SSH server has ended the login: too many attempts failed (MaxAuthTries)')
SSH_EXPIRED = Failure(6, 'ssh-auth', 'the SSH server wants the password of this user changed first: it has expired')
SSH_NO_ACCOUNT = Failure(6, 'ssh-auth', 'the account of this user at the SSH server has expired or is locked')
SSH_SIGNATURE = Failure(6, 'ssh-auth', 'the SSH server and the ssh of the gateway have no algorithm in common for this '
                                       'key (for an old server: PubkeyAcceptedAlgorithms +ssh-rsa in ssh.configFile)')
SSH_SHORT_KEY = Failure(6, 'ssh-auth', 'the ssh of the gateway takes no RSA key as short as this one (RequiredRSASize '
                                       'in ssh.configFile)')
KEY_LOCKED = Failure(6, 'ssh-auth', 'the passphrase is missing: the key is encrypted (ssh_private_key_password)')
KEY_NOT_OPENED = Failure(6, 'ssh-auth', 'the passphrase does not open the key (ssh_private_key_password)')
SSH_HOSTKEY = Failure(6, 'ssh-hostkey', 'the host key of the SSH server is not the one that is known')
SSH_HOSTKEY_NEW = Failure(6, 'ssh-hostkey', 'the host key of the SSH server is not known, and this gateway learns no '
                                            'more of them (ssh.hostKeyChecking, ssh.knownHosts)')
SSH_UNREACHABLE = Failure(6, 'ssh-unreachable', 'the SSH server cannot be reached')
SSH_TIMEOUT = Failure(6, 'ssh-timeout', 'the SSH server did not answer in time')
SSH_DISABLED = Failure(6, 'ssh-disabled', 'this gateway does not offer SSH (ssh.enabled)')
SSH_MISSING = Failure(6, 'ssh-missing', 'the gateway has no ssh program (ssh.program)')
SSH_FAILED = Failure(6, 'ssh-failed', 'the SSH tunnel could not be opened')
SSH_HUNG_UP = Failure(6, 'ssh-failed', 'the SSH server has closed the connection')
SSH_NONE = Failure(6, 'ssh-failed', 'what answers there is no SSH server')
SSH_BUSY = Failure(6, 'ssh-failed', 'the SSH server takes no connections from this gateway just now')
SSH_SILENT = Failure(6, 'ssh-failed', 'the SSH server takes no connections from this gateway just now, or is none: it '
                                      'has closed the connection before its first word')
SSH_STRANGE = Failure(6, 'ssh-failed', 'the SSH server and the ssh of the gateway have no algorithm in common')
SSH_WEAK = Failure(6, 'ssh-failed', 'the RSA host key of the SSH server is shorter than the ssh of the gateway takes '
                                    '(RequiredRSASize in ssh.configFile)')
SSH_PROHIBITED = Failure(6, 'ssh-failed', 'the SSH server does not let connections through to this target')
NO_SUCH_KEY = Failure(1, 'bad-request', 'ssh_private_key must be the text of a key, or the path of one below a folder '
                                        'of ssh.keyDirectories')
KEY_UNREADABLE = Failure(1, 'bad-request', 'ssh_private_key is not a key that can be read')
BROKEN = Failure(1, 'internal', 'the gateway made a mistake; its log has the details')


def forbidden(setting, why=''):
    return Failure(4, 'forbidden', 'the rules of this gateway forbid this target (%s)' % setting, why)


class Ws2sError(Exception):
    """The root of all errors raised here on purpose."""


class ConfigError(Ws2sError):
    """The operator's mistake in the configuration or the arguments; its text is one line for the operator."""


class ServeError(Ws2sError):
    """The gateway cannot serve: the port is taken, say. Its text is one line for the operator."""


class RemoteError(Ws2sError):
    """A remote mistake, which is ordinary. It carries what the peer is to be told."""


class HttpError(RemoteError):
    """A request that gets an HTTP status instead of what it asked for."""

    def __init__(self, status, sentence, headers=()):
        RemoteError.__init__(self, sentence)
        self.status, self.sentence, self.headers = status, sentence, tuple(headers)


class WebSocketError(RemoteError):
    """A violation of RFC 6455; ``code`` is the close code that says so."""

    def __init__(self, code, reason):
        RemoteError.__init__(self, reason)
        self.code, self.reason = code, reason


class RequestError(RemoteError):
    """A request of the JSON dialect that is answered with a failure."""

    def __init__(self, message, reason='bad-request', code=1):
        RemoteError.__init__(self, message)
        self.failure = Failure(code, reason, message)


def printable(text):
    """``text`` of a stranger, fit for one line of a log: printable ASCII, everything else escaped (security S14)."""
    if isinstance(text, bytes):
        text = text.decode('latin-1')
    return text[:300].encode('unicode_escape').decode('ascii')[:600]


def with_port(host, port):
    return '[%s]:%s' % (host, port) if ':' in host else '%s:%s' % (host, port)


def socket_text(name):
    """The address of a socket for the log: a port may be missing, and a Unix socket has its path."""
    if not isinstance(name, tuple):
        return printable(name)
    return with_port(*name[:2]) if len(name) > 1 else name[0]


# ======================================================================================================================
# 3. Configuration
# ======================================================================================================================
# One table says which options there are, what each is when nobody says, how its value is read, what it is for.
# Reading a value checks it and gives it the form that later rooms use. Nothing is read from files here.

# One rule of allowTargets or denyTargets: a name glob or a network (packed, bits), and its ports: pairs (first, last),
# none of them for all.
TargetRule = collections.namedtuple('TargetRule', 'text glob network ports')

Origin = collections.namedtuple('Origin', 'scheme host port')

Target = collections.namedtuple('Target', 'host port')

# Objects of the configuration: the fields are their keys, those with a default may be left out.
# One listener: a port of `host`, or a Unix socket at `path`.
Listen = collections.namedtuple('Listen', 'host port path mode tls proxyProtocol metrics')
Listen.__new__.__defaults__ = (None, None, None, None, False, False, False)
# Who may come (protocol, 7), and where to: ``targets`` are rules as in allowTargets, None for no rules of their own.
TokenEntry = collections.namedtuple('TokenEntry', 'name token targets metrics')
UserEntry = collections.namedtuple('UserEntry', 'name password targets metrics')
CertificateEntry = collections.namedtuple('CertificateEntry', 'name targets metrics')
TokenEntry.__new__.__defaults__ = UserEntry.__new__.__defaults__ = (None, False)
CertificateEntry.__new__.__defaults__ = (None, False)
JwtRules = collections.namedtuple('JwtRules', 'secret algorithms issuer audience')
JwtRules.__new__.__defaults__ = (('HS256',), None, None)
# What the Redis page offers. Pages get it, so that there is no place for a secret.
RedisConnection = collections.namedtuple('RedisConnection', 'name host port db tls readOnly colour master')
RedisConnection.__new__.__defaults__ = (6379, 0, False, False, None, None)
COLOURS = 'red', 'orange', 'yellow', 'green', 'blue', 'purple', 'grey'

HIDDEN = '***'  # what is shown of a secret
JWT_HASHES = {'HS256': hashlib.sha256, 'HS384': hashlib.sha384, 'HS512': hashlib.sha512}
# Rounds, salt and digest of a password, both in base64.
PASSWORD_HASH = re.compile(r'pbkdf2-sha256\$([1-9][0-9]{5,6})\$((?:[A-Za-z0-9+/]{4}){2,20}(?:[A-Za-z0-9+/]{2}==|'
                           r'[A-Za-z0-9+/]{3}=)?)\$([A-Za-z0-9+/]{43}=)\Z')
IDENTITY_NAME = re.compile(u'[^\x00-\x1f\x7f]{1,128}\\Z')


class Secret(collections.namedtuple('Secret', 'text')):
    """A password of the configuration, which is never shown."""

    __slots__ = ()

    def __repr__(self):
        return HIDDEN

    def is_equal(self, data):
        """Compare with bytes of a client, in a time that does not tell where they differ."""
        return hmac.compare_digest(hashlib.sha256(utf8_bytes(self.text)).digest(), hashlib.sha256(data).digest())


DEFAULT_PORTS = {'http': 80, 'ws': 80, 'https': 443, 'wss': 443}
ORIGIN = re.compile(r'([A-Za-z][A-Za-z0-9+.-]{0,62})://(?:(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]{1,%d})'
                    r'(?::([0-9]{1,5}))?|/?)\Z' % HOST_CHARACTERS)
GLOB_MARKS = re.compile(r'[*?]')  # without one of these a glob is a name
PLAIN_NAME = re.compile(r'(?!-)(?=.{1,%d}\Z)[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*\.?\Z' % HOST_CHARACTERS)
NOT_PLAIN = 'must be a plain name or an address'

NOT_ASCII = re.compile(u'[^\x00-\x7f]')
DOTS = re.compile(u'[.\u3002\uff0e\uff61]')  # RFC 3490 section 3.1
# Sharp s, final sigma, the joiners, and letters that have been given another case: Python speaks IDNA 2003 and Unicode
# 3.2, where these lead to another name than in browsers.
DEVIATIONS = re.compile(u'[\xdf\u1e9e\u03c2\u200c\u200d\u04c0\u10a0-\u10c5\u13a0-\u13fd\u180f\u1c80-\u1c88'
                        u'\u2132\u2183\uab70-\uabbf\uf951]'  # the rest: Unicode Corrigenda 3 and 4
                        u'|\U0002f868|\U0002f874|\U0002f91f|\U0002f95f|\U0002f9bf')
LABEL_CHARACTERS, FOREIGN_CHARACTERS = 63, 59  # the longest label, and without the xn-- of its other form
# Python's codec takes about the square of a label. A name of this cost takes a millisecond on the slowest Python.
CODING_COST = 1500


def read_port(text):
    """The number of a TCP port from 1 to 65,535 in plain digits, or None."""
    return int(text) if re.match(r'[0-9]{1,5}\Z', text) and 1 <= int(text) <= 65535 else None


def split_host_port(text):
    """``('::1', '80')`` for ``[::1]:80``; the port is None where there is none, and for a bare IPv6 address."""
    bracketed = re.match(r'\[([^\[\]]*)\](?::(.*))?\Z', text, re.DOTALL)
    if bracketed:
        return bracketed.groups()
    return tuple(text.split(':')) if text.count(':') == 1 else (text, None)


MAPPED = b'\0' * 10 + b'\xff\xff'  # before an IPv4 address in its IPv6 form


def read_network(text):
    """(packed, bits) of an address or a CIDR block, or None when ``text`` is neither."""
    base, _, length = text.partition('/')
    packed = packed_address(base)
    if packed is None:
        return None
    if '/' not in text:
        return packed, 8 * len(packed)
    if not re.match(r'[0-9]{1,3}\Z', length) or int(length) > 8 * len(packed):
        raise ConfigError('"%s" is no CIDR block' % printable(text))
    return packed, int(length)


def read_ports(text):
    ranges = []
    for part in text.split(','):
        ends = [read_port(end) for end in part.split('-')]
        if None in ends or len(ends) > 2 or ends[0] > ends[-1]:
            raise ConfigError('"%s" is no list of ports' % printable(text))
        ranges.append((ends[0], ends[-1]))
    return tuple(ranges)


def ascii_name(name):
    """An international name in its xn-- form, any other text as it is. Raises ValueError, in words for who gave it."""
    if not NOT_ASCII.search(name):
        return name
    labels = DOTS.split(text_type(name))
    foreign = [label for label in labels if NOT_ASCII.search(label)]
    forms = [unicodedata.normalize('NFKC', label) for label in foreign]  # may be eighteen times as long
    cost = sum(len(form) * (10 + len(NOT_ASCII.findall(form))) for form in forms)
    if (any(len(label) > LABEL_CHARACTERS for label in labels) or cost > CODING_COST or DEVIATIONS.search(name)
            or any(len(form) > FOREIGN_CHARACTERS for form in foreign + forms)
            or any(has_newer_form(character) for character in name)):
        raise ValueError('must be written in its xn-- form')
    try:
        return name.encode('idna').decode('ascii')
    except UnicodeError:
        raise ValueError(NOT_PLAIN)


def has_newer_form(character):
    """Is this a character younger than the Unicode of IDNA 2003, for which browsers put another, or none?"""
    return unicodedata.ucd_3_2_0.category(character) == 'Cn' and (
        unicodedata.normalize('NFKC', character.lower()) != character or unicodedata.category(character) == 'Cf'
        or character >= u'\U000e0100')  # from there on they choose how another looks


def canonical_host(host):
    """An address in its standard spelling, or a plain name. Raises ValueError, in words for who gave ``host``."""
    name = ascii_name(host)
    packed = packed_address(name)
    if packed is None and not PLAIN_NAME.match(name):
        raise ValueError(NOT_PLAIN)
    return name if packed is None else text_type(address_text(packed))


def canonical_name(host):
    """The one form in which names are compared, and nothing for an address: globs are for names."""
    try:
        name = ascii_name(host)
    except ValueError:  # what read_host() refuses is never looked up
        name = host
    return '' if packed_address(name.partition('%')[0]) else name.lower().rstrip('.')


def read_glob(text):
    """The canonical form of a name, or of a glob of names. Raises ValueError."""
    if GLOB_MARKS.search(text) and NOT_ASCII.search(text):
        raise ValueError('must be written in its xn-- form, as a glob of an international name')
    name = ascii_name(text)
    if name != '*' and re.match(r'[0-9.*?]+\Z', name):
        # Such a glob would be matched with names too, and names can be made of digits.
        raise ValueError('looks like addresses: write a CIDR block such as 10.0.0.0/8')
    if not PLAIN_NAME.match(GLOB_MARKS.sub('x', name)):
        raise ValueError(NOT_PLAIN)
    return canonical_name(name)


def read_target_rule(text):
    """The TargetRule of ``HOST[:PORTS]`` (protocol, 5). Raises ConfigError."""
    host, ports = split_host_port(text)
    network = read_network(host)
    if network and network[0].startswith(MAPPED):
        raise ConfigError('"%s": write the IPv4 address instead' % printable(text))
    if network is None and (text.startswith('[') or not host or re.search(r'[\s:/\[\]]', host)):
        raise ConfigError('"%s" is no rule: HOST[:PORTS] with a name, a glob, an address or a CIDR block'
                          % printable(text))
    try:
        glob = None if network else read_glob(host)
    except ValueError as error:
        raise ConfigError('"%s" %s' % (printable(text), error))
    return TargetRule(text, glob, network, () if ports is None else read_ports(ports))


def read_origin(text):
    """The Origin of ``scheme://host[:port]`` in its canonical form, or None when it is not of that form (RFC 6454).
    International names stand in their xn-- form there. Pages of files and of some apps have no host: ``file://``."""
    parts = ORIGIN.match(text)
    if not parts or (parts.group(3) and not read_port(parts.group(3))):
        return None
    scheme, host, port = [part and part.lower() for part in parts.groups('')]
    address = packed_address(host.strip('[]'))
    if (not host and scheme in DEFAULT_PORTS) or host.startswith('[') and len(address or b'') != 16:
        return None
    return Origin(scheme, address_text(address) if address else host, int(port) if port else DEFAULT_PORTS.get(scheme))


def flag(value):
    if value is not True and value is not False:
        raise ConfigError('must be true or false')
    return value


def words(value):
    if not isinstance(value, (text_type, str)) or not value or '\0' in value:
        raise ConfigError('must be a text that is not empty')
    return value


def plain_path(value):
    """A path that also a command line of ssh takes as it is."""
    if re.search(u'[\x00-\x1f\x7f"$%:\\\\]', words(value)):
        raise ConfigError('must be a path without quotes, colons and the characters $ % \\')
    return value


def either(check, *others):
    def check_either(value):
        return value if any(value is other for other in others) else check(value)
    return check_either


def whole(least, most):
    def check(value):
        if not isinstance(value, integer_types) or isinstance(value, bool) or not least <= value <= most:
            raise ConfigError('must be a whole number from %d to %d' % (least, most))
        return value
    return check


def seconds(least, most=10 ** 7):
    def check(value):
        if not isinstance(value, integer_types + (float,)) or isinstance(value, bool) or not least <= value <= most:
            raise ConfigError('must be a number of seconds from %s to %d' % (least, most))
        return value
    return check


def one_of(*choices):
    def check(value):
        if value not in choices:
            raise ConfigError('must be one of %s' % ', '.join(choices))
        return value
    return check


def each(check, least=0, field=None):
    """The check of a list of ``least`` items or more, no two of which have the same ``field``."""
    def check_all(value):
        if not isinstance(value, (list, tuple)) or isinstance(value, Pairs):
            raise ConfigError('must be a list')
        if len(value) < least:
            raise ConfigError('must not be empty: leave it out')
        found = tuple(check(item) for item in value)
        if field and len(set(getattr(item, field) for item in found)) < len(found):
            raise ConfigError('has the same %s twice' % field)
        return found
    return check_all


def listing(check, least=0):
    return each(lambda item: check(words(item)), least)


def members(value, names):
    """The Pairs of an object, each name once. Raises ConfigError, which says what ``names`` there may be."""
    value = Pairs(value.items()) if isinstance(value, dict) else value
    if not isinstance(value, Pairs) or len(dict(value)) < len(value):
        raise ConfigError('must be an object of %s, each once' % names)
    return value


def record(kind, *checks):
    """The check of an object that becomes a ``kind``, with a check for each of its fields."""
    needed = kind._fields[:-len(kind.__new__.__defaults__)]
    checks = dict(zip(kind._fields, checks))

    def check(value):
        names, found = ', '.join(kind._fields), {}
        for name, item in members(value, names):
            try:
                found[name] = checks[name](item)
            except KeyError:
                raise ConfigError('must have %s, and not "%s"' % (names, printable(name)))
            except ConfigError as error:
                raise ConfigError('"%s" %s' % (name, error))
        for name in needed:
            if name not in found:
                raise ConfigError('"%s" is missing' % name)
        return kind(**found)
    return check


def secret(least, size=len):
    """The check of a Secret of this least ``size``, of bytes or of the text."""
    def check(value):
        if words(value) == HIDDEN:
            raise ConfigError('%s stands for a secret, and is none' % HIDDEN)
        try:
            if size(utf8_bytes(text_type(value))) < least:
                raise ConfigError('must have at least %d characters' % least)
        except UnicodeError:
            raise ConfigError('is no Unicode')
        return Secret(value)
    return check


def password_hash(value):
    hashed = secret(1)(value)
    if not PASSWORD_HASH.match(hashed.text):
        raise ConfigError('must be what ws2s.py --hash-password prints')
    return hashed


def identity_name(value):
    if not IDENTITY_NAME.match(words(value)):
        raise ConfigError('must be a name of at most 128 characters, none of them a control character')
    return value


def header_name(value):
    if words(value).strip(TOKEN):
        raise ConfigError('must be the name of a header')
    return value.lower()


def origin_or_star(text):
    origin = text if text in ('*', 'null') else read_origin(text)
    if origin is None:
        raise ConfigError('"%s" is no origin as browsers send it: scheme://host[:port] and nothing behind it, a name '
                          'in its xn-- form' % printable(text))
    return origin


def target_text(value):
    """The Target of HOST:PORT, an IPv6 address with or without brackets. Raises ConfigError."""
    text = words(value)
    host, _, port = text.rpartition(':')
    bracketed = re.match(r'\[(.*)\]\Z', host)
    try:
        target = Target(canonical_host(bracketed.group(1) if bracketed else host), read_port(port))
    except ValueError as error:
        raise ConfigError('"%s": the host %s' % (printable(text), error))
    if target.port is None or bracketed and ':' not in target.host:
        raise ConfigError('"%s" is no target: HOST:PORT' % printable(text))
    return target


def targets_by_host(value):
    """Pairs (name of this gateway, Target) of an object; the name * stands for all others."""
    value = members(value, 'names and targets')
    if any('/' in name for name, _ in value):
        raise ConfigError('must have names without a scheme')
    return Pairs((name if name == '*' else host_name(name), target_text(target)) for name, target in value)


def secrets_by_name(value):
    """Pairs (name, Secret) of an object."""
    return Pairs((words(name), secret(1)(password)) for name, password in members(value, 'names and passwords'))


def url_folder(text):
    if not re.match(r'/(?:[!-~]*/)?\Z', words(text)) or re.search('[?#%]', text):
        raise ConfigError('must be a path that begins and ends with a slash')
    return text


def address_rule(text):
    rule = read_target_rule(text)
    if not rule.network or rule.ports:
        raise ConfigError('"%s" is no address and no CIDR block' % printable(text))
    return rule


def source_address(text):
    packed = packed_address(text)
    if packed is None or not packed.strip(b'\0'):
        raise ConfigError('"%s" is no address to connect from' % printable(text))
    return text_type(address_text(packed))


def octal_mode(value):
    if not re.match(r'0?[0-7]{3}\Z', words(value)):
        raise ConfigError('must be the octal mode of a file, such as "0660"')
    return value


LISTEN = record(Listen, words, whole(0, 65535), words, octal_mode, flag, flag, flag)


def read_listen(value):
    """The Listen of an object. Raises ConfigError."""
    listen = LISTEN(value)
    place = [name for name in Listen._fields[:4] if getattr(listen, name) is not None]
    if listen.path is None and 'mode' not in place:
        return listen._replace(**{name: DEFAULTS['listen.' + name] for name in ('host', 'port') if name not in place})
    if place not in (['path'], ['path', 'mode']):
        raise ConfigError('must have "host" and "port", or "path" and "mode"')
    return listen._replace(mode=listen.mode or '0600')


def connection_host(value):
    try:
        return canonical_host(words(value))
    except ValueError as error:
        raise ConfigError('"%s" %s' % (printable(value), error))


REDIS_CONNECTION = record(RedisConnection, identity_name, connection_host, whole(1, 65535), whole(0, 2 ** 31 - 1), flag,
                          flag, one_of(*COLOURS), identity_name)


def subprotocol(text):
    if text.strip(TOKEN):
        raise ConfigError('"%s" is no subprotocol' % printable(text))
    return text


def host_name(text):
    """A name of this gateway, behind the scheme that its pages must have, if one is given."""
    scheme = re.match(r'(?:https?://)?', text.lower()).group()
    host, port = split_host_port(text[len(scheme):])
    try:
        if port is not None:
            raise ValueError('must stand without its port')
        return scheme + canonical_host(host).lower().rstrip('.')
    except ValueError as error:
        raise ConfigError('"%s" %s' % (printable(text), error))


REACH = either(listing(read_target_rule, 1), None)

Option = collections.namedtuple('Option', 'key default check help')

OPTIONS = (
    Option('listen.host', '127.0.0.1', words, 'address or name to listen on'),
    Option('listen.port', 3613, whole(0, 65535), 'TCP port to listen on; 0 takes any free one'),
    Option('listen', None, either(each(read_listen, 1), None), 'listeners in place of listen.host and listen.port'),
    Option('trustedProxies', (), listing(address_rule), 'addresses and CIDR blocks of proxies that name the client'),
    Option('allowConnectToServerLocal', False, flag, "may clients reach the gateway's own machine?"),
    Option('allowTargets', (), listing(read_target_rule), 'rules HOST[:PORTS] of what may be reached; empty is all'),
    Option('denyTargets', (), listing(read_target_rule), 'rules HOST[:PORTS] of what may not; they win'),
    Option('allowedOrigins', (), listing(origin_or_star), 'origins whose pages may connect: scheme://host, null or *'),
    Option('allowedHosts', (), listing(host_name), 'names of this gateway under which its own pages may connect'),
    Option('auth.tokens', (), each(record(TokenEntry, identity_name, secret(16), REACH, flag), field='token'),
           'objects of name, token, targets, metrics: who shows such a token may come'),
    Option('auth.users', (), each(record(UserEntry, identity_name, password_hash, REACH, flag), field='name'),
           'objects of name, password, targets, metrics, for HTTP Basic; the password is what --hash-password prints'),
    Option('auth.jwt', None, either(record(
        JwtRules, secret(32, lambda data: len(utf8_text(data))), listing(one_of(*sorted(JWT_HASHES)), 1),
        either(words, None), either(words, None)), None),
        'object of secret, algorithms, issuer, audience: which JSON Web Tokens count'),
    Option('auth.clientCertificates', (), each(record(CertificateEntry, identity_name, REACH, flag), field='name'),
           'objects of name, targets, metrics: common names of the certificates of clients'),
    Option('auth.proxyHeader', None, either(header_name, None), 'header by which a trusted proxy names the client'),
    Option('auth.pages', False, flag, 'are pages only for those whom "auth" knows?'),
    Option('web', None, either(words, None, False), 'folder of static files; null: those of ws2s; false: none'),
    Option('workers', 0, whole(0, 1024), 'processes of the background service; 0 is one per core'),
    Option('limits.clients', 10000, whole(1, 10 ** 6), 'WebSockets at one time, in each worker'),
    Option('limits.clientsPerAddress', 0, whole(0, 10 ** 6), 'of them from one address (IPv6: one /64); 0 is any'),
    Option('limits.messageBytes', 16777216, whole(1024, 2 ** 30), 'longest text message of a client'),
    Option('limits.bufferBytes', 262144, whole(16384, 2 ** 30), 'bytes that wait one way before the source must wait'),
    Option('limits.totalBytes', 536870912, whole(1048576, 2 ** 40), 'bytes that all clients may make a worker hold'),
    Option('limits.handshakeSeconds', 10, seconds(0.05), 'for the whole HTTP request'),
    Option('limits.connectSeconds', 10, seconds(0.05), 'for look-up and connect'),
    Option('limits.pingSeconds', 30, seconds(0), 'between pings; a client silent for two of these is gone; 0 is never'),
    Option('limits.idleSeconds', 0, seconds(0), 'a TCP connection without data for so long is closed; 0 is never'),
    Option('limits.stallSeconds', 300, seconds(0), 'for a message to go on, or for waiting bytes to go; 0 is for ever'),
    Option('limits.drainSeconds', 5, seconds(0), 'for what is still under way when something is closed'),
    Option('limits.announceSeconds', 0, seconds(0), 'that /healthz says 503 before a stop closes the listeners'),
    Option('limits.upgradeSeconds', 3600, seconds(0), 'that clients from before an upgrade have; 0 is for ever'),
    Option('dial.sourceAddresses', (), listing(source_address), 'own addresses to connect from, by turns; empty: any'),
    Option('raw.enabled', True, flag, 'may clients name their target in the URL, as websockify and others have it?'),
    Option('raw.target', None, either(target_text, None), 'HOST:PORT for WebSockets that name none, instead of JSON'),
    Option('raw.tokens', None, either(words, None), 'file or folder of lines TOKEN: HOST:PORT, for ?token='),
    Option('raw.hostToken', False, flag, 'is the name in the Host header the token?'),
    Option('raw.hostTargets', {}, targets_by_host, 'HOST:PORT by the name in the Host header, for /v1 and /v2'),
    Option('raw.udp', False, flag, 'may clients of raw bytes have UDP, by ?udp=1 or a token of HOST:PORT udp?'),
    Option('raw.playground', False, flag, "do ?host= and ?port= mean WordPress Playground's framing?"),
    Option('raw.subprotocols', (), listing(subprotocol), 'that are answered when they are offered: mqtt, sip, xmpp'),
    Option('raw.only', False, flag, 'is nothing served but raw.target, raw.tokens and raw.hostTargets?'),
    Option('wisp.path', '/wisp/', either(url_folder, None), 'where the Wisp protocol is spoken; null is nowhere'),
    Option('wisp.udp', False, flag, 'may clients of Wisp have UDP?'),
    Option('wisp.streams', 256, whole(1, 65536), 'of one client at one time'),
    Option('wisp.motd', None, either(words, None), 'what clients of Wisp 2 are greeted with'),
    Option('wisp.users', {}, secrets_by_name, 'passwords by name; with any of them Wisp wants one'),
    Option('tls.certificate', None, either(words, None), 'file of our certificate and its chain, in PEM'),
    Option('tls.key', None, either(words, None), 'file of its key, in PEM; null: it is in tls.certificate'),
    Option('tls.minVersion', '1.2', one_of('1.2', '1.3'), 'oldest version of TLS that clients may speak'),
    Option('tls.clientCa', None, either(words, None), 'file of authorities whose certificates clients may show'),
    Option('tls.allowUnverified', False, flag, 'may clients have the certificate of a target not verified?'),
    Option('deflate.enabled', False, flag, 'compress messages where the client offers it (RFC 7692)?'),
    Option('deflate.level', 1, whole(1, 9), 'of compression; higher ones take much more time for little'),
    Option('deflate.minBytes', 256, whole(0, 2 ** 30), 'shorter messages are sent as they are'),
    Option('deflate.windowBits', 12, whole(9, 15), 'of history, as a power of two of bytes'),
    Option('deflate.memLevel', 5, whole(1, 9), 'memory of compression: 2 ** (9 + memLevel) bytes beside the history'),
    Option('deflate.contextTakeover', False, flag, 'keep the history from message to message, and its memory?'),
    Option('ssh.enabled', True, flag, 'may clients go through SSH servers?'),
    Option('ssh.program', 'ssh', words, 'the OpenSSH client to run, 7.0 or newer'),
    Option('ssh.hostKeyChecking', 'accept-new', one_of('accept-new', 'yes', 'no'), 'accept-new learns new host keys'),
    Option('ssh.knownHosts', '~/.ws2s/known_hosts', plain_path, 'file of the known host keys'),
    Option('ssh.configFile', None, either(plain_path, None), 'file of further options for ssh, ciphers for instance'),
    Option('ssh.keyDirectories', (), listing(plain_path), 'folders of keys that clients may name by their path'),
    Option('ssh.maxTunnels', 100, whole(1, 10000), 'ssh processes at one time, in each worker'),
    Option('ssh.timeoutSeconds', 15, seconds(0.05), 'for the way to the SSH server and the login there'),
    Option('redis.connections', (), each(REDIS_CONNECTION, field='name'),
           'objects of name, host, port, db, tls, readOnly, colour, master that the Redis page offers; no secrets'),
    Option('log.level', 'info', one_of('debug', 'info', 'warning', 'error'), 'least level that is logged'),
    Option('log.file', None, either(words, None), 'file to log to instead of standard error'),
    Option('log.bytes', 1048576, whole(0, 2 ** 40), 'size at which that file is rotated; 0 is never'),
    Option('log.files', 3, whole(1, 1000), 'old log files that are kept'),
)


class Config(dict):
    """Immutable settings, read by the keys of OPTIONS: ``config['limits.clients']``."""

    __slots__ = ()

    def _refuse(self, *arguments, **named):
        raise AttributeError('a Config does not change; replace() gives another')

    __setitem__ = __delitem__ = __setattr__ = __ior__ = clear = pop = popitem = setdefault = update = _refuse

    def replace(self, changes):
        """Another Config with the ``changes``, a dict by key of raw values. Raises ConfigError naming the key."""
        values, checks = dict(self), {option.key: option.check for option in OPTIONS}
        for key, value in changes.items():
            if key not in checks:
                raise ConfigError('unknown key "%s"' % printable(key))
            try:
                values[key] = checks[key](value)
            except ConfigError as error:
                raise ConfigError('"%s": %s' % (key, error))
        return Config(values)

    def as_text(self, shows_secrets=False):
        """The JSON that gives this Config again, every key in it. It does so only where it ``shows_secrets``."""
        tree = collections.OrderedDict()
        for option in OPTIONS:
            section, _, name = option.key.rpartition('.')
            if name in tree and self[option.key] is None:
                continue  # `listen` is a section or an option
            branch = tree.setdefault(section, collections.OrderedDict()) if section else tree
            branch[name] = plain_value(self[option.key], shows_secrets)
        return json.dumps(tree, indent=4, separators=(',', ': '))


def plain_value(value, shows_secrets=False):
    """The JSON form of a value that a check has read."""
    if isinstance(value, TargetRule):
        return value.text
    if isinstance(value, Origin):
        port = '' if value.port == DEFAULT_PORTS.get(value.scheme) else ':%d' % value.port
        return '%s://%s%s' % (value.scheme, '[%s]' % value.host if ':' in value.host else value.host, port)
    if isinstance(value, Secret):
        return value.text if shows_secrets else HIDDEN
    if isinstance(value, Target):
        return with_port(*value)
    if hasattr(value, '_fields'):
        value = Pairs(pair for pair in zip(value._fields, value) if pair[1] is not None and pair[1] is not False)
    if isinstance(value, Pairs):
        return collections.OrderedDict((name, plain_value(item, shows_secrets)) for name, item in value)
    if isinstance(value, tuple):
        return [plain_value(item, shows_secrets) for item in value]
    return value


def flatten(tree, prefix=''):
    """Pairs (dotted key, value) of a parsed configuration, sections opened. Raises ConfigError."""
    sections = set(option.key.rpartition('.')[0] for option in OPTIONS if '.' in option.key)
    names = [name for name, _ in tree]
    for name, value in tree:
        key = prefix + name
        if names.count(name) > 1:
            raise ConfigError('"%s" stands there twice' % printable(key))
        if '.' in name:
            raise ConfigError('unknown key "%s"' % printable(key))
        if key == 'listen' and is_listener_list(value):
            yield key, [value] if isinstance(value, Pairs) else value
        elif key in sections:
            if not isinstance(value, Pairs):
                raise ConfigError('"%s": must be an object' % key)
            for pair in flatten(value, key + '.'):
                yield pair
        else:
            yield key, value


def is_listener_list(value):
    """Is this more than the section of `listen.host` and `listen.port`?"""
    return isinstance(value, list) or isinstance(value, Pairs) and bool(set(dict(value)) & set(Listen._fields[2:]))


class Pairs(tuple):
    """The members of a JSON object in their order, doubles included: the second of two rules must not be lost."""


def no_constant(name):
    raise ValueError('%s is no number' % name)


def config_text(data):
    """The text of a configuration file. Raises ConfigError."""
    is_wide = data[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) or b'\0' in data[:4]
    if is_wide and data.strip(b'\0'):  # a file of nothing else is what a crash leaves
        raise ConfigError('this is UTF-16 or UTF-32; save it as UTF-8')
    try:
        return utf8_text(data)
    except UnicodeError:
        raise ConfigError('this is not UTF-8; save it as UTF-8')


def no_source(kind, name):
    raise ConfigError('"%s" is for secrets in configuration files' % kind)


SECRETS = 'auth.tokens', 'auth.users', 'auth.jwt', 'wisp.users'


def with_secrets(value, read_source):
    """``value`` with what ``read_source(kind, name)`` gives in the place of its {"env": NAME} and {"file": PATH}."""
    if isinstance(value, list):
        return [with_secrets(item, read_source) for item in value]
    if not isinstance(value, Pairs):
        return value
    return Pairs((name, read_source(item[0][0], words(item[0][1])) if is_source(item)
                  else with_secrets(item, read_source)) for name, item in value)


def is_source(value):
    return isinstance(value, Pairs) and [name for name, _ in value] in (['env'], ['file'])


def parse_config(text, read_source=no_source):
    """The Config of a JSON text (protocol, 5). Raises ConfigError, which names the key that is wrong. ``read_source``
    gives the secrets that stand elsewhere, as with_secrets() has it."""
    if isinstance(text, text_type):
        text = text.lstrip(u'\ufeff')  # the mark that editors of Windows put in front
    try:
        tree = json.loads(text, object_pairs_hook=Pairs, parse_constant=no_constant)
    except (ValueError, RuntimeError) as error:  # RuntimeError: nested too deeply
        raise ConfigError('this is not JSON: %s' % printable(str(error)))
    if not isinstance(tree, Pairs):
        raise ConfigError('the configuration must be a JSON object')
    values = collections.OrderedDict(flatten(tree))
    for key in set(SECRETS).intersection(values):
        try:
            values[key] = with_secrets(values[key], read_source)
        except ConfigError as error:
            raise ConfigError('"%s": %s' % (key, error))
    return DEFAULTS.replace(values)


DEFAULTS = Config((option.key, option.check(option.default)) for option in OPTIONS)


def listeners(config):
    return config['listen'] or (Listen(config['listen.host'], config['listen.port']),)


# ======================================================================================================================
# 4. HTTP
# ======================================================================================================================
# The request that comes before a WebSocket, and the answers to those that want something else. Strict: what is not
# plainly right is refused in one plain sentence. And what proxies say of the client, in a request or before it.

REQUEST_LINE_BYTES, HEADER_BYTES, HEADER_COUNT, PARAMETERS = 8192, 16384, 64, 256

REASONS = {101: 'Switching Protocols', 200: 'OK', 204: 'No Content', 304: 'Not Modified', 400: 'Bad Request',
           401: 'Unauthorized', 403: 'Forbidden', 404: 'Not Found', 405: 'Method Not Allowed', 408: 'Request Timeout',
           426: 'Upgrade Required', 429: 'Too Many Requests', 431: 'Request Header Fields Too Large',
           500: 'Internal Server Error', 502: 'Bad Gateway', 503: 'Service Unavailable', 504: 'Gateway Timeout'}

WEBSOCKET_KEY = re.compile(r'[A-Za-z0-9+/]{22}==\Z')
ABSOLUTE_FORM = re.compile(r'(?:http|ws)s?://([^/?#]+)/?', re.IGNORECASE)  # up to the path (RFC 9112 section 3.2.2)
METHODS = 'GET, HEAD, OPTIONS'
BEARER_OFFER = 'ws2s.bearer.'  # before a token among the offered subprotocols: pages cannot set headers

PAGE_HEADERS = (
    ('X-Content-Type-Options', 'nosniff'), ('X-Frame-Options', 'DENY'), ('Referrer-Policy', 'no-referrer'),
    ('Cache-Control', 'no-cache'),
)
PAGE_POLICY = ("default-src 'self'; connect-src 'self' ws: wss:; img-src 'self' data:; "
               "object-src 'none'; base-uri 'none'; frame-ancestors 'none'; form-action 'self'")
# noVNC's pages hold scripts, those of emulators WebAssembly.
FOLDER_POLICY = PAGE_POLICY.replace("'self'", "'self' 'unsafe-inline' 'wasm-unsafe-eval'", 1)

CONTENT_TYPES = {'html': 'text/html', 'htm': 'text/html', 'js': 'text/javascript', 'mjs': 'text/javascript',
                 'css': 'text/css', 'txt': 'text/plain', 'md': 'text/plain', 'json': 'application/json',
                 'map': 'application/json', 'svg': 'image/svg+xml', 'png': 'image/png', 'jpg': 'image/jpeg',
                 'jpeg': 'image/jpeg', 'gif': 'image/gif', 'webp': 'image/webp', 'ico': 'image/x-icon',
                 'woff': 'font/woff', 'woff2': 'font/woff2', 'wasm': 'application/wasm', 'pdf': 'application/pdf'}
TEXTS = 'text/', 'application/json', 'image/svg'  # what gzip makes shorter
ENTITY_TAG = re.compile(r'(?:W/)?("[!#-~\x80-\xff]*")')  # RFC 9110 section 8.8.3
GZIP = re.compile(r'(?:x-)?gzip[ \t]*(?:;[ \t]*q=(?:1(?:\.0{0,3})?|0\.(?=0*[1-9])[0-9]{1,3}))?\Z')  # of a weight, not 0

# A file as one reader takes it: ``tag`` is that of these very bytes.
FileForm = collections.namedtuple('FileForm', 'data tag is_packed')


class Request(object):
    """The head of an HTTP request. ``headers``: pairs of a name in lower case and a value, which is Latin-1 text."""

    __slots__ = ('method', 'target', 'version', 'headers', 'came_by_tls', '_values', '_parameters')

    def __init__(self, method, target, version, headers):
        self.method, self.target, self.version, self.headers = method, target, version, headers
        self.came_by_tls = False  # as far as that is known
        self._values, self._parameters = {}, None
        for name, value in headers:
            self._values.setdefault(name, []).append(value)

    @property
    def path(self):
        return self.target.partition('?')[0]

    def parameter(self, name):
        """The first value of a parameter of the query, or None. Raises HttpError 400 for a query that is not one."""
        values = self.parameters(name)
        return values[0] if values else None

    def parameters(self, name):
        """All values of a parameter of the query. Raises HttpError 400."""
        if self._parameters is None:
            self._parameters = read_query(self.target.partition('?')[2])
        return self._parameters.get(name, ())

    def all(self, name):
        return list(self._values.get(name, ()))

    def one(self, name):
        """The value of a header that must not stand there twice, or None. Raises HttpError 400."""
        values = self._values.get(name)
        if values is None:
            return None
        if len(values) > 1:
            raise HttpError(400, 'The header %s stands there more than once.' % name)
        return values[0]

    def tokens(self, name):
        """The lower-case members of a header that is a list (RFC 9110 section 5.6.1)."""
        return [token.strip(' \t') for token in ','.join(self._values.get(name, ())).lower().split(',')]

    def subprotocols(self, are_tokens=False):
        """Those that the client offers, as it has written them: they are told apart by case (RFC 6455 section 1.9).
        ``are_tokens``: those that begin with BEARER_OFFER, else all others."""
        offers = [name.strip(' \t') for name in ','.join(self.all('sec-websocket-protocol')).split(',')]
        return [name for name in offers if name.startswith(BEARER_OFFER) is are_tokens]

    def lone_bearer(self):
        """The offered token where nothing else was offered, else None: browsers want one of their own named."""
        offers = self.subprotocols(are_tokens=True) if 'sec-websocket-protocol' in self._values else ()
        return offers[0] if offers and not self.subprotocols() else None

    def wants_websocket(self):
        """Also when something in front has taken the Upgrade header away: no one else sends the others."""
        return ('websocket' in self.tokens('upgrade') or 'sec-websocket-key' in self._values
                or 'sec-websocket-version' in self._values)


class RequestParser(object):
    """Takes bytes in pieces of any size until a Request is complete; holds no more than its limits."""

    __slots__ = ('_data', '_checked')

    # A bare CR or LF, or a control character: what one program takes for the end of a line another may not.
    _stray = re.compile(b'[\x00-\x08\x0a-\x1f\x7f](?<!\r\n)(?!(?<=\r)(?:\n|\\Z))')

    _empty_lines = re.compile(b'(?:\r\n)*')

    def __init__(self):
        self._data = bytearray()
        self._checked = 0

    def held(self):
        """Bytes of a request that is not complete."""
        return len(self._data)

    def receive(self, data):
        """A pair (Request, bytes that came after it), or None when more must come. Raises HttpError."""
        self._data += data
        if self._data.startswith(b'\r\n'):  # RFC 9112 section 2.2: empty lines before a request are passed over
            del self._data[:self._empty_lines.match(self._data).end()]
            self._checked = 0
        end = self._data.find(b'\r\n\r\n', max(0, self._checked - 3))
        if end < 0:
            # A line end that has only begun counts no more than one that is complete.
            self._check(len(self._data), len(self._data.rstrip(b'\r\n')))
            return None
        self._check(end + 1, end)
        return parse_request(bytes(self._data[:end])), bytes(self._data[end + 4:])

    def _check(self, seen, end):
        if self._data[:1] == b'\x16':
            raise HttpError(400, 'This port speaks plain HTTP and ws://, not TLS.')
        # One back: whether a CR at the end is stray is known only with the next byte.
        if self._stray.search(self._data, max(0, self._checked - 1), seen):
            raise HttpError(400, 'The request has a stray control character or line end.')
        self._checked = seen
        line = self._data.find(b'\r\n', 0, end)
        if (end if line < 0 else line) > REQUEST_LINE_BYTES:
            raise HttpError(431, 'The request line is longer than %d bytes.' % REQUEST_LINE_BYTES)
        if end > REQUEST_LINE_BYTES + HEADER_BYTES or (line >= 0 and end - line > HEADER_BYTES):
            raise HttpError(431, 'The headers are longer than %d bytes.' % HEADER_BYTES)


def parse_request(head):
    """The Request of a head without its last empty line (RFC 9112 sections 3 and 5). Raises HttpError."""
    lines = head.decode('latin-1').split('\r\n')
    if len(lines) - 1 > HEADER_COUNT:
        raise HttpError(431, 'The request has more than %d headers.' % HEADER_COUNT)
    parts = lines[0].split(' ')
    if len(parts) != 3 or parts[2] not in ('HTTP/1.0', 'HTTP/1.1') or parts[0].strip(TOKEN) or not parts[0]:
        raise HttpError(400, 'The request line is not one of HTTP/1.1.')
    headers = []
    for line in lines[1:]:
        name, colon, value = line.partition(':')
        # Also refused here: a folded line, and a space before the colon (RFC 9112 sections 5.1 and 5.2).
        if not colon or not name or name.strip(TOKEN):
            raise HttpError(400, 'A header line is malformed.')
        headers.append((name.lower(), value.strip(' \t')))
    target, absolute = parts[1], ABSOLUTE_FORM.match(parts[1])
    if absolute:  # RFC 9112 section 3.2.2: then the host of the target counts, whatever the Host header says
        target = '/' + target[absolute.end():]
        headers = [(name, absolute.group(1) if name == 'host' else value) for name, value in headers]
    request = Request(parts[0], target, parts[2], headers)
    check_request(request)
    return request


def check_request(request):
    if request.method not in METHODS.split(', '):
        raise HttpError(405, 'Only GET, HEAD and OPTIONS are served here.', [('Allow', METHODS)])
    if not request.target.startswith('/') and (request.method, request.target) != ('OPTIONS', '*'):
        raise HttpError(400, 'The request target must begin with a slash.')
    host = request.one('host')
    if host is None and request.version != 'HTTP/1.0':
        raise HttpError(400, 'The Host header is missing.')
    # Neither the name nor the port behind its colon must be there (RFC 9110 section 7.2, RFC 3986 section 3.2).
    if host and read_origin('http://' + re.sub(r':\Z', '', host)) is None:
        raise HttpError(400, 'The Host header is malformed.')
    if request.all('transfer-encoding') or request.one('content-length') not in (None, '0'):
        raise HttpError(400, 'A request with a body is not served here.')


# A node of X-Forwarded-For or Forwarded, with or without its port, and a parameter of the latter (RFC 7239).
NODE = re.compile(r'(?:\[([0-9A-Fa-f:.]+)\]|([0-9.]+))(?::(?:[0-9]{1,5}|_[0-9A-Za-z._-]+))?\Z|([0-9A-Fa-f:.]+)\Z')
PARAMETER = re.compile(r'([%s]+)=(?:([%s]+)|"([^"\\]*)")\Z' % ((re.escape(TOKEN),) * 2))
NODES = 32  # that are looked at


def plain_address(packed):
    """An IPv4 address is itself, also in its IPv6 form."""
    return packed[12:] if packed.startswith(MAPPED) else packed


def read_node(text):
    """The packed address, or None for `unknown`, a name that hides one, and what is malformed."""
    found = NODE.match(text)
    packed = packed_address(''.join(found.groups(''))) if found else None
    return packed and plain_address(packed)


def read_forwarded(element):
    """The parameters of one element by name; none of one that is malformed."""
    # Commas and semicolons part, in quotes, too: where an element ends must not depend on a quote that a client has put
    # in front of what the proxy says.
    parts = [PARAMETER.match(part.strip(' \t')) for part in element.split(';')]
    pairs = {part.group(1).lower(): ''.join(part.groups('')[1:]) for part in parts if part}
    return pairs if len(pairs) == len(parts) else {}


def forwarded_client(request, peer, is_trusted):
    """The packed address for which ``peer`` speaks by the headers of proxies: the right-most that is not trusted, or
    where what is malformed ends the way. Raises HttpError 400 when two headers name two."""
    nodes, elements = [[part.strip(' \t') for part in ','.join(request.all(name)).split(',') if part.strip(' \t')]
                       for name in ('x-forwarded-for', 'forwarded')]
    named = [read_forwarded(element) for element in elements]
    lists = [nodes, [pairs.get('for', '') for pairs in named] if any('for' in pairs for pairs in named) else []]
    clients = set(last_node(found[-NODES:], peer, is_trusted) for found in lists if found)
    if len(clients) > 1:
        raise HttpError(400, 'X-Forwarded-For and Forwarded name different clients: something in front of the gateway '
                             'passes one of them on as it came.')
    return clients.pop() if clients else peer


def last_node(nodes, client, is_trusted):
    packed = client
    while packed is not None:
        client = packed
        packed = read_node(nodes.pop()) if nodes and is_trusted(client) else None
    return client


def forwarded_tls(request):
    """Does a proxy say that the request came to it by TLS?"""
    last = read_forwarded(','.join(request.all('forwarded')).rpartition(',')[2])
    return 'https' in request.tokens('x-forwarded-proto')[-1:] + [last.get('proto', '').lower()]


PROXY_SIGNATURE = b'\r\n\r\n\0\r\nQUIT\n'
PROXY_LINE_BYTES, PROXY_BYTES = 107, 4096  # of version 1, which says so itself, and of 2
PROXY_LINE = re.compile(br'PROXY (?:UNKNOWN(?: .*)?|TCP([46]) ([!-~]+) ([!-~]+) '
                        br'(0|[1-9]\d{0,4}) (0|[1-9]\d{0,4}))\r\n\Z')
# What TCP over IPv4 and IPv6 and Unix sockets have in version 2: addresses of source and target, and their ports.
PROXY_SHAPES = {0x11: struct.Struct('!4s4sHH'), 0x21: struct.Struct('!16s16sHH'), 0x31: struct.Struct('!108s108s')}


def read_proxy(data):
    """How many bytes of ``data`` are the header of the PROXY protocol, version 1 or 2, and the (address, port) of the
    client or None where the header names none. None when more must come. Raises RemoteError."""
    is_line, size = data[:6] == b'PROXY '[:len(data)], None
    if is_line:
        size = data.find(b'\r\n', 0, PROXY_LINE_BYTES) + 2
        size = None if size < 2 and len(data) < PROXY_LINE_BYTES else size
    elif data[:12] != PROXY_SIGNATURE[:len(data)]:
        raise RemoteError('no header of the PROXY protocol comes first')
    elif len(data) >= 16:
        size = 16 + struct.unpack('!H', data[14:16])[0]
    if size is not None and not 2 <= size <= PROXY_BYTES:
        raise RemoteError('the header of the PROXY protocol is too long')
    if size is None or len(data) < size:
        return None
    return size, (read_proxy_line if is_line else read_proxy_block)(data[:size])


def read_proxy_line(line):
    """(address, port), or None. Raises RemoteError."""
    found = PROXY_LINE.match(line)
    kind, source, target, port, other = found.groups() if found else [b''] * 5
    if found and kind is None:
        return None
    packed = [packed_address(address.decode('latin-1')) or b'' for address in (source, target)]
    length = {b'4': 4, b'6': 16}.get(kind)
    if [len(address) for address in packed] != [length] * 2 or max(int(port), int(other)) > 65535:
        raise RemoteError('the header of the PROXY protocol is malformed')
    return address_text(packed[0]), int(port)


def read_proxy_block(header):
    """As read_proxy_line(), of version 2."""
    command, family = struct.unpack('!BB', header[12:14])
    if command == 0x20 or command == 0x21 and family == 0:  # LOCAL: a health check; or of no family
        return None
    shape = PROXY_SHAPES.get(family)
    if command != 0x21 or shape is None:
        raise RemoteError('the header of the PROXY protocol is of an unknown kind')
    rest = header[16 + shape.size:]
    while len(rest) >= 3:
        size = 3 + struct.unpack('!H', rest[1:3])[0]
        rest = rest[size:] if size <= len(rest) else b'?'
    if rest or len(header) < 16 + shape.size:
        raise RemoteError('the header of the PROXY protocol is malformed')
    fields = shape.unpack(header[16:16 + shape.size])
    return (address_text(fields[0]), fields[2]) if len(fields) > 2 else None


def accept_key(request):
    """The Sec-WebSocket-Accept that answers this upgrade (RFC 6455 section 4.2). Raises HttpError."""
    if 'websocket' not in request.tokens('upgrade'):
        raise HttpError(426, 'This is half a WebSocket request: something in front of the gateway has removed its '
                             'Upgrade and Connection headers, or changed them.', [('Upgrade', 'websocket')])
    if request.method != 'GET':
        raise HttpError(405, 'A WebSocket begins with a GET.', [('Allow', 'GET')])
    if request.version != 'HTTP/1.1':  # RFC 9110 section 7.8: Upgrade counts for nothing in HTTP/1.0
        raise HttpError(400, 'A WebSocket begins with a request of HTTP/1.1; something in front of the gateway has '
                             'made it one of 1.0.')
    if 'upgrade' not in request.tokens('connection'):
        raise HttpError(400, 'The Connection header does not ask for an upgrade; something in front of the gateway may '
                             'have changed it.')
    if request.one('sec-websocket-version') != '13':
        raise HttpError(426, 'Only version 13 of the WebSocket protocol is spoken here.',
                        [('Sec-WebSocket-Version', '13'), ('Upgrade', 'websocket')])
    key = request.one('sec-websocket-key')
    if not key:
        raise HttpError(400, 'The Sec-WebSocket-Key is missing.')
    if not WEBSOCKET_KEY.match(key):
        raise HttpError(400, 'The Sec-WebSocket-Key is not 16 bytes in base64.')
    digest = hashlib.sha1((key + '258EAFA5-E914-47DA-95CA-C5AB0DC85B11').encode('ascii')).digest()
    return base64.b64encode(digest).decode('ascii')


def upgrade_reply(accept, subprotocol=None, extension=None):
    """``subprotocol``: the one of those offered that is spoken (RFC 6455 section 4.2.2), or None; and ``extension``."""
    headers = [('Upgrade', 'websocket'), ('Connection', 'Upgrade'), ('Sec-WebSocket-Accept', accept),
               ('Sec-WebSocket-Protocol', subprotocol), ('Sec-WebSocket-Extensions', extension)]
    return response_head(101, [header for header in headers if header[1]])


def response_head(status, headers):
    # RFC 9112 section 4: clients ignore the reason, but the space before it must stand there.
    lines = ['HTTP/1.1 %d %s' % (status, REASONS.get(status, ''))] + ['%s: %s' % header for header in headers]
    return ('\r\n'.join(lines) + '\r\n\r\n').encode('latin-1')


def page_head(status, content_type, length, headers=(), policy=PAGE_POLICY):
    """The head of a reply after which the connection closes."""
    # RFC 9110 section 7.8: an Upgrade header stands in Connection as well.
    connection = 'close, Upgrade' if 'Upgrade' in dict(headers) else 'close'
    shape = [('Content-Type', content_type), ('Content-Length', length), ('Connection', connection)]
    return response_head(status, shape + list(headers) + list(PAGE_HEADERS) + [('Content-Security-Policy', policy)])


def file_reply(request, name, form, policy):
    """(status, head, body) of the reply with a file; 304 to whoever has this FileForm (RFC 9110 section 15.4.5)."""
    about = [('ETag', form.tag)] + [('Vary', 'Accept-Encoding')] * is_text(name)
    # Whoever has opened one of our pages must not lead it to another connection later, unseen.
    about += [('Cross-Origin-Opener-Policy', 'same-origin')] * (policy == PAGE_POLICY)
    if has_tag(request, form.tag):
        # Of a policy that has changed since the file was kept the reader must hear, too.
        policies = list(PAGE_HEADERS) + [('Content-Security-Policy', policy)]
        return 304, response_head(304, [('Connection', 'close')] + about + policies), b''
    about += [('Content-Encoding', 'gzip')] * form.is_packed
    body = form.data if request.method == 'GET' else b''
    return 200, page_head(200, content_type(name), len(form.data), about, policy), body


def has_tag(request, tag):
    """Does the reader have it already? Whether a tag is called weak counts for nothing (RFC 9110 section 13.1.2)."""
    listed = ','.join(request.all('if-none-match'))
    return listed.strip(' \t') == '*' or tag in ENTITY_TAG.findall(listed)


def takes_gzip(request):
    """Does the reader name gzip among what may be sent (RFC 9110 section 12.5.3)?"""
    return any(GZIP.match(coding) for coding in request.tokens('accept-encoding'))


def sentence_reply(status, sentence, headers=(), with_body=True):
    body = sentence.encode('utf-8')
    return page_head(status, 'text/plain; charset=utf-8', len(body), headers) + (body if with_body else b'')


# To OPTIONS, which health checks use: no word of CORS, so that it grants nothing to whom it is a preflight.
OPTIONS_REPLY = response_head(204, [('Allow', METHODS), ('Connection', 'close')])


def web_segments(path):
    """The names on the way to the file of a request path, or None when the path could lead astray (security S16). A
    path that ends in a slash leads to that folder's index.html."""
    try:
        names = percent_decoded(path).split('/')[1:]
    except ValueError:
        return None
    names[-1] = names[-1] or 'index.html'
    if any(not name or name.startswith('.') or re.search(r'[\x00-\x1f\x7f\\:]', name) for name in names):
        return None
    return names


def percent_decoded(path):
    """The text of a percent-encoded path. Raises ValueError for broken escapes and for what is not UTF-8."""
    pieces = path.encode('latin-1').split(b'%')
    if not all(re.match(b'[0-9A-Fa-f]{2}', piece) for piece in pieces[1:]):
        raise ValueError('a broken percent escape')
    return utf8_text(pieces[0] + b''.join(binascii.unhexlify(piece[:2]) + piece[2:] for piece in pieces[1:]))


def read_query(text):
    """The parameters of a query by name, of each all values, decoded as a form's. Raises HttpError 400."""
    parameters, pairs = {}, text.split('&')
    if len(pairs) > PARAMETERS:
        raise HttpError(400, 'The query has more than %d parameters.' % PARAMETERS)
    for pair in pairs:
        try:
            name, value = [percent_decoded(half.replace('+', ' ')) for half in pair.partition('=')[::2]]
        except ValueError:
            raise HttpError(400, 'The query has a broken percent escape, or is not UTF-8.')
        parameters.setdefault(name, []).append(value)
    return parameters


def content_type(name):
    kind = CONTENT_TYPES.get(name.rpartition('.')[2].lower(), 'application/octet-stream')
    return kind + '; charset=utf-8' if kind.startswith('text/') else kind


def is_text(name):
    return content_type(name).startswith(TEXTS)


# ======================================================================================================================
# 5. WebSocket
# ======================================================================================================================
# RFC 6455 and 7692, the server's side, without a socket: receive(data) gives events, data_to_send() gives what the peer
# must get. A fault of the peer is an event, never an exception that escapes.

OPEN, CLOSING, CLOSED_DOWN = 'open', 'closing', 'closed'

# closing: our Close is on its way and the peer's is awaited. After `closed` nothing more is sent.
WEBSOCKET_MOVES = {OPEN: (CLOSING, CLOSED_DOWN), CLOSING: (CLOSED_DOWN,), CLOSED_DOWN: ()}

Text = collections.namedtuple('Text', 'text')               # a whole text message
LongText = collections.namedtuple('LongText', 'data')       # one of more than LONG_TEXT bytes: checked, not yet decoded
Piece = collections.namedtuple('Piece', 'data final')       # a piece of a binary message
Ping = collections.namedtuple('Ping', 'payload')            # already answered
Pong = collections.namedtuple('Pong', 'payload')
Closed = collections.namedtuple('Closed', 'code reason')    # the peer's Close; code None when it gave none
Fault = collections.namedtuple('Fault', 'code reason')      # the peer broke the protocol; nothing more will come

XOR_TABLES = [bytes(bytearray(byte ^ key for byte in range(256))) for key in range(256)]
SMALL_PAYLOAD = 512  # bytes; below it one big integer is quicker than four translations
FRAME_START = struct.Struct('!BB').unpack_from
CONTROL_BYTES = 125            # RFC 6455 section 5.5
LONG_TEXT = 4096               # bytes; what understands a longer message does so in parts, so that others do not wait
INFLATED_BYTES = 65536         # come of one step of inflating; what is left of the frame waits for the next one
INFLATE_STATE = 8192           # bytes that zlib takes beside the history
INFLATE_ENDS = 16              # ends of a deflate stream in one message; each takes memory anew
DEFLATE_TAIL = b'\x00\x00\xff\xff'  # RFC 7692 section 7.2.1: left away at the end of each message
PONGS_WAITING = 16             # with more pings than these in one read the earlier ones are not answered


# The end of what may yet become a character (RFC 3629 section 4).
UNFINISHED = re.compile(b'(?:[\xc2-\xdf]|\xe0[\xa0-\xbf]?|\xed[\x80-\x9f]?|[\xe1-\xec\xee\xef][\x80-\xbf]?|'
                        b'\xf0(?:[\x90-\xbf][\x80-\xbf]?)?|[\xf1-\xf3](?:[\x80-\xbf][\x80-\xbf]?)?|'
                        b'\xf4(?:[\x80-\x8f][\x80-\xbf]?)?)\\Z')


class Utf8Check(object):
    """Checks UTF-8 in pieces and fails at the first bad byte; the decoders of Python notice some one byte later."""

    __slots__ = ('_tail',)

    def __init__(self):
        self._tail = b''

    def check(self, data, final):
        """Raises UnicodeError."""
        if self._tail:
            data = self._tail + bytes(data)
        unfinished = None if final else UNFINISHED.search(data, max(0, len(data) - 3))
        cut = unfinished.start() if unfinished else len(data)
        utf8_text(data[:cut] if unfinished else data)
        self._tail = bytes(data[cut:])


def unmasked(data, start, stop, key):
    """``data[start:stop]``, XORed with the repeated 4 bytes of ``key`` (RFC 6455 section 5.3), as bytes of the caller's
    own."""
    length = stop - start
    if length > SMALL_PAYLOAD:
        piece = bytearray(memoryview(data)[start:stop])
        for i, byte in enumerate(bytearray(key)):
            if byte:
                piece[i::4] = piece[i::4].translate(XOR_TABLES[byte])
        return piece
    repeated = (key * (length // 4 + 1))[:length]
    return to_bytes(to_int(data[start:stop]) ^ to_int(repeated), length) if length else b''


def frame_header(opcode, length, final=True):
    """The header of an unmasked frame, its length in the fewest bytes (RFC 6455 section 5.2)."""
    first = opcode | (0x80 if final else 0)
    if length <= 125:
        return struct.pack('!BB', first, length)
    if length <= 0xffff:
        return struct.pack('!BBH', first, 126, length)
    return struct.pack('!BBQ', first, 127, length)


def is_close_code(code):
    """May a peer send this code (RFC 6455 section 7.4)? Those from 1012 on are for servers or for nobody."""
    return 1000 <= code <= 1003 or 1007 <= code <= 1011 or 3000 <= code <= 4999


def check_first_bytes(first, second):
    """What the first two bytes of a frame already show to be wrong (RFC 6455 section 5.2). Raises WebSocketError."""
    opcode = first & 15
    if first & 0x70:
        raise WebSocketError(PROTOCOL_ERROR, 'reserved bits are set')
    if opcode not in (CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG):
        raise WebSocketError(PROTOCOL_ERROR, 'reserved opcode')
    if opcode & 8 and (not first & 0x80 or second & 127 > CONTROL_BYTES):
        raise WebSocketError(PROTOCOL_ERROR, 'a control frame is fragmented or too long')  # section 5.5
    if not second & 0x80:
        raise WebSocketError(PROTOCOL_ERROR, 'a frame is not masked')  # section 5.1


def last_legal(first):
    """The highest second byte that may follow this first one; 0 for none. The lowest is 0x80."""
    for second in (0xff, 0x80 | CONTROL_BYTES):
        try:
            check_first_bytes(first, second)
            return second
        except WebSocketError:
            continue
    return 0


LAST_LEGAL = [last_legal(first) for first in range(256)]
# With permessage-deflate RSV1 on the first frame of a message says that it is compressed (RFC 7692 section 6).
DEFLATED = 0x40
LAST_LEGAL_DEFLATED = [LAST_LEGAL[first & ~DEFLATED if first & 15 in (TEXT, BINARY) else first] for first in range(256)]


def read_frame_head(data, start, last_legal=LAST_LEGAL):
    """(first byte, length, masking key, where the payload begins) of the frame at ``start``; None when more must come.

    Raises WebSocketError.
    """
    there = len(data) - start
    if there < 2:
        return None
    first, second = FRAME_START(data, start)
    if not 0x80 <= second <= last_legal[first]:
        check_first_bytes(first, second)
    length, start = second & 127, start + 2
    if length > 125:
        size = 2 if length == 126 else 8
        if there < size + 6:
            return None
        length = to_int(data[start:start + size])
        if length < (126 if size == 2 else 65536) or length >> 63:
            raise WebSocketError(PROTOCOL_ERROR, 'a length is not minimal, or has its first bit set')
        start += size
    elif there < 6:
        return None
    return first, length, data[start:start + 4], start + 4


# What both sides have agreed on (RFC 7692 section 7.1): the window of either in bits, and whether each keeps its
# history from message to message; and how we compress.
Deflate = collections.namedtuple('Deflate', 'our_bits their_bits we_keep they_keep level memory least')

EXTENSION_PARAMETER = re.compile(r'[ \t]*;[ \t]*([^ \t;,="]+)(?:[ \t]*=[ \t]*(?:"([^ \t;,="]*)"|([^ \t;,="]+)))?'
                                 r'(?=[ \t]*(?:[;,]|\Z))')
EXTENSION = re.compile(r'[ \t,]*([^ \t;,="]+)((?:%s)*)[ \t]*(?:,|\Z)' % EXTENSION_PARAMETER.pattern)
WINDOW_BITS = re.compile(r'(?:[89]|1[0-5])\Z')  # RFC 7692 section 7.1.2: no leading zero


def read_extensions(text):
    """Pairs of a name and its parameters, pairs themselves, in the order of a Sec-WebSocket-Extensions header (RFC 6455
    section 9.1). Raises HttpError 400."""
    offers, start = [], 0
    text = text.strip(' \t,')
    while start < len(text):
        offer = EXTENSION.match(text, start)
        if offer is None:
            raise HttpError(400, 'The Sec-WebSocket-Extensions header is malformed.')
        parameters = [one.groups() for one in EXTENSION_PARAMETER.finditer(offer.group(2))]
        offers.append((offer.group(1), [(name, token if quoted is None else quoted)
                                        for name, quoted, token in parameters]))
        start = offer.end()
    return offers


def agree_on_deflate(headers, config):
    """The Deflate and the text of the reply for the first offer in ``headers`` that can be taken, or (None, None).
    Raises HttpError 400."""
    if config['deflate.enabled']:
        for name, parameters in read_extensions(','.join(headers)):
            given = dict(parameters)
            if name == 'permessage-deflate' and len(given) == len(parameters) and is_deflate_offer(given):
                return take_deflate_offer(given, config)
    return None, None


def is_deflate_offer(given):
    """Has an offer only parameters that RFC 7692 section 7.1 knows, with values that it allows? A window of 8 bits for
    us is declined: zlib cannot keep to it."""
    for name, value in given.items():
        is_bits = value is not None and WINDOW_BITS.match(value)
        if not {'server_no_context_takeover': value is None, 'client_no_context_takeover': value is None,
                'server_max_window_bits': is_bits and value != '8',
                'client_max_window_bits': value is None or is_bits}.get(name):
            return False
    return True


def take_deflate_offer(given, config):
    ours, theirs = int(given.get('server_max_window_bits', 15)), int(given.get('client_max_window_bits') or 15)
    keep = config['deflate.contextTakeover']
    we_keep, they_keep = keep and 'server_no_context_takeover' not in given, keep
    reply = ['permessage-deflate']
    if 'server_max_window_bits' in given:
        ours = min(ours, config['deflate.windowBits'])
        reply.append('server_max_window_bits=%d' % ours)
    if 'client_max_window_bits' in given:  # without, the client need not be able to keep to one (section 7.1.2.2)
        theirs = min(theirs, config['deflate.windowBits'])
        reply.append('client_max_window_bits=%d' % theirs)
    they_keep = keep and 'client_no_context_takeover' not in given
    reply += ([] if we_keep else ['server_no_context_takeover']) + ([] if they_keep else ['client_no_context_takeover'])
    return Deflate(min(ours, config['deflate.windowBits']), theirs, we_keep, they_keep, config['deflate.level'],
                   config['deflate.memLevel'], config['deflate.minBytes']), '; '.join(reply)


class Deflater(object):
    """Compresses our messages (RFC 7692 section 7.2.1)."""

    __slots__ = ('_terms', '_object')

    def __init__(self, terms):
        self._terms, self._object = terms, None

    def deflated(self, *pieces):
        """One message compressed, or None when that would make it no shorter."""
        terms = self._terms
        deflater = self._object or zlib.compressobj(terms.level, zlib.DEFLATED, -terms.our_bits, terms.memory)
        if terms.we_keep:
            self._object = deflater
        data = b''.join([deflater.compress(bytes(piece)) for piece in pieces] + [deflater.flush(zlib.Z_SYNC_FLUSH)])
        is_shorter = len(data) - len(DEFLATE_TAIL) < sum(map(len, pieces))
        return data[:-len(DEFLATE_TAIL)] if is_shorter or terms.we_keep else None


class Inflater(object):
    """Inflates the peer's messages (RFC 7692 section 7.2.2), INFLATED_BYTES at a time, as far as ``most`` bytes each.

    ``is_behind``: is there perhaps more in what was given, or in zlib itself?
    """

    __slots__ = ('is_behind', 'takes', '_terms', '_most', '_object', '_total', '_ends', '_is_last')

    def __init__(self, terms, most):
        self._terms, self._most, self._object = terms, most, None
        self.takes = (1 << max(9, terms.their_bits)) + INFLATE_STATE  # bytes, while a message is under way
        self.is_behind, self._total, self._ends, self._is_last = False, 0, 0, False

    def inflated(self, waiting, data, final):
        """(piece of the message, what of ``waiting`` and ``data`` waits for the next call, `is_behind`). ``final``: the
        message ends with ``data``. Raises WebSocketError."""
        tail = DEFLATE_TAIL if final and not self._is_last else b''
        piece, waiting = self._step(waiting + bytes(data) + tail)
        self._total += len(piece)
        if self._total > self._most:
            raise WebSocketError(TOO_BIG, 'a message is longer than %d bytes' % self._most)
        self._is_last, self.is_behind = final, bool(waiting) or len(piece) == INFLATED_BYTES
        if final and not self.is_behind:
            self._end()
        return piece, waiting, self.is_behind

    def _step(self, coded):
        if self._object is None:
            self._object = zlib.decompressobj(-max(9, self._terms.their_bits))
        inflater = self._object
        try:
            piece = inflater.decompress(coded, INFLATED_BYTES)
        except zlib.error:
            raise WebSocketError(BAD_TEXT, 'a message cannot be inflated')
        if inflater.unused_data:  # a block said that it is the last one (section 7.2.3.4)
            self._object = None
            self._ends += 1
            if self._ends > INFLATE_ENDS:
                raise WebSocketError(BAD_TEXT, 'a message cannot be inflated')
        return piece, inflater.unused_data or inflater.unconsumed_tail

    def _end(self):
        self._total, self._ends, self._is_last = 0, 0, False
        if not self._terms.they_keep:
            self._object = None


class WebSocket(object):
    """One connection after its handshake.

    Text messages come whole, at most ``message_bytes`` long. Binary ones come as pieces, which may go on for ever; or
    with ``whole`` whole, too, and as long at most. ``deflate``: the Deflate agreed on, or None; compressed messages are
    that long at most, of either kind.
    """

    __slots__ = ('state', 'out', 'due', 'held', 'is_behind', 'deflate', '_limit', '_whole', '_rest', '_first', '_key',
                 '_message', '_kept', '_check', '_input_over', '_pongs', '_legal', '_deflater', '_inflater', '_coded',
                 '_inflating')

    def __init__(self, message_bytes, whole=False, deflate=None):
        self.state = OPEN
        self.out = []             # chunks for data_to_send()
        self.due = 0              # bytes of the frame under way that are still to come
        self.held = 0             # bytes of what has not become an event yet
        self.is_behind = False    # has receive() stopped before the end of what is there?
        self._limit, self._whole = message_bytes, whole
        self._rest = b''          # the start of a frame head or of a control frame, and what receive() has left
        self._first = 0           # the first byte of the frame under way
        self._key = None          # its masking key, turned to what comes next; None between frames
        self._message = None      # TEXT or BINARY while a message is under way
        self._kept = None         # the bytes so far of one that comes whole
        self._check = None        # the Utf8Check of a text message that comes in parts
        self._input_over = False  # after the peer's Close, or its fault
        self._pongs = 0           # that are in `out`
        self.deflate = deflate
        self._legal = LAST_LEGAL_DEFLATED if deflate else LAST_LEGAL
        self._deflater = Deflater(deflate) if deflate else None
        self._inflater = Inflater(deflate, message_bytes) if deflate else None
        self._inflating = 0       # bytes that the compressed message under way takes, but for its text
        self._coded = None        # bytes of a compressed message that are not inflated yet; None in any other

    def receive(self, data, most=-1):
        """The events in ``data`` (bytes) and what was held before. A Closed or a Fault is the last one ever.

        After ``most`` frames, a LongText or a step of inflating the rest waits for a call: then `is_behind` is true.
        """
        self.is_behind = False
        if self._input_over:
            return []
        if self._rest:
            data, self._rest = self._rest + data, b''
        events, start, end = [], 0, len(data)
        try:
            if self._inflater is not None and self._inflater.is_behind:
                self._take(b'', events)
            while (start < end or self._key) and not (self._input_over or self.is_behind):
                if self._key is None:
                    self.is_behind, most = not most, most - 1
                    if self.is_behind:
                        break
                    head = read_frame_head(data, start, self._legal)
                    if head is None:
                        break
                    self._first, self.due, self._key, start = head
                    if not self._first & 8:
                        self._begin_data()
                there = min(self.due, end - start)
                if there < self.due and (self._first & 8 or not there):
                    break
                payload = unmasked(data, start, start + there, self._key)
                start += there
                self.due -= there
                self._take(payload, events)
            self._rest = data[start:]
        except WebSocketError as error:
            self._input_over = True
            events.append(Fault(error.code, error.reason))
        if self._input_over:
            self._rest, self._kept, self._inflating, self._inflater = b'', None, 0, None
        self.held = len(self._rest) + self._inflating + (len(self._kept) if self._kept else 0)
        return events

    def _begin_data(self):
        """The order of data frames, and the length of messages that come whole (section 5.4)."""
        opcode = self._first & 15
        if (opcode == CONTINUATION) != (self._message is not None):
            raise WebSocketError(PROTOCOL_ERROR, 'a message is continued that was not begun, or begun within another')
        if opcode:
            self._message, self._coded = opcode, b'' if self._first & DEFLATED else None
        if (self._message == TEXT or self._whole) and self._coded is None:
            if (len(self._kept) if self._kept else 0) + self.due > self._limit:
                raise WebSocketError(TOO_BIG, 'a message is longer than %d bytes' % self._limit)

    def _take(self, payload, events):
        """What is there of the frame's payload."""
        if self.due:
            shift = len(payload) & 3
            self._key = self._key[shift:] + self._key[:shift]
        else:
            self._key = None
        final = self._first >= 0x80 and not self.due
        if self._first & 8:
            self._take_control(self._first & 15, bytes(payload), events)
            return
        if self._coded is not None:
            payload, self._coded, self.is_behind = self._inflater.inflated(self._coded, payload, final)
            self._inflating = self._inflater.takes + len(self._coded)
            final = final and not self.is_behind
        if self._message == TEXT:
            self._take_text(payload, final, events)
        elif self._whole:
            self._take_binary(payload, final, events)
        elif (payload or final) and self.state == OPEN:
            events.append(Piece(payload, final))
        if final:
            self._message = self._kept = self._check = self._coded = None
            self._inflating = 0

    def _take_control(self, opcode, payload, events):
        if opcode == PING:
            self._answer_ping(payload)
            events.append(Ping(payload))
        elif opcode == PONG:
            events.append(Pong(payload))
        else:
            events.append(read_close(payload))
            self._input_over = True

    def _take_text(self, piece, final, events):
        """Section 8.1: fail at the first byte that is wrong, wherever frames and reads happen to be cut."""
        try:
            if self._check is None and final and len(piece) <= LONG_TEXT:
                event = Text(utf8_text(piece))  # all of it is there, so none of it need be kept
            else:
                self._check = self._check or Utf8Check()
                self._check.check(piece, final)
                self._keep(piece)
                is_long = len(self._kept) > LONG_TEXT
                event = final and (LongText(self._kept) if is_long else Text(utf8_text(self._kept)))
        except UnicodeError:
            raise WebSocketError(BAD_TEXT, 'a text message is not UTF-8')
        if final and self.state == OPEN:
            events.append(event)
            self.is_behind = isinstance(event, LongText)

    def _take_binary(self, piece, final, events):
        if not final or self._kept:
            self._keep(piece)
            piece = self._kept
        if final and self.state == OPEN:
            events.append(Piece(piece, True))

    def _keep(self, piece):
        """After our Close what still comes is checked, but not kept."""
        if self._kept is None:
            self._kept = bytearray()
        if self.state == OPEN:
            self._kept += piece

    def _answer_ping(self, payload):
        if self.state != OPEN:
            return
        # Section 5.5.3 lets us pass over earlier pings; a peer that piles them up makes us pile up nothing.
        if self._pongs == PONGS_WAITING:
            del self.out[:self._pongs]
            self._pongs = 0
        self.out.insert(self._pongs, frame_header(PONG, len(payload)) + payload)
        self._pongs += 1

    def send(self, opcode, payload, prefix=b''):
        """Queue a whole message, ``prefix`` before ``payload``, or a ping; nothing is sent after a Close (section
        5.5.1)."""
        if self.state == OPEN:
            if self._deflater is not None and opcode < CLOSE and len(payload) >= self.deflate.least:
                opcode, prefix, payload = self._deflated(opcode, prefix, payload)
            head = frame_header(opcode, len(prefix) + len(payload)) + prefix
            if len(payload) <= SMALL_PAYLOAD:
                self.out.append(head + payload)
            else:
                self.out += head, payload

    def _deflated(self, opcode, prefix, payload):
        shorter = self._deflater.deflated(prefix, payload)
        return (opcode, prefix, payload) if shorter is None else (opcode | DEFLATED, b'', shorter)

    def message_head(self, opcode, count, prefix):
        """A message without its last ``count`` bytes, which the caller sends behind it; only while `out` is empty."""
        assert self.state == OPEN and not self.out
        return frame_header(opcode, len(prefix) + count) + prefix

    def close(self, code=None, reason=''):
        """Queue a Close, ours or the answer to the peer's."""
        if self.state == OPEN:
            self.send(CLOSE, close_payload(code, reason))
            if self._kept:
                self._kept, self.held = bytearray(), len(self._rest)
        self._move(CLOSED_DOWN if self._input_over else CLOSING)

    def _move(self, state):
        if state != self.state:
            assert state in WEBSOCKET_MOVES[self.state], (self.state, state)
            self.state = state

    def data_to_send(self):
        """The chunks that the peer must get now, in order."""
        chunks, self.out, self._pongs = self.out, [], 0
        return chunks


def close_payload(code, reason):
    """The payload of a Close; a reason that is too long is cut between two characters."""
    if code is None:
        return b''
    cut = reason.encode('utf-8')[:CONTROL_BYTES - 2].decode('utf-8', 'ignore')
    return struct.pack('!H', code) + cut.encode('utf-8')


def read_close(payload):
    """The Closed event of a Close frame's payload (RFC 6455 sections 5.5.1 and 7.4). Raises WebSocketError."""
    if not payload:
        return Closed(None, '')
    if len(payload) == 1:
        raise WebSocketError(PROTOCOL_ERROR, 'a close payload of one byte')
    code = to_int(payload[:2])
    if not is_close_code(code):
        raise WebSocketError(PROTOCOL_ERROR, 'a close code that must not be sent')
    try:
        return Closed(code, utf8_text(payload[2:]))
    except UnicodeError:
        raise WebSocketError(BAD_TEXT, 'a close reason that is not UTF-8')


# ======================================================================================================================
# 6. Access rules
# ======================================================================================================================
# May this page connect? Who is this client, by what it shows? May this address be dialled? Values in, verdicts out: who
# resolves names and knows which addresses are the machine's own is told so by later rooms, which check passwords, too.

# `setting` is what a client is told; `why` is for the operator.
Verdict = collections.namedtuple('Verdict', 'allowed setting why')
VERDICTS = 1000                # of the rules that are remembered

LOOPBACK_NAME = re.compile(r'([a-z0-9_-]+\.)*localhost\.?\Z')  # RFC 6761 section 6.3
LOOPBACK_NETWORKS = tuple(read_network(block) for block in ('127.0.0.0/8', '::1/128'))

# Refused without allowConnectToServerLocal: they lead to this machine.
LOCAL_NETWORKS = LOOPBACK_NETWORKS + tuple(read_network(block) for block in ('0.0.0.0/8', '::/128'))

# Refused unless a rule names them: link-local and the services that clouds put on fixed addresses, multicast,
# broadcast and the reserved class E, and forms of IPv6 whose real destination cannot be seen (security, 3.3).
SPECIAL_NETWORKS = tuple((read_network(block), kind) for kind, blocks in (
    ('link-local', '169.254.0.0/16 fe80::/10'), ('site-local', 'fec0::/10'),
    # Azure, Alibaba, Oracle, Volcengine; Amazon's services, Google, Oracle, Scaleway, Akamai, Alibaba, Ubicloud.
    ('cloud metadata', '168.63.129.16/32 100.100.100.200/32 192.0.0.192/32 100.96.0.96/32 '
                       'fd00:ec2::/32 fd20:ce::254/128 fd00:c1::a9fe:a9fe/128 fd00:42::42/128 '
                       'fd00:a9fe:a9fe::1/128 fd00:100::100:200/128 fd00:b1c:100d:5afe:ce::/128'),
    ('multicast', '224.0.0.0/4 ff00::/8'), ('broadcast or reserved', '240.0.0.0/4'),
    ('local NAT64', '64:ff9b:1::/48'), ('Teredo', '2001::/32')) for block in blocks.split())

# Where in an IPv6 address an IPv4 address stands, by prefix: mapped, translated, compatible, NAT64, 6to4.
SIX_TO_FOUR = read_network('2002::/16')
EMBEDDINGS = tuple((read_network(block), first) for block, first in (
    ('::ffff:0:0/96', 12), ('::ffff:0:0:0/96', 12), ('::/96', 12), ('64:ff9b::/96', 12), ('2002::/16', 2)))


def in_network(packed, network):
    base, bits = network
    if len(base) != len(packed):
        return False
    shift = 8 * len(base) - bits
    return to_int(packed) >> shift == to_int(base) >> shift


def address_forms(packed):
    """The address itself, and the IPv4 address that it carries inside, if any: what refuses one refuses both."""
    forms = [packed]
    for network, first in EMBEDDINGS if len(packed) == 16 else ():
        if in_network(packed, network) and not any(in_network(packed, local) for local in LOCAL_NETWORKS):
            forms.append(packed[first:first + 4])
    return forms


class TargetRules(object):
    """allowConnectToServerLocal, allowTargets and denyTargets of a Config, ready to judge addresses."""

    def __init__(self, config):
        self.allow_local = config['allowConnectToServerLocal']
        self._allow = config['allowTargets']
        self._deny = config['denyTargets']
        # Not for plain names: of those there may be many, and regular expressions take long to make.
        self._patterns = {rule.glob: re.compile(fnmatch.translate(rule.glob)) for rule in self._allow + self._deny
                          if rule.glob and GLOB_MARKS.search(rule.glob)}
        self._verdicts = {}  # the last ones: few targets are dialled again and again

    def judge(self, *case):
        """As judge_anew(), which looks at all networks and rules."""
        verdict = self._verdicts.get(case)
        if verdict is None:
            if len(self._verdicts) >= VERDICTS:
                self._verdicts.clear()
            verdict = self._verdicts[case] = self.judge_anew(*case)
        return verdict

    def judge_anew(self, host, port, packed, own=False, own_port=False, *aliases):
        """The Verdict on dialling ``packed``, which ``host`` has resolved to. ``own``: the address is one of this
        machine's; ``own_port``: this gateway listens on that port; ``aliases``: what the look-up made of the name, by
        search domains for instance."""
        name, forms = canonical_name(host), address_forms(packed)
        names = [name] + [canonical_name(alias) for alias in aliases]
        local = any(in_network(form, network) for form in forms for network in LOCAL_NETWORKS)
        if local or LOOPBACK_NAME.match(name):
            names.append('localhost')  # whatever it was called: a rule against that name means what it leads to
        local = local or own
        # A 6to4 address is not allowed for the sake of the IPv4 address inside: that one is only its router.
        trusted = forms[:1] if in_network(packed, SIX_TO_FOUR) else forms
        for rule in self._deny:
            if any(self._matches(rule, each, port, forms) for each in names):
                return Verdict(False, 'denyTargets', 'denied by denyTargets "%s"' % rule.text)
        if local and own_port:
            return Verdict(False, 'own port', 'this is the port of the gateway itself')
        if local and not self.allow_local:
            return Verdict(False, 'allowConnectToServerLocal', 'this is the gateway\'s own machine, and '
                                                               'allowConnectToServerLocal is false')
        for network, kind in SPECIAL_NETWORKS:
            if any(in_network(form, network) for form in forms) and not self._names(network, port, trusted):
                return Verdict(False, 'allowTargets', 'addresses of this kind (%s) are refused unless an address rule '
                                                      'of allowTargets names them' % kind)
        for rule in self._allow:
            if self._matches(rule, name, port, trusted):
                return Verdict(True, 'allowTargets', 'allowed by allowTargets "%s"' % rule.text)
        if self._allow:
            return Verdict(False, 'allowTargets', 'no rule of allowTargets allows it')
        return Verdict(True, '', 'no rule forbids it')

    def judge_name(self, host, port):
        """The Verdict on a name where none of its addresses can change that, else None."""
        name = canonical_name(host)
        for rule in self._deny:
            if rule.glob and self._matches(rule, name, port, ()):
                return Verdict(False, 'denyTargets', 'denied by denyTargets "%s"' % rule.text)
        if self._allow and not any(rule.network or self._matches(rule, name, port, ()) for rule in self._allow):
            return Verdict(False, 'allowTargets', 'no rule of allowTargets allows it')
        return None

    def _matches(self, rule, name, port, forms):
        if rule.ports and not any(first <= port <= last for first, last in rule.ports):
            return False
        if rule.network:
            return any(in_network(form, rule.network) for form in forms)
        pattern = self._patterns.get(rule.glob)
        return bool(pattern.match(name)) if pattern else name == rule.glob

    def _names(self, special, port, forms):
        """A rule for the whole Internet does not count: it must lie within the special network."""
        return any(rule.network and rule.network[1] >= special[1] and in_network(rule.network[0], special)
                   and self._matches(rule, '', port, forms) for rule in self._allow)


def check_origin(request, config):
    """Raise HttpError 403 when the page that made this request may not connect (protocol, 5; security S04)."""
    refusal = origin_refusal(request, config)
    if refusal:
        raise HttpError(403, refusal)


def origin_refusal(request, config):
    """Why the page that made this request may not connect, and just what would allow it; None when it may."""
    return refusal_of_page(request.one('origin'), request, config)


def reader_refusal(request, config):
    """As origin_refusal(), of what pages fetch: of one that seems to be our own, browsers name the host alone."""
    origin, host = request.one('origin'), request.one('host')
    if origin is not None or host is None:
        return refusal_of_page(origin, request, config)
    schemes = ('https',) if request.came_by_tls else ('http', 'https')
    refusals = [refusal_of_page('%s://%s' % (scheme, host), request, config) for scheme in schemes]
    return None if None in refusals else refusals[0]


def refusal_of_page(text, request, config):
    """As origin_refusal(), of a page of the origin ``text``."""
    allowed = config['allowedOrigins']
    if text is None or '*' in allowed or text in allowed:
        return None
    if text == 'null':
        return 'Pages without an origin may not connect; "null" in the setting allowedOrigins can allow all of them.'
    origin = read_origin(text)
    if origin is None:
        return ('This page has an origin that cannot be told from others; only "*" in the setting allowedOrigins can '
                'allow it, and all pages with it.')
    if origin in allowed or is_loopback_page(origin):
        return None
    name = re.sub(r'\.\Z', '', origin.host)  # as it stands in allowedHosts
    packed = packed_address(name)
    schemes = ('https',) if request.came_by_tls else ('http', 'https')
    is_own = origin.scheme in schemes and (packed or PLAIN_NAME.match(name)) and origin == read_origin(
        '%s://%s' % (origin.scheme, request.one('host')))
    if not is_own:
        plain = plain_value(origin)
        return 'Pages of this origin may not connect; "%s" in the setting allowedOrigins can allow them.' % (
            text if text.lower() == plain else plain)
    # Same origin: but a name that anybody may point at this address proves nothing (DNS rebinding).
    named = set(entry for entry in config['allowedHosts'] if entry.rpartition('/')[2] == name)
    if (named or packed is None) and not named & {name, '%s://%s' % (origin.scheme, name)}:
        return ('This name of the gateway is not known, or not with this scheme; "%s" in the setting allowedHosts can '
                'allow it.' % plain_value(Origin(origin.scheme, name, DEFAULT_PORTS[origin.scheme])))
    return None


def is_loopback_page(origin):
    packed = packed_address(origin.host)
    return origin.scheme in ('http', 'https') and bool(LOOPBACK_NAME.match(origin.host) or packed and any(
        in_network(packed, network) for network in LOOPBACK_NETWORKS))


# What proxies say of the client, and browsers of the page: a request that has any of these was passed on.
PASSED_ON = re.compile(r'(x-forwarded-.*|x-real-ip|x-client-ip|true-client-ip|cf-connecting-ip|forwarded|via|origin)\Z')


def may_see_counts(request, listen, client, is_proxy, config):
    """May whoever shows no identity see the counts? On a listener that is there for them, whoever knows its name (DNS
    rebinding); where there is none such, programs of this machine, ``client`` being their packed address. What a proxy
    may have passed on is nobody's of this machine: those that add no header of theirs end each connection, as nginx
    does, or name another host."""
    origin = read_origin('http://%s' % re.sub(r':\Z', '', request.one('host') or 'localhost'))
    name, is_loopback = re.sub(r'\.\Z', '', origin.host), is_loopback_page(origin)
    if listen.metrics:
        return is_loopback or packed_address(name) is not None or any(
            entry.rpartition('/')[2] == name for entry in config['allowedHosts'])
    was_passed_on = is_proxy or listen.proxyProtocol or any(
        PASSED_ON.match(header) or header == config['auth.proxyHeader'] for header, _ in request.headers)
    is_direct = not was_passed_on and set(request.tokens('connection')) <= {'', 'keep-alive'}
    return (is_loopback and is_direct and any(in_network(client, network) for network in LOOPBACK_NETWORKS)
            and not any(one.metrics for one in listeners(config)))


CONNECTIONS_PATH = '/redis-connections.json'
NO_RULES = {'allowConnectToServerLocal': True, 'allowTargets': (), 'denyTargets': ()}


def connections_for(identity, connections):
    """Those of which an Identity may hear: a name must have rules of names, for into which network it leads is not
    known. Addresses are left to who judges them."""
    lists = [tuple(rule for rule in rules if rule.glob) for rules in identity.targets] if identity else []
    named = [TargetRules(dict(NO_RULES, allowTargets=rules)) for rules in lists]
    return [one for one in connections if packed_address(one.host) is not None
            or all(lists) and not any(rules.judge_name(one.host, one.port) for rules in named)]


def connections_text(connections, is_stranger):
    """What the Redis page is told in JSON. ``is_stranger``: whoever shows an identity may be told more."""
    return json.dumps({'connections': plain_value(tuple(connections)), 'wantsIdentity': is_stranger}, sort_keys=True)


def headers_for_readers(request, config):
    """Those by which a page that may connect, and no other, may read the reply: by fetch() it has its browser ask for
    the permission to reach local addresses. A preflight, which is an OPTIONS, is granted nothing."""
    origin = request.one('origin')
    if origin is None or request.method == 'OPTIONS' or origin_refusal(request, config):
        return []
    return [('Access-Control-Allow-Origin', origin), ('Vary', 'Origin')]


# Who a client is: its name for rules and logs, how that was shown, lists of rules that must all allow where it goes.
Identity = collections.namedtuple('Identity', 'name way targets metrics')
# What a client has shown: the Identity of each credential, None for one that is not good; and pairs (user, password) of
# which one must be right.
Claim = collections.namedtuple('Claim', 'identities logins')
WAYS = {'auth.tokens': 'token', 'auth.users': 'user', 'auth.clientCertificates': 'certificate'}

JWT_BYTES, JWT_STARS = 8192, 4  # of a whole token; in a glob
LAST_MOMENT = 10 ** 11 - 1     # in seconds: what is later is in milliseconds, and would be good for ever
BASE64_URL = re.compile(b'[A-Za-z0-9_-]*\\Z')

FAILURES, FAILURE_SECONDS = 10, 60   # of one address: more within that time
HELD_SECONDS, MOST_HELD = 1, 20      # have each further answer of it take so long; so many wait so
FAILED_GROUPS = 10000                # that are remembered


def needs_identity(config):
    """Is there anything in the configuration that can let somebody in?"""
    return bool(config['auth.tokens'] or config['auth.users'] or config['auth.jwt'] or config['auth.proxyHeader']
                or config['auth.clientCertificates'])


def unauthorized(config):
    """The one answer to whoever may not come, whatever was wrong."""
    ways = ['Bearer realm="ws2s"'] + ['Basic realm="ws2s", charset="UTF-8"'] * bool(config['auth.users'])
    return HttpError(401, 'This gateway is only for those whom it knows: the request must show a valid token or login.',
                     [('WWW-Authenticate', way) for way in ways])


def read_claim(request, config, now, certificate_name=None, from_proxy=False):
    """The Claim of all that a request shows. Raises HttpError 400.

    ``now``: seconds since 1970; ``certificate_name``: the common name of a verified certificate; ``from_proxy``: the
    request has come from one that may say who the client is.
    """
    header = from_proxy and config['auth.proxyHeader'] and request.one(config['auth.proxyHeader'])
    try:
        bearers, logins = read_authorization(request.one('authorization'))
        bearers += [utf8_bytes(token) for token in request.parameters('access_token')]
        bearers += [base64url_bytes(offer[len(BEARER_OFFER):].encode('latin-1'))
                    for offer in request.subprotocols(are_tokens=True)]
        identities = [identity_of_token(token, config, now) for token in bearers]
        if certificate_name is not None and config['auth.clientCertificates']:
            identities += identities_named(config, certificate_name, 'auth.clientCertificates') or [None]
        if header:
            name = identity_name(utf8_text(header.encode('latin-1')))
            known = identities_named(config, name, 'auth.users') or [Identity(name, '', (), False)]
            identities.append(known[0]._replace(way='proxy'))  # as narrow as where it has a password
    except (ValueError, binascii.Error, ConfigError):
        return Claim([None], ())
    return Claim(identities, logins)


def read_authorization(value):
    """(tokens, logins) of the header, or of its absence. Raises ValueError."""
    scheme, _, rest = (value or '').partition(' ')
    data = rest.strip(' ').encode('latin-1')
    if scheme.lower() == 'bearer':
        return [data], ()
    if scheme.lower() == 'basic':
        pair = binascii.a2b_base64(data)
        user, colon, password = pair.partition(b':')
        if not colon or base64_bytes(pair) != data:
            raise ValueError('no login')
        return [], ((user, password),)
    if value is not None:
        raise ValueError('no scheme that is spoken here')
    return [], ()


def base64url_bytes(data):
    """What is written without padding (RFC 7515 section 2). Raises ValueError for any other spelling."""
    if len(data) % 4 == 1 or not BASE64_URL.match(data):
        raise ValueError('not base64url')
    decoded = base64.urlsafe_b64decode(data + b'=' * (-len(data) % 4))
    if base64url(decoded) != data:
        raise ValueError('bits that stand for nothing')
    return decoded


def base64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b'=')


def identity_of_entry(entry, way):
    return Identity(entry.name, way, (entry.targets,) if entry.targets else (), entry.metrics)


def identities_named(config, name, *keys):
    """The Identities of this name in these lists of a Config."""
    return [identity_of_entry(entry, WAYS[key]) for key in keys for entry in config[key] if entry.name == name]


def identity_of_token(token, config, now):
    """The Identity of a token of either kind, as bytes, or None. Each is compared with all: the time tells nothing."""
    found = [entry for entry in config['auth.tokens'] if entry.token.is_equal(token)]
    if found:
        return identity_of_entry(found[0], 'token')
    return read_jwt(token, config['auth.jwt'], now) if config['auth.jwt'] else None


def read_jwt(token, rules, now):
    """The Identity of a JSON Web Token (RFC 7519) that is good ``now`` by the JwtRules, or None."""
    parts = token.split(b'.') if len(token) <= JWT_BYTES else ()
    if len(parts) != 3:
        return None
    try:
        head, claims, signature = [base64url_bytes(part) for part in parts]
        head = jwt_object(head)
        if head.get('alg') not in rules.algorithms or 'crit' in head:  # RFC 7515 section 4.1.11: nothing is known of it
            return None
        digest = jwt_digest(rules.secret, head['alg'], token.rpartition(b'.')[0])
        return jwt_identity(jwt_object(claims), rules, now) if hmac.compare_digest(digest, signature) else None
    except (ValueError, RuntimeError, ConfigError):  # RuntimeError: nested too deeply
        return None


def jwt_digest(secret, algorithm, data):
    return hmac.new(utf8_bytes(text_type(secret.text)), data, JWT_HASHES[algorithm]).digest()


def jwt_object(data):
    """A JSON object none of whose keys stands twice: what one reader takes another may not. Raises ValueError."""
    value = json.loads(utf8_text(data), object_pairs_hook=jwt_members, parse_constant=no_constant)
    if not isinstance(value, dict):
        raise ValueError('no object')
    return value


def jwt_members(pairs):
    if len(dict(pairs)) < len(pairs):
        raise ValueError('a key stands there twice')
    return dict(pairs)


def jwt_identity(claims, rules, now):
    """The Identity that these claims make, or None. Raises ValueError and ConfigError."""
    moment, audience = seconds(0, LAST_MOMENT), claims.get('aud')
    audiences = audience if isinstance(audience, list) else [audience]
    is_good = (now < moment(claims.get('exp')) and moment(claims.get('nbf', 0)) <= now
               and rules.issuer in (None, claims.get('iss'))
               and (rules.audience is None or rules.audience in audiences))
    identity = Identity(identity_name(claims.get('sub', u'jwt')), 'jwt', jwt_targets(claims), False)
    return identity if is_good else None


def jwt_targets(claims):
    """Lists of rules from the claims `targets`, and `host` with `port`. Raises ValueError and ConfigError."""
    lists = ()
    if 'targets' in claims:
        rules = listing(read_target_rule, 1)(claims['targets'])
        if any(rule.glob and rule.glob.count('*') > JWT_STARS for rule in rules):
            raise ValueError('a glob that takes long')
        lists += rules,
    if 'host' in claims or 'port' in claims:
        port = claims.get('port')
        port = whole(1, 65535)(read_port(port) if isinstance(port, text_type) else port)
        lists += (read_target_rule(with_port(canonical_host(words(claims.get('host'))), port)),),
    return lists


def agreed(identities):
    """The one Identity that all of these are, or None. What any of them forbids is forbidden."""
    if None in identities or len(set(identity.name for identity in identities)) != 1:
        return None
    return Identity(identities[0].name, ' and '.join(identity.way for identity in identities),
                    sum((identity.targets for identity in identities), ()), all(one.metrics for one in identities))


class Failures(object):
    """How often addresses have failed to show who they are of late, by group; ``held``: how many of each wait."""

    def __init__(self):
        self.held = collections.Counter()
        self._moments = collections.OrderedDict()

    def note(self, group, now):
        self._moments[group] = self._moments.pop(group, ())[1 - FAILURES:] + (now,)
        oldest = next(iter(self._moments))
        if len(self._moments) > FAILED_GROUPS or self._moments[oldest][-1] < now - FAILURE_SECONDS:
            del self._moments[oldest]

    def slows(self, group, now):
        moments = self._moments.get(group, ())
        return len(moments) == FAILURES and moments[0] >= now - FAILURE_SECONDS


UNIX_PEER, UNIX_GROUP = ('unix',), b'unix:'


def peer_address(peer):
    """The packed address of a peer, an address with or without a port; UNIX_GROUP for that of a Unix socket."""
    return UNIX_GROUP if peer == UNIX_PEER else packed_address(peer[0].partition('%')[0]) or b''


def address_group(text):
    """What counts as one address in limits: an IPv4 address, or the /64 of an IPv6 one, which one host can fill; all
    peers of Unix sockets are one, too."""
    packed = packed_address(text.partition('%')[0]) or b''
    carried = address_forms(packed)[-1]
    return (packed[:8] if len(carried) == 16 else carried) or UNIX_GROUP


def is_trusted(packed, config):
    """May this peer, a peer_address(), say for whom it speaks? A Unix socket's may: its mode says who connects."""
    return packed == UNIX_GROUP or any(in_network(plain_address(packed), rule.network)
                                       for rule in config['trustedProxies'])


def group_text(group):
    if group == UNIX_GROUP:
        return UNIX_PEER[0]
    return address_text(group + b'\0' * 8) + '/64' if len(group) == 8 else address_text(group)


# ======================================================================================================================
# 7. SSH
# ======================================================================================================================
# What ssh is told and what it says: its arguments and configuration, the lines of its standard error, its questions and
# the host keys that it learns. Whatever a client can choose is checked here and is a value to ssh, never an option or a
# destination. Where ssh goes stands in a private file: every local user can read arguments.

# The word in the place of a destination; what is really dialled stands in HostName.
DESTINATION = 'ws2s-hop'
KEY_CHARACTERS = 16384         # of the text of a private key
SSH_LINE_BYTES = 8192          # of one line of ssh's standard error; the rest of a longer one is not looked at
TUNNEL_ALIVE_SECONDS = 15      # between ssh's questions whether its server is there; three without answer end it

# What deriving the key of a key from its passphrase may take; programs take a tenth of it when they are not told.
KEY_ROUNDS = 256               # of bcrypt, two seconds
KEY_ITERATIONS = 1000000       # of PBKDF2 and its elders
KEY_SCRYPT = 4194304           # of scrypt: N times r times p
KEY_VALUES = 64                # of DER that are looked at; such a key has less than twenty
KNOWN_HOSTS_BYTES = 1048576    # of the file of host keys; then no new ones are learnt
ORIGIN_BYTES = 104857          # of it for keys that came from one address: a stranger's server may have many names
HOST_KEY_BYTES = 16384         # of the line of one host key

# Names in a tunnel's private directory.
CONTROL_NAME, KEY_NAME, ASKPASS_NAME, PID_NAME = 'c', 'k', 'askpass', 'pid'
CONFIG_NAME, LEARNT_NAME = 'config', 'learnt'
OUR_LINES = 5  # of ssh's configuration, above those of the operator

# Hands ssh's question to the gateway and its answer to ssh. The secret passes by no variable, argument or file.
ASKPASS_SCRIPT = b"""#!/bin/sh
printf '%s\\0' "$1" >&0 && exec head -n 1
"""

# Inside also what names of domains and bastions have; ssh.configFile may hand the name to a shell. Two backslashes are
# one to some versions of ssh; newer ones expand a %.
PLAIN_USER = re.compile(r'(?!.*\\\\)[A-Za-z0-9_.+](?:[A-Za-z0-9_.+@\\:#=-]{0,126}[A-Za-z0-9_.+-])?\Z')


class Hop(collections.namedtuple('Hop', 'host port username password key passphrase')):
    """The SSH server on the way to a target, and the login there. ``password`` and ``passphrase`` are bytes or None;
    ``key`` is the text of a key, a path that begins with a slash, or None."""

    __slots__ = ()

    def __repr__(self):
        return 'Hop(%r, %r, ...)' % (self.host, self.port)  # actions are printed freely


def plain_host(host, field='host'):
    """The form in which ssh is given a host: an address, or a name of harmless characters. Raises RequestError."""
    try:
        return canonical_host(host)
    except ValueError as error:
        raise RequestError('%s %s' % (field, error))


def host_key_name(hop):
    """The name under which known_hosts has the key of this server (sshd(8), SSH_KNOWN_HOSTS FILE FORMAT)."""
    host = hop.host.lower()
    return host if hop.port == 22 else '[%s]:%d' % (host, hop.port)


def local_path(directory, number):
    """Where the tunnel of this directory listens for its ``number``th target."""
    return '%s/s%d' % (directory, number)


def forward_line(directory, number, target):
    """The line of ssh's configuration that forwards to a pair (host, port). Raises RequestError for a host that is not
    plain. A host that begins with a slash would be a socket of the SSH server."""
    host, port = target
    # The folder may have letters that the host has not: both as the system's own kind of text.
    return 'LocalForward "%s" "%s"\n' % (local_path(directory, number), str(with_port(plain_host(host), port)))


def tunnel_lines(hop, address, directory, target):
    """The lines of ssh's configuration that say where to log in, dialled at ``address``, and forward to ``target``, a
    (host, port). The first value of an option counts: what follows cannot change them. Raises RequestError."""
    values = (('HostName', address.replace('%', '%%')), ('HostKeyAlias', host_key_name(hop)), ('Port', hop.port),
              ('User', hop.username))
    return ''.join('%s "%s"\n' % (name, str(value)) for name, value in values) + forward_line(directory, 1, target)


FIXED_OPTIONS = (
    # Options that came after OpenSSH 7.0: an older ssh, which knows no such danger, passes them over.
    'IgnoreUnknown=AddKeysToAgent,IdentityAgent,KnownHostsCommand,ProxyJump,ForkAfterAuthentication,StdinNull,'
    'SessionType,SecurityKeyProvider,'
    # What a crypto policy of the system says, which need not be of just this ssh (ssh.configFile).
    'GSSAPI*,RequiredRSASize,RSAMinSize,CASignatureAlgorithms,PubkeyAccepted*,HostbasedAccepted*,HostbasedKeyTypes,'
    'WarnWeakCrypto',
    'LogLevel=DEBUG2', 'EscapeChar=none', 'ExitOnForwardFailure=yes', 'ClearAllForwardings=no', 'GatewayPorts=no',
    'ForwardAgent=no', 'ForwardX11=no', 'Tunnel=no', 'PermitLocalCommand=no', 'ProxyCommand=none', 'ProxyJump=none',
    'CanonicalizeHostname=no', 'ControlPersist=no', 'ForkAfterAuthentication=no', 'StdinNull=no', 'SessionType=none',
    'StreamLocalBindMask=0177', 'StreamLocalBindUnlink=no', 'ConnectionAttempts=1',
    'ServerAliveInterval=%d' % TUNNEL_ALIVE_SECONDS, 'ServerAliveCountMax=3',
    'GlobalKnownHostsFile=/dev/null', 'UpdateHostKeys=no', 'CheckHostIP=no', 'VerifyHostKeyDNS=no',
    'HashKnownHosts=no', 'KnownHostsCommand=none',
    # Only what the client gave is shown to the server: no agent, no key of the operator (security, 3.4).
    'IdentitiesOnly=yes', 'IdentityAgent=none', 'AddKeysToAgent=no', 'SecurityKeyProvider=/dev/null',
    'NumberOfPasswordPrompts=1')


def login_options(config, hop, directory):
    # ssh writes a new key into the first file, whether the login succeeds or not.
    checking, known_hosts = config['ssh.hostKeyChecking'], config['ssh.knownHosts']
    files = {'no': ['/dev/null'], 'yes': [known_hosts],
             'accept-new': ['%s/%s' % (directory, LEARNT_NAME), known_hosts]}[checking]
    switches = (('PubkeyAuthentication', hop.key), ('PasswordAuthentication', hop.password),
                ('KbdInteractiveAuthentication', hop.password), ('BatchMode', not (hop.password or hop.passphrase)))
    methods = (['publickey'] if hop.key else []) + (['password', 'keyboard-interactive'] if hop.password else [])
    return ['StrictHostKeyChecking=%s' % checking,
            'UserKnownHostsFile=%s' % ' '.join('"%s"' % name for name in files),
            'PreferredAuthentications=%s' % (','.join(methods) or 'none')
            ] + ['%s=%s' % (name, 'yes' if value else 'no') for name, value in switches]


def base_arguments(config, directory, settings):
    return [config['ssh.program'], '-F', settings, '-S', '%s/%s' % (directory, CONTROL_NAME)]


def tunnel_arguments(config, hop, seconds, directory):
    """The command line that does what tunnel_lines() say. ``seconds``: for the connection and the server's first
    words."""
    options = list(FIXED_OPTIONS) + login_options(config, hop, directory)
    options.append('ConnectTimeout=%d' % max(1, int(seconds + 0.5)))  # ssh takes whole seconds
    arguments = base_arguments(config, directory, '%s/%s' % (directory, CONFIG_NAME)) + ['-M', '-N', '-T', '-a', '-x']
    if hop.key:
        arguments += ['-i', '%s/%s' % (directory, KEY_NAME)]
    for option in options:
        arguments += ['-o', option]
    return arguments + ['--', DESTINATION]


def forward_arguments(config, directory):
    """The command line that has the ssh of this directory forward as its standard input says, a forward_line()."""
    return base_arguments(config, directory, '/dev/stdin') + ['-O', 'forward', '--', DESTINATION]


def key_origin(address):
    """The comment in known_hosts of the keys of an SSH server: what counts as one address."""
    return b'ws2s:' + group_text(address_group(address)).encode('ascii')


def has_room_for_key(known, origin, length=HOST_KEY_BYTES):
    """May the text ``known`` of known_hosts take a line of ``length`` bytes that came from ``origin``?"""
    theirs = sum(len(line) + 1 for line in known.split(b'\n') if line.endswith(b' ' + origin))
    return theirs + length <= ORIGIN_BYTES and len(known) + length <= KNOWN_HOSTS_BYTES


def line_to_learn(known, new, origin):
    """What ``known`` is to take of ``new``, the line that ssh has written: nothing when another tunnel was faster; or
    a Failure."""
    fields = new.split()
    if len(fields) != 3 or new.count(b'\n') != 1 or len(new) > HOST_KEY_BYTES:
        return SSH_HOSTKEY_NEW
    for line in known.split(b'\n'):
        if line.split()[:2] == fields[:2]:
            return b'' if line.split()[2] == fields[2] else SSH_HOSTKEY
    line = b' '.join(fields + [origin]) + b'\n'
    if not has_room_for_key(known, origin, len(line)):
        return SSH_HOSTKEY_NEW
    return line if known.endswith(b'\n') or not known else b'\n' + line


def is_key_text(key):
    return key.startswith('-----BEGIN ')


SSH_KEY = b'openssh-key-v1\0'
INTEGER, OCTETS, NULL, OBJECT, SEQUENCE = 2, 4, 5, 6, 0x30  # of DER (X.690)

# What programs, pages and people make of the text of a key. Most is looked for in stripped lines with single blanks.
INVISIBLE = re.compile(u'[\0\xad\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff\ufffe]')
ESCAPE = re.compile(r'\\{1,4}([rnt])|(?:\\{1,4}(?:u00|x)|%)([0-7][0-9A-Fa-f])')  # of JSON, of programs, of URIs
KEY_NAMES = u'%s[ \n]?((?:OPENSSH|RSA|DSA|EC|ENCRYPTED)?)[ \n]?PRIVATE[ \n]?KEY'
KEY_BEGIN = re.compile(KEY_NAMES % u'BEGIN')
DASHES = u'-\u2010-\u2015\u2212\ufe58\ufe63\uff0d'
KEY_END = re.compile(u'[%s] ?END|%s' % (DASHES, KEY_NAMES % u'END'))
KEY_CIPHER = re.compile(u'DEK-Info ?: ?(DES[A-Z0-9-]* ?, ?[0-9A-Fa-f]{16}|[A-Z0-9-]+ ?, ?[0-9A-Fa-f]{32})')
KEY_NOISE = re.compile(u'["\'] ?[+.,]?[ \n]?["\']|[%s\\s"\'`\xab\xbb\u2018-\u201f>|,\\\\]' % DASHES)
BY_PUTTYGEN = ', which ssh does not read; puttygen KEY -O private-openssh -o OUT makes one that it reads'
OTHER_KEYS = [(re.compile(pattern), 'ssh_private_key ' + sentence) for pattern, sentence in (
    (u'PuTTY-User-Key-File', 'is a key in the form of PuTTY (PPK)' + BY_PUTTYGEN),
    (u'BEGIN ?SSH2 ?(?:ENCRYPTED)? ?PRIVATE', 'is a key in the form of ssh.com (SSH2)' + BY_PUTTYGEN),
    (u'BEGIN ?PGP', 'is of PGP, which ssh does not read'),
    (u'-cert-v0[01]@openssh.com AAAA|BEGIN ?(?:TRUSTED |X509 )?CERTIFICATE', 'is a certificate, not a private key'),
    (u'(?:ssh-|ecdsa-|sk-)[a-z0-9@.-]{1,60} AAAA|BEGIN ?[A-Z0-9]{0,9} ?PUBLIC|'
     u'^\n?["\']?AAAA(?:[BC]3NzaC1|E2VjZHNh|GnNrLXNz|InNrLWVj)',
     'is a public key; the private one is wanted, the file without .pub'),
    (u'BEGIN ?[A-Z0-9 ]{0,20}PRIVATE', KEY_UNREADABLE.message.partition(' ')[2]),
    (u'END [A-Z ]{0,20}PRIVATE ?KEY|^["\']?b3BlbnNzaC1rZXktdjE',
     'is not a key that can be read: its line BEGIN is missing'),
    (u'BEGIN|PRIVATE', KEY_UNREADABLE.message.partition(' ')[2]))]

# The text is one that each ssh reads, and nothing else stands in it. Whether decrypting takes very long is told apart.
PrivateKey = collections.namedtuple('PrivateKey', 'text is_encrypted is_cheap')


WHOLE_FILE = re.compile(b'(?:BEGIN|END) [A-Z]|PuTTY-User| AAAA|LS0tLS1CRUdJTi')
KEY_PATH = re.compile(u'/[\x20-\x7e]*\\Z')


def unreadable(why):
    return RequestError('%s: %s' % (KEY_UNREADABLE.message, why))


def read_private_key(text):
    """The PrivateKey that a text holds, however it was copied. Raises RequestError, which says what is wrong and has
    nothing of the text."""
    text = INVISIBLE.sub(u'', text)
    text = ESCAPE.sub(lambda found: chr(int(found.group(2), 16)) if found.group(2) else '\n', text)
    text = u'\n'.join(u' '.join(line.split()) for line in text.splitlines())
    begin = KEY_BEGIN.search(text)
    if not begin:
        inner = decoded_key(text)
        if inner:
            return read_private_key(inner)
        sentences = [sentence for pattern, sentence in OTHER_KEYS if pattern.search(text)]
        raise RequestError((sentences + [NO_SUCH_KEY.message])[0])
    end = KEY_END.search(text, begin.end())
    if not end:
        raise unreadable('it is cut off, its line END is missing')
    return rebuilt_key(begin.group(1), text[begin.end():end.start()])


def decoded_key(text):
    """What a text holds that is base64 of a whole file, as CI systems keep keys; else None."""
    for run in re.findall(u'[A-Za-z0-9+/]{24,}', re.sub(u'[\\s"\'\\\\]', u'', text)):
        data = binascii.a2b_base64(run[:len(run) - (len(run) % 4 == 1)].encode('ascii') + b'=' * (-len(run) % 4))
        if WHOLE_FILE.search(data):
            return data.decode('utf-8', 'replace')
    return None


def rebuilt_key(label, body):
    """The PrivateKey of what stands between the lines BEGIN and END."""
    cipher = KEY_CIPHER.search(body)
    lines = (body[cipher.end():] if cipher else body).split(u'\n')
    data = read_key_body(KEY_NOISE.sub(u'', u'\n'.join(line for line in lines if u':' not in line)))
    try:
        is_encrypted, is_cheap = examine_key(label, data, cipher and cipher.group(1).rpartition(u',')[2].strip())
    except (ValueError, IndexError):
        raise unreadable('it is damaged or cut off')
    label = (u'OPENSSH ' if data.startswith(SSH_KEY) else label and label + u' ') + u'PRIVATE KEY-----\n'
    head = u'Proc-Type: 4,ENCRYPTED\nDEK-Info: %s\n\n' % cipher.group(1).replace(u' ', u'') if cipher else u''
    body = binascii.b2a_base64(data).decode('ascii').strip()
    body = u''.join(body[place:place + 64] + u'\n' for place in range(0, len(body), 64))
    return PrivateKey(u'-----BEGIN %s%s%s-----END %s' % (label, head, body, label), is_encrypted, is_cheap)


def read_key_body(text):
    text = text.rstrip(u'=')
    if not re.match(u'[A-Za-z0-9+/]*\\Z', text):
        raise unreadable('there is something between its lines BEGIN and END that does not belong there')
    if len(text) % 4 == 1:
        raise unreadable('it is damaged or cut off')
    return binascii.a2b_base64(text.encode('ascii') + b'=' * (-len(text) % 4))


def examine_key(label, data, vector):
    """Is it encrypted, and does it take little time to decrypt, which ssh does for any server and passphrase? Raises
    ValueError or IndexError for what is no whole key. ``vector``: of a key that is encrypted as a whole, with a
    passphrase that is hashed once; below that nothing can be seen."""
    if vector:
        if label not in (u'RSA', u'DSA', u'EC') or not data or len(data) % (len(vector) // 2):
            raise ValueError('cut off, or encrypted twice')
        return True, True
    if data.startswith(SSH_KEY):
        return examine_ssh_key(data[len(SSH_KEY):])
    if label == u'OPENSSH':
        raise ValueError('something else')
    numbers = derivation_numbers(bytearray(data))
    return numbers is not None, not numbers or max(numbers) <= KEY_ITERATIONS and (
        len(numbers) < 3 or numbers[0] * numbers[1] * numbers[2] <= KEY_SCRYPT)


def examine_ssh_key(data):
    """Of one as ssh-keygen writes it (PROTOCOL.key): a cipher, what derives its key, salt and rounds of bcrypt."""
    (cipher, derivation, options), rest = read_strings(data, 3)
    (public, _), tag = read_strings(rest[4:], 2)
    if b'@' in cipher and len(tag) < 16:
        raise ValueError('cut off')
    if b'sk-' in public[:8]:
        raise unreadable('it needs its security key (FIDO), which the gateway has not')
    if derivation == b'none':
        return cipher != b'none', True
    if derivation != b'bcrypt' or len(options) != 24:
        raise ValueError('not as ssh-keygen writes it')
    return True, to_int(options[20:]) <= KEY_ROUNDS


def read_strings(data, count):
    """``count`` strings (RFC 4251 section 5), and what follows them."""
    found = []
    for _ in range(count):
        length = to_int(data[:4])
        if len(data) < 4 + length:
            raise ValueError('cut off')
        found.append(data[4:4 + length])
        data = data[4 + length:]
    return found, data


def derivation_numbers(data):
    """Of a key in any other form: None when it is not encrypted. An encrypted one (RFC 5958) begins with SEQUENCEs of
    parameters, whose values are looked at one by one. What a reader less strict could understand otherwise is refused:
    ValueError or IndexError."""
    if data[:1] != b'\x30':
        raise ValueError('no SEQUENCE')
    place, tags, numbers = 0, [], []
    while place < len(data) and len(tags) < KEY_VALUES:
        tag, length, place = data[place], data[place + 1], place + 2
        if length > 127:
            place, length = place + length - 128, to_int(data[place:place + length - 128])
        if place + length > len(data) or not tags and place + length < len(data):
            raise ValueError('cut off, or not DER')
        if tag == INTEGER:
            numbers.append(to_int(data[place:place + length]))
        if tags == [SEQUENCE] and numbers:
            return None  # a version comes first
        tags.append(tag)
        place += 0 if tag == SEQUENCE else length  # what is in a SEQUENCE comes next
    if place < len(data) or not numbers or not set(tags) <= {INTEGER, OCTETS, NULL, OBJECT, SEQUENCE}:
        raise ValueError('no parameters of a derivation and a cipher')
    return numbers


def check_passphrase(key, passphrase):
    if key.is_encrypted and not passphrase:
        raise RequestError(KEY_LOCKED.message, KEY_LOCKED.reason, KEY_LOCKED.code)


def is_for_key(question, directory):
    """Is this ssh's own question for the passphrase, and not one of a server? It names a path that no server knows."""
    return question == b"Enter passphrase for key '" + path_bytes('%s/%s' % (directory, KEY_NAME)) + b"': "


# Which questions are about a password, and about more than that: a word that changes, or a new one.
PASSWORD_WORDS = re.compile(
    u'pass ?word|passwor[td]|passwd|passord|kennwort|mot de passe|contrase|clave|senha|palavra-passe|wachtwoord|'
    u'l\xf6senord|adgangskode|salasana|has\u0142|hesl|jelsz|parol|\u015fifre|\u043f\u0430\u0440\u043e\u043b|'
    u'\u5bc6\u7801|\u5bc6\u78bc|\u53e3\u4ee4|\u30d1\u30b9\u30ef\u30fc\u30c9|\ube44\ubc00\ubc88\ud638|\uc554\ud638')
FACTOR_WORDS = re.compile(
    u'one.?time|single.?use|einmal|usage unique|un solo uso|uso \xfanico|monouso|\\bpin\\b|otp|oath|token|cod[ei]|'
    u'c\xf3digo|verif|[2m]fa\\b|fa[ck]tor|authenticator|yubi|securid|challenge|s/key|opie|\\bsms|\u043a\u043e\u0434|'
    u'\u043e\u0434\u043d\u043e\u0440\u0430\u0437|\u9a8c\u8bc1|\u9a57\u8b49|\u8a8d\u8a3c|\u52a8\u6001|\u52d5\u614b|'
    u'\u4e00\u6b21|\u30ef\u30f3\u30bf\u30a4\u30e0|\uc77c\ud68c|\uc778\uc99d')
CHANGE_WORDS = re.compile(
    u'\\b(?:old|current|new|retype|repeat|alte[ns]?|neue[ns]?|aktuelle[ns]?) .{0,40}(?:passw|kennw)|\\(current\\)')

WHOLE_NAME = u'(?<![a-z0-9_-])%(name)s(?![a-z0-9_-])'
CERTAIN_NAME = (u'\\b(?:for|user|f\xfcr) ["\'`]?%(name)s(?![a-z0-9_-])|'
                u'(?<![a-z0-9_-])%(name)s(?=[\'\u2019]s )')


def refusal_of(question, user):
    """Why a question of the server for ``user``, in bytes, is not answered with the password: a Failure; else None."""
    text = re.sub(br'\\([0-7]{3})', lambda found: bytes(bytearray([int(found.group(1), 8) & 255])), question)
    words = text.decode('utf-8', 'replace').lower().split()
    text = u' '.join(word for word in words if u'@' not in word)  # names of users and hosts may have any word in them
    if CHANGE_WORDS.search(text):
        return SSH_EXPIRED
    if not PASSWORD_WORDS.search(text) or FACTOR_WORDS.search(without_name(text, user.lower())):
        return SSH_FACTOR
    return None


def without_name(text, user):
    """A question without the name of the user, if FACTOR_WORDS are in that; a name that is no more than one of them
    counts only beside what makes it a name."""
    for name in user, user.partition(u'@')[0], user.rpartition(u'\\')[2]:
        name = u' '.join(name.split())
        rest = FACTOR_WORDS.sub(u'', name)
        if rest != name:
            pattern = CERTAIN_NAME if len(rest) < 2 or rest in (u'pass', u'ication') else WHOLE_NAME
            text = re.sub(pattern % {'name': re.escape(name)}, u'', text)
    return text


def login_digest(hop, salt):
    """By this it is known again: the secrets themselves are forgotten when the login is done."""
    return hashlib.sha256(salt + repr(tuple(hop)).encode('utf-8')).digest()


SshConnected = collections.namedtuple('SshConnected', '')          # the TCP connection to the server stands
SshReady = collections.namedtuple('SshReady', '')                  # logged in, and listening for our connections
SshFault = collections.namedtuple('SshFault', 'failure')           # why ssh is about to end
SshComplaint = collections.namedtuple('SshComplaint', 'text')      # about its options or this machine
ChannelBegun = collections.namedtuple('ChannelBegun', 'number')    # ssh has taken a connection of ours
ChannelOpened = collections.namedtuple('ChannelOpened', 'number')  # its target stands
ChannelFailed = collections.namedtuple('ChannelFailed', 'number failure')
ChannelEnded = collections.namedtuple('ChannelEnded', 'number')    # its target has closed it

# In the words of the server's own system, mostly; the first that is found counts.
TARGET_FAILURES = (
    ('administratively prohibited', SSH_PROHIBITED), ('refused', REFUSED), ('timed out|timeout', TIMEOUT),
    ('not known|name resolution|no address associated|not resolve|no such host', UNKNOWN_NAME),
    ('resource shortage|unknown channel type', SSH_FAILED), ('', UNREACHABLE))


def target_failure(words):
    """The Failure of a target behind the SSH server, from the words in which that tells it (RFC 4254 section 5.1)."""
    return [failure for pattern, failure in TARGET_FAILURES if re.search(pattern, words.lower())][0]


# What ssh.configFile may say for an old server.
COMMON_BY = {'cipher': 'Ciphers', 'MAC': 'MACs', 'key exchange method': 'KexAlgorithms',
             'host key type': 'HostKeyAlgorithms'}


def no_common(kind):
    return SSH_STRANGE._replace(message='%s: no matching %s (for an old server: %s +NAME in ssh.configFile)' % (
        SSH_STRANGE.message, kind, COMMON_BY[kind]))


def refused_login(methods):
    """The Failure of a login, from the methods that the server would take."""
    if 'password' not in methods and 'keyboard-interactive' not in methods:
        return SSH_NO_PASSWORD if 'publickey' in methods else SSH_AUTH
    return SSH_AUTH if 'publickey' in methods else SSH_NO_KEY


# What a line of ssh's standard error tells; the first row that fits. Words of OpenSSH 7.0 to 10.
SSH_LINES = (
    (r'debug1: Connection established', SshConnected()),
    (r'debug1: Entering interactive session', SshReady()),
    (r'debug1: channel (\d{1,9}): new .*direct-tcpip', lambda found: ChannelBegun(int(found.group(1)))),
    (r'debug2: channel (\d{1,9}): open confirm', lambda found: ChannelOpened(int(found.group(1)))),
    (r'debug2: channel (\d{1,9}): rcvd (?:eof|close)', lambda found: ChannelEnded(int(found.group(1)))),
    (r'channel (\d{1,9}): open failed: (.*)',
     lambda found: ChannelFailed(int(found.group(1)), target_failure(found.group(2)))),
    (r'debug2: bad passphrase given', SshFault(KEY_NOT_OPENED)),
    (r'debug1: (?:(?:\w+: )?no mutual signature|Skipping \S+ key .* not in PubkeyAccepted)', SshFault(SSH_SIGNATURE)),
    (r'debug1: (?:\w+: )?Skipping key .*: Invalid key length', SshFault(SSH_SHORT_KEY)),
    (r'debug2: input_userauth_passwd_changereq', SshFault(SSH_EXPIRED)),
    (r'debug1: (?:kex|ssh)_exchange_identification: (?:banner line \d+: )?'
     r'(?:Not allowed at this time|[Ee]xceeded MaxStartups)(?:\r|$)', SshFault(SSH_BUSY)),
    (r'debug\d:', None),
    # Before others: the server has a say in their ends.
    (r'Unable to negotiate with \S+(?: port \d+)?: no matching (%s) ' % '|'.join(COMMON_BY),
     lambda found: SshFault(no_common(found.group(1)))),
    (r'Unable to negotiate ', SshFault(SSH_STRANGE)),
    (r'Server host key \S+ not in HostKey|host key \S+ not permitted by HostkeyAlg',
     SshFault(no_common('host key type'))),
    (r'sign_and_send_pubkey: no mutual signature', SshFault(SSH_SIGNATURE)),
    (r'Load key ".*": incorrect passphrase', SshFault(KEY_NOT_OPENED)),
    (r'Load key "', SshFault(KEY_UNREADABLE)),
    (r'(?:Bad server host key|ssh_dispatch_run_fatal: .*): Invalid key length', SshFault(SSH_WEAK)),
    (r'Authenticated (?:using "[^"]*" )?with partial success', SshFault(SSH_HALF)),
    (r'.*Permission denied \(([a-z0-9@.,-]*)\)', lambda found: SshFault(refused_login(found.group(1).split(',')))),
    (r'.*Too many authentication failures', SshFault(SSH_TOO_MANY)),
    (r'.*Permission denied \(|.*No (?:more|supported) authentication methods', SshFault(SSH_AUTH)),
    (r'.{0,40}[Aa]ccount (?:has|is) (?:expired|locked|disabled)(?:[;.!\r]|$)', SshFault(SSH_NO_ACCOUNT)),
    (r'(?:WARNING: )?Your password has expired|You are required to change your password', SshFault(SSH_EXPIRED)),
    (r'Received disconnect from \S+(?: port \d+)?: ?12:', SshFault(SSH_BUSY)),
    (r'(?:kex|ssh)_exchange_identification: (?:read: )?Connection (?:closed|reset)', SshFault(SSH_SILENT)),
    (r'(?:kex|ssh)_exchange_identification: |banner exchange: .*(?:could not read|invalid format|version mismatch)|'
     r'Bad remote protocol|Protocol major|Bad packet length', SshFault(SSH_NONE)),
    (r'No \S+ host key is known for ', SshFault(SSH_HOSTKEY_NEW)),
    (r'Host key verification failed|.*HOST IDENTIFICATION HAS CHANGED', SshFault(SSH_HOSTKEY)),
    (r'.*(?:Connection|Operation) timed out|Connection to .* timed out|Timeout, server', SshFault(SSH_TIMEOUT)),
    (r'ssh: connect to host |ssh: connect to address |.*Could not resolve hostname', SshFault(SSH_UNREACHABLE)),
    (r'banner exchange|Connection (?:closed|reset) by|ssh_dispatch_run_fatal|Received disconnect from',
     SshFault(SSH_HUNG_UP)),
    (r"(?:command-line|/[^:\n]*):? line \d+: .*|No user exists .*|Bad owner .*|Can't open user config .*",
     lambda found: SshComplaint(found.group())),
)
SSH_PATTERNS = tuple((re.compile(pattern), meaning) for pattern, meaning in SSH_LINES)

# One search over many lines finds those that a row may fit. A server can have ssh say a thousand lines per read.
TELLING_LINE = re.compile(
    r'^(?=.{9})(?:debug[12]: (?=[CESbcs]|input_|kex_ex|load_id|identity_s|no mut)|(?!debug))(?:%s).*' % '|'.join(
        re.sub('^debug[12]: ', '', pattern) for pattern, meaning in SSH_LINES if meaning is not None), re.MULTILINE)


class LineParser(object):
    """Whole lines out of bytes that come in pieces; of a long one only the beginning."""

    def __init__(self):
        self._rest = b''

    def receive(self, data):
        """A text of lines that have ended."""
        lines, end, rest = (self._rest + data).rpartition(b'\n')
        self._rest = rest[:SSH_LINE_BYTES]
        return (lines + end).decode('latin-1')


def read_ssh_lines(text):
    """What lines of ssh's standard error tell: an event for each of the few that tell something."""
    events = (read_ssh_line(found.group()[:SSH_LINE_BYTES].rstrip('\r')) for found in TELLING_LINE.finditer(text))
    return (event for event in events if event is not None)


def read_ssh_line(line):
    """What one line (text) tells, or None."""
    for pattern, meaning in SSH_PATTERNS:
        found = pattern.match(line)
        if found:
            return meaning(found) if callable(meaning) else meaning
    return None


# ======================================================================================================================
# 8. Dialects
# ======================================================================================================================
# What messages mean. A dialect gets events and answers each with a list of actions, which are carried out in order; it
# knows no frame, socket, thread or log. To add a dialect: one class, and one row of DIALECTS.
#
# A channel is the number by which a dialect names one upstream; it is free again after on_failed, on_closed or a Shut.
# What is said to a channel that is not in use goes nowhere.

# A message to the client. `payload`: bytes, in UTF-8 for TEXT.
Send = collections.namedtuple('Send', 'opcode payload')
# Connect to a target by a channel that is not in use; on_opened or on_failed follows. The dialect has checked `host` by
# read_host(), and `port`, 1 to 65,535. `hop`: None for a target that is dialled directly. `prefix`: each read of the
# target becomes one binary message behind these bytes; None: on_data gets it. `window`: bytes that the client may be
# sent before it has given some back by a Grant; None: any number. `udp`: each Write is a datagram, and each read.
# `tls`: a Tls; on_secured follows then. `half_open`: the end of what the target sends is told by on_finished.
Open = collections.namedtuple('Open', 'channel host port hop prefix window udp tls half_open')
Open.__new__.__defaults__ = (None, None, None, False, None, False)
Write = collections.namedtuple('Write', 'channel data')   # bytes to the target; before it stands they are kept for it
Grant = collections.namedtuple('Grant', 'channel count')  # bytes of the window that the client has given back
Carry = collections.namedtuple('Carry', 'channel')        # pieces of binary messages go there as they come; None: to us
Secure = collections.namedtuple('Secure', 'channel tls')  # speak TLS from here on; on_secured or on_failed follows
Finish = collections.namedtuple('Finish', 'channel')      # close our half after what was written
Shut = collections.namedtuple('Shut', 'channel')          # end it after what was written; no event follows
Hangup = collections.namedtuple('Hangup', 'code reason')  # close the WebSocket; what waits for a dial is given up
Later = collections.namedtuple('Later', 'seconds')        # on_later follows, once; only the last Later counts
# Who is the client? Of the pairs (user, password), in bytes, one must be right; on_authenticated follows.
Authenticate = collections.namedtuple('Authenticate', 'logins')

WINDOW_BYTES = 16384           # the smallest window that a client may ask for
JSON_DIGITS = 20               # that are read of one number: long ones cost their square on old Pythons (security S09)
WAITING_BYTES = 512            # what one waiting request costs beside its own bytes
REQUESTS = 16                  # of those that have waited are carried out before others have their turn
JSON_MARKS = b',', b'[', b'{'  # before each member there is one, and within texts some
MEMBERS = 500                  # of a request are understood at once
PART_BYTES = 65536             # of a long request are understood before others have their turn
END_BYTES = 4096               # of a long request stand before and behind its one long text
PLACEHOLDER = u'x' * 20000     # stands for that text when it is longer than any field but `data` may be
ESCAPE_CHARACTERS = 6          # of the longest in JSON
PEM_CHARACTERS = 32768         # of one field of `tls`: half of what a pipe holds
PRIVATE_KEY_CHARACTERS = 3400  # of a key: to sign with a longer one keeps the loop, for seconds with twice as many
ALPN_NAMES = 16
SECRET_BYTES = 1000            # of a password or passphrase; ssh itself takes 1,023

JSON = json.JSONDecoder(parse_int=lambda text: int(text[:JSON_DIGITS]), parse_constant=no_constant)
NOT_GIVEN = (None, u'')        # pages send their empty fields, too
SHORT_TEXT = re.compile(b'"(?:[^"\\\\]|\\\\.)*"', re.DOTALL)
ALPN_NAME = re.compile(u'[\x20-\x7e]{1,255}\\Z')
SENDB_HEAD = re.compile(u'{"command": ?"sendb", ?"data": ?"')


class Tls(collections.namedtuple('Tls', 'servername verify ca cert key alpn')):
    """How the gateway speaks TLS to a target. ``servername``: what the certificate must name, None for the host that is
    dialled. ``ca``, ``cert``, ``key``: PEM, or None; ``alpn``: a tuple of texts."""

    __slots__ = ()

    def __repr__(self):
        return 'Tls(%r, verify=%r, ...)' % (self.servername, self.verify)  # actions are printed freely


PLAIN_TLS = Tls(None, True, None, None, None, ())


class Dialect(object):
    """What every dialect answers. One object serves one session; ``request`` is the Request that began it.

    The constructor may raise HttpError: then there is no session. Whatever else a dialect raises ends its session
    alone.
    """

    __slots__ = ()

    name = 'custom'         # for the log: a word
    subprotocol = None      # the one of request.subprotocols() that the reply names
    deflates = True         # are its messages worth compressing, where configuration and client would have it?
    whole_messages = False  # True: on_binary gets whole messages, of at most `limits.messageBytes`
    # True: the dialect tells its client how much each channel may be sent, and hears by on_drained when that has gone.
    # A channel that is full does not stop the others; all of them together may hold `limits.messageBytes`.
    credits = False
    target = None           # (host, port) that on_start() opens: one that the rules forbid is refused before the 101
    token = None            # a token of raw.tokens: on_token() is told before the 101 what stands behind it
    is_behind = False       # True: on_turn() is called until it is not, and nothing more of the client before that
    backlog = 0             # bytes held in messages that wait; above `limits.bufferBytes` no more are read

    def __init__(self, request, config):
        pass

    def on_token(self, line):
        """``line``: the text behind the token, None for a token that is not known. May raise HttpError."""

    def on_stranger(self):
        """The client has not shown who it is. Will the dialect ask, by Authenticate, before anything else?"""
        return False

    def on_start(self):
        """The WebSocket is open."""
        return []

    def on_authenticated(self, is_known):
        """The answer to an Authenticate."""
        return []

    def on_text(self, text):
        """A whole text message has come."""
        return []

    def on_long_text(self, data):
        """As on_text(), for one of more than LONG_TEXT bytes; ``data`` is its UTF-8, a bytearray. Whoever understands
        it at once keeps the other clients waiting."""
        return self.on_text(utf8_text(data))

    def on_turn(self):
        """The others have had their turn: go on with what is still to do, for a millisecond or so."""
        return []

    def on_binary(self, piece, final):
        """A piece (bytes or a bytearray) of a binary message has come, the last one of it when ``final``."""
        return []

    def on_opened(self, channel):
        """The target is connected."""
        return []

    def on_secured(self, channel, version, alpn):
        """The target is connected, or a connected one secured, by this version of TLS ('TLSv1.3'); ``alpn`` is a text
        or None."""
        return self.on_opened(channel)

    def on_failed(self, channel, failure):
        """The target could not be connected; ``failure`` is a Failure."""
        return []

    def on_data(self, channel, data):
        """The target has sent ``data``; asked only where Open had no prefix."""
        return []

    def on_finished(self, channel):
        """The target has closed its half; told only where Open was half_open."""
        return []

    def on_drained(self, channel):
        """The kernel has taken all that was written to the target; told only where `credits` is true."""
        return []

    def on_closed(self, channel, failure):
        """The target has ended the connection, after its last byte. Only CLOSED says that nothing is missing."""
        return []

    def on_later(self):
        """The time of a Later is up."""
        return []

    def on_leave(self):
        """The client has left in order: Writes and Shuts of what it had sent before. Nobody is there to send to."""
        return []

    def on_mistake(self):
        """The gateway has failed and will close the WebSocket: a list of Send."""
        return []


def read_request(text):
    """The dict of one JSON request. Raises RequestError."""
    try:
        request = JSON.decode(text)
    except (ValueError, RuntimeError):  # RuntimeError: nested too deeply
        raise RequestError('the request is not JSON')
    if not isinstance(request, dict):
        raise RequestError('the request is not a JSON object')
    return request


def read_host(value, field='host'):
    """The host of a connect as plain_host() gives it, or an IPv6 address with its zone. Raises RequestError before
    anything is looked up."""
    if not isinstance(value, text_type) or not 1 <= len(value) <= HOST_CHARACTERS:
        raise RequestError('%s must be a text of 1 to %d characters' % (field, HOST_CHARACTERS))
    if u'[' in value or u']' in value:
        value = value[1:-1] if value.startswith(u'[') and value.endswith(u']') else u''
        if len(packed_address(value.partition(u'%')[0]) or b'') != 16:
            raise RequestError('only an IPv6 address stands in brackets')
    address, _, zone = value.partition(u'%')
    if len(packed_address(address) or b'') == 16 and PLAIN_NAME.match(zone):
        return value
    return plain_host(value, field)


def read_target_port(value, field='port'):
    if isinstance(value, text_type):
        value = read_port(value)
    if not isinstance(value, integer_types) or isinstance(value, bool) or not 1 <= value <= 65535:
        raise RequestError('%s must be a whole number from 1 to 65535' % field)
    return value


def read_window(value):
    is_size = isinstance(value, integer_types) and not isinstance(value, bool) and value >= WINDOW_BYTES
    if value is not None and not is_size:
        raise RequestError('window must be a whole number of at least %d' % WINDOW_BYTES)
    return value


def read_flag(request, name):
    value = request.get(name)
    if value is not None and not isinstance(value, bool):
        raise RequestError('%s must be true or false' % name)
    return bool(value)


def read_hop(request):
    """The Hop of a connect, or None when it goes to its target directly. Raises RequestError."""
    if request.get(u'ssh_host') in NOT_GIVEN:
        return None
    host = plain_host(read_host(request[u'ssh_host'], 'ssh_host'), 'ssh_host')
    port = 22 if request.get(u'ssh_port') in NOT_GIVEN else read_target_port(request[u'ssh_port'], 'ssh_port')
    user = request.get(u'ssh_username')
    if not isinstance(user, text_type) or not PLAIN_USER.match(user):
        raise RequestError('ssh_username must be a text of 1 to 128 letters, digits and . _ + - @ \\ : # =')
    password, key = read_secret(request, u'ssh_password'), read_key(request)
    passphrase = read_secret(request, u'ssh_private_key_password')
    if isinstance(key, PrivateKey):
        check_passphrase(key, passphrase)
        key = key.text
    return Hop(host, port, user, password, key, passphrase)


def read_tls(value):
    """The Tls of a connect or a starttls, None for none. What asks for TLS in a way that is not understood is refused:
    what was meant might go in the clear, or unverified. Raises RequestError."""
    if value is None or value is False:
        return None
    if value is True:
        return PLAIN_TLS
    if not isinstance(value, dict) or not set(value) <= set(Tls._fields):
        raise RequestError('tls must be true, or an object of %s' % ', '.join(Tls._fields))
    name = value.get(u'servername')
    name = name if name is None else read_host(name, 'servername')
    verify = value.get(u'verify', True)
    if not isinstance(verify, bool):
        raise RequestError('verify must be true or false')
    ca, cert, key = [read_pem(value.get(field), field) for field in (u'ca', u'cert', u'key')]
    if key and not cert:
        raise RequestError('key is of no use without cert')
    if any(len(block) > PRIVATE_KEY_CHARACTERS for block in key_blocks(key or cert or u'')):
        raise RequestError('key must not be longer than one of RSA with 4096 bits')
    return Tls(name, verify, ca, cert, key or cert, read_alpn(value.get(u'alpn')))


def read_pem(value, field):
    if value is None:
        return None
    if not isinstance(value, text_type) or len(value) > PEM_CHARACTERS or u'-----BEGIN ' not in value:
        raise RequestError('%s must be a text in PEM of at most %d characters' % (field, PEM_CHARACTERS))
    try:
        return value.encode('ascii').decode('ascii')
    except UnicodeError:
        raise RequestError('%s must be a text in PEM: there is something else than ASCII in it' % field)


def key_blocks(text):
    """What stands in PEM beside certificates."""
    blocks = [block.partition(u'-----END')[0] for block in text.split(u'-----BEGIN ')[1:]]
    return [block for block in blocks if not block.startswith(u'CERTIFICATE-----')]


def read_alpn(value):
    names = () if value is None else value
    if not isinstance(names, (list, tuple)) or len(names) > ALPN_NAMES or not all(
            isinstance(name, text_type) and ALPN_NAME.match(name) for name in names):
        raise RequestError('alpn must be a list of at most %d texts, each of 1 to 255 characters of ASCII' % ALPN_NAMES)
    return tuple(str(name) for name in names)


def read_secret(request, name):
    """The bytes of a password, or None. ssh takes one line."""
    if request.get(name) in NOT_GIVEN:
        return None
    secret = read_text(request[name], name)
    if len(secret) > SECRET_BYTES or re.search(b'[\x00-\x1f\x7f]', secret):
        raise RequestError('%s must be one line of at most %d bytes' % (name, SECRET_BYTES))
    return secret


def read_key(request):
    """A PrivateKey, or a path, or None."""
    if request.get(u'ssh_private_key') in NOT_GIVEN:
        return None
    text = request[u'ssh_private_key']
    if not isinstance(text, text_type) or len(text) > KEY_CHARACTERS:
        raise RequestError('ssh_private_key must be a text of at most %d characters' % KEY_CHARACTERS)
    if KEY_PATH.match(text.strip()):
        return text.strip()
    key = read_private_key(text)
    if not key.is_cheap:
        raise RequestError('ssh_private_key takes too long to decrypt: its passphrase is hashed too many times')
    return key


def read_base64(value, is_end=True):
    """The bytes of standard base64, which is padded where it ends. Raises RequestError; Python's own decoder skips what
    it does not know."""
    if not isinstance(value, text_type):
        raise RequestError('data must be a text')
    try:
        data = binascii.a2b_base64(value)
        # With strays or a cut end the length does not fit what was decoded.
        if len(value) % 4 or len(data) != len(value) // 4 * 3 - (value[-2:].count(u'=') if is_end else 0):
            raise ValueError('strays in base64')
    except (ValueError, binascii.Error):  # not ASCII; no base64
        raise RequestError('data is not base64')
    return data


def sendb_data(text):
    """The bytes of a `sendb` in the usual spelling, found without making objects of the request; else None. What stands
    between the quotes is base64 and nothing else, or its length would not fit."""
    head = SENDB_HEAD.match(text)
    if head is None or not text.endswith(u'"}', head.end()):
        return None
    try:
        return read_base64(text[head.end():-2])
    except RequestError:
        return None


def read_text(value, field='data'):
    if not isinstance(value, text_type):
        raise RequestError('%s must be a text' % field)
    try:
        return utf8_bytes(value)
    except UnicodeError:
        raise RequestError('%s holds half a surrogate pair' % field)


DONE = {command: Send(TEXT, b'{"success": true, "code": 0, "message": "' + command + b' done"}')
        for command in (b'connect', b'starttls', b'send', b'sendb', b'finish', b'close', b'ping')}
FINISHED = Failure(5, 'finished', 'the target has closed its half of the connection')


def failed(failure):
    return Send(TEXT, ('{"success": false, "code": %d, "message": %s, "reason": "%s"}' % (
        failure.code, json.dumps(failure.message), failure.reason)).encode('ascii'))


def done_with_tls(command, version, alpn):
    return Send(TEXT, ('{"success": true, "code": 0, "message": "%s done", "tls": %s}' % (command, json.dumps(
        collections.OrderedDict([('version', version), ('alpn', alpn)])))).encode('ascii'))


class DataParts(list):
    """The bytes of a long `data`, in pieces."""


class LongRequest(object):
    """A request of more than LONG_TEXT bytes: one long text, and little before and behind it. It is understood part by
    part, so that nobody waits long. Raises RequestError.

    ``data``: its UTF-8. ``held``: bytes that are held here. ``request``: the dict in the end, its `data` as DataParts.
    """

    __slots__ = ('held', 'request', '_data', '_start', '_at', '_parts', '_coded', '_rest')

    def __init__(self, data):
        self._data, self.held, self.request = data, 2 * len(data), None
        self._start = self._at = None  # where the long text begins, and how far it has been read
        self._parts = DataParts()
        self._coded, self._rest = collections.deque(), b''  # what of the parts is still to be decoded from base64

    def go_on(self):
        """Understand one more part; true when that was the last one."""
        if self.request is not None:
            self._decode()
        elif self._at is not None:
            self._read()
        else:
            self._trim()
        return self.request is not None and not self._coded

    def _trim(self):
        """Spaces may stand behind a request, and be many."""
        end = self._data[-16 * PART_BYTES:]
        kept = len(end.rstrip(b' \t\r\n'))
        del self._data[len(self._data) - len(end) + kept:]
        if len(self._data) <= LONG_TEXT:
            self.request = read_request(utf8_text(self._data))
        elif kept:
            self._start = self._at = long_text_start(self._data)

    def _read(self):
        stop = min(self._at + PART_BYTES, len(self._data))
        while stop < len(self._data) and self._data[stop] & 0xc0 == 0x80:  # not between the bytes of a character
            stop -= 1
        text = utf8_text(self._data[self._at:stop])
        content, count, is_end = read_part(text)
        self._at += len(utf8_bytes(text[:count]))
        if content:
            self._parts.append(read_text(content))
        if is_end:
            self._finish()
        elif stop == len(self._data):
            raise RequestError('the request is not JSON')

    def _finish(self):
        """The long text is read: the rest is short."""
        if len(self._data) - self._at > END_BYTES:
            raise RequestError(TOO_MUCH)
        before, behind = utf8_text(self._data[:self._start]), utf8_text(self._data[self._at:])
        request = read_request(before + PLACEHOLDER + behind)
        self._data = None
        for name in [name for name in request if request[name] == PLACEHOLDER]:
            if name == u'data':
                request[name] = self._parts
            elif sum(map(len, self._parts)) < len(PLACEHOLDER):
                request[name] = utf8_text(b''.join(self._parts))
        if request.get(u'data') is self._parts and request.get(u'command') == u'sendb':
            self._coded.extend(self._parts)
            del self._parts[:]
        self.request = request

    def _decode(self):
        coded = self._rest + self._coded.popleft()
        count = len(coded) // 4 * 4 if self._coded else len(coded)
        self._parts.append(read_base64(coded[:count].decode('latin-1'), is_end=not self._coded))
        self._rest = coded[count:]


TOO_MUCH = 'a request as long as this is one long text, and little before and behind it'


def long_text_start(data):
    """Where in a long request its first text begins that does not soon end. Raises RequestError."""
    head, start = bytes(data[:END_BYTES]), 0
    while True:
        start = head.find(b'"', start)
        if start < 0:
            raise RequestError(TOO_MUCH)
        text = SHORT_TEXT.match(head, start)
        if text is None:
            return start + 1
        start = text.end()


def read_part(text):
    """What a part of a text in JSON stands for, how many characters that were, and whether the text ends there: an
    escape that is cut off is left. Raises RequestError."""
    for left in range(ESCAPE_CHARACTERS):
        part = text[:len(text) - left]
        try:
            content, end = JSON.raw_decode(u'"%s"' % part)
        except ValueError:  # an escape is cut off, or wrong
            continue
        if end < len(part) + 2:
            return content, end - 2, True
        if u'\ud800' <= content[-1:] <= u'\udbff':  # the first half of a pair: the other half follows
            return content[:-1], len(part) - ESCAPE_CHARACTERS, False
        return content, len(part), False
    raise RequestError('the request is not JSON')


UNCONNECTED, CONNECTING, CONNECTED = 'unconnected', 'connecting', 'connected'

# From connected to connecting: for TLS.
CHANNEL_MOVES = {UNCONNECTED: (CONNECTING,), CONNECTING: (CONNECTED, UNCONNECTED),
                 CONNECTED: (CONNECTING, UNCONNECTED)}


# What a request asks for is a deed: the name of a method of JsonDialect, and its arguments. To understand a request and
# to carry out its deed are two steps: between them the deed may wait for a connect.


def read_deed(text):
    data = sendb_data(text)
    if data:
        return '_write', (data,), DONE[b'sendb']
    try:
        return deed_of(read_request(text))
    except RequestError as error:
        return '_say', failed(error.failure)


def deed_of(request):
    """Raises RequestError."""
    command = request.get(u'command')
    if not isinstance(command, text_type) or command not in COMMANDS:
        raise RequestError('unknown command')
    return COMMANDS[command](request)


def read_connect(request):
    try:
        host, port = read_host(request.get(u'host')), read_target_port(request.get(u'port'))
        binary, window = read_flag(request, u'binary'), read_window(request.get(u'window'))
        tls, half_open = read_tls(request.get(u'tls')), read_flag(request, u'half_open')
        hop = read_hop(request)
        host = plain_host(host) if hop else host
    except RequestError as error:
        return '_connect', None, failed(error.failure)
    return '_connect', (host, port, hop, b'' if binary else None, window, False, tls, half_open), None


def read_starttls(request):
    try:
        return '_secure', read_tls({name: request[name] for name in request if name != u'command'}), None
    except RequestError as error:
        return '_secure', None, failed(error.failure)


def read_write(read, done, request):
    value = request.get(u'data')
    try:
        return '_write', value if isinstance(value, DataParts) else (read(value),), done
    except RequestError as error:
        return '_write', (), failed(error.failure)


def read_ack(request):
    """Gives room back; the only request without a reply, whatever is wrong with it (protocol, 1)."""
    count = request.get(u'bytes')
    is_count = isinstance(count, integer_types) and not isinstance(count, bool) and count > 0
    return '_ack', count if is_count else 0


COMMANDS = {
    u'connect': read_connect, u'ack': read_ack, u'starttls': read_starttls,
    u'finish': lambda request: ('_finish',),
    u'send': lambda request: read_write(read_text, DONE[b'send'], request),
    u'sendb': lambda request: read_write(read_base64, DONE[b'sendb'], request),
    u'close': lambda request: ('_disconnect',),
    u'ping': lambda request: ('_say', DONE[b'ping'])}


class Requests(Dialect):
    """The requests of the ws2s protocol, each of which becomes a deed. They are carried out strictly in order: while
    ``waits`` is true, by what a subclass does next."""

    __slots__ = ('backlog', 'is_behind', 'waits', '_waiting', '_long')

    def __init__(self, request, config):
        self._waiting, self.backlog = None, 0  # pairs of a deed and its size, which came while connecting
        self._long, self.is_behind, self.waits = None, False, False

    def on_text(self, text):
        return self._take(read_deed(text), 4 * len(text))  # as many bytes as UTF-8 may take

    def on_binary(self, piece, final):
        return self._take(('_pass_on', piece, final), len(piece))

    def on_long_text(self, data):
        if len(data) <= PART_BYTES and sum(map(data.count, JSON_MARKS)) <= MEMBERS:
            return self.on_text(utf8_text(data))
        self._long = LongRequest(data)
        self.backlog += self._long.held
        self.is_behind = True
        return []

    def on_turn(self):
        return self._read_on() if self._long else self.carry(self.go_on())

    def _read_on(self):
        """One more part of a long request."""
        long, deed = self._long, None
        try:
            if long.go_on():
                deed = deed_of(long.request)
            size = long.held
        except RequestError as error:
            deed, size = ('_say', failed(error.failure)), 0
        if deed is None:
            return []
        self._long = None
        self.backlog -= long.held
        actions = self._take(deed, size)
        self._look()
        return actions

    def _take(self, deed, size):
        """Carry out the deed, or have it wait behind those that do."""
        if not self.waits and not self._waiting:
            return getattr(self, deed[0])(*deed[1:])
        if self._waiting is None:
            self._waiting = collections.deque()
        self._waiting.append((deed, size + WAITING_BYTES))
        self.backlog += size + WAITING_BYTES
        return []

    def go_on(self, most=REQUESTS):
        """Carry out what has waited, up to the next one for which the others must wait."""
        actions = []
        while self._waiting and not self.waits and most:
            deed, size = self._waiting.popleft()
            self.backlog -= size
            actions += getattr(self, deed[0])(*deed[1:])
            most -= 1
        if not self._waiting:
            self._waiting = None
        self._look()
        return actions

    def _look(self):
        """Is there something to do that waits for no target?"""
        self.is_behind = bool(self._long or self._waiting and not self.waits)

    def carry(self, actions):
        """The actions of what has waited, and with them what is due when nothing waits any more."""
        return actions

    def _say(self, reply):
        return [reply]


class JsonDialect(Requests):
    """The ws2s protocol: JSON requests and replies, one TCP connection at a time (protocol, 1 and 2)."""

    __slots__ = ('_state', '_channel', '_may_trust', '_begun', '_is_secure', '_is_finished')

    name = 'json'

    def __init__(self, request, config):
        Requests.__init__(self, request, config)
        self._state, self._channel = UNCONNECTED, 0
        self._may_trust = config['tls.allowUnverified']
        self._begun = None  # the command for which the others wait
        self._is_secure = self._is_finished = False  # of the connection: with TLS, and after `finish`

    def _move(self, state):
        assert state in CHANNEL_MOVES[self._state], (self._state, state)
        self._state, self.waits = state, state == CONNECTING

    def carry(self, actions):
        """When nothing waits any more binary pieces need not come by here."""
        is_free = self._state == CONNECTED and not self._waiting and not self._is_finished
        return actions + [Carry(self._channel)] if is_free else actions

    # -- deeds ---------------------------------------------------------------------------------------------------------

    def _connect(self, target, refusal):
        # The old connection goes even when the request is refused: what follows was not meant for it.
        actions = self._shut()
        refusal = refusal or target[6] and self._distrust(target[6])
        if refusal:
            return actions + [refusal]
        self._move(CONNECTING)
        self._channel += 1
        self._begun, self._is_secure, self._is_finished = 'connect', False, False
        return actions + [Open(self._channel, *target)]

    def _distrust(self, tls):
        """The refusal of a Tls that verifies less than the operator wants."""
        if tls.verify or self._may_trust:
            return None
        return failed(Failure(1, 'bad-request', 'this gateway verifies certificates (tls.allowUnverified)'))

    def _secure(self, tls, refusal):
        if self._state != CONNECTED:
            return [failed(NOT_CONNECTED)]
        if not refusal and (self._is_secure or self._is_finished):
            refusal = failed(Failure(1, 'bad-request', 'starttls comes once, and before finish'))
        refusal = refusal or self._distrust(tls)
        if refusal:
            return [refusal]
        self._move(CONNECTING)
        self._begun = 'starttls'
        return [Carry(None), Secure(self._channel, tls)]

    def _finish(self):
        if self._state != CONNECTED:
            return [failed(NOT_CONNECTED)]
        self._is_finished = True
        return [Carry(None), Finish(self._channel), DONE[b'finish']]

    def _disconnect(self):
        return self._shut() + [DONE[b'close']]

    def _shut(self):
        if self._state != CONNECTED:
            return []
        self._move(UNCONNECTED)
        return [Shut(self._channel)]

    def _refusal(self):
        """Why nothing can be sent to the target."""
        if self._state != CONNECTED:
            return failed(NOT_CONNECTED)
        return failed(Failure(1, 'bad-request', 'nothing is sent after finish')) if self._is_finished else None

    def _write(self, parts, reply):
        refusal = self._refusal()
        return [refusal] if refusal else [Write(self._channel, part) for part in parts if part] + [reply]

    def _pass_on(self, piece, final):
        refusal = self._refusal()
        if refusal is None:
            return [Write(self._channel, piece)] if piece else []
        return [refusal] if final else []

    def _ack(self, count):
        return [Grant(self._channel, count)] if count and self._state == CONNECTED else []

    # -- the target ----------------------------------------------------------------------------------------------------

    def on_opened(self, channel):
        self._move(CONNECTED)
        return self.carry([DONE[b'connect']] + self.go_on())

    def on_secured(self, channel, version, alpn):
        self._move(CONNECTED)
        self._is_secure = True
        return self.carry([done_with_tls(self._begun, version, alpn)] + self.go_on())

    def on_failed(self, channel, failure):
        self._move(UNCONNECTED)
        return [failed(failure)] + self.go_on()

    def on_leave(self):
        """What waits for the target that is being dialled was sent in time: the upstream keeps it."""
        if self._state != CONNECTING:
            return []
        self._move(CONNECTED)
        return self.go_on(most=-1)

    def on_data(self, channel, data):
        # Put together by hand: json.dumps would look at every character of the base64 (protocol, 2).
        return [Send(TEXT, b''.join((b'{"success": true, "code": -1, "message": "recv data", "data": "',
                                     base64_bytes(data), b'"}')))]

    def on_finished(self, channel):
        return [failed(FINISHED)]

    def on_closed(self, channel, failure):
        self._move(UNCONNECTED)
        return [failed(failure)]

    def on_mistake(self):
        return [failed(BROKEN)]


RawForm = collections.namedtuple('RawForm', 'kind text')  # how a request names its target, and as what
TOKEN_FORM, ADDRESS_FORM, HOST_FORM, PAIR_FORM = 'token', 'address', 'host', 'pair'
PATH_FORM, ONLY_FORM = 'path', 'only'

RAW_QUERY = re.compile(r'(?:\A|&)(?:token|address|host)=')  # else the query is none of ours, however it looks
# Whoever writes `tls` means it, however it is spelt, but for a 0 behind the sign.
TLS_QUERY = re.compile(r'[?&]tls(?!=0(?:&|\Z))(?:[=&]|\Z)', re.IGNORECASE)
UDP_QUERY = re.compile(r'[?&]udp(?:[=&]|\Z)')
LAST_SEGMENT = re.compile(r'.+:[0-9]{1,5}\Z', re.DOTALL)
NEON_PATHS = '/v1', '/v2'
RAW_CHANNEL = 0                # there is one
SOCKET_PORT = re.compile(b'\xff\xff\xff\xffport..\\Z', re.DOTALL)  # emscripten's sockets begin with their own port
PLAYGROUND_FAILED = 3000       # the close code of Playground's own proxy
PLAYGROUND_DATA = 1            # the first byte of a message; the other one sets options of the socket, as we do anyway


def raw_form(request, config):
    """The RawForm in which a request names a target for raw bytes, or None (protocol, 9). Raises HttpError."""
    is_query = RAW_QUERY.search(request.target.partition('?')[2])
    token = request.parameter('token') if is_query and config['raw.tokens'] else None
    if token is not None or config['raw.tokens'] and config['raw.hostToken']:
        return RawForm(TOKEN_FORM, own_name(request) if token is None else token)
    named = config['raw.enabled'] and not config['raw.only'] and named_in_url(request, is_query)
    if not named and config['raw.hostTargets'] and request.path in NEON_PATHS:
        targets = dict(config['raw.hostTargets'])
        named = RawForm(HOST_FORM, targets.get(own_name(request), targets.get('*')))
    if not named and config['raw.target']:
        named = RawForm(ONLY_FORM, config['raw.target'])
    return named or None


def own_name(request):
    """The name under which the client knows us, without its port."""
    return (read_origin('http://%s' % request.one('host')) or Origin('', '', None)).host.rstrip('.')


def named_in_url(request, is_query):
    if is_query:
        if request.parameter('address') is not None:
            return RawForm(ADDRESS_FORM, request.parameter('address'))
        if request.parameter('host') is not None and request.parameter('port') is not None:
            return RawForm(PAIR_FORM, (request.parameter('host'), request.parameter('port')))
    if ':' in request.target or '%' in request.target:
        try:
            last = percent_decoded(request.path.rpartition('/')[2])
        except ValueError:
            return None
        if LAST_SEGMENT.match(last):
            return RawForm(PATH_FORM, last)
    return None


def read_raw_target(text):
    """The Target of HOST:PORT, or of a pair, as a client has written it. Raises HttpError 400."""
    if isinstance(text, Target):
        return text
    host, port = text if isinstance(text, tuple) else text.rpartition(u':')[::2]
    try:
        return Target(read_host(host), read_target_port(port))
    except RequestError as error:
        raise HttpError(400, 'The target must be HOST:PORT: %s.' % error.failure.message)


def pick_subprotocol(request, config):
    """The one of those offered that raw bytes are called by, or None (protocol, 9). Raises HttpError 400."""
    offered = request.subprotocols()
    known = [name for name in ('binary',) + config['raw.subprotocols'] if name in offered]
    if not known and 'base64' in offered:
        raise HttpError(400, 'The subprotocol base64 is not spoken here; offer binary.')
    return known[0] if known else None


def parse_tokens(text):
    """A dict of the lines ``TOKEN: HOST:PORT`` of a file of tokens; a # at the beginning makes a comment."""
    lines = [re.split(r':[ \t]+', line.strip(), maxsplit=1) for line in text.splitlines() if not line.startswith('#')]
    return dict(line for line in reversed(lines) if len(line) == 2)


class RawDialect(Dialect):
    """Bytes to one target and back; both ends go together (protocol, 9). With UDP each message is a datagram."""

    __slots__ = ('subprotocol', 'target', 'token', 'whole_messages', '_kind', '_tls', '_is_first', '_offers_udp')

    name = 'raw'
    deflates = False

    def __init__(self, request, config):
        self._kind, text = raw_form(request, config)
        self.whole_messages, self._is_first, self._offers_udp = False, True, config['raw.udp']
        self._tls = None
        if TLS_QUERY.search(request.target):
            self._choose('tls')
        if UDP_QUERY.search(request.target) and set(request.parameters('udp')) - {'0'}:
            self._choose('udp')
        self.subprotocol, self.target, self.token = pick_subprotocol(request, config), None, None
        if self._kind == TOKEN_FORM:
            self.token = text
        elif text is None:
            raise HttpError(403, 'There is no target for this name of the gateway in raw.hostTargets.')
        else:
            self.target = read_raw_target(text)

    def on_token(self, line):
        if line is None:
            raise HttpError(403, 'This token is not known.')
        words = line.split()
        if words[1:] in (['udp'], ['tls']):
            self._choose(words.pop())
        if len(words) != 1 or line.startswith('unix_socket:'):
            raise HttpError(500, 'The line of this token is not TOKEN: HOST:PORT.')
        self.target = read_raw_target(words[0])

    def _choose(self, word):
        """What the URL or the token's line says of the way to the target: tls or udp. Raises HttpError."""
        if word == 'tls':
            self._tls = PLAIN_TLS
        elif self._offers_udp:
            self.whole_messages = True
        else:
            raise HttpError(403, 'This gateway does not offer UDP (raw.udp).')
        if self._tls and self.whole_messages:  # to ignore one of them would send secrets in the clear
            raise HttpError(400, 'There is no TLS over UDP.')

    def on_start(self):
        is_udp = self.whole_messages
        opening = Open(RAW_CHANNEL, self.target.host, self.target.port, prefix=b'', udp=is_udp, tls=self._tls)
        return [opening] if is_udp else [opening, Carry(RAW_CHANNEL)]

    def on_binary(self, piece, final):
        is_first, self._is_first = self._is_first, False
        return [] if is_first and self.whole_messages and SOCKET_PORT.match(piece) else [Write(RAW_CHANNEL, piece)]

    def on_text(self, text):
        return self.on_long_text(utf8_bytes(text))

    def on_long_text(self, data):
        # websockify takes none; Neon's and wsproxy's programs take one for data.
        if self._kind in (TOKEN_FORM, ONLY_FORM):
            return [Hangup(UNSUPPORTED, 'text messages are not served here')]
        return [Write(RAW_CHANNEL, data)]

    def on_failed(self, channel, failure):
        return [Hangup(TRY_LATER if failure.reason == 'limit' else INTERNAL, failure.reason)]

    def on_closed(self, channel, failure):
        return [Hangup(NORMAL if failure is CLOSED else INTERNAL, failure.reason)]


class PlaygroundDialect(RawDialect):
    """As WordPress Playground's own proxy has it: one byte before each message of the client says what the message
    is."""

    __slots__ = ('_is_data',)

    name = 'playground'

    def __init__(self, request, config):
        RawDialect.__init__(self, request, config)
        self._is_data = None  # is the message under way data? None between messages

    def on_start(self):
        return RawDialect.on_start(self)[:1]

    def on_binary(self, piece, final):
        data = piece
        if self._is_data is None and piece:
            self._is_data = bytearray(piece[:1])[0] == PLAYGROUND_DATA
            data = piece[1:]
        actions = [Write(RAW_CHANNEL, data)] if self._is_data and data else []
        if final:
            self._is_data = None
        return actions

    def on_long_text(self, data):
        return [Hangup(UNSUPPORTED, 'text messages are not served here')]

    def on_failed(self, channel, failure):
        said = [Send(BINARY, b'')] if failure is UNKNOWN_NAME else []
        return said + [Hangup(PLAYGROUND_FAILED, failure.reason)]


def is_playground(request, config):
    form = config['raw.playground'] and raw_form(request, config)
    return bool(form) and form.kind == PAIR_FORM


WISP_HEAD = struct.Struct('<BI')                           # type and stream
WISP_CONNECT, WISP_DATA, WISP_CONTINUE, WISP_CLOSE, WISP_INFO = 1, 2, 3, 4, 5
WISP_TCP, WISP_UDP = 1, 2
WISP_DATAGRAMS, WISP_PASSWORD, WISP_MOTD, WISP_CONFIRMATION = 1, 2, 4, 5  # extensions of version 2
WISP_VERSIONS = 'wisp-v2', 'wisp-v1'                       # as subprotocols, the better one first
WISP_CREDIT, WISP_MOST_CREDIT = 16, 128                    # packets that a new stream may send; and any
WISP_SECONDS, WISP_INFO_BYTES = 10, 4096                   # for the client's INFO, and of it
WISP_BYTES = 65536                                         # of what is taken whole: the longest datagram, and a head
WISP_INVALID, WISP_ENDED, WISP_THROTTLED, WISP_BLOCKED = 0x41, 0x02, 0x49, 0x48
WISP_BAD_PASSWORD, WISP_PASSWORD_WANTED, WISP_INCOMPATIBLE = 0xc0, 0xc2, 0x04
WISP_REASONS = {'refused': 0x44, 'dns': 0x42, 'unreachable': 0x42, 'timeout': 0x43, 'forbidden': WISP_BLOCKED,
                'limit': WISP_THROTTLED, 'bad-request': WISP_INVALID, 'closed': WISP_ENDED, 'reset': 0x03, 'idle': 0x47}


def wisp_packet(kind, stream, payload=b''):
    return Send(BINARY, WISP_HEAD.pack(kind, stream) + payload)


def wisp_continue(stream, packets):
    return wisp_packet(WISP_CONTINUE, stream, struct.pack('<I', packets))


def wisp_close(stream, reason):
    return wisp_packet(WISP_CLOSE, stream, struct.pack('!B', reason))


def wisp_extension(number, payload=b''):
    return struct.pack('<BI', number, len(payload)) + payload


def read_wisp_extensions(data):
    """A dict of the extensions by number. Raises RequestError for lengths that do not fit."""
    found, start = {}, 0
    while start < len(data):
        if len(data) - start < WISP_HEAD.size:
            raise RequestError('an extension is cut off')
        number, length = WISP_HEAD.unpack(data[start:start + WISP_HEAD.size])
        start += WISP_HEAD.size
        if length > len(data) - start:
            raise RequestError('an extension is cut off')
        found.setdefault(number, data[start:start + length])
        start += length
    return found


def wisp_logins(data):
    """The pairs (user, password), as bytes, that the client's extension may mean. Two encodings are in use: in the
    older one the length of the password stands there, too."""
    if not data:
        return []
    size = bytearray(data)[0]
    logins = [(data[1:1 + size], data[1 + size:])]
    if len(data) >= 3 + size and struct.unpack('<H', data[1:3])[0] == len(data) - 3 - size:
        logins = [(data[3:3 + size], data[3 + size:])] + logins
    return logins


def is_wisp_user(users, logins):
    """Is one of the ``logins`` right? Each is compared with all, so that the time tells nothing."""
    return any([secret.is_equal(password) & (utf8_bytes(user) == name)
                for name, password in logins for user, secret in users.items()])


class WispCredit(object):
    """Packets of one stream that may still come. A new credit says how many the client may send from then on; what is
    under way comes on top, so that much less is given (protocol, 9)."""

    __slots__ = ('_bytes', '_largest', '_most', '_coming', '_floor')

    def __init__(self, most_bytes):
        self._bytes, self._largest = most_bytes, None  # the latter: bytes of the largest packet so far
        self._most = self._coming = WISP_CREDIT
        self._floor = 0  # may have been under way when credit was last given: then at the latest the client has none

    def begin(self):
        """The credit of a stream of which nothing has come yet."""
        self._most = self._coming = min(WISP_CREDIT, self._fitting())
        return self._most

    def _fitting(self):
        """Packets of the largest size seen that fit into the bytes there are for them."""
        return max(2, min(WISP_MOST_CREDIT, self._bytes // (self._largest or 16384)))

    def on_packet(self, size):
        self._coming -= 1
        self._largest = max(size, self._largest or 1)

    def is_due(self):
        return self._coming <= max(min(self._most, self._fitting()) // 2, self._floor)

    def renew(self):
        most = self._fitting()
        self._floor = min(max(0, self._coming), most // 2)
        self._most = self._coming = most
        return most - self._floor


class WispDialect(Dialect):
    """Wisp 1.2 and 2.0: many streams over one WebSocket, each with a credit of packets (protocol, 9)."""

    __slots__ = ('subprotocol', 'backlog', '_config', '_is_old', '_streams', '_confirms', '_is_open', '_begun',
                 '_flowing', '_size', '_is_stranger', '_is_asking')

    name = 'wisp'
    deflates = False
    credits = True

    def __init__(self, request, config):
        offered = request.subprotocols()
        # Any name means version 2; that of epoxy is made up by chance for each WebSocket.
        self.subprotocol = next((name for name in WISP_VERSIONS + tuple(offered) if name and name in offered), None)
        self._is_old = self.subprotocol in (None, WISP_VERSIONS[1])
        self._config, self._confirms, self._is_open = config, False, self._is_old
        self._is_stranger = self._is_asking = False
        self._streams = {}  # by number: a WispCredit, or None for datagrams, which need no credit
        self._begun, self.backlog = b'', 0     # of a packet that is taken whole, what has come
        self._flowing, self._size = None, 0    # the stream to which the packet under way flows, and its bytes so far
        if self._is_old and config['wisp.users']:
            raise HttpError(403, 'This gateway wants a password, which only version 2 of Wisp can give.')

    def on_stranger(self):
        self._is_stranger = not self._is_old and bool(self._config['auth.users'])
        return self._is_stranger

    def on_start(self):
        if self._is_old:
            return [wisp_continue(0, WISP_CREDIT)]
        extensions = wisp_extension(WISP_CONFIRMATION)
        if self._config['wisp.udp']:
            extensions += wisp_extension(WISP_DATAGRAMS)
        if self._config['wisp.users'] or self._is_stranger:
            extensions += wisp_extension(WISP_PASSWORD, b'\1')
        if self._config['wisp.motd']:
            extensions += wisp_extension(WISP_MOTD, utf8_bytes(self._config['wisp.motd']))
        return [wisp_packet(WISP_INFO, 0, b'\2\0' + extensions), Later(WISP_SECONDS)]

    def on_later(self):
        return [] if self._is_open else self._reject(WISP_INCOMPATIBLE)

    def _reject(self, reason):
        return [wisp_close(0, reason), Hangup(POLICY, 'no agreement on Wisp')]

    def on_binary(self, piece, final):
        """Data for TCP goes on as it comes. All else is taken whole; what is too long for that makes no sense."""
        if self._flowing is not None:
            return self._pass_on(piece, final)
        piece = self._begun + piece if self._begun else piece
        self._begun, self.backlog = b'', 0
        kind, stream = WISP_HEAD.unpack(bytes(piece[:WISP_HEAD.size])) if len(piece) >= WISP_HEAD.size else (0, 0)
        if kind == WISP_DATA and self._streams.get(stream):
            self._flowing, self._size = stream, 0
            return self._pass_on(piece[WISP_HEAD.size:], final)
        if final:
            return self._on_packet(kind, stream, piece)
        if len(piece) < min(WISP_BYTES, self._config['limits.bufferBytes']):
            self._begun, self.backlog = bytes(piece), len(piece)
            return []
        self._flowing = 0  # to no stream
        if not self._is_open:
            return self._reject(WISP_INCOMPATIBLE)
        return self._on_connect(stream, b'') if kind == WISP_CONNECT and stream else []

    def _on_packet(self, kind, stream, packet):
        if len(packet) < WISP_HEAD.size:
            return []
        if not self._is_open and len(packet) > WISP_INFO_BYTES:
            return self._reject(WISP_INCOMPATIBLE)
        payload = bytes(packet[WISP_HEAD.size:])
        if not self._is_open:
            is_due = kind == WISP_INFO and not self._is_asking
            return self._on_info(payload) if is_due else self._reject(WISP_INCOMPATIBLE)
        if kind == WISP_DATA and stream in self._streams:
            return [Write(stream, payload)]
        if kind == WISP_CONNECT and stream:  # 0 stands for the connection
            return self._on_connect(stream, payload)
        if kind == WISP_CLOSE and stream in self._streams:
            del self._streams[stream]
            return [Shut(stream)]
        return []  # what is said of a stream that has just ended, or makes no sense

    def _on_info(self, payload):
        try:
            extensions = read_wisp_extensions(payload[2:])
        except RequestError:
            return self._reject(WISP_INCOMPATIBLE)
        users, logins = dict(self._config['wisp.users']), wisp_logins(extensions.get(WISP_PASSWORD))
        self._confirms = WISP_CONFIRMATION in extensions
        if (users or self._is_stranger) and WISP_PASSWORD not in extensions:
            return self._reject(WISP_PASSWORD_WANTED)
        if self._is_stranger and logins:
            self._is_asking = True
            return [Authenticate(logins)]
        return self.on_authenticated(not users and not self._is_stranger or is_wisp_user(users, logins))

    def on_authenticated(self, is_known):
        self._is_open = is_known
        return [wisp_continue(0, WISP_CREDIT)] if is_known else self._reject(WISP_BAD_PASSWORD)

    def _on_connect(self, stream, payload):
        if stream in self._streams:
            del self._streams[stream]
            return [Shut(stream), wisp_close(stream, WISP_INVALID)]
        try:
            kind, host, port = self._read_connect(payload)
        except RequestError as error:
            return [wisp_close(stream, WISP_REASONS.get(error.failure.reason, WISP_INVALID))]
        if len(self._streams) >= self._config['wisp.streams']:
            return [wisp_close(stream, WISP_THROTTLED)]
        self._streams[stream] = None if kind == WISP_UDP else WispCredit(self._config['limits.bufferBytes'])
        return [Open(stream, host, port, prefix=WISP_HEAD.pack(WISP_DATA, stream), udp=kind == WISP_UDP)]

    def _read_connect(self, payload):
        """(kind, host, port) of a CONNECT. Raises RequestError."""
        if len(payload) < 4:
            raise RequestError('the packet is cut off')
        kind, port = struct.unpack('<BH', payload[:3])
        if kind == WISP_UDP and not self._config['wisp.udp']:
            raise RequestError('this gateway does not offer UDP', 'forbidden')
        try:
            host = utf8_text(payload[3:]).strip()
        except UnicodeError:
            raise RequestError('the host is not UTF-8')
        if kind not in (WISP_TCP, WISP_UDP):
            raise RequestError('unknown kind of stream')
        return kind, read_host(host), read_target_port(port)

    def _pass_on(self, data, final):
        """What has come of the packet under way: a piece of its data."""
        stream = self._flowing
        self._size += len(data)
        if final:
            self._flowing = None
        if stream not in self._streams:
            return []  # the target has ended meanwhile
        if final:
            self._streams[stream].on_packet(self._size)
        if data:
            return [Write(stream, data)]
        return self.on_drained(stream) if final and not self._size else []  # of nothing nobody tells that it has gone

    def on_drained(self, stream):
        credit = self._streams.get(stream)
        return [wisp_continue(stream, credit.renew())] if credit and credit.is_due() else []

    def on_opened(self, stream):
        if not self._confirms:
            return []
        credit = self._streams[stream]
        return [wisp_continue(stream, credit.begin() if credit else WISP_CREDIT)]

    def on_failed(self, stream, failure):
        del self._streams[stream]
        return [wisp_close(stream, WISP_REASONS.get(failure.reason, 0x01))]

    on_closed = on_failed


def is_wisp(request, config):
    path, offered = config['wisp.path'], request.all('sec-websocket-protocol')
    return path is not None and not config['raw.only'] and (
        request.path == path or bool(offered) and any(name in WISP_VERSIONS for name in request.subprotocols()))


def is_json(request, config):
    if config['raw.only']:
        raise HttpError(403, 'This gateway serves its own targets only (raw.only).')
    return True


# Who serves a request: the first row whose test passes. The JSON dialect takes every path (protocol, 4).
DIALECTS = (
    (is_wisp, WispDialect),
    (is_playground, PlaygroundDialect),
    (raw_form, RawDialect),
    (is_json, JsonDialect))


# ======================================================================================================================
# 9. Event loop
# ======================================================================================================================
# From here on the world: sockets, clocks, threads, files, logs. One thread runs the loop; nothing in it may block.
#
# A turn: poll; dispatch what is ready; what other threads posted and what was put off; timers that are due; settle what
# was touched; then the row. To settle a stream is to send what was written and to tell the poller what the stream wants
# now: interest is derived from state each time, never toggled by hand.
#
# In the row stands whoever needs much: who has sent more than was taken at once, who brings bulk, has just come, or
# wants to dial; and whoever is still to be dispatched when the turn has lasted some time. The row has some milliseconds
# of a turn; in it goes first the address group that has used least of late. So those who need little do not wait for
# those who need much, and nobody waits long for another address.
#
# What is turned over are Handlers, whose verbs are below.

LOG = logging.getLogger('ws2s')
LOG.addHandler(logging.NullHandler())

BULK_BYTES = 1048576     # one read of a target into a pipe
FAIR_BYTES = 32768       # one read in a turn in which many sockets are ready
RECEIVE_BYTES = 131072   # one read
KEPT_BYTES = 1048576     # freed memory that is kept, in blocks of at most so many
SEND_BATCH = 32          # streams that have something to send before it is sent
TURN_SECONDS = 0.002     # of a turn for what is ready; as much for the row, for what was posted, and for timers
CROWD = 64               # handlers in the row; with more of them the poller is not asked about each
LATELY_SECONDS = 0.1     # how long turns in the row are remembered
ROW_TURNS = 500          # in one turn of the loop at most, should somebody set the clock
PIPES = 32               # of one service that may stand full at one time; each takes two descriptors and BULK_BYTES
GUARD_SECONDS = 0.25     # of CPU that one call of OpenSSL may take
PIPE_PAUSE = 1           # seconds after which a pipe is tried again that the system did not give
USER_PIPE_PAGES = '/proc/sys/fs/pipe-user-pages-soft'  # pipe(7)


def log_mistake():
    """Log where our code failed. The text of the exception stays out: it may quote a client's data."""
    kind, _, trace = sys.exc_info()
    LOG.error('a mistake of ws2s itself: %s\n%s', kind.__name__, ''.join(traceback.format_tb(trace)).rstrip())


class Handler(object):
    """What the loop calls. ``sock`` may be anything with a fileno(), ``events`` is what the poller knows of it."""

    __slots__ = ()
    sock, events, touched, in_row = None, 0, False, False

    def let_go(self):
        """The socket, which is the caller's from now on."""
        self._loop.forget(self)
        sock, self.sock = self.sock, None
        return sock

    def on_ready(self, events):
        """There is something to read, or room to write."""

    def on_turn(self):
        """The handler was lined up, and all before it have had their turn. It may have been closed since."""

    def settle(self):
        """The handler was touched. No harm is done when it has been closed since."""

    def on_mistake(self):
        """An exception of ours, which is logged, has come out of the handler: end what it is for."""


class Timer(object):
    """A callback that is due at a moment of the loop's clock."""

    __slots__ = ('when', 'callback', '_loop')

    def __init__(self, loop, when, callback):
        self._loop, self.when, self.callback = loop, when, callback

    def cancel(self):
        if self.callback is not None:
            self.callback = None
            self._loop.cancelled += 1


class Waker(Handler):
    """A socket pair that makes a poll in progress return."""

    def __init__(self, loop):
        self.sock, self._far = socket.socketpair()
        self._loop = loop
        for sock in (self.sock, self._far):
            unblock(sock)

    def wake(self):
        try:
            self._far.send(b'w')
        except NetworkError as error:
            if not is_not_ready(error):  # full: then the loop is awake anyway
                raise

    def fileno(self):
        """Any byte written there wakes the loop."""
        return self._far.fileno()

    def on_ready(self, events):
        self.sock.recv(4096)

    def abandon(self):
        self.sock.close()
        self._far.close()

    def close(self):
        self._loop.forget(self)
        self.abandon()


class Pipe(object):
    """Bytes that go from one socket to another and stay inside the kernel (splice(2)).

    The sockets do not block; NetworkError is raised as by them.
    """

    __slots__ = ('_count', '_far', '_near')

    def __init__(self, size):
        self._count = 0
        self._far, self._near = os.pipe()
        try:
            fcntl.fcntl(self._near, fcntl.F_SETPIPE_SZ, size)
        except NetworkError:  # this user's pipes are many: this one has a page or two, and would only be in the way
            self.close()
            raise

    def __len__(self):
        return self._count

    def fill(self, sock, count):
        """Take at most ``count`` bytes from ``sock``; how many there were, 0 at the end. The pipe must be empty."""
        self._count = os.splice(sock.fileno(), self._near, count, flags=os.SPLICE_F_MOVE | os.SPLICE_F_NONBLOCK)
        return self._count

    def pour(self, sock):
        """Give ``sock`` what it takes; how many bytes that was."""
        sent = os.splice(self._far, sock.fileno(), self._count, flags=os.SPLICE_F_MOVE | os.SPLICE_F_NONBLOCK)
        self._count -= sent
        return sent

    def close(self):
        os.close(self._near)
        os.close(self._far)


def pipe_share(workers):
    """(number, size) of the pipes that each worker of a service may have.

    A user has 64 MiB for all pipes; behind that the pipes of all programs of this user are one page long. So a service
    takes half of that at most. A pipe that holds no more than one read is no gain.
    """
    most = PIPES * BULK_BYTES
    try:
        with open(USER_PIPE_PAGES) as file:
            pages = int(file.read())
            most = min(most, pages * resource.getpagesize() // 2) if pages else most  # 0: there is no limit
    except (IOError, OSError, ValueError) as error:
        LOG.debug('the limit of pipes is not known: %s', error)
    size = BULK_BYTES
    while size > RECEIVE_BYTES and size * workers > most:
        size //= 2
    return most // workers // size, size


class Pipes(object):
    """The pipes of one loop: one that is free, and those that stand full because their client is slow."""

    def __init__(self, loop, workers):
        self.free, self.lent = None, 0
        self._loop, self._retry = loop, loop.now
        self._most, self._size = pipe_share(workers) if CAN_SPLICE else (0, 0)

    def take(self):
        """An empty Pipe, or None when there are too many; whoever takes a pipe gives it back."""
        if self.lent >= self._most or self._loop.now < self._retry:
            return None
        try:
            pipe = Pipe(self._size) if self.free is None else self.free
        except NetworkError:  # no more descriptors, or this user's pipes are many
            self._retry = self._loop.now + PIPE_PAUSE
            return None
        self.free = None
        self.lent += 1
        return pipe

    def give_back(self, pipe):
        """What is still in the pipe is thrown away."""
        self.lent -= 1
        if len(pipe) or self.free is not None:
            pipe.close()
        else:
            self.free = pipe

    def close(self):
        if self.free is not None:
            self.free.close()
            self.free = None


def raise_mmap_threshold():
    """Freeing one large block raises glibc's dynamic threshold (mallopt(3), M_MMAP_THRESHOLD): later buffers are
    recycled, not given back and page-faulted anew. Other systems do not mind."""
    bytearray(KEPT_BYTES)


LIGHT, NEW, HEAVY = 'light', 'new', 'heavy'  # why somebody stands in the row


class Guard(object):
    """OpenSSL reads on until there is data: a peer that sends for ever what is none, tickets or changes of keys, would
    keep the loop. A thread ends the connection when one call has used too much CPU; that a machine is busy, or was
    asleep, is nobody's fault."""

    def __init__(self):
        self._call, self._awake, self._thread, self._is_closed = None, threading.Event(), None, False

    def begin(self, sock):
        self._call = [sock]
        if not self._awake.is_set():
            self._awake.set()
            if self._thread is None:
                self._thread = threading.Thread(target=self._blocking_watch, name='ws2s-guard')
                self._thread.daemon = True
                self._thread.start()

    def end(self):
        self._call = None

    def _blocking_watch(self):
        call = since = None
        while not self._is_closed:
            self._awake.wait()
            if call is None or call is not self._call:
                call, since = self._call, sum(os.times()[:2])
            time.sleep(GUARD_SECONDS)
            if call is None:
                self._awake.clear()
                if self._call is not None or self._is_closed:  # begun before that
                    self._awake.set()
            elif call is self._call and sum(os.times()[:2]) - since >= GUARD_SECONDS:
                cut_off(call[0])

    def close(self):
        self._is_closed = True
        self._awake.set()
        if self._thread is not None:
            self._thread.join()


def cut_off(sock):
    """End what OpenSSL reads just now: nothing more comes, and what has come is taken away from it."""
    try:
        beneath(sock).shutdown(socket.SHUT_RDWR)
        while beneath(sock).recv(RECEIVE_BYTES):
            LOG.debug('TLS without data is thrown away')
    except NetworkError as error:
        LOG.debug('TLS without data has ended: %s', printable(str(error)))


class Row(object):
    """Who waits for a turn. Each address group has one line for each reason; next is the line whose turns have taken
    least time lately, and in it who came first."""

    def __init__(self):
        self.count = 0
        self._lines, self._order, self._numbers = {}, [], itertools.count()
        self._used, self._until, self._taken = {}, 0, None

    def add(self, handler, key):
        self.count += 1
        if key not in self._lines:
            self._lines[key] = collections.deque()
            self._queue(key)
        self._lines[key].append(handler)

    def _queue(self, key):
        heapq.heappush(self._order, (self._used.get(key, 0), next(self._numbers), key))

    def take(self):
        """The Handler whose turn it is; charge() tells when the turn is over."""
        self.count -= 1
        self._taken = heapq.heappop(self._order)[2]
        return self._lines[self._taken].popleft()

    def charge(self, began, now):
        """The turn has lasted from ``began`` to ``now``. What was used is forgotten after a while."""
        key = self._taken
        if not 0 <= self._until - now <= LATELY_SECONDS:
            self._used, self._until = {}, now + LATELY_SECONDS
            self._order = sorted((0, number, line) for _, number, line in self._order)
        self._used[key] = self._used.get(key, 0) + now - began
        if self._lines[key]:
            self._queue(key)
        else:
            del self._lines[key]


class Loop(object):
    """Turns over one poller. Only post() may be called from other threads, and from signal handlers."""

    def __init__(self, workers=1):
        """``workers``: how many loops of one service there are, each in a process of its own."""
        self.now, self.woke = monotonic(), stopwatch()  # woke: when the poll of this turn came back
        self._poller = Poller()
        self._timers = []           # a heap of (when, number, Timer)
        self.cancelled = 0          # Timers among them that wait for nothing any more
        self._numbers = itertools.count()
        self._written, self._touched = [], []
        self._unsent = 0            # bytes that those written to have queued since they were settled
        self._row, self.is_late, self.is_crowded = Row(), False, False
        self._soon = collections.deque()
        self._posted = collections.deque()
        raise_mmap_threshold()
        # One buffer for what is received: to allocate room for a whole read each time costs more than a copy.
        self.buffer = memoryview(bytearray(RECEIVE_BYTES))
        self.share = BULK_BYTES     # bytes that one socket may bring in this turn
        # Re-entrant: a signal handler may post while its own thread is posting.
        self._lock = threading.RLock()
        self._closed = False
        self.pipes, self.guard = Pipes(self, workers), Guard()
        self.waker = Waker(self)
        self.watch(self.waker, READ)

    def watch(self, handler, events):
        """Tell the poller that ``handler`` now wants ``events``, if that is news."""
        if events == handler.events:
            return
        if not events:
            self._poller.unregister(handler.sock)
        elif handler.events:
            self._poller.modify(handler.sock, events, handler)
        else:
            self._poller.register(handler.sock, events, handler)
        handler.events = events

    def forget(self, handler):
        """To be called before the socket of ``handler`` is closed."""
        if handler.events:
            self.watch(handler, 0)

    def touch(self, handler, count=0):
        """Settle ``handler``, which has just queued ``count`` bytes, at the end of this turn.

        When many send in a row, those who get the bytes are woken once and not each time; but what waits for that is
        held in memory, so a batch is settled before it has become much. What was just written goes before what had to
        wait for room: that may be much.
        """
        if not handler.touched:
            handler.touched = True
            (self._written if count else self._touched).append(handler)
            self._unsent += FAIR_BYTES // SEND_BATCH if count else 0
        self._unsent += count

    def line_up(self, handler, group, reason):
        """Call on_turn() of ``handler`` when its turn has come among those of other address groups."""
        if not handler.in_row:
            handler.in_row = True
            self._row.add(handler, (reason, group))

    def call_soon(self, callback):
        """Call a method in this turn, when what is ready has been dispatched; from within such a call in the next."""
        self._soon.append(callback)

    def call_later(self, seconds, callback):
        """Call a method ``seconds`` from now; the Timer. Its object needs on_mistake()."""
        timer = Timer(self, self.now + seconds, callback)
        heapq.heappush(self._timers, (timer.when, next(self._numbers), timer))
        if self.cancelled > 64 and self.cancelled > len(self._timers) // 2:
            self._timers = [entry for entry in self._timers if entry[2].callback is not None]
            heapq.heapify(self._timers)
            self.cancelled = 0
        return timer

    def live_timers(self):
        return sum(1 for entry in self._timers if entry[2].callback is not None)

    def post(self, callback):
        """Have the loop's thread call ``callback``; false when the loop has ended and never will."""
        with self._lock:
            if self._closed:
                return False
            self._posted.append(callback)
            self.waker.wake()
        return True

    def turn(self):
        # No poller takes a month. A timer that was cancelled may wake us once: that does no harm.
        patience = min(3600, max(0, self._timers[0][0] - monotonic())) if self._timers else None
        is_busy = self._written or self._touched or self._row.count or self._soon or self._posted
        ready = self._poller.select(0 if is_busy else patience)
        self.now = monotonic()  # before the dispatch: what begins now must not begin when the poll fell asleep
        # The more are ready the shorter each must be, or whoever comes last waits for many long ones.
        self.share = max(FAIR_BYTES, BULK_BYTES // max(1, len(ready) ** 2))
        # Many in the row would be told of by each poll.
        self.is_late, self.is_crowded, self.woke = False, self._row.count > CROWD, stopwatch()
        end = self.woke + TURN_SECONDS
        for key, events in ready:
            handler = key.data
            if handler.events & events:  # 0 when the handler was closed earlier in this very batch
                try:
                    handler.on_ready(events)
                except Exception:
                    self._on_mistake_of(handler)
                if self._unsent >= FAIR_BYTES:
                    self._settle_written()
                self.is_late = stopwatch() >= end
        self.now = monotonic()
        for waiting in self._posted, self._soon:
            if waiting:
                self._run(waiting)
        if self._timers and self._timers[0][0] <= self.now:
            self._run_timers()
        while self._written or self._touched:
            batch, self._written, self._touched, self._unsent = self._written + self._touched, [], [], 0
            self._settle(batch)
        if self._row.count:
            self._run_row()

    def _call(self, method):
        """One handler's mistake must not end the others."""
        try:
            method()
        except Exception:
            self._on_mistake_of(method.__self__)

    def _on_mistake_of(self, handler):
        log_mistake()
        try:
            handler.on_mistake()
        except Exception:
            log_mistake()

    def _run(self, waiting):
        end = stopwatch() + TURN_SECONDS
        for _ in range(len(waiting)):  # what these add comes in the next turn
            self._call(waiting.popleft())
            if stopwatch() >= end:
                break

    def _run_timers(self):
        end, mark = stopwatch() + TURN_SECONDS, next(self._numbers)
        while self._timers and self._timers[0][0] <= self.now and stopwatch() < end:
            if self._timers[0][1] > mark:
                break  # it was armed just now, for now
            timer = heapq.heappop(self._timers)[2]
            if timer.callback is None:
                self.cancelled -= 1
            else:
                callback, timer.callback = timer.callback, None
                self._call(callback)

    def _run_row(self):
        began = stopwatch()
        end = began + TURN_SECONDS
        for _ in range(ROW_TURNS):
            handler = self._row.take()
            handler.in_row = False
            try:
                handler.on_turn()
            except Exception:
                self._on_mistake_of(handler)
            if self._unsent >= FAIR_BYTES:
                self._settle_written()
            now = stopwatch()
            self._row.charge(began, now)
            if not self._row.count or now >= end:
                break
            began = now
        self._settle_written()  # what was only touched can wait for the next turn, which comes at once

    def _settle_written(self):
        batch, self._written, self._unsent = self._written, [], 0
        self._settle(batch)

    def _settle(self, batch):
        for handler in batch:
            handler.touched = False
            try:
                handler.settle()
            except Exception:
                self._on_mistake_of(handler)

    def abandon(self):
        """In a child of fork(): close this copy's descriptors. What they stand for is shared with the parent."""
        self.waker.abandon()
        self.pipes.close()
        self._poller.close()

    def close(self):
        """Run what was posted before, and give the descriptors back."""
        with self._lock:
            self._closed = True
        while self._posted:
            self._run(self._posted)
        self.guard.close()
        self.waker.close()
        self.pipes.close()
        self._poller.close()
        self._timers = []


# ======================================================================================================================
# 10. Streams
# ======================================================================================================================
# Non-blocking connections with bounded queues, the budget that all of them share, and listening sockets. Below a Stream
# is a Wire, which alone knows whether TLS is spoken; above it an owner, whose verbs StreamOwner lists: wants_data() is
# all there is to backpressure. Datagrams have the face of a Stream.

POUR_BYTES = 32768             # with fewer at a time the kernel's way is no shorter
SMALL_RECEIVE = 8192           # one read of a client while no long frame is under way: it may hold many requests
BULKY_BYTES = 2048             # one read that others need not wait for is shorter
SEND_CHUNKS = 64               # that one system call is given at most
SEND_BYTES = 1048576           # one stream's turn; a bulk transfer must not delay the others
SMALL_CHUNK = 4096             # shorter ones are joined in a stream's queue
CLOSE_BEHIND = 65536           # bytes; behind more of them a Close would come too late
RANKING_SECONDS = 0.25
DATAGRAMS = 64                 # that wait for a target which is being dialled
DATAGRAM_BYTES = 65507         # of the longest: what IP carries, without the heads of IPv4 and UDP
ACCEPT_BURST = 64              # connections taken in one turn
ACCEPT_PAUSE = 0.2             # seconds without accepting when descriptors have run out
SPARE_DESCRIPTORS = 64         # that targets leave for clients
STAND_BACK_SECONDS = 0.002     # for workers with fewer clients to take a connection
WARNING_SECONDS = 10           # between two equal warnings about that
CLIENT_LINES = 20, 2           # of a client in the log: at once, and a second from then on
ADDRESS_LINES = 1000, 100      # of all clients from one address


class LogRate(object):
    """Who may have a line in the log: each speaker ``burst`` at once, and ``rate`` a second from then on. Those that
    are left out are counted."""

    def __init__(self, burst, rate):
        self._gap, self._credit = 1 / rate, burst / rate  # in seconds
        self._speakers = {}  # each with the moment until which it has used its rate up, and its lines left out

    def passes(self, speaker, now, lines=1):
        entry = self._speakers.setdefault(speaker, [now, 0])
        until = max(entry[0], now) + lines * self._gap
        if until > now + self._credit:
            entry[1] += lines
            return False
        entry[0] = until
        return True

    def take_left_out(self, speaker):
        """How many lines of it were left out since this was asked last."""
        entry = self._speakers.get(speaker, [0, 0])
        count, entry[1] = entry[1], 0
        return count

    def sweep(self, now):
        """Forget those who may say as much as anybody new. Pairs of the others and of what take_left_out() says."""
        for speaker in [speaker for speaker, (until, count) in self._speakers.items() if until <= now and not count]:
            del self._speakers[speaker]
        return [(speaker, self.take_left_out(speaker)) for speaker in self._speakers]


class Journal(Handler):
    """The log's lines about strangers at `info`. No client, and no address, can drive those about others out of the
    files: what is over its rate is counted, and told every WARNING_SECONDS."""

    def __init__(self, loop):
        self._loop, self._timer = loop, None
        self._clients, self._groups = LogRate(*CLIENT_LINES), LogRate(*ADDRESS_LINES)

    def tell(self, group, number, line, *arguments):
        """A line about the client of this address group and number."""
        if LOG.isEnabledFor(logging.INFO) and self._passes(self._clients, '#%d' % number):
            self.tell_of_address(logging.INFO, group, '#%d ' + line, number, *arguments)

    def tell_of_address(self, level, group, line, *arguments):
        """A line about somebody of whom there will be no other."""
        if LOG.isEnabledFor(level) and self._passes(self._groups, group_text(group)):
            LOG.log(level, line, *arguments)

    def tell_last(self, group, number, words):
        """The line that tells of a client's end; what was left out of the client's lines comes before."""
        name = '#%d' % number
        self._tell_left_out([(name, self._clients.take_left_out(name))])
        self.tell_of_address(logging.INFO, group, '%s %s', name, words)

    def _passes(self, rate, speaker):
        self._timer = self._timer or self._loop.call_later(WARNING_SECONDS, self.catch_up)
        return rate.passes(speaker, self._loop.now)

    def catch_up(self):
        """Tell what was left out until now."""
        left_out = self._clients.sweep(self._loop.now) + self._groups.sweep(self._loop.now)
        self._timer = self._loop.call_later(WARNING_SECONDS, self.catch_up) if left_out else None
        self._tell_left_out(left_out)

    def _tell_left_out(self, speakers):
        for speaker, count in speakers:
            if count:
                LOG.info('%s and %s more lines', speaker, '{0:,}'.format(count))


class Holder(object):
    """What holds bytes for a client: a session, say, or an upstream that its client has left."""

    __slots__ = ()
    group = b''  # the address group that makes us hold them

    def held(self):
        """Bytes that are held here."""
        return 0

    def flush(self):
        """Have the kernel take now what it takes: that is not held."""

    def on_full(self):
        """All together hold too much: give up what is held here."""


class Ranking(object):
    """Who must go first, from one walk over all: of the address group that weighs most the member of the highest rank.
    Good for a short while, for the groups lose by it and others grow."""

    def __init__(self, entries=()):
        """``entries``: tuples (group, weight, rank, member)."""
        groups = {}
        for entry in entries:
            groups.setdefault(entry[0], []).append(entry)
        # Of groups that weigh the same that whose first member has the higher rank.
        self._heap = [(-sum(entry[1] for entry in members), -max(entry[2] for entry in members), group,
                       sorted(members, key=lambda entry: entry[2])) for group, members in groups.items()]
        heapq.heapify(self._heap)
        self._least = self._heap[0][0] / 2 if self._heap else 0  # later another group may be the heaviest

    def next(self):
        """The next member, which goes; None when the Ranking is to be made anew, or nobody is left."""
        if not self._heap or self._heap[0][0] > self._least:
            return None
        weight, _, group, members = self._heap[0]
        _, size, _, member = members.pop()
        if members:
            heapq.heapreplace(self._heap, (weight + size, -members[-1][2], group, members))
        else:
            heapq.heappop(self._heap)
        return member


class Ranked(Handler):
    """What keeps a Ranking for RANKING_SECONDS: longer would keep those in memory who have gone. ``loop`` is given
    later than all else."""

    def __init__(self):
        self.loop, self.ranking = None, Ranking()

    def rank(self, entries):
        self.ranking = Ranking(entries)
        self.loop.call_later(RANKING_SECONDS, self._forget)

    def _forget(self):
        self.ranking = Ranking()


class Budget(Ranked):
    """Bytes that all clients of a gateway together may make it hold, and who must go when they are too many."""

    def __init__(self, most):
        Ranked.__init__(self)
        self.bytes, self._is_enforcing = 0, False
        self.resize(most)
        self.present = set()  # clients
        self.left = {}        # upstreams whose client has gone, by address group: each an OrderedDict, the oldest first

    def resize(self, most):
        self.most, self.scarce = most, most - 2 * RECEIVE_BYTES
        # What a pipe may hold: all of them together no more than half of it all.
        self.pipe_bytes = min(BULK_BYTES, most // (2 * PIPES)) if PIPES else 0

    def cut(self, count):
        """How many of ``count`` bytes may be read at once when room is scarce. The less is left the less, for JSON
        makes more of them, and many read in a turn."""
        return min(count, max(SMALL_RECEIVE, (self.most - self.bytes) // 2))

    def enforce(self, holder):
        """``holder`` has grown. Over the bound the address group that holds most loses its largest holder, until it
        fits."""
        if self._is_enforcing:
            return  # whoever is given up has a last word, and settles
        self._is_enforcing = True
        try:
            holder.flush()
            while self.bytes > self.most:
                victim = self.ranking.next() or self._first_of_all()
                if victim is None:
                    return
                held = victim.held()
                victim.flush()
                if victim.held() > held // 2:  # else most of it was on its way
                    victim.on_full()
        finally:
            self._is_enforcing = False

    def _first_of_all(self):
        entries = []
        for holder in itertools.chain(self.present, *self.left.values()):
            held = holder.held()
            if held:
                entries.append((holder.group, held, held, holder))
        self.rank(entries)
        return self.ranking.next()


def prepare(sock):
    """What every connected or listening TCP socket needs here."""
    unblock(sock)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)


def reset_on_close(sock):
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
    except NetworkError:  # the peer has ended the connection already, and some systems say so here
        LOG.debug('a connection is gone before it was reset')


class Wire(object):
    """What the bytes of a stream go through: the socket as it is. Each verb raises NetworkError.

    It keeps nothing, so that one serves all streams.
    """

    def receive(self, sock, buffer, count):
        """At most ``count`` bytes, and what ``buffer`` holds; empty at the end."""
        return buffer[:sock.recv_into(buffer[:count])].tobytes()

    def send(self, sock, chunks):
        """How many bytes of ``chunks`` the kernel has taken."""
        return sock.send(chunks[0]) if len(chunks) == 1 else send_chunks(sock, chunks)

    def send_head(self, sock, data):
        """As send(), for bytes that those of a pipe follow at once: both go in one packet."""
        return sock.send(data, socket.MSG_MORE)

    def finish(self, sock):
        """Close our half."""
        sock.shutdown(socket.SHUT_WR)

    def leave(self, sock):
        """Say goodbye, when both halves are closed now."""

    stalled = 0  # what the wire waits for beside what its stream wants: WRITE to go on reading, say

    def holds(self, sock):
        """Is there something to read of which no poller tells?"""
        return False


class PeekWire(Wire):
    """Tells what comes first, and leaves it there."""

    def receive(self, sock, buffer, count):
        return sock.recv(1, socket.MSG_PEEK)


class HandoverWire(Wire):
    """Of a stream whose socket goes on without it, when its queue is empty."""

    def finish(self, sock):
        pass


class TlsWire(Wire):
    """TLS (RFC 5246 and 8446) over the socket of one stream, an SSLSocket. A server's handshake comes with its first
    read."""

    def __init__(self, is_server, guard):
        self._is_server, self._is_shaken, self._guard = is_server, not is_server, guard
        self.stalled, self.why, self._alert = 0, None, None
        self._ahead = b''  # what was decrypted before our half was closed
        self._end = None   # what is told when all that came before is read: () for the peer's end, or an error

    def receive(self, sock, buffer, count):
        self.stalled = got = 0
        if self._ahead:
            data, self._ahead = self._ahead[:count], self._ahead[count:]
            return data
        self._guard.begin(sock)
        try:
            if not self._is_shaken:
                sock.do_handshake()
                self._is_shaken = True
            buffer = buffer[:count]
            for _ in range(TLS_READS):  # one call gives one record
                if got == len(buffer) or self._end is not None:
                    break
                part = sock.recv_into(buffer[got:])
                self._end = None if part else ()
                got += part
        except (NetworkError, ValueError) as error:
            self._on_error(error)
        finally:
            self._guard.end()
        if got or self._end == ():
            return buffer[:got].tobytes()
        raise NetworkError(*self._end or (errno.EAGAIN, 'more is to come'))

    def _on_error(self, error):
        """That a peer ends without a word counts as the end of a client, which says by its Close what is missing; a
        target has no other way."""
        if isinstance(error, (ssl.SSLWantReadError, ssl.SSLWantWriteError)):
            self.stalled = WRITE if isinstance(error, ssl.SSLWantWriteError) else 0
        elif isinstance(error, ssl.SSLZeroReturnError) or self._is_server and self._is_shaken and is_ragged(error):
            self._end = ()  # SSLZeroReturnError: after our own
        elif isinstance(error, (ssl.SSLError, ValueError)):
            self.why = tls_reason(error) or 'it ended'
            self._end = errno.ECONNRESET, 'TLS: %s' % self.why
        else:
            self._end = error.errno, 'the connection is gone'

    def send(self, sock, chunks):
        if not self._is_shaken:
            raise NetworkError(errno.EPIPE, 'nobody to tell: there is no TLS yet')
        data = memoryview(chunks[0] if len(chunks) == 1 or len(chunks[0]) >= TLS_WRITE else joined(chunks))
        sent = 0
        self._guard.begin(sock)
        try:
            while sent < len(data):
                sent += tls_send(sock, data[sent:sent + TLS_WRITE])
        except ssl.SSLWantWriteError:
            LOG.debug('TLS takes no more just now')
        except ssl.SSLError as error:  # to write never waits for the peer: renegotiation is off
            raise NetworkError(errno.ECONNRESET, 'TLS: %s' % error.reason)
        finally:
            self._guard.end()
        if not sent:
            del data  # who handles the error may keep this frame: to a chunk in use nothing could be added
            raise NetworkError(errno.EAGAIN, 'there is no room')
        return sent

    def holds(self, sock):
        return self._is_shaken and (self._end is not None or bool(self._ahead) or sock.pending() > 0)

    def finish(self, sock):
        if self._alert is None:
            if self._end is None and sock.pending():
                self._ahead = sock.recv(sock.pending())  # OpenSSL would take it for a fault
            self._alert = close_notify(sock)
        try:
            self._alert = self._alert[beneath(sock).send(self._alert):]  # it is encrypted
            if self._alert:
                raise NetworkError(errno.EAGAIN, 'a part of it has gone')
        except NetworkError as error:
            self.stalled = WRITE if is_not_ready(error) else 0
            raise
        beneath(sock).shutdown(socket.SHUT_WR)  # that of an SSLSocket would end TLS for what comes, too

    def leave(self, sock):
        if self._is_shaken and self._alert is None:
            try:
                sock.unwrap()
            except (NetworkError, ValueError):  # the peer's own end has not come, and nobody waits for it
                LOG.debug('TLS ends')


PLAIN, PEEK, HANDOVER = Wire(), PeekWire(), HandoverWire()
TLS_RECORD = 16384
TLS_READS = 64  # records of one read: a peer may put each byte into one of its own
# What OpenSSL is given at once: how far it has come in that is not known, and after a refusal it wants the same bytes
# again, and no fewer.
TLS_WRITE = 4 * TLS_RECORD


def tls_reason(error):
    """OpenSSL's own name of what went wrong. Old Pythons have none, or another's, for what newer versions of OpenSSL
    say; its words stand behind that."""
    words = re.search(r'\] ([^:(]+)', str(error)) if isinstance(error, ssl.SSLError) else None
    return words.group(1).strip().upper().replace(' ', '_') if words else ''


def is_ragged(error):
    """Has the connection ended without the close_notify that says so (RFC 8446 section 6.1)?"""
    return isinstance(error, ssl.SSLEOFError) or 'UNEXPECTED_EOF' in tls_reason(error)


def close_notify(sock):
    """The record that ends our half of a TLS connection, and nothing else. OpenSSL, as Python calls it, would read for
    the peer's record, too, and throw away the data before it. So while OpenSSL is at that, another socket stands in the
    place of the connection's."""
    near, far = socket.socketpair()
    with contextlib.closing(near), contextlib.closing(far):
        unblock(near)
        unblock(far)
        with contextlib.closing(socket.fromfd(sock.fileno(), sock.family, sock.type)) as kept:
            close_on_exec(kept.fileno())
            dup2(near.fileno(), sock.fileno())
            try:
                sock.unwrap()
            except (NetworkError, ValueError):  # the peer's record is not there, of course
                pass
            finally:
                dup2(kept.fileno(), sock.fileno())
                close_on_exec(sock.fileno())
        near.close()  # lest recv() waits where there is no more TLS
        return far.recv(TLS_RECORD)


def secured(context, sock, is_server, name=None):
    """The SSLSocket that takes over ``sock``, for a handshake with the server of this name. Raises NetworkError and
    ValueError."""
    return context.wrap_socket(sock, server_side=is_server, server_hostname=name, do_handshake_on_connect=False,
                               suppress_ragged_eofs=False)


class ProxyWire(Wire):
    """Takes the header of the PROXY protocol from a socket, and not a byte of what is behind it."""

    def __init__(self):
        self._taken, self.found, self.failure = b'', None, None

    def receive(self, sock, buffer, count):
        seen = self._taken + sock.recv(min(count, PROXY_BYTES), socket.MSG_PEEK)
        try:
            self.found = read_proxy(seen)
        except RemoteError as error:
            self.failure = error
        size = self.found[0] if self.found else len(seen)
        data = Wire.receive(self, sock, buffer, size - len(self._taken))
        self._taken += data
        return data


class Joined(bytearray):
    """Small chunks of one queue. A bytearray that came from elsewhere may belong to somebody."""


class OutQueue(list):
    """Chunks on their way out, in order. A Pipe may be one."""

    __slots__ = ()

    def add(self, chunk):
        """Small chunks are joined: by itself one would cost a hundred times its bytes. How many bytes that were."""
        last = self[-1] if self and len(chunk) < SMALL_CHUNK else None
        if isinstance(last, bytes) and len(last) < SMALL_CHUNK:
            last = self[-1] = Joined(last)
        if isinstance(last, Joined) and len(last) < RECEIVE_BYTES:
            last += chunk
        elif chunk:
            self.append(chunk)
        return len(chunk)

    def head(self):
        """What one system call is given: a few small chunks together, a large one alone."""
        chunks, size = [], 0
        for chunk in self:
            if isinstance(chunk, Pipe) or size >= RECEIVE_BYTES or len(chunks) == SEND_CHUNKS:
                break
            chunks.append(chunk)
            size += len(chunk)
        return chunks

    def drop(self, count):
        """``count`` bytes of the chunks at the head have gone."""
        whole = 0
        while whole < len(self) and count >= len(self[whole]):
            count -= len(self[whole])
            whole += 1
        del self[:whole]
        if count:
            self[0] = memoryview(self[0])[count:]


class DatagramQueue(list):
    """Datagrams that wait, in order. Those that are too many or too long are lost, as they may be on any network."""

    __slots__ = ()

    def add(self, chunk):
        """How many bytes are kept of it."""
        if len(self) == DATAGRAMS or len(chunk) > DATAGRAM_BYTES:
            return 0
        self.append(chunk)
        return len(chunk)


class StreamOwner(object):
    """What a Stream asks and tells the object above it."""

    __slots__ = ()
    group = b''  # the address group for which it works

    def wants_data(self, stream):
        """How many bytes the owner would take now; 0 stops the reading until the stream is touched."""
        return 0

    def on_received(self, stream, data):
        """``data`` has come, no more than wants_data() had said."""

    def goes_on(self):
        """The turn of a stream in the row: has the owner gone on with what had come before? Else it is read."""
        return False

    def sink(self, stream):
        """Another Stream, to which the owner would pass all that comes just as it is, by on_pipe(); or None."""

    def on_pipe(self, stream, pipe):
        """As on_received(), for bytes that are in a Pipe, which the owner must give away."""

    def on_end(self, stream, is_reset):
        """Nothing more will come: the peer has closed its half, or has reset the connection."""

    def on_unwritable(self, stream):
        """Nothing that is written arrives any more; what the peer had sent before may still be there to read."""

    def on_flow(self, stream):
        """The queue has become long, or short again: `congested` has changed."""

    def on_finished(self, stream):
        """Our half is closed, after the last byte of the queue."""

    def on_mistake(self):
        """An exception of ours, which is logged: end what this stream is for."""


class Outlet(Handler):
    """A connected socket and the queue of what it has still to send.

    ``high``: bytes in the queue from which the stream is congested, until three quarters of them are gone.
    """

    __slots__ = ('sock', 'events', 'touched', 'in_row', 'owner', 'pending', 'congested', 'eof', 'broken', 'finishing',
                 'finished', 'moved', 'taken', 'wire', 'is_new', '_loop', '_high', '_budget', '_out', '_pours',
                 '_is_bulky')

    def __init__(self, loop, sock, owner, high, budget):
        self.sock, self.owner = sock, owner
        self.events, self.touched, self.in_row = 0, False, False
        self.pending = 0          # bytes in the queue
        self.congested = False
        self.eof = False          # the peer's half is closed
        self.broken = False       # our half is: nothing that is written arrives any more
        self.finishing = False    # a FIN follows what is queued
        self.finished = False
        self.moved = loop.now     # when bytes last went or came
        self.taken = loop.now     # when bytes last went, or began to wait
        self.wire = PLAIN
        self._loop, self._high, self._budget = loop, high, budget
        self._out = ()            # an OutQueue while there is something in it: most streams are idle
        self._pours = False       # is much coming, so that the way through a pipe is worth a try?
        self._is_bulky = False    # does what comes take long?
        self.is_new = False       # is what comes the first that this client asks for?
        loop.touch(self)

    def write(self, *chunks):
        """Queue ``chunks``; the end of the turn sends them. How many bytes that are: none when nobody can get them."""
        size = 0
        if self.sock is None or self.broken or self.finishing:
            return size
        out = self._out or OutQueue()
        for chunk in chunks:
            size += len(chunk)
            if out:
                out.add(chunk)
            elif chunk:
                out.append(chunk)
        if not size:
            return size
        if not self._out:
            self._out, self.moved = out, self._loop.now  # what begins to wait now has not waited long
            self.taken = self.moved
        self._loop.touch(self, size)
        self.pending += size
        self._budget.bytes += size
        if self.pending >= self._high and not self.congested:
            self._turn_congested()
        return size

    def settle(self):
        """Send what the kernel takes, about SEND_BYTES at most, and tell the poller what is wanted now."""
        out, left = self._out, SEND_BYTES
        try:
            while out and left > 0:
                is_pipe = isinstance(out[0], Pipe)
                if is_pipe:
                    sent = self._send_pipe(out[0])
                else:
                    sent = self.wire.send(self.sock, out if len(out) == 1 else out.head())
                if sent == self.pending:
                    out = self._out = ()
                elif not is_pipe:
                    out.drop(sent)
                left -= sent
                self.pending -= sent
                self._budget.bytes -= sent
                self.moved = self.taken = self._loop.now
        except NetworkError as error:
            self._on_not_sent(error)
        # Two marks, so that the source is not started and stopped for every chunk.
        if self.congested and self.pending <= self._high // 4:
            self._turn_congested()
        if self.finishing and not (self.pending or self.finished or self.broken or self.sock is None):
            self._close_our_half()
        if self.sock is not None:
            # One that is watched already is asked when there is something to read.
            reads = self.events & READ or (READ if not self.eof and self.owner.wants_data(self) else 0)
            events = reads | WRITE if self._out else reads
            if self.wire is not PLAIN:
                events |= self.wire.stalled
                if reads and self.wire.holds(self.sock):
                    self._loop.line_up(self, self.owner.group, HEAVY)
            if events != self.events:
                self._loop.watch(self, events)

    def _send_pipe(self, pipe):
        sent = pipe.pour(self.sock)
        if not len(pipe):
            self._loop.pipes.give_back(self._out.pop(0))
        return sent

    def _turn_congested(self):
        self.congested = not self.congested
        self.owner.on_flow(self)

    def _on_not_sent(self, error):
        """A socket names its error only once. The owner is told when what has come before is read, and when nobody is
        in the middle of something."""
        if not is_not_ready(error) and not self.broken:
            self.broken = True
            self._drop_queue()
            self._loop.call_soon(self._tell_unwritable)

    def _tell_unwritable(self):
        if self.sock is not None:
            self.owner.on_unwritable(self)

    def _drop_queue(self):
        for pipe in [chunk for chunk in self._out if isinstance(chunk, Pipe)]:
            self._loop.pipes.give_back(pipe)
        self._out = ()
        self._budget.bytes -= self.pending
        self.pending = 0

    def finish(self):
        """Close our half after what is queued."""
        if not self.finishing:
            self.finishing = True
            self._loop.touch(self)

    def _close_our_half(self):
        if self.wire is not PLAIN:
            self._loop.watch(self, 0)  # kqueue would forget a descriptor that is exchanged
        try:
            self.wire.finish(self.sock)
        except EnvironmentError as error:  # descriptors may have run out
            if is_not_ready(error):
                return  # the wire is stalled, and we come again
            self.broken = True  # the peer has reset the connection: then there is nothing to close
        self.finished = True
        self.owner.on_finished(self)

    def secure(self, context):
        """The peer is a client that speaks TLS from here on. Raises NetworkError and ValueError; then the socket is
        closed, or may be."""
        self._loop.forget(self)
        self.sock, self.wire, self.is_new = secured(context, self.sock, True), TlsWire(True, self._loop.guard), True

    def close(self, reset=False):
        if self.sock is not None:
            self._loop.forget(self)
            if reset:
                reset_on_close(self.sock)
            elif self.wire is not PLAIN and not (self._out or self.broken):
                self.wire.leave(self.sock)
            self.sock.close()
            self.sock = None
            if self._out:
                self._drop_queue()


class Stream(Outlet):
    """An Outlet that is read, too."""

    __slots__ = ()

    # -- inside the kernel ---------------------------------------------------------------------------------------------

    def is_clear(self):
        """Would the next byte go out at once?"""
        return not (self._out or self.broken or self.finishing or self.sock is None) and self.wire is PLAIN

    def pour(self, header, pipe):
        """Send at once ``header`` and the bytes in ``pipe``, which belongs to this stream from now on. Only when the
        stream is_clear()."""
        try:
            sent = self.wire.send_head(self.sock, header)
        except NetworkError as error:
            sent = 0
            self._on_not_sent(error)
        if self.broken:
            self._loop.pipes.give_back(pipe)
            return
        self._out = OutQueue([header[sent:], pipe] if sent < len(header) else [pipe])
        self.pending = len(header) - sent + len(pipe)
        self.moved = self.taken = self._loop.now
        self._budget.bytes += self.pending
        self.settle()
        if self.pending >= self._high and not self.congested:
            self._turn_congested()

    def room(self):
        """How many bytes may be read for this queue: while it is empty what a pipe may hold, or four times `high`."""
        share = self._loop.share
        if self.pending:
            return 0 if self.congested else min(RECEIVE_BYTES, share)
        # The share is never less than FAIR_BYTES, and just that when many are ready: no more to ask then.
        return share if share <= FAIR_BYTES else max(FAIR_BYTES, min(share, self._budget.pipe_bytes, 4 * self._high))

    def _receive_pipe(self, count):
        """As receiving, inside the kernel. False when nothing was done: recv() tells then what there is."""
        self._pours = False
        sink = self.owner.sink(self)
        pipe = self._loop.pipes.take() if sink is not None and sink.is_clear() else None
        if pipe is None:
            return False
        try:
            pipe.fill(self.sock, count)
        except NetworkError as error:
            self._loop.pipes.give_back(pipe)
            return self._on_not_spliced(error)
        if not len(pipe):
            self._loop.pipes.give_back(pipe)
            return False
        self.moved = self._loop.now
        self._pours = len(pipe) >= POUR_BYTES
        self.owner.on_pipe(self, pipe)
        return True

    def _on_not_spliced(self, error):
        # splice() gives EAGAIN for ever at a mark of urgent data; recv() steps over the mark.
        if is_not_ready(error) or error.errno in (errno.EINVAL, errno.ENOSYS, errno.EPERM):
            return False
        self._end_reading(is_reset=True)  # a socket names its error only once
        return True

    # -- in ------------------------------------------------------------------------------------------------------------

    def on_turn(self):
        if self.sock is not None and not self.owner.goes_on():
            self.on_ready(READ, is_turn=True)
        if self.sock is not None and (self.wire is not PLAIN or not self.events & READ):
            self._loop.touch(self)  # whether it is read is decided anew

    def on_ready(self, events, is_turn=False):
        if events & WRITE:
            self._loop.touch(self)
        if self.wire.stalled:
            self.wire.stalled, events = 0, events | READ  # the wire is asked again for what it could not do
        if not events & READ:
            return
        if not is_turn and (self._is_bulky or self.is_new or self._loop.is_late):
            reason = NEW if self.is_new else HEAVY if self._is_bulky else LIGHT
            self._loop.line_up(self, self.owner.group, reason)
            if self._loop.is_crowded:
                self._loop.watch(self, self.events & ~READ)
            return
        count = 0 if self.eof else self.owner.wants_data(self)
        if not count:
            self._loop.watch(self, self.events & ~READ)
            return
        if self._pours and self._receive_pipe(count):
            return
        if self._budget.bytes > self._budget.scarce:
            count = self._budget.cut(count)
        try:
            data = self.wire.receive(self.sock, self._loop.buffer, count)
        except NetworkError as error:
            if not is_not_ready(error):
                self._end_reading(is_reset=True)
            elif self.wire.stalled:
                self._loop.touch(self)
            return
        if data:
            self.moved = self._loop.now
            self._is_bulky, self.is_new = len(data) >= BULKY_BYTES, False
            self._pours = CAN_SPLICE and len(data) >= POUR_BYTES and self.wire is PLAIN
            self.owner.on_received(self, data)
            if self.wire is not PLAIN:
                self._loop.touch(self)  # it may hold more
        else:
            self._end_reading(is_reset=False)

    def _end_reading(self, is_reset):
        self.eof = True
        self._loop.watch(self, self.events & ~READ)
        self.owner.on_end(self, is_reset)

    def on_mistake(self):
        self.owner.on_mistake()


class Datagrams(Handler):
    """A connected UDP socket, which has the face of a Stream: each chunk is a datagram. Nothing waits here: what the
    kernel does not take is lost."""

    __slots__ = ('sock', 'events', 'touched', 'in_row', 'owner', 'eof', 'finished', 'moved', 'taken', '_loop')
    pending, congested, broken, wire = 0, False, False, PLAIN

    def __init__(self, loop, sock, owner):
        self.sock, self.owner, self._loop = sock, owner, loop
        self.events, self.touched, self.in_row = 0, False, False
        self.eof = self.finished = False
        self.moved = self.taken = loop.now
        loop.touch(self)

    def write(self, *chunks):
        """How many bytes the kernel has taken."""
        return sum(map(self._send, chunks)) if self.sock is not None else 0

    def _send(self, chunk):
        try:
            count = self.sock.send(chunk)
        except NetworkError as error:
            self._on_error(error)
            return 0
        self.moved = self._loop.now
        return count

    def _on_error(self, error):
        """Of all that may become of a datagram this alone says that the next will fare no better."""
        if error.errno == errno.ECONNREFUSED and not self.eof:
            self.eof = True
            self._loop.call_soon(self._tell_refused)

    def _tell_refused(self):
        if self.sock is not None:
            self.owner.on_end(self, is_reset=True)

    def settle(self):
        events = READ if self.sock is not None and not self.eof and self.owner.wants_data(self) else 0
        if self.sock is not None and events != self.events:
            self._loop.watch(self, events)

    def on_turn(self):
        if self.sock is not None:
            self._receive()
            self._loop.touch(self)

    def on_ready(self, events):
        if self._loop.is_late:
            self._loop.line_up(self, self.owner.group, LIGHT)
        else:
            self._receive()

    def _receive(self):
        if self.eof or not self.owner.wants_data(self):
            self._loop.watch(self, 0)
            return
        try:
            data = self._loop.buffer[:self.sock.recv_into(self._loop.buffer)].tobytes()
        except NetworkError as error:
            self._on_error(error)
            return
        self.moved = self._loop.now
        self.owner.on_received(self, data)

    def finish(self):
        """What was sent is on its way."""
        self.eof = self.finished = True
        self._loop.call_soon(self._tell_finished)

    def _tell_finished(self):
        if self.sock is not None:
            self.owner.on_finished(self)

    def close(self, reset=False):
        if self.sock is not None:
            self.let_go().close()

    def on_mistake(self):
        self.owner.on_mistake()


def most_descriptors():
    """Up to which number targets may have descriptors, of which the system gives the lowest that is free: a few clients
    with many streams must not keep all others from being accepted."""
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return soft - min(SPARE_DESCRIPTORS, soft // 8) if soft != resource.RLIM_INFINITY else float('inf')


class Load(object):
    """How many clients a worker of a service has, in ``memory`` that all of them share: an int for each."""

    SHAPE, NOBODY = struct.Struct('i'), -1  # in place of the clients of a worker that is not there

    def __init__(self, memory, number):
        self._memory, self._place = memory, self.SHAPE.size * number
        self._all = struct.Struct('%di' % (len(memory) // self.SHAPE.size))
        self.tell(self.NOBODY)

    def tell(self, clients):
        self.SHAPE.pack_into(self._memory, self._place, clients)

    def is_above(self):
        """Has this worker more clients than the others have on average, and is not just one client ahead?"""
        loads = [load for load in self._all.unpack_from(self._memory) if load >= 0]
        own, = self.SHAPE.unpack_from(self._memory, self._place)
        return 16 * (own - 1) * len(loads) > 17 * sum(loads)


class Listener(Handler):
    """One listening socket; ``on_accepted(sock, address)`` gets each connection.

    With a Load the socket is shared with other workers. Of those the system wakes one for a connection, and besides all
    that have clients above the average or may have no descriptor for it: these take it only when nobody has for
    STAND_BACK_SECONDS.
    """

    def __init__(self, loop, sock, on_accepted, load=None):
        self.sock, self._loop, self._on_accepted, self._load = sock, loop, on_accepted, load
        self._burst = 1        # connections to take in one turn: more while more are there
        self._timer = None     # runs while accepting pauses
        self._warned = None    # when the log was last told of that
        self._is_short = False    # has the last connection found few descriptors, or none?
        self._comes_last = False  # as the poller knows it
        loop.touch(self)

    def _must_wait(self):
        return self._load is not None and (self._is_short or self._load.is_above())

    def on_ready(self, events):
        if self._comes_last and self._must_wait():
            self._timer = self._loop.call_later(STAND_BACK_SECONDS, self._take_rest)
            self._loop.touch(self)
        else:
            self._accept()

    def take_last(self):
        """Before it is closed: of all who share the socket this worker alone may have been woken for a connection."""
        if self.events:
            self.on_ready(self.events)

    def _take_rest(self):
        self._resume()
        self._accept()

    def _accept(self):
        for _ in range(self._burst):
            try:
                sock, address = self.sock.accept()
            except NetworkError as error:
                self._burst = 1
                self._on_refused(error)
                return
            if self._load is not None:
                self._is_short = sock.fileno() >= most_descriptors()
            self._on_accepted(sock, address)
            if self._must_wait() != self._comes_last:
                self._loop.touch(self)
                return
        self._burst = min(2 * self._burst, ACCEPT_BURST)

    def _on_refused(self, error):
        if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
            # The connection stays in the backlog and the poller would tell of it again at once: pause, do not spin.
            if self._warned is None or self._loop.now - self._warned > WARNING_SECONDS:
                self._warned = self._loop.now
                LOG.warning('cannot accept just now: %s', os.strerror(error.errno))
            self._timer, self._is_short = self._loop.call_later(ACCEPT_PAUSE, self._resume), True
            self._loop.touch(self)

    def _resume(self):
        self._timer = None
        self._loop.touch(self)

    def settle(self):
        if self.sock is None:
            return
        self._comes_last = self._must_wait()
        wanted = 0 if self._timer else READ if self._load is None or self._comes_last else READ | EXCLUSIVE
        if wanted != self.events:
            self._loop.watch(self, 0)  # what is exclusive cannot be changed otherwise, epoll_ctl(2)
            self._loop.watch(self, wanted)

    def on_mistake(self):
        """A connection that could not be taken is that one's loss; the listener goes on."""

    def close(self):
        if self._timer:
            self._timer.cancel()
        if self.sock is not None:
            self.let_go().close()


def bound_sockets(host, port):
    """Listening sockets for every address of ``host``, all on one port. Raises ServeError."""
    try:
        found = socket.getaddrinfo(host, port, 0, socket.SOCK_STREAM, 0, socket.AI_PASSIVE)
    except (NetworkError, UnicodeError):
        raise ServeError('cannot listen on %s: the name cannot be resolved' % with_port(printable(host), port))
    socks, error = [], None
    for family, address in unique_addresses(found):
        try:
            socks.append(bound_socket(family, (address[0], port) + address[2:]))
            port = socks[0].getsockname()[1]
        except NetworkError as failed_one:
            # `localhost` may stand for ::1 where there is no IPv6.
            if error is None or failed_one.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                error = failed_one
    if socks and (error is None or error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)):
        return socks
    for sock in socks:
        sock.close()
    raise ServeError('cannot listen on %s: %s' % (with_port(printable(host), port), os.strerror(error.errno)))


def bound_socket(family, address):
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        unblock(sock)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == AF_INET6:
            # `::` serves IPv4 too; any other address only itself.
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(address[0] != '::'))
        sock.bind(address)
        sock.listen(1024)
        return sock
    except NetworkError:
        sock.close()
        raise


# What was bound: a socket, its Listen, and the path and identity of the file that was made for it, if one was.
Bound = collections.namedtuple('Bound', 'sock listen file')


def bound_listeners(config):
    """A Bound for each socket that the configuration wants. Raises ServeError."""
    bound = []
    try:
        for listen in listeners(config):
            bound += [bound_unix_socket(listen)] if listen.path else [
                Bound(sock, listen._replace(port=sock.getsockname()[1]), None)
                for sock in bound_sockets(listen.host, listen.port)]
        return bound
    except ServeError:
        close_bound(bound)
        raise


def bound_unix_socket(listen):
    """Raises ServeError."""
    path, sock = socket_path(listen), socket.socket(AF_UNIX)
    try:
        remove_stale_socket(path)
        unblock(sock)
        sock.bind(path)
        os.chmod(path, int(listen.mode, 8))
        sock.listen(1024)  # last: before that nobody can connect, whatever the mode was
        return Bound(sock, listen, (path, socket_identity(path)))
    except (NetworkError, OSError) as error:
        sock.close()
        raise ServeError('cannot listen on %s: %s' % (printable(path), error.strerror or error))


def socket_path(listen):
    return path_bytes(os.path.abspath(os.path.expanduser(listen.path)))


def socket_identity(path):
    """What tells a Unix socket from another of the same path; None where there is none. The number of a file may soon
    be that of another one."""
    try:
        found = os.lstat(path)
    except OSError as error:
        if error.errno != errno.ENOENT:
            raise
        return None
    return (found.st_dev, found.st_ino, found.st_mtime) if stat.S_ISSOCK(found.st_mode) else None


def remove_stale_socket(path):
    """A socket on which nobody listens any more. Whatever else is there bind() refuses. Raises OSError."""
    if socket_identity(path) is not None:
        with contextlib.closing(socket.socket(AF_UNIX)) as probe:
            probe.setblocking(False)
            if probe.connect_ex(path) == errno.ECONNREFUSED:
                os.unlink(path)


def close_bound(bound):
    """The files that were made for them go, too, but no other that is there meanwhile."""
    for sock, _, file in bound:
        sock.close()
        try:
            if file and socket_identity(file[0]) == file[1]:
                os.unlink(file[0])
        except OSError as error:
            LOG.warning('%s cannot be removed: %s', printable(file[0]), os.strerror(error.errno))


def listen_of(sock, config):
    """The Listen that means a socket which somebody else has bound. Raises ServeError where there is none, and one of
    the others wants more than plain connections."""
    name = sock.getsockname()
    if isinstance(name, tuple):
        found = [listen for listen in listeners(config) if listen.port == name[1]]
        found = [listen for listen in found if listen.host == name[0]] or found
    else:
        found = [listen for listen in listeners(config) if listen.path and socket_path(listen) == path_bytes(name)]
    if not found and any(listen.tls or listen.proxyProtocol or listen.metrics for listen in listeners(config)):
        raise ServeError('the socket %s that was handed over is none of "listen"' % socket_text(name))
    return found[0] if found else Listen()


def unique_addresses(found):
    """Pairs (family, address) of what getaddrinfo found, in its order."""
    pairs = [(entry[0], entry[4]) for entry in found if entry[0] in (AF_INET, AF_INET6)]
    return list(collections.OrderedDict.fromkeys(pairs))


def failure_of(number):
    """The Failure of a connect that ended with this errno."""
    if number == errno.ECONNREFUSED:
        return REFUSED
    if number in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
        return NO_ROOM
    if number == errno.EADDRNOTAVAIL:
        return NO_PORT
    return TIMEOUT if number == errno.ETIMEDOUT else UNREACHABLE


# What OpenSSL says of a handshake that has failed, by X509_verify_cert_error and by its own words, and what we say.
UNVERIFIED = {3: 'is of an authority of which there is no list of revoked ones in ca', 9: 'is not yet valid',
              10: 'has expired', 18: 'is self-signed', 19: 'is signed by an unknown authority',
              20: 'is signed by an unknown authority', 21: 'is signed by an unknown authority', 23: 'has been revoked',
              26: 'is not made for servers', 62: 'is for other names', 64: 'is for other names',
              66: 'has a key that is too weak', 67: 'is signed with a key that is too weak',
              68: 'is signed in a way that is too weak'}
UNSPOKEN = ('WRONG_VERSION_NUMBER', 'UNKNOWN_PROTOCOL', 'HTTP_REQUEST', 'PACKET_LENGTH_TOO_LONG',
            'RECORD_LAYER_FAILURE', 'UNEXPECTED_MESSAGE', 'UNEXPECTED_RECORD', 'BAD_RECORD_TYPE', 'INVALID_ALERT',
            'HTTPS_PROXY_REQUEST')
TLS_REASONS = dict([(reason, 'the target does not speak TLS') for reason in UNSPOKEN], **{
    'UNSUPPORTED_PROTOCOL': 'the target and the gateway have no common version of TLS',
    'TLSV1_ALERT_PROTOCOL_VERSION': 'the target and the gateway have no common version of TLS',
    'NO_PROTOCOLS_AVAILABLE': 'the target and the gateway have no common version of TLS',
    'DH_KEY_TOO_SMALL': 'the target offers keys that are too weak',
    'SSLV3_ALERT_HANDSHAKE_FAILURE': 'the target has refused the TLS handshake; it may want a certificate',
    'TLSV13_ALERT_CERTIFICATE_REQUIRED': 'the target wants a certificate of the client (cert, key)',
    'TLSV1_ALERT_UNKNOWN_CA': "the target does not know the authority of the client's certificate",
    'TLSV1_UNRECOGNIZED_NAME': 'the target does not know this servername',
    'TLSV1_ALERT_NO_APPLICATION_PROTOCOL': 'the target speaks none of the protocols in alpn'})


def reset_by(wire):
    """RESET, with what a target has said by TLS: in version 1.3 it judges our certificate after the handshake."""
    why = getattr(wire, 'why', None) or ''
    is_told = 'ALERT' in why and why in TLS_REASONS
    return RESET._replace(message='connection reset: %s' % TLS_REASONS[why]) if is_told else RESET


def tls_failure(error):
    """The Failure of a handshake with a target that ended with this exception."""
    reason, number = tls_reason(error), getattr(error, 'verify_code', None)
    if number in UNVERIFIED or isinstance(error, ssl.CertificateError) and not number:
        said = 'the certificate of the target %s' % UNVERIFIED.get(number, 'is for other names')
    elif reason == 'CERTIFICATE_VERIFY_FAILED':
        said = 'the certificate of the target cannot be verified: it has expired, is self-signed, or is signed by an ' \
               'unknown authority' if number is None else 'the certificate of the target cannot be verified'
    elif is_ragged(error) or not isinstance(error, ssl.SSLError):
        said = TLS_CUT.message
    else:
        said = TLS_REASONS.get(reason, 'the TLS handshake with the target has failed')
    return Failure(1, 'tls', said, 'tls: %s' % (printable(reason) or said))


# ======================================================================================================================
# 11. Workers
# ======================================================================================================================
# What can only block runs in threads, as functions named blocking_x: plain values in, plain values out, and they know
# no class of ours but plain records. Each kind of work has threads of its own, so that one kind cannot starve another.


TOKEN_FILES = 1000     # of a folder of them
SETTLED_SECONDS = 2    # after its last change a file is taken to be the same while its times are
FILE_BYTES = 16777216  # of the longest file of the web folder that is served
RIGHT_PASSWORDS = 1000  # that are remembered
NOT_HERE = HttpError(404, 'There is nothing here under this name.')

# Known while it is loaded: later the working directory may be another one, or the link that led here.
THIS_FILE = os.path.realpath(__file__)
PACKED_PAGES = os.path.join(os.path.dirname(THIS_FILE), 'ws2s-js')


class Job(object):
    """A call that waits, runs or has run. A cancelled one's result goes to ``dispose``."""

    __slots__ = ('group', 'function', 'arguments', 'on_result', 'dispose', 'result', 'shares', 'queue', 'began',
                 '_workers')

    def __init__(self, workers, group, function, arguments, on_result, dispose, shares):
        self._workers, self.group, self.function, self.arguments = workers, group, function, arguments
        self.on_result, self.dispose, self.result = on_result, dispose, None
        self.shares = shares              # pairs (key, most): of those with the same key so many run at one time
        self.queue = self.began = None    # where it waits; since when it runs

    def cancel(self):
        self.on_result = None
        if self._workers.withdraw(self):
            self.throw_away()

    def come_home(self):
        """In the loop's thread, when the call has returned."""
        self._workers.on_done(self)
        on_result, self.on_result = self.on_result, None
        if on_result:
            on_result(self.result)
        else:
            self.throw_away()

    def throw_away(self):
        if self.dispose:
            self.dispose(self.result)

    def on_mistake(self):
        """The loop has logged it; whoever waited ends by its own deadline."""


class Workers(object):
    """At most ``threads`` threads, begun when needed. One group has at most half of them, and of the places to wait.

    A call that may not run yet waits in the queue of the first of its shares that is used up. What is done with a call
    does not depend on how many wait.
    """

    def __init__(self, loop, threads, waiting):
        self._loop, self.most, self._most_waiting = loop, threads, waiting
        self._threads = []
        self._ready = queue.Queue()    # of jobs for idle threads; None sends one home
        self._running = collections.Counter()  # by key of a share; None is that of all threads
        self._waiting = collections.Counter()  # by group; None is all of them
        self._queues = {}              # by key: an OrderedDict of jobs, the oldest first
        self._closed, self._rests_until = False, 0  # without new threads, which the system has refused

    def submit(self, group, function, arguments, on_result, dispose=None, shares=()):
        """Call ``function(*arguments)`` in a thread, then on_result(its result); the Job, or None when too many wait. A
        function that raises is logged and gives the Failure BROKEN. ``shares`` come before that of the group."""
        shares += (group, max(1, self.most // 2)), (None, self.most)
        job = Job(self, group, function, arguments, on_result, dispose, shares)
        if self._closed:
            job.throw_away()
        elif not self._place(job):
            if self._waiting[group] > self._most_waiting // 2 or self._waiting[None] > self._most_waiting:
                self.withdraw(job)
                return None
        return job

    def _place(self, job):
        """Is there a thread for it? Else it waits."""
        for key, most in job.shares:
            if self._running[key] >= most:
                job.queue = self._queues.setdefault(key, collections.OrderedDict())
                job.queue[job] = True
                self._waiting.update((job.group, None))
                return False
        self._running.update(key for key, _ in job.shares)
        if len(self._threads) < self._running[None] and self._loop.now >= self._rests_until:
            self._begin_thread()
        job.began = self._loop.now
        self._ready.put(job)
        return True

    def _begin_thread(self):
        thread = threading.Thread(target=self._blocking_work, name='ws2s worker')
        thread.daemon = True
        try:
            thread.start()
            self._threads.append(thread)
        except threading.ThreadError as error:  # the job waits until one that is there has done its own
            self._rests_until = self._loop.now + WARNING_SECONDS
            LOG.warning('%s: %d must do', error, len(self._threads))

    def _blocking_work(self):
        for job in iter(self._ready.get, None):
            try:
                job.result = job.function(*job.arguments)
            except Exception:
                log_mistake()
                job.result = BROKEN
            if not self._loop.post(job.come_home):
                job.throw_away()
            del job  # an idle thread must not keep what it did last

    def count_waiting(self):
        return self._waiting[None]

    def withdraw(self, job):
        """Was ``job`` still waiting? Then it is not run."""
        waits_in, job.queue = job.queue, None
        if waits_in is None:
            return False
        del waits_in[job]
        for key in (job.group, None):
            take_away(self._waiting, key)
        return True

    def on_done(self, job):
        for key, _ in job.shares:
            take_away(self._running, key)
        for key, most in reversed(job.shares):  # those whom others keep out before those who only have their share
            self._hand_out(key, most)

    def _hand_out(self, key, most):
        waiting = self._queues.get(key)
        while waiting and self._running[key] < most:
            job = next(iter(waiting))
            self.withdraw(job)
            self._place(job)  # or it waits for another share now
        if waiting is not None and not waiting:
            del self._queues[key]

    def close(self, seconds):
        """Send the threads home. One that hangs in a system call is left behind after ``seconds``; it is a daemon."""
        self._closed = True
        for waiting in list(self._queues.values()):
            for job in list(waiting):
                job.cancel()
        for _ in self._threads:
            self._ready.put(None)
        deadline = monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0, deadline - monotonic()))


def take_away(counter, key):
    """One less; strangers' keys must not add up."""
    counter[key] -= 1
    if not counter[key]:
        del counter[key]


@contextlib.contextmanager
def opened(path, flags):
    """A descriptor. Without O_NONBLOCK a named pipe would keep the thread for ever."""
    fd = os.open(path, flags | os.O_NONBLOCK | os.O_NOFOLLOW)
    try:
        close_on_exec(fd)
        yield fd
    finally:
        os.close(fd)


def read_below(folder, path, most):
    """At most ``most`` bytes of the regular file ``path`` (bytes), or None when it is not there, cannot be read, or is
    not in ``folder`` after all links have been followed (security S16)."""
    try:
        folder, path = os.path.realpath(path_bytes(folder)), os.path.realpath(path)
        if not path.startswith(os.path.join(folder, b'')):
            return None
        with opened(folder, O_PATH) as top, opened(path, os.O_RDONLY) as fd:
            # A folder on the way may have been exchanged for a link by now: what counts is what has been opened.
            if path_of(fd).startswith(os.path.join(path_of(top), b'')) and stat.S_ISREG(os.fstat(fd).st_mode):
                with io.open(fd, 'rb', closefd=False) as file:
                    return file.read(most)
    except (IOError, OSError):
        return None


def read_packed(folder, names):
    """The bytes of a file below ``folder`` in the archive (zipapp) that this module lies in, or None."""
    loader = globals().get('__loader__')
    if not hasattr(loader, 'archive') or folder != PACKED_PAGES:
        return None
    try:
        return loader.get_data(os.path.join(loader.prefix, os.path.basename(folder), *names))
    except (IOError, OSError, ImportError, UnicodeError):  # the archive is another one by now, say
        return None


PACKED_FROM, PACKED_TO = 1024, 1048576  # a shorter text gains nothing, a longer one takes too long
PACKED_BYTES = 8388608                  # of all texts that are kept packed


class Packings(object):
    """Files as readers take them: texts in their gzip form, each made once. Threads share a Packings."""

    def __init__(self):
        self._known = {}  # by digest of the text: another dict for each change

    def blocking_read(self, folder, names, in_gzip):
        """The FileForm of a file of the web folder, in gzip where it may be; or the HttpError that says why not."""
        data = blocking_read_file(folder, names)
        if isinstance(data, HttpError):
            return data
        digest = hashlib.sha256(data).hexdigest()[:32]
        if in_gzip and is_text(names[-1]) and PACKED_FROM <= len(data) <= PACKED_TO:
            return FileForm(self._pack(digest, data), '"%s-gzip"' % digest, True)
        return FileForm(data, '"%s"' % digest, False)

    def _pack(self, digest, data):
        packed = self._known.get(digest)
        if packed is None:
            packer = zlib.compressobj(9, zlib.DEFLATED, 31)  # with head and end of gzip
            packed, known = packer.compress(data) + packer.flush(), self._known
            has_room = sum(map(len, known.values())) + len(packed) <= PACKED_BYTES
            self._known = dict(known if has_room else {}, **{digest: packed})
        return packed


class Tokens(object):
    """What the file of tokens, or the folder of them, says now. Threads share a Tokens."""

    def __init__(self):
        self._known = None, {}  # the state of the files, or None, and what was found in them; changed together

    def blocking_find(self, path, token):
        """The text behind a token, None when the token is not known, or an HttpError."""
        path = path_bytes(os.path.expanduser(path))
        try:
            paths = token_paths(path)
            state = [(path, facts.st_ino, facts.st_size, facts.st_mtime, facts.st_ctime)
                     for path, facts in [(path, os.stat(path)) for path in paths]]
            known, found = self._known
            if state != known:
                found = read_tokens(paths)
                # A file that has just been written may be so again within the grain of its time.
                is_settled = all(time.time() - max(entry[3:]) > SETTLED_SECONDS for entry in state)
                self._known = state if is_settled else None, found
            return found.get(token)
        except (IOError, OSError) as error:
            return HttpError(500, 'The tokens of this gateway cannot be read: %s.' % os.strerror(error.errno))
        except ConfigError as error:
            return HttpError(500, 'The tokens of this gateway cannot be read: %s.' % error)


class Passwords(object):
    """Which passwords are right. Those that were are known at once: a browser shows its own again for each file.
    Threads share a Passwords."""

    def __init__(self):
        self._salt, self._right = os.urandom(32), set()

    def blocking_check(self, pairs):
        """Of each pair (hash in its text form, password): do they fit?"""
        return [self._fits(utf8_bytes(text_type(hashed)), password) for hashed, password in pairs]

    def _fits(self, hashed, password):
        known = hmac.new(self._salt, hashed + b'\0' + password, hashlib.sha256).digest()
        if known in self._right:
            return True
        _, rounds, salt, digest = hashed.split(b'$')
        found = hash_of_password(password, binascii.a2b_base64(salt), int(rounds))
        is_right = hmac.compare_digest(found, binascii.a2b_base64(digest)) and b'\0' not in password  # it adds nothing
        if is_right:
            self._right = (self._right if len(self._right) < RIGHT_PASSWORDS else set()) | {known}
        return is_right


def hash_of_password(password, salt, rounds):
    return hashlib.pbkdf2_hmac('sha256', password, salt, rounds)


def token_paths(path):
    """The files of tokens. A folder may have others, too: those of editors and of version control begin with a dot."""
    if not os.path.isdir(path):
        return [path]
    paths = [os.path.join(path, name) for name in sorted(os.listdir(path)) if not name.startswith(b'.')]
    paths = [path for path in paths if os.path.isfile(path)]
    if len(paths) > TOKEN_FILES:
        raise IOError(errno.E2BIG, 'too many files')
    return paths


def read_tokens(paths):
    """The lines of all files by token, of doubles the first. Raises IOError and ConfigError."""
    found = {}
    for path in paths:
        with open(path, 'rb') as file:
            text = config_text(file.read(FILE_BYTES)).lstrip(u'\ufeff')
        found.update(pair for pair in parse_tokens(text).items() if pair[0] not in found)
    return found


PARTIAL_CHAIN = 0x80000  # X509_V_FLAG_PARTIAL_CHAIN: `ca` may be the target's very certificate; new Pythons set it
# Where systems keep the authorities that they trust: Debian and Alpine, Fedora, openSUSE, macOS.
TRUST_STORES = ('/etc/ssl/certs/ca-certificates.crt', '/etc/pki/tls/certs/ca-bundle.crt', '/etc/ssl/ca-bundle.pem',
                '/etc/ssl/cert.pem')


# Without DHE: a prime of 10,000 bits, which is the target's choice, would keep the loop for a second.
TARGET_CIPHERS = 'ECDHE+AESGCM:ECDHE+CHACHA20:ECDHE+AES:!aNULL:!AESCCM'


def blocking_client_context(tls, names_itself):
    """The SSLContext for a Tls, or a Failure. ``names_itself``: does it look for the name in the certificate?"""
    try:
        context = ssl.create_default_context(cadata=tls.ca)
        allow_versions_from(context, '1.2')
        context.set_ciphers(TARGET_CIPHERS)
        if not tls.verify:
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.check_hostname = context.check_hostname and names_itself
        if tls.verify and tls.ca is None and not context.cert_store_stats()['x509_ca']:
            # This Python looks elsewhere than its system does. What it finds in a folder is counted when it is used.
            for path in [path for path in TRUST_STORES if os.path.exists(path)][:1]:
                context.load_verify_locations(path)
        if tls.alpn:
            context.set_alpn_protocols(tls.alpn)
        if tls.cert:
            with in_pipes(tls.cert, tls.key) as paths:
                context.load_cert_chain(*paths, password=no_passphrase)
        context.verify_flags |= PARTIAL_CHAIN
        if tls.ca and u'-BEGIN X509 CRL-' in tls.ca:
            with in_pipes(tls.ca) as paths:
                context.load_verify_locations(*paths)
            context.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF
        return context
    except (ssl.SSLError, ValueError, TypeError):  # TypeError: what cannot be PEM
        return UNREADABLE_PEM
    except EnvironmentError as error:  # some of OpenSSL's own come so
        return NO_ROOM if failure_of(error.errno) is NO_ROOM else UNREADABLE_PEM


UNREADABLE_PEM = Failure(1, 'tls', 'ca, cert or key in tls cannot be read, is encrypted, or does not fit')


@contextlib.contextmanager
def in_pipes(*texts):
    """Paths of texts, for what Python takes from files only: no key lies on a disk. Raises OSError."""
    ends = []
    try:
        for text in texts:
            near, far = os.pipe()
            ends.append(near)
            with os.fdopen(far, 'wb') as file:
                fcntl.fcntl(far, fcntl.F_SETFL, os.O_NONBLOCK)  # PEM_CHARACTERS fit, or it is an error
                file.write(text.encode('ascii'))
        yield ['/dev/fd/%d' % fd for fd in ends]
    finally:
        for fd in ends:
            os.close(fd)


def no_passphrase():
    """Without this OpenSSL would ask at the terminal."""
    return b''


TLS_FILES = 'tls.certificate', 'tls.key', 'tls.clientCa'


def blocking_server_context(config):
    """The SSLContext of our listeners. Raises ConfigError."""
    certificate, key, authority = [check_readable(name, config[name]) for name in TLS_FILES]
    if certificate is None:
        raise ConfigError('"listen" wants "tls", and there is no "tls.certificate"')
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    allow_versions_from(context, config['tls.minVersion'])
    what = 'tls.certificate'
    try:
        ssl.create_default_context(cafile=certificate)  # faults of certificate and key have the same words
        what = 'tls.key'
        context.load_cert_chain(certificate, key, no_passphrase)
        if authority:
            what = 'tls.clientCa'
            context.load_verify_locations(authority)
            # Where nothing else says who may come in, the authority does.
            context.verify_mode = ssl.CERT_OPTIONAL if needs_identity(config) else ssl.CERT_REQUIRED
    except (EnvironmentError, ValueError) as error:  # SSLError among them
        reason = getattr(error, 'reason', None) or ''
        fault = PEM_FAULTS.get(reason, 'this is not the PEM that it should be, or the key is encrypted (%s)' % reason)
        raise ConfigError('"%s": %s' % (what, fault))
    return context


def check_readable(name, path):
    """The path as it is opened. Raises ConfigError."""
    path = path and os.path.expanduser(path)
    try:
        if path:
            open(path).close()
        return path
    except EnvironmentError as error:
        raise ConfigError('"%s": %s: %s' % (name, printable(path), os.strerror(error.errno)))


def blocking_renew(config, known):
    """None when the files of our certificate are as ``known``; else how they are, and the SSLContext or ConfigError
    that they give."""
    state = certificate_state(config)
    if state == known:
        return None
    try:
        return state, blocking_server_context(config)
    except ConfigError as error:
        return state, error


def certificate_state(config):
    state = []
    for path in [os.path.expanduser(config[name]) for name in TLS_FILES if config[name]]:
        try:
            facts = os.stat(path)
            state.append((facts.st_ino, facts.st_size, facts.st_mtime))
        except OSError as error:
            state.append(error.errno)
    return state


PEM_FAULTS = {'KEY_VALUES_MISMATCH': 'the key does not belong to the certificate',
              'EE_KEY_TOO_SMALL': 'the key is too weak', 'NO_START_LINE': 'there is no PEM in a file'}


def blocking_read_file(folder, names):
    """The bytes of a file of the web folder, or the HttpError that says why not."""
    path = os.path.join(path_bytes(folder), *[name.encode('utf-8') for name in names])
    data = read_below(folder, path, FILE_BYTES + 1)
    data = read_packed(folder, names) if data is None else data
    if data is None:
        return NOT_HERE
    return data if len(data) <= FILE_BYTES else HttpError(500, 'This file is longer than %d bytes.' % FILE_BYTES)


# ======================================================================================================================
# 12. Dialling
# ======================================================================================================================
# The ways to a target, as steps: look-up and rules, connection, or all of it, and TLS at the end of any way. Whatever
# the gateway dials, an SSH server too, is found by a Resolver, which lets no address pass that the rules forbid, those
# of one identity among them. Nothing here knows a session.


QUICK_SECONDS = 1      # a zone is known while its names are found within so long
ZONE_LOOKUPS = 16      # under way for one address below two labels, in zones that are known; and as many in others
CLIENT_LOOKUPS = 2     # under way for one client: one that it has given up, and another
KNOWN_ZONES = 1024     # that are remembered
CONTEXTS = 64          # of TLS with the system's authorities
RACE_SECONDS = 0.25    # after which a silent address has a rival, RFC 8305 section 8
RIVALS = 5             # addresses of one target that are tried at one time: each takes a descriptor


def zone_of(host, labels):
    """The last ``labels`` labels of a name."""
    return '.'.join(host.lower().rstrip('.').split('.')[-labels:])


def literal_addresses(host, port):
    """Pairs (family, address) of an address in its standard spelling, which needs no look-up; none for a name."""
    packed = packed_address(host)
    if packed is None:
        return []
    if len(packed) == 4:
        return [(AF_INET, (address_text(packed), port))]
    return [(AF_INET6, (address_text(packed), port, 0, 0))]


def blocking_resolve(host, port):
    """Triples (family, address, canonical name) of what a name stands for, or a Failure."""
    if not PLAIN_NAME.match(host) and packed_address(host.partition('%')[0]) is None:
        return UNKNOWN_NAME  # the resolver has more spellings of a name, with backslashes, than the rules have seen
    try:
        found = socket.getaddrinfo(host, port, 0, socket.SOCK_STREAM, 0, socket.AI_CANONNAME)
        names = tuple(entry[3] for entry in found if entry[3])[:1]
        return [pair + names for pair in unique_addresses(found)[:32]] or UNKNOWN_NAME
    except (socket.gaierror, UnicodeError):  # UnicodeError: no name that DNS could carry
        return UNKNOWN_NAME if has_descriptor() else NO_ROOM
    except NetworkError as error:
        return failure_of(error.errno)


def has_descriptor():
    """Without one, looking up a name fails as if the name were not known."""
    try:
        socket.socket().close()
        return True
    except NetworkError:
        return False


# rtnetlink(7): struct nlmsghdr, struct rtmsg and one attribute, RTA_DST; of the reply its type, and that of the route.
ROUTE_REQUEST, ROUTE_REPLY = struct.Struct('=IHHIIBBBBBBBBIHH'), struct.Struct('=4xH17xB')
RTM_NEWROUTE, RTM_GETROUTE, NLM_F_REQUEST, RTA_DST = 24, 26, 1, 1
ROUTES_HERE = tuple((RTM_NEWROUTE, kind) for kind in (2, 3, 4))  # RTN_LOCAL, RTN_BROADCAST, RTN_ANYCAST

STRANGERS = {4: '198.51.100.213', 16: '2001:db8::d5'}  # RFC 5737 and 3849: addresses that nobody has


def owns_address(packed):
    """Is this one of the machine's own addresses? Raises NetworkError."""
    packed = packed[12:] if packed[:12] == MAPPED else packed  # which follows the settings of IPv4
    is_routed = is_routed_here(packed)
    # Where the routing table cannot be asked, or is not that of our sockets (a VRF): only to an address of its own does
    # a system bind a socket, unless it is set up to bind to any.
    return is_routed or can_bind(address_text(packed)) and (is_routed is None or not can_bind(STRANGERS[len(packed)]))


def is_routed_here(packed):
    """Does Linux itself take what is sent to this address? None when it cannot be asked. Raises NetworkError when there
    are no descriptors."""
    if not hasattr(socket, 'AF_NETLINK'):
        return None
    size = len(packed)
    request = ROUTE_REQUEST.pack(ROUTE_REQUEST.size + size, RTM_GETROUTE, NLM_F_REQUEST, 0, 0,
                                 AF_INET if size == 4 else AF_INET6, 8 * size, 0, 0, 0, 0, 0, 0, 0, 4 + size, RTA_DST)
    try:
        with contextlib.closing(socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)) as sock:
            sock.send(request + packed, socket.MSG_DONTWAIT)
            reply = sock.recv(ROUTE_REPLY.size, socket.MSG_DONTWAIT)  # it is there as soon as the request is sent
    except NetworkError as error:
        if failure_of(error.errno) is NO_ROOM:
            raise
        return None
    return len(reply) == ROUTE_REPLY.size and ROUTE_REPLY.unpack(reply) in ROUTES_HERE


def can_bind(text):
    """Raises NetworkError when it cannot be known: without descriptors every address would look like a stranger's."""
    try:
        with contextlib.closing(socket.socket(AF_INET6 if ':' in text else AF_INET, socket.SOCK_DGRAM)) as sock:
            sock.bind((text, 0))
        return True
    except NetworkError as error:
        if error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.EINVAL, errno.EACCES):
            raise
        return False


def is_self_connected(sock, port):
    """TCP can connect a ``port`` of this machine to itself when nothing listens there."""
    try:
        own = sock.getsockname()
        return own[1] == port and own == sock.getpeername()
    except NetworkError:  # reset meanwhile: the first read will tell
        return False


NEIGHBOURS = tuple(read_network(block) for block in (
    '10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16', '169.254.0.0/16', 'fc00::/7', 'fe80::/10'))


def connect_failure(number, address, platform=sys.platform):
    """The Failure of a connect to ``address`` that ended with this errno; on macOS the operator is told more."""
    failure, packed = failure_of(number), packed_address(address.partition('%')[0])
    if platform != 'darwin' or number != errno.EHOSTUNREACH or not any(in_network(packed, one) for one in NEIGHBOURS):
        return failure
    return failure._replace(why='unreachable; macOS may have refused it: System Settings, Privacy & Security, Local '
                                'Network tells who may reach this network, and launchd agents are not asked about')


class Step(Handler):
    """One step of a way. ``on_done(result, failure)`` is called once: never within begin(), never after cancel().

    The result is None where there is a Failure, except for a socket that its target has reset already.
    """

    pending = 0  # bytes of our own that still have to go before the step is done
    via = ''  # how the log names what stands between us and the target: '' or ' through HOST:PORT'
    _timer = None

    def __init__(self, loop, on_done):
        self._loop, self._on_done = loop, on_done

    def begin(self):
        """To begin when the turn has dispatched what is ready keeps answers out of begin()."""
        self._loop.call_soon(self.on_turn)

    def on_turn(self):
        if self._on_done is not None:  # else the step was cancelled in the turn in which it began
            self._start()

    def _start(self):
        raise NotImplementedError

    def _finish(self, result, failure):
        """The one way out, taken once. The owner hears of it last, when nothing of the step is left."""
        on_done = self._on_done
        if on_done is not None:
            self.cancel()
            on_done(result, failure)

    def fail(self, failure):
        self._finish(None, failure)

    def cancel(self):
        """Stop what is under way. May be called at any time, and again."""
        self._on_done = None
        if self._timer is not None:
            self._timer.cancel()

    def was_cut(self):
        """Has the connection that came of this step ended without a word of the target?"""
        return False

    def on_mistake(self):
        self.fail(BROKEN)


class Judge(object):
    """Which addresses this gateway dials: one that it has not allowed is never connected to (security S01).

    ``owns(packed)`` tells whether an address is one of the machine's own; ``ports`` are those on which we listen.
    """

    def __init__(self, config, owns):
        self.ports = set()
        self._owns = owns
        self.use(config)

    def use(self, config):
        """Judge by the rules of this Config from now on."""
        self._rules = TargetRules(config)
        self.judge_name = self._rules.judge_name

    def judge(self, host, port, text, *aliases):
        """The Verdict on ``text``, an address that ``host`` has resolved to under the names ``aliases``. Raises
        NetworkError when it is not known whether the machine owns the address."""
        packed = packed_address(text.partition('%')[0])
        own_port = port in self.ports
        # Where neither rule asks, the system need not be asked whose the address is.
        is_asked = own_port or not self._rules.allow_local
        own = is_asked and any(self._owns(form) for form in address_forms(packed))
        return self._rules.judge(host, port, packed, own, own_port, *aliases)


class NarrowJudge(object):
    """A Judge for one identity: what ``judge`` allows is allowed where each of the ``targets``, lists of rules, allows
    it, too. What was refused is refused for the same reason as ever."""

    def __init__(self, judge, targets):
        self._judge = judge
        self._rules = [TargetRules(dict(NO_RULES, allowTargets=rules)) for rules in targets]

    def judge(self, host, port, text, *aliases):
        verdict, packed = self._judge.judge(host, port, text, *aliases), packed_address(text.partition('%')[0])
        if verdict.allowed and not all(rules.judge_anew(host, port, packed).allowed for rules in self._rules):
            return NOT_FOR_IDENTITY
        return verdict

    def judge_name(self, host, port):
        is_hopeless = any(rules.judge_name(host, port) for rules in self._rules)
        return self._judge.judge_name(host, port) or (NOT_FOR_IDENTITY if is_hopeless else None)


NOT_FOR_IDENTITY = Verdict(False, 'this identity may not go there', 'no rule of the targets of this identity allows it')


class Resolver(object):
    """What it takes to find addresses that may be dialled.

    ``resolve(host, port)`` runs in a thread of ``workers`` and gives pairs (family, address), each with the canonical
    names behind it where they are known, or a Failure; ``judge`` is a Judge, ``sources`` are Sources.

    A look-up cannot be stopped: where a zone's servers are silent it keeps its thread for half a minute, long after its
    client has left. So each zone and each client has few threads, and zones of which nothing is known have three
    quarters of all: the names of quick ones are found however many others hang.
    """

    def __init__(self, loop, workers, resolve, judge, sources):
        self.loop, self._workers, self._resolve, self._judge, self.sources = loop, workers, resolve, judge, sources
        self._known = collections.OrderedDict()  # zones that were quick, the last one last

    def use(self, config):
        self._judge.use(config)
        self.sources.use(config)

    def narrowed(self, identity):
        """The Resolver for an Identity."""
        if not identity.targets:
            return self
        narrow = Resolver(self.loop, self._workers, self._resolve, NarrowJudge(self._judge, identity.targets),
                          self.sources)
        narrow._known = self._known
        return narrow

    def look_up(self, host, port, client, seconds, on_done):
        return Lookup(self, host, port, client, seconds, on_done)

    def submit(self, host, port, client, on_result):
        """The Job that resolves a name, or None when too many wait."""
        is_known = zone_of(host, 3) in self._known
        # Below a suffix such as co.uk lie many zones: those of one address must not stop the others' look-ups there.
        shares = (client, CLIENT_LOOKUPS), ((client[0], is_known, zone_of(host, 2)), ZONE_LOOKUPS)
        if not is_known:
            shares += (False, max(1, self._workers.most * 3 // 4)),
        return self._workers.submit(client[0], self._resolve, (host, port), on_result, shares=shares)

    def note(self, host, job, found):
        """Remember whether the name's zone is quick. ``found``: what ``job`` has found by now, if anything."""
        zone = zone_of(host, 3)
        if job.began is not None and self.loop.now - job.began > QUICK_SECONDS:
            self._known.pop(zone, None)
        elif found and not isinstance(found, Failure):
            self._known.pop(zone, None)
            self._known[zone] = True
            if len(self._known) > KNOWN_ZONES:
                self._known.popitem(last=False)

    def refusal(self, host, port):
        """The Failure of a target that the rules forbid whatever a look-up would find, or None."""
        literal = literal_addresses(host, port)
        if literal:
            return self.allowed(host, port, literal)[1]
        verdict = self._judge.judge_name(host, port)
        return verdict and forbidden(verdict.setting, verdict.why)

    def allowed(self, host, port, found):
        """``(addresses that may be dialled, None)`` of what a look-up has found, or ``(None, Failure)``.

        What is dialled is what was judged, and nothing is looked up again (security S02).
        """
        if isinstance(found, Failure) or not found:
            return None, found or UNKNOWN_NAME
        allowed, refusal = [], None
        try:
            for entry in found:
                verdict = self._judge.judge(host, port, entry[1][0], *entry[2:])
                if verdict.allowed:
                    allowed.append(entry[:2])
                else:
                    refusal = refusal or forbidden(verdict.setting, verdict.why)
        except NetworkError as error:
            return None, failure_of(error.errno)
        return (allowed, None) if allowed else (None, refusal)


class Lookup(Step):
    """The addresses of a host that may be dialled: a list of pairs (family, address), found within ``seconds``.
    ``client``: whose it is, by its address group and its number."""

    def __init__(self, resolver, host, port, client, seconds, on_done):
        Step.__init__(self, resolver.loop, on_done)
        self._resolver, self._host, self._port, self._client, self._seconds = resolver, host, port, client, seconds
        self._job = None

    def _start(self):
        literal = literal_addresses(self._host, self._port)
        if literal:
            self._finish(*self._resolver.allowed(self._host, self._port, literal))
            return
        self._timer = self._loop.call_later(self._seconds, self._on_deadline)
        self._job = self._resolver.submit(self._host, self._port, self._client, self._on_found)
        if self._job is None:
            self.fail(NO_ROOM)

    def _on_found(self, found):
        job, self._job = self._job, None
        self._resolver.note(self._host, job, found)
        self._finish(*self._resolver.allowed(self._host, self._port, found))

    def _on_deadline(self):
        self.fail(TIMEOUT)

    def cancel(self):
        Step.cancel(self)
        if self._job is not None:
            self._resolver.note(self._host, self._job, None)
            self._job.cancel()
            self._job = None


class Sources(object):
    """The machine's own addresses from which targets are connected to, by turns: each has ports of its own."""

    def __init__(self, config):
        self.use(config)

    def use(self, config):
        self._turns = {}
        for text in config['dial.sourceAddresses']:
            self._turns.setdefault(AF_INET6 if ':' in text else AF_INET, collections.deque()).append(text)

    def choices(self, family):
        """Those of this family, the one whose turn has come first; None is what the system chooses."""
        turns = self._turns.get(family)
        if not turns:
            return SYSTEM_CHOICE
        choices = tuple(turns)
        turns.rotate(-1)
        return choices


SYSTEM_CHOICE = (None,)


def bind_source(sock, text):
    """Have ``sock`` connect from the own address ``text``. The port is chosen with the target known: one port serves
    for many targets. Raises NetworkError."""
    if IP_BIND_ADDRESS_NO_PORT is not None:
        sock.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
    sock.bind((text, 0))


def check_sources(config):
    """Raises ConfigError."""
    for text in config['dial.sourceAddresses']:
        try:
            with contextlib.closing(socket.socket(AF_INET6 if ':' in text else AF_INET)) as sock:
                bind_source(sock, text)
        except NetworkError as error:
            raise ConfigError('"dial.sourceAddresses": %s is no address of this machine (%s)'
                              % (text, os.strerror(error.errno)))


def interleaved(addresses):
    """Pairs (family, address), the families by turns; that of the first one leads (RFC 8305 section 4)."""
    first = [pair for pair in addresses if pair[0] == addresses[0][0]]
    others = [pair for pair in addresses if pair[0] != addresses[0][0]]
    shorter = min(len(first), len(others))
    return [pair for both in zip(first, others) for pair in both] + first[shorter:] + others[shorter:]


class Attempt(Handler):
    """A socket on its way to one address of a Connect."""

    __slots__ = ('sock', 'events', 'address', '_loop', '_connect')

    def __init__(self, loop, connect, sock, address):
        self.sock, self.events, self.address, self._loop, self._connect = sock, 0, address, loop, connect
        loop.watch(self, WRITE)

    def on_ready(self, events):
        self._connect.on_answer(self, self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))

    def on_mistake(self):
        self._connect.on_mistake()


class Connect(Step):
    """Races addresses, for ``seconds`` in all (RFC 8305 section 5): the next one is tried when one has failed, or all
    have been silent for RACE_SECONDS. The result is a connected socket; with RESET when its target has taken the
    connection and has reset it already."""

    kind = socket.SOCK_STREAM
    _sources = Sources(DEFAULTS)

    def __init__(self, loop, addresses, seconds, on_done):
        self._loop, self._on_done = loop, on_done
        self._left, self._deadline = collections.deque(addresses), loop.now + seconds
        self._failure = UNREACHABLE  # what is told when none has answered
        self._attempts = []          # under way, the oldest first
        self._timer = self._lookup = None

    def _start(self):
        self._try_next()

    def _try_next(self):
        """Until one takes its time. None may use up the time of those after it."""
        if self._timer is not None:
            self._timer.cancel()
        is_silent = False
        while self._left and self._on_done is not None and not is_silent:
            is_silent = self._is_dialling(*self._left.popleft())
        if not self._attempts:
            self.fail(self._failure)  # or one has connected, and that is told already
        elif self._on_done is not None:
            share = max(0, self._deadline - self._loop.now) / (len(self._left) + 1)
            self._timer = self._loop.call_later(min(RACE_SECONDS, share) if self._left else share, self._on_silence)

    def _is_dialling(self, family, address):
        """Begin to connect. False when the answer is there at once, as it mostly is on this machine."""
        for source in self._sources.choices(family):
            sock, number = self._begin_from(source, family, address)
            if number in (errno.EALREADY, errno.EINPROGRESS):
                self._attempts.append(Attempt(self._loop, self, sock, address))
                return True
            if number != errno.EADDRNOTAVAIL:
                break
            self._skip(sock, number, address)
        else:
            return False
        self._on_end(sock, number, address)
        return False

    def _begin_from(self, source, family, address):
        """A socket, or None, and what connect(2) says."""
        sock = None
        try:
            sock = socket.socket(family, self.kind)
            if sock.fileno() >= most_descriptors():
                raise NetworkError(errno.EMFILE, 'the rest is for clients')
            (prepare if self.kind == socket.SOCK_STREAM else unblock)(sock)
            if source is not None:
                bind_source(sock, source)
            number = sock.connect_ex(address)
            if number == errno.EINPROGRESS:
                number = sock.connect_ex(address)  # asking again costs less than the poller
            return sock, number
        except NetworkError as error:
            return sock, error.errno

    def on_answer(self, attempt, number):
        self._attempts.remove(attempt)
        self._on_end(attempt.let_go(), number, attempt.address)
        if self._on_done is not None and (self._left or not self._attempts):
            self._try_next()

    def _on_end(self, sock, number, address):
        number = 0 if number == errno.EISCONN else number
        if number in (0, errno.ECONNRESET) and not is_self_connected(sock, address[1]):
            # A target that refuses is ECONNREFUSED: this one has accepted, and has reset the connection already.
            self._finish(sock, RESET if number == errno.ECONNRESET else None)
        else:
            self._skip(sock, number or errno.ECONNREFUSED, address)

    def _on_silence(self):
        while self._attempts and (len(self._attempts) >= RIVALS or not self._left):
            attempt = self._attempts.pop(0)
            self._skip(attempt.let_go(), errno.ETIMEDOUT, attempt.address)
        self._try_next()

    def _skip(self, sock, number, address):
        """That one address refuses tells more than that another is silent."""
        if self._failure is not REFUSED:
            self._failure = connect_failure(number, address[0])
        if sock is not None:
            sock.close()

    def cancel(self):
        Step.cancel(self)
        self._left.clear()
        if self._lookup is not None:
            self._lookup.cancel()
        while self._attempts:
            self._attempts.pop().let_go().close()


class Dial(Connect):
    """The whole way to a target that needs no tunnel: look-up, rules, connection; ``seconds`` for all of it."""

    def __init__(self, resolver, host, port, client, seconds, on_done):
        Connect.__init__(self, resolver.loop, (), seconds, on_done)
        self._resolver, self._host, self._port, self._client = resolver, host, port, client
        self._sources = resolver.sources

    def _start(self):
        literal = literal_addresses(self._host, self._port)
        if literal:
            self._on_found(*self._resolver.allowed(self._host, self._port, literal))
            return
        self._lookup = self._resolver.look_up(self._host, self._port, self._client, self._deadline - self._loop.now,
                                              self._on_found)
        self._lookup.begin()

    def _on_found(self, addresses, failure):
        self._lookup = None
        if failure is not None:
            self.fail(failure)
        else:
            self._left.extend(addresses if len(addresses) == 1 else interleaved(addresses))
            self._try_next()


class Contexts(object):
    """The SSLContexts for targets. To make one takes a thread some milliseconds: those without a secret are kept. One
    with the system's authorities takes a megabyte: there are at most CONTEXTS of these, half of them for one address
    group, besides those for which nobody asks anything special."""

    def __init__(self, workers):
        self._workers, self._known, self._large = workers, {}, weakref.WeakKeyDictionary()  # with the groups

    def find(self, tls, name, group, on_context):
        """Have ``on_context`` called with a context or a Failure: at once, or when the Job that is given is done."""
        key = tls._replace(servername=None), not needs_check(name)
        if key in self._known:
            on_context(self._known[key])
            return None

        is_usual = key[0]._replace(verify=True) == PLAIN_TLS

        def on_result(context):
            if not (tls.ca or isinstance(context, Failure)):
                if is_usual or not tls.cert and len(self._known) < CONTEXTS // 2:
                    context = self._known.setdefault(key, context)
                self._large.setdefault(context, group)
            on_context(context)

        groups = list(self._large.values())
        is_full = len(groups) >= CONTEXTS or groups.count(group) >= CONTEXTS // 2
        is_full = is_full and not (tls.ca or is_usual)
        job = None if is_full else self._workers.submit(group, blocking_client_context, key, on_result)
        if job is None:
            on_context(NO_ROOM)
        return job

    def forget(self):
        """The system's authorities may have changed."""
        self._known = {}


def needs_check(name):
    """Must we look ourselves whether a certificate names this address?"""
    return check_peer_name is not None and packed_address(name) is not None


class Handover(Step, StreamOwner):
    """The socket of a stream, when all that is queued has gone; nothing more is read. ``way``: the one by which the
    stream has come to stand, if that is still needed."""

    def __init__(self, loop, stream, way, seconds, on_done):
        Step.__init__(self, loop, on_done)
        self._stream, self._before, self._seconds, self.group = stream, way, seconds, stream.owner.group
        stream.owner = self

    def _start(self):
        self._timer = self._loop.call_later(self._seconds, self._on_deadline)
        self._stream.wire = HANDOVER
        self._stream.finish()

    @property
    def pending(self):
        return self._stream.pending

    def on_finished(self, stream):
        self._timer.cancel()
        on_done, self._on_done = self._on_done, None
        on_done(stream.let_go(), None)

    def on_unwritable(self, stream):
        self.fail(TLS_CUT)

    def _on_deadline(self):
        self.fail(TLS_SILENT)

    def cancel(self):
        Step.cancel(self)
        self._stream.close(reset=self._stream.pending > 0)
        if self._before:
            self._before.cancel()


class Secured(Step):
    """A way with TLS at its end: ``make_way(on_done)`` gives the Step that connects. The result is an SSLSocket. The
    handshake has as much time as the connect."""

    def __init__(self, loop, contexts, tls, name, group, seconds, make_way, on_done):
        Step.__init__(self, loop, on_done)
        self._contexts, self._tls, self._group, self._seconds = contexts, tls, group, seconds
        self._name = str((tls.servername or name).partition('%')[0].rstrip('.'))
        self._way = make_way(self._on_connected)
        self.via = ' with TLS%s' % self._way.via
        self._context = self._job = None

    def _start(self):
        if self.sock is None:
            self._job = self._contexts.find(self._tls, self._name, self._group, self._on_context)
        else:
            self._shake()

    @property
    def pending(self):
        return self._way.pending

    def _on_context(self, context):
        self._job = None
        if isinstance(context, Failure):
            self.fail(context)
        else:
            self._context = context
            self._way.begin()

    def _on_connected(self, sock, failure):
        self.sock = sock
        if failure is not None:
            self.fail(TLS_CUT if failure is RESET else failure)
            return
        self._timer = self._loop.call_later(self._seconds, self._on_deadline)
        self._loop.line_up(self, self._group, HEAVY)

    def _shake(self):
        is_checked_here = needs_check(self._name)
        try:
            if not isinstance(self.sock, ssl.SSLSocket):
                self.sock = secured(self._context, self.sock, False, None if is_checked_here else self._name)
            self._loop.guard.begin(self.sock)
            self.sock.do_handshake()
            if is_checked_here and self._context.verify_mode != ssl.CERT_NONE:
                check_peer_name(self.sock, self._name)
        except ssl.SSLWantReadError:
            self._loop.watch(self, READ)
        except ssl.SSLWantWriteError:
            self._loop.watch(self, WRITE)
        except (NetworkError, ValueError) as error:
            self.fail(tls_failure(error))
        else:
            self._timer.cancel()
            on_done, self._on_done = self._on_done, None
            on_done(self.let_go(), None)  # the way is there as long as the connection
        finally:
            self._loop.guard.end()

    def on_ready(self, events):
        """To verify takes a part of a millisecond: not before others' turn."""
        self._loop.watch(self, 0)
        self._loop.line_up(self, self._group, HEAVY)

    def _on_deadline(self):
        self.fail(TLS_SILENT)

    def cancel(self):
        Step.cancel(self)
        self._way.cancel()
        if self._job is not None:
            self._job.cancel()
        if self.sock is not None:
            self.let_go().close()


class DatagramDial(Dial):
    """As Dial, for UDP: what comes from elsewhere does not get through to a connected socket."""

    kind = socket.SOCK_DGRAM


# ======================================================================================================================
# 13. Tunnels
# ======================================================================================================================
# A Tunnel is one ssh process and its local ends, for one session and one login. Threads begin the process and clear up
# after it; all between is told by its standard error, which the loop reads like any socket. A local end is a Unix
# socket in a private directory, which is locked as long as we live: what a killed gateway left, the next one clears.

PRIVATE_PREFIX = 'ws2s-tunnel-'
PRIVATE_NAMES = re.compile(r'(?:%s(?:\..*)?|%s|s[0-9]+)\Z' % (CONTROL_NAME, '|'.join(
    (KEY_NAME, ASKPASS_NAME, PID_NAME, CONFIG_NAME, LEARNT_NAME))))
PRIVATE_PATH_BYTES = 80   # a Unix socket's path has room for 104; ssh itself adds 19 to this
YOUNG_SECONDS = 60        # a directory is locked long before
TUNNEL_JOBS = 2560000          # places to wait: 256 for each that ssh.maxTunnels may allow, twice what one needs
TUNNEL_THREADS = 4             # they begin ssh processes and clear up after them; none of them waits for a server
TUNNEL_IDLE_SECONDS = 10       # a tunnel without connections stays for so long, should its client connect again
TUNNEL_TARGETS = 64            # of one tunnel; each takes ssh a listening socket
TUNNEL_CHANNELS = 256          # connections of one tunnel that its server has not ended
GIVE_WAY_SECONDS = 3           # after so long a login must leave its place to a newcomer, when there is no other
LOGIN_CPU_SECONDS = 5          # of ssh until its login is done; its server and its key tell what that takes
LOGIN_LINES = 10000, 500       # of ssh's standard error until the login is done, at once and a second: banners, too
LOG_LINES = 20000, 20000       # and after it: one for 96 KiB of a download is usual, and 60 for a connection
LOG_BYTES = 2048               # one read of it: each line costs time that other clients wait
PIPE_BYTES = 65536             # what a pipe holds at most
PROMPT_BYTES = 8192            # of what ssh asks for

# What a failed look-up of the SSH server is called.
HOP_FAILURES = {UNKNOWN_NAME: SSH_UNREACHABLE, UNREACHABLE: SSH_UNREACHABLE, TIMEOUT: SSH_TIMEOUT}


class NoSshError(ConfigError):
    """The program of ``ssh.program`` cannot be run."""


def failure_to_begin(error):
    """What a client is told of an ssh that was not begun because of ``error``; the operator is told more."""
    number = getattr(error, 'errno', None)
    if isinstance(error, RequestError):
        return error.failure
    if not isinstance(error, (IOError, OSError, ConfigError)):
        log_mistake()
        return BROKEN
    if number == errno.EAGAIN or failure_of(number) is NO_ROOM:
        return NO_ROOM
    why = 'no tunnel in %s: %s %s' % (printable(temporary_folder()), os.strerror(number) if number else error,
                                      printable(getattr(error, 'filename', None) or ''))
    return (SSH_MISSING if isinstance(error, NoSshError) else SSH_FAILED)._replace(why=why)


def with_real_paths(config):
    """The Config in which paths are those that ssh, which runs in another folder, needs. Raises ConfigError."""
    keys = [key for key in ('ssh.knownHosts', 'ssh.configFile') if config[key] is not None]
    if '/' in config['ssh.program']:  # else PATH tells where it is
        keys.append('ssh.program')
    paths = {key: os.path.expanduser(config[key]) for key in keys}
    # A user without a home keeps the ~, of which a real path would make a folder of that name.
    return config.replace({key: path if path[0] == '~' else os.path.abspath(path) for key, path in paths.items()})


def check_ssh_settings(config):
    """Raise ConfigError when the operator's file of options cannot be read. What it says is the operator's affair."""
    path = with_real_paths(config)['ssh.configFile'] or os.devnull
    try:
        blocking_ssh_settings(path)
    except (IOError, OSError) as error:
        raise ConfigError('"ssh.configFile": %s: %s' % (printable(path), os.strerror(error.errno)))
    except ConfigError as error:
        raise ConfigError('"ssh.configFile": %s: %s' % (printable(path), error))


def blocking_ssh_settings(path):
    """The bytes of the operator's file of options. Raises ConfigError, or IOError when it is not there."""
    with open(path_bytes(path or os.devnull), 'rb') as file:
        data = file.read()
    config_text(data)
    return data[len(codecs.BOM_UTF8):] if data.startswith(codecs.BOM_UTF8) else data


@contextlib.contextmanager
def known_hosts_file(path):
    """The file, made where it is missing, and what is in it. No other tunnel or gateway changes it meanwhile."""
    if path[0] == '~':
        raise ConfigError('"ssh.knownHosts" is below a home, which this user has not')
    make_folder(os.path.dirname(path))
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NONBLOCK, 0o600)
    close_on_exec(fd)
    with os.fdopen(fd, 'a+b') as file:
        fcntl.flock(fd, fcntl.LOCK_EX)
        file.seek(0)
        known = file.read(KNOWN_HOSTS_BYTES + 1)
        file.seek(0, os.SEEK_END)
        yield file, known


def make_folder(path):
    try:
        os.makedirs(path, 0o700)
    except OSError:
        if not os.path.isdir(path):
            raise


def write_private(path, data, mode):
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    close_on_exec(fd)
    with os.fdopen(fd, 'wb') as file:
        file.write(data)


def key_text(hop, folders):
    """The key of a Hop, which it has as text or as a path below one of ``folders``. Raises RequestError."""
    if is_key_text(hop.key):
        return hop.key.encode('ascii')
    for folder in folders:
        data = read_below(os.path.expanduser(folder), path_bytes(hop.key), KEY_CHARACTERS)
        try:
            key = read_private_key((data or b'').decode('latin-1'))
        except RequestError:
            continue  # the same answer as for what is not there and what lies elsewhere: it must not tell them apart
        check_passphrase(key, hop.passphrase)
        return key.text.encode('ascii')
    raise RequestError(NO_SUCH_KEY.message)


def kill_group(pid):
    """End a child and all that it has begun. Only for a child that has not been reaped: the number is its own."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except OSError:  # all of them have ended
        LOG.debug('process group %d is gone', pid)


def temporary_folder():
    return os.path.abspath(os.environ.get('TMPDIR') or '/tmp')


class Child(object):
    """A running ssh and what was made for it. ``questions`` is our end of its standard input."""

    def __init__(self):
        self.directory = self.process = self.questions = self._lock = None

    def make_directory(self):
        """Private, and locked before anything is in it."""
        name = PRIVATE_PREFIX + binascii.hexlify(os.urandom(5)).decode('ascii')  # nobody can take it first
        path = plain_path(os.path.join(temporary_folder(), name))
        if len(path_bytes(path)) > PRIVATE_PATH_BYTES:
            raise ConfigError('the path of the folder for temporary files is too long')
        os.mkdir(path, 0o700)
        self.directory = path
        self._lock = os.open(path, os.O_RDONLY)
        close_on_exec(self._lock)
        fcntl.flock(self._lock, fcntl.LOCK_EX)  # another gateway may just be looking whether it is one to clear

    def path(self, name):
        return os.path.join(self.directory, name)

    def run(self, arguments, settings, key, asks):
        """``settings``: of ssh; ``key``: its text or None; ``asks``: ssh may ask for a secret."""
        write_private(self.path(CONFIG_NAME), settings, 0o600)
        if key:
            write_private(self.path(KEY_NAME), key, 0o600)
        if asks:
            write_private(self.path(ASKPASS_NAME), ASKPASS_SCRIPT, 0o700)
            if not os.access(self.path(ASKPASS_NAME), os.X_OK):
                raise ConfigError('programs cannot be run in the folder for temporary files; TMPDIR names another')
        self.questions, far = socket.socketpair()
        self.questions.setblocking(False)
        close_on_exec(self.questions.fileno())
        with contextlib.closing(far):
            self.process = spawn(arguments, self.path(ASKPASS_NAME), far)
        limit_cpu(self.process.pid, LOGIN_CPU_SECONDS)
        write_private(self.path(PID_NAME), b'%d' % self.process.pid, 0o600)

    def blocking_bury(self):
        """End ssh and remove all that was made for it; its exit status. May be called again."""
        process, questions, directory, lock = self.process, self.questions, self.directory, self._lock
        self.process = self.questions = self.directory = self._lock = None
        if process:
            kill_group(process.pid)
            process.wait()
            process.stderr.close()
        if questions:
            questions.close()
        if directory:
            remove_directory(directory)
        if lock is not None:
            os.close(lock)
        return process and process.returncode


def remove_directory(path):
    """It has no folders within. The key goes first, and without a descriptor, of which there may be none left."""
    blocking_forget_login(path)
    try:
        for name in os.listdir(path):
            os.unlink(os.path.join(path, name))
        os.rmdir(path)
    except OSError as error:
        LOG.error('ssh: the folder %s could not be removed: %s', printable(path), os.strerror(error.errno))


def blocking_forget_login(directory):
    """Remove what ssh has read for its login."""
    for name in (KEY_NAME, ASKPASS_NAME, CONFIG_NAME, LEARNT_NAME):
        try:
            os.unlink(os.path.join(directory, name))
        except OSError as error:  # none was needed, or the tunnel has ended meanwhile
            LOG.debug('no %s to remove: %s', name, os.strerror(error.errno))


def blocking_end_login(pid, directory, path, origin):
    """What the login was needed for is done: a new host key is learnt, the rest is removed. A Failure when the key may
    not be learnt."""
    try:
        limit_cpu(pid, None)
        new = read_below(directory, path_bytes(os.path.join(directory, LEARNT_NAME)), HOST_KEY_BYTES + 1)
        if not new:
            return None
        with known_hosts_file(path) as (file, known):
            line = line_to_learn(known, new, origin)
            if isinstance(line, Failure):
                return line
            file.write(line)
    except (IOError, OSError) as error:
        return failure_to_begin(error)
    finally:
        blocking_forget_login(directory)


def spawn(arguments, askpass='', stdin=None):
    """A process with nothing of ours but what it is given, in a session of its own. Raises OSError or NoSshError."""
    environment = {'PATH': os.environ.get('PATH', os.defpath), 'LC_ALL': 'C'}
    # Before OpenSSH 8.4 it is asked when there is a DISPLAY and no terminal; the new session has none.
    environment.update({'SSH_ASKPASS': askpass, 'SSH_ASKPASS_REQUIRE': 'force', 'DISPLAY': ':0'})
    try:
        with open(os.devnull, 'r+b') as null:
            process = subprocess.Popen([path_bytes(argument) for argument in arguments], env=environment, cwd='/',
                                       stdin=stdin or null, stdout=null, stderr=subprocess.PIPE, **DETACHED)
    except (IOError, OSError) as error:
        if failure_of(error.errno) is NO_ROOM or error.errno == errno.EAGAIN:
            raise
        raise NoSshError('%s cannot be run: %s (ssh.program)' % (printable(arguments[0]), os.strerror(error.errno)))
    take_back_seat(process.pid)
    take_group_along(process.pid)
    fcntl.fcntl(process.stderr, fcntl.F_SETFL, fcntl.fcntl(process.stderr, fcntl.F_GETFL) | os.O_NONBLOCK)
    return process


def limit_cpu(pid, seconds):
    """End a process that has used so many seconds of CPU time; None: however many. Only on Linux, from Python 3.4 on,
    can such a limit be lifted from outside when the login is done; elsewhere there is none."""
    if not hasattr(resource, 'prlimit'):
        return
    try:
        _, most = resource.prlimit(pid, resource.RLIMIT_CPU)
        is_set = seconds and (most == resource.RLIM_INFINITY or seconds < most)
        resource.prlimit(pid, resource.RLIMIT_CPU, (seconds if is_set else most, most))
        resource.prlimit(pid, resource.RLIMIT_CORE, (0, 0))  # its end by this limit would leave a core with secrets
    except OSError as error:
        LOG.debug('ssh: no limit of CPU time for process %d: %s', pid, os.strerror(error.errno))  # it has ended


def take_group_along(pid):
    """Where Linux shares the CPU between sessions, niceness counts within one alone, and each has a niceness itself."""
    try:
        with open('/proc/%d/autogroup' % pid, 'w') as file:
            file.write('%d' % NICENESS)
    except (IOError, OSError) as error:  # there is no such thing; it takes ten in a second; the process has ended
        LOG.debug('ssh: no niceness for the session of process %d: %s', pid, os.strerror(error.errno))


def blocking_open_tunnel(config, hop, address, target, seconds):
    """A Child whose ssh dials ``address``, logs in at ``hop`` and will forward to ``target``, or a Failure."""
    child = Child()
    try:
        if config['ssh.hostKeyChecking'] == 'accept-new':
            with known_hosts_file(config['ssh.knownHosts']) as (_, known):
                if not has_room_for_key(known, key_origin(address)):  # who is to be refused later gets no password now
                    config = config.replace({'ssh.hostKeyChecking': 'yes'})
        key = hop.key and key_text(hop, config['ssh.keyDirectories'])
        child.make_directory()
        settings = path_bytes(tunnel_lines(hop, address, child.directory, target))
        settings += blocking_ssh_settings(config['ssh.configFile'])
        arguments = tunnel_arguments(config, hop, seconds, child.directory)
        child.run(arguments, settings, key, hop.password or hop.passphrase)
        return child
    except Exception as error:
        child.blocking_bury()
        return failure_to_begin(error)


def blocking_ask_for_forward(config, directory, number, target):
    """A Child that tells the ssh of ``directory`` to listen for one more target, or a Failure."""
    child = Child()
    try:
        line = path_bytes(forward_line(directory, number, target))
        child.process = spawn(forward_arguments(config, directory), stdin=subprocess.PIPE)
        with child.process.stdin as file:
            file.write(line)  # far less than a pipe holds
        return child
    except Exception as error:
        child.blocking_bury()
        return failure_to_begin(error)


def bury_result(result):
    """For what a job has brought when there is no loop any more."""
    if isinstance(result, Child):
        result.blocking_bury()


def clear_leftovers():
    """Remove what gateways have left that were killed: their private directories, and the ssh that goes with each."""
    try:
        folder = temporary_folder()
        names = os.listdir(folder)
    except (IOError, OSError) as error:
        LOG.warning('ssh: no folder for temporary files: %s', os.strerror(error.errno))
        return
    for name in names:
        if name.startswith(PRIVATE_PREFIX):
            try:
                clear_leftover(os.path.join(folder, name))
            except (IOError, OSError) as error:  # it lives, or has gone meanwhile, or is not ours
                LOG.debug('%s stays: %s', printable(name), os.strerror(error.errno))


def clear_leftover(path):
    """Raises IOError or OSError when it is in use."""
    status = os.lstat(path)
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o77:
        return
    lock = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        names = os.listdir(path)
        is_young = not names and time.time() - status.st_mtime < YOUNG_SECONDS  # it may be about to get its own lock
        if not is_young and all(PRIVATE_NAMES.match(name) for name in names):
            LOG.info('clearing %s, which a killed gateway left', printable(path))
            end_orphan(path)
            remove_directory(path)
    finally:
        os.close(lock)


def end_orphan(path):
    """Kill the ssh of a directory, if it still runs. Its arguments tell that it is the one: they name the directory."""
    try:
        with open(os.path.join(path, PID_NAME), 'rb') as file:
            pid = int(file.read(20))
    except (IOError, ValueError):
        return
    if pid > 1 and path_bytes(path) in command_line(pid):
        kill_group(pid)


def command_line(pid):
    """The arguments of a process, as bytes; empty when there is no such process."""
    try:
        with open('/proc/%d/cmdline' % pid, 'rb') as file:
            return file.read()
    except (IOError, OSError):
        if os.path.isdir('/proc/self'):
            return b''
    process = subprocess.Popen(['ps', '-ww', '-o', 'command=', '-p', '%d' % pid], stdout=subprocess.PIPE)
    return process.communicate()[0]


class Feed(Handler):
    """What comes from a child: ``on_data(bytes)`` gets it as it comes, and empty bytes at the end."""

    def __init__(self, loop, sock, on_data, group=b''):
        self.sock, self._loop, self._on_data, self._group = sock, loop, on_data, group
        loop.touch(self)

    def on_ready(self, events):
        self._loop.line_up(self, self._group, HEAVY)  # a server may have its ssh say much

    def on_turn(self):
        self.read()

    def read(self):
        """False when there was nothing to read, or nothing will come any more."""
        if self.sock is None:
            return False
        try:
            data = os.read(self.sock.fileno(), LOG_BYTES)
        except OSError as error:
            if is_not_ready(error):
                return False
            data = b''
        if not data:
            self.close()
        self._on_data(data)
        return bool(data)

    def settle(self):
        if self.sock is not None:
            self._loop.watch(self, READ)

    def close(self):
        """The descriptor stays open: it belongs to the Child."""
        if self.sock is not None:
            self.let_go()

    def on_mistake(self):
        self._on_data.__self__.on_mistake()


class Ssh(object):
    """A running ssh as the loop sees it: what it says, what it asks, and its channels. ``owner`` gets on_ready() when
    the login is done, on_question(bytes) before that, and on_ended(Failure). ssh tells of a new channel by its number
    alone. So Forwards are connected one after the other, and the channel that begins next is that of the first in the
    row."""

    def __init__(self, loop, group, child, owner):
        self.child, self.owner, self._loop = child, owner, loop
        self.is_connected = self._is_ready = False  # to its server; logged in there
        self._fault, self._complaint = None, ''      # why it ends, as far as it has said
        self._lines, self._rate, self._question = LineParser(), LogRate(*LOGIN_LINES), b''
        self._row = collections.deque()  # pairs (Forward, path); the first is connected, and ssh has not taken it yet
        self._channels = {}              # by ssh's number: Forwards whose target is being dialled, or stands
        self._log = Feed(loop, child.process.stderr, self._on_log, group)
        self._questions = Feed(loop, child.questions, self._on_question, group)

    def _on_log(self, data):
        lines = self._lines.receive(data)
        for event in read_ssh_lines(lines):
            self.ON_EVENT[type(event)](self, event)
            if self.owner is None:
                return  # that line was the end
        if not data:
            self.owner.on_ended(self._fault or SSH_FAILED._replace(why=self._complaint))
        elif not self._rate.passes('ssh', self._loop.now, lines.count('\n')):
            self.owner.on_ended(SSH_FAILED)  # each line takes time from other clients, and a server may say many

    def catch_up(self):
        """Read what it has said up to now: no more than a pipe holds."""
        for _ in range(PIPE_BYTES // LOG_BYTES + 1):
            if not self._log.read():
                return

    def _on_connected(self, event):
        self.is_connected = True

    def _on_fault(self, event):
        self._fault = self._fault or event.failure

    def _on_complaint(self, event):
        if not self.is_connected:  # later it could be the server's words, which do not belong in a log
            name = 'ssh.configFile (below %d lines of ws2s)' % OUR_LINES
            self._complaint = self._complaint or printable(event.text.replace(self.child.path(CONFIG_NAME), name))

    def _on_ready(self, event):
        if not self._is_ready:
            self._is_ready, self._rate = True, LogRate(*LOG_LINES)
            self._fault = None  # of a way to log in that was of no use
            self._questions.close()
            self.child.questions.close()
            self.owner.on_ready()

    def _on_begun(self, event):
        if self._row:
            forward, _ = self._row.popleft()
            self._channels[event.number] = forward
            forward.is_taken = True
            self._connect_first()

    def _on_opened(self, event):
        if event.number in self._channels:
            self._channels[event.number].on_opened()

    def _on_channel_ended(self, event):
        if event.number in self._channels:
            self._channels.pop(event.number).is_ended = True

    def _on_failed(self, event):
        if event.number in self._channels:
            self._channels.pop(event.number).fail(event.failure)

    ON_EVENT = {SshConnected: _on_connected, SshFault: _on_fault, SshComplaint: _on_complaint, SshReady: _on_ready,
                ChannelBegun: _on_begun, ChannelOpened: _on_opened, ChannelFailed: _on_failed,
                ChannelEnded: _on_channel_ended}

    def _on_question(self, data):
        self._question += data
        question, end, rest = self._question.partition(b'\0')
        if len(question) > PROMPT_BYTES:
            self.owner.on_ended(SSH_FAILED)
        elif end:
            self._question = rest
            self.owner.on_question(question)

    def answer(self, secret):
        try:
            self.child.questions.sendall(secret + b'\n')  # far less than a socket holds
        except NetworkError:  # whoever asked has gone
            self.owner.on_ended(SSH_FAILED)

    def connect(self, forward, path):
        """Connect ``forward`` to the local socket at ``path``, when those before it have been taken."""
        self._row.append((forward, path))
        if len(self._row) == 1:
            self._connect_first()

    def _connect_first(self):
        while self._row and not self._row[0][0].connect(self._row[0][1]):
            self._row.popleft()

    def count(self):
        """Connections that the server has not ended, those among them that ssh has not taken yet."""
        return len(self._row) + len(self._channels)

    def close(self):
        """Listen to it no more. The Child, which is to be buried."""
        self.owner = None
        self._log.close()
        self._questions.close()
        return self.child

    def on_mistake(self):
        if self.owner is not None:
            self.owner.on_ended(BROKEN)


class Login(Step):
    """From the look-up of an SSH server to a login there, within ``ssh.timeoutSeconds``. The result is an Ssh."""

    def __init__(self, tunnel, resolver, hop, target, on_done):
        Step.__init__(self, tunnel.loop, on_done)
        self._tunnel, self._hop, self._target = tunnel, hop, target
        self._password = hop.password  # until it is shown
        seconds = tunnel.config['ssh.timeoutSeconds']
        self._deadline, self._timer = self._loop.now + seconds, self._loop.call_later(seconds, self._on_deadline)
        self._lookup = resolver.look_up(hop.host, hop.port, tunnel.client, seconds, self._on_found)
        self._addresses, self._address = collections.deque(), None
        self._opening = self._ssh = None

    def _start(self):
        self._lookup.begin()

    def _on_found(self, addresses, failure):
        if failure:
            self.fail(HOP_FAILURES.get(failure, failure))
        else:
            self._addresses.extend(address[0] for _, address in addresses)
            self._try_next()

    def _try_next(self):
        """A silent address must not use up the time of those after it."""
        share = max(0, self._deadline - self._loop.now) / len(self._addresses)
        self._address = self._addresses.popleft()
        arguments = self._tunnel.config, self._hop, self._address, self._target, share
        self._opening = self._tunnel.submit(blocking_open_tunnel, arguments, self._on_begun)

    def _on_begun(self, result):
        self._opening = None
        if isinstance(result, Failure):
            self.fail(result)
        elif self._on_done is None:  # cancelled meanwhile
            self._tunnel.bury(result)
        else:
            self._ssh = Ssh(self._loop, self._tunnel.group, result, self)

    def on_question(self, question):
        """Only ssh itself gets the passphrase: any other question may be the server's."""
        if is_for_key(question, self._ssh.child.directory):
            self._ssh.answer(self._hop.passphrase or b'')
            return
        refusal = refusal_of(question, self._hop.username)
        if refusal is None and self._password:
            password, self._password = self._password, None
            self._ssh.answer(password)
        else:
            self.fail(refusal or SSH_AUTH)  # asked again, it was wrong; a server must not be given a second word

    def on_ready(self):
        """Logged in. A server whose key has not been written down is not used."""
        child, config = self._ssh.child, self._tunnel.config
        arguments = child.process.pid, child.directory, config['ssh.knownHosts'], key_origin(self._address)
        self._tunnel.submit(blocking_end_login, arguments, self._on_learnt)

    def _on_learnt(self, failure):
        if failure:
            self.fail(failure)
        elif self._on_done is not None:
            ssh, self._ssh = self._ssh, None
            self._finish(ssh, None)

    def on_ended(self, failure):
        is_connected = self._ssh.is_connected
        self._bury()
        if self._addresses and not is_connected and failure in (SSH_UNREACHABLE, SSH_TIMEOUT):
            self._try_next()
        else:
            self.fail(failure)

    def _bury(self):
        if self._ssh is not None:
            self._tunnel.bury(self._ssh.close())
            self._ssh = None

    def _on_deadline(self):
        self.fail(SSH_TIMEOUT)

    def cancel(self):
        """Stop what is under way, and forget the secrets."""
        Step.cancel(self)
        self._hop = self._password = None
        self._lookup.cancel()
        if self._opening is not None:
            self._tunnel.withdraw(self._opening)
            self._opening = None
        self._bury()


class LocalEnd(object):
    """A Unix socket on which ssh listens for one target, and the Forwards that wait until it does. The first one stands
    in ssh's own arguments; for each other a short ssh tells the tunnel's own to listen."""

    def __init__(self, tunnel, number, target):
        self._tunnel, self._number, self._target = tunnel, number, target
        self._is_open, self._waiting = False, []
        self._child = self._feed = None  # of the short ssh

    def add(self, forward):
        if self._is_open:
            self._tunnel.ssh.connect(forward, local_path(self._tunnel.directory, self._number))
        else:
            self._waiting.append(forward)

    def begin(self):
        """The login is done."""
        if self._number == 1:
            self._on_answer(None)
        else:
            arguments = self._tunnel.config, self._tunnel.directory, self._number, self._target
            self._tunnel.submit(blocking_ask_for_forward, arguments, self._on_begun)

    def _on_begun(self, result):
        if isinstance(result, Failure):
            self._on_answer(result)
        elif self._tunnel.state == DOWN:
            self._tunnel.bury(result)
        else:
            self._child = result
            self._feed = Feed(self._tunnel.loop, result.process.stderr, self._on_data, self._tunnel.group)

    def _on_data(self, data):
        """What the short ssh says does not matter, its exit status does."""
        if not data:
            child, self._child = self._child, None
            self._tunnel.bury(child, lambda status: self._on_answer(None if status == 0 else SSH_FAILED))

    def _on_answer(self, failure):
        self._is_open = not failure
        if failure:
            self._tunnel.forget(self._target)  # the next who wants to go there asks anew
        waiting, self._waiting = self._waiting, []
        for forward in waiting:
            if failure:
                forward.fail(failure)
            else:
                self.add(forward)

    def close(self):
        if self._child is not None:
            self._feed.close()
            self._tunnel.bury(self._child)
            self._child = None

    def on_mistake(self):
        self._tunnel.on_mistake()


# Standing: it takes connections. After `down` ssh is ended and buried.
LOGGING_IN, STANDING, DOWN = 'logging in', 'standing', 'down'
TUNNEL_MOVES = {LOGGING_IN: (STANDING, DOWN), STANDING: (DOWN,), DOWN: ()}


class Tunnel(object):
    """One ssh and its local ends, for one session, one SSH server and one login there. Forwards join it before or after
    the login, each is called back, and leaves in the end. It stays for a while without any, and not longer than its
    session."""

    def __init__(self, tunnels, logins, hop, digest, target):
        self.state, self.group, self.digest = LOGGING_IN, logins.group, digest  # of the login
        self.client = logins.group, logins.number  # as look-ups count it
        self.loop, self.config = tunnels.loop, tunnels.config  # by its rules the server is judged
        self.begun = self.loop.now
        self.ssh = self.directory = self._idle = None
        self._tunnels, self._logins = tunnels, logins
        self._forwards, self._jobs = set(), 0
        self._ends, self._numbers = {}, itertools.count(1)  # LocalEnds by target
        self._login = Login(self, logins.resolver, hop, target, self._on_login)
        self._add_end(target)
        self._login.begin()

    def _move(self, state):
        assert state in TUNNEL_MOVES[self.state], (self.state, state)
        self.state = state

    def _on_login(self, ssh, failure):
        if failure:
            self.fail(failure)
            return
        self._move(STANDING)
        self.ssh, self.directory, ssh.owner = ssh, ssh.child.directory, self
        LOG.debug('#%d has logged in', self._logins.number)
        for forward in self._forwards:
            forward.on_login(self._tunnels.config['limits.connectSeconds'])
        for end in list(self._ends.values()):
            end.begin()
        self._check_used()

    def takes(self, target):
        """Can one more go through to ``target``?"""
        return (self.state != DOWN and self.config is self._tunnels.config
                and (self.ssh.count() if self.ssh else len(self._forwards)) < TUNNEL_CHANNELS
                and (target in self._ends or len(self._ends) < TUNNEL_TARGETS))

    def join(self, forward):
        self._forwards.add(forward)
        if self._idle:
            self._idle.cancel()
        if self.state == STANDING:
            forward.on_login(self._tunnels.config['limits.connectSeconds'])
        if forward.target not in self._ends:
            self._add_end(forward.target)
        self._ends[forward.target].add(forward)

    def _add_end(self, target):
        end = self._ends[target] = LocalEnd(self, next(self._numbers), target)
        if self.state == STANDING:
            end.begin()

    def forget(self, target):
        """No local end leads there, after all."""
        self._ends.pop(target, None)

    def leave(self, forward):
        """It needs the tunnel no more. May be called again."""
        if forward in self._forwards:
            self._forwards.remove(forward)
            self._check_used()

    def _check_used(self):
        if self._logins.is_closed:
            self.end_if_unused()
        elif not self._forwards and self.state == STANDING:
            self._idle = self.loop.call_later(TUNNEL_IDLE_SECONDS, self.end_if_unused)

    def end_if_unused(self):
        if not self._forwards:
            self.end()

    def submit(self, function, arguments, on_result=None, dispose=bury_result):
        """A Job: there is always a place for one."""
        def on_done(result):
            self._jobs -= 1
            try:
                if on_result:
                    on_result(result)
            finally:
                self._check_gone()

        job = self._tunnels.workers.submit(self.group, function, arguments, on_done, dispose)
        assert job is not None
        self._jobs += 1  # on_done comes in a later turn
        return job

    def withdraw(self, job):
        """What has not been begun need not be."""
        self._jobs -= self._tunnels.workers.withdraw(job)

    def bury(self, child, on_status=None):
        kill_group(child.process.pid)  # now, however long the threads have other things to do
        self.submit(child.blocking_bury, (), on_status, lambda result: child.blocking_bury())

    def fail(self, failure):
        """The one way out: what waits fails with ``failure``; what flows sees that its socket closes."""
        if self.state == DOWN:
            return
        self._move(DOWN)
        self._tunnels.tell(failure.why)
        self._login.cancel()
        if self._idle:
            self._idle.cancel()
        if self.ssh:
            self.bury(self.ssh.close())
        for end in self._ends.values():
            end.close()
        self._logins.forget(self)
        for forward in list(self._forwards):
            forward.fail(failure)
        self._check_gone()

    def _check_gone(self):
        """Its place among ssh.maxTunnels is free when nothing of it is left."""
        if self.state == DOWN and not self._jobs:
            self._tunnels.tunnels.discard(self)

    on_ended = fail  # of the Ssh

    def end(self):
        self.fail(SSH_FAILED)

    def on_mistake(self):
        self.fail(BROKEN)


class Forward(Step):
    """One way through a tunnel to a target. The result is a connected local socket, which does not block. It uses the
    tunnel until cancel(), also when it is done."""

    def __init__(self, tunnels, logins, hop, host, port, on_done):
        Step.__init__(self, tunnels.loop, on_done)
        self.target, self.via = (host, port), ' through %s' % with_port(hop.host, hop.port)
        self._logins, self._hop = logins, hop
        self._tunnel = None
        self.is_taken = False  # by ssh, which dials the target now
        self.is_ended = False  # by the target, as ssh has told

    def _start(self):
        hop, self._hop = self._hop, None
        tunnel = self._logins.tunnel_for(hop, self.target)
        if isinstance(tunnel, Failure):
            self.fail(tunnel)
        else:
            self._tunnel = tunnel
            tunnel.join(self)

    def on_login(self, seconds):
        """The tunnel stands: from now on it is the target's time."""
        self._timer = self._loop.call_later(seconds, self._on_deadline)

    def _on_deadline(self):
        if self.is_taken:
            self.fail(TIMEOUT)
        else:
            self._tunnel.end()  # ssh hangs: it has not even taken the connection, or our wish for one

    def connect(self, path):
        """Connect to ssh's local socket, which takes it before the target is dialled; false when that fails."""
        if self._on_done is None:
            return False
        try:
            self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self.sock.setblocking(False)
            close_on_exec(self.sock.fileno())
            self.sock.connect(path)
            return True
        except NetworkError as error:
            if failure_of(error.errno) is NO_ROOM:
                self.fail(NO_ROOM)
            else:
                # The tunnel is of no use to anybody any more.
                self._tunnel.fail(SSH_FAILED._replace(why='its local socket: %s' % os.strerror(error.errno)))
            return False

    def on_opened(self):
        """The target stands. What is told of it twice, or of one that was given up, changes nothing."""
        sock, on_done = self.sock, self._on_done
        self.sock = self._on_done = None
        self._timer.cancel()
        if on_done is not None:
            on_done(sock, None)

    def was_cut(self):
        """As of every Step. ssh tells that the target has ended it before it closes our socket."""
        self._tunnel.ssh.catch_up()
        return not self.is_ended

    def cancel(self):
        Step.cancel(self)
        if self.sock is not None:
            self.sock.close()
            self.sock = None
        if self._tunnel is not None:
            self._tunnel.leave(self)


class Logins(object):
    """The tunnels of one session, which shares them with no other. ``group`` is that of its client in limits,
    ``number`` what logs call it; ``resolver`` finds SSH servers. After close(), ``is_closed``: it opens nothing."""

    __slots__ = ('group', 'number', 'resolver', 'is_closed', '_tunnels', '_mine')

    def __init__(self, tunnels, group, number, resolver):
        self.group, self.number, self.resolver, self.is_closed = group, number, resolver, False
        self._tunnels, self._mine = tunnels, []

    def forward(self, hop, host, port, on_done):
        """A Forward to ``host`` (a plain one) and ``port`` by a login at the Hop, which may stand already."""
        return Forward(self._tunnels, self, hop, host, port, on_done)

    def tunnel_for(self, hop, target):
        """The Tunnel that takes one more to ``target``, or a Failure."""
        config = self._tunnels.config
        if not config['ssh.enabled']:
            return SSH_DISABLED
        if hop.key and not is_key_text(hop.key) and not config['ssh.keyDirectories']:
            return NO_SUCH_KEY
        digest = login_digest(hop, self._tunnels.salt)
        for tunnel in self._mine:
            if tunnel.digest == digest and tunnel.takes(target):
                return tunnel
        self._end_unused()
        tunnel = self._tunnels.open(self, hop, digest, target)
        if tunnel is None:
            return NO_ROOM
        self._mine.append(tunnel)
        return tunnel

    def forget(self, tunnel):
        self._mine.remove(tunnel)

    def _end_unused(self):
        for tunnel in list(self._mine):
            tunnel.end_if_unused()

    def close(self):
        """The session opens nothing more: tunnels without Forwards end now, the others when their last one has left."""
        self.is_closed = True
        self._end_unused()


class Tunnels(object):
    """All tunnels of a gateway, their threads and their number. ``tunnels``: those whose ssh may still be there."""

    def __init__(self, loop, config):
        self.loop, self.tunnels = loop, set()
        self.workers = Workers(loop, TUNNEL_THREADS, TUNNEL_JOBS)
        self.salt, self._rate = os.urandom(16), LogRate(1, 1 / WARNING_SECONDS)
        self.use(config)

    def use(self, config):
        """Go on with another Config. A tunnel that stands lives on, but takes no more."""
        self.config = with_real_paths(config)

    def tell(self, why):
        """What the operator should know, once in a while: strangers can have it happen all the time."""
        if why and self._rate.passes('ssh', self.loop.now):
            LOG.error('ssh: %s', why)

    def open(self, logins, hop, digest, target):
        """A Tunnel that begins to log in, or None when there are too many."""
        if not self._make_place(logins.group):
            return None
        tunnel = Tunnel(self, logins, hop, digest, target)
        self.tunnels.add(tunnel)
        return tunnel

    def _make_place(self, group):
        """Is there a place for one more of ``group``? One address has half of ssh.maxTunnels. Where there is none, a
        login under way gives way, the oldest one of those that have most of them: at once to others than its group when
        that has more than a quarter of the places for its logins, else after a while. One that is done never does."""
        most = self.config['ssh.maxTunnels']
        logins = [tunnel for tunnel in self.tunnels if tunnel.state == LOGGING_IN]
        of_all, of_logins = (collections.Counter(tunnel.group for tunnel in some) for some in (self.tunnels, logins))
        has_share = of_all[group] >= (most + 1) // 2
        if len(self.tunnels) < most and not has_share:
            return True
        ready = [tunnel for tunnel in logins if self.loop.now - tunnel.begun > GIVE_WAY_SECONDS
                 or tunnel.group != group and of_logins[tunnel.group] > max(1, most // 4)]
        if has_share:
            ready = [tunnel for tunnel in ready if tunnel.group == group]
        if ready:
            # By the number of its client, too: a clock may tick slower than logins begin.
            victim = max(ready, key=lambda tunnel: (of_logins[tunnel.group], -tunnel.begun, -tunnel.client[1]))
            victim.fail(SSH_TIMEOUT)
            self.tunnels.discard(victim)  # the newcomer does not wait until the threads have cleared up
        return bool(ready)

    def end(self):
        """End them all. They are gone from ``tunnels`` when the threads have cleared up."""
        for tunnel in list(self.tunnels):
            tunnel.end()

    def close(self, seconds):
        self.workers.close(seconds)


# ======================================================================================================================
# 14. Gateway
# ======================================================================================================================
# A client's TCP connection has three phases, a class each: a Visit asks, a Session is the WebSocket, a Farewell waits
# for the peer's end. Who it is that asks an Admission finds out. A Conversation is a session's dialect with its
# Upstreams, each of which is our side of one connection to a target. The Gateway owns them all, with listeners, limits
# and counts: two in one process work.
#
# Each has a few named states, their legal moves in one table, and one way out: end(), which may be called twice.

HANDSHAKE_BYTES = HEADER_BYTES + SMALL_RECEIVE  # messages may come behind a request
QUICK_FRAMES = 2               # of a read are understood at once
FRAMES = 16                    # in each turn of the rest
LINGER_BYTES = 16777216        # what a closing peer may still send before it is cut off
SPREAD = 100.0                 # parts of a period in which clients get what all would get at once
SPARE_LEAST = 16               # of them from one address, and two for each WebSocket it may have; pages need some
SPARE_CONNECTIONS = 64         # beyond `limits.clients`, for /healthz and for saying no politely
DRAINING_CONNECTIONS = 1000    # TCP connections without a client that still deliver what it had sent
LOOKUP_THREADS = 384           # they take 25 KB each, and most are begun only when many names hang
LOOKUPS_WAITING = 1024
FILE_THREADS = 2
FILES_WAITING = 1024
PASSWORD_THREADS = 2
PASSWORDS_WAITING = 64
STALL_SECONDS = 30             # a reader that takes nothing of a file for so long is dropped
GOODBYE_SECONDS = 0.7          # for the last bytes and the Close of those who were open to the end of a drain
GIVE_UP_SECONDS = 5            # for threads that hang when everything else has ended
DATAGRAM_SECONDS = 60          # without a datagram either way, and the target is given up: nothing tells of its end

HANDSHAKE_RECORD = b'\x16'     # the first byte of whoever speaks TLS
PEM_WEIGHT = 4                 # bytes that OpenSSL takes for each of a client's PEM
RENEWAL_SECONDS = 20           # between looks at the files of our certificate

DIALLING, FLOWING, DRAINING, ENDED = 'dialling', 'flowing', 'draining', 'ended'

# draining: the client has let go; what it had sent still goes to the target, what comes from there is thrown away.
# From flowing to dialling: for TLS from here on.
UPSTREAM_MOVES = {DIALLING: (FLOWING, ENDED), FLOWING: (DIALLING, DRAINING, ENDED), DRAINING: (ENDED,), ENDED: ()}


def stream_to_target(gateway, sock, upstream, high):
    if upstream.is_udp:
        return Datagrams(gateway.loop, sock, upstream)
    stream = Stream(gateway.loop, sock, upstream, high, gateway.budget)
    if isinstance(sock, ssl.SSLSocket):
        stream.wire = TlsWire(False, gateway.loop.guard)
    return stream


class Upstream(StreamOwner, Holder):
    """Our side of one connection to a target.

    What is written before the target stands is kept here. ``prefix``: what stands before each read of the target in the
    message that the client gets of it, or None when the dialect wants to see the data. ``credit``: bytes that the
    client may still be sent, None for any number.
    """

    __slots__ = ('channel', 'group', 'state', 'stream', 'name', 'host', 'weight', 'sent', 'received', 'credit',
                 'is_udp', 'way', '_gateway', '_talk', '_number', '_half_open', '_prefix', '_window', '_timer', '_born',
                 '_early', '_discarded', '_tally', '_kind')

    def __init__(self, gateway, talk, action):
        self.channel, self.state, self.stream, self.credit = action.channel, DIALLING, None, action.window
        self.group, self._number = talk.session.group, talk.session.number
        self._gateway, self._talk, self._prefix, self._window = gateway, talk, action.prefix, action.window
        self._tally, self._kind = talk.tally, None
        self.is_udp, self.host, self._half_open = action.udp, action.host, action.half_open
        self.name = 'udp ' * self.is_udp + with_port(printable(action.host), action.port)
        self.sent = self.received = self._discarded = 0
        self.weight = 0  # bytes that TLS holds for it, beyond what every connection takes
        self._timer = self._early = self.way = None
        gateway.upstreams.add(self)

    def dial(self, way, kind, is_new):
        """Take the way, a Step whose on_done is on_dialled(), in the row: nobody's connects delay what flows. A stream
        that is there already is the way's now."""
        if self.stream:
            self._move(DIALLING)
            self.stream = None
        self._kind, self._born = kind, self._gateway.loop.now
        self.way, self.name = way, self.name + way.via
        self._gateway.loop.line_up(way, self.group, NEW if is_new else HEAVY)

    def _move(self, state):
        assert state in UPSTREAM_MOVES[self.state], (self.state, state)
        self.state = state

    def on_dialled(self, sock, failure):
        """The way has come to its end: a connected socket, which may be RESET already, or a Failure."""
        seconds = self._gateway.loop.now - self._born
        self._gateway.counts.note_dial(self._kind, seconds, failure if sock is None else None)
        if sock is None:
            self.way = None
            self._gateway.journal.tell(self.group, self._number, 'did not reach %s in %.3f s: %s', self.name, seconds,
                                       failure.why or failure.reason)
            talk = self._talk
            self.end()
            if talk:
                talk.on_failed(self, failure)
            return
        self._gateway.journal.tell(self.group, self._number, 'reached %s in %.3f s', self.name, seconds)
        self._move(FLOWING)
        self.way = self.way if self.way.via else None
        # A dialect that gives credit hears of every byte that has gone: its upstreams are full with the first.
        high = 1 if self._talk and self._talk.dialect.credits else self._gateway.config['limits.bufferBytes']
        self.stream = stream_to_target(self._gateway, sock, self, high)
        if failure is RESET:
            self.stream.broken = True
        if self._early:
            early, self._early = self._early, None
            self._gateway.budget.bytes -= sum(map(len, early))
            self.sent = self.stream.write(*early)
            self._tally.up += self.sent
        if self._talk:
            self._talk.on_opened(self, sock)
        elif self.stream.broken:
            self.end()
        else:
            self._begin_drain()

    # -- from the client -----------------------------------------------------------------------------------------------

    def write(self, data):
        if self.state == FLOWING:
            count = self.stream.write(data)
            self.sent += count
            self._tally.up += count
        elif self.state == DIALLING:
            if self._early is None:
                self._early = DatagramQueue() if self.is_udp else OutQueue()
            self._gateway.budget.bytes += self._early.add(data)
            self._talk.may_choke = True

    def chokes(self):
        """Must the client be read no further, because the target does not take what the client sends?

        With its window used up the target may well wait for us while we wait for it: only the client's `ack`, which
        comes behind its data, can end that. So its data may then pile up as far as one message may be long; and so may
        those of a client that sends more than its credit, for the sake of its other channels: see is_choked().
        """
        return self.is_full() and self.credit != 0 and not self._talk.dialect.credits

    def is_full(self):
        return self.stream.congested if self.stream else self._waiting() >= self._gateway.config['limits.bufferBytes']

    def grant(self, count):
        """The client has given back ``count`` bytes of its window."""
        if self.credit is not None:
            self.credit = min(self._window, self.credit + count)
            if self.stream:
                self._gateway.loop.touch(self.stream)

    # -- from the target -----------------------------------------------------------------------------------------------

    def wants_data(self, stream):
        if self.state != FLOWING:
            return RECEIVE_BYTES
        room = self._talk.session.stream.room()
        return room if self.credit is None else min(room, self.credit)

    def on_received(self, stream, data):
        count = len(data)
        if self.state != FLOWING:
            self._discarded += count
            if stream.finished and self._discarded > LINGER_BYTES:
                self.end()
            return
        self.received += count
        self._tally.down += count
        if self.credit is not None:
            self.credit -= count
        if self._prefix is None:
            self._talk.on_data(self, data)
        else:
            self._talk.session.relay(self._prefix, data)

    def sink(self, stream):
        is_plain = (self.state == FLOWING and self._prefix is not None and self._talk.session.state == OPEN
                    and not self._talk.session.ws.deflate)
        return self._talk.session.stream if is_plain else None

    def on_pipe(self, stream, pipe):
        count = len(pipe)
        self.received += count
        self._tally.down += count
        if self.credit is not None:
            self.credit -= count
        self._talk.session.pour(self._prefix, pipe)

    def on_end(self, stream, is_reset):
        if self.state == FLOWING:
            # An end by TLS is the target's own word: ssh need not have heard of it.
            was_cut = is_reset or stream.broken or (self.way and stream.wire is PLAIN and self.way.was_cut())
            if self._half_open and not was_cut and not stream.finishing:
                self._talk.on_finished(self)
                return
            self.lose(reset_by(stream.wire) if was_cut else CLOSED)
        if is_reset or stream.finished:
            self.end()

    def on_unwritable(self, stream):
        if self.state == FLOWING and stream.eof:  # half open: no read will tell
            self.lose(RESET)
        if self.state == DRAINING:
            self.end()

    def on_flow(self, stream):
        if self.state == FLOWING and self._talk:  # else the client has left while the target was dialled
            self._talk.on_flow(self, stream.congested)

    def on_finished(self, stream):
        if stream.eof:
            if self.state == FLOWING:  # half open: both halves are closed now
                self.lose(CLOSED)
            self.end()

    # -- the end -------------------------------------------------------------------------------------------------------

    def lose(self, failure):
        """The connection is over for the client; what it had sent before still goes out."""
        talk = self._talk
        if failure is not CLOSED:
            self._gateway.counts.note_failure(failure)
        self.drain()
        talk.on_closed(self, failure)

    def drain(self, deliver=True):
        """The client lets go. With ``deliver``, what it has sent for a target that is still being dialled goes there
        when the target stands: nothing that was sent in time is lost (protocol, 1)."""
        self._talk.forget(self)
        self._talk = None
        if self.state == FLOWING and not self.stream.broken:
            self._begin_drain()
        elif self.state == DIALLING and deliver and self._waiting():
            self._gateway.on_left(self)
        else:
            self.end()

    def _begin_drain(self):
        self._move(DRAINING)
        self.stream.finish()
        self._timer = self._gateway.loop.call_later(self._gateway.config['limits.drainSeconds'], self.end)
        self._gateway.on_left(self)

    def held(self):
        return self.weight + self._waiting()

    def _waiting(self):
        """Bytes that are still to go."""
        pending = self.stream.pending if self.stream else self.way.pending if self.way else 0
        return pending + sum(map(len, self._early or ()))

    def flush(self):
        if self.stream:
            self.stream.settle()

    def on_full(self):
        LOG.warning('#%d has left too much for %s: limits.totalBytes is reached', self._number, self.name)
        self.end()

    def end(self):
        if self.state == ENDED:
            return
        if self.state == DIALLING and self.way:
            self._gateway.counts.dials[self._kind, ABANDONED] += 1
        self._move(ENDED)
        if self._timer:
            self._timer.cancel()
        left = self._waiting()
        self._gateway.budget.bytes -= self.weight + sum(map(len, self._early or ()))
        self._early = None
        if left:
            self._gateway.journal.tell(self.group, self._number, '%s has not got the last %d bytes', self.name, left)
        if self.stream:
            self.stream.close(reset=left > 0)  # with a FIN what was cut off would look complete
        if self.way:
            self.way.cancel()
        if self._talk:
            self._talk.forget(self)
            self._talk = None
        self._gateway.on_upstream_ended(self)

    def on_mistake(self):
        talk = self._talk
        self.end()
        if talk:
            talk.session.on_mistake()


def common_name(sock):
    """The name in the verified certificate of a client, or None."""
    subject = (sock.getpeercert() or {}).get('subject', ()) if isinstance(sock, ssl.SSLSocket) else ()
    names = [value for part in subject for key, value in part if key == 'commonName']
    return names[0] if len(names) == 1 else None


class Admission(Step):
    """Whose a Claim is: the Identity, or the HttpError or Failure that says why nobody's. Where an address has failed
    too often each answer to what it shows takes a while, a good one, too."""

    def __init__(self, gateway, group, claim, on_done):
        Step.__init__(self, gateway.loop, on_done)
        self._gateway, self._group, self._claim = gateway, group, claim
        self._is_held, self._job = False, None

    def _start(self):
        failures = self._gateway.failures
        if not failures.slows(self._group, self._loop.now):
            self._look()
        elif failures.held[self._group] >= MOST_HELD:
            self.fail(HttpError(429, 'Too many logins from this address have failed; please try again in a minute.'))
        else:
            failures.held[self._group] += 1
            self._is_held = True
            self._timer = self._loop.call_later(HELD_SECONDS, self._look)

    def _look(self):
        if self._claim.logins:
            self._ask()
        else:
            self._conclude(self._claim.identities)

    def _ask(self):
        """Whether a password is right. A user who is not known takes as long."""
        users = self._gateway.config['auth.users']
        found = [(next((user for user in users if utf8_bytes(text_type(user.name)) == name), None), password)
                 for name, password in self._claim.logins if users]
        pairs = [((user or users[0]).password.text, password) for user, password in found]
        self._job = self._gateway.logins.submit(self._group, self._gateway.passwords.blocking_check, (pairs,),
                                                functools.partial(self._on_checked, found))
        if self._job is None:
            self.fail(BUSY)

    def _on_checked(self, found, fits):
        self._job = None
        if isinstance(fits, Failure):
            self.fail(fits)
            return
        right = [identity_of_entry(user, 'user') for (user, _), is_right in zip(found, fits) if user and is_right]
        self._conclude(self._claim.identities + right[:1] if right else [])

    def _conclude(self, identities):
        identity = agreed(identities)
        if identity is None:
            self._gateway.failures.note(self._group, self._loop.now)
        self._finish(identity, None if identity else unauthorized(self._gateway.config))

    def cancel(self):
        Step.cancel(self)
        if self._is_held:
            take_away(self._gateway.failures.held, self._group)
            self._is_held = False
        if self._job is not None:
            self._job.cancel()
            self._job = None


def authenticate(talk, action):
    """Have a session's client be whoever has one of the logins that the dialect has heard."""
    session, gateway = talk.session, talk.session.gateway

    def on_done(identity, failure):
        talk.admission = None
        if identity is not None:
            session.identity, talk.resolver = identity, gateway.resolver.narrowed(identity)
            tell_of_identity(session)
        talk.tell(talk.dialect.on_authenticated, identity is not None)

    talk.admission = Admission(gateway, session.group, Claim([], action.logins), on_done)
    talk.admission.begin()


def tell_of_identity(client):
    client.gateway.journal.tell(client.group, client.number, '%s is %s, by %s', socket_text(client.peer),
                                one_word(client.identity.name), client.identity.way)


# Who has ended a client's connection, for the log.
CLIENT, TARGET, GATEWAY = 'client', 'target', 'gateway'


class Performance(object):
    """What a session's dialect says: its actions, carried out."""

    __slots__ = ('dialect', 'session', 'upstreams', 'carried', 'target', 'targets', 'resolver', 'admission', '_gateway',
                 '_logins', '_later', '_ended')

    def __init__(self, gateway, session, dialect, resolver):
        self.dialect, self.session, self._gateway = dialect, session, gateway
        self.resolver, self.admission = resolver, None  # for where this client may go; while it is asked who it is
        self.upstreams = {}
        self.carried = None       # the upstream to which pieces of binary messages go as they come
        self.target, self.targets = None, 0      # the name of the last one, and how many there were
        self._logins = self._later = None
        self._ended = None        # while the dialect is told that a target has ended: in which phase

    def perform(self, actions):
        for action in actions:
            self.PERFORM[type(action)](self, action)

    def _do_send(self, action):
        assert isinstance(action.payload, (bytes, bytearray)), 'a mistake of the dialect'
        if self._gateway.is_verbose:
            LOG.debug('#%d > message of %d', self.session.number, len(action.payload))
        self.session.ws.send(action.opcode, action.payload)

    def _do_open(self, action):
        session = self.session
        assert (action.channel not in self.upstreams and 0 < action.port < 65536
                and isinstance(action.host, (text_type, str))), 'a mistake of the dialect'
        if session.state != OPEN:
            return  # the client has left; what waited for an earlier connect is delivered, but nothing is begun
        upstream = self.upstreams[action.channel] = Upstream(self._gateway, self, action)
        make_way = functools.partial(self._way, action)
        way = self._with_tls(upstream, action.tls, make_way) if action.tls else make_way(upstream.on_dialled)
        kind = BY_TLS if action.tls else BY_SSH if action.hop is not None else DIRECT
        upstream.dial(way, kind, is_new=not self.targets)
        self.target, self.targets = upstream.name, self.targets + 1

    def _way(self, action, on_done):
        """The Step to a target as an Open names it, but for TLS."""
        session = self.session
        if action.hop is not None:
            self._logins = self._logins or Logins(self._gateway.tunnels, session.group, session.number, self.resolver)
            return self._logins.forward(action.hop, action.host, action.port, on_done)
        # Where there are many streams those of a name that hangs must not stop the others.
        client = (session.group, session.number) + ((action.channel,) if self.dialect.credits else ())
        return (DatagramDial if action.udp else Dial)(self.resolver, action.host, action.port, client,
                                                      self._gateway.config['limits.connectSeconds'], on_done)

    def _with_tls(self, upstream, tls, make_way):
        gateway = self._gateway
        weight = PEM_WEIGHT * sum(len(text) for text in (tls.ca, tls.cert, tls.key) if text)
        upstream.weight += weight
        gateway.budget.bytes += weight
        return Secured(gateway.loop, gateway.contexts, tls, upstream.host, self.session.group,
                       gateway.config['limits.connectSeconds'], make_way, upstream.on_dialled)

    def _do_secure(self, action):
        upstream = self.upstreams.get(action.channel)
        if upstream is not None and upstream.stream:  # else the client has left meanwhile
            seconds = self._gateway.config['limits.connectSeconds']
            make_way = functools.partial(Handover, self._gateway.loop, upstream.stream, upstream.way, seconds)
            upstream.dial(self._with_tls(upstream, action.tls, make_way), BY_TLS, is_new=False)

    def _do_write(self, action):
        assert isinstance(action.data, (bytes, bytearray)), 'a mistake of the dialect'
        if action.channel in self.upstreams:
            self.upstreams[action.channel].write(action.data)

    def _do_grant(self, action):
        if action.channel in self.upstreams:
            self.upstreams[action.channel].grant(action.count)

    def _do_carry(self, action):
        self.carried = self.upstreams.get(action.channel)

    def _do_finish(self, action):
        upstream = self.upstreams.get(action.channel)
        if upstream is not None and upstream.stream:  # else the client has left, and then it is finished anyway
            upstream.stream.finish()

    def _do_shut(self, action):
        if action.channel in self.upstreams:
            self.upstreams[action.channel].drain()

    def _do_hangup(self, action):
        self.session.hang_up(action.code, action.reason, TARGET if self._ended else GATEWAY, deliver=True)

    def _do_later(self, action):
        if self._later:
            self._later.cancel()
        if self.session.state == OPEN:
            self._later = self._gateway.loop.call_later(action.seconds, self._on_later)

    PERFORM = {Send: _do_send, Open: _do_open, Write: _do_write, Grant: _do_grant, Carry: _do_carry,
               Secure: _do_secure, Finish: _do_finish, Shut: _do_shut, Hangup: _do_hangup, Later: _do_later,
               Authenticate: authenticate}


class Conversation(Performance):
    """What a session's dialect says and hears, and its upstreams by channel."""

    __slots__ = ('may_choke', 'sent', 'received', 'tally')

    def __init__(self, gateway, session, dialect, resolver):
        Performance.__init__(self, gateway, session, dialect, resolver)
        tallies = gateway.counts.tallies
        self.tally = tallies.get(dialect.name) or tallies[Dialect.name]
        self.may_choke = False    # is one of the upstreams perhaps full?
        self.sent = self.received = 0            # bytes of upstreams that are no longer ours

    def tell(self, on_event, *arguments):
        """Give the dialect an event. Its mistake ends this session alone, whichever stream or timer brought it."""
        try:
            self.perform(on_event(*arguments))
        except Exception:
            log_mistake()
            self.session.on_mistake()
        self.session.touch()
        self.session.settle()

    def _on_later(self):
        self._later = None
        self.tell(self.dialect.on_later)

    def on_mistake(self):
        self.session.on_mistake()

    def on_opened(self, upstream, sock):
        if isinstance(sock, ssl.SSLSocket):
            alpn = sock.selected_alpn_protocol() if getattr(ssl, 'HAS_ALPN', False) else None
            self.tell(self.dialect.on_secured, upstream.channel, sock.version(), alpn)
        else:
            self.tell(self.dialect.on_opened, upstream.channel)
        if upstream.is_udp or self._gateway.config['limits.idleSeconds']:
            self.session.watch_silence()

    def on_failed(self, upstream, failure):
        self._tell_end(self.dialect.on_failed, upstream, failure, 'dial')

    def on_data(self, upstream, data):
        self.tell(self.dialect.on_data, upstream.channel, data)

    def on_finished(self, upstream):
        self.tell(self.dialect.on_finished, upstream.channel)

    def on_closed(self, upstream, failure):
        self._tell_end(self.dialect.on_closed, upstream, failure, 'data')

    def _tell_end(self, on_event, upstream, failure, phase):
        """Whatever comes of it was the target's doing."""
        self._ended = phase
        self.tell(on_event, upstream.channel, failure)
        self._ended = None

    def on_flow(self, upstream, is_full):
        self.may_choke = self.may_choke or is_full
        if not is_full and self.dialect.credits:
            self.tell(self.dialect.on_drained, upstream.channel)
        elif not is_full:
            self.session.touch()
            if self.session.ws.is_behind:
                self.session.settle()

    def give_up(self):
        """What waits for targets must not be kept for them when the client goes."""
        for upstream in list(self.upstreams.values()):
            if upstream.held():
                upstream.end()

    def is_choked(self):
        """Do the upstreams hold too much for the client to be read? Asked only while they may: there may be many."""
        most, upstreams = self._gateway.config['limits.messageBytes'], self.upstreams.values()
        if self.dialect.credits and self._gateway.budget.bytes < most:
            return False  # none of them chokes, and those of all clients hold less than these would have to
        full = [upstream for upstream in upstreams if upstream.is_full()]
        is_choked = (any(upstream.chokes() for upstream in full)
                     or sum(upstream.held() for upstream in upstreams) >= most)
        self.may_choke = is_choked or bool(full) or any(upstream.state == DIALLING for upstream in upstreams)
        return is_choked

    def summary(self):
        """For the log: dialect, last target, and bytes of all."""
        more = ' and %d more' % (self.targets - 1) if self.targets > 1 else ''
        return '%s, target %s%s, %d bytes up, %d down' % (self.dialect.name, self.target or '-', more, self.sent,
                                                          self.received)

    def phase(self):
        """A word for the log: what is going on."""
        if self._ended:
            return self._ended
        for upstream in self.upstreams.values():
            if upstream.state == DIALLING:
                return 'dial'
        return 'drain' if self._gateway.draining else 'data'

    def forget(self, upstream):
        """The upstream is no longer this client's."""
        if self.upstreams.get(upstream.channel) is upstream:
            del self.upstreams[upstream.channel]
        if self.carried is upstream:
            self.carried = None
        self.sent += upstream.sent
        self.received += upstream.received

    def release(self, deliver, has_left=True):
        """Let go of the upstreams; ``deliver`` as for Upstream.drain(). A client that ``has_left`` may have more to say
        in its dialect."""
        if deliver and has_left:
            try:
                self.perform(self.dialect.on_leave())
            except Exception:
                log_mistake()
        for waiting in (self._later, self.admission):
            if waiting:
                waiting.cancel()
        for upstream in list(self.upstreams.values()):
            upstream.drain(deliver)
        if self._logins:
            self._logins.close()


HANDSHAKE, ANSWERING, LINGERING = 'handshake', 'answering', 'lingering'

# answering: with a file, or when it is known who asks, and for what. closing: our Close is on its way and the peer's is
# awaited. lingering: our half is closed, the peer's is awaited, so that the peer gets our last bytes: closing with
# unread data would reset the connection.
CLIENT_MOVES = {HANDSHAKE: (ANSWERING, ENDED), ANSWERING: (ANSWERING, ENDED), OPEN: (CLOSING, ENDED), CLOSING: (ENDED,),
                LINGERING: (ENDED,), ENDED: ()}


class Client(StreamOwner, Holder):
    """Our side of a client's TCP connection in one phase of its life; the next phase takes the connection over."""

    __slots__ = ('number', 'group', 'peer', 'state', 'stream', 'timer', 'gateway', 'kept')

    def take_over(self, other, state):
        """Be the next phase of ``other``'s connection."""
        self.gateway, self.number, self.group, self.peer = other.gateway, other.number, other.group, other.peer
        self.state, self.stream, self.timer = state, other.stream, other.timer
        self.kept = 0  # bytes beside the queues of streams that the budget counts for this client
        other.keep(0)
        other.move(ENDED)
        self.stream.owner = self
        if self.timer.callback:
            self.timer.callback = self.on_time
        self.gateway.places.hold(other)
        self.gateway.clients.discard(other)
        self.gateway.clients.add(self)

    def touch(self):
        """Something has changed that decides whether the client is read."""
        if not self.stream.events & READ:
            self.gateway.loop.touch(self.stream)

    def keep(self, count):
        """``count`` bytes are held here beside the queues of streams."""
        self.gateway.budget.bytes += count - self.kept
        self.kept = count

    def move(self, state):
        assert state in CLIENT_MOVES[self.state], (self.state, state)
        self.state = state

    def rearm(self, seconds):
        """Call on_time() in so many seconds, and not before."""
        self.timer.cancel()
        self.timer = self.gateway.loop.call_later(seconds, self.on_time)

    def on_time(self):
        self.end()

    def on_config(self):
        """A new configuration is in force."""

    def on_stopping(self, is_over=False):
        """The gateway drains: whoever has nothing under way goes now; with ``is_over`` the others, too."""

    def on_unwritable(self, stream):
        self.end()

    def on_mistake(self):
        self.end()

    def held(self):
        return self.kept + self.stream.pending if self.state != ENDED else 0

    def flush(self):
        self.stream.settle()

    def on_full(self):
        LOG.warning('#%d is ended: limits.totalBytes is reached', self.number)
        self.end()

    def end(self):
        if self.state != ENDED:
            self.move(ENDED)
            self.keep(0)
            self.timer.cancel()
            self.stream.close()
            self.gateway.on_client_gone(self)


class Farewell(Client):
    """Nothing more will be sent. The peer's end is awaited, but not for ever."""

    __slots__ = ('_discarded',)

    def __init__(self, other):
        self.take_over(other, LINGERING)
        self.gateway.places.offer(self)
        self._discarded = 0
        self.rearm(self.gateway.config['limits.drainSeconds'])
        self.stream.finish()
        if self.stream.finished:
            self.on_finished(self.stream)
        elif self.stream.broken:
            self.end()  # the peer gets nothing any more

    def wants_data(self, stream):
        return RECEIVE_BYTES

    def on_received(self, stream, data):
        self._discarded += len(data)
        if self._discarded > LINGER_BYTES:
            self.end()

    def on_end(self, stream, is_reset):
        if is_reset or stream.finished:  # else it has closed its half, and still reads what it asked for
            self.end()

    def on_finished(self, stream):
        if stream.eof:
            self.end()


# What a Visit hands to the Session that follows: ``reply`` is the 101, ``behind`` what has come behind the request,
# ``identity`` None where nobody asks.
Welcome = collections.namedtuple('Welcome', 'request dialect reply deflate behind identity resolver')


# To raise these would add to their tracebacks each time.
BUSY, MISTAKE = HttpError(503, 'The gateway has too much to do just now.'), HttpError(500, BROKEN.message)


class Arrival(Client):
    """A client that has asked for nothing yet: who that is, and what it is answered. ``is_proxy``: may whoever speaks
    HTTP say for whom?"""

    __slots__ = ('listen', 'is_proxy')

    def __init__(self, gateway, listen, sock, peer, group, is_proxy):
        self.gateway, self.number, self.group, self.peer = gateway, next(gateway.numbers), group, peer
        self.state, self.kept, self.listen, self.is_proxy = HANDSHAKE, 0, listen, is_proxy
        self.timer = gateway.loop.call_later(gateway.config['limits.handshakeSeconds'], self.on_time)
        self.stream = Stream(gateway.loop, sock, self, gateway.config['limits.bufferBytes'], gateway.budget)
        if listen.proxyProtocol:
            self.stream.wire = ProxyWire()
        else:
            self._begin()
        gateway.clients.add(self)
        gateway.places.offer(self)

    def _begin(self):
        """What comes next is the client's own."""
        self.stream.wire, self.stream.is_new = PEEK if self.listen.tls else PLAIN, True

    def on_header(self, wire):
        """The header of the PROXY protocol, or a part of it."""
        try:
            if wire.failure:
                raise wire.failure
            if wire.found and wire.found[1]:
                self._become(wire.found[1])
                self.is_proxy = is_trusted(peer_address(self.peer), self.gateway.config)
            if wire.found:
                self._begin()
        except RemoteError as error:
            self._tell(logging.WARNING, ' is turned away: %s', error)
            self.gateway.counts.note_refusal(NO_ANSWER)
            self.end()

    def meet(self, first):
        """``first``: the first byte that has come where TLS is spoken (RFC 8446 section 5.1)."""
        try:
            if first == HANDSHAKE_RECORD:
                self.stream.secure(self.gateway.entrance.certificate.context)
                return
            self.stream.wire = PLAIN
            self.refuse(HttpError(400, 'This port speaks TLS, that is https:// and wss://, and nothing else.'))
        except (NetworkError, ValueError):  # the client is gone
            self.end()

    def _become(self, peer):
        """The client is another one than it seemed to be. Raises HttpError."""
        self.peer = peer
        if not self.gateway.places.move(self, address_group(peer[0])):
            raise HttpError(503, 'The gateway has too many connections from this address (limits.clientsPerAddress).')

    def find_client(self, request):
        """Whoever a trusted proxy speaks for. Raises HttpError."""
        config, request.came_by_tls = self.gateway.config, self.listen.tls
        if self.is_proxy:
            request.came_by_tls, speaker = request.came_by_tls or forwarded_tls(request), peer_address(self.peer)
            client = forwarded_client(request, speaker, lambda packed: is_trusted(packed, config))
            if client != speaker:
                self._become((address_text(client),))

    def refuse(self, error, request=None):
        self.gateway.counts.note_refusal(error.status)
        self._log(error.status, error.sentence)
        with_body = request is None or request.method != 'HEAD'
        self._part(sentence_reply(error.status, error.sentence, error.headers, with_body))

    def _say(self, request, status, sentence, headers=()):
        self._log(status, '%s %s' % (request.method, printable(request.path)))
        self._part(sentence_reply(status, sentence, headers, with_body=request.method != 'HEAD'))

    def _log(self, status, words):
        self._tell(logging.INFO, ' got %d: %s', status, words)

    def _tell(self, level, words, *arguments):
        self.gateway.journal.tell_of_address(level, self.group, '#%d %s' + words, self.number,
                                             socket_text(self.peer), *arguments)

    def _part(self, reply):
        if isinstance(self.stream.wire, ProxyWire):
            self.end()  # nobody is there yet who would understand it
            return
        self.stream.write(reply)
        Farewell(self)


class Inquiry(Arrival):
    """A client that is answered when something is known: who it is, or what a file holds."""

    __slots__ = ('_job',)

    def __init__(self, *arrival):
        self._job = None
        Arrival.__init__(self, *arrival)

    def _await(self, request, behind, step):
        """What is to be called with whatever the visit waits for from now on: then it goes on with ``step``."""
        self.move(ANSWERING)
        self.keep(len(behind))
        return functools.partial(self._go_on, request, behind, step)

    def _go_on(self, request, behind, step, result):
        """Go on with ``step(result)``, which may give the Session that follows, or raise HttpError. An HttpError, or a
        Failure, which is a mistake of ours, ends the visit."""
        self._job = session = None
        try:
            if isinstance(result, (HttpError, Failure)):
                self.refuse(result if isinstance(result, HttpError) else MISTAKE, request)
            else:
                session = step(result)
        except HttpError as error:
            self.refuse(error, request)
        try:
            if session:
                session.begin(behind)
        except Exception:
            log_mistake()
            session.on_mistake()

    def _identify(self, request, behind, step):
        """Go on with ``step(identity)`` when it is known who the client is: at once, with None, where it shows nothing.
        Raises HttpError."""
        claim = read_claim(request, self.gateway.config, time.time(), common_name(self.stream.sock), self.is_proxy)
        if not any(claim):
            return step(None)
        on_known = self._await(request, behind, step)
        self._job = Admission(self.gateway, self.group, claim, lambda identity, failure: on_known(failure or identity))
        self._job.begin()
        return None

    def _identify_if(self, asks, request, show):
        """Go on with ``show(request, identity)``, which is None where nobody ``asks``."""
        step = functools.partial(show, request)
        if asks:
            self._identify(request, b'', step)
        else:
            step(None)

    def end(self):
        if self._job:
            self._job.cancel()
            self._job = None
        Client.end(self)


class Visit(Inquiry):
    """Our side of a client until its first request is answered."""

    __slots__ = ('_parser',)

    def __init__(self, *arrival):
        self._parser = RequestParser()
        Inquiry.__init__(self, *arrival)

    def wants_data(self, stream):
        """Who has asked for a file has nothing more to say."""
        return HANDSHAKE_BYTES if self.state == HANDSHAKE else 0

    def on_received(self, stream, data):
        session = parsed = None
        if stream.wire is PEEK:
            self.meet(data)
            return
        if isinstance(stream.wire, ProxyWire):
            self.on_header(stream.wire)
            return
        try:
            parsed = self._parser.receive(data)
            if parsed:
                self.find_client(parsed[0])
            if parsed and parsed[0].wants_websocket() and not self.listen.metrics:
                session = self._upgrade(*parsed)
            elif parsed:
                self._reply(parsed[0])
            else:
                self._hold()
        except HttpError as error:
            self.refuse(error, parsed and parsed[0])
        if session:
            session.begin(parsed[1])

    def _hold(self):
        """The request is not complete: what is there counts."""
        self.keep(self._parser.held())
        if self.gateway.budget.bytes > self.gateway.budget.most:
            self.gateway.budget.enforce(self)

    def _upgrade(self, request, behind):
        """The Session that goes on from here, or None when its target is to be looked up first. ``behind``: bytes that
        have come behind the request. Raises HttpError."""
        accept = accept_key(request)
        check_origin(request, self.gateway.config)
        self.gateway.places.check(self.group)
        asks = needs_identity(self.gateway.config)
        step = functools.partial(self._open, request, behind, accept, asks)
        return self._identify(request, behind, step) if asks else step(None)

    def _open(self, request, behind, accept, asks, identity):
        """As _upgrade(), when it is known who the client is, or nobody ``asks``."""
        config, gateway, is_stranger = self.gateway.config, self.gateway, asks and identity is None
        if self.state == ANSWERING:
            gateway.places.check(self.group)  # others have come meanwhile
        try:
            dialect = gateway.dialect_for(request)
            if is_stranger and not dialect.on_stranger():
                raise unauthorized(config)
        except HttpError as error:
            raise unauthorized(config) if is_stranger else error  # strangers learn nothing of the configuration
        assert dialect.subprotocol is None or dialect.subprotocol in request.subprotocols(), 'a mistake of the dialect'
        offers = request.all('sec-websocket-extensions') if dialect.deflates else ()
        deflate, extension = agree_on_deflate(offers, config)
        reply = upgrade_reply(accept, dialect.subprotocol or request.lone_bearer(), extension)
        resolver = gateway.resolver.narrowed(identity) if identity else gateway.resolver
        welcome = Welcome(request, dialect, reply, deflate, behind, identity, resolver)
        return self._welcome(welcome) if dialect.token is None else self._look_up(welcome)

    def _look_up(self, welcome):
        """Find out what stands behind the token."""
        on_line = self._await(welcome.request, welcome.behind, functools.partial(self._on_token, welcome))
        self._job = self.gateway.files.submit(self.group, self.gateway.tokens.blocking_find,
                                              (self.gateway.config['raw.tokens'], welcome.dialect.token), on_line)
        if self._job is None:
            self.refuse(BUSY)

    def _on_token(self, welcome, line):
        if self.gateway.draining:
            raise HttpError(503, 'The gateway is stopping.')
        welcome.dialect.on_token(line)
        self.gateway.places.check(self.group)
        return self._welcome(welcome)

    def _welcome(self, welcome):
        """Answer with the 101: the Session that goes on. Raises HttpError."""
        dialect = welcome.dialect
        failure = dialect.target and welcome.resolver.refusal(*dialect.target)
        if failure:
            self.gateway.journal.tell(self.group, self.number, '%s is refused: %s', with_port(*dialect.target),
                                      failure.why or failure.reason)
            raise HttpError(503 if failure is NO_ROOM else 403, 'T' + failure.message[1:] + '.')
        self.stream.write(welcome.reply)
        session = Session(self, welcome)
        if session.identity:
            tell_of_identity(session)
        return session

    def _reply(self, request):
        """Whatever is asked for that is not a WebSocket (protocol, 4)."""
        gateway = self.gateway
        if request.path == COUNTS_PATH and request.method != 'OPTIONS':
            self._count_for(request)
        elif self.listen.metrics:
            self.refuse(NOT_HERE, request)
        elif request.method == 'OPTIONS' and not gateway.leaving:
            self._log(204, 'OPTIONS %s' % printable(request.path))
            self._part(OPTIONS_REPLY)
        elif request.method == 'OPTIONS' or request.path == '/healthz':
            status, word = (503, 'draining') if gateway.leaving else (200, 'ok')
            self._say(request, status, word, headers_for_readers(request, gateway.config))
        elif request.path == CONNECTIONS_PATH and (gateway.config['redis.connections']
                                                   or gateway.config['web'] is None):
            self._identify_if(needs_identity(gateway.config), request, self._list_connections)
        else:
            self._identify_if(gateway.config['auth.pages'], request, self._show)

    def _list_connections(self, request, identity):
        """What the Redis page offers: to each identity those that it may reach, to strangers none."""
        config, resolver = self.gateway.config, self.gateway.resolver
        refusal, is_stranger = reader_refusal(request, config), needs_identity(config) and identity is None
        if refusal:
            raise HttpError(403, refusal)
        if is_stranger and config['auth.pages']:
            raise unauthorized(config)
        resolver = resolver.narrowed(identity) if identity else resolver
        heard_of = () if is_stranger else connections_for(identity, config['redis.connections'])
        offered = [one for one in heard_of if resolver.refusal(one.host, one.port) is None]
        text = connections_text(offered, is_stranger).encode('ascii')
        self._log(200, '%s %s' % (request.method, CONNECTIONS_PATH))
        head = page_head(200, 'application/json', len(text), headers_for_readers(request, config))
        self._part(head + (text if request.method == 'GET' else b''))

    def _count_for(self, request):
        if may_see_counts(request, self.listen, peer_address(self.peer), self.is_proxy, self.gateway.config):
            self._show_counts(request, True)
        else:
            self._identify(request, b'', lambda who: self._show_counts(request, who is not None and who.metrics))

    def _show_counts(self, request, is_allowed):
        if not is_allowed:
            self.refuse(NOT_HERE, request)
            return
        text = self.gateway.counts.text().encode('ascii')
        self._log(200, '%s %s' % (request.method, COUNTS_PATH))
        self._part(page_head(200, COUNTS_TYPE, len(text)) + (text if request.method == 'GET' else b''))

    def _show(self, request, identity):
        """A page, or none."""
        gateway = self.gateway
        if gateway.config['auth.pages'] and identity is None:
            raise unauthorized(gateway.config)
        if web_folder(gateway) is not None:
            self._send_file(request)
        elif request.path == '/':
            self._say(request, 200, 'This is ws2s %s, a gateway from WebSocket to TCP; it has no pages to show here, '
                                    'because %s.' % (__version__, why_no_pages(gateway.config)))
        else:
            self.refuse(NOT_HERE, request)

    def _send_file(self, request):
        names = web_segments(request.path)
        if names is None:
            self.refuse(NOT_HERE, request)
            return
        on_form = self._await(request, b'', functools.partial(self._on_file, request, names[-1]))
        self.gateway.places.offer(self)  # anew: others have asked for nothing
        self._job = self.gateway.files.submit(self.group, self.gateway.packings.blocking_read,
                                              (web_folder(self.gateway), names, takes_gzip(request)), on_form)
        if self._job is None:
            self.end()

    def _on_file(self, request, name, form):
        policy = FOLDER_POLICY if self.gateway.config['web'] else PAGE_POLICY
        status, head, body = file_reply(request, name, form, policy)
        self._log(status, '%s %s' % (request.method, printable(request.path)))
        self.stream.write(head, body)
        self.stream.finish()
        self.rearm(STALL_SECONDS)
        self.gateway.budget.enforce(self)

    def on_end(self, stream, is_reset):
        if is_reset and getattr(stream.wire, 'why', None):
            self._tell(logging.INFO, ': no TLS: %s', printable(stream.wire.why))
            self.gateway.counts.note_refusal(NO_ANSWER)
        self.end()

    def on_finished(self, stream):
        Farewell(self)

    def on_time(self):
        if self.state == HANDSHAKE:
            self.refuse(HttpError(408, 'The request was not complete in time.'))
        elif self.stream.moved + STALL_SECONDS > self.gateway.loop.now:
            self.rearm(self.stream.moved + STALL_SECONDS - self.gateway.loop.now)
        else:
            self.end()

    def on_stopping(self, is_over=False):
        """Browsers open connections in advance: nothing was asked on such a one."""
        if self.state == HANDSHAKE and not self._parser.held():
            self.end()

    def on_mistake(self):
        if self.state == HANDSHAKE:
            self.refuse(MISTAKE)
        else:
            self.end()


class Silence(Client):
    """A client whose silence is watched: by pings, by `limits.idleSeconds` for each of its upstreams, and by
    `limits.stallSeconds` for whatever waits."""

    __slots__ = ('heard', 'pinged', 'grown', 'talk')

    def watch_silence(self):
        """Arm the timer for the earliest moment that counts. One that fires too early only looks again."""
        moments = [deadline[0] for deadline in self._deadlines()]
        if self.state == OPEN and moments:
            self._look_at(min(moments))

    def _deadlines(self):
        """What is due when, as far as it is known now: tuples (moment, method, arguments...)."""
        config, now = self.gateway.config, self.gateway.loop.now
        ping, idle, stall = [config['limits.%sSeconds' % name] for name in ('ping', 'idle', 'stall')]
        deadlines = [((self.pinged or self.heard) + ping, self._on_silence)] if ping else []
        for upstream in [upstream for upstream in self.talk.upstreams.values() if upstream.stream]:
            quiet = min(idle or DATAGRAM_SECONDS, DATAGRAM_SECONDS) if upstream.is_udp else idle
            if quiet:
                deadlines.append((self._last_moved(upstream) + quiet, self._lose, upstream, IDLE))
            if stall and upstream.stream.pending:
                deadlines.append((upstream.stream.taken + stall, self._lose, upstream, STALLED))
        if stall and self.stream.pending:
            deadlines.append((self.stream.taken + stall, self.end))
        if stall and self.ws.held:
            deadlines.append((self.grown + stall, self._on_unfinished))
        return deadlines + ([(now + stall, self.watch_silence)] if stall else [])

    def _look_at(self, moment):
        if self.timer.callback is None or self.timer.when > moment:
            self.rearm(max(0, moment - self.gateway.loop.now))

    def on_config(self):
        """What it says of time counts from now on; but not all are pinged at one time."""
        config = self.gateway.config
        periods = [config['limits.%sSeconds' % name] for name in ('ping', 'idle', 'stall')]
        periods = [period for period in periods if period]
        if self.state == OPEN and periods:
            self._look_at(self.gateway.loop.now + min(periods) * (self.number % SPREAD) / SPREAD)

    def _last_moved(self, upstream):
        """When bytes of this upstream last moved; those that wait for the client count as its own."""
        return max(upstream.stream.moved, self.stream.moved if self.stream.pending else 0)

    def on_time(self):
        if self.state != OPEN:
            self._on_unanswered()
            return
        for deadline in self._deadlines():
            if self.state == OPEN and deadline[0] <= self.gateway.loop.now:
                deadline[1](*deadline[2:])
        self.watch_silence()

    def _on_unanswered(self):
        """The peer has not answered our Close: it may still be reading what comes before."""
        deadline = self.stream.taken + self.gateway.config['limits.drainSeconds']
        if self.stream.pending and deadline > self.gateway.loop.now:
            self.rearm(deadline - self.gateway.loop.now)
        else:
            self.end()

    def _lose(self, upstream, failure):
        if self.talk.upstreams.get(upstream.channel) is upstream:  # else the one before was the end of this one, too
            upstream.lose(failure)
            if failure is STALLED and not self.talk.dialect.credits:  # where there are credits other channels go on
                self.hang_up(POLICY, 'the target takes nothing')

    def _on_unfinished(self):
        if self.wants_data(self.stream):
            self.hang_up(POLICY, 'a message that does not go on')
        else:
            self.grown = self.gateway.loop.now  # the client is not listened to

    def _on_silence(self):
        """Silence counts only while we listen: a client that we throttle cannot make itself heard."""
        if self.pinged is not None and self.wants_data(self.stream):
            self.hang_up(INTERNAL, 'no answer to a ping')
        elif self.stream.congested:
            # A ping would wait behind what the client does not read: ask later.
            self.heard, self.pinged = self.gateway.loop.now, None
        else:
            self.pinged = self.gateway.loop.now
            self.ws.send(PING, b'')
            self.settle()


def must_wait(session):
    """May what a compressed message still becomes not be taken yet? It can be a thousand times what has come."""
    return bool(session.ws.deflate) and session.state == OPEN and (
        session.stream.congested or session.talk.may_choke and session.talk.is_choked())


class Session(Silence):
    """Our side of one WebSocket, from the 101 to its end."""

    __slots__ = ('ws', 'identity', '_request', '_born', '_ending')

    def __init__(self, visit, welcome):
        gateway, dialect, self.identity = visit.gateway, welcome.dialect, welcome.identity
        self.ws = WebSocket(gateway.config['limits.messageBytes'], dialect.whole_messages, welcome.deflate)
        self.talk = Conversation(gateway, self, dialect, welcome.resolver)
        self._ending = None      # who ends the session, in which phase, and the close code
        self._born = self.heard = self.grown = gateway.loop.now  # grown: when a message last did
        self.pinged = None       # when our last ping went out, if nothing was heard since
        self._request = welcome.request.one('origin'), welcome.request.path
        self.take_over(visit, OPEN)  # last: until here a mistake is the visit's
        gateway.places.count_open(self.group, 1)
        self.talk.tally.now += 1
        self.talk.tally.ever += 1

    def begin(self, data):
        """``data`` has come behind the request."""
        self.watch_silence()
        self.talk.perform(self.talk.dialect.on_start())
        self.on_received(self.stream, data)

    # -- from the client -----------------------------------------------------------------------------------------------

    def wants_data(self, stream):
        talk = self.talk
        if self.ws.is_behind or self.state == OPEN and (
                stream.congested or talk.dialect.is_behind or (talk.may_choke and talk.is_choked())
                or talk.dialect.backlog >= self.gateway.config['limits.bufferBytes']):
            return 0
        return min(self.gateway.loop.share, SMALL_RECEIVE + self.ws.due)

    def on_received(self, stream, data):
        self.heard, self.pinged = self.gateway.loop.now, None
        self._take(data, QUICK_FRAMES)

    def _take(self, data, most):
        """One frame after the other: each may have the dialect be behind, or be the end."""
        self.gateway.is_verbose = LOG.isEnabledFor(logging.DEBUG)
        while most:
            for event in self.ws.receive(data, 1):
                if self.gateway.is_verbose:
                    LOG.debug('#%d < %s', self.number, event_words(event))
                self.ON_EVENT[type(event)](self, event)
            data, most = b'', most - 1
            if not self.ws.is_behind or self.talk.dialect.is_behind or self.state == ENDED:
                break
        self.settle()

    def goes_on(self):
        if self.state == OPEN and self.talk.dialect.is_behind:
            self.talk.tell(self.talk.dialect.on_turn)
        elif self.ws.is_behind and not must_wait(self):
            self._take(b'', FRAMES)
        else:
            return False
        self.touch()
        if self.stream.broken:
            self.on_unwritable(self.stream)
        return True

    def _on_text(self, event):
        self.grown = self.gateway.loop.now
        if self.state == OPEN:
            dialect = self.talk.dialect
            on_text = dialect.on_text if type(event) is Text else dialect.on_long_text
            self.talk.perform(on_text(event[0]))

    def _on_piece(self, event):
        self.grown = self.gateway.loop.now
        if self.talk.carried:
            self.talk.carried.write(event.data)
        elif self.state == OPEN:
            self.talk.perform(self.talk.dialect.on_binary(event.data, event.final))

    def _on_last(self, event):
        """The peer's Close, or its fault."""
        is_close = isinstance(event, Closed)
        self.ws.close(event.code, '' if is_close else event.reason)
        self._part(event.code, deliver=is_close)

    ON_EVENT = {Text: _on_text, LongText: _on_text, Piece: _on_piece, Closed: _on_last, Fault: _on_last,
                Ping: lambda self, event: None, Pong: lambda self, event: None}

    def on_end(self, stream, is_reset):
        self.end(CLIENT, deliver=not is_reset)

    def on_unwritable(self, stream):
        if not (self.ws.is_behind and not must_wait(self) or self.state == OPEN and self.talk.dialect.is_behind):
            self.end(CLIENT)  # else what was sent in time is carried out; reading tells of the end, too

    def on_flow(self, stream):
        for upstream in self.talk.upstreams.values():
            if upstream.stream:
                self.gateway.loop.touch(upstream.stream)
        if self.ws.is_behind:
            self.settle()

    # -- to the client -------------------------------------------------------------------------------------------------

    def relay(self, prefix, data):
        """One read of a target becomes one binary message behind ``prefix``."""
        if self.gateway.is_verbose:
            LOG.debug('#%d > binary of %d', self.number, len(prefix) + len(data))
        self.ws.send(BINARY, data, prefix)
        self.settle()

    def pour(self, prefix, pipe):
        """As relay(), for bytes in a Pipe."""
        LOG.debug('#%d > binary of %d', self.number, len(prefix) + len(pipe))
        self.stream.pour(self.ws.message_head(BINARY, len(pipe), prefix), pipe)
        self.settle()

    def settle(self):
        """After whatever has happened: send what the WebSocket has to say, account, keep to the budget, and go when
        the gateway drains and nothing is under way."""
        if self.state == ENDED:
            return
        budget, kept = self.gateway.budget, self.ws.held + self.talk.dialect.backlog
        if self.ws.out:
            self.stream.write(*self.ws.data_to_send())
        if kept != self.kept:
            self.keep(kept)
            self.grown = self.gateway.loop.now
        if self.ws.is_behind and not must_wait(self) or self.talk.dialect.is_behind:
            self.gateway.loop.line_up(self.stream, self.group, HEAVY)
        if budget.bytes > budget.most:
            budget.enforce(self)
        if self.gateway.draining:
            self.on_stopping()

    # -- the end -------------------------------------------------------------------------------------------------------

    def _note(self, by, code):
        """The WebSocket is open no more; the first cause counts."""
        if self._ending is None:
            self._ending = by, self.talk.phase(), code or '-'
            self.gateway.places.count_open(self.group, -1)
            self.talk.tally.now -= 1

    def hang_up(self, code, reason, by=GATEWAY, deliver=False):
        """Begin the close handshake (RFC 6455 section 7.1.2) and give it `drainSeconds`. ``deliver`` as for
        Upstream.drain()."""
        if self.state == OPEN:
            self.ws.close(code, reason)
            self._note(by, code)
            self.move(CLOSING)
            self.gateway.places.offer(self)
            self.talk.release(deliver, has_left=False)
            self.settle()
            if self.state == CLOSING and self.ws.state == CLOSED_DOWN:  # the peer's last word has come already
                self._part(code, deliver=False)
            elif self.state == CLOSING:  # else too much was held, and settling has ended the session
                self.rearm(self.gateway.config['limits.drainSeconds'])

    def _part(self, code, deliver):
        """The Close that is queued is our last word."""
        self.stream.write(*self.ws.data_to_send())
        self._finish(CLIENT, code, deliver)
        Farewell(self)

    def end(self, by=GATEWAY, deliver=False):
        if self.state != ENDED:
            self._finish(by, None, deliver)
            Client.end(self)

    def _finish(self, by, code, deliver):
        self._note(by, code)
        deliver = deliver and self.state == OPEN
        if self.state == OPEN:
            self.move(CLOSING)
        self.talk.release(deliver)
        self.keep(0)
        if LOG.isEnabledFor(logging.INFO):
            # All that a stranger wants to know of the session, in one line.
            origin, path = self._request
            path = printable(path) + (', identity ' + one_word(self.identity.name) if self.identity else '')
            words = (socket_text(self.peer), one_word(origin) if origin else '-', path,
                     self.talk.summary(), self.gateway.loop.now - self._born) + self._ending
            line = '%s has left: origin %s, path %s, %s, %.3f s, ended by %s in %s, code %s' % words
            self.gateway.journal.tell_last(self.group, self.number, line)

    def held(self):
        return Client.held(self) + sum(upstream.held() for upstream in self.talk.upstreams.values())

    def flush(self):
        self.stream.settle()
        for upstream in list(self.talk.upstreams.values()):
            upstream.flush()

    def on_full(self):
        if self.state == OPEN:
            LOG.warning('#%d is ended: limits.totalBytes is reached', self.number)
        self.talk.give_up()
        if self.stream.pending + self.talk.dialect.backlog > CLOSE_BEHIND or self.state != OPEN:
            self.end()  # a Close would wait behind what the client does not read, and that is what must go
        else:
            self.hang_up(TRY_LATER, 'the gateway holds too much')

    def on_stopping(self, is_over=False):
        is_busy = self.talk.upstreams or self.ws.is_behind or self.talk.dialect.is_behind
        if is_over or not is_busy:
            self.hang_up(GOING_AWAY, 'the gateway is stopping')

    def on_mistake(self):
        """The client is told, and nothing of it is kept."""
        if self.state != OPEN:
            self.end()
            return
        try:
            for action in self.talk.dialect.on_mistake():
                self.ws.send(action.opcode, action.payload)
        except Exception:
            log_mistake()
        self.hang_up(INTERNAL, 'the gateway made a mistake')


def one_word(text):
    """As printable(), and without spaces: what a stranger says must not look like the fields that follow."""
    return printable(text).replace(' ', '\\x20')


def event_words(event):
    """An event of a WebSocket for the log: its kind and its length, never its content."""
    return '%s of %d' % (type(event).__name__.lower(), 0 if isinstance(event, (Closed, Fault)) else len(event[0]))


# Keys of the Config that a running gateway cannot change.
NEEDS_RESTART = ('listen.host', 'listen.port', 'listen', 'workers', 'log.file', 'log.bytes', 'log.files')


def check_settings(config):
    """What only the world can tell of a Config. Raises ConfigError."""
    web = config['web']
    if web and not os.path.isdir(path_bytes(web)):
        raise ConfigError('"web": %s is not a folder' % printable(web))
    tokens = config['raw.tokens']
    if tokens and not os.access(path_bytes(os.path.expanduser(tokens)), os.R_OK):
        raise ConfigError('"raw.tokens": %s cannot be read' % printable(tokens))
    if config['auth.pages'] and not needs_identity(config):
        raise ConfigError('"auth.pages": nothing in "auth" can let anybody in')
    check_ssh_settings(config)
    check_sources(config)
    if speaks_tls(config):
        blocking_server_context(config)
    elif any(config[key] for key in TLS_FILES):
        useless = [key for key in TLS_FILES if config[key]][0]
        raise ConfigError('"%s" is of no use: none of "listen" has "tls"' % useless)
    if config['auth.clientCertificates'] and not config['tls.clientCa']:
        raise ConfigError('"auth.clientCertificates" is of no use: there is no "tls.clientCa"')


def speaks_tls(config):
    return any(listen.tls for listen in listeners(config))


def pages_folder():
    """Where the pages that come with ws2s are, or None: beside this file, or where a package has put them."""
    here = os.path.dirname(THIS_FILE)
    share = os.path.join('share', 'ws2s')
    places = [here, os.path.join(here, share), os.path.join(sys.prefix, share)]
    if os.path.basename(here) in ('site-packages', 'dist-packages'):  # PREFIX/lib/pythonX.Y/site-packages
        places.append(os.path.join(here, os.pardir, os.pardir, os.pardir, share))
    folders = [os.path.join(place, 'ws2s-js') for place in places]
    return next((folder for folder in folders if os.path.isfile(os.path.join(folder, 'index.html'))
                 or read_packed(folder, ['index.html'])), None)


def web_folder(gateway):
    """The folder whose files are served, or None."""
    web = gateway.config['web']
    return gateway.pages if web is None else web or None


def why_no_pages(config):
    return 'the folder ws2s-js is not beside it' if config['web'] is None else 'its configuration says so'


class Place(object):
    """The connections of one address group, the WebSockets among them, and the Clients that give way, oldest first."""

    __slots__ = ('connections', 'open', 'yielding')

    def __init__(self):
        self.connections = self.open = 0
        self.yielding = ()


class Places(Ranked):
    """How many connections and WebSockets there are, in all and from each address group, and how many there may be.

    Whoever has no WebSocket gives way to a newcomer: who has asked for nothing yet, is sent a page, or only lingers.
    First goes the oldest of the group that has most of those. So there is always a place to ask from, for /healthz say.
    """

    def __init__(self, config, load=None):
        Ranked.__init__(self)
        self.config, self.load = config, load  # a Load, where there are other workers
        self._connections = self._open = self._yielding = 0
        self._groups, self._numbers = {}, itertools.count()
        self._count(0)

    def take(self, group, is_proxy=False):
        """Is there a place for one more connection, or is one made? Then it is taken. Whose it is that a trusted proxy
        brings is still to be seen."""
        most, mine, gone = self.config['limits.clientsPerAddress'], self._groups.get(group), None
        most = 0 if is_proxy else most
        is_full = self._connections >= self.config['limits.clients'] + SPARE_CONNECTIONS
        if most and mine and mine.connections >= most + min(SPARE_CONNECTIONS, SPARE_LEAST + 2 * most):
            is_full, gone = True, next(iter(mine.yielding), None)
        elif is_full:
            gone = self._first()
        if is_full and gone is None:
            return False
        if gone is not None:
            gone.end()
        self._enter(group)
        return True

    def _enter(self, group):
        self._count(1)
        self._groups.setdefault(group, Place()).connections += 1

    def _count(self, change):
        self._connections += change
        if self.load is not None:
            self.load.tell(self._connections)

    def move(self, client, group):
        """A client that gives way is of another group than it seemed. Is there a place for it? Else it stays."""
        self.give_back(client)
        has_place = self.take(group)
        if has_place:
            client.group = group
        else:
            self._enter(client.group)
        self.offer(client)
        return has_place

    def _first(self):
        """Who gives way of all, or None."""
        while self._yielding:
            client = self.ranking.next()
            if client is None:
                self.rank((group, 1, -number, one) for group, place in self._groups.items()
                          for one, number in (place.yielding or {}).items())
            elif client in getattr(self._groups.get(client.group), 'yielding', ()):
                return client
        return None

    def give_back(self, client):
        self.hold(client)
        place = self._groups[client.group]
        self._count(-1)
        place.connections -= 1
        if not place.connections:
            del self._groups[client.group]  # the groups are strangers' addresses: none is kept for nothing

    def offer(self, client):
        """The client gives way from now on, after those who do already."""
        self.hold(client)
        place = self._groups[client.group]
        place.yielding = place.yielding or collections.OrderedDict()
        place.yielding[client] = next(self._numbers)
        self._yielding += 1

    def hold(self, client):
        """The client gives way to nobody."""
        place = self._groups[client.group]
        if client in place.yielding:
            del place.yielding[client]
            place.yielding = place.yielding or ()
            self._yielding -= 1

    def check(self, group):
        """Raise HttpError 503 when there is no place for one more WebSocket."""
        most = self.config['limits.clientsPerAddress']
        if self._open >= self.config['limits.clients']:
            raise HttpError(503, 'The gateway has too many clients (limits.clients).')
        if most and self._groups[group].open >= most:
            raise HttpError(503, 'The gateway has too many clients from this address (limits.clientsPerAddress).')

    def count_open(self, group, change):
        self._open += change
        self._groups[group].open += change


class Certificate(Handler):
    """That of our listeners. ``context``: the SSLContext, which is made anew when the files have changed and fit
    together. Raises ConfigError."""

    def __init__(self, config):
        self._config, self._state, self._timer, self._job = config, certificate_state(config), None, None
        self.context = blocking_server_context(config)

    def watch(self, loop, workers):
        self._loop, self._workers = loop, workers
        self._look_later()

    def _look_later(self):
        self._timer = self._loop.call_later(RENEWAL_SECONDS, self._look)

    def _look(self):
        self._job = self._workers.submit(b'', blocking_renew, (self._config, self._state), self._on_looked)
        if self._job is None:
            self._look_later()

    def _on_looked(self, found):
        if isinstance(found, tuple) and not isinstance(found, Failure):
            self._state, context = found
            if isinstance(context, ConfigError):
                LOG.warning('the certificate stays the old one: %s', context)  # certbot writes one file after the other
            else:
                self.context = context
                LOG.info('a new certificate is in use')
        self._look_later()

    def use(self, config):
        self._config, self._state = config, None
        self.close()
        self._look()

    def close(self):
        for one in (self._timer, self._job):
            if one is not None:
                one.cancel()


# What is counted: the rows of one table. A row is a list of integers, one for each way of choosing one value for each
# of its labels, and all rows together are the cells of a gateway. Nothing that a client says becomes a label.
Family = collections.namedtuple('Family', 'name kind help labels read')

COUNTER, GAUGE, HISTOGRAM = 'counter', 'gauge', 'histogram'
INTERNAL_GAUGE = 'internal'    # for `ws2sd status`, not for /metrics

COUNTS_PATH, COUNTS_TYPE = '/metrics', 'text/plain; version=0.0.4; charset=utf-8'
PUBLISH_SECONDS = 1            # between copies of the cells for other workers, while there are clients
DIAL_BOUNDS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
TURN_BOUNDS = (0.0001, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1)
MICRO = 1000000.0              # sums of seconds are kept as integers, too

NO_ANSWER, OTHER = 'none', 'other'
STATUSES = tuple(sorted(status for status in REASONS if status >= 400)) + (NO_ANSWER, OTHER)
FAILURE_REASONS = ('bad-request', 'dns', 'forbidden', 'idle', 'internal', 'limit', 'refused', 'reset', 'ssh-auth',
                   'ssh-disabled', 'ssh-failed', 'ssh-hostkey', 'ssh-missing', 'ssh-timeout', 'ssh-unreachable',
                   'timeout', 'tls', 'unreachable', OTHER)
DIRECT, BY_SSH, BY_TLS = KINDS = 'direct', 'ssh', 'tls'
REACHED, FAILED, ABANDONED = OUTCOMES = 'reached', 'failed', 'abandoned'
DIALECT_NAMES = tuple(dialect.name for _, dialect in DIALECTS) + (Dialect.name,)

DIALECT_LABEL, KIND_LABEL = ('dialect', DIALECT_NAMES), ('kind', KINDS)

FAMILIES = (
    Family('ws2s_clients', GAUGE, 'WebSockets that are open.', (DIALECT_LABEL,),
           lambda gateway: [tally.now for tally in gateway.counts.tallies.values()]),
    Family('ws2s_clients_total', COUNTER, 'WebSockets that were opened.', (DIALECT_LABEL,),
           lambda gateway: [tally.ever for tally in gateway.counts.tallies.values()]),
    Family('ws2s_refusals_total', COUNTER, 'Requests that were refused, by HTTP status; none: without an answer.',
           (('status', STATUSES),), lambda gateway: gateway.counts.refusals.values()),
    Family('ws2s_failures_total', COUNTER, 'Targets that were not reached, or lost other than by their end.',
           (('reason', FAILURE_REASONS),), lambda gateway: gateway.counts.failures.values()),
    Family('ws2s_dials_total', COUNTER, 'Dials that are over; abandoned: the client has left or changed its mind.',
           (KIND_LABEL, ('outcome', OUTCOMES)), lambda gateway: gateway.counts.dials.values()),
    Family('ws2s_dial_seconds', HISTOGRAM, 'Time that it took to reach targets.', (KIND_LABEL, ('le', DIAL_BOUNDS)),
           lambda gateway: itertools.chain(*[dials.cells() for dials in gateway.counts.dial_seconds.values()])),
    Family('ws2s_bytes_total', COUNTER, 'Bytes to targets (up) and from them (down).',
           (DIALECT_LABEL, ('direction', ('up', 'down'))),
           lambda gateway: itertools.chain(*[(tally.up, tally.down) for tally in gateway.counts.tallies.values()])),
    Family('ws2s_held_bytes', GAUGE, 'Bytes that clients make the gateway hold.', (),
           lambda gateway: [gateway.budget.bytes]),
    Family('ws2s_held_bytes_limit', GAUGE, 'Bytes that they may (limits.totalBytes).', (),
           lambda gateway: [gateway.budget.most]),
    Family('ws2s_tunnels', GAUGE, 'Processes of ssh.', (), lambda gateway: [len(gateway.tunnels.tunnels)]),
    Family('ws2s_lookups_waiting', GAUGE, 'Look-ups of names that wait for a thread.', (),
           lambda gateway: [gateway.lookups.count_waiting()]),
    Family('ws2s_turn_seconds', HISTOGRAM, 'Turns of the event loop, without the time in which it slept.',
           (('le', TURN_BOUNDS),), lambda gateway: gateway.counts.turns.cells()),
    Family('ws2s_descriptors', GAUGE, 'Open descriptors.', (), lambda gateway: [count_descriptors()]),
    Family('ws2s_resident_bytes', GAUGE, 'Resident memory.', (), lambda gateway: [resident_bytes()]),
    Family('ws2s_workers', GAUGE, 'Processes that serve.', (), lambda gateway: [1]),
    Family('ws2s_rates', INTERNAL_GAUGE, '', (('of', ('opened', 'up', 'down')),),
           lambda gateway: gateway.counts.rates),
)
# Of one worker each, or of none: not cells.
WORKER_CLIENTS = 'ws2s_worker_clients', 'WebSockets that are open in each worker.'
BUILD_INFO = 'ws2s_build_info', 'Version of ws2s and of the Python that runs it.'


def series_name(name, labels):
    """``labels``: pairs."""
    if not labels:
        return name
    escaped = [(label, re.sub(r'(["\\])', r'\\\1', '%s' % value).replace('\n', '\\n')) for label, value in labels]
    return '%s{%s}' % (name, ','.join('%s="%s"' % pair for pair in escaped))


def cells_of(family):
    """A pair (series, does it only ever grow?) for each of the family's cells."""
    if family.kind == HISTOGRAM:
        for labels in label_pairs(family.labels[:-1]):
            for bound in family.labels[-1][1] + ('+Inf',):
                yield series_name(family.name + '_bucket', labels + (('le', bound),)), True
            yield series_name(family.name + '_sum', labels), True
    else:
        for labels in label_pairs(family.labels):
            yield series_name(family.name, labels), family.kind == COUNTER


def label_pairs(labels):
    return itertools.product(*[[(label, value) for value in values] for label, values in labels])


CELLS = tuple(cell for family in FAMILIES for cell in cells_of(family))

# The cells of a gateway: ``number`` of its worker, ``is_alive``: else only those that grow count.
Cells = collections.namedtuple('Cells', 'number is_alive values')


def metrics_text(rows, families=FAMILIES):
    """The sum of all the Cells in ``rows``, in the text format 0.0.4 of Prometheus."""
    live = [row for row in rows if row.is_alive]
    ever, now = [[sum(column) for column in zip(*[row.values for row in some])] for some in (rows, live)]
    totals, lines = iter(zip(ever, now)), []
    for family in families:
        found = [(series, next(totals)[not grows]) for series, grows in cells_of(family)]
        if family.kind != INTERNAL_GAUGE:
            lines += ['# HELP %s %s' % (family.name, family.help), '# TYPE %s %s' % (family.name, family.kind)]
            lines += histogram_lines(found) if family.kind == HISTOGRAM else ['%s %d' % pair for pair in found]
    width = len(DIALECT_NAMES)  # FAMILIES begins with the clients of each
    for (name, words), series in (
            (WORKER_CLIENTS, [((('worker', row.number),), sum(row.values[:width])) for row in live]),
            (BUILD_INFO, [((('version', __version__), ('python', PYTHON_VERSION)), 1)])):
        lines += ['# HELP %s %s' % (name, words), '# TYPE %s gauge' % name]
        lines += ['%s %d' % (series_name(name, labels), value) for labels, value in series]
    return '\n'.join(lines) + '\n'


def histogram_lines(found):
    """Cells count what is within one bound and beyond the one before; the text wants all that is within it."""
    lines, count = [], 0
    for series, value in found:
        if '_sum' in series:
            count_series = series.replace('_sum', '_count')
            lines += ['%s %.6f' % (series, value / MICRO), '%s %d' % (count_series, count)]
            count = 0
        else:
            count += value
            lines.append('%s %d' % (series, count))
    return lines


class Histogram(object):
    """How many values were within which bound and beyond the one before, and the sum of all."""

    __slots__ = ('bounds', 'counts', 'sum')

    def __init__(self, bounds):
        self.bounds, self.counts, self.sum = bounds, [0] * (len(bounds) + 1), 0.0

    def note(self, seconds):
        self.counts[bisect.bisect_left(self.bounds, seconds)] += 1
        self.sum += seconds

    def cells(self):
        return self.counts + [int(self.sum * MICRO)]


class Tally(object):
    """What clients of one dialect do: how many there are ``now`` and were ``ever``, and their bytes."""

    __slots__ = ('now', 'ever', 'up', 'down')

    def __init__(self):
        self.now = self.ever = self.up = self.down = 0


class Counts(Handler):
    """What has happened in a gateway: plain integers, which FAMILIES names. ``exchange(cells)`` gives those of this
    gateway to others, and has the Cells of all."""

    def __init__(self, gateway, exchange=None):
        self._gateway, self._exchange, self._timer = gateway, exchange, None
        self.tallies = collections.OrderedDict((name, Tally()) for name in DIALECT_NAMES)
        self.refusals = collections.OrderedDict.fromkeys(STATUSES, 0)
        self.failures = collections.OrderedDict.fromkeys(FAILURE_REASONS, 0)
        self.dials = collections.OrderedDict.fromkeys(itertools.product(KINDS, OUTCOMES), 0)
        self.dial_seconds = collections.OrderedDict((kind, Histogram(DIAL_BOUNDS)) for kind in KINDS)
        self.turns = Histogram(TURN_BOUNDS)
        self.rates, self._before = [0, 0, 0], (0, 0, 0, 0)

    def note_refusal(self, status):
        self.refusals[status if status in self.refusals else OTHER] += 1

    def note_failure(self, failure):
        self.failures[failure.reason if failure.reason in self.failures else OTHER] += 1

    def note_dial(self, kind, seconds, failure):
        self.dials[kind, FAILED if failure else REACHED] += 1
        if failure:
            self.note_failure(failure)
        else:
            self.dial_seconds[kind].note(seconds)

    def text(self):
        cells = self._cells()
        return metrics_text(list(self._exchange(cells)) if self._exchange else [Cells(0, True, cells)])

    def _cells(self):
        return [value for family in FAMILIES for value in family.read(self._gateway)]

    def wake(self):
        """A client has come: others are told of what it does, as long as there is any."""
        if self._exchange and self._timer is None:
            self._before = self._progress()
            self._timer = self._gateway.loop.call_later(PUBLISH_SECONDS, self._on_time)

    def _progress(self):
        tallies = self.tallies.values()
        sums = [sum(getattr(tally, name) for tally in tallies) for name in ('ever', 'up', 'down')]
        return [self._gateway.loop.now] + sums

    def _on_time(self):
        before, after, self._timer = self._before, self._progress(), None
        seconds = max(PUBLISH_SECONDS, after[0] - before[0])
        self.rates = [int((new - old) / seconds) for old, new in zip(before[1:], after[1:])]
        if self._gateway.is_busy():
            self.wake()
        else:
            self.rates = [0, 0, 0]
        self.publish()

    def publish(self):
        if self._exchange:
            self._exchange(self._cells())


class Entrance(object):
    """The listeners of a gateway, and the Certificate of those that have one. ``socks`` were handed to us, for
    ``listens``; without them we bind some."""

    def __init__(self, socks, listens):
        self._socks, self._listens = list(socks), listens
        self._bound, self.listeners, self.certificate = [], [], None

    def bind(self, config):
        """The names of the sockets. Raises ServeError or ConfigError."""
        self.certificate = Certificate(config) if speaks_tls(config) else None
        listens = self._listens or [listen_of(sock, config) for sock in self._socks]
        self._bound = [Bound(*pair + (None,)) for pair in zip(self._socks, listens)] or bound_listeners(config)
        names = [bound.sock.getsockname() for bound in self._bound]
        for bound, name in zip(self._bound, names):
            (prepare if isinstance(name, tuple) else unblock)(bound.sock)  # what is accepted has the same options
            LOG.info('ws2s %s listens on %s', __version__, socket_text(name))
        return names

    def open(self, loop, on_accepted, load):
        self.listeners = [Listener(loop, bound.sock, functools.partial(on_accepted, bound.listen), load)
                          for bound in self._bound]

    def watch(self, loop, workers):
        if self.certificate:
            self.certificate.watch(loop, workers)

    def use(self, config):
        if self.certificate:
            self.certificate.use(config)

    def is_open(self):
        return bool(self.listeners)

    def take_last(self):
        for listener in self.listeners:
            listener.take_last()

    def close(self):
        for listener in self.listeners:
            listener.close()
        close_bound(self._bound)
        self.listeners, self._bound = [], []
        if self.certificate:
            self.certificate.close()


SERVING, ANNOUNCING, RETIRED = 'serving', 'announcing', 'retired'

# announcing: /healthz says that we are about to stop. Retired: others have our listeners, and we see our clients out.
GATEWAY_MOVES = {SERVING: (ANNOUNCING, RETIRED, DRAINING), ANNOUNCING: (RETIRED, DRAINING), RETIRED: (DRAINING,),
                 DRAINING: (DRAINING,)}


class Gateway(object):
    """Listeners, clients, limits and counts.

    Embedding: ``gateway = Gateway(parse_config(text))``, ``gateway.start()`` runs it in a thread of its own,
    ``gateway.address`` is where it listens first, ``gateway.stop()`` ends it. ``dialects``: rows as those of DIALECTS.
    ``resolve(host, port)`` runs in a thread and gives pairs (family, address) or a Failure; ``owns(packed)`` tells
    whether an address is the machine's own. ``socks`` are listening sockets to use instead of binding some, and
    ``listens`` what each is for. ``workers``: how many gateways, each in a process of its own, share what the system
    allows one user; where they share the sockets, too, each has a ``load``, a Load. ``exchange(cells)`` is how they
    share their Counts.
    """

    draining = False  # beside the state, as each message asks
    leaving = property(lambda self: self._state in (ANNOUNCING, DRAINING))

    def __init__(self, config, dialects=DIALECTS, resolve=blocking_resolve, owns=owns_address, socks=(), workers=1,
                 listens=(), load=None, exchange=None):
        self.config = config
        self._dialects, self._resolve, self._workers = tuple(dialects), resolve, workers
        self.judge, self.places = Judge(config, owns), Places(config, load)
        self.numbers, self.counts = itertools.count(1), Counts(self, exchange)
        self.budget = Budget(config['limits.totalBytes'])
        self.clients, self.upstreams = self.budget.present, set()
        self._new_config = None   # of a reload that the loop has not carried out yet
        self._state, self.is_verbose = SERVING, False  # is each message logged?
        self.entrance, self._thread = Entrance(socks, listens), None
        self._asked = []
        self._given_up_at = None  # when the loop ends at the latest, once all was ended
        self.loop = self.journal = self.lookups = self.files = self.logins = self.resolver = self.tunnels = None
        self.contexts = self.address = None
        self.tokens, self.passwords, self.failures = Tokens(), Passwords(), Failures()
        self.packings = Packings()
        self.pages = pages_folder()

    # -- life ----------------------------------------------------------------------------------------------------------

    def listen(self):
        """Bind. Raises ServeError or ConfigError."""
        check_settings(self.config)
        names = self.entrance.bind(self.config)
        self.address = names[0][:2] if isinstance(names[0], tuple) else names[0]
        self.judge.ports = set(name[1] for name in names if isinstance(name, tuple))

    def start(self):
        """Serve in a thread of its own. Raises ServeError or ConfigError when it cannot."""
        self.prepare()
        self._thread = threading.Thread(target=self._serve, name='ws2s')
        self._thread.daemon = True
        self._thread.start()

    def stop(self):
        """Drain, and wait until all is gone: `announceSeconds`, `drainSeconds` and a moment at most."""
        if self.loop is None:
            self.entrance.close()
            return
        self.drain()
        if self._thread:
            self._thread.join(self.config['limits.announceSeconds'] + self.config['limits.drainSeconds'] + 5)
            self._thread = None

    def run(self):
        """Serve in this thread until drain() or abort() is called. Raises ServeError or ConfigError when it cannot."""
        if self.loop is None:
            self.prepare()
        self._serve()

    def drain(self):
        """Begin to stop: /healthz says so for `announceSeconds`; then no more accepting, WebSockets are closed by 1001
        when their TCP connections have ended, or after `drainSeconds`. From any thread or signal handler."""
        self._ask(self._begin_drain)

    def reload(self, config):
        """Go on with another Config; what is open lives on. From any thread. Raises ConfigError, and changes nothing.

        What is only read at the start, NEEDS_RESTART, stays as it is.
        """
        check_settings(config)
        self._new_config = config
        self._ask(self._use_new_config)

    def _use_new_config(self):
        config = self.config = self.places.config = self._new_config
        self.resolver.use(config)
        self.tunnels.use(config)
        self.contexts.forget()
        self.entrance.use(config)
        self.budget.resize(config['limits.totalBytes'])
        self.counts.publish()
        for client in self.clients:
            client.on_config()

    def abort(self):
        """Stop at once. From any thread or signal handler."""
        self._ask(self._end_all)

    def _ask(self, callback):
        if self.loop:
            self.loop.post(callback)
        else:
            self._asked.append(callback)  # a signal may come before the loop is there

    def prepare(self, accepts=True):
        """Bind, and make what serving takes. Without ``accepts`` whoever comes waits until accept() is called. Raises
        ServeError or ConfigError."""
        if self.loop is not None:
            raise ServeError('this gateway has been started before; make another one')
        if self.address is None:
            self.listen()
        self.loop = self.budget.loop = self.places.loop = Loop(self._workers)
        self.journal = Journal(self.loop)
        self.lookups = Workers(self.loop, LOOKUP_THREADS, LOOKUPS_WAITING)
        self.files = Workers(self.loop, FILE_THREADS, FILES_WAITING)
        self.logins = Workers(self.loop, PASSWORD_THREADS, PASSWORDS_WAITING)
        self.contexts = Contexts(self.files)
        self.entrance.watch(self.loop, self.files)
        self.resolver = Resolver(self.loop, self.lookups, self._resolve, self.judge, Sources(self.config))
        self.tunnels = Tunnels(self.loop, self.config)
        clear_leftovers()
        if accepts:
            self.accept()
        while self._asked:
            self.loop.post(self._asked.pop(0))

    def accept(self):
        """Begin to take connections. In the loop's thread."""
        self.entrance.open(self.loop, self._on_accepted, self.places.load)

    def retire(self, seconds):
        """Take no more connections, since others have our listening sockets, and end when the last client has gone.
        After ``seconds`` as drain(); 0 is never. In the loop's thread."""
        self._move(RETIRED)
        self.entrance.take_last()
        LOG.info('ws2s takes no more connections: %d clients are left', len(self.clients))
        self.entrance.close()
        if seconds:
            self.loop.call_later(seconds, self._begin_drain)

    def _serve(self):
        turns = self.counts.turns
        try:
            self.counts.publish()
            while self._state in (SERVING, ANNOUNCING) or self.is_busy():
                self.loop.turn()
                spent = max(0.0, stopwatch() - self.loop.woke)  # in place: most messages have a turn to themselves
                turns.counts[bisect.bisect_left(turns.bounds, spent)] += 1
                turns.sum += spent
        finally:
            self._end_all()
            self.counts.publish()
            self.lookups.close(1)
            self.files.close(1)
            self.logins.close(1)
            self.tunnels.close(5)
            self.journal.catch_up()
            self.loop.close()
            LOG.info('ws2s has stopped')

    def _move(self, state):
        assert state in GATEWAY_MOVES[self._state], (self._state, state)
        self._state, self.draining = state, state == DRAINING

    def is_busy(self):
        if self._given_up_at is not None and self.loop.now >= self._given_up_at:
            return False  # only threads that hang are left
        return self.clients or self.upstreams or self.tunnels.tunnels

    def _begin_drain(self):
        if self.draining:
            return
        if self._state == SERVING and self.entrance.is_open() and self.config['limits.announceSeconds']:
            self._move(ANNOUNCING)
            LOG.info('ws2s is about to stop: %d clients', len(self.clients))
            self.loop.call_later(self.config['limits.announceSeconds'], self._begin_drain)
            return
        self._move(DRAINING)
        LOG.info('ws2s is stopping: %d clients', len(self.clients))
        self.entrance.close()
        for client in list(self.clients):
            client.on_stopping()
        self.loop.call_later(self.config['limits.drainSeconds'], self._end_drain)

    def _end_drain(self):
        """What is still open is closed now; what was queued before has a moment to go out."""
        for client in list(self.clients):
            client.on_stopping(is_over=True)
        self.loop.call_later(GOODBYE_SECONDS, self._end_all)

    def _end_all(self):
        self._move(DRAINING)
        self.entrance.close()
        for one in list(self.clients) + list(self.upstreams):
            one.end()
        self.tunnels.end()
        if self._given_up_at is None:
            self._given_up_at = self.loop.now + GIVE_UP_SECONDS
            self.loop.call_later(GIVE_UP_SECONDS, self.counts.publish)  # anything, so that the loop turns then

    def on_mistake(self):
        """The loop has logged it; the next turn goes on."""

    # -- clients and upstreams -----------------------------------------------------------------------------------------

    def _on_accepted(self, listen, sock, peer):
        peer = peer[:2] if isinstance(peer, tuple) else UNIX_PEER
        group, is_proxy = address_group(peer[0]), is_trusted(peer_address(peer), self.config)
        self.counts.wake()
        if (is_proxy or not listen.proxyProtocol) and self.places.take(group, is_proxy):
            sock.setblocking(False)
            close_on_exec(sock.fileno())
            Visit(self, listen, sock, peer, group, is_proxy)
        else:
            why = 'too many connections' if is_proxy or not listen.proxyProtocol else 'it is none of trustedProxies'
            self.journal.tell_of_address(logging.WARNING, group, '%s is turned away: %s', socket_text(peer), why)
            self.counts.note_refusal(NO_ANSWER)
            sock.close()

    def on_client_gone(self, client):
        self.clients.discard(client)
        self.places.give_back(client)

    def dialect_for(self, request):
        """The dialect object that serves this request. Raises HttpError."""
        if self.draining:
            raise HttpError(503, 'The gateway is stopping.')
        for serves, dialect in self._dialects:
            if serves(request, self.config):
                return dialect(request, self.config)
        raise HttpError(404, 'No dialect is spoken under this path.')

    def on_left(self, upstream):
        """Upstreams whose client has left are bounded too: of the group that has most goes the first that owes nothing
        to its target, else the oldest."""
        left = self.budget.left
        left.setdefault(upstream.group, collections.OrderedDict())[upstream] = True
        if sum(map(len, left.values())) > DRAINING_CONNECTIONS:
            largest = max(left.values(), key=len)
            oldest = next(iter(largest))
            oldest.flush()
            next((one for one in largest if not one.held()), oldest).end()

    def on_upstream_ended(self, upstream):
        self.upstreams.discard(upstream)
        group = self.budget.left.get(upstream.group, {})
        group.pop(upstream, None)
        if not group:
            self.budget.left.pop(upstream.group, None)


# ======================================================================================================================
# 15. Command line
# ======================================================================================================================
# What belongs to the program and not to the gateway: arguments, the config file, logs, signals, exit status.

DEFAULT_CONFIG_FILE = os.path.join('~', '.ws2s', 'config.json')
SERVED, CANNOT_SERVE, BAD_USAGE = 0, 1, 2
FIRST_INHERITED = 3  # SD_LISTEN_FDS_START of sd_listen_fds(3)
OWN_GROUPS = '/proc/self/cgroup'  # cgroups(7)
# What shows a container, and shows nowhere else: its runtime's files, the value of `container`, a group of its own.
CONTAINER_FILES = '/.dockerenv', '/run/.containerenv'
CONTAINERS = 'docker', 'lxc', 'oci', 'podman', 'systemd-nspawn'
CONTAINER_GROUPS = re.compile(
    r'[:/](?:kubepods[./]|lxc(?:\.payload\.|/)|(?:docker|ecs|libpod|garden|buildkit)/[0-9a-f]{12}'
    r'|(?:docker|libpod|crio|cri-containerd|nerdctl)-[0-9a-f]{12})')
SECRET_FILE_BYTES = 65536
PASSWORD_ROUNDS, SALT_BYTES = 600000, 16
LEAST_DESCRIPTORS = 24  # of which half are in use before the first client comes
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)
PATIENCE_SECONDS = 0.1            # for a reader of the log who does not read: clients wait meanwhile
STDERR = 2
LINE_BYTES = select.PIPE_BUF - 2  # what a pipe takes whole or not at all, with a line feed before and after


class ArgumentParser(argparse.ArgumentParser):
    def error(self, message):
        raise ConfigError('%s (--help tells more)' % printable(message))


def parse_arguments(argv):
    """Raises ConfigError."""
    parser = ArgumentParser(prog='ws2s', description='A gateway from WebSocket to TCP: JavaScript in a browser reaches '
                                                     'Redis, databases, mail, anything that speaks TCP.')
    parser.add_argument('--config', metavar='FILE', help='JSON configuration; %s is used when it exists'
                                                         % DEFAULT_CONFIG_FILE)
    parser.add_argument('--listen', metavar='HOST:PORT', action='append', help=(
        'where to listen (127.0.0.1:3613), or unix:PATH; may be given more than once'))
    parser.add_argument('--tls', metavar='CERT[,KEY]', help='speak TLS with these files, in PEM')
    parser.add_argument('--self-signed', action='store_true', help='try TLS out, with a certificate made for that')
    parser.add_argument('--allow-local', action='store_true', help="let clients reach this machine's own services")
    parser.add_argument('--allow-origin', metavar='ORIGIN', action='append', help='let pages of this origin connect; '
                                                                                  'may be given more than once')
    parser.add_argument('--web', metavar='DIR', help='serve the static files of this folder')
    parser.add_argument('--log-level', metavar='LEVEL', help='debug, info, warning or error')
    parser.add_argument('--print-config', action='store_true', help='show the configuration in force, and stop')
    parser.add_argument('--check', metavar='HOST:PORT', help='tell which rule decides about a target, and stop')
    parser.add_argument('--as', metavar='NAME', dest='identity', help='with --check: for this identity of "auth"')
    parser.add_argument('--hash-password', action='store_true', help='show what "auth.users" wants of a password that '
                                                                     'is asked for, and stop')
    parser.add_argument('--mint-token', metavar='NAME', help='show a JSON Web Token by "auth.jwt", and stop')
    parser.add_argument('--targets', metavar='RULE', nargs='+', help='with --mint-token: rules HOST[:PORTS]')
    parser.add_argument('--hours', metavar='N', type=int, help='with --mint-token: for how long it is good (1)')
    parser.add_argument('--version', action='store_true', help='show the version, and stop')
    arguments = parser.parse_args(argv)
    if (arguments.identity is not None and arguments.check is None
            or (arguments.targets, arguments.hours) != (None, None) and arguments.mint_token is None):
        raise ConfigError('--as goes with --check, --targets and --hours with --mint-token')
    return arguments


# Options of websockify that ask for nothing else than what is done here anyway.
WEBSOCKIFY_ANYWAY = '--file-only', '--no-parent'
# What else it has, and what to do instead.
WEBSOCKIFY_OTHERWISE = {
    'key-password': 'the key must not be encrypted', 'ssl-target': 'write tls behind a target in the file of tokens',
    'ssl-version': 'set tls.minVersion', 'ssl-ciphers': 'the ciphers are those of Python',
    'verify-client': 'set tls.clientCa', 'cafile': 'set tls.clientCa',
    'unix-target': 'Unix sockets are no targets here', 'target-config': 'use --token-plugin',
    'unix-listen': 'use ws2s.py --listen unix:PATH', 'traffic': 'payloads are never logged',
    'record': 'payloads are never recorded', 'run-once': 'use --idle-timeout', 'timeout': 'use --idle-timeout',
    'wrap-mode': 'no program is wrapped; begin it yourself', 'inetd': 'use a socket unit of systemd',
    'auth-plugin': 'set allowedOrigins, or "auth" in the configuration of ws2s.py without websockify',
    'auth-source': 'see --auth-plugin',
    'web-auth': 'see --auth-plugin', 'syslog': 'use --log-file',
    'legacy-syslog': 'use --log-file', 'libserver': 'there is one server only', 'prefer-ipv6': 'name the address',
    'source-is-ipv6': 'use [::]:PORT'}


def websockify_parser():
    parser = ArgumentParser(prog='ws2s websockify', description=(
        'Takes the place of websockify: raw bytes to one target, or to the targets of tokens, and nothing else.'))
    parser.add_argument('source', metavar='[HOST:]PORT', help='where to listen; all addresses without HOST')
    parser.add_argument('target', metavar='TARGET:PORT', nargs='?', help='where the bytes go, but for tokens')
    parser.add_argument('--web', metavar='DIR', help='serve the static files of this folder')
    parser.add_argument('--token-plugin', metavar='PLUGIN', help='TokenFile or ReadOnlyTokenFile')
    parser.add_argument('--token-source', metavar='PATH', help='file or folder of lines TOKEN: HOST:PORT')
    parser.add_argument('--host-token', action='store_true', help='the name in the Host header is the token')
    parser.add_argument('--heartbeat', metavar='N', help='seconds between pings')
    parser.add_argument('--idle-timeout', metavar='N', help='end after so many seconds without a client')
    parser.add_argument('--log-file', metavar='FILE', help='log there instead of to standard error')
    parser.add_argument('-D', '--daemon', action='store_true', help='go into the background')
    parser.add_argument('-v', '--verbose', action='store_true', help='log more')
    parser.add_argument('--allow-origin', metavar='ORIGIN', action='append', help='only pages of this origin; may be '
                                                                                  'given more than once')
    parser.add_argument('--cert', metavar='FILE', help='certificate and its chain, in PEM; with --ssl-only')
    parser.add_argument('--key', metavar='FILE', help='its key, in PEM; without, it is in the file of --cert')
    parser.add_argument('--ssl-only', action='store_true', help='speak TLS and nothing else')
    for option in WEBSOCKIFY_ANYWAY:
        parser.add_argument(option, action='store_true', help=argparse.SUPPRESS)
    return parser


def websockify_arguments(argv):
    """What stands behind ``websockify``. Raises ConfigError, which names our way for an option that we have not."""
    for argument in argv:
        name = argument.partition('=')[0].lstrip('-')
        if argument.startswith('--') and name in WEBSOCKIFY_OTHERWISE:
            raise ConfigError('--%s: %s' % (name, WEBSOCKIFY_OTHERWISE[name]))
    arguments = websockify_parser().parse_args(argv)
    if arguments.token_plugin not in (None, 'TokenFile', 'ReadOnlyTokenFile'):
        raise ConfigError('--token-plugin: only TokenFile and ReadOnlyTokenFile are there')
    if (arguments.token_plugin is None) != (arguments.token_source is None):
        raise ConfigError('--token-plugin and --token-source go together')
    if arguments.ssl_only != (arguments.cert is not None) or arguments.key and not arguments.cert:
        raise ConfigError('--cert and --ssl-only go together: a port speaks TLS, or it does not')
    if arguments.target is None and arguments.token_plugin is None:
        raise ConfigError('TARGET:PORT or --token-plugin must say where the bytes go')
    return arguments


def websockify_config(arguments):
    """The Config that does what websockify would do. Raises ConfigError.

    Its clients choose no target, so that all of this machine may be one; and pages of any origin may connect there.
    """
    host, port = arguments.source.rpartition(':')[::2]
    host, port = split_target('%s:%s' % (host or '0.0.0.0', port), '[HOST:]PORT')
    given = {'listen.host': host, 'listen.port': port, 'allowConnectToServerLocal': True, 'raw.only': True,
             'allowedOrigins': arguments.allow_origin or ['*'], 'web': absolute_path(arguments.web) or False,
             'raw.hostToken': arguments.host_token}
    optional = {'raw.target': arguments.target, 'raw.tokens': absolute_path(arguments.token_source),
                'log.file': absolute_path(arguments.log_file), 'log.level': 'debug' if arguments.verbose else None,
                'limits.pingSeconds': whole_seconds(arguments.heartbeat, '--heartbeat')}
    given.update((key, value) for key, value in optional.items() if value is not None)
    config = DEFAULTS.replace(given)
    return with_tls(config, absolute_path(arguments.cert), absolute_path(arguments.key)) if arguments.cert else config


def absolute_path(path):
    """In the background the working directory is another one."""
    return path and os.path.abspath(os.path.expanduser(path))


def whole_seconds(text, option):
    if text is not None and not re.match(r'[0-9]{1,7}\Z', text):
        raise ConfigError('%s wants a number of seconds' % option)
    return text and int(text)


def serve_as_websockify(argv):
    arguments = websockify_arguments(argv)
    seconds = whole_seconds(arguments.idle_timeout, '--idle-timeout')

    def on_prepared(gateway):
        if seconds:
            leave_when_alone(gateway, seconds)

    config = websockify_config(arguments)
    return serve(lambda: config, go_into_background if arguments.daemon else None, on_prepared)


def leave_when_alone(gateway, seconds, alone=0):
    """Drain when there has been no client for so many seconds."""
    if alone >= seconds:
        gateway.drain()
    else:
        gateway.loop.call_later(1, lambda: leave_when_alone(gateway, seconds, 0 if gateway.clients else alone + 1))


def go_into_background():
    """The child goes on, in a session of its own, and this process has done what it was to do."""
    if os.fork():
        os._exit(SERVED)
    os.setsid()
    os.chdir('/')
    nothing = os.open(os.devnull, os.O_RDWR)
    for fd in range(FIRST_INHERITED):
        os.dup2(nothing, fd)
    os.close(nothing)


def read_config_file(path):
    """The Config of the named file, or of the default one when it exists. Raises ConfigError."""
    default = os.path.expanduser(DEFAULT_CONFIG_FILE)
    if path is None and (default.startswith('~') or not os.path.exists(default)):  # no file, or a user without a home
        return DEFAULTS
    path = path or default
    try:
        with open(path, 'rb') as file:
            return parse_config(config_text(file.read()), functools.partial(read_source, os.path.dirname(path)))
    except (IOError, OSError) as error:
        raise ConfigError('%s: %s' % (printable(path), os.strerror(error.errno)))
    except ConfigError as error:
        raise ConfigError('%s: %s' % (printable(path), error))


def read_source(folder, kind, name):
    """The secret in a variable of the environment, or in a file. Raises ConfigError."""
    if kind == 'env':
        if name not in os.environ:
            raise ConfigError('the variable %s is not set' % printable(name))
        return config_text(path_bytes(os.environ[name]))
    path = os.path.realpath(path_bytes(os.path.join(folder, os.path.expanduser(name))))
    try:
        with opened(path, os.O_RDONLY) as fd, io.open(fd, 'rb', closefd=False) as file:
            mode = os.fstat(fd).st_mode
            if not stat.S_ISREG(mode) or mode & (stat.S_IROTH | stat.S_IWOTH):
                raise ConfigError('%s is not only for its owner; chmod o-rwx helps' % printable(name))
            return re.sub(u'\r?\n\\Z', u'', config_text(file.read(SECRET_FILE_BYTES)))
    except (IOError, OSError) as error:
        raise ConfigError('%s: %s' % (printable(name), os.strerror(error.errno)))


def split_target(text, option):
    """(host, port) of an argument HOST:PORT. Raises ConfigError."""
    host, port = split_host_port(text)
    if not host or port is None or not re.match(r'[0-9]{1,5}\Z', port) or int(port) > 65535:
        raise ConfigError('%s wants HOST:PORT, an IPv6 address in brackets' % option)
    return host, int(port)


def listen_settings(texts):
    """Changes of a Config for the arguments of --listen. Raises ConfigError."""
    found = []
    for text in texts:
        if text.startswith('unix:') or '/' in text:
            found.append({'path': re.sub(r'\Aunix:', '', text)})
        else:
            found.append(dict(zip(('host', 'port'), split_target(text, '--listen'))))
    if len(found) == 1 and 'host' in found[0]:
        return {'listen': None, 'listen.host': found[0]['host'], 'listen.port': found[0]['port']}
    return {'listen': found}


def with_tls(config, certificate, key):
    """The Config all of whose listeners speak TLS."""
    listens = [dict(plain_value(listen), tls=True) for listen in listeners(config)]
    return config.replace({'listen': listens, 'tls.certificate': certificate, 'tls.key': key})


def with_arguments(config, arguments):
    """The Config with what the command line says. Raises ConfigError."""
    given = {'allowConnectToServerLocal': arguments.allow_local or None, 'web': arguments.web,
             'log.level': arguments.log_level}
    if arguments.listen is not None:
        config = config.replace(listen_settings(arguments.listen))
    if arguments.allow_origin is not None:
        given['allowedOrigins'] = plain_value(config['allowedOrigins']) + arguments.allow_origin
    config = config.replace({key: value for key, value in given.items() if value is not None})
    if arguments.tls is not None or arguments.self_signed:
        certificate, _, key = (self_signed() if arguments.tls is None else arguments.tls).partition(',')
        config = with_tls(config, certificate, key or None)
    return config.replace({'web': os.path.expanduser(config['web'])}) if config['web'] else config


def argument_text(argument):
    return argument if isinstance(argument, text_type) else argument.decode('utf-8', 'replace')


def self_signed():
    """CERT,KEY: files that the openssl program makes once a month, for this machine alone. Raises ConfigError."""
    folder = os.path.expanduser(os.path.join('~', '.ws2s'))
    certificate, key = [os.path.join(folder, name) for name in ('self-signed.crt', 'self-signed.key')]
    if not os.path.exists(certificate) or time.time() - os.stat(certificate).st_mtime > SELF_SIGNED_SECONDS:
        try:
            make_folder(folder)
            before = os.umask(0o077)
            try:
                subprocess.check_output(OPENSSL_REQUEST + ['-keyout', key, '-out', certificate], stdin=subprocess.PIPE,
                                        stderr=subprocess.STDOUT, **DETACHED)
            finally:
                os.umask(before)
        except (OSError, subprocess.CalledProcessError) as error:
            raise ConfigError('--self-signed: openssl has made no certificate: %s' % printable(
                str(getattr(error, 'output', None) or error)))
    sys.stderr.write('ws2s: the certificate %s is for trying out: for localhost, signed by nobody. Trust it by hand '
                     '(curl --cacert %s, or past the warning of a browser)\n' % ((printable(certificate),) * 2))
    return '%s,%s' % (certificate, key)


SELF_SIGNED_SECONDS = 29 * 86400
OPENSSL_REQUEST = ['openssl', 'req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '30', '-subj', '/CN=localhost',
                   '-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1']


def check_target(judge, text):
    """Print what would become of a connect to ``text``; the exit status."""
    host, port = split_target(text, '--check')
    name = with_port(printable(host), port)
    try:
        host = read_host(argument_text(host))
        found = literal_addresses(host, port) or blocking_resolve(host, port)
    except RequestError as error:
        found = error.failure
    if isinstance(found, Failure):
        print('%s: %s' % (name, found.message))
        return CANNOT_SERVE
    verdicts = [(entry[1][0], judge.judge(host, port, entry[1][0], *entry[2:])) for entry in found]
    for address, verdict in verdicts:
        print('%s is %s: %s, %s' % (name, address, 'allowed' if verdict.allowed else 'refused', verdict.why))
    return SERVED if any(verdict.allowed for _, verdict in verdicts) else CANNOT_SERVE


def check_identity(judge, config, name, text):
    """As check_target(), for each identity of this name."""
    found = identities_named(config, argument_text(name), *sorted(WAYS))
    if not found:
        raise ConfigError('--as: "auth" knows no %s' % printable(name))
    statuses = []
    for identity in found:
        print('%s, by %s:' % (printable(name), identity.way))
        statuses.append(check_target(NarrowJudge(judge, identity.targets), text))
    return min(statuses)


def new_password():
    """What is typed twice at a terminal, else the first line of standard input. Raises ConfigError."""
    try:
        if sys.stdin.isatty():
            password, again = [path_bytes(getpass.getpass(prompt)) for prompt in ('Password: ', 'Once more: ')]
        else:
            password = again = getattr(sys.stdin, 'buffer', sys.stdin).readline().rstrip(b'\r\n')
    except (EOFError, KeyboardInterrupt):
        raise ConfigError('no password was given')
    if password != again or not password:
        raise ConfigError('these are two passwords' if password else 'a password must not be empty')
    try:
        utf8_text(password)  # RFC 7617 section 2.1: what we tell clients to send
    except UnicodeError:
        raise ConfigError('a password must be UTF-8')
    return password


def password_text(password, salt):
    """What stands in the configuration for a password."""
    digest = hash_of_password(password, salt, PASSWORD_ROUNDS)
    return '$'.join(['pbkdf2-sha256', '%d' % PASSWORD_ROUNDS] + [base64.b64encode(data).decode('ascii')
                                                                 for data in (salt, digest)])


def minted_token(config, arguments, now):
    """The JSON Web Token that the arguments ask for. Raises ConfigError."""
    rules = config['auth.jwt']
    if rules is None:
        raise ConfigError('--mint-token: there is no "auth.jwt" in the configuration')
    hours = whole(1, 10 ** 6)(1 if arguments.hours is None else arguments.hours)
    targets = [argument_text(rule) for rule in arguments.targets or ()]
    claims = [('sub', identity_name(argument_text(arguments.mint_token))), ('iat', int(now)),
              ('exp', int(now) + 3600 * hours), ('iss', rules.issuer), ('aud', rules.audience),
              ('targets', plain_value(listing(read_target_rule)(targets)) or None)]
    head = {'alg': rules.algorithms[0], 'typ': 'JWT'}
    parts = [base64url(json.dumps(part).encode('ascii')) for part in (
        head, collections.OrderedDict(pair for pair in claims if pair[1] is not None))]
    data = b'.'.join(parts)
    return (data + b'.' + base64url(jwt_digest(rules.secret, head['alg'], data))).decode('ascii')


class LogFormatter(logging.Formatter):
    """Lines of date, level, ``mark`` and message. The calendar is looked at once a second."""

    def __init__(self, mark=''):
        logging.Formatter.__init__(self)
        self._mark, self._second, self._date = mark, None, ''

    def format(self, record):
        second = int(record.created)
        if second != self._second:
            self._second, self._date = second, time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(second))
        return '%s,%03d %s %s%s' % (self._date, record.msecs, record.levelname, self._mark, record.getMessage())


def set_up_logging(config, handler):
    handler.setFormatter(LogFormatter())
    LOG.addHandler(handler)
    LOG.setLevel(config['log.level'].upper())
    logging.raiseExceptions = False  # a full disk must not fill standard error
    logging._srcfile = None  # as the library's documentation says: no line tells which one of ours wrote it
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False


def log_handler(config):
    """Raises ServeError."""
    if not config['log.file']:
        return logging.StreamHandler()
    return LogFile(os.path.expanduser(config['log.file']), config)


def open_log_file(path, flags=0):
    """A descriptor that appends to it, and waits for nobody. Raises ServeError."""
    try:
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NONBLOCK | os.O_NOCTTY | flags, 0o600)
    except (IOError, OSError) as error:
        raise ServeError('cannot log to %s: %s' % (printable(path), os.strerror(error.errno)))
    except UnicodeError:
        raise ServeError('cannot log to %s: this system has no such file names' % printable(path))


class LogFile(logging.Handler):
    """One file, or a pipe, to which several processes may write: a line is one write(2), so that each is whole.

    The name of the file leads: before each line a process looks whether what it has open is still what has this name,
    and otherwise opens the other. So the first one that finds the file full renames it, and the others follow, as all
    of them do when logrotate has renamed it. Without a name ``fd`` is written to. Raises ServeError.
    """

    def __init__(self, path, config, flags=0, fd=None):
        logging.Handler.__init__(self)
        self._path, self._bytes, self._files, self._flags = path, config['log.bytes'], config['log.files'], flags
        self._fd = open_log_file(path, flags) if path else fd
        self._look()
        self._lost, self._gap, self._patience, self._has_complained = 0, b'', PATIENCE_SECONDS, False

    def emit(self, record):
        text = path_bytes(self.format(record))
        self.follow(len(text) + 1)
        if self._is_file:
            self._add(text + b'\n')
        else:
            for line in text.split(b'\n'):
                self._add(line[:LINE_BYTES] + b'\n')

    def _look(self):
        found = os.fstat(self._fd)
        self._is_file, self._identity = stat.S_ISREG(found.st_mode), (found.st_dev, found.st_ino)

    # -- the right file ------------------------------------------------------------------------------------------------

    def follow(self, count=0):
        """Have another file where that is the one of this name by now, or where ours is too full for ``count`` bytes.

        Where that cannot be, the log goes on where it was.
        """
        if not self._path:
            return
        try:
            with self.lock:  # a signal and a line of another thread may come together
                self._follow(count)
            self._has_complained = False
        except (ServeError, IOError, OSError) as error:
            if not self._has_complained:
                self._has_complained = True
                why = '%s: %s' % (printable(self._path), os.strerror(error.errno)) if hasattr(error, 'errno') else error
                LOG.error('%s; the log goes on where it was', why)

    def _follow(self, count):
        size = self._size()
        if size is None:
            self._open()
        elif self._bytes and self._is_file and size + count > self._bytes and size:
            self._rotate()

    def _size(self):
        """None when what has the name of our file is another, or nothing."""
        try:
            found = os.stat(self._path)
        except OSError as error:
            if error.errno != errno.ENOENT:
                raise
            return None
        return found.st_size if (found.st_dev, found.st_ino) == self._identity else None

    def _open(self):
        fd = open_log_file(self._path, self._flags)
        os.dup2(fd, self._fd)
        os.close(fd)
        self._look()

    def _rotate(self):
        try:
            fcntl.lockf(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (IOError, OSError) as error:
            if error.errno not in (errno.EACCES, errno.EAGAIN):
                raise
            return  # another process is about it; it may have been stopped, and our line does not wait
        try:
            if self._size() is not None:
                shift_numbers(self._path, self._files)
            self._open()
        finally:
            fcntl.lockf(self._fd, fcntl.LOCK_UN)

    # -- lines ---------------------------------------------------------------------------------------------------------

    def _add(self, line):
        if self._lost and self._write(b'(%d lines before this one were lost)\n' % self._lost):
            self._lost = 0
        if self._lost or not self._write(line):
            self._lost += 1

    def _write(self, line):
        """False when it cannot be written whole; what is written next then begins a line of its own."""
        rest = line = self._gap + line
        while rest and self._has_room():
            try:
                rest = rest[os.write(self._fd, rest):]
            except OSError as error:
                if not is_not_ready(error):
                    break  # a full disk, or a reader who is gone
        if rest != line:
            self._gap = b'\n' if rest else b''
        return not rest

    def _has_room(self):
        """A reader is waited for, but not again before there was room: our clients wait meanwhile."""
        has_room = self._is_file or is_writable(self._fd, self._patience)
        self._patience = PATIENCE_SECONDS if has_room else 0
        return has_room


def shift_numbers(path, count):
    """ws2s.log becomes ws2s.log.1, that one ws2s.log.2, and so on; what was the last goes. Raises OSError."""
    last = 1
    while last < count and os.path.lexists('%s.%d' % (path, last)):
        last += 1
    for number in range(last, 1, -1):
        os.rename('%s.%d' % (path, number - 1), '%s.%d' % (path, number))
    os.rename(path, path + '.1')


def is_writable(fd, seconds):
    """Wait for room in a pipe, a socket or a terminal."""
    poller = select.poll()
    poller.register(fd, select.POLLOUT)
    try:
        return bool(poller.poll(1000 * seconds))
    except select.error as error:  # of some Pythons, at a signal
        return error.args[0] == errno.EINTR and is_writable(fd, seconds)


def set_up_process():
    """Where our caller has closed standard descriptors a file of ours would get the number of standard error, and the
    log in it. And a HOME that is empty or relative would be another folder in each place: then the password database
    tells. What we make is nobody else's, but ours, whatever the umask."""
    os.umask(0o077)
    fd = os.open(os.devnull, os.O_RDWR)
    while fd <= STDERR:
        fd = os.open(os.devnull, os.O_RDWR)
    os.close(fd)
    if not os.path.isabs(os.environ.get('HOME', '/')):
        del os.environ['HOME']


def complain(program, error):
    """The exit status for an error that ends us."""
    if sys.stderr is not None:  # closed
        sys.stderr.write('%s: %s\n' % (program, error))
    return BAD_USAGE if isinstance(error, ConfigError) else CANNOT_SERVE


def raise_descriptor_limit():
    """As many descriptors as the system lets this process have; each client takes one, each target another. Raises
    ServeError."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for wanted in (hard, 10240):  # macOS says that it has no limit, and then takes no more than this
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            break
        except (ValueError, NetworkError, resource.error):
            LOG.debug('the limit of descriptors cannot be raised from %d to %d', soft, wanted)
    if 0 <= hard < LEAST_DESCRIPTORS:
        raise ServeError('%d descriptors are too few to serve with (ulimit -n)' % hard)


@contextlib.contextmanager
def waking(gateway):
    """Every signal wakes the loop, also one that another thread gets or that comes just before the poll."""
    # Copies of both ends: they must be open for longer than the loop is.
    fds = [os.dup(fd) for fd in (gateway.loop.waker.fileno(), gateway.loop.waker.sock.fileno())]
    for fd in fds:
        close_on_exec(fd)
    signal.set_wakeup_fd(fds[0])
    try:
        yield fds
    finally:
        signal.set_wakeup_fd(-1)
        for fd in fds:
            os.close(fd)


def notify_service(state):
    """Tell a service manager, if one has begun us and wants to know, how we are (sd_notify(3))."""
    path = os.environ.get('NOTIFY_SOCKET')
    if not path:
        return
    with contextlib.closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as sock:
        try:
            sock.connect('\0' + path[1:] if path.startswith('@') else path)
            sock.sendall(state.encode('ascii'))
        except NetworkError as error:
            LOG.warning('the service manager cannot be told %s: %s', state.split('=')[0], error.strerror or error)


def inherited_sockets():
    """The listening sockets that a service manager has handed to this process (sd_listen_fds(3)); none for most."""
    pid, count = os.environ.pop('LISTEN_PID', ''), os.environ.pop('LISTEN_FDS', '')
    os.environ.pop('LISTEN_FDNAMES', None)
    if pid != '%d' % os.getpid() or not re.match(r'[0-9]{1,4}\Z', count):
        return []
    fds = range(FIRST_INHERITED, FIRST_INHERITED + int(count))
    # All are looked at before the first is copied: a copy may get the number of one that is not there.
    return [take_inherited(fd, family) for fd, family in [(fd, inherited_family(fd)) for fd in fds]]


def inherited_family(fd):
    """Raises ServeError for what is no listening TCP or Unix socket: it would accept nothing, or nobody whom the rules
    know."""
    try:
        with contextlib.closing(socket.fromfd(fd, AF_INET, socket.SOCK_STREAM)) as sock:
            name, kind = sock.getsockname(), sock.getsockopt(socket.SOL_SOCKET, socket.SO_TYPE)
            listens = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    except (NetworkError, OSError):
        raise ServeError('descriptor %d is no socket' % fd)
    is_unix = not isinstance(name, tuple)
    # Of other families the first part is no address.
    packed = b'' if is_unix else packed_address(str(name[0]).partition('%')[0])
    if packed is None or kind != socket.SOCK_STREAM or not listens:
        raise ServeError('descriptor %d is no listening TCP or Unix socket (Accept=yes?)' % fd)
    return AF_UNIX if is_unix else AF_INET if len(packed) == 4 else AF_INET6


def take_inherited(fd, family):
    sock = socket.fromfd(fd, family, socket.SOCK_STREAM)
    os.close(fd)
    unblock(sock)
    return sock


def text_of(path):
    """Nothing for a file that is not there."""
    try:
        with open(path) as file:
            return file.read()
    except (IOError, OSError):
        return ''


def container_sign(environment, groups, exists=os.path.exists):
    """What tells that this process is in a container, or nothing. ``groups``: its control groups."""
    found = CONTAINER_GROUPS.search(groups)
    signs = [path for path in CONTAINER_FILES if exists(path)]
    signs += ['container=' + name for name in [environment.get('container')] if name in CONTAINERS]
    return next(iter(signs + ([found.group().strip('/:')] if found else [])), '')


def tell_of_container(address):
    """Whoever listens on 127.0.0.1 in a container is not reached by its published ports."""
    sign = container_sign(os.environ, text_of(OWN_GROUPS))
    if sign and any(in_network(packed_address(str(address)) or b'', network) for network in LOOPBACK_NETWORKS):
        LOG.info('this is a container (%s): unless it has the network of its host, only programs in it reach %s; '
                 'listen.host "0.0.0.0" lets in whom the port is published to', printable(sign), address)


def obey_signals(gateway):
    """The first SIGINT or SIGTERM drains, a second one ends at once."""
    seen = []

    def on_signal(number, frame):
        seen.append(number)
        if len(seen) == 1:
            notify_service('STOPPING=1')
            gateway.drain()
        else:
            ignore_signals()
            gateway.abort()

    for number in STOP_SIGNALS:
        signal.signal(number, on_signal)


def ignore_signals():
    """On the way out: what comes now must not change how we end."""
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def reload_on_hangup(gateway, load, log):
    """SIGHUP has ``load()``, a Config or a ConfigError, give the configuration anew, and the log opened anew."""
    def on_loaded(config):
        apply_config(gateway, config)
        notify_service('READY=1')

    def on_signal(number, frame):
        gateway.loop.post(begin)

    def begin():
        notify_service('RELOADING=1')
        if isinstance(log, LogFile):
            log.follow()  # also when there is nothing to say just now
        if gateway.files.submit(b'', load, (), on_loaded) is None:
            on_loaded(ConfigError('there is too much to do just now'))

    signal.signal(signal.SIGHUP, on_signal)


def apply_config(gateway, config):
    """Have the gateway go on with what a reload brought; a ConfigError changes nothing. The log tells which."""
    try:
        if isinstance(config, ConfigError):
            raise config
        old = gateway.config
        gateway.reload(config)
    except ConfigError as error:
        LOG.error('the configuration stays as it was: %s', error)
        return
    LOG.setLevel(config['log.level'].upper())
    LOG.info('the configuration was read anew')
    for key in NEEDS_RESTART:
        if config[key] != old[key]:
            LOG.warning('"%s" will change with the next start only', key)


def serve(load, on_bound=None, on_prepared=None):
    """Serve what ``load()`` gives until a signal comes; the exit status. Raises ServeError or ConfigError.

    ``on_bound()`` is called when the sockets are there, and nothing else yet; ``on_prepared(gateway)`` before the loop.
    """
    config = load()
    if isinstance(config, ConfigError):
        raise config
    log = log_handler(config)
    set_up_logging(config, log)
    raise_descriptor_limit()
    gateway = Gateway(config, socks=inherited_sockets())
    if on_bound:
        gateway.listen()
        on_bound()
    obey_signals(gateway)
    gateway.prepare()
    if on_prepared:
        on_prepared(gateway)
    reload_on_hangup(gateway, load, log)
    tell_of_container(gateway.address[0])
    with waking(gateway):
        notify_service('READY=1')
        gateway.run()
    ignore_signals()
    return SERVED


def blocking_load(arguments):
    """The Config that arguments and file give, or a ConfigError."""
    try:
        return with_arguments(read_config_file(arguments.config), arguments)
    except ConfigError as error:
        return error


def run_command(arguments):
    if arguments.version:
        print('ws2s %s' % __version__)
        return SERVED
    if arguments.hash_password:
        print(password_text(new_password(), os.urandom(SALT_BYTES)))
        return SERVED
    if not arguments.print_config and arguments.check is None and arguments.mint_token is None:
        return serve(lambda: blocking_load(arguments))
    config = with_arguments(read_config_file(arguments.config), arguments)
    if arguments.print_config:
        print(config.as_text())
        if config['workers'] != 1:
            sys.stderr.write('ws2s: under ws2sd each worker has these limits for itself, see "workers"\n')
        return SERVED
    if arguments.mint_token is not None:
        print(minted_token(config, arguments, time.time()))
        return SERVED
    judge = Judge(config, owns_address)
    judge.ports.update(listen.port for listen in listeners(config))
    if arguments.identity is not None:
        return check_identity(judge, config, arguments.identity, arguments.check)
    return check_target(judge, arguments.check)


def main(argv=None):
    """The command line program; its exit status: 0 stopped as asked, 1 cannot serve, 2 wrong arguments or config."""
    set_up_process()
    try:
        argv = sys.argv[1:] if argv is None else argv
        if argv[:1] == ['websockify']:
            return serve_as_websockify(argv[1:])
        return run_command(parse_arguments(argv))
    except Ws2sError as error:
        return complain('ws2s', error)


if __name__ == '__main__':
    # A program that imports ws2s after this gets this module, not a second one.
    sys.modules.setdefault('ws2s', sys.modules['__main__'])
    sys.exit(main())
