# -*- coding: utf-8 -*-
"""How the Redis page shows values: each look on its fixture, in Chromium."""

import gzip
import io
import json
import zlib

import pytest

from json_redis import running_json_redis
from page_visits import log_in, open_key, submit
from redis_server import running_redis
from visitor import Tasks, running_gateway_program, visited

pytestmark = pytest.mark.pages

RESPONSIVE = 200  # milliseconds


@pytest.fixture(scope='module')
def gateway():
    with running_gateway_program() as program:
        yield program


@pytest.fixture(scope='module')
def shared_redis():
    with running_redis() as server:
        yield server


@pytest.fixture
def redis(shared_redis):
    assert shared_redis.ask('FLUSHALL') == b'+OK\r\n'
    return shared_redis


@pytest.fixture
def client(browser, gateway):
    with visited(browser, gateway, 'redis.html') as visitor:
        yield visitor


def look(client, way):
    """At the value that is open, as soon as it is there, in this way."""
    client.wait_until_shown('#view-look')
    client.choose('#view-look', way)


@pytest.fixture
def json_port(redis):
    with running_json_redis(redis) as port:
        yield port


def gzipped(data):
    packed = io.BytesIO()
    with gzip.GzipFile(fileobj=packed, mode='wb') as stream:
        stream.write(data)
    return packed.getvalue()


def bomb():
    """1 MB of gzip that would become 1 GB: a part of 64 MB that ends where another can begin, sixteen times."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    part = packer.compress(bytes(bytearray(1 << 26))) + packer.flush(zlib.Z_FULL_FLUSH)
    return gzipped(b'')[:10] + part * 16


RECORD = b'{"id": 1234567890123456789, "name": "Zo\\u00eb", "tags": ["a", "b"], "ok": true}'
FIVE_MB = b'[' + b','.join([RECORD] * (5000000 // (len(RECORD) + 1))) + b']'
MSGPACK = b'\x82\xa1a\x92\x01\xcf\xff\xff\xff\xff\xff\xff\xff\xff\xa1t\xd6\xff\x00\x00\x00\x00'

VALUES = [
    ('json', b'{"a" : 12345678901234567890, "b":[1.50]}', 'It seems to be JSON.', 'tree', u'"a": 12345678901234567890'),
    ('layout', b'{"a":1.50}', 'It seems to be JSON.', 'layout', u'  "a": 1.50'),
    ('gzip', gzipped(b'{"a": 1}'), 'packed with gzip', 'gzip', u'"a": 1'),
    ('zlib', zlib.compress(b'plain text'), 'packed with zlib', 'zlib', u'plain text'),
    ('deflate', zlib.compress(b'plain text')[2:-4], 'no text', 'deflate', u'plain text'),
    ('msgpack', MSGPACK, 'MessagePack', 'msgpack', u'"t": 1970-01-01 00:00:00 UTC'),
    ('hex', bytes(bytearray(range(256))), 'no text', 'hex', u'00000040  40 41 42 43 44 45 46 47  48 49'),
    ('number', b'1795953600', 'As Unix time in seconds: 2026-11-29 12:00:00 UTC', 'text', u'1795953600'),
]


@pytest.mark.parametrize('name, value, guess, way, words', VALUES, ids=[row[0] for row in VALUES])
def test_a_value_is_guessed_and_looked_at_and_stays_as_it_is(client, redis, name, value, guess, way, words):
    redis.ask('SET', name, value)
    log_in(client, redis.port)
    open_key(client, name)
    client.wait_until_shown('#view-guess')
    client.wait_for_text('#view-guess', guess)
    look(client, way)
    client.wait_for_text('.viewer-body', words)
    client.click('#string-save')
    client.wait_for_text('#status', 'The value was saved.')
    assert redis.ask('GET', name) == value


def test_json_is_checked_while_it_is_typed_and_saved_as_typed(client, redis):
    redis.ask('SET', 'k', b'{"a":1}')
    log_in(client, redis.port)
    open_key(client, u'k')
    client.fill('#string-value', u'{"a" :\n 1.0,}')
    client.wait_for_text('#string-value-json', 'Not JSON. Line 2, column 6')
    client.click('#string-value-error')
    assert client.page.evaluate('document.activeElement.selectionStart') == 12
    client.click('#string-save')
    client.wait_until_shown('#dialog-json')
    client.click('#dialog-json-cancel')
    client.fill('#string-value', u'{"a" :\n 12345678901234567890.0}')
    client.click('#string-save')
    client.wait_for_text('#status', 'The value was saved.')
    assert redis.ask('GET', 'k') == b'{"a" :\n 12345678901234567890.0}'


ODD = [b'a\r\nb\rc\n', b'\xef\xbb\xbf{"a" : 1.0}\r\n', b'\xff\x00', u'\u2028\u200b\u202e\0'.encode('utf-8'),
       b'\xed\xa0\x80', b'{"a":"\\ud800", "a" :1e0}', gzipped(b'{"a": 1}\r\n'), MSGPACK]
WAYS = ['text', 'tree', 'layout', 'msgpack', 'hex', 'gzip', 'zlib', 'deflate']


def look_in_all_ways(client):
    for way in WAYS:
        look(client, way)
        client.wait_for(lambda: 'Reading' not in client.text('#view-status'), 'what it looks like as ' + way)
    for form in client.page.evaluate("[...document.querySelectorAll('[id$=-value-form] option')].filter("
                                     "option => !option.disabled).map(option => option.value)"):
        client.choose('[id$=-value-form]', form)


def test_whatever_was_looked_at_in_all_ways_is_saved_byte_for_byte(client, redis):
    for number, value in enumerate(ODD):
        redis.ask('SET', 'odd-%d' % number, value)
    log_in(client, redis.port)
    for number, value in enumerate(ODD):
        open_key(client, u'odd-%d' % number)
        look_in_all_ways(client)
        client.click('#string-save')
        client.wait_for_text('#status', 'The value was saved.')
        assert redis.ask('GET', 'odd-%d' % number) == value


PARTS = [('HSET', 'HGET', 'field', 'The field was saved.'), ('RPUSH', 'LINDEX', None, 'The item was saved.')]


@pytest.mark.parametrize('write, read, field, words', PARTS, ids=['hash', 'list'])
def test_a_part_that_was_looked_at_in_all_ways_is_saved_byte_for_byte(client, redis, write, read, field, words):
    value = gzipped(b'\xff\r\n')
    redis.ask(write, 'k', *[field, value] if field else [value])
    log_in(client, redis.port)
    open_key(client, u'k')
    client.click('[data-action=edit]')
    client.wait_until_shown('#dialog-item')
    look_in_all_ways(client)
    submit(client, 'dialog-item', words)
    assert redis.ask(read, 'k', field or '0') == value


def test_another_layout_is_typed_and_taken_back(client, redis):
    value = b'{"a" :\n 1.50, "b":[]}'
    redis.ask('SET', 'k', value)
    log_in(client, redis.port)
    open_key(client, u'k')
    client.click('#string-value-compact')
    assert client.value('#string-value') == u'{"a":1.50,"b":[]}'
    client.click('#string-value-undo')
    client.click('#string-save')
    client.wait_for_text('#status', 'The value was saved.')
    assert redis.ask('GET', 'k') == value
    client.click('#string-value-layout')
    client.click('#string-save')
    client.wait_for_text('#status', 'The value was saved.')
    assert redis.ask('GET', 'k') == b'{\n  "a": 1.50,\n  "b": []\n}'


def test_a_tree_is_walked_by_keys_and_tells_what_a_value_may_mean(client, redis):
    redis.ask('SET', 'k', b'{"made": [1795953600], "b": "2026-11-29T12:00:00Z"}')
    log_in(client, redis.port)
    open_key(client, u'k')
    look(client, 'tree')
    client.wait_until_shown('#view-tree')
    client.press('Tab')
    for key, code in (('ArrowDown', 40), ('ArrowRight', 39), ('ArrowRight', 39)):
        client.page.press(key, code)
    assert client.text('#view-tree-detail').startswith(
        u'$["made"][0]: 1795953600; as Unix time in seconds: 2026-11-29 12:00:00 UTC')
    client.page.press('End', 35)
    assert u'a moment: 2026-11-29 12:00:00 UTC' in client.text('#view-tree-detail')
    client.page.press('Home', 36)
    client.page.press('ArrowLeft', 37)
    assert client.texts('#view-tree [role=treeitem]') == [u'object of 2 members']
    assert not client.breaches()


def test_what_is_laid_out_or_unpacked_is_saved_to_a_file(browser, client, redis):
    redis.ask('SET', 'k', gzipped(b'{"a": 1.0}'))
    log_in(client, redis.port)
    open_key(client, u'k')
    look(client, 'gzip')
    client.wait_until_shown('#view-gzip-save')
    assert client.save(browser, '#view-gzip-save') == u'{"a": 1.0}'
    client.choose('#view-gzip-inner-look', 'layout')
    client.wait_until_shown('#view-gzip-inner-layout-save')
    assert client.save(browser, '#view-gzip-inner-layout-save') == u'{\n  "a": 1.0\n}'


@pytest.mark.quiet
def test_5_megabytes_of_json_and_a_bomb_leave_the_page_responsive(browser, measured_client, redis):
    client = measured_client
    redis.ask('SET', 'json', FIVE_MB)
    redis.ask('SET', 'bomb', bomb())
    log_in(client, redis.port)
    with Tasks(browser) as tasks:
        open_key(client, u'json')
        look(client, 'tree')
        client.wait_for_text('.viewer-body', u'list of %s items' % '{:,}'.format(len(json.loads(FIVE_MB))), 30)
        look(client, 'layout')
        client.wait_for_text('#view-status', 'The first 262,144 lines.', 60)
        look(client, 'text')
        client.wait_until_shown('#view-text', 30)
        open_key(client, u'bomb')
        look(client, 'gzip')
        client.wait_for_text('#view-status', 'Cut: more is packed in it. The first 16,777,216 bytes are unpacked.', 60)
    print('longest task: %d ms' % tasks.longest())
    assert tasks.longest() < RESPONSIVE


DEEP = b'[' * 400000 + b']' * 400000
MANY = b'{' + b','.join(b'"%d":"\\u00e9"' % number for number in range(300000)) + b'}'
LONG = b'["' + b'x' * 5000000 + b'"]'
PACKED = b'\xdd\x00\x0a\x00\x00' + b'\x93\x01\xa5value\xc0' * 0xa0000
LARGE = [('deep', DEEP, 'tree', u'list of 1 item'), ('many', MANY, 'tree', u'object of 300,000 members'),
         ('long', LONG, 'layout', u'xxxx'), ('msgpack', PACKED, 'msgpack', u'list of 655,360 items'),
         ('zlib', zlib.compress(bytes(bytearray(1 << 26)), 9), 'zlib', u'hex dump'),
         ('deflate', bomb()[10:], 'deflate', u'hex dump')]


@pytest.mark.quiet
def test_odd_large_values_leave_the_page_responsive(browser, measured_client, redis):
    client = measured_client
    for name, value, _, _ in LARGE:
        redis.ask('SET', name, value)
    log_in(client, redis.port)
    longest = {}
    for name, _, way, words in LARGE:
        with Tasks(browser) as tasks:
            open_key(client, name)
            look(client, way)
            client.wait_for_text('.viewer-body', words, 30)
        longest[name] = tasks.longest()
    print('longest tasks, in ms: %s' % longest)
    assert max(longest.values()) < RESPONSIVE, longest


@pytest.mark.quiet
def test_5_megabytes_in_a_hash_or_as_a_document_leave_the_page_responsive(browser, measured_client, redis, json_port):
    client = measured_client
    redis.ask('HSET', 'hash', 'field', FIVE_MB)
    redis.ask('SET', 'document', FIVE_MB)
    log_in(client, json_port)
    with Tasks(browser) as tasks:
        open_key(client, u'hash')
        client.click('[data-action=edit]')
        client.wait_until_shown('#view-1-look')
        client.choose('#view-1-look', 'tree')
        client.wait_for_text('.viewer-body', u'list of ', 30)
        client.click('#dialog-show-cancel')
        open_key(client, u'document')
        client.wait_for_text('#json-note', 'too long to be edited')
        look(client, 'layout')
        client.wait_for_text('#view-status', 'The first 262,144 lines.', 60)
    print('longest task: %d ms' % tasks.longest())
    assert tasks.longest() < RESPONSIVE


@pytest.mark.quiet
def test_the_longest_json_that_is_edited_leaves_the_page_responsive(browser, measured_client, redis):
    client = measured_client
    redis.ask('SET', 'k', FIVE_MB[:3000 * (len(RECORD) + 1) + 1] + b'1]')
    log_in(client, redis.port)
    with Tasks(browser) as tasks:
        open_key(client, u'k')
        client.click('#string-all')
        client.wait_for_text('#string-value-json', 'This is JSON.')
        client.insert(u'x')
        client.wait_for_text('#string-value-json', 'Not JSON.')
    print('longest task: %d ms' % tasks.longest())
    assert tasks.longest() < RESPONSIVE


def test_a_dump_of_64_megabytes_is_scrolled_and_read_piece_by_piece(client, redis):
    redis.ask('SETRANGE', 'huge', str((1 << 26) - 4), b'last')
    log_in(client, redis.port)
    open_key(client, u'huge')
    look(client, 'hex')
    client.wait_for_text('#view-hex', '00000000  00 00')
    client.fill('#view-hex-offset', u'0x3ffffff')
    client.press('Enter')
    client.wait_for_text('#view-hex', '|............last|')


def test_groups_consumers_and_pending_entries_of_a_stream(client, redis):
    redis.ask('XADD', 's', '1-1', 'f', 'v')
    redis.ask('XGROUP', 'CREATE', 's', 'workers', '0')
    redis.ask('XREADGROUP', 'GROUP', 'workers', 'anna', 'STREAMS', 's', '>')
    log_in(client, redis.port)
    open_key(client, u's')
    client.click('#stream-groups')
    client.wait_for_text('#rows', 'workers')
    client.click('[data-action=consumers]')
    client.wait_for_text('#rows', 'anna')
    client.click('[data-action=pending]')
    client.wait_for_text('#rows', '1-1')
    assert not client.breaches()
    client.click('[data-action=acknowledge]')
    submit(client, 'dialog-remove', 'The entry was acknowledged.')
    client.click('#stream-groups')
    client.wait_for_text('#rows', 'workers')
    client.click('[data-action=remove]')
    submit(client, 'dialog-remove', 'The group was removed.')
    client.click('#stream-entries')
    client.wait_for_text('#rows', 'f: v')
    assert redis.ask('XINFO', 'GROUPS', 's') == b'*0\r\n'


TIMES = [(u'1h 30m', 5400), (u'2 days', 172800), (u'90', 90)]


@pytest.mark.parametrize('text, seconds', TIMES)
def test_a_time_to_live_is_a_duration(client, redis, text, seconds):
    redis.ask('SET', 'k', 'v')
    log_in(client, redis.port)
    open_key(client, u'k')
    client.click('#key-ttl')
    client.fill('#ttl-time', text)
    client.wait_for_text('#ttl-hint', 'until')
    submit(client, 'dialog-ttl', 'The time to live was set.')
    assert seconds - 10 <= int(redis.ask('TTL', 'k')[1:]) <= seconds


def test_a_time_to_live_is_a_date(client, redis):
    redis.ask('SET', 'k', 'v')
    log_in(client, redis.port)
    open_key(client, u'k')
    client.click('#key-ttl')
    client.fill('#ttl-time', u'2001-01-31 12:00')
    client.wait_for_text('#ttl-hint', 'This date is over.')
    client.click('#dialog-ttl-submit')
    client.wait_for_text('#dialog-ttl-status', 'This date is over.')
    client.fill('#ttl-time', u'2099-01-31 12:00')
    submit(client, 'dialog-ttl', 'The time to live was set.')
    client.wait_for_text('#key-fact-ttl', 'until 2099-01-31 12:00:0')


# -- documents of RedisJSON --------------------------------------------------------------------------------------------

def test_a_document_is_edited_checked_and_saved_as_it_is_typed(client, redis, json_port):
    redis.ask('SET', 'k', b'{"a":12345678901234567890.10}', 'EX', '1000')
    log_in(client, json_port)
    open_key(client, u'k')
    client.wait_for_text('#key-fact-type', 'JSON')
    assert client.value('#json-value') == u'{\n  "a": 12345678901234567890.10\n}'
    client.fill('#json-value', u'{"a": 1,}')
    client.click('#json-save')
    client.wait_for_text('#status', 'Line 1, column 9')
    client.fill('#json-value', u'{"a": 1.0}')
    client.click('#json-save')
    client.wait_for_text('#status', 'The document was saved.')
    assert redis.ask('GET', 'k') == b'{"a": 1.0}'
    assert 900 <= int(redis.ask('TTL', 'k')[1:]) <= 1000
    assert not client.breaches()


def test_a_new_key_is_a_document_where_the_server_has_such(client, redis, json_port):
    log_in(client, json_port)
    client.click('#key-new')
    client.fill('#new-name', u'k')
    client.wait_for(lambda: client.texts('#new-type option[value=ReJSON-RL]'), 'documents to be offered')
    client.choose('#new-type', 'ReJSON-RL')
    client.fill('#item-value', u'{"a": 1.0')
    client.click('#dialog-new-submit')
    client.wait_for_text('#dialog-new-status', 'Line 1, column 10')
    client.fill('#item-value', u'{"a": 1.0}')
    client.click('#dialog-new-submit')
    client.wait_for_text('#key-fact-type', 'JSON')
    assert redis.ask('GET', 'k') == b'{"a": 1.0}'


def test_a_new_key_is_no_document_where_the_server_has_none(client, redis):
    redis.ask('SET', 'k', 'v')
    log_in(client, redis.port)
    client.click('#key-new')
    client.fill('#new-name', u'k')
    client.click('#dialog-new-submit')
    client.wait_for_text('#dialog-new-status', 'There is')  # so what was asked before is answered, too
    assert not client.texts('#new-type option[value=ReJSON-RL]')


def test_a_document_that_another_has_changed_is_not_saved_over(client, redis, json_port):
    redis.ask('SET', 'k', b'{"a":1}')
    log_in(client, json_port)
    open_key(client, u'k')
    client.fill('#json-value', u'[]')
    redis.ask('SET', 'k', b'{"a":2}')
    client.click('#json-save')
    client.wait_for_text('#status', 'changed')
    assert redis.ask('GET', 'k') == b'{"a":2}'
    assert client.value('#json-value') == u'[]'


# -- how it looks ------------------------------------------------------------------------------------------------------

def test_the_looks_look_well(client, gallery, redis):
    shown = [row for row in VALUES if row[0] in ('json', 'gzip', 'hex')]
    for name, value, _, _, _ in shown:
        redis.ask('SET', name, value)
    log_in(client, redis.port)
    for name, _, _, way, words in shown:
        open_key(client, name)
        look(client, way)
        client.wait_for_text('.viewer-body', words)
        gallery.hang(client, 'values-' + name)


def test_what_is_asked_about_values_looks_well(client, gallery, redis):
    redis.ask('SET', 'k', b'{"a":1}')
    redis.ask('HSET', 'h', 'field', gzipped(b'{"a": [1795953600]}'))
    log_in(client, redis.port)
    open_key(client, u'k')
    client.click('#key-ttl')
    client.fill('#ttl-time', u'1h 30m')
    gallery.hang(client, 'values-ttl')
    submit(client, 'dialog-ttl', 'The time to live was set.')
    client.fill('#string-value', u'{"a":}')
    client.wait_for_text('#string-value-json', 'Not JSON.')
    gallery.hang(client, 'values-not-json')
    client.click('#string-save')
    client.wait_until_shown('#dialog-json')
    gallery.hang(client, 'values-json-lost')
    client.click('#dialog-json-submit')
    open_key(client, u'h')
    client.click('[data-action=edit]')
    look(client, 'gzip')
    client.wait_for_text('.viewer-body', u'list of 1 item')
    gallery.hang(client, 'values-field')


def test_tables_of_a_stream_look_well(client, gallery, redis):
    redis.ask('XADD', 's', '1795953600000-1', 'f', 'v')
    redis.ask('XGROUP', 'CREATE', 's', 'a group with a long name', '0')
    redis.ask('XREADGROUP', 'GROUP', 'a group with a long name', 'anna', 'STREAMS', 's', '>')
    log_in(client, redis.port)
    open_key(client, u's')
    gallery.hang(client, 'values-entries')
    client.click('#stream-groups')
    client.wait_for_text('#rows', 'long name')
    gallery.hang(client, 'values-groups')
    client.click('[data-action=consumers]')
    client.wait_for_text('#rows', 'anna')
    gallery.hang(client, 'values-consumers')
    client.click('[data-action=pending]')
    client.wait_for_text('#rows', '1795953600000-1')
    gallery.hang(client, 'values-pending')


def test_a_document_looks_well(client, gallery, redis, json_port):
    redis.ask('SET', 'k', b'{"a":[1,2.50]}')
    log_in(client, json_port)
    open_key(client, u'k')
    look(client, 'tree')
    client.wait_for_text('.viewer-body', u'list of 2 items')
    gallery.hang(client, 'values-document')
