# -*- coding: utf-8 -*-
"""Which modules the pages load, that none waits for another to be named, and how soon a page can be used."""
import io
import json
import os
import re

import pytest

import ws2s

pytestmark = pytest.mark.independent

FOLDER = os.path.join(os.path.dirname(os.path.abspath(ws2s.__file__)), 'ws2s-js')
STATIC = re.compile(r'''^(?:import\b[^;'"]*|export\b[^;'"]*\bfrom )['"](.*?)['"];$''', re.MULTILINE)
DYNAMIC = re.compile(r'''\bimport\(['"](.*?)['"]\)''')
STYLE = re.compile(r'<link rel="stylesheet" href="(.*?)">')
PRELOAD = re.compile(r'<link rel="modulepreload" href="(.*?)">')
PAGES = {'index.html': 'console-start.mjs', 'redis.html': 'redis-start.mjs'}

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


def template(name, page):
    """The modules that a template of a page names."""
    found = re.search(r'<template id="%s">(.*?)</template>' % name, text_of(page), re.DOTALL)
    return PRELOAD.findall(found.group(1) if found else '')


def head_of(page):
    return text_of(page).partition('</head>')[0]


def late(page):
    """The modules that are loaded when they are needed, and what those import."""
    found = []
    for name in graph(rest_of(page)):
        found += [other for one in imported(name, DYNAMIC) if name != PAGES[page] for other in graph(one)]
    return found


def rest_of(page):
    (rest,) = imported(PAGES[page], DYNAMIC)
    return rest


def own(page):
    """The modules that have a template of their own, with what is loaded with them."""
    return [name for name in late(page) if 'id="%s"' % os.path.splitext(name)[0] in text_of(page)]


def first(page):
    """The modules that are loaded with the page."""
    return set(graph(rest_of(page))) | set(graph(PAGES[page]))


def assert_named(name, page, modules):
    assert sorted(template(name, page)) == sorted(set(modules)), '\n'.join(
        ['the template %s of %s must be:' % (name, page)]
        + ['<link rel="modulepreload" href="%s">' % module for module in sorted(set(modules))])


@each_page
def test_a_page_begins_with_its_small_part_and_names_all_modules_of_that(page):
    assert re.findall(r'<script type="module" src="(.*?)"></script>', text_of(page)) == [PAGES[page]]
    assert sorted(PRELOAD.findall(head_of(page))) == sorted(graph(PAGES[page])[1:])


@each_page
def test_the_template_of_a_page_names_all_other_modules_each_once(page):
    assert_named('later', page, set(graph(rest_of(page))) - set(graph(PAGES[page])))


@each_page
def test_what_is_loaded_when_it_is_needed_is_named_in_a_template_of_its_own(page):
    with_own = [module for name in own(page) for module in graph(name)]
    assert_named('last', page, set(late(page)) - first(page) - set(with_own))


@each_page
def test_what_belongs_to_one_view_is_named_in_its_template_and_is_no_part_of_the_page(page):
    for name in own(page):
        assert_named(os.path.splitext(name)[0], page, set(graph(name)) - first(page))


@each_page
def test_what_is_loaded_when_it_is_needed_loads_nothing_late_itself(page):
    assert [name for name in late(page) if imported(name, DYNAMIC) and name not in PAGES.values()
            and name not in graph(rest_of(page))] == []


def test_every_file_belongs_to_a_page_or_to_the_package():
    package = json.loads(text_of('package.json'))['files'] + ['package.json']
    styles = [style for page in PAGES for style in STYLE.findall(head_of(page))]
    modules = [module for page in PAGES for module in first(page) | set(late(page))]
    assert set(os.listdir(FOLDER)) == set(package + styles + modules + list(PAGES))


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
    needed = STYLE.findall(head_of(page)) + graph(PAGES[page])
    assert seconds([reply_bytes(page)]) + seconds([reply_bytes(name) for name in needed]) < 1.6


@each_page
def test_the_rest_of_a_page_is_there_after_6_more_seconds(page):
    assert seconds([reply_bytes(name) for name in template('later', page)]) < 6.2
