# -*- coding: utf-8 -*-
"""Clients that nobody here wrote, through the gateway, to a real Redis."""

import hashlib
import os

import pytest

import ws2s
from players import PAGES, PLAYERS
from redis_server import running_redis
from waiting import wait_until

FORMS = ('send', 'sendb', 'binary')
LARGE = 10 * 1000 * 1000

# Requests, and the very bytes that Redis answers.
EXCHANGES = (
    (('SET', 'k', 'value'), '+OK\r\n'),
    (('GET', 'k'), '$5\r\nvalue\r\n'),
    (('SET', 'k', u'Gr\u00fc\u00dfe \u2603 \U0001f600\r\n'), '+OK\r\n'),
    (('GET', 'k'), u'$18\r\nGr\u00fc\u00dfe \u2603 \U0001f600\r\n\r\n'),
    (('INCR', 'k'), '-ERR value is not an integer or out of range\r\n'),
    (('DEL', 'k'), ':1\r\n'),
    (('INCR', 'k'), ':1\r\n'),
    (('INCR', 'k'), ':2\r\n'),
    (('GET', 'nothing'), '$-1\r\n'),
    (('MGET', 'k', 'nothing'), '*2\r\n$1\r\n2\r\n$-1\r\n'),
    (('DEL', 'k'), ':1\r\n'),
)


def size_of(text):
    return len(text.encode('utf-8'))


def one_by_one(exchanges):
    return [[[words], size_of(reply)] for words, reply in exchanges]


def all_at_once(exchanges):
    return [[[words for words, _ in exchanges], sum(size_of(reply) for _, reply in exchanges)]]


@pytest.fixture(scope='module')
def redis():
    with running_redis() as server:
        yield server


@pytest.fixture(scope='module', params=sorted(PLAYERS))
def player(request):
    with PLAYERS[request.param]() as playing:
        yield playing


@pytest.fixture
def offers():
    """What each WebSocket has offered as extensions."""
    return []


@pytest.fixture
def gateway(running_gateway, offers):
    def noted(request, config):
        offers.append(request.one('sec-websocket-extensions'))
        return True
    return running_gateway({'web': PAGES}, dialects=[(noted, ws2s.JsonDialect)])


@pytest.fixture
def stage(player, gateway):
    with player.at(gateway) as playing:
        yield playing


@pytest.fixture
def url(gateway):
    return 'ws://%s:%d/' % tuple(gateway.address)


@pytest.mark.parametrize('form', FORMS)
@pytest.mark.parametrize('batches', [one_by_one, all_at_once])
def test_replies_are_exact_and_in_order_and_nothing_waits_for_connect(stage, url, redis, form, batches):
    result = stage.run('exchange', url=url, form=form, port=redis.port, batches=batches(EXCHANGES))
    assert ''.join(result['answers']) == ''.join(reply for _, reply in EXCHANGES)
    sends = [] if form == 'binary' else [form + ' done'] * len(EXCHANGES)
    assert result['replies'] == ['connect done'] + sends + ['close done']
    assert result['unread'] == 0


@pytest.mark.parametrize('form', FORMS)
def test_ten_megabytes_go_up_and_down_unchanged(stage, url, redis, form):
    result = stage.run('bulk', url=url, form=form, port=redis.port, key=form, size=LARGE)
    print('up %(up).2f s, down %(down).2f s' % result)
    assert (result['stored'], result['head']) == ('+OK\r\n', '$%d\r\n' % LARGE)
    assert result['sent'] == hashlib.sha256(redis.ask('GET', form)).hexdigest() == result['received']
    redis.ask('DEL', form)


@pytest.mark.parametrize('form', ['sendb', 'binary'])
def test_two_clients_at_once_do_not_see_each_others_replies(stage, url, redis, form):
    value = os.urandom(LARGE)
    assert redis.ask('SET', 'large', value) == b'+OK\r\n'
    reply = ('$%d\r\n' % LARGE).encode('ascii') + value + b'\r\n'
    echoes = [(('ECHO', 'echo %03d' % number), '$8\r\necho %03d\r\n' % number) for number in range(100)]
    result = stage.run('pair', url=url, form=form, port=redis.port, key='large', size=len(reply),
                       batches=one_by_one(echoes))
    assert result['answers'] == [answer for _, answer in echoes]
    assert result['fetched'] == hashlib.sha256(reply).hexdigest()
    assert result['unread'] == 0
    sends = 0 if form == 'binary' else 1
    assert result['replies'] == (['connect done'] + ['sendb done'] * sends
                                 + ['connect done'] + ['sendb done'] * sends * len(echoes))


def test_closing_is_clean_and_the_offered_compression_is_declined(stage, url, offers):
    result = stage.run('visit', url=url, code=1000)
    assert result == {'opened': True, 'code': 1000, 'wasClean': True, 'extensions': ''}
    assert [offer.split(';')[0] for offer in offers] == ['permessage-deflate']


def test_a_stopping_gateway_closes_with_1001(stage, url, gateway, offers):
    result = stage.begin('visit', url=url, code=None)
    wait_until(lambda: offers, 20, 'the client to come')
    gateway.stop()
    assert result() == {'opened': True, 'code': 1001, 'wasClean': True, 'extensions': ''}
