# -*- coding: utf-8 -*-
"""Room 6: which addresses may be dialled, which pages may connect (security S01, S02, S04)."""
import io
import json
import os
import re
import socket

import pytest

import ws2s
from ws2s import DEFAULTS, HttpError, Judge, Request, Resolver, TargetRules, address_group, check_origin, packed_address

DATA = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), 'data')


def verdict(address, host=None, port=80, own=False, own_port=False, local=False, allow=(), deny=()):
    """What the rules say of ``address``, to which ``host`` has resolved."""
    config = DEFAULTS.replace({'allowConnectToServerLocal': local, 'allowTargets': allow,
                               'denyTargets': deny})
    return TargetRules(config).judge(host or address, port, packed_address(address), own, own_port)


# --- Addresses of this machine --------------------------------------------------------------------

PLAIN_LOCAL = ['127.0.0.1', '127.0.0.2', '127.255.255.255', '0.0.0.0', '0.1.2.3', '::', '::1',
               '::ffff:127.0.0.1',
               '::ffff:0.0.0.0']
CARRIED_LOCAL = ['::127.0.0.1', '::ffff:0:127.0.0.1', '64:ff9b::7f00:1', '64:ff9b::', '64:ff9b::7fff:ffff',
                 '2002:7f00:1::', '2002:7f00:1:2:3:4:5:6', '2002::1', '::ffff:127.8.9.1']


@pytest.mark.parametrize('address', PLAIN_LOCAL + CARRIED_LOCAL)
@pytest.mark.parametrize('host', ['localhost', 'innocent.example', '127.1', '0x7f.1',
                                  u'\u2460\u2461\u2466.0.0.1'])
def test_loopback_and_unspecified_are_refused_whatever_the_name_was(address, host):
    judged = verdict(address, host)
    assert (judged.allowed, judged.setting) == (False, 'allowConnectToServerLocal')


@pytest.mark.parametrize('address', PLAIN_LOCAL)
def test_loopback_is_allowed_with_allow_connect_to_server_local(address):
    assert verdict(address, local=True).allowed


@pytest.mark.parametrize('address', PLAIN_LOCAL + CARRIED_LOCAL)
@pytest.mark.parametrize('rule', ['*', '0.0.0.0/0', '::/0', '127.0.0.0/8', 'localhost'])
def test_no_allow_rule_opens_loopback(address, rule):
    assert not verdict(address, 'localhost', allow=[rule]).allowed


def test_own_address_is_this_machine():
    assert verdict('192.168.1.10', own=True).setting == 'allowConnectToServerLocal'
    assert verdict('192.168.1.10', own=True, local=True).allowed
    assert verdict('192.168.1.10').allowed


@pytest.mark.parametrize('allow', [(), ['127.0.0.1'], ['*'], ['192.168.1.10:3613']], ids=repr)
@pytest.mark.parametrize('address, own', [('127.0.0.1', False), ('::1', False), ('0.0.0.0', False),
                                          ('127.3.2.1', False), ('::ffff:127.0.0.1', False),
                                          ('64:ff9b::7f00:1', False), ('192.168.1.10', True),
                                          ('203.0.113.7', True)])
@pytest.mark.parametrize('local', [True, False])
def test_own_port_is_refused_even_with_allow_connect_to_server_local(address, own, allow, local):
    assert not verdict(address, own=own, own_port=True, port=3613, local=local, allow=allow).allowed


def test_the_same_port_of_another_machine_is_not_our_own():
    assert verdict('192.168.1.11', own_port=True, port=3613).allowed


# --- Addresses that lead nowhere good -------------------------------------------------------------

# Each with a rule that names it.
SPECIAL = [
    ('169.254.169.254', '169.254.169.254'), ('169.254.0.1', '169.254.0.0/16'),
    ('169.254.170.2', '169.254.170.2:80'), ('fe80::1', 'fe80::/10'), ('febf::1', '[febf::1]:80'),
    ('fec0::1', 'fec0::1'), ('feff::1', 'fec0::/10'), ('224.0.0.1', '224.0.0.0/4'),
    ('239.255.255.255', '239.255.255.255'), ('ff02::1', 'ff00::/8'), ('ff0e::1', 'ff0e::1'),
    ('255.255.255.255', '255.255.255.255'), ('240.0.0.1', '240.0.0.0/4'), ('168.63.129.16', '168.63.129.16'),
    ('100.100.100.200', '100.100.100.200'), ('fd00:ec2::254', 'fd00:ec2::254'), ('2001::1', '2001::/32'),
    ('192.0.0.192', '192.0.0.192'), ('100.96.0.96', '100.96.0.96'), ('169.254.42.42', '169.254.42.42'),
    ('fd00:ec2::23', 'fd00:ec2::/32'), ('fd00:ec2::253', 'fd00:ec2::253'), ('fd00:ec2:1::1', 'fd00:ec2:1::/48'),
    ('fd20:ce::254', 'fd20:ce::254'), ('fd00:c1::a9fe:a9fe', 'fd00:c1::a9fe:a9fe'), ('fd00:42::42', 'fd00:42::42'),
    ('fd00:a9fe:a9fe::1', 'fd00:a9fe:a9fe::1'), ('fd00:100::100:200', 'fd00:100::100:200'),
    ('fd00:b1c:100d:5afe:ce::', 'fd00:b1c:100d:5afe:ce::'), ('fe80::a9fe:a9fe', 'fe80::a9fe:a9fe'),
    ('2001:0:7f00:1::', '2001:0:7f00:1::'), ('64:ff9b:1::7f00:1', '64:ff9b:1::/48'),
    # An IPv4 address is carried inside: the rule names that.
    ('::ffff:169.254.169.254', '169.254.169.254'), ('::169.254.169.254', '169.254.169.254'),
    ('64:ff9b::a9fe:a9fe', '169.254.169.254'),
    ('::ffff:255.255.255.255', '255.255.255.255'), ('64:ff9b::a83f:8110', '168.63.129.16'),
]
SPECIAL_ADDRESSES = [address for address, _ in SPECIAL]


@pytest.mark.parametrize('address', SPECIAL_ADDRESSES)
@pytest.mark.parametrize('local', [True, False])
def test_special_address_is_refused(address, local):
    assert not verdict(address, 'innocent.example', local=local).allowed


@pytest.mark.parametrize('address', SPECIAL_ADDRESSES)
@pytest.mark.parametrize('allow', [
    ['*'], ['0.0.0.0/0', '::/0'], ['*:80', '0.0.0.0/0:80'], ['innocent.example'], ['10.0.0.0/8'],
    ['160.0.0.0/3', 'c000::/2', '192.0.0.0/2', '0::/1'], ['100.64.0.0/10', 'fc00::/7', 'fd00::/8'],
], ids=repr)
def test_a_rule_for_everything_does_not_open_a_special_address(address, allow):
    assert not verdict(address, 'innocent.example', local=True, allow=allow).allowed


@pytest.mark.parametrize('address, rule', SPECIAL)
def test_a_rule_that_names_a_special_address_opens_it(address, rule):
    assert verdict(address, 'innocent.example', allow=[rule]).allowed


@pytest.mark.parametrize('address, rule', SPECIAL)
def test_deny_wins_over_the_rule_that_names_a_special_address(address, rule):
    assert verdict(address, 'innocent.example', allow=[rule], deny=[rule]).setting == 'denyTargets'


def test_a_rule_that_names_a_special_address_opens_its_ports_only():
    assert verdict('169.254.0.9', port=80, allow=['169.254.0.0/16:80']).allowed
    assert not verdict('169.254.0.9', port=81, allow=['169.254.0.0/16:80']).allowed
    assert not verdict('169.254.0.9', port=81, allow=['169.254.0.0/16:80', '*']).allowed


@pytest.mark.parametrize('address', [
    '10.0.0.1', '172.16.0.1', '192.168.1.1', '100.64.0.1', 'fd12:3456::1', '::ffff:10.0.0.1',
    '64:ff9b::a00:1', '1.1.1.1', '93.184.216.34', '2606:4700::1111', '2002:808:808::1', '64:ff9b::808:808',
    '::ffff:8.8.8.8',
    # neighbours of what is refused
    '1.0.0.0', '126.255.255.255', '128.0.0.0', '169.253.255.255', '169.255.0.0', '223.255.255.255',
    '168.63.129.17', '100.100.100.201', '2001:1::1', '2003::7f00:1', '64:ff9b:2::1', 'fd00:ec1::254',
    'fd00:ec3::254', 'fd20:ce::253', 'fd00:c1::1', 'fd00:42::43', 'fd00:a9fe:a9fe::2', 'fd00:100::100:201',
    'fd00:b1c:100d:5afe:ce::1', 'fd00::1', '100.96.0.97', '192.0.0.193',
])
def test_private_and_public_addresses_are_allowed(address):
    assert verdict(address).allowed


# --- allowTargets and denyTargets -----------------------------------------------------------------

def pairs(rows):
    """(rule, what it covers) and (rule, what it does not cover), one by one."""
    return ([(rule, each) for rule, covered, _ in rows for each in covered.split()],
            [(rule, each) for rule, _, others in rows for each in others.split()])


NAME_COVERED, NAME_OTHER = pairs([
    ('db.example', 'db.example DB.Example.', 'db.example.evil evil-db.example x.db.example 10.0.0.1 example'),
    ('DB.Example.', 'db.example', 'x.db.example'),
    ('*.example.com', 'db.example.com a.b.example.com', 'example.com evil-example.com db.example.com.evil'),
    ('db?.lan', 'db7.lan', 'db.lan db77.lan 10.0.0.1'),
    ('*', 'db.example 10.0.0.1', ''),
    ('*:80', 'db.example', ''),
    ('db.example:79,80-81', 'db.example', 'x.example'),
    ('db.example:81', '', 'db.example'),
])
# An address, or an address and a port with a slash between them.
ADDRESS_COVERED, ADDRESS_OTHER = pairs([
    ('10.0.0.1', '10.0.0.1 10.0.0.1/1', '10.0.0.2 2606:4700::1'),
    ('10.0.0.0/8', '10.255.0.1 ::ffff:10.1.2.3 64:ff9b::a01:203', '11.0.0.1 ::ffff:11.0.0.1'),
    ('10.1.2.3/8', '10.255.0.1', '11.0.0.1'),
    ('10.0.0.0/9', '10.127.0.1', '10.128.0.1'),
    ('0.0.0.0/0', '8.8.8.8', '2606:4700::1'),
    ('::/0', '2606:4700::1', ''),
    ('2001:db8::/32', '2001:db8:ffff::1', '2001:db9::1'),
    ('10.0.0.0/8:80,6000-6999', '10.0.0.1 10.0.0.1/6000 10.0.0.1/6999',
     '10.0.0.1/5999 10.0.0.1/7000 11.0.0.1'),
    ('[2001:db8::1]:443', '2001:db8::1/443', '2001:db8::1 2001:db8::2/443'),
])


def verdict_on_place(place, **rules):
    address, _, port = place.partition('/')
    return verdict(address, 'innocent.example', int(port or 80), **rules)


@pytest.mark.parametrize('rule, host', NAME_COVERED)
def test_name_rule_covers(rule, host):
    assert verdict('10.0.0.1', host, allow=['x.x', rule]).allowed
    assert not verdict('10.0.0.1', host, deny=['x.x', rule]).allowed
    assert verdict('10.0.0.1', host, allow=[rule, '*'], deny=[rule]).setting == 'denyTargets'


@pytest.mark.parametrize('rule, host', NAME_OTHER)
def test_name_rule_does_not_cover(rule, host):
    assert verdict('10.0.0.1', host, allow=['x.x', rule]).setting == 'allowTargets'
    assert verdict('10.0.0.1', host, deny=['x.x', rule]).allowed


@pytest.mark.parametrize('rule, place', ADDRESS_COVERED)
def test_address_rule_covers_the_resolved_address(rule, place):
    assert verdict_on_place(place, allow=['x.x', rule]).allowed
    assert not verdict_on_place(place, deny=['x.x', rule]).allowed
    assert verdict_on_place(place, allow=[rule, '*'], deny=[rule]).setting == 'denyTargets'


@pytest.mark.parametrize('rule, place', ADDRESS_OTHER)
def test_address_rule_does_not_cover(rule, place):
    assert verdict_on_place(place, allow=['x.x', rule]).setting == 'allowTargets'
    assert verdict_on_place(place, deny=['x.x', rule]).allowed


# A6: a list that knows only this name means all that leads there.
@pytest.mark.parametrize('rule', ['localhost', 'LocalHost.', 'localhost:80', 'local*'])
@pytest.mark.parametrize('host, address', [
    ('localhost', '127.0.0.1'), ('LOCALHOST.', '::1'), ('foo.localhost', '127.0.0.1'), ('a.b.LocalHost.', '::1'),
    ('foo.localhost', '10.1.2.3'), ('127.0.0.1', '127.0.0.1'), ('127.1', '127.0.0.1'), ('::1', '::1'),
    ('0.0.0.0', '0.0.0.0'), ('::ffff:127.0.0.1', '::ffff:127.0.0.1'), ('alias.example', '127.8.9.1')])
def test_deny_rule_localhost_covers_what_leads_there(rule, host, address):
    assert verdict(address, host, local=True, deny=[rule]).setting == 'denyTargets'
    assert verdict(address, host, local=True).allowed


@pytest.mark.parametrize('host, address', [('db.lan', '10.1.2.3'), ('xlocalhost', '10.1.2.3'),
                                           ('localhost.example', '10.1.2.3'), ('foo-localhost', '10.1.2.3')])
def test_deny_rule_localhost_covers_nothing_else(host, address):
    assert verdict(address, host, local=True, deny=['localhost']).allowed
    assert not verdict('127.0.0.1', 'foo.localhost', local=True, allow=['localhost']).allowed


def test_address_rule_does_not_look_at_names():
    assert verdict('11.0.0.1', '10.0.0.1.example', deny=['10.0.0.0/8']).allowed


# All these spellings are looked up as the same name.
@pytest.mark.parametrize('rule', [u'b\xfccher.example', 'xn--bcher-kva.example', u'B\xdcCHER.Example.',
                                  'XN--BCHER-KVA.EXAMPLE'], ids=repr)
@pytest.mark.parametrize('host', [
    u'b\xfccher.example', u'B\xdcCHER.example', u'bu\u0308cher.example', u'b\xfccher.example.',
    u'b\xfccher\u3002example', u'b\xfccher.example\u3002', u'b\xfccher\uff0eexample\uff61',
    'xn--bcher-kva.example', 'XN--BCHER-KVA.Example.', u'xn--bcher-kva.example\u3002',
    u'\uff42\xfccher.example', u'b\xfc\xadcher.example',
], ids=repr)
def test_deny_rule_finds_every_spelling_of_a_name(rule, host):
    assert not verdict('93.184.216.34', host, deny=[rule]).allowed


@pytest.mark.parametrize('host', [u'evil.example\u3002', u'\uff45vil.example', u'evil\uff61example',
                                  'EVIL.example.',
                                  u'ev\xadil.example', u'evil.example.'], ids=repr)
@pytest.mark.parametrize('rule', ['evil.example', '*.example', 'EVIL.EXAMPLE.', 'evil.*'])
def test_deny_rule_of_plain_letters_finds_every_spelling(rule, host):
    assert not verdict('93.184.216.34', host, deny=[rule]).allowed


@pytest.mark.parametrize('host', ['a' * 64 + '.example', 'a..example', '.example', '.', u'\u0130' * 80,
                                  u'\u2024'],
                         ids=['long label', 'empty label', 'leading dot', 'dot', 'long idn',
                              'one dot leader'])
def test_names_that_cannot_be_encoded_are_judged_and_raise_nothing(host):
    assert verdict('93.184.216.34', host, deny=['evil.example']).allowed
    assert not verdict('93.184.216.34', host, allow=['good.example']).allowed


with io.open(os.path.join(DATA, 'names.json'), encoding='utf-8') as names:
    NAMES = json.load(names)['rows']


def outcome(allow, deny, host, canonical):
    """What becomes of a connect to port 80 of ``host``, whose look-up finds 10.1.2.3 under the ``canonical`` name."""
    try:
        judge = Judge(DEFAULTS.replace({'allowTargets': allow, 'denyTargets': deny}), lambda packed: False)
        host = ws2s.read_host(host)
    except ws2s.ConfigError:
        return 'config'
    except ws2s.RequestError as error:
        return error.failure.reason
    found = ws2s.literal_addresses(host, 80)
    if '%' in host:
        found = [(socket.AF_INET6, (host, 80, 0, 2))]
    addresses, failure = Resolver(None, None, None, judge, None).allowed(
        host, 80, found or [(socket.AF_INET, ('10.1.2.3', 80), canonical or host)])
    assert addresses is None or [len(address) for address in addresses] == [2]
    return failure.reason if failure else 'allowed'


@pytest.mark.parametrize('allow, deny, host, canonical, expected', NAMES, ids=lambda value: '%.40r' % (value,))
def test_what_becomes_of_a_host(allow, deny, host, canonical, expected):
    """A12: never silently another host; one form of a name in rules and dials."""
    assert outcome(allow, deny, host, canonical) == expected


@pytest.mark.parametrize('aliases', [(), ('a.corp.example',), ('a.lan', 'b.corp.example')], ids=repr)
def test_a_look_up_may_tell_any_number_of_names(aliases):
    judge = Judge(DEFAULTS.replace({'denyTargets': ['*.corp.example']}), lambda packed: False)
    found = [(socket.AF_INET, ('10.1.2.3', 80)) + aliases, (socket.AF_INET, ('10.1.2.4', 80))]
    addresses, failure = Resolver(None, None, None, judge, None).allowed(u'a', 80, found)
    assert (addresses, failure) == ([pair[:2] for pair in found if len(pair) == 2], None)


def test_why_names_the_rule_that_decided():
    assert 'evil.example:80' in verdict('10.0.0.1', 'evil.example', deny=['x', 'evil.example:80']).why
    assert 'db.example' in verdict('10.0.0.1', 'db.example', allow=['x', 'db.example']).why
    assert verdict('10.0.0.1', 'evil.example', allow=['x']).setting == 'allowTargets'


# --- Verdicts that are remembered -----------------------------------------------------------------

RULES = {
    'nothing': {},
    'local': {'allowConnectToServerLocal': True},
    'allow': {'allowTargets': ['*.lan:80', '10.0.0.0/8', '169.254.169.254']},
    'deny': {'denyTargets': ['b.lan', '10.0.0.0/8:1-100'], 'allowConnectToServerLocal': True},
}
CASES = [(host, port, packed_address(address), own, own_port)
         for host in ('a.lan', 'A.LAN', 'b.lan.', '10.1.2.3', u'caf\xe9.lan') for port in (80, 81, 6379)
         for address in ('127.0.0.1', '10.1.2.3', '192.0.2.7', '169.254.169.254', '224.0.0.1', '::1', 'fe80::1',
                         '2001:db8::1', '::ffff:10.1.2.3', '64:ff9b::a01:203', '2002:a01:203::', '::ffff:127.0.0.1')
         for own in (False, True) for own_port in (False, True)]


def rules(name):
    return TargetRules(DEFAULTS.replace(RULES[name]))


@pytest.mark.parametrize('name', sorted(RULES))
def test_what_was_asked_before_changes_no_verdict(dice, name):
    judging, cases = rules(name), list(CASES)
    at_first = dict((case, rules(name).judge(*case)) for case in cases)
    for _ in range(2):
        dice.shuffle(cases)
        assert [case for case in cases if judging.judge(*case) != at_first[case]] == []


def test_cases_that_differ_in_one_thing_are_not_mixed_up():
    judging = rules('deny')
    case = ('a.lan', 80, packed_address('192.0.2.7'), False, False)
    others = [('b.lan',) + case[1:], case[:2] + (packed_address('10.1.2.3'),) + case[3:], case[:3] + (True, True)]
    assert judging.judge(*case).allowed
    for other in others:
        assert not judging.judge(*other).allowed
        assert judging.judge(*case).allowed
    assert judging.judge('a.lan', 101, packed_address('10.1.2.3')).allowed
    assert not judging.judge('a.lan', 100, packed_address('10.1.2.3')).allowed


def test_other_rules_remember_nothing_of_earlier_ones():
    case = ('a.lan', 80, packed_address('10.1.2.3'))
    assert rules('allow').judge(*case).allowed and not rules('deny').judge(*case).allowed


def test_verdict_is_found_once_and_remembered(monkeypatch):
    judging, asked = rules('allow'), []
    monkeypatch.setattr(ws2s, 'canonical_name', lambda host: asked.append(host) or host)
    for _ in range(3):
        for case in CASES[:5]:
            judging.judge(*case)
    assert len(asked) == 5


@pytest.mark.parametrize('most', [1, 2, 10, ws2s.VERDICTS])
def test_no_more_verdicts_are_remembered_than_may_be(monkeypatch, most):
    monkeypatch.setattr(ws2s, 'VERDICTS', most)
    judging, packed = rules('allow'), packed_address('192.0.2.7')
    for number in range(2 * most + 10):
        for _ in range(2):
            assert judging.judge('n%d.lan' % number, 80 + number % 2, packed).allowed == (number % 2 == 0)
        assert 1 <= len(judging._verdicts) <= most


# --- Origin and Host ------------------------------------------------------------------------------

APP = {'allowedOrigins': ['https://x.example', 'https://app.example']}
NAMED = {'allowedHosts': ['gw.example']}
HTTPS = {'allowedHosts': ['https://gw.example', 'https://192.168.1.5', 'https://[2001:db8::5]']}
EXTENSION = {'allowedOrigins': ['chrome-extension://abcdef']}
STAR = {'allowedOrigins': ['*']}
LAN, NAME = '192.168.1.5:3613', 'gw.example:3613'

# Settings, the Host, origins that may connect, origins that may not.
PAGES = [
    # Not a browser.
    ({}, LAN, [None], []),
    ({}, 'evil.example', [None], []),
    (APP, 'evil.example', [None], []),
    # Loopback pages, and what only looks like one.
    ({}, LAN, ['http://localhost', 'http://localhost:8080', 'https://localhost:8443', 'http://127.0.0.1:9',
               'http://127.8.9.1', 'http://[::1]:3000', 'http://app.localhost:3000', 'https://a.b-c.LOCALHOST',
               'http://localhost.:3613', 'http://app.localhost.'],
     ['ws://localhost', 'ftp://app.localhost', 'http://localhost..', 'http://.localhost', 'http://a..localhost',
      'http://app.localhost.evil.com', 'http://xlocalhost', 'http://app-localhost', 'http://127.1', 'http://2130706433',
      'http://[::ffff:127.0.0.1]', 'http://localhost.evil.com', 'http://127.0.0.1.evil.com', 'http://notlocalhost',
      'http://evil.com:localhost',
      'http://localhost@evil.com', 'http://localhost:80@evil.com', 'http://[::1].evil.com', 'http://[::1',
      'http://::1', 'http://128.0.0.1', 'http://1.0.0.127']),
    (APP, LAN, ['http://localhost:8080'], []),
    # No origin that could be compared.
    ({}, LAN, [], ['null', '', '*', 'file://', 'https://', '//192.168.1.5:3613', '192.168.1.5:3613']),
    (APP, LAN, [], ['null', '', '*', 'file://', 'https://', 'app.example', '//app.example',
                    'https:app.example']),
    ({'allowedOrigins': ['null']}, LAN, ['null'], ['NULL', '', 'https://evil.example']),
    (STAR, 'evil.example', ['null', 'https://evil.example', 'http://evil.example', 'moz-extension://abcdef'],
     []),
    # Our own pages under an address.
    ({}, LAN, ['http://192.168.1.5:3613'], ['http://192.168.1.6:3613', 'http://192.168.1.5:3614',
                                            'http://192.168.1.5']),
    ({}, '192.168.1.5', ['http://192.168.1.5', 'http://192.168.1.5:80'], ['http://192.168.1.5:443']),
    ({}, '192.168.1.5:80', ['http://192.168.1.5', 'http://192.168.1.5:80'], ['https://192.168.1.5']),
    ({}, '192.168.1.5:443', ['https://192.168.1.5', 'https://192.168.1.5:443'], ['http://192.168.1.5']),
    ({}, '[2001:db8::5]:3613', ['http://[2001:db8::5]:3613'],
     ['http://[2001:db8::6]:3613', 'http://[2001:db8::5]']),
    ({}, None, [], ['http://192.168.1.5:3613']),
    ({}, '', [], ['http://192.168.1.5:3613']),
    ({}, 'user@192.168.1.5:3613', [], ['http://192.168.1.5:3613']),
    ({}, '192.168.1.5:3613/', [], ['http://192.168.1.5:3613']),
    ({}, '192.168.1.5:3613, evil.example', [], ['http://192.168.1.5:3613']),
    # DNS rebinding: Origin and Host agree, but only a known name counts.
    ({}, 'evil.example:3613', [], ['http://evil.example:3613']),
    (NAMED, 'evil.example:3613', [], ['http://evil.example:3613', 'http://gw.example:3613']),
    ({}, NAME, [], ['http://gw.example:3613']),
    (NAMED, NAME, ['http://gw.example:3613'],
     ['http://evil.example:3613', 'http://gw.example', 'http://gw.example:3614']),
    (NAMED, 'GW.Example:3613', ['http://gw.example:3613'], []),
    (NAMED, 'gw.example', ['http://gw.example', 'https://gw.example'],
     ['ws://gw.example', 'wss://gw.example', 'ftp://gw.example', 'http://gw.example.']),
    # A6: a dot at the end of a name changes nothing of whose it is.
    (NAMED, 'gw.example.', ['http://gw.example.', 'https://GW.example.'],
     ['https://gw.example', 'http://gw.example..', 'http://evil.example.', 'http://gw.example.:81']),
    ({'allowedHosts': ['https://gw.example.']}, 'gw.example.:8443', ['https://gw.example.:8443'],
     ['http://gw.example.:8443']),
    ({}, '192.168.1.5', ['https://192.168.1.5'], ['ws://192.168.1.5', 'ftp://192.168.1.5']),
    # A6: the whole tree, whatever the Host says.
    ({}, 'ws2s.localhost:3613', ['http://ws2s.localhost:3613', 'http://WS2S.LocalHost.:3613', 'https://x.y.localhost'],
     ['http://ws2s.localhost.evil:3613', 'http://ws2s.localhost..:3613', 'http://ws2s-localhost:3613',
      'http://ws2s.localhost.localdomain:3613', 'ws://ws2s.localhost:3613']),
    # C6: of a tunnel that rewrites Origin and not Host, and of one that rewrites Host and not Origin.
    ({}, 'name-3613.app.github.dev', ['http://localhost:3613'], ['https://name-3613.app.github.dev']),
    ({}, 'localhost:3613', [], ['https://name-3613.app.github.dev']),
    ({'allowedOrigins': ['https://name-3613.app.github.dev']}, 'localhost:3613',
     ['https://name-3613.app.github.dev'], ['https://name-3614.app.github.dev', 'http://name-3613.app.github.dev']),
    # One address has many spellings.
    ({}, '[2001:DB8:0::5]:3613', ['http://[2001:db8::5]:3613', 'http://[2001:db8:0:0:0:0:0:5]:3613'],
     ['http://[2001:db8::6]:3613']),
    ({'allowedOrigins': ['http://[2001:DB8:0::7]:80']}, LAN, ['http://[2001:db8::7]'], ['http://[2001:db8::7]:81']),
    # A scheme in allowedHosts: behind TLS only pages that came by TLS are our own.
    (HTTPS, 'gw.example', ['https://gw.example', 'HTTPS://GW.example'],
     ['http://gw.example', 'wss://gw.example', 'https://x.gw.example', 'https://gw.example:8443']),
    (HTTPS, 'gw.example:8443', ['https://gw.example:8443'], ['http://gw.example:8443', 'https://gw.example']),
    (HTTPS, '192.168.1.5', ['https://192.168.1.5'], ['http://192.168.1.5']),
    (HTTPS, '192.168.1.6', ['https://192.168.1.6', 'http://192.168.1.6'], []),
    (HTTPS, '[2001:db8::5]', ['https://[2001:db8::5]'], ['http://[2001:db8::5]']),
    ({'allowedHosts': ['https://gw.example', 'gw.example']}, 'gw.example', ['http://gw.example'], []),
    ({'allowedHosts': ['HTTP://GW.example']}, 'gw.example', ['http://gw.example'], ['https://gw.example']),
    (NAMED, 'x.gw.example:3613', [], ['http://x.gw.example:3613']),
    (NAMED, 'gw.example.evil:3613', [], ['http://gw.example.evil:3613']),
    (NAMED, 'evil-gw.example:3613', [], ['http://evil-gw.example:3613']),
    (NAMED, 'gw.example@evil.example', [], ['http://gw.example@evil.example']),
    # allowedOrigins, exactly.
    ({}, LAN, [], ['https://app.example']),
    (APP, 'evil.example', ['https://app.example'], []),
    (APP, LAN, ['https://app.example', 'https://app.example:443', 'HTTPS://APP.EXAMPLE', 'https://x.example'],
     ['http://app.example', 'http://app.example:443', 'https://app.example:80', 'https://app.example:8443',
      'https://evil-app.example', 'https://app.example.evil', 'https://sub.app.example',
      'https://app.example.', 'https://app.example@evil.example', 'https://app.example:443@evil.example',
      'https://evil.example@app.example', 'https://app.example/', 'https://app.example\\.evil',
      'https://app.example%2eevil', 'https://app.example#.evil', 'https://app.example:',
      'https://app.example https://evil.example', 'https://app.example, https://evil.example',
      u'https://\xe0pp.example', 'https://xn--pp-kia.example']),
    ({'allowedOrigins': ['https://app.example:443']}, LAN, ['https://app.example'], ['http://app.example']),
    ({'allowedOrigins': ['http://app.example:80']}, LAN, ['http://app.example'], ['https://app.example']),
    ({'allowedOrigins': ['https://xn--bcher-kva.example']}, LAN, ['https://xn--bcher-kva.example'], []),
    # Extensions.
    ({}, LAN, [], ['chrome-extension://abcdef']),
    (EXTENSION, LAN, ['chrome-extension://abcdef'], ['chrome-extension://abcdeg', 'moz-extension://abcdef']),
    # A5: apps. What one scheme may, no other may; a host is no wildcard.
    ({'allowedOrigins': ['file://']}, LAN, ['file://', 'FILE://', 'file:///'],
     ['null', 'content://', 'file://host', 'file:', 'file:////', 'file://:80', 'http://', '']),
    ({'allowedOrigins': ['app://.']}, LAN, ['app://.', 'APP://.'], ['app://', 'app://..', 'app://x.', 'apps://.']),
    ({'allowedOrigins': ['capacitor://localhost']}, LAN, ['capacitor://localhost', 'Capacitor://LocalHost'],
     ['capacitor://localhost:80', 'ionic://localhost', 'capacitor://localhost.', 'capacitor://x.localhost']),
]
ALLOWED = [(origin, host, changes) for changes, host, allowed, _ in PAGES for origin in allowed]
NOT_ALLOWED = [(origin, host, changes) for changes, host, _, refused in PAGES for origin in refused]


def upgrade(origins, hosts):
    return Request('GET', '/', 'HTTP/1.1', [('host', value) for value in hosts if value is not None] +
                   [('origin', value) for value in origins if value is not None])


@pytest.mark.parametrize('origin, host, changes', ALLOWED)
def test_page_may_connect(origin, host, changes):
    assert refusal(upgrade([origin], [host]), DEFAULTS.replace(changes)) is None


@pytest.mark.parametrize('origin, host, changes', NOT_ALLOWED)
def test_page_may_not_connect(origin, host, changes):
    assert refusal(upgrade([origin], [host]), DEFAULTS.replace(changes)) == 403


@pytest.mark.parametrize('origins, hosts', [
    (['https://app.example', 'https://app.example'], [LAN]),
    (['https://app.example', 'https://evil.example'], [LAN]),
    (['http://192.168.1.5:3613'], [LAN, 'evil.example']), (['http://192.168.1.5:3613'], [LAN, LAN]),
], ids=['same origins', 'two origins', 'two hosts', 'same hosts'])
def test_doubled_header_is_malformed(origins, hosts):
    assert refusal(upgrade(origins, hosts), DEFAULTS.replace(APP)) == 400


APPS = ['file://', 'content://', 'qrc://', 'capacitor://localhost', 'ionic://localhost', 'app://.', 'app://obsidian.md',
        'tauri://localhost', 'chrome-extension://aapbdbdomjkkjkaonfhkkikfgjllcleb', 'capacitor-electron://-',
        'moz-extension://6c1f0f27-9a0e-4f9a-8a4f-0b0a5a3c1d2e', 'safari-web-extension://A1B2-C3',
        'vscode-webview://1hq8kk9o7d3m5c2q', 'vscode-file://vscode-app', 'wails://wails.localhost:34115', 'null']
HELPS = re.compile('"([^"]+)" in the setting (allowedOrigins|allowedHosts) can allow')


def asked(origin, host=LAN):
    return upgrade([origin], [host])


@pytest.mark.parametrize('origin', APPS)
def test_an_app_may_be_listed_and_its_403_names_what_to_type(origin):
    """A5"""
    entry, setting = HELPS.search(ws2s.origin_refusal(asked(origin), DEFAULTS)).groups()
    assert (entry, setting) == (origin, 'allowedOrigins')
    for listed in (origin, entry):
        config = DEFAULTS.replace({'allowedOrigins': [listed]})
        assert ws2s.parse_config(config.as_text()) == config
        assert [other for other in APPS if refusal(asked(other), config) is None] == [origin]


@pytest.mark.parametrize('origin', ['http://tauri.localhost', 'https://tauri.localhost', 'http://wails.localhost:5173'])
def test_an_app_on_a_name_of_this_machine_needs_no_setting(origin):
    """A5, A6"""
    assert refusal(asked(origin), DEFAULTS) is None
    assert DEFAULTS.replace({'allowedOrigins': [origin]})['allowedOrigins']


@pytest.mark.parametrize('origin, host, changes',
                         [row for row in NOT_ALLOWED if row[1] != '192.168.1.5:3613, evil.example'])
def test_what_a_403_names_helps(origin, host, changes):
    """A5: exactly as it must be typed; "*" only where nothing else would do."""
    entry, setting = HELPS.search(ws2s.origin_refusal(asked(origin, host), DEFAULTS.replace(changes))).groups()
    more = dict(changes, **{setting: list(changes.get(setting, [])) + [entry]})
    assert refusal(asked(origin, host), DEFAULTS.replace(more)) is None
    assert entry != '*' or ws2s.read_origin(origin) is None and origin != 'null'


# --- Who may read what the Redis page is offered --------------------------------------------------

def fetched(host, by_tls=False, origin=None):
    request = upgrade([origin], [host])
    request.came_by_tls = by_tls
    return request


OWN_NAME, OWN_HTTPS = {'allowedHosts': ['gw.example']}, {'allowedHosts': ['https://gw.example']}


@pytest.mark.parametrize('by_tls', [False, True])
@pytest.mark.parametrize('host, changes', [
    (LAN, {}), ('127.0.0.1:3613', {}), ('localhost:8080', {}), ('app.localhost', {}), ('[::1]:3613', {}), (None, {}),
    ('[2001:db8::1]', {}), ('gw.example', OWN_NAME), ('GW.example.:3613', OWN_NAME), ('gw.example', OWN_HTTPS),
    ('gw.example', {'allowedOrigins': ['https://gw.example']}), ('gw.example', {'allowedOrigins': ['*']})])
def test_a_page_of_ours_may_read_where_it_may_connect(host, changes, by_tls):
    assert ws2s.reader_refusal(fetched(host, by_tls), DEFAULTS.replace(changes)) is None


@pytest.mark.parametrize('by_tls', [False, True])
@pytest.mark.parametrize('host, changes', [
    ('evil.example', {}), ('evil.example:3613', OWN_NAME), ('gw.example', {}), ('evil.gw.example', OWN_NAME),
    ('gw.example.evil.example', OWN_NAME), ('localhost.evil.example', {}), ('127.0.0.1.evil.example', {}), ('', {}),
    ('gw.example', {'allowedOrigins': ['https://other.example']}), ('gw.example:0', OWN_NAME),
    ('a@gw.example', OWN_NAME)])
def test_a_page_of_a_name_that_somebody_points_at_us_may_not_read(host, changes, by_tls):
    """DNS rebinding: browsers send no Origin with what a page fetches from its own."""
    assert ws2s.reader_refusal(fetched(host, by_tls), DEFAULTS.replace(changes))


def test_a_plain_page_may_not_read_what_came_by_tls():
    config = DEFAULTS.replace({'allowedHosts': ['http://gw.example']})
    assert ws2s.reader_refusal(fetched('gw.example'), config) is None
    assert 'https://gw.example' in ws2s.reader_refusal(fetched('gw.example', by_tls=True), config)


@pytest.mark.parametrize('origin, host, changes', NOT_ALLOWED)
def test_a_page_that_may_not_connect_may_not_read_what_the_redis_page_is_offered(origin, host, changes):
    config = DEFAULTS.replace(changes)
    refused = ws2s.reader_refusal(fetched(host, origin=origin), config)
    assert refused and refused == ws2s.origin_refusal(fetched(host, origin=origin), config)


@pytest.mark.parametrize('host, port, targets, may', [
    ('db.lan', 6379, [], True), ('db.lan', 6379, [['db.lan']], True), ('db.lan', 6379, [['*.lan:6379']], True),
    ('DB.lan.', 6379, [['db.lan']], True), ('db.lan', 6379, [['*'], ['10.0.0.0/8', 'db.lan']], True),
    ('10.0.0.1', 6379, [['db.lan']], True),  # of addresses all is known: they are judged as ever
    ('db.lan', 6380, [['*.lan:6379']], False), ('db.lan', 6379, [['other.lan']], False),
    ('db.lan', 6379, [['10.0.0.0/8']], False), ('db.lan', 6379, [['0.0.0.0/0', 'other.lan']], False),
    ('db.lan', 6379, [['*'], ['10.0.0.0/8']], False), ('db.lan', 6379, [['*'], ['other.lan']], False)])
def test_an_identity_hears_of_a_name_that_its_rules_name(host, port, targets, may):
    rules = tuple(DEFAULTS.replace({'allowTargets': each})['allowTargets'] for each in targets)
    connections = [ws2s.RedisConnection('x', '10.0.0.2'), ws2s.RedisConnection('y', host, port)]
    found = ws2s.connections_for(ws2s.Identity('ann', 'token', rules, False), connections)
    assert found == (connections if may else connections[:1])
    assert ws2s.connections_for(None, connections) == connections


def test_the_redis_page_is_told_all_of_a_connection_and_nothing_else():
    config = DEFAULTS.replace({'redis.connections': [
        {'name': u'\xe9 <b>', 'host': '10.0.0.1', 'tls': True, 'readOnly': True, 'colour': 'red', 'db': 2,
         'master': 'shop'},
        {'name': 'b', 'host': 'b.lan', 'port': 1}]})
    text = ws2s.connections_text(config['redis.connections'], False)
    assert json.loads(text) == {'wantsIdentity': False, 'connections': [
        {'name': u'\xe9 <b>', 'host': '10.0.0.1', 'port': 6379, 'tls': True, 'readOnly': True, 'colour': 'red',
         'db': 2, 'master': 'shop'},
        {'name': 'b', 'host': 'b.lan', 'port': 1, 'db': 0}]}
    assert all(' ' <= character <= '~' for character in text)
    assert json.loads(ws2s.connections_text((), True)) == {'wantsIdentity': True, 'connections': []}


# --- Who may read what /healthz says (B5) ---------------------------------------------------------

@pytest.mark.parametrize('origin, host, changes', [row for row in ALLOWED if row[0] is not None])
def test_page_that_may_connect_may_read(origin, host, changes):
    assert ws2s.headers_for_readers(asked(origin, host), DEFAULTS.replace(changes)) == [
        ('Access-Control-Allow-Origin', origin), ('Vary', 'Origin')]


@pytest.mark.parametrize('origin, host, changes', NOT_ALLOWED + [(None, LAN, {}), (None, LAN, STAR)])
def test_nobody_else_is_told_that_he_may_read(origin, host, changes):
    assert ws2s.headers_for_readers(asked(origin, host), DEFAULTS.replace(changes)) == []


@pytest.mark.parametrize('changes', [{}, APP, STAR], ids=repr)
def test_a_preflight_is_granted_nothing(changes):
    for origin in ('http://localhost', 'https://app.example', 'null'):
        request = Request('OPTIONS', '/healthz', 'HTTP/1.1', asked(origin).headers)
        assert ws2s.headers_for_readers(request, DEFAULTS.replace(changes)) == []


def test_origin_that_is_allowed_on_one_host_is_judged_anew_on_another():
    assert refusal(upgrade(['http://192.168.1.5:3613'], ['192.168.1.5:3613']), DEFAULTS) is None
    assert refusal(upgrade(['http://192.168.1.5:3613'], ['192.168.1.6:3613']), DEFAULTS) == 403


def refusal(request, config):
    """The status with which check_origin() refuses, in one line, or None. A 403 says what helps."""
    try:
        check_origin(request, config)
    except HttpError as error:
        assert error.sentence and '\n' not in error.sentence
        assert error.status != 403 or 'allowedOrigins' in error.sentence or 'allowedHosts' in error.sentence
        return error.status
    return None


# --- One address, in limits -----------------------------------------------------------------------

@pytest.mark.parametrize('one, other', [
    ('192.0.2.1', '192.0.2.1'), ('192.0.2.1', '::ffff:192.0.2.1'),
    ('2001:db8:1:2::1', '2001:db8:1:2:ffff::2'), ('2001:db8:1:2::1', '2001:DB8:1:2:0:0:0:1'),
    ('fe80::1%lo', 'fe80::1'), ('fe80::1%eth0', 'fe80::2%eth1'),
])
def test_counts_as_one_address(one, other):
    assert address_group(one) == address_group(other)


@pytest.mark.parametrize('one, other', [
    ('192.0.2.1', '192.0.2.2'), ('::ffff:192.0.2.1', '::ffff:192.0.2.2'),
    ('2001:db8:1:2::1', '2001:db8:1:3::1'), ('2001:db8::1', '192.0.2.1'), ('::1', '127.0.0.1'),
])
def test_counts_as_two_addresses(one, other):
    assert address_group(one) != address_group(other)


def test_allow_rule_does_not_open_what_lies_behind_a_6to4_router():
    assert not verdict('2002:5db8:d822:1::99', allow=['93.184.216.34']).allowed
    assert not verdict('2002:5db8:d822:1::99', deny=['93.184.216.34']).allowed
