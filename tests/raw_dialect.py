"""A dialect without a word of its own: bytes to the target that the path names, and back."""
import re

import ws2s

try:
    from urllib.parse import unquote_to_bytes
except ImportError:  # Python 2, whose texts of a request are bytes
    from urllib import unquote as unquote_to_bytes

ONLY = 0  # the channel: there is one
TARGET = re.compile(u'/(?:\\[(?P<v6>[0-9A-Fa-f:.]{2,45})\\]|(?P<name>[^\\[\\]:/\\s\x00-\x1f\x7f]{1,253}))'
                    u':(?P<port>[0-9]{1,5})\\Z', re.UNICODE)


def target_in(path):
    """The (host, port) of `/HOST:PORT`, percent-encoded or not. Raises HttpError."""
    try:
        found = TARGET.match(unquote_to_bytes(path).decode('utf-8'))
    except UnicodeError:
        found = None
    if not found or not 1 <= int(found.group('port')) <= 65535:
        raise ws2s.HttpError(400, 'The path must be /HOST:PORT.')
    return found.group('v6') or found.group('name'), int(found.group('port'))


class RawDialect(ws2s.Dialect):
    """One target for one WebSocket: both end together."""

    name = 'raw'

    def __init__(self, request, config):
        self._host, self._port = target_in(request.path)
        if 'binary' in request.subprotocols():
            self.subprotocol = 'binary'

    def on_start(self):
        return [ws2s.Open(ONLY, self._host, self._port, prefix=b''), ws2s.Carry(ONLY)]

    def on_text(self, text):
        return [ws2s.Write(ONLY, text.encode('utf-8'))]

    def on_failed(self, channel, failure):
        return [ws2s.Hangup(1011, failure.reason)]

    def on_closed(self, channel, failure):
        return [ws2s.Hangup(1000 if failure.reason == 'closed' else 1011, failure.reason)]
