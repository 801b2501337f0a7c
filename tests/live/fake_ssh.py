# -*- coding: utf-8 -*-
"""An `ssh` that writes down how it was called and then does what its scenario says. Nothing of it reaches a network.

A FakeSsh makes the program for a test: a script whose interpreter is the one that runs the tests. All of its calls go
through the same steps, in turn; a step is a list of a word and its arguments:

    say TEXT              to standard error, a character a byte
    flood BYTES           to standard error, without a line end
    ask PROMPT            call askpass; KEY in the prompt stands for the path of the identity file
    ask-in-vain PROMPT    call askpass where no answer comes, and stop it (SIGSTOP), so that it does not end by itself
    look                  note which files stand in the private directory
    wait                  until the test calls go()
    ignore SIGNAL         by its number
    end STATUS
    hang
    serve                 be logged in: forward connections as ssh does, also when no step follows, until killed
    forward               hand the forwarding over to the process that serves

Users may be served in different ways. A call with `-O forward` takes steps of its own.
"""

from __future__ import absolute_import

import contextlib
import errno
import itertools
import json
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time

from waiting import wait_until

# First of all it looks at its descriptors: what is imported may open others.
LAUNCHER = """#!%s
import os, sys
paths = dict((int(name), '/proc/self/fd/' + name) for name in os.listdir('/proc/self/fd'))
descriptors = dict((number, os.readlink(path)) for number, path in paths.items() if os.path.islink(path))
sys.dont_write_bytecode = True
sys.path.insert(0, %r)
import fake_ssh
fake_ssh.Call(%r, descriptors).run()
"""

CHANNEL_OF_FIRST_CONNECTION = 2  # after the listener and the control socket


def in_bytes(text):
    return text.encode('latin-1')


def in_text(data):
    """For JSON: each byte a character."""
    return data.decode('latin-1')


def argument_bytes(argument):
    return argument if isinstance(argument, bytes) else os.fsencode(argument)


# -- the test's side ---------------------------------------------------------------------------------------------------

class FakeSsh(object):
    """``program`` is the path for the setting `ssh.program`; ``folder`` must outlive all calls."""

    def __init__(self, folder):
        self._folder = folder
        self._scenario = {'steps': [['serve']], 'forward': [['forward']], 'users': {}, 'target': None}
        self.program = os.path.join(folder, 'ssh')
        with open(self.program, 'w') as script:
            script.write(LAUNCHER % (sys.executable, os.path.dirname(os.path.abspath(__file__)), folder))
        os.chmod(self.program, 0o755)
        self._write()

    def _write(self):
        # Moved into place: a call may read it at any time.
        path = os.path.join(self._folder, 'scenario')
        with open(path + '.new', 'w') as file:
            json.dump(self._scenario, file)
        os.rename(path + '.new', path)

    def does(self, *steps, **users):
        """What each call does from now on, whoever the user; ``name=[step, ...]`` for what it does as one of them."""
        self._scenario.update(steps=steps, users=users)
        self._write()

    def forwards_by(self, *steps):
        """What calls with `-O forward` do."""
        self._scenario['forward'] = steps
        self._write()

    def leads_to(self, port):
        """Whatever target is asked for: connections go to this port."""
        self._scenario['target'] = port
        self._write()

    def config(self, **options):
        """The configuration of a gateway that uses it."""
        settings = {'program': self.program, 'knownHosts': os.path.join(self._folder, 'known_hosts')}
        return {'ssh': dict(settings, **options)}

    def go(self):
        with open(os.path.join(self._folder, 'go'), 'w'):
            pass

    def notes(self, kind=None):
        """What has been written down, as dicts in the order of time."""
        path = os.path.join(self._folder, 'notes')
        if not os.path.exists(path):
            return []
        with open(path) as file:
            whole = file.read().split('\n')[:-1]
        notes = [json.loads(line) for line in whole]
        return [note for note in notes if kind in (None, note['kind'])]

    def calls(self):
        """The calls that were to log in."""
        return [note for note in self.notes('call') if '-M' in note['argv']]

    def forwardings(self):
        return [note for note in self.notes('call') if '-O' in note['argv']]

    def answers(self):
        """(prompt, what askpass has printed), each a text."""
        return [(note['prompt'], note['printed']) for note in self.notes('answer')]

    def processes(self):
        """The ids of all that was started: the calls, and each askpass."""
        return [note['pid'] for note in self.notes('call') + self.notes('askpass')]

    def alive(self):
        return [pid for pid in self.processes() if is_alive(pid)]


def option_values(argv, flag):
    return [after for before, after in zip(argv, argv[1:]) if before == flag]


def settings(call, name):
    """The values of an option in the file that `-F` names, each a list of words."""
    return [words[1:] for words in call['settings'] if words[0] == name]


def setting(call, name):
    """The value of an option that stands there once, and has one word."""
    (word,), = settings(call, name)
    return word


def forwarding(call):
    """(path, where it leads) of the one forwarding that a call was asked for."""
    (path, target), = settings(call, 'LocalForward')
    return path, target


def private_directory(call):
    """The gateway's directory for the tunnel of a call."""
    return os.path.dirname(option_values(call['argv'], '-S')[0])


@contextlib.contextmanager
def private_temporary_directory():
    """A fresh directory for temporary files, of this process and of those that it starts.

    Its path is short, for there is little room for that of a Unix socket. In the end nothing may be left in it, and no
    process that knows its name.
    """
    path, before, variable = tempfile.mkdtemp(dir='/tmp'), tempfile.tempdir, os.environ.get('TMPDIR')
    tempfile.tempdir = os.environ['TMPDIR'] = path
    try:
        yield path
        assert os.listdir(path) == []
        # Those that ssh has begun are not the gateway's children: it cannot wait until they have died.
        wait_until(lambda: not processes_that_know(path), 1, 'the last process to end')
    finally:
        for pid in processes_that_know(path):  # the next test must not suffer
            kill(pid)
        tempfile.tempdir = before
        if variable is None:
            del os.environ['TMPDIR']
        else:
            os.environ['TMPDIR'] = variable
        shutil.rmtree(path)


# -- processes ---------------------------------------------------------------------------------------------------------

def process_file(pid, name):
    """The content of a file of /proc; empty when the process has ended or is not ours."""
    try:
        with open('/proc/%s/%s' % (pid, name), 'rb') as file:
            return file.read()
    except (IOError, OSError):
        return b''


def process_fields(pid):
    """The fields of /proc/PID/stat from the state on: state, parent, process group, session, ..."""
    return process_file(pid, 'stat').rpartition(b')')[2].split()


def is_alive(pid):
    """A zombie is not: whoever has inherited it has only not looked yet."""
    fields = process_fields(pid)
    return bool(fields) and fields[0] not in (b'Z', b'X')


def kill(pid):
    try:
        os.kill(pid, signal.SIGKILL)
    except OSError:
        pass  # it has just ended


def all_processes():
    return [int(name) for name in os.listdir('/proc') if name.isdigit()]


def processes_that_know(text):
    """Processes other than this one that have ``text`` in their arguments or in their environment."""
    data = text if isinstance(text, bytes) else text.encode('utf-8')
    return [pid for pid in all_processes() if pid != os.getpid()
            and (data in process_file(pid, 'cmdline') or data in process_file(pid, 'environ'))]


# -- the program's side ------------------------------------------------------------------------------------------------

class Call(object):
    """One run of the program."""

    def __init__(self, folder, descriptors):
        # The interpreter itself holds the script open.
        self._descriptors = {fd: path for fd, path in descriptors.items() if path != os.path.realpath(sys.argv[0])}
        self._folder = folder
        self._forwarding = None
        self._argv = [in_text(argument_bytes(argument)) for argument in sys.argv[1:]]
        self._settings = words_of_lines(option_values(self._argv, '-F')[0])
        with open(os.path.join(folder, 'scenario')) as file:
            self._scenario = json.load(file)

    def run(self):
        self._note_call()
        for step in self._steps():
            self.STEPS[step[0]](self, *step[1:])
        while self._forwarding:
            signal.pause()

    def _steps(self):
        if '-O' in self._argv:
            return self._scenario['forward']
        return self._scenario['users'].get(self._values('User')[0][0], self._scenario['steps'])

    def _values(self, name):
        return settings({'settings': self._settings}, name)

    def _note(self, kind, **what):
        line = json.dumps(dict(what, kind=kind)) + '\n'
        fd = os.open(os.path.join(self._folder, 'notes'), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.write(fd, line.encode('ascii'))
        os.close(fd)

    def _note_call(self):
        # Not os.environ: Python itself may have set something in it.
        self._note('call', pid=os.getpid(), argv=self._argv, settings=self._settings,
                   environment=in_text(process_file('self', 'environ')), descriptors=self._descriptors,
                   cwd=os.getcwd(), session=os.getsid(0), group=os.getpgrp())

    def _key(self):
        named = [option.partition('=')[2] for option in option_values(self._argv, '-o')
                 if option.startswith('IdentityFile=')]
        return (option_values(self._argv, '-i') + named + [''])[0]

    # -- steps ---------------------------------------------------------------------------------------------------------

    def _say(self, text):
        write_all(2, in_bytes(text))

    def _flood(self, size):
        block = b'flood...' * 8192
        while size > 0:
            write_all(2, block[:size])
            size -= len(block)
        self._note('flooded')

    def _begin_to_ask(self, prompt, stdin=None):
        askpass = subprocess.Popen([os.environ['SSH_ASKPASS'], prompt.encode('utf-8')], stdin=stdin,
                                   stdout=subprocess.PIPE)
        self._note_askpass(askpass)
        return askpass

    def _ask(self, prompt):
        prompt = prompt.replace('KEY', self._key())
        askpass = self._begin_to_ask(prompt)
        printed = askpass.communicate()[0]
        self._note('answer', prompt=prompt, printed=in_text(printed), status=askpass.returncode)

    def _ask_in_vain(self, prompt):
        self._unanswering, far = socket.socketpair()
        self._begin_to_ask(prompt, far).send_signal(signal.SIGSTOP)
        far.close()

    def _note_askpass(self, process):
        self._note('askpass', pid=process.pid, arguments=in_text(process_file(process.pid, 'cmdline')),
                   environment=in_text(process_file(process.pid, 'environ')))

    def _look(self):
        folder = os.path.dirname(option_values(self._argv, '-S')[0])
        self._note('seen', folder=stat.S_IMODE(os.stat(folder).st_mode), files={
            name: (stat.S_IMODE(os.lstat(os.path.join(folder, name)).st_mode), content_of(os.path.join(folder, name)))
            for name in os.listdir(folder)})

    def _wait(self):
        self._note('waiting')
        while not os.path.exists(os.path.join(self._folder, 'go')):
            time.sleep(0.005)

    def _ignore(self, number):
        signal.signal(number, signal.SIG_IGN)

    def _end(self, status):
        sys.exit(status)

    def _hang(self):
        self._note('hanging')
        while True:
            signal.pause()

    def _serve(self):
        self._forwarding = Forwarding(self._scenario['target'])
        for path, target in self._values('LocalForward'):
            say_line('debug1: Local forwarding listening on path %s.' % path)
            self._forwarding.listen('%s:%s' % (path, target))
        self._forwarding.take_more(option_values(self._argv, '-S')[0])
        say_line('debug1: Entering interactive session.')
        self._note('serving')

    def _forward(self):
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(option_values(self._argv, '-S')[0])
        sock.sendall(in_bytes(':'.join(self._values('LocalForward')[0])) + b'\n')
        sys.exit(0 if sock.recv(1) else 255)

    STEPS = {'say': _say, 'flood': _flood, 'ask': _ask, 'ask-in-vain': _ask_in_vain, 'look': _look, 'wait': _wait,
             'ignore': _ignore, 'end': _end, 'hang': _hang, 'serve': _serve, 'forward': _forward}


def words_of_lines(path):
    """The lines of a file of options, each as the list of its words; an argument may be quoted."""
    with open(path, 'rb') as file:
        lines = in_text(file.read()).split('\n')
    return [[quoted or plain for quoted, plain in re.findall(r'"([^"]*)"|([^\s"]+)', line)]
            for line in lines if line.strip() and not line.lstrip().startswith('#')]


def content_of(path):
    """None for a socket and what else cannot be read."""
    try:
        with open(path, 'rb') as file:
            return in_text(file.read())
    except (IOError, OSError):
        return None


def write_all(fd, data):
    while data:
        data = data[os.write(fd, data):]


def say_line(text):
    write_all(2, in_bytes(text) + b'\r\n')


class Forwarding(object):
    """What `ssh -N -M -L` does with connections to its local end."""

    def __init__(self, target):
        self._target = target
        self._numbers = itertools.count(CHANNEL_OF_FIRST_CONNECTION)

    def listen(self, specification):
        """For PATH:HOST:PORT."""
        path, _, rest = specification.partition(':')
        host, _, port = rest.rpartition(':')
        accept_in_thread(path, lambda sock: self._open(sock, host.strip('[]'), int(port)))

    def take_more(self, path):
        """Listen on the control socket."""
        accept_in_thread(path, self._add)

    def _add(self, sock):
        specification = sock.makefile('rb').readline()
        self.listen(in_text(specification.rstrip(b'\n')))
        sock.sendall(b'.')

    def _open(self, sock, host, port):
        number = next(self._numbers)
        say_line('debug1: channel %d: new direct-tcpip [direct-tcpip] (inactive timeout: 0)' % number)
        try:
            there = socket.create_connection(('127.0.0.1', self._target) if self._target else (host, port), 10)
        except socket.gaierror:
            say_line('channel %d: open failed: connect failed: Name or service not known' % number)
        except (IOError, OSError) as error:
            say_line('channel %d: open failed: connect failed: %s' % (number, os.strerror(error.errno or errno.EIO)))
        else:
            there.settimeout(None)
            say_line('debug2: channel %d: open confirm rwindow 2097152 rmax 32768' % number)
            backward = in_thread(copy, there, sock)
            copy(sock, there)
            backward.join()
            there.close()
        sock.close()


def in_thread(function, *arguments):
    thread = threading.Thread(target=function, args=arguments)
    thread.daemon = True
    thread.start()
    return thread


def accept_in_thread(path, on_connection):
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(16)

    def accept():
        while True:
            in_thread(on_connection, listener.accept()[0])

    in_thread(accept)


def copy(source, sink):
    """Until the source has ended; then that is passed on."""
    try:
        data = source.recv(65536)
        while data:
            sink.sendall(data)
            data = source.recv(65536)
        sink.shutdown(socket.SHUT_WR)
    except (IOError, OSError):
        for sock in (source, sink):
            sock.close()
