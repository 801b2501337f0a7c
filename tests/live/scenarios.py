# -*- coding: utf-8 -*-
"""What a Python client does with the gateway: the scenarios of pages/scenarios.js, with the same results.

A client is made from a URL and has ``send_text``, ``send_binary``, ``receive`` (a text, bytes, or EOFError
after a Close), ``close(code)``, ``end()``, ``code`` (of the gateway's Close) and ``extensions``.
"""

import base64
import hashlib
import json
import os
import time

from redis_server import resp


class Conversation(object):
    """One WebSocket. Its form says how bytes go to the target: by send, by sendb or as binary messages."""

    def __init__(self, open_client, url, form):
        self._client, self._form = open_client(url), form
        self.replies = []   # what the gateway said that is not data: the message, or all of a failure
        self._pieces, self.unread = [], 0

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self._client.end()

    def ask(self, command, **fields):
        self._client.send_text(json.dumps(dict(fields, command=command)))

    def connect(self, port):
        self.ask('connect', host='127.0.0.1', port=port, binary=self._form == 'binary')

    def write(self, data):
        if self._form == 'binary':
            self._client.send_binary(data)
        else:
            encoded = data if self._form == 'send' else base64.b64encode(data)
            self.ask(self._form, data=encoded.decode('utf-8'))

    def _take(self):
        message = self._client.receive()
        if isinstance(message, bytes):
            self._take_data(message)
            return
        reply = json.loads(message)
        if reply['code'] == -1:
            self._take_data(base64.b64decode(reply['data']))
        else:
            self.replies.append(reply['message'] if reply['success'] else reply)

    def _take_data(self, data):
        self._pieces.append(data)
        self.unread += len(data)

    def replied(self, message):
        while message not in self.replies:
            self._take()

    def read(self, size):
        """The next ``size`` bytes of the target."""
        while self.unread < size:
            self._take()
        whole = b''.join(self._pieces)
        self._pieces, self.unread = [whole[size:]], self.unread - size
        return whole[:size]

    def read_text(self, size):
        return self.read(size).decode('utf-8')

    def exchange(self, batches):
        answers = []
        for requests, size in batches:
            for words in requests:
                self.write(resp(words))
            answers.append(self.read_text(size))
        return answers

    def leave(self):
        self._client.close(1000)


def exchange(open_client, url, form, port, batches):
    """Sends batches of requests, and after each reads as many bytes as it should bring."""
    with Conversation(open_client, url, form) as talk:
        talk.connect(port)
        answers = talk.exchange(batches)
        talk.ask('close')
        talk.replied('close done')
        talk.leave()
        return {'answers': answers, 'replies': talk.replies, 'unread': talk.unread}


def bulk(open_client, url, form, port, key, size):
    """Stores a large value and fetches it again."""
    value = base64.b64encode(os.urandom(size))[:size] if form == 'send' else os.urandom(size)
    with Conversation(open_client, url, form) as talk:
        talk.connect(port)
        talk.replied('connect done')
        begun = time.time()
        talk.write(resp(['SET', key, value]))
        stored = talk.read_text(5)
        turned = time.time()
        talk.write(resp(['GET', key]))
        head = talk.read_text(len('$%d\r\n' % size))
        fetched = talk.read(size)
        finished = time.time()
        talk.leave()
    return {'stored': stored, 'head': head, 'up': turned - begun, 'down': finished - turned,
            'sent': hashlib.sha256(value).hexdigest(), 'received': hashlib.sha256(fetched).hexdigest()}


def pair(open_client, url, form, port, key, size, batches):
    """Two clients: one asks for a large value, the other talks, then the first reads."""
    with Conversation(open_client, url, form) as reader, Conversation(open_client, url, form) as talker:
        for talk in reader, talker:
            talk.connect(port)
        reader.write(resp(['GET', key]))
        answers = talker.exchange(batches)
        fetched = reader.read(size)
        for talk in reader, talker:
            talk.leave()
        return {'answers': answers, 'fetched': hashlib.sha256(fetched).hexdigest(),
                'unread': reader.unread + talker.unread, 'replies': reader.replies + talker.replies}


def visit(open_client, url, code):
    """Opens, and closes with ``code``, or waits for the gateway to close when it is None."""
    client = open_client(url)
    try:
        if code:
            client.close(code)
        else:
            read_to_end(client)
        return {'opened': True, 'extensions': client.extensions, 'code': client.code,
                'wasClean': client.code is not None}
    finally:
        client.end()


def read_to_end(client):
    try:
        while True:
            client.receive()
    except EOFError:
        return
