# -*- coding: utf-8 -*-
"""libcurl.js and epoxy, clients that nobody here wrote, in pages in Chromium: HTTP and HTTPS through the gateway."""

import io
import os
import re
import shutil
import tempfile
import threading

import pytest

from installed import needs_node_modules
from players import PAGES
from program import REPOSITORY
from targets import released, saying, serving, sink
from test_datagrams import udp_target
from visitor import http, running_gateway_program, ws
from waiting import wait_until
from web_target import MEGABYTE, Authority, digest, web

pytestmark = pytest.mark.pages

LARGE, SHARE, MANY = 100 * MEGABYTE, 200003, 50
HELLO = b'HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Type: text/plain\r\n\r\nhello'
PATHS = {'libcurl': 'wisp/', 'wsproxy': '', 'epoxy': 'wisp/', 'epoxy1': 'wisp/'}
CLIENTS = pytest.mark.parametrize('client', ['libcurl', 'wsproxy', 'epoxy'])


@pytest.fixture(scope='module')
def authority():
    folder = tempfile.mkdtemp()
    yield Authority(folder)
    shutil.rmtree(folder)


@pytest.fixture
def begun(browser, authority):
    """``begun(client)``: a page that fetches by ``client``, through a gateway of its own."""
    with running_gateway_program() as gateway, serving(web(PAGES, needs_node_modules())) as port, browser.tab() as page:
        def begin(client):
            page.go('http://127.0.0.1:%d/wisp.html' % port)
            page.run('choose', client=client, url=ws(gateway) + PATHS[client], pem=authority.pem)
            return page
        yield begin
        assert not [line for line in gateway.lines if 'mistake' in line]


def downloaded(page, url):
    """The SHA-256. DevTools may be silent for a shorter time than a busy machine takes."""
    result = page.begin('download', url=url)
    wait_until(lambda: page.evaluate('scenarios.isDone'), 100, 'the download')
    return result()


@CLIENTS
def test_a_large_file_comes_whole(begun, client):
    with serving(web()) as port:
        assert downloaded(begun(client), 'http://127.0.0.1:%d/noise/%d' % (port, LARGE)) == digest(LARGE)


@pytest.mark.parametrize('client, size', [('libcurl', LARGE), ('wsproxy', 10 * MEGABYTE), ('epoxy', LARGE),
                                          ('epoxy1', 10 * MEGABYTE)])
def test_a_large_file_comes_whole_with_tls(begun, authority, client, size):
    with serving(authority.secure(web())) as port:
        assert downloaded(begun(client), 'https://localhost:%d/noise/%d' % (port, size)) == digest(size)


@CLIENTS
def test_an_upload_longer_than_a_message_may_be_comes_whole(begun, client):
    with serving(web()) as port:
        assert begun(client).run('upload', url='http://127.0.0.1:%d/upload' % port, count=20 * MEGABYTE)


@CLIENTS
def test_fifty_files_at_once_come_whole_beside_a_stuck_upload(begun, client):
    asked, go = [], threading.Event()

    def when_all_have_asked(path):
        asked.append(path)
        if path.startswith('noise'):
            go.wait(60)

    with serving(web(on_request=when_all_have_asked)) as port, released(go), \
            serving(web(on_request=asked.append), receive_buffer=4096) as stuck:
        page = begun(client)
        page.run('stick', url='http://127.0.0.1:%d/stuck' % stuck)
        wait_until(lambda: asked == ['stuck', 'it is'], 60, 'the upload to be stuck')
        result = page.begin('downloads', urls=['http://127.0.0.1:%d/noise/%d/%d' % (port, SHARE, number)
                                               for number in range(MANY)])
        wait_until(lambda: len(asked) == 2 + MANY, 60, 'all to have asked')
        go.set()
        assert result() == [digest(SHARE, number) for number in range(MANY)]


def test_epoxy_that_wants_udp_gets_it(browser, tmpdir):
    tmpdir.join('gateway.json').write(u'{"wisp": {"udp": true}}')
    arguments, words = ('--allow-local', '--config', str(tmpdir.join('gateway.json'))), ['one', 'two', 'three']
    with running_gateway_program(arguments=arguments) as gateway, udp_target() as (port, heard), \
            serving(web(PAGES, needs_node_modules())) as server, \
            browser.page('http://127.0.0.1:%d/wisp.html' % server) as page:
        assert page.run('datagrams', url=ws(gateway) + 'wisp/', port=port, words=words) == words
    assert [data.decode('ascii') for data, _ in heard] == words


# --- The README -----------------------------------------------------------------------------------

def chapter():
    with io.open(os.path.join(REPOSITORY, 'README.md'), encoding='utf-8') as file:
        return file.read().split(u'## Pages that speak something else\n')[1].split(u'\n## ')[0]


def test_the_page_of_the_readme_shows_what_it_fetches(browser, tmpdir):
    example = re.search(r'```html\n(.*?)```', chapter(), re.DOTALL).group(1)
    for name in ('libcurl.mjs', 'libcurl.wasm'):
        shutil.copy(os.path.join(needs_node_modules(), 'libcurl.js', name), str(tmpdir))
    with running_gateway_program(str(tmpdir)) as gateway, serving(saying(HELLO, sink)) as target:
        example = example.replace('127.0.0.1:3613', '127.0.0.1:%d' % gateway.address[1])
        tmpdir.join('index.html').write(example.replace('https://example.com/', 'http://127.0.0.1:%d/' % target))
        with browser.page(http(gateway)) as page:
            wait_until(lambda: page.evaluate('document.querySelector("pre").textContent') == 'hello', 60)


def line(begin, gateway):
    """The one of the chapter that begins so, for this gateway."""
    found = next(word for word in re.findall('`(new [^`]+)`', chapter()) if word.startswith(begin))
    return found.replace('127.0.0.1:3613', '127.0.0.1:%d' % gateway.address[1])


def test_the_lines_of_the_readme_for_other_clients_connect(browser):
    with running_gateway_program() as gateway, serving(web(PAGES, needs_node_modules())) as port, \
            serving(saying(HELLO, sink)) as target, browser.page('http://127.0.0.1:%d/wisp.html' % port) as page:
        assert page.run('opensWispJs', line=line('new ClientConnection', gateway)) == 2
        assert page.run('fetchesByEpoxy', line=line('new EpoxyClient', gateway),
                        url='http://127.0.0.1:%d/' % target) == 'hello'
