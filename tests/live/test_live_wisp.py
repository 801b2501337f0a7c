# -*- coding: utf-8 -*-
"""Wisp through a real gateway: many streams, a stuck one among them, and nothing lost at either end."""

import hashlib
import os
import resource
import socket
import struct
import threading

import pytest

import ws2s
from program import running_program
from raw_client import CLOSE, exchange, frame
from targets import closed_port, echo, recorder, released, saying, serving, silence, unaccepted, when
from waiting import wait_until, wait_until_still
from wisp_client import DATA, END, WispClient

pytestmark = pytest.mark.usefixtures('no_mistakes')

MEGABYTE = 1 << 20


@pytest.fixture
def wisp(gateway):
    with WispClient(gateway.address) as client:
        yield client.begin()


def test_a_stream_echoes_and_ends_with_its_target(wisp):
    with serving(echo) as port:
        wisp.connect(7, port)
        wisp.packet(DATA, 7, b'hello')
        wisp.take_until(lambda: wisp.data.get(7) == b'hello')
    wisp.take_until(lambda: 7 in wisp.ended)
    assert wisp.ended == {7: 2}


@pytest.mark.parametrize('size', [3, 16384, 100000, MEGABYTE])
def test_an_upload_of_any_packets_comes_whole(wisp, size):
    data, heard = os.urandom(min(4 * MEGABYTE, 1000 * size)), []
    with serving(recorder(heard)) as port:
        wisp.connect(1, port)
        wisp.write(1, data, size)
        wisp.packet(END, 1, b'\2')
        wait_until(lambda: heard, 20)
    assert hashlib.sha1(heard[0]).digest() == hashlib.sha1(data).digest()


def test_a_packet_longer_than_the_gateway_holds_waits_for_its_target(running_gateway, small_kernel_buffers):
    """A client like epoxy puts all that it uploads into one."""
    gateway, go, heard = running_gateway({'limits': {'messageBytes': MEGABYTE}}), threading.Event(), []
    data, target = os.urandom(8 * MEGABYTE), when(go, recorder(heard))
    with serving(target, receive_buffer=4096) as port, released(go), WispClient(gateway.address) as wisp:
        wisp.begin().connect(1, port)
        sender = threading.Thread(target=wisp.packet, args=(DATA, 1, data))
        sender.start()
        wait_until(lambda: gateway.budget.bytes >= MEGABYTE, 20)
        assert wait_until_still(lambda: gateway.budget.bytes) < MEGABYTE + 2 * ws2s.RECEIVE_BYTES
        go.set()
        sender.join(20)
        wisp.packet(END, 1, b'\2')
        wait_until(lambda: heard, 20)
    assert hashlib.sha1(heard[0]).digest() == hashlib.sha1(data).digest()


def test_what_comes_before_a_close_or_the_end_of_the_websocket_reaches_the_target(wisp):
    heard = []
    with serving(recorder(heard)) as port:
        for stream in (1, 2):
            wisp.connect(stream, port)
            wisp.packet(DATA, stream, b'%d' % stream if str is bytes else str(stream).encode('ascii'))
        wisp.packet(END, 1, b'\2')
        wisp.send(frame(CLOSE, struct.pack('!H', 1000)))
        wait_until(lambda: sorted(heard) == [b'1', b'2'], 20)


@pytest.mark.parametrize('leave', ['stream', 'websocket'])
def test_what_waits_for_a_slow_target_when_its_client_closes_reaches_it(running_gateway, small_kernel_buffers, leave):
    gateway, go, heard = running_gateway({'limits': {'bufferBytes': 4 * MEGABYTE}}), threading.Event(), []
    data = os.urandom(2 * MEGABYTE)
    target = when(go, recorder(heard))
    with serving(target, receive_buffer=4096) as port, released(go), WispClient(gateway.address) as wisp:
        wisp.begin().connect(1, port)
        wisp.write(1, data, 131072)
        wisp.packet(END, 1, b'\2') if leave == 'stream' else wisp.send(frame(CLOSE, struct.pack('!H', 1000)))
        wait_until(lambda: [upstream.state for upstream in list(gateway.upstreams)] == ['draining'], 20)
        assert gateway.budget.bytes
        go.set()
        wait_until(lambda: heard, 20)
    assert hashlib.sha1(heard[0]).digest() == hashlib.sha1(data).digest()


def test_a_slow_reader_gets_the_tail_of_a_target_that_has_gone(gateway, small_kernel_buffers):
    data, gone = os.urandom(200000), threading.Event()

    def go(sock):
        sock.close()
        gone.set()

    with serving(saying(data, go)) as port, WispClient(gateway.address, receive_buffer=4096) as wisp:
        wisp.begin().connect(1, port)
        assert gone.wait(20)
        wisp.take_until(lambda: wisp.ended)
    assert wisp.ended == {1: 2}
    assert hashlib.sha1(wisp.data[1]).digest() == hashlib.sha1(data).digest()


def test_fifty_downloads_come_whole_beside_a_stuck_upload(wisp):
    data = os.urandom(200000)
    with serving(saying(data)) as port, serving(silence, receive_buffer=4096) as stuck:
        wisp.connect(99, stuck)
        for _ in range(16):
            wisp.packet(DATA, 99, b'x' * 65536)
        for stream in range(50):
            wisp.connect(stream + 1, port)
        wisp.take_until(lambda: len(wisp.ended) == 50)
        assert all(bytes(wisp.data[stream + 1]) == data for stream in range(50))
        assert set(wisp.ended.values()) == {2} and 99 not in wisp.ended


def test_every_failure_has_its_reason(running_gateway):
    gateway = running_gateway({'allowConnectToServerLocal': True, 'denyTargets': ['10.0.0.0/8']})
    with WispClient(gateway.address) as wisp:
        wisp.begin()
        wisp.connect(1, closed_port())
        wisp.connect(2, 80, b'10.0.0.1')
        wisp.connect(3, 80, b'name.invalid')
        wisp.connect(4, 80, b'a b')
        wisp.take_until(lambda: len(wisp.ended) == 4)
        assert wisp.ended == {1: 0x44, 2: 0x48, 3: 0x42, 4: 0x41}


def test_names_that_hang_do_not_stop_the_other_streams(running_gateway):
    go = threading.Event()

    def resolve(host, port):
        if host.startswith('dead'):
            go.wait(20)
            return ws2s.UNKNOWN_NAME
        return [(socket.AF_INET, ('127.0.0.1', port))]

    gateway = running_gateway(resolve=resolve)
    with released(go), serving(echo) as port, WispClient(gateway.address) as wisp:
        wisp.begin()
        for stream in range(1, 4):
            wisp.connect(stream, port, ('dead%d.example' % stream).encode('ascii'))
        wisp.connect(9, port, b'good.example')
        wisp.packet(DATA, 9, b'hello')
        wisp.take_until(lambda: wisp.data.get(9) == b'hello')


def test_streams_leave_descriptors_for_others(running_gateway):
    gateway = running_gateway()
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    with unaccepted() as port, WispClient(gateway.address) as wisp:
        wisp.begin()
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, limits[1]))
        try:
            for stream in range(1, 257):
                wisp.connect(stream, port)
            wisp.take_until(lambda: 0x49 in wisp.ended.values())
            for _ in range(3):
                assert exchange(gateway.address, b'GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n')[0] == 200
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_a_stuck_stream_keeps_no_processor_busy():
    settings = {'allowConnectToServerLocal': True, 'web': False}
    with serving(silence, receive_buffer=4096) as stuck, serving(echo) as port, running_program(settings) as program:
        with WispClient(program.address) as wisp:
            wisp.begin().connect(1, stuck)
            for _ in range(4 * 16):
                wisp.packet(DATA, 1, b'x' * 65536)
            wisp.connect(2, port)
            wisp.packet(DATA, 2, b'hello')
            wisp.take_until(lambda: wisp.data.get(2) == b'hello')
            wait_until_still(program.cpu_seconds, still=1)
            wisp.packet(DATA, 2, b' again')
            wisp.take_until(lambda: wisp.data[2] == b'hello again')
