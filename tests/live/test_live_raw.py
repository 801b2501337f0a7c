# -*- coding: utf-8 -*-
"""Raw bytes through a real gateway (protocol, 9): tokens, refusals before the 101, early data, both ends."""

import hashlib
import os
import socket
import struct
import threading
import zlib

import pytest

import ws2s
from raw_client import BINARY, CLOSE, TEXT, RawClient, exchange, frame, upgrade_request
from targets import echo, recorder, released, saying, serving
from waiting import wait_until, wait_until_still

pytestmark = pytest.mark.usefixtures('no_mistakes')

MEGABYTE = 1 << 20


def status(gateway, path, **headers):
    return exchange(gateway.address, upgrade_request(path, headers=tuple(headers.items())))[0]


@pytest.fixture
def tokens(tmp_path):
    path = tmp_path / 'tokens'
    path.write_text(u'# none yet\n')
    return path


@pytest.fixture
def by_token(running_gateway, tokens):
    return running_gateway({'raw': {'tokens': str(tokens)}})


@pytest.mark.parametrize('path', ['/127.0.0.1:%d', '/?address=127.0.0.1:%d', '/websockify/127.0.0.1%%3A%d',
                                  '/?host=127.0.0.1&port=%d', '/?address=localhost:%d'])
def test_bytes_go_both_ways_and_a_servers_first_word_comes_at_once(gateway, path):
    def greet(sock):
        sock.sendall(b'RFB 003.008\n')
        echo(sock)

    with serving(greet) as port, RawClient(gateway.address) as client:
        client.open(path % port)
        assert client.receive_data(12) == b'RFB 003.008\n'
        client.send_frame(BINARY, b'')
        client.send_frame(BINARY, b'ab', final=False)
        client.send_frame(0, b'cd')
        client.send_frame(TEXT, u'\xe9'.encode('utf-8'))
        assert client.receive_data(6) == b'abcd\xc3\xa9'
        client.close()


def test_what_comes_with_the_request_reaches_the_target(gateway):
    heard = []
    goodbye = frame(CLOSE, struct.pack('!H', 1000))
    with serving(recorder(heard)) as port, RawClient(gateway.address) as client:
        client.send(upgrade_request('/127.0.0.1:%d' % port) + frame(BINARY, b'early') + goodbye)
        assert client.receive_head().startswith(b'HTTP/1.1 101 ')
        wait_until(lambda: b''.join(heard) == b'early')


def test_a_token_leads_to_what_its_file_says_now(by_token, tokens):
    def answering(word):
        def answer(sock):
            assert sock.recv(100) == b'early'
            sock.sendall(word)
        return answer

    with serving(answering(b'one')) as one, serving(answering(b'two')) as two:
        for port, word in ((one, b'one'), (two, b'two')):
            tokens.write_text(u'# a comment\nvm: 127.0.0.1:%d\n' % port)
            with RawClient(by_token.address) as client:
                client.send(upgrade_request('/websockify?token=vm') + frame(BINARY, b'early'))
                assert client.receive_head().startswith(b'HTTP/1.1 101 ')
                assert client.receive_data(3) == word
                assert client.receive_close() == (1000, 'closed')
    assert status(by_token, '/?token=other') == 403
    tokens.write_text(u'vm: nonsense\n')
    assert status(by_token, '/?token=vm') == 400
    tokens.write_text(u'vm: 127.0.0.1:1 udp\n')
    assert status(by_token, '/?token=vm') == 403


def test_tokens_may_lie_in_a_folder_of_files(running_gateway, tmp_path):
    (tmp_path / 'a').write_text(u'\ufeffone: 127.0.0.1:1\n')
    (tmp_path / 'b').write_text(u'two: [::1]:1\n')
    gateway = running_gateway({'raw': {'tokens': str(tmp_path), 'hostToken': True}})
    for token in ('one', 'two'):
        with RawClient(gateway.address) as client:
            client.open('/?token=' + token)
            assert client.receive_close() == (1011, 'refused')
    (tmp_path / 'b').write_bytes(b'\xff\n')
    assert status(gateway, '/?token=one') == 500


def test_without_a_file_of_tokens_there_is_no_gateway(running_gateway, tmp_path):
    with pytest.raises(ws2s.ConfigError):
        running_gateway({'raw': {'tokens': str(tmp_path / 'missing')}})


def test_a_name_that_a_rule_denies_is_refused_before_the_101(running_gateway):
    gateway = running_gateway({'denyTargets': ['*.internal']})
    assert status(gateway, '/db.internal:80') == 403


def test_a_target_that_is_not_reached_closes_with_the_reason(gateway):
    with RawClient(gateway.address) as client:
        client.open('/127.0.0.1:1')
        assert client.receive_close() == (1011, 'refused')


def test_a_slow_reader_gets_the_tail_of_a_target_that_has_gone(running_gateway, small_kernel_buffers):
    gateway = running_gateway({'limits': {'drainSeconds': 1}})
    data = os.urandom(MEGABYTE)
    with serving(saying(data)) as port, RawClient(gateway.address, receive_buffer=8192) as client:
        client.open('/127.0.0.1:%d' % port)
        taken = bytearray()
        while len(taken) < len(data):
            wait_until(lambda: True, 1)
            taken += client.receive_data(min(8192, len(data) - len(taken)))
        assert hashlib.sha1(taken).digest() == hashlib.sha1(data).digest()
        assert client.receive_close() == (1000, 'closed')


def test_what_a_client_sends_before_its_close_reaches_the_target(gateway):
    heard = []
    with serving(recorder(heard)) as port, RawClient(gateway.address) as client:
        client.open('/127.0.0.1:%d' % port)
        client.send(frame(BINARY, b'x' * MEGABYTE) + frame(CLOSE, struct.pack('!H', 1000)))
        wait_until(lambda: sum(map(len, heard)) == MEGABYTE)


def test_the_reset_of_a_target_is_no_end(gateway):
    def reset(sock):
        sock.recv(1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))

    with serving(reset) as port, RawClient(gateway.address) as client:
        client.open('/127.0.0.1:%d' % port).send_frame(BINARY, b'x')
        assert client.receive_close() == (1011, 'reset')


def test_a_folder_of_tokens_may_have_other_things_in_it(running_gateway, tmp_path):
    (tmp_path / 'a').write_text(u'one: 127.0.0.1:1\n')
    (tmp_path / '..data').mkdir()
    (tmp_path / 'sub').mkdir()
    (tmp_path / '.a.swp').write_bytes(b'\xff\xfe\x00')
    (tmp_path / '.#a').symlink_to('nowhere')
    gateway = running_gateway({'raw': {'tokens': str(tmp_path)}})
    with RawClient(gateway.address) as client:
        client.open('/?token=one')
        assert client.receive_close() == (1011, 'refused')


def test_a_file_of_tokens_that_stays_the_same_is_read_once(by_token, tokens, monkeypatch):
    reads, read_tokens = [], ws2s.read_tokens
    monkeypatch.setattr(ws2s, 'read_tokens', lambda paths: reads.append(paths) or read_tokens(paths))
    tokens.write_text(u'a: 127.0.0.1:1\n')
    for settled, count in ((3600, 2), (-1, 3), (-1, 3)):  # just written; long ago; and still
        monkeypatch.setattr(ws2s, 'SETTLED_SECONDS', settled)
        for _ in range(2):
            assert status(by_token, '/?token=other') == 403
        assert len(reads) == count
    tokens.write_text(u'other: 127.0.0.1:22\n')
    assert status(by_token, '/?token=a') == 403
    assert len(reads) == 4


def test_a_token_that_is_looked_up_when_the_gateway_stops_is_503(by_token, tokens, monkeypatch):
    go, read_tokens = threading.Event(), ws2s.read_tokens
    monkeypatch.setattr(ws2s, 'read_tokens', lambda paths: go.wait(20) and read_tokens(paths))
    tokens.write_text(u'a: 127.0.0.1:1\n')
    with released(go), RawClient(by_token.address) as client:
        client.send(upgrade_request('/?token=a'))
        wait_until(lambda: any(each.state == ws2s.ANSWERING for each in list(by_token.clients)))
        by_token.drain()
        wait_until(lambda: by_token.draining)
        go.set()
        assert client.receive_head().startswith(b'HTTP/1.1 503 ')


def test_a_compressed_message_waits_for_its_target(running_gateway, small_kernel_buffers):
    gateway = running_gateway({'deflate': {'enabled': True}})
    deflater = zlib.compressobj(9, zlib.DEFLATED, -15)
    coded = deflater.compress(b'\0' * 16000000) + deflater.flush(zlib.Z_SYNC_FLUSH)
    go, count = threading.Event(), []

    def count_late(sock):
        go.wait(20)
        count.append(sum(iter(lambda: len(sock.recv(65536)), 0)))

    with released(go), serving(count_late, receive_buffer=65536) as port, RawClient(gateway.address) as client:
        client.open('/', [('Sec-WebSocket-Extensions', 'permessage-deflate')]).connect_to(port)
        data = bytearray(frame(BINARY, coded[:-4]))
        data[0] |= 0x40
        client.send(bytes(data))
        wait_until_still(lambda: gateway.budget.bytes)
        assert 0 < gateway.budget.bytes < 1000000
        go.set()
        wait_until(lambda: gateway.budget.bytes == 0, 20)
        client.close()
    assert count == [16000000]
