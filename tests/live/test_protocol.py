# -*- coding: utf-8 -*-
"""The wire contract, against real sockets, as a client sees it."""

from targets import echo, serving


def test_connect_send_receive_and_close_are_byte_exact(client):
    with serving(echo) as port:
        client.send_json(command='connect', host='127.0.0.1', port=port)
        assert client.receive_text() == b'{"success": true, "code": 0, "message": "connect done"}'
        client.send_json(command='send', data='hi\r\n')
        assert client.receive_text() == b'{"success": true, "code": 0, "message": "send done"}'
        assert client.receive_text() == b'{"success": true, "code": -1, "message": "recv data", "data": "aGkNCg=="}'
        client.send_json(command='close')
        assert client.receive_text() == b'{"success": true, "code": 0, "message": "close done"}'
