"""Readiness of many sockets: epoll where there is one, for it costs the load generator least."""
import select
import selectors

READ, WRITE = 1, 4  # as in epoll


class EpollTurns(object):
    def __init__(self):
        self._epoll = select.epoll()
        self.watch, self.change, self.forget = self._epoll.register, self._epoll.modify, self._epoll.unregister

    def ready(self, seconds):
        """Pairs of a descriptor and what it is ready for; an error counts as readable."""
        return self._epoll.poll(seconds, 256)


class SelectorTurns(object):
    TO = {READ: selectors.EVENT_READ, WRITE: selectors.EVENT_WRITE,
          READ | WRITE: selectors.EVENT_READ | selectors.EVENT_WRITE}
    FROM = {mask: ready for ready, mask in TO.items()}

    def __init__(self):
        self._selector = selectors.DefaultSelector()
        self.forget = self._selector.unregister

    def watch(self, descriptor, wanted):
        self._selector.register(descriptor, self.TO[wanted])

    def change(self, descriptor, wanted):
        self._selector.modify(descriptor, self.TO[wanted])

    def ready(self, seconds):
        return [(key.fd, self.FROM[mask]) for key, mask in self._selector.select(seconds)]


Turns = EpollTurns if hasattr(select, 'epoll') else SelectorTurns
