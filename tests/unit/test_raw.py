# -*- coding: utf-8 -*-
"""Raw bytes (protocol, 9): how a request names its target, and what the dialect makes of messages."""
import json
import time

import pytest

import ws2s
from ws2s import BINARY, Carry, Hangup, Open, Send, Write


def config(**raw):
    return ws2s.parse_config(u'%s' % json.dumps({'raw': raw}))


def request(target, host='gw.example:3613', *headers):
    return ws2s.Request('GET', target, 'HTTP/1.1', [('host', host)] + list(headers))


def offering(target, *names):
    return request(target, 'gw.example', ('sec-websocket-protocol', ', '.join(names)))


def served(asked, settings):
    """The dialect object of the first row that serves the request."""
    return next(dialect for serves, dialect in ws2s.DIALECTS if serves(asked, settings))(asked, settings)


def refusal(asked, settings):
    with pytest.raises(ws2s.HttpError) as caught:
        served(asked, settings)
    return caught.value.status


# --- Which target ---------------------------------------------------------------------------------

@pytest.mark.parametrize('target, host, port', [
    ('/db.lan:5432', 'db.lan', 5432), ('/a/b/c/db.lan:5432', 'db.lan', 5432), ('/db.lan%3A5432', 'db.lan', 5432),
    ('/[::1]:80', '::1', 80), ('/%5B2001:db8::1%5D:80', '2001:db8::1', 80), ('/::1:80', '::1', 80),
    ('/127.0.0.1:1', '127.0.0.1', 1), ('/db.lan:65535?x=1', 'db.lan', 65535),
    (u'/b%C3%BCcher.de:80', 'xn--bcher-kva.de', 80),
    ('/?address=db.lan:5432', 'db.lan', 5432), ('/v1?address=db.lan:5432', 'db.lan', 5432),
    ('/any/path?x=1&address=db.lan%3A5432', 'db.lan', 5432), ('/v1?address=2001:db8::1:5432', '2001:db8::1', 5432),
    ('/v1?address=[2001:db8::1]:5432', '2001:db8::1', 5432), ('/?host=db.lan&port=80', 'db.lan', 80),
    ('/?port=80&host=[::1]', '::1', 80), ('/?host=::1&port=80', '::1', 80),
])
def test_a_target_in_the_url_is_dialled_at_once(target, host, port):
    dialect = served(request(target), config())
    assert dialect.name == 'raw' and dialect.token is None and tuple(dialect.target) == (host, port)
    assert dialect.on_start() == [Open(0, host, port, prefix=b''), Carry(0)]


@pytest.mark.parametrize('target', [
    '/', '/ws', '/:80', '/a:b', '/a:', '/db.lan:123456', '/db.lan:80/', '/db.lan:80/x', '/?host=db.lan',
    '/?port=80', '/v1',
    '/v2',
    '/?x=%zz', '/%zz:80', '/?token=abc', '/?xaddress=a:1', '/?myhost=a&port=1', '/?q=address=a:1',
])
def test_everything_else_is_json(target):
    assert served(request(target), config()).name == 'json'


@pytest.mark.parametrize('target', [
    '/?address=', '/?address=db.lan', '/?address=db.lan:0', '/?address=db.lan:65536', '/?address=:80',
    '/?address=a b:80', '/?address=db.lan:8x', '/db.lan:0', '/db.lan:99999', '/a%00b:80', '/-oProxyCommand=x:80',
    '/?host=&port=80',
    '/?host=db.lan&port=', '/?host=db.lan&port=%2080', '/?address=%zz', '/fa%C3%9F.de:80', '/[db.lan]:80', '/a%2Fb:80',
    '/?address=' + 'a' * 300 + ':80',
])
def test_a_target_that_is_none_is_400(target):
    assert refusal(request(target), config()) == 400


def test_switched_off_the_url_names_nothing():
    for target in ('/db.lan:5432', '/?address=db.lan:5432', '/?host=db.lan&port=80'):
        assert served(request(target), config(enabled=False)).name == 'json'


def test_one_target_may_be_for_all():
    dialect = served(request('/websockify'), config(target='localhost:5900'))
    assert tuple(dialect.target) == ('localhost', 5900)
    assert tuple(served(request('/db.lan:1'), config(target='vnc.lan:5900')).target) == ('db.lan', 1)
    assert tuple(served(request('/db.lan:1'), config(target='vnc.lan:5900', only=True)).target) == ('vnc.lan', 5900)


def test_with_only_nobody_names_a_target():
    for target in ('/', '/db.lan:1', '/?address=db.lan:1', '/?host=a&port=1'):
        assert refusal(request(target), config(only=True)) == 403
    assert served(request('/?token=a'), config(only=True, tokens='/tokens')).token == 'a'


def test_neons_driver_is_led_by_the_host_header():
    targets = {'Pg.Example': 'pg.lan:5432', '*': '[2001:db8::5]:5433'}
    for host, target in (('pg.example', ('pg.lan', 5432)), ('PG.example.:443', ('pg.lan', 5432)),
                         ('other.example', ('2001:db8::5', 5433))):
        for path in ('/v2', '/v1', '/v2?'):
            assert tuple(served(request(path, host), config(hostTargets=targets)).target) == target
    assert refusal(request('/v2', 'other.example'), config(hostTargets={'pg.example': 'pg.lan:5432'})) == 403
    assert tuple(served(request('/v2?address=a:1', 'pg.example'), config(hostTargets=targets)).target) == ('a', 1)
    assert served(request('/v3', 'pg.example'), config(hostTargets=targets)).name == 'json'


@pytest.mark.parametrize('query', ['tls', 'TLS=1', 'tls=0&tls=1', 'tls=no', 'a=b&tls', 'tls=00', 'tls=%', 'tls&x=y',
                                   'tls='])
def test_whoever_writes_tls_means_it(query):
    assert served(request('/db.lan:80?' + query), config()).on_start()[0].tls == ws2s.PLAIN_TLS
    for other in (query.replace('tls', 'htls').replace('TLS', 'tlsx'), 'tls=0', 'a=tls'):
        assert served(request('/db.lan:80?' + other), config()).on_start()[0].tls is None


@pytest.mark.parametrize('target', ['/db.lan:80?tls=1', '/?address=db.lan:80&tls=true', '/?token=a&tls=yes'])
def test_tls_is_never_ignored(target):
    for asked, tls in ((target, ws2s.PLAIN_TLS), (target.replace('tls=', 'tls=0&x='), None)):
        dialect = served(request(asked), config(tokens='/tokens'))
        if dialect.token:
            dialect.on_token(u'db.lan:80')
        assert dialect.on_start() == [Open(0, 'db.lan', 80, prefix=b'', tls=tls), Carry(0)]


# --- UDP ----------------------------------------------------------------------------------------

@pytest.mark.parametrize('target', ['/db.lan:53?udp=1', '/?address=db.lan:53&udp=true', '/?host=db.lan&port=53&udp=1'])
def test_with_udp_each_message_is_a_datagram(target):
    dialect = served(request(target), config(udp=True))
    assert dialect.whole_messages
    assert dialect.on_start() == [Open(0, 'db.lan', 53, prefix=b'', udp=True)]
    for data in (b'abc', b'', b'\xff\xff\xff\xffport\1\2'):
        assert dialect.on_binary(data, True) == [Write(0, data)]


@pytest.mark.parametrize('first, passes', [
    (b'\xff\xff\xff\xffport\0\x35', False), (b'\xff\xff\xff\xffport\n\n', False),
    (b'\xff\xff\xff\xffport\0', True), (b'\xff\xff\xff\xffport\0\1\2', True),
    (b'\xff\xff\xff\xffpost\0\1', True), (b'', True)])
def test_the_port_that_emscriptens_sockets_tell_first_goes_nowhere(first, passes):
    for piece in (first, bytearray(first)):
        dialect = served(request('/db.lan:53?udp=1'), config(udp=True))
        assert dialect.on_binary(piece, True) == ([Write(0, first)] if passes else [])
        assert dialect.on_binary(first, True) == [Write(0, first)]
        assert served(request('/db.lan:53'), config(udp=True)).on_binary(piece, True) == [Write(0, first)]


def test_udp_is_refused_where_it_is_not_offered_and_never_taken_for_tcp():
    for target in ('/db.lan:53?udp=1', '/?address=db.lan:53&udp=yes'):
        assert refusal(request(target), config()) == 403
    assert refusal(request('/db.lan:53?udp=1&tls=1'), config(udp=True)) == 400
    assert not served(request('/db.lan:53?udp=0'), config()).whole_messages
    with pytest.raises(ws2s.HttpError) as caught:
        with_token(u'db.lan:53 udp')
    assert caught.value.status == 403


def test_a_tokens_line_may_say_udp():
    dialect = served(request('/?token=a'), config(tokens='/tokens', udp=True))
    dialect.on_token(u'db.lan:53 udp')
    assert dialect.on_start() == [Open(0, 'db.lan', 53, prefix=b'', udp=True)]


# --- Tokens ---------------------------------------------------------------------------------------

def with_token(line, target='/?token=a'):
    dialect = served(request(target), config(tokens='/tokens'))
    assert dialect.token == 'a' and dialect.target is None
    dialect.on_token(line)
    return dialect


@pytest.mark.parametrize('line, target', [
    (u'db.lan:5900', ('db.lan', 5900)), (u' 10.0.0.1:1 ', ('10.0.0.1', 1)), (u'[::1]:5900', ('::1', 5900)),
    (u'2001:db8::1:5900', ('2001:db8::1', 5900)),
])
def test_a_token_leads_to_the_target_of_its_line(line, target):
    assert tuple(with_token(line).target) == target
    assert tuple(with_token(line, '/websockify?x=1&token=a&token=b').target) == target


def test_a_tokens_line_may_say_tls():
    assert with_token(u'db.lan:80 tls').on_start()[0] == Open(0, 'db.lan', 80, prefix=b'', tls=ws2s.PLAIN_TLS)
    with pytest.raises(ws2s.HttpError):
        dialect = served(request('/?token=a&udp=1'), config(tokens='/tokens', udp=True))
        dialect.on_token(u'db.lan:80 tls')


@pytest.mark.parametrize('line, status', [(None, 403), (u'db.lan:80 TLS', 500), (u'unix_socket:/run/x', 500),
                                          (u'db.lan', 400),
                                          (u'db.lan:80 x', 500), (u'', 500), (u'a b:80', 500)])
def test_a_token_that_leads_nowhere_is_refused(line, status):
    with pytest.raises(ws2s.HttpError) as caught:
        with_token(line)
    assert caught.value.status == status


def test_the_name_in_the_host_header_may_be_the_token():
    settings = config(tokens='/tokens', hostToken=True)
    assert served(request('/', 'Vm1.Example:8080'), settings).token == 'vm1.example'
    assert served(request('/?token=b', 'vm1.example'), settings).token == 'b'


def test_the_lines_of_a_file_of_tokens():
    text = u'# a: comment\n\na: h:1\n  b:\t[::1]:2  \nc:d: e:3\nnothing\nx:y\na: second:4\n'
    assert ws2s.parse_tokens(text) == {u'a': u'h:1', u'b': u'[::1]:2', u'c:d': u'e:3'}


# --- Messages -------------------------------------------------------------------------------------

def test_text_is_data_where_the_client_names_the_target_and_1003_elsewhere():
    for target in ('/db.lan:80', '/?address=db.lan:80', '/?host=a&port=1'):
        dialect = served(request(target), config())
        assert dialect.on_text(u'\xe9') == [Write(0, b'\xc3\xa9')]
        assert dialect.on_long_text(bytearray(b'abc')) == [Write(0, b'abc')]
    for dialect in (with_token(u'a:1'), served(request('/'), config(target='a:1'))):
        assert [action[0] for action in dialect.on_text(u'x') + dialect.on_long_text(bytearray(b'x'))] == [1003, 1003]


@pytest.mark.parametrize('failure, code', [(ws2s.REFUSED, 1011), (ws2s.UNKNOWN_NAME, 1011), (ws2s.TIMEOUT, 1011),
                                           (ws2s.forbidden('denyTargets'), 1011), (ws2s.NO_ROOM, 1013)])
def test_a_target_that_is_not_reached_closes_with_the_reason(failure, code):
    assert served(request('/a:1'), config()).on_failed(0, failure) == [Hangup(code, failure.reason)]


def test_the_end_of_the_target_is_1000_and_anything_else_1011():
    dialect = served(request('/a:1'), config())
    assert dialect.on_closed(0, ws2s.CLOSED) == [Hangup(1000, 'closed')]
    assert dialect.on_closed(0, ws2s.RESET) == [Hangup(1011, 'reset')]
    assert dialect.on_closed(0, ws2s.IDLE) == [Hangup(1011, 'idle')]


@pytest.mark.parametrize('offered, answered', [
    ((), None), (('binary',), 'binary'), (('base64', 'binary'), 'binary'), (('mqtt',), 'mqtt'),
    (('xmpp', 'mqtt'), 'mqtt'),
    (('mqtt', 'binary'), 'binary'), (('other',), None), (('MQTT',), None), (('mqtt', 'base64'), 'mqtt'),
])
def test_exactly_one_subprotocol_is_answered(offered, answered):
    settings = config(subprotocols=['mqtt', 'xmpp'])
    assert served(offering('/a:1', *offered), settings).subprotocol == answered


def test_base64_alone_is_refused():
    assert refusal(offering('/a:1', 'base64'), config()) == 400


def test_json_answers_no_subprotocol():
    assert served(offering('/', 'binary', 'mqtt'), config(subprotocols=['mqtt'])).subprotocol is None


# --- WordPress Playground -------------------------------------------------------------------------

def playground():
    return served(request('/?host=a&port=1'), config(playground=True))


def test_playgrounds_framing_is_for_its_own_form_alone():
    assert playground().name == 'playground'
    assert served(request('/a:1'), config(playground=True)).name == 'raw'


def test_the_first_byte_of_each_message_says_what_the_message_is():
    dialect = playground()
    assert dialect.on_start() == [Open(0, 'a', 1, prefix=b'')]
    assert dialect.on_binary(b'\x01abc', True) == [Write(0, b'abc')]
    assert dialect.on_binary(b'\x02\x06\x01\x01', True) == []
    assert dialect.on_binary(b'', True) == []
    assert dialect.on_binary(b'\x01', False) == []
    assert dialect.on_binary(bytearray(b'ab'), False) == [Write(0, b'ab')]
    assert dialect.on_binary(b'\x02c', True) == [Write(0, b'\x02c')]
    assert dialect.on_binary(b'', False) == []
    assert dialect.on_binary(b'\x02\x01', False) == []
    assert dialect.on_binary(b'\x01', True) == []
    assert dialect.on_binary(b'\x01x', True) == [Write(0, b'x')]


def test_playground_hears_of_a_failure_as_from_its_own_proxy():
    assert playground().on_failed(0, ws2s.UNKNOWN_NAME) == [Send(BINARY, b''), Hangup(3000, 'dns')]
    assert playground().on_failed(0, ws2s.REFUSED) == [Hangup(3000, 'refused')]
    assert playground().on_text(u'x')[0].code == 1003


# --- Rules that need no look-up -------------------------------------------------------------------

@pytest.mark.parametrize('allow, deny, host, setting', [
    ([], ['*.evil'], u'a.evil', 'denyTargets'), ([], ['*.evil'], u'A.EVIL.', 'denyTargets'),
    ([], ['*.evil:80'], u'a.evil', None),
    (['db.lan'], [], u'other', 'allowTargets'), (['db.lan'], [], u'db.lan', None),
    (['db.lan', '10.0.0.0/8'], [], u'other', None),
    (['db.lan:80'], [], u'db.lan', 'allowTargets'), ([], ['10.0.0.0/8'], u'other', None), ([], [], u'other', None),
])
def test_a_name_is_refused_without_a_look_up_where_no_address_can_change_that(allow, deny, host, setting):
    rules = ws2s.TargetRules(ws2s.DEFAULTS.replace({'allowTargets': allow, 'denyTargets': deny}))
    verdict = rules.judge_name(host, 5432)
    assert (verdict and verdict.setting) == setting and not (verdict and verdict.allowed)


# --- What is asked of strangers' queries ----------------------------------------------------------

def test_with_the_name_as_token_the_query_is_only_asked_for_a_token():
    settings = config(tokens='/tokens', hostToken=True, only=True)
    for target in ('/?address=10.0.0.1:5', '/websockify?host=x', '/?host=a&port=1'):
        assert served(request(target, 'vm1.example'), settings).token == 'vm1.example'
    assert served(request('/?host=x&token=b', 'vm1.example'), settings).token == 'b'


@pytest.mark.parametrize('query', ['?&' * 4000, '?' * 4000 + '&' * 4000, '&' * 8000, '?token' * 1300, '&host' * 1600])
def test_no_query_takes_long(query):
    began = time.time()
    assert served(request('/?' + query), config(tokens='/tokens')).name == 'json'
    assert time.time() - began < 0.1


def test_a_query_has_a_bounded_number_of_parameters():
    assert refusal(request('/?token=a' + '&' * 256), config(tokens='/tokens')) == 400
    assert served(request('/?token=a' + '&' * 255), config(tokens='/tokens')).token == 'a'
