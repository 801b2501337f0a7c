# -*- coding: utf-8 -*-
"""Mistakes of foreign dialects: each ends its own session with 1011, is logged once, and hurts no other."""

import contextlib
import logging
import socket
import struct

import pytest

import ws2s
from census import is_empty
from echo_dialect import EchoDialect
from mux_dialect import HEAD, MuxDialect
from raw_client import BINARY, CLOSE, TEXT, RawClient, exchange, upgrade_request
from raw_dialect import RawDialect
from targets import closed_port, echo, saying, serving, sink
from waiting import wait_until


def start(running_gateway, dialect):
    rows = ((lambda request, config: request.path == '/json', ws2s.JsonDialect),
            (lambda request, config: True, dialect))
    return running_gateway(dialects=rows)


def faulty(dialect, event):
    """Raises where ``event`` names a method; the exception quotes what a log must not have."""
    def fail(self, *arguments):
        raise ValueError('SECRET of a client')
    return type('Faulty', (dialect,), {event: fail})


def provoke_raw(client, event, ports):
    target = {'on_closed': 'brief', 'on_failed': 'closed'}.get(event, 'sink')
    client.open('/127.0.0.1:%d' % ports[target])
    if event == 'on_text':
        client.send_frame(TEXT, b'x')


def provoke_mux(client, event, ports):
    client.open('/mux')
    if event == 'on_text':
        client.send_frame(TEXT, b'x')
    elif event == 'on_binary':
        client.send_frame(BINARY, b'xxx')
    elif event != 'on_start':
        target = {'on_closed': 'brief', 'on_failed': 'closed'}.get(event, 'sink')
        client.send_frame(TEXT, ('open 1 127.0.0.1:%d' % ports[target]).encode('ascii'))
        client.send_frame(BINARY, HEAD.pack(1) + b'x' * (event == 'on_drained'))


def provoke_echo(client, event, ports):
    client.open('/echo?greet=x&after=0')
    if event in ('on_text', 'on_binary'):
        client.send_frame(TEXT if event == 'on_text' else BINARY, b'x')


MISTAKES = (
    [(RawDialect, provoke_raw, event) for event in ('on_start', 'on_text', 'on_opened', 'on_failed', 'on_closed')]
    + [(MuxDialect, provoke_mux, event) for event in ('on_start', 'on_text', 'on_binary', 'on_opened', 'on_failed',
                                                      'on_drained', 'on_closed')]
    + [(EchoDialect, provoke_echo, event) for event in ('on_start', 'on_text', 'on_binary', 'on_later')])


def one_mistake_is_logged_without_its_text(caplog):
    logged = [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]
    assert len(logged) == 1 and 'ValueError' in logged[0] and 'in fail' in logged[0]
    assert 'SECRET of' not in logged[0].replace("raise ValueError('SECRET of a client')", '')


@contextlib.contextmanager
def bystander_of(gateway, port):
    with RawClient(gateway.address) as client:
        client.open('/json').connect_to(port)
        yield
        client.send_json(command='send', data='unharmed')
        assert client.receive_data(8) == b'unharmed'


@contextlib.contextmanager
def targets_of_all_kinds():
    with serving(sink) as sink_port, serving(saying(b'x')) as brief_port:
        yield {'sink': sink_port, 'brief': brief_port, 'closed': closed_port()}


@pytest.mark.parametrize('dialect, provoke, event', MISTAKES, ids=['%s-%s' % (row[0].name, row[2]) for row in MISTAKES])
def test_a_mistake_of_an_event(running_gateway, caplog, dialect, provoke, event):
    gateway = start(running_gateway, faulty(dialect, event))
    with serving(echo) as port, bystander_of(gateway, port), targets_of_all_kinds() as ports:
        with RawClient(gateway.address) as client:
            provoke(client, event, ports)
            assert code_of_close(client) == 1011
            client.send_frame(CLOSE, b'\x03\xf3')
            assert client.receive_all() == b''
        wait_until(lambda: len(gateway.clients) == len(gateway.upstreams) == 1)
    one_mistake_is_logged_without_its_text(caplog)


def code_of_close(client):
    """Of the one that comes after any other messages."""
    opcode, payload = client.receive_frame()
    while opcode != CLOSE:
        opcode, payload = client.receive_frame()
    assert b'SECRET' not in payload
    return struct.unpack('!H', payload[:2])[0]


@pytest.mark.parametrize('dialect, provoke', [(RawDialect, provoke_raw), (MuxDialect, provoke_mux),
                                              (EchoDialect, provoke_echo)], ids=['raw', 'mux', 'echo'])
@pytest.mark.parametrize('leave', [lambda client: client.send_frame(CLOSE, b'\x03\xe8'),
                                   lambda client: client.sock.shutdown(socket.SHUT_WR)], ids=['Close', 'FIN'])
def test_a_mistake_of_on_leave(running_gateway, caplog, dialect, provoke, leave):
    """The client has gone: nobody is told but the log, and all is cleared away as ever."""
    gateway = start(running_gateway, faulty(dialect, 'on_leave'))
    with serving(echo) as port, bystander_of(gateway, port), targets_of_all_kinds() as ports:
        with RawClient(gateway.address) as client:
            provoke(client, None, ports)
            leave(client)
            client.receive_all()
        wait_until(lambda: len(gateway.clients) == len(gateway.upstreams) == 1)
    one_mistake_is_logged_without_its_text(caplog)


@pytest.mark.parametrize('dialect', [RawDialect, MuxDialect, EchoDialect], ids=['raw', 'mux', 'echo'])
def test_a_mistake_of_the_constructor_gets_500(running_gateway, caplog, dialect):
    gateway = start(running_gateway, faulty(dialect, '__init__'))
    status, _, body = exchange(gateway.address, upgrade_request('/127.0.0.1:9'))
    assert status == 500 and b'SECRET' not in body
    one_mistake_is_logged_without_its_text(caplog)
    with RawClient(gateway.address) as client:
        assert client.open('/json').ask(command='ping')['success']


ANSWERS = {'None': None, 'a number': 5, 'a list of numbers': [5], 'no action': [(ws2s.TEXT, b'x')],
           'an action that is in no list': ws2s.Send(ws2s.TEXT, b'x'), 'no seconds': [ws2s.Later(None)],
           'a code that is none': [ws2s.Hangup(99999, '')], 'a reason that is none': [ws2s.Hangup(1000, None)],
           'a host that is none': [ws2s.Open(1, None, 80)], 'no port': [ws2s.Open(1, u'127.0.0.1', 0)],
           'too high a port': [ws2s.Open(1, u'127.0.0.1', 65536)], 'a word for a port': [ws2s.Open(1, u'::1', u'80')]}


@pytest.mark.parametrize('answer', sorted(ANSWERS))
def test_an_answer_that_is_no_list_of_actions(running_gateway, answer):
    dialect = type('Strange', (ws2s.Dialect,), {'on_text': lambda self, text: ANSWERS[answer]})
    gateway = start(running_gateway, dialect)
    with RawClient(gateway.address) as client:
        client.open('/').send_frame(TEXT, b'x')
        assert client.receive_close()[0] == 1011
    wait_until(lambda: is_empty(gateway))


def test_an_open_of_a_channel_that_is_in_use(running_gateway):
    with serving(sink) as port:
        dialect = type('Double', (ws2s.Dialect,), {'on_text': lambda self, text: [ws2s.Open(1, u'127.0.0.1', port)]})
        gateway = start(running_gateway, dialect)
        with RawClient(gateway.address) as client:
            client.open('/').send_frame(TEXT, b'x')
            client.send_frame(TEXT, b'x')
            assert client.receive_close()[0] == 1011
        wait_until(lambda: is_empty(gateway))


def test_nothing_of_on_leave_or_behind_a_hangup_outlives_the_session(running_gateway):
    """A Later is not armed, and nothing is dialled."""
    with serving(sink) as port:
        late = [ws2s.Later(3600), ws2s.Open(1, u'127.0.0.1', port), ws2s.Write(1, b'x'), ws2s.Send(ws2s.TEXT, b'x')]
        dialect = type('Late', (ws2s.Dialect,), {'on_text': lambda self, text: [ws2s.Hangup(1000, '')] + late,
                                                 'on_leave': lambda self: late})
        gateway = start(running_gateway, dialect)
        for leave in (lambda client: client.send_frame(CLOSE), lambda client: client.send_frame(TEXT, b'x')):
            with RawClient(gateway.address) as client:
                leave(client.open('/'))
                assert client.receive_frame()[0] == CLOSE
                assert not gateway.upstreams
            wait_until(lambda: is_empty(gateway))
            wait_until(lambda: gateway.loop.live_timers() == 0)
