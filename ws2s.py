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
     4. HTTP           the request before the WebSocket, and its answers
     5. WebSocket      RFC 6455 without a socket
     6. Access rules   who may come, and where they may go
     7. SSH            what ssh is told, and what it says
     8. Dialects       what messages mean
     ------------------------------------------------------------------
     9. Event loop     turns, timers, and the door for other threads
    10. Streams        non-blocking sockets with bounded queues
    11. Workers        the threads for what can only block
    12. Tunnels        ssh processes, and the way through them
    13. Gateway        sessions, upstreams, and what keeps count of them
    14. Command line   arguments, the config file, logs, signals

Rooms 1-8 are pure: bytes and values in, bytes and values out. Rooms 9-14 hold the world: sockets, clocks, threads,
files and logs. The way of a byte from a browser to its target: Stream.on_ready -> Session.on_received ->
WebSocket.receive -> Dialect.on_text -> actions -> Upstream.write -> Stream.send_now; and the other way round.
"""

from __future__ import absolute_import, division

import argparse
import base64
import binascii
import collections
import contextlib
import encodings.idna  # noqa: F401  a first import from a look-up thread could wait for the import lock for ever
import errno
import fcntl
import fnmatch
import hashlib
import heapq
import itertools
import json
import logging
import logging.handlers
import os
import re
import resource
import select
import signal
import socket
import stat
import struct
import subprocess
import sys
import threading
import time
import traceback

__version__ = '3.0.0.dev0'
__all__ = ['Gateway', 'Dialect', 'Send', 'Open', 'Write', 'Shut', 'Hangup', 'Config', 'parse_config', 'ConfigError',
           'ServeError', 'DIALECTS', 'main']


# ======================================================================================================================
# 1. Compat
# ======================================================================================================================
# Everything that differs between Pythons, and nothing else. No later room asks which Python it runs on.

PY2 = sys.version_info[0] == 2

READ, WRITE = 1, 4 if PY2 else 2

if PY2:
    import Queue as queue
    text_type = unicode  # noqa: F821
    integer_types = (int, long)  # noqa: F821

    def monotonic():
        """Seconds of a clock that no one sets. Here it ticks in hundredths: times(2) counts from the boot."""
        return os.times()[4]

    def to_int(data):
        return int(binascii.hexlify(data), 16)

    def to_bytes(number, length):
        return binascii.unhexlify('%0*x' % (2 * length, number))

    def close_on_exec(fd):
        fcntl.fcntl(fd, fcntl.F_SETFD, fcntl.fcntl(fd, fcntl.F_GETFD) | fcntl.FD_CLOEXEC)

    # This Python does not tell it, though Linux knows it: more comes at once, so that it goes in one packet.
    MSG_MORE = 0x8000 if sys.platform.startswith('linux') else 0
    LONG_CHUNK = 32768  # bytes; to join it with another costs more than a second call

    def send_chunks(sock, chunks):
        """Send what the kernel takes of ``chunks``; the number of bytes taken."""
        if len(chunks) == 1:
            return sock.send(chunks[0])
        if len(chunks) == 2 and len(chunks[1]) >= LONG_CHUNK:
            sent = sock.send(chunks[0], MSG_MORE)
            return sent if sent < len(chunks[0]) else sent + send_ready(sock, chunks[1])
        return sock.send(b''.join(chunk.tobytes() if isinstance(chunk, memoryview) else bytes(chunk)
                                  for chunk in chunks))

    def send_ready(sock, data):
        """Send what the kernel takes of ``data``; the number of bytes, 0 when there is no room."""
        try:
            return sock.send(data)
        except NetworkError as error:
            if not is_not_ready(error):
                raise
            return 0

    class Poller(object):
        """The verbs of ``selectors`` that the loop uses, over epoll or poll."""

        Key = collections.namedtuple('Key', 'fd events data')

        def __init__(self):
            self._poll = select.epoll() if hasattr(select, 'epoll') else select.poll()
            self._unit = 1 if hasattr(select, 'epoll') else 1000
            self._keys = {}
            if hasattr(self._poll, 'fileno'):
                close_on_exec(self._poll.fileno())

        def register(self, sock, events, data):
            fd = sock.fileno()
            self._poll.register(fd, events)
            self._keys[fd] = self.Key(fd, events, data)

        def modify(self, sock, events, data):
            fd = sock.fileno()
            self._poll.modify(fd, events)
            self._keys[fd] = self.Key(fd, events, data)

        def unregister(self, sock):
            fd = sock.fileno()
            del self._keys[fd]
            self._poll.unregister(fd)

        def select(self, timeout):
            try:
                ready = self._poll.poll(-1 if timeout is None else timeout * self._unit)
            except (select.error, IOError) as error:
                if error.args[0] != errno.EINTR:
                    raise
                ready = ()
            return [(self._keys[fd], self._wanted(fd, events)) for fd, events in ready if fd in self._keys]

        def _wanted(self, fd, events):
            # Errors and hang-ups are told to whoever is listening, as selectors does.
            return (events | (0 if events in (READ, WRITE) else READ | WRITE)) & self._keys[fd].events

        def close(self):
            if hasattr(self._poll, 'close'):
                self._poll.close()

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
        """The UTF-8 of ``text``; UnicodeError when it holds half a surrogate pair."""
        data = text.encode('utf-8')
        if len(data) != len(text) and SURROGATE.search(data):
            raise UnicodeError('half a surrogate pair')
        return data

    def base64_bytes(data):
        return binascii.b2a_base64(data)[:-1]

    def path_bytes(path):
        """A path as the system takes it, also when it is not UTF-8."""
        return path if isinstance(path, bytes) else path.encode('utf-8')

    def open_descriptors():
        """Some of them may be closed already. All that could be open, where the system does not tell."""
        try:
            found = [int(name) for name in os.listdir('/dev/fd')]
        except OSError:
            found = []
        # Popen has a pipe open there: a folder that tells of none is one that never changes.
        return found if found and max(found) > 2 else range(subprocess.MAXFD)

    def begin_child():
        """In a child, before it becomes another program: a session of its own, and an end to all of our descriptors."""
        os.setsid()
        for fd in open_descriptors():
            if fd > 2:
                try:
                    close_on_exec(fd)
                except IOError:  # it is closed
                    continue

    # How Popen is told to start a child. Left to itself it would close each descriptor that the limit allows for, open
    # or not: with a limit of a million that takes longer than a login.
    DETACHED = {'close_fds': False, 'preexec_fn': begin_child}
else:
    import queue
    import selectors
    text_type = str
    integer_types = (int,)
    monotonic = time.monotonic
    Poller = selectors.DefaultSelector

    def to_int(data):
        return int.from_bytes(data, 'big')

    def to_bytes(number, length):
        return number.to_bytes(length, 'big')

    def close_on_exec(fd):
        """Nothing to do: descriptors are not inherited since 3.4."""

    def send_chunks(sock, chunks):
        """Send what the kernel takes of ``chunks`` in one call; the number of bytes taken."""
        return sock.send(chunks[0]) if len(chunks) == 1 else sock.sendmsg(chunks)

    def utf8_text(data):
        """The text of UTF-8 ``data``; UnicodeError for anything else, surrogates among it."""
        return data.decode('utf-8')

    def utf8_bytes(text):
        """The UTF-8 of ``text``; UnicodeError when it holds half a surrogate pair."""
        return text.encode('utf-8')

    def base64_bytes(data):
        return binascii.b2a_base64(data, newline=False)

    def path_bytes(path):
        """A path as the system takes it, also when it is not UTF-8."""
        return path.encode('utf-8', 'surrogateescape')

    # How Popen is told to start a child: with none of our descriptors, in a session and a process group of its own.
    DETACHED = {'close_fds': True, 'start_new_session': True}

# Where a Python and its system let bytes go from socket to socket inside the kernel: Linux, from 3.10 on.
CAN_SPLICE = hasattr(os, 'splice')

# Some Pythons do not tell this number, though the system knows it.
SO_REUSEPORT = getattr(socket, 'SO_REUSEPORT', 15 if sys.platform.startswith('linux') else 0x200)

# Not all Pythons make an OSError of a socket's error; this name fits everywhere.
NetworkError = socket.error
AF_INET, AF_INET6 = socket.AF_INET, socket.AF_INET6


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


def is_not_ready(error):
    """Does this error only say that the socket has nothing to give or no room just now?"""
    return error.errno in (errno.EAGAIN, errno.EWOULDBLOCK, errno.EINTR)


# ======================================================================================================================
# 2. Vocabulary
# ======================================================================================================================
# Words that several rooms share: numbers of the protocols, fixed limits, failures that clients are told, errors.

# RFC 6455 section 5.2
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10

# RFC 6455 section 7.4.1
NORMAL, GOING_AWAY, PROTOCOL_ERROR, BAD_TEXT, TOO_BIG, INTERNAL, TRY_LATER = 1000, 1001, 1002, 1007, 1009, 1011, 1013

REQUEST_LINE_BYTES = 8192
HEADER_BYTES = 16384
HEADER_COUNT = 64
CONTROL_BYTES = 125            # RFC 6455 section 5.5
HOST_CHARACTERS = 253          # the longest name that DNS can carry
PONGS_WAITING = 16             # with more pings than these in one read the earlier ones are not answered
WINDOW_BYTES = 16384           # the smallest window that a client may ask for
JSON_MARKS = 10000             # commas and brackets in one request; a row of `[]` would take fifty times its size
JSON_DIGITS = 20               # digits of one number; long ones cost their square on old Pythons
WAITING_BYTES = 128            # what one waiting message costs beside its own bytes
# False: without the short cuts that are there for speed alone. Nothing but speed may change with it.
FAST_PATHS = True

BULK_BYTES = 1048576           # one read of a target into a pipe
FAIR_BYTES = 32768             # one read in a turn in which many sockets are ready
POUR_BYTES = 32768             # with fewer at a time the kernel's way is no shorter
PIPES = 32                     # that may stand full at one time; each takes two descriptors and BULK_BYTES
SMALL_RECEIVE = 8192           # one read of a client while no long frame is under way: it may hold many requests
SEND_CHUNKS = 64               # that one system call is given at most
SEND_BATCH = 32                # streams that have something to send before it is sent
RECEIVE_BYTES = 131072         # in one read
KEPT_BYTES = 1048576           # of freed memory, in blocks of at most so many
SMALL_CHUNK = 4096             # shorter ones are joined in a stream's queue
SEND_BYTES = 1048576           # one stream's turn; a bulk transfer must not delay the others
LINGER_BYTES = 16777216        # what a closing peer may still send before it is cut off
SMALL_SHARE = 65536            # what a session may always hold, however full the gateway is
SPREAD = 100.0                 # parts of a period in which clients get what all would get at once
SPARE_CONNECTIONS = 64         # beyond `limits.clients`, for /healthz and for saying no politely
DRAINING_CONNECTIONS = 1000    # TCP connections without a client that still deliver what it had sent
ACCEPT_BURST = 64              # connections taken in one turn
ACCEPT_PAUSE = 0.2             # seconds without accepting when descriptors have run out
WARNING_SECONDS = 10           # between two equal warnings about that
VERDICTS = 1000                # of the rules that are remembered
LOOKUP_THREADS = 16
LOOKUPS_WAITING = 1024
FILE_THREADS = 2
FILES_WAITING = 1024
PIECE_BYTES = 65536            # of a file of the web folder
STALL_SECONDS = 30             # a reader of such a file that takes no piece for so long is dropped
TUNNEL_THREADS = 4             # they begin ssh processes and clear up after them; none of them waits for a server
TUNNEL_IDLE_SECONDS = 10       # a tunnel without connections stays for so long, should its client connect again
TUNNEL_TARGETS = 64            # of one tunnel; each takes ssh a listening socket
TUNNEL_JOBS = 256              # places for each tunnel: more than twice what it can ever have under way
TUNNEL_ALIVE_SECONDS = 15      # between ssh's questions whether its server is there; three without answer end it
GOODBYE_SECONDS = 0.7          # for the last bytes and the Close of those who were open to the end of a drain
KEY_CHARACTERS = 16384         # of the text of a private key
SECRET_BYTES = 1000            # of a password or passphrase; ssh itself takes 1,023
TUNNEL_CHANNELS = 256          # connections of one tunnel that its server has not ended
LOGIN_LINES = 10000            # of ssh's standard error before the login is done; a server's banner is among them
LOG_BYTES = 4096               # one read of it: each line costs time that other clients wait
PIPE_BYTES = 65536             # what a pipe holds at most
KNOWN_HOSTS_BYTES = 1048576    # of the file of host keys; then no new ones are learnt
GIVE_UP_SECONDS = 5            # for threads that hang when everything else has ended
SSH_LINE_BYTES = 8192          # of one line of ssh's standard error; the rest of a longer one is not looked at
SSH_FILE_CHARACTERS = 1000     # of one line of the operator's file of options
PROMPT_BYTES = 8192            # of what ssh asks for

# Why a request failed: reply code, stable word for programs, sentence for people.
Failure = collections.namedtuple('Failure', 'code reason message')

REFUSED = Failure(2, 'refused', 'connection refused')
NOT_CONNECTED = Failure(3, 'not-connected', 'nothing is connected, please connect first')
CLOSED = Failure(5, 'closed', 'connection closed by peer')
RESET = Failure(5, 'reset', 'connection reset by peer')
IDLE = Failure(5, 'idle', 'connection closed: nothing was sent either way for too long')
UNKNOWN_NAME = Failure(1, 'dns', 'the name of the host cannot be resolved')
TIMEOUT = Failure(1, 'timeout', 'the target did not answer in time')
UNREACHABLE = Failure(1, 'unreachable', 'the target cannot be reached')
NO_ROOM = Failure(1, 'limit', 'the gateway has too much to do just now, please try again')
SSH_AUTH = Failure(6, 'ssh-auth', 'the SSH server did not accept the login')
SSH_HOSTKEY = Failure(6, 'ssh-hostkey', 'the host key of the SSH server is not the one that is known')
SSH_UNREACHABLE = Failure(6, 'ssh-unreachable', 'the SSH server cannot be reached')
SSH_TIMEOUT = Failure(6, 'ssh-timeout', 'the SSH server did not answer in time')
SSH_DISABLED = Failure(6, 'ssh-disabled', 'this gateway does not offer SSH (ssh.enabled)')
SSH_MISSING = Failure(6, 'ssh-missing', 'the gateway has no ssh program (ssh.program)')
SSH_FAILED = Failure(6, 'ssh-failed', 'the SSH tunnel could not be opened')
SSH_HUNG_UP = Failure(6, 'ssh-failed', 'the SSH server has closed the connection, or is none')
SSH_STRANGE = Failure(6, 'ssh-failed', 'the SSH server and the ssh of the gateway have no algorithm in common')
SSH_PROHIBITED = Failure(6, 'ssh-failed', 'the SSH server does not let connections through to this target')
NO_SUCH_KEY = Failure(1, 'bad-request', 'ssh_private_key must be the text of a key, or the path of one below a folder '
                                        'of ssh.keyDirectories')
BROKEN = Failure(1, 'internal', 'the gateway made a mistake; its log has the details')


def forbidden(setting):
    return Failure(4, 'forbidden', 'the rules of this gateway forbid this target (%s)' % setting)


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

    def __init__(self, message, reason='bad-request'):
        RemoteError.__init__(self, message)
        self.failure = Failure(1, reason, message)


def printable(text):
    """``text`` of a stranger, fit for one line of a log: printable ASCII, everything else escaped (security S14)."""
    if isinstance(text, bytes):
        text = text.decode('latin-1')
    return text[:500].encode('unicode_escape').decode('ascii')


def with_port(host, port):
    return '[%s]:%s' % (host, port) if ':' in host else '%s:%s' % (host, port)


# ======================================================================================================================
# 3. Configuration
# ======================================================================================================================
# One table says which options there are, what each is when nobody says, how its value is read, what it is for.
# Reading a value checks it and gives it the form that later rooms use. Nothing is read from files here.

# One rule of allowTargets or denyTargets: a name glob or a network (packed, bits), and its ports: pairs (first, last),
# none of them for all.
TargetRule = collections.namedtuple('TargetRule', 'text glob network ports')

Origin = collections.namedtuple('Origin', 'scheme host port')

MAPPED = b'\0' * 10 + b'\xff\xff'  # before an IPv4 address in its IPv6 form

DEFAULT_PORTS = {'http': 80, 'ws': 80, 'https': 443, 'wss': 443}


def read_port(text):
    """The number of a TCP port from 1 to 65,535 in plain digits, or None."""
    if not re.match(r'[0-9]{1,5}\Z', text) or not 1 <= int(text) <= 65535:
        return None
    return int(text)


def split_host_port(text):
    """``('::1', '80')`` for ``[::1]:80``; the port is None where there is none, and for a bare IPv6 address."""
    bracketed = re.match(r'\[([^\[\]]*)\](?::(.*))?\Z', text, re.DOTALL)
    if bracketed:
        return bracketed.groups()
    if text.count(':') != 1:
        return text, None
    return tuple(text.split(':'))


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
    """An international name in its xn-- form."""
    try:
        return name.encode('idna').decode('ascii')
    except UnicodeError:  # no name that could be looked up
        return name


def canonical_name(name):
    """The one form of a host name in which names are compared: IDNA's ASCII, lower case, no dot at the end."""
    return ascii_name(name).lower().rstrip('.')


GLOB_MARKS = re.compile(r'[*?\[]')  # without one of these a glob is a name


def read_target_rule(text):
    """The TargetRule of ``HOST[:PORTS]`` (protocol, 5). Raises ConfigError."""
    host, ports = split_host_port(text)
    network = read_network(host)
    if network and network[0][:12] == MAPPED:
        raise ConfigError('"%s": write the IPv4 address instead' % printable(text))
    if network is None and (text.startswith('[') or not host or re.search(r'[\s:/\[\]]', host)):
        raise ConfigError('"%s" is no rule: HOST[:PORTS] with a name, a glob, an address or a CIDR block'
                          % printable(text))
    if network is None and host != '*' and re.match(r'[0-9.*?]+\Z', host):
        # Such a glob would be matched with names too, and names can be made of digits.
        raise ConfigError('"%s" looks like addresses: write a CIDR block such as 10.0.0.0/8' % printable(text))
    if GLOB_MARKS.search(host) and re.search(u'[^\x00-\x7f]', host):
        raise ConfigError('"%s": write a glob of an international name in its xn-- form' % printable(text))
    return TargetRule(text, None if network else canonical_name(host), network,
                      () if ports is None else read_ports(ports))


ORIGIN = re.compile(r'([A-Za-z][A-Za-z0-9+.-]*)://(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::([0-9]{1,5}))?\Z')


def read_origin(text):
    """The Origin of ``scheme://host[:port]`` in its canonical form, or None when it is not of that form (RFC 6454).

    International names stand in their xn-- form there.
    """
    parts = ORIGIN.match(text)
    if not parts:
        return None
    scheme, host, port = parts.groups()
    if port and not read_port(port):
        return None
    scheme = scheme.lower()
    return Origin(scheme, host.lower().strip('[]'), int(port) if port else DEFAULT_PORTS.get(scheme))


def flag(value):
    if value is not True and value is not False:
        raise ConfigError('must be true or false')
    return value


def words(value):
    if not isinstance(value, (text_type, str)) or not value or '\0' in value:
        raise ConfigError('must be a text that is not empty')
    return value


def words_or_null(value):
    return None if value is None else words(value)


def folder_or_nothing(value):
    return False if value is False else words_or_null(value)


def plain_path(value):
    """A path that also a command line of ssh takes as it is."""
    if re.search(u'[\x00-\x1f\x7f"$%:\\\\]', words(value)):
        raise ConfigError('must be a path without quotes, colons and the characters $ % \\')
    return value


def plain_path_or_null(value):
    return None if value is None else plain_path(value)


def whole(least, most):
    def check(value):
        if not isinstance(value, integer_types) or isinstance(value, bool) or not least <= value <= most:
            raise ConfigError('must be a whole number from %d to %d' % (least, most))
        return value
    return check


def seconds(least):
    def check(value):
        if not isinstance(value, integer_types + (float,)) or isinstance(value, bool) or not least <= value <= 10 ** 7:
            raise ConfigError('must be a number of seconds from %s to 10000000' % least)
        return value
    return check


def one_of(*choices):
    def check(value):
        if value not in choices:
            raise ConfigError('must be one of %s' % ', '.join(choices))
        return value
    return check


def listing(check):
    def check_all(value):
        if not isinstance(value, (list, tuple)) or isinstance(value, Pairs):
            raise ConfigError('must be a list')
        return tuple(check(words(item)) for item in value)
    return check_all


def origin_or_star(text):
    if text in ('*', 'null'):
        return text
    origin = read_origin(text)
    if origin is None:
        raise ConfigError('"%s" is no origin: scheme://host[:port]' % printable(text))
    return origin


def host_name(text):
    host, port = split_host_port(text)
    if port is not None or re.search(r'[\s/*@]', host) or (':' in host and packed_address(host) is None):
        raise ConfigError('"%s" is no host name' % printable(text))
    return canonical_name(host)


Option = collections.namedtuple('Option', 'key default check help')

OPTIONS = (
    Option('listen.host', '127.0.0.1', words, 'address or name to listen on'),
    Option('listen.port', 3613, whole(0, 65535), 'TCP port to listen on; 0 takes any free one'),
    Option('allowConnectToServerLocal', False, flag, "may clients reach the gateway's own machine?"),
    Option('allowTargets', (), listing(read_target_rule), 'rules HOST[:PORTS] of what may be reached; empty is all'),
    Option('denyTargets', (), listing(read_target_rule), 'rules HOST[:PORTS] of what may not; they win'),
    Option('allowedOrigins', (), listing(origin_or_star), 'pages of other sites that may connect: '
                                                          'scheme://host[:port], null or *'),
    Option('allowedHosts', (), listing(host_name), 'names of this gateway under which its own pages may connect'),
    Option('web', None, folder_or_nothing, 'folder of static files to serve; null: the pages that come with ws2s; '
                                           'false: none'),
    Option('workers', 0, whole(0, 1024), 'processes of the background service; 0 is one per core'),
    Option('limits.clients', 10000, whole(1, 10 ** 6), 'WebSockets at one time'),
    Option('limits.clientsPerAddress', 0, whole(0, 10 ** 6), 'of them from one address (IPv6: one /64); 0 is any'),
    Option('limits.messageBytes', 16777216, whole(1024, 2 ** 30), 'longest text message of a client'),
    Option('limits.bufferBytes', 262144, whole(16384, 2 ** 30), 'bytes that wait in one direction before the source '
                                                                'is throttled'),
    Option('limits.totalBytes', 536870912, whole(1048576, 2 ** 40), 'bytes that all clients together may make the '
                                                                    'gateway hold'),
    Option('limits.handshakeSeconds', 10, seconds(0.05), 'for the whole HTTP request'),
    Option('limits.connectSeconds', 10, seconds(0.05), 'for look-up and connect'),
    Option('limits.pingSeconds', 30, seconds(0), 'between pings; a client silent for two of these is gone; 0 is never'),
    Option('limits.idleSeconds', 0, seconds(0), 'a TCP connection without data for so long is closed; 0 is never'),
    Option('limits.drainSeconds', 5, seconds(0), 'for what is still under way when something is closed'),
    Option('ssh.enabled', True, flag, 'may clients go through SSH servers?'),
    Option('ssh.program', 'ssh', words, 'the OpenSSH client to run, 7.0 or newer'),
    Option('ssh.hostKeyChecking', 'accept-new', one_of('accept-new', 'yes', 'no'), 'accept-new learns new host keys, '
                                                                                   'yes wants known ones'),
    Option('ssh.knownHosts', '~/.ws2s/known_hosts', plain_path, 'file of the known host keys'),
    Option('ssh.configFile', None, plain_path_or_null, 'file of further options for ssh, ciphers for instance'),
    Option('ssh.keyDirectories', (), listing(plain_path), 'folders of keys that clients may name by their path'),
    Option('ssh.maxTunnels', 100, whole(1, 10000), 'ssh processes at one time'),
    Option('ssh.timeoutSeconds', 15, seconds(0.05), 'for the way to the SSH server and the login there'),
    Option('log.level', 'info', one_of('debug', 'info', 'warning', 'error'), 'least level that is logged'),
    Option('log.file', None, words_or_null, 'file to log to instead of standard error'),
    Option('log.bytes', 1048576, whole(0, 2 ** 40), 'size at which that file is rotated; 0 is never'),
    Option('log.files', 3, whole(1, 1000), 'old log files that are kept'),
)


class Config(object):
    """Immutable settings, read by the keys of OPTIONS: ``config['limits.clients']``."""

    __slots__ = ('_values',)

    def __init__(self, values):
        object.__setattr__(self, '_values', dict(values))

    def __setattr__(self, name, value):
        raise AttributeError('a Config does not change; replace() gives another')

    def __getitem__(self, key):
        return self._values[key]

    def replace(self, changes):
        """Another Config with the ``changes``, a dict by key of raw values. Raises ConfigError."""
        values = dict(self._values)
        for key, value in changes.items():
            values[key] = read_option(key, value)
        return Config(values)

    def as_text(self):
        """The JSON that gives this Config again, every key in it."""
        tree = collections.OrderedDict()
        for option in OPTIONS:
            section, _, name = option.key.rpartition('.')
            branch = tree.setdefault(section, collections.OrderedDict()) if section else tree
            branch[name] = plain_value(self[option.key])
        return json.dumps(tree, indent=4, separators=(',', ': '))


def plain_value(value):
    """The JSON form of a value that a check has read."""
    if isinstance(value, TargetRule):
        return value.text
    if isinstance(value, Origin):
        port = '' if value.port == DEFAULT_PORTS.get(value.scheme) else ':%d' % value.port
        return '%s://%s%s' % (value.scheme, '[%s]' % value.host if ':' in value.host else value.host, port)
    if isinstance(value, tuple):
        return [plain_value(item) for item in value]
    return value


def read_option(key, value):
    """The checked form of a raw value. Raises ConfigError naming the key."""
    for option in OPTIONS:
        if option.key == key:
            try:
                return option.check(value)
            except ConfigError as error:
                raise ConfigError('"%s": %s' % (key, error))
    raise ConfigError('unknown key "%s"' % printable(key))


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
        if key in sections:
            if not isinstance(value, Pairs):
                raise ConfigError('"%s": must be an object' % key)
            for pair in flatten(value, key + '.'):
                yield pair
        else:
            yield key, value


class Pairs(tuple):
    """The members of a JSON object in their order, doubles included: the second of two rules must not be lost."""


def no_constant(name):
    raise ValueError('%s is no number' % name)


def parse_config(text):
    """The Config of a JSON text (protocol, 5). Raises ConfigError, which names the key that is wrong."""
    try:
        tree = json.loads(text, object_pairs_hook=Pairs, parse_constant=no_constant)
    except (ValueError, RuntimeError) as error:  # RuntimeError: nested too deeply
        raise ConfigError('this is not JSON: %s' % printable(str(error)))
    if not isinstance(tree, Pairs):
        raise ConfigError('the configuration must be a JSON object')
    return DEFAULTS.replace(collections.OrderedDict(flatten(tree)))


DEFAULTS = Config((option.key, option.check(option.default)) for option in OPTIONS)


# ======================================================================================================================
# 4. HTTP
# ======================================================================================================================
# The request that comes before a WebSocket, and the answers to those that want something else. Strict: what is not
# plainly right is refused in one plain sentence.

TOKEN = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"  # RFC 9110 section 5.6.2

REASONS = {101: 'Switching Protocols', 200: 'OK', 400: 'Bad Request', 403: 'Forbidden', 404: 'Not Found',
           405: 'Method Not Allowed', 408: 'Request Timeout', 426: 'Upgrade Required',
           431: 'Request Header Fields Too Large', 500: 'Internal Server Error', 503: 'Service Unavailable'}

PAGE_HEADERS = (
    ('X-Content-Type-Options', 'nosniff'),
    ('X-Frame-Options', 'DENY'),
    ('Referrer-Policy', 'no-referrer'),
    ('Cache-Control', 'no-cache'),
    ('Content-Security-Policy', "default-src 'self'; connect-src 'self' ws: wss:; img-src 'self' data:; "
                                "object-src 'none'; base-uri 'none'; frame-ancestors 'none'; form-action 'self'"),
)

CONTENT_TYPES = {'html': 'text/html; charset=utf-8', 'htm': 'text/html; charset=utf-8',
                 'js': 'text/javascript; charset=utf-8', 'mjs': 'text/javascript; charset=utf-8',
                 'css': 'text/css; charset=utf-8', 'json': 'application/json', 'map': 'application/json',
                 'txt': 'text/plain; charset=utf-8', 'md': 'text/plain; charset=utf-8', 'svg': 'image/svg+xml',
                 'png': 'image/png', 'jpg': 'image/jpeg', 'jpeg': 'image/jpeg', 'gif': 'image/gif',
                 'webp': 'image/webp', 'ico': 'image/x-icon', 'woff': 'font/woff', 'woff2': 'font/woff2',
                 'wasm': 'application/wasm', 'pdf': 'application/pdf'}


class Request(object):
    """The head of an HTTP request. ``headers``: pairs of a name in lower case and a value, which is Latin-1 text."""

    __slots__ = ('method', 'target', 'version', 'headers', '_values')

    def __init__(self, method, target, version, headers):
        self.method, self.target, self.version, self.headers = method, target, version, headers
        self._values = {}
        for name, value in headers:
            self._values.setdefault(name, []).append(value)

    @property
    def path(self):
        return self.target.partition('?')[0]

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
        return [token.strip(' \t').lower() for token in ','.join(self.all(name)).split(',')]

    def wants_websocket(self):
        return 'websocket' in self.tokens('upgrade')


class RequestParser(object):
    """Takes bytes in pieces of any size until a Request is complete; holds no more than its limits."""

    __slots__ = ('_data', '_checked')

    # A bare CR or LF, or a control character: what one program takes for the end of a line another may not.
    _stray = re.compile(b'[\x00-\x08\x0a-\x1f\x7f](?<!\r\n)(?!(?<=\r)(?:\n|\\Z))')

    def __init__(self):
        self._data = bytearray()
        self._checked = 0

    def has_begun(self):
        return bool(self._data)

    def receive(self, data):
        """A pair (Request, bytes that came after it), or None when more must come. Raises HttpError."""
        self._data += data
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
    request = Request(parts[0], origin_form(parts[1]), parts[2], [parse_header(line) for line in lines[1:]])
    check_request(request)
    return request


def origin_form(target):
    """The target without scheme and authority, should it have them (RFC 9112 section 3.2.2)."""
    absolute = None if target.startswith('/') else re.match(r'https?://[^/?#]+', target, re.IGNORECASE)
    if not absolute:
        return target
    rest = target[absolute.end():]
    return rest if rest.startswith('/') else '/' + rest


def parse_header(line):
    name, colon, value = line.partition(':')
    # Also refused here: a folded line, and a space before the colon (RFC 9112 sections 5.1 and 5.2).
    if not colon or not name or name.strip(TOKEN):
        raise HttpError(400, 'A header line is malformed.')
    return name.lower(), value.strip(' \t')


def own_origin(scheme, host):
    """The Origin of a page that came from this Host, or None when it is malformed."""
    return read_origin('%s://%s' % (scheme, host))


def check_request(request):
    if request.method not in ('GET', 'HEAD'):
        raise HttpError(405, 'Only GET and HEAD are served here.', [('Allow', 'GET, HEAD')])
    if not request.target.startswith('/'):
        raise HttpError(400, 'The request target must begin with a slash.')
    host = request.one('host')
    if host is None and request.version != 'HTTP/1.0':
        raise HttpError(400, 'The Host header is missing.')
    if host is not None and own_origin('http', host) is None:
        raise HttpError(400, 'The Host header is malformed.')
    if request.all('transfer-encoding') or request.one('content-length') not in (None, '0'):
        raise HttpError(400, 'A request with a body is not served here.')


WEBSOCKET_KEY = re.compile(r'[A-Za-z0-9+/]{22}==\Z')


def accept_key(request):
    """The Sec-WebSocket-Accept that answers this upgrade (RFC 6455 section 4.2). Raises HttpError."""
    if request.method != 'GET':
        raise HttpError(405, 'A WebSocket begins with a GET.', [('Allow', 'GET')])
    if request.version != 'HTTP/1.1':
        raise HttpError(400, 'A WebSocket begins with a request of HTTP/1.1.')
    if 'upgrade' not in request.tokens('connection'):
        raise HttpError(400, 'The Connection header does not ask for an upgrade.')
    if request.one('content-length') is not None:
        raise HttpError(400, 'A WebSocket request has no body.')
    if request.one('sec-websocket-version') != '13':
        raise HttpError(426, 'Only version 13 of the WebSocket protocol is spoken here.',
                        [('Sec-WebSocket-Version', '13'), ('Upgrade', 'websocket')])
    key = request.one('sec-websocket-key') or ''
    if not WEBSOCKET_KEY.match(key):
        raise HttpError(400, 'The Sec-WebSocket-Key is not 16 bytes in base64.')
    digest = hashlib.sha1((key + '258EAFA5-E914-47DA-95CA-C5AB0DC85B11').encode('ascii')).digest()
    return base64.b64encode(digest).decode('ascii')


def upgrade_reply(accept):
    return response_head(101, [('Upgrade', 'websocket'), ('Connection', 'Upgrade'), ('Sec-WebSocket-Accept', accept)])


def response_head(status, headers):
    lines = ['HTTP/1.1 %d %s' % (status, REASONS[status])] + ['%s: %s' % header for header in headers]
    return ('\r\n'.join(lines) + '\r\n\r\n').encode('latin-1')


def page_head(status, content_type, length, headers=()):
    """The head of a reply after which the connection closes."""
    # RFC 9110 section 7.8: an Upgrade header stands in Connection as well.
    connection = 'close, Upgrade' if 'Upgrade' in dict(headers) else 'close'
    shape = [('Content-Type', content_type), ('Content-Length', length), ('Connection', connection)]
    return response_head(status, shape + list(headers) + list(PAGE_HEADERS))


def sentence_reply(status, sentence, headers=(), with_body=True):
    """A whole reply of one plain sentence."""
    body = sentence.encode('utf-8')
    head = page_head(status, 'text/plain; charset=utf-8', len(body), headers)
    return head + body if with_body else head


def web_segments(path):
    """The names on the way to the file of a request path, or None when the path could lead astray (security S16).

    A path that ends in a slash leads to that folder's index.html.
    """
    try:
        names = percent_decoded(path).split('/')[1:]
    except ValueError:
        return None
    if names[-1] == '':
        names[-1] = 'index.html'
    if any(not name or name.startswith('.') or re.search(r'[\x00-\x1f\x7f\\:]', name) for name in names):
        return None
    return names


def percent_decoded(path):
    """The text of a percent-encoded path. Raises ValueError for broken escapes and for what is not UTF-8."""
    pieces = path.encode('latin-1').split(b'%')
    if not all(re.match(b'[0-9A-Fa-f]{2}', piece) for piece in pieces[1:]):
        raise ValueError('a broken percent escape')
    return utf8_text(pieces[0] + b''.join(binascii.unhexlify(piece[:2]) + piece[2:] for piece in pieces[1:]))


def content_type(name):
    return CONTENT_TYPES.get(name.rpartition('.')[2].lower(), 'application/octet-stream')


# ======================================================================================================================
# 5. WebSocket
# ======================================================================================================================
# RFC 6455, the server's side, without a socket: receive(data) gives events, data_to_send() gives what the peer must
# get. A fault of the peer is an event, never an exception that escapes.

OPEN, CLOSING, CLOSED_DOWN = 'open', 'closing', 'closed'

# closing: our Close is on its way and the peer's is awaited. After `closed` nothing more is sent.
WEBSOCKET_MOVES = {OPEN: (CLOSING, CLOSED_DOWN), CLOSING: (CLOSED_DOWN,), CLOSED_DOWN: ()}

Text = collections.namedtuple('Text', 'text')               # a whole text message
Piece = collections.namedtuple('Piece', 'data final')       # a piece of a binary message
Ping = collections.namedtuple('Ping', 'payload')            # already answered
Pong = collections.namedtuple('Pong', 'payload')
Closed = collections.namedtuple('Closed', 'code reason')    # the peer's Close; code None when it gave none
Fault = collections.namedtuple('Fault', 'code reason')      # the peer broke the protocol; nothing more will come

XOR_TABLES = [bytes(bytearray(byte ^ key for byte in range(256))) for key in range(256)]
SMALL_PAYLOAD = 512  # bytes; below it one big integer is quicker than four translations
FRAME_START, LENGTH_16 = struct.Struct('!BB').unpack_from, struct.Struct('!H').unpack_from


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


class FrameHead(object):
    """The header of one masked frame and how much of its payload is still to come."""

    __slots__ = ('opcode', 'final', 'remaining', 'key')

    def __init__(self, opcode, final, remaining, key):
        self.opcode, self.final, self.remaining, self.key = opcode, final, remaining, key

    def turn_key(self, count):
        """After ``count`` bytes of payload the next is masked with another byte of the key."""
        shift = count & 3
        if shift:
            self.key = self.key[shift:] + self.key[:shift]


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


def read_frame_head(data, start):
    """The FrameHead that begins at ``start`` and where its payload begins, or (None, start) when more must come.

    Raises WebSocketError.
    """
    head = bytearray(data[start:start + 14])
    if len(head) < 2:
        return None, start
    check_first_bytes(head[0], head[1])
    length = head[1] & 127
    size = {126: 4, 127: 10}.get(length, 2)
    if len(head) < size + 4:
        return None, start
    if size > 2:
        length = to_int(head[2:size])
        if length < (126 if size == 4 else 65536) or length >> 63:
            raise WebSocketError(PROTOCOL_ERROR, 'a length is not minimal, or has its first bit set')
    return FrameHead(head[0] & 15, bool(head[0] & 0x80), length, bytes(head[size:size + 4])), start + size + 4


class WebSocket(object):
    """One connection after its handshake.

    Text messages come whole, at most ``message_bytes`` long; binary ones as pieces, which may go on for ever.
    """

    __slots__ = ('state', '_limit', '_rest', '_frame', '_message', '_text', '_check', '_input_over', '_pongs',
                 '_out')

    def __init__(self, message_bytes):
        self.state = OPEN
        self._limit = message_bytes
        self._rest = b''          # the start of a frame head or of a control frame: less than 150 bytes
        self._frame = None        # the FrameHead whose payload is coming
        self._message = None      # TEXT or BINARY while a message is under way
        self._text = None         # the checked bytes of a text message so far
        self._check = None
        self._input_over = False  # after the peer's Close, or its fault
        self._pongs = []
        self._out = []

    def held(self):
        """Bytes of what has not become an event yet."""
        return len(self._rest) + (len(self._text) if self._text else 0)

    def due(self):
        """Bytes of the frame under way that are still to come."""
        return self._frame.remaining if self._frame else 0

    def receive(self, data):
        """The events in ``data`` (bytes) and what was held before. A Closed or a Fault is the last one ever."""
        if self._input_over:
            return []
        if self._rest:
            data, self._rest = self._rest + data, b''
        events = []
        try:
            self._rest = data[self._understand(data, events):]
        except WebSocketError as error:
            self._input_over = True
            events.append(Fault(error.code, error.reason))
        if self._input_over:
            self._rest, self._text = b'', None
        return events

    def _understand(self, data, events):
        """Understand ``data`` as far as it goes; where what must wait for more begins."""
        start = 0
        while not self._input_over:
            if self._frame is None:
                if self._message is None and self.state == OPEN:
                    start = self._take_whole(data, start, events)
                    if start == len(data):
                        break
                self._frame, start = read_frame_head(data, start)
                if self._frame is None:
                    break
                self._begin_frame(self._frame)
            there = min(self._frame.remaining, len(data) - start)
            if there < self._frame.remaining and (self._frame.opcode & 8 or not there):
                break
            payload = unmasked(data, start, start + there, self._frame.key)
            start += there
            self._take(self._frame, payload, events)
        return start

    def _take_whole(self, data, start, events):
        """The usual case in a few steps: short messages of one frame each that are there as a whole.

        Where the first begins that is anything else, or that breaks a rule.
        """
        end = len(data)
        while FAST_PATHS and end - start > 6:
            first, second = FRAME_START(data, start)
            head = start + 2
            length = second - 0x80
            if length == 126 and end - start > 8:
                length, head = LENGTH_16(data, head)[0], head + 2
                if length < 126:
                    break
            elif not 0 < length < 126:
                break
            stop = head + 4 + length
            if stop > end or (first != 0x82 and (first != 0x81 or length > self._limit)):
                break
            payload = unmasked(data, head + 4, stop, data[head:head + 4])
            if first == 0x82:
                events.append(Piece(payload, True))
            else:
                try:
                    events.append(Text(utf8_text(payload)))
                except UnicodeError:
                    break
            start = stop
        return start

    def _begin_frame(self, frame):
        if frame.opcode & 8:
            return
        if (frame.opcode == CONTINUATION) != (self._message is not None):
            raise WebSocketError(PROTOCOL_ERROR, 'a message is continued that was not begun, or begun within another')
        if frame.opcode:
            self._message = frame.opcode
        if self._message == TEXT:
            if frame.opcode:
                self._text, self._check = bytearray(), Utf8Check()
            if len(self._text) + frame.remaining > self._limit:
                raise WebSocketError(TOO_BIG, 'a message is longer than %d bytes' % self._limit)

    def _take(self, frame, payload, events):
        """What is there of the frame's payload."""
        frame.remaining -= len(payload)
        frame.turn_key(len(payload))
        if not frame.remaining:
            self._frame = None
        if frame.opcode & 8:
            self._take_control(frame.opcode, bytes(payload), events)
        else:
            self._take_data(payload, frame.final and not frame.remaining, events)

    def _take_control(self, opcode, payload, events):
        if opcode == PING:
            self._answer_ping(payload)
            events.append(Ping(payload))
        elif opcode == PONG:
            events.append(Pong(payload))
        else:
            events.append(read_close(payload))
            self._input_over = True

    def _take_data(self, piece, final, events):
        if self._message == TEXT:
            self._take_text(piece, final, events)
        elif (piece or final) and self.state == OPEN:
            events.append(Piece(piece, final))
        if final:
            self._message = self._text = self._check = None

    def _take_text(self, piece, final, events):
        """Section 8.1: fail at the first byte that is wrong, wherever frames and reads happen to be cut."""
        try:
            self._check.check(piece, final)
            if self.state != OPEN:
                return  # after our Close what still comes is checked, but not kept
            self._text += piece
            if final:
                events.append(Text(utf8_text(self._text)))
        except UnicodeError:
            raise WebSocketError(BAD_TEXT, 'a text message is not UTF-8')

    def _answer_ping(self, payload):
        # Section 5.5.3 lets us pass over earlier ones; a peer that piles up pings makes us pile up nothing.
        if len(self._pongs) >= PONGS_WAITING:
            del self._pongs[:]
        self._pongs.append(payload)

    def send(self, opcode, payload):
        """Queue a whole message or a ping; nothing is sent after a Close (section 5.5.1)."""
        if self.state == OPEN:
            self._out.append(frame_header(opcode, len(payload)))
            if payload:
                self._out.append(payload)

    def close(self, code=None, reason=''):
        """Queue a Close, ours or the answer to the peer's."""
        if self.state == OPEN:
            self._flush_pongs()
            self.send(CLOSE, close_payload(code, reason))
            if self._text:
                self._text = bytearray()
        self._move(CLOSED_DOWN if self._input_over else CLOSING)

    def _move(self, state):
        if state != self.state:
            assert state in WEBSOCKET_MOVES[self.state], (self.state, state)
            self.state = state

    def _flush_pongs(self):
        if self.state == OPEN:
            self._out[:0] = [frame_header(PONG, len(payload)) + payload for payload in self._pongs]
        self._pongs = []

    def data_to_send(self):
        """The chunks that the peer must get now, in order."""
        if self._pongs:
            self._flush_pongs()
        chunks, self._out = self._out, []
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
# May this page connect? May this address be dialled? Values in, verdicts out: who resolves names and knows which
# addresses are the machine's own is told so by later rooms.

# `setting` is what a client is told; `why` is for the operator.
Verdict = collections.namedtuple('Verdict', 'allowed setting why')

# Refused without allowConnectToServerLocal: they lead to this machine.
LOCAL_NETWORKS = tuple(read_network(block) for block in ('127.0.0.0/8', '0.0.0.0/8', '::1/128', '::/128'))

# Refused unless a rule names them: link-local and the services that clouds put on fixed addresses, multicast,
# broadcast and the reserved class E, and forms of IPv6 whose real destination cannot be seen (security, 3.3).
SPECIAL_NETWORKS = tuple((read_network(block), kind) for block, kind in (
    ('169.254.0.0/16', 'link-local'), ('fe80::/10', 'link-local'), ('fec0::/10', 'site-local'),
    ('168.63.129.16/32', 'cloud metadata'), ('100.100.100.200/32', 'cloud metadata'),
    ('192.0.0.192/32', 'cloud metadata'), ('fd00:ec2::254/128', 'cloud metadata'),
    ('224.0.0.0/4', 'multicast'), ('ff00::/8', 'multicast'), ('240.0.0.0/4', 'broadcast or reserved'),
    ('64:ff9b:1::/48', 'local NAT64'), ('2001::/32', 'Teredo'),
))

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


def within(inner, outer):
    return inner[1] >= outer[1] and in_network(inner[0], outer)


def address_forms(packed):
    """The address itself, and the IPv4 address that it carries inside, if any: what refuses one refuses both."""
    forms = [packed]
    for network, first in EMBEDDINGS if len(packed) == 16 else ():
        if in_network(packed, network) and not any(in_network(packed, local) for local in LOCAL_NETWORKS):
            forms.append(packed[first:first + 4])
    return forms


def name_test(glob):
    """What tells whether a name matches ``glob``. Of plain names there may be many, and regular expressions take long
    to make."""
    if GLOB_MARKS.search(glob):
        return re.compile(fnmatch.translate(glob)).match
    return lambda name: name == glob


class TargetRules(object):
    """allowConnectToServerLocal, allowTargets and denyTargets of a Config, ready to judge addresses."""

    def __init__(self, config):
        self._allow_local = config['allowConnectToServerLocal']
        self._allow = config['allowTargets']
        self._deny = config['denyTargets']
        self._globs = {rule.glob: name_test(rule.glob) for rule in self._allow + self._deny if rule.glob}
        self._verdicts = {}  # the last ones: few targets are dialled again and again

    def judge(self, *case):
        """As _judge(), which looks at all networks and rules."""
        verdict = self._verdicts.get(case)
        if verdict is None:
            if len(self._verdicts) >= VERDICTS:
                self._verdicts.clear()
            verdict = self._verdicts[case] = self._judge(*case)
        return verdict

    def own_matters(self, own_port):
        """Can it make a difference whether an address is this machine's own?"""
        return own_port or not self._allow_local

    def _judge(self, host, port, packed, own=False, own_port=False):
        """The Verdict on dialling ``packed``, which ``host`` has resolved to.

        ``own``: the address is one of this machine's; ``own_port``: this gateway listens on that port.
        """
        name, forms = canonical_name(host), address_forms(packed)
        local = own or any(in_network(form, network) for form in forms for network in LOCAL_NETWORKS)
        # A 6to4 address is not allowed for the sake of the IPv4 address inside: that one is only its router.
        trusted = forms[:1] if in_network(packed, SIX_TO_FOUR) else forms
        return (self._denied(name, port, forms) or self._local(local, own_port) or self._special(port, forms, trusted)
                or self._allowed(name, port, trusted))

    def _matches(self, rule, name, port, forms):
        if rule.ports and not any(first <= port <= last for first, last in rule.ports):
            return False
        if rule.network:
            return any(in_network(form, rule.network) for form in forms)
        return bool(self._globs[rule.glob](name))

    def _denied(self, name, port, forms):
        for rule in self._deny:
            if self._matches(rule, name, port, forms):
                return Verdict(False, 'denyTargets', 'denied by denyTargets "%s"' % rule.text)

    def _local(self, local, own_port):
        if local and own_port:
            return Verdict(False, 'own port', 'this is the port of the gateway itself')
        if local and not self._allow_local:
            return Verdict(False, 'allowConnectToServerLocal', 'this is the gateway\'s own machine, and '
                                                               'allowConnectToServerLocal is false')

    def _special(self, port, forms, trusted):
        for network, kind in SPECIAL_NETWORKS:
            if any(in_network(form, network) for form in forms) and not self._names(network, port, trusted):
                return Verdict(False, 'allowTargets', 'addresses of this kind (%s) are refused unless an address rule '
                                                      'of allowTargets names them' % kind)

    def _names(self, special, port, forms):
        """A rule for the whole Internet does not count: it must lie within the special network."""
        return any(rule.network and within(rule.network, special) and self._matches(rule, '', port, forms)
                   for rule in self._allow)

    def _allowed(self, name, port, forms):
        if not self._allow:
            return Verdict(True, '', 'no rule forbids it')
        for rule in self._allow:
            if self._matches(rule, name, port, forms):
                return Verdict(True, 'allowTargets', 'allowed by allowTargets "%s"' % rule.text)
        return Verdict(False, 'allowTargets', 'no rule of allowTargets allows it')


def check_origin(request, config):
    """Raise HttpError 403 when the page that made this request may not connect (protocol, 5; security S04)."""
    text = request.one('origin')
    if text is None or '*' in config['allowedOrigins'] or text in config['allowedOrigins']:
        return
    origin = read_origin(text)
    if origin is None:
        raise HttpError(403, 'This page has no origin that could be allowed, other than by "null" or "*" in '
                             'allowedOrigins.')
    if origin in config['allowedOrigins'] or (origin.scheme in ('http', 'https') and is_loopback_name(origin.host)):
        return
    if origin != own_origin(origin.scheme, request.one('host')):
        raise HttpError(403, 'Pages of this origin may not connect; the setting allowedOrigins can allow it.')
    # Same origin: but a name that anybody may point at this address proves nothing (DNS rebinding).
    if packed_address(origin.host) is None and origin.host not in config['allowedHosts']:
        raise HttpError(403, 'This name of the gateway is not known; the setting allowedHosts can allow it.')


class OriginRules(object):
    """allowedOrigins and allowedHosts of a Config, ready to judge requests."""

    def __init__(self, config):
        self._config = config
        self._allowed = set()  # the last pairs (Origin, Host): pages connect again and again

    def check(self, request):
        """As check_origin()."""
        pair = request.one('origin'), request.one('host')
        if pair not in self._allowed:
            check_origin(request, self._config)
            if len('%s%s' % pair) <= 2 * HOST_CHARACTERS:  # strangers could make them long
                self._remember(pair)

    def _remember(self, pair):
        if len(self._allowed) >= VERDICTS:
            self._allowed.clear()
        self._allowed.add(pair)


LOOPBACK_NETWORKS = (read_network('127.0.0.0/8'), read_network('::1/128'))


def is_loopback_name(host):
    packed = packed_address(host)
    if packed is None:
        return host == 'localhost'
    return any(in_network(packed, network) for network in LOOPBACK_NETWORKS)


def address_group(text):
    """What counts as one address in limits: an IPv4 address, or the /64 of an IPv6 one, which one host can fill."""
    packed = packed_address(text.partition('%')[0]) or b''
    forms = address_forms(packed) if packed else [packed]
    return forms[-1] if len(forms[-1]) == 4 else packed[:8]


# ======================================================================================================================
# 7. SSH
# ======================================================================================================================
# What ssh is told and what it says: its command line, the lines of its standard error, its questions. Whatever a client
# can choose is checked here and stands in ssh's arguments as a value, never as an option or a destination.

# The word in the place of a destination; what is really dialled stands in HostName.
DESTINATION = 'ws2s-hop'

# Names in a tunnel's private directory.
CONTROL_NAME, KEY_NAME, ASKPASS_NAME, PID_NAME = 'c', 'k', 'askpass', 'pid'

# Hands ssh's question to the gateway and its answer to ssh. The secret passes by no variable, argument or file.
ASKPASS_SCRIPT = b"""#!/bin/sh
printf '%s\\0' "$1" >&0 && exec head -n 1
"""

# What the operator's file may set. Of other options the first value would not win over what stands there, or they run
# programs, or hand out the operator's own keys.
SSH_FILE_WORDS = frozenset('''
    addressfamily bindaddress bindinterface casignaturealgorithms ciphers compression fingerprinthash host
    hostkeyalgorithms hostbasedacceptedalgorithms ipqos kexalgorithms macs pubkeyacceptedalgorithms
    pubkeyacceptedkeytypes rekeylimit requiredrsasize tcpkeepalive'''.split())

# Nothing, a comment, or one plain word before its value. ssh takes more: it passes over empty words and odd quotes.
SSH_FILE_LINE = re.compile(r'[ \t\r]*(?:\Z|#|(?:([A-Za-z0-9]+)|"([A-Za-z0-9]+)")(?:[ \t\r=]|\Z))')

PLAIN_NAME = re.compile(r'[A-Za-z0-9_][A-Za-z0-9_.-]*\Z')
PLAIN_USER = re.compile(r'[A-Za-z0-9_.+][A-Za-z0-9_.+-]{0,63}\Z')


class Hop(collections.namedtuple('Hop', 'host port username password key passphrase')):
    """The SSH server on the way to a target, and the login there.

    ``password`` and ``passphrase`` are bytes or None; ``key`` is the text of a key, a path that begins with a slash, or
    None.
    """

    __slots__ = ()

    def __repr__(self):
        return 'Hop(%r, %r, ...)' % (self.host, self.port)  # actions are printed freely

    def methods(self):
        """The ways to log in for which there is something to show."""
        return (('publickey',) if self.key else ()) + (('password', 'keyboard-interactive') if self.password else ())


def plain_host(host, field='host'):
    """The form in which ssh is given a host: an address, or a name of harmless characters. Raises RequestError."""
    packed = packed_address(host)
    if packed is not None:
        return address_text(packed)
    name = ascii_name(host)
    if not PLAIN_NAME.match(name) or len(name) > HOST_CHARACTERS:
        raise RequestError('%s must be a plain name or an address when SSH is used' % field)
    return name


def bracketed(host, port):
    """``HOST:PORT`` as ssh reads it, with brackets around an IPv6 address."""
    return ('[%s]:%d' if ':' in host else '%s:%d') % (host, port)


def host_key_name(hop):
    """The name under which known_hosts has the key of this server (sshd(8), SSH_KNOWN_HOSTS FILE FORMAT)."""
    host = hop.host.lower()
    return host if hop.port == 22 else '[%s]:%d' % (host, hop.port)


def local_path(directory, number):
    """Where the tunnel of this directory listens for its ``number``th target."""
    return '%s/s%d' % (directory, number)


def forward_argument(directory, number, target):
    """The value of ``-L`` for a pair (host, port). Raises RequestError for a host that is not plain.

    A host that begins with a slash would be a socket of the SSH server.
    """
    host, port = target
    # The folder may have letters that the host has not: both as the system's own kind of text.
    return '%s:%s' % (local_path(directory, number), str(bracketed(plain_host(host), port)))


def host_key_options(config):
    known_hosts = '/dev/null' if config['ssh.hostKeyChecking'] == 'no' else config['ssh.knownHosts']
    return ['StrictHostKeyChecking=%s' % config['ssh.hostKeyChecking'], 'UserKnownHostsFile="%s"' % known_hosts,
            'GlobalKnownHostsFile=/dev/null', 'UpdateHostKeys=no', 'CheckHostIP=no', 'VerifyHostKeyDNS=no',
            'HashKnownHosts=no', 'KnownHostsCommand=none']


def login_options(hop):
    """Only what the client gave is shown to the server: no agent, no key of the operator (security, 3.4)."""
    methods = hop.methods()

    def yes_if(condition):
        return 'yes' if condition else 'no'

    return ['IdentitiesOnly=yes', 'IdentityAgent=none', 'AddKeysToAgent=no', 'SecurityKeyProvider=/dev/null',
            'PubkeyAuthentication=%s' % yes_if('publickey' in methods),
            'PasswordAuthentication=%s' % yes_if('password' in methods),
            'KbdInteractiveAuthentication=%s' % yes_if('keyboard-interactive' in methods),
            'PreferredAuthentications=%s' % (','.join(methods) or 'none'), 'NumberOfPasswordPrompts=1',
            'BatchMode=%s' % yes_if(not (hop.password or hop.passphrase))]


# Options that came after OpenSSH 7.0: an older ssh, which knows no such danger, passes them over.
YOUNG_OPTIONS = ('IgnoreUnknown=AddKeysToAgent,IdentityAgent,KnownHostsCommand,ProxyJump,ForkAfterAuthentication,'
                 'StdinNull,SessionType,SecurityKeyProvider')

FIXED_OPTIONS = (
    'LogLevel=DEBUG2', 'EscapeChar=none', 'ExitOnForwardFailure=yes', 'ClearAllForwardings=no', 'GatewayPorts=no',
    'ForwardAgent=no', 'ForwardX11=no', 'Tunnel=no', 'PermitLocalCommand=no', 'ProxyCommand=none', 'ProxyJump=none',
    'CanonicalizeHostname=no', 'ControlPersist=no', 'ForkAfterAuthentication=no', 'StdinNull=no', 'SessionType=none',
    'StreamLocalBindMask=0177', 'StreamLocalBindUnlink=no', 'ConnectionAttempts=1',
    'ServerAliveInterval=%d' % TUNNEL_ALIVE_SECONDS, 'ServerAliveCountMax=3')


def base_arguments(config, directory):
    config_file = config['ssh.configFile'] or '/dev/null'
    return [config['ssh.program'], '-F', config_file, '-S', '%s/%s' % (directory, CONTROL_NAME)]


def tunnel_arguments(config, hop, address, seconds, directory, target):
    """The command line that logs in at ``hop``, dialled at ``address``, and forwards to ``target``, a (host, port).

    ``seconds``: for the connection and the server's first words. Raises RequestError.
    """
    options = [YOUNG_OPTIONS, 'HostName=%s' % address.replace('%', '%%'), 'HostKeyAlias=%s' % host_key_name(hop),
               'ConnectTimeout=%d' % max(1, seconds)]
    options += list(FIXED_OPTIONS) + host_key_options(config) + login_options(hop)
    arguments = base_arguments(config, directory) + ['-M', '-N', '-T', '-a', '-x', '-p', '%d' % hop.port,
                                                     '-l', hop.username, '-L', forward_argument(directory, 1, target)]
    if hop.key:
        arguments += ['-i', '%s/%s' % (directory, KEY_NAME)]
    for option in options:
        arguments += ['-o', option]
    return arguments + ['--', DESTINATION]


def forward_arguments(config, directory, number, target):
    """The command line that has the ssh of this directory forward to one more target. Raises RequestError."""
    return base_arguments(config, directory) + ['-O', 'forward', '-L', forward_argument(directory, number, target),
                                                '--', DESTINATION]


def check_ssh_file(text):
    """Raise ConfigError for a line of the operator's file of options that could undo what the options above do."""
    for line in text.split('\n'):
        # Some read a longer line in parts, and its end as a line of its own.
        found = SSH_FILE_LINE.match(line) if len(line) <= SSH_FILE_CHARACTERS else None
        word = found and (found.group(1) or found.group(2))
        if not found or (word and word.lower() not in SSH_FILE_WORDS):
            raise ConfigError('"ssh.configFile": the option %s may not stand there'
                              % printable(word or line.strip()[:40]))


def is_key_text(key):
    return key.startswith('-----BEGIN ')


def is_for_key(question, directory):
    """Is this ssh's own question for the passphrase, and not one of a server? It names a path that no server knows."""
    return question == b"Enter passphrase for key '" + path_bytes('%s/%s' % (directory, KEY_NAME)) + b"': "


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
    ('administratively prohibited', SSH_PROHIBITED), ('refused', REFUSED), ('timed out', TIMEOUT), ('timeout', TIMEOUT),
    ('not known', UNKNOWN_NAME), ('name resolution', UNKNOWN_NAME), ('no address associated', UNKNOWN_NAME),
    ('not resolve', UNKNOWN_NAME), ('no such host', UNKNOWN_NAME), ('resource shortage', SSH_FAILED),
    ('unknown channel type', SSH_FAILED), ('', UNREACHABLE))


def target_failure(words):
    """The Failure of a target behind the SSH server, from the words in which that tells it (RFC 4254 section 5.1)."""
    return [failure for mark, failure in TARGET_FAILURES if mark in words.lower()][0]


def told(event):
    return lambda found: event


# What a line of ssh's standard error tells; the first that fits. These words have been the same since OpenSSH 7.0.
SSH_LINES = tuple((re.compile(pattern), meaning) for pattern, meaning in (
    (r'debug1: Connection established', told(SshConnected())),
    (r'debug1: Entering interactive session', told(SshReady())),
    (r'debug1: channel (\d{1,9}): new .*direct-tcpip', lambda found: ChannelBegun(int(found.group(1)))),
    (r'debug2: channel (\d{1,9}): open confirm', lambda found: ChannelOpened(int(found.group(1)))),
    (r'debug2: channel (\d{1,9}): rcvd (?:eof|close)', lambda found: ChannelEnded(int(found.group(1)))),
    (r'channel (\d{1,9}): open failed: (.*)',
     lambda found: ChannelFailed(int(found.group(1)), target_failure(found.group(2)))),
    (r'debug\d:', told(None)),
    (r'Unable to negotiate ', told(SshFault(SSH_STRANGE))),  # before others: the server has a say in its end
    (r'.*Permission denied \(|.*Too many authentication failures|.*No more authentication methods',
     told(SshFault(SSH_AUTH))),
    (r'Host key verification failed|.*HOST IDENTIFICATION HAS CHANGED', told(SshFault(SSH_HOSTKEY))),
    (r'.*(?:Connection|Operation) timed out|Connection to .* timed out|Timeout, server', told(SshFault(SSH_TIMEOUT))),
    (r'ssh: connect to host |ssh: connect to address |.*Could not resolve hostname', told(SshFault(SSH_UNREACHABLE))),
    (r'kex_exchange_identification|ssh_exchange_identification|banner exchange|Connection (?:closed|reset) by|'
     r'ssh_dispatch_run_fatal', told(SshFault(SSH_HUNG_UP))),
    (r"(?:command-line|/[^:]*):? line \d+: .*|No user exists .*|Bad owner .*|Can't open user config .*",
     lambda found: SshComplaint(found.group())),
))


class LineParser(object):
    """Lines of text out of bytes that come in pieces; of a long one only the beginning."""

    __slots__ = ('_rest',)

    def __init__(self):
        self._rest = b''

    def receive(self, data):
        lines = (self._rest + data).split(b'\n')
        self._rest = lines.pop()[:SSH_LINE_BYTES]
        return [line[:SSH_LINE_BYTES].rstrip(b'\r').decode('latin-1') for line in lines]


def read_ssh_line(line):
    """What a line (text) of ssh's standard error tells, or None for most of them."""
    for pattern, meaning in SSH_LINES:
        found = pattern.match(line)
        if found:
            return meaning(found)
    return None


# ======================================================================================================================
# 8. Dialects
# ======================================================================================================================
# What messages mean. A dialect gets events and answers each with a list of actions; it knows no frame, socket, thread
# or log. A channel is the number by which it names one upstream. To add a dialect: one class, and one row of DIALECTS.

Send = collections.namedtuple('Send', 'opcode payload')       # a message to the client
Open = collections.namedtuple('Open', 'channel host port hop')  # connect to a target; on_opened or on_failed follows
Open.__new__.__defaults__ = (None,)                           # the Hop is None for a target that is dialled directly
Write = collections.namedtuple('Write', 'channel data')       # bytes to the target
Shut = collections.namedtuple('Shut', 'channel')              # end it after what was written; no event follows
Hangup = collections.namedtuple('Hangup', 'code reason')      # close the WebSocket


class Dialect(object):
    """What every dialect answers. One object serves one session; ``request`` is the Request that began it."""

    __slots__ = ()

    def __init__(self, request, config):
        pass

    def on_start(self):
        """The WebSocket is open."""
        return []

    def on_text(self, text):
        """A whole text message has come."""
        return []

    def on_binary(self, piece, final):
        """A piece of a binary message has come, the last one of it when ``final``."""
        return []

    def on_opened(self, channel):
        """The target is connected."""
        return []

    def on_failed(self, channel, failure):
        """The target could not be connected; ``failure`` is a Failure."""
        return []

    def on_data(self, channel, data):
        """The target has sent ``data``, never more than room() had said."""
        return []

    def on_closed(self, channel, failure):
        """The target has ended the connection, after its last byte."""
        return []

    def on_mistake(self):
        """The gateway has failed and will close the WebSocket; only a Send is carried out."""
        return []

    def carried(self):
        """The channel to which pieces of binary messages go just as they are, or None. With a channel given here,
        on_binary() is not asked: it would only have answered each piece with one Write."""

    def carries(self, channel, count):
        """May ``count`` bytes of the target go to the client just as they are, as one binary message? Where they may,
        they are counted here and on_data() is not asked. The answer for 0 holds for what comes in the same turn."""
        return False

    def room(self, channel):
        """How many bytes of this channel the client may be sent just now; None when it sets no bound."""
        return None

    def backlog(self):
        """Bytes held in messages that wait. Above ``limits.bufferBytes`` no more are read."""
        return 0


def digits_only(text):
    """A JSON integer. Of a very long one only is known that it is huge: to read it would take the square of its length
    on old Pythons (security S09)."""
    return int(text[:JSON_DIGITS])


JSON = json.JSONDecoder(parse_int=digits_only, parse_constant=no_constant)


def count_marks(text, start, end):
    return text.count(u'[', start, end) + text.count(u'{', start, end) + text.count(u',', start, end)


def has_many_marks(text):
    """Would parsing ``text`` make so many objects that they take many times its own size?

    Marks within strings do not count. All is done by searches that copy next to nothing: a regular expression would
    itself take many times the size of the text.
    """
    if count_marks(text, 0, len(text)) <= JSON_MARKS:
        return False
    text = text.replace(u'\\\\', u'').replace(u'\\"', u'')  # now every quote begins or ends a string
    marks = start = 0
    for _ in range(2 * JSON_MARKS):  # with more strings than these there are more marks, or it is not JSON
        begin = text.find(u'"', start)
        marks += count_marks(text, start, len(text) if begin < 0 else begin)
        start = text.find(u'"', begin + 1) + 1
        if marks > JSON_MARKS or begin < 0 or not start:
            return marks > JSON_MARKS
    return True


def read_request(text):
    """The dict of one JSON request. Raises RequestError."""
    if has_many_marks(text):
        raise RequestError('the request has too many members')
    try:
        request = JSON.decode(text)
    except (ValueError, RuntimeError):  # RuntimeError: nested too deeply
        raise RequestError('the request is not JSON')
    if not isinstance(request, dict):
        raise RequestError('the request is not a JSON object')
    return request


NOT_OF_HOSTS = re.compile(u'[\\s\x00-\x20\x7f-\xa0\ud800-\udfff]', re.UNICODE)


def read_host(value, field='host'):
    """The host of a connect, without brackets. Raises RequestError before anything is looked up."""
    if not isinstance(value, text_type) or not 1 <= len(value) <= HOST_CHARACTERS:
        raise RequestError('%s must be a text of 1 to %d characters' % (field, HOST_CHARACTERS))
    if NOT_OF_HOSTS.search(value):
        raise RequestError('%s must not contain spaces or control characters' % field)
    if u'[' in value or u']' in value:
        value = value[1:-1] if value.startswith(u'[') and value.endswith(u']') else u''
        if len(packed_address(value) or b'') != 16:
            raise RequestError('only an IPv6 address stands in brackets')
    return value


def read_target_port(value, field='port'):
    if isinstance(value, text_type):
        value = read_port(value)
    if not isinstance(value, integer_types) or isinstance(value, bool) or not 1 <= value <= 65535:
        raise RequestError('%s must be a whole number from 1 to 65535' % field)
    return value


def read_window(value):
    if value is None:
        return None
    if not isinstance(value, integer_types) or isinstance(value, bool) or value < WINDOW_BYTES:
        raise RequestError('window must be a whole number of at least %d' % WINDOW_BYTES)
    return value


def read_flag(request, name):
    value = request.get(name)
    if value not in (None, True, False) or not isinstance(value, (bool, type(None))):
        raise RequestError('%s must be true or false' % name)
    return bool(value)


def refuse_protection(request):
    """What asks for protection that is not there is refused: ignoring it would send secrets in the clear."""
    if request.get(u'tls'):
        raise RequestError('this gateway does not offer TLS to the target', 'tls')


def is_given(request, name):
    """Pages send their empty fields, too."""
    return request.get(name) is not None and request[name] != u''


def read_hop(request):
    """The Hop of a connect, or None when it goes to its target directly. Raises RequestError."""
    if not is_given(request, u'ssh_host'):
        return None
    host = plain_host(read_host(request[u'ssh_host'], 'ssh_host'), 'ssh_host')
    port = read_target_port(request[u'ssh_port'], 'ssh_port') if is_given(request, u'ssh_port') else 22
    return Hop(host, port, read_user(request.get(u'ssh_username')), read_secret(request, u'ssh_password'),
               read_key(request), read_secret(request, u'ssh_private_key_password'))


def read_user(value):
    if not isinstance(value, text_type) or not PLAIN_USER.match(value):
        raise RequestError('ssh_username must be a text of 1 to 64 letters, digits and . _ + -')
    return value


def read_secret(request, name):
    """The bytes of a password, or None. ssh takes one line."""
    if not is_given(request, name):
        return None
    secret = read_text(request[name], name)
    if len(secret) > SECRET_BYTES or re.search(b'[\x00-\x1f\x7f]', secret):
        raise RequestError('%s must be one line of at most %d bytes' % (name, SECRET_BYTES))
    return secret


def read_key(request):
    """The text of a private key with the line ends that every ssh takes, or a path, or None."""
    if not is_given(request, u'ssh_private_key'):
        return None
    key = request[u'ssh_private_key']
    if not isinstance(key, text_type) or len(key) > KEY_CHARACTERS or re.search(u'[^\t\r\n\x20-\x7e]', key):
        raise RequestError('ssh_private_key must be a text of at most %d plain characters' % KEY_CHARACTERS)
    key = key.strip().replace(u'\r\n', u'\n')
    if is_key_text(key):
        return key + u'\n'
    if not key.startswith(u'/') or u'\n' in key:
        raise RequestError(NO_SUCH_KEY.message)
    return key


SENDB_HEAD = re.compile(u'{"command": ?"sendb", ?"data": ?"')


def read_base64(value):
    """The bytes of standard, padded base64. Raises RequestError; Python's own decoder skips what it does not know."""
    if not isinstance(value, text_type):
        raise RequestError('data must be a text')
    try:
        data = binascii.a2b_base64(value)
    except (ValueError, binascii.Error):  # not ASCII; no base64
        raise RequestError('data is not base64')
    # With strays or a cut end the length does not fit what was decoded.
    if len(value) % 4 or len(data) != len(value) // 4 * 3 - value[-2:].count(u'='):
        raise RequestError('data is not base64')
    return data


def sendb_data(text):
    """The bytes of a `sendb` in the usual spelling, found without making objects of the request; else None.

    What stands between the quotes is base64 and nothing else, or its length would not fit.
    """
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


def done(command):
    return Send(TEXT, b'{"success": true, "code": 0, "message": "' + command + b' done"}')


SENDB_DONE = done(b'sendb')


def failed(failure):
    return Send(TEXT, ('{"success": false, "code": %d, "message": %s, "reason": "%s"}' % (
        failure.code, json.dumps(failure.message), failure.reason)).encode('ascii'))


def received(data):
    """A code -1 reply, put together: json.dumps would look at every character of the base64 (protocol, 2)."""
    return Send(TEXT, b''.join((b'{"success": true, "code": -1, "message": "recv data", "data": "',
                                base64_bytes(data), b'"}')))


UNCONNECTED, CONNECTING, CONNECTED = 'unconnected', 'connecting', 'connected'

CHANNEL_MOVES = {UNCONNECTED: (CONNECTING,), CONNECTING: (CONNECTED, UNCONNECTED), CONNECTED: (UNCONNECTED,)}


class JsonDialect(Dialect):
    """The ws2s protocol: JSON requests and replies, one TCP connection at a time (protocol, 1 and 2)."""

    __slots__ = ('_state', '_channel', '_binary', '_window', '_outstanding', '_waiting', '_waiting_bytes')

    def __init__(self, request, config):
        self._state = UNCONNECTED
        self._channel = 0
        self._binary = False
        self._window = None
        self._outstanding = 0  # bytes sent within the window and not given back yet
        self._waiting = None   # messages that came while connecting: they are carried out after it
        self._waiting_bytes = 0

    def _move(self, state):
        assert state in CHANNEL_MOVES[self._state], (self._state, state)
        self._state = state

    def backlog(self):
        return self._waiting_bytes

    def room(self, channel):
        return None if self._window is None else self._window - self._outstanding

    def carried(self):
        # A class derived from this one may want to see what passes.
        return self._channel if self._state == CONNECTED and type(self) is JsonDialect else None

    def carries(self, channel, count):
        if not self._binary or type(self) is not JsonDialect:
            return False
        if self._window is not None:
            self._outstanding += count
        return True

    def on_text(self, text):
        if self._state == CONNECTING:
            return self._wait(text, None, 4 * len(text))  # some Pythons take so much for a character
        return self._obey(text)

    def on_binary(self, piece, final):
        if self._state == CONNECTING:
            return self._wait(piece, final, len(piece))
        return self._pass_on(piece, final)

    def _wait(self, content, final, size):
        if self._waiting is None:
            self._waiting = collections.deque()
        self._waiting.append((content, final, size + WAITING_BYTES))
        self._waiting_bytes += size + WAITING_BYTES
        return []

    def _go_on(self):
        """Carry out what has waited, up to the next connect."""
        actions = []
        while self._waiting and self._state != CONNECTING:
            content, final, size = self._waiting.popleft()
            self._waiting_bytes -= size
            actions += self._obey(content) if final is None else self._pass_on(content, final)
        if not self._waiting:
            self._waiting = None
        return actions

    def _obey(self, text):
        data = sendb_data(text) if FAST_PATHS and self._state == CONNECTED else None
        if data:
            return [Write(self._channel, data), SENDB_DONE]
        try:
            request = read_request(text)
            command = request.get(u'command')
            if not isinstance(command, text_type) or command not in self.COMMANDS:
                raise RequestError('unknown command')
            return self.COMMANDS[command](self, request)
        except RequestError as error:
            return [failed(error.failure)]

    def _connect(self, request):
        # The old connection goes even when the request is refused: what follows was not meant for it.
        actions = self._disconnect()
        try:
            host, port = read_host(request.get(u'host')), read_target_port(request.get(u'port'))
            binary, window = read_flag(request, u'binary'), read_window(request.get(u'window'))
            refuse_protection(request)
            hop = read_hop(request)
            host = plain_host(host) if hop else host
        except RequestError as error:
            return actions + [failed(error.failure)]
        self._move(CONNECTING)
        self._channel += 1
        self._binary, self._window, self._outstanding = binary, window, 0
        return actions + [Open(self._channel, host, port, hop)]

    def _disconnect(self):
        if self._state != CONNECTED:
            return []
        self._move(UNCONNECTED)
        return [Shut(self._channel)]

    def _send(self, request):
        return self._write(read_text, request, b'send')

    def _sendb(self, request):
        return self._write(read_base64, request, b'sendb')

    def _write(self, read, request, command):
        if self._state != CONNECTED:
            return [failed(NOT_CONNECTED)]
        data = read(request.get(u'data'))
        return [Write(self._channel, data), done(command)] if data else [done(command)]

    def _close(self, request):
        return self._disconnect() + [done(b'close')]

    def _ping(self, request):
        return [done(b'ping')]

    def _ack(self, request):
        """Gives room back; the only request without a reply, whatever is wrong with it (protocol, 1)."""
        count = request.get(u'bytes')
        if isinstance(count, integer_types) and not isinstance(count, bool) and count > 0:
            self._outstanding -= min(count, self._outstanding)
        return []

    COMMANDS = {u'connect': _connect, u'send': _send, u'sendb': _sendb, u'close': _close, u'ping': _ping, u'ack': _ack}

    def _pass_on(self, piece, final):
        if self._state == CONNECTED:
            return [Write(self._channel, piece)] if piece else []
        return [failed(NOT_CONNECTED)] if final else []

    def on_opened(self, channel):
        self._move(CONNECTED)
        return [done(b'connect')] + self._go_on()

    def on_failed(self, channel, failure):
        self._move(UNCONNECTED)
        return [failed(failure)] + self._go_on()

    def on_data(self, channel, data):
        if self._window is not None:
            self._outstanding += len(data)
        return [Send(BINARY, data) if self._binary else received(data)]

    def on_closed(self, channel, failure):
        self._move(UNCONNECTED)
        return [failed(failure)]

    def on_mistake(self):
        return [failed(BROKEN)]


# Who serves a request: the first row whose test passes. The JSON dialect takes every path (protocol, 4).
DIALECTS = (
    (lambda request: True, JsonDialect),
)


# ======================================================================================================================
# 9. Event loop
# ======================================================================================================================
# From here on the world: sockets, clocks, threads, files, logs. One thread runs the loop; nothing in it may block.
#
# A turn: poll; dispatch what is ready; what other threads posted; timers that are due; send what was written; settle
# what was touched, that is, flush it and tell the poller what it wants now. Interest is derived from state each time,
# never toggled by hand.
#
# A handler has `sock` (None once closed), `events` (what the poller knows), `touched`, on_ready(events), settle() and
# on_mistake(), which ends it after an exception of ours; one that says send_soon(), send_now().

LOG = logging.getLogger('ws2s')
LOG.addHandler(logging.NullHandler())


def log_mistake():
    """Log where our code failed. The text of the exception stays out: it may quote a client's data."""
    kind, _, trace = sys.exc_info()
    LOG.error('a mistake of ws2s itself: %s\n%s', kind.__name__, ''.join(traceback.format_tb(trace)).rstrip())


class Timer(object):
    """A callback that is due at a moment of the loop's clock."""

    __slots__ = ('when', 'callback', '_loop')

    def __init__(self, loop, when, callback):
        self._loop, self.when, self.callback = loop, when, callback

    def cancel(self):
        if self.callback is not None:
            self.callback = None
            self._loop.on_cancelled()


class Waker(object):
    """A socket pair that makes a poll in progress return."""

    def __init__(self, loop):
        self.sock, self._far = socket.socketpair()
        self.events, self.touched, self._loop = 0, False, loop
        for sock in (self.sock, self._far):
            sock.setblocking(False)
            close_on_exec(sock.fileno())

    def wake(self):
        try:
            self._far.send(b'w')
        except NetworkError as error:
            if not is_not_ready(error):  # full: then it is awake anyway
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

    Its sockets do not block; NetworkError is raised as by them.
    """

    __slots__ = ('_count', '_far', '_near')

    def __init__(self):
        self._count = 0
        self._far, self._near = os.pipe()
        try:
            fcntl.fcntl(self._near, fcntl.F_SETPIPE_SZ, BULK_BYTES)
        except NetworkError:  # this user's pipes are many: then it takes less at a time
            LOG.debug('a pipe stays small')

    def __len__(self):
        return self._count

    def fill(self, sock, count):
        """Take at most ``count`` bytes from ``sock``; how many there were, 0 at the end. It must be empty."""
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


class Pipes(object):
    """The pipes of one loop: one that is free, and those that stand full because their client is slow."""

    def __init__(self):
        self._free, self._lent = None, 0

    def take(self):
        """An empty Pipe, or None when there are too many; whoever takes one gives it back."""
        if self._lent == PIPES:
            return None
        try:
            pipe = Pipe() if self._free is None else self._free
        except NetworkError:  # no more descriptors
            return None
        self._free = None
        self._lent += 1
        return pipe

    def give_back(self, pipe):
        """What is still in it is thrown away."""
        self._lent -= 1
        if len(pipe) or self._free is not None:
            pipe.close()
        else:
            self._free = pipe

    def close(self):
        if self._free is not None:
            self._free.close()
            self._free = None


def keep_freed_memory():
    """glibc gives every block of 128 KiB and more back to the system, page by page, when it is freed, and what then
    takes its place is page faults; until it has seen a longer one freed, of which it learns (mallopt(3),
    M_MMAP_THRESHOLD). Others do not mind."""
    bytearray(KEPT_BYTES)


class Loop(object):
    """Turns over one poller. Only post() may be called from other threads, and from signal handlers."""

    def __init__(self):
        self.now = monotonic()
        self._poller = Poller()
        self._timers = []           # a heap of (when, number, Timer)
        self._cancelled = 0
        self._numbers = itertools.count()
        self._touched = []
        self._unsent, self._unsent_bytes = [], 0
        self._posted = collections.deque()
        keep_freed_memory()
        # What is received comes to lie here first: room for a whole read, taken anew each time, costs more than a copy.
        self._read = memoryview(bytearray(RECEIVE_BYTES))
        self.share = BULK_BYTES     # bytes that one socket may bring in this turn
        # Re-entrant: a signal handler may post while its own thread is posting.
        self._lock = threading.RLock()
        self._closed = False
        self.pipes = Pipes()
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
        self.watch(handler, 0)

    def touch(self, handler):
        """Settle ``handler`` at the end of this turn."""
        if not handler.touched:
            handler.touched = True
            self._touched.append(handler)

    def send_soon(self, handler, count):
        """Have ``handler`` send ``count`` bytes in this turn. When many send one after another, those who get it are
        woken once and not each time; but what waits for that is held, so it is not much."""
        self._unsent.append(handler)
        self._unsent_bytes += count + FAIR_BYTES // SEND_BATCH

    def receive(self, sock, count):
        """What ``sock`` has, at most ``count``, which is no more than RECEIVE_BYTES; empty at the end. Raises
        NetworkError."""
        return self._read[:sock.recv_into(self._read, count)].tobytes()

    def call_later(self, seconds, callback):
        """Call a method ``seconds`` from now; the Timer. Its object needs on_mistake()."""
        timer = Timer(self, self.now + seconds, callback)
        heapq.heappush(self._timers, (timer.when, next(self._numbers), timer))
        return timer

    def on_cancelled(self):
        """Cancelled timers stay in the heap until they are the smaller part no more."""
        self._cancelled += 1
        if self._cancelled > 64 and self._cancelled > len(self._timers) // 2:
            self._timers = [entry for entry in self._timers if entry[2].callback is not None]
            heapq.heapify(self._timers)
            self._cancelled = 0

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
        ready = self._poller.select(self._patience())
        self.now = monotonic()  # before the dispatch: what begins now must not begin when the poll fell asleep
        # The more are ready the shorter each must be, or whoever comes last waits for many long ones.
        self.share = max(FAIR_BYTES, BULK_BYTES // max(1, len(ready) ** 2))
        for key, events in ready:
            handler = key.data
            if handler.events & events:  # 0 when it was closed earlier in this very batch
                try:
                    handler.on_ready(events)
                except Exception:
                    self._on_mistake_of(handler)
                if self._unsent_bytes >= FAIR_BYTES:
                    self._send_unsent()
        self.now = monotonic()
        if self._posted:
            self._run_posted()
        self._run_timers()
        if self._unsent:
            self._send_unsent()
        if self._touched:
            self._settle_touched()

    def _patience(self):
        """Seconds until the first timer, None for ever."""
        if self._posted or self._touched or self._unsent:
            return 0
        while self._timers and self._timers[0][2].callback is None:
            heapq.heappop(self._timers)
            self._cancelled -= 1
        # No poller takes a month.
        return min(3600, max(0, self._timers[0][0] - monotonic())) if self._timers else None

    def _call(self, method, *arguments):
        """One handler's mistake must not end the others."""
        try:
            method(*arguments)
        except Exception:
            self._on_mistake_of(method.__self__)

    def _on_mistake_of(self, handler):
        log_mistake()
        try:
            handler.on_mistake()
        except Exception:
            log_mistake()

    def _run_posted(self):
        for _ in range(len(self._posted)):  # what these post comes in the next turn
            self._call(self._posted.popleft())

    def _run_timers(self):
        while self._timers and self._timers[0][0] <= self.now:
            timer = heapq.heappop(self._timers)[2]
            if timer.callback is None:
                self._cancelled -= 1
            else:
                callback, timer.callback = timer.callback, None
                self._call(callback)

    def _send_unsent(self):
        batch, self._unsent, self._unsent_bytes = self._unsent, [], 0
        for handler in batch:
            try:
                handler.send_now()
            except Exception:
                self._on_mistake_of(handler)

    def _settle_touched(self):
        while self._touched:
            batch, self._touched = self._touched, []
            for handler in batch:
                handler.touched = False
                if handler.sock is not None:
                    self._call(handler.settle)

    def abandon(self):
        """In a child of fork(): close this copy's descriptors. What they stand for is shared with the parent."""
        self.waker.abandon()
        self.pipes.close()
        self._poller.close()

    def close(self):
        """Run what was posted before, and give the descriptors back."""
        with self._lock:
            self._closed = True
        self._run_posted()
        self.waker.close()
        self.pipes.close()
        self._poller.close()
        self._timers = []


# ======================================================================================================================
# 10. Streams
# ======================================================================================================================
# Non-blocking sockets. A Stream's owner gets on_received, on_eof, on_broken, on_unwritable, on_flow, on_finished and
# on_mistake, and says by wants_data(stream) how many bytes it would take now: that is all there is to backpressure.
# It may name a sink(stream): another Stream for whose sake it would get the bytes in a pipe, by on_pipe.


class Tally(object):
    """Bytes that a gateway holds for its clients, all together, and how many they may be."""

    __slots__ = ('bytes', 'most')

    def __init__(self, most):
        self.bytes, self.most = 0, most

    def is_too_much(self):
        return self.bytes > self.most

    def cut(self, count):
        """How many of ``count`` bytes may be read at once. The less is left the less, for JSON makes more of them, and
        many read in a turn."""
        left = self.most - self.bytes
        return min(count, RECEIVE_BYTES if left >= 2 * RECEIVE_BYTES else max(SMALL_RECEIVE, left // 2))

    def pipe_bytes(self):
        """What a pipe may hold: all of them together no more than half of it all."""
        return min(BULK_BYTES, self.most // (2 * PIPES)) if PIPES else 0


def prepare(sock):
    """What every connected socket needs here."""
    sock.setblocking(False)
    close_on_exec(sock.fileno())
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)


def reset_on_close(sock):
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
    except NetworkError:  # the peer has ended it already, and some systems say so here
        LOG.debug('a connection is gone before it was reset')


class Joined(bytearray):
    """Small chunks of one queue; bytearrays that came from elsewhere may belong to somebody."""


def rest_of(chunks, sent):
    """What is left of ``chunks`` when ``sent`` bytes of them have gone."""
    for i, chunk in enumerate(chunks):
        if sent < len(chunk):
            return (memoryview(chunk)[sent:] if sent else chunk,) + tuple(chunks[i + 1:])
        sent -= len(chunk)
    return ()


class Stream(object):
    """A connected socket and the queue of what it has still to send.

    ``high``: bytes in the queue from which it is congested, until three quarters of them are gone.
    """

    __slots__ = ('sock', 'events', 'touched', 'owner', 'pending', 'congested', 'eof', 'broken', 'finishing', 'finished',
                 'moved', '_loop', '_high', '_tally', '_fresh', '_out', '_pours')

    def __init__(self, loop, sock, owner, high, tally):
        self.sock, self.owner = sock, owner
        self.events, self.touched = 0, False
        self.pending = 0          # bytes in the queue
        self.congested = False
        self.eof = False          # the peer's half is closed
        self.broken = False       # our half is: nothing that is written arrives any more
        self.finishing = False    # a FIN follows what is queued
        self.finished = False
        self.moved = loop.now     # when bytes last went or came
        self._loop, self._high, self._tally = loop, high, tally
        self._fresh = None        # the head of the queue while it is all of it, and has not been tried to be sent
        self._out = None          # a deque of chunks when there are any; a Pipe may be one
        self._pours = False       # is much coming, so that the way through a pipe is worth a try?
        loop.touch(self)

    def write(self, *chunks):
        """Queue ``chunks``; the end of the turn sends them. How many bytes that are: none when nobody can get them."""
        size = 0
        if self.sock is None or self.broken or self.finishing:
            return size
        for chunk in chunks:
            size += len(chunk)
        if not self.pending:
            self.moved = self._loop.now  # what begins to wait now has not waited long
        if self._out is None and self._fresh is None and len(chunks) <= SEND_CHUNKS and FAST_PATHS:
            self._fresh = chunks
            self._loop.send_soon(self, size)
        else:
            self._queue_fresh()
            self._queue(chunks)
            self._loop.touch(self)
        self._grow(size)
        return size

    def _queue(self, chunks):
        if self._out is None:
            self._out = collections.deque()
        for chunk in chunks:
            if len(chunk) >= SMALL_CHUNK:
                self._out.append(chunk)
            elif chunk:
                self._join(chunk)

    def _queue_fresh(self):
        if self._fresh is not None:
            self._queue(self._fresh)
            self._fresh = None

    def send_now(self):
        """The usual case in a few steps: nothing was queued before, and all of it goes out."""
        if self._fresh is None:
            return  # it has been queued since, or thrown away
        try:
            sent = send_chunks(self.sock, self._fresh)
        except NetworkError as error:
            self._on_not_sent(error)
            if self.broken:
                return
            sent = 0
        rest = rest_of(self._fresh, sent) if sent < self.pending else ()
        self._fresh = None
        if rest:
            self._queue(rest)
        if rest or not self.events & READ:
            self._loop.touch(self)  # what it wants may depend on what has gone out
        self._grow(-sent)  # last: the owner may write or close now

    def send_all_it_can(self):
        """As send_now(), and SEND_BYTES of what was queued before, too."""
        self.send_now()
        try:
            self._send_queue()
        except NetworkError as error:
            self._on_not_sent(error)
        self._loop.touch(self)

    def _on_not_sent(self, error):
        """A socket names its error only once; the owner is told when what has come before is read, and when nobody is
        in the middle of something."""
        if not is_not_ready(error):
            self.broken = True
            self._drop_queue()
            self._loop.call_later(0, self._give_up_writing)

    def is_clear(self):
        """Would the next byte go out at once?"""
        return self._out is None and self._fresh is None and not (self.broken or self.finishing or self.sock is None)

    def pour(self, header, pipe):
        """Send at once ``header`` and the bytes in ``pipe``, which belongs to this stream from now on. Only when it
        is_clear()."""
        rest = (header,)
        try:
            rest = rest_of(rest, self.sock.send(header, socket.MSG_MORE))
            self.moved = self._loop.now
            if not self.events & READ:
                self._loop.touch(self)
            if not rest:
                pipe.pour(self.sock)
        except NetworkError as error:
            self._on_not_sent(error)
        if len(pipe) and not self.broken:
            self._out = collections.deque(rest)
            self._out.append(pipe)
            self._grow(sum(map(len, self._out)))
            self._loop.touch(self)
        else:
            self._loop.pipes.give_back(pipe)

    def room(self):
        """How many bytes may be read for this queue: while it is empty what a pipe may hold, or four times `high`."""
        if self.pending:
            return 0 if self.congested else min(RECEIVE_BYTES, self._loop.share)
        share = self._loop.share  # never less than FAIR_BYTES, and just that when many are ready: no more to ask then
        return share if share <= FAIR_BYTES else max(FAIR_BYTES, min(share, self._tally.pipe_bytes(), 4 * self._high))

    def _join(self, chunk):
        """A small chunk by itself would cost a hundred times its bytes."""
        if not self._out or not isinstance(self._out[-1], Joined) or len(self._out[-1]) >= RECEIVE_BYTES:
            self._out.append(Joined())
        self._out[-1].extend(chunk)

    def finish(self):
        """Close our half after what is queued."""
        if not self.finishing:
            self.finishing = True
            self._loop.touch(self)

    def on_ready(self, events):
        if events & READ:
            self._receive()
        if events & WRITE or not FAST_PATHS:
            self._loop.touch(self)

    def _receive(self):
        """What changes while it is read touches the stream, or is found when it is ready the next time."""
        count = 0 if self.eof else self.owner.wants_data(self)
        if not count:
            self._loop.touch(self)
            return
        if self._pours and self._receive_pipe(count):
            return
        try:
            data = self._loop.receive(self.sock, count if count <= SMALL_RECEIVE else self._tally.cut(count))
        except NetworkError as error:
            if not is_not_ready(error):
                self._end_reading(self.owner.on_broken)
            return
        if data:
            self.moved = self._loop.now
            self._pours = len(data) >= POUR_BYTES and CAN_SPLICE and FAST_PATHS
            self.owner.on_received(self, data)
        else:
            self._end_reading(self.owner.on_eof)

    def _receive_pipe(self, count):
        """As _receive(), inside the kernel. False when nothing was done: recv() tells then what there is."""
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
        # Not ready is what it also says, for ever, at a mark of urgent data; recv() gets past that.
        if is_not_ready(error) or error.errno in (errno.EINVAL, errno.ENOSYS, errno.EPERM):
            return False
        self._end_reading(self.owner.on_broken)  # a socket names its error only once
        return True

    def _end_reading(self, on_event):
        self.eof = True
        self._loop.touch(self)
        on_event(self)

    def settle(self):
        self._flush()
        if self.sock is not None:
            self._loop.watch(self, self.wants())

    def wants(self):
        events = READ if not self.eof and self.owner.wants_data(self) else 0
        return events | WRITE if self._out else events

    def _flush(self):
        self._queue_fresh()
        try:
            self._send_queue()
        except NetworkError as error:
            if not is_not_ready(error):
                self._give_up_writing()
        if self.finishing and not (self.pending or self.finished or self.broken or self.sock is None):
            self._close_our_half()

    def _send_queue(self):
        """SEND_BYTES of it. Raises NetworkError, also when the kernel takes no more."""
        left = SEND_BYTES
        while self._out and left > 0:
            left -= self._send_pipe() if isinstance(self._out[0], Pipe) else self._send_chunks()

    def _send_pipe(self):
        sent = self._out[0].pour(self.sock)
        if not len(self._out[0]):
            self._loop.pipes.give_back(self._out.popleft())
        self._on_sent(sent)
        return sent

    def _send_chunks(self):
        sent = left = send_chunks(self.sock, self._next_chunks())
        while left:
            chunk = self._out.popleft()
            if len(chunk) > left:
                self._out.appendleft(memoryview(chunk)[left:])
                break
            left -= len(chunk)
        self._on_sent(sent)
        return sent

    def _next_chunks(self):
        """The head of the queue: a few small chunks together, a large one alone."""
        chunks, size = [], 0
        for chunk in self._out:
            if isinstance(chunk, Pipe):
                break
            chunks.append(chunk)
            size += len(chunk)
            if size >= RECEIVE_BYTES or len(chunks) == SEND_CHUNKS:
                break
        return chunks

    def _on_sent(self, count):
        self.moved = self._loop.now
        if not self._out:
            self._out = None
        self._grow(-count)  # last: the owner may write or close now

    def _grow(self, count):
        self.pending += count
        self._tally.bytes += count
        # Two marks, so that the source is not started and stopped for every chunk.
        if self.pending < self._high // 4 if self.congested else self.pending >= self._high:
            self.congested = not self.congested
            self.owner.on_flow(self)

    def _give_up_writing(self):
        self.broken = True
        self._drop_queue()
        self.owner.on_unwritable(self)

    def _drop_queue(self):
        for pipe in [chunk for chunk in self._out or () if isinstance(chunk, Pipe)]:
            self._loop.pipes.give_back(pipe)
        self._out = self._fresh = None
        self._grow(-self.pending)

    def _close_our_half(self):
        try:
            self.sock.shutdown(socket.SHUT_WR)
        except NetworkError:  # the peer has reset it: then there is nothing to close
            self.broken = True
        self.finished = True
        self.owner.on_finished(self)

    def on_mistake(self):
        self.owner.on_mistake()

    def close(self, reset=False):
        if self.sock is not None:
            self._loop.forget(self)
            if reset:
                reset_on_close(self.sock)
            self.sock.close()
            self.sock = None
            self._drop_queue()


class Listener(object):
    """One listening socket; ``on_accepted(sock, address)`` gets each connection."""

    def __init__(self, loop, sock, on_accepted):
        self.sock, self.events, self.touched = sock, 0, False
        self._loop, self._on_accepted = loop, on_accepted
        self._timer = None     # runs while accepting pauses
        self._warned = None    # when the log was last told of that
        loop.touch(self)

    def on_ready(self, events):
        for _ in range(ACCEPT_BURST):
            try:
                sock, address = self.sock.accept()
            except NetworkError as error:
                self._on_refused(error)
                return
            self._on_accepted(sock, address)

    def _on_refused(self, error):
        if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
            # The connection stays in the backlog and the poller would tell of it again at once: pause, do not spin.
            if self._warned is None or self._loop.now - self._warned > WARNING_SECONDS:
                self._warned = self._loop.now
                LOG.warning('cannot accept just now: %s', os.strerror(error.errno))
            self._timer = self._loop.call_later(ACCEPT_PAUSE, self._resume)
            self._loop.touch(self)

    def _resume(self):
        self._timer = None
        self._loop.touch(self)

    def settle(self):
        self._loop.watch(self, 0 if self._timer else READ)

    def on_mistake(self):
        """A connection that could not be taken is that one's loss; the listener goes on."""

    def close(self):
        if self._timer:
            self._timer.cancel()
        if self.sock is not None:
            self._loop.forget(self)
            self.sock.close()
            self.sock = None


def bound_sockets(host, port, shares=False):
    """Listening sockets for every address of ``host``, all on one port. Raises ServeError.

    ``shares``: others of this user may bind to the same, and the system spreads the connections (SO_REUSEPORT).
    """
    try:
        found = socket.getaddrinfo(host, port, 0, socket.SOCK_STREAM, 0, socket.AI_PASSIVE)
    except (NetworkError, UnicodeError):
        raise ServeError('cannot listen on %s: the name cannot be resolved' % with_port(printable(host), port))
    socks, error = [], None
    for family, address in unique_addresses(found):
        try:
            socks.append(bound_socket(family, (address[0], port) + address[2:], shares))
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


def bound_socket(family, address, shares):
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        close_on_exec(sock.fileno())
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shares:
            sock.setsockopt(socket.SOL_SOCKET, SO_REUSEPORT, 1)
        if family == AF_INET6:
            # `::` serves IPv4 too; any other address only itself.
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(address[0] != '::'))
        sock.bind(address)
        sock.listen(1024)
        return sock
    except NetworkError:
        sock.close()
        raise


def unique_addresses(found):
    """Pairs (family, address) of what getaddrinfo found, in its order."""
    pairs = [(entry[0], entry[4]) for entry in found if entry[0] in (AF_INET, AF_INET6)]
    return list(collections.OrderedDict.fromkeys(pairs))


def failure_of(number):
    """The Failure of a connect that ended with this errno."""
    if number == errno.ECONNREFUSED:
        return REFUSED
    if number in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL):
        return NO_ROOM
    return TIMEOUT if number == errno.ETIMEDOUT else UNREACHABLE


class Connector(object):
    """Tries addresses in turn. Its owner gets on_connected(sock, RESET or None) or on_unconnected(Failure), once."""

    def __init__(self, loop, addresses, seconds, owner):
        self.sock, self.events, self.touched = None, 0, False
        self._loop, self._left, self._owner = loop, collections.deque(addresses), owner
        self._deadline = loop.now + seconds
        self._address = self._timer = None
        self._failures = []

    def begin(self):
        """What wakes another program goes out together with what others send in this turn."""
        self._loop.send_soon(self, 0)

    def send_now(self):
        if self._left:  # else it was cancelled
            self._try_next()

    def _try_next(self):
        """A silent address must not use up the time of those after it."""
        while self._left and self.sock is None:
            share = max(0, self._deadline - self._loop.now) / len(self._left)
            family, self._address = self._left.popleft()
            self._dial(family)
        if self.sock is None:
            self._owner.on_unconnected(REFUSED if REFUSED in self._failures else self._failures[-1])
        else:
            self._timer = self._loop.call_later(share, self._on_silence)

    def _dial(self, family):
        try:
            self.sock = socket.socket(family, socket.SOCK_STREAM)
            prepare(self.sock)
            number = self.sock.connect_ex(self._address)
        except NetworkError as error:
            number = error.errno
        if number in (0, errno.EINPROGRESS):
            self._loop.watch(self, WRITE)
        else:
            self._fail(failure_of(number))

    def on_ready(self, events):
        number = self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if number in (0, errno.ECONNRESET) and not is_self_connected(self.sock, self._address[1]):
            sock = self.sock
            self._let_go()
            # A target that refuses is ECONNREFUSED: this one has accepted, and has reset the connection already.
            self._owner.on_connected(sock, RESET if number else None)
        else:
            self._fail(failure_of(number or errno.ECONNREFUSED))
            self._try_next()

    def _on_silence(self):
        self._fail(TIMEOUT)
        self._try_next()

    def _fail(self, failure):
        self._failures.append(failure)
        self._hang_up()

    def _let_go(self):
        if self._timer:
            self._timer.cancel()
        if self.sock is not None:
            self._loop.forget(self)
            self.sock = None

    def _hang_up(self):
        sock = self.sock
        self._let_go()
        if sock is not None:
            sock.close()

    def cancel(self):
        self._left.clear()
        self._hang_up()

    def on_mistake(self):
        self.cancel()
        self._owner.on_unconnected(BROKEN)


def is_self_connected(sock, port):
    """TCP can connect a ``port`` of this machine to itself when nothing listens there."""
    try:
        own = sock.getsockname()
        return own[1] == port and own == sock.getpeername()
    except NetworkError:  # reset meanwhile: the first read will tell
        return False


# ======================================================================================================================
# 11. Workers
# ======================================================================================================================
# What can only block runs in threads, as functions named blocking_x: plain values in, plain values out, and they know
# no class of ours but plain records. Each kind of work has threads of its own, so that one kind cannot starve another.


def count_in(counter, key, change):
    """Count, and keep no zeros: the keys are strangers' addresses."""
    counter[key] += change
    if not counter[key]:
        del counter[key]


class Job(object):
    """A call that waits, runs or has run. A cancelled one's result goes to ``dispose``."""

    __slots__ = ('group', 'function', 'arguments', 'on_result', 'dispose', 'result', '_workers')

    def __init__(self, workers, group, function, arguments, on_result, dispose):
        self._workers, self.group, self.function, self.arguments = workers, group, function, arguments
        self.on_result, self.dispose, self.result = on_result, dispose, None

    def cancel(self):
        self.on_result = None
        self._workers.on_cancelled(self)

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
    """At most ``threads`` threads, begun when needed. One group has at most half of them, and of the places to wait."""

    def __init__(self, loop, threads, waiting):
        self._loop, self._most, self.most_waiting = loop, threads, waiting
        self._threads = []
        self._ready = queue.Queue()    # of jobs for idle threads; None sends one home
        self._waiting = collections.deque()
        self._running = collections.Counter()
        self._closed = False

    def submit(self, group, function, arguments, on_result, dispose=None):
        """Call ``function(*arguments)`` in a thread, then on_result(its result); the Job, or None when too many wait.

        A function that raises is logged and gives the Failure BROKEN.
        """
        mine = sum(1 for job in self._waiting if job.group == group)
        if len(self._waiting) >= self.most_waiting or mine >= self.most_waiting // 2:
            return None
        job = Job(self, group, function, arguments, on_result, dispose)
        if self._closed:
            job.throw_away()
            return job
        self._waiting.append(job)
        self._hand_out()
        return job

    def _hand_out(self):
        for job in list(self._waiting):  # in their order; a group that has its share is passed over
            if sum(self._running.values()) >= self._most:
                return
            if self._running.get(job.group, 0) < max(1, self._most // 2):
                self._waiting.remove(job)
                self._run(job)

    def _run(self, job):
        if len(self._threads) <= sum(self._running.values()):
            thread = threading.Thread(target=self._blocking_work, name='ws2s worker')
            thread.daemon = True
            thread.start()
            self._threads.append(thread)
        count_in(self._running, job.group, 1)
        self._ready.put(job)

    def _blocking_work(self):
        while True:
            job = self._ready.get()
            if job is None:
                return
            job.result = self._blocking_call(job)
            if not self._loop.post(job.come_home):
                job.throw_away()
            del job  # an idle thread must not keep what it did last

    def _blocking_call(self, job):
        try:
            return job.function(*job.arguments)
        except Exception:
            log_mistake()
            return BROKEN

    def withdraw(self, job):
        """Was ``job`` still waiting? Then it is not run."""
        is_waiting = job in self._waiting
        if is_waiting:
            self._waiting.remove(job)
        return is_waiting

    def on_done(self, job):
        count_in(self._running, job.group, -1)
        self._hand_out()

    def on_cancelled(self, job):
        if self.withdraw(job):
            job.throw_away()

    def close(self, seconds):
        """Send the threads home. One that hangs in a system call is left behind after ``seconds``; it is a daemon."""
        self._closed = True
        while self._waiting:
            self._waiting.popleft().throw_away()
        for _ in self._threads:
            self._ready.put(None)
        deadline = monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0, deadline - monotonic()))


def literal_addresses(host, port):
    """Pairs (family, address) of an address in its standard spelling, which needs no look-up; none for a name."""
    packed = packed_address(host)
    if packed is None:
        return []
    if len(packed) == 4:
        return [(AF_INET, (address_text(packed), port))]
    return [(AF_INET6, (address_text(packed), port, 0, 0))]


def blocking_resolve(host, port):
    """Pairs (family, address) that a name stands for, or a Failure."""
    try:
        return unique_addresses(socket.getaddrinfo(host, port, 0, socket.SOCK_STREAM))[:32] or UNKNOWN_NAME
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


def owns_address(packed):
    """Is this one of the machine's own addresses? Only to these may a socket be bound. Raises NetworkError."""
    text = address_text(packed)
    if not can_bind(text):
        return False
    # Where the system lets one bind to anything, the way to the address tells.
    return not can_bind('198.51.100.213') or way_to(text) == text  # RFC 5737: an address that nobody has


def datagram_socket(text):
    return socket.socket(AF_INET6 if ':' in text else AF_INET, socket.SOCK_DGRAM)


def can_bind(text):
    """Raises NetworkError when it cannot be known: without descriptors every address would look like a stranger's."""
    sock = None
    try:
        sock = datagram_socket(text)
        sock.bind((text, 0))
        return True
    except NetworkError as error:
        if error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.EINVAL, errno.EACCES):
            raise
        return False
    finally:
        if sock:
            sock.close()


def way_to(text):
    """The address from which this machine would speak to another; nothing is sent."""
    sock = datagram_socket(text)
    try:
        sock.connect((text, 9))
        return sock.getsockname()[0]
    except NetworkError:
        return None
    finally:
        sock.close()


OpenedFile = collections.namedtuple('OpenedFile', 'file size')


def blocking_open_file(folder, names):
    """The OpenedFile of a regular file below ``folder``, or None."""
    return open_below(folder, os.path.join(path_bytes(folder), *[name.encode('utf-8') for name in names]))


def open_below(folder, path):
    """The OpenedFile of ``path`` (bytes), or None. No link leads out of the folder (security S16)."""
    base = os.path.join(os.path.realpath(path_bytes(folder)), b'')
    path = os.path.realpath(path)
    if not path.startswith(base):
        return None
    try:
        # Without O_NONBLOCK a named pipe would keep the thread for ever.
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
    except OSError:
        return None
    status = os.fstat(fd)
    if not stat.S_ISREG(status.st_mode):
        os.close(fd)
        return None
    close_on_exec(fd)
    return OpenedFile(os.fdopen(fd, 'rb'), status.st_size)


def blocking_read(opened, count):
    """The next bytes of an OpenedFile; empty when it cannot be read."""
    try:
        return opened.file.read(count)
    except (IOError, OSError):
        return b''


def close_opened(opened):
    if isinstance(opened, OpenedFile):
        opened.file.close()


# ======================================================================================================================
# 12. Tunnels
# ======================================================================================================================
# A Tunnel is one ssh process and its local end, for one session and one login. Threads begin the process and clear up
# after it; all between is told by its standard error, which the loop reads like any socket. The local end is a Unix
# socket in a private directory, which is locked as long as we live: what a killed gateway left, the next one clears.

PRIVATE_PREFIX, FRESH_PREFIX = 'ws2s-tunnel-', 'ws2s-fresh-'
PRIVATE_NAMES = re.compile(r'(?:%s(?:\..*)?|%s|%s|%s|s[0-9]+)\Z' % (CONTROL_NAME, KEY_NAME, ASKPASS_NAME, PID_NAME))
PRIVATE_PATH_BYTES = 80   # a Unix socket's path has room for 104; ssh itself adds 19 to this
FRESH_SECONDS = 60        # a directory is locked long before


class TunnelError(Ws2sError):
    """No ssh could be begun; ``failure`` is for the client, the operator has been told more."""

    def __init__(self, failure):
        Ws2sError.__init__(self, failure.message)
        self.failure = failure


@contextlib.contextmanager
def explained(what):
    """Tell the operator what this machine would not do. Raises TunnelError."""
    try:
        yield
    except (IOError, OSError) as error:
        if failure_of(error.errno) is not NO_ROOM:
            LOG.error('ssh: %s: %s', what, os.strerror(error.errno) if error.errno else 'failed')
            raise TunnelError(SSH_FAILED)
        raise TunnelError(NO_ROOM)
    except ConfigError as error:
        LOG.error('ssh: %s: %s', what, error)
        raise TunnelError(SSH_FAILED)


def real_path(path):
    return os.path.abspath(os.path.expanduser(path))


def with_real_paths(config):
    """The Config in which paths are those that ssh, which runs in another folder, needs. Raises ConfigError."""
    changes = {'ssh.knownHosts': real_path(config['ssh.knownHosts'])}
    if os.path.basename(config['ssh.program']) != config['ssh.program']:
        changes['ssh.program'] = real_path(config['ssh.program'])
    if config['ssh.configFile'] is not None:
        changes['ssh.configFile'] = real_path(config['ssh.configFile'])
    return config.replace(changes)


def check_ssh_settings(config):
    """Raises ConfigError."""
    path = with_real_paths(config)['ssh.configFile']
    if path is None:
        return
    try:
        with open(path_bytes(path), 'rb') as file:
            check_ssh_file(file.read().decode('latin-1'))
    except (IOError, OSError) as error:
        raise ConfigError('"ssh.configFile": %s: %s' % (printable(path), os.strerror(error.errno)))


def has_room_for_keys(path):
    """Can ssh write down one more host key? Where it cannot, it would go on without a word, and learn nothing.

    Keys are learnt before the login: whoever has many names for a server of his own must not fill the disk.
    """
    make_folder(os.path.dirname(path))
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NONBLOCK, 0o600)
    try:
        has_room = os.fstat(fd).st_size < KNOWN_HOSTS_BYTES
    finally:
        os.close(fd)
    if not has_room:
        LOG.warning('ssh: %s is full: no new host keys are learnt', printable(path))
    return has_room


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


def key_text(key, folders):
    """The text of a key that is given as text or as a path below one of ``folders``. Raises TunnelError."""
    if is_key_text(key):
        return key.encode('ascii')
    for folder in folders:
        opened = open_below(os.path.expanduser(folder), path_bytes(key))
        if opened:
            with opened.file as file:
                data = file.read(KEY_CHARACTERS)
            if is_key_text(data.decode('latin-1')):
                return data
    # The same answer for what is not there, what lies elsewhere and what is no key: it must not tell them apart.
    raise TunnelError(NO_SUCH_KEY)


def kill_group(pid):
    """End a child and all that it has begun. Only for a child that has not been reaped: the number is its own."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except OSError:  # all of them have ended
        LOG.debug('process group %d is gone', pid)


def temporary_folder():
    return os.path.abspath(os.environ.get('TMPDIR') or '/tmp')


def unforeseen_name(prefix):
    """One that another user of the folder cannot take first."""
    return prefix + binascii.hexlify(os.urandom(5)).decode('ascii')


class Child(object):
    """A running ssh and what was made for it. ``questions`` is our end of its standard input."""

    __slots__ = ('directory', 'process', 'questions', '_lock')

    def __init__(self):
        self.directory = self.process = self.questions = self._lock = None

    def move_in(self):
        """Make the private directory. Under its final name it is never seen without the lock."""
        fresh = os.path.join(temporary_folder(), unforeseen_name(FRESH_PREFIX))
        os.mkdir(fresh, 0o700)
        self.directory = fresh
        self._lock = os.open(self.directory, os.O_RDONLY)
        close_on_exec(self._lock)
        fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path = plain_path(os.path.join(temporary_folder(), unforeseen_name(PRIVATE_PREFIX)))
        if len(path_bytes(path)) > PRIVATE_PATH_BYTES:
            raise ConfigError('the path of the folder for temporary files is too long')
        os.rename(self.directory, path)
        self.directory = path

    def path(self, name):
        return os.path.join(self.directory, name)

    def write_login(self, key, asks):
        """``key``: its text or None; ``asks``: ssh may ask for a secret."""
        if key:
            write_private(self.path(KEY_NAME), key, 0o600)
        if asks:
            write_private(self.path(ASKPASS_NAME), ASKPASS_SCRIPT, 0o700)
            if not os.access(self.path(ASKPASS_NAME), os.X_OK):
                raise ConfigError('programs cannot be run in the folder for temporary files; TMPDIR names another')

    def run(self, arguments):
        """Raises TunnelError."""
        with explained('a pair of sockets'):
            self.questions, far = socket.socketpair()
        self.questions.setblocking(False)
        close_on_exec(self.questions.fileno())
        try:
            self.process = spawn(arguments, self.path(ASKPASS_NAME), far)
        finally:
            far.close()
        with explained('the number of a process'):
            write_private(self.path(PID_NAME), b'%d' % self.process.pid, 0o600)

    def kill(self):
        """Only before blocking_bury(): until then the number of the process is its own."""
        kill_group(self.process.pid)

    def blocking_bury(self):
        """End ssh and remove all that was made for it; its exit status. May be called again."""
        status = None
        if self.process:
            self.kill()
            status = self.process.wait()
            self.process.stderr.close()
            self.process = None
        if self.questions:
            self.questions.close()
            self.questions = None
        if self.directory:
            remove_directory(self.directory)
            self.directory = None
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None
        return status


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
    """Remove the key, which ssh has read."""
    for name in (KEY_NAME, ASKPASS_NAME):
        try:
            os.unlink(os.path.join(directory, name))
        except OSError as error:  # none was needed, or the tunnel has ended meanwhile
            LOG.debug('no %s to remove: %s', name, os.strerror(error.errno))


def set_nonblocking(pipe):
    fcntl.fcntl(pipe, fcntl.F_SETFL, fcntl.fcntl(pipe, fcntl.F_GETFL) | os.O_NONBLOCK)


def spawn(arguments, askpass='', stdin=None):
    """A process with nothing of ours but what it is given, in a session of its own. Raises TunnelError."""
    environment = {'PATH': os.environ.get('PATH', os.defpath), 'LC_ALL': 'C'}
    # Before OpenSSH 8.4 it is asked when there is a DISPLAY and no terminal; the new session has none.
    environment.update({'SSH_ASKPASS': askpass, 'SSH_ASKPASS_REQUIRE': 'force', 'DISPLAY': ':0'})
    try:
        with open(os.devnull, 'r+b') as null:
            process = subprocess.Popen([path_bytes(argument) for argument in arguments], env=environment, cwd='/',
                                       stdin=stdin or null, stdout=null, stderr=subprocess.PIPE, **DETACHED)
        set_nonblocking(process.stderr)
        return process
    except (IOError, OSError) as error:
        if failure_of(error.errno) is NO_ROOM or error.errno == errno.EAGAIN:
            raise TunnelError(NO_ROOM)
        LOG.error('ssh: %s cannot be run: %s (ssh.program)', printable(arguments[0]), os.strerror(error.errno))
        raise TunnelError(SSH_MISSING)


def blocking_open_tunnel(config, hop, address, target, seconds):
    """A Child whose ssh dials ``address``, logs in at ``hop`` and will forward to ``target``, or a Failure."""
    child = Child()
    try:
        with explained('its options and the known host keys'):
            config = with_real_paths(config)
            check_ssh_settings(config)
            if config['ssh.hostKeyChecking'] == 'accept-new' and not has_room_for_keys(config['ssh.knownHosts']):
                config = config.replace({'ssh.hostKeyChecking': 'yes'})
        key = hop.key and key_text(hop.key, config['ssh.keyDirectories'])
        with explained('the folder for a tunnel'):
            child.move_in()
            child.write_login(key, hop.password or hop.passphrase)
        child.run(tunnel_arguments(config, hop, address, seconds, child.directory, target))
        return child
    except (TunnelError, RequestError) as error:
        child.blocking_bury()
        return error.failure
    except Exception:
        child.blocking_bury()
        raise


def blocking_ask_for_forward(config, directory, number, target):
    """A Child that tells the ssh of ``directory`` to listen for one more target, or a Failure."""
    child = Child()
    try:
        child.process = spawn(forward_arguments(with_real_paths(config), directory, number, target))
        return child
    except (TunnelError, RequestError) as error:
        return error.failure


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
        if name.startswith((PRIVATE_PREFIX, FRESH_PREFIX)):
            try:
                clear_leftover(os.path.join(folder, name))
            except (IOError, OSError) as error:  # it lives, or has gone meanwhile, or is not ours
                LOG.debug('%s stays: %s', printable(name), os.strerror(error.errno))


def clear_leftover(path):
    """Raises IOError or OSError when it is in use."""
    status = os.lstat(path)
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o77:
        return
    if os.path.basename(path).startswith(FRESH_PREFIX) and time.time() - status.st_mtime < FRESH_SECONDS:
        return  # it may be about to get its lock
    lock = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if all(PRIVATE_NAMES.match(name) for name in os.listdir(path)):
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


class Feed(object):
    """What a child says: ``on_data(bytes)`` gets it as it comes, and empty bytes at the end."""

    __slots__ = ('sock', 'events', 'touched', '_loop', '_on_data')

    def __init__(self, loop, sock, on_data):
        self.sock, self.events, self.touched = sock, 0, False
        self._loop, self._on_data = loop, on_data
        loop.touch(self)

    def on_ready(self, events):
        self.receive()

    def receive(self):
        """False when there was nothing to read, or nothing will come any more."""
        try:
            data = os.read(self.sock.fileno(), LOG_BYTES) if self.sock is not None else b''
        except OSError as error:
            if is_not_ready(error):
                return False
            data = b''
        if self.sock is not None:
            if not data:
                self.close()
            self._on_data(data)
        return bool(data)

    def settle(self):
        self._loop.watch(self, READ)

    def close(self):
        """The descriptor stays open: it belongs to the Child."""
        if self.sock is not None:
            self._loop.forget(self)
            self.sock = None

    def on_mistake(self):
        self._on_data.__self__.on_mistake()


FRESH, LOGGING_IN, STANDING, DOWN = 'fresh', 'logging in', 'standing', 'down'

# logging in: from the look-up of the server on. standing: it takes connections. After `down` ssh is ended and buried.
TUNNEL_MOVES = {FRESH: (LOGGING_IN, DOWN), LOGGING_IN: (STANDING, DOWN), STANDING: (DOWN,), DOWN: ()}

# What a failed look-up of the SSH server is called.
HOP_FAILURES = {UNKNOWN_NAME: SSH_UNREACHABLE, UNREACHABLE: SSH_UNREACHABLE, TIMEOUT: SSH_TIMEOUT}


class Asking(object):
    """A short ssh that tells the tunnel's own to listen for one more target, and the Forwards that wait for it."""

    def __init__(self, tunnel, number, target):
        self.number, self.target, self.forwards = number, target, []
        self._tunnel, self._child, self._feed = tunnel, None, None

    def follow(self, loop, child):
        self._child, self._feed = child, Feed(loop, child.process.stderr, self._on_data)

    def _on_data(self, data):
        """What it says does not matter, its exit status does."""
        if not data:
            self._tunnel.on_asked(self)

    def let_go(self):
        """The Child, which is to be buried; None when there is none yet."""
        child, self._child = self._child, None
        if child:
            self._feed.close()
        return child

    def on_mistake(self):
        self._tunnel.on_mistake()


class Tunnel(object):
    """One ssh and its local end, for one session, one SSH server and one login there.

    Forwards join it before or after the login, each is called back, and leaves in the end. It stays for a while without
    any, and not longer than its session.
    """

    def __init__(self, gateway, session, hop, target):
        self.state, self.group, self.digest = FRESH, session.group, gateway.login_digest(hop)
        self._gateway, self._session, self._loop = gateway, session, gateway.loop
        self._config = gateway.config      # by whose rules the server was judged
        self._hop = hop                    # until the login is done
        self._lookup, self._addresses = None, collections.deque()
        self._child = self._log = self._questions = None
        self._lines, self._question, self._login_lines = LineParser(), b'', 0
        self._connected = self._answered = False
        self._fault = SSH_FAILED           # why ssh ends, as far as it has said
        self._forwards = set()
        self._first = target               # the target in ssh's own arguments
        self._numbers = itertools.count(2)  # of its local sockets
        self._paths = {}                   # by target: the number of the socket that leads there
        self._askings = {}                 # by target: what is under way to get such a socket
        self._unbegun = collections.deque()  # Forwards to connect; the first is connected, and ssh has not taken it yet
        self._channels = {}                # by ssh's number: Forwards whose target is being dialled, or stands
        self._jobs, self._opening = 0, None
        self._born = gateway.loop.now
        self._deadline = self._born + gateway.config['ssh.timeoutSeconds']
        self._timer = gateway.loop.call_later(gateway.config['ssh.timeoutSeconds'], self._on_deadline)

    def _move(self, state):
        assert state in TUNNEL_MOVES[self.state], (self.state, state)
        self.state = state

    # -- the login -----------------------------------------------------------------------------------------------------

    def _begin(self):
        self._move(LOGGING_IN)
        self._lookup = self._gateway.look_up(self._hop.host, self._hop.port, self._session.group,
                                             self._gateway.config['ssh.timeoutSeconds'], self._on_found)
        self._lookup.begin()

    def _on_found(self, addresses, failure):
        self._lookup = None
        if failure:
            self._fall(HOP_FAILURES.get(failure, failure))
        else:
            self._addresses.extend(address[0] for _, address in addresses)
            self._try_next()

    def _try_next(self):
        """A silent address must not use up the time of those after it."""
        share = max(0, self._deadline - self._loop.now) / len(self._addresses)
        arguments = self._gateway.config, self._hop, self._addresses.popleft(), self._first, share
        self._opening = self._submit(blocking_open_tunnel, arguments, self._on_spawned)

    def _on_spawned(self, result):
        self._opening = None
        if isinstance(result, Failure):
            self._fall(result)
        elif self.state == DOWN:
            self._bury(result)
        else:
            self._follow(result)

    def _follow(self, child):
        self._child, self._connected, self._fault = child, False, SSH_FAILED
        self._log = Feed(self._loop, child.process.stderr, self._on_log)
        self._questions = Feed(self._loop, child.questions, self._on_question)

    def _on_question(self, data):
        self._question += data
        question, end, rest = self._question.partition(b'\0')
        if len(question) > PROMPT_BYTES:
            self._fall(SSH_FAILED)
        elif end:
            self._question = rest
            self._answer(question)

    def _answer(self, question):
        if is_for_key(question, self._child.directory):
            self._say(self._hop.passphrase or b'')
        elif self._answered or not self._hop.password:
            self._fall(SSH_AUTH)  # asked again, it was wrong; and a server must not be given a second word
        else:
            self._answered = True
            self._say(self._hop.password)

    def _say(self, answer):
        try:
            self._child.questions.sendall(answer + b'\n')  # far less than a socket holds
        except NetworkError:  # whoever asked has gone
            self._fall(SSH_FAILED)

    def _on_deadline(self):
        self._fall(SSH_TIMEOUT)

    # -- what ssh says -------------------------------------------------------------------------------------------------

    def _on_log(self, data):
        for line in self._lines.receive(data):
            self._login_lines += self.state == LOGGING_IN
            event = read_ssh_line(line)
            if event is not None and self.state != DOWN:
                self.ON_EVENT[type(event)](self, event)
        if self._login_lines > LOGIN_LINES and self.state == LOGGING_IN:
            self._fall(SSH_FAILED)
        if not data and self.state != DOWN:
            self._on_ssh_ended()

    def _on_connected(self, event):
        self._connected = True

    def _on_fault(self, event):
        if self._fault is SSH_FAILED:
            self._fault = event.failure

    def _on_complaint(self, event):
        if not self._connected:  # later it could be the server's words, which do not belong in a log
            LOG.error('ssh: %s', printable(event.text))

    def _on_ready(self, event):
        if self.state != LOGGING_IN:
            return
        self._move(STANDING)
        LOG.info('#%d logged in at %s after %.3f s', self._session.number, with_port(self._hop.host, self._hop.port),
                 self._loop.now - self._born)
        self._hop = None
        self._timer.cancel()
        self._questions.close()
        self._child.questions.close()
        self._submit(blocking_forget_login, (self._child.directory,))
        self._paths[self._first] = 1
        for forward in list(self._forwards):
            self._go(forward)
        if not self._forwards:
            self._on_unused()

    def _on_begun(self, event):
        if self._unbegun:
            self._channels[event.number] = self._unbegun.popleft()
            self._connect_next()

    def _on_opened(self, event):
        if event.number in self._channels:
            self._channels[event.number].on_opened()

    def _on_ended(self, event):
        forward = self._channels.pop(event.number, None)
        if forward:
            forward.is_ended = True

    def _on_failed(self, event):
        forward = self._channels.pop(event.number, None)
        if forward:
            forward.fail(event.failure)

    ON_EVENT = {SshConnected: _on_connected, SshFault: _on_fault, SshComplaint: _on_complaint, SshReady: _on_ready,
                ChannelBegun: _on_begun, ChannelOpened: _on_opened, ChannelFailed: _on_failed, ChannelEnded: _on_ended}

    def _on_ssh_ended(self):
        again = (self.state == LOGGING_IN and not self._connected and self._addresses
                 and self._fault in (SSH_UNREACHABLE, SSH_TIMEOUT))
        if again:
            self._let_go()
            self._try_next()
        else:
            self._fall(self._fault)

    # -- those who use it ----------------------------------------------------------------------------------------------

    def takes(self, target):
        """Can one more go through to ``target``?"""
        if self.state == DOWN or self._config is not self._gateway.config:
            return False
        if len(self._channels) + len(self._unbegun) >= TUNNEL_CHANNELS:
            return False
        return target in self._paths or target == self._first or len(self._paths) + len(self._askings) < TUNNEL_TARGETS

    def join(self, forward):
        self._forwards.add(forward)
        if self.state == FRESH:
            self._begin()
        elif self.state == STANDING:
            self._timer.cancel()
            self._go(forward)

    def leave(self, forward):
        """It needs the tunnel no more."""
        self._forwards.discard(forward)
        if not self._forwards:
            self._on_unused()

    def on_late(self, forward):
        """Its time is up."""
        if forward in self._unbegun or forward.target in self._askings:
            self._fall(SSH_FAILED)  # ssh has not even taken the connection, or our wish: it hangs
        else:
            forward.fail(TIMEOUT)

    def _on_unused(self):
        if self._session.is_over():
            self.end()
        elif self.state == STANDING:
            self._timer.cancel()
            self._timer = self._loop.call_later(TUNNEL_IDLE_SECONDS, self.end_if_unused)

    def end_if_unused(self):
        if not self._forwards:
            self.end()

    def _go(self, forward):
        forward.on_login()
        if forward.target in self._paths:
            self._connect(forward)
        else:
            if forward.target not in self._askings:
                self._ask_for(forward.target)
            self._askings[forward.target].forwards.append(forward)

    def _ask_for(self, target):
        asking = self._askings[target] = Asking(self, next(self._numbers), target)
        self._submit(blocking_ask_for_forward, (self._gateway.config, self._child.directory, asking.number, target),
                     lambda result: self._on_asking(asking, result))

    def _on_asking(self, asking, result):
        if isinstance(result, Failure):
            self._end_asking(asking, result)
        elif self.state == DOWN:
            self._bury(result)
        else:
            asking.follow(self._loop, result)

    def on_asked(self, asking):
        """It has ended; its exit status tells whether ssh listens now."""
        child = asking.let_go()
        self._submit(child.blocking_bury, (),
                     lambda status: self._end_asking(asking, None if status == 0 else SSH_FAILED),
                     lambda result: child.blocking_bury())

    def _end_asking(self, asking, failure):
        self._askings.pop(asking.target, None)
        if not failure:
            self._paths[asking.target] = asking.number
        for forward in asking.forwards:
            if failure:
                forward.fail(failure)
            else:
                self._connect(forward)

    def _connect(self, forward):
        """One after the other: the next channel that ssh begins must be the one of the first."""
        self._unbegun.append(forward)
        if len(self._unbegun) == 1:
            self._connect_next()

    def _connect_next(self):
        while self._unbegun and self.state != DOWN:
            forward = self._unbegun[0]
            if forward.connect(local_path(self._child.directory, self._paths[forward.target])):
                return
            self._unbegun.popleft()

    def catch_up(self):
        """Read what ssh has said up to now: no more than a pipe holds."""
        for _ in range(PIPE_BYTES // LOG_BYTES + 1):
            if not (self._log and self._log.receive()):
                return

    # -- the end -------------------------------------------------------------------------------------------------------

    def _submit(self, function, arguments, on_result=None, dispose=bury_result):
        """There are places for more jobs than all tunnels can have under way."""
        def on_done(result):
            self._jobs -= 1
            try:
                if on_result:
                    on_result(result)
            finally:
                self._check_gone()

        job = self._gateway.tunnel_work.submit(self.group, function, arguments, on_done, dispose)
        assert job is not None
        self._jobs += 1  # on_done comes in a later turn
        return job

    def _bury(self, child):
        child.kill()  # now, however long the threads have other things to do
        self._submit(child.blocking_bury, (), dispose=lambda result: child.blocking_bury())

    def _let_go(self):
        """Of ssh, which has ended or is to end."""
        self._log.close()
        self._questions.close()
        child, self._child = self._child, None
        self._bury(child)

    def _withdraw(self):
        """What has not been begun need not be."""
        if self._opening and self._gateway.tunnel_work.withdraw(self._opening):
            self._jobs -= 1

    def _fall(self, failure):
        """The one way out: what waits fails with ``failure``; what flows sees that its socket closes."""
        if self.state == DOWN:
            return
        self._move(DOWN)
        self._hop = None
        self._timer.cancel()
        if self._lookup:
            self._lookup.cancel()
        self._withdraw()
        if self._child:
            self._let_go()
        for child in [asking.let_go() for asking in self._askings.values()]:
            if child:
                self._bury(child)
        self._session.forget_tunnel(self)
        for forward in list(self._forwards):
            forward.fail(failure)
        self._check_gone()

    def _check_gone(self):
        if self.state == DOWN and not self._jobs:
            self._gateway.on_tunnel_gone(self)

    def end(self):
        self._fall(SSH_FAILED)

    def on_mistake(self):
        self._fall(BROKEN)


class Forward(object):
    """One way through a tunnel to a target. It stands in the place of a Dial, and uses the tunnel until cancel().

    ``on_done(sock, None)`` or ``on_done(None, Failure)`` is called once, never before begin(), never after cancel().
    """

    def __init__(self, gateway, session, host, port, hop, on_done):
        self.target, self.hop_name = (host, port), with_port(hop.host, hop.port)
        self._gateway, self._session, self._hop, self._on_done = gateway, session, hop, on_done
        self._tunnel = self._sock = self._timer = None
        self.is_ended = False  # by the target, as ssh has told

    def begin(self):
        hop, self._hop = self._hop, None
        if not self._gateway.config['ssh.enabled']:
            self.fail(SSH_DISABLED)
        elif hop.key and not is_key_text(hop.key) and not self._gateway.config['ssh.keyDirectories']:
            self.fail(NO_SUCH_KEY)
        else:
            self._tunnel = self._session.tunnel_for(hop, self.target)
            if self._tunnel:
                self._tunnel.join(self)
            else:
                self.fail(NO_ROOM)

    def on_login(self):
        """The tunnel stands: from now on it is the target's time."""
        self._timer = self._gateway.loop.call_later(self._gateway.config['limits.connectSeconds'], self._on_deadline)

    def _on_deadline(self):
        self._tunnel.on_late(self)

    def connect(self, path):
        """Connect to ssh's local socket, which takes it before the target is dialled; false when that fails."""
        if self._on_done is None:
            return False
        try:
            self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self._sock.setblocking(False)
            close_on_exec(self._sock.fileno())
            self._sock.connect(path)
            return True
        except NetworkError as error:
            self._on_no_socket(error)
            return False

    def _on_no_socket(self, error):
        if failure_of(error.errno) is NO_ROOM:
            self.fail(NO_ROOM)
        else:
            LOG.error('ssh: its local socket: %s', os.strerror(error.errno))
            self._tunnel.end()  # it is of no use to anybody any more
            self.fail(SSH_FAILED)

    def on_opened(self):
        sock, self._sock = self._sock, None
        self._finish(sock, None)

    def fail(self, failure):
        self._finish(None, failure)

    def _finish(self, sock, failure):
        on_done, self._on_done = self._on_done, None
        if self._timer:
            self._timer.cancel()
        if failure:
            self.cancel()
        if on_done:
            on_done(sock, failure)

    def was_cut(self):
        """Has the connection ended without a word of the target? ssh tells of it before it closes our socket."""
        self._tunnel.catch_up()
        return not self.is_ended

    def cancel(self):
        """Stop what is under way, and use the tunnel no longer."""
        self._on_done = None
        if self._timer:
            self._timer.cancel()
        if self._sock is not None:
            self._sock.close()
            self._sock = None
        if self._tunnel:
            self._tunnel.leave(self)

    def on_mistake(self):
        self.fail(BROKEN)


# ======================================================================================================================
# 13. Gateway
# ======================================================================================================================
# A Session is our side of one client, an Upstream our side of one TCP connection to a target, a Dial the way there.
# The Gateway owns them all, with listeners, limits and counts. All state hangs on a Gateway: two in one process work.
#
# Each has a few named states, their legal moves in one table, and one way out: end(), which may be called twice.

DIALLING, FLOWING, DRAINING, ENDED = 'dialling', 'flowing', 'draining', 'ended'

# draining: the client has let go; what it had sent still goes to the target, what comes from there is thrown away.
UPSTREAM_MOVES = {DIALLING: (FLOWING, ENDED), FLOWING: (DRAINING, ENDED), DRAINING: (ENDED,), ENDED: ()}


class Lookup(object):
    """The addresses of a host that may be dialled. Whatever the gateway dials, an SSH server too, is found here.

    ``on_done(pairs (family, address), None)`` or ``on_done(None, Failure)`` is called once, never before begin(), never
    after cancel().
    """

    def __init__(self, gateway, host, port, group, seconds, on_done):
        self._gateway, self._host, self._port, self._group = gateway, host, port, group
        self._on_done = on_done
        self._job = self._timer = None
        self._seconds = seconds

    def begin(self):
        literal = literal_addresses(self._host, self._port)
        if literal:
            self._on_resolved(literal)
            return
        self._timer = self._gateway.loop.call_later(self._seconds, self._on_deadline)
        self._job = self._gateway.lookups.submit(self._group, self._gateway.resolve, (self._host, self._port),
                                                 self._on_resolved)
        if self._job is None:
            self._finish(None, NO_ROOM)

    def _on_resolved(self, found):
        """Judge every address; what is dialled is what was judged, and nothing is looked up again (security S02)."""
        self._job = None
        if isinstance(found, Failure) or not found:
            self._finish(None, found or UNKNOWN_NAME)
            return
        try:
            verdicts = [(address, self._gateway.judge(self._host, self._port, address[1][0])) for address in found]
        except NetworkError as error:
            self._finish(None, failure_of(error.errno))
            return
        allowed = [address for address, verdict in verdicts if verdict.allowed]
        if not allowed:
            LOG.info('%s refused: %s', with_port(printable(self._host), self._port), verdicts[0][1].why)
            self._finish(None, forbidden(verdicts[0][1].setting))
            return
        self._finish(allowed, None)

    def _on_deadline(self):
        self._finish(None, TIMEOUT)

    def _finish(self, addresses, failure):
        on_done = self._on_done
        self.cancel()
        if on_done:
            on_done(addresses, failure)

    def cancel(self):
        """Stop whatever is under way."""
        self._on_done = None
        if self._timer:
            self._timer.cancel()
        if self._job:
            self._job.cancel()
            self._job = None

    def on_mistake(self):
        self._finish(None, BROKEN)


class Dial(object):
    """One connect that needs no tunnel: look-up, rules, connection.

    ``on_done(sock, None)`` or ``on_done(None, Failure)`` is called once, never before begin(), never after cancel();
    ``on_done(sock, RESET)`` when the target has reset the connection by then.
    """

    def __init__(self, gateway, host, port, group, on_done):
        seconds = gateway.config['limits.connectSeconds']
        self._loop, self._on_done, self._deadline = gateway.loop, on_done, gateway.loop.now + seconds
        self._way = gateway.look_up(host, port, group, seconds, self._on_found)

    def begin(self):
        self._way.begin()

    def _on_found(self, addresses, failure):
        if failure:
            self._finish(None, failure)
            return
        self._way = Connector(self._loop, addresses, self._deadline - self._loop.now, self)
        self._way.begin()

    def on_connected(self, sock, failure):
        self._finish(sock, failure)

    def on_unconnected(self, failure):
        self._finish(None, failure)

    def _finish(self, sock, failure):
        on_done = self._on_done
        self.cancel()
        if on_done:
            on_done(sock, failure)

    def cancel(self):
        """Stop whatever is under way."""
        self._on_done = None
        self._way.cancel()

    def on_mistake(self):
        self._finish(None, BROKEN)


class Upstream(object):
    """Our side of one TCP connection to a target."""

    __slots__ = ('channel', 'group', 'state', 'stream', '_gateway', '_session', '_host', '_port', '_dial', '_forward',
                 '_timer', '_born', '_sent', '_received', '_discarded')

    def __init__(self, gateway, session, channel, host, port, hop):
        self.channel, self.group, self.state, self.stream = channel, session.group, DIALLING, None
        self._born = gateway.loop.now
        self._gateway, self._session = gateway, session
        self._host, self._port = host, port
        self._sent = self._received = self._discarded = 0
        self._timer = None
        self._forward = Forward(gateway, session, host, port, hop, self._on_dialled) if hop else None
        self._dial = self._forward or Dial(gateway, host, port, session.group, self._on_dialled)
        gateway.upstreams.add(self)

    def begin(self):
        self._dial.begin()

    def _move(self, state):
        assert state in UPSTREAM_MOVES[self.state], (self.state, state)
        self.state = state

    def _on_dialled(self, sock, failure):
        self._dial = None
        session = self._session
        if sock is None:
            LOG.info('#%d not connected to %s: %s', session.number, self, failure.reason)
            self.end()
            session.on_failed(self, failure)
            return
        self._move(FLOWING)
        LOG.info('#%d connected to %s in %.3f s', session.number, self, self._gateway.loop.now - self._born)
        self.stream = Stream(self._gateway.loop, sock, self, self._gateway.config['limits.bufferBytes'],
                             self._gateway.tally)
        self.stream.broken = failure is RESET
        session.on_opened(self)

    def __str__(self):
        name = with_port(printable(self._host), self._port)
        return '%s through %s' % (name, self._forward.hop_name) if self._forward else name

    def write(self, *pieces):
        if self.state == FLOWING:
            self._sent += self.stream.write(*pieces)

    def chokes(self):
        """Must the client be read no further, because the target does not take what it sends?"""
        if self.stream is None or not self.stream.congested:
            return False
        # With its window used up the target may well wait for us while we wait for it: only the client's `ack`, which
        # comes behind its data, can end that. So its data may then pile up as far as one message may be long.
        if self._session.dialect.room(self.channel) == 0:
            return self.stream.pending >= self._gateway.config['limits.messageBytes']
        return True

    def wants_data(self, stream):
        if self.state == FLOWING:
            return self._session.room_for(self.channel)
        return RECEIVE_BYTES

    def sink(self, stream):
        return self._session.carrier(self.channel) if self.state == FLOWING else None

    def on_pipe(self, stream, pipe):
        self._received += len(pipe)
        self._session.on_pipe(self, pipe)

    def on_received(self, stream, data):
        if self.state == FLOWING:
            self._received += len(data)
            self._session.on_data(self, data)
            return
        self._discarded += len(data)
        if stream.finished and self._discarded > LINGER_BYTES:
            self.end()

    def on_eof(self, stream):
        if self.state == FLOWING:
            self._lose(RESET if stream.broken or (self._forward and self._forward.was_cut()) else CLOSED)
        elif stream.finished:
            self.end()

    def on_broken(self, stream):
        if self.state == FLOWING:
            self._lose(RESET)
        self.end()

    def on_unwritable(self, stream):
        """The target has reset the connection; what it had sent before may still be there to read."""
        if self.state == DRAINING:
            self.end()

    def on_flow(self, stream):
        if self.state == FLOWING:
            self._session.touch()

    def on_finished(self, stream):
        if stream.eof:
            self.end()

    def share(self):
        """Bytes that wait for the target. While it is dialled they are all the session's that wait for one."""
        return self.stream.pending if self.stream else self._session.dialect.backlog()

    def on_full(self):
        """Give up what a client has left, unless the kernel takes it."""
        if self.stream:
            self.stream.send_all_it_can()
        if self.share() > SMALL_SHARE:
            LOG.warning('#%d has left too much for %s: limits.totalBytes is reached', self._session.number, self)
            self.end()
            self._session.on_given_up()

    def on_idle(self):
        self._lose(IDLE)

    def _lose(self, failure):
        """The connection is over for the client; what it had sent before still goes out."""
        session = self._session
        self.drain()
        session.on_closed(self, failure)

    def drain(self):
        """The client lets go."""
        self._session.forget(self)
        if self.state != FLOWING or self.stream.broken:
            self.end()
            return
        self._move(DRAINING)
        self.stream.finish()
        self._timer = self._gateway.loop.call_later(self._gateway.config['limits.drainSeconds'], self.end)
        self._gateway.on_draining(self)

    def end(self):
        if self.state == ENDED:
            return
        if self._dial:
            self._dial.cancel()
        if self._timer:
            self._timer.cancel()
        if self.stream:
            LOG.info('#%d disconnected from %s: %d bytes there, %d back, %.3f s', self._session.number, self,
                     self._sent - self.stream.pending, self._received, self._gateway.loop.now - self._born)
            self.stream.close(reset=self.stream.pending > 0)  # with a FIN what was cut off would look complete
        self._move(ENDED)
        if self._forward:
            self._forward.cancel()
        self._session.forget(self)
        self._gateway.on_upstream_ended(self)

    def on_mistake(self):
        session, flowing = self._session, self.state == FLOWING
        self.end()
        if flowing:
            session.on_mistake()


HANDSHAKE, REPLYING, LINGERING = 'handshake', 'replying', 'lingering'

# replying: with something else than a WebSocket. lingering: our half is closed, the peer's is awaited, so that it gets
# our last bytes: closing with unread data would reset the connection.
SESSION_MOVES = {
    HANDSHAKE: (OPEN, REPLYING, LINGERING, ENDED),
    REPLYING: (LINGERING, ENDED),
    OPEN: (CLOSING, LINGERING, ENDED),
    CLOSING: (LINGERING, ENDED),
    LINGERING: (ENDED,),
    ENDED: (),
}


class Session(object):
    """Our side of one client, from its first byte to its last."""

    __slots__ = ('number', 'group', 'state', 'dialect', 'stream', '_gateway', '_peer', '_parser', '_ws', '_upstreams',
                 '_tunnels', '_queue', '_timer', '_born', '_heard', '_pinged', '_held', '_discarded', '_page')

    def __init__(self, gateway, sock, peer, group):
        self.number, self.group, self._peer = next(gateway.numbers), group, peer
        self.state, self.dialect = HANDSHAKE, None
        self._gateway = gateway
        self._parser, self._ws, self._page, self._queue = RequestParser(), None, None, None
        self._upstreams = {}          # by channel
        self._tunnels = ()
        self._born = self._heard = gateway.loop.now
        self._pinged = None           # when our last ping went out, if nothing was heard since
        self._held = self._discarded = 0
        self._timer = gateway.loop.call_later(gateway.config['limits.handshakeSeconds'], self._on_time)
        self.stream = Stream(gateway.loop, sock, self, gateway.config['limits.bufferBytes'], gateway.tally)

    # -- state ---------------------------------------------------------------------------------------------------------

    def _move(self, state):
        assert state in SESSION_MOVES[self.state], (self.state, state)
        if OPEN in (self.state, state):
            self._gateway.count_open(self.group, 1 if state == OPEN else -1)
        self.state = state

    def _rearm(self, seconds, callback):
        self._timer.cancel()
        self._timer = self._gateway.loop.call_later(seconds, callback)

    def _linger(self):
        """Nothing more will be sent. Wait for the peer's end, but not for ever."""
        self._move(LINGERING)
        self.stream.finish()
        self._rearm(self._gateway.config['limits.drainSeconds'], self.end)

    def end(self, deliver=False):
        """``deliver`` as for _release(); after a Close in order it has been asked for already."""
        if self.state == ENDED:
            return
        deliver = deliver or self.state == LINGERING
        if self._ws is not None:
            LOG.info('#%d client is gone after %.3f s', self.number, self._gateway.loop.now - self._born)
        self._move(ENDED)
        self._timer.cancel()
        if self._page:
            self._page.end()
        self.stream.close()
        self._release(deliver)
        self._gateway.on_session_ended(self)
        self._count()

    def on_mistake(self):
        """After an exception of ours: the client is told, and nothing of it is kept."""
        if self.state == HANDSHAKE:
            self._refuse(HttpError(500, BROKEN.message))
        elif self.state == OPEN:
            try:
                for action in self.dialect.on_mistake():
                    self._do_send(action)
            except Exception:
                log_mistake()
            self._hang_up(INTERNAL, 'the gateway made a mistake')
        else:
            self.end()

    def touch(self):
        """Something has changed that decides whether the client is read."""
        if self.state != ENDED and not self.stream.events & READ:
            self._gateway.loop.touch(self.stream)

    def _touch_upstreams(self):
        for upstream in self._upstreams.values():
            if upstream.stream and not upstream.stream.events & READ:
                self._gateway.loop.touch(upstream.stream)

    # -- events of the client's stream ---------------------------------------------------------------------------------

    def wants_data(self, stream):
        if self.state == OPEN and self._is_throttled():
            return 0
        if self.state in (OPEN, CLOSING):
            return min(self._gateway.loop.share, SMALL_RECEIVE + self._ws.due())
        if self.state == HANDSHAKE:
            return HEADER_BYTES + SMALL_RECEIVE  # messages may come behind it
        return RECEIVE_BYTES

    def _is_throttled(self):
        for upstream in self._upstreams.values():
            if upstream.chokes():
                return True
        waiting = self.dialect.backlog()
        return self.stream.congested or waiting > 0 and waiting >= self._gateway.config['limits.bufferBytes']

    def on_received(self, stream, data):
        self._heard, self._pinged = self._gateway.loop.now, None
        if self.state == HANDSHAKE:
            self._on_request_bytes(data)
        elif self.state in (OPEN, CLOSING):
            self._on_frames(data)
        else:
            self._discarded += len(data)
            if self._discarded > LINGER_BYTES:
                self.end()

    def sink(self, stream):
        """What a client sends is never passed on as it is: it is masked."""

    def on_eof(self, stream):
        if self.state == REPLYING or (self.state == LINGERING and not stream.finished):
            return  # it may close its half and still read what it asked for
        self.end(deliver=True)

    def on_broken(self, stream):
        self.end()

    def on_unwritable(self, stream):
        self.end()

    def on_finished(self, stream):
        if stream.eof:
            self.end()
        elif self.state == REPLYING:
            self._linger()

    def on_flow(self, stream):
        self._touch_upstreams()
        if self._page and not stream.congested:
            self._page.go_on()

    # -- HTTP ----------------------------------------------------------------------------------------------------------

    def _on_request_bytes(self, data):
        try:
            parsed = self._parser.receive(data)
            if parsed:
                self._parser = None
                self._on_request(*parsed)
        except HttpError as error:
            self._refuse(error)

    def _refuse(self, error, with_body=True):
        LOG.info('#%d %s got %d: %s', self.number, self._peer_name(), error.status, error.sentence)
        self.stream.write(sentence_reply(error.status, error.sentence, error.headers, with_body))
        self._linger()

    def _peer_name(self):
        return with_port(self._peer[0], self._peer[1])

    def _on_request(self, request, rest):
        if request.wants_websocket():
            self._upgrade(request, rest)
        else:
            self._reply(request)

    def _upgrade(self, request, rest):
        accept = accept_key(request)
        self._gateway.origins.check(request)
        self._gateway.check_room(self)
        self.dialect = self._gateway.dialect_for(request)
        LOG.info('#%d %s comes, origin %s, path %s', self.number, self._peer_name(),
                 printable(request.one('origin') or '-'), printable(request.path))
        self.stream.write(upgrade_reply(accept))
        self._ws = WebSocket(self._gateway.config['limits.messageBytes'])
        self._move(OPEN)
        self._watch_silence()
        self._tell(self.dialect.on_start)
        self._on_frames(rest)

    def _reply(self, request):
        """Whatever is asked for that is not a WebSocket (protocol, 4)."""
        with_body = request.method == 'GET'
        if request.path == '/healthz':
            self._say(*((503, 'draining') if self._gateway.draining else (200, 'ok')), with_body=with_body)
        elif self._gateway.web_folder() is not None:
            self._move(REPLYING)
            self._rearm(STALL_SECONDS, self.end)
            self._page = Page(self._gateway, self, request)
            self._page.begin()
        elif request.path == '/':
            self._say(200, 'This is ws2s %s, a gateway from WebSocket to TCP; it has no pages to show here, because %s.'
                      % (__version__, self._gateway.why_no_pages()), with_body=with_body)
        else:
            self.not_found(with_body)

    def not_found(self, with_body):
        self._refuse(HttpError(404, 'There is nothing here under this name.'), with_body)

    def _say(self, status, sentence, with_body):
        self.stream.write(sentence_reply(status, sentence, with_body=with_body))
        self._linger()

    def send_page(self, chunk):
        self.stream.write(chunk)
        self._rearm(STALL_SECONDS, self.end)
        self._gateway.check_share(self)
        return self.state == REPLYING and not self.stream.congested

    def on_page_sent(self):
        """The last piece is queued; a slow reader has STALL_SECONDS for it, too."""
        self.stream.finish()

    # -- WebSocket -----------------------------------------------------------------------------------------------------

    def _on_frames(self, data):
        events = self._ws.receive(data)
        if FAST_PATHS and self._passes_on(events):
            return
        for event in events:
            self.ON_EVENT[type(event)](self, event)
        self._push()
        self._touch_upstreams()  # an `ack` may have given them room
        self._count()
        self._gateway.check_share(self)
        self._go_when_stopping()

    def _passes_on(self, events):
        """The usual case in a few steps: data for a target that gets it as it is. False for everything else."""
        if not 0 < len(events) <= SEND_CHUNKS or self.state != OPEN:
            return False
        pieces = []
        for event in events:
            if type(event) is not Piece:
                return False
            if event.data:
                pieces.append(event.data)
        upstream = self._upstreams.get(self.dialect.carried())
        if upstream is None or upstream.state != FLOWING:
            return False
        for event in events:
            LOG.debug('#%d < binary of %d', self.number, len(event.data))
        if pieces:
            upstream.write(*pieces)
        if self._held or self._ws.held():
            self._count()
        if self._gateway.tally.is_too_much():
            self._gateway.check_share(self)
        return True

    def _go_when_stopping(self):
        if self._gateway.draining and self._queue is None:  # else whoever carries that out comes here, too
            self.on_stopping()

    def _push(self):
        chunks = self._ws.data_to_send()
        if chunks:
            self.stream.write(*chunks)

    def _on_text(self, event):
        LOG.debug('#%d < text of %d', self.number, len(event.text))
        if self.state == OPEN:
            self._tell(self.dialect.on_text, event.text)

    def _on_piece(self, event):
        LOG.debug('#%d < binary of %d', self.number, len(event.data))
        if self.state == OPEN:
            self._tell(self.dialect.on_binary, event.data, event.final)

    def _on_ping_or_pong(self, event):
        LOG.debug('#%d < control of %d', self.number, len(event.payload))

    def _on_close(self, event):
        LOG.info('#%d client closes: %s %s', self.number, event.code or '-', printable(event.reason))
        self._ws.close(event.code)
        self._leave(deliver=True)

    def _on_fault(self, event):
        LOG.info('#%d client broke the protocol: %d %s', self.number, event.code, event.reason)
        self._ws.close(event.code, event.reason)
        self._leave(deliver=False)

    ON_EVENT = {Text: _on_text, Piece: _on_piece, Ping: _on_ping_or_pong, Pong: _on_ping_or_pong, Closed: _on_close,
                Fault: _on_fault}

    def _leave(self, deliver):
        self._push()
        self._release(deliver)
        self._linger()

    def _hang_up(self, code, reason):
        """Begin the close handshake (RFC 6455 section 7.1.2) and give it `drainSeconds`."""
        if self.state != OPEN:
            return
        self._ws.close(code, reason)
        self._push()
        self._release(deliver=False)
        self._move(CLOSING)
        self._rearm(self._gateway.config['limits.drainSeconds'], self.end)

    def on_stopping(self):
        """The gateway drains: whoever has no TCP connection goes now, the others when theirs has ended."""
        if self.state == OPEN and not self._upstreams:
            self.on_stopped()
        elif self.state == HANDSHAKE and not self._parser.has_begun():
            self.end()  # browsers open connections in advance: nothing was asked on this one

    def on_stopped(self):
        """Time is up."""
        self._hang_up(GOING_AWAY, 'the gateway is stopping')

    def on_full(self):
        LOG.warning('#%d is ended: limits.totalBytes is reached', self.number)
        if self.stream.pending > SMALL_SHARE or self.state != OPEN:
            self.end()  # a Close would wait behind what it does not read, and that is what must go
        else:
            self._hang_up(TRY_LATER, 'the gateway holds too much')

    def on_given_up(self):
        """What waits is held until the end, and nobody will get it now."""
        if self.state == LINGERING and self._held and not self._upstreams:
            self.end()

    # -- time ----------------------------------------------------------------------------------------------------------

    def _on_time(self):
        if self.state == HANDSHAKE:
            self._refuse(HttpError(408, 'The request was not complete in time.'))
        else:
            self._on_silence()

    def _watch_silence(self):
        """See to it that the timer comes in time. Too early does no harm: what has begun since is seen then."""
        moments = [moment for moment in (self._ping_due(), self._idle_due()) if moment is not None]
        if moments:
            self._look_at(min(moments))

    def _look_at(self, moment):
        if self._timer.callback is None or self._timer.when > moment:
            self._rearm(max(0, moment - self._gateway.loop.now), self._on_time)

    def on_config(self):
        """What it says of time counts from now on; but not all are pinged at one time."""
        config = self._gateway.config
        periods = [period for period in (config['limits.pingSeconds'], config['limits.idleSeconds']) if period]
        if self.state == OPEN and periods:
            self._look_at(self._gateway.loop.now + min(periods) * (self.number % SPREAD) / SPREAD)

    def _ping_due(self):
        after = self._gateway.config['limits.pingSeconds']
        return (self._pinged or self._heard) + after if after else None

    def _idle_due(self):
        after = self._gateway.config['limits.idleSeconds']
        moments = [self._last_moved(upstream) for upstream in self._upstreams.values() if upstream.stream]
        return min(moments) + after if after and moments else None

    def _last_moved(self, upstream):
        """When bytes of this upstream last moved; those that wait for the client count as its own."""
        return max(upstream.stream.moved, self.stream.moved if self.stream.pending else 0)

    def _on_silence(self):
        now = self._gateway.loop.now
        idle_after = self._gateway.config['limits.idleSeconds']
        for upstream in list(self._upstreams.values()):
            if idle_after and upstream.stream and self._last_moved(upstream) + idle_after <= now:
                upstream.on_idle()
        if self.state == OPEN and self._ping_due() is not None and self._ping_due() <= now:
            self._ping()
        if self.state == OPEN:
            self._watch_silence()

    def _ping(self):
        """Silence counts only while we listen: one that we throttle cannot make itself heard."""
        if self._pinged is not None and not self._is_throttled():
            LOG.info('#%d answers no pings', self.number)
            self._hang_up(INTERNAL, 'no answer to a ping')
        elif self.stream.congested:
            # A ping would wait behind what the client does not read: ask later.
            self._heard, self._pinged = self._gateway.loop.now, None
        else:
            self._pinged = self._gateway.loop.now
            self._ws.send(PING, b'')
            self._push()

    # -- the dialect and its upstreams ---------------------------------------------------------------------------------

    def _tell(self, on_event, *arguments):
        """Give the dialect an event. Its mistake ends this session alone, whichever stream or timer brought it."""
        try:
            self._perform(on_event(*arguments))
        except Exception:
            log_mistake()
            self._queue = None
            self.on_mistake()

    def _perform(self, actions):
        """Carry out actions in order; those that come of carrying one out are put behind the others."""
        if self._queue is not None:
            self._queue.extend(actions)
            return
        self._queue = collections.deque(actions)
        while self._queue:
            action = self._queue.popleft()
            self.PERFORM[type(action)](self, action)
        self._queue = None

    def _do_send(self, action):
        LOG.debug('#%d > message of %d', self.number, len(action.payload))
        self._ws.send(action.opcode, action.payload)

    def _do_open(self, action):
        if self.state != OPEN:
            return  # the client has left; what waited for an earlier connect is delivered, but nothing is begun
        upstream = Upstream(self._gateway, self, action.channel, action.host, action.port, action.hop)
        self._upstreams[action.channel] = upstream
        upstream.begin()

    def _do_write(self, action):
        if action.channel in self._upstreams:
            self._upstreams[action.channel].write(action.data)

    def _do_shut(self, action):
        if action.channel in self._upstreams:
            self._upstreams[action.channel].drain()

    def _do_hangup(self, action):
        self._hang_up(action.code, action.reason)

    PERFORM = {Send: _do_send, Open: _do_open, Write: _do_write, Shut: _do_shut, Hangup: _do_hangup}

    def forget(self, upstream):
        if self._upstreams.get(upstream.channel) is upstream:
            del self._upstreams[upstream.channel]
        if self.state == ENDED:
            self._count()  # what waited for that upstream is given up

    def carrier(self, channel):
        """The stream to which bytes of this channel may go just as they are, or None."""
        return self.stream if self.state == OPEN and self.dialect.carries(channel, 0) else None

    def room_for(self, channel):
        """How many bytes of this channel may be read now."""
        room = self.dialect.room(channel)
        return self.stream.room() if room is None else min(self.stream.room(), room)

    def on_opened(self, upstream):
        self._tell(self.dialect.on_opened, upstream.channel)
        self._after_dial()
        if self.state == OPEN:
            self._watch_silence()

    def on_failed(self, upstream, failure):
        self._tell(self.dialect.on_failed, upstream.channel, failure)
        self._after_dial()

    def _after_dial(self):
        self._push()
        if self.state in (LINGERING, ENDED):
            self._release(deliver=True)
        self._count()
        self.touch()
        self._go_when_stopping()

    def on_data(self, upstream, data):
        if self.state == OPEN and FAST_PATHS and self.dialect.carries(upstream.channel, len(data)):
            LOG.debug('#%d > message of %d', self.number, len(data))
            self.stream.write(frame_header(BINARY, len(data)), data)
        else:
            self._tell(self.dialect.on_data, upstream.channel, data)
            self._push()
        if self._gateway.tally.is_too_much():
            self._gateway.check_share(self)

    def on_pipe(self, upstream, pipe):
        """As on_data(), for bytes that sink() has had put into a pipe."""
        count = len(pipe)
        self.dialect.carries(upstream.channel, count)
        LOG.debug('#%d > message of %d', self.number, count)
        self.stream.pour(frame_header(BINARY, count), pipe)
        if self.stream.pending:
            self._gateway.check_share(self)

    def on_closed(self, upstream, failure):
        self._tell(self.dialect.on_closed, upstream.channel, failure)
        self._push()
        self.touch()
        self._go_when_stopping()

    def _release(self, deliver):
        """Let go of the upstreams. With ``deliver``, one that is being dialled stays while messages wait for it:
        they came before the client left, and nothing that was sent in time is lost (protocol, 1)."""
        for upstream in list(self._upstreams.values()):
            if deliver and upstream.state == DIALLING and self.dialect.backlog():
                self._gateway.on_draining(upstream)
            else:
                upstream.drain()
        for tunnel in self._tunnels:
            tunnel.end_if_unused()

    def tunnel_for(self, hop, target):
        """The Tunnel of this session for this login, which may be there already; None when there are too many."""
        digest = self._gateway.login_digest(hop)
        for tunnel in self._tunnels:
            if tunnel.digest == digest and tunnel.takes(target):
                return tunnel
        for tunnel in self._tunnels:
            tunnel.end_if_unused()
        tunnel = self._gateway.new_tunnel(self, hop, target)
        self._tunnels += (tunnel,) if tunnel else ()
        return tunnel

    def forget_tunnel(self, tunnel):
        self._tunnels = tuple(one for one in self._tunnels if one is not tunnel)

    def is_over(self):
        """Will it open nothing more?"""
        return self.state != OPEN

    def _count(self):
        """Keep the gateway's count of what is held for this client beside its streams' queues."""
        is_over = self._ws is None or (self.state == ENDED and not self._upstreams)
        held = 0 if is_over else self._ws.held() + self.dialect.backlog()
        self._gateway.tally.bytes += held - self._held
        self._held = held

    def send_all_it_can(self):
        for stream in self._streams():
            stream.send_all_it_can()

    def is_stalled(self):
        """Does much wait here that has long not moved?"""
        return any(stream.pending > SMALL_SHARE and stream.moved + STALL_SECONDS < self._gateway.loop.now
                   for stream in self._streams())

    def _streams(self):
        return [self.stream] + [upstream.stream for upstream in self._upstreams.values() if upstream.stream]

    def share(self):
        """Bytes held for this client."""
        return self._held + sum(stream.pending for stream in self._streams())


class Page(object):
    """A file of the web folder on its way to a client, one piece at a time, as fast as it is read."""

    def __init__(self, gateway, session, request):
        self._gateway, self._session, self._request = gateway, session, request
        self._opened, self._left, self._job = None, 0, None

    def begin(self):
        names = web_segments(self._request.path)
        if names is None:
            self._session.not_found(self._with_body())
            return
        self._submit(blocking_open_file, (self._gateway.web_folder(), names), self._on_opened, close_opened)

    def _with_body(self):
        return self._request.method == 'GET'

    def _submit(self, function, arguments, on_result, dispose):
        self._job = self._gateway.files.submit(self._session.group, function, arguments, on_result, dispose)
        if self._job is None:
            self._session.end()

    def _on_opened(self, opened):
        self._job = None
        if not isinstance(opened, OpenedFile):
            self._session.not_found(self._with_body())
            return
        self._opened, self._left = opened, opened.size if self._with_body() else 0
        kind = content_type(web_segments(self._request.path)[-1])
        self._session.send_page(page_head(200, kind, opened.size))
        self.go_on()

    def go_on(self):
        if self._job or self._opened is None:
            return
        if self._left:
            # Should the session end meanwhile, the file is closed when the read has come back.
            self._submit(blocking_read, (self._opened, min(PIECE_BYTES, self._left)), self._on_piece, self._close_after)
        else:
            self._close()
            self._session.on_page_sent()

    def _on_piece(self, piece):
        self._job = None
        if not isinstance(piece, bytes) or not piece:  # shorter than it was: a cut reply must be seen to be cut
            self._session.end()
            return
        self._left -= len(piece)
        if self._session.send_page(piece):
            self.go_on()

    def _close_after(self, piece):
        self._opened.file.close()

    def _close(self):
        if self._opened:
            self._opened.file.close()
            self._opened = None

    def end(self):
        if self._job:
            self._job.cancel()
        else:
            self._close()


# Known while it is loaded: later the working directory may be another one, or the link that led here.
THIS_FILE = os.path.realpath(__file__)

# Keys of the Config that a running gateway cannot change.
NEEDS_RESTART = ('listen.host', 'listen.port', 'workers', 'log.file', 'log.bytes', 'log.files')


def check_settings(config):
    """What only the world can tell of a Config. Raises ConfigError."""
    web = config['web']
    if web and not os.path.isdir(path_bytes(web)):
        raise ConfigError('"web": %s is not a folder' % printable(web))
    check_ssh_settings(config)


def pages_folder():
    """Where the pages that come with ws2s are, or None: beside this file, or where a package has put them."""
    here = os.path.dirname(THIS_FILE)
    share = os.path.join('share', 'ws2s')
    places = [here, os.path.join(here, share), os.path.join(sys.prefix, share)]
    if os.path.basename(here) in ('site-packages', 'dist-packages'):  # PREFIX/lib/pythonX.Y/site-packages
        places.append(os.path.join(here, os.pardir, os.pardir, os.pardir, share))
    folders = [os.path.join(place, 'ws2s-js') for place in places]
    return next((folder for folder in folders if os.path.isfile(os.path.join(folder, 'index.html'))), None)


class Gateway(object):
    """Listeners, sessions, limits and counts.

    Embedding: ``gateway = Gateway(parse_config(text))``, ``gateway.start()`` runs it in a thread of its own,
    ``gateway.address`` is where it listens, ``gateway.stop()`` ends it. ``dialects`` are rows as those of DIALECTS.
    ``resolve(host, port)`` runs in a thread and gives pairs (family, address) or a Failure; ``owns(packed)`` tells
    whether an address is the machine's own. ``socks`` are listening sockets to use instead of binding some.
    """

    def __init__(self, config, dialects=DIALECTS, resolve=blocking_resolve, owns=owns_address, socks=()):
        self.config, self.resolve = config, resolve
        self._dialects, self._owns = tuple(dialects), owns
        self.origins, self._rules = OriginRules(config), TargetRules(config)
        self.numbers = itertools.count(1)
        self.tally = Tally(config['limits.totalBytes'])
        self.sessions, self.upstreams, self.tunnels = set(), set(), set()
        self.draining = False
        self._drains = {}   # by group, in an OrderedDict: upstreams whose client has left, the oldest first
        self._by_group = collections.Counter()     # connections
        self._open_by_group = collections.Counter()  # WebSockets among them
        self._open = 0
        self._listeners, self._socks, self._thread = [], list(socks), None
        self._asked = []
        self._given_up_at = None  # when the loop ends at the latest, once all was ended
        self.loop = self.lookups = self.files = self.tunnel_work = None
        self.address = None
        self._salt = os.urandom(16)
        self._pages = pages_folder()

    # -- life ----------------------------------------------------------------------------------------------------------

    def listen(self):
        """Bind. Raises ServeError or ConfigError."""
        check_settings(self.config)
        self._socks = self._socks or bound_sockets(self.config['listen.host'], self.config['listen.port'])
        self.address = self._socks[0].getsockname()[:2]
        LOG.info('ws2s %s listens on %s', __version__, with_port(*self.address))

    def start(self):
        """Serve in a thread of its own. Raises ServeError or ConfigError when it cannot."""
        self.prepare()
        self._thread = threading.Thread(target=self._serve, name='ws2s')
        self._thread.daemon = True
        self._thread.start()

    def stop(self):
        """Drain, and wait until all is gone: `limits.drainSeconds` and a moment at most."""
        if self.loop is None:
            self._close_listeners()
            return
        self.drain()
        if self._thread:
            self._thread.join(self.config['limits.drainSeconds'] + 5)
            self._thread = None

    def run(self):
        """Serve in this thread until drain() or abort() is called. Raises ServeError or ConfigError when it cannot."""
        if self.loop is None:
            self.prepare()
        self._serve()

    def drain(self):
        """Begin to stop: no more accepting, WebSockets are closed with 1001 when their TCP connections have ended, or
        after `limits.drainSeconds`. From any thread or signal handler."""
        self._ask(self._begin_drain)

    def reload(self, config):
        """Go on with another Config; what is open lives on. From any thread. Raises ConfigError, and changes nothing.

        What is only read at the start, NEEDS_RESTART, stays as it is.
        """
        check_settings(config)
        self._ask(lambda: self._use(config))

    def _use(self, config):
        self.config, self.origins, self._rules = config, OriginRules(config), TargetRules(config)
        self.tally.most = config['limits.totalBytes']
        # Never fewer: the tunnels that are there still need theirs.
        self.tunnel_work.most_waiting = max(self.tunnel_work.most_waiting, TUNNEL_JOBS * config['ssh.maxTunnels'])
        for session in self.sessions:
            session.on_config()

    def abort(self):
        """Stop at once. From any thread or signal handler."""
        self._ask(self._end_all)

    def _ask(self, callback):
        if self.loop:
            self.loop.post(callback)
        else:
            self._asked.append(callback)  # a signal may come before the loop is there

    def prepare(self):
        """Bind, and make what serving takes. Raises ServeError or ConfigError."""
        if self.loop is not None:
            raise ServeError('this gateway has been started before; make another one')
        if self.address is None:
            self.listen()
        self.loop = Loop()
        self.lookups = Workers(self.loop, LOOKUP_THREADS, LOOKUPS_WAITING)
        self.files = Workers(self.loop, FILE_THREADS, FILES_WAITING)
        self.tunnel_work = Workers(self.loop, TUNNEL_THREADS, TUNNEL_JOBS * self.config['ssh.maxTunnels'])
        clear_leftovers()
        self._listeners = [Listener(self.loop, sock, self._on_accepted) for sock in self._socks]
        while self._asked:
            self.loop.post(self._asked.pop(0))

    def _serve(self):
        try:
            while not self.draining or self._is_busy():
                self.loop.turn()
        finally:
            self._end_all()
            self.lookups.close(1)
            self.files.close(1)
            self.tunnel_work.close(5)
            self.loop.close()
            LOG.info('ws2s has stopped')

    def _is_busy(self):
        if self._given_up_at is not None and self.loop.now >= self._given_up_at:
            return False  # only threads that hang are left
        return self.sessions or self.upstreams or self.tunnels

    def _begin_drain(self):
        if self.draining:
            return
        self.draining = True
        LOG.info('ws2s is stopping: %d sessions', len(self.sessions))
        self._close_listeners()
        for session in list(self.sessions):
            session.on_stopping()
        self.loop.call_later(self.config['limits.drainSeconds'], self._end_drain)

    def _end_drain(self):
        """What is still open is closed now; what was queued before has a moment to go out."""
        for session in list(self.sessions):
            session.on_stopped()
        self.loop.call_later(GOODBYE_SECONDS, self._end_all)

    def _end_all(self):
        self.draining = True
        self._close_listeners()
        for session in list(self.sessions):
            session.end()
        for upstream in list(self.upstreams):
            upstream.end()
        for tunnel in list(self.tunnels):
            tunnel.end()
        if self._given_up_at is None:
            self._given_up_at = self.loop.now + GIVE_UP_SECONDS
            self.loop.call_later(GIVE_UP_SECONDS, self._close_listeners)  # anything, so that the loop turns then

    def _close_listeners(self):
        for listener in self._listeners + self._socks:
            listener.close()
        self._listeners, self._socks = [], []

    def on_mistake(self):
        """The loop has logged it; the next turn goes on."""

    # -- sessions ------------------------------------------------------------------------------------------------------

    def _on_accepted(self, sock, peer):
        group = address_group(peer[0])
        most = self.config['limits.clientsPerAddress']
        if (len(self.sessions) >= self.config['limits.clients'] + SPARE_CONNECTIONS
                or (most and self._by_group[group] >= most + SPARE_CONNECTIONS)):
            LOG.warning('%s is turned away: too many connections', with_port(peer[0], peer[1]))
            sock.close()
            return
        try:
            prepare(sock)
        except NetworkError:  # macOS: the client has gone already
            sock.close()
            return
        session = Session(self, sock, peer, group)
        self.sessions.add(session)
        count_in(self._by_group, group, 1)

    def on_session_ended(self, session):
        self.sessions.discard(session)
        count_in(self._by_group, session.group, -1)

    def count_open(self, group, change):
        self._open += change
        count_in(self._open_by_group, group, change)

    def check_room(self, session):
        """Raise HttpError 503 when ``session`` may not become a WebSocket now."""
        most = self.config['limits.clientsPerAddress']
        if self.draining:
            raise HttpError(503, 'The gateway is stopping.')
        if self._open >= self.config['limits.clients']:
            raise HttpError(503, 'The gateway has too many clients (limits.clients).')
        if most and self._open_by_group[session.group] >= most:
            raise HttpError(503, 'The gateway has too many clients from this address (limits.clientsPerAddress).')

    def check_share(self, session):
        """All clients together may hold so much; the one that then wants more than a small share must go."""
        if self.tally.is_too_much():
            session.send_all_it_can()  # what the kernel takes is not held
        if not self.tally.is_too_much() or session.share() <= SMALL_SHARE:
            return
        stalled = [one for one in self.sessions if one.is_stalled()]
        for one in stalled:
            one.on_full()  # whoever has long taken nothing must not cost another one his place
        self._end_those_who_left()
        if self.tally.is_too_much() and session not in stalled:
            session.on_full()
            self._end_those_who_left()

    def _end_those_who_left(self):
        """Nor must what waits for a target when the client has gone; the most first, and a small share may stay."""
        left = [upstream for group in self._drains.values() for upstream in group if upstream.share() > SMALL_SHARE]
        for upstream in sorted(left, key=Upstream.share, reverse=True):
            if self.tally.is_too_much():
                upstream.on_full()

    def dialect_for(self, request):
        for serves, dialect in self._dialects:
            if serves(request):
                return dialect(request, self.config)
        raise HttpError(404, 'No dialect is spoken under this path.')

    # -- pages ---------------------------------------------------------------------------------------------------------

    def web_folder(self):
        """The folder whose files are served, or None."""
        web = self.config['web']
        return self._pages if web is None else web or None

    def why_no_pages(self):
        return 'the folder ws2s-js is not beside it' if self.config['web'] is None else 'its configuration says so'

    # -- upstreams and tunnels -----------------------------------------------------------------------------------------

    def look_up(self, host, port, group, seconds, on_done):
        return Lookup(self, host, port, group, seconds, on_done)

    def login_digest(self, hop):
        return login_digest(hop, self._salt)

    def new_tunnel(self, session, hop, target):
        """A Tunnel that has not begun, or None when there are too many. One address has half of `ssh.maxTunnels`."""
        most = self.config['ssh.maxTunnels']
        mine = sum(1 for tunnel in self.tunnels if tunnel.group == session.group)
        if len(self.tunnels) >= most or mine >= (most + 1) // 2:
            return None
        tunnel = Tunnel(self, session, hop, target)
        self.tunnels.add(tunnel)
        return tunnel

    def on_tunnel_gone(self, tunnel):
        self.tunnels.discard(tunnel)

    def judge(self, host, port, text):
        """The Verdict on one resolved address. Raises NetworkError when it cannot be judged."""
        packed = packed_address(text.partition('%')[0])
        own_port = port == self.address[1]
        own = self._rules.own_matters(own_port) and any(self._owns(form) for form in address_forms(packed))
        return self._rules.judge(host, port, packed, own, own_port)

    def on_draining(self, upstream):
        """Upstreams whose client has left are bounded too: of those who have the most the oldest must go."""
        self._drains.setdefault(upstream.group, collections.OrderedDict())[upstream] = True
        if sum(map(len, self._drains.values())) > DRAINING_CONNECTIONS:
            next(iter(max(self._drains.values(), key=len))).end()

    def on_upstream_ended(self, upstream):
        self.upstreams.discard(upstream)
        draining = self._drains.get(upstream.group, {})
        draining.pop(upstream, None)
        if not draining:
            self._drains.pop(upstream.group, None)


# ======================================================================================================================
# 14. Command line
# ======================================================================================================================
# What belongs to the program and not to the gateway: arguments, the config file, logs, signals, exit status.

DEFAULT_CONFIG_FILE = os.path.join('~', '.ws2s', 'config.json')

SERVED, CANNOT_SERVE, BAD_USAGE = 0, 1, 2

FIRST_INHERITED = 3  # SD_LISTEN_FDS_START of sd_listen_fds(3)

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class ArgumentParser(argparse.ArgumentParser):
    def error(self, message):
        raise ConfigError('%s (--help tells more)' % printable(message))


def parse_arguments(argv):
    """Raises ConfigError."""
    parser = ArgumentParser(prog='ws2s', description='A gateway from WebSocket to TCP: JavaScript in a browser reaches '
                                                     'Redis, databases, mail, anything that speaks TCP.')
    parser.add_argument('--config', metavar='FILE', help='JSON configuration; %s is used when it exists'
                                                         % DEFAULT_CONFIG_FILE)
    parser.add_argument('--listen', metavar='HOST:PORT', help='where to listen (127.0.0.1:3613)')
    parser.add_argument('--allow-local', action='store_true', help="let clients reach this machine's own services")
    parser.add_argument('--allow-origin', metavar='ORIGIN', action='append', help='let pages of this origin connect; '
                                                                                  'may be given more than once')
    parser.add_argument('--web', metavar='DIR', help='serve the static files of this folder')
    parser.add_argument('--log-level', metavar='LEVEL', help='debug, info, warning or error')
    parser.add_argument('--print-config', action='store_true', help='show the configuration in force, and stop')
    parser.add_argument('--check', metavar='HOST:PORT', help='tell which rule decides about a target, and stop')
    parser.add_argument('--version', action='store_true', help='show the version, and stop')
    return parser.parse_args(argv)


def read_config_file(path):
    """The Config of the named file, or of the default one when it exists. Raises ConfigError."""
    default = os.path.expanduser(DEFAULT_CONFIG_FILE)
    if path is None and not os.path.exists(default):
        return DEFAULTS
    path = path or default
    try:
        with open(path, 'rb') as file:
            return parse_config(utf8_text(file.read()))
    except (IOError, OSError) as error:
        raise ConfigError('%s: %s' % (printable(path), os.strerror(error.errno)))
    except UnicodeError:
        raise ConfigError('%s: this is not UTF-8' % printable(path))
    except ConfigError as error:
        raise ConfigError('%s: %s' % (printable(path), error))


def split_target(text, option):
    """(host, port) of an argument HOST:PORT. Raises ConfigError."""
    host, port = split_host_port(text)
    if not host or port is None or not re.match(r'[0-9]{1,5}\Z', port) or int(port) > 65535:
        raise ConfigError('%s wants HOST:PORT, an IPv6 address in brackets' % option)
    return host, int(port)


def with_arguments(config, arguments):
    """The Config with what the command line says. Raises ConfigError."""
    changes = {}
    if arguments.listen is not None:
        changes['listen.host'], changes['listen.port'] = split_target(arguments.listen, '--listen')
    if arguments.allow_local:
        changes['allowConnectToServerLocal'] = True
    if arguments.allow_origin is not None:
        changes['allowedOrigins'] = plain_value(config['allowedOrigins']) + arguments.allow_origin
    if arguments.web is not None:
        changes['web'] = arguments.web
    if arguments.log_level is not None:
        changes['log.level'] = arguments.log_level
    config = config.replace(changes)
    return config.replace({'web': os.path.expanduser(config['web'])}) if config['web'] else config


def check_target(gateway, text):
    """Print what would become of a connect to ``text``; the exit status."""
    host, port = split_target(text, '--check')
    name = with_port(printable(host), port)
    found = literal_addresses(host, port) or blocking_resolve(host, port)
    if isinstance(found, Failure):
        print('%s: %s' % (name, found.message))
        return CANNOT_SERVE
    verdicts = [(address[0], gateway.judge(host, port, address[0])) for _, address in found]
    for address, verdict in verdicts:
        print('%s is %s: %s, %s' % (name, address, 'allowed' if verdict.allowed else 'refused', verdict.why))
    return SERVED if any(verdict.allowed for _, verdict in verdicts) else CANNOT_SERVE


class LogFormatter(logging.Formatter):
    """One that looks at the calendar once a second: four lines tell of each connection."""

    def __init__(self, form='%(asctime)s %(levelname)s %(message)s'):
        logging.Formatter.__init__(self, form)
        self._second, self._date = None, ''

    def formatTime(self, record, datefmt=None):
        second = int(record.created)
        if second != self._second:
            self._second, self._date = second, time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(second))
        return '%s,%03d' % (self._date, record.msecs)


def set_up_logging(config, handler):
    handler.setFormatter(LogFormatter())
    LOG.addHandler(handler)
    LOG.setLevel(config['log.level'].upper())
    logging.raiseExceptions = False  # a full disk must not fill standard error
    logging._srcfile = None  # as the library's documentation says: no line tells which one of ours wrote it
    logging.logThreads = logging.logMultiprocessing = False


def log_handler(config):
    """Raises ServeError."""
    if not config['log.file']:
        return logging.StreamHandler()
    path = os.path.expanduser(config['log.file'])
    os.close(open_log_file(path))
    return logging.handlers.RotatingFileHandler(path, maxBytes=config['log.bytes'], backupCount=config['log.files'],
                                                encoding='utf-8')


def open_log_file(path):
    """A descriptor that appends to it, and waits for nobody. Raises ServeError."""
    try:
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NONBLOCK | os.O_NOCTTY, 0o600)
    except (IOError, OSError) as error:
        raise ServeError('cannot log to %s: %s' % (printable(path), os.strerror(error.errno)))
    except UnicodeError:
        raise ServeError('cannot log to %s: this system has no such file names' % printable(path))


def open_log_anew(handler):
    """Somebody may have renamed the file. Where no new one can be had, the log goes on where it was."""
    if not isinstance(handler, logging.FileHandler):
        return
    try:
        os.close(open_log_file(handler.baseFilename))
    except ServeError as error:
        LOG.error('%s; the log goes on where it was', error)
        return
    handler.acquire()
    stream, handler.stream = handler.stream, None  # the next line opens it
    handler.release()
    if stream:
        stream.close()


def raise_descriptor_limit():
    """As many descriptors as the system lets this process have; each client takes one, each target another."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for wanted in (hard, 10240):  # macOS says that it has no limit, and then takes no more than this
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            return
        except (ValueError, NetworkError, resource.error):
            LOG.debug('the limit of descriptors cannot be raised from %d to %d', soft, wanted)


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
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        sock.connect('\0' + path[1:] if path.startswith('@') else path)
        sock.sendall(state.encode('ascii'))
    except NetworkError as error:
        LOG.warning('the service manager cannot be told %s: %s', state.split('=')[0], os.strerror(error.errno))
    finally:
        sock.close()


def inherited_sockets():
    """The listening sockets that a service manager has handed to this process (sd_listen_fds(3)); none for most."""
    pid, count = os.environ.pop('LISTEN_PID', ''), os.environ.pop('LISTEN_FDS', '')
    os.environ.pop('LISTEN_FDNAMES', None)
    if pid != '%d' % os.getpid() or not re.match(r'[0-9]{1,4}\Z', count):
        return []
    return [inherited_socket(fd) for fd in range(FIRST_INHERITED, FIRST_INHERITED + int(count))]


def inherited_socket(fd):
    """Raises ServeError."""
    try:
        sock = socket.fromfd(fd, AF_INET, socket.SOCK_STREAM)
        family = AF_INET6 if len(sock.getsockname()) == 4 else AF_INET
        sock.close()
        sock = socket.fromfd(fd, family, socket.SOCK_STREAM)
        os.close(fd)
    except (NetworkError, OSError):
        raise ServeError('descriptor %d, which was to be a listening socket, is none' % fd)
    sock.setblocking(False)
    close_on_exec(sock.fileno())
    return sock


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
        open_log_anew(log)
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


def serve(load):
    """Serve what ``load()`` gives until a signal comes; the exit status. Raises ServeError or ConfigError."""
    config = load()
    if isinstance(config, ConfigError):
        raise config
    os.umask(0o077)  # the log is nobody else's, rotated or not
    log = log_handler(config)
    set_up_logging(config, log)
    raise_descriptor_limit()
    gateway = Gateway(config, socks=inherited_sockets())
    obey_signals(gateway)
    gateway.prepare()
    reload_on_hangup(gateway, load, log)
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
    if not arguments.print_config and arguments.check is None:
        return serve(lambda: blocking_load(arguments))
    config = with_arguments(read_config_file(arguments.config), arguments)
    if arguments.print_config:
        print(config.as_text())
        return SERVED
    gateway = Gateway(config)
    gateway.address = (config['listen.host'], config['listen.port'])
    return check_target(gateway, arguments.check)


def main(argv=None):
    """The command line program; its exit status: 0 stopped as asked, 1 cannot serve, 2 wrong arguments or config."""
    try:
        return run_command(parse_arguments(argv))
    except Ws2sError as error:
        sys.stderr.write('ws2s: %s\n' % error)
        return BAD_USAGE if isinstance(error, ConfigError) else CANNOT_SERVE


if __name__ == '__main__':
    # A program that imports ws2s after this gets this module, not a second one.
    sys.modules.setdefault('ws2s', sys.modules['__main__'])
    sys.exit(main())
