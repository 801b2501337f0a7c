# -*- coding: utf-8 -*-
"""The two pages when something fails: no error is green, no state is older than it looks, no text that somebody typed
is lost, every wait has an end and a way out. The names in front of the comments are those of the reports."""

import contextlib
import signal
import socket
import threading

import pytest

from page_visits import connect, fill_target, hasten, let_pass, log_in, open_key, run_command, submit
from redis_server import resp, running_redis
from targets import echo, saying, serving, silence
from visitor import running_gateway_program, visited
from waiting import wait_until

pytestmark = pytest.mark.pages

CONTROL = 2  # the key, among the modifiers of DevTools
STILL_HERE = 'What you have typed is still here'
BUSY_SCRIPT = 'while true do end'


@pytest.fixture(scope='module')
def gateway():
    with running_gateway_program() as program:
        yield program


@pytest.fixture
def client(browser, gateway):
    with visited(browser, gateway, 'redis.html') as visitor:
        yield visitor


def kind(visitor, selector='#status'):
    """How a status looks: good, bad, busy or nothing."""
    return visitor.page.evaluate('document.querySelector("%s").className' % selector).replace('status', '').strip()


def log_in_as(visitor, port, name, password=u'p', status='found.'):
    visitor.fill('#target-username', name)
    visitor.fill('#target-password', password)
    connect(visitor, port, status)


def cut_off(server, *who):
    """All connections of pages, or those of ``who``."""
    server.ask('CLIENT', 'KILL', *(who or ('TYPE', 'normal', 'SKIPME', 'yes')))


def paste(browser, visitor, text):
    """From the clipboard, as by Ctrl+V."""
    browser.call('Browser.grantPermissions', permissions=['clipboardReadWrite', 'clipboardSanitizedWrite'])
    visitor.page.evaluate('navigator.clipboard.writeText(%s)' % repr(text).lstrip('u'))
    about = {'key': 'v', 'code': 'KeyV', 'windowsVirtualKeyCode': 86, 'modifiers': CONTROL}
    visitor.page.call('Input.dispatchKeyEvent', type='keyDown', commands=['paste'], **about)
    visitor.page.call('Input.dispatchKeyEvent', type='keyUp', **about)


def has_leave_guard(visitor):
    """Does the browser ask before this page is left?"""
    window = visitor.page.call('Runtime.evaluate', expression='window')['result']['objectId']
    listeners = visitor.page.call('DOMDebugger.getEventListeners', objectId=window)['listeners']
    return 'beforeunload' in [listener['type'] for listener in listeners]


@contextlib.contextmanager
def busy_script(server):
    """While a script holds everybody up."""
    server.ask('CONFIG', 'SET', 'busy-reply-threshold', '50')
    sock = socket.create_connection(('127.0.0.1', server.port), 10)
    try:
        sock.sendall(resp(['EVAL', BUSY_SCRIPT, '0']))
        wait_until(lambda: server.ask('PING').startswith(b'-BUSY'), 10, 'the script to be busy')
        yield
    finally:
        server.ask('SCRIPT', 'KILL')
        sock.close()


# -- P1: an error is an error ------------------------------------------------------------------------------------------

def test_p1_a_search_that_is_forbidden_is_no_success(client, redis):
    redis.ask('SET', 'k', '1')
    redis.ask('ACL', 'SETUSER', 'nos', 'on', '>p', '~*', '+@all', '-scan')
    log_in_as(client, redis.port, u'nos', status='may not do that')
    client.wait_for_text('#key-count', 'stopped by an error')
    assert kind(client) == 'bad' and 'NOPERM' in client.text('#key-failure')
    assert 'No key was found' not in client.text('body')


def test_p1_a_search_while_a_script_is_busy_is_no_success_and_can_be_tried_again(client, redis):
    redis.ask('SET', 'k', '1')
    log_in(client, redis.port)
    with busy_script(redis):
        client.click('#keys-refresh')
        client.wait_for_text('#status', 'busy with a script')
        assert kind(client) == 'bad' and 'stopped by an error' in client.text('#key-count')
    client.click('#keys-refresh')
    client.wait_for_text('#key-count', '1 key found, 1 in the database.')
    assert not client.is_shown('#key-failure')


def test_p1_an_error_while_the_next_keys_are_loaded_keeps_those_that_were_found(client, redis):
    redis.ask('SET', 'k', '1')
    redis.ask('ACL', 'SETUSER', 'u', 'on', '>p', '~*', '+@all')
    log_in_as(client, redis.port, u'u')
    redis.ask('ACL', 'SETUSER', 'u', '-scan', '-type')
    client.click('#keys-refresh')
    client.wait_for_text('#key-count', '0 keys found of 1; stopped by an error.')
    redis.ask('ACL', 'SETUSER', 'u', '+scan')
    client.click('#scan-more')
    client.wait_for_text('#key-count', '1 key found, 1 in the database.')
    client.click('.key-row')
    client.wait_for_text('#key-failure-text', 'This key was not read. This user may not do that')
    assert kind(client) == 'bad'
    redis.ask('ACL', 'SETUSER', 'u', '+type')
    client.click('#key-reload')
    client.wait_until_shown('#key-facts')


def test_p1_a_subscription_that_is_refused_says_why(client, redis):
    redis.ask('ACL', 'SETUSER', 'u', 'on', '>p', '~*', 'resetchannels', '+@all')
    log_in_as(client, redis.port, u'u')
    client.click('#tab-commands')
    client.fill('#command', u'SUBSCRIBE news')
    client.press('Enter')
    client.wait_for_text('#log', 'Not subscribed. This user may not do that here.')
    assert 'Unsubscribed' not in client.text('#log')


# -- P2: what is typed is kept -----------------------------------------------------------------------------------------

def gone_by_delete(server):
    server.ask('DEL', 'k')


def gone_by_flush(server):
    server.ask('FLUSHALL')


def gone_by_time(server):
    server.ask('PEXPIRE', 'k', '1')


GONE = {'delete': gone_by_delete, 'flush': gone_by_flush, 'time': gone_by_time}


@pytest.mark.parametrize('how', sorted(GONE))
def test_p2_a_string_that_is_gone_when_it_is_saved_keeps_what_is_typed(client, redis, how):
    redis.ask('SET', 'k', 'old')
    log_in(client, redis.port)
    open_key(client, u'k')
    client.fill('#string-value', u'my new text')
    GONE[how](redis)
    wait_until(lambda: redis.ask('EXISTS', 'k') == b':0\r\n')
    client.click('#string-save')
    client.wait_for_text('#key-notice', STILL_HERE)
    assert client.value('#string-value') == 'my new text' and kind(client) == 'bad'
    client.click('#key-recreate')
    client.wait_for_text('#status', 'The key was created again.')
    assert redis.ask('GET', 'k') == b'my new text'
    assert client.text('#key-count').startswith('1 key found')


def test_p2_a_key_that_expires_under_an_edit_is_told_and_the_text_is_kept(client, redis):
    redis.ask('SET', 'k', 'old', 'PX', '1500')
    log_in(client, redis.port)
    open_key(client, u'k')
    client.fill('#string-value', u'typed in time')
    client.wait_for_text('#key-notice', 'does not exist any more')
    assert client.text('#key-facts') == ''  # nothing of what was known is true any more
    client.click('#key-discard')
    client.click('#dialog-discard-cancel')
    client.wait_until_hidden('#dialog-discard')
    assert client.value('#string-value') == 'typed in time'
    client.click('#key-discard')
    client.click('#dialog-discard-submit')
    client.wait_for_text('#key-title', 'No key is open')


def test_p2_a_key_whose_time_was_extended_meanwhile_is_not_told_to_be_gone(client, redis):
    redis.ask('SET', 'k', 'old', 'PX', '1500')
    log_in(client, redis.port)
    open_key(client, u'k')
    client.fill('#string-value', u'typed')
    redis.ask('PERSIST', 'k')
    client.wait_for_text('#key-fact-ttl', 'for ever')
    assert client.text('#key-notice') == ''
    client.click('#string-save')
    client.wait_for_text('#status', 'The value was saved.')


def test_p2_a_string_that_has_become_a_list_keeps_what_is_typed_and_offers_what_is_there(client, redis):
    redis.ask('SET', 'k', 'old')
    log_in(client, redis.port)
    open_key(client, u'k')
    client.fill('#string-value', u'my new text')
    redis.ask('DEL', 'k')
    redis.ask('RPUSH', 'k', 'item')
    client.click('#string-save')
    client.wait_for_text('#key-notice', 'another type of value now')
    assert client.value('#string-value') == 'my new text' and not client.is_shown('#key-recreate')
    client.click('#key-discard')
    client.click('#dialog-discard-submit')
    client.wait_for_text('#rows', 'item')


def type_field(client):
    client.click('[data-action=edit]')
    client.fill('#item-value', u'typed')


def type_score(client):
    client.click('[data-action=edit]')
    client.fill('#item-score', u'7.5')


def type_member(client):
    client.click('#add-member')
    client.fill('#item-value', u'typed')


def type_entry(client):
    client.click('#add-entry')
    client.fill('#item-field-1', u'f')
    client.fill('#item-value-1', u'typed')


DIALOGS = {
    'hash': (['HSET', 'k', 'f', 'old'], type_field, '#item-value', ['HGET', 'k', 'f'], b'typed'),
    'list': (['RPUSH', 'k', 'old'], type_field, '#item-value', ['LINDEX', 'k', '0'], b'typed'),
    'set': (['SADD', 'k', 'old'], type_member, '#item-value', ['SISMEMBER', 'k', 'typed'], b':1\r\n'),
    'zset': (['ZADD', 'k', '1', 'm'], type_score, '#item-score', ['ZSCORE', 'k', 'm'], b'7.5'),
    'stream': (['XADD', 'k', '*', 'f', 'old'], type_entry, '#item-value-1', ['XLEN', 'k'], b':1\r\n'),
}


@pytest.mark.parametrize('name', sorted(DIALOGS))
def test_p2_a_dialog_of_a_key_that_is_gone_stays_and_makes_the_key_again(client, redis, name):
    begin, write, field, ask, answer = DIALOGS[name]
    redis.ask(*begin)
    log_in(client, redis.port)
    open_key(client, u'k')
    write(client)
    typed = client.value(field)
    redis.ask('DEL', 'k')
    client.click('#dialog-item-submit')
    client.wait_for_text('#dialog-item-status', STILL_HERE)
    assert client.value(field) == typed and kind(client, '#dialog-item-status') == 'bad'
    client.click('#dialog-item-recreate')
    client.wait_for_text('#status', 'The key was created again.')
    client.wait_until_hidden('#dialog-item')
    assert redis.ask(*ask) == answer
    client.wait_until_shown('#key-facts')


def test_p2_a_dialog_of_a_field_that_was_changed_or_removed_keeps_what_is_typed(client, redis):
    redis.ask('HSET', 'k', 'f', 'old', 'g', 'other')
    log_in(client, redis.port)
    open_key(client, u'k')
    type_field(client)
    redis.ask('HDEL', 'k', 'f', 'g')
    redis.ask('HSET', 'k', 'h', 'new')
    client.click('#dialog-item-submit')
    client.wait_for_text('#dialog-item-status', 'Somebody has changed this meanwhile')
    assert client.value('#item-value') == 'typed'


@pytest.mark.parametrize('leave', ['Escape', 'Cancel'])
def test_p2_a_dialog_with_typed_text_is_not_left_without_a_question(client, redis, leave):
    redis.ask('HSET', 'k', 'f', 'old')
    log_in(client, redis.port)
    open_key(client, u'k')
    type_field(client)
    for _ in range(3):  # a browser closes what does not want to be closed at the second time
        if leave == 'Escape':
            client.press('Escape')
        else:
            client.click('#dialog-item-cancel')
        client.wait_until_shown('#dialog-discard')
        client.press('Escape')
        client.wait_until_hidden('#dialog-discard')
        assert client.is_shown('#dialog-item') and client.value('#item-value') == 'typed'
    client.click('#dialog-item-cancel')
    client.click('#dialog-discard-submit')
    client.wait_until_hidden('#dialog-item')
    assert redis.ask('HGET', 'k', 'f') == b'old'


def test_p2_a_dialog_without_typed_text_is_left_without_a_question(client, redis):
    redis.ask('HSET', 'k', 'f', 'old')
    log_in(client, redis.port)
    open_key(client, u'k')
    client.click('[data-action=edit]')
    client.choose('#item-value-form', 'hex')
    client.press('Escape')
    client.wait_until_hidden('#dialog-item')


def test_p2_another_type_of_a_new_key_keeps_what_is_typed(client, redis):
    log_in(client, redis.port)
    client.click('#key-new')
    client.fill('#new-name', u'fresh')
    client.fill('#item-value', u'line one')
    for name in ('hash', 'list', 'set', 'zset', 'string'):
        client.choose('#new-type', name)
        assert client.value('#item-value') == 'line one', name
    client.choose('#new-type', 'stream')
    assert client.value('#item-value-1') == 'line one'
    client.fill('#item-field-1', u'a field')
    client.choose('#new-type', 'set')
    client.choose('#new-type', 'stream')
    assert client.value('#item-field-1') == 'a field' and client.value('#item-value-1') == 'line one'
    client.choose('#new-type', 'list')
    client.click('#dialog-new-submit')
    client.wait_for_text('#key-title', 'fresh')
    assert redis.ask('LINDEX', 'fresh', '0') == b'line one'


def lock_out(server):
    server.ask('ACL', 'SETUSER', 'u', 'resetpass', '>q')
    cut_off(server, 'USER', 'u')


def test_p2_a_login_that_has_changed_keeps_the_typed_value_until_the_next_login(client, redis):
    redis.ask('SET', 'k', 'old')
    redis.ask('ACL', 'SETUSER', 'u', 'on', '>p', '~*', '&*', '+@all')
    log_in_as(client, redis.port, u'u')
    open_key(client, u'k')
    client.fill('#string-value', u'not saved yet')
    lock_out(redis)
    client.wait_for_text('#status', STILL_HERE)
    assert kind(client) == 'bad' and client.value('#string-value') == 'not saved yet'
    client.click('#string-save')
    client.wait_for_text('#status', 'There is no connection any more. Nothing was sent.')
    client.fill('#target-password', u'q')
    client.click('#connect')
    client.wait_for_text('#status', STILL_HERE)
    client.wait_until_hidden('#connect-card')
    assert client.value('#string-value') == 'not saved yet'
    client.click('#string-save')
    client.wait_for_text('#status', 'The value was saved.')
    assert redis.ask('GET', 'k') == b'not saved yet'


def test_p2_a_login_that_has_changed_keeps_a_dialog_with_typed_text(client, redis):
    redis.ask('HSET', 'k', 'f', 'old')
    redis.ask('ACL', 'SETUSER', 'u', 'on', '>p', '~*', '&*', '+@all')
    log_in_as(client, redis.port, u'u')
    open_key(client, u'k')
    type_field(client)
    lock_out(redis)
    client.wait_for_text('#status', STILL_HERE)
    client.fill('#target-password', u'q')
    client.click('#connect')
    client.wait_until_hidden('#connect-card')
    assert client.value('#item-value') == 'typed'
    client.click('#dialog-item-submit')
    client.wait_until_hidden('#dialog-item')
    assert redis.ask('HGET', 'k', 'f') == b'typed'


def test_p2_what_is_typed_for_one_server_does_not_get_to_another(client, redis):
    redis.ask('SET', 'k', 'old')
    redis.ask('ACL', 'SETUSER', 'u', 'on', '>p', '~*', '&*', '+@all')
    log_in_as(client, redis.port, u'u')
    open_key(client, u'k')
    client.fill('#string-value', u'not saved yet')
    lock_out(redis)
    client.wait_for_text('#status', STILL_HERE)
    client.fill('#target-password', u'')
    client.fill('#target-username', u'')
    client.click('#connect')
    client.click('#dialog-discard-cancel')
    client.wait_until_hidden('#dialog-discard')
    assert client.value('#string-value') == 'not saved yet'
    client.click('#connect')
    client.click('#dialog-discard-submit')
    client.wait_for_text('#status', 'found.')
    assert client.text('#key-title') == 'No key is open'


# -- P3: pasted lines --------------------------------------------------------------------------------------------------

def test_p3_lines_that_are_pasted_are_shown_and_run_one_by_one(browser, client, redis):
    log_in(client, redis.port)
    client.click('#tab-commands')
    client.click('#command')
    paste(browser, client, u'SADD s9 a\nSADD s9 b\r\n\nSADD s9 "c d"\n')
    client.wait_until_shown('#dialog-lines')
    assert client.value('#lines-text') == 'SADD s9 a\nSADD s9 b\nSADD s9 "c d"'
    assert redis.ask('EXISTS', 's9') == b':0\r\n'
    client.press('Enter')
    client.wait_for(lambda: len(client.texts('#log .entry-reply')) == 3, 'three replies')
    assert redis.ask('SCARD', 's9') == b':3\r\n'
    client.press('ArrowUp')
    assert client.value('#command') == 'SADD s9 "c d"'


def test_p3_lines_behind_one_that_has_failed_are_not_run_and_not_lost(browser, client, redis):
    redis.ask('SET', 'y', '1')
    log_in(client, redis.port)
    client.click('#tab-commands')
    client.click('#command')
    paste(browser, client, u'SELECT 999\nDEL y\nGET y')
    client.click('#dialog-lines-submit')
    client.wait_for_text('#dialog-lines', 'These were not run')
    assert client.value('#lines-text') == 'DEL y\nGET y' and redis.ask('GET', 'y') == b'1'
    client.click('#dialog-lines-cancel')
    client.wait_until_hidden('#dialog-lines')


def test_p3_one_line_that_is_pasted_with_its_end_is_only_typed(browser, client, redis):
    log_in(client, redis.port)
    client.click('#tab-commands')
    client.fill('#command', u'GET ')
    paste(browser, client, u'y\n')
    client.wait_for(lambda: client.value('#command') == 'GET y', 'the line')
    assert not client.is_shown('#dialog-lines')


def test_p3_a_name_that_is_pasted_with_its_end_is_the_name(browser, client, redis):
    log_in(client, redis.port)
    client.click('#key-new')
    client.click('#new-name')
    paste(browser, client, u'fresh\n')
    client.fill('#item-value', u'1')
    client.click('#dialog-new-submit')
    client.wait_for_text('#key-title', 'fresh')
    assert redis.ask('GET', 'fresh') == b'1'


KEY_LINES = u'-----BEGIN OPENSSH PRIVATE KEY-----\nYWJj\nZGVm\n-----END OPENSSH PRIVATE KEY-----\n'


@pytest.mark.parametrize('path', ['', 'redis.html'], ids=['console', 'redis'])
def test_a_key_that_is_pasted_keeps_its_line_ends(browser, gateway, path):
    with visited(browser, gateway, path) as visitor:
        visitor.open('#target-ssh-section')
        visitor.click('#target-ssh-private-key')
        paste(browser, visitor, KEY_LINES.replace(u'\n', u'\r\n'))
        visitor.wait_for(lambda: visitor.value('#target-ssh-private-key') == KEY_LINES, 'the key')


# -- P4: waits ---------------------------------------------------------------------------------------------------------

@contextlib.contextmanager
def valve(port):
    """A way to a server that stops to carry anything while its ``Event`` is cleared: (its port, the event)."""
    is_open = threading.Event()
    is_open.set()

    def carry(source, drain):
        while True:
            data = source.recv(65536)
            is_open.wait()
            if not data:
                return
            drain.sendall(data)

    def on_connection(sock):
        upstream = socket.create_connection(('127.0.0.1', port), 10)
        back = threading.Thread(target=carry_quietly, args=(carry, upstream, sock))
        back.daemon = True
        back.start()
        try:
            carry(sock, upstream)
        finally:
            upstream.close()

    with serving(on_connection) as own:
        try:
            yield own, is_open
        finally:
            is_open.set()


def carry_quietly(carry, source, drain):
    try:
        carry(source, drain)
        drain.shutdown(socket.SHUT_RDWR)
    except (IOError, OSError):
        pass  # the other direction has ended both


def wait_in_vain(client):
    """For an answer, longer than most people want to."""
    let_pass(client, 10)
    client.wait_for_text('#link', 'Redis has not answered')


def test_p4_who_waits_is_told_for_what_and_can_connect_anew(client, redis):
    redis.ask('SET', 'k', 'old')
    with valve(redis.port) as (port, is_open):
        log_in(client, port)
        is_open.clear()
        client.click('.key-row')
        client.wait_for_text('#link', 'Redis has not answered TYPE')
        is_open.set()
        client.wait_until_hidden('#link')
        is_open.clear()
        client.click('#keys-refresh')
        wait_in_vain(client)
        client.click('#link-renew')
        client.wait_for_text('#link', 'There is no connection')
        assert kind(client) == 'bad'
        is_open.set()
        client.wait_until_hidden('#link')
        client.wait_for_text('#key-count', '1 key found')


def test_p4_a_wait_ends_by_itself(client, redis):
    redis.ask('SET', 'k', 'old')
    with valve(redis.port) as (port, is_open):
        log_in(client, port)
        open_key(client, u'k')
        client.fill('#string-value', u'typed')
        is_open.clear()
        client.click('#string-save')
        wait_in_vain(client)
        let_pass(client, 60)
        client.wait_for_text('#status', 'The connection was lost before the answer')
        is_open.set()
        client.wait_for_text('#status', 'Connected again. The connection was lost before the answer', 20)
        assert client.value('#string-value') == 'typed' and kind(client) == 'bad'


def test_p4_a_server_that_says_nothing_can_be_left(client):
    with serving(silence) as port:
        connect(client, port, 'Connecting to')
        client.click('#connect-cancel')
        client.wait_for_text('#status', 'Cancelled.')
        assert client.focused() == 'connect'


def test_p4_a_page_whose_gateway_stands_still_says_so(browser, redis):
    redis.ask('SET', 'k', 'old')
    with running_gateway_program() as program, visited(browser, program, 'redis.html') as client:
        log_in(client, redis.port)
        program.signal(signal.SIGSTOP)
        try:
            client.click('.key-row')
            wait_in_vain(client)
        finally:
            program.signal(signal.SIGCONT)
        client.wait_until_shown('#key-facts')


# -- P6: not Redis -----------------------------------------------------------------------------------------------------

def refusing(sock):
    while sock.recv(65536):
        sock.sendall(b'-ERR unknown command\r\n')


OTHERS = {
    'HTTP': saying(b'HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\nno'),
    'SMTP': saying(b'220 mail.example ESMTP\r\n', echo), 'SSH': saying(b'SSH-2.0-OpenSSH_9.2\r\n', echo),
    'TLS': saying(b'\x15\x03\x01\x00\x02\x02\x46'), 'echo': saying(b'hello\r\n', echo),
    'IMAP': saying(b'* OK IMAP4rev1 ready\r\n', silence), 'POP3': saying(b'+OK POP3 ready\r\n', refusing),
    'telnet': saying(b'\xff\xfd\x18\xff\xfd\x20\xff\xfb\x03', silence), 'a login': saying(b'\r\nhost login: ', silence),
}


def test_p6_what_is_not_redis_is_told_to_be_something_else(client):
    for name in sorted(OTHERS):
        with serving(OTHERS[name]) as port:
            connect(client, port, 'This is not Redis')
            assert kind(client) == 'bad' and '(protocol)' in client.text('#status'), name


def test_p6_a_target_that_only_closes_is_no_redis_and_nothing_may_have_been_carried_out(client):
    with serving(lambda sock: None) as port:
        connect(client, port, 'it is not Redis')
        assert kind(client) == 'bad' and 'may have been' not in client.text('#status')


# -- P7: lists that are old --------------------------------------------------------------------------------------------

def test_p7_what_the_own_command_line_writes_is_in_the_list(client, redis):
    for name in ('a', 'b', 'c'):
        redis.ask('SET', name, '1')
    log_in(client, redis.port)
    run_command(client, u'FLUSHDB')
    client.click('#tab-keys')
    client.wait_for_text('#key-count', '0 keys found, 0 in the database.')
    assert client.texts('.key-row') == []
    client.wait_for(lambda: client.texts('#db option')[0] == '0', 'no keys in the list of databases')
    run_command(client, u'SET fresh 1')
    client.click('#tab-keys')
    client.wait_for_text('#key-list', 'fresh')
    client.wait_for(lambda: client.texts('#db option')[0] == '0 (1 key)', 'the key in the list of databases')


def test_p7_what_only_looks_does_not_read_the_list_anew(client, redis):
    redis.ask('SET', 'a', '1')
    log_in(client, redis.port)
    run_command(client, u'GET a')
    redis.ask('SET', 'b', '1')
    client.click('#tab-keys')
    run_command(client, u'PING')
    client.click('#tab-keys')
    assert client.texts('.key-name') == ['a']


def test_p7_a_server_that_was_emptied_meanwhile_has_an_empty_list(client, redis):
    redis.ask('SET', 'a', '1')
    log_in(client, redis.port)
    redis.ask('FLUSHALL')
    cut_off(redis)
    client.wait_for_text('#key-count', '0 keys found, 0 in the database.')


MANY = "for i = 1, 21000 do redis.call('SET', 'key:' .. i, i) end return 'made'"


def test_p7_a_long_list_is_marked_as_old(client, redis):
    assert redis.ask('EVAL', MANY, '0') == b'made'
    log_in(client, redis.port)
    client.wait_for_text('#key-count', '21,000 keys found, 21,000 in the database.', 30)
    run_command(client, u'DEL key:1')
    client.click('#tab-keys')
    client.wait_for_text('#key-count', 'This list is older than your last command')
    client.click('#keys-refresh')
    client.wait_for_text('#key-count', '20,999 keys found, 20,999 in the database.', 30)
    assert 'older' not in client.text('#key-count')


# -- P13: small things -------------------------------------------------------------------------------------------------

def test_p13_the_console_remembers_how_lines_end(browser, gateway):
    with visited(browser, gateway) as console:
        console.choose('#line-ending', 'crlf')
        console.choose('#view', 'hex')
        console.choose('#mode', 'hex')
        console.page.go(console.page.evaluate('location.href'))
        assert [console.value(name) for name in ('#line-ending', '#view', '#mode')] == ['crlf', 'hex', 'hex']
        assert console.page.evaluate('document.querySelector("#line-ending").disabled') is True


def test_p13_hello_without_a_login_is_shown(client, redis):
    log_in(client, redis.port)
    run_command(client, u'HELLO 3')
    assert 'HELLO 3' in client.text('#log') and 'not shown' not in client.text('#log')


def test_p13_a_cluster_offers_its_one_database(client):
    with running_redis('--cluster-enabled', 'yes') as redis:
        log_in(client, redis.port)
        assert client.texts('#db option') == ['0']
        client.wait_for_text('#key-count', 'found')
        run_command(client, u'SELECT 1')
        assert 'not allowed in cluster mode' in client.text('#log')
        assert '(error) CLUSTERDOWN' in run_command(client, u'SET k v')


def test_p13_a_cluster_that_does_not_say_so_offers_its_one_database_after_the_first_attempt(client):
    with running_redis('--cluster-enabled', 'yes') as redis:
        redis.ask('ACL', 'SETUSER', 'u', 'on', '>p', '~*', '+@all', '-info')
        log_in_as(client, redis.port, u'u')
        client.choose('#db', '3')
        client.wait_for_text('#status', 'not allowed in cluster mode')
        assert kind(client) == 'bad'
        client.wait_for(lambda: client.texts('#db option') == ['0'], 'one database')


def test_p13_the_filter_of_one_server_is_not_that_of_the_next(client, redis):
    redis.ask('SET', 'a', '1')
    log_in(client, redis.port)
    client.fill('#pattern', u'nothing-like-this')
    client.choose('#type-filter', 'hash')
    client.click('#find')
    client.wait_for_text('#status', 'No key was found')
    client.click('#disconnect')
    client.wait_for_text('#status', 'Disconnected.')
    with running_redis() as other:
        other.ask('SET', 'b', '1')
        log_in(client, other.port)
        client.wait_for_text('#key-count', '1 key found')
    assert client.value('#pattern') == '' and client.value('#type-filter') == ''


def test_p13_reading_for_a_file_tells_how_far_it_is_and_can_be_stopped(browser, client, redis):
    redis.ask('SET', 'k', b'x' * 5000000)
    with valve(redis.port) as (port, is_open):
        log_in(client, port)
        open_key(client, u'k')
        is_open.clear()
        client.click('#string-file')
        client.wait_until_shown('#string-stop')
        client.click('#string-stop')
        client.wait_for_text('#string-progress', 'Stopped. Nothing was saved.')
        is_open.set()
        client.wait_until_hidden('#string-stop')
    assert 'Stopped' in client.text('#string-progress')


def test_p13_a_value_that_was_saved_to_a_file_is_told_beside_the_button(browser, client, redis):
    redis.ask('SET', 'k', b'x' * 3000000)
    log_in(client, redis.port)
    open_key(client, u'k')
    assert client.save(browser, '#string-file') == 'x' * 3000000
    client.wait_for_text('#string-progress', '3,000,000 bytes were read for the file.')


def test_p13_what_one_view_tells_is_not_seen_in_the_others(client, redis):
    redis.ask('SET', 'k', 'old')
    log_in(client, redis.port)
    client.wait_for_text('#status', '1 key found.')
    client.click('#tab-commands')
    client.wait_for(lambda: client.text('#status') == '', 'a status that tells nothing')
    client.click('#tab-info')
    client.wait_until_shown('#info-memory')
    client.click('#info-refresh')
    client.wait_for_text('#status', 'The figures were read anew.')
    client.click('#tab-keys')
    assert 'figures' not in client.text('#status')


# -- B4: back ----------------------------------------------------------------------------------------------------------

def leave_and_come_back(visitor):
    """To a page of another origin, and back to this very page, which was kept meanwhile."""
    visitor.page.evaluate('addEventListener("pageshow", event => { globalThis.isBack = event.persisted; })')
    visitor.page.go('about:blank')
    history = visitor.page.call('Page.getNavigationHistory')
    visitor.page.call('Page.navigateToHistoryEntry', entryId=history['entries'][history['currentIndex'] - 1]['id'])
    visitor.wait_for(lambda: visitor.page.evaluate('globalThis.isBack') is True, 'the page that was left')


def test_b4_the_redis_page_comes_back_with_its_login_database_key_and_subscription(browser, gateway, redis):
    redis.ask('CONFIG', 'SET', 'requirepass', 'secret')
    ask = AskingAs(redis, 'secret')
    ask('SELECT 3', ['SET', 'k', 'old'])
    with visited(browser, gateway, 'redis.html') as client:
        client.fill('#target-password', u'secret')
        client.fill('#target-db', u'3')
        log_in(client, redis.port)
        client.click('#tab-commands')
        client.fill('#command', u'SUBSCRIBE news')
        client.press('Enter')
        client.wait_for_text('#log', 'Subscribed to the channel news')
        client.click('#tab-keys')
        open_key(client, u'k')
        assert not has_leave_guard(client)
        leave_and_come_back(client)
        client.wait_for_text('#status', 'the key was read anew', 20)
        assert client.value('#db') == '3' and client.value('#string-value') == 'old'
        client.click('#tab-commands')
        client.wait_for_text('#log', 'messages may be missing', 20)
        wait_until(lambda: ask('SELECT 0', ['PUBLISH', 'news', 'hello again']) == b':1\r\n')
        client.wait_for_text('#log', 'hello again')


class AskingAs(object):
    """Asks a server that wants a password; the last reply."""

    def __init__(self, server, password):
        self._server, self._password = server, password

    def __call__(self, select, words):
        sock = socket.create_connection(('127.0.0.1', self._server.port), 10)
        try:
            with contextlib.closing(sock.makefile('rb')) as replies:
                for request in (['AUTH', self._password], select.split(), words):
                    sock.sendall(resp(request))
                    line = replies.readline()
                return line
        finally:
            sock.close()


def test_b4_the_console_tells_that_the_connection_is_gone_and_keeps_the_transcript(console, browser):
    with serving(saying(b'a greeting\n', echo)) as port:
        connect(console, port)
        console.wait_for_text('#entries', 'a greeting')
        save_transcript(console, browser)
        leave_and_come_back(console)
        console.wait_for_text('#status', '(gateway-lost)', 20)
        console.wait_for_text('#entries', 'a greeting')
        assert kind(console) == 'bad' and console.is_shown('#connect')


def test_b4_the_browser_asks_before_leaving_only_while_something_is_unsaved(client, redis):
    redis.ask('HSET', 'h', 'f', 'old')
    redis.ask('SET', 'k', 'old')
    log_in(client, redis.port)
    open_key(client, u'k')
    assert not has_leave_guard(client)
    client.fill('#string-value', u'new')
    client.wait_for(lambda: has_leave_guard(client), 'a guard')
    client.click('#string-save')
    client.wait_for_text('#status', 'The value was saved.')
    client.wait_for(lambda: not has_leave_guard(client), 'no guard')
    open_key(client, u'h')
    type_field(client)
    client.wait_for(lambda: has_leave_guard(client), 'a guard')
    submit(client, 'dialog-item', 'The field was saved.')
    client.wait_for(lambda: not has_leave_guard(client), 'no guard')


def test_b4_the_browser_asks_before_a_typed_line_of_the_console_is_lost(console):
    assert not has_leave_guard(console)
    console.fill('#input', u'typed')
    console.wait_for(lambda: has_leave_guard(console), 'a guard')
    console.fill('#input', u'')
    console.wait_for(lambda: not has_leave_guard(console), 'no guard')


def save_transcript(console, browser):
    console.wait_for(lambda: has_leave_guard(console), 'a guard')
    console.save(browser, '#save')
    console.wait_for(lambda: not has_leave_guard(console), 'no guard')


def test_b4_the_browser_asks_before_a_live_transcript_is_lost(console, browser):
    with serving(saying(b'a greeting\n', echo)) as port:
        connect(console, port)
        save_transcript(console, browser)
        console.fill('#input', u'more')
        console.press('Enter')
        console.wait_for_text('#totals', 'received 16 bytes')
        console.wait_for(lambda: has_leave_guard(console), 'a guard')
        console.click('#disconnect')
        console.wait_for(lambda: not has_leave_guard(console), 'no guard')


def test_b4_the_pattern_and_the_page_of_rows_stay_over_a_loss(client, redis):
    redis.ask('RPUSH', 'k', *['item%d' % i for i in range(250)])
    redis.ask('HSET', 'h', 'one', '1', 'two', '2')
    log_in(client, redis.port)
    open_key(client, u'k')
    client.click('#rows-last')
    client.wait_for_text('#rows-note', u'201\u2013250 of 250')
    client.fill('#pattern', u'half typed')
    cut_off(redis)
    client.wait_for_text('#status', 'the key was read anew')
    client.wait_for_text('#rows-note', u'201\u2013250 of 250')
    assert client.text('#key-count').startswith('1 key found') and client.value('#pattern') == 'half typed'
    open_key(client, u'h')
    client.fill('#rows-pattern', u'one')
    client.click('#rows-find')
    client.wait_for(lambda: len(client.texts('#rows tr')) == 1, 'one field')
    client.click('#key-reload')
    client.wait_for_text('#status', 'h: hash')
    assert client.value('#rows-pattern') == 'one' and len(client.texts('#rows tr')) == 1


# -- B6: users with few rights -----------------------------------------------------------------------------------------

FEW_RIGHTS = {
    'no PING': ['~*', '-@all', '+scan', '+type', '+get', '+pttl', '+strlen'],
    'no AUTH needed but nothing else': ['~*', '-@all', '+scan', '+type', '+get', '+strlen'],
    'no scripts, no CONFIG, no INFO': ['~*', '+@all', '-ping', '-info', '-config', '-dbsize', '-command', '-object',
                                       '-memory', '-pttl', '-getrange'],
}


@pytest.mark.parametrize('name', sorted(FEW_RIGHTS))
def test_b6_a_user_with_few_rights_sees_the_keys(client, redis, name):
    redis.ask('SET', 'k', 'value')
    redis.ask('ACL', 'SETUSER', 'ro', 'on', '>p', *FEW_RIGHTS[name])
    log_in_as(client, redis.port, u'ro')
    client.click('.key-row')
    client.wait_until_shown('#key-facts')
    assert client.value('#string-value') == 'value' and kind(client) == 'good'
    redis.ask('ACL', 'SETUSER', 'ro', '-get')
    client.fill('#string-value', u'mine')
    client.click('#string-save')
    client.wait_for_text('#status', 'may not do that')
    assert kind(client) == 'bad' and client.value('#string-value') == 'mine'


ACTIONS = {
    'del': (['UNLINK', 'DEL'], '#key-delete', 'dialog-delete', None),
    'expire': (['EXPIRE'], '#key-ttl', 'dialog-ttl', ('#ttl-time', u'100')),
    'rename': (['RENAMENX'], '#key-rename', 'dialog-rename', ('#rename-name', u'other')),
    'new': (['SET'], '#key-new', 'dialog-new', ('#new-name', u'fresh')),
}


@pytest.mark.parametrize('name', sorted(ACTIONS))
def test_b6_what_a_user_may_not_do_is_told_in_the_dialog_which_stays(client, redis, name):
    commands, button, dialog, field = ACTIONS[name]
    redis.ask('SET', 'k', 'value')
    redis.ask('ACL', 'SETUSER', 'u', 'on', '>p', '~*', '+@all', *['-' + command.lower() for command in commands])
    log_in_as(client, redis.port, u'u')
    client.click('.key-row')
    client.wait_until_shown('#key-facts')
    client.click(button)
    if field:
        client.fill(*field)
    client.click('#%s-submit' % dialog)
    client.wait_for_text('#%s-status' % dialog, 'NOPERM')
    assert client.is_shown('#' + dialog) and kind(client, '#%s-status' % dialog) == 'bad'
    assert field is None or client.value(field[0]) == field[1]


def test_b6_a_login_that_is_wrong_after_a_loss_ends_the_session(client, redis):
    log_in(client, redis.port)
    redis.ask('CONFIG', 'SET', 'requirepass', 'new')
    AskingAs(redis, 'new')('SELECT 0', ['CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes'])
    client.wait_for_text('#status', 'Disconnected. Redis wants a password.')
    assert kind(client) == 'bad' and client.is_shown('#connect')


# -- C1: a proxy that ends the connection ------------------------------------------------------------------------------

class Proxy(object):
    """Answers what it knows, as Redis would, and ends the connection at everything else."""

    ANSWERS = {'PING': b'+PONG\r\n', 'ECHO': b'$4\r\nws2s\r\n', 'GET': b'$5\r\nvalue\r\n', 'SET': b'+OK\r\n',
               'TYPE': b'+string\r\n', 'STRLEN': b':5\r\n', 'GETRANGE': b'$5\r\nvalue\r\n', 'PTTL': b':-1\r\n',
               'SCAN': b'*2\r\n$1\r\n0\r\n*1\r\n$1\r\nk\r\n'}

    def __init__(self, *unknown):
        self.asked, self._unknown = [], unknown

    def __call__(self, sock):
        with contextlib.closing(sock.makefile('rb')) as requests:
            while True:
                line = requests.readline()
                if not line:
                    return
                words = [requests.read(int(requests.readline()[1:]) + 2)[:-2] for _ in range(int(line[1:]))]
                name = words[0].decode('ascii').upper()
                self.asked.append(name)
                if name in self._unknown or name not in self.ANSWERS:
                    return
                sock.sendall(self.ANSWERS[name])


def test_c1_a_proxy_that_ends_the_connection_at_scan_is_told_once(client):
    proxy = Proxy('SCAN')
    with serving(proxy) as port:
        connect(client, port, 'The server has ended the connection at SCAN')
        client.wait_for_text('#key-count', 'stopped by an error')
        client.wait_for_text('#key-failure', 'SCAN')
        client.wait_for_text('#status', 'Connected again. The server has ended the connection at SCAN')
        client.wait_until_hidden('#link')
        assert kind(client) == 'bad'
        assert [proxy.asked.count(name) for name in ('INFO', 'CONFIG', 'SCAN')] == [1, 1, 1]
        client.click('#tab-info')
        client.wait_for_text('#status', 'The server ends the connection at INFO')
        assert proxy.asked.count('INFO') == 1 and kind(client) == 'bad'


def wait_until_back(client, proxy, name, times=1):
    """Until the page has connected again after `name` has ended the connection so often."""
    def is_back():
        hasten(client)
        places = [place for place, asked in enumerate(proxy.asked) if asked == name]
        return len(places) == times and 'PING' in proxy.asked[places[-1]:]

    wait_until(is_back, 60, 'a connection after %s' % name)
    client.wait_until_hidden('#link')


def test_c1_a_proxy_that_knows_little_shows_keys_and_values_and_saves_them(client):
    proxy = Proxy()
    with serving(proxy) as port:
        fill_target(client, port)
        client.click('#connect')
        client.wait_for_text('#key-count', '1 key found', 20)
        client.click('.key-row')
        wait_until_back(client, proxy, 'MEMORY')
        client.wait_for_text('#status', 'the key was read anew')
        client.fill('#string-value', u'new')
        for times in (1, 2):  # one end may be any loss
            client.click('#string-save')
            client.wait_for_text('#status', 'The server has ended the connection at WATCH')
            wait_until_back(client, proxy, 'WATCH', times)
            assert client.value('#string-value') == 'new'
        client.click('#string-save')
        client.wait_for_text('#status', 'The value was saved.', 20)
    asked = dict((name, proxy.asked.count(name)) for name in set(proxy.asked) - set(proxy.ANSWERS))
    assert asked.pop('WATCH') == 2 and set(asked.values()) == {1}, asked


def test_c1_a_proxy_that_ends_the_connection_at_ping_is_used_without(client):
    proxy = Proxy('PING')
    with serving(proxy) as port:
        connect(client, port, 'Connect')
        client.wait_for_text('#key-count', '1 key found', 20)
        assert proxy.asked.count('PING') == 1


@pytest.mark.parametrize('command', ['PING', 'INFO', 'CONFIG', 'DBSIZE'])
def test_c1_a_command_that_is_done_without_is_named_in_every_view_until_the_session_ends(client, command):
    proxy = Proxy()
    proxy.ANSWERS = dict(Proxy.ANSWERS, INFO=b'$0\r\n\r\n', CONFIG=b'*0\r\n', DBSIZE=b':1\r\n', COMMAND=b'*0\r\n')
    del proxy.ANSWERS[command]
    with serving(proxy) as port:
        connect(client, port, 'Connect')
        client.wait_for_text('#key-count', '1 key found', 20)
        client.wait_for_text('#avoided', 'The server ends the connection at %s:' % command, 20)
        client.wait_for(lambda: hasten(client) or not client.is_shown('#link'), 'a connection')
        client.click('#find')
        client.wait_for_text('#key-count', '1 key found', 20)
        for tab in ('#tab-commands', '#tab-info', '#tab-keys'):
            client.click(tab)
            assert command in client.text('#avoided') and client.is_shown('#avoided')
        assert proxy.asked.count(command) == 1
        client.click('#disconnect')
        client.wait_until_hidden('#avoided')


def test_c1_a_server_that_ends_every_connection_is_none(client):
    with serving(lambda sock: sock.recv(65536)) as port:
        connect(client, port, 'The server has ended the connection at PING')
        assert kind(client) == 'bad' and client.is_shown('#connect')


# -- states of the server ----------------------------------------------------------------------------------------------

def test_states_of_a_server_that_takes_no_changes_are_red_and_keep_what_is_typed(client, redis):
    redis.ask('SET', 'k', 'old')
    log_in(client, redis.port)
    open_key(client, u'k')
    client.fill('#string-value', u'new')
    for begin, end, words in (
            (['REPLICAOF', '127.0.0.1', '1'], ['REPLICAOF', 'NO', 'ONE'], 'read-only replica'),
            (['CONFIG', 'SET', 'maxmemory', '1'], ['CONFIG', 'SET', 'maxmemory', '0'], 'memory limit'),
            (['CONFIG', 'SET', 'min-replicas-to-write', '3'], ['CONFIG', 'SET', 'min-replicas-to-write', '0'],
             'replicas')):
        redis.ask(*begin)
        client.click('#string-save')
        client.wait_for_text('#status', words)
        assert kind(client) == 'bad' and client.value('#string-value') == 'new'
        redis.ask(*end)
    with busy_script(redis):
        client.click('#string-save')
        client.wait_for_text('#status', 'busy with a script')
        assert kind(client) == 'bad' and client.value('#string-value') == 'new'
    client.click('#string-save')
    client.wait_for_text('#status', 'The value was saved.')


def test_states_of_a_server_that_has_too_many_clients_is_told_and_can_be_tried_again(client, redis):
    redis.ask('CONFIG', 'SET', 'maxclients', '1')
    held = socket.create_connection(('127.0.0.1', redis.port), 10)
    try:
        connect(client, redis.port, 'max number of clients reached')
        assert kind(client) == 'bad' and client.is_shown('#connect')
    finally:
        held.close()
    wait_until(lambda: redis.ask('PING') == b'+PONG\r\n')
    log_in(client, redis.port)


# -- how that looks ----------------------------------------------------------------------------------------------------

def test_failures_look_well_and_have_no_flaws(browser, gateway, gallery, redis):
    redis.ask('SET', 'k', 'old')
    redis.ask('HSET', 'h', 'f', 'old')
    redis.ask('ACL', 'SETUSER', 'u', 'on', '>p', '~*', '&*', '+@all')
    with valve(redis.port) as (port, is_open), visited(browser, gateway, 'redis.html') as client:
        log_in_as(client, port, u'u')
        redis.ask('ACL', 'SETUSER', 'u', '-scan')
        client.click('#keys-refresh')
        client.wait_for_text('#key-count', 'stopped by an error')
        gallery.hang(client, 'truth-p1-scan')
        redis.ask('ACL', 'SETUSER', 'u', '+scan')
        open_key(client, u'k')
        client.fill('#string-value', u'typed, and not saved')
        redis.ask('DEL', 'k')
        client.click('#string-save')
        client.wait_for_text('#key-notice', STILL_HERE)
        gallery.hang(client, 'truth-p2-gone')
        client.click('#key-recreate')
        client.wait_for_text('#status', 'created again')
        open_key(client, u'h')
        type_field(client)
        client.press('Escape')
        client.wait_until_shown('#dialog-discard')
        gallery.hang(client, 'truth-p2-discard')
        client.press('Escape')
        redis.ask('DEL', 'h')
        client.click('#dialog-item-submit')
        client.wait_for_text('#dialog-item-status', STILL_HERE)
        gallery.hang(client, 'truth-p2-dialog-gone')
        lock_out(redis)
        client.wait_for_text('#status', STILL_HERE)
        gallery.hang(client, 'truth-p2-session-over')
        client.fill('#target-password', u'q')
        client.click('#connect')
        client.wait_until_hidden('#connect-card')
        client.click('#dialog-item-recreate')
        client.wait_until_hidden('#dialog-item')
        client.click('#tab-commands')
        client.click('#command')
        paste(browser, client, u'SET a 1\nSET b 2')
        client.wait_until_shown('#dialog-lines')
        gallery.hang(client, 'truth-p3-lines')
        client.press('Escape')
        client.wait_until_hidden('#dialog-lines')
        client.click('#tab-keys')
        is_open.clear()
        client.click('#keys-refresh')
        wait_in_vain(client)
        gallery.hang(client, 'truth-p4-wait')
        client.click('#link-renew')
        client.wait_for_text('#link', 'There is no connection')
        gallery.hang(client, 'truth-p4-lost')


def test_failures_at_the_beginning_look_well_and_have_no_flaws(browser, gateway, gallery, redis):
    redis.ask('SET', 'k', 'old')
    redis.ask('ACL', 'SETUSER', 'u', 'on', '>p', '~*', '+@all', '-type')
    with visited(browser, gateway, 'redis.html') as client:
        with serving(OTHERS['HTTP']) as port:
            connect(client, port, 'This is not Redis')
            gallery.hang(client, 'truth-p6-http')
        with serving(Proxy('SCAN')) as port:
            connect(client, port, 'The server has ended the connection at SCAN')
            client.wait_until_hidden('#link')
            client.wait_for_text('#avoided', 'INFO, CONFIG')
            gallery.hang(client, 'truth-c1-scan')
            client.click('#disconnect')
        log_in_as(client, redis.port, u'u')
        client.click('.key-row')
        client.wait_for_text('#key-failure-text', 'was not read')
        gallery.hang(client, 'truth-b6-type')
        client.click('#tab-commands')
        client.fill('#command', u'SUBSCRIBE news')
        client.press('Enter')
        client.wait_for_text('#log', 'Not subscribed.')
        gallery.hang(client, 'truth-p1-subscribe')
    with serving(echo) as port, visited(browser, gateway) as console:
        connect(console, port)
        leave_and_come_back(console)
        console.wait_for_text('#status', '(gateway-lost)', 20)
        gallery.hang(console, 'truth-b4-console')
