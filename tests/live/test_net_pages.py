# -*- coding: utf-8 -*-
"""ws2s/net in Chromium, bundled by esbuild as README says: much data, and little memory."""

import os
import shutil
import tempfile

import pytest

from chromium import running_chromium
from installed import needs_node_modules
from page_memory import MEGABYTE, Flood, MemoryWatch, SlowSink, heap_bytes
from players import PAGES
from program import REPOSITORY
from targets import released, serving
from test_npm import esbuild
from visitor import http, running_gateway_program
from waiting import wait_until, wait_until_still

pytestmark = pytest.mark.pages

LARGE = 100 * MEGABYTE
HEAP = 32 * MEGABYTE
MEMORY = 64 * MEGABYTE  # of the whole renderer: its own way to a WebSocket takes half of that
PROGRAM = os.path.join(REPOSITORY, 'tests', 'live', 'net_page.mjs')


@pytest.fixture(scope='module')
def gateway():
    modules, folder = needs_node_modules('stream-browserify'), tempfile.mkdtemp()
    try:
        for name in ('net.html', 'library.js'):
            shutil.copy(os.path.join(PAGES, name), folder)
        aliases = {'net': os.path.join(REPOSITORY, 'ws2s-js', 'net.mjs'), 'buffer': os.path.join(modules, 'buffer'),
                   'stream': os.path.join(modules, 'readable-stream')}
        esbuild(PROGRAM, '--bundle', '--outfile=' + os.path.join(folder, 'net-page.js'), '--log-level=error',
                *['--alias:%s=%s' % alias for alias in sorted(aliases.items())], folder=folder)
        with running_gateway_program(folder) as program:
            yield program
    finally:
        shutil.rmtree(folder)


@pytest.fixture
def page(gateway):
    """In a browser of its own, which nothing has made larger."""
    with running_chromium() as browser, browser.page(http(gateway, 'net.html')) as page:
        page.renderers = browser.processes('renderer')
        page.listen_to('Performance')
        yield page


class Growth(object):
    """What a page has taken at most since it began, while it had to collect its garbage."""

    def __init__(self, page):
        self._page, self._begun, self.heap = page, heap_bytes(page), 0

    def collect(self):
        self._page.call('HeapProfiler.collectGarbage')
        self.heap = max(self.heap, heap_bytes(self._page) - self._begun)


@pytest.mark.quiet
def test_100_megabytes_for_a_page_that_reads_slowly(page):
    flood = Flood(LARGE)
    with serving(flood) as port, MemoryWatch(page.renderers) as memory:
        growth = Growth(page)
        finish = page.begin('readSlowly', port=port, rest=10)
        wait_until(lambda: flood.sent >= MEGABYTE, 10)
        assert wait_until_still(lambda: flood.sent) < 24 * MEGABYTE
        page.evaluate('goOn()')
        while page.evaluate('progress') < LARGE:
            growth.collect()
        assert finish() == {'received': LARGE, 'hash': flood.hex}
    assert growth.heap < HEAP
    assert memory.growth() < MEMORY


@pytest.mark.quiet
def test_100_megabytes_of_a_page_for_a_target_that_reads_slowly(page):
    sink = SlowSink()
    with serving(sink) as port, released(sink.begin), MemoryWatch(page.renderers) as memory:
        growth = Growth(page)
        finish = page.begin('writeFast', port=port, size=LARGE)
        wait_until(lambda: page.evaluate('globalThis.progress > 0'))
        assert wait_until_still(lambda: page.evaluate('progress')) < 24 * MEGABYTE
        sink.begin.set()
        while page.evaluate('progress') < LARGE:
            growth.collect()
        result = finish()
    assert result == {'sent': LARGE, 'hash': sink.hex}
    assert growth.heap < HEAP
    assert memory.growth() < MEMORY
