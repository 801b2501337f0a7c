# -*- coding: utf-8 -*-
"""Run in a network namespace with four local ports: what dials say, one after the other, to targets on 127.0.0.1, as
one JSON line. Arguments: how many targets there are, how many dials go to each, and own addresses to dial from. Each
dial is named by the address that the connection has come from, or by the reason why there is none."""
from __future__ import print_function

import json
import os
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
import ws2s  # noqa: E402


def dial(loop, resolver, port):
    told = []
    ws2s.Dial(resolver, u'127.0.0.1', port, ('group', 1), 10, lambda *result: told.append(result)).begin()
    while not told:
        loop.turn()
    return told[0]


def main(targets, count, *sources):
    subprocess.check_call(['ip', 'link', 'set', 'lo', 'up'])
    with open('/proc/sys/net/ipv4/ip_local_port_range', 'w') as file:
        file.write('50000 50003')
    config = ws2s.DEFAULTS.replace({'allowConnectToServerLocal': True, 'dial.sourceAddresses': list(sources)})
    ws2s.check_settings(config)
    loop = ws2s.Loop()
    resolver = ws2s.Resolver(loop, None, None, ws2s.Judge(config, ws2s.owns_address), ws2s.Sources(config))
    listeners = [ws2s.bound_sockets('127.0.0.1', 40000 + number)[0] for number in range(int(targets))]
    results = [dial(loop, resolver, listener.getsockname()[1]) for listener in listeners for _ in range(int(count))]
    print(json.dumps([sock.getsockname()[0] if sock else failure.reason + ': ' + failure.message
                      for sock, failure in results]))


if __name__ == '__main__':
    main(*sys.argv[1:])
