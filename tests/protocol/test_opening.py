"""The opening handshake as the client sees it, byte for byte and against the server's half."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsd.protocol.frames import ProtocolError, encode_text
from wsd.protocol.handshake import negotiate, response
from wsd.protocol.http import HttpError, RequestParser, error_response
from wsd.protocol.opening import MAX_HEAD_BYTES, Opening

from .helpers import assert_linear, bytewise, check, cut, cuts

KEY = b"the sample nonce"  # of RFC 6455, 1.3
ACCEPT = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
USUAL = {
    b"Upgrade": b"websocket",
    b"Connection": b"Upgrade",
    b"Sec-WebSocket-Accept": ACCEPT,
    b"Sec-WebSocket-Protocol": b"wsd.v1",
}
EARLY = encode_text(b"early")


def accepted(
    change: dict[bytes, bytes | None] | None = None,
    start: bytes = b"HTTP/1.1 101 Switching Protocols",
) -> bytes:
    """The usual answer with some headers changed, added, or left out (None)."""
    headers = {**USUAL, **(change or {})}
    lines = [name + b": " + value for name, value in headers.items() if value is not None]
    return b"\r\n".join([start, *lines, b"", b""])


def run(pieces: Sequence[bytes]) -> list[Any]:
    """The status and what came behind the head, or (code, reason) of an error."""
    opening = Opening(KEY, "wsd.v1")
    outcomes: list[Any] = []
    rest = b""
    for piece in pieces:
        if outcomes:
            rest += piece
            continue
        opening.receive(piece)
        try:
            answer = opening.answer()
        except ProtocolError as error:
            return [(error.code, error.reason)]
        if answer is not None:
            outcomes.append(answer.status)
            rest = answer.rest
    return [*outcomes, rest] if rest else outcomes


def test_the_request() -> None:
    assert Opening(KEY, "wsd.v1").request("chat.example:8002", "/chat?a=b", "wsd/1") == (
        b"GET /chat?a=b HTTP/1.1\r\nHost: chat.example:8002\r\nUser-Agent: wsd/1\r\n"
        b"Upgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: wsd.v1\r\n\r\n"
    )
    with pytest.raises(UnicodeEncodeError):
        Opening(KEY, "wsd.v1").request("chat.exämple", "/chat", "wsd/1")


def test_both_halves_agree() -> None:
    opening = Opening(KEY, "wsd.v1")
    parser = RequestParser()
    parser.feed(opening.request("a", "/chat", "wsd/1"))
    request = parser.next_request()
    assert request is not None
    opening.receive(response(negotiate(request, ["wsd.v1"])) + EARLY)
    answer = opening.answer()
    assert answer is not None
    assert (answer.status, answer.rest) == (101, EARLY)


@pytest.mark.parametrize("data", [
    accepted(),
    accepted({b"Upgrade": b"WebSocket", b"Connection": b"keep-alive, upgrade"}),
    accepted({b"Server": b"\xe4 \t!", b"X-Empty": b""}),
    accepted(start=b"HTTP/1.0 101 "), accepted(start=b"HTTP/1.1 101"),
    accepted({b"Connection": b"x\r\nConnection:upgrade"}),
    accepted({b"Sec-WebSocket-Extensions": b""}),
])  # fmt: skip
def test_opened(data: bytes) -> None:
    check(run, data, [101], EARLY, [EARLY])


@pytest.mark.parametrize(("data", "reason"), [
    (accepted({b"Upgrade": None}), "not_upgraded"),
    (accepted({b"Upgrade": b"websocket13"}), "not_upgraded"),
    (accepted({b"Connection": None}), "not_upgraded"),
    (accepted({b"Sec-WebSocket-Accept": None}), "bad_accept"),
    (accepted({b"Sec-WebSocket-Accept": ACCEPT.lower()}), "bad_accept"),
    (accepted({b"sec-websocket-accept": ACCEPT}), "bad_accept"),  # twice
    (accepted({b"Sec-WebSocket-Protocol": None}), "bad_subprotocol"),
    (accepted({b"Sec-WebSocket-Protocol": b"WSD.v1"}), "bad_subprotocol"),
    (accepted({b"Sec-WebSocket-Extensions": b"permessage-deflate"}), "unasked_extension"),
    (accepted({b"Bad Name": b"x"}), "bad_response"),
    (accepted({b"Bad": b"\0"}), "bad_response"),
    (accepted({b"Folded": b"a\r\n b"}), "bad_response"),
    (accepted(start=b"HTTP/2 101 x"), "bad_response"),
    (accepted(start=b"HTTP/1.1 1011"), "bad_response"),
    (accepted(start=b"HTTP/1.1 600"), "bad_response"),
    (b"SSH-2.0-OpenSSH_9.6\r\n\r\n", "bad_response"),
    (accepted({b"Long": b"x" * MAX_HEAD_BYTES}), "response_too_long"),
    (b"x" * (MAX_HEAD_BYTES + 4), "response_too_long"),
])  # fmt: skip
def test_failed(data: bytes, reason: str) -> None:
    check(run, data, [(1002, reason)])


@pytest.mark.parametrize("data", [b"", b"\r\n", b"HTTP/1.1 101 x\r\n\r", accepted()[:-1]])
def test_not_yet(data: bytes) -> None:
    check(run, data, [])


def test_a_refusal_keeps_its_headers_and_body() -> None:
    opening = Opening(KEY, "wsd.v1")
    opening.receive(error_response(HttpError(426, "upgrade_required", "WebSocket only.")))
    answer = opening.answer()
    assert answer is not None
    assert answer.status == 426
    assert answer.headers["content-length"] == str(len(answer.rest))
    assert b'"upgrade_required"' in answer.rest


@given(st.binary(max_size=300) | st.just(accepted() + EARLY), cuts)
def test_cutting_changes_nothing(data: bytes, at: list[int]) -> None:
    whole = run([data])
    assert run(cut(data, at)) == whole
    assert run(bytewise(data)) == whole


def test_linear() -> None:
    assert_linear(lambda n: run(bytewise(b"x" * n)), 1 << 11, factor=7)
