# -*- coding: utf-8 -*-
"""Targets that speak TLS, and what a client is told of them."""

import contextlib
import sys

from certificates import server_context, speaking_tls
from raw_client import RawClient
from targets import serving

TLS, CLOSED, RESET, FINISHED = (1, 'tls'), (5, 'closed'), (5, 'reset'), (5, 'finished')
BAD_REQUEST, NOT_CONNECTED = (1, 'bad-request'), (3, 'not-connected')


@contextlib.contextmanager
def tls_target(certified, then, client_authority=None, host='127.0.0.1', **options):
    """The port of a server that speaks TLS and does ``then(sock)``."""
    with serving(speaking_tls(server_context(certified, client_authority, **options), then), host) as port:
        yield port


@contextlib.contextmanager
def opened(gateway, **parameters):
    with RawClient(gateway.address, **parameters) as client:
        yield client.open()


def failure(reply):
    assert list(reply) == ['success', 'code', 'message', 'reason'] or sys.version_info < (3, 7), reply
    assert not reply['success'], reply
    return reply['code'], reply['reason']


def connect(client, port, host='127.0.0.1', tls=True, **fields):
    return client.ask(command='connect', host=host, port=port, tls=tls, **fields)


def is_secured(reply, command='connect'):
    return reply.get('message') == '%s done' % command and reply['tls']['version'].startswith('TLSv1.')


def said_of(reply):
    """The sentence of a failure of TLS."""
    assert failure(reply) == TLS, reply
    return reply['message']


def trusting(pki, **fields):
    return dict({'ca': pki.root.cert}, **fields)
