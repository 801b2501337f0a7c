"""An echo server over the gateway's WebSocket code: prints its port, serves until SIGTERM."""
import os
import signal
import sys
import threading

TESTS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path[:0] = [os.path.dirname(TESTS), TESTS]

import ws2s  # noqa: E402 - the checkout's file, found only by the path above
from echo_dialect import EchoDialect  # noqa: E402


def main():
    asked_to_stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda number, frame: asked_to_stop.set())
    config = ws2s.parse_config(u'{"listen": {"port": 0}, "deflate": {"enabled": true, "contextTakeover": true}}')
    gateway = ws2s.Gateway(config, dialects=[(lambda request, config: True, EchoDialect)])
    gateway.start()
    try:
        print(gateway.address[1])
        sys.stdout.flush()
        # On 2.7 a wait without an end never sees the signal.
        while not asked_to_stop.wait(0.2):
            pass
    finally:
        gateway.stop()


if __name__ == '__main__':
    main()
