# -*- coding: utf-8 -*-
"""The life of an ssh process: none outlives what it was begun for, whichever side goes first and however."""

import contextlib
import json
import os
import random
import select
import signal
import socket
import struct
import subprocess
import threading
import time

import pytest

import ws2s
from census import descriptors, is_empty
from fake_ssh import (FakeSsh, is_alive, kill, option_values, private_directory, private_temporary_directory,
                      processes_that_know)
from installed import needs
from program import started
from raw_client import CLOSE, RawClient, frame
from ssh_server import make_key, running_sshd, some_account
from targets import echo, serving, silence, sink
from waiting import assert_holds, wait_until

pytestmark = [pytest.mark.programs, pytest.mark.independent, pytest.mark.usefixtures('no_mistakes')]

DONE = (0, None)
HOP = {'host': 'target.test', 'port': 80, 'ssh_host': '127.0.0.1', 'ssh_username': 'user', 'ssh_password': 'secret'}
SOON = 2


def outcome(reply):
    return reply['code'], reply.get('reason')


def request(**fields):
    return dict(HOP, command='connect', **fields)


def to_loopback(host, port):
    return [(socket.AF_INET, ('127.0.0.1', port))]


@pytest.fixture(autouse=True)
def temporary_directory(tmpdir):
    """`tmpdir` comes first, for pytest, too, asks where temporary files go."""
    with private_temporary_directory() as path:
        yield path


@pytest.fixture
def fake(tmpdir):
    return FakeSsh(str(tmpdir.mkdir('fake')))


def entries():
    return os.listdir(os.environ['TMPDIR'])


def check_all_gone(fake, seconds=SOON):
    wait_until(lambda: not fake.alive() and not entries(), seconds, 'every ssh and its files to be gone')


def is_echoing(client):
    client.send_json(command='send', data='x')
    return client.receive_data(1) == b'x'


@contextlib.contextmanager
def open_clients(gateway, count):
    clients = [RawClient(gateway.address).open() for _ in range(count)]
    try:
        yield clients
    finally:
        for client in clients:
            client.sock.close()


def gateway_of_its_own(fake, tmpdir, **options):
    """A Program. This process has grown by thousands of tests, and an old Python copies it for each ssh."""
    path = tmpdir.join('gateway.json')
    path.write(json.dumps(dict(fake.config(**options), listen={'port': 0}, allowConnectToServerLocal=True)))
    return started(['--config', str(path)], str(tmpdir), TMPDIR=os.environ['TMPDIR'])


# -- logins that hang --------------------------------------------------------------------------------------------------

CROWD = 12


def median_seconds(client, port, count=30):
    """How long a connect to a name takes that is looked up."""
    taken = []
    for _ in range(count):
        began = time.time()
        client.connect_to(port, 'name.test')
        taken.append(time.time() - began)
    return sorted(taken)[count // 2]


def check_that_a_crowd_slows_nobody(gateway, request_of_crowd, is_hanging, meanwhile=None):
    """``is_hanging()``: have all of the crowd got so far?"""
    seconds = gateway.config['ssh.timeoutSeconds']
    with serving(sink) as port, RawClient(gateway.address) as other, open_clients(gateway, CROWD) as crowd:
        alone = median_seconds(other.open(), port)
        began = time.time()
        for client in crowd:
            client.send_json(**request_of_crowd)
        all_asked = time.time()
        wait_until(is_hanging)
        assert median_seconds(other, port) < max(3 * alone, 0.02)
        if meanwhile:
            meanwhile()
        assert time.time() < began + seconds, 'too slow to tell anything'
        for client in crowd:
            assert outcome(client.receive_json()) == (6, 'ssh-timeout')
            assert began + seconds - 0.1 < time.time() < all_asked + seconds + 1


@pytest.mark.quiet
def test_logins_that_hang_slow_nobody_and_end_at_their_time(running_gateway, fake):
    fake.does(['hang'], quick=[['serve']])
    gateway = running_gateway(fake.config(timeoutSeconds=3), resolve=to_loopback)

    def another_login_works():
        with serving(sink) as port, RawClient(gateway.address) as client:
            fake.leads_to(port)
            assert outcome(client.open().ask(**request(ssh_username='quick'))) == DONE

    check_that_a_crowd_slows_nobody(gateway, request(), lambda: len(fake.notes('hanging')) == CROWD,
                                    another_login_works)
    check_all_gone(fake)


@pytest.mark.quiet
def test_servers_that_say_nothing_slow_nobody_and_end_at_their_time(running_gateway, tmpdir):
    config = {'program': needs('ssh', 'openssh-client'), 'knownHosts': str(tmpdir.join('known')), 'timeoutSeconds': 2}
    gateway = running_gateway({'ssh': config}, resolve=to_loopback)
    connected = []

    def stay_silent(sock):
        connected.append(sock)
        silence(sock)

    with serving(stay_silent) as port:
        check_that_a_crowd_slows_nobody(gateway, request(ssh_port=port), lambda: len(connected) == CROWD)
        wait_until(lambda: not entries() and not processes_that_know(os.environ['TMPDIR']), SOON)


# -- clients that leave ------------------------------------------------------------------------------------------------

def with_close(client):
    """And without an end of its TCP connection."""
    client.send_frame(CLOSE, struct.pack('!H', 1000))
    while client.receive_frame()[0] != CLOSE:
        pass


def with_fin(client):
    client.sock.shutdown(socket.SHUT_WR)


def with_reset(client):
    client.abort()


LEAVES = [with_close, with_fin, with_reset]
IGNORE_ALL = [['ignore', number] for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)]

# (steps, the note that tells that they are done)
HANGS = [
    ([['hang']], 'hanging'),
    ([['ask-in-vain', "user@hop's password: "], ['hang']], 'hanging'),
    (IGNORE_ALL + [['hang']], 'hanging'),
    (IGNORE_ALL + [['serve']], 'serving'),
]


@pytest.mark.parametrize('leave', LEAVES, ids=lambda leave: leave.__name__)
@pytest.mark.parametrize('steps, note', HANGS, ids=['in the login', 'in askpass', 'deaf', 'deaf and logged in'])
def test_with_its_client_ssh_goes_and_all_that_it_has_begun(running_gateway, fake, steps, note, leave):
    fake.does(*steps)
    gateway = running_gateway(fake.config(), resolve=to_loopback)
    with serving(sink) as port, RawClient(gateway.address) as client:
        fake.leads_to(port)
        client.open().send_json(**request())
        wait_until(lambda: fake.notes(note))
        assert len(fake.alive()) == (2 if steps[0][0] == 'ask-in-vain' else 1)
        leave(client)
        check_all_gone(fake)
    wait_until(lambda: is_empty(gateway), SOON)


def begin_to_forward(client, fake):
    """A second target, which `ssh -O forward` never gets done."""
    before = len(fake.notes('hanging'))
    client.send_json(**request(port=81))
    wait_until(lambda: len(fake.notes('hanging')) == before + 1)


def test_with_its_client_a_forwarding_goes_that_hangs(running_gateway, fake):
    fake.forwards_by(['hang'])
    gateway = running_gateway(fake.config(), resolve=to_loopback)
    with serving(sink) as port, RawClient(gateway.address) as client:
        fake.leads_to(port)
        assert outcome(client.open().ask(**request())) == DONE
        begin_to_forward(client, fake)
        client.abort()
        check_all_gone(fake)


def slowly(function, is_slow):
    """As where the folder for temporary files is slow."""
    def called(config, hop, *arguments):
        if is_slow(hop):
            threading.Event().wait(1)
        return function(config, hop, *arguments)
    return called


def test_ssh_goes_with_its_client_however_many_others_wait_for_theirs(running_gateway, fake, monkeypatch):
    monkeypatch.setattr(ws2s, 'blocking_open_tunnel',
                        slowly(ws2s.blocking_open_tunnel, lambda hop: hop.username == 'slow'))
    gateway = running_gateway(fake.config(), resolve=to_loopback)
    with serving(sink) as port, RawClient(gateway.address) as client, open_clients(gateway, 8) as crowd:
        fake.leads_to(port)
        assert outcome(client.open().ask(**request())) == DONE
        for other in crowd:
            other.send_json(**request(ssh_username='slow'))
        wait_until(lambda: len(gateway.tunnels.tunnels) == 9)
        client.abort()
        wait_until(lambda: not is_alive(fake.calls()[0]['pid']), SOON)
        for other in crowd:
            other.abort()
        # Those that were about to be begun are ended again; the others need not be begun any more.
        check_all_gone(fake, 2 * SOON)
        wait_until(lambda: not gateway.tunnels.tunnels)
    assert len(fake.calls()) < 8


def test_what_was_sent_before_its_client_left_still_goes_through(running_gateway, fake):
    """Behind a login, too (protocol, 2); then ssh goes at once."""
    fake.does(['wait'], ['serve'])
    gateway, received = running_gateway(fake.config(), resolve=to_loopback), []

    def keep(sock):
        data = sock.recv(65536)
        while data:
            received.append(data)
            data = sock.recv(65536)

    with serving(keep) as port, RawClient(gateway.address) as client:
        fake.leads_to(port)
        client.open().send_json(**request())
        client.send_json(command='send', data='last words')
        with_fin(client)
        wait_until(lambda: fake.notes('waiting'))
        fake.go()
        wait_until(lambda: b''.join(received) == b'last words')
        check_all_gone(fake, gateway.config['limits.drainSeconds'] + SOON)


def test_an_unused_tunnel_ends_after_a_while(running_gateway, fake, monkeypatch):
    monkeypatch.setattr(ws2s, 'TUNNEL_IDLE_SECONDS', 0.3)
    gateway = running_gateway(fake.config(), resolve=to_loopback)
    with serving(echo) as port, RawClient(gateway.address) as client:
        fake.leads_to(port)
        assert outcome(client.open().ask(**request())) == DONE
        assert_holds(lambda: fake.alive(), 0.6, 'the tunnel that is used')
        assert is_echoing(client)
        assert client.ask(command='close')['message'] == 'close done'
        check_all_gone(fake)
        assert outcome(client.ask(**request())) == DONE
        assert is_echoing(client)


# -- ssh that ends -----------------------------------------------------------------------------------------------------

def test_when_ssh_dies_the_client_hears_of_it_and_can_connect_again(running_gateway, fake):
    gateway = running_gateway(fake.config(), resolve=to_loopback)
    with serving(echo) as port, RawClient(gateway.address) as client:
        fake.leads_to(port)
        client.open()
        for _ in range(3):
            assert outcome(client.ask(**request())) == DONE
            assert is_echoing(client)
            kill(fake.calls()[-1]['pid'])
            assert client.receive_json()['code'] == 5
            assert outcome(client.ask(command='send', data='x')) == (3, 'not-connected')
            check_all_gone(fake)


def test_when_ssh_dies_in_the_login_it_is_code_6(running_gateway, fake):
    fake.does(['hang'])
    with RawClient(running_gateway(fake.config(), resolve=to_loopback).address) as client:
        client.open().send_json(**request())
        wait_until(lambda: fake.notes('hanging'))
        kill(fake.calls()[0]['pid'])
        assert outcome(client.receive_json()) == (6, 'ssh-failed')
        check_all_gone(fake)


def test_when_the_server_dies_the_client_hears_of_it(running_gateway, tmpdir):
    gateway = running_gateway({'ssh': {'knownHosts': str(tmpdir.join('known_hosts'))}})
    with some_account() as account, running_sshd(account) as server, serving(echo) as port:
        key = server.authorize(make_key(str(tmpdir)))
        with RawClient(gateway.address) as client:
            client.open().connect_to(port, ssh_private_key=key.text, **server.hop())
            assert is_echoing(client)
            server.stop()
            assert client.receive_json()['code'] == 5
            wait_until(lambda: not entries() and not processes_that_know(os.environ['TMPDIR']), SOON)


@pytest.mark.parametrize('steps', [[['hang']], IGNORE_ALL + [['hang']], [['end', 255]], [['say', 'no\n'], ['end', 1]]],
                         ids=['hangs', 'is deaf', 'fails', 'complains'])
def test_a_forwarding_that_does_not_come_about_is_a_failure_in_time(running_gateway, fake, steps):
    fake.forwards_by(*steps)
    gateway = running_gateway(dict(fake.config(), limits={'connectSeconds': 1}), resolve=to_loopback)
    with serving(echo) as port, RawClient(gateway.address) as client:
        fake.leads_to(port)
        assert outcome(client.open().ask(**request())) == DONE
        began = time.time()
        assert client.ask(**request(port=81))['code'] in (1, 6)
        assert time.time() - began < 1 + SOON
        wait_until(lambda: fake.alive() in ([], [fake.calls()[0]['pid']]), SOON)
        assert outcome(client.ask(**request())) == DONE
        assert is_echoing(client)


def test_a_local_end_that_takes_nothing_is_a_failure_in_time(running_gateway, fake):
    """As when ssh has been stopped."""
    gateway = running_gateway(dict(fake.config(), limits={'connectSeconds': 1}), resolve=to_loopback)
    with serving(echo) as port, RawClient(gateway.address) as client:
        fake.leads_to(port)
        assert outcome(client.open().ask(**request())) == DONE
        os.kill(fake.calls()[0]['pid'], signal.SIGSTOP)
        began = time.time()
        assert client.ask(**request())['code'] in (1, 6)
        assert time.time() - began < 1 + SOON
        assert outcome(client.ask(**request())) == DONE
        assert is_echoing(client)
    check_all_gone(fake)


# -- a gateway that ends -----------------------------------------------------------------------------------------------

QUICK_END = {'drainSeconds': 0.3}


def test_when_a_gateway_has_stopped_all_is_gone(running_gateway, fake):
    """An open tunnel, one that is unused, one in its login and one in askpass."""
    fake.does(['serve'], hung=[['hang']], asked=[['ask-in-vain', 'password: '], ['hang']])
    gateway = running_gateway(dict(fake.config(), limits=QUICK_END), resolve=to_loopback)
    with serving(sink) as port, open_clients(gateway, 4) as clients:
        fake.leads_to(port)
        for client in clients[:2]:
            assert outcome(client.ask(**request())) == DONE
        clients[1].ask(command='close')
        clients[2].send_json(**request(ssh_username='hung'))
        clients[3].send_json(**request(ssh_username='asked'))
        wait_until(lambda: len(fake.notes('hanging')) == 2)
        assert len(fake.alive()) == 5
        began = time.time()
        gateway.stop()
        assert ([call['pid'] for call in fake.calls() if is_alive(call['pid'])], entries()) == ([], [])
        assert time.time() - began < 0.3 + SOON
        check_all_gone(fake)


def test_when_a_gateway_has_stopped_forwardings_that_hung_are_gone(running_gateway, fake):
    fake.forwards_by(['hang'])
    gateway = running_gateway(dict(fake.config(), limits=QUICK_END), resolve=to_loopback)
    with serving(sink) as port, open_clients(gateway, 1) as clients:
        fake.leads_to(port)
        assert outcome(clients[0].ask(**request())) == DONE
        begin_to_forward(clients[0], fake)
        gateway.stop()
        assert (fake.alive(), entries()) == ([], [])


def test_when_a_gateway_has_stopped_what_was_just_begun_is_gone(running_gateway, fake):
    """At any moment between the request and the login."""
    with serving(sink) as port:
        fake.leads_to(port)
        for moment in range(12):
            gateway = running_gateway(dict(fake.config(), limits={'drainSeconds': 0}), resolve=to_loopback)
            with open_clients(gateway, 4) as clients:
                for client in clients:
                    client.send_json(**request())
                threading.Event().wait(moment * 0.01)
                gateway.stop()
                assert (fake.alive(), entries()) == ([], [])


# -- all at once -------------------------------------------------------------------------------------------------------

AT_ONCE = 12


def leave_with_close_and_fin(client):
    client.send(frame(CLOSE, struct.pack('!H', 1000)))
    client.sock.close()


def leave_with_fin(client):
    client.sock.close()


def leave_with_reset(client):
    client.abort()


def come_and_go(gateway, fields, count, chance):
    """``count`` clients that ask for a tunnel and leave up to 0.3 s later. The most threads that there were."""
    present, threads = [], 0
    while count or present:
        if count and len(present) < AT_ONCE:
            count -= 1
            client = RawClient(gateway.address).open()
            client.send_json(**fields)
            present.append((time.time() + chance.uniform(0, 0.3), client))
        for leaver in [entry for entry in present if entry[0] <= time.time()]:
            present.remove(leaver)
            chance.choice([leave_with_close_and_fin, leave_with_fin, leave_with_reset])(leaver[1])
        threads = max(threads, threading.active_count())
        threading.Event().wait(0.002)
    return threads


ROUNDS = [200, pytest.param(3000, marks=[pytest.mark.soak, pytest.mark.timeout(600)])]


@pytest.mark.parametrize('rounds', ROUNDS)
def test_nothing_is_left_of_tunnels_that_are_dropped_at_any_moment(running_gateway, tmpdir, many_descriptors, rounds):
    gateway = running_gateway({'ssh': {'knownHosts': str(tmpdir.join('known_hosts')), 'maxTunnels': 1000}})
    with some_account() as account, running_sshd(account) as server, serving(echo) as port:
        key = server.authorize(make_key(str(tmpdir)))
        fields = request(host='127.0.0.1', port=port, ssh_private_key=key.text, **server.hop())
        with RawClient(gateway.address) as client:
            assert outcome(client.open().ask(**fields)) == DONE
            client.close()
        wait_until(lambda: not entries(), SOON)
        before, threads = descriptors(), threading.active_count()
        most = come_and_go(gateway, fields, rounds, random.Random(13))
        wait_until(lambda: is_empty(gateway) and not entries(), 20)
        wait_until(lambda: not processes_that_know(os.environ['TMPDIR']), 5)
        wait_until(lambda: not server.sessions(), 10)
        wait_until(lambda: len(descriptors()) == len(before), 5)
        # Those of the server of echoes come and go.
        assert most <= threads + AT_ONCE + ws2s.LOOKUP_THREADS + ws2s.TUNNEL_THREADS + ws2s.FILE_THREADS
        with RawClient(gateway.address) as client:
            assert outcome(client.open().ask(**fields)) == DONE
            assert is_echoing(client)


@pytest.mark.quiet
def test_one_tunnel_more_than_allowed_is_refused_at_once(running_gateway, fake):
    fake.does(['serve'], hung=[['hang']])
    gateway = running_gateway(fake.config(maxTunnels=3), resolve=to_loopback)  # half of them for one address
    with serving(echo) as port, RawClient(gateway.address) as one, RawClient(gateway.address) as two, \
            RawClient(gateway.address) as three:
        fake.leads_to(port)
        assert outcome(one.open().ask(**request())) == DONE
        two.open().send_json(**request(ssh_username='hung'))
        wait_until(lambda: fake.notes('hanging'))
        began = time.time()
        assert outcome(three.open().ask(**request())) == (1, 'limit')
        assert time.time() - began < 0.5
        assert is_echoing(one)
        three.connect_to(port)
        two.abort()
        wait_until(lambda: outcome(three.ask(**request())) == DONE)
        assert len(fake.calls()) == 3


@pytest.mark.quiet
@pytest.mark.parametrize('line', ['\n', 'debug1: Remote: x\n', 'words' * 20 + '\n'],
                         ids=['nothing', 'debugging', 'words'])
def test_a_flood_of_lines_before_the_login_ends_it_and_delays_nobody(fake, tmpdir, line):
    fake.does(['say', 'debug1: Connection established.\n' + line * 100000], ['hang'])
    with gateway_of_its_own(fake, tmpdir, maxTunnels=16) as gateway:
        with RawClient(gateway.address) as other, open_clients(gateway, 8) as clients:
            other.open()
            for client in clients:
                client.send_json(**request())
            unanswered, slowest = set(client.sock for client in clients), 0
            while unanswered:
                began = time.time()
                assert other.ask(command='ping')['success']
                slowest = max(slowest, time.time() - began)
                unanswered -= set(select.select(unanswered, [], [], 0)[0])
            assert slowest < 0.5
            for client in clients:
                assert outcome(client.receive_json()) == (6, 'ssh-failed')
        gateway.signal(signal.SIGTERM)
        assert gateway.wait() == 0


# -- places ------------------------------------------------------------------------------------------------------------

@pytest.fixture
def hung(running_gateway, fake):
    """``hung(most, {source: count})``: a gateway with ssh.maxTunnels=most, and clients whose logins hang there."""
    clients = []
    fake.does(['serve'], hung=[['hang']])

    def begin(most, counts):
        gateway = running_gateway(fake.config(maxTunnels=most), resolve=to_loopback)
        for source, count in sorted(counts.items()):
            for _ in range(count):
                clients.append(RawClient(gateway.address, source=source).open())
                clients[-1].send_json(**request(ssh_username='hung'))
        wait_until(lambda: len(fake.notes('hanging')) == len(clients))
        return gateway, clients

    with serving(echo) as port:
        fake.leads_to(port)
        yield begin
        for client in clients:
            client.sock.close()


def has_reply(client):
    return bool(select.select([client.sock], [], [], 0)[0])


def test_two_addresses_whose_logins_hang_keep_no_third_one_out(hung, fake):
    gateway, clients = hung(8, {'127.0.0.2': 4, '127.0.0.3': 4})
    with RawClient(gateway.address) as one, RawClient(gateway.address) as two:
        assert outcome(one.open().ask(**request())) == DONE
        assert outcome(two.open().ask(**request())) == DONE
        wait_until(lambda: has_reply(clients[0]) and has_reply(clients[4]), what='the oldest of both to give way')
        assert [outcome(clients[place].receive_json()) for place in (0, 4)] == [(6, 'ssh-timeout')] * 2
        assert not [client for client in clients if has_reply(client)]
        assert is_echoing(one) and is_echoing(two)


def test_a_login_under_way_keeps_its_place_for_a_while_and_one_that_is_done_for_good(hung, fake, monkeypatch):
    monkeypatch.setattr(ws2s, 'GIVE_WAY_SECONDS', 3600)
    gateway, clients = hung(4, {'127.0.0.2': 1})
    with RawClient(gateway.address) as one, RawClient(gateway.address, source='127.0.0.3') as two, \
            RawClient(gateway.address, source='127.0.0.4') as three:
        for client in (one, two, three):
            assert outcome(client.open().ask(**request())) == DONE
        with RawClient(gateway.address, source='127.0.0.5') as late:
            assert outcome(late.open().ask(**request())) == (1, 'limit')
            monkeypatch.setattr(ws2s, 'GIVE_WAY_SECONDS', 0)
            assert outcome(late.ask(**request())) == DONE
            assert outcome(clients[0].receive_json()) == (6, 'ssh-timeout')
            assert outcome(clients[0].ask(**request())) == (1, 'limit')  # all are done now
            assert is_echoing(one) and is_echoing(two) and is_echoing(three) and is_echoing(late)
    wait_until(lambda: is_empty_of_tunnels(gateway), SOON)


def is_empty_of_tunnels(gateway):
    return not gateway.tunnels.tunnels


def test_an_address_that_has_its_half_ends_logins_of_its_own_only(hung, fake, monkeypatch):
    monkeypatch.setattr(ws2s, 'GIVE_WAY_SECONDS', 0)
    gateway, clients = hung(6, {'127.0.0.2': 3, '127.0.0.3': 1})
    with RawClient(gateway.address, source='127.0.0.2') as late:
        assert outcome(late.open().ask(**request())) == DONE
        assert outcome(clients[0].receive_json()) == (6, 'ssh-timeout')
        assert not [client for client in clients[1:] if has_reply(client)]


# -- where there is no room --------------------------------------------------------------------------------------------

@pytest.mark.parametrize('name', ['x' * 80, 'a:b', 'a%hb', 'a"b'], ids=['too long', 'colon', 'percent', 'quote'])
def test_a_folder_for_temporary_files_that_ssh_cannot_use_is_code_6(running_gateway, fake, monkeypatch, name):
    folder = os.path.join(os.environ['TMPDIR'], name)
    os.mkdir(folder)
    monkeypatch.setenv('TMPDIR', folder)
    try:
        with RawClient(running_gateway(fake.config(), resolve=to_loopback).address) as client:
            assert outcome(client.open().ask(**request())) == (6, 'ssh-failed')
            assert client.ask(command='ping')['success']
        assert os.listdir(folder) == [] and fake.notes() == []
    finally:
        os.rmdir(folder)


# -- a gateway that is killed ------------------------------------------------------------------------------------------

class Scene(object):
    """Programs that use one folder for temporary files, one after the other or together."""

    def __init__(self, fake, tmpdir):
        self._fake, self._tmpdir = fake, tmpdir

    def program(self):
        return gateway_of_its_own(self._fake, self._tmpdir)

    def kill_with_tunnels(self):
        """What a gateway leaves that is killed with one tunnel open and one in its login."""
        with self.program() as program:
            with RawClient(program.address) as one, RawClient(program.address) as two:
                assert outcome(one.open().ask(**request())) == DONE
                two.open().send_json(**request(ssh_username='hung'))
                wait_until(lambda: self._fake.notes('hanging'))
                program.signal(signal.SIGKILL)
                program.wait()
        assert len(self._fake.alive()) == len(entries()) == 2


@pytest.fixture
def scene(fake, tmpdir):
    fake.does(['serve'], hung=[['hang']])
    with serving(echo) as port:
        fake.leads_to(port)
        yield Scene(fake, tmpdir)


def test_what_a_killed_gateway_leaves_is_cleared_by_the_next(scene, fake):
    scene.kill_with_tunnels()
    with scene.program() as program:
        assert program.address
        check_all_gone(fake)
        with RawClient(program.address) as client:
            assert outcome(client.open().ask(**request())) == DONE
            assert is_echoing(client)
        check_all_gone(fake)


def test_what_lives_is_not_cleared(scene, fake):
    with scene.program() as one, RawClient(one.address) as client:
        assert outcome(client.open().ask(**request())) == DONE
        with scene.program() as other, RawClient(other.address) as neighbour:
            assert outcome(neighbour.open().ask(**request())) == DONE
            assert is_echoing(client) and is_echoing(neighbour)
            assert len(fake.alive()) == len(entries()) == 2
            neighbour.abort()
            wait_until(lambda: len(fake.alive()) == len(entries()) == 1)
        assert is_echoing(client)
        client.abort()
        check_all_gone(fake)


def test_two_gateways_of_one_process_do_not_clear_each_other(running_gateway, fake):
    one = running_gateway(fake.config(), resolve=to_loopback)
    with serving(echo) as port, RawClient(one.address) as client:
        fake.leads_to(port)
        assert outcome(client.open().ask(**request())) == DONE
        other = running_gateway(fake.config(), resolve=to_loopback)
        with RawClient(other.address) as neighbour:
            assert outcome(neighbour.open().ask(**request())) == DONE
        assert is_echoing(client)


def make_strange_things(folder, tmpdir):
    """Whatever else may lie in /tmp under such a name."""
    precious = tmpdir.mkdir('precious')
    precious.join('k').write('x')
    for prefix in ('ws2s-', 'ws2s-tunnel-'):
        with open(os.path.join(folder, prefix + 'file'), 'w') as file:
            file.write('x')
        os.symlink(str(precious), os.path.join(folder, prefix + 'link'))
        os.mkdir(os.path.join(folder, prefix + 'open'), 0o755)
        make_folder(os.path.join(folder, prefix + 'strange'), 'thesis')
        if os.getuid() == 0:
            make_folder(os.path.join(folder, prefix + 'theirs'), 'k', owner=65534)
    os.mkdir(os.path.join(folder, 'ws2s-fresh-new'), 0o700)


def make_folder(path, name, owner=-1):
    os.mkdir(path, 0o700)
    with open(os.path.join(path, name), 'w') as file:
        file.write('x')
    os.chown(path, owner, -1)


def tree(folder):
    return sorted((place, sorted(folders), sorted(names)) for place, folders, names in os.walk(folder))


def remove_tree(folder):
    for place, folders, names in os.walk(folder, topdown=False):
        for name in names:
            os.unlink(os.path.join(place, name))
        for name in folders:
            path = os.path.join(place, name)
            (os.unlink if os.path.islink(path) else os.rmdir)(path)


def test_what_is_not_a_gateways_is_not_cleared(scene, fake, tmpdir, temporary_directory):
    make_strange_things(temporary_directory, tmpdir)
    before = tree(temporary_directory)
    with scene.program() as program, RawClient(program.address) as client:
        assert outcome(client.open().ask(**request())) == DONE
        client.close()
        wait_until(lambda: not fake.alive())
        wait_until(lambda: tree(temporary_directory) == before, SOON)
    assert tmpdir.join('precious', 'k').read() == 'x'
    remove_tree(temporary_directory)


def test_a_process_that_has_got_the_number_of_a_dead_ssh_is_left_alone(scene, fake, tmpdir, temporary_directory):
    scene.kill_with_tunnels()
    for pid in fake.alive():
        kill(pid)
    wait_until(lambda: not fake.alive())
    innocent = subprocess.Popen(['sleep', '60'], close_fds=True, preexec_fn=os.setsid)
    try:
        for call in fake.calls():
            rewrite_number(private_directory(call), call['pid'], innocent.pid)
        with scene.program() as program:
            assert program.address
            wait_until(lambda: not entries(), SOON)
            assert innocent.poll() is None
    finally:
        innocent.kill()
        innocent.wait()


def rewrite_number(folder, old, new):
    """In the one file of the folder that has it."""
    paths = [os.path.join(folder, name) for name in os.listdir(folder)]
    found = [path for path in paths if os.path.isfile(path) and str(old) in read(path)]
    assert len(found) == 1
    with open(found[0], 'w') as file:
        file.write(str(new))


def read(path):
    with open(path) as file:
        return file.read()


def test_links_in_a_dead_directory_lead_to_nothing_that_is_removed(scene, fake, tmpdir):
    precious = tmpdir.mkdir('precious')
    precious.join('thesis').write('x')
    scene.kill_with_tunnels()
    for call in fake.calls():
        os.symlink(str(precious), os.path.join(private_directory(call), 's99'))
    with scene.program() as program:
        assert program.address
        check_all_gone(fake)
    assert precious.join('thesis').read() == 'x'


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT], ids=['TERM', 'INT'])
def test_a_program_that_is_asked_to_stop_leaves_nothing(scene, fake, number):
    with scene.program() as program:
        with RawClient(program.address) as one, RawClient(program.address) as two:
            assert outcome(one.open().ask(**request())) == DONE
            two.open().send_json(**request(ssh_username='hung'))
            wait_until(lambda: fake.notes('hanging'))
            program.signal(number)
            for client in (one, two):
                while client.receive_frame()[0] != CLOSE:
                    pass
                client.abort()
            assert program.wait() == 0
    assert (fake.alive(), entries()) == ([], [])


def test_a_key_of_a_killed_gateway_does_not_stay(scene, fake):
    """One in its login has the key in a file."""
    with scene.program() as program, RawClient(program.address) as client:
        text = '-----BEGIN PRIVATE KEY-----\nMAMCAQA=\n-----END PRIVATE KEY-----\n'
        client.open().send_json(**request(ssh_username='hung', ssh_private_key=text))
        wait_until(lambda: fake.notes('hanging'))
        path = option_values(fake.calls()[0]['argv'], '-i')[0]
        assert read(path) == text
        program.signal(signal.SIGKILL)
        program.wait()
    with scene.program() as program:
        assert program.address
        check_all_gone(fake)
