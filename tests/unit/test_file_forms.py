# -*- coding: utf-8 -*-
"""Files as readers take them: tags, what a reader has already, gzip (RFC 9110, sections 8.8.3, 12.5.3, 13.1.2)."""
import zlib

import pytest

import ws2s
from ws2s import FileForm, HttpError, Packings, Request

TAG = '"0123456789abcdef"'


def asked(method='GET', **headers):
    pairs = [(name.replace('_', '-'), value) for name, values in sorted(headers.items())
             for value in ([values] if isinstance(values, str) else values)]
    return Request(method, '/app.js', 'HTTP/1.1', pairs)


# --- If-None-Match --------------------------------------------------------------------------------

@pytest.mark.parametrize('value', [
    '*', ' * ', TAG, 'W/' + TAG, '"a", ' + TAG, TAG + ',"a"', '"a",\tW/"b" ,W/' + TAG, '"a,b", ' + TAG, ',, ' + TAG,
    TAG + ',', ['"a"', TAG], ['"a"', '"b", W/' + TAG], '"\xe9", ' + TAG, '"", ' + TAG])
def test_a_reader_has_what_it_names_or_whatever_there_is(value):
    assert ws2s.has_tag(asked(if_none_match=value), TAG)


@pytest.mark.parametrize('value', [
    (), '', '"a"', 'W/"a"', TAG.strip('"'), TAG[1:], TAG[:-1], TAG.upper(), '"%s"' % TAG.strip('"')[:-1],
    '"W/%s"' % TAG[1:], '"a, ' + TAG.strip('"') + '"', '"*"', '*, "a"', '"a" b', 'w', 20 * ',', 16000 * '"',
    8000 * 'W/'])
def test_a_reader_that_names_another_or_nothing_has_it_not(value):
    assert not ws2s.has_tag(asked(if_none_match=value), TAG)


# --- Accept-Encoding ------------------------------------------------------------------------------

@pytest.mark.parametrize('value', [
    'gzip', 'GZip', 'x-gzip', 'gzip, deflate, br, zstd', 'br;q=1.0, gzip;q=0.8, *;q=0.1', 'gzip;q=1', 'gzip;q=1.000',
    'gzip ; q=0.5', 'gzip\t;\tq=0.5', 'gzip;Q=0.5', 'gzip;q=0.001', 'identity;q=0.5, gzip;q=0.5', ['br', 'gzip'],
    ',, gzip ,', 'gzip, *;q=0'])
def test_gzip_is_taken_by_who_says_so(value):
    assert ws2s.takes_gzip(asked(accept_encoding=value))


@pytest.mark.parametrize('value', [
    (), '', 'identity', 'br', 'deflate', '*', 'gzip;q=0', 'gzip;q=0.', 'gzip;q=0.000', '*;q=0', 'gzip;q=0, *',
    'gzip;q=2', 'gzip;q=1.001', 'gzip;q=-1', 'gzip;q=0.5000', 'gzip;q=a', 'gzip;q=', 'gzip;level=9', 'gzip;q=1;a=b',
    'gzipx', 'x-x', 'gzip deflate', 16000 * ';', 8000 * 'a,'])
def test_gzip_is_not_given_to_who_does_not_want_it_or_is_not_understood(value):
    assert not ws2s.takes_gzip(asked(accept_encoding=value))


# --- Replies --------------------------------------------------------------------------------------

def reply(request, form, name='app.js'):
    status, head, body = ws2s.file_reply(request, name, form, 'the policy')
    lines = head.decode('latin-1').split('\r\n')
    assert lines[0].split(' ')[1] == str(status) and lines[-2:] == ['', '']
    headers = dict(line.split(': ', 1) for line in lines[1:-2])
    assert len(headers) == len(lines) - 3  # none stands there twice
    return status, headers, body


@pytest.mark.parametrize('had', [(), '*'])
def test_only_our_own_pages_are_cut_off_from_whoever_has_opened_them(had):
    for policy, wanted in ((ws2s.PAGE_POLICY, 1), (ws2s.FOLDER_POLICY, 0)):
        _, head, _ = ws2s.file_reply(asked(if_none_match=had), 'a.html', PLAIN, policy)
        assert head.count(b'Cross-Origin-Opener-Policy: same-origin\r\n') == wanted


PLAIN, PACKED = FileForm(b'12345', TAG, False), FileForm(b'1234', '"x-gzip"', True)


def test_a_file_comes_with_its_tag():
    status, headers, body = reply(asked(), PLAIN)
    assert (status, body) == (200, b'12345')
    assert headers['ETag'] == TAG and headers['Vary'] == 'Accept-Encoding' and headers['Content-Length'] == '5'
    assert headers['Cache-Control'] == 'no-cache' and 'Content-Encoding' not in headers


def test_a_packed_file_says_so_and_has_a_tag_and_a_length_of_its_own():
    status, headers, body = reply(asked(), PACKED)
    assert (status, body) == (200, b'1234')
    assert headers['ETag'] == '"x-gzip"' and headers['Content-Encoding'] == 'gzip' and headers['Content-Length'] == '4'
    assert headers['Content-Type'] == 'text/javascript; charset=utf-8'


@pytest.mark.parametrize('form', [PLAIN, PACKED])
def test_head_is_the_answer_to_get_without_its_body(form):
    for headers in ({}, {'if_none_match': form.tag}):
        assert reply(asked('HEAD', **headers), form) == reply(asked(**headers), form)[:2] + (b'',)


@pytest.mark.parametrize('method', ['GET', 'HEAD'])
@pytest.mark.parametrize('form', [PLAIN, PACKED])
def test_who_has_a_file_gets_no_body_but_the_headers_that_count(method, form):
    status, headers, body = reply(asked(method, if_none_match=form.tag), form)
    assert (status, body) == (304, b'')
    assert headers['ETag'] == form.tag and headers['Vary'] == 'Accept-Encoding'
    assert headers['Cache-Control'] == 'no-cache' and headers['Content-Security-Policy'] == 'the policy'
    assert headers['Connection'] == 'close'
    assert not {'Content-Length', 'Content-Type', 'Content-Encoding'} & set(headers)


def test_what_is_never_packed_does_not_vary():
    for name in ('picture.png', 'plain', 'a.wasm'):
        assert 'Vary' not in reply(asked(), PLAIN, name)[1]
    for name in ('a.html', 'a.mjs', 'a.css', 'a.json', 'a.svg', 'a.txt'):
        assert reply(asked(), PLAIN, name)[1]['Vary'] == 'Accept-Encoding'


# --- Packing --------------------------------------------------------------------------------------

@pytest.fixture
def packings(monkeypatch):
    """A Packings over files that are a dict by name; `packed` lists what was packed."""
    found = Packings()
    found.files, found.packed, compressobj = {}, [], zlib.compressobj

    def counted(*arguments):
        found.packed.append(arguments)
        return compressobj(*arguments)

    monkeypatch.setattr(ws2s, 'blocking_read_file', lambda folder, names: found.files.get(names[-1], ws2s.NOT_HERE))
    monkeypatch.setattr(zlib, 'compressobj', counted)
    return found


def read(packings, name, in_gzip=True):
    return packings.blocking_read('/web', [name], in_gzip)


def unpacked(form):
    return zlib.decompress(form.data, 31)


def test_a_text_is_packed_once_whatever_its_name_and_only_for_who_takes_it(packings):
    packings.files.update({'a.js': b'text ' * 1000, 'b.css': b'text ' * 1000})
    assert read(packings, 'a.js', False).data == b'text ' * 1000 and packings.packed == []
    forms = [read(packings, name) for name in ('a.js', 'b.css', 'a.js')]
    assert [unpacked(form) for form in forms] == 3 * [b'text ' * 1000] and len(forms[0].data) < 100
    assert len(packings.packed) == 1


def test_a_tag_is_that_of_the_bytes_in_this_form(packings):
    packings.files.update({'a.js': b'a' * 5000, 'b.js': b'b' * 5000, 'c.js': b'a' * 5000})
    tags = {name: (read(packings, name).tag, read(packings, name, False).tag) for name in packings.files}
    assert tags['a.js'] == tags['c.js'] and len(set(tags['a.js'] + tags['b.js'])) == 4
    assert all(ws2s.ENTITY_TAG.match(tag).group() == tag for pair in tags.values() for tag in pair)


def test_the_same_text_is_packed_to_the_same_bytes_ever():
    forms = []
    for _ in range(2):
        forms.append(Packings()._pack('digest', b'text ' * 1000))
    assert forms[0] == forms[1] and forms[0][4:8] == b'\0\0\0\0'  # no time stands there


def test_a_file_that_has_changed_is_another(packings):
    packings.files['a.js'] = b'a' * 5000
    before = read(packings, 'a.js')
    packings.files['a.js'] = b'b' * 5000
    after = read(packings, 'a.js')
    assert before.tag != after.tag and unpacked(after) == b'b' * 5000


@pytest.mark.parametrize('name, size, is_packed', [
    ('a.js', 1023, False), ('a.js', 1024, True), ('a.js', 1048576, True), ('a.js', 1048577, False), ('a.js', 0, False),
    ('a.JSON', 5000, True), ('a.svg', 5000, True), ('a.png', 5000, False), ('a.wasm', 5000, False), ('a', 5000, False)])
def test_texts_of_a_middle_size_are_packed(packings, name, size, is_packed):
    packings.files[name] = b'a' * size
    form = read(packings, name)
    assert form.is_packed is is_packed and (unpacked(form) if is_packed else form.data) == b'a' * size


def test_what_is_kept_is_bounded(packings, monkeypatch):
    monkeypatch.setattr(ws2s, 'PACKED_BYTES', 1000)
    for number in range(500):
        packings.files['a.js'] = b'%d ' % number * 2000
        assert unpacked(read(packings, 'a.js')) == packings.files['a.js']
        assert sum(map(len, packings._known.values())) <= 1000
    assert len(packings.packed) == 500
    assert read(packings, 'a.js').is_packed and len(packings.packed) == 500


def test_what_is_not_there_is_refused_as_ever(packings):
    assert read(packings, 'a.js') is ws2s.NOT_HERE and isinstance(ws2s.NOT_HERE, HttpError)
