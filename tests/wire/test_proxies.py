"""wsd behind other people's proxies, each configured as docs/proxies.md says.

The ids in names are those of the catalogue of tests.
"""

from __future__ import annotations

import json
import select
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import certificates
from tests.support.clients import LIBRARIES, Refused, connect, why_missing
from tests.support.daemon import Daemon
from tests.support.proxies import Apache, Caddy, Haproxy, Nginx, Proxy
from tests.support.raw import Raw, handshake

SOON_S = 0.2
"""Within this an event is there, unless something on the way waits for more to come."""

KINDS = [Nginx, Caddy, Apache, Haproxy]


@pytest.fixture(params=[*KINDS, "TLS"], ids=lambda kind: getattr(kind, "program", "nginx with TLS"))
def proxy(
    request: pytest.FixtureRequest, shared: Daemon, make_proxy: Callable[..., Proxy], tmp_path: Path
) -> Proxy:
    if request.param != "TLS":
        return make_proxy(request.param, shared)
    certificate = certificates.make(tmp_path, "localhost")
    return make_proxy(Nginx, shared, certificate=certificate)


@pytest.mark.parametrize("library", LIBRARIES)
def test_websocket_clients_talk(proxy, shared, room, visit, join, library):
    if missing := why_missing(library):
        pytest.skip(missing)
    beside = join(shared, room)  # who came without the proxy
    ann, bo = visit(proxy, room, library), visit(proxy, room)
    told = ann.say(room, "hello through the proxy")
    for client in (ann, bo, beside):
        (event,) = client.take_events(1)
        assert (event["text"], event["seq"]) == ("hello through the proxy", told["seq"])
    beside.say(room, "é" * 200)
    assert ann.take_events(1)[0]["text"] == "é" * 200


def test_pages_of_the_same_origin_are_known(proxy):
    """The host and the port that the visitor typed have reached wsd."""
    own = proxy.url("")
    assert proxy.ask("GET", "/rooms/x/messages", Origin=own).status == 200
    connect(proxy.ws(), "wsd.v1", origin=own, authority=proxy.authority).close()
    for foreign in (f"{own}1", "https://evil.example"):
        assert proxy.ask("GET", "/rooms/x/messages", Origin=foreign).status == 403
        with pytest.raises(Refused):
            connect(proxy.ws(), "wsd.v1", origin=foreign, authority=proxy.authority)


def test_a_visitors_own_forwarded_header_does_no_harm(proxy):
    """A company's proxy may have added one; handed on, it would contradict X-Forwarded-For."""
    assert proxy.ask("GET", "/", Forwarded="for=10.1.1.1").status == 200


@pytest.mark.parametrize("kind", KINDS)
def test_limits_are_for_the_visitor_and_not_for_the_proxy(make_daemon, make_proxy, kind):
    daemon = make_daemon(limits__connections_per_address=2, trusted_proxies="[127.0.0.1]")
    proxy = make_proxy(kind, daemon)
    visitors: list[Raw] = []

    def come(source: str, claim: str = "") -> int:
        visitors.append(Raw(("127.0.0.1", proxy.port), source=source))
        extra = f"X-Forwarded-For: {claim}\r\n" if claim else ""
        upgrade = handshake(extra=extra).replace(b"wsd.test", proxy.host.encode())
        return visitors[-1].send(upgrade).answer().status

    for _ in range(5):  # a proxy keeps connections to wsd from these, and uses them again
        with Raw(("127.0.0.1", proxy.port), source="127.0.0.3") as raw:
            raw.send(f"GET / HTTP/1.1\r\nHost: {proxy.host}\r\n\r\n".encode())
            assert raw.answer().status == 200
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


def listen(proxy: Proxy, room: str) -> Iterator[Any]:
    """The objects of an event stream, as they arrive."""
    answer = proxy.ask("POST", "/stream", {"type": "hello", "rooms": {room: None}})
    assert answer.status == 200
    for line in answer:
        if line.startswith(b"data: "):
            yield json.loads(line[6:])


def test_nx_22_events_of_a_stream_arrive_at_once(proxy, shared, room, join):
    stream = listen(proxy, room)
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


def test_nx_22_a_long_poll_is_held_and_answered_at_once(proxy, shared, room, join):
    speaker = join(shared, room)
    hello: dict[str, Any] = {"type": "hello", "rooms": {room: None}}
    welcome = json.load(proxy.ask("POST", "/poll", {**hello, "wait": 0}))[0]
    position = welcome["rooms"][room]["position"]
    hello |= {"token": welcome["token"], "rooms": {room: position}}
    poll = proxy.begin("POST", "/poll", {**hello, "wait": 20})
    assert not select.select([poll.sock], [], [], 1.0)[0], "answered without anything to tell"
    said_at = time.monotonic()
    speaker.say(room, "there you are")
    texts = [value.get("text") for value in json.load(poll.getresponse())]
    assert "there you are" in texts
    assert time.monotonic() - said_at < 5  # not only when `wait` is over
