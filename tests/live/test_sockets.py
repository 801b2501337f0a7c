# -*- coding: utf-8 -*-
"""ws2s/sockets in Chromium, in pages that ws2s.py serves; and pg, as it comes from npm, over its connect()."""

import binascii
import contextlib
import glob
import hashlib
import os
import pwd
import shutil
import subprocess
import tempfile
import threading
import time

import pytest

from census import children
from chromium import reap, running_chromium
from installed import needs_driver_modules
from mail_servers import running_dovecot, running_exim
from players import PAGES
from postgres_server import PASSWORD, SCRAM, running_postgres
from program import REPOSITORY
from ssh_server import folder_for_all, make_key, read, running_sshd, some_account, write
from targets import closed_port, echo, released, reset, serving, when
from test_browser import Flood, MemoryWatch, heap_bytes
from visitor import http, running_gateway_program, visited
from waiting import wait_until, wait_until_still

pytestmark = pytest.mark.pages

MEGABYTE = 1 << 20
LARGE = 100 * MEGABYTE
LIBRARY = os.path.join(REPOSITORY, 'ws2s-js')
NO_MODULES = ('crypto', 'dns', 'fs', 'net', 'path', 'stream', 'tls')  # that pg names, and does not use in a page


# -- what the tests need -----------------------------------------------------------------------------------------------

@pytest.fixture(scope='module')
def folder():
    """The library beside the pages of these tests."""
    folder = tempfile.mkdtemp()
    names = [os.path.join(LIBRARY, name) for name in ('ws2s.*', 'gateway.mjs', 'sockets.mjs')]
    for path in sum(map(glob.glob, names + [os.path.join(PAGES, '*')]), []):
        shutil.copy(path, folder)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope='module')
def gateway(folder):
    with running_gateway_program(folder) as program:
        yield program


@pytest.fixture
def page(browser, gateway):
    with visited(browser, gateway, 'sockets.html') as visitor:
        yield visitor.page


# -- what each socket does ---------------------------------------------------------------------------------------------

@pytest.mark.parametrize('how', ['connect', 'TCPSocket'])
def test_both_reach_a_target_by_the_gateway_that_the_page_names(page, how):
    with serving(echo) as port:
        assert page.run('echo', port=port, how=how) == 'hello'


def test_a_worker_reaches_a_target_by_the_gateway_of_its_import(page):
    with serving(echo) as port:
        assert page.run('inWorker', port=port) == [1, 2]


def socket_error(reason):
    return {'name': 'SocketError', 'reason': reason, 'isTypeError': True, 'begins': 'SocketError'}


def test_what_cannot_be_reached_tells_why(browser, gateway):
    """Not watched: the page asks a gateway that is not there."""
    with browser.page(http(gateway, 'sockets.html')) as page:
        told = page.run('failures', refused=closed_port(), elsewhere='ws://127.0.0.1:%d' % closed_port())
    direct = told.pop('direct')
    assert (direct['name'], direct['reason']) == ('NetworkError', 'refused')
    assert told == {'refused': socket_error('refused'), 'forbidden': socket_error('forbidden'),
                    'name': socket_error('dns'), 'gateway': socket_error('gateway-unreachable')}


def test_a_reset_fails_the_socket_and_its_stream(page):
    with serving(reset) as port:
        assert page.run('reset', port=port) == [socket_error('reset')] * 2


@contextlib.contextmanager
def orphans_reaped():
    """While Chromium runs we are the parent of those that other servers have left, too."""
    before = set(children())
    yield

    def is_reaped():
        for pid in set(children()) - before:
            reap(int(pid))
        return set(children()) <= before

    wait_until(is_reaped, 10, 'the end of what a server has left')


@pytest.fixture
def exim(browser, good):
    with orphans_reaped(), running_exim(good) as server:
        yield server


@pytest.fixture
def dovecot(browser, good):
    with orphans_reaped(), running_dovecot(good) as server:
        yield server


def test_mail_goes_to_a_real_server_by_starttls(page, pki, exim):
    told = page.run('sendMail', port=exim.port, ca=pki.root.cert)
    assert told == {'answers': ['220', '250', '220', '250', '250', '250', '354', '250', '221'],
                    'upgraded': True, 'transports': ['starttls', 'on']}
    mail = os.path.join(exim.folder, 'mail')
    wait_until(lambda: os.path.exists(mail) and 'Subject: hi' in read(mail), 10, 'the mail')


def test_tls_from_the_beginning_wants_a_certificate_of_a_known_authority(page, pki, dovecot):
    assert page.run('greeting', port=dovecot.tls_port, ca=pki.root.cert) == '* OK'
    assert page.run('untrusted', port=dovecot.tls_port) == socket_error('tls')


def test_the_way_goes_through_an_ssh_server(browser, folder):
    """With a gateway of its own: what ssh leaves is gone with that one."""
    with some_account() as account, running_sshd(account) as sshd, serving(echo) as port:
        key = sshd.authorize(make_key(sshd.folder))
        ssh = {'host': '127.0.0.1', 'port': sshd.port, 'username': account.name, 'privateKey': key.text}
        with running_gateway_program(folder) as own, visited(browser, own, 'sockets.html') as visitor:
            assert visitor.page.run('tunnel', port=port, ssh=ssh) == 'by ssh'


# -- much, to those who are slow ---------------------------------------------------------------------------------------

class Watched(object):
    """A page of its own browser, and how far its memory grows while ``finish()`` is awaited, with all that is garbage
    collected: ``heap`` and ``resident`` in bytes."""

    def __init__(self, browser, page):
        self._browser, self.page, self.heap, self.resident = browser, page, 0, 0

    def run(self, scenario, meanwhile, **settings):
        page = self.page
        page.listen_to('Performance')
        page.call('HeapProfiler.collectGarbage')
        begun = heap_bytes(page)
        with MemoryWatch(self._browser.processes('renderer')) as memory:
            finish = page.begin(scenario, **settings)
            wait_until(lambda: page.evaluate('globalThis.progress > 0'))
            meanwhile()
            while page.evaluate('progress') < LARGE:
                page.call('HeapProfiler.collectGarbage')
                self.heap = max(self.heap, heap_bytes(page) - begun)
            result = finish()
        self.resident = memory.growth()
        return result


@pytest.fixture
def watched(gateway):
    with running_chromium() as own_browser, own_browser.page(http(gateway, 'sockets.html')) as page:
        yield Watched(own_browser, page)


@pytest.mark.quiet
@pytest.mark.parametrize('byob', [False, True], ids=['default', 'byob'])
def test_100_megabytes_through_a_page_that_reads_slowly_need_little_memory(watched, byob):
    flood = Flood(LARGE)

    def meanwhile():
        # The page has stopped after the first megabyte: nobody may take the rest in its place.
        assert wait_until_still(lambda: flood.sent) < 24 * MEGABYTE
        watched.page.evaluate('goOn()')

    with serving(flood) as port:
        result = watched.run('readSlowly', meanwhile, port=port, rest=10, byob=byob)
    assert result == {'received': LARGE, 'hash': flood.hex}
    assert watched.heap < 32 * MEGABYTE and watched.resident < 64 * MEGABYTE, (watched.heap, watched.resident)


class SlowHash(object):
    """A target that rests after each megabyte. ``hex``: of what has come, as the page comes to it."""

    def __init__(self):
        self.hash, self.received = b'\0' * 32, 0

    def __call__(self, sock):
        piece = bytearray()
        for data in iter(lambda: sock.recv(MEGABYTE - len(piece)), b''):
            piece += data
            self.received += len(data)
            if len(piece) == MEGABYTE:
                self.hash = hashlib.sha256(self.hash + bytes(piece)).digest()
                del piece[:]
                time.sleep(0.01)

    @property
    def hex(self):
        return binascii.hexlify(self.hash).decode('ascii')


@pytest.mark.quiet
def test_100_megabytes_to_a_target_that_reads_slowly_need_little_memory(watched):
    target, begin_to_read = SlowHash(), threading.Event()

    def meanwhile():
        assert wait_until_still(lambda: watched.page.evaluate('progress')) < 16 * MEGABYTE
        begin_to_read.set()

    with serving(when(begin_to_read, target)) as port, released(begin_to_read):
        result = watched.run('writeFast', meanwhile, port=port, size=LARGE)
        assert (target.received, target.hex) == (LARGE, result)
    assert watched.heap < 32 * MEGABYTE and watched.resident < 64 * MEGABYTE, (watched.heap, watched.resident)


# -- pg ----------------------------------------------------------------------------------------------------------------

@pytest.fixture(scope='module')
def pg_bundle(folder):
    """pg.js beside the pages, bundled by esbuild: pg itself, unchanged, as it is for Cloudflare's workers."""
    modules = needs_driver_modules()
    aliases = dict({name: os.path.join(PAGES, 'nothing.cjs') for name in NO_MODULES},
                   **{'cloudflare:sockets': os.path.join(LIBRARY, 'sockets.mjs'),
                      'util/types': 'util/support/types.js'})
    command = [os.path.join(modules, 'esbuild', 'bin', 'esbuild'), os.path.join(PAGES, 'pg-page.mjs'), '--bundle',
               '--format=esm', '--conditions=workerd', '--define:navigator.userAgent="Cloudflare-Workers"',
               '--define:global=globalThis', '--inject:' + os.path.join(PAGES, 'pg-globals.mjs'),
               '--log-level=error', '--outfile=' + os.path.join(folder, 'pg.js')]
    command += ['--alias:%s=%s' % alias for alias in sorted(aliases.items())]
    subprocess.check_call(command, env=dict(os.environ, NODE_PATH=modules))


@pytest.fixture(scope='module')
def postgres(good):
    """A PostgresServer that speaks TLS if it is asked for."""
    certificates = folder_for_all()
    try:
        with running_postgres() as server:
            for setting, source in (('ssl_cert_file', good.path), ('ssl_key_file', good.key)):
                path = os.path.join(certificates, setting)
                write(path, read(source), 0o600)
                if os.getuid() == 0:
                    os.chown(path, pwd.getpwnam('nobody').pw_uid, -1)
                server.ask(u"ALTER SYSTEM SET %s = '%s'" % (setting, path))
            server.ask(u'ALTER SYSTEM SET ssl = on')
            server.ask(u'SELECT pg_reload_conf()')
            wait_until(lambda: server.ask(u'SHOW ssl') == 'on', 10, 'PostgreSQL to speak TLS')
            yield server
    finally:
        shutil.rmtree(certificates)


@pytest.fixture
def pg_page(browser, gateway, pg_bundle):
    with visited(browser, gateway, 'pg.html') as visitor:
        yield visitor.page


@pytest.fixture
def login(postgres, pki):
    return {'host': '127.0.0.1', 'port': postgres.port, 'user': SCRAM, 'password': PASSWORD,
            'ssl': {'ca': pki.root.cert}}


@pytest.mark.parametrize('is_tls', [False, True], ids=['clear', 'tls'])
def test_pg_asks_a_real_server(pg_page, login, is_tls):
    assert pg_page.run('dialog', **(login if is_tls else dict(login, ssl=False))) == {
        'ssl': is_tls, 'row': {'word': u'Gr\u00fc\u00dfe \u2603', 'number': 42}, 'failure': '22012',
        'after': [{'two': 2}]}


def test_pg_takes_rows_of_megabytes(pg_page, login):
    assert pg_page.run('large', **login) == [True] * 5


def test_a_pool_of_pg_is_served_and_told_of_notifications(pg_page, login):
    assert pg_page.run('pool', **login) == {'numbers': list(range(40)), 'pids': 4, 'payload': 'fresh'}


def test_every_connection_of_pg_is_gone_with_end(pg_page, login, postgres):
    assert pg_page.run('pool', **dict(login, application_name='counted'))['pids'] == 4
    wait_until(lambda: postgres.ask(u"SELECT count(*) FROM pg_stat_activity WHERE application_name = 'counted'") == '0')


def test_pg_is_told_what_is_wrong(pg_page, login):
    assert pg_page.run('failure', **dict(login, password='wrong')) == '28P01'
    assert pg_page.run('failure', **dict(login, ssl=True)).endswith('signed by an unknown authority')
    assert pg_page.run('failure', **dict(login, port=closed_port())) == 'SocketError: connection refused'
