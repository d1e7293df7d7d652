"""Connections that begin with a PROXY header, by a clock that is set (NX-06, NX-10 to NX-13)."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.parts import Callbacks, Site, Wire
from tests.transports.test_http import Canary, statuses
from wsd.metrics import CLOSED, M
from wsd.transports.http import HttpClient
from wsd.transports.introduction import PROXY_S, introduce

Make = Callable[..., Site]
PROXY = b"PROXY TCP4 192.0.2.1 192.0.2.9 4711 443\r\n"
GET = b"GET /now HTTP/1.1\r\nHost: a\r\n\r\n"


class Introduced:
    """A wire whose other end expects a PROXY header, and whom it was introduced as."""

    def __init__(self, site: Site, peer: str = "127.0.0.1") -> None:
        self.site = site
        self.context = site.workers[0].context
        self.names: list[str] = []
        self.router = Canary()
        ours, theirs = socket.socketpair()
        theirs.setblocking(False)
        self.wire = Wire(site, ours)
        introduce(self.context, theirs, peer, self.serve)

    def serve(self, sock: socket.socket, name: str) -> HttpClient:
        self.names.append(name)
        return HttpClient(self.context, self.router, sock, name)

    def ask(self, data: bytes) -> bytes:
        return self.wire.ask(data)

    @property
    def closed(self) -> dict[str, float]:
        return CLOSED.counts(self.context.row)


@pytest.fixture
def one(site: Site) -> Introduced:
    return Introduced(site)


def connections(site: Site) -> tuple[float, float]:
    row = site.scoreboard.row("worker 0")
    return row[M.CONNECTIONS], row[M.ACCEPTED]


@pytest.mark.parametrize("size", [1, 7, len(PROXY), 1000])
def test_nx_10_the_client_behind_the_header_is_served(one: Introduced, size: int) -> None:
    data, site = PROXY + GET, one.site
    for at in range(0, len(data), size):
        one.wire.send(data[at : at + size])
        site.turn()
    assert statuses(one.ask(b"")) == [200]
    assert one.names == ["192.0.2.1"]
    assert connections(site) == (1, 1)
    one.wire.close()
    site.settle()
    assert connections(site) == (0, 1)


def test_nx_10_one_connection_is_of_one_client(one: Introduced) -> None:
    """A second header is no request."""
    assert statuses(one.ask(PROXY + PROXY)) == [400]


@pytest.mark.parametrize("data", [GET, b"\x16\x03\x01\x02\x00\x01\x00", b"proxy TCP4 ", b"\0" * 64])
def test_nx_10_a_connection_without_a_header_is_closed_without_a_word(
    one: Introduced, data: bytes
) -> None:
    assert one.ask(data) == b""
    assert one.wire.ended
    assert one.closed == {"no_proxy_header": 1}
    assert connections(one.site) == (0, 1)


def test_nx_10_a_bad_header(one: Introduced) -> None:
    assert one.ask(b"PROXY TCP4 192.0.2.1 192.0.2.9 4711 65536\r\n" + GET) == b""
    assert one.wire.ended
    assert one.closed == {"bad_proxy_header": 1}
    assert one.router.asked == []


def test_nx_12_only_trusted_proxies_are_believed(site: Site) -> None:
    one = Introduced(site, peer="203.0.113.9")
    one.wire.read()
    assert one.wire.ended
    assert one.closed == {"proxy_not_trusted": 1}
    assert connections(site) == (0, 1)
    assert not site.workers[0].context.attendants


def test_nx_06_a_unix_socket_that_expects_the_header_was_made_for_a_proxy(site: Site) -> None:
    one = Introduced(site, peer="")
    assert statuses(one.ask(PROXY + GET)) == [200]
    assert one.names == ["192.0.2.1"]


def test_nx_13_a_header_that_never_comes_to_an_end(one: Introduced) -> None:
    """The time is for all of it, however steadily it comes."""
    for byte in b"PROXY TCP4":
        one.wire.send(bytes([byte]))
        one.site.pass_((PROXY_S - 1.2) / 10)
    assert one.wire.read() == b"" and not one.wire.ended
    one.site.pass_(2.4)
    one.wire.read()
    assert one.wire.ended
    assert one.closed == {"proxy_timeout": 1}
    assert connections(one.site) == (0, 1)


def test_nothing_of_what_waits_for_more_is_read_again_and_again(one: Introduced) -> None:
    one.wire.send(PROXY[:-2])
    one.site.settle()
    shown: list[bytes] = []
    for attendant in one.context.attendants:
        attendant.connection.owner = Callbacks(shown.append)
    one.site.settle()
    assert shown == []


def test_a_proxy_that_goes_away(one: Introduced) -> None:
    one.wire.send(PROXY[:9])
    one.site.settle()
    one.wire.close()
    one.site.settle()
    assert one.closed == {"eof": 1}


@pytest.mark.parametrize("header", [b"PROXY UNKNOWN\r\n", b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"])
def test_a_header_without_an_address_makes_nobody_a_proxy(make_site: Make, header: bytes) -> None:
    """The client may be anybody, so that what it says of itself is not believed."""
    site = make_site(limits={"connections_per_address": 1})
    spoofed = GET.replace(b"\r\n\r\n", b"\r\nX-Forwarded-For: 6.6.6.6\r\n\r\n")
    everybody = [Introduced(site) for _ in range(3)]
    for one in everybody:
        assert statuses(one.ask(header + spoofed)) == [200]
    assert site.shared.addresses.add(0, "6.6.6.6") == 1


def test_the_address_in_the_header_is_the_one_that_counts(make_site: Make) -> None:
    site = make_site(limits={"connections_per_address": 1})
    first, second, other = (Introduced(site) for _ in range(3))
    assert statuses(first.ask(PROXY + GET)) == [200]
    assert statuses(second.ask(PROXY + GET)) == [503]
    assert statuses(other.ask(PROXY.replace(b"192.0.2.1", b"192.0.2.2") + GET)) == [200]


def test_a_proxy_behind_a_proxy(site: Site) -> None:
    """Whom a trusted proxy introduces may be one itself: then its X-Forwarded-For counts."""
    one = Introduced(site)
    through = GET.replace(b"\r\n\r\n", b"\r\nX-Forwarded-For: 192.0.2.7\r\n\r\n")
    one.ask(PROXY.replace(b"192.0.2.1", b"127.0.0.2") + through.replace(b"/now", b"/later"))
    assert one.router.waiting[0].address == "192.0.2.7"


# -- the end


def test_a_stop_serves_who_has_been_introduced_and_asked(site: Site) -> None:
    waiting, asked = Introduced(site), Introduced(site)
    site.settle()
    asked.wire.send(PROXY + GET)
    site.workers[0].drain()
    site.pass_(1.0)
    waiting.wire.read()
    assert waiting.wire.ended
    assert statuses(asked.wire.take()) == [200]
    assert asked.wire.ended
    asked.wire.close()
    site.settle()
    assert waiting.closed == {"restart": 1, "answered": 1}


def test_restarting_one(one: Introduced) -> None:
    for attendant in list(one.context.attendants):
        attendant.restart()
    assert one.closed == {"restart": 1}


def test_reasons_are_logged_as_the_mistakes_that_they_are(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever set it up wrong has to see it; whoever looks if the port is open is no news."""
    Introduced(site, peer="203.0.113.9")
    Introduced(site).ask(GET)
    Introduced(site).wire.close()
    site.settle()
    refused: list[Any] = [r.fields for r in caplog.records if r.message == "proxy_refused"]
    assert [(f["reason"], f["peer"]) for f in refused] == [
        ("proxy_not_trusted", "203.0.113.9"),
        ("no_proxy_header", "127.0.0.1"),
    ]
