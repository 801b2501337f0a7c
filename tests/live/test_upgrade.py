# -*- coding: utf-8 -*-
"""``ws2sd upgrade``: the files that are on the disk now take over, and nobody loses a connection."""

import contextlib
import json
import os
import py_compile
import shutil
import signal
import socket
import sys

import pytest

from fake_ssh import FakeSsh, private_temporary_directory
from program import WS2S
from raw_client import RawClient
from service import (WS2SD, Command, Crowd, Newcomers, Service, echoing, ended, is_alive, kill, load_ws2sd,
                     stopwatch)
from targets import echo, serving
from test_service import HANDING, answers, foreground, hear, notified
from waiting import assert_holds, wait_until

pytestmark = [pytest.mark.programs, pytest.mark.independent]


class Installed(Service):
    """A service whose program files are its own, copies of those in ``source``. Its commands are those of ``source``,
    which nobody breaks."""

    def __init__(self, folder, source, **config):
        self.program, self._module = [os.path.join(str(folder), name) for name in ('ws2sd', 'ws2s.py')]
        self._source, self._folder = source, str(folder)
        self.install()
        Service.__init__(self, folder, **dict({'web': False}, **config))

    def begin(self, *words, **options):
        return Command([sys.executable, os.path.join(self._source, 'ws2sd'), '--home', self.home] + list(words),
                       self.user_home, **options)

    def install(self):
        for name in os.listdir(self._source):
            path, there = os.path.join(self._folder, name), os.path.join(self._source, name)
            if os.path.isdir(path):
                shutil.rmtree(path)
            (shutil.copytree if os.path.isdir(there) else shutil.copy2)(there, path)
        self.change('ws2sd', '\nTRIAL_SECONDS = 1 ', '\nTRIAL_SECONDS = 0.2 ')  # most tests have a version that is good

    def change(self, name, old, new):
        """The file ``name`` has ``new`` in the place of ``old``, which must stand there once."""
        path = self.program if name == 'ws2sd' else self._module
        with open(path, 'rb') as file:
            text = file.read()
        assert text.count(old.encode('utf-8')) == 1, old
        with open(path, 'wb') as file:
            file.write(text.replace(old.encode('utf-8'), new.encode('utf-8')))
        if os.path.exists(path + 'c'):
            os.unlink(path + 'c')  # some Pythons know only the second at which its source was written

    def give_version(self, number):
        self.install()
        self.change('ws2s.py', "\n__version__ = '", "\n__version__ = '%s-" % number)

    def start(self):
        status, output, errors = Command([sys.executable, self.program, '--home', self.home, 'start'],
                                         self.user_home).outcome()
        assert (status, errors) == (0, ''), (output, errors)
        return self

    def upgrade(self):
        before = self.pid
        self.do('upgrade')
        assert self.pid != before
        return self

    def older(self):
        """Pids of the workers of older generations, the newest first."""
        return [generation['workers'] for generation in self.state['older']]

    def is_alone(self):
        """Is nothing left of older generations?"""
        return sorted(self.processes()) == sorted([self.pid] + self.workers)


@pytest.fixture(scope='module')
def source(tmpdir_factory):
    """A folder with the program, compiled: to do so takes longer than all else of a start."""
    folder = tmpdir_factory.mktemp('source')
    for path in (WS2SD, WS2S):
        shutil.copy(path, str(folder))
    py_compile.compile(str(folder.join('ws2s.py')), doraise=True)
    return str(folder)


@pytest.fixture
def service(tmpdir, source):
    with ended(Installed(tmpdir, source)) as ready:
        yield ready


@contextlib.contextmanager
def connected(address, port, **fields):
    """A client with an echo target."""
    with RawClient(address, timeout=20) as client:
        yield client.open().connect_to(port, **fields) or client


class Clients(list):
    def add(self, address, port):
        self.append(RawClient(address, timeout=20))
        self[-1].open().connect_to(port)

    def close(self):
        for client in self:
            client.sock.close()


def echoes(client, text=b'12345'):
    client.send_json(command='send', data=text.decode('ascii'))
    return client.receive_data(len(text)) == text


def leave(client, service, gone):
    """The last client of processes goes, and so do they."""
    client.sock.close()
    wait_until(lambda: not any(map(is_alive, gone)), 30, 'the old processes to go')
    wait_until(lambda: service.state['older'] == [] or not set(service.older()[0]) & set(gone))


# -- what it does ------------------------------------------------------------------------------------------------------

def test_the_new_files_serve_and_the_old_ones_see_their_clients_out(service):
    service.start()
    old, workers, address = service.pid, service.workers, service.address
    service.give_version('new')
    service.configure(workers=3)
    with serving(echo) as port, connected(address, port) as client:
        assert 'new-' in service.do('upgrade')
        assert service.address == address and service.pid != old and len(service.workers) == 3
        assert json.loads(service.do('status', '--json'))['version'].startswith('new-')  # the command is an old one
        assert service.read('pid') == '%d\n' % service.pid
        (left,) = service.older()
        assert len(left) == 1 and left[0] in workers
        first, second = service.do('status').splitlines()[:2]
        assert str(service.pid) in first and str(old) in second and str(left[0]) in second
        assert echoes(client)
        for _ in range(20):
            assert answers(address)
        wait_until(lambda: sorted(service.processes()) == sorted([service.pid, old] + service.workers + left))
        leave(client, service, left + [old])
    assert 'sees its clients out' not in service.do('status')
    assert service.is_alone()
    service.do('reload')
    service.do('stop')
    assert service.processes() == [] and not os.path.exists(service.path('state'))


def test_two_upgrades_in_a_row_have_three_generations_of_which_all_can_be_stopped(service):
    service.start()
    with serving(echo) as port, connected(service.address, port) as first:
        with connected(service.upgrade().address, port) as second:
            with connected(service.upgrade().address, port) as third:
                assert [len(workers) for workers in service.older()] == [1, 1]
                assert service.do('status').count('sees its clients out') == 2
                assert all(echoes(client) for client in (first, second, third))
                service.do('stop')
                assert service.processes() == []
                assert [client.receive_close()[0] for client in (first, second, third)] == [1001] * 3


def test_generations_end_with_their_own_last_client_in_whatever_order(service):
    service.start()
    with serving(echo) as port, connected(service.address, port) as first:
        with connected(service.upgrade().address, port) as second, connected(service.upgrade().address, port) as third:
            middle, oldest = service.older()
            leave(second, service, middle)
            assert echoes(first) and echoes(third)
            leave(first, service, oldest)
            wait_until(service.is_alone)
            assert echoes(third)


def test_a_generation_in_the_middle_goes_on_when_the_oldest_has_gone(service):
    service.change('ws2sd', '\nLEAD_SECONDS = 5 ', '\nLEAD_SECONDS = 0 ')
    service.start()
    with serving(echo) as port, connected(service.address, port) as first:
        with connected(service.upgrade().address, port) as second, connected(service.upgrade().address, port):
            middle, oldest = service.older()
            leave(first, service, oldest)
            wait_until(lambda: service.older() == [middle])
            assert echoes(second)
    wait_until(service.is_alone)
    assert not [line for line in service.log if 'ws2sd ends' in line]


@pytest.mark.parametrize('counts', [(4, 1, 3), (1, 4, 2), (2, 2, 2)], ids=str)
@pytest.mark.parametrize('host', ['127.0.0.1', 'localhost'])
def test_no_connection_is_lost_to_a_socket_without_a_worker_whatever_their_number(service, counts, host):
    service.configure(workers=counts[0], listen={'host': host, 'port': 0})
    service.start()
    for count in counts[1:]:
        service.configure(workers=count)
        service.upgrade()
        assert len(service.workers) == count
        for _ in range(100):
            assert answers(service.address)
    wait_until(service.is_alone)


def test_a_crowd_with_traffic_and_newcomers_lose_nothing_in_three_upgrades(service):
    service.start()
    with echoing() as port, Crowd(service.address, 100, port) as crowd, Newcomers(service.address, port) as newcomers:
        crowd.begin()
        for count in (3, 1, 2):
            service.configure(workers=count)
            service.upgrade()
            crowd.goes_on()
            newcomers.goes_on()
        crowd.finish()
        newcomers.finish()
    wait_until(service.is_alone)


def test_listeners_come_and_go_and_a_unix_socket_stays(service, tmpdir):
    path, other = str(tmpdir.join('s')), str(tmpdir.join('o'))
    service.configure(listen=[{'port': 0}, {'path': path}, {'path': other}])
    service.start()
    port = int(service.state['address'].split(',')[0].rpartition(':')[2])
    service.configure(listen=[{'path': path, 'mode': '0660'}, {'host': '127.0.0.2', 'port': 0}])
    with serving(echo) as target, connected(path, target) as client:
        service.upgrade()
        new = int(service.state['address'].rpartition(':')[2])
        assert answers(path) and answers(('127.0.0.2', new)) and echoes(client)
        assert os.stat(path).st_mode & 0o777 == 0o660 and not os.path.exists(other)
        for closed in (('127.0.0.1', port),):
            with contextlib.closing(socket.socket()) as sock:
                assert sock.connect_ex(closed)
        (left,) = service.older()
        leave(client, service, left)
    assert answers(path)
    service.do('stop')
    assert not os.path.exists(path)


def test_a_port_that_a_later_version_drops_is_closed_whoever_is_left_of_those_before(service):
    with contextlib.closing(socket.socket()) as sock:
        sock.bind(('127.0.0.2', 0))
        dropped = {'host': '127.0.0.2', 'port': sock.getsockname()[1]}
    kept = [{'port': 0}]
    service.configure(listen=kept + [dropped])
    service.start()
    host, port = service.state['address'].split(',')[0].rsplit(':', 1)
    with serving(echo) as target, connected((host, int(port)), target) as client:
        service.upgrade()
        service.configure(listen=kept)
        service.upgrade()
        wait_until(lambda: not listens(dropped), 30, 'the port to be closed')
        service.configure(listen=kept + [dropped])
        service.upgrade()
        assert answers(('127.0.0.2', dropped['port'])) and echoes(client)
        (left,) = service.older()
        leave(client, service, left)
    wait_until(service.is_alone)
    assert answers(('127.0.0.2', dropped['port']))


def listens(listen):
    with contextlib.closing(socket.socket()) as sock:
        return sock.connect_ex((listen['host'], listen['port'])) == 0


def test_the_program_may_lie_behind_a_link_that_leads_elsewhere_by_now(service, tmpdir):
    for name in ('one', 'two'):
        folder = tmpdir.mkdir(name)
        service.give_version(name)
        for file in ('ws2sd', 'ws2s.py'):
            shutil.move(str(tmpdir.join(file)), str(folder.join(file)))
    link = str(tmpdir.join('current'))
    os.symlink(str(tmpdir.join('one')), link)
    service.program = os.path.join(link, 'ws2sd')
    service.start()
    os.unlink(link)
    os.symlink(str(tmpdir.join('two')), link)
    assert 'two-' in service.do('upgrade')


def test_clients_from_before_have_as_long_as_the_new_configuration_says(service):
    service.start()
    with serving(echo) as port, connected(service.address, port) as client, RawClient(service.address) as idle:
        idle.open()
        service.configure(limits={'drainSeconds': 1, 'upgradeSeconds': 1})
        service.upgrade()
        assert echoes(client)
        assert idle.receive_close()[0] == client.receive_close()[0] == 1001
        wait_until(service.is_alone)


def test_a_worker_that_hangs_has_no_longer_than_the_others(service):
    service.start()
    with serving(echo) as port, connected(service.address, port):
        service.configure(limits={'drainSeconds': 1, 'upgradeSeconds': 1})
        old = service.upgrade().older()[0]
        for pid in old:
            kill(pid, signal.SIGSTOP)
        wait_until(lambda: not any(map(is_alive, old)), 30, 'the old workers to go')
    wait_until(service.is_alone)


def test_without_a_limit_they_have_for_ever(service):
    service.start()
    with serving(echo) as port, connected(service.address, port) as client:
        service.configure(limits={'drainSeconds': 0, 'upgradeSeconds': 0})
        service.upgrade()
        assert_holds(lambda: echoes(client), 1)


def test_a_tunnel_lives_as_long_as_its_client(service, tmpdir):
    with private_temporary_directory() as folder, serving(echo) as port:
        fake = FakeSsh(str(tmpdir.mkdir('fake')))
        service.configure(**fake.config())
        fake.leads_to(port)
        service.start()
        with RawClient(service.address, timeout=20) as client:
            client.open()
            assert client.ask(command='connect', host='target.test', port=80, ssh_host='127.0.0.1',
                              ssh_username='user', ssh_password='secret')['code'] == 0
            service.upgrade()
            assert echoes(client) and fake.alive() and folder
            (left,) = service.older()
            leave(client, service, left)
            wait_until(lambda: not fake.alive())


def test_counts_go_on_from_version_to_version_and_are_those_of_all_generations(service):
    service.start()
    with serving(echo) as port, connected(service.address, port), connected(service.address, port):
        wait_until(lambda: figures(service) == (2, 2), 30, 'the counts of the old workers')
        with connected(service.upgrade().address, port):
            wait_until(lambda: figures(service) == (3, 3), 30, 'the counts of all workers')
    wait_until(lambda: figures(service) == (0, 3) and service.is_alone(), 30, 'nothing to be forgotten')


def figures(service):
    """How many clients there are, and how many there ever were."""
    total = json.loads(service.do('status', '--json'))['total']
    return total['clients'], total['clients_total']


# -- a new version that is no good -------------------------------------------------------------------------------------

BROKEN = {
    'no Python': ('ws2s.py', '\n__version__ = ', '\n__version__ = = ', 'this is no whole ws2s.py'),
    'no Python in ws2sd': ('ws2sd', '\nNOT_RUNNING = 3\n', '\nNOT_RUNNING = = 3\n', 'SyntaxError'),
    'raises at once': ('ws2sd', '\nNOT_RUNNING = 3\n', '\nraise RuntimeError("so it is")\n', 'RuntimeError: so it is'),
    'worker ends at once': ('ws2sd', '\n    log.enter_worker()\n', '\n    os._exit(7)\n', 'a worker could not begin'),
    'worker dies young': ('ws2sd', '            self._say(READY)\n',
                          '            self._say(READY)\n            signal.setitimer(signal.ITIMER_REAL, 0.1)\n',
                          'a worker could not begin'),
    'worker hangs': ('ws2sd', '\n    log.enter_worker()\n', '\n    time.sleep(600)\n', 'not ready in time'),
    'supervisor hangs': ('ws2sd', '\nNOT_RUNNING = 3\n', '\ntime.sleep(600)\n', 'hangs'),
    'supervisor ends': ('ws2sd', '\nNOT_RUNNING = 3\n', '\nos._exit(0)\n', 'without a word'),
}


def hasten(service):
    service.change('ws2sd', '\nSTART_SECONDS = 20 ', '\nSTART_SECONDS = 6 ')


def refuses_upgrade(service, word):
    """The old version serves as before, and nothing of the new one is left."""
    before = service.pid, service.workers
    with serving(echo) as port, connected(service.address, port) as client:
        assert word in service.refuses(1, 'upgrade')
        assert (service.pid, service.workers) == before
        assert echoes(client)
    wait_until(service.is_alone)
    assert answers(service.address)


@pytest.mark.parametrize('kind', sorted(BROKEN))
def test_a_broken_version_leaves_the_old_one_serving_and_says_why(service, kind):
    name, old, new, word = BROKEN[kind]
    hasten(service)
    service.start()
    service.change(name, old, new)
    refuses_upgrade(service, word)
    service.give_version('whole')
    service.upgrade()
    service.do('stop')


@pytest.mark.parametrize('change, word', [
    ({'listen': [{'port': 0}, {'host': '127.0.0.1', 'port': None}]}, 'in use'),
    ({'nonsense': 1}, 'nonsense'), ({'web': '/nowhere/at/all'}, '/nowhere/at/all'),
    ({'listen': {'host': 'nowhere.invalid', 'port': 0}}, 'cannot be resolved'),
], ids=['port is taken', 'unknown key', 'missing folder', 'unknown host'])
def test_a_bad_configuration_leaves_the_old_version_serving_and_says_why(service, change, word):
    good = service.config['listen']
    service.start()
    with serving(echo) as taken:
        if word == 'in use':
            change['listen'][1]['port'] = taken
        service.configure(**change)
        refuses_upgrade(service, word)
    for key in change:
        del service.config[key]
    service.configure(listen=good, web=False)
    service.upgrade()


def test_newcomers_notice_nothing_of_a_version_that_dies_young(service):
    service.start()
    service.change(*BROKEN['worker dies young'][:3])
    with echoing() as port, Newcomers(service.address, port) as newcomers:
        for _ in range(2):
            service.refuses(1, 'upgrade')
            newcomers.goes_on()
        newcomers.finish()


def test_where_none_runs_there_is_nothing_to_upgrade(service):
    assert 'does not run' in service.refuses(1, 'upgrade')


# -- who is killed -----------------------------------------------------------------------------------------------------

@contextlib.contextmanager
def trial(service):
    """(the Command, pid of the new supervisor, pids of its workers) of an upgrade that does not come to an end."""
    before = set(service.processes())
    service.change('ws2sd', '\nTRIAL_SECONDS = 0.2 ', '\nTRIAL_SECONDS = 6 ')
    command = service.begin('upgrade')
    new = wait_until(lambda: three_of(service, before | set([command.pid])), 30, 'the new version to be on trial')
    parents = dict((pid, parent_of(pid)) for pid in new)
    supervisor = next(pid for pid in new if parents[pid] in before)
    yield command, supervisor, [pid for pid in new if pid != supervisor]


def three_of(service, before):
    found = [pid for pid in service.processes() if pid not in before]
    return found if len(found) == 3 else None


def parent_of(pid):
    with open('/proc/%d/stat' % pid) as file:
        return int(file.read().rpartition(')')[2].split()[1])


def works(service):
    """The next commands do what they should, and nothing is left behind."""
    wait_until(lambda: answers(service.address) and len(service.workers) == 2)
    service.install()
    service.do('status')
    service.upgrade()
    service.do('reload')
    assert answers(service.address)
    service.do('stop')
    assert service.processes() == []


def test_a_worker_of_a_version_on_trial_that_is_killed_ends_the_trial(service):
    service.start()
    with serving(echo) as port, connected(service.address, port) as client:
        with trial(service) as (command, _, workers):
            kill(workers[0], signal.SIGKILL)
            status, _, errors = command.outcome()
        assert status == 1 and 'a worker could not begin' in errors
        assert echoes(client)
    works(service)


def test_a_new_supervisor_that_is_killed_in_its_trial_leaves_the_old_one_serving(service):
    service.start()
    with serving(echo) as port, connected(service.address, port) as client:
        with trial(service) as (command, supervisor, _):
            kill(supervisor, signal.SIGKILL)
            status, _, errors = command.outcome()
        assert status == 1 and 'the old version goes on' in errors
        assert echoes(client)
        wait_until(service.is_alone)
    works(service)


def test_an_old_supervisor_that_is_killed_during_the_trial_leaves_the_place_to_the_new_one(service):
    service.start()
    address, old = service.address, service.pid
    with trial(service) as (command, supervisor, workers):
        kill(old, signal.SIGKILL)
        assert command.outcome()[0] == 0
    assert service.pid == supervisor and sorted(service.workers) == sorted(workers) and service.address == address
    wait_until(service.is_alone)
    works(service)


def test_an_old_worker_that_is_killed_during_the_trial_is_begun_again(service):
    service.start()
    with trial(service) as (command, supervisor, _):
        kill(service.workers[0], signal.SIGKILL)
        assert command.outcome()[0] == 0
    assert service.pid == supervisor
    works(service)


def test_an_old_supervisor_that_is_killed_after_the_upgrade_takes_its_clients_along_and_no_others(service):
    service.start()
    old = service.pid
    with serving(echo) as port, connected(service.address, port) as first:
        with connected(service.upgrade().address, port) as second:
            kill(old, signal.SIGKILL)
            assert first.receive_close()[0] == 1001
            wait_until(service.is_alone)
            wait_until(lambda: service.state['older'] == [])
            module = load_ws2sd()
            counting = [pid for _, pid, _ in module.Board.of_service(service.state).slots()]
            assert sorted(filter(None, counting)) == sorted(service.workers)  # another may have the number one day
            assert echoes(second)
    works(service)


def test_a_new_supervisor_that_is_killed_has_the_old_one_serve_again(service):
    service.start()
    old, address = service.pid, service.address
    with serving(echo) as port, connected(address, port) as client:
        service.upgrade()
        kill(service.pid, signal.SIGKILL)
        wait_until(lambda: service.pid == old and service.two_workers_without(sum(service.older(), [])))
        assert echoes(client)
        for _ in range(20):
            assert answers(address)
    works(service)


def test_one_that_does_not_listen_to_signals_yet_is_sent_none(service):
    service.start()
    kill(service.pid, signal.SIGKILL)  # which leaves its state
    wait_until(lambda: not service.processes())
    service.change('ws2sd', '    config = home.read_config()\n    pid_file = PidFile(home.pid)\n    pid_file.take()\n',
                   '    config = home.read_config()\n    pid_file = PidFile(home.pid)\n    pid_file.take()\n'
                   '    sys.stdin.readline()\n')
    running = Command([sys.executable, service.program, '--home', service.home, 'run'], service.user_home)
    wait_until(lambda: service.read('pid') == '%d\n' % running.pid)
    for word in 'upgrade', 'reload':
        assert 'has not started yet' in service.refuses(1, word)
    running.process.stdin.write(b'go on\n')
    running.process.stdin.flush()
    wait_until(lambda: service.pid == running.pid and len(service.workers) == 2)
    service.do('stop')
    assert running.outcome()[0] == 0


def test_one_that_serves_again_and_again_beside_its_old_clients_counts_all_of_them(service):
    service.configure(workers=1)
    service.change('ws2sd', '\nSLOTS = 64 ', '\nSLOTS = 1 ')  # so that there are four
    service.start()
    old = service.pid
    with serving(echo) as port, contextlib.closing(Clients()) as clients:
        for number in range(1, 6):
            clients.add(service.address, port)
            service.upgrade()
            kill(service.pid, signal.SIGKILL)
            wait_until(lambda: service.pid == old and service.workers and answers(service.address))
            wait_until(lambda: figures(service) == (number, number), 30, 'all to be counted')
        assert all(echoes(client) for client in clients)


def test_workers_of_both_generations_that_are_killed_lose_their_own_clients_only(service):
    service.configure(workers=1)
    service.start()
    with serving(echo) as port, connected(service.address, port) as first:
        with connected(service.upgrade().address, port) as second:
            kill(service.older()[0][0], signal.SIGKILL)
            assert first.is_ended() and echoes(second)
            wait_until(service.is_alone)
            kill(service.workers[0], signal.SIGKILL)
            assert second.is_ended()
    service.configure(workers=2)
    wait_until(lambda: len(service.workers) == 1 and answers(service.address))
    service.upgrade()
    works(service)


def test_a_supervisor_in_the_middle_that_is_killed_leaves_the_newest_serving(service):
    service.start()
    with serving(echo) as port, connected(service.address, port) as first:
        middle = service.upgrade().pid
        with connected(service.address, port) as second, connected(service.upgrade().address, port) as third:
            kill(middle, signal.SIGKILL)
            assert first.receive_close()[0] == second.receive_close()[0] == 1001
            wait_until(service.is_alone)
            assert echoes(third)
    works(service)


def test_a_stop_during_the_trial_ends_both(service):
    service.start()
    with trial(service) as (command, _, _):
        service.do('stop')
        assert service.processes() == [command.pid]
        kill(command.pid, signal.SIGKILL)
        command.outcome()


# -- those who go by its pid -------------------------------------------------------------------------------------------

def test_in_the_foreground_the_first_process_stays_and_passes_on_what_it_is_told(service):
    with notified() as (name, receive), foreground(service, 'ws2sd', path=service.program,
                                                   NOTIFY_SOCKET=name) as running:
        wait_until(lambda: service.state.get('workers'))
        hear(receive, 'READY=1', 'MAINPID=%d' % running.pid)
        first = service.workers
        for number in (1, 2):
            before = service.pid
            if number == 1:
                service.upgrade()
            else:
                os.kill(running.pid, signal.SIGUSR2)
                wait_until(lambda: service.pid != before)
            wait_until(lambda: sorted(service.processes()) == sorted([running.pid, service.pid] + service.workers))
        assert not set(first) & set(service.workers)
        os.kill(running.pid, signal.SIGHUP)
        wait_until(lambda: service.state['reloads'] == 1)
        assert answers(service.address)
        with serving(echo) as port, connected(service.address, port) as client:
            service.upgrade()
            assert echoes(client)
            running.signal(signal.SIGTERM)
            assert client.receive_close()[0] == 1001
            assert running.wait() == 0
        assert service.processes() == [] and service.read('pid') == ''


def test_in_the_foreground_a_stop_ends_the_first_process_too_and_a_killed_service_has_it_fail(service):
    for end, status in ((lambda: service.do('stop'), 0), (lambda: kill(service.pid, signal.SIGKILL), 1)):
        with foreground(service, 'ws2sd', path=service.program) as running:
            wait_until(lambda: service.state.get('workers') and service.state['pid'] == running.pid)
            service.upgrade()
            wait_until(lambda: len(service.processes()) == 4)
            end()
            assert running.wait() == status
            service.wait_for_end()


def test_sockets_of_a_service_manager_go_on_from_version_to_version(service):
    with foreground(service, 'ws2sd', ['-c', HANDING, 'right'], service.program) as running:
        address = running.address
        wait_until(lambda: service.state.get('workers'))
        with serving(echo) as port, connected(address, port) as client:
            for count in (3, 1):
                service.configure(workers=count)
                service.upgrade()
                for _ in range(20):
                    assert answers(address)
            assert echoes(client)
        running.signal(signal.SIGTERM)
        assert running.wait() == 0


# -- many --------------------------------------------------------------------------------------------------------------

def resources(pids):
    """(descriptors, resident bytes) of these processes."""
    found = [0, 0]
    for pid in pids:
        found[0] += len(os.listdir('/proc/%d/fd' % pid))
        with open('/proc/%d/statm' % pid) as file:
            found[1] += int(file.read().split()[1]) * os.sysconf('SC_PAGE_SIZE')
    return found


@pytest.mark.quiet
@pytest.mark.parametrize('count', [300, pytest.param(2000, marks=pytest.mark.soak)])
def test_with_the_last_client_the_old_generation_is_gone_and_all_that_it_had(service, many_descriptors, count):
    service.start()
    before = resources(service.processes())
    with echoing() as port, Crowd(service.address, count, port) as crowd:
        crowd.round()
        old = service.processes()
        service.upgrade()
        crowd.round()
        for client in crowd.clients[1:]:
            client.sock.close()
        left = wait_until(lambda: len(service.older()[0]) == 1 and service.older()[0])
        last = crowd.clients.pop(0)
        last.sock.close()
        elapsed = stopwatch()
        wait_until(lambda: not any(map(is_alive, old)))
        took = elapsed()
        assert took < 1 and left
        crowd.clients = []
    assert service.is_alone()
    after = resources(service.processes())
    print('%d clients: gone in %.3f s; descriptors %d, then %d; resident %d KB, then %d KB' % (
        count, took, before[0], after[0], before[1] // 1024, after[1] // 1024))
    assert after[0] <= before[0] and after[1] < before[1] + 16 * 1048576
