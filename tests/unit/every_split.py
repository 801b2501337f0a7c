"""Every split: what bytes mean must not depend on where reads happen to cut them."""

SHORT = 400


def byte_by_byte(data):
    return [data[i:i + 1] for i in range(len(data))]


def cut_in_two(data, places):
    return [[data[:place], data[place:]] for place in places if 0 < place < len(data)]


def every_split(data, near=()):
    """Lists of pieces that all join to ``data``: whole, byte by byte, cut in two.

    Short data is cut at every place; longer data ``near`` the places that matter.
    """
    places = range(len(data))
    if len(data) > SHORT:
        places = sorted(set(place + step for place in near for step in range(-6, 7)))
    return [[data], byte_by_byte(data)] + cut_in_two(data, places)


def shown(pieces):
    """For the message of an assertion: where the data was cut."""
    sizes = [len(piece) for piece in pieces]
    return 'cut into %s bytes' % (sizes if len(sizes) < 5 else '%d single' % len(sizes))
