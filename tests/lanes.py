#!/usr/bin/env python3
"""Runs the checks of the project, several at a time; those that measure run after them, alone.

    python3 tests/lanes.py [--lanes N] [--repeat] PART... [-- ARGUMENT...]

A PART is tests (on every Python found), soak, conformance, lint or dist; ARGUMENTs go to the pytest of `tests`.
The output of each check is printed whole when the check ends, all verdicts in the end. With --repeat live tests
that have failed, three at most, are repeated once, alone, after all checks: those that pass then are named as flaky.
"""
import argparse
import concurrent.futures
import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

import environments

TESTS = os.path.dirname(os.path.abspath(__file__))
CACHES = os.path.join(environments.ENVS, 'lanes')
LANES = (os.cpu_count() or 1) + 1  # many tests wait rather than work
MOST_FLAKY = 3
LIVE = 'tests/live/'
SOAKED = ('3.11', '2.7')  # what does not depend on the Python: on the first alone
CONFORMING = ('2.7', '3.11', environments.NEWEST)
SECONDS_TO_END = 60

# Exit statuses of pytest.
SOME_FAILED, NOTHING_SELECTED = 1, 5


# --- Checks ---------------------------------------------------------------------------------------

class Check(object):
    """One command in the environment of the caller; ``status`` is None until it has ended."""

    may_select_nothing = is_alone = False

    def __init__(self, name, script, *words):
        self.name, self.status, self.seconds = name, None, 0
        self.command = [sys.executable, os.path.join(TESTS, script)] + list(words)

    def prepare(self):
        pass

    def verdict(self):
        if self.status == NOTHING_SELECTED and self.may_select_nothing:
            return 'nothing'
        return 'FAILED' if self.status else 'passed'

    def repeatable(self):
        """Names of the tests that have failed, when one may hope that they pass the next time."""
        return []


class Pass(Check):
    """A run of pytest, over the tests that ``marks`` select; it keeps which of them have failed."""

    def __init__(self, name, command, python, marks, arguments=(), is_alone=False):
        self._cache = os.path.join(CACHES, re.sub(r'[^a-z0-9.]+', '-', name))
        self.is_alone, self.may_select_nothing = is_alone, bool(arguments)
        Check.__init__(self, name, 'environments.py', command, python, '--', '-m', marks, '--durations=15',
                       '-o', 'cache_dir=' + self._cache, *(arguments or environments.SUITE))

    def prepare(self):
        shutil.rmtree(self._cache, ignore_errors=True)

    def repeatable(self):
        # pytest writes the file when it comes to its end: with status 1 and no file it has died.
        path = os.path.join(self._cache, 'v', 'cache', 'lastfailed')
        if self.status != SOME_FAILED or not os.path.exists(path):
            return []
        failed = sorted(json.loads(environments.read(path)))
        return failed if all(test.startswith(LIVE) for test in failed) else []

    def again(self):
        """A check of the tests alone that have failed in this one."""
        check = Check(self.name + ', what failed once more', 'environments.py')
        check.command = self.command + ['--last-failed']
        return check


def passes(name, command, python, marks, arguments=()):
    """What may run beside others, and what may not."""
    return [Pass(name, command, python, marks + ' and not quiet', arguments),
            Pass(name + ', quiet', command, python, marks + ' and quiet', arguments, is_alone=True)]


# --- Parts ----------------------------------------------------------------------------------------

def tests(arguments):
    if '-m' in arguments:
        raise environments.Problem('-m says here what may run beside others; use `make test`')
    found = []
    for version in versions():
        found += passes('test on ' + version, 'test', version, environments.selection(version), arguments)
    return found + passes('test of pages', 'test', 'python3', 'not soak and pages', arguments)


def versions():
    """Those with most tests first, so that no long one is left when the others have ended."""
    missing = [version for version in environments.VERSIONS if environments.find(version) is None]
    if missing:
        environments.say('missing: Python ' + ' '.join(missing))
        if environments.STRICT:
            raise environments.Problem('WS2S_TEST_STRICT=1 wants every Python')
    return sorted(set(environments.VERSIONS) - set(missing),
                  key=lambda version: (version not in environments.ONLY_ON['programs'], environments.numbers(version)))


def soak(arguments):
    found = []
    for python in SOAKED:
        marks = 'soak' if python == SOAKED[0] else 'soak and not independent'
        found += passes('soak on ' + python, 'soak', python, marks)
    return found


def conformance(arguments):
    return [Check('conformance on ' + python, os.path.join('conformance', 'run.py'), '--python', python)
            for python in CONFORMING]


def dist(arguments):
    return [Check('dist', 'environments.py', 'dist')]


def lint(arguments):
    return [Check('lint', 'environments.py', 'lint')]


PARTS = {part.__name__: part for part in (tests, soak, conformance, dist, lint)}


# --- Running --------------------------------------------------------------------------------------

class Lanes(object):
    """Runs checks; end() ends those that are running, and no other begins."""

    def __init__(self):
        self._lock, self._printing = threading.Lock(), threading.Lock()
        self._running, self._is_over = set(), False

    def run_together(self, checks, count):
        pool = concurrent.futures.ThreadPoolExecutor(count)
        try:
            for _ in pool.map(self.run, checks):
                pass
        except BaseException:
            self.end()
            raise
        finally:
            pool.shutdown()

    def run(self, check):
        check.prepare()
        began = time.time()
        with tempfile.TemporaryFile() as output:
            with self._begun(check.command, output) as process:
                check.status = process.wait()
            check.seconds = time.time() - began
            with self._printing:
                show(check, output)

    @contextlib.contextmanager
    def _begun(self, command, output):
        with self._lock:
            if self._is_over:
                raise KeyboardInterrupt
            process = subprocess.Popen(command, cwd=environments.ROOT, stdin=subprocess.DEVNULL, stdout=output,
                                       stderr=subprocess.STDOUT, start_new_session=True)
            self._running.add(process)
        try:
            yield process
        finally:
            self._running.discard(process)

    def end(self):
        with self._lock:
            self._is_over = True
        for number, seconds in ((signal.SIGINT, SECONDS_TO_END), (signal.SIGKILL, None)):
            running = list(self._running)
            for process in running:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, number)
            wait_for(running, seconds)


def wait_for(processes, seconds):
    for process in processes:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(seconds)


def show(check, output):
    environments.say('\n== %s' % check.name)
    output.seek(0)
    shutil.copyfileobj(output, sys.stdout.buffer)
    environments.say('== %s: %s, %d s' % (check.name, check.verdict(), check.seconds))


def repeat(lanes, checks):
    """The checks of which every failed test has passed the second time, with the names of those tests."""
    failed = {check: check.repeatable() for check in checks if check.repeatable()}
    if sum(map(len, failed.values())) > MOST_FLAKY:
        environments.say('\nMore than %d live tests have failed: none is repeated.' % MOST_FLAKY)
        return {}
    again = {check: check.again() for check in failed}
    for check in failed:
        lanes.run(again[check])
    return {check: failed[check] for check in failed if again[check].verdict() == 'passed'}


def summary(checks, flaky):
    """Prints it; the exit status."""
    verdicts = {check: 'flaky' if check in flaky else check.verdict() for check in checks}
    environments.say('')
    for check in checks:
        environments.say('%-7s %4d s  %s' % (verdicts[check], check.seconds, check.name))
    for check in flaky:
        for test in flaky[check]:
            environments.say('flaky: %s, in %s' % (test, check.name))
    failed = [check.name for check in checks if verdicts[check] == 'FAILED']
    if failed:
        environments.say('FAILED: ' + '; '.join(failed))
    return int(bool(failed) or all(verdict == 'nothing' for verdict in verdicts.values()))


def run_all(checks, count, repeats):
    lanes = Lanes()
    try:
        lanes.run_together([check for check in checks if not check.is_alone], count)
        for check in checks:
            if check.is_alone:
                lanes.run(check)
        return summary(checks, repeat(lanes, checks) if repeats else {})
    finally:
        lanes.end()


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--lanes', type=int, default=LANES)
    parser.add_argument('--repeat', action='store_true')
    parser.add_argument('parts', nargs='+', choices=list(PARTS), metavar='PART')
    words = list(sys.argv[1:] if argv is None else argv)
    cut = words.index('--') if '--' in words else len(words)
    options = parser.parse_args(words[:cut])
    # SIGINT too: whoever is begun in the background by a shell would ignore it, and so would the checks.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    began = time.time()
    try:
        checks = [check for part in options.parts for check in PARTS[part](words[cut + 1:])]
        status = run_all(checks, options.lanes, options.repeat)
    except environments.Problem as problem:
        print('lanes: %s' % problem, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    environments.say('== %s in %d s' % ('FAILED' if status else 'all done', time.time() - began))
    return status


if __name__ == '__main__':
    sys.exit(main())
