"""UTF-8, whole and in pieces: it fails at the first bad byte on every Python (RFC 6455 section 8.1)."""
import json
import os

import pytest

import ws2s
from every_split import every_split

DATA = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), 'data')

with open(os.path.join(DATA, 'utf8.json')) as source:
    UTF8 = json.load(source)


def rows(kind):
    return [pytest.param(bytes(bytearray.fromhex(row['hex'])), row.get('bad_at'), id=str(row['name']))
            for row in UTF8[kind]]


# The Unicode Standard, table 3-7: which second byte may follow a first one, and how many bytes follow.
SECOND = dict([(lead, (0x80, 0xbf, 1)) for lead in range(0xc2, 0xe0)]
              + [(lead, (0x80, 0xbf, 2)) for lead in range(0xe1, 0xf0)]
              + [(lead, (0x80, 0xbf, 3)) for lead in range(0xf1, 0xf4)])
SECOND.update({0xe0: (0xa0, 0xbf, 2), 0xed: (0x80, 0x9f, 2), 0xf0: (0x90, 0xbf, 3), 0xf4: (0x80, 0x8f, 3)})


def first_bad(data):
    """By that table: the index of the first byte that no well-formed text has there, or None."""
    least, most, following = 0, 0, 0
    for i, byte in enumerate(bytearray(data)):
        if following:
            if not least <= byte <= most:
                return i
            least, most, following = 0x80, 0xbf, following - 1
        elif byte in SECOND:
            least, most, following = SECOND[byte]
        elif byte > 0x7f:
            return i
    return None


def fails_at(data):
    """The index at which a check that gets byte after byte fails, or None."""
    check = ws2s.Utf8Check()
    for i in range(len(data)):
        try:
            check.check(data[i:i + 1], False)
        except UnicodeError:
            return i
    return None


@pytest.mark.parametrize('data, _', rows('good'))
def test_good_utf8_passes_wherever_it_is_cut(data, _):
    for pieces in every_split(data):
        check = ws2s.Utf8Check()
        for piece in pieces:
            check.check(piece, False)
        check.check(b'', True)
    assert ws2s.utf8_bytes(ws2s.utf8_text(data)) == data
    assert ws2s.utf8_text(bytearray(data)) == data.decode('utf-8')


@pytest.mark.parametrize('data, bad_at', rows('bad'))
def test_bad_utf8_fails_at_its_first_bad_byte_wherever_it_is_cut(data, bad_at):
    assert first_bad(data) == bad_at, 'the table of this test'
    assert fails_at(data) == bad_at
    for place in range(bad_at + 1):
        for final in (False, True):
            check = ws2s.Utf8Check()
            check.check(data[:place], False)
            with pytest.raises(UnicodeError):
                check.check(data[place:bad_at + 1], final)


@pytest.mark.parametrize('data, _', rows('bad') + rows('cut'))
def test_bad_or_cut_utf8_is_no_text(data, _):
    with pytest.raises(UnicodeError):
        ws2s.utf8_text(data)


@pytest.mark.parametrize('data, _', rows('cut'))
def test_utf8_that_ends_within_a_character_fails_at_the_end_only(data, _):
    for pieces in every_split(data):
        check = ws2s.Utf8Check()
        for piece in pieces:
            check.check(piece, False)
        with pytest.raises(UnicodeError):
            check.check(b'', True)
        with pytest.raises(UnicodeError):
            ws2s.Utf8Check().check(data, True)


def test_every_pair_of_bytes_fails_where_the_unicode_standard_says():
    pairs = [bytearray([first, second]) for first in range(256) for second in range(256)]
    assert [pair for pair in pairs if fails_at(pair) != first_bad(pair)] == []


def test_random_bytes_near_the_borders_fail_where_the_unicode_standard_says(dice):
    borders = bytearray(b'\x00\x7f\x80\x8f\x90\x9f\xa0\xbf\xc0\xc1\xc2\xdf\xe0\xe1\xed\xee\xef\xf0\xf1\xf4')
    for _ in range(20000):
        data = bytearray(dice.choice(borders) for _ in range(dice.randint(1, 6)))
        assert fails_at(data) == first_bad(data), bytes(data)


@pytest.mark.parametrize('half', ['d800', 'dbff', 'dc00', 'dfff'])
@pytest.mark.parametrize('text', ['%s', 'a%s', '%sz'])
def test_half_a_surrogate_pair_has_no_utf8(half, text):
    with pytest.raises(UnicodeError):
        ws2s.utf8_bytes(json.loads('"%s"' % text.replace('%s', '\\u' + half)))


def test_a_whole_surrogate_pair_from_json_is_one_character():
    assert ws2s.utf8_bytes(json.loads('"\\ud83d\\ude00"')) == b'\xf0\x9f\x98\x80'
