# -*- coding: utf-8 -*-
"""What the gateway's port answers to HTTP: refusals, health, the pages of the web folder (protocol, section 4)."""

import hashlib
import json
import os
import re
import socket
import subprocess

import pytest

import ws2s
from census import is_empty
from installed import needs
from raw_client import KEY, TEXT, RawClient, exchange, frame, upgrade_request
from waiting import wait_until


def get(path, *headers):
    return http('GET', path, *headers)


def http(method, path, *headers):
    """A request as bytes; ``path`` may hold any byte."""
    lines = [method + ' ' + path + ' HTTP/1.1', 'Host: 127.0.0.1'] + list(headers)
    text = '\r\n'.join(lines) + '\r\n\r\n'
    return text if isinstance(text, bytes) else text.encode('latin-1')


def byte_by_byte(data):
    return [data[i:i + 1] for i in range(len(data))]


def status_of(address, request):
    """The status of a refusal or answer; it must be one plain sentence, of the length it says."""
    status, headers, body = exchange(address, request)
    if status == 101:
        return status
    assert int(headers['content-length']) == len(body) and headers['connection'].startswith('close')
    assert headers['content-type'] == 'text/plain; charset=utf-8' and headers['x-content-type-options'] == 'nosniff'
    assert body and b'\n' not in body and b'<' not in body
    return status


# -- answers without a web folder --------------------------------------------------------------------------------------

def test_healthz_is_ok(gateway):
    status, headers, body = exchange(gateway.address, get('/healthz'))
    assert (status, body) == (200, b'ok')
    assert headers['connection'] == 'close'


def test_the_root_says_what_this_is(gateway):
    status, _, body = exchange(gateway.address, get('/'))
    assert status == 200 and b'ws2s' in body and b'WebSocket' in body and b'configuration' in body
    assert status_of(gateway.address, get('/?query')) == 200
    assert status_of(gateway.address, get('/ws2s.js')) == 404


@pytest.mark.parametrize('path', ['/', '/healthz', '/nothing'])
def test_head_is_the_answer_to_get_without_its_body(gateway, path):
    status, headers, body = exchange(gateway.address, get(path))
    assert exchange(gateway.address, http('HEAD', path)) == (status, headers, b'')
    assert int(headers['content-length']) == len(body) > 0


UPGRADE = upgrade_request()
REFUSED = [
    ('path that is not there', get('/nothing'), 404),
    ('favicon', get('/favicon.ico'), 404),
    ('POST', http('POST', '/'), 405),
    ('OPTIONS with a body', http('OPTIONS', '/', 'Content-Length: 2') + b'{}', 400),
    ('CONNECT', http('CONNECT', 'x:80'), 405),
    ('upgrade by POST', UPGRADE.replace(b'GET', b'POST'), 405),
    ('upgrade by HEAD', UPGRADE.replace(b'GET', b'HEAD'), 405),
    ('not HTTP', b'hello\r\n\r\n', 400),
    ('TLS', b'\x16\x03\x01\x02\x00', 400),
    ('HTTP/2.0', get('/').replace(b'/1.1', b'/2.0'), 400),
    ('no host', get('/').replace(b'Host', b'X-Host'), 400),
    ('two hosts', get('/', 'Host: two'), 400),
    ('absolute target', get('http://evil/nothing'), 404),
    ('target that is no path', get('nothing'), 400),
    ('star', get('*'), 400),
    ('space in the path', get('/a b'), 400),
    ('NUL in the path', get('/a\0b'), 400),
    ('NUL in a header', get('/', 'X: \0'), 400),
    ('bare LF', get('/').replace(b'\r\n', b'\n'), 400),
    ('bare CR', get('/', 'X: a\rb'), 400),
    ('folded header', get('/', 'X: a', ' b'), 400),
    ('space before the colon', get('/', 'X : a'), 400),
    ('header without a colon', get('/', 'X'), 400),
    ('body', get('/', 'Content-Length: 5') + b'12345', 400),
    ('chunked body', get('/', 'Transfer-Encoding: chunked'), 400),
    ('upgrade by HTTP/1.0', UPGRADE.replace(b'/1.1', b'/1.0'), 400),
    ('upgrade without Connection', UPGRADE.replace(b'Connection:', b'X:'), 400),
    ('upgrade without a host', UPGRADE.replace(b'Host:', b'X:'), 400),
    ('upgrade without a key', UPGRADE.replace(b'Sec-WebSocket-Key', b'X'), 400),
    ('empty key', UPGRADE.replace(KEY.encode('ascii'), b''), 400),
    ('short key', UPGRADE.replace(KEY.encode('ascii'), b'dGhl'), 400),
    ('two keys', upgrade_request(headers=[('Sec-WebSocket-Key', KEY)]), 400),
    ('version 8', UPGRADE.replace(b'Version: 13', b'Version: 8'), 426),
    ('no version', UPGRADE.replace(b'Sec-WebSocket-Version', b'X'), 426),
    # B1: behind a proxy that passes neither header on, and one that makes the request one of HTTP/1.0.
    ('what a proxy leaves', UPGRADE.replace(b'Upgrade: websocket\r\nConnection: Upgrade', b'Connection: close'), 426),
    ('what a proxy of 1.0 leaves', UPGRADE.replace(b'Upgrade: websocket\r\nConnection: Upgrade', b'Connection: close')
     .replace(b'/1.1', b'/1.0'), 426),
    ('upgrade without a word of Upgrade', UPGRADE.replace(b'Upgrade: websocket\r\n', b''), 426),
    ('long request line', get('/' + 'x' * 8192), 431),
    ('request line without end', b'GET /' + b'x' * 100000, 431),
    ('20 KiB of headers', get('/', *['X: ' + 'x' * 1000] * 20), 431),
    ('100 headers', get('/', *['X: x'] * 100), 431),
    ('headers without end', b'GET / HTTP/1.1\r\n' + b'X: x\r\n' * 20000, 431),
]


@pytest.mark.parametrize('request_bytes, status', [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_what_is_refused(gateway, request_bytes, status):
    if b'HEAD' in request_bytes:
        assert exchange(gateway.address, request_bytes)[0] == status
    else:
        assert status_of(gateway.address, request_bytes) == status
    assert status_of(gateway.address, get('/healthz')) == 200
    wait_until(lambda: is_empty(gateway))


ZERO = 'Content-Length: 0'
ODD = [
    ('length 00', get('/healthz', 'Content-Length: 00'), 400),
    ('length +0', get('/healthz', 'Content-Length: +0'), 400),
    ('length of a list', get('/healthz', 'Content-Length: 0, 0'), 400),
    ('length twice', get('/healthz', ZERO, ZERO), 400),
    ('two lengths', get('/healthz', ZERO, 'Content-Length: 44'), 400),
    ('length of what follows', get('/healthz', 'Content-Length: 44'), 400),
    ('chunked', get('/healthz', 'Transfer-Encoding: chunked') + b'0\r\n\r\n', 400),
    ('chunked and length', get('/healthz', ZERO, 'Transfer-Encoding: chunked'), 400),
    ('not quite chunked', get('/healthz', 'Transfer-Encoding: xchunked'), 400),
    ('chunked after a tab', get('/healthz', 'Transfer-Encoding:\tchunked'), 400),
    ('LF', get('/healthz').replace(b'\r\n', b'\n'), 400),
    ('LF before the end', get('/healthz', 'X: y\nZ: z'), 400),
    ('tab in the line', get('/healthz').replace(b' ', b'\t', 1), 400),
    ('keep-alive', get('/healthz', 'Connection: keep-alive'), 200),
    ('two slashes', get('//healthz'), 404),
    ('encoded slash', get('/%2fhealthz'), 404),
    ('encoded name', get('/%2e%2e%2fhealthz'), 404),
    ('upgrade with a length', upgrade_request(headers=[('Content-Length', '44')]), 400),
]


@pytest.mark.parametrize('request_bytes, status', [row[1:] for row in ODD], ids=[row[0] for row in ODD])
def test_an_odd_request_gets_one_reply_and_what_follows_gets_none(gateway, request_bytes, status):
    with RawClient(gateway.address) as client:
        client.send(request_bytes + get('/next') + get('/healthz'))
        reply = client.receive_all()
    head, _, body = reply.partition(b'\r\n\r\n')
    assert reply.count(b'HTTP/1.1 ') == 1 and head.startswith(('HTTP/1.1 %d ' % status).encode('ascii'))
    assert ('Content-Length: %d\r\n' % len(body)).encode('ascii') in head + b'\r\n'
    assert b'\r\nConnection: close' in head
    wait_until(lambda: is_empty(gateway))


# Each is one plain upgrade.
TAKEN = [
    ('length of nothing', upgrade_request(headers=[('Content-Length', '0')])),  # A3
    ('absolute target', upgrade_request('http://127.0.0.1/x')),
    ('empty line before', b'\r\n' + UPGRADE),
    ('upgrade among others', UPGRADE.replace(b'Upgrade: websocket', b'Upgrade: h2c\r\nUPGRADE: WebSocket')),
    ('connection of firefox', UPGRADE.replace(b'Connection: Upgrade', b'Connection: keep-alive, Upgrade')),
    ('empty lists', upgrade_request(headers=[('Sec-WebSocket-Protocol', ''), ('Sec-WebSocket-Extensions', '')])),
    ('latin-1', upgrade_request(headers=[('X-Name', u'Jos\xe9')])),
    ('expectation', upgrade_request(headers=[('Expect', '100-continue')])),
    ('host of nothing', upgrade_request(host='')),
    ('host with a dot', upgrade_request(host='GW.test.:3613')),
    ('host of ipv6', upgrade_request(host='[2001:DB8::1]:3613')),
]


@pytest.mark.parametrize('request_bytes', [row[1] for row in TAKEN], ids=[row[0] for row in TAKEN])
def test_what_proxies_and_libraries_legally_send_is_taken(gateway, request_bytes):
    behind = frame(TEXT, b'{"command": "ping"}')
    for pieces in ([request_bytes, behind], [request_bytes + behind], byte_by_byte(request_bytes + behind)):
        with RawClient(gateway.address) as client:
            for piece in pieces:
                client.send(piece)
            assert client.receive_head().startswith(b'HTTP/1.1 101 ')
            assert client.receive_json()['message'] == 'ping done'
    wait_until(lambda: is_empty(gateway))


CHECKS = [b'OPTIONS / HTTP/1.0\r\n\r\n', b'OPTIONS * HTTP/1.0\r\n\r\n', http('OPTIONS', '*'), http('OPTIONS', '/'),
          http('OPTIONS', '/healthz'), http('OPTIONS', '/nothing', 'Content-Length: 0'), http('OPTIONS', 'http://x')]
PREFLIGHT = ['Access-Control-Request-Method: GET', 'Access-Control-Request-Private-Network: true']


@pytest.mark.parametrize('request_bytes', CHECKS + [
    http('OPTIONS', path, 'Origin: ' + origin, *PREFLIGHT)
    for path in ('/healthz', '/', '*') for origin in ('http://app.test', 'http://evil.test')], ids=repr)
def test_options_is_a_health_check_and_grants_nothing(running_gateway, request_bytes):
    """A18"""
    gateway = running_gateway({'allowedOrigins': ['http://app.test']})
    for pieces in ([request_bytes], [request_bytes + b'junk'], byte_by_byte(request_bytes)):
        with RawClient(gateway.address) as client:
            for piece in pieces:
                client.send(piece)
            assert client.receive_reply() == (204, {'allow': 'GET, HEAD, OPTIONS', 'connection': 'close'}, b'')
    wait_until(lambda: is_empty(gateway))


@pytest.mark.parametrize('check', [b'GET /healthz HTTP/1.0\r\n\r\n', get('http://anything/healthz'),
                                   b'\r\n\r\n' + get('/healthz'), get('/healthz', 'Content-Length: 0'),
                                   b'GET /healthz HTTP/1.1\r\nHost:\r\n\r\n', get('/healthz', 'Expect: 100-continue'),
                                   get('/healthz?from=balancer', 'Connection: keep-alive', 'X-Empty:')], ids=repr)
def test_health_checks_of_all_kinds_are_answered(gateway, check):
    assert exchange(gateway.address, check)[::2] == (200, b'ok')
    assert exchange(gateway.address, check.replace(b'GET', b'HEAD'))[::2] == (200, b'')


@pytest.mark.parametrize('allowed, origin, is_told', [
    ([], 'http://localhost:8000', True), ([], 'https://app.localhost', True), ([], 'https://app.test', False),
    ([], 'null', False), ([], 'file://', False), (['https://app.test'], 'https://app.test', True),
    (['https://app.test'], 'https://APP.test:443', True), (['https://app.test'], 'http://app.test', False),
    (['https://app.test'], 'https://evil.test', False), (['file://'], 'file://', True), (['null'], 'null', True),
    (['*'], 'https://evil.test', True), (['https://app.test'], 'https://app.test.evil.test', False)])
@pytest.mark.parametrize('method', ['GET', 'HEAD'])
def test_health_may_be_read_by_pages_that_may_connect_only(running_gateway, allowed, origin, is_told, method):
    """B5"""
    gateway = running_gateway({'allowedOrigins': allowed})
    status, headers, _ = exchange(gateway.address, http(method, '/healthz', 'Origin: ' + origin))
    told = {name: value for name, value in headers.items() if name.startswith('access-control') or name == 'vary'}
    assert status == 200 and told == ({'access-control-allow-origin': origin, 'vary': 'Origin'} if is_told else {})
    for path in ('/', '/nothing', '/ws2s.js'):
        assert 'access-control-allow-origin' not in exchange(gateway.address, http(
            method, path, 'Origin: ' + origin))[1]


def test_health_of_two_origins_is_400(gateway):
    assert status_of(gateway.address, get('/healthz', 'Origin: null', 'Origin: http://localhost')) == 400


def test_a_refusal_of_a_head_has_no_body(gateway):
    for request_bytes in (UPGRADE, UPGRADE.replace(b'Upgrade: websocket\r\n', b'')):
        assert exchange(gateway.address, request_bytes.replace(b'GET', b'HEAD'))[2] == b''


def test_a_refusal_names_what_would_do(gateway):
    assert exchange(gateway.address, UPGRADE.replace(b': 13', b': 8'))[1]['sec-websocket-version'] == '13'
    assert 'GET' in exchange(gateway.address, http('PUT', '/'))[1]['allow']


@pytest.mark.parametrize('begin', [b'', b'GET / HT', UPGRADE[:-2]], ids=['nothing', 'half a line', 'all but the end'])
def test_a_slow_request_gets_408(running_gateway, begin):
    gateway = running_gateway({'limits': {'handshakeSeconds': 0.3}})
    assert status_of(gateway.address, begin) == 408
    wait_until(lambda: is_empty(gateway))


# -- who may connect ---------------------------------------------------------------------------------------------------

ORIGINS = [
    (None, '127.0.0.1', None),
    ('http://localhost', 'x', None),
    ('http://127.0.0.1:8080', 'evil.test', None),
    ('https://[::1]:1', 'x', None),
    ('http://192.0.2.7:3613', '192.0.2.7:3613', None),
    ('http://gw.test', 'gw.test', None),
    ('http://app.test', 'x', None),
    ('https://app.test:8443', 'x', None),
    ('HTTP://APP.test:80', 'x', None),
    ('http://gw.test.', 'gw.test.', None),
    ('http://app.localhost:3000', 'x', None),
    ('http://rebound.test', 'rebound.test', '"http://rebound.test" in the setting allowedHosts'),
    ('file://', 'x', '"file://" in the setting allowedOrigins'),
    ('app://.', 'x', '"app://." in the setting allowedOrigins'),
    ('chrome-extension://abc', 'x', '"chrome-extension://abc" in the setting allowedOrigins'),
    # C6: a tunnel that rewrites one of the two.
    ('http://localhost:3613', 'name-3613.app.github.dev', None),
    ('https://name-3613.app.github.dev', 'localhost:3613', '"https://name-3613.app.github.dev" in the setting allowed'),
    ('http://evil.test', '127.0.0.1', 'allowedOrigins'),
    ('https://app.test', 'x', 'allowedOrigins'),
    ('http://app.test:81', 'x', 'allowedOrigins'),
    ('http://app.test.evil.test', 'x', 'allowedOrigins'),
    ('http://evilapp.test', 'x', 'allowedOrigins'),
    ('http://sub.app.test', 'x', 'allowedOrigins'),
    ('http://app.test@evil.test', 'x', 'allowedOrigins'),
    ('http://localhost.evil.test', 'x', 'allowedOrigins'),
    ('http://127.0.0.1.evil.test', 'x', 'allowedOrigins'),
    ('http://192.0.2.7:3613', '192.0.2.7', 'allowedOrigins'),
    ('ftp://localhost', 'x', 'allowedOrigins'),
    ('null', 'x', 'allowedOrigins'),
    ('', 'x', 'allowedOrigins'),
]


@pytest.mark.parametrize('origin, host, setting', ORIGINS, ids=['%s at %s' % row[:2] for row in ORIGINS])
def test_who_may_connect(running_gateway, origin, host, setting):
    gateway = running_gateway({'allowedOrigins': ['http://app.test', 'https://app.test:8443'],
                               'allowedHosts': ['gw.test']})
    headers = [] if origin is None else [('Origin', origin)]
    status, _, body = refusal(gateway, upgrade_request(host=host, headers=headers))
    assert status == (403 if setting else 101)
    assert (setting or '').encode('ascii') in body


def refusal(gateway, request):
    """What exchange() gives, without waiting for the end of a WebSocket that is open."""
    with RawClient(gateway.address) as client:
        client.send(request)
        head = client.receive_head()
        if b' 101 ' in head:
            return 101, {}, head
    return exchange(gateway.address, request)


def test_two_origins_get_400(gateway):
    origins = [('Origin', 'http://localhost'), ('Origin', 'http://evil.test')]
    assert status_of(gateway.address, upgrade_request(headers=origins)) == 400


@pytest.mark.parametrize('allowed, origin, status', [
    ('*', 'http://evil.test', 101), ('*', 'null', 101), ('null', 'null', 101), ('null', 'http://evil.test', 403)])
def test_a_star_allows_all_origins_and_null_only_null(running_gateway, allowed, origin, status):
    gateway = running_gateway({'allowedOrigins': [allowed]})
    assert refusal(gateway, upgrade_request(headers=[('Origin', origin)]))[0] == status


@pytest.mark.parametrize('limit', ['clients', 'clientsPerAddress'])
def test_one_client_too_many_gets_503_until_another_has_left(running_gateway, limit):
    gateway = running_gateway({'limits': {limit: 2}})
    with RawClient(gateway.address) as first, RawClient(gateway.address) as second:
        first.open()
        second.open()
        status, _, body = exchange(gateway.address, UPGRADE)
        assert status == 503 and limit.encode('ascii') in body
        assert status_of(gateway.address, get('/healthz')) == 200
        if limit == 'clientsPerAddress':
            with RawClient(gateway.address, source='127.0.0.2') as elsewhere:
                elsewhere.open()
        second.close()
        wait_until(lambda: len(gateway.clients) == 1)
        with RawClient(gateway.address) as third:
            assert third.open()


@pytest.mark.parametrize('request_bytes', [get('/healthz'), UPGRADE, http('OPTIONS', '/')],
                         ids=['healthz', 'upgrade', 'options'])
def test_a_request_that_comes_in_while_draining_gets_503(gateway, heard, request_bytes):
    with RawClient(gateway.address) as client:
        client.send(request_bytes[:20])
        wait_until(lambda: sum(heard) == 20)
        gateway.drain()
        wait_until(lambda: gateway.draining)
        client.send(request_bytes[20:])
        assert client.receive_reply()[0] == 503
    wait_until(lambda: is_empty(gateway))
    with pytest.raises(socket.error):
        RawClient(gateway.address)


# -- the web folder ----------------------------------------------------------------------------------------------------

FILES = {'index.html': b'<p>hello', 'app.js': b'var x;', 'style.css': b'p {}', 'data.json': b'{}', 'evil': b'not evil',
         'picture.svg': b'<svg/>', 'plain': b'\0\1', 'empty.txt': b'', 'sub/index.html': b'<p>sub',
         u'\u00e9 1.txt': b'accent'}


@pytest.fixture
def folder(tmpdir):
    """A web folder with a secret beside it."""
    web = tmpdir.mkdir('web')
    for name, content in FILES.items():
        web.join(name).write_binary(content, ensure=True)
    tmpdir.join('secret.txt').write('SECRET')
    tmpdir.mkdir('web-beside').join('secret.txt').write('SECRET')
    web.join('.hidden').write('SECRET')
    web.mkdir('.git').join('config').write('SECRET')
    os.symlink(str(tmpdir.join('secret.txt')), str(web.join('out.txt')))
    os.symlink(str(tmpdir), str(web.join('up')))
    os.symlink('app.js', str(web.join('within.js')))
    os.symlink('nowhere', str(web.join('broken.js')))
    os.symlink('loop', str(web.join('loop')))
    os.mkfifo(str(web.join('fifo')))
    return web


@pytest.fixture
def site(running_gateway, folder):
    return running_gateway({'web': str(folder)})


@pytest.mark.parametrize('path, name, content_type', [
    ('/', 'index.html', 'text/html; charset=utf-8'),
    ('/?v=1', 'index.html', 'text/html; charset=utf-8'),
    ('/index.html', 'index.html', 'text/html; charset=utf-8'),
    ('/sub/', 'sub/index.html', 'text/html; charset=utf-8'),
    ('/app.js', 'app.js', 'text/javascript; charset=utf-8'),
    ('/%61pp.js', 'app.js', 'text/javascript; charset=utf-8'),
    ('/within.js', 'app.js', 'text/javascript; charset=utf-8'),
    ('/style.css', 'style.css', 'text/css; charset=utf-8'),
    ('/data.json', 'data.json', 'application/json'),
    ('/picture.svg', 'picture.svg', 'image/svg+xml'),
    ('/plain', 'plain', 'application/octet-stream'),
    ('/empty.txt', 'empty.txt', 'text/plain; charset=utf-8'),
    ('/%c3%a9%201.txt', u'\u00e9 1.txt', 'text/plain; charset=utf-8'),
])
def test_a_file_is_served_with_its_type_and_safe_headers(site, path, name, content_type):
    status, headers, body = exchange(site.address, get(path))
    assert (status, body) == (200, FILES[name])
    assert headers['content-type'] == content_type and int(headers['content-length']) == len(body)
    assert headers['x-content-type-options'] == 'nosniff'
    assert "default-src 'self'" in headers['content-security-policy']
    assert exchange(site.address, http('HEAD', path)) == (200, headers, b'')


def test_who_has_a_file_is_told_so_until_it_changes(site, folder):
    folder.join('new.js').write('one ' * 1000)
    status, headers, body = exchange(site.address, get('/new.js'))
    tag = headers['etag']
    assert (status, body) == (200, b'one ' * 1000) and headers['vary'] == 'Accept-Encoding'
    for has in (tag, 'W/' + tag, '"x", ' + tag, '*'):
        status, headers, body = exchange(site.address, get('/new.js', 'If-None-Match: ' + has))
        assert (status, body, headers['etag']) == (304, b'', tag) and 'content-length' not in headers
    folder.join('new.js').write('two ' * 1000)
    status, headers, body = exchange(site.address, get('/new.js', 'If-None-Match: ' + tag))
    assert (status, body) == (200, b'two ' * 1000) and headers['etag'] != tag
    assert exchange(site.address, get('/nothing.js', 'If-None-Match: *'))[0] == 404


def test_curl_unpacks_what_comes_in_gzip_and_gets_no_gzip_unasked(site, folder, tmpdir):
    folder.join('long.js').write('a line of text\n' * 10000)
    url, head = 'http://127.0.0.1:%d/long.js' % site.address[1], str(tmpdir.join('head'))
    for options, is_packed in (([], False), (['--compressed'], True), (['-H', 'Accept-Encoding: gzip;q=0'], False)):
        command = [needs('curl', 'curl'), '-sS', '-m', '20', '-D', head] + options + [url]
        assert subprocess.check_output(command) == b'a line of text\n' * 10000
        fields = tmpdir.join('head').read().lower()
        assert ('content-encoding: gzip' in fields) is is_packed
        assert (int(re.search('content-length: ([0-9]+)', fields).group(1)) < 10000) is is_packed


def test_a_page_that_curl_has_kept_is_not_sent_again(running_gateway, tmpdir):
    gateway = running_gateway({'web': None})
    kept, tag = str(tmpdir.join('page')), str(tmpdir.join('tag'))
    command = [needs('curl', 'curl'), '-sS', '-m', '20', '--compressed', '--etag-save', tag, '--etag-compare', tag,
               '-o', kept, '-w', '%{http_code}', 'http://127.0.0.1:%d/redis.html' % gateway.address[1]]
    assert subprocess.check_output(command) == b'200' and b'<!doctype html>' in tmpdir.join('page').read_binary()
    assert subprocess.check_output(command) == b'304'


@pytest.mark.parametrize('web, offered, status', [(None, 0, 200), (None, 1, 200), (False, 0, 404), (False, 1, 200)])
def test_what_the_redis_page_is_offered_is_told_where_there_is_something_or_it_is_ours(running_gateway, web, offered,
                                                                                       status):
    connections = [{'name': 'a', 'host': 'a.lan', 'colour': 'red'}][:offered]
    gateway = running_gateway({'web': web, 'redis': {'connections': connections}})
    path = '/redis-connections.json'
    found = exchange(gateway.address, get(path))
    assert found[0] == status and exchange(gateway.address, http('HEAD', path)) == found[:2] + (b'',)
    if status == 200:
        told = [{'name': 'a', 'host': 'a.lan', 'port': 6379, 'db': 0, 'colour': 'red'}][:offered]
        assert json.loads(found[2].decode('ascii')) == {'connections': told, 'wantsIdentity': False}
        assert found[1]['content-type'] == 'application/json'


def test_a_folder_may_have_a_file_of_that_name_where_nothing_is_offered(site, folder):
    folder.join('redis-connections.json').write('{}')
    assert exchange(site.address, get('/redis-connections.json'))[::2] == (200, b'{}')


def test_what_the_redis_page_is_offered_is_for_pages_that_may_connect(running_gateway):
    gateway = running_gateway({'web': None, 'redis': {'connections': [{'name': 'a', 'host': 'SECRET.lan'}]}})
    for headers in (['Origin: https://evil.example'], ['Origin: null'], ['Origin: http://a', 'Origin: http://a']):
        status, head, body = exchange(gateway.address, get('/redis-connections.json', *headers))
        assert status in (400, 403) and 'access-control-allow-origin' not in head and b'SECRET' not in body
    rebound = b'GET /redis-connections.json HTTP/1.1\r\nHost: evil.example\r\n\r\n'
    status, _, body = exchange(gateway.address, rebound)
    assert status == 403 and b'"http://evil.example" in the setting allowedHosts' in body
    status, head, body = exchange(gateway.address, get('/redis-connections.json', 'Origin: http://localhost:8000'))
    assert status == 200 and b'SECRET' in body
    assert head['access-control-allow-origin'] == 'http://localhost:8000'


def test_pages_of_a_folder_may_hold_scripts_of_their_own_and_those_of_ws2s_none(site, running_gateway):
    """As vnc.html of noVNC does."""
    policy, own_policy = [exchange(gateway.address, get('/'))[1]['content-security-policy'].split('; ')
                          for gateway in (site, running_gateway({'web': None}))]
    assert policy[0] == "default-src 'self' 'unsafe-inline' 'wasm-unsafe-eval'"
    assert own_policy[0] == "default-src 'self'"
    assert policy[1:] == own_policy[1:]


def test_health_and_websockets_come_before_files(site, folder):
    folder.join('healthz').write('a file')
    assert exchange(site.address, get('/healthz'))[2] == b'ok'
    with RawClient(site.address) as client:
        client.open('/index.html')


@pytest.mark.parametrize('path', [
    '/nothing', '/sub', '/app.js/', '/index.html/x', '/../secret.txt', '/sub/../../secret.txt', '/..', '/../',
    '/%2e%2e/secret.txt', '/%2E%2e%2fsecret.txt', '/..%2fsecret.txt', '/..%5csecret.txt', '/..\\secret.txt',
    '/%252e%252e/secret.txt', '/../web-beside/secret.txt', '/.././web/app.js', '//evil', '//app.js', '/.//app.js',
    '/./app.js', '/app.js%00', '/app.js%00.html', '/%00', '/sub/..%c0%afsecret.txt', '/%c0%ae%c0%ae/secret.txt', '/%ff',
    '/%', '/%zz', '/app.js%', '/app.js%0a', '/.hidden', '/.git/config', '/%2egit/config', '/out.txt', '/up/secret.txt',
    '/up/', '/broken.js', '/loop', '/fifo', '/fifo/', '/app.js:x', '/' + 'x' * 300, '/' + 'x/' * 3000,
    '/\xe9%201.txt', 'http://127.0.0.1/../secret.txt', 'http://127.0.0.1//app.js',
])
def test_no_path_leads_astray(site, path):
    for method in ('GET', 'HEAD'):
        status, headers, body = exchange(site.address, http(method, path))
        assert status == 404 and 'location' not in headers
        assert b'SECRET' not in body and b'secret' not in body
    assert exchange(site.address, get('/app.js'))[2] == FILES['app.js']


def test_a_folder_without_an_index_is_not_listed(site, folder):
    folder.mkdir('bare').join('name.txt').write('x')
    assert exchange(site.address, get('/bare/'))[0] == 404
    folder.join('index.html').remove()
    assert exchange(site.address, get('/'))[0] == 404


MEGABYTE = os.urandom(1 << 20)


@pytest.fixture
def large(folder):
    """A file of 15 MB in the web folder."""
    path = folder.join('large.bin')
    path.write_binary(MEGABYTE * 15)
    yield path
    path.remove()


def stands_full(site):
    return any(client.stream.congested for client in list(site.clients))


def test_a_large_file_reaches_a_slow_reader_whole(site, large):
    with RawClient(site.address, receive_buffer=4096) as client:
        client.send(get('/large.bin'))
        assert client.receive_head().startswith(b'HTTP/1.1 200 ')
        wait_until(lambda: stands_full(site))
        assert 0 < site.budget.bytes <= (15 << 20) + 1024  # its head
        assert exchange(site.address, get('/app.js'))[2] == FILES['app.js']
        received = client.receive_all()
    assert len(received) == 15 << 20
    assert hashlib.sha256(received).digest() == hashlib.sha256(MEGABYTE * 15).digest()


def test_a_reader_that_closes_its_half_gets_the_file_still(site, large):
    with RawClient(site.address) as client:
        client.send(get('/large.bin'))
        client.sock.shutdown(socket.SHUT_WR)
        assert client.receive_reply()[2] == MEGABYTE * 15


@pytest.mark.parametrize('leave', [lambda client: client.abort(), lambda client: client.sock.close()],
                         ids=['RST', 'FIN'])
def test_a_reader_that_leaves_in_the_middle_leaves_nothing(site, large, leave):
    with RawClient(site.address, receive_buffer=4096) as client:
        client.send(get('/large.bin'))
        client.receive_head()
        wait_until(lambda: stands_full(site))
        leave(client)
    wait_until(lambda: is_empty(site))


@pytest.mark.parametrize('change', [lambda file: file.truncate(1 << 20), lambda file: file.write(b'other')],
                         ids=['cut', 'written to'])
def test_a_file_that_changes_while_it_is_sent_is_sent_as_it_was(site, large, change):
    with RawClient(site.address, receive_buffer=4096) as client:
        client.send(get('/large.bin'))
        client.receive_head()
        with open(str(large), 'r+b') as file:
            change(file)
        assert client.receive_all() == MEGABYTE * 15


@pytest.mark.parametrize('more, status', [(0, 200), (1, 500)], ids=['as long as may be', 'a byte longer'])
def test_a_file_is_served_up_to_16_MiB(site, folder, more, status):
    with open(str(folder.join('long')), 'wb') as file:
        file.truncate(ws2s.FILE_BYTES + more)
    found, headers, body = exchange(site.address, get('/long'))
    assert (found, int(headers['content-length'])) == (status, len(body))
    assert len(body) == 1 << 24 if status == 200 else b'16777216' in body
    wait_until(lambda: is_empty(site))
