# -*- coding: utf-8 -*-
"""Room 4. Every request is fed whole, byte by byte, cut in two anywhere, and with bytes behind it."""
import os
import re

import pytest

import ws2s
from every_split import every_split, shown

GET = b'GET /chat HTTP/1.1'
HOST = b'Host: server.example.com'
# Key and answer of RFC 6455 section 1.3.
KEY = b'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=='
ACCEPT = 's3pPLMBiTxaQ9kYGzzhZRbK+xOo='
UPGRADE = (HOST, b'Upgrade: websocket', b'Connection: Upgrade', KEY, b'Sec-WebSocket-Version: 13')

# As a first frame may follow at once; with an empty line in it, which must not be taken for the head's.
BEHIND = b'\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58\r\n\r\n\0'


PLAIN_SENTENCE = re.compile('[A-Z][ -~]*[.]$')


def head(*lines):
    return b'\r\n'.join(lines) + b'\r\n\r\n'


def name_of(line):
    return line.partition(b':')[0].lower()


def upgrade(swap=(), drop=(), add=(), line=GET):
    """The upgrade of RFC 6455 with lines swapped for those of the same name, dropped by name, added."""
    swaps = dict((name_of(other), other) for other in swap)
    lines = [swaps.get(name_of(other), other) for other in UPGRADE if name_of(other) not in drop]
    return head(line, *(lines + list(add)))


def renamed(change):
    return head(GET, *[change(name_of(line)) + line[len(name_of(line)):] for line in UPGRADE])


def verdict(pieces):
    """The status of a refusal; or what was understood and the bytes behind it; None while more must come."""
    parser = ws2s.RequestParser()
    for i, piece in enumerate(pieces):
        try:
            found = parser.receive(piece)
            if found:
                request, rest = found
                understood = ws2s.accept_key(request) if request.wants_websocket() else request.path
                return understood, rest + b''.join(pieces[i + 1:])
        except ws2s.HttpError as error:
            assert PLAIN_SENTENCE.match(error.sentence)
            return error.status
    return None


def assert_always(data, expected, near=()):
    for behind in (b'', BEHIND):
        for pieces in every_split(data + behind, near):
            outcome = expected if isinstance(expected, int) else (expected, behind)
            assert verdict(pieces) == outcome, shown(pieces)


def refusal(data):
    with pytest.raises(ws2s.HttpError) as caught:
        request, _ = ws2s.RequestParser().receive(data)
        ws2s.accept_key(request)
    return caught.value


def table(rows):
    return pytest.mark.parametrize('data, expected', [row[1:] for row in rows], ids=[row[0] for row in rows])


UPGRADES = [
    ('rfc example', upgrade()),
    ('names in capitals', renamed(bytes.upper)),
    ('names in small letters', renamed(bytes.lower)),
    ('key is the last header', upgrade(drop=[b'sec-websocket-key'], add=[KEY])),
    ('key with spaces behind', upgrade([KEY + b'  \t '])),
    ('key with no space before', upgrade([KEY.replace(b': ', b':')])),
    ('key with tabs before', upgrade([KEY.replace(b': ', b':\t\t ')])),
    ('upgrade in capitals', upgrade([b'Upgrade: WebSocket'])),
    ('upgrade among others', upgrade([b'Upgrade: h2c, websocket'])),
    ('connection of firefox', upgrade([b'Connection: keep-alive, Upgrade'])),
    ('connection in capitals', upgrade([b'Connection: UPGRADE'])),
    ('connection with empty members', upgrade([b'Connection: ,, upgrade ,'])),
    ('connection in two lines', upgrade([b'Connection: keep-alive'], add=[b'Connection: upgrade'])),
    ('utf-8 in a header', upgrade(add=[u'X-Name: Jos\xe9'.encode('utf-8')])),
    ('latin-1 in a header', upgrade(add=[b'X-Name: Jos\xe9', b'Cookie: a=\xff\x80'])),
    ('empty header', upgrade(add=[b'X-Empty:', b'X-Spaces:   '])),
    ('colon in a header', upgrade(add=[b'Origin: http://a.example:80'])),
    ('tab within a header', upgrade(add=[b'X-Tab: a\tb'])),
    ('subprotocols and extensions', upgrade(add=[b'Sec-WebSocket-Protocol: a, b',
                                                 b'Sec-WebSocket-Extensions: permessage-deflate'])),
    ('all letters of a token', upgrade(add=[b"!#$%&'*+-.^_`|~09azAZ: 1"])),
    ('query', upgrade(line=b'GET /chat?a=b%20c&d HTTP/1.1')),
    ('root', upgrade(line=b'GET / HTTP/1.1')),
    ('path with two slashes', upgrade(line=b'GET //any/path HTTP/1.1')),
    ('64 headers', upgrade(add=[b'X: 1'] * 59)),
    ('host with a port', upgrade([b'Host: server.example.com:3613'])),
    ('host of ipv6', upgrade([b'Host: [::1]:3613'])),
    # A3: what proxies and hardware add to an upgrade (RFC 9110 section 8.6: no body, and a zero says so).
    ('length of nothing', upgrade(add=[b'Content-Length: 0'])),
    ('length of nothing before the key', upgrade(drop=[b'sec-websocket-key'], add=[b'Content-Length:0 ', KEY])),
    # RFC 9112 section 2.2
    ('an empty line before', b'\r\n' + upgrade()),
    ('many empty lines before', b'\r\n' * 9 + upgrade()),
    ('absolute target', upgrade(line=b'GET http://server.example.com/chat HTTP/1.1')),
    ('absolute target of websockets', upgrade(line=b'GET WSS://server.example.com:443/chat HTTP/1.1')),
    ('upgrade in two lines', upgrade([b'Upgrade: h2c'], add=[b'upgrade: websocket'])),
    ('upgrade before others', upgrade([b'Upgrade: websocket, h2c'])),
    ('upgrade twice', upgrade([b'Upgrade: websocket, WEBSOCKET'], add=[b'Upgrade: websocket'])),
    ('connection twice', upgrade(add=[b'Connection: Upgrade'])),
    ('connection with tabs', upgrade([b'Connection:\tkeep-alive\t,\tUpgrade\t'])),
    ('subprotocols in two lines', upgrade(add=[b'Sec-WebSocket-Protocol: a', b'Sec-WebSocket-Protocol: ,b,'])),
    ('extensions in two lines', upgrade(add=[b'Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits',
                                             b'Sec-WebSocket-Extensions: x-webkit-deflate-frame'])),
    ('empty lists', upgrade(add=[b'Sec-WebSocket-Protocol:', b'Sec-WebSocket-Extensions: '])),
    ('expectation', upgrade(add=[b'Expect: 100-continue'])),  # of a body that is not there (RFC 9110 section 10.1.1)
    ('version with spaces', upgrade([b'Sec-WebSocket-Version: \t13 '])),
    ('host with a dot at its end', upgrade([b'Host: SERVER.example.com.:3613'])),
    # RFC 9110 section 7.2 and RFC 3986 section 3.2: both parts may be empty.
    ('host with a colon and no port', upgrade([b'Host: server.example.com:'])),
    ('host of nothing', upgrade([b'Host:'])),
]

PAGES = [
    ('get', head(b'GET / HTTP/1.1', HOST), '/'),
    ('head', head(b'HEAD /index.html HTTP/1.1', HOST), '/index.html'),
    ('http 1.0 needs no host', head(b'GET / HTTP/1.0'), '/'),
    ('query is no path', head(b'GET /a/b?c=/d?e HTTP/1.1', HOST), '/a/b'),
    ('upgrade to something else', head(b'GET / HTTP/1.1', HOST, b'Upgrade: h2c'), '/'),
    ('upgrade like websocket', head(b'GET / HTTP/1.1', HOST, b'Upgrade: websockets, xwebsocket'), '/'),
    ('body of no bytes', head(b'GET / HTTP/1.1', HOST, b'Content-Length: 0'), '/'),
    ('empty lines before', b'\r\n\r\n' + head(b'GET /a HTTP/1.1', HOST), '/a'),
    ('expectation', head(b'GET /a HTTP/1.1', HOST, b'Expect: 100-continue'), '/a'),
    # A18: checks of load balancers.
    ('options', head(b'OPTIONS / HTTP/1.1', HOST), '/'),
    ('options of the server', head(b'OPTIONS * HTTP/1.1', HOST), '*'),
    ('options of http 1.0', head(b'OPTIONS / HTTP/1.0'), '/'),
    ('options of the server and http 1.0', head(b'OPTIONS * HTTP/1.0'), '*'),
    ('options of an absolute target', head(b'OPTIONS http://server.example.com HTTP/1.1', HOST), '/'),
    ('options without a body', head(b'OPTIONS /a HTTP/1.1', HOST, b'Content-Length: 0'), '/a'),
    ('head of http 1.0', head(b'HEAD /healthz HTTP/1.0'), '/healthz'),
    ('http 1.0 with a host', head(b'GET /healthz HTTP/1.0', HOST, b'Connection: Keep-Alive'), '/healthz'),
]

MALFORMED = [
    ('tls client hello', b'\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03' + b'\xa5' * 64, 400),
    ('ssh banner', b'SSH-2.0-OpenSSH_9.2\r\n\r\n', 400),
    ('redis', b'*1\r\n$4\r\nPING\r\n\r\n', 400),
    ('http 2 preface', b'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 400),
    ('nul at once', b'\0\0\0\0', 400),
    ('empty lines and an empty header', b'\r\n\r\nX:\r\n\r\n', 400),
    ('bare lf before the request', b'\n' + upgrade(), 400),
    ('bare cr before the request', b'\r' + upgrade(), 400),
    ('bare cr before an empty line', b'\r\r\n' + upgrade(), 400),
    ('proxy protocol 2', b'\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c' + b'\x7f\0\0\1' * 3, 400),
    ('no version', head(b'GET /', HOST), 400),
    ('no method', head(b' / HTTP/1.1', HOST), 400),
    ('three spaces', head(b'GET /a b HTTP/1.1', HOST), 400),
    ('two spaces in a row', head(b'GET  / HTTP/1.1', HOST), 400),
    ('space before the method', head(b' GET / HTTP/1.1', HOST), 400),
    ('space after the version', head(b'GET / HTTP/1.1 ', HOST), 400),
    ('tab for a space', head(b'GET\t/\tHTTP/1.1', HOST), 400),
    ('version in small letters', head(b'GET / http/1.1', HOST), 400),
    ('version 2', head(b'GET / HTTP/2.0', HOST), 400),
    ('version with more digits', head(b'GET / HTTP/1.10', HOST), 400),
    ('method is no token', head(b'G(T / HTTP/1.1', HOST), 400),
    ('method not ascii', head(b'G\xc9T / HTTP/1.1', HOST), 400),
    ('no slash', head(b'GET chat HTTP/1.1', HOST), 400),
    ('target for proxies', head(b'GET * HTTP/1.1', HOST), 400),
    ('head of the server', head(b'HEAD * HTTP/1.1', HOST), 400),
    ('options of a name', head(b'OPTIONS chat HTTP/1.1', HOST), 400),
    ('options of two stars', head(b'OPTIONS ** HTTP/1.1', HOST), 400),
    ('options without a host', head(b'OPTIONS * HTTP/1.1'), 400),
    ('options with a body', head(b'OPTIONS * HTTP/1.1', HOST, b'Content-Length: 2'), 400),
    ('options for a websocket', upgrade(line=b'OPTIONS /chat HTTP/1.1'), 405),
    ('absolute target with a user', upgrade(line=b'GET http://me@server.example.com/ HTTP/1.1'), 400),
    ('absolute target with a bad port', upgrade(line=b'GET http://server.example.com:x/ HTTP/1.1'), 400),
    ('absolute target of another scheme', upgrade(line=b'GET ftp://server.example.com/ HTTP/1.1'), 400),
    ('absolute target and two hosts', upgrade(add=[HOST], line=b'GET http://server.example.com/ HTTP/1.1'), 400),
    ('absolute target and no host', upgrade(drop=[b'host'], line=b'GET http://server.example.com/ HTTP/1.1'), 400),
    ('bare lf everywhere', upgrade().replace(b'\r\n', b'\n'), 400),
    ('bare lf in a header', upgrade(add=[b'X: a\nY: b']), 400),
    ('bare lf after the request line', upgrade().replace(b'\r\n', b'\n', 1), 400),
    ('bare cr everywhere', upgrade().replace(b'\r\n', b'\r') + b'\r\n\r\n', 400),
    ('bare cr in a header', upgrade(add=[b'X: a\rY: b']), 400),
    ('bare cr before a line end', upgrade(add=[b'X: a\r', b'Y: b']), 400),
    ('bare cr at the end of the last header', upgrade(add=[b'X: a\r']), 400),
    ('bare cr as the last header', upgrade(add=[b'\r']), 400),
    ('bare cr after the request line', upgrade(line=GET + b'\r'), 400),
    ('nul in a header', upgrade(add=[b'X: a\0b']), 400),
    ('nul in the target', upgrade(line=b'GET /a\0b HTTP/1.1'), 400),
    ('escape in a header', upgrade(add=[b'X: \x1b[31m']), 400),
    ('delete in a header', upgrade(add=[b'X: \x7f']), 400),
    ('vertical tab in a header', upgrade(add=[b'X: \x0b']), 400),
    ('folded header', upgrade(add=[b'X: a', b' b']), 400),
    ('header folded with a tab', upgrade(add=[b'X: a', b'\tb']), 400),
    ('folded request line', head(GET, b' folded', HOST), 400),
    ('space before a colon', upgrade(add=[b'X : a']), 400),
    ('space before the colon of host', upgrade(drop=[b'host'], add=[b'Host : server.example.com']), 400),
    ('tab before a colon', upgrade(add=[b'X\t: a']), 400),
    ('space in a name', upgrade(add=[b'X Y: a']), 400),
    ('no colon', upgrade(add=[b'nonsense']), 400),
    ('no name', upgrade(add=[b': a']), 400),
    ('name not ascii', upgrade(add=[b'X-\xc3\xa9: a']), 400),
    ('name with a slash', upgrade(add=[b'X/Y: a']), 400),
    ('no host', upgrade(drop=[b'host']), 400),
    ('two hosts', upgrade(add=[b'Host: other.example']), 400),
    ('the same host twice', upgrade(add=[HOST]), 400),
    # RFC 9112 section 3.2: "a Host header field with an invalid field value".
    ('host with a space', upgrade([b'Host: a b']), 400),
    ('host with a path', upgrade([b'Host: a.example/b']), 400),
    ('host with a user', upgrade([b'Host: user@a.example']), 400),
    ('host with a port of letters', upgrade([b'Host: a.example:http']), 400),
    ('host with half a bracket', upgrade([b'Host: [::1']), 400),
    ('host of a name in brackets', upgrade([b'Host: [abc]']), 400),
    ('host of ipv4 in brackets', upgrade([b'Host: [127.0.0.1]']), 400),
    ('host with two colons', upgrade([b'Host: server.example.com::']), 400),
    ('host of two names', upgrade([b'Host: server.example.com, other.example']), 400),
    ('two empty hosts', upgrade([b'Host:'], add=[b'Host:']), 400),
    ('body', head(b'GET / HTTP/1.1', HOST, b'Content-Length: 5'), 400),
    ('body of a negative length', head(b'GET / HTTP/1.1', HOST, b'Content-Length: -1'), 400),
    ('two lengths', head(b'GET / HTTP/1.1', HOST, b'Content-Length: 0', b'Content-Length: 0'), 400),
    ('chunked body', head(b'GET / HTTP/1.1', HOST, b'Transfer-Encoding: chunked'), 400),
    ('upgrade with a body', upgrade(add=[b'Content-Length: 5']), 400),
    ('upgrade with two lengths of nothing', upgrade(add=[b'Content-Length: 0'] * 2), 400),
    ('upgrade with a list of lengths', upgrade(add=[b'Content-Length: 0, 0']), 400),
    ('upgrade with an empty length', upgrade(add=[b'Content-Length:']), 400),
    ('upgrade with an encoding of nothing', upgrade(add=[b'Transfer-Encoding: identity', b'Content-Length: 0']), 400),
    ('upgrade with a chunked body', upgrade(add=[b'Transfer-Encoding: chunked']), 400),
    ('upgrade with http 1.0', upgrade(line=b'GET /chat HTTP/1.0'), 400),
    ('upgrade without connection', upgrade(drop=[b'connection']), 400),
    ('connection without upgrade', upgrade([b'Connection: keep-alive']), 400),
    ('connection like upgrade', upgrade([b'Connection: upgrades']), 400),
    # B1: what is left of an upgrade behind a proxy that does not pass it on (RFC 9110 section 7.8: hop by hop).
    ('upgrade taken away', upgrade(drop=[b'upgrade']), 426),
    ('upgrade and connection taken away', upgrade(drop=[b'upgrade', b'connection']), 426),
    ('upgrade made one of http 1.0', upgrade([b'Connection: close'], [b'upgrade'], line=b'GET / HTTP/1.0'), 426),
    ('upgrade made empty', upgrade([b'Upgrade:', b'Connection:']), 426),
    ('upgrade to h2c with a key', upgrade([b'Upgrade: h2c']), 426),
    ('upgrade with a version', upgrade([b'Upgrade: WebSocket/13']), 426),
    ('only a key is left', head(GET, HOST, KEY), 426),
    ('only a version is left', head(GET, HOST, b'Sec-WebSocket-Version: 13'), 426),
    ('head with what is left', upgrade(drop=[b'upgrade'], line=b'HEAD / HTTP/1.1'), 426),
    ('no key', upgrade(drop=[b'sec-websocket-key']), 400),
    ('empty key', upgrade([b'Sec-WebSocket-Key:']), 400),
    ('two keys', upgrade(add=[KEY]), 400),
    ('key of 15 bytes', upgrade([b'Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAA']), 400),
    ('key of 17 bytes', upgrade([b'Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAAA=']), 400),
    ('key without its padding', upgrade([b'Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA']), 400),
    ('key that is no base64', upgrade([b'Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAA-_==']), 400),
    ('key with a space in it', upgrade([b'Sec-WebSocket-Key: AAAAAAAAAAA AAAAAAAAAA==']), 400),
    ('key not ascii', upgrade([b'Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAA\xe9==']), 400),
    ('two versions', upgrade(add=[b'Sec-WebSocket-Version: 13']), 400),
    ('version 8', upgrade([b'Sec-WebSocket-Version: 8']), 426),
    ('version 14', upgrade([b'Sec-WebSocket-Version: 14']), 426),
    ('version of a list', upgrade([b'Sec-WebSocket-Version: 8, 13']), 426),
    ('version of nothing', upgrade([b'Sec-WebSocket-Version:']), 426),
    ('no websocket version', upgrade(drop=[b'sec-websocket-version']), 426),
    ('post', head(b'POST / HTTP/1.1', HOST), 405),
    ('post upgrade', upgrade(line=b'POST /chat HTTP/1.1'), 405),
    ('head upgrade', upgrade(line=b'HEAD /chat HTTP/1.1'), 405),
    ('connect', head(b'CONNECT server.example.com:80 HTTP/1.1', HOST), 405),
    ('trace', head(b'TRACE / HTTP/1.1', HOST), 405),
    ('options in small letters', head(b'options / HTTP/1.1', HOST), 405),
    ('method in small letters', head(b'get / HTTP/1.1', HOST), 405),
    ('65 headers', upgrade(add=[b'X: 1'] * 60), 431),
]


@table([row + (ACCEPT,) for row in UPGRADES])
def test_upgrade_is_accepted_and_what_follows_stays_untouched(data, expected):
    assert_always(data, expected)


@table(PAGES)
def test_page_is_asked_for_and_what_follows_stays_untouched(data, expected):
    assert_always(data, expected)


@table(MALFORMED)
def test_malformed_is_refused_with_a_status_and_one_plain_sentence(data, expected):
    assert_always(data, expected)


def test_a_parser_tells_what_it_holds():
    parser = ws2s.RequestParser()
    assert parser.held() == 0
    parser.receive(b'G')
    parser.receive(b'ET')
    assert parser.held() == 3


def test_head_is_awaited_to_its_last_byte():
    data = upgrade()
    assert [verdict([data[:i]]) for i in range(len(data))] == [None] * len(data)


def test_request_line_of_8_kib_is_taken_and_a_byte_more_is_431():
    line = b'GET /' + b'a' * (8192 - len(b'GET / HTTP/1.1')) + b' HTTP/1.1'
    assert_always(head(line, HOST), line[4:-9].decode('ascii'), near=[len(line)])
    assert_always(head(line.replace(b'a', b'aa', 1), HOST), 431, near=[len(line)])


def test_headers_of_nearly_16_kib_are_taken_and_more_is_431():
    assert_always(upgrade(add=[b'X: ' + b'a' * 16000]), ACCEPT, near=[16000])
    assert_always(upgrade(add=[b'X: ' + b'a' * 8000] * 2 + [b'Y: ' + b'b' * 400]), 431, near=[16384])


@pytest.mark.parametrize('size', range(16384 - 8, 16384 + 9))
def test_headers_around_the_limit_are_judged_alike_wherever_they_are_cut(size):
    data = head(GET, HOST, b'X: ' + b'a' * (size - len(HOST + b'\r\nX: ')))
    verdicts = set(verdict(pieces) for pieces in every_split(data, near=[len(data)]))
    assert len(verdicts) == 1


@pytest.mark.parametrize('endless, chunk', [
    (b'GET /', b'a'), (head(GET)[:-2] + b'X: ', b'a'), (head(GET)[:-2], b'X: a\r\n')],
    ids=['line', 'header', 'headers'])
def test_head_without_end_is_431_and_not_held(endless, chunk):
    assert verdict([endless] + [chunk * 100] * 300) == 431


@pytest.mark.parametrize('lines', [b'\r\n', b'\r\n\r\n', b'\r\n' * 99 + b'\r'])
def test_empty_lines_before_a_request_are_not_held_and_answered_by_nothing(lines):
    """RFC 9112 section 2.2"""
    for pieces in every_split(lines):
        parser = ws2s.RequestParser()
        assert [parser.receive(piece) for piece in pieces] == [None] * len(pieces)
        assert parser.held() == len(lines) % 2


def test_many_empty_lines_are_passed_over_soon():
    parser, began = ws2s.RequestParser(), sum(os.times()[:2])
    for _ in range(100):
        assert parser.receive(b'\r\n' * 32768) is None
    assert sum(os.times()[:2]) - began < 2
    assert parser.receive(head(GET, HOST))[0].path == '/chat'


MISLED = [
    (upgrade(drop=[b'sec-websocket-key']), 'is missing'),                      # A3
    (upgrade([b'Sec-WebSocket-Key:']), 'is missing'),
    (upgrade([b'Sec-WebSocket-Key: AAAA']), 'not 16 bytes'),
    (upgrade(drop=[b'upgrade', b'connection']), 'in front of the gateway has removed its Upgrade and Connection'),  # B1
    (upgrade(drop=[b'connection']), 'in front of the gateway'),
    (upgrade(line=b'GET / HTTP/1.0'), 'in front of the gateway'),
]


@pytest.mark.parametrize('data, words', MISLED, ids=[words for _, words in MISLED])
def test_refusal_of_half_an_upgrade_says_what_has_become_of_it(data, words):
    assert words in refusal(data).sentence


def test_refusal_of_what_is_left_of_an_upgrade_names_websocket():
    """RFC 9110 section 15.5.22: a 426 has an Upgrade header."""
    error = refusal(upgrade(drop=[b'upgrade']))
    headers = parsed(ws2s.sentence_reply(error.status, error.sentence, error.headers))[1]
    assert headers['upgrade'] == 'websocket' and headers['connection'] == 'close, Upgrade'


def test_reply_to_options_names_methods_and_grants_nothing():
    """A18. RFC 9110 section 8.6: no Content-Length in a 204."""
    assert parsed(ws2s.OPTIONS_REPLY) == (
        'HTTP/1.1 204 No Content', {'allow': 'GET, HEAD, OPTIONS', 'connection': 'close'}, b'')


@pytest.mark.parametrize('byte', [b'\x16', b'\x16\x03', b'\x16\x03\x01\x00'])
def test_tls_is_told_at_its_first_byte_that_this_is_plain(byte):
    assert 'TLS' in refusal(byte).sentence


def test_refusal_of_a_version_names_the_one_that_is_spoken():
    error = refusal(upgrade([b'Sec-WebSocket-Version: 8']))
    assert dict(error.headers)['Sec-WebSocket-Version'] == '13'
    assert dict(error.headers)['Upgrade'] == 'websocket'


@pytest.mark.parametrize('data, allowed', [
    (head(b'DELETE / HTTP/1.1', HOST), 'GET, HEAD, OPTIONS'), (upgrade(line=b'HEAD /chat HTTP/1.1'), 'GET')])
def test_refusal_of_a_method_names_those_that_are_served(data, allowed):
    assert dict(refusal(data).headers)['Allow'] == allowed


def test_request_gives_headers_by_lower_case_name_and_doubles_as_a_list():
    request, _ = ws2s.RequestParser().receive(upgrade(add=[b'Cookie: a=1', b'COOKIE:b=2 ', b'X-Latin: \xe9']))
    assert (request.method, request.target, request.version) == ('GET', '/chat', 'HTTP/1.1')
    assert request.one('host') == 'server.example.com' and request.one('x-latin') == u'\xe9'
    assert request.one('missing') is None
    assert request.all('cookie') == ['a=1', 'b=2'] and request.all('missing') == []
    with pytest.raises(ws2s.HttpError) as caught:
        request.one('cookie')
    assert caught.value.status == 400


SEGMENTS = [
    ('/', ['index.html']), ('/a.js', ['a.js']), ('/a/b/c', ['a', 'b', 'c']), ('/a/', ['a', 'index.html']),
    ('/a%20b', ['a b']), ('/%C3%A9.txt', [u'\xe9.txt']), ('/%c3%a9', [u'\xe9']), (u'/\xc3\xa9', [u'\xe9']),
    ('/%3Fquery', ['?query']), ('/100%25', ['100%']), ('/%252e%252e/x', ['%2e%2e', 'x']), ('/+', ['+']),
    ('/a..b', ['a..b']), ('/a.', ['a.']), ('/~u', ['~u']),
]

ASTRAY = [
    '/..', '/../', '/../etc/passwd', '/a/../b', '/a/..', '/.', '/./a', '/a/./b', '/...', '/..a', '/%2e%2e',
    '/%2E%2e/etc', '/.%2e/a', '/%2e./a', '/a/%2e%2e%2fb', '/%2e%2e%5cb', '/a%2f..%2fb', '/a%2f%2e%2e',
    '//host', '//host/..', '///', '/a//b', '/a//', '/%2fhost', '/%2Fetc/passwd', '/a%2f%2fb',
    '/a\\b', '/..\\..\\b', '/%5c', '/a%5C..', '/%00', '/a%00.html', '/a.html%00', '/%0a', '/%0d%0aX', '/%1b',
    '/%7f', '/.git/config', '/.htaccess', '/a/.hidden', '/%2egit', '/%', '/a%', '/a%2', '/%zz', '/%2g',
    '/%%20', '/% 2', '/%+1', '/%0x', '/%ff', '/%c3', '/%c3%28', '/%c0%ae%c0%ae/', '/%e0%80%ae', '/%ed%a0%80',
    '/%f4%90%80%80', u'/\xe9', '/c:/a', '/a:b', '/c%3a',
]


@pytest.mark.parametrize('path, names', SEGMENTS)
def test_path_of_a_file_is_a_list_of_names(path, names):
    assert ws2s.web_segments(path) == names


@pytest.mark.parametrize('path', ASTRAY)
def test_path_that_leads_astray_is_none(path):
    assert ws2s.web_segments(path) is None


def test_no_path_of_any_escapes_leads_out_of_the_folder(dice):
    parts = ['/', '.', '..', '%2e', '%2f', '%5c', '\\', '%00', 'a', '%', '%25', '%c0%af', u'\xc3\xa9']
    for _ in range(20000):
        path = '/' + u''.join(dice.choice(parts) for _ in range(dice.randint(0, 8)))
        for name in ws2s.web_segments(path) or ():
            assert name and not name.startswith('.') and not re.search(u'[/\\\\\0]', name), path


@pytest.mark.parametrize('name, kind', [
    ('index.html', 'text/html; charset=utf-8'), ('a.b.JS', 'text/javascript; charset=utf-8'),
    ('m.wasm', 'application/wasm'), ('a.svg', 'image/svg+xml'), ('README', 'application/octet-stream'),
    ('a.unknown', 'application/octet-stream'), ('a.', 'application/octet-stream')])
def test_content_type_is_that_of_the_ending(name, kind):
    assert ws2s.content_type(name) == kind


def parsed(reply):
    """(status line, dict of headers, body) of a reply; no header may stand there twice."""
    top, _, body = reply.partition(b'\r\n\r\n')
    lines = top.decode('ascii').split('\r\n')
    pairs = [line.split(': ', 1) for line in lines[1:]]
    headers = dict((name.lower(), value) for name, value in pairs)
    assert len(headers) == len(pairs)
    return lines[0], headers, body


def test_upgrade_reply_is_that_of_rfc_6455():
    status, headers, body = parsed(ws2s.upgrade_reply(ACCEPT))
    assert (status, body) == ('HTTP/1.1 101 Switching Protocols', b'')
    assert headers == {'upgrade': 'websocket', 'connection': 'Upgrade', 'sec-websocket-accept': ACCEPT}


def test_upgrade_reply_names_the_subprotocol_that_is_spoken():
    status, headers, body = parsed(ws2s.upgrade_reply(ACCEPT, 'chat.v2'))
    assert (status, body) == ('HTTP/1.1 101 Switching Protocols', b'')
    assert headers == {'upgrade': 'websocket', 'connection': 'Upgrade', 'sec-websocket-accept': ACCEPT,
                       'sec-websocket-protocol': 'chat.v2'}


@pytest.mark.parametrize('subprotocol', [None, ''], ids=repr)
def test_upgrade_reply_without_a_subprotocol_names_none(subprotocol):
    assert ws2s.upgrade_reply(ACCEPT, subprotocol) == ws2s.upgrade_reply(ACCEPT)
    assert b'sec-websocket-protocol' not in ws2s.upgrade_reply(ACCEPT, subprotocol).lower()


@pytest.mark.parametrize('status', [299, 302, 418, 599])
def test_status_without_a_reason_keeps_the_space_before_it(status):
    """RFC 9112 section 4"""
    assert ws2s.response_head(status, [('A', 'b')]) == ('HTTP/1.1 %d \r\nA: b\r\n\r\n' % status).encode('ascii')
    assert parsed(ws2s.sentence_reply(status, 'Odd.'))[0] == 'HTTP/1.1 %d ' % status


@pytest.mark.parametrize('reply', [
    ws2s.sentence_reply(403, 'Pages of this origin may not connect.'), ws2s.sentence_reply(200, u'caf\xe9'),
    ws2s.sentence_reply(404, 'Not here.', with_body=False), ws2s.page_head(200, 'text/html', 9)],
    ids=['refusal', 'beyond ascii', 'head', 'file'])
def test_replies_carry_what_protects_and_close(reply):
    _, headers, _ = parsed(reply)
    assert headers['connection'] == 'close'
    assert headers['x-content-type-options'] == 'nosniff'
    policy = [part.strip() for part in headers['content-security-policy'].split(';')]
    assert set(["default-src 'self'", "object-src 'none'", "frame-ancestors 'none'"]) <= set(policy)
    assert 'unsafe' not in headers['content-security-policy'] and headers['x-frame-options'] == 'DENY'


@pytest.mark.parametrize('sentence', ['', 'No.', u'caf\xe9 \u4e2d'], ids=['empty', 'ascii', 'beyond ascii'])
def test_content_length_is_exact(sentence):
    status, headers, body = parsed(ws2s.sentence_reply(404, sentence))
    assert status == 'HTTP/1.1 404 Not Found' and headers['content-type'] == 'text/plain; charset=utf-8'
    assert body == sentence.encode('utf-8') and int(headers['content-length']) == len(body)


def test_reply_to_head_is_that_to_get_without_the_body():
    get, answer = ws2s.sentence_reply(200, 'ok'), ws2s.sentence_reply(200, 'ok', with_body=False)
    assert get == answer + b'ok'


def test_reply_to_another_version_offers_an_upgrade_as_rfc_9110_has_it():
    """Section 7.8: who sends Upgrade sends an "upgrade" in Connection too."""
    error = refusal(upgrade([b'Sec-WebSocket-Version: 8']))
    status, headers, _ = parsed(ws2s.sentence_reply(error.status, error.sentence, error.headers))
    assert status == 'HTTP/1.1 426 Upgrade Required'
    assert headers['sec-websocket-version'] == '13' and headers['upgrade'] == 'websocket'
    assert set(headers['connection'].lower().replace(' ', '').split(',')) == set(['close', 'upgrade'])


def test_every_status_has_its_reason():
    with open(re.sub('pyc$', 'py', ws2s.__file__), 'rb') as source:
        statuses = re.findall(br'(?:HttpError|_reply|_head)\((\d{3})\b', source.read())
    assert len(statuses) > 20
    assert set(int(status) for status in statuses) <= set(ws2s.REASONS)


@pytest.mark.parametrize('target, path', [
    (b'http://server.example.com/chat', '/chat'), (b'HTTPS://server.example.com:443/a?b', '/a'),
    (b'http://server.example.com', '/'), (b'http://server.example.com?x', '/'), (b'ws://server.example.com/a', '/a')])
def test_absolute_target_means_its_path(target, path):
    """RFC 9112 section 3.2.2"""
    assert_always(head(b'GET ' + target + b' HTTP/1.1', HOST), path)


@pytest.mark.parametrize('host', [b'', b'other.example', b'a b'], ids=repr)
def test_host_of_an_absolute_target_counts_and_not_that_of_the_header(host):
    """RFC 9112 section 3.2.2"""
    request, _ = ws2s.RequestParser().receive(head(b'GET http://Gw.example:3613/a HTTP/1.1', b'Host: ' + host))
    assert request.one('host') == 'Gw.example:3613'


def test_whoever_changes_the_values_of_a_header_changes_his_own():
    request, _ = ws2s.RequestParser().receive(upgrade(add=[b'Cookie: a=1']))
    request.all('cookie').append('b=2')
    assert request.all('cookie') == ['a=1'] and ('cookie', 'a=1') in request.headers


# --- The query ------------------------------------------------------------------------------------

def request_for(target):
    """The Request of a whole head; bytes behind it, or a cut anywhere, change nothing."""
    data, found = head(b'GET ' + target + b' HTTP/1.1', HOST), []
    for pieces in every_split(data) + [[data + BEHIND]]:
        parser = ws2s.RequestParser()
        found += [each for each in map(parser.receive, pieces) if each]
    assert len(set(request.target for request, _ in found)) == 1
    return found[0][0]


QUERIES = [
    (b'/?host=a.lan&port=80', {'host': u'a.lan', 'port': u'80'}),
    (b'/x/y?a=b', {'a': u'b'}),
    (b'/?a=b+c', {'a': u'b c'}),
    (b'/?a=b%20c', {'a': u'b c'}),
    (b'/?a=b%2Bc', {'a': u'b+c'}),
    (b'/?a+b=c&%61=d', {'a b': u'c', 'a': u'd'}),
    (b'/?a=%26%3D%25%3f', {'a': u'&=%?'}),
    (b'/?a=%C3%A9%e2%82%ac', {'a': u'\xe9\u20ac'}),
    (b'/?a=\xc3\xa9', {'a': u'\xe9'}),
    (b'/?%C3%A9=1', {u'\xe9': u'1'}),
    (b'/?a=1&a=2&a=3', {'a': u'1'}),
    (b'/?a=1&%61=2', {'a': u'1'}),
    (b'/?a=&a=2', {'a': u''}),
    (b'/?a&b=1', {'a': u'', 'b': u'1'}),
    (b'/?a=b=c', {'a': u'b=c'}),
    (b'/?=x&a=1', {'': u'x', 'a': u'1'}),
    (b'/?a=b?c', {'a': u'b?c'}),
    (b'/?a=1;b=2', {'a': u'1;b=2'}),
    (b'/?&&a=1&', {'a': u'1'}),
    (b'/?a=%00%0d%0a', {'a': u'\0\r\n'}),
    (b'/?a=/../b', {'a': u'/../b'}),
    (b'http://server.example.com/x?a=b', {'a': u'b'}),
    (b'http://server.example.com?a=b', {'a': u'b'}),
]


@pytest.mark.parametrize('target, parameters', QUERIES, ids=repr)
def test_parameter_is_the_first_value_of_that_name_as_a_form_has_it(target, parameters):
    request = request_for(target)
    for name, value in parameters.items():
        assert request.parameter(name) == value and isinstance(request.parameter(name), ws2s.text_type)
    assert request.parameter('missing') is None and request.parameter('A') is None


@pytest.mark.parametrize('target', [b'/', b'/?', b'/a=b', b'/a%3Fa=b', b'/?b=a'])
def test_parameter_that_is_not_there_is_none(target):
    assert request_for(target).parameter('a') is None


BAD_QUERIES = [b'%', b'a=%', b'a=%2', b'a=%zz', b'a=%2g', b'a=%+1', b'a=%%20', b'a=1&b=%', b'%=1', b'a=%ff', b'a=%c3',
               b'a=\xff', b'a=\xe9', b'a=%c0%ae', b'a=%ed%a0%80', b'a=%f4%90%80%80', b'%ff', b'a=1&a=%ff']


@pytest.mark.parametrize('query', BAD_QUERIES, ids=repr)
def test_query_with_broken_escapes_or_that_is_not_utf8_is_400_whichever_parameter_is_asked_for(query):
    request = request_for(b'/?' + query)
    for name in ('a', 'missing', 'a'):
        with pytest.raises(ws2s.HttpError) as caught:
            request.parameter(name)
        assert caught.value.status == 400 and PLAIN_SENTENCE.match(caught.value.sentence)


def test_escapes_of_the_path_are_not_those_of_the_query():
    request = request_for(b'/%zz%ff?a=b')
    assert request.parameter('a') == u'b' and request.path == '/%zz%ff'


def test_query_is_read_once_and_only_when_asked_for(monkeypatch):
    read, read_query = [], ws2s.read_query
    monkeypatch.setattr(ws2s, 'read_query', lambda text: read.append(text) or read_query(text))
    request = request_for(b'/?a=1&b=2')
    assert read == []
    assert [request.parameter(name) for name in ('a', 'b', 'c', 'a')] == [u'1', u'2', None, u'1']
    assert read == ['a=1&b=2']


@pytest.mark.parametrize('fields, tokens', [
    ([], [u'']), ([b'A, b'], [u'a', u'b']), ([b'A', b'b ,\tC '], [u'a', u'b', u'c']),
    ([b',, a ,'], [u'', u'', u'a', u'']),
    ([b''], [u'']), ([b'a b'], [u'a b'])], ids=repr)
def test_tokens_are_the_members_of_a_list_in_small_letters(fields, tokens):
    request, _ = ws2s.RequestParser().receive(upgrade(add=[b'X-List: ' + field for field in fields]))
    assert request.tokens('x-list') == tokens


@pytest.mark.parametrize('fields, offered', [
    ([], [u'']), ([b'Chat, chat'], [u'Chat', u'chat']), ([b'A', b'b ,\tC '], [u'A', u'b', u'C']),
    ([b'a.B/1'], [u'a.B/1'])], ids=repr)
def test_subprotocols_are_as_the_client_has_written_them(fields, offered):
    """RFC 6455 section 1.9: they are told apart by case."""
    request, _ = ws2s.RequestParser().receive(upgrade(add=[b'sec-websocket-PROTOCOL: ' + field for field in fields]))
    assert request.subprotocols() == offered


@pytest.mark.parametrize('filling', [b' ', b'\t', b',', b' ,', b'a ', b', a'], ids=repr)
@pytest.mark.parametrize('name', [b'Upgrade', b'Sec-WebSocket-Protocol'])
def test_list_as_long_as_a_header_may_be_is_read_soon(name, filling):
    """What takes the square of its length would take seconds of the loop."""
    line = name + b': a' + filling * (16000 // len(filling)) + b'b'
    request, _ = ws2s.RequestParser().receive(head(GET, HOST, line))
    began = sum(os.times()[:2])
    for _ in range(10):
        members = request.tokens('upgrade') + request.subprotocols()
    assert sum(os.times()[:2]) - began < 2
    assert u'' in members and u'a' in [member[:1] for member in members]
