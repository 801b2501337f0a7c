"""The order of ws2s.py: each check is a function of source text, and is shown a broken sample too."""
import ast
import collections
import hashlib
import importlib
import inspect
import io
import os
import re
import threading

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PATH = os.path.join(ROOT, 'ws2s.py')

with io.open(PATH, encoding='utf-8') as text_of_ws2s:
    SOURCE = text_of_ws2s.read()

pytestmark = pytest.mark.independent

PURE_ROOMS = range(2, 9)

# What pure rooms may use of the modules that the file imports; any other is the world.
PURE_MODULES = set('''absolute_import division base64 binascii codecs collections encodings errno fnmatch
                      hashlib heapq hmac itertools json re struct unicodedata zlib'''.split())
WORLD_NAMES = set('open file input raw_input print monotonic Poller close_on_exec send_chunks'.split())

BANNER = re.compile(r'^# =+\n# (\d+)\. (.+)\n# =+\n', re.MULTILINE)
PYTHON_2_WORDS = re.compile(r'\b(PY2|version_info|basestring|xrange|raw_input|iteritems|__nonzero__)\b|'
                            r'\bPython 2\b|(?<![\d.])2\.7\b')
PYTHON_2_NAMES = set(['unicode', 'long', 'unichr', 'cmp', 'reduce', 'buffer'])

IMPORTS = (ast.Import, ast.ImportFrom)
FUNCTIONS = (ast.FunctionDef, ast.Lambda)
COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
SCOPES = FUNCTIONS + COMPREHENSIONS + (ast.ClassDef,)

OURSELVES = ('self', 'cls')
GETTERS = ('getattr', 'setattr', 'hasattr', 'delattr')
TUPLE_NAMES = dir(collections.namedtuple('Empty', ''))
NAMELESS = (re.compile(''), re.match('', ''), hashlib.sha1(), threading.Lock())  # of classes that no module names
NOT_EVERYWHERE = set(['Queue', 'queue', 'selectors'])  # modules of some Pythons only


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


def imported_names(node):
    return [(alias.asname or alias.name).split('.')[0] for alias in node.names]


def bound_names(scope):
    """(name, line) of all that a scope defines: assigned, imported, caught, parameters."""
    declared_global = set(name for node in own_nodes(scope) if isinstance(node, ast.Global)
                          for name in node.names)
    for node in own_nodes(scope):
        names = []
        if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            names = [node.id]
        elif isinstance(node, IMPORTS):
            names = imported_names(node)
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


def given_twice(source):
    """Names of the module that two of its statements bind, at its left margin: the second would change the first."""
    names = collections.Counter()
    for node in parsed(source).body:
        if isinstance(node, ast.Assign):
            names.update(part.id for target in node.targets for part in ast.walk(target)
                         if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store))
        elif isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            names[node.name] += 1
    return sorted(name for name in names if names[name] > 1)


def world_in_pure_rooms(source):
    """Names in rooms 2-8 that touch sockets, clocks, threads, files, logs, or import anything."""
    tree, room = parsed(source), room_at(source)
    imports = [node for node in ast.walk(tree) if isinstance(node, IMPORTS)]
    imported = set(name for node in imports for name in imported_names(node))
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


# --- Attributes -----------------------------------------------------------------------------------

def last_name(node):
    """What an expression is called: x of `x`, of `self._a.x` and of `x(1)`; nothing for others."""
    node = node.func if isinstance(node, ast.Call) else node
    return getattr(node, 'attr', getattr(node, 'id', ''))


def words(node):
    """Those in the literal strings of an expression."""
    fields = {'Str': 's', 'Constant': 'value'}
    texts = [getattr(one, fields.get(type(one).__name__, ''), None) for one in ast.walk(node)]
    return [word for text in texts if isinstance(text, (str, type(u''))) for word in re.findall(r'\w+', text)]


def class_attributes(tree):
    """(name, line) of what classes have: methods, names, slots, fields, and what is assigned to ``self``."""
    changed = [node.target for node in ast.walk(tree) if isinstance(node, ast.AugAssign)]
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.ClassDef):
            names = [name for name, _ in bound_names(node)]
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and node not in changed:
            names = [node.attr] * (getattr(node.value, 'id', None) in OURSELVES)
        elif isinstance(node, ast.Assign) and last_name(node.targets[0]) == '__slots__':
            names = words(node.value)
        elif isinstance(node, ast.Call) and last_name(node) == 'namedtuple':
            names = words(node.args[1])
        for name in names:
            yield name, node.lineno


def attribute_uses(tree):
    """(name, the expression it is of, line) of every attribute but those of modules."""
    modules = set(name for node in ast.walk(tree) if isinstance(node, IMPORTS) for name in imported_names(node))
    modules = set(use for use in global_uses(tree) if use[0] in modules)
    for node in ast.walk(tree):
        names, owner = [], None
        if isinstance(node, ast.Attribute):
            names, owner = [node.attr], node.value
        elif isinstance(node, ast.Call) and last_name(node) in GETTERS and len(node.args) > 1:
            names, owner = words(node.args[1]), node.args[0]
        root = owner
        while isinstance(root, ast.Attribute):
            root = root.value
        for name in names:
            if (getattr(root, 'id', None), getattr(root, 'lineno', None)) not in modules:
                yield name, owner, node.lineno


def rooms_of(pairs, room):
    """Name -> rooms, of pairs (name, line)."""
    found = {}
    for name, line in pairs:
        found.setdefault(name, set()).add(room(line))
    return found


def foreign_attributes(tree):
    """Attributes of all that comes from below: builtins, classes of imported modules, and of ws2s for ws2sd."""
    names = set(alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names)
    names |= set(['io', 'types', type(u'').__module__])
    found = set(name for one in NAMELESS for name in dir(one))
    if 'ws2s' in names:
        found |= set(name for name, _ in class_attributes(parsed(SOURCE)))
    for name in names - NOT_EVERYWHERE - set(['ws2s']):
        kinds = inspect.getmembers(importlib.import_module(name), inspect.isclass)
        found |= set(attribute for _, kind in kinds for attribute in dir(kind))
    return found


def used_upward(source, owners):
    """Attributes that only classes of later rooms have, and any of what is named as such a class (`self._session.x`).

    ``owners``: room -> the verbs that it may use all the same; what has no need of an entry is told, too.
    """
    tree, room = parsed(source), room_at(source)
    home = rooms_of(class_attributes(tree), room)
    for name in foreign_attributes(tree):
        home.pop(name, None)
    classes = rooms_of(((node.name.lower(), node.lineno) for node in ast.walk(tree)
                        if isinstance(node, ast.ClassDef)), room)
    listed = set((number, verb) for number in owners for verb in owners[number].split())
    needed, found = set(), []
    for name, owner, line in attribute_uses(tree):
        here, kind = room(line), last_name(owner).replace('_', '').lower()
        there = max(min(home.get(name, [0])), min(classes.get(kind, [0])))
        if there > here and (here, name) in listed:
            needed.add((here, name))
        elif there > here:
            found.append('line %d: %s of room %d in room %d' % (line, name, there, here))
    return sorted(found) + sorted('room %d has no need of %s' % pair for pair in listed - needed)


def private_elsewhere(source):
    """Names with an underscore of an object of another room."""
    tree, room = parsed(source), room_at(source)
    home = rooms_of(class_attributes(tree), room)
    return sorted('line %d: %s in room %d' % (line, name, room(line)) for name, owner, line in attribute_uses(tree)
                  if name.startswith('_') and not name.endswith('__') and name not in TUPLE_NAMES and
                  getattr(owner, 'id', None) not in OURSELVES and room(line) not in home.get(name, ()))


# --- Sizes ----------------------------------------------------------------------------------------

def lines_of(node):
    """To the line where the last token begins."""
    return max(getattr(one, 'lineno', 0) for one in ast.walk(node)) - node.lineno + 1


def function_sizes(source):
    """(lines, name) of every function."""
    return sorted((lines_of(node), node.name) for node in ast.walk(parsed(source))
                  if isinstance(node, ast.FunctionDef))


def class_sizes(source):
    """(lines, methods, name) of every class."""
    return sorted((lines_of(node), sum(isinstance(one, ast.FunctionDef) for one in own_nodes(node)), node.name)
                  for node in ast.walk(parsed(source)) if isinstance(node, ast.ClassDef))


# --- ws2s.py and ws2sd ----------------------------------------------------------------------------

# What a room may use of those above it: of each program, room -> verbs that it calls on whoever it works for, and that
# no class of the room declares. A verb that is used no more, or is declared meanwhile, must go.
OWNERS = {
    'ws2s.py': {},
    'ws2sd': {},
}

of_each_program = pytest.mark.parametrize('name', sorted(OWNERS))


def source_of(name):
    with io.open(os.path.join(ROOT, name), encoding='utf-8') as file:
        return file.read()


@of_each_program
def test_docstring_lists_the_rooms_of_the_banners(name):
    source = source_of(name)
    assert listed_rooms(source) == banners(source)
    assert [number for number, _ in banners(source)] == list(range(1, len(banners(source)) + 1))


@of_each_program
def test_names_are_used_in_their_own_room_or_a_later_one(name):
    assert used_before_defined(source_of(name)) == []


@of_each_program
def test_no_name_of_the_module_is_given_twice(name):
    assert given_twice(source_of(name)) == []


def test_a_name_that_is_given_twice_is_seen():
    assert given_twice('A = 1\nB = 2\nA, C = 3, 4\n') == ['A']
    assert given_twice('if X:\n    A = 1\nelse:\n    A = 2\nfor x in (): pass\nfor x in (): pass') == []


@of_each_program
def test_no_room_reaches_up_into_objects_of_a_later_one(name):
    assert used_upward(source_of(name), OWNERS[name]) == []


@of_each_program
def test_private_names_are_used_in_their_own_room(name):
    assert private_elsewhere(source_of(name)) == []


def test_rooms_2_to_8_do_not_touch_the_world():
    assert world_in_pure_rooms(SOURCE) == []


@of_each_program
def test_no_room_but_the_first_speaks_of_old_pythons(name):
    assert python_2_talk(source_of(name)) == []


@of_each_program
def test_functions_and_classes_are_short(name):
    functions, classes = function_sizes(source_of(name)), class_sizes(source_of(name))
    assert [size for size in functions if size[0] > 40] == []
    assert functions[len(functions) // 2][0] < 10
    assert [size for size in classes if size[0] > 250 or size[1] > 25] == []


@pytest.mark.parametrize('name, most', [('ws2s.py', 10950), ('ws2sd', 2600)])
def test_a_program_has_at_most_so_many_lines(name, most):
    assert source_of(name).count('\n') <= most


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


def up(source, owners=()):
    """What is used upward, without the lines."""
    return [line.split(': ')[-1] for line in used_upward(source, dict(owners))]


LATE = 'class C(object):\n    late = 1'
METHOD = 'class D(object):\n    def m(self): '


@pytest.mark.parametrize('first', [
    'a.late', 'a.late = 1', 'a.late()', 'a.late += 1', 'del a.late', 'a.late.b = 1', 'a.b.late[0].c()', 'a().late',
    'a[0].late', 'a, b.late = 1, 2', 'f = lambda a: a.late', '[a.late for a in ()]', '[a for a in b.late if a]',
    '{a.late: 1 for a in ()}', 'f(*a.late)', 'f(late=a.late)', 'a.late if a else 0', 'def f(b=a.late): pass',
    'def f():\n    return lambda: a.late', '@a.late\ndef f(): pass', '@f(a.late)\nclass D(object): pass',
    'class D(a.late): pass', 'class D(object):\n    b = a.late', 'for a.late in (): pass',
    'with a as b.late: pass', 'try: pass\nexcept a.late: pass', 'raise a.late', 'assert a, a.late',
    'getattr(a, "late")', 'getattr(a.b(), "late", None)()', 'setattr(a, "late", 1)', 'hasattr(a, "late")',
    'delattr(a, "late")', METHOD + 'self.late()', METHOD + 'self._a.b.late()', METHOD + 'self.late += 1',
    METHOD + 'del self.late', 'os.getpid().late', 'def f(os): return os.late', 'def f(late): late.late',
    '(\n    a\n).late'])
def test_an_attribute_of_a_later_room_is_seen(first):
    assert up(house(first, LATE)) == ['late of room 2 in room 1']
    assert up(house('', first, '', LATE)) == ['late of room 4 in room 2']
    assert up(house(LATE, first)) == up(house(LATE, first, LATE)) == up(house(first + '\n' + LATE, '')) == []


@pytest.mark.parametrize('second', [
    'class C(object):\n    def late(self): pass', 'class C(object):\n    @property\n    def late(self): pass',
    'class C(object):\n    a, (b, late) = 1, (2, 3)', 'class C(object):\n    class late(object): pass',
    'class C(object):\n    if 1:\n        late = 1', 'def f():\n    class C(object):\n        late = 1',
    'class C(object):\n    __slots__ = ("a", "late")', 'class C(object):\n    __slots__ = "a late".split()',
    'class C(object):\n    __slots__ = B.__slots__ + ("late",)', METHOD + 'self.late = 1',
    METHOD + 'self.a = self.late = 1', METHOD + 'self.a, (b, self.late) = 1, (2, 3)',
    METHOD + '\n        for self.late in (): pass', METHOD + '\n        def f(): self.late = 1',
    'class C(object):\n    @classmethod\n    def m(cls): cls.late = 1',
    'C = collections.namedtuple("C", "a late")', 'C = namedtuple("C", "a, late")',
    'class C(namedtuple("C", ["a", "late"])): pass'])
def test_whatever_gives_a_class_an_attribute_is_seen(second):
    assert up(house('a.late', second)) == ['late of room 2 in room 1']
    assert up(house(second, 'a.late', second)) == []


@pytest.mark.parametrize('first', [
    'late = 1', 'late.a()', 'f(late=1)', '"a.late"', '# a.late', 'a["late"]', 'def f(late): return late',
    'getattr(a, late)', 'os.late', 'os.path.late()', 'clock.late = 1', 'def f(): return os.late',
    'getattr(os, "late")', 'f(a, "late")', 'a.unknown', METHOD + 'self.late = self.late',
    'def f():\n    class D(object):\n        late = 1\n    D().late'])
def test_other_names_are_not_taken_for_attributes_of_a_later_room(first):
    assert up(house(first, LATE)) == []


@pytest.mark.parametrize('first', [
    '[].append(1)', 'u"".format(1)', 'a.items()', 'a.__class__', 'open("x").read()', 're.match("", "").group()',
    'a.pattern', 'os.stat("x").st_size', 'clock.gmtime().tm_year', 'a.sha1().digest()',
    'try: pass\nexcept OSError as error: error.errno'])
def test_attributes_of_the_standard_library_are_not_taken_for_those_of_a_later_room(first):
    names = 'append format items __class__ read group pattern st_size tm_year digest errno'.split()
    assert up(house(first, 'class C(object):\n' + ''.join('    %s = 1\n' % name for name in names))) == []


@pytest.mark.parametrize('first', [
    'session.a', 'session.a()', 'def f(_session): _session.a = 1', 'gate.session.a', METHOD + 'self._session.a.b()',
    METHOD + 'return self.session().a', 'def f(session): getattr(session, "a")', '[session.a for session in ()]'])
def test_an_object_that_is_named_as_a_class_of_a_later_room_is_seen(first):
    session, elsewhere = 'class Session(object): pass', 'class D(object):\n    a = b = 1\n\n'  # `a` is everybody's
    assert up(house(first, session)) == up(house(elsewhere + first, session)) == ['a of room 2 in room 1']
    assert up(house(first.replace('session', 'next_session'), session.replace('S', 'NextS'))) != []
    assert up(house(session, first)) == up(house(first, 'class Sessions(object): pass')) == []


def test_a_verb_of_the_contract_is_called_by_its_own_room_only_and_is_in_use():
    call, verb = METHOD + 'self._owner.late(self)', 'class C(object):\n    def late(self, a): pass'
    assert up(house(call, verb), {1: 'late'}) == up(house(verb + '\n\n' + call, verb)) == []
    assert up(house(call, call, verb), {1: 'late'}) == ['late of room 3 in room 2']
    assert up(house(call, verb), {1: 'late gone'}) == ['room 1 has no need of gone']
    assert up(house(verb, call, verb), {2: 'late'}) == ['room 2 has no need of late']
    assert up(house('session.late()', verb.replace('C', 'Session')), {1: 'late'}) == []


@pytest.mark.parametrize('use', [
    'a._x', 'a._x = 1', 'a._x()', 'a.b._x.c', 'a()._x', 'C._x', 'lambda a: a._x', 'getattr(a, "_x")', 'del a._x',
    'os.getpid()._x', METHOD + 'self._a._x', METHOD + 'return [one._x for one in self]', 'def f(os): os._x',
    'a.self._x', 'a.__x'])
def test_private_names_of_another_room_are_seen(use):
    private = 'class C(object):\n    _x = __x = 1'
    for broken in (house(private, use), house(use, private)):
        assert len(private_elsewhere(broken)) == 1
    assert private_elsewhere(house(private + '\n' + use, '')) == []


@pytest.mark.parametrize('fine', [
    METHOD + 'self._x', 'def f(cls): cls._x', 'os._exit(0)', 'a.__enter__()', 'a.__init__(self)', 'a._replace(b=1)',
    'a._fields', '_x', 'f(_x=1)', METHOD + 'self._x.y', '# a._x', METHOD + 'getattr(self, "_x")'])
def test_own_private_names_and_those_of_modules_are_not_taken_for_those_of_another_room(fine):
    assert private_elsewhere(house(fine, 'class C(object):\n    _x = 1')) == []


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


def test_sizes_of_functions_and_classes_are_counted():
    source = house('def f():\n    a = 1\n\n    return a\n\n\nclass C(object):\n    def m(self): pass\n\n'
                   '    class D(object):\n        def d(self): pass\n\n    if n:\n        def n(self): pass')
    assert function_sizes(source) == [(1, 'd'), (1, 'm'), (1, 'n'), (4, 'f')]
    assert class_sizes(source) == [(2, 1, 'D'), (8, 2, 'C')]
    assert function_sizes(house('def f():\n' + '    x = 1\n' * 60)) == [(61, 'f')]
