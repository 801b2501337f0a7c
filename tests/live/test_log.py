# -*- coding: utf-8 -*-
"""What the log tells of each client at `info`: who came, for which target, what became of it, and by whom it ended."""

import logging
import re
import socket
import struct
import threading

import pytest

import ws2s
from census import is_empty
from raw_client import BINARY, CLOSE, PING, RawClient, exchange, frame, upgrade_request
from targets import closed_port, echo, released, saying, serving, sink
from waiting import wait_until

STORY = re.compile(r'#(?P<number>\d+) (?P<peer>127\.0\.0\.1:\d+) has left: origin (?P<origin>.*), path (?P<path>\S*), '
                   r'(?P<dialect>\w+), target (?P<target>.+), (?P<up>\d+) bytes up, (?P<down>\d+) down, '
                   r'(?P<seconds>\d+\.\d{3}) s, ended by (?P<who>client|target|gateway) in '
                   r'(?P<phase>handshake|dial|data|drain), code (?P<code>\d{4}|-)\Z')
SECRET = 'SECRET-of-a-client'


class Lines(logging.Handler):
    """Keeps what is told of clients at `info` and above."""

    def __init__(self):
        logging.Handler.__init__(self, logging.INFO)
        self.found = []

    def emit(self, record):
        line = record.getMessage()
        if line.startswith('#'):
            self.found.append(line)

    def of_one_who_has_left(self, gateway):
        """All of them, when the gateway has nobody any more."""
        wait_until(lambda: self.found and is_empty(gateway))
        return self.found

    def story(self, gateway):
        """What the only line tells that tells of an end, by names."""
        told = [line for line in self.of_one_who_has_left(gateway) if ' has left: ' in line]
        assert len(told) == 1, self.found
        match = STORY.match(told[0])
        assert match, told
        return match.groupdict()


@pytest.fixture
def lines():
    handler, log = Lines(), logging.getLogger('ws2s')
    level = log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    yield handler
    log.setLevel(level)
    log.removeHandler(handler)


def name_of(client):
    return '127.0.0.1:%d' % client.sock.getsockname()[1]


def answer_close(client):
    """The code of the Close that must come next, and which is sent back."""
    code, _ = client.receive_close()
    client.send_frame(CLOSE, struct.pack('!H', code))
    client.finish()
    return code


def of(port):
    return '127.0.0.1:%d' % port


def cause(story):
    return story['who'], story['phase'], story['code']


# -- what is told ------------------------------------------------------------------------------------------------------

def test_an_ordinary_visit_is_two_lines(lines, gateway):
    with serving(echo) as port, RawClient(gateway.address) as client:
        peer = name_of(client)
        client.open('/path?query', [('Origin', 'http://localhost')]).connect_to(port)
        client.send_json(command='send', data='12345')
        assert client.receive_data(5) == b'12345'
        client.close()
        first, last = lines.of_one_who_has_left(gateway)
    assert re.match(r'#1 reached 127\.0\.0\.1:%d in \d\.\d{3} s\Z' % port, first)
    story = STORY.match(last).groupdict()
    assert float(story.pop('seconds')) < 10
    assert story == {'number': '1', 'peer': peer, 'origin': 'http://localhost', 'path': '/path', 'dialect': 'json',
                     'target': of(port), 'up': '5', 'down': '5', 'who': 'client', 'phase': 'data', 'code': '1000'}


def test_a_visit_without_a_target_is_one_line(lines, gateway):
    with RawClient(gateway.address) as client:
        client.open().close()
        assert len(lines.of_one_who_has_left(gateway)) == 1
    story = lines.story(gateway)
    assert (story['origin'], story['path'], story['target'], story['up'], story['down']) == ('-', '/', '-', '0', '0')
    assert cause(story) == ('client', 'data', '1000')


def test_a_target_that_refuses_is_told_with_the_reason(lines, gateway):
    port = closed_port()
    with RawClient(gateway.address) as client:
        assert client.open().ask(command='connect', host='127.0.0.1', port=port)['code'] == 2
        client.close()
        first, _ = lines.of_one_who_has_left(gateway)
    assert re.match(r'#1 did not reach 127\.0\.0\.1:%d in \d\.\d{3} s: refused\Z' % port, first)
    assert lines.story(gateway)['target'] == of(port)


@pytest.mark.parametrize('config, words, secret', [
    ({'denyTargets': ['127.0.0.0/8']}, 'denyTargets', '127.0.0.0/8'),
    ({'denyTargets': ['*.internal.test']}, 'denyTargets', 'internal.test'),
    ({'allowConnectToServerLocal': False}, 'allowConnectToServerLocal', "gateway's own machine"),
], ids=['by address', 'by name', 'this machine'])
def test_the_operators_words_about_a_forbidden_target_are_in_the_log_and_not_in_the_reply(
        lines, running_gateway, config, words, secret):
    host = 'db.internal.test' if 'internal' in secret else '127.0.0.1'
    gateway = running_gateway(config, resolve=lambda host, port: [(socket.AF_INET, ('127.0.0.1', port))])
    with RawClient(gateway.address) as client:
        reply = client.open().ask(command='connect', host=host, port=9)
        assert (reply['code'], reply['reason']) == (4, 'forbidden')
        assert words in reply['message'] and secret not in reply['message']
        client.close()
        first, _ = lines.of_one_who_has_left(gateway)
    assert first.startswith('#1 did not reach %s:9 in ' % host)
    assert words in first and secret in first.partition(' s: ')[2]


def test_bytes_of_several_targets_are_added_up_and_the_last_one_is_named(lines, gateway):
    with serving(echo) as port, serving(saying(b'x' * 1000, sink)) as other, RawClient(gateway.address) as client:
        client.open()
        for _ in range(2):
            client.connect_to(port).send_frame(BINARY, b'1234567')
            client.receive_data(7)
        client.connect_to(other).receive_data(1000)
        client.close()
        assert len(lines.of_one_who_has_left(gateway)) == 4
    story = lines.story(gateway)
    assert (story['target'], story['up'], story['down']) == (of(other) + ' and 2 more', '14', '1014')


def test_clients_have_numbers_of_their_own(lines, gateway):
    for number in (1, 2, 3):
        with RawClient(gateway.address) as client:
            peer = name_of(client)
            client.open().close()
        wait_until(lambda: len(lines.found) == number and is_empty(gateway))
        assert lines.found[-1].startswith('#%d %s has left' % (number, peer))


# -- who ends it, and when ---------------------------------------------------------------------------------------------

ENDS = [
    ('Close', lambda client: client.close(3001), ('client', 'data', '3001')),
    ('FIN', RawClient.finish, ('client', 'data', '-')),
    ('RST', RawClient.abort, ('client', 'data', '-')),
    ('fault', lambda client: client.send(b'\x81\x02{}'), ('client', 'data', '1002')),
    ('text that is not UTF-8', lambda client: client.send(frame(1, b'\xff')), ('client', 'data', '1007')),
]


@pytest.mark.parametrize('end, expected', [row[1:] for row in ENDS], ids=[row[0] for row in ENDS])
@pytest.mark.parametrize('has_target', [True, False], ids=['with a target', 'without a target'])
def test_a_client_ends_by(lines, gateway, end, expected, has_target):
    with serving(sink) as port, RawClient(gateway.address) as client:
        client.open()
        if has_target:
            client.connect_to(port)
        end(client)
        client.sock.close()
        assert cause(lines.story(gateway)) == expected


def test_the_end_of_a_target_is_not_the_end_of_its_client(lines, gateway):
    with serving(saying(b'bye')) as port, RawClient(gateway.address) as client:
        client.open().connect_to(port)
        assert client.receive_data(3) == b'bye'
        assert client.receive_json()['reason'] == 'closed'
        client.close()
        assert cause(lines.story(gateway)) == ('client', 'data', '1000')


class PortDialect(ws2s.Dialect):
    """The WebSocket ends with the connection to the port that the path names."""

    name = 'port'

    def __init__(self, request, config):
        self._port = int(request.path.strip('/'))

    def on_start(self):
        return [ws2s.Open(1, u'127.0.0.1', self._port, prefix=b'')]

    def on_failed(self, channel, failure):
        return [ws2s.Hangup(3000 + failure.code, failure.reason)]

    on_closed = on_failed


@pytest.mark.parametrize('is_there, phase, code', [(True, 'data', '3005'), (False, 'dial', '3002')],
                         ids=['that closes', 'that refuses'])
def test_a_target_ends_a_client_whose_dialect_hangs_up_for_it(lines, running_gateway, is_there, phase, code):
    gateway = running_gateway(dialects=((lambda request, config: True, PortDialect),))
    with serving(saying(b'')) as port, RawClient(gateway.address) as client:
        client.open('/%d' % (port if is_there else closed_port()))
        assert answer_close(client) == int(code)
        story = lines.story(gateway)
    assert cause(story) == ('target', phase, code) and story['dialect'] == 'port'


def test_a_client_that_answers_no_ping_is_ended_by_the_gateway(lines, running_gateway):
    gateway = running_gateway({'limits': {'pingSeconds': 0.2, 'drainSeconds': 0.2}})
    with RawClient(gateway.address) as client:
        assert client.open().receive_frame() == (PING, b'')
        assert client.receive_close()[0] == 1011
        assert cause(lines.story(gateway)) == ('gateway', 'data', '1011')


def test_a_gateway_that_stops_ends_a_client_without_a_target(lines, gateway):
    with RawClient(gateway.address) as client:
        client.open()
        gateway.drain()
        assert answer_close(client) == 1001
        assert cause(lines.story(gateway)) == ('gateway', 'drain', '1001')


def test_a_gateway_that_stops_ends_a_client_when_drainSeconds_are_up(lines, running_gateway):
    gateway = running_gateway({'limits': {'drainSeconds': 0.3}})
    with serving(sink) as port, RawClient(gateway.address) as client:
        client.open().connect_to(port)
        gateway.drain()
        assert answer_close(client) == 1001
        assert cause(lines.story(gateway)) == ('gateway', 'drain', '1001')


def test_a_client_may_end_while_the_gateway_drains(lines, gateway):
    with serving(sink) as port, RawClient(gateway.address) as client:
        client.open().connect_to(port)
        gateway.drain()
        wait_until(lambda: gateway.draining)
        client.close()
        assert cause(lines.story(gateway)) == ('client', 'drain', '1000')


def test_a_gateway_that_stops_at_once_ends_its_clients_without_a_code(lines, gateway):
    with serving(sink) as port, RawClient(gateway.address) as client:
        client.open().connect_to(port)
        gateway.abort()
        assert cause(lines.story(gateway)) == ('gateway', 'drain', '-')


@pytest.mark.parametrize('end, code', [(lambda client: client.close(), '1000'), (RawClient.finish, '-'),
                                       (RawClient.abort, '-')], ids=['Close', 'FIN', 'RST'])
def test_a_client_may_end_while_its_target_is_dialled(lines, running_gateway, end, code):
    asked, go = threading.Event(), threading.Event()

    def resolve(host, port):
        asked.set()
        go.wait(20)
        return ws2s.TIMEOUT

    gateway = running_gateway(resolve=resolve)
    with released(go), RawClient(gateway.address) as client:
        client.open().send_json(command='connect', host='slow.test', port=80)
        assert asked.wait(10)
        end(client)
        story = lines.story(gateway)
    assert cause(story) == ('client', 'dial', code) and story['target'] == 'slow.test:80'


# -- who is no WebSocket -----------------------------------------------------------------------------------------------

ASKED = [
    ('health', b'GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n', r'got 200: GET /healthz'),
    ('page', b'GET /page.txt HTTP/1.1\r\nHost: x\r\n\r\n', r'got 200: GET /page\.txt'),
    ('page by HEAD', b'HEAD /page.txt HTTP/1.1\r\nHost: x\r\n\r\n', r'got 200: HEAD /page\.txt'),
    ('no page', b'GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n', r'got 404: .+'),
    ('bad request', b'hello\r\n\r\n', r'got 400: .+'),
    ('TLS', b'\x16\x03\x01\x02\x00', r'got 400: .+'),
    ('foreign origin', upgrade_request(headers=[('Origin', 'http://evil.test')]), r'got 403: .*allowedOrigins.*'),
    ('nothing', b'', r'got 408: .+'),
    ('half a request', upgrade_request()[:30], r'got 408: .+'),
]


@pytest.mark.parametrize('request_bytes, words', [row[1:] for row in ASKED], ids=[row[0] for row in ASKED])
def test_what_is_answered_without_a_websocket_is_one_line(lines, running_gateway, tmpdir, request_bytes, words):
    tmpdir.join('page.txt').write('x')
    gateway = running_gateway({'web': str(tmpdir), 'limits': {'handshakeSeconds': 0.3 if '408' in words else 10}})
    with RawClient(gateway.address) as client:
        peer = name_of(client)
        client.send(request_bytes)
        client.receive_reply()
    (line,) = lines.of_one_who_has_left(gateway)
    assert re.match(r'#1 %s %s\Z' % (re.escape(peer), words), line), line


# -- what strangers say ------------------------------------------------------------------------------------------------

HOSTILE = u'x\x1b[2J\n\u202e\x9b31m'
ESCAPED = r'x\x1b[2J\n\u202e\x9b31m'


def assert_plain(found):
    assert found and [line for line in found if not re.match(r'[ -~]+\Z', line)] == []


def test_a_path_and_an_origin_are_escaped(lines, running_gateway):
    gateway = running_gateway({'allowedOrigins': ['*']})
    hostile = b'\x9b31m\xe2\x80\xae'.decode('latin-1')
    with RawClient(gateway.address) as client:
        client.open('/%0a%1b' + hostile, [('Origin', 'http://' + hostile)])
        client.close()
        story = lines.story(gateway)
    assert story['path'] == r'/%0a%1b\x9b31m\xe2\x80\xae' and story['origin'] == r'http://\x9b31m\xe2\x80\xae'


def test_the_name_of_a_target_is_plain(lines, running_gateway):
    """The JSON dialect lets only plain names through, and opens them in their canonical form."""
    gateway = running_gateway(resolve=lambda host, port: ws2s.UNKNOWN_NAME)
    with RawClient(gateway.address) as client:
        assert client.open().ask(command='connect', host=u'b\xfccher.test', port=80)['reason'] == 'dns'
        assert client.ask(command='connect', host=u'\u202eevil\u2066', port=80)['reason'] == 'bad-request'
        assert client.ask(command='connect', host=HOSTILE, port=80)['reason'] == 'bad-request'
        client.close()
        first, last = lines.of_one_who_has_left(gateway)
    assert ' did not reach xn--bcher-kva.test:80 in ' in first
    assert ', target xn--bcher-kva.test:80, ' in last


class NamingDialect(ws2s.Dialect):
    """Passes on what it was told without a look at it."""

    def on_text(self, text):
        return [ws2s.Open(1, text, 80)]


def test_a_name_that_a_dialect_has_not_looked_at_is_escaped(lines, running_gateway):
    gateway = running_gateway(dialects=((lambda request, config: True, NamingDialect),),
                              resolve=lambda host, port: ws2s.UNKNOWN_NAME)
    with RawClient(gateway.address) as client:
        client.open().send_frame(1, HOSTILE.encode('utf-8'))
        wait_until(lambda: lines.found)
        client.close()
        found = lines.of_one_who_has_left(gateway)
    assert_plain(found)
    assert [ESCAPED in line for line in found] == [True, True]


@pytest.mark.parametrize('request_bytes', [
    b'GET /page\x9b\x1b HTTP/1.1\r\nHost: x\r\n\r\n', b'\x9b\x1b[2J\r\n\r\n',
    b'GET /%0a%1b\xe2\x80\xae HTTP/1.1\r\nHost: x\r\n\r\n',
    b'GET / HTTP/1.1\r\nHost: \x9b\xe2\x80\xae\r\n\r\n',
    upgrade_request(headers=[('Origin', b'http://\x9b31m\xe2\x80\xae'.decode('latin-1'))])], ids=lambda value: '')
def test_what_is_refused_is_escaped(lines, gateway, request_bytes):
    assert exchange(gateway.address, request_bytes)[0] in (200, 400, 403, 404)
    assert_plain(lines.of_one_who_has_left(gateway))
    assert len(lines.found) == 1


@pytest.mark.parametrize('path', ['/', '/healthz', '/page.txt', '/nothing'])
def test_no_query_of_a_page_is_logged(lines, running_gateway, tmpdir, path):
    tmpdir.join('page.txt').write('x')
    tmpdir.join('index.html').write('x')
    gateway = running_gateway({'web': str(tmpdir)})
    text = 'GET %s?token=%s HTTP/1.1\r\nHost: x\r\n\r\n' % (path, SECRET)
    exchange(gateway.address, text.encode('ascii'))
    assert SECRET not in '\n'.join(lines.of_one_who_has_left(gateway))


def test_no_query_of_a_websocket_is_logged(lines, gateway):
    with RawClient(gateway.address) as client:
        client.open('/path?token=' + SECRET).close()
    assert lines.story(gateway)['path'] == '/path'
    assert SECRET not in '\n'.join(lines.found)


# -- how much is told --------------------------------------------------------------------------------------------------

def left_out(found, speaker):
    """How many lines the log says that it has left out of this one's."""
    counts = [re.match(re.escape(speaker) + r' and ([\d,]+) more lines\Z', line) for line in found]
    return sum(int(match.group(1).replace(',', '')) for match in counts if match)


def test_of_a_client_that_connects_all_the_time_some_lines_are_told_and_the_others_are_counted(lines, running_gateway):
    gateway = running_gateway({'allowConnectToServerLocal': False})
    with RawClient(gateway.address, timeout=30) as client, RawClient(gateway.address) as other:
        client.open().send(frame(1, b'{"command": "connect", "host": "127.0.0.1", "port": 1}') * 2000)
        assert all(client.receive_json()['code'] == 4 for _ in range(2000))
        other.open().ask(command='connect', host='127.0.0.1', port=1)
        client.close()
        other.close()
        found = lines.of_one_who_has_left(gateway)
    number = re.match(r'#\d+', found[0]).group()
    told = [line for line in found if line.startswith(number + ' did not reach ')]
    assert 20 <= len(told) < 1000 and len(told) + left_out(found, number) == 2000
    stories = [line for line in found if ' has left: ' in line]
    assert len(stories) == 2 and sum(' and 1999 more, ' in line for line in stories) == 1
    assert len([line for line in found if not line.startswith(number + ' ')]) == 2


def told(monkeypatch):
    """All lines that a gateway logs from now on."""
    found = []
    monkeypatch.setattr(ws2s.LOG, 'handle', lambda record: found.append(record.getMessage()))
    return found


def test_of_many_visits_of_one_address_some_lines_are_told_and_the_others_are_counted(lines, running_gateway,
                                                                                      monkeypatch):
    monkeypatch.setattr(ws2s, 'ADDRESS_LINES', (5, 0.001))
    found = told(monkeypatch)
    gateway = running_gateway()
    for _ in range(30):
        exchange(gateway.address, b'GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n')
    with RawClient(gateway.address, source='127.0.0.2') as other:
        other.send(b'GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n')
        other.receive_reply()
    with serving(sink) as port, RawClient(gateway.address) as client:
        client.open().connect_to(port)
        client.close()
        wait_until(lambda: is_empty(gateway))
    gateway.stop()
    assert sum(' got 200: ' in line for line in found) == 6 and sum(' 127.0.0.2:' in line for line in found) == 1
    # The client's `reached` and `has left` are among those that are left out.
    assert sum(' has left: ' in line for line in found) == 0 and left_out(found, '127.0.0.1') == 27


def test_of_many_that_are_turned_away_some_lines_are_told(lines, running_gateway, monkeypatch):
    monkeypatch.setattr(ws2s, 'ADDRESS_LINES', (5, 0.001))
    found = told(monkeypatch)
    monkeypatch.setattr(ws2s.Places, 'take', lambda places, *arguments: False)
    gateway = running_gateway()
    for _ in range(30):
        with RawClient(gateway.address) as client:
            wait_until(client.is_ended)
    gateway.stop()
    assert sum(' is turned away' in line for line in found) == 5 and left_out(found, '127.0.0.1') == 25


def test_what_was_left_out_is_told_while_the_client_stays(lines, running_gateway, monkeypatch):
    monkeypatch.setattr(ws2s, 'WARNING_SECONDS', 0.1)
    gateway = running_gateway({'allowConnectToServerLocal': False})
    with RawClient(gateway.address, timeout=30) as client:
        client.open().send(frame(1, b'{"command": "connect", "host": "127.0.0.1", "port": 1}') * 2000)
        assert all(client.receive_json()['code'] == 4 for _ in range(2000))
        wait_until(lambda: left_out(lines.found, '#1'))
        assert client.ask(command='ping')['success']
