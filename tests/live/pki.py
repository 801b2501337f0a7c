# -*- coding: utf-8 -*-
"""Certificates made by the openssl program, each in files of its own below one folder."""

import collections
import os

from installed import needs
from ssh_server import run_well, write

NAME = 'gateway.example.com'  # as in README.md
NAMES = 'DNS:%s,DNS:localhost,IP:127.0.0.1' % NAME
PASSPHRASE = 'a passphrase'

# The files of a certificate with its chain, and of its key.
Pair = collections.namedtuple('Pair', 'certificate key')


def openssl(*words):
    return run_well([needs('openssl', 'openssl')] + list(words))


def new_key(path, kind='prime256v1'):
    """``kind``: a curve, or the bits of an RSA key."""
    words = ['RSA', '-pkeyopt', 'rsa_keygen_bits:%d' % kind] if isinstance(kind, int) else \
        ['EC', '-pkeyopt', 'ec_paramgen_curve:' + kind]
    openssl('genpkey', '-algorithm', *(words + ['-out', path]))
    return path


def encrypted(key):
    """The file of the same key, behind PASSPHRASE."""
    openssl('pkey', '-in', key, '-aes128', '-passout', 'pass:' + PASSPHRASE, '-out', key + '.encrypted')
    return key + '.encrypted'


class Authority(object):
    """One that signs certificates. ``certificate``: the file of its own."""

    def __init__(self, folder, name='authority'):
        self._folder, self._count = os.path.join(folder, name), 0
        os.mkdir(self._folder)
        self.certificate = os.path.join(self._folder, 'ca.pem')
        self._key = new_key(os.path.join(self._folder, 'ca.key'))
        openssl('req', '-x509', '-key', self._key, '-days', '2', '-subj', '/CN=' + name, '-out', self.certificate,
                '-addext', 'keyUsage=critical,keyCertSign')

    def issue(self, subject=NAME, names=NAMES, days=2, kind='prime256v1'):
        """A new Pair. ``days`` may be negative: then it has expired."""
        self._count += 1
        base = os.path.join(self._folder, '%d' % self._count)
        pair = Pair(base + '.pem', new_key(base + '.key', kind))
        openssl('req', '-new', '-key', pair.key, '-subj', '/CN=' + subject, '-out', base + '.csr')
        write(base + '.ext', u'subjectAltName=%s\nkeyUsage=critical,digitalSignature,keyEncipherment\n' % names)
        openssl('x509', '-req', '-in', base + '.csr', '-CA', self.certificate, '-CAkey', self._key, '-days', str(days),
                '-set_serial', str(self._count), '-extfile', base + '.ext', '-out', pair.certificate)
        return pair
