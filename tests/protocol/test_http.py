"""HTTP requests and responses: what a file of the corpus (test_corpus.py) cannot say."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.corpus import cases
from wsd.protocol.http import (
    CONTINUE,
    REASONS,
    HttpError,
    HttpLimits,
    Request,
    RequestParser,
    error_response,
    response,
)
from wsd.protocol.target import is_host

from .helpers import assert_linear, bytewise, check, cut, cuts

CANARY = b"GET /canary HTTP/1.1\r\nHost: c\r\n\r\n"
SERVED = ("GET", "/canary", b"")


def run(pieces: Sequence[bytes], limits: HttpLimits = HttpLimits()) -> list[Any]:  # noqa: B008
    """Outcomes: (method, path, body) of each request, (status, reason) of an error."""
    parser = RequestParser(limits)
    outcomes: list[Any] = []
    for piece in pieces:
        parser.feed(piece)
        try:
            while (request := parser.next_request()) is not None:
                outcomes.append((request.method, request.path, request.body))
        except HttpError as error:
            outcome = (error.status, error.reason)
            if not outcomes or outcomes[-1] != outcome:
                outcomes.append(outcome)
            assert parser.take_rest() == b""  # nothing is kept behind an error
    return outcomes


def one(data: bytes, limits: HttpLimits = HttpLimits()) -> Request:  # noqa: B008
    parser = RequestParser(limits)
    parser.feed(data)
    request = parser.next_request()
    assert request is not None
    return request


def get(*lines: bytes, start: bytes = b"GET / HTTP/1.1", body: bytes = b"") -> bytes:
    return b"\r\n".join((start, b"Host: a", *lines, b"", b"")) + body


def post(*lines: bytes, body: bytes = b"") -> bytes:
    return get(*lines, start=b"POST / HTTP/1.1", body=body)


def chunked(body: bytes) -> bytes:
    return post(b"Transfer-Encoding: chunked", body=body)


def test_hp_06_every_byte_in_a_name() -> None:
    for byte in range(256):
        char = bytes((byte,))
        good = char.isalnum() or char in b"!#$%&'*+-.^_`|~" or char == b":"
        outcome = run([get(b"a" + char + b"b: x")])
        assert good == (outcome == [("GET", "/", b"")]), char


def test_hp_07_every_byte_in_a_value() -> None:
    for byte in range(256):
        char = bytes((byte,))
        good = byte == 9 or 0x20 <= byte != 0x7F
        assert good == (run([get(b"X: a" + char + b"b")]) == [("GET", "/", b"")]), char


@pytest.mark.parametrize("data", [
    b"", b"\r", b"\r\n", b"G", get()[:-1], get()[:-2], post(b"Content-Length: 2", body=b"a"),
    chunked(b""), chunked(b"5"), chunked(b"5\r\nhell"), chunked(b"5\r\nhello\r"),
    chunked(b"0\r\nX:"), chunked(b"0\r\n"), chunked(b"0\r\n\r"),
])  # fmt: skip
def test_not_yet(data: bytes) -> None:
    check(run, data, [])


def test_hp_30_pipelining() -> None:
    check(run, CANARY * 50, [SERVED] * 50)
    check(run, CANARY + b"GET\r\n", [SERVED, (400, "bad_request_line")], CANARY)


def test_hp_24_blank_lines_count_for_one_request() -> None:
    check(run, (b"\r\n\r\n" + CANARY) * 3, [SERVED] * 3)
    assert run([b"\r\n\r\n", CANARY, b"\r\n" + CANARY]) == [SERVED] * 2


def test_hp_43_many_tiny_chunks() -> None:
    assert run([chunked(b"1\r\na\r\n" * 100_000)]) == [(413, "body_too_large")]


def test_hp_61_every_split() -> None:
    for data in (
        post(b"Expect: 100-continue", b"Content-Length: 5", body=b"hello"),
        b"\r\n" + chunked(b"3;x\r\nabc\r\n0\r\nA: b\r\n\r\n") + CANARY,
        get(b"A: b", b" c"),
    ):
        whole = run([data])
        assert all(run([data[:at], data[at:]]) == whole for at in range(len(data)))


def test_the_same_error_for_ever() -> None:
    parser = RequestParser()
    parser.feed(b"GET\r\n")
    for _ in range(2):
        with pytest.raises(HttpError) as caught:
            parser.next_request()
        assert (caught.value.status, caught.value.reason) == (400, "bad_request_line")
        parser.feed(CANARY)
    assert str(caught.value).startswith("400 bad_request_line: The request")


def test_request_fields() -> None:
    request = one(
        b"GET /r/a%20b?after=%C3%A4+b%2B&after=2&&flag&=x HTTP/1.1\r\nHOST: A.example:80\r\n"
        b"X-A: \t 1 \r\nx-a:2\r\nX-A:\r\nCookie: a=1\r\nCookie: b=2\r\nX-L: \xe4\r\n\r\n"
    )
    assert request.target == "/r/a%20b?after=%C3%A4+b%2B&after=2&&flag&=x"
    assert request.path == "/r/a b"
    assert request.query == {"after": "ä b+", "flag": "", "": "x"}
    assert request.minor == 1
    assert request.headers == {
        "host": "A.example:80", "x-a": "1, 2", "cookie": "a=1; b=2", "x-l": "ä",
    }  # fmt: skip
    assert request.header("x-l") == "ä"
    assert request.header("none") == ""
    assert request.header("none", "-") == "-"
    assert "/r/a%20b" in repr(request)


def test_hp_26_absolute_target_is_the_host_of_http_1_0() -> None:
    assert one(b"GET http://a.example/ HTTP/1.0\r\n\r\n").header("host") == "a.example"


def test_hp_08_underscores_are_dropped() -> None:
    request = one(get(b"Content_Length: 5", b"Transfer_Encoding: chunked", b"Sec_WebSocket_Key: x"))
    assert request.headers == {"host": "a"}


def test_hp_36_an_encoded_line_end_stays_in_its_value() -> None:
    request = one(get(start=b"GET /?room=%0d%0aSet-Cookie:x HTTP/1.1"))
    assert request.query == {"room": "\r\nSet-Cookie:x"}
    with pytest.raises(ValueError, match="CR, LF or NUL"):
        response(302, [("Location", request.query["room"])])


@pytest.mark.parametrize(("version", "connection", "expected"), [
    (b"1.1", None, True), (b"1.1", b"close", False), (b"1.1", b"Close, Upgrade", False),
    (b"1.1", b"keep-alive", True), (b"1.1", b"keep-alive, Upgrade", True),
    (b"1.1", b"x,\tCLOSE ,", False), (b"1.1", b"closed", True), (b"1.1", b"\xa0close", True),
    (b"1.0", None, False), (b"1.0", b"keep-alive", True), (b"1.0", b"Keep-Alive", True),
    (b"1.0", b"x", False), (b"1.0", b"keep-alive, close", False),
])  # fmt: skip
def test_hp_34_keep_alive(version: bytes, connection: bytes | None, expected: bool) -> None:
    lines = () if connection is None else (b"Connection: " + connection,)
    assert one(get(*lines, start=b"GET / HTTP/" + version)).keep_alive is expected


def test_hp_35_tokens() -> None:
    request = one(get(b"Upgrade: h2c,\tWebSocket ,,", b"X: \xa0a", b"Y:"))
    assert request.tokens("upgrade") == ("h2c", "websocket")
    assert request.tokens("x") == ("\xa0a",)
    assert request.tokens("y") == request.tokens("z") == ()


@pytest.mark.parametrize("host", [
    "a", "A-b_c.example", "127.0.0.1:0", "a:65535", "[::1]", "[2001:db8::1.2.3.4]:443",
    "xn--80ak6aa92e.com", "a.",
])  # fmt: skip
def test_hosts(host: str) -> None:
    assert is_host(host)


def test_stages() -> None:
    parser = RequestParser()

    def stage_after(data: bytes) -> str:
        parser.feed(data)
        parser.next_request()
        return parser.stage

    steps = [
        (b"", "idle"), (b"\r\n", "idle"), (b"P", "header"), (b"OST / HTTP/1.1\r\n", "header"),
        (b"Host: a\r\nContent-Length: 2\r\n", "header"), (b"\r\n", "body"), (b"a", "body"),
        (b"b", "idle"), (chunked(b"1\r\n"), "body"), (b"a\r\n0\r\n", "body"), (b"\r\nG", "header"),
    ]  # fmt: skip
    assert [stage_after(data) for data, _ in steps] == [stage for _, stage in steps]


def test_hp_14_expect_continue() -> None:
    head = post(b"Expect: 100-Continue", b"Content-Length: 2")
    for pieces in ([head], bytewise(head)):
        parser = RequestParser()
        for piece in pieces:
            assert not parser.expects_continue
            parser.feed(piece)
            assert parser.next_request() is None
        assert parser.expects_continue
        assert not parser.expects_continue  # once
        parser.feed(b"ab")
        request = parser.next_request()
        assert request is not None and request.body == b"ab"
    assert CONTINUE == b"HTTP/1.1 100 Continue\r\n\r\n"


@pytest.mark.parametrize("data", [
    get(b"Expect: 100-continue"),
    get(b"Expect: 100-continue", b"Connection: Upgrade", b"Upgrade: websocket"),
    post(b"Expect: 100-continue", b"Content-Length: 2", body=b"a"),
    post(b"Expect: 100-continue", b"Transfer-Encoding: chunked", body=b"1"),
    b"POST / HTTP/1.0\r\nExpect: whatever\r\nContent-Length: 1\r\n\r\n",
])  # fmt: skip
def test_hp_14_no_continue(data: bytes) -> None:
    parser = RequestParser()
    parser.feed(data)
    parser.next_request()
    assert not parser.expects_continue


def test_hp_14_a_byte_of_the_body_ends_the_waiting() -> None:
    parser = RequestParser()
    parser.feed(post(b"Expect: 100-continue", b"Transfer-Encoding: chunked"))
    assert parser.next_request() is None
    parser.feed(b"1\r\n")
    assert parser.next_request() is None
    assert not parser.expects_continue


def test_hp_31_rest_after_an_upgrade() -> None:
    parser = RequestParser()
    parser.feed(get(b"Upgrade: websocket") + b"\x81\x80abcd")
    assert parser.next_request() is not None
    assert parser.take_rest() == b"\x81\x80abcd"
    assert parser.take_rest() == b""
    assert parser.stage == "idle"


def test_limits_are_settable() -> None:
    limits = HttpLimits(request_line=20, header_line=10, header_total=15, header_count=3, body=4)

    def small(pieces: Sequence[bytes]) -> list[Any]:
        return run(pieces, limits)

    check(small, get(b"A: b"), [("GET", "/", b"")], get(), [("GET", "/", b"")])
    check(small, get(b"A: b", b"C:", b"D:"), [(431, "too_many_headers")], get())
    check(small, get(b"A: 45678901"), [(431, "header_too_large")], get())
    check(small, get(b"A: 4567890"), [(431, "header_too_large")], get())  # the block
    check(small, get(start=b"GET /67890 HTTP/1.1"), [("GET", "/67890", b"")])
    check(small, get(start=b"GET /6789012 HTTP/1.1"), [(414, "request_line_too_long")], get())
    check(small, post(b"C: d"), [("POST", "/", b"")])
    check(
        small,
        b"PUT / HTTP/1.0\r\nContent-Length:5\r\n\r\n",
        [(431, "header_too_large")],
        get(),
    )


# -- any bytes -------------------------------------------------------------------------------

SEEDS = [case.data for case in cases.load() if len(case.data) < 400]
SCRAPS = [
    b"\r\n", b"\r", b"\n", b" ", b"\t", b":", b",", b"\0", b"\x85", b"%", b"/", b"0", b"1",
    b"GET / HTTP/1.1\r\n", b"Host: a\r\n", b"Content-Length: 3\r\n", b"Expect: 100-continue\r\n",
    b"Transfer-Encoding: chunked\r\n", b"\r\n\r\n", b"3\r\nabc\r\n", b"0\r\n\r\n", b"a" * 30,
]  # fmt: skip
SMALL = HttpLimits(60, 60, 120, 5, 40, 10)


def mutate(rng: random.Random) -> bytes:
    data = bytearray(rng.choice(SEEDS))
    for _ in range(rng.randrange(4)):
        at = rng.randrange(len(data) + 1)
        data[at : at + rng.choice((0, 0, 1, 5))] = rng.choice(SCRAPS)
    return bytes(data)


@settings(max_examples=400, deadline=None)
@given(st.randoms(use_true_random=False), cuts)
def test_cutting_changes_nothing(rng: random.Random, at: list[int]) -> None:
    data = mutate(rng) + mutate(rng)
    for limits in (HttpLimits(), SMALL):
        whole = run([data], limits)
        assert run(cut(data, at), limits) == whole
        assert run(bytewise(data), limits) == whole


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(SCRAPS) | st.binary(max_size=8), max_size=12), cuts)
def test_scraps_give_requests_or_errors(scraps: list[bytes], at: list[int]) -> None:
    data = b"GET / HTTP/1.1\r\nHost: a\r\n" + b"".join(scraps)
    assert run(cut(data, at)) == run([data])


def test_hp_63_mutations() -> None:
    rng = random.Random(63)
    for _ in range(5000):
        for outcome in run([mutate(rng)]):
            assert len(outcome) == 3 or outcome[0] in REASONS


def test_hp_51_52_53_linear() -> None:
    wide = HttpLimits(header_line=1 << 20, header_total=1 << 20, header_count=1 << 20)
    assert_linear(lambda n: run([get(*[b"X: y"] * n)], wide), 2000)
    assert_linear(lambda n: run(bytewise(get(b"X: " + b"y" * n)), wide), 4000)
    assert_linear(lambda n: run([chunked(b"1\r\na\r\n" * n + b"0\r\n\r\n")]), 8000)
    assert_linear(lambda n: run(bytewise(chunked(b"%x\r\n" % n + b"a" * n))), 4000)
    assert_linear(lambda n: run([get(b"X: b" + b" " * n + b"x")], wide), 8000)
    assert_linear(lambda n: run([get(*[b'Cookie: a="\\\\\\'] * n)], wide), 2000)  # HP-52
    assert_linear(lambda n: one(get(b"Connection: " + b"a ," * n), wide).tokens("connection"), 4000)


# -- responses -------------------------------------------------------------------------------


def test_response_bytes() -> None:
    assert response(200, [("A", "b"), ("C", "ä")], b"hi") == (
        b"HTTP/1.1 200 OK\r\nA: b\r\nC: \xe4\r\nContent-Length: 2\r\n\r\nhi"
    )
    assert response(404, keep_alive=False) == (
        b"HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
    )
    assert response(299).startswith(b"HTTP/1.1 299 \r\n")


def test_hp_33_head_and_bodiless() -> None:
    head = response(200, body=b"hi", head=True)
    assert head == b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"
    assert response(204, body=b"hi") == b"HTTP/1.1 204 No Content\r\n\r\n"
    assert response(304, [("ETag", "x")]) == b"HTTP/1.1 304 Not Modified\r\nETag: x\r\n\r\n"


@pytest.mark.parametrize("bad", ["\r", "\n", "\0", "a\r\nSet-Cookie: x", "€"])
def test_hp_36_headers_that_break_out(bad: str) -> None:
    for header in ((bad, "x"), ("x", bad)):
        with pytest.raises(ValueError):
            response(200, [header])


@pytest.mark.parametrize(("error", "lines"), [
    (HttpError(400, "bad_host", 'a "b"'), ["HTTP/1.1 400 Bad Request"]),
    (HttpError(405, "x", "y"), ["Allow: GET, HEAD, POST, OPTIONS"]),
    (HttpError(405, "x", "y", (("Allow", "GET"),)), ["Allow: GET"]),
    (HttpError(426, "x", "y"), ["HTTP/1.1 426 Upgrade Required", "Upgrade: websocket",
                                "Connection: Upgrade", "Sec-WebSocket-Version: 13"]),
])  # fmt: skip
def test_error_responses(error: HttpError, lines: list[str]) -> None:
    head, _, body = error_response(error).partition(b"\r\n\r\n")
    got = head.decode().split("\r\n")
    assert {*lines, "Connection: close", f"Content-Length: {len(body)}"} <= set(got)
    assert json.loads(body) == {"error": {"code": error.reason, "message": error.detail}}
