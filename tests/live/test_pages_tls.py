# -*- coding: utf-8 -*-
"""The two pages: TLS to the target, and the pages themselves over https from the gateway's own listener."""

import contextlib
import json
import ssl

import pytest

from chromium import running_chromium
from fronts import make_certificate
from page_visits import connect, fill_target, log_in, run_command
from program import running_program
from redis_server import running_redis
from targets import closed_port, echo, serving
from visitor import read, visited
from waiting import wait_until

pytestmark = pytest.mark.pages

LOCAL = {'allowConnectToServerLocal': True}


# -- what the tests need -----------------------------------------------------------------------------------------------

@pytest.fixture(scope='module')
def browser():
    with running_chromium('--ignore-certificate-errors') as running:
        yield running


class Certificate(object):
    """One for 127.0.0.1 that is its own authority, and its key: files, and the text of the one."""

    def __init__(self, folder):
        self.path, self.key_path = make_certificate(str(folder))
        self.text = read(self.path)

    def marks(self):
        """A line of each file."""
        return [read(path).split('\n')[1] for path in (self.path, self.key_path)]


@pytest.fixture(scope='module')
def certificate(tmpdir_factory):
    return Certificate(tmpdir_factory.mktemp('server'))


@pytest.fixture(scope='module')
def client_certificate(tmpdir_factory):
    return Certificate(tmpdir_factory.mktemp('client'))


@pytest.fixture(scope='module')
def gateway():
    with running_program(LOCAL) as program:
        yield program


@pytest.fixture
def tls_port(certificate):
    """Of an echo by TLS."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate.path, certificate.key_path)

    def echo_by_tls(sock):
        with contextlib.closing(context.wrap_socket(sock, server_side=True)) as secure:
            echo(secure)

    with serving(echo_by_tls) as port:
        yield port


@pytest.fixture
def redis_by_tls(certificate, client_certificate):
    """It wants a certificate of its clients."""
    with running_redis('--tls-port', '0', '--tls-cert-file', certificate.path, '--tls-key-file', certificate.key_path,
                       '--tls-ca-cert-file', client_certificate.path) as server:
        server.tls_port = wait_until(lambda: listens_by_tls(server, closed_port()), 10, 'a port for TLS')
        yield server


def listens_by_tls(server, port):
    """The port, or None when somebody else has it. The tests themselves ask in the clear."""
    return port if server.ask('CONFIG', 'SET', 'tls-port', str(port)) == b'+OK\r\n' else None


def choose_tls(visitor, value='verified', **texts):
    """``texts`` by the end of the id of their fields: servername, ca, cert, key."""
    visitor.open('#target-tls-section')
    visitor.choose('#target-tls', value)
    for name, text in sorted(texts.items()):
        visitor.fill('#target-tls-' + name, text)


def put_certificates(visitor, authority, own):
    for name, path in (('ca', authority.path), ('cert', own.path), ('key', own.key_path)):
        visitor.put_file('#target-tls-%s-file' % name, path)
        visitor.wait_for_text('#target-tls-%s-file-status' % name, 'was read')


def say(visitor, text):
    visitor.fill('#input', text)
    visitor.press('Enter')
    visitor.wait_for_text('#totals', 'received %d bytes' % (len(text) + 1))


# -- TLS to the target -------------------------------------------------------------------------------------------------

def test_console_speaks_tls_to_a_target_of_its_own_authority(browser, gateway, certificate, tls_port):
    with visited(browser, gateway) as console:
        choose_tls(console, ca=certificate.text)
        assert 'with TLS (TLSv1.3).' in connect(console, tls_port)
        say(console, u'hello')
        assert json.loads(json.loads(console.stored())[0]['ws2s.console.targets'])[0]['tls'] == 'verified'


def test_console_tells_what_is_wrong_with_a_certificate(browser, gateway, tls_port):
    with visited(browser, gateway) as console:
        choose_tls(console)
        assert '(tls)' in connect(console, tls_port, 'certificate')


def test_console_tells_that_a_target_speaks_no_tls(browser, gateway):
    with visited(browser, gateway) as console, serving(echo) as port:
        choose_tls(console)
        connect(console, port, '(tls)')


def test_that_nothing_is_verified_must_be_allowed_by_the_gateway(browser, gateway, tls_port):
    with visited(browser, gateway) as console:
        choose_tls(console, 'unverified')
        assert '(bad-request)' in connect(console, tls_port, 'tls.allowUnverified')
    with running_program(dict(LOCAL, tls={'allowUnverified': True})) as lenient, visited(browser, lenient) as console:
        choose_tls(console, 'unverified')
        assert 'with TLS, without verification' in connect(console, tls_port)
        assert 'unverified' not in console.stored()


def test_console_leads_to_what_is_missing_of_tls(browser, gateway, certificate, tls_port):
    with visited(browser, gateway) as console:
        choose_tls(console, '', ca=certificate.text)
        connect(console, tls_port, 'With TLS?')
        assert console.focused() == 'target-tls'
        choose_tls(console, key=read(certificate.key_path))
        connect(console, tls_port, 'The certificate of the key is missing.')
        assert console.focused() == 'target-tls-cert'


def test_redis_page_shows_a_certificate_of_its_own_and_keeps_no_secret(browser, gateway, certificate,
                                                                       client_certificate, redis_by_tls):
    redis_by_tls.ask('SET', 'k', 'by TLS')
    with visited(browser, gateway, 'redis.html') as client:
        choose_tls(client)
        put_certificates(client, certificate, client_certificate)
        log_in(client, redis_by_tls.tls_port)
        assert run_command(client, u'GET k') == '"by TLS"'
        assert '(TLS)' in client.text('#session-target')
        for mark in client_certificate.marks():
            assert mark not in client.stored()
        assert certificate.marks()[0] in client.stored()


def test_a_connection_that_is_named_is_by_tls_and_keeps_its_name_when_certificates_are_added(
        browser, certificate, client_certificate, redis_by_tls):
    named = {'name': 'shop', 'host': '127.0.0.1', 'port': redis_by_tls.tls_port, 'tls': True}
    with running_program(dict(LOCAL, redis={'connections': [named]})) as program:
        with visited(browser, program, 'redis.html') as client:
            client.click('#connections a')
            client.wait_for_text('#status', '(tls)')
            client.open('#target-tls-section')
            put_certificates(client, certificate, client_certificate)
            client.click('#connect')
            client.wait_for_text('#status', 'found.')
            assert client.text('#session-place') == 'shop' and '(TLS)' in client.text('#session-target')


def test_a_gateway_that_is_gone_is_told_as_such(browser):
    with running_program(LOCAL) as program, visited(browser, program) as console, serving(echo) as port:
        program.end()
        assert '(gateway-unreachable)' in connect(console, port, 'The gateway cannot be reached')


# -- over https --------------------------------------------------------------------------------------------------------

@pytest.fixture(scope='module')
def secure_gateway(certificate):
    with running_program(LOCAL, ['--tls', '%s,%s' % (certificate.path, certificate.key_path)]) as program:
        yield program


@pytest.mark.parametrize('path', ['', 'redis.html'], ids=['console', 'redis'])
def test_a_page_over_https_works_without_mixed_content(browser, secure_gateway, path):
    with running_redis() as server, visited(browser, secure_gateway, path, scheme='https') as visitor:
        if path:
            log_in(visitor, server.port)
        else:
            connect(visitor, server.port)
        assert visitor.value('#target-gateway').startswith('wss://')


# -- how they look -----------------------------------------------------------------------------------------------------

@pytest.mark.parametrize('path', ['', 'redis.html'], ids=['console', 'redis'])
def test_the_fields_of_tls_look_well_and_have_no_flaws(browser, gateway, gallery, path):
    with visited(browser, gateway, path) as visitor, serving(echo) as port:
        choose_tls(visitor, 'unverified', key=u'KEY')
        connect(visitor, port, 'The certificate of the key is missing.')
        gallery.hang(visitor, (path or 'console').split('.')[0] + '-tls')


def test_tls_can_be_chosen_by_keyboard_alone(browser, gateway, tls_port):
    with visited(browser, gateway) as console:
        fill_target(console, tls_port)
        for _ in range(20):
            console.press('Tab')
            if console.page.evaluate('document.activeElement.parentElement.id') == 'target-tls-section':
                break
        console.press('Enter')
        console.press('Tab')
        assert console.focused() == 'target-tls'
        console.press('ArrowDown')
        assert console.value('#target-tls') == 'verified'
