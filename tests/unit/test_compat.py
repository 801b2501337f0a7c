# -*- coding: utf-8 -*-
"""Room 1, apart from the poller, which is the event loop's, and UTF-8, which has tests of its own."""
import errno
import json
import os
import socket
import time

import pytest

import ws2s

ADDRESSES = [
    ('127.0.0.1', b'\x7f\0\0\1'), ('0.0.0.0', b'\0\0\0\0'), ('255.255.255.255', b'\xff\xff\xff\xff'),
    ('::', b'\0' * 16), ('::1', b'\0' * 15 + b'\1'), ('::ffff:127.0.0.1', b'\0' * 10 + b'\xff\xff\x7f\0\0\1'),
    ('2001:DB8::a', b'\x20\x01\x0d\xb8' + b'\0' * 11 + b'\x0a'), ('1:2:3:4:5:6:7:8', bytes(bytearray(
        [0, 1, 0, 2, 0, 3, 0, 4, 0, 5, 0, 6, 0, 7, 0, 8]))), (u'10.0.0.1', b'\x0a\0\0\1'),
]

NO_ADDRESSES = [
    '127.1', '127', '0', '2130706433', '0x7f.1', '0x7f.0.0.1', '0177.0.0.1', '017700000001', '127.0.0.01',
    '1.2.3', '1.2.3.4.5', '256.0.0.1', '1.2.3.-4', '127.0.0.1 ', ' 127.0.0.1', '127.0.0.1\n', '127.0.0.1\0',
    '127.0.0.1\0x', '127.0.0.1.', '[::1]', '::1%lo', 'fe80::1%eth0', ':::', '1::2::3', '12345::', '::g',
    '::1\0', '::127.1', '', 'localhost', u'\u2460\u2461\u2466.0.0.1', u'\uff11.0.0.1', u'h\xe9',
    u'127\u30020.0.1', '1' * 10000, None, 7,
]


@pytest.mark.parametrize('text, packed', ADDRESSES, ids=[row[0] for row in ADDRESSES])
def test_standard_spellings_are_addresses(text, packed):
    assert ws2s.packed_address(text) == packed
    assert ws2s.packed_address(ws2s.address_text(packed)) == packed


@pytest.mark.parametrize('text', NO_ADDRESSES, ids=[json.dumps(text)[:24] for text in NO_ADDRESSES])
def test_other_spellings_are_no_addresses(text):
    assert ws2s.packed_address(text) is None


@pytest.mark.parametrize('data, number', [
    (b'\0', 0), (b'\xff', 255), (b'\1\0', 256), (b'\0\0\1', 1), (b'\x80' + b'\0' * 7, 2 ** 63),
    (b'\xff' * 8, 2 ** 64 - 1), (b'\xff' * 512, 2 ** 4096 - 1)], ids=lambda value: None)
def test_bytes_and_numbers_are_big_endian(data, number):
    assert ws2s.to_int(data) == ws2s.to_int(bytearray(data)) == number
    assert ws2s.to_bytes(number, len(data)) == data


def test_integers_of_every_size_are_integers():
    assert all(isinstance(number, ws2s.integer_types) for number in (0, -1, 2 ** 31, 2 ** 64))
    assert not isinstance(1.0, ws2s.integer_types)


def test_monotonic_never_goes_back_when_the_time_of_day_does(monkeypatch):
    seen = []
    with monkeypatch.context() as patch:
        for time_of_day in (2e9, 1e9, 0.0, -5.0, 3e9, 1.0):
            patch.setattr(time, 'time', lambda: time_of_day)
            seen.append(ws2s.monotonic())
    assert seen == sorted(seen)
    assert seen[-1] - seen[0] < 60


def test_monotonic_goes_on():
    began, first = os.times(), ws2s.monotonic()
    while ws2s.monotonic() == first:
        assert sum(os.times()[:2]) - sum(began[:2]) < 5, 'it stands still'
    assert ws2s.monotonic() > first


@pytest.mark.parametrize('number, not_ready', [
    (errno.EAGAIN, True), (errno.EWOULDBLOCK, True), (errno.EINTR, True), (errno.ECONNRESET, False),
    (errno.EPIPE, False), (errno.ENOTCONN, False), (errno.EBADF, False)])
def test_not_ready_is_no_failure(number, not_ready):
    assert ws2s.is_not_ready(socket.error(number, 'said by the kernel')) is not_ready


class TakesAll(object):
    """The two calls of a socket, without one."""

    def __init__(self):
        self.got = b''

    def send(self, data, flags=0):
        self.got += bytearray(data)
        return len(data)

    def sendmsg(self, chunks):
        return sum([self.send(chunk) for chunk in chunks])


class TakesSome(TakesAll):
    """Has room for ``room`` bytes."""

    def __init__(self, room):
        TakesAll.__init__(self)
        self.room = room

    def send(self, data, flags=0):
        if not self.room:
            raise socket.error(errno.EAGAIN, 'full')
        taken = memoryview(data)[:self.room]
        self.room -= len(taken)
        return TakesAll.send(self, taken.tobytes())

    def sendmsg(self, chunks):
        return self.send(b''.join(bytes(chunk) for chunk in chunks))


@pytest.mark.parametrize('room', [1, 5, 6, 7, 1000, 100005, 100006, 200000])
def test_of_a_header_and_much_behind_it_is_sent_what_there_is_room_for(room):
    sock, payload = TakesSome(room), b'x' * 100000
    assert ws2s.send_chunks(sock, (b'header', payload)) == min(room, 100006)
    assert bytes(sock.got) == (b'header' + payload)[:room]
    sock.room = 0
    with pytest.raises(socket.error) as raised:
        ws2s.send_chunks(sock, (b'header', payload))
    assert raised.value.errno == errno.EAGAIN


@pytest.mark.parametrize('chunks', [
    [b'abc'], [bytearray(b'abc')], [memoryview(b'abc')], [b'ab', b'c'],
    [b'a', bytearray(b'b'), memoryview(b'xcx')[1:2]], [memoryview(bytearray(b'ab')), b'c'],
], ids=['bytes', 'bytearray', 'view', 'two', 'all kinds', 'view first'])
def test_chunks_of_all_kinds_are_sent_in_order(chunks):
    sock = TakesAll()
    assert ws2s.send_chunks(sock, chunks) == 3
    assert bytes(sock.got) == b'abc'
