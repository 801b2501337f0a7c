# -*- coding: utf-8 -*-
"""ws2sd as a user has it: a home folder of its own, the commands, the processes that come of them."""

import contextlib
import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import threading
import time
import types

from program import REPOSITORY, clean_environment
from raw_client import BINARY, RawClient
from waiting import wait_until

WS2SD = os.path.join(REPOSITORY, 'ws2sd')


def load_ws2sd():
    """The file ws2sd, which has no name that could be imported, as a module."""
    module = types.ModuleType('ws2sd')
    module.__file__ = WS2SD
    with open(WS2SD, 'rb') as file:
        exec(compile(file.read(), WS2SD, 'exec'), module.__dict__)
    return module


class Command(object):
    """A call of ws2sd that may still run."""

    def __init__(self, words, home, **options):
        environment = dict(clean_environment(home), **options.pop('environment', {}))
        self.process = subprocess.Popen(words, cwd=home, env=environment, stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, close_fds=True, **options)
        self.pid = self.process.pid

    def outcome(self, seconds=40):
        """(exit status, standard output, standard error) at its end."""
        killer = threading.Timer(seconds, self.process.kill)
        killer.start()
        try:
            output, errors = self.process.communicate()
        finally:
            killer.cancel()
            killer.join()
        return self.process.returncode, output.decode('utf-8'), errors.decode('utf-8')


class Service(object):
    """A folder in which a ws2sd may run. ``end()`` leaves no process of it."""

    def __init__(self, folder, **config):
        self.user_home, self.home = str(folder), os.path.join(str(folder), 'home')
        os.mkdir(self.home, 0o700)
        self.config = {'listen': {'port': 0}, 'allowConnectToServerLocal': True, 'workers': 2,
                       'limits': {'drainSeconds': 1}}
        self.configure(**config)

    # -- files ---------------------------------------------------------------------------------------------------------

    def path(self, name):
        return os.path.join(self.home, name)

    def configure(self, **changes):
        """Write config.json with these changes of what stood there before."""
        self.config.update(changes)
        self.write('config.json', json.dumps(self.config).encode('ascii'))

    def write(self, name, content):
        with open(self.path(name), 'wb') as file:
            file.write(content)

    def read(self, name):
        with open(self.path(name), 'rb') as file:
            return file.read().decode('utf-8')

    @property
    def log(self):
        """The lines of the log, the oldest first."""
        names = [name for name in os.listdir(self.home) if name.startswith('ws2s.log')]
        names.sort(key=lambda name: -int(name.rpartition('.')[2]) if name != 'ws2s.log' else 0)
        return [line for name in names for line in self.read(name).splitlines()]

    @property
    def state(self):
        return json.loads(self.read('state')) if os.path.exists(self.path('state')) else {}

    @property
    def pid(self):
        return self.state['pid']

    @property
    def workers(self):
        return self.state.get('workers', [])

    def two_workers_without(self, gone):
        """The workers, when they are two and none of ``gone``."""
        workers = self.workers
        return workers if len(workers) == 2 and not set(workers) & set(gone) else None

    @property
    def address(self):
        host, port = self.state['address'].rsplit(':', 1)
        return host.strip('[]'), int(port)

    # -- commands ------------------------------------------------------------------------------------------------------

    def begin(self, *words, **options):
        return Command([sys.executable, WS2SD, '--home', self.home] + list(words), self.user_home, **options)

    def ask(self, *words, **options):
        """(exit status, standard output, standard error) of one command."""
        return self.begin(*words, **options).outcome()

    def do(self, *words, **options):
        """What a command says that must succeed without complaint."""
        status, output, errors = self.ask(*words, **options)
        assert (status, errors) == (0, ''), (status, output, errors)
        return output

    def refuses(self, status, *words, **options):
        """The one line on standard error of a command that must end with ``status``."""
        found, output, errors = self.ask(*words, **options)
        assert re.match(r'ws2sd: [ -~]+\n\Z', errors), errors
        assert (found, output) == (status, '')
        return errors

    def start(self):
        self.do('start')
        return self

    # -- processes -----------------------------------------------------------------------------------------------------

    def processes(self):
        """The pids of all that runs for this home."""
        return [pid for pid in map(int, filter(str.isdigit, os.listdir('/proc'))) if self._is_ours(pid)]

    def _is_ours(self, pid):
        return self.home in command_line(pid) and is_alive(pid)

    def wait_for_end(self, seconds=10):
        wait_until(lambda: not self.processes(), seconds, 'the processes of the service to end')

    def end(self):
        for pid in sorted(self.processes()):  # the supervisor before its workers, or it would begin others
            kill(pid, signal.SIGKILL)
        self.wait_for_end()


@contextlib.contextmanager
def ended(service):
    """The service, none of whose processes are left in the end."""
    try:
        yield service
    finally:
        service.end()


def command_line(pid):
    try:
        with open('/proc/%d/cmdline' % pid, 'rb') as file:
            return file.read().decode('utf-8', 'replace').split('\0')
    except (IOError, OSError):
        return []  # it has just ended


def is_alive(pid):
    """Does it run? One that has ended, and whose parent has not asked for its status, does not."""
    try:
        with open('/proc/%d/stat' % pid) as file:
            return file.read().rpartition(')')[2].split()[0] not in 'ZX'
    except (IOError, OSError):
        return False


def kill(pid, number):
    """Signal a process that may have ended meanwhile."""
    try:
        os.kill(pid, number)
    except OSError:
        assert not is_alive(pid)


# -- many clients ------------------------------------------------------------------------------------------------------

@contextlib.contextmanager
def echoing():
    """The port of an echo target that needs one thread for all its connections."""
    listener = socket.socket()
    listener.bind(('127.0.0.1', 0))
    listener.listen(1024)
    stopped = threading.Event()
    thread = threading.Thread(target=echo_all, args=(listener, stopped))
    thread.daemon = True
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        stopped.set()
        thread.join(5)
        listener.close()


def echo_all(listener, stopped):
    poller, socks = select.poll(), {listener.fileno(): listener}
    poller.register(listener, select.POLLIN)
    while not stopped.is_set():
        for fd, _ in poller.poll(50):
            if fd == listener.fileno():
                sock = listener.accept()[0]
                socks[sock.fileno()] = sock
                poller.register(sock, select.POLLIN)
            elif not echo_once(socks[fd]):
                poller.unregister(fd)
                socks.pop(fd).close()
    for sock in socks.values():
        sock.close()


def echo_once(sock):
    """False at the end of the connection."""
    try:
        data = sock.recv(65536)
        sock.sendall(data)
    except (IOError, OSError):
        return False
    return bool(data)


class Rounds(object):
    """A thread of clients that goes round() after round until finish(), and what has gone wrong there."""

    def __init__(self):
        self.rounds, self._error, self._stopped = 0, None, threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.daemon = True

    def begin(self):
        self._thread.start()

    def round(self):
        raise NotImplementedError

    def _run(self):
        try:
            while not self._stopped.is_set():
                self.round()
        except BaseException as error:  # the test gets it from goes_on() and finish()
            self._error = error

    def goes_on(self, seconds=60):
        """Wait until a round that begins from now on has ended well."""
        goal = self.rounds + 2
        wait_until(lambda: self._error or self.rounds >= goal, seconds, 'the clients to go on')
        assert self._error is None, repr(self._error)

    def finish(self):
        """Not one of them has lost anything."""
        self.stop()
        assert not self._thread.is_alive()
        assert self._error is None, repr(self._error)

    def stop(self):
        self._stopped.set()
        if self._thread.ident:
            self._thread.join(60)


class Crowd(Rounds):
    """Many clients, each with an echo target of its own."""

    def __init__(self, address, count, port, client=RawClient):
        Rounds.__init__(self)
        self.clients = []
        try:
            for _ in range(count):
                self.clients.append(client(address, timeout=30))
                self.clients[-1].open().connect_to(port, binary=True)
        except BaseException:
            self.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()

    def close(self):
        self.stop()
        for client in self.clients:
            client.sock.close()

    def round(self):
        """Every client says something to its target and gets just that back."""
        texts = [('%d of round %d;' % (number, self.rounds)).encode('ascii') for number in range(len(self.clients))]
        for client, text in zip(self.clients, texts):
            client.send_frame(BINARY, text)
        for client, text in zip(self.clients, texts):
            assert client.receive_data(len(text)) == text
        self.rounds += 1


class Newcomers(Rounds):
    """One client after the other, each of whom has an echo target say something and leaves."""

    def __init__(self, address, port, client=RawClient):
        Rounds.__init__(self)
        self._address, self._port, self._client = address, port, client

    def __enter__(self):
        self.begin()
        return self

    def __exit__(self, *exception):
        self.stop()

    def round(self):
        with self._client(self._address, timeout=30) as client:
            client.open().connect_to(self._port, binary=True)
            client.send_frame(BINARY, b'here I am')
            assert client.receive_data(9) == b'here I am'
        self.rounds += 1


class Victim(object):
    """A process that has nothing to do with ws2s, and that any signal would end."""

    def __init__(self):
        self._process = subprocess.Popen([sys.executable, '-c', 'import sys; sys.stdin.read()'],
                                         stdin=subprocess.PIPE, close_fds=True)
        self.pid = self._process.pid

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self._process.stdin.close()
        assert self._process.wait() == 0, 'it was signalled'


def stopwatch():
    """A function that gives the seconds since now."""
    begun = time.time()
    return lambda: time.time() - begun
