# -*- coding: utf-8 -*-
"""Room 7: the text of a private key, whatever copying has made of it."""
import base64
import re
import struct

import pytest

import ws2s

HEAD = u'Proc-Type: 4,ENCRYPTED\nDEK-Info: %s\n\n'
AES, DES = u'AES-128-CBC,00112233445566778899AABBCCDDEEFF', u'DES-EDE3-CBC,0011223344556677'


def string(data):
    return struct.pack('!I', len(data)) + data


def container(cipher=b'none', derivation=b'none', options=b'', kind=b'ssh-ed25519'):
    """As ssh-keygen writes a key."""
    return (b'openssh-key-v1\0' + string(cipher) + string(derivation) + string(options) + struct.pack('!I', 1)
            + string(string(kind) + string(bytes(bytearray(range(32))))) + string(bytes(bytearray(range(136)))))


def sequence(content):
    return b'\x30\x82' + struct.pack('!H', len(content)) + content


def in_pem(label, data, head=u''):
    text = base64.b64encode(data).decode('ascii')
    lines = u''.join(text[place:place + 64] + u'\n' for place in range(0, len(text), 64))
    return u'-----BEGIN %s-----\n%s%s-----END %s-----\n' % (label, head, lines, label)


# Its base64 has each kind of character, and places where a reader could err: +, /, END and hexadecimal digits.
ODD = b'\xff\xef\xbe' * 9 + base64.b64decode(b'xENDx/END+ABCDEF') + bytes(bytearray(range(200)))
RSA = sequence(b'\x02\x01\x00' + b'\x02\x82' + struct.pack('!H', len(ODD)) + ODD)
PBKDF2 = base64.b64decode(b'MBsGCSqGSIb3DQEFDDAOBAiZmZmZmZmZmQICCAA=')  # a salt and 2048 iterations
BCRYPT = string(b's' * 16) + struct.pack('!I', 16)
KEYS = {
    'openssh': in_pem(u'OPENSSH PRIVATE KEY', container()), 'rsa': in_pem(u'RSA PRIVATE KEY', RSA),
    'ec': in_pem(u'EC PRIVATE KEY', RSA), 'pkcs8': in_pem(u'PRIVATE KEY', RSA),
}
LOCKED = {
    'openssh': in_pem(u'OPENSSH PRIVATE KEY', container(b'aes256-ctr', b'bcrypt', BCRYPT)),
    'chacha': in_pem(u'OPENSSH PRIVATE KEY',
                     container(b'chacha20-poly1305@openssh.com', b'bcrypt', BCRYPT) + b't' * 16),
    'pkcs8': in_pem(u'ENCRYPTED PRIVATE KEY', sequence(PBKDF2 + b'\x04\x81\xc8' + b'\xab' * 200)),
    'aes': in_pem(u'RSA PRIVATE KEY', ODD[:-4] + b'x' * (-len(ODD[:-4]) % 16), HEAD % AES),
    'des': in_pem(u'EC PRIVATE KEY', b'\xab' * 200, HEAD % DES),
}
ALL = [pair[1] for pair in sorted(KEYS.items()) + sorted(LOCKED.items())]

# A7, A8: what programs and people make of a key.
DAMAGES = [
    ('as it was', lambda key: key),
    ('newlines are blanks, as <input> makes them', lambda key: key.replace(u'\n', u' ')),
    ('newlines are gone', lambda key: key.replace(u'\n', u'')),
    ('all white space is gone', lambda key: re.sub(u'\\s', u'', key)),
    ('newlines are \\n', lambda key: key.replace(u'\n', u'\\n')),
    ('newlines are \\r\\n', lambda key: key.replace(u'\n', u'\\r\\n')),
    ('newlines are \\\\n', lambda key: key.replace(u'\n', u'\\\\n')),
    ('newlines are \\n and newlines', lambda key: key.replace(u'\n', u'\\n\n')),
    ('newlines are continued', lambda key: key.replace(u'\n', u'\\\n')),
    ('lone CR', lambda key: key.replace(u'\n', u'\r')),
    ('CRLF', lambda key: key.replace(u'\n', u'\r\n')),
    ('CRCRLF', lambda key: key.replace(u'\n', u'\r\r\n')),
    ('other line ends', lambda key: re.sub(u'\n', u'\x0b', key.replace(u'\n', u'\u2028', 2))),
    ('blank lines between', lambda key: key.replace(u'\n', u'\n \n\n')),
    ('no last newline', lambda key: key[:-1]),
    ('no last dash', lambda key: key[:-2]),
    ('no last dashes', lambda key: key[:-6]),
    ('END line cut', lambda key: key[:key.rindex(u'END') + 5]),
    ('missing dashes in front', lambda key: key[3:]),
    ('no dashes in front', lambda key: key[5:]),
    ('no dashes at all', lambda key: key.replace(u'-----', u'')),
    ('four dashes and a blank', lambda key: key.replace(u'-----', u'---- ')),
    ('long dashes of a word processor', lambda key: key.replace(u'-----', u'\u2014\u2014\u2013')),
    ('indented as in YAML', lambda key: u'key: |\n' + re.sub(u'(?m)^', u'    ', key)),
    ('indented with tabs, and blanks behind', lambda key: re.sub(u'(?m)$', u'  \t', re.sub(u'(?m)^', u'\t\t', key))),
    ('BOM', lambda key: u'\ufeff' + key),
    ('BOM that was read as Latin-1', lambda key: u'\xef\xbb\xbf' + key),
    ('UTF-16 that was read as Latin-1', lambda key: key.encode('utf-16').decode('latin-1')),
    ('zero-width spaces', lambda key: key.replace(u'A', u'\u200bA\u200d').replace(u'-B', u'-\u2060B')),
    ('no-break spaces', lambda key: u'\xa0' + key.replace(u' ', u'\xa0').replace(u'\n', u'\xa0\n')),
    ('other spaces', lambda key: key.replace(u' ', u'\u3000').replace(u'\n', u'\u2003\n\u202f')),
    ('two spaces', lambda key: key.replace(u' ', u'  ')),
    ('bag attributes', lambda key: u'Bag Attributes\n    friendlyName: J\xf6rg\n    localKeyID: 54 69\nKey Attributes: '
                                   u'<No Attributes>\n' + key),
    ('an umlaut in a comment line', lambda key: key.replace(u'KEY-----\n', u'KEY-----\nComment: "Schl\xfcssel"\n', 1)
     if u'DEK' not in key else u'# Schl\xfcssel\n' + key),
    ('text behind', lambda key: key + u'\nbest regards\nJ\xfcrgen \u2603\n'),
    ('its public key and its certificate before and behind', lambda key: (
        u'ssh-rsa AAAAB3Nza me@x\n-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n%s'
        u'ssh-rsa AAAAB3Nza me@x\n-----BEGIN PUBLIC KEY-----\n' % key)),
    ('parameters of its curve', lambda key: (
        u'-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n' + key)),
    ('quoted', lambda key: u'"%s"' % key), ('quoted by apostrophes', lambda key: u"'%s'" % key[:-1]),
    ('quoted by a word processor', lambda key: u'\u201c%s\u201d' % key),
    ('quoted as JSON', lambda key: u'{"key": "%s"}' % key.replace(u'\n', u'\\n').replace(u'/', u'\\/')),
    ('escaped as JSON', lambda key: key.replace(u'\n', u'\\n').replace(u'+', u'\\u002b').replace(u'=', u'\\u003D')),
    ('escaped as a URI', lambda key: re.sub(u'[\n +/=:,]', lambda found: u'%%%02X' % ord(found.group()), key)),
    ('assigned', lambda key: u'SSH_KEY="%s"; export SSH_KEY' % key),
    ('as a program joins texts', lambda key: u'key = ' + u' +\n      '.join(
        u'"%s\\n"' % line for line in key[:-1].split(u'\n'))),
    ('as a list of texts', lambda key: u'[%s]' % u',\n'.join(u"'%s'" % line for line in key[:-1].split(u'\n'))),
    ('quoted in a mail', lambda key: re.sub(u'(?m)^', u'> ', key)),
    ('wrapped at 30', lambda key: re.sub(u'([A-Za-z0-9+/]{30})(?=[A-Za-z0-9+/]{5})', u'\\1\n', key)
     if u'DEK' not in key else key),
    ('base64 in one line', lambda key: re.sub(u'([A-Za-z0-9+/]{64})\n', u'\\1', key)),
    ('padding is gone', lambda key: key.replace(u'=', u'')),
]


@pytest.mark.parametrize('damage', [row[1] for row in DAMAGES], ids=[row[0] for row in DAMAGES])
def test_a_key_is_rebuilt_whatever_copying_has_done_by(damage):
    for key in ALL:
        assert ws2s.read_private_key(damage(key)).text == key
        flat = damage(key.replace(u'\n', u' '))
        if u'#' not in flat and u'Comment' not in flat:
            assert ws2s.read_private_key(flat).text == key


def test_two_damages_at_one_time_are_repaired():
    repairs = dict(DAMAGES)
    for two in [repairs[name] for name in ('BOM', 'bag attributes', 'indented as in YAML', 'quoted', 'assigned')]:
        for _, one in DAMAGES:
            for key in ALL[:2] + ALL[-1:]:
                assert ws2s.read_private_key(two(one(key))).text == key


def test_the_name_in_the_lines_is_that_of_its_content():
    assert ws2s.read_private_key(KEYS['openssh'].replace(u'OPENSSH', u'RSA')).text == KEYS['openssh']


def refusal(key, **fields):
    with pytest.raises(ws2s.RequestError) as caught:
        ws2s.read_hop(dict({u'ssh_host': u'h', u'ssh_username': u'me', u'ssh_private_key': key}, **fields))
    failure = caught.value.failure
    for line in key.split():
        assert len(line) < 12 or line not in failure.message
    return failure


PPK = u'PuTTY-User-Key-File-%s\nEncryption: none\nComment: J\xfcrgen\nPublic-Lines: 2\nAAAAC3NzaC1lZDI1\nAAAA\n' \
      u'Private-Lines: 1\nAAAAIIIIIIIIIIIIIIIIII==\nPrivate-MAC: 00112233\n'
SSH2 = (u'---- BEGIN SSH2 ENCRYPTED PRIVATE KEY ----\nComment: "x"\nP2/56wAAAgIAAAAmZGwtbW9k\n'
        u'---- END SSH2 ENCRYPTED PRIVATE KEY ----')
PGP = u'-----BEGIN PGP %s-----\n\nlQOYBF\n=x9Zq\n-----END PGP %s-----\n'
PUBLIC, CERTIFICATE = 'is a public key; ', 'is a certificate, not a private key'
OTHERS = [
    (PPK % u'3: ssh-ed25519', 'puttygen KEY -O private-openssh -o OUT'),
    (PPK % u'2: ssh-rsa', 'puttygen KEY -O private-openssh -o OUT'), (u'\ufeff' + PPK % u'2: ssh-rsa', '(PPK)'),
    ((PPK % u'3: ssh-rsa').replace(u'\n', u' '), '(PPK)'), ((PPK % u'3: ssh-rsa').replace(u'\n', u'\r\n'), '(PPK)'),
    (SSH2, 'puttygen KEY -O private-openssh -o OUT'),
    (u'ssh-rsa AAAAB3NzaC1yc2EAAAADAQAB me@home', PUBLIC), (u'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAA', PUBLIC),
    (u'\ufeffecdsa-sha2-nistp256 AAAAE2VjZHNh J\xfcrgen', PUBLIC), (u'ssh-dss AAAAB3NzaC1kc3M x\n', PUBLIC),
    (u'no-pty,command="x y" ssh-rsa AAAAB3NzaC1yc2E x', PUBLIC), (u'sk-ssh-ed25519@openssh.com AAAAGnNr x', PUBLIC),
    (u'-----BEGIN PUBLIC KEY-----\nMIIBIjANBgkqhkiG\n-----END PUBLIC KEY-----', PUBLIC),
    (u'-----BEGIN RSA PUBLIC KEY-----\nMIIBIjANBgkqhkiG\n-----END RSA PUBLIC KEY-----', PUBLIC),
    (u'---- BEGIN SSH2 PUBLIC KEY ----\nAAAAB3NzaC1yc2E\n---- END SSH2 PUBLIC KEY ----', PUBLIC),
    (u'ssh-ed25519-cert-v01@openssh.com AAAAIHNzaC1lZDI1 me', CERTIFICATE),
    (u'-----BEGIN CERTIFICATE-----\nMIIBIjANBgkqhkiG\n-----END CERTIFICATE-----', CERTIFICATE),
    (KEYS['rsa'].partition(u'\n')[2], 'its line BEGIN is missing'),
    (KEYS['openssh'].split(u'\n')[1], 'its line BEGIN is missing'),
    (KEYS['rsa'].partition(u'-----END')[0], 'it is cut off, its line END is missing'),
    (u'-----BEGIN RSA PRIVATE KEY-----', 'it is cut off, its line END is missing'),
    (KEYS['rsa'].replace(u'-----END', u'...\n-----END'), 'does not belong there'),
    (KEYS['rsa'].replace(u'RSA', u'OPENSSH'), 'damaged or cut off'),
    (PGP % (u'PRIVATE KEY BLOCK', u'PRIVATE KEY BLOCK'), 'is of PGP, which ssh does not read'),
    ((PGP % (u'PRIVATE KEY BLOCK', u'PRIVATE KEY BLOCK')).replace(u'\n', u' '), 'is of PGP'),
    (re.sub(u'\\s', u'', PGP % (u'PRIVATE KEY BLOCK', u'PRIVATE KEY BLOCK')), 'is of PGP'),
    ((PGP % (u'PRIVATE KEY BLOCK', u'')).partition(u'-----END')[0], 'is of PGP'),
    (PGP % (u'PUBLIC KEY BLOCK', u'PUBLIC KEY BLOCK'), 'is of PGP'), (PGP % (u'MESSAGE', u'MESSAGE'), 'is of PGP'),
    (in_pem(u'ANY PRIVATE KEY', RSA), u'not a key that can be read'),
    (in_pem(u'X25519 PRIVATE KEY', RSA), u'not a key that can be read'),
    (in_pem(u'EC PUBLIC KEY', RSA), PUBLIC), (in_pem(u'OPENSSH PUBLIC KEY', RSA), PUBLIC),
    (in_pem(u'OPENSSH PRIVATE KEY', container(kind=b'sk-ssh-ed25519@openssh.com')), 'security key (FIDO)'),
    (u'hello', 'must be the text of a key'), (u'{"kty": "RSA", "d": "x"}', 'must be the text of a key'),
]


@pytest.mark.parametrize('key, sentence', OTHERS, ids=lambda value: '%.40r' % value)
def test_what_is_no_private_key_of_ssh_is_named(key, sentence):
    failure = refusal(key)
    assert (failure.code, failure.reason) == (1, 'bad-request')
    assert failure.message.startswith('ssh_private_key ') and sentence in failure.message


def in_base64(text, width=None):
    """As CI systems keep keys."""
    text = base64.b64encode(text.encode('utf-8')).decode('ascii')
    return u''.join(text[place:place + width] + u'\n' for place in range(0, len(text), width)) if width else text


@pytest.mark.parametrize('damage', [
    in_base64, lambda key: in_base64(key, 76), lambda key: in_base64(key, 64).replace(u'\n', u' '),
    lambda key: in_base64(key, 76).replace(u'\n', u'\r\n'), lambda key: in_base64(key, 76).replace(u'\n', u'\\n'),
    lambda key: in_base64(key).rstrip(u'='), lambda key: in_base64(key).replace(u'=', u'%3D'),
    lambda key: in_base64(key) + u'\n', lambda key: u'"%s"' % in_base64(key), lambda key: u'SSH_KEY=' + in_base64(key),
    lambda key: u'key: |\n' + re.sub(u'(?m)^', u'  ', in_base64(key, 76)),
    lambda key: u'data:application/octet-stream;base64,' + in_base64(key), lambda key: in_base64(u'\ufeff' + key),
    lambda key: in_base64(u'\n' + key), lambda key: in_base64(key.rstrip(u'\n')), lambda key: in_base64(u'  ' + key),
    lambda key: in_base64(key.replace(u'\n', u'\r\n')), lambda key: in_base64(key.replace(u'\n', u'\\n')),
    lambda key: in_base64(in_base64(key)), lambda key: in_base64(in_base64(key, 76), 76)], ids=repr)
def test_a_key_that_is_base64_as_a_whole_is_decoded(damage):
    for key in ALL:
        assert ws2s.read_private_key(damage(key)).text == key


@pytest.mark.parametrize('text, sentence', [
    (PPK % u'3: ssh-rsa', '(PPK)'), (SSH2, '(SSH2)'), (PGP % (u'PRIVATE KEY BLOCK', u'PRIVATE KEY BLOCK'), 'is of PGP'),
    (u'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIIIIIIIIIIIII me', PUBLIC), (in_pem(u'PUBLIC KEY', RSA), PUBLIC),
    (KEYS['rsa'].partition(u'-----END')[0], 'its line END is missing'),
    (KEYS['rsa'].partition(u'\n')[2], 'its line BEGIN is missing'), (u'hello ' * 30, 'must be the text of a key')],
    ids=lambda value: '%.40r' % value)
def test_what_is_base64_of_no_private_key_is_named_as_without(text, sentence):
    assert sentence in refusal(text).message and refusal(in_base64(text)).message == refusal(text).message


@pytest.mark.parametrize('text', [
    u'AAAAC3NzaC1lZDI1NTE5AAAAIAAA', u'AAAAB3NzaC1yc2EAAAADAQABAAAB', u'AAAAB3NzaC1kc3MAAACBAAAA',
    u'AAAAE2VjZHNhLXNoYTItbmlzdHAyNTY', u'AAAAGnNrLXNzaC1lZDI1NTE5QG9wZW5z', u'AAAAInNrLWVjZHNhLXNoYTItbmlzdHAy',
    u'"AAAAB3NzaC1yc2EAAAADAQABAAAB"', u'\n AAAAB3NzaC1yc2EAAAADAQABAAAB me@home\n'])
def test_a_public_key_without_its_kind_is_named(text):
    assert PUBLIC in refusal(text).message


@pytest.mark.parametrize('name', sorted(KEYS) + [name + ' locked' for name in sorted(LOCKED)])
def test_a_key_that_is_cut_off_is_refused(name):
    """As by a field that takes 1000 characters; ssh would ask the server for nothing."""
    key = LOCKED[name[:-7]] if name.endswith(' locked') else KEYS[name]
    lines = key.split(u'\n')
    tails = [u'\n'.join(lines[:-3] + [lines[-3][:length], lines[-2]]) for length in (3, 5, 1, 0)]
    for cut in tails[:3] if u'DEK' in key else tails:  # of what is encrypted as a whole the end is not told
        assert refusal(cut, ssh_private_key_password=u'x').message.startswith(
            'ssh_private_key is not a key that can be read: it is damaged or cut off')


@pytest.mark.parametrize('name', sorted(LOCKED))
def test_a_missing_passphrase_is_told_of_the_key_itself(name):
    for key in (LOCKED[name], LOCKED[name].replace(u'\n', u' '), u'\ufeff' + LOCKED[name].replace(u'\n', u'\\n')):
        for passphrase in (u'', None):
            assert refusal(key, ssh_private_key_password=passphrase) is not None
            failure = refusal(key, ssh_private_key_password=passphrase)
            assert (failure.code, failure.reason) == (6, 'ssh-auth') and 'the passphrase is missing' in failure.message
        hop = ws2s.read_hop({u'ssh_host': u'h', u'ssh_username': u'me', u'ssh_private_key': key,
                             u'ssh_private_key_password': u'x'})
        assert hop.key == LOCKED[name]


@pytest.mark.parametrize('piece', [
    u'BEGIN ', u'BEGIN\n', u'-----BEGIN PRIVATE KEY-----', u'END ', u'- ', u'\\', u'\\n', u'"+', u'" "', u'%',
    u'DEK-Info: AES-', u'DEK-Info:D', u'0', u' ', u'\n', u'\u2028', u'\0', u'ssh-a', u'ecdsa-', u'<a', u'A', u'=',
    u'BEGIN RSA', u'LS0tLS1CRUdJTi', u'LS0tLS1CRUdJTiBBQUFB=', u'PuTTY', u'AAAA', u'BEGIN PGP',
], ids=repr)
def test_a_hostile_text_is_read_in_linear_time(piece):
    began = ws2s.monotonic()
    for head in (u'', u'-----BEGIN PRIVATE KEY-----\n', u'-----BEGIN RSA PRIVATE KEY-----\nDEK-Info: AES-128-CBC,00'):
        for tail in (u'', u'-----END'):
            for _ in range(5):
                try:
                    ws2s.read_private_key((head + piece * 16384)[:16384 - len(tail)] + tail)
                except ws2s.RequestError:
                    continue
    assert ws2s.monotonic() - began < 4  # what is quadratic takes far longer


# --- Questions (C5) -------------------------------------------------------------------------------

FOR_A_PASSWORD = [
    u"me@hop's password: ", u'(me@hop) Password: ', u'Password:', u'PASSWORD: ', u'Password for me@hop:',
    u'me password:', u"(me@hop) Password for me@hop.corp: ", u"otp.token@code.lan's password: ",
    u'(otp@code.lan) Password: ', u"[hotplug.lan]:22@x's password: ", u'Enter password', u'LDAP Password: ',
    u'UNIX password: ', u'passwd:', u'Please enter your password:', u'Passwort: ', u'Kennwort f\xfcr me: ',
    u'Mot de passe\xa0: ', u'Contrase\xf1a: ', u'Senha: ', u'Wachtwoord: ', u'L\xf6senord: ', u'Has\u0142o: ',
    u'Heslo: ', u'Parola: ', u'\u041f\u0430\u0440\u043e\u043b\u044c: ', u'\u5bc6\u7801\uff1a', u'\u5bc6\u78bc: ',
    u'\u30d1\u30b9\u30ef\u30fc\u30c9: ', u'\ube44\ubc00\ubc88\ud638: ', u'Clave: ', u'Password for user decode:',
    u'(decode@hop) Password for decode: ',
]
FOR_A_FACTOR = [
    u'Verification code: ', u'(me@hop) Verification code: ', u'OTP:', u'Passcode or option (1-3): ', u'Code: ',
    u'Token: ', u'Enter your token code', u'One-time password (OATH) for `me\': ', u'One-time Password:',
    u'OTP password:', u'Password & verification code: ', u'PIN:', u'Enter PIN: ', u'RSA SecurID password: ',
    u'YubiKey for `me\': ', u'Second factor: ', u'2FA code', u'MFA token:', u'Authenticator code:',
    u'Duo two-factor login for me', u'Response: ', u'otp-md5 97 fi8423\nResponse: ', u'Challenge password:',
    u'Einmalpasswort: ', u'Einmalkennwort: ', u'SMS password: ', u'Best\xe4tigungscode: ', u'Code \xe0 usage unique: ',
    u'Mot de passe \xe0 usage unique: ', u'Contrase\xf1a de un solo uso: ', u'C\xf3digo de verificaci\xf3n: ',
    u'Password monouso: ', u'Senha de uso \xfanico:', u'\u9a8c\u8bc1\u7801: ', u'\u52a8\u6001\u5bc6\u7801: ',
    u'\u4e00\u6b21\u6027\u5bc6\u7801: ', u'\u30ef\u30f3\u30bf\u30a4\u30e0\u30d1\u30b9\u30ef\u30fc\u30c9: ',
    u'\uc77c\ud68c\uc6a9 \ube44\ubc00\ubc88\ud638: ',
    u'\u041e\u0434\u043d\u043e\u0440\u0430\u0437\u043e\u0432\u044b\u0439 \u043f\u0430\u0440\u043e\u043b\u044c: ',
    u'\u041a\u043e\u0434: ', u'', u' ', u'\n', u'> ', u'login: ', u'Enter passphrase for key \'/home/u/.ssh/id_rsa\': ',
    u'Passphrase: ', u'Press enter', u'Are you sure you want to continue connecting (yes/no/[fingerprint])? ',
    u'x' * 100000,
]
FOR_A_NEW_ONE = [
    u"Enter me@hop's old password: ", u"Enter me@hop's new password: ", u"Retype me@hop's new password: ",
    u'(current) UNIX password: ', u'(me@hop) Current password: ', u'New password: ', u'Neues Passwort: ',
]


def as_ssh_prints(question):
    """In the C locale, which is ours."""
    return re.sub(b'[\x80-\xff]', lambda found: b'\\%03o' % ord(found.group()) if not ws2s.PY2
                  else '\\%03o' % ord(found.group()), question.encode('utf-8'))


@pytest.mark.parametrize('user', [u'me', u'decode', u'CORP\\me', u'x@y', u'a.*b'])
@pytest.mark.parametrize('spelt', [lambda text: text.encode('utf-8'), as_ssh_prints], ids=['UTF-8', 'octal'])
def test_the_password_answers_a_question_about_a_password_alone(user, spelt):
    found = [text for text in FOR_A_PASSWORD if ws2s.refusal_of(spelt(text), user) is not None]
    assert found == [] if user == u'decode' else set(found) <= {FOR_A_PASSWORD[-1], FOR_A_PASSWORD[-2]}
    for text in FOR_A_FACTOR:
        assert (text, ws2s.refusal_of(spelt(text), user)) == (text, ws2s.SSH_FACTOR)
    for text in FOR_A_NEW_ONE:
        assert (text, ws2s.refusal_of(spelt(text), user)) == (text, ws2s.SSH_EXPIRED)


def test_a_question_that_is_no_text_gets_nothing():
    assert ws2s.refusal_of(b'\xff\\377\\9\\1', u'me') is ws2s.SSH_FACTOR


NAMED = [
    u"%s's Password:", u'%s password:', u'[%s] Password:', u'Password [%s]:', u'Password (%s):', u'"%s" password: ',
    u"Password for '%s':", u'Password for `%s\':', u'Password for user %s: ', u'Password for %s on server:',
    u'Enter password for %s.', u'%s: Password:', u'%s\u2019s password:', u'CORP\\%s\'s password:',
    u'Password for %s (%s):', u'Kennwort f\xfcr %s:', u'Mot de passe de %s\xa0:',
]
BESIDE_A_FACTOR = [
    u"%s's verification code or password:", u'Enter your password and otp:', u'Password and code:',
    u'One-time password for %s:', u'%s: Password + PIN:', u'Password or token of %s:', u'%s verification password:',
    u'%s-otp password:', u'Passcode/password:',
]


@pytest.mark.parametrize('user', [
    u'nicodemus', u'tokenuser', u'tokenadmin', u'decoder', u'decode', u'potpourri', u'Nicodemus', u'pin-ball',
    u'vscode', u'j.codein', u'sms_gateway', u'CORP\\tokenuser', u'tokenuser@corp.lan', u'TOKENCORP\\me', u'token  user',
    u'kod\u0435\u043a\u043e\u0434\u0435\u0440'])
def test_a_user_whose_name_has_a_word_of_a_factor_in_it_is_asked_for_a_password_all_the_same(user):
    names = user, user.upper(), user.partition(u'@')[0]
    for text in NAMED:
        for name in names:
            question = text.replace(u'%s', name)
            assert (question, ws2s.refusal_of(question.encode('utf-8'), user)) == (question, None)


def test_a_name_is_known_between_words_that_have_no_blanks():
    question = u'\u8bf7\u8f93\u5165%s\u7684\u5bc6\u7801\uff1a' % u'tokenuser'
    assert ws2s.refusal_of(question.encode('utf-8'), u'tokenuser') is None


@pytest.mark.parametrize('user', [
    u'o', u'e', u'me', u'ode', u'and', u'tp', u'nicodemus', u'tokenuser', u'code', u'otp', u'pin', u'token',
    u'one-time', u'verification', u'passcode', u'codes', u'\u043a', u'.', u'*'])
def test_a_question_for_a_factor_is_none_for_a_password_whatever_the_name_of_the_user(user):
    for text in BESIDE_A_FACTOR + FOR_A_FACTOR:
        question = text.replace(u'%s', user)
        assert (question, ws2s.refusal_of(question.encode('utf-8'), user)) == (question, ws2s.SSH_FACTOR)


@pytest.mark.parametrize('user', [u'otp', u'code', u'token', u'pin', u'passcode', u'verification'])
def test_a_name_that_is_a_word_of_a_factor_is_the_name_where_that_is_said(user):
    for text in (u"%s's password:", u'Password for %s:', u"Password for user '%s':", u'(%s@hop) Password:'):
        assert (text, ws2s.refusal_of((text % user).encode('utf-8'), user)) == (text, None)
    for text in (u'%s password:', u'Password (%s):', u'Password and %s:', u'Password or "%s"'):
        assert (text, ws2s.refusal_of((text % user).encode('utf-8'), user)) == (text, ws2s.SSH_FACTOR)
