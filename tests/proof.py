"""Proves what `make dist` has built: what the archives hold, and that the wheel runs where it is installed.

Each function raises Unproven. For Python 3.6 and later; the environment that the wheel is proven in may be 2.7.
"""
import glob
import json
import os
import re
import subprocess
import tarfile
import urllib.request

SECONDS = 60
LIBRARY = 'share/ws2s/ws2s-js/'
IN_SDIST = ('ws2s.py', 'ws2sd', 'Makefile', 'README.md', 'LICENSE', 'ws2s-js/ws2s.js', 'ws2s-js/ws2s.mjs',
            'ws2s-js/ws2s.d.ts', 'ws2s-js/index.html', 'ws2s-js/redis.html',
            'tests/environments.py', 'tests/proof.py', 'tests/live/pages/index.html',
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


def output_of(command, folder):
    """What it prints; it must end with 0."""
    environ = {name: os.environ[name] for name in ('PATH', 'LANG', 'LD_LIBRARY_PATH') if name in os.environ}
    environ.update(HOME=folder, PIP_DISABLE_PIP_VERSION_CHECK='1', PYTHONWARNINGS='ignore')
    try:
        done = subprocess.run(command, cwd=folder, env=environ, timeout=SECONDS, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unproven('%s: %s' % (' '.join(command), error))
    output = done.stdout.decode('utf-8', 'replace')
    demand(done.returncode == 0, ' '.join(command), 'ended with', done.returncode, repr(output))
    return output
