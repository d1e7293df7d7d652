"""HTTP requests and responses, byte for byte (RELIABILITY 4.4, HP-01 to HP-61)."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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


def one(data: bytes) -> Request:
    parser = RequestParser()
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


def to(target: bytes) -> bytes:
    return b"GET " + target + b" HTTP/1.1\r\nHost: a\r\n\r\n"


REFUSED: list[tuple[str, bytes, int, str]] = [
    ("HP-01 bare LF", b"GET / HTTP/1.1\nHost: a\n\n", 400, "bare_line_end"),
    ("HP-02 after the start", b"GET / HTTP/1.1\nHost: a\r\n\r\n", 400, "bare_line_end"),
    ("HP-02 after a header", b"GET / HTTP/1.1\r\nHost: a\n\r\n", 400, "bare_line_end"),
    ("HP-02 before the blank", b"GET / HTTP/1.1\r\nHost: a\r\n\n", 400, "bare_line_end"),
    ("HP-03 in a value", get(b"X: a\rb"), 400, "bare_line_end"),
    ("HP-03 before the blank", b"GET / HTTP/1.1\r\nHost: a\r\n\rZ", 400, "bare_line_end"),
    ("HP-03 as line end", b"GET / HTTP/1.1\rHost: a\r\r", 400, "bare_line_end"),
    ("HP-03 CR CR LF", b"GET / HTTP/1.1\r\r\nHost: a\r\n\r\n", 400, "bare_line_end"),
    ("HP-04 fold", get(b"X: a", b" b"), 400, "folded_header"),
    ("HP-04 on Host", b"GET / HTTP/1.1\r\nHost: a\r\n .b\r\n\r\n", 400, "folded_header"),
    ("HP-04 on TE", get(b"Transfer-Encoding:", b"\tchunked"), 400, "folded_header"),
    ("HP-04 first", b"GET / HTTP/1.1\r\n\tContent-Length: 1\r\n\r\n", 400, "folded_header"),
    ("HP-05 space", get(b"Content-Length : 3"), 400, "bad_header_name"),
    ("HP-05 tab", get(b"Upgrade\t: websocket"), 400, "bad_header_name"),
    ("HP-06 no name", get(b": x"), 400, "bad_header_name"),
    ("HP-06 no colon", get(b"Content-Length 10"), 400, "bad_header_name"),
    *((f"HP-07 {bad!r}", get(b"X: a" + bad), 400, "bad_header_value")
      for bad in (b"\0", b"\a", b"\x7f", b"\v", b"\f", b"\x1bb")),
    *((f"HP-09 {bad!r}", post(b"Content-Length: " + bad), 400, "bad_content_length")
      for bad in (b"+1", b"-1", b"-0", b"1_0", b"0x10", b"1 0", b"1,1", b"5, 5", b"", b"1.0",
                  "１２".encode(), b"1" * 20, b"1" * 5000, b"1\x85", b"\xa01")),
    ("HP-10 equal", post(b"Content-Length: 1", b"Content-Length: 1"), 400, "repeated_header"),
    ("HP-10 other", post(b"Content-Length: 1", b"content-length: 2"), 400, "repeated_header"),
    ("HP-11", post(b"Content-Length: 1", b"Transfer-Encoding: chunked"), 400, "length_and_coding"),
    ("HP-11", post(b"Transfer-Encoding: chunked", b"Content-Length: 1"), 400, "length_and_coding"),
    *((f"HP-12 {bad!r}", post(b"Transfer-Encoding: " + bad), status, reason)
      for bad, status, reason in (
          (b"chunked, chunked", 501, "unknown_coding"),
          (b"identity", 501, "unknown_coding"),
          (b"xchunked", 501, "unknown_coding"),
          (b"gzip, chunked", 501, "unknown_coding"),
          (b"chunked, gzip", 501, "unknown_coding"),
          (b"\vchunked", 400, "bad_header_value"),
          (b"\fchunked", 400, "bad_header_value"),
          (b"chunked\0", 400, "bad_header_value"),
          (b"", 400, "bad_coding"),
          (b",chunked", 400, "bad_coding"),
          (b"chunked,", 400, "bad_coding"),
          (b"chunked;q=1", 400, "bad_coding"),
          (b'"chunked"', 400, "bad_coding"),
          (b"\x85chunked\xa0", 400, "bad_coding"))),
    ("HP-12 two", post(b"Transfer-Encoding: chunked", b"Transfer-Encoding: gzip"),
     400, "repeated_header"),
    ("HP-12 in 1.0", b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
     400, "coding_in_http_1_0"),
    ("HP-14", post(b"Expect: 200-ok", b"Content-Length: 1"), 417, "bad_expectation"),
    ("HP-14 two", post(b"Expect: 100-continue", b"Expect: 100-continue"), 417, "bad_expectation"),
    *((f"HP-20 {start!r}", get(start=start), status, reason) for start, status, reason in (
        (b"get / HTTP/1.1", 400, "bad_request_line"),
        (b"G= / HTTP/1.1", 400, "bad_request_line"),
        (b"G" * 33 + b" / HTTP/1.1", 400, "bad_request_line"),
        (b"GET\0 / HTTP/1.1", 400, "bad_request_line"),
        (b" GET / HTTP/1.1", 400, "bad_request_line"),
        (b"CONNECT a:443 HTTP/1.1", 405, "method_not_allowed"),
        (b"TRACE / HTTP/1.1", 405, "method_not_allowed"),
        (b"PROPFIND / HTTP/1.1", 501, "unknown_method"),
        (b"G" * 32 + b" / HTTP/1.1", 501, "unknown_method"))),
    ("HP-20 preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, "bad_version"),
    *((f"HP-21 {version!r}", get(start=b"GET / " + version), status, reason)
      for version, status, reason in (
          (b"HTTP/1.2", 505, "bad_version"),
          (b"HTTP/2.0", 505, "bad_version"),
          (b"HTTP/0.9", 505, "bad_version"),
          (b"HTTP/1.10", 400, "bad_request_line"),
          (b"HTTP/01.1", 400, "bad_request_line"),
          (b"HTTP/1.", 400, "bad_request_line"),
          (b"HTTP/1", 400, "bad_request_line"),
          (b"http/1.1", 400, "bad_request_line"),
          (b"HTTP/4294967297.1", 400, "bad_request_line"),
          ("HTTP/1.１".encode(), 400, "bad_request_line"))),
    ("HP-21 missing", get(start=b"GET /"), 400, "bad_request_line"),
    *((f"HP-23 {start!r}", get(start=start), 400, "bad_request_line") for start in (
        b"GET  / HTTP/1.1", b"GET /  HTTP/1.1", b"GET\t/ HTTP/1.1", b"GET\v/ HTTP/1.1",
        b"GET / HTTP/1.1 ", b"GET / \xa0HTTP/1.1", b"GET /a b HTTP/1.1", b"GET /\x80 HTTP/1.1",
        b"GET /\x7f HTTP/1.1", b"GET  HTTP/1.1")),
    ("HP-24 x3", b"\r\n" * 3 + get(), 400, "bad_request_line"),
    ("HP-24 x100", b"\r\n" * 100 + get(), 400, "bad_request_line"),
    *((f"HP-25 {target!r}", to(target), 400, reason) for target, reason in (
        (b"foo", "bad_target"), (b"*", "bad_target"), (b"a:443", "bad_target"),
        (b"/#f", "bad_target"), (b'/"', "bad_target"), (b"/<", "bad_target"),
        (b"ftp://a/", "bad_target"), (b"http://", "bad_target"), (b"http:///x", "bad_target"),
        (b"//x", "bad_path"), (b"/\\x", "bad_path"), (b"/%00", "bad_path"),
        (b"/%0d%0aX:1", "bad_path"), (b"/..%2f", "bad_path"), (b"/a%5Cb", "bad_path"),
        (b"/..", "bad_path"), (b"/a/../b", "bad_path"), (b"/./a", "bad_path"),
        (b"/%2e%2E/a", "bad_path"), (b"/%7f", "bad_path"), (b"/%", "bad_path"),
        (b"/%4", "bad_path"), (b"/%zz", "bad_path"), (b"/%ff", "bad_path"),
        (b"/%ed%a0%80", "bad_path"), (b"/%c0%af", "bad_path"),
        (b"/?a=%", "bad_query"), (b"/?%+1=a", "bad_query"), (b"/?a=%80", "bad_query"),
        (b"/?" + b"&" * 64, "too_many_parameters"))),
    ("HP-25 long", to(b"/" + b"a" * 8193), 414, "request_line_too_long"),
    ("HP-25 never ending", b"GET /" + b"a" * 8188, 414, "request_line_too_long"),
    ("HP-26 other", to(b"http://b/ws"), 400, "host_mismatch"),
    ("HP-26 port", to(b"http://a:80/ws"), 400, "host_mismatch"),
    ("HP-26 user", b"GET http://u@a/ HTTP/1.0\r\n\r\n", 400, "bad_host"),
    ("HP-27 none", b"GET / HTTP/1.1\r\n\r\n", 400, "missing_host"),
    ("HP-27 only absolute", b"GET http://a/ HTTP/1.1\r\n\r\n", 400, "missing_host"),
    ("HP-27 two", get(b"Host: a"), 400, "repeated_header"),
    *((f"HP-27 {host!r}", b"GET / HTTP/1.1\r\nHost: " + host + b"\r\n\r\n", 400, "bad_host")
      for host in (b"", b"a,b", b"a\tb", b"a b", b"a@b", b"a:99999", b"a:65536", b"a:", b":80",
                   b"a:+1", b"a:123456", b"[::1", b"::1", b"[]", b"[:::1]", b"[1.2.3.4]",
                   b"[::1]x", b"a/b", b"a?", b"\xe4", b"a" * 300)),
    *((f"repeated {name!r}", get(name + b": x", name.lower() + b": y"), 400, "repeated_header")
      for name in (b"Origin", b"Sec-WebSocket-Key", b"Sec-WebSocket-Version", b"Authorization",
                   b"Content-Type")),
    *((f"HP-40 {size!r}", chunked(size + b"\r\nhello\r\n0\r\n\r\n"), 400, "bad_chunk")
      for size in (b"5 ;", b"5 ", b" 5", b"+5", b"-5", b"0x5", b"5_0", b"1" * 17, b"000000005",
                   b"", b"g", b"5;\x7f", b"5;" + b"x" * 1024)),
    ("HP-40 LF", chunked(b"5\nhello\r\n"), 400, "bare_line_end"),
    ("HP-40 CR", chunked(b"5\rXhello\r\n"), 400, "bare_line_end"),
    ("HP-41 extra", chunked(b"5\r\nhelloX\r\n0\r\n\r\n"), 400, "bad_chunk"),
    ("HP-41 missing", chunked(b"5\r\nhello0\r\n\r\n"), 400, "bad_chunk"),
    ("HP-41 LF", chunked(b"5\r\nhello\n0\r\n\r\n"), 400, "bad_chunk"),
    ("HP-42 no colon", chunked(b"0\r\nX\r\n\r\n"), 400, "bad_trailer"),
    ("HP-42 many", chunked(b"0\r\n" + b"X: y\r\n" * 1000), 431, "trailers_too_large"),
    ("HP-42 large", chunked(b"0\r\nX:" + b"y" * 32768), 431, "trailers_too_large"),
    ("HP-43 extension", chunked(b"1;" + b"x" * 2000), 400, "bad_chunk"),
    ("HP-43 extensions", chunked(b"1;xxxxxxxxxxxxxxx\r\na\r\n" * 65), 400, "bad_chunk"),
    ("HP-44 length", post(b"Content-Length: 65537"), 413, "body_too_large"),
    ("HP-44 19 digits", post(b"Content-Length: " + b"9" * 19), 413, "body_too_large"),
    ("HP-44 one chunk", chunked(b"10001\r\n"), 413, "body_too_large"),
    ("HP-44 8 digits", chunked(b"ffffffff\r\n"), 413, "body_too_large"),
    ("HP-44 two chunks", chunked(b"1\r\na\r\n10000\r\n"), 413, "body_too_large"),
    ("HP-44 whole", chunked(b"8000\r\n" + b"a" * 0x8000 + b"\r\n8001\r\n" + b"a" * 0x8001
                            + b"\r\n"), 413, "body_too_large"),
    ("HP-50 101", get(*[b"X: y"] * 100), 431, "too_many_headers"),
    ("HP-50 10,000", get(*[b"X: y"] * 10_000), 431, "too_many_headers"),
    ("HP-50 2,000", get(*[b"%c: y" % (97 + n % 26) for n in range(2000)]),
     431, "too_many_headers"),
    ("HP-50 line", get(b"X: " + b"a" * 8190), 431, "header_too_large"),
    ("HP-50 unfinished line", get()[:-2] + b"X: " + b"a" * 8190, 431, "header_too_large"),
    ("HP-50 block", get(*[b"X: " + b"a" * 8000] * 4, b"X: " + b"a" * 800),
     431, "header_too_large"),
    ("HP-60 TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400, "bad_request_line"),
    ("HP-60 SSH", b"SSH-2.0-OpenSSH_9.2p1\r\n", 400, "bad_request_line"),
    ("HP-60 SMTP", b"EHLO there\r\n", 400, "bad_request_line"),
    ("HP-60 zeros", bytes(64), 400, "bad_request_line"),
    ("HP-60 after a blank line", b"\r\n\x80", 400, "bad_request_line"),
]  # fmt: skip


@pytest.mark.parametrize(("data", "status", "reason"), [case[1:] for case in REFUSED],
                         ids=[case[0] for case in REFUSED])  # fmt: skip
def test_refused(data: bytes, status: int, reason: str) -> None:
    check(run, data, [(status, reason)], CANARY)


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


ACCEPTED: list[tuple[str, bytes, tuple[str, str, bytes]]] = [
    ("plain", get(), ("GET", "/", b"")),
    ("HEAD", get(start=b"HEAD /x HTTP/1.1"), ("HEAD", "/x", b"")),
    ("OPTIONS *", get(start=b"OPTIONS * HTTP/1.1"), ("OPTIONS", "*", b"")),
    *((method, get(start=method.encode() + b" / HTTP/1.1"), (method, "/", b""))
      for method in ("PUT", "DELETE", "PATCH", "POST", "OPTIONS")),
    ("HP-09 010", post(b"Content-Length: 010", body=b"a" * 10), ("POST", "/", b"a" * 10)),
    ("length 0", post(b"Content-Length: 0"), ("POST", "/", b"")),
    ("body", post(b"Content-Length:3", body=b"\r\n\0"), ("POST", "/", b"\r\n\0")),
    ("body of the limit", post(b"Content-Length: 65536", body=b"a" * 65536),
     ("POST", "/", b"a" * 65536)),
    ("HP-22 no host", b"GET /healthz HTTP/1.0\r\n\r\n", ("GET", "/healthz", b"")),
    ("HP-24 x1", b"\r\n" + get(), ("GET", "/", b"")),
    ("HP-24 x2", b"\r\n\r\n" + get(), ("GET", "/", b"")),
    ("HP-25 longest", to(b"/" + b"a" * 8178), ("GET", "/" + "a" * 8178, b"")),
    ("HP-26", to(b"http://a/ws"), ("GET", "/ws", b"")),
    ("HP-26 case", to(b"HTTPS://A/ws"), ("GET", "/ws", b"")),
    ("HP-26 no path", to(b"http://a"), ("GET", "/", b"")),
    ("HP-26 query", to(b"http://a?x"), ("GET", "/", b"")),
    ("HP-26 1.0", b"GET http://a/ HTTP/1.0\r\n\r\n", ("GET", "/", b"")),
    ("path", to(b"/a%20%C3%A4//b/...//.known/.x"), ("GET", "/a ä//b/...//.known/.x", b"")),
    ("HP-40", chunked(b"5\r\nhello\r\n0\r\n\r\n"), ("POST", "/", b"hello")),
    ("HP-40 digits", chunked(b"0000000A\r\n0123456789\r\n00\r\n\r\n"),
     ("POST", "/", b"0123456789")),
    ("HP-40 extension", chunked(b"5;a=b\r\nhello\r\n1\r\n!\r\n0;c\r\n\r\n"),
     ("POST", "/", b"hello!")),
    ("HP-12 case", post(b"transfer-encoding:\tCHUNKED ", body=b"0\r\n\r\n"), ("POST", "/", b"")),
    ("HP-42", chunked(b"1\r\na\r\n0\r\nHost: b\r\nContent-Length: 9\r\n\r\n"), ("POST", "/", b"a")),
    ("HP-50 100 headers", get(*[b"X: y"] * 99), ("GET", "/", b"")),
    ("HP-50 line", get(b"X:" + b"a" * 8190), ("GET", "/", b"")),
    ("HP-50 block", get(*[b"X:" + b"a" * 8190] * 3, b"X: " + b"a" * 8182), ("GET", "/", b"")),
]  # fmt: skip


@pytest.mark.parametrize(("data", "outcome"), [case[1:] for case in ACCEPTED],
                         ids=[case[0] for case in ACCEPTED])  # fmt: skip
def test_accepted(data: bytes, outcome: tuple[str, str, bytes]) -> None:
    check(run, data, [outcome], CANARY, [SERVED])


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
        "host": "A.example:80", "x-a": "1, 2, ", "cookie": "a=1; b=2", "x-l": "ä",
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
    request = one(to(b"/?room=%0d%0aSet-Cookie:x"))
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
    assert request.tokens("upgrade") == ["h2c", "websocket"]
    assert request.tokens("x") == ["\xa0a"]
    assert request.tokens("y") == request.tokens("z") == []


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

SEEDS = [case[1] for case in (*REFUSED, *ACCEPTED) if len(case[1]) < 400]
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


def test_hp_51_53_linear() -> None:
    wide = HttpLimits(header_line=1 << 20, header_total=1 << 20, header_count=1 << 20)
    assert_linear(lambda n: run([get(*[b"X: y"] * n)], wide), 2000)
    assert_linear(lambda n: run(bytewise(get(b"X: " + b"y" * n)), wide), 4000)
    assert_linear(lambda n: run([chunked(b"1\r\na\r\n" * n + b"0\r\n\r\n")]), 8000)
    assert_linear(lambda n: run(bytewise(chunked(b"%x\r\n" % n + b"a" * n))), 4000)
    assert_linear(lambda n: run([get(b"X: b" + b" " * n + b"x")], wide), 8000)


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
