# -*- coding: utf-8 -*-
"""A real telnet server of our own: GNU inetutils' telnetd, with a login that tells what its terminal is."""

import contextlib
import os
import shutil
import subprocess

from chromium import reaping_orphans
from ssh_server import administrative, folder_for_all, write
from targets import serving

LOGIN = u'''#!/bin/sh
printf 'terminal %s\n' "$TERM"
printf 'login: '
read name
stty -echo
printf 'Password: '
read secret
stty echo
printf '\\nwelcome %s, with %s characters\\n' "$name" "${#secret}"
while read line; do
    printf 'rows and columns '
    stty size
done
'''


@contextlib.contextmanager
def running_telnetd():
    """Its port. After the login each line is answered with the size of the terminal. No process is left in the end."""
    program, folder = administrative('telnetd', 'inetutils-telnetd'), folder_for_all()
    login = os.path.join(folder, 'login')

    def serve(sock):
        # As a server of servers begins it.
        process = subprocess.Popen([program, '-E', login], stdin=sock.fileno(), stdout=sock.fileno(),
                                   stderr=sock.fileno(), close_fds=True)
        process.wait()

    try:
        write(login, LOGIN, 0o755)
        with reaping_orphans(), serving(serve) as port:
            yield port
    finally:
        shutil.rmtree(folder)
