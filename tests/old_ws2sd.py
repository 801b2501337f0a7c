"""Stands for `ws2sd` of ws2s 2.1.5 as far as an upgrade meets it: the same files, processes and pid file.

It has its parts in a package `ws2s`; `start` forks one process for each core, which listen on one port, log to ws2s.log
and end at a SIGTERM. Nothing is written but the pids, joined by `|`.
"""
import json
import logging.handlers
import os
import socket
import sys

FOLDER = os.path.expanduser('~') + '/.ws2s/'
CONFIG = {'listen': {'host': '127.0.0.1', 'port': 3613}, 'allowConnectToServerLocal': False}
CORES = 3


def read_config():
    if not os.path.exists(FOLDER):
        os.makedirs(FOLDER)
    if not os.path.exists(FOLDER + 'config.json'):
        with open(FOLDER + 'config.json', 'w') as file:
            file.write(json.dumps(CONFIG, sort_keys=True, indent=4, separators=(',', ': ')))
    with open(FOLDER + 'config.json') as file:
        return json.load(file)


def serve(listener):
    while True:
        sock = listener.accept()[0]
        sock.sendall(b'this is 2.1.5')
        sock.close()


def start(config):
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((config['listen']['host'], config['listen']['port']))
    listener.listen(5)
    pids = []
    for _ in range(CORES):
        pid = os.fork()
        if pid == 0:
            serve(listener)
        pids.append(str(pid))
    with open(FOLDER + 'pid', 'w') as file:
        file.write('|'.join(pids))


def main():
    config = read_config()
    handler = logging.handlers.RotatingFileHandler(FOLDER + 'ws2s.log', 'a', 1048576, 3)
    handler.emit(logging.makeLogRecord({'msg': 'ws2s version: 2.1.5'}))
    if sys.argv[1:] == ['start']:
        start(config)


if __name__ == '__main__':
    main()
