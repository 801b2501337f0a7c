from every_split import every_split


def test_short_data_is_cut_at_every_place():
    splits = every_split(b'abc')
    assert splits == [[b'abc'], [b'a', b'b', b'c'], [b'a', b'bc'], [b'ab', b'c']]


def test_long_data_is_cut_near_the_places_that_matter():
    splits = every_split(b'x' * 5000, near=[4999])
    assert [len(split[0]) for split in splits[2:]] == list(range(4993, 5000))
    assert all(b''.join(split) == b'x' * 5000 for split in splits)


def test_empty_data_has_no_cut():
    assert every_split(b'') == [[b''], []]
