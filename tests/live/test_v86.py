# -*- coding: utf-8 -*-
"""v86 and a machine in it, which nobody here wrote, fetch pages through the gateway by Wisp."""

import os

import pytest

from node_program import running_node
from targets import serving
from waiting import wait_until

# The machine takes some seconds of CPU to boot, which may be a minute where others compute.
pytestmark = [pytest.mark.usefixtures('no_mistakes'), pytest.mark.pages, pytest.mark.timeout(300)]

FILES = {'bios': ('/usr/share/seabios/bios.bin', 'seabios'), 'kernel': ('/boot/ipxe.lkrn', 'ipxe'),
         'vga': ('/usr/share/seabios/vgabios-stdvga.bin', 'seabios')}
# The machine has no DHCP to wait for; v86 plays the router and answers for every address.
NETWORK = ['ifopen net0', 'set net0/ip 192.168.86.100', 'set net0/netmask 255.255.255.0',
           'set net0/gateway 192.168.86.1']
STEPS = 3000
SCRIPT = '#!ipxe\nset sum:int32 0\n' + 'inc sum 7\n' * STEPS + 'chain http://127.0.0.1:%d/sum/${sum}\n'
LAST = '#!ipxe\necho all is done\npoweroff\n'


@pytest.fixture(scope='module')
def files():
    for path, package in FILES.values():
        if not os.path.exists(path):
            pytest.skip('needs %s (Debian: apt-get install %s)' % (path, package))
    return {name: path for name, (path, _) in FILES.items()}


def web_server(asked):
    """Puts each path that is asked for into ``asked``. The first page leads to another, if all of it has come."""
    def serve(sock):
        head = b''
        while b'\r\n\r\n' not in head:
            head += sock.recv(65536)
        asked.append(head.split(b' ')[1].decode('ascii'))
        page = LAST if asked[-1].startswith('/sum/') else SCRIPT % sock.getsockname()[1]
        sock.sendall(('HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n%s' % (len(page), page)).encode('ascii'))
    return serve


def test_a_machine_fetches_pages(gateway, files):
    asked = []
    with serving(web_server(asked)) as port:
        commands = NETWORK + ['chain http://127.0.0.1:%d/first' % port]
        with running_node('v86_client.js', gateway='%s:%d' % tuple(gateway.address), files=files, commands=commands,
                          ends=['all is done', 'ipxe.org/2', 'ipxe.org/4']) as machine:
            screen = machine.result(seconds=240)
    assert asked == ['/first', '/sum/%d' % (7 * STEPS)], screen
    assert 'all is done' in screen
    wait_until(lambda: not gateway.clients)
