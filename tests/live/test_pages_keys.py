# -*- coding: utf-8 -*-
"""Many keys on the Redis page, in Chromium: found, as a tree, changed together, in files, and where nothing may be
changed."""

import io
import json
import os

import pytest

from distance import way_to
from page_visits import connect, log_in, open_key, submit, tab_to
from visitor import Tasks, running_gateway_program, visited

pytestmark = pytest.mark.pages

RESPONSIVE = 100  # milliseconds
TRIALS = 3        # of what takes its time: others may use the machine, too
MANY = """
for i = 1, 100000 do
  local kind = i % 2 == 0 and 'even' or 'odd'
  redis.call('SET', kind .. ':' .. (i % 100) .. ':' .. string.format('%06d', i), i)
end
return redis.call('DBSIZE')
"""


@pytest.fixture(scope='module')
def gateway():
    with running_gateway_program() as program:
        yield program


@pytest.fixture
def client(browser, gateway):
    with visited(browser, gateway, 'redis.html', sees_network=False) as visitor:
        yield visitor


def fill_with_many(redis):
    assert redis.ask('EVAL', MANY, '0') == b':100000\r\n'


# -- finding -----------------------------------------------------------------------------------------------------------

SECONDS = """(async () => {
    const begun = performance.now();
    %s;
    while (!(%s)) await new Promise(requestAnimationFrame);
    await new Promise(requestAnimationFrame);
    return (performance.now() - begun) / 1000;
})()"""
FIND = "document.getElementById('pattern').value = '%s'; document.getElementById('find').click()"
CHOOSE = "document.getElementById('key-order').value = '%s'; " \
    "document.getElementById('key-order').dispatchEvent(new Event('change'))"
FIRST = "document.querySelector('.key-name')?.textContent === '%s'"


def seconds_until(client, action, condition):
    """From the action to a frame after the condition, as the page measures that; both are JavaScript."""
    return client.page.evaluate(SECONDS % (action, condition))


@pytest.mark.quiet
def test_a_full_name_among_100000_keys_at_100_ms_is_offered_within_a_second(client, redis):
    fill_with_many(redis)
    with way_to(redis.port) as way:
        way.seconds = 0.1
        connect(client, way.port)
        names = ['odd:77:%05d7' % (7 + 10 * i) for i in range(TRIALS)]
        times = [seconds_until(client, FIND % name, "document.getElementById('key-exact')?.textContent === 'Open %s'"
                               % name) for name in names]
        assert min(times) < 1, times
        client.click('#key-exact')
        client.wait_for_text('#key-title', names[-1])


@pytest.mark.quiet
def test_a_tree_of_100000_keys_is_there_within_a_second_and_is_walked_by_keys(client, redis, gallery):
    fill_with_many(redis)
    log_in(client, redis.port)
    client.wait_for_text('#key-count', '100,000 keys found', 60)
    times = []
    for _ in range(TRIALS):
        times.append(seconds_until(client, CHOOSE % 'tree', FIRST % 'even:'))
        seconds_until(client, CHOOSE % 'sorted', FIRST % 'even:0:000100')
    assert min(times) < 1, times
    client.choose('#key-order', 'tree')
    assert client.texts('.key-name') == ['even:', 'odd:'] and client.texts('.key-type') == ['50,000', '50,000']
    client.page.evaluate('document.getElementById("key-list").focus()')
    for key in ('ArrowDown', 'ArrowRight', 'ArrowRight', 'ArrowRight', 'ArrowRight'):
        client.press(key)
    assert client.page.evaluate('document.getElementById("key-list").role') == 'tree'
    assert client.text('.key-row.active .key-name') == '000100'
    client.wait_for(lambda: '' not in client.texts('.key-type'), 'the types of all rows')
    gallery.hang(client, 'redis-tree')
    for key in ('ArrowLeft', 'ArrowLeft', 'ArrowLeft', 'ArrowLeft'):
        client.press(key)
    assert client.texts('.key-name') == ['even:', 'odd:']
    client.fill('#key-separator', u'')
    client.wait_for(lambda: 'even:0:000100' in client.texts('.key-name'), 'a list without folders')


WITHIN = """
for i = 1, 3000 do
  local word = string.format('w%04d', i)
  redis.call('HSET', 'hash', word, i)
  redis.call('RPUSH', 'list', word)
  redis.call('SADD', 'set', word)
  redis.call('ZADD', 'scores', i, word)
  redis.call('XADD', 'stream', i .. '-0', 'f', word)
end
redis.call('HSET', 'hash', 'w2', 'exact')
redis.call('SADD', 'set', 'w2')
redis.call('ZADD', 'scores', 0.5, 'w2')
return 'filled'
"""


def test_what_is_within_values_is_found(client, redis):
    assert redis.ask('EVAL', WITHIN, '0') == b'filled'
    log_in(client, redis.port)
    for name in ('hash', 'list', 'set', 'scores'):
        open_key(client, name)
        found = find_within(client, u'w2987', '1 of 1')
        assert len(found) == 1 and 'w2987' in found[0]
        if name != 'list':
            assert 'w2' in find_within(client, u'w2', u'1\u2013100 of more than')[0].split()
    open_key(client, 'stream')
    client.fill('#stream-from', u'1234')
    client.click('#stream-go')
    client.wait_for(lambda: client.texts('#rows tr')[0].startswith('1234-0'), 'the entry')


def find_within(client, text, note):
    client.fill('#rows-pattern', text)
    client.click('#rows-find')
    client.wait_for_text('#rows-note', note)
    return client.texts('#rows tr')


# -- many at once ------------------------------------------------------------------------------------------------------

def begin_many(client, pattern, action):
    """Of the keys that match; until one is asked whether it is meant."""
    client.fill('#pattern', pattern)
    client.click('#find')
    client.wait_for_text('#key-count', 'keys found, 100,000 in the database', 60)
    client.click('#keys-many')
    client.choose('#many-action', action)
    client.click('#dialog-many-submit')
    client.wait_until_shown('#dialog-many-sure', 60)


def asks_before_leaving(client):
    """One stays then."""
    client.page.evaluate('setTimeout(() => location.reload()); 0')
    told = client.page.wait_for('Page.javascriptDialogOpening')[-1]
    client.page.call('Page.handleJavaScriptDialog', accept=False)
    return told['type'] == 'beforeunload'


def count_of(redis, pattern):
    return int(redis.ask('EVAL', "return #redis.call('KEYS', ARGV[1])", '0', pattern)[1:])


@pytest.mark.quiet
def test_exactly_the_matching_50000_of_100000_keys_are_deleted_and_the_page_answers(browser, client, redis):
    fill_with_many(redis)
    log_in(client, redis.port)
    begin_many(client, u'even:*', 'delete')
    assert '50,000 keys: delete them?' in client.text('#dialog-many-sure')
    with Tasks(browser) as tasks:
        client.click('#dialog-many-sure-submit')
        client.wait_for_text('#status', '50,000 deleted.', 60)
    assert (count_of(redis, 'even:*'), count_of(redis, 'odd:*')) == (0, 50000)
    assert tasks.longest() < RESPONSIVE


def test_a_deletion_that_is_stopped_half_way_leaves_the_rest(client, redis, gallery):
    fill_with_many(redis)
    with way_to(redis.port) as way:
        log_in(client, way.port)
        begin_many(client, u'even:*', 'delete')
        gallery.hang(client, 'redis-many-sure')
        way.seconds = 3
        client.click('#dialog-many-sure-submit')
        client.wait_until_shown('#many-stop')
        gallery.hang(client, 'redis-many-progress')
        way.seconds = 0.1
        client.wait_for(lambda: int(redis.ask('DBSIZE')[1:]) < 80000, 'many to be gone', 30)
        way.seconds = 2
        assert asks_before_leaving(client)
        client.click('#disconnect')
        client.click('#dialog-many-leave-cancel')
        client.wait_until_hidden('#dialog-many-leave')
        client.click('#many-stop')
        way.seconds = 0
        client.wait_for_text('#status', 'Stopped: ')
        told = int(client.text('#status').split('Stopped: ')[1].split()[0].replace(',', ''))
    assert 0 < told < 50000
    assert (count_of(redis, 'even:*'), count_of(redis, 'odd:*')) == (50000 - told, 50000)


def test_marked_keys_get_a_time_to_live_lose_it_and_are_written_as_json(browser, client, redis, tmpdir, gallery):
    for name in ('a:1', 'a:2', 'a:3', 'b:1'):
        redis.ask('SET', name, 'v' + name)
    log_in(client, redis.port)
    client.choose('#key-order', 'tree')
    client.click('#keys-mark')
    client.click('.key-row:nth-of-type(2)')
    client.click('.key-row:nth-of-type(1)')
    client.click('.key-row:nth-of-type(2)')
    client.wait_for_text('#keys-marked', '3 keys marked')
    client.click('.key-row .key-sign')
    gallery.hang(client, 'redis-marked')
    client.click('#keys-many')
    client.choose('#many-action', 'expire')
    client.fill('#ttl-time', u'2 hours')
    gallery.hang(client, 'redis-many-expire')
    client.click('#dialog-many-submit')
    client.wait_until_shown('#dialog-many-sure')
    submit(client, 'dialog-many-sure', '3 with a new time to live')
    assert [7190 < int(redis.ask('TTL', name)[1:]) <= 7200 for name in ('a:1', 'a:2', 'a:3')] == [True] * 3
    assert redis.ask('TTL', 'b:1') == b':-1\r\n'
    client.click('#keys-many')
    client.choose('#many-action', 'persist')
    client.click('#dialog-many-submit')
    client.wait_until_shown('#dialog-many-sure')
    submit(client, 'dialog-many-sure', '3 kept for ever')
    assert redis.ask('TTL', 'a:1') == b':-1\r\n'
    client.click('#keys-many')
    client.choose('#many-action', 'json')
    with io.open(saved_file(browser, str(tmpdir.mkdir('files')), client, '.jsonl'), encoding='utf-8') as lines:
        assert [json.loads(line)['value'] for line in lines] == ['va:1', 'va:2', 'va:3']


def test_keys_are_marked_and_deleted_by_keyboard_alone(client, redis):
    for name in ('first', 'second', 'third'):
        redis.ask('SET', name, 'v')
    log_in(client, redis.port)
    tab_to(client, 'keys-mark')
    client.press('Enter')
    tab_to(client, 'key-list')
    for key in ('ArrowDown', 'ArrowDown', ' ', 'ArrowDown', ' '):
        client.press(key)
    client.wait_for_text('#keys-marked', '2 keys marked')
    tab_to(client, 'keys-many')
    client.press('Enter')
    client.wait_for(lambda: client.focused() == 'many-action', 'what is to be done to have the focus')
    client.press('Home')
    tab_to(client, 'dialog-many-submit')
    client.press('Enter')
    client.wait_for(lambda: client.focused() == 'dialog-many-sure-cancel', 'the way out to have the focus')
    tab_to(client, 'dialog-many-sure-submit')
    client.press('Enter')
    client.wait_for_text('#status', '2 deleted.')
    client.wait_for(lambda: client.focused() == 'keys-many', 'the focus to come back')
    assert client.text('#keys-marked') == 'Click keys, or press the space bar.'
    assert redis.ask('GET', 'first') == b'v' and redis.ask('DBSIZE') == b':1\r\n'


def test_a_key_is_copied_to_another_database(client, redis, gallery):
    redis.ask('SET', 'k', 'v', 'EX', '1000')
    log_in(client, redis.port)
    open_key(client, 'k')
    client.click('#key-copy')
    client.fill('#copy-db', u'5')
    gallery.hang(client, 'redis-dialog-copy')
    submit(client, 'dialog-copy', 'copied to database 5')
    there = "redis.call('SELECT', 5) return redis.call('GET', 'k') .. (redis.call('TTL', 'k') > 900 and ' lives' or '')"
    assert redis.ask('EVAL', there, '0') == b'v lives'


# -- files -------------------------------------------------------------------------------------------------------------

ODD_KEYS = """
redis.call('SET', 'plain', 'x')
redis.call('SET', 'timed', 'x', 'PX', 5000000)
redis.call('SET', '\\0\\255\\r\\n', '\\0\\255')
redis.call('HSET', 'hash', 'f', 'v', '\\255', '1')
redis.call('RPUSH', 'list', 'a', 'b', 'a')
redis.call('SADD', 'set', 'a', 'b')
redis.call('SADD', 'numbers', 1, 2, 3)
redis.call('SET', 'large', string.rep('\\255', 300000))
redis.call('ZADD', 'zset', '1.5', 'a', 'inf', 'b')
redis.call('XADD', 'stream', '1-1', 'f', 'v')
redis.call('XGROUP', 'CREATE', 'stream', 'g', '0')
return redis.call('DBSIZE')
"""
STATE = """
local state = {}
local names = redis.call('KEYS', '*')
table.sort(names)
for _, name in ipairs(names) do
  local value
  if redis.call('OBJECT', 'ENCODING', name) == 'hashtable' then
    value = redis.call('SMEMBERS', name)  -- the order in a DUMP is by chance
    table.sort(value)
    value = table.concat(value, ' ')
  else
    value = redis.sha1hex(redis.call('DUMP', name))
  end
  table.insert(state, name .. ' ' .. redis.call('PEXPIRETIME', name) .. ' ' .. value)
end
return table.concat(state, ';')
"""


def state_of(redis):
    """Of all keys: their names, the moment at which they end, and a hash of what DUMP gives."""
    return redis.ask('EVAL', STATE, '0').split(b';')


def saved_file(browser, folder, client, kind='.ws2s-keys'):
    browser.call('Browser.setDownloadBehavior', behavior='allow', downloadPath=folder)
    client.click('#dialog-many-submit')

    def names():
        return [name for name in os.listdir(folder) if name.endswith(kind)]
    client.wait_for(names, 'a file to be saved')
    return os.path.join(folder, names()[0])


def test_what_is_exported_is_the_same_after_a_flush_and_an_import(browser, client, redis, tmpdir, gallery):
    assert redis.ask('EVAL', ODD_KEYS, '0') == b':10\r\n'
    log_in(client, redis.port)
    before = state_of(redis)
    client.click('#keys-many')
    client.choose('#many-action', 'export')
    gallery.hang(client, 'redis-many')
    path = saved_file(browser, str(tmpdir.mkdir('files')), client)
    redis.ask('FLUSHDB')
    client.click('#keys-import')
    client.put_file('#import-file', path)
    gallery.hang(client, 'redis-import')
    client.click('#dialog-import-submit')
    client.wait_for_text('#dialog-import-sure', 'Import 10 keys?')
    submit(client, 'dialog-import-sure', '10 imported')
    assert state_of(redis) == before
