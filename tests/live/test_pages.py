# -*- coding: utf-8 -*-
"""The two pages that come with ws2s, the console and the Redis client, used by a Visitor in Chromium."""

import threading

import pytest

from page_visits import connect, fill_target, hasten, log_in, open_key, run_command, submit, tab_to
from redis_server import running_redis
from ssh_server import make_key, running_sshd, some_account
from targets import closed_port, echo, saying, serving, silent_port, when
from visitor import Tasks, running_gateway_program, visited
from waiting import wait_until, wait_until_still

pytestmark = pytest.mark.pages

HOSTILE = u'<img src=x onerror="stolen(1)"><script>stolen(2)</script>\u202etxt.exe\u2066\x00\x1b[31m\u200b'
SHOWN = u'<img src=x onerror="stolen(1)"><script>stolen(2)</script>\\u{202e}txt.exe\\u{2066}\\x00\\x1b[31m\\u{200b}'
RESPONSIVE = 500  # milliseconds: a page that does nothing else for longer feels stuck
PASSWORD, PASSPHRASE = u'Corr3ct-h0rse', u'battery-st4ple'


# -- what the tests need -----------------------------------------------------------------------------------------------

@pytest.fixture(scope='module')
def gateway():
    with running_gateway_program() as program:
        yield program


@pytest.fixture
def own_gateway():
    """For one test: what its ssh leaves is gone with it."""
    with running_gateway_program() as program:
        yield program


@pytest.fixture(scope='module')
def account():
    with some_account() as account:
        yield account


@pytest.fixture(scope='module')
def sshd(account):
    with running_sshd(account) as server:
        yield server


@pytest.fixture(scope='module')
def key(sshd):
    """One that the SSH server takes."""
    return sshd.authorize(make_key(sshd.folder, passphrase=PASSPHRASE))


@pytest.fixture
def echo_port():
    with serving(echo) as port:
        yield port


def fill_ssh(visitor, server, **fields):
    """``fields`` by the end of their id: password, private_key, passphrase."""
    visitor.open('#target-ssh-section')
    fields = dict({'host': '127.0.0.1', 'port': str(server.port), 'username': server.account.name,
                   'password': u'', 'private_key': u'', 'passphrase': u''}, **fields)
    for name, value in sorted(fields.items()):
        visitor.fill('#target-ssh-' + name.replace('_', '-'), value)


# -- the console -------------------------------------------------------------------------------------------------------

def send(visitor, text):
    visitor.fill('#input', text)
    visitor.press('Enter')


def test_console_is_what_the_gateway_shows_first(console):
    assert console.page.evaluate('document.title') == 'ws2s console'


def test_console_sends_lines_and_shows_what_comes_back(console, echo_port):
    connect(console, echo_port)
    assert console.focused() == 'input'
    send(console, u'h\xe9llo')
    console.wait_for_text('#totals', 'received 7 bytes')
    assert console.texts('.entry.received .body') == [u'h\xe9llo\n']
    console.click('#disconnect')
    console.wait_for_text('#status', 'Disconnected.')


def test_console_sends_hex_and_shows_a_dump(console, echo_port):
    connect(console, echo_port)
    console.choose('#mode', 'hex')
    send(console, u'00 ff 0x41')
    console.wait_for_text('#totals', 'received 3 bytes')
    console.choose('#view', 'hex')
    console.wait_for(lambda: console.texts('.entry.received .body')[0].startswith('00000000  00 ff 41 '), 'a dump')
    send(console, u'x')
    console.wait_for_text('#send-status', 'not a hexadecimal digit')


def test_console_shows_the_end_by_the_target(console):
    with serving(saying(b'bye')) as port:
        fill_target(console, port)
        console.click('#connect')
        console.wait_for_text('#status', 'The target has closed the connection. (closed)')
        console.wait_for_text('#entries', 'received')
    assert console.texts('.entry.received .body') == ['bye']


FIELDS = [('', '80', 'Which host?', 'target-host'), ('x', '', 'A port is a number', 'target-port'),
          ('x', '65536', 'A port is a number', 'target-port'),
          ('http://x/', '80', 'A host is a name or an address', 'target-host')]


def test_console_leads_to_a_field_that_makes_no_sense(console):
    for host, port, words, focused in FIELDS:
        connect(console, port, words, host)
        assert console.focused() == focused, (host, port)


def test_console_tells_that_nothing_listens(console):
    assert '(refused)' in connect(console, closed_port(), 'nothing listens on this port')


def test_console_tells_who_must_allow_a_forbidden_target(browser, echo_port):
    with running_gateway_program(arguments=()) as gateway, visited(browser, gateway) as console:
        assert '--allow-local (forbidden)' in connect(console, echo_port, 'Whoever runs the gateway can allow that')


def test_console_connects_again_after_the_gateway_has_begun_again(browser, echo_port):
    with running_gateway_program() as first, visited(browser, first) as console:
        port = first.address[1]
        connect(console, echo_port)
        first.end()
        console.wait_for_text('#status', '(gateway-lost)')
        console.click('#connect')
        console.wait_for_text('#status', '(gateway-unreachable)')
        with running_gateway_program(port=port):
            console.click('#connect')
            console.wait_for_text('#status', 'Connected to')
            send(console, u'again')
            console.wait_for_text('#entries', 'received')


def test_console_can_stop_connecting(console):
    with silent_port() as port:
        connect(console, port, 'Connecting to')
        console.click('#cancel')
        console.wait_for_text('#status', 'Cancelled.')
    assert console.focused() == 'connect'


def test_console_pauses_a_target_that_says_too_much(console):
    flood = b'x' * 65536
    told = []

    def say(sock):
        while True:
            sock.sendall(flood)
            told.append(len(flood))

    with serving(say) as port:
        connect(console, port)
        console.click('#pause')
        assert wait_until_still(lambda: len(told)) > 0
        paused = len(told)
        console.click('#pause')
        wait_until(lambda: len(told) > paused + 200)
        console.click('#disconnect')
        console.wait_for_text('#status', 'Disconnected.')


def test_console_brings_back_what_was_sent(console, echo_port):
    connect(console, echo_port)
    for words in (u'one', u'two'):
        send(console, words)
    console.press('ArrowUp')
    console.press('ArrowUp')
    assert console.value('#input') == 'one'


def test_console_can_be_used_by_keyboard_alone(console, echo_port):
    tab_to(console, 'target-host')
    console.insert(u'127.0.0.1')
    tab_to(console, 'target-port')
    console.insert(str(echo_port))
    console.press('Enter')
    console.wait_for(lambda: console.focused() == 'input', 'the line to have the focus')
    console.insert(u'hello')
    console.press('Enter')
    console.wait_for_text('#totals', 'received 6 bytes')


def test_console_shows_hostile_bytes_as_text(console):
    with serving(saying(HOSTILE.encode('utf-8') + b'\xff', echo)) as port:
        connect(console, port)
        for view, shown in (('colour', SHOWN.replace(u'\\x1b[31m', u'')), ('text', SHOWN)):
            console.choose('#view', view)
            console.wait_for(lambda: console.texts('.entry.received .body') == [shown + u'\\xff'], 'the ' + view)
    assert console.page.evaluate('document.querySelector("main img, main script")') is None


@pytest.mark.quiet
@pytest.mark.parametrize('data', [b'x' * 10000000, b'x\n' * 5000000, u'\u202e\u0301'.encode('utf-8') * 2000000],
                         ids=['one line', 'many lines', 'marks'])
def test_console_stays_responsive_in_a_flood(browser, gateway, data):
    go = threading.Event()
    with serving(when(go, saying(data, echo))) as port, visited(browser, gateway, sees_network=False) as console:
        connect(console, port)
        with Tasks(browser) as tasks:
            go.set()
            console.wait_for_text('#totals', 'received 10.0 MB', 20)
            send(console, u'still there')
            console.wait_for_text('#entries', 'still there')
        assert tasks.longest() < RESPONSIVE


def test_console_saves_the_transcript(browser, console, echo_port):
    connect(console, echo_port)
    send(console, u'h\xe9llo')
    console.wait_for_text('#totals', 'received 7 bytes')
    text = console.save(browser, '#save')
    assert u' sent 7 bytes\nh\xe9llo\n' in text and u' received 7 bytes\nh\xe9llo\n' in text


# -- the Redis client --------------------------------------------------------------------------------------------------

@pytest.fixture(scope='module')
def shared_redis():
    with running_redis() as server:
        yield server


@pytest.fixture
def redis(shared_redis):
    """Without any keys."""
    assert shared_redis.ask('FLUSHALL') == b'+OK\r\n'
    return shared_redis


@pytest.fixture
def own_redis():
    """For one test, which may change its settings."""
    with running_redis() as server:
        yield server


@pytest.fixture
def client(browser, gateway):
    """The page, before it is connected."""
    with visited(browser, gateway, 'redis.html') as visitor:
        yield visitor


def test_redis_page_sets_and_gets_at_the_command_line(client, redis):
    log_in(client, redis.port)
    assert run_command(client, u'SET greeting "gr\xfc\xdf dich"') == 'OK'
    assert run_command(client, u'get greeting') == u'"gr\xfc\xdf dich"'
    assert redis.ask('GET', 'greeting') == u'gr\xfc\xdf dich'.encode('utf-8')


def test_redis_page_completes_commands_and_brings_back_lines(client, redis):
    log_in(client, redis.port)
    run_command(client, u'PING')
    client.fill('#command', u'hgeta')
    client.press('Tab')
    assert client.value('#command') == 'HGETALL '
    client.fill('#command', u'')
    client.press('ArrowUp')
    assert client.value('#command') == 'PING'


def test_redis_page_shows_the_messages_of_a_channel(client, redis):
    log_in(client, redis.port)
    client.click('#tab-commands')
    client.fill('#command', u'SUBSCRIBE news')
    client.press('Enter')
    client.wait_for_text('#log', 'Subscribed to the channel news')
    redis.ask('PUBLISH', 'news', HOSTILE.encode('utf-8'))
    client.wait_for_text('#log', SHOWN)


MANY_MESSAGES = "for i = 1, 20000 do redis.call('PUBLISH', 'news', 'number ' .. i .. '.') end return 'sent'"


@pytest.mark.quiet
def test_redis_page_stays_responsive_when_many_messages_come(browser, measured_client, redis):
    client = measured_client
    log_in(client, redis.port)
    client.click('#tab-commands')
    client.fill('#command', u'SUBSCRIBE news')
    client.press('Enter')
    client.wait_for_text('#log', 'Subscribed to the channel news')
    with Tasks(browser) as tasks:
        assert redis.ask('EVAL', MANY_MESSAGES, '0') == b'sent'
        client.wait_for_text('#log', 'number 20000.', 30)
    assert tasks.longest() < RESPONSIVE
    assert client.page.evaluate('document.querySelectorAll(".messages > div").length') == 500


ERRORS = [(u'LPUSH text x', '(error) WRONGTYPE'), (u'NOSUCH', '(error) ERR unknown command'), (u'GET "x', 'quote'),
          (u'MONITOR', 'not offered here')]


def test_redis_page_shows_the_error_of_a_command(client, redis):
    redis.ask('SET', 'text', 'x')
    log_in(client, redis.port)
    for line, words in ERRORS:
        assert words in run_command(client, line)


def test_redis_page_logs_in_and_goes_to_a_database(client, own_redis):
    own_redis.ask('CONFIG', 'SET', 'requirepass', PASSWORD)
    client.fill('#target-password', PASSWORD)
    client.fill('#target-db', '3')
    log_in(client, own_redis.port)
    assert client.value('#db') == '3'
    assert run_command(client, u'CLIENT INFO').count(' db=3 ') == 1
    assert PASSWORD not in client.stored()
    assert str(own_redis.port) in client.stored()


def test_redis_page_neither_shows_nor_brings_back_a_password_of_the_command_line(client, own_redis):
    log_in(client, own_redis.port)
    run_command(client, u'PING')
    run_command(client, u'AUTH ' + PASSWORD)
    run_command(client, u'CONFIG SET requirepass ' + PASSWORD)
    assert PASSWORD not in client.text('body') + client.stored()
    client.press('ArrowUp')
    assert client.value('#command') == 'PING'


LOGINS = [('no password', None, 'Redis wants a password'), ('a wrong one', u'wr0ng', 'does not accept this')]


@pytest.mark.parametrize('password, words', [row[1:] for row in LOGINS], ids=[row[0] for row in LOGINS])
def test_redis_page_tells_that_a_login_failed(client, own_redis, password, words):
    own_redis.ask('CONFIG', 'SET', 'requirepass', PASSWORD)
    if password:
        client.fill('#target-password', password)
    connect(client, own_redis.port, words)


def test_redis_page_tells_that_nothing_listens(client):
    assert '(refused)' in connect(client, closed_port(), 'nothing listens on this port')


HUNDRED_THOUSAND_KEYS = """
for i = 1, 100000 do redis.call('SET', 'key:' .. string.format('%06d', i), i) end
return redis.call('DBSIZE')
"""


@pytest.mark.quiet
def test_redis_page_browses_100000_keys_and_stays_responsive(browser, measured_client, redis):
    client = measured_client
    assert redis.ask('EVAL', HUNDRED_THOUSAND_KEYS, '0') == b':100000\r\n'
    with Tasks(browser) as tasks:
        log_in(client, redis.port)
        client.wait_for_text('#key-count', '100,000 keys found, 100,000 in the database', 30)
        assert client.texts('.key-name')[0] == 'key:000001'
        assert client.page.evaluate('document.querySelectorAll(".key-row").length') < 200
        client.click('#key-list')
        client.press('End')
        client.wait_for(lambda: 'key:100000' in client.texts('.key-name'), 'the last key')
        client.fill('#pattern', u'key:0777??')
        client.click('#find')
        client.wait_for_text('#key-count', '100 keys found, 100,000 in the database', 30)
    assert tasks.longest() < RESPONSIVE


def edit_string(client):
    client.fill('#string-value', u'new')
    client.click('#string-save')
    client.wait_for_text('#status', 'The value was saved.')


def edit_field(client):
    client.click('[data-action=edit]')
    client.fill('#item-value', u'new')
    submit(client, 'dialog-item', 'The field was saved.')


def edit_item(client):
    client.click('[data-action=edit]')
    client.fill('#item-value', u'new')
    submit(client, 'dialog-item', 'The item was saved.')


def edit_set(client):
    client.click('#add-member')
    client.fill('#item-value', u'new')
    submit(client, 'dialog-item', 'The member was added.')


def edit_score(client):
    client.click('[data-action=edit]')
    client.fill('#item-score', u'2.5')
    submit(client, 'dialog-item', 'The score was saved.')


def edit_stream(client):
    client.click('#add-entry')
    client.fill('#item-field-1', u'f')
    client.fill('#item-value-1', u'new')
    submit(client, 'dialog-item', 'was added')


TYPES = {
    'string': (['SET', 'k', 'old'], edit_string, ['GET', 'k'], b'new'),
    'hash': (['HSET', 'k', 'f', 'old'], edit_field, ['HGET', 'k', 'f'], b'new'),
    'list': (['RPUSH', 'k', 'old', 'other'], edit_item, ['LINDEX', 'k', '0'], b'new'),
    'set': (['SADD', 'k', 'old'], edit_set, ['SISMEMBER', 'k', 'new'], b':1\r\n'),
    'zset': (['ZADD', 'k', '1', 'm'], edit_score, ['ZSCORE', 'k', 'm'], b'2.5'),
    'stream': (['XADD', 'k', '*', 'f', 'old'], edit_stream, ['XLEN', 'k'], b':2\r\n'),
}


def of_key(name, words):
    return [name if word == 'k' else word for word in words]


def key_of_type(name):
    return u'of type ' + name


def open_another_key(client, name):
    open_key(client, name)
    client.wait_for_text('#status', name + ': ')


def test_redis_page_edits_keys_of_every_type(client, redis):
    for name in sorted(TYPES):
        redis.ask(*of_key(key_of_type(name), TYPES[name][0]))
    log_in(client, redis.port)
    for name in sorted(TYPES):
        _, edit, ask, answer = TYPES[name]
        open_another_key(client, key_of_type(name))
        edit(client)
        assert redis.ask(*of_key(key_of_type(name), ask)) == answer, name


def test_redis_page_removes_rows_of_every_type(client, redis):
    names = ('hash', 'list', 'set', 'zset', 'stream')
    for name in names:
        begin = of_key(key_of_type(name), TYPES[name][0])
        redis.ask(*begin)
        redis.ask(*[b'more' if word in ('f', 'old', 'm') and name != 'stream' else word for word in begin])
    log_in(client, redis.port)
    for name in names:
        open_another_key(client, key_of_type(name))
        before = len(client.texts('#rows tr'))
        client.click('[data-action=remove]')
        submit(client, 'dialog-remove', 'was removed')
        client.wait_for(lambda: len(client.texts('#rows tr')) == before - 1, 'one row less')


def test_redis_page_turns_the_pages_of_a_long_list(client, redis):
    redis.ask('RPUSH', 'long', *['item%d' % i for i in range(250)])
    log_in(client, redis.port)
    open_key(client, u'long')
    client.wait_for_text('#rows-note', u'1\u2013100 of 250')
    client.click('#rows-last')
    client.wait_for_text('#rows-note', u'201\u2013250 of 250')
    assert 'item249' in client.texts('#rows tr')[-1]


def test_redis_page_makes_renames_limits_and_deletes_a_key(client, redis):
    log_in(client, redis.port)
    client.wait_for_text('#status', 'No key was found.')
    client.click('#key-new')
    client.wait_for(lambda: client.focused() == 'new-name', 'the name to have the focus')
    client.insert(u'fresh')
    client.fill('#item-value', u'1')
    client.click('#dialog-new-submit')
    client.wait_for_text('#key-title', 'fresh')
    client.click('#key-rename')
    client.fill('#rename-name', u'stale')
    submit(client, 'dialog-rename', 'The key was renamed.')
    client.click('#key-ttl')
    client.fill('#ttl-time', u'1000')
    submit(client, 'dialog-ttl', 'The time to live was set.')
    assert 990 < int(redis.ask('TTL', 'stale')[1:]) <= 1000
    client.click('#key-delete')
    client.wait_for(lambda: client.focused() == 'dialog-delete-cancel', 'the way out to have the focus')
    client.press('Enter')
    client.wait_until_hidden('#dialog-delete')
    assert redis.ask('EXISTS', 'stale') == b':1\r\n'
    client.click('#key-delete')
    submit(client, 'dialog-delete', 'The key was deleted.')
    assert redis.ask('DBSIZE') == b':0\r\n'


def test_redis_page_can_be_used_by_keyboard_alone(client, redis):
    redis.ask('SET', 'first', '1')
    redis.ask('SET', 'second', '2')
    tab_to(client, 'target-port')
    client.page.evaluate('document.activeElement.select()')
    client.insert(str(redis.port))
    client.press('Enter')
    client.wait_for(lambda: client.focused() == 'pattern', 'the pattern to have the focus')
    client.wait_for_text('#status', '2 keys found.')
    tab_to(client, 'key-list')
    client.press('ArrowDown')
    client.press('ArrowDown')
    client.press('Enter')
    client.wait_for(lambda: client.focused() == 'key-title', 'the key to have the focus')
    assert client.text('#key-title') == 'second'
    tab_to(client, 'key-delete')
    client.press('Enter')
    client.wait_for(lambda: client.focused() == 'dialog-delete-cancel', 'the way out to have the focus')
    client.press('Escape')
    client.wait_for(lambda: client.focused() == 'key-delete', 'the focus to come back')


def test_redis_page_takes_a_click_on_a_row_though_the_list_changes_while_the_button_is_down(client, redis):
    redis.ask('SET', 'k', 'old')
    log_in(client, redis.port)
    spot = client.spot('.key-row')
    client.page.mouse('mousePressed', **spot)
    client.page.evaluate("document.querySelector('#key-list').dispatchEvent(new Event('scroll')); 0")
    client.page.mouse('mouseReleased', **spot)
    client.wait_for_text('#key-title', 'k')


def test_redis_page_does_not_overwrite_what_somebody_else_has_changed(client, redis):
    redis.ask('SET', 'k', 'old')
    log_in(client, redis.port)
    open_key(client, u'k')
    redis.ask('SET', 'k', 'of somebody else')
    client.fill('#string-value', u'mine')
    client.click('#string-save')
    client.wait_for_text('#status', 'changed')
    assert redis.ask('GET', 'k') == b'of somebody else'


def test_redis_page_tells_why_a_change_was_refused(client, own_redis):
    own_redis.ask('SET', 'k', 'old')
    log_in(client, own_redis.port)
    open_key(client, u'k')
    own_redis.ask('CONFIG', 'SET', 'maxmemory', '1')
    client.fill('#string-value', u'new')
    client.click('#string-save')
    client.wait_for_text('#status', 'memory limit')


def test_redis_page_connects_again_by_itself(browser, redis):
    redis.ask('SET', 'k', 'old')
    with running_gateway_program() as first, visited(browser, first, 'redis.html') as client:
        port = first.address[1]
        log_in(client, redis.port)
        open_key(client, u'k')
        first.end()
        client.wait_for_text('#status', 'The connection is lost, and tried again.')
        with running_gateway_program(port=port):
            client.wait_for(lambda: hasten(client) or 'the key was read anew' in client.text('#status'), 'the key', 30)
            edit_string(client)
    assert redis.ask('GET', 'k') == b'new'


def test_redis_page_shows_the_figures_of_the_server(client, redis):
    log_in(client, redis.port)
    client.click('#tab-info')
    client.wait_until_shown('#info-memory')
    assert len(client.texts('#info-cards > section')) > 5


HOSTILE_KEYS = {
    'string': lambda name: ['SET', name, name], 'hash': lambda name: ['HSET', name, name, name],
    'list': lambda name: ['RPUSH', name, name], 'set': lambda name: ['SADD', name, name],
    'zset': lambda name: ['ZADD', name, '1', name], 'stream': lambda name: ['XADD', name, '*', name, name],
}


def test_redis_page_shows_a_hostile_name_and_value_as_text(client, redis):
    log_in(client, redis.port)
    for name in sorted(HOSTILE_KEYS):
        redis.ask('FLUSHALL')
        redis.ask(*HOSTILE_KEYS[name](HOSTILE.encode('utf-8') + b'\xff'))
        open_key(client, u'*')
        client.wait_for_text('#status', ': %s, ' % {'zset': 'sorted set'}.get(name, name))
        assert SHOWN in client.text('#key-list') and SHOWN in client.text('#key-title')
        assert SHOWN in (client.value('#string-value') if name == 'string' else client.text('#rows'))
    assert SHOWN.replace('"', '\\"') in run_command(client, u'KEYS *')
    assert client.page.evaluate('document.querySelector("main img, main script")') is None


@pytest.mark.quiet
def test_redis_page_stays_responsive_with_a_name_and_a_value_of_10_megabytes(browser, measured_client, redis):
    client = measured_client
    assert redis.ask('SET', b'<b>' * 3333333, b'\xe2\x80\xae\n' * 2500000) == b'+OK\r\n'
    with Tasks(browser) as tasks:
        log_in(client, redis.port)
        open_key(client, u'*')
        client.wait_for_text('#key-facts', '10,000,000 bytes')
        assert len(client.text('body')) < 300000
        assert len(client.value('#string-value')) < 1000000
        run_command(client, u'KEYS *')
    assert tasks.longest() < RESPONSIVE


# -- through an SSH server ---------------------------------------------------------------------------------------------

@pytest.fixture
def ssh_console(browser, own_gateway):
    with visited(browser, own_gateway) as visitor:
        yield visitor


@pytest.fixture
def ssh_client(browser, own_gateway):
    with visited(browser, own_gateway, 'redis.html') as visitor:
        yield visitor


def test_console_connects_through_ssh_and_keeps_no_secret(browser, ssh_console, sshd, key, echo_port):
    password = sshd.account.set_password(PASSWORD)
    fill_ssh(ssh_console, sshd, password=password, private_key=key.text, passphrase=PASSPHRASE)
    connect(ssh_console, echo_port)
    send(ssh_console, u'hello')
    ssh_console.wait_for_text('#totals', 'received 6 bytes')
    transcript = ssh_console.save(browser, '#save')
    body = key.text.split('\n')[1]
    for secret in (PASSWORD, PASSPHRASE, body):
        assert secret not in ssh_console.stored() + transcript
    assert 'through the SSH server 127.0.0.1:%d' % sshd.port in transcript
    assert str(echo_port) in ssh_console.stored() and sshd.account.name in ssh_console.stored()


def test_console_reads_a_key_from_a_file(ssh_console, sshd, key, echo_port):
    fill_ssh(ssh_console, sshd, passphrase=PASSPHRASE)
    ssh_console.put_file('#target-ssh-key-file', key.path)
    ssh_console.wait_for_text('#target-ssh-key-file-status', 'The key was read')
    connect(ssh_console, echo_port)


WRONG = {'password': {'password': u'not this one'}, 'passphrase': {'passphrase': u'not this one'}, 'key': {}}
# The server does not know the key, so that its passphrase is never asked for.
REFUSED_LOGIN = 'The SSH server did not accept the login'


def fill_wrong_login(visitor, server, what):
    fields = dict(WRONG[what])
    if what != 'password':
        fields['private_key'] = make_key(server.folder, passphrase=u'another').text
        fields.setdefault('passphrase', u'another')
    fill_ssh(visitor, server, **fields)


def test_console_tells_that_an_ssh_login_failed_or_that_the_server_is_not_there(ssh_console, sshd, echo_port):
    for what in sorted(WRONG):
        fill_wrong_login(ssh_console, sshd, what)
        assert '(ssh-auth)' in connect(ssh_console, echo_port, REFUSED_LOGIN), what
    fill_ssh(ssh_console, sshd, port=str(closed_port()), password=u'x')
    connect(ssh_console, echo_port, '(ssh-unreachable)')


def test_redis_page_connects_through_ssh_and_keeps_no_secret(ssh_client, sshd, key, own_redis):
    own_redis.ask('SET', 'k', 'behind')
    own_redis.ask('CONFIG', 'SET', 'requirepass', u'of-redis')
    ssh_client.fill('#target-password', u'of-redis')
    fill_ssh(ssh_client, sshd, private_key=key.text, passphrase=PASSPHRASE)
    log_in(ssh_client, own_redis.port)
    assert run_command(ssh_client, u'GET k') == '"behind"'
    for secret in (u'of-redis', PASSPHRASE, key.text.split('\n')[1]):
        assert secret not in ssh_client.stored()
    assert sshd.account.name in ssh_client.stored()


def test_redis_page_tells_that_an_ssh_login_failed(ssh_client, sshd, redis):
    fill_wrong_login(ssh_client, sshd, 'password')
    assert '(ssh-auth)' in connect(ssh_client, redis.port, REFUSED_LOGIN)


# -- how the pages look ------------------------------------------------------------------------------------------------

def test_a_flaw_would_be_found(console):
    """Or else the other tests could not fail."""
    assert console.breaches() == []
    console.page.evaluate('document.querySelector("main").append(document.createElement("img")); 0')
    assert [name for name, _, _ in console.breaches()] == ['image-alt']


def test_console_looks_well_and_has_no_flaws(browser, gateway, gallery, echo_port):
    with visited(browser, gateway) as console:
        gallery.hang(console, 'console-begin')
        with silent_port() as port:
            connect(console, port, 'Connecting to')
            gallery.hang(console, 'console-connecting')
            console.click('#cancel')
            console.wait_for_text('#status', 'Cancelled.')
        console.open('#target-ssh-section')
        console.open('#target-gateway-section')
        connect(console, closed_port(), '(refused)')
        gallery.hang(console, 'console-refused')
        connect(console, '', 'A port is')
        gallery.hang(console, 'console-wrong-field')
        connect(console, echo_port)
        send(console, HOSTILE)
        send(console, u'a line of plain words, long enough to be broken in a narrow window, ' * 3)
        console.wait_for_text('#totals', 'received')
        gallery.hang(console, 'console-connected')
        console.choose('#view', 'hex')
        console.choose('#mode', 'hex')
        send(console, u'0')
        gallery.hang(console, 'console-hex')


@pytest.fixture
def filled_redis(own_redis):
    """With a key of each type, one of odd bytes, and one that is hostile."""
    for name in sorted(TYPES):
        own_redis.ask(*of_key(key_of_type(name), TYPES[name][0]))
    own_redis.ask('HSET', 'of type hash', HOSTILE.encode('utf-8'), 'a value of some length, ' * 20)
    own_redis.ask('SET', HOSTILE.encode('utf-8'), u'gr\xfc\xdfe\n'.encode('utf-8') * 30)
    own_redis.ask('SET', 'bytes', bytes(bytearray(range(256))))
    return own_redis


def hang_dialogs(client, gallery, *names):
    """Of the buttons that open them."""
    for button, name in names:
        client.click(button)
        client.wait_until_shown('#dialog-' + name)
        gallery.hang(client, 'redis-dialog-' + name)
        client.click('#dialog-%s-cancel' % name)


def test_the_list_of_keys_looks_well_and_has_no_flaws(client, gallery, filled_redis):
    gallery.hang(client, 'redis-begin')
    client.open('#target-ssh-section')
    connect(client, closed_port(), '(refused)')
    gallery.hang(client, 'redis-refused')
    log_in(client, filled_redis.port)
    client.wait_for_text('#key-count', '8 keys found')
    gallery.hang(client, 'redis-keys')
    client.choose('#key-order', 'tree')
    client.fill('#key-separator', u' ')
    client.click('.key-row.folder')
    client.click('#keys-mark')
    client.click('.key-row:not(.folder)')
    client.wait_for_text('#keys-marked', '1 key marked')
    gallery.hang(client, 'redis-tree')
    hang_dialogs(client, gallery, ('#keys-many', 'many'), ('#keys-import', 'import'))


def test_keys_of_every_type_look_well_and_have_no_flaws(client, gallery, filled_redis):
    log_in(client, filled_redis.port)
    for pattern in [key_of_type(name) for name in sorted(TYPES)] + [u'bytes', u'<*']:
        open_key(client, pattern)
        gallery.hang(client, 'redis-key-' + pattern.replace('<*', 'hostile').replace(' ', '-'))


def test_dialogs_and_the_other_views_look_well_and_have_no_flaws(client, gallery, filled_redis):
    log_in(client, filled_redis.port)
    open_key(client, u'of type hash')
    hang_dialogs(client, gallery, ('#key-delete', 'delete'), ('#key-ttl', 'ttl'), ('#key-rename', 'rename'),
                 ('#key-new', 'new'), ('[data-action=edit]', 'item'))
    run_command(client, u'HGETALL "of type hash"')
    run_command(client, u'LPUSH bytes x')
    client.fill('#command', u'get')
    gallery.hang(client, 'redis-commands')
    client.press('Escape')
    client.click('#tab-info')
    client.wait_until_shown('#info-memory')
    gallery.hang(client, 'redis-info')
    client.click('#tab-operator')
    client.wait_until_shown('#chart-memory')
    gallery.hang(client, 'redis-operator')
    filled_redis.end()
    client.wait_for_text('#status', 'tried again')
    gallery.hang(client, 'redis-lost')
