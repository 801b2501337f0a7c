# -*- coding: utf-8 -*-
"""S13: what a client or an SSH server can say reaches no option of ssh, no log and no other client.

Most tests run a fake ssh that writes down how it was called. Secrets may be in three places alone: in the gateway, in
the answers to ssh's own questions, and, for the time of the login, in the key file.
"""

import binascii
import contextlib
import fcntl
import logging
import os
import re
import resource
import socket
import subprocess
import threading
import time

import pytest

import ws2s
from fake_ssh import (FakeSsh, all_processes, forwarding, is_alive, private_directory, private_temporary_directory,
                      process_fields, process_file, setting)
from raw_client import RawClient
from ssh_server import make_key, running_sshd, some_account
from targets import echo, serving, sink
from waiting import wait_until

pytestmark = [pytest.mark.programs, pytest.mark.independent, pytest.mark.usefixtures('no_mistakes')]

BAD_REQUEST = (1, 'bad-request')
DONE = (0, None)


def outcome(reply):
    return reply['code'], reply.get('reason')


@pytest.fixture(autouse=True)
def temporary_directory(tmpdir):
    """`tmpdir` comes first, for pytest, too, asks where temporary files go."""
    with private_temporary_directory() as path:
        yield path


@pytest.fixture
def fake(tmpdir):
    return FakeSsh(str(tmpdir.mkdir('fake')))


class Log(logging.Handler):
    """All that the gateway logs at any level."""

    def __init__(self):
        logging.Handler.__init__(self)
        self.lines = []

    def emit(self, record):
        self.lines.append(self.format(record))

    def text(self):
        return '\n'.join(self.lines)


@pytest.fixture
def log():
    handler, logger = Log(), logging.getLogger('ws2s')
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    yield handler
    logger.setLevel(before)
    logger.removeHandler(handler)


def to_loopback(host, port):
    return [(socket.AF_INET, ('127.0.0.1', port))]


class Secrets(object):
    """A password, a passphrase and the text of a key that stand nowhere else on this machine."""

    def __init__(self):
        self.password, self.passphrase, inner = u'pass' + random_word(), u'phrase' + random_word(), random_word()
        # In front of it: the heads of a SEQUENCE of a version and OCTETS.
        self.key = u'-----BEGIN PRIVATE KEY-----\nMBkCAQAEFHNz%s\n-----END PRIVATE KEY-----\n' % inner
        self.words = [self.password, self.passphrase, inner]

    def fields(self):
        return {'ssh_password': self.password, 'ssh_private_key': self.key,
                'ssh_private_key_password': self.passphrase}

    def found_in(self, data):
        if not isinstance(data, bytes):
            data = data.encode('utf-8')
        return [word for word in self.words if word.encode('ascii') in data]


def random_word():
    return binascii.hexlify(os.urandom(12)).decode('ascii')


PASSPHRASE_PROMPT = "Enter passphrase for key 'KEY': "
PASSWORD_PROMPT = "user@hop's password: "

FULL_LOGIN = [['ask', PASSPHRASE_PROMPT], ['ask', PASSWORD_PROMPT], ['serve']]


# -- what a client says ------------------------------------------------------------------------------------------------

KEY = Secrets().key
BENIGN = {'host': 'target.test', 'port': 4321, 'ssh_host': 'hop.test', 'ssh_port': 2222, 'ssh_username': 'someuser',
          'ssh_password': 'a password', 'ssh_private_key': KEY, 'ssh_private_key_password': 'a passphrase'}
# What of it stands in ssh's configuration.
VISIBLE = {'host': 'target.test', 'port': '4321', 'ssh_host': 'hop.test', 'ssh_port': '2222',
           'ssh_username': 'someuser'}

CONTROLS = [u'a\nb', u'a\n', u'\na', u'a\rb', u'a\0b', u'127.0.0.1\0', u'\x1b[2J', u'\x7f', u'\t']
HALVES = [u'\ud800', u'x\udfff']
SHELLS = [u'-oProxyCommand=touch x', u'-o', u'-', u'--', u'-F/tmp/x', u';id', u'a;id', u'$(id)', u'`id`', u'|id', u'&',
          u'a b', u' ', u' a', u'"', u"'", u'\\', u'*', u'!a', u'#a', u'a,b', u'a=b', u'%h', u'%d', u'%%', u'${HOME}',
          u'~root', u'~', u'a:b', u'a:22:b:1']
DESTINATIONS = [u'ssh://u@h', u'a@b', u'a@b@c', u'@', u'/var/run/docker.sock', u'/', u'./x', u'a/b', u'[::1]:22',
                u'[::1', u'[]', u'fe80::1%lo', u'[fe80::1%lo]', u'127.0.0.1:22']
FOREIGN = [u'\u202etxt', u'a\u202eb', u'\xa0', u'\u3000x', u'\u2028', u'a\uff0fb', u'a\uff20b', u'\uff0dx']
NOT_TEXTS = [5.5, True, False, [], ['a'], {}, {'a': 1}]

TEXTS = CONTROLS + HALVES + SHELLS + DESTINATIONS + FOREIGN
NOT_HOSTS = TEXTS + [u'a' * 300, u'.', u'..', u'.a', 5] + NOT_TEXTS
LONG_KEY = KEY.replace(u'\n-----END', u'\n%s\n-----END' % (u'A' * 16384))

DOMAIN_USERS = [u'a@b', u'a@b@c', u'a:b', u'a:22:b:1', u'a=b', u'127.0.0.1:22']

REFUSED = {
    'host': NOT_HOSTS + [u'', None],
    'ssh_host': NOT_HOSTS,
    'ssh_username': [text for text in TEXTS if text not in DOMAIN_USERS] + [
        u'[::1]', u'a' * 129, u'\xe9', u'', None, 5, u'@a', u'a@', u'\\a', u'a\\', u'a\\\\b'] + NOT_TEXTS,
    'port': TEXTS + [u'[::1]', u'', None, 0, 65536, -1, u'22x', u'0x16', u'-22', u'+22', u'\uff12\uff12'] + NOT_TEXTS,
    'ssh_port': TEXTS + [u'[::1]', 0, 65536, -1, u'22x', u'0x16', u'-22', u'+22', u'\uff12\uff12'] + NOT_TEXTS,
    'ssh_password': CONTROLS + HALVES + [u'a' * 1001, u'\xe9' * 501, 5] + NOT_TEXTS,
    'ssh_private_key_password': CONTROLS + HALVES + [u'a' * 1001, u'\xe9' * 501, 5] + NOT_TEXTS,
    'ssh_private_key': TEXTS + [u'/etc/passwd', u'/nonexistent', u'~/.ssh/id_rsa', u'k', KEY[:-30], KEY[17:], LONG_KEY,
                                KEY.replace(u'MBk', u'MB\x1bk'), KEY.replace(u'MBk', u'MB\xe9k'), 5] + NOT_TEXTS,
}


def shown(value):
    return repr(value)[:60]


@pytest.mark.parametrize('field', sorted(REFUSED))
def test_what_is_no_plain_value_is_refused_before_anything_is_looked_up_or_started(running_gateway, fake, field):
    asked = []
    gateway = running_gateway(fake.config(), resolve=lambda *target: asked.append(target) or ws2s.UNKNOWN_NAME)
    with RawClient(gateway.address) as client:
        client.open()
        found = [(shown(value), outcome(client.ask(command='connect', **dict(BENIGN, **{field: value}))))
                 for value in REFUSED[field]]
    assert found == [(shown(value), BAD_REQUEST) for value in REFUSED[field]]
    assert (asked, fake.notes(), os.listdir(os.environ['TMPDIR'])) == ([], [], [])


# (field, value, how it stands in the arguments)
LEGAL = [
    ('host', u'[::1]', '[::1]'), ('host', u'::1', '[::1]'), ('host', u'127.0.0.1', '127.0.0.1'), ('host', u'80', '80'),
    ('host', u'b\xfccher.test', 'xn--bcher-kva.test'), ('host', u'_a-b.C', '_a-b.C'), ('host', u'127.1', '127.1'),
    ('port', 1, '1'), ('port', u'65535', '65535'),
    ('ssh_host', u'b\xfccher.test', 'xn--bcher-kva.test'), ('ssh_host', u'_a-b.c', '_a-b.c'), ('ssh_host', u'80', '80'),
    ('ssh_port', 1, '1'), ('ssh_port', u'65535', '65535'),
    ('ssh_username', u'a.b_c-d+e', 'a.b_c-d+e'), ('ssh_username', u'..', '..'), ('ssh_username', u'80', '80'),
    ('ssh_username', u'+', '+'), ('ssh_username', u'a' * 128, 'a' * 128),
    # A9: names of domains and of bastions
    ('ssh_username', u'root@corp.example', 'root@corp.example'), ('ssh_username', u'CORP\\me', 'CORP\\me'),
    ('ssh_username', u'me@root#corp@db.lan', 'me@root#corp@db.lan'), ('ssh_username', u'me@db:SSH', 'me@db:SSH'),
] + [('ssh_username', user, str(user)) for user in DOMAIN_USERS]


def plain_argv(call):
    """The arguments, without what differs from one call to the next."""
    folder = private_directory(call)
    return [re.sub('^ConnectTimeout=[0-9]+$', 'ConnectTimeout=N', argument.replace(folder, 'FOLDER'))
            for argument in call['argv']]


def plain_settings(call):
    return [[word.replace(private_directory(call), 'FOLDER') for word in line] for line in call['settings']]


def plain_environment(call):
    return call['environment'].replace(private_directory(call), 'FOLDER')


def connected_call(gateway, fake, **fields):
    """How ssh is called for a request with these fields."""
    before = len(fake.calls())
    with RawClient(gateway.address) as client:
        reply = client.open().ask(command='connect', **dict(BENIGN, **fields))
        assert outcome(reply) == DONE, (fields, reply)
        client.close()
    assert len(fake.calls()) == before + 1
    return fake.calls()[-1]


def test_what_is_legal_stands_where_it_belongs_and_nowhere_else(running_gateway, fake):
    gateway = running_gateway(fake.config(), resolve=to_loopback)
    with serving(sink) as port:
        fake.leads_to(port)
        benign = connected_call(gateway, fake)
        for field, value, form in LEGAL:
            call = connected_call(gateway, fake, **{field: value})
            expected = [[word.replace(VISIBLE[field], form) for word in line] for line in plain_settings(benign)]
            assert plain_settings(call) == expected
            assert plain_argv(call) == plain_argv(benign)
            assert plain_environment(call) == plain_environment(benign)
    assert plain_argv(benign)[-2:] == ['--', 'ws2s-hop']
    assert plain_settings(benign) == [['HostName', '127.0.0.1'], ['HostKeyAlias', '[hop.test]:2222'], ['Port', '2222'],
                                      ['User', 'someuser'], ['LocalForward', 'FOLDER/s1', 'target.test:4321']]
    assert not [word for word in VISIBLE.values() for argument in benign['argv'] if word in argument]


def test_an_address_as_ssh_host_is_dialled_as_it_is(running_gateway, fake):
    gateway = running_gateway(fake.config(), owns=lambda packed: False)
    with serving(sink) as port:
        fake.leads_to(port)
        for host in (u'::1', u'[::1]'):
            call = connected_call(gateway, fake, ssh_host=host)
            assert (setting(call, 'HostName'), setting(call, 'HostKeyAlias')) == ('::1', '[::1]:2222')


@pytest.mark.parametrize('value', [u'', None], ids=['an empty text', 'null'])
def test_an_empty_ssh_port_is_22(running_gateway, fake, value):
    gateway = running_gateway(fake.config(), resolve=to_loopback)
    with serving(sink) as port:
        fake.leads_to(port)
        assert setting(connected_call(gateway, fake, ssh_port=value), 'Port') == '22'


# Two at a time, as password and passphrase.
LONG_SECRETS = [u'a' * 1000, u'\xe9' * 500, u'-\xe9', u'\U0001f511']
ODD_SECRETS = list(zip(SHELLS + LONG_SECRETS, DESTINATIONS + FOREIGN + LONG_SECRETS + SHELLS))


def test_any_line_of_text_is_a_password_and_a_passphrase_and_reaches_ssh_as_it_is(running_gateway, fake):
    fake.does(*FULL_LOGIN)
    gateway = running_gateway(fake.config(), resolve=to_loopback)
    with serving(sink) as port:
        fake.leads_to(port)
        benign = connected_call(gateway, fake)
        for password, passphrase in ODD_SECRETS:
            call = connected_call(gateway, fake, ssh_password=password, ssh_private_key_password=passphrase)
            assert plain_argv(call) == plain_argv(benign)
            assert plain_environment(call) == plain_environment(benign)
            printed = [answer.encode('latin-1') for _, answer in fake.answers()[-2:]]
            assert printed == [passphrase.encode('utf-8') + b'\n', password.encode('utf-8') + b'\n']


@pytest.mark.parametrize('directories', [[], ['allowed']], ids=['no key directories', 'a key directory'])
def test_a_path_tells_a_client_nothing_about_files(running_gateway, fake, tmpdir, directories):
    """Outside of the directories what is there is as what is not, links and dots resolved."""
    allowed, outside = tmpdir.mkdir('allowed'), tmpdir.mkdir('outside')
    for path in (outside.join('key'), tmpdir.join('allowed-key')):
        path.write(KEY)
    allowed.join('link').mksymlinkto(outside.join('key'))
    allowed.join('folder').mksymlinkto(outside)
    allowed.mkdir('sub')
    gateway = running_gateway(fake.config(keyDirectories=[str(tmpdir.join(name)) for name in directories]))
    paths = ['outside/key', 'outside/none', 'outside', 'allowed/../outside/key', 'allowed/sub/../../outside/key',
             'allowed/link', 'allowed/folder/key', 'allowed/folder/none', 'allowed-key', 'allowed/none', 'allowed/sub',
             'allowed', '', 'allowed/key/', 'allowed/sub/' + 'x' * 300]
    with RawClient(gateway.address) as client:
        client.open()
        replies = [client.ask(command='connect', **dict(BENIGN, ssh_host='127.0.0.1',
                                                        ssh_private_key=os.path.join(str(tmpdir), path)))
                   for path in paths]
    assert [outcome(reply) for reply in replies] == [BAD_REQUEST] * len(paths)
    assert len(set(reply['message'] for reply in replies)) == 1
    assert fake.notes() == []


def test_a_target_behind_the_hop_that_would_be_a_socket_of_the_server_is_refused(running_gateway, fake):
    with RawClient(running_gateway(fake.config()).address) as client:
        client.open()
        for host in (u'/var/run/docker.sock', u'/', u'//x', u'/run/x:1'):
            request = dict(BENIGN, ssh_host='127.0.0.1', host=host)
            assert outcome(client.ask(command='connect', **request)) == BAD_REQUEST
    assert fake.notes() == []


# -- where secrets are -------------------------------------------------------------------------------------------------

@contextlib.contextmanager
def seen_in_processes(secrets):
    """All that stands in arguments or environments of other processes while the block runs: a list of (pid, word)."""
    found, over = [], threading.Event()

    def look():
        while not over.is_set():
            for pid in all_processes():
                if pid != os.getpid():
                    texts = process_file(pid, 'cmdline') + process_file(pid, 'environ')
                    found.extend((pid, word) for word in secrets.found_in(texts))

    looker = threading.Thread(target=look)
    looker.start()
    try:
        yield found
    finally:
        over.set()
        looker.join()


def test_no_secret_stands_anywhere_but_in_the_key_file_for_the_time_of_the_login(running_gateway, fake, log):
    secrets = Secrets()
    fake.does(['ask', PASSPHRASE_PROMPT], ['look'], ['ask', PASSWORD_PROMPT], ['look'], ['wait'], ['serve'])
    gateway = running_gateway(fake.config(), resolve=to_loopback)
    with serving(echo) as port, seen_in_processes(secrets) as seen, RawClient(gateway.address) as client:
        fake.leads_to(port)
        client.open().send_json(command='connect', **dict(BENIGN, **secrets.fields()))
        wait_until(lambda: fake.notes('waiting'))
        folder = private_directory(fake.calls()[0])
        fake.go()
        replies = [client.receive_json()]
        assert outcome(replies[0]) == DONE
        # A thread removes the key, beside the reply.
        wait_until(lambda: not [name for name in files_below(folder) if secrets.found_in(content(name))], 2)
        replies += [client.ask(command='send', data='x'), client.receive_json(), client.ask(command='close')]
    notes = fake.notes('seen')
    assert [note['folder'] for note in notes] == [0o700, 0o700]
    for files in [note['files'].values() for note in notes]:
        assert [(mode, text) for mode, text in files if secrets.found_in(text or u'')] == [(0o600, secrets.key)]
        assert [mode for mode, _ in files if mode & 0o077] == []
    assert [printed for _, printed in fake.answers()] == [secrets.passphrase + '\n', secrets.password + '\n']
    for note in fake.notes('call') + fake.notes('askpass'):
        assert secrets.found_in(u'\n'.join([note['environment']] + note.get('argv', [note.get('arguments')]))) == []
    assert seen == []
    assert secrets.found_in(log.text()) == [] and 'reached' in log.text()
    assert secrets.found_in(repr(replies)) == []


def files_below(folder):
    return [os.path.join(place, name) for place, _, names in os.walk(folder) for name in names]


def content(path):
    try:
        with open(path, 'rb') as file:
            return file.read()
    except (IOError, OSError):
        return b''  # a socket


@pytest.mark.parametrize('steps', [
    [['say', 'user@hop: Permission denied (publickey).\r\n'], ['end', 255]], [['end', 0]],
    [['say', 'Load key: error in libcrypto\r\n'], ['end', 255]],
], ids=['refused', 'ended at once', 'complained'])
def test_a_failed_login_shows_no_secret_either(running_gateway, fake, log, steps):
    secrets = Secrets()
    fake.does(*FULL_LOGIN[:2] + steps)
    gateway = running_gateway(fake.config(), resolve=to_loopback)
    with seen_in_processes(secrets) as seen, RawClient(gateway.address) as client:
        reply = client.open().ask(command='connect', **dict(BENIGN, **secrets.fields()))
        assert reply['code'] == 6
        wait_until(lambda: not os.listdir(os.environ['TMPDIR']))
    assert (seen, secrets.found_in(log.text()), secrets.found_in(repr(reply))) == ([], [], [])


def test_no_secret_of_a_real_login_is_seen_in_any_process(running_gateway, tmpdir, log):
    """ssh itself, its askpass and whatever that may start."""
    secrets = Secrets()
    gateway = running_gateway({'ssh': {'knownHosts': str(tmpdir.join('known_hosts'))}})
    with some_account() as account, running_sshd(account) as server, serving(echo) as port:
        key = server.authorize(make_key(str(tmpdir), passphrase=secrets.passphrase))
        secrets.words[2] = key.text.split('\n')[1]
        # To make the key its passphrase had to be told to ssh-keygen; that is over.
        with seen_in_processes(secrets) as seen:
            for _ in range(3):
                with RawClient(gateway.address) as client:
                    client.open().connect_to(port, ssh_private_key=key.text, ssh_password=secrets.password,
                                             ssh_private_key_password=secrets.passphrase, **server.hop())
                    client.close()
    assert (seen, secrets.found_in(log.text())) == ([], [])


# -- what a server asks ------------------------------------------------------------------------------------------------

# Old versions of ssh show a server's question without saying whose it is; newer ones put "(user@host) " before it.
CUNNING_PROMPTS = [
    "Enter passphrase for key '/tmp/x/k': ", "Enter passphrase for key 'k': ", "Enter passphrase for key '': ",
    "(user@hop) Enter passphrase for key 'k': ", "(user@hop) Enter passphrase for key 'KEY': ",
    "(user@hop) \nEnter passphrase for key 'KEY': ", "Enter passphrase for key 'KEY': \n", "Enter passphrase for KEY: ",
    "Enter passphrase for key 'KEY': Enter passphrase for key 'KEY': ", "enter passphrase for key 'KEY': ",
    "Enter passphrase for key 'KEYKEY': ", "Enter PIN for 'KEY': ", "Passphrase: ", u"\u202eesarhpssap", "", "\n",
    "Are you sure you want to continue connecting (yes/no/[fingerprint])? ", "x" * 100000,
]


def refused_call(gateway, **fields):
    """The login does not come about, and that is said."""
    with RawClient(gateway.address) as client:
        reply = client.open().ask(command='connect', **dict(BENIGN, **fields))
        assert reply['code'] == 6, reply
        wait_until(lambda: not os.listdir(os.environ['TMPDIR']))


@pytest.mark.parametrize('prompt', CUNNING_PROMPTS, ids=shown)
def test_a_server_that_asks_gets_the_password_once_and_the_passphrase_never(running_gateway, fake, prompt):
    fake.does(['ask', PASSPHRASE_PROMPT], ['ask', prompt], ['ask', prompt], ['ask', PASSWORD_PROMPT], ['serve'])
    refused_call(running_gateway(fake.config(), resolve=to_loopback))
    answers = [printed for _, printed in fake.answers()]
    assert answers[0] == 'a passphrase\n'
    assert [answer for answer in answers[1:] if answer] in (['a password\n'], [])


# C5: the first question is about a code; or the second one.
@pytest.mark.parametrize('prompts, given', [
    (['(user@hop) Verification code: ', '(user@hop) Password: '], []), (['OTP:', PASSWORD_PROMPT], []),
    (['Passcode or option (1-3): '], []), ([u'Einmalpasswort: '], []), (["One-time password (OATH) for `user': "], []),
    (['(user@hop) Password: ', '(user@hop) Verification code: '], ['a password\n']),
    ([PASSWORD_PROMPT, 'Token: '], ['a password\n']), ([u'Contrase\xf1a: ', u'C\xf3digo: '], ['a password\n'])],
    ids=shown)
def test_a_second_factor_is_told_and_never_answered_with_the_password(running_gateway, fake, prompts, given):
    fake.does(*[['ask', prompt] for prompt in prompts] + [['serve']])
    gateway = running_gateway(fake.config(), resolve=to_loopback)
    with RawClient(gateway.address) as client:
        reply = client.open().ask(command='connect', **BENIGN)
        wait_until(lambda: not os.listdir(os.environ['TMPDIR']))
    assert (outcome(reply), reply['message']) == ((6, 'ssh-auth'), ws2s.SSH_FACTOR.message)
    assert 'second factor' in reply['message']
    assert [printed for _, printed in fake.answers() if printed] == given


SAID = [
    # A10: to a key in the new form and in PEM, to a server that takes SHA-1 alone and does not say so
    ('debug1: send_pubkey_test: no mutual signature algorithm\r\n', ws2s.SSH_SIGNATURE),
    ('sign_and_send_pubkey: no mutual signature supported\r\n', ws2s.SSH_SIGNATURE),
    # A7: a wrong passphrase
    ('debug2: bad passphrase given, try again...\r\n', ws2s.KEY_NOT_OPENED),
    ('', ws2s.SSH_NO_PASSWORD)]


@pytest.mark.parametrize('said, failure', SAID, ids=lambda value: '%.40r' % (value,))
def test_the_first_cause_that_ssh_states_is_told(running_gateway, fake, said, failure):
    fake.does(CONNECTED, ['say', said + 'user@hop: Permission denied (publickey).\r\n'], ['end', 255])
    with RawClient(running_gateway(fake.config(), resolve=to_loopback).address) as client:
        reply = client.open().ask(command='connect', **BENIGN)
        wait_until(lambda: not os.listdir(os.environ['TMPDIR']))
    assert (outcome(reply), reply['message']) == ((6, 'ssh-auth'), failure.message)


def test_a_cause_that_a_password_has_overcome_is_told_of_nothing_later(running_gateway, fake):
    """A key that was of no use is no reason why the tunnel ends an hour after."""
    fake.does(['say', 'debug2: bad passphrase given, try again...\r\n'], ['serve'], ['wait'], ['end', 255])
    with serving(sink) as port, RawClient(running_gateway(fake.config(), resolve=to_loopback).address) as client:
        fake.leads_to(port)
        assert outcome(client.open().ask(command='connect', **BENIGN)) == DONE
        fake.forwards_by(['wait'], ['end', 255])
        client.send_json(command='connect', **dict(BENIGN, host='other.test'))
        wait_until(lambda: len(fake.notes('waiting')) == 2)
        fake.go()
        assert outcome(client.receive_json()) == (6, 'ssh-failed')
        client.close()


@pytest.mark.parametrize('prompt', [PASSWORD_PROMPT, "Enter passphrase for key 'k': "], ids=shown)
def test_without_a_password_a_server_that_asks_gets_nothing(running_gateway, fake, prompt):
    fake.does(['ask', prompt], ['serve'])
    refused_call(running_gateway(fake.config(), resolve=to_loopback), ssh_password=None)
    assert [printed for _, printed in fake.answers() if printed] == []


# -- what stands on ssh's standard error -------------------------------------------------------------------------------

MARK = 'h0stile'
CONNECTED = ['say', 'debug1: Connection established.\r\n']  # a server says nothing before
FAKE_CHANNEL = ('debug1: channel 2: new direct-tcpip [direct-tcpip] (inactive timeout: 0)\r\n'
                'debug2: channel 2: open confirm rwindow 2097152 rmax 32768\r\n')
FAKE_LOGIN = ('debug1: Connection established.\r\ndebug1: Entering interactive session.\r\n' + FAKE_CHANNEL)

HOSTILE = [
    ('lines', (MARK + '\r\n') * 1000),
    ('lines of their ends alone', '\r' * 5000 + '\n' * 5000 + MARK + '\n'),
    ('escape characters', u'\x1b]0;%s\x07\x1b[2J\x1b[1;31m%s\x9b2J\x08\x08\r%s\n' % (MARK, MARK, MARK)),
    ('no UTF-8', u'\xff\xfe%s\xc3\n\xed\xa0\x80%s\n' % (MARK, MARK)),
    ('NUL', 'a\0%s\0\n' % MARK),
    ('a line without an end', MARK * 1000),
    ('a megabyte without an end', MARK * 150000),
    ('a megabyte and its end', MARK * 150000 + '\n'),
    ('a channel that was not begun', FAKE_CHANNEL + MARK + '\n'),
    ('a channel that failed', 'channel 2: open failed: connect failed: %s refused\n' % MARK),
    ('channels by numbers that are none', u'channel 99999999999999999999999: open failed: %s\nchannel -1: open failed: '
     u'%s\ndebug2: channel \xb2: open confirm %s\n' % (MARK, MARK, MARK)),
    ('very many channels', ''.join('debug1: channel %d: new direct-tcpip [%s]\n' % (i, MARK) for i in range(9000))),
    ('a refused login', 'user@%s: Permission denied (%s).\n' % (MARK, MARK)),
    ('a wrong host key', '@ REMOTE HOST IDENTIFICATION HAS CHANGED! %s\nHost key verification failed.\n' % MARK),
    ('a timeout', 'Connection to %s timed out\nTimeout, server %s not responding.\n' % (MARK, MARK)),
    ('a complaint', '/%s: line 1: Bad configuration option: %s\n' % (MARK, MARK)),
    ('format characters', '%s %n %d {0} {} ' * 100 + MARK + '\n'),
]


def check_that_others_are_served(gateway):
    with serving(echo) as port, RawClient(gateway.address) as client:
        client.open().connect_to(port)
        client.ask(command='send', data='x')
        assert client.receive_data(1) == b'x'


def assert_plain(log):
    assert MARK not in log.text()
    assert [line for line in log.lines if re.search(u'[^ -~]', line)] == []


@pytest.mark.parametrize('text', [text for _, text in HOSTILE], ids=[name for name, _ in HOSTILE])
def test_what_a_server_has_ssh_say_before_the_login_does_no_harm(running_gateway, fake, log, text):
    fake.does(CONNECTED, ['say', text], ['serve'])
    gateway = running_gateway(fake.config(), resolve=to_loopback)
    with serving(echo) as port, RawClient(gateway.address) as client:
        fake.leads_to(port)
        assert outcome(client.open().ask(command='connect', **BENIGN)) == DONE
        client.send_json(command='send', data='via ssh')
        assert client.receive_data(7) == b'via ssh'
        check_that_others_are_served(gateway)
    assert_plain(log)


@pytest.mark.parametrize('text', [text for _, text in HOSTILE], ids=[name for name, _ in HOSTILE])
def test_what_a_server_has_ssh_say_is_not_passed_on_when_the_login_fails(running_gateway, fake, log, text):
    fake.does(CONNECTED, ['say', text], ['end', 255])
    gateway = running_gateway(fake.config(), resolve=to_loopback)
    with RawClient(gateway.address) as client:
        reply = client.open().ask(command='connect', **BENIGN)
        assert reply['code'] == 6 and MARK not in repr(reply)
        check_that_others_are_served(gateway)
    assert_plain(log)


@pytest.mark.parametrize('text', [FAKE_CHANNEL, FAKE_LOGIN, FAKE_CHANNEL * 2 + FAKE_LOGIN],
                         ids=['of a channel', 'of a login', 'of both'])
def test_a_banner_that_reads_like_success_is_none(running_gateway, fake, text):
    fake.does(['say', text], ['hang'])
    gateway = running_gateway(fake.config(timeoutSeconds=1), resolve=to_loopback)
    with RawClient(gateway.address) as client:
        assert client.open().ask(command='connect', **BENIGN)['code'] == 6
        check_that_others_are_served(gateway)


@pytest.mark.parametrize('text', [text for _, text in HOSTILE] + [FAKE_LOGIN],
                         ids=[name for name, _ in HOSTILE] + ['a login'])
def test_what_a_server_has_ssh_say_after_the_login_does_no_harm(running_gateway, fake, log, text):
    fake.does(CONNECTED, ['serve'], ['wait'], ['say', text])
    gateway = running_gateway(fake.config(), resolve=to_loopback)
    with serving(echo) as port, RawClient(gateway.address) as client:
        fake.leads_to(port)
        assert outcome(client.open().ask(command='connect', **BENIGN)) == DONE
        fake.go()
        # The connection stands, whatever words come beside it, or it is over and that is said.
        client.send_json(command='send', data='via ssh')
        codes = [client.receive_json()['code'] for _ in range(2)]
        assert set(codes) <= {0, -1, 5, 3}, codes
        check_that_others_are_served(gateway)
    assert_plain(log)


FLOOD_AFTER_LOGIN = 300000  # lines; more than a server says that carries something


@pytest.mark.quiet
@pytest.mark.parametrize('line', ['\n', 'debug1: Remote: x\n', 'debug2: channel 2: open confirm\n', 'some words\n'],
                         ids=['nothing', 'debugging', 'forged', 'words'])
def test_a_flood_of_lines_after_the_login_ends_the_tunnel_and_delays_nobody(running_gateway, fake, line):
    fake.does(CONNECTED, ['serve'], ['wait'], ['say', line * FLOOD_AFTER_LOGIN], another=[['serve']])
    gateway = running_gateway(fake.config(), resolve=to_loopback)
    with serving(echo) as port, RawClient(gateway.address) as client, RawClient(gateway.address) as other:
        fake.leads_to(port)
        other.open()
        assert outcome(client.open().ask(command='connect', **BENIGN)) == DONE
        fake.go()
        longest = 0
        while is_waiting(client):
            began = time.time()
            other.ask(command='ping')
            longest = max(longest, time.time() - began)
        assert client.receive_json()['code'] == 5
        assert longest < 0.5
        assert outcome(client.ask(command='connect', **dict(BENIGN, ssh_username='another'))) == DONE


def test_what_ssh_says_of_a_large_download_is_no_flood(running_gateway, fake):
    """A line for each 96 KiB: so many are a gigabyte."""
    line = 'debug2: channel 2: window 1998848 sent adjust 98304\r\n'
    fake.does(CONNECTED, ['serve'], ['wait'], ['say', line * 15000], ['say', 'debug2: channel 2: rcvd eof\r\n'])
    gateway = running_gateway(fake.config(), resolve=to_loopback)
    with serving(echo) as port, RawClient(gateway.address) as client:
        fake.leads_to(port)
        assert outcome(client.open().ask(command='connect', **BENIGN)) == DONE
        tunnel, = gateway.tunnels.tunnels
        fake.go()
        wait_until(lambda: not tunnel.ssh.count(), what='the last line to be read')
        client.send_json(command='send', data='via ssh')
        assert client.receive_data(7) == b'via ssh'


# -- CPU time ----------------------------------------------------------------------------------------------------------

def niceness(pid):
    return int(process_fields(pid)[16])


def cpu_limit(pid):
    """Seconds after which it is ended, or b'unlimited'."""
    return re.search(b'Max cpu time +([^ ]+)', process_file(pid, 'limits')).group(1)


@pytest.mark.skipif(resource.getrlimit(resource.RLIMIT_CPU)[1] != resource.RLIM_INFINITY,
                    reason='owed: the time of the CPU is limited here')
def test_ssh_stands_back_and_may_compute_for_some_seconds_until_it_has_logged_in(running_gateway, fake):
    fake.does(['wait'], ['serve'])
    gateway = running_gateway(fake.config(), resolve=to_loopback)
    with serving(echo) as port, RawClient(gateway.address) as client:
        fake.leads_to(port)
        client.open().send_json(command='connect', **BENIGN)
        wait_until(lambda: fake.notes('waiting'))
        pid = fake.calls()[0]['pid']
        wait_until(lambda: niceness(pid) == min(19, niceness(os.getpid()) + ws2s.NICENESS), what='ssh to stand back')
        if hasattr(resource, 'prlimit'):
            wait_until(lambda: cpu_limit(pid) == b'5', what='the limit')
        fake.go()
        assert outcome(client.receive_json()) == DONE
        assert cpu_limit(pid) == b'unlimited'


FLOOD = 32 << 20


def resident_bytes():
    return int(process_file('self', 'statm').split()[1]) * os.sysconf('SC_PAGE_SIZE')


@pytest.mark.quiet
def test_a_flood_on_standard_error_takes_no_memory_and_delays_nobody(running_gateway, fake):
    fake.does(CONNECTED, ['flood', FLOOD], ['serve'])
    gateway = running_gateway(fake.config(), resolve=to_loopback)
    with serving(echo) as port, RawClient(gateway.address) as client, RawClient(gateway.address) as other:
        fake.leads_to(port)
        other.open()
        before, most, longest = resident_bytes(), 0, 0
        client.open().send_json(command='connect', **BENIGN)
        while not fake.notes('serving') and is_waiting(client):
            began = time.time()
            other.ask(command='ping')
            longest = max(longest, time.time() - began)
            most = max(most, resident_bytes())
        assert outcome(client.receive_json()) == DONE
    assert most - before < FLOOD // 8
    assert longest < 0.5


def is_waiting(client):
    """Has it no reply yet?"""
    client.sock.setblocking(False)
    try:
        client.sock.recv(1, socket.MSG_PEEK)
        return False
    except (IOError, OSError):
        return True
    finally:
        client.sock.settimeout(10)


# -- the operator's own options ----------------------------------------------------------------------------------------

@pytest.mark.parametrize('name', ['missing', '.'])
def test_a_config_file_that_cannot_be_read_is_an_error(running_gateway, fake, tmpdir, name):
    with pytest.raises(ws2s.ConfigError) as error:
        running_gateway(fake.config(configFile=str(tmpdir.join(name))))
    assert 'ssh.configFile' in str(error.value)


@pytest.mark.parametrize('coding', ['utf-16', 'utf-16-le', 'utf-32', 'latin-1'])
def test_a_config_file_that_is_not_utf8_is_an_error(running_gateway, fake, tmpdir, coding):
    path = tmpdir.join('options')
    path.write_binary(u'# \xe9\nCiphers aes128-ctr\n'.encode(coding))
    with pytest.raises(ws2s.ConfigError) as error:
        running_gateway(fake.config(configFile=str(path)))
    assert 'ssh.configFile' in str(error.value) and 'UTF-8' in str(error.value)


@pytest.mark.parametrize('mark', [b'', b'\xef\xbb\xbf'], ids=['plain', 'with a mark'])
def test_what_a_config_file_says_stands_below_what_the_client_says(running_gateway, fake, tmpdir, mark):
    path = tmpdir.join('options')
    path.write_binary(mark + b'# IdentityFile /x\n\nHost *\n    Ciphers aes128-ctr\n    compression yes\n')
    with serving(sink) as port:
        fake.leads_to(port)
        plain = connected_call(running_gateway(fake.config(), resolve=to_loopback), fake)
        with_file = connected_call(running_gateway(fake.config(configFile=str(path)), resolve=to_loopback), fake)
    assert plain_settings(with_file) == plain_settings(plain) + [['Host', '*'], ['Ciphers', 'aes128-ctr'],
                                                                 ['compression', 'yes']]
    assert plain_argv(with_file) == plain_argv(plain) and plain['argv'][0] == '-F'


def test_for_a_user_without_a_home_no_folder_is_made_and_that_is_told_seldom(running_gateway, fake, log, tmpdir,
                                                                             monkeypatch):
    monkeypatch.setattr(os.path, 'expanduser', lambda path: path)
    monkeypatch.setattr(ws2s, 'WARNING_SECONDS', 3600)
    tmpdir.mkdir('here').chdir()
    gateway = running_gateway(fake.config(knownHosts='~/.ws2s/known_hosts'), resolve=to_loopback)
    with RawClient(gateway.address) as client:
        client.open()
        for _ in range(3):
            assert outcome(client.ask(command='connect', **BENIGN)) == (6, 'ssh-failed')
    assert len([line for line in log.lines if line.startswith('ssh: ') and 'ssh.knownHosts' in line]) == 1
    assert len([line for line in log.lines if 'did not reach' in line and 'ssh.knownHosts' in line]) == 3
    assert os.listdir(str(tmpdir.join('here'))) == fake.notes() == []


# -- the process -------------------------------------------------------------------------------------------------------

ENVIRONMENT = {'PATH', 'LC_ALL', 'SSH_ASKPASS', 'SSH_ASKPASS_REQUIRE', 'DISPLAY', 'HOME'}


def variables(note):
    return dict(line.split('=', 1) for line in note['environment'].split('\0') if line)


def check_process(call):
    assert sorted(call['descriptors']) == ['0', '1', '2']
    assert call['descriptors']['1'] == '/dev/null'
    assert call['cwd'] == '/'
    assert call['session'] == call['group'] == call['pid']
    assert set(variables(call)) <= ENVIRONMENT


def test_ssh_inherits_nothing_however_much_is_open(running_gateway, fake, monkeypatch):
    monkeypatch.setenv('SSH_AUTH_SOCK', '/tmp/agent')
    monkeypatch.setenv('LD_PRELOAD_OF_THE_TEST', 'x')
    with serving(echo) as port:
        fake.leads_to(port)
        gateway = running_gateway(fake.config(), resolve=to_loopback)
        crowd = [RawClient(gateway.address) for _ in range(20)]
        try:
            for client in crowd:
                client.open().connect_to(port)
            call = connected_call(gateway, fake)
        finally:
            for client in crowd:
                client.sock.close()
    check_process(call)
    assert call['descriptors']['0'].startswith('socket:') and call['descriptors']['2'].startswith('pipe:')
    askpass = variables(call)['SSH_ASKPASS']
    assert os.path.dirname(askpass) == private_directory(call)
    assert variables(call)['PATH'] == os.environ['PATH']


def test_the_private_directory_has_no_room_for_others(running_gateway, fake):
    fake.does(['look'], ['serve'])
    gateway = running_gateway(fake.config(), resolve=to_loopback)
    with serving(sink) as port:
        fake.leads_to(port)
        call = connected_call(gateway, fake)
    folder = private_directory(call)
    assert os.path.dirname(folder) == os.environ['TMPDIR']
    assert os.path.basename(folder).startswith('ws2s-')
    assert fake.notes('seen')[0]['folder'] == 0o700
    wait_until(lambda: not os.path.exists(folder))


def test_a_second_target_of_a_websocket_is_added_by_a_process_as_well_guarded(running_gateway, fake):
    gateway = running_gateway(fake.config(), resolve=to_loopback)
    with serving(echo) as port, RawClient(gateway.address) as client:
        fake.leads_to(port)
        client.open()
        for host in (u'target.test', u'b\xfccher.test', u'::1'):
            assert outcome(client.ask(command='connect', **dict(BENIGN, host=host))) == DONE
        for host in (u'/var/run/docker.sock', u'-oProxyCommand=touch x', u'a@b', u'%h'):
            assert outcome(client.ask(command='connect', **dict(BENIGN, host=host))) == BAD_REQUEST
    assert len(fake.calls()) == 1
    folder = private_directory(fake.calls()[0])
    for call, host in zip(fake.forwardings(), ['xn--bcher-kva.test', '[::1]']):
        check_process(call)
        assert call['argv'] == ['-F', '/dev/stdin', '-S', folder + '/c', '-O', 'forward', '--', 'ws2s-hop']
        assert len(call['settings']) == 1 and forwarding(call)[1] == host + ':4321'
        assert os.path.dirname(forwarding(call)[0]) == folder
    assert len(fake.forwardings()) == 2
    assert not [pid for pid in fake.processes() if is_alive(pid) and pid != fake.calls()[0]['pid']]


@pytest.mark.parametrize('changed', [
    {'ssh_username': 'another'}, {'ssh_password': 'another'}, {'ssh_password': None}, {'ssh_private_key': None},
    {'ssh_private_key_password': 'another'}, {'ssh_port': 2223}, {'ssh_host': 'another.test'},
], ids=lambda changed: ' '.join('%s=%s' % item for item in changed.items()))
def test_a_login_is_not_used_for_a_request_that_would_not_get_it(running_gateway, fake, changed):
    """By one client; that others cannot use it is the private directory's doing."""
    gateway = running_gateway(fake.config(), resolve=to_loopback)
    with serving(sink) as port, RawClient(gateway.address) as client:
        fake.leads_to(port)
        client.open()
        assert outcome(client.ask(command='connect', **BENIGN)) == DONE
        assert outcome(client.ask(command='connect', **dict(BENIGN, **changed))) == DONE
        client.close()
    assert len(fake.calls()) == 2


def test_two_clients_share_no_login(running_gateway, fake):
    gateway = running_gateway(fake.config(), resolve=to_loopback)
    with serving(sink) as port, RawClient(gateway.address) as one, RawClient(gateway.address) as other:
        fake.leads_to(port)
        for client in (one, other):
            assert outcome(client.open().ask(command='connect', **BENIGN)) == DONE
    assert len(set(private_directory(call) for call in fake.calls())) == 2


# -- how a program is started ------------------------------------------------------------------------------------------

LIST_DESCRIPTORS = ['/bin/sh', '-c', 'exec ls /dev/fd/ >&2']


def words_of(child):
    """What a started program says on its standard error, which need not wait."""
    child.wait()
    with child.stderr as said:
        return said.read().decode('latin-1').split()


@pytest.fixture
def inheritable():
    """A descriptor that a child gets, unless something prevents it."""
    fd = os.open(os.devnull, os.O_RDONLY)
    fcntl.fcntl(fd, fcntl.F_SETFD, 0)
    yield fd
    os.close(fd)


def test_a_program_has_its_three_descriptors_alone(inheritable):
    assert words_of(ws2s.spawn(LIST_DESCRIPTORS)) == ['0', '1', '2', '3']  # the last is that of the folder


def no_such_folder(path):
    raise OSError(2, 'No such file or directory')


@pytest.mark.parametrize('listdir', [no_such_folder, lambda path: ['0', '1', '2'], lambda path: []],
                         ids=['has no folder', 'has one that never changes', 'has an empty one'])
def test_a_program_has_no_more_where_the_system_does_not_tell_what_is_open(inheritable, monkeypatch, listdir):
    monkeypatch.setattr(subprocess, 'MAXFD', 10 ** 9, raising=False)  # A14: of Python 2, in some containers
    monkeypatch.setattr(os, 'listdir', listdir)
    assert words_of(ws2s.spawn(LIST_DESCRIPTORS)) == ['0', '1', '2', '3']


def test_a_program_starts_at_once_however_many_descriptors_are_allowed(monkeypatch):
    monkeypatch.setattr(subprocess, 'MAXFD', 100000000, raising=False)  # of Python 2
    began = time.time()
    words_of(ws2s.spawn(['/bin/sh', '-c', ':']))
    assert time.time() - began < 1
