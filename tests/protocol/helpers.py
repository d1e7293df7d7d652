"""How every protocol case is run: whole, byte by byte, and with something behind it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from time import process_time
from typing import Any

from hypothesis import strategies as st

Run = Callable[[Sequence[bytes]], list[Any]]


def check(
    run: Run, data: bytes, expected: Sequence[Any], trailing: bytes = b"", after: Sequence[Any] = ()
) -> None:
    """`run` makes outcomes out of pieces; `after` are those of `trailing`, sent behind `data`."""
    expected, both = list(expected), [*expected, *after]
    assert run([data]) == expected
    assert run(bytewise(data)) == expected
    if trailing:
        assert run([data + trailing]) == both
        assert run([data, trailing]) == both
        assert run(bytewise(data + trailing)) == both


def bytewise(data: bytes) -> list[bytes]:
    return [data[at : at + 1] for at in range(len(data))]


def cut(data: bytes, at: Sequence[int]) -> list[bytes]:
    """`data` in pieces, cut at these positions (taken modulo its length)."""
    places = sorted({place % len(data) for place in at} | {0, len(data)}) if data else []
    return [data[start:end] for start, end in pairwise(places)]


cuts = st.lists(st.integers(0, 10_000), max_size=8)


def assert_linear(work: Callable[[int], object], small: int, factor: int = 8) -> None:
    """`factor` times the input may take 3 times `factor` as long; quadratic work takes more."""

    def seconds(size: int) -> float:
        started = process_time()
        work(size)
        return process_time() - started

    little = max(min(seconds(small) for _ in range(3)), 0.0005)
    ratio = min(seconds(small * factor) for _ in range(2)) / little
    assert ratio < 3 * factor, f"{factor} times the input took {ratio:.1f} times as long"
