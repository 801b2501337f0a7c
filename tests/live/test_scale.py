# -*- coding: utf-8 -*-
"""Two gateways of two workers behind haproxy and nginx, configured as README.md says."""

import contextlib
import functools
import os

import pytest

from fronts import ScaledHaproxy, ScaledNginx, TlsClient, running
from raw_client import RawClient, exchange
from service import Crowd, Newcomers, Service, echoing, ended
from targets import echo, serving
from waiting import wait_until

pytestmark = [pytest.mark.programs, pytest.mark.independent]

HEALTHZ = b'GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n'


@contextlib.contextmanager
def two_gateways(tmpdir, kind, **limits):
    """(their Services, a class of clients that trust the front, its address)."""
    one, two = [Service(tmpdir.mkdir(name), web=False, trustedProxies=['127.0.0.1'],
                        limits=dict({'drainSeconds': 1}, **limits),
                        listen={'port': 0, 'proxyProtocol': kind is ScaledHaproxy}) for name in ('one', 'two')]
    with ended(one), ended(two), running(kind, [service.start().address for service in (one, two)]) as front:
        yield (one, two), functools.partial(TlsClient, certificate=front.certificate), ('127.0.0.1', front.port)


@pytest.mark.parametrize('count', [60, pytest.param(1000, marks=pytest.mark.soak)])
def test_clients_behind_haproxy_lose_nothing_in_three_upgrades_of_each_gateway(tmpdir, many_descriptors, count):
    with two_gateways(tmpdir, ScaledHaproxy) as (services, client, address), echoing() as port:
        with Crowd(address, count, port, client) as crowd, Newcomers(address, port, client) as newcomers:
            crowd.begin()
            for service in 3 * services:
                before = service.pid
                service.do('upgrade')
                assert service.pid != before
                crowd.goes_on()
                newcomers.goes_on()
            crowd.finish()
            newcomers.finish()
            print('%d clients: %d rounds, %d newcomers' % (count, crowd.rounds, newcomers.rounds))
        for service in services:
            wait_until(lambda: sorted(service.processes()) == sorted([service.pid] + service.workers))


def checks(lines):
    """How many health checks were answered well."""
    return sum('got 200: GET /healthz' in line for line in lines)


def keep_port(service):
    service.configure(listen=dict(service.config['listen'], port=service.address[1]))


def test_behind_haproxy_a_gateway_may_be_stopped_and_started_and_no_newcomer_is_refused(tmpdir):
    with two_gateways(tmpdir, ScaledHaproxy, announceSeconds=8) as (services, client, address), echoing() as port:
        with Newcomers(address, port, client) as newcomers:
            for service in services:
                keep_port(service)
                newcomers.goes_on()
                service.do('stop')
                newcomers.goes_on()
                begun = len(service.log)
                service.do('start')
                wait_until(lambda: checks(service.log[begun:]) > 2)
                newcomers.goes_on()
            newcomers.finish()


def test_behind_nginx_newcomers_find_the_gateway_that_serves(tmpdir):
    with two_gateways(tmpdir, ScaledNginx) as (services, client, address), echoing() as port:
        newcomers = Newcomers(address, port, client)
        for service in services:
            keep_port(service)
            service.do('stop')
            for _ in range(10):
                newcomers.round()
            begun = len(service.log)
            service.do('start')
            wait_until(lambda: newcomers.round() or any('has left' in line for line in service.log[begun:]))


def test_a_gateway_that_is_about_to_stop_says_so_and_serves_as_before(running_gateway):
    gateway = running_gateway({'limits': {'announceSeconds': 600, 'drainSeconds': 1}})
    assert exchange(gateway.address, HEALTHZ)[0] == 200
    with serving(echo) as port, RawClient(gateway.address) as old:
        old.open().connect_to(port)
        gateway.drain()
        wait_until(lambda: exchange(gateway.address, HEALTHZ)[0] == 503)
        with RawClient(gateway.address) as new:
            new.open().connect_to(port)
            for client in (old, new):
                client.send_json(command='send', data='12345')
                assert client.receive_data(5) == b'12345'
            assert not gateway.draining
            gateway.drain()  # once more: at once
            assert old.receive_close()[0] == new.receive_close()[0] == 1001
        assert gateway.draining


def test_a_service_that_stops_announces_that_first(tmpdir):
    with ended(Service(tmpdir, workers=1, web=False, limits={'announceSeconds': 1, 'drainSeconds': 1})) as service:
        service.start().do('stop')
        assert service.processes() == []
        first, second = [line for line in service.log if 'stop: 0 clients' in line or 'stopping: 0 clients' in line]
        assert 'is about to stop' in first and 'is stopping' in second


def test_newcomers_find_a_unix_socket_as_long_as_a_stop_is_announced(tmpdir):
    path = str(tmpdir.join('s'))
    with ended(Service(tmpdir, workers=1, web=False, listen=[{'path': path}],
                       limits={'announceSeconds': 5, 'drainSeconds': 0})) as service:
        service.start()
        command = service.begin('stop')
        wait_until(lambda: any('is about to stop' in line for line in service.log))
        assert exchange(path, HEALTHZ)[0] == 503
        assert command.outcome()[0] == 0
        assert not os.path.exists(path) and service.processes() == []
