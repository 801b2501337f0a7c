# -*- coding: utf-8 -*-
"""What programs of this kind have done wrong, and we must not: text messages lost, ends that spin, tails cut off (the
last one is in test_strange_dialects.py)."""

import os
import socket
import time

import pytest

from program import link_of, running_program
from raw_client import BINARY, CLOSE, CONTINUATION, TEXT, RawClient, frame
from strangers import OurSpeaker, WispSpeaker
from targets import recorder, released, reset, saying, serving, silence
from test_strange_dialects import SlowNames
from waiting import wait_until, wait_until_still

MEGABYTE = 1 << 20


# -- text messages -----------------------------------------------------------------------------------------------------

TOKENS = '127.0.0.1: 127.0.0.1:%d\n'  # by ?token= and by the name in Host
AS_DATA = [('address', '/?address=127.0.0.1:%d', {}), ('path', '/127.0.0.1:%d', {}),
           ('host and port', '/?host=127.0.0.1&port=%d', {}), ('hostTargets', '/v2', {'hostTargets': '*'})]
AS_END = [('token', '/websockify?token=127.0.0.1', {}), ('name in Host', '/websockify', {'hostToken': True}),
          ('raw.target', '/', {'target': None}),
          ('playground', '/?host=127.0.0.1&port=%d', {'playground': True})]


def forms(rows):
    return pytest.mark.parametrize('path, raw', [row[1:] for row in rows], ids=[row[0] for row in rows])


@pytest.fixture
def talking(running_gateway, tmpdir):
    """A client to a target that keeps what comes: ``talking(path, raw, port)``."""
    def begin(path, raw, port):
        target, settings = '127.0.0.1:%d' % port, dict(raw)
        if 'target' in raw:
            settings['target'] = target
        if 'hostTargets' in raw:
            settings['hostTargets'] = {'*': target}
        if 'oken' in path or 'hostToken' in raw:
            tmpdir.join('tokens').write(TOKENS % port)
            settings['tokens'] = str(tmpdir.join('tokens'))
        client = RawClient(running_gateway({'raw': settings}).address)
        return client.open(path % port if '%d' in path else path)
    return begin


@forms(AS_DATA)
@pytest.mark.parametrize('text', [u'x', u'\u20ac' * 70000], ids=['short', 'long'])
def test_where_the_client_names_its_target_text_is_data(talking, path, raw, text):
    heard, data = [], text.encode('utf-8')
    with serving(recorder(heard)) as port, talking(path, raw, port) as client:
        client.send_frame(BINARY, b'<')
        client.send_frame(TEXT, data)
        client.send(frame(TEXT, data, final=False) + frame(CONTINUATION, b'>'))
        client.close()
        wait_until(lambda: heard == [b'<' + data + data + b'>'])


@forms(AS_END)
@pytest.mark.parametrize('message', [frame(TEXT, b'x'), frame(TEXT, b'x', final=False) + frame(CONTINUATION, b'y'),
                                     frame(TEXT, b'x' * 200000), frame(TEXT)],
                         ids=['short', 'in parts', 'long', 'empty'])
def test_where_websockify_would_be_text_is_1003_and_what_came_before_it_arrives(talking, path, raw, message):
    heard = []
    with serving(recorder(heard)) as port, talking(path, raw, port) as client:
        client.send(frame(BINARY, b'\1data') + message)
        assert client.receive_close()[0] == 1003
        wait_until(lambda: heard == [b'data' if 'playground' in raw else b'\1data'])


def test_what_came_before_a_1003_arrives_though_the_target_is_still_being_dialled(running_gateway):
    names, heard = SlowNames(), []
    with serving(recorder(heard)) as port, released(names.go):
        gateway = running_gateway({'raw': {'target': 'target.test:%d' % port}}, resolve=names)
        with RawClient(gateway.address).open() as client:
            client.send(frame(BINARY, b'data') + frame(TEXT, b'x'))
            assert client.receive_close()[0] == 1003
            names.go.set()
            wait_until(lambda: heard == [b'data'])


# -- ends that others turn into busy loops -----------------------------------------------------------------------------

SPENT = 0.05  # seconds of a processor in QUIET ones; who spins takes far more, even on a machine that is busy
QUIET = 1.5


class JsonSpeaker(RawClient):

    def reach(self, port):
        return self.open().connect_to(port, binary=True)

    def data_frame(self, data):
        return frame(BINARY, data)


SPEAKERS = JsonSpeaker, OurSpeaker, WispSpeaker


@pytest.fixture(scope='module')
def program():
    limits = {'drainSeconds': 120, 'stallSeconds': 0, 'bufferBytes': 65536}
    with running_program({'allowConnectToServerLocal': True, 'limits': limits}) as program:
        RawClient(program.address).open().close()  # from now on it serves
        yield program


def sockets(program):
    folder = '/proc/%d/fd' % program.pid
    return sum(link_of(os.path.join(folder, name)).startswith('socket:') for name in os.listdir(folder))


def stuck_upload(client):
    """Send until nothing more is taken, or more than a kernel takes."""
    client.sock.settimeout(0.2)
    try:
        for _ in range(160):
            client.send(client.data_frame(b'x' * 65536))
    except socket.timeout:
        pass  # the gateway reads no more


def nothing(client):
    """It has connected, and neither reads nor says anything."""


def half_closes(client):
    shut_writing(client.sock)


def shut_writing(sock):
    sock.shutdown(socket.SHUT_WR)


def says_close(client):
    client.send_frame(CLOSE, b'\x03\xe8')


def begins_a_frame(client):
    client.send(client.data_frame(b'x' * 1000)[:500])


def uploads_and_half_closes(client):
    stuck_upload(client)
    half_closes(client)


def uploads_and_resets(client):
    stuck_upload(client)
    client.abort()


def half_closes_and_stays(sock):
    shut_writing(sock)
    silence(sock)


FLOOD = b'x' * (32 * MEGABYTE)
STATES = [
    ('the target has closed, the client does not read', saying(b'x' * MEGABYTE), nothing),
    ('the target has reset, the client does not read', saying(b'x' * MEGABYTE, reset), nothing),
    ('the target has closed, the client does not answer', saying(b''), nothing),
    ('the target has half closed and stays', half_closes_and_stays, nothing),
    ('the target has half closed and does not read', half_closes_and_stays, stuck_upload),
    ('the target floods, the client does not read', saying(FLOOD), nothing),
    ('the target floods, the client has half closed', saying(FLOOD), half_closes),
    ('the target floods, the client has said Close', saying(FLOOD), says_close),
    ('the target floods, the client has begun a frame', saying(FLOOD), begins_a_frame),
    ('the target does not read', silence, stuck_upload),
    ('the target does not read, the client has half closed', silence, uploads_and_half_closes),
    ('the target does not read, the client has reset', silence, uploads_and_resets),
]


@pytest.mark.parametrize('target, act', [state[1:] for state in STATES], ids=[state[0] for state in STATES])
def test_the_gateway_waits_without_spinning_when(program, target, act):
    """Clients of three dialects at one time."""
    before, clients = wait_until_still(lambda: sockets(program), still=0.1), []
    with serving(target, receive_buffer=4096) as port:
        try:
            for speaker in SPEAKERS:
                clients.append(speaker(program.address, receive_buffer=4096))
                act(clients[-1].reach(port))
            wait_until_still(program.cpu_seconds, still=0.2)
            begun, used = time.time(), program.cpu_seconds()
            wait_until(lambda: time.time() > begun + QUIET)
            assert program.cpu_seconds() - used < SPENT
        finally:
            for client in clients:
                client.sock.close()
    wait_until(lambda: sockets(program) == before, 20)
