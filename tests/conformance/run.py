#!/usr/bin/env python3
"""Runs the Autobahn test suite (RFC 6455) against tests/conformance/echo_server.py.

    python3 tests/conformance/run.py [--cases quick|all] [--python PYTHON]

PYTHON, as in tests/environments.py, runs the server; the suite itself needs Python 2.7. The report of each
case is left in .envs/conformance-report-VERSION/.
"""
import argparse
import collections
import contextlib
import json
import os
import select
import shutil
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.dirname(HERE))

import environments  # noqa: E402 - found only by the path above

AGENT = 'ws2s'
# The cases about compression, which take minutes: quick leaves them out.
COMPRESSION = ('12', '13')
EXCLUDED = {'quick': [group + '.*' for group in COMPRESSION], 'all': []}
LEAST = {'quick': 301, 'all': 517}
SECONDS = {'quick': 300, 'all': 3600}
# The suite gives these three no verdict, whoever answers.
INFORMATIONAL = ('7.1.6', '7.13.1', '7.13.2')
BAD = ('NON-STRICT', 'FAILED')


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--cases', choices=sorted(EXCLUDED), default='quick')
    parser.add_argument('--python', default='python3')
    options = parser.parse_args(argv)
    try:
        return judge(options.cases, options.python)
    except environments.Problem as problem:
        print('conformance: %s' % problem, file=sys.stderr)
        return 1


def judge(cases, python):
    suite_python = environments.find('2.7')
    if suite_python is None:
        environments.say('conformance: not run, the Autobahn suite needs Python 2.7 and there is none here')
        return int(environments.STRICT)
    suite = environments.environment('conformance', suite_python, '-r', 'tests/requirements-conformance.txt')
    interpreter = environments.required(python)
    report = new_report(environments.short(interpreter))
    environments.say('the %s Autobahn cases, served by Python %s' % (cases, environments.full(interpreter)))
    with echo_server(interpreter, report) as port:
        run_suite(suite, port, cases, report)
    return verdict(read_results(report), LEAST[cases])


def new_report(version):
    """One folder for each Python: several may be served at one time."""
    folder = os.path.join(environments.ENVS, 'conformance-report-' + version)
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    return folder


@contextlib.contextmanager
def echo_server(interpreter, report):
    """Its port; ended by its own process id, and it must end well."""
    log = os.path.join(report, 'server.log')
    with open(log, 'w') as errors:
        server = subprocess.Popen([interpreter.path, os.path.join(HERE, 'echo_server.py')],
                                  stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors,
                                  env=environments.plain_environ())
    try:
        yield read_port(server, log)
    finally:
        status = end(server)
    if status:
        raise environments.Problem('the echo server ended with status %d, see %s' % (status, log))


def read_port(server, log, seconds=20):
    ready, _, _ = select.select([server.stdout], [], [], seconds)
    line = server.stdout.readline().strip() if ready else b''
    if not line.isdigit():
        raise environments.Problem('the echo server named no port, see %s' % log)
    return int(line)


def end(process, seconds=20):
    if process.poll() is None:
        process.terminate()
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return -1
    finally:
        if process.stdout:
            process.stdout.close()


def run_suite(python, port, cases, report):
    spec = os.path.join(report, 'spec.json')
    with open(spec, 'w') as out:
        json.dump({
            'outdir': report,
            'servers': [{'agent': AGENT, 'url': 'ws://127.0.0.1:%d' % port}],
            'cases': ['*'],
            'exclude-cases': EXCLUDED[cases],
            'exclude-agent-cases': {},
        }, out)
    wstest = os.path.join(os.path.dirname(python), 'wstest')
    with open(os.path.join(report, 'wstest.log'), 'w') as log:
        suite = subprocess.Popen([python, wstest, '-m', 'fuzzingclient', '-s', spec], cwd=report,
                                 stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                 env=environments.plain_environ())
    try:
        status = suite.wait(SECONDS[cases])
    except subprocess.TimeoutExpired:
        raise environments.Problem('wstest was not done after %d s, see %s' % (SECONDS[cases], log.name))
    finally:
        end(suite)
    if status:
        raise environments.Problem('wstest ended with status %d, see %s' % (status, log.name))


def read_results(report):
    index = os.path.join(report, 'index.json')
    if not os.path.exists(index):
        raise environments.Problem('wstest wrote no results, see %s' % os.path.join(report, 'wstest.log'))
    return json.loads(environments.read(index))[AGENT]


def verdict(results, least):
    verdicts = {case: grade(case, result) for case, result in results.items()}
    counts = collections.Counter(verdicts.values())
    bad = sorted((case for case in verdicts if verdicts[case] in BAD), key=environments.numbers)
    print('%d OK, %d informational, %d non-strict, %d failed' % tuple(
        counts[name] for name in ('OK', 'INFORMATIONAL') + BAD))
    for case in bad:
        print('  %s %s: %s, close: %s' % (
            case, verdicts[case], results[case]['behavior'], results[case]['behaviorClose']))
    if len(results) < least:
        print('only %d cases were run, not %d' % (len(results), least))
    return int(bool(bad) or len(results) < least)


def grade(case, result):
    behaviours = {result['behavior'], result['behaviorClose']}
    if behaviours == {'OK'}:
        return 'OK'
    if behaviours <= {'OK', 'INFORMATIONAL'} and case in INFORMATIONAL:
        return 'INFORMATIONAL'
    return 'NON-STRICT' if behaviours <= {'OK', 'NON-STRICT'} else 'FAILED'


if __name__ == '__main__':
    sys.exit(main())
