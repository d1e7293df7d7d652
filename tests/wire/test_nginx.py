"""What nginx does with connections to wsd that last, that are refused, and that stream.

That everything works through it is shown by ``test_proxies.py``.  The ids in names are those of the
catalogue of tests.
"""

from __future__ import annotations

import time

import pytest

from tests.support.clients import PeerClosed
from tests.support.proxies import Nginx
from tests.support.raw import Raw, handshake

GUARD = 'location /plain/ { return 404 "kept by nginx"; }'
"""Only a request that nginx has not looked at finds the page that wsd has there."""

SECOND = b"GET /plain/lobby HTTP/1.1\r\nHost: localhost\r\n\r\n"

REFUSED = {
    "version": (handshake().replace(b"Version: 13", b"Version: 12"), 426),
    "key": (handshake().replace(b"Key: ", b"Key: x"), 400),
    "origin": (handshake(extra="Origin: https://evil.example\r\n"), 403),
    "no such room": (handshake("/chat?room=%00"), 400),
    "no WebSocket there": (handshake("/rooms/lobby/messages"), 200),
}


@pytest.mark.parametrize("together", [False, True], ids=["afterwards", "in the same send"])
@pytest.mark.parametrize("why", REFUSED)
def test_nx_20_nothing_is_tunnelled_behind_a_refused_upgrade(shared, make_proxy, why, together):
    nginx = make_proxy(Nginx, shared, more=GUARD)
    upgrade, status = REFUSED[why]
    with Raw(("127.0.0.1", nginx.port)) as raw:
        raw.send(upgrade + SECOND * together)
        assert raw.answer().status == status
        if not together:
            raw.send(SECOND)
        second = raw.answer()
    assert (second.status, second.body) == (404, b"kept by nginx")


def test_nx_21_pings_keep_an_idle_connection_open(make_daemon, make_proxy, room, visit):
    daemon = make_daemon(ping__every="0.7s")
    client = visit(make_proxy(Nginx, daemon, more="proxy_read_timeout 2s;"), room)
    began = time.monotonic()
    while time.monotonic() - began < 5:  # control frames are answered while it reads
        client.take("ping")
    client.say(room, "still here")


def test_nx_21_without_pings_nginx_would_close(make_daemon, make_proxy, room, visit):
    daemon = make_daemon(ping__every="1h")
    client = visit(make_proxy(Nginx, daemon, more="proxy_read_timeout 1s;"), room)
    with pytest.raises(PeerClosed):
        while True:
            client.receive(5)


def test_nx_22_it_is_the_header_that_keeps_a_stream_flowing(shared, room, make_proxy, join):
    """Where nginx does not heed it, events are held back: else test_proxies.py shows nothing."""
    nginx = make_proxy(Nginx, shared, more="proxy_ignore_headers X-Accel-Buffering;")
    connection = nginx.begin("POST", "/stream", {"type": "hello", "rooms": {room: None}})
    join(shared, room).say(room, "hello")
    connection.sock.settimeout(1)
    with pytest.raises(TimeoutError):
        for line in connection.getresponse():
            assert b"hello" not in line
