# -*- coding: utf-8 -*-
"""wisp-js, a client that nobody here wrote, in Node: what it wants of a Wisp server, and what it must not lose."""

import hashlib
import threading

import pytest

from installed import needs, needs_node_modules
from players import NodeStage
from targets import closed_port, echo, reset, saying, serving, silence
from test_datagrams import udp_target
from waiting import wait_until
from web_target import MEGABYTE, NOISE, digest

pytestmark = pytest.mark.pages

LARGE, UPLOAD = 100 * MEGABYTE, 50 * MEGABYTE
SHARE = 300007  # bytes of one download of many
VERSIONS = pytest.mark.parametrize('version', [1, 2])


@pytest.fixture
def wisp_js():
    stage = NodeStage(needs('node', 'nodejs npm'), needs_node_modules(), 'wisp_client.js')
    yield stage
    stage.end()


def at(gateway):
    return 'ws://%s:%d/wisp/' % tuple(gateway.address)


def talking(count, begin=0):
    """A target that says so many bytes of the noise, and closes."""
    def talk(sock):
        for piece in NOISE.pieces(count, MEGABYTE, begin):
            sock.sendall(piece)
    return talk


def talking_each(count):
    """To each connection the next part of the noise."""
    begins, lock = iter(range(0, 1000 * count, count)), threading.Lock()

    def talk(sock):
        with lock:
            begin = next(begins)
        talking(count, begin)(sock)
    return talk


def endless(gone):
    """Talks until the other side ends, and then sets ``gone``."""
    def talk(sock):
        try:
            while True:
                sock.sendall(NOISE.cut(0, MEGABYTE))
        except (IOError, OSError):
            gone.set()
    return talk


def hashing(heard):
    """Puts the SHA-256 of what a connection sent into the list ``heard``."""
    def take(sock):
        whole = hashlib.sha256()
        while True:
            data = sock.recv(MEGABYTE)
            if not data:
                heard.append(whole.hexdigest())
                return
            whole.update(data)
    return take


@VERSIONS
def test_each_version_is_spoken_and_the_second_hears_the_greeting(running_gateway, wisp_js, version):
    gateway, motd = running_gateway({'wisp': {'motd': u'h\xe9llo'}}), u'h\xe9llo'
    with serving(echo) as port:
        said = wisp_js.run('greet', url=at(gateway), port=port, version=version)
    assert (said['version'], said.get('motd'), said['said']) == (version, motd if version == 2 else None, 'hello')


def test_the_right_password_opens_and_others_do_not(running_gateway, wisp_js):
    gateway = running_gateway({'wisp': {'users': {'ann': 'secret'}}})
    with serving(echo) as port:
        assert wisp_js.run('greet', url=at(gateway), port=port, user='ann', password='secret')['said'] == 'hello'
    for login in ({'user': 'ann', 'password': 'other'}, {'user': 'bob', 'password': 'secret'}, {}):
        assert wisp_js.run('refused', url=at(gateway), **login) == 1008
    assert wisp_js.run('refused', url=at(gateway), version=1) == 1006


@VERSIONS
def test_a_large_download_comes_whole(gateway, wisp_js, version):
    with serving(talking(LARGE)) as port:
        results = wisp_js.run('download', url=at(gateway), ports=[port], version=version)['results']
    assert results == [{'reason': 2, 'sha256': digest(LARGE)}]


def test_a_large_upload_comes_whole_though_the_stream_is_closed_at_once(gateway, wisp_js):
    heard = []
    with serving(hashing(heard)) as port:
        sent = wisp_js.run('upload', url=at(gateway), port=port, size=UPLOAD)
        wait_until(lambda: heard, 20)
    assert heard == [sent]


@VERSIONS
def test_fifty_streams_come_whole_beside_a_stuck_one(gateway, wisp_js, version):
    with serving(talking_each(SHARE)) as port, serving(silence, receive_buffer=4096) as stuck:
        said = wisp_js.run('download', url=at(gateway), ports=[port] * 50, stuck=stuck, version=version)
    assert set(result['reason'] for result in said['results']) == {2}
    assert (sorted(result['sha256'] for result in said['results'])
            == sorted(digest(SHARE, number * SHARE) for number in range(50)))
    assert said['unsent']


def test_a_stream_that_is_left_ends_at_its_target_and_the_others_go_on(gateway, wisp_js):
    gone = threading.Event()
    with serving(endless(gone)) as talker, serving(echo) as port:
        assert wisp_js.run('leave', url=at(gateway), talker=talker, port=port) == 'hello'
        assert gone.wait(20)


def test_the_client_is_told_why_a_stream_has_ended(running_gateway, wisp_js):
    gateway = running_gateway({'denyTargets': ['10.0.0.0/8']})
    with serving(saying(b'bye')) as port, serving(reset) as resetting:
        targets = [('127.0.0.1', closed_port(), 0x44), ('name.invalid', 80, 0x42), ('10.0.0.1', 80, 0x48),
                   ('a b', 80, 0x41), ('', 80, 0x41), ('127.0.0.1', 0, 0x41), ('127.0.0.1', port, 0x02),
                   ('127.0.0.1', resetting, 0x03)]
        reasons = wisp_js.run('reasons', url=at(gateway), targets=[target[:2] for target in targets])
    assert reasons == [target[2] for target in targets]


def test_more_streams_than_allowed_are_told_so(running_gateway, wisp_js):
    gateway = running_gateway({'wisp': {'streams': 3}})
    with serving(silence) as port:
        assert wisp_js.run('reasons', url=at(gateway), targets=[('127.0.0.1', port)] * 4, first=True) == 0x49


@VERSIONS
def test_each_datagram_comes_back_as_it_was(running_gateway, wisp_js, version):
    gateway, sizes = running_gateway({'wisp': {'udp': True}}), [5, 1, 1472, 0, 9000, 65507] * 3
    with udp_target() as (port, heard):
        assert wisp_js.run('datagrams', url=at(gateway), port=port, sizes=sizes, version=version) == sizes
    assert [len(data) for data, _ in heard] == sizes


def test_udp_is_offered_only_where_it_is_allowed(running_gateway, wisp_js):
    for is_allowed in (False, True):
        url = at(running_gateway({'wisp': {'udp': is_allowed}}))
        assert wisp_js.run('offersUdp', url=url) == is_allowed
    targets = [('127.0.0.1', 9)]
    assert wisp_js.run('reasons', url=at(running_gateway()), targets=targets, kind='udp', version=1) == [0x48]
