# -*- coding: utf-8 -*-
"""A real MQTT broker of our own, mosquitto, which logs every packet."""

import contextlib
import os
import shutil
import subprocess
import tempfile

from ssh_server import administrative, write
from targets import closed_port
from waiting import wait_until

ATTEMPTS = 5
CONFIG = u'''
listener {port} 127.0.0.1
allow_anonymous true
persistence false
log_dest stderr
log_type all
'''


class Mosquitto(object):
    """A mosquitto on ``port`` of 127.0.0.1 that keeps nothing on disk. ``settings`` may name a second one, which is
    ``tls_port``, as {tls_port}."""

    def __init__(self, program, folder, port, settings=u''):
        self.port, self.tls_port = port, closed_port()
        self._log, config = os.path.join(folder, 'log'), os.path.join(folder, 'mosquitto.conf')
        write(config, (CONFIG + settings).format(port=port, tls_port=self.tls_port))
        with open(self._log, 'wb') as log, open(os.devnull) as nothing:
            self._process = subprocess.Popen([program, '-c', config], cwd=folder, stdin=nothing, stdout=log, stderr=log,
                                             close_fds=True)

    def is_begun(self):
        """Waits. False when it has ended at once: somebody else has the port."""
        return wait_until(self._state, 20, 'mosquitto to begin') == 'serving'

    def _state(self):
        if self._process.poll() is not None:
            return 'ended'
        return 'serving' if ' running\n' in self.log() else None

    def log(self):
        with open(self._log) as log:
            return log.read()

    def end(self):
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()


@contextlib.contextmanager
def running_mosquitto(settings=u''):
    """A Mosquitto that serves, with these settings too. Nothing of it is left in the end."""
    program, folder = administrative('mosquitto', 'mosquitto'), tempfile.mkdtemp()
    begun = []
    try:
        while not (begun and begun[-1].is_begun()):
            assert len(begun) < ATTEMPTS, begun[-1].log()
            begun.append(Mosquitto(program, folder, closed_port(), settings))
        yield begun[-1]
    finally:
        for server in begun:
            server.end()
        shutil.rmtree(folder)
