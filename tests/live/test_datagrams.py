# -*- coding: utf-8 -*-
"""UDP through a real gateway: by Wisp, and as raw bytes of which each message is a datagram."""
import contextlib
import socket
import struct
import threading

import pytest

import ws2s
from raw_client import BINARY, CLOSE, RawClient, frame
from waiting import wait_until
from wisp_client import DATA, END, UDP, WispClient

pytestmark = pytest.mark.usefixtures('no_mistakes')

OFFERED = {'wisp': {'udp': True}, 'raw': {'udp': True}, 'allowConnectToServerLocal': True}


@contextlib.contextmanager
def udp_target(answers=lambda data: [data]):
    """The port of a socket that answers each datagram; and what has come, with the senders."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(('127.0.0.1', 0))
    heard = []

    def serve():
        while True:
            data, sender = sock.recvfrom(70000)
            if data == b'over':
                return
            heard.append((data, sender))
            for answer in answers(data):
                sock.sendto(answer, sender)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield sock.getsockname()[1], heard
    finally:
        sock.sendto(b'over', sock.getsockname())
        thread.join(10)
        sock.close()


@contextlib.contextmanager
def refusing_port():
    """A port that no other program can have meanwhile, and whose socket takes nothing from us: it is connected."""
    with contextlib.closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as sock:
        sock.bind(('127.0.0.1', 0))
        sock.connect(('127.0.0.1', 9))
        yield sock.getsockname()[1]


@contextlib.contextmanager
def raw_udp(gateway, port, path='/127.0.0.1:%d?udp=1'):
    with RawClient(gateway.address) as client:
        client.open(path % port)
        yield client


@pytest.fixture
def offering(running_gateway):
    return running_gateway(OFFERED)


@pytest.mark.parametrize('size', [0, 1, 1472, 9000, 65507])
def test_each_message_is_a_datagram_and_each_datagram_a_message(offering, size):
    with udp_target() as (port, heard), raw_udp(offering, port) as client:
        for byte in (b'a', b'b'):
            client.send_frame(BINARY, byte * size)
            assert client.receive_frame() == (BINARY, byte * size)
        assert [data for data, _ in heard] == [b'a' * size, b'b' * size]


def test_datagrams_of_many_wisp_streams_stay_apart(offering):
    with udp_target() as (port, heard), WispClient(offering.address) as wisp:
        wisp.begin()
        for stream in range(1, 51):
            wisp.connect(stream, port, kind=UDP)
            wisp.packet(DATA, stream, b'%03d' % stream)
        wisp.take_until(lambda: len(wisp.data) == 50)
        assert all(bytes(data) == b'%03d' % stream for stream, data in wisp.data.items())
        assert len(set(sender for _, sender in heard)) == 50


def test_a_fragmented_message_is_one_datagram(offering):
    with udp_target() as (port, heard), raw_udp(offering, port) as client:
        client.send(frame(BINARY, b'one ', final=False) + frame(0, b'datagram'))
        assert client.receive_frame() == (BINARY, b'one datagram')


def test_a_message_too_long_for_a_datagram_is_lost_alone(offering):
    with udp_target() as (port, heard), raw_udp(offering, port) as client:
        client.send_frame(BINARY, b'x' * 65508)
        client.send_frame(BINARY, b'next')
        assert client.receive_frame() == (BINARY, b'next')


def test_what_comes_from_elsewhere_does_not_get_through(offering):
    def answers(data):
        with contextlib.closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as stranger:
            stranger.sendto(b'forged', heard[-1][1])
        return [b'right']

    with udp_target(answers) as (port, heard), raw_udp(offering, port) as client:
        for _ in range(3):
            client.send_frame(BINARY, b'question')
            assert client.receive_frame() == (BINARY, b'right')


def test_what_is_sent_before_the_end_reaches_the_target(offering):
    with udp_target() as (port, heard):
        with raw_udp(offering, port) as client:
            client.send(frame(BINARY, b'last') + frame(CLOSE, struct.pack('!H', 1000)))
            wait_until(lambda: [data for data, _ in heard] == [b'last'], 20)
        with WispClient(offering.address) as wisp:
            wisp.begin().connect(1, port, kind=UDP)
            wisp.packet(DATA, 1, b'words')
            wisp.packet(END, 1, b'\2')
            wait_until(lambda: [data for data, _ in heard] == [b'last', b'words'], 20)


def test_only_so_many_datagrams_wait_for_a_look_up(running_gateway):
    go = threading.Event()

    def resolve(host, port):
        assert go.wait(20)
        return [(socket.AF_INET, ('127.0.0.1', port))]

    gateway = running_gateway(OFFERED, resolve=resolve)
    with udp_target(lambda data: [data] if data == b'after' else []) as (port, heard):
        with WispClient(gateway.address) as wisp:
            wisp.begin().connect(1, port, b'slow.lan', kind=UDP)
            for number in range(1000):
                wisp.packet(DATA, 1, struct.pack('!H', number))
            wisp.packet(DATA, 1, b'x' * 70000)
            wisp.connect(2, 80, b'a b')  # who answers this has read all before
            wisp.take_until(lambda: wisp.ended)
            go.set()
            wait_until(lambda: len(heard) == ws2s.DATAGRAMS, 20)
            wisp.packet(DATA, 1, b'after')
            wisp.take_until(lambda: 1 in wisp.data)
            found = [data for data, _ in heard]
    assert found == [struct.pack('!H', number) for number in range(ws2s.DATAGRAMS)] + [b'after']


def test_a_port_that_nobody_has_ends_the_stream(offering):
    with refusing_port() as port:
        with WispClient(offering.address) as wisp:
            wisp.begin().connect(1, port, kind=UDP)
            wisp.packet(DATA, 1, b'anybody?')
            wisp.take_until(lambda: wisp.ended)
            assert wisp.ended == {1: 3}
        with raw_udp(offering, port) as client:
            client.send_frame(BINARY, b'anybody?')
            assert client.receive_close() == (1011, 'reset')


def test_an_idle_target_is_given_up(running_gateway, monkeypatch):
    monkeypatch.setattr(ws2s, 'DATAGRAM_SECONDS', 0.2)
    gateway = running_gateway(OFFERED)
    with udp_target() as (port, heard), WispClient(gateway.address) as wisp:
        wisp.begin().connect(1, port, kind=UDP)
        wisp.packet(DATA, 1, b'hello')
        wisp.take_until(lambda: wisp.ended)
        assert wisp.ended == {1: 0x47} and bytes(wisp.data[1]) == b'hello'


def test_a_flood_of_datagrams_waits_for_its_client_no_further_than_allowed(running_gateway, small_kernel_buffers):
    gateway = running_gateway(dict(OFFERED, limits={'bufferBytes': 65536}))
    with udp_target(lambda data: [b'y' * 60000] * 200) as (port, heard), raw_udp(gateway, port) as client:
        client.send_frame(BINARY, b'flood')
        client.send_frame(BINARY, b'again')
        wait_until(lambda: len(heard) == 2, 20)
        assert client.receive_frame() == (BINARY, b'y' * 60000)
        assert gateway.budget.bytes <= 65536 + 2 * 65536


def test_without_the_option_there_is_no_udp(running_gateway):
    gateway = running_gateway({'allowConnectToServerLocal': True})
    with udp_target() as (port, heard):
        with WispClient(gateway.address) as wisp:
            wisp.begin().connect(1, port, kind=UDP)
            wisp.packet(DATA, 1, b'x')
            wisp.take_until(lambda: wisp.ended)
            assert wisp.ended == {1: 0x48}
        assert heard == []
