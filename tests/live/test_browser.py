# -*- coding: utf-8 -*-
"""ws2s.js in Chromium, in pages that ws2s.py serves as a program of its own."""

import glob
import os
import shutil
import tempfile
import threading

import pytest

from chromium import running_chromium
from page_memory import MEGABYTE, Flood, MemoryWatch, heap_bytes
from players import PAGES
from program import REPOSITORY
from targets import MortalPath, closed_port, echo, recorder, released, serving, when
from visitor import Watch, http, running_gateway_program, visited, ws
from waiting import wait_until, wait_until_still

pytestmark = pytest.mark.pages

LARGE = 200 * MEGABYTE


# -- what the tests need -----------------------------------------------------------------------------------------------

@pytest.fixture(scope='module')
def library_folder():
    """ws2s.js beside the pages of these tests: a page may have no script but those of its own server."""
    folder = tempfile.mkdtemp()
    for path in glob.glob(os.path.join(REPOSITORY, 'ws2s-js', 'ws2s.*')) + glob.glob(os.path.join(PAGES, '*')):
        shutil.copy(path, folder)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope='module')
def library_gateway(library_folder):
    with running_gateway_program(library_folder) as program:
        yield program


@pytest.fixture
def echo_port():
    with serving(echo) as port:
        yield port


MISDEEDS = """
document.body.append(Object.assign(document.createElement('script'), {textContent: 'stolen(1)'}));
new Image().src = 'http://foreign.test/picture';
Promise.reject(new Error('nobody looks'));
setTimeout(() => { throw new Error('nobody catches'); });
stolen(2);
"""


def test_what_a_page_must_not_do_is_noticed(browser):
    """Or else the other tests could not fail."""
    with running_gateway_program() as gateway, browser.tab() as page:
        watch = Watch(page)
        page.go(http(gateway))
        assert watch.misdeeds() == {} and watch.hosts() == {'%s:%d' % gateway.address}
        page.evaluate(MISDEEDS + '; 0')
        names = ['exceptions', 'failures', 'refused', 'scripts run', 'security', 'violations']
        wait_until(lambda: sorted(watch.misdeeds()) == names, 10, 'all to be noticed')
        assert watch.misdeeds()['scripts run'] == ['2']
        assert 'foreign.test' in watch.hosts()


# -- ws2s.js -----------------------------------------------------------------------------------------------------------

@pytest.fixture(params=['library.html', 'module.html'])
def library_page(browser, library_gateway, request):
    with visited(browser, library_gateway, request.param) as visitor:
        yield visitor.page


@pytest.mark.parametrize('options', [{}, {'binary': False}, {'window': 16384}], ids=['', 'base64', 'small-window'])
def test_streams_go_both_ways(library_page, library_gateway, echo_port, options):
    result = library_page.run('streams', url=ws(library_gateway), port=echo_port, size=3000000, **options)
    assert result == {'same': True, 'done': True, 'remoteAddress': '127.0.0.1', 'remotePort': echo_port}


def test_a_refused_connection_rejects_with_a_reason(library_page, library_gateway):
    result = library_page.run('failure', url=ws(library_gateway), port=closed_port())
    assert result == {'name': 'WS2SError', 'code': 2, 'reason': 'refused', 'isWS2SError': True, 'isRedisError': False}


def test_a_gateway_that_is_not_there_rejects_with_a_reason(browser, library_gateway):
    """Not watched: the page may well ask there."""
    with browser.page(http(library_gateway, 'library.html')) as page:
        result = page.run('failure', url='ws://127.0.0.1:%d/' % closed_port(), port=1)
    assert (result['code'], result['reason']) == (1, 'gateway-unreachable')


def test_the_redis_client_sets_gets_subscribes_and_fails(library_page, library_gateway, redis):
    result = library_page.run('redis', url=ws(library_gateway), port=redis.port)
    assert result['error'].pop('code') == 'WRONGTYPE'
    assert result == {
        'set': 'OK', 'get': u'J\xfcrgen', 'bytes': '4ac3bc7267656e', 'message': ['fresh', 'news'],
        'error': {'name': 'RedisError', 'isWS2SError': False, 'isRedisError': True}}
    assert redis.ask('GET', 'name') == u'J\xfcrgen'.encode('utf-8')


def test_the_socket_with_callbacks(library_page, library_gateway, echo_port):
    result = library_page.run('callbackSocket', url=ws(library_gateway), port=echo_port)
    assert result == {'names': ['onReady', 'onOpen', 'onRecv', 'onRecv', 'onClose'], 'text': u'h\xe9', 'bytes': '00ff'}


def test_the_socket_with_callbacks_tells_a_failure(library_page, library_gateway):
    result = library_page.run('callbackSocketFailure', url=ws(library_gateway), port=closed_port())
    assert result['names'] == ['onReady', 'onError', 'onClose']
    assert (result['error']['success'], result['error']['code'], result['error']['reason']) == (False, 2, 'refused')


@pytest.mark.parametrize('factory', ['newRedisClient', 'newRedisCient'])
def test_the_redis_client_with_callbacks(library_page, library_gateway, redis, factory):
    result = library_page.run('callbackRedis', url=ws(library_gateway), port=redis.port, factory=factory)
    error = 'WRONGTYPE Operation against a key holding the wrong kind of value'
    assert result['names'] == ['onSocketReady', 'onReady']
    assert result['answers'] == [
        ['onResponse', 'OK'], ['onResponse', 'two words'], ['onResponse', None], ['onError', error]]


# -- P4, B3: a path that dies without a word ---------------------------------------------------------------------------

HEARTBEAT = 600
ONLINE = "dispatchEvent(new Event('online'))"


def lose_path(browser, gateway, scenario, **settings):
    """What the page says of it: by the network's return it asks at once, and not in 30 seconds."""
    path = MortalPath(gateway.address)
    with serving(path) as port, browser.page('http://127.0.0.1:%d/library.html' % port) as page:
        finish = page.begin(scenario, url='ws://127.0.0.1:%d/' % port, heartbeat=HEARTBEAT, **settings)
        wait_until(lambda: page.evaluate('globalThis.progress === 1'))
        path.die()
        page.evaluate(ONLINE)
        return finish()


def test_a_connection_over_a_path_that_swallows_all_is_lost(browser, library_gateway, echo_port):
    assert lose_path(browser, library_gateway, 'loss', port=echo_port) == ['gateway-lost', 'gateway-lost']


def test_the_redis_client_goes_on_by_another_path(browser, library_gateway, redis):
    result = lose_path(browser, library_gateway, 'redisLoss', port=redis.port)
    assert result == ['gateway-lost', 'not-answered', '1']


def test_the_library_works_in_a_worker(browser, library_gateway, echo_port):
    with visited(browser, library_gateway, 'library.html') as visitor:
        assert visitor.page.run('inWorker', url=ws(library_gateway), port=echo_port) == [1, 2]


# B4: Chromium keeps pages with a WebSocket in its back/forward cache, and ends the WebSocket.
def test_a_page_that_comes_back_out_of_the_cache_knows_its_losses(browser, library_gateway, redis, echo_port):
    with browser.page(http(library_gateway, 'library.html')) as page:
        page.run('stay', url=ws(library_gateway), port=echo_port, redisPort=redis.port)
        page.go(http(library_gateway, 'module.html'))
        page.go_back()
        expected = [['connection', 'gateway-lost'], ['pageshow', True], ['redis', 'gateway-lost']]
        wait_until(lambda: sorted(page.evaluate('told')) == expected, 10, 'the page to hear of it')
        wait_until(lambda: redis.ask('PUBLISH', 'news', 'fresh') == b':1\r\n', 10, 'the subscription to be renewed')
        assert page.evaluate("ask(['PING'])") == ['pong', '']
        wait_until(lambda: page.evaluate('told').count(['news', 'fresh']) == 1, 10, 'the news')


# -- pages written for ws2s.js 2.1 -------------------------------------------------------------------------------------

ANSWER = b'HTTP/1.0 200 OK\r\n\r\nhello'


class OldPage(object):
    """old.html, its buttons and what its callbacks were told."""

    def __init__(self, visitor):
        self._visitor, self._page = visitor, visitor.page

    def click(self, name, calls):
        """Click a button; what follows, as soon as there were so many calls."""
        before = self._page.evaluate('told.length')
        self._visitor.click('#' + name)
        return self.after(before, calls)

    def after(self, before, calls):
        page = self._page
        wait_until(lambda: page.evaluate('told.length') >= before + calls, 10, '%d calls' % calls)
        return page.evaluate('told.slice(%d)' % before)


def answering(asked):
    """A web server that notes what it is asked."""
    def answer(sock):
        request = read_head(sock)
        if request:
            asked.append(request)
            sock.sendall(ANSWER)
    return answer


def read_head(sock):
    """Up to the empty line, or to the end."""
    head, data = b'', sock.recv(65536)
    while data:
        head += data
        data = b'' if head.endswith(b'\r\n\r\n') else sock.recv(65536)
    return head


@pytest.fixture
def asked():
    return []


@pytest.fixture
def old_page(browser, library_gateway, redis, asked):
    with serving(answering(asked)) as port:
        with visited(browser, library_gateway, 'old.html?web=%d&redis=%d' % (port, redis.port)) as visitor:
            own = OldPage(visitor)
            own.after(0, 1)  # onReady
            yield own


REQUEST = b'GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n'
RECEIVED = ['onRecv', ANSWER.decode('ascii')]


def test_the_old_example_of_a_bare_websocket_works(old_page, asked):
    told = old_page.click('plain', 4)
    assert told[:2] == [[0, 'connect done'], [0, 'send done']]
    assert told[2:] == [[-1, ANSWER.decode('ascii')], [5, 'connection closed by peer']]
    assert asked == [REQUEST]


@pytest.mark.parametrize('button', ['send', 'send-bytes'])
def test_the_old_example_of_a_socket_works(old_page, asked, button):
    assert old_page.click('connect', 1) == [['onOpen', None]]
    assert old_page.click(button, 2) == [RECEIVED, ['onClose', None]]
    assert asked == [REQUEST]


def test_the_old_example_of_closing_works(old_page):
    old_page.click('connect', 1)
    assert old_page.click('close', 1) == [['onClose', None]]


def test_the_old_example_of_redis_works(old_page, redis):
    redis.ask('SET', 'name', 'Ada')
    assert old_page.click('redis', 2) == [['onSocketReady', None], ['onReady', None]]
    answers = ['PONG', 'Ada', 'OK', '24', 25, '25', 'Hello World!']
    assert old_page.click('ask', len(answers)) == [['onResponse', answer] for answer in answers]


# -- a page that reads slowly ------------------------------------------------------------------------------------------

# Chromium lets 64 MB of garbage lie before it collects any, under a bare WebSocket too: what a page holds is seen when
# it has to collect all the time.
@pytest.mark.quiet
@pytest.mark.parametrize('collects, bound', [(True, 64 * MEGABYTE), (False, 128 * MEGABYTE)], ids=['held', 'used'])
def test_200_megabytes_through_a_slow_page_need_little_memory(library_gateway, collects, bound):
    flood = Flood(LARGE)
    with running_chromium() as own_browser, serving(flood) as port:
        with own_browser.page(http(library_gateway, 'library.html')) as page:
            page.listen_to('Performance')
            heap = heap_bytes(page)
            with MemoryWatch(own_browser.processes('renderer')) as memory:
                finish = page.begin('readSlowly', url=ws(library_gateway), port=port, rest=10)
                # The page has stopped after the first megabyte: nobody may take the rest in its place.
                wait_until(lambda: flood.sent >= MEGABYTE, 10)
                assert wait_until_still(lambda: flood.sent) < 24 * MEGABYTE
                page.evaluate('goOn()')
                while collects and page.evaluate('progress') < LARGE:
                    page.call('HeapProfiler.collectGarbage')
                result = finish()
            assert result == {'received': LARGE, 'hash': flood.hex}
            assert memory.growth() < bound
            assert heap_bytes(page) - heap < bound


def test_a_page_that_writes_fast_waits_for_a_slow_target(library_gateway, browser):
    begin_to_read, received = threading.Event(), []
    with serving(when(begin_to_read, recorder(received))) as port, released(begin_to_read):
        with visited(browser, library_gateway, 'library.html') as visitor:
            page = visitor.page
            finish = page.begin('writeFast', url=ws(library_gateway), port=port, size=32 * MEGABYTE)
            wait_until(lambda: page.evaluate('globalThis.progress > 0'))
            assert wait_until_still(lambda: page.evaluate('progress')) < 16 * MEGABYTE
            begin_to_read.set()
            assert finish() == 32 * MEGABYTE
            wait_until(lambda: received)
    piece = bytes(bytearray(i % 251 for i in range(65536)))
    assert received == [piece * (32 * MEGABYTE // len(piece))]
