# -*- coding: utf-8 -*-
"""The console in Chromium: telnet, colours, secrets, STARTTLS, files, recordings."""

import contextlib
import io
import json
import os
import ssl

import pytest

from chromium import running_chromium
from fronts import make_certificate
from page_visits import connect
from program import running_program
from targets import echo, saying, serving
from visitor import Gallery, read, visited

pytestmark = pytest.mark.pages

IAC, DONT, DO, WONT, WILL, SB, SE, ECHO, NAWS = 255, 254, 253, 252, 251, 250, 240, 1, 31
SECRET = u'Corr3ct-h0rse'
COLOURS = u''.join(u'\x1b[%sm%s\x1b[0m ' % (code, code) for code in (
    ['1', '2', '3', '4', '7', '9'] + [str(n) for n in list(range(30, 38)) + list(range(40, 48)) + list(range(90, 108))]
    + ['38;5;%d' % n for n in range(0, 256, 5)] + ['38;2;%d;0;0;48;2;%d;0;0' % (n, n) for n in range(0, 256, 25)]))


@pytest.fixture(scope='module')
def browser():
    with running_chromium() as running:
        yield running


@pytest.fixture(scope='module')
def gateway():
    with running_program({'allowConnectToServerLocal': True}) as program:
        yield program


@pytest.fixture
def console(browser, gateway):
    with visited(browser, gateway) as console:
        yield console


def send(console, words):
    console.fill('#input', words)
    console.press('Enter')


# -- telnet ------------------------------------------------------------------------------------------------------------

class TelnetServer(object):
    """Asks for the size, says what it is told, and asks for a password in between."""

    def __init__(self):
        self.heard = b''

    def serve(self, sock):
        sock.sendall(bytearray([IAC, DO, NAWS]) + b'login: ')
        self.hear(sock, b'me\r\n')
        sock.sendall(bytearray([IAC, WILL, ECHO]) + b'Password: ')
        self.hear(sock, b'\r\n')
        sock.sendall(bytearray([IAC, WONT, ECHO]) + b'\r\nwelcome\r\n')
        self.hear(sock, None)

    def hear(self, sock, end):
        begin = len(self.heard)
        while end is None or not self.heard[begin:].endswith(end):
            data = sock.recv(65536)
            if not data:
                return
            self.heard += data


def test_console_answers_telnet_and_hides_what_is_asked_for_in_secret(console):
    server = TelnetServer()
    with serving(server.serve) as port:
        connect(console, port)
        console.wait_for_text('#entries', 'login: ')
        assert console.value('#line-ending') == 'crlf'
        send(console, u'me')
        console.wait_until_shown('#secret')
        console.fill('#secret', SECRET)
        console.press('Enter')
        console.wait_for_text('#entries', 'welcome')
        console.wait_until_hidden('#secret')
        assert SECRET not in console.text('#entries')
        console.press('ArrowUp')
        assert console.value('#input') == 'me'
        console.click('#disconnect')
        console.wait_for_text('#status', 'Disconnected.')
    heard = bytearray(server.heard)
    size = heard.index(bytearray([IAC, SB, NAWS]))
    columns, rows = heard[size + 3] * 256 + heard[size + 4], heard[size + 5] * 256 + heard[size + 6]
    assert 20 < columns < 400 and 5 < rows < 100
    assert SECRET.encode('utf-8') + b'\r\n' in server.heard


def test_console_remembers_the_line_ending_of_a_target(console):
    with serving(echo) as one, serving(echo) as other:
        for port, ending in ((one, 'cr'), (other, 'crlf')):
            connect(console, port)
            console.choose('#line-ending', ending)
            send(console, u'x')
            console.wait_for_text('#totals', 'received')
            console.click('#disconnect')
            console.wait_for_text('#status', 'Disconnected.')
        connect(console, one)
        assert console.value('#line-ending') == 'cr'


# -- colours -----------------------------------------------------------------------------------------------------------

def test_colours_can_be_read_and_leave_no_flaw(browser, gateway, tmpdir):
    with serving(saying(COLOURS.encode('utf-8') + b'\x1b]0;title\x07\x1b[2Jend\r\n', echo)) as port:
        with visited(browser, gateway) as console:
            connect(console, port)
            console.wait_for_text('#entries', 'end')
            assert '\x1b' not in console.text('#entries') and 'title' not in console.text('#entries')
            Gallery(str(tmpdir)).hang(console, 'console-colours')


# -- STARTTLS ----------------------------------------------------------------------------------------------------------

class StartingTls(object):
    def __init__(self, folder):
        path, key = make_certificate(str(folder))
        self.authority = read(path)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(path, key)

    def serve(self, sock):
        while b'STARTTLS' not in sock.recv(100):
            pass
        sock.sendall(b'220 ready\r\n')
        with contextlib.closing(self.context.wrap_socket(sock, server_side=True)) as secure:
            echo(secure)


def test_tls_begins_in_the_midst_when_it_is_wanted(console, tmpdir):
    server = StartingTls(tmpdir)
    with serving(server.serve) as port:
        console.open('#target-tls-section')
        console.choose('#target-tls', 'later')
        console.fill('#target-tls-ca', server.authority)
        connect(console, port)
        send(console, u'STARTTLS')
        console.wait_for_text('#entries', '220 ready')
        console.click('#start-tls')
        console.wait_for_text('#status', 'by now with TLS (TLSv1')
        send(console, u'secret words')
        console.wait_for(lambda: console.texts('.entry.received .body')[-1] == 'secret words\n', 'an echo by TLS')


# -- files and recordings ----------------------------------------------------------------------------------------------

def test_a_file_is_sent_as_it_is(console, tmpdir):
    path = str(tmpdir.join('file.bin'))
    content = os.urandom(3000000)
    with io.open(path, 'wb') as file:
        file.write(content)
    heard = []

    def keep(sock):
        for data in iter(lambda: sock.recv(65536), b''):
            heard.append(data)

    with serving(keep) as port:
        connect(console, port)
        console.put_file('#file', path)
        console.wait_for_text('#send-status', 'The file file.bin was sent.')
        console.click('#disconnect')
        console.wait_for_text('#status', 'Disconnected.')
        console.wait_for(lambda: sum(map(len, heard)) == len(content), 'all bytes')
    assert b''.join(heard) == content


def test_what_was_recorded_is_replayed(console, browser, tmpdir):
    with serving(echo) as port:
        console.click('#record')
        connect(console, port)
        send(console, u'h\xe9llo')
        console.wait_for_text('#totals', 'received 7 bytes')
        text = console.save(browser, '#record')
        console.click('#disconnect')
        console.wait_for_text('#status', 'Disconnected.')
    assert json.loads(text.split('\n')[0])['format'] == 'ws2s-recording'
    path = str(tmpdir.join('a.ws2s.jsonl'))
    with io.open(path, 'w', encoding='utf-8') as file:
        file.write(text)
    console.click('#clear')
    console.choose('#replay-speed', 'Infinity')
    console.put_file('#replay-file', path)
    console.wait_for_text('#status', 'The recording has been replayed.')
    console.wait_for(lambda: console.texts('.entry.received .body') == [u'h\xe9llo\n'], 'what was received')
