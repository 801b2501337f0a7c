# -*- coding: utf-8 -*-
"""A way to the gateway that dies, a gateway that is killed or stopped, a tab that is suspended: pages notice it, tell
it, and repeat nothing by themselves, in Chromium. How long that takes is a test of tests/js/silence.test.js."""

import contextlib
import json
import os
import signal
import time

import pytest

from page_visits import connect, log_in, run_command
from redis_server import running_redis
from targets import MortalPath, echo, serving
from visitor import Visitor, http, running_gateway_program, visited
from waiting import wait_until

pytestmark = pytest.mark.pages

HEARTBEAT = 700   # milliseconds
NOTICED = 45      # seconds
PROGRAM = """
globalThis.told = [];
import('/ws2s.mjs').then(async ({default: WS2S, Redis}) => {
    const url = location.origin.replace(/^http/, 'ws'), {host, port, redisPort, heartbeat} = %s;
    const connection = await WS2S.connect(url, {host, port, heartbeat});
    const tell = what => ({reason}) => told.push([what, reason]);
    connection.closed.catch(tell('closed'));
    globalThis.writer = connection.writable.getWriter();
    writer.closed.catch(tell('writable'));
    const reader = connection.readable.getReader();
    const read = () => reader.read().then(({value}) => { globalThis.heard = value; return read(); });
    read().catch(tell('readable'));
    const retry = {first: 50, longest: 500};
    const redis = new Redis(url, {host, port: redisPort, heartbeat, timeout: 2000, retry, text: true});
    redis.onLost = tell('lost');
    globalThis.increment = () => redis.command('INCR', 'n').catch(({reason}) => reason);
    return increment();
})
"""
LOST = [['closed', 'gateway-lost'], ['readable', 'gateway-lost'], ['writable', 'gateway-lost']]


@pytest.fixture
def echo_port():
    with serving(echo) as port:
        yield port


@contextlib.contextmanager
def page_at(browser, address, redis, port):
    """A page of the gateway at this address, which has a connection to ``port`` and one to Redis."""
    settings = {'host': '127.0.0.1', 'port': port, 'redisPort': redis.port, 'heartbeat': HEARTBEAT}
    with browser.page('http://%s:%d/' % address) as page:
        assert page.evaluate(PROGRAM % json.dumps(settings)) == 1
        yield page


def told(page):
    """Of the connection, in some order, and the first that Redis was told."""
    events = page.evaluate('told')
    losses = [event for event in events if event[0] == 'lost']
    return sorted(event for event in events if event not in losses), losses[:1]


def wait_for_loss(page):
    wait_until(lambda: told(page) == (LOST, [['lost', 'gateway-lost']]), NOTICED, 'the loss to be noticed')


def increments(redis):
    """How often Redis was asked for that, answered or not."""
    stats = redis.ask('INFO', 'commandstats').decode('ascii')
    return int(stats.split('cmdstat_incr:calls=')[1].split(',')[0])


def connected_again(page):
    """What INCR gives as soon as it is answered. What is not sent rejects, but not with not-answered."""
    def answer():
        value = page.evaluate('increment()')
        assert value != 'not-answered'
        return value if isinstance(value, int) else None
    return wait_until(answer, NOTICED, 'Redis to be reached again')


def test_a_path_that_swallows_all_is_noticed_and_nothing_is_repeated(browser, redis, echo_port):
    with running_gateway_program() as gateway:
        path = MortalPath(gateway.address)
        with serving(path) as port, page_at(browser, ('127.0.0.1', port), redis, echo_port) as page:
            path.die()
            asked = page.begin_to_evaluate('increment()')
            wait_for_loss(page)
            assert asked() == 'not-answered'
            assert connected_again(page) == 2
            assert increments(redis) == 2


def test_a_gateway_that_is_stopped_is_noticed_and_nothing_is_repeated(browser, redis, echo_port):
    with running_gateway_program() as gateway, page_at(browser, gateway.address, redis, echo_port) as page:
        gateway.signal(signal.SIGSTOP)
        try:
            asked = page.begin_to_evaluate('increment()')
            wait_for_loss(page)
            assert asked() == 'not-answered'
        finally:
            gateway.signal(signal.SIGCONT)
        # The gateway may carry out what had come before it was given up.
        assert connected_again(page) == increments(redis) <= 3


def test_a_gateway_that_is_killed_is_noticed_and_nothing_is_repeated(browser, redis, echo_port):
    with running_gateway_program() as gateway:
        address = gateway.address
        with page_at(browser, address, redis, echo_port) as page:
            gateway.signal(signal.SIGKILL)
            wait_for_loss(page)
            gateway.wait()
            with running_gateway_program(port=address[1]):
                assert connected_again(page) == increments(redis) == 2


def test_a_suspended_tab_notices_when_it_wakes_and_nothing_is_repeated(browser, redis, echo_port):
    """Chromium ends the WebSockets of a tab that it suspends, and tells it when that wakes."""
    with running_gateway_program() as gateway, page_at(browser, gateway.address, redis, echo_port) as page:
        page.call('Page.setWebLifecycleState', state='frozen')
        page.call('Page.setWebLifecycleState', state='active')
        wait_for_loss(page)
        assert connected_again(page) == increments(redis) == 2


def test_a_tab_that_has_stood_still_loses_nothing(browser, redis, echo_port):
    """As it does while the computer sleeps: each time longer than a ping may take."""
    with running_gateway_program() as gateway, page_at(browser, gateway.address, redis, echo_port) as page:
        for _ in range(3):
            stand_still(browser, 4 * HEARTBEAT / 1000.0)
            assert page.evaluate('increment()') == increments(redis)
        page.evaluate('writer.write(new Uint8Array(3)).then(() => 0)')
        wait_until(lambda: page.evaluate('globalThis.heard?.length') == 3)
        assert page.evaluate('told') == []


def stand_still(browser, seconds):
    """All pages of the browser; the network goes on."""
    pids = browser.processes('renderer')
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        time.sleep(seconds)
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def test_the_pages_tell_that_the_way_is_lost_and_offer_to_try_again(browser, redis):
    """Both at the same time, as it takes 15 seconds."""
    redis.ask('SET', 'k', 'v')
    with running_gateway_program() as gateway, serving(echo) as target:
        path = MortalPath(gateway.address)
        with serving(path) as port:
            url = 'http://127.0.0.1:%d/' % port
            with browser.page(url) as first, browser.page(url + 'redis.html') as second:
                console, client = Visitor(first), Visitor(second)
                connect(console, target)
                log_in(client, redis.port)
                run_command(client, u'INCR n')
                path.die()
                for page in first, second:
                    page.evaluate("dispatchEvent(new Event('online'))")
                console.wait_for_text('#status', '(gateway-lost)', NOTICED)
                assert console.text('#connect') == 'Retry'
                client.wait_for_text('#status', 'Connected again', NOTICED)
                assert run_command(client, u'INCR n') == '(integer) 2'
                console.click('#connect')
                console.wait_for_text('#status', 'Connected to')
                console.wait_until_hidden('#connect')


def test_an_attempt_that_fails_offers_to_try_again_until_something_else_is_filled_in(browser):
    for path in '', 'redis.html':
        with running_gateway_program() as gateway, browser.page(http(gateway, path)) as page:
            visitor = Visitor(page)
            assert visitor.text('#connect') == 'Connect'
            with serving(lambda sock: None) as port:
                pass
            connect(visitor, port, 'refused')
            assert visitor.text('#connect') == 'Retry'
            visitor.fill('#target-port', str(port + 1))
            assert visitor.text('#connect') == 'Connect'


# -- a cluster ---------------------------------------------------------------------------------------------------------

CLUSTER = '--cluster-enabled', 'yes', '--cluster-port', '{tls_port}'
ASK_CLUSTER = """
import('/cluster.mjs').then(async ({RedisCluster}) => {
    const cluster = new RedisCluster(location.origin.replace(/^http/, 'ws'), {host: '127.0.0.1', port: %d, text: true});
    await cluster.command('SET', '{k}1', 'v');
    const replies = await cluster.multi([['GET', '{k}1'], ['INCR', '{k}2']]);
    await cluster.close();
    return replies;
})
"""


def test_the_client_of_a_cluster_works_in_a_page(browser):
    with running_redis(*CLUSTER) as redis, running_gateway_program() as gateway:
        redis.ask('CLUSTER', 'ADDSLOTS', *[str(slot) for slot in range(16384)])
        wait_until(lambda: b'cluster_state:ok' in redis.ask('CLUSTER', 'INFO'), what='the cluster to begin')
        with visited(browser, gateway) as visitor:
            assert visitor.page.evaluate(ASK_CLUSTER % redis.port) == ['v', 1]
