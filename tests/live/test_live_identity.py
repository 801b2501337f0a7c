# -*- coding: utf-8 -*-
"""Who may come through a real gateway, shown by clients that are not ours; what is never written down; what is slowed
(protocol, 7; security S14, S15)."""

import base64
import hashlib
import json
import os
import pty
import signal
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time

import jwt
import pytest
import websocket

import ws2s
from installed import needs
from program import WS2S, clean_environment, run_to_end, running_program
from raw_client import BINARY, RawClient, exchange, frame, upgrade_request
from service import Service, ended
from targets import closed_port, echo, serving
from waiting import wait_until

pytestmark = [pytest.mark.programs, pytest.mark.usefixtures('no_mistakes')]

TOKEN, OTHER = 'a-token-of-grafana-0123', 'a-token-of-another-4567'
SECRET = 'the secret by which web applications sign'
PASSWORD = u'p\xe4ssword of ann'
ROUNDS = 100000
HASH = 'pbkdf2-sha256$%d$%s$%s' % ((ROUNDS,) + tuple(base64.b64encode(data).decode('ascii') for data in (
    b'salt of ann', hashlib.pbkdf2_hmac('sha256', PASSWORD.encode('utf-8'), b'salt of ann', ROUNDS))))
SENTENCE = b'This gateway is only for those whom it knows: the request must show a valid token or login.'


def offer(token):
    return 'ws2s.bearer.' + base64.urlsafe_b64encode(token.encode('ascii')).decode('ascii').rstrip('=')


def bearer(token):
    return 'Authorization', 'Bearer ' + token


def basic(password=PASSWORD, user=u'ann'):
    return 'Authorization', 'Basic ' + base64.b64encode((user + u':' + password).encode('utf-8')).decode('ascii')


def minted(**claims):
    """A token as a web application makes it."""
    token = jwt.encode(dict({'sub': 'web user', 'exp': int(time.time()) + 600}, **claims), SECRET, algorithm='HS256')
    return token.decode('ascii') if isinstance(token, bytes) else token


def auth(port=None, **changes):
    """A configuration with each way in it; those with rules of their own may go to ``port`` of this machine only."""
    targets = {'targets': ['127.0.0.1:%d' % port]} if port else {}
    return {'auth': dict({
        'tokens': [dict(targets, name='grafana', token=TOKEN), {'name': 'other', 'token': OTHER}],
        'users': [dict(targets, name='ann', password=HASH)], 'jwt': {'secret': SECRET}}, **changes)}


def ask(gateway, *headers, **parts):
    """(status, headers, body) of the answer to an upgrade; what follows a 101 is not waited for."""
    with RawClient(gateway.address) as client:
        client.send(upgrade_request(parts.get('path', '/'), headers=headers))
        head = client.receive_head().decode('latin-1')
        if head.startswith('HTTP/1.1 101 '):
            return 101, dict(line.lower().split(': ', 1) for line in head.split('\r\n')[1:] if line), b''
        client.send(b'')
        return int(head.split()[1]), head, client.receive_all()


def url_of(gateway, path='/'):
    return 'ws://127.0.0.1:%d%s' % (gateway.address[1], path)


# -- who comes in ------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize('headers, path', [
    ([], '/'), ([bearer('x')], '/'), ([bearer(TOKEN[:-1])], '/'), ([], '/?access_token=x'), ([], '/?access_token='),
    ([('Sec-WebSocket-Protocol', offer('x'))], '/'), ([('Sec-WebSocket-Protocol', 'binary')], '/127.0.0.1:1'),
    ([basic('wrong')], '/'), ([basic(user=u'bob')], '/'), ([basic(u'')], '/'), ([bearer(minted(exp=1))], '/'),
    ([bearer(TOKEN), ('Sec-WebSocket-Protocol', offer(OTHER))], '/'),
    ([basic(), ('Sec-WebSocket-Protocol', offer(OTHER))], '/'),
    ([basic('wrong'), ('Sec-WebSocket-Protocol', offer(TOKEN))], '/'), ([], '/127.0.0.1:1'), ([], '/?token=x'),
    ([], '/?address=nonsense'), ([], '/wisp/'), ([('Sec-WebSocket-Protocol', 'wisp-v1')], '/wisp/')])
def test_whoever_shows_nothing_good_gets_one_answer(running_gateway, headers, path):
    status, head, body = ask(running_gateway(auth()), *headers, path=path)
    assert (status, body) == (401, SENTENCE)
    assert 'WWW-Authenticate: Bearer realm="ws2s"\r\nWWW-Authenticate: Basic realm="ws2s", charset="UTF-8"\r\n' in head


def test_two_headers_are_400(running_gateway):
    assert ask(running_gateway(auth()), bearer(TOKEN), bearer(TOKEN))[0] == 400


@pytest.mark.parametrize('shows', [
    {'header': ['Authorization: Bearer ' + TOKEN]}, {'subprotocols': [offer(TOKEN)]},
    {'path': '/?access_token=' + TOKEN}, {'header': ['Authorization: %s' % basic()[1]]},
    {'header': ['Authorization: Bearer ' + TOKEN], 'subprotocols': [offer(TOKEN)], 'path': '/?access_token=' + TOKEN}])
def test_a_client_that_is_not_ours_comes_in_and_goes_where_it_may(running_gateway, shows):
    with serving(echo) as port, serving(echo) as forbidden:
        gateway = running_gateway(auth(port))
        options = dict(shows)
        client = websocket.create_connection(url_of(gateway, options.pop('path', '/')), timeout=20, **options)
        offered = [name.lower() for name in shows.get('subprotocols', ())]  # as that package has it
        assert client.getsubprotocol() == (offered[0] if offered else None)
        for target, code in ((forbidden, 4), (port, 0), (forbidden, 4), (port, 0)):
            client.send(json.dumps({'command': 'connect', 'host': '127.0.0.1', 'port': target}))
            reply = json.loads(client.recv())
            assert reply['code'] == code
            assert code == 0 or 'this identity may not go there' in reply['message']
        client.close()


if sys.version_info[0] > 2:  # as the package websockets has it
    def test_websockets_and_a_web_applications_jwt(running_gateway):
        from websockets_client import WebsocketsClient
        with serving(echo) as port:
            gateway = running_gateway(auth(port))
            for token in (minted(), minted(host='127.0.0.1', port=port), minted(targets=['127.0.0.0/8'])):
                client = WebsocketsClient(url_of(gateway, '/?access_token=' + token))
                client.send_text(json.dumps({'command': 'connect', 'host': '127.0.0.1', 'port': port}))
                assert json.loads(client.receive())['code'] == 0
                client.end()


@pytest.mark.parametrize('algorithm', ['HS256', 'HS384', 'HS512'])
def test_what_pyjwt_makes_is_taken_and_what_it_should_not_have_made_is_not(running_gateway, algorithm):
    gateway = running_gateway(auth(jwt={'secret': SECRET, 'algorithms': [algorithm], 'issuer': 'app',
                                        'audience': 'ws2s'}))
    claims = {'exp': int(time.time()) + 60, 'iss': 'app', 'aud': ['ws2s', 'x'], 'sub': u'\xe4nn', 'nbf': 1}
    for secret, used, change, status in [
            (SECRET, algorithm, {}, 101), (SECRET + 'x', algorithm, {}, 401), (None, 'none', {}, 401),
            (SECRET, algorithm, {'exp': 1}, 401), (SECRET, algorithm, {'nbf': int(time.time()) + 1000}, 401),
            (SECRET, algorithm, {'aud': 'other'}, 401), (SECRET, algorithm, {'iss': 'other'}, 401)]:
        token = jwt.encode(dict(claims, **change), secret, algorithm=used)
        token = token.decode('ascii') if isinstance(token, bytes) else token
        assert ask(gateway, bearer(token))[0] == status


def test_nothing_asks_where_nothing_in_auth_can_let_anybody_in(running_gateway):
    gateway = running_gateway({'auth': {}})
    for headers in ([], [bearer('x')], [bearer('x'), bearer('y')], [('Sec-WebSocket-Protocol', 'binary')]):
        assert ask(gateway, *headers)[0] == 101
    assert ask(gateway, ('Sec-WebSocket-Protocol', offer('x')))[1]['sec-websocket-protocol'] == offer('x').lower()


def test_what_comes_behind_the_request_waits_until_it_is_known_who_it_is(running_gateway):
    with serving(echo) as port:
        gateway = running_gateway(auth(port))
        for header in (bearer(TOKEN), basic()):
            with RawClient(gateway.address) as client:
                client.send(upgrade_request('/127.0.0.1:%d' % port, headers=[header]) + frame(BINARY, b'early'))
                assert client.receive_head().startswith(b'HTTP/1.1 101 ')
                assert client.receive_data(5) == b'early'
                client.close()


# -- where it may go ---------------------------------------------------------------------------------------------------

def test_no_form_of_a_target_passes_the_rules_of_an_identity(running_gateway, tmp_path):
    heard = []
    with serving(heard.append) as forbidden:
        tokens = tmp_path / 'tokens'
        tokens.write_text(u'vm: 127.0.0.1:%d\n' % forbidden)
        gateway = running_gateway(dict(auth(closed_port()), raw={'tokens': str(tokens)}, wisp={'udp': True}),
                                  resolve=lambda host, port: [(socket.AF_INET, ('127.0.0.1', port))])
        for path in ('/127.0.0.1:%d', '/?address=127.0.0.1:%d', '/?host=127.0.0.1&port=%d', '/?token=vm&x=%d',
                     '/[::ffff:127.0.0.1]:%d',
                     '/%%5B::ffff:127.0.0.1%%5D:%d'):
            status, _, body = ask(gateway, bearer(TOKEN), path=path % forbidden)
            assert (status, b'this identity may not go there' in body) == (403, True), path
        with RawClient(gateway.address) as client:
            client.open('/db.test:%d' % forbidden, [bearer(TOKEN)])
            assert client.receive_close() == (1011, 'forbidden')
        with RawClient(gateway.address) as client:
            client.open('/', [bearer(TOKEN)])
            for fields in ({'host': 'db.test'}, {'host': '127.0.0.1'}, {'host': '[::ffff:127.0.0.1]'},
                           {'host': 'localhost'}):
                assert client.ask(command='connect', port=forbidden, **fields)['code'] == 4
            hop = {'ssh_host': '127.0.0.1', 'ssh_port': forbidden, 'ssh_username': 'me', 'ssh_password': 'x'}
            reply = client.ask(command='connect', host='127.0.0.1', port=80, **hop)
            assert (reply['code'], reply['reason']) == (4, 'forbidden')
        with RawClient(gateway.address) as client:
            client.open('/wisp/', [bearer(TOKEN)])
            assert client.receive_frame()[1] == struct.pack('<BII', 3, 0, 16)
            for stream, kind in ((7, 1), (8, 2)):  # TCP and UDP
                client.send_frame(BINARY, struct.pack('<BIBH', 1, stream, kind, forbidden) + b'127.0.0.1')
                assert client.receive_frame()[1] == struct.pack('<BIB', 4, stream, 0x48)
        with RawClient(gateway.address) as client:  # another identity, with the same rules of the gateway
            client.open('/', [bearer(OTHER)]).connect_to(forbidden)
            wait_until(lambda: heard)
    assert len(heard) == 1


# -- passwords ---------------------------------------------------------------------------------------------------------

@pytest.fixture
def slow_hashes(monkeypatch):
    """Hashing a password takes until the event is set."""
    go_on, hash_of_password = threading.Event(), ws2s.hash_of_password

    def hash_slowly(*arguments):
        assert go_on.wait(20)
        return hash_of_password(*arguments)

    monkeypatch.setattr(ws2s, 'hash_of_password', hash_slowly)
    yield go_on
    go_on.set()


def test_others_go_on_while_passwords_are_looked_at(running_gateway, slow_hashes):
    gateway = running_gateway(auth())
    with serving(echo) as port, RawClient(gateway.address) as slow, RawClient(gateway.address) as quick:
        slow.send(upgrade_request(headers=[basic()]))
        wait_until(lambda: gateway.logins._threads)
        quick.open('/', [bearer(TOKEN)]).connect_to(port).send_json(command='send', data='12345')
        assert quick.receive_data(5) == b'12345'
        slow_hashes.set()
        assert slow.receive_head().startswith(b'HTTP/1.1 101 ')


def test_who_leaves_while_its_password_is_looked_at_leaves_nothing(running_gateway, slow_hashes):
    gateway = running_gateway(auth())
    clients = [RawClient(gateway.address) for _ in range(5)]
    for client in clients:
        client.send(upgrade_request(headers=[basic('wrong')]))
    wait_until(lambda: [client.state for client in list(gateway.clients)] == [ws2s.ANSWERING] * 5)
    gateway.abort()
    for client in clients:
        assert client.receive_all() == b''
        client.sock.close()
    slow_hashes.set()


def test_no_more_passwords_wait_than_there_are_places(running_gateway, monkeypatch):
    go_on = threading.Event()
    monkeypatch.setattr(ws2s, 'hash_of_password', lambda *arguments: go_on.wait(20) and 32 * b'x')
    gateway = running_gateway(auth())
    clients = [RawClient(gateway.address) for _ in range(ws2s.PASSWORDS_WAITING)]
    for client in clients:
        client.send(upgrade_request(headers=[basic('wrong')]))
    wait_until(lambda: len(gateway.clients) < 40)  # one address has half of the places
    go_on.set()
    statuses = [client.receive_reply()[0] for client in clients]
    assert statuses.count(401) + statuses.count(503) == len(clients) and statuses.count(503) > 20
    for client in clients:
        client.sock.close()


# -- what is slowed ----------------------------------------------------------------------------------------------------

def test_after_ten_failures_each_answer_to_an_address_takes_a_second(running_gateway):
    gateway = running_gateway(auth())
    for _ in range(10):
        assert ask(gateway, bearer('x'))[0] == 401
    for header, status in ((bearer('x'), 401), (bearer(TOKEN), 101)):
        begun = time.time()
        assert ask(gateway, header)[0] == status
        assert time.time() - begun >= 0.9
    assert exchange(gateway.address, b'GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n')[2] == b'ok'


def test_no_more_than_twenty_wait_so_and_who_goes_gives_its_place_back(running_gateway, monkeypatch):
    monkeypatch.setattr(ws2s, 'HELD_SECONDS', 3600)
    gateway = running_gateway(auth())
    for _ in range(10):
        ask(gateway, basic('wrong'))
    clients = [RawClient(gateway.address) for _ in range(20)]
    for client in clients:
        client.send(upgrade_request(headers=[bearer(TOKEN)]))
    wait_until(lambda: sum(gateway.failures.held.values()) == 20)
    for header in (bearer('x'), bearer(TOKEN), basic()):
        assert ask(gateway, header)[0] == 429
    gateway.abort()
    for client in clients:
        assert client.receive_all() == b''
        client.sock.close()
    wait_until(lambda: not gateway.failures.held)


def test_who_shows_nothing_is_no_failure(running_gateway):
    gateway = running_gateway(auth())
    for _ in range(15):
        assert ask(gateway)[0] == 401
    assert not gateway.failures.slows(ws2s.address_group('127.0.0.1'), gateway.loop.now)


# -- pages -------------------------------------------------------------------------------------------------------------

def status_by_curl(gateway, path, *options):
    command = [needs('curl', 'curl'), '-s', '-o', os.devnull, '-w', '%{http_code}', '-m', '20']
    return int(subprocess.check_output(command + list(options) + ['http://127.0.0.1:%d%s' % (gateway.address[1],
                                                                                             path)]))


def test_pages_ask_only_where_they_are_to(running_gateway, tmp_path):
    (tmp_path / 'index.html').write_text(u'<p>hello</p>')
    open_pages = running_gateway(dict(auth(), web=str(tmp_path)))
    closed_pages = running_gateway(dict(auth(pages=True), web=str(tmp_path)))
    no_pages = running_gateway(dict(auth(pages=True), web=False))
    login = (u'ann:' + PASSWORD).encode('utf-8')
    login = login if str is bytes else login.decode('utf-8')
    for path, status in (('/', 200), ('/index.html', 200), ('/nothing', 404), ('/healthz', 200)):
        assert status_by_curl(open_pages, path) == status
        assert status_by_curl(closed_pages, path) == (200 if path == '/healthz' else 401)
        assert status_by_curl(closed_pages, path, '-I') == (200 if path == '/healthz' else 401)
        assert status_by_curl(closed_pages, path, '-u', login) == status
        assert status_by_curl(closed_pages, path, '-I', '-H', 'Authorization: Bearer ' + TOKEN) == status
        assert status_by_curl(closed_pages, path + '?access_token=' + OTHER) == status
    assert (status_by_curl(no_pages, '/'), status_by_curl(no_pages, '/', '-u', login)) == (401, 200)
    assert exchange(closed_pages.address, b'OPTIONS / HTTP/1.1\r\nHost: x\r\n\r\n')[0] == 204


OFFERED = [{'name': 'a', 'host': 'a.lan'}, {'name': 'b', 'host': 'b.lan'}, {'name': 'ip', 'host': '10.0.0.1'},
           {'name': 'denied', 'host': 'denied.lan'}, {'name': 'own', 'host': '127.0.0.1'}]


# What is shown is made when the test runs: tokens of web applications are good for ten minutes.
@pytest.mark.parametrize('shown, names, is_asked', [
    (lambda: [], [], True), (lambda: [bearer(TOKEN)], ['a', 'ip'], False),
    (lambda: [bearer(OTHER)], ['a', 'b', 'ip'], False), (lambda: [basic()], ['b'], False),
    (lambda: [bearer(minted(targets=['10.0.0.0/8']))], ['ip'], False),
    (lambda: [bearer(minted())], ['a', 'b', 'ip'], False)],
    ids=['nothing', 'token', 'other token', 'user', 'narrow JWT', 'JWT'])
@pytest.mark.parametrize('pages', [False, True])
def test_each_hears_of_the_redis_connections_that_are_open_to_it(running_gateway, shown, names, is_asked, pages):
    ways = auth(pages=pages)
    ways['auth']['tokens'][0]['targets'] = ['a.lan:6379', '10.0.0.0/8']
    ways['auth']['users'][0]['targets'] = ['b.lan:6379']
    gateway = running_gateway(dict(ways, redis={'connections': OFFERED}, denyTargets=['denied.lan'],
                                   allowConnectToServerLocal=False))
    status, _, body = redis_connections(gateway, *shown())
    if pages and is_asked:
        assert (status, body) == (401, SENTENCE)
        return
    found = json.loads(body.decode('ascii'))
    assert ([one['name'] for one in found['connections']], found['wantsIdentity']) == (names, is_asked)


@pytest.mark.parametrize('header', [bearer('x'), basic('wrong')])
def test_who_shows_what_is_not_good_hears_of_no_redis_connection(running_gateway, header):
    gateway = running_gateway(dict(auth(), redis={'connections': OFFERED}))
    assert redis_connections(gateway, header)[::2] == (401, SENTENCE)


def test_what_a_proxy_asks_its_clients_for_is_nothing_to_a_gateway_that_knows_nobody(running_gateway):
    gateway = running_gateway({'redis': {'connections': OFFERED[:1]}})
    status, _, body = redis_connections(gateway, basic())
    assert status == 200 and b'a.lan' in body


def redis_connections(gateway, *headers):
    lines = ['GET /redis-connections.json HTTP/1.1', 'Host: 127.0.0.1'] + ['%s: %s' % pair for pair in headers]
    return exchange(gateway.address, ('\r\n'.join(lines) + '\r\n\r\n').encode('ascii'))


def test_pages_that_nobody_could_see_are_an_error(running_gateway):
    with pytest.raises(ws2s.ConfigError):
        running_gateway({'auth': {'pages': True}})


# -- Wisp --------------------------------------------------------------------------------------------------------------

def wisp_login(gateway, password, *headers):
    """A client that has answered the password extension, and the packet that it got."""
    client = RawClient(gateway.address, timeout=20)
    client.open('/wisp/', (('Sec-WebSocket-Protocol', 'wisp-v2'),) + headers)
    assert client.receive_frame()[1].endswith(struct.pack('<BIB', 2, 1, 1))
    pair = b'\3ann' + password.encode('utf-8')
    client.send_frame(BINARY, struct.pack('<BI', 5, 0) + b'\2\0' + struct.pack('<BI', 2, len(pair)) + pair)
    return client, client.receive_frame()[1]


def test_the_password_extension_of_wisp_asks_auth_users(running_gateway, caplog):
    caplog.set_level('INFO', 'ws2s')
    with serving(echo) as port, serving(echo) as forbidden:
        gateway = running_gateway(auth(port))
        client, answer = wisp_login(gateway, PASSWORD)
        assert answer == struct.pack('<BII', 3, 0, 16)
        client.send_frame(BINARY, struct.pack('<BIBH', 1, 1, 1, forbidden) + b'127.0.0.1')
        assert client.receive_frame()[1] == struct.pack('<BIB', 4, 1, 0x48)
        client.send_frame(BINARY, struct.pack('<BIBH', 1, 2, 1, port) + b'127.0.0.1')
        client.send_frame(BINARY, struct.pack('<BI', 2, 2) + b'hello')
        assert client.receive_frame()[1] == struct.pack('<BI', 2, 2) + b'hello'
        client.close()
        wait_until(lambda: ', identity ann, wisp,' in caplog.text)
    for password in (u'', u'wrong'):
        client, answer = wisp_login(gateway, password)
        assert answer == struct.pack('<BIB', 4, 0, 0xc0) and client.receive_close()[0] == 1008
        client.sock.close()
    assert ' is ann, by user' in caplog.text and 'ssword' not in caplog.text


def test_passwords_of_wisp_are_slowed_with_all_others_and_those_who_leave_leave_nothing(running_gateway, monkeypatch):
    monkeypatch.setattr(ws2s, 'HELD_SECONDS', 3600)
    gateway = running_gateway(auth())
    for _ in range(10):
        client, answer = wisp_login(gateway, u'wrong')
        client.sock.close()
    with RawClient(gateway.address) as client:
        client.open('/wisp/', [('Sec-WebSocket-Protocol', 'wisp-v2')]).receive_frame()
        client.send_frame(BINARY, struct.pack('<BI', 5, 0) + b'\2\0' + struct.pack('<BI', 2, 5) + b'\3annx')
        wait_until(lambda: gateway.failures.held)
    wait_until(lambda: not gateway.failures.held)


# -- certificates and proxies ------------------------------------------------------------------------------------------

EC_KEY = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2']


def openssl(folder, *arguments):
    subprocess.check_output([needs('openssl', 'openssl')] + list(arguments), cwd=str(folder), stderr=subprocess.STDOUT)


@pytest.fixture
def certificates(tmp_path):
    """A folder with those of a server, of an authority of ours and another, and of clients, which are called after who
    has signed them and their name."""
    openssl(tmp_path, 'req', '-x509', '-keyout', 'server.key', '-out', 'server.crt', '-subj', '/CN=localhost',
            '-addext', 'subjectAltName=DNS:localhost', *EC_KEY)
    for authority in ('ours', 'theirs'):
        openssl(tmp_path, 'req', '-x509', '-keyout', authority + '.key', '-out', authority + '.crt', '-subj',
                '/CN=' + authority,
                *EC_KEY)
        for name in ('backup', 'nobody'):
            both = '%s-%s' % (authority, name)
            openssl(tmp_path, 'req', '-new', '-keyout', both + '.key', '-out', 'request', '-subj', '/O=x/CN=' + name,
                    *EC_KEY[:-2])
            openssl(tmp_path, 'x509', '-req', '-in', 'request', '-CA', authority + '.crt', '-CAkey', authority + '.key',
                    '-set_serial', '1', '-days', '2', '-out', both + '.crt')
    return tmp_path


def ask_by_tls(gateway, folder, name=None, headers=()):
    """The status of an upgrade with the certificate of this name; None when TLS ends it."""
    context = ssl.create_default_context(cafile=str(folder / 'server.crt'))
    if name:
        context.load_cert_chain(str(folder / (name + '.crt')), str(folder / (name + '.key')))
    sock = socket.create_connection(gateway.address[:2], 20)
    try:
        sock = context.wrap_socket(sock, server_hostname='localhost')
        sock.sendall(upgrade_request(headers=headers))
        return int(sock.recv(1000).split()[1])
    except (ssl.SSLError, ConnectionError if sys.version_info[0] > 2 else socket.error):
        return None
    finally:
        sock.close()


def test_a_certificate_is_an_identity_by_its_common_name(running_gateway, certificates, caplog):
    caplog.set_level('INFO', 'ws2s')
    tls = {name: str(certificates / path) for name, path in [
        ('certificate', 'server.crt'), ('key', 'server.key'), ('clientCa', 'ours.crt')]}
    gateway = running_gateway(dict(auth(clientCertificates=[{'name': 'backup'}, {'name': 'grafana'}]), tls=tls,
                                   listen=[{'port': 0, 'tls': True}]))
    for name, headers, status in [
            ('ours-backup', (), 101), ('ours-nobody', (), 401), (None, (), 401), (None, [bearer(TOKEN)], 101),
            ('ours-nobody', [bearer(TOKEN)], 401), ('ours-backup', [bearer(TOKEN)], 401), ('theirs-backup', (), None)]:
        assert ask_by_tls(gateway, certificates, name, headers) == status, (name, headers)
    assert ' is backup, by certificate' in caplog.text


def test_a_proxy_names_the_client_where_it_is_trusted(running_gateway, caplog):
    caplog.set_level('INFO', 'ws2s')
    header = 'X-Forwarded-User', 'web user'
    for trusted, status in ((['127.0.0.1'], 101), (['192.0.2.1'], 401), ([], 401)):
        gateway = running_gateway({'auth': {'proxyHeader': header[0]}, 'trustedProxies': trusted})
        assert (ask(gateway, header)[0], ask(gateway)[0]) == (status, 401)
        assert ask(gateway, header, ('X-Forwarded-For', '192.0.2.7'))[0] == status
    assert '192.0.2.7 is web\\x20user, by proxy' in caplog.text


# -- reload ------------------------------------------------------------------------------------------------------------

def test_a_reload_changes_who_may_come_and_those_who_are_there_stay(running_gateway):
    with serving(echo) as port:
        gateway = running_gateway(auth(port))
        with RawClient(gateway.address) as client:
            client.open('/', [bearer(TOKEN)]).connect_to(port)
            changed = dict(auth(tokens=[{'name': 'new', 'token': TOKEN[::-1]}]), allowConnectToServerLocal=True)
            gateway.reload(ws2s.parse_config(json.dumps(changed)))
            wait_until(lambda: gateway.config['auth.tokens'][0].name == 'new')
            assert (ask(gateway, bearer(TOKEN))[0], ask(gateway, bearer(TOKEN[::-1]))[0]) == (401, 101)
            client.send_json(command='send', data='12345')
            assert client.receive_data(5) == b'12345'
            assert client.ask(command='connect', host='127.0.0.1', port=closed_port())['code'] == 4


def test_workers_of_the_service_get_secrets_anew(tmp_path):
    with ended(Service(tmp_path)) as service:
        key = tmp_path / 'home' / 'jwt.key'
        key.write_text(SECRET + u'\n')
        key.chmod(0o600)
        service.configure(auth={'jwt': {'secret': {'file': 'jwt.key'}}, 'users': [{'name': 'ann', 'password': HASH}]})
        service.start()
        before = minted()
        assert ask(service, bearer(before))[0] == 101
        key.write_text(u'another secret, which is as long as it must be')
        service.do('reload')
        for _ in range(4):
            assert (ask(service, bearer(before))[0], ask(service, basic())[0]) == (401, 101)
        service.do('stop')
        assert not any(secret in line for line in service.log for secret in (SECRET, HASH, before))


# -- secrets -----------------------------------------------------------------------------------------------------------

def test_no_credential_is_written_anywhere(tmp_path):
    """Neither to the log at any level, nor where other users of the machine may read."""
    config = dict(auth(), allowConnectToServerLocal=True, log={'level': 'debug'},
                  wisp={'users': {'bob': 'wisp-secret'}})
    token = minted()
    with serving(echo) as port, running_program(config) as program:
        gateway = Gateway(program.address)
        for header, path in [(bearer(TOKEN), '/'), (('Sec-WebSocket-Protocol', offer(TOKEN)), '/127.0.0.1:%d' % port),
                             (basic(), '/'), (bearer(token), '/'), (bearer(token[:-2]), '/'),
                             (basic('guessed-secret'), '/'),
                             (('X-Y', 'z'), '/path?access_token=' + TOKEN),
                             (('X-Y', 'z'), '/p?x=1&access_token=' + token),
                             (('X-Y', 'z'), '/?access_token=guessed-secret'), (bearer('guessed-secret'), '/')]:
            is_bad = 'guessed' in path + header[1] or header in (bearer(token[:-2]), basic('guessed-secret'))
            assert ask(gateway, header, path=path)[0] == (401 if is_bad else 101)
        with open('/proc/%d/cmdline' % program.pid) as file:
            seen = file.read()
        program.signal(signal.SIGTERM)
        assert program.wait() == 0
        seen += '\n'.join(program.lines)
    assert 'identity grafana' in seen and 'identity ann' in seen and 'web user' in seen.replace('\\x20', ' ')
    for secret in (TOKEN, offer(TOKEN)[12:], token, token.split('.')[2], SECRET, basic()[1][6:],
                   basic('guessed-secret')[1][6:],
                   'guessed', 'ssword', HASH, HASH[-44:], 'wisp-secret', 'access_token'):
        assert secret not in seen


class Gateway(object):
    """What ask() needs to know of one in another process."""

    def __init__(self, address):
        self.address = address


# -- the program -------------------------------------------------------------------------------------------------------

@pytest.fixture
def folder(tmp_path):
    """A home with a configuration whose secrets stand elsewhere."""
    (tmp_path / 'jwt.key').write_text(SECRET + u'\n')
    (tmp_path / 'jwt.key').chmod(0o600)
    (tmp_path / 'c.json').write_text(json.dumps({'allowConnectToServerLocal': True, 'auth': {
        'jwt': {'secret': {'file': 'jwt.key'}}, 'tokens': [{'name': 'grafana', 'token': {'env': 'GRAFANA_TOKEN'},
                                                           'targets': ['127.0.0.1:5432']}]}}) + u'\n')
    return tmp_path


def call(folder, *arguments, **environment):
    """(exit status, standard output, standard error) of ws2s.py, called from another folder."""
    environment.setdefault('GRAFANA_TOKEN', TOKEN)
    return run_to_end(['--config', str(folder / 'c.json')] + list(arguments), '/', **environment)


def test_print_config_shows_no_secret_and_cannot_be_read_again(folder):
    status, output, _ = call(folder, '--print-config')
    tree = json.loads(output)['auth']
    assert status == 0 and (tree['tokens'][0]['token'], tree['jwt']['secret']) == ('***', '***')
    assert TOKEN not in output and SECRET not in output
    (folder / 'c.json').write_text(output + u'')
    status, _, errors = call(folder, '--print-config')
    assert status == 2 and '*** stands for a secret, and is none' in errors


@pytest.mark.parametrize('spoil, words', [
    (lambda folder: (folder / 'jwt.key').chmod(0o644), 'jwt.key is not only for its owner'),
    (lambda folder: (folder / 'jwt.key').chmod(0o602), 'jwt.key is not only for its owner'),
    (lambda folder: (folder / 'jwt.key').unlink(), 'jwt.key: No such file or directory'),
    (lambda folder: (folder / 'jwt.key').write_text(u''), 'must be a text that is not empty'),
    (lambda folder: (folder / 'jwt.key').write_text(u'short\n'), 'at least 32 characters'),
    (lambda folder: (folder / 'jwt.key').write_bytes(b'\xff' * 40), 'this is not UTF-8'),
    (lambda folder: ((folder / 'jwt.key').unlink(), os.mkfifo(str(folder / 'jwt.key'), 0o600)),
     'is not only for its owner'),
    (lambda folder: ((folder / 'jwt.key').unlink(), (folder / 'jwt.key').mkdir()), 'jwt.key')])
def test_a_file_of_a_secret_that_is_wrong_is_one_line(folder, spoil, words):
    spoil(folder)
    status, output, errors = call(folder, '--print-config')
    assert (status, output) == (2, '') and errors.count('\n') == 1 and words in errors and '"auth.jwt"' in errors


def test_a_variable_that_is_missing_is_one_line(folder):
    assert 'the variable GRAFANA_TOKEN is not set' in run_to_end(
        ['--config', str(folder / 'c.json'), '--print-config'], str(folder))[2]
    assert 'at least 16 characters' in call(folder, '--print-config', GRAFANA_TOKEN='short')[2]


def test_a_file_of_a_secret_may_be_a_link_and_of_the_group(folder):
    os.rename(str(folder / 'jwt.key'), str(folder / 'real'))
    (folder / 'real').chmod(0o640)
    os.symlink('real', str(folder / 'jwt.key'))
    assert call(folder, '--print-config')[0] == 0


def test_check_tells_what_an_identity_may_reach(folder):
    status, output, _ = call(folder, '--check', '127.0.0.1:5432', '--as', 'grafana')
    assert status == 0 and output.splitlines()[0] == 'grafana, by token:' and 'allowed' in output
    status, output, _ = call(folder, '--check', '127.0.0.1:5433', '--as', 'grafana')
    assert status == 1 and 'no rule of the targets of this identity allows it' in output
    status, _, errors = call(folder, '--check', '127.0.0.1:5433', '--as', 'nobody')
    assert status == 2 and '"auth" knows no nobody' in errors


def test_a_token_that_the_program_mints_opens_a_gateway(folder, running_gateway):
    gateway = running_gateway(auth())
    status, output, _ = call(folder, '--mint-token', 'me', '--targets', '127.0.0.1:1', 'db.lan:80,443', '--hours', '2')
    token = output.strip()
    claims = jwt.decode(token, SECRET, algorithms=['HS256'])
    assert status == 0 and ask(gateway, bearer(token))[0] == 101
    assert (claims['sub'], claims['targets']) == ('me', ['127.0.0.1:1', 'db.lan:80,443'])
    assert 7100 < claims['exp'] - time.time() <= 7200


def hashed(line):
    process = subprocess.Popen([sys.executable, WS2S, '--hash-password'], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, env=clean_environment('/'), close_fds=True)
    output, errors = process.communicate(line)
    return process.returncode, output, errors


def test_a_password_is_utf_8():
    status, output, errors = hashed(b'\xff\xfe\n')
    assert (status, output) == (2, b'') and b'UTF-8' in errors


def test_a_password_is_hashed_from_standard_input(running_gateway):
    status, output, errors = hashed(PASSWORD.encode('utf-8') + b'\nmore\n')
    assert (status, errors) == (0, b'') and output.startswith(b'pbkdf2-sha256$600000$')
    gateway = running_gateway(auth(users=[{'name': 'ann', 'password': output.decode('ascii').strip()}]))
    assert (ask(gateway, basic())[0], ask(gateway, basic(PASSWORD + u'x'))[0]) == (101, 401)
    status, output, errors = run_to_end(['--hash-password'], '/')
    assert (status, output) == (2, '') and 'a password must not be empty' in errors


@pytest.mark.parametrize('again, status', [(b'secret', 0), (b'Secret', 2)])
def test_a_password_is_asked_for_twice_at_a_terminal_and_never_shown(again, status):
    pid, terminal = pty.fork()
    if not pid:
        os.execve(sys.executable, [sys.executable, WS2S, '--hash-password'], clean_environment('/'))
    told, deadline = b'', time.time() + 20
    try:
        for prompt, answer in ((b'Password: ', b'secret'), (b'Once more: ', again)):
            while prompt not in told:
                assert time.time() < deadline, told
                told += os.read(terminal, 1000)
            os.write(terminal, answer + b'\n')
        while b'pbkdf2' not in told and b'ws2s: ' not in told:
            assert time.time() < deadline, told
            told += os.read(terminal, 1000)
        assert os.WEXITSTATUS(os.waitpid(pid, 0)[1]) == status
    finally:
        os.close(terminal)
    assert again not in told and b'secret' not in told
    assert (b'pbkdf2-sha256$600000$' in told) == (status == 0)
