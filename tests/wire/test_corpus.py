"""The corpus of requests (tests/corpus) over real sockets: what is answered, and how it ends.

Every file goes to a real daemon whole, byte by byte, with a canary behind it, and dressed as a
handshake. A canary is a message to a room of its own: one that was served anywhere shows there.
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import pytest

from tests.corpus import cases
from tests.corpus.cases import Case
from tests.support.daemon import Daemon
from tests.support.raw import Answer, Raw
from tests.wire.conftest import assert_no_bug_met

CLIENTS = 12
SLOW_S = 1.0
"""A refused client is let go within this (the quickest of its ways counts: others may be busy)."""

CONFIG = """\
rooms: {widget: {origins: ["https://widget.example"]}}
"""

PLAIN = b"GET / HTTP/1.1\r\nHost: a\r\n"
DRESSED = (
    b"GET /chat HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
)


class Ended(NamedTuple):
    """How it went for one client."""

    answers: tuple[Answer, ...]
    rest: bytes
    """What came behind the answers; None of anything that is refused."""
    seconds: float
    """From the last byte sent to the end of the stream, if it was waited for."""


Outcome = Ended | Exception
Way = Callable[[Daemon, Case], Ended]


# -- ways to send


def whole(daemon: Daemon, case: Case) -> Ended:
    return converse(daemon, case, [case.data])


def bytewise(daemon: Daemon, case: Case) -> Ended:
    """The first 500 bytes one by one; what is longer than that goes on in odd pieces."""
    pieces = [case.data[at : at + 1] for at in range(min(len(case.data), 500))]
    pieces += [case.data[at : at + 1999] for at in range(500, len(case.data), 1999)]
    return converse(daemon, case, pieces)


def followed(daemon: Daemon, case: Case) -> Ended:
    return converse(daemon, case, [case.data + canary(case.name)], canary_behind=True)


def dressed(daemon: Daemon, case: Case) -> Ended:
    """As a handshake, and with a canary behind it."""
    data = case.data.replace(PLAIN, DRESSED, 1) + canary(f"{case.name} dressed")
    return converse(daemon, case, [data], canary_behind=True)


WAYS: Mapping[str, Way] = {
    "whole": whole, "bytewise": bytewise, "followed": followed, "dressed": dressed,
}  # fmt: skip


def ways(case: Case) -> Iterator[str]:
    yield from ("whole", "bytewise")
    if not case.unfinished:
        yield "followed"
    if case.by == "parser" and case.data.startswith(PLAIN):
        yield "dressed"


def canary(name: str) -> bytes:
    commands = [{"type": "hello"}, {"type": "say", "room": "canary", "text": name}]
    body = json.dumps({"commands": commands}).encode()
    return b"POST /send HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(body) + body


def canary_is_due(case: Case) -> bool:
    """Whether the connection goes on as HTTP."""
    parsed = case.parsed
    return bool(
        not case.reason and case.status != 101 and parsed and parsed.keep_alive and parsed.minor
    )


def converse(daemon: Daemon, case: Case, pieces: list[bytes], canary_behind: bool = False) -> Ended:
    with Raw((daemon.host, daemon.port)) as one:
        one.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in pieces:
            one.send(piece)
        began = time.monotonic()
        # A refused HEAD has no body either, once its head could be read.
        heads = case.parsed is not None and case.parsed.method == "HEAD"
        answers = [one.answer(head=heads)]
        if answers[0].status == 100:  # the body came late enough to be asked for (RFC 9110 10.1.1)
            answers = [one.answer()]
        if canary_is_due(case):
            if canary_behind:
                answers.append(one.answer())
            return Ended(tuple(answers), bytes(one.buffer), 0.0)
        if case.status == 101 and not canary_behind:  # it is open now
            return Ended(tuple(answers), bytes(one.buffer), 0.0)
        rest = one.rest()
        return Ended(tuple(answers), rest, time.monotonic() - began)


# -- running them all


@pytest.fixture(scope="module")
def daemons(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[bool, Daemon]]:
    """By whether a case is unfinished: one daemon that waits, and one that does not."""
    folder = tmp_path_factory.mktemp("corpus")
    origins = '["https://allowed.example", "https://*.wild.example"]'
    usual = {"origins": origins, "history__page_max": 1000, "history__replay": 0}
    made = {
        False: Daemon(folder / "patient", CONFIG, **usual).start(),
        True: Daemon(folder / "hasty", timeouts__header="1s", timeouts__body="1s").start(),
    }
    pids = [processes(daemon) for daemon in made.values()]
    yield made
    after = [processes(daemon) for daemon in made.values()]
    statuses = [daemon.stop() for daemon in made.values()]
    assert after == pids, "a process was replaced"
    assert statuses == [0, 0]
    for daemon in made.values():
        assert_no_bug_met(daemon)


def processes(daemon: Daemon) -> list[int]:
    return sorted([daemon.pid, daemon.pid_of("hub"), *daemon.workers()])


@pytest.fixture(scope="module")
def outcomes(daemons: dict[bool, Daemon]) -> dict[tuple[str, str], Outcome]:
    """By name and way: of all cases, several at a time."""

    def attempt(case: Case, way: str) -> Outcome:
        try:
            return WAYS[way](daemons[case.unfinished], case)
        except Exception as error:
            return error

    with ThreadPoolExecutor(CLIENTS) as pool:
        running = {
            (case.name, way): pool.submit(attempt, case, way)
            for case in cases.load()
            for way in ways(case)
        }
        return {key: future.result() for key, future in running.items()}


# -- what has to come of them


@pytest.mark.parametrize("case", cases.load(), ids=[case.name for case in cases.load()])
def test_as_expected(case: Case, outcomes: dict[tuple[str, str], Outcome]) -> None:
    seconds = []
    for way in ways(case):
        ended = outcomes[case.name, way]
        assert isinstance(ended, Ended), (way, ended)
        seconds.append(ended.seconds)
        assert ended.answers[0].status == case.status, (way, ended)
        if case.reason:
            assert_refused(case, ended)
        elif case.status == 101:
            assert ended.answers[0].headers.get("sec-websocket-protocol") == case.subprotocol
            # A canary behind a handshake is no frame: its first byte has a reserved bit.
            assert ended.rest.endswith(b"reserved_bits") or way != "followed"
        else:
            served = [answer.status for answer in ended.answers[1:]]
            assert served == [200] * (way == "followed" and canary_is_due(case))
            assert ended.rest == b""
    assert min(seconds) < (SLOW_S if not case.unfinished else 5.0)


def assert_refused(case: Case, ended: Ended) -> None:
    (answer,) = ended.answers
    assert answer.headers["connection"] in ("close", "Upgrade, close"), answer
    assert ended.rest == b"", "something was served behind a refusal"
    assert "set-cookie" not in answer.headers
    if case.parsed is None or case.parsed.method != "HEAD":
        assert json.loads(answer.body)["error"]["code"] == case.reason
    # HS-10: nothing in it looks like the beginning of a tunnel.
    assert (answer.headers.get("upgrade") == "websocket") == (case.status == 426)
    if case.status == 426:
        assert answer.headers["sec-websocket-version"] == "13"
    if case.status == 405:
        assert "GET" in answer.headers["allow"] or "POST" in answer.headers["allow"]


def test_no_canary_was_served_but_behind_what_is_good(
    daemons: dict[bool, Daemon], outcomes: dict[tuple[str, str], Outcome]
) -> None:
    with Raw((daemons[False].host, daemons[False].port)) as one:
        page = json.loads(one.get("/rooms/canary/messages?limit=1000").body)
    assert not page["more"]
    served = sorted(message["text"] for message in page["messages"])
    assert served == sorted(case.name for case in cases.good() if canary_is_due(case))


@pytest.mark.parametrize(
    ("start", "body"),
    [("POST /send", '{"commands": [{"type": "hello"}]}'), ("POST /poll", '{"wait": 0}'),
     ("GET /poll", ""), ("POST /stream", "{}"), ("GET /stream", ""), ("POST /plain/lobby", ""),
     ("GET /rooms/lobby/messages", ""), ("OPTIONS /poll", "")],
)  # fmt: skip
def test_hs_31_origins_are_judged_alike_over_plain_http(
    daemons: dict[bool, Daemon], start: str, body: str
) -> None:
    daemon = daemons[False]
    judged = [case for case in cases.load() if case.name.startswith(("HS-30", "HS-32", "HS-33"))]
    assert len(judged) > 30
    for case in judged:
        if case.parsed is None or "origin" not in case.parsed.headers:
            continue
        host, origin = case.parsed.headers["host"], case.parsed.headers["origin"]
        request = (
            f"{start}?wait=0 HTTP/1.1\r\nHost: {host}\r\nOrigin: {origin}\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}"
        )
        with Raw((daemon.host, daemon.port)) as one:
            answer = one.send(request.encode("latin-1")).answer()
        refused = answer.status == 403 and b"bad_origin" in answer.body
        assert refused == (case.status == 403), (case.name, answer)
        allowed = answer.headers.get("access-control-allow-origin")
        # Any page may read that it is refused.
        assert allowed in (None, origin) if case.status == 101 else not refused or allowed == "*"
