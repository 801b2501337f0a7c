"""Proves what `make dist` has built: what the archives hold, and that the wheel runs where it is installed.

Each function raises Unproven. For Python 3.6 and later; the environment that the wheel is proven in may be 2.7.
"""
import contextlib
import glob
import json
import os
import re
import socket
import subprocess
import tarfile
import urllib.request
import zipfile

import npm_package

SECONDS = 60
LIBRARY = 'share/ws2s/ws2s-js/'
IN_SDIST = ('ws2s.py', 'ws2sd', 'Makefile', 'README.md', 'LICENSE', 'ws2s-js/ws2s.js', 'ws2s-js/ws2s.mjs',
            'ws2s-js/ws2s.d.ts', 'ws2s-js/package.json', 'ws2s-js/index.html', 'ws2s-js/redis.html',
            'tests/environments.py', 'tests/proof.py', 'tests/npm_package.py', 'tests/live/pages/index.html',
            'tests/requirements.txt')
WHERE = 'import json, sys, ws2s; print(json.dumps([ws2s.__file__, sys.prefix]))'


class Unproven(Exception):
    """What is wrong, in one line."""


def demand(truth, complaint, *details):
    if not truth:
        raise Unproven(' '.join([complaint] + [str(detail) for detail in details]))


def archives(folder):
    """The paths of the wheel and the source archive, which must be all that is there."""
    wheels, sources = glob.glob(os.path.join(folder, '*.whl')), glob.glob(os.path.join(folder, '*.tar.gz'))
    demand(len(wheels) == len(sources) == 1 and len(os.listdir(folder)) == 2, 'not one wheel and one source archive:',
           os.listdir(folder))
    demand(wheels[0].endswith('-py2.py3-none-any.whl'), 'not a wheel for every Python:', wheels[0])
    return wheels[0], sources[0]


def prove_source(path):
    with tarfile.open(path) as archive:
        names = {name.partition('/')[2] for name in archive.getnames()}
    demand(names.issuperset(IN_SDIST), 'missing in the source archive:', *sorted(set(IN_SDIST) - names))
    compiled = [name for name in names if name.endswith('.pyc')]
    demand(not compiled, 'compiled files in the source archive:', *compiled)


def prove_wheel(python, wheel, folder):
    """Install it for ``python``, the one of a fresh environment, and run all of it in ``folder``, which is empty."""
    output_of([python, '-m', 'pip', 'install', '-qq', '--no-index', '--no-deps', wheel], folder)
    module, prefix = json.loads(output_of([python, '-c', WHERE], folder))
    demand('site-packages' in module.split(os.sep), 'ws2s is imported from', module)
    demand(os.path.isfile(os.path.join(prefix, LIBRARY + 'ws2s.js')), 'the browser library is not below', prefix)
    bin_folder = os.path.dirname(python)
    version = os.path.basename(wheel).split('-')[1]
    prove_output([os.path.join(bin_folder, 'ws2s'), '--version'], folder, r'ws2s %s\n\Z' % re.escape(version))
    prove_service(os.path.join(bin_folder, 'ws2sd'), folder)


def prove_service(ws2sd, folder):
    prove_output([ws2sd, 'help'], folder, r'usage: ws2sd ')
    with open(os.path.join(folder, 'config.json'), 'w') as config:
        json.dump({'listen': {'port': 0}, 'workers': 1}, config)
    command = [ws2sd, '--home', folder]
    try:
        address = prove_output(command + ['start'], folder, r'ws2sd serves on (\S+:[0-9]+),').group(1)
        prove_output(command + ['status'], folder, 'ws2sd serves on %s,' % re.escape(address))
        prove_output(command + ['reload'], folder, 'the new configuration is in force')
        demand(body_of('http://%s/healthz' % address) == b'ok', 'no answer on', address)
        demand(b'<title>' in body_of('http://%s/' % address), 'no page on', address)
    finally:
        output_of(command + ['stop'], folder)
    demand(not os.path.exists(os.path.join(folder, 'state')), 'ws2sd has not stopped')


def body_of(url):
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=SECONDS) as reply:
        return reply.read().strip()


def prove_output(command, folder, pattern):
    """The match of ``pattern`` with the start of what ``command`` prints."""
    output = output_of(command, folder)
    match = re.match(pattern, output)
    demand(match, 'unexpected from', *command, repr(output))
    return match


def environ_of(folder):
    """That of a user whose home is ``folder``."""
    environ = {name: os.environ[name] for name in ('PATH', 'LANG', 'LD_LIBRARY_PATH') if name in os.environ}
    environ.update(HOME=folder, PIP_DISABLE_PIP_VERSION_CHECK='1', PYTHONWARNINGS='ignore')
    return environ


def output_of(command, folder):
    """What it prints; it must end with 0."""
    try:
        done = subprocess.run(command, cwd=folder, env=environ_of(folder), timeout=SECONDS, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unproven('%s: %s' % (' '.join(command), error))
    output = done.stdout.decode('utf-8', 'replace')
    demand(done.returncode == 0, ' '.join(command), 'ended with', done.returncode, repr(output))
    return output


# --- Coming from 2.1.5 ----------------------------------------------------------------------------

OLD = 'ws2s_python-2.1.5'
OLD_FILES = {
    'ws2s/__init__.py': "__version__ = '2.1.5'\n", 'ws2s/tcp_sockets.py': '', 'ws2s/websocket_server.py': '',
    'ws2s/ws2s_config.py': 'get = {}\n', 'ws2s/ws2s_server.py': '', 'ws2s/resources/logging.conf': '',
    'ws2s/resources/ws2sd': '#! /bin/sh\n',
    OLD + '.dist-info/METADATA': 'Metadata-Version: 2.0\nName: ws2s-python\nVersion: 2.1.5\n',
    OLD + '.dist-info/WHEEL': 'Wheel-Version: 1.0\nGenerator: bdist_wheel (0.30.0)\nRoot-Is-Purelib: true\n'
                              'Tag: py2-none-any\nTag: py3-none-any\n',
    OLD + '.dist-info/entry_points.txt': '[console_scripts]\nws2sd = ws2s.ws2sd:main\n',
    OLD + '.dist-info/top_level.txt': 'ws2s\n',
}


def old_wheel(folder):
    """The path of a wheel with the files of 2.1.5, whose ws2sd does no more than start and write its pids."""
    with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), 'old_ws2sd.py')) as source:
        files = dict(OLD_FILES, **{'ws2s/ws2sd.py': source.read()})
    files[OLD + '.dist-info/RECORD'] = ''.join('%s,,\n' % name for name in sorted(files))
    path = os.path.join(folder, OLD + '-py2.py3-none-any.whl')
    with zipfile.ZipFile(path, 'w') as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return path


def prove_upgrade(python, wheel, folder):
    """Over an installed 2.1.5 that runs: one ws2s and one ws2sd are left, and the configuration is in force."""
    bin_folder = os.path.dirname(python)
    ws2sd = os.path.join(bin_folder, 'ws2sd')
    output_of([python, '-m', 'pip', 'install', '-qq', '--no-index', '--no-deps', old_wheel(folder)], folder)
    demand(not os.path.exists(os.path.join(bin_folder, 'ws2s')), 'this is not 2.1.5')
    with open_config(folder) as port:
        subprocess.run([ws2sd, 'start'], env=environ_of(folder), timeout=SECONDS, check=True, stdin=subprocess.DEVNULL,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            output_of([python, '-m', 'pip', 'install', '-qq', '--no-index', '--no-deps', '--upgrade', '--pre',
                       '--find-links', os.path.dirname(wheel), 'ws2s-python'], folder)
            prove_what_is_left(python, wheel, folder)
            prove_output([ws2sd, 'restart'], folder,
                         r'ws2s 2\.1\.5 has stopped\nws2sd serves on 127\.0\.0\.1:%d,' % port)
            demand(body_of('http://127.0.0.1:%d/healthz' % port) == b'ok', 'no answer on port', port)
        finally:
            output_of([ws2sd, 'stop'], folder)


@contextlib.contextmanager
def open_config(folder):
    """The port that stands in a configuration as 2.1.5 has it, which must not change."""
    with socket.socket() as sock:
        sock.bind(('127.0.0.1', 0))
        port = sock.getsockname()[1]
    text = json.dumps({'allowConnectToServerLocal': True, 'listen': {'host': '127.0.0.1', 'port': port}})
    path = os.path.join(folder, '.ws2s', 'config.json')
    os.mkdir(os.path.dirname(path))
    with open(path, 'w') as file:
        file.write(text)
    yield port
    with open(path) as file:
        demand(file.read() == text, 'the configuration has changed')


def prove_what_is_left(python, wheel, folder):
    found = json.loads(output_of([python, '-m', 'pip', 'list', '--format', 'json'], folder))
    names = [one['name'] for one in found if 'ws2s' in one['name']]
    demand(len(names) == 1, 'not one distribution:', *names)
    module, _ = json.loads(output_of([python, '-c', WHERE], folder))
    demand(os.path.basename(module).startswith('ws2s.py'), 'ws2s is still', module)
    demand(not os.path.exists(os.path.join(os.path.dirname(module), 'ws2s')), 'the package of 2.1.5 is left')
    commands = [name for name in os.listdir(os.path.dirname(python)) if 'ws2s' in name]
    demand(sorted(commands) == ['ws2s', 'ws2sd'], 'the commands are', *commands)
    prove_output([os.path.join(os.path.dirname(python), 'ws2sd'), 'help'], folder, 'usage: ws2sd ')
    config = output_of([os.path.join(os.path.dirname(python), 'ws2s'), '--print-config'], folder)
    demand('"allowConnectToServerLocal": true' in config, 'the configuration is not in force')


# --- The package of npm ---------------------------------------------------------------------------

IMPORT = "import WS2S, {WS2SError, RedisError, Redis} from 'ws2s'; console.log(WS2S.Redis === Redis)"
REQUIRE = "const WS2S = require('ws2s'); console.log(new WS2S.WS2SError(1, 'r', 'm').name)"
BOTH = "import('ws2s').then(file => console.log(file.default === require('ws2s')))"
IMPORT_ALL = "for (const name of %s) import(name).then(file => console.log('found', Object.keys(file).length > 0))"


def prove_npm_package(node, npm, path, folder):
    """Install it in ``folder``, which is empty, and find it there in each way."""
    manifest = npm_package.manifest()
    demand(os.path.basename(path) == 'ws2s-%s.tgz' % manifest['version'], 'not the version of package.json:', path)
    with tarfile.open(path) as archive:
        names = {name.partition('/')[2] for name in archive.getnames()}
    demand(names == set(npm_package.contents()), 'the package of npm has, or lacks:',
           *sorted(names ^ set(npm_package.contents())))
    with open(os.path.join(folder, 'package.json'), 'w') as project:
        json.dump({'name': 'empty', 'private': True}, project)
    output_of([npm, 'install', '--offline', '--no-audit', '--no-fund', path], folder)
    prove_output([node, '--input-type=module', '-e', IMPORT], folder, r'true\n\Z')
    prove_output([node, '-e', REQUIRE], folder, r'WS2SError\n\Z')
    prove_output([node, '-e', BOTH], folder, r'true\n\Z')
    entries = ['ws2s' + entry[1:] for entry in manifest['exports'] if entry != './package.json']
    prove_output([node, '-e', IMPORT_ALL % json.dumps(entries)], folder, r'(found true\n){%d}\Z' % len(entries))
