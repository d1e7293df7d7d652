"""One room at one worker: who is in it, and the ring of its recent events.

A member is *live* (it has everything up to the room's head) or *behind* (a position is kept, and
it is fed from the ring or the log until it has caught up).  Slow readers fall behind instead of
filling memory.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import msgspec

from wsd.chat import event as events
from wsd.chat.event import Delete, Edit, Encoding, Event, Message
from wsd.chat.fanout import Fanout, Line, Together
from wsd.chat.guests import Guest
from wsd.reasons import Reason

RING_SPARE = 256
"""Events that a ring holds beyond what one recovery may need."""

SHARED_CHUNKS = 16
"""Joined events that a room keeps for the next one who asks for the same."""

_MESSAGE = b'{"type":"message"'


class Member(Protocol):
    """One connection of a guest, as a room sees it."""

    @property
    def guest(self) -> Guest:
        """Who is there; NOBODY for somebody who only watches and is not counted."""

    @property
    def encoding(self) -> Encoding: ...

    @property
    def line(self) -> Line: ...

    def deliver(self, data: bytes) -> bool:
        """Queue ``data``; False, and nothing is queued, if too much waits already."""

    def feed(self, data: bytes) -> None:
        """Queue ``data`` whatever waits, and call ``Rooms.drained`` when all of it is sent."""

    def close(self, reason: Reason) -> None: ...


class Room:
    __slots__ = (
        "_chunks",
        "answered",
        "asked",
        "behind",
        "empty_at",
        "feeding",
        "first",
        "gather_until",
        "guests",
        "head",
        "live",
        "name",
        "oldest",
        "on_way",
        "online",
        "pass_s",
        "pending",
        "people",
        "reads",
        "ready",
        "ring",
        "waiting",
    )

    def __init__(self, name: str) -> None:
        self.name = name
        self.ready = False
        """The hub has answered our subscription."""
        self.asked = 0
        self.answered = 0
        """How often the hub was told of our subscription in this contact, and has answered."""
        self.waiting: list[tuple[int, Callable[[], None]]] = []
        """What to do once so many are answered."""
        self.ring: list[Event] = []
        self.first = 1
        """``seq`` of the ring's first event; head + 1 when it is empty."""
        self.head = 0
        self.oldest = 1
        """The oldest ``seq`` that the log had when it last told us."""
        self.pending: list[Event] = []
        self.on_way = 0
        """Messages of members here that the hub has not answered yet."""
        self.pass_s = 0.0
        """How long the last pass over the live members took."""
        self.gather_until = 0.0
        """When ``pending`` is sent at the latest; 0 while nothing is put off."""
        self.live: dict[Encoding, dict[Member, Line]] = {}
        self.behind: dict[Member, int] = {}
        self.feeding: set[Member] = set()
        """Members for which the log is being read."""
        self.guests: dict[str, int] = {}
        """Members of each guest that are here."""
        self.people: dict[str, str] | None = {}
        """Names of everybody in the room on all workers; None when they are too many."""
        self.online = 0
        self.empty_at: float | None = None
        self.reads: dict[int, list[Callable[[], None]]] = {}
        self._chunks: dict[tuple[Encoding, int], bytes] = {}

    # -- events

    def fill(self, head: int, oldest: int, rows: list[tuple[int, bytes]]) -> None:
        """Start the ring again with the newest events of the log."""
        self.ring = [Event(seq, json) for seq, json in rows]
        self.head = head
        self.oldest = oldest
        self.first = self.ring[0].seq if self.ring else head + 1
        self._chunks.clear()

    def append(self, event: Event, ring_size: int) -> None:
        self.ring.append(event)
        self.head = event.seq
        self.pending.append(event)
        if not event.json.startswith(_MESSAGE):
            self._apply(event)
        if len(self.ring) > ring_size + RING_SPARE:  # cut rarely, many at once
            del self.ring[:RING_SPARE]
            self.first = self.ring[0].seq
        self._chunks.clear()

    def prepend(self, rows: list[tuple[int, bytes]]) -> None:
        """Let the ring reach further back, if ``rows`` lead up to where it begins.

        Another answer may have been here first: what the ring has already is left out.
        """
        older = [row for row in rows if row[0] < self.first]
        if older and older[-1][0] == self.first - 1:
            self.ring[:0] = [Event(seq, json) for seq, json in older]
            self.first = older[0][0]

    def forget_before(self, oldest: int) -> None:
        self.oldest = max(self.oldest, oldest)
        if oldest > self.first:
            del self.ring[: oldest - self.first]
            self.first = self.ring[0].seq if self.ring else self.head + 1
            self._chunks.clear()

    def _apply(self, change: Event) -> None:
        """Show the changed message to later readers of the ring, as the log does."""
        body = events.decode(change.json)
        if isinstance(body, Delete):
            self._blank_edits(body.ref)  # which may be here though the message is not any more
        if not isinstance(body, Edit | Delete) or not self.first <= body.ref < change.seq:
            return
        message = events.decode(self.ring[body.ref - self.first].json)
        if not isinstance(message, Message):
            return
        if isinstance(body, Edit):
            message.text, message.edited = body.text, True
        else:
            message.text, message.deleted = "", True
        self._replace(message)

    def _blank_edits(self, ref: int) -> None:
        for old in self.ring[max(ref - self.first, 0) :]:
            if old.json.startswith(b'{"type":"edit"'):
                edit = events.decode(old.json)
                if isinstance(edit, Edit) and edit.ref == ref:
                    edit.text = ""
                    self._replace(edit)

    def _replace(self, body: Message | Edit) -> None:
        self.ring[body.seq - self.first] = Event(body.seq, events.encode(body))

    def chunk(self, encoding: Encoding, after: int, limit: int | None = None) -> bytes:
        """The events that follow ``after``, encoded.  Those who miss the same share the bytes."""
        if limit is not None:
            part = self.ring[after + 1 - self.first :][:limit]
            return b"".join([event.encoded(encoding) for event in part])
        data = self._chunks.get((encoding, after))
        if data is None:
            part = self.ring[after + 1 - self.first :]
            data = b"".join([event.encoded(encoding) for event in part])
            if len(self._chunks) >= SHARED_CHUNKS:
                self._chunks.clear()
            self._chunks[encoding, after] = data
        return data

    # -- members

    def add(self, member: Member) -> None:
        self.live.setdefault(member.encoding, {})[member] = member.line

    def remove(self, member: Member) -> None:
        self.behind.pop(member, None)
        members = self.live.get(member.encoding)
        if members is not None:
            members.pop(member, None)
            if not members:
                del self.live[member.encoding]

    def known_head(self, member: Member) -> int:
        """How far ``member`` has been told of this room."""
        return self.behind.get(member, self.head - len(self.pending))

    def spread(self, together: Together | None = None) -> list[Member]:
        """Give every live member what came since the last time; returns who is too slow for it."""
        if not self.pending:
            return []
        fresh, self.pending = self.pending, []
        fanout: Fanout[Member] = Fanout(together)
        for encoding, members in self.live.items():
            data = b"".join([event.encoded(encoding) for event in fresh])
            if data:
                fanout.send(members, data)
        for member in fanout.slow:
            self.live[member.encoding].pop(member)
            self.behind[member] = fresh[0].seq - 1
        for line in fanout.broken:  # only now: whoever is gone leaves the room
            line.abort("reset")
        return fanout.slow

    def notice(self, value: dict[str, Any], but: str = "") -> None:
        """Tell the live members, but for the guest ``but``, something that has no number."""
        json = msgspec.json.encode(value)
        for encoding, members in self.live.items():
            data = encoding.notice(json)
            if data:
                for member in members:
                    if not but or member.guest.uid != but:
                        member.deliver(data)
