# -*- coding: utf-8 -*-
"""Wisp 1.2 and 2.0 (protocol, 9), packet by packet."""
import json
import struct

import pytest

import ws2s
from every_split import every_split, shown
from ws2s import BINARY, Hangup, Later, Open, Send, Shut, Write

CONNECT, DATA, CONTINUE, CLOSE, INFO = 1, 2, 3, 4, 5


def config(**wisp):
    return ws2s.parse_config(u'%s' % json.dumps({'wisp': wisp}))


def request(target='/wisp/', *subprotocols):
    headers = [('host', 'gw')] + ([('sec-websocket-protocol', ', '.join(subprotocols))] if subprotocols else [])
    return ws2s.Request('GET', target, 'HTTP/1.1', headers)


def served(asked, settings):
    return next(dialect for serves, dialect in ws2s.DIALECTS if serves(asked, settings))(asked, settings)


def packet(kind, stream, payload=b''):
    return struct.pack('<BI', kind, stream) + payload


def connect(stream, host=b'db.lan', port=80, kind=1):
    return packet(CONNECT, stream, struct.pack('<BH', kind, port) + host)


def told(kind, stream, payload=b''):
    return Send(BINARY, packet(kind, stream, payload))


def closed(stream, reason):
    return told(CLOSE, stream, struct.pack('B', reason))


def credit(stream, packets):
    return told(CONTINUE, stream, struct.pack('<I', packets))


def extension(number, payload=b''):
    return struct.pack('<BI', number, len(payload)) + payload


def old(**wisp):
    """A dialect of version 1 that has begun."""
    dialect = served(request(), config(**wisp))
    assert dialect.on_start() == [credit(0, 16)]
    return dialect


def new(*extensions, **wisp):
    """A dialect of version 2 whose client has said who it is."""
    dialect = served(request('/wisp/', 'wisp-v2'), config(**wisp))
    dialect.on_start()
    assert say(dialect, packet(INFO, 0, b'\2\0' + b''.join(extensions))) == [credit(0, 16)]
    return dialect


def say(dialect, data):
    """The answer, the same for both kinds of bytes."""
    return dialect.on_binary(bytearray(data) if len(data) % 2 else data, True)


# --- Who speaks Wisp ------------------------------------------------------------------------------

@pytest.mark.parametrize('asked, name', [
    (request(), 'wisp'), (request('/wisp/?x=1'), 'wisp'), (request('/', 'wisp-v2'), 'wisp'),
    (request('/x', 'wisp-v1'), 'wisp'),
    (request('/wisp'), 'json'), (request('/wisp/x'), 'json'), (request('/'), 'json'),
    (request('/wisp/a.lan:80'), 'raw'),
])
def test_wisp_is_spoken_at_its_path_and_by_its_subprotocols(asked, name):
    assert served(asked, config()).name == name


def test_wisp_can_be_elsewhere_or_nowhere():
    assert served(request('/secret/x/'), config(path='/secret/x/')).name == 'wisp'
    assert served(request(), config(path='/secret/x/')).name == 'json'
    assert served(request('/wisp/', 'wisp-v2'), config(path=None)).name == 'json'


@pytest.mark.parametrize('offered, answered', [((), None), (('wisp-v2',), 'wisp-v2'),
                                               (('wisp-v1', 'wisp-v2'), 'wisp-v2'),
                                               (('wisp-v1',), 'wisp-v1'), (('binary',), 'binary'), (('x',), 'x'),
                                               (('', 'x', 'y'), 'x'), (('x', 'wisp-v2'), 'wisp-v2'), (('',), None)])
def test_the_subprotocol_tells_the_version(offered, answered):
    dialect = served(request('/wisp/', *offered), config())
    assert dialect.subprotocol == answered
    is_old = answered in (None, 'wisp-v1')
    assert (dialect.on_start() == [credit(0, 16)]) == is_old


# --- Version 2 begins -----------------------------------------------------------------------------

def test_the_server_says_what_it_can_and_waits_for_the_client():
    dialect = served(request('/wisp/', 'wisp-v2'), config(motd=u'h\xe9', users={'ann': 'secret'}))
    assert dialect.on_start() == [told(INFO, 0, b'\2\0' + extension(5) + extension(2, b'\1') + extension(4,
                                  b'h\xc3\xa9')),
                                  Later(10)]
    assert dialect.on_later() == [closed(0, 4), Hangup(1008, 'no agreement on Wisp')]


def test_after_the_greeting_the_time_has_no_meaning():
    assert new().on_later() == []


@pytest.mark.parametrize('first', [connect(1), packet(DATA, 1, b'x'), packet(INFO, 0, b'\2\0' + b'\1\1'),
                                   packet(INFO, 0, b'\2\0' + b'\2\xff\xff\xff\xff')])
def test_a_client_that_begins_wrongly_is_closed(first):
    dialect = served(request('/wisp/', 'wisp-v2'), config())
    dialect.on_start()
    assert say(dialect, first) == [closed(0, 4), Hangup(1008, 'no agreement on Wisp')]


DRAFT_6 = b'\3annsecret'
DRAFT_5 = b'\3\6\0annsecret'


@pytest.mark.parametrize('login, reason', [
    (DRAFT_6, None), (DRAFT_5, None), (b'\3annsecre', 0xc0), (b'\3annsecrets', 0xc0), (b'\3annSecret', 0xc0),
    (b'\3bobsecret', 0xc0),
    (b'\0', 0xc0), (b'', 0xc0), (b'\0\0\0', 0xc0), (b'\3ann', 0xc0), (b'\xffann', 0xc0),
    (b'\3\xff\xff\xffsecret', 0xc0),
    (b'\3\5\0annsecret', 0xc0), (None, 0xc2),
])
def test_a_password_is_wanted_where_there_are_users(login, reason):
    dialect = served(request('/wisp/', 'wisp-v2'), config(users={u'ann': 'secret', u'\xe9va': 'other'}))
    dialect.on_start()
    answer = say(dialect, packet(INFO, 0, b'\2\0' + (b'' if login is None else extension(2, login))))
    assert answer == ([closed(0, reason), Hangup(1008, 'no agreement on Wisp')] if reason else [credit(0, 16)])


def test_a_client_of_version_1_cannot_give_the_password():
    with pytest.raises(ws2s.HttpError) as caught:
        served(request(), config(users={'ann': 'secret'}))
    assert caught.value.status == 403


def test_a_password_is_never_shown():
    settings = config(users={'ann': 'topsecret'})
    assert 'topsecret' not in settings.as_text() + repr(settings) and '***' in settings.as_text()
    with pytest.raises(ws2s.ConfigError):
        ws2s.parse_config(settings.as_text())


def test_unknown_extensions_are_passed_over():
    assert say(new(extension(77, b'abc'), extension(3)), connect(1)) == [Open(1, 'db.lan', 80, prefix=packet(DATA, 1))]


# --- Streams --------------------------------------------------------------------------------------

@pytest.mark.parametrize('host, port, dialled', [(b'db.lan', 80, 'db.lan'), (b' db.lan ', 65535, 'db.lan'),
                                                 (b'[::1]', 1, '::1'),
                                                 (b'::1', 1, '::1'), (b'b\xc3\xbccher.de', 1, 'xn--bcher-kva.de')])
def test_a_connect_dials(host, port, dialled):
    for stream in (1, 0xffffffff):
        assert say(old(), connect(stream, host, port)) == [Open(stream, dialled, port, prefix=packet(DATA, stream))]


@pytest.mark.parametrize('data, reason', [
    (connect(1, b''), 0x41), (connect(1, b'a b'), 0x41), (connect(1, b'\xff'), 0x41), (connect(1, b'a\0b'), 0x41),
    (connect(1, port=0), 0x41), (connect(1, kind=3), 0x41), (connect(1, kind=2), 0x48), (packet(CONNECT, 1), 0x41),
    (packet(CONNECT, 1, b'\1\x50'), 0x41), (connect(1, b'a' * 300), 0x41),
])
def test_a_connect_that_makes_no_sense_closes_its_stream_alone(data, reason):
    dialect = old()
    assert say(dialect, data) == [closed(1, reason)]
    assert say(dialect, connect(2)) == [Open(2, 'db.lan', 80, prefix=packet(DATA, 2))]


def test_a_connect_on_a_stream_in_use_ends_it():
    dialect = old()
    say(dialect, connect(1))
    assert say(dialect, connect(1, b'other.lan')) == [Shut(1), closed(1, 0x41)]
    assert say(dialect, packet(DATA, 1, b'x')) == []


def test_there_are_no_more_streams_than_allowed():
    dialect = old(streams=2)
    for stream in (1, 2):
        say(dialect, connect(stream))
    assert say(dialect, connect(3)) == [closed(3, 0x49)]
    assert say(dialect, packet(CLOSE, 1, b'\2')) == [Shut(1)]
    assert say(dialect, connect(3)) == [Open(3, 'db.lan', 80, prefix=packet(DATA, 3))]


def test_a_stream_of_datagrams_needs_no_credit():
    dialect = old(udp=True)
    assert say(dialect, connect(1, kind=2)) == [Open(1, 'db.lan', 80, prefix=packet(DATA, 1), udp=True)]
    for data in [b'abc', b''] * 100:
        assert say(dialect, packet(DATA, 1, data)) == [Write(1, data)]
    assert dialect.on_drained(1) == []
    assert say(dialect, packet(CLOSE, 1)) == [Shut(1)]
    assert say(dialect, connect(1)) == [Open(1, 'db.lan', 80, prefix=packet(DATA, 1))]
    assert say(dialect, packet(DATA, 1)) == []


def test_the_server_says_whether_it_has_udp():
    dialect = served(request('/wisp/', 'wisp-v2'), config(udp=True))
    assert dialect.on_start()[0] == told(INFO, 0, b'\2\0' + extension(5) + extension(1))


def test_data_goes_to_its_stream_and_to_no_other():
    dialect = old()
    say(dialect, connect(1))
    assert say(dialect, packet(DATA, 1, b'abc')) == [Write(1, b'abc')]
    assert say(dialect, packet(DATA, 2, b'abc')) == []
    assert say(dialect, packet(CLOSE, 1)) == [Shut(1)]
    assert say(dialect, packet(CLOSE, 1)) == []


@pytest.mark.parametrize('data', [b'', b'\1', b'\1\0\0\0', packet(0, 1), packet(6, 1), packet(CONTINUE, 1, b'\1\0\0\0'),
                                  packet(CONTINUE, 1), packet(INFO, 0), packet(CLOSE, 9), packet(DATA, 9)])
def test_what_makes_no_sense_is_passed_over(data):
    dialect = old()
    say(dialect, connect(1))
    assert say(dialect, data) == []
    assert dialect.on_text(u'text') == [] and dialect.on_long_text(bytearray(b'text')) == []
    assert say(dialect, packet(DATA, 1, b'abc')) == [Write(1, b'abc')]


@pytest.mark.parametrize('failure, reason', [
    (ws2s.REFUSED, 0x44), (ws2s.UNKNOWN_NAME, 0x42), (ws2s.UNREACHABLE, 0x42), (ws2s.TIMEOUT, 0x43),
    (ws2s.NO_ROOM, 0x49),
    (ws2s.forbidden('denyTargets'), 0x48), (ws2s.BROKEN, 0x01), (ws2s.RESET, 0x03), (ws2s.CLOSED, 0x02),
    (ws2s.IDLE, 0x47),
])
def test_every_end_has_its_reason(failure, reason):
    dialect = old()
    for on_end in (dialect.on_failed, dialect.on_closed):
        say(dialect, connect(1))
        assert on_end(1, failure) == [closed(1, reason)]
        assert say(dialect, packet(DATA, 1, b'x')) == []


# --- Credit ---------------------------------------------------------------------------------------

def sending(dialect, stream, packets, size=10):
    return [action for _ in range(packets) for action in say(dialect, packet(DATA, stream, b'x' * size))]


def test_a_stream_that_stands_is_confirmed_to_who_wants_that():
    dialect = new(extension(5))
    say(dialect, connect(1))
    assert dialect.on_opened(1) == [credit(1, 16)]
    say(old(), connect(1))
    assert old().on_opened(1) == [] and new().on_opened(1) == []


def given(actions):
    (action,) = actions
    return struct.unpack('<I', action.payload[5:])[0]


def test_credit_is_given_back_when_half_of_it_has_gone_out():
    dialect = old()
    say(dialect, connect(1))
    sending(dialect, 1, 7)
    assert dialect.on_drained(1) == []
    sending(dialect, 1, 1)
    assert dialect.on_drained(1) == [credit(1, 120)]
    assert dialect.on_drained(1) == []


def test_a_client_without_credit_always_gets_some_when_all_has_gone_out():
    for size in (1, 1000, 16384, 65536, 262144, 1000000):
        dialect, left = old(), 16
        say(dialect, connect(1))
        for _ in range(1000):
            sending(dialect, 1, left, size)
            left = given(dialect.on_drained(1))
            assert 2 <= left <= 128 and (left == 2 or left * size <= 262144)


@pytest.mark.parametrize('size', [1, 3000, 16384, 32768, 65536, 262144])
@pytest.mark.parametrize('at_once', [1, 3, 4, 7, 8, 100])
def test_no_more_is_under_way_than_one_credit_of_a_client_that_sends_all_it_may(size, at_once):
    dialect, under_way, taken = old(), 16, 0
    most = max(16, min(128, 262144 // size))
    say(dialect, connect(1))
    while taken < 1000:
        count = min(at_once, under_way)
        sending(dialect, 1, count, size)
        taken, under_way = taken + count, under_way - count
        under_way += sum(given([action]) for action in dialect.on_drained(1))
        assert 0 < under_way <= most


@pytest.mark.parametrize('pause', [1, 2, 5, 8, 60, 100])
@pytest.mark.parametrize('sizes', [(1,), (262144,), (1, 262144), (1, 5000, 70000)], ids=str)
def test_a_client_that_sends_a_little_now_and_then_is_never_without_credit_for_long(sizes, pause):
    dialect, left, begun = old(), 16, 0
    say(dialect, connect(1))
    for number in range(3000):
        sending(dialect, 1, 1, sizes[number * len(sizes) // 3000])
        left, begun = left - 1, begun + 1
        if begun >= pause or not left:
            renewed, begun = dialect.on_drained(1), 0
            left = given(renewed) if renewed else left
            assert left > 0


def test_empty_packets_cost_credit_and_give_it_back():
    dialect = old()
    say(dialect, connect(1))
    assert sending(dialect, 1, 7, 0) == []
    assert sending(dialect, 1, 1, 0) == [credit(1, 120)]


# --- Packets in pieces ----------------------------------------------------------------------------

def said_in_pieces(dialect, pieces):
    """The actions, with the Writes of neighbours joined."""
    actions = []
    for number, piece in enumerate(pieces):
        for action in dialect.on_binary(bytearray(piece), number == len(pieces) - 1):
            is_next = isinstance(action, Write) and actions and isinstance(actions[-1], Write)
            if is_next and actions[-1].channel == action.channel:
                action = Write(action.channel, actions.pop().data + action.data)
            actions.append(action)
    return actions


@pytest.mark.parametrize('kind', [1, 2], ids=['tcp', 'udp'])
def test_a_packet_means_the_same_however_it_is_cut(kind):
    for whole in (packet(DATA, 1, b'some data'), packet(DATA, 1), packet(DATA, 2, b'of nobody'),
                  packet(CLOSE, 1, b'\2'), packet(9, 1, b'?'), connect(2, kind=kind), b'\2\1'):
        answers = []
        for pieces in every_split(whole):
            dialect = old(udp=True)
            say(dialect, connect(1, kind=kind))
            sending(dialect, 1, 7)
            answers.append(said_in_pieces(dialect, pieces) + say(dialect, packet(DATA, 1, b'next')))
            assert dialect.backlog == 0 and answers[-1] == answers[0], shown(pieces)


def test_data_for_tcp_goes_on_before_its_packet_is_complete():
    dialect = old()
    say(dialect, connect(1))
    assert dialect.on_binary(packet(DATA, 1, b'x'), False) == [Write(1, b'x')]
    dialect.on_closed(1, ws2s.CLOSED)
    say(dialect, b'yz')
    assert say(dialect, packet(DATA, 1, b'x')) == []


def test_what_makes_no_sense_is_not_held():
    dialect = old(udp=True)
    say(dialect, connect(1, kind=2))
    for begun in (packet(DATA, 1), packet(DATA, 2), connect(3), packet(INFO, 0)):
        assert dialect.on_binary(begun, False) == []
        for _ in range(1000):
            assert not [action for action in dialect.on_binary(b'x' * 1000, False) if type(action) is not Send]
            assert dialect.backlog < 65536
        assert dialect.on_binary(b'', True) == []
        assert dialect.backlog == 0
    assert say(dialect, packet(DATA, 1, b'x')) == [Write(1, b'x')]


def test_a_long_datagram_arrives_whole():
    dialect = old(udp=True)
    say(dialect, connect(1, kind=2))
    data = b'x' * 65507
    assert dialect.on_binary(packet(DATA, 1, data[:40000]), False) == []
    assert dialect.backlog == 40005
    assert dialect.on_binary(data[40000:], True) == [Write(1, data)]


def test_a_greeting_that_does_not_end_is_refused():
    dialect = served(request('/wisp/', 'wisp-v2'), config())
    dialect.on_start()
    assert dialect.on_binary(packet(INFO, 0, b'x' * 65000), False) == []
    assert dialect.on_binary(b'x' * 1000, False) == [closed(0, 4), Hangup(1008, 'no agreement on Wisp')]


def test_a_greeting_of_a_client_is_short():
    for size, answer in ((4091, [credit(0, 16)]), (4092, [closed(0, 4), Hangup(1008, 'no agreement on Wisp')])):
        dialect = served(request('/wisp/', 'wisp-v2'), config())
        dialect.on_start()
        assert say(dialect, packet(INFO, 0, b'\2\0' + extension(9, b'x' * (size - 7)))) == answer


# --- Packets that come in pieces ------------------------------------------------------------------

def in_pieces(dialect, pieces):
    """All actions, those that write to one stream joined."""
    actions = []
    for number, piece in enumerate(pieces):
        for action in dialect.on_binary(piece, number == len(pieces) - 1):
            if actions and type(action) is Write and type(actions[-1]) is Write:
                action = Write(action.channel, actions.pop().data + action.data)
            actions.append(action)
    return actions


def test_a_packet_means_the_same_in_whatever_pieces_it_comes():
    packets = [connect(1), packet(DATA, 1, b'hello'), packet(DATA, 1), connect(2, kind=2), packet(DATA, 2, b'datagram'),
               packet(DATA, 2), packet(DATA, 9, b'lost'), b'', b'\2\1', packet(CLOSE, 1, b'\2'), packet(CLOSE, 2)]
    whole = [in_pieces(dialect, [data]) for dialect in [old(udp=True)] for data in packets]
    assert [type(actions[0]) for actions in whole if actions] == [Open, Write, Open, Write, Write, Shut, Shut]
    for cut in range(max(map(len, packets))):
        dialect = old(udp=True)
        assert [in_pieces(dialect, [data[:cut], data[cut:]]) for data in packets] == whole
    dialect = old(udp=True)
    assert [in_pieces(dialect, [data[i:i + 1] for i in range(len(data))] + [b'']) for data in packets] == whole


def test_a_packet_in_pieces_counts_once_and_as_long_as_all_of_them():
    cut, whole = old(), old()
    for dialect in (cut, whole):
        say(dialect, connect(1))
    for _ in range(8):
        in_pieces(cut, [packet(DATA, 1, b'x' * 30000), b'y' * 40000, b''])
        in_pieces(whole, [packet(DATA, 1, b'x' * 70000)])
        assert cut.on_drained(1) == whole.on_drained(1)


def test_the_rest_of_a_packet_is_nobodys_when_its_target_has_ended():
    dialect = old()
    say(dialect, connect(1))
    assert dialect.on_binary(packet(DATA, 1, b'one'), False) == [Write(1, b'one')]
    dialect.on_closed(1, ws2s.CLOSED)
    assert dialect.on_binary(packet(DATA, 2, b'two'), True) == []
    assert [type(action) for action in say(dialect, connect(1))] == [Open]


def test_of_a_packet_that_is_no_data_little_is_kept():
    dialect, said = old(), []
    for _ in range(100):
        said += dialect.on_binary(connect(1, b'x' * 4096), False)
        assert dialect.backlog <= 65536
    assert said + dialect.on_binary(b'', True) == [closed(1, 0x41)]
    assert [type(action) for action in say(dialect, connect(1))] == [Open]
