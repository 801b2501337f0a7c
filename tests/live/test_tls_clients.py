# -*- coding: utf-8 -*-
"""TLS with clients that nobody here wrote, some of them strict, and through a proxy that passes it on."""

import os
import subprocess
import threading

import pytest

from fronts import Haproxy, running
from installed import needs
from players import PLAYERS
from redis_server import resp
from targets import echo, serving
from test_listeners import TRUSTED, lines  # noqa: F401
from test_tls import (GET, SPOKEN_HERE, authority, gateway, pair, start)  # noqa: F401

pytestmark = [pytest.mark.usefixtures('no_mistakes'), pytest.mark.programs, pytest.mark.independent]

SECONDS = 60
WORDS = ['x' * 60000, u'\u20ac' * 1000]


def ran(command, text=b'', **environment):
    """(exit status, all that it says)."""
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                               close_fds=True, env=dict(os.environ, **environment))
    killer = threading.Timer(SECONDS, process.kill)
    killer.start()
    try:
        said = process.communicate(text)[0]
    finally:
        killer.cancel()
        killer.join()
    return process.returncode, said.decode('utf-8', 'replace')


@pytest.fixture
def trusted(monkeypatch, authority):  # noqa: F811
    """Clients of this process and below it trust the authority, as others do those of the system."""
    for name in ('SSL_CERT_FILE', 'NODE_EXTRA_CA_CERTS', 'WEBSOCKET_CLIENT_CA_BUNDLE'):
        monkeypatch.setenv(name, authority.certificate)


@pytest.mark.parametrize('name', sorted(set(PLAYERS) - {'chromium'}))
@pytest.mark.parametrize('form', ['binary', 'sendb', 'send'])
def test_packages_of_python_and_node_exchange_bytes(gateway, trusted, name, form):  # noqa: F811
    url = 'wss://localhost:%d/' % gateway.address[1]
    batches = [[[[word]], len(resp([word]))] for word in WORDS] if form != 'send' else [[[['x']], len(resp(['x']))]]
    with PLAYERS[name]() as player, player.at(gateway) as stage, serving(echo) as port:
        result = stage.run('exchange', url=url, form=form, port=port, batches=batches)
    answers = [resp(words).decode('utf-8') for requests, _ in batches for words in requests]
    assert result['answers'] == answers and result['unread'] == 0


@pytest.mark.parametrize('words', [[], ['--tls-max', '1.2'], ['--tlsv1.3'], ['--http1.1'], ['--http2']], ids=' '.join)
def test_curl_is_served(gateway, authority, words):  # noqa: F811
    curl = [needs('curl', 'curl'), '-sS', '--cacert', authority.certificate] + words
    assert ran(curl + ['https://localhost:%d/healthz' % gateway.address[1]]) == (0, 'ok')


def test_curl_that_speaks_no_tls_is_told_so(gateway):  # noqa: F811
    said = ran([needs('curl', 'curl'), '-sS', '-w', ' %{http_code}', 'http://localhost:%d/' % gateway.address[1]])
    assert said == (0, SPOKEN_HERE + '\n 400') or said == (0, SPOKEN_HERE + ' 400')


@pytest.mark.parametrize('version', ['1.2', '1.3'])
def test_gnutls_hears_the_end_that_tls_tells(gateway, authority, version):  # noqa: F811
    status, said = ran([needs('gnutls-cli', 'gnutls-bin'), '--x509cafile', authority.certificate, '--priority',
                        'NORMAL:-VERS-ALL:+VERS-TLS' + version, '--port', str(gateway.address[1]), 'localhost'], GET)
    assert status == 0 and '\nok' in said and 'TLS' + version in said
    assert 'non-properly' not in said


@pytest.mark.parametrize('version', ['TLSv1.2', 'TLSv1.3'])
def test_java_exchanges_bytes_and_hears_the_end(gateway, authority, version):  # noqa: F811
    needs('javac', 'default-jdk-headless')
    with serving(echo) as port:
        assert ran([needs('java', 'default-jdk-headless'),
                    os.path.join(os.path.dirname(os.path.abspath(__file__)), 'EchoClient.java'), authority.certificate,
                    str(gateway.address[1]), str(port), version]) == (0, 'good\n')


# -- through a proxy ---------------------------------------------------------------------------------------------------

class PassingOn(Haproxy):
    """It does not look into what it passes on: the certificate is the gateway's."""

    def __init__(self, program, folder, port, upstream, authority, line):  # noqa: F811
        Haproxy.__init__(self, program, folder, port, upstream, line)
        self.certificate = authority.certificate

    def _text(self, upstream, line):
        return (u'defaults\n    mode tcp\n    timeout connect 5s\n    timeout client 60s\n    timeout server 60s\n'
                u'frontend tls\n    bind %s:%d\n    default_backend gateway\nbackend gateway\n    server one %s:%d %s\n'
                % (('127.0.0.1', self.port) + tuple(upstream) + (line,)))


PassingOn.__name__ = 'Haproxy'  # the program that is looked for


@pytest.mark.parametrize('line', ['send-proxy', 'send-proxy-v2', 'send-proxy-v2 proxy-v2-options crc32c,unique-id'])
def test_haproxy_passes_tls_on_and_names_the_client(start, authority, lines, line):  # noqa: F811
    gateway = start(listen={'proxyProtocol': True}, trustedProxies=[TRUSTED])  # noqa: F811
    with running(PassingOn, gateway.address, authority, line) as server:
        with server.client(source='127.0.0.7') as client:
            client.open()
            assert client.ask(command='ping')['message'] == 'ping done'
            client.close()
    lines.wait_for(r'^#\d+ 127\.0\.0\.7:\d+ has left: ')
