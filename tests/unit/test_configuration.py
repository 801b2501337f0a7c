# -*- coding: utf-8 -*-
"""Room 3: what stands in a configuration, and what may not."""
import collections
import json

import pytest

import ws2s
from ws2s import ConfigError, Origin, parse_config

MIB = 1048576

# What no option of that kind takes.
NO_FLAG = [None, 0, 1, 'true', '', [], {}]
NO_TEXT = [None, '', 5, True, 1.5, [], ['a'], {}, 'a\0b']
NO_TEXT_OR_NULL = NO_TEXT[1:]
NO_NUMBER = [None, True, False, '1', '', 1.5, 1e999, [], [1], {}]
NO_SECONDS = [None, True, False, '1', '', 1e999, [], [1], {}]
NO_LIST = [None, True, 5, 'a.example', {}, {'a.example': 'b.example'}]
NO_LIST_OF_TEXT = NO_LIST + [[5], [None], [True], [''], [['a.example']], [{}], ['a\0b']]
NO_LEVEL = [None, '', 5, True, [], {}, 'verbose', 'info ', ['info']]
NO_CHECKING = [None, '', 1, True, False, [], {}, 'ask', 'off', 'YES', 'yes ', 'accept_new', ['yes']]

# What a command line of ssh would not take as it is: quotes, tokens, variables, separators, control characters.
BAD_PATHS = ['/a"b', '/a$b', '${HOME}/a', '/a%b', '/%h', '/a%%b', '/a:b', 'C:/a', '/a\\b', '/a\nb', '/a\n', '\r/a',
             '/a\tb', '/a\x1b', '/a\x7f', '\x01']
NO_PATH = NO_TEXT + BAD_PATHS
BAD_TARGETS = ['a', 'a:', ':80', 'a:0', 'a:65536', 'a b:80', '[a]:80', 'a:80:', '-a:80', u'fa\xdf:80', u'a:\uff11']

BAD_LISTENERS = [[listener] for listener in (
    {'prot': 80}, {'Port': 80}, {'port': 65536}, {'port': '80'}, {'port': None}, {'host': ''}, {'path': ''},
    {'path': 1}, {'path': 'a\0'}, {'path': '/a', 'port': 80}, {'path': '/a', 'host': '::1'}, {'mode': '0660'},
    {'tls': 1},
    {'port': 80, 'mode': '0660'}, {'path': '/a', 'mode': 660}, {'path': '/a', 'mode': '0880'}, {'metrics': None},
    {'path': '/a', 'mode': '04755'}, {'path': '/a', 'mode': 'rw'}, {'proxyProtocol': 'true'})]
SHOP = {'name': 'shop', 'host': 'redis.lan'}
BAD_CONNECTIONS = [dict(SHOP, **change) for change in [
    {'port': 0}, {'port': 65536}, {'port': '6379'}, {'port': None}, {'db': -1}, {'db': '0'}, {'db': 2 ** 31},
    {'tls': 1},
    {'tls': {}}, {'readOnly': 'yes'}, {'readOnly': None}, {'readonly': True}, {'colour': '#ff0000'}, {'colour': 'pink'},
    {'colour': None}, {'color': 'red'}, {'username': 'ann'}, {'host': ''}, {'host': None}, {'host': 'a b'},
    {'host': 'a:6379'}, {'host': '[::1]'}, {'host': 'redis://a'}, {'host': u'fa\xdf.de'}]] + [
    dict(SHOP, name=name) for name in ['', 5, None, 'a\nb', 129 * 'x']] + [{'name': 'a'}, {'host': 'a'}]
TOKEN, HASH = 'topsecret-topsecret', 'pbkdf2-sha256$600000$dG9wc2VjcmV0MTIzNA==$' + 43 * 'A' + '='
ANN = {'name': 'ann', 'targets': ['db.lan:5432'], 'metrics': True}
# What no list of objects of `auth` takes, whatever their secret.
NO_ENTRIES = NO_LIST + [[5], [None], ['ann'], [[]], [{}]]
BAD_TARGET_LISTS = [[], 'db.lan:5432', [5], ['db.lan:0'], [''], {}, True]
BAD_NAMES = ['', 5, None, True, 'a\nb', 'a\0b', 129 * 'x', [], {}]


def wrong_entries(member, good, wrong):
    """Lists of one entry each, with something wrong in it; and two of the same."""
    best = dict(ANN, **({member: good} if member else {}))
    rows = [dict(best, name=name) for name in BAD_NAMES] + [dict(best, targets=some) for some in BAD_TARGET_LISTS]
    rows += [dict(best, metrics=value) for value in NO_FLAG] + [dict(best, target=['a'])]
    rows += [{key: value for key, value in best.items() if key != name} for name in ('name', member) if name]
    rows += [dict(best, **{member: value}) for value in wrong]
    return NO_ENTRIES + [[entry] for entry in rows] + [[best, best]]


Row = collections.namedtuple('Row', 'key default wrong changed least most')


def row(key, default, wrong, changed, least=None, most=None):
    return Row(key, default, wrong, changed, least, most)


ROWS = [
    row('listen.host', '127.0.0.1', NO_TEXT, u'gateway-\xfc.lan'),
    row('listen.port', 3613, NO_NUMBER, 8080, 0, 65535),
    row('listen', None,
        [None, [], 'a', 1, True, [None], [[]], ['127.0.0.1:80'], [['path', '/a']]] + BAD_LISTENERS,
        [collections.OrderedDict([('host', '::1'), ('port', 0), ('proxyProtocol', True)]),
         collections.OrderedDict([('path', u'/run/w\xe9.sock'), ('mode', '0660'), ('tls', True), ('metrics', True)])]),
    row('trustedProxies', (),
        NO_LIST_OF_TEXT + [['localhost'], ['*'], ['10.0.0.1:80'], ['10.0.0.0/33'], ['::ffff:10.0.0.1']],
        ['10.0.0.0/8', '::1', '192.0.2.1']),
    row('allowConnectToServerLocal', False, NO_FLAG, True),
    row('allowTargets', (), NO_LIST_OF_TEXT, ['*.Example.com:80,443', '[2001:db8::/32]:600-699', '10.0.0.1']),
    row('denyTargets', (), NO_LIST_OF_TEXT, ['evil.example.', '::1', u'b\xfccher.example:22']),
    row('allowedOrigins', (), NO_LIST_OF_TEXT,
        ['https://App.example', 'http://[2001:db8::1]:8080', 'null', '*', 'https://app.example:8443',
         'chrome-extension://abcdef']),
    row('allowedHosts', (), NO_LIST_OF_TEXT, ['GW.example', '192.0.2.1']),
    row('auth.tokens', (), wrong_entries('token', TOKEN, NO_TEXT + ['***', 15 * 'x', u'\ud800' + TOKEN, {'env': 'X'}]),
        [dict(ANN, token=TOKEN), {'name': 'ann', 'token': TOKEN[::-1]}]),
    row('auth.users', (), wrong_entries('password', HASH, NO_TEXT + [
        '***', 'secret', HASH + 'A', HASH[:-1], HASH.replace('600000', '60000'), HASH.replace('600000', '0600000'),
        HASH.replace('256', '512'), HASH.replace('600000', '99999999'), HASH.replace('NA==', 'N'), ' ' + HASH]),
        [dict(ANN, password=HASH), {'name': u'\xe4', 'password': HASH}]),
    row('auth.jwt', None, NO_LIST[1:4] + NO_ENTRIES[5:] + [
        {}, {'secret': 31 * 'x'}, {'secret': u'\ud800' + 40 * 'x'}, {'secret': '***'}, {'secret': {'file': 'x'}}] + [
        dict({'secret': 32 * 'x'}, **{name: value}) for name, values in [
            ('algorithms', NO_LIST + [[], ['none'], ['RS256'], ['hs256'], ['HS256', 'ES256'], [''], [1]]),
            ('issuer', NO_TEXT_OR_NULL), ('audience', NO_TEXT_OR_NULL), ('issuers', ['x'])] for value in values],
        {'secret': 32 * 'x', 'algorithms': ['HS512', 'HS256'], 'issuer': 'a', 'audience': 'b'}),
    row('auth.clientCertificates', (), wrong_entries(None, None, ()), [ANN]),
    row('auth.proxyHeader', None, NO_TEXT_OR_NULL + ['a b', 'a:', u'\xe4'],
        'X-Forwarded-User'),
    row('auth.pages', False, NO_FLAG, True),
    row('web', None, NO_TEXT_OR_NULL, u'/srv/w\xe9b "quoted"'),
    row('workers', 0, NO_NUMBER, 3, 0, 1024),
    row('limits.clients', 10000, NO_NUMBER, 7, 1, 10 ** 6),
    row('limits.clientsPerAddress', 0, NO_NUMBER, 8, 0, 10 ** 6),
    row('limits.messageBytes', 16 * MIB, NO_NUMBER, 65536, 1024, 1024 * MIB),
    row('limits.bufferBytes', 262144, NO_NUMBER, 65536, 16384, 1024 * MIB),
    row('limits.totalBytes', 512 * MIB, NO_NUMBER, 64 * MIB, MIB, 1024 * 1024 * MIB),
    row('limits.handshakeSeconds', 10, NO_SECONDS, 2.5, 0.05, 10 ** 7),
    row('limits.connectSeconds', 10, NO_SECONDS, 3, 0.05, 10 ** 7),
    row('limits.pingSeconds', 30, NO_SECONDS, 0.5, 0, 10 ** 7),
    row('limits.idleSeconds', 0, NO_SECONDS, 600, 0, 10 ** 7),
    row('limits.stallSeconds', 300, NO_SECONDS, 0, 0, 10 ** 7),
    row('limits.drainSeconds', 5, NO_SECONDS, 0, 0, 10 ** 7),
    row('limits.announceSeconds', 0, NO_SECONDS, 10, 0, 10 ** 7),
    row('limits.upgradeSeconds', 3600, NO_SECONDS, 0, 0, 10 ** 7),
    row('dial.sourceAddresses', (), NO_LIST_OF_TEXT + [
        ['localhost'], ['0.0.0.0'], ['::'], ['127.1'], ['10.0.0.0/8'], ['[::1]'], ['10.0.0.1:80'], ['fe80::1%lo']],
        ['192.0.2.1', '2001:db8::1']),
    row('raw.enabled', True, NO_FLAG, False),
    row('raw.target', None, NO_TEXT_OR_NULL + BAD_TARGETS, 'vnc.lan:5900'),
    row('raw.tokens', None, NO_TEXT_OR_NULL, u'/srv/w\xe9b/tokens'),
    row('raw.hostToken', False, NO_FLAG, True),
    row('raw.hostTargets', ws2s.Pairs(),
        [None, [], 'a', 1, ['a:1'], {'a b': 'c:1'}] + [{'gw': target} for target in BAD_TARGETS],
        collections.OrderedDict([('gw.example', 'db.lan:5432'), ('*', '[2001:db8::1]:5432')])),
    row('raw.udp', False, NO_FLAG, True),
    row('raw.playground', False, NO_FLAG, True),
    row('raw.subprotocols', (), NO_LIST_OF_TEXT + [['a b'], ['a,b']], ['mqtt', 'sip']),
    row('raw.only', False, NO_FLAG, True),
    row('wisp.path', '/wisp/', NO_TEXT_OR_NULL + ['wisp/', '/wisp', '/a?b/', '/a b/'], '/'),
    row('wisp.udp', False, NO_FLAG, True),
    row('wisp.streams', 256, NO_NUMBER, 7, 1, 65536),
    row('wisp.motd', None, NO_TEXT_OR_NULL, u'Gr\xfc\xdf Gott'),
    row('wisp.users', ws2s.Pairs(), [None, [], 'a', 1, ['a'], {'': 'a'}, {'a': ''}, {'a': 1}, {'a': '***'}],
        {'ann': 'x'}),
    row('tls.certificate', None, NO_TEXT_OR_NULL, u'/etc/w\xe9b.pem'),
    row('tls.key', None, NO_TEXT_OR_NULL, 'key.pem'),
    row('tls.minVersion', '1.2', NO_TEXT + ['1.1', '1.20', 1.2, 'TLSv1.2'], '1.3'),
    row('tls.clientCa', None, NO_TEXT_OR_NULL, '~/ca.pem'),
    row('tls.allowUnverified', False, NO_FLAG, True),
    row('deflate.enabled', False, NO_FLAG, True),
    row('deflate.level', 1, NO_NUMBER, 6, 1, 9),
    row('deflate.minBytes', 256, NO_NUMBER, 0, 0, 1024 * MIB),
    row('deflate.windowBits', 12, NO_NUMBER, 15, 9, 15),
    row('deflate.memLevel', 5, NO_NUMBER, 8, 1, 9),
    row('deflate.contextTakeover', False, NO_FLAG, True),
    row('ssh.enabled', True, NO_FLAG, False),
    row('ssh.program', 'ssh', NO_TEXT, u'/opt/openssh 9/b\xefn/ssh'),
    row('ssh.hostKeyChecking', 'accept-new', NO_CHECKING, 'yes'),
    row('ssh.knownHosts', '~/.ws2s/known_hosts', NO_PATH, u'/srv/w\xe9b 2/known_hosts'),
    row('ssh.configFile', None, NO_PATH[1:], "~/it's options"),
    row('ssh.keyDirectories', (), NO_LIST_OF_TEXT + ['/keys'] + [['/keys', path] for path in BAD_PATHS],
        ['~/keys', u'/srv/cl\xe9s']),
    row('ssh.maxTunnels', 100, NO_NUMBER, 7, 1, 10000),
    row('ssh.timeoutSeconds', 15, NO_SECONDS, 2.5, 0.05, 10 ** 7),
    row('redis.connections', (),
        NO_LIST + [[5], [None], ['a'], [[]], [{}], [SHOP, SHOP]] + [[wrong] for wrong in BAD_CONNECTIONS],
        [collections.OrderedDict([('name', u'Sh\xf6p'), ('host', 'redis.lan'), ('port', 6380), ('db', 0), ('tls', True),
                                  ('readOnly', True), ('colour', 'red')]), {'name': '/#?&', 'host': '::1', 'db': 3}]),
    row('log.level', 'info', NO_LEVEL, 'debug'),
    row('log.file', None, NO_TEXT_OR_NULL, '/var/log/ws2s.log'),
    row('log.bytes', MIB, NO_NUMBER, 0, 0, 1024 * 1024 * MIB),
    row('log.files', 3, NO_NUMBER, 9, 1, 1000),
]
KEYS = [each.key for each in ROWS]
SECRET = {'wisp.users': {'ann': TOKEN}, 'auth.tokens': [{'name': 'ann', 'token': TOKEN}], 'auth.jwt': {
    'secret': 2 * TOKEN}, 'auth.users': [{'name': 'ann', 'password': HASH}]}
WRONG = [(each.key, value) for each in ROWS for value in each.wrong]
BOUNDED = [each for each in ROWS if each.most is not None]


def config_text(key, value):
    """The JSON text in which this one dotted key stands in its section."""
    section, _, name = key.rpartition('.')
    tree = {section: {name: value}} if section else {name: value}
    return json.dumps(tree).replace('Infinity', '1e999')


def is_one_plain_line(error):
    text = str(error)
    return 0 < len(text) and all(' ' <= character <= '~' for character in text)


def fails_naming(name, text):
    with pytest.raises(ConfigError) as caught:
        parse_config(text)
    assert name in str(caught.value)
    assert is_one_plain_line(caught.value)


# --- Every option ---------------------------------------------------------------------------------

def test_each_option_has_a_row_here():
    assert [option.key for option in ws2s.OPTIONS] == KEYS


def test_each_option_says_what_it_is_for():
    assert [option.key for option in ws2s.OPTIONS if not option.help.strip()] == []


@pytest.mark.parametrize('each', ROWS, ids=KEYS)
def test_default(each):
    value = parse_config('{}')[each.key]
    assert value == each.default
    assert type(value) is type(each.default)


@pytest.mark.parametrize('key, value', WRONG, ids=['%s=%r' % pair for pair in WRONG])
def test_wrong_value_is_an_error_naming_the_key(key, value):
    fails_naming('"%s"' % key, config_text(key, value))


@pytest.mark.parametrize('each', BOUNDED, ids=[each.key for each in BOUNDED])
def test_bounds_are_taken_and_what_lies_beyond_is_refused(each):
    for value in (each.least, each.most):
        assert parse_config(config_text(each.key, value))[each.key] == value
    for value in (each.least - 1, each.most + 1, -1, -10 ** 30, 10 ** 30):
        fails_naming('"%s"' % each.key, config_text(each.key, value))


@pytest.mark.parametrize('key', [each.key for each in BOUNDED if 'Seconds' in each.key])
def test_seconds_may_be_fractions(key):
    assert parse_config(config_text(key, 0.25))[key] == 0.25


@pytest.mark.parametrize('key', ['web', 'ssh.configFile', 'log.file'])
def test_null_is_the_same_as_leaving_it_out(key):
    assert parse_config(config_text(key, None))[key] is None


@pytest.mark.parametrize('level', ['debug', 'info', 'warning', 'error'])
def test_log_levels(level):
    assert parse_config(config_text('log.level', level))['log.level'] == level


@pytest.mark.parametrize('checking', ['accept-new', 'yes', 'no'])
def test_ways_to_check_host_keys(checking):
    assert parse_config(config_text('ssh.hostKeyChecking', checking))['ssh.hostKeyChecking'] == checking


@pytest.mark.parametrize('path', ['a', '/', './a', '../a', '~/a', '~me/a', '/a b', "/it's", '/a#b', '/a=b',
                                  u'/\u4e2d', '-a',
                                  '/a*?[b]', '/a;b&c|d', '/a`b`', '/a(b)'])
@pytest.mark.parametrize('key', ['ssh.knownHosts', 'ssh.configFile'])
def test_plain_path(key, path):
    assert parse_config(config_text(key, path))[key] == path


# --- The file -------------------------------------------------------------------------------------

@pytest.mark.parametrize('local', [True, False])
def test_files_of_2_1_5_work_unchanged(local):
    config = parse_config(json.dumps({'allowConnectToServerLocal': local,
                                      'listen': {'host': '0.0.0.0', 'port': 3614}}, indent=4, sort_keys=True))
    assert config['allowConnectToServerLocal'] is local
    assert (config['listen.host'], config['listen.port']) == ('0.0.0.0', 3614)


@pytest.mark.parametrize('text, name', [
    ('{"alowTargets": []}', 'alowTargets'),
    ('{"Workers": 1}', 'Workers'),
    ('{"": 1}', '""'),
    ('{"": {}}', '""'),
    ('{"listen": {"prot": 80}}', 'prot'),
    ('{"limits": {"client": 80}}', 'client'),
    ('{"limits": {"": 80}}', ''),
    ('{"log": {"level": "info", "Files": 1}}', 'Files'),
    ('{"ssh": {"password": "x"}}', 'password'),
    ('{"ssh": {"Enabled": false}}', 'Enabled'),
    ('{"hostKeyChecking": "yes"}', 'hostKeyChecking'),
    ('{"port": 3613}', 'port'),
    ('{"host": "x", "workers": 1}', 'host'),
    ('{"a\\u001b[1m\\nb": 1}', 'b'),
    (u'{"b\xfccher": 1}', 'b'),
])
def test_unknown_key_is_an_error_naming_it(text, name):
    fails_naming(name, text)


@pytest.mark.parametrize('text, name', [
    ('{"workers": 1, "workers": 1}', 'workers'),
    ('{"denyTargets": ["a.example"], "denyTargets": []}', 'denyTargets'),
    ('{"listen": {"port": 1, "port": 2}}', 'port'),
    ('{"listen": {"port": 1}, "workers": 1, "listen": {"port": 2}}', 'listen'),
])
def test_doubled_key_is_an_error_naming_it(text, name):
    fails_naming(name, text)


@pytest.mark.parametrize('section', ['listen', 'limits', 'ssh', 'log'])
@pytest.mark.parametrize('value', ['null', '[]', '"x"', '5', 'true', '[["host", "x"]]'])
def test_section_that_is_no_object_is_an_error_naming_it(section, value):
    fails_naming('"%s"' % section, '{"%s": %s}' % (section, value))


@pytest.mark.parametrize('text', [
    '', ' ', 'hello', '[]', '[["workers", 1]]', '5', 'null', 'true', '"x"', '{', '{"workers": 1',
    '{"workers": 1,}', "{'workers': 1}", '{} {}', '{"workers": 01}', '{"workers": NaN}',
    '{"workers": Infinity}', '{"limits": {"pingSeconds": -Infinity}}', '{"limits": {"pingSeconds": NaN}}',
    '{}\n\0', u'{\ufeff}', u'{}\ufeff', '{"web": "a\tb"}',
], ids=repr)
def test_what_is_no_json_object_is_one_plain_line(text):
    fails_naming('', text)


@pytest.mark.parametrize('opening, closing', [('[', ']'), ('{"workers": ', '}'), ('{"denyTargets": [', ']}')])
def test_deep_nesting_is_an_error_and_no_crash(opening, closing):
    fails_naming('', opening * 100000 + '1' + closing * 100000)


# A17: files that editors of Windows have saved

@pytest.mark.parametrize('text', [u'{"workers": 3}', u'\r\n{"workers": 3, "web": "w\xe9b"}\r\n'])
@pytest.mark.parametrize('marks', [0, 1, 2])
def test_a_mark_of_utf_8_is_passed_over(text, marks):
    data = (marks * u'\ufeff' + text).encode('utf-8')
    assert parse_config(ws2s.config_text(data))['workers'] == parse_config(marks * u'\ufeff' + text)['workers'] == 3


@pytest.mark.parametrize('coding', ['utf-16', 'utf-16-le', 'utf-16-be', 'utf-32', 'utf-32-le', 'utf-32-be'])
@pytest.mark.parametrize('text', [u'{}', u'{"web": "w\xe9b"}', u'\n{}', u'\ufeff{}', u'\ufeff'], ids=repr)
def test_a_file_of_wide_characters_is_to_be_saved_as_utf_8(text, coding):
    with pytest.raises(ConfigError) as caught:
        ws2s.config_text(text.encode(coding))
    assert str(caught.value) == 'this is UTF-16 or UTF-32; save it as UTF-8'


@pytest.mark.parametrize('data', [
    u'{"web": "w\xe9b"}'.encode('latin-1'), u'{"web": "\x80"}'.encode('latin-1'), b'\xef\xbb{}', b'\x80',
    b'{"web": "\xed\xa0\x80"}', u'{"web": "\u0436"}'.encode('koi8-r')], ids=repr)
def test_a_file_of_another_coding_is_to_be_saved_as_utf_8(data):
    with pytest.raises(ConfigError) as caught:
        ws2s.config_text(data)
    assert str(caught.value) == 'this is not UTF-8; save it as UTF-8'


@pytest.mark.parametrize('data', [b'', b'\0', 4096 * b'\0', b'\xef\xbb\xbf', b'{"web": "a\0b"}', b'{}    \0'], ids=repr)
def test_a_file_that_is_empty_or_damaged_is_no_json(data):
    with pytest.raises(ConfigError) as caught:
        parse_config(ws2s.config_text(data))
    assert 'this is not JSON' in str(caught.value)


# --- Listeners ------------------------------------------------------------------------------------

def listens(text):
    return [dict(pair for pair in zip(listen._fields, listen) if pair[1] not in (None, False))
            for listen in ws2s.listeners(parse_config(text))]


@pytest.mark.parametrize('text, found', [
    ('{}', [{'host': '127.0.0.1', 'port': 3613}]),
    ('{"listen": {}}', [{'host': '127.0.0.1', 'port': 3613}]),
    ('{"listen": {"port": 80}}', [{'host': '127.0.0.1', 'port': 80}]),
    ('{"listen": {"host": "::", "port": 80}}', [{'host': '::', 'port': 80}]),
    ('{"listen": [{}]}', [{'host': '127.0.0.1', 'port': 3613}]),
    ('{"listen": [{"host": "::1"}, {"port": 80, "tls": true}]}',
     [{'host': '::1', 'port': 3613}, {'host': '127.0.0.1', 'port': 80, 'tls': True}]),
    ('{"listen": {"path": "/a"}}', [{'path': '/a', 'mode': '0600'}]),
    ('{"listen": {"path": "/a", "mode": "660"}}', [{'path': '/a', 'mode': '660'}]),
    ('{"listen": {"host": "::1", "proxyProtocol": true, "metrics": false}}',
     [{'host': '::1', 'port': 3613, 'proxyProtocol': True}]),
])
def test_listeners_are_an_object_or_a_list_of_them(text, found):
    assert listens(text) == found


@pytest.mark.parametrize('listener', [
    '{"port": 1, "port": 2}', '{"path": "/a", "path": "/b"}', '{"tls": true, "prot": 1}',
    '{"path": "/a", "host": "::1"}', '{"mode": "0660"}'])
def test_one_object_that_is_no_listener_is_an_error_naming_the_key(listener):
    fails_naming('listen', '{"listen": %s}' % listener)


# --- Config ---------------------------------------------------------------------------------------

SECTION, LIST = ['listen.host', 'listen.port'], ['listen']  # one stands in the place of the other


def everything_changed(but):
    return ws2s.DEFAULTS.replace(dict((each.key, each.changed) for each in ROWS if each.key not in but))


@pytest.mark.parametrize('but', [SECTION, LIST], ids=['list', 'section'])
def test_as_text_gives_the_same_config_again_with_every_key_changed(but):
    config = everything_changed(but)
    assert [each.key for each in ROWS if config[each.key] == each.default] == but
    again = parse_config(config.as_text(shows_secrets=True))
    assert [key for key in KEYS if again[key] != config[key]] == []
    assert again.as_text() == config.as_text()


@pytest.mark.parametrize('key', sorted(SECRET))
def test_a_secret_is_shown_as_stars_which_are_no_secret(key):
    config = ws2s.DEFAULTS.replace({key: SECRET[key]})
    for shown in (config.as_text(), repr(config)):
        assert TOKEN not in shown and HASH not in shown and '***' in shown
    with pytest.raises(ConfigError) as caught:
        parse_config(config.as_text())
    assert key in str(caught.value) and '*** stands for a secret' in str(caught.value)


@pytest.mark.parametrize('key, text', [
    ('wisp.users', '{"wisp": {"users": {"ann": %s}}}'), ('auth.jwt', '{"auth": {"jwt": {"secret": %s}}}'),
    ('auth.tokens', '{"auth": {"tokens": [{"name": "ann", "token": %s}]}}'),
    ('auth.users', '{"auth": {"users": [{"name": "ann", "password": %s}]}}')])
@pytest.mark.parametrize('kind', ['env', 'file'])
def test_a_secret_may_stand_elsewhere(key, text, kind):
    asked, found = [], HASH if key == 'auth.users' else TOKEN + TOKEN
    source = text % ('{"%s": "X"}' % kind)
    config = parse_config(source, lambda *about: asked.append(about) or found)
    assert asked == [(kind, 'X')] and config == parse_config(text % json.dumps(found))
    with pytest.raises(ConfigError) as caught:
        parse_config(source)
    assert str(caught.value) == '"%s": "%s" is for secrets in configuration files' % (key, kind)


def test_a_secret_stands_elsewhere_in_one_way_only():
    for source in ('{"env": "X", "file": "Y"}', '{"env": 5}', '{"env": ""}', '{"var": "X"}', '{}', '["X"]'):
        with pytest.raises(ConfigError):
            parse_config('{"auth": {"tokens": [{"name": "a", "token": %s}]}}' % source, lambda kind, name: TOKEN)


def test_as_text_of_the_defaults_gives_the_defaults():
    again = parse_config(parse_config('{}').as_text())
    assert [again[key] for key in KEYS] == [each.default for each in ROWS]


@pytest.mark.parametrize('but', [SECTION, LIST], ids=['list', 'section'])
def test_as_text_holds_every_key_in_its_section(but):
    tree = json.loads(everything_changed(but).as_text())
    sections = [name for name in tree if isinstance(tree[name], dict)]
    dotted = ['%s.%s' % (section, name) for section in sections for name in tree[section]]
    assert sorted(dotted + [name for name in tree if name not in sections]) == sorted(set(KEYS) - set(but))


CHANGES = {
    'item': lambda config: config.__setitem__('workers', 1),
    'new item': lambda config: config.__setitem__('worker', 1),
    'del': lambda config: config.__delitem__('workers'),
    'attribute': lambda config: setattr(config, 'workers', 1),
    'clear': lambda config: config.clear(),
    'pop': lambda config: config.pop('workers'),
    'popitem': lambda config: config.popitem(),
    'setdefault': lambda config: config.setdefault('worker', 1),
    'update': lambda config: config.update({'workers': 1}),
    'update by name': lambda config: config.update(workers=1),
}


@pytest.mark.parametrize('change', sorted(CHANGES))
def test_a_config_does_not_change(change):
    config, before = parse_config('{}'), dict(ws2s.DEFAULTS)
    with pytest.raises((AttributeError, TypeError)):
        CHANGES[change](config)
    assert dict(config) == before and config['workers'] == 0


def test_a_config_is_not_changed_by_joining_another_to_it():
    first = config = parse_config('{}')
    with pytest.raises((AttributeError, TypeError)):
        config |= {'workers': 1}
    assert first['workers'] == 0


def test_configs_of_the_same_settings_are_equal():
    assert parse_config('{"workers": 3}') == ws2s.DEFAULTS.replace({'workers': 3}) != ws2s.DEFAULTS


def test_replace_gives_another_config_and_leaves_the_first():
    config = parse_config('{}')
    other = config.replace({'workers': 5, 'log.level': 'error'})
    assert (config['workers'], other['workers'], other['log.level']) == (0, 5, 'error')


def test_a_list_that_changes_later_does_not_change_the_config():
    hosts = ['a.example']
    config = ws2s.DEFAULTS.replace({'allowedHosts': hosts})
    hosts.append('b.example')
    assert config['allowedHosts'] == ('a.example',)


@pytest.mark.parametrize('changes', [{'worker': 1}, {'listen': {}}, {'workers': 'x'}, {'': 1}], ids=repr)
def test_replace_checks_as_the_file_does(changes):
    with pytest.raises(ConfigError):
        ws2s.DEFAULTS.replace(changes)


# --- Rules ----------------------------------------------------------------------------------------

def network(text, bits):
    return ws2s.packed_address(text), bits


@pytest.mark.parametrize('text, glob, block, ports', [
    ('redis.lan', 'redis.lan', None, ()),
    ('Redis.LAN.', 'redis.lan', None, ()),
    ('*', '*', None, ()),
    ('*:443', '*', None, ((443, 443),)),
    ('*.example.com:80,443', '*.example.com', None, ((80, 80), (443, 443))),
    ('db?.lan:6000-6999', 'db?.lan', None, ((6000, 6999),)),
    ('h:1-65535', 'h', None, ((1, 65535),)),
    ('h:80,6000-6999,443', 'h', None, ((80, 80), (6000, 6999), (443, 443))),
    ('h:80-80', 'h', None, ((80, 80),)),
    ('1and1.example', '1and1.example', None, ()),
    (u'B\xfccher.example:80', 'xn--bcher-kva.example', None, ((80, 80),)),
    ('10.1.2.3', None, network('10.1.2.3', 32), ()),
    ('10.1.2.3:22', None, network('10.1.2.3', 32), ((22, 22),)),
    ('10.0.0.0/8', None, network('10.0.0.0', 8), ()),
    ('10.0.0.0/8:6379,7000-7010', None, network('10.0.0.0', 8), ((6379, 6379), (7000, 7010))),
    ('0.0.0.0/0', None, network('0.0.0.0', 0), ()),
    ('::1', None, network('::1', 128), ()),
    ('2001:db8::/32', None, network('2001:db8::', 32), ()),
    ('::/0', None, network('::', 0), ()),
    ('[2001:db8::1]', None, network('2001:db8::1', 128), ()),
    ('[2001:DB8::1]:6379', None, network('2001:db8::1', 128), ((6379, 6379),)),
    ('[2001:db8::/32]:80,443', None, network('2001:db8::', 32), ((80, 80), (443, 443))),
], ids=repr)
@pytest.mark.parametrize('key', ['allowTargets', 'denyTargets'])
def test_rule(key, text, glob, block, ports):
    rule, = parse_config(config_text(key, [text]))[key]
    assert (rule.text, rule.glob, rule.network, rule.ports) == (text, glob, block, ports)


@pytest.mark.parametrize('text', [
    ':80', 'a:', 'a:0', 'a:65536', 'a:80-', 'a:-80', 'a:90-80', 'a:80,', 'a:,80', 'a:80, 443', 'a:80 ',
    'a: 80', 'a:80-90-100', 'a:http', 'a:+80', 'a:8_0', 'a:80.0', 'a:*', 'a:1-99999', u'a:\uff18\uff10',
    '10.0.0.0/33', '10.0.0.0/', '10.0.0.0/-1', '10.0.0.0/8/8', '10.0.0.0/255.0.0.0', '::/129', '[::1', '::1]',
    '[::1]80', '[]:80', '[::1]:', '[2001:db8::]/32', 'a.example/8', 'http://a.example', 'http://a.example:80',
    'a b', ' a', 'a ', 'a/b', 'fe80::1%eth0', '1::2::3', '10.*', '10.0.0.*', '192.168.?.1', '1?0', '127.1',
    '2130706433', '300.1.2.3', '1.2.3.4.5', '*.*', '.', 'a.example\n', 'a.example:80\n', '10.0.0.0/8\n',
    '[::1]:80\n', '[::1]\n', 'a\\b.example', 'a\\098.example', '*.cor\\p.example', '"a"', '%61.example', 'a..b', '*..b',
    '.example', '..', 'a.example..', '-a.example', 'a@b.example', 'a,b', '!a', 'a' * 64 + '.example', 'a.' * 127 + 'a',
    u'\u2460.1.2.3', u'10\u30020.0.1', u'\uff1a\uff1a1', u'a\u2025b.example', u'fa\xdf.de', u'FA\u1e9e.de',
    u'\u03c2.gr',
    u'\u023a.example', u'\u04c0.example', u'\u13a0.example', u'a\U000e0100.example',
    u'a\u200cb.example', u'a\u200db.example', u'\xe9' * 60 + u'.example', u'*.b\xfccher.example',
], ids=repr)
@pytest.mark.parametrize('key', ['allowTargets', 'denyTargets'])
def test_bad_rule_is_an_error_naming_the_key(key, text):
    fails_naming('"%s"' % key, config_text(key, ['good.example', text]))


@pytest.mark.parametrize('text, origin', [
    ('https://app.example', Origin('https', 'app.example', 443)),
    ('https://app.example:443', Origin('https', 'app.example', 443)),
    ('HTTPS://App.Example', Origin('https', 'app.example', 443)),
    ('http://app.example', Origin('http', 'app.example', 80)),
    ('http://localhost:8080', Origin('http', 'localhost', 8080)),
    ('http://192.0.2.1:81', Origin('http', '192.0.2.1', 81)),
    ('http://[2001:db8::1]:8080', Origin('http', '2001:db8::1', 8080)),
    ('http://[2001:db8::1]', Origin('http', '2001:db8::1', 80)),
    ('chrome-extension://abcdef', Origin('chrome-extension', 'abcdef', None)),
    # A5: as apps have it.
    ('file://', Origin('file', '', None)), ('FILE:///', Origin('file', '', None)), ('qrc://', Origin('qrc', '', None)),
    ('content://', Origin('content', '', None)), ('app://.', Origin('app', '.', None)),
    ('capacitor://LocalHost', Origin('capacitor', 'localhost', None)),
    ('tauri://localhost:1420', Origin('tauri', 'localhost', 1420)),
    ('http://[2001:DB8:0::1]:80', Origin('http', '2001:db8::1', 80)),
    ('null', 'null'),
    ('*', '*'),
], ids=repr)
def test_origin(text, origin):
    assert parse_config(config_text('allowedOrigins', [text]))['allowedOrigins'] == (origin,)


@pytest.mark.parametrize('text', [
    'app.example', '//app.example', 'https:', 'https://', 'https:app.example', 'https://app.example/',
    'https://app.example/path', 'https://app.example?x', 'https://app.example#x', 'https://u@app.example',
    'https://u:p@app.example', 'https://app.example:', 'https://app.example:x', 'https://app.example:443:443',
    'https://app.example:99999', 'https://a b', 'https://[::1', 'https://::1', 'https://*.app.example', '**',
    'http:///', 'ws://', 'file:', 'file:/', 'file:////', 'file:///android_asset', 'file://:80', 'file://x/', '://x',
    'http://[app.example]', 'http://[127.0.0.1]', 'a' * 64 + '://x', 'https://' + 'a' * 254,
    'NULL', ' https://app.example', 'https://app.example\n', 'https://a.example, https://b.example',
], ids=repr)
def test_bad_origin_is_an_error_naming_the_key(text):
    fails_naming('"allowedOrigins"', config_text('allowedOrigins', [text]))


@pytest.mark.parametrize('text, name', [
    ('gw.example', 'gw.example'), ('GW.Example', 'gw.example'), ('192.0.2.1', '192.0.2.1'),
    ('[2001:db8::1]', '2001:db8::1'), ('2001:db8::1', '2001:db8::1'),
    (u'b\xfccher.example', 'xn--bcher-kva.example'), ('gw.example.', 'gw.example'), ('gw_1', 'gw_1'),
    ('https://gw.example', 'https://gw.example'), ('HTTP://GW.Example.', 'http://gw.example'),
    ('https://[2001:DB8::1]', 'https://2001:db8::1'), (u'https://b\xfccher.example', 'https://xn--bcher-kva.example'),
])
def test_allowed_host(text, name):
    config = parse_config(config_text('allowedHosts', [text]))
    assert config['allowedHosts'] == (name,)
    assert parse_config(config.as_text()) == config


# A name with a port could never match: a rule that is not there.
@pytest.mark.parametrize('text', ['ws://gw.example', '://gw.example', 'http:gw.example', 'https://', 'https://https:',
                                  'https://gw.example/', 'https://gw.example:443', 'https://u@gw.example', '.', 'a..b',
                                  '.gw.example', 'a\\b', '-a', 'g%77', u'fa\xdf.de', u'\xe9' * 60, 'a' * 64,
                                  'gw.example/', 'a b', '*', '*.example', 'u@gw.example',
                                  'gw\n',
                                  'gw.example:3613', '[2001:db8::1]:3613'])
def test_bad_allowed_host_is_an_error_naming_the_key(text):
    fails_naming('"allowedHosts"', config_text('allowedHosts', [text]))


@pytest.mark.parametrize('text', [
    u'{"limits.clients": 5}',
    u'{"limits": {"clients": 5}, "limits": {"pingSeconds": 1}}',
    u'{"denyTargets": ["::ffff:10.0.0.0/104"]}',
    u'{"denyTargets": ["[*.example]:80"]}',
    u'{"allowedOrigins": ["https://b\xfccher.example"]}',
], ids=['dotted', 'section twice', 'mapped block', 'glob in brackets', 'origin that browsers spell otherwise'])
def test_what_could_never_match_or_hide_a_rule_is_an_error(text):
    with pytest.raises(ws2s.ConfigError):
        ws2s.parse_config(text)


@pytest.mark.parametrize('text, names', [
    (u'{"auth": {"users": [{"name": "ann", "target": []}]}}', ('"auth.users"', '"target"')),
    (u'{"auth": {"jwt": {"aud": "ws2s", "secret": "x"}}}', ('"auth.jwt"', '"aud"')),
    (u'{"listen": [{"port": 0, "proxyprotocol": true}]}', ('"listen"', '"proxyprotocol"'))])
def test_an_unknown_key_of_an_object_in_a_list_is_an_error_naming_it(text, names):
    with pytest.raises(ws2s.ConfigError) as caught:
        ws2s.parse_config(text)
    assert str(caught.value).startswith(names[0]) and str(caught.value).endswith(' and not ' + names[1])


@pytest.mark.parametrize('value', [TOKEN, '', None, {'env': 'X'}])
def test_a_redis_connection_has_no_place_for_a_secret(value):
    with pytest.raises(ConfigError) as caught:
        parse_config(json.dumps({'redis': {'connections': [dict(SHOP, password=value)]}}), lambda *about: TOKEN)
    assert str(caught.value) == ('"redis.connections": must have name, host, port, db, tls, readOnly, colour, '
                                 'and not "password"')


def test_a_redis_connection_has_the_port_and_the_database_of_redis_unless_it_says_others():
    (found,) = ws2s.DEFAULTS.replace({'redis.connections': [SHOP]})['redis.connections']
    assert found == ws2s.RedisConnection('shop', 'redis.lan', 6379, 0, False, False, None)
    (found,) = ws2s.DEFAULTS.replace({'redis.connections': [dict(SHOP, host='0:0::1')]})['redis.connections']
    assert found.host == '::1'


@pytest.mark.parametrize('text, key', [
    (u'{"tls": {"certificate": "a.pem"}}', 'tls.certificate'),
    (u'{"tls": {"key": "a.pem"}}', 'tls.key'),
    (u'{"tls": {"clientCa": "a.pem"}}', 'tls.clientCa'),
    (u'{"auth": {"clientCertificates": [{"name": "backup"}]}}', 'auth.clientCertificates')])
def test_what_only_tls_makes_use_of_is_an_error_naming_it_without_tls(text, key):
    with pytest.raises(ws2s.ConfigError) as caught:
        ws2s.check_settings(ws2s.parse_config(text))
    assert str(caught.value).startswith('"%s" is of no use: ' % key)
