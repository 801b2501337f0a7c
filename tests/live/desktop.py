# -*- coding: utf-8 -*-
"""A real VNC server, TigerVNC's Xvnc, with a desktop of our own; what it shows and hears is asked of X itself."""

import collections
import contextlib
import os
import re
import shutil
import struct
import subprocess
import tempfile

from installed import needs
from targets import closed_port
from waiting import wait_until

ATTEMPTS = 5
SECONDS = 30
WIDTH, HEIGHT = 320, 240

Picture = collections.namedtuple('Picture', 'head width height pixels')  # pixels: blue, green, red and a byte more


def read_xwd(data):
    """The Picture in a file of xwd (X11/XWDFile.h), of true colours and as the processor has its bytes here."""
    fields = struct.unpack('>25I', data[:100])
    (size, version, form, _, width, height, _, byte_order), line, colours = fields[:8], fields[12], fields[19]
    assert (version, form, byte_order, fields[11], line) == (7, 2, 0, 32, 4 * width), fields
    start = size + 12 * colours
    assert len(data) == start + line * height
    return Picture(data[:start], width, height, data[start:])


def rgb(picture):
    """Three bytes for each pixel, as bytes."""
    pixels, colours = bytearray(picture.pixels), bytearray(3 * picture.width * picture.height)
    for place in range(3):
        colours[place::3] = pixels[2 - place::4]
    return bytes(colours)


class Desktop(object):
    """An Xvnc on ``port`` of 127.0.0.1, with programs on its display."""

    def __init__(self, program, folder, port):
        self.port, self.display = port, None
        self._folder, self._programs = folder, []
        self._log = os.path.join(folder, 'log')
        with open(self._log, 'wb') as log, open(os.devnull) as nothing:
            self._server = subprocess.Popen(
                [program, '-displayfd', '1', '-rfbport', str(port), '-localhost', '-SecurityTypes', 'None',
                 '-geometry', '%dx%d' % (WIDTH, HEIGHT), '-depth', '24', '-nolisten', 'tcp', '-noreset', '-r',
                 '-AcceptSetDesktopSize=0'],
                cwd=folder, stdin=nothing, stdout=subprocess.PIPE, stderr=log, close_fds=True)

    def is_begun(self):
        """Waits. False when somebody else has the port."""
        self.display = ':' + self._server.stdout.readline().decode('ascii').strip()  # nothing when the server ends
        return self.display != ':'

    def log(self):
        with open(self._log) as log:
            return log.read()

    def picture(self):
        """What the whole screen shows."""
        command = [needs('xwd', 'x11-apps'), '-root', '-silent', '-display', self.display]
        return read_xwd(subprocess.check_output(command, close_fds=True))

    def show(self, pixels, place):
        """A window with these pixels, as large as the screen, at ``place``."""
        path = os.path.join(self._folder, 'shown')
        with open(path, 'wb') as file:
            file.write(self.picture().head + pixels)
        before = self.picture()
        self._begin([needs('xwud', 'x11-apps'), '-noclick', '-vis', 'default', '-in', path, '-geometry', place])
        wait_until(lambda: self.picture() != before, SECONDS, 'a window with a picture')

    def listen(self, geometry):
        """Open a window that tells what is typed and clicked in it: a function that gives the words told so far."""
        before = self.picture()
        self._begin([needs('xev', 'x11-utils'), '-geometry', geometry, '-event', 'keyboard', '-event', 'button'])
        wait_until(lambda: self.picture() != before, SECONDS, 'a window that listens')

    def _told(self):
        with open(os.path.join(self._folder, 'xev')) as file:
            return file.read()

    def typed(self):
        """All that was typed so far."""
        found = re.findall(r'^KeyPress event.*?XLookupString gives \d bytes:(?: \(([0-9a-f]+)\))?', self._told(),
                           re.MULTILINE | re.DOTALL)
        return ''.join(chr(int(code, 16)) for code in found if code)

    def clicks(self):
        """Where on the screen the first mouse button was pressed, and where released, so far."""
        found = re.findall(r'^Button(Press|Release) event.*?root:\((\d+),(\d+)\).*?button 1,', self._told(),
                           re.MULTILINE | re.DOTALL)
        return [(kind, int(x), int(y)) for kind, x, y in found]

    def _begin(self, command):
        name = os.path.join(self._folder, os.path.basename(command[0]))
        with open(name, 'wb') as output, open(os.devnull) as nothing:
            self._programs.append(subprocess.Popen(command + ['-display', self.display], cwd=self._folder,
                                                   stdin=nothing, stdout=output, stderr=output, close_fds=True))

    def end(self):
        """By SIGTERM, for which Xvnc removes its lock and its socket."""
        for process in self._programs + [self._server]:
            if process.poll() is None:
                process.terminate()
            process.wait()
        self._server.stdout.close()


@contextlib.contextmanager
def running_desktop():
    """A Desktop that serves. Nothing of it is left in the end."""
    program, folder = needs('Xtigervnc', 'tigervnc-standalone-server'), tempfile.mkdtemp()
    begun = []
    try:
        while not (begun and begun[-1].is_begun()):
            assert len(begun) < ATTEMPTS, begun[-1].log()
            begun.append(Desktop(program, folder, closed_port()))
        yield begun[-1]
    finally:
        for server in begun:
            server.end()
        shutil.rmtree(folder)
