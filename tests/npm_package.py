# -*- coding: utf-8 -*-
"""Packs the library of ws2s-js/ for npm, with the LICENSE and a README made of the project's own. On 2.7, too."""

import contextlib
import io
import json
import os
import re
import shutil
import subprocess
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
LIBRARY = os.path.join(ROOT, 'ws2s-js')
ADDED = ('LICENSE', 'README.md')  # by pack(), to what package.json lists
HOW_TO_GET = 'Debian: apt-get install nodejs npm'


def manifest():
    return json.loads(text_of(os.path.join(LIBRARY, 'package.json')))


def text_of(path):
    with io.open(path, encoding='utf-8') as file:
        return file.read()


def contents():
    """The names of all files of the package."""
    return sorted(manifest()['files'] + ['package.json'] + list(ADDED))


def chapter():
    """What the project's README says to users of npm."""
    return text_of(os.path.join(ROOT, 'README.md')).split(u'\n## npm\n')[1].split(u'\n## ')[0].strip()


def readme():
    """That of the package: title and first paragraph of the project's, its chapter for users of npm, the license."""
    title, introduction = text_of(os.path.join(ROOT, 'README.md')).split(u'\n\n')[:2]
    return u'\n\n'.join([title, introduction, chapter(), u'## License', u'MIT']) + u'\n'


@contextlib.contextmanager
def staged():
    """A folder with all that is packed."""
    folder = tempfile.mkdtemp()
    try:
        for name in manifest()['files'] + ['package.json']:
            shutil.copy(os.path.join(LIBRARY, name), folder)
        shutil.copy(os.path.join(ROOT, 'LICENSE'), folder)
        with io.open(os.path.join(folder, 'README.md'), 'w', encoding='utf-8') as file:
            file.write(readme())
        yield folder
    finally:
        shutil.rmtree(folder)


def pack(npm, destination):
    """The path of the .tgz that ``npm`` makes in the folder ``destination``."""
    with staged() as folder:
        output = subprocess.check_output([npm, 'pack', '--silent', '--pack-destination', destination], cwd=folder)
    return os.path.join(destination, re.search(r'\S+\.tgz$', output.decode('utf-8').strip()).group())
