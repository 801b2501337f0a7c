# -*- coding: utf-8 -*-
"""Drivers that nobody here wrote, as npm has them, in a page: bundled by README's commands, to real servers through a
gateway. What they do there is what they do in Node over TCP."""

import contextlib
import io
import json
import os
import re
import shutil
import sys
import tempfile

import pytest

import ftp_server
import mariadb_server
import postgres_server
from census import children
from chromium import reap
from installed import needs, needs_driver_modules
from mail_servers import running_dovecot, running_exim
from mosquitto import running_mosquitto
from players import NodeStage
from program import REPOSITORY, running_program
from redis_server import running_cluster, running_redis
from ssh_server import read, write
from targets import closed_port, unaccepted
from test_npm import run
from test_tls_programs import with_ssl
from visitor import http, running_gateway_program, visited
from waiting import wait_until

sys.path.insert(0, os.path.join(REPOSITORY, 'tests'))

import npm_package  # noqa: E402

pytestmark = pytest.mark.pages

HOST = '127.0.0.1'
USER, PASSWORD = 'ann', 'secret'
PROGRAMS = os.path.join(REPOSITORY, 'tests', 'live', 'drivers')
SERVERS = {'pg': 'postgres', 'postgres': 'postgres', 'mysql2': 'mariadb', 'ioredis': 'redis', 'redis': 'redis',
           'nodemailer': 'exim', 'imapflow': 'dovecot', 'mqtt': 'mosquitto', 'basic-ftp': 'vsftpd'}
OFFLINE = 'export npm_config_offline=true npm_config_update_notifier=false\n'
LOCAL = 'npx() { "node_modules/.bin/$@"; }\n'  # as npx does, which takes a second
FAILURES = ('wrongPassword', 'refused', 'silent', 'untrusted')
PAGE = '<!DOCTYPE html>\n<meta charset="utf-8">\n<meta name="ws2s-gateway" content="/">\n<title>drivers</title>\n'


# -- the servers -------------------------------------------------------------------------------------------------------

@pytest.fixture(scope='module')
def postgres(good):
    with postgres_server.running_postgres() as server:
        with_ssl(server, good)
        yield {'port': server.port, 'user': postgres_server.SCRAM, 'password': postgres_server.PASSWORD}


@pytest.fixture(scope='module')
def mariadb(good):
    with mariadb_server.running_mariadb(good) as server:
        yield {'port': server.port, 'user': mariadb_server.USER, 'password': mariadb_server.PASSWORD}


@pytest.fixture(scope='module')
def redis(good):
    # It would show the authority's certificate behind its own, if it knew it.
    tls = ('--tls-port', '{tls_port}', '--tls-cert-file', good.path, '--tls-key-file', good.key, '--tls-auth-clients',
           'no', '--tls-ca-cert-file', good.path)
    with running_redis(*tls) as server, running_cluster() as nodes:
        assert server.ask('ACL', 'SETUSER', USER, 'on', '>' + PASSWORD, '~*', '&*', '+@all') == b'+OK\r\n'
        yield {'port': server.port, 'tlsPort': server.tls_port, 'nodes': [[HOST, node.port] for node in nodes]}


@pytest.fixture(scope='module')
def exim(good):
    with running_exim(good) as server:
        yield {'port': server.port}


@pytest.fixture(scope='module')
def dovecot(good):
    with running_dovecot(good) as server:
        yield {'port': server.port, 'tlsPort': server.tls_port}


@pytest.fixture(scope='module')
def mosquitto(good):
    with temporary_folder() as folder:
        passwords = os.path.join(folder, 'passwords')
        write(passwords, u'%s:%s\n' % (USER, PASSWORD))
        run([needs('mosquitto_passwd', 'mosquitto'), '-U', passwords], folder)
        # As another user it could not read the key.
        settings = u'user root\npassword_file %s\nlistener {tls_port} 127.0.0.1\ncertfile %s\nkeyfile %s\n'
        with running_mosquitto(settings % (passwords, good.path, good.key)) as server:
            yield {'port': server.port, 'tlsPort': server.tls_port}


@pytest.fixture(scope='module')
def vsftpd(good):
    with ftp_server.running_vsftpd(good) as server:
        yield {'port': server.port, 'user': ftp_server.USER, 'password': ftp_server.PASSWORD}


@pytest.fixture(scope='module')
def silent():
    """A port that connects, and where nobody answers."""
    with unaccepted() as port:
        yield port


# Of the whole module, so that a server has begun when a test begins, which leaves as much as there was.
@pytest.fixture(scope='module', params=sorted(SERVERS))
def driver(request):
    return request.param


@pytest.fixture(scope='module')
def settings(request, pki, silent, driver):
    """What the program of ``driver`` is told."""
    common = {'host': HOST, 'user': USER, 'password': PASSWORD, 'ca': read(pki.root.path), 'deadPort': closed_port(),
              'silentPort': silent}
    return dict(common, **request.getfixturevalue(SERVERS[driver]))


@pytest.fixture(autouse=True)
def orphans_reaped(nothing_left):
    """While Chromium runs we are the parent of those whom servers leave behind, too."""
    before = set(children())
    yield
    wait_until(lambda: not reaped(set(children()) - before), 30, 'what servers have left to end')


def reaped(pids):
    for pid in pids:
        reap(int(pid))
    return pids


# -- README and what it makes ------------------------------------------------------------------------------------------

@contextlib.contextmanager
def temporary_folder():
    folder = tempfile.mkdtemp()
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def chapter():
    with io.open(os.path.join(REPOSITORY, 'README.md'), encoding='utf-8') as file:
        return file.read().split(u'\n## Drivers in a page\n')[1].split(u'\n## ')[0]


def example(kind, words):
    """The one of the chapter that has ``words``."""
    found = re.findall('```%s\n(.*?)```' % kind, chapter(), re.DOTALL)
    return next(text for text in found if words in text)


def commands():
    """By driver, what README says."""
    found = re.findall(r'^\| `[a-z0-9-]+` [0-9.]+ \| `(npx esbuild .*?)` \|', chapter(), re.MULTILINE)
    return dict((command.split()[2][:-len('.mjs')], command) for command in found)


@pytest.fixture(scope='module')
def project():
    """A folder with the drivers' programs, as somebody has it who has installed what README says."""
    with temporary_folder() as folder:
        for name in os.listdir(PROGRAMS):
            shutil.copy(os.path.join(PROGRAMS, name), folder)
        write(os.path.join(folder, 'globals.mjs'), example('js', 'export {Buffer}'))
        modules, installed = os.path.join(folder, 'node_modules'), needs_driver_modules()
        os.mkdir(modules)
        for name in os.listdir(installed):
            os.symlink(os.path.join(installed, name), os.path.join(modules, name))
        with npm_package.staged() as package:
            shutil.copytree(package, os.path.join(modules, 'ws2s'))
        os.mkdir(os.path.join(folder, 'web'))
        write(os.path.join(folder, 'web', 'drivers.html'), PAGE)
        yield folder


@pytest.fixture(scope='module')
def gateway(project):
    config = {'web': os.path.join(project, 'web'), 'allowConnectToServerLocal': True, 'tls': {'allowUnverified': True}}
    with running_program(config) as program:
        yield program


def bundle(project, driver, prelude=OFFLINE):
    """Run what README says."""
    script = prelude + example('sh', '--bundle') + commands()[driver] + ' --log-level=warning'
    assert run([needs('sh', 'dash'), '-e', '-c', script], project) == ''


@pytest.fixture(scope='module')
def node(project):
    """Node itself, over TCP."""
    return NodeStage(needs('node', 'nodejs'), '', os.path.join(project, 'straight.mjs'))


# -- the drivers -------------------------------------------------------------------------------------------------------

def test_a_driver_does_in_a_page_what_it_does_in_node(project, gateway, browser, node, settings, driver):
    straight = node.begin(driver, **settings)
    bundle(project, driver, LOCAL)
    expected = straight()
    assert all(expected[name] != 'no failure' for name in FAILURES), expected
    assert not falsehoods(expected), expected
    with browser.page(http(gateway, 'drivers.html')) as page:
        page.listen_to('Log')
        facts = page.evaluate("import('./%s.js').then(program => program.facts(%s))" % (driver, json.dumps(settings)))
        log = [told['entry']['text'] for told in page.told('Log.entryAdded')]
    assert not [line for line in log if 'Content Security Policy' in line]
    assert facts == expected


def falsehoods(facts):
    """Names of what a program has found to be otherwise than it should be."""
    return [name for name, fact in facts.items() if fact is False or isinstance(fact, list) and False in fact]


# -- what README says --------------------------------------------------------------------------------------------------

@pytest.fixture
def site(project, postgres, pki):
    """The folder of README's page, which asks our PostgreSQL."""
    web, program = os.path.join(project, 'web'), example('js', "import pg from 'pg'")
    for theirs, ours in (("'db.lan'", json.dumps(HOST)), ('5432', json.dumps(postgres['port'])),
                         ('ssl: true', 'ssl: ' + json.dumps({'ca': read(pki.root.path)}))):
        assert theirs in program
        program = program.replace(theirs, ours)
    write(os.path.join(project, 'pg.mjs'), program)
    write(os.path.join(web, 'index.html'), example('html', 'pg.js'))
    bundle(project, 'pg')
    return web


def test_the_page_of_the_readme_shows_the_rows_and_the_errors_of_postgresql(site, browser, postgres):
    with running_gateway_program(site) as gateway, visited(browser, gateway) as visitor:
        for password, sql, answer in ((postgres['password'], u"SELECT 'Gr\u00fc\u00dfe' AS word", u'"Gr\u00fc\u00dfe"'),
                                      (postgres['password'], u'SELECT 1 / 0', u'22012: '),
                                      (u'wrong', u'SELECT 1', u'28P01: ')):
            for name, text in (('user', postgres['user']), ('password', password), ('sql', sql)):
                visitor.fill('[name=%s]' % name, text)
            visitor.click('button')
            visitor.wait_for_text('pre', answer)


def pinned():
    """What tests/environments.py, which is not for Python 2, installs."""
    with io.open(os.path.join(REPOSITORY, 'tests', 'environments.py'), encoding='utf-8') as file:
        return re.findall("'(.*?)'", re.search(r'^DRIVER_PACKAGES = \((.*?)\)', file.read(), re.DOTALL | re.M).group(1))


def test_the_readme_tells_of_each_driver_with_the_version_that_is_tested():
    told = dict(re.findall(r'^\| `([a-z0-9-]+)` ([0-9.]+) \|', chapter(), re.MULTILINE))
    tested = dict(package.rsplit('@', 1) for package in pinned())
    assert told == dict((driver, tested[driver]) for driver in SERVERS)
    assert sorted(commands()) == sorted(SERVERS)


def test_what_the_readme_installs_is_what_the_tests_have():
    words = example('sh', 'npm install').replace('\\\n', ' ').split()
    others = [package for package in pinned() if package.rsplit('@', 1)[0] not in SERVERS]
    assert words[2] == './ws2s-%s.tgz' % npm_package.manifest()['version'] and words[3].startswith('pg@')
    assert sorted(words[3:]) == sorted(others + [words[3]]) and words[3] in pinned()
