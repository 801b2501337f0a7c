# -*- coding: utf-8 -*-
"""noVNC in Chromium, served and let through by a gateway, at a real Xvnc."""

import base64
import io
import os
import re
import shutil
import subprocess
import tempfile
import zipfile

import pytest

from census import sessions
from chromium import running_chromium
from desktop import HEIGHT, WIDTH, rgb, running_desktop
from installed import needs_node_modules, needs_novnc
from fronts import replaced, running_nginx
from players import PAGES
from program import REPOSITORY, started
from tape import Tape
from visitor import http, stop
from waiting import wait_until

pytestmark = pytest.mark.pages

SECONDS = 30
SILENCE = 6  # seconds of it are too many for the proxy
LISTENING = 260, 50  # a place in the window that tells what is typed and clicked
COLOURS = list(Tape(15).pieces(4 * 64, 4))  # with 96 and more Xvnc sends JPEG, which is not exact
PIXELS = """(canvas => {
    if (!canvas || !canvas.width) return '';
    const {data} = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
    const colours = data.filter((_, place) => place % 4 < 3);
    let text = '';
    for (let begin = 0; begin < colours.length; begin += 8192) {
        text += String.fromCharCode(...colours.subarray(begin, begin + 8192));
    }
    return btoa(text);
})(document.querySelector('canvas'))"""

PLACE = """((canvas, x, y) => {
    const {left, top} = canvas.getBoundingClientRect();
    const place = [Math.ceil(left) + x, Math.ceil(top) + y];
    return document.elementFromPoint(...place) === canvas && place;
})(document.querySelector('canvas'), %d, %d)"""


@pytest.fixture(scope='module')
def browser():
    with running_chromium('--ignore-certificate-errors') as running:
        yield running


@pytest.fixture(scope='module')
def desktop():
    """With noise on it, beside a window that listens."""
    noise = bytearray(Tape(14).cut(0, WIDTH * HEIGHT))
    with running_desktop() as running:
        running.show(b''.join(COLOURS[byte % len(COLOURS)] for byte in noise), '200x200+0+0')
        running.listen('100x80+210+10')
        yield running


@pytest.fixture
def tokens(desktop, tmpdir):
    """The path of a file with the token vm1."""
    path = tmpdir.join('tokens')
    path.write(u'# machines\nother: 127.0.0.1:1\nvm1: 127.0.0.1:%d\n' % desktop.port)
    return str(path)


@pytest.fixture(scope='module')
def library_folder():
    """A page of our own beside noVNC's library, as npm has it."""
    folder = os.path.join(tempfile.mkdtemp(), 'web')
    shutil.copytree(os.path.join(needs_node_modules(), '@novnc', 'novnc'), folder)
    for name in ('vnc.html', 'vnc.mjs'):
        shutil.copy(os.path.join(PAGES, name), folder)
    yield folder
    shutil.rmtree(os.path.dirname(folder))


def picture(page):
    """Three bytes for each pixel of noVNC's canvas."""
    return base64.b64decode(page.evaluate(PIXELS))


def wait_for_picture(page, desktop):
    wait_until(lambda: picture(page) == rgb(desktop.picture()), SECONDS, 'the picture of X')


def at(page, x, y):
    """Where in the window a place on the desktop is, as soon as nothing covers it."""
    return wait_until(lambda: page.evaluate(PLACE % (x, y)), SECONDS, 'a canvas that can be hit')


def press(page, letter):
    key = {'code': 'Space' if letter == ' ' else 'Key' + letter.upper(), 'key': letter, 'text': letter,
           'windowsVirtualKeyCode': ord(letter.upper()), 'modifiers': 8 * letter.isupper()}
    page.call('Input.dispatchKeyEvent', type='keyDown', **key)
    page.call('Input.dispatchKeyEvent', type='keyUp', **key)


def hold_shift(page, kind):
    page.call('Input.dispatchKeyEvent', type=kind, key='Shift', code='ShiftLeft', windowsVirtualKeyCode=16)


def write(page, text):
    """Letters and blanks."""
    for letter in text:
        if letter.isupper():
            hold_shift(page, 'keyDown')
        press(page, letter)
        if letter.isupper():
            hold_shift(page, 'keyUp')


def use(page, desktop):
    """Click and type in the window that listens, which must tell so."""
    clicked, typed = desktop.clicks(), desktop.typed()
    page.click_at(*at(page, *LISTENING))
    wait_until(lambda: desktop.clicks() == clicked + [(kind,) + LISTENING for kind in ('Press', 'Release')], SECONDS)
    write(page, 'Hello noVNC')
    wait_until(lambda: desktop.typed() == typed + 'Hello noVNC', SECONDS, 'what was typed')


def test_the_picture_of_a_desktop_is_the_one_of_x_and_keys_and_clicks_arrive(
        browser, running_gateway, library_folder, tokens, desktop):
    gateway = running_gateway({'web': library_folder, 'raw': {'tokens': tokens}})
    with browser.page('http://%s:%d/vnc.html?token=vm1' % gateway.address) as page:
        wait_for_picture(page, desktop)
        use(page, desktop)
        wait_for_picture(page, desktop)
        assert page.evaluate('ends') == []


def test_an_idle_desktop_is_kept_by_pings_behind_a_proxy_that_ends_what_is_silent(
        browser, running_gateway, library_folder, tokens, desktop):
    gateway = running_gateway({'web': library_folder, 'raw': {'tokens': tokens}, 'limits': {'pingSeconds': 2}})
    with running_nginx(gateway.address, places={'proxy_read_timeout 75s': 'proxy_read_timeout %ds' % SILENCE}) as nginx:
        with browser.page(nginx.url('https') + 'vnc.html?token=vm1') as page:
            wait_for_picture(page, desktop)
            (session,) = sessions(gateway)
            (upstream,) = session.talk.upstreams.values()
            wait_until(lambda: session.heard - upstream.stream.moved > 1.3 * SILENCE, 2 * SECONDS, 'pongs and no data')
            use(page, desktop)
            assert sessions(gateway) == [session] and page.evaluate('ends') == []


def recommended():
    """The three lines in README.md: the file of tokens, the start of the gateway, the page."""
    with io.open(os.path.join(REPOSITORY, 'README.md'), encoding='utf-8') as file:
        text = file.read()
    blocks = re.findall(r'^    (echo .+)\n    python3 ws2s.py (websockify .+)\n    (http.+)\n', text, re.MULTILINE)
    assert len(blocks) == 1, blocks
    return blocks[0]


@pytest.fixture
def novnc_folder(tmpdir):
    """noVNC as it is released."""
    folder = tmpdir.join('novnc')
    with zipfile.ZipFile(needs_novnc()) as archive:
        archive.extractall(str(folder))
    return str(folder)


def test_novnc_as_it_is_released_works_with_the_lines_of_the_readme(browser, novnc_folder, desktop, tmpdir):
    tokens, line, url = recommended()
    tokens = replaced(tokens, {'10.0.0.5:5900': '127.0.0.1:%d' % desktop.port})
    subprocess.check_call(['sh', '-c', tokens], cwd=str(tmpdir))
    line = replaced(line, {'/usr/share/novnc': novnc_folder, ' 6080': ' 127.0.0.1:0'})
    with started(line.split(), str(tmpdir)) as program:
        with browser.page(replaced(url, {'http://localhost:6080/': http(program)})) as page:
            wait_for_picture(page, desktop)
            use(page, desktop)
        stop(program)
