"""The event loop of one process: readiness, timers, signals, and the work that ends a turn.

A turn is: wait, run the callbacks of what became ready, run the timers that are due, then the
``at_turn_end`` callbacks in the order in which they were added.  Whatever a turn produced
leaves the process there, with one ``send`` for each connection that was touched.
"""

from __future__ import annotations

import heapq
import itertools
import selectors
import signal
import socket
import time
from collections.abc import Callable
from typing import Protocol

READ = selectors.EVENT_READ
WRITE = selectors.EVENT_WRITE

# Without a timer the loop still looks up now and then: a lost wake-up costs a second, no more.
MAX_WAIT_S = 1.0


class HasFileno(Protocol):
    def fileno(self) -> int: ...


class Timer:
    """A callback that waits for its time; ``cancel`` may be called at any moment, twice too."""

    __slots__ = ("callback", "when")

    def __init__(self, when: float, callback: Callable[[], None]) -> None:
        self.when = when
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        self.callback = None


class Loop:
    """``clock`` returns monotonic seconds; tests pass one that they can set."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.now = clock()
        self.at_turn_end: list[Callable[[], None]] = []
        self._selector = selectors.DefaultSelector()
        self._timers: list[tuple[float, int, Timer]] = []
        self._order = itertools.count()
        self._signals: dict[int, Callable[[], None]] = {}
        self._wakeup: tuple[socket.socket, socket.socket] | None = None
        self._running = False

    # -- readiness

    def add(self, file: HasFileno | int, events: int, callback: Callable[[int], None]) -> None:
        """Call ``callback(mask)`` whenever ``file`` is ready.

        A callback may be called once more in the turn in which its file was removed, since the
        kernel had reported it before; it must look at its own state first.
        """
        self._selector.register(file, events, callback)

    def modify(self, file: HasFileno | int, events: int, callback: Callable[[int], None]) -> None:
        self._selector.modify(file, events, callback)

    def remove(self, file: HasFileno | int) -> None:
        self._selector.unregister(file)

    # -- time

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> Timer:
        timer = Timer(self.clock() + delay_s, callback)
        heapq.heappush(self._timers, (timer.when, next(self._order), timer))
        return timer

    def every(self, period_s: float, callback: Callable[[], None]) -> None:
        """Call back every ``period_s`` for as long as the loop runs.

        After a pause of the process the missed calls are left out, not made up for.
        """

        def again() -> None:
            self.call_later(period_s, again)
            callback()

        self.call_later(period_s, again)

    def _run_timers(self) -> None:
        timers = self._timers
        while timers and timers[0][0] <= self.now:
            timer = heapq.heappop(timers)[2]
            if timer.callback is not None:
                callback, timer.callback = timer.callback, None
                callback()

    def _wait_s(self) -> float:
        while self._timers and self._timers[0][2].callback is None:
            heapq.heappop(self._timers)
        if not self._timers:
            return MAX_WAIT_S
        return min(MAX_WAIT_S, max(0.0, self._timers[0][0] - self.clock()))

    # -- signals

    def on_signal(self, signum: int, callback: Callable[[], None]) -> None:
        """Queue ``signum`` and call back from the loop.  The handler itself does nothing."""
        if self._wakeup is None:
            self._wakeup = socket.socketpair()
            for end in self._wakeup:
                end.setblocking(False)
            signal.set_wakeup_fd(self._wakeup[1].fileno(), warn_on_full_buffer=False)
            self.add(self._wakeup[0], READ, self._on_wakeup)
        self._signals[signum] = callback
        signal.signal(signum, lambda *_: None)

    def _on_wakeup(self, _mask: int) -> None:
        assert self._wakeup is not None
        try:
            received = self._wakeup[0].recv(4096)
        except BlockingIOError:
            return
        for signum in dict.fromkeys(received):  # a burst of one signal counts once
            callback = self._signals.get(signum)
            if callback is not None:
                callback()

    # -- running

    def run(self) -> None:
        self._running = True
        while self._running:
            self.turn(self._wait_s())

    def stop(self) -> None:
        """Leave ``run`` at the end of this turn."""
        self._running = False

    def turn(self, timeout_s: float = 0.0) -> None:
        ready = self._selector.select(timeout_s)
        self.now = self.clock()
        for key, mask in ready:
            key.data(mask)
        self._run_timers()
        for callback in self.at_turn_end:
            callback()

    def close(self) -> None:
        self._selector.close()
        if self._wakeup is not None:
            signal.set_wakeup_fd(-1)
            for end in self._wakeup:
                end.close()
            self._wakeup = None
