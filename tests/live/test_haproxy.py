# -*- coding: utf-8 -*-
"""Behind haproxy, nginx and Caddy, configured as README.md says: the client is the one that they name."""

import os
import re
import shutil
import tempfile

import pytest

from fronts import NAME, Caddy, Haproxy, Nginx, running
from raw_client import upgrade_request
from targets import echo, serving
from test_listeners import forget_none, lines  # noqa: F401
from waiting import wait_until

pytestmark = [pytest.mark.programs, pytest.mark.independent]

HEADERS = ['send-proxy', 'send-proxy-v2', 'send-proxy-v2-ssl-cn',
           'send-proxy-v2 proxy-v2-options authority,ssl,cert-cn,crc32c,unique-id']
TRUSTED = ['127.0.0.1']


@pytest.fixture
def folder():
    path = tempfile.mkdtemp(dir='/tmp', prefix='ws2s-')
    yield path
    shutil.rmtree(path)


@pytest.fixture(params=[(Haproxy, header) for header in HEADERS] + [(Haproxy, 'unix'), (Nginx,), (Caddy,)],
                ids=HEADERS + ['haproxy by a Unix socket', 'nginx', 'Caddy'])
def front(request, running_gateway, folder):
    """A proxy and the gateway behind it, in which an address may have one WebSocket."""
    kind, listen, options = request.param[0], {'port': 0}, request.param[1:]
    if options == ('unix',):
        listen, options = {'path': os.path.join(folder, 's')}, ()
    if kind is Haproxy:
        listen['proxyProtocol'] = True
    gateway = running_gateway({'listen': listen, 'trustedProxies': TRUSTED, 'limits': {'clientsPerAddress': 1}})
    with running(kind, gateway.address, *options) as server:
        server.gateway = gateway
        yield server


def status_of(front, source, headers=()):
    with front.client(source=source) as client:
        client.send(upgrade_request(front.prefix, NAME, headers))
        return int(client.receive_head().split(b' ')[1])


def test_the_real_client_is_in_the_log_and_in_the_limits(front, lines):  # noqa: F811
    with serving(echo) as port, front.client(source='127.0.0.7') as first, front.client(source='127.0.0.8') as second:
        for client in (first, second):
            client.open(front.prefix).connect_to(port)
            client.send_json(command='send', data='12345')
            assert client.receive_data(5) == b'12345'
        assert status_of(front, '127.0.0.7') == status_of(front, '127.0.0.8') == 503
        assert status_of(front, '127.0.0.9') == 101
    for source in ('127.0.0.7', '127.0.0.8', '127.0.0.9'):
        lines.wait_for(r'^#\d+ %s(:\d+)? has left: ' % re.escape(source))
    lines.wait_for(r'^#\d+ 127\.0\.0\.7(:\d+)? got 503: ')
    wait_until(lambda: not front.gateway.clients)


@pytest.mark.parametrize('kind', [Nginx, Caddy])
def test_what_a_client_says_of_itself_does_not_come_through(running_gateway, lines, kind):  # noqa: F811
    gateway = running_gateway({'trustedProxies': TRUSTED})
    with running(kind, gateway.address) as server:
        for header in (('X-Forwarded-For', '203.0.113.7'), ('Forwarded', 'for=203.0.113.7'), ('Forwarded', 'for="')):
            assert status_of(server, '127.0.0.7', [header]) == 101
    for number in (1, 2, 3):
        lines.wait_for(r'^#%d 127\.0\.0\.7 has left: ' % number)
    forget_none(gateway)


@pytest.mark.parametrize('header', HEADERS[:2])
def test_health_checks_are_answered_and_are_the_proxy_s_own(running_gateway, lines, header):  # noqa: F811
    gateway = running_gateway({'listen': {'port': 0, 'proxyProtocol': True}, 'trustedProxies': TRUSTED})
    with running(Haproxy, gateway.address, header):
        lines.wait_for(r'^#\d+ 127\.0\.0\.1:\d+ got 200: GET /healthz')


def test_a_header_that_a_client_sends_through_the_proxy_is_not_believed(running_gateway, lines):  # noqa: F811
    gateway = running_gateway({'listen': {'port': 0, 'proxyProtocol': True}, 'trustedProxies': TRUSTED})
    with running(Haproxy, gateway.address) as server, server.client(source='127.0.0.7') as client:
        client.send(b'PROXY TCP4 203.0.113.7 203.0.113.7 1 1\r\n' + upgrade_request('/', NAME))
        assert client.receive_head().startswith(b'HTTP/1.1 400 ')
    assert not [line for line in lines.found if '203.0.113.7' in line]
