"""The version is read, not imported: a build must not run the gateway's code."""
import io
import os
import re

from setuptools import setup

with io.open(os.path.join(os.path.dirname(os.path.abspath(__file__)), 'ws2s.py'), encoding='utf-8') as source:
    version = re.search(r"^__version__ = u?['\"]([^'\"]+)['\"]", source.read(), re.M).group(1)

setup(version=version)
