# -*- coding: utf-8 -*-
"""A real gateway for each test, and a census after it: nothing may be left behind."""

import gc
import json
import logging
import os
import resource
import socket
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import ws2s  # noqa: E402
from census import census, descriptors, is_empty  # noqa: E402
from certificates import made_pki  # noqa: E402
from chromium import running_chromium  # noqa: E402
from raw_client import RawClient  # noqa: E402
from redis_server import running_redis  # noqa: E402
from visitor import Gallery, visited  # noqa: E402
from waiting import wait_until  # noqa: E402


def forget_failure():
    """Of a test that has failed Python keeps the frames, and with them sockets, which would go during the next one."""
    if getattr(sys, 'last_traceback', None):
        sys.last_type = sys.last_value = sys.last_traceback = sys.last_exc = None
        gc.collect()


@pytest.fixture(autouse=True)
def nothing_left():
    """After each test: as many threads, descriptors and children as before it."""
    forget_failure()
    before, opened = census(), descriptors()
    yield
    try:
        wait_until(lambda: census() == before, 5)
    except AssertionError:
        new = {fd: path for fd, path in descriptors().items() if opened.get(fd) != path}
        raise AssertionError('left behind: %r, was %r; new descriptors %r' % (census(), before, new))


@pytest.fixture
def running_gateway():
    """Starts gateways: ``running_gateway(config, resolve=..., ...)``; config is a dict laid over the test defaults.

    By default they listen on a free port, may connect to this machine and show no pages. Each must end with nothing
    left in it.
    """
    begun = []

    def start(config=None, **parameters):
        settings = dict({'listen': {'port': 0}, 'allowConnectToServerLocal': True, 'web': False}, **(config or {}))
        text = json.dumps(settings)
        gateway = ws2s.Gateway(ws2s.parse_config(text.decode('ascii') if isinstance(text, bytes) else text),
                               **parameters)
        gateway.start()
        begun.append(gateway)
        return gateway

    yield start
    for gateway in begun:
        gateway.stop()
        assert is_empty(gateway)


@pytest.fixture
def small_kernel_buffers(monkeypatch):
    """The gateway's ends of its connections: the kernel would take many MB at once, and more the quicker we read."""
    prepare = ws2s.prepare

    def prepare_with_small_buffers(sock):
        prepare(sock)
        for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
            sock.setsockopt(socket.SOL_SOCKET, option, 65536)

    monkeypatch.setattr(ws2s, 'prepare', prepare_with_small_buffers)


class Mistakes(logging.Handler):
    """Keeps what the gateway logs of failures of its own code."""

    def __init__(self):
        logging.Handler.__init__(self)
        self.found = []

    def emit(self, record):
        if 'a mistake of ws2s itself' in record.getMessage():
            self.found.append(record.getMessage())


@pytest.fixture
def no_mistakes():
    """The gateways of the test must not have failed within: whatever clients do is expected of them."""
    mistakes = Mistakes()
    logging.getLogger('ws2s').addHandler(mistakes)
    yield
    logging.getLogger('ws2s').removeHandler(mistakes)
    assert not mistakes.found, '\n'.join(mistakes.found)


@pytest.fixture
def heard(monkeypatch):
    """How many bytes gateways have read of requests, by reads."""
    counts, on_received = [], ws2s.Visit.on_received

    def recorded(visit, stream, data):
        on_received(visit, stream, data)
        counts.append(len(data))

    monkeypatch.setattr(ws2s.Visit, 'on_received', recorded)
    return counts


@pytest.fixture
def many_descriptors():
    """Room for some thousand connections with both ends in this process."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = 8192 if hard == resource.RLIM_INFINITY else min(hard, 8192)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, most), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture
def gateway(running_gateway):
    """A gateway with the test defaults."""
    return running_gateway()


@pytest.fixture
def client(gateway):
    """A raw client with an open WebSocket to ``gateway``."""
    with RawClient(gateway.address) as raw:
        yield raw.open()


@pytest.fixture(scope='module')
def browser():
    with running_chromium() as running:
        yield running


@pytest.fixture
def gallery(tmpdir):
    return Gallery(str(tmpdir))


@pytest.fixture
def console(browser, gateway):
    """The console of the module's ``gateway``."""
    with visited(browser, gateway) as visitor:
        yield visitor


@pytest.fixture
def measured_client(browser, gateway):
    """The Redis page of the module's ``gateway``, which has nothing to do but its own work."""
    with visited(browser, gateway, 'redis.html', sees_network=False) as visitor:
        yield visitor


@pytest.fixture
def redis():
    """For one test, which may change its settings."""
    with running_redis() as server:
        yield server


@pytest.fixture(scope='session')
def pki():
    pki, remove = made_pki()
    yield pki
    remove()


@pytest.fixture(scope='session')
def good(pki):
    """A Certified of a server that is target.test and 127.0.0.1."""
    return pki.server('good')
