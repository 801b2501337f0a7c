# -*- coding: utf-8 -*-
"""What an attacker, or bad luck, has once been able to do."""

import errno
import resource
import socket
import threading
import time

import ws2s
from census import is_empty
from raw_client import BINARY, RawClient, TEXT, frame, upgrade_request
from targets import recorder, serving
from waiting import wait_until


def silent_for(seconds):
    """Time is the condition here: the gateway must have slept for longer than its own limits."""
    until = time.time() + seconds
    wait_until(lambda: time.time() >= until)


def black_hole(host, port):
    """A resolve whose address answers no SYN: nothing on loopback does that, so it waits instead."""
    threading.Event().wait(0.5)
    return ws2s.UNKNOWN_NAME


def test_a_gateway_that_was_quiet_for_longer_than_its_limits_serves_the_next_request(running_gateway):
    gateway = running_gateway({'limits': {'handshakeSeconds': 0.5, 'connectSeconds': 0.5}})
    with RawClient(gateway.address) as early:
        early.open()
        silent_for(0.8)
        with RawClient(gateway.address) as late:
            late.send(b'GET /healthz HTTP/1.0\r\n\r\n')
            assert late.receive_head().startswith(b'HTTP/1.1 200 ')
        silent_for(0.8)
        with serving(recorder([])) as port:
            early.connect_to(port)


def test_what_waits_for_a_connect_is_not_counted_when_its_client_and_its_place_are_gone(running_gateway, monkeypatch):
    monkeypatch.setattr(ws2s, 'DRAINING_CONNECTIONS', 3)
    gateway = running_gateway(resolve=black_hole)
    for _ in range(8):
        with RawClient(gateway.address) as client:
            client.open()
            client.send_json(command='connect', host='nowhere.test', port=1)
            client.send_json(command='send', data='x' * 20000)
    wait_until(lambda: is_empty(gateway))


def test_one_client_that_leaves_much_behind_cannot_cut_off_what_another_left(running_gateway, monkeypatch):
    monkeypatch.setattr(ws2s, 'DRAINING_CONNECTIONS', 20)
    gateway = running_gateway({'limits': {'drainSeconds': 20}})
    received, go = [], threading.Event()

    def slow(sock):
        go.wait(20)
        recorder(received)(sock)

    with serving(slow, receive_buffer=4096) as slow_port, serving(lambda sock: go.wait(20)) as mute_port:
        with RawClient(gateway.address, source='127.0.0.2') as honest:
            honest.open().connect_to(slow_port)
            honest.send_frame(BINARY, b'x' * 3000000)
            honest.close()
        with RawClient(gateway.address) as attacker:
            attacker.open()
            for _ in range(60):
                attacker.connect_to(mute_port)
        wait_until(lambda: not gateway.clients)
        go.set()
        wait_until(lambda: received)
    assert received == [b'x' * 3000000]


def test_a_target_sees_a_reset_when_what_was_sent_is_cut_off(running_gateway):
    gateway = running_gateway({'limits': {'drainSeconds': 0.2, 'pingSeconds': 0.3}})
    ends, go = [], threading.Event()
    data = frame(BINARY, b'x' * 50000000)  # made before, or its maker would be silent for too long

    def slow(sock):
        go.wait(20)
        try:
            while sock.recv(65536):
                pass
            ends.append('complete')
        except (IOError, OSError) as error:
            ends.append(error.errno)

    with serving(slow, receive_buffer=4096) as port:
        with RawClient(gateway.address) as client:
            client.open().connect_to(port)
            client.sock.settimeout(0.5)
            try:
                client.send(data)
            except socket.timeout:
                pass  # throttled: more is on its way than the kernel takes
            client.abort()
            wait_until(lambda: not gateway.upstreams)
            go.set()
            wait_until(lambda: ends)
    assert ends == [errno.ECONNRESET]


def test_small_chunks_in_a_queue_take_no_more_than_their_bytes():
    queue = ws2s.OutQueue()
    for _ in range(200000):
        queue.add(b'\x82\x01')
        queue.add(b'x')
    assert len(queue) == 600000 // ws2s.RECEIVE_BYTES + 1
    assert b''.join(bytes(chunk) for chunk in queue) == b'\x82\x01x' * 200000


def test_an_address_of_this_machine_is_not_taken_for_a_strangers_when_descriptors_run_out(running_gateway):
    def owns(packed):
        error = socket.error(errno.EMFILE, 'too many open files')
        raise error

    gateway = running_gateway({'allowConnectToServerLocal': False}, owns=owns)
    with RawClient(gateway.address) as client:
        reply = client.open().ask(command='connect', host='192.0.2.1', port=1)
    assert (reply['code'], reply['reason']) == (1, 'limit')


def test_the_probe_for_own_addresses_raises_when_it_has_no_descriptor():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken = socket.socket()
    resource.setrlimit(resource.RLIMIT_NOFILE, (taken.fileno(), hard))
    try:
        found = ws2s.owns_address(b'\x7f\0\0\1')
    except ws2s.NetworkError as error:
        found = error.errno
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        taken.close()
    assert found == errno.EMFILE


def test_limits_of_months_do_not_end_the_loop(running_gateway):
    gateway = running_gateway({'limits': {'handshakeSeconds': 10 ** 7, 'pingSeconds': 10 ** 7}})
    with RawClient(gateway.address) as silent, RawClient(gateway.address) as client:
        assert silent.sock
        assert client.open().ask(command='ping')['success']


def test_many_rules_by_name_do_not_stop_the_loop(running_gateway):
    rules = ['*.host%d.example' % i for i in range(300)]
    gateway = running_gateway({'allowConnectToServerLocal': False, 'denyTargets': rules})
    with RawClient(gateway.address, timeout=30) as client:
        client.open()
        began = time.time()
        request = frame(TEXT, b'{"command": "connect", "host": "127.0.0.1", "port": 1}')
        client.send(request * 1000)
        assert all(client.receive_json()['code'] == 4 for _ in range(1000))
        assert time.time() - began < 10


def test_files_for_clients_that_have_left_are_closed(running_gateway, tmpdir):
    tmpdir.join('page.html').write('x' * 300000)
    gateway = running_gateway({'web': str(tmpdir)})
    for _ in range(100):
        client = RawClient(gateway.address)
        client.send(b'GET /page.html HTTP/1.0\r\n\r\n')
        client.abort()
    wait_until(lambda: is_empty(gateway))


def test_a_request_for_a_page_does_not_time_out_as_a_handshake(running_gateway, tmpdir, monkeypatch):
    read_file = ws2s.blocking_read_file

    def slow(folder, names):
        threading.Event().wait(0.6)
        return read_file(folder, names)

    monkeypatch.setattr(ws2s, 'blocking_read_file', slow)
    tmpdir.join('page.txt').write('late')
    gateway = running_gateway({'web': str(tmpdir), 'limits': {'handshakeSeconds': 0.2}})
    with RawClient(gateway.address) as client:
        client.send(b'GET /page.txt HTTP/1.0\r\n\r\n')
        assert client.receive_head().startswith(b'HTTP/1.1 200 ')
        assert client.receive_all() == b'late'


def test_one_group_cannot_take_all_places_of_those_who_wait_for_look_ups(running_gateway, monkeypatch):
    monkeypatch.setattr(ws2s, 'LOOKUP_THREADS', 4)
    monkeypatch.setattr(ws2s, 'LOOKUPS_WAITING', 8)
    go = threading.Event()

    def resolve(host, port):
        if host == 'slow.test':
            go.wait(20)
        return [(socket.AF_INET, ('127.0.0.1', port))]

    gateway = running_gateway(resolve=resolve)
    clients = [RawClient(gateway.address).open() for _ in range(12)]
    with serving(recorder([])) as port:
        try:
            for client in clients:
                client.send_json(command='connect', host='slow.test', port=port)
            with RawClient(gateway.address, source='127.0.0.2') as honest:
                honest.open().connect_to(port, host='quick.test')
        finally:
            go.set()
            for client in clients:
                client.abort()


def test_a_gateway_is_started_once(running_gateway):
    gateway = running_gateway()
    try:
        gateway.start()
    except ws2s.ServeError as error:
        assert 'started before' in str(error)
    else:
        raise AssertionError('started twice')


def test_clients_of_pages_share_what_all_may_hold(running_gateway, tmpdir):
    tmpdir.join('big.bin').write('x' * 4000000)
    gateway = running_gateway({'web': str(tmpdir), 'limits': {'totalBytes': 1048576}})
    readers = [RawClient(gateway.address, receive_buffer=4096) for _ in range(30)]
    try:
        for reader in readers:
            reader.send(b'GET /big.bin HTTP/1.0\r\n\r\n')
        wait_until(lambda: len(gateway.clients) < 30)
        wait_until(lambda: gateway.budget.bytes <= 1048576)
        with RawClient(gateway.address) as client:
            client.send(upgrade_request())
            assert client.receive_head().startswith(b'HTTP/1.1 101 ')
            assert client.ask(command='ping')['success']
    finally:
        for reader in readers:
            reader.sock.close()
