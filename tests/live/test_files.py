# -*- coding: utf-8 -*-
"""No file outside of a folder is read, whatever those do who may write in it (security S16)."""

import os
import threading

import pytest

import ws2s
from raw_client import exchange
from waiting import wait_until

pytestmark = pytest.mark.usefixtures('no_mistakes')

INSIDE, OUTSIDE = b'inside', b'SECRET'


@pytest.fixture
def web(tmpdir):
    """Two folders that can be exchanged: one leads out."""
    tmpdir.mkdir('outside').join('page.txt').write_binary(OUTSIDE)
    web = tmpdir.mkdir('web')
    web.mkdir('sub').join('page.txt').write_binary(INSIDE)
    web.mkdir('sub', 'deeper').join('page.txt').write_binary(INSIDE)
    tmpdir.join('outside').mkdir('deeper').join('page.txt').write_binary(OUTSIDE)
    os.symlink(str(tmpdir.join('outside')), str(web.join('link')))
    return web


def read(web, path='sub/page.txt'):
    return ws2s.read_below(str(web), str(web.join(path)).encode('utf-8'), 100)


def exchange_names(web):
    """What was `sub` is `link` now."""
    for old, new in (('sub', 'aside'), ('link', 'sub'), ('aside', 'link')):
        os.rename(str(web.join(old)), str(web.join(new)))


@pytest.mark.parametrize('path', ['sub/page.txt', 'sub/deeper/page.txt'])
def test_a_folder_that_becomes_a_link_before_what_is_in_it_is_opened_leads_nowhere(web, path, monkeypatch):
    assert read(web, path) == INSIDE
    really_open = os.open

    def late_open(name, flags, *mode):
        if name.endswith(b'page.txt'):
            exchange_names(web)
        return really_open(name, flags, *mode)

    monkeypatch.setattr(os, 'open', late_open)
    assert read(web, path) is None
    monkeypatch.undo()
    assert read(web, path) is None
    exchange_names(web)
    assert read(web, path) == INSIDE


def test_a_link_in_the_place_of_a_file_leads_nowhere(web, monkeypatch):
    really_open = os.open

    def late_open(name, flags, *mode):
        if name.endswith(b'page.txt'):
            os.remove(name)
            os.symlink(str(web.join('link', 'page.txt')), name)
        return really_open(name, flags, *mode)

    monkeypatch.setattr(os, 'open', late_open)
    assert read(web) is None


@pytest.mark.programs
@pytest.mark.parametrize('is_served', [False, True], ids=['by a thread', 'by a gateway'])
def test_nothing_outside_is_read_while_folders_and_links_are_exchanged(running_gateway, web, is_served):
    gateway = running_gateway({'web': str(web)})
    found, is_over = set(), threading.Event()

    def exchange_all_the_time():
        while not is_over.is_set():
            exchange_names(web)

    def look():
        request = b'GET /sub/page.txt HTTP/1.1\r\nHost: x\r\n\r\n'
        found.add(exchange(gateway.address, request)[2] if is_served else read(web))
        return INSIDE in found and len(found) > 1

    writer = threading.Thread(target=exchange_all_the_time)
    writer.start()
    try:
        for _ in range(1500 if is_served else 15000):
            look()
        wait_until(look)
    finally:
        is_over.set()
        writer.join(10)
    assert OUTSIDE not in found and len(found) == 2


def test_files_of_a_folder_that_can_be_searched_but_not_listed_are_read(web):
    web.chmod(0o311)
    try:
        assert read(web) == INSIDE
    finally:
        web.chmod(0o755)
