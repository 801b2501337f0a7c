# -*- coding: utf-8 -*-
"""Behind nginx, with TLS and below a path, configured as README.md says: everything is as without it."""

import json
import os
import re
import struct

import pytest
import websocket

import ws2s
from census import sessions
from chromium import running_chromium
from fronts import HOST, NAME, PREFIX, recommended, running_nginx
from players import PAGES
from raw_client import BINARY, CLOSE, PING, upgrade_request
from redis_server import running_redis
from targets import saying, serving
from waiting import wait_until

pytestmark = [pytest.mark.programs, pytest.mark.independent]

MEGABYTE = 1024 * 1024
LARGE = 10 * 1000 * 1000
WINDOW = 65536
OPENED = {'opened': True, 'code': 1000, 'wasClean': True, 'extensions': ''}
REFUSED = {'opened': False, 'code': 1006, 'wasClean': False, 'extensions': ''}


@pytest.fixture
def gateway(running_gateway):
    return running_gateway({'web': PAGES, 'allowedHosts': [NAME, 'foreign.test']})


@pytest.fixture
def nginx(gateway):
    with running_nginx(gateway.address) as server:
        yield server


@pytest.fixture
def client(nginx):
    with nginx.client() as raw:
        yield raw.open(PREFIX)


@pytest.fixture(scope='module')
def browser():
    with running_chromium('--ignore-certificate-errors') as running:
        yield running


@pytest.fixture
def page(browser, nginx):
    with browser.page(nginx.url('https')) as own_page:
        yield own_page


def status_of(nginx, request, **options):
    """The status of the reply."""
    with nginx.client(**options) as client:
        client.send(request)
        return int(client.receive_head().split(b' ')[1])


def get(nginx, path):
    """(status, body)"""
    with nginx.client() as client:
        client.send(('GET %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n' % (path, NAME)).encode('ascii'))
        status, _, body = client.receive_reply()
        return status, body


def is_open(gateway):
    return any(session.state == ws2s.OPEN for session in sessions(gateway))


# -- clients -----------------------------------------------------------------------------------------------------------

def test_a_megabyte_in_one_message_comes_back(client):
    data = os.urandom(MEGABYTE)

    def answer(sock):
        received = bytearray()
        while len(received) < MEGABYTE:
            received += sock.recv(65536) or data  # too much, should it end early
        sock.sendall(bytes(received))

    with serving(answer) as port:
        client.connect_to(port, binary=True)
        client.send_frame(BINARY, data)
        assert client.receive_data(MEGABYTE) == data
        client.close()


def test_a_client_that_is_not_ours_is_answered(nginx):
    # Python 2 cannot tell that the certificate is for an address, too.
    client = websocket.create_connection(nginx.url('wss'), timeout=10, http_no_proxy=[HOST],
                                         sslopt={'ca_certs': nginx.certificate, 'check_hostname': False})
    client.send('{"command": "ping"}')
    assert json.loads(client.recv())['success'] is True
    client.close()


@pytest.mark.parametrize('code', [1000, 1001, 3000, 4999])
def test_the_code_of_a_client_that_closes_comes_back(client, code):
    client.send_frame(CLOSE, struct.pack('!H', code))
    assert client.receive_close()[0] == code
    assert client.is_ended()


def test_a_gateway_that_stops_closes_with_1001(gateway, client):
    gateway.drain()
    assert client.receive_close()[0] == 1001
    client.send_frame(CLOSE, struct.pack('!H', 1001))
    assert client.is_ended()


def test_a_client_that_is_cut_off_is_gone_from_the_gateway(gateway, client):
    assert is_open(gateway)
    client.abort()
    wait_until(lambda: not is_open(gateway))


def test_pings_arrive_and_a_client_that_answers_none_is_closed_with_1011(running_gateway):
    gateway = running_gateway({'limits': {'pingSeconds': 0.2}})
    with running_nginx(gateway.address) as nginx, nginx.client() as client:
        client.open(PREFIX)
        assert client.receive_frame() == (PING, b'')
        assert client.receive_close()[0] == 1011


def test_nginx_waits_longer_for_a_silent_gateway_than_pings_are_apart():
    seconds = int(re.search(r'^ +proxy_read_timeout (\d+)s;', recommended(), re.MULTILINE).group(1))
    assert seconds > 2 * ws2s.DEFAULTS['limits.pingSeconds']


# -- who may connect ---------------------------------------------------------------------------------------------------

@pytest.mark.parametrize('host, origin, status', [
    (NAME, None, 101),
    (NAME, 'https://' + NAME, 101),
    (NAME + ':8443', 'https://' + NAME + ':8443', 101),
    (NAME + ':8443', 'https://' + NAME, 403),
    (NAME, 'https://www.' + NAME, 403),
    ('rebound.test', 'https://rebound.test', 403),
    ('192.0.2.1', 'https://192.0.2.1', 101),
    ('192.0.2.1:8443', 'https://192.0.2.1:8443', 101),
    ('192.0.2.1', 'https://192.0.2.2', 403),
    (NAME, 'null', 403),
])
def test_origin_and_host_decide_as_without_nginx(nginx, host, origin, status):
    headers = [('Origin', origin)] if origin else []
    assert status_of(nginx, upgrade_request(PREFIX, host, headers)) == status


@pytest.mark.parametrize('without, status', [
    (('proxy_http_version', 'proxy_set_header Upgrade', 'proxy_set_header Connection'), 426),
    (('proxy_set_header Upgrade', 'proxy_set_header Connection'), 426),
    (('proxy_set_header Upgrade',), 426), (('proxy_set_header Connection',), 400)], ids=['bare', '1.1', '', 'upgrade'])
def test_a_request_that_nginx_has_taken_apart_is_no_page_and_the_cause_is_named(gateway, without, status):
    """B1"""
    with running_nginx(gateway.address, without) as server, server.client() as client:
        last = 'GET / HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n' % NAME  # ends what nginx would keep open
        client.send(upgrade_request(PREFIX, NAME) + last.encode('ascii'))
        assert int(client.receive_head().split(b' ')[1]) == status
        assert b'something in front of the gateway' in client.receive_all()


@pytest.mark.parametrize('trusted, status', [([], 503), (['127.0.0.1'], 101)], ids=['no', 'yes'])
def test_all_clients_count_as_one_address_unless_nginx_is_trusted(running_gateway, trusted, status):
    gateway = running_gateway({'limits': {'clientsPerAddress': 1}, 'trustedProxies': trusted})
    with running_nginx(gateway.address) as nginx, nginx.client() as first:
        first.open(PREFIX)
        assert status_of(nginx, upgrade_request(PREFIX, NAME), source='127.0.0.2') == status


# -- HTTP --------------------------------------------------------------------------------------------------------------

def test_health_and_files_are_below_the_prefix_and_nowhere_else(nginx):
    with open(os.path.join(PAGES, 'scenarios.js'), 'rb') as file:
        script = file.read()
    assert get(nginx, PREFIX + 'scenarios.js') == (200, script)
    status, body = get(nginx, PREFIX + 'healthz')
    assert (status, body.strip()) == (200, b'ok')
    assert get(nginx, '/healthz')[0] == get(nginx, PREFIX + 'none')[0] == 404


HIDDEN = 'GET %shidden HTTP/1.1\r\nHost: %s\r\n\r\n' % (PREFIX, NAME)
CHUNKED = '%x\r\n%s\r\n0\r\n\r\n' % (len(HIDDEN), HIDDEN)
ODD = [
    ('body', ['Content-Length: %d' % len(HIDDEN)], HIDDEN),
    ('chunked body', ['Transfer-Encoding: chunked'], CHUNKED),
    ('body of an upgrade', ['Content-Length: %d' % len(HIDDEN), 'Upgrade: websocket', 'Sec-WebSocket-Version: 13',
                            'Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=='], HIDDEN),
    ('length 00', ['Content-Length: 00'], ''),
    ('length and chunked', ['Content-Length: 4', 'Transfer-Encoding: chunked'], CHUNKED),
    ('two lengths', ['Content-Length: 0', 'Content-Length: %d' % len(HIDDEN)], HIDDEN),
    ('not quite chunked', ['Transfer-Encoding: xchunked'], CHUNKED),
    ('chunked after a tab', ['Transfer-Encoding:\tchunked'], CHUNKED),
]


@pytest.mark.parametrize('headers, body', [row[1:] for row in ODD], ids=[row[0] for row in ODD])
def test_nothing_is_smuggled_in_a_request_of_a_connection_that_is_used_again(nginx, headers, body):
    odd = '\r\n'.join(['GET %shealthz HTTP/1.1' % PREFIX, 'Host: ' + NAME] + headers) + '\r\n\r\n' + body
    with nginx.client() as client:
        client.send(odd.encode('ascii'))
        last = 'GET %shealthz HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n' % (PREFIX, NAME)
        client.send(last.encode('ascii'))
        replies = client.receive_all()
    statuses = [int(status) for status in re.findall(br'HTTP/1\.1 (\d{3}) ', replies)]
    assert 404 not in statuses  # that of what was hidden
    assert len(statuses) == 2 and statuses[1] == 200 or len(statuses) == 1 and statuses[0] in (400, 501)


# -- pages -------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize('host, outcome', [
    ('127.0.0.1', OPENED), ('localhost', OPENED), ('foreign.test', OPENED), ('rebound.test', REFUSED),
], ids=['address', 'localhost', 'name in allowedHosts', 'name that is not'])
def test_a_page_may_connect_to_where_it_came_from_when_that_is_known(browser, nginx, host, outcome):
    with browser.page(nginx.url('https', host)) as page:
        assert page.run('visit', url=nginx.url('wss', host), code=1000) == outcome


def test_a_page_of_another_server_is_refused(browser, nginx, running_gateway):
    other = running_gateway({'web': PAGES})
    with running_nginx(other.address) as server, browser.page(server.url('https', 'foreign.test')) as page:
        assert page.run('visit', url=nginx.url('wss', 'foreign.test'), code=1000) == REFUSED


def test_a_page_sees_1001_when_the_gateway_stops(page, gateway, nginx):
    result = page.begin('visit', url=nginx.url('wss'), code=None)
    wait_until(lambda: is_open(gateway))
    gateway.drain()
    assert result() == dict(OPENED, code=1001)


@pytest.mark.parametrize('form', ['sendb', 'binary'])
def test_ten_megabytes_of_a_page_arrive_and_come_back(page, nginx, form):
    with running_redis() as redis:
        result = page.run('bulk', url=nginx.url('wss'), form=form, port=redis.port, key='k', size=LARGE)
    assert result['stored'] == '+OK\r\n'
    assert result['sent'] == result['received']


@pytest.mark.parametrize('form', ['sendb', 'binary'])
def test_a_page_that_reads_slowly_never_has_to_hold_more_than_its_window(page, nginx, form):
    flood = os.urandom(MEGABYTE)
    with serving(saying(flood)) as port:
        result = page.run('slowReader', url=nginx.url('wss'), form=form, port=port, window=WINDOW, size=len(flood))
    assert result['most'] == WINDOW
    assert result['closed'] == {'code': 1005, 'wasClean': True}
