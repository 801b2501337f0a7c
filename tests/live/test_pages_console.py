# -*- coding: utf-8 -*-
"""The console in Chromium: telnet, colours, secrets, STARTTLS, files, recordings, and what hostile targets send."""

import contextlib
import io
import json
import os
import re
import threading

import pytest

from certificates import server_context
from chromium import reaping_orphans
from mail_servers import running_dovecot, running_exim
from page_memory import MEGABYTE, heap_bytes
from page_visits import connect
from program import running_program
from targets import echo, saying, serving, silence, sink, when
from telnet_server import running_telnetd
from visitor import Tasks, read, visited
from waiting import wait_until, wait_until_still

pytestmark = pytest.mark.pages

IAC, DONT, DO, WONT, WILL, SB, SE, ECHO, NAWS = 255, 254, 253, 252, 251, 250, 240, 1, 31
SECRET = u'Corr3ct-h0rse'
COLOURS = u''.join(u'\x1b[%sm%s\x1b[0m ' % (code, code) for code in (
    ['1', '2', '3', '4', '7', '9'] + [str(n) for n in list(range(30, 38)) + list(range(40, 48)) + list(range(90, 108))]
    + ['38;5;%d' % n for n in range(0, 256, 5)] + ['38;2;%d;0;0;48;2;%d;0;0' % (n, n) for n in range(0, 256, 25)]))
RESPONSIVE = 200  # milliseconds
HEAP = 60 * MEGABYTE


@pytest.fixture(scope='module')
def gateway():
    with running_program({'allowConnectToServerLocal': True}) as program:
        yield program


@pytest.fixture
def measured(browser, gateway):
    with visited(browser, gateway, sees_network=False) as console:
        yield console


def send(console, words):
    console.fill('#input', words)
    console.press('Enter')


def say(console, words, answer):
    """Send a line, and wait for what is received then."""
    send(console, words)
    wait_for_received(console, answer)


def wait_for_received(console, answer):
    console.wait_for(lambda: answer in ''.join(console.texts('.entry.received .body')[-3:]), repr(answer))


def disconnect(console):
    console.click('#disconnect')
    console.wait_for_text('#status', 'Disconnected.')


def notices(console):
    return console.texts('.entry.notice .body')


# -- telnet ------------------------------------------------------------------------------------------------------------

def rows_and_columns(console):
    """As the telnet server knows them by now."""
    def sizes():
        received = ''.join(console.texts('.entry.received .body'))
        return re.findall(r'rows and columns (\d+) (\d+)\n', received)
    known = len(sizes())
    send(console, u'size')
    console.wait_for(lambda: len(sizes()) > known, 'a size')
    return tuple(int(size) for size in sizes()[-1])


@pytest.fixture
def telnetd():
    with running_telnetd() as port:
        yield port


def test_a_telnet_daemon_is_answered_and_hears_of_the_window_and_no_secret_is_shown(console, telnetd):
    connect(console, telnetd)
    console.wait_for_text('#entries', 'login: ')
    assert 'The target speaks telnet: its commands are answered, and not shown.' in notices(console)
    console.wait_for_text('#entries', 'terminal ansi\n')
    assert '\\xff' not in console.text('#entries')
    assert console.value('#line-ending') == 'crlf' and not console.is_shown('#secret')
    send(console, u'me')
    console.wait_until_shown('#secret')
    console.fill('#secret', SECRET)
    console.press('Enter')
    console.wait_for_text('#entries', 'welcome me, with %d characters' % len(SECRET))
    console.wait_until_hidden('#secret')
    assert SECRET not in console.text('body') and SECRET not in console.stored()
    console.press('ArrowUp')
    assert console.value('#input') == 'me'
    rows, columns = rows_and_columns(console)
    assert 10 < rows < 100 and 60 < columns < 200
    console.page.look(390)
    console.wait_for(lambda: rows_and_columns(console)[1] < columns - 20, 'a narrow terminal')
    disconnect(console)


class TelnetServer(object):
    """Says what it is told, and asks for a password in between, as a server of lines does."""

    def __init__(self):
        self.heard = b''

    def serve(self, sock):
        sock.sendall(bytearray([IAC, DO, NAWS]) + b'login: ')
        self.hear(sock, b'me\r\n')
        sock.sendall(bytearray([IAC, WILL, ECHO]) + b'Secret: ')
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


def test_console_hides_what_a_telnet_server_of_lines_asks_for_in_secret(console):
    server = TelnetServer()
    with serving(server.serve) as port:
        connect(console, port)
        console.wait_for_text('#entries', 'login: ')
        send(console, u'me')
        console.wait_until_shown('#secret')
        console.fill('#secret', SECRET)
        console.press('Enter')
        console.wait_for_text('#entries', 'welcome')
        console.wait_until_hidden('#secret')
        assert SECRET not in console.text('#entries')
        console.press('ArrowUp')
        assert console.value('#input') == 'me'
        disconnect(console)
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
            disconnect(console)
        connect(console, one)
        assert console.value('#line-ending') == 'cr'


class Insisting(object):
    """A telnet server that answers each answer by asking again, for what is refused and for what is not."""

    def __init__(self):
        self.asked = 0

    def serve(self, sock):
        wishes = {(WONT, 99): (DO, 99), (DONT, 98): (WILL, 98), (DO, ECHO): (WONT, ECHO), (DONT, ECHO): (WILL, ECHO)}
        for verb, option in ((DO, 99), (WILL, 98), (WILL, ECHO)):
            self.ask(sock, verb, option)
        rest = bytearray()
        for data in iter(lambda: bytearray(sock.recv(65536)), bytearray()):
            rest += data
            while len(rest) >= 3 and rest[0] == IAC:
                self.ask(sock, *wishes[tuple(rest[1:3])])
                rest = rest[3:]
            if rest.endswith(b'\n'):
                sock.sendall(rest)
                rest = bytearray()

    def ask(self, sock, verb, option):
        self.asked += 1
        sock.sendall(bytearray([IAC, verb, option]))


def test_a_telnet_server_that_insists_is_not_answered_for_ever(measured):
    server = Insisting()
    with serving(server.serve) as port:
        connect(measured, port)
        assert 500 < wait_until_still(lambda: server.asked) < 610
        measured.choose('#mode', 'text')
        say(measured, u'still there', 'still there')


# -- hostile bytes -----------------------------------------------------------------------------------------------------

def repeated(piece, total=3 * MEGABYTE):
    return piece * (total // len(piece))


def every_colour():
    return b''.join(b'\x1b[38;2;%d;%d;7mx' % (n >> 8, n & 255) for n in range(65536))


SB_NAWS = bytes(bytearray([IAC, SB, NAWS]))
FLOODS = {
    'a sequence without an end': b'\x1b[' + repeated(b'1;'), 'a title without an end': b'\x1b]0;' + repeated(b'x'),
    'beginnings alone': repeated(b'\x1b['), 'a colour for each character': repeated(b'\x1b[31mx\x1b[42my'),
    'other colours each time': repeated(every_colour()),
    'a subnegotiation without an end': SB_NAWS + repeated(b'x'), 'subnegotiations alone': repeated(SB_NAWS),
    'options alone': repeated(bytes(bytearray(
        byte for option in range(256) for byte in (IAC, DO, option, IAC, DONT, option)))),
}


@pytest.mark.quiet
@pytest.mark.parametrize('name', sorted(FLOODS))
def test_a_flood_of_escapes_neither_holds_the_page_up_nor_fills_it(browser, measured, name):
    go, data = threading.Event(), FLOODS[name]
    with serving(when(go, saying(data, sink))) as port:
        connect(measured, port)
        with Tasks(browser) as tasks:
            go.set()
            measured.wait_for_text('#totals', 'received %.1f MB' % (len(data) / 1e6), 60)
            send(measured, u'still there')
            measured.wait_for_text('#entries', 'still there', 30)
        measured.page.call('HeapProfiler.collectGarbage')
        measured.page.listen_to('Performance')
        print('%s: longest task %.0f ms, heap %.1f MB' % (name, tasks.longest(), heap_bytes(measured.page) / 1e6))
        assert tasks.longest() < RESPONSIVE and heap_bytes(measured.page) < HEAP


# -- STARTTLS ----------------------------------------------------------------------------------------------------------

def choose_tls_later(console, authority=None):
    console.open('#target-tls-section')
    console.choose('#target-tls', 'later')
    if authority:
        console.fill('#target-tls-ca', authority)


def start_tls(console, words):
    console.click('#start-tls')
    console.wait_for_text('#status', words)


def prepare(console, server, pki):
    """Connect to a real server, in whose certificate the authority of the tests has put 127.0.0.1."""
    choose_tls_later(console, pki.root.cert)
    connect(console, server.port)
    console.choose('#line-ending', 'crlf')


def test_tls_begins_in_the_midst_of_smtp_and_a_message_goes_as_a_file(console, pki, good, tmpdir):
    message = tmpdir.join('message.eml')
    message.write_binary(b'Subject: by file\r\n\r\nHello.\r\n.\r\n')
    with reaping_orphans(), running_exim(good) as server:
        prepare(console, server, pki)
        say(console, u'EHLO page.test', 'STARTTLS')
        say(console, u'STARTTLS', '220 TLS go ahead')
        start_tls(console, 'now with TLS (TLSv1')
        say(console, u'EHLO page.test', 'AUTH PLAIN')
        console.choose('#mode', 'secret')
        console.fill('#secret', u'AUTH PLAIN AGFubgBzZWNyZXQ=')
        console.press('Enter')
        wait_for_received(console, '235 ')
        assert 'AGFubgBzZWNyZXQ' not in console.text('body')
        console.choose('#mode', 'text')
        for line, answer in ((u'MAIL FROM:<a@page.test>', '250 OK'), (u'RCPT TO:<b@mail.test>', '250 Accepted'),
                             (u'DATA', '354 ')):
            say(console, line, answer)
        console.put_file('#file', str(message))
        console.wait_for_text('#send-status', 'The file message.eml was sent.')
        wait_for_received(console, '250 OK id=')
        say(console, u'QUIT', '221 ')
        wait_until(lambda: 'Subject: by file\n\nHello.\n' in read(os.path.join(server.folder, 'mail')))


DIALOGUES = {
    'imap': ('a STARTTLS', 'a OK', 'b LOGIN ann secret', 'b OK'),
    'pop3': ('STLS', '+OK Begin TLS', 'USER ann\nPASS secret', '+OK Logged in'),
}


@pytest.mark.parametrize('protocol', sorted(DIALOGUES))
def test_tls_begins_in_the_midst_of(console, pki, good, protocol):
    begin, ready, login, answer = DIALOGUES[protocol]
    with reaping_orphans(), running_dovecot(good, protocol) as server:
        prepare(console, server, pki)
        say(console, begin, ready)
        start_tls(console, 'now with TLS (TLSv1')
        say(console, login, answer)
        assert [text for text in notices(console) if 'From here on the connection has TLS (TLSv1' in text]
        disconnect(console)


class StartingTls(object):
    """Speaks TLS after a line, and echoes. ``answer`` goes out in the clear, before."""

    def __init__(self, certified, answer=b'220 ready\r\n'):
        self._context, self._answer, self.heard = server_context(certified), answer, []

    def serve(self, sock):
        while b'STARTTLS' not in sock.recv(100):
            pass
        sock.sendall(self._answer)
        with contextlib.closing(self._context.wrap_socket(sock, server_side=True)) as secure:
            for data in iter(lambda: secure.recv(65536), b''):
                self.heard.append(data)
                secure.sendall(data)


def test_what_came_in_the_clear_has_no_say_in_how_the_rest_looks(console, pki, good):
    with serving(StartingTls(good, b'220 ready\r\n\x1b[31mred \x1b]0;a title that goes on').serve) as port:
        choose_tls_later(console, pki.root.cert)
        connect(console, port)
        say(console, u'STARTTLS', '220 ready\nred')
        start_tls(console, 'now with TLS (TLSv1')
        say(console, u'secret words', 'secret words')
        assert console.texts('.entry.received .ansi') == ['red ']
        disconnect(console)


def test_a_certificate_of_somebody_else_ends_the_connection_before_anything_is_sent(console, good):
    server = StartingTls(good)
    with serving(server.serve) as port:
        choose_tls_later(console)
        connect(console, port)
        say(console, u'STARTTLS', '220 ready')
        start_tls(console, '(tls)')
        assert console.is_shown('#connect') and not console.is_shown('#start-tls')
        send(console, u'secret words')
        assert console.text('#send-status') == 'Not connected: nothing was sent.'
    assert server.heard == []


# -- files -------------------------------------------------------------------------------------------------------------

def test_a_file_is_sent_as_it_is(console, tmpdir):
    path, content, heard = str(tmpdir.join('file.bin')), os.urandom(3000000), []
    tmpdir.join('file.bin').write_binary(content)

    def keep(sock):
        for data in iter(lambda: sock.recv(65536), b''):
            heard.append(data)

    with serving(keep) as port:
        connect(console, port)
        console.put_file('#file', path)
        console.wait_for_text('#send-status', 'The file file.bin was sent.')
        disconnect(console)
        console.wait_for(lambda: sum(map(len, heard)) == len(content), 'all bytes')
    assert b''.join(heard) == content


@pytest.fixture
def large_file(tmpdir):
    path = str(tmpdir.join('large.bin'))
    with io.open(path, 'wb') as file:
        file.truncate(100 * MEGABYTE)
    return path


def test_a_file_that_the_target_does_not_take_can_be_stopped(console, gallery, large_file):
    with serving(silence, receive_buffer=65536) as port:
        connect(console, port)
        console.put_file('#file', large_file)
        console.wait_until_shown('#file-row')
        gallery.hang(console, 'console-file')
        send(console, u'words between')
        assert console.text('#send-status') == 'A file is being sent: nothing else was sent.'
        console.fill('#input', u'')
        console.click('#file-stop')
        console.wait_for_text('#send-status', 'was not sent to its end: it was stopped.')
        console.wait_until_hidden('#file-row')
        console.click('#disconnect')
        console.wait_until_shown('#disconnect')
        console.wait_for(lambda: click_if_shown(console, '#disconnect'), 'the connection to be dropped')


def click_if_shown(console, selector):
    """True when there is nothing more to click."""
    if console.is_shown(selector):
        console.page.evaluate('document.querySelector("%s").click()' % selector)
    return not console.is_shown(selector)


def test_a_file_whose_target_goes_away_was_not_sent_to_its_end(console, large_file):
    with serving(lambda sock: sock.recv(65536)) as port:
        connect(console, port)
        console.put_file('#file', large_file)
        console.wait_for_text('#send-status', 'was not sent to its end: the connection has ended.')
        console.wait_until_hidden('#file-row')


# -- recordings --------------------------------------------------------------------------------------------------------

def test_what_was_recorded_is_replayed(console, browser, gallery, tmpdir):
    with serving(echo) as port:
        console.click('#record')
        connect(console, port)
        send(console, u'h\xe9llo')
        console.wait_for_text('#totals', 'received 7 bytes')
        gallery.hang(console, 'console-recording')
        text = console.save(browser, '#record')
        disconnect(console)
    assert json.loads(text.split('\n')[0])['format'] == 'ws2s-recording'
    path = tmpdir.join('a.ws2s.jsonl')
    path.write_binary(text.encode('utf-8'))
    console.click('#clear')
    console.choose('#replay-speed', 'Infinity')
    console.put_file('#replay-file', str(path))
    console.wait_for_text('#status', 'The recording has been replayed.')
    console.wait_for(lambda: console.texts('.entry.received .body') == [u'h\xe9llo\n'], 'what was received')


HEAD = u'{"format": "ws2s-recording", "version": 1, "begun": "2026-01-02T03:04:05Z", "target": "x:1"}\n'


def test_a_replay_takes_its_time_and_can_be_stopped(console, gallery, tmpdir):
    path = tmpdir.join('slow.ws2s.jsonl')
    path.write(HEAD + u'[0, "received", "G1szMW1yZWQ="]\n[90000, "notice", "at last"]\n' * 1)
    console.put_file('#replay-file', str(path))
    console.wait_for_text('#entries', 'red')
    gallery.hang(console, 'console-replaying')
    assert not console.is_shown('#replay') and console.page.evaluate('document.querySelector("#connect").disabled')
    console.click('#replay-stop')
    console.wait_for_text('#status', 'The replay was stopped.')
    assert 'at last' not in console.text('#entries') and console.focused() == 'replay'


def test_a_file_that_is_no_recording_is_told_with_its_line(console, tmpdir):
    path = tmpdir.join('x.jsonl')
    path.write(HEAD + u'[0, "received", "%%%"]\n')
    console.put_file('#replay-file', str(path))
    assert '(line 2)' in console.wait_for_text('#status', 'This is no recording of the console: ')
    assert console.is_shown('#replay')


# -- what would be lost ------------------------------------------------------------------------------------------------

def test_who_closes_a_tab_with_a_live_transcript_is_asked(console):
    with serving(saying(b'a greeting\n', echo)) as port:
        connect(console, port)
        console.wait_for_text('#entries', 'a greeting')
        assert console.page.close_and_stay() == 'beforeunload'
        say(console, u'still there', 'still there')
        disconnect(console)


def test_clear_asks_before_a_live_transcript_is_lost(browser, console, gallery):
    with serving(saying(b'a greeting\n', echo)) as port:
        connect(console, port)
        console.wait_for_text('#entries', 'a greeting')
        console.click('#clear')
        console.wait_for_text('.question', 'is not saved')
        gallery.hang(console, 'console-clear')
        console.press('Escape')
        console.wait_until_hidden('.question')
        console.wait_for_text('#entries', 'a greeting')  # what is out of sight is not laid out, nor read
        console.wait_for(lambda: console.focused() == 'clear', 'the focus to come back')
        console.click('#clear')
        assert u'received 11 bytes\na greeting\n' in console.save(browser, '.question button[value=save]')
        console.wait_for(lambda: not console.texts('#entries .entry'), 'an empty transcript')
        say(console, u'more', 'more')
        console.click('#clear')
        console.click('.question button[value=clear]')
        console.wait_for(lambda: not console.texts('#entries .entry'), 'an empty transcript')
        say(console, u'and more', 'and more')
        disconnect(console)
        console.click('#clear')
        console.wait_for(lambda: not console.texts('#entries .entry'), 'an empty transcript')


# -- looks, and by keyboard --------------------------------------------------------------------------------------------

def test_colours_can_be_read_and_leave_no_flaw(console, gallery):
    with serving(saying(COLOURS.encode('utf-8') + b'\x1b]0;title\x07\x1b[2Jend\r\n', echo)) as port:
        connect(console, port)
        console.wait_for_text('#entries', 'end')
        assert '\x1b' not in console.text('#entries') and 'title' not in console.text('#entries')
        gallery.hang(console, 'console-colours')


def test_a_login_by_telnet_and_tls_to_come_look_well_and_have_no_flaws(console, gallery, telnetd):
    choose_tls_later(console)
    connect(console, telnetd)
    console.wait_for_text('#entries', 'login: ')
    send(console, u'me')
    console.wait_until_shown('#secret')
    assert console.is_shown('#start-tls')
    gallery.hang(console, 'console-secret')
    disconnect(console)


def tab_to(console, name):
    """By keyboard to the element of this id."""
    for _ in range(25):
        if console.focused() == name:
            return
        console.press('Tab')
    raise AssertionError('the focus does not come to ' + name)


def press_at(console, name):
    tab_to(console, name)
    console.press('Enter')


def test_tls_that_begins_later_a_recording_and_clear_go_by_keyboard_alone(console, pki, good):
    with serving(StartingTls(good).serve) as port:
        choose_tls_later(console, pki.root.cert)
        connect(console, port)
        console.wait_for(lambda: console.focused() == 'input', 'the line to have the focus')
        console.insert(u'STARTTLS')
        console.press('Enter')
        wait_for_received(console, '220 ready')
        press_at(console, 'start-tls')
        console.wait_for_text('#status', 'now with TLS (TLSv1')
        assert console.focused() == 'input'
        press_at(console, 'record')
        assert console.page.evaluate('document.querySelector("#record").ariaPressed') == 'true'
        press_at(console, 'clear')
        console.wait_until_shown('.question')
        assert console.page.evaluate('document.activeElement.innerText') == 'Cancel'
        console.press('Enter')
        console.wait_until_hidden('.question')
        console.wait_for(lambda: console.focused() == 'clear', 'the focus to come back')
        console.wait_for_text('#entries', '220 ready')
        disconnect(console)
