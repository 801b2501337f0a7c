# -*- coding: utf-8 -*-
"""``/metrics``: each series moves by just what has happened, and is shown to those who may see it (protocol, 10)."""

import os
import socket
import ssl
import subprocess

import pytest

import ws2s
from canary import HELLO, canary
from certificates import server_context, speaking_tls
from fronts import FRAME
from installed import needs
from raw_client import BINARY, RawClient, exchange, frame, upgrade_request
from scrape import changes, request, scrape, text_of, total
from ssh_server import administrative
from targets import closed_port, echo, serving, silence
from test_every_dialect import asking
from tls_client import TlsClient, trusting
from waiting import wait_until
from ways import WAYS, BySsh, Playground, Wisp

pytestmark = [pytest.mark.programs, pytest.mark.usefixtures('no_mistakes')]

TOKEN = 'a-token-of-prometheus-01'
AUTH = {'tokens': [{'name': 'prometheus', 'token': TOKEN, 'metrics': True},
                   {'name': 'grafana', 'token': TOKEN + '2'}]}


def bearer(token):
    return [('Authorization', 'Bearer ' + token)]


def check_with_promtool(text):
    process = subprocess.Popen([needs('promtool', 'prometheus'), 'check', 'metrics'], stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT, close_fds=True)
    output = process.communicate(text.encode('ascii'))[0]
    assert (process.returncode, output) == (0, b'')


def still(gateway):
    """What is counted when all clients but the one who asks have gone."""
    wait_until(lambda: not (gateway.clients or gateway.upstreams or gateway.tunnels.tunnels))
    return scrape(gateway.address)


# -- each way to a target ----------------------------------------------------------------------------------------------

def dialect_of(way):
    return ('wisp' if isinstance(way, Wisp) else 'playground' if isinstance(way, Playground)
            else 'json' if way.name in ('json', 'json tls', 'ssh_host') else 'raw')


def moves_of(way):
    """What one client moves that is greeted by its target."""
    dialect, is_json = dialect_of(way), dialect_of(way) == 'json'
    kind = 'tls' if way.reached else 'ssh' if isinstance(way, BySsh) else 'direct'
    moves = {'ws2s_clients_total{dialect="%s"}' % dialect: 1}
    if way.reached:
        moves['ws2s_dials_total{kind="tls",outcome="failed"}'] = moves['ws2s_failures_total{reason="tls"}'] = 1
        return moves
    moves['ws2s_dials_total{kind="%s",outcome="reached"}' % kind] = 1
    moves['ws2s_dial_seconds_count{kind="%s"}' % kind] = 1
    moves['ws2s_bytes_total{dialect="%s",direction="down"}' % dialect] = len(HELLO)
    if not is_json:
        moves['ws2s_bytes_total{dialect="%s",direction="up"}' % dialect] = 1
    return moves


@pytest.mark.parametrize('way', WAYS, ids=lambda way: way.name)
def test_every_way_moves_just_its_own_series(way, monkeypatch):
    """The first client is greeted, the second refused by a rule that a reload has brought."""
    gateways, start = [], ws2s.Gateway.start
    monkeypatch.setattr(ws2s.Gateway, 'start', lambda gateway: (gateways.append(gateway), start(gateway)))
    with canary([], ['127.0.0.2']) as port, asking(way, '127.0.0.2', port, {}) as ask:
        (gateway,) = gateways
        before = still(gateway)
        assert ask() == way.reached
        after = still(gateway)
        found = {name: value for name, value in changes(before, after).items() if '_bucket' not in name}
        assert found == moves_of(way)
        gateway.reload(gateway.config.replace({'denyTargets': ['127.0.0.2']}))
        assert ask() == 'forbidden'
        found = changes(after, still(gateway))
        was_opened = 'ws2s_clients_total{dialect="%s"}' % dialect_of(way) in found
        if was_opened:
            reached = {name: value for name, value in found.items() if 'clients_total' not in name}
            kind = 'tls' if way.reached else 'ssh' if isinstance(way, BySsh) else 'direct'
            assert reached == {'ws2s_failures_total{reason="forbidden"}': 1,
                               'ws2s_dials_total{kind="%s",outcome="failed"}' % kind: 1}
        else:
            assert found == {'ws2s_refusals_total{status="403"}': 1}


def test_names_of_dialects_are_those_of_the_table_and_others_are_custom(running_gateway):
    class Own(ws2s.Dialect):
        name = 'my own'

    gateway = running_gateway({}, dialects=[(lambda request, config: True, Own)])
    with RawClient(gateway.address) as client:
        client.open()
        found = scrape(gateway.address)
        assert (total(found, 'ws2s_clients', dialect='custom'), total(found, 'ws2s_clients')) == (1, 1)
    assert total(still(gateway), 'ws2s_clients') == 0


# -- bytes -------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize('can_splice', [True, False] if ws2s.CAN_SPLICE else [False])
@pytest.mark.parametrize('path, dialect', [(None, 'json'), ('/?host=127.0.0.1&port=%d', 'raw')])
def test_bytes_are_counted_once_whichever_way_they_go(gateway, monkeypatch, can_splice, path, dialect):
    monkeypatch.setattr(ws2s, 'CAN_SPLICE', can_splice)
    size, pieces = 8000000, 8

    def flood(sock):
        assert sock.recv(1)
        for _ in range(pieces):
            sock.sendall(b'x' * (size // pieces))
        sock.recv(1)

    with serving(flood) as port, RawClient(gateway.address) as client:
        if path:
            client.open(path % port)
        else:
            client.open().connect_to(port, binary=True)
        before = scrape(gateway.address)
        client.send_frame(BINARY, b'g')
        assert len(client.receive_data(size)) == size
        found = changes(before, scrape(gateway.address))
        if ws2s.CAN_SPLICE and can_splice:
            assert gateway.loop.pipes.free is not None or gateway.loop.pipes.lent  # the kernel has carried them
    assert {name: value for name, value in found.items() if 'bytes_total' in name} == {
        'ws2s_bytes_total{dialect="%s",direction="up"}' % dialect: 1,
        'ws2s_bytes_total{dialect="%s",direction="down"}' % dialect: size}


def test_what_is_sent_before_the_target_stands_is_counted_when_it_goes(gateway):
    with serving(echo) as port, RawClient(gateway.address) as client:
        client.open()
        client.send_json(command='connect', host='127.0.0.1', port=port)
        client.send_json(command='send', data='12345')
        assert client.receive_data(5) == b'12345'
        found = scrape(gateway.address)
    assert [total(found, 'ws2s_bytes_total', direction=way) for way in ('up', 'down')] == [5, 5]


def test_held_bytes_are_those_of_the_budget(gateway):
    with serving(silence) as port, RawClient(gateway.address) as client:
        client.open().connect_to(port, binary=True)
        client.send(frame(BINARY, b'x' * 8000000))
        wait_until(lambda: gateway.budget.bytes)
        wait_until(lambda: total(scrape(gateway.address), 'ws2s_held_bytes') > 0)
        assert total(scrape(gateway.address), 'ws2s_held_bytes_limit') == gateway.config['limits.totalBytes']
    assert total(still(gateway), 'ws2s_held_bytes') == 0


# -- dials -------------------------------------------------------------------------------------------------------------

def test_a_client_that_leaves_abandons_its_dial(running_gateway):
    gate = []

    def resolve(host, port):
        wait_until(lambda: gate)
        return ws2s.UNKNOWN_NAME

    gateway = running_gateway({'limits': {'connectSeconds': 30}}, resolve=resolve)
    with RawClient(gateway.address) as client:
        client.open().send_json(command='connect', host='slow.test', port=1)
        wait_until(lambda: gateway.upstreams)
    found = still(gateway)
    gate.append(True)
    assert total(found, 'ws2s_dials_total', kind='direct', outcome='abandoned') == total(found, 'ws2s_dials_total') == 1
    assert total(found, 'ws2s_failures_total') == 0


def test_a_target_by_tls_is_dialled_by_tls(running_gateway, good):
    gateway = running_gateway({'tls': {'allowUnverified': True}})
    with serving(speaking_tls(server_context(good), echo)) as port, RawClient(gateway.address) as client:
        assert client.open().ask(command='connect', host='127.0.0.1', port=port, tls={'verify': False})['success']
        client.send_frame(BINARY, b'123')
        assert client.receive_data(3) == b'123'
        found = scrape(gateway.address)
    assert total(found, 'ws2s_dials_total', kind='tls', outcome='reached') == total(found, 'ws2s_dials_total') == 1
    assert [total(found, 'ws2s_bytes_total', direction=way) for way in ('up', 'down')] == [3, 3]


def test_tls_that_begins_later_is_a_dial_of_its_own(gateway):
    with serving(echo) as port, RawClient(gateway.address) as client:
        client.open().connect_to(port, binary=True)
        assert client.ask(command='starttls')['reason'] == 'tls'
        found = scrape(gateway.address)
    assert total(found, 'ws2s_dials_total', kind='direct', outcome='reached') == 1
    assert total(found, 'ws2s_dials_total', kind='tls', outcome='failed') == 1
    assert total(found, 'ws2s_dials_total') == 2
    assert total(found, 'ws2s_dial_seconds_count') == 1


@pytest.mark.parametrize('reason, host', [('refused', '127.0.0.1'), ('dns', 'unknown.test')])
def test_a_dial_that_fails_is_counted_by_its_reason(running_gateway, reason, host):
    gateway = running_gateway({}, resolve=lambda host, port: ws2s.UNKNOWN_NAME)
    with RawClient(gateway.address) as client:
        assert client.open().ask(command='connect', host=host, port=closed_port())['reason'] == reason
        found = scrape(gateway.address)
    assert total(found, 'ws2s_failures_total', reason=reason) == total(found, 'ws2s_failures_total') == 1
    assert total(found, 'ws2s_dials_total', outcome='failed') == total(found, 'ws2s_dials_total') == 1


def test_a_target_that_resets_is_a_failure_and_one_that_ends_is_none(gateway):
    def end(sock):
        if sock.recv(1) == b'r':
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b'\1\0\0\0\0\0\0\0')

    with serving(end) as port:
        for word, reason in ((b'r', 'reset'), (b'c', 'closed')):
            with RawClient(gateway.address) as client:
                client.open().connect_to(port)
                client.send_frame(BINARY, word)
                assert client.receive_json()['reason'] == reason
    found = still(gateway)
    assert total(found, 'ws2s_failures_total', reason='reset') == total(found, 'ws2s_failures_total') == 1


# -- refusals ----------------------------------------------------------------------------------------------------------

PLAIN = b'GET / HTTP/1.1\r\nHost: x\r\n\r\n'
REFUSED = [
    (400, b'GET / HTTP/1.1\r\n\r\n', {}), (403, upgrade_request('/', headers=[('Origin', 'http://evil.test')]), {}),
    (404, b'GET /none HTTP/1.1\r\nHost: x\r\n\r\n', {}), (405, b'POST / HTTP/1.1\r\nHost: x\r\n\r\n', {}),
    (426, upgrade_request().replace(b'Upgrade: websocket\r\n', b''), {}), (401, upgrade_request(), {'auth': AUTH}),
    (431, b'GET /' + b'x' * 9000 + b' HTTP/1.1\r\n', {}), (408, b'GET', {'limits': {'handshakeSeconds': 0.05}}),
    (500, upgrade_request('/?token=x'), {'raw': {'tokens': os.devnull + '/x'}})]


@pytest.mark.parametrize('status, asked, config', REFUSED, ids=[str(row[0]) for row in REFUSED])
def test_a_refusal_is_counted_by_its_status(running_gateway, monkeypatch, status, asked, config):
    monkeypatch.setattr(ws2s, 'check_settings', lambda config: None)  # what was wrong later only
    gateway = running_gateway(config)
    assert exchange(gateway.address, asked)[0] == status
    headers = bearer(TOKEN) if config.get('auth') else ()
    found = {name: value for name, value in scrape(gateway.address, headers).items() if 'refusals' in name and value}
    assert found == {'ws2s_refusals_total{status="%d"}' % status: 1}


def test_a_client_for_which_there_is_no_place_is_counted(running_gateway):
    gateway = running_gateway({'limits': {'clients': 1}})
    with RawClient(gateway.address) as client:
        client.open()
        assert exchange(gateway.address, upgrade_request())[0] == 503
        assert total(scrape(gateway.address), 'ws2s_refusals_total', status='503') == 1


def test_who_is_closed_without_an_answer_is_counted(running_gateway):
    gateway = running_gateway({'listen': [{'port': 0, 'proxyProtocol': True}, {'port': 0, 'metrics': True}],
                               'trustedProxies': ['127.0.0.2']})
    counts = gateway.entrance.listeners[1].sock.getsockname()
    for source in ('127.0.0.1', '127.0.0.2'):  # none of the proxies, and one that says nothing of its client
        with RawClient(gateway.address, source=source) as client:
            client.send(b'x' * 200)
            assert wait_until(client.is_ended)
    found = scrape(counts)
    assert total(found, 'ws2s_refusals_total', status='none') == total(found, 'ws2s_refusals_total') == 2


# -- who may see it ----------------------------------------------------------------------------------------------------

def status_of(address, **parameters):
    return exchange(address, request(**parameters))[0]


def test_counts_are_valid_and_small(gateway):
    text = text_of(gateway.address)
    assert len(text) < 16384
    check_with_promtool(text)


def test_head_has_no_body(gateway):
    status, headers, body = exchange(gateway.address, request().replace(b'GET', b'HEAD'))
    assert (status, body) == (200, b'') and int(headers['content-length']) > 1000
    assert not [name for name in headers if name.startswith('access-control')]


def test_a_health_check_by_options_is_answered_there_as_everywhere(gateway):
    assert exchange(gateway.address, request().replace(b'GET', b'OPTIONS'))[0] == 204


@pytest.mark.parametrize('headers', [[('X-Forwarded-For', '127.0.0.1')], [('Origin', 'http://localhost')],
                                     [('Connection', 'close')]])
def test_others_find_nothing_there(gateway, headers):
    assert status_of(gateway.address, headers=headers) == 404
    assert exchange(gateway.address, request().replace(b'127.0.0.1', b'evil.test'))[0] == 404


def test_a_trusted_proxy_of_this_machine_sees_nothing_and_neither_does_its_client(running_gateway):
    gateway = running_gateway({'trustedProxies': ['127.0.0.1']})
    assert status_of(gateway.address) == 404
    for client in ('127.0.0.1', '192.0.2.7'):
        assert status_of(gateway.address, headers=[('X-Forwarded-For', client)]) == 404


def test_an_identity_needs_the_permission(running_gateway):
    gateway = running_gateway({'auth': AUTH, 'trustedProxies': ['127.0.0.1']})
    assert status_of(gateway.address) == 404
    assert status_of(gateway.address, headers=bearer(TOKEN)) == 200
    assert status_of(gateway.address, headers=bearer(TOKEN) + [('X-Forwarded-For', '192.0.2.7')]) == 200
    assert status_of(gateway.address, headers=bearer(TOKEN + '2')) == 404
    assert status_of(gateway.address, headers=bearer(TOKEN + '3')) == 401


def test_an_identity_sees_counts_under_any_name_on_a_listener_for_counts_too(running_gateway):
    gateway = running_gateway({'auth': AUTH, 'listen': [{'port': 0}, {'port': 0, 'metrics': True}]})
    for listener in gateway.entrance.listeners:
        for headers, status in ((bearer(TOKEN), 200), (bearer(TOKEN + '2'), 404), ([], 404)):
            asked = request(headers=headers).replace(b'127.0.0.1', b'evil.test')
            assert exchange(listener.sock.getsockname(), asked)[0] == status


@pytest.mark.parametrize('asked', [PLAIN, upgrade_request(), b'GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n',
                                   b'OPTIONS /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n', request('/metrics/')])
def test_a_listener_for_counts_shows_nothing_else_and_the_others_show_none(running_gateway, asked):
    gateway = running_gateway({'listen': [{'port': 0}, {'port': 0, 'metrics': True}]})
    address = gateway.entrance.listeners[1].sock.getsockname()
    assert exchange(address, asked)[0] == 404
    assert status_of(gateway.address) == 404
    assert total(scrape(address), 'ws2s_refusals_total', status='404') == 2
    check_with_promtool(text_of(address, headers=[('Connection', 'close')]))


def test_a_listener_for_counts_may_speak_tls(running_gateway, good):
    gateway = running_gateway({'listen': [{'port': 0}, {'port': 0, 'metrics': True, 'tls': True}],
                               'tls': {'certificate': good.path, 'key': good.key}})
    context = trusting(good.path, check_hostname=False, verify_mode=ssl.CERT_NONE)
    with TlsClient(gateway.entrance.listeners[1].sock.getsockname(), context) as client:
        client.send(request())
        assert client.receive_reply()[0] == 200


# As https://nginx.org/en/docs/http/websocket.html has it, and as it passes pages on without a word about WebSockets.
BARE = '''
    map $http_upgrade $connection_upgrade { default upgrade; '' close; }
    server {
        listen 127.0.0.1:%d;
        location / { proxy_pass http://127.0.0.1:%d; %s }
    }
'''
FOR_WEBSOCKETS = 'proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection '


@pytest.mark.independent
@pytest.mark.parametrize('lines', ['', FOR_WEBSOCKETS + '$connection_upgrade;', FOR_WEBSOCKETS + '"upgrade";'])
def test_an_nginx_that_tells_nothing_of_its_clients_passes_no_counts_on(gateway, tmpdir, lines):
    program, port = administrative('nginx', 'nginx'), closed_port()
    tmpdir.join('config').write(FRAME % (BARE % (port, gateway.address[1], lines)))
    process = subprocess.Popen([program, '-p', str(tmpdir) + '/', '-c', str(tmpdir.join('config'))], close_fds=True,
                               stderr=subprocess.PIPE)
    try:
        wait_until(lambda: answers(('127.0.0.1', port)))
        for host in (b'127.0.0.1', b'localhost', b'gw.example.com'):
            asked = request().replace(b'127.0.0.1', host)
            assert exchange(('127.0.0.1', port), asked.replace(b'\r\n\r\n', b'\r\nConnection: close\r\n\r\n'))[0] == 404
    finally:
        process.kill()
        process.communicate()


def answers(address):
    try:
        socket.create_connection(address, 1).close()
        return True
    except (IOError, OSError):
        return False
