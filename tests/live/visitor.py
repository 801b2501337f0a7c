# -*- coding: utf-8 -*-
"""Somebody in front of a page that ws2s.py serves: clicks, types, looks, and notes what the page does unseen."""

import contextlib
import json
import os
import shutil
import signal
import tempfile

from census import children
from chromium import reap
from installed import needs_node_modules
from players import PAGES
from program import started
from waiting import wait_until

KEYS = {'Enter': (13, '\r'), 'Escape': (27, None), 'Tab': (9, None), 'Backspace': (8, None), 'ArrowUp': (38, None),
        'ArrowDown': (40, None), 'ArrowLeft': (37, None), 'ArrowRight': (39, None), 'Home': (36, None),
        'End': (35, None), ' ': (32, ' ')}
WIDE = 1280, 900
# The colours of a scheme, and the size of a window: a wide one, a wide one at a zoom of 200 %, and two telephones.
LOOKS = ('light', WIDE), ('dark', (640, 450)), ('light', (390, 844)), ('dark', (320, 640))


# -- the gateway -------------------------------------------------------------------------------------------------------

@contextlib.contextmanager
def running_gateway_program(web=None, port=0, arguments=('--allow-local',)):
    """A Program that serves the folder ``web``, or the pages that come with it."""
    home, before = tempfile.mkdtemp(), children()
    try:
        words = ['--listen', '127.0.0.1:%d' % port] + (['--web', web] if web else [])
        with started(words + list(arguments), home) as program:
            assert program.address
            yield program
            if program.process.poll() is None:
                stop(program)
    finally:
        shutil.rmtree(home)
        # While Chromium runs we are the parent of those that the gateway's ssh has left, too.
        for pid in set(children()) - set(before):
            reap(int(pid))


def stop(program):
    """In order, with all that it has begun."""
    program.signal(signal.SIGTERM)
    assert program.wait() == 0, program.lines


def http(program, path='', scheme='http'):
    return '%s://%s:%d/%s' % ((scheme,) + program.address + (path,))


def ws(program):
    return 'ws://%s:%d/' % program.address


# -- what a page does --------------------------------------------------------------------------------------------------

def read(path):
    with open(path, 'rb') as file:
        return file.read().decode('utf-8')


def host_of(url):
    return url.split('/')[2]


class Watch(object):
    """Notes all that a page asks the network for, and all that it should not do. Before the page is loaded.

    For what it sees of the network the page itself has to copy all bytes that come and go.
    """

    def __init__(self, page, sees_network=True):
        self._page = page
        for domain in ('Page', 'Log', 'Runtime', 'Audits') + (('Network',) if sees_network else ()):
            page.listen_to(domain)
        page.call('Page.addScriptToEvaluateOnNewDocument', source=read(os.path.join(PAGES, 'watch.js')))

    def hosts(self):
        """Whom it has asked for anything, WebSockets too."""
        asked = [event['request']['url'] for event in self._page.told('Network.requestWillBeSent')]
        asked += [event['url'] for event in self._page.told('Network.webSocketCreated')]
        return set(host_of(url) for url in asked if not url.startswith(('data:', 'blob:')))

    def misdeeds(self):
        """What the browser has refused, and what has failed unseen."""
        page = self._page
        issues = [issue['issue'] for issue in page.told('Audits.issueAdded')]
        found = {
            'refused': [issue for issue in issues if issue['code'] == 'ContentSecurityPolicyIssue'],
            'violations': page.evaluate('watch.violations'),
            'failures': page.evaluate('watch.failures'),
            'scripts run': page.evaluate('watch.scriptsRun'),
            'exceptions': [event['exceptionDetails'] for event in page.told('Runtime.exceptionThrown')],
            'security': [event['entry'] for event in page.told('Log.entryAdded')
                         if event['entry']['source'] == 'security'],
        }
        return {name: values for name, values in found.items() if values}


@contextlib.contextmanager
def visited(browser, program, path='', sees_network=True, scheme='http'):
    """A Visitor of that page of a gateway. The page must behave, and speak with nobody but its gateway."""
    url = http(program, path, scheme)
    with browser.tab() as page:
        watch = Watch(page, sees_network)
        page.call('Storage.clearDataForOrigin', origin=http(program, scheme=scheme).rstrip('/'), storageTypes='all')
        page.go(url)
        yield Visitor(page)
        misdeeds, hosts = watch.misdeeds(), watch.hosts()
        assert not misdeeds, misdeeds
        assert hosts == ({host_of(url)} if sees_network else set()), hosts


class Tasks(object):
    """What the pages of a browser have done within, piece by piece: during a piece they can do nothing else.

    Counted is the time that the processor worked for them, since other programs may want it as well.
    """

    NAME = 'ThreadControllerImpl::RunTask'

    def __init__(self, browser):
        self._browser = browser

    def _told(self, method):
        return [parameters for name, parameters in self._browser.events.get(None, ()) if name == method]

    def __enter__(self):
        config = {'includedCategories': ['toplevel'], 'excludedCategories': ['*']}
        self._browser.events.pop(None, None)
        self._browser.call('Tracing.start', traceConfig=config, transferMode='ReportEvents')
        return self

    def __exit__(self, *_):
        self._browser.call('Tracing.end')
        self._browser.listen(lambda: self._told('Tracing.tracingComplete'))

    def longest(self):
        """Milliseconds."""
        renderers = self._browser.processes('renderer')
        events = [event for part in self._told('Tracing.dataCollected') for event in part['value']]
        return max(event['tdur'] for event in events
                   if event['name'] == self.NAME and event['pid'] in renderers and 'tdur' in event) / 1000.0


# -- what a person does ------------------------------------------------------------------------------------------------

CLICKS = 5  # at something that moves
EXPECT_CLICK = """(function (selector) {
    globalThis.wasHit = false;
    const onClick = event => { globalThis.wasHit = event.composedPath().includes(document.querySelector(selector)); };
    addEventListener('click', onClick, {once: true, capture: true});
})(%s)"""
FIND = """(function () {
    const element = document.querySelector(%s);
    if (!element) return null;
    element.scrollIntoView({block: 'center'});
    const {left, top, width, height} = element.getBoundingClientRect();
    const x = left + width / 2, y = top + height / 2, hit = document.elementFromPoint(x, y);
    const isHit = hit !== null && (element.contains(hit) || hit.contains(element));
    return {x, y, isHit, isOff: Boolean(element.disabled)};
})()"""


class Visitor(object):
    """Elements are named by a selector; of several that match it is the first one."""

    def __init__(self, page):
        self.page = page

    def _of(self, selector, expression, otherwise='null'):
        """``element`` in the expression is the one that matches; without one the value is ``otherwise``."""
        return self.page.evaluate('(element => element ? %s : %s)(document.querySelector(%s))'
                                  % (expression, otherwise, json.dumps(selector)))

    # -- looking

    def text(self, selector):
        """What is to be read there; '' where nothing is shown."""
        return self._of(selector, 'element.innerText', "''")

    def texts(self, selector):
        """Of all that match."""
        return self.page.evaluate('[...document.querySelectorAll(%s)].map(one => one.innerText)' % json.dumps(selector))

    def value(self, selector):
        return self._of(selector, 'element.value')

    def is_shown(self, selector):
        return self._of(selector, 'element.checkVisibility({visibilityProperty: true})', 'false')

    def focused(self):
        """The id of the element with the focus."""
        return self.page.evaluate('document.activeElement && document.activeElement.id')

    def wait_for(self, condition, what, seconds=10):
        try:
            return wait_until(condition, seconds)
        except AssertionError:
            raise AssertionError('waited for %s; the page reads:\n%s' % (what, self.text('body')))

    def wait_for_text(self, selector, words, seconds=10):
        """The text there, as soon as it holds these words."""
        self.wait_for(lambda: words in self.text(selector), '%r in %s' % (words, selector), seconds)
        return self.text(selector)

    def wait_until_shown(self, selector, seconds=10):
        self.wait_for(lambda: self.is_shown(selector), selector, seconds)

    def wait_until_hidden(self, selector, seconds=10):
        self.wait_for(lambda: not self.is_shown(selector), '%s to go' % selector, seconds)

    # -- doing

    def spot(self, selector):
        """Its middle, as soon as that is there to be hit."""
        def target():
            found = self.page.evaluate(FIND % json.dumps(selector))
            return found if found and found['isHit'] and not found['isOff'] else None
        found = self.wait_for(target, '%s to be clicked' % selector)
        return {'x': found['x'], 'y': found['y']}

    def click(self, selector):
        """With the mouse, in its middle, as soon as it is there to be hit. When it moves away just then, again."""
        for _ in range(CLICKS):
            spot = self.spot(selector)
            self.page.evaluate(EXPECT_CLICK % json.dumps(selector))
            self.page.click_at(**spot)
            if self.page.evaluate('globalThis.wasHit !== false'):  # undefined on another page: it was a link
                return
        raise AssertionError('%s does not stand still' % selector)

    def fill(self, selector, text):
        """In place of what stood there."""
        self.click(selector)
        self._of(selector, 'element.select()')
        self.insert(text)

    def insert(self, text):
        """Where the focus is, in place of what is selected."""
        self.press('Backspace')
        self.page.insert(text)

    def press(self, key):
        code, text = KEYS[key]
        self.page.press(key, code, text=text)

    def choose(self, selector, value):
        """An option of a select, as its list would."""
        self.page.evaluate("""(function (element, value) {
            element.focus();
            element.value = value;
            if (element.value !== value) throw new Error('there is no such option');
            element.dispatchEvent(new Event('input', {bubbles: true}));
            element.dispatchEvent(new Event('change', {bubbles: true}));
        })(document.querySelector(%s), %s)""" % (json.dumps(selector), json.dumps(value)))

    def open(self, selector):
        """Of a details element: what it hides."""
        if not self._of(selector, 'element.open'):
            self.click(selector + ' > summary')

    def put_file(self, selector, path):
        """Choose a file in a field for files."""
        root = self.page.call('DOM.getDocument')['root']['nodeId']
        node = self.page.call('DOM.querySelector', nodeId=root, selector=selector)['nodeId']
        self.page.call('DOM.setFileInputFiles', nodeId=node, files=[path])

    def save(self, browser, selector):
        """What is in the file that the page saves when this is clicked."""
        folder = tempfile.mkdtemp()
        try:
            browser.call('Browser.setDownloadBehavior', behavior='allow', downloadPath=folder)
            self.click(selector)
            self.wait_for(lambda: [name for name in os.listdir(folder) if not name.endswith('.crdownload')],
                          'a file to be saved')
            return read(os.path.join(folder, os.listdir(folder)[0]))
        finally:
            shutil.rmtree(folder)

    # -- judging

    def stored(self):
        """All that the page has left in this browser or has shown in its address."""
        return self.page.evaluate("""JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie,
                                                     location.href, history.state, document.referrer])""")

    def what_is_wider_than_its_window(self):
        return self.page.evaluate("""(root => root.scrollWidth <= root.clientWidth ? [] : [
            ...root.querySelectorAll('*')].filter(
                element => element.getBoundingClientRect().right > root.clientWidth).map(
                ({tagName, id, textContent}) => `${tagName}#${id} ${textContent.trim().slice(0, 60)}`))(
                document.documentElement)""")

    def breaches(self):
        """What axe finds wrong with what is shown."""
        if not self.page.evaluate('Boolean(globalThis.axe)'):
            self.page.evaluate(read(os.path.join(needs_node_modules(), 'axe-core', 'axe.min.js')) + '; 0')
        return self.page.evaluate("""axe.run(document, {resultTypes: ['violations']}).then(result =>
            result.violations.map(({id, help, nodes}) => [id, help, nodes.slice(0, 5).map(
                ({html, failureSummary}) => [html.slice(0, 300), failureSummary])]))""")


def eventually(condition):
    try:
        return wait_until(condition, 10)
    except AssertionError:
        return False


class Gallery(object):
    """A folder for pictures, of LOOKS."""

    def __init__(self, folder):
        self._folder = os.environ.get('WS2S_TEST_SCREENSHOTS') or folder
        print('screenshots are in %s' % self._folder)

    def hang(self, visitor, name):
        """Take pictures of what is shown, which must have no flaws."""
        for scheme, (width, height) in LOOKS:
            visitor.page.look(width, height, scheme)
            look = '%s-%s-%d' % (name, scheme, width)
            # A window of another size, and what was shown just before, take a moment.
            fits = eventually(lambda: not visitor.what_is_wider_than_its_window())
            assert fits, (look, visitor.what_is_wider_than_its_window())
            visitor.page.save_screenshot(os.path.join(self._folder, look + '.png'))
            breaches = visitor.breaches()
            assert not breaches, (look, breaches)
        visitor.page.look(*WIDE)
