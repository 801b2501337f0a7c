#!/usr/bin/env python3
"""Finds Python interpreters, makes the environments that the tests need, runs the tests in them.

    python3 tests/environments.py COMMAND [PYTHON] [-- ARGUMENT...]

PYTHON is a version (2.7), a name on PATH or a path; ARGUMENTs go to pytest. Runs on 3.6 and later with
nothing installed. All it makes lies in .envs/, with a note of what it was made from, and is made anew when
that changes.
"""
import argparse
import collections
import contextlib
import fcntl
import glob
import os
import re
import shutil
import subprocess
import sys
import tempfile

import npm_package
import proof

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
ENVS = os.path.join(ROOT, '.envs')
VERSIONS = ('2.7', '3.6', '3.7', '3.8', '3.9', '3.10', '3.11', '3.12', '3.13')
NEWEST = VERSIONS[-1]
# Tests with these marks run on these Pythons only; setup.cfg says what the marks mean.
ONLY_ON = {'programs': ('2.7', NEWEST), 'independent': ('2.7', NEWEST), 'trials': ('3.11',),
           'pages': ()}
STRICT = os.environ.get('WS2S_TEST_STRICT') == '1'
NODE_PACKAGES = ('ws@8', 'axe-core@4.14.1', 'typescript@5.9.3', '@novnc/novnc@1.7.0', 'mqtt@5.16.0',
                 '@neondatabase/serverless@1.2.0', 'v86@0.5.462', '@mercuryworkshop/wisp-js@0.5.0', 'libcurl.js@0.7.4',
                 '@mercuryworkshop/epoxy-tls@2.1.19-1', 'publint@0.3.25', '@arethetypeswrong/cli@0.18.5',
                 'esbuild@0.28.2', 'vite@8.4.0', '@types/ws@8.18.1', 'node@22.23.3', 'readable-stream@4.8.0',
                 'stream-browserify@3.0.0', 'buffer@6.0.3')
# As README.md has them: the drivers, and what pages have in the place of Node's modules.
DRIVER_PACKAGES = ('pg@8.23.1', 'postgres@3.4.9', 'mysql2@3.24.6', 'ioredis@6.0.0', 'redis@5.12.1', 'nodemailer@10.6.1',
                   'imapflow@2.10.2', 'mqtt@5.16.0', 'basic-ftp@6.2.6', 'esbuild@0.28.2', 'unenv@2.0.0-rc.24',
                   'assert@2.1.0', 'browserify-zlib@0.2.0', 'buffer@6.0.3', 'crypto-browserify@3.12.1', 'events@3.3.0',
                   'readable-stream@4.8.0', 'string_decoder@1.3.0', 'url@0.11.4')
PEER_NODE_PACKAGES = ('ws@8', '@mercuryworkshop/wisp-js@0.5.0')
SUITE = ('tests/unit', 'tests/live')
PEER_ENVIRONMENTS = ('bench-peers', 'bench-original')
PROVEN_ON = ('2.7', '3.6', '3.11', '3.13')

WARNINGS_FROM = (3, 13)
WARNINGS_OF_PYTHON = ('DeprecationWarning', 'PendingDeprecationWarning', 'ResourceWarning')
WARNINGS_OF_PYTEST = ('pytest.PytestUnraisableExceptionWarning',
                      'pytest.PytestUnhandledThreadExceptionWarning')

Interpreter = collections.namedtuple('Interpreter', 'path version')


class Problem(Exception):
    """What stops us, in one line for the person at the terminal."""


# --- Interpreters ---------------------------------------------------------------------------------

PROBE = 'import os, sys; print("%d %d %d " % sys.version_info[:3] + os.path.realpath(sys.executable))'


def find(wanted):
    """The Interpreter for a version (3.13), a name on PATH or a path; None when there is none that runs."""
    if not re.match(r'\d+\.\d+$', wanted):
        return probe(wanted)
    found = (probe(command) for command in commands_for(wanted))
    return next((one for one in found if one and short(one) == wanted), None)


def required(wanted):
    interpreter = find(wanted)
    if interpreter is None:
        raise Problem('no Python %r here that runs' % wanted)
    return interpreter


def commands_for(version):
    names = [os.path.join(folder, 'python' + version) for folder in os.get_exec_path()]
    pyenv = os.environ.get('PYENV_ROOT') or os.path.join(os.path.expanduser('~'), '.pyenv')
    builds = glob.glob(os.path.join(pyenv, 'versions', version + '.*', 'bin', 'python'))
    return [name for name in names if os.access(name, os.X_OK)] + sorted(builds, key=numbers, reverse=True)


def numbers(path):
    return [int(digits) for digits in re.findall(r'\d+', path)]


def probe(command):
    """Ask it, whatever its name: a pyenv shim bears the name of a version that may not be active."""
    try:
        answer = subprocess.check_output([command, '-c', PROBE], env=plain_environ(), timeout=30,
                                         stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    except (OSError, subprocess.SubprocessError):
        return None
    major, minor, micro, path = answer.decode().strip().split(' ', 3)
    return Interpreter(path, (int(major), int(minor), int(micro)))


def this_interpreter():
    return Interpreter(os.path.realpath(sys.executable), sys.version_info[:3])


def short(interpreter):
    return '%d.%d' % interpreter.version[:2]


def full(interpreter):
    return '%d.%d.%d' % interpreter.version


def runs(interpreter, code):
    return call([interpreter.path, '-c', code], stderr=subprocess.DEVNULL) == 0


def has_venv(interpreter):
    """Debian splits the standard library: venv is there without the ensurepip that it needs."""
    return runs(interpreter, 'import ensurepip, venv; ensurepip.version()')


# --- Things made once -----------------------------------------------------------------------------

def make_once(name, made_from, make):
    """The folder .envs/NAME, filled by make(folder) unless it already was from the same `made_from`."""
    folder = os.path.join(ENVS, name)
    note = os.path.join(folder, 'made-from.txt')
    made_from = '%s\n%s\n' % (folder, made_from)
    with locked(folder + '.lock'):
        if not holds(note, made_from):
            say('making .envs/%s' % name)
            shutil.rmtree(folder, ignore_errors=True)
            make(folder)
            with open(note, 'w') as out:
                out.write(made_from)
    return folder


@contextlib.contextmanager
def locked(path):
    """Two `make test` side by side must not fill the same folder."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, 'w') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def holds(path, text):
    return os.path.exists(path) and read(path) == text


def read(path):
    with open(path) as source:
        return source.read()


def environment(name, interpreter, *requirements):
    """The python of an environment in .envs/ with these requirements (arguments of `pip install`)."""
    def make(folder):
        create_environment(interpreter, folder)
        python = python_of(folder)
        if interpreter.version < (3, 7):
            # The pip that came with 3.6 cannot read the tags of today's wheels.
            install(python, 'pip>=20.3,<22')
        install(python, *requirements)

    files = [read(os.path.join(ROOT, path)) for path in requirements if path.endswith('.txt')]
    made_from = '\n'.join([interpreter.path, full(interpreter)] + list(requirements) + files)
    return python_of(make_once('%s-%s' % (name, short(interpreter)), made_from, make))


def python_of(folder):
    return os.path.join(folder, 'bin', 'python')


def install(python, *requirements):
    must([python, '-m', 'pip', 'install', '-qq'] + list(requirements), 'pip cannot install', requirements)


def create_environment(interpreter, folder):
    if interpreter.version >= (3, 6) and has_venv(interpreter):
        must([interpreter.path, '-m', 'venv', folder], 'venv cannot make', [folder])
    else:
        create_with_virtualenv(interpreter, folder)


def create_with_virtualenv(interpreter, folder):
    """20.21 is the last to make environments for 2.7 and 3.6, and too old for 3.12."""
    requirement = 'virtualenv<20.22' if interpreter.version < (3, 7) else 'virtualenv'
    command, environ = virtualenv_command(this_interpreter(), requirement)
    command += ['--quiet', '--no-periodic-update', '--app-data', os.path.join(ENVS, 'virtualenv-data')]
    command += ['--python', interpreter.path, folder]
    must(command, 'virtualenv cannot make', [folder], environ)


def virtualenv_command(runner, requirement):
    """virtualenv needs a place itself: an environment, or a bare folder where Python cannot make one."""
    name = re.sub(r'[^a-z0-9.]+', '-', requirement)
    environ = plain_environ()
    if has_venv(runner):
        return [environment(name, runner, requirement), '-m', 'virtualenv'], environ
    if not runs(runner, 'import pip; pip.__version__'):
        raise Problem('%s has neither ensurepip nor pip (Debian: apt-get install python3-venv)' % runner.path)
    environ['PYTHONPATH'] = make_once(
        '%s-folder-%s' % (name, short(runner)), '%s\n%s' % (runner.path, requirement),
        lambda folder: install(runner.path, '--target', folder, requirement))
    return [runner.path, '-m', 'virtualenv'], environ


def node_modules(name='node', packages=NODE_PACKAGES):
    """The folder of the Node packages that the JavaScript tests need; None without npm."""
    if not (shutil.which('node') and shutil.which('npm')):
        return None
    folder = make_once(name, ' '.join(packages), lambda folder: install_node_packages(folder, packages))
    return os.path.join(folder, 'node_modules')


def install_node_packages(folder, packages):
    os.makedirs(folder)
    command = ['npm', 'install', '--prefix', folder, '--no-audit', '--no-fund', '--loglevel', 'error']
    must(command + list(packages), 'npm cannot install', packages)


def novnc_archive():
    """The archive of noVNC. Beside it the package has only what begins websockify, which is not installed."""
    python = environment('novnc', this_interpreter(), '--no-deps', '-r', 'tests/requirements-novnc.txt')
    site = os.path.join(os.path.dirname(os.path.dirname(python)), 'lib', 'python*', 'site-packages')
    return glob.glob(os.path.join(site, 'novnc', 'resources', 'novnc_server.zip'))[0]


# --- Running --------------------------------------------------------------------------------------

def plain_environ():
    """Modules of the caller's own Python must not leak into another version of it."""
    environ = dict(os.environ, PIP_DISABLE_PIP_VERSION_CHECK='1', PIP_NO_PYTHON_VERSION_WARNING='1')
    for name in ('PYTHONPATH', 'PYTHONHOME', 'PYTHONWARNINGS'):
        environ.pop(name, None)
    return environ


def call(command, environ=None, **streams):
    process = subprocess.Popen(command, cwd=ROOT, env=environ or plain_environ(), **streams)
    try:
        return process.wait()
    finally:
        # An interrupt is for the process too: pytest then takes down what its tests have begun.
        process.wait()


def must(command, complaint, objects, environ=None):
    status = call(command, environ, stdin=subprocess.DEVNULL)
    if status:
        raise Problem('%s %s (exit status %d)' % (complaint, ' '.join(objects), status))


def say(text):
    print(text, flush=True)


def run_pytest(interpreter, arguments):
    python = environment('test', interpreter, '-r', 'tests/requirements.txt')
    environ = plain_environ()
    modules = node_modules()
    if modules:
        environ['WS2S_TEST_NODE_MODULES'] = modules
        environ['WS2S_TEST_DRIVER_MODULES'] = node_modules('drivers', DRIVER_PACKAGES)
        environ['WS2S_TEST_NOVNC'] = novnc_archive()
    say('pytest on %s' % full(interpreter))
    return call([python] + errors(interpreter, WARNINGS_OF_PYTHON) +
                ['-m', 'pytest'] + errors(interpreter, WARNINGS_OF_PYTEST) + arguments, environ)


def selection(version):
    """The argument of `pytest -m` for a pass over one of all Pythons."""
    return ' and '.join(['not soak'] + ['not %s' % mark for mark in sorted(ONLY_ON) if version not in ONLY_ON[mark]])


def errors(interpreter, warnings):
    if interpreter.version < WARNINGS_FROM:
        return []
    return [word for warning in warnings for word in ('-W', 'error::' + warning)]


# --- Commands: each gives its exit status ---------------------------------------------------------

def command_test(wanted, arguments):
    return run_pytest(required(wanted), ['-m', 'not soak'] + (arguments or list(SUITE)))


def command_soak(wanted, arguments):
    return run_pytest(required(wanted), ['-m', 'soak'] + (arguments or list(SUITE)))


def command_lint(wanted, arguments):
    programs = [name for name in ('ws2s.py', 'ws2sd') if os.path.exists(os.path.join(ROOT, name))]
    python = environment('lint', required(wanted), '-r', 'tests/requirements-lint.txt')
    status = call([python, '-m', 'flake8'] + programs + ['setup.py', 'tests'])
    found = [interpreter for interpreter in map(find, VERSIONS) if interpreter]
    failed = [short(one) for one in found if not all(compiles(one, program) for program in programs)]
    compiled = [short(one) for one in found if short(one) not in failed]
    say('%s compiled on: %s' % (', '.join(programs), ' '.join(compiled)))
    if failed:
        say('NOT on: ' + ' '.join(failed))
    return int(bool(status or failed))


COMPILE = """
import sys
with open(sys.argv[1], 'rb') as source:
    compile(source.read(), sys.argv[1], 'exec')
"""


def compiles(interpreter, program):
    return call([interpreter.path, '-W', 'error', '-c', COMPILE, program]) == 0


def command_dist(wanted, arguments):
    shutil.rmtree(os.path.join(ROOT, 'dist'), ignore_errors=True)
    builder = required(wanted)
    python = environment('dist', builder, '-r', 'tests/requirements-dist.txt')
    must([python, '-m', 'build', '--outdir', 'dist'], 'build failed for', ['dist'])
    try:
        status = prove_archives(builder)
        make_npm_package()
    except proof.Unproven as error:
        raise Problem(error)
    return status


def make_npm_package():
    node, npm = shutil.which('node'), shutil.which('npm')
    if not (node and npm):
        raise Problem('wheel and source archive are in dist/, but the package of npm needs node and npm (%s)'
                      % npm_package.HOW_TO_GET)
    path = npm_package.pack(npm, os.path.join(ROOT, 'dist'))
    with tempfile.TemporaryDirectory() as folder:
        proof.prove_npm_package(node, npm, path, folder)
    say('%s holds what it should; import and require find it' % os.path.basename(path))


def prove_archives(builder):
    wheel, source = proof.archives(os.path.join(ROOT, 'dist'))
    proof.prove_source(source)
    say('%s holds what it should' % os.path.basename(source))
    others = [(version, find(version)) for version in PROVEN_ON if version != short(builder)]
    for version, interpreter in others + [(short(builder), builder)]:
        say('%-5s %s' % (version, prove_wheel(interpreter, wheel) if interpreter else 'missing'))
    return int(STRICT and not all(interpreter for _, interpreter in others))


def prove_wheel(interpreter, wheel):
    """Outside the checkout: there `import ws2s` would find the file that is not installed."""
    for prove in (proof.prove_wheel, proof.prove_upgrade):
        with tempfile.TemporaryDirectory() as folder:
            home = os.path.join(folder, 'home')
            os.mkdir(home)
            create_environment(interpreter, os.path.join(folder, 'environment'))
            prove(python_of(os.path.join(folder, 'environment')), wheel, home)
    return 'installed from %s, also over 2.1.5; it runs' % os.path.basename(wheel)


def command_node(wanted, arguments):
    modules = node_modules()
    if modules is None:
        raise Problem('node or npm is missing')
    say(modules)
    return 0


def command_bench_peers(wanted, arguments):
    """Each as far as it can be had here; tests/bench/bench.py names those that are missing."""
    interpreter = required(wanted)
    made = [peers_made(name, interpreter) for name in PEER_ENVIRONMENTS]
    if node_modules('bench-node', PEER_NODE_PACKAGES) is None:
        say('node or npm is missing: not %s' % ' '.join(PEER_NODE_PACKAGES))
    return int(not all(made))


def peers_made(name, interpreter):
    try:
        environment(name, interpreter, '-r', 'tests/requirements-%s.txt' % name)
    except Problem as problem:
        say('%s: %s' % (name, problem))
        return False
    return True


COMMANDS = {
    'test': command_test,
    'soak': command_soak,
    'lint': command_lint,
    'dist': command_dist,
    'node': command_node,
    'bench-peers': command_bench_peers,
}


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('command', choices=sorted(COMMANDS))
    parser.add_argument('python', nargs='?', default='python3')
    words = list(sys.argv[1:] if argv is None else argv)
    cut = words.index('--') if '--' in words else len(words)
    options = parser.parse_args(words[:cut])
    try:
        return COMMANDS[options.command](options.python, words[cut + 1:])
    except Problem as problem:
        print('%s: %s' % (options.command, problem), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == '__main__':
    sys.exit(main())
