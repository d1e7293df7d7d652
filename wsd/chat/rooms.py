"""The rooms of this worker: who comes in and goes, what the hub says, and delivery.

An event from the hub goes into its room's ring and waits for the end of the turn.  Then ``spread``
joins what the turn brought, once for each encoding in use, and gives every member the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, Protocol

import msgspec

from wsd import failpoints, logs
from wsd.chat import wire
from wsd.chat.event import Draft, Event, parse_position, position_text
from wsd.chat.fanout import Together
from wsd.chat.guests import NOBODY, Guest, Guests
from wsd.chat.room import Member, Room
from wsd.chat.wire import Outcome, Page
from wsd.config import Settings
from wsd.metrics import M, Row
from wsd.reasons import RESYNC

FEED_EVENTS = 100
"""Events that one step of feeding brings to a member that is behind."""

EMPTY_ROOM_S = 30.0
"""How long a room without members stays subscribed, so that a reload of a page is cheap."""

GATHER_S = (0.001, 0.2)
"""Where a pass over the members takes the first or longer, events wait for those that are on their
way, for as long as that pass, and the second at most.  Else a large room's messages go out in two
groups by turns: one is being stored while the other is being sent.  Together they take 1.4 instead
of 2.0 times the CPU of a chat in C, and of 500 to 2,500 messages a second to 1,000 members half of
the copies are there after 7 ms instead of 13."""

NAMES_UP_TO = 100


class Hub(Protocol):
    """The worker's link to the hub, as far as the rooms use it."""

    def publish(self, draft: Draft, done: Callable[[Outcome], None]) -> None: ...

    def find(self, draft: Draft, done: Callable[[Outcome], None]) -> None: ...

    def read(self, room: str, after: int, before: int, limit: int, done: Callable[[Page], None],
             *, messages: bool = False) -> None: ...  # fmt: skip

    def tell(self, frame: wire.News) -> None: ...


class Entry(NamedTuple):
    """What a newcomer to a room is told first."""

    position: str
    follows: int
    recovered: bool
    online: int
    modes: dict[str, Any]
    start: int
    """The member has, or does not want, what is up to here.  Not told."""


class Rooms:
    """All rooms that have, or had a moment ago, members at this worker."""

    def __init__(
        self,
        hub: Hub,
        guests: Guests,
        settings: Settings,
        row: Row,
        clock: Callable[[], float],
        call_later: Callable[[float, Callable[[], None]], object],
        together: Together | None,
    ) -> None:
        self._hub = hub
        self._guests = guests
        self.settings = settings
        self._row = row
        self._clock = clock
        self._call_later = call_later
        self._together = together
        self._rooms: dict[str, Room] = {}
        self._touched: dict[Room, None] = {}
        self._asked_now: set[Room] = set()
        """Rooms whose subscription was told and has not left."""
        self.epoch = ""

    def get(self, name: str) -> Room | None:
        return self._rooms.get(name)

    # -- what members write

    def publish(self, draft: Draft, done: Callable[[Outcome], None]) -> None:
        """Have the hub store and publish it; the room knows that it is on its way."""
        room = self._rooms.get(draft.room)
        if room is None:  # of somebody who is in no room, over HTTP
            self._hub.publish(draft, done)
            return

        def answered(outcome: Outcome) -> None:
            room.on_way -= 1
            done(outcome)

        room.on_way += 1
        self._hub.publish(draft, answered)

    # -- coming in: prepare, then entry and admit in one step of the loop, so nothing falls between

    def prepare(
        self, name: str, after: str | None, done: Callable[[], None], asked: bool = False
    ) -> None:
        """Call ``done`` once the room can be entered from ``after`` without asking the hub.

        ``asked``: it has been, about a position that is ahead of us.
        """
        room = self._rooms.get(name) or self._open(name)
        if room.empty_at is not None:
            room.empty_at = self._clock()  # ``sweep`` must not take it away meanwhile
        if not room.ready:
            room.waiting.append((room.asked, lambda: self.prepare(name, after, done)))
            return
        if not asked and self._is_ahead(room, after):
            # The client comes from a worker that has heard more than this one by now: true
            # positions must not be refused for that.  Only what is asked from now on is answered
            # with all that the position may speak of; older answers may be on their way.
            if room not in self._asked_now:
                self._subscribe(room)
            room.waiting.append((room.asked, lambda: self.prepare(name, after, done, True)))
            return
        if self._reaches(room, after):
            done()
        else:
            self._reach_back(room, self._start(room, after)[0], done)

    def at_hand(self, name: str, after: str | None) -> bool:
        """Whether the room can be entered from ``after`` without being prepared."""
        room = self._rooms.get(name)
        return (
            room is not None
            and room.ready
            and not self._is_ahead(room, after)
            and self._reaches(room, after)
        )

    def _reaches(self, room: Room, after: str | None) -> bool:
        """Whether the ring has all that follows ``after``, or all that there is."""
        return room.first <= room.oldest or self._start(room, after)[0] + 1 >= room.first

    def _is_ahead(self, room: Room, after: str | None) -> bool:
        position = parse_position(after) if after is not None else None
        return position is not None and position.epoch == self.epoch and position.seq > room.head

    def is_there(self, name: str) -> bool:
        """Whether a room that was prepared is so still.  With several, one may have been let go,
        or the log replaced, while another was waited for."""
        room = self._rooms.get(name)
        return room is not None and room.ready

    def _open(self, name: str) -> Room:
        room = self._rooms[name] = Room(name)
        self._row[M.ROOMS] = len(self._rooms)
        room.empty_at = self._clock()
        self._subscribe(room)
        return room

    def _subscribe(self, room: Room) -> None:
        room.asked += 1
        self._asked_now.add(room)
        history = self.settings.for_room(room.name).history
        have = room.head if room.ready else -1
        self._hub.tell(wire.Subscribe(room.name, have, history.replay, history.recover_max))

    def _reach_back(self, room: Room, start: int, done: Callable[[], None]) -> None:
        """One read of the log for all who ask for the same while it is under way."""
        if start in room.reads:
            room.reads[start].append(done)
            return
        room.reads[start] = [done]
        before = room.first
        found: list[tuple[int, bytes]] = []

        def read_on(after: int) -> None:
            self._hub.read(room.name, after, before, before - after - 1, on_rows)

        def on_rows(rows: Page) -> None:
            if isinstance(rows, wire.Rows):
                room.oldest = rows.oldest
                found.extend(rows.events)
                if rows.events and found[-1][0] + 1 < before:  # an answer holds only so many bytes
                    read_on(found[-1][0])
                    return
                room.prepend(found)
            for callback in room.reads.pop(start):
                callback()

        read_on(start)

    def _start(self, room: Room, after: str | None) -> tuple[int, bool]:
        """(where to start, whether nothing is missed) for a newcomer or a position."""
        history = self.settings.for_room(room.name).history
        if after is not None:
            position = parse_position(after)
            if (
                position is not None
                and position.epoch == self.epoch
                and room.head - history.recover_max <= position.seq <= room.head
                and position.seq + 1 >= room.oldest
            ):
                return position.seq, True
        return max(room.head - history.replay, room.oldest - 1, 0), False

    def entry(self, name: str, member: Member, after: str | None, replay: bool = True) -> Entry:
        """Where ``member`` starts in a prepared room, and what it is told of it."""
        room = self._rooms[name]
        start, recovered = self._start(room, after)
        if start + 1 < room.first:  # the log would not give us what it should have
            start, recovered = room.first - 1, False
        if not replay:
            start = room.head
        if after is not None:
            self._row[M.RECOVERED if recovered else M.NOT_RECOVERED] += 1
        uid = member.guest.uid
        counts = member.guest is not NOBODY
        there = uid in room.guests or (room.people is not None and uid in room.people)
        return Entry(
            position=self.position(room.head),
            follows=room.head - start,
            recovered=recovered,
            online=room.online if there and room.online else room.online + counts,
            modes={},
            start=start,
        )

    def admit(self, name: str, member: Member, entry: Entry) -> None:
        """Make ``member`` one of the room.  Must run in the same step as ``entry``."""
        if entry.recovered:
            failpoints.hit("worker.during_recovery")
        room = self._rooms[name]
        room.empty_at = None
        self._spread(room)  # to those who were here before: the newcomer has these events below
        data = room.chunk(member.encoding, entry.start)
        if not data or member.deliver(data):
            room.add(member)
        else:  # it has too much waiting from its other rooms
            room.behind[member] = entry.start
            member.feed(b"")
        self._row[M.MEMBERS] += 1
        if member.guest is not NOBODY:
            self._count(room, member.guest)
            self._introduce(room, member, member.guest)

    def _count(self, room: Room, guest: Guest) -> None:
        room.guests[guest.uid] = room.guests.get(guest.uid, 0) + 1
        if room.guests[guest.uid] == 1:
            self._hub.tell(wire.Present(room.name, guest.uid, guest.name, here=True))

    def _introduce(self, room: Room, member: Member, guest: Guest) -> None:
        """Tell a newcomer who is there, as far as this worker knows by now."""
        if room.people is None:
            return
        people = {**room.people, guest.uid: guest.name}
        if len(people) > NAMES_UP_TO:
            return
        data = member.encoding.notice(
            msgspec.json.encode(_presence(room.name, len(people), list(people.items()), full=True))
        )
        if data:
            member.deliver(data)

    def take(self, name: str, member: Member, limit: int) -> bytes:
        """The next events for a member that is behind, and is answered instead of fed."""
        room = self._rooms[name]
        position = room.behind.get(member)
        if position is None or position + 1 < room.first:
            return b""
        self._spread(room)
        room.behind[member] = min(position + limit, room.head)
        return room.chunk(member.encoding, position, limit)

    def told(self, name: str, member: Member) -> int:
        """``seq`` up to which ``member`` has been told of a room that it is in."""
        return self._rooms[name].known_head(member)

    def heads(self, names: Iterable[str], member: Member) -> dict[str, int]:
        """What a ping tells: the newest ``seq`` that ``member`` should have, of each room."""
        rooms = [room for name in names if (room := self._rooms.get(name))]
        return {room.name: room.known_head(member) for room in rooms}

    def position(self, seq: int) -> str:
        return position_text(self.epoch, seq)

    def leave(self, name: str, member: Member) -> None:
        room = self._rooms[name]
        room.remove(member)
        self._row[M.MEMBERS] -= 1
        guest = member.guest
        if guest is not NOBODY:
            room.guests[guest.uid] -= 1
            if not room.guests[guest.uid]:
                del room.guests[guest.uid]
                self._hub.tell(wire.Present(name, guest.uid, guest.name, here=False))
        if not room.live and not room.behind:
            room.empty_at = self._clock()

    def renamed(self, guest: Guest) -> None:
        """``guest`` has another name: tell the rooms that it is in, with all its tabs, and the
        other workers, where it may be as well."""
        self._tell_name(guest)
        self._hub.tell(wire.Named(guest.uid, guest.name, guest.named_at))

    def on_named(self, uid: str, name: str, at: int) -> None:
        """A guest has another name by way of another worker."""
        guest = self._guests.name(uid, name, at)
        if guest is not None:
            self._tell_name(guest)

    def _tell_name(self, guest: Guest) -> None:
        for name, room in self._rooms.items():
            if guest.uid in room.guests:
                self._hub.tell(wire.Present(name, guest.uid, guest.name, here=True))

    def sweep(self) -> None:
        """Let go of rooms that have been empty for a while.  Call every few seconds."""
        limit = self._clock() - EMPTY_ROOM_S
        for room in list(self._rooms.values()):
            if (
                room.empty_at is not None
                and room.empty_at < limit
                and not (room.waiting or room.reads)
            ):
                del self._rooms[room.name]
                self._hub.tell(wire.Unsubscribe(room.name))
        self._row[M.ROOMS] = len(self._rooms)

    # -- the end of a turn

    def end_turn(self) -> None:
        gathering: dict[Room, None] = {}
        while self._touched:
            touched, self._touched = self._touched, {}
            for room in touched:
                if self._gathers(room):
                    gathering[room] = None
                else:
                    self._spread(room)
        self._touched = gathering

    def _gathers(self, room: Room) -> bool:
        """Whether it is better to wait for what is on its way."""
        if not room.on_way or room.pass_s < GATHER_S[0] or not room.pending:
            return False
        if not room.gather_until:
            wait_s = min(room.pass_s, GATHER_S[1])
            room.gather_until = self._clock() + wait_s
            self._call_later(wait_s, lambda: None)  # a turn, at the end of which it is sent
        return self._clock() < room.gather_until

    def _spread(self, room: Room) -> None:
        room.gather_until = 0.0
        if not room.pending:
            return
        copies = len(room.pending) * sum(map(len, room.live.values()))
        self._row[M.COPIES] += copies
        began = self._clock()
        slow = room.spread(self._together)
        room.pass_s = self._clock() - began
        for member in slow:
            self._row[M.LAGGED] += 1
            logs.event(logs.debug, "lagging", room=room.name)
            member.feed(b"")

    # -- members that are behind

    def drained(self, name: str, member: Member) -> None:
        """Everything that ``member`` was given has left: give it more, if it is behind."""
        room = self._rooms.get(name)
        if room is None or member not in room.behind:
            return
        position = room.behind[member]
        if position + 1 < room.first:
            self._feed_from_log(room, member, position)
            return
        self._spread(room)
        data = room.chunk(member.encoding, position, FEED_EVENTS)
        self._fed(room, member, data, min(position + FEED_EVENTS, room.head))

    def _feed_from_log(self, room: Room, member: Member, position: int) -> None:
        if member in room.feeding:  # asked for by what drained it of another room's events
            return
        room.feeding.add(member)

        def on_rows(rows: Page) -> None:
            room.feeding.discard(member)
            if room.behind.get(member) != position:
                self.drained(room.name, member)
                return
            if isinstance(rows, wire.Refused) or not rows.events:
                member.close(RESYNC)
            elif rows.events[0][0] != position + 1:
                member.close(RESYNC)  # retention was faster: it is told so when it comes back
            else:
                part = [Event(seq, json) for seq, json in rows.events]
                data = b"".join([event.encoded(member.encoding) for event in part])
                self._fed(room, member, data, part[-1].seq)

        self._hub.read(room.name, position, room.head + 1, FEED_EVENTS, on_rows)

    def _fed(self, room: Room, member: Member, data: bytes, position: int) -> None:
        if position >= room.head - len(room.pending):
            del room.behind[member]
            room.add(member)
        else:
            room.behind[member] = position
        member.feed(data)

    # -- news from the hub

    def on_leaving(self) -> None:
        self._asked_now.clear()

    def on_contact(self, epoch: str) -> None:
        if self.epoch and epoch != self.epoch:
            self._forget_everything()
        self.epoch = epoch
        for room in self._rooms.values():
            room.asked = room.answered = 0
            room.waiting = [(1, callback) for _, callback in room.waiting]
            self._subscribe(room)
            for uid in room.guests:
                guest = self._guests.get(uid)
                if guest:
                    self._hub.tell(wire.Present(room.name, uid, guest.name, here=True, quiet=True))

    def _forget_everything(self) -> None:
        """The log is another one: no position of any client means anything any more."""
        for room in list(self._rooms.values()):  # a poll that ends may have another behind it
            self._spread(room)
            room.ready = False
            room.fill(0, 1, [])
            members = [m for group in room.live.values() for m in group] + list(room.behind)
            for member in members:
                if member.encoding.has_positions:
                    member.close(RESYNC)
                elif member in room.behind:
                    del room.behind[member]
                    room.add(member)

    def on_subscribed(self, frame: wire.Subscribed) -> None:
        room = self._rooms.get(frame.room)
        if room is None:
            return
        room.online = frame.online
        room.people = dict(frame.people) if frame.people is not None else None
        if not room.ready:
            room.fill(frame.head, frame.oldest, frame.events)
            room.ready = True
        elif frame.head > room.head and (not frame.events or frame.events[0][0] > room.head + 1):
            self._jump(room, frame)
        else:
            for seq, json in frame.events:
                self.on_event(frame.room, seq, json)
            self.on_trimmed(frame.room, frame.oldest)  # of which we may not have been told
        room.answered += 1
        waiting = room.waiting
        due = [callback for number, callback in waiting if number <= room.answered]
        room.waiting = [entry for entry in waiting if entry[0] > room.answered]
        for callback in due:
            callback()

    def _jump(self, room: Room, frame: wire.Subscribed) -> None:
        """More was missed than one answer brings: everybody here goes on from the log."""
        self._spread(room)
        members = [member for group in room.live.values() for member in group]
        for member in members:
            room.remove(member)
            room.behind[member] = room.head
        room.fill(frame.head, frame.oldest, frame.events)
        for member in members:
            member.feed(b"")

    def on_event(self, name: str, seq: int, json: bytes) -> None:
        """The one way by which an event reaches members, whoever published it."""
        room = self._rooms.get(name)
        if room is None or not room.ready or seq <= room.head:
            return
        if seq > room.head + 1:  # something was lost on the way: ask for all since then
            if room.asked == room.answered:  # an answer that is on its way comes behind this
                self._subscribe(room)
            return
        history = self.settings.for_room(name).history
        room.append(Event(seq, json), max(history.recover_max, history.replay))
        self._touched[room] = None

    def on_presence(self, frame: wire.Presence) -> None:
        room = self._rooms.get(frame.room)
        if room is None:
            return
        room.online = frame.online
        joined, full = frame.joined, frame.people is not None
        if frame.people is not None:
            room.people = dict(frame.people)
            joined = frame.people
        elif frame.online > NAMES_UP_TO:
            room.people = None
        elif room.people is not None:
            room.people.update(frame.joined)
            for uid in frame.left:
                room.people.pop(uid, None)
        for uid, name in joined:
            guest = self._guests.get(uid)
            if guest is not None:
                self._guests.rename(guest, name)  # in another tab, at another worker
        room.notice(_presence(frame.room, frame.online, joined, frame.left, full))

    def on_trimmed(self, name: str, oldest: int) -> None:
        """What retention has removed is not shown to newcomers any more."""
        room = self._rooms.get(name)
        if room is not None and room.ready:
            self._spread(room)
            room.forget_before(oldest)

    def on_typing(self, name: str, uid: str) -> None:
        room = self._rooms.get(name)
        if room is not None:
            room.notice({"type": "typing", "room": name, "uid": uid}, but=uid)


def _presence(
    room: str,
    online: int,
    joined: list[tuple[str, str]],
    left: list[str] | None = None,
    full: bool = False,
) -> dict[str, Any]:
    value = {
        "type": "presence", "room": room, "online": online, "joined": joined, "left": left or [],
    }  # fmt: skip
    if full:  # ``joined`` is everybody: whoever is not in it is not here
        value["full"] = True
    return value
