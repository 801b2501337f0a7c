# -*- coding: utf-8 -*-
"""``ws2sd``: a supervisor with workers, its commands and files, and what service managers say to it and to ws2s.py."""

import collections
import contextlib
import errno
import json
import os
import plistlib
import pwd
import re
import resource
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading

import pytest

from installed import needs
from program import WS2S, Program, listening_ports, started
from raw_client import BINARY, CLOSE, TEXT, RawClient, exchange, frame
from service import WS2SD, Command, Crowd, Service, Victim, echoing, ended, is_alive, kill, load_ws2sd, stopwatch
from tape import Reading, Tape
from targets import echo, recorder, serving, silence
from waiting import assert_holds, wait_until

pytestmark = [pytest.mark.programs, pytest.mark.independent]

HEALTHZ = b'GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n'

LINE = re.compile(r'(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}) (DEBUG|INFO|WARNING|ERROR) (\[\d+\] )?[ -~]+\Z')
LOST = re.compile(r'\([0-9]+ lines before this one were lost\)\Z')
STAMP = re.compile(r'\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} ')
DENY_ALL = ['*']
NO_PID = 2 ** 22 - 3  # larger than the system gives


@pytest.fixture
def service(tmpdir):
    with ended(Service(tmpdir)) as ready:
        yield ready


@pytest.fixture(autouse=True)
def umask():
    """That of the tests, which main() changes."""
    mask = os.umask(0o077)
    os.umask(mask)
    yield
    os.umask(mask)


def reply_code(address, port):
    """What a new client is told of a connect."""
    with RawClient(address) as client:
        return client.open().ask(command='connect', host='127.0.0.1', port=port)['code']


def answers(address):
    return exchange(address, HEALTHZ)[2] == b'ok'


def owners_of(service):
    """{port of a client: pid of the worker that has its connection}, as the system tells (proc(5))."""
    ports, owners = {}, {}
    with open('/proc/net/tcp') as table:
        for fields in [line.split() for line in table][1:]:
            here, there = [int(end.split(':')[1], 16) for end in fields[1:3]]
            if here == service.address[1] and there:
                ports['socket:[%s]' % fields[9]] = there
    for pid in service.workers:
        for link in files_of(pid).values():
            if link in ports:
                owners[ports[link]] = pid
    return owners


def files_of(pid):
    """{number of a descriptor: what it leads to}."""
    found = {}
    for fd in os.listdir('/proc/%d/fd' % pid):
        try:
            found[fd] = os.readlink('/proc/%d/fd/%s' % (pid, fd))
        except OSError:
            pass  # closed meanwhile
    return found


def torn(lines):
    return [line for line in lines if not (LINE.match(line) and len(STAMP.findall(line)) == 1 or LOST.match(line))]


# -- commands ----------------------------------------------------------------------------------------------------------

def test_a_service_starts_answers_tells_its_status_and_stops(service):
    assert service.ask('status') == (3, 'ws2sd does not run\n', '')
    text = service.do('start')
    assert answers(service.address)
    for words in (text, service.do('status')):
        assert '127.0.0.1:%d' % service.address[1] in words and ' %d ' % service.pid in words.replace('\n', ' ')
    assert service.read('pid') == '%d\n' % service.pid
    assert len(service.workers) == 2
    assert sorted(service.processes()) == sorted([service.pid] + service.workers)
    service.do('stop')
    assert service.processes() == []
    assert not os.path.exists(service.path('state'))
    assert service.ask('status') == (3, 'ws2sd does not run\n', '')
    assert service.do('stop') == 'nothing to stop\n'


def test_all_files_of_a_service_are_nobody_elses(service):
    service.start()
    assert sorted(os.listdir(service.home)) == ['config.json', 'pid', 'state', 'ws2s.log']
    for name in ('pid', 'state', 'ws2s.log'):
        assert stat.S_IMODE(os.stat(service.path(name)).st_mode) == 0o600
    assert torn(service.log) == []


def test_a_daemon_has_left_its_terminal_its_folder_and_its_parents_descriptors(service):
    service.start()
    for pid in [service.pid] + service.workers:
        assert os.getsid(pid) not in (os.getsid(0), pid)
        assert os.readlink('/proc/%d/cwd' % pid) == '/'
        assert [os.readlink('/proc/%d/fd/%d' % (pid, fd)) for fd in (0, 1)] == ['/dev/null', '/dev/null']


def test_a_daemon_does_not_keep_open_what_its_caller_had_open(service, tmpdir):
    """A lock, or the pipe of a script that reads until its end, would be held for as long as it runs."""
    words = ['sh', '-c', 'exec 9>kept "$@"', 'sh', sys.executable, WS2SD, '--home', service.home, 'start']
    assert Command(words, service.user_home).outcome()[0] == 0
    for pid in [service.pid] + service.workers:
        assert str(tmpdir.join('kept')) not in open_files(pid)


def open_files(pid):
    return list(files_of(pid).values())


def test_a_daemon_closes_what_is_open_and_does_not_try_all_that_might_be():
    pid = os.fork()
    if not pid:
        try:
            hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard if 0 < hard < 1000000 else 1000000, hard))
            ws2sd, closerange, tried = load_ws2sd(), os.closerange, []
            os.closerange = lambda first, end: tried.append(end - first) or closerange(first, end)
            kept = os.dup(0)
            ws2sd.close_all_but(kept)
            left = set(ws2sd.os.listdir('/dev/fd')) - set('012')
            is_closed = len(left) == 2 and str(kept) in left  # the other one is of listdir() itself
            os._exit(0 if is_closed and sum(tried) < 200 else 1)
        finally:
            os._exit(2)
    assert os.waitpid(pid, 0)[1] == 0


def test_each_worker_knows_how_many_share_the_pipes_of_the_user(service, tmpdir):
    """C3: else 64 workers would take 2 GiB, and all other programs of this user had pipes of one page."""
    tmpdir.mkdir('path').join('sitecustomize.py').write(SHARES)
    service.configure(workers=3)
    service.do('start', environment={'PYTHONPATH': str(tmpdir.join('path')), 'SHARES': str(tmpdir.join('shares'))})
    wait_until(lambda: tmpdir.join('shares').read().count('3') == 3)


SHARES = """
import os, sys, threading
def profile(frame, event, argument):
    if event == 'call' and frame.f_code.co_name == '__init__' and 'dialects' in frame.f_locals:
        fd = os.open(os.environ['SHARES'], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.write(fd, ('%d' % frame.f_locals['workers']).encode('ascii'))
        os.close(fd)
        sys.setprofile(None)
sys.setprofile(profile)
"""


def test_a_worker_has_only_the_listening_socket_in_common_with_another(service):
    service.configure(workers=4)
    service.start()

    def sockets(pid):
        return set(link for link in open_files(pid) if link.startswith('socket:'))

    shared = [sockets(one) & sockets(other) for one in service.workers for other in service.workers if one != other]
    assert len(shared[0]) == 1 and shared == shared[:1] * 12


def test_restart_gives_another_supervisor_and_starts_where_none_ran(service):
    service.do('restart')
    before = service.pid
    service.do('restart')
    assert service.pid != before and not is_alive(before)
    assert answers(service.address)


def test_restart_leaves_what_runs_when_the_configuration_is_broken(service):
    service.start()
    before = service.processes()
    service.write('config.json', b'{')
    assert 'config.json' in service.refuses(2, 'restart')
    assert sorted(service.processes()) == sorted(before)
    service.do('stop')


@pytest.mark.parametrize('command', ['start', 'run'])
def test_a_log_that_cannot_be_written_leaves_no_stale_pid_file(service, tmpdir, command):
    service.configure(log={'file': str(tmpdir.join('missing', 'log'))})
    code, _, complaint = service.ask(command)
    assert code == 1 and 'cannot log to' in complaint
    assert service.read('pid') == '' and service.ask('status')[0] == 3


def test_first_use_makes_a_private_home_with_a_default_configuration(tmpdir):
    ws2sd = load_ws2sd()
    home = ws2sd.Home(str(tmpdir.join('a', 'home')))
    home.make()
    assert stat.S_IMODE(os.stat(home.folder).st_mode) == 0o700
    assert os.listdir(home.folder) == ['config.json']
    assert stat.S_IMODE(os.stat(home.config).st_mode) == 0o600
    config = home.read_config()
    assert (config['listen.host'], config['listen.port']) == ('127.0.0.1', 3613)
    assert config['allowConnectToServerLocal'] is False
    tmpdir.join('a', 'home', 'config.json').write('{"web": "mine"}')
    home.make()
    assert home.read_config()['web'] == os.path.join(os.getcwd(), 'mine')


def test_a_home_that_two_make_at_once_is_made_and_whole(tmpdir):
    ws2sd, faults, barrier = load_ws2sd(), [], threading.Event()

    def make(folder):
        barrier.wait(10)
        try:
            home = ws2sd.Home(folder)
            home.make()
            home.read_config()
        except Exception as error:
            faults.append(str(error))

    for number in range(60):
        barrier.clear()
        threads = [threading.Thread(target=make, args=(str(tmpdir.join(str(number))),)) for _ in range(8)]
        for thread in threads:
            thread.start()
        barrier.set()
        for thread in threads:
            thread.join()
    assert faults == []


def test_another_configuration_than_that_of_the_home(service, tmpdir):
    other = tmpdir.join('other.json')
    other.write(json.dumps(dict(service.config, workers=1)))
    shutil.rmtree(service.home)
    service.do('--config', 'other.json', 'start')
    assert len(service.workers) == 1
    assert stat.S_IMODE(os.stat(service.home).st_mode) == 0o700
    assert not os.path.exists(service.path('config.json'))
    service.do('--config', 'other.json', 'reload')
    service.do('stop', '--help')
    assert answers(service.address)


@pytest.mark.parametrize('words, word', [
    (['nonsense'], 'nonsense'), (['start', 'now'], 'now'), (['--nonsense', 'start'], '--nonsense'),
    (['service', '--kind', 'cron'], 'cron'), (['--home'], '--home'), (['start\n\x1b[2J'], 'start'),
], ids=lambda value: ' '.join(value).encode('unicode_escape').decode('ascii') if isinstance(value, list) else '')
def test_a_mistake_in_the_arguments_is_one_line(service, words, word):
    assert word in service.refuses(2, *words)
    assert os.listdir(service.home) == ['config.json']


@pytest.mark.parametrize('command', ['start', 'run', 'restart'])
@pytest.mark.parametrize('content, word', [(b'{', 'JSON'), (b'{"workers": -1}', 'workers'), (b'{"x": 1}', '"x"'),
                                           (b'{"web": "/nowhere/at all"}', 'web')],
                         ids=['no JSON', 'wrong', 'unknown', 'not there'])
def test_a_broken_configuration_starts_nothing(service, command, content, word):
    service.write('config.json', content)
    assert word in service.refuses(2, command)
    assert service.processes() == []
    assert service.ask('status')[0] == 3


@pytest.mark.parametrize('command', ['start', 'run'])
def test_a_port_that_is_taken_is_one_line_and_leaves_nothing(service, command):
    with serving(echo) as port:
        service.configure(listen={'port': port})
        errors = service.ask(command)
        assert errors[0] == 1 and '127.0.0.1:%d' % port in errors[2] and 'in use' in errors[2], errors
        assert 'Traceback' not in errors[2]
        assert service.processes() == []
        assert service.ask('status')[0] == 3


def test_a_home_that_cannot_be_is_one_line(service, tmpdir):
    tmpdir.join('file').write('')
    for name in ('file', 'file/below'):
        status, output, errors = Command([sys.executable, WS2SD, '--home', name, 'start'], str(tmpdir)).outcome()
        assert (status, output) == (1, '') and re.match(r'ws2sd: [ -~]+\n\Z', errors), errors


@pytest.mark.parametrize('mode', [0o720, 0o702, 0o770, 0o777, 0o1777])
@pytest.mark.parametrize('command', ['start', 'run', 'restart'])
def test_a_home_that_others_can_write_is_refused(service, command, mode):
    os.chmod(service.home, mode)
    assert 'written by others' in service.refuses(1, command)
    assert os.listdir(service.home) == ['config.json']


@pytest.mark.parametrize('command', ['start', 'run', 'stop', 'reload', 'status', 'restart'])
def test_a_user_without_a_home_is_asked_for_one(tmpdir, monkeypatch, command, capsys):
    ws2sd = load_ws2sd()
    monkeypatch.setattr(os.path, 'expanduser', lambda path: path)
    monkeypatch.chdir(str(tmpdir))
    assert ws2sd.main([command]) == 1
    output, errors = capsys.readouterr()
    assert output == '' and re.match(r'ws2sd: [ -~]+\n\Z', errors) and '--home' in errors
    assert tmpdir.listdir() == []


@pytest.mark.parametrize('home', ['', 'relative', '~', './x', '~nobody-at-all'])
def test_a_home_that_is_none_leads_to_the_one_in_the_password_database(tmpdir, monkeypatch, home):
    """A13: no folder is named as an odd HOME, and none of the root folder is meant by an empty one."""
    ws2sd, found = load_ws2sd(), []
    monkeypatch.setenv('HOME', home)
    monkeypatch.chdir(str(tmpdir))
    monkeypatch.setattr(ws2sd, 'status', lambda home, arguments: found.append(home.folder) or 0)
    monkeypatch.setattr(ws2sd, 'COMMANDS', (('status', ws2sd.status),))
    assert ws2sd.main(['status']) == 0
    assert found == [os.path.join(pwd.getpwuid(os.getuid()).pw_dir, '.ws2s')]
    assert tmpdir.listdir() == []


@pytest.mark.parametrize('user', [54321, 65534])
def test_a_user_whom_the_system_does_not_know_is_asked_for_a_home(tmpdir, user):
    """A13, as in a container: the user has no entry, HOME is not set or leads to where nothing may be written."""
    if os.getuid() != 0:
        user = os.getuid()
    for home, words in ((None, '--home' if user == 54321 else ''), ('/', '--home DIR names another'),
                        ('/dev/null', '--home DIR names another')):
        assert words in as_user(user, home, str(tmpdir)), (home, words)
    assert tmpdir.listdir() == []


def as_user(user, home, folder):
    """What a child that has become this user is told on standard error by `ws2sd start`."""
    ws2sd, (reader, writer) = load_ws2sd(), os.pipe()
    pid = os.fork()
    if not pid:
        try:
            os.dup2(writer, 2)
            sys.stderr = os.fdopen(2, 'w')
            os.chdir(folder)
            os.setuid(user)
            os.environ.pop('HOME', None)
            if home is not None:
                os.environ['HOME'] = home
            status = ws2sd.main(['start'])
            sys.stderr.flush()
            os._exit(status)
        finally:
            os._exit(99)
    os.close(writer)
    with os.fdopen(reader, 'rb') as file:
        text = file.read().decode('utf-8')
    assert os.WEXITSTATUS(os.waitpid(pid, 0)[1]) == 1 and re.match(r'ws2sd: [ -~]+\n\Z', text), text
    return text


def test_a_folder_that_was_removed_meanwhile_is_no_obstacle_but_for_what_is_relative_to_it(service):
    words = ['sh', '-c', 'mkdir gone && cd gone && rmdir ../gone && exec "$@"', 'sh', sys.executable, WS2SD]
    assert Command(words + ['--home', service.home, 'start'], service.user_home).outcome()[0] == 0
    assert answers(service.address)
    status, _, errors = Command(words + ['--home', 'home', 'start'], service.user_home).outcome()
    assert status == 1 and re.match(r'ws2sd: home is relative to a folder [ -~]+\n\Z', errors)
    service.configure(web='site')
    status, _, errors = Command(words + ['--home', service.home, 'restart'], service.user_home).outcome()
    assert status == 1 and re.match(r'ws2sd: site is relative to a folder [ -~]+\n\Z', errors)


@pytest.mark.parametrize('mask', [0o777, 0o000, 0o077, 0o277])
def test_a_home_is_made_whatever_the_umask_and_for_its_owner_alone(tmpdir, mask):
    folder = tmpdir.join('home')
    ws2sd = load_ws2sd()
    ws2sd.COMMANDS = (('status', lambda home, arguments: home.make() or 0),)
    os.umask(mask)
    assert ws2sd.main(['--home', str(folder), 'status']) == 0
    assert stat.S_IMODE(folder.stat().mode) == 0o700
    assert stat.S_IMODE(folder.join('config.json').stat().mode) == 0o600


@pytest.mark.parametrize('mend', ['<&-', '>&-', '2>&-', '<&- >&- 2>&-'])
def test_a_service_starts_and_stops_where_standard_descriptors_are_closed(service, mend):
    for word in ('start', 'status', 'reload', 'stop'):
        words = ['sh', '-c', 'exec "$@" ' + mend, 'sh', sys.executable, WS2SD, '--home', service.home, word]
        status, _, errors = Command(words, service.user_home).outcome()
        assert (status, errors) == (0, '')
    assert service.processes() == [] and torn(service.log) == []


@pytest.mark.parametrize('place', [
    {'LC_ALL': 'C', 'PYTHONUTF8': '0', 'PYTHONCOERCECLOCALE': '0', 'PYTHONIOENCODING': 'ascii'},
    {'TZ': 'Nonsense/Nowhere'}, {'TMPDIR': '/nowhere/at/all'}, {'PATH': ''}, {'HOME': ''}, {'PYTHONWARNINGS': 'error'},
    {'PYTHONOPTIMIZE': '2'}, {'PYTHONSAFEPATH': '1'}, {'container': 'odd'}, {'LISTEN_FDS': '1'}], ids=str)
def test_an_odd_environment_is_no_obstacle(service, place):
    service.do('start', environment=place)
    assert answers(service.address)
    service.do('stop', environment=place)
    assert torn(service.log) == []


def test_with_a_home_of_its_own_a_user_without_one_has_the_known_hosts_there(tmpdir, monkeypatch):
    ws2sd = load_ws2sd()
    monkeypatch.setattr(os.path, 'expanduser', lambda path: path)
    home = ws2sd.Home(str(tmpdir.join('home')))
    home.make()
    assert home.read_config()['ssh.knownHosts'] == str(tmpdir.join('home', 'known_hosts'))


@pytest.mark.parametrize('words, environment', [
    ([], {'PYTHONSAFEPATH': '1'}), (['-I', '-B'] if sys.version_info[0] > 2 else ['-E'], {})], ids=['safe path', '-I'])
def test_ws2s_is_found_beside_ws2sd_also_where_python_does_not_look_there(tmpdir, words, environment):
    command = Command([sys.executable] + words + [WS2SD, 'help'], str(tmpdir), environment=environment)
    status, output, errors = command.outcome()
    assert (status, errors) == (0, '') and 'restart' in output


@pytest.mark.parametrize('mode', [0o700, 0o750, 0o755])
def test_a_home_that_others_can_only_read_is_taken(service, mode):
    os.chmod(service.home, mode)
    service.start()
    service.do('restart')
    service.do('stop')


def test_a_home_of_another_user_is_refused_by_root_too(tmpdir, monkeypatch):
    ws2sd = load_ws2sd()
    tmpdir.mkdir('home')
    for owner in set([0, 12345]) - set([os.getuid()]):
        monkeypatch.setattr(os, 'geteuid', lambda: owner)
        with pytest.raises(ws2sd.ws2s.ServeError) as caught:
            ws2sd.Home(str(tmpdir.join('home'))).make()
        assert 'another user' in str(caught.value)
    assert tmpdir.join('home').listdir() == []


@pytest.mark.parametrize('named', [False, True], ids=['default', 'named'])
def test_a_log_in_the_home_is_no_link_to_elsewhere(service, tmpdir, named):
    tmpdir.join('elsewhere').write('')
    os.symlink(str(tmpdir.join('elsewhere')), service.path('ws2s.log'))
    service.configure(log={'file': 'home/../home/ws2s.log' if named else None})
    assert 'cannot log to' in service.refuses(1, 'start')
    os.unlink(service.path('ws2s.log'))
    service.start()
    os.unlink(service.path('ws2s.log'))
    os.symlink(str(tmpdir.join('elsewhere')), service.path('ws2s.log'))
    service.do('reload')
    assert tmpdir.join('elsewhere').read() == ''


def test_a_log_elsewhere_may_be_a_link(service, tmpdir):
    tmpdir.join('elsewhere').write('')
    os.symlink(str(tmpdir.join('elsewhere')), str(tmpdir.join('log')))
    service.configure(log={'file': 'log'})
    service.start()
    assert 'listens on' in tmpdir.join('elsewhere').read()


@pytest.mark.parametrize('kind', ['link', 'fifo'])
def test_a_state_that_is_no_file_is_not_read_and_gives_way(service, tmpdir, kind):
    tmpdir.join('elsewhere').write('{"workers": [1], "address": "evil:1", "pid": 1}')
    for name in ('state', 'state.new'):
        if kind == 'link':
            os.symlink(str(tmpdir.join('elsewhere')), service.path(name))
        else:
            os.mkfifo(service.path(name))
    assert load_ws2sd().read_state(service.path('state')) == {}
    service.start()
    assert stat.S_ISREG(os.lstat(service.path('state')).st_mode)
    assert 'evil' in tmpdir.join('elsewhere').read()
    assert answers(service.address)


def test_a_log_that_cannot_be_written_is_one_line(service):
    service.configure(log={'file': service.path('missing/ws2s.log')})
    assert 'missing' in service.refuses(1, 'start')
    assert service.processes() == []


@pytest.mark.parametrize('words', [[], ['help'], ['--help']], ids=' '.join)
def test_help_names_every_command(service, words):
    text = service.do(*words) if words else Command([sys.executable, WS2SD], service.user_home).outcome()[1]
    for word in ('run', 'start', 'stop', 'restart', 'reload', 'upgrade', 'status', 'top', 'service', 'help',
                 '--home', '--config'):
        assert word in text
    assert os.listdir(service.home) == ['config.json']


@pytest.mark.parametrize('count', [2, 10])
def test_of_many_starts_at_once_one_wins_and_the_others_say_so(service, count):
    calls = [service.begin('start') for _ in range(count)]
    outcomes = sorted(call.outcome() for call in calls)
    assert [outcome[0] for outcome in outcomes] == [0] + [1] * (count - 1), outcomes
    for _, output, errors in outcomes[1:]:
        assert output == '' and re.match(r'ws2sd: ws2sd runs already, with pid \d+\n\Z', errors), errors
    assert sorted(service.processes()) == sorted([service.pid] + service.workers)
    assert answers(service.address)


def test_without_a_number_there_is_a_worker_for_each_core(service):
    service.configure(workers=0)
    service.start()
    ws2sd = load_ws2sd()
    assert len(service.workers) == ws2sd.usable_cores()


@pytest.mark.skipif(not sys.platform.startswith('linux'), reason='needs Linux: it has affinity masks')
def test_cores_on_which_the_service_may_not_run_get_no_worker():
    taskset = needs('taskset', 'util-linux')
    assert int(subprocess.check_output([taskset, '-c', allowed_cores()[0], sys.executable, '-c', COUNT_CORES])) == 1


def allowed_cores():
    with open('/proc/self/status') as file:
        return re.findall('[0-9]+', re.search('Cpus_allowed_list:(.*)', file.read()).group(1))


COUNT_CORES = """
import sys
sys.path[:0] = %r
from service import load_ws2sd
ws2sd = load_ws2sd()
print(ws2sd.usable_cores())
""" % ([os.path.dirname(WS2SD), os.path.dirname(os.path.abspath(__file__))],)


@pytest.mark.parametrize('status, expected', [
    ('Cpus_allowed:\tf\nCpus_allowed_list:\t0-3\n', 4), ('x:\t1\nCpus_allowed:\tffffffff,00000001\n', 33),
    ('Cpus_allowed:\t00000000,00000005\n', 2), ('', float('inf'))], ids=repr)
def test_the_affinity_mask_bounds_the_workers(tmpdir, status, expected):
    ws2sd = load_ws2sd()
    tmpdir.join('status').write(status)
    ws2sd.OWN_STATUS = str(tmpdir.join('status'))
    assert ws2sd.allowed_processors() == expected
    assert ws2sd.usable_cores() <= expected


OF_TWO, OF_ONE = '2:cpu,cpuacct:/x/y', '0::/x/y'
# As in proc(5): of both versions, or of one; as containers have it, whose own group is /x on the host.
BOTH_MOUNTED = '''31 23 0:28 / {0} rw - tmpfs tmpfs rw
32 31 0:29 / {0}/cpu rw,relatime - cgroup cgroup rw,cpu,cpuacct
33 31 0:30 / {0}/cpuset rw shared:9 - cgroup cgroup rw,cpuset
41 31 0:38 / {0} rw - cgroup2 none rw
'''
BELOW_X = '32 31 0:29 /x {0} ro - cgroup cgroup rw,cpu,cpuacct\n41 31 0:38 /x {0} ro - cgroup2 cgroup2 rw\n'
FAR_AWAY = '41 31 0:38 /elsewhere {0} ro - cgroup2 cgroup2 rw,nsdelegate\n'


@pytest.mark.parametrize('groups, files, expected, mounts', [row + (BOTH_MOUNTED,) for row in [
    ('', {}, []), (OF_ONE, {}, []), (OF_ONE, {'x/y/cpu.max': 'max 100000'}, []),
    (OF_ONE, {'x/y/cpu.max': '100000 100000'}, [1]), (OF_ONE, {'x/y/cpu.max': '150000 100000'}, [2]),
    (OF_ONE, {'x/y/cpu.max': '1000 100000'}, [1]), (OF_ONE, {'x/y/cpu.max': '250000 50000'}, [5]),
    (OF_ONE, {'x/y/cpu.max': 'max 100000', 'x/cpu.max': '300000 100000'}, [3]),
    (OF_ONE, {'cpu.max': '200000 100000'}, [2]), ('0::/', {'cpu.max': '200000 100000'}, [2]),
    (OF_ONE, {'x/y/cpu.max': '400000 100000', 'x/cpu.max': '300000 100000'}, [4, 3]),
    (OF_ONE, {'x/y/cpu.max': ''}, []), (OF_ONE, {'x/y/cpu.max': '5 0'}, []), (OF_ONE, {'x/y/cpu.max': 'odd'}, []),
    (OF_TWO, {'cpu/x/y/cpu.cfs_quota_us': '-1', 'cpu/x/y/cpu.cfs_period_us': '100000'}, []),
    (OF_TWO, {'cpu/x/y/cpu.cfs_quota_us': '150000', 'cpu/x/y/cpu.cfs_period_us': '100000'}, [2]),
    (OF_TWO, {'cpu/cpu.cfs_quota_us': '50000', 'cpu/cpu.cfs_period_us': '100000'}, [1]),
    ('4:memory:/x\n' + OF_TWO, {'cpu/x/cpu.cfs_quota_us': '50000', 'cpu/x/cpu.cfs_period_us': '100000'}, [1]),
    ('3:cpuset:/x/y', {'cpu/x/y/cpu.cfs_quota_us': '50000', 'cpu/x/y/cpu.cfs_period_us': '100000'}, []),
]] + [
    # The fourth: in a container.
    (OF_ONE, {'y/cpu.max': '150000 100000', 'cpu.max': '300000 100000'}, [2, 3], BELOW_X),
    (OF_TWO, {'y/cpu.cfs_quota_us': '50000', 'y/cpu.cfs_period_us': '100000'}, [1], BELOW_X),
    ('0::/', {'cpu.max': '150000 100000'}, [2], BELOW_X), ('0::/../z', {'cpu.max': '150000 100000'}, [2], FAR_AWAY),
    ('0::/', {'cpu.max': '150000 100000'}, [], ''), ('0::/', {'cpu.max': '150000 100000'}, [], 'odd\n'),
], ids=str)
def test_the_time_of_a_control_group_bounds_the_workers(tmpdir, monkeypatch, groups, files, expected, mounts):
    ws2sd = load_ws2sd()
    tmpdir.join('own').write(groups)
    for name in files:
        tmpdir.join('groups', *name.split('/')).write(files[name] + '\n', ensure=True)
    monkeypatch.setattr(ws2sd.ws2s, 'OWN_GROUPS', str(tmpdir.join('own')))
    tmpdir.join('mounts').write(mounts.format(tmpdir.join('groups')))
    ws2sd.OWN_MOUNTS = str(tmpdir.join('mounts'))
    assert ws2sd.group_cores() == expected
    assert 1 <= ws2sd.usable_cores() <= min(expected + [ws2sd.multiprocessing.cpu_count()])


def test_a_web_folder_in_the_users_home_is_found_as_by_ws2s(service, tmpdir):
    tmpdir.mkdir('site').join('index.html').write('<p>mine')
    service.configure(web='~/site')
    service.start()
    assert exchange(service.address, b'GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n')[2] == b'<p>mine'
    service.do('reload')
    assert exchange(service.address, b'GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n')[2] == b'<p>mine'


def test_a_web_folder_that_is_relative_is_not_lost_when_the_daemon_leaves(service, tmpdir):
    tmpdir.mkdir('site').join('index.html').write('<p>mine')
    service.configure(web='site')
    service.start()
    assert exchange(service.address, b'GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n')[2] == b'<p>mine'


# -- workers -----------------------------------------------------------------------------------------------------------

@pytest.mark.quiet
def test_a_worker_that_is_killed_is_begun_again_and_the_others_clients_lose_nothing(service):
    service.start()
    with echoing() as port, Crowd(service.address, 40, port) as crowd:
        owners = owners_of(service)
        assert len(owners) == 40
        dying, staying = service.workers
        others = [client for client in crowd.clients if owners[client.sock.getsockname()[1]] == dying]
        crowd.clients[:] = [client for client in crowd.clients if client not in others]
        assert others and crowd.clients
        crowd.begin()
        crowd.goes_on()
        os.kill(dying, signal.SIGKILL)
        elapsed = stopwatch()
        (new,) = set(wait_until(lambda: service.two_workers_without([dying]))) - {staying}
        wait_until(lambda: any('[%d]' % new in line and 'listens on' in line for line in service.log))
        assert elapsed() < 1
        for _ in range(20):
            assert answers(service.address)
        for client in others:
            assert client.is_ended()
            client.sock.close()
        crowd.goes_on()
        crowd.finish()
    assert staying in service.workers


def test_workers_that_die_at_once_are_begun_again_after_growing_pauses(service):
    service.configure(workers=1)
    service.start()
    seen = set()
    for _ in range(4):
        (pid,) = wait_until(lambda: [pid for pid in service.workers if pid not in seen], 15)
        seen.add(pid)
        kill(pid, signal.SIGKILL)
    wait_until(lambda: len(re.findall('another begins', '\n'.join(service.log))) == 4)
    assert re.findall('another begins in ([0-9.]+) s', '\n'.join(service.log)) == ['0', '0.1', '0.5', '1']
    wait_until(lambda: service.workers)
    assert answers(service.address)


# ws2sd whose workers are not begun again as long as this test may take.
LASTING_DEATH = """
import sys
sys.path[:0] = %r
from service import load_ws2sd
ws2sd = load_ws2sd()
ws2sd.PAUSES, ws2sd.YOUNG_SECONDS = (600, 600), 600
sys.exit(ws2sd.main(sys.argv[2:]))
""" % ([os.path.dirname(WS2SD), os.path.dirname(os.path.abspath(__file__))],)


@pytest.mark.parametrize('host', ['127.0.0.1', '::', 'localhost'])
def test_the_share_of_a_dead_worker_goes_to_the_others_at_once_and_where_there_is_none_clients_wait(service, host):
    service.configure(workers=3, listen={'host': host, 'port': 0})
    with foreground(service, 'ws2sd', ['-c', LASTING_DEATH]) as running:
        wait_until(lambda: 'with 3 workers' in '\n'.join(running.lines), 20)
        for left in (3, 2, 1):
            workers = wait_until(lambda: len(service.workers) == left and service.workers, 20)
            port = service.address[1]
            for address in [('127.0.0.1', port)] + [('::1', port)] * (service.address[0] != '127.0.0.1'):
                for _ in range(25):
                    assert answers(address)
            kill(workers[0], signal.SIGKILL)
        wait_until(lambda: not service.workers)
        for _ in range(25):
            socket.create_connection(('127.0.0.1', port), 10).close()
        running.signal(signal.SIGTERM)
        assert running.wait() == 0


def test_a_killed_supervisor_ends_its_workers_and_does_not_hinder_the_next_start(service):
    service.start()
    workers, address = service.workers, service.address
    with serving(echo) as port, RawClient(address) as idle, RawClient(address) as client:
        idle.open()
        client.open().connect_to(port)
        os.kill(service.pid, signal.SIGKILL)
        assert idle.receive_close()[0] == 1001
        service.configure(listen={'port': address[1]})
        service.start()
        assert service.address == address and not set(service.workers) & set(workers)
        assert answers(address)
        assert client.receive_close()[0] == 1001
    wait_until(lambda: not any(map(is_alive, workers)), 5, 'the orphans to end')
    assert sorted(service.processes()) == sorted([service.pid] + service.workers)
    service.do('stop')


def test_after_a_killed_supervisor_nothing_is_signalled_and_start_works(service):
    service.start()
    os.kill(service.pid, signal.SIGKILL)
    service.wait_for_end()
    for command in ('stop', 'reload', 'status'):
        assert 'stale' in service.refuses(1, command)
    service.start()
    assert answers(service.address)
    service.do('stop')


def test_workers_that_are_told_to_stop_on_their_own_are_begun_again(service):
    service.start()
    before = service.workers
    for pid in before:
        os.kill(pid, signal.SIGTERM)
    wait_until(lambda: service.two_workers_without(before))
    assert answers(service.address)


def spread(service, count):
    """Open that many clients; {pid of a worker: how many it has}."""
    clients, address = [], service.address
    try:
        for _ in range(count):
            clients.append(RawClient(address))
            clients[-1].open()
        return collections.Counter(owners_of(service).values())
    finally:
        for client in clients:
            client.sock.close()


@pytest.mark.quiet
@pytest.mark.parametrize('clients, most', [(40, 20), (2000, 600)])
def test_of_four_workers_none_has_many_more_clients_than_the_others(service, many_descriptors, clients, most):
    service.configure(workers=4)
    service.start()
    found = spread(service, clients)
    assert sum(found.values()) == clients
    assert set(found) == set(service.workers)
    assert max(found.values()) <= most, found


def state_of(pid):
    """A letter, as proc(5) has it: T is stopped."""
    with open('/proc/%d/stat' % pid) as file:
        return file.read().rpartition(')')[2].split()[0]


def test_clients_of_a_worker_that_hangs_or_is_killed_go_to_the_others(service):
    service.configure(workers=3)
    service.start()
    hanging, dying = service.workers[:2]
    os.kill(hanging, signal.SIGSTOP)
    try:
        wait_until(lambda: state_of(hanging) == 'T')
        found = spread(service, 12)
        assert sum(found.values()) == 12 and not found[hanging]
        kill(dying, signal.SIGKILL)
        for _ in range(20):
            assert answers(service.address)
    finally:
        os.kill(hanging, signal.SIGCONT)


# -- stopping ----------------------------------------------------------------------------------------------------------

class Download(object):
    """A client of a target that goes on sending after the service was told to stop."""

    TOTAL = 1000000

    def __init__(self, address, port, tape):
        self.client, self.code, self.error = RawClient(address, timeout=30), None, None
        self.client.open().connect_to(port, binary=True)
        self._reading = Reading(tape)
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self):
        try:
            self._reading.take_from(self.client, self.TOTAL)
            assert self.client.receive_json()['code'] == 5
            self.code = self.client.receive_close()[0]
            self.client.send_frame(CLOSE, b'\x03\xe9')
            self.client.finish()
        except BaseException as error:  # the test gets it from end()
            self.error = error
        finally:
            self.client.sock.close()

    def end(self):
        self._thread.join(40)
        assert self.error is None, (self.error, self._reading.position)
        return self.code


def sending_tape(tape, begun):
    """A target that sends half at once, and the rest after ``begun``."""
    def run(sock):
        half = Download.TOTAL // 2
        for piece in tape.pieces(half, 50000):
            sock.sendall(piece)
        begun.wait(60)
        for piece in tape.pieces(half, 50000, half):
            sock.sendall(piece)
        sock.shutdown(socket.SHUT_WR)
        sock.recv(1)
    return run


@pytest.mark.quiet
def test_stop_under_load_loses_no_byte_and_says_1001_to_all(service):
    service.configure(limits={'drainSeconds': 5})
    service.start()
    tape, begun = Tape(7), threading.Event()
    with serving(sending_tape(tape, begun)) as port, serving(silence) as hanging:
        idlers = [RawClient(service.address).open() for _ in range(20)]
        stuck = [RawClient(service.address).open().connect_to(hanging) for _ in range(5)]
        downloads = [Download(service.address, port, tape) for _ in range(30)]
        elapsed, call = stopwatch(), service.begin('stop')
        for client in idlers:
            assert client.receive_close()[0] == 1001
        begun.set()
        assert [download.end() for download in downloads] == [1001] * 30
        assert elapsed() < 5
        assert [client.receive_close()[0] for client in stuck] == [1001] * 5
        status, _, errors = call.outcome()
        assert (status, errors) == (0, '')
        assert elapsed() < 5 + 1 + 0.5  # and for the command itself to begin
        assert service.processes() == []
        for client in idlers + stuck:
            client.sock.close()
    assert torn(service.log) == []


def test_a_stopping_service_accepts_nobody(service):
    service.configure(limits={'drainSeconds': 60})
    service.start()
    address, supervisor = service.address, service.pid
    with serving(silence) as port, RawClient(address) as client:
        client.open().connect_to(port)
        os.kill(supervisor, signal.SIGTERM)
        wait_until(lambda: refuses_connections(address))
        assert_holds(lambda: is_alive(supervisor), 0.3)
        elapsed = stopwatch()
        os.kill(supervisor, signal.SIGTERM)
        service.wait_for_end(4)
        assert elapsed() < 3


def refuses_connections(address):
    sock = socket.socket()
    try:
        return sock.connect_ex(address) != 0
    finally:
        sock.close()


def test_a_target_that_goes_on_has_until_the_end_of_the_drain(service):
    service.configure(limits={'drainSeconds': 2})
    service.start()
    with serving(echo) as port, RawClient(service.address) as client:
        client.open().connect_to(port, binary=True)
        elapsed = stopwatch()
        os.kill(service.pid, signal.SIGTERM)
        while elapsed() < 1.5:
            client.send_frame(BINARY, b'still here')
            assert client.receive_data(10) == b'still here'
        client.receive_close()
        assert 1.9 < elapsed() < 3
        service.wait_for_end(1)
        assert elapsed() < 3.5


def test_a_worker_that_hangs_is_killed_in_the_end(service):
    service.configure(limits={'drainSeconds': 0.2})
    service.start()
    os.kill(service.workers[0], signal.SIGSTOP)
    service.do('stop')
    assert service.processes() == []


# -- reload ------------------------------------------------------------------------------------------------------------

def test_reload_changes_the_rules_for_new_clients_and_live_ones_live_on(service):
    service.start()
    before = service.processes()
    with echoing() as port, Crowd(service.address, 10, port) as crowd:
        service.configure(denyTargets=DENY_ALL)
        service.do('reload')
        for _ in range(10):
            assert reply_code(service.address, port) == 4
        crowd.round()
        service.configure(denyTargets=[])
        service.do('reload')
        for _ in range(10):
            assert reply_code(service.address, port) == 0
        crowd.round()
    assert sorted(service.processes()) == sorted(before)


@pytest.mark.parametrize('content, word', [(b'{', 'JSON'), (b'{"web": "/nowhere"}', 'web'), (None, 'config.json')],
                         ids=['no JSON', 'not there', 'no file'])
def test_a_broken_file_keeps_the_old_rules_and_is_named_in_the_log(service, content, word):
    service.configure(denyTargets=DENY_ALL)
    service.start()
    if content is None:
        os.unlink(service.path('config.json'))
    else:
        service.write('config.json', content)
    assert word in service.refuses(1, 'reload')
    assert any('ERROR' in line and word in line for line in service.log)
    with serving(echo) as port:
        assert reply_code(service.address, port) == 4
    service.do('stop')


def test_a_reload_that_changes_nothing_warns_of_nothing(service):
    service.start()
    service.do('reload')
    assert [line for line in service.log if 'WARNING' in line or 'ERROR' in line] == []


def test_a_reload_of_what_needs_a_restart_says_so(service):
    service.start()
    service.configure(workers=3)
    service.do('reload')
    assert any('"workers"' in line and 'WARNING' in line for line in service.log)
    assert len(service.workers) == 2


def test_a_worker_that_is_begun_after_a_reload_has_the_new_rules(service):
    service.start()
    service.configure(denyTargets=DENY_ALL)
    service.do('reload')
    before = service.workers
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: service.two_workers_without(before))
    with serving(echo) as port:
        for _ in range(6):
            assert reply_code(service.address, port) == 4


def test_a_reload_while_a_worker_hangs_ends_with_1_in_time(service):
    service.start()
    os.kill(service.workers[0], signal.SIGSTOP)
    elapsed = stopwatch()
    assert 'in time' in service.refuses(1, 'reload')
    assert elapsed() < 14


def test_a_worker_that_hangs_does_not_block_the_supervisor_that_reloads(service):
    service.configure(denyTargets=['host-%d.example.test' % number for number in range(20000)])
    service.start()
    hanging, living = service.workers
    os.kill(hanging, signal.SIGSTOP)

    os.kill(service.pid, signal.SIGHUP)  # more than fits into a pipe
    wait_until(lambda: any('read anew' in line for line in service.log), 10, 'the living worker to reload')
    os.kill(service.pid, signal.SIGHUP)
    wait_until(lambda: any('%d hangs' % hanging in line for line in service.log), 10, 'the supervisor to notice')
    os.kill(living, signal.SIGKILL)
    wait_until(lambda: service.two_workers_without([hanging, living]), 10, 'new workers')


def test_reloads_that_follow_fast_end_no_worker_and_the_last_one_counts(service):
    """Each configuration is more than fits into a pipe."""
    names = ['host-%d.example.test' % number for number in range(20000)]
    service.configure(denyTargets=names)
    service.start()
    before = set(service.workers)
    with serving(echo) as port:
        assert reply_code(service.address, port) == 0
        for deny in (names[1:], names[2:], names[3:] + DENY_ALL):
            service.configure(denyTargets=deny)
            for _ in range(3):
                os.kill(service.pid, signal.SIGHUP)
                threading.Event().wait(0.01)  # two signals at one time are one
        wait_until(lambda: all(reply_code(service.address, port) == 4 for _ in range(6)), 40)
    assert set(service.workers) == before
    assert not any('hangs' in line or 'has died' in line for line in service.log)


class Supervising(object):
    """The place of a worker that this test plays, by ``far``."""

    def __init__(self, hanging_seconds):
        self.module = module = load_ws2sd()
        module.HANGING_SECONDS = hanging_seconds
        self.loop, self.signals, (near, self.far) = module.ws2s.Loop(), [], socket.socketpair()
        for sock in (near, self.far):
            sock.setblocking(False)
        self.place = module.Place(self)
        self.place.signal = self.signals.append
        self.place.pid = 1
        budget = module.ws2s.Budget(module.CONTROL_BYTES)
        self.control = module.ws2s.Stream(self.loop, near, self.place, module.CONTROL_BYTES, budget)
        self.place._control = self.control
        self.far.send(b'ready\n')

    def leads(self):
        return True

    def on_news(self):
        """Nothing hangs on it here."""

    def told(self, count=100):
        """What has come for the worker."""
        self.loop.post(lambda: None)
        self.loop.turn()
        try:
            return self.far.recv(count)
        except socket.error:
            return b''

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.control.close()
        self.loop.close()
        self.far.close()


def test_a_configuration_that_waits_is_told_when_the_one_before_is_confirmed_and_of_those_the_newest():
    with Supervising(60) as it:
        for text in ('first', 'second', 'third'):
            it.place.tell(text)
        assert wait_until(it.told) == b'[1, "first"]\n'
        it.far.send(b'reloaded 1\n')
        assert wait_until(it.told) == b'[2, "third"]\n'
        assert it.place.owes_reload()
        it.far.send(b'reloaded 2\n')
        wait_until(lambda: not it.told() and not it.place.owes_reload())
        assert it.loop.live_timers() == 0 and not it.signals


def test_a_worker_that_confirms_nothing_but_reads_still_gets_the_newest_configuration():
    with Supervising(0.1) as it:
        for text in ('first', 'second', 'third'):
            it.place.tell(text)
        assert wait_until(it.told) == b'[1, "first"]\n'
        assert wait_until(it.told) == b'[2, "third"]\n'
        it.module.HANGING_SECONDS = 60
        it.place.tell('fourth')
        it.far.send(b'reloaded 1\n')  # late, and not of the last one
        assert not any(it.told() for _ in range(3)) and it.place.owes_reload()
        it.far.send(b'reloaded 2\n')
        assert wait_until(it.told) == b'[3, "fourth"]\n'
        it.far.send(b'reloaded 3\n')
        wait_until(lambda: not it.told() and not it.place.owes_reload())
        assert it.loop.live_timers() == 0 and not it.signals


def test_a_worker_that_takes_a_long_configuration_in_slowly_is_killed_only_when_it_stops():
    with Supervising(1) as it:
        it.place.tell('x' * 16000000)
        it.place.tell('next')
        elapsed = stopwatch()
        while elapsed() < 2.5:
            assert it.told(20000)
            assert not it.signals
            threading.Event().wait(0.005)
        wait_until(lambda: it.loop.post(lambda: None) and it.loop.turn() or it.signals)
        assert it.signals == [signal.SIGKILL]


def test_a_supervisor_that_has_slept_itself_takes_no_worker_for_one_that_hangs():
    with Supervising(0.2) as it:
        it.place.tell('x' * 1000000)
        it.place.tell('next')
        while not it.told(65536):
            pass
        while it.control.pending:
            threading.Event().wait(0.3)  # it sleeps, while the worker takes in what there is
            it.far.setblocking(True)
            assert it.far.recv(1000000)
            it.far.setblocking(False)
            it.told(0)
            assert not it.signals


def test_1000_clients_live_through_five_reloads_and_a_broken_file(service, many_descriptors):
    service.start()
    with echoing() as port, Crowd(service.address, 1000, port) as crowd:
        crowd.begin()
        for number in range(5):
            if number == 2:
                service.write('config.json', b'{"denyTargets": 5}')
                assert 'denyTargets' in service.refuses(1, 'reload')
            else:
                service.configure(denyTargets=DENY_ALL if number % 2 else [])
                service.do('reload')
        crowd.goes_on()
        crowd.finish()
        service.configure(denyTargets=DENY_ALL)
        service.do('reload')
        for _ in range(10):
            assert reply_code(service.address, port) == 4
        crowd.round()


# -- pid files ---------------------------------------------------------------------------------------------------------

@pytest.fixture
def commands(tmpdir, monkeypatch, capsys):
    """Commands in this process, whose signals go nowhere: ``(exit status, complaint, signals)``."""
    ws2sd, signals = load_ws2sd(), []
    monkeypatch.setattr(os, 'kill', lambda pid, number: signals.append((pid, number)))

    def ask(*words):
        status = ws2sd.main(['--home', str(tmpdir.join('home'))] + list(words))
        return status, capsys.readouterr().err, signals

    return ask


@pytest.mark.parametrize('command', ['stop', 'reload', 'status'])
@pytest.mark.parametrize('content', [
    b'1', b'1\n', b'; rm', b'0', b'-1', b'-1\n1', b'99999999999999999999', b'\x00\xff\x7f\x80', b'parent', b'1 2',
    b'9' * 100000,
], ids=lambda content: content[:20].decode('latin-1').encode('unicode_escape').decode('ascii'))
def test_a_pid_file_that_nobody_has_locked_has_nobody_signalled(service, commands, command, content):
    service.write('pid', b'%d\n' % os.getppid() if content == b'parent' else content)
    status, complaint, signals = commands(command)
    assert (status, signals) == (1, [])
    assert re.match(r'ws2sd: [ -~]*pid is stale[ -~]*nothing was signalled\n\Z', complaint)


@pytest.mark.parametrize('content', [b'', b'\n', b'  '], ids=['empty', 'a newline', 'spaces'])
def test_an_empty_pid_file_is_none(service, commands, content):
    service.write('pid', content)
    assert commands('stop') == (0, '', [])
    assert commands('status') == (3, '', [])
    status, complaint, signals = commands('reload')
    assert (status, signals) == (1, []) and 'does not run' in complaint


@pytest.mark.parametrize('kind', ['symlink', 'a symlink to nothing', 'folder', 'fifo', 'socket'])
@pytest.mark.parametrize('command', ['stop', 'reload', 'status', 'start', 'restart'])
def test_a_pid_file_that_is_no_file_is_refused(service, tmpdir, kind, command):
    with Victim() as victim, contextlib.closing(socket.socket(socket.AF_UNIX)) as sock:
        real = tmpdir.join('real')
        {'symlink': lambda: (real.write(str(victim.pid)), os.symlink(str(real), service.path('pid'))),
         'a symlink to nothing': lambda: os.symlink(str(real), service.path('pid')),
         'folder': lambda: os.mkdir(service.path('pid')), 'fifo': lambda: os.mkfifo(service.path('pid')),
         'socket': lambda: bind_in(sock, service.home, 'pid')}[kind]()
        status, output, errors = service.begin(command).outcome(5)
        assert (status, output) == (1, '') and re.match(r'ws2sd: [ -~]*pid[ -~]*\n\Z', errors), (status, errors)
        assert service.processes() == []
        assert not real.check() or real.read() == str(victim.pid)


def bind_in(sock, folder, name):
    """A path within the folder, which itself may be too long for the name of a socket."""
    before = os.getcwd()
    os.chdir(folder)
    try:
        sock.bind(name)
    finally:
        os.chdir(before)


def without_root_powers():
    """Before exec: root may not read what its mode forbids either."""
    if os.geteuid() == 0:
        import ctypes
        for capability in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
            if ctypes.CDLL(None).prctl(24, capability, 0, 0, 0):  # PR_CAPBSET_DROP
                os._exit(99)


@pytest.mark.parametrize('command', ['stop', 'reload', 'status', 'start', 'restart'])
def test_a_pid_file_that_cannot_be_read_is_refused(service, command):
    service.write('pid', b'1')
    os.chmod(service.path('pid'), 0)
    line = service.refuses(1, command, preexec_fn=without_root_powers)
    assert 'pid' in line and 'ermission' in line
    assert service.processes() == []


def test_a_pid_file_with_the_pid_of_another_process_has_it_left_alone(service):
    with Victim() as victim:
        for command in ('stop', 'reload', 'status'):
            service.write('pid', b'%d\n' % victim.pid)
            assert 'stale' in service.refuses(1, command)
        service.do('restart')
        service.do('stop')
        service.write('pid', b'%d\n' % victim.pid)
        service.start()
        assert answers(service.address)
        service.do('stop')


def test_a_pid_file_that_was_changed_while_the_service_runs_has_nobody_signalled(service):
    service.start()
    supervisor = service.pid
    with Victim() as victim:
        for content in (b'%d\n' % victim.pid, b'', b'\xff', b'1'):
            service.write('pid', content)
            for command in ('stop', 'reload', 'status'):
                assert '%d; nothing was signalled' % supervisor in service.refuses(1, command)
            for command in ('start', 'restart'):
                assert 'runs already' in service.refuses(1, command)
            assert is_alive(supervisor) and answers(service.address)
        service.write('pid', b'%d\n' % supervisor)
        service.do('stop')


def test_a_pid_file_that_another_program_has_locked_has_it_left_alone(service, commands):
    service.write('pid', b'1')
    code = 'import fcntl, sys; file = open(sys.argv[1], "r+b"); fcntl.lockf(file, fcntl.LOCK_EX); ' \
           'sys.stdout.write("x"); sys.stdout.flush(); sys.stdin.read()'
    locker = subprocess.Popen([sys.executable, '-c', code, service.path('pid')], stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE, close_fds=True)
    assert locker.stdout.read(1) == b'x'
    for command in ('stop', 'reload', 'status'):
        status, complaint, signals = commands(command)
        assert (status, signals) == (1, []) and '%d; nothing was signalled' % locker.pid in complaint
    assert locker.communicate() == (b'', None) and locker.returncode == 0


# -- the log -----------------------------------------------------------------------------------------------------------

# M1: every line is there.
@pytest.mark.parametrize('size', [0, 20000], ids=['one file', 'rotated'])
def test_a_burst_of_16000_lines_from_four_workers_loses_and_tears_none(service, size):
    service.configure(workers=4, log={'bytes': size, 'files': 1000, 'level': 'debug'})
    service.start()
    data = b''.join(frame(TEXT, b'{"command": "ping"}' + b' ' * number) for number in range(500))
    clients = [RawClient(service.address, timeout=60).open() for _ in range(16)]
    threads = [threading.Thread(target=client.send, args=(data,)) for client in clients]
    for thread in threads:
        thread.start()
    for client in clients:
        for _ in range(500):
            client.receive_text()
    for thread in threads:
        thread.join()
    for client in clients:
        client.sock.close()
    service.do('stop')
    lines = service.log
    assert torn(lines) == []
    asked = collections.Counter(re.findall(r' < text of (\d+)\n', '\n'.join(lines) + '\n'))
    assert asked == {str(19 + number): 16 for number in range(500)}
    assert len([line for line in lines if ' > message of ' in line]) == 8000
    assert not any(LOST.match(line) for line in lines)
    assert (len(log_files(service)) > 5) == (size > 0)


def log_files(service):
    return sorted(name for name in os.listdir(service.home) if name.startswith('ws2s.log'))


def come_and_go(service, count, names='%d'):
    for number in range(count):
        with RawClient(service.address) as client:
            client.open('/' + names % number).close()


def test_rotation_loses_and_tears_no_line_of_those_who_come_and_go(service):
    service.configure(workers=4, log={'bytes': 20000, 'files': 200, 'level': 'debug'})
    service.start()
    threads = [threading.Thread(target=come_and_go, args=(service, 100, '%d-%%d' % number)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    service.do('stop')
    lines = service.log
    assert torn(lines) == []
    assert not any(LOST.match(line) for line in lines)
    names = re.findall(r' has left: origin -, path /(\d+-\d+), ', '\n'.join(lines))
    assert sorted(names) == sorted('%d-%d' % (one, two) for one in range(8) for two in range(100))
    assert len(log_files(service)) > 5
    for name in log_files(service):
        assert stat.S_IMODE(os.stat(service.path(name)).st_mode) == 0o600


def test_rotation_keeps_as_many_old_files_as_it_is_told_and_none_is_longer_than_it_may(service):
    service.configure(workers=1, log={'bytes': 2000, 'files': 2})
    service.start()
    come_and_go(service, 100)
    service.do('stop')
    names = log_files(service)
    assert names == ['ws2s.log', 'ws2s.log.1', 'ws2s.log.2']
    assert [name for name in names if not 0 < os.stat(service.path(name)).st_size <= 2000] == []
    numbers = [int(number) for number in re.findall(r', path /(\d+), ', '\n'.join(service.log))]
    assert numbers and numbers == list(range(numbers[0], 100))
    assert torn(service.log) == []


def test_a_log_that_is_too_long_at_the_start_is_rotated(service):
    service.configure(workers=1, log={'bytes': 2000, 'files': 2})
    service.write('ws2s.log', b'x' * 5000)
    service.start()
    assert service.read('ws2s.log.1') == 'x' * 5000
    assert 'ws2sd' in service.read('ws2s.log') and log_files(service) == ['ws2s.log', 'ws2s.log.1']


def test_every_process_appends_to_the_log_and_a_worker_has_it_as_standard_error(service):
    service.start()
    for pid in [service.pid] + service.workers:
        (fd,) = [fd for fd, link in files_of(pid).items() if link == service.path('ws2s.log')]
        assert flags_of(pid, fd) & os.O_APPEND
        assert (fd == '2') == (pid in service.workers)


def flags_of(pid, fd):
    with open('/proc/%d/fdinfo/%s' % (pid, fd)) as file:
        return int(re.search(r'^flags:\s*([0-7]+)$', file.read(), re.MULTILINE).group(1), 8)


def loggers(service, name):
    """Who has this file open."""
    return [pid for pid in [service.pid] + service.workers if service.path(name) in open_files(pid)]


@pytest.mark.parametrize('by', ['reload', 'SIGHUP'])
def test_after_a_rename_as_by_logrotate_all_write_to_the_new_file(service, by):
    service.configure(workers=3)
    service.start()
    everybody = [service.pid] + service.workers
    assert loggers(service, 'ws2s.log') == everybody
    for number in range(3):
        os.rename(service.path('ws2s.log'), service.path('old.%d' % number))
        if by == 'reload':
            service.do('reload')
        else:
            os.kill(service.pid, signal.SIGHUP)
            wait_until(lambda: os.path.exists(service.path('ws2s.log'))
                       and service.read('ws2s.log').count('read anew') == 3)
        wait_until(lambda: loggers(service, 'ws2s.log') == everybody)
        assert stat.S_IMODE(os.stat(service.path('ws2s.log')).st_mode) == 0o600
        assert service.read('ws2s.log').count('read anew') == 3
    assert 'serves on' in service.read('old.0')
    assert torn(service.log) == []


def test_a_reload_has_all_leave_a_renamed_log_also_when_they_have_nothing_to_say(service):
    service.configure(log={'level': 'error'})
    service.start()
    os.rename(service.path('ws2s.log'), service.path('old'))
    service.do('reload')
    assert loggers(service, 'old') == [] and len(loggers(service, 'ws2s.log')) == 3
    assert service.read('ws2s.log') == ''


def test_no_line_is_lost_while_another_renames_the_log_again_and_again(service):
    service.configure(workers=4)
    service.start()
    threads = [threading.Thread(target=come_and_go, args=(service, 50, '%d-%%d' % number)) for number in range(8)]
    for thread in threads:
        thread.start()
    names = []
    while any(thread.is_alive() for thread in threads):
        if os.path.exists(service.path('ws2s.log')):
            names.append('old.%d' % len(names))
            os.rename(service.path('ws2s.log'), service.path(names[-1]))
        threads[0].join(0.02)
    service.do('stop')
    text = '\n'.join([service.read(name) for name in names] + service.log)
    found = re.findall(r' has left: origin -, path /(\d+-\d+), ', text)
    assert sorted(found) == sorted('%d-%d' % (one, two) for one in range(8) for two in range(50))
    assert len(names) > 1


def test_a_log_that_was_removed_is_made_again_with_the_next_line(service):
    service.start()
    os.unlink(service.path('ws2s.log'))
    come_and_go(service, 1)
    wait_until(lambda: 'path /0' in '\n'.join(service.log))
    assert torn(service.log) == []
    assert stat.S_IMODE(os.stat(service.path('ws2s.log')).st_mode) == 0o600


def test_where_the_log_cannot_be_opened_anew_it_goes_on_in_the_old_file_and_says_so_once(service):
    service.start()
    os.rename(service.path('ws2s.log'), service.path('old'))
    os.mkdir(service.path('ws2s.log'))
    for _ in range(3):
        service.do('reload')
    lines = service.read('old').splitlines()
    assert torn(lines) == []
    assert len([line for line in lines if 'ERROR' in line and 'goes on where it was' in line]) == 3
    assert len([line for line in lines if 'read anew' in line]) == 6
    os.rmdir(service.path('ws2s.log'))
    service.do('reload')
    assert service.read('ws2s.log').count('read anew') == 2
    assert service.read('old').splitlines() == lines


LAST_WORDS = """
import os, signal
def end(number, frame):
    os.write(2, b'these are last words\\n')
    os.kill(os.getpid(), signal.SIGKILL)
signal.signal(signal.SIGUSR1, end)
"""


def test_the_last_words_of_a_worker_are_in_the_log_also_after_a_rename(service, tmpdir):
    """What Python itself writes to standard error when it must end."""
    tmpdir.mkdir('path').join('sitecustomize.py').write(LAST_WORDS)
    service.do('start', environment={'PYTHONPATH': str(tmpdir.join('path'))})
    for number in range(3):
        before = service.workers
        os.kill(before[0], signal.SIGUSR1)
        wait_until(lambda: service.two_workers_without(before[:1]))
        assert service.read('ws2s.log').count('these are last words\n') == 1
        os.rename(service.path('ws2s.log'), service.path('old.%d' % number))
        service.do('reload')


def test_what_a_full_disk_does_not_take_is_counted_and_the_line_after_it_is_whole(service):
    def fill_up():
        resource.setrlimit(resource.RLIMIT_FSIZE, (10000, 10000))

    service.configure(workers=1, log={'bytes': 0})
    service.do('start', preexec_fn=fill_up)
    come_and_go(service, 100)
    wait_until(lambda: os.stat(service.path('ws2s.log')).st_size == 10000)
    cut = service.read('ws2s.log').rindex('\n', 0, 5000) + 30
    with open(service.path('ws2s.log'), 'r+b') as file:
        file.truncate(cut)  # so that a line is torn there, and there is room again
    come_and_go(service, 1, 'again-%d')
    wait_until(lambda: 'path /again-0, ' in service.read('ws2s.log'))
    before, after = service.read('ws2s.log')[:cut].splitlines(), service.read('ws2s.log')[cut:].splitlines()
    assert torn(before[:-1] + after[1:]) == []
    assert after[0] == '' and LOST.match(after[1]) and not any(LOST.match(line) for line in after[2:])


def test_a_supervisor_that_is_stopped_does_not_block_the_clients_and_loses_no_line(service):
    service.configure(log={'bytes': 20000, 'files': 1000})
    service.start()
    with echoing() as port, Crowd(service.address, 10, port) as crowd:
        os.kill(service.pid, signal.SIGSTOP)
        come_and_go(service, 200)
        crowd.round()
        wait_until(lambda: len(re.findall(r', path /\d+, ', '\n'.join(service.log))) == 200)
        os.kill(service.pid, signal.SIGCONT)
        crowd.round()
    service.do('stop')
    assert len(log_files(service)) > 1
    assert torn(service.log) == []


def test_who_does_not_read_standard_error_does_not_block_the_clients_and_is_told_of_what_is_missing(service):
    service.configure(allowedOrigins=['*'], log={'level': 'debug'})
    process, long_one = service.begin('run').process, u'\x9b' * 500
    wait_until(lambda: len(service.workers) == 2 and answers(service.address))
    with echoing() as port, Crowd(service.address, 10, port) as crowd:
        for _ in range(60):
            with RawClient(service.address) as client:
                client.open(u'/' + long_one, [('Origin', u'http://' + long_one)])
        crowd.begin()
        crowd.goes_on()
        assert [flags_of(pid, 2) & os.O_NONBLOCK for pid in service.workers] == [0, 0]
        with contextlib.closing(process.stdin), contextlib.closing(process.stdout), \
                contextlib.closing(Reader(process)) as reader:
            wait_until(lambda: any(LOST.match(line) for line in list(reader.lines)))
            crowd.goes_on()
            crowd.finish()
            reader.signal(signal.SIGTERM)
            assert reader.wait() == 0
            assert torn(reader.lines) == []


class Reader(Program):
    close = Program.end


def test_where_standard_error_is_closed_no_file_gets_the_log(service):
    words = ['sh', '-c', 'exec "$@" <&- >&- 2>&-', 'sh', sys.executable, WS2SD, '--home', service.home, 'run']
    running = Command(words, service.user_home)
    wait_until(lambda: len(service.workers) == 2 and answers(service.address))
    assert service.read('pid') == '%d\n' % service.pid
    os.kill(service.pid, signal.SIGTERM)
    assert running.outcome() == (0, '', '')
    assert service.read('pid') == ''


# -- service files -----------------------------------------------------------------------------------------------------

ODD = u'a "quoted" \'one\' with $HOME, 100%n, `id`, <&> and \\n'


def printed(service, kind, home, **options):
    words = [sys.executable, WS2SD, '--home', home, 'service', '--print', '--kind', kind]
    status, text, errors = Command(words, service.user_home, **options).outcome()
    assert (status, errors) == (0, ''), (status, errors)
    return text


def systemd_words(line):
    """The arguments of an ExecStart= line, as systemd.service(5) says."""
    words = re.findall(r'"((?:[^"\\]|\\.)*)"|(\S+)', line)
    texts = [re.sub(r'\\(.)', r'\1', quoted) or plain for quoted, plain in words]
    return [text.replace('%%', '%').replace('$$', '$') for text in texts]


def test_printing_changes_nothing(service, tmpdir):
    before = sorted(map(str, tmpdir.visit()))
    for kind in ('systemd', 'sysv', 'launchd'):
        assert printed(service, kind, str(tmpdir.join('new home')))
    assert service.do('service', '--print')
    assert sorted(map(str, tmpdir.visit())) == before


def test_the_systemd_unit_says_how_it_is_run_and_what_it_may(service):
    lines = printed(service, 'systemd', service.home).splitlines()
    assert [line for line in ('[Unit]', '[Service]', '[Install]', 'Type=notify', 'NoNewPrivileges=yes')
            if line not in lines] == []
    values = dict(line.split('=', 1) for line in lines if '=' in line)
    command = [sys.executable, WS2SD, '--home', service.home]
    assert systemd_words(values['ExecStart']) == command + ['run']
    assert systemd_words(values['ExecReload']) == command + ['reload']
    ws2sd = load_ws2sd()
    system, users = ws2sd.systemd_unit(command, True), ws2sd.systemd_unit(command, False)
    for word in ('DynamicUser=yes', 'ProtectSystem=strict', 'PrivateTmp=yes', 'CapabilityBoundingSet=',
                 'WantedBy=multi-user.target'):
        assert word in system.replace('\n', ' ') and word not in users
    assert 'WantedBy=default.target' in users


def test_odd_paths_are_escaped_in_a_systemd_unit(service):
    text = printed(service, 'systemd', os.path.join('/', ODD))
    values = dict(line.split('=', 1) for line in text.splitlines() if '=' in line)
    assert systemd_words(values['ExecStart']) == [sys.executable, WS2SD, '--home', '/' + ODD, 'run']
    assert not re.search(r'(?<!%)%(?:%%)*(?!%)', values['ExecStart'])
    assert not re.search(r'(?<!\$)\$(?:\$\$)*(?!\$)', values['ExecStart'])


@pytest.mark.parametrize('home', ['/srv/plain', '/' + ODD], ids=['plain', 'odd'])
def test_systemd_finds_nothing_wrong_with_the_unit(service, tmpdir, home):
    analyze = needs('systemd-analyze', 'systemd')
    unit = tmpdir.join('ws2s.service')
    unit.write(printed(service, 'systemd', home))
    process = subprocess.Popen([analyze, 'verify', '--man=no', str(unit)], stdout=subprocess.PIPE, close_fds=True,
                               stderr=subprocess.STDOUT)
    text = process.communicate()[0].decode('utf-8')
    assert process.returncode == 0, text
    assert [line for line in text.splitlines() if 'ws2s' in line] == []


def test_odd_paths_are_words_of_their_own_in_the_sysv_script():
    quote = load_ws2sd().shell_word
    for word in (ODD, "'", "''", '', ' ', '$(id)', '-n', u'new\nline', '*'):
        assert subprocess.check_output(['sh', '-c', 'printf %s ' + quote(word)]).decode('utf-8') == word


def test_the_sysv_script_starts_tells_the_status_and_stops(service, tmpdir):
    odd = os.path.join(service.user_home, u"it's a \"home\" $HOME 100%")
    os.rename(service.home, odd)
    service.home = odd
    script = tmpdir.join('script')
    script.write(printed(service, 'sysv', odd))
    assert '### BEGIN INIT INFO' in script.read()

    def ask(word):
        return Command(['sh', str(script), word], service.user_home).outcome()[0]

    assert ask('status') == 3
    assert ask('start') == 0
    assert answers(service.address)
    assert [ask('status'), ask('start'), ask('reload'), ask('force-reload'), ask('restart')] == [0, 1, 0, 0, 0]
    assert answers(service.address)
    assert [ask('stop'), ask('status'), ask('stop'), ask('nonsense')] == [0, 3, 0, 2]


def test_the_plist_can_be_parsed_and_runs_the_service(service):
    text = printed(service, 'launchd', '/' + ODD).encode('utf-8')
    parse = plistlib.loads if hasattr(plistlib, 'loads') else plistlib.readPlistFromString
    tree = parse(text)
    assert tree['ProgramArguments'] == [sys.executable, WS2SD, '--home', '/' + ODD, 'run']
    assert tree['RunAtLoad'] is True and tree['KeepAlive'] == {'SuccessfulExit': False}


@pytest.mark.parametrize('kind', ['systemd', 'sysv', 'launchd'])
def test_a_home_whose_name_is_not_ascii_is_no_obstacle(service, kind):
    for environment in ({'LC_ALL': 'C.UTF-8'}, {'LC_ALL': 'C', 'PYTHONCOERCECLOCALE': '0', 'PYTHONUTF8': '0'}):
        home = u'/srv/\u00e9t\u00e9'.encode('utf-8')
        assert u'/srv/\u00e9t\u00e9' in printed(service, kind, home, environment=environment)


def test_a_service_whose_home_is_not_ascii_starts_and_stops(service):
    odd = os.path.join(service.user_home.encode('ascii'), u'\u00e9t\u00e9'.encode('utf-8'))
    os.rename(service.home, odd)
    words = [sys.executable, WS2SD, '--home', odd]
    try:
        for command in ('start', 'status', 'reload', 'stop'):
            assert Command(words + [command], service.user_home).outcome()[::2] == (0, '')
    finally:
        os.rename(odd, service.home)


def test_the_first_folder_that_others_may_not_enter_is_named(tmpdir):
    ws2sd = load_ws2sd()
    top = tempfile.mkdtemp()
    try:
        os.chmod(top, 0o755)
        for name in ('a', 'a/b', 'a/b/c'):
            os.mkdir(os.path.join(top, name), 0o755)
        leaf = os.path.join(top, 'a', 'b', 'c')
        assert ws2sd.unreachable_part(leaf) is None
        os.chmod(os.path.join(top, 'a', 'b'), 0o700)
        assert ws2sd.unreachable_part(leaf) == os.path.join(top, 'a', 'b')
        os.chmod(os.path.join(top, 'a'), 0o750)
        assert ws2sd.unreachable_part(leaf) == os.path.join(top, 'a')
    finally:
        shutil.rmtree(top)


def test_a_configuration_of_its_own_is_in_the_command(tmpdir):
    ws2sd = load_ws2sd()
    home = ws2sd.Home(str(tmpdir), str(tmpdir.join('other.json')))
    assert ws2sd.own_command(home)[-2:] == ['--config', str(tmpdir.join('other.json'))]
    assert '--config' not in ws2sd.own_command(ws2sd.Home(str(tmpdir)))


# B8: what becomes of it when its user logs out

LOGINCTL = """#!/bin/sh
echo "$@" >> %s
%s
"""


@pytest.fixture
def logind(tmpdir, monkeypatch):
    """Have ``loginctl`` and ``systemctl`` be scripts; gives what loginctl does and the commands that were called."""
    bin_folder, calls = tmpdir.mkdir('bin'), tmpdir.join('calls')
    monkeypatch.setenv('PATH', str(bin_folder) + os.pathsep + os.environ['PATH'])

    def be(loginctl):
        for name, deed in (('loginctl', loginctl), ('systemctl', 'exit 0')):
            bin_folder.join(name).write(LOGINCTL % (calls, deed))
            bin_folder.join(name).chmod(0o755)
        return calls
    return be


def as_plain_user(tmpdir, monkeypatch):
    """ws2sd, which takes itself for one of a plain user under systemd."""
    ws2sd = load_ws2sd()
    ws2sd.SYSTEMD_RUNS = str(tmpdir)
    monkeypatch.setenv('HOME', str(tmpdir))
    monkeypatch.setattr(os, 'geteuid', lambda: 1000)
    return ws2sd


@pytest.mark.parametrize('loginctl, words, helps', [
    ('echo Linger=yes', 'lingering is on: ', False), ('echo Linger=no', 'lingering is off: ', True),
    ('echo "User ID 1000 is not logged in or lingering" >&2; exit 1', 'lingering is off, or not known: ', True),
    ('exit 0', 'lingering is off, or not known: ', True)], ids=str)
def test_a_service_of_a_plain_user_says_whether_it_outlives_the_login(
        tmpdir, monkeypatch, capsys, logind, loginctl, words, helps):
    calls, ws2sd = logind(loginctl), as_plain_user(tmpdir, monkeypatch)
    assert ws2sd.main(['service']) == 0
    output, errors = capsys.readouterr()
    assert errors == '' and output.splitlines()[-1].startswith(words)
    assert ('`loginctl enable-linger`' in output) == helps
    assert 'show-user --property=Linger %d' % os.getuid() in calls.read()
    assert '--user enable --now ws2s.service' in calls.read()


def test_without_logind_lingering_is_not_known(tmpdir, monkeypatch, capsys):
    ws2sd = as_plain_user(tmpdir, monkeypatch)
    monkeypatch.setenv('PATH', str(tmpdir))
    ws2sd.tell_of_lingering()
    ws2sd.tell_of_logout()
    assert re.match(r'lingering is off, or not known: [ -~]+\n\Z', capsys.readouterr()[0])


@pytest.mark.parametrize('setting, is_told', [('yes', True), ('no', False), ('', False)])
@pytest.mark.parametrize('user', [0, 1000])
def test_where_logind_ends_what_was_begun_in_a_login_start_says_so(
        tmpdir, monkeypatch, capsys, logind, setting, is_told, user):
    logind('echo KillUserProcesses=' + setting)
    ws2sd = as_plain_user(tmpdir, monkeypatch)
    monkeypatch.setattr(os, 'geteuid', lambda: user)
    ws2sd.tell_of_logout()
    assert ('KillUserProcesses=yes' in capsys.readouterr()[0]) == (is_told and user > 0)
    ws2sd.SYSTEMD_RUNS = str(tmpdir.join('none'))
    ws2sd.tell_of_logout()
    assert capsys.readouterr()[0] == ''


# -- service managers --------------------------------------------------------------------------------------------------

@contextlib.contextmanager
def notified(is_abstract=False):
    """(name for NOTIFY_SOCKET, function that gives the messages so far)."""
    folder, sock, messages = tempfile.mkdtemp(), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM), []
    path = os.path.join(folder, 's')
    sock.bind('\0' + path if is_abstract else path)
    sock.setblocking(False)

    def receive():
        try:
            while True:
                messages.append(sock.recv(4096).decode('ascii'))
        except (IOError, OSError):
            return [line for message in messages for line in message.split('\n')]

    try:
        yield '@' + path if is_abstract else path, receive
    finally:
        sock.close()
        shutil.rmtree(folder)


@contextlib.contextmanager
def foreground(service, program, command=None, path=None, **environment):
    """ws2s.py or ``ws2sd run`` with the configuration of the service."""
    words = ['--config', service.path('config.json')] if program == 'ws2s.py' else ['--home', service.home, 'run']
    path = path or (WS2S if program == 'ws2s.py' else WS2SD)
    with started(words, service.user_home, command=(command or []) + [path], **environment) as running:
        try:
            yield running
        finally:
            service.end()


def hear(receive, *wanted):
    wait_until(lambda: receive() == list(wanted) or len(receive()) > len(wanted), 10, str(wanted))
    assert receive() == list(wanted)


BOTH = pytest.mark.parametrize('program', ['ws2s.py', 'ws2sd'])


@BOTH
@pytest.mark.parametrize('is_abstract', [False, True], ids=['path', 'abstract'])
def test_a_service_manager_is_told_of_ready_reloading_and_stopping(service, program, is_abstract):
    with notified(is_abstract) as (name, receive), foreground(service, program, NOTIFY_SOCKET=name) as running:
        ready = ['READY=1'] + (['MAINPID=%d' % running.pid] if program == 'ws2sd' else [])
        hear(receive, *ready)
        assert answers(running.address)
        running.signal(signal.SIGHUP)
        hear(receive, *ready + ['RELOADING=1', 'READY=1'])
        service.write('config.json', b'{')
        running.signal(signal.SIGHUP)
        hear(receive, *ready + ['RELOADING=1', 'READY=1'] * 2)
        running.signal(signal.SIGTERM)
        assert running.wait() == 0
        hear(receive, *ready + ['RELOADING=1', 'READY=1'] * 2 + ['STOPPING=1'])


@BOTH
def test_a_notify_socket_that_is_not_there_is_no_obstacle(service, program):
    with foreground(service, program, NOTIFY_SOCKET='/nowhere/at/all') as running:
        assert answers(running.address)
        running.signal(signal.SIGTERM)
        assert running.wait() == 0
    assert 'Traceback' not in '\n'.join(running.lines)


# A parent as a service manager: descriptor 3 is a listening socket, or something else, and 4 is a listening one.
HANDING = """
import os, socket, sys
kind = sys.argv[1]
families = {'unix': socket.AF_UNIX, 'abstract': socket.AF_UNIX, 'unix-udp': socket.AF_UNIX,
            'netlink': getattr(socket, 'AF_NETLINK', None)}
family = socket.AF_INET6 if '6' in kind else families.get(kind, socket.AF_INET)
is_datagram = kind in ('udp', 'udp6', 'unix-udp', 'netlink')
sock = socket.socket(family, socket.SOCK_DGRAM if is_datagram else socket.SOCK_STREAM)
names = {'unix': 's', 'unix-udp': 's', 'abstract': chr(0) + os.getcwd(), 'netlink': (0, 0)}
sock.bind(names.get(kind, ('::1' if '6' in kind else '127.0.0.1', 0)))
if not is_datagram and kind not in ('bound', 'bound6'):
    sock.listen(5)
if kind.startswith('accepted'):
    listener, client = sock, socket.socket(family)
    client.connect(listener.getsockname())
    sock = listener.accept()[0]
    client.sendall(b'GET /healthz HTTP/1.0' + b'\\r\\n' * 2)
source = {'file': os.open('/dev/null', os.O_RDWR), 'pipe': os.pipe()[0]}.get(kind, sock.fileno())
os.dup2(source, 9)
second = socket.socket()
second.bind(('127.0.0.1', 0))
second.listen(5)
os.dup2(second.fileno(), 10)
os.dup2(9, 3)
if kind == 'hole':
    os.close(10)
else:
    os.dup2(10, 4)
if hasattr(os, 'set_inheritable') and kind.startswith('accepted'):
    os.set_inheritable(client.fileno(), True)
os.close(9)
os.environ['LISTEN_PID'] = str(os.getpid() + (kind == 'wrong'))
os.environ['LISTEN_FDS'] = kind[6:] if kind.startswith('count=') else '2' if kind in ('two', 'hole') else '1'
os.execv(sys.executable, [sys.executable] + sys.argv[2:])
"""


@BOTH
@pytest.mark.parametrize('kind, host', [
    ('right', '127.0.0.1'), ('wrong', '127.0.0.2'), ('count=0', '127.0.0.2'), ('count=', '127.0.0.2'),
    ('count=x', '127.0.0.2'), ('count=-1', '127.0.0.2'), ('count=99999999999999999999', '127.0.0.2')])
def test_a_listening_socket_is_taken_from_a_service_manager_that_means_this_process(service, program, kind, host):
    service.configure(listen={'host': '127.0.0.2', 'port': 0})
    with foreground(service, program, ['-c', HANDING, kind]) as running:
        assert running.address[0] == host
        for _ in range(10):
            assert answers(running.address)
        running.signal(signal.SIGTERM)
        assert running.wait() == 0


@BOTH
@pytest.mark.parametrize('kind', ['file', 'pipe', 'udp', 'udp6', 'bound', 'bound6', 'accepted', 'accepted6',
                                  'netlink', 'unix-udp'])
def test_a_descriptor_that_is_no_listening_socket_is_one_line(service, program, kind):
    refuses_descriptor(service, program, kind, 'descriptor 3 is no ')


@BOTH
@pytest.mark.parametrize('kind', ['unix', 'abstract'])  # A1
def test_a_listening_unix_socket_is_taken_from_a_service_manager_and_left_there(service, program, kind):
    path = os.path.join(service.user_home, 's') if kind == 'unix' else '\0' + os.path.realpath(service.user_home)
    with foreground(service, program, ['-c', HANDING, kind]) as running:
        wait_until(lambda: any(' listens on ' in line for line in running.lines), 20)
        for _ in range(5):
            assert answers(path)
        running.signal(signal.SIGTERM)
        assert running.wait() == 0
    assert os.path.exists(path) if kind == 'unix' else True


@BOTH
def test_a_socket_that_listen_does_not_name_is_not_served_without_what_listen_asks_for(service, program):
    service.configure(listen=[{'port': 3613, 'proxyProtocol': True}])
    refuses_descriptor(service, program, 'right', 'is none of "listen"')


def test_a_process_in_an_old_pid_file_that_cannot_be_recognised_is_named_and_not_signalled(service):
    with serving(echo) as port, started(['import time; time.sleep(60)'], service.home, command=['-c']) as other:
        service.configure(listen={'host': '127.0.0.1', 'port': port})
        for command in ('stop', 'start', 'restart'):
            service.write('pid', ('%d|%d' % (other.pid, NO_PID)).encode('ascii'))
            assert 'if pid %d is a ws2s 2.1.5' % other.pid in service.refuses(1, command)
        assert other.process.poll() is None


@pytest.fixture
def signalling(service):
    """(ws2sd, its home), where both pid files lead to a process that ends before it is signalled."""
    module = load_ws2sd()
    service.write('pid', b'')
    module.old_pids, module.running_pid = lambda home: [NO_PID, NO_PID], lambda path: NO_PID
    return module, module.Home(service.home)


def test_a_2_1_5_that_ends_before_its_signal_has_stopped(signalling, capsys):
    module, home = signalling
    assert module.stop_old(home) and capsys.readouterr()[0] == 'ws2s 2.1.5 has stopped\n'


def test_a_ws2sd_that_ends_before_its_signal_has_stopped(signalling, capsys):
    module, home = signalling
    module.old_pids = lambda home: []
    assert module.stop(home, None) == 0 and capsys.readouterr()[0] == 'ws2sd has stopped\n'


@pytest.mark.parametrize('command, is_old', [
    ('stop', True), ('restart', True), ('stop', False), ('restart', False), ('reload', False)])
def test_a_service_of_another_user_is_named_in_one_line(signalling, monkeypatch, capsys, command, is_old):
    module, home = signalling
    if not is_old:
        module.old_pids = lambda home: []

    def refuse(pid, number):
        raise OSError(errno.EPERM, 'Operation not permitted')

    monkeypatch.setattr(os, 'kill', refuse)
    assert module.main(['--home', home.folder, command]) == 1
    assert capsys.readouterr() == ('', 'ws2sd: pid %d belongs to another user, who has to signal it\n' % NO_PID)


def test_ws2sd_without_ws2s_says_so_in_one_line(tmpdir):
    alone = tmpdir.join('ws2sd')
    shutil.copy(WS2SD, str(alone))
    process = subprocess.Popen([sys.executable, '-I' if sys.version_info[0] > 2 else '-E', str(alone), 'status'],
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=str(tmpdir))
    output, errors = process.communicate()
    assert process.returncode == 1 and output == b'' and errors.startswith(b'ws2sd: ws2s.py must lie beside')
    assert errors.count(b'\n') == 1


@BOTH
def test_the_second_of_two_descriptors_must_be_there_too(service, program):
    refuses_descriptor(service, program, 'hole', 'descriptor 4 is no socket')


@BOTH
def test_more_descriptors_than_there_are_are_one_line(service, program):
    with foreground(service, program, ['-c', HANDING, 'count=9999']) as running:
        assert running.wait() == 1
        assert len(running.lines) == 1 and re.search(r'descriptor [0-9]+ is no ', running.lines[0])


def refuses_descriptor(service, program, kind, words):
    with foreground(service, program, ['-c', HANDING, kind]) as running:
        assert running.wait() == 1
        assert len(running.lines) == 1 and words in running.lines[0]


@BOTH
def test_of_two_sockets_that_are_handed_over_both_are_served_and_both_ports_are_own(service, program):
    with foreground(service, program, ['-c', HANDING, 'two']) as running:
        assert answers(running.address)
        ports = listening_ports(running.pid)
        assert len(ports) == 2 and running.address[1] in ports
        for port in ports:
            assert answers(('127.0.0.1', port))
            assert [reply_code(('127.0.0.1', other), port) for other in ports] == [4, 4]
        running.signal(signal.SIGTERM)
        assert running.wait() == 0


def test_ws2sd_in_the_foreground_logs_to_standard_error_and_stops_at_a_signal(service):
    for number in (signal.SIGTERM, signal.SIGINT):
        with foreground(service, 'ws2sd') as running:
            assert answers(running.address)
            wait_until(lambda: service.state)
            assert service.pid == running.pid and service.ask('status')[0] == 0
            assert 'runs already' in service.refuses(1, 'start')
            running.signal(number)
            assert running.wait() == 0
            assert service.processes() == []
        assert torn(running.lines) == []
    assert not os.path.exists(service.path('ws2s.log'))


# -- ws2s.py alone -----------------------------------------------------------------------------------------------------

def test_a_hangup_has_ws2s_read_its_configuration_anew(service):
    with echoing() as port, foreground(service, 'ws2s.py') as running, Crowd(running.address, 5, port) as crowd:
        service.configure(denyTargets=DENY_ALL)
        running.signal(signal.SIGHUP)
        wait_until(lambda: any('read anew' in line for line in running.lines))
        assert reply_code(running.address, port) == 4
        crowd.round()
        service.write('config.json', b'{"denyTargets": 5}')
        running.signal(signal.SIGHUP)
        wait_until(lambda: any('ERROR' in line and 'denyTargets' in line for line in running.lines))
        assert reply_code(running.address, port) == 4
        crowd.round()
        service.configure(denyTargets=[])
        running.signal(signal.SIGHUP)
        wait_until(lambda: len([line for line in running.lines if 'read anew' in line]) == 2)
        assert reply_code(running.address, port) == 0


def test_ws2s_waits_for_targets_that_finish_within_the_drain(service):
    service.configure(limits={'drainSeconds': 5})
    tape, begun = Tape(3), threading.Event()
    with serving(sending_tape(tape, begun)) as port, foreground(service, 'ws2s.py') as running:
        downloads = [Download(running.address, port, tape) for _ in range(5)]
        elapsed = stopwatch()
        running.signal(signal.SIGTERM)
        wait_until(lambda: refuses_connections(running.address))
        begun.set()
        assert [download.end() for download in downloads] == [1001] * 5
        assert running.wait() == 0
        assert elapsed() < 5


def test_what_a_client_has_sent_before_a_stop_reaches_its_target(service):
    service.configure(limits={'drainSeconds': 3})
    received = []
    with serving(recorder(received)) as port, foreground(service, 'ws2s.py') as running:
        with RawClient(running.address) as client:
            client.open().connect_to(port, binary=True)
            client.send_frame(BINARY, b'x' * 1000000)
            client.send_frame(TEXT, b'{"command": "disconnect"}')
            running.signal(signal.SIGTERM)
            wait_until(lambda: received)
            assert received == [b'x' * 1000000]
            assert running.wait() == 0
