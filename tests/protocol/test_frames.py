"""Frames, byte for byte (RELIABILITY 4.2, WS-10 to WS-37)."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wsd.protocol.frames import (
    CloseCode,
    Frame,
    FrameReader,
    Opcode,
    ProtocolError,
    encode,
    encode_close,
    encode_masked,
    encode_text,
    mask_bytes,
    may_be_sent,
)

from .helpers import assert_linear, bytewise, check, cut, cuts

MASK = bytes.fromhex("37fa213d")
NO_MASK = bytes(4)
CANARY = encode_masked(1, b"canary", MASK)
SERVED = (True, 1, b"canary")
LIMIT = 70_000


def run(pieces: Sequence[bytes], limit: int = LIMIT) -> list[Any]:
    """(fin, opcode, payload) of each frame, (code, reason) of an error, which is the last."""
    reader = FrameReader(limit)
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


def hexed(text: str) -> bytes:
    return bytes.fromhex(text)


REFUSED: list[tuple[str, bytes, int, str]] = [
    ("WS-10", hexed("81 05 48656c6c6f"), 1002, "not_masked"),
    ("WS-10 ping", hexed("89 00"), 1002, "not_masked"),
    *((f"WS-11 {fin | opcode:02x}", bytes((fin | opcode, 0x80)) + MASK, 1002, "bad_opcode")
      for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15) for fin in (0, 0x80)),
    *((f"WS-12 {first:02x}", bytes((first, 0x80)) + MASK, 1002, "reserved_bits")
      for first in (0xC1, 0xA1, 0x91, 0xF1, 0xC9, 0xC0, 0xC3)),
    ("WS-13 long ping", hexed("89 fe 007e"), 1002, "control_too_long"),
    ("WS-13 long close", hexed("88 ff 0000000000000001"), 1002, "control_too_long"),
    ("WS-13 ping", hexed("09 80") + MASK, 1002, "fragmented_control"),
    ("WS-13 close", hexed("08 80") + MASK, 1002, "fragmented_control"),
    ("WS-14 16 bit", hexed("81 fe 0005"), 1002, "length_not_minimal"),
    ("WS-14 125", hexed("81 fe 007d"), 1002, "length_not_minimal"),
    ("WS-14 64 bit", hexed("81 ff 000000000000ffff"), 1002, "length_not_minimal"),
    ("WS-20 2^63", hexed("81 ff 8000000000000000"), 1002, "length_too_large"),
    ("WS-20 all", hexed("82 ff ffffffffffffffff"), 1002, "length_too_large"),
    ("WS-21 2^63-1", hexed("81 ff 7fffffffffffffff"), 1009, "message_too_big"),
    ("WS-21 2^32", hexed("81 ff 0000000100000000"), 1009, "message_too_big"),
    ("WS-21 2^31", hexed("81 ff 0000000080000000"), 1009, "message_too_big"),
    ("WS-21 max+1", hexed("81 ff 0000000000011171"), 1009, "message_too_big"),
]  # fmt: skip


@pytest.mark.parametrize(("data", "code", "reason"), [case[1:] for case in REFUSED],
                         ids=[case[0] for case in REFUSED])  # fmt: skip
def test_refused(data: bytes, code: int, reason: str) -> None:
    check(run, data, [(code, reason)], CANARY)
    check(run, CANARY + data, [SERVED, (code, reason)], CANARY)


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65_535, 65_536, LIMIT])
@pytest.mark.parametrize("fin", [True, False])
@pytest.mark.parametrize("opcode", [0, 1, 2])
def test_data_frames(opcode: int, fin: bool, size: int) -> None:
    payload = random.Random(size).randbytes(size)
    data = encode_masked(opcode, payload, MASK, fin)
    if size < 1000:
        check(run, data, [(fin, opcode, payload)], CANARY, [SERVED])
    else:
        for pieces in ([data + CANARY], cut(data + CANARY, range(0, size, 5000))):
            assert run(pieces) == [(fin, opcode, payload), SERVED]


@pytest.mark.parametrize("opcode", [8, 9, 10])
def test_control_frames(opcode: int) -> None:
    for size in (0, 1, 125):
        data = encode_masked(opcode, b"x" * size, MASK)
        check(run, data, [(True, opcode, b"x" * size)], CANARY, [SERVED])


def test_the_sample_frames_of_the_rfc() -> None:
    assert run([hexed("81 85 37fa213d 7f9f4d5158")]) == [(True, 1, b"Hello")]
    assert run([hexed("8a 85 37fa213d 7f9f4d5158")]) == [(True, 10, b"Hello")]
    assert encode(Opcode.TEXT, b"Hello") == encode_text(b"Hello") == hexed("81 05 48656c6c6f")
    assert encode(1, b"Hel", fin=False) == hexed("01 03 48656c")
    assert encode(0, b"lo") == hexed("80 02 6c6f")
    assert encode(9, b"Hello") == hexed("89 05 48656c6c6f")


@pytest.mark.parametrize(
    "data",
    [b"", b"\x81", b"\x81\xfe", b"\x81\xfe\x00", b"\x81\xff" + bytes(7)]
    + [CANARY[:size] for size in (2, 5, len(CANARY) - 1)],
)
def test_not_yet(data: bytes) -> None:
    check(run, data, [])


def test_frame_fields() -> None:
    reader = FrameReader(10)
    reader.feed(CANARY)
    frame = reader.next_frame()
    assert frame == Frame(True, Opcode.TEXT, b"canary")
    assert isinstance(frame, Frame) and isinstance(frame.payload, bytes) and frame.fin is True


def test_ws_21_the_header_alone_decides() -> None:
    for data, need in ((hexed("82 8b"), 2), (hexed("82 fe 0400"), 4), (hexed("82 ff") + bytes(2)
                       + hexed("000000010000"), 10)):  # fmt: skip
        reader = FrameReader(10)
        for byte in bytewise(data[: need - 1]):
            reader.feed(byte)
            assert reader.next_frame() is None
        reader.feed(data[need - 1 :])
        with pytest.raises(ProtocolError) as caught:
            reader.next_frame()
        assert (caught.value.code, caught.value.reason) == (1009, "message_too_big")


def test_the_bound_may_change_and_spares_control_frames() -> None:
    reader = FrameReader(6)
    reader.feed(CANARY * 2 + encode_masked(9, b"ping", MASK) + encode_masked(0, b"", MASK))
    assert reader.next_frame() == Frame(*SERVED)
    reader.max_payload = 6
    assert reader.next_frame() == Frame(*SERVED)
    reader.max_payload = 0
    assert reader.next_frame() == Frame(True, 9, b"ping")
    assert reader.next_frame() == Frame(True, 0, b"")
    reader.feed(CANARY)
    with pytest.raises(ProtocolError):
        reader.next_frame()


def test_begun() -> None:
    reader = FrameReader(1000)
    data = encode_masked(1, bytes(range(200)), MASK)
    for at, byte in enumerate(bytewise(data[:-1]), 1):
        reader.feed(byte)
        assert reader.next_frame() is None
        assert reader.begun == (None if at < 4 else Opcode.TEXT)
        if at >= 4:
            for skip in range(min(at - 8, 6) + 1):
                assert reader.begun_payload(skip) == bytes(range(skip, max(at - 8, 0)))
    reader.clear()
    reader.feed(b"")
    assert reader.next_frame() is None


def test_ws_28_many_frames_in_one_piece() -> None:
    frames = [encode_masked(1, b"%d" % n, MASK) for n in range(100)]
    assert run([b"".join(frames)]) == [(True, 1, b"%d" % n) for n in range(100)]
    whole = b"".join(frames)
    for at in range(1, 200):  # a frame that a read leaves unfinished, then more reads
        assert run([whole[:at], whole[at : at + 9], whole[at + 9 :]]) == run([whole])


# -- masking and encoding --------------------------------------------------------------------


def slow_mask(payload: bytes, mask: bytes) -> bytes:
    return bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))


def test_ws_37_masking() -> None:
    rng = random.Random(37)
    sizes = [*range(301), *range(4090, 4103), *range(65_533, 65_540)]
    for size in sizes:
        for mask in [NO_MASK, b"\xff" * 4, *(rng.randbytes(4) for _ in range(3))]:
            payload = rng.randbytes(size)
            masked = mask_bytes(payload, mask)
            assert masked == slow_mask(payload, mask) and type(masked) is bytes
            assert mask_bytes(bytearray(payload), bytearray(mask)) == masked


@given(st.binary(max_size=600), st.binary(min_size=4, max_size=4))
def test_masking_twice_is_nothing(payload: bytes, mask: bytes) -> None:
    assert mask_bytes(mask_bytes(payload, mask), mask) == payload


@pytest.mark.parametrize(("size", "header"), [
    (0, "81 00"), (125, "81 7d"), (126, "81 7e 007e"), (65_535, "81 7e ffff"),
    (65_536, "81 7f 0000000000010000"),
])  # fmt: skip
def test_encoded_lengths(size: int, header: str) -> None:
    payload = b"x" * size
    assert encode_text(payload) == encode(1, payload) == hexed(header) + payload
    masked = bytearray(hexed(header))
    masked[1] |= 0x80
    assert encode_masked(1, payload, NO_MASK) == bytes(masked) + NO_MASK + payload


def test_bad_control_frames_are_not_encoded() -> None:
    for bad in ((9, b"x" * 126), (8, b"", False)):
        with pytest.raises(ValueError, match="control frame"):
            encode(*bad)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="control frame"):
            encode_masked(bad[0], bad[1], MASK, *bad[2:])  # type: ignore[arg-type]


def test_encode_close() -> None:
    assert encode_close(None) == hexed("88 00")
    assert encode_close(CloseCode.NORMAL) == hexed("88 02 03e8")
    assert encode_close(1001, "bye") == hexed("88 05 03e9") + b"bye"
    assert encode_close(1000, "x" * 124) == hexed("88 7d 03e8") + b"x" * 123
    assert encode_close(1000, "ä" * 62) == hexed("88 7c 03e8") + "ä".encode() * 61
    assert encode_close(4000, "\ud800") == hexed("88 03 0fa0") + b"?"
    for code in (0, 999, 1004, 1005, 1006, 1015, 2999, 5000, 70_000):
        with pytest.raises(ValueError, match="must not be sent"):
            encode_close(code)


def test_ws_23_24_codes() -> None:
    allowed = {*range(1000, 1004), *range(1007, 1015), *range(3000, 5000)}
    assert {code for code in range(65_536) if may_be_sent(code)} == allowed


# -- any bytes -------------------------------------------------------------------------------

frames = st.builds(
    encode_masked,
    st.sampled_from([0, 1, 2]),
    st.binary(max_size=140),
    st.binary(min_size=4, max_size=4),
    st.booleans(),
)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(frames | st.binary(max_size=12), max_size=6), cuts, st.sampled_from([10, 130, LIMIT])
)
def test_cutting_changes_nothing(parts: list[bytes], at: list[int], limit: int) -> None:
    data = b"".join(parts)
    whole = run([data], limit)
    assert run(cut(data, at), limit) == whole
    assert run(bytewise(data), limit) == whole


@given(frames, st.integers(0, 300), st.integers(0, 255))
def test_ws_35_one_byte_changed(frame: bytes, at: int, value: int) -> None:
    changed = bytearray(frame)
    changed[at % len(frame)] = value
    for outcome in run([bytes(changed)]):
        assert len(outcome) == 3 or outcome[0] in (1002, 1009)


def test_ws_32_linear() -> None:
    def trickle(size: int) -> None:
        data = encode_masked(2, bytes(size), MASK)
        assert len(run(bytewise(data), 1 << 30)) == 1

    def collect(size: int) -> None:  # only feeding, so that copying would show
        reader = FrameReader(1 << 30)
        for byte in bytewise(encode_masked(2, bytes(size), MASK)):
            reader.feed(byte)
        frame = reader.next_frame()
        assert frame is not None and len(frame.payload) == size

    def many(count: int) -> None:
        data = encode_masked(1, b"hello", MASK) * count
        assert len(run([data[:5], data[5:]])) == count

    assert_linear(trickle, 1 << 13)
    assert_linear(collect, 1 << 16)
    assert_linear(many, 4000)
