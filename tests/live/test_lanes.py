# -*- coding: utf-8 -*-
"""tests/lanes.py: what fails is a failure of the whole run, and what is flaky is named. Python 3 only."""

import os
import signal
import subprocess
import sys
import textwrap

import pytest

from program import REPOSITORY
from service import is_alive
from waiting import wait_until

__test__ = sys.version_info >= (3,)
pytestmark = [pytest.mark.programs, pytest.mark.independent]

if __test__:
    import lanes

FAILS = 'def test_%s():\n    assert False\n'
PASSES = 'def test_%s():\n    pass\n'
FAILS_ONCE = textwrap.dedent("""
    def test_%s():
        import os
        if not os.path.exists(__file__ + '.seen'):
            open(__file__ + '.seen', 'w').close()
            assert False
""")
DIES_WHEN_ONE_HAS_FAILED = FAILS % 'first' + 'def test_%s():\n    import os\n    os._exit(1)\n'
SLEEPS = 'import os, sys, time; open(sys.argv[1], "w").write(str(os.getpid())); time.sleep(1000)'


@pytest.fixture
def project(tmpdir, monkeypatch):
    """An empty project, with tests in the same places as here."""
    tmpdir.join('setup.cfg').write('[tool:pytest]\n')
    monkeypatch.setattr(lanes.environments, 'ROOT', str(tmpdir))
    monkeypatch.setattr(lanes, 'CACHES', str(tmpdir.join('caches')))
    return tmpdir


def command(*words):
    check = lanes.Check('a command', 'nothing')
    check.command = [sys.executable] + list(words)
    return check


def a_pass(project, name, text, folder='live'):
    """A Pass over one file, whose tests are made of ``text``."""
    path = project.join('tests', folder, 'test_%s.py' % name)
    path.write(text % name, ensure=True)
    check = lanes.Pass(name, 'test', 'python3', 'nothing')
    options = check.command[check.command.index('-o'):check.command.index('-o') + 2]
    check.command = [sys.executable, '-m', 'pytest'] + options + [str(path)]
    return check


def run(checks):
    return lanes.run_all(checks, 2, True)


def test_all_that_passes_is_a_run_that_passes(project, capfd):
    assert run([a_pass(project, 'one', PASSES), a_pass(project, 'two', PASSES)]) == 0
    output = capfd.readouterr().out
    assert output.count('1 passed') == 2 and 'flaky' not in output


@pytest.mark.parametrize('is_alone', [False, True])
def test_a_live_test_that_passes_the_second_time_is_named_and_no_failure(project, capfd, is_alone):
    check = a_pass(project, 'one', FAILS_ONCE)
    check.is_alone = is_alone
    assert run([check, a_pass(project, 'two', PASSES)]) == 0
    assert capfd.readouterr().out.endswith('\nflaky: tests/live/test_one.py::test_one, in one\n')


@pytest.mark.parametrize('text, folder', [(FAILS, 'live'), (FAILS_ONCE, 'unit'), (DIES_WHEN_ONE_HAS_FAILED, 'live'),
                                          ('this is no Python: %s', 'live'), ('# no test in %s', 'live')],
                         ids=['fails twice', 'no live test', 'dies', 'cannot be read', 'has no test'])
def test_a_failure_fails_the_run_and_says_where(project, capfd, text, folder):
    assert run([a_pass(project, 'one', PASSES), a_pass(project, 'two', text, folder)]) == 1
    output = capfd.readouterr().out
    assert output.endswith('\nFAILED: two\n') and 'flaky' not in output


def test_more_flaky_ones_than_three_fail_the_run(project):
    assert run([a_pass(project, 'n%d' % number, FAILS_ONCE) for number in range(3)]) == 0
    assert run([a_pass(project, 'm%d' % number, FAILS_ONCE) for number in range(4)]) == 1


def test_without_being_asked_for_it_nothing_is_repeated(project):
    assert lanes.run_all([a_pass(project, 'one', FAILS_ONCE)], 2, False) == 1


@pytest.mark.parametrize('code', ['import sys; sys.exit(3)', 'import os; os.kill(os.getpid(), 9)'])
def test_no_exit_status_is_lost(project, code):
    assert run([command('-c', 'pass'), command('-c', code), command('-c', 'pass')]) == 1


def test_outputs_are_whole_and_in_one_piece(project, capfd):
    talk = 'for i in range(2000): print("%s")'
    assert run([command('-c', talk % letter) for letter in 'abcd']) == 0
    output = capfd.readouterr().out
    assert all((letter + '\n') * 2000 in output for letter in 'abcd')


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT], ids=['SIGTERM', 'SIGINT'])
def test_with_the_run_all_ends_that_it_has_begun(tmpdir, number):
    code = textwrap.dedent("""
        import sys
        sys.path.insert(0, %r)
        import lanes
        def endless(arguments):
            for name in sys.argv[1:]:
                check = lanes.Check(name, 'nothing')
                check.command = [sys.executable, '-c', %r, name]
                yield check
        lanes.PARTS['lint'] = endless
        sys.exit(lanes.main(['--lanes', '2', 'lint']))
    """) % (os.path.join(REPOSITORY, 'tests'), SLEEPS)
    notes = [tmpdir.join(name) for name in ('one', 'two', 'three')]
    process = subprocess.Popen([sys.executable, '-c', code] + [str(note) for note in notes], close_fds=True)
    try:
        pids = [wait_until(lambda: note.exists() and note.read()) for note in notes[:2]]
        process.send_signal(number)
        assert process.wait() == 130
    finally:
        process.kill()
        process.wait()
    assert not any(is_alive(int(pid)) for pid in pids)
    assert not notes[2].exists()
