# -*- coding: utf-8 -*-
"""Debian's Chromium without a window, driven through its DevTools protocol. Linux only."""

import base64
import contextlib
import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile

import websocket

from census import children
from installed import needs
from program import clean_environment
from waiting import wait_until

# Pages of these names come from 127.0.0.1; no other name leads anywhere.
NAMES = ('localhost', 'foreign.test', 'rebound.test')
RESOLVER = ', '.join(['MAP %s 127.0.0.1' % name for name in NAMES] + ['MAP * ~NOTFOUND', 'EXCLUDE 127.0.0.1'])
FLAGS = (
    '--headless', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--no-first-run',
    '--remote-debugging-port=0', '--host-resolver-rules=' + RESOLVER, '--no-proxy-server', '--disable-quic',
    '--disable-background-networking', '--disable-component-update', '--disable-sync', '--disable-extensions',
    '--disable-default-apps', '--disable-domain-reliability', '--disable-client-side-phishing-detection',
    # A page that nobody sees must run at full speed.
    '--disable-background-timer-throttling', '--disable-renderer-backgrounding',
    '--disable-features=HttpsUpgrades,HttpsFirstBalancedModeAutoEnable,OptimizationHints,MediaRouter',
)
NEW_SESSION = {'preexec_fn': os.setsid} if sys.version_info[0] == 2 else {'start_new_session': True}
PR_SET_CHILD_SUBREAPER = 36
SECONDS = 45


def family(session, folder):
    """The processes of a session, zombies too, and those that have been given ``folder`` and have left it."""
    pids = [int(name) for name in os.listdir('/proc') if name.isdigit()]
    return [pid for pid in pids if session_of(pid) == session or folder in environment_of(pid)]


def session_of(pid):
    return int((read_proc(pid, 'stat').rpartition(')')[2].split() or [0] * 4)[3])


def environment_of(pid):
    return read_proc(pid, 'environ')


def read_proc(pid, name):
    """Empty for a process that has ended, or is none of our business."""
    try:
        with open('/proc/%d/%s' % (pid, name), 'rb') as file:
            return file.read().decode('latin-1')
    except (IOError, OSError):
        return ''


@contextlib.contextmanager
def adopting_orphans():
    """Processes whose parent ends become our children, so that we can reap them."""
    prctl = ctypes.CDLL(None).prctl
    assert prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0
    try:
        yield
    finally:
        prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


@contextlib.contextmanager
def reaping_orphans():
    """While Chromium runs we are the parent of whom others leave behind: what is begun within has ended in the end."""
    before = children()

    def are_gone():
        left = set(children()) - set(before)
        for pid in left:
            reap(int(pid))
        return not left

    yield
    wait_until(are_gone, 10, 'orphans to end')


def reap(pid):
    try:
        os.waitpid(pid, os.WNOHANG)
    except OSError:
        pass  # its own parent will do that, or has done it


class Browser(object):
    """A running Chromium. ``events``: by session, pairs of a method and its parameters."""

    def __init__(self, program, folder, flags=()):
        self._folder, self._profile = folder, os.path.join(folder, 'profile')
        self._devtools, self._calls, self._answers = None, 0, {}
        self.events, self._family = {}, set()
        with open(os.path.join(folder, 'log'), 'wb') as log, open(os.devnull) as nothing:
            self._process = subprocess.Popen(
                [program] + list(FLAGS + flags) + ['--user-data-dir=' + self._profile, 'about:blank'], cwd=folder,
                env=dict(clean_environment(folder), TMPDIR=folder), stdin=nothing, stdout=log, stderr=log,
                close_fds=True, **NEW_SESSION)

    def attach(self):
        """Connect to DevTools."""
        port, path = wait_until(self._devtools_address, SECONDS, 'Chromium to start')
        # It checks UTF-8 byte by byte in Python, which takes longer than the page does.
        self._devtools = websocket.create_connection('ws://127.0.0.1:%s%s' % (port, path), timeout=SECONDS,
                                                     suppress_origin=True, skip_utf8_validation=True,
                                                     http_no_proxy=['127.0.0.1'])

    def _devtools_address(self):
        assert self._process.poll() is None, self.log()
        try:
            with open(os.path.join(self._profile, 'DevToolsActivePort')) as file:
                lines = file.read().split()
        except (IOError, OSError):
            return None  # not yet
        return lines if len(lines) == 2 else None

    def log(self):
        with open(os.path.join(self._folder, 'log')) as log:
            return log.read()

    def begin(self, method, session=None, **parameters):
        """Send one DevTools command; its number, for ``result``."""
        self._calls += 1
        message = {'id': self._calls, 'method': method, 'params': parameters}
        self._devtools.send(json.dumps(dict(message, sessionId=session) if session else message))
        return self._calls

    def result(self, number):
        self.listen(lambda: number in self._answers)
        answer = self._answers.pop(number)
        assert 'error' not in answer, answer
        return answer['result']

    def call(self, method, session=None, **parameters):
        return self.result(self.begin(method, session, **parameters))

    def listen(self, until):
        """Take what DevTools tells until ``until()``."""
        while not until():
            message = json.loads(self._devtools.recv())
            if 'id' in message:
                self._answers[message['id']] = message
            else:
                events = self.events.setdefault(message.get('sessionId'), [])
                events.append((message['method'], message['params']))

    @contextlib.contextmanager
    def tab(self):
        """A new tab, empty. It is closed in the end."""
        target = self.call('Target.createTarget', url='about:blank')['targetId']
        try:
            yield Page(self, self.call('Target.attachToTarget', targetId=target, flatten=True)['sessionId'])
        finally:
            self.call('Target.closeTarget', targetId=target)

    @contextlib.contextmanager
    def page(self, url):
        """A new tab at ``url``, loaded. It is closed in the end."""
        with self.tab() as page:
            page.go(url)
            yield page

    def processes(self, kind):
        """The process ids of one kind: ``renderer``, ``utility``, ``browser``."""
        found = self.call('SystemInfo.getProcessInfo')['processInfo']
        return [process['id'] for process in found if process['type'] == kind]

    def end(self):
        """Every process is ended and reaped."""
        self._family.update(family(self._process.pid, self._folder))
        if self._process.poll() is None:
            self._process.terminate()
        try:
            wait_until(self._is_gone, 10, 'Chromium to end')
        except AssertionError:
            for pid in self._left():
                os.kill(pid, signal.SIGKILL)
            wait_until(self._is_gone, 10, 'Chromium to be killed')
        finally:
            if self._devtools:
                self._devtools.shutdown()

    def _is_gone(self):
        self._process.poll()
        self._family.update(family(self._process.pid, self._folder))
        for pid in self._left():
            if pid != self._process.pid:
                reap(pid)
        return not self._left()

    def _left(self):
        return [pid for pid in self._family if os.path.exists('/proc/%d' % pid)]


class Page(object):
    """A tab."""

    def __init__(self, browser, session):
        self._browser, self._session = browser, session

    def go(self, url):
        """Load ``url``, and what its page calls itself busy with."""
        self.listen_to('Page')
        loads = len(self.told('Page.loadEventFired'))
        reply = self.call('Page.navigate', url=url)
        assert 'errorText' not in reply, reply
        self.listen(lambda: len(self.told('Page.loadEventFired')) > loads)
        self._wait_until_whole()

    def go_back(self):
        """To the page before, as the browser's button does."""
        history = self.call('Page.getNavigationHistory')
        shown = len(self.told('Page.frameNavigated'))
        self.call('Page.navigateToHistoryEntry', entryId=history['entries'][history['currentIndex'] - 1]['id'])
        self.listen(lambda: len(self.told('Page.frameNavigated')) > shown)
        self._wait_until_whole()

    def _wait_until_whole(self):
        wait_until(lambda: self.evaluate(
            "document.readyState === 'complete' && document.body?.getAttribute('aria-busy') !== 'true'"))

    def call(self, method, **parameters):
        return self._browser.call(method, self._session, **parameters)

    def listen_to(self, domain):
        self.call(domain + '.enable')

    def listen(self, until):
        self._browser.listen(until)

    def wait_for(self, method):
        """The parameters of all events of one kind, as soon as there is one."""
        self.listen(lambda: self.told(method))
        return self.told(method)

    def told(self, method):
        """The parameters of all events of one kind so far."""
        events = self._browser.events.get(self._session, ())
        return [parameters for name, parameters in events if name == method]

    def begin_to_evaluate(self, expression):
        """A function that waits for the value; of a promise, for what it resolves to."""
        number = self._browser.begin('Runtime.evaluate', self._session, expression=expression, awaitPromise=True,
                                     returnByValue=True)
        return lambda: self._value(self._browser.result(number))

    def evaluate(self, expression):
        return self.begin_to_evaluate(expression)()

    def begin(self, scenario, **settings):
        """Begin a scenario of scenarios.js; a function that waits for its result."""
        return self.begin_to_evaluate('scenarios.%s(%s)' % (scenario, json.dumps(settings)))

    def run(self, scenario, **settings):
        return self.begin(scenario, **settings)()

    @staticmethod
    def _value(outcome):
        assert 'exceptionDetails' not in outcome, outcome['exceptionDetails'].get('exception', outcome)
        return outcome['result'].get('value')

    # -- what a person does and sees

    def click_at(self, x, y):
        for kind in ('mouseMoved', 'mousePressed', 'mouseReleased'):
            self.mouse(kind, x, y)

    def mouse(self, kind, x, y):
        self.call('Input.dispatchMouseEvent', type=kind, x=x, y=y, button='left', clickCount=1)

    def press(self, key, code, modifiers=0, text=None):
        """A key with its name and its Windows code; one that writes has a ``text``."""
        about = {'key': key, 'code': key, 'windowsVirtualKeyCode': code, 'modifiers': modifiers}
        self.call('Input.dispatchKeyEvent', type='keyDown', **(dict(about, text=text) if text else about))
        self.call('Input.dispatchKeyEvent', type='keyUp', **about)

    def insert(self, text):
        """Into what has the focus, as if it were typed."""
        self.call('Input.insertText', text=text)

    def close_and_stay(self):
        """As somebody who changes his mind when the browser asks; the kind of that question."""
        self.listen_to('Page')
        before = len(self.told('Page.javascriptDialogOpening'))
        self._browser.begin('Page.close', self._session)  # its answer waits for that of the question
        self.listen(lambda: len(self.told('Page.javascriptDialogOpening')) > before)
        self.call('Page.handleJavaScriptDialog', accept=False)
        return self.told('Page.javascriptDialogOpening')[-1]['type']

    def look(self, width, height=800, scheme='light'):
        """From now on through a window of this size, in this colour scheme."""
        self.call('Emulation.setDeviceMetricsOverride', width=width, height=height, deviceScaleFactor=1, mobile=False)
        self.call('Emulation.setEmulatedMedia', features=[{'name': 'prefers-color-scheme', 'value': scheme}])

    def save_screenshot(self, path, tallest=4000):
        """Of all of it, though the window shows less."""
        self.call('Emulation.setScrollbarsHidden', hidden=True)
        height = self.call('Page.getLayoutMetrics')['cssContentSize']['height']
        clip = {'x': 0, 'y': 0, 'width': self.evaluate('innerWidth'), 'height': min(height, tallest), 'scale': 1}
        picture = self.call('Page.captureScreenshot', format='png', captureBeyondViewport=True, clip=clip)['data']
        self.call('Emulation.setScrollbarsHidden', hidden=False)
        with open(path, 'wb') as file:
            file.write(base64.b64decode(picture))


@contextlib.contextmanager
def running_chromium(*flags):
    """A Browser, with these flags besides FLAGS. No process and no file of it is left in the end."""
    program, folder = needs('chromium', 'chromium'), tempfile.mkdtemp()
    try:
        with adopting_orphans():
            browser = Browser(program, folder, flags)
            try:
                browser.attach()
                yield browser
            finally:
                browser.end()
    finally:
        shutil.rmtree(folder)
