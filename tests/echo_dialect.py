"""A dialect that says everything back: what the conformance suite and the live tests talk to."""
import ws2s


class EchoDialect(ws2s.Dialect):
    """Whole messages, of the type they came with."""

    def __init__(self, request, config):
        super(EchoDialect, self).__init__(request, config)
        self._pieces = []

    def on_text(self, text):
        return [ws2s.Send(ws2s.TEXT, text.encode('utf-8'))]

    def on_binary(self, piece, final):
        self._pieces.append(bytes(piece))
        if not final:
            return []
        message, self._pieces = b''.join(self._pieces), []
        return [ws2s.Send(ws2s.BINARY, message)]
