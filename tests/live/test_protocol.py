# -*- coding: utf-8 -*-
"""The wire contract, against real sockets, as a client sees it.

Version 2.1.5 had habits that browsers in the field rely on (A), and faults that must not come back (B). Where a test
shows the one or the other:

    A1   test_any_path_is_taken_and_neither_subprotocol_nor_extension_is_agreed_on
    A2   test_connect_send_receive_and_close_are_byte_exact, test_losses_are_byte_exact
    A3   test_a_request_that_cannot_be_understood_gets_code_1, test_unknown_fields_are_ignored_and_the_last_of_two_wins
    A4   test_pipelined_requests_are_answered_once_each_and_in_order
    A5   test_a_second_connect_ends_the_first_connection
    A6   test_a_port_that_is_none_gets_code_1, test_a_port_may_be_a_text_of_digits
    A7   test_send_with_nothing_connected_gets_code_3
    A8   test_close_is_always_done
    A9   test_a_target_that_closes, test_a_target_that_resets
    A10  test_a_download_arrives_whole; test_flow.py:
         test_client_that_reads_nothing_stalls_its_target_and_gets_every_byte_later
    A11  test_the_target_sees_the_end_of_the_client
    A12  test_every_dialect.py: test_no_spelling_reaches_this_machine
    A15  test_an_empty_ssh_host_means_a_plain_connect
    A17  test_a_ping_is_answered_with_its_payload; test_flow.py:
         test_silent_client_is_pinged_and_lives_as_long_as_it_answers
    B1   test_what_waits_for_a_slow_client_goes_to_no_other; test_crosstalk.py:
         test_no_byte_of_50_clients_is_wrong_or_crosses
    B2   test_close_during_a_blocked_download_cuts_no_frame
    B3   test_a_frame_within_a_binary_message_is_data
    B4   test_a_message_may_come_in_any_number_of_fragments
    B5   test_program.py: test_no_secret_and_no_payload_is_logged
    B6   test_every_dialect.py: test_no_spelling_reaches_this_machine
    B7   test_protection_that_is_not_there_is_refused
    B8   test_protection_that_is_not_there_is_refused
    B9   test_close.py: test_a_close_is_echoed_and_then_comes_a_fin
    B10  test_the_handshake_may_come_in_pieces, test_a_first_frame_may_come_with_the_headers;
         test_live_http.py: test_what_is_refused
    B11  test_a_key_is_found_wherever_and_however_it_is_written
    B12  test_live_http.py: test_what_is_refused
    B13  test_close.py: test_a_fault_is_answered_with_its_code
    B14  test_close.py: test_a_fault_is_answered_with_its_code
    B15  test_live_http.py: test_a_slow_request_gets_408; test_flow.py:
         test_connection_idle_too_long_gets_code_5_idle_and_the_websocket_lives_on
    B16  test_an_echo_takes_no_40_milliseconds
    B17  test_limits.py: test_target_that_never_answers_is_code_1_timeout_after_connectSeconds
    B18  test_a_failed_connect_leaves_nothing_connected
    B19  test_flow.py: test_target_that_closes_its_half_still_gets_all_that_was_taken
    B20  test_a_reset_amid_sends_gives_one_code_5
    B21  test_ipv6_targets_are_reached
    B22  failure(), which all tests of failures use
    B23  test_sendb_takes_base64_and_nothing_else
    B24  test_a_large_message_does_not_hold_up_others
    B25  test_failures_leave_no_descriptors
    B26  test_a_crowd_that_comes_at_once_is_served
    B28  test_program.py: test_a_mistake_in_the_config_file_is_one_line
    B30  test_live_http.py: test_who_may_connect
"""

import base64
import collections
import glob
import hashlib
import json
import os
import re
import socket
import struct
import threading
import time

import pytest

import ws2s
from census import is_empty, sessions
from raw_client import BINARY, CLOSE, KEY, PING, PONG, TEXT, RawClient, frame, upgrade_request
from targets import closed_port, echo, recorder, reset, saying, serving, sink, when
from waiting import wait_until

NOT_CONNECTED = (3, 'not-connected')
BAD_REQUEST = (1, 'bad-request')
UNKNOWN = 'fe80::1%no-such-interface'  # what getaddrinfo refuses without asking anybody
MEGABYTE = os.urandom(1 << 20)


def request(**fields):
    """A masked text frame."""
    return frame(TEXT, json.dumps(fields).encode('ascii'))


def failure(raw):
    """(code, reason) of a failure; its shape must be the one that all have, without Python's words in it."""
    reply = json.loads(raw.decode('ascii'), object_pairs_hook=collections.OrderedDict)
    assert list(reply) == ['success', 'code', 'message', 'reason'] and reply['success'] is False
    assert json.dumps(reply).encode('ascii') == raw
    assert not re.search(r'Error|Errno|Exception|Traceback|\(', reply['message'])
    return reply['code'], reply['reason']


def failed(client, **fields):
    client.send_json(**fields)
    return failure(client.receive_text())


def done(command):
    return {'success': True, 'code': 0, 'message': command + ' done'}


def outcome(client):
    """What the next reply says: a command's name, DATA, or (code, reason)."""
    raw = client.receive_text()
    reply = json.loads(raw.decode('ascii'))
    if not reply['success']:
        return failure(raw)
    return 'DATA' if reply['code'] == -1 else reply['message'].replace(' done', '')


def answers(client, count):
    """The outcomes of ``count`` requests; data that comes between them is passed over."""
    found = []
    while len(found) < count:
        found += [word for word in [outcome(client)] if word != 'DATA']
    return found


@pytest.fixture
def connected(client):
    """The client, connected to an echo."""
    with serving(echo) as port:
        yield client.connect_to(port)


# -- the table above ---------------------------------------------------------------------------------------------------

def test_the_table_names_tests_that_exist():
    folder = os.path.dirname(os.path.abspath(__file__))
    sources = [open_and_read(path) for path in glob.glob(os.path.join(folder, 'test_*.py'))]
    known = set(re.findall(r'^def (test_\w+)', '\n'.join(sources), re.MULTILINE))
    named = set(re.findall(r'\b(test_\w+)(?!\w|\.py)', __doc__))
    assert len(named) > 40
    assert named <= known


def open_and_read(path):
    with open(path, 'rb') as file:
        return file.read().decode('utf-8')


# -- the handshake -----------------------------------------------------------------------------------------------------

def test_any_path_is_taken_and_neither_subprotocol_nor_extension_is_agreed_on(gateway):
    offers = [('Sec-WebSocket-Protocol', 'chat, ws2s'), ('Sec-WebSocket-Extensions', 'permessage-deflate')]
    for path in ('/', '/any/path?and=query', '/%00', '/healthz'):
        with RawClient(gateway.address) as client:
            client.send(upgrade_request(path, headers=offers))
            head = client.receive_head()
            assert head.startswith(b'HTTP/1.1 101 ')
            assert b'protocol' not in head.lower().replace(b'protocols', b'') and b'extensions' not in head.lower()
            assert client.ask(command='ping') == done('ping')


def test_the_handshake_may_come_in_pieces(gateway, heard):
    head = upgrade_request()
    with RawClient(gateway.address) as client:
        for start, end in ((0, 10), (10, 60), (60, len(head) - 1)):
            client.send(head[start:end])
            wait_until(lambda: sum(heard) == end)
        client.send(head[-1:])
        assert client.receive_head().startswith(b'HTTP/1.1 101 ')
        assert client.ask(command='ping') == done('ping')


def test_a_first_frame_may_come_with_the_headers(gateway):
    with serving(echo) as port, RawClient(gateway.address) as client:
        client.send(upgrade_request() + request(command='connect', host='127.0.0.1', port=port)
                    + request(command='send', data='early') + request(command='ping')[:9])
        assert client.receive_head().startswith(b'HTTP/1.1 101 ')
        assert answers(client, 2) == ['connect', 'send']
        assert client.receive_data(5) == b'early'


@pytest.mark.parametrize('line', [
    'Sec-WebSocket-Key: %s', 'SEC-WEBSOCKET-KEY: %s', 'sec-websocket-key:%s', 'Sec-WebSocket-Key: %s   ',
    'X-Name: \xe9\xff\r\nSec-WebSocket-Key: \t%s\t',
], ids=['as usual', 'in capitals', 'without a space', 'with spaces after it', 'after a header that is not UTF-8'])
def test_a_key_is_found_wherever_and_however_it_is_written(gateway, line):
    head = ('GET / HTTP/1.1\r\nHost: x\r\nUpgrade: WebSocket\r\nConnection: keep-alive, upgrade\r\n'
            'Sec-WebSocket-Version: 13\r\n' + line % KEY + '\r\n\r\n')
    with RawClient(gateway.address) as client:
        client.send(head.encode('latin-1') if not isinstance(head, bytes) else head)
        assert b'\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n' in client.receive_head()


def test_a_crowd_that_comes_at_once_is_served(gateway):
    crowd = [RawClient(gateway.address) for _ in range(150)]
    try:
        for client in crowd:
            client.open()
        assert [client.ask(command='ping') for client in crowd] == [done('ping')] * 150
    finally:
        for client in crowd:
            client.sock.close()


# -- requests and replies ----------------------------------------------------------------------------------------------

def test_connect_send_receive_and_close_are_byte_exact(client):
    with serving(echo) as port:
        client.send_json(command='connect', host='127.0.0.1', port=port)
        assert client.receive_text() == b'{"success": true, "code": 0, "message": "connect done"}'
        client.send_json(command='send', data='hi\r\n')
        assert client.receive_text() == b'{"success": true, "code": 0, "message": "send done"}'
        assert client.receive_text() == b'{"success": true, "code": -1, "message": "recv data", "data": "aGkNCg=="}'
        client.send_json(command='sendb', data='AAECAwQ=')
        assert client.receive_text() == b'{"success": true, "code": 0, "message": "sendb done"}'
        assert client.receive_text() == b'{"success": true, "code": -1, "message": "recv data", "data": "AAECAwQ="}'
        client.send_json(command='close')
        assert client.receive_text() == b'{"success": true, "code": 0, "message": "close done"}'
        client.send_json(command='ping')
        assert client.receive_text() == b'{"success": true, "code": 0, "message": "ping done"}'


def test_losses_are_byte_exact(client):
    client.send_json(command='connect', host='127.0.0.1', port=closed_port())
    assert client.receive_text() == (b'{"success": false, "code": 2, "message": "connection refused", '
                                     b'"reason": "refused"}')
    with serving(saying(b'')) as port:
        client.send_json(command='connect', host='127.0.0.1', port=port)
        assert outcome(client) == 'connect'
        assert client.receive_text() == (b'{"success": false, "code": 5, "message": "connection closed by peer", '
                                         b'"reason": "closed"}')


NOT_UNDERSTOOD = [
    b'', b'x', b'[]', b'[{"command": "ping"}]', b'5', b'null', b'"ping"', b'{}', b'{"command": "ping"', b'NaN',
    b'{"command": null}', b'{"command": 5}', b'{"command": ["ping"]}', b'{"command": ""}', b'{"command": "foo"}',
    b'{"command": "PING"}', b'{"command": "close "}', b'{"command": "connect"}', b'{"command": "connect", "host": "x"}',
    b'{"command": "connect", "port": 80}', b'[' * 100000, b'{"command": "ping", "x": [' + b'[],' * 100000 + b'[]]}',
]


@pytest.mark.parametrize('text', NOT_UNDERSTOOD, ids=lambda text: repr(text[:40]).lstrip('b'))
def test_a_request_that_cannot_be_understood_gets_code_1(client, text):
    client.send_frame(TEXT, text)
    assert failure(client.receive_text()) == BAD_REQUEST
    assert client.ask(command='ping') == done('ping')


@pytest.mark.parametrize('port', [
    0, -1, 65536, 70000, 2 ** 70, 1.5, 80.0, True, False, None, [], {}, '', '80x', ' 80', '80\n', '-1', '0', '65536',
    '080000', u'\uff18\uff10',
], ids=lambda port: json.dumps(port))
def test_a_port_that_is_none_gets_code_1(client, port):
    assert failed(client, command='connect', host='127.0.0.1', port=port) == BAD_REQUEST
    assert client.ask(command='ping') == done('ping')


def test_a_port_may_be_a_text_of_digits(client):
    with serving(echo) as port:
        assert client.ask(command='connect', host='127.0.0.1', port=str(port)) == done('connect')


@pytest.mark.parametrize('host', [
    '', 'a' * 254, 'a b', '127.0.0.1 ', '127.0.0.1\n', '127.0.0.1\0x', '127.0.0.1\r\nx', u'\u0085x', u'\u2003x', None,
    5, [], True, '[127.0.0.1]', '[::1', '::1]', '[localhost]', '[]', u'\ud800x', 'a' * 64 + '.invalid', 'a..b',
    u'\u00e9' * 64, 'a\\b', u'fa\u00df.invalid', 'a%b', '.', '-a',
], ids=lambda host: json.dumps(host)[:40])
def test_a_host_that_is_none_gets_code_1_and_is_not_looked_up(running_gateway, host):
    asked = []
    gateway = running_gateway(resolve=lambda *target: asked.append(target) or ws2s.UNKNOWN_NAME)
    with RawClient(gateway.address) as client:
        assert failed(client.open(), command='connect', host=host, port=80) == BAD_REQUEST
        assert client.ask(command='ping') == done('ping')
    assert asked == []


@pytest.mark.parametrize('fields', [
    {}, {'data': None}, {'data': 5}, {'data': True}, {'data': ['x']}, {'data': {}}, {'data': u'x\ud800'},
], ids=lambda fields: json.dumps(fields))
def test_data_that_is_no_text_gets_code_1(connected, fields):
    assert failed(connected, command='send', **fields) == BAD_REQUEST
    assert connected.ask(command='send', data=u'\u00e9') == done('send')
    assert connected.receive_data(2) == b'\xc3\xa9'


@pytest.mark.parametrize('data', [
    'AAECAwQ', 'a', 'aa', 'aaa', '!!!!', 'AA-_', 'AAE CAwQ=', 'AAEC\n', 'YQ==YQ==', 'YQ=', '=', '====', 'Y===',
    'YQ==\0', u'\u00e9\u00e9', None, 5, [],
], ids=lambda data: json.dumps(data))
def test_sendb_takes_base64_and_nothing_else(connected, data):
    assert failed(connected, command='sendb', data=data) == BAD_REQUEST
    assert connected.ask(command='sendb', data='') == done('sendb')
    assert connected.ask(command='sendb', data='/+8=') == done('sendb')
    assert connected.receive_data(2) == b'\xff\xef'


def test_unknown_fields_are_ignored_and_the_last_of_two_wins(connected):
    assert connected.ask(command='ping', data=5, host=[], future=True) == done('ping')
    connected.send_frame(TEXT, b'{"command": "ping", "data": "one", "command": "send", "data": "two"}')
    assert outcome(connected) == 'send'
    assert connected.receive_data(3) == b'two'


# M4: an empty object asks for it, too.
@pytest.mark.parametrize('field, value', [('tls', True), ('tls', {}), ('tls', ''), ('tls', 0), ('tls', []),
                                          ('tls', 'false'), ('ssh_host', '127.0.0.1')])
def test_protection_that_is_not_there_is_refused(client, field, value):
    received = []

    def plain(sock):
        sock.sendall(b'220 welcome\r\n')
        recorder(received)(sock)

    with serving(plain) as port:
        code, _ = failed(client, command='connect', host='127.0.0.1', port=port, ssh_port=closed_port(),
                         **{field: value})
        assert code in (1, 6)
        assert failed(client, command='send', data='in the clear') == NOT_CONNECTED
    assert b'in the clear' not in b''.join(received)


@pytest.mark.parametrize('value', ['', None])
def test_an_empty_ssh_host_means_a_plain_connect(client, value):
    with serving(echo) as port:
        client.connect_to(port, ssh_host=value, ssh_port=value, ssh_username='', tls=None)


def test_many_connects_in_one_read_lose_nothing(client, monkeypatch):
    """With few places for connections that their client has let go of."""
    monkeypatch.setattr(ws2s, 'DRAINING_CONNECTIONS', 5)
    received = []
    with serving(recorder(received)) as port:
        one = request(command='connect', host='127.0.0.1', port=port) + request(command='send', data='hello')
        client.send(one * 40)
        assert answers(client, 80) == ['connect', 'send'] * 40
        wait_until(lambda: received == [b'hello'] * 39)


def test_pipelined_requests_are_answered_once_each_and_in_order(client):
    received = []
    with serving(recorder(received)) as port:
        client.send(request(command='connect', host='127.0.0.1', port=port) + request(command='send', data='one')
                    + request(command='ping') + request(command='nothing') + request(command='sendb', data='dHdv')
                    + request(command='close') + request(command='send', data='three') + request(command='ping'))
        assert answers(client, 8) == ['connect', 'send', 'ping', BAD_REQUEST, 'sendb', 'close', NOT_CONNECTED, 'ping']
        wait_until(lambda: received == [b'onetwo'])


def test_what_waits_for_a_connect_that_fails_gets_code_3(client):
    client.send(request(command='connect', host='127.0.0.1', port=closed_port()) + request(command='send', data='x')
                + frame(BINARY, b'x') + request(command='close'))
    assert answers(client, 4) == [(2, 'refused'), NOT_CONNECTED, NOT_CONNECTED, 'close']


# -- connecting and ending ---------------------------------------------------------------------------------------------

@pytest.mark.parametrize('command', ['send', 'sendb'])
def test_send_with_nothing_connected_gets_code_3(client, command):
    assert failed(client, command=command, data='eA==') == NOT_CONNECTED
    with serving(echo) as port:
        client.connect_to(port)
        assert client.ask(command='close') == done('close')
        assert failed(client, command=command, data='eA==') == NOT_CONNECTED


def test_close_is_always_done(client):
    assert client.ask(command='close') == done('close')
    with serving(echo) as port:
        client.connect_to(port)
        assert [client.ask(command='close') for _ in range(2)] == [done('close')] * 2
        assert client.connect_to(port)


def test_a_second_connect_ends_the_first_connection(client):
    first, second = [], []
    with serving(recorder(first)) as port, serving(recorder(second)) as other:
        client.connect_to(port)
        assert client.ask(command='send', data='to the first') == done('send')
        client.connect_to(other)
        wait_until(lambda: first == [b'to the first'])
        assert client.ask(command='send', data='to the second') == done('send')
        assert client.ask(command='close') == done('close')
        wait_until(lambda: second == [b'to the second'])


def test_after_a_second_connect_nothing_comes_from_the_first(client):
    with serving(saying(b'old' * 1000, saying(b'old' * 100000, sink))) as port, serving(saying(b'new', sink)) as other:
        client.send(request(command='connect', host='127.0.0.1', port=port)
                    + request(command='connect', host='127.0.0.1', port=other))
        replies = iter(lambda: client.receive_json(), {'success': True, 'code': -1, 'message': 'recv data',
                                                       'data': base64.b64encode(b'new').decode('ascii')})
        assert [reply for reply in replies if reply['code'] != -1] == [done('connect')] * 2
        assert client.ask(command='ping') == done('ping')


@pytest.mark.parametrize('fields', [{'port': 1}, {'port': 'x'}, {'host': ''}], ids=['refused', 'no port', 'no host'])
def test_a_failed_connect_leaves_nothing_connected(client, fields):
    received = []
    with serving(recorder(received)) as port:
        client.connect_to(port)
        fields = dict({'host': '127.0.0.1', 'port': closed_port()}, **({} if fields == {'port': 1} else fields))
        assert failed(client, command='connect', **fields)[0] in (1, 2)
        assert failed(client, command='send', data='x') == NOT_CONNECTED
        wait_until(lambda: received == [b''])
        client.connect_to(port)


def test_a_name_that_cannot_be_looked_up_gets_code_1_dns(client):
    assert failed(client, command='connect', host=UNKNOWN, port=80) == (1, 'dns')
    assert failed(client, command='send', data='x') == NOT_CONNECTED


@pytest.mark.parametrize('host', ['::1', '[::1]', '::ffff:127.0.0.1'])
def test_ipv6_targets_are_reached(client, host):
    with serving(echo, host='127.0.0.1' if 'ffff' in host else '::1') as port:
        client.connect_to(port, host=host)
        client.send_json(command='send', data='six')
        assert client.receive_data(3) == b'six'


def test_a_target_that_closes(client):
    with serving(saying(b'last words')) as port:
        for _ in range(2):
            client.connect_to(port)
            assert client.receive_data(10) == b'last words'
            assert failure(client.receive_text()) == (5, 'closed')
            assert failed(client, command='send', data='x') == NOT_CONNECTED
            assert client.ask(command='ping') == done('ping')


def test_a_target_that_resets(client):
    told = threading.Event()
    with serving(saying(b'last words', when(told, reset))) as port, serving(echo) as other:
        client.connect_to(port)
        assert client.receive_data(10) == b'last words'
        told.set()
        assert failure(client.receive_text()) == (5, 'reset')
        assert failed(client, command='send', data='x') == NOT_CONNECTED
        client.connect_to(other)


def test_a_reset_amid_sends_gives_one_code_5(client):
    def reset_after_a_byte(sock):
        sock.recv(1)
        reset(sock)

    for _ in range(10):
        with serving(reset_after_a_byte) as port:
            client.connect_to(port)
            client.send(request(command='send', data='x') * 50)
            found = [outcome(client) for _ in range(51)]
        end = found.index((5, 'reset'))
        assert found[:end] == ['send'] * end and found[end + 1:] == [NOT_CONNECTED] * (50 - end)
    assert client.ask(command='ping') == done('ping')


def test_a_reset_while_neither_side_reads_is_told_and_over_at_once(running_gateway):
    gateway = running_gateway({'limits': {'drainSeconds': 25, 'bufferBytes': 1 << 24}})
    sent, told = threading.Event(), threading.Event()

    def fill_and_reset(sock):
        sent.wait(20)  # a client that does not read what waits for it is not read, either
        sock.settimeout(1)
        try:
            sock.sendall(MEGABYTE * 40)
        except socket.timeout:
            told.wait(20)
            reset(sock)

    with serving(fill_and_reset, receive_buffer=4096) as port:
        with RawClient(gateway.address, receive_buffer=4096) as client:
            client.open().connect_to(port, binary=True)
            client.send_frame(BINARY, MEGABYTE * 10)
            sent.set()
            wait_until(lambda: congested(gateway))
            told.set()
            opcode, payload = BINARY, b''
            while opcode == BINARY:
                opcode, payload = client.receive_frame()
            assert failure(payload) == (5, 'reset')
            wait_until(lambda: not gateway.upstreams)
            assert client.ask(command='ping') == done('ping')
            client.close()


CLOSE_FRAME = frame(CLOSE, struct.pack('!H', 1000))


@pytest.mark.parametrize('end', [
    lambda client: client.send(CLOSE_FRAME), lambda client: client.sock.close(), lambda client: client.abort(),
], ids=['Close', 'FIN', 'RST'])
def test_the_target_sees_the_end_of_the_client(gateway, end):
    received = []
    with serving(recorder(received)) as port, RawClient(gateway.address) as client:
        client.open().connect_to(port)
        assert client.ask(command='send', data='x') == done('send')
        end(client)
        wait_until(lambda: received == [b'x'])


def test_failures_leave_no_descriptors(gateway):
    for _ in range(30):
        with RawClient(gateway.address) as client:
            client.open().send(request(command='connect', host=UNKNOWN, port=1) + request(command='send')
                               + request(command='connect', host='127.0.0.1', port=closed_port()))
            assert answers(client, 3) == [(1, 'dns'), NOT_CONNECTED, (2, 'refused')]
    wait_until(lambda: is_empty(gateway))


# -- data that was taken arrives ---------------------------------------------------------------------------------------

ENDINGS = {'close': request(command='close'), 'Close': CLOSE_FRAME, 'connect': None, 'FIN': b''}


def send_and_end(client, data, ending):
    """Send ``data`` and, right behind it, what ends the connection."""
    if ending == 'connect':
        client.send(data + request(command='connect', host='127.0.0.1', port=closed_port()))
    else:
        client.send(data + ENDINGS[ending])
    if ending == 'FIN':
        client.sock.shutdown(socket.SHUT_WR)


@pytest.mark.parametrize('ending', sorted(ENDINGS))
def test_what_was_taken_reaches_the_target_whatever_follows(client, ending):
    received = []
    with serving(recorder(received)) as port:
        send_and_end(client.connect_to(port), frame(BINARY, MEGABYTE) + request(command='send', data='end'), ending)
        wait_until(lambda: received == [MEGABYTE + b'end'])


@pytest.mark.parametrize('ending', sorted(ENDINGS))
def test_connect_send_and_end_in_one_segment_deliver(client, ending):
    received = []
    with serving(recorder(received)) as port:
        send_and_end(client, request(command='connect', host='127.0.0.1', port=port)
                     + request(command='send', data='all in one') + frame(BINARY, b' segment'), ending)
        wait_until(lambda: received == [b'all in one segment'])


@pytest.mark.parametrize('ending', sorted(ENDINGS))
def test_what_waits_for_a_connect_is_delivered_though_the_client_has_left(running_gateway, ending):
    received, found = [], threading.Event()

    def slow_name(host, port):
        found.wait(20)
        return [(socket.AF_INET, ('127.0.0.1', port))]

    gateway = running_gateway(resolve=slow_name)
    with serving(recorder(received)) as port, RawClient(gateway.address) as client:
        send_and_end(client.open(), request(command='connect', host='slow.test', port=port)
                     + request(command='send', data='patience'), ending)
        if ending == 'Close':
            assert client.receive_close()[0] == 1000
            client.finish()
        if ending in ('Close', 'FIN'):
            wait_until(lambda: not gateway.clients)
        else:
            wait_until(lambda: sessions(gateway)[0].talk.dialect.backlog > len('patience'))
        found.set()
        wait_until(lambda: received == [b'patience'])
    wait_until(lambda: is_empty(gateway))


# -- bulk --------------------------------------------------------------------------------------------------------------

def test_binary_connections_bring_binary_messages_and_json_replies(client):
    with serving(echo) as port:
        assert client.ask(command='connect', host='127.0.0.1', port=port, binary=True) == done('connect')
        client.send_frame(BINARY, b'\x00\xff\x80')
        assert client.receive_frame() == (BINARY, b'\x00\xff\x80')
        assert client.ask(command='ping') == done('ping')
        assert client.ask(command='close') == done('close')
        client.connect_to(port).send_frame(BINARY, b'and as JSON')
        assert client.receive_json()['data'] == 'YW5kIGFzIEpTT04='


def test_a_binary_message_with_nothing_connected_gets_one_code_3(client):
    client.send_frame(BINARY, b'x', final=False)
    client.send_frame(0, b'y', final=False)
    client.send_frame(0, b'')
    assert failure(client.receive_text()) == NOT_CONNECTED
    assert client.ask(command='ping') == done('ping')


def test_a_frame_within_a_binary_message_is_data(client):
    smuggled = request(command='SMUGGLED')
    client.send_frame(BINARY, smuggled)
    assert failure(client.receive_text()) == NOT_CONNECTED
    with serving(echo) as port:
        client.connect_to(port).send_frame(BINARY, smuggled)
        assert client.receive_data(len(smuggled)) == smuggled


@pytest.mark.parametrize('opcode', [TEXT, BINARY])
@pytest.mark.parametrize('size', [1, 7, 131000])
def test_a_message_may_come_in_any_number_of_fragments(connected, opcode, size):
    data = MEGABYTE * 4 if size > 100 else MEGABYTE[:50]
    message = data
    if opcode == TEXT:
        message = json.dumps({'command': 'sendb', 'data': base64.b64encode(data).decode('ascii')}).encode('ascii')
    pieces = [message[i:i + size] for i in range(0, len(message), size)]
    frames = [frame(opcode if i == 0 else 0, piece, final=i == len(pieces) - 1) for i, piece in enumerate(pieces)]
    frames[1:1] = [frame(0, b'', final=False), frame(PONG, b'unasked')]
    sender = threading.Thread(target=lambda: connected.send(b''.join(frames)))
    sender.start()
    assert hashlib.sha256(connected.receive_data(len(data))).digest() == hashlib.sha256(data).digest()
    sender.join(10)


@pytest.mark.parametrize('binary', [False, True], ids=['json', 'binary'])
def test_a_download_arrives_whole(client, binary):
    with serving(saying(MEGABYTE * 20)) as port:
        client.connect_to(port, binary=binary)
        expected = hashlib.sha256(MEGABYTE * 20).digest()
        assert hashlib.sha256(client.receive_data(20 << 20)).digest() == expected
        assert failure(client.receive_text()) == (5, 'closed')


def congested(gateway):
    return any(session.stream.congested for session in sessions(gateway))


# -- clients beside each other -----------------------------------------------------------------------------------------

def test_what_waits_for_a_slow_client_goes_to_no_other(gateway):
    secret = b'PASSWORD-OF-A ' * (1 << 19)
    with serving(saying(secret, sink)) as port, RawClient(gateway.address, receive_buffer=4096) as slow:
        slow.open().connect_to(port)
        wait_until(lambda: congested(gateway))
        slow.send(request(command='unknown-of-A') + request(command='ping'))
        with RawClient(gateway.address) as other:
            other.open()
            assert [other.ask(command='ping') for _ in range(50)] == [done('ping')] * 50
        data, found = bytearray(), []
        while len(data) < len(secret) or len(found) < 2:
            reply = slow.receive_json()
            if reply['code'] == -1:
                data += base64.b64decode(reply['data'])
            else:
                found.append(reply['code'])
        assert bytes(data) == secret and found == [1, 0]


@pytest.mark.parametrize('command', ['close', 'connect'])
def test_close_during_a_blocked_download_cuts_no_frame(gateway, command):
    with serving(saying(MEGABYTE * 8, sink)) as port, serving(echo) as other:
        with RawClient(gateway.address, receive_buffer=4096) as client:
            client.open().connect_to(port)
            wait_until(lambda: congested(gateway))
            client.send(request(command=command, host='127.0.0.1', port=other) + request(command='ping'))
            assert answers(client, 2) == [command, 'ping']
            assert client.ask(command='ping') == done('ping')


@pytest.mark.quiet
def test_an_echo_takes_no_40_milliseconds(connected):
    def seconds():
        begun = time.time()
        connected.send_json(command='send', data='tick')
        assert connected.receive_data(4) == b'tick'
        return time.time() - begun
    assert sorted(seconds() for _ in range(30))[15] < 0.02


@pytest.mark.quiet
def test_a_large_message_does_not_hold_up_others(gateway):
    """One frame of 10 MB; the longest wait of another client, the best of three tries."""
    message = frame(BINARY, MEGABYTE * 10)
    with serving(sink) as port, RawClient(gateway.address) as client, RawClient(gateway.address) as other:
        client.open().connect_to(port)
        other.open()

        def longest_wait():
            sender = threading.Thread(target=lambda: client.send(message))
            sender.start()
            waits = [seconds_of_ping(other)]
            while sender.is_alive():
                waits.append(seconds_of_ping(other))
            sender.join()
            return max(waits)
        assert min(longest_wait() for _ in range(3)) < 0.5


def seconds_of_ping(client):
    begun = time.time()
    assert client.ask(command='ping') == done('ping')
    return time.time() - begun


# -- pings -------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize('payload', [b'', b'text', b'\xff\xfe\x00', b'x' * 125],
                         ids=['empty', 'text', 'not UTF-8', 'longest'])
def test_a_ping_is_answered_with_its_payload(client, payload):
    client.send_frame(PING, payload)
    assert client.receive_frame() == (PONG, payload)
