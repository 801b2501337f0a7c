# -*- coding: utf-8 -*-
"""Many keys on the Redis page, in Chromium: found, as a tree, changed together, in files, and where nothing may be
changed."""

import os

import pytest

from chromium import running_chromium
from distance import way_to
from page_visits import connect, log_in, submit
from redis_server import running_redis
from visitor import Gallery, Tasks, running_gateway_program, visited

pytestmark = pytest.mark.pages

RESPONSIVE = 100  # milliseconds
MANY = """
for i = 1, 100000 do
  local kind = i % 2 == 0 and 'even' or 'odd'
  redis.call('SET', kind .. ':' .. (i % 100) .. ':' .. string.format('%06d', i), i)
end
return redis.call('DBSIZE')
"""


@pytest.fixture(scope='module')
def browser():
    with running_chromium() as running:
        yield running


@pytest.fixture(scope='module')
def gateway():
    with running_gateway_program() as program:
        yield program


@pytest.fixture
def redis():
    with running_redis() as server:
        yield server


@pytest.fixture
def client(browser, gateway):
    with visited(browser, gateway, 'redis.html', sees_network=False) as visitor:
        yield visitor


@pytest.fixture
def gallery(tmpdir):
    return Gallery(str(tmpdir))


def fill_with_many(redis):
    assert redis.ask('EVAL', MANY, '0') == b':100000\r\n'


# -- finding -----------------------------------------------------------------------------------------------------------

MILLISECONDS_UNTIL = """(async () => {
    const input = document.getElementById('pattern'), begun = performance.now();
    input.value = %r;
    document.getElementById('find').click();
    while (!document.getElementById('key-exact')) await new Promise(requestAnimationFrame);
    return performance.now() - begun;
})()"""


@pytest.mark.quiet
def test_a_full_name_among_100000_keys_at_100_ms_is_offered_within_a_second(client, redis):
    fill_with_many(redis)
    with way_to(redis.port) as way:
        way.seconds = 0.1
        connect(client, way.port)
        client.wait_for_text('#key-count', '100,000 keys found', 60)
        assert client.page.evaluate(MILLISECONDS_UNTIL % 'odd:77:000077') < 1000
        client.click('#key-exact')
        client.wait_for_text('#key-title', 'odd:77:000077')


@pytest.mark.quiet
def test_a_tree_of_100000_keys_is_there_within_a_second_and_is_walked_by_keys(client, redis, gallery):
    fill_with_many(redis)
    log_in(client, redis.port)
    client.wait_for_text('#key-count', '100,000 keys found', 60)
    client.page.evaluate('globalThis.begun = performance.now()')
    client.choose('#key-order', 'tree')
    assert client.page.evaluate('performance.now() - globalThis.begun') < 1000
    assert client.texts('.key-name') == ['even:', 'odd:'] and client.texts('.key-type') == ['50,000', '50,000']
    client.page.evaluate('document.getElementById("key-list").focus()')
    for key in ('ArrowDown', 'ArrowRight', 'ArrowRight', 'ArrowRight', 'ArrowRight'):
        client.press(key)
    assert client.page.evaluate('document.getElementById("key-list").role') == 'tree'
    assert client.text('.key-row.active .key-name') == '000100'
    client.wait_for(lambda: '' not in client.texts('.key-type'), 'the types of all rows')
    gallery.hang(client, 'redis-tree')
    client.fill('#key-separator', u'')
    client.wait_for(lambda: 'even:0:000100' in client.texts('.key-name'), 'a list without folders')


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
        way.seconds = 0.1
        gallery.hang(client, 'redis-many-sure')
        client.click('#dialog-many-sure-submit')
        client.wait_for(lambda: int(redis.ask('DBSIZE')[1:]) < 90000, 'some to be gone')
        assert asks_before_leaving(client)
        client.click('#many-stop')
        client.wait_for_text('#status', 'Stopped: ')
        told = int(client.text('#status').split('Stopped: ')[1].split()[0].replace(',', ''))
    assert 0 < told < 50000
    assert (count_of(redis, 'even:*'), count_of(redis, 'odd:*')) == (50000 - told, 50000)


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


def saved_file(browser, folder, client):
    browser.call('Browser.setDownloadBehavior', behavior='allow', downloadPath=folder)
    client.click('#dialog-many-submit')

    def names():
        return [name for name in os.listdir(folder) if name.endswith('.ws2s-keys')]
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
