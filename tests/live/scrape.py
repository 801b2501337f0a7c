# -*- coding: utf-8 -*-
"""What a gateway counts, as a program of this machine sees it."""

import re

from raw_client import exchange

REQUEST = 'GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\n%s\r\n'
SERIES = re.compile(r'(\w+)(?:\{(.*)\})?\Z')
LABEL = re.compile(r'(\w+)="([^"]*)"')


def request(path='/metrics', headers=()):
    return (REQUEST % (path, ''.join('%s: %s\r\n' % header for header in headers))).encode('latin-1')


def text_of(address, headers=()):
    status, found, body = exchange(address, request(headers=headers))
    assert (status, found['content-type']) == (200, 'text/plain; version=0.0.4; charset=utf-8')
    assert int(found['content-length']) == len(body)
    return body.decode('ascii')


def scrape(address, headers=()):
    """{name of a series: value}."""
    lines = text_of(address, headers).splitlines()
    pairs = [line.rsplit(' ', 1) for line in lines if not line.startswith('#')]
    assert len(dict(pairs)) == len(pairs), 'a series stands there twice'
    return {name: float(value) for name, value in pairs}


def total(found, family, **labels):
    """The sum of all series of a family that have these labels."""
    values = []
    for series, value in found.items():
        name, text = SERIES.match(series).groups()
        if name == family and set(labels.items()) <= set(LABEL.findall(text or '')):
            values.append(value)
    assert values, (family, labels)
    return sum(values)


def changes(before, after):
    """What has moved, but for what each scrape moves itself."""
    moving = re.compile(r'ws2s_(turn_seconds|dial_seconds_sum|resident_bytes|descriptors)')
    return {name: value - before[name] for name, value in after.items()
            if value != before[name] and not moving.match(name)}
