# -*- coding: utf-8 -*-
"""Who must go first: of the address group that holds most the largest holder, of that with most visitors the oldest."""

import ws2s


class Held(ws2s.Holder):
    """Holds bytes, of which its kernel takes what it may."""

    def __init__(self, budget, group, count, flushes=0):
        self.group, self._budget, self._count, self._flushes, self.is_ended = group, budget, count, flushes, False
        budget.bytes += count
        budget.present.add(self)

    def held(self):
        return self._count

    def _lose(self, count):
        self._count -= count
        self._budget.bytes -= count

    def flush(self):
        self._lose(min(self._count, self._flushes))

    def on_full(self):
        self.is_ended = True
        self._lose(self._count)
        self._budget.present.discard(self)


MOST = 1 << 20


class Later(object):
    """In the place of a loop: keeps what is to be called later."""

    def call_later(self, seconds, callback):
        self.later = callback


def budget_with_a_loop():
    budget = ws2s.Budget(MOST)
    budget.loop = Later()
    return budget


def enforced(budget, *holders):
    """Which of the holders go when the first of them has grown."""
    budget.enforce(holders[0])
    return [holder.is_ended for holder in holders]


def test_the_group_that_holds_most_loses_its_largest_holder_and_no_more_than_that():
    budget = budget_with_a_loop()
    innocent = Held(budget, b'i', MOST // 4)  # larger than each of the others
    attackers = [Held(budget, b'a', MOST // 8 + number) for number in range(6)]
    assert enforced(budget, innocent, *attackers) == [False] * 6 + [True]


def test_what_the_kernel_takes_is_not_paid_for():
    budget = budget_with_a_loop()
    holders = [Held(budget, b'a', 3 * MOST // 4, flushes=MOST), Held(budget, b'a', MOST // 2)]
    assert enforced(budget, *holders[::-1]) == [False, False] and budget.bytes == MOST // 2


def test_groups_lose_in_turn_when_one_holds_no_more_than_another():
    budget = budget_with_a_loop()
    holders = [Held(budget, group, MOST // 4) for group in (b'a', b'b', b'c') for _ in range(4)]
    ended = enforced(budget, *holders)
    assert budget.bytes <= MOST and sum(ended) == 8
    assert sorted(sum(ended[start:start + 4]) for start in (0, 4, 8)) in ([2, 3, 3], [2, 2, 4])


def test_a_ranking_is_made_anew_when_another_group_may_have_become_the_heaviest():
    ranking = ws2s.Ranking([(b'a', 10, 1, 'a1'), (b'a', 10, 2, 'a2'), (b'a', 10, 3, 'a3'), (b'b', 8, 1, 'b1')])
    assert [ranking.next() for _ in range(3)] == ['a3', 'a2', None]


def test_of_groups_that_weigh_the_same_the_one_of_the_highest_rank_goes_first():
    ranking = ws2s.Ranking([(b'a', 1, -5, 'a5'), (b'a', 1, -3, 'a3'), (b'b', 1, -1, 'b1'), (b'b', 1, -9, 'b9')])
    assert ranking.next() == 'b1' and ranking.next() == 'a3'


def test_a_ranking_is_forgotten_after_a_short_while():
    budget = budget_with_a_loop()
    enforced(budget, *[Held(budget, b'a', MOST // 4) for _ in range(5)])
    assert budget.ranking.next() is not None
    budget.loop.later()
    assert budget.ranking.next() is None


def test_who_holds_nothing_never_goes():
    budget = budget_with_a_loop()
    idle, other = Held(budget, b'a', 0), Held(budget, b'b', MOST + 1)
    assert enforced(budget, idle, other) == [False, True]


# -- places ------------------------------------------------------------------------------------------------------------

class Visitor(object):
    def __init__(self, places, group):
        self.places, self.group, self.is_ended = places, group, False

    def end(self):
        self.is_ended = True
        self.places.give_back(self)


def full_places(groups):
    """Places that are taken by one visitor of each group, and the visitors."""
    places, visitors = ws2s.Places({'limits.clients': 0, 'limits.clientsPerAddress': 0}), []
    places.loop = Later()
    for group in groups:
        assert places.take(group)
        visitors.append(Visitor(places, group))
    return places, visitors


GROUPS = [b'%03d' % number for number in range(ws2s.SPARE_CONNECTIONS)]


def test_of_groups_that_have_as_many_the_oldest_client_gives_way():
    for groups in (GROUPS, GROUPS[::-1]):
        places, visitors = full_places(groups)
        for visitor in visitors:
            places.offer(visitor)
        assert places.take(b'new') and [visitor for visitor in visitors if visitor.is_ended] == visitors[:1]


def test_of_the_group_that_has_most_the_oldest_client_gives_way_however_young():
    places, visitors = full_places(GROUPS[2:] + [b'many'] * 2)
    for visitor in visitors:
        places.offer(visitor)
    assert places.take(b'new') and [visitor for visitor in visitors if visitor.is_ended] == visitors[-2:-1]


def test_who_is_held_gives_way_to_nobody():
    places, visitors = full_places(GROUPS)
    for visitor in visitors:
        places.offer(visitor)
        places.hold(visitor)
    assert not places.take(b'new') and not any(visitor.is_ended for visitor in visitors)
    places.offer(visitors[5])
    assert places.take(b'new') and visitors[5].is_ended


def test_who_has_gone_since_does_not_give_way():
    places, visitors = full_places(GROUPS)
    for visitor in visitors:
        places.offer(visitor)
    assert places.take(b'new')
    for visitor in visitors[1:-1]:
        places.give_back(visitor)
    for number in range(len(GROUPS) - 2):
        assert places.take(b'%d' % number)
    assert not visitors[-1].is_ended and places.take(b'last') and visitors[-1].is_ended
