"""The opening handshake: what is agreed on. What is refused is in the corpus (test_corpus.py)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.corpus import cases
from wsd.protocol.deflate import Deflate
from wsd.protocol.handshake import Handshake, accept_value, is_upgrade, negotiate, response
from wsd.protocol.http import HttpError, HttpLimits, RequestParser, error_response

from .helpers import assert_linear, check

KEY = b"dGhlIHNhbXBsZSBub25jZQ=="
USUAL = {
    b"Host": b"a",
    b"Upgrade": b"websocket",
    b"Connection": b"Upgrade",
    b"Sec-WebSocket-Version": b"13",
    b"Sec-WebSocket-Key": KEY,
}
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


def upgrade(
    change: dict[bytes, bytes | None] | None = None,
    start: bytes = b"GET /chat HTTP/1.1",
    body: bytes = b"",
) -> bytes:
    """The usual request with some headers changed, or left out (None)."""
    headers = {**USUAL, **(change or {})}
    lines = [name + b": " + value for name, value in headers.items() if value is not None]
    return b"\r\n".join([start, *lines, b"", b""]) + body


def run(pieces: Sequence[bytes]) -> list[Any]:
    """(accept, subprotocol) or (status, reason), then the early frames."""
    parser = RequestParser()
    outcomes: list[Any] = []
    rest = b""
    for piece in pieces:
        if outcomes:
            rest += piece
            continue
        parser.feed(piece)
        try:
            request = parser.next_request()
            if request is not None:
                agreed = negotiate(request, ["wsd.v1", "other"])
                outcomes.append((agreed.accept, agreed.subprotocol))
                rest = parser.take_rest()
        except HttpError as error:
            outcomes.append((error.status, error.reason))
    agreed_on_frames = rest and outcomes[0][0] == ACCEPT
    return [*outcomes, rest] if agreed_on_frames else outcomes


ACCEPTED: list[tuple[str, dict[bytes, bytes | None], str | None]] = [
    ("HS-04 the sample", {}, None),
    ("HP-34", {b"Connection": b"keep-alive, UPGRADE"}, None),
    ("HP-35", {b"Upgrade": b"h2c, WebSocket"}, None),
    ("length 0", {b"Content-Length": b"0"}, None),
    *((f"HS-05 {offer!r}", {b"Sec-WebSocket-Protocol": offer}, chosen) for offer, chosen in (
        (b"wsd.v1", "wsd.v1"), (b"x, wsd.v1", "wsd.v1"), (b"other,wsd.v1", "other"),
        (b"wsd.v1, wsd.v1", "wsd.v1"), (b"a,,wsd.v1", "wsd.v1"), (b"unknown", None), (b"", None),
        (b",,", None), (b"WSD.V1", None), (b"wsd.v1 x", None), (b"\xa0wsd.v1", None))),
    ("HS-21 names", {b"Sec-WebSocket-Protocol": b"constructor, __proto__, __class__",
                     b"Sec-WebSocket-Extensions": b"__class__; __proto__=1"}, None),
    ("extensions", {b"Sec-WebSocket-Extensions": b"permessage-deflate"}, None),
]  # fmt: skip


@pytest.mark.parametrize(("change", "subprotocol"), [case[1:] for case in ACCEPTED],
                         ids=[case[0] for case in ACCEPTED])  # fmt: skip
def test_accepted(change: dict[bytes, bytes | None], subprotocol: str | None) -> None:
    # HP-31: what comes behind the request are early frames.
    check(run, upgrade(change), [(ACCEPT, subprotocol)], b"\x81\x80abcd", [b"\x81\x80abcd"])


def test_hs_04_accept_value() -> None:
    assert accept_value("dGhlIHNhbXBsZSBub25jZQ==") == ACCEPT


def test_is_upgrade() -> None:
    parser = RequestParser()
    parser.feed(upgrade({b"Upgrade": b"h2c, WEBSOCKET"}) + upgrade({b"Upgrade": b"h2c"}))
    parser.feed(upgrade({b"Upgrade": None}))
    requests = [parser.next_request() for _ in range(3)]
    assert [request and is_upgrade(request) for request in requests] == [True, False, False]


@pytest.mark.parametrize(("name", "headers"), [
    ("HS-01-no-upgrade", [b"Upgrade: websocket", b"Sec-WebSocket-Version: 13"]),
    ("HS-01-version-14", [b"Upgrade: websocket", b"Sec-WebSocket-Version: 13"]),
    ("HS-03-post", [b"Allow: GET"]),
    ("HS-01-no-key", []),
])  # fmt: skip
def test_hs_10_refusals_close(name: str, headers: list[bytes]) -> None:
    (case,) = (case for case in cases.bad() if case.name == name)
    parser = RequestParser()
    parser.feed(case.data)
    request = parser.next_request()
    assert request is not None
    with pytest.raises(HttpError) as caught:
        negotiate(request, [])
    answer = error_response(caught.value)
    assert answer.startswith(b"HTTP/1.1 %d " % case.status)
    assert {*headers, b"Connection: close"} <= set(answer.split(b"\r\n"))


def test_response() -> None:
    start = (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
    )
    assert response(Handshake(ACCEPT, None, None)) == start + b"\r\n"
    assert response(Handshake(ACCEPT, "wsd.v1", None)) == (
        start + b"Sec-WebSocket-Protocol: wsd.v1\r\n\r\n"
    )
    assert response(Handshake(ACCEPT, None, Deflate(9, "permessage-deflate; x=9"))) == (
        start + b"Sec-WebSocket-Extensions: permessage-deflate; x=9\r\n\r\n"
    )


def test_compression_is_agreed_on_only_where_it_is_wanted() -> None:
    parser = RequestParser()
    parser.feed(upgrade({b"Sec-WebSocket-Extensions": b"permessage-deflate"}))
    request = parser.next_request()
    assert request is not None
    assert negotiate(request, []).deflate is None
    agreed = negotiate(request, [], compression=True).deflate
    assert agreed is not None and agreed.answer.startswith("permessage-deflate; ")


def test_hs_20_linear() -> None:
    limits = HttpLimits(header_line=1 << 20, header_total=1 << 20)

    def offer(spaces: int) -> None:
        parser = RequestParser(limits)
        parser.feed(upgrade({b"Sec-WebSocket-Protocol": b"b" + b" " * spaces + b"x"}))
        request = parser.next_request()
        assert request is not None and negotiate(request, ["b", "x"]).subprotocol is None

    assert_linear(offer, 8000)
    assert run([upgrade({b"Sec-WebSocket-Extensions": b"x" + b";a=b" * 2000})]) == [(ACCEPT, None)]


@given(
    st.lists(st.text("abAB13=,; \t\xa0", max_size=12), min_size=5, max_size=5),
    st.integers(0, 31),
)
def test_any_headers_agree_or_are_refused(values: list[str], which: int) -> None:
    names = (b"Upgrade", b"Connection", b"Sec-WebSocket-Version", b"Sec-WebSocket-Key",
             b"Sec-WebSocket-Protocol")  # fmt: skip
    change: dict[bytes, bytes | None] = {
        name: value.encode("latin-1")
        for bit, (name, value) in enumerate(zip(names, values, strict=True))
        if which >> bit & 1
    }
    (outcome,) = run([upgrade(change)])
    assert outcome in ((ACCEPT, None),) or outcome[0] in (400, 426)
