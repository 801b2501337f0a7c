# -*- coding: utf-8 -*-
"""Several listeners, Unix sockets, and clients for whom a proxy speaks."""

import contextlib
import errno
import json
import logging
import os
import re
import shutil
import signal
import socket
import ssl
import stat
import struct
import tempfile

import pytest

import ws2s
from census import is_empty
from fronts import NAME, make_certificate
from program import run_to_end, started
from raw_client import BINARY, RawClient, exchange, upgrade_request
from service import Service, ended, kill
from targets import echo, serving
from waiting import wait_until

pytestmark = pytest.mark.usefixtures('no_mistakes')

HEALTH = b'GET /healthz HTTP/1.0\r\n\r\n'
TRUSTED = '127.0.0.1'
MSG_MORE = getattr(socket, 'MSG_MORE', 0x8000)  # which not all Pythons name
V2 = b'\r\n\r\n\0\r\nQUIT\n'


def v2(body, family=0x11, command=0x21, length=None):
    return V2 + struct.pack('!BBH', command, family, len(body) if length is None else length) + body


def v1(source, port=4711):
    return ('PROXY TCP%d %s %s %d 443\r\n' % (6 if ':' in source else 4, source, source, port)).encode('ascii')


class Lines(logging.Handler):
    """The lines of the log."""

    def __init__(self):
        logging.Handler.__init__(self)
        self.found = []

    def emit(self, record):
        self.found.append(record.getMessage())

    def wait_for(self, pattern):
        """The first line of this kind."""
        return wait_until(lambda: [line for line in list(self.found) if re.search(pattern, line)], 10, pattern)[0]


@pytest.fixture
def lines():
    handler, log = Lines(), logging.getLogger('ws2s')
    level = log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    yield handler
    log.setLevel(level)
    log.removeHandler(handler)


@pytest.fixture
def folder():
    """With a path that is short enough for a Unix socket."""
    path = tempfile.mkdtemp(dir='/tmp', prefix='ws2s-')
    yield path
    shutil.rmtree(path)


@pytest.fixture
def path(folder):
    return os.path.join(folder, 's')


def is_served(address):
    return exchange(address, HEALTH)[2] == b'ok'


def names(gateway):
    """The addresses of all its listeners."""
    return [listener.sock.getsockname() for listener in gateway.entrance.listeners]


def forget_none(gateway):
    """Every place that was taken is given back, exactly once."""
    places = gateway.places
    wait_until(lambda: is_empty(gateway) and not places._groups)
    assert (places._connections, places._open, places._yielding) == (0, 0, 0)


def bound(path, listens=False):
    """A Unix socket of somebody else."""
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(path)
    if listens:
        sock.listen(5)
    return contextlib.closing(sock)


# -- several -----------------------------------------------------------------------------------------------------------

def test_all_listeners_of_a_list_are_served_and_named_in_the_log(running_gateway, lines, path):
    gateway = running_gateway({'listen': [{'port': 0}, {'host': '::1', 'port': 0}, {'path': path}, {'port': 0}]})
    assert len(names(gateway)) == 4 and gateway.address == names(gateway)[0]
    for name in names(gateway):
        assert is_served(name if name == path else name[:2])
    told = [line.split(' listens on ')[1] for line in lines.found if ' listens on ' in line]
    assert told == [path if name == path else ws2s.with_port(*name[:2]) for name in names(gateway)]


def test_each_of_its_own_ports_is_refused_as_a_target(running_gateway):
    gateway = running_gateway({'listen': [{'port': 0}, {'port': 0}]})
    with RawClient(gateway.address) as client:
        client.open()
        for name in names(gateway):
            assert client.ask(command='connect', host='127.0.0.1', port=name[1])['code'] == 4


def test_one_listener_that_cannot_be_had_leaves_none_of_the_others(path):
    with bound(path + '2', listens=True):
        gateway = ws2s.Gateway(ws2s.DEFAULTS.replace({'listen': [{'port': 0}, {'path': path}, {'path': path + '2'}]}))
        with pytest.raises(ws2s.ServeError):
            gateway.listen()
    assert not os.path.exists(path)


def test_tls_without_a_certificate_is_an_error():
    with pytest.raises(ws2s.ConfigError):
        ws2s.Gateway(ws2s.DEFAULTS.replace({'listen': [{'tls': True, 'port': 0}]})).listen()


# -- Unix sockets ------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize('umask', [0, 0o022, 0o077, 0o777], ids=oct)
@pytest.mark.parametrize('mode', ['0600', '660', '0666'])
def test_a_unix_socket_has_its_mode_whatever_the_umask(running_gateway, path, mode, umask):
    before = os.umask(umask)
    try:
        running_gateway({'listen': {'path': path, 'mode': mode}})
    finally:
        os.umask(before)
    assert oct(stat.S_IMODE(os.stat(path).st_mode)) == oct(int(mode, 8)) and stat.S_ISSOCK(os.stat(path).st_mode)


def test_nobody_can_connect_before_the_mode_is_set(monkeypatch, path):
    chmod, tried = os.chmod, []

    def look(name, mode):
        sock = socket.socket(socket.AF_UNIX)
        with contextlib.closing(sock), pytest.raises(socket.error) as caught:
            sock.connect(path)
        tried.append(caught.value.errno)
        chmod(name, mode)

    monkeypatch.setattr(os, 'chmod', look)
    gateway = ws2s.Gateway(ws2s.DEFAULTS.replace({'listen': [{'path': path}]}))
    gateway.listen()
    gateway.stop()
    assert tried == [errno.ECONNREFUSED]


def test_a_websocket_through_a_unix_socket_works_and_its_client_is_called_unix(running_gateway, lines, path):
    gateway = running_gateway({'listen': {'path': path}})
    with serving(echo) as port, RawClient(path) as client:
        client.open().connect_to(port)
        client.send_json(command='send', data='12345')
        assert client.receive_data(5) == b'12345'
        client.close()
    lines.wait_for(r'^#1 unix has left: ')
    forget_none(gateway)


def test_a_megabyte_goes_through_a_unix_socket_and_back(running_gateway, path):
    running_gateway({'listen': {'path': path}})
    data = os.urandom(1000000)
    with serving(echo) as port, RawClient(path) as client:
        client.open().connect_to(port, binary=True)
        for start in range(0, len(data), 50000):
            client.send_frame(BINARY, data[start:start + 50000])
            assert client.receive_data(50000) == data[start:start + 50000]


@pytest.mark.parametrize('host, origin, status', [
    ('gw.example', 'https://gw.example', 101), ('gw.example', 'https://other.example', 403),
    ('other.example', 'https://other.example', 403), ('gw.example', None, 101)])
def test_rules_of_origins_hold_on_a_unix_socket(running_gateway, path, host, origin, status):
    running_gateway({'listen': {'path': path}, 'allowedHosts': ['gw.example']})
    with RawClient(path) as client:
        client.send(upgrade_request('/', host, [('Origin', origin)] if origin else []))
        assert int(client.receive_head().split(b' ')[1]) == status


def test_a_unix_socket_is_removed_when_the_gateway_begins_to_stop(running_gateway, path):
    gateway = running_gateway({'listen': {'path': path}, 'limits': {'drainSeconds': 20}})
    with serving(lambda sock: sock.recv(1)) as port, RawClient(path) as client:
        client.open().connect_to(port)
        gateway.drain()
        wait_until(lambda: not os.path.lexists(path))
        running_gateway({'listen': {'path': path}})
        assert is_served(path)


def test_a_unix_socket_on_which_nobody_listens_is_taken_over(running_gateway, path):
    with bound(path, listens=True):
        pass
    assert stat.S_ISSOCK(os.lstat(path).st_mode)
    running_gateway({'listen': {'path': path}})
    assert is_served(path)


def refusal(path):
    gateway = ws2s.Gateway(ws2s.DEFAULTS.replace({'listen': [{'path': path}]}))
    with pytest.raises(ws2s.ServeError) as caught:
        gateway.listen()
    gateway.stop()
    assert '\n' not in str(caught.value) and str(caught.value).startswith('cannot listen on %s: ' % path)
    return str(caught.value)


def test_a_unix_socket_on_which_somebody_listens_is_an_error_and_stays(path):
    with bound(path, listens=True):
        assert refusal(path).endswith('Address already in use')
        socks = []
        try:
            while True:  # also when it takes no more connections just now
                socks.append(socket.socket(socket.AF_UNIX))
                socks[-1].setblocking(False)
                socks[-1].connect(path)
        except (IOError, OSError) as error:
            assert error.errno == errno.EAGAIN
        assert refusal(path).endswith('Address already in use')
        for sock in socks:
            sock.close()
    assert stat.S_ISSOCK(os.lstat(path).st_mode)


def a_file(path):
    with open(path, 'w') as file:
        file.write('precious')


def a_link_to_a_dead_socket(path):
    with bound(path + '-dead'):
        os.symlink(path + '-dead', path)


def a_datagram_socket(path):
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    sock.bind(path)
    return sock


@pytest.mark.parametrize('make', [a_file, os.mkdir, os.mkfifo, a_link_to_a_dead_socket, a_datagram_socket,
                                  lambda path: os.symlink('/nowhere/at/all', path)],
                         ids=['file', 'folder', 'pipe', 'link', 'datagrams', 'dead link'])
def test_what_is_no_socket_that_was_left_is_an_error_and_stays(path, make):
    made = make(path)
    before = os.lstat(path)
    refusal(path)
    assert os.lstat(path)[:2] == before[:2]
    if made:
        made.close()


@pytest.mark.parametrize('name', ['/nowhere/at/all', '/tmp/' + 'x' * 200], ids=['no folder', 'too long'])
def test_a_path_that_cannot_be_had_is_an_error(name):
    refusal(name)


def test_a_file_that_has_taken_the_place_of_the_socket_stays(running_gateway, path):
    gateway = running_gateway({'listen': {'path': path}})
    os.unlink(path)
    a_file(path)
    gateway.stop()
    assert os.path.isfile(path)


def test_a_socket_that_another_gateway_has_made_in_the_place_of_ours_stays(running_gateway, path):
    first = running_gateway({'listen': {'path': path}})
    os.unlink(path)
    running_gateway({'listen': {'path': path}})
    first.stop()
    assert is_served(path)


def test_a_socket_that_is_gone_already_is_no_obstacle(running_gateway, path):
    gateway = running_gateway({'listen': {'path': path}})
    os.unlink(path)
    gateway.stop()


# -- limits ------------------------------------------------------------------------------------------------------------

def status_of(address, headers=(), before=b'', **options):
    with RawClient(address, **options) as client:
        client.send(before + upgrade_request('/', '127.0.0.1', headers))
        return int(client.receive_head().split(b' ')[1])


def test_clients_of_a_unix_socket_count_as_one_address_or_as_those_that_are_named(running_gateway, lines, path):
    gateway = running_gateway({'listen': {'path': path}, 'limits': {'clientsPerAddress': 1}})
    with RawClient(path) as first, RawClient(path) as second:
        first.open()
        second.open(headers=[('X-Forwarded-For', '203.0.113.7')])
        assert status_of(path) == status_of(path, [('X-Forwarded-For', '203.0.113.7')]) == 503
        assert status_of(path, [('X-Forwarded-For', '203.0.113.8')]) == 101
        assert status_of(path, [('Forwarded', 'for=203.0.113.8')]) == 101
        assert status_of(path, [('X-Forwarded-For', '1.2.3.4'), ('Forwarded', 'for=1.2.3.5')]) == 400
    lines.wait_for(r'^#\d+ 203\.0\.113\.7 got 503: ')
    lines.wait_for(r'^#\d+ 203\.0\.113\.8 has left: ')
    forget_none(gateway)


def test_what_an_untrusted_peer_says_of_others_counts_for_nothing(running_gateway, lines):
    gateway = running_gateway({'limits': {'clientsPerAddress': 1}, 'trustedProxies': ['127.0.0.2']})
    with RawClient(gateway.address) as first:
        first.open(headers=[('X-Forwarded-For', '203.0.113.7')])
        assert status_of(gateway.address, [('X-Forwarded-For', '203.0.113.8')]) == 503
        assert status_of(gateway.address, [('Forwarded', 'for=203.0.113.8')]) == 503
        assert status_of(gateway.address, [('X-Forwarded-For', '203.0.113.8')], source='127.0.0.2') == 101
    lines.wait_for(r'^#\d+ 127\.0\.0\.1:\d+ has left: ')
    lines.wait_for(r'^#\d+ 203\.0\.113\.8 has left: ')
    assert not [line for line in lines.found if '203.0.113.7' in line]
    forget_none(gateway)


def test_a_proxy_may_bring_more_connections_than_one_address_may_have(running_gateway):
    gateway = running_gateway({'limits': {'clientsPerAddress': 1}, 'trustedProxies': [TRUSTED]})
    clients = []
    try:
        for number in range(100):  # one address may have 19
            clients.append(RawClient(gateway.address).open(headers=[('X-Forwarded-For', '203.0.113.%d' % number)]))
        waiting = [RawClient(gateway.address) for _ in range(50)]
        clients += waiting
        assert status_of(gateway.address, [('X-Forwarded-For', '203.0.113.200')]) == 101
        for number, client in enumerate(waiting):
            client.open(headers=[('X-Forwarded-For', '198.51.100.%d' % number)])
    finally:
        for client in clients:
            client.sock.close()
    forget_none(gateway)


def test_the_connections_of_one_address_behind_a_proxy_are_bounded(running_gateway):
    config = {'listen': {'port': 0, 'proxyProtocol': True}, 'limits': {'clientsPerAddress': 1},
              'trustedProxies': [TRUSTED]}
    gateway = running_gateway(config)
    with contextlib.ExitStack() if hasattr(contextlib, 'ExitStack') else closing_all() as stack:
        held = [stack.enter_context(RawClient(gateway.address)) for _ in range(19)]
        for client in held[:18]:
            client.send(v1('203.0.113.7'))
            client.send(b'GET ')
        held[18].send(v1('203.0.113.7'))
        wait_until(lambda: [place.connections for place in list(gateway.places._groups.values())] in ([18], [19]))
        assert status_of(gateway.address, before=v1('203.0.113.7')) == 101  # the oldest of them gives way
        assert held[0].is_ended()
        assert status_of(gateway.address, before=v1('203.0.113.8')) == 101
    forget_none(gateway)


class closing_all(object):
    """As contextlib.ExitStack, which not all Pythons have."""

    def __enter__(self):
        self._entered = []
        return self

    def enter_context(self, manager):
        self._entered.append(manager)
        return manager.__enter__()

    def __exit__(self, *exception):
        for manager in reversed(self._entered):
            manager.__exit__(*exception)


# -- the PROXY protocol ------------------------------------------------------------------------------------------------

FOUR = socket.inet_aton('203.0.113.7') + socket.inet_aton('192.0.2.1') + struct.pack('!HH', 4711, 443)
SIX = (socket.inet_pton(socket.AF_INET6, '2001:db8::7') + socket.inet_pton(socket.AF_INET6, '2001:db8::1')
       + struct.pack('!HH', 4711, 443))


@pytest.fixture
def proxied(running_gateway):
    return running_gateway({'listen': {'port': 0, 'proxyProtocol': True}, 'trustedProxies': [TRUSTED],
                            'limits': {'handshakeSeconds': 1}})


@pytest.mark.parametrize('header, name', [
    (v1('203.0.113.7'), r'203\.0\.113\.7:4711'), (v1('2001:db8::7'), r'\[2001:db8::7\]:4711'),
    (v2(FOUR), r'203\.0\.113\.7:4711'), (v2(FOUR + b'\x01\0\x02h2'), r'203\.0\.113\.7:4711'),
    (v2(SIX, 0x21), r'\[2001:db8::7\]:4711'), (b'PROXY UNKNOWN\r\n', r'127\.0\.0\.1:\d+'),
    (v2(b'', 0, 0x20), r'127\.0\.0\.1:\d+'), (v2(b'\0' * 216, 0x31), r'127\.0\.0\.1:\d+')],
    ids=['v1', 'v1 IPv6', 'v2', 'TLV', 'v2 IPv6', 'UNKNOWN', 'LOCAL', 'AF_UNIX'])
@pytest.mark.parametrize('is_slow', [False, True], ids=['at once', 'byte by byte'])
def test_the_header_names_the_client(proxied, lines, header, name, is_slow):
    with serving(echo) as port, RawClient(proxied.address) as client:
        client.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in [header[number:number + 1] for number in range(len(header))] if is_slow else []:
            client.send(piece)
        client.send((b'' if is_slow else header) + upgrade_request())
        assert client.receive_head().startswith(b'HTTP/1.1 101 ')
        client.connect_to(port)
        client.close()
    lines.wait_for(r'^#1 %s has left: ' % name)
    forget_none(proxied)


@pytest.mark.parametrize('header', [
    HEALTH, upgrade_request(), b'\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03', b'PROXY TCP4 1.2.3.4 x 1 1\r\n' + HEALTH,
    v2(FOUR[:-1]) + HEALTH, v2(FOUR, 0x21), v2(FOUR + b'\x01\xff\xff'), v2(b'x' * 5000), v2(FOUR, command=0x11),
    b'PROXY UNKNOWN ' + b'x' * 100], ids=['HTTP', 'WebSocket', 'TLS', 'v1', 'cut off', 'short', 'TLV', '5,000 bytes',
                                          'version', 'too long'])
def test_what_is_no_good_header_is_answered_by_nothing_and_named_in_the_log(proxied, lines, header):
    with RawClient(proxied.address) as client:
        client.send(header)
        assert client.is_ended()
    lines.wait_for(r'^#1 127\.0\.0\.1:\d+ is turned away: .*header of the PROXY protocol')
    forget_none(proxied)


@pytest.mark.parametrize('header', [b'', b'PROXY TCP4 203.0.113.7', v2(FOUR)[:-1]], ids=['none', 'v1', 'v2'])
def test_a_header_that_does_not_come_ends_with_the_time_for_a_request(proxied, header):
    with RawClient(proxied.address) as client:
        client.send(header)
        assert client.is_ended()
    forget_none(proxied)


@pytest.mark.programs
@pytest.mark.parametrize('header', [v1('203.0.113.7'), v2(FOUR + b'\x01\0\x02h2')], ids=['v1', 'v2'])
@pytest.mark.parametrize('flags', [0, MSG_MORE], ids=['packets', 'one packet'])
def test_tls_begins_right_behind_the_header(running_gateway, lines, folder, header, flags):
    certificate, key = make_certificate(folder)
    gateway = running_gateway({'listen': {'port': 0, 'proxyProtocol': True, 'tls': True}, 'trustedProxies': [TRUSTED],
                               'tls': {'certificate': certificate, 'key': key}})
    with contextlib.closing(socket.create_connection(gateway.address, 10)) as plain:
        plain.send(header, flags)
        context = ssl.create_default_context(cafile=certificate)
        sock = context.wrap_socket(plain, server_hostname=NAME)
        sock.sendall(HEALTH)
        assert sock.recv(1000).startswith(b'HTTP/1.1 200 ')
        sock.close()
    lines.wait_for(r'^#1 203\.0\.113\.7:4711 got 200: ')
    forget_none(gateway)


def test_a_request_that_does_not_come_behind_a_header_ends_with_408(proxied, lines):
    with RawClient(proxied.address) as client:
        client.send(v1('203.0.113.7') + b'GET / HT')
        assert client.receive_reply()[0] == 408
    lines.wait_for(r'^#1 203\.0\.113\.7:4711 got 408: ')
    forget_none(proxied)


def test_whoever_is_no_trusted_proxy_is_turned_away_from_there(proxied, lines):
    with RawClient(proxied.address, source='127.0.0.2') as client:
        try:
            client.send(v1('203.0.113.7') + HEALTH)
            assert client.is_ended()
        except (IOError, OSError) as error:
            assert error.errno in (errno.EPIPE, errno.ECONNRESET)
    lines.wait_for(r'^127\.0\.0\.2:\d+ is turned away: it is none of trustedProxies')
    forget_none(proxied)


def test_a_header_means_nothing_where_the_protocol_is_not_spoken(running_gateway):
    gateway = running_gateway({'trustedProxies': [TRUSTED]})
    assert exchange(gateway.address, v1('203.0.113.7') + HEALTH)[0] == 400


def test_a_client_that_the_header_names_is_believed_when_it_is_a_proxy_itself(running_gateway, lines):
    gateway = running_gateway({'listen': {'port': 0, 'proxyProtocol': True}, 'trustedProxies': [TRUSTED, '10.0.0.1']})
    for proxy, client in (('10.0.0.1', r'198\.51\.100\.1'), ('10.0.0.2', r'10\.0\.0\.2:4711')):
        assert status_of(gateway.address, [('X-Forwarded-For', '198.51.100.1')], before=v1(proxy)) == 101
        lines.wait_for('^#[0-9]+ %s has left: ' % client)
    forget_none(gateway)


def test_a_header_comes_through_a_unix_socket_too(running_gateway, lines, path):
    gateway = running_gateway({'listen': {'path': path, 'proxyProtocol': True}})
    assert status_of(path, before=v1('203.0.113.7')) == 101
    lines.wait_for(r'^#1 203\.0\.113\.7:4711 has left: ')
    assert status_of(path, before=b'PROXY UNKNOWN\r\n') == 101
    lines.wait_for(r'^#2 unix has left: ')
    forget_none(gateway)


def test_half_headers_on_all_places_keep_nobody_out(running_gateway):
    gateway = running_gateway({'listen': {'port': 0, 'proxyProtocol': True}, 'trustedProxies': [TRUSTED],
                               'limits': {'clients': 5}})
    half = []
    try:
        for number in range(100):
            half.append(RawClient(gateway.address))
            half[-1].send(v1('203.0.113.7')[:number % 40])
        for _ in range(5):
            assert status_of(gateway.address, before=v1('203.0.113.8')) == 101
    finally:
        for client in half:
            client.sock.close()
    forget_none(gateway)


def test_another_list_of_trusted_proxies_counts_from_a_reload_on(running_gateway, lines):
    gateway = running_gateway()
    for number, trusted in enumerate(([], [TRUSTED], [])):
        gateway.reload(gateway.config.replace({'trustedProxies': trusted}))
        wait_until(lambda: len(gateway.config['trustedProxies']) == len(trusted))
        assert status_of(gateway.address, [('X-Forwarded-For', '203.0.113.7')]) == 101
        lines.wait_for('^#%d %s has left: ' % (number + 1, '203.0.113.7' if trusted else '127.0.0.1:[0-9]+'))


# -- programs ----------------------------------------------------------------------------------------------------------

@pytest.mark.programs
def test_listen_may_be_given_more_than_once_and_name_a_unix_socket(tmpdir, path):
    arguments = ['--listen', '127.0.0.1:0', '--listen', 'unix:' + path, '--listen', '[::1]:0', '--listen', path + '2']
    with started(arguments, str(tmpdir)) as program:
        def addresses():
            return [line.split(' listens on ')[1] for line in program.lines if ' listens on ' in line]
        wait_until(lambda: len(addresses()) == 4, 20)
        assert [addresses()[1], addresses()[3]] == [path, path + '2'] and addresses()[2].startswith('[::1]:')
        assert is_served(program.address) and is_served(path) and is_served(path + '2')
        program.signal(signal.SIGTERM)
        assert program.wait() == 0
    assert os.listdir(os.path.dirname(path)) == []


@pytest.mark.programs
def test_a_unix_socket_of_a_program_that_was_killed_is_taken_over(tmpdir, path):
    for number in (signal.SIGKILL, signal.SIGTERM):
        with started(['--listen', 'unix:' + path], str(tmpdir)) as program:
            wait_until(lambda: [line for line in program.lines if line.endswith(' listens on ' + path)], 20)
            assert is_served(path)
            status, _, errors = run_to_end(['--listen', 'unix:' + path], str(tmpdir))
            assert (status, errors) == (1, 'ws2s: cannot listen on %s: Address already in use\n' % path)
            program.signal(number)
            program.wait()
    assert not os.path.exists(path)


@pytest.mark.programs
@pytest.mark.parametrize('words, listen', [
    (['127.0.0.1:80'], {'host': '127.0.0.1', 'port': 80}),
    (['unix:/a/b'], [{'path': '/a/b', 'mode': '0600'}]), (['./b'], [{'path': './b', 'mode': '0600'}]),
    (['[::1]:80', '127.0.0.1:81'], [{'host': '::1', 'port': 80}, {'host': '127.0.0.1', 'port': 81}])])
def test_the_configuration_in_force_shows_the_listeners(tmpdir, words, listen):
    config = tmpdir.join('config.json')
    config.write(json.dumps({'listen': [{'path': '/x', 'mode': '0666', 'proxyProtocol': True}]}))
    arguments = ['--config', str(config), '--print-config'] + [word for pair in words for word in ('--listen', pair)]
    status, output, errors = run_to_end(arguments, str(tmpdir))
    assert status == 0 and json.loads(output)['listen'] == listen


# -- the service -------------------------------------------------------------------------------------------------------

@pytest.fixture
def service(tmpdir):
    with ended(Service(tmpdir)) as ready:
        yield ready


def ports(service):
    return [int(port) for port in re.findall(r'127\.0\.0\.1:(\d+)', service.state['address'])]


@pytest.mark.programs
@pytest.mark.parametrize('workers', [1, 2])
def test_all_listeners_of_a_service_are_served_by_each_worker_and_named_by_it(service, path, workers):
    service.configure(workers=workers, listen=[{'port': 0}, {'path': path, 'mode': '0666'}, {'port': 0}])
    assert path in service.do('start') and path in service.do('status')
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o666
    addresses = [path] + [('127.0.0.1', port) for port in ports(service)]
    assert len(addresses) == 3
    for address in addresses * 10:
        assert is_served(address)
    assert len(service.workers) == workers
    for worker in service.workers[:-1]:
        before = service.workers
        kill(worker, signal.SIGKILL)
        wait_until(lambda: len(service.workers) == workers and set(service.workers) != set(before))
    for address in addresses * 10:
        assert is_served(address)
    service.do('stop')
    assert not os.path.exists(path)


@pytest.mark.programs
def test_a_service_that_was_killed_finds_its_unix_socket_again(service, path):
    service.configure(listen={'path': path})
    service.start()
    with open(path + '-other', 'w'):
        pass
    service.end()
    assert os.path.exists(path)
    service.do('start')
    assert is_served(path)
    assert 'runs already' in service.refuses(1, 'start')
    service.do('restart')
    assert is_served(path)
    service.do('stop')
    assert os.listdir(os.path.dirname(path)) == ['s-other']


@pytest.mark.programs
def test_a_path_in_the_configuration_of_a_service_may_begin_with_its_user_s_home(service):
    service.configure(listen=[{'path': '~/s'}])
    service.start()
    path = os.path.join(service.user_home, 's')
    assert is_served(path)
    service.do('stop')
    assert not os.path.exists(path)


@pytest.mark.programs
def test_another_list_of_listeners_waits_for_the_next_start(service, path):
    service.configure(listen=[{'path': path}], workers=1)
    service.start()
    service.configure(listen=[{'path': path + '2'}])
    service.do('reload')
    wait_until(lambda: [line for line in service.log if '"listen" will change with the next start only' in line])
    assert is_served(path) and not os.path.exists(path + '2')
    service.do('restart')
    assert is_served(path + '2') and not os.path.exists(path)


@pytest.mark.programs
def test_each_worker_knows_which_of_its_listeners_speak_the_proxy_protocol(service):
    service.configure(listen=[{'port': 0}, {'port': 0, 'proxyProtocol': True}], trustedProxies=[TRUSTED])
    service.start()
    plain, proxied = [('127.0.0.1', port) for port in ports(service)]
    for _ in range(10):
        assert is_served(plain)
        with RawClient(proxied) as client:
            client.send(v1('203.0.113.7') + HEALTH)
            assert client.receive_reply()[2] == b'ok'
        with RawClient(proxied) as client:
            client.send(HEALTH)
            assert client.is_ended()
    assert [line for line in service.log if ' 203.0.113.7:4711 got 200' in line]


@pytest.mark.programs
def test_a_service_that_cannot_have_one_of_its_listeners_leaves_none(service, path):
    with bound(path + '2', listens=True):
        service.configure(listen=[{'path': path}, {'path': path + '2'}])
        assert 'Address already in use' in service.refuses(1, 'start')
    assert not os.path.exists(path)
