# -*- coding: utf-8 -*-
"""The package of npm, as somebody who has installed it uses it: TypeScript, Node, vite, esbuild, and no bundler."""

import json
import os
import re
import shutil
import subprocess
import tempfile
import threading

import pytest

import npm_package
from installed import needs, needs_node_modules
from program import clean_environment
from redis_server import running_redis
from visitor import http, running_gateway_program
from waiting import wait_until

pytestmark = pytest.mark.pages

SECONDS = 100
NEIGHBOURS = ('@types', 'undici-types', 'ws')  # what programs need besides the package
TYPES = [{'module': 'nodenext'}, {'module': 'esnext', 'moduleResolution': 'bundler'}]
STREAMS = ['--external:' + name for name in ('buffer', 'events', 'stream')]  # what a page has in their place is its own
INDEX = '<!DOCTYPE html>\n<body></body>\n<script type="module" src="main.js"></script>\n'
CLASSIC = """<!DOCTYPE html>
<body></body>
<script src="node_modules/ws2s/ws2s.js"></script>
<script>(async () => {%s})()</script>
"""
COMPRESSED = """
    const text = require('fs').readFileSync(0), {gzipSync, brotliCompressSync} = require('zlib');
    console.log(JSON.stringify([text, gzipSync(text, {level: 9}), brotliCompressSync(text)].map(({length}) => length)));
"""


# -- running other programs --------------------------------------------------------------------------------------------

class Failed(Exception):
    """A program has not ended with 0."""


def run(command, folder, text=b''):
    """What ``command`` prints."""
    process = subprocess.Popen(command, cwd=folder, env=dict(clean_environment(folder), NO_COLOR='1'), close_fds=True,
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    killer = threading.Timer(SECONDS, process.kill)
    killer.start()
    try:
        output = process.communicate(text)[0].decode('utf-8')
    finally:
        killer.cancel()
        killer.join()
    if process.returncode:
        raise Failed('%s: %d\n%s' % (' '.join(command), process.returncode, output))
    return output


def node(*words, **about):
    return run([needs('node', 'nodejs')] + list(words), **about)


def tool(package, path, *words, **about):
    """Run a program of one of Node's packages."""
    return node(os.path.join(needs_node_modules(package), package, path), *words, **about)


def esbuild(*words, **about):
    return run([os.path.join(needs_node_modules('esbuild'), 'esbuild', 'bin', 'esbuild')] + list(words), **about)


# -- a project ---------------------------------------------------------------------------------------------------------

class Project(object):
    """A folder that was empty before the package was installed there."""

    def __init__(self, folder, package):
        self.folder = folder
        self.write('package.json', json.dumps({'name': 'empty', 'private': True}))
        run([needs('npm', 'npm'), 'install', '--offline', '--no-audit', '--no-fund', package], folder)
        for name in NEIGHBOURS:
            os.symlink(os.path.join(needs_node_modules(name), name), self.path('node_modules', name))

    def path(self, *names):
        return os.path.join(self.folder, *names)

    def write(self, name, text):
        with open(self.path(name), 'wb') as file:
            file.write(text.encode('utf-8'))


@pytest.fixture(scope='module')
def package():
    """The path of the .tgz."""
    folder = tempfile.mkdtemp()
    yield npm_package.pack(needs('npm', 'npm'), folder)
    shutil.rmtree(folder)


@pytest.fixture(scope='module')
def project(package):
    folder = tempfile.mkdtemp()
    yield Project(folder, package)
    shutil.rmtree(folder)


def example(kind, words):
    """The one of the README's chapter that has ``words``."""
    found = re.findall('```%s\n(.*?)```' % kind, npm_package.chapter(), re.DOTALL)
    return next(text for text in found if words in text)


@pytest.fixture(scope='module')
def redis():
    with running_redis() as server:
        yield server


@pytest.fixture(scope='module')
def site():
    """A folder for pages."""
    folder = tempfile.mkdtemp()
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope='module')
def gateway(site):
    with running_gateway_program(site) as program:
        yield program


@pytest.fixture
def here(gateway, redis):
    """``here(text)``: an example, with these servers in the place of its own."""
    def told(text):
        assert '127.0.0.1:3613' in text and '6379' in text
        return text.replace('127.0.0.1:3613', '127.0.0.1:%d' % gateway.address[1]).replace('6379', str(redis.port))
    return told


# -- what is packed ----------------------------------------------------------------------------------------------------

def test_publint_finds_nothing(package, tmpdir):
    assert 'All good!' in tool('publint', 'src/cli.js', '--strict', package, folder=str(tmpdir))


# Modules that are no CommonJS, too, can be required in Node from 20.19 on, and by bundlers.
@pytest.mark.parametrize('words', [['--entrypoints', '.'], ['--ignore-rules', 'cjs-resolves-to-esm']],
                         ids=['the library', 'all modules'])
def test_are_the_types_wrong_finds_nothing(package, tmpdir, words):
    said = tool('@arethetypeswrong/cli', 'dist/index.js', '--no-definitely-typed', package, *words, folder=str(tmpdir))
    assert 'No problems found' in said


def test_the_readme_of_the_package_needs_no_other_file(project):
    with open(project.path('node_modules', 'ws2s', 'README.md'), 'rb') as file:
        text = file.read().decode('utf-8')
    assert text.startswith('# ws2s\n') and len(text) < 8000
    assert re.findall(r'\]\((?!https?:)', text) == []


@pytest.mark.parametrize('options', TYPES, ids=['nodenext', 'bundler'])
def test_typescript_takes_what_is_right_and_refuses_what_is_wrong(project, options):
    right, required = example('js', 'import WS2S'), example('js', 'require(')
    files = {'right.mts': right, 'right.cjs': required, 'wrong.mts': right.replace('text: true', 'text: 1'),
             'wrong.cjs': required.replace("host: '127.0.0.1', ", '')}
    for name, text in files.items():
        project.write(name, text)
    settings = dict(options, strict=True, noEmit=True, target='es2022', types=['node'], allowJs=True, checkJs=True,
                    skipDefaultLibCheck=True)
    project.write('tsconfig.json', json.dumps({'compilerOptions': settings, 'files': sorted(files)}))
    with pytest.raises(Failed) as caught:
        tool('typescript', 'bin/tsc', folder=project.folder)
    errors = re.findall(r'^(\S+)\((\d+),\d+\): error (TS\d+)', str(caught.value), re.MULTILINE)
    assert sorted(errors) == [('wrong.cjs', '4', 'TS2345'), ('wrong.mts', '3', 'TS2322')], caught.value


# -- Node --------------------------------------------------------------------------------------------------------------

def test_the_example_for_node_20_says_pong(project, here):
    project.write('main.cjs', here(example('js', 'require(')))
    assert node('main.cjs', folder=project.folder) == 'PONG\n'


def of_node_22(text):
    """The examples for pages and for Node 20, as they are to be there."""
    text = re.sub(r"const \{WebSocket\}.*\n", '', text.replace(', WebSocket', ''))
    text = text.replace('document.body.textContent = ', 'console.log(')
    return text.replace("('PING');", "('PING')); redis.close();")


@pytest.mark.parametrize('name, words', [('main.mjs', 'import WS2S'), ('main.cjs', 'require(')])
def test_node_22_says_pong_by_its_own_websocket(project, here, name, words):
    text = of_node_22(here(example('js', words)))
    assert 'WebSocket' not in text
    project.write(name, text)
    program = os.path.join(needs_node_modules('node'), 'node', 'bin', 'node')
    assert run([program, name], project.folder) == 'PONG\n'


# -- pages -------------------------------------------------------------------------------------------------------------

def build_by_vite(project, site, here):
    project.write('main.js', here(example('js', 'import WS2S')))
    project.write('index.html', INDEX)
    tool('vite', 'bin/vite.js', 'build', '--base', './', '--outDir', site, '--logLevel', 'warn', folder=project.folder)


def build_by_esbuild(project, site, here):
    project.write('main.js', here(example('js', 'import WS2S')))
    esbuild('main.js', '--bundle', '--minify', '--format=esm', '--outfile=%s/main.js' % site, folder=project.folder)
    write_page(site, INDEX)


def use_as_module(project, site, here):
    shutil.copytree(project.path('node_modules', 'ws2s'), os.path.join(site, 'node_modules', 'ws2s'))
    write_page(site, here(example('html', 'ws2s.mjs')))


def use_as_script(project, site, here):
    shutil.copytree(project.path('node_modules', 'ws2s'), os.path.join(site, 'node_modules', 'ws2s'))
    write_page(site, CLASSIC % re.sub('import.*', '', here(example('js', 'import WS2S'))))


def write_page(site, text):
    with open(os.path.join(site, 'index.html'), 'wb') as file:
        file.write(text.encode('utf-8'))


@pytest.mark.parametrize('make', [build_by_vite, build_by_esbuild, use_as_module, use_as_script])
def test_a_page_shows_pong(project, site, gateway, here, browser, make):
    folder = os.path.join(site, make.__name__)
    os.mkdir(folder)
    make(project, folder, here)
    with browser.page(http(gateway, make.__name__ + '/')) as page:
        wait_until(lambda: page.evaluate('document.body.textContent').strip() == 'PONG', 30, 'PONG')


# -- sizes -------------------------------------------------------------------------------------------------------------

def bundled(project, text):
    """The files of the package in a bundle of this program."""
    project.write('bundled.mjs', text)
    output = esbuild('bundled.mjs', '--bundle', '--minify', '--format=esm', '--outfile=bundle.js',
                     '--metafile=meta.json', '--log-level=error', folder=project.folder, *STREAMS)
    assert output == ''
    with open(project.path('meta.json'), 'rb') as file:
        (made,) = json.loads(file.read().decode('utf-8'))['outputs'].values()
    used = [name for name, about in made['inputs'].items() if about['bytesInOutput']]
    return sorted(os.path.basename(name) for name in used if 'node_modules/ws2s/' in name)


def test_a_bundle_of_the_library_has_nothing_of_the_other_modules(project):
    assert bundled(project, "import WS2S from 'ws2s'; console.log(WS2S);") == ['ws2s.js', 'ws2s.mjs']


@pytest.mark.parametrize('entry', sorted(set(npm_package.manifest()['exports']) - {'./package.json'}))
def test_what_is_not_used_is_not_bundled(project, entry):
    assert bundled(project, "import * as all from 'ws2s%s'; console.log(1);" % entry[1:]) == []


def test_the_sizes_in_the_readme_are_right(project):
    sentence = r'alone is ([0-9.]+) KB \(of 1,000 bytes\), ([0-9.]+) KB with gzip\s+and ([0-9.]+) KB with Brotli'
    stated = re.search(sentence, npm_package.chapter()).groups()
    minified = esbuild('--minify', 'node_modules/ws2s/ws2s.js', folder=project.folder)
    sizes = [size / 1000.0 for size in json.loads(node('-e', COMPRESSED, folder=project.folder,
                                                       text=minified.encode('utf-8')))]
    for said, size in zip(stated, sizes):
        assert 0.95 * size <= float(said) <= 1.05 * size, 'to be stated: %.1f, %.1f and %.1f KB' % tuple(sizes)


# -- make dist ---------------------------------------------------------------------------------------------------------

def test_make_dist_says_what_to_install_without_npm(tmpdir):
    program = "import os, sys; os.environ['PATH'] = ''; sys.path.insert(0, sys.argv[1])\n" \
              'import environments; environments.make_npm_package()'
    with pytest.raises(Failed) as caught:
        run([needs('python3', 'python3'), '-c', program, os.path.join(npm_package.ROOT, 'tests')], str(tmpdir))
    assert 'node and npm (Debian: apt-get install nodejs npm)' in str(caught.value)
