"""The order of ws2s.py: each check is a function of source text, and is shown a broken sample too."""
import ast
import io
import json
import os
import re
import shutil
import subprocess
import sys

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PATH = os.path.join(ROOT, 'ws2s.py')

with io.open(PATH, encoding='utf-8') as text_of_ws2s:
    SOURCE = text_of_ws2s.read()

PURE_ROOMS = range(2, 9)

# What pure rooms may use of the modules that the file imports; any other is the world.
PURE_MODULES = set('''absolute_import division base64 binascii codecs collections encodings errno fnmatch
                      hashlib heapq itertools json re struct'''.split())
WORLD_NAMES = set('open file input raw_input print monotonic Poller close_on_exec send_chunks'.split())

BANNER = re.compile(r'^# =+\n# (\d+)\. (.+)\n# =+\n', re.MULTILINE)
PYTHON_2_WORDS = re.compile(r'\b(PY2|version_info|basestring|xrange|raw_input|iteritems|__nonzero__)\b|'
                            r'\bPython 2\b|(?<![\d.])2\.7\b')
PYTHON_2_NAMES = set(['unicode', 'long', 'unichr', 'cmp', 'reduce', 'buffer'])

FUNCTIONS = (ast.FunctionDef, ast.Lambda)
COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
SCOPES = FUNCTIONS + COMPREHENSIONS + (ast.ClassDef,)


def parsed(source):
    """The tree; Python 2 takes no coding line in text."""
    return ast.parse(re.sub(r'^# -\*- coding.*', '#', source, flags=re.MULTILINE).encode('utf-8'))


# --- Rooms ----------------------------------------------------------------------------------------

def banners(source):
    return [(int(number), title) for number, title in BANNER.findall(source)]


def listed_rooms(source):
    """The rooms in the list of the module docstring."""
    return [(int(number), title) for number, title in
            re.findall(r'^ *(\d+)\. (\S+(?: \S+)*) {2,}\S', ast.get_docstring(parsed(source)), re.MULTILINE)]


def room_at(source):
    """A function: line number -> room; what stands before the first banner is room 0."""
    starts = [(source.count('\n', 0, found.start()) + 1, int(found.group(1)))
              for found in BANNER.finditer(source)]

    def room(line):
        return max([number for start, number in starts if start <= line] or [0])
    return room


# --- Names ----------------------------------------------------------------------------------------

def own_nodes(scope):
    """The nodes of a scope, not those within scopes of its own."""
    waiting = list(ast.iter_child_nodes(scope))
    while waiting:
        node = waiting.pop()
        yield node
        if not isinstance(node, SCOPES):
            waiting += ast.iter_child_nodes(node)


def bound_names(scope):
    """(name, line) of all that a scope defines: assigned, imported, caught, parameters."""
    declared_global = set(name for node in own_nodes(scope) if isinstance(node, ast.Global)
                          for name in node.names)
    for node in own_nodes(scope):
        names = []
        if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            names = [node.id]
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            names = [(alias.asname or alias.name).split('.')[0] for alias in node.names]
        elif isinstance(node, (ast.ClassDef, ast.FunctionDef)):
            names = [node.name]
        elif isinstance(node, ast.ExceptHandler) or type(node).__name__ == 'arg':
            names = [getattr(node, 'arg', getattr(node, 'name', None))]
        elif isinstance(node, ast.arguments):
            names = [node.vararg, node.kwarg]
        for name in names:
            if not isinstance(name, ast.AST) and name and name not in declared_global:
                yield name, getattr(node, 'lineno', 0)


def global_uses(scope, hidden=frozenset()):
    """(name, line) of each name that a module-level definition answers, in the whole of ``scope``."""
    bound = set(name for name, _ in bound_names(scope))
    known = hidden if isinstance(scope, ast.Module) else hidden | bound
    # Functions within a class do not see its names.
    inner = hidden if isinstance(scope, ast.ClassDef) else known
    for node in own_nodes(scope):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and node.id not in known:
            yield node.id, node.lineno
        elif isinstance(node, SCOPES):
            for use in global_uses(node, inner):
                yield use


def used_before_defined(source):
    """Names of the module that an earlier room uses than the one that defines them."""
    tree, room = parsed(source), room_at(source)
    home = {}
    for name, line in bound_names(tree):
        home[name] = min(room(line), home.get(name, 99))
    return sorted('line %d: %s of room %d in room %d' % (line, name, home[name], room(line))
                  for name, line in global_uses(tree) if home.get(name, 0) > room(line))


def world_in_pure_rooms(source):
    """Names in rooms 2-8 that touch sockets, clocks, threads, files, logs, or import anything."""
    tree, room = parsed(source), room_at(source)
    imports = [node for node in ast.walk(tree) if isinstance(node, (ast.Import, ast.ImportFrom))]
    imported = set((alias.asname or alias.name).split('.')[0] for node in imports for alias in node.names)
    world = (imported - PURE_MODULES) | WORLD_NAMES
    uses = [(name, line) for name, line in global_uses(tree) if name in world]
    uses += [('import', node.lineno) for node in imports]
    uses += [('print', node.lineno) for node in ast.walk(tree) if type(node).__name__ == 'Print']
    return sorted('line %d: %s' % (line, name) for name, line in uses if room(line) in PURE_ROOMS)


def python_2_talk(source):
    """What stands after room 1 and speaks of an old Python, in code or comments."""
    room = room_at(source)
    talk = [(number, found.group()) for number, line in enumerate(source.split('\n'), 1)
            for found in PYTHON_2_WORDS.finditer(line)]
    talk += [(line, name) for name, line in global_uses(parsed(source)) if name in PYTHON_2_NAMES]
    return sorted('line %d: %s' % (line, word) for line, word in talk if room(line) > 1)


def function_sizes(source):
    """(lines, name) of every function, to the line where its last token begins."""
    functions = [node for node in ast.walk(parsed(source)) if isinstance(node, ast.FunctionDef)]
    return sorted((max(getattr(one, 'lineno', 0) for one in ast.walk(node)) - node.lineno + 1, node.name)
                  for node in functions)


# --- ws2s.py and ws2sd ----------------------------------------------------------------------------

PROGRAMS = {'ws2s.py': 14, 'ws2sd': 6}

of_each_program = pytest.mark.parametrize('name', sorted(PROGRAMS))


def source_of(name):
    with io.open(os.path.join(ROOT, name), encoding='utf-8') as file:
        return file.read()


@of_each_program
def test_docstring_lists_the_rooms_of_the_banners(name):
    source = source_of(name)
    assert listed_rooms(source) == banners(source)
    assert [number for number, _ in banners(source)] == list(range(1, PROGRAMS[name] + 1))


@of_each_program
def test_names_are_used_in_their_own_room_or_a_later_one(name):
    assert used_before_defined(source_of(name)) == []


def test_rooms_2_to_9_do_not_touch_the_world():
    assert world_in_pure_rooms(SOURCE) == []


def test_no_room_but_the_first_speaks_of_old_pythons():
    assert python_2_talk(SOURCE) == []


@of_each_program
def test_functions_are_short(name):
    sizes = function_sizes(source_of(name))
    assert [size for size in sizes if size[0] > 60] == []
    assert sizes[len(sizes) // 2][0] < 10


# --- The checks themselves ------------------------------------------------------------------------

def house(*rooms):
    """A module of these rooms, numbered from 1."""
    line = '# ' + '=' * 20 + '\n'
    listed = ''.join('    %2d. Room   of things\n' % (i + 1) for i in range(len(rooms)))
    body = ''.join('%s# %d. Room\n%s%s\n' % (line, i + 1, line, room) for i, room in enumerate(rooms))
    return u'"""A house:\n\n%s"""\nimport os, re, time as clock\n%s' % (listed, body)


def test_a_missing_or_renamed_room_is_seen():
    whole = house('a = 1', 'b = 2', 'c = 3')
    assert listed_rooms(whole) == banners(whole) == [(1, 'Room'), (2, 'Room'), (3, 'Room')]
    for broken in (whole.replace('# 2. Room', '# 2. Rome'), whole.replace('# 3.', '# 4.'),
                   whole.replace('     2. Room   of things\n', '')):
        assert listed_rooms(broken) != banners(broken)


@pytest.mark.parametrize('first', [
    'y = x', 'def f(): return x', 'def f(a=x): pass', 'class C(object):\n    def m(self): return x()',
    'class C(x): pass', '@x\ndef f(): pass', 'f = lambda a: x', 'y = [a for a in x]', 'y = [x for a in ()]',
    'def f(x):\n    pass\ny = x', 'class C(object):\n    x = 1\n    def m(self): return x',
    'def f():\n    def g():\n        x = 1\n    return x', 'if True:\n    y = x', 'y = x.z[0]',
    'def f():\n    global x\n    x = x + 1', 'try: pass\nexcept x: pass'])
@pytest.mark.parametrize('second', [
    'x = 2', 'def x(): pass', 'class x(object): pass', 'import x', 'if True:\n    x = 2', 'for x in (): pass',
    'from a import b as x'])
def test_use_before_definition_is_seen(first, second):
    broken = house(first, second)
    assert [line.split(': ')[1] for line in used_before_defined(broken)] == ['x of room 2 in room 1']
    assert used_before_defined(house(second, first)) == []


@pytest.mark.parametrize('first', [
    'def f(x): return x', 'def f(*x): return x', 'def f(**x): return x', 'def f():\n    x = 1\n    return x',
    'def f():\n    for x in (): print(x)', 'y = [x for x in ()]', 'f = lambda x: x', 'y = os.x', 'f(x=1)',
    'def f():\n    import x\n    x.y()', 'def f():\n    with os as x: x()',
    'class C(object):\n    x = 1\n    y = x',
    'def f():\n    try: pass\n    except OSError as x: raise x', 'def f():\n    x = 1\n    def g(): return x',
    '"x"', '# x', 'def f():\n    return [x for a in () for x in a if x]'])
def test_local_names_are_not_taken_for_those_of_a_later_room(first):
    assert used_before_defined(house(first, 'x = 2')) == []


@pytest.mark.parametrize('dirty', [
    'os.getpid()', 'def f(): return clock.time()', 'def f(): open("x")', 'import re', 'print("x")',
    'def f():\n    from re import match', 'f = open', 'class C(object):\n    def m(self, a=os): pass',
    'now = monotonic()'])
def test_the_world_is_seen_in_pure_rooms_only(dirty):
    assert world_in_pure_rooms(house('', dirty)) != []
    assert world_in_pure_rooms(house(dirty)) == []
    assert world_in_pure_rooms(house(*[''] * 7 + [dirty])) != []
    assert world_in_pure_rooms(house(*[''] * 8 + [dirty])) == []


@pytest.mark.parametrize('clean', ['re.match("a", "b")', 'def f(os): return os', '# os.open, time, print',
                                   'class Open(object): pass', 'def f(self): self.open(); self.os.print_()'])
def test_pure_code_is_not_taken_for_the_world(clean):
    assert world_in_pure_rooms(house('', clean)) == []


@pytest.mark.parametrize('talk', [
    '# as in Python 2', 'x = 1  # 2.7 only', 'PY2', 'unicode("x")', 'def f(n): return long(n)', 'xrange(3)',
    'x = {}.iteritems()', 'def __nonzero__(self): pass', '"""On 2.7"""', 'isinstance("", basestring)',
    'x.version_info'])
def test_talk_of_old_pythons_is_seen_outside_room_1_only(talk):
    assert python_2_talk(house('', talk)) != []
    assert python_2_talk(house(talk, '')) == []


@pytest.mark.parametrize('fine', [
    '# a long text', 'x = 12.7', 'x = "10.2.7.1"', '"unicode_escape"', 'def f(long): return long'])
def test_plain_words_are_not_taken_for_talk_of_old_pythons(fine):
    assert python_2_talk(house('', fine)) == []


def test_sizes_of_functions_are_counted():
    source = house('def f():\n    a = 1\n\n    return a\n\n\nclass C(object):\n    def m(self): pass')
    assert function_sizes(source) == [(1, 'm'), (4, 'f')]
    assert function_sizes(house('def f():\n' + '    x = 1\n' * 60)) == [(61, 'f')]


# --- Importing ------------------------------------------------------------------------------------

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
