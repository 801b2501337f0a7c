# -*- coding: utf-8 -*-
"""S11: clients that go away at every stage, politely or not. Nothing of any may be left."""

import socket
import threading

import pytest

import ws2s

from census import is_empty
from raw_client import BINARY, CLOSE, TEXT, RawClient, frame, upgrade_request
from targets import saying, serving, silent_port, sink, unaccepted
from waiting import wait_until

pytestmark = pytest.mark.usefixtures('no_mistakes', 'many_descriptors')

FLOOD = b'x' * 65536


def flood(sock):
    while True:
        sock.sendall(FLOOD)


def slow_resolve(host, port):
    """Some look-ups are under way when their client leaves, some still wait."""
    threading.Event().wait(0.005)
    return [(socket.AF_INET, ('127.0.0.1', port))]


class Scene(object):
    """A gateway and the targets of all stages."""

    def __init__(self, gateway, ports):
        self.gateway, self.ports = gateway, ports

    def client(self):
        return RawClient(self.gateway.address)

    def connected(self, target):
        return self.client().open().connect_to(self.ports[target])


def before_a_byte(scene):
    return scene.client()


def in_the_request(scene):
    client = scene.client()
    client.send(upgrade_request()[:50])
    return client


def in_a_request_for_a_page(scene):
    client = scene.client()
    client.send(b'GET / HTTP/1.1\r\nHost: x\r\n\r\n')
    return client


def after_the_handshake(scene):
    return scene.client().open()


def in_a_frame(scene):
    client = scene.client().open()
    client.send(frame(TEXT, b'x' * 10000)[:5000])
    return client


def in_the_look_up(scene):
    client = scene.client().open()
    client.send_json(command='connect', host='name.test', port=scene.ports['sink'])
    client.send_json(command='send', data='taken along')
    return client


def in_the_connect(scene):
    client = scene.client().open()
    client.send_json(command='connect', host='127.0.0.1', port=scene.ports['silent'])
    return client


def when_idle(scene):
    return scene.connected('sink')


def streaming_up(scene):
    client = scene.connected('unread')
    client.send(frame(BINARY, FLOOD * 4, mask=b'mask'))
    return client


def streaming_down(scene):
    client = scene.connected('flood')
    client.receive_data(1)
    return client


def when_the_target_has_gone(scene):
    client = scene.connected('gone')
    client.receive_data(5)
    return client


def in_the_close_of_its_connection(scene):
    client = streaming_up(scene)
    client.send_json(command='close')
    return client


def in_its_close(scene):
    client = streaming_down(scene)
    client.send_frame(CLOSE)
    return client


STAGES = [before_a_byte, in_the_request, in_a_request_for_a_page, after_the_handshake, in_a_frame, in_the_look_up,
          in_the_connect, when_idle, streaming_up, streaming_down, when_the_target_has_gone,
          in_the_close_of_its_connection, in_its_close]


def with_fin(client):
    client.sock.shutdown(socket.SHUT_WR)
    client.sock.close()


def with_reset(client):
    client.abort()


ROUNDS = [8, pytest.param(385, marks=[pytest.mark.soak, pytest.mark.timeout(300)])]


@pytest.mark.parametrize('rounds', ROUNDS, ids=['200', '10000'])
def test_nothing_is_left_of_clients_that_go_at_any_stage(running_gateway, rounds):
    """26 ways, in turn; the fixtures look at threads and descriptors."""
    gateway = running_gateway({'limits': {'drainSeconds': 0.3, 'connectSeconds': 60, 'handshakeSeconds': 60}},
                              resolve=slow_resolve)
    with serving(sink) as sink_port, serving(flood) as flood_port, serving(saying(b'hello')) as gone_port, \
            unaccepted(4096) as unread_port, silent_port() as silent:
        scene = Scene(gateway, {'sink': sink_port, 'flood': flood_port, 'gone': gone_port, 'unread': unread_port,
                                'silent': silent})
        for _ in range(rounds):
            for stage in STAGES:
                for leave in (with_fin, with_reset):
                    leave(stage(scene))
        wait_until(lambda: is_empty(gateway), 20, 'the last of them to be gone')
        wait_until(lambda: gateway.loop.live_timers() == 0)
        with scene.connected('sink') as client:
            client.close()


@pytest.mark.parametrize('is_cancelled', [False, True], ids=['begun', 'cancelled'])
def test_a_connect_that_is_cancelled_in_its_own_turn_is_never_begun(is_cancelled):
    loop, listener, told = ws2s.Loop(), socket.socket(), []
    listener.bind(('127.0.0.1', 0))
    listener.listen(1)
    try:
        connect = ws2s.Connect(loop, [(socket.AF_INET, listener.getsockname())], 20,
                               lambda *result: told.append(result))
        connect.begin()
        assert connect.sock is None and told == []
        if is_cancelled:
            connect.cancel()
        wait_until(lambda: loop.waker.wake() or loop.turn() or told or is_cancelled)
        loop.waker.wake()
        loop.turn()
        assert [failure for _, failure in told] == ([] if is_cancelled else [None])
        assert connect.sock is None and loop.live_timers() == 0
    finally:
        for sock, _ in told:
            sock.close()
        loop.close()
        listener.close()
