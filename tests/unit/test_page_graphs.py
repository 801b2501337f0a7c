# -*- coding: utf-8 -*-
"""Which modules the pages load, that none waits for another to be named, and how soon a page can be used."""
import io
import os
import re

import pytest

import ws2s

pytestmark = pytest.mark.independent

FOLDER = os.path.join(os.path.dirname(os.path.abspath(ws2s.__file__)), 'ws2s-js')
STATIC = re.compile(r'''^(?:import\b[^;'"]*|export\b[^;'"]*\bfrom )['"](.*?)['"];$''', re.MULTILINE)
DYNAMIC = re.compile(r'''\bimport\(['"](.*?)['"]\)''')
PRELOAD = re.compile(r'<link rel="modulepreload" href="(.*?)">')
PAGES = {'index.html': 'console-start.mjs', 'redis.html': 'redis-start.mjs'}

ON_DEMAND = {'redis-late-viewer.mjs': ['redis-viewer.mjs']}  # what many do without

each_page = pytest.mark.parametrize('page', sorted(PAGES))


def text_of(name):
    with io.open(os.path.join(FOLDER, name), encoding='utf-8') as file:
        return file.read()


def imported(name, way):
    """The modules that a module imports."""
    paths = way.findall(text_of(name))
    assert all(re.match(r'\./[a-z0-9-]+\.m?js\Z', path) for path in paths), (name, paths)
    return [path[2:] for path in paths]


def graph(name):
    """A module, and all that are loaded before it runs."""
    found = [name]
    for module in found:
        found += [other for other in imported(module, STATIC) if other not in found]
    return found


def parts(page):
    """What a page names in its head, and in its template."""
    return re.match(r'(.*?)</head>.*?<template id="later">(.*?)</template>', text_of(page), re.DOTALL).groups()


@each_page
def test_a_page_begins_with_its_small_part_and_names_all_modules_of_that(page):
    head, _ = parts(page)
    assert re.findall(r'<script type="module" src="(.*?)"></script>', text_of(page)) == [PAGES[page]]
    assert sorted(PRELOAD.findall(head)) == sorted(graph(PAGES[page])[1:])


@each_page
def test_the_template_of_a_page_names_all_other_modules_each_once(page):
    first = graph(PAGES[page])
    (rest,) = imported(PAGES[page], DYNAMIC)
    missing = sorted(set(graph(rest)) - set(first))
    assert sorted(PRELOAD.findall(parts(page)[1])) == missing, '\n'.join(
        ['the template of %s must be:' % page] + ['<link rel="modulepreload" href="%s">' % name for name in missing])


@each_page
def test_nothing_else_is_loaded_late(page):
    for name in graph(imported(PAGES[page], DYNAMIC)[0]):
        rest = imported(PAGES[page], DYNAMIC) if name in PAGES.values() else ON_DEMAND.get(name, [])
        assert imported(name, DYNAMIC) == rest


# --- How soon -------------------------------------------------------------------------------------

ROUND_TRIP, RATE, CONNECTIONS = 0.4, 40000.0, 6  # seconds, bytes a second, of one browser to one host
ASKED = [('accept-encoding', 'gzip, deflate, br, zstd')]


def reply_bytes(name):
    """Of the whole reply with a file."""
    request = ws2s.Request('GET', '/' + name, 'HTTP/1.1', ASKED)
    form = ws2s.Packings().blocking_read(FOLDER, [name], ws2s.takes_gzip(request))
    _, head, body = ws2s.file_reply(request, name, form, ws2s.PAGE_POLICY)
    return len(head) + len(body)


def seconds(sizes):
    """Until replies of these sizes are there, which are asked for at once and share the line."""
    waiting, coming, now = list(sizes), [], 0.0  # coming: pairs of a moment of beginning, and what is left
    while waiting or coming:
        while waiting and len(coming) < CONNECTIONS:
            coming.append([now + ROUND_TRIP, waiting.pop(0)])
        flowing = [one for one in coming if one[0] <= now]
        steps = [one[0] - now for one in coming if one[0] > now]
        steps += [one[1] * len(flowing) / RATE for one in flowing]
        now += min(steps)
        for one in flowing:
            one[1] -= min(steps) * RATE / len(flowing)
        coming = [one for one in coming if one[1] > 1e-6]
    return now


def test_the_seconds_of_replies_are_those_of_a_line_that_they_share():
    assert abs(seconds([40000]) - 1.4) < 1e-6 and abs(seconds([20000] * 2) - 1.4) < 1e-6
    assert abs(seconds([4000] * 7) - (0.4 + 0.6 + 0.4 + 0.1)) < 1e-6


@each_page
def test_a_page_can_be_used_within_2_seconds_on_a_slow_line(page):
    """400 ms for each request, 40 KB a second: the document, then all that its head names."""
    head, _ = parts(page)
    needed = re.findall(r'<link rel="stylesheet" href="(.*?)">', head) + graph(PAGES[page])
    assert seconds([reply_bytes(page)]) + seconds([reply_bytes(name) for name in needed]) < 1.9
