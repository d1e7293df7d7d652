"""Limits that hold for the daemon as a whole, whichever worker one comes to (RELIABILITY 4.12)."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator

import pytest

from tests.support.clients import V1
from tests.support.daemon import Daemon
from tests.support.raw import Raw, command, handshake

LIMIT = 12


@pytest.fixture
def four(make_daemon: Callable[..., Daemon]) -> Daemon:
    """Four workers, and nobody on this machine is a proxy."""
    return make_daemon(
        workers=4, limits__connections_per_address=LIMIT, trusted_proxies='["10.0.0.0/8"]'
    )


@pytest.fixture
def visit() -> Iterator[Callable[..., Raw | None]]:
    """``visit(daemon, source)``: a WebSocket from that address, None if it is refused."""
    made: list[Raw] = []

    def visit(daemon: Daemon, source: str = "127.0.0.1", extra: str = "") -> Raw | None:
        raw = Raw((daemon.host, daemon.port), source=source)
        answer = raw.send(handshake(extra=extra)).answer()
        if answer.status == 101:
            made.append(raw)
            return raw
        raw.sock.close()
        assert answer.status == 503 and answer.headers["retry-after"].isdigit()
        return None

    yield visit
    for raw in made:
        raw.sock.close()


def fill(daemon: Daemon, visit: Callable[..., Raw | None], source: str = "127.0.0.1") -> list[Raw]:
    """As many as may come from ``source``."""
    come: list[Raw] = []
    while (raw := visit(daemon, source)) is not None:
        come.append(raw)
        assert len(come) <= LIMIT, "more than the limit"
    return come


def test_lm_01_lm_04_the_limit_is_exact_over_four_workers(four, visit):
    here = fill(four, visit)
    assert len(here) == LIMIT
    assert len(fill(four, visit, "127.0.0.2")) == LIMIT  # others are fine
    for raw in here[:5]:
        raw.sock.close()
    # Each worker notices in its own time who has left.
    more: list[Raw] = []
    four.wait_for(lambda: more.extend(fill(four, visit)) or len(more) >= 5, "the places of five")
    time.sleep(0.3)
    more += fill(four, visit)
    assert len(more) == 5, "each close gives back one place, and no more"


def test_lm_01_what_a_killed_worker_held_is_given_back(four, visit):
    here = fill(four, visit)
    assert len(here) == LIMIT
    killed = four.workers()[:2]
    for pid in killed:
        os.kill(pid, signal.SIGKILL)
    left = [raw for raw in here if is_open(raw)]
    four.wait_for(
        lambda: len(four.workers()) == 4 and not set(killed) & set(four.workers()), "replacements"
    )
    four.wait_for(lambda: sum(p["ready"] for p in four.info()["processes"]) == 6, "all are ready")
    assert len(fill(four, visit)) == LIMIT - len(left)


def is_open(raw: Raw) -> bool:
    """Whether the server has not ended the connection half a second from now."""
    raw.sock.settimeout(0.5)
    try:
        return bool(raw.sock.recv(1))
    except TimeoutError:
        return True
    except ConnectionResetError:
        return False


def test_lm_02_ipv6_is_counted_by_64(visit, make_daemon):
    proxied = make_daemon(workers=4, limits__connections_per_address=LIMIT)
    answers = [
        visit(proxied, extra=f"X-Forwarded-For: 2001:db8:0:1::{n:x}\r\n") for n in range(LIMIT + 3)
    ]
    assert [answer is not None for answer in answers] == [True] * LIMIT + [False] * 3
    assert visit(proxied, extra="X-Forwarded-For: 2001:db8:0:2::1\r\n")


def test_lm_03_an_ipv4_address_is_the_same_in_ipv6_clothes(make_daemon, visit):
    daemon = make_daemon(workers=4, limits__connections_per_address=LIMIT)
    names = ["203.0.113.1", "::ffff:203.0.113.1", "[::ffff:cb00:7101]:4711"]
    answers = [
        visit(daemon, extra=f"X-Forwarded-For: {names[n % 3]}\r\n") for n in range(LIMIT + 3)
    ]
    assert [answer is not None for answer in answers] == [True] * LIMIT + [False] * 3


def test_another_number_of_workers_counts_on(four, visit):
    here = fill(four, visit)
    four.write_config(workers=6)
    assert four.cli("reload").returncode == 0
    four.wait_for(lambda: len(four.workers()) == 6, "two more workers")
    four.wait_for(lambda: sum(p["ready"] for p in four.info()["processes"]) == 8, "all are ready")
    assert fill(four, visit) == []
    here.pop().sock.close()
    four.wait_for(lambda: here.append(visit(four)) or here[-1], "the place of who left")


def test_bp_24_a_full_worker_says_so_and_keeps_whom_it_has(make_daemon, visit):
    daemon = make_daemon(workers=1, limits__connections=3)
    here = [visit(daemon) for _ in range(3)]
    here[0].hello("lobby")
    with Raw((daemon.host, daemon.port)) as late:
        answer = late.send(handshake()).answer()
        assert answer.status == 503 and 1 <= int(answer.headers["retry-after"]) <= 10
        assert late.rest() == b""
    assert daemon.metrics()["wsd_http_rejected_total.too_many_connections"] == 1
    here[0].send(command("say", id=2, room="lobby", text="untouched"))
    assert here[0].next("ok").json["seq"] == 1
    # Health is still answered: it is not one of the visitors.
    assert daemon.admin("/healthz")[0] == 200
    here[1].sock.close()
    daemon.wait_for(lambda: visit(daemon), "the place of who left")


def test_lm_08_rooms_and_names_have_their_limits(make_daemon, join):
    daemon = make_daemon(workers=1, limits__rooms_per_connection=3)
    ann = join(daemon, "one", "two")
    assert ann.ask("join", room="x" * 64)["type"] == "ok"
    assert "at most 3 rooms" in ann.ask("join", room="four")["message"]
    assert ann.ask("leave", room="one")["type"] == "ok"
    assert ann.ask("join", room="four")["type"] == "ok"
    for name in ("x" * 65, "", "a b", "a/b", "..", "a\n"):
        assert ann.ask("join", room=name)["code"] == "bad", name
    assert ann.ask("rename", name="x" * 25)["code"] == "name_bad"
    bob = V1(daemon.ws())
    error = bob.ask("hello", rooms=dict.fromkeys("abcd"))
    assert (error["type"], error["code"]) == ("error", "bad")
    bob.close()


def test_lm_09_who_joins_and_leaves_in_a_loop_disturbs_nobody(make_daemon, join):
    daemon = make_daemon(workers=1)
    watcher, flooder = join(daemon, "lobby"), join(daemon, "tech")
    for n in range(2000):
        flooder.send("join", room="lobby")
        flooder.send("leave", room="lobby", **({"id": 7} if n == 1999 else {}))
    slowest = 0.0
    for n in range(20):
        began = time.monotonic()
        watcher.say("lobby", f"{n}", cid=f"{n}")
        slowest = max(slowest, time.monotonic() - began)
    flooder.take(when=lambda value: value.get("id") == 7, timeout=30)
    told = [value for value in watcher.quiet() + watcher.seen if value["type"] == "presence"]
    assert len(told) < 200, "each coming and going was told by itself"
    assert slowest < 3.0


# -- messages


def send(daemon: Daemon, token: str, *texts: str) -> list[dict]:
    """``POST /send`` on a connection of its own, at whichever worker: the replies."""
    commands = [
        {"type": "say", "id": n, "room": "lobby", "text": text} for n, text in enumerate(texts)
    ]
    body = json.dumps({"token": token, "commands": commands}).encode()
    with Raw((daemon.host, daemon.port)) as raw:
        head = f"POST /send HTTP/1.1\r\nHost: wsd.test\r\nContent-Length: {len(body)}\r\n\r\n"
        return json.loads(raw.send(head.encode() + body).answer().body)


def test_lm_05_one_allowance_whichever_worker_a_request_comes_to(make_daemon, join):
    daemon = make_daemon(workers=4, limits__burst=8, limits__every="1h")
    ann, bob = join(daemon, "lobby"), join(daemon, "lobby")
    replies = [reply for n in range(20) for reply in send(daemon, ann.token, f"text {n}")]
    assert [reply["type"] for reply in replies] == ["ok"] * 8 + ["error"] * 12
    assert {reply["code"] for reply in replies[8:]} == {"rate"}
    refused = ann.ask("say", room="lobby", text="by the socket", cid="c")
    assert refused["code"] == "rate" and refused["retry_ms"] > 3_500_000
    assert bob.ask("say", room="lobby", text="another guest", cid="c")["type"] == "ok"
    # A command that a worker died over has cost nobody the account.
    os.kill(daemon.pid_of("worker 0"), signal.SIGKILL)
    daemon.wait_for(lambda: sum(p["ready"] for p in daemon.info()["processes"]) == 6, "again four")
    assert {send(daemon, ann.token, "again")[0].get("code") for _ in range(8)} == {"rate"}


def test_who_waits_as_told_is_served_and_who_does_not_waits_twice_as_long(make_daemon, join):
    daemon = make_daemon(workers=4, limits__burst=1, limits__every="2s")
    ann = join(daemon, "lobby")
    assert send(daemon, ann.token, "first")[0]["type"] == "ok"
    told = send(daemon, ann.token, "second")[0]
    assert told["code"] == "rate" and 1000 < told["retry_ms"] <= 2001
    time.sleep(told["retry_ms"] / 1000)
    assert send(daemon, ann.token, "second")[0]["type"] == "ok"
    assert send(daemon, ann.token, "third")[0]["retry_ms"] <= 2001
    time.sleep(1.3)  # too short, and too long to have been on its way
    assert 3900 <= send(daemon, ann.token, "third")[0]["retry_ms"] <= 4001


def test_an_address_has_an_allowance_too(make_daemon):
    daemon = make_daemon(workers=4, limits__burst=2, limits__every="1h", limits__address_share=3)

    def hello_and_say(address: str) -> str:
        """A new guest for every message."""
        commands = [{"type": "hello", "rooms": {}},
                    {"type": "say", "room": "lobby", "text": "hi"}]  # fmt: skip
        body = json.dumps({"commands": commands}).encode()
        with Raw((daemon.host, daemon.port)) as raw:
            head = (f"POST /send HTTP/1.1\r\nHost: wsd.test\r\nX-Forwarded-For: {address}\r\n"
                    f"Content-Length: {len(body)}\r\n\r\n")  # fmt: skip
            return json.loads(raw.send(head.encode() + body).answer().body)[1]["type"]

    assert [hello_and_say("203.0.113.1") for _ in range(8)] == ["ok"] * 6 + ["error"] * 2
    assert hello_and_say("203.0.113.2") == "ok"
