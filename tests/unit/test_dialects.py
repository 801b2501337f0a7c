# -*- coding: utf-8 -*-
"""Room 8: the JSON dialect, played: events in, actions out (protocol 1 to 3, security S09 and S13)."""
import base64
import collections
import io
import itertools
import json
import os
import random

import pytest

import ws2s
from ws2s import (BINARY, DEFAULTS, TEXT, Carry, Failure, Grant, JsonDialect, Open, Request, RequestError, Send, Shut,
                  Write, read_base64, read_request, sendb_data)

DATA = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), 'data')


# --- play -----------------------------------------------------------------------------------------

def acted(dialect, event):
    """What the dialect does with an event until it is no longer behind. A long text comes as from a WebSocket."""
    name, arguments = event[0], event[1:]
    is_long = name == 'on_text' and len(arguments[0]) > ws2s.LONG_TEXT
    if is_long:
        name, arguments = 'on_long_text', (bytearray(arguments[0].encode('utf-8')),)
    actions = getattr(dialect, name)(*arguments)
    while dialect.is_behind:
        actions = actions + dialect.on_turn()
    return joined(actions) if is_long else actions


def joined(actions):
    """Writes that follow each other as one: how a long one is cut does not matter."""
    found = []
    for (kind, channel), group in itertools.groupby(actions, lambda action: (type(action), action[0])):
        group = list(group)
        found += [Write(channel, b''.join(action.data for action in group))] if kind is Write else group
    return found


def play(steps, dialect=None):
    """Give each event to the dialect and compare what it does, types too; the dialect, for more."""
    dialect = dialect or new_dialect()
    for number, (event, expected) in enumerate(steps):
        actions = acted(dialect, event)
        where = 'step %d, %.200r' % (number, event)
        assert len(actions) == len(expected), (where, actions)
        for action, wanted in zip(actions, expected):
            assert is_as_wanted(action, wanted), (where, action, wanted)
    return dialect


# Stands for any failure of this code and reason: its message is for people.
Fails = collections.namedtuple('Fails', 'code reason')

BAD, NOTHING = Fails(1, 'bad-request'), Fails(3, 'not-connected')


def is_as_wanted(action, wanted):
    if isinstance(wanted, Fails):
        return failure_in(action) == wanted
    return action == wanted and kinds(action) == kinds(wanted)


def kinds(action):
    """Tuples of different classes are equal, and so are True and 1."""
    return [type(action)] + [type(field) for field in action]


def failure_in(action):
    """The Fails of a failure reply, which must have its keys in order and nothing else."""
    assert kinds(action) == [Send, int, bytes] and action.opcode == TEXT
    reply = json.loads(action.payload.decode('ascii'), object_pairs_hook=collections.OrderedDict)
    assert list(reply) == ['success', 'code', 'message', 'reason']
    assert reply['success'] is False and reply['message'] and '\n' not in reply['message']
    assert json.dumps(reply).encode('ascii') == action.payload
    return Fails(reply['code'], reply['reason'])


def says(message, **more):
    reply = collections.OrderedDict([('success', True), ('code', 0), ('message', message)])
    tls = more.get('tls')
    if tls:
        reply['tls'] = collections.OrderedDict((name, tls[name]) for name in ('version', 'alpn'))
    return Send(TEXT, json.dumps(reply).encode('ascii'))


def done(command):
    return Send(TEXT, b'{"success": true, "code": 0, "message": "' + command + b' done"}')


CONNECT_DONE, SEND_DONE, SENDB_DONE = done(b'connect'), done(b'send'), done(b'sendb')
CLOSE_DONE, PING_DONE = done(b'close'), done(b'ping')


def new_dialect():
    return JsonDialect(Request('GET', '/', 'HTTP/1.1', [('host', '127.0.0.1:3613')]), DEFAULTS)


def text(raw):
    return 'on_text', raw


def ask(command, **fields):
    return text(u'' + json.dumps(dict(fields, command=command)))


def connect(host=u'a.lan', port=80, **fields):
    return ask('connect', host=host, port=port, **fields)


def binary(piece, final=True):
    return 'on_binary', piece, final


def opened(channel):
    return 'on_opened', channel


def failed(channel, failure=ws2s.REFUSED):
    return 'on_failed', channel, failure


def data(channel, payload):
    return 'on_data', channel, payload


def closed(channel, failure=ws2s.CLOSED):
    return 'on_closed', channel, failure


CONNECT, SEND, CLOSE, PING = connect(), ask('send', data='x'), ask('close'), ask('ping')
REFUSED, CLOSED = Fails(2, 'refused'), Fails(5, 'closed')
SENT = [Write(1, b'x'), SEND_DONE]


def opens(channel, binary=False, window=None, **_):
    return Open(channel, u'a.lan', 80, None, b'' if binary else None, window)


def opened_and_said(channel, *said):
    """The step in which a connect succeeds, with what had waited carried out."""
    return opened(channel), [CONNECT_DONE] + list(said) + [Carry(channel)]


def connecting(**fields):
    return play([(connect(**fields), [opens(1, **fields)])])


def connected(**fields):
    return play([opened_and_said(1)], connecting(**fields))


def is_refused_and_the_dialect_goes_on(event, refusal=BAD, dialect=None):
    return play([(event, [refusal]), (PING, [PING_DONE])], dialect)


# --- Vectors that the browser side can read too ---------------------------------------------------

def vectors(name):
    with io.open(os.path.join(DATA, name), encoding='utf-8') as source:
        return json.load(source)


def decoded(encoded):
    return base64.b64decode(encoded)


EVENT_OF = {
    'text': text,
    'binary': lambda piece, final: binary(decoded(piece), final),
    'opened': opened,
    'failed': lambda channel, *failure: failed(channel, Failure(*failure)),
    'data': lambda channel, payload: data(channel, decoded(payload)),
    'closed': lambda channel, *failure: closed(channel, Failure(*failure)),
}
ACTION_OF = {
    'text': lambda reply: Send(TEXT, reply.encode('utf-8')),
    'binary': lambda payload: Send(BINARY, decoded(payload)),
    'open': Open,
    'write': lambda channel, payload: Write(channel, decoded(payload)),
    'shut': Shut,
}


def from_vector(table, words):
    return table[words[0]](*words[1:])


CONVERSATIONS = vectors('conversations.json')['conversations']


class Performed(object):
    """A dialect, and what a gateway does by itself: what the client and the targets get."""

    def __init__(self):
        self._dialect, self._prefixes, self._carried = new_dialect(), {}, None

    def __getattr__(self, name):
        return lambda *event: self._seen(getattr(self._dialect, name)(*event))

    @property
    def is_behind(self):
        return self._dialect.is_behind

    def on_data(self, channel, data):
        prefix = self._prefixes[channel]
        return self._seen(self._dialect.on_data(channel, data)) if prefix is None else [Send(BINARY, prefix + data)]

    def on_binary(self, piece, final):
        if self._carried is None:
            return self._seen(self._dialect.on_binary(piece, final))
        return [Write(self._carried, piece)] if piece else []

    def on_closed(self, channel, failure):
        self._carried = None
        return self._seen(self._dialect.on_closed(channel, failure))

    def _seen(self, actions):
        for action in actions:
            if isinstance(action, Open):
                self._prefixes[action.channel] = action.prefix
            elif isinstance(action, (Carry, Shut)):
                self._carried = action.channel if isinstance(action, Carry) else None
        return [Open(*action[:4]) if isinstance(action, Open) else action for action in actions
                if not isinstance(action, Carry)]


@pytest.mark.parametrize('conversation', CONVERSATIONS, ids=[each['name'] for each in CONVERSATIONS])
def test_conversation_byte_for_byte(conversation):
    play([(from_vector(EVENT_OF, event), [from_vector(ACTION_OF, action) for action in actions])
          for event, actions in conversation['steps']], Performed())


@pytest.mark.parametrize('raw', vectors('bad_requests.json')['requests'], ids=repr)
def test_malformed_request_gets_one_bad_request_and_the_connection_stays(raw):
    play([(text(raw), [BAD]), (SEND, SENT)], connected())


# --- Which dialect --------------------------------------------------------------------------------

@pytest.mark.parametrize('target', ['/', '//', '/x', '/wisp', '/a.lan:port', '/?host=a', '/?addresses=a'])
def test_json_is_spoken_on_every_path_that_means_nothing_else(target):
    request = Request('GET', target, 'HTTP/1.1', [('host', 'x')])
    assert next(dialect for serves, dialect in ws2s.DIALECTS if serves(request, ws2s.DEFAULTS)) is JsonDialect


def test_the_json_dialect_does_not_speak_first():
    play([(('on_start',), [])])


def test_our_own_mistake_is_told_as_internal():
    play([(('on_mistake',), [Fails(1, 'internal')])])


def test_a_dialect_that_says_nothing_does_nothing():
    dialect = ws2s.Dialect(None, DEFAULTS)
    play([(('on_start',), []), (text(u'x'), []), (binary(b'x'), []), (opened(1), []), (failed(1), []),
          (data(1, b'x'), []), (closed(1), []), (('on_mistake',), [])], dialect)
    play([(('on_leave',), []), (('on_drained', 1), []), (('on_later',), [])], dialect)
    assert (dialect.backlog, dialect.name, dialect.subprotocol) == (0, 'custom', None)
    assert (dialect.whole_messages, dialect.credits) == (False, False)


def test_the_json_dialect_asks_for_nothing_special():
    dialect = new_dialect()
    play([(('on_drained', 1), []), (('on_later',), []), (('on_leave',), [])], dialect)
    assert (dialect.backlog, dialect.name, dialect.subprotocol) == (0, 'json', None)
    assert (dialect.whole_messages, dialect.credits) == (False, False)


# --- connect: what it takes -----------------------------------------------------------------------

LONGEST = u'.'.join([u'h' * 63] * 3 + [u'h' * 61])


@pytest.mark.parametrize('host', [
    u'redis.lan', u'REDIS.lan.', u'x', u'10.0.0.1', u'127.1', u'2130706433', u'0x7f.1', u'017700000001', u'0', u'::1',
    u'fe80::1', u'fe80::1%eth0', u'fe80::1%1', u'a_b-c.example', u'_ldap._tcp.example', u'r3---sn-x.example', u'a.-b.c',
    u'h' * 63, u'h' * 63 + u'.', LONGEST, u'xn--fa-hia.de',
], ids=lambda host: '%.20r' % host)
def test_host(host):
    play([(connect(host), [Open(1, host, 80)])])


@pytest.mark.parametrize('given, host', [
    (u'b\xfccher.example', u'xn--bcher-kva.example'), (u'B\xdcCHER.Example.', u'xn--bcher-kva.Example.'),
    (u'a\u3002b\uff0ec\uff61d\u2024e', u'a.b.c.d.e'), (u'\uff41.lan', u'a.lan'), (u'a\xadb\xe9', u'xn--ab-cja'),
    (u'\u2460\u2461\u2466.0.0.1', u'127.0.0.1'), (u'127\u30020.0.1', u'127.0.0.1'), (u'0:0:0:0:0:0:0:1', u'::1'),
    (u'2001:DB8::0A', u'2001:db8::a'), (u'[2001:DB8::0A]', u'2001:db8::a'), (u'[fe80::1%eth0]', u'fe80::1%eth0'),
    (u'::ffff:a00:1', u'::ffff:10.0.0.1'),
    (u'\U0001f4a9.la', u'xn--ls8h.la'), (u'h' * 50 + u'\xe9', None), (u'\xe9' * 30, u'xn--9ca' + u'a' * 29),
    (u'h' * 63 + u'.\xe9', u'h' * 63 + u'.xn--9ca'),
], ids=lambda value: '%.20r' % (value,))
def test_a_host_is_opened_in_its_canonical_form(given, host):
    """None: whatever the codec makes of it, and as long as a label may be."""
    action, = new_dialect().on_text(connect(given)[1])
    assert action == Open(1, host or given.encode('idna').decode('ascii'), 80)


@pytest.mark.parametrize('host', [u'::1', u'2001:db8::1', u'::ffff:10.0.0.1'])
def test_brackets_of_an_ipv6_address_are_taken_off(host):
    play([(connect(u'[%s]' % host), [Open(1, host, 80)])])


@pytest.mark.parametrize('host', [
    u'', u' ', u' a', u'a ', u'a b', u'a\tb', u'a\r\nb', u'a\n', u'127.0.0.1\0', u'127.0.0.1\0x', u'\0',
    u'a\x1f', u'a\x1b', u'a\x7f', u'a\x85', u'a\x9f', u'a\xa0b', u'a\u3000b', u'a\u2028b', u'\ud800',
    u'h' * 254, u'h' * 100000, u'[', u']', u'[]', u'[::1', u'::1]', u'[[::1]]', u'[::1]:80', u'a[b]',
    u'[a.lan]', u'[10.0.0.1%lo]', u'[fe80::1]%lo', u'[%lo]', u'[fe80::1%]', None, True, 5, 1.5, [], [u'a'], {},
    u'/var/run/docker.sock', u'-x', u'a;id', u'$(id)', u'a@b', u'%h', u'a,b', u'a\\b', u'a\\.b', u'a\\000', u'"a"',
    u"'a'",
    u'.', u'..', u'.a', u'a..b', u'a..', u'*', u'a:80', u'1:2:3', u'a%b', u'10.0.0.1%lo', u'fe80::1%', u'fe80::1%a/b',
    u'fe80::1%%lo', u'fe80::1%\xe9', u'\xdf.de', u'\u1e9e.de', u'\u03c2.gr', u'a\u200cb', u'a\u200db', u'a\u2025b',
    u'h' * 64, u'h' * 64 + u'.lan', u'\xe9' * 60, u'\xe9' * 253, u'h' * 64 + u'.\xe9', u'\xe9\uff0c', u'xn--\xe9',
    u'\ufdfa', u'\ufb03' * 59,
], ids=lambda host: '%.20r' % (host,))
def test_bad_host_is_refused_before_any_look_up(host):
    is_refused_and_the_dialect_goes_on(connect(host))


@pytest.mark.parametrize('port', [1, 80, 65535, '1', '80', '65535', '080', '00080'], ids=repr)
def test_port(port):
    play([(connect(port=port), [Open(1, u'a.lan', int(port))])])


@pytest.mark.parametrize('port', [
    True, False, 80.0, 80.5, 0, -1, 65536, 70000, 10 ** 19, 2 ** 70, None, [], [80], {}, '', '0', '65536',
    '99999999999', '000080',
    u'\uff0b80', u'8\uff10', u'80\u200b', u'\ufeff80', u'80\xa0', ' ', 'null',
    ' 80', '80 ', '80\n', '\n80', '+80', '-80', '80.0', '8e1', '0x50', '8_0', 'http',
    u'\uff18\uff10', u'\u0668\u0660', u'8\xb2', '80\0',
], ids=repr)
def test_bad_port_is_refused(port):
    is_refused_and_the_dialect_goes_on(connect(port=port))


@pytest.mark.parametrize('raw', ['1e999', '-1e999', 'NaN', 'Infinity', '8e1', '80.', '080', '0x50', '+80'])
def test_port_that_is_no_json_integer_is_refused(raw):
    is_refused_and_the_dialect_goes_on(text(u'{"command": "connect", "host": "a.lan", "port": %s}' % raw))


@pytest.mark.parametrize('fields', [{}, {'host': 'a.lan'}, {'port': 80}, {'Host': 'a.lan', 'port': 80}],
                         ids=repr)
def test_connect_without_host_or_port_is_refused(fields):
    is_refused_and_the_dialect_goes_on(ask('connect', **fields))


@pytest.mark.parametrize('value', [0, 1, 1.5, 'true', '', [], {}, [True]], ids=repr)
def test_binary_that_is_no_boolean_is_refused(value):
    is_refused_and_the_dialect_goes_on(connect(binary=value))


@pytest.mark.parametrize('value', [0, 1, -1, 16383, -16384, True, False, 16384.0, 1e300, '16384', '', [], {}],
                         ids=repr)
def test_window_below_16384_or_no_integer_is_refused(value):
    is_refused_and_the_dialect_goes_on(connect(window=value))


PEM = u'-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n'
LONG_KEY = u'-----BEGIN PRIVATE KEY-----\n%s\n-----END PRIVATE KEY-----\n' % (u'A' * 3400)


# M4: only null and false ask for nothing (protocol, 1a).
@pytest.mark.parametrize('value', [
    1, 0, 0.0, -1, 'yes', 'true', 'false', '', 'null', [], [False], {'x': False}, {'verify': False}, {'Verify': True},
    {'verify': 1}, {'verify': 'true'}, {'verify': None}, {'servername': ''}, {'servername': 5}, {'servername': 'a b'},
    {'servername': u'a\0b'}, {'ca': ''}, {'ca': 'x'}, {'ca': [PEM]}, {'ca': PEM + u'\xe9'}, {'ca': PEM * 1000},
    {'key': PEM}, {'cert': True}, {'alpn': 'h2'}, {'alpn': ['']}, {'alpn': [5]}, {'alpn': [u'\xe9']},
    {'cert': PEM, 'key': LONG_KEY}, {'cert': PEM + LONG_KEY},
    {'alpn': ['x' * 256]}, {'alpn': ['a'] * 17}, {'alpn': {'h2': 1}}, {'servername': 'a.lan', 'insecure': True}],
    ids=repr)
def test_tls_that_is_not_understood_is_refused_and_nothing_goes_in_the_clear(value):
    is_refused_and_the_dialect_goes_on(connect(tls=value))
    play([(ask('starttls', **value), [BAD]), (SEND, SENT)] if isinstance(value, dict) else [],
         connected())


@pytest.mark.parametrize('value, tls', [
    (True, ws2s.PLAIN_TLS), ({}, ws2s.PLAIN_TLS), ({'verify': True, 'ca': None, 'alpn': None}, ws2s.PLAIN_TLS),
    ({'servername': u'B.lan'}, ws2s.PLAIN_TLS._replace(servername='B.lan')),
    ({'servername': u'[::1]'}, ws2s.PLAIN_TLS._replace(servername='::1')),
    ({'ca': PEM, 'cert': PEM, 'key': PEM}, ws2s.PLAIN_TLS._replace(ca=PEM, cert=PEM, key=PEM)),
    ({'cert': PEM}, ws2s.PLAIN_TLS._replace(cert=PEM, key=PEM)),
    ({'cert': PEM * 100}, ws2s.PLAIN_TLS._replace(cert=PEM * 100, key=PEM * 100)),
    ({'alpn': ['h2', 'http/1.1']}, ws2s.PLAIN_TLS._replace(alpn=('h2', 'http/1.1')))], ids=repr)
def test_tls_that_is_understood_goes_along_with_the_connect(value, tls):
    play([(connect(tls=value), [Open(1, u'a.lan', 80, tls=tls)])])
    play([(connect(tls=value, **SSH), [Open(1, u'a.lan', 80, hop_of(), tls=tls)])])
    if value is not True:
        play([(ask('starttls', **value), [Carry(None), ws2s.Secure(1, tls)])], connected())


def test_verification_is_skipped_only_where_the_operator_allows_that():
    lax = ws2s.parse_config(u'{"tls": {"allowUnverified": true}}')
    dialect = JsonDialect(Request('GET', '/', 'HTTP/1.1', [('host', 'gw')]), lax)
    tls = ws2s.PLAIN_TLS._replace(verify=False)
    play([(connect(tls={'verify': False}), [Open(1, u'a.lan', 80, tls=tls)])], dialect)


def secured(channel, *terms):
    return ('on_secured', channel) + terms


def test_what_is_agreed_on_stands_in_the_reply():
    play([(connect(tls=True), [Open(1, u'a.lan', 80, tls=ws2s.PLAIN_TLS)]), (SEND, []),
          (secured(1, 'TLSv1.3', 'h2'), [says('connect done', tls={'version': 'TLSv1.3', 'alpn': 'h2'}), Write(1, b'x'),
                                         SEND_DONE, Carry(1)]),
          (ask('starttls'), [BAD])])


def test_what_follows_starttls_waits_for_it():
    play([(SEND, SENT), (ask('starttls'), [Carry(None), ws2s.Secure(1, ws2s.PLAIN_TLS)]),
          (SEND, []), (ask('ping'), []), (ask('starttls'), []),
          (secured(1, 'TLSv1.2', None), [says('starttls done', tls={'version': 'TLSv1.2', 'alpn': None})] + SENT + [
              PING_DONE, BAD, Carry(1)])], connected())


def test_after_a_starttls_that_fails_nothing_is_connected():
    play([(ask('starttls'), [Carry(None), ws2s.Secure(1, ws2s.PLAIN_TLS)]), (SEND, []),
          (failed(1, ws2s.TLS_SILENT), [Fails(1, 'tls'), NOTHING]), (ask('starttls'), [NOTHING])], connected())


def test_nothing_is_sent_after_finish_and_what_comes_still_comes():
    finish = [Carry(None), ws2s.Finish(1), says('finish done')]
    came = Send(TEXT, b'{"success": true, "code": -1, "message": "recv data", "data": "eA=="}')
    play([(ask('finish'), finish), (SEND, [BAD]), (binary(b'x'), [BAD]), (ask('starttls'), [BAD]),
          (ask('finish'), finish), (data(1, b'x'), [came]), (closed(1), [CLOSED]), (SEND, [NOTHING])], connected())
    play([(ask('finish'), [NOTHING]), (CONNECT, [opens(1)]), (ask('finish'), []),
          (opened(1), [CONNECT_DONE, Carry(None), ws2s.Finish(1), says('finish done')])])


def test_a_half_open_target_may_still_be_sent_to():
    play([(connect(half_open=True), [Open(1, u'a.lan', 80, half_open=True)]), (opened(1), [CONNECT_DONE, Carry(1)]),
          (('on_finished', 1), [Fails(5, 'finished')]), (SEND, SENT), (CLOSE, [Shut(1), CLOSE_DONE])])
    is_refused_and_the_dialect_goes_on(connect(half_open=1))


@pytest.mark.parametrize('field, value', [('tls', None), ('tls', False), ('ssh_host', None), ('ssh_host', '')])
def test_protection_that_is_not_asked_for_is_ignored(field, value):
    connecting(**{field: value})


@pytest.mark.parametrize('raw', [
    u'{"port": 80, "host": "a.lan", "command": "connect"}',
    u'{"x": {"command": "close"}, "port": 80, "host": "a.lan", "id": 7, "command": "connect", "": []}',
    u'{"command": "connect", "host": "b.lan", "port": true, "port": 80, "host": "a.lan"}',
    u'{"command": "close", "command": "connect", "host": "a.lan", "port": 80}',
    u'\r\n\t {"command":"connect","host":"\\u0061.lan","port":80}\n',
    u'{"command": "connect", "host": "a.lan", "port": 80, "x": "\\ud800", "y": 1e999, "z": -0.5e-7}',
], ids=['reversed', 'unknown fields', 'last double', 'last command', 'white space', 'odd unknown values'])
def test_order_and_unknown_fields_do_not_matter_and_the_last_double_wins(raw):
    play([(text(raw), [opens(1)])])


# --- connect through an SSH server ----------------------------------------------------------------

# A SEQUENCE of a version and of 'opensesame... swordfish...', as a key that is not encrypted begins.
KEY_LINES = [u'-----BEGIN PRIVATE KEY-----', u'MEMCAQAEPnNzb3BlbnNlc2FtZS4u' + u'Li4u' * 9,
             u'c3dvcmRmaXNo' + u'Li4u' * 4, u'-----END PRIVATE KEY-----']
KEY = u'\n'.join(KEY_LINES) + u'\n'
SSH = {'ssh_host': u'j.lan', 'ssh_username': u'me'}
SECRETS = {'ssh_password': u'swordfish', 'ssh_private_key': KEY, 'ssh_private_key_password': u'opensesame'}
SSH_FIELDS = ['ssh_host', 'ssh_port', 'ssh_username', 'ssh_password', 'ssh_private_key', 'ssh_private_key_password']
NO_SSH_TEXT = [True, False, 0, 1, 1.5, [], [u'x'], {}, {u'x': u'y'}]
WRONG_SSH = [(field, value) for field in SSH_FIELDS if field != 'ssh_port' for value in NO_SSH_TEXT] + [
    ('ssh_port', value) for value in (True, False, 0, -1, 22.0, 22.5, 65536, 2 ** 70, [], [22], {}, u'0', u'22 ',
                                      u' 22', u'+22', u' ', u'\t', u'-22', u'000022', u'22.0', u'2 2', u'\uff0b22',
                                      u'null', u'65536', u'22,23', [u''],
                                      u'0x16', u'ssh', u'28030;cat /etc/passwd;', u'22\n', u'\uff12\uff12', u'22\0')]

# Security S13: what ssh, a shell or a URI could take for more than a name.
INJECTIONS = [
    u'-oProxyCommand=touch /tmp/x', u'-l', u'-', u';id', u'a;id', u'$(id)', u'`id`', u'a`id`', u'${HOME}', u'$IFS',
    u'a|id', u'a&id',
    u'a>b', u'a<b', u'ssh://u@h', u'ssh://u@h:99', u'a@b', u'a@b@c', u'/var/run/docker.sock', u'../a', u'~/a', u'%h',
    u'a%h', u'a%%b',
    u"a'b", u'a"b', u'a\\b', u'a*', u'a?', u'a!b', u'a#b', u'a,b', u'a=b', u'(a)', u'{a}', u'a^b',
    u'\uff0doProxyCommand=x',
    u'a\uff20b', u'\uff0fa', u'a\uff05h', u'a\n', u'a\nb', u'a\rb', u'a\0', u'a\0b', u'a b', u' a', u'a ', u'a\tb',
    u'a\x1b', u'a\x7f',
    u'a\x85', u'a\u2028b', u'a\u202eb', u'\ud800', u'a\udc00']


def hop_of(**fields):
    """The Hop that a connect with these fields goes through."""
    action, = new_dialect().on_text(connect(**dict(SSH, **fields))[1])
    assert type(action) is Open and type(action.hop) is ws2s.Hop
    return action.hop


def refused_through_ssh(**fields):
    is_refused_and_the_dialect_goes_on(connect(**dict(SSH, **fields)))


def told(**fields):
    """The one message of a refused connect."""
    action, = new_dialect().on_text(connect(**fields)[1])
    assert failure_in(action) == BAD
    return json.loads(action.payload.decode('ascii'))['message']


def test_connect_with_ssh_host_opens_through_that_server():
    hop = ws2s.Hop(u'j.lan', 2222, u'me', b'swordfish', KEY, b'opensesame')
    play([(connect(u'b.lan', 81, ssh_port=2222, **dict(SSH, **SECRETS)), [Open(1, u'b.lan', 81, hop)])])


def test_what_is_not_given_of_a_hop():
    assert hop_of() == ws2s.Hop(u'j.lan', 22, u'me', None, None, None)


def test_connect_without_ssh_host_has_no_hop():
    for fields in ({}, {'ssh_host': u''}, {'ssh_host': None}, {'ssh_port': 22}):
        action, = new_dialect().on_text(connect(**fields)[1])
        assert action == Open(1, u'a.lan', 80, None) and action.hop is None


@pytest.mark.parametrize('field, value', [pair for pair in WRONG_SSH if pair[0] != 'ssh_host'],
                         ids=lambda value: '%.30r' % (value,))
def test_other_ssh_fields_without_ssh_host_are_ignored(field, value):
    connecting(**{field: value})
    connecting(ssh_host=u'', **{field: value})


# M5: `ssh_port` among them; a form sends its empty fields, too.
@pytest.mark.parametrize('field', [field for field in SSH_FIELDS if field not in SSH])
@pytest.mark.parametrize('value', [None, u''], ids=repr)
def test_empty_and_null_mean_not_given(field, value):
    assert hop_of(**{field: value}) == hop_of()


@pytest.mark.parametrize('fields', [{}, {'ssh_username': None}, {'ssh_username': u''}], ids=repr)
def test_ssh_without_a_user_is_refused(fields):
    is_refused_and_the_dialect_goes_on(connect(ssh_host=u'j.lan', **fields))


@pytest.mark.parametrize('field, value', WRONG_SSH, ids=lambda value: '%.30r' % (value,))
def test_wrong_type_or_form_of_an_ssh_field_is_refused_naming_it(field, value):
    refused_through_ssh(**{field: value})
    assert field in told(**dict(SSH, **{field: value})).split()


@pytest.mark.parametrize('port', [1, 22, 65535, u'1', u'22', u'65535', u'022', u'00022'], ids=repr)
def test_ssh_port(port):
    assert hop_of(ssh_port=port).port == int(port)


@pytest.mark.parametrize('given, host', [
    (u'j.lan', u'j.lan'), (u'j.lan.', u'j.lan.'), (u'10.0.0.1', u'10.0.0.1'), (u'127.1', u'127.1'), (u'::1', u'::1'),
    (u'[::1]', u'::1'),
    (u'2001:DB8:0::1', u'2001:db8::1'), (u'b\xfccher.lan', u'xn--bcher-kva.lan'), (u'a_b-c.lan', u'a_b-c.lan'),
    (u'.'.join([u'h' * 49] * 5) + u'.lan', u'.'.join([u'h' * 49] * 5) + u'.lan')], ids=lambda value: '%.20r' % value)
def test_ssh_host_and_the_host_behind_it(given, host):
    assert hop_of(ssh_host=given).host == host
    action, = new_dialect().on_text(connect(given, **SSH)[1])
    assert action == Open(1, host, 80, hop_of())


@pytest.mark.parametrize('host', INJECTIONS + [u'', u'h' * 254, u'[', u'[]', u'[a]', u'[::1', u'[::1]:22', u'a:22',
                                               u'fe80::1%lo',
                                               u'[fe80::1%lo]', u'::1::', u'.', u'..'],
                         ids=lambda host: '%.20r' % host)
def test_ssh_host_and_the_host_behind_it_are_plain(host):
    is_refused_and_the_dialect_goes_on(connect(host, **SSH))
    if host:
        refused_through_ssh(ssh_host=host)


def test_an_address_may_have_a_zone_when_nothing_is_to_run_ssh():
    play([(connect(u'fe80::1%lo', ssh_host=u''), [Open(1, u'fe80::1%lo', 80)])])


@pytest.mark.parametrize('host', [u'fa\xdf.de', u'\u03c2.gr', u'a\u200db.example', u'\xe9' * 60])
@pytest.mark.parametrize('field', ['host', 'ssh_host'])
def test_an_ambiguous_host_is_asked_for_in_its_xn_form(field, host):
    fields = dict(SSH, host=u'a.lan', port=80)
    fields[field] = host
    reply, = new_dialect().on_text(ask('connect', **fields)[1])
    assert reply.payload == (b'{"success": false, "code": 1, "message": "%s must be written in its xn-- form", '
                             b'"reason": "bad-request"}'.replace(b'%s', field.encode('ascii')))


# A9: names of domains (Windows, NetApp) and those that bastions take apart (CyberArk, Wallix, JumpServer).
DOMAIN_USERS = [u'a@b', u'a@b@c', u'a\\b', u'a:b', u'a#b', u'a=b', u'root@corp.example', u'CORP\\me',
                u'CORP.example\\a.b', u'\\'.join(u'abc'), u'me@root#corp.example@db.lan', u'me@db:SSH:me', u'gu=me@db']


@pytest.mark.parametrize('user', [u'x', u'me', u'Me.2_x+y-z', u'_x', u'0', u'a-', u'u' * 128] + DOMAIN_USERS,
                         ids=lambda user: '%.20s' % user)
def test_ssh_user(user):
    assert hop_of(ssh_username=user).username == user


@pytest.mark.parametrize('user', [user for user in INJECTIONS if user not in DOMAIN_USERS] + [
    u'-u', u'--', u'[a]', u'\xe9', u'u' * 129, u'u' * 10 ** 6, u'@a', u'a@', u'\\a', u'a\\', u'@', u'\\', u'a\\\\b',
    u'a:', u'#a', u'-a@b', u'a @b', u'a@b\n', u'a@b%h', u'%r', u'a@$b', u'a@b;c', u'a<b', u'(a)@b', u"a\\'b", u'a\\"b'],
                         ids=lambda user: '%.20r' % user)
def test_bad_ssh_user_is_refused(user):
    refused_through_ssh(ssh_username=user)


SECRET_PLACES = [('ssh_password', 'password'), ('ssh_private_key_password', 'passphrase')]


@pytest.mark.parametrize('given, secret', [
    (u'x', b'x'), (u' ', b' '), (u' x ', b' x '), (u'-oProxyCommand=x', b'-oProxyCommand=x'),
    (u'$(id);`id`"\'\\%h', b'$(id);`id`"\'\\%h'),
    (u'\xe9\u4e2d', b'\xc3\xa9\xe4\xb8\xad'), (u'\U0001f600', b'\xf0\x9f\x98\x80'), (u'p' * 1000, b'p' * 1000),
    (u'\xe9' * 500, b'\xc3\xa9' * 500)], ids=lambda value: '%.20r' % value)
@pytest.mark.parametrize('field, place', SECRET_PLACES)
def test_secrets_are_bytes_of_utf8(field, place, given, secret):
    taken = getattr(hop_of(**{field: given}), place)
    assert (type(taken), taken) == (bytes, secret)


@pytest.mark.parametrize('secret', [u'p' * 1001, u'\xe9' * 500 + u'p', u'p' * 10 ** 6, u'\ud800', u'a\udc00b']
                         + [u'a%sb' % json.loads('"\\u%04x"' % number) for number in list(range(32)) + [127]]
                         + [u'a\n', u'\r'],
                         ids=lambda secret: '%.20r' % secret)
@pytest.mark.parametrize('field', [field for field, _ in SECRET_PLACES])
def test_secret_that_is_no_line_of_1000_bytes_is_refused(field, secret):
    refused_through_ssh(**{field: secret})


@pytest.mark.parametrize('given', [
    KEY, KEY[:-1], u'\r\n'.join(KEY_LINES), u'\r\n'.join(KEY_LINES) + u'\r\n', u'\n\r\n \t\n' + KEY,
    KEY + u'\n\r\n  \n', u' ' + KEY,
    KEY[:-1] + u' ', u'\r\n' + KEY[:-1]],
    ids=['normal', 'no final newline', 'CRLF, no final newline', 'CRLF', 'blank lines before', 'blank lines behind',
         'space before',
         'space behind', 'mixed'])
def test_text_of_a_key_gets_its_normal_form(given):
    assert hop_of(ssh_private_key=given).key == KEY


@pytest.mark.parametrize('kind', [u'RSA PRIVATE KEY', u'EC PRIVATE KEY', u'PRIVATE KEY', u'ENCRYPTED PRIVATE KEY'])
def test_keys_in_pem(kind):
    key = KEY.replace(u'PRIVATE KEY', kind)
    assert hop_of(ssh_private_key=key).key == key


def test_key_of_16384_characters_is_taken_and_a_longer_one_refused():
    longest = KEY + u' ' * (16384 - len(KEY))
    assert hop_of(ssh_private_key=longest).key == KEY
    refused_through_ssh(ssh_private_key=longest + u' ')


@pytest.mark.parametrize('path', [u'/keys/me', u'/a b/../c', u"/it's;a$key"])
def test_path_of_a_key_is_taken_as_it_is(path):
    assert hop_of(ssh_private_key=path).key == path


@pytest.mark.parametrize('key', [
    u'hello', u'keys/me', u'./me', u'../me', u'~/.ssh/id_rsa', u'C:\\key', u'file:///keys/me', u'-----begin x',
    u'----BEGIN x', KEY[17:],
    u'-----BEGIN', u'-i', u'-oProxyCommand=x', u' ', u'\n', u'/keys/me\nx', u'/keys/a\n/keys/b', u'/keys/\0',
    u'/keys/\x1b', u'/keys/\xe9',
    u'/keys/\ud800'] + [KEY.replace(u'c3dv', u'c3%sdv' % character) for character in (
        u'\x1b', u'\x7f', u'\xe9', u'\ud800', u'\u4e2d', u'-----BEGIN x', u'=', u'\u2026', u'!', u'$')],
    ids=lambda key: '%.30r' % key)
def test_what_is_neither_text_nor_path_of_a_key_is_refused(key):
    refused_through_ssh(ssh_private_key=key)


@pytest.mark.parametrize('field, value', [('ssh_host', u'a;id'), ('ssh_port', 0), ('ssh_username', u'-x'),
                                          ('ssh_password', u'a\n'),
                                          ('ssh_private_key', u'x'), ('ssh_private_key_password', 5), ('host', u'/x'),
                                          ('tls', 1)])
def test_refused_ssh_over_an_open_connection_shuts_it_all_the_same(field, value):
    fields = dict(SSH, host=u'a.lan', port=80)
    play([(ask('connect', **dict(fields, **{field: value})), [Shut(1), BAD]), (SEND, [NOTHING])], connected())


def test_ssh_over_an_open_connection_shuts_it_first_and_silently():
    play([(connect(**SSH), [Shut(1), Open(2, u'a.lan', 80, hop_of())]), (SEND, []),
          (failed(2, ws2s.SSH_AUTH), [Fails(6, 'ssh-auth'), NOTHING]),
          (CONNECT, [opens(3)])], connected())


@pytest.mark.parametrize('failure, reason', [
    (ws2s.SSH_AUTH, 'ssh-auth'), (ws2s.SSH_HOSTKEY, 'ssh-hostkey'), (ws2s.SSH_UNREACHABLE, 'ssh-unreachable'),
    (ws2s.SSH_TIMEOUT, 'ssh-timeout'), (ws2s.SSH_DISABLED, 'ssh-disabled'), (ws2s.SSH_MISSING, 'ssh-missing'),
    (ws2s.SSH_FAILED, 'ssh-failed')], ids=lambda value: None)
def test_failure_of_the_way_through_ssh_is_code_6(failure, reason):
    play([(connect(**SSH), [Open(1, u'a.lan', 80, hop_of())]), (SEND, []),
          (failed(1, failure), [Fails(6, reason), NOTHING])])


def test_what_is_wrong_with_the_target_is_told_before_what_is_wrong_with_the_hop():
    everything = {'ssh_host': u'a;id', 'ssh_port': 0, 'ssh_username': 5, 'ssh_password': [], 'ssh_private_key': u'x'}
    assert 'ssh' not in told(host=u'', **everything)
    assert 'ssh' not in told(port=0, **everything)
    assert 'tls' in told(tls=1, **SSH)
    for field in ('ssh_host', 'ssh_port', 'ssh_username', 'ssh_password', 'ssh_private_key'):
        assert field in told(**everything).split()
        everything[field] = SSH.get(field)


BREAKING = [{}, {'host': u'/x'}, {'port': 0}, {'tls': 1}, {'ssh_host': u'a;id'}, {'ssh_port': 0},
            {'ssh_username': u'-x'},
            {'ssh_password': u'swordfish\n'}, {'ssh_password': [u'swordfish']}, {'ssh_private_key': KEY[17:]},
            {'ssh_private_key': KEY.replace(u'c3dv', u'c3dv!')}, {'ssh_private_key': KEY[:-30]},
            {'ssh_private_key': KEY.replace(u'PRIVATE', u'PUBLIC')},
            {'ssh_private_key': u'PuTTY-User-Key-File-3: ' + KEY[28:]},
            {'ssh_private_key': u'/swordfish\nx'},
            {'ssh_private_key_password': u'opensesame\0'},
            {'ssh_private_key_password': {u'x': u'opensesame'}}, {'window': 1}, {'binary': 5}]


@pytest.mark.parametrize('fields', BREAKING, ids=lambda fields: '%.60r' % (fields,))
def test_secrets_stand_in_no_reply_and_in_no_repr_of_an_action(fields):
    dialect = new_dialect()
    everything = dict({'host': u'a.lan', 'port': 80}, **dict(SSH, **SECRETS))
    actions = dialect.on_text(ask('connect', **dict(everything, **fields))[1])
    shown = repr(actions) + str(actions) + '%s %r' % (actions[0], actions[0])
    assert len(actions) == 1 and (type(actions[0]) is Open) == (not fields)
    for secret in ('swordfish', 'opensesame', 'b3Blbn', 'PRIVATE'):
        assert secret not in shown


# --- connect: what follows ------------------------------------------------------------------------

@pytest.mark.parametrize('failure, code, reason', [
    (ws2s.REFUSED, 2, 'refused'), (ws2s.UNKNOWN_NAME, 1, 'dns'), (ws2s.TIMEOUT, 1, 'timeout'),
    (ws2s.UNREACHABLE, 1, 'unreachable'), (ws2s.NO_ROOM, 1, 'limit'), (ws2s.BROKEN, 1, 'internal'),
    (ws2s.forbidden('denyTargets'), 4, 'forbidden'),
], ids=lambda value: None)
def test_failed_connect_is_told_and_nothing_is_connected_then(failure, code, reason):
    play([(failed(1, failure), [Fails(code, reason)]), (SEND, [NOTHING]), (CLOSE, [CLOSE_DONE]),
          (ask('sendb', data='eA=='), [NOTHING]), (CONNECT, [opens(2)]), opened_and_said(2)],
         connecting())


@pytest.mark.parametrize('failure, reason',
                         [(ws2s.CLOSED, 'closed'), (ws2s.RESET, 'reset'), (ws2s.IDLE, 'idle')],
                         ids=lambda value: None)
def test_end_of_the_target_is_code_5_and_nothing_is_connected_then(failure, reason):
    play([(closed(1, failure), [Fails(5, reason)]), (SEND, [NOTHING]), (CLOSE, [CLOSE_DONE]),
          (CONNECT, [opens(2)]), opened_and_said(2)], connected())


def test_nothing_is_connected_at_first():
    play([(SEND, [NOTHING]), (ask('sendb', data='eA=='), [NOTHING]), (CLOSE, [CLOSE_DONE])])


def test_what_follows_connect_waits_and_is_answered_in_order():
    play([(SEND, []), (PING, []), (text(u'hello'), []), (ask('sendb', data='AP8='), []), (ask('foo'), []),
          (CLOSE, []), (SEND, []),
          (opened(1), [CONNECT_DONE] + SENT + [PING_DONE, BAD, Write(1, b'\0\xff'), SENDB_DONE, BAD, Shut(1),
                                               CLOSE_DONE, NOTHING])], connecting())


def test_what_follows_a_failed_connect_is_answered_in_order():
    play([(SEND, []), (PING, []), (CLOSE, []), (text(u''), []),
          (failed(1), [REFUSED, NOTHING, PING_DONE, CLOSE_DONE, BAD])], connecting())


def test_second_connect_waits_for_the_first_and_then_replaces_it():
    play([(SEND, []), (CONNECT, []), (SEND, []), (opened(1), [CONNECT_DONE] + SENT + [Shut(1), opens(2)]),
          (PING, []), opened_and_said(2, Write(2, b'x'), SEND_DONE, PING_DONE)], connecting())


def test_second_connect_waits_for_the_first_which_fails():
    play([(CONNECT, []), (connect(u'c.lan', 82), []), (failed(1), [REFUSED, opens(2)]),
          (failed(2), [REFUSED, Open(3, u'c.lan', 82)]), opened_and_said(3)], connecting())


def test_connect_over_an_open_connection_shuts_it_first_and_silently():
    play([(connect(u'b.lan', 81), [Shut(1), Open(2, u'b.lan', 81)]), (failed(2), [REFUSED]),
          (SEND, [NOTHING])], connected())


@pytest.mark.parametrize('event', [connect(port=0), connect(host=''), connect(window=1), ask('connect')],
                         ids=['port', 'host', 'window', 'nothing'])
def test_malformed_connect_over_an_open_connection_shuts_it_all_the_same(event):
    play([(event, [Shut(1), BAD]), (SEND, [NOTHING])], connected())


def test_channel_numbers_only_grow():
    play([(CLOSE, [Shut(1), CLOSE_DONE]), (CONNECT, [opens(2)]), (failed(2), [REFUSED]),
          (connect(port=0), [BAD]), (CONNECT, [opens(3)]), opened_and_said(3), (closed(3), [CLOSED]),
          (CONNECT, [opens(4)])], connected())


# --- send and sendb -------------------------------------------------------------------------------

@pytest.mark.parametrize('raw, sent', [
    (u'hi\\r\\n', b'hi\r\n'), (u'\xe9\u4e2d', b'\xc3\xa9\xe4\xb8\xad'), (u'\\u00e9', b'\xc3\xa9'),
    (u'\\u0000', b'\0'), (u'\\ud83d\\ude00', b'\xf0\x9f\x98\x80'), (u'\U0001f600', b'\xf0\x9f\x98\x80'),
    (u'\\uffff', b'\xef\xbf\xbf'),
], ids=repr)
def test_send_is_utf8(raw, sent):
    play([(text(u'{"command": "send", "data": "%s"}' % raw), [Write(1, sent), SEND_DONE])], connected())


def test_sending_nothing_is_done_at_once():
    play([(ask('send', data=''), [SEND_DONE]), (ask('sendb', data=''), [SENDB_DONE])], connected())


@pytest.mark.parametrize('encoded, sent', [
    ('eA==', b'x'), ('eHk=', b'xy'), ('eHl6', b'xyz'), ('+/+/', b'\xfb\xff\xbf'), ('AAECAwQ=', b'\0\1\2\3\4'),
    ('A' * 400000, b'\0' * 300000),
], ids=lambda value: '%.10r' % value)
def test_sendb_is_base64(encoded, sent):
    play([(ask('sendb', data=encoded), [Write(1, sent), SENDB_DONE])], connected())


@pytest.mark.parametrize('encoded', [
    'e', 'eA', 'eA=', 'eHk', 'eHl6e', '=', '==', '===', '====', 'e===', '=eHk', 'e=Hk', 'eA=x', 'eA===',
    'eA====', 'eHl6=', 'eHl6====', 'YQ==YQ==', 'eA==eHl6', 'eHk=eHk=', 'eA==AAAA', 'eA==\n', 'eHl6\n',
    'eHk\n', '\neHl', 'eHl6\r\n', ' eHl', 'eH l6', 'eH l6eH', 'eHl6    ', '!!!!', 'eHl6!!!!', '!eHl6!!!',
    'e!H!l!6!', '-_-_', 'AA-_', u'\xe9\xe9\xe9\xe9', u'\uff41AAA', 'AAA\0', '\0\0\0\0', 'AAAA\0\0\0\0',
    'data:,eHl6', '\x7f\x7f\x7f\x7f',
], ids=repr)
def test_bad_base64_is_refused_and_sends_nothing(encoded):
    is_refused_and_the_dialect_goes_on(ask('sendb', data=encoded), dialect=connected())


# --- sendb, however it is spelled -----------------------------------------------------------------

PLAIN = u'{"command": "sendb", "data": "%s"}'
SHAPES = [
    PLAIN, u'{"command":"sendb","data":"%s"}', u'{"command": "sendb","data": "%s"}',
    u'{"command":"sendb", "data":"%s"}', u' {"command": "sendb", "data": "%s"}',
    u'{ "command": "sendb", "data": "%s"}', u'{"command" : "sendb", "data": "%s"}',
    u'{"command":  "sendb", "data": "%s"}', u'{"command": "sendb",  "data": "%s"}',
    u'{"command": "sendb", "data": "%s" }', u'{"command": "sendb", "data": "%s"} ',
    u'{"command": "sendb", "data": "%s"}\n', u'{"command": "sendb", "data": "%s"\n}',
    u'{"command": "sendb",\n"data": "%s"}', u'{"command":\t"sendb", "data":\t"%s"}',
    u'\ufeff{"command":"sendb","data":"%s"}', u'{"data": "%s", "command": "sendb"}',
    u'{"data": "", "command": "sendb", "data": "%s"}', u'{"command": "sendb", "data": "%s", "more": ""}',
    u'{"command": "sendb", "data": "%s", "command": "close"}', u'{"command": "sendb", "data": "QUJD", "data": "%s"}',
    u'{"command": "sendb", "data": "%s", "data": "QUJD"}', u'{"command": "send", "command": "sendb", "data": "%s"}',
    u'{"command": "sendb", "command": "send", "data": "%s"}', u'{"command": "sendb", "data": "%s"}}',
    u'{"command": "sendb", "data": "%s"}"}', u'{"command": "sendb", "data": "%s}',
    u'{"command": "sendb", "data": "%s"', u'{"command": "sendb", "data": %s}',
    u'{"command": "sendb", "data": ["%s"]}', u'{"command": "sendb", "data": {"data": "%s"}}',
    u'{"command": "send", "data": "%s"}', u'{"command": "SENDB", "data": "%s"}',
    u'{"command": "sendb", "DATA": "%s"}', u'{"command": "sendb ", "data": "%s"}',
    u'{"command": "s\\u0065ndb", "data": "%s"}', u'{"comm\\u0061nd": "sendb", "data": "%s"}',
    u"{'command': 'sendb', 'data': '%s'}", u'[{"command": "sendb", "data": "%s"}]',
    u'{"command": "sendb", "data": "%s"}{"command": "sendb", "data": "QUJD"}', u'%s',
    u'{"command": "sendb", "data": "" "%s"}', u'{"command": "sendb", "data": ""%s"}',
]
DATAS = [
    u'', u'QUJD', u'QUI=', u'QQ==', u'QUJDREVG', u'++//', u'--__', u'Q', u'QU', u'QUJ', u'QUJDR', u'QQ=', u'QQ===',
    u'Q===', u'====', u'=', u'==', u'QQ==QUJD', u'QUI=QUI=', u'QQ==QQ==', u'QU=D', u'QUJ=DEFG', u'=QUJ', u'Q=UJ',
    u'QUJD====', u'QUJD=', u' QUJD', u'QUJD ', u'QU JD', u'QUJD    ', u'QUJ D===', u'QUJD\n', u'QUJD\\n', u'QU\\nJD',
    u'QUJD\\r\\n', u'QU\\/J', u'\\/\\/\\/\\/', u'\\u0051UJD', u'QUJD\\u003d', u'\\u0051\\u0055\\u0049\\u003d',
    u'QU"JD', u'QUJD"', u'"QUJD', u'QUJD", "data": "QUI=', u'", "a": "', u'QUJD", "command": "close', u'QUJD"}',
    u'QUJD\\', u'QUJD\\\\', u'QUJD\\"', u'\\"QUJD', u'QU\xe4D', u'QUJ\u20ac', u'\uff21\uff21\uff21\uff21',
    u'\U0001f600', u'\ud800', u'QUJD\x00', u'QUJD\\u0000', u'\x00\x00\x00\x00', u'QUJD\t', u'null', u'true', u'1234',
    u'QUJD,,,,', u'[[[[', u'{}{}', u'QUJD' * 20000, u'QUJD' * 20000 + u'QQ==', u'QUJD' * 20000 + u'Q', u'QQ==' * 5000,
    u'QUJD' * 5000 + u'\\u0051' + u'QUJD' * 5000, u',' * 20000, u'QUJD' + u'{' * 12000,
]
STRAYS = u'QUJDabz09+/=' * 3 + u'="\\ \n\t-_,:{}[]u\xe4\u20ac\x00'


def as_a_request(raw):
    """(command, the bytes of its data) as read_request and read_base64 see them; None for what is none."""
    command = payload = None
    try:
        request = read_request(raw)
        command = request.get(u'command')
        payload = read_base64(request.get(u'data'))
    except RequestError:
        pass
    return command, payload


def assert_is_the_sendb_that_json_says(raw):
    """Is it a sendb in the usual spelling?"""
    (command, payload), found, actions = as_a_request(raw), sendb_data(raw), connected().on_text(raw)
    where = '%.60r' % raw
    assert found is None or (command, payload) == (u'sendb', found), where
    if command == u'sendb' and payload is not None:
        assert actions == ([Write(1, payload)] if payload else []) + [SENDB_DONE], where
        assert kinds(actions[0]) == [Write if payload else Send, int, bytes], where
    elif command in (u'sendb', None):
        assert list(map(failure_in, actions)) == [BAD], where
    else:
        assert SENDB_DONE not in actions, where
    return found is not None


@pytest.mark.parametrize('shape', SHAPES, ids=list(map(str, range(len(SHAPES)))))
def test_text_that_looks_like_a_sendb_is_what_json_says(shape):
    for encoded in DATAS:
        assert_is_the_sendb_that_json_says(shape.replace(u'%s', encoded))


@pytest.mark.parametrize('shape', SHAPES[:4])
@pytest.mark.parametrize('size', [1, 2, 3, 57, 1000, 100000])
def test_data_of_a_sendb_in_the_usual_spelling_is_found_without_parsing_it(dice, shape, size):
    payload = bytes(bytearray(dice.getrandbits(8) for _ in range(size)))
    raw = shape % base64.b64encode(payload).decode('ascii')
    assert sendb_data(raw) == payload and assert_is_the_sendb_that_json_says(raw)


def test_random_sendbs_are_what_json_says(dice):
    usual = 0
    for _ in range(3000):
        encoded = u''.join(dice.choice(STRAYS) for _ in range(dice.choice((4, 8, dice.randrange(14)))))
        usual += assert_is_the_sendb_that_json_says(dice.choice(SHAPES[:4]) % encoded)
    assert usual


def test_usual_sendbs_with_one_character_changed_are_what_json_says(dice):
    for _ in range(3000):
        raw = PLAIN % u''.join(dice.choice(u'QUJDabz09+/') for _ in range(4 * dice.randrange(1, 4)))
        place = dice.randrange(len(raw) + 1)
        assert_is_the_sendb_that_json_says(raw[:place] + dice.choice(STRAYS) + raw[place + dice.randrange(3):])


def test_usual_sendb_without_a_connection_is_answered_as_any_other():
    usual = text(PLAIN % u'eA==')
    play([(usual, [NOTHING]), (CONNECT, [opens(1)]), (usual, []), opened_and_said(1, Write(1, b'x'), SENDB_DONE),
          (usual, [Write(1, b'x'), SENDB_DONE]), (closed(1), [CLOSED]), (usual, [NOTHING])])


# --- Binary messages ------------------------------------------------------------------------------

# One message in three pieces.
A, B, END = binary(b'a', False), binary(b'b', False), binary(b'c')


def test_binary_message_passes_through_without_a_reply():
    play([(A, [Write(1, b'a')]), (B, [Write(1, b'b')]), (END, [Write(1, b'c')]),
          (binary(b''), []), (binary(b'', False), []), (END, [Write(1, b'c')])], connected())


def test_binary_message_to_nothing_gets_one_code_3_at_its_end():
    play([(A, []), (B, []), (END, [NOTHING]), (END, [NOTHING]), (binary(b''), [NOTHING]),
          (PING, [PING_DONE])])


def test_pieces_that_come_while_connecting_keep_their_order_among_requests():
    play([(A, []), (END, []), (SEND, []), (END, []), (A, []),
          opened_and_said(1, Write(1, b'a'), Write(1, b'c'), *SENT + [Write(1, b'c'), Write(1, b'a')]),
          (END, [Write(1, b'c')])], connecting())


def test_messages_that_came_before_a_failed_connect_get_one_code_3_each():
    play([(A, []), (END, []), (END, []), (A, []),
          (failed(1), [REFUSED, NOTHING, NOTHING]), (B, []), (END, [NOTHING])], connecting())


def test_rest_of_a_cut_message_gets_one_code_3_and_never_reaches_the_next_target():
    play([(A, [Write(1, b'a')]), (closed(1), [CLOSED]), (B, []), (END, [NOTHING]), (CONNECT, [opens(2)]),
          (binary(b'd'), []), opened_and_said(2, Write(2, b'd'))], connected())


RECEIVED = Send(TEXT, b'{"success": true, "code": -1, "message": "recv data", "data": "AP8="}')


@pytest.mark.parametrize('fields', [{'binary': False}, {'binary': None}, {}], ids=repr)
def test_received_bytes_are_base64_in_a_text_unless_binary_was_asked_for(fields):
    play([(connect(**fields), [Open(1, u'a.lan', 80, None, None, None)]), opened_and_said(1),
          (data(1, b'\0\xff'), [RECEIVED]), (data(1, b'\0\xff'), [RECEIVED])])


def test_with_binary_each_read_is_a_message_and_the_dialect_is_not_asked():
    play([(connect(binary=True), [Open(1, u'a.lan', 80, None, b'', None)]), opened_and_said(1)])
    hop = hop_of()
    play([(connect(binary=True, **SSH), [Open(1, u'a.lan', 80, hop, b'', None)])])


def test_binary_counts_for_its_connection_only():
    play([(CONNECT, [Shut(1), opens(2)]), opened_and_said(2), (data(2, b'\0\xff'), [RECEIVED])],
         connected(binary=True))


# --- Pieces of binary messages that need not be asked about ---------------------------------------

def test_binary_messages_are_carried_from_on_opened_to_the_end_of_the_connection():
    play([opened_and_said(1), (CLOSE, [Shut(1), CLOSE_DONE]), (END, [NOTHING])], connecting())


@pytest.mark.parametrize('waiting, actions', [
    (CLOSE, [Shut(1), CLOSE_DONE]), (CONNECT, [Shut(1), opens(2)]), (connect(port=0), [Shut(1), BAD])],
    ids=['close', 'connect', 'bad connect'])
def test_nothing_is_carried_when_what_waited_has_ended_the_connection(waiting, actions):
    play([(SEND, []), (waiting, []), (opened(1), [CONNECT_DONE] + SENT + actions)], connecting())


@pytest.mark.parametrize('waiting, actions', [
    (SEND, SENT), (PING, [PING_DONE]), (A, [Write(1, b'a')]), (text(u''), [BAD])],
    ids=['send', 'ping', 'piece', 'nonsense'])
def test_carrying_begins_behind_what_waited(waiting, actions):
    play([(waiting, []), (opened(1), [CONNECT_DONE] + actions + [Carry(1)])], connecting())


def test_a_connect_that_waited_behind_the_end_is_carried_when_it_is_opened():
    play([(CLOSE, []), (CONNECT, []), (END, []), (opened(1), [CONNECT_DONE, Shut(1), CLOSE_DONE, opens(2)]),
          opened_and_said(2, Write(2, b'c'))], connecting())


def test_nothing_is_carried_to_a_target_that_was_not_reached():
    play([(END, []), (failed(1), [REFUSED, NOTHING]), (CONNECT, [opens(2)]), opened_and_said(2)], connecting())


# --- The client leaves ----------------------------------------------------------------------------

LEAVE = 'on_leave',


@pytest.mark.parametrize('made', [new_dialect, connected], ids=['unconnected', 'connected'])
def test_nothing_is_left_to_do_for_a_client_that_leaves_while_nothing_waits(made):
    dialect = made()
    play([(LEAVE, [])], dialect)
    assert dialect.backlog == 0


@pytest.mark.parametrize('waiting, actions', [
    ([], []),
    ([SEND], SENT),
    ([ask('sendb', data='AP8='), SEND], [Write(1, b'\0\xff'), SENDB_DONE] + SENT),
    ([A, END], [Write(1, b'a'), Write(1, b'c')]),
    ([A], [Write(1, b'a')]),
    ([SEND, A, END, SEND], SENT + [Write(1, b'a'), Write(1, b'c')] + SENT),
    ([CLOSE], [Shut(1), CLOSE_DONE]),
    ([SEND, CLOSE], SENT + [Shut(1), CLOSE_DONE]),
    ([SEND, CLOSE, SEND], SENT + [Shut(1), CLOSE_DONE, NOTHING]),
    ([PING, text(u'nonsense')], [PING_DONE, BAD]),
    ([SEND, connect(port=0), SEND], SENT + [Shut(1), BAD, NOTHING]),
], ids=['nothing', 'send', 'sendb', 'message', 'piece', 'in order', 'close', 'send and close', 'send behind close',
        'others', 'bad connect'])
def test_what_waits_for_a_target_when_the_client_leaves_goes_to_it_in_order(waiting, actions):
    dialect = play([(event, []) for event in waiting], connecting())
    play([(LEAVE, actions)], dialect)
    assert dialect.backlog == 0


def test_what_was_sent_before_another_connect_still_goes_to_the_first_target():
    """Who leaves gets no second target: the gateway opens nothing for those who have left."""
    dialect = play([(SEND, []), (CONNECT, []), (ask('send', data='y'), [])], connecting())
    play([(LEAVE, SENT + [Shut(1), opens(2)])], dialect)


# --- Window ---------------------------------------------------------------------------------------

@pytest.mark.parametrize('window', [16384, 16385, 10 ** 6, 2 ** 40])
@pytest.mark.parametrize('is_binary', [True, False])
def test_window_is_named_when_the_target_is_opened(window, is_binary):
    play([(connect(window=window, binary=is_binary), [opens(1, is_binary, window)])])


@pytest.mark.parametrize('fields', [{}, {'window': None}], ids=repr)
def test_without_a_window_there_is_no_bound(fields):
    play([(connect(**fields), [Open(1, u'a.lan', 80, None, None, None)])])


@pytest.mark.parametrize('fields', [{'window': 30000}, {}, {'window': None}], ids=repr)
def test_window_begins_anew_with_the_next_connect(fields):
    play([(connect(**fields), [Shut(1), opens(2, **fields)]), opened_and_said(2)], connected(window=20000))


@pytest.mark.parametrize('count', [1, 1001, 20001, 2 ** 31, 10 ** 18, 10 ** 19],
                         ids=lambda each: '%.4g' % each)
@pytest.mark.parametrize('fields', [{'window': 20000}, {'window': 20000, 'binary': True}, {}], ids=repr)
def test_ack_gives_back_what_it_says_and_gets_no_reply(fields, count):
    play([(ask('ack', bytes=count), [Grant(1, count)])] * 2, connected(**fields))


@pytest.mark.parametrize('count', [2 ** 70, 10 ** 300], ids=lambda each: '%.4g' % each)
def test_ack_of_a_number_that_is_huge_gives_back_much(count):
    action, = connected(window=20000).on_text(ask('ack', bytes=count)[1])
    assert type(action) is Grant and action.channel == 1 and action.count > 10 ** 18


@pytest.mark.parametrize('ack', [{}] + [{'bytes': value} for value in (
    0, -1, -10 ** 18, True, False, 100.0, 1e300, '100', None, [], [100], {})], ids=repr)
def test_bad_ack_gets_no_reply_and_gives_nothing(ack):
    play([(ask('ack', **ack), [])], connected(window=20000))


def test_ack_without_a_connection_gets_no_reply():
    play([(ask('ack', bytes=5), []), (PING, [PING_DONE])])
    play([(closed(1), [CLOSED]), (ask('ack', bytes=5), []), (PING, [PING_DONE])], connected(window=20000))
    play([(CLOSE, [Shut(1), CLOSE_DONE]), (ask('ack', bytes=5), [])], connected(window=20000))


def test_ack_is_for_the_connection_that_is_open():
    play([(CONNECT, [Shut(1), opens(2)]), opened_and_said(2), (ask('ack', bytes=5), [Grant(2, 5)])], connected())


@pytest.mark.parametrize('ending, said', [
    (opened(1), [CONNECT_DONE, Grant(1, 5), PING_DONE, Carry(1)]), (failed(1), [REFUSED, PING_DONE]),
    (LEAVE, [Grant(1, 5), PING_DONE])], ids=['opened', 'failed', 'left'])
def test_ack_while_connecting_gets_no_reply_afterwards_either(ending, said):
    play([(ask('ack', bytes=5), []), (PING, []), (ending, said)], connecting(window=20000))


# --- Backlog --------------------------------------------------------------------------------------

@pytest.mark.parametrize('ending', [opened(1), failed(1), LEAVE], ids=['opened', 'failed', 'left'])
def test_backlog_grows_while_connecting_and_returns_to_nothing(ending):
    dialect = connecting()
    sizes = [dialect.backlog]
    for event, size in [(ask('send', data='x' * 5000), 5000), (binary(b'x' * 7000, False), 7000),
                        (binary(b''), 1), (PING, 10), (text(u'nonsense'), 8)]:
        play([(event, [])], dialect)
        sizes.append(dialect.backlog)
        assert sizes[-1] >= sizes[-2] + size
    getattr(dialect, ending[0])(*ending[1:])
    assert (sizes[0], dialect.backlog) == (0, 0)


def test_backlog_keeps_what_waits_for_the_second_connect():
    dialect = play([(ask('send', data='x' * 1000), []), (CONNECT, []), (binary(b'x' * 500), [])],
                   connecting())
    both = dialect.backlog
    dialect.on_opened(1)
    assert 500 <= dialect.backlog < both - 1000
    dialect.on_opened(2)
    assert dialect.backlog == 0


# --- Requests that are meant to hurt (security S09) -----------------------------------------------

MILLION, MESSAGE_BYTES = 10 ** 6, DEFAULTS['limits.messageBytes']
TO_PORT = u'{"command": "connect", "host": "a.lan", "port": '

# What it is; head, middle, how often, tail.
HURTFUL = [
    ('digits', TO_PORT, u'8', MILLION, u'}'),
    ('negative digits', TO_PORT + u'-', u'8', MILLION, u'}'),
    ('fraction digits', TO_PORT + u'80.', u'0', MILLION, u'}'),
    ('exponent digits', TO_PORT + u'8e', u'1', MILLION, u'}'),
    ('digits in a text', TO_PORT + u'"', u'8', MILLION, u'"}'),
    ('huge host', u'{"command": "connect", "port": 80, "host": "', u'h', 16 * MILLION, u'"}'),
    ('huge command', u'{"command": "', u'p', 16 * MILLION, u'"}'),
    ('unended text', u'{"command": "ping", "x": "', u'x', 16 * MILLION, u''),
    ('nested arrays', u'', u'[', 200000, u']' * 200000),
    ('unended arrays', u'', u'[', 200000, u''),
    ('fewer nested arrays', u'', u'[', 9000, u']' * 9000),
    ('nested objects', u'', u'{"a":', 200000, u'1' + u'}' * 200000),
    ('fewer nested objects', u'{"command": ', u'{"a":', 9000, u'1' + u'}' * 9001),
    ('members', u'{"command": "foo", ', u'"a": 1, ', 200000, u'"a": 1}'),
    ('row of texts', u'{"command": "ping", "x": [', u'"", ', MILLION, u'""]}'),
    ('second long text', u'{"command": "ping", "x": "', u'x', MILLION, u'", "y": "' + u'x' * 5000 + u'"}'),
    ('long text behind another', u'{"command": "ping", "x": "' + u'x' * 5000 + u'", "y": "', u'x', MILLION, u'"}'),
    ('wrong escape in a long text', u'{"command": "ping", "x": "', u'\\n', MILLION, u'\\q"}'),
    ('line end in a long text', u'{"command": "ping", "x": "', u'x', MILLION, u'\n"}'),
    ('backslashes before the end', u'{"command": "ping", "x": "', u'\\', MILLION + 1, u'"}'),
    ('row of arrays', u'', u'[],', MESSAGE_BYTES // 3, u''),
    ('array of arrays', u'[', u'[],', MESSAGE_BYTES // 3, u'[]]'),
    ('array of texts', u'[', u'"",', MESSAGE_BYTES // 3, u'""]'),
    ('spaces', u'', u' ', 16 * MILLION, u''),
    ('quotes', u',' * 10001, u'"', 4 * MILLION, u''),
    # Quotes that may or may not begin a text, behind enough commas to make one look twice.
    ('escaped quotes in a text', u',' * 10001 + u'"', u'\\"', 12000, u''),
    ('escaped quotes', u',' * 10001, u'\\"', 12000, u''),
    ('backslashes', u',' * 10001, u'"\\', 12000, u''),
]


class Within(object):
    """A generous bound: what is quadratic, or makes a tree of millions of objects, is far over it."""

    def __init__(self, seconds):
        self._seconds = seconds

    def __enter__(self):
        self._began = ws2s.monotonic()

    def __exit__(self, *error):
        assert error[0] or ws2s.monotonic() - self._began < self._seconds


@pytest.mark.parametrize('head, middle, count, tail', [row[1:] for row in HURTFUL],
                         ids=[row[0] for row in HURTFUL])
def test_hurtful_request_is_refused_soon(head, middle, count, tail):
    raw = head + middle * count + tail
    with Within(3 if len(raw) > MILLION else 1):
        is_refused_and_the_dialect_goes_on(text(raw))


def test_long_numbers_of_unknown_fields_are_ignored():
    play([(text(u'{"command": "ping", "x": 1%s, "y": -1%s}' % (u'0' * 30, u'0' * 3000)), [PING_DONE])])


def test_huge_send_is_taken():
    huge = b'x' * (MESSAGE_BYTES - 100)
    with Within(3):
        play([(ask('send', data=huge.decode('ascii')), [Write(1, huge), SEND_DONE])], connected())


def test_commas_and_brackets_inside_a_text_are_no_members():
    table = u'a,"b",[c],{d},"\\",e\r\n' * 50000
    with Within(3):
        play([(ask('send', data=table), [Write(1, table.encode('ascii')), SEND_DONE])], connected())


if not ws2s.PY2:  # tracemalloc came with 3.4
    import tracemalloc

    def peak(raw):
        """The most memory that a request takes, in sizes of its text."""
        dialect = connected()
        tracemalloc.start()
        try:
            acted(dialect, text(raw))
            return tracemalloc.get_traced_memory()[1] / float(len(raw))
        finally:
            tracemalloc.stop()

    @pytest.mark.parametrize('head, middle, tail', [
        (u'[', u'[],', u'[]]'),
        (u'{"command": "foo", "x": [', u'"",', u'""]}'),
        (u'{"command": "send", "data": "', u'\\n', u'"}'),
        (u'{"command": "send", "data": "' + u',' * 20000, u'\\n', u'"}'),
        (u'{"command": "send", "data": "', u'a,', u'"}'),
        (u'{"command": "sendb", "data": "', u'AAAA', u'"}'),
    ], ids=['array of arrays', 'array of texts', 'escapes', 'commas and escapes', 'commas', 'base64'])
    def test_a_request_takes_no_more_than_a_few_times_its_size(head, middle, tail):
        assert peak(head + middle * (MILLION // len(middle)) + tail) < 8


# --- Long requests --------------------------------------------------------------------------------

LONG_TEXTS = {
    'plain': u'x', 'escapes': u'\n', 'quotes': u'"', 'backslashes': u'\\', 'umlauts': u'\xe4', 'euros': u'\u20ac',
    'beyond the first plane': u'\U0001f600', 'mixed': u'a"\\\xe4\u20ac\U0001f600\n\x01/'}


@pytest.mark.parametrize('is_ascii', [True, False], ids=['escaped', 'as it is'])
@pytest.mark.parametrize('order', ['command first', 'data first'])
@pytest.mark.parametrize('content', sorted(LONG_TEXTS.values()), ids=sorted(LONG_TEXTS, key=LONG_TEXTS.get))
def test_long_send_means_the_same_wherever_its_parts_end(content, order, is_ascii):
    for shift in range(13):
        data = u'a' * shift + content * (3 * ws2s.PART_BYTES // len(content.encode('utf-8')))
        fields = [('command', 'send'), ('data', data)]
        raw = json.dumps(collections.OrderedDict(fields if order == 'command first' else fields[::-1]),
                         ensure_ascii=is_ascii)
        play([(text(raw), [Write(1, data.encode('utf-8')), SEND_DONE])], connected())


@pytest.mark.parametrize('escaped', [False, True])
@pytest.mark.parametrize('size', list(range(60000, 60007)) + [98304 + step for step in range(-4, 5)])
def test_long_sendb_means_the_same_wherever_its_parts_end(size, escaped):
    data = os.urandom(size)
    coded = base64.b64encode(data).decode('ascii')
    coded = coded.replace('/', '\\/') if escaped else coded  # as PHP writes it
    for raw in (u'{"command": "sendb", "data": "%s"}', u' { "data":"%s" , "command":"sendb", "x": [1] } '):
        play([(text(raw % coded), [Write(1, data), SENDB_DONE])], connected())


@pytest.mark.parametrize('place', [10, ws2s.PART_BYTES, 100000])
@pytest.mark.parametrize('stray', [u'=', u'====', u'!', u' ', u'\xe4'])
def test_long_sendb_with_strays_is_refused_and_writes_nothing(stray, place):
    coded = u'A' * place + stray + u'A' * (200000 - place - len(stray))
    play([(ask('sendb', data=coded), [BAD]), (ask('ping'), [PING_DONE])], connected())


def test_half_a_surrogate_pair_in_a_long_send_is_refused_wherever_it_stands():
    for place in list(range(ws2s.PART_BYTES - 40, ws2s.PART_BYTES + 8)) + [100000]:
        raw = u'{"command": "send", "data": "%s\\ud83dx%s"}' % (u'x' * place, u'y' * 70000)
        play([(text(raw), [BAD])], connected())


def test_long_request_without_a_connection_is_told_so():
    play([(ask('send', data='x' * 100000), [NOTHING]), (ask('sendb', data='AAAA' * 50000), [NOTHING])])


def test_long_request_waits_for_the_connect_in_its_order():
    dialect = play([(connect(), [opens(1)]), (ask('ping'), [])])
    assert acted(dialect, ask('send', data='x' * 100000)) == [] and dialect.backlog > 100000
    play([(ask('ping'), []), (opened(1), [CONNECT_DONE, PING_DONE] + [Write(1, b'x' * size) for size in (
        ws2s.PART_BYTES, 100000 - ws2s.PART_BYTES)] + [SEND_DONE, PING_DONE, Carry(1)])], dialect)
    assert dialect.backlog == 0


def test_while_a_long_request_is_understood_what_it_holds_counts():
    dialect = connected()
    dialect.on_long_text(bytearray(ask('send', data='x' * 1000000)[1].encode('ascii')))
    while dialect.is_behind:
        assert dialect.backlog >= 1000000
        dialect.on_turn()
    assert dialect.backlog == 0


def test_target_that_closes_while_a_long_send_is_understood_is_told_before_it():
    dialect = connected()
    dialect.on_long_text(bytearray(ask('send', data='x' * 200000)[1].encode('ascii')))
    play([(closed(1), [Fails(5, 'closed'), NOTHING])], dialect)


def test_what_has_waited_is_carried_out_some_at_a_time():
    dialect = play([(connect(), [opens(1)])] + [(ask('ping'), [])] * 100)
    turns = [dialect.on_opened(1)]
    while dialect.is_behind:
        turns.append(dialect.on_turn())
    assert sum(turns, []) == [CONNECT_DONE] + [PING_DONE] * 100 + [Carry(1)]
    assert len(turns) > 5 and max(map(len, turns)) <= ws2s.REQUESTS + 1


# --- Random conversations against a model ---------------------------------------------------------

BAD_CONNECT, ACK, NONSENSE = connect(port=0), ask('ack', bytes=1), text(u'nonsense')
PIECE, MESSAGE = binary(b'x', False), binary(b'x')
REQUESTS = [CONNECT, CONNECT, SEND, SEND, BAD_CONNECT, CLOSE, PING, ACK, NONSENSE]
OUTCOMES = {'on_opened': ('open', CONNECT_DONE), 'on_failed': ('free', REFUSED),
            'on_closed': ('free', CLOSED)}


class Model(object):
    """What the contract says, in the fewest words: a queue of requests that stops while connecting."""

    def __init__(self):
        self.channel, self.state, self.waiting, self.lost = 0, 'free', [], False

    def take(self, event):
        self.waiting.append(event)
        return self.go_on()

    def settle(self, event):
        self.state, said = OUTCOMES[event[0]]
        actions = [said] + self.go_on()
        return actions + [Carry(self.channel)] if event[0] == 'on_opened' and self.state == 'open' else actions

    def go_on(self):
        actions = []
        while self.waiting and self.state != 'pending':
            actions += self.carry_out(self.waiting.pop(0))
        return actions

    def carry_out(self, event):
        if event in (PIECE, MESSAGE):
            return self.pass_on(event)
        if event in (CONNECT, BAD_CONNECT, CLOSE):
            return self.shut() + {BAD_CONNECT: [BAD], CLOSE: [CLOSE_DONE]}.get(event, []) + self.open(event)
        if event == SEND:
            return [Write(self.channel, b'x'), SEND_DONE] if self.state == 'open' else [NOTHING]
        if event == ACK:
            return [Grant(self.channel, 1)] if self.state == 'open' else []
        return {PING: [PING_DONE], NONSENSE: [BAD]}[event]

    def shut(self):
        was, self.state = self.state, 'free'
        return [Shut(self.channel)] if was == 'open' else []

    def open(self, event):
        if event != CONNECT:
            return []
        self.state, self.channel = 'pending', self.channel + 1
        return [opens(self.channel)]

    def pass_on(self, event):
        lost = self.lost or self.state != 'open'
        self.lost = lost and event == PIECE
        if lost:
            return [NOTHING] if event == MESSAGE else []
        return [Write(self.channel, b'x')]


def random_events(dice, model, requests):
    """Requests, pieces of binary messages in a row, and in between what the world may answer just then."""
    answers = {'pending': [opened, failed], 'open': [closed], 'free': []}
    event = None
    for _ in range(80):
        if answers[model.state] and dice.random() < 0.3:
            yield dice.choice(answers[model.state])(model.channel)
        else:
            event = dice.choice([PIECE, MESSAGE] if event == PIECE else requests)
            yield event


def played_against_the_model(seed, requests):
    """Triples (event, actions, model) of a conversation in which all was as the model says."""
    model, dialect = Model(), new_dialect()
    for event in random_events(random.Random(seed), model, requests):
        expected = model.settle(event) if event[0] in OUTCOMES else model.take(event)
        actions = acted(dialect, event)
        assert len(actions) == len(expected), (event, actions, expected)
        assert all(map(is_as_wanted, actions, expected)), (event, actions, expected)
        assert (dialect.backlog == 0) == (not model.waiting)
        yield event, actions, model


@pytest.mark.parametrize('seed', range(150))
def test_random_conversation_is_as_the_model_says(seed):
    assert len(list(played_against_the_model(seed, REQUESTS + [PIECE, MESSAGE]))) == 80


@pytest.mark.parametrize('seed', range(150))
def test_each_request_of_a_random_conversation_gets_exactly_one_reply(seed):
    unanswered = 0
    for event, actions, model in played_against_the_model(seed, REQUESTS):
        replies = [each for each in actions if isinstance(each, Send) and b'"code": 5' not in each.payload]
        unanswered += (event in REQUESTS and event != ACK) - len(replies)
        assert unanswered == (model.state == 'pending') + sum(each != ACK for each in model.waiting)
