# -*- coding: utf-8 -*-
"""Clients that are slow, cut their messages oddly, or ask for names that hang: nobody else notices."""

import collections
import json
import socket
import struct
import threading
import time

import pytest

import strangers
import ws2s
from census import is_empty
from raw_client import CLOSE, TEXT, RawClient, frame, sendb_frame
from targets import echo, released, serving
from waiting import wait_until

pytestmark = pytest.mark.usefixtures('no_mistakes')

STALL = 0.5  # limits.stallSeconds
PIECES, PIECE = 90, b'x' * 30007


@pytest.mark.usefixtures('small_kernel_buffers')
def test_a_message_that_waits_because_its_target_is_slow_has_not_stalled_and_stops_nobody(running_gateway):
    gateway = running_gateway({'limits': {'stallSeconds': STALL, 'bufferBytes': 1048576}})
    go_on, received = threading.Event(), []

    def take(sock):
        while True:
            data = sock.recv(65536 if go_on.wait(0.01) else 4096)
            received.append(len(data))
            if not data:
                return

    with serving(take, receive_buffer=4096) as port, released(go_on), \
            RawClient(gateway.address, timeout=20) as client, RawClient(gateway.address, timeout=3) as other:
        client.open().connect_to(port)
        other.open()
        sending = threading.Thread(target=client.send, args=(sendb_frame(PIECE) * PIECES,))
        sending.start()
        end = time.time() + 4 * STALL
        while time.time() < end:
            assert other.ask(command='ping')['message'] == 'ping done'
        go_on.set()
        sending.join()
        wait_until(lambda: sum(received) == PIECES * len(PIECE), 20)
        assert client.ask(command='ping')['message'] == 'sendb done'


def test_messages_that_come_one_after_the_other_are_not_one_that_does_not_go_on(running_gateway):
    """Each packet ends a message and begins another: as much is held after it as was before."""
    gateway, message = running_gateway({'limits': {'stallSeconds': 2}}), frame(TEXT, b'{"command": "ping"}')
    with RawClient(gateway.address) as client:
        client.open().send(message[:3])
        for _ in range(20):
            threading.Event().wait(0.15)
            client.send(message[3:] + message[:3])
            assert client.receive_json()['message'] == 'ping done'


@pytest.mark.parametrize('last', [frame(CLOSE, struct.pack('!H', 1000)), frame(3)], ids=['close', 'fault'])
def test_a_dialect_may_hang_up_upon_what_has_come_together_with_the_clients_last_word(running_gateway, last):
    gateway = running_gateway(dialects=strangers.ROWS)
    with RawClient(gateway.address) as client:
        client.open('/mux').send(frame(TEXT, b'nonsense') + last)
        assert client.receive_close() == (1008, 'what is this?')
        client.finish()
    wait_until(lambda: is_empty(gateway))


LOGIN = {'command': 'connect', 'host': 'a.test', 'port': 22, 'ssh_host': 'b.test', 'ssh_username': 'u'}


def test_a_login_with_all_that_may_be_given_is_understood(client):
    """A key, and both passwords as long as they may be."""
    key = '-----BEGIN RSA PRIVATE KEY-----\n%s\n-----END RSA PRIVATE KEY-----' % ('A' * 3200)
    request = [('ssh_private_key', key), ('ssh_password', 'p' * 1000), ('ssh_private_key_password', 'q' * 1000)]
    text = json.dumps(collections.OrderedDict(list(LOGIN.items()) + request))
    client.send_frame(TEXT, text.encode('ascii'))
    assert 'one long text' not in client.receive_json()['message']


@pytest.mark.parametrize('answered', [False, True], ids=['silent', 'quick at first'])
def test_zones_of_one_registry_whose_servers_are_silent_do_not_keep_its_other_names_out(running_gateway, answered):
    """Below co.uk, say, are the names of many owners."""
    go_on, hanging = threading.Event(), []

    def resolve(host, port):
        if host.startswith('slow'):
            hanging.append(host)
            go_on.wait(30)
        return [(socket.AF_INET, ('127.0.0.1', port))]

    gateway = running_gateway({'limits': {'connectSeconds': 3}}, resolve=resolve)
    clients = []
    with serving(echo) as port, released(go_on):
        try:
            names = ['zone%d.co.test' % number for number in range(3)]
            for name in names + ['bank.co.test'] if answered else ():
                with RawClient(gateway.address) as client:
                    client.open().connect_to(port, 'quick.' + name)
            for number in range(30):
                clients.append(RawClient(gateway.address, source='127.0.0.%d' % (2 + number % 3)).open())
                clients[-1].send_json(command='connect', host='slow%d.%s' % (number, names[number % 3]), port=port)
            wait_until(lambda: len(hanging) >= min(30, ws2s.ZONE_LOOKUPS))
            with RawClient(gateway.address) as client:
                client.open().connect_to(port, 'www.bank.co.test')
        finally:
            go_on.set()
            for client in clients:
                client.sock.close()
