"""wsd behind nginx, configured as docs/proxies.md says, with TLS at nginx and without.

The ids in names are those of the catalogue of tests.
"""

from __future__ import annotations

import http.client
import json
import select
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.clients import LIBRARIES, V1, PeerClosed, Refused, connect, why_missing
from tests.support.daemon import Daemon
from tests.support.proxies import NGINX, Nginx
from tests.support.raw import Raw, handshake

pytestmark = pytest.mark.skipif(NGINX is None, reason="nginx is not installed")

SOON_S = 0.2
"""Within this an event is there, unless something on the way waits for more to come."""


@pytest.fixture
def make_nginx(tmp_path: Path) -> Iterator[Callable[..., Nginx]]:
    """Start nginx in front of a daemon; it is gone when the test ends."""
    started: list[Nginx] = []

    def make(daemon: Daemon, **options: Any) -> Nginx:
        directory = tmp_path / f"nginx{len(started)}"
        started.append(Nginx(directory, daemon.port, **options).start())
        return started[-1]

    yield make
    for nginx in started:
        nginx.stop()


@pytest.fixture(params=[False, True], ids=["plain", "TLS"])
def nginx(
    request: pytest.FixtureRequest, shared: Daemon, make_nginx: Callable[..., Nginx]
) -> Nginx:
    return make_nginx(shared, tls=request.param)


@pytest.fixture
def visit() -> Iterator[Callable[..., V1]]:
    """``visit(nginx, room)``: a client in that room.  They are closed when the test ends."""
    clients: list[V1] = []

    def visit(nginx: Nginx, room: str, library: str = "websockets") -> V1:
        clients.append(V1(nginx.ws(), library=library, authority=nginx.authority))
        return clients[-1].hello({room: None})

    yield visit
    for client in clients:
        client.close()


def begin(
    nginx: Nginx, method: str, path: str, value: Any = None, **headers: str
) -> http.client.HTTPConnection:
    """One request on a connection of its own, still to be answered."""
    connection = http.client.HTTPConnection(nginx.host, timeout=10)
    if nginx.certificate:
        context = nginx.certificate.client()
        connection = http.client.HTTPSConnection(nginx.host, timeout=10, context=context)
    connection.request(method, path, None if value is None else json.dumps(value), headers)
    return connection


def ask(
    nginx: Nginx, method: str, path: str, value: Any = None, **headers: str
) -> http.client.HTTPResponse:
    """The answer to such a request; its body is still to be read."""
    return begin(nginx, method, path, value, **headers).getresponse()


# -- chat


@pytest.mark.parametrize("library", LIBRARIES)
def test_websocket_clients_talk(nginx, shared, room, visit, join, library):
    if missing := why_missing(library):
        pytest.skip(missing)
    beside = join(shared, room)  # who came without the proxy
    ann, bo = visit(nginx, room, library), visit(nginx, room)
    told = ann.say(room, "hello through the proxy")
    for client in (ann, bo, beside):
        (event,) = client.take_events(1)
        assert (event["text"], event["seq"]) == ("hello through the proxy", told["seq"])
    beside.say(room, "é" * 200)
    assert ann.take_events(1)[0]["text"] == "é" * 200


def test_pages_of_the_same_origin_are_known(nginx):
    """The host and the port that the visitor typed have reached wsd."""
    own = nginx.url("")
    assert ask(nginx, "GET", "/rooms/x/messages", Origin=own).status == 200
    connect(nginx.ws(), "wsd.v1", origin=own, authority=nginx.authority).close()
    for foreign in (f"{own}1", "https://evil.example"):
        assert ask(nginx, "GET", "/rooms/x/messages", Origin=foreign).status == 403
        with pytest.raises(Refused):
            connect(nginx.ws(), "wsd.v1", origin=foreign, authority=nginx.authority)


# -- time


def test_nx_21_pings_keep_an_idle_connection_open(make_daemon, make_nginx, room, visit):
    daemon = make_daemon(ping__every="0.7s")
    client = visit(make_nginx(daemon, more="proxy_read_timeout 2s;"), room)
    began = time.monotonic()
    while time.monotonic() - began < 5:  # control frames are answered while it reads
        client.take("ping")
    client.say(room, "still here")


def test_nx_21_without_pings_nginx_would_close(make_daemon, make_nginx, room, visit):
    daemon = make_daemon(ping__every="1h")
    client = visit(make_nginx(daemon, more="proxy_read_timeout 1s;"), room)
    with pytest.raises(PeerClosed):
        while True:
            client.receive(5)


# -- refused upgrades


GUARD = 'location /plain/ { return 404 "kept by nginx"; }'
"""Only a request that nginx has not looked at finds the page that wsd has there."""

SECOND = b"GET /plain/lobby HTTP/1.1\r\nHost: localhost\r\n\r\n"

REFUSED = {
    "version": (handshake().replace(b"Version: 13", b"Version: 12"), 426),
    "key": (handshake().replace(b"Key: ", b"Key: x"), 400),
    "origin": (handshake(extra="Origin: https://evil.example\r\n"), 403),
    "no such room": (handshake("/chat?room=%00"), 400),
    "no websocket there": (handshake("/rooms/lobby/messages"), 200),
}


@pytest.mark.parametrize("together", [False, True], ids=["afterwards", "in the same send"])
@pytest.mark.parametrize("why", REFUSED)
def test_nx_20_nothing_is_tunnelled_behind_a_refused_upgrade(shared, make_nginx, why, together):
    nginx = make_nginx(shared, more=GUARD)
    upgrade, status = REFUSED[why]
    with Raw(("127.0.0.1", nginx.port)) as raw:
        raw.send(upgrade + SECOND * together)
        first = raw.answer()
        assert first.status == status
        assert first.headers.get("upgrade", "") != "websocket" or status == 426
        if not together:
            raw.send(SECOND)
        second = raw.answer()
    assert (second.status, second.body) == (404, b"kept by nginx")


# -- addresses


def test_limits_are_for_the_visitor_and_not_for_the_proxy(make_daemon, make_nginx):
    daemon = make_daemon(limits__connections_per_address=2, trusted_proxies="[127.0.0.1]")
    nginx = make_nginx(daemon)

    def come(source: str, claim: str = "") -> int:
        raw = Raw(("127.0.0.1", nginx.port), source=source)
        extra = f"X-Forwarded-For: {claim}\r\n" if claim else ""
        visitors.append(raw)
        return raw.send(handshake(extra=extra)).answer().status

    for _ in range(5):  # nginx keeps connections to wsd from these, and uses them again
        with Raw(("127.0.0.1", nginx.port), source="127.0.0.3") as raw:
            assert raw.get("/").status == 200
    visitors: list[Raw] = []
    try:
        assert [come("127.0.0.2") for _ in range(3)] == [101, 101, 503]
        assert come("127.0.0.3") == 101
        # Who claims to be somebody else is still who they are, and takes nobody's place.
        assert come("127.0.0.2", claim="10.1.1.1") == 503
        assert [come("127.0.0.4", claim="127.0.0.3") for _ in range(3)] == [101, 101, 503]
        assert come("127.0.0.3") == 101
    finally:
        for raw in visitors:
            raw.sock.close()


# -- streams and polls


def listen(nginx: Nginx, room: str, path: str) -> Iterator[Any]:
    """The objects of an event stream, as they arrive."""
    answer = ask(nginx, "POST", path, {"type": "hello", "rooms": {room: None}})
    assert answer.status == 200
    for line in answer:
        if line.startswith(b"data: "):
            yield json.loads(line[6:])


def test_nx_22_events_of_a_stream_arrive_at_once(nginx, shared, room, join):
    stream = listen(nginx, room, "/stream")
    assert next(stream)["type"] == "welcome"
    speaker = join(shared, room)
    taken = []
    for number in range(9):
        said_at = time.monotonic()
        speaker.say(room, f"number {number}")
        while (event := next(stream))["type"] != "message":
            pass
        taken.append(time.monotonic() - said_at)
        assert event["text"] == f"number {number}"
    assert statistics.median(taken) <= SOON_S, taken


def test_nx_22_it_is_the_header_that_says_so(shared, room, make_nginx, join):
    """With the header kept from it, nginx holds back events: else the test above shows nothing."""
    nginx = make_nginx(shared, more="proxy_ignore_headers X-Accel-Buffering;")
    connection = begin(nginx, "POST", "/stream", {"type": "hello", "rooms": {room: None}})
    join(shared, room).say(room, "hello")
    connection.sock.settimeout(1)
    with pytest.raises(TimeoutError):
        for line in connection.getresponse():
            assert b"hello" not in line


def test_nx_22_a_long_poll_is_held_and_answered_at_once(nginx, shared, room, join):
    speaker = join(shared, room)
    hello = {"type": "hello", "rooms": {room: None}}
    welcome = json.load(ask(nginx, "POST", "/poll", {**hello, "wait": 0}))[0]
    position = welcome["rooms"][room]["position"]
    hello |= {"token": welcome["token"], "rooms": {room: position}}
    poll = begin(nginx, "POST", "/poll", {**hello, "wait": 20})
    assert not select.select([poll.sock], [], [], 1.0)[0], "answered without anything to tell"
    said_at = time.monotonic()
    speaker.say(room, "there you are")
    texts = [value.get("text") for value in json.load(poll.getresponse())]
    assert "there you are" in texts
    assert time.monotonic() - said_at < 5  # not only when `wait` is over
