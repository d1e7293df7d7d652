"""Limits that hold for the daemon as a whole, whichever worker one comes to (RELIABILITY 4.12)."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable, Iterator

import pytest

from tests.support.daemon import Daemon
from tests.support.raw import Raw, handshake

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
    four.wait_for(lambda: here.append(visit(four)) or here[-1], "the place of who left")
    more = fill(four, visit)
    assert len(more) == 4, "each close gives back one place, and no more"


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
    daemon = make_daemon(workers=1, limits__connections=5)
    here = [visit(daemon) for _ in range(5)]
    assert all(here)
    with Raw((daemon.host, daemon.port)) as late:
        answer = late.send(b"GET / HTTP/1.1\r\nHost: wsd.test\r\n\r\n").answer()
        assert answer.status == 503 and 1 <= int(answer.headers["retry-after"]) <= 10
        late.rest()
    assert daemon.admin("/healthz")[0] == 200  # the administrator still comes in
    metrics = daemon.admin("/metrics")[1]
    assert b'wsd_http_rejected_total{reason="too_many_connections"} 1.0\n' in metrics
    for raw in here:
        assert raw.hello("lobby")["type"] == "welcome"
    here[0].sock.shutdown(socket.SHUT_WR)
    daemon.wait_for(lambda: visit(daemon), "the place of who left")
