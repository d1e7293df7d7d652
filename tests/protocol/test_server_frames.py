"""What a client makes of a server's frames, which have no mask (RFC 6455 section 5.1)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wsd.protocol.frames import (
    FrameReader,
    Opcode,
    ProtocolError,
    UnmaskedReader,
    close_payload,
    encode,
    encode_close,
    encode_masked,
    encode_text,
)
from wsd.protocol.session import Closed, Failed, Message, Ping, Session

from .helpers import assert_linear, bytewise, check, cut, cuts

MASK = bytes.fromhex("37fa213d")
LIMIT = 70_000
CANARY = encode_text(b"canary")
SERVED = (True, 1, b"canary")


def run(pieces: Sequence[bytes], reader: FrameReader | None = None) -> list[Any]:
    """(fin, opcode, payload) of each frame, (code, reason) of an error, which is the last."""
    reader = UnmaskedReader(LIMIT) if reader is None else reader
    outcomes: list[Any] = []
    for piece in pieces:
        reader.feed(piece)
        try:
            while (frame := reader.next_frame()) is not None:
                assert not frame.compressed
                outcomes.append(tuple(frame[:3]))
        except ProtocolError as error:
            return [*outcomes, (error.code, error.reason)]
    return outcomes


def events(pieces: Sequence[bytes]) -> list[Any]:
    session = Session(1000, 16, masked=False)
    found: list[Any] = []
    for piece in pieces:
        session.receive(piece)
        while (event := session.next_event()) is not None:
            found.append(event)
    return found


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65_535, 65_536, LIMIT])
@pytest.mark.parametrize(("opcode", "fin"), [(0, True), (1, True), (1, False), (2, True)])
def test_data_frames(opcode: int, fin: bool, size: int) -> None:
    data = encode(opcode, b"x" * size, fin)
    expected = [(fin, opcode, b"x" * size)]
    if size < 1000:
        check(run, data, expected, CANARY, [SERVED])
    else:
        for pieces in ([data + CANARY], cut(data + CANARY, range(0, size, 5000))):
            assert run(pieces) == [*expected, SERVED]


@pytest.mark.parametrize(("data", "code", "reason"), [
    (encode_masked(1, b"hi", MASK), 1002, "masked"),
    (encode_masked(9, b"", MASK), 1002, "masked"),
    (b"\x83\x00", 1002, "bad_opcode"),
    (b"\xc1\x00", 1002, "reserved_bits"),
    (b"\x09\x00", 1002, "fragmented_control"),
    (b"\x89\x7e\x00\x7e", 1002, "control_too_long"),
    (b"\x81\x7e\x00\x7d", 1002, "length_not_minimal"),
    (b"\x81\x7f" + b"\xff" * 8, 1002, "length_too_large"),
    (b"\x82\x7f" + (LIMIT + 1).to_bytes(8, "big"), 1009, "message_too_big"),
])  # fmt: skip
def test_refused(data: bytes, code: int, reason: str) -> None:
    check(run, data, [(code, reason)], CANARY)
    check(run, CANARY + data, [SERVED, (code, reason)], CANARY)


@pytest.mark.parametrize(
    "data", [b"", b"\x81", b"\x81\x7e", b"\x81\x7e\x00", b"\x81\x7f" + bytes(7), CANARY[:-1]]
)
def test_not_yet(data: bytes) -> None:
    check(run, data, [])


def test_begun() -> None:
    reader = UnmaskedReader(1000)
    for at, byte in enumerate(bytewise(encode_text(bytes(range(200)))[:-1]), 1):
        reader.feed(byte)
        assert reader.next_frame() is None
        assert reader.begun == (None if at < 4 else Opcode.TEXT)
        for skip in range(at - 4):
            assert reader.begun_payload(skip) == bytes(range(skip, at - 4))


@pytest.mark.parametrize(("data", "expected"), [
    (encode_text("κόσμε".encode()), [Message(1, "κόσμε".encode())]),
    (encode(1, b"\xe2\x82", fin=False) + encode(9, b"p") + encode(0, b"\xac"),
     [Ping(b"p"), Message(1, "€".encode())]),
    (encode_close(1012, "restart"), [Closed(1012, "restart", encode_close(1012))]),
    (encode_close(None), [Closed(1005, "", encode_close(None))]),
    (encode_masked(1, b"a", MASK), [Failed(1002, "masked", encode_close(1002, "masked"))]),
    (encode_text(b"\xed\xa0"),
     [Failed(1007, "invalid_utf8", encode_close(1007, "invalid_utf8"))]),
])  # fmt: skip
def test_events(data: bytes, expected: list[Any]) -> None:
    check(events, data, expected)


def test_bad_text_fails_before_its_frame_is_complete() -> None:
    (failed,) = events([encode_text(b"ok \xff and more")[:-5]])
    assert isinstance(failed, Failed) and failed.reason == "invalid_utf8"


def test_what_a_close_says() -> None:
    assert encode_masked(8, close_payload(1000, "done"), MASK)[2:6] == MASK
    assert encode(8, close_payload(1000, "done")) == encode_close(1000, "done")
    assert close_payload(None) == b""


Parts = list[tuple[int, bytes, bool]]
parts = st.lists(
    st.tuples(st.sampled_from([0, 1, 2, 9]), st.binary(max_size=120), st.just(True))
    | st.tuples(st.sampled_from([0, 1, 2]), st.binary(max_size=300), st.booleans()),
    max_size=6,
)


@settings(deadline=None)
@given(parts, cuts)
def test_a_mask_makes_no_other_difference(parts: Parts, at: list[int]) -> None:
    """The same frames, told by a client and by a server, however they are cut."""
    masked = b"".join(encode_masked(opcode, data, MASK, fin) for opcode, data, fin in parts)
    plain = b"".join(encode(opcode, data, fin) for opcode, data, fin in parts)
    expected = run([masked], FrameReader(LIMIT))
    assert run([plain]) == run(cut(plain, at)) == run(bytewise(plain)) == expected


def test_linear() -> None:
    assert_linear(lambda n: run(bytewise(encode(2, bytes(n))), UnmaskedReader(1 << 30)), 1 << 13)
