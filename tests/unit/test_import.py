"""Importing ws2s leaves no trace: the check is a probe in a fresh process, and is shown careless modules too."""
import json
import os
import shutil
import subprocess
import sys

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PATH = os.path.join(ROOT, 'ws2s.py')

PROBE = r'''
import json, logging, os, signal, sys, threading

def descriptors():
    found = []
    for fd in range(256):
        try:
            os.fstat(fd)
        except OSError:
            continue
        found.append(fd)
    return found

def handlers():
    loggers = [logging.getLogger(name) for name in list(logging.root.manager.loggerDict)] + [logging.root]
    kinds = [type(one) for logger in loggers for one in logger.handlers]
    return [kind.__name__ for kind in kinds if kind is not logging.NullHandler]

def umask():
    mask = os.umask(0o77)
    os.umask(mask)
    return mask

def state():
    return {'descriptors': descriptors(), 'threads': threading.active_count(), 'umask': umask(),
            'logging': [handlers(), logging.root.level], 'environment': sorted(os.environ.items()),
            'signals': [str(signal.getsignal(number)) for number in range(1, signal.NSIG)]}

sys.path.insert(0, sys.argv[1])
before = state()
import SUBJECT
after = state()
sys.stdout.write('\n' + json.dumps(sorted(key for key in before if before[key] != after[key])))
sys.stdout.flush()
sys.stderr.flush()
os._exit(0)
'''


def traces_of_import(folder, name, scratch):
    """What importing the module has changed in a fresh process: words of the probe, 'output', 'files'."""
    environ = dict(os.environ, PYTHONDONTWRITEBYTECODE='1', HOME=scratch, TMPDIR=scratch)
    environ.pop('PYTHONPATH', None)
    files = sorted(os.listdir(folder))
    child = subprocess.Popen([sys.executable, '-c', PROBE.replace('SUBJECT', name), folder], cwd=scratch,
                             env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    out, err = child.communicate()
    assert child.returncode == 0, err.decode('utf-8')
    printed, _, changed = out.decode('utf-8').rpartition('\n')
    traces = json.loads(changed)
    return traces + ['output'] * bool(printed or err) + ['files'] * (sorted(os.listdir(folder)) != files
                                                                     or os.listdir(scratch) != [])


def test_import_leaves_no_trace(tmpdir):
    # A copy in a folder of its own: what others write beside the original is not to be seen.
    shutil.copy(PATH, str(tmpdir.mkdir('module')))
    assert traces_of_import(str(tmpdir.join('module')), 'ws2s', str(tmpdir.mkdir('scratch'))) == []


@pytest.mark.parametrize('line, trace', [
    ('import os; kept = os.pipe()', ['descriptors']),
    ('from threading import *; t = Thread(target=Event().wait); t.daemon = True; t.start()', ['threads']),
    ('import logging; logging.basicConfig()', ['logging']),
    ('import logging; logging.getLogger("ws2s").addHandler(logging.StreamHandler())', ['logging']),
    ('import logging; logging.getLogger("ws2s").addHandler(logging.NullHandler())', []),
    ('import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)', ['signals']),
    ('import os; os.umask(0o123)', ['umask']), ('import os; os.environ["A_NEW_ONE"] = "1"', ['environment']),
    ('print("hello")', ['output']), ('import sys; sys.stderr.write("hello")', ['output']),
    ('open("here", "w").close()', ['files']),
    ('import os; open(os.path.expanduser("~/.ws2s"), "w").close()', ['files']), ('x = 1', [])])
def test_traces_of_an_import_are_seen(line, trace, tmpdir):
    tmpdir.mkdir('module').join('careless.py').write(line)
    assert traces_of_import(str(tmpdir.join('module')), 'careless', str(tmpdir.mkdir('scratch'))) == trace
