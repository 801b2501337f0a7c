# -*- coding: utf-8 -*-
"""Listeners that speak TLS: what is agreed on, who does not speak it, and handshakes that come to nothing."""

import contextlib
import os
import re
import socket
import ssl
import struct
import subprocess
import sys
import time
import warnings

import pytest

import ws2s
from census import is_empty
from installed import needs
from pki import NAME, Authority
from program import running_program
from raw_client import BINARY, CLOSE, RawClient, exchange, frame, upgrade_request
from targets import echo, recorder, saying, serving, sink
from test_listeners import TRUSTED, V2, lines, v1, v2  # noqa: F401
from tls_client import TlsClient, trusting
from tls_path import TlsPath, alert, client_hello, fin, garbage, half, rst
from waiting import wait_until, wait_until_still

pytestmark = [pytest.mark.usefixtures('no_mistakes'), pytest.mark.programs]

GET = b'GET /healthz HTTP/1.0\r\n\r\n'
VERSIONS = ['TLSv1.2', 'TLSv1.3']
SPOKEN_HERE = 'This port speaks TLS, that is https:// and wss://, and nothing else.'
CLIENTS = 500
LONG = 8 << 20
# Of memory that one idle client may take, a WebSocket with TLS.
CLIENT_BYTES = 40000 if sys.version_info[0] == 2 else 25000


@pytest.fixture(scope='module')
def authority(tmpdir_factory):
    return Authority(str(tmpdir_factory.mktemp('pki')))


@pytest.fixture(scope='module')
def pair(authority):
    return authority.issue()


@pytest.fixture(scope='module')
def context(authority):
    """What a client trusts."""
    return trusting(authority.certificate)


def settings(pair, tls=(), listen=(), **others):
    return dict({'listen': dict({'port': 0, 'tls': True}, **dict(listen)),
                 'tls': dict({'certificate': pair.certificate, 'key': pair.key}, **dict(tls))}, **others)


@pytest.fixture
def start(running_gateway, pair):
    """Starts gateways that speak TLS: ``tls`` and ``listen`` are laid over what that takes."""
    return lambda **fields: running_gateway(settings(pair, **fields))


@pytest.fixture
def gateway(start):
    return start()


def only(version, authority):
    """What a client trusts that speaks this version."""
    context = trusting(authority.certificate)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # the new way is not for all Pythons
        context.options |= ssl.OP_NO_TLSv1 | ssl.OP_NO_TLSv1_1
        context.options |= ssl.OP_NO_TLSv1_3 if version == 'TLSv1.2' else ssl.OP_NO_TLSv1_2
    return context


def begun(gateway, *words):
    command = [needs('openssl', 'openssl'), 's_client', '-connect', '%s:%d' % gateway.address] + list(words)
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                            close_fds=True)


def s_client(gateway, *words):
    """All that the program says that sends GET. It goes when the gateway has ended the connection."""
    return begun(gateway, '-ign_eof', *words).communicate(GET)[0].decode('utf-8', 'replace')


def ordered(gateway, version, letter, sign):
    """As s_client(), that does first what this letter has it do, which it says by ``sign``."""
    process, said = begun(gateway, version), b''
    process.stdin.write(letter + b'\n')
    process.stdin.flush()
    while sign.encode('ascii') not in said:
        data = os.read(process.stdout.fileno(), 4096)
        assert data, said
        said += data
    try:
        process.stdin.write(GET)
        process.stdin.flush()
    except (IOError, OSError):
        pass  # it has ended
    said += process.stdout.read()
    process.communicate()
    return said.decode('utf-8', 'replace')


def is_served(address, context, **options):
    with TlsClient(address, context, **options) as client:
        client.send(GET)
        return client.receive_reply()[2] == b'ok'


# -- what is agreed on -------------------------------------------------------------------------------------------------

@pytest.mark.parametrize('version', VERSIONS)
def test_both_versions_are_spoken_and_nothing_is_compressed(gateway, authority, version):
    with TlsClient(gateway.address, only(version, authority)) as client:
        assert (client.sock.version(), client.sock.compression()) == (version, None)
        client.send(GET)
        assert client.receive_reply()[2] == b'ok'


@pytest.mark.parametrize('least, words', [('1.2', ['-tls1_1', '-cipher', 'ALL:@SECLEVEL=0']),
                                          ('1.2', ['-tls1', '-cipher', 'ALL:@SECLEVEL=0']), ('1.3', ['-tls1_2'])])
def test_older_versions_are_refused(start, lines, least, words):  # noqa: F811
    gateway = start(tls={'minVersion': least})
    assert 'alert protocol version' in s_client(gateway, *words)
    lines.wait_for(r'^#1 127\.0\.0\.1:\d+: no TLS: [A-Z_]+$')
    assert '\nok' in s_client(gateway, '-tls1_3')


@pytest.mark.parametrize('word', ['-tls1_2', '-tls1_3'])
@pytest.mark.parametrize('tls', ['', 'clientCa'])
def test_sessions_are_taken_up_again(start, authority, tmp_path, word, tls):
    gateway, kept = start(tls={tls: authority.certificate} if tls else {}), str(tmp_path / 'session')
    assert 'New, TLS' in s_client(gateway, word, '-sess_out', kept)
    assert 'Reused, TLS' in s_client(gateway, word, '-sess_in', kept)


def test_sessions_are_taken_up_again_without_tickets(gateway, tmp_path):
    kept = str(tmp_path / 'session')
    assert 'New, TLS' in s_client(gateway, '-tls1_2', '-no_ticket', '-sess_out', kept)
    assert 'Reused, TLS' in s_client(gateway, '-tls1_2', '-no_ticket', '-sess_in', kept)


def test_nothing_is_renegotiated(gateway, context):
    said = ordered(gateway, '-tls1_2', b'R', 'RENEGOTIATING')
    assert 'no renegotiation' in said and '\nok' not in said
    assert is_served(gateway.address, context)


@pytest.mark.parametrize('letter', [b'K', b'k'], ids=['asking for ours, too', 'its own'])
def test_a_client_may_have_new_keys(gateway, letter):
    assert '\nok' in ordered(gateway, '-tls1_3', letter, 'KEYUPDATE')


@pytest.mark.parametrize('words', [['-maxfraglen', '512'], ['-max_send_frag', '512'], ['-split_send_frag', '512'],
                                   ['-servername', 'x' * 200 + '.example'], ['-noservername'],
                                   ['-alpn', 'h2,http/1.1'], ['-alpn', 'nonsense'], ['-nextprotoneg', 'h2'],
                                   ['-tls1_3', '-early_data', '/dev/null'], ['-status'], ['-no_etm', '-tls1_2'],
                                   ['-curves', 'P-521:P-256']], ids=' '.join)
def test_what_a_client_offers_beside_is_no_matter(gateway, words):
    assert '\nok' in s_client(gateway, *words)


def test_a_name_that_no_one_has_is_no_matter(gateway, authority):
    context = trusting(authority.certificate, check_hostname=False)
    for name in (u'unknown.test', u'127.0.0.1', u'xn--mnchen-3ya.test', None):
        assert is_served(gateway.address, context, name=name)


# -- certificates of clients -------------------------------------------------------------------------------------------

@pytest.mark.parametrize('version', VERSIONS)
def test_a_certificate_of_the_client_is_asked_for_and_verified(
        start, authority, tmp_path, version, lines):  # noqa: F811
    gateway = start(tls={'clientCa': authority.certificate})
    word = {'TLSv1.2': '-tls1_2', 'TLSv1.3': '-tls1_3'}[version]
    stranger = Authority(str(tmp_path), 'stranger')
    for number, (pair, is_good) in enumerate([(authority.issue('alice'), True), (stranger.issue('alice'), False),
                                              (authority.issue('alice', days=-1), False)], 1):
        said = s_client(gateway, word, '-cert', pair.certificate, '-key', pair.key)
        assert 'Requested Signature Algorithms' in said
        assert ('\nok' in said) == is_good, said
        if not is_good:
            assert 'alert' in said
            lines.wait_for(r'^#%d 127\.0\.0\.1:\d+: no TLS: CERTIFICATE_VERIFY_FAILED$' % number)
    assert '\nok' in s_client(gateway, word)


# -- who does not speak TLS, and who does where nobody listens for it --------------------------------------------------

@pytest.mark.parametrize('data', [GET, upgrade_request(), b'G', b'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', b'\r\n',
                                  b'\x80\x2e\x01\x03\x01', b'\0' * 100, v1('127.0.0.1')],
                         ids=['GET', 'WebSocket', 'a letter', 'HTTP/2', 'empty line', 'SSLv2', 'zeros', 'PROXY'])
def test_whoever_speaks_no_tls_is_told_that_this_port_does(gateway, lines, data):  # noqa: F811
    status, headers, body = exchange(gateway.address, data)
    assert (status, body.decode('ascii').strip()) == (400, SPOKEN_HERE)
    assert headers['connection'] == 'close' and headers['content-type'].startswith('text/plain')
    lines.wait_for(r'^#1 127\.0\.0\.1:\d+ got 400: ' + re.escape(SPOKEN_HERE))
    wait_until(lambda: is_empty(gateway))


def test_whoever_speaks_tls_on_a_plain_port_hears_an_end_at_once(running_gateway, context, lines):  # noqa: F811
    gateway = running_gateway()
    with pytest.raises(ssl.SSLError):
        TlsClient(gateway.address, context)
    lines.wait_for(r'^#1 127\.0\.0\.1:\d+ got 400: This port speaks plain HTTP and ws://, not TLS\.$')
    wait_until(lambda: is_empty(gateway))


# -- behind a proxy ----------------------------------------------------------------------------------------------------

HEADERS = [v1('203.0.113.7'), v2(socket.inet_aton('203.0.113.7') * 2 + struct.pack('!HH', 4711, 443))]


@pytest.mark.parametrize('is_slow', [False, True], ids=['in one segment', 'byte by byte'])
@pytest.mark.parametrize('header', HEADERS, ids=['v1', 'v2'])
def test_the_header_of_a_proxy_comes_before_tls(start, context, lines, header, is_slow):  # noqa: F811
    gateway = start(listen={'proxyProtocol': True}, trustedProxies=[TRUSTED])
    with serving(TlsPath(gateway.address, header=header, is_slow=is_slow)) as port:
        assert is_served(('127.0.0.1', port), context)
    lines.wait_for(r'^#1 203\.0\.113\.7:4711 got 200: GET /healthz$')


def test_plain_http_behind_the_header_of_a_proxy_is_told_that_this_port_speaks_tls(start):
    gateway = start(listen={'proxyProtocol': True}, trustedProxies=[TRUSTED])
    for header in HEADERS:
        assert exchange(gateway.address, header + GET)[0] == 400


def test_tls_without_the_header_of_the_proxy_is_turned_away(start, context, lines):  # noqa: F811
    gateway = start(listen={'proxyProtocol': True}, trustedProxies=[TRUSTED])
    with pytest.raises((IOError, OSError)):
        TlsClient(gateway.address, context)
    lines.wait_for(r'^#1 127\.0\.0\.1:\d+ is turned away: no header of the PROXY protocol comes first$')


# -- handshakes that come to nothing -----------------------------------------------------------------------------------

def refused(address, context):
    """Begin a handshake and await that it fails."""
    with pytest.raises((IOError, OSError, EOFError)):
        is_served(address, context)


# How many records of a client pass: all of 1.3 are ClientHello, a compatible ChangeCipherSpec, Finished, the request.
STOPS = [('TLSv1.2', count) for count in range(6)] + [('TLSv1.3', count) for count in range(5)]
STOP_IDS = ['%s-%d' % stop for stop in STOPS]


@pytest.mark.parametrize('then', [fin, rst, half, garbage, alert], ids=lambda then: then.__name__)
@pytest.mark.parametrize('version, count', STOPS, ids=STOP_IDS)
def test_a_client_that_goes_wrong_in_any_state_of_tls_leaves_nothing(start, authority, version, count, then):
    gateway = start(limits={'handshakeSeconds': 0.3, 'drainSeconds': 0.2})
    with serving(TlsPath(gateway.address, count, then)) as port:
        sock = socket.create_connection(('127.0.0.1', port))
        with contextlib.closing(sock):
            secure = only(version, authority).wrap_socket(sock, server_hostname=NAME, do_handshake_on_connect=False)
            secure.settimeout(0.05)
            with contextlib.closing(secure):
                try:
                    secure.do_handshake()
                    secure.sendall(GET)
                except (IOError, OSError):
                    pass  # it goes no further than the path lets it
                wait_until(lambda: is_empty(gateway))
                assert not gateway.clients


@pytest.mark.parametrize('version, count', STOPS, ids=STOP_IDS)
def test_a_client_that_stops_after_any_record_is_ended_in_time(start, authority, version, count):
    gateway = start(limits={'handshakeSeconds': 0.3, 'drainSeconds': 0.2})
    with serving(TlsPath(gateway.address, count, lambda far, record: None)) as port:
        sock = socket.create_connection(('127.0.0.1', port))
        with contextlib.closing(sock):
            secure = only(version, authority).wrap_socket(sock, server_hostname=NAME, do_handshake_on_connect=False)
            with contextlib.closing(secure):
                secure.settimeout(0.05)
                try:
                    secure.do_handshake()
                except (IOError, OSError):
                    pass
                wait_until(lambda: is_empty(gateway), 5)


def test_the_deadline_counts_from_accept(start, context):
    gateway = start(limits={'handshakeSeconds': 1})
    hello, begun = client_hello(context), time.time()
    with RawClient(gateway.address) as client:
        wait_until(lambda: gateway.clients)
        for start_of in range(len(hello)):  # it would take a minute
            if not gateway.clients:
                break
            try:
                client.send(hello[start_of:start_of + 1])
            except (IOError, OSError):
                break
            time.sleep(0.1)
        wait_until(lambda: is_empty(gateway))
        assert 0.9 < time.time() - begun < 6


def test_half_handshakes_of_two_hundred_hold_up_nobody(start, context):
    gateway = start(limits={'handshakeSeconds': 3})
    hello = client_hello(context)
    half_ones = [RawClient(gateway.address) for _ in range(200)]
    try:
        for number, client in enumerate(half_ones):
            client.send(hello[:len(hello) - number % 2])
        with serving(echo) as port, TlsClient(gateway.address, context) as innocent:
            innocent.open().connect_to(port, binary=True)
            for _ in range(10):
                innocent.send_json(command='send', data='x')
                assert innocent.receive_data(1) == b'x'
            wait_until(lambda: len(gateway.clients) == 1)
            assert innocent.ask(command='ping')['message'] == 'ping done'
            innocent.close()
    finally:
        for client in half_ones:
            client.sock.close()
    wait_until(lambda: is_empty(gateway))


# -- what a client costs -----------------------------------------------------------------------------------------------

@pytest.fixture
def program(pair):
    with running_program(settings(pair, web=False, allowConnectToServerLocal=True)) as program:
        yield program


def resident_afterwards(program, count, connect):
    """How many bytes the program has grown by for each of these clients."""
    clients = []
    try:
        for _ in range(20):  # what the first cost is not paid again
            clients.append(connect())
        before = program.resident_bytes()
        for _ in range(count):
            clients.append(connect())
        return (program.resident_bytes() - before) // count
    finally:
        for client in clients:
            client.sock.close()


@pytest.mark.skipif(sys.platform != 'linux' and not sys.platform.startswith('linux2'), reason='reads /proc')
def test_an_idle_client_takes_no_more_memory_than_readme_says(program, context, many_descriptors):
    size = resident_afterwards(program, CLIENTS, lambda: TlsClient(program.address, context).open())
    print('%d bytes for an idle client' % size)
    assert size < CLIENT_BYTES


def test_many_small_records_are_no_long_read(gateway, context, monkeypatch):
    sizes, receive = [], ws2s.TlsWire.receive

    def measured(wire, sock, buffer, count):
        data = receive(wire, sock, buffer, count)
        sizes.append(len(data))
        return data

    received = []
    with serving(recorder(received)) as port, TlsClient(gateway.address, context) as client:
        client.open().connect_to(port, binary=True)
        monkeypatch.setattr(ws2s.TlsWire, 'receive', measured)
        message = frame(BINARY, b'x' * 4000)
        for start_of in range(len(message)):
            client.send(message[start_of:start_of + 1])
        client.close()
    wait_until(lambda: received == [b'x' * 4000])
    assert max(sizes) < 2 * ws2s.TLS_READS and len(sizes) >= 4000 // ws2s.TLS_READS


def test_what_a_slow_reader_has_taken_of_a_long_file_is_known(start, context, tmp_path, small_kernel_buffers):
    with open(str(tmp_path / 'long.txt'), 'wb') as file:
        file.write(b'x' * LONG)
    gateway = start(web=str(tmp_path))
    with TlsClient(gateway.address, context, receive_buffer=4096) as client:
        client.send(b'GET /long.txt HTTP/1.0\r\n\r\n')
        client.receive_head()
        (visit,) = list(gateway.clients)
        for megabytes in range(1, 4):
            client._need(megabytes << 20)
            wait_until(lambda: visit.stream.pending < LONG - (megabytes << 20) + 262144)
        assert client.receive_all() == b'x' * LONG


def test_clients_that_read_nothing_take_no_more_memory_than_the_budget(pair, context):
    limits = {'totalBytes': 32 << 20}
    with running_program(settings(pair, web=False, allowConnectToServerLocal=True, limits=limits)) as program:
        with serving(saying(b'x' * (64 << 20))) as port:
            clients = [TlsClient(program.address, context, receive_buffer=4096).open() for _ in range(60)]
            try:
                before = program.resident_bytes()
                for number, client in enumerate(clients):
                    client.send_json(command='connect', host='127.0.0.1', port=port, binary=number % 2 == 0)
                wait_until_still(program.resident_bytes)
                assert program.peak_bytes() - before < (32 << 20) + 60 * CLIENT_BYTES + (8 << 20)
            finally:
                for client in clients:
                    client.sock.close()


def idle(client, port):
    pass


def stalled(client, port):
    client.connect_to(port, binary=True)


def half_closed(client, port):
    client.sock.shutdown(socket.SHUT_WR)


def closed(client, port):
    client.send_frame(CLOSE, b'\x03\xe8')


def without_a_word(client, port):
    client.sock.end_beneath()


@pytest.mark.parametrize('act', [idle, stalled, half_closed, closed, without_a_word], ids=lambda act: act.__name__)
def test_a_client_that_does_nothing_costs_no_work(program, context, act):
    with serving(saying(b'x' * (8 << 20), sink)) as port:
        with TlsClient(program.address, context, receive_buffer=4096) as client:
            act(client.open(), port)
            time.sleep(0.3)  # what there was to do is done
            before = program.cpu_seconds()
            time.sleep(1)
            assert program.cpu_seconds() - before < 0.2


def test_a_handshake_that_stops_costs_no_work(program, context):
    hello = client_hello(context)
    with RawClient(program.address) as silent, RawClient(program.address) as half_way:
        silent.send(hello[:100])
        half_way.send(hello)
        assert half_way.sock.recv(1)
        before = program.cpu_seconds()
        time.sleep(1)
        assert program.cpu_seconds() - before < 0.2
