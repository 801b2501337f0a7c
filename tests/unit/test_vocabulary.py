# -*- coding: utf-8 -*-
import json

import pytest

import ws2s

STRANGE = [
    ('plain', u'redis.example:6379', u'redis.example:6379'),
    ('escape', u'a\x1b[31mred', u'a\\x1b[31mred'),
    ('cr-lf', u'a\r\nINFO forged', u'a\\r\\nINFO forged'),
    ('nul-bell-del', u'\0\a\x7f', u'\\x00\\x07\\x7f'),
    ('tab', u'\t', u'\\t'),
    ('c1-control', u'\x85\x9b', u'\\x85\\x9b'),
    ('bidi-override', u'\u202egpj.exe', u'\\u202egpj.exe'),
    ('line-separator', u'\u2028', u'\\u2028'),
    ('letters', u'\xe9\u4e2d', u'\\xe9\\u4e2d'),
    ('beyond-the-bmp', u'\U0001f600', u'\\U0001f600'),
    ('half-a-surrogate-pair', u'\ud800', u'\\ud800'),
    ('backslash', u'a\\nb', u'a\\\\nb'),
    ('bytes', b'a\r\n\xff', u'a\\r\\n\\xff'),
    ('empty', u'', u''),
]


@pytest.mark.parametrize('text, shown', [row[1:] for row in STRANGE], ids=[row[0] for row in STRANGE])
def test_printable_escapes_all_but_printable_ascii(text, shown):
    assert ws2s.printable(text) == shown


def test_printable_gives_printable_ascii_for_every_character_of_the_bmp():
    for number in range(0x10000):
        character = json.loads('"\\u%04x"' % number)
        assert all(u' ' <= letter <= u'~' for letter in ws2s.printable(character)), number


def test_printable_is_bounded():
    assert len(ws2s.printable(u'x' * 10 ** 6)) <= 500
    assert len(ws2s.printable(u'\U0001f600' * 10 ** 6)) <= 10 * 500


@pytest.mark.parametrize('host, port, text', [
    ('127.0.0.1', 80, '127.0.0.1:80'), ('redis.example', 6379, 'redis.example:6379'), ('::1', 80, '[::1]:80'),
    ('fe80::1%lo', 22, '[fe80::1%lo]:22'), (u'h\xe9', 1, u'h\xe9:1')])
def test_with_port_brackets_ipv6_only(host, port, text):
    assert ws2s.with_port(host, port) == text


# The table of replies in the wire contract.
CODES = {'bad-request': 1, 'dns': 1, 'timeout': 1, 'unreachable': 1, 'limit': 1, 'internal': 1, 'tls': 1, 'refused': 2,
         'not-connected': 3, 'forbidden': 4, 'closed': 5, 'reset': 5, 'idle': 5, 'finished': 5, 'ssh-auth': 6,
         'ssh-hostkey': 6, 'ssh-unreachable': 6, 'ssh-timeout': 6, 'ssh-disabled': 6, 'ssh-missing': 6, 'ssh-failed': 6}


def test_each_failure_has_the_code_of_the_contract():
    failures = [value for value in vars(ws2s).values() if isinstance(value, ws2s.Failure)]
    failures += [ws2s.forbidden('denyTargets'), ws2s.RequestError('the request is not JSON').failure]
    assert dict((failure.reason, failure.code) for failure in failures) == CODES


def test_forbidden_names_the_setting_that_decides():
    assert 'denyTargets' in ws2s.forbidden('denyTargets').message


def test_forbidden_has_words_that_are_for_the_operator_alone():
    failure = ws2s.forbidden('denyTargets', 'denied by denyTargets "10.0.0.0/8"')
    assert failure.why == 'denied by denyTargets "10.0.0.0/8"'
    assert failure.message == ws2s.forbidden('denyTargets').message and '10.0.0.0' not in failure.message


def test_failures_have_no_words_for_the_operator_but_where_ports_are_used_up():
    failures = [value for value in vars(ws2s).values() if isinstance(value, ws2s.Failure)]
    assert [failure for failure in failures + [ws2s.Failure(1, 'x', 'y'), ws2s.RequestError('no').failure]
            if failure.why != ''] == [ws2s.NO_PORT]


def test_remote_mistakes_carry_what_the_peer_is_told():
    refusal = ws2s.HttpError(405, 'Only GET.', [('Allow', 'GET')])
    assert (refusal.status, refusal.sentence, refusal.headers) == (405, 'Only GET.', (('Allow', 'GET'),))
    fault = ws2s.WebSocketError(1002, 'reserved opcode')
    assert (fault.code, fault.reason) == (1002, 'reserved opcode')
    for error in (refusal, fault, ws2s.RequestError('no')):
        assert isinstance(error, ws2s.RemoteError)


def test_all_errors_have_one_root():
    for error in (ws2s.ConfigError, ws2s.ServeError, ws2s.RemoteError):
        assert issubclass(error, ws2s.Ws2sError)
    for mistake_of_our_side in (ws2s.ConfigError, ws2s.ServeError):
        assert not issubclass(mistake_of_our_side, ws2s.RemoteError)
