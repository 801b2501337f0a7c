# -*- coding: utf-8 -*-
"""Programs that the tests need and do not bring along."""

import os

import pytest


def needs(program, package):
    """The path of ``program``. Without it the test is skipped and says what to install."""
    for folder in os.environ.get('PATH', os.defpath).split(os.pathsep):
        path = os.path.join(folder, program)
        if os.path.isfile(path) and os.access(path, os.X_OK):
            return path
    pytest.skip('needs %s (Debian: apt-get install %s)' % (program, package))


def needs_node_modules(package='ws'):
    """The folder of the Node packages that tests/environments.py has installed, ``package`` too."""
    folder = os.environ.get('WS2S_TEST_NODE_MODULES', '')
    if not os.path.isdir(os.path.join(folder, *package.split('/'))):
        pytest.skip("needs Node's package %s (python3 tests/environments.py test installs it)" % package)
    return folder


def needs_driver_modules():
    """The folder of the drivers that tests/environments.py has installed."""
    folder = os.environ.get('WS2S_TEST_DRIVER_MODULES', '')
    if not os.path.isdir(folder):
        pytest.skip('owed: needs the drivers from npm (python3 tests/environments.py test installs them)')
    return folder


def needs_novnc():
    """The archive of noVNC that tests/environments.py has installed."""
    path = os.environ.get('WS2S_TEST_NOVNC', '')
    if not os.path.isfile(path):
        pytest.skip('needs noVNC (python3 tests/environments.py test installs it)')
    return path
