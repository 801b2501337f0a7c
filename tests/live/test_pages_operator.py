# -*- coding: utf-8 -*-
"""The operator's view of the Redis page, in Chromium: what is slow, who is there, what all clients send, what is
published, how the server fares, what takes its memory, its configuration and its users."""

import contextlib
import os
import socket
import threading
import time

import pytest

from page_memory import heap_bytes
from page_visits import log_in, submit
from redis_server import resp
from visitor import Tasks, running_gateway_program, visited

pytestmark = pytest.mark.pages

SECRET = 'Corr3ct-h0rse'
HOSTILE = u'<img src=x onerror="watch.scriptsRun++">\u202e'
SHOWN = u'<img src=x onerror="watch.scriptsRun++">\\u{202e}'


@pytest.fixture(scope='module')
def gateway():
    with running_gateway_program() as program:
        yield program


@pytest.fixture
def client(browser, gateway):
    with visited(browser, gateway, 'redis.html') as visitor:
        yield visitor


def open_view(visitor, port):
    """Of a server at this port."""
    log_in(visitor, port)
    visitor.click('#tab-operator')
    visitor.wait_until_shown('#chart-memory')


def rows(visitor, part):
    """Lists of the texts of cells, of the table in a part of the view."""
    return visitor.page.evaluate("""[...document.querySelectorAll('#operator-%s tbody tr')].map(
        row => [...row.cells].map(cell => cell.innerText))""" % part)


def read(visitor, part, words):
    """Have a part of the view read; its rows."""
    visitor.click('#operator-%s-read' % part)
    visitor.wait_for_text('#status', words)
    return rows(visitor, part)


@contextlib.contextmanager
def speaking(redis):
    """A connection of somebody else: a function that sends a command, and gives its reply as it comes."""
    sock = socket.create_connection(('127.0.0.1', redis.port), 10)

    def ask(*words):
        sock.sendall(resp(words))
        return sock.recv(65536)
    try:
        yield ask
    finally:
        sock.close()


def clients_with(redis, words):
    return [line for line in redis.ask('CLIENT', 'LIST').decode('utf-8').splitlines() if words in line]


# -- loading -----------------------------------------------------------------------------------------------------------

def loaded(visitor):
    return visitor.page.evaluate("performance.getEntriesByType('resource').map(({name}) => name.split('/').pop())")


def test_the_view_is_loaded_when_its_tab_is_opened_and_not_before(client, redis):
    log_in(client, redis.port)
    assert 'redis.js' in loaded(client) and 'redis-operator.mjs' not in loaded(client)
    client.click('#tab-operator')
    client.wait_until_shown('#chart-memory')
    assert loaded(client).count('redis-operator.mjs') == 1
    client.wait_for(lambda: client.text('#status') == '', 'a status that tells nothing')


def test_a_view_that_cannot_be_loaded_says_so_and_is_loaded_when_its_tab_is_opened_again(client, redis):
    client.page.listen_to('Network')
    log_in(client, redis.port)
    client.page.call('Network.setBlockedURLs', urls=['*redis-operator-part.mjs'])
    client.click('#tab-operator')
    client.wait_for_text('#status', 'This view could not be loaded')
    client.page.call('Network.setBlockedURLs', urls=[])
    client.click('#tab-info')
    client.click('#tab-operator')
    client.wait_until_shown('#chart-memory')


# -- slow commands -----------------------------------------------------------------------------------------------------

def test_slow_commands_are_shown_the_slowest_first_without_secrets(client, redis):
    redis.ask('CONFIG', 'SET', 'slowlog-log-slower-than', '0')
    redis.ask('SET', HOSTILE, 'v')
    redis.ask('ACL', 'SETUSER', 'ann', '>' + SECRET)
    redis.ask('HELLO', '2', 'AUTH', 'ann', SECRET)
    redis.ask('DEBUG', 'SLEEP', '0.01')
    redis.ask('EVAL', "local n = 0 for i = 1, 3000000 do n = n + i end return 'slow'", '0')
    open_view(client, redis.port)
    found = read(client, 'slow', 'the slowest first')
    assert found[0][2].startswith('EVAL local n = 0') and found[0][0].endswith('ms')
    commands = [command for _, _, command, _ in found]
    assert u'SET %s v' % SHOWN in commands
    assert [one for one in commands if 'SETUSER' in one] == ['ACL SETUSER (the rest is hidden)']
    assert SECRET not in client.page.evaluate('document.documentElement.outerHTML')


# -- clients -----------------------------------------------------------------------------------------------------------

def test_a_client_is_ended_after_a_question_and_the_own_connection_cannot_be(client, redis):
    with speaking(redis) as ask:
        ask('CLIENT', 'SETNAME', 'worker')
        open_view(client, redis.port)
        found = read(client, 'clients', 'clients.')
        assert [row[-1] for row in found if row[1] != 'worker'].count('this page') == 1
        (other,) = [row for row in found if row[1] == 'worker']
        assert (other[2], other[3], other[-1]) == ('default', 'client setname', u'End\u2026')
        number = clients_with(redis, 'name=worker')[0].split()[0].split('=')[1]
        client.click('#operator-kill-' + number)
        client.click('#dialog-kill-cancel')
        client.wait_until_hidden('#dialog-kill')
        assert clients_with(redis, 'name=worker')
        client.click('#operator-kill-' + number)
        submit(client, 'dialog-kill', 'The connection was ended.')
        assert not clients_with(redis, 'name=worker')
        assert 'worker' not in [row[1] for row in rows(client, 'clients')]
        client.click('#tab-keys')
        client.click('#find')
        client.wait_for_text('#status', 'found.')  # over the same connection as before


# -- charts ------------------------------------------------------------------------------------------------------------

def chart(visitor, name):
    """What it says, and the lines that it draws."""
    return visitor.page.evaluate("""(node => [node.querySelector('figcaption').innerText.trim(),
        [...node.querySelectorAll('path')].map(path => path.getAttribute('d'))])(
        document.getElementById('chart-%s'))""" % name)


def test_charts_grow_with_each_reading_of_info(client, redis):
    open_view(client, redis.port)
    assert [chart(client, name)[0].split()[0] for name in ('memory', 'operations', 'clients', 'network', 'hits')] == [
        'Memory', 'Commands', 'Clients', 'Network', 'Reads']
    redis.ask('SET', 'there', 'x')
    redis.ask('EVAL', "for i = 1, 9000 do redis.call('GET', i % 4 == 0 and 'none' or 'there') end return 1", '0')
    client.wait_for(lambda: 'L' in chart(client, 'memory')[1][0], 'a line', 15)
    words, (line,) = chart(client, 'hits')
    assert words == 'Reads that found a key 75.0 %' and line.startswith('M')
    assert len(chart(client, 'network')[1]) == 2


# -- the biggest keys --------------------------------------------------------------------------------------------------

SIZES = """
for i = 1, 3000 do redis.call('SET', 'small:' .. i, 'x') end
redis.call('SET', 'big', string.rep('x', 100000))
for i = 1, 5000 do redis.call('RPUSH', 'bigger', 'element ' .. i .. string.rep('x', 100)) end
return redis.call('DBSIZE')
"""


def test_the_biggest_keys_are_found_and_lead_to_their_values(client, redis):
    assert redis.ask('EVAL', SIZES, '0') == b':3002\r\n'
    open_view(client, redis.port)
    client.click('#operator-biggest-find')
    client.wait_for_text('#status', 'All keys were weighed.', 30)
    assert client.text('#operator-biggest .note').startswith('3,002 keys weighed, ')
    assert [name for _, name in rows(client, 'biggest')[:2]] == ['bigger', 'big']
    assert len(rows(client, 'biggest')) == 100
    client.click('#operator-biggest tbody button')
    client.wait_for_text('#key-title', 'bigger')
    assert client.is_shown('#key-facts')


# -- configuration and users -------------------------------------------------------------------------------------------

def change_setting(visitor, name, value):
    visitor.fill('#operator-settings-filter', name)
    visitor.click('#operator-set-' + name)
    visitor.fill('#setting-value', value)


def test_a_setting_is_changed_and_what_is_secret_is_not_shown(client, redis):
    redis.ask('CONFIG', 'SET', 'masterauth', SECRET)
    open_view(client, redis.port)
    found = dict((name, (value, change)) for name, value, change in read(client, 'settings', 'settings.'))
    assert found['masterauth'] == ('(set, and hidden)', '') and found['maxmemory'] == ('0', u'Change\u2026')
    change_setting(client, 'maxmemory-policy', u'no-such')
    client.click('#dialog-setting-submit')
    client.wait_for_text('#dialog-setting-status', 'ERR')
    client.fill('#setting-value', u'allkeys-lru')
    submit(client, 'dialog-setting', 'settings.')
    assert redis.ask('CONFIG', 'GET', 'maxmemory-policy').startswith(b'*2')
    assert rows(client, 'settings')[0][1] == 'allkeys-lru'
    assert SECRET not in client.page.evaluate('document.documentElement.outerHTML')


def test_users_are_shown_without_passwords_and_their_hashes(client, redis):
    redis.ask('ACL', 'SETUSER', 'ann', 'on', '>' + SECRET, '~app:*', '+get')
    redis.ask('ACL', 'SETUSER', 'bob', 'off')
    hashed = redis.ask('ACL', 'LIST')
    open_view(client, redis.port)
    found = dict((name, (login, rules)) for name, login, rules in read(client, 'users', '3 users.'))
    assert found['ann'][0] == 'by a password' and '~app:*' in found['ann'][1] and '+get' in found['ann'][1]
    assert found['bob'][0] == 'no' and found['default'][0] == 'without a password'
    html = client.page.evaluate('document.documentElement.outerHTML')
    assert hashed and SECRET not in html and '#' not in ''.join(rules for _, rules in found.values())


PARTS = [('slow', 'read'), ('clients', 'read'), ('settings', 'read'), ('users', 'read'), ('biggest', 'find'),
         ('channels', 'read'), ('channels', 'start'), ('monitor', 'start')]


def test_what_a_user_may_not_do_is_told_by_each_part(client, redis):
    redis.ask('ACL', 'SETUSER', 'guest', 'on', 'nopass', '~*', '+@all', '-slowlog', '-client|list', '-config|set',
              '-config|get', '-acl', '-memory', '-pubsub', '-psubscribe', '-monitor')
    client.fill('#target-username', u'guest')
    open_view(client, redis.port)
    for part, action in PARTS:
        client.click('#operator-%s-%s' % (part, action))
        client.wait_for_text('#status', 'permission')
        client.click('#tab-operator')
        client.wait_for(lambda: client.is_shown('#operator-%s-%s' % (part, action)), 'the button to be back')
    redis.ask('ACL', 'SETUSER', 'guest', '+config|get')
    read(client, 'settings', 'settings.')
    change_setting(client, 'timeout', u'100')
    client.click('#dialog-setting-submit')
    client.wait_for_text('#dialog-setting-status', 'permission')
    assert client.value('#setting-value') == '100'


# -- channels ----------------------------------------------------------------------------------------------------------

def test_channels_are_listened_to_until_stop(client, redis):
    with speaking(redis) as ask:
        ask('SUBSCRIBE', 'news.1')
        open_view(client, redis.port)
        client.click('#operator-channels-read')
        client.wait_for_text('#status', 'Channels that somebody listens to: 1.')
        assert rows(client, 'channels-list') == [['news.1', '1']]
    client.fill('#operator-channels-pattern', u'news.*')
    client.click('#operator-channels-start')
    client.wait_for(lambda: redis.ask('PUBSUB', 'NUMPAT') == b':1\r\n', 'a listener')
    assert client.focused() == 'operator-channels-stop'
    redis.ask('PUBLISH', 'other', 'not for us')
    redis.ask('PUBLISH', 'news.2', HOSTILE)
    client.wait_for_text('#operator-channels', 'news.2 ' + SHOWN)
    assert '1 message.' in client.text('#operator-channels') and 'not for us' not in client.text('#operator-channels')
    client.click('#operator-channels-stop')
    client.wait_for(lambda: redis.ask('PUBSUB', 'NUMPAT') == b':0\r\n', 'the listener to go')
    assert client.focused() == 'operator-channels-start'


# -- all commands ------------------------------------------------------------------------------------------------------

RESPONSIVE = 100      # milliseconds
RATE, BATCH = 20000, 200
SECONDS = float(os.environ.get('WS2S_TEST_MONITOR_SECONDS', '4'))
LONGEST = 5.0         # seconds of one trace
MOST_GROWTH = 64 << 20
SECRETS = [('AUTH', SECRET), ('AUTH', 'ann', SECRET), ('HELLO', '2', 'AUTH', 'ann', SECRET),
           ('MIGRATE', '127.0.0.1', '1', 'nokey', '0', '1', 'AUTH', SECRET)]


def discard(sock):
    try:
        while sock.recv(1 << 20):
            pass
    except (IOError, OSError):
        pass  # its other side has closed it


class Load(object):
    """Commands at a steady rate, some with secrets, until the end. ``sent``: how many so far."""

    def __init__(self, redis):
        self._sock = socket.create_connection(('127.0.0.1', redis.port), 10)
        self._over, self.sent = threading.Event(), 0
        self._threads = [threading.Thread(target=self._run), threading.Thread(target=discard, args=(self._sock,))]

    def _run(self):
        begun, number = time.time(), 0
        while not self._over.wait(max(0, begun + self.sent / float(RATE) - time.time())):
            words = [('SET', 'key:%d' % (number * BATCH + i), 'value %d' % i) for i in range(BATCH - len(SECRETS))]
            self._sock.sendall(b''.join(resp(each) for each in words + SECRETS))
            self.sent, number = self.sent + BATCH, number + 1

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        self._threads[0].join()
        self._sock.shutdown(socket.SHUT_WR)
        self._threads[1].join()
        self._sock.close()


LOOK_FOR_SECRETS = """globalThis.seen = {secrets: 0, drawn: 0};
    new MutationObserver(() => {
        const text = document.querySelector('#operator-monitor').textContent;
        seen.drawn++;
        if (text.includes(%r)) seen.secrets++;
    }).observe(document.querySelector('#operator-monitor'), {subtree: true, childList: true, characterData: true});
    0""" % SECRET


def commands_seen(visitor):
    words = visitor.text('#operator-monitor p').split()
    return int(words[0].replace(',', '')) if words else 0


def collected_heap(page):
    page.call('HeapProfiler.collectGarbage')
    return heap_bytes(page)


@pytest.mark.quiet
def test_all_of_20000_commands_a_second_are_watched_and_the_page_answers(browser, measured_client, redis):
    client = measured_client
    redis.ask('ACL', 'SETUSER', 'ann', 'on', '>' + SECRET, '~*', '+@all')
    open_view(client, redis.port)
    client.page.call('Performance.enable')
    client.page.evaluate(LOOK_FOR_SECRETS)
    client.click('#operator-monitor-start')
    client.wait_for(lambda: clients_with(redis, 'cmd=monitor'), 'MONITOR')
    with Load(redis) as load:
        client.wait_for(lambda: commands_seen(client) > RATE, 'a second of commands', 30)
        heap, sizes, longest, end = collected_heap(client.page), [], [], time.time() + SECONDS
        while time.time() < end:
            with Tasks(browser) as tasks:
                time.sleep(min(LONGEST, SECONDS))
            longest.append(tasks.longest())
            sizes.append(collected_heap(client.page))
        hidden = client.text('#operator-monitor pre')
    client.wait_for(lambda: commands_seen(client) >= load.sent, 'all commands', 30)
    print('%d commands; longest task %.0f ms (best %.0f); heap %d MB, then at most %d MB'
          % (load.sent, max(longest), min(longest), heap >> 20, max(sizes) >> 20))
    assert max(longest) < RESPONSIVE
    assert max(sizes) - heap < MOST_GROWTH
    assert '(the rest is hidden)' in hidden
    assert client.page.evaluate('seen.secrets === 0 && seen.drawn > 0')
    client.click('#operator-monitor-stop')
    client.wait_for(lambda: not clients_with(redis, 'cmd=monitor'), 'the connection to go')
    client.wait_for_text('#status', 'The commands are not watched any more.')


LEAVES = [('another view', '#tab-info'), ('the end of the session', '#disconnect')]


@pytest.mark.parametrize('way', [row[1] for row in LEAVES], ids=[row[0] for row in LEAVES])
def test_commands_are_not_watched_any_more_after(client, redis, way):
    open_view(client, redis.port)
    client.click('#operator-monitor-start')
    client.wait_for(lambda: clients_with(redis, 'cmd=monitor'), 'MONITOR')
    client.click(way)
    client.wait_for(lambda: not clients_with(redis, 'cmd=monitor'), 'the connection to go')


def test_the_view_is_used_by_keyboard_alone(client, redis):
    log_in(client, redis.port)
    client.page.evaluate("document.getElementById('tab-keys').focus()")
    client.press('End')
    client.wait_until_shown('#chart-memory')
    visited_ids = []
    while client.focused() != 'operator-monitor-start':
        assert len(visited_ids) < 40, visited_ids
        client.press('Tab')
        visited_ids.append(client.focused())
        if client.focused() == 'operator-settings-read':
            client.press('Enter')
            client.wait_for_text('#status', 'settings.')
            client.press('Tab')
            client.page.insert(u'timeout-is-none-of-these')
    client.press('Enter')
    client.wait_for(lambda: clients_with(redis, 'cmd=monitor'), 'MONITOR')
    assert client.focused() == 'operator-monitor-stop'
    client.press('Enter')
    client.wait_for(lambda: not clients_with(redis, 'cmd=monitor'), 'the connection to go')
    assert client.focused() == 'operator-monitor-start'


# -- looks -------------------------------------------------------------------------------------------------------------

def test_the_view_looks_well_and_has_no_flaws(client, redis, gallery):
    redis.ask('CONFIG', 'SET', 'slowlog-log-slower-than', '0')
    for number in range(5):
        redis.ask('SET', 'key %d' % number, 'x')
    redis.ask('ACL', 'SETUSER', 'ann', 'on', '>' + SECRET, '~app:*', '+get')
    open_view(client, redis.port)
    with speaking(redis) as ask:
        ask('CLIENT', 'SETNAME', 'worker')
        for part, words in (('slow', 'slowest'), ('clients', 'clients.'), ('settings', 'settings.'),
                            ('users', 'users.'), ('channels', 'listens')):
            client.click('#operator-%s-read' % part)
            client.wait_for_text('#status', words)
        client.click('#operator-biggest-find')
        client.wait_for_text('#status', 'All keys were weighed.', 30)
        client.fill('#operator-settings-filter', u'maxmemory')
        client.click('#operator-monitor-start')
        client.click('#operator-channels-start')
        client.wait_for(lambda: redis.ask('PUBSUB', 'NUMPAT') == b':1\r\n', 'a listener')
        client.wait_for(lambda: b'cmd=monitor' in redis.ask('CLIENT', 'LIST'), 'a monitor')
        redis.ask('PUBLISH', 'news', HOSTILE)
        redis.ask('SET', HOSTILE, u'caf\xe9')
        client.wait_for_text('#operator-channels', 'news')
        client.wait_for_text('#operator-monitor', 'caf')
        gallery.hang(client, 'redis-operator-all')
        client.click('#operator-set-maxmemory')
        gallery.hang(client, 'redis-operator-setting')
        client.click('#dialog-setting-cancel')
        client.click('#operator-clients td button')
        gallery.hang(client, 'redis-operator-kill')
        client.click('#dialog-kill-cancel')
        redis.ask('ACL', 'SETUSER', 'default', '-slowlog')
        client.click('#operator-slow-read')
        client.wait_for_text('#status', 'permission')
        gallery.hang(client, 'redis-operator-refused')
