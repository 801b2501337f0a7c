# -*- coding: utf-8 -*-
"""The README tells of every option, argument and reason, and tells it right."""

import ast
import io
import json
import os
import re

import pytest

import ws2s

pytestmark = pytest.mark.independent

REPOSITORY = os.path.dirname(os.path.abspath(ws2s.__file__))


def readme():
    with io.open(os.path.join(REPOSITORY, 'README.md'), encoding='utf-8') as file:
        return file.read()


@pytest.mark.parametrize('option', ws2s.OPTIONS, ids=lambda option: option.key)
def test_every_option_stands_in_the_readme_with_its_default(option):
    row = re.search(r'^\| `%s` \| `(.*?)` \|' % re.escape(option.key), readme(), re.MULTILINE)
    assert row, option.key
    assert json.loads(row.group(1)) == ws2s.plain_value(ws2s.DEFAULTS[option.key])


def test_the_readme_has_no_option_that_is_not_there():
    rows = re.findall(r'^\| `((?:[a-z]+\.)?[A-Za-z]+)` \| `.*?` \|', readme(), re.MULTILINE)
    assert sorted(rows) == sorted(option.key for option in ws2s.OPTIONS)


def test_every_argument_stands_in_the_readme(capsys):
    with pytest.raises(SystemExit):
        ws2s.parse_arguments(['--help'])
    for argument in set(re.findall(r'--[a-z-]+', capsys.readouterr().out)):
        assert '`%s' % argument in readme(), argument


@pytest.mark.parametrize('failure', [value for value in vars(ws2s).values() if isinstance(value, ws2s.Failure)]
                         + [ws2s.forbidden('x'), ws2s.RequestError('x').failure], ids=lambda failure: failure.reason)
def test_every_reason_stands_in_the_readme_beside_its_code(failure):
    assert re.search(r'^\| %d \| .*`%s`' % (failure.code, failure.reason), readme(), re.MULTILINE)


def test_the_configuration_for_the_internet_is_whole():
    chapter = readme().split(u'## On the internet\n')[1].split(u'\n## ')[0]
    config = ws2s.parse_config(re.search(u'```json\n(.*?)```', chapter, re.DOTALL).group(1), lambda *about: u'x' * 64)
    (listen,), (entry,) = ws2s.listeners(config), config['auth.tokens']
    assert listen.tls and config['tls.certificate'] and config['tls.key'] and ws2s.needs_identity(config)
    assert config['auth.jwt'] and config['allowedOrigins'] and config['limits.clientsPerAddress']
    assert set(entry.targets) <= set(config['allowTargets'])  # the token of the example does reach something


# --- "When it does not work" ----------------------------------------------------------------------

PYTHON_FILES = 'ws2s.py', 'ws2sd'
QUOTED = re.compile(r'`([^`]+)`')


def symptoms():
    """The rows of the chapter: (what is seen, what to do)."""
    chapter = readme().split(u'## When it does not work\n')[1].split(u'\n## ')[0]
    rows = [line.strip(u'| ').split(u' | ') for line in chapter.splitlines() if line.startswith(u'| ')]
    return [(row[0], row[2]) for row in rows[1:]]


def sayings():
    """Every text that the programs and the pages are made of, those of several lines joined."""
    said = []
    for name in PYTHON_FILES:
        with io.open(os.path.join(REPOSITORY, name), encoding='utf-8') as file:
            tree = ast.parse(re.sub(r'^# -\*- coding.*', '#', file.read(), flags=re.MULTILINE).encode('utf-8'))
        for node in ast.walk(tree):
            value = getattr(node, 'value', None) if type(node).__name__ == 'Constant' else getattr(node, 's', None)
            if isinstance(value, (bytes, type(u''))):
                said.append(value if isinstance(value, type(u'')) else value.decode('utf-8', 'replace'))
    folder = os.path.join(REPOSITORY, 'ws2s-js')
    for name in os.listdir(folder):
        if name.endswith(('js', '.ts')):
            with io.open(os.path.join(folder, name), encoding='utf-8') as file:
                said.append(re.sub(u"['`]\\s*\\+\\s*['`]", u'', file.read()))
    return said


def test_the_chapter_of_symptoms_has_at_least_20():
    assert len(symptoms()) >= 20


@pytest.mark.parametrize('seen', [seen for seen, _ in symptoms()])
def test_what_a_symptom_quotes_is_what_is_said(seen):
    said = sayings() + [u'(allowConnectToServerLocal)', u'Address already in use', u'Permission denied']
    for quote in QUOTED.findall(seen):
        for part in re.split(r' (?=\()', quote) if u'forbid' in quote else [quote.lstrip(u': ')]:
            assert any(part in text for text in said), part


# Where nothing is said by the gateway, or a reason alone: the beginnings of these rows.
UNSAID = (u'a proxy marks the gateway as down', u'`gateway-unreachable` on a page of the internet',
          u'the service is gone after a logout', u'on macOS code 1 `unreachable` at once')


@pytest.mark.parametrize('seen', [seen for seen, _ in symptoms() if not seen.startswith(UNSAID)])
def test_a_symptom_quotes_a_sentence_that_can_be_searched_for(seen):
    assert [quote for quote in QUOTED.findall(seen) if len(quote.split()) > 1]


def test_rows_without_a_sentence_are_all_there():
    assert [len([seen for seen, _ in symptoms() if seen.startswith(row)]) for row in UNSAID] == [1] * len(UNSAID)


FAILURES = [value for value in vars(ws2s).values() if isinstance(value, ws2s.Failure)] + [ws2s.forbidden('x')]


BESIDE_A_CODE = re.compile(r'code ([0-9]+) `([^`(]+?) ?[`(]')


@pytest.mark.parametrize('code, quote', [
    (int(code), quote) for seen, _ in symptoms() for code, quote in BESIDE_A_CODE.findall(seen)])
def test_a_sentence_stands_beside_its_code(code, quote):
    codes = {failure.code for failure in FAILURES if quote == failure.reason or quote in failure.message}
    assert code in (codes or {ws2s.RequestError('x').failure.code})


@pytest.mark.parametrize('host', [u'fa\xdf.de', u'\u03c2.gr', u'a\u200db.de'])
def test_what_the_readme_says_of_names_that_lead_elsewhere_is_said_of_them(host):
    with pytest.raises(ws2s.RequestError) as caught:
        ws2s.read_host(host)
    (seen,) = [seen for seen, _ in symptoms() if u'\xdf' in seen]
    assert u'code %d `' % caught.value.failure.code in seen
    assert QUOTED.findall(seen)[0] in caught.value.failure.message


@pytest.mark.parametrize('advice', [advice for _, advice in symptoms()])
def test_what_is_to_be_set_can_be_set(advice):
    for quote in QUOTED.findall(advice):
        if quote.startswith(u'{"'):
            assert ws2s.parse_config(quote) != ws2s.DEFAULTS
        for argument in re.findall(r'(?<![a-z0-9-])--[a-z-]+', quote):
            assert argument in ARGUMENTS, argument


ARGUMENTS = ('--allow-local', '--check', '--listen', '--home')
