"""Where this client stands in one room.

How nothing is lost or given twice (docs/protocol.md, positions): a room's stored events are
numbered without holes.  The position moves only to the next number.  A lower one is a duplicate; a
higher one proves a hole, and then the room is joined again from the position, instead of giving
what lies behind the hole.
"""

from __future__ import annotations

from typing import Any, Final

from wsd.client.errors import Refused
from wsd.client.events import Gap

REJOIN_EVERY_S: Final = 1.0
"""A hole that the server does not fill would make us ask as fast as the line allows."""


def split_position(position: str) -> tuple[str, int]:
    """(epoch, seq).  Raises ValueError."""
    epoch, _, seq = position.rpartition(".")
    if not epoch or not (seq.isascii() and seq.isdecimal()):
        raise ValueError(f"{position!r} is no position; one is like k3f9x2ab.1234")
    return epoch, int(seq)


class Room:
    """``after`` is the position that the caller brings along, or None for "from now on"."""

    def __init__(self, name: str, after: str | None = None) -> None:
        self.name = name
        self.epoch, self.seq = split_position(after) if after is not None else ("", 0)
        self.given = after
        """The position of the last event that the caller has been given."""
        self.accepted = False
        """The server has let us in before, so it may be asked for in a hello."""
        self.inside = False
        """We are in it on the connection that is open now."""
        self.refusal: Refused | None = None
        self.joining = False
        self.join_at: float | None = None
        """When to join again: there is a hole, or the server told us to wait."""
        self.online = 0
        self.lagging = False
        """Its events are not kept: the caller has left too many lying about."""
        self._head = 0
        self._replay_until = 0
        self._joined_at = float("-inf")
        self._seq_at_ping = -1

    @property
    def position(self) -> str | None:
        return f"{self.epoch}.{self.seq}" if self.epoch else None

    # -- entering

    def entered(self, entry: dict[str, Any], now: float) -> Gap | None:
        """We are in the room: what a ``welcome`` or the answer to ``join`` says of it.

        Raises ValueError for what says no position.
        """
        epoch, head = split_position(str(entry.get("position", "")))
        start = head - int(entry.get("follows") or 0)
        self.accepted = self.inside = True
        self.joining, self.join_at, self.refusal = False, None, None
        self._joined_at = now
        self._seq_at_ping = -1
        self._head = head
        self.online = int(entry.get("online") or 0)
        if epoch == self.epoch and (entry.get("recovered") or start <= self.seq <= head):
            return None
        return self._start(epoch, start, head)

    def _start(self, epoch: str, start: int, head: int) -> Gap | None:
        """What comes next does not follow what we have."""
        had, had_seq, is_same_log = self.position, self.seq, epoch == self.epoch
        self.epoch, self.seq = epoch, start
        # In the same log what lies behind our position is new to us, replay or not.
        self._replay_until = had_seq if is_same_log else head
        if had is None:
            self.given = self.position
            return None
        missed = start - had_seq if is_same_log and start >= had_seq else None
        return Gap(room=self.name, had=had, now=f"{epoch}.{start}", missed=missed)

    def disconnected(self) -> None:
        self.inside = self.joining = False
        self.join_at = None

    # -- events

    def is_next(self, seq: int, now: float) -> bool:
        """Whether an event is to be given; asks for a join if it shows a hole."""
        if not self.epoch or seq <= self.seq:
            return False
        if seq > self.seq + 1:
            self.want_join(now)
            return False
        return True

    def is_replay(self, seq: int) -> bool:
        return seq <= self._replay_until

    def compare_head(self, head: object, now: float) -> None:
        """A ping has told the newest number.  Above our position it is an event that never came;
        while a replay is on its way that is normal, unless nothing of it came since the last
        ping."""
        is_stuck = self.seq >= self._head or self.seq == self._seq_at_ping
        self._seq_at_ping = self.seq
        if isinstance(head, int) and head > self.seq and is_stuck and self.inside:
            self.want_join(now)

    def want_join(self, now: float) -> None:
        """Have the room joined again, at once or when that was done too recently."""
        if not self.joining and self.join_at is None and not self.lagging:
            self.join_at = max(now, self._joined_at + REJOIN_EVERY_S)
