"""While the daemon drains: newcomers are sent away at once, and the administrator is told."""

from __future__ import annotations

import json
import signal
import socket
import time

import pytest
from websockets.sync.client import connect


def hello(daemon):
    client = connect(daemon.ws(), subprotocols=["wsd.v1"], close_timeout=0.1).__enter__()
    client.send(json.dumps({"type": "hello", "id": 1}))
    assert json.loads(client.recv(5))["type"] == "welcome"
    return client


def test_newcomers_do_not_wait_for_nobody(make_daemon):
    daemon = make_daemon(drain__spread="3s")
    clients = [hello(daemon) for _ in range(6)]
    daemon.signal(signal.SIGTERM)
    daemon.wait_for(lambda: daemon.admin("/readyz")[0] == 503, "readyz 503", 2)
    assert daemon.admin("/readyz")[1] == b"stopping\n"
    began = time.monotonic()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", daemon.port), timeout=2)
    assert time.monotonic() - began < 1
    assert daemon.process.wait(10) == 0
    for client in clients:
        client.socket.close()


def test_what_is_too_old_is_not_shown_to_newcomers(make_daemon):
    daemon = make_daemon(history__keep="2s", history__size=1000)
    watcher = hello(daemon)  # keeps the room, and its ring, in a worker
    for number in range(5):
        daemon.admin("/api/v1/say", {"room": "lobby", "text": f"old {number}"})

    def nothing_old():
        with connect(daemon.ws(), subprotocols=["wsd.v1"]) as client:
            client.send(json.dumps({"type": "hello", "id": 1}))
            return json.loads(client.recv(5))["rooms"]["lobby"]["follows"] == 0

    assert not nothing_old()
    daemon.wait_for(nothing_old, "the old messages are gone for newcomers", 10)
    watcher.socket.close()
