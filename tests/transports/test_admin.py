"""The admin listener: health, metrics, and calls that only the Unix socket takes."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.support.parts import Site, Wire, draft
from wsd.chat.rooms import EMPTY_ROOM_S
from wsd.metrics import BY_REASON, EXPORTED, M
from wsd.net.connection import PIECE_BYTES
from wsd.transports.admin import SILENT_S, AdminRouter, TailClient


def wire_of(site: Site, *, local: bool = True) -> Wire:
    router = AdminRouter(site.workers[0].context, local=local)
    return site.socket(peer="" if local else "127.0.0.1", router=router)


def ask(wire: Wire, path: str, body: Any = None, method: str = "") -> tuple[int, bytes]:
    data = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    method = method or ("GET" if body is None else "POST")
    head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(data)}\r\n\r\n"
    answer = wire.ask(head.encode() + data)
    head_, _, rest = answer.partition(b"\r\n\r\n")
    return int(head_.split()[1]), rest


def call(wire: Wire, name: str, /, **arguments: Any) -> tuple[int, Any]:
    status, body = ask(wire, f"/api/v1/{name}", arguments)
    return status, json.loads(body)


def test_health(site: Site) -> None:
    wire = wire_of(site, local=False)
    assert ask(wire, "/healthz") == (200, b"ok\n")
    assert ask(wire, "/readyz") == (200, b"ready\n")


def test_not_ready_while_the_hub_is_away(site: Site) -> None:
    wire = wire_of(site)
    site.kill_hub()
    site.settle(hub=False)
    wire.send(b"GET /readyz HTTP/1.1\r\nHost: a\r\n\r\n")
    site.settle(hub=False)
    assert wire.take().startswith(b"HTTP/1.1 503 ")
    site.start_hub()
    site.pass_(1)
    assert ask(wire, "/readyz")[0] == 200
    site.pass_(SILENT_S + 1, hub=False)  # it hangs
    wire.send(b"GET /readyz HTTP/1.1\r\nHost: a\r\n\r\n")
    site.settle(hub=False)
    assert wire.take().startswith(b"HTTP/1.1 503 ")


def test_not_ready_while_draining(site: Site) -> None:
    wire = wire_of(site)
    site.workers[0].context.draining = True
    assert ask(wire, "/readyz")[0] == 503


def test_metrics(site: Site) -> None:
    site.join().ask(type="say", room="lobby", text="secret words")
    status, body = ask(wire_of(site, local=False), "/metrics")
    assert status == 200
    families = {f.name: f for f in text_string_to_metric_families(body.decode())}
    assert {described.name for described in (*EXPORTED, *BY_REASON)} == set(families)
    stored = {s.labels["process"]: s.value for s in families["wsd_stored"].samples}
    assert stored["hub"] == 1
    published = {s.labels["process"]: s.value for s in families["wsd_published"].samples}
    assert published["worker 0"] == 1
    assert b"secret" not in body and b"lobby" not in body  # LG-04, LG-07


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics", "/none"])
def test_head_has_no_body(site: Site, path: str) -> None:
    wire = wire_of(site)
    assert ask(wire, path, method="HEAD")[1] == b""
    assert ask(wire, "/healthz") == (200, b"ok\n")  # and the next answer is in its place


@pytest.mark.parametrize("name", ["info", "rooms", "who", "say", "tail"])
def test_au_23_calls_are_for_the_unix_socket_alone(site: Site, name: str) -> None:
    status, _ = ask(wire_of(site, local=False), f"/api/v1/{name}", {"room": "lobby", "text": "x"})
    assert status == 404
    assert site.hub.log.bounds("lobby") == (1, 0)


def test_info(site: Site) -> None:
    site.scoreboard.row("master")[M.STARTED_AT] = site.wall.now - 60
    site.scoreboard.row("master")[M.STARTS] = 1
    site.scoreboard.note = "configuration reloaded"
    status, info = call(wire_of(site), "info")
    assert status == 200
    assert (info["ready"], info["uptime_s"], info["connections"]) == (True, 60.0, 1)
    assert info["note"] == "configuration reloaded"
    assert {p["name"] for p in info["processes"]} == {"master", "hub", "worker 0"}


def test_say(site: Site) -> None:
    client = site.join()
    wire = wire_of(site)
    assert call(wire, "say", room="lobby", text="to all", cid="c") == (
        200, {"room": "lobby", "seq": 1, "time": site.wall.now},
    )  # fmt: skip
    assert call(wire, "say", room="lobby", text="to all", cid="c")[1]["seq"] == 1
    (message,) = [v for v in client.pump() if v["type"] == "message"]
    assert (message["role"], message["uid"], message["name"]) == ("owner", "owner", "wsd")


@pytest.mark.parametrize(
    ("arguments", "code"),
    [({}, "bad"), ({"room": "lobby"}, "bad"), ({"room": "a b", "text": "x"}, "bad"),
     ({"room": 5, "text": "x"}, "bad"), ({"room": "lobby", "text": ""}, "bad"),
     ({"room": "lobby", "text": "x" * 1001}, "too_long"),
     ({"room": "lobby", "text": "x", "name": "x"}, "name_bad"),
     ({"room": "lobby", "text": "x", "cid": 5}, "bad")],
)  # fmt: skip
def test_bad_says(site: Site, arguments: dict[str, Any], code: str) -> None:
    status, answer = call(wire_of(site), "say", **arguments)
    assert (status, answer["error"]["code"]) == (400, code)


@pytest.mark.parametrize("body", [b"x", b"[]", b"5", b"[" * 50_000, b"\xff", b'{"room":"\\ud800"}'])
def test_bad_bodies(site: Site, body: bytes) -> None:
    wire = wire_of(site)
    status, answer = ask(wire, "/api/v1/who", body)
    assert status == 400
    assert json.loads(answer)["error"]["code"] == "bad_json"


def test_other_methods_and_names(site: Site) -> None:
    assert ask(wire_of(site), "/api/v1/info", method="DELETE")[0] == 405
    wire = wire_of(site)
    assert ask(wire, "/api/v1/__class__", {})[0] == 404
    assert ask(wire, "/api/v1/", {})[0] == 404
    assert ask(wire, "/none")[0] == 404


def test_storage_trouble_is_told(site: Site) -> None:
    wire = wire_of(site)
    site.hub.log._db.execute("PRAGMA query_only = ON")
    status, answer = call(wire, "say", room="lobby", text="x")
    assert (status, answer["error"]["code"]) == (503, "storage")


def test_rooms_and_who(site: Site) -> None:
    ann = site.join(name="Ann")
    ann.ask(type="say", room="lobby", text="x")
    wire = wire_of(site)
    assert call(wire, "rooms") == (200, {"rooms": [{"room": "lobby", "online": 1, "head": 1}]})
    assert call(wire, "who", room="lobby") == (
        200, {"room": "lobby", "people": [{"uid": ann.welcome["uid"], "name": "Ann"}]},
    )  # fmt: skip
    assert call(wire, "who", room="nowhere")[1]["people"] == []


def test_rooms_while_the_log_cannot_be_read(site: Site) -> None:
    site.join()
    site.hub.log._rooms.clear()
    site.hub.log._db.execute("ALTER TABLE rooms RENAME TO hidden")
    wire = wire_of(site)
    status, answer = call(wire, "rooms")
    assert (status, answer["error"]["code"]) == (503, "storage")
    assert ask(wire, "/healthz")[0] == 200


# -- tail


def tail(site: Site) -> Wire:
    wire = wire_of(site)
    wire.send(b"GET /api/v1/tail?room=lobby HTTP/1.1\r\nHost: a\r\n\r\n")
    site.settle()
    return wire


def lines(wire: Wire) -> list[int]:
    return [json.loads(line)["seq"] for line in wire.take().splitlines() if line[:1] == b"{"]


def test_tail(site: Site) -> None:
    site.hub.log.append([draft("old")])
    ann = site.join()
    wire = tail(site)
    site.pass_(1.5)
    assert b"application/x-ndjson" in wire.read()
    ann.ask(type="say", room="lobby", text="new")
    assert lines(wire) == [1, 2]
    bob = site.join()
    assert bob.welcome["rooms"]["lobby"]["online"] == 2  # it is not seen
    bob.close()
    wire.close()
    site.settle()
    ann.close()
    site.settle()
    assert site.scoreboard.row("worker 0")[M.CONNECTIONS] == 0


def test_a_tail_that_ended_before_it_began(site: Site) -> None:
    """The hub was away when it came, and it went before the hub was back."""
    wire = wire_of(site)
    wire.send(b"GET /api/v1/tail?room=lobby HTTP/1.1\r\nHost: a\r\n\r\n")
    site.settle(2, hub=False)
    wire.close()
    site.settle(2, hub=False)
    site.settle()
    room = site.workers[0].context.rooms.get("lobby")
    assert room is not None and room.live == {}
    site.pass_(EMPTY_ROOM_S + 6, 1)
    assert site.workers[0].context.rooms.get("lobby") is None
    assert site.scoreboard.row("worker 0")[M.MEMBERS] == 0


def test_a_tail_of_a_bad_room(site: Site) -> None:
    assert ask(wire_of(site), "/api/v1/tail", {"room": "a b"})[0] == 400
    assert ask(wire_of(site), "/api/v1/tail", {})[0] == 400


def test_a_tail_that_is_not_read_takes_bounded_memory(make_site: Any) -> None:
    """Short events take more memory for their places in the queue than for their bytes."""
    site = make_site(limits={"queue": 4096})
    wire = tail(site)
    context = site.workers[0].context
    (client,) = [each for each in context.attendants if isinstance(each, TailClient)]
    numbers = itertools.count()

    def say(text: str) -> None:
        context.link.publish(draft(text, cid=str(next(numbers))), lambda outcome: None)
        site.turn()

    while not client.connection.blocked:
        say("x" * 1000)
    for _ in range(100):
        say("x")
    assert 2048 < client.connection.weight <= 4096 + PIECE_BYTES
    wire.close()


def test_a_slow_tail_misses_nothing(make_site: Any) -> None:
    site = make_site(limits={"queue": 4096, "text": 5000})
    wire = tail(site)
    for i in range(300):
        site.workers[0].context.link.publish(draft("x" * 4000, cid=str(i)), lambda outcome: None)
        site.turn()
    found: list[int] = []
    buffer = b""
    for _ in range(2000):
        buffer += wire.take()
        *whole, buffer = buffer.split(b"\n")
        found += [json.loads(line)["seq"] for line in whole if line[:1] == b"{"]
        site.turn()
        site.clock.pass_(0.001)
    assert found == list(range(1, 301))
