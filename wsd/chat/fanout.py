"""The hot path: the same bytes to every live member of a room, with as little as can be beside it.

Going through each member's ``deliver`` and each connection's queue, to the same ``send`` at the end
of the turn, takes 1.25 times the CPU of a loop of ``send``; that takes 1.16 to 1.35 times as much
as the same loop in C, and with a ring it is 0.79 to 0.96 times (measured with ``bench.run lone``).
"""

from __future__ import annotations

import errno
from collections.abc import Mapping
from typing import Generic, Protocol, TypeVar


class Together(Protocol):
    """Sends to many with one call to the kernel (``wsd.net.uring.Ring``)."""

    largest: int
    """Bytes that can be sent like this."""
    fewest: int
    """Sends from which it is cheaper than a ``send`` each."""

    def send(self, fds: list[int], data: bytes) -> list[tuple[int, int]]:
        """Returns (index, how much was taken or the negative errno) where that was not all."""


class Line(Protocol):
    """What a member's bytes leave by, as far as the hot path knows it."""

    clear: bool
    """Nothing waits there: ``send`` may be called at once."""
    fd: int
    """Its descriptor, or 0 where ``send`` does more than hand bytes to the kernel."""

    def send(self, data: bytes) -> int:
        """Raises OSError; returns how much was taken."""

    def keep(self, data: bytes, sent: int) -> None:
        """Queue what was not taken."""

    def abort(self, reason: str) -> None: ...


class NoLine:
    """For members that are never written to past their ``deliver``."""

    clear = False
    fd = 0

    def send(self, data: bytes) -> int:
        return 0

    def keep(self, data: bytes, sent: int) -> None: ...

    def abort(self, reason: str) -> None: ...


NO_LINE = NoLine()


class Taker(Protocol):
    def deliver(self, data: bytes) -> bool:
        """Queue ``data``; False, and nothing is queued, if too much waits already."""


T = TypeVar("T", bound=Taker)


class Fanout(Generic[T]):
    """``slow`` are those who did not take it, ``broken`` the lines of those who are gone."""

    def __init__(self, together: Together | None) -> None:
        self._together = together
        self.slow: list[T] = []
        self.broken: list[Line] = []

    def send(self, members: Mapping[T, Line], data: bytes) -> None:
        together = self._together
        if (
            together is not None
            and len(members) >= together.fewest
            and len(data) <= together.largest
        ):
            members = self._send_together(together, members, data)
        size = len(data)
        for member, line in members.items():
            if not line.clear:
                if not member.deliver(data):
                    self.slow.append(member)
                continue
            try:
                sent = line.send(data)
            except BlockingIOError:
                sent = 0
            except OSError:
                self.broken.append(line)
                continue
            if sent != size:
                line.keep(data, sent)

    def _send_together(
        self, together: Together, members: Mapping[T, Line], data: bytes
    ) -> Mapping[T, Line]:
        """Returns the members for whom that is not possible."""
        lines = [line for line in members.values() if line.clear and line.fd]
        for index, sent in together.send([line.fd for line in lines], data):
            if sent >= 0 or sent == -errno.EAGAIN:
                lines[index].keep(data, max(sent, 0))
            else:
                self.broken.append(lines[index])
        if len(lines) == len(members):
            return {}
        served = set(lines)
        return {member: line for member, line in members.items() if line not in served}
