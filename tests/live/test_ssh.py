# -*- coding: utf-8 -*-
"""Targets behind a real OpenSSH server: logins, failures of the hop, the targets themselves, and what is left."""

import contextlib
import hashlib
import json
import logging
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time

import pytest

import ws2s
from census import children, is_empty
from installed import needs
from program import WS2S, clean_environment, started
from raw_client import BINARY, CLOSE, RawClient, frame, sendb_frame
from ssh_server import NUMBERS, make_key, read, run, running_sshd, some_account, write
from tape import Reading, Tape
from targets import (closed_port, echo, recorder, released, reset, saying, serving, shut, silence, silent_port,
                     unaccepted, when)
from waiting import assert_holds, wait_until, wait_until_still

pytestmark = [pytest.mark.programs, pytest.mark.independent, pytest.mark.usefixtures('no_mistakes')]

MEGABYTE = 1 << 20
PIECE = 32768
NOISE = Tape(22)
PASSWORD = u'Correct-horse_1'
PASSPHRASE = u'battery staple'
CLOSED, RESET = (5, 'closed'), (5, 'reset')


# -- what the tests need -----------------------------------------------------------------------------------------------

class Place(object):
    """Folders of one test: ``temporary`` is where the gateway puts what it keeps for a while."""

    def __init__(self, path):
        self.path, self.temporary = path, os.path.join(path, 't')
        self.known_hosts = os.path.join(path, 'home', 'known_hosts')
        os.mkdir(self.temporary)


@pytest.fixture(autouse=True)
def place(monkeypatch):
    """A short path, because the names of Unix sockets must be. The gateway must have left nothing of its own there."""
    path = tempfile.mkdtemp(dir='/tmp', prefix='ws2stest-')
    place = Place(path)
    monkeypatch.setenv('TMPDIR', place.temporary)
    monkeypatch.setattr(tempfile, 'tempdir', place.temporary)
    yield place
    left = os.listdir(place.temporary)
    shutil.rmtree(path)
    assert left == []


@pytest.fixture(scope='module')
def account():
    needs('ssh', 'openssh-client')
    with some_account() as account:
        yield account


@pytest.fixture(scope='module')
def keys():
    """``keys(kind, form, passphrase)`` gives a Key, the same when asked for the same again."""
    folder, made = tempfile.mkdtemp(dir='/tmp', prefix='ws2stest-'), {}

    def key(kind='ed25519', form='RFC4716', passphrase=u''):
        if (kind, form, passphrase) not in made:
            made[kind, form, passphrase] = make_key(folder, kind, form, passphrase)
        return made[kind, form, passphrase]

    yield key
    shutil.rmtree(folder)


@pytest.fixture
def server(account):
    with running_sshd(account) as server:
        yield server


@pytest.fixture
def start(running_gateway, place):
    """Starts gateways: ``start(ssh={...}, limits={...}, ...)``."""
    def begin(ssh=None, **settings):
        return running_gateway(dict(settings, ssh=dict({'knownHosts': place.known_hosts}, **(ssh or {}))))
    return begin


@pytest.fixture
def gateway(server, start):
    return start()


@pytest.fixture
def login(server, keys):
    """The fields of a connect that logs in to ``server``."""
    return server.hop(ssh_private_key=server.authorize(keys()).text)


@pytest.fixture
def echo_port():
    with serving(echo) as port:
        yield port


@contextlib.contextmanager
def opened(gateway, **parameters):
    with RawClient(gateway.address, **parameters) as client:
        yield client.open()


def failed(client, port, host='127.0.0.1', **fields):
    """(code, reason) of a connect that must fail."""
    return failure(client.ask(command='connect', host=host, port=port, **fields))


def failure(reply):
    assert sorted(reply) == ['code', 'message', 'reason', 'success'] and reply['success'] is False, reply
    return reply['code'], reply['reason']


def assert_echoes(client, total=1000, form=lambda piece: frame(BINARY, piece)):
    """``total`` bytes go to the target of ``client``, an echo, and come back the same; both ways at one time."""
    def send():
        for piece in NOISE.pieces(total, PIECE):
            client.send(form(piece))
    sender = threading.Thread(target=send)
    sender.start()
    try:
        Reading(NOISE).take_from(client, total)
    except BaseException:
        shut(client.sock)
        raise
    finally:
        sender.join(10)
    settle(client)


def settle(client):
    """Pass over the replies that are under way."""
    client.send_json(command='ping')
    while True:
        reply = client.receive_json()
        assert reply['success'], reply
        if reply['message'] == 'ping done':
            return


def ssh_processes():
    """Processes of the gateways in this one that run ssh."""
    return [int(pid) for pid in children() if name_of(pid) == 'ssh']


def name_of(pid):
    try:
        return read('/proc/%s/comm' % pid).strip()
    except (IOError, OSError):
        return None


def wait_for_no_ssh(seconds=5):
    wait_until(lambda: not ssh_processes(), seconds, 'ssh to be gone')


class Bystander(object):
    """Another client of ``gateway``, which plainly echoes all the time; ``rounds`` so far."""

    def __init__(self, gateway, port):
        self.rounds, self._over = 0, False
        self._client = RawClient(gateway.address).open().connect_to(port, binary=True)
        self._thread = threading.Thread(target=self._run)
        self._thread.daemon = True

    def _run(self):
        with self._client as client:
            while not self._over:
                client.send_frame(BINARY, b'bystander')
                if client.receive_data(9) != b'bystander':
                    return
                self.rounds += 1

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, kind, *rest):
        alive = self._thread.is_alive()
        self._over = True
        self._thread.join(10)
        assert alive or kind, 'the plain client was disturbed'


@contextlib.contextmanager
def undisturbed(gateway, port):
    """What is done within must not hold up a plain client of the same gateway."""
    with Bystander(gateway, port) as bystander:
        begun = time.time()
        yield
        seconds = time.time() - begun
        # Less than a moment tells nothing where the machine has other work.
        assert bystander.rounds >= 10 * (seconds - 0.5), (bystander.rounds, seconds)


# -- logins ------------------------------------------------------------------------------------------------------------

def password(text=PASSWORD):
    return lambda server, keys: {'ssh_password': server.account.set_password(text)}


def key(kind='ed25519', form='RFC4716', passphrase=u'', spelt=lambda text: text):
    def credentials(server, keys):
        found = server.authorize(keys(kind, form, passphrase))
        fields = {'ssh_private_key': spelt(found.text)}
        return dict(fields, ssh_private_key_password=passphrase) if passphrase else fields
    return credentials


def both(*ways):
    """The fields of all; of two with the same name the last one."""
    def credentials(server, keys):
        fields = {}
        for way in ways:
            fields.update(way(server, keys))
        return fields
    return credentials


def wrong_password(server, keys):
    return {'ssh_password': u'not this one'}


def wrong_key(server, keys):
    return {'ssh_private_key': keys('ecdsa', 'PEM', u'').text}


def with_crlf(text):
    return text.replace('\n', '\r\n')


def without_final_newline(text):
    return text.rstrip('\n')


KEYBOARD_INTERACTIVE = {'PasswordAuthentication': 'no', 'KbdInteractiveAuthentication': 'yes', 'UsePAM': 'yes'}
KEY_AND_PASSWORD = {'AuthenticationMethods': 'publickey,password'}
PASSWORD_ALONE = {'PubkeyAuthentication': 'no'}

LOGINS = [
    ('password', {}, password()),
    ("the server's own choice of algorithms", {'KexAlgorithms': None}, key()),
    ('keyboard-interactive', KEYBOARD_INTERACTIVE, password()),
    ('password and key', {}, both(password(), key())),
    ('password, wrong key', {}, both(password(), wrong_key)),
    ('key, wrong password', {}, both(key(), wrong_password)),
    ('key that the server does not look at, password', PASSWORD_ALONE, both(key(), password())),
    ('key and password needed', KEY_AND_PASSWORD, both(key('rsa'), password())),
    ('key with passphrase and password needed', KEY_AND_PASSWORD, both(key(passphrase=PASSPHRASE), password())),
    ('passphrase of a key that has none', {}, both(key(), lambda server, keys: {'ssh_private_key_password': u'x'})),
    ('crlf', {}, key(spelt=with_crlf)),
    ('pem crlf', {}, key('rsa', 'PEM', spelt=with_crlf)),
    ('no final newline', {}, key(spelt=without_final_newline)),
    ('pem no final newline', {}, key('rsa', 'PEM', spelt=without_final_newline)),
    ('crlf no final newline', {}, key(spelt=lambda text: without_final_newline(with_crlf(text)))),
    ('blank lines around', {}, key(spelt=lambda text: '\n \n' + text + '\n\n')),
] + [
    ('%s %s%s' % (kind, form, ' passphrase' if passphrase else ''), {}, key(kind, form, passphrase))
    for kind, form in (('rsa', 'PEM'), ('rsa', 'PKCS8'), ('rsa', 'RFC4716'), ('ecdsa', 'PEM'), ('ecdsa', 'RFC4716'),
                       ('ed25519', 'RFC4716'))
    for passphrase in (u'', PASSPHRASE)
] + [
    ('password ' + name, {}, password(text)) for name, text in (
        ('with spaces', u'  two  words '), ('with quotes', u'a"b\'c`d'), ('with backslashes', u'\\n\\\\%s\\0 \\'),
        ('with a substitution', u'$(id)${HOME}`id`;#!&|<>*?~'), ('in utf-8', u'Gr\xfc\xdfe \u2603 \U0001f600'),
        ('like an option', u'-n -e'), ('of 200 characters', u'0123456789' * 20))
] + [
    ('passphrase ' + name, {}, key(passphrase=text)) for name, text in (
        ('with quotes', u'a "b" \'c\' `d` \\ $(id) $HOME'), ('in utf-8', u'Gr\xfc\xdfe \u2603 \U0001f600'))
]


@pytest.mark.parametrize('options, credentials', [row[1:] for row in LOGINS], ids=[row[0] for row in LOGINS])
def test_login_with(account, start, keys, echo_port, options, credentials):
    with running_sshd(account, **options) as server, opened(start()) as client:
        fields = server.hop(**credentials(server, keys))
        client.connect_to(echo_port, binary=True, **fields)
        assert_echoes(client, MEGABYTE)
        assert server.logins() == 1 and server.failed_passwords() == 0


def test_json_and_base64_go_both_ways_too(gateway, login, echo_port):
    with opened(gateway) as client:
        client.connect_to(echo_port, **login)
        assert_echoes(client, MEGABYTE, form=sendb_frame)
        client.send_json(command='send', data=u'Gr\xfc\xdfe')
        assert client.receive_data(7) == u'Gr\xfc\xdfe'.encode('utf-8')


def test_a_send_may_follow_connect_without_waiting(gateway, login, echo_port):
    with opened(gateway) as client:
        client.send_json(command='connect', host='127.0.0.1', port=echo_port, **login)
        client.send_json(command='send', data=u'early')
        assert [client.receive_json()['message'] for _ in range(2)] == ['connect done', 'send done']
        assert client.receive_data(5) == b'early'


BANNERS = [
    ('of words', u'Authorised users only.\nPermission denied (to all others).\n\n'),
    ('like the log of ssh', u'Permission denied (x)\nHost key verification failed.\nchannel 2: open failed: refused\n'
                            u'debug2: channel 2: open confirm\ndebug1: Connection established.\n'),
    ('in utf-8', u'Gr\xfc\xdfe \u2603\n'),
    ('with control characters', u'\x1b[31m\r\x07\x00\n'),
    ('of one long line', u'x' * 200000),
    ('of many lines', u'x\n' * 5000),
]


@pytest.mark.parametrize('text', [text for _, text in BANNERS], ids=[name for name, _ in BANNERS])
def test_a_server_may_greet_with_a_banner(account, start, place, keys, echo_port, text):
    """ssh writes it to standard error, between the lines that the gateway reads."""
    banner = os.path.join(place.path, 'banner')
    write(banner, text)
    with running_sshd(account, Banner=banner) as server, opened(start()) as client:
        fields = server.hop(**key()(server, keys))
        assert_echoes(client.connect_to(echo_port, binary=True, **fields))
        assert failed(client, closed_port(), **fields) == (2, 'refused')
        assert failed(client, echo_port, **dict(fields, ssh_username='ws2s-nobody')) == (6, 'ssh-auth')


@pytest.fixture
def key_folder(place, keys):
    """With the files ``key``, ``locked`` (with a passphrase) and ``folder/key``; ``../outside`` lies next to it."""
    folder = os.path.join(place.path, 'keys')
    os.makedirs(os.path.join(folder, 'folder'))
    for name in ('key', 'folder/key', '../outside'):
        write(os.path.join(folder, name), keys().text)
    write(os.path.join(folder, 'locked'), keys(passphrase=PASSPHRASE).text)
    return folder


@pytest.mark.parametrize('name, passphrase', [('key', u''), ('folder/key', u''), ('locked', PASSPHRASE)])
def test_a_key_may_be_given_by_its_path_below_a_key_directory(server, start, keys, key_folder, echo_port, name,
                                                              passphrase):
    server.authorize(keys(passphrase=passphrase))
    with opened(start({'keyDirectories': ['/nonexistent', key_folder]})) as client:
        fields = server.hop(ssh_private_key=os.path.join(key_folder, name), ssh_private_key_password=passphrase)
        assert_echoes(client.connect_to(echo_port, binary=True, **fields))


@pytest.mark.parametrize('name', ['../outside', 'folder/../../outside', 'nothing', 'folder', '', '.'])
def test_no_other_path_is_a_key(server, start, keys, key_folder, echo_port, name):
    server.authorize(keys())
    with opened(start({'keyDirectories': [key_folder]})) as client:
        fields = server.hop(ssh_private_key=os.path.join(key_folder, name))
        assert failed(client, echo_port, **fields) == (1, 'bad-request')
    assert not server.has_been_asked()


def test_without_key_directories_no_path_is_a_key(server, gateway, keys, key_folder, echo_port):
    server.authorize(keys())
    with opened(gateway) as client:
        fields = server.hop(ssh_private_key=os.path.join(key_folder, 'key'))
        assert failed(client, echo_port, **fields) == (1, 'bad-request')
    assert not server.has_been_asked()


# -- failures of the hop -----------------------------------------------------------------------------------------------

def passphrase_is(text):
    def credentials(server, keys):
        fields = {'ssh_private_key': server.authorize(keys(passphrase=PASSPHRASE)).text}
        return dict(fields, ssh_private_key_password=text) if text else fields
    return credentials


# In form a key, of which only ssh itself can tell that there is none in it.
GARBAGE = u'-----BEGIN PRIVATE KEY-----\nMBkCAQAEFHNzR2FyYmFnZUdhcmJhZ2VHYXJi\n-----END PRIVATE KEY-----\n'


def unknown_user(server, keys):
    return dict(key()(server, keys), ssh_username='ws2s-nobody')


REFUSED_LOGINS = [
    ('wrong password', {}, both(password(), wrong_password)),
    ('wrong key', {}, wrong_key),
    ('wrong passphrase', {}, passphrase_is(u'wrong')),
    ('wrong passphrase, pem', {}, both(key('rsa', 'PEM', PASSPHRASE),
                                       lambda server, keys: {'ssh_private_key_password': u'wrong'})),
    ('no passphrase', {}, passphrase_is(None)),
    ('unknown user', {}, unknown_user),
    ('unknown user, password', {}, both(wrong_password, lambda server, keys: {'ssh_username': 'ws2s-nobody'})),
    ('right key, password missing', KEY_AND_PASSWORD, key()),
    ('right key, wrong password', KEY_AND_PASSWORD, both(key(), wrong_password)),
    ('right password, key missing', KEY_AND_PASSWORD, password()),
    ('no credentials', {}, lambda server, keys: {}),
]


@pytest.mark.parametrize('options, credentials', [row[1:] for row in REFUSED_LOGINS],
                         ids=[row[0] for row in REFUSED_LOGINS])
def test_ssh_auth_for(account, start, keys, echo_port, options, credentials):
    gateway = start()
    with running_sshd(account, **options) as server, opened(gateway) as client:
        fields = server.hop(**credentials(server, keys))
        with undisturbed(gateway, echo_port):
            assert failed(client, echo_port, **fields) == (6, 'ssh-auth')
        assert client.ask(command='send', data='x')['code'] == 3
        assert_echoes(client.connect_to(echo_port, binary=True))
        wait_for_no_ssh()
        assert server.logins() == 0


def said(client, port, **fields):
    """(code, reason, message) of a connect that must fail."""
    reply = client.ask(command='connect', host='127.0.0.1', port=port, **fields)
    return failure(reply) + (reply['message'],)


FORMS = [(kind, form) for kind in ('rsa', 'ecdsa') for form in ('PEM', 'PKCS8', 'RFC4716')] + [('ed25519', 'RFC4716')]
# A7, A8: each of them in a real login; the others are tried in tests/unit/test_keys.py.
COPIES = [
    lambda text: text.replace('\n', ' '), lambda text: text.replace('\n', '\\n'),
    lambda text: text.replace('\n', '\\r\\n'), lambda text: text.replace('\n', '\n      '),
    lambda text: text.replace('\n', '\r'),
    lambda text: u'\ufeffBag Attributes\n  friendlyName: J\xf6rg\n' + text.replace('-----', u'\u2014\u2014') + u'\xfc',
    lambda text: u'"%s"' % text.strip('-\n')]


@pytest.mark.parametrize('kind, form', FORMS)
def test_a_key_that_copying_has_damaged_logs_in(server, gateway, keys, echo_port, kind, form):
    for passphrase in (u'', PASSPHRASE):
        found = server.authorize(keys(kind, form, passphrase))
        for copy in COPIES:
            with opened(gateway) as client:
                client.connect_to(echo_port, ssh_private_key_password=passphrase, ssh_private_key=copy(found.text),
                                  **server.hop())
    assert server.logins() == 2 * len(COPIES)


@pytest.mark.parametrize('kind, form', FORMS)
def test_what_is_wrong_with_a_key_is_told(server, gateway, keys, echo_port, kind, form):
    with opened(gateway) as client:
        hop = server.hop(ssh_private_key=server.authorize(keys(kind, form, PASSPHRASE)).text)
        assert said(client, echo_port, ssh_private_key_password=u'wrong', **hop) == (
            6, 'ssh-auth', 'the passphrase does not open the key (ssh_private_key_password)')
        server.forget()
        assert said(client, echo_port, **hop) == (
            6, 'ssh-auth', 'the passphrase is missing: the key is encrypted (ssh_private_key_password)')
        text = keys(kind, form, u'').text
        lines = text.split('\n')
        for damaged in (text.replace(lines[2], lines[2][1:]), text.replace(lines[-3], ''), lines[0], text[40:],
                        text[:-60]):
            code, reason, message = said(client, echo_port, **server.hop(ssh_private_key=damaged))
            assert (code, reason) == (1, 'bad-request')
            assert message.startswith('ssh_private_key is not a key that can be read')
        assert not server.has_been_asked()


def test_a_key_below_a_key_directory_is_rebuilt_and_its_missing_passphrase_is_told(server, start, key_folder, keys,
                                                                                   echo_port):
    write(os.path.join(key_folder, 'key'), u'\ufeff' + server.authorize(keys()).text.replace('\n', '\r\n  '))
    write(os.path.join(key_folder, 'ppk'), u'PuTTY-User-Key-File-3: ssh-rsa')
    with opened(start({'keyDirectories': [key_folder]})) as client:
        locked, ppk = [server.hop(ssh_private_key=os.path.join(key_folder, name)) for name in ('locked', 'ppk')]
        assert said(client, echo_port, **locked)[2] == ws2s.KEY_LOCKED.message
        assert said(client, echo_port, **ppk)[2] == ws2s.NO_SUCH_KEY.message  # as of what is not there
        assert_echoes(client.connect_to(echo_port, binary=True,
                                        **server.hop(ssh_private_key=os.path.join(key_folder, 'key'))))


def wrong_both(server, keys):
    return dict(wrong_key(server, keys), ssh_password=u'wrong')


CAUSES = [
    ('keys only', {'PasswordAuthentication': 'no'}, {}, wrong_password, ws2s.SSH_NO_PASSWORD),
    ('passwords only', PASSWORD_ALONE, {}, wrong_key, ws2s.SSH_NO_KEY),
    ('either', {}, {}, wrong_key, ws2s.SSH_AUTH),
    ('garbage', {}, {}, lambda server, keys: {'ssh_private_key': GARBAGE}, ws2s.KEY_UNREADABLE),
    ('garbage with a passphrase and a password', {}, {},
     lambda server, keys: {'ssh_private_key': GARBAGE, 'ssh_private_key_password': u'x', 'ssh_password': u'wrong'},
     ws2s.KEY_UNREADABLE),
    ('a part is missing', KEY_AND_PASSWORD, {}, key(), ws2s.SSH_HALF),
    ('too many attempts', {'MaxAuthTries': 1}, {}, wrong_both, ws2s.SSH_TOO_MANY),
    # A10
    ('an algorithm of keys that is not allowed', {}, u'PubkeyAcceptedAlgorithms ecdsa-sha2-nistp256\n', key('rsa'),
     ws2s.SSH_SIGNATURE),
    ('a key that is too short', {}, u'RequiredRSASize 3072\n', key('rsa'), ws2s.SSH_SHORT_KEY),
    ('no kex', {'KexAlgorithms': 'diffie-hellman-group1-sha1'}, {}, key(), 'KexAlgorithms +NAME in ssh.configFile'),
    ('no cipher', {'Ciphers': 'aes128-cbc'}, {}, key(), 'Ciphers +NAME in ssh.configFile'),
    ('no mac', {'MACs': 'hmac-md5', 'Ciphers': 'aes128-ctr'}, {}, key(), 'MACs +NAME in ssh.configFile'),
    ('no host key', {}, u'HostKeyAlgorithms rsa-sha2-256\n', key(), 'HostKeyAlgorithms +NAME in ssh.configFile'),
]


@pytest.mark.parametrize('options, lines, credentials, cause', [row[1:] for row in CAUSES],
                         ids=[row[0] for row in CAUSES])
def test_each_cause_that_ssh_states_has_a_sentence(account, start, place, keys, echo_port, options, lines, credentials,
                                                   cause):
    account.set_password(PASSWORD)
    write(os.path.join(place.path, 'options'), lines or u'')
    with running_sshd(account, **options) as server:
        gateway = start({'configFile': os.path.join(place.path, 'options')} if lines else {})
        with opened(gateway) as client:
            code, reason, message = said(client, echo_port, **server.hop(**credentials(server, keys)))
    if isinstance(cause, ws2s.Failure):
        assert (code, reason, message) == cause[:3]
    else:
        assert (code, reason) == (6, 'ssh-failed') and 'no algorithm in common' in message and cause in message


def test_an_old_algorithm_may_be_allowed_by_configFile(account, start, place, keys, echo_port):
    write(os.path.join(place.path, 'options'), u'KexAlgorithms +diffie-hellman-group1-sha1\nCiphers +aes128-cbc\n')
    with running_sshd(account, KexAlgorithms='diffie-hellman-group1-sha1', Ciphers='aes128-cbc') as server:
        with opened(start({'configFile': os.path.join(place.path, 'options')})) as client:
            assert_echoes(client.connect_to(echo_port, binary=True, **server.hop(**key()(server, keys))))


# A11: as in Fedora, RHEL 8 and SUSE; the last words are of an ssh that is newer than this one, or was built otherwise.
POLICY = u'''# a crypto policy
Ciphers aes256-gcm@openssh.com,chacha20-poly1305@openssh.com,aes256-ctr,aes128-ctr
MACs hmac-sha2-256-etm@openssh.com,hmac-sha2-256
GSSAPIKexAlgorithms gss-curve25519-sha256-,gss-nistp256-sha256-,gss-group14-sha256-
KexAlgorithms ecdh-sha2-nistp256,ecdh-sha2-nistp384,diffie-hellman-group14-sha256,curve25519-sha256
PubkeyAcceptedAlgorithms ecdsa-sha2-nistp256,ssh-ed25519,rsa-sha2-256,rsa-sha2-512
HostbasedAcceptedAlgorithms ecdsa-sha2-nistp256,ssh-ed25519
CASignatureAlgorithms ecdsa-sha2-nistp256,ssh-ed25519,rsa-sha2-256
RequiredRSASize 2048
RSAMinSize 2048
GSSAPIOfLater yes
WarnWeakCrypto no
HostbasedAcceptedOfLater yes
'''


@pytest.mark.parametrize('lines', [
    POLICY, POLICY.replace('PubkeyAcceptedAlgorithms', 'PubkeyAcceptedKeyTypes'), u'Include "%(policy)s"\n',
    u'Include %(policy)s', u'# x\nInclude %(folder)s/*.policy\nGSSAPIAuthentication yes\n',
    u'Match final all\n\tInclude %(policy)s\n\tGSSAPIAuthentication yes\n\tForwardX11Trusted yes\n\tSendEnv LC_*\n',
    u'Include %(folder)s/none/*.conf\nInclude %(policy)s\n'], ids=lambda lines: '%.30r' % lines)
def test_configFile_may_be_the_crypto_policy_of_the_system(server, start, place, login, echo_port, lines):
    policy, path = os.path.join(place.path, 'openssh.policy'), os.path.join(place.path, 'options')
    write(policy, POLICY)
    write(path, lines % {'policy': policy, 'folder': place.path} if '%(' in lines else lines)
    server.forget()
    with opened(start({'configFile': path})) as client:
        assert_echoes(client.connect_to(echo_port, binary=True, **login))
        assert failed(client, closed_port(), **login) == (2, 'refused')
    assert 'cipher: aes256-gcm@openssh.com' in server.log()  # the first of the policy, and not of ssh


# A9
@pytest.mark.parametrize('user', [u'root@corp.example', u'CORP\\me', u'CORP.example\\m.e', u'me@root#corp@db.lan',
                                  u'a=b@c', u'me@db:SSH:me', u'CORP\\name', u'CORP\\home', u'a@b@c'])
def test_the_name_of_a_user_reaches_the_server_as_it_is(server, gateway, keys, echo_port, user):
    fields = dict(server.hop(**key()(server, keys)), ssh_username=user)
    with opened(gateway) as client:
        assert failed(client, echo_port, **fields) == (6, 'ssh-auth')
    found = set(line.partition('userauth-request for user ')[2].partition(' service ')[0]
                for line in server.log().splitlines() if 'userauth-request for user ' in line)
    assert found in [{user.replace(u'\\', u'\\' * times)} for times in (1, 2, 4)]  # in its log


# C4: as OpenSSH 9.8 and 8.2 to 9.7 speak, one behind a proxy that counts, and older ones
@pytest.mark.parametrize('words, sentence', [
    (b'Not allowed at this time\r\n', ws2s.SSH_BUSY), (b'Exceeded MaxStartups\r\n', ws2s.SSH_BUSY),
    (b'', ws2s.SSH_SILENT), (b'HTTP/1.1 400 Bad Request\r\n\r\n', ws2s.SSH_SILENT),
    (b'SSH-1.5-x\r\n', ws2s.SSH_NONE), (b'SSH-2.0-OpenSSH_9.2\r\n', ws2s.SSH_HUNG_UP)],
    ids=lambda value: '%.30r' % (value,))
def test_a_server_that_takes_no_connections_just_now_is_told(start, echo_port, words, sentence):
    with answering(saying(words)) as fields, opened(start()) as client:
        found = said(client, echo_port, ssh_username='somebody', ssh_password=PASSWORD, **fields)
    assert found == sentence[:3]


def test_a_wrong_password_is_tried_once_only(server, gateway, echo_port):
    """Servers lock out who fails too often. It is shown once for each way to log in that takes one."""
    server.account.set_password(PASSWORD)
    with opened(gateway) as client:
        assert failed(client, echo_port, **server.hop(ssh_password=u'wrong')) == (6, 'ssh-auth')
    assert server.log().count('userauth-request for user %s service ssh-connection method password'
                              % server.account.name) == 1
    wait_until(lambda: server.failed_passwords() == 1)


def test_a_wrong_password_is_not_shown_again_as_the_answer_to_a_question(account, start, echo_port):
    options = {'KbdInteractiveAuthentication': 'yes', 'UsePAM': 'yes'}
    account.set_password(PASSWORD)
    with running_sshd(account, **options) as server, opened(start()) as client:
        assert failed(client, echo_port, **server.hop(ssh_password=u'wrong')) == (6, 'ssh-auth')
        wait_until(lambda: server.failed_passwords())
        assert server.failed_passwords() == 1


def hang_up(sock):
    pass


def hear_and_reset(sock):
    """Not before the other side knows that it is connected."""
    sock.recv(1)
    reset(sock)


@contextlib.contextmanager
def answering(on_connection):
    with serving(on_connection) as port:
        yield {'ssh_host': '127.0.0.1', 'ssh_port': port}


@contextlib.contextmanager
def dead(find):
    with find() as port:
        yield {'ssh_host': '127.0.0.1', 'ssh_port': port}


@contextlib.contextmanager
def nothing_there(host='127.0.0.1'):
    yield {'ssh_host': host, 'ssh_port': closed_port()}


HTTP_REPLY = b'HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n'
NO_SERVERS = [
    ('nothing listens', nothing_there, 'ssh-unreachable'),
    ('nothing listens on IPv6', lambda: nothing_there('::1'), 'ssh-unreachable'),
    ('name does not resolve', lambda: nothing_there('something.invalid'), 'ssh-unreachable'),
    ('no answer to a SYN', lambda: dead(silent_port), 'ssh-timeout'),
    ('no greeting', lambda: dead(unaccepted), 'ssh-timeout'),
    ('no word after the greeting', lambda: answering(saying(b'SSH-2.0-OpenSSH_9.2\r\n', silence)), 'ssh-timeout'),
    ('an HTTP server', lambda: answering(saying(HTTP_REPLY)), 'ssh-failed'),
    ('closes at once', lambda: answering(hang_up), 'ssh-failed'),
    ('resets when it has been greeted', lambda: answering(hear_and_reset), 'ssh-failed'),
    ('closes after the greeting', lambda: answering(saying(b'SSH-2.0-OpenSSH_9.2\r\n')), 'ssh-failed'),
    ('an SSH 1 server', lambda: answering(saying(b'SSH-1.5-old\r\n', silence)), 'ssh-failed'),
    ('noise after the greeting', lambda: answering(saying(b'SSH-2.0-x\r\n' + b'\xff' * 4096, silence)), 'ssh-failed'),
]


@pytest.mark.parametrize('find, reason', [row[1:] for row in NO_SERVERS], ids=[row[0] for row in NO_SERVERS])
def test_what_is_no_ssh_server_fails_in_time_by(start, echo_port, find, reason):
    gateway = start({'timeoutSeconds': 1 if reason == 'ssh-timeout' else 10})
    with find() as fields, opened(gateway) as client:
        begun = time.time()
        with undisturbed(gateway, echo_port):
            found = failed(client, echo_port, ssh_username='somebody', ssh_password=PASSWORD, **fields)
        seconds = time.time() - begun
        assert found == (6, reason)
        assert 0.9 < seconds < 3 if reason == 'ssh-timeout' else seconds < 5
        assert_echoes(client.connect_to(echo_port, binary=True))
        wait_for_no_ssh()


UNUSABLE = [
    ('ssh-missing', {'program': '/nonexistent/ssh'}, (6, 'ssh-missing')),
    ('ssh-missing on the PATH', {'program': 'ws2s-has-no-such-program'}, (6, 'ssh-missing')),
    ('ssh-disabled', {'enabled': False}, (6, 'ssh-disabled')),
]


@pytest.mark.parametrize('ssh, expected', [row[1:] for row in UNUSABLE], ids=[row[0] for row in UNUSABLE])
def test_a_gateway_that_cannot_run_ssh_says(server, start, login, echo_port, ssh, expected):
    gateway = start(ssh)
    with opened(gateway) as client:
        with undisturbed(gateway, echo_port):
            assert failed(client, echo_port, **login) == expected
        assert_echoes(client.connect_to(echo_port, binary=True))
        assert not server.has_been_asked()


def test_an_option_that_ssh_does_not_know_is_told_in_the_log(server, start, place, login, echo_port, caplog):
    path = os.path.join(place.path, 'options')
    write(path, u'Compression yes\nNoSuchOption yes\n')
    with opened(start({'configFile': path})) as client:
        assert failed(client, echo_port, **login) == (6, 'ssh-failed')
    logged = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert len(logged) == 1 and logged[0].startswith('ssh: ssh.configFile (below 5 lines of ws2s): line 7: Bad config')


@pytest.mark.parametrize('options', [{'AllowTcpForwarding': 'no'}, {'PermitOpen': '127.0.0.1:1'},
                                     {'DisableForwarding': 'yes'}], ids=lambda options: list(options)[0])
def test_a_server_that_prohibits_the_target_is_ssh_failed(account, start, keys, echo_port, options):
    gateway = start()
    with running_sshd(account, **options) as server, opened(gateway) as client:
        fields = server.hop(**key()(server, keys))
        with undisturbed(gateway, echo_port):
            assert failed(client, echo_port, **fields) == (6, 'ssh-failed')
        assert_echoes(client.connect_to(echo_port, binary=True))


def test_no_more_than_maxTunnels(server, start, login, echo_port):
    gateway = start({'maxTunnels': 1})
    with opened(gateway) as second:
        with opened(gateway) as first:
            first.connect_to(echo_port, binary=True, **login)
            assert failed(second, echo_port, **login) == (1, 'limit')
            assert server.logins() == 1
            assert_echoes(second.connect_to(echo_port, binary=True))
            assert_echoes(first)
        wait_until(lambda: not gateway.tunnels.tunnels, 5, 'the tunnel to be gone')  # which is after its ssh
        assert_echoes(second.connect_to(echo_port, binary=True, **login))


FORBIDDEN = [
    ('this machine', {'allowConnectToServerLocal': False}, '127.0.0.1'),
    ('this machine by name', {'allowConnectToServerLocal': False}, 'localhost'),
    ('deny rule', {'denyTargets': ['127.0.0.0/8']}, '127.0.0.1'),
    ('allow rule for another port', {'allowTargets': ['127.0.0.1:1']}, '127.0.0.1'),
    ('link-local', {}, '169.254.169.254'),
]


@pytest.mark.parametrize('settings, ssh_host', [row[1:] for row in FORBIDDEN], ids=[row[0] for row in FORBIDDEN])
def test_a_server_that_the_rules_forbid_is_never_dialled(server, start, login, settings, ssh_host):
    """Also when the target, which it would dial and not we, is one that the rules would allow."""
    server.forget()
    with opened(start(**settings)) as client:
        assert failed(client, 80, 'www.example.com', **dict(login, ssh_host=ssh_host)) == (4, 'forbidden')
    assert 'Connection from' not in server.log()


def test_the_rules_are_not_asked_about_the_target(server, start, login, echo_port):
    """That is the server's to dial: a forbidden address may well be right there."""
    gateway = start(denyTargets=['127.0.0.1:%d' % echo_port])
    with opened(gateway) as client:
        assert failed(client, echo_port) == (4, 'forbidden')
        assert_echoes(client.connect_to(echo_port, binary=True, **login))


MALFORMED = [
    ('ssh_host', [5, ['127.0.0.1'], True, '-oProxyCommand=id', 'a b', 'a\nb', 'a@b', 'ssh://a', '/tmp/x', 'x' * 300,
                  '%h', '$(id)', u'a\u2028b']),
    ('ssh_port', [0, -1, 65536, True, 22.0, 'ssh', '-p', [22]]),
    ('ssh_username', [None, '', 5, '-l', '-oProxyCommand=id', 'a b', 'a\nb', '%r', '$(id)', 'x' * 300, ['root']]),
    ('ssh_password', [5, ['x'], True, 'a\nb', 'a\rb', 'a\0b', 'x' * 5000, u'\ud800']),
    ('ssh_private_key', [5, ['x'], True, 'key', '~/.ssh/id_rsa', '-----BEGIN \0', 'x' * 100000, '/etc/passwd']),
    ('ssh_private_key_password', [5, ['x'], True, 'a\nb', 'a\0b', 'x' * 5000]),
    ('host', ['/var/run/docker.sock', '-L', 'a b', '*', '%h', '$(id)', '']),
]


@pytest.mark.parametrize('field, values', MALFORMED, ids=[field for field, _ in MALFORMED])
def test_no_process_is_begun_for_a_malformed(start, echo_port, keys, monkeypatch, field, values):
    begun = []
    monkeypatch.setattr(ws2s.subprocess, 'Popen', lambda *arguments, **rest: begun.append(arguments))
    with unaccepted() as port, opened(start()) as client:
        fields = dict(command='connect', host='127.0.0.1', port=echo_port, ssh_host='127.0.0.1', ssh_port=port,
                      ssh_username='somebody', ssh_password=PASSWORD)
        for value in values:
            reply = client.ask(**dict(fields, **{field: value}))
            assert (reply['code'], reply.get('reason')) == (1, 'bad-request'), value
        assert_echoes(client.connect_to(echo_port, binary=True))
    assert not begun


@pytest.mark.parametrize('port', ['number', 'digits'])
def test_ssh_port_may_be_a_text_of_digits(server, gateway, login, echo_port, port):
    ssh_port = server.port if port == 'number' else str(server.port)
    with opened(gateway) as client:
        client.connect_to(echo_port, **dict(login, ssh_port=ssh_port))


@pytest.mark.parametrize('ssh_host', ['', None])
def test_an_empty_ssh_host_is_a_plain_connect_whatever_else_is_given(server, gateway, login, echo_port, ssh_host):
    with opened(gateway) as client:
        assert_echoes(client.connect_to(echo_port, binary=True, **dict(login, ssh_host=ssh_host)))
    assert not server.has_been_asked()


# -- host keys ---------------------------------------------------------------------------------------------------------

def mode_of(path):
    return stat.S_IMODE(os.stat(path).st_mode)


def known_key(server):
    """The line of a file of known hosts for ``server``, as the gateway writes it."""
    return u'[127.0.0.1]:%d %s ws2s:127.0.0.1\n' % (server.port, u' '.join(server.host_key.public.split()[:2]))


def test_accept_new_learns_the_key_of_a_new_server_and_later_changes_nothing(server, gateway, place, login, echo_port):
    with opened(gateway) as client:
        client.connect_to(echo_port, **login)
    learnt = read(place.known_hosts)
    assert learnt == known_key(server)
    assert mode_of(place.known_hosts) == 0o600
    assert mode_of(os.path.dirname(place.known_hosts)) == 0o700
    with opened(gateway) as client:
        client.connect_to(echo_port, **login)
    assert server.logins() == 2
    assert read(place.known_hosts) == learnt


def test_a_host_is_known_by_the_name_that_the_client_gave(server, gateway, place, login, echo_port):
    with opened(gateway) as client:
        client.connect_to(echo_port, **dict(login, ssh_host='LOCALHOST'))
    assert read(place.known_hosts) == known_key(server).replace(u'[127.0.0.1]', u'[localhost]')


def test_two_servers_are_learnt_side_by_side(account, start, keys, place, echo_port):
    with running_sshd(account) as first, running_sshd(account) as second, opened(start()) as client:
        for server in (first, second):
            client.connect_to(echo_port, **server.hop(**key()(server, keys)))
        assert read(place.known_hosts) == known_key(first) + known_key(second)


@pytest.mark.parametrize('checking', ['accept-new', 'yes', 'no'])
def test_a_changed_host_key(server, start, place, login, echo_port, checking):
    """It is refused, before anything secret is said, and nothing is learnt; but by who said not to care."""
    os.mkdir(os.path.dirname(place.known_hosts))
    known = known_key(server)
    write(place.known_hosts, known)
    server.change_host_key()
    server.restart()
    gateway = start({'hostKeyChecking': checking})
    with opened(gateway) as client:
        if checking == 'no':
            assert_echoes(client.connect_to(echo_port, binary=True, **login))
        else:
            with undisturbed(gateway, echo_port):
                assert failed(client, echo_port, **login) == (6, 'ssh-hostkey')
            assert not server.has_been_asked()
            assert_echoes(client.connect_to(echo_port, binary=True))
    assert read(place.known_hosts) == known


def test_a_key_that_changes_after_the_first_login_is_refused(server, gateway, login, echo_port):
    with opened(gateway) as client:
        client.connect_to(echo_port, **login)
        server.change_host_key()
        server.restart()
        assert failure(client.receive_json())[0] == 5
        assert failed(client, echo_port, **login) == (6, 'ssh-hostkey')
        assert server.logins() == 1


def test_an_unknown_host_is_refused_by_who_wants_known_ones(server, start, place, login, echo_port):
    with opened(start({'hostKeyChecking': 'yes'})) as client:
        assert failed(client, echo_port, **login) == (6, 'ssh-hostkey')
        assert not server.has_been_asked()
        assert not os.path.exists(place.known_hosts) or read(place.known_hosts) == u''


def test_a_known_host_is_taken_by_who_wants_known_ones(server, start, place, login, echo_port):
    os.mkdir(os.path.dirname(place.known_hosts))
    write(place.known_hosts, known_key(server))
    with opened(start({'hostKeyChecking': 'yes'})) as client:
        assert_echoes(client.connect_to(echo_port, binary=True, **login))


@pytest.mark.parametrize('credentials', [wrong_key, both(wrong_password, key(passphrase=PASSPHRASE), lambda *_: {
    'ssh_private_key_password': u'wrong'}), lambda *_: {}], ids=['wrong key', 'wrong password', 'none'])
def test_of_a_server_that_lets_nobody_in_no_key_is_learnt(server, gateway, place, keys, echo_port, credentials):
    with opened(gateway) as client:
        assert failed(client, echo_port, **server.hop(**credentials(server, keys))) == (6, 'ssh-auth')
    assert read(place.known_hosts) == u''


def test_those_who_log_in_to_a_new_server_at_one_time_learn_its_key_once(server, gateway, place, login, echo_port):
    with opened(gateway) as one, opened(gateway) as two, opened(gateway) as three:
        for client in (one, two, three):
            client.send_json(command='connect', host='127.0.0.1', port=echo_port, **login)
        assert [client.receive_json()['code'] for client in (one, two, three)] == [0] * 3
    assert read(place.known_hosts) == known_key(server)


NOT_KNOWN = 'the host key of the SSH server is not known'


def test_a_server_with_many_names_fills_its_share_and_others_are_still_learnt(account, running_gateway, place, keys,
                                                                              echo_port, monkeypatch):
    """Whoever has a server of his own may log in there, by as many names and ports as he likes."""
    # As long as one more has room, however long it is; these lines have some 115 bytes.
    monkeypatch.setattr(ws2s, 'ORIGIN_BYTES', ws2s.HOST_KEY_BYTES + 250)
    addresses = '127.0.0.1\nListenAddress 127.0.0.2'
    gateway = running_gateway({'ssh': {'knownHosts': place.known_hosts}}, resolve=lambda host, port: [
        (socket.AF_INET, ('127.0.0.2' if host.startswith('honest') else '127.0.0.1', port))])
    with running_sshd(account, ListenAddress=addresses) as server, opened(gateway) as client:
        login = server.hop(**key()(server, keys))

        def reply(name):
            return client.ask(command='connect', host='127.0.0.1', port=echo_port, **dict(login, ssh_host=name))

        replies = [reply('name%d.test' % number) for number in range(6)]
        assert [found['code'] for found in replies] == [0] * 3 + [6] * 3
        assert [found['reason'] for found in replies[3:]] == ['ssh-hostkey'] * 3
        assert replies[3]['message'].startswith(NOT_KNOWN)
        assert reply('name0.test')['code'] == 0  # what is known stays so
        assert reply('honest.test')['code'] == 0
        assert server.logins() == 5
    names = [line.split(u' ')[0] for line in read(place.known_hosts).splitlines()]
    assert names == [u'[%s.test]:%d' % (name, server.port) for name in ('name0', 'name1', 'name2', 'honest')]


@pytest.mark.parametrize('settings, size', [({'hostKeyChecking': 'yes'}, 0), ({}, ws2s.KNOWN_HOSTS_BYTES)],
                         ids=['as none are learnt', 'as the file is full'])
def test_a_new_server_is_refused_in_words_of_its_own(server, start, place, login, echo_port, settings, size):
    os.mkdir(os.path.dirname(place.known_hosts))
    write(place.known_hosts, u'#' * (size - 1) + u'\n')
    with opened(start(settings)) as client:
        reply = client.ask(command='connect', host='127.0.0.1', port=echo_port, **login)
        assert failure(reply) == (6, 'ssh-hostkey') and reply['message'].startswith(NOT_KNOWN)
    assert not server.has_been_asked()


# -- targets behind the hop --------------------------------------------------------------------------------------------

@pytest.fixture
def client(gateway):
    with opened(gateway) as client:
        yield client


@pytest.mark.parametrize('first', [True, False], ids=['with the login', 'over a tunnel that stands'])
@pytest.mark.parametrize('host, expected', [('127.0.0.1', (2, 'refused')), ('something.invalid', (1, 'dns'))])
def test_a_target_that_the_server_cannot_reach(server, gateway, client, login, echo_port, host, expected, first):
    if not first:
        client.connect_to(echo_port, **login)
    with undisturbed(gateway, echo_port):
        assert failed(client, closed_port(), host, **login) == expected
    assert client.ask(command='send', data='x')['code'] == 3
    assert_echoes(client.connect_to(echo_port, binary=True, **login))
    assert server.logins() == 1


def test_a_target_that_does_not_answer_is_a_timeout_after_connectSeconds(server, start, login, echo_port):
    gateway = start(limits={'connectSeconds': 1})
    with silent_port() as port, opened(gateway) as client:
        client.connect_to(echo_port, **login)
        begun = time.time()
        with undisturbed(gateway, echo_port):
            assert failed(client, port, **login) == (1, 'timeout')
        assert 0.9 < time.time() - begun < 3
        assert_echoes(client.connect_to(echo_port, binary=True, **login))


@pytest.mark.parametrize('host', ['::1', '[::1]', '0:0:0:0:0:0:0:1'])
def test_a_target_may_be_an_ipv6_address(client, login, host):
    with serving(echo, host='::1') as port:
        assert_echoes(client.connect_to(port, host, binary=True, **login))


@pytest.mark.parametrize('host', ['localhost', 'LOCALHOST', '127.0.0.2', '127.1'])
def test_a_target_is_what_the_server_makes_of_its_name(client, login, host):
    with serving(echo, host='127.0.0.2' if host == '127.0.0.2' else '127.0.0.1') as port:
        assert_echoes(client.connect_to(port, host, binary=True, **login))


@pytest.mark.parametrize('binary', [True, False], ids=['binary', 'json'])
def test_a_target_that_closes_is_code_5_after_its_last_byte(client, login, binary):
    data = NOISE.cut(0, MEGABYTE)
    with serving(saying(data)) as port:
        client.connect_to(port, binary=binary, **login)
        assert client.receive_data(len(data)) == data
        assert failure(client.receive_json()) == CLOSED
        assert client.ask(command='send', data='x')['code'] == 3


def test_a_target_that_closes_at_once_is_code_5(client, login):
    with serving(hang_up) as port:
        for _ in range(20):
            client.connect_to(port, **login)
            assert failure(client.receive_json()) == CLOSED


def test_a_target_that_resets_is_code_5(server, client, login, echo_port):
    """The server ends the channel either way, and SSH has no word for a reset."""
    go = threading.Event()
    with serving(saying(b'x', when(go, reset))) as port, released(go):
        client.connect_to(port, binary=True, **login).receive_data(1)
        go.set()
        assert failure(client.receive_json()) in (CLOSED, RESET)
        assert_echoes(client.connect_to(echo_port, binary=True, **login))
        assert server.logins() == 1


def test_ssh_that_is_killed_is_a_reset_and_the_next_connect_logs_in_anew(server, gateway, client, login, echo_port):
    """Never `closed`, after which a client would take what has come for the whole. More than once: it is a race."""
    for logins in range(1, 7):
        assert_echoes(client.connect_to(echo_port, binary=True, **login))
        assert server.logins() == logins
        with undisturbed(gateway, echo_port):
            for pid in ssh_processes():
                os.kill(pid, signal.SIGKILL)
            assert failure(client.receive_json()) == RESET
        assert client.ask(command='send', data='x')['code'] == 3
        wait_for_no_ssh()


def test_an_idle_ssh_that_is_killed_leaves_nothing_and_the_next_connect_logs_in_anew(server, client, login, echo_port):
    client.connect_to(echo_port, **login)
    assert client.ask(command='close')['message'] == 'close done'
    for pid in ssh_processes():
        os.kill(pid, signal.SIGKILL)
    wait_for_no_ssh()
    assert_echoes(client.connect_to(echo_port, binary=True, **login))
    assert server.logins() == 2


def test_ssh_that_hangs_does_not_hold_up_the_gateway_and_is_ended(start, login, echo_port):
    gateway = start(limits={'drainSeconds': 0.5})
    with opened(gateway) as client:
        assert_echoes(client.connect_to(echo_port, binary=True, **login))
        for pid in ssh_processes():
            os.kill(pid, signal.SIGSTOP)
        with undisturbed(gateway, echo_port):
            client.close()
            wait_for_no_ssh()


def test_ssh_that_hangs_is_given_up_after_connectSeconds(server, start, login, echo_port):
    gateway = start(limits={'connectSeconds': 0.5})
    with opened(gateway) as client:
        assert_echoes(client.connect_to(echo_port, binary=True, **login))
        for pid in ssh_processes():
            os.kill(pid, signal.SIGSTOP)
        with undisturbed(gateway, echo_port):
            assert failed(client, echo_port, **login) in ((6, 'ssh-failed'), (1, 'timeout'))
            wait_for_no_ssh()
        assert_echoes(client.connect_to(echo_port, binary=True, **login))
    assert server.logins() == 2


def test_a_server_that_stops_is_code_5(server, gateway, client, login, echo_port):
    assert_echoes(client.connect_to(echo_port, binary=True, **login))
    server.stop()
    assert failure(client.receive_json())[0] == 5
    assert client.ask(command='send', data='x')['code'] == 3
    wait_for_no_ssh()
    assert failed(client, echo_port, **login) == (6, 'ssh-unreachable')
    server.restart()
    assert_echoes(client.connect_to(echo_port, binary=True, **login))


# -- order, and what is under way --------------------------------------------------------------------------------------

def sha256(data):
    return hashlib.sha256(data).hexdigest()


LEAVES = [
    ('close', lambda client: client.send_json(command='close')),
    ('another connect', lambda client: client.send_json(command='connect', host='127.0.0.1', port=closed_port())),
    ('Close', lambda client: client.send_frame(CLOSE, b'\x03\xe8')),
    ('FIN', lambda client: client.sock.shutdown(socket.SHUT_WR)),
    ('RST', lambda client: client.abort()),
]


@pytest.mark.parametrize('binary', [True, False], ids=['binary', 'json'])
@pytest.mark.parametrize('leave', [leave for _, leave in LEAVES], ids=[name for name, _ in LEAVES])
def test_what_was_taken_reaches_the_target_when_the_client_leaves_by(gateway, login, leave, binary):
    data, received = NOISE.cut(3, MEGABYTE), []
    with serving(recorder(received)) as port, opened(gateway) as client:
        client.connect_to(port, **login)
        client.send(frame(BINARY, data) if binary else sendb_frame(data))
        # A reset may overtake what the gateway has not read; what it has said `sendb done` to it has taken.
        if not binary:
            assert client.receive_json()['message'] == 'sendb done'
        elif leave is LEAVES[-1][1]:
            settle(client)
        leave(client)
        wait_until(lambda: received)
        assert [sha256(piece) for piece in received] == [sha256(data)]
        if leave not in (LEAVES[0][1], LEAVES[1][1]):
            wait_for_no_ssh()


def test_what_was_taken_reaches_a_slow_target(start, login):
    """More than all buffers on the way hold: the tunnel must stand until it has gone through."""
    data, received, go = b''.join(NOISE.pieces(12 * MEGABYTE, PIECE)), [], threading.Event()
    gateway = start(limits={'bufferBytes': 32 * MEGABYTE})
    with serving(when(go, recorder(received)), receive_buffer=65536) as port, released(go), opened(gateway) as client:
        client.connect_to(port, **login)
        client.send(frame(BINARY, data))
        settle(client)
        client.close()
        wait_until(lambda: not gateway.clients)
        assert gateway.budget.bytes > 0 and ssh_processes()
        go.set()
        wait_until(lambda: received)
        assert sha256(received[0]) == sha256(data)
        wait_for_no_ssh()
    wait_until(lambda: is_empty(gateway))


def test_a_target_that_does_not_read_is_given_up_after_drainSeconds(start, login):
    gateway = start(limits={'bufferBytes': 32 * MEGABYTE, 'drainSeconds': 0.5})
    with serving(silence, receive_buffer=65536) as port, opened(gateway) as client:
        client.connect_to(port, **login)
        client.send(frame(BINARY, b''.join(NOISE.pieces(12 * MEGABYTE, PIECE))))
        settle(client)
        client.close()
        wait_until(lambda: is_empty(gateway), 5)
        wait_for_no_ssh()


def test_a_slow_reader_throttles_the_target_and_the_gateway_holds_little(gateway, login):
    total, sent, reading = 100 * MEGABYTE, [0], Reading(NOISE)

    def flood(sock):
        for piece in NOISE.pieces(total, PIECE):
            sock.sendall(piece)
            sent[0] += len(piece)

    with serving(flood) as port, opened(gateway, receive_buffer=65536) as client:
        client.connect_to(port, binary=True, **login)
        assert wait_until_still(lambda: sent[0]) < total // 2
        most = gateway.budget.bytes
        while reading.position < total:
            reading.take(client.receive_data(1))
            most = max(most, gateway.budget.bytes)
        assert failure(client.receive_json()) == CLOSED
        assert most < 2 * MEGABYTE


def test_a_window_is_kept_behind_the_hop(client, login):
    with serving(saying(NOISE.cut(0, MEGABYTE))) as port:
        client.connect_to(port, window=16384, binary=True, **login)
        reading = Reading(NOISE)
        while reading.position < MEGABYTE:
            before = reading.position
            reading.take_from(client, min(MEGABYTE, before + 16384))
            assert client.ask(command='ping')['message'] == 'ping done'
            client.send_json(command='ack', bytes=reading.position - before)
        assert failure(client.receive_json()) == CLOSED


# -- one login for many connections ------------------------------------------------------------------------------------

def seconds_of(client, port, **fields):
    begun = time.time()
    client.connect_to(port, **fields)
    return time.time() - begun


def median(values):
    return sorted(values)[len(values) // 2]


@contextlib.contextmanager
def gateway_of_its_own(place):
    """A Program: this process has grown by thousands of tests, and an old Python copies it for each ssh."""
    path = os.path.join(place.path, 'gateway.json')
    config = {'listen': {'port': 0}, 'allowConnectToServerLocal': True, 'ssh': {'knownHosts': place.known_hosts}}
    write(path, json.dumps(config) + u'')
    with started(['--config', path], place.path, TMPDIR=place.temporary) as program:
        yield program
        program.signal(signal.SIGTERM)
        assert program.wait() == 0


@pytest.mark.quiet
def test_a_further_connect_rides_the_login_that_stands_and_is_much_faster(account, place, keys, echo_port):
    """As with a server that nobody has tuned."""
    firsts, sames, others = [], [], []
    with running_sshd(account, KexAlgorithms=None) as server, serving(echo) as other_port, \
            gateway_of_its_own(place) as gateway:
        fields = server.hop(binary=True, **key()(server, keys))
        for _ in range(5):
            with opened(gateway) as client:
                firsts.append(seconds_of(client, echo_port, **fields))
                sames.append(seconds_of(client, echo_port, **fields))
                assert_echoes(client)
                others.append(seconds_of(client, other_port, **fields))
                assert_echoes(client)
        assert server.logins() == 5
    assert median(firsts) > 5 * median(sames), (firsts, sames)
    assert median(firsts) > 5 * median(others), (firsts, others)


def test_each_connect_over_one_login_reaches_the_target_that_it_names(server, client, login):
    with serving(saying(b'one')) as one, serving(saying(b'two')) as two, serving(saying(b'six'), '::1') as six:
        targets = [('127.0.0.1', one, b'one'), ('localhost', two, b'two'), ('::1', six, b'six')]
        for host, port, name in targets + targets[::-1] + targets:
            client.connect_to(port, host, binary=True, **login)
            assert client.receive_data(3) == name
            assert failure(client.receive_json()) == CLOSED
    assert server.logins() == 1


def test_a_connect_soon_after_a_close_rides_the_login(server, client, login, echo_port):
    for _ in range(3):
        assert_echoes(client.connect_to(echo_port, binary=True, **login))
        assert client.ask(command='close')['message'] == 'close done'
    assert server.logins() == 1 and len(ssh_processes()) == 1


def test_two_websockets_never_share_a_login(server, gateway, login, echo_port):
    with opened(gateway) as first, opened(gateway) as second:
        for client in (first, second):
            assert_echoes(client.connect_to(echo_port, binary=True, **login))
        assert server.logins() == 2 and len(ssh_processes()) == 2
        first.close()
        wait_until(lambda: len(ssh_processes()) == 1)
        assert_echoes(second)


OTHERS = [
    ('password', password()),
    ('key', key('rsa', 'PEM')),
    ('password and key', both(password(), key())),
    ('passphrase', both(key(), lambda server, keys: {'ssh_private_key_password': u'x'})),
    ('name of the server', both(key(), lambda server, keys: {'ssh_host': 'localhost'})),
]


@pytest.mark.parametrize('credentials', [row[1] for row in OTHERS], ids=[row[0] for row in OTHERS])
def test_a_login_of_its_own_is_made_for_another(server, client, keys, login, echo_port, credentials):
    client.connect_to(echo_port, **login)
    assert_echoes(client.connect_to(echo_port, binary=True, **server.hop(**credentials(server, keys))))
    assert server.logins() == 2


@pytest.mark.parametrize('right, wrong', [
    (password(), both(password(), wrong_password)),
    (key(), wrong_key),
    (key(passphrase=PASSPHRASE), passphrase_is(u'wrong')),
    (key(passphrase=PASSPHRASE), passphrase_is(None)),
    (key(), unknown_user),
    (key(), lambda server, keys: {}),
], ids=['wrong password', 'wrong key', 'wrong passphrase', 'no passphrase', 'unknown user', 'no credentials'])
def test_who_does_not_know_the_secret_cannot_ride_the_login_that_stands(server, client, keys, echo_port, right, wrong):
    client.connect_to(echo_port, **server.hop(**right(server, keys)))
    assert failed(client, echo_port, **server.hop(**wrong(server, keys))) == (6, 'ssh-auth')
    assert server.logins() == 1


@contextlib.contextmanager
def listening(count, ports):
    """``count`` targets, whose ports are put into the list ``ports``."""
    if count == 0:
        yield
        return
    with unaccepted() as port:
        ports.append(port)
        with listening(count - 1, ports):
            yield


def test_more_than_64_targets_one_after_the_other(server, client, login, echo_port):
    ports = []
    with listening(70, ports):
        for port in ports:
            client.connect_to(port, **login)
        assert_echoes(client.connect_to(echo_port, binary=True, **login))
    assert server.logins() <= 2


def test_many_clients_log_in_at_one_time(server, gateway, login, echo_port):
    clients = [RawClient(gateway.address, timeout=30).open() for _ in range(8)]
    try:
        for client in clients:
            client.send_json(command='connect', host='127.0.0.1', port=echo_port, binary=True, **login)
        assert [client.receive_json()['code'] for client in clients] == [0] * 8
        for client in clients:
            assert_echoes(client)
    finally:
        for client in clients:
            client.sock.close()
    assert server.logins() == 8
    wait_for_no_ssh()


# -- the end of a tunnel -----------------------------------------------------------------------------------------------

def test_an_idle_tunnel_stays_for_a_while_and_then_ends(server, client, login, echo_port, monkeypatch):
    monkeypatch.setattr(ws2s, 'TUNNEL_IDLE_SECONDS', 1)
    client.connect_to(echo_port, **login)
    assert client.ask(command='close')['message'] == 'close done'
    assert_holds(ssh_processes, 0.7, 'the tunnel')
    wait_for_no_ssh(3)
    wait_until(lambda: not server.sessions())
    assert_echoes(client.connect_to(echo_port, binary=True, **login))
    assert server.logins() == 2


def test_a_tunnel_in_use_does_not_end_for_being_idle(server, client, login, echo_port, monkeypatch):
    monkeypatch.setattr(ws2s, 'TUNNEL_IDLE_SECONDS', 0.3)
    for _ in range(2):
        client.connect_to(echo_port, binary=True, **login)
        assert_holds(ssh_processes, 0.7, 'the tunnel')
        assert_echoes(client)
    assert server.logins() == 1


@pytest.mark.parametrize('leave', [leave for _, leave in LEAVES[2:]], ids=[name for name, _ in LEAVES[2:]])
@pytest.mark.parametrize('open_still', [True, False], ids=['connected', 'idle'])
def test_a_tunnel_ends_with_its_websocket_by(server, gateway, client, login, echo_port, leave, open_still):
    client.connect_to(echo_port, **login)
    if not open_still:
        assert client.ask(command='close')['message'] == 'close done'
    assert ssh_processes()
    leave(client)
    wait_for_no_ssh(3)
    client.sock.close()
    wait_until(lambda: is_empty(gateway) and not server.sessions())


@pytest.mark.parametrize('leave', [leave for _, leave in LEAVES], ids=[name for name, _ in LEAVES])
def test_a_login_under_way_ends_with_its_client_by(start, leave):
    """Long before its own time is up. Requests are answered in order, so `close` and `connect` wait for it."""
    gateway = start({'timeoutSeconds': 1 if leave in (LEAVES[0][1], LEAVES[1][1]) else 30})
    with unaccepted() as port, opened(gateway) as client:
        client.send_json(command='connect', host='127.0.0.1', port=1, ssh_host='127.0.0.1', ssh_port=port,
                         ssh_username='somebody', ssh_password=PASSWORD)
        wait_until(ssh_processes)
        leave(client)
        wait_for_no_ssh(5)
        wait_until(lambda: os.listdir(tempfile.gettempdir()) == [])


@pytest.mark.parametrize('count', [1, 3])
def test_a_gateway_that_stops_takes_its_tunnels_along(server, start, login, echo_port, count):
    gateway = start(limits={'drainSeconds': 0.2})
    clients = [RawClient(gateway.address).open().connect_to(echo_port, **login) for _ in range(count)]
    gateway.stop()
    assert not ssh_processes()
    for client in clients:
        client.sock.close()


def paths_below(folder):
    return [os.path.join(folder, name) for name in os.listdir(folder)]


def test_what_is_kept_for_a_while_is_private_and_no_secret_stays_on_disk(server, gateway, client, keys, echo_port):
    fields = server.hop(**key(passphrase=PASSPHRASE)(server, keys))
    client.connect_to(echo_port, **fields)
    folder, = paths_below(tempfile.gettempdir())
    assert os.path.basename(folder).startswith('ws2s-')
    assert mode_of(folder) == 0o700
    # A thread removes what only the login needs, which may end a little later than the connect.
    wait_until_still(lambda: sorted(os.listdir(folder)))
    assert not [path for path in paths_below(folder) if os.path.isfile(path) and u'PRIVATE' in read(path)]
    assert not [path for path in paths_below(folder) if mode_of(path) & 0o077]


def test_no_secret_is_seen_by_other_users_nor_logged(server, gateway, client, keys, echo_port, caplog):
    caplog.set_level(logging.DEBUG, logger='ws2s')
    fields = server.hop(ssh_password=server.account.set_password(u'Sesame-open-77'))
    fields.update(key(passphrase=PASSPHRASE)(server, keys))
    client.connect_to(echo_port, **fields)
    seen = [read('/proc/%d/%s' % (pid, name)) for pid in ssh_processes() for name in ('cmdline', 'environ')]
    assert seen
    assert failed(client, echo_port, **dict(fields, ssh_password=u'Sesame-shut-77', ssh_private_key=GARBAGE))[0] == 1
    where = server.account.name, str(server.port), str(echo_port)
    assert not [word for word in where for text in seen if word in text]
    seen += [record.getMessage() for record in caplog.records]
    secrets = [u'Sesame', PASSPHRASE, GARBAGE.split(u'\n')[1]] + fields['ssh_private_key'].split(u'\n')[1:-2]
    assert not [(secret, text) for secret in secrets for text in seen if secret in text]


# -- what belongs to the operator --------------------------------------------------------------------------------------

@contextlib.contextmanager
def running_agent(folder, held, prefix=()):
    """The address of an ssh-agent that holds the Key ``held``; ``prefix`` makes it another user's."""
    address = os.path.join(folder, 'agent%d' % next(NUMBERS))
    with open(os.devnull) as nothing, open(os.devnull, 'wb') as nowhere:
        process = subprocess.Popen(list(prefix) + [needs('ssh-agent', 'openssh-client'), '-D', '-a', address],
                                   stdin=nothing, stdout=nowhere, close_fds=True)
    try:
        wait_until(lambda: os.path.exists(address), what='the agent')
        status, output = run(['env', 'SSH_AUTH_SOCK=' + address, needs('ssh-add', 'openssh-client'), held.path])
        assert status == 0, output
        yield address
    finally:
        process.terminate()
        process.wait()


GREETING = b'SSH-2.0-'


def plain_ssh_logs_in(server, environment, prefix=()):
    """Does a bare ``ssh``, run as this test's gateway is, find something to log in with?"""
    command = list(prefix) + [
        needs('ssh', 'openssh-client'), '-o', 'BatchMode=yes', '-o', 'StrictHostKeyChecking=no',
        '-o', 'UserKnownHostsFile=/dev/null', '-p', str(server.port), '-W', '127.0.0.1:%d' % server.port,
        '%s@127.0.0.1' % server.account.name]
    with open(os.devnull) as nothing, open(os.devnull, 'wb') as nowhere:
        process = subprocess.Popen(command, env=environment, cwd='/', stdin=nothing, stdout=subprocess.PIPE,
                                   stderr=nowhere, close_fds=True)
        return process.communicate()[0].startswith(GREETING)


def assert_shows_only_what_the_client_gave(server, address, keys, echo_port):
    server.forget()
    other, shown = keys('ecdsa', 'PEM'), set()
    asks = [({}, set()), ({'ssh_password': u'wrong'}, set()), ({'ssh_private_key': GARBAGE}, set()),
            ({'ssh_private_key': other.text}, {other.fingerprint}),
            ({'ssh_private_key': other.text, 'ssh_password': u'wrong'}, {other.fingerprint})]
    with RawClient(address) as client:
        client.open()
        for fields, keys_to_see in asks:
            shown |= keys_to_see
            expected = (1, 'bad-request') if GARBAGE in fields.values() else (6, 'ssh-auth')
            assert failed(client, echo_port, **server.hop(**fields)) == expected
            assert server.offered_keys() == shown and server.logins() == 0
    assert server.has_been_asked()


def test_the_agent_is_never_asked(server, gateway, place, keys, echo_port, monkeypatch):
    with running_agent(place.path, server.authorize(keys())) as address:
        monkeypatch.setenv('SSH_AUTH_SOCK', address)
        assert plain_ssh_logs_in(server, dict(os.environ))
        assert_shows_only_what_the_client_gave(server, gateway.address, keys, echo_port)


@pytest.fixture
def operator(account, place):
    """The words before a command that has it run as the account, who has a home that we may furnish."""
    if os.getuid() != 0:
        pytest.skip('needs root: only root can run a gateway as a user with another home')
    # It may still read what we may, for this Python may lie in a folder of ours.
    yield [needs('setpriv', 'util-linux'), '--reuid', str(account.uid), '--regid', str(account.gid), '--clear-groups',
           '--inh-caps=+dac_read_search', '--ambient-caps=+dac_read_search']
    shutil.rmtree(os.path.join(account.home, '.ssh'))


def furnish(account, place, name, held):
    """Give the account a ~/.ssh with the Key ``held``. ssh finds id_x by itself; a config file names any other."""
    folder = os.path.join(account.home, '.ssh')
    os.mkdir(folder, 0o700)
    write(os.path.join(folder, name), held.text)
    if not name.startswith('id_'):
        write(os.path.join(folder, 'config'), u'Host *\n  IdentityFile %s\n' % os.path.join(folder, name))
    for path in [folder, place.temporary] + [os.path.join(folder, name) for name in os.listdir(folder)]:
        os.chown(path, account.uid, account.gid)
    os.chmod(place.path, 0o755)


@pytest.mark.parametrize('name', ['id_ed25519', 'id_rsa', 'named-by-config', None], ids=str)
def test_nothing_of_the_operator_is_ever_shown_by_way_of(server, account, place, operator, keys, echo_port, name):
    """A gateway with a user of its own, for ssh asks the system where a home is. In turn, each key opens the door."""
    in_home, in_agent = keys('rsa' if name == 'id_rsa' else 'ed25519'), keys('ecdsa', 'PKCS8')
    furnish(account, place, name or 'id_ed25519', in_home)
    server.authorize(in_home if name else in_agent)
    config = {'listen': {'port': 0}, 'allowConnectToServerLocal': True, 'ssh': {
        'knownHosts': os.path.join(place.temporary, 'known', 'hosts')}}
    path = os.path.join(place.path, 'gateway.json')
    write(path, json.dumps(config) + u'', 0o644)
    with running_agent(place.temporary, in_agent, operator) as agent:
        environment = dict(clean_environment(account.home), SSH_AUTH_SOCK=agent)
        assert plain_ssh_logs_in(server, environment, operator)
        with started(['--config', path], account.home, operator[0], command=operator[1:] + [sys.executable, WS2S],
                     SSH_AUTH_SOCK=agent, TMPDIR=place.temporary) as program:
            assert_shows_only_what_the_client_gave(server, program.address, keys, echo_port)
            program.signal(signal.SIGTERM)
            assert program.wait() == 0
    shutil.rmtree(os.path.join(place.temporary, 'known'))
