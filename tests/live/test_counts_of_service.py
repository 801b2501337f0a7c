# -*- coding: utf-8 -*-
"""What the workers of a ``ws2sd`` have counted together: as a program scrapes it, as ``status`` and ``top`` show it."""

import contextlib
import errno
import fcntl
import io
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import threading
import time

import pytest

from installed import needs
from program import REPOSITORY, clean_environment
from raw_client import BINARY, RawClient, exchange, upgrade_request
from scrape import scrape, text_of, total
from service import WS2SD, Crowd, Service, echoing, ended, is_alive, kill, load_ws2sd
from targets import closed_port
from test_counts import check_with_promtool
from waiting import wait_until

try:
    from urllib.parse import quote
except ImportError:  # Python 2
    from urllib import quote

pytestmark = [pytest.mark.programs, pytest.mark.independent]

GROWING = re.compile(r'\w+_(total|bucket|count|sum)\b')
MIXED = ('/?host=127.0.0.1&port=%d', 'raw'), (None, 'json')


@pytest.fixture
def service(tmpdir):
    with ended(Service(tmpdir)) as ready:
        yield ready


class Load(object):
    """Clients, each with an echo target, and what they have done."""

    def __init__(self, address, port):
        self._address, self._port, self.clients = address, port, []
        self.opened = self.bytes = self.refused = 0

    def open(self, path=None):
        client = RawClient(self._address, timeout=20)
        self.clients.append(client)
        if path:
            client.open(path % self._port)
        else:
            client.open().connect_to(self._port, binary=True)
        self.opened += 1
        return client

    def say(self, client, count):
        client.send_frame(BINARY, b'x' * count)
        assert client.receive_data(count) == b'x' * count
        self.bytes += count

    def be_refused(self):
        assert exchange(self._address, upgrade_request(headers=[('Origin', 'http://evil.test')]))[0] == 403
        self.refused += 1

    def close(self):
        while self.clients:
            self.clients.pop().sock.close()


@contextlib.contextmanager
def loading(service):
    with echoing() as port:
        load = Load(service.address, port)
        try:
            yield load
        finally:
            load.close()


def seen(address):
    found = scrape(address)
    return [total(found, 'ws2s_clients'), total(found, 'ws2s_clients_total'), total(found, 'ws2s_refusals_total'),
            total(found, 'ws2s_bytes_total', direction='up'), total(found, 'ws2s_bytes_total', direction='down'),
            total(found, 'ws2s_dials_total', outcome='reached')]


def expected(load):
    return [len(load.clients), load.opened, load.refused, load.bytes, load.bytes, load.opened]


# -- sums --------------------------------------------------------------------------------------------------------------

def test_any_worker_answers_for_all_with_just_what_the_clients_have_done(service):
    service.start()
    with loading(service) as load:
        for number in range(30):
            load.say(load.open(MIXED[number % 2][0]), 1000 + number)
            load.be_refused()
        wait_until(lambda: seen(service.address) == expected(load), 30, 'the sums to be right')
        for _ in range(20):  # of either worker
            assert seen(service.address) == expected(load)
        found = scrape(service.address)
        assert [total(found, 'ws2s_clients', dialect=dialect) for _, dialect in MIXED] == [15, 15]
        assert total(found, 'ws2s_workers') == 2
        assert total(found, 'ws2s_held_bytes_limit') == 2 * 536870912
        check_with_promtool(text_of(service.address))
        load.close()
        wait_until(lambda: seen(service.address) == expected(load), 30, 'the clients to have gone')
    pid = service.pid
    service.do('stop')
    assert not is_alive(pid) and not [name for name in os.listdir(service.home) if name.startswith('counts')]


def test_counters_never_go_back_whoever_dies(service):
    """A worker is killed again and again while clients come and go and what is counted is asked for."""
    service.start()
    goes_back, stopped, last = [], threading.Event(), {}

    def watch():
        while not stopped.is_set():
            try:
                found = scrape(service.address)
            except (IOError, OSError, EOFError, AssertionError):
                continue  # whom we asked has died meanwhile
            for name, value in found.items():
                if GROWING.match(name):
                    if value < last.get(name, 0):
                        goes_back.append((name, last[name], value))
                    last[name] = value

    watcher = threading.Thread(target=watch)
    with loading(service) as load:
        watcher.start()
        try:
            for number in range(6):
                goal, gone = total(scrape(service.address), 'ws2s_clients_total') + 8, service.workers
                for _ in range(12):
                    with_luck(lambda: load.say(load.open(), 100))
                wait_until(lambda: last and total(dict(last), 'ws2s_clients_total') >= goal, 30, 'clients to count')
                kill(gone[number % 2], signal.SIGKILL)
                wait_until(lambda: service.two_workers_without(gone[number % 2:][:1]), 30, 'another worker')
                wait_until(lambda: (with_luck(lambda: scrape(service.address)) or {}).get('ws2s_workers') == 2)
        finally:
            stopped.set()
            watcher.join(20)
        assert goes_back == [] and total(last, 'ws2s_clients_total') >= 48
        load.close()
        wait_until(lambda: total(scrape(service.address), 'ws2s_clients') == 0, 30, 'those of the dead to be gone')


def with_luck(deed):
    """None where it was that worker which is killed."""
    try:
        return deed()
    except (IOError, OSError, EOFError, AssertionError):
        return None


def test_what_a_killed_worker_had_told_remains_and_its_clients_are_gone(service):
    service.configure(workers=1)
    service.start()
    with loading(service) as load:
        for _ in range(5):
            load.say(load.open(), 1000)
        assert seen(service.address) == expected(load)  # the one who tells is the one who has counted
        kill(service.workers[0], signal.SIGKILL)
        wait_until(lambda: with_luck(lambda: seen(service.address)) == [0, 5, 0, 5000, 5000, 5])
        load.close()
        load.say(load.open(), 10)
        assert seen(service.address) == [1, 6, 0, 5010, 5010, 6]


def test_a_new_start_begins_at_nothing(service):
    service.start()
    with loading(service) as load:
        load.open()
        wait_until(lambda: seen(service.address)[1] == 1)
    service.do('restart')
    assert seen(service.address)[1] == 0


# -- memory that another supervisor has made ---------------------------------------------------------------------------

@pytest.fixture
def module():
    return load_ws2sd()


def close(*boards):
    for board in boards:
        for sheet in board._sheets:
            sheet._memory.close()


def of_board(board):
    return [(row.is_alive, row.values) for row in board.rows()]


def cells_of(module, value):
    return [value] * len(module.ws2s.CELLS)


def grown(module, value):
    return [value if grows else 0 for _, grows in module.ws2s.CELLS]


def test_a_supervisor_that_takes_over_goes_on_with_the_same_memory(module, tmpdir):
    first = module.Board.make(str(tmpdir), 2)
    slot = first.take()
    slot.begin()
    slot.exchange(cells_of(module, 5))
    second = module.Board.make(str(tmpdir), 2, [os.dup(fd) for fd in first.fds()])
    other = second.take()
    other.begin()
    assert [values for _, values in of_board(second)] == [cells_of(module, 5), cells_of(module, 0)]
    other.exchange(cells_of(module, 7))
    assert of_board(first) == of_board(second) == [(True, cells_of(module, 5)), (True, cells_of(module, 7))]
    slot.end()
    assert of_board(second)[0] == (False, cells_of(module, 5))
    slot.begin()
    assert of_board(second)[0] == (True, grown(module, 5))
    first.close()
    second.close()
    close(first, second)


@pytest.mark.parametrize('change', ['more', 'fewer', 'another order', 'other slots'])
def test_what_another_version_has_counted_is_added_by_its_names(module, tmpdir, monkeypatch, change):
    first = module.Board.make(str(tmpdir), 2)
    slot = first.take()
    slot.begin()
    slot.exchange(list(range(len(module.ws2s.CELLS))))
    old = module.ws2s.CELLS
    new = {'more': old[:3] + (('ws2s_new_total', True),) + old[3:], 'fewer': old[:2] + old[5:],
           'another order': old[::-1], 'other slots': old}[change]
    monkeypatch.setattr(module.ws2s, 'CELLS', new)
    workers = 100 if change == 'other slots' else 2
    second = module.Board.make(str(tmpdir), workers, [os.dup(fd) for fd in first.fds()])
    assert len(second.fds()) == 2
    other = second.take()
    other.begin()
    other.exchange([1000] * len(new))
    known = {pair: number for number, pair in enumerate(old)}
    assert of_board(second) == [(True, [known.get(pair, 0) for pair in new]), (True, [1000] * len(new))]
    slot.exchange([3] * len(old))  # the old one goes on
    assert of_board(second)[0] == (True, [3 if pair in known else 0 for pair in new])
    first.close()
    second.close()
    close(first, second)


def test_a_slot_is_free_when_neither_its_supervisor_nor_its_worker_lives(module, tmpdir, monkeypatch):
    alive = set([11, 12, 21])
    monkeypatch.setattr(module, 'is_alive', lambda pid: pid in alive)
    board = module.Board.make(str(tmpdir), 2)
    (sheet,) = board._sheets
    for slot, holders in enumerate([(11, 21), (11, 0), (13, 21), (13, 23), (13, 0)]):
        sheet.write(slot, 0, holders)
    assert sheet.free_slots()[:3] == [3, 4, 5]
    board.close()
    close(board)


def test_the_memory_of_a_worker_that_nobody_follows_is_free_and_what_the_worker_did_still_counts(module, tmpdir):
    board = module.Board.make(str(tmpdir), 2)
    for _ in range(2 * module.SLOTS):
        slot = board.take()
        slot.begin()
        slot.exchange(cells_of(module, 1))
        slot.end()
        slot.leave()
    assert [values for _, values in of_board(board)] == [
        [2 * module.SLOTS if grows else 1 for _, grows in module.ws2s.CELLS]]
    board.close()
    close(board)


def test_what_is_no_memory_of_counts_is_refused(module, tmpdir):
    tmpdir.join('empty').write('')
    tmpdir.join('other').write('x' * 4096)
    for name in ('empty', 'other', ''):
        fd = os.open(str(tmpdir.join(name)), os.O_RDONLY)
        with pytest.raises(module.ws2s.ServeError):
            module.Sheet(fd)
        os.close(fd)


def test_without_memory_of_its_own_the_system_has_it_in_the_home(module, tmpdir, monkeypatch):
    monkeypatch.setattr(module, 'MEMORY_FOLDER', str(tmpdir.join('none')))
    monkeypatch.setattr(module, 'OWN_FILES', str(tmpdir.join('none')) + '/%d/%d')
    board = module.Board.make(str(tmpdir), 2)
    assert os.listdir(str(tmpdir)) == ['counts'] and board.paths(str(tmpdir)) == [str(tmpdir.join('counts'))]
    slot = board.take()
    slot.begin()
    slot.exchange(cells_of(module, 9))
    others = module.Board.of_service({'counts': board.paths(str(tmpdir))})
    assert of_board(others) == [(True, cells_of(module, 9))]
    board.close()
    close(board, others)


def test_without_room_for_a_file_workers_count_all_the_same(module, tmpdir, monkeypatch):
    def refuse(*arguments):
        raise OSError(errno.ENOSPC, 'no space')

    monkeypatch.setattr(module, 'written_file', refuse)
    board = module.Board.make(str(tmpdir), 2)
    slot = board.take()
    slot.begin()
    slot.exchange(cells_of(module, 9))
    assert of_board(board) == [(True, cells_of(module, 9))] and board.fds() == board.paths(str(tmpdir)) == []
    board.close()
    close(board)


# -- status ------------------------------------------------------------------------------------------------------------

WS2SD_MODULE = load_ws2sd()
FIELDS = ['clients', 'opens_per_second', 'bytes_up_per_second', 'bytes_down_per_second', 'bytes_up', 'bytes_down',
          'resident_bytes', 'held_bytes', 'refusals_total', 'failures_total', 'clients_total', 'descriptors', 'tunnels',
          'held_bytes_limit']


def figures(service):
    """What the command shows, without its start."""
    return json.loads(json.dumps(WS2SD_MODULE.figures(service.state)))


def test_status_tells_programs_what_each_worker_does(service):
    service.start()
    with loading(service) as load:
        for _ in range(10):
            load.say(load.open(), 2000)
        load.be_refused()
        wait_until(lambda: figures(service)['total']['bytes_down'] == 20000)
        found = json.loads(service.do('status', '--json'))
        assert list(found) and set(found) == set(['running', 'version', 'pid', 'address', 'workers', 'total'])
        assert (found['running'], found['pid']) == (True, service.pid)
        assert found['address'] == '%s:%d' % service.address
        assert sorted(worker['pid'] for worker in found['workers']) == sorted(service.workers)
        assert [worker['supervisor'] for worker in found['workers']] == [service.pid] * 2
        for worker in found['workers']:
            assert sorted(worker) == sorted(FIELDS + ['pid', 'supervisor'])
            assert worker['resident_bytes'] > 5000000 and worker['descriptors'] > 5
        for field in FIELDS:
            assert found['total'][field] == sum(worker[field] for worker in found['workers'])
        assert [found['total'][field] for field in ('clients', 'clients_total', 'bytes_up', 'refusals_total')] == [
            10, 10, 20000, 1]


def test_status_shows_the_same_to_people(service):
    service.start()
    with loading(service) as load:
        for _ in range(10):
            load.say(load.open(), 2000)
        wait_until(lambda: figures(service)['total']['bytes_up'] == 20000)
        lines = service.do('status').splitlines()
    assert lines[0].startswith('ws2sd serves on 127.0.0.1:%d, with pid %d' % (service.address[1], service.pid))
    columns = lines[1].split()
    assert columns[:4] == ['worker', 'clients', 'opens/s', 'up/s']
    rows = {line.split()[0]: dict(zip(columns, line.split())) for line in lines[2:]}
    assert sorted(rows) == sorted(['all'] + ['%d' % pid for pid in service.workers])
    assert [rows['all'][column] for column in ('clients', 'up', 'down', 'opened')] == ['10', '20.0k', '20.0k', '10']
    assert len(lines[1]) == 14 * 8


def test_rates_are_those_of_the_last_second_and_end(service):
    service.configure(workers=1)
    service.start()
    with echoing() as port, Crowd(service.address, 2, port) as crowd:
        crowd.begin()
        wait_until(lambda: figures(service)['total']['bytes_up_per_second'] > 0, 30)
        assert figures(service)['total']['bytes_down_per_second'] > 0
        crowd.finish()
        wait_until(lambda: figures(service)['total']['bytes_up_per_second'] == 0, 30)


@pytest.mark.parametrize('words', [('status',), ('status', '--json')])
def test_status_of_what_does_not_run_has_its_exit_status(service, words):
    status, output, errors = service.ask(*words)
    assert (status, errors) == (3, '')
    assert output == 'ws2sd does not run\n' if len(words) == 1 else json.loads(output) == {'running': False}


@pytest.mark.skipif(os.geteuid() != 0, reason='only root can be somebody else')
def test_another_user_is_told_that_it_is_not_for_him(service, module):
    service.start()
    os.chmod(service.user_home, 0o755)
    os.chmod(service.home, 0o755)

    home = module.Home(service.home)
    os.seteuid(65534)
    try:
        with pytest.raises(module.ws2s.ServeError) as caught:
            module.running_pid(home.pid)
    finally:
        os.seteuid(0)
    assert 'Permission denied' in str(caught.value)


@pytest.mark.parametrize('value, text', [
    (0, '0'), (9999, '9999'), (10000, '10.0k'), (99940, '99.9k'), (99960, '100k'), (999499, '999k'), (999500, '1.0M'),
    (12345678, '12.3M'), (5 * 10 ** 9, '5.0G'), (10 ** 18, '1.0E')])
def test_numbers_are_short(module, value, text):
    assert module.short_number(value) == text and len(text) <= 5


# -- top ---------------------------------------------------------------------------------------------------------------

class Terminal(object):
    """``ws2sd top`` in a terminal of this size."""

    def __init__(self, service, rows=24, columns=80, words=()):
        self.master, self._slave = pty.openpty()
        fcntl.ioctl(self._slave, termios.TIOCSWINSZ, struct.pack('4H', rows, columns, 0, 0))
        self.before = termios.tcgetattr(self._slave)
        self.shown = ''
        self.process = subprocess.Popen(
            words or [sys.executable, WS2SD, '--home', service.home, 'top'], stdin=self._slave, stdout=self._slave,
            stderr=self._slave, env=clean_environment(service.user_home), preexec_fn=self._begin, close_fds=True)

    def _begin(self):
        os.setsid()
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for fd in (self.master, self._slave):
            os.close(fd)

    def read(self):
        while select.select([self.master], [], [], 0.02)[0]:
            self.shown += os.read(self.master, 65536).decode('ascii')
        return self.shown

    def wait_for(self, text, count=1):
        wait_until(lambda: self.read().count(text) >= count, 20, text)

    def pictures(self):
        return self.read().split('\x1b[H')[1:]

    def press(self, key):
        os.write(self.master, key)

    def is_as_before(self):
        return termios.tcgetattr(self._slave) == self.before

    def assert_ended_well(self):
        wait_until(lambda: self.read() is not None and self.process.poll() is not None, 30, 'its end')
        assert self.process.returncode == 0
        assert self.is_as_before() and self.read().endswith('\x1b[?25h\x1b[?1049l')


@pytest.fixture
def running(service):
    service.start()
    return service


def test_top_gives_the_terminal_back_as_it_was(running):
    for end in (lambda: it.press(b'q'), lambda: it.press(b'Q'), lambda: it.press(b'\3'),
                lambda: it.process.send_signal(signal.SIGTERM), lambda: it.process.send_signal(signal.SIGINT),
                lambda: it.process.send_signal(signal.SIGHUP)):
        with Terminal(running) as it:
            it.wait_for('serves on')
            assert not it.is_as_before()
            end()
            it.assert_ended_well()


def test_top_shows_what_happens_each_second_and_other_keys_do_nothing(running):
    with Terminal(running) as it, loading(running) as load:
        it.wait_for('\x1b[H', 2)
        for _ in range(3):
            load.open()
        it.press(b'x')
        wait_until(lambda: re.search(r'all +3 ', it.pictures()[-1]), 30, 'the three')
        it.press(b'q')
        it.assert_ended_well()


def test_top_that_is_suspended_gives_the_terminal_back_until_it_goes_on(running):
    """In a shell, as a person has it."""
    top = ' '.join([sys.executable, WS2SD, '--home', running.home, 'top'])
    with Terminal(running, words=[needs('bash', 'bash'), '--norc', '--noediting', '-i']) as it:
        it.press(('stty -a; %s\n' % top).encode('ascii'))
        it.wait_for('serves on')
        for number in range(2):
            it.press(b'\x1a')
            it.wait_for('Stopped', number + 1)
            assert it.read().count('\x1b[?1049h') == it.read().count('\x1b[?25h\x1b[?1049l') == number + 1
            pictures = len(it.pictures())
            it.press(b'fg\n')
            wait_until(lambda: len(it.pictures()) > pictures + 1)
        it.press(b'q')
        it.wait_for('\x1b[?1049l', 3)
        it.press(b"stty -a; echo EN''DED\n")
        it.wait_for('ENDED')
        words = [set(text.split()) for text in it.read().split('speed')[1:]]
        assert len(words) >= 2 and all(set(['icanon', 'echo', 'isig']) <= found for found in words)
        it.press(b'exit\n')
        wait_until(lambda: it.read() is not None and it.process.poll() is not None)


def test_top_goes_on_when_the_service_stops_and_comes_back(running):
    with Terminal(running) as it:
        it.wait_for('serves on')
        running.do('stop')
        wait_until(lambda: 'ws2sd does not run' in it.pictures()[-1])
        running.start()
        wait_until(lambda: 'serves on' in it.pictures()[-1])
        it.press(b'q')
        it.assert_ended_well()


def test_top_fits_any_terminal(running):
    for rows, columns in ((3, 20), (1, 1), (24, 200), (0, 0)):
        with Terminal(running, rows, columns) as it:
            it.wait_for('\x1b[H', 2)
            lines = it.pictures()[0].replace('\x1b[J', '').replace('\r', '').split('\n')
            assert max(map(len, lines)) <= (columns or 80) and len(lines) <= (rows or 24)
            it.press(b'q')
            it.assert_ended_well()


def test_top_without_a_terminal_is_an_error(running):
    assert 'top wants a terminal' in running.refuses(1, 'top')


# -- a real Prometheus -------------------------------------------------------------------------------------------------

def questions():
    """The lines of PromQL in README.md."""
    with io.open(os.path.join(REPOSITORY, 'README.md'), encoding='utf-8') as file:
        table = re.search(r'\| question \| PromQL \|\n.*?\n\n', file.read(), re.DOTALL).group()
    return re.findall(r'\| `(.+)` \|\n', table)


class Prometheus(object):
    """One of our own, which scrapes this address every two seconds."""

    CONFIG = u'''
global: {scrape_interval: 2s, scrape_timeout: 2s}
rule_files: [rules.yml]
scrape_configs: [{job_name: ws2s, static_configs: [{targets: %s}]}]
'''

    def __init__(self, folder, address):
        program, self.promtool = [needs(name, 'prometheus') for name in ('prometheus', 'promtool')]
        self.folder, self.address = str(folder), ('127.0.0.1', closed_port())
        self._write('config.yml', self.CONFIG % json.dumps(['%s:%d' % address]))
        rules = [{'record': 'question:%d' % number, 'expr': line} for number, line in enumerate(questions())]
        self._write('rules.yml', u'%s' % json.dumps({'groups': [{'name': 'README', 'rules': rules}]}))
        self._log = open(os.path.join(self.folder, 'log'), 'wb')
        self._process = subprocess.Popen(
            [program, '--config.file=config.yml', '--storage.tsdb.path=data',
             '--web.listen-address=%s:%d' % self.address], cwd=self.folder, stdout=self._log, stderr=self._log,
            close_fds=True)

    def _write(self, name, text):
        with io.open(os.path.join(self.folder, name), 'w', encoding='utf-8') as file:
            file.write(text)

    def check(self):
        process = subprocess.Popen([self.promtool, 'check', 'config', 'config.yml'], cwd=self.folder, close_fds=True,
                                   stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        output = process.communicate()[0].decode('utf-8')
        assert process.returncode == 0, output
        return output

    def query(self, expression):
        """The values of the series that it gives, or None while it cannot be asked."""
        text = 'GET /api/v1/query?query=%s HTTP/1.0\r\n\r\n' % quote(expression)
        try:
            status, _, body = exchange(self.address, text.encode('ascii'))
        except (IOError, OSError, EOFError):
            return None
        answer = json.loads(body.decode('utf-8')) if status in (200, 400) else {}
        assert answer.get('status') != 'error', answer
        return [float(series['value'][1]) for series in answer['data']['result']] if answer else None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.terminate()
        self._process.wait()
        self._log.close()


def scraped_for(service, folder, seconds):
    """Load for so long, while a Prometheus looks: the sums are right in the end and no scrape has failed."""
    service.start()
    with loading(service) as load, Prometheus(folder, service.address) as prometheus:
        assert 'SUCCESS: %d rules found' % len(questions()) in prometheus.check()
        wait_until(lambda: prometheus.query('up') == [1], 30, 'the first scrape')
        end, begun = time.time() + seconds, time.time()
        while time.time() < end:
            load.say(load.open(MIXED[load.opened % 2][0]), 5000)
            load.be_refused()
            if len(load.clients) > 50:
                load.clients.pop(0).sock.close()
            time.sleep(0.02)
        opened = 'sum(ws2s_clients_total)'
        wait_until(lambda: prometheus.query(opened) == [load.opened], 30, 'the sum to be right')
        assert prometheus.query('sum by (direction) (ws2s_bytes_total)') == [load.bytes, load.bytes]
        assert prometheus.query('ws2s_refusals_total{status="403"}') == [load.refused]
        since = int(time.time() - begun) + 1
        assert prometheus.query('min_over_time(up[%ds])' % since) == [1]
        assert prometheus.query('sum(resets(ws2s_clients_total[%ds]))' % since) == [0]
        assert prometheus.query('sum(resets(ws2s_bytes_total[%ds]))' % since) == [0]
        return {line: prometheus.query(line) for line in questions()}


@pytest.mark.independent
def test_a_prometheus_sees_what_the_clients_have_done_and_answers_the_questions_of_readme(service, tmpdir):
    folder = tmpdir.mkdir('prometheus')
    answers = scraped_for(service, folder, 6)
    assert len(answers) == 9
    silent = [line for line, values in answers.items() if not values]  # whatever nobody had is not in the answer
    assert all(line.endswith(('> 0', '> 0.8')) for line in silent), silent


@pytest.mark.soak
@pytest.mark.timeout(300)
def test_a_prometheus_of_two_minutes(service, tmpdir):
    scraped_for(service, tmpdir.mkdir('prometheus'), 120)
