# -*- coding: utf-8 -*-
"""What is copied by hand or by `make install` runs where it lies. No network is used."""

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import zipfile

import pytest

import ws2s
from installed import needs
from program import REPOSITORY, clean_environment, started
from raw_client import exchange
from service import is_alive, kill
from targets import closed_port
from waiting import wait_until

pytestmark = pytest.mark.programs

HEALTHZ = b'GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n'
LIBRARY = os.path.join(REPOSITORY, 'ws2s-js')
VERSION = 'ws2s %s\n' % ws2s.__version__
SECONDS = 60


def output_of(command, home):
    """What ``command`` prints; it must end with 0."""
    process = subprocess.Popen([str(word) for word in command], cwd=str(home), env=clean_environment(str(home)),
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, close_fds=True)
    killer = threading.Timer(SECONDS, process.kill)
    killer.start()
    try:
        output = process.communicate()[0].decode('utf-8')
    finally:
        killer.cancel()
        killer.join()
    assert process.returncode == 0, output
    return output


def copied(folder, *names):
    for name in names:
        shutil.copy(os.path.join(REPOSITORY, name), str(folder.join(name)))


@contextlib.contextmanager
def serving_in_background(command, home):
    """The address of what ``ws2sd start`` begins."""
    home.join('config.json').write(json.dumps({'listen': {'port': 0}, 'workers': 1}))
    ws2sd = list(command) + ['--home', home]
    try:
        host, port = re.search(r'serves on (\S+):([0-9]+),', output_of(ws2sd + ['start'], home)).groups()
        yield host, int(port)
    finally:
        output_of(ws2sd + ['stop'], home)


def assert_serves_in_background(command, home):
    with serving_in_background(command, home) as address:
        assert exchange(address, HEALTHZ)[0] == 200
    assert not home.join('state').exists()


@pytest.fixture
def home(tmpdir):
    return tmpdir.mkdir('home')


@pytest.fixture
def installed(tmpdir):
    """The folder of commands that `make install` has filled."""
    output_of([needs('make', 'make'), '-C', REPOSITORY, 'install', 'DESTDIR=%s' % tmpdir.join('root'), 'PREFIX=/usr'],
              tmpdir)
    return tmpdir.join('root', 'usr', 'bin')


def test_ws2s_alone_in_a_folder_serves(tmpdir, home):
    copied(tmpdir, 'ws2s.py')
    assert output_of([sys.executable, tmpdir.join('ws2s.py'), '--version'], home) == VERSION
    with started(['--listen', '127.0.0.1:0'], str(home), command=[str(tmpdir.join('ws2s.py'))]) as program:
        assert exchange(program.address, HEALTHZ)[0] == 200


def page(address, path):
    """(status, body)"""
    status, _, body = exchange(address, ('GET %s HTTP/1.1\r\nHost: x\r\n\r\n' % path).encode('ascii'))
    return status, body


def assert_shows_its_pages(command, home):
    """Where ``command`` is begun is not where it lies."""
    with started(['--listen', '127.0.0.1:0'], str(home), command=[str(word) for word in command]) as program:
        for name in os.listdir(LIBRARY):
            assert page(program.address, '/' + name) == (200, content(os.path.join(LIBRARY, name)))
        assert page(program.address, '/') == page(program.address, '/index.html')


def content(path):
    with open(path, 'rb') as file:
        return file.read()


def test_ws2s_alone_says_in_one_sentence_that_it_has_no_pages(tmpdir, home):
    copied(tmpdir, 'ws2s.py')
    with started(['--listen', '127.0.0.1:0'], str(home), command=[str(tmpdir.join('ws2s.py'))]) as program:
        status, sentence = page(program.address, '/')
        assert status == 200 and b'ws2s-js' in sentence and b'\n' not in sentence
        assert page(program.address, '/ws2s.js')[0] == 404


def test_pages_beside_ws2s_are_shown_also_through_a_link(tmpdir, home):
    copied(tmpdir, 'ws2s.py')
    shutil.copytree(LIBRARY, str(tmpdir.join('ws2s-js')))
    home.join('link').mksymlinkto(tmpdir.join('ws2s.py'))
    assert_shows_its_pages([tmpdir.join('ws2s.py')], home)
    assert_shows_its_pages([home.join('link')], home)


@pytest.mark.parametrize('lies_in', ['.', 'lib/python3.11/site-packages', 'local/lib/python2.7/dist-packages'])
def test_pages_that_a_package_has_installed_are_shown(tmpdir, home, lies_in):
    module = tmpdir.ensure('prefix', lies_in, dir=True)
    copied(module, 'ws2s.py')
    prefix = module if lies_in == '.' else module.join('..', '..', '..')
    shutil.copytree(LIBRARY, os.path.realpath(str(prefix.ensure('share', 'ws2s', dir=True).join('ws2s-js'))))
    assert_shows_its_pages([module.join('ws2s.py')], home)


# A16: what Python starts in other ways

def packed(tmpdir, main, below=''):
    """A zipapp of ws2s.py and its pages; ``main`` is its __main__.py, or None where ws2s.py itself is."""
    path = tmpdir.join('ws2s.pyz')
    with zipfile.ZipFile(str(path), 'w', zipfile.ZIP_DEFLATED) as archive:
        archive.write(os.path.join(REPOSITORY, 'ws2s.py'), below + 'ws2s.py' if main else '__main__.py')
        for name in os.listdir(LIBRARY):
            archive.write(os.path.join(LIBRARY, name), below + 'ws2s-js/' + name)
        if main:
            archive.writestr('__main__.py', main)
    return path


MAIN = 'import ws2s, sys\nsys.exit(ws2s.main())\n'
MAIN_BELOW = "import sys\nsys.path.insert(0, sys.path[0] + '/lib')\n" + MAIN


@pytest.mark.parametrize('main, below', [(MAIN, ''), (None, ''), (MAIN_BELOW, 'lib/')],
                         ids=['a module', 'the program itself', 'in a folder'])
def test_pages_in_a_zipapp_are_shown(tmpdir, home, main, below):
    path = packed(tmpdir, main, below)
    home.join('link').mksymlinkto(path)
    assert_shows_its_pages([path], home)
    assert_shows_its_pages([home.join('link')], home)
    assert_shows_its_pages(['../ws2s.pyz'], home)


def test_nothing_but_its_pages_is_shown_of_a_zipapp(tmpdir, home):
    path = packed(tmpdir, MAIN)
    with started(['--listen', '127.0.0.1:0'], str(home), command=[str(path)]) as program:
        for name in ('../ws2s.py', '..%2fws2s.py', '__main__.py', '%2e%2e/__main__.py', '/etc/passwd', 'none'):
            assert page(program.address, '/' + name)[0] == 404, name
        path.remove()
        assert page(program.address, '/index.html')[0] == 404
    assert program.lines and 'Traceback' not in '\n'.join(program.lines)


def test_a_zipapp_without_pages_says_so(tmpdir, home):
    path = tmpdir.join('ws2s.pyz')
    with zipfile.ZipFile(str(path), 'w') as archive:
        archive.write(os.path.join(REPOSITORY, 'ws2s.py'), '__main__.py')
    with started(['--listen', '127.0.0.1:0'], str(home), command=[str(path)]) as program:
        status, sentence = page(program.address, '/')
        assert status == 200 and b'ws2s-js' in sentence and b'\n' not in sentence


@pytest.mark.parametrize('environment', [{}, {'PYTHONSAFEPATH': '1'}], ids=['', 'safe path'])
def test_ws2sd_runs_through_a_link_wherever_it_leads(tmpdir, home, environment):
    copied(tmpdir, 'ws2s.py', 'ws2sd')
    first, second = home.join('first'), home.mkdir('bin').join('ws2sd')
    first.mksymlinkto(tmpdir.join('ws2sd'))
    os.symlink('../first', str(second))
    words = ['env'] + ['%s=%s' % pair for pair in environment.items()] + [sys.executable, second]
    assert 'usage: ws2sd' in output_of(words + ['help'], home)
    assert_serves_in_background(words, home)


def test_a_folder_some_levels_above_ws2s_is_nobodys_package(tmpdir, home):
    module = tmpdir.ensure('a', 'b', 'c', dir=True)
    copied(module, 'ws2s.py')
    shutil.copytree(LIBRARY, str(tmpdir.ensure('share', 'ws2s', dir=True).join('ws2s-js')))
    with started(['--listen', '127.0.0.1:0'], str(home), command=[str(module.join('ws2s.py'))]) as program:
        assert page(program.address, '/ws2s.js')[0] == 404


def test_ws2s_and_ws2sd_in_a_folder_serve_in_the_background(tmpdir, home):
    copied(tmpdir, 'ws2s.py', 'ws2sd')
    assert 'usage: ws2sd' in output_of([sys.executable, tmpdir.join('ws2sd'), 'help'], home)
    assert_serves_in_background([sys.executable, tmpdir.join('ws2sd')], home)


def test_installed_commands_run_through_their_links(installed, home):
    assert sorted(path.basename for path in installed.listdir() if path.islink()) == ['ws2s', 'ws2sd']
    assert output_of([sys.executable, installed.join('ws2s'), '--version'], home) == VERSION
    assert_serves_in_background([sys.executable, installed.join('ws2sd')], home)
    assert_shows_its_pages([installed.join('ws2s')], home)


def test_installed_commands_find_a_python_of_their_own(installed, home):
    needs('python3', 'python3')
    assert output_of([installed.join('ws2s'), '--version'], home) == VERSION
    assert_serves_in_background([installed.join('ws2sd')], home)


def test_the_browser_library_is_installed_as_it_is(installed):
    library = installed.join('..', 'share', 'ws2s', 'ws2s-js')
    assert sorted(path.basename for path in library.listdir()) == sorted(os.listdir(LIBRARY))
    for name in os.listdir(LIBRARY):
        assert library.join(name).read_binary() == content(os.path.join(LIBRARY, name))


def test_the_wheel_holds_all_of_the_browser_side():
    setup = content(os.path.join(REPOSITORY, 'setup.cfg')).decode('utf-8')
    assert sorted(re.findall(r'^    ws2s-js/(.+)$', setup, re.M)) == sorted(os.listdir(LIBRARY))


def test_installed_links_do_not_lead_to_where_they_were_installed_first(installed, tmpdir, home):
    tmpdir.join('root').move(tmpdir.join('moved'))
    assert output_of([sys.executable, tmpdir.join('moved', 'usr', 'bin', 'ws2s'), '--version'], home) == VERSION


# -- coming from 2.1.5 -------------------------------------------------------------------------------------------------

NEW = os.path.join(REPOSITORY, 'ws2sd')


class Old(object):
    """A ws2s 2.1.5 that runs in the background, at home in ``home``."""

    def __init__(self, home, bin_folder, **config):
        self.home, self.command = home, bin_folder.join('ws2sd')
        shutil.copy(os.path.join(REPOSITORY, 'tests', 'old_ws2sd.py'), str(self.command))
        self.port = closed_port()
        listen = {'host': '127.0.0.1', 'port': self.port}
        settings = dict({'allowConnectToServerLocal': True, 'listen': listen}, **config)
        home.mkdir('.ws2s').join('config.json').write(json.dumps(settings))
        self.pid_file = home.join('.ws2s', 'pid')
        with open(os.devnull, 'r+b') as null:  # which its processes keep
            subprocess.check_call([sys.executable, str(self.command), 'start'], env=clean_environment(str(home)),
                                  stdin=null, stdout=null, stderr=null, close_fds=True)
        self.text = self.pid_file.read()
        self.pids = [int(pid) for pid in self.text.split('|')]

    def answer(self):
        """Who answers on its port?"""
        with contextlib.closing(socket.create_connection(('127.0.0.1', self.port), 10)) as sock:
            sock.sendall(HEALTHZ)
            return sock.recv(4096).split(b'\r\n')[0]

    def living(self):
        return [pid for pid in self.pids if is_alive(pid)]

    def ask(self, *words):
        """(exit status, standard output, standard error) of the new ws2sd."""
        process = subprocess.Popen([sys.executable, NEW] + list(words), cwd=str(self.home), close_fds=True,
                                   env=clean_environment(str(self.home)), stdin=subprocess.PIPE,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        output, errors = process.communicate()
        return process.returncode, output.decode('utf-8'), errors.decode('utf-8')

    def end(self):
        self.ask('stop')
        for pid in self.pids:
            kill(pid, signal.SIGKILL)
        wait_until(lambda: not self.living())


@pytest.fixture
def old(tmpdir, home):
    one = Old(home, tmpdir.mkdir('bin'), workers=1)
    assert one.answer() == b'this is 2.1.5' and len(one.living()) == 3
    yield one
    one.end()


def test_restart_has_this_version_take_the_place_of_2_1_5(old, home):
    config = home.join('.ws2s', 'config.json').read()
    status, output, errors = old.ask('restart')
    assert (status, errors) == (0, '') and 'ws2s 2.1.5 has stopped\n' in output
    assert old.living() == []
    assert old.answer() == b'HTTP/1.1 200 OK'
    assert home.join('.ws2s', 'config.json').read() == config
    assert int(old.pid_file.read()) not in old.pids
    assert old.ask('status')[0] == 0
    assert old.ask('restart')[::2] == (0, '')
    assert old.ask('stop') == (0, 'ws2sd has stopped\n', '')


def test_stop_ends_2_1_5(old):
    assert old.ask('stop') == (0, 'ws2s 2.1.5 has stopped\n', '')
    assert old.living() == [] and old.pid_file.read() == ''
    assert old.ask('stop') == (0, 'nothing to stop\n', '')


@pytest.mark.parametrize('word', ['start', 'status', 'reload'])
def test_other_commands_say_that_2_1_5_runs_and_what_helps(old, word):
    status, output, errors = old.ask(word)
    assert (status, output) == (1, '') and re.match(r'ws2sd: ws2s 2\.1\.5 still runs here, with pid [ -~]+\n\Z', errors)
    assert '`ws2sd restart`' in errors and all(str(pid) in errors for pid in old.pids)
    assert old.answer() == b'this is 2.1.5' and len(old.living()) == 3 and old.pid_file.read() == old.text


def test_restart_leaves_2_1_5_alone_when_the_configuration_is_broken(old, home):
    home.join('.ws2s', 'config.json').write('{"listen": {"port": "3613"}}')
    assert old.ask('restart')[0] == 2
    assert old.answer() == b'this is 2.1.5' and len(old.living()) == 3


@pytest.mark.parametrize('text', ['', None, '999999999|999999998', 'nonsense', '%d|' % os.getpid(), '-1', '0|1'])
def test_where_the_pid_file_does_not_lead_to_2_1_5_restart_says_that_the_port_is_taken(old, text):
    if text is None:
        old.pid_file.remove()
    else:
        old.pid_file.write(text)
    status, _, errors = old.ask('restart')
    assert status == 1 and re.match(r'ws2sd: cannot listen on 127\.0\.0\.1:%d: [ -~]+\n\Z' % old.port, errors)
    assert old.answer() == b'this is 2.1.5' and len(old.living()) == 3


def test_what_remains_of_2_1_5_is_ended_and_what_has_its_numbers_is_not(old, tmpdir):
    """A process of another home, with the very same command, and one that is none at all."""
    other = Old(tmpdir.mkdir('other'), tmpdir.mkdir('other-bin'))
    try:
        kill(old.pids[0], signal.SIGKILL)
        wait_until(lambda: len(old.living()) == 2)
        old.pid_file.write('|'.join(str(pid) for pid in old.pids + other.pids + [os.getpid()]))
        assert old.ask('restart')[::2] == (0, '')
        assert old.living() == [] and old.answer() == b'HTTP/1.1 200 OK'
        assert len(other.living()) == 3 and other.answer() == b'this is 2.1.5'
    finally:
        other.end()


def test_the_log_of_2_1_5_may_have_been_rotated(old, home):
    os.rename(str(home.join('.ws2s', 'ws2s.log')), str(home.join('.ws2s', 'ws2s.log.3')))
    assert old.ask('stop') == (0, 'ws2s 2.1.5 has stopped\n', '')
    assert old.living() == []


def test_the_distribution_is_named_as_that_of_2_1_5():
    """Else `pip install --upgrade` would leave the old one in place."""
    setup = content(os.path.join(REPOSITORY, 'setup.cfg')).decode('utf-8')
    assert re.search(r'^name = ws2s-python$', setup, re.M) and re.search(r'^py_modules = ws2s$', setup, re.M)
    assert [int(part) for part in ws2s.__version__.split('.')[:3]] > [2, 1, 5]
