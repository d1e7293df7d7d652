"""Frames between hub and workers, however the stream is cut."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.parts import draft
from wsd.chat import wire
from wsd.chat.wire import MAX_PACKET, PACKET_BYTES, Reader, WireError, encode

FROM_WORKER: list[wire.FromWorker] = [
    wire.Hello("worker 0"), wire.Subscribe("lobby", -1, 50, 500), wire.Unsubscribe("lobby"),
    wire.Publish(1, draft("hi 😀")), wire.Publish(2, draft(kind="edit", ref=7)),
    wire.Find(3, draft()), wire.Read(4, "lobby", 0, 2**53, 50, True),
    wire.Present("lobby", "u", "Ann", True), wire.Present("lobby", "u", "Ann", False, True),
    wire.Named("u", "Anna", 1_700_000_001),
    wire.Typing("lobby", "u"), wire.Overview(5), wire.People(6, "lobby"),
]  # fmt: skip
FROM_HUB: list[wire.FromHub] = [
    wire.Welcome("abc"), wire.Subscribed("lobby", 3, 1, [(2, b"{}"), (3, b"\xff")], 1, None),
    wire.Subscribed("lobby", 0, 1, [], 1, [("u", "Ann")]), wire.Happened("lobby", 9, b"{}"),
    wire.Done(1, 2, 1700000000.125, True, True), wire.Refused(1, "storage", "no"),
    wire.Rows(1, 1, [(1, b"x")], True), wire.Presence("lobby", 2, [("u", "Ann")], ["v"]),
    wire.Trimmed("lobby", 7), wire.Named("u", "Anna", 1_700_000_001),
    wire.Presence("lobby", 2, [], [], [("u", "Ann")]), wire.Typed("lobby", "u"),
    wire.Answer(1, [{"room": "lobby", "online": 2}]),
]  # fmt: skip


def read(type_: Any, pieces: list[bytes]) -> list[Any]:
    reader = Reader(type_)
    return [frame for piece in pieces for frame in reader.feed(piece)]


@pytest.mark.parametrize(("type_", "frames"), [(wire.FromWorker, FROM_WORKER),
                                               (wire.FromHub, FROM_HUB)])  # fmt: skip
def test_whole_and_byte_by_byte(type_: Any, frames: list[Any]) -> None:
    assert read(type_, [encode(frames)]) == frames
    data = b"".join(encode([frame]) for frame in frames)
    assert read(type_, [data]) == frames
    assert read(type_, [data[i : i + 1] for i in range(len(data))]) == frames


@given(st.lists(st.integers(0, 2000), max_size=10))
def test_cut_anywhere(places: list[int]) -> None:
    data = encode(FROM_HUB[:3]) + encode(FROM_HUB[3:4]) + encode(FROM_HUB[4:])
    cuts = [0, *sorted(place % len(data) for place in places), len(data)]
    assert read(wire.FromHub, [data[a:b] for a, b in pairwise(cuts)]) == FROM_HUB


def test_every_frame_is_tried_here() -> None:
    assert {type(frame) for frame in FROM_WORKER} == set(get_args(wire.FromWorker))
    assert {type(frame) for frame in FROM_HUB} == set(get_args(wire.FromHub))


@pytest.mark.parametrize(
    "data",
    [
        b"\xff\xff\xff\xff",
        (MAX_PACKET + 1).to_bytes(4, "big"),
        b"GET / HTTP/1.1\r\n\r\n",
        b"\0\0\0\0",
        b"\0\0\0\1\xc1",
        b"\0\0\0\3\x91\x91\x63",  # no frame has this number
        b"\0\0\0\2\x91\x01",  # no packet
        encode([wire.Hello("x")])[:-2] + b"\xff\xff",
        encode([wire.Welcome("x")]),  # of the other direction
        (5).to_bytes(4, "big") + msgspec.msgpack.encode([1, 2]) + b"xx",
    ],
)
def test_su_24_garbage(data: bytes) -> None:
    with pytest.raises(WireError):
        read(wire.FromWorker, [data + bytes(64)])


@given(st.binary(max_size=200))
def test_any_bytes_are_frames_or_a_wire_error(data: bytes) -> None:
    try:
        read(wire.FromHub, [data])
    except WireError:
        pass


def test_a_length_is_refused_before_its_bytes_come() -> None:
    reader = Reader(wire.FromHub)
    with pytest.raises(WireError):
        list(reader.feed((1 << 31).to_bytes(4, "big")))


def test_frames_ahead_of_garbage_are_handed_over() -> None:
    reader = Reader(wire.FromHub)
    got = []
    with pytest.raises(WireError):
        for frame in reader.feed(encode([wire.Welcome("a")]) + b"\xff" * 8):
            got.append(frame)
    assert got == [wire.Welcome("a")]


def test_a_large_frame_in_many_pieces_is_linear() -> None:
    frame = wire.Happened("lobby", 1, bytes(4 << 20))
    data = encode([frame])
    assert read(wire.FromHub, [data[i : i + 65536] for i in range(0, len(data), 65536)]) == [frame]


@pytest.mark.parametrize("size", [1000, PACKET_BYTES // 5, PACKET_BYTES * 2])
def test_a_turn_with_much_to_say_says_it_in_several_packets(size: int) -> None:
    frames: list[wire.FromHub] = [
        wire.Happened("lobby", n, bytes(size)) for n in range(1, 3 + 2 * PACKET_BYTES // size)
    ]
    data = encode(frames)
    assert read(wire.FromHub, [data]) == frames
    lengths = []
    while data:
        lengths.append(int.from_bytes(data[:4], "big"))
        data = data[4 + lengths[-1] :]
    assert len(lengths) > 1
    assert max(lengths) <= max(PACKET_BYTES, size + 100)
