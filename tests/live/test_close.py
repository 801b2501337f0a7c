# -*- coding: utf-8 -*-
"""The end of a WebSocket on the wire: a Close each way, then a FIN, and never a RST (RFC 6455 section 7)."""

import socket
import struct

import pytest

from census import is_empty, sessions
from raw_client import BINARY, CLOSE, PING, PONG, TEXT, RawClient, frame
from targets import saying, serving, sink
from waiting import wait_until

NO_MASK = b'\0\0\0\0'


def close_frame(code, reason=b''):
    return frame(CLOSE, struct.pack('!H', code) + reason)


def assert_fin(gateway, client):
    """A FIN of the gateway comes next; it reads on until ours, then nothing is kept of us, and nothing was reset."""
    assert client.receive_all() == b''
    client.send(b'was on its way')
    client.finish()
    wait_until(lambda: is_empty(gateway))
    assert client.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0


@pytest.mark.parametrize('payload, code', [
    (b'', None), (b'\x03\xe8', 1000), (b'\x03\xe9going', 1001), (b'\x03\xf3', 1011), (b'\x0b\xb8', 3000),
    (b'\x13\x87' + b'x' * 123, 4999), (b'\x03\xe8' + u'\u20ac'.encode('utf-8'), 1000),
], ids=['without a code', '1000', '1001', '1011', '3000', '4999', 'with a reason'])
def test_a_close_is_echoed_and_then_comes_a_fin(gateway, client, payload, code):
    client.send_frame(CLOSE, payload)
    assert client.receive_close()[0] == code
    assert_fin(gateway, client)


FAULTS = [
    ('not masked', b'\x81\x02{}', 1002),
    ('reserved bit 1', b'\xc1\x80' + NO_MASK, 1002),
    ('reserved bit 2', b'\xa1\x80' + NO_MASK, 1002),
    ('reserved bit 3', b'\x91\x80' + NO_MASK, 1002),
    ('opcode 3', frame(3), 1002),
    ('opcode 7', frame(7, b'x'), 1002),
    ('opcode 11', frame(11), 1002),
    ('opcode 15', frame(15), 1002),
    ('continuation of nothing', frame(0, b'x'), 1002),
    ('text within a text', frame(TEXT, b'x', False) + frame(TEXT, b'x'), 1002),
    ('binary within a text', frame(TEXT, b'x', False) + frame(BINARY, b'x'), 1002),
    ('ping of 126', frame(PING, b'x' * 126), 1002),
    ('fragmented ping', frame(PING, b'x', False), 1002),
    ('16-bit length of 125', b'\x81\xfe\x00\x7d' + NO_MASK, 1002),
    ('64-bit length of 65535', b'\x81\xff\0\0\0\0\0\0\xff\xff' + NO_MASK, 1002),
    ('64-bit length with its first bit', b'\x82\xff\x80\0\0\0\0\0\0\0' + NO_MASK, 1002),
    ('close of one byte', frame(CLOSE, b'\x03'), 1002),
    ('close code 0', close_frame(0), 1002),
    ('close code 999', close_frame(999), 1002),
    ('close code 1004', close_frame(1004), 1002),
    ('close code 1005', close_frame(1005), 1002),
    ('close code 1006', close_frame(1006), 1002),
    ('close code 1015', close_frame(1015), 1002),
    ('close code 1100', close_frame(1100), 1002),
    ('close code 2999', close_frame(2999), 1002),
    ('close code 5000', close_frame(5000), 1002),
    ('text that is not UTF-8', frame(TEXT, b'\xff'), 1007),
    ('text with a surrogate', frame(TEXT, b'\xed\xa0\x80'), 1007),
    ('text that ends in a character', frame(TEXT, b'\xe2\x82'), 1007),
    ('text wrong before its end', b'\x01\xff\0\0\0\0\0\x0f\0\0' + NO_MASK + b'\xc0\x80', 1007),
    ('reason that is not UTF-8', close_frame(1000, b'\xff'), 1007),
    ('text of a gigabyte', b'\x81\xff\0\0\0\0\x40\0\0\0' + NO_MASK, 1009),
    ('text of 2^63-1', b'\x81\xff\x7f\xff\xff\xff\xff\xff\xff\xff' + NO_MASK, 1009),
    ('fragments above the limit', frame(TEXT, b'x' * 65536, False) + frame(0, b'x' * 60000, False) * 2, 1009),
]


@pytest.mark.parametrize('data, code', [row[1:] for row in FAULTS], ids=[row[0] for row in FAULTS])
def test_a_fault_is_answered_with_its_code(running_gateway, data, code):
    gateway = running_gateway({'limits': {'messageBytes': 16777216 if b'\x0f\0\0' in data[:20] else 150000}})
    with RawClient(gateway.address) as client:
        client.open().send(data)
        found, reason = client.receive_close()
        assert found == code and reason
        assert_fin(gateway, client)


@pytest.mark.parametrize('last', [close_frame(1000), b'\x81\x02{}'], ids=['Close', 'fault'])
def test_what_is_on_its_way_when_we_close_does_not_reset_the_connection(gateway, client, last):
    client.send_frame(TEXT, b'{"command": "ping"}')
    client.send(last + b'unread ' * 100000)
    assert b'ping done' in client.receive_text()
    client.receive_close()
    client.send(b'more, after our FIN has come ' * 1000)
    assert_fin(gateway, client)


def test_nothing_after_a_close_is_obeyed(gateway, client):
    client.send(close_frame(1000) + frame(TEXT, b'{"command": "ping"}') + frame(PING, b'x') + close_frame(1001))
    assert client.receive_close()[0] == 1000
    assert_fin(gateway, client)


def test_replies_and_pongs_that_are_owed_come_before_the_close(gateway, client):
    client.send(frame(TEXT, b'{"command": "ping"}') * 3 + frame(PING, b'x') + close_frame(1000))
    frames = [client.receive_frame() for _ in range(5)]
    assert sorted(opcode for opcode, _ in frames[:4]) == [TEXT] * 3 + [PONG]
    assert frames[4] == (CLOSE, b'\x03\xe8')
    assert_fin(gateway, client)


def test_a_client_that_reads_late_gets_all_and_then_the_close(gateway):
    data = b'x' * (6 << 20)
    with serving(saying(data, sink)) as port, RawClient(gateway.address, receive_buffer=4096) as client:
        client.open().connect_to(port, binary=True)
        wait_until(lambda: any(session.stream.congested for session in sessions(gateway)))
        client.send(close_frame(1000))
        opcode, received = BINARY, 0
        while opcode == BINARY:
            opcode, payload = client.receive_frame()
            received += len(payload)
        assert (opcode, payload) == (CLOSE, b'\x03\xe8') and received
        assert_fin(gateway, client)


def test_a_client_that_just_ends_gets_a_fin(gateway, client):
    client.finish()
    wait_until(lambda: is_empty(gateway))


def test_a_gateway_that_stops_says_1001_and_waits_for_the_echo(gateway, client):
    gateway.drain()
    code, reason = client.receive_close()
    assert code == 1001 and reason
    assert sessions(gateway)
    client.send(close_frame(1001))
    assert_fin(gateway, client)


def test_a_connect_that_fails_at_once_is_answered_before_a_gateway_that_stops_says_1001(gateway, client):
    with serving(sink) as port:
        client.connect_to(port)
        gateway.drain()
        wait_until(lambda: gateway.draining)
        assert client.ask(command='connect', host='169.254.1.1', port=9)['code'] == 4
        assert client.receive_close()[0] == 1001


def test_what_comes_between_our_close_and_the_echo_is_passed_over(gateway, client):
    gateway.drain()
    assert client.receive_close()[0] == 1001
    client.send(frame(TEXT, b'{"command": "ping"}') * 3 + frame(BINARY, b'x') + close_frame(1000))
    assert_fin(gateway, client)


@pytest.mark.parametrize('is_polite', [True, False], ids=['that echoes no Close', 'that answers no ping'])
def test_a_client_is_cut_off_in_the_end(running_gateway, is_polite):
    gateway = running_gateway({'limits': {'drainSeconds': 0.3, 'pingSeconds': 0 if is_polite else 0.2}})
    with RawClient(gateway.address) as client:
        client.open()
        if is_polite:
            gateway.drain()
        else:
            assert client.receive_frame() == (PING, b'')
        assert client.receive_close()[0] == (1001 if is_polite else 1011)
        assert client.receive_all() == b''
        wait_until(lambda: is_empty(gateway))
