# -*- coding: utf-8 -*-
"""npm's mqtt in Node through a gateway, over its own subprotocol, to a real mosquitto."""

import pytest

from installed import needs, needs_node_modules
from mosquitto import running_mosquitto
from players import NodeStage
from waiting import wait_until

pytestmark = [pytest.mark.pages, pytest.mark.usefixtures('no_mistakes')]

KEEPALIVE = 4  # seconds; the broker ends who has said nothing for one and a half of them


@pytest.fixture(scope='module')
def broker():
    with running_mosquitto() as server:
        yield server


@pytest.fixture
def url(running_gateway, broker):
    raw = {'target': '127.0.0.1:%d' % broker.port, 'subprotocols': ['sip', 'mqtt']}
    return 'ws://%s:%d/mqtt' % running_gateway({'raw': raw}).address


@pytest.fixture
def node():
    stage = NodeStage(needs('node', 'nodejs npm'), needs_node_modules(), 'mqtt_client.js')
    yield stage
    stage.end()


def has_left(broker, name):
    """In order: it has said so before it went, and the broker calls that no fault."""
    return 'Received DISCONNECT from %s\n' % name in broker.log() and 'Client %s disconnected.\n' % name in broker.log()


@pytest.mark.parametrize('scenario, settings', [('exchange', {'sizes': [0, 1, 1000, 1 << 20]}), ('retain', {})])
@pytest.mark.parametrize('version', [4, 5])
def test_messages_arrive_as_they_were_published_and_the_client_leaves_in_order(
        node, url, broker, version, scenario, settings):
    name = '%s-%d' % (scenario, version)
    outcome = node.run(scenario, url=url, clientId=name, protocolVersion=version, **settings)
    assert sorted(outcome['heard']) == sorted(outcome['sent'])
    wait_until(lambda: has_left(broker, name))


def test_a_client_that_says_nothing_is_kept_by_its_own_pings(node, url, broker):
    assert node.run('idle', url=url, clientId='idle', keepalive=KEEPALIVE, count=2) == 2
    assert broker.log().count('Received PINGREQ from idle\n') >= 2
    wait_until(lambda: has_left(broker, 'idle'))
