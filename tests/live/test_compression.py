# -*- coding: utf-8 -*-
"""What compressed messages make a gateway hold: bombs, and a thousand clients (security S10)."""

import contextlib
import threading

import pytest

from load import load
from program import running_program
from raw_client import BINARY, OFFER, TEXT, RawClient, compressed_frame
from waiting import wait_until, wait_until_still

pytestmark = [pytest.mark.quiet, pytest.mark.programs, pytest.mark.usefixtures('many_descriptors')]

KILOBYTE, MEGABYTE = 1 << 10, 1 << 20
CLIENTS = 1000
ZEROS = 2000                  # of a target to each client, as base64 far beyond deflate.minBytes
# What the README says of one client: with a target and nothing else; to compress, by default; and to inflate.
IDLE, TO_COMPRESS, TO_INFLATE = 4 * KILOBYTE, 2 ** (12 + 2) + 2 ** (5 + 9), 45 * KILOBYTE
LEEWAY = 4 * KILOBYTE         # for what the system's allocator makes of it
BOMBS = 32
MESSAGE_BYTES = 262144        # limits.messageBytes where there are bombs
CHURN = 8 * MEGABYTE          # of a gateway that has so much to do


def deflating(**settings):
    return running_program(dict({'allowConnectToServerLocal': True, 'deflate': {'enabled': True}}, **settings))


# -- bombs -------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize('opcode', [TEXT, BINARY], ids=['text', 'binary'])
def test_bombs_of_many_clients_are_1009_and_are_not_inflated(opcode):
    bomb = compressed_frame(opcode, b'\0' * (64 * MEGABYTE) if opcode == BINARY else b' ' * (64 * MEGABYTE))
    assert len(bomb) < 66 * KILOBYTE
    codes = []

    def explode(client):
        client.send(bomb)
        codes.append(client.receive_close()[0])

    with deflating(limits={'messageBytes': MESSAGE_BYTES}) as program, clients_of(program, BOMBS) as clients:
        before = program.peak_bytes()  # with all its clients
        threads = [threading.Thread(target=explode, args=(client,)) for client in clients]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert codes == [1009] * BOMBS
        assert program.peak_bytes() < before + BOMBS * (MESSAGE_BYTES + TO_INFLATE + len(bomb)) + CHURN


@contextlib.contextmanager
def clients_of(program, count):
    clients = [RawClient(program.address, timeout=60) for _ in range(count)]
    try:
        yield [client.open('/', [OFFER]) for client in clients]
    finally:
        for client in clients:
            client.sock.close()


# -- a thousand clients ------------------------------------------------------------------------------------------------

class Sizes(object):
    """Bytes of a gateway for each client: that has talked and is quiet, and that has begun one more message."""

    def __init__(self, takeover):
        settings = {'enabled': True, 'contextTakeover': takeover}
        with deflating(deflate=settings) as program, load('holding', ZEROS) as target:
            address, self._program = program.address, program  # it has an address when it is complete
            self._before = program.resident_bytes()
            with load('compressors', address[0], address[1], target.wait_for('port'), CLIENTS, ZEROS) as clients:
                clients.wait_for('connected')
                self.quiet = self._each()
                clients.go()
                clients.wait_for('begun')
                self.begun = self._each()
            wait_until(lambda: program.descriptors() < 50, 30)

    def _each(self):
        return (wait_until_still(self._program.resident_bytes) - self._before) // CLIENTS


def test_a_thousand_clients_take_no_more_than_what_is_stated():
    brief, keeping = Sizes(False), Sizes(True)
    print('bytes of a client: %d, with a message begun %d; with contextTakeover %d, with a message begun %d' % (
        brief.quiet, brief.begun, keeping.quiet, keeping.begun))
    assert brief.quiet < IDLE + LEEWAY
    assert brief.begun < IDLE + TO_INFLATE + LEEWAY
    assert TO_COMPRESS / 2 < keeping.quiet < IDLE + TO_COMPRESS + TO_INFLATE + LEEWAY
    assert keeping.begun < IDLE + TO_COMPRESS + TO_INFLATE + LEEWAY
