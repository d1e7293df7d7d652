"""When to come back after the connection was lost."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

BASE_S: Final = 0.5
MAX_S: Final = 20.0
GOOD_AFTER_S: Final = 30.0
"""A connection that lived this long starts the back-off anew."""


class Backoff:
    """Full jitter: anywhere between at once and a ceiling that doubles, so that a thousand clients
    that lost the same server spread out.  A server that said goodbye knows better how long it
    needs, and gives a window."""

    def __init__(self, random: Callable[[], float]) -> None:
        self._random = random
        self._attempts = 0
        self._window: tuple[float, float] | None = None

    def told(self, retry_ms: object) -> None:
        """The server's wish for the next return, as a ``bye`` has it."""
        if not isinstance(retry_ms, list) or len(retry_ms) != 2:
            return
        begin, end = retry_ms
        if isinstance(begin, int | float) and isinstance(end, int | float):
            self._window = max(0.0, begin / 1000), max(0.0, begin / 1000, end / 1000)

    def lived(self, seconds: float) -> None:
        """A connection has ended that was good for so long."""
        if seconds >= GOOD_AFTER_S:
            self._attempts = 0

    def delay_s(self) -> float:
        """How long to wait before the next attempt."""
        if self._window is not None:
            begin, end = self._window
            self._window = None
            return begin + self._random() * (end - begin)
        ceiling = min(MAX_S, BASE_S * 2.0 ** min(self._attempts, 16))
        self._attempts += 1
        return self._random() * ceiling
