# -*- coding: utf-8 -*-
"""Rooms 4, 6 and 12: who a client is, by what it shows, and where such a one may go (protocol, 7; security S15)."""
import base64
import collections
import hashlib
import hmac
import itertools
import json
import struct

import pytest

import ws2s
from ws2s import Authenticate, Claim, ConfigError, Hangup, HttpError, Identity, Later

NOW = 1800000000
TOKEN, OTHER, UMLAUT = u'0123456789abcdef', u'fedcba9876543210', u'm\xfcnchen-\u6771\u4eac-token'
SECRET = u'a secret of thirty-two characters'
HASH = 'pbkdf2-sha256$100000$c2FsdHNhbHRzYWx0c2FsdA==$' + 43 * 'A' + '='
SENTENCE = 'This gateway is only for those whom it knows: the request must show a valid token or login.'

TOKENS = [{'name': 'grafana', 'token': TOKEN, 'targets': ['db.lan:5432'], 'metrics': True},
          {'name': 'other', 'token': OTHER}, {'name': 'grafana', 'token': UMLAUT}]
USERS = [{'name': u'\xe4nn', 'password': HASH, 'targets': ['*.lan']}, {'name': 'grafana', 'password': HASH}]


def config(**auth):
    return ws2s.parse_config(json.dumps({'auth': auth}))


ALL = config(tokens=TOKENS, users=USERS, jwt={'secret': SECRET, 'algorithms': ['HS256', 'HS384', 'HS512']},
             clientCertificates=[{'name': 'backup', 'targets': ['10.0.0.0/8']}, {'name': 'grafana'}],
             proxyHeader='X-Forwarded-User')


def encoded(data):
    return base64.urlsafe_b64encode(data).rstrip(b'=')


def offer(token):
    return 'ws2s.bearer.' + encoded(token if isinstance(token, bytes) else token.encode('utf-8')).decode('ascii')


def basic(user, password='secret'):
    pair = (u'%s:%s' % (user, password)).encode('utf-8')
    return 'Authorization', 'Basic ' + base64.b64encode(pair).decode('ascii')


def bearer(token, scheme='Bearer '):
    data = token if isinstance(token, bytes) else token.encode('utf-8')
    return 'Authorization', scheme + data.decode('latin-1')


def quoted(token):
    data = bytearray(token if isinstance(token, bytes) else token.encode('utf-8'))
    return ''.join('%%%02x' % byte for byte in data)


def request(*headers, **parts):
    lines = [u'GET %s HTTP/1.1' % parts.get('path', '/'), u'Host: gw.example'] + [u'%s: %s' % pair for pair in headers]
    return ws2s.parse_request(u'\r\n'.join(lines).encode('latin-1'))


def shown(name):
    """A request that shows a token in this way."""
    return {'header': lambda token: request(bearer(token)),
            'query': lambda token: request(path='/?access_token=' + quoted(token)),
            'subprotocol': lambda token: request(('Sec-WebSocket-Protocol', offer(token)))}[name]


def claim(of, settings=ALL, **others):
    return ws2s.read_claim(of, settings, NOW, **others)


def names(of, settings=ALL, **others):
    """Of the identities that a request shows."""
    return [identity.name for identity in claim(of, settings, **others).identities]


def is_refused(of, settings=ALL, status=401, **others):
    if status == 401:
        found = claim(of, settings, **others)
        return found != Claim([], ()) and not found.logins and ws2s.agreed(found.identities) is None
    with pytest.raises(HttpError) as caught:
        claim(of, settings, **others)
    return caught.value.status == status


in_each_way = pytest.mark.parametrize('way', ['header', 'query', 'subprotocol'])


# --- Tokens ---------------------------------------------------------------------------------------

@in_each_way
def test_a_token_is_taken(way):
    found = claim(shown(way)(TOKEN))
    assert found == Claim([Identity('grafana', 'token', (ALL['auth.tokens'][0].targets,), True)], ())
    assert claim(shown(way)(OTHER)).identities == [Identity('other', 'token', (), False)]
    assert names(shown(way)(UMLAUT)) == ['grafana']


@in_each_way
@pytest.mark.parametrize('token', [
    '', ' ', TOKEN[:-1], TOKEN[1:], TOKEN + '0', TOKEN + TOKEN, TOKEN.upper(), TOKEN[:8], TOKEN + '\0', '***', '*',
    u'm\xfcnchen'.encode('latin-1'), UMLAUT.encode('utf-8')[:-1], u'mu\u0308nchen-\u6771\u4eac-token',
    UMLAUT.upper(), 'null', 'None', TOKEN + ',' + OTHER, '.', '..', 1000 * 'x'], ids=repr)
def test_no_other_token_is_taken(way, token):
    if way == 'query' and b'\xfc' in quoted(token).encode('ascii').replace(b'%fc', b'\xfc'):
        assert is_refused(shown(way)(token), status=400)  # this is no UTF-8
    elif way != 'header' or b'%00' not in quoted(token).encode('ascii'):  # no parser lets it through
        assert is_refused(shown(way)(token))


@pytest.mark.parametrize('header', [
    bearer(TOKEN, 'bearer '), bearer(TOKEN, 'BEARER '), bearer(TOKEN, 'Bearer   ')], ids=repr)
def test_a_scheme_has_no_case(header):
    assert names(request(header)) == ['grafana']


@pytest.mark.parametrize('header', [
    bearer(TOKEN, ''), bearer(TOKEN, 'Token '), bearer(TOKEN, 'Bearer'), bearer(TOKEN, 'Bearer,'), bearer('', 'Bearer'),
    bearer('', ''), bearer(TOKEN, 'Basic '), bearer(TOKEN, 'Digest '), bearer(TOKEN + '", x="', 'Bearer token="'),
    bearer(TOKEN + ', Bearer ' + TOKEN)], ids=repr)
def test_a_header_that_is_not_understood_is_refused(header):
    assert is_refused(request(header))
    assert is_refused(request(header, path='/?access_token=' + TOKEN))


@pytest.mark.parametrize('text', [
    '', TOKEN, '=', 'A', 'AA==', 'A===', encoded(TOKEN.encode('ascii')).decode('ascii') + '=',
    encoded(TOKEN.encode('ascii')).decode('ascii')[:-1] + 'h',  # the same bytes, and bits that stand for nothing
    encoded(UMLAUT.encode('utf-8')).decode('ascii').replace('-', '+').replace('_', '/') + '+', ' '])
def test_an_offer_is_base64url_in_its_one_spelling(text):
    assert is_refused(request(('Sec-WebSocket-Protocol', 'ws2s.bearer.' + text)))


@pytest.mark.parametrize('offers, others, lone', [
    ([offer(TOKEN)], [], offer(TOKEN)), ([offer(TOKEN), offer(TOKEN)], [], offer(TOKEN)),
    ([offer(TOKEN), 'binary'], ['binary'], None), (['chat', offer(TOKEN), 'mqtt'], ['chat', 'mqtt'], None),
    (['binary'], ['binary'], None), (['WS2S.BEARER.x'], ['WS2S.BEARER.x'], None),
    (['ws2s.bearer'], ['ws2s.bearer'], None)])
@pytest.mark.parametrize('lines', [False, True])
def test_a_token_is_no_subprotocol_and_named_only_where_nothing_else_was_offered(offers, others, lone, lines):
    headers = offers if lines else [', '.join(offers)]
    of = request(*[('Sec-WebSocket-Protocol', text) for text in headers])
    assert (of.subprotocols(), of.lone_bearer()) == (others, lone)


@pytest.mark.parametrize('path', [
    '/?access_token=%s' % TOKEN, '/db.lan:5432?access_token=%s' % TOKEN,
    '/?address=db.lan:5432&access_token=%s' % TOKEN,
    '/?access%%5Ftoken=%s' % TOKEN, '/?a=b&access_token=%s&c' % TOKEN,
    '/?access_token=%s&access_token=%s' % (TOKEN, TOKEN)])
def test_a_token_stands_anywhere_in_a_query(path):
    assert set(names(request(path=path))) == {'grafana'}


@pytest.mark.parametrize('path', [
    '/?access_token', '/?access_token=', '/?access_token=%s&access_token=' % TOKEN,
    '/?access_token=x&access_token=%s' % TOKEN,
    '/?access_token=%s&access%%5ftoken=y' % TOKEN])
def test_all_tokens_of_a_query_count(path):
    assert is_refused(request(path=path))


@pytest.mark.parametrize('path', ['/', '/?token=' + TOKEN, '/?ACCESS_TOKEN=' + TOKEN, '/access_token=' + TOKEN])
def test_who_shows_nothing_is_nobody(path):
    assert claim(request(path=path)) == Claim([], ())


def test_two_headers_are_400():
    for pair in itertools.product([bearer(TOKEN), basic('grafana'), bearer('x')], repeat=2):
        assert is_refused(request(*pair), status=400)


# --- Several ways at once -------------------------------------------------------------------------

def jwt(claims, secret=SECRET, algorithm='HS256', head=None):
    head = {'alg': algorithm, 'typ': 'JWT'} if head is None else head
    parts = [part if isinstance(part, bytes) else json.dumps(part).encode('utf-8') for part in (head, claims)]
    data = b'.'.join(encoded(part) for part in parts)
    hashes = {'HS256': hashlib.sha256, 'HS384': hashlib.sha384, 'HS512': hashlib.sha512}
    signature = hmac.new(secret.encode('utf-8'), data, hashes.get(algorithm, hashlib.sha256)).digest()
    return data + b'.' + encoded(signature)


def good(**claims):
    return dict({'sub': 'ann', 'exp': NOW + 60}, **claims)


@pytest.mark.parametrize('shows, names_of_all', [
    ([bearer(TOKEN), ('Sec-WebSocket-Protocol', offer(TOKEN))], 2),
    ([bearer(TOKEN), ('Sec-WebSocket-Protocol', offer(UMLAUT))], 2),
    ([bearer(TOKEN), ('Sec-WebSocket-Protocol', offer(jwt(good(sub='grafana'))))], 2),
    ([('Sec-WebSocket-Protocol', offer(TOKEN) + ',' + offer(UMLAUT))], 2)])
def test_several_that_mean_one_are_one(shows, names_of_all):
    found = claim(request(*shows)).identities
    assert len(found) == names_of_all and ws2s.agreed(found).name == 'grafana'


@pytest.mark.parametrize('shows', [
    [bearer(TOKEN), ('Sec-WebSocket-Protocol', offer(OTHER))], [('Sec-WebSocket-Protocol',
                                                                 offer(TOKEN) + ',' + offer(OTHER))],
    [bearer(TOKEN), ('Sec-WebSocket-Protocol', offer(jwt(good())))]])
def test_several_that_mean_different_ones_are_nobody(shows):
    assert ws2s.agreed(claim(request(*shows)).identities) is None


@pytest.mark.parametrize('shows', [
    [bearer(TOKEN), ('Sec-WebSocket-Protocol', offer('x'))], [('Sec-WebSocket-Protocol',
                                                               offer(TOKEN) + ',' + offer(''))],
    [bearer('x'), ('Sec-WebSocket-Protocol', offer(TOKEN))]])
def test_one_of_several_that_is_bad_is_refused(shows):
    assert is_refused(request(*shows))


def test_what_any_of_several_forbids_is_forbidden():
    first, second, third = [Identity('ann', way, targets, metrics) for way, targets, metrics in [
        ('token', ('A',), True), ('jwt', (), True), ('user', ('B', 'C'), False)]]
    assert ws2s.agreed([first]) == first
    assert ws2s.agreed([first, second]) == Identity('ann', 'token and jwt', ('A',), True)
    assert ws2s.agreed([first, second, third]) == Identity('ann', 'token and jwt and user', ('A', 'B', 'C'), False)
    assert ws2s.agreed([]) is None


# --- JSON Web Tokens ------------------------------------------------------------------------------

def token_identity(token, **rules):
    rules = config(jwt=dict({'secret': SECRET, 'algorithms': ['HS256', 'HS384', 'HS512']}, **rules))['auth.jwt']
    return ws2s.read_jwt(token, rules, NOW)


@in_each_way
@pytest.mark.parametrize('algorithm', ['HS256', 'HS384', 'HS512'])
def test_a_jwt_is_taken_in_each_way(way, algorithm):
    assert names(shown(way)(jwt(good(sub=u'\xe4nn'), algorithm=algorithm))) == [u'\xe4nn']


def test_the_example_of_rfc_7515_is_read():
    """Appendix A.1: of a key that is bytes, so by its parts. The header has a line break, the claims have others."""
    token = (b'eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0'
             b'dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk')
    key = ws2s.base64url_bytes(b'AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_'
                               b'T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow')
    data, _, signature = token.rpartition(b'.')
    assert encoded(hmac.new(key, data, hashlib.sha256).digest()) == signature
    head, claims = [ws2s.jwt_object(ws2s.base64url_bytes(part)) for part in data.split(b'.')]
    assert head == {'typ': 'JWT', 'alg': 'HS256'} and claims['exp'] == 1300819380
    rules = ws2s.JwtRules(None, ('HS256',), 'joe', None)
    assert ws2s.jwt_identity(claims, rules, 1300819379).name == 'jwt'
    assert ws2s.jwt_identity(claims, rules, 1300819380) is None


@pytest.mark.parametrize('claims', [
    good(), {'exp': NOW + 1}, good(exp=NOW + 0.5), good(exp=4102444800), good(nbf=NOW), good(nbf=0),
    good(nbf=NOW - 0.5),
    good(iat=NOW + 100), good(aud='anybody'), good(aud=['a', 'b']), good(iss='anybody'), good(jti='x', admin=False),
    good(sub=u'\u6771\u4eac ann@example.com'), good(sub=128 * 'x')], ids=repr)
def test_claims_that_are_good(claims):
    assert token_identity(jwt(claims)).name == claims.get('sub', 'jwt')


@pytest.mark.parametrize('claims', [
    {'sub': 'ann'}, {}, good(exp=NOW), good(exp=NOW - 1), good(exp=0), good(exp=-1), good(exp=None), good(exp=True),
    good(exp=str(NOW + 60)), good(exp=[NOW + 60]), good(exp={}), good(exp=(NOW + 60) * 1000), good(exp=10 ** 30),
    good(nbf=NOW + 1), good(nbf=NOW + 0.5), good(nbf=str(NOW)), good(nbf=None), good(nbf=True), good(nbf=-1),
    good(sub=None), good(sub=5), good(sub=''), good(sub=['ann']), good(sub={}), good(sub='a\nb'), good(sub=129 * 'x'),
    good(targets=[]), good(targets=None), good(targets='db.lan'), good(targets=[5]), good(targets=['a b']),
    good(targets={'a': 'b'}), good(targets=['']), good(targets=['db.lan', None]), good(targets=['db.lan:0']),
    good(targets=['*a*a*a*a*a*a*a*a*a*a*b']), good(targets=True), good(host='db.lan'), good(port=80),
    good(host='db.lan', port=0), good(host='db.lan', port=65536), good(host='db.lan', port='x'),
    good(host='db.lan', port=True), good(host='db.lan', port=80.0), good(host='*.lan', port=80),
    good(host='*', port=80),
    good(host='', port=80), good(host=None, port=80), good(host=['db.lan'], port=80), good(host='10.0.0.0/8', port=80),
    good(host='db.lan', port=None), good(host='db.lan:80', port=80)], ids=repr)
def test_claims_that_are_not(claims):
    assert token_identity(jwt(claims)) is None


@pytest.mark.parametrize('text', [
    b'[]', b'null', b'5', b'"x"', b'', b'{', b'{}x', b'\xff', b'{"exp": 1800000060, "exp": 1800000060}',
    b'{"exp": 1800000060, "targets": ["db.lan"], "targets": ["*"]}', b'{"exp": 1800000060, "a": {"b": 1, "b": 1}}',
    b'{"exp": NaN}', b'{"exp": Infinity}', b'{"exp": 1e999}', b'{"exp": -Infinity, "sub": "a"}',
    b'{"exp": 1' + 5000 * b'0' + b'}',
    b'{"exp": 1800000060, "a": ' + 2500 * b'[' + 2500 * b']' + b'}x',
    u'{"exp": 1800000060}'.encode('utf-16'), b'\xef\xbb\xbf{"exp": 1800000060}'], ids=lambda text: repr(text[:40]))
def test_what_is_no_json_object_with_each_key_once_is_refused(text):
    assert token_identity(jwt(text)) is None
    assert token_identity(jwt(good(), head=text)) is None


@pytest.mark.parametrize('head', [
    {'alg': 'none'}, {'alg': 'None'}, {'alg': 'NONE'}, {'alg': ''}, {'alg': None}, {}, {'alg': 'RS256'},
    {'alg': 'hs256'},
    {'alg': 'ES256'}, {'alg': ['HS256']}, {'alg': {'HS256': 1}}, {'alg': 1}, {'alg': True}, {'ALG': 'HS256'},
    {'alg': 'HS256', 'crit': ['exp']}, {'alg': 'HS256', 'crit': []}, b'{"alg": "HS256", "alg": "HS256"}',
    b'{"alg": "none", "alg": "HS256"}', b'{"alg": "HS256 "}'], ids=repr)
def test_a_header_is_pinned(head):
    """RS256 with our secret as the key of an HMAC is among them: what is signed here is signed rightly each time."""
    assert token_identity(jwt(good(), head=head)) is None


def test_an_algorithm_that_is_not_configured_is_refused():
    for used, taken in itertools.product(['HS256', 'HS384', 'HS512'], repeat=2):
        assert (token_identity(jwt(good(), algorithm=used), algorithms=[taken]) is not None) == (used == taken)
    assert token_identity(jwt(good(), algorithm='HS512', head={'alg': 'HS256'})) is None


def broken_tokens():
    token = jwt(good())  # of 32 bytes: the last two bits of the last character stand for nothing
    head, claims, signature = token.split(b'.')
    other = encoded(json.dumps(good(sub='root')).encode('ascii'))
    none = encoded(b'{"alg":"none"}')
    return [token[:-1], token[:len(token) // 2], head + b'.' + claims, head + b'.' + claims + b'.', token + b'.',
            b'.' + token,
            token + b'.' + signature, head + b'.' + other + b'.' + signature, none + b'.' + claims + b'.',
            none + b'.' + claims + b'.' + signature, b'..', b'...', b'', b'a.b.c', token + b'=', token + b'\n',
            token + b' ',
            token.replace(b'.', b'. '), token.swapcase(), head + b'..' + signature, b'.' + claims + b'.' + signature,
            token[:-1] + bytes(bytearray([bytearray(token)[-1] + 1])), jwt(good(), secret=SECRET[:-1] + u'x'),
            jwt(good(), secret=u''), jwt(good(), secret=SECRET + u'x'), head + b'.' + claims + b'.' + encoded(b''),
            head + b'.' + claims + b'.' + encoded(31 * b'\0'), u'm\xfcnchen.x.y'.encode('utf-8')]


@pytest.mark.parametrize('token', broken_tokens(), ids=repr)
def test_a_token_that_is_broken_is_refused(token):
    assert token_identity(token) is None


def test_no_bit_of_a_token_may_be_another():
    token = bytearray(jwt(good()))
    for place in range(len(token)):
        changed = bytearray(token)
        changed[place] ^= 1
        assert token_identity(bytes(changed)) is None


def test_a_long_token_is_refused_unread(monkeypatch):
    def fail(*arguments):
        raise AssertionError('it was read')
    filling = jwt(good(x=5000 * 'x'))
    assert len(filling) < ws2s.JWT_BYTES and token_identity(filling)
    rules = config(jwt={'secret': SECRET})['auth.jwt']
    for token in (jwt(good(x=(1 << 20) * 'x')), jwt(good(x=7000 * 'x')), (1 << 20) * b'.', (1 << 20) * b'A'):
        monkeypatch.setattr(ws2s, 'base64url_bytes', fail)
        assert ws2s.read_jwt(token, rules, NOW) is None
        monkeypatch.undo()


@pytest.mark.parametrize('rules, claims, is_good', [
    ({'audience': 'ws2s'}, {'aud': 'ws2s'}, True), ({'audience': 'ws2s'}, {'aud': ['a', 'ws2s']}, True),
    ({'audience': 'ws2s'}, {}, False), ({'audience': 'ws2s'}, {'aud': 'ws2'}, False),
    ({'audience': 'ws2s'}, {'aud': []}, False),
    ({'audience': 'ws2s'}, {'aud': ['a']}, False), ({'audience': 'ws2s'}, {'aud': None}, False),
    ({'audience': 'ws2s'}, {'aud': {'ws2s': 1}}, False), ({'audience': 'ws2s'}, {'aud': 'WS2S'}, False),
    ({'audience': 'ws2s'}, {'aud': 'xws2sx'}, False), ({'issuer': 'app'}, {'iss': 'app'}, True),
    ({'issuer': 'app'}, {}, False),
    ({'issuer': 'app'}, {'iss': 'ap'}, False), ({'issuer': 'app'}, {'iss': ['app']}, False),
    ({'issuer': 'app'}, {'iss': None}, False),
    ({'issuer': 'app', 'audience': 'ws2s'}, {'iss': 'app', 'aud': 'ws2s'}, True),
    ({'issuer': 'app', 'audience': 'ws2s'}, {'iss': 'app', 'aud': 'x'}, False)])
def test_audience_and_issuer_are_checked_where_they_are_configured(rules, claims, is_good):
    assert bool(token_identity(jwt(good(**claims)), **rules)) == is_good


def test_a_jwt_says_where_it_may_go():
    def rules(**claims):
        return [[rule.text for rule in rules] for rules in token_identity(jwt(good(**claims))).targets]
    assert rules() == []
    assert rules(targets=['db.lan:5432', '*.app.lan']) == [['db.lan:5432', '*.app.lan']]
    assert rules(host='db.lan', port=5432) == rules(host='db.lan', port='5432') == [['db.lan:5432']]
    assert rules(host='::1', port=80) == [['[::1]:80']]
    assert rules(host=u'b\xfccher.lan', port=80) == [['xn--bcher-kva.lan:80']]
    assert rules(host='db.lan', port=5432, targets=['10.0.0.0/8']) == [['10.0.0.0/8'], ['db.lan:5432']]


def test_no_jwt_may_read_the_counts():
    assert token_identity(jwt(good(metrics=True))).metrics is False


# --- Users, certificates, proxies -----------------------------------------------------------------

def test_a_login_is_still_to_be_checked():
    assert claim(request(basic(u'\xe4nn', u'p\xe4ss:word'))) == Claim(
        [], ((u'\xe4nn'.encode('utf-8'), u'p\xe4ss:word'.encode('utf-8')),))
    assert claim(request(basic('ann', ''))).logins == ((b'ann', b''),)
    both = claim(request(basic('grafana'), ('Sec-WebSocket-Protocol', offer(TOKEN))))
    assert [one.name for one in both.identities] == ['grafana'] and both.logins == ((b'grafana', b'secret'),)


@pytest.mark.parametrize('text', ['', 'x', '====', 'YW5u', 'YW5uOnNlY3JldA', 'YW5uOnNlY3JldA=', u'YW5uOnNlY3JldA==\x80',
                                  'YW5uOn NlY3JldA==', 'YW5uOnNlY3JldA==YW5u', 'YW5uOnNlY3JldB=='])
def test_a_login_that_is_no_base64_is_refused(text):
    assert is_refused(request(('Authorization', 'Basic ' + text)))


@pytest.mark.parametrize('name, found', [
    ('backup', ['backup']), ('Backup', None), ('backup ', None), ('', None), ('*', None), (None, [])])
def test_a_certificate_is_known_by_its_common_name(name, found):
    if found is None:
        assert is_refused(request(), certificate_name=name)
        assert is_refused(request(bearer(TOKEN)), certificate_name=name)
    else:
        assert names(request(), certificate_name=name) == found
    assert names(request(bearer(TOKEN)), config(tokens=TOKENS), certificate_name=name) == ['grafana']  # nobody asks


def test_the_header_of_a_proxy_counts_only_from_one_that_is_trusted():
    spoof = request(('X-Forwarded-User', 'ann'))
    assert names(spoof) == [] and names(spoof, from_proxy=True) == ['ann']
    assert names(spoof, config(tokens=TOKENS), from_proxy=True) == []
    for header in (u'\xe4nn', u'\u6771\u4eac'):
        of = request(('X-Forwarded-User', header.encode('utf-8').decode('latin-1')))
        assert names(of, from_proxy=True) == [header]
    assert names(request(('X-Forwarded-User', '')), from_proxy=True) == []
    assert is_refused(request(('X-Forwarded-User', 'ann'), ('X-Forwarded-User', 'root')), status=400, from_proxy=True)
    assert is_refused(request(('X-Forwarded-User', u'\xff')), from_proxy=True)
    assert is_refused(request(('X-Forwarded-User', 129 * 'x')), from_proxy=True)


def test_a_user_whom_a_proxy_names_is_as_narrow_as_auth_users_has_it():
    of = request(('X-Forwarded-User', u'\xe4nn'.encode('utf-8').decode('latin-1')))
    found = claim(of, from_proxy=True).identities
    assert found == [Identity(u'\xe4nn', 'proxy', (ALL['auth.users'][0].targets,), False)]


@pytest.mark.parametrize('auth, needs', [
    ({}, False), ({'pages': False}, False), ({'tokens': []}, False), ({'users': [], 'clientCertificates': []}, False),
    ({'tokens': TOKENS}, True), ({'users': USERS}, True), ({'jwt': {'secret': SECRET}}, True),
    ({'clientCertificates': [{'name': 'a'}]}, True), ({'proxyHeader': 'X-User'}, True)])
def test_any_key_that_can_let_somebody_in_makes_an_identity_necessary(auth, needs):
    assert ws2s.needs_identity(config(**auth)) is needs


@pytest.mark.parametrize('auth, of', [
    ({'tokens': TOKENS}, request(basic('grafana'))), ({'jwt': {'secret': SECRET}}, request(bearer(TOKEN)))])
def test_a_way_that_is_not_configured_lets_nobody_in(auth, of):
    found = claim(of, config(**auth))
    assert found.identities == [None] or found == Claim([], ((b'grafana', b'secret'),))


def test_a_browser_is_told_of_logins_where_there_are_users():
    assert ws2s.unauthorized(config(tokens=TOKENS)).headers == (('WWW-Authenticate', 'Bearer realm="ws2s"'),)
    assert ws2s.unauthorized(ALL).sentence == SENTENCE
    assert ws2s.unauthorized(ALL).headers[1] == ('WWW-Authenticate', 'Basic realm="ws2s", charset="UTF-8"')


# --- Passwords ------------------------------------------------------------------------------------

def test_a_password_fits_its_hash_and_no_other():
    hashed = 'pbkdf2-sha256$100000$%s$%s' % tuple(base64.b64encode(data).decode('ascii') for data in (
        b'saltsalt', hashlib.pbkdf2_hmac('sha256', b'p\xc3\xa4ss', b'saltsalt', 100000)))
    passwords = ws2s.Passwords()
    wrong = [b'', b'p', b'p\xc3\xa4s', b'p\xc3\xa4ss ', b'P\xc3\xa4ss', b'p\xc3\xa4ss\0', b'p\xe4ss']
    for _ in range(2):
        assert passwords.blocking_check([(hashed, password) for password in wrong]) == [False] * len(wrong)
        assert passwords.blocking_check([(hashed, b'p\xc3\xa4ss'), (HASH, b'p\xc3\xa4ss')]) == [True, False]


def test_what_is_known_to_be_right_is_not_hashed_again_and_is_bounded(monkeypatch):
    hashed, counts = [], []
    monkeypatch.setattr(ws2s, 'hash_of_password', lambda password, salt, rounds: hashed.append(rounds) or 32 * b'\0')
    passwords = ws2s.Passwords()
    for number in itertools.chain(range(1500), [1499, 1499]):
        assert passwords.blocking_check([(HASH, repr(number).encode('ascii'))]) == [True]
        counts.append(len(hashed))
    assert counts[-1] == counts[-3] == 1500 and set(hashed) == {100000}


def test_what_the_program_makes_of_a_password_is_what_the_configuration_takes():
    text = ws2s.password_text(b'secret', 16 * b's')
    _, rounds, salt, digest = text.split('$')
    assert (rounds, base64.b64decode(salt)) == ('600000', 16 * b's')
    assert base64.b64decode(digest) == hashlib.pbkdf2_hmac('sha256', b'secret', 16 * b's', 600000)
    assert config(users=[{'name': 'ann', 'password': text}])['auth.users'][0].password.text == text


# --- Failures -------------------------------------------------------------------------------------

def test_an_address_is_slowed_after_ten_failures_in_a_minute():
    failures = ws2s.Failures()
    for second in range(10):
        assert not failures.slows(b'a', second)
        failures.note(b'a', second)
    assert failures.slows(b'a', 9) and failures.slows(b'a', 60) and not failures.slows(b'a', 61)
    assert not failures.slows(b'b', 9)
    failures.note(b'a', 61)
    assert failures.slows(b'a', 61) and not failures.slows(b'a', 62)


def test_few_failures_in_a_minute_slow_nobody():
    failures = ws2s.Failures()
    for moment in range(0, 1000, 7):
        failures.note(b'a', moment)
        assert not failures.slows(b'a', moment)


def test_what_is_remembered_of_failures_is_bounded():
    failures = ws2s.Failures()
    for number in range(15000):
        for _ in range(2):
            failures.note(number, 1)
    assert len(failures._moments) == 10000
    for number in range(10000):
        failures.note(b'a', 62)
    assert list(failures._moments) == [b'a']


# --- Where an identity may go ---------------------------------------------------------------------

PUBLIC = '93.184.216.34'


def narrow_judge(targets, **rules):
    settings = ws2s.parse_config(json.dumps(dict({'allowConnectToServerLocal': True}, **rules)))
    judge = ws2s.Judge(settings, lambda packed: False)
    lists = [[ws2s.read_target_rule(text) for text in some] for some in targets]
    return ws2s.NarrowJudge(judge, [tuple(some) for some in lists])


@pytest.mark.parametrize('targets, rules, host, address, is_allowed', [
    ([['db.lan:5432']], {}, 'db.lan', PUBLIC, True), ([['db.lan:5433']], {}, 'db.lan', PUBLIC, False),
    ([['*.lan']], {}, 'DB.LAN.', PUBLIC, True), ([['*.lan']], {}, 'db.lan.evil', PUBLIC, False),
    ([['93.184.216.0/24']], {}, 'anything', PUBLIC, True), ([['93.184.216.0/25:5432']], {}, 'anything', PUBLIC, True),
    ([['10.0.0.0/8']], {}, 'anything', PUBLIC, False), ([['10.0.0.0/8', '*.lan']], {}, 'db.lan', PUBLIC, True),
    ([['*.lan'], ['db.*']], {}, 'db.lan', PUBLIC, True), ([['*.lan'], ['www.*']], {}, 'db.lan', PUBLIC, False),
    ([['*.lan'], ['93.0.0.0/8']], {}, 'db.lan', PUBLIC, True),
    ([['*']], {'denyTargets': ['db.lan']}, 'db.lan', PUBLIC, False),
    ([['*']], {'allowTargets': ['www.lan']}, 'db.lan', PUBLIC, False),
    ([['db.lan']], {'allowTargets': ['*.lan:5432']}, 'db.lan', PUBLIC, True),
    ([['*']], {'allowConnectToServerLocal': False}, 'db.lan', '127.0.0.1', False),
    ([['127.0.0.1']], {'allowConnectToServerLocal': False}, 'db.lan', '127.0.0.1', False),
    ([['127.0.0.1']], {}, 'db.lan', '127.0.0.1', True), ([['127.0.0.1']], {}, 'db.lan', '::ffff:127.0.0.1', True),
    ([['localhost']], {}, 'x', '127.0.0.1', False), ([['*']], {}, 'db.lan', '169.254.169.254', False),
    ([['169.254.169.254']], {}, 'db.lan', '169.254.169.254', False),  # no identity widens what the gateway allows
    ([['*']], {'allowTargets': ['169.254.169.254']}, 'db.lan', '169.254.169.254', False),
    ([['169.254.169.254']], {'allowTargets': ['169.254.169.254']}, 'db.lan', '169.254.169.254', True)])
def test_the_targets_of_an_identity_narrow_those_of_the_gateway(targets, rules, host, address, is_allowed):
    judge = narrow_judge(targets, **rules)
    assert judge.judge(host, 5432, address).allowed is is_allowed
    resolver = ws2s.Resolver(None, None, None, judge, None)
    found, failure = resolver.allowed(host, 5432, [(2, (address, 5432))])
    assert found == ([(2, (address, 5432))] if is_allowed else None)
    assert is_allowed or (failure.code, failure.reason) == (4, 'forbidden')
    if is_allowed:
        assert judge.judge_name(host, 5432) is None


def test_an_identity_is_told_that_it_may_not_go_there():
    judge = narrow_judge([['db.lan']])
    failure = ws2s.Resolver(None, None, None, judge, None).refusal('www.lan', 80)
    assert failure.message == 'the rules of this gateway forbid this target (this identity may not go there)'
    assert judge.judge_name('www.lan', 80).allowed is False and judge.judge_name('db.lan', 80) is None
    assert narrow_judge([['10.0.0.0/8']]).judge_name('www.lan', 80) is None  # its address may be one of these
    denied = narrow_judge([['db.lan']], denyTargets=['www.lan']).judge_name('www.lan', 80)
    assert denied.setting == 'denyTargets'


def test_two_identities_do_not_share_verdicts():
    settings = ws2s.parse_config('{}')
    judge = ws2s.Judge(settings, lambda packed: False)
    resolver = ws2s.Resolver(None, None, None, judge, None)
    of_each = [resolver.narrowed(Identity(name, 'token', ((ws2s.read_target_rule(target),),), False))
               for name, target in (('a', 'a.lan'), ('b', 'b.lan'))]
    found = [(2, (PUBLIC, 80))]
    for _ in range(2):
        for host, verdicts in (('a.lan', (True, False, True)), ('b.lan', (False, True, True)),
                               ('c.lan', (False, False, True))):
            assert tuple(bool(one.allowed(host, 80, found)[0]) for one in of_each + [resolver]) == verdicts
    assert resolver.narrowed(Identity('a', 'token', (), False)) is resolver


def test_a_reload_of_the_rules_counts_for_identities_too():
    judge = ws2s.Judge(ws2s.parse_config('{}'), lambda packed: False)
    narrow = ws2s.NarrowJudge(judge, [(ws2s.read_target_rule('db.lan'),)])
    assert narrow.judge('db.lan', 80, PUBLIC).allowed and narrow.judge_name('db.lan', 80) is None
    judge.use(ws2s.parse_config('{"denyTargets": ["db.lan"]}'))
    assert not narrow.judge('db.lan', 80, PUBLIC).allowed and narrow.judge_name('db.lan', 80).setting == 'denyTargets'


# --- Wisp -----------------------------------------------------------------------------------------

def wisp(offered, auth=None, **settings):
    text = json.dumps({'auth': {'users': USERS} if auth is None else auth, 'wisp': settings})
    of = request(*[('Sec-WebSocket-Protocol', name) for name in offered], path='/wisp/')
    return ws2s.WispDialect(of, ws2s.parse_config(text))


def info(*extensions):
    told = [struct.pack('<BI', number, len(data)) + data for number, data in extensions]
    return struct.pack('<BI', 5, 0) + b'\2\0' + b''.join(told)


def test_a_stranger_is_asked_who_it_is_by_the_extension_and_before_anything_else():
    dialect = wisp(['wisp-v2'])
    assert dialect.on_stranger() is True
    greeting = dialect.on_start()
    assert greeting[0].payload.endswith(b'\2\1\0\0\0\1') and greeting[1] == Later(10)
    assert dialect.on_binary(info((2, b'\3annsecret')), True) == [Authenticate([(b'ann', b'secret')])]
    again = dialect.on_binary(info((2, b'\3annsecret')), True)
    assert again[-1] == Hangup(1008, 'no agreement on Wisp')
    assert dialect.on_authenticated(True)[0].payload == struct.pack('<BII', 3, 0, 16)


def test_a_stranger_with_a_wrong_password_is_closed():
    dialect = wisp(['wisp-v2', offer('x')])
    assert dialect.on_stranger()
    dialect.on_binary(info((2, b'\3\6\0annsecret')), True)
    refusal = dialect.on_authenticated(False)
    assert [refusal[0].payload, refusal[1]] == [struct.pack('<BIB', 4, 0, 0xc0), Hangup(1008, 'no agreement on Wisp')]
    assert dialect.on_binary(struct.pack('<BIBBH', 1, 1, 1, 80, 0) + b'db.lan', True)[-1].code == 1008


@pytest.mark.parametrize('extensions, reason', [((), 0xc2), (((2, b''),), 0xc0), (((1, b''),), 0xc2)])
def test_a_stranger_without_a_password_is_closed(extensions, reason):
    dialect = wisp(['wisp-v2'], users={'ann': 'secret'})
    assert dialect.on_stranger()
    assert dialect.on_binary(info(*extensions), True)[0].payload == struct.pack('<BIB', 4, 0, reason)


@pytest.mark.parametrize('offered, auth', [
    ([], None), (['wisp-v1'], None), ([offer('x')], None), (['wisp-v2'], {'tokens': TOKENS}), (['wisp-v2'], {})])
def test_a_stranger_whom_the_extension_cannot_ask_does_not_come_in(offered, auth):
    assert wisp(offered, auth).on_stranger() is False


def test_a_password_of_wisp_users_is_no_identity():
    dialect = wisp(['wisp-v2'], users={'bob': 'other'})
    assert dialect.on_stranger()
    assert dialect.on_binary(info((2, b'\3bobother')), True) == [Authenticate([(b'bob', b'other')])]


def test_a_client_that_is_known_is_asked_for_a_password_of_wisp_users_alone():
    assert wisp(['wisp-v2']).on_binary(info(), True)[0].payload == struct.pack('<BII', 3, 0, 16)
    dialect = wisp(['wisp-v2'], users={'bob': 'other'})
    assert dialect.on_binary(info((2, b'\3annsecret')), True)[0].payload == struct.pack('<BIB', 4, 0, 0xc0)


def test_no_other_dialect_asks():
    for dialect in (ws2s.JsonDialect, ws2s.Dialect):
        assert dialect(request(), ALL).on_stranger() is False


# --- The program ----------------------------------------------------------------------------------

Arguments = collections.namedtuple('Arguments', 'mint_token targets hours')


@pytest.mark.parametrize('targets, hours',
                         [(None, None), (['db.lan:5432', '*.lan:80,443'], 2), ([u'b\xfccher.lan'], 24)])
def test_a_token_that_is_minted_is_taken_until_its_time_is_up(targets, hours):
    settings = config(jwt={'secret': SECRET, 'algorithms': ['HS512'], 'issuer': 'app', 'audience': 'ws2s'})
    token = ws2s.minted_token(settings, Arguments('ann', targets, hours), NOW).encode('ascii')
    last = NOW + 3600 * (hours or 1)
    for now in (NOW, last - 1):
        found = ws2s.read_jwt(token, settings['auth.jwt'], now)
        assert found.name == 'ann'
        assert [[rule.text for rule in rules] for rules in found.targets] == ([targets] if targets else [])
    assert ws2s.read_jwt(token, settings['auth.jwt'], last) is None


@pytest.mark.parametrize('arguments', [
    ('', None, None), ('a\nb', None, None), ('ann', ['a b'], None), ('ann', [''], None), ('ann', None, 0),
    ('ann', None, -1), ('ann', None, 10 ** 7)])
def test_a_token_that_makes_no_sense_is_not_minted(arguments):
    with pytest.raises(ConfigError):
        ws2s.minted_token(config(jwt={'secret': SECRET}), Arguments(*arguments), NOW)
    with pytest.raises(ConfigError):
        ws2s.minted_token(config(), Arguments('ann', None, None), NOW)


@pytest.mark.parametrize('argv',
                         [['--as', 'ann'], ['--targets', 'db.lan'], ['--hours', '1'],
                          ['--mint-token', 'a', '--hours', 'x'],
                          ['--print-config', '--as', 'ann']])
def test_arguments_that_belong_to_another_do_not_stand_alone(argv):
    with pytest.raises(ConfigError):
        ws2s.parse_arguments(argv)
