# -*- coding: utf-8 -*-
"""The Redis page at a cluster, whose nodes fail over, and at the master that a Sentinel tells of, in Chromium."""

import contextlib
import re

import pytest

from page_visits import connect, fill_target, open_key, run_command
from program import running_program
from redis_server import running_cluster, running_cluster_with_replica, running_pair, running_sentinel
from visitor import visited
from waiting import wait_until

pytestmark = pytest.mark.pages

COUNT = 300
SECONDS = 40  # that nodes may take to agree on another master, on a busy machine


@pytest.fixture(scope='module')
def cluster():
    with running_cluster() as nodes:
        yield nodes


def ask(nodes, *words):
    """The reply of the node that has the key."""
    for node in nodes:
        reply = node.ask(*words)
        if not reply.startswith(b'-MOVED'):
            return reply
    raise AssertionError(reply)


def fill(nodes, count=COUNT):
    """Keys on all of them."""
    for node in nodes:
        node.ask('FLUSHALL')
    for number in range(count):
        ask(nodes, 'SET', 'key:%03d' % number, 'value %d' % number)


def address(node):
    return '127.0.0.1:%d' % node.port


def key_of(nodes, node):
    """A key that this node has."""
    return next('key:%03d' % number for number in range(COUNT)
                if not node.ask('GET', 'key:%03d' % number).startswith(b'-MOVED'))


@contextlib.contextmanager
def visiting(browser, **config):
    with running_program(dict(config, allowConnectToServerLocal=True)) as program:
        with visited(browser, program, 'redis.html') as visitor:
            yield visitor


def find_all(visitor, count=COUNT, seconds=10):
    visitor.wait_for_text('#key-count', '%d keys found, %d in the database' % (count, count), seconds)


def save(visitor, value):
    """What is typed for the string that is open."""
    visitor.fill('#string-value', value)
    visitor.click('#string-save')
    visitor.wait_for_text('#status', 'The value was saved.')


def test_all_keys_of_a_cluster_are_one_list_and_each_is_changed_on_its_node(browser, cluster, gallery):
    fill(cluster)
    with visiting(browser) as visitor:
        connect(visitor, cluster[0].port, 'found.')
        find_all(visitor)
        assert sorted(visitor.texts('#node option')) == sorted(address(node) for node in cluster)
        assert visitor.text('#session-where') == 'a cluster of 3'
        for node in cluster:
            key = key_of(cluster, node)
            open_key(visitor, key)
            assert visitor.text('#key-fact-node') == address(node)
            save(visitor, u'changed')
            assert node.ask('GET', key) == b'changed'
        gallery.hang(visitor, 'cluster-keys')


def test_what_concerns_one_node_is_asked_of_the_one_that_is_chosen_and_named(browser, cluster, gallery):
    fill(cluster)
    with visiting(browser) as visitor:
        connect(visitor, cluster[0].port, 'found.')
        for node in cluster:
            visitor.choose('#node', address(node))
            visitor.click('#tab-info')
            visitor.wait_for_text('#panel-info', str(node.port))
            assert address(node) in visitor.text('#panel-info .of-node')
            visitor.wait_for_text('#info-server', 'Port\n%d' % node.port)
            own = int(node.ask('DBSIZE')[1:])
            assert ('(integer) %d' % own) in run_command(visitor, 'DBSIZE')
            assert visitor.texts('#log .entry-from')[-1] == 'from node ' + address(node)
        gallery.hang(visitor, 'cluster-commands')
        visitor.click('#tab-operator')
        visitor.click('#operator-slow-read')
        visitor.click('#operator-clients-read')
        visitor.wait_for_text('#operator-clients', '127.0.0.1')
        gallery.hang(visitor, 'cluster-operator')
        assert 'OK' in run_command(visitor, 'FLUSHDB')
        assert [int(node.ask('DBSIZE')[1:]) > 0 for node in cluster] == [True, True, False]


def test_typed_commands_go_to_the_nodes_of_their_keys_and_transactions_stay_on_one(browser, cluster):
    fill(cluster)
    with visiting(browser) as visitor:
        connect(visitor, cluster[0].port, 'found.')
        for node in cluster:
            key = key_of(cluster, node)
            assert run_command(visitor, 'APPEND %s !' % key).startswith('(integer)')
            assert visitor.texts('#log .entry-from')[-1] == 'from node ' + address(node)
        run_command(visitor, 'WATCH ' + key)
        run_command(visitor, 'MULTI')
        assert run_command(visitor, 'SET %s in-transaction' % key) == 'QUEUED'
        assert 'OK' in run_command(visitor, 'EXEC')
        assert ask(cluster, 'GET', key) == b'in-transaction'
        assert 'different nodes' in run_command(visitor, 'MGET key:001 key:002') or 'CROSSSLOT' in visitor.text('#log')


def test_a_slot_that_moves_is_followed(browser, cluster):
    fill(cluster)
    source, target = cluster[0], cluster[1]
    key = key_of(cluster, source)
    slot = source.ask('CLUSTER', 'KEYSLOT', key)[1:].strip().decode()
    names = [node.ask('CLUSTER', 'MYID').decode() for node in (source, target)]
    with visiting(browser) as visitor:
        connect(visitor, cluster[2].port, 'found.')
        open_key(visitor, key)
        assert visitor.text('#key-fact-node') == address(source)
        target.ask('CLUSTER', 'SETSLOT', slot, 'IMPORTING', names[0])
        source.ask('CLUSTER', 'SETSLOT', slot, 'MIGRATING', names[1])
        source.ask('MIGRATE', '127.0.0.1', str(target.port), key, '0', '5000')
        assert 'value' in run_command(visitor, 'GET ' + key)    # by ASK
        for node in (target, source, cluster[2]):
            node.ask('CLUSTER', 'SETSLOT', slot, 'NODE', names[1])
        assert 'value' in run_command(visitor, 'GET ' + key)    # by MOVED
        visitor.click('#tab-keys')
        visitor.click('#key-reload')
        visitor.wait_for(lambda: visitor.text('#key-fact-node') == address(target), 'the key at its new node')
        save(visitor, u'changed there')
        assert target.ask('GET', key) == b'changed there'


def test_many_keys_are_changed_on_all_nodes(browser, cluster):
    fill(cluster)
    with visiting(browser) as visitor:
        connect(visitor, cluster[0].port, 'found.')
        visitor.fill('#pattern', u'key:1*')
        visitor.click('#find')
        visitor.wait_for_text('#key-count', '100 keys found')
        visitor.click('#keys-many')
        visitor.choose('#many-action', 'delete')
        visitor.click('#dialog-many-submit')
        visitor.wait_until_shown('#dialog-many-sure')
        visitor.click('#dialog-many-sure-submit')
        visitor.wait_for_text('#status', '100')
        wait_until(lambda: sum(int(node.ask('DBSIZE')[1:]) for node in cluster) == COUNT - 100)


def test_a_node_that_the_gateway_refuses_is_named_and_the_others_are_listed(browser, cluster, gallery):
    fill(cluster)
    refused = cluster[2]
    others = sum(int(node.ask('DBSIZE')[1:]) for node in cluster[:2])
    with visiting(browser, denyTargets=[address(refused)]) as visitor:
        connect(visitor, cluster[0].port)
        visitor.wait_for_text('#key-failure', 'Node %s: The gateway forbids this target' % address(refused))
        visitor.wait_for_text('#key-count', '%d keys found' % others)
        gallery.hang(visitor, 'cluster-refused')
        assert 'Node ' + address(refused) in run_command(visitor, 'GET ' + key_of(cluster, refused))


def test_a_read_only_connection_to_a_cluster_changes_nothing_on_any_node(browser, cluster):
    fill(cluster)
    connections = [{'name': 'all', 'host': '127.0.0.1', 'port': cluster[0].port, 'readOnly': True}]
    with visiting(browser, redis={'connections': connections}) as visitor:
        visitor.wait_until_shown('#connections')
        visitor.click('#connections a')
        find_all(visitor)
        for node in cluster:
            node.ask('CONFIG', 'RESETSTAT')
            visitor.choose('#node', address(node))
            key = key_of(cluster, node)
            for line in ('SET %s x' % key, 'DEL %s' % key, 'FLUSHALL', 'FLUSHDB', 'EVAL "return 1" 1 %s' % key,
                         'CONFIG SET maxmemory 1mb', 'CLUSTER RESET'):
                assert 'read-only' in run_command(visitor, line), line
            assert run_command(visitor, 'GET ' + key).startswith('"value')
            told = node.ask('INFO', 'commandstats')
            assert not re.search(b'cmdstat_(set|del|flush|eval|config.set|cluster.reset)', told), told


def test_a_replica_that_takes_over_is_followed(browser, gallery):
    with running_cluster_with_replica() as (masters, replica), visiting(browser) as visitor:
        fill(masters)
        key = key_of(masters, masters[0])
        wait_until(lambda: int(replica.ask('DBSIZE')[1:]) == int(masters[0].ask('DBSIZE')[1:]))
        connect(visitor, masters[0].port, 'found.')
        find_all(visitor)
        open_key(visitor, key)
        masters[0].end()
        visitor.wait_for_text('#status', 'Node %s is lost' % address(masters[0]))
        visitor.wait_for_text('#status', 'Node %s has taken over from %s' % (address(replica), address(masters[0])),
                              SECONDS)
        visitor.wait_for(lambda: visitor.text('#key-fact-node') == address(replica), 'the key at its new node')
        gallery.hang(visitor, 'cluster-taken-over')
        save(visitor, u'after the failover')
        assert replica.ask('GET', key) == b'after the failover'
        visitor.fill('#pattern', u'')
        visitor.click('#find')
        find_all(visitor)
        assert address(replica) in visitor.texts('#node option') and len(visitor.texts('#node option')) == 3


@contextlib.contextmanager
def running_shop():
    """A master, its replica, and the Sentinel that watches over them by this name."""
    with running_pair() as (master, replica), running_sentinel(master, 'shop') as sentinel:
        yield master, replica, sentinel


@pytest.fixture(scope='module')
def shop():
    with running_shop() as servers:
        yield servers


def test_a_connection_that_the_gateway_names_may_be_to_a_sentinel(browser, shop):
    master, _, sentinel = shop
    connections = [{'name': name, 'host': '127.0.0.1', 'port': sentinel.port, 'master': of}
                   for name, of in (('known', 'shop'), ('unknown', 'nobody'))]
    with visiting(browser, redis={'connections': connections}) as visitor:
        visitor.wait_until_shown('#connections')
        visitor.click('#connections li:last-child a')
        visitor.wait_for_text('#status', 'The Sentinel knows no master of the name nobody.')
        visitor.click('#connections a')
        visitor.wait_for_text('#session-place', 'known')
        assert visitor.text('#session-where') == 'master ' + address(master)
        assert visitor.page.evaluate('location.hash') == '#known/0'


def test_a_sentinel_that_was_taken_for_a_redis_asks_for_the_name_of_the_master(browser, shop, gallery):
    _, _, sentinel = shop
    with visiting(browser) as visitor:
        connect(visitor, sentinel.port, 'This server is a Sentinel')
        visitor.wait_for_text('#key-failure', 'To see those of a master, name it when you connect.')
        gallery.hang(visitor, 'sentinel-without-master')
        assert 'shop' in run_command(visitor, 'SENTINEL MASTERS')


def test_the_master_that_a_sentinel_tells_of_is_followed_to_the_next_one(browser, gallery):
    with running_shop() as (master, replica, sentinel), visiting(browser) as visitor:
        master.ask('SET', 'key', 'before')
        wait_until(lambda: replica.ask('DBSIZE') == b':1\r\n')
        fill_target(visitor, sentinel.port)
        visitor.fill('#target-master', u'shop')
        gallery.hang(visitor, 'sentinel-form')
        visitor.click('#connect')
        visitor.wait_for_text('#status', 'found.')
        assert visitor.text('#session-where') == 'master ' + address(master)
        open_key(visitor, u'key')
        master.end()
        visitor.wait_for_text('#status', 'The connection is lost')
        gallery.hang(visitor, 'sentinel-lost')
        visitor.wait_for_text('#status', 'The master is %s now; it was %s' % (address(replica), address(master)),
                              SECONDS)
        assert visitor.text('#session-where') == 'master ' + address(replica)
        save(visitor, u'after')
        assert replica.ask('GET', 'key') == b'after'
