"""A loop whose clock the test sets."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.parts import Clock
from wsd.net.loop import Loop
from wsd.net.uring import Ring


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def loop(clock: Clock) -> Iterator[Loop]:
    loop = Loop(clock)
    yield loop
    loop.close()


@pytest.fixture
def ring() -> Iterator[Ring]:
    ring = Ring.open()
    if ring is None:
        pytest.skip("this kernel has no io_uring, or forbids it")
    yield ring
    ring.close()
