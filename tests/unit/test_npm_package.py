# -*- coding: utf-8 -*-
"""package.json of ws2s-js/: its version is the gateway's, and what it names is there."""

import os
import re

import pytest

import npm_package
import ws2s

pytestmark = pytest.mark.independent

MANIFEST = npm_package.manifest()
IMPORTED = re.compile(r'''\b(?:from|import|require\(|import\() *['"](?:\./)?(\.?[^'"]+\.m?js)['"]''')
NODES = {'buffer', 'events', 'stream'}  # modules of Node that bundlers have packages for


def semantic(version):
    """A version of Python's kind in npm's words: 3.0.0.dev0 is 3.0.0-dev.0, 3.0.0rc1 is 3.0.0-rc.1."""
    numbers, word, number = re.match(r'(\d+\.\d+\.\d+)(?:\.?(a|b|rc|dev)(\d+))?\Z', version).groups()
    return numbers + ('-%s.%s' % (word, number) if word else '')


def targets(entry):
    """The files that an entry of `exports` leads to."""
    if not isinstance(entry, dict):
        return [entry]
    return [target for value in entry.values() for target in targets(value)]


def named():
    """What package.json names besides `files`, without the ./ before."""
    found = [MANIFEST['main'], MANIFEST['types']] + MANIFEST['sideEffects'] + targets(MANIFEST['exports'])
    found += [path for paths in MANIFEST.get('typesVersions', {}).get('*', {}).values() for path in paths]
    assert all(path.startswith('./') for path in found)
    return sorted(set(path[2:] for path in found))


def modules():
    return [name for name in MANIFEST['files'] if name.endswith(('.js', '.mjs', '.ts', '.mts'))]


def text_of(name):
    return npm_package.text_of(os.path.join(npm_package.LIBRARY, name))


@pytest.mark.parametrize('python, npm', [
    ('3.0.0', '3.0.0'), ('3.0.0.dev0', '3.0.0-dev.0'), ('3.1.12rc1', '3.1.12-rc.1')])
def test_a_version_in_the_words_of_npm(python, npm):
    assert semantic(python) == npm


def test_the_version_is_that_of_the_gateway():
    assert MANIFEST['version'] == semantic(ws2s.__version__)


def test_the_readme_names_the_file_that_make_dist_makes():
    assert '`dist/ws2s-%s.tgz`' % MANIFEST['version'] in npm_package.chapter()


@pytest.mark.parametrize('name', MANIFEST['files'])
def test_what_is_packed_is_there(name):
    assert os.path.isfile(os.path.join(npm_package.LIBRARY, name))


@pytest.mark.parametrize('name', named())
def test_what_package_json_names_is_packed(name):
    assert name in npm_package.contents()


@pytest.mark.parametrize('name', modules())
def test_what_a_packed_file_imports_is_packed(name):
    for path in IMPORTED.findall(text_of(name)):
        assert path in MANIFEST['files']


@pytest.mark.parametrize('name', [name for name in named() if name.endswith('js')])
def test_a_module_that_can_be_imported_has_its_types(name):
    assert re.sub(r'js$', 'ts', re.sub(r'\.(m?js)$', r'.d.\1', name)) in MANIFEST['files']


@pytest.mark.parametrize('name', sorted(set(os.listdir(npm_package.LIBRARY)) - set(MANIFEST['files'])))
def test_what_is_not_packed_is_of_the_pages(name):
    assert name == 'package.json' or name.endswith(('.html', '.css')) or name in of_pages()


def of_pages():
    """The names of all modules that a page loads."""
    found, todo = set(), ['console.js', 'redis.js']
    while todo:
        name = todo.pop()
        if name not in found:
            found.add(name)
            todo += IMPORTED.findall(text_of(name))
    return found


@pytest.mark.parametrize('name', modules())
def test_a_packed_module_imports_nothing_but_what_bundlers_have(name):
    found = re.findall(r'''^(?:import|export) [^;]*?from ['"]([^.'"][^'"]*)['"]''', text_of(name), re.MULTILINE)
    assert set(found) <= (NODES if name.startswith(('net', 'tls')) else set())
