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


def passed(rate, count, now, speaker=1):
    return sum(rate.passes(speaker, now) for _ in range(count))


def test_a_speaker_has_some_lines_at_once_and_then_so_many_a_second():
    rate = ws2s.LogRate(20, 2)
    assert [passed(rate, 100, now) for now in (0, 0, 1, 1.4, 3, 100)] == [20, 0, 2, 0, 4, 20]


def test_lines_that_come_together_pass_together_or_are_left_out_together():
    rate = ws2s.LogRate(20, 2)
    assert [rate.passes('a', now, lines) for now, lines in ((0, 15), (0, 6), (0, 5), (1, 3), (1, 2))] == [
        True, False, True, False, True]
    assert rate.take_left_out('a') == 9


def test_one_speaker_takes_no_lines_of_another():
    rate = ws2s.LogRate(20, 2)
    assert [passed(rate, 30, 0, speaker) for speaker in ('a', 'b', 'a')] == [20, 20, 0]


def test_lines_that_are_left_out_are_counted_and_told_once():
    rate = ws2s.LogRate(20, 2)
    passed(rate, 30, 0, 'a')
    passed(rate, 25, 0, 'b')
    passed(rate, 5, 0, 'c')
    assert rate.take_left_out('a') == 10 and rate.take_left_out('a') == rate.take_left_out('nobody') == 0
    assert sorted(rate.sweep(0)) == [('a', 0), ('b', 5), ('c', 0)]
    passed(rate, 7, 0, 'b')
    assert sorted(rate.sweep(9.9)) == [('a', 0), ('b', 7)]


def test_who_has_paid_for_its_lines_is_forgotten_unless_some_are_still_to_be_told():
    rate = ws2s.LogRate(20, 2)
    passed(rate, 20, 0, 'a')
    passed(rate, 21, 0, 'b')
    assert rate.sweep(1000) == [('b', 1)]
    assert rate.sweep(1000) == []


@pytest.mark.parametrize('address, text', [
    ('192.0.2.7', '192.0.2.7'), ('::ffff:192.0.2.7', '192.0.2.7'), ('2001:db8:1:2:3::4', '2001:db8:1:2::/64')])
def test_an_address_group_has_a_name(address, text):
    assert ws2s.group_text(ws2s.address_group(address)) == text
