# -*- coding: utf-8 -*-
"""The two pages at a gateway that wants an access token: asked for when it is missing, and kept in memory only."""

import pytest

from chromium import running_chromium
from fronts import make_certificate
from page_visits import connect, log_in, run_command
from program import running_program
from redis_server import running_redis
from targets import echo, serving
from visitor import Gallery, visited

pytestmark = pytest.mark.pages

TOKEN = u'Corr3ct-h0rse-battery'
WANTS, TAKES_NOT = u'perhaps it wants an access token.', u'perhaps it does not take this access token.'
LOCAL = {'allowConnectToServerLocal': True}
GUARDED = dict(LOCAL, auth={'tokens': [{'name': 'ann', 'token': TOKEN}]})
BOTH = pytest.mark.parametrize('path', ['', 'redis.html'], ids=['console', 'redis'])


@pytest.fixture(scope='module')
def browser():
    with running_chromium('--ignore-certificate-errors') as running:
        yield running


@pytest.fixture(scope='module')
def guarded():
    with running_program(GUARDED) as program:
        yield program


@pytest.fixture(scope='module')
def secure(tmpdir_factory):
    """By TLS."""
    with running_program(GUARDED, ['--tls', ','.join(make_certificate(str(tmpdir_factory.mktemp('tls'))))]) as program:
        yield program


def enter(visitor, path, port):
    """Connect, as the one page or the other tells."""
    if path:
        log_in(visitor, port)
        assert run_command(visitor, u'PING') == 'PONG'
    else:
        connect(visitor, port)


@BOTH
@pytest.mark.parametrize('scheme', ['http', 'https'])
def test_a_page_asks_for_the_token_and_keeps_it_in_memory_only(browser, guarded, secure, path, scheme):
    gateway = secure if scheme == 'https' else guarded
    with running_redis() as server, visited(browser, gateway, path, scheme=scheme) as visitor:
        connect(visitor, server.port, WANTS)
        assert visitor.focused() == 'target-token'
        visitor.insert(u'not the one')
        connect(visitor, server.port, TAKES_NOT)
        visitor.fill('#target-token', TOKEN)
        enter(visitor, path, server.port)
        assert TOKEN not in visitor.stored() + visitor.text('body') + visitor.page.evaluate('document.title')
        visitor.page.go(visitor.page.evaluate('location.href'))
        assert visitor.value('#target-token') == ''
    assert not [line for line in gateway.lines if TOKEN in line]


def test_a_token_does_no_harm_where_none_is_wanted(browser):
    with running_program(LOCAL) as gateway, visited(browser, gateway) as console, serving(echo) as port:
        console.open('#target-gateway-section')
        console.fill('#target-token', TOKEN)
        connect(console, port)


@BOTH
def test_what_asks_for_the_token_looks_well_and_has_no_flaws(browser, guarded, tmpdir, path):
    with visited(browser, guarded, path) as visitor, serving(echo) as port:
        connect(visitor, port, WANTS)
        Gallery(str(tmpdir)).hang(visitor, (path or 'console').split('.')[0] + '-token')
