# -*- coding: utf-8 -*-
"""Whichever way a client names its target, the rules hold, and nothing that they forbid is touched (security S01, S02,
S03, S22)."""

import contextlib
import json

import pytest

import ws2s
from canary import LEADS_HERE, LEADS_NOWHERE, LOCAL, OWN, Names, canary, needs_own_address
from ways import NO_TARGET, WAYS

pytestmark = [pytest.mark.programs, pytest.mark.usefixtures('no_mistakes')]

FORBIDDEN = 'forbidden'
UNREADABLE = 'bad-request', NO_TARGET, 'dns', 'ssh-unreachable', 'timeout'  # of what is no host or has no address
STRICT = {'allowConnectToServerLocal': False}
PUBLIC, PRIVATE = '127.0.0.2', '127.0.0.1'  # of two addresses here the first plays one that is allowed
BUT_PRIVATE = {'denyTargets': [PRIVATE, '::1']}

every_way = pytest.mark.parametrize('way', WAYS, ids=lambda way: way.name)


@contextlib.contextmanager
def asking(way, host, port, settings, **parameters):
    """A function that asks a gateway of its own for the target."""
    with way.config(host, port) as config:
        text = json.dumps(dict({'listen': {'port': 0}, 'allowConnectToServerLocal': True, 'web': False},
                               **dict(settings, **config)))
        gateway = ws2s.Gateway(ws2s.parse_config(text if isinstance(text, ws2s.text_type) else text.decode('ascii')),
                               **parameters)
        gateway.start()
        try:
            yield lambda: way.ask(gateway, host, port)
        finally:
            gateway.stop()


def outcome(way, host, port):
    """What a gateway that reaches nothing of this machine says."""
    try:
        with asking(way, host, port, STRICT) as ask:
            found = ask()
            assert way.dialled() == []
            return found
    except ws2s.ConfigError:
        return 'bad-request'


@every_way
def test_no_spelling_reaches_this_machine(way):
    with canary(LOCAL) as port:
        found = {host: outcome(way, host, port) for host in LEADS_HERE + LEADS_NOWHERE}
    assert {host: word for host, word in found.items()
            if word != FORBIDDEN and not (host in LEADS_NOWHERE and word in UNREADABLE)} == {}


@every_way
@pytest.mark.parametrize('host', ['127.0.0.1', 'localhost', '127.1', '::ffff:127.0.0.1', '0', '::1', 'name.test'])
def test_the_port_of_the_gateway_itself_is_never_dialled(way, host):
    """Also where all of this machine may be reached (S22)."""
    (sock,) = ws2s.bound_sockets('127.0.0.1', 0)
    parameters = {'resolve': Names(['127.0.0.1'])} if host == 'name.test' else {}
    with asking(way, host, sock.getsockname()[1], {'allowTargets': ['*', '127.0.0.0/8', '::/0']}, socks=[sock],
                **parameters) as ask:
        assert ask() == FORBIDDEN
        assert way.dialled() == []


# -- names that stand for more than one address, or for another each time: S02 -----------------------------------------

MIXED = [([PUBLIC, PRIVATE], BUT_PRIVATE, {}), ([PRIVATE, PUBLIC], BUT_PRIVATE, {}),
         (['::1', '::ffff:' + PRIVATE, PUBLIC], BUT_PRIVATE, {}),
         # Its own address plays the public one: this gateway is told that it owns none.
         pytest.param([OWN, PRIVATE, '::1'], STRICT, {'owns': lambda packed: False}, marks=needs_own_address)]


@every_way
@pytest.mark.parametrize('answer, rules, parameters', MIXED, ids=['first', 'second', 'third', 'own'])
def test_of_a_mixed_answer_only_what_is_allowed_is_dialled_and_the_next_one_is_judged_anew(
        way, answer, rules, parameters):
    names = Names(answer, [PRIVATE])
    public = PUBLIC if PUBLIC in answer else OWN
    with canary([PRIVATE], [public]) as port:
        with asking(way, 'rebinding.test', port, rules, resolve=names, **parameters) as ask:
            assert (ask(), names.asked) == (way.reached, 1)
            assert (ask(), names.asked) == (FORBIDDEN, 2)
            assert set(way.dialled()) <= {public}


@every_way
def test_when_what_is_allowed_does_not_answer_nothing_else_is_dialled_or_looked_up(way):
    names = Names([PUBLIC], [PRIVATE])
    with canary([PRIVATE]) as port:
        with asking(way, 'rebinding.test', port, BUT_PRIVATE, resolve=names) as ask:
            assert ask() == way.unanswered
            assert set(way.dialled()) <= {PUBLIC}
        assert names.asked == 1


@every_way
def test_an_address_is_not_looked_up(way):
    names = Names([PRIVATE])
    with canary([PRIVATE], [PUBLIC]) as port, asking(way, PUBLIC, port, BUT_PRIVATE, resolve=names) as ask:
        assert (ask(), names.asked) == (way.reached, 0)
