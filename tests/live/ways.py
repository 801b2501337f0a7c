# -*- coding: utf-8 -*-
"""Every way in which a client may name a target: each dialect, each form, and what an operator's settings name.

A Way has ``config(host, port)``, what the gateway must be set up with, and ``ask(gateway, host, port)``: None when the
target has said HELLO, or a word for the reason why not: those of JSON's `reason`, and NO_TARGET. A new dialect is one
more row of WAYS.
"""

import contextlib
import json
import shutil
import struct
import tempfile

from canary import HELLO, greet
from fake_ssh import FakeSsh, private_temporary_directory, setting
from raw_client import BINARY, CLOSE, TEXT, RawClient, upgrade_request
from targets import serving
from wisp_client import DATA, TCP, UDP, WispClient

try:
    from urllib.parse import quote
except ImportError:  # Python 2
    from urllib import quote

NO_TARGET = 'no target'  # the form names none, and the WebSocket speaks JSON
STATUSES = {400: 'bad-request', 403: 'forbidden', 500: 'bad-request', 503: 'limit'}  # 500: a token's line
WISP_WORDS = {0x03: 'reset', 0x41: 'bad-request', 0x42: 'dns', 0x43: 'timeout', 0x44: 'refused', 0x48: 'forbidden',
              0x49: 'limit'}


def escaped(text):
    return quote(text.encode('utf-8'), safe='')


def bracketed(host):
    return '[%s]' % host if ':' in host and '[' not in host and ']' not in host else host


class Json(object):

    name = 'json'
    unanswered = 'refused'  # what is said of a port of this machine that nobody has
    reached = None          # and of a target that is reached

    @contextlib.contextmanager
    def config(self, host, port):
        yield {}

    def ask(self, gateway, host, port):
        with RawClient(gateway.address) as client:
            client.open().send_json(**self.request(host, port))
            reply = client.receive_json()
            if reply['success']:
                assert client.receive_data(len(HELLO)) == HELLO
            else:
                assert client.ask(command='ping')['success']
            return reply.get('reason')

    def request(self, host, port):
        return dict(command='connect', host=host, port=port)

    def dialled(self):
        """The addresses to which another program was sent; the gateway's own dials show at the targets."""
        return []


class JsonByTls(Json):
    """The target speaks no TLS: that this is found out tells that it was reached."""

    name, reached = 'json tls', 'tls'

    def request(self, host, port):
        return dict(Json.request(self, host, port), tls=True)


class BySsh(Json):
    """The host is that of an SSH server: no rule is asked about what is behind it."""

    name = 'ssh_host'
    unanswered = None  # the program that is sent there does not go there

    @contextlib.contextmanager
    def config(self, host, port):
        folder = tempfile.mkdtemp(dir='/tmp')
        try:
            with private_temporary_directory(), serving(greet) as behind:
                self._ssh = FakeSsh(folder)
                self._ssh.leads_to(behind)
                yield self._ssh.config()
        finally:
            shutil.rmtree(folder)

    def request(self, host, port):
        return dict(Json.request(self, 'behind.test', 80), ssh_host=host, ssh_port=port, ssh_username='me',
                    ssh_password='secret')

    def dialled(self):
        return [setting(call, 'HostName') for call in self._ssh.calls()]


class Raw(object):
    """Raw bytes to the target that ``target``, the request's, names."""

    reached = None
    first, end = b'x', 1011  # message of a client; close code of what is not reached

    def __init__(self, name, target, config=None, host_header='127.0.0.1', udp=False):
        self.name, self._target, self._config, self._host_header = name, target, config, host_header
        self.unanswered = 'reset' if udp else 'refused'

    @contextlib.contextmanager
    def config(self, host, port):
        yield self._config or {}

    def ask(self, gateway, host, port):
        with RawClient(gateway.address) as client:
            client.send(upgrade_request(self._target(host, port), self._host_header))
            status = int(client.receive_head().split(b' ')[1])
            return self._outcome(client) if status == 101 else STATUSES[status]

    def _outcome(self, client):
        client.send_frame(BINARY, self.first)  # which JSON answers, while others keep it for their target
        opcode, payload = client.receive_frame()
        if opcode == TEXT:
            assert json.loads(payload.decode('ascii'))['reason'] == 'not-connected'
            return NO_TARGET
        if opcode == BINARY and not payload:  # as Playground says that there is no such name
            opcode, payload = client.receive_frame()
        if opcode == BINARY:
            assert payload == HELLO
            return None
        assert opcode == CLOSE and struct.unpack('!H', payload[:2])[0] in (self.end, 1011, 1013), payload
        return payload[2:].decode('ascii')

    def dialled(self):
        return []


class RawByTls(Raw):
    reached = 'tls'


class Playground(Raw):
    first, end = b'\1x', 3000


class Configured(Raw):
    """The operator names the target: what cannot be one is refused when the gateway starts."""

    def __init__(self, name, target, settings_for, **parameters):
        Raw.__init__(self, name, target, **parameters)
        self._settings_for = settings_for

    @contextlib.contextmanager
    def config(self, host, port):
        yield {'raw': dict(self._settings_for('%s:%d' % (bracketed(host), port)), udp=True)}


class ByToken(Raw):

    def __init__(self, name, target, line=u'vm: %s:%d\n', **parameters):
        Raw.__init__(self, name, target, host_header='vm', **parameters)
        self._line = line

    @contextlib.contextmanager
    def config(self, host, port):
        with tempfile.NamedTemporaryFile() as file:
            file.write((self._line % (host, port)).encode('utf-8'))
            file.flush()
            yield {'raw': dict(self._config or {}, tokens=file.name, udp=True)}


class Wisp(object):

    reached = None

    def __init__(self, name, begin, udp=False):
        self.name, self._begin, self._kind = name, begin, UDP if udp else TCP
        self.unanswered = 'reset' if udp else 'refused'

    @contextlib.contextmanager
    def config(self, host, port):
        yield {'wisp': {'udp': True}}

    def ask(self, gateway, host, port):
        with WispClient(gateway.address) as client:
            self._begin(client)
            client.connect(1, port, host.encode('utf-8'), self._kind)
            client.packet(DATA, 1, b'x')
            client.take_until(lambda: client.ended or client.data)
            assert not client.ended or not client.data
            return WISP_WORDS[client.ended[1]] if client.ended else None

    def dialled(self):
        return []


def fixed(target):
    return lambda host, port: target


def raw_ways(name, udp):
    """``udp``: what makes it UDP, or nothing."""
    def query(host, port):
        return '/?host=%s&port=%d%s' % (escaped(host), port, udp and '&' + udp)

    def path(host, port):
        return '/a/%s%s' % (escaped('%s:%d' % (host, port)), udp and '?' + udp)

    def address(host, port):
        return '/v1?%saddress=%s' % (udp and udp + '&', escaped('%s:%d' % (host, port)))

    is_udp, offered = bool(udp), {'raw': {'udp': True}}
    only, token = fixed('/v2' + (udp and '?' + udp)), fixed('/websockify?token=vm' + (udp and '&' + udp))
    return [
        Raw(name + 'address', address, offered, udp=is_udp), Raw(name + 'host and port', query, offered, udp=is_udp),
        Playground(name + 'playground', query, {'raw': {'playground': True, 'udp': True}}, udp=is_udp),
        Raw(name + 'path', path, offered, udp=is_udp),
        Configured(name + 'raw.target', only, lambda target: {'target': target}, udp=is_udp),
        Configured(name + 'hostTargets', only, lambda target: {'hostTargets': {'db.test': target}},
                   host_header='db.test:80', udp=is_udp),
        ByToken(name + 'token', token, udp=is_udp),
        ByToken(name + 'name in Host', only, config={'hostToken': True}, udp=is_udp)]


WAYS = [Json(), JsonByTls(), RawByTls('tls path', lambda host, port: '/%s?tls=1' % escaped('%s:%d' % (host, port))),
        BySsh()] + raw_ways('', '') + raw_ways('udp ', 'udp=1') + [
    ByToken('udp in its line', fixed('/?token=vm'), u'vm: %s:%d udp\n', udp=True),
    Wisp('wisp 1', WispClient.begin), Wisp('wisp 2', WispClient.begin_2),
    Wisp('udp wisp 1', WispClient.begin, udp=True), Wisp('udp wisp 2', WispClient.begin_2, udp=True)]
