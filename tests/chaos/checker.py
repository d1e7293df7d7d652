"""Judges what senders, receivers and the log remember of a run.  Pure: no clock, no sockets.

A receiver's history of a room is what came over the wire, in order: how it entered (``Enter``),
each event (``Event``), and the heads that pings told (``Told``).  The daemon has to send the right
thing by itself: a hole or a repetition counts even where the client could have repaired it.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import NamedTuple

import msgspec


class Event(NamedTuple):
    seq: int
    uid: str
    text: str


class Enter(NamedTuple):
    """The answer to a ``hello`` or ``join``; ``after`` is the position that was asked for."""

    after: tuple[str, int] | None
    epoch: str
    head: int
    follows: int
    recovered: bool


class Told(NamedTuple):
    """A ping said that this is the room's newest event."""

    head: int


class Said(msgspec.Struct):
    """One message of a sender, and the ``seq`` of each ``ok`` that it got."""

    room: str
    cid: str
    text: str
    acks: list[int] = []


@dataclass
class Sender:
    uid: str
    said: list[Said] = field(default_factory=list)
    """In the order in which they were first sent."""


@dataclass
class Receiver:
    name: str
    rooms: dict[str, list[Enter | Event | Told]]
    """The history of each room that it was in to the end."""


@dataclass
class LogContents:
    epoch: str
    heads: dict[str, int] = field(default_factory=dict)
    events: dict[str, dict[int, Event]] = field(default_factory=dict)
    sent: dict[tuple[str, str], tuple[str, int]] = field(default_factory=dict)


@dataclass
class Counts:
    """All of them have to be 0."""

    acked_lost: int = 0
    """Acknowledged, and not in the log, or not at that seq."""
    duplicates: int = 0
    """The same message of the same sender in the log once more."""
    delivered_twice: int = 0
    missing: int = 0
    """Holes of those who stayed or were told ``recovered: true``, and what they lack at the end."""
    out_of_order: int = 0
    disagreements: int = 0
    """Two receivers, or a receiver and the log, have another event at one seq, or another epoch."""
    sender_order: int = 0
    never_sent: int = 0
    """In the log or delivered although nobody said it."""
    acks_differ: int = 0
    needless_resets: int = 0
    """``recovered: false`` for a position within reach."""
    unacked: int = 0
    """Never acknowledged, although everything was well again at the end."""
    log_holes: int = 0
    """Numbers up to the head that the log has no event for."""

    def total(self) -> int:
        return sum(self.as_dict().values())

    def as_dict(self) -> dict[str, int]:
        return {f.name: getattr(self, f.name) for f in fields(self)}

    def __add__(self, other: Counts) -> Counts:
        mine, theirs = self.as_dict(), other.as_dict()
        return Counts(**{name: mine[name] + theirs[name] for name in mine})


SEVEN = (
    "acked_lost", "duplicates", "delivered_twice", "missing", "out_of_order", "disagreements",
    "sender_order",
)  # fmt: skip


def check(
    senders: Iterable[Sender],
    receivers: Iterable[Receiver],
    log: LogContents,
    recover_max: int,
    notes: list[str] | None = None,
) -> Counts:
    """``notes`` gets a line for each of the first findings, for whoever has to look into one."""
    judge = _Judge(log, recover_max, notes if notes is not None else [])
    senders = list(senders)
    judge.look_at_log(senders)
    for sender in senders:
        judge.look_at_acks(sender)
    for receiver in receivers:
        for room, history in receiver.rooms.items():
            judge.look_at_history(receiver.name, room, history)
    return judge.counts


class _Judge:
    def __init__(self, log: LogContents, recover_max: int, notes: list[str]) -> None:
        self.counts = Counts()
        self._log = log
        self._recover_max = recover_max
        self._notes = notes
        self._noted: Counter[str] = Counter()
        self._unlogged: dict[tuple[str, int], Event] = {}
        self._known: set[tuple[str, str, str]] = set()

    def _find(self, kind: str, what: str, number: int = 1) -> None:
        setattr(self.counts, kind, getattr(self.counts, kind) + number)
        self._noted[kind] += 1
        if self._noted[kind] <= 5:
            self._notes.append(f"{kind}: {what}")

    # -- the log against the senders

    def look_at_log(self, senders: list[Sender]) -> None:
        number = {
            (said.room, sender.uid, said.text): n
            for sender in senders
            for n, said in enumerate(sender.said)
        }
        self._known = set(number)
        for room, events in self._log.events.items():
            head = self._log.heads.get(room, 0)
            absent = [seq for seq in range(1, head + 1) if seq not in events]
            beyond = [seq for seq in events if not 1 <= seq <= head]
            for seq in absent + beyond:
                self._find("log_holes", f"{room}.{seq}")
            self._look_at_order(room, events, number)

    def _look_at_order(
        self, room: str, events: dict[int, Event], number: dict[tuple[str, str, str], int]
    ) -> None:
        first: dict[tuple[str, str], int] = {}
        newest: dict[str, int] = {}
        for seq in sorted(events):
            _, uid, text = events[seq]
            n = number.get((room, uid, text))
            if n is None:
                self._find("never_sent", f"in the log at {room}.{seq}: {uid} {text!r}")
            elif (uid, text) in first:
                self._find("duplicates", f"{room}.{seq} is {first[uid, text]} again: {text!r}")
            else:
                first[uid, text] = seq
                if n < newest.get(uid, -1):
                    self._find("sender_order", f"{room}.{seq}: {text!r} of {uid} came late")
                newest[uid] = max(n, newest.get(uid, -1))

    def look_at_acks(self, sender: Sender) -> None:
        for said in sender.said:
            if not said.acks:
                self._find("unacked", f"{said.room}: {said.text!r} of {sender.uid}")
                continue
            if len(set(said.acks)) > 1:
                self._find("acks_differ", f"{said.room}: {said.text!r} at {said.acks}")
            for seq in set(said.acks):
                stored = self._log.events.get(said.room, {}).get(seq)
                known = self._log.sent.get((sender.uid, said.cid))
                if stored != (seq, sender.uid, said.text):
                    self._find("acked_lost", f"{said.room}.{seq} is {stored}, not {said.text!r}")
                elif known != (said.room, seq):
                    self._find("acks_differ", f"{said.room}.{seq}: the log knows it as {known}")

    # -- a receiver

    def look_at_history(self, who: str, room: str, history: list[Enter | Event | Told]) -> None:
        position = 0
        epoch = ""
        seen: dict[int, Event] = {}
        for entry in history:
            if isinstance(entry, Enter):
                epoch = entry.epoch
                if entry.after is not None and entry.after[1] > position:
                    self._find(
                        "missing",
                        f"{who} {room}: at {position} when it claimed {entry.after[1]}",
                        entry.after[1] - position,
                    )
                position = self._enter(f"{who} {room}", entry, self._log.heads.get(room, 0))
            elif isinstance(entry, Told):
                if entry.head > position:
                    self._find(
                        "missing",
                        f"{who} {room}: at {position} when told that {entry.head} is the newest",
                        entry.head - position,
                    )
                    position = entry.head
            else:
                if entry.seq == position + 1:
                    position = entry.seq
                elif entry.seq > position:
                    self._find(
                        "missing",
                        f"{who} {room}: {entry.seq} came after {position}",
                        entry.seq - position - 1,
                    )
                    position = entry.seq
                elif entry.seq in seen:
                    self._find("delivered_twice", f"{who} {room}: {entry.seq}, being at {position}")
                else:
                    self._find("out_of_order", f"{who} {room}: {entry.seq} came after {position}")
                self._compare(who, room, epoch, entry, seen)
                seen[entry.seq] = entry
        head = self._log.heads.get(room, 0)
        if position < head:
            self._find("missing", f"{who} {room}: ends at {position} of {head}", head - position)

    def _enter(self, where: str, entry: Enter, newest: int) -> int:
        """The position from which the receiver is served."""
        start = entry.head - entry.follows
        if entry.epoch != self._log.epoch:
            self._find("disagreements", f"{where}: epoch {entry.epoch}, not {self._log.epoch}")
        if entry.after is None:
            return start
        epoch, after = entry.after
        if entry.recovered:
            if start > after:
                self._find("missing", f"{where}: back at {after}, served from {start}",
                           start - after)  # fmt: skip
            elif start < after:
                self._find("delivered_twice", f"{where}: back at {after}, served from {start}",
                           after - start)  # fmt: skip
            if epoch != entry.epoch:
                self._find("disagreements", f"{where}: {epoch} recovered as {entry.epoch}")
        elif epoch == entry.epoch and entry.head - self._recover_max <= after <= newest:
            # A worker that has not heard of the position yet has to ask, not to refuse.
            self._find("needless_resets", f"{where}: back at {after} of {entry.head}")
        return start

    def _compare(
        self, who: str, room: str, epoch: str, event: Event, seen: dict[int, Event]
    ) -> None:
        stored = self._log.events.get(room, {}).get(event.seq)
        # What the log lost was still delivered to others: they have to agree at least.
        expected = stored or self._unlogged.setdefault((room, event.seq), event)
        if event.seq in seen and seen[event.seq] != event:
            self._find("disagreements", f"{who} {room}: {event} was {seen[event.seq]}")
        elif stored is None or event != expected:
            self._find("disagreements", f"{who} {room}: {event}, the log has {stored}")
        if (room, event.uid, event.text) not in self._known:
            self._find("never_sent", f"{who} {room}: {event}")


# -- reading the log of a daemon that has ended


class _Message(msgspec.Struct):
    uid: str = ""
    text: str = ""


def read_log(path: Path) -> LogContents:
    """The contents of the SQLite file, with nobody else at it.  Raises AssertionError if it is
    not intact."""
    decode = msgspec.json.Decoder(_Message).decode
    db = sqlite3.connect(path)
    try:
        (intact,) = db.execute("PRAGMA integrity_check").fetchone()
        assert intact == "ok", f"{path}: {intact}"
        (epoch,) = db.execute("SELECT value FROM meta WHERE key = 'epoch'").fetchone()
        contents = LogContents(epoch)
        names: dict[int, str] = {}
        for number, name, head in db.execute("SELECT id, name, head FROM rooms"):
            names[number] = name
            contents.heads[name] = head
            contents.events[name] = {}
        for number, seq, json in db.execute("SELECT room, seq, json FROM events"):
            message = decode(json)
            contents.events[names[number]][seq] = Event(seq, message.uid, message.text)
        for uid, cid, number, seq in db.execute("SELECT uid, cid, room, seq FROM sent"):
            contents.sent[uid, cid] = names[number], seq
        return contents
    finally:
        db.close()
