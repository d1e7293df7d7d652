"""HTTP on a connection: order, time limits by a clock that is set, refusals, and limits."""

from __future__ import annotations

import json
import re
import socket
import struct
from collections.abc import Callable

import pytest

from tests.support.parts import Site, Wire, change
from wsd.metrics import HTTP_REJECTED, M
from wsd.protocol.http import HttpError, Request, response
from wsd.transports.addresses import UNKNOWN
from wsd.transports.context import HANDSHAKES_AT_ONCE
from wsd.transports.http import HttpClient

Make = Callable[..., Site]
GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
NONE = b"GET /none HTTP/1.1\r\nHost: a\r\n\r\n"


def statuses(data: bytes) -> list[int]:
    """Of whole responses, one behind the other."""
    found = []
    while data:
        head, end, data = data.partition(b"\r\n\r\n")
        assert end, head
        found.append(int(head.split()[1]))
        length = re.search(rb"content-length: (\d+)", head.lower())
        data = data[int(length[1]) :] if length else data
    return found


class Canary:
    """A router that answers, fails, waits or refuses by the path, and notes what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.waiting: list[HttpClient] = []

    def handle(self, client: HttpClient, request: Request) -> None:
        self.asked.append(request.path)
        if request.path == "/later":
            self.waiting.append(client)
        elif request.path == "/bug":
            raise ZeroDivisionError("a bug")
        elif request.path == "/refused":
            raise HttpError(403, "bad_origin", "no")
        elif request.path == "/large":
            client.respond(response(200, (), bytes(500_000), keep_alive=request.keep_alive))
        else:
            head = request.method == "HEAD"
            client.respond(
                response(200, (), request.body or b"ok", keep_alive=request.keep_alive, head=head)
            )


@pytest.fixture
def router() -> Canary:
    return Canary()


@pytest.fixture
def wire(site: Site, router: Canary) -> Wire:
    return site.socket(router=router)


def get(path: str = "/", extra: str = "") -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: a\r\n{extra}\r\n".encode()


def test_keep_alive_and_pipelining(site: Site, wire: Wire, router: Canary) -> None:
    assert statuses(wire.ask(get("/1"))) == [200]
    assert statuses(wire.ask(get("/2") + get("/3") + get("/4")[:10])) == [200, 200]
    assert statuses(wire.ask(get("/4")[10:])) == [200]
    assert router.asked == ["/1", "/2", "/3", "/4"]
    assert not wire.ended


@pytest.mark.parametrize("extra", ["Connection: close\r\n"])
def test_close_on_request(wire: Wire, router: Canary, extra: str) -> None:
    answer = wire.ask(get("/1", extra) + get("/2"))
    assert statuses(answer) == [200]
    assert b"Connection: close" in answer
    assert wire.ended
    assert router.asked == ["/1"]


def test_http_1_0_closes(wire: Wire, router: Canary) -> None:
    assert statuses(wire.ask(b"GET /1 HTTP/1.0\r\n\r\n" + get("/2"))) == [200]
    assert wire.ended and router.asked == ["/1"]


def test_byte_by_byte(site: Site, wire: Wire) -> None:
    for byte in b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello":
        wire.send(bytes([byte]))
        site.turn()
    site.settle()
    assert wire.take().endswith(b"\r\n\r\nhello")


def test_expect_continue(wire: Wire) -> None:
    head = b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n"
    assert wire.ask(head) == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert wire.ask(b"hi").endswith(b"hi")


@pytest.mark.parametrize(
    ("data", "status", "reason"),
    [
        (b"GARBAGE\r\n\r\n", 400, "bad_request_line"),
        (b"\x16\x03\x01\x02\x00\x01\x00", 400, "bad_request_line"),
        (b"GET / HTTP/1.1\r\n\r\n", 400, "missing_host"),
        (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505, "bad_version"),
        (b"GET /" + b"x" * 9000 + b" HTTP/1.1\r\n", 414, "request_line_too_long"),
        (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"a: b\r\n" * 101, 431, "too_many_headers"),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999\r\n\r\n", 413, "body_too_large"),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\n", 400, "bad_content_length"),
        (get("/refused"), 403, "bad_origin"),
    ],
)
def test_a_refusal_closes_and_what_came_behind_is_never_served(
    site: Site, wire: Wire, router: Canary, data: bytes, status: int, reason: str
) -> None:
    answer = wire.ask(data + get("/canary"))
    assert statuses(answer) == [status]
    assert b"Connection: close" in answer
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["code"] == reason
    assert wire.ended and not wire.reset
    wire.send(get("/canary"))
    site.settle()
    assert "/canary" not in router.asked
    row = site.scoreboard.row("worker 0")
    assert HTTP_REJECTED.counts(row) == {reason: 1}
    wire.close()
    site.settle()
    assert row[M.CONNECTIONS] == 0


def test_a_bug_in_one_request_costs_one_connection(site: Site, wire: Wire, router: Canary) -> None:
    other = site.socket(router=router)
    assert statuses(wire.ask(get("/bug") + get("/canary"))) == [500]
    assert wire.ended
    assert statuses(other.ask(get("/1"))) == [200]
    assert site.scoreboard.row("worker 0")[M.ERRORS] == 1
    assert "/canary" not in router.asked


# -- time


def test_sl_01_a_header_has_a_time_limit_as_a_whole(site: Site, wire: Wire) -> None:
    for byte in b"GET / HTTP":
        wire.send(bytes([byte]))
        site.pass_(0.95)
        assert not wire.take()
    site.pass_(2)
    assert statuses(wire.take()) == [408]
    assert wire.ended


def test_a_connection_that_never_says_anything(site: Site, wire: Wire) -> None:
    site.pass_(9.5)
    assert not wire.take()
    site.pass_(2)
    assert statuses(wire.take()) == [408]


def test_a_body_has_a_time_limit_as_a_whole(site: Site, wire: Wire) -> None:
    wire.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n")
    for _ in range(19):
        wire.send(b"x")
        site.pass_(1)
        assert not wire.take()
    site.pass_(3)
    answer = wire.take()
    assert statuses(answer) == [408]
    assert b"body_timeout" in answer


def test_an_idle_connection_is_closed_without_a_word(site: Site, wire: Wire) -> None:
    wire.ask(get())
    site.pass_(29)
    assert statuses(wire.ask(get())) == [200]
    site.pass_(29)  # each request begins the time anew
    assert statuses(wire.ask(get())) == [200]
    assert not wire.ended
    site.pass_(32)
    assert wire.take() == b"" and wire.ended


def test_each_header_has_its_own_time(site: Site, wire: Wire) -> None:
    first, second = get("/1"), get("/2")
    wire.send(first[:-2])
    site.pass_(8)
    wire.send(first[-2:] + second[:-2])
    site.pass_(8)
    assert statuses(wire.take()) == [200]
    wire.send(second[-2:])
    site.settle()
    assert statuses(wire.take()) == [200]


def test_an_answer_may_take_its_time(site: Site, wire: Wire, router: Canary) -> None:
    wire.send(get("/later") + get("/next"))
    site.pass_(100, 1)
    assert wire.take() == b""
    assert router.asked == ["/later"]  # one after the other
    router.waiting[0].respond(response(200, (), b"late"))
    site.settle()
    assert statuses(wire.take()) == [200, 200]
    assert router.asked == ["/later", "/next"]


def test_an_answer_for_somebody_who_has_gone(site: Site, wire: Wire, router: Canary) -> None:
    wire.send(get("/later"))
    site.settle()
    wire.close()
    site.settle()
    router.waiting[0].respond(response(200, (), b"late"))
    site.settle()
    assert not site.workers[0].context.attendants


def test_lingering_ends(site: Site, wire: Wire) -> None:
    """The peer neither reads to the end nor closes."""
    wire.ask(b"GARBAGE\r\n\r\n")
    assert site.scoreboard.row("worker 0")[M.CONNECTIONS] == 1
    site.pass_(7)
    assert site.scoreboard.row("worker 0")[M.CONNECTIONS] == 0


def test_a_reader_that_has_stopped_is_given_up(site: Site, wire: Wire) -> None:
    wire.send(get("/large"))
    site.pass_(29)
    assert site.scoreboard.row("worker 0")[M.CONNECTIONS] == 1
    site.pass_(4)
    assert site.scoreboard.row("worker 0")[M.CONNECTIONS] == 0


def test_answers_that_nobody_reads_cost_bounded_memory(
    site: Site, wire: Wire, router: Canary
) -> None:
    """Thousands of requests for a large file in one segment."""
    wire.send(get("/large") * 1000)
    site.settle()
    (client,) = site.workers[0].context.attendants
    limit = site.settings.limits.queue
    assert client.connection.queued <= limit + 600_000
    asked = len(router.asked)
    assert asked < 10
    size = 0
    for _ in range(20_000):
        size += len(wire.take())
        site.turn()
        if len(router.asked) == 1000 and not client.connection.queued:
            break
    size += len(wire.take())
    assert size > 1000 * 500_000


# -- limits


def test_too_many_connections(make_site: Make) -> None:
    site = make_site(limits={"connections": 2})
    wires = [site.socket() for _ in range(3)]
    site.settle()
    answer = wires[2].take()
    assert statuses(answer) == [503]
    assert re.search(rb"Retry-After: \d+", answer)
    assert statuses(wires[0].ask(NONE)) == [404]
    wires[0].close()
    wires[2].close()
    site.settle()
    assert statuses(site.socket().ask(NONE)) == [404]


def test_too_many_from_one_address(make_site: Make) -> None:
    site = make_site(limits={"connections_per_address": 2})
    wires = [site.socket(peer="192.0.2.1") for _ in range(3)]
    site.settle()
    assert statuses(wires[2].take()) == [503]
    assert statuses(site.socket(peer="192.0.2.2").ask(NONE)) == [404]
    six = [site.socket(peer=f"2001:db8::{i}") for i in range(3)]
    site.settle()
    assert statuses(six[2].take()) == [503]  # one /64
    assert statuses(site.socket(peer="2001:db8:0:1::1").ask(NONE)) == [404]
    wires[0].close()
    site.settle()
    assert statuses(site.socket(peer="192.0.2.1").ask(NONE)) == [404]


def test_behind_a_proxy_the_visitors_address_counts(make_site: Make) -> None:
    site = make_site(limits={"connections_per_address": 1})

    def ask(address: str) -> Wire:
        wire = site.socket(peer="127.0.0.1")
        wire.send(get("/none", f"X-Forwarded-For: {address}\r\n"))
        site.settle()
        return wire

    here = site.websocket(peer="127.0.0.1", headers="X-Forwarded-For: 192.0.2.1\r\n")
    assert statuses(ask("192.0.2.1").take()) == [503]
    assert statuses(ask("6.6.6.6, 192.0.2.1").take()) == [503]
    assert statuses(ask("192.0.2.2").take()) == [404]
    here.wire.close()
    site.settle()
    assert statuses(ask("192.0.2.1").take()) == [404]


def test_a_proxy_uses_one_connection_for_many_visitors(make_site: Make) -> None:
    """Each counts while theirs is the request in hand; nobody does while the connection is idle."""
    site = make_site(limits={"connections_per_address": 1})
    wire = site.socket(peer="127.0.0.1")
    for address in ("192.0.2.1", "192.0.2.2", "192.0.2.1"):
        wire.send(get("/none", f"X-Forwarded-For: {address}\r\n"))
        site.settle()
        assert statuses(wire.take()) == [404]
    here = site.websocket(peer="127.0.0.1", headers="X-Forwarded-For: 192.0.2.1\r\n")
    wire.send(get("/none", "X-Forwarded-For: 192.0.2.1\r\n"))
    site.settle()
    assert statuses(wire.take()) == [503]
    here.wire.close()
    site.settle()
    assert [site.shared.addresses.add(0, f"192.0.2.{n}") for n in (1, 2)] == [1, 1]


def test_addresses_are_counted_until_the_end_of_the_websocket(make_site: Make) -> None:
    site = make_site(limits={"connections_per_address": 1})
    first = site.websocket("/chat", peer="192.0.2.1")
    refused = site.socket(peer="192.0.2.1")
    site.settle()
    assert statuses(refused.take()) == [503]
    first.wire.close()
    site.settle()
    site.websocket("/chat", peer="192.0.2.1")
    assert site.shared.addresses.add(0, "192.0.2.1") == 2  # that one, and this


# -- the public addresses


@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        ("GET / HTTP/1.1", 200), ("HEAD / HTTP/1.1", 200), ("GET /r/tech HTTP/1.1", 200),
        ("GET /r/%E8%81%8A HTTP/1.1", 200), ("GET /static/chat.js HTTP/1.1", 200),
        ("GET /favicon.ico HTTP/1.1", 200), ("GET /r/ HTTP/1.1", 404),
        ("GET /r/a%20b HTTP/1.1", 404), ("GET /r/%3Cscript%3E HTTP/1.1", 404),
        ("GET /r/a/b HTTP/1.1", 404), ("GET /none HTTP/1.1", 404),
        ("GET /Static/page.js HTTP/1.1", 404),
        ("GET /static/../chat.js HTTP/1.1", 400), ("GET /static/%2e%2e/config.py HTTP/1.1", 400),
        ("GET /static/..%2fconfig.py HTTP/1.1", 400), ("GET /static/..\\config.py HTTP/1.1", 400),
        ("GET //static/chat.js HTTP/1.1", 400), ("GET /static/%00 HTTP/1.1", 400),
        ("POST / HTTP/1.1", 405), ("DELETE /r/lobby HTTP/1.1", 405), ("OPTIONS * HTTP/1.1", 405),
        ("GET /chat HTTP/1.1", 426), ("GET /echo HTTP/1.1", 404), ("POST /chat HTTP/1.1", 405),
        ("GET /healthz HTTP/1.1", 404), ("GET /metrics HTTP/1.1", 404),
        ("GET /api/v1/info HTTP/1.1", 404),
    ],
)  # fmt: skip
def test_public_addresses(site: Site, request_line: str, status: int) -> None:
    wire = site.socket()
    answer = wire.ask(f"{request_line}\r\nHost: a\r\n\r\n".encode())
    assert int(answer.split()[1]) == status
    if request_line.startswith("HEAD"):
        assert answer.endswith(b"\r\n\r\n")
    assert wire.ended is (status in (400, 405, 426))


def test_hs_12_an_upgrade_where_there_is_no_websocket_is_a_normal_request(site: Site) -> None:
    wire = site.socket()
    upgrade = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    answer = wire.ask(get("/static/chat.js", upgrade))
    assert statuses(answer) == [200]
    assert b"upgrade" not in answer.partition(b"\r\n\r\n")[0].lower()
    assert statuses(wire.ask(NONE)) == [404]


def test_draining_closes_what_is_idle_and_answers_what_was_asked(site: Site) -> None:
    idle, busy = site.socket(), site.socket()
    idle.ask(NONE)
    busy.send(NONE)
    site.workers[0].drain()
    site.settle()
    busy.read()
    assert statuses(busy.take()) == [404]
    assert idle.take() == b""
    assert idle.ended or (idle.read() == b"" and idle.ended)


def test_settings_can_change_under_a_connection(site: Site, wire: Wire) -> None:
    wire.ask(get())
    settings = change(site.settings, timeouts={"keep_alive": 2.0})
    site.workers[0].apply(settings)
    site.pass_(4)
    wire.read()
    assert wire.ended


def test_a_tls_connection_that_was_reset_before_it_was_accepted(site: Site) -> None:
    """The accept loop of a worker goes on."""
    import ssl

    with socket.create_server(("127.0.0.1", 0)) as server:
        client = socket.create_connection(server.getsockname())
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
        sock, _ = server.accept()
    sock.setblocking(False)
    worker = site.workers[0]
    worker._certificates = [ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)]
    worker._accept(Canary(), 0, sock, "192.0.2.1")
    assert site.scoreboard.row("worker 0")[M.CONNECTIONS] == 0
    assert not site.workers[0].context.attendants


def test_tl_09_who_may_begin_a_handshake(make_site: Make) -> None:
    context = make_site(limits={"connections_per_address": 2}).workers[0].context

    def may(peer: str) -> int:
        return sum(context.may_shake_hands(peer) for _ in range(20))

    assert may("192.0.2.1") == 2 * HANDSHAKES_AT_ONCE
    assert may("192.0.2.1") == 0
    assert may("::ffff:192.0.2.2") == 2 * HANDSHAKES_AT_ONCE
    assert may("192.0.2.2") == 0
    assert may("2001:db8::1") == 2 * HANDSHAKES_AT_ONCE
    assert may("2001:db8::2") == 0
    # A proxy begins them for everybody, and of some nobody knows who they are.
    assert (may("127.0.0.1"), may(""), may(UNKNOWN)) == (20, 20, 20)
    without = make_site(limits={"connections_per_address": 0}).workers[0].context
    assert all(without.may_shake_hands("192.0.2.1") for _ in range(100))


def test_tl_05_a_handshake_that_never_ends(site: Site) -> None:
    import ssl

    wire = site.socket(tls=ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), router=Canary())
    wire.send(b"\x16\x03\x01")
    site.pass_(9.5)
    assert not wire.ended
    site.pass_(2)
    wire.read()
    assert wire.ended
    assert site.scoreboard.row("worker 0")[M.CONNECTIONS] == 0
