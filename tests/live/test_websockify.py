# -*- coding: utf-8 -*-
"""``ws2s.py websockify``: the command line of websockify, for who replaces that word in a start line."""

import os
import re
import signal

import pytest

import ws2s
from program import WS2S, run_to_end, started
from raw_client import BINARY, RawClient, exchange, upgrade_request
from targets import echo, saying, serving
from waiting import wait_until


def running(tmpdir, *arguments):
    return started(['websockify'] + list(arguments), str(tmpdir))


def config(*arguments):
    return ws2s.websockify_config(ws2s.websockify_arguments(list(arguments)))


def status(address, path='/', *headers):
    return exchange(address, upgrade_request(path, headers=headers))[0]


def test_bytes_go_to_the_one_target_from_every_path_and_page(tmpdir):
    with serving(echo) as port, running(tmpdir, '127.0.0.1:0', 'localhost:%d' % port) as program:
        for path, origin in (('/websockify', 'http://a.example:6080'), ('/', 'null'), ('/127.0.0.1:1', 'file://')):
            with RawClient(program.address) as client:
                client.open(path, [('Origin', origin)]).send_frame(BINARY, b'hello')
                assert client.receive_data(5) == b'hello'
        program.signal(signal.SIGTERM)
        assert program.wait() == 0


def test_tokens_and_pages_are_found_whatever_the_working_directory_is_later(tmpdir):
    tmpdir.join('tokens').write(u'vm: 127.0.0.1:1\n')
    tmpdir.mkdir('noVNC').join('vnc.html').write(u'<p>noVNC</p>')
    arguments = '--web', 'noVNC', '--token-plugin', 'TokenFile', '--token-source=tokens', '127.0.0.1:0'
    with running(tmpdir, *arguments) as program:
        assert exchange(program.address, b'GET /vnc.html HTTP/1.1\r\nHost: any.name\r\n\r\n')[2] == b'<p>noVNC</p>'
        with RawClient(program.address) as client:
            client.open('/websockify?token=vm')
            assert client.receive_close() == (1011, 'refused')
        assert status(program.address, '/websockify?token=other') == 403
        assert status(program.address, '/websockify') == 403


def test_clients_choose_no_target(tmpdir):
    heard = []
    with serving(saying(b'', heard.append)) as port, running(tmpdir, '127.0.0.1:0', '127.0.0.1:1') as program:
        for path in ('/127.0.0.1:%d', '/?address=127.0.0.1:%d', '/?host=127.0.0.1&port=%d'):
            with RawClient(program.address) as client:
                client.open(path % port)
                assert client.receive_close() == (1011, 'refused')
    assert heard == []


def test_pages_of_other_origins_may_be_kept_out(tmpdir):
    with running(tmpdir, '--allow-origin', 'https://a.example', '127.0.0.1:0', '127.0.0.1:1') as program:
        assert status(program.address, '/', ('Origin', 'https://b.example')) == 403
        with RawClient(program.address) as client:
            client.open('/', [('Origin', 'https://a.example')])


def test_the_options_are_ours_in_other_words(tmpdir):
    with tmpdir.as_cwd():
        found = config('--web', 'pages', '--heartbeat', '7', '--log-file', 'log', '--verbose', '--host-token',
                       '--token-plugin', 'ReadOnlyTokenFile', '--token-source', 'tokens', '--file-only', '6080',
                       '[::1]:1')
    names = {'web': 'pages', 'log.file': 'log', 'raw.tokens': 'tokens'}
    assert [found[key] for key in sorted(names)] == [str(tmpdir.join(names[key])) for key in sorted(names)]
    assert found['limits.pingSeconds'] == 7 and found['log.level'] == 'debug' and found['raw.hostToken']
    assert (found['listen.host'], found['listen.port'], found['raw.target']) == ('0.0.0.0', 6080, ('::1', 1))
    assert found['raw.only'] and found['allowConnectToServerLocal']
    assert config('[::]:6080', 'vnc.lan:5900')['listen.host'] == '::'
    assert config('6080', 'vnc.lan:5900')['web'] is False


@pytest.mark.parametrize('arguments, word', [
    (['6080'], 'TARGET:PORT'), (['x', 'a:1'], '[HOST:]PORT'), (['6080', 'a'], 'raw.target'), ([], 'arguments'),
    (['6080', 'a:1', 'b:1'], 'b:1'), (['--cert', 'x.pem', '6080', 'a:1'], '--ssl-only'),
    (['--ssl-only', '6080', 'a:1'], '--cert'),
    (['--auth-plugin=BasicHTTPAuth', '6080', 'a:1'], 'allowedOrigins'),
    (['--token-source', 'x', '6080'], 'go together'),
    (['--token-plugin', 'TokenRedis', '--token-source', 'x', '6080'], 'TokenFile'),
    (['--record', 'x', '6080', 'a:1'], 'record'),
    (['--heartbeat', 'x', '6080', 'a:1'], '--heartbeat'), (['--unix-target', 'x', '6080'], 'Unix'),
    (['--nonsense', '6080', 'a:1'], 'nonsense'),
    (['--token-plugin', 'TokenFile', '--token-source', 'missing', '0'], 'raw.tokens'),
    (['6080', 'a:1', '--', 'ls'], 'ls'),
])
def test_what_is_not_there_is_one_line_that_says_what_to_do(tmpdir, arguments, word):
    found, output, errors = run_to_end(['websockify'] + arguments, str(tmpdir))
    assert (found, output) == (2, '') and re.match(r'ws2s: [ -~]+\n\Z', errors) and word in errors


def test_every_option_of_websockify_is_taken_or_named(tmpdir):
    taken = set(string for action in ws2s.websockify_parser()._actions for string in action.option_strings)
    assert not taken & set('--' + name for name in ws2s.WEBSOCKIFY_OTHERWISE)
    for name in ws2s.WEBSOCKIFY_OTHERWISE:
        with pytest.raises(ws2s.ConfigError) as caught:
            config('--%s=x' % name, '6080', 'a:1')
        assert str(caught.value).startswith('--%s: ' % name)


def test_alone_for_long_enough_the_gateway_ends(tmpdir):
    arguments = '--idle-timeout', '1', '127.0.0.1:0', '127.0.0.1:%d'
    with serving(echo) as port, running(tmpdir, *[each.replace('%d', str(port)) for each in arguments]) as program:
        with RawClient(program.address) as client:
            client.open()
        assert program.wait() == 0


def test_in_the_background_the_gateway_goes_on_and_ends_by_its_signal(tmpdir):
    with serving(echo) as port:
        with running(tmpdir, '-D', '--log-file', 'log', '127.0.0.1:0', '127.0.0.1:%d' % port) as program:
            assert program.wait() == 0
        log = tmpdir.join('log')
        listening = wait_until(lambda: re.search(r'listens on 127.0.0.1:(\d+)', log.read()), 20)
        pid = next(int(name) for name in os.listdir('/proc') if name.isdigit() and is_program(name, str(log)))
        try:
            with RawClient(('127.0.0.1', int(listening.group(1)))) as client:
                client.open().send_frame(BINARY, b'hello')
                assert client.receive_data(5) == b'hello'
        finally:
            os.kill(pid, signal.SIGTERM)
        wait_until(lambda: not os.path.exists('/proc/%d' % pid), 20)
        assert 'ws2s has stopped' in log.read()


def is_program(pid, log):
    """Is this the process that has ``log`` open?"""
    try:
        with open('/proc/%s/cmdline' % pid, 'rb') as file:
            words = file.read().split(b'\0')
        folder = '/proc/%s/fd' % pid
        open_files = [os.readlink(os.path.join(folder, fd)) for fd in os.listdir(folder)]
        return WS2S.encode('utf-8') in words and log in open_files
    except (IOError, OSError):
        return False
