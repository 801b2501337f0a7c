# -*- coding: utf-8 -*-
"""The certificate of listeners that speak TLS: wrong at the start, changed while they serve."""

import contextlib
import json
import os
import pty
import shutil
import signal
import socket
import ssl

import pytest

import ws2s
from pki import PASSPHRASE, Authority, Pair, encrypted, new_key
from program import WS2S, clean_environment, run_to_end, running_program
from ssh_server import folder_for_all
from test_listeners import lines  # noqa: F401
from test_tls import authority, context, is_served, pair, settings  # noqa: F401
from tls_client import TlsClient
from waiting import assert_holds, wait_until

pytestmark = [pytest.mark.usefixtures('no_mistakes'), pytest.mark.programs]

NOBODY = 65534


# -- wrong at the start ------------------------------------------------------------------------------------------------

@pytest.fixture
def folder():
    path = folder_for_all()
    yield path
    shutil.rmtree(path)


def written(folder, text, name='file'):
    path = os.path.join(folder, name)
    with open(path, 'w') as file:
        file.write(text)
    return path


def read(path):
    with open(path) as file:
        return file.read()


def refusal(tls, listen=True):
    """What a gateway says that cannot begin with this `tls`."""
    config = json.dumps({'listen': {'port': 0, 'tls': listen}, 'tls': tls})
    with pytest.raises(ws2s.ConfigError) as caught:
        ws2s.Gateway(ws2s.parse_config(config)).start()
    said = str(caught.value)
    assert '\n' not in said and len(said) < 250
    return said


@pytest.mark.parametrize('field', ['certificate', 'key', 'clientCa'])
def test_a_file_that_is_not_there_is_named(pair, folder, field):  # noqa: F811
    missing = os.path.join(folder, 'missing')
    said = refusal(dict(pair._asdict(), **{field: missing}))
    assert said == '"tls.%s": %s: No such file or directory' % (field, missing)


@pytest.mark.parametrize('field', ['certificate', 'key', 'clientCa'])
def test_a_folder_is_no_file(pair, folder, field):  # noqa: F811
    assert refusal(dict(pair._asdict(), **{field: folder})) == '"tls.%s": %s: Is a directory' % (field, folder)


@contextlib.contextmanager
def unprivileged():
    """What is done meanwhile is not done as root."""
    is_root = os.geteuid() == 0
    if is_root:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        if is_root:
            os.seteuid(0)


@pytest.mark.parametrize('field', ['certificate', 'key', 'clientCa'])
def test_a_file_that_may_not_be_read_is_named(folder, field):
    authority = Authority(folder)  # noqa: F811
    pair = authority.issue()  # noqa: F811
    tls = dict(pair._asdict(), clientCa=authority.certificate)
    os.chmod(os.path.join(folder, 'authority'), 0o755)
    for path in tls.values():
        os.chmod(path, 0o644)
    os.chmod(tls[field], 0)
    with unprivileged():
        assert refusal(tls) == '"tls.%s": %s: Permission denied' % (field, tls[field])


@pytest.mark.parametrize('text', ['', 'nonsense', '-----BEGIN CERTIFICATE-----\nnonsense\n-----END CERTIFICATE-----\n',
                                  '\0' * 1000], ids=['empty', 'text', 'damaged', 'zeros'])
@pytest.mark.parametrize('field', ['certificate', 'key', 'clientCa'])
def test_what_is_no_pem_is_refused(pair, folder, field, text):  # noqa: F811
    said = refusal(dict(pair._asdict(), **{field: written(folder, text)}))
    assert said.startswith('"tls.%s": ' % field) and 'PEM' in said


def test_a_key_of_another_certificate_is_refused(pair, folder):  # noqa: F811
    said = refusal(dict(pair._asdict(), key=new_key(os.path.join(folder, 'other'))))
    assert said == '"tls.key": the key does not belong to the certificate'
    assert refusal(dict(pair._asdict(), key=new_key(os.path.join(folder, 'rsa'), 2048)))


def test_a_key_that_is_too_weak_is_refused(authority):  # noqa: F811
    assert refusal(authority.issue(kind=1024)._asdict()) == '"tls.key": the key is too weak'


def test_a_certificate_without_its_key_is_refused(pair):  # noqa: F811
    assert refusal({'certificate': pair.certificate}).startswith('"tls.key": ')
    assert refusal({}) == '"listen" wants "tls", and there is no "tls.certificate"'
    assert 'none of "listen" has "tls"' in refusal(pair._asdict(), listen=False)


def test_certificate_and_key_may_stand_in_one_file(running_gateway, authority, context, folder):  # noqa: F811
    pair = authority.issue()  # noqa: F811
    for files in ((pair.key, pair.certificate), (pair.certificate, pair.key)):
        both = Pair(written(folder, ''.join(map(read, files))), None)
        assert is_served(running_gateway(settings(both)).address, context)


def test_an_encrypted_key_is_refused_and_nobody_is_asked_for_a_passphrase(pair, folder):  # noqa: F811
    key = shutil.copy(pair.key, os.path.join(folder, 'key')) or os.path.join(folder, 'key')
    tls = dict(pair._asdict(), key=encrypted(key))
    assert 'encrypted' in refusal(tls)
    config = written(folder, json.dumps({'listen': {'port': 0, 'tls': True}, 'tls': tls}), 'config')
    status, said = at_a_terminal([WS2S, '--config', config], folder)
    assert status == 2 and said.count('\n') == 1 and 'pass phrase' not in said and PASSPHRASE not in said


def at_a_terminal(arguments, home):
    """(exit status, all that it says) of a program that could ask whoever sits there."""
    command = [ws2s.sys.executable] + arguments
    pid, fd = pty.fork()
    if not pid:
        os.execve(command[0], command, clean_environment(home))
    said = b''
    try:
        while True:
            data = os.read(fd, 4096)
            if not data:
                break
            said += data
            assert b'phrase' not in said, said
    except OSError:  # how Linux says that the other end is closed
        pass
    finally:
        os.close(fd)
        status = os.waitpid(pid, 0)[1]
    return os.WEXITSTATUS(status), said.decode('utf-8')


def test_a_program_that_cannot_begin_says_why_in_one_line(pair, folder):  # noqa: F811
    status, _, said = run_to_end(['--tls', '%s,%s' % (pair.certificate, os.path.join(folder, 'missing'))], folder)
    assert (status, said.count('\n')) == (2, 1) and 'missing: No such file or directory' in said


# -- changed while it serves -------------------------------------------------------------------------------------------

class Site(object):
    """The files of a certificate, which may be another one later."""

    def __init__(self, folder, authority):  # noqa: F811
        self._authority, self.folder = authority, folder
        self.files = Pair(os.path.join(folder, 'fullchain.pem'), os.path.join(folder, 'privkey.pem'))
        self.put(self.issue())

    def issue(self):
        return self._authority.issue()

    def put(self, pair, fields=Pair._fields):  # noqa: F811
        """``fields`` of it take the places, one after the other, each at once."""
        for field in fields:
            place = getattr(self.files, field)
            shutil.copy(getattr(pair, field), place + '.new')
            os.rename(place + '.new', place)


@pytest.fixture
def site(folder, authority):  # noqa: F811
    return Site(folder, authority)


@pytest.fixture
def gateway(running_gateway, site, monkeypatch):
    """It looks at the files all the time."""
    monkeypatch.setattr(ws2s, 'RENEWAL_SECONDS', 0.02)
    return running_gateway(settings(site.files))


def shown(address, context):  # noqa: F811
    """The certificate, in DER."""
    with TlsClient(address, context) as client:
        return client.sock.getpeercert(True)


def der(pair):  # noqa: F811
    return ssl.PEM_cert_to_DER_cert(read(pair.certificate))


def told(lines, part):  # noqa: F811
    return [line for line in list(lines.found) if part in line]


def test_a_new_certificate_is_taken_up_and_who_is_there_lives_on(gateway, site, context, lines):  # noqa: F811
    new = site.issue()
    with TlsClient(gateway.address, context) as client:
        client.open()
        site.put(new)
        wait_until(lambda: shown(gateway.address, context) == der(new))
        assert client.ask(command='ping')['message'] == 'ping done'
        client.close()
    lines.wait_for('^a new certificate is in use$')


def test_nothing_is_told_while_nothing_changes(gateway, context, lines):  # noqa: F811
    assert_holds(lambda: not told(lines, 'certificate'), 0.3)
    assert is_served(gateway.address, context)


@pytest.mark.parametrize('fields', [('certificate', 'key'), ('key', 'certificate')], ids=lambda fields: fields[0])
def test_of_a_pair_that_is_half_changed_the_old_one_stays_and_that_is_said_once(
        gateway, site, context, lines, fields):  # noqa: F811
    old, new = shown(gateway.address, context), site.issue()
    site.put(new, fields[:1])
    lines.wait_for('^the certificate stays the old one: "tls.key": the key does not belong to the certificate$')
    assert_holds(lambda: len(told(lines, 'stays')) == 1, 0.3)
    assert shown(gateway.address, context) == old
    site.put(new, fields[1:])
    wait_until(lambda: shown(gateway.address, context) == der(new))
    assert len(told(lines, 'stays')) == 1 and len(told(lines, 'is in use')) == 1


def test_links_that_lead_elsewhere_are_followed_as_certbot_has_them(
        running_gateway, folder, authority, context, monkeypatch):  # noqa: F811
    monkeypatch.setattr(ws2s, 'RENEWAL_SECONDS', 0.02)
    live = Pair(os.path.join(folder, 'fullchain.pem'), os.path.join(folder, 'privkey.pem'))

    def lead_to(pair):  # noqa: F811
        for field in Pair._fields:
            place = getattr(live, field)
            os.symlink(getattr(pair, field), place + '.new')
            os.rename(place + '.new', place)

    lead_to(authority.issue())
    gateway, new = running_gateway(settings(live)), authority.issue()
    lead_to(new)
    wait_until(lambda: shown(gateway.address, context) == der(new))


@pytest.mark.parametrize('field', Pair._fields)
def test_a_file_that_goes_away_or_is_damaged_changes_nothing(gateway, site, context, lines, field):  # noqa: F811
    old, place = shown(gateway.address, context), getattr(site.files, field)
    os.rename(place, place + '.away')
    lines.wait_for('^the certificate stays the old one: "tls.%s": .*No such file' % field)
    written(site.folder, 'nonsense', os.path.basename(place))
    lines.wait_for('^the certificate stays the old one: "tls.%s": .*PEM' % field)
    assert len(told(lines, 'stays')) == 2 and shown(gateway.address, context) == old
    os.rename(place + '.away', place)
    lines.wait_for('^a new certificate is in use$')
    assert shown(gateway.address, context) == old


def test_a_file_of_the_same_size_is_a_new_one(gateway, site, context, authority):  # noqa: F811
    """Written into the place itself, as cp does."""
    new = site.issue()
    for field in Pair._fields:
        with open(getattr(site.files, field), 'r+') as file:
            file.write(read(getattr(new, field)))
            file.truncate()
    wait_until(lambda: shown(gateway.address, context) == der(new))


def test_new_authorities_of_clients_are_taken_up(running_gateway, site, context, authority, monkeypatch):  # noqa: F811
    monkeypatch.setattr(ws2s, 'RENEWAL_SECONDS', 0.02)
    own, other = site.issue(), Authority(site.folder, 'other')
    place = shutil.copy(other.certificate, os.path.join(site.folder, 'ca')) or os.path.join(site.folder, 'ca')
    gateway = running_gateway(settings(site.files, tls={'clientCa': place}))

    def is_known():
        client_context = ssl.create_default_context(cafile=authority.certificate)
        client_context.load_cert_chain(own.certificate, own.key)
        try:
            return is_served(gateway.address, client_context)
        except (IOError, OSError, EOFError):
            return False

    assert not is_known()
    shutil.copy(authority.certificate, place)
    wait_until(is_known)


# -- by a reload -------------------------------------------------------------------------------------------------------

def reloaded(gateway, pair, **tls):  # noqa: F811
    gateway.reload(ws2s.parse_config(json.dumps(settings(pair, tls, allowConnectToServerLocal=True, web=False))))


def test_a_reload_takes_up_what_has_changed(running_gateway, site, context):  # noqa: F811
    gateway, new = running_gateway(settings(site.files)), site.issue()
    site.put(new)
    reloaded(gateway, site.files)
    wait_until(lambda: shown(gateway.address, context) == der(new))
    other = site.issue()
    for _ in range(20):  # looks at the old ones are still under way
        reloaded(gateway, site.files)
    reloaded(gateway, other)
    wait_until(lambda: shown(gateway.address, context) == der(other))


def test_a_reload_may_ask_for_newer_clients(running_gateway, site, authority):  # noqa: F811
    gateway = running_gateway(settings(site.files))
    old = ssl.create_default_context(cafile=authority.certificate)
    old.options |= ssl.OP_NO_TLSv1_3
    assert is_served(gateway.address, old)
    reloaded(gateway, site.files, minVersion='1.3')

    def is_refused():
        try:
            return not is_served(gateway.address, old)
        except (IOError, OSError):
            return True
    wait_until(is_refused)


def test_many_reloads_leave_one_timer(running_gateway, site, monkeypatch):
    monkeypatch.setattr(ws2s, 'RENEWAL_SECONDS', 60)
    gateway = running_gateway(settings(site.files))
    for _ in range(20):
        reloaded(gateway, site.files)
    wait_until(lambda: gateway.loop.live_timers() == 1)
    assert_holds(lambda: gateway.loop.live_timers() <= 1, 0.2)


def test_a_reload_with_a_pair_that_does_not_fit_changes_nothing(running_gateway, site, context):  # noqa: F811
    gateway, other = running_gateway(settings(site.files)), site.issue()
    old = shown(gateway.address, context)
    with pytest.raises(ws2s.ConfigError):
        reloaded(gateway, Pair(other.certificate, site.files.key))
    assert shown(gateway.address, context) == old


def test_sighup_takes_up_a_new_certificate(site, context):  # noqa: F811
    with running_program(settings(site.files)) as program:
        old, new = shown(program.address, context), site.issue()
        site.put(new, ['certificate'])
        program.signal(signal.SIGHUP)
        wait_until(lambda: any('stays as it was: "tls.key"' in line for line in list(program.lines)))
        assert shown(program.address, context) == old
        site.put(new)
        program.signal(signal.SIGHUP)
        wait_until(lambda: shown(program.address, context) == der(new))
        program.signal(signal.SIGTERM)
        assert program.wait() == 0


def test_a_session_of_the_old_certificate_is_not_taken_up_and_does_no_harm(gateway, site, context):  # noqa: F811
    if not hasattr(ssl.SSLSocket, 'session'):
        pytest.skip('owed: this Python cannot take a session up')
    name, new = 'gateway.example.com', site.issue()
    with context.wrap_socket(socket.create_connection(gateway.address), server_hostname=name) as sock:
        sock.sendall(b'GET /healthz HTTP/1.0\r\n\r\n')
        while sock.recv(4096):
            pass
        session = sock.session
    site.put(new)
    wait_until(lambda: shown(gateway.address, context) == der(new))
    sock = socket.create_connection(gateway.address)
    with context.wrap_socket(sock, server_hostname=name, session=session) as sock:
        assert not sock.session_reused and sock.getpeercert(True) == der(new)
