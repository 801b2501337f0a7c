# -*- coding: utf-8 -*-
"""TLS to servers that nobody here wrote: Redis, PostgreSQL, exim, Dovecot, openssl s_server; and through OpenSSH."""

import base64
import contextlib
import os
import re
import shutil
import struct
import subprocess
import tempfile

import pytest

from installed import needs
from mail_servers import running_dovecot, running_exim
from postgres_server import CLEAR, PASSWORD, running_postgres
from raw_client import BINARY
from redis_server import resp, running_redis
from ssh_server import make_key, read, running_sshd, some_account, write
from tape import Reading, Tape
from targets import closed_port, echo, serving
from test_half_close import end_half, hear, said, until_end
from test_starttls import Upgrading
from tls_targets import (CLOSED, FINISHED, NOT_CONNECTED, RESET, TLS, connect, failure, is_secured, opened, said_of,
                         tls_target, trusting)
from waiting import wait_until

pytestmark = [pytest.mark.programs, pytest.mark.usefixtures('no_mistakes')]

MEGABYTE = 1 << 20
NOISE = Tape(74)


class Dialogue(object):
    """With a server that is connected to in binary."""

    def __init__(self, client):
        self._client, self._data = client, b''

    def say(self, text):
        self._client.send_frame(BINARY, text if isinstance(text, bytes) else text.encode('ascii'))

    def hear(self, pattern):
        """All up to what matches."""
        while not re.search(pattern, self._data):
            opcode, payload = self._client.receive_frame()
            assert opcode == BINARY, payload
            self._data += payload
        end = re.search(pattern, self._data).end()
        said, self._data = self._data[:end], self._data[end:]
        return said

    def starttls(self, pki, **fields):
        assert not self._data
        reply = self._client.ask(command='starttls', **trusting(pki, **fields))
        assert is_secured(reply, 'starttls'), reply


# -- Redis -------------------------------------------------------------------------------------------------------------

@contextlib.contextmanager
def redis_with_tls(pki, certified):
    with running_redis('--tls-port', '{tls_port}', '--tls-cert-file', certified.path, '--tls-key-file', certified.key,
                       '--tls-ca-cert-file', pki.root.path, '--tls-auth-clients', 'yes') as redis:
        yield redis


def test_redis_that_wants_a_certificate(gateway, pki, good):
    mine = pki.client('mine')
    with redis_with_tls(pki, good) as redis, opened(gateway) as client:
        fields = trusting(pki, cert=mine.cert, key=read(mine.key))
        reply = connect(client, redis.tls_port, tls=fields, binary=True)
        assert is_secured(reply) and reply['tls']['version'] == 'TLSv1.3'
        dialogue = Dialogue(client)
        value = NOISE.cut(0, MEGABYTE)
        dialogue.say(resp(['SET', 'a', value]) + resp(['GET', 'a']))
        assert dialogue.hear(br'\+OK\r\n\$1048576\r\n') and dialogue.hear(br'(?s).{1048578}') == value + b'\r\n'
        assert redis.ask('GET', 'a') == value
        connect(client, redis.tls_port, tls=trusting(pki))
        reply = client.receive_json()
        assert failure(reply) == RESET
        assert reply['message'] == 'connection reset: the target wants a certificate of the client (cert, key)'


# -- PostgreSQL --------------------------------------------------------------------------------------------------------

SSL_REQUEST = struct.pack('!II', 8, 80877103)


def postgres_message(kind, payload):
    return kind + struct.pack('!I', 4 + len(payload)) + payload


def with_ssl(postgres, certified):
    """Have a PostgresServer speak TLS."""
    folder = postgres.ask('SHOW data_directory')
    for name, path in (('server.crt', certified.path), ('server.key', certified.key)):
        copy = os.path.join(folder, name)
        write(copy, read(path))
        os.chown(copy, os.stat(folder).st_uid, -1)
    postgres.ask("ALTER SYSTEM SET ssl = on")
    postgres.ask("SELECT pg_reload_conf()")
    wait_until(lambda: postgres.ask('SHOW ssl') == 'on', 30)


def test_postgresql_by_its_own_request_and_starttls(gateway, pki, good):
    with running_postgres() as postgres, opened(gateway) as client:
        client.connect_to(postgres.port, binary=True)
        dialogue = Dialogue(client)
        dialogue.say(SSL_REQUEST)
        assert dialogue.hear(b'.') == b'N'
        with_ssl(postgres, good)
        client.connect_to(postgres.port, binary=True)
        dialogue = Dialogue(client)
        dialogue.say(SSL_REQUEST)
        assert dialogue.hear(b'.') == b'S'
        dialogue.starttls(pki, servername='target.test')
        words = struct.pack('!I', 196608) + b'user\0' + CLEAR.encode('ascii') + b'\0database\0postgres\0\0'
        dialogue.say(struct.pack('!I', 4 + len(words)) + words)
        dialogue.hear(br'R\0\0\0\x08\0\0\0\x03')
        dialogue.say(postgres_message(b'p', PASSWORD.encode('utf-8') + b'\0'))
        dialogue.hear(br'Z\0\0\0\x05I')
        dialogue.say(postgres_message(b'Q', b'SELECT version || 5 FROM pg_stat_ssl WHERE pid = pg_backend_pid()\0'))
        assert b'TLSv1.35' in dialogue.hear(br'Z\0\0\0\x05I')
        dialogue.say(postgres_message(b'X', b''))
        assert failure(client.receive_json()) in (CLOSED, RESET)  # it ends without a close_notify


# -- mail --------------------------------------------------------------------------------------------------------------

def test_smtp_with_starttls(gateway, pki, good):
    with running_exim(good) as exim, opened(gateway) as client:
        client.connect_to(exim.port, binary=True)
        dialogue = Dialogue(client)
        dialogue.hear(br'220 .*\r\n')
        dialogue.say('EHLO client.test\r\n')
        assert b'STARTTLS' in dialogue.hear(br'250 .*\r\n')
        dialogue.say('STARTTLS\r\n')
        dialogue.hear(br'220 .*\r\n')
        dialogue.starttls(pki)
        dialogue.say('EHLO client.test\r\n')
        assert b'STARTTLS' not in dialogue.hear(br'250 .*\r\n')
        for line, answer in (('MAIL FROM:<a@x.test>', b'250'), ('RCPT TO:<b@mail.test>', b'250'), ('DATA', b'354')):
            dialogue.say(line + '\r\n')
            dialogue.hear(answer + br' .*\r\n')
        body = base64.b64encode(NOISE.cut(0, 60000)).decode('ascii')
        dialogue.say('Subject: x\r\n\r\n%s\r\n.\r\n' % '\r\n'.join(re.findall('.{1,70}', body)))
        dialogue.hear(br'250 OK .*\r\n')
        path = os.path.join(exim.folder, 'mail')
        wait_until(lambda: os.path.exists(path) and body[-20:] in read(path).replace('\n', ''), 30)
        assert body in read(path).replace('\n', '') and ' X=TLS1.3:' in exim.log()
        dialogue.say('QUIT\r\n')
        dialogue.hear(br'221 .*\r\n')
        assert failure(client.receive_json()) == CLOSED


@pytest.mark.parametrize('way', ['tls', 'starttls'])
def test_imap(gateway, pki, good, way):
    with running_dovecot(good) as dovecot, opened(gateway) as client:
        dialogue = Dialogue(client)
        if way == 'tls':
            assert is_secured(connect(client, dovecot.tls_port, tls=trusting(pki), binary=True))
            dialogue.hear(br'\* OK .*\r\n')
        else:
            client.connect_to(dovecot.port, binary=True)
            dialogue.hear(br'\* OK .*\r\n')
            dialogue.say('b STARTTLS\r\n')
            dialogue.hear(br'b OK .*\r\n')
            dialogue.starttls(pki)
        dialogue.say('c LOGIN someone secret\r\n')
        dialogue.hear(br'c OK .*\r\n')
        body = base64.b64encode(NOISE.cut(0, 100000))
        dialogue.say('d APPEND INBOX {%d}\r\n' % (len(body) + 14))
        dialogue.hear(br'\+ .*\r\n')
        dialogue.say(b'Subject: x\r\n\r\n' + body + b'\r\n')
        dialogue.hear(br'd OK .*\r\n')
        dialogue.say('e SELECT INBOX\r\n')
        dialogue.hear(br'e OK .*\r\n')
        dialogue.say('f FETCH 1 BODY[TEXT]\r\n')
        assert body in dialogue.hear(br'f OK .*\r\n')
        dialogue.say('g LOGOUT\r\n')
        dialogue.hear(br'g OK .*\r\n')
        assert failure(client.receive_json()) == CLOSED


# -- openssl s_server --------------------------------------------------------------------------------------------------

@contextlib.contextmanager
def s_server(certified, *options):
    """The port of one that gives back each line reversed."""
    command = [needs('openssl', 'openssl'), 's_server', '-accept', '127.0.0.1:0', '-rev', '-cert', certified.path,
               '-cert_chain', certified.path, '-key', certified.key] + list(options)
    with open(os.devnull, 'r+') as nothing:
        process = subprocess.Popen(command, stdin=nothing, stdout=subprocess.PIPE, stderr=nothing, close_fds=True)
    try:
        line = process.stdout.readline()
        while line and not line.startswith(b'ACCEPT'):
            line = process.stdout.readline()
        yield int(line.rpartition(b':')[2])
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.mark.parametrize('options', [('-tls1_2',), ('-tls1_3',), ('-tls1_2', '-no_ticket'),
                                     ('-tls1_3', '-num_tickets', '9'), ('-tls1_3', '-max_send_frag', '512')],
                         ids=' '.join)
def test_s_server_in_all_its_ways(gateway, pki, good, options):
    with s_server(good, *options) as port, opened(gateway) as client:
        reply = connect(client, port, tls=trusting(pki), binary=True)
        assert is_secured(reply) and reply['tls']['version'] == options[0][1:].replace('tls1_', 'TLSv1.')
        dialogue = Dialogue(client)
        for text in ('abc', 'x' * 10000 + 'y'):
            dialogue.say(text + '\n')
            assert dialogue.hear(br'\n').strip() == text[::-1].encode('ascii')


NO_VERSION = 'the target and the gateway have no common version of TLS'
NO_CERTIFICATE = 'the target has refused the TLS handshake; it may want a certificate'


@pytest.mark.parametrize('options, told', [
    (('-tls1', '-cipher', 'ALL:@SECLEVEL=0'), NO_VERSION), (('-tls1_1', '-cipher', 'ALL:@SECLEVEL=0'), NO_VERSION),
    (('-tls1_2', '-cipher', 'aNULL:@SECLEVEL=0'), NO_CERTIFICATE),
    (('-tls1_2', '-Verify', '1', '-verify_return_error'), NO_CERTIFICATE)], ids=['1.0', '1.1', 'anonymous', 'wanting'])
def test_s_server_with_which_there_is_nothing_to_agree_on(gateway, pki, good, options, told):
    with s_server(good, *options) as port, opened(gateway) as client:
        assert said_of(connect(client, port, tls=trusting(pki))) == told


def test_the_weakest_key_is_called_so(gateway, pki):
    weak = pki.server('weakest', kind=('RSA', 'rsa_keygen_bits:512'))
    with s_server(weak, '-tls1_2', '-cipher', 'ALL:@SECLEVEL=0') as port, opened(gateway) as client:
        told = said_of(connect(client, port, tls=trusting(pki)))
        assert 'weak' in told or told.startswith('the certificate of the target cannot be verified')


# -- through an SSH server ---------------------------------------------------------------------------------------------

@pytest.fixture(scope='module')
def account():
    needs('ssh', 'openssh-client')
    with some_account() as account:
        yield account


@pytest.fixture
def hop(account, running_gateway):
    """A gateway, and the fields of a connect by way of an SSH server."""
    folder = tempfile.mkdtemp(dir='/tmp', prefix='ws2stest-')
    try:
        with running_sshd(account) as server:
            gateway = running_gateway({'ssh': {'knownHosts': os.path.join(folder, 'known_hosts')}})
            yield gateway, server.hop(ssh_private_key=server.authorize(make_key(folder)).text)
            gateway.stop()
    finally:
        shutil.rmtree(folder)


def test_tls_and_starttls_through_ssh(hop, pki, good):
    gateway, login = hop
    with tls_target(good, echo) as port, opened(gateway) as client:
        assert is_secured(connect(client, port, tls=trusting(pki), binary=True, **login))
        for piece in NOISE.pieces(4 * MEGABYTE, MEGABYTE):
            client.send_frame(BINARY, piece)
            assert client.receive_data(len(piece)) == piece
        assert said_of(connect(client, port, tls=trusting(pki, servername='other.test'), **login)).endswith(
            'is for other names')
        assert failure(connect(client, closed_port(), tls=True, **login)) == (2, 'refused')
        assert failure(client.ask(command='send', data='x')) == NOT_CONNECTED
    for certified in (good, pki.server('expired', days=(-20, -10))):
        with serving(Upgrading(certified, echo)) as port, opened(gateway) as client:
            client.connect_to(port, binary=True, **login)
            dialogue = Dialogue(client)
            dialogue.say('please\n')
            dialogue.hear(b'ready\n')
            reply = client.ask(command='starttls', **trusting(pki))
            if certified is good:
                assert is_secured(reply, 'starttls')
                dialogue.say('abc')
                dialogue.hear(b'abc')
            else:
                assert said_of(reply) and failure(client.ask(command='send', data='x')) == NOT_CONNECTED
    with serving(echo) as port, opened(gateway) as client:
        assert failure(connect(client, port, tls=True, **login)) == TLS


@pytest.mark.parametrize('kind', ['clear', 'tls'])
def test_each_half_ends_by_itself_through_ssh(hop, pki, good, kind):
    gateway, login = hop
    tls, received = (None, []) if kind == 'clear' else (trusting(pki), [])

    def answering(sock):
        for piece in NOISE.pieces(10 * MEGABYTE, 65536):
            sock.sendall(piece)
        received.append(until_end(sock))
        sock.sendall(NOISE.cut(10 * MEGABYTE, 100))
        end_half(sock)

    def listening(sock):
        end_half(sock)
        received.append(until_end(sock))

    for then in (answering, listening):
        with (tls_target(good, then) if tls else serving(then)) as port, opened(gateway) as client:
            reply = connect(client, port, tls=tls, binary=True, half_open=then is listening, **login)
            assert said(reply) == 'connect done'
            reading = Reading(NOISE)
            if then is answering:
                client.send_frame(BINARY, b'words')
                client.send_json(command='finish')
                assert hear(client, reading, CLOSED) == ['finish done', CLOSED]
                assert reading.position == 10 * MEGABYTE + 100 and received == [b'words']
            else:
                assert hear(client, reading, FINISHED) == [FINISHED]
                client.send_frame(BINARY, b'more words')
                assert said(client.ask(command='close')) == 'close done'
                wait_until(lambda: received[1:] == [b'more words'])
