# -*- coding: utf-8 -*-
"""Short cuts against the general way: with FAST_PATHS on and off everything is the same, but for speed."""
import base64
import binascii
import contextlib
import itertools
import json
import logging
import struct

import pytest

import ws2s
from every_split import byte_by_byte, every_split, shown
from ws2s import (BINARY, CLOSE, CLOSED, CONTINUATION, DEFAULTS, PING, PONG, REFUSED, TEXT, JsonDialect, Piece, Request,
                  RequestError, Send, TargetRules, Write, packed_address, read_base64, read_request,
                  sendb_data)

LIMIT = 70000     # of a text message
EDGES = (0, 1, 2, 7, 124, 125, 126, 127, 128, 511, 512, 513)
LARGE = (LIMIT - 1, LIMIT, LIMIT + 1, 65535, 65536, 65537)
WINDOW = 16384


@contextlib.contextmanager
def fast_paths(on):
    before, ws2s.FAST_PATHS = ws2s.FAST_PATHS, on
    try:
        yield
    finally:
        ws2s.FAST_PATHS = before


def noise(dice, count):
    return binascii.unhexlify('%0*x' % (2 * count, dice.getrandbits(8 * count))) if count else b''


# --- WebSocket ------------------------------------------------------------------------------------

def masked(data, key):
    if key == b'\0\0\0\0':
        return data
    return bytes(bytearray(byte ^ turn for byte, turn in zip(bytearray(data), itertools.cycle(bytearray(key)))))


def frame(opcode, payload=b'', final=True, key=b'\x37\xfa\x21\x3d', form=None, reserved=0, length=None):
    """A client's frame, right or wrong. ``form`` says how the length is written: 7, 16 or 64 bits; with key None it is
    not masked."""
    length = len(payload) if length is None else length
    form = form or (7 if length < 126 else 16 if length < 65536 else 64)
    first, bit = opcode | reserved | (0x80 if final else 0), 0 if key is None else 0x80
    head = {7: lambda: struct.pack('!BB', first, bit | length),
            16: lambda: struct.pack('!BBH', first, bit | 126, length),
            64: lambda: struct.pack('!BBQ', first, bit | 127, length)}[form]()
    return head + (payload if key is None else key + masked(payload, key))


def joined(events):
    """The events with adjacent pieces of one binary message made one."""
    form = []
    for event in events:
        if isinstance(event, Piece):
            if form and form[-1][0] == 'Piece' and not form[-1][2]:
                form[-1] = ('Piece', form[-1][1] + bytes(event.data), event.final)
            else:
                form.append(('Piece', bytes(event.data), event.final))
        else:
            form.append((type(event).__name__,) + tuple(event))
    return form


def understood(pieces, on, limit=LIMIT, closing_after=None):
    """What a WebSocket makes of the pieces: all events, and after each piece what it holds and sends."""
    with fast_paths(on):
        ws, events, states = ws2s.WebSocket(limit), [], []
        for number, piece in enumerate(pieces):
            if number == closing_after and ws.state == ws2s.OPEN:
                ws.close(1000)
            events += ws.receive(piece)
            states.append((ws.state, ws.held(), ws.due(), b''.join(map(bytes, ws.data_to_send()))))
        return joined(events), states


def assert_same_both_ways(pieces, limit=LIMIT, closing_after=None):
    fast = understood(pieces, True, limit, closing_after)
    assert fast == understood(pieces, False, limit, closing_after), shown(pieces)
    return fast[0]


def words(dice, size):
    """UTF-8 of just ``size`` bytes."""
    text = b''
    while len(text) < size:
        text += dice.choice((u'plain ' * 20, u'\xe4', u'\u20ac', u'\U0001f600')).encode('utf-8')
    return text[:size].decode('utf-8', 'ignore').encode('utf-8').ljust(size, b'.')


BAD_TEXTS = (b'\xff', b'ab\xc3', b'\xed\xa0\x80', b'\xc0\x80', b'\xf4\x90\x80\x80', b'\x80',
             b'good until here \xe2\x82')


def some_size(dice):
    return dice.choice(EDGES + (dice.randrange(2000),) * 12 + (dice.choice(LARGE),))


def a_key(dice):
    return dice.choice((b'\0\0\0\0', b'\0\x01\0\xff', noise(dice, 4)))


def whole_message(dice):
    size = some_size(dice)
    if dice.random() < 0.4:
        return frame(TEXT, words(dice, size), key=a_key(dice))
    return frame(BINARY, noise(dice, size), key=a_key(dice) if size < 3000 else b'\0\0\0\0')


def control_frame(dice):
    payload = noise(dice, dice.choice((0, 1, 2, 100, 124, 125)))
    return frame(dice.choice((PING, PONG)), payload, key=a_key(dice))


def fragmented_message(dice):
    opcode, payload = dice.choice((TEXT, BINARY)), words(dice, dice.randrange(400))
    places = sorted(dice.randrange(len(payload) + 1) for _ in range(dice.randrange(1, 5)))
    parts = [payload[i:j] for i, j in zip([0] + places, places + [len(payload)])]
    frames = []
    for number, part in enumerate(parts):
        frames.append(frame(CONTINUATION if number else opcode, part, number == len(parts) - 1, a_key(dice)))
        if dice.random() < 0.3:
            frames.append(control_frame(dice))
    return b''.join(frames)


FAULTS = (
    lambda dice: frame(dice.choice((TEXT, BINARY)), noise(dice, 20), key=None),
    lambda dice: frame(dice.choice((TEXT, BINARY, PING)), b'x', reserved=dice.choice((0x10, 0x20, 0x40, 0x70))),
    lambda dice: frame(dice.choice((3, 4, 5, 6, 7, 11, 12, 13, 14, 15)), b'x'),
    lambda dice: frame(CONTINUATION, b'nothing to continue'),
    lambda dice: frame(BINARY, b'begun', final=False) + frame(dice.choice((TEXT, BINARY)), b'within'),
    lambda dice: frame(TEXT, dice.choice(BAD_TEXTS)),
    lambda dice: frame(TEXT, b'x' * 200 + dice.choice(BAD_TEXTS)),
    lambda dice: frame(TEXT, b'a', final=False) + frame(CONTINUATION, dice.choice(BAD_TEXTS)),
    lambda dice: frame(dice.choice((TEXT, BINARY)), noise(dice, 125), form=dice.choice((16, 64))),
    lambda dice: frame(dice.choice((TEXT, BINARY)), b'', form=dice.choice((16, 64))),
    lambda dice: frame(BINARY, noise(dice, 200), form=64),
    lambda dice: frame(BINARY, b'', form=64, length=1 << 63),
    lambda dice: frame(TEXT, b'', form=64, length=1 << 40),
    lambda dice: frame(TEXT, b'x' * (LIMIT + 1), key=b'\0\0\0\0'),
    lambda dice: frame(PING, b'x' * 126),
    lambda dice: frame(PONG, b'x', final=False),
    lambda dice: frame(CLOSE, dice.choice((b'', b'\x03', b'\x03\xe8', b'\x03\xe8bye', b'\x03\xed', b'\x03\xe8\xff'))),
    lambda dice: noise(dice, 40),
)
KINDS = (whole_message,) * 5 + (control_frame, fragmented_message)


def random_stream(dice):
    frames = [dice.choice(KINDS)(dice) for _ in range(dice.randrange(1, 12))]
    if dice.random() < 0.6:
        frames.insert(dice.randrange(len(frames) + 1), dice.choice(FAULTS)(dice))
    stream = b''.join(frames)
    return stream[:dice.randrange(len(stream))] if dice.random() < 0.2 else stream


def random_cuts(dice, data):
    places = sorted(dice.randrange(len(data) + 1) for _ in range(dice.randrange(12)))
    return [data[i:j] for i, j in zip([0] + places, places + [len(data)])]


@pytest.mark.parametrize('turn', range(12))
def test_random_streams_mean_the_same_with_and_without_short_cuts(dice, turn):
    for _ in range(25):
        stream = random_stream(dice)
        meaning = assert_same_both_ways([stream])
        for pieces in [random_cuts(dice, stream) for _ in range(2)] + [byte_by_byte(stream)] * (len(stream) < 2500):
            assert assert_same_both_ways(pieces) == meaning, shown(pieces)


def test_random_streams_mean_the_same_also_after_our_own_close(dice):
    for _ in range(100):
        pieces = random_cuts(dice, random_stream(dice))
        assert_same_both_ways(pieces, closing_after=dice.randrange(len(pieces)))


@pytest.mark.parametrize('opcode', [TEXT, BINARY], ids=['text', 'binary'])
@pytest.mark.parametrize('size', EDGES + LARGE)
def test_message_between_two_others_means_the_same_wherever_it_is_cut(opcode, size):
    around = frame(TEXT, b'before'), frame(BINARY, b'after')
    message = frame(opcode, b'x' * size, key=b'\0\0\0\0' if size > 1000 else b'\x01\x02\x03\x04')
    stream = around[0] + message + around[1]
    meaning = assert_same_both_ways([stream])
    if opcode == BINARY or size <= LIMIT:
        assert [len(event[1]) for event in meaning] == [6, size, 5]
    else:
        assert [event[0] for event in meaning] == ['Text', 'Fault']
    for pieces in every_split(stream, near=(len(around[0]), len(around[0]) + len(message))):
        if len(pieces) < 2000:
            assert assert_same_both_ways(pieces) == meaning, shown(pieces)


@pytest.mark.parametrize('limit', [0, 1, 5, 125, 126, 127, 1000])
def test_text_is_bounded_to_the_byte_by_its_limit(limit):
    for size in (limit - 1, limit, limit + 1):
        if size >= 0:
            last = assert_same_both_ways([frame(TEXT, b'x' * size) * 2], limit)[-1]
            assert (last[0] == 'Fault') == (size > limit)


@pytest.mark.parametrize('bad', BAD_TEXTS, ids=repr)
@pytest.mark.parametrize('before', [b'', b'x' * 130], ids=['short', 'long'])
def test_text_that_is_not_utf8_is_a_fault_at_its_own_place(bad, before):
    good = frame(TEXT, b'good')
    for stream in (frame(TEXT, before + bad), good + frame(TEXT, before + bad) + good):
        for pieces in every_split(stream):
            assert assert_same_both_ways(pieces)[-1][:2] == ('Fault', 1007)


@pytest.mark.parametrize('form', [16, 64])
@pytest.mark.parametrize('opcode', [TEXT, BINARY], ids=['text', 'binary'])
@pytest.mark.parametrize('size', [0, 1, 124, 125, 126, 127, 65535, 65536])
def test_length_that_is_written_too_long_is_a_fault(opcode, size, form):
    if form == 16 and size > 65535:
        return
    is_minimal = (form == 16 and size > 125) or size > 65535
    events = assert_same_both_ways([frame(opcode, b'x' * size, form=form, key=b'\0\0\0\0') + frame(BINARY, b'next')])
    assert ('Fault' in [event[0] for event in events]) == (not is_minimal)


def test_short_cuts_give_a_client_no_bytes_that_are_still_to_come():
    for size in (1, 125, 126, 200):
        for opcode in (TEXT, BINARY):
            whole = frame(opcode, b'x' * size)
            for there in range(len(whole)):
                events = assert_same_both_ways([whole[:there]])
                assert b''.join(event[1] for event in events if event[0] == 'Piece') == b'x' * max(
                    0, there - (len(whole) - size) if opcode == BINARY else 0)
                assert not [event for event in events if event[0] == 'Text' or event[2]]


def test_without_short_cuts_they_are_not_taken(monkeypatch):
    taken = []
    monkeypatch.setattr(ws2s, 'FRAME_START', lambda *arguments: taken.append(arguments) or (0, 0))
    with fast_paths(False):
        ws2s.WebSocket(LIMIT).receive(frame(BINARY, b'x'))
    assert not taken
    with fast_paths(True):
        ws2s.WebSocket(LIMIT).receive(frame(BINARY, b'x'))
    assert taken


# --- sendb ----------------------------------------------------------------------------------------

PLAIN = u'{"command": "sendb", "data": "%s"}'
SHAPES = [
    PLAIN, u'{"command":"sendb","data":"%s"}', u'{"command": "sendb","data": "%s"}',
    u'{"command":"sendb", "data":"%s"}', u' {"command": "sendb", "data": "%s"}',
    u'{ "command": "sendb", "data": "%s"}', u'{"command" : "sendb", "data": "%s"}',
    u'{"command":  "sendb", "data": "%s"}', u'{"command": "sendb",  "data": "%s"}',
    u'{"command": "sendb", "data": "%s" }', u'{"command": "sendb", "data": "%s"} ',
    u'{"command": "sendb", "data": "%s"}\n', u'{"command": "sendb", "data": "%s"\n}',
    u'{"command": "sendb",\n"data": "%s"}', u'{"command":\t"sendb", "data":\t"%s"}',
    u'\ufeff{"command":"sendb","data":"%s"}', u'{"data": "%s", "command": "sendb"}',
    u'{"data": "", "command": "sendb", "data": "%s"}', u'{"command": "sendb", "data": "%s", "more": ""}',
    u'{"command": "sendb", "data": "%s", "command": "close"}', u'{"command": "sendb", "data": "QUJD", "data": "%s"}',
    u'{"command": "sendb", "data": "%s", "data": "QUJD"}', u'{"command": "send", "command": "sendb", "data": "%s"}',
    u'{"command": "sendb", "command": "send", "data": "%s"}', u'{"command": "sendb", "data": "%s"}}',
    u'{"command": "sendb", "data": "%s"}"}', u'{"command": "sendb", "data": "%s}',
    u'{"command": "sendb", "data": "%s"', u'{"command": "sendb", "data": %s}',
    u'{"command": "sendb", "data": ["%s"]}', u'{"command": "sendb", "data": {"data": "%s"}}',
    u'{"command": "send", "data": "%s"}', u'{"command": "SENDB", "data": "%s"}',
    u'{"command": "sendb", "DATA": "%s"}', u'{"command": "sendb ", "data": "%s"}',
    u'{"command": "s\\u0065ndb", "data": "%s"}', u'{"comm\\u0061nd": "sendb", "data": "%s"}',
    u"{'command': 'sendb', 'data': '%s'}", u'[{"command": "sendb", "data": "%s"}]',
    u'{"command": "sendb", "data": "%s"}{"command": "sendb", "data": "QUJD"}', u'%s',
    u'{"command": "sendb", "data": "" "%s"}', u'{"command": "sendb", "data": ""%s"}',
]
DATAS = [
    u'', u'QUJD', u'QUI=', u'QQ==', u'QUJDREVG', u'++//', u'--__', u'Q', u'QU', u'QUJ', u'QUJDR', u'QQ=', u'QQ===',
    u'Q===', u'====', u'=', u'==', u'QQ==QUJD', u'QUI=QUI=', u'QQ==QQ==', u'QU=D', u'QUJ=DEFG', u'=QUJ', u'Q=UJ',
    u'QUJD====', u'QUJD=', u' QUJD', u'QUJD ', u'QU JD', u'QUJD    ', u'QUJ D===', u'QUJD\n', u'QUJD\\n', u'QU\\nJD',
    u'QUJD\\r\\n', u'QU\\/J', u'\\/\\/\\/\\/', u'\\u0051UJD', u'QUJD\\u003d', u'\\u0051\\u0055\\u0049\\u003d',
    u'QU"JD', u'QUJD"', u'"QUJD', u'QUJD", "data": "QUI=', u'", "a": "', u'QUJD", "command": "close', u'QUJD"}',
    u'QUJD\\', u'QUJD\\\\', u'QUJD\\"', u'\\"QUJD', u'QU\xe4D', u'QUJ\u20ac', u'\uff21\uff21\uff21\uff21',
    u'\U0001f600', u'\ud800', u'QUJD\x00', u'QUJD\\u0000', u'\x00\x00\x00\x00', u'QUJD\t', u'null', u'true', u'1234',
    u'QUJD,,,,', u'[[[[', u'{}{}', u'QUJD' * 20000, u'QUJD' * 20000 + u'QQ==', u'QUJD' * 20000 + u'Q', u'QQ==' * 5000,
    u'QUJD' * 5000 + u'\\u0051' + u'QUJD' * 5000, u',' * 20000, u'QUJD' + u'{' * 12000,
]
STRAYS = u'QUJDabz09+/=' * 3 + u'="\\ \n\t-_,:{}[]u\xe4\u20ac\x00'


def short(value):
    return '%.40r' % (value,)


def general_way(text):
    """(command, the bytes of its data) as read_request and read_base64 see them, or None."""
    try:
        request = read_request(text)
        return request.get(u'command'), read_base64(request.get(u'data'))
    except RequestError:
        return None


def connected_dialect(**fields):
    dialect = JsonDialect(Request('GET', '/', 'HTTP/1.1', []), DEFAULTS)
    dialect.on_text(json.dumps(dict(fields, command='connect', host='a.lan', port=80)).encode('ascii').decode('ascii'))
    dialect.on_opened(1)
    return dialect


def actions_of(text, on):
    with fast_paths(on):
        return connected_dialect().on_text(text)


def assert_same_sendb(text):
    """Is it a sendb that the short cut understood?"""
    data = sendb_data(text)
    if data is not None:
        assert general_way(text) == (u'sendb', data), short(text)
    fast, slow = actions_of(text, True), actions_of(text, False)
    assert fast == slow and list(map(type, fast)) == list(map(type, slow)), short(text)
    return data is not None


@pytest.mark.parametrize('shape', SHAPES, ids=list(map(str, range(len(SHAPES)))))
def test_text_that_looks_like_a_sendb_is_the_same_request_both_ways(shape):
    for data in DATAS:
        assert_same_sendb(shape.replace(u'%s', data))


@pytest.mark.parametrize('shape', SHAPES[:4])
@pytest.mark.parametrize('size', [1, 2, 3, 57, 1000, 100000])
def test_usual_sendb_takes_the_short_cut(dice, shape, size):
    data = noise(dice, size)
    text = shape % base64.b64encode(data).decode('ascii')
    assert assert_same_sendb(text)
    assert sendb_data(text) == data


def test_random_sendbs_are_the_same_both_ways(dice):
    understood_by_both = 0
    for _ in range(3000):
        data = u''.join(dice.choice(STRAYS) for _ in range(dice.choice((4, 8, dice.randrange(14)))))
        understood_by_both += assert_same_sendb(dice.choice(SHAPES[:4]) % data)
    assert understood_by_both


def test_usual_sendbs_with_one_character_changed_are_the_same_both_ways(dice):
    for _ in range(3000):
        text = PLAIN % base64.b64encode(noise(dice, dice.randrange(1, 12))).decode('ascii')
        place = dice.randrange(len(text) + 1)
        assert_same_sendb(text[:place] + dice.choice(STRAYS) + text[place + dice.randrange(3):])


@pytest.mark.parametrize('state', ['unconnected', 'connecting', 'closed'])
def test_sendb_without_a_connection_is_answered_the_same_both_ways(state):
    answers = []
    for on in (True, False):
        with fast_paths(on):
            dialect = JsonDialect(Request('GET', '/', 'HTTP/1.1', []), DEFAULTS)
            if state != 'unconnected':
                dialect.on_text(u'{"command": "connect", "host": "a.lan", "port": 80}')
            if state == 'closed':
                dialect.on_opened(1)
                dialect.on_closed(1, CLOSED)
            answers.append([dialect.on_text(PLAIN % u'QUJD'), dialect.backlog()])
            if state == 'connecting':
                answers[-1].append(dialect.on_opened(1))
    assert answers[0] == answers[1]


# --- Dialect --------------------------------------------------------------------------------------

class General(object):
    """Asks the dialect about each event."""

    def __init__(self):
        self.dialect = JsonDialect(Request('GET', '/', 'HTTP/1.1', []), DEFAULTS)

    def binary(self, piece, final):
        return self.dialect.on_binary(piece, final)

    def data(self, channel, data):
        return self.dialect.on_data(channel, data)


class Short(General):
    """Passes on what the dialect says may pass."""

    def binary(self, piece, final):
        channel = self.dialect.carried()
        if channel is None:
            return self.dialect.on_binary(piece, final)
        return [Write(channel, piece)] if piece else []

    def data(self, channel, data):
        before = self.dialect.room(channel)
        self.dialect.carries(channel, 0)
        assert self.dialect.room(channel) == before
        if self.dialect.carries(channel, len(data)):
            return [Send(BINARY, data)]
        return self.dialect.on_data(channel, data)


class Played(object):
    """Events in an order that can be, given to both."""

    def __init__(self, dice):
        self._dice, self._both, self._state, self._channel = dice, (General(), Short()), 'unconnected', 0
        self.passed = 0

    def step(self):
        events = {'unconnected': (self._connect, self._binary, self._ask),
                  'connecting': (self._open, self._open, self._fail, self._binary, self._ask),
                  'connected': (self._binary, self._data, self._data, self._data, self._ack, self._ask, self._lose,
                                self._connect)}
        self._dice.choice(events[self._state])()
        general, quick = [one.dialect for one in self._both]
        assert (quick.room(self._channel), quick.backlog()) == (general.room(self._channel), general.backlog())
        assert quick.carried() == general.carried() == (self._channel if self._state == 'connected' else None)

    def _give(self, name, *arguments):
        general, quick = [getattr(one, name)(*arguments) if hasattr(one, name) else
                          getattr(one.dialect, name)(*arguments) for one in self._both]
        assert quick == general and list(map(type, quick)) == list(map(type, general))
        for action in quick:
            if isinstance(action, ws2s.Open):
                self._state, self._channel = 'connecting', action.channel
            elif isinstance(action, ws2s.Shut):
                self._state = 'unconnected'

    def _connect(self):
        fields = {'binary': self._dice.choice((True, False)), 'window': self._dice.choice((None, WINDOW, 10 * WINDOW))}
        self._text(command='connect', host='a.lan', port=80, **fields)

    def _text(self, **request):
        self._give('on_text', json.dumps(request).encode('ascii').decode('ascii'))

    def _ask(self):
        self._text(command=self._dice.choice(('ping', 'send', 'sendb', 'ack')), data='QUJD')

    def _ack(self):
        self._text(command='ack', bytes=self._dice.choice((1, 1000, WINDOW, -1, 10 ** 9)))

    def _binary(self):
        self._give('binary', noise(self._dice, self._dice.choice((0, 1, 100))), self._dice.choice((True, False)))

    def _data(self):
        room = self._both[0].dialect.room(self._channel)
        count = min(self._dice.choice((1, 500, WINDOW)), WINDOW if room is None else room)
        if count:
            self._give('data', self._channel, noise(self._dice, count))
            self.passed += self._both[1].dialect.carries(self._channel, 0)

    def _open(self):
        self._state = 'connected'
        self._give('on_opened', self._channel)

    def _fail(self):
        self._state = 'unconnected'
        self._give('on_failed', self._channel, REFUSED)

    def _lose(self):
        self._state = 'unconnected'
        self._give('on_closed', self._channel, CLOSED)


def test_dialect_answers_the_same_whether_it_is_asked_or_lets_pass(dice):
    passed = 0
    for _ in range(60):
        played = Played(dice)
        for _ in range(60):
            played.step()
        passed += played.passed
    assert passed


@pytest.mark.parametrize('binary', [True, False])
@pytest.mark.parametrize('window', [None, WINDOW])
def test_data_is_carried_for_binary_connections_alone(binary, window):
    dialect = connected_dialect(binary=binary, window=window)
    assert dialect.carries(1, 1000) == binary
    assert dialect.room(1) == (None if window is None else WINDOW - 1000 * binary)


def test_dialect_that_says_nothing_of_short_cuts_is_always_asked():
    dialect = ws2s.Dialect(None, None)
    assert dialect.carried() is None and dialect.carries(1, 0) is False


# --- Rules ----------------------------------------------------------------------------------------

ADDRESSES = ('127.0.0.1', '10.1.2.3', '192.0.2.7', '169.254.169.254', '224.0.0.1', '::1', 'fe80::1', '2001:db8::1',
             '::ffff:10.1.2.3', '64:ff9b::a01:203', '2002:a01:203::', '::ffff:127.0.0.1')
HOSTS = ('a.lan', 'A.LAN', 'b.lan.', '10.1.2.3', u'caf\xe9.lan')
RULES = {
    'nothing': {},
    'local': {'allowConnectToServerLocal': True},
    'allow': {'allowTargets': ['*.lan:80', '10.0.0.0/8', '169.254.169.254']},
    'deny': {'denyTargets': ['b.lan', '10.0.0.0/8:1-100'], 'allowConnectToServerLocal': True},
}
CASES = [(host, port, packed_address(address), own, own_port) for host in HOSTS for port in (80, 81, 6379)
         for address in ADDRESSES for own in (False, True) for own_port in (False, True)]


def rules(name):
    return TargetRules(DEFAULTS.replace(RULES[name]))


@pytest.mark.parametrize('name', sorted(RULES))
def test_remembered_verdicts_are_those_of_the_rules(dice, name):
    judging, cases = rules(name), list(CASES)
    for _ in range(2):
        dice.shuffle(cases)
        for case in cases:
            assert judging.judge(*case) == judging._judge(*case), case


def test_cases_that_differ_in_one_thing_are_not_mixed_up():
    judging = rules('deny')
    case = ('a.lan', 80, packed_address('192.0.2.7'), False, False)
    others = [('b.lan',) + case[1:], case[:2] + (packed_address('10.1.2.3'),) + case[3:], case[:3] + (True, True)]
    assert judging.judge(*case).allowed
    for other in others:
        assert not judging.judge(*other).allowed
        assert judging.judge(*case).allowed
    assert judging.judge('a.lan', 101, packed_address('10.1.2.3')).allowed
    assert not judging.judge('a.lan', 100, packed_address('10.1.2.3')).allowed


def test_verdict_is_found_once_and_remembered(monkeypatch):
    judging, asked = rules('allow'), []
    monkeypatch.setattr(TargetRules, '_judge', lambda *case: asked.append(case) or ws2s.Verdict(True, '', ''))
    for _ in range(3):
        for case in CASES[:5]:
            judging.judge(*case)
    assert len(asked) == 5


@pytest.mark.parametrize('most', [1, 2, 10, ws2s.VERDICTS])
def test_no_more_verdicts_are_remembered_than_may_be(monkeypatch, most):
    monkeypatch.setattr(ws2s, 'VERDICTS', most)
    judging, packed = rules('allow'), packed_address('192.0.2.7')
    for number in range(2 * most + 10):
        case = ('n%d.lan' % number, 80 + number % 2, packed, False, False)
        for _ in range(2):
            assert judging.judge(*case) == judging._judge(*case)
        assert 1 <= len(judging._verdicts) <= most


def test_other_rules_remember_nothing_of_earlier_ones():
    case = ('a.lan', 80, packed_address('10.1.2.3'))
    assert rules('allow').judge(*case).allowed and not rules('deny').judge(*case).allowed


def test_dialect_that_is_derived_sees_all_that_passes():
    class Derived(ws2s.JsonDialect):
        pass

    for dialect, channel in ((ws2s.JsonDialect(None, ws2s.DEFAULTS), 1), (Derived(None, ws2s.DEFAULTS), None)):
        dialect.on_text(u'{"command": "connect", "host": "a.lan", "port": 80, "binary": true}')
        dialect.on_opened(1)
        assert dialect.carried() == channel and dialect.carries(1, 5) is (channel == 1)


# -- the log -----------------------------------------------------------------------------------------------------------

FORM = '%(asctime)s %(levelname)s [%(process)d] %(message)s'


@pytest.mark.parametrize('moments', [
    (0, 0.001, 0.999, 1, 1.5, 0.25), (1e9 + 0.9995, 1e9 + 1, 1e9 + 1.0004), (86399.75, 86400, 86399.5)],
    ids=['forth and back', 'the turn of a second', 'the turn of a day'])
def test_lines_of_the_log_are_those_of_the_library(moments):
    ours, librarys = ws2s.LogFormatter(FORM), logging.Formatter(FORM)
    for moment in moments:
        record = logging.LogRecord('ws2s', logging.INFO, 'ws2s.py', 1, '#%d comes', (7,), None)
        record.created, record.msecs = moment, (moment - int(moment)) * 1000
        assert ours.format(record) == librarys.format(record)
