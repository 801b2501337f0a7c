# -*- coding: utf-8 -*-
"""The servers that the drivers of tests/live/drivers speak to, and what each is told of its own."""

import contextlib
import os
import subprocess

import ftp_server
import mail_servers
import mariadb_server
import postgres_server
from mosquitto import running_mosquitto
from postgres_server import running_postgres
from redis_server import running_cluster, running_redis
from ssh_server import folder_for_all, read
from targets import closed_port

HOST = '127.0.0.1'
USER, PASSWORD = 'ann', 'secret'


def settings_for(server, user, password, **others):
    return dict({'host': HOST, 'port': server.port, 'user': user, 'password': password}, **others)
