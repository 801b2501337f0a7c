# -*- coding: utf-8 -*-
"""Authorities and certificates of our own, good and bad ones, made by the openssl program."""

import collections
import os
import shutil
import ssl
import tempfile
import time

from installed import needs
from ssh_server import read, run_well, write

NAMES = u'DNS:target.test, IP:127.0.0.1'
OP_NO_TLSV1_3 = getattr(ssl, 'OP_NO_TLSv1_3', 0x20000000)  # Python 2.7 has no name for it

CONFIG = u'''
[ca]
default_ca = authority
[authority]
database = {folder}/{issuer}.index
new_certs_dir = {folder}
certificate = {folder}/{issuer}.pem
private_key = {folder}/{issuer}.key
crlnumber = {folder}/{issuer}.number
default_md = {digest}
default_crl_days = 30
policy = any
rand_serial = yes
unique_subject = no
[any]
commonName = supplied
[extensions]
{extensions}
[req]
distinguished_name = any
'''

AUTHORITY = u'basicConstraints = critical, CA:TRUE\nkeyUsage = critical, keyCertSign, cRLSign\n'
SERVER = u'basicConstraints = CA:FALSE\nextendedKeyUsage = serverAuth\n'
CLIENT = u'basicConstraints = CA:FALSE\nextendedKeyUsage = clientAuth\n'

# ``path``: of a file of the certificate and its chain, ``key``: of its key; ``cert``: the text of the first one.
Certified = collections.namedtuple('Certified', 'path key cert')


def moment(days):
    """So many days from now, as openssl wants it."""
    return time.strftime('%Y%m%d%H%M%SZ', time.gmtime(time.time() + 86400 * days))


class Pki(object):
    """In ``folder``. Whatever is made has a name, and is made once."""

    def __init__(self, folder):
        self.folder, self._made = folder, {}
        self._openssl = needs('openssl', 'openssl')
        self.root = self.authority('root')

    def path(self, name):
        return os.path.join(self.folder, name)

    def authority(self, name, issuer=None):
        return self._once(name, issuer or name, AUTHORITY)

    def server(self, name, names=NAMES, issuer='root', more=u'', **options):
        return self._once(name, issuer, SERVER + (u'subjectAltName = %s\n' % names if names else u'') + more, **options)

    def client(self, name, issuer='root', **options):
        return self._once(name, issuer, CLIENT, **options)

    def self_signed(self, name, names=NAMES):
        return self._once(name, name, SERVER + u'subjectAltName = %s\n' % names)

    def _once(self, name, issuer, extensions, **options):
        if name not in self._made:
            self._made[name] = self._make(name, issuer, extensions, **options)
        return self._made[name]

    def _make(self, name, issuer, extensions, days=(-1, 30), kind=('EC', 'ec_paramgen_curve:P-256'), digest='sha256'):
        key, request, path = self.path(name + '.key'), self.path(name + '.csr'), self.path(name + '.pem')
        run_well([self._openssl, 'genpkey', '-algorithm', kind[0], '-pkeyopt', kind[1], '-out', key])
        os.chmod(key, 0o600)
        config = self._config(issuer, extensions, digest)
        run_well([self._openssl, 'req', '-new', '-config', config, '-key', key, '-subj', '/CN=%s' % name,
                  '-out', request])
        run_well([self._openssl, 'ca', '-batch', '-notext', '-config', config, '-extensions', 'extensions',
                  '-in', request, '-out', path, '-startdate', moment(days[0]), '-enddate', moment(days[1])]
                 + (['-selfsign', '-keyfile', key] if issuer == name else []))
        cert = read(path)
        if issuer not in (name, 'root'):
            write(path, cert + read(self.path(issuer + '.pem')))
        return Certified(path, key, cert)

    def _config(self, issuer, extensions=u'', digest='sha256'):
        for end, text in (('.index', u''), ('.number', u'01\n')):
            if not os.path.exists(self.path(issuer + end)):
                write(self.path(issuer + end), text)
        path = self.path(issuer + '.cnf')
        write(path, CONFIG.format(folder=self.folder, issuer=issuer, extensions=extensions, digest=digest))
        return path

    def revoke(self, certified, issuer='root'):
        run_well([self._openssl, 'ca', '-config', self._config(issuer), '-revoke', certified.path])

    def revocations(self, issuer='root'):
        """The authority's list, as PEM."""
        path = self.path(issuer + '.crl')
        run_well([self._openssl, 'ca', '-config', self._config(issuer), '-gencrl', '-out', path])
        return read(path)


def made_pki():
    """A Pki, and what to call when nobody needs it any more."""
    folder = tempfile.mkdtemp()
    return Pki(folder), lambda: shutil.rmtree(folder)


def server_context(certified, client_authority=None, ciphers=None, alpn=None, newest=None):
    """An SSLContext of a server. ``newest``: '1.2' for one that speaks nothing newer."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    if ciphers:
        context.set_ciphers(ciphers)
    context.load_cert_chain(certified.path, certified.key)
    if client_authority:
        context.load_verify_locations(client_authority.path)
        context.verify_mode = ssl.CERT_REQUIRED
    if alpn:
        context.set_alpn_protocols(alpn)
    if newest == '1.2' and hasattr(context, 'maximum_version'):
        context.maximum_version = ssl.TLSVersion.TLSv1_2
    elif newest == '1.2':
        context.options |= OP_NO_TLSV1_3
    return context


def speaking_tls(context, then):
    """What serving() calls: TLS on each connection, and on it ``then(sock)``."""
    def speak(sock):
        # serving() wakes and ends what is its own.
        secured = context.wrap_socket(sock.dup(), server_side=True, suppress_ragged_eofs=False)
        try:
            then(secured)
        finally:
            secured.close()
    return speak
