# -*- coding: utf-8 -*-
"""What this system's resolver finds for the names of the arguments, as one JSON line, in namespaces of its own:

    unshare --net --mount python search_domain.py RESOLV_CONF NAME...

RESOLV_CONF, which names 127.0.0.1 as its server, takes the place of /etc/resolv.conf. That server knows ZONE.
"""
from __future__ import print_function

import json
import os
import socket
import struct
import subprocess
import sys
import threading

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
import ws2s  # noqa: E402

# A name has an address, or another name that it is an alias of.
ZONE = {b'secret.corp.example': b'10.1.2.3', b'db.lan.corp.example': b'10.1.2.4',
        b'www.shop.example': b'secret.corp.example'}
A, CNAME, NO_SUCH_NAME = 1, 5, 3


def name_in(question):
    """The name of a DNS question, and where its type stands."""
    labels, at = [], 12
    while question[at:at + 1] != b'\0':
        length = ord(question[at:at + 1])
        labels.append(question[at + 1:at + 1 + length])
        at += 1 + length
    return b'.'.join(labels).lower(), at + 1


def wire_name(name):
    return b''.join(struct.pack('!B', len(label)) + label for label in name.split(b'.')) + b'\0'


def record(name, kind, data):
    return wire_name(name) + struct.pack('!HHIH', kind, 1, 60, len(data)) + data


def answer(question):
    (name, at), records = name_in(question), []
    kind, = struct.unpack('!H', question[at:at + 2])
    while ZONE.get(name) in ZONE:
        records.append(record(name, CNAME, wire_name(ZONE[name])))
        name = ZONE[name]
    if name in ZONE and kind == A:
        records.append(record(name, A, socket.inet_aton(ZONE[name].decode('ascii'))))
    flags = 0x8180 | (0 if name in ZONE else NO_SUCH_NAME)
    head = question[:2] + struct.pack('!HHHHH', flags, 1, len(records), 0, 0)
    return head + question[12:at + 4] + b''.join(records)


def serve(sock):
    while True:
        question, client = sock.recvfrom(512)
        sock.sendto(answer(question), client)


def main(resolv_conf, *names):
    subprocess.check_call(['mount', '--bind', resolv_conf, '/etc/resolv.conf'])
    subprocess.check_call(['ip', 'link', 'set', 'lo', 'up'])
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(('127.0.0.1', 53))
    server = threading.Thread(target=serve, args=(sock,))
    server.daemon = True
    server.start()
    found = [ws2s.blocking_resolve(name, 80) for name in names]
    print(json.dumps([[entry[1:] for entry in each] if isinstance(each, list) else each.reason for each in found]))


if __name__ == '__main__':
    main(*sys.argv[1:])
