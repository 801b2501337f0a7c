"""A dialect that says everything back: what the conformance suite and the live tests talk to."""
import ws2s

REFUSALS = {u'401': (401, 'The ticket is not valid.', [('WWW-Authenticate', 'Ticket')]),
            u'429': (429, 'Too many have asked.', [('Retry-After', '7')])}


class EchoDialect(ws2s.Dialect):
    """Whole messages, of the type they came with.

    With `?greet=TEXT&after=SECONDS` it speaks unasked; `?refuse=401` and `?refuse=429` get no WebSocket.
    """

    name = 'echo'
    whole_messages = True

    def __init__(self, request, config):
        refusal = request.parameter('refuse')
        if refusal in REFUSALS:
            raise ws2s.HttpError(*REFUSALS[refusal])
        self._greeting = request.parameter('greet')
        try:
            self._seconds = float(request.parameter('after') or 0)
        except ValueError:
            raise ws2s.HttpError(400, 'The parameter after is no number.')
        if 'echo' in request.subprotocols():
            self.subprotocol = 'echo'

    def on_start(self):
        return [ws2s.Later(self._seconds)] if self._greeting else []

    def on_later(self):
        return [ws2s.Send(ws2s.TEXT, self._greeting.encode('utf-8'))]

    def on_text(self, text):
        return [ws2s.Send(ws2s.TEXT, text.encode('utf-8'))]

    def on_binary(self, piece, final):
        return [ws2s.Send(ws2s.BINARY, piece)]
