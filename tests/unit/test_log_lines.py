"""The lines of the log: a formatter that seldom looks at the calendar writes the moments that the library does."""
import logging

import pytest

import ws2s

FORM = '%(asctime)s %(levelname)s %(message)s'


def record(moment):
    made = logging.LogRecord('ws2s', logging.INFO, 'ws2s.py', 1, '#%d comes', (7,), None)
    made.created, made.msecs = moment, (moment - int(moment)) * 1000
    return made


@pytest.mark.parametrize('moments', [
    (0, 0.001, 0.999, 1, 1.5, 0.25), (1e9 + 0.9995, 1e9 + 1, 1e9 + 1.0004), (86399.75, 86400, 86399.5)],
    ids=['forth and back', 'the turn of a second', 'the turn of a day'])
def test_lines_of_the_log_are_those_of_the_library(moments):
    ours, librarys = ws2s.LogFormatter(), logging.Formatter(FORM)
    for moment in moments:
        assert ours.format(record(moment)) == librarys.format(record(moment))


def test_mark_stands_before_the_message():
    plain, marked = ws2s.LogFormatter().format(record(0)), ws2s.LogFormatter('[5] ').format(record(0))
    assert marked == plain.replace('#7 comes', '[5] #7 comes') != plain
