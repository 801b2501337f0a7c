"""A dialect for many targets over one WebSocket: a binary message is two bytes of a channel's number and data.

The client says `open N HOST:PORT` and `close N`, and hears `opened N`, `failed N REASON` and `closed N REASON`. It may
have CREDIT bytes under way on each channel; `credit N COUNT` gives some back when the target has taken them.
"""
import re
import struct

import ws2s

CREDIT = 65536
CHANNELS = 256
HEAD = struct.Struct('!H')
NUMBER = re.compile(u'[0-9]{1,5}\\Z')
HOST = re.compile(u'[^\\s\x00-\x1f\x7f]{1,253}\\Z', re.UNICODE)


class MuxDialect(ws2s.Dialect):
    """Whatever makes no sense ends the WebSocket."""

    name = 'mux'
    whole_messages = True
    credits = True

    def __init__(self, request, config):
        self._taken = {}  # by channel: bytes that the client has not been given back

    def on_text(self, text):
        words = text.split(u' ')
        if len(words) < 2 or not NUMBER.match(words[1]) or int(words[1]) > 0xffff:
            return [ws2s.Hangup(1008, 'what is this?')]
        channel = int(words[1])
        if words[0] == u'open' and len(words) == 3 and channel not in self._taken:
            return self._open(channel, *words[2].rpartition(u':')[::2])
        if words[0] == u'close' and len(words) == 2:
            self._taken.pop(channel, None)
            return [ws2s.Shut(channel), say(u'closed', channel, u'asked')]
        return [ws2s.Hangup(1008, 'what is this?')]

    def _open(self, channel, host, port):
        if len(self._taken) >= CHANNELS:
            return [say(u'failed', channel, u'channels')]
        if not HOST.match(host) or not NUMBER.match(port) or not 1 <= int(port) <= 65535:
            return [say(u'failed', channel, u'target')]
        self._taken[channel] = 0
        return [ws2s.Open(channel, host, int(port), prefix=HEAD.pack(channel))]

    def on_binary(self, piece, final):
        if len(piece) < HEAD.size:
            return [ws2s.Hangup(1008, 'no channel')]
        (channel,) = HEAD.unpack(piece[:HEAD.size])
        if channel not in self._taken:
            return []  # the client does not know yet that the channel has ended
        self._taken[channel] += len(piece) - HEAD.size
        return [ws2s.Write(channel, piece[HEAD.size:])]

    def on_opened(self, channel):
        return [say(u'opened', channel)]

    def on_drained(self, channel):
        count, self._taken[channel] = self._taken[channel], 0
        return [say(u'credit', channel, count)]

    def on_failed(self, channel, failure):
        del self._taken[channel]
        return [say(u'failed', channel, failure.reason)]

    def on_closed(self, channel, failure):
        del self._taken[channel]
        return [say(u'closed', channel, failure.reason)]


def say(*words):
    return ws2s.Send(ws2s.TEXT, u' '.join(u'%s' % word for word in words).encode('utf-8'))
