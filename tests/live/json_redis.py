# -*- coding: utf-8 -*-
"""RedisJSON, as far as the Redis page speaks it: a way to a real Redis on which each string is a document.

No server of that kind is a package of Debian.
"""

import contextlib
import socket
import threading

from redis_server import resp
from targets import serving

TYPE = "local told = redis.call('TYPE', KEYS[1]).ok; return {ok = told == 'string' and 'ReJSON-RL' or told}"


def read_words(stream):
    """The words of the next request; None at the end."""
    line = stream.readline()
    if not line:
        return None
    words = []
    for _ in range(int(line[1:])):
        words.append(stream.read(int(stream.readline()[1:])))
        stream.read(2)
    return words


def plain(words):
    """The same request to a Redis that knows no documents."""
    name, rest = words[0].upper(), words[1:]
    if name == b'TYPE':
        return ['EVAL', TYPE, '1'] + rest
    if name == b'JSON.GET':
        return ['GET'] + rest
    if name == b'JSON.SET':
        assert rest[1] == b'.', rest
        return ['SET', rest[0], rest[2]]
    if name == b'COMMAND':
        return [word.upper().replace(b'JSON.', b'') for word in words]  # of GET and SET nearly the same is told
    return words


def carry_replies(source, drain):
    try:
        for data in iter(lambda: source.recv(1 << 16), b''):
            drain.sendall(data)
    except (IOError, OSError):
        pass  # the other direction has ended both


@contextlib.contextmanager
def running_json_redis(redis):
    """Where documents of a RedisServer are spoken of; the port."""
    def on_connection(sock):
        upstream = socket.create_connection(('127.0.0.1', redis.port), 10)
        replies = threading.Thread(target=carry_replies, args=(upstream, sock))
        replies.daemon = True
        replies.start()
        try:
            with contextlib.closing(sock.makefile('rb')) as stream:
                for words in iter(lambda: read_words(stream), None):
                    upstream.sendall(resp(plain(words)))
        finally:
            upstream.shutdown(socket.SHUT_RDWR)
            replies.join(10)
            upstream.close()

    with serving(on_connection) as port:
        yield port
