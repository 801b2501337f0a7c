# -*- coding: utf-8 -*-
"""Where a client may be taken, with services listening where it may not (security S01, S02, S22; protocol, 5)."""

import encodings.idna
import io
import json
import os
import socket
import struct
import subprocess
import sys

import pytest

import ws2s
from canary import LOCAL, OWN, Names, canary, needs_own_address
from raw_client import TEXT, RawClient, frame
from targets import closed_port, echo, serving, serving_together

FORBIDDEN = (4, 'forbidden')
REFUSED = (2, 'refused')
CONNECTED = (0, None)
CLEAN_ERRORS = ((1, 'bad-request'), (1, 'dns'), (1, 'timeout'))


def verdict(gateway, host, port):
    """(code, reason) of a connect."""
    with RawClient(gateway.address) as client:
        reply = client.open().ask(command='connect', host=host, port=port)
        assert client.ask(command='ping')['success']
        return reply['code'], reply.get('reason')


# -- this machine ------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize('host', [
    '127.0.0.1', '127.1', '2130706433', 'localhost', '0.0.0.0', '::1', '::ffff:127.0.0.1'])
def test_such_spellings_lead_here_when_that_is_allowed(gateway, host):
    with serving_together([(host, echo) for host in LOCAL]) as port:
        assert verdict(gateway, host, port) == CONNECTED


@needs_own_address
def test_an_address_of_this_machine_is_this_machine(running_gateway):
    strict, lenient = running_gateway({'allowConnectToServerLocal': False}), running_gateway()
    for host in (OWN, '::ffff:' + OWN, '[::ffff:%s]' % OWN):
        with canary([OWN]) as port:
            assert verdict(strict, host, port) == FORBIDDEN
        with serving(echo, host=OWN) as port:
            assert verdict(lenient, host, port) == CONNECTED


@pytest.mark.parametrize('host', [
    '127.0.0.1', 'localhost', '127.1', '0x7f.1', '0', '0.0.0.0', '::1', '::', '::ffff:127.0.0.1', '127.0.0.2',
    'name.test', pytest.param(OWN, marks=needs_own_address, id='own address')])
@pytest.mark.parametrize('rules', [{}, {'allowTargets': ['*', '127.0.0.0/8', '::/0', '0.0.0.0/0']}], ids=['', 'named'])
def test_the_port_of_the_gateway_itself_is_never_dialled(running_gateway, host, rules):
    parameters = {'resolve': Names(['127.0.0.1'])} if host == 'name.test' else {}
    gateway = running_gateway(rules, **parameters)
    with RawClient(gateway.address) as client:
        reply = client.open().ask(command='connect', host=host, port=gateway.address[1])
        assert (reply['code'], reply['reason']) == FORBIDDEN
        assert len(gateway.clients) == 1


# -- names that stand for more than one address, or for another each time ----------------------------------------------

@needs_own_address
@pytest.mark.parametrize('host', ['127.0.0.1', '127.0.0.2', '::ffff:127.0.0.1', 'localhost'])
def test_the_port_of_each_listener_is_the_gateways_own(running_gateway, host):
    socks = [sock for _ in range(3) for sock in ws2s.bound_sockets('127.0.0.1', 0)]
    ports = [sock.getsockname()[1] for sock in socks]
    gateway = running_gateway(socks=socks)
    assert len(set(ports)) == 3
    for port in ports:
        assert verdict(gateway, host, port) == FORBIDDEN
        with RawClient(('127.0.0.1', port)) as client:
            assert client.open().ask(command='ping')['success']


@pytest.mark.parametrize('answer', [[OWN, '127.0.0.1'], ['127.0.0.1', OWN], ['::1', '127.0.0.2', OWN]], ids=repr)
def test_of_a_mixed_answer_only_what_is_allowed_is_dialled(running_gateway, answer):
    """The machine's own address plays the public one: this gateway is told that it owns none."""
    names = Names(answer, ['127.0.0.1'])
    gateway = running_gateway({'allowConnectToServerLocal': False}, resolve=names, owns=lambda packed: False)
    with canary(['127.0.0.1', '127.0.0.2'], [OWN]) as port:
        assert verdict(gateway, 'rebinding.test', port) == CONNECTED
        assert names.asked == 1
        assert verdict(gateway, 'rebinding.test', port) == FORBIDDEN
        assert names.asked == 2
    with canary(['127.0.0.1']) as port:
        assert verdict(gateway, 'rebinding.test', port) == FORBIDDEN


@pytest.mark.parametrize('answer', [['127.0.0.2', '127.0.0.3'], ['127.0.0.3', '127.0.0.2']], ids=repr)
@pytest.mark.parametrize('is_there, expected', [(True, CONNECTED), (False, REFUSED)], ids=['up', 'down'])
def test_a_denied_address_is_not_dialled_even_when_the_others_fail(running_gateway, answer, is_there, expected):
    names = Names(answer)
    gateway = running_gateway({'denyTargets': ['127.0.0.3']}, resolve=names)
    with canary(['127.0.0.3'], ['127.0.0.2'] * is_there) as port:
        assert verdict(gateway, 'mixed.test', port) == expected
    assert names.asked == 1


def test_an_answer_that_changes_is_judged_each_time(running_gateway):
    names = Names(['127.0.0.2'], ['127.0.0.3'], ['127.0.0.2'])
    gateway = running_gateway({'denyTargets': ['127.0.0.3']}, resolve=names)
    with canary(['127.0.0.3'], ['127.0.0.2']) as port:
        assert [verdict(gateway, 'changing.test', port) for _ in range(3)] == [CONNECTED, FORBIDDEN, CONNECTED]
    assert names.asked == 3


@pytest.mark.parametrize('answer, expected', [
    (['127.0.0.2', '127.0.0.1'], CONNECTED), (['127.0.0.2', '127.0.0.3', '127.0.0.4', '127.0.0.1'], CONNECTED),
    (['::1', '127.0.0.1'], CONNECTED), (['127.0.0.2', '127.0.0.3'], REFUSED), ([], (1, 'dns')),
], ids=['second', 'fourth', 'IPv4 after IPv6', 'none answers', 'no address'])
def test_the_addresses_of_a_name_are_tried_in_turn(running_gateway, answer, expected):
    names = Names(answer)
    gateway = running_gateway({'limits': {'connectSeconds': 3}}, resolve=names)
    with serving(echo) as port:
        assert verdict(gateway, 'several.test', port) == expected
    assert names.asked == 1


def test_an_address_is_not_looked_up(running_gateway):
    names = Names(['127.0.0.3'])
    gateway = running_gateway(resolve=names)
    with serving(echo) as port:
        assert verdict(gateway, '127.0.0.1', port) == CONNECTED
    assert names.asked == 0


# -- what a name may be ------------------------------------------------------------------------------------------------

HERE = os.path.dirname(os.path.abspath(__file__))
with io.open(os.path.join(HERE, '..', 'data', 'names.json'), encoding='utf-8') as rows:
    NAMES = [row for row in json.load(rows)['rows'] if row[4] != 'config' and not ws2s.literal_addresses(row[2], 80)
             and ':' not in row[2] and '1.2.3' not in row[2]]
OUTCOMES = {'allowed': CONNECTED, 'forbidden': FORBIDDEN, 'bad-request': CLEAN_ERRORS[0]}


@pytest.mark.parametrize('allow, deny, host, canonical, outcome', NAMES, ids=lambda value: '%.40r' % (value,))
def test_what_becomes_of_a_name(running_gateway, allow, deny, host, canonical, outcome):
    """A12: never silently another host; one form of a name in rules and dials."""
    asked = []

    def resolve(name, port):
        asked.append(name)
        return [(socket.AF_INET, ('127.0.0.1', port), canonical or name)]
    gateway = running_gateway({'allowTargets': allow, 'denyTargets': deny}, resolve=resolve)
    with serving(echo) if outcome == 'allowed' else canary(['127.0.0.1']) as port:
        assert verdict(gateway, host, port) == OUTCOMES[outcome]
    assert len(asked) == (outcome != 'bad-request')
    assert all(ws2s.PLAIN_NAME.match(name) for name in asked)


DISTINCT = b''.join(struct.pack('>H', 0x4e00 + 97 * i) for i in range(59)).decode('utf-16-be')
COSTLY = [u'\xe9' * 253, u'.'.join([u'\xe9' * 63] * 3), u'.'.join([u'\xe9' * 60] * 4), u'.'.join([u'\xe9' * 59] * 4),
          u'.'.join([u'\ufdfa' * 59] * 4), u'\ufdfa' * 4, u'\u0627\u0628' * 29, u'.'.join([u'\u0627\u0628' * 20] * 6),
          DISTINCT, u'.'.join([DISTINCT] * 4), u'a' * 64 + u'.\xe9', u'a' * 60 + u'\xe9']


def test_no_stranger_makes_the_gateway_code_long_names(gateway, monkeypatch):
    """Python's codec takes the square of their length, on the thread that serves everybody."""
    coded, to_ascii = [], encodings.idna.ToASCII
    monkeypatch.setattr(encodings.idna, 'ToASCII', lambda label: coded.append(label) or to_ascii(label))
    requests = [dict({'command': 'connect', 'host': u'a.test', 'port': 1, 'ssh_username': 'me'}, **{field: host})
                for host in COSTLY for field in ('host', 'ssh_host')] * 10
    with RawClient(gateway.address) as client:
        client.open().send(b''.join(frame(TEXT, json.dumps(each).encode('utf-8')) for each in requests))
        replies = [json.loads(client.receive_text().decode('utf-8')) for _ in requests]
        assert set(reply.get('reason') for reply in replies) == {'bad-request'}
        assert coded == []
        assert client.ask(command='connect', host=u'b\xfccher.%s' % (u'x' * 64), port=1)['reason'] == 'bad-request'
        assert coded == []
        client.ask(command='connect', host=u'\uff11\uff12\uff17.0.0.1', port=closed_port())
        assert u'\uff11\uff12\uff17' in coded  # what is short is coded


@pytest.mark.parametrize('text, status, words', [
    (u'fa\xdf.invalid:80', 1, 'host must be written in its xn-- form'), (u'\xff\\.invalid:80', 1, 'plain name'),
    (u'\u2469.1.2.3:80', 0, 'is 10.1.2.3: allowed'), (u'10.0.0.1\u3002:80', 1, 'cannot be resolved'),
    (u'secret:80', 1, 'is 10.1.2.4: refused, denied by denyTargets "*.corp.example"'),
], ids=lambda value: '%.20r' % (value,))
def test_check_reads_a_host_as_connect_does(monkeypatch, capsys, text, status, words):
    monkeypatch.setattr(socket, 'getaddrinfo', lambda host, *rest: [] if host != u'secret' else [
        (socket.AF_INET, 1, 6, 'secret.corp.example', ('10.1.2.4', 80))])
    judge = ws2s.Judge(ws2s.DEFAULTS.replace({'denyTargets': ['*.corp.example']}), lambda packed: False)
    assert ws2s.check_target(judge, text.encode('utf-8') if bytes is str else text) == status  # as an argument is
    assert words in capsys.readouterr()[0]


def can_unshare():
    try:
        return subprocess.call(['unshare', '--net', '--mount', 'true'], stderr=subprocess.PIPE) == 0
    except (IOError, OSError):
        return False


@pytest.mark.skipif(not can_unshare(), reason='owed: no namespaces are allowed here')
def test_a_look_up_tells_the_name_that_search_domains_and_aliases_have_made(tmpdir):
    conf = tmpdir.join('resolv.conf')
    conf.write('nameserver 127.0.0.1\nsearch corp.example\n')
    program = [sys.executable, os.path.join(HERE, 'search_domain.py'), str(conf)]
    names = ['secret', 'secret.', 'SECRET.corp.example.', 'db.lan', 'www.shop.example', '127.1',
             'secret.cor\\p.example']  # which glibc would read as the name without the backslash
    found = json.loads(subprocess.check_output(['unshare', '--net', '--mount'] + program + names).decode('ascii'))
    assert [each if isinstance(each, ws2s.text_type) else (each[0][0][0], each[0][1].lower().rstrip('.'))
            for each in found] == [
        ('10.1.2.3', 'secret.corp.example'), 'dns', ('10.1.2.3', 'secret.corp.example'),
        ('10.1.2.4', 'db.lan.corp.example'), ('10.1.2.3', 'secret.corp.example'), ('127.0.0.1', '127.1'), 'dns']


# -- allowTargets and denyTargets --------------------------------------------------------------------------------------

@pytest.mark.parametrize('host, allow, deny, expected', [
    ('127.0.0.1', [], [], CONNECTED),
    ('127.0.0.1', ['127.0.0.1'], [], CONNECTED),
    ('127.0.0.1', ['127.0.0.1:{port}'], [], CONNECTED),
    ('127.0.0.1', ['127.0.0.1:1,{port}'], [], CONNECTED),
    ('127.0.0.1', ['127.0.0.1:1-65535'], [], CONNECTED),
    ('127.0.0.1', ['127.0.0.1:1-1023'], [], FORBIDDEN),
    ('127.0.0.1', ['127.0.0.0/8'], [], CONNECTED),
    ('127.0.0.1', ['127.0.0.2', '10.0.0.0/8'], [], FORBIDDEN),
    ('127.0.0.1', ['*'], [], CONNECTED),
    ('127.0.0.1', ['localhost'], [], FORBIDDEN),
    ('::ffff:127.0.0.1', ['127.0.0.1'], [], CONNECTED),
    ('127.1', ['127.0.0.1'], [], CONNECTED),
    ('LocalHost', ['localhost:{port}'], [], CONNECTED),
    ('localhost', ['127.0.0.0/8'], [], CONNECTED),
    ('127.0.0.1', [], ['127.0.0.1'], FORBIDDEN),
    ('127.0.0.1', [], ['127.0.0.1:1'], CONNECTED),
    ('127.0.0.1', [], ['*:{port}'], FORBIDDEN),
    ('127.1', [], ['127.0.0.0/8'], FORBIDDEN),
    ('::ffff:127.0.0.1', [], ['127.0.0.0/8'], FORBIDDEN),
    ('localhost', [], ['127.0.0.0/8', '::1'], FORBIDDEN),
    ('localhost', [], ['localhost'], FORBIDDEN),
    ('LOCALHOST', [], ['local*'], FORBIDDEN),
    # A6: whatever leads there.
    ('127.0.0.1', [], ['localhost'], FORBIDDEN),
    ('127.1', [], ['localhost:{port}'], FORBIDDEN),
    ('::ffff:127.0.0.1', [], ['localhost'], FORBIDDEN),
    ('0.0.0.0', [], ['localhost'], FORBIDDEN),
    ('127.0.0.1', [], ['localhost:1'], CONNECTED),
    ('127.0.0.1', ['127.0.0.1'], ['127.0.0.0/8'], FORBIDDEN),
], ids=lambda value: str(value).replace("'", ''))
def test_a_rule_decides(running_gateway, host, allow, deny, expected):
    with serving(echo) if expected == CONNECTED else canary(['127.0.0.1']) as port:
        rules = {name: [rule.format(port=port) for rule in value] for name, value in
                 (('allowTargets', allow), ('denyTargets', deny))}
        assert verdict(running_gateway(rules), host, port) == expected


def test_a_rule_does_not_open_this_machine(running_gateway):
    gateway = running_gateway({'allowConnectToServerLocal': False, 'allowTargets': ['127.0.0.1', '*']})
    with canary(['127.0.0.1']) as port:
        assert verdict(gateway, '127.0.0.1', port) == FORBIDDEN
        assert verdict(gateway, '127.0.0.1', closed_port()) == FORBIDDEN


def test_a_refusal_says_which_setting_refuses(running_gateway):
    for rules, setting in (({'allowConnectToServerLocal': False}, 'allowConnectToServerLocal'),
                           ({'denyTargets': ['127.0.0.1']}, 'denyTargets'),
                           ({'allowTargets': ['x.test']}, 'allowTargets')):
        with RawClient(running_gateway(rules).address) as client:
            assert setting in client.open().ask(command='connect', host='127.0.0.1', port=1)['message']
