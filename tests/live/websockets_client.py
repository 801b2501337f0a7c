# -*- coding: utf-8 -*-
"""Python's `websockets` as a client of scenarios.py. Python 3 only; it is never imported on 2.7."""

import asyncio

import websockets

SECONDS = 30


class WebsocketsClient(object):
    """It offers permessage-deflate of its own accord."""

    def __init__(self, url):
        self._loop = asyncio.new_event_loop()
        self._socket = self._run(self._connect(url))

    @staticmethod
    async def _connect(url):
        return await websockets.connect(url, max_size=None, ping_interval=None)

    def _run(self, work):
        return self._loop.run_until_complete(asyncio.wait_for(work, SECONDS))

    def send_text(self, text):
        self._run(self._socket.send(text))

    send_binary = send_text

    def receive(self):
        try:
            return self._run(self._socket.recv())
        except websockets.ConnectionClosed:
            raise EOFError(self.code)

    def close(self, code):
        self._run(self._socket.close(code))

    @property
    def code(self):
        """1006 is the library's word for no Close at all."""
        return None if self._socket.close_code == 1006 else self._socket.close_code

    @property
    def extensions(self):
        response = getattr(self._socket, 'response', None)  # since release 14
        headers = response.headers if response else self._socket.response_headers
        return headers.get('Sec-WebSocket-Extensions', '')

    def end(self):
        self._run(self._socket.close())
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.close()
