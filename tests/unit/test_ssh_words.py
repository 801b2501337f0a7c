# -*- coding: utf-8 -*-
"""Room 7: what ssh is told and what it says (protocol 3, security 3.4 and S13).

The lines of ssh come from OpenSSH 7, 8 and 9; the forms of its file of options were tried with OpenSSH 9.2.
"""
import binascii
import collections
import re
import struct

import pytest

import ws2s
from every_split import every_split, shown
from ws2s import Hop

KEY = u'-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNlc2FtZQ==\n-----END OPENSSH PRIVATE KEY-----\n'
PASSWORD, PASSPHRASE = b'swordfish', b'opensesame'
DIRECTORY, TARGET = '/tmp/private-1', (u'redis.lan', 6379)


def hop(host=u'bastion.lan', port=22, username=u'me', password=None, key=None, passphrase=None):
    return Hop(host, port, username, password, key, passphrase)


# --- Hop ------------------------------------------------------------------------------------------

@pytest.mark.parametrize('show', [repr, str, '{0}'.format, '{0!r}'.format,
                                  lambda one: '%s %r' % (one, one), lambda one: repr([one]),
                                  lambda one: repr({1: (one,)}),
                                  lambda one: '%s %r' % (ws2s.Open(1, u'a', 80, one), ws2s.Open(1, u'a', 80, one))])
def test_a_hop_shows_where_it_is_and_no_secret(show):
    text = show([hop(password=PASSWORD, key=KEY, passphrase=PASSPHRASE)][0])
    assert 'bastion.lan' in text
    for secret in ('swordfish', 'opensesame', 'b3Blbn', 'PRIVATE'):
        assert secret not in text


def test_hops_are_equal_when_all_their_fields_are():
    one, same = (hop(password=PASSWORD, key=KEY, passphrase=PASSPHRASE) for _ in range(2))
    assert one == same and hash(one) == hash(same)
    for field, value in [('host', u'b.lan'), ('port', 23), ('username', u'you'), ('password', b'x'), ('key', u'/k'),
                         ('passphrase', None)]:
        assert one != one._replace(**{field: value})


@pytest.mark.parametrize('fields, methods', [
    ({}, ()),
    ({'passphrase': PASSPHRASE}, ()),
    ({'key': KEY}, ('publickey',)),
    ({'key': u'/keys/me', 'passphrase': PASSPHRASE}, ('publickey',)),
    ({'password': PASSWORD}, ('password', 'keyboard-interactive')),
    ({'password': PASSWORD, 'key': KEY}, ('publickey', 'password', 'keyboard-interactive')),
], ids=lambda value: None)
def test_only_ways_to_log_in_for_which_something_was_given(fields, methods):
    assert read_call(tunnel(hop(**fields))).options['PreferredAuthentications'] == (','.join(methods) or 'none')


# --- Hosts ----------------------------------------------------------------------------------------

LONGEST = u'.'.join([u'h' * 49] * 5) + u'.lan'


@pytest.mark.parametrize('given, plain', [(name, name) for name in (
    u'x', u'bastion', u'bastion.lan', u'bastion.lan.', u'a-b.c_d.lan', u'_ssh.lan', u'1and1.lan',
    u'xn--bcher-kva.lan',
    u'a--', u'127.0.0.1', u'127.1', u'2130706433', u'0x7f.1', u'::1', u'fe80::1', u'2001:db8::1', LONGEST)] + [
    (u'0:0:0:0:0:0:0:1', u'::1'), (u'2001:DB8:0:0::0001', u'2001:db8::1'), (u'::FFFF:10.0.0.1', u'::ffff:10.0.0.1'),
    (u'::ffff:a00:1', u'::ffff:10.0.0.1'), (u'b\xfccher.lan', u'xn--bcher-kva.lan'),
    (u'B\xdcCHER.lan', u'xn--bcher-kva.lan'), (u'a\u3002lan', u'a.lan'), (u'\u2460\u2461\u2466.0.0.1', u'127.0.0.1'),
    (u'\uff41.lan', u'a.lan')], ids=lambda value: '%.20r' % value)
def test_plain_host(given, plain):
    assert ws2s.plain_host(given) == plain


def test_a_plain_host_may_have_capitals():
    assert ws2s.plain_host(u'Bastion.LAN').lower() == u'bastion.lan'


# Security S13, and whatever else ssh, a shell, a URI or a file of options could take for more than a name.
NOT_PLAIN = [
    u'-oProxyCommand=', u'-oProxyCommand=touch /tmp/x', u'-', u'-x', u'--', u';id', u'a;id', u'$(id)', u'a$(id)',
    u'$HOME',
    u'${HOME}', u'`id`', u'a`id`', u'a|id', u'a&id', u'a>b', u'a<b', u'a\n', u'\na', u'a\nb', u'a\r', u'a\0', u'\0',
    u'a\0b',
    u'a\t', u'a\x0b', u'a\x0c', u'a\x1b[1m', u'a\x7f', u'a\x85', u'a b', u' a', u'a ', u'', u'ssh://h', u'ssh://u@h',
    u'ssh://u@h:99', u'u@h', u'a@b@c', u'@', u'/', u'/var/run/docker.sock', u'./a', u'../a', u'a/b', u'~/a', u'~',
    u'[::1]',
    u'[a]', u'[', u']', u'a:22', u':', u':22', u'::1::', u':::', u'1:2:3', u'::1/128', u'::g', u'%h', u'a%h', u'%%',
    u'a%',
    u'fe80::1%lo', u'fe80::1%eth0', u'fe80::1%25lo', u'fe80::1%', u'127.0.0.1%lo', u'"a"', u"'a'", u'a"', u'a\\',
    u'a\\nb',
    u'a*', u'a?', u'!a', u'a!', u'#a', u'a#b', u'a,b', u'a=b', u'(a)', u'{a,b}', u'a^b', u'a+b', u'.', u'..', u'.a',
    u'.lan',
    u'\u202ea', u'a\u2028b', u'\xa0a', u'a\xa0', u'\ufeff', u'\ud800', u'a\udc00', u'\uff0doProxyCommand',
    u'a\uff0fb',
    u'\uff0fvar', u'a\uff20b', u'a\uff05h', u'a\uff1a22', u'a\uff1bid', u'\uff04(id)', u'a\u037eid',
    u'\u4e2d' * 80,
    LONGEST + u'x', u'h' * 254, u'h' * 10 ** 6]


@pytest.mark.parametrize('host', NOT_PLAIN, ids=lambda host: '%.20r' % host)
def test_what_is_no_plain_host_is_refused_naming_the_field_only(host):
    with pytest.raises(ws2s.RequestError) as caught:
        ws2s.plain_host(host, 'ssh_host')
    message = caught.value.failure.message
    assert message.startswith('ssh_host ') and len(message) < 100
    assert len(host) < 3 or host not in message


@pytest.mark.parametrize('host, port, name', [
    (u'Bastion.LAN', 22, 'bastion.lan'), (u'Bastion.LAN', 2222, '[bastion.lan]:2222'), (u'10.0.0.1', 22, '10.0.0.1'),
    (u'10.0.0.1', 23, '[10.0.0.1]:23'), (u'2001:db8::1', 22, '2001:db8::1'),
    (u'2001:db8::1', 220, '[2001:db8::1]:220')])
def test_host_key_name_is_the_one_in_known_hosts(host, port, name):
    assert ws2s.host_key_name(hop(host, port)) == name


@pytest.mark.parametrize('number, target, leads_to', [
    (1, (u'redis.lan', 6379), 'redis.lan:6379'), (12, (u'::1', 80), '[::1]:80'), (3, (u'0:0::1', 80), '[::1]:80'),
    (2, (u'b\xfccher.lan', 1), 'xn--bcher-kva.lan:1')])
def test_forward_line(number, target, leads_to):
    line = ws2s.forward_line(DIRECTORY, number, target)
    assert line == 'LocalForward "/tmp/private-1/s%d" "%s"\n' % (number, leads_to)
    assert ws2s.local_path(DIRECTORY, number) in line


@pytest.mark.parametrize('host', NOT_PLAIN, ids=lambda host: '%.20r' % host)
def test_no_forwarding_to_what_is_no_plain_host(host):
    for build in (lambda: ws2s.forward_line(DIRECTORY, 1, (host, 80)), lambda: lines(hop(), target=(host, 80))):
        with pytest.raises(ws2s.RequestError):
            build()


# --- Command lines --------------------------------------------------------------------------------

Call = collections.namedtuple('Call', 'program flags values options rest')

ALONE, WITH_VALUE = set('-M -N -T -a -x'.split()), set('-F -S -i -e -o -O'.split())


def read_call(argv):
    """A command line as getopt reads it; an argument that we do not know is a failure."""
    flags, values, arguments = set(), collections.defaultdict(list), iter(argv[1:])
    for argument in arguments:
        if argument == '--':
            break
        assert argument in ALONE | WITH_VALUE, argument
        if argument in ALONE:
            flags.add(argument)
        else:
            values[argument].append(next(arguments))
    options = [option.split('=', 1) for option in values.pop('-o', [])]
    names = [name.lower() for name, _ in options]
    assert sorted(set(names)) == sorted(names), 'the first value of an option counts, not the second'
    return Call(argv[0], flags, dict(values), dict(options), list(arguments))


def with_ssh(**options):
    return ws2s.DEFAULTS.replace(dict(('ssh.' + name, value) for name, value in options.items()))


def tunnel(one, seconds=10, **options):
    return ws2s.tunnel_arguments(with_ssh(**options), one, seconds, DIRECTORY)


def lines(one, address=u'192.0.2.7', target=TARGET):
    """The configuration as a list of (name, [value, ...]); each line is a name and quoted values."""
    text = ws2s.tunnel_lines(one, address, DIRECTORY, target)
    assert text.endswith('\n') and text.count('\n') == ws2s.OUR_LINES
    assert re.match(r'(?:[A-Z][A-Za-z]+(?: "[^"\n]+")+\n)+\Z', text)
    return [(line.partition(' ')[0], re.findall('"([^"]*)"', line)) for line in text.splitlines()]


LOGINS = {
    'no credentials': {},
    'password': {'password': PASSWORD},
    'key': {'key': KEY},
    'key with passphrase': {'key': KEY, 'passphrase': PASSPHRASE},
    'both': {'password': PASSWORD, 'key': KEY, 'passphrase': PASSPHRASE},
    'key by its path': {'key': u'/keys/me'},
}
WAYS = {
    'no credentials': ('no', 'no', 'no', 'none', 'yes'),
    'password': ('no', 'yes', 'yes', 'password,keyboard-interactive', 'no'),
    'key': ('yes', 'no', 'no', 'publickey', 'yes'),
    'key with passphrase': ('yes', 'no', 'no', 'publickey', 'no'),
    'both': ('yes', 'yes', 'yes', 'publickey,password,keyboard-interactive', 'no'),
    'key by its path': ('yes', 'no', 'no', 'publickey', 'yes'),
}
# Nothing of the operator's, nothing that runs, nothing that listens elsewhere (security 3.4).
ISOLATION = {
    'GlobalKnownHostsFile': '/dev/null', 'IdentitiesOnly': 'yes', 'IdentityAgent': 'none', 'AddKeysToAgent': 'no',
    'PermitLocalCommand': 'no', 'ProxyCommand': 'none', 'ProxyJump': 'none', 'KnownHostsCommand': 'none',
    'ForwardAgent': 'no', 'ForwardX11': 'no', 'Tunnel': 'no', 'GatewayPorts': 'no', 'ControlPersist': 'no',
    'CanonicalizeHostname': 'no', 'UpdateHostKeys': 'no', 'VerifyHostKeyDNS': 'no', 'CheckHostIP': 'no',
    'NumberOfPasswordPrompts': '1', 'ServerAliveCountMax': '3', 'ExitOnForwardFailure': 'yes', 'LogLevel': 'DEBUG2',
    'ForkAfterAuthentication': 'no', 'StdinNull': 'no', 'SessionType': 'none', 'StreamLocalBindMask': '0177'}


@pytest.mark.parametrize('login', sorted(LOGINS))
@pytest.mark.parametrize('checking', ['accept-new', 'yes', 'no'])
def test_each_tunnel_is_isolated(login, checking):
    call = read_call(tunnel(hop(**LOGINS[login]), hostKeyChecking=checking, knownHosts='/srv/known hosts'))
    assert dict((name, call.options.get(name)) for name in ISOLATION) == ISOLATION
    assert call.flags == ALONE
    assert call.values['-F'] == [DIRECTORY + '/config']
    assert call.values['-S'] == [DIRECTORY + '/c']
    assert 0 < int(call.options['ServerAliveInterval']) <= 30
    assert call.options['StrictHostKeyChecking'] == checking
    files = {'no': '"/dev/null"', 'yes': '"/srv/known hosts"',
             'accept-new': '"%s/learnt" "/srv/known hosts"' % DIRECTORY}
    assert call.options['UserKnownHostsFile'] == files[checking]  # ssh writes into the first one


def test_there_is_no_escape_character():
    call = read_call(tunnel(hop()))
    assert 'none' in call.values.get('-e', []) + [call.options.get('EscapeChar')]


@pytest.mark.parametrize('login', sorted(LOGINS))
def test_only_what_was_given_is_shown_to_the_server(login):
    call = read_call(tunnel(hop(**LOGINS[login])))
    names = ('PubkeyAuthentication', 'PasswordAuthentication', 'KbdInteractiveAuthentication',
             'PreferredAuthentications',
             'BatchMode')
    assert tuple(call.options[name] for name in names) == WAYS[login]
    assert call.values.get('-i') == ([DIRECTORY + '/k'] if 'key' in LOGINS[login] else None)
    assert not set(name.lower() for name in call.options) & set(['identityfile', 'certificatefile', 'pkcs11provider'])


@pytest.mark.parametrize('login', sorted(LOGINS))
def test_secrets_and_paths_of_keys_stand_in_no_argument(login):
    line = ' '.join(tunnel(hop(**LOGINS[login]))) + repr(lines(hop(**LOGINS[login])))
    for secret in ('swordfish', 'opensesame', 'b3Blbn', 'PRIVATE', '/keys/me'):
        assert secret not in line


def test_where_a_tunnel_goes():
    call = read_call(tunnel(hop(u'Bastion.LAN', 2222, u'me-2'), seconds=7.9))
    assert call.program == 'ssh'
    assert call.options['ConnectTimeout'] == '8'
    assert call.rest == ['ws2s-hop']
    assert lines(hop(u'Bastion.LAN', 2222, u'me-2')) == [
        ('HostName', ['192.0.2.7']), ('HostKeyAlias', ['[bastion.lan]:2222']), ('Port', ['2222']), ('User', ['me-2']),
        ('LocalForward', [DIRECTORY + '/s1', 'redis.lan:6379'])]


def test_the_arguments_are_those_of_any_other_client_with_such_a_login():
    assert tunnel(hop(u'Bastion.LAN', 2222, u'me-2', PASSWORD)) == tunnel(hop(u'::1', 22, u'you', b'other'))


@pytest.mark.parametrize('seconds, timeout', [(0, '1'), (0.05, '1'), (1, '1'), (3.4, '3'), (3.99, '4'), (15, '15'),
                                              (10 ** 7, '10000000')])
def test_timeout_is_whole_seconds_and_never_0_which_is_none(seconds, timeout):
    assert read_call(tunnel(hop(), seconds=seconds)).options['ConnectTimeout'] == timeout


@pytest.mark.parametrize('address, name', [
    (u'192.0.2.7', '192.0.2.7'), (u'2001:db8::1', '2001:db8::1'), (u'fe80::1%eth0', 'fe80::1%%eth0')])
def test_the_address_that_was_judged_is_dialled(address, name):
    assert lines(hop(), address=address)[0] == ('HostName', [name])


def test_program_of_the_operator():
    options = {'program': '/opt/ssh 9/ssh'}
    for argv in (tunnel(hop(), **options), ws2s.forward_arguments(with_ssh(**options), DIRECTORY)):
        assert read_call(argv).program == '/opt/ssh 9/ssh'


def test_young_options_do_not_hurt_an_older_ssh():
    arguments = tunnel(hop())
    options = [after for before, after in zip(arguments, arguments[1:]) if before == '-o']
    name, _, young = options[0].partition('=')
    assert name == 'IgnoreUnknown'  # it counts from there on
    assert set(young.split(',')) >= set('IdentityAgent KnownHostsCommand ProxyJump ForkAfterAuthentication StdinNull '
                                        'SessionType'.split())


def test_one_more_target_stands_in_no_argument():
    call = read_call(ws2s.forward_arguments(ws2s.DEFAULTS, DIRECTORY))
    assert call == Call('ssh', set(), {'-F': ['/dev/stdin'], '-S': [DIRECTORY + '/c'], '-O': ['forward']}, {},
                        ['ws2s-hop'])


NASTY = u'ab1._' * 12 + u'-+;$()`\n\0/@:[]%\'"\\ \t\r=,*?!#~{}|&<>^\x7f\x85\xe9\u2460\u202e\uff0d\uff0f\ud800'


def taken(dice, read, count=3000):
    """Those of many random strings that a check has let through."""
    for _ in range(count):
        text = u''.join(dice.choice(NASTY) for _ in range(dice.randrange(1, 7)))
        try:
            yield read(text)
        except ws2s.RequestError:
            continue


def test_whatever_passes_the_checks_stays_a_value(dice):
    hosts = list(taken(dice, lambda text: ws2s.plain_host(ws2s.read_host(text))))
    users = list(taken(dice, lambda text: ws2s.read_hop({u'ssh_host': u'h', u'ssh_username': text}).username))
    assert len(hosts) > 100 and len(users) > 100
    known = read_call(tunnel(hop(password=PASSWORD)))
    for host, user, target in zip(hosts, users, reversed(hosts)):
        one = hop(host, 2222, user, password=PASSWORD)
        assert read_call(tunnel(one)) == known
        (_, _), (_, (alias,)), (_, _), (_, (name,)), (_, (_, leads_to)) = lines(one, target=(target, 80))
        assert name == user and re.match(r'[A-Za-z0-9_.+][A-Za-z0-9_.+@:#=\\-]*\Z', user) and '\\\\' not in user
        assert leads_to == '%s:80' % (target if ':' not in target else '[%s]' % target)
        assert re.match(r'\[[a-z0-9_:][a-z0-9_.:-]*\]:2222\Z', alias)


# --- Its questions --------------------------------------------------------------------------------

QUESTION = b"Enter passphrase for key '/tmp/private-1/k': "


def test_the_question_for_the_key():
    assert ws2s.is_for_key(QUESTION, DIRECTORY) is True


@pytest.mark.parametrize('question', [QUESTION[:place] for place in range(len(QUESTION))] + [
    QUESTION + b' ', QUESTION + b'\n', b' ' + QUESTION, b'\n' + QUESTION, b'x\n' + QUESTION,
    QUESTION + b'\n' + QUESTION,
    QUESTION + b'x', QUESTION + b'\0', QUESTION.lower(), QUESTION.upper(), QUESTION.replace(b'/k', b'/K'),
    QUESTION.replace(b'/k', b'/k2'), QUESTION.replace(b'-1/', b'-2/'), QUESTION.replace(b'/tmp', b'/tmp/'),
    QUESTION.replace(b'/tmp/', b''), QUESTION.replace(b"'", b'"'), QUESTION.replace(b'private', b'private\n'),
    QUESTION.replace(b'private', b'.*'), b'(me@bastion.lan) ' + QUESTION, b"me@bastion.lan's password: ",
    b'Password: ',
    b"Enter passphrase for key '/home/me/.ssh/id_rsa': ", b"Enter PIN for '/tmp/private-1/k': "], ids=repr)
def test_any_other_question_may_be_the_servers(question):
    assert ws2s.is_for_key(question, DIRECTORY) is False


def test_the_path_in_the_question_is_no_pattern():
    assert ws2s.is_for_key(b"Enter passphrase for key '/tmp/a.*b/k': ", '/tmp/a.*b')
    assert not ws2s.is_for_key(b"Enter passphrase for key '/tmp/axxb/k': ", '/tmp/a.*b')
    assert ws2s.is_for_key(u"Enter passphrase for key '/tmp/\xe9/k': ".encode('utf-8'), u'/tmp/\xe9')


# --- Digest ---------------------------------------------------------------------------------------

WHOLE = hop(password=PASSWORD, key=KEY, passphrase=PASSPHRASE)


def test_a_login_is_known_again_by_its_digest():
    digest = ws2s.login_digest(WHOLE, b'salt')
    assert digest == ws2s.login_digest(hop(password=PASSWORD, key=KEY, passphrase=PASSPHRASE), b'salt')
    assert type(digest) is bytes and len(digest) == 32
    for secret in (PASSWORD, PASSPHRASE, b'bastion'):
        assert secret not in digest


def test_each_field_and_the_salt_change_the_digest():
    others = [WHOLE._replace(**{field: value}) for field, value in [
        ('host', u'bastion.lan.'), ('port', 23), ('username', u'me2'), ('password', b'swordfisH'), ('password', None),
        ('password', b'None'), ('password', b''), ('key', KEY + u' '), ('key', None), ('key', u'/k'),
        ('passphrase', b'opensesamE'), ('passphrase', None), ('password', PASSPHRASE), ('passphrase', PASSWORD)]]
    others += [hop(username=u'ab', password=b'c'), hop(username=u'a', password=b'bc'), hop(password=b"x', 'y"),
               hop(password=b'x', passphrase=b'y'), hop(password=b'\xe9'), hop(password=b'\\xe9')]
    digests = [ws2s.login_digest(one, b'salt') for one in [WHOLE] + others] + [ws2s.login_digest(WHOLE, b'salz')]
    assert len(set(digests)) == len(digests)


# --- Lines ----------------------------------------------------------------------------------------

def read_lines(pieces):
    parser = ws2s.LineParser()
    whole = u''.join(parser.receive(piece) for piece in pieces)
    return [line[:8192].rstrip(u'\r') for line in whole.split(u'\n')[:-1]]


LINES = [
    (b'one\n', [u'one']),
    (b'one\r\ntwo\n\r\n\nthree\r\n', [u'one', u'two', u'', u'', u'three']),
    (b'\n', [u'']),
    (b'', []),
    (b'no end', []),
    (b'one\nno end', [u'one']),
    (b'one\r\n\r', [u'one']),
    (b'a\rb\n', [u'a\rb']),
    (b'\xff\x80\0\xe9\n', [u'\xff\x80\0\xe9']),
    (b'x' * 8191 + b'\n', [u'x' * 8191]),
    (b'x' * 8192 + b'\r\nnext\n', [u'x' * 8192, u'next']),
    (b'x' * 8193 + b'\nnext\n', [u'x' * 8192, u'next']),
    (b'x' * 30000 + b'y\r\nnext\r\n' + b'z' * 9000 + b'\n', [u'x' * 8192, u'next', u'z' * 8192]),
]


@pytest.mark.parametrize('data, lines', LINES, ids=['%d: %.20r' % (len(row[0]), row[0]) for row in LINES])
@pytest.mark.parametrize('behind', [b'', b'behind', b'\r'], ids=repr)
def test_lines_whichever_way_they_are_cut(data, lines, behind):
    for pieces in every_split(data, near=(8192, len(data) - 9000, len(data))):
        # What stands behind belongs to the next line, which has not ended.
        assert read_lines(pieces + [behind]) == lines, shown(pieces)
    for line in read_lines([data]):
        assert type(line) is ws2s.text_type


def test_empty_pieces_are_no_lines():
    assert read_lines([b'', b'o', b'', b'ne', b'', b'\n', b'']) == [u'one']


def test_a_line_without_end_is_cut_and_the_next_one_is_whole():
    parser = ws2s.LineParser()
    assert set(parser.receive(b'x' * 65536) for _ in range(1000)) == {u''}
    assert parser.receive(b'\nnext\n') == u'x' * 8192 + u'\nnext\n'


if not ws2s.PY2:  # tracemalloc came with 3.4
    import tracemalloc

    def test_a_line_without_end_is_not_kept():
        parser, piece = ws2s.LineParser(), b'x' * 65536
        tracemalloc.start()
        try:
            for _ in range(300):
                parser.receive(piece)
            kept, most = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert kept < 32768 and most < 8 * 65536


# --- What ssh says --------------------------------------------------------------------------------

CONNECTED, READY = ws2s.SshConnected(), ws2s.SshReady()
AUTH, HOSTKEY, HOSTKEY_NEW, TIMEOUT, UNREACHABLE, STRANGE, HUNG_UP, NONE = (ws2s.SshFault(failure) for failure in (
    ws2s.SSH_AUTH, ws2s.SSH_HOSTKEY, ws2s.SSH_HOSTKEY_NEW, ws2s.SSH_TIMEOUT,
    ws2s.SSH_UNREACHABLE, ws2s.SSH_STRANGE, ws2s.SSH_HUNG_UP, ws2s.SSH_NONE))
ONLY_KEYS, ONLY_PASSWORDS, HALF, TOO_MANY, EXPIRED, LOCKED_OUT, SIGNATURE = (ws2s.SshFault(failure) for failure in (
    ws2s.SSH_NO_PASSWORD, ws2s.SSH_NO_KEY, ws2s.SSH_HALF, ws2s.SSH_TOO_MANY, ws2s.SSH_EXPIRED, ws2s.SSH_NO_ACCOUNT,
    ws2s.SSH_SIGNATURE))
NOT_OPENED, BUSY, SILENT_END, UNREADABLE_KEY = (ws2s.SshFault(failure) for failure in (
    ws2s.KEY_NOT_OPENED, ws2s.SSH_BUSY, ws2s.SSH_SILENT, ws2s.KEY_UNREADABLE))


def no_common(kind, setting):
    return ws2s.SshFault(ws2s.SSH_STRANGE._replace(
        message='the SSH server and the ssh of the gateway have no algorithm in common: no matching %s '
                '(for an old server: %s +NAME in ssh.configFile)' % (kind, setting)))


def begun(number):
    return ws2s.ChannelBegun(number)


def opened(number):
    return ws2s.ChannelOpened(number)


def no_way(number, failure):
    return ws2s.ChannelFailed(number, failure)


TELLING = [
    (u'debug1: Connection established.', CONNECTED),
    (u'debug1: Entering interactive session.', READY),
    # 7.0 to 9.2, and what 9.3 and Debian's 9.2 say
    (u'debug1: channel 2: new [direct-tcpip]', begun(2)),
    (u'debug1: channel 11: new direct-tcpip [direct-tcpip] (inactive timeout: 0)', begun(11)),
    (u'debug2: channel 2: open confirm rwindow 2097152 rmax 32768', opened(2)),
    (u'debug2: channel 123456789: open confirm rwindow 0 rmax 0', opened(123456789)),
    (u'debug2: channel 2: rcvd eof', ws2s.ChannelEnded(2)),
    (u'debug2: channel 11: rcvd close', ws2s.ChannelEnded(11)),
    (u'channel 2: open failed: connect failed: Connection refused', no_way(2, ws2s.REFUSED)),
    (u'channel 3: open failed: connect failed: Name or service not known', no_way(3, ws2s.UNKNOWN_NAME)),
    (u'channel 3: open failed: connect failed: No route to host', no_way(3, ws2s.UNREACHABLE)),
    (u'channel 3: open failed: connect failed: Connection timed out', no_way(3, ws2s.TIMEOUT)),
    (u'channel 3: open failed: connect failed: ', no_way(3, ws2s.UNREACHABLE)),
    (u'channel 3: open failed: connect failed: open failed', no_way(3, ws2s.UNREACHABLE)),
    (u'channel 3: open failed: administratively prohibited: open failed', no_way(3, ws2s.SSH_PROHIBITED)),
    (u'root@127.0.0.1: Permission denied (publickey,keyboard-interactive).', AUTH),
    (u'Permission denied (publickey).', ONLY_KEYS),
    (u'me@10.0.0.1: Permission denied (publickey,gssapi-with-mic).', ONLY_KEYS),
    (u'me@10.0.0.1: Permission denied (password,keyboard-interactive).', ONLY_PASSWORDS),
    (u'me@10.0.0.1: Permission denied (hostbased).', AUTH), (u'me@10.0.0.1: Permission denied ().', AUTH),
    (u'Received disconnect from 10.0.0.1 port 22:14: No supported authentication methods available', AUTH),
    (u'Authenticated with partial success.', HALF), (u'Authenticated using "publickey" with partial success.', HALF),
    (u'debug2: input_userauth_passwd_changereq', EXPIRED),
    (u'WARNING: Your password has expired.', EXPIRED),
    (u'You are required to change your password immediately (administrator enforced).', EXPIRED),
    (u'Your account has expired; please contact your system administrator.', LOCKED_OUT),
    (u'User account has expired', LOCKED_OUT), (u'Account is locked.', LOCKED_OUT),
    # A10: 7.0, 7.4, 8.8; then a server that takes SHA-1 alone, to a key in the new form and in PEM
    (u'debug1: Skipping ssh-rsa key /tmp/x/k for not in PubkeyAcceptedKeyTypes', SIGNATURE),
    (u'debug1: Skipping ssh-rsa key /tmp/x/k - not in PubkeyAcceptedKeyTypes', SIGNATURE),
    (u'debug1: Skipping ssh-rsa key /tmp/x/k - corresponding algorithm not in PubkeyAcceptedAlgorithms', SIGNATURE),
    (u'debug1: send_pubkey_test: no mutual signature algorithm', SIGNATURE),
    (u'debug1: identity_sign: no mutual signature algorithm', SIGNATURE),
    (u'debug1: no mutual signature algorithm', SIGNATURE),
    (u'sign_and_send_pubkey: no mutual signature supported', SIGNATURE),
    (u'debug1: load_identity_file: Skipping key /tmp/x/k: Invalid key length', ws2s.SshFault(ws2s.SSH_SHORT_KEY)),
    (u'debug1: Skipping key /tmp/x/k: Invalid key length', ws2s.SshFault(ws2s.SSH_SHORT_KEY)),
    (u'Bad server host key: Invalid key length', ws2s.SshFault(ws2s.SSH_WEAK)),
    (u'ssh_dispatch_run_fatal: Connection to 10.0.0.1 port 22: Invalid key length', ws2s.SshFault(ws2s.SSH_WEAK)),
    # A7: what ssh says of a key and its passphrase
    (u'debug2: bad passphrase given, try again...', NOT_OPENED),
    (u'Load key "/tmp/x/k": incorrect passphrase supplied to decrypt private key', NOT_OPENED),
    (u'Load key "/tmp/x/k": invalid format', UNREADABLE_KEY),
    (u'Load key "/tmp/x/k": error in libcrypto', UNREADABLE_KEY),
    (u'Load key "/tmp/x/k": unknown or unsupported key type', UNREADABLE_KEY),
    # C4: 8.2, 9.8, before 8.0, and servers that count connections
    (u'debug1: kex_exchange_identification: banner line 0: Exceeded MaxStartups', BUSY),
    (u'debug1: kex_exchange_identification: banner line 0: Not allowed at this time', BUSY),
    (u'debug1: ssh_exchange_identification: Exceeded MaxStartups', BUSY),
    (u'Received disconnect from 10.0.0.1 port 22:12: Too many users', BUSY),
    (u'Received disconnect from 2001:db8::1: 12: x', BUSY),
    (u'Received disconnect from 10.0.0.1 port 22:11: Bye', HUNG_UP),
    (u'me@10.0.0.1: Permission denied (publickey,password).', AUTH),
    (u'Received disconnect from 10.0.0.1 port 22:2: Too many authentication failures', TOO_MANY),
    (u'Received disconnect from 10.0.0.1: 2: Too many authentication failures for me', TOO_MANY),
    (u'Host key verification failed.', HOSTKEY),
    (u'No ED25519 host key is known for [a.lan]:22 and you have requested strict checking.', HOSTKEY_NEW),
    (u'@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @', HOSTKEY),
    (u'ssh: connect to host 127.0.0.1 port 1: Connection refused', UNREACHABLE),
    (u'ssh: connect to host 10.0.0.1 port 22: No route to host', UNREACHABLE),
    (u'ssh: connect to host 2001:db8::1 port 22: Network is unreachable', UNREACHABLE),
    (u'ssh: connect to host 10.0.0.1 port 22: Permission denied', UNREACHABLE),
    (u'ssh: connect to host 10.0.0.1 port 22: Connection reset by peer', UNREACHABLE),
    (u'ssh: Could not resolve hostname x.lan: Name or service not known', UNREACHABLE),
    (u'ssh: connect to host 10.0.0.1 port 22: Connection timed out', TIMEOUT),
    (u'ssh: connect to host 10.0.0.1 port 22: Operation timed out', TIMEOUT),
    (u'Connection timed out during banner exchange', TIMEOUT),
    (u'Connection to 127.0.0.1 port 51063 timed out', TIMEOUT),
    (u'Timeout, server 10.0.0.1 not responding.', TIMEOUT),
    (u'Unable to negotiate with 127.0.0.1 port 22: no matching cipher found. Their offer: aes128-ctr,aes256-ctr',
     no_common('cipher', 'Ciphers')),
    (u'Unable to negotiate with 10.0.0.1 port 22: no matching host key type found. Their offer: ssh-rsa,ssh-dss',
     no_common('host key type', 'HostKeyAlgorithms')),
    (u'Unable to negotiate with 10.0.0.1: no matching key exchange method found. Their offer: x',
     no_common('key exchange method', 'KexAlgorithms')),
    (u'Unable to negotiate with 2001:db8::1 port 22: no matching MAC found. Their offer: x', no_common('MAC', 'MACs')),
    (u'Unable to negotiate with 10.0.0.1 port 22: no matching compression method found. Their offer: x', STRANGE),
    (u'Server host key ssh-rsa not in HostKeyAlgorithms', no_common('host key type', 'HostKeyAlgorithms')),
    (u'ssh_exchange_identification: Connection closed by remote host', SILENT_END),
    (u'ssh_exchange_identification: read: Connection reset by peer', SILENT_END),
    (u'kex_exchange_identification: Connection closed by remote host', SILENT_END),
    (u'kex_exchange_identification: read: Connection reset by peer', SILENT_END),
    (u'kex_exchange_identification: banner line contains invalid characters', NONE),
    (u'Connection closed by 127.0.0.1 port 22', HUNG_UP),
    (u'Connection closed by 10.0.0.1', HUNG_UP),
    (u'Connection reset by 10.0.0.1 port 22', HUNG_UP),
    (u'ssh_dispatch_run_fatal: Connection to 10.0.0.1 port 22: message authentication code incorrect', HUNG_UP),
    (u'ssh_dispatch_run_fatal: Connection to 10.0.0.1: Broken pipe', HUNG_UP),
    # A server of the first protocol; ssh says no other line about it.
    (u'banner exchange: Connection to 127.0.0.1 port 22: could not read protocol version', NONE),
    (u'banner exchange: Connection to 127.0.0.1 port 22: invalid format', NONE),
]
COMPLAINTS = [
    u'command-line: line 0: Bad configuration option: requiredrsasize',
    u'command-line line 0: unsupported option "accept-new".',
    u'command-line line 0: Unsupported option "x"',
    u'command-line line 0: Missing argument.',
    u"/etc/ws2s/options line 1: Bad SSH2 cipher spec '3des'.",
    u'/etc/ws2s/options: line 3: Bad configuration option: foo',
    u'/etc/ws2s/options line 3: Bad yes/no argument.',
    u'/etc/ws2s/options line 1: unsupported option "maybe".',
    u'/etc/ws2s/options line 3: missing argument.',
    u'Bad owner or permissions on /etc/ws2s/options',
    u'No user exists for uid 1234',
    # A path may hold spaces (ssh.configFile).
    u'/etc/ws2s/old servers: line 3: Bad configuration option: foo',
    u'/etc/ws2s/options line 1: no argument after keyword "compression"',
    u'/etc/ws2s/options line 1: RekeyLimit too small',
    u'/etc/ws2s/options line 1: keyword ciphers extra arguments at end of line',
    u"Can't open user config file /etc/ws2s/options: No such file or directory",
]
SILENT = [
    u'', u' ', u'welcome', u'OpenSSH_9.2p1 Debian-2+deb12u10, OpenSSL 3.0.19 27 Jan 2026',
    u'debug1: OpenSSH_7.4p1, OpenSSL 1.0.2k-fips  26 Jan 2017', u'debug1: Reading configuration data /dev/null',
    u'debug1: Connecting to 127.0.0.1 [127.0.0.1] port 22.',
    u'debug2: resolve_canonicalize: hostname 10.0.0.1 is address',
    u'debug1: connect to address 10.0.0.1 port 22: Connection refused',
    u'debug1: Local version string SSH-2.0-OpenSSH_9.2p1 Debian-2', u'debug1: SSH2_MSG_KEXINIT sent',
    u'debug1: Authentications that can continue: publickey,password',
    u'debug1: No more authentication methods to try.',
    u'debug1: Next authentication method: publickey', u'debug2: we did not send a packet, disable method',
    u'Authenticated to 127.0.0.1 ([127.0.0.1]:45022) using "publickey".',
    u"Warning: Permanently added '[127.0.0.1]:45022' (ED25519) to the list of known hosts.",
    u'Failed to add the host to the list of known hosts (/etc/ws2s/known_hosts).',
    u'Permission denied, please try again.', u'Your account will expire in 3 days.',
    u'Your password will expire in 3 days',
    u'An account is locked after 5 failures', u'debug2: no passphrase given, try next key',
    u'debug1: kex_exchange_identification: banner line 0: Not allowed at this time of the day',
    u'debug1: Local forwarding listening on path /tmp/private-1/s1.',
    u'debug1: channel 0: new unix-listener [unix listener] (inactive timeout: 0)',
    u'debug1: channel 1: new [/tmp/private-1/c]', u'debug1: channel 2: new [mux-control]',
    u'debug1: channel 3: new [client-session]',
    u'debug2: channel 2: zombie', u'debug2: channel 2: garbage collecting',
    u'debug1: channel 2: free: direct-tcpip: listening '
    u'port -2 for 10.0.0.1 port 5, connect from  port 0 to /tmp/private-1/s1 port 0, nchannels 3',
    u'debug2: channel 2: send eof', u'debug2: channel 2: send close', u'debug3: send packet: type 90',
    u'debug2: channel_input_open_confirmation: channel 0: callback done',
    u'@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@',
    u'/tmp/x: terminating, 1 bad configuration options',
    u'Pseudo-terminal will not be allocated because stdin is not a terminal.',
    # Almost the words that tell something.
    u' debug1: Connection established.', u'debug1:Connection established.', u'debug1: connection established.',
    u'debug1: xConnection established.', u'Connection established.', u'Entering interactive session.',
    u'channel 2: new [direct-tcpip]',
    u'debug1: channel 2: open confirm rwindow 1 rmax 1', u'debug1: channel -1: new [direct-tcpip]',
    u'debug1: channel x: new [direct-tcpip]', u'debug2: channel \xb2: open confirm',
    u'debug1: channel 1234567890: new [direct-tcpip]',
    u'debug2: channel 1234567890: open confirm', u'debug2: channel 2 : open confirm',
    u'open failed: connect failed: Connection refused',
]
# The server has a say in the rest of these lines, and may choose words that mean something elsewhere.
SERVERS_WORDS = [u'debug1: Entering interactive session.', u'debug1: Connection established.',
                 u'channel 2: open failed: refused',
                 u'debug2: channel 2: open confirm rwindow 0', u'me@x: Permission denied (publickey).',
                 u'Connection timed out',
                 u'Host key verification failed.', u'REMOTE HOST IDENTIFICATION HAS CHANGED',
                 u'Could not resolve hostname',
                 u'Too many authentication failures', u'No more authentication methods', u'Unable to negotiate with',
                 u'/x line 1: Bad configuration option', u'debug1: channel 2: new [direct-tcpip]']
ITS_LINES = [
    (u'debug1: Remote: %s', None),
    (u'debug1: Remote protocol version 2.0, remote software version %s', None),
    (u'debug1: kex_exchange_identification: banner line 0: %s', None),
    (u'debug1: ssh_exchange_identification: %s', None),
    (u'debug1: Authentications that can continue: %s', None),
    (u'debug2: ciphers ctos: %s', None),
    (u'debug2: input_userauth_info_req: %s', None),
    (u'debug1: Server host key: ssh-rsa %s', None),
    (u'Unable to negotiate with 10.0.0.1 port 22: no matching cipher found. Their offer: %s',
     no_common('cipher', 'Ciphers')),
]


@pytest.mark.parametrize('line, event', TELLING + [(line, ws2s.SshComplaint(line)) for line in COMPLAINTS],
                         ids=lambda value: '%.70s' % (value,) if not isinstance(value, tuple) else None)
def test_line_that_tells_something(line, event):
    found = ws2s.read_ssh_line(line)
    assert (type(found), found) == (type(event), event)
    among_others = list(ws2s.read_ssh_lines(u'\ndebug1: x\nwelcome\n%s\r\nwelcome\n\n' % line))
    assert among_others == [event] and type(among_others[0]) is type(event)


@pytest.mark.parametrize('line', SILENT, ids=lambda line: '%.70r' % line)
def test_line_that_tells_nothing(line):
    assert ws2s.read_ssh_line(line) is None
    assert list(ws2s.read_ssh_lines(u'\n%s\n%s\n' % (line, line))) == []


@pytest.mark.parametrize('words', SERVERS_WORDS)
@pytest.mark.parametrize('line, event', ITS_LINES, ids=lambda value: '%.40s' % (value,))
def test_the_servers_words_within_a_line_tell_nothing(line, event, words):
    assert ws2s.read_ssh_line(line % words) == event
    assert list(ws2s.read_ssh_lines(line % words + u'\n')) == ([event] if event else [])


@pytest.mark.parametrize('words', SERVERS_WORDS)
def test_the_servers_words_about_a_target_stay_with_that_channel(words):
    found = ws2s.read_ssh_line(u'channel 7: open failed: connect failed: ' + words)
    assert type(found) is ws2s.ChannelFailed and found.number == 7


SESSION = (b'OpenSSH_9.2p1 Debian-2, OpenSSL 3.0\r\ndebug1: Connecting to 10.0.0.1 port 22.\r\n'
           b'debug1: Connection established.\r\nwelcome\r\n\r\n'
           b'debug1: Entering interactive session.\r\ndebug1: channel 2: new [direct-tcpip]\r\n'
           b'channel 2: open failed: connect failed: Connection refused\r\ndebug2: channel 2: zombie\r\n'
           b'debug1: channel 3: new direct-tcpip [direct-tcpip]\ndebug2: channel 3: open confirm rwindow 1 rmax 2\r\n'
           b'debug2: channel 3: rcvd eof\r\n'
           b'Timeout, server 10.0.0.1 not responding.\r\n')
SESSION_EVENTS = [CONNECTED, READY, begun(2), no_way(2, ws2s.REFUSED), begun(3), opened(3), ws2s.ChannelEnded(3),
                  TIMEOUT]


@pytest.mark.parametrize('behind', [b'', b'debug1: Entering interactive sess', b'debug1: Connection established.'],
                         ids=repr)
def test_a_session_whichever_way_it_is_cut(behind):
    places = [place for place, byte in enumerate(bytearray(SESSION)) if byte in bytearray(b'\r\n:')]
    for pieces in every_split(SESSION, near=places):
        parser = ws2s.LineParser()
        found = [event for piece in pieces + [behind] for event in ws2s.read_ssh_lines(parser.receive(piece))]
        assert found == SESSION_EVENTS, shown(pieces)


@pytest.mark.parametrize('piece', [
    u'x', u' ', u':', u'/', u'\r', u'\0', u'Connection ', u'Connection to ', u'Connection to  timed ou',
    u'Permission denied ', u'timed out',
    u'Operation timed ou', u'Too many authentication failure', u'No more authentication method',
    u'Could not resolve hostnam',
    u'HOST IDENTIFICATION HAS CHANGE', u' line 1', u': line 1: ', u'line 1: ba', u'direct-tcpi', u'[direct-tcpi',
    u'9', u'debug1: ',
    u'channel 1: open failed: ', u'not known refuse'], ids=repr)
def test_hostile_lines_are_read_in_linear_time(piece):
    began = ws2s.monotonic()
    for head in (u'', u'debug1: channel 1: new ', u'channel 1: open failed: ', u'Connection to ', u'/', u'/:',
                 u'/ line 1',
                 u'command-line', u'Connection ', u'debug1: channel '):
        for _ in range(5):
            ws2s.read_ssh_line((head + piece * 8192)[:8192])
            list(ws2s.read_ssh_lines((head + piece * 8192)[:8192] + u'\n'))
    assert ws2s.monotonic() - began < 4  # what is quadratic takes a minute


# --- Targets behind the server --------------------------------------------------------------------

@pytest.mark.parametrize('words, failure', [
    (u'connect failed: Connection refused', ws2s.REFUSED),
    (u'connect failed: dial tcp 127.0.0.1:1: connect: connection refused', ws2s.REFUSED),
    (u'connect failed: Connection timed out', ws2s.TIMEOUT), (u'connect failed: Operation timed out', ws2s.TIMEOUT),
    (u'connect failed: dial tcp 10.0.0.1:1: i/o timeout', ws2s.TIMEOUT),
    (u'connect failed: Name or service not known', ws2s.UNKNOWN_NAME),
    (u'connect failed: nodename nor servname provided, or not known', ws2s.UNKNOWN_NAME),
    (u'connect failed: Temporary failure in name resolution', ws2s.UNKNOWN_NAME),
    (u'connect failed: Non-recoverable failure in name resolution', ws2s.UNKNOWN_NAME),
    (u'connect failed: No address associated with hostname', ws2s.UNKNOWN_NAME),
    (u'connect failed: Name does not resolve', ws2s.UNKNOWN_NAME),
    (u'connect failed: No such host is known.', ws2s.UNKNOWN_NAME),
    # As OpenBSD and servers in Go say it.
    (u'connect failed: no address associated with name', ws2s.UNKNOWN_NAME),
    (u'connect failed: dial tcp: lookup x.lan on 10.0.0.1:53: no such host', ws2s.UNKNOWN_NAME),
    (u'connect failed: No route to host', ws2s.UNREACHABLE), (u'connect failed: Network is unreachable',
                                                              ws2s.UNREACHABLE),
    (u'connect failed: open failed', ws2s.UNREACHABLE), (u'connect failed: ', ws2s.UNREACHABLE),
    (u'', ws2s.UNREACHABLE),
    (u'unknown reason', ws2s.UNREACHABLE), (u'administratively prohibited: open failed', ws2s.SSH_PROHIBITED),
    (u'administratively prohibited: Connection refused', ws2s.SSH_PROHIBITED),
    (u'administratively prohibited', ws2s.SSH_PROHIBITED),
    (u'resource shortage', ws2s.SSH_FAILED), (u'resource shortage: ', ws2s.SSH_FAILED),
    (u'unknown channel type: x', ws2s.SSH_FAILED),
], ids=lambda value: value if isinstance(value, ws2s.text_type) else None)
def test_failure_of_a_target_behind_the_server(words, failure):
    assert ws2s.target_failure(words) == failure


# --- Keys that take long --------------------------------------------------------------------------

def der(tag, *parts):
    content = b''.join(parts)
    size = len(content)
    head = [size] if size < 128 else [0x82, size >> 8, size & 255]
    return bytes(bytearray([tag] + head)) + content


def integer(number):
    digits = '%x' % number
    return der(2, binascii.unhexlify('00' + '0' * (len(digits) % 2) + digits))


def sequence(*parts):
    return der(0x30, *parts)


SALT, NAME, CIPHER = der(4, b's' * 8), der(6, b'\x2a\x86\x48'), sequence(der(6, b'\x60'), der(4, b'i' * 16))


def encrypted(parameters):
    """PKCS#8 by PBES2, as openssl makes it."""
    scheme = sequence(NAME, sequence(sequence(NAME, parameters), CIPHER))
    return sequence(scheme, der(4, b'\xee' * 1200))


def in_pem(data, label=u'ENCRYPTED PRIVATE KEY', head=u''):
    text = binascii.b2a_base64(data).decode('ascii')
    return u'-----BEGIN %s-----\n%s%s-----END %s-----\n' % (label, head, text, label)


def pbkdf2(iterations, *more):
    return encrypted(sequence(SALT, integer(iterations), *more))


def scrypt(n, r, p):
    return encrypted(sequence(SALT, integer(n), integer(r), integer(p)))


def string(data):
    return struct.pack('!I', len(data)) + data


def bcrypt(rounds, name=b'bcrypt'):
    cipher, options = b'aes256-ctr', string(b's' * 16) + struct.pack('!I', rounds)
    if name == b'none':
        cipher, options = b'none', b''
    return (b'openssh-key-v1\0' + string(cipher) + string(name) + string(options) + struct.pack('!I', 1)
            + string(string(b'ssh-ed25519') + string(b'p' * 32)) + string(b'k' * 160))


SHA256 = sequence(NAME, der(5))
PLAIN = sequence(integer(0), sequence(NAME, der(5)), der(4, b'\x30' * 300))
CHEAP = {
    'openssl': pbkdf2(2048, SHA256), 'the most': pbkdf2(1000000, SHA256), 'key length': pbkdf2(600000, integer(32)),
    'scrypt': scrypt(16384, 8, 1), 'one scheme': sequence(sequence(NAME, sequence(SALT, integer(2048))), der(4, b'e')),
    'not encrypted': PLAIN, 'no passphrase': bcrypt(0, b'none'), 'ssh-keygen': bcrypt(16), '-a 256': bcrypt(256),
}
COSTLY = {
    'pbkdf2': pbkdf2(8388607, SHA256), 'a little more': pbkdf2(1000001), 'key length': pbkdf2(1 << 40, integer(32)),
    'leading zeros': encrypted(sequence(SALT, der(2, b'\0' * 90 + b'\x7f\xff\xff'))),
    'one scheme': sequence(sequence(NAME, sequence(SALT, integer(1 << 31))), der(4, b'e')),
    'scrypt n': scrypt(1 << 30, 8, 1), 'scrypt p': scrypt(16384, 8, 1 << 16), 'scrypt r': scrypt(1024, 1 << 19, 1),
    'bcrypt': bcrypt(257), 'bcrypt for days': bcrypt(0xffffffff),
}
# What somebody who reads DER less strictly, as OpenSSL does, might understand.
UNREADABLE = {
    'indefinite lengths': b'\x30\x80\x30\x80' + NAME + sequence(SALT, integer(8388607)) + b'\0\0' + SALT + b'\0\0',
    'long tag': b'\x3f\x10' + pbkdf2(8388607)[1:], 'constructed salt': encrypted(sequence(der(0x24, SALT), integer(1))),
    'a set': encrypted(der(0x31, SALT, integer(1))), 'cut': pbkdf2(8388607)[:40],
    'only a head': b'\x30', 'huge length': b'\x30\x84\xff\xff\xff\xff\x30\x84\xff\xff\xff\xff',
    'cut bcrypt': bcrypt(16)[:30], 'no key': b'not a key', 'nothing': b'',
}
TOO_LONG = 'ssh_private_key takes too long to decrypt: its passphrase is hashed too many times'


def refusal(key, passphrase=u'x'):
    try:
        ws2s.read_hop({u'ssh_host': u'h', u'ssh_username': u'me', u'ssh_private_key': key,
                       u'ssh_private_key_password': passphrase})
        return None
    except ws2s.RequestError as error:
        return error.failure


LABELS = (u'ENCRYPTED PRIVATE KEY', u'PRIVATE KEY', u'RSA PRIVATE KEY', u'OPENSSH PRIVATE KEY')


def labels_for(data):
    """Those under which somebody would look for a key in ``data``."""
    return LABELS if data.startswith(b'openssh') else LABELS[:-1]


@pytest.mark.parametrize('name', sorted(CHEAP))
def test_a_key_that_takes_little_time_is_taken(name):
    for label in labels_for(CHEAP[name]):
        assert refusal(in_pem(CHEAP[name], label)) is None


@pytest.mark.parametrize('name', sorted(COSTLY))
def test_a_key_that_takes_very_long_is_refused(name):
    """Whatever is written above it: readers look at the content."""
    for label in labels_for(COSTLY[name]):
        failure = refusal(in_pem(COSTLY[name], label))
        assert (failure.code, failure.reason, failure.message) == (1, 'bad-request', TOO_LONG)


@pytest.mark.parametrize('name', sorted(COSTLY))
def test_of_two_keys_the_first_one_alone_reaches_ssh(name):
    text = in_pem(PLAIN, u'PRIVATE KEY')
    assert ws2s.read_private_key(text + in_pem(COSTLY[name])).text == ws2s.read_private_key(text).text
    assert refusal(in_pem(COSTLY[name], u'X')).message == 'ssh_private_key is not a key that can be read'


@pytest.mark.parametrize('name', sorted(UNREADABLE))
def test_an_encrypted_key_in_an_odd_spelling_is_refused(name):
    assert refusal(in_pem(UNREADABLE[name])).message.startswith('ssh_private_key is not a key that can be read: ')


@pytest.mark.parametrize('label, is_taken', [(u'RSA PRIVATE KEY', True), (u'EC PRIVATE KEY', True),
                                             (u'ENCRYPTED PRIVATE KEY', False), (u'X', False)])
def test_what_is_encrypted_twice_is_refused(label, is_taken):
    head = u'Proc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00112233445566778899AABBCCDDEEFF\n\n'
    data = pbkdf2(8388607)
    assert (refusal(in_pem(data + b'\x01' * (-len(data) % 16), label, head)) is None) == is_taken


def test_no_key_however_damaged_is_more_than_refused(dice):
    for data in [data for data in list(CHEAP.values()) + list(COSTLY.values()) if data]:
        for place in range(min(len(data), 150)):
            refusal(in_pem(data[:place]))
        for _ in range(100):
            damaged = bytearray(data)
            for _ in range(dice.randrange(1, 4)):
                damaged[dice.randrange(min(len(damaged), 90))] = dice.randrange(256)
            refusal(in_pem(bytes(damaged)))
    for _ in range(2000):
        refusal(in_pem(bytes(bytearray(dice.choice([0x30, 0x80, 2, 4, 6, 0, dice.randrange(256)])
                                       for _ in range(dice.randrange(40))))))
        refusal(u'-----BEGIN ' + u''.join(dice.choice(u'-BEGIN D:=\nAM/') for _ in range(dice.randrange(60))))


# --- Host keys ------------------------------------------------------------------------------------

ORIGIN = b'ws2s:192.0.2.7'
NEW = b'[a.lan]:2222 ssh-ed25519 AAAAC3Nz\n'


@pytest.mark.parametrize('address, origin', [
    (u'192.0.2.7', b'ws2s:192.0.2.7'), (u'::ffff:192.0.2.7', b'ws2s:192.0.2.7'),
    (u'2001:db8:1:2:3::4', b'ws2s:2001:db8:1:2::/64'),
    (u'2001:db8:1:2::5', b'ws2s:2001:db8:1:2::/64'), (u'fe80::1%eth0', b'ws2s:fe80::/64')])
def test_the_origin_of_a_key_is_what_counts_as_one_address(address, origin):
    assert ws2s.key_origin(address) == origin


@pytest.mark.parametrize('known, learnt', [
    (b'', NEW[:-1] + b' ws2s:192.0.2.7\n'), (b'# mine\n', NEW[:-1] + b' ws2s:192.0.2.7\n'),
    (b'b.lan ssh-rsa AAAA', b'\n' + NEW[:-1] + b' ws2s:192.0.2.7\n'),  # an editor that leaves no line end
    (b'[a.lan]:2222 ssh-rsa AAAA\n\n  \n', NEW[:-1] + b' ws2s:192.0.2.7\n'),
    (NEW, b''), (NEW[:-1] + b' ws2s:192.0.2.8\nx', b''), (NEW.replace(b'C3', b'C4'), ws2s.SSH_HOSTKEY)],
    ids=lambda value: '%.40r' % (value,))
def test_a_new_key_is_learnt_once_and_never_beside_another(known, learnt):
    assert ws2s.line_to_learn(known, NEW, ORIGIN) == learnt


@pytest.mark.parametrize('new', [NEW + NEW, b'\n', b'# x\n', NEW[:-1], b'a b\n', b'a ssh-rsa %s\n' % (b'A' * 16384)],
                         ids=lambda new: '%.20r' % new)
def test_what_is_no_line_of_ssh_is_not_learnt(new):
    assert ws2s.line_to_learn(b'', new, ORIGIN) is ws2s.SSH_HOSTKEY_NEW


def learn_all(known, names, origin, size):
    """``known`` with the keys of as many servers as it takes."""
    for name in names:
        line = ws2s.line_to_learn(known, b'h%d ssh-rsa %s\n' % (name, b'A' * size), origin)
        if line is ws2s.SSH_HOSTKEY_NEW:
            return known
        known += line
    raise AssertionError('it takes whatever comes')


def test_the_names_of_one_address_take_a_tenth_and_all_of_them_no_more_than_the_whole():
    known = learn_all(b'', range(1000), ORIGIN, size=2800)
    assert ws2s.ORIGIN_BYTES - 3000 < len(known) <= ws2s.ORIGIN_BYTES <= ws2s.KNOWN_HOSTS_BYTES // 10
    assert not ws2s.has_room_for_key(known, ORIGIN) and ws2s.has_room_for_key(known, b'ws2s:192.0.2.70')
    assert ws2s.line_to_learn(known, NEW, b'ws2s:192.0.2.70') == NEW[:-1] + b' ws2s:192.0.2.70\n'
    full = known * 10 + b'#' * (ws2s.KNOWN_HOSTS_BYTES - 10 * len(known) - 1) + b'\n'
    assert ws2s.line_to_learn(full, NEW, b'ws2s:192.0.2.70') is ws2s.SSH_HOSTKEY_NEW
    assert ws2s.line_to_learn(full, b'h0 ssh-rsa %s\n' % (b'A' * 2800), ORIGIN) == b''  # what is known stays so
