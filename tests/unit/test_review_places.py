# -*- coding: utf-8 -*-
import ws2s


class One(object):
    def __init__(self, places, group):
        self.places, self.group, self.is_ended = places, group, False

    def end(self):
        self.is_ended = True
        self.places.give_back(self)


def test_of_groups_that_have_as_many_the_oldest_client_gives_way():
    places, clients = ws2s.Places({'limits.clients': 0, 'limits.clientsPerAddress': 0}), []
    for number in range(ws2s.SPARE_CONNECTIONS):
        group = b'%03d' % (999 - number)
        assert places.take(group)
        clients.append(One(places, group))
        places.release(clients[-1])
    assert places.take(b'new')
    assert clients[0].is_ended, [one.group for one in clients if one.is_ended]
