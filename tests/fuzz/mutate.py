"""Inputs made out of other inputs, the same ones for the same seed."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence

from tests.corpus import cases

HTTP_SCRAPS = (
    b"\r\n", b"\r", b"\n", b" ", b"\t", b":", b",", b";", b"\0", b"\x85", b"\xa0", b"\xff", b"%",
    b"/", b"+", b"-", b"_", b"0", b"1", b"10", b"ffffffff", b"GET / HTTP/1.1\r\n", b" HTTP/1.0",
    b"Host: a\r\n", b"Content-Length: 3\r\n", b"Content-Length: 0\r\n",
    b"Transfer-Encoding: chunked\r\n", b"Expect: 100-continue\r\n", b"Connection: close\r\n",
    b"Upgrade: websocket\r\n", b"\r\n\r\n", b"3\r\nabc\r\n", b"0\r\n\r\n", b"chunked", b"identity",
    b"http://a/", b"//", b"?a=b&", b"a" * 30,
)  # fmt: skip

FRAME_SCRAPS = (
    b"\x81\x80abcd", b"\x01\x80abcd", b"\x00\x80abcd", b"\x80\x80abcd", b"\x89\x80abcd",
    b"\x88\x82\0\0\0\0\x03\xe8", b"\xfe\x00\x7e", b"\xff\0\0\0\0\0\1\0\0", b"\xff\x7f\xff\xff\xff",
    b"\xc1\x80abcd", b"\xed\xa0", b"\xf0\x9f\x92", b"\0\0\0\0", b"\x7f", b"\x80", b"\xff",
    b"\x00\x00\xff\xff", b"a" * 30,
)  # fmt: skip


def http_seeds() -> list[bytes]:
    """The short ones of the corpus; good ones more often, or hardly any would be accepted."""
    return [case.data for case in (*cases.good() * 3, *cases.bad()) if len(case.data) < 600]


def mutations(
    seed: int, seeds: Sequence[bytes], scraps: Sequence[bytes], most: int = 5
) -> Iterator[bytes]:
    """For ever: one of `seeds` with up to `most` changes."""
    rng = random.Random(seed)
    while True:
        data = bytearray(rng.choice(seeds))
        for _ in range(rng.randint(1, most)):
            rng.choice(_CHANGES)(rng, data, rng.choice(scraps), rng.choice(seeds))
        yield bytes(data)


def _insert(rng: random.Random, data: bytearray, scrap: bytes, _: bytes) -> None:
    at = rng.randint(0, len(data))
    data[at:at] = scrap


def _replace(rng: random.Random, data: bytearray, scrap: bytes, _: bytes) -> None:
    at = rng.randint(0, len(data))
    data[at : at + len(scrap)] = scrap


def _cut(rng: random.Random, data: bytearray, *_: bytes) -> None:
    at = rng.randint(0, len(data))
    del data[at : at + rng.choice((1, 1, 2, 5, 20))]


def _flip(rng: random.Random, data: bytearray, *_: bytes) -> None:
    if data:
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def _set(rng: random.Random, data: bytearray, *_: bytes) -> None:
    if data:
        data[rng.randrange(len(data))] = rng.randrange(256)


def _repeat(rng: random.Random, data: bytearray, *_: bytes) -> None:
    start = rng.randint(0, len(data))
    piece = data[start : start + rng.choice((1, 4, 16, 64))]
    at = rng.randint(0, len(data))
    data[at:at] = piece * rng.choice((1, 1, 2, 7))


def _repeat_line(rng: random.Random, data: bytearray, *_: bytes) -> None:
    lines = bytes(data).splitlines(keepends=True)
    if lines:
        lines.insert(rng.randint(0, len(lines)), rng.choice(lines))
        data[:] = b"".join(lines)


def _cross(rng: random.Random, data: bytearray, _: bytes, other: bytes) -> None:
    data[rng.randint(0, len(data)) :] = other[rng.randint(0, len(other)) :]


_Change = Callable[[random.Random, bytearray, bytes, bytes], None]
_CHANGES: tuple[_Change, ...] = (
    _insert, _insert, _replace, _cut, _flip, _set, _repeat, _repeat_line, _cross,
)  # fmt: skip
