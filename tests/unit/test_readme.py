# -*- coding: utf-8 -*-
"""The README tells of every option, argument and reason, and tells it right."""

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
