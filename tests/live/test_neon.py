# -*- coding: utf-8 -*-
"""Neon's driver, which nobody here wrote, through the gateway, to a real PostgreSQL."""

import socket
import threading

import pytest

from node_program import run_node, running_node
from postgres_server import CLEAR, HOST, PASSWORD, SCRAM, running_postgres
from targets import released, serving
from waiting import wait_until

pytestmark = [pytest.mark.usefixtures('no_mistakes'), pytest.mark.pages]

SCRIPT = 'neon_client.js'
OWN_WEBSOCKET = ('--experimental-websocket',)  # Node 20 has one, but not without being asked
NAME = 'pg.example.com'
END = b'<end>'
LARGE = 5 * 1000 * 1000
DIALOG = [{'word': u'Gr\u00fc\u00dfe \u2603', 'number': 42}, '22012', {'two': 2}]


@pytest.fixture(scope='module')
def postgres():
    with running_postgres() as server:
        yield server


@pytest.fixture
def settings(gateway, postgres):
    return settings_for(gateway, postgres)


def settings_for(gateway, server, **others):
    """Of a driver that names its target by a function, as its documentation has it."""
    settings = {'gateway': '%s:%d' % tuple(gateway.address), 'form': 'function', 'host': HOST, 'port': server.port,
                'user': CLEAR, 'password': PASSWORD}
    return dict(settings, **others)


def test_a_pool_is_served_on_as_many_connections_as_it_has(settings):
    assert run_node(SCRIPT, scenario='pool', **settings) == {'numbers': list(range(40)), 'pids': 4, 'payload': 'fresh'}


def test_transactions_are_kept_or_undone_and_seen_by_others_at_their_end(settings):
    assert run_node(SCRIPT, scenario='transactions', **settings) == [[1, 0], [1, 1], [2, 1], [1, 1]]


@pytest.mark.parametrize('web_socket', ['ws', 'node'])
def test_rows_of_five_megabytes_go_there_and_back(settings, web_socket):
    answer = run_node(SCRIPT, OWN_WEBSOCKET, scenario='large', bytes=LARGE, webSocket=web_socket, **settings)
    assert answer == [True, True, LARGE]


@pytest.mark.parametrize('form', ['function', 'string'])
@pytest.mark.parametrize('web_socket', ['ws', 'node'])
def test_the_target_in_the_url(settings, form, web_socket):
    changed = dict(settings, form=form, webSocket=web_socket)
    assert run_node(SCRIPT, OWN_WEBSOCKET, scenario='client', **changed) == DIALOG


def test_the_target_by_the_name_of_the_gateway_as_the_driver_comes(running_gateway, postgres):
    gateway = running_gateway({'raw': {'hostTargets': {NAME: '%s:%d' % (HOST, postgres.port)}, 'only': True}})
    settings = settings_for(gateway, postgres, form=None, host=NAME, address=gateway.address)
    assert run_node(SCRIPT, scenario='client', **settings) == DIALOG


def test_one_target_whatever_the_url(running_gateway, postgres):
    gateway = running_gateway({'raw': {'target': '%s:%d' % (HOST, postgres.port)}})
    settings = settings_for(gateway, postgres, form='fixed', host='db.invalid', port=1)
    assert run_node(SCRIPT, scenario='client', **settings) == DIALOG


def test_a_login_by_scram_waits_for_the_server(settings):
    changed = dict(settings, user=SCRAM, pipelineConnect=False)
    assert run_node(SCRIPT, scenario='client', **changed) == DIALOG


def test_what_was_written_before_end_reaches_the_server(settings, postgres):
    postgres.ask(u'CREATE TABLE kept (word text)')
    query = u"INSERT INTO kept SELECT 'kept' FROM pg_sleep(0.2)"
    assert run_node(SCRIPT, scenario='end', sql=query, **settings) == 'lost'
    wait_until(lambda: postgres.ask(u'SELECT word FROM kept') == 'kept')


def test_login_and_query_come_before_the_target_is_found_and_end_waits_for_nobody(running_gateway):
    heard, go = [], threading.Event()

    def hear(sock):
        for data in iter(lambda: sock.recv(65536), b''):
            heard.append(data)
        heard.append(END)

    def resolve(host, port):
        go.wait(60)
        return [(socket.AF_INET, (HOST, port))]

    with released(go), serving(hear) as port:
        gateway = running_gateway({'limits': {'drainSeconds': 600, 'connectSeconds': 60}}, resolve=resolve)
        settings = {'gateway': '%s:%d' % tuple(gateway.address), 'form': 'function', 'host': 'db.test', 'port': port,
                    'user': CLEAR, 'password': 'secret'}
        with running_node(SCRIPT, scenario='silence', **settings) as program:
            wait_until(lambda: gateway.budget.bytes, 30, 'the first message')
            go.set()
            wait_until(lambda: b''.join(heard).endswith(b'Q\0\0\0\rSELECT 1\0'), 30, 'the query')
            assert b'user\0clear\0' in b''.join(heard)
            assert b'p\0\0\0\x0bsecret\0' in b''.join(heard)
            assert program.result(b'end\n') == 'ended'
        wait_until(lambda: heard[-1] == END)
