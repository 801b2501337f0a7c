# -*- coding: utf-8 -*-
"""Which addresses are the gateway's own machine, asked of networks that are made for it (security S01)."""

import errno
import json
import os
import socket
import struct
import subprocess
import sys

import pytest

import ws2s
from installed import needs
from program import clean_environment
from targets import own_address

pytestmark = pytest.mark.programs

INSIDE = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'namespace.py')
FORBIDDEN = 4
BIND = {4: 'ipv4/ip_nonlocal_bind', 6: 'ipv6/ip_nonlocal_bind'}
ADDRESSES = ['addr add 10.77.0.5/24 dev near', 'addr add 10.77.0.6/24 dev near',
             'addr add 2001:db8:7::5/64 dev near nodad', 'addr add 2001:db8:7::6/64 dev near nodad']
OWN = ['10.77.0.5', '10.77.0.6', '::ffff:10.77.0.5', '::ffff:10.77.0.6', '64:ff9b::10.77.0.6', '2001:db8:7::5',
       '2001:db8:7::6', '10.77.0.255', '127.0.0.1', '::1']
FOREIGN = ['10.77.0.7', '::ffff:10.77.0.7', '64:ff9b::10.77.0.7', '192.0.2.9', '::ffff:192.0.2.9', '2001:db8:7::7',
           '2001:db8:8::5']
ANY = {4: ['route add local 10.78.0.0/24 dev lo'], 6: ['-6 route add local 2001:db8:9::/64 dev lo']}


def unsharing():
    """The words before a command that give it a network of its own; none where that is not allowed."""
    needs('ip', 'iproute2')
    unshare = needs('unshare', 'util-linux')
    for words in ([unshare, '-n'], [unshare, '-r', '-n']):
        with open(os.devnull, 'w') as null:
            if subprocess.call(words + ['true'], stderr=null) == 0:
                return words
    return None


def in_namespace(hosts, ip=(), **sysctl):
    """What namespace.py has found: ({host: codes}, connections to the service)."""
    words = unsharing()
    if words is None:
        pytest.skip('owed: no network namespaces are allowed here')
    process = subprocess.Popen(words + [sys.executable, INSIDE], env=clean_environment(os.path.expanduser('~')),
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, close_fds=True)
    plan = {'ip': ADDRESSES + list(ip), 'hosts': hosts,
            'sysctl': {BIND[family]: sysctl.get('bind%d' % family, '0') for family in BIND}}
    output, errors = process.communicate(json.dumps(plan).encode('ascii'))
    assert process.returncode == 0, errors
    found = json.loads(output.decode('ascii'))
    if 'unable' in found:
        pytest.skip('owed: a network namespace cannot be set up here (%s)' % found['unable'])
    return found['hosts'], found['touched']


@pytest.mark.parametrize('sysctl', [{}, {'bind4': '1'}, {'bind6': '1'}, {'bind4': '1', 'bind6': '1'}],
                         ids=lambda sysctl: '+'.join(sorted(sysctl)) or 'default')
def test_own_addresses_are_refused_and_foreign_ones_are_not_whatever_a_socket_may_be_bound_to(sysctl):
    found, touched = in_namespace(OWN + FOREIGN, **sysctl)
    assert touched == 0
    assert [host for host in OWN if found[host] != [FORBIDDEN] * 2] == []
    assert [host for host in FOREIGN if FORBIDDEN in found[host]] == []


@pytest.mark.parametrize('sysctl', [{}, {'bind4': '1', 'bind6': '1'}], ids=['default', 'bind4+bind6'])
def test_networks_that_are_routed_to_this_machine_are_its_own(sysctl):
    own, foreign = ['10.78.0.9', '::ffff:10.78.0.9', '2001:db8:9::1234'], ['10.79.0.9', '2001:db8:a::1234']
    found, touched = in_namespace(own + foreign, ANY[4] + ANY[6], **sysctl)
    assert touched == 0
    assert [host for host in own if found[host] != [FORBIDDEN] * 2] == []
    assert [host for host in foreign if FORBIDDEN in found[host]] == []


def test_what_the_routing_table_makes_unreachable_is_not_own():
    found, _ = in_namespace(['10.80.0.1', '10.81.0.1', '10.82.0.1', '2001:db8:b::1'], [
        'route add unreachable 10.80.0.0/24', 'route add blackhole 10.81.0.0/24', 'route add prohibit 10.82.0.0/24',
        '-6 route add unreachable 2001:db8:b::/64'])
    assert [host for host in found if FORBIDDEN in found[host]] == []


# -- without an answer of the routing table ----------------------------------------------------------------------------

class Netlink(object):
    """A socket that gives this reply, or raises what it is."""

    def __init__(self, reply):
        self._reply = reply

    def send(self, data, flags):
        return len(data)

    def recv(self, count, flags):
        if isinstance(self._reply, socket.error):
            raise self._reply
        return self._reply[:count]

    def close(self):
        """Nothing is open."""


def replying(monkeypatch, reply):
    """All netlink sockets give this reply, or cannot be had for this error."""
    real = socket.socket

    def opened(family=socket.AF_INET, *parameters):
        if family != getattr(socket, 'AF_NETLINK', None):
            return real(family, *parameters)
        if isinstance(reply, tuple):
            raise socket.error(*reply)
        return Netlink(reply)
    monkeypatch.setattr(ws2s.socket, 'socket', opened)


def refusing(number):
    return struct.pack('=IHHIIi', 36, 2, 0, 0, 0, -number) + b'\0' * 16


needs_netlink = pytest.mark.skipif(not hasattr(socket, 'AF_NETLINK'), reason='needs Linux: it has netlink')


@needs_netlink
@pytest.mark.parametrize('reply', [
    b'', b'x', b'\0' * 24, b'\xff' * 24, refusing(errno.ENETUNREACH), refusing(errno.EPERM), refusing(errno.EINVAL),
    socket.error(errno.EAGAIN, ''), socket.error(errno.ECONNREFUSED, ''), (errno.EAFNOSUPPORT, ''), (errno.EPERM, '')],
    ids=lambda reply: repr(reply)[:40])
def test_without_a_good_answer_of_the_routing_table_what_can_be_bound_to_is_own(monkeypatch, reply):
    replying(monkeypatch, reply)
    assert ws2s.owns_address(ws2s.packed_address('127.0.0.1'))
    assert not ws2s.owns_address(ws2s.packed_address('198.51.100.7'))
    assert not ws2s.owns_address(ws2s.packed_address('2001:db8::7'))
    own = own_address()
    assert own is None or ws2s.owns_address(ws2s.packed_address('::ffff:' + own))


def test_a_system_without_netlink_is_asked_what_can_be_bound_to(monkeypatch):
    monkeypatch.delattr(socket, 'AF_NETLINK', raising=False)
    assert ws2s.owns_address(ws2s.packed_address('127.0.0.1'))
    assert not ws2s.owns_address(ws2s.packed_address('198.51.100.7'))


@pytest.mark.parametrize('is_routed, is_own', [(True, True), (False, False), (None, True)],
                         ids=['routed here', 'routed elsewhere', 'it does not say'])
def test_where_sockets_bind_to_any_address_the_routing_table_decides_or_all_are_own(monkeypatch, is_routed, is_own):
    monkeypatch.setattr(ws2s, 'can_bind', lambda text: True)
    monkeypatch.setattr(ws2s, 'is_routed_here', lambda packed: is_routed)
    assert ws2s.owns_address(ws2s.packed_address('198.51.100.7')) is is_own


@needs_netlink
@pytest.mark.parametrize('number', [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM])
def test_without_descriptors_nobody_is_taken_for_a_stranger(monkeypatch, number):
    replying(monkeypatch, (number, ''))
    with pytest.raises(ws2s.NetworkError):
        ws2s.owns_address(ws2s.packed_address('198.51.100.7'))


@needs_netlink
def test_to_ask_whose_an_address_is_leaves_nothing_open():
    for host in ('127.0.0.1', '198.51.100.7', '::1', '2001:db8::7', '::ffff:127.0.0.1'):
        before = len(os.listdir('/proc/self/fd'))
        ws2s.owns_address(ws2s.packed_address(host))
        assert len(os.listdir('/proc/self/fd')) == before
