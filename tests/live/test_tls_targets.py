# -*- coding: utf-8 -*-
"""TLS to targets (protocol, 1a): certificates good and bad, `starttls`, and that nothing goes in the clear."""

import logging
import socket
import sys
import threading

import pytest

import ws2s
from census import is_empty
from raw_client import BINARY, CLOSE, RawClient, frame, upgrade_request
from ssh_server import read, run_well
from tape import Reading, Tape, record
from targets import echo, recorder, released, reset, saying, serving, silence, sink, unaccepted, when
from test_aborts import flood, with_fin
from test_flow import BUFFER, READ, Flood, Upload
from tls_targets import (BAD_REQUEST, CLOSED, FINISHED, NOT_CONNECTED, RESET, TLS, connect, failure, is_secured, opened,
                         said_of, tls_target, trusting)
from waiting import wait_until, wait_until_still

pytestmark = pytest.mark.usefixtures('no_mistakes')

TELLS_WHY = sys.version_info >= (3, 7)  # does Python tell OpenSSL's verdict on a certificate?
UNVERIFIED = ('the certificate of the target cannot be verified: it has expired, is self-signed, or is signed by an '
              'unknown authority')
ENDED = 'the target has ended the connection in the TLS handshake'
NO_TLS = 'the target does not speak TLS'
QUICK = {'limits': {'connectSeconds': 0.4}}
SECRET = 'a-secret-of-the-client'
NOISE = Tape(71)
MEGABYTE = 1 << 20


# -- certificates ------------------------------------------------------------------------------------------------------

def of_target(said):
    return 'the certificate of the target ' + said


BAD = [('expired', {'days': (-20, -10)}, 'has expired'), ('early', {'days': (10, 20)}, 'is not yet valid'),
       ('weak', {'kind': ('RSA', 'rsa_keygen_bits:1024')}, 'has a key that is too weak'),
       ('sha1', {'digest': 'sha1'}, 'is signed in a way that is too weak')]


def refused_as(reply, said):
    """Older Pythons do not tell why; what we say then must not be more than we know."""
    known = of_target(said) if TELLS_WHY else UNVERIFIED
    assert said_of(reply) == known


@pytest.mark.parametrize('name, options, said', BAD, ids=[row[0] for row in BAD])
def test_a_bad_certificate_is_called_by_what_is_bad_about_it(gateway, pki, name, options, said):
    certified = pki.server(name, **options)
    with tls_target(certified, echo, ciphers='ALL:@SECLEVEL=0') as port, opened(gateway) as client:
        refused_as(connect(client, port, tls=trusting(pki)), said)
        assert failure(client.ask(command='send', data=SECRET)) == NOT_CONNECTED


def test_whoever_signs_for_himself_or_is_signed_by_strangers_is_not_believed(gateway, pki):
    pki.authority('stranger')
    pki.authority('middle', 'root')
    for certified, said in ((pki.self_signed('self'), 'is self-signed'),
                            (pki.server('unknown', issuer='stranger'), 'is self-signed'),
                            (pki.server('chained', issuer='middle'), None)):
        with tls_target(certified, echo) as port, opened(gateway) as client:
            for tls in (True, {}, trusting(pki)):
                reply = connect(client, port, tls=tls)
                if tls and tls is not True and said is None:
                    assert is_secured(reply)
                elif said is None or certified.path.endswith('unknown.pem'):
                    refused_as(reply, 'is signed by an unknown authority')
                else:
                    refused_as(reply, said)


def test_a_chain_that_lacks_its_middle_is_signed_by_an_unknown_authority(gateway, pki):
    pki.authority('middle', 'root')
    chained = pki.server('chained', issuer='middle')
    alone = chained._replace(path=pki.path('alone.pem'))
    with open(alone.path, 'w') as file:
        file.write(str(chained.cert))
    with tls_target(alone, echo) as port, opened(gateway) as client:
        refused_as(connect(client, port, tls=trusting(pki)), 'is signed by an unknown authority')
        for ca in (pki.root.cert + pki.authority('middle').cert, pki.authority('middle').cert, chained.cert):
            assert is_secured(connect(client, port, tls={'ca': ca}))
        refused_as(connect(client, port, tls={'ca': pki.server('good').cert}), 'is signed by an unknown authority')


def test_a_target_may_be_known_by_its_very_certificate(gateway, pki):
    alone, other = pki.self_signed('self'), pki.self_signed('another self')
    with tls_target(alone, echo) as port, opened(gateway) as client:
        assert is_secured(connect(client, port, tls={'ca': alone.cert}))
        refused_as(connect(client, port, tls={'ca': other.cert}), 'is self-signed')


NAMES = [
    # What the certificate names, where the target is said to be, and the servername asked for; is that right?
    (u'DNS:target.test', 'target.test', None, True),
    (u'DNS:target.test', 'TARGET.test.', None, True),
    (u'DNS:target.test', 'other.test', None, False),
    (u'DNS:target.test', 'other.test', 'target.test', True),
    (u'DNS:target.test', 'target.test', 'other.test', False),
    (u'DNS:target.test', '127.0.0.1', None, False),
    (u'DNS:target.test', '127.0.0.1', 'target.test', True),
    (u'DNS:*.target.test', 'a.target.test', None, True),
    (u'DNS:*.target.test', 'target.test', None, False),
    (u'DNS:*.target.test', 'a.b.target.test', None, False),
    (u'DNS:127.0.0.1', '127.0.0.1', None, False),
    (u'DNS:target.test, IP:127.0.0.1', '127.0.0.1', None, True),
    (u'IP:127.0.0.2', '127.0.0.1', None, False),
    (u'IP:127.0.0.2', '127.0.0.1', '127.0.0.2', True),
    (u'IP:2001:db8::1', '127.0.0.1', '2001:db8::1', True),
    (u'IP:2001:db8::1', '127.0.0.1', '[2001:DB8:0::1]', True),
    (u'IP:2001:db8::1', '127.0.0.1', '2001:db8::2', False),
    (u'', 'target.test', None, True),  # then its common name counts
    (u'', 'other.test', None, False),
]


@pytest.mark.parametrize('number', range(len(NAMES)), ids=['%s %s %s' % row[:3] for row in NAMES])
def test_the_certificate_must_name_the_host_or_the_servername(running_gateway, pki, number):
    names, host, servername, is_right = NAMES[number]
    certified = pki.server('named%d' % number if names else 'target.test', names)
    gateway = running_gateway(resolve=lambda host, port: [(socket.AF_INET, ('127.0.0.1', port))])
    with tls_target(certified, echo) as port, opened(gateway) as client:
        tls = trusting(pki, servername=servername)
        reply = connect(client, port, host, tls)
        if is_right:
            assert is_secured(reply)
        else:
            assert said_of(reply) == of_target('is for other names')


def test_an_ipv6_target_is_verified_by_its_address(gateway, pki):
    with tls_target(pki.server('six', u'IP:::1'), echo, host='::1') as port, opened(gateway) as client:
        for host in ('::1', '[0:0::1]'):
            assert is_secured(connect(client, port, host, trusting(pki)))
        assert said_of(connect(client, port, '::1', trusting(pki, servername='::2'))) == of_target('is for other names')


def test_what_is_revoked_in_the_list_given_with_ca_is_refused(gateway, pki):
    where = u'crlDistributionPoints = URI:http://127.0.0.1:9/list\n'
    kept, revoked = pki.server('kept', more=where), pki.server('revoked', more=where)
    pki.revoke(revoked)
    lists = {'ca': pki.root.cert + pki.revocations()}
    for certified, is_right in ((kept, True), (revoked, False)):
        with tls_target(certified, echo) as port, opened(gateway) as client:
            reply = connect(client, port, tls=lists)
            if is_right:
                assert is_secured(reply)
            else:
                refused_as(reply, 'has been revoked')
            # Nobody asks for a list over the network, as no client of its kind does.
            assert is_secured(connect(client, port, tls=trusting(pki)))


@pytest.mark.parametrize('fields', [
    {'ca': '-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n'}, {'ca': '-----BEGIN NOTHING-----\n'},
    {'cert': '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n'}, 'key of another', 'encrypted', 'no key',
    'key as ca'], ids=str)
def test_pem_that_cannot_be_read_is_said_before_anything_is_dialled(gateway, pki, good, fields):
    mine, other = pki.client('mine'), pki.client('other')
    texts = {'key of another': (mine.cert, read(other.key)), 'no key': (mine.cert, None),
             'encrypted': (mine.cert, encrypted(pki, mine.key))}
    if fields == 'key as ca':
        fields = {'ca': read(mine.key)}
    elif not isinstance(fields, dict):
        fields = dict(zip(('cert', 'key'), texts[fields]))
    touched = []
    with serving(recorder(touched)) as port, opened(gateway) as client:
        reply = connect(client, port, tls=fields)
        assert failure(reply) == (1, 'tls')
        assert failure(client.ask(command='send', data=SECRET)) == NOT_CONNECTED
        client.connect_to(port).close()
        wait_until(lambda: touched == [b''])


def encrypted(pki, path):
    out = path + '.encrypted'
    run_well(['openssl', 'pkcs8', '-topk8', '-in', path, '-out', out, '-passout', 'pass:swordfish'])
    return read(out)


@pytest.mark.parametrize('name', ['expired', 'self', 'other'])
def test_only_where_the_operator_allows_that_a_certificate_is_not_verified(running_gateway, gateway, pki, name):
    certified = {'expired': lambda: pki.server('expired', days=(-20, -10)), 'self': lambda: pki.self_signed('self'),
                 'other': lambda: pki.server('elsewhere', u'DNS:elsewhere.test')}[name]()
    lax = running_gateway({'tls': {'allowUnverified': True}})
    with tls_target(certified, echo) as port:
        with opened(gateway) as client:
            assert failure(connect(client, port, tls={'verify': False})) == BAD_REQUEST
        with opened(lax) as client:
            assert is_secured(connect(client, port, tls={'verify': False}))
            assert said_of(connect(client, port, tls=trusting(pki)))


def test_neither_keys_nor_certificates_stand_in_the_log(running_gateway, pki, good):
    mine, lines = pki.client('mine'), []
    log, handler = logging.getLogger('ws2s'), logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())
    gateway = running_gateway({'log': {'level': 'debug'}})
    log.addHandler(handler)
    level = log.level
    log.setLevel(logging.DEBUG)
    try:
        with tls_target(good, echo, pki.root) as port, opened(gateway) as client:
            fields = trusting(pki, cert=mine.cert, key=read(mine.key))
            assert is_secured(connect(client, port, tls=fields))
            assert said_of(connect(client, port, tls=dict(fields, servername='other.test')))
            assert failure(connect(client, port, tls=dict(fields, key=fields['key'][:-40]))) == (1, 'tls')
    finally:
        log.removeHandler(handler)
        log.setLevel(level)
    text = '\n'.join(lines)
    assert 'with TLS' in text and 'CERTIFICATE_VERIFY_FAILED' in text or 'for other names' in text
    for pem in (mine.cert, fields['key'], pki.root.cert):
        assert not [line for line in pem.split('\n')[1:-2] if line in text]


# -- what is agreed on -------------------------------------------------------------------------------------------------

@pytest.mark.parametrize('newest', ['1.2', '1.3'])
def test_version_and_alpn_are_told_and_data_goes_both_ways(gateway, pki, good, newest):
    with tls_target(good, echo, alpn=['two', 'one'], newest=newest) as port, opened(gateway) as client:
        assert connect(client, port, tls=trusting(pki, alpn=['one', 'three']), binary=True) == {
            'success': True, 'code': 0, 'message': 'connect done', 'tls': {'version': 'TLSv' + newest, 'alpn': 'one'}}
        for piece in NOISE.pieces(4 * MEGABYTE, MEGABYTE):
            client.send_frame(BINARY, piece)
            assert client.receive_data(len(piece)) == piece
        assert connect(client, port, tls=trusting(pki))['tls']['alpn'] is None


# -- servers that do not go along --------------------------------------------------------------------------------------

def ending(sock):
    """Closes as soon as it has heard something."""
    sock.recv(1)


def resetting(sock):
    sock.recv(1)
    reset(sock)


STRANGE = [
    ('http', saying(b'HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n', sink), NO_TLS),
    ('ssh', saying(b'SSH-2.0-OpenSSH_9.2p1\r\n', sink), NO_TLS),
    ('smtp', saying(b'220 mail.test ESMTP\r\n', sink), NO_TLS),
    ('redis', saying(b'-ERR Protocol error\r\n', sink), NO_TLS),
    ('mysql', saying(b'\x4a\0\0\0\x0a8.0.36\0' + b'x' * 70, sink), NO_TLS),
    ('zeros', saying(b'\0' * 5000, sink), NO_TLS),
    ('echo', echo, None),
    ('alert', saying(b'\x15\x03\x03\0\x02\x02\x28', sink), 'the target has refused the TLS handshake; it may want a '
                                                           'certificate'),
    ('close', lambda sock: None, ENDED), ('ends', ending, ENDED), ('resets', resetting, ENDED), ('reset', reset, ENDED),
]


@pytest.mark.parametrize('then, said', [row[1:] for row in STRANGE], ids=[row[0] for row in STRANGE])
def test_a_server_without_tls_is_called_so(gateway, pki, then, said):
    with serving(then) as port, opened(gateway) as client:
        for _ in range(3):
            told = said_of(connect(client, port, tls=trusting(pki)))
            assert told == (said or told)
            assert failure(client.ask(command='send', data=SECRET)) == NOT_CONNECTED


def test_who_has_no_common_version_with_us_is_told_apart(gateway, pki):
    # A ServerHello of TLS 1.1.
    hello = b'\x16\x03\x02\0\x31\x02\0\0\x2d\x03\x02' + b'r' * 32 + b'\0\xc0\x13\0\0\x05\xff\x01\0\x01\0'
    for answer in (hello, b'\x15\x03\x01\0\x02\x02\x46'):
        with serving(saying(answer, sink)) as port, opened(gateway) as client:
            assert said_of(connect(client, port, tls=trusting(pki))) == (
                'the target and the gateway have no common version of TLS')


@pytest.mark.parametrize('newest', ['1.2', '1.3'])
def test_a_target_that_wants_a_certificate_gets_the_clients_own(gateway, pki, good, newest):
    pki.authority('stranger')
    mine, stranger, names = pki.client('mine'), pki.client('unknown client', 'stranger'), []

    def then(sock):
        names.append(dict(rdn[0] for rdn in sock.getpeercert()['subject'])['commonName'])
        echo(sock)

    with tls_target(good, then, pki.root, newest=newest) as port, opened(gateway) as client:
        for fields in ({'cert': mine.cert, 'key': read(mine.key)}, {'cert': read(mine.key) + mine.cert}):
            assert is_secured(connect(client, port, tls=trusting(pki, **fields)))
            assert client.ask(command='send', data='x')['message'] == 'send done'
            assert client.receive_data(1) == b'x'
        assert names == ['mine', 'mine']
        replies = [told_of_refusal(client, port, trusting(pki, **fields))
                   for fields in ({}, {'cert': stranger.cert, 'key': read(stranger.key)})]
        assert names == ['mine', 'mine']
        if newest == '1.2':  # of 1.3 the client has done its part before the target looks at the certificate
            assert [reply['message'] for reply in replies] == [
                'the target has refused the TLS handshake; it may want a certificate',
                "the target does not know the authority of the client's certificate"]
        else:
            assert [failure(reply) for reply in replies] == [RESET, RESET]
            assert [reply['message'] for reply in replies] == ['connection reset: ' + said for said in (
                'the target wants a certificate of the client (cert, key)',
                "the target does not know the authority of the client's certificate")]


def told_of_refusal(client, port, tls):
    """What comes of a connect with a certificate that the target does not take."""
    reply = connect(client, port, tls=tls)
    return client.receive_json() if reply['success'] else reply


# -- servers that stop in the middle -----------------------------------------------------------------------------------

RECORDS = 14  # more than a handshake has, with the tickets of TLS 1.3


class Halting(object):
    """Leads to ``address``; of what comes from there it lets ``records`` of TLS pass, and ``more`` bytes, and then does
    ``then(near)``."""

    def __init__(self, address, records, more, then):
        self._address, self._left, self._more, self._then = address, records, more, then

    def __call__(self, near):
        far = socket.create_connection(self._address)
        up = threading.Thread(target=self._pass_up, args=(near, far))
        up.start()
        try:
            for _ in range(self._left):
                head = whole(far, 5)
                near.sendall(head + whole(far, bytearray(head)[3] * 256 + bytearray(head)[4]))
            near.sendall(whole(far, self._more))
            self._then(near)
        finally:
            end(far)
            up.join(10)

    def _pass_up(self, near, far):
        try:
            for data in iter(lambda: near.recv(65536), b''):
                far.sendall(data)
        except (IOError, OSError):
            pass  # one of both has gone
        end(far)


def whole(sock, count):
    data = b''
    while len(data) < count:
        piece = sock.recv(count - len(data))
        if not piece:
            raise IOError('it has ended')
        data += piece
    return data


def end(sock):
    try:
        sock.shutdown(socket.SHUT_RDWR)
    except (IOError, OSError):
        pass  # it has ended already
    sock.close()


def closing(sock):
    sock.shutdown(socket.SHUT_WR)


def cutting(sock):
    sock.shutdown(socket.SHUT_RD)  # wakes who reads it, who would keep it open
    reset(sock)


class Stack(object):
    """As contextlib.ExitStack, which Python 2 has not."""

    def __init__(self):
        self._entered = []

    def enter_context(self, context):
        value = context.__enter__()
        self._entered.append(context)
        return value

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        for context in reversed(self._entered):
            context.__exit__(*exception)


HALTS = [('silent', silence, 'the target did not answer in time to the TLS handshake'), ('closing', closing, ENDED),
         ('cutting', cutting, ENDED)]


@pytest.mark.parametrize('newest', ['1.2', '1.3'])
@pytest.mark.parametrize('then, said', [row[1:] for row in HALTS], ids=[row[0] for row in HALTS])
def test_a_target_that_stops_in_any_message_fails_in_time(running_gateway, pki, good, newest, then, said):
    gateway = running_gateway({'limits': {'connectSeconds': 0.7}})
    places = [(records, more) for records in range(RECORDS) for more in (0, 3, 7)]
    with Stack() as stack:
        address = '127.0.0.1', stack.enter_context(tls_target(good, sink, newest=newest))
        clients = []
        for records, more in places:
            port = stack.enter_context(serving(Halting(address, records, more, then)))
            clients.append(stack.enter_context(opened(gateway)))
            clients[-1].send_json(command='connect', host='127.0.0.1', port=port, tls=trusting(pki))
            clients[-1].send_json(command='send', data='x')
        replies = [client.receive_json() for client in clients]
        failed = [reply for reply in replies if not reply['success']]
        assert set(map(said_of, failed)) == {said}
        assert 3 <= len(failed) < len(replies)
        assert [reply['success'] for reply in replies] == sorted(reply['success'] for reply in replies)
        for client, reply in zip(clients, replies):
            if not reply['success']:
                assert failure(client.receive_json()) == NOT_CONNECTED


# -- nothing in the clear ----------------------------------------------------------------------------------------------

FORMS = [{}, True, 'true', 'false', 1, 0, 1.0, [], [True], '', {'verfy': False}, {'Verify': True}, {'verify': 'false'},
         {'verify': False}, {'verify': 0}, {'servername': 5}, {'server_name': 'target.test'}, {'ca': 'no PEM'},
         {'ca': ['x']}, {'cert': 'x'}, {'key': 'x'}, {'alpn': 'h2'}, {'alpn': [1]}, {'enabled': True},
         {'servername': 'x' * 300}, {'tls': True}]


def is_clear(recorded):
    """Has anything but a ClientHello come, or what follows it?"""
    return bool(recorded) and not recorded.startswith(b'\x16\x03') or SECRET.encode('ascii') in recorded


def test_no_form_of_tls_goes_in_the_clear(running_gateway):
    gateway, recorded = running_gateway(QUICK), []
    with serving(recorder(recorded)) as port:
        for tls in FORMS + [None, False]:
            with opened(gateway) as client:
                client.send_json(command='connect', host='127.0.0.1', port=port, tls=tls)
                for request in ({'command': 'send', 'data': SECRET}, {'command': 'sendb', 'data': 'eHh4eHh4eHh4'}):
                    client.send_json(**request)
                client.send_frame(BINARY, SECRET.encode('ascii'))
                client.send_frame(CLOSE)
                client.receive_all()
        wait_until(lambda: len(recorded) >= 4)
        wait_until(lambda: is_empty(gateway))
    secret = SECRET.encode('ascii')
    assert [data for data in recorded if is_clear(data)] == 2 * [secret + b'xxxxxxxxx' + secret]


@pytest.mark.parametrize('then', [saying(b'220 ready\r\n', sink), echo, sink, saying(b'', lambda sock: None)],
                         ids=['plain', 'echo', 'silent', 'close'])
def test_after_a_handshake_that_fails_nothing_follows_in_the_clear(running_gateway, pki, then):
    gateway, recorded = running_gateway(QUICK), []

    def record_beside(sock):
        then(Recorded(sock, recorded))
        recorder(recorded)(sock)

    with serving(record_beside) as port:
        for begin in ('connect', 'starttls'):
            with opened(gateway) as client:
                if begin == 'starttls':
                    client.connect_to(port)
                asked = {'host': '127.0.0.1', 'port': port, 'tls': True} if begin == 'connect' else {}
                client.send_json(command=begin, **asked)
                client.send_json(command='send', data=SECRET)
                client.send_frame(BINARY, SECRET.encode('ascii'))
                replies = []
                while NOT_CONNECTED not in replies:
                    replies.append(outcome(client.receive_json()))
                assert replies.count(TLS) == 1 or CLOSED in replies
        wait_until(lambda: is_empty(gateway))
    assert SECRET.encode('ascii') not in b''.join(recorded)


def outcome(reply):
    return (reply['code'], reply.get('reason'))


class Recorded(object):
    """A socket of which all that comes is kept."""

    def __init__(self, sock, recorded):
        self._sock, self._recorded = sock, recorded

    def recv(self, count):
        data = self._sock.recv(count)
        self._recorded.append(data)
        return data

    def sendall(self, data):
        self._sock.sendall(data)


@pytest.mark.parametrize('query', ['tls=1', 'tls=yes', 'tls=true', 'tls', 'TLS=1', 'tls=0&tls=1', 'tls=%31', 'tls=off'])
def test_a_url_that_asks_for_tls_in_any_way_gets_it_or_nothing(running_gateway, query):
    gateway, recorded = running_gateway(QUICK), []
    with serving(recorder(recorded)) as port:
        for path in ('/127.0.0.1:%d?' % port, '/?address=127.0.0.1:%d&' % port, '/?host=127.0.0.1&port=%d&' % port):
            with RawClient(gateway.address) as client:
                client.open(path + query)
                client.send_frame(BINARY, SECRET.encode('ascii'))
                client.send_frame(CLOSE)
                client.receive_all()
        wait_until(lambda: len(recorded) == 3)
    assert [data for data in recorded if not data.startswith(b'\x16\x03') or SECRET.encode('ascii') in data] == []


def test_the_line_of_a_token_that_asks_for_tls_gets_it_or_nothing(running_gateway, tmp_path):
    recorded = []
    with serving(recorder(recorded)) as port:
        lines = {'yes': '%s tls', 'case': '%s TLS', 'more': '%s tls=1', 'both': '%s tls udp', 'open': '%s'}
        (tmp_path / 'tokens').write_text(u''.join(
            u'%s: %s\n' % (name, line % '127.0.0.1:%d' % port) for name, line in sorted(lines.items())))
        gateway = running_gateway(dict(QUICK, raw={'tokens': str(tmp_path / 'tokens')}))
        for name in sorted(lines):
            with RawClient(gateway.address) as client:
                client.send(upgrade_request('/?token=' + name))
                head = client.receive_head()
                if b' 101 ' in head:
                    client.send_frame(BINARY, SECRET.encode('ascii'))
                    client.send_frame(CLOSE)
                client.receive_all()
                assert (b' 101 ' in head) == (name in ('yes', 'open'))
        wait_until(lambda: len(recorded) == 2)
    assert sorted(data.startswith(b'\x16\x03') for data in recorded) == [False, True]
    assert [data for data in recorded if SECRET.encode('ascii') in data] == [SECRET.encode('ascii')]


# -- the end -----------------------------------------------------------------------------------------------------------

def in_order(sock):
    sock.sendall(b'all')
    sock.unwrap()


def without_a_word(sock):
    sock.sendall(b'all')


def with_a_reset(sock):
    sock.sendall(b'all')
    sock.recv(1)  # a reset would throw away what has not been read
    reset(sock)


def with_garbage(sock):
    """Behind data, mostly in one piece with it, and with no end of the connection."""
    sock.sendall(b'all')
    ws2s.beneath(sock).send(b'\x17\x03\x03\0\x20' + b'g' * 32)
    silence(sock)


def in_order_and_stays(sock):
    """As in_order(), and the connection beneath goes on."""
    sock.sendall(b'all')
    ws2s.beneath(sock).send(ws2s.close_notify(sock))
    silence(sock)


@pytest.mark.parametrize('newest', ['1.2', '1.3'])
@pytest.mark.parametrize('then, outcome', [
    (in_order, CLOSED), (in_order_and_stays, CLOSED), (without_a_word, RESET), (with_a_reset, RESET),
    (with_garbage, RESET)])
def test_only_an_end_that_tls_itself_has_told_is_no_reset(gateway, pki, good, newest, then, outcome):
    with tls_target(good, then, newest=newest) as port, opened(gateway) as client:
        assert is_secured(connect(client, port, tls=trusting(pki)))
        assert client.receive_data(3) == b'all'
        client.send_json(command='send', data='x')
        replies = [client.receive_json(), client.receive_json()]
        assert outcome in [(reply['code'], reply.get('reason')) for reply in replies]
        assert failure(client.ask(command='finish')) == NOT_CONNECTED


# -- memory ------------------------------------------------------------------------------------------------------------

def test_a_slow_reader_stalls_its_target_and_gets_every_byte_later(small_kernel_buffers, gateway, pki, good):
    total = 24 * MEGABYTE
    flood = Flood(NOISE, total)

    def to_the_end(sock):
        flood(sock)
        sock.unwrap()

    with tls_target(good, to_the_end) as port, opened(gateway, receive_buffer=65536) as client:
        assert is_secured(connect(client, port, tls=trusting(pki), binary=True))
        assert wait_until_still(lambda: flood.sent) < total // 2
        assert gateway.budget.bytes <= BUFFER + 2 * READ
        Reading(NOISE).take_from(client, total)
        assert failure(client.receive_json()) == CLOSED


def test_a_slow_target_stalls_its_client_and_gets_every_byte_later(small_kernel_buffers, gateway, pki, good):
    reading, may_read, total = Reading(NOISE), threading.Event(), 24 * MEGABYTE
    with tls_target(good, when(may_read, lambda sock: record(sock, reading))) as port, released(may_read), \
            opened(gateway) as client:
        assert is_secured(connect(client, port, tls=trusting(pki)))
        with Upload(client, NOISE, total, True) as upload:
            assert wait_until_still(lambda: upload.sent) < total
            assert gateway.budget.bytes <= BUFFER + 2 * READ
            may_read.set()
            wait_until(lambda: reading.position == total, 60)


# -- clients that go ---------------------------------------------------------------------------------------------------

def in_the_handshake(scene):
    client = scene.client()
    client.send_json(command='connect', host='127.0.0.1', port=scene.ports['silent'], tls=True)
    client.send_json(command='send', data=SECRET)
    return client


def when_idle(scene):
    client = scene.client()
    assert is_secured(connect(client, scene.ports['sink'], tls=scene.tls))
    return client


def streaming_up(scene):
    client = scene.client()
    assert is_secured(connect(client, scene.ports['unread'], tls=scene.tls))
    client.send(frame(BINARY, b'x' * MEGABYTE, mask=b'mask'))
    return client


def streaming_down(scene):
    client = scene.client()
    assert is_secured(connect(client, scene.ports['flood'], tls=scene.tls))
    client.receive_data(1)
    return client


def after_finish(scene):
    client = streaming_down(scene)
    client.send_json(command='finish')
    return client


def half_open(scene):
    client = scene.client()
    assert is_secured(connect(client, scene.ports['ended'], tls=scene.tls, half_open=True))
    assert client.receive_data(3) == b'all'
    assert failure(client.receive_json()) == FINISHED
    return client


def before_starttls(scene):
    """What goes before it is still on its way."""
    client = scene.client().connect_to(scene.ports['unread in the clear'])
    client.send(frame(BINARY, b'x' * MEGABYTE, mask=b'mask'))
    client.send_json(command='starttls')
    client.send_json(command='send', data=SECRET)
    return client


def in_starttls(scene):
    client = scene.client().connect_to(scene.ports['silent'])
    client.send_json(command='starttls')
    client.send_json(command='send', data=SECRET)
    return client


STAGES = [in_the_handshake, when_idle, streaming_up, streaming_down, after_finish, half_open, before_starttls,
          in_starttls]


class Scene(object):
    """A gateway and the targets of all stages."""

    def __init__(self, gateway, tls, ports):
        self._gateway, self.tls, self.ports = gateway, tls, ports

    def client(self):
        return RawClient(self._gateway.address).open()


def with_close(client):
    client.send_frame(CLOSE)
    client.sock.close()


@pytest.mark.usefixtures('many_descriptors')
def test_nothing_is_left_of_clients_that_go_in_any_state_of_tls(running_gateway, pki, good):
    gateway = running_gateway({'limits': {'drainSeconds': 0.3, 'connectSeconds': 0.5}})
    with tls_target(good, sink) as sink_port, tls_target(good, flood) as flood_port, \
            tls_target(good, silence) as unread, tls_target(good, in_order_and_stays) as ended_port, \
            unaccepted() as silent:
        scene = Scene(gateway, trusting(pki), {'sink': sink_port, 'flood': flood_port, 'unread': unread,
                                               'ended': ended_port, 'silent': silent, 'unread in the clear': silent})
        for _ in range(3):
            for stage in STAGES:
                for leave in (with_fin, with_close, RawClient.abort):
                    leave(stage(scene))
        wait_until(lambda: is_empty(gateway), 20, 'the last of them to be gone')
        wait_until(lambda: gateway.loop.live_timers() == 0)


# -- the rules ---------------------------------------------------------------------------------------------------------

JUDGED = (4, 'forbidden'), (1, 'dns'), (6, 'ssh-unreachable'), BAD_REQUEST


@pytest.mark.parametrize('host', ['127.0.0.1', '127.1', '0x7f.1', '2130706433', '0', '0.0.0.0', '::1',
                                  '::ffff:127.0.0.1', '64:ff9b::7f00:1', 'localhost', 'LOCALHOST.', '169.254.169.254'])
def test_the_rules_judge_as_without_tls(running_gateway, host):
    gateway, touched = running_gateway({'allowConnectToServerLocal': False}), []
    with serving(recorder(touched)) as port, opened(gateway) as client:
        for tls in (True, {'servername': 'example.com'}):
            assert failure(connect(client, port, host, tls)) in JUDGED
        assert failure(connect(client, port, 'example.com', True, ssh_host=host, ssh_username='x',
                               ssh_password='x')) in JUDGED
        with RawClient(gateway.address) as raw:
            raw.send(upgrade_request('/?tls=1&address=%s:%d' % (host, port)))
            head = raw.receive_head()
            if b' 101 ' in head:
                assert raw.receive_close() in ((1011, 'forbidden'), (1011, 'dns'))
            else:
                assert b' 403 ' in head or b' 400 ' in head
        with RawClient(('127.0.0.1', port)):
            pass
        wait_until(lambda: touched == [b''])
