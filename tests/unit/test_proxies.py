# -*- coding: utf-8 -*-
"""For whom a proxy speaks: X-Forwarded-For, Forwarded (RFC 7239), and the PROXY protocol."""

import struct

import pytest

import ws2s
from every_split import byte_by_byte, every_split, shown
from ws2s import HttpError, RemoteError, Request, forwarded_client, is_trusted, packed_address, read_proxy

NAMES = {'xff': 'X-Forwarded-For', 'fwd': 'Forwarded', 'proto': 'X-Forwarded-Proto'}
PROXIES = ['10.0.0.0/8', '192.0.2.1', '2001:db8:ff::/48']
CONFIG = ws2s.DEFAULTS.replace({'trustedProxies': PROXIES})
PEER = '10.0.0.1'


def request(*headers):
    """``headers``: pairs of a short name and a value."""
    return Request('GET', '/', 'HTTP/1.1', [(NAMES[name].lower(), value) for name, value in headers])


def client(peer, *headers):
    found = forwarded_client(request(*headers), packed_address(peer), lambda packed: is_trusted(packed, CONFIG))
    return ws2s.address_text(found)


# --- Trust ----------------------------------------------------------------------------------------

@pytest.mark.parametrize('address, trusted', [
    ('10.0.0.1', True), ('10.255.255.255', True), ('::ffff:10.0.0.1', True), ('11.0.0.1', False), ('192.0.2.1', True),
    ('192.0.2.2', False), ('2001:db8:ff::9', True), ('2001:db8:fe::9', False), ('64:ff9b::10.0.0.1', False),
    ('2002:a00:1::', False), ('::10.0.0.1', False), ('127.0.0.1', False), ('::1', False)])
def test_a_trusted_proxy_is_one_of_the_addresses_and_blocks(address, trusted):
    assert is_trusted(packed_address(address), CONFIG) is trusted


def test_the_peer_of_a_unix_socket_is_trusted_and_nothing_else_without_an_address():
    assert is_trusted(ws2s.peer_address(ws2s.UNIX_PEER), ws2s.DEFAULTS)
    assert not is_trusted(b'', CONFIG)
    assert not is_trusted(ws2s.peer_address(('unix', 80)), CONFIG)


def test_nobody_is_trusted_by_default():
    assert not any(is_trusted(packed_address(address), ws2s.DEFAULTS) for address in ('127.0.0.1', '::1', '10.0.0.1'))


@pytest.mark.parametrize('peer, text', [
    (('192.0.2.1', 80), '192.0.2.1'), (('fe80::1%eth0', 80), 'fe80::1'), (('::1',), '::1')])
def test_the_address_of_a_peer_is_packed_without_its_zone(peer, text):
    assert ws2s.peer_address(peer) == packed_address(text)


# --- Headers --------------------------------------------------------------------------------------

@pytest.mark.parametrize('headers, found', [
    ([('xff', '203.0.113.7')], '203.0.113.7'),
    ([('xff', ' 203.0.113.7\t')], '203.0.113.7'),
    ([('xff', '203.0.113.7:4711')], '203.0.113.7'),
    ([('xff', '2001:db8::7')], '2001:db8::7'),
    ([('xff', '[2001:db8::7]')], '2001:db8::7'),
    ([('xff', '[2001:db8::7]:4711')], '2001:db8::7'),
    ([('xff', '::ffff:203.0.113.7')], '203.0.113.7'),
    ([('xff', '198.51.100.1, 203.0.113.7')], '203.0.113.7'),
    ([('xff', '198.51.100.1'), ('xff', '203.0.113.7')], '203.0.113.7'),
    ([('xff', '203.0.113.7, 10.1.1.1, 192.0.2.1')], '203.0.113.7'),
    ([('xff', '198.51.100.1,203.0.113.7,10.1.1.1')], '203.0.113.7'),
    ([('xff', '203.0.113.7,,')], '203.0.113.7'),
    ([('xff', '10.1.1.1, 10.2.2.2')], '10.1.1.1'),
    ([('fwd', 'for=203.0.113.7')], '203.0.113.7'),
    ([('fwd', 'For="203.0.113.7:80";proto=http;by=10.0.0.1')], '203.0.113.7'),
    ([('fwd', 'proto=https; for="[2001:db8::7]:4711"')], '2001:db8::7'),
    ([('fwd', 'for="203.0.113.7:_a.b-C"')], '203.0.113.7'),
    ([('fwd', 'for="[2001:db8::7]:_4711"')], '2001:db8::7'),
    ([('fwd', 'for=198.51.100.1, for=203.0.113.7;by=10.0.0.1, for=10.1.1.1')], '203.0.113.7'),
    ([('fwd', 'for=198.51.100.1'), ('fwd', 'for=203.0.113.7')], '203.0.113.7'),
    ([('xff', '203.0.113.7'), ('fwd', 'for=203.0.113.7')], '203.0.113.7'),
    ([('xff', '203.0.113.7'), ('fwd', 'proto=https')], '203.0.113.7'),
    ([('proto', 'https')], PEER),
    ([], PEER),
])
def test_the_client_is_the_right_most_hop_that_is_no_trusted_proxy(headers, found):
    assert client(PEER, *headers) == found


@pytest.mark.parametrize('value', [
    'unknown', '_hidden', 'localhost', '203.0.113', '203.0.113.256', '203.0.113.7:', '203.0.113.7:123456', '1.2.3.4:x',
    '[203.0.113.7', '[203.0.113.7]', '[::1', '::1]', 'fe80::1%eth0', '0x7f.1', '127.1', '203.0.113.7 198.51.100.1',
    '"203.0.113.7"', '203.0.113.7;', '-1', '\x00', u'\xff', '203.0.113.7/32', 'x' * 8000])
def test_what_is_malformed_or_hidden_ends_the_way_at_the_hop_that_has_said_it(value):
    expected = '203.0.113.7' if value == '[203.0.113.7]' else '10.9.9.9'
    assert client(PEER, ('xff', value + ', 10.9.9.9')) == expected
    assert client(PEER, ('xff', '198.51.100.1, %s, 10.9.9.9' % value)) == expected


@pytest.mark.parametrize('value', [
    'for', 'for=', 'for=unknown', 'for=_a', 'for="_a:_b"', 'for="203.0.113.7:_"', 'for="203.0.113.7:_a b"',
    'for=203.0.113.7:80', 'for=[::1]', 'for="::1', 'for=a=b',
    'for=203.0.113.7;for=198.51.100.1', '203.0.113.7', 'for="203.0.113.7', 'for="203.0.113.7\\"', ';for=203.0.113.7',
    'for = 203.0.113.7', "for='203.0.113.7'"])
def test_an_element_of_forwarded_that_is_malformed_ends_the_way(value):
    assert client(PEER, ('fwd', '%s, for=10.9.9.9' % value)) == '10.9.9.9'


@pytest.mark.parametrize('forged', ['for="', 'for="a\\', '"', 'for=x;"', ',,,', 'for="198.51.100.1,', '; ;', '=', '\\'])
def test_what_a_client_puts_in_front_does_not_hide_what_the_proxy_says_of_it(forged):
    assert client(PEER, ('fwd', forged + ', for=203.0.113.7')) == '203.0.113.7'
    assert client(PEER, ('fwd', forged), ('fwd', 'for=203.0.113.7;proto=https')) == '203.0.113.7'
    assert client(PEER, ('xff', forged + ', 203.0.113.7')) == '203.0.113.7'


@pytest.mark.parametrize('peer', ['203.0.113.9', '127.0.0.1', '2001:db8::9'])
def test_who_is_not_trusted_is_not_believed(peer):
    assert client(peer, ('xff', '198.51.100.1')) == client(peer, ('fwd', 'for=198.51.100.1')) == peer


def test_two_headers_that_name_two_clients_are_refused():
    for headers in ([('xff', '203.0.113.7'), ('fwd', 'for=198.51.100.1')], [('xff', '203.0.113.7'), ('fwd', 'for=_a')],
                    [('xff', 'unknown'), ('fwd', 'for=198.51.100.1')]):
        with pytest.raises(HttpError) as caught:
            client(PEER, *headers)
        assert caught.value.status == 400 and 'Forwarded' in caught.value.sentence


def test_no_more_than_32_hops_are_looked_at():
    hops = ['203.0.113.7'] + ['10.1.%d.%d' % (number // 256, number % 256) for number in range(1000)]
    assert client(PEER, ('xff', ','.join(hops))) == '10.1.3.%d' % (1000 - 32 - 3 * 256)


@pytest.mark.parametrize('headers, came_by_tls', [
    ([('proto', 'https')], True), ([('proto', 'HTTPS')], True), ([('proto', 'http')], False),
    ([('proto', 'http, https')], True), ([('proto', 'https, http')], False), ([], False),
    ([('fwd', 'for=1.2.3.4;proto=https')], True), ([('fwd', 'proto=http')], False), ([('xff', 'https')], False),
    ([('fwd', 'proto=https, for=1.2.3.4')], False)])
def test_a_proxy_says_whether_it_was_asked_by_tls(headers, came_by_tls):
    assert ws2s.forwarded_tls(request(*headers)) is came_by_tls


@pytest.mark.parametrize('origin, by_tls, passes', [
    ('https://gw.example', True, True), ('https://gw.example', False, True), ('http://gw.example', False, True),
    ('http://gw.example', True, False)])
def test_a_page_that_came_without_tls_is_not_the_own_one_of_a_gateway_that_was_asked_by_tls(origin, by_tls, passes):
    own = Request('GET', '/', 'HTTP/1.1', [('host', 'gw.example'), ('origin', origin)])
    own.came_by_tls = by_tls
    assert (ws2s.origin_refusal(own, ws2s.DEFAULTS.replace({'allowedHosts': ['gw.example']})) is None) is passes


# --- PROXY protocol -------------------------------------------------------------------------------

SIGNATURE = b'\r\n\r\n\0\r\nQUIT\n'
FOUR = packed_address('203.0.113.7') + packed_address('192.0.2.1') + struct.pack('!HH', 4711, 443)
SIX = packed_address('2001:db8::7') + packed_address('2001:db8::1') + struct.pack('!HH', 4711, 443)
UNIX = b'/run/a'.ljust(108, b'\0') + b'/run/b'.ljust(108, b'\0')
TLVS = b'\x01\x00\x08http/1.1' + b'\x04\x00\x00' + b'\x20\x00\x05\x01\0\0\0\0'


def v2(body=FOUR, family=0x11, command=0x21, length=None):
    return SIGNATURE + struct.pack('!BBH', command, family, len(body) if length is None else length) + body


HEADERS = [
    (b'PROXY TCP4 203.0.113.7 192.0.2.1 4711 443\r\n', ('203.0.113.7', 4711)),
    (b'PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n', ('255.255.255.255', 65535)),
    (b'PROXY TCP6 2001:db8::7 2001:DB8::1 4711 443\r\n', ('2001:db8::7', 4711)),
    (b'PROXY TCP6 ::ffff:203.0.113.7 ::1 0 0\r\n', ('::ffff:203.0.113.7', 0)),
    (b'PROXY UNKNOWN\r\n', None),
    (b'PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n', None),
    (b'PROXY UNKNOWN ' + b'x' * 91 + b'\r\n', None),  # 107 bytes, the longest
    (v2(), ('203.0.113.7', 4711)),
    (v2(SIX, 0x21), ('2001:db8::7', 4711)),
    (v2(FOUR + TLVS), ('203.0.113.7', 4711)),
    (v2(FOUR + b'\x04' + struct.pack('!H', 4065) + b'\0' * 4065), ('203.0.113.7', 4711)),  # 4,096 bytes, the longest
    (v2(UNIX, 0x31), None),
    (v2(UNIX + TLVS, 0x31), None),
    (v2(b'', 0x00, 0x20), None),           # LOCAL, as health checks have it
    (v2(FOUR, 0x11, 0x20), None),          # ... whatever follows
    (v2(b'\x01', 0xff, 0x20), None),
    (v2(b'', 0x00), None),
    (v2(TLVS, 0x00), None),
]
BEHIND = [b'', b'G', b'GET / HTTP/1.1\r\n\r\n', b'\x16\x03\x01\x02\x00\x01', b'PROXY TCP4 ', SIGNATURE, b'\r\n']


class ProxyParser(object):
    """read_proxy() for bytes that come in pieces."""

    def __init__(self):
        self._data = b''

    def receive(self, data):
        """(the client that is named, bytes that came behind the header), or None."""
        self._data += data
        found = read_proxy(self._data)
        return found and (found[1], self._data[found[0]:])


@pytest.mark.parametrize('header, named', HEADERS, ids=[repr(header[:40]) for header, _ in HEADERS])
def test_a_header_names_the_client_however_it_is_cut(header, named):
    for pieces in every_split(header, near=[0, 16, len(header)]):
        parser = ProxyParser()
        assert [parser.receive(piece) for piece in pieces] == [None] * (len(pieces) - 1) + [(named, b'')], shown(pieces)


@pytest.mark.parametrize('behind', BEHIND, ids=repr)
@pytest.mark.parametrize('header, named', HEADERS, ids=[repr(header[:40]) for header, _ in HEADERS])
def test_not_a_byte_of_what_is_behind_a_header_is_taken(header, named, behind):
    assert ProxyParser().receive(header + behind) == (named, behind)
    parser = ProxyParser()
    for piece in byte_by_byte(header[:-1]):
        assert parser.receive(piece) is None
    assert parser.receive(header[-1:] + behind) == (named, behind)


BAD_LINES = [
    b'GET / HTTP/1.1\r\n', b'PROXY\r\n', b'PROXY \r\n', b'proxy TCP4 1.2.3.4 1.2.3.4 1 1\r\n', b'\x16\x03\x01', b'Q',
    b'PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n', b'PROXY TCP4 1.2.3.4 1.2.3.4 1 1 \r\n', b'PROXY TCP4  1.2.3.4 1.2.3.4 1 1\r\n',
    b'PROXY TCP4 1.2.3.4 1.2.3.4 1 65536\r\n', b'PROXY TCP4 1.2.3.4 1.2.3.4 99999 1\r\n',
    b'PROXY TCP4 1.2.3.4 1.2.3.4 01 1\r\n', b'PROXY TCP4 1.2.3.4 1.2.3.4 +1 1\r\n',
    b'PROXY TCP4 1.2.3.4 1.2.3.4 -1 1\r\n', b'PROXY TCP4 1.2.3 1.2.3.4 1 1\r\n', b'PROXY TCP4 1.2.3.04 1.2.3.4 1 1\r\n',
    b'PROXY TCP4 1.2.3.256 1.2.3.4 1 1\r\n',
    b'PROXY TCP4 ::1 ::1 1 1\r\n', b'PROXY TCP6 1.2.3.4 1.2.3.4 1 1\r\n', b'PROXY TCP6 ::1 1.2.3.4 1 1\r\n',
    b'PROXY TCP6 [::1] ::1 1 1\r\n', b'PROXY TCP6 fe80::1%lo ::1 1 1\r\n', b'PROXY TCP5 1.2.3.4 1.2.3.4 1 1\r\n',
    b'PROXY UDP4 1.2.3.4 1.2.3.4 1 1\r\n', b'PROXY TCP4 localhost 1.2.3.4 1 1\r\n', b'PROXY TCP4 1.2.3.4 x 1 1\r\n',
    b'PROXY UNKNOWNX\r\n', b'PROXY TCP4\t1.2.3.4 1.2.3.4 1 1\r\n', b'PROXY TCP4 1.2.3.4 1.2.3.4 1 1\n\r\n',
    b'PROXY TCP4 1.2.3.4\0 1.2.3.4 1 1\r\n', b'PROXY TCP4 1.2.3.4 1.2.3.4 1 \xb2\r\n',
    b'PROXY UNKNOWN ' + b'x' * 92 + b'\r\n', b'PROXY ' + b'x' * 200, b'PROXY UNKNOWN ' + b'\n' * 95]
BAD_BLOCKS = [
    v2(command=0x11), v2(command=0x31), v2(command=0x01), v2(command=0x22), v2(command=0x2f), v2(family=0x12),
    v2(family=0x22), v2(family=0x32), v2(family=0x01), v2(family=0x41), v2(family=0xff), v2(SIX[:-1], 0x21),
    v2(FOUR[:-1]), v2(b''), v2(FOUR, 0x21), v2(UNIX[:-1], 0x31), v2(FOUR, 0x31),
    v2(FOUR + b'\x01'), v2(FOUR + b'\x01\x00'), v2(FOUR + b'\x01\x00\x01'), v2(FOUR + b'\x01\xff\xff' + b'x' * 20),
    v2(FOUR + TLVS[:-1]), v2(FOUR + TLVS + b'\0'), v2(UNIX + b'\x01\x00\x01', 0x31),
    v2(length=5000), v2(length=4081), v2(length=65535), v2(b'', 0, 0x20, 5000),
    SIGNATURE[:-1] + b'\r', SIGNATURE[:5] + b'x', b'\r\n\r\nGET']


@pytest.mark.parametrize('header', BAD_LINES + BAD_BLOCKS, ids=lambda header: repr(header[:60]))
def test_a_bad_header_is_refused_however_it_is_cut(header):
    for pieces in ([header], byte_by_byte(header), [header + b'GET / HTTP/1.1\r\n\r\n']):
        parser = ProxyParser()
        with pytest.raises(RemoteError):
            for piece in pieces:
                assert parser.receive(piece) is None


@pytest.mark.parametrize('header', [header for header, _ in HEADERS], ids=lambda header: repr(header[:40]))
def test_half_a_header_is_waited_for(header):
    for end in range(min(len(header), 300)):
        assert ProxyParser().receive(header[:end]) is None
    assert ProxyParser().receive(header[:-1]) is None


@pytest.mark.parametrize('header, most', [(b'PROXY UNKNOWN ' + b'x' * 200, 107), (v2(length=5000), 16),
                                          (b'GET / HTTP/1.1\r\n', 1), (b'PROXX', 5), (SIGNATURE[:11] + b'xx', 12)],
                         ids=['line', '5,000 bytes', 'HTTP', 'word', 'signature'])
def test_no_more_is_taken_than_it_takes_to_see_that_a_header_is_bad(header, most):
    parser = ProxyParser()
    with pytest.raises(RemoteError):
        for number, piece in enumerate(byte_by_byte(header)):
            assert number < most
            parser.receive(piece)
    assert number == most - 1
