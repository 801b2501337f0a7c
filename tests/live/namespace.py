# -*- coding: utf-8 -*-
"""Run in a network namespace of its own: what gateways there say to connects.

Standard input is JSON: ``ip``, a list of commands of ip(8) that set the network up; ``sysctl``, what to write into
files below /proc/sys/net; ``hosts``. Standard output is JSON: ``hosts``, for each the codes of a connect to a service
of this machine by a gateway that lets nobody reach it, and of one to the port of a gateway that does; ``touched``, how
many connections the service has seen; or only ``unable``, why there can be no such network.
"""

import json
import os
import socket
import subprocess
import sys

TESTS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path[:0] = [os.path.dirname(TESTS), os.path.join(TESTS, 'live')]

import ws2s  # noqa: E402
from raw_client import RawClient  # noqa: E402


KINDS = ('bridge', 'dummy', 'veth')  # of a link to nowhere; not every kernel has each


def is_done(command):
    return subprocess.call(['ip'] + command.split(), stdout=sys.stderr) == 0


def set_up(plan):
    """None, or why it cannot be."""
    if not any(is_done('link add near type ' + kind) for kind in KINDS):
        return 'a link of one of these kinds: ' + ' '.join(KINDS)
    for command in ['link set lo up', 'link set near up'] + plan['ip']:
        if not is_done(command):
            return 'ip ' + command
    for name, value in sorted(plan['sysctl'].items()):
        try:
            with open(os.path.join('/proc/sys/net', name), 'w') as file:
                file.write(value)
        except (IOError, OSError) as error:
            return '/proc/sys/net/%s: %s' % (name, os.strerror(error.errno))


def started(allow_local):
    gateway = ws2s.Gateway(ws2s.parse_config(json.dumps({
        'listen': {'host': '::', 'port': 0}, 'allowConnectToServerLocal': allow_local, 'web': False,
        'limits': {'connectSeconds': 0.3}}).encode('ascii').decode('ascii')))
    gateway.start()
    return gateway


def code(gateway, host, port):
    with RawClient(('127.0.0.1', gateway.address[1])) as client:
        return client.open().ask(command='connect', host=host, port=port)['code']


def touches(listener):
    count = 0
    listener.setblocking(False)
    while True:
        try:
            listener.accept()[0].close()
            count += 1
        except (IOError, OSError):
            return count


def main():
    plan = json.load(sys.stdin)
    unable = set_up(plan)
    if unable:
        return {'unable': unable}
    (service,) = ws2s.bound_sockets('::', 0)
    strict, lenient = started(False), started(True)
    found = dict((host, [code(strict, host, service.getsockname()[1]), code(lenient, host, lenient.address[1])])
                 for host in plan['hosts'])
    for gateway in (strict, lenient):
        gateway.stop()
    touched = touches(service)
    socket.create_connection(('127.0.0.1', service.getsockname()[1]), 10).close()
    assert touches(service) == 1  # a connection would have been seen
    return {'hosts': found, 'touched': touched}


if __name__ == '__main__':
    print(json.dumps(main()))
