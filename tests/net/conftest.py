"""A loop whose clock the test sets."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.parts import Clock
from wsd.net.loop import Loop


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def loop(clock: Clock) -> Iterator[Loop]:
    loop = Loop(clock)
    yield loop
    loop.close()
