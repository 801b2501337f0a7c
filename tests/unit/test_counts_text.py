# -*- coding: utf-8 -*-
"""What is counted, as text: the format 0.0.4 of Prometheus, sums over workers, and who may see it."""
import io
import os
import re

import pytest

import ws2s
from ws2s import COUNTER, GAUGE, HISTOGRAM, INTERNAL_GAUGE, Cells, Family, metrics_text

pytestmark = pytest.mark.independent

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

CLIENTS = Family('a_clients', GAUGE, 'Clients.', (('dialect', ws2s.DIALECT_NAMES),), None)
DONE = Family('a_total', COUNTER, 'Done.', (('kind', ('x', 'y')), ('how', ('well', 'ill'))), None)
SECONDS = Family('a_seconds', HISTOGRAM, 'Time.', (('kind', ('x', 'y')), ('le', (0.5, 1))), None)
INTERNAL = Family('a_rates', INTERNAL_GAUGE, '', (('of', ('z',)),), None)
FAMILIES = (CLIENTS, DONE, SECONDS, INTERNAL)
NOBODY = [0] * len(ws2s.DIALECT_NAMES)
FIRST = NOBODY[:-1] + [3] + [1, 2, 3, 4] + [1, 0, 2, 1500000] + [0, 0, 0, 0] + [7]
SECOND = [5] + NOBODY[1:] + [10, 20, 30, 40] + [1, 1, 1, 1] + [1, 0, 0, 250000] + [7]


def series(rows):
    """{name: value} of all series, as text."""
    lines = metrics_text(rows, FAMILIES).splitlines()
    return dict(line.rsplit(' ', 1) for line in lines if not line.startswith('#'))


# -- the format --------------------------------------------------------------------------------------------------------

def test_each_family_has_its_help_and_type_and_then_its_series():
    text = metrics_text([Cells(0, True, FIRST)], FAMILIES)
    begin = text.index('# HELP a_total')
    assert text[begin:text.index('# HELP ws2s_worker_clients')] == '''\
# HELP a_total Done.
# TYPE a_total counter
a_total{kind="x",how="well"} 1
a_total{kind="x",how="ill"} 2
a_total{kind="y",how="well"} 3
a_total{kind="y",how="ill"} 4
# HELP a_seconds Time.
# TYPE a_seconds histogram
a_seconds_bucket{kind="x",le="0.5"} 1
a_seconds_bucket{kind="x",le="1"} 1
a_seconds_bucket{kind="x",le="+Inf"} 3
a_seconds_sum{kind="x"} 1.500000
a_seconds_count{kind="x"} 3
a_seconds_bucket{kind="y",le="0.5"} 0
a_seconds_bucket{kind="y",le="1"} 0
a_seconds_bucket{kind="y",le="+Inf"} 0
a_seconds_sum{kind="y"} 0.000000
a_seconds_count{kind="y"} 0
'''
    assert text[text.index('# HELP ws2s_worker_clients'):] == '''\
# HELP ws2s_worker_clients WebSockets that are open in each worker.
# TYPE ws2s_worker_clients gauge
ws2s_worker_clients{worker="0"} 3
# HELP ws2s_build_info Version of ws2s and of the Python that runs it.
# TYPE ws2s_build_info gauge
ws2s_build_info{version="%s",python="%s"} 1
''' % (ws2s.__version__, ws2s.PYTHON_VERSION)


@pytest.mark.parametrize('value, escaped', [
    ('plain', 'plain'), ('a"b', 'a\\"b'), ('a\\b', 'a\\\\b'), ('a\nb', 'a\\nb'), ('\\n', '\\\\n'),
    ('"\\\n', '\\"\\\\\\n'), (0.0005, '0.0005'), (10, '10')])
def test_the_value_of_a_label_is_escaped(value, escaped):
    assert ws2s.series_name('a', [('l', value)]) == 'a{l="%s"}' % escaped


def test_a_series_without_labels_has_no_braces():
    assert ws2s.series_name('a', ()) == 'a'


# -- sums --------------------------------------------------------------------------------------------------------------

def test_what_several_workers_count_is_added_up():
    found = series([Cells(0, True, FIRST), Cells(4, True, SECOND)])
    assert found['a_clients{dialect="custom"}'] == '3'
    assert found['a_clients{dialect="%s"}' % ws2s.DIALECT_NAMES[0]] == '5'
    assert found['a_total{kind="y",how="ill"}'] == '44'
    assert [found['a_seconds_bucket{kind="x",le="%s"}' % bound] for bound in ('0.5', '1', '+Inf')] == ['2', '3', '6']
    assert (found['a_seconds_sum{kind="x"}'], found['a_seconds_sum{kind="y"}']) == ('1.500001', '0.250000')
    assert (found['ws2s_worker_clients{worker="0"}'], found['ws2s_worker_clients{worker="4"}']) == ('3', '5')


def test_of_a_worker_that_has_died_only_what_grows_remains():
    found = series([Cells(0, True, FIRST), Cells(4, False, SECOND)])
    assert found['a_clients{dialect="%s"}' % ws2s.DIALECT_NAMES[0]] == '0'
    assert found['a_total{kind="y",how="ill"}'] == '44'
    assert found['a_seconds_count{kind="x"}'] == '6'
    assert 'ws2s_worker_clients{worker="4"}' not in found


@pytest.mark.parametrize('seconds, bound', [(0, '0.5'), (0.5, '0.5'), (0.500001, '1'), (1, '1'), (1.1, '+Inf')])
def test_a_value_is_within_the_first_bound_that_it_does_not_exceed(seconds, bound):
    histogram = ws2s.Histogram((0.5, 1))
    histogram.note(seconds)
    assert histogram.cells()[('0.5', '1', '+Inf').index(bound)] == 1
    assert histogram.cells()[-1] == int(seconds * 1000000)


# -- the table ---------------------------------------------------------------------------------------------------------

def test_no_cell_has_the_name_of_another():
    assert len(set(ws2s.CELLS)) == len(ws2s.CELLS)


def test_names_follow_the_rules_of_prometheus():
    for family in ws2s.FAMILIES:
        assert re.match(r'ws2s_[a-z_]+\Z', family.name)
        assert family.name.endswith('_total') == (family.kind == COUNTER)
        assert (family.labels[-1:] != () and family.labels[-1][0] == 'le') == (family.kind == HISTOGRAM)
        assert not re.search(r'[\\\n]', family.help)


def test_every_reason_for_which_a_target_is_lost_has_a_series():
    reasons = set(value.reason for value in vars(ws2s).values() if isinstance(value, ws2s.Failure))
    assert reasons - set(ws2s.FAILURE_REASONS) == {'closed', 'not-connected', 'finished'}
    assert set(ws2s.FAILURE_REASONS) - reasons == {'forbidden', ws2s.OTHER}


def test_readme_tells_of_every_family_and_of_no_other():
    with io.open(os.path.join(ROOT, 'README.md'), encoding='utf-8') as file:
        table = re.search(r'\| family \|.*?\n\n', file.read(), re.DOTALL).group()
    named = re.findall(r'`(ws2s_\w+)`', table)
    shown = [family.name for family in ws2s.FAMILIES if family.kind != INTERNAL_GAUGE]
    assert sorted(named) == sorted(shown + [ws2s.WORKER_CLIENTS[0], ws2s.BUILD_INFO[0]])


# -- who may see it ----------------------------------------------------------------------------------------------------

HERE, ELSEWHERE = ws2s.packed_address('127.0.0.1'), ws2s.packed_address('192.0.2.7')
PORT = ws2s.Listen('0.0.0.0', 3613)
FOR_COUNTS = ws2s.Listen('0.0.0.0', 9613, metrics=True)


def may_see(host='127.0.0.1:3613', headers=(), listen=PORT, client=HERE, is_proxy=False, **changes):
    lines = ([] if host is None else [('host', host)]) + list(headers)
    request = ws2s.Request('GET', '/metrics', 'HTTP/1.1', lines)
    config = ws2s.DEFAULTS.replace({key.replace('__', '.'): value for key, value in changes.items()})
    return ws2s.may_see_counts(request, listen, client, is_proxy, config)


@pytest.mark.parametrize('host', ['127.0.0.1', '127.0.0.1:3613', 'localhost:3613', 'LOCALHOST', '[::1]:3613', None, '',
                                  'localhost:', '127.8.8.8', 'app.localhost.'])
def test_programs_of_this_machine_see_counts(host):
    assert may_see(host)
    assert may_see(host, [('connection', 'keep-alive'), ('x-prometheus-scrape-timeout-seconds', '10')])
    assert may_see(host, client=ws2s.packed_address('::1'))
    assert not may_see(host, client=ELSEWHERE)


@pytest.mark.parametrize('host', ['evil.example', 'evil.example:3613', '192.0.2.1', '10.0.0.1:3613',
                                  'localhost.evil.org', '127.0.0.1.evil.org'])
def test_a_page_under_a_name_that_leads_here_sees_nothing(host):
    assert not may_see(host)
    assert not may_see(host, allowedHosts=['evil.example'])


@pytest.mark.parametrize('header', [
    'forwarded', 'x-forwarded-for', 'x-forwarded-proto', 'x-forwarded-host', 'x-real-ip', 'x-client-ip', 'via',
    'true-client-ip', 'cf-connecting-ip', 'origin'])
@pytest.mark.parametrize('value', ['127.0.0.1', 'for=127.0.0.1', ''])
def test_what_was_passed_on_is_nobodys_of_this_machine(header, value):
    assert not may_see(headers=[(header, value)])


@pytest.mark.parametrize('value', ['close', 'Close', 'keep-alive, close', 'upgrade', 'x'])
def test_who_ends_the_connection_may_be_a_proxy(value):
    assert not may_see(headers=[('connection', value)])


def test_proxies_see_nothing():
    assert not may_see(is_proxy=True)
    assert not may_see(listen=PORT._replace(proxyProtocol=True))
    assert not may_see(headers=[('x-remote-user', 'ann')], auth__proxyHeader='X-Remote-User',
                       trustedProxies=['192.0.2.1'])


def test_where_a_listener_is_there_for_counts_they_are_shown_on_no_other():
    listen = [{'port': 3613}, {'port': 9613, 'metrics': True}]
    config = ws2s.DEFAULTS.replace({'listen': listen})
    request = ws2s.Request('GET', '/metrics', 'HTTP/1.1', [('host', '127.0.0.1')])
    assert not ws2s.may_see_counts(request, PORT, HERE, False, config)
    assert ws2s.may_see_counts(request, FOR_COUNTS, HERE, False, config)


@pytest.mark.parametrize('host, is_known', [
    ('192.0.2.1:9613', True), ('localhost', True), ('[2001:db8::1]', True), ('gw.example.com:9613', True),
    ('GW.example.com.', True), (None, True), ('evil.example', False), ('gw.example.com.evil.org', False)])
def test_a_listener_for_counts_answers_all_who_know_its_name(host, is_known):
    for client in (HERE, ELSEWHERE):
        for headers in ([], [('x-forwarded-for', '192.0.2.9')], [('connection', 'close')]):
            assert may_see(host, headers, FOR_COUNTS, client, allowedHosts=['https://gw.example.com']) is is_known
