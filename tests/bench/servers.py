"""The gateways that are measured: how each is found, started, spoken to and ended."""
import collections
import contextlib
import glob
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time

import environments
import usage
from wires import BinaryWire, JsonWire, RawWire, WispWire, Wire

HERE = os.path.dirname(os.path.abspath(__file__))
WS2S = os.path.join(environments.ROOT, 'ws2s.py')
START_SECONDS = 20
STOP_SECONDS = 3
ALL_LIVES_SECONDS = 900   # the kernel ends a server that outlives this, whatever becomes of us
OUR_WIRES = {'json': JsonWire, 'binary': BinaryWire, 'raw': RawWire, 'wisp': WispWire}

# `command(port, target, home)` gives the words to run, as quiet as the server can be: none says who comes and goes.
# `most_idle` spares the machine where each client is a process. What a `loud` one writes is thrown away: it is all that
# it carries.
Server = collections.namedtuple('Server', 'name about wires command most_idle loud')


class Failed(Exception):
    """This server could not be measured; one line."""


def server(name, about, wires, command, most_idle=None, loud=False):
    return Server(name, about, wires, command, most_idle, loud)


# --- Ours -----------------------------------------------------------------------------------------

def gateway(interpreter, path=WS2S, name='ws2s'):
    def command(port, target, home):
        config = os.path.join(home, 'gateway.json')
        with open(config, 'w') as file:
            json.dump({'listen': {'host': '127.0.0.1', 'port': port}, 'allowConnectToServerLocal': True,
                       'log': {'level': 'warning'}}, file)
        return [interpreter.path, path, '--config', config]

    about = '%s, Python %s' % (os.path.basename(path), environments.full(interpreter))
    return server(name, about, OUR_WIRES, command)


# --- Peers: (name, what it is, function that gives a Server or None when it is not installed) -------

def in_environments(*path):
    """The newest of what `make bench-peers` has made; None when there is none."""
    found = glob.glob(os.path.join(environments.ENVS, *path))
    return max(found, key=environments.numbers) if found else None


def peer_program(name):
    return in_environments('bench-peers-*', 'bin', name)


def original():
    python = in_environments('bench-original-*', 'bin', 'python')

    def command(port, target, home):
        folder = os.path.join(home, '.ws2s')
        os.mkdir(folder)
        with open(os.path.join(folder, 'config.json'), 'w') as file:
            json.dump({'listen': {'host': '127.0.0.1', 'port': port}, 'allowConnectToServerLocal': True}, file)
        return [python, os.path.join(os.path.dirname(python), 'ws2sd'), 'run']

    return python and server('ws2s-2.1.5', 'gevent, Python ' + version_of(python), {'json': JsonWire}, command,
                             loud=True)


def websockify():
    program = peer_program('websockify')

    def command(port, target, home):
        return [program, '127.0.0.1:%d' % port, '127.0.0.1:%d' % target]

    return program and server('websockify', 'numpy, Python ' + version_of(beside(program)), {'raw': Wire}, command,
                              most_idle=100)


def wisp_python():
    python = peer_program('python')
    installed = python and runs(python, 'import wisp.server')

    def command(port, target, home):
        return [python, '-m', 'wisp.server', '--host', '127.0.0.1', '--port', str(port), '--allow-loopback',
                '--allow-private', '--threads', '1', '--log-level', 'error']

    return installed and server('wisp-python', 'uvloop, Python ' + version_of(python), {'wisp': WispWire}, command)


def websocat():
    program = peer_program('websocat')

    def command(port, target, home):
        return [program, '-q', '--binary', 'ws-l:127.0.0.1:%d' % port, 'tcp:127.0.0.1:%d' % target]

    return program and server('websocat', 'Rust', {'raw': Wire}, command)


def node_relay():
    folder = node_package('ws')

    def command(port, target, home):
        return [shutil.which('node'), os.path.join(HERE, 'node_relay.mjs'), folder, str(port), str(target)]

    return folder and server('ws+net', node_version(), {'raw': Wire}, command)


def wisp_js():
    folder = node_package('@mercuryworkshop/wisp-js')

    def command(port, target, home):
        allowed = json.dumps({'allow_loopback_ips': True, 'allow_private_ips': True})
        return [shutil.which('node'), os.path.join(folder, 'src', 'bin', 'server_cli.mjs'), '--host', '127.0.0.1',
                '--port', str(port), '--logging', 'NONE', '--options', allowed]

    return folder and server('wisp-js', node_version(), {'wisp': WispWire}, command)


def node_package(name):
    return shutil.which('node') and in_environments('bench-node', 'node_modules', *name.split('/'))


def node_version():
    return 'Node ' + output_of([shutil.which('node'), '--version']).lstrip('v')


def beside(program):
    return os.path.join(os.path.dirname(program), 'python')


def version_of(python):
    return environments.full(environments.required(python))


def runs(python, code):
    return subprocess.call([python, '-c', code], stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL) == 0


def output_of(command):
    return subprocess.check_output(command, universal_newlines=True).strip()


PEERS = collections.OrderedDict([
    ('ws2s-2.1.5', original), ('websocat', websocat), ('websockify', websockify), ('ws+net', node_relay),
    ('wisp-js', wisp_js), ('wisp-python', wisp_python)])


# --- Running --------------------------------------------------------------------------------------

class Running(object):
    """A server under test, with its port."""

    def __init__(self, process, port):
        self.process, self.pid, self.port = process, process.pid, port

    def resident_kilobytes(self):
        return usage.resident_kilobytes(self.pid)

    def demand_alive(self):
        if self.process.poll() is not None:
            raise Failed('the server has ended with status %d' % self.process.returncode)


@contextlib.contextmanager
def running(server, target):
    """A fresh Running; it is ended in the end, with all that it has begun."""
    home = tempfile.mkdtemp(prefix='ws2s-bench-')
    try:
        with open(os.path.join(home, 'log'), 'w+') as log:
            port = free_port()
            errors = subprocess.DEVNULL if server.loud else log
            process = start(server.command(port, target, home), home, errors)
            try:
                wait_for_port(process, port, log)
                yield Running(process, port)
            finally:
                end(process)
    finally:
        shutil.rmtree(home)


def start(command, home, errors):
    """In a process group of its own."""
    environ = dict(environments.plain_environ(), HOME=home, PYTHONDONTWRITEBYTECODE='1')
    return subprocess.Popen(command, cwd=home, env=environ, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                            stderr=errors, preexec_fn=begin_life)


def begin_life():
    os.setsid()
    signal.alarm(ALL_LIVES_SECONDS)


def free_port():
    with socket.socket() as sock:
        sock.bind(('127.0.0.1', 0))
        return sock.getsockname()[1]


def wait_for_port(process, port, log):
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise Failed('it ended at once: %s' % last_line(log))
        if accepts(port):
            return
        time.sleep(0.02)
    raise Failed('it does not listen after %d s: %s' % (START_SECONDS, last_line(log)))


def text_of(log):
    with open(log.name, errors='replace') as file:
        return file.read()


def last_line(log):
    return (text_of(log).strip().splitlines() or ['it said nothing'])[-1]


def accepts(port):
    with socket.socket() as sock:
        return sock.connect_ex(('127.0.0.1', port)) == 0


def end(process):
    """Politely, then for good; a server that forks has its children in its group."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            pass
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
