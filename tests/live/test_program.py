# -*- coding: utf-8 -*-
"""``ws2s.py`` on the command line: arguments, config files, signals, logs (protocol, sections 5 and 6)."""

import base64
import contextlib
import json
import os
import re
import resource
import signal
import socket
import stat
import subprocess
import sys
import time

import pytest

import ws2s
from program import REPOSITORY, WS2S, clean_environment, listening_ports, run_to_end, running_program, started
from raw_client import BINARY, CLOSE, PING, PONG, TEXT, RawClient, exchange, frame, upgrade_request
from targets import closed_port, echo, serving, silence
from waiting import wait_until, wait_until_still

pytestmark = pytest.mark.programs

ALLOW_LOCAL = {'allowConnectToServerLocal': True}
EACH_WORKER = 'ws2s: under ws2sd each worker has these limits for itself, see "workers"\n'
HEALTHZ = b'GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n'


def printed(arguments, tmpdir, status=0, remark=''):
    """What a call prints that ends with ``status``; on standard error stands only the remark."""
    found, output, errors = run_to_end(arguments, str(tmpdir))
    assert (found, errors) == (status, remark)
    return output


def complaint(arguments, tmpdir, status, **environment):
    """The one line on standard error of a call that ends with ``status``."""
    found, output, errors = run_to_end(arguments, str(tmpdir), **environment)
    assert re.match(r'ws2s: [ -~]+\n\Z', errors), errors
    assert (found, output) == (status, '')
    return errors


def written(tmpdir, content):
    """The name of a config file with this content."""
    path = tmpdir.join('config.json')
    path.write_binary(content if isinstance(content, bytes) else json.dumps(content).encode('ascii'))
    return str(path)


# -- mistakes ----------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize('arguments, word', [
    (['--nonsense'], '--nonsense'), (['file'], 'file'), (['--config'], '--config'), (['--bad\nflag\x1b[2J'], 'bad'),
    (['--listen', 'nonsense'], '--listen'), (['--listen', '127.0.0.1'], '--listen'),
    (['--listen', '::1:80x'], '--listen'), (['--listen', '127.0.0.1:70000'], '--listen'),
    (['--listen', ':80'], '--listen'), (['--listen', ''], '--listen'), (['--log-level', 'loud'], 'log.level'),
    (['--log-level', ''], 'log.level'), (['--web', ''], 'web'), (['--allow-origin', 'evil.test'], 'allowedOrigins'),
    (['--allow-origin', 'http://x\n'], 'allowedOrigins'), (['--check', 'nonsense'], '--check'),
    (['--check', '127.0.0.1:80x'], '--check'), (['--config', 'none'], 'none'), (['--config', '.'], '.'),
], ids=lambda value: ' '.join(value).encode('unicode_escape').decode('ascii') if isinstance(value, list) else '')
def test_a_mistake_in_the_arguments_is_one_line(tmpdir, arguments, word):
    assert word in complaint(arguments if '--check' in arguments else arguments + ['--print-config'], tmpdir, 2)


@pytest.mark.parametrize('content, word', [
    (b'', 'JSON'), (b'{', 'JSON'), (b'[]', 'object'), (b'5', 'object'), (b'{"a": NaN}', 'JSON'),
    (b'[' * 100000, 'JSON'), (b'{"web": "\xff"}', 'UTF-8'), (b'\xff\xfe{\0}\0', 'save it as UTF-8'),
    (b'{\0}\0', 'save it as UTF-8'), (b'\0' * 300, 'JSON'),
    (b'{"web": "x", "web": "y"}', 'twice'),
    ({'alowTargets': []}, 'alowTargets'), ({'limits': {'client': 5}}, 'limits.client'), ({'listen': 80}, 'listen'),
    ({'listen': {'port': '80'}}, 'listen.port'), ({'listen': {'port': 65536}}, 'listen.port'),
    ({u'\u202e\x1b\n': 1}, 'key'), ({'listen': {'port': True}}, 'listen.port'),
    ({'allowConnectToServerLocal': 'no'}, 'allowConnectToServerLocal'),
    ({'allowConnectToServerLocal': None}, 'allowConnectToServerLocal'), ({'denyTargets': '*'}, 'denyTargets'),
    ({'denyTargets': ['10.0.0.0/33']}, 'denyTargets'), ({'denyTargets': ['x:0']}, 'denyTargets'),
    ({'allowedOrigins': ['app.test']}, 'allowedOrigins'), ({'log': {'level': 'loud'}}, 'log.level'),
    ({'limits': {'drainSeconds': -1}}, 'limits.drainSeconds'), ({'limits': {'messageBytes': 1e400}}, 'JSON'),
], ids=lambda value: value if isinstance(value, str) and len(value) < 40 else '')
def test_a_mistake_in_the_config_file_is_one_line(tmpdir, content, word):
    line = complaint(['--config', written(tmpdir, content)], tmpdir, 2)
    assert word in line and 'config.json' in line


@pytest.mark.parametrize('web', [b'nowhere', b'config.json', u'\u00e9'.encode('utf-8'), b'\xff'],
                         ids=['nowhere', 'a file', 'not ASCII', 'not UTF-8'])
def test_a_web_folder_that_is_none_is_one_line(tmpdir, web):
    arguments = ['--config', written(tmpdir, {'listen': {'port': 0}}), '--web', web]
    assert 'web' in complaint(arguments, tmpdir, 2)
    complaint(arguments, tmpdir, 2, LC_ALL='C', PYTHONCOERCECLOCALE='0', PYTHONUTF8='0')


def test_a_mistake_of_the_operator_is_one_line(tmpdir):
    with serving(echo) as port:
        line = complaint(['--listen', '127.0.0.1:%d' % port], tmpdir, 1)
        assert '127.0.0.1:%d' % port in line and 'in use' in line
    assert '198.51.100.77' in complaint(['--listen', '198.51.100.77:0'], tmpdir, 1)
    assert 'a..b' in complaint(['--listen', 'a..b:80'], tmpdir, 1)
    tmpdir.mkdir('.ws2s').join('config.json').write('{')
    assert '.ws2s' in complaint([], tmpdir, 2)


@pytest.mark.parametrize('name', ['missing/ws2s.log', '.', u'missing/\u00e9.log'],
                         ids=['missing', 'a folder', 'not ASCII'])
def test_a_log_file_that_cannot_be_written_is_one_line(tmpdir, name):
    config = written(tmpdir, {'listen': {'port': 0}, 'log': {'file': os.path.join(u'', str(tmpdir), name)}})
    assert 'log' in complaint(['--config', config], tmpdir, 1)
    complaint(['--config', config], tmpdir, 1, LC_ALL='C', PYTHONCOERCECLOCALE='0', PYTHONUTF8='0')


# -- calls that only print ---------------------------------------------------------------------------------------------

def test_version_and_help_are_printed(tmpdir):
    assert printed(['--version'], tmpdir) == 'ws2s %s\n' % ws2s.__version__
    text = printed(['--help'], tmpdir)
    for option in ('--config', '--listen', '--allow-local', '--allow-origin', '--web', '--log-level', '--print-config',
                   '--check', '--version'):
        assert option in text
    assert tmpdir.listdir() == []


def test_print_config_gives_a_file_that_gives_it_again(tmpdir):
    plain = json.loads(printed(['--print-config'], tmpdir, remark=EACH_WORKER))
    assert plain['listen'] == {'host': '127.0.0.1', 'port': 3613} and plain['allowConnectToServerLocal'] is False
    assert plain['allowTargets'] == plain['denyTargets'] == plain['allowedOrigins'] == plain['allowedHosts'] == []
    assert plain['web'] is None and plain['workers'] == 0 and plain['limits']['messageBytes'] == 16777216
    before = {'denyTargets': ['10.0.0.0/8:6000-6999,80', '*.evil.test'], 'allowedOrigins': ['http://one.test'],
              'limits': {'pingSeconds': 1.5}}
    text = printed(['--config', written(tmpdir, before), '--listen', '[::1]:80', '--allow-local', '--allow-origin',
                    'https://two.test', '--allow-origin', 'null', '--web', u'some folder', '--log-level', 'debug',
                    '--print-config'], tmpdir, remark=EACH_WORKER)
    tree = json.loads(text)
    assert tree['listen'] == {'host': '::1', 'port': 80} and tree['allowConnectToServerLocal'] is True
    assert tree['allowedOrigins'] == ['http://one.test', 'https://two.test', 'null']
    assert tree['denyTargets'] == before['denyTargets'] and tree['limits']['pingSeconds'] == 1.5
    assert (tree['web'], tree['log']['level']) == ('some folder', 'debug')
    assert printed(['--config', written(tmpdir, text.encode('ascii')), '--print-config'], tmpdir,
                   remark=EACH_WORKER) == text


@pytest.mark.parametrize('workers, remark', [(0, EACH_WORKER), (1, ''), (2, EACH_WORKER)])
def test_print_config_says_of_what_has_more_than_one_worker_that_limits_are_per_worker(tmpdir, workers, remark):
    text = printed(['--config', written(tmpdir, {'workers': workers}), '--print-config'], tmpdir, remark=remark)
    assert json.loads(text)['workers'] == workers


@pytest.mark.parametrize('arguments, status, words', [
    (['127.0.0.1:80'], 1, ['127.0.0.1:80 is 127.0.0.1: refused', 'allowConnectToServerLocal']),
    (['127.0.0.1:80', '--allow-local'], 0, ['127.0.0.1:80 is 127.0.0.1: allowed']),
    (['[::1]:80'], 1, ['[::1]:80', 'refused', 'allowConnectToServerLocal']),
    (['127.1:80'], 1, ['127.1:80 is 127.0.0.1: refused']),
    (['10.0.0.1:6379'], 0, ['allowed']),
    (['10.0.0.2:6379'], 1, ['refused', 'denyTargets', '10.0.0.2:6379']),
    (['169.254.169.254:80'], 1, ['refused', 'link-local']),
    (['127.0.0.1:3613', '--allow-local'], 1, ['refused', 'gateway itself']),
    (['a..b:80'], 1, ['a..b:80', 'plain name']),
    (['a\x1b[2J\nb:80'], 1, ['IPv6']),
    (['a\nb:80'], 1, ['plain name']),
    (['sec\\ret.invalid:80'], 1, ['plain name']),
    (['[fe80::1%no-such-interface]:80'], 1, ['[fe80::1%no-such-interface]:80', 'cannot be resolved']),
], ids=lambda value: value[0].encode('unicode_escape').decode('ascii') if isinstance(value, list) else '')
def test_check_says_in_a_line_which_rule_decides(tmpdir, arguments, status, words):
    config = written(tmpdir, {'denyTargets': ['10.0.0.2:6379']})
    line = printed(['--config', config, '--check'] + arguments, tmpdir, status)
    assert re.match(r'[ -~]+\n\Z', line)
    assert [word for word in words if word not in line] == []


# -- config files ------------------------------------------------------------------------------------------------------

def test_a_config_file_of_version_2_works_unchanged_and_nothing_is_written(tmpdir):
    port = closed_port()
    folder = tmpdir.mkdir('.ws2s')
    content = ('{\n    "allowConnectToServerLocal": true,\n    "listen": {\n        "host": "127.0.0.1",\n'
               '        "port": %d\n    }\n}' % port)
    folder.join('config.json').write(content)
    with serving(echo) as target, started([], str(tmpdir)) as program:
        assert program.address == ('127.0.0.1', port)
        with RawClient(program.address) as client:
            client.open().connect_to(target)
    assert folder.join('config.json').read() == content
    assert sorted(tmpdir.visit()) == [folder, folder.join('config.json')]


def test_a_named_config_file_takes_the_place_of_the_default_one(tmpdir):
    tmpdir.mkdir('.ws2s').join('config.json').write('{"web": "default"}')
    assert json.loads(printed(['--print-config'], tmpdir, remark=EACH_WORKER))['web'] == 'default'
    text = printed(['--print-config', '--config', written(tmpdir, {})], tmpdir, remark=EACH_WORKER)
    assert json.loads(text)['web'] is None


# -- what arguments do -------------------------------------------------------------------------------------------------

def test_a_user_without_a_home_has_no_default_file(tmpdir, monkeypatch):
    tmpdir.mkdir('~').mkdir('.ws2s').join('config.json').write('broken')
    monkeypatch.chdir(str(tmpdir))
    monkeypatch.setattr(os.path, 'expanduser', lambda path: path)
    assert ws2s.read_config_file(None) is ws2s.DEFAULTS


def test_listen_says_where(tmpdir):
    with started(['--listen', '127.0.0.2:0'], str(tmpdir)) as program:
        assert program.address[0] == '127.0.0.2'
        assert exchange(program.address, HEALTHZ)[2] == b'ok'
    with started(['--listen', '[::1]:0'], str(tmpdir)) as program:
        assert program.address[0] == '::1'
        assert exchange(program.address, HEALTHZ)[2] == b'ok'


@pytest.mark.parametrize('arguments, code', [([], 4), (['--allow-local'], 0)], ids=['without', 'with'])
def test_allow_local_opens_this_machine(arguments, code):
    with serving(echo) as port, running_program(arguments=arguments) as program, RawClient(program.address) as client:
        assert client.open().ask(command='connect', host='127.0.0.1', port=port)['code'] == code


def test_allow_origin_lets_the_pages_of_an_origin_connect():
    with running_program(arguments=['--allow-origin', 'http://a.test', '--allow-origin', 'https://b.test']) as program:
        for origin, status in (('http://a.test', b'101'), ('https://b.test', b'101'), ('http://c.test', b'403')):
            with RawClient(program.address) as client:
                client.send(upgrade_request(headers=[('Origin', origin)]))
                assert client.receive_head().split()[1] == status


def test_web_serves_a_folder(tmpdir):
    tmpdir.join('index.html').write('<p>here')
    with running_program(arguments=['--web', str(tmpdir)]) as program:
        assert exchange(program.address, b'GET / HTTP/1.1\r\nHost: x\r\n\r\n')[2] == b'<p>here'


def test_log_level_decides_what_is_logged():
    found = {}
    for level in ('debug', 'info', 'warning'):
        with running_program(arguments=['--log-level', level]) as program:
            ports = wait_until(lambda: listening_ports(program.pid), 20)  # no line tells at every level
            with RawClient(('127.0.0.1', ports[0])) as client:
                assert client.open().ask(command='ping')['success']
                client.close()
            program.signal(signal.SIGTERM)
            assert program.wait() == 0
        found[level] = set(line.split(' ')[2] for line in program.lines)
    assert found == {'debug': {'DEBUG', 'INFO'}, 'info': {'INFO'}, 'warning': set()}


def is_listening(port):
    sock = socket.socket()
    try:
        return sock.connect_ex(('127.0.0.1', port)) == 0
    finally:
        sock.close()


# -- signals -----------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT], ids=['SIGTERM', 'SIGINT'])
@pytest.mark.parametrize('is_connected', [True, False], ids=['with a target', 'without a target'])
@pytest.mark.parametrize('is_polite', [True, False], ids=['a client that answers', 'a client that does not'])
def test_a_signal_says_1001_and_ends_with_0_in_time(number, is_connected, is_polite):
    drain = 1 if is_connected or not is_polite else 60
    config = dict(ALLOW_LOCAL, limits={'drainSeconds': drain})
    with serving(echo) as port, running_program(config) as program, RawClient(program.address) as client:
        client.open()
        if is_connected:
            client.connect_to(port)
        program.signal(number)
        begun = time.time()
        assert client.receive_close()[0] == 1001
        assert (time.time() - begun > 0.5) is is_connected
        if is_polite:
            client.send_frame(CLOSE, b'\x03\xe9')
            assert client.receive_all() == b''
            client.finish()
        assert program.wait() == 0
        assert is_polite or time.time() - begun > 0.5
        assert time.time() - begun < 10
    assert program.lines[-1].endswith(' INFO ws2s has stopped') and 'Traceback' not in '\n'.join(program.lines)


def test_a_second_signal_ends_at_once_though_a_target_hangs():
    config = dict(ALLOW_LOCAL, limits={'drainSeconds': 100})
    with serving(silence, receive_buffer=4096) as port, running_program(config) as program:
        with RawClient(program.address) as client:
            client.open().connect_to(port)
            client.send(frame(BINARY, b'x' * (4 << 20)))
            program.signal(signal.SIGTERM)
            wait_until(lambda: not is_listening(program.address[1]))
            assert program.process.poll() is None
            program.signal(signal.SIGTERM)
            assert program.wait() == 0


def test_a_signal_ends_a_gateway_whose_look_up_hangs(tmpdir):
    code = ('import threading; look_up = ws2s.socket.getaddrinfo; ws2s.socket.getaddrinfo = lambda host, *rest: '
            'threading.Event().wait(100) if host == "hangs.test" else look_up(host, *rest)')
    with patched_program(code, tmpdir) as program, RawClient(program.address) as client:
        client.open().send_json(command='connect', host='hangs.test', port=80)
        client.send_frame(PING)
        assert client.receive_frame() == (PONG, b'')
        program.signal(signal.SIGTERM)
        assert client.receive_close()[0] == 1001
        client.send_frame(CLOSE, b'\x03\xe9')
        assert client.receive_all() == b''
        client.finish()
        assert program.wait() == 0


def test_a_signal_that_comes_as_soon_as_it_listens_is_obeyed(tmpdir):
    code = ('import os, signal; listen = ws2s.Gateway.listen; '
            'ws2s.Gateway.listen = lambda self: listen(self) or os.kill(os.getpid(), signal.SIGTERM)')
    with patched_program(code, tmpdir) as program:
        assert program.wait() == 0


def test_signals_that_go_on_coming_until_the_end_do_not_change_the_status():
    with running_program() as program:
        assert exchange(program.address, HEALTHZ)[2] == b'ok'
        while program.process.poll() is None:
            program.signal(signal.SIGTERM)
            time.sleep(0.001)
        assert program.wait() == 0


def test_a_signal_that_does_not_interrupt_the_poll_is_obeyed(tmpdir):
    """As one that comes just before the poll, or goes to another thread: here the main thread does not take it."""
    code = ('import ctypes, threading; thread = threading.Thread(target=threading.Event().wait, args=(100,)); '
            'thread.daemon = True; thread.start(); libc = ctypes.CDLL(None); '
            'signals = ctypes.create_string_buffer(1024); libc.sigemptyset(signals); '
            'libc.sigaddset(signals, 15); libc.pthread_sigmask(0, signals, None)')
    with patched_program(code, tmpdir) as program:
        assert exchange(program.address, HEALTHZ)[2] == b'ok'
        wait_until_still(program.cpu_seconds)
        program.signal(signal.SIGTERM)
        assert program.wait() == 0


def patched_program(code, tmpdir):
    """A Program in which ``code`` has changed something before main() ran."""
    script = 'import sys; sys.path.insert(0, %r); import ws2s; %s; sys.exit(ws2s.main(sys.argv[1:]))'
    return started(['--listen', '127.0.0.1:0'], str(tmpdir), command=('-c', script % (REPOSITORY, code)))


# -- logs --------------------------------------------------------------------------------------------------------------

LINE = re.compile(r'\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} (DEBUG|INFO|WARNING|ERROR) [ -~]+\Z')


def ended(program):
    """The lines of a program that has been told to end."""
    program.signal(signal.SIGTERM)
    assert program.wait() == 0
    return list(program.lines)


def test_the_life_of_a_client_is_told_by_its_targets_and_its_end():
    with serving(echo) as port, running_program(ALLOW_LOCAL) as program:
        with RawClient(program.address) as client:
            client.open('/path?query', [('Origin', 'http://localhost')]).connect_to(port)
            client.send_json(command='send', data='12345')
            assert client.receive_data(5) == b'12345'
            own = program.address[1]
            client.ask(command='connect', host='127.0.0.1', port=own)
            client.close()
        told = [line.partition(' INFO ')[2] for line in ended(program) if ' #' in line]
    patterns = (r'#1 reached 127\.0\.0\.1:%d in [0-9.]+ s\Z' % port,
                r'#1 did not reach 127\.0\.0\.1:%d in [0-9.]+ s: .*gateway itself' % own,
                r'#1 127\.0\.0\.1:\d+ has left: origin http://localhost, path /path, json, '
                r'target 127\.0\.0\.1:%d and 1 more, 5 bytes up, 5 down, [0-9.]+ s, ' % own
                + r'ended by client in data, code 1000\Z')
    assert len(told) == 3
    assert [line for pattern, line in zip(patterns, told) if not re.match(pattern, line)] == []


HOSTILE = u'\x1b[2J\x9b31m\u202e\u2066\r\nFAKE LINE\x07\x00'


def test_what_strangers_say_is_one_printable_line_each():
    eight_bit = b'x\x9b31m\xe2\x80\xae\xff\t'.decode('latin-1')
    with running_program(arguments=['--log-level', 'debug', '--allow-origin', '*']) as program:
        with RawClient(program.address) as client:
            client.open('/%0d%0aFAKE%20LINE%1b[2J' + eight_bit.strip(), [('Origin', 'http://' + eight_bit)])
            for host in (u'\u202e\u2066evil', u'x\\n\u2028', u'a..\u00e9', HOSTILE, '127.0.0.1'):
                assert not client.ask(command='connect', host=host, port=80)['success']
            client.send_frame(TEXT, HOSTILE.encode('utf-8'))
            client.receive_text()
            client.send_frame(CLOSE, b'\x03\xe8' + HOSTILE.encode('utf-8'))
            client.receive_close()
        for request in (upgrade_request('/' + eight_bit), upgrade_request('/\x1b'), b'\x9b\x1b GET\r\n\r\n',
                        upgrade_request(headers=[('Origin', 'x\x1b')]), upgrade_request(host=eight_bit)):
            with RawClient(program.address) as client:
                client.send(request)
                client.receive_head()
        lines = ended(program)
    assert [line for line in lines if not LINE.match(line)] == []
    story = next(line for line in lines if ' has left: ' in line)
    assert r'\x9b31m' in story and '%0d%0aFAKE%20LINE%1b' in story
    assert [line for line in lines if 'evil' in line] == []  # refused before anything was dialled


SECRET = 'MARKER-of-a-secret'


def test_no_secret_and_no_payload_is_logged():
    encoded = base64.b64encode(SECRET.encode('ascii')).decode('ascii')
    secrets = dict(ssh_username=SECRET, ssh_password=SECRET, ssh_private_key=SECRET, ssh_private_key_password=SECRET)
    headers = [(name, SECRET) for name in ('Cookie', 'Authorization', 'User-Agent', 'Sec-WebSocket-Protocol')]
    with serving(echo) as port, running_program(ALLOW_LOCAL, ['--log-level', 'debug']) as program:
        with RawClient(program.address) as client:
            client.open('/?token=' + SECRET, headers).connect_to(port, **dict(secrets, ssh_host=''))
            client.send_json(command='send', data=SECRET)
            client.send_json(command='sendb', data=encoded)
            client.send_frame(BINARY, SECRET.encode('ascii'))
            assert client.receive_data(3 * len(SECRET)) == SECRET.encode('ascii') * 3
            for opcode in (PING, PONG):
                client.send_frame(opcode, SECRET.encode('ascii'))
            assert client.receive_frame() == (PONG, SECRET.encode('ascii'))
            for fields in (dict(command=SECRET), dict(command='send', data=[SECRET]), dict(unknown=SECRET),
                           dict(command='sendb', data=SECRET),
                           dict(secrets, command='connect', host='127.0.0.1', port=SECRET),
                           dict(secrets, command='connect', host=' ' + SECRET, port=1), {SECRET: SECRET},
                           dict(secrets, command='connect', host='127.0.0.1', port=closed_port(), tls=SECRET),
                           dict(secrets, command='connect', host='127.0.0.1', port=port, ssh_host='', binary=SECRET)):
                assert not client.ask(**fields)['success']
            for text in ('{"command": "%s', '["%s"]', '"%s"', '%s'):
                client.send_frame(TEXT, (text % SECRET).encode('ascii'))
                assert not client.receive_json()['success']
            client.send_frame(TEXT, SECRET.encode('ascii') + b'\xff')
            assert client.receive_close()[0] == 1007
        for request in (upgrade_request('/%00' + SECRET, headers=[('Origin', 'http://evil.test/' + SECRET)]),
                        upgrade_request(headers=headers + headers).replace(b'GET', b'PUT'),
                        (SECRET + '\r\n' + SECRET + '\r\n\r\n').encode('ascii')):
            assert exchange(program.address, request)[0] >= 400
        text = '\n'.join(ended(program))
    assert ' DEBUG ' in text and '1007' in text
    for form in (SECRET, SECRET[:10], encoded[:20], repr(SECRET.encode('ascii')), 'MARKER'):
        assert form not in text


def test_the_log_file_is_private_and_is_rotated(tmpdir):
    path = tmpdir.join('ws2s.log')
    config = {'listen': {'port': closed_port()}, 'log': {'file': str(path), 'bytes': 2000, 'files': 2}}
    with running_program(config, preexec=lambda: os.umask(0o022)) as program:
        wait_until(lambda: path.check() and 'listens on' in path.read(), 20)
        for _ in range(80):
            assert exchange(('127.0.0.1', config['listen']['port']), b'PUT / HTTP/1.1\r\n\r\n')[0] == 405
        ended(program)
    assert program.lines == []
    assert sorted(entry.basename for entry in tmpdir.listdir()) == ['ws2s.log', 'ws2s.log.1', 'ws2s.log.2']
    for entry in tmpdir.listdir():
        assert entry.size() <= 2000
        assert [line for line in entry.read().splitlines() if not LINE.match(line)] == []
    assert [oct(stat.S_IMODE(os.stat(str(entry)).st_mode)) for entry in tmpdir.listdir()] == [oct(0o600)] * 3


def serves(path):
    """The port of the gateway that logs to this file, once it answers. Before that a hangup would end it."""
    found = re.search(r' listens on 127\.0\.0\.1:(\d+)\n', path.read() if path.check() else '')
    port = found and int(found.group(1))
    return port if port and exchange(('127.0.0.1', port), HEALTHZ)[0] == 200 else None


def test_after_a_rename_as_by_logrotate_a_hangup_has_the_log_go_on_in_a_new_file(tmpdir):
    path, old = tmpdir.join('ws2s.log'), tmpdir.join('old')
    with running_program({'log': {'file': str(path)}}) as program:
        wait_until(lambda: serves(path), 20)
        for _ in range(2):
            os.rename(str(path), str(old))
            program.signal(signal.SIGHUP)
            wait_until(lambda: path.check() and 'read anew' in path.read())
            assert stat.S_IMODE(os.stat(str(path)).st_mode) == 0o600
        assert old.read().count('\n') == 1
        ended(program)
    assert program.lines == []


def test_where_the_log_cannot_be_opened_anew_it_goes_on_in_the_old_file_and_says_so(tmpdir):
    path, old = tmpdir.join('ws2s.log'), tmpdir.join('old')
    with running_program({'log': {'file': str(path)}}) as program:
        wait_until(lambda: serves(path), 20)
        os.rename(str(path), str(old))
        path.mkdir()
        program.signal(signal.SIGHUP)
        wait_until(lambda: 'read anew' in old.read())
        assert re.search(' ERROR cannot log to .*; the log goes on where it was\n', old.read())
        ended(program)
    assert 'ws2s has stopped' in old.read() and program.lines == []


# A15: what becomes of the log without a signal

@contextlib.contextmanager
def logging_to(path, **log):
    """A function that makes so many lines in the log of a Program and gives all that is in ``path``."""
    log['file'] = str(path)
    with running_program({'log': log}) as program:
        address = ('127.0.0.1', wait_until(lambda: serves(path), 20))

        def say(count=1):
            for _ in range(count):
                assert exchange(address, b'PUT / HTTP/1.1\r\n\r\n')[0] == 405
            return path.read() if path.check() else ''

        yield say
        ended(program)
        assert program.lines == []


def lines_of(*paths):
    """All lines of these files; each must be whole."""
    lines = [line for path in paths for line in path.read().splitlines()]
    assert [line for line in lines if not LINE.match(line)] == []
    return lines


@pytest.mark.parametrize('is_renamed', [True, False], ids=['renamed', 'removed'])
def test_after_a_rename_without_a_signal_the_log_goes_on_in_a_new_file(tmpdir, is_renamed):
    path, old = tmpdir.join('ws2s.log'), tmpdir.join('ws2s.log.1')
    with logging_to(path) as say:
        for _ in range(3):
            before = len(lines_of(path))
            if is_renamed:
                os.rename(str(path), str(old))
            else:
                os.unlink(str(path))
            assert say(2).count(' got 405: ') == 2
            assert stat.S_IMODE(os.stat(str(path)).st_mode) == 0o600
            assert not is_renamed or len(lines_of(old)) == before
    assert lines_of(path)[-1].endswith('ws2s has stopped')


def test_a_log_that_is_copied_and_truncated_has_no_hole(tmpdir):
    path = tmpdir.join('ws2s.log')
    with logging_to(path) as say:
        say(5)
        os.truncate(str(path), 0) if hasattr(os, 'truncate') else open(str(path), 'r+b').truncate(0)
        assert say(2).count(' got 405: ') == 2
    assert len(lines_of(path)) == 4  # two of them tell of the end


def test_while_the_folder_of_the_log_is_away_it_goes_on_in_the_old_file(tmpdir):
    folder, away = tmpdir.mkdir('logs'), tmpdir.join('away')
    with logging_to(folder.join('ws2s.log'), bytes=2000, files=2) as say:
        os.rename(str(folder), str(away))
        assert say(30) == ''
        text = away.join('ws2s.log').read()
        assert text.count(' got 405: ') == 30 and text.count('goes on where it was') == 1
        folder.mkdir()
        assert ' got 405: ' in say()
    lines_of(away.join('ws2s.log'), folder.join('ws2s.log'))


def test_where_the_log_cannot_be_rotated_it_grows_and_says_so_once(tmpdir):
    path = tmpdir.join('ws2s.log')
    tmpdir.mkdir('ws2s.log.1')
    with logging_to(path, bytes=1000, files=1) as say:
        assert say(50).count(' got 405: ') == 50
        os.rmdir(str(tmpdir.join('ws2s.log.1')))
        say()
    assert path.size() <= 1000
    assert tmpdir.join('ws2s.log.1').read().count('goes on where it was') == 1
    assert len([line for line in lines_of(tmpdir.join('ws2s.log.1'), path) if ' got 405: ' in line]) == 51


# -- odd places --------------------------------------------------------------------------------------------------------

def in_shell(command, words, folder, **environment):
    """(exit status, output, errors) of a shell that runs ``"$@"``."""
    process = subprocess.Popen(['sh', '-c', command, 'sh', sys.executable, '-B'] + words, cwd=str(folder),
                               env=dict(clean_environment(str(folder)), **environment), stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, close_fds=True)
    output, errors = process.communicate()
    return process.returncode, output.decode('utf-8'), errors.decode('utf-8')


OF_ALL = ['-O', '-OO', '-E', '-s', '-Werror', '-O -Werror -s -E']
OF_3 = ['-I', '-I -S', '-b', '-bb', '-X dev', '-X utf8=0', '-I -OO -Werror -bb'] if sys.version_info[0] > 2 else []


@pytest.mark.parametrize('options', OF_ALL + OF_3 + (['-P', '-P -S'] if sys.version_info >= (3, 11) else []))
def test_the_options_of_python_are_no_obstacle(tmpdir, options):
    command = ['-B'] + options.split() + [WS2S]
    with started(['--listen', '127.0.0.1:0', '--allow-local'], str(tmpdir), command=command) as program:
        with serving(echo) as port, RawClient(program.address) as client:
            client.open().connect_to(port)
        program.signal(signal.SIGTERM)
        assert program.wait() == 0
    assert [line for line in program.lines if not LINE.match(line)] == []


ODD_PLACES = [
    {'LC_ALL': 'C', 'PYTHONUTF8': '0', 'PYTHONCOERCECLOCALE': '0', 'PYTHONIOENCODING': 'ascii'},
    {'LC_ALL': 'POSIX', 'LANG': 'C'}, {'LC_ALL': 'xx_YY.nonsense'}, {'TZ': 'Nonsense/Nowhere'}, {'TZ': ':'},
    {'TZ': 'XXX-24:59'}, {'TMPDIR': '/nowhere/at/all'}, {'TMPDIR': '/dev/null'}, {'TMPDIR': ''}, {'PATH': ''},
    {'PYTHONSAFEPATH': '1'}, {'PYTHONOPTIMIZE': '2'}, {'PYTHONWARNINGS': 'error'}, {'PYTHONHASHSEED': '0'},
    {'HOME': ''}, {'HOME': 'relative'}, {'HOME': '~'}, {'HOME': '/nowhere/at/all'}, {'HOME': '/dev/null'},
    {'LISTEN_FDS': '1'}, {'LISTEN_PID': '1', 'LISTEN_FDS': '1'}, {'LISTEN_PID': 'x', 'LISTEN_FDS': '99999999999'},
    {'NOTIFY_SOCKET': ''}, {'NOTIFY_SOCKET': '/' + 200 * 'x'},
]


@pytest.mark.parametrize('place', ODD_PLACES, ids=str)
def test_an_odd_environment_is_no_obstacle(tmpdir, place):
    """A13: nor is a folder made that is named as an odd HOME."""
    with started(['--listen', '127.0.0.1:0', '--allow-local'], str(tmpdir), **place) as program:
        with serving(echo) as port, RawClient(program.address) as client:
            client.open().connect_to(port)
        program.signal(signal.SIGTERM)
        assert program.wait() == 0
    assert [line for line in program.lines if not LINE.match(line)] == []
    assert tmpdir.listdir() == []


@pytest.mark.parametrize('mend', ['<&-', '>&-', '2>&-', '<&- >&- 2>&-'])
def test_standard_descriptors_that_are_closed_change_no_exit_status(tmpdir, mend):
    command = 'exec "$@" ' + mend
    assert in_shell(command, [WS2S, '--version'], tmpdir)[::2] == (0, '')
    status, output, errors = in_shell(command, [WS2S, '--nonsense'], tmpdir)
    assert (status, output) == (2, '') and ('2>' in mend) == (errors == '')


@pytest.mark.parametrize('closed', ['0', '1', '2', '0 1', '0 1 2'])
def test_where_standard_descriptors_are_closed_no_client_gets_the_log(tmpdir, closed):
    """The first that is opened would have its number."""
    config = written(tmpdir, {'listen': {'port': closed_port()}, 'log': {'level': 'debug'}})
    address = ('127.0.0.1', json.loads(tmpdir.join('config.json').read())['listen']['port'])
    with started(['--config', config], str(tmpdir), command=['-c', CLOSING, closed, WS2S]) as program:
        wait_until(lambda: not refuses(address), 20)
        with RawClient(address) as client:
            assert client.open().ask(command='ping')['message'] == 'ping done'
            client.close()
        links = [os.readlink('/proc/%d/fd/%d' % (program.pid, fd)) for fd in (0, 1, 2)]
        assert [link for link in links if 'socket' in link or 'epoll' in link] == []
        program.signal(signal.SIGTERM)
        assert program.wait() == 0


CLOSING = """
import os, sys
for fd in sys.argv[1].split():
    os.close(int(fd))
os.execv(sys.executable, [sys.executable] + sys.argv[2:])
"""


def refuses(address):
    try:
        socket.create_connection(address, 5).close()
        return False
    except (IOError, OSError):
        return True


def test_a_folder_that_was_removed_meanwhile_is_no_obstacle(tmpdir):
    assert in_shell('mkdir gone && cd gone && rmdir ../gone && exec "$@"', [WS2S, '--print-config', '--web', '/'],
                    tmpdir)[0] == 0


@pytest.mark.parametrize('count', [12, 23])
def test_hardly_any_descriptors_are_one_line(tmpdir, count):
    status, _, errors = in_shell('ulimit -n %d; exec "$@"' % count, [WS2S, '--listen', '127.0.0.1:0'], tmpdir)
    assert (status, errors) == (1, 'ws2s: %d descriptors are too few to serve with (ulimit -n)\n' % count)


def test_with_few_descriptors_it_serves(tmpdir):
    limit = lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (24, 24))  # noqa: E731
    with started(['--listen', '127.0.0.1:0', '--allow-local'], str(tmpdir), preexec=limit) as program:
        with serving(echo) as port, RawClient(program.address) as client:
            client.open().connect_to(port)
