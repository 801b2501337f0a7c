# -*- coding: utf-8 -*-
"""The race of a target's addresses (RFC 8305), by a clock that only the test sets; and where connections come from."""

import collections
import contextlib
import json
import os
import socket
import subprocess
import sys

import pytest

import ws2s
from canary import canary
from census import descriptors, is_empty
from program import clean_environment
from raw_client import BINARY, RawClient
from targets import closed_port, serving
from test_own_addresses import unsharing
from waiting import wait_until
from ways import WAYS

pytestmark = pytest.mark.usefixtures('no_mistakes')

USED_PORTS = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'used_ports.py')
SECONDS, STEP = 10.0, 1 / 64.0  # for a whole dial
DEAD, REFUSED, GOOD = 'dead', 'refused', 'good'
HOSTS = {'': '127.0.0.1', '6': '::1'}


class Clock(object):
    """The loop's. It goes by STEP, so that sums are exact."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


class Silent(object):
    """A listener that answers no SYN until it is woken: its queue is full."""

    def __init__(self, host):
        self._listener = socket.socket(socket.AF_INET6 if ':' in host else socket.AF_INET)
        self._listener.bind((host, 0))
        self._listener.listen(0)
        self.address = self._listener.getsockname()
        self._filler = socket.create_connection(self.address[:2], 10)

    def wake(self):
        self._listener.accept()[0].close()

    def close(self):
        self._filler.close()
        self._listener.close()


class Race(object):
    """A Connect to addresses of these kinds, and what it has told."""

    def __init__(self, kinds, seconds, clock, make=ws2s.Connect):
        self.clock, self.loop, self.told, self.silent, self._listeners = clock, ws2s.Loop(), [], [], []
        self.addresses = [self._address(kind.rstrip('6'), '6' if kind.endswith('6') else '') for kind in kinds]
        self.connect = make(self.loop, self.addresses, seconds, lambda *result: self.told.append(result))
        self.began = clock.now
        self.connect.begin()
        self.turn()

    def _address(self, kind, version):
        host = HOSTS[version]
        if kind == DEAD:
            self.silent.append(Silent(host))
            address = self.silent[-1].address
        elif kind == GOOD:
            self._listeners.extend(ws2s.bound_sockets(host, 0))
            address = self._listeners[-1].getsockname()
        else:
            address = (host, closed_port())
        return socket.AF_INET6 if version else socket.AF_INET, address

    def turn(self):
        self.loop.waker.wake()
        self.loop.turn()

    def seconds(self):
        """How long the dial takes by the clock."""
        while not self.told:
            assert self.clock.now < self.began + SECONDS + 1, 'no answer'
            assert len(self.connect._attempts) <= ws2s.RIVALS
            self.clock.now += STEP
            self.turn()
        return self.clock.now - self.began

    def close(self):
        self.connect.cancel()
        for sock, _ in self.told:
            if sock is not None:
                sock.close()
        for one in self.silent + self._listeners:
            one.close()
        self.loop.close()


@pytest.fixture
def race(monkeypatch):
    clock, begun = Clock(), []
    monkeypatch.setattr(ws2s, 'monotonic', clock)

    def begin(kinds, seconds=SECONDS, **parameters):
        begun.append(Race(kinds, seconds, clock, **parameters))
        return begun[-1]
    yield begin
    for one in begun:
        one.close()


def has_ipv6():
    return ws2s.can_bind('::1')


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason='needs IPv6 on this machine')

WON = [
    ([GOOD], 0, 0),
    ([DEAD, GOOD], 0.25, 1),
    ([REFUSED, GOOD], 0, 1),
    ([GOOD, DEAD], 0, 0),
    ([DEAD, REFUSED, GOOD], 0.25, 2),
    ([DEAD, DEAD, GOOD], 0.5, 2),
    ([REFUSED, DEAD, REFUSED, GOOD, DEAD], 0.25, 3),
    ([REFUSED] * 19 + [GOOD], 0, 19),
    ([DEAD] + [REFUSED] * 18 + [GOOD], 0.25, 19),
    ([DEAD, GOOD] + [DEAD] * 18, 0.25, 1),
    ([DEAD] * 19 + [GOOD], 4.75, 19),
    pytest.param([DEAD + '6', GOOD], 0.25, 1, marks=needs_ipv6),
    pytest.param([DEAD, GOOD + '6'], 0.25, 1, marks=needs_ipv6),
]


@pytest.mark.parametrize('kinds, seconds, winner', WON, ids=lambda value: str(value)[:60])
def test_a_silent_address_costs_a_quarter_of_a_second_and_one_that_refuses_nothing(race, kinds, seconds, winner):
    one = race(kinds)
    assert one.seconds() == seconds
    ((sock, failure),) = one.told
    assert failure is None and sock.getpeername()[:2] == one.addresses[winner][1][:2]


@pytest.mark.parametrize('kinds, seconds, failure', [
    ([DEAD], SECONDS, ws2s.TIMEOUT), ([DEAD] * 3, SECONDS, ws2s.TIMEOUT), ([DEAD] * 20, SECONDS, ws2s.TIMEOUT),
    ([REFUSED], 0, ws2s.REFUSED), ([REFUSED] * 20, 0, ws2s.REFUSED), ([DEAD, REFUSED], SECONDS, ws2s.REFUSED),
    ([REFUSED, DEAD], SECONDS, ws2s.REFUSED)], ids=lambda value: str(value)[:60])
def test_where_none_answers_the_whole_time_is_used_and_a_refusal_is_told_first(race, kinds, seconds, failure):
    one = race(kinds)
    assert one.seconds() == seconds
    assert one.told == [(None, failure)]


@pytest.mark.parametrize('count, seconds', [(2, 0.3), (3, 0.3), (20, 1.0)])
def test_where_there_is_little_time_each_address_has_its_share(race, count, seconds):
    one = race([DEAD] * (count - 1) + [GOOD], seconds)
    assert one.seconds() < seconds + STEP and one.told[0][1] is None


@pytest.mark.parametrize('first', [0, 1])
def test_of_two_that_are_slow_the_one_that_answers_first_wins(race, first):
    one = race([DEAD, DEAD])
    one.clock.now += 0.26
    one.turn()
    assert len(one.connect._attempts) == 2
    one.silent[first].wake()
    wait_until(lambda: one.turn() or one.told, 20)  # the system repeats a SYN after a second
    ((sock, failure),) = one.told
    assert failure is None and sock.getpeername() == one.silent[first].address
    assert one.connect._attempts == [] and one.loop.live_timers() == 0


@pytest.mark.parametrize('kinds', [[DEAD] * 4 + [GOOD], [DEAD] * 4 + [REFUSED], [DEAD] * 20], ids=len)
@pytest.mark.parametrize('is_cancelled', [False, True], ids=['ended', 'cancelled'])
def test_losers_are_closed_and_nothing_is_left(race, kinds, is_cancelled):
    one = race(kinds)
    before = len(descriptors()) - 1  # that of the first attempt
    if is_cancelled:
        one.clock.now += 0.6
        one.turn()
        one.turn()
        assert one.connect._attempts
        one.connect.cancel()
    else:
        one.seconds()
    sockets = [sock for sock, _ in one.told if sock is not None]
    assert len(descriptors()) == before + len(sockets)
    assert one.loop.live_timers() == 0
    one.clock.now += SECONDS
    one.turn()
    assert len(one.told) == int(not is_cancelled)


def test_datagrams_do_not_race(race):
    class UdpConnect(ws2s.Connect):
        kind = socket.SOCK_DGRAM
    one = race([REFUSED, GOOD], make=UdpConnect)
    assert one.seconds() == 0
    assert one.told[0][0].getpeername() == one.addresses[0][1]


A, B, C, X, Y = [(socket.AF_INET, (name, 1)) for name in 'abc'] + [(socket.AF_INET6, (name, 1)) for name in 'xy']


@pytest.mark.parametrize('found, expected', [
    ([A], [A]), ([A, B], [A, B]), ([X, A], [X, A]), ([A, B, X], [A, X, B]), ([X, Y, A, B, C], [X, A, Y, B, C]),
    ([A, B, C, X], [A, X, B, C]), ([X, A, B, Y, C], [X, A, Y, B, C])], ids=str)
def test_families_take_turns_and_the_first_of_the_resolver_leads(found, expected):
    assert ws2s.interleaved(found) == expected


# -- through gateways --------------------------------------------------------------------------------------------------

def gateway_config(**changes):
    return dict({'allowConnectToServerLocal': True, 'web': False}, **changes)


@pytest.mark.parametrize('way', [way for way in WAYS if 'ssh' not in way.name and 'udp' not in way.name],
                         ids=lambda way: way.name)
def test_a_name_with_a_dead_address_is_reached_by_every_way(running_gateway, way):
    """Half of the hour would go to that address without a race."""
    dead = Silent('127.0.0.1')
    try:
        with canary([], ['127.0.0.1']) as port, way.config(u'name.test', port) as config:
            addresses = [(socket.AF_INET, dead.address), (socket.AF_INET, ('127.0.0.1', port))]
            gateway = running_gateway(gateway_config(limits={'connectSeconds': 3600}, **config),
                                      resolve=lambda host, port: addresses)
            assert way.ask(gateway, u'name.test', port) == way.reached
            wait_until(lambda: is_empty(gateway))
    finally:
        dead.close()


# -- where connections come from ---------------------------------------------------------------------------------------

needs_linux = pytest.mark.skipif(not os.path.isdir('/proc/self/fd'), reason='needs Linux: all of 127.0.0.0/8 is there')


FROM = b'127.0.0.1'


@contextlib.contextmanager
def naming(host):
    """The port of a target that says where its clients come from, in as many bytes as FROM has."""
    def tell(sock):
        sock.sendall(sock.getpeername()[0].encode('ascii').ljust(len(FROM)))

    with serving(tell, host) as port:
        yield port


def asked(gateway, host, port):
    with RawClient(gateway.address) as client:
        client.open().connect_to(port, host=host)
        return client.receive_data(len(FROM)).strip()


@needs_linux
def test_targets_see_the_source_addresses_by_turns_and_those_of_another_family_what_the_system_chooses(running_gateway):
    gateway = running_gateway(gateway_config(dial={'sourceAddresses': ['127.0.0.2', '127.0.0.3']}))
    with naming('127.0.0.1') as port:
        assert [asked(gateway, '127.0.0.1', port) for _ in range(4)] == [b'127.0.0.2', b'127.0.0.3'] * 2
        gateway.reload(gateway.config.replace({'dial.sourceAddresses': ['127.0.0.4']}))
        wait_until(lambda: asked(gateway, '127.0.0.1', port) == b'127.0.0.4')
    if has_ipv6():
        with naming('::1') as port:
            assert asked(gateway, '::1', port) == b'::1'


@needs_linux
def test_datagrams_come_from_a_source_address_too(running_gateway):
    gateway = running_gateway(gateway_config(raw={'udp': True}, dial={'sourceAddresses': ['127.0.0.2']}))
    with contextlib.closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as target:
        target.settimeout(10)
        target.bind(('127.0.0.1', 0))
        with RawClient(gateway.address) as client:
            client.open('/?host=127.0.0.1&port=%d&udp=1' % target.getsockname()[1]).send_frame(BINARY, b'x')
            assert target.recvfrom(100)[1][0] == '127.0.0.2'


@needs_linux
@pytest.mark.parametrize('source', ['127.0.0.2', '127.0.0.1'])
def test_from_a_source_address_the_gateway_is_as_little_reached_as_ever(running_gateway, source):
    gateway = running_gateway(gateway_config(dial={'sourceAddresses': [source]}))
    with RawClient(gateway.address) as client:
        client.open()
        for host in ('127.0.0.1', source, '127.0.0.9'):
            assert client.ask(command='connect', host=host, port=gateway.address[1])['reason'] == 'forbidden'


@pytest.mark.parametrize('address', ['192.0.2.1', '2001:db8::d5'])
def test_a_source_address_that_is_not_ours_is_told_before_anything_is_served(running_gateway, address):
    config = ws2s.DEFAULTS.replace({'listen.port': 0, 'dial.sourceAddresses': [address]})
    with pytest.raises(ws2s.ConfigError) as caught:
        ws2s.Gateway(config).start()
    assert str(caught.value).startswith('"dial.sourceAddresses": %s is no address of this machine' % address)
    gateway = running_gateway()
    with pytest.raises(ws2s.ConfigError):
        gateway.reload(config)


def dialled_with_four_ports(*arguments):
    """What used_ports.py has found."""
    words = unsharing()
    if words is None:
        pytest.skip('owed: no network namespaces are allowed here')
    output = subprocess.check_output(words + [sys.executable, USED_PORTS] + [str(argument) for argument in arguments],
                                     env=clean_environment(os.path.expanduser('~')))
    return json.loads(output.decode('ascii'))


@pytest.mark.programs
@pytest.mark.parametrize('sources, most', [([], 4), (['127.0.0.2'], 4), (['127.0.0.2', '127.0.0.3'], 8)],
                         ids=['none', 'one', 'two'])
def test_each_source_address_has_all_ports_for_each_target(sources, most):
    found = dialled_with_four_ports(2, most + 1, *sources)
    expected = collections.Counter({source: 2 * 4 for source in sources or ['127.0.0.1']})
    expected['limit: ' + ws2s.NO_PORT.message] = 2  # the last to each target
    assert collections.Counter(found) == expected
    assert found[most] == found[-1] == 'limit: ' + ws2s.NO_PORT.message
