# -*- coding: utf-8 -*-
"""What only a browser shows: the origin rule as it is lived, fragments, and a page that reads slowly."""

import hashlib
import logging
import os

import pytest

import ws2s
from players import PAGES
from redis_server import running_redis
from targets import saying, serving

pytestmark = pytest.mark.independent

LARGE = 10 * 1000 * 1000
WINDOW = 65536
OPENED = {'opened': True, 'code': 1000, 'wasClean': True, 'extensions': ''}
REFUSED = {'opened': False, 'code': 1006, 'wasClean': False, 'extensions': ''}
FORBIDDEN = ['Error during WebSocket handshake: Unexpected response code: 403']


@pytest.fixture
def gateway(running_gateway):
    return running_gateway({'web': PAGES})


@pytest.fixture
def page(browser, gateway):
    with browser.page(http(gateway)) as own_page:
        yield own_page


def http(gateway, host='127.0.0.1'):
    return 'http://%s:%d' % (host, gateway.address[1])


def ws(gateway, host='127.0.0.1'):
    return 'ws://%s:%d/' % (host, gateway.address[1])


def refusal(page):
    """Why the browser says that the WebSocket did not open."""
    return [event['errorMessage'] for event in page.wait_for('Network.webSocketFrameError')]


def visit(browser, page_url, url):
    """(what the page saw, why the browser says that the WebSocket failed)"""
    with browser.page(page_url) as page:
        page.listen_to('Network')
        result = page.run('visit', url=url, code=1000)
        return result, [] if result['opened'] else refusal(page)


@pytest.mark.parametrize('host', ['127.0.0.1', 'localhost'])
def test_a_page_of_another_server_on_this_machine_may_connect(browser, running_gateway, host):
    gateway, other = running_gateway(), running_gateway({'web': PAGES})
    assert visit(browser, http(other, host), ws(gateway)) == (OPENED, [])


@pytest.mark.parametrize('hosts', [[], ['foreign.test']], ids=['', 'though-its-host-is-allowed'])
def test_a_foreign_page_is_refused(browser, running_gateway, hosts):
    gateway, other = running_gateway({'allowedHosts': hosts}), running_gateway({'web': PAGES})
    assert visit(browser, http(other, 'foreign.test'), ws(gateway)) == (REFUSED, FORBIDDEN)


def test_a_foreign_page_in_allowed_origins_may_connect(browser, running_gateway):
    other = running_gateway({'web': PAGES})
    gateway = running_gateway({'allowedOrigins': [http(other, 'foreign.test')]})
    assert visit(browser, http(other, 'foreign.test'), ws(gateway)) == (OPENED, [])


def test_a_name_that_was_pointed_at_the_gateway_is_refused(browser, gateway):
    own = http(gateway, 'rebound.test')
    assert visit(browser, own, ws(gateway, 'rebound.test')) == (REFUSED, FORBIDDEN)


def test_a_name_in_allowed_hosts_may_connect_to_itself(browser, running_gateway):
    gateway = running_gateway({'web': PAGES, 'allowedHosts': ['rebound.test']})
    own = http(gateway, 'rebound.test')
    assert visit(browser, own, ws(gateway, 'rebound.test')) == (OPENED, [])


def test_ten_megabytes_that_the_browser_cuts_into_fragments_arrive(page, gateway, monkeypatch):
    heads, read_frame_head = [], ws2s.read_frame_head

    def noted(data, start, legal):
        head = read_frame_head(data, start, legal)
        heads.append(head and head[0])
        return head

    monkeypatch.setattr(ws2s, 'read_frame_head', noted)
    with running_redis() as redis:
        result = page.run('bulk', url=ws(gateway), form='sendb', port=redis.port, key='k', size=LARGE)
        assert hashlib.sha256(redis.ask('GET', 'k')).hexdigest() == result['sent'] == result['received']
    assert heads.count(ws2s.CONTINUATION) > 10  # as the first byte of a frame: there is no FIN bit in it


@pytest.mark.parametrize('form', ['sendb', 'binary'])
def test_a_page_that_reads_slowly_never_has_to_hold_more_than_its_window(page, gateway, form):
    flood = os.urandom(4 * 1024 * 1024)
    with serving(saying(flood)) as port:
        result = page.run('slowReader', url=ws(gateway), form=form, port=port, window=WINDOW, size=len(flood))
    assert result['most'] == WINDOW
    assert result['fullWindows'] > 100
    assert result['received'] == hashlib.sha256(flood).hexdigest()
    assert result['closed'] == {'code': 1005, 'wasClean': True}  # neither side gave a code


def test_the_log_tells_that_a_page_was_there(browser, gateway, caplog):
    caplog.set_level(logging.INFO, 'ws2s')
    visit(browser, http(gateway), ws(gateway))
    gateway.stop()
    assert 'has left: origin %s, path /, json, target -, ' % http(gateway) in caplog.text
