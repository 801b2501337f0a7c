# -*- coding: utf-8 -*-
"""What is copied by hand or by `make install` runs where it lies. No network is used."""

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import zipfile

import pytest

import ws2s
from installed import needs
from program import REPOSITORY, clean_environment, started
from raw_client import exchange

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
        for name in ('../ws2s.py', '..%2fws2s.py', '__main__.py', '%2e%2e/__main__.py', '/etc/passwd', '/', 'none'):
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
