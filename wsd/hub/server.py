"""The hub: gives each room's events their order, commits them, publishes them, acknowledges.

A turn of the loop reads whatever the workers have sent; that is the batch.  At its end: one
transaction for all drafts, then the events to every worker that subscribed to their room, then
the acknowledgements, then the answers to what was asked.  Nothing leaves before the commit.
"""

from __future__ import annotations

import itertools
import os
import socket
import sqlite3
import struct
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from wsd import failpoints, logs
from wsd.chat import wire
from wsd.chat.event import Draft
from wsd.config import Settings
from wsd.hub.log import SUSPECT, Log, Refusal, Stored, is_corrupt, is_failed_sync
from wsd.hub.presence import NAMES_UP_TO, TELL_S, Presence
from wsd.metrics import M, Row
from wsd.net.connection import Flusher, LinkConnection
from wsd.net.listener import Acceptor
from wsd.net.loop import Loop

LINK_QUEUE = 8 * 1024 * 1024
"""Bytes waiting for one worker when there is more to say to it; beyond, its link is cut and it asks
for what it missed."""

ANSWER_QUEUE = 1024 * 1024
"""Bytes waiting for one worker beyond which its questions wait.  A page of history is thousands
of times as long as the question: answered all at once, a few guests could fill ``LINK_QUEUE``."""

ROWS_BYTES = 4 * 1024 * 1024
"""Events that one answer brings, at most: the link takes no frame of any length."""

ERASE_S = 10.0
"""How long the text of a deleted message may still stand in the write-ahead log."""

LISTED = 1_000
"""Rooms or people that one answer brings, at most: of 200,000 a single one would be too long for
the link."""

TRIM_STEP_S = 0.005
"""How long a step may go on with rooms that are over their size."""

TRIM_S = 0.2
"""Time between two steps of retention."""

STORAGE_TEXT = "the message log cannot be written or read now; try again"


class _Listing(NamedTuple):
    """What is left to say of a long answer."""

    n: int
    rest: Iterator[dict[str, Any]]


class Link:
    """One worker's connection."""

    def __init__(self, hub: Hub, number: int, sock: socket.socket) -> None:
        self._hub = hub
        self.number = number
        self.worker = "?"
        self.rooms: set[str] = set()
        self.asked: deque[wire.FromWorker | _Listing] = deque()
        self._saying: list[wire.FromHub] = []
        self._reader = wire.Reader(wire.FromWorker)
        self.connection = LinkConnection(hub.loop, hub.flusher, sock, self)

    def on_data(self, data: bytes) -> None:
        try:
            for frame in self._reader.feed(data):
                self._hub.receive(self, frame)
        except wire.WireError as error:
            logs.event(logs.error, "link_garbled", worker=self.worker, detail=str(error))
            self.connection.abort("garbled")

    def on_gone(self, reason: str) -> None:
        self._hub.forget(self, reason)

    def tell(self, frame: wire.FromHub) -> None:
        self._saying.append(frame)

    def pack(self) -> None:
        """Hand what is to be said to the connection."""
        if not self._saying:
            return
        if self.connection.queued > LINK_QUEUE:
            self.connection.abort("queue_full")
        else:
            self.connection.write(wire.encode(self._saying))
        self._saying.clear()


class RefusedSenders:
    """Whose draft could not be stored: what they said after it has to wait until it comes again.

    A sender may have more on the way when one is refused.  Were those stored once there is room
    again, the refused one would come behind them.  The sender is told to try again after
    ``RETRY_S``; one that has not done so by then has given the message up.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._first: dict[tuple[int, str], tuple[str, float]] = {}

    def __bool__(self) -> bool:
        return bool(self._first)

    def add(self, link: int, draft: Draft) -> None:
        if (link, draft.uid) not in self._first:
            self._first[link, draft.uid] = (draft.cid, self._clock() + 2 * wire.RETRY_S)

    def expire(self) -> None:
        """Call now and then: some never come back."""
        now = self._clock()
        self._first = {key: entry for key, entry in self._first.items() if entry[1] > now}

    def would_overtake(self, link: int, draft: Draft) -> bool:
        refused = self._first.get((link, draft.uid))
        if refused is None:
            return False
        cid, until = refused
        if draft.cid != cid and self._clock() < until:
            return True
        del self._first[link, draft.uid]
        return False


def _fitting(rows: list[tuple[int, bytes]], *, newest: bool) -> list[tuple[int, bytes]]:
    """Those of ``rows`` that fit into one answer, from one end of them; one at least."""
    size = 0
    for count, (_, json) in enumerate(reversed(rows) if newest else rows):
        size += len(json)
        if size > ROWS_BYTES and count:
            return rows[-count:] if newest else rows[:count]
    return rows


def _outcome(n: int, result: Stored | Refusal) -> wire.Outcome:
    if isinstance(result, Refusal):
        return wire.Refused(n, result.code, result.message)
    return wire.Done(n, result.seq, result.time, result.row is None, result.differs)


class Hub:
    def __init__(
        self, loop: Loop, listener: socket.socket, log: Log, settings: Settings, row: Row
    ) -> None:
        self.loop = loop
        self.log = log
        self.settings = settings
        self._row = row
        self._numbers = itertools.count(1)
        self._links: dict[int, Link] = {}
        self._subscribers: dict[str, set[Link]] = {}
        self._batch: list[tuple[Link, int, Draft]] = []
        self._asking: dict[Link, None] = {}
        self._refused = RefusedSenders(loop.clock)
        self._over_size: OrderedDict[str, None] = OrderedDict()
        self._age_cursor = ""
        self.failed = False
        """The log cannot be trusted in this process any more."""
        self._presence = Presence(loop.clock, self._tell_room)
        self.flusher = Flusher()
        loop.at_turn_end += [self._end_turn, self.flusher.flush]
        self._acceptor = Acceptor(loop, listener, self._on_accept)
        loop.every(TELL_S, self._presence.tick)
        loop.every(wire.RETRY_S, self._refused.expire)
        loop.every(TRIM_S, self._trim)
        loop.every(ERASE_S, self._erase)
        self._handlers: dict[type, Callable[[Link, Any], None]] = {
            wire.Subscribe: self._subscribe,
            wire.Unsubscribe: self._unsubscribe,
            wire.Read: self._read,
            wire.Find: self._find,
            wire.Present: self._present,
            wire.Named: self._named,
            wire.Typing: self._typing,
            wire.Overview: self._overview,
            wire.People: self._people,
            wire.Hello: self._hello,
            _Listing: self._list,
        }

    # -- links

    def _on_accept(self, sock: socket.socket, _address: str) -> None:
        credentials = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        _pid, uid, _gid = struct.unpack("3i", credentials)
        if uid != os.getuid():
            logs.event(logs.warning, "link_refused", uid=uid)
            sock.close()
            return
        link = Link(self, next(self._numbers), sock)
        self._links[link.number] = link
        self._row[M.LINKS] = len(self._links)
        link.tell(wire.Welcome(self.log.epoch))

    def forget(self, link: Link, reason: str) -> None:
        del self._links[link.number]
        self._asking.pop(link, None)
        link.asked.clear()
        self._row[M.LINKS] = len(self._links)
        for room in link.rooms:
            self._drop_subscriber(room, link)
        self._presence.lose(link.number)
        logs.event(logs.info, "link_closed", worker=link.worker, reason=reason)

    def receive(self, link: Link, frame: wire.FromWorker) -> None:
        """Note what a worker wants.  It is done at the end of the turn, all drafts first."""
        if isinstance(frame, wire.Publish):
            self._batch.append((link, frame.n, frame.draft))
        else:
            link.asked.append(frame)
            self._asking[link] = None

    # -- a turn

    def _end_turn(self) -> None:
        if self._batch:
            batch, self._batch = self._batch, []
            self._commit(batch)
        self._pack()
        for link in list(self._asking):
            self._answer_some(link)
        self._pack()  # what was told to others than those who asked

    def _pack(self) -> None:
        for link in list(self._links.values()):
            link.pack()

    def _leave(self) -> None:
        """What was told leaves before the turn ends, for whoever dies here."""
        self._pack()
        self.flusher.flush()

    def _answer_some(self, link: Link) -> None:
        """In the order of the questions, as far as the worker takes the answers."""
        connection = link.connection
        while link.asked and connection.queued <= ANSWER_QUEUE:
            self._answer(link, link.asked.popleft())
            link.pack()
        if link.asked:
            connection.on_drained = self._turn_again
        else:
            connection.on_drained = None
            self._asking.pop(link, None)

    def _turn_again(self) -> None:
        """Have the loop come to ``_end_turn`` although nothing may arrive."""
        self.loop.call_later(0, lambda: None)

    def _answer(self, link: Link, frame: wire.FromWorker | _Listing) -> None:
        try:
            self._handlers[type(frame)](link, frame)
        except sqlite3.Error as error:
            self._storage_trouble(error, "reading")
            n = getattr(frame, "n", None)
            if n is not None:
                link.tell(wire.Refused(n, "storage", STORAGE_TEXT))

    def _storage_trouble(self, error: sqlite3.Error, during: str) -> None:
        self._row[M.STORAGE_ERRORS] += 1
        logs.event(logs.error, "storage", detail=str(error), during=during)
        if is_corrupt(error):
            with open(os.path.join(self.settings.state, SUSPECT), "w"):
                pass
        if is_corrupt(error) or is_failed_sync(error):
            self.failed = True  # the master starts another hub, which opens the file afresh
            self.loop.stop()

    def _commit(self, batch: list[tuple[Link, int, Draft]]) -> None:
        failpoints.hit("hub.before_begin")
        batch = self._in_order(batch)
        try:
            results = self.log.append(draft for _, _, draft in batch)
        except sqlite3.Error as error:
            self._storage_trouble(error, "commit")
            for link, n, draft in batch:
                self._refused.add(link.number, draft)
                link.tell(wire.Refused(n, "storage", STORAGE_TEXT))
            return
        failpoints.hit("hub.after_commit")
        self._row[M.COMMITS] += 1
        self._publish(batch, results)
        if failpoints.due("hub.before_ok"):
            self._leave()
            failpoints.act("hub.before_ok")
        self._acknowledge(batch, results)

    def _in_order(self, batch: list[tuple[Link, int, Draft]]) -> list[tuple[Link, int, Draft]]:
        """``batch`` without what would overtake a draft that was refused a moment ago."""
        if not self._refused:
            return batch
        kept = []
        for link, n, draft in batch:
            if self._refused.would_overtake(link.number, draft):
                link.tell(wire.Refused(n, "storage", STORAGE_TEXT))
            else:
                kept.append((link, n, draft))
        return kept

    def _publish(
        self, batch: list[tuple[Link, int, Draft]], results: list[Stored | Refusal]
    ) -> None:
        for (_, _, draft), result in zip(batch, results, strict=True):
            if isinstance(result, Refusal) or result.row is None:
                continue
            self._row[M.STORED] += 1
            subscribers = self._subscribers.get(draft.room)
            if subscribers:
                frame = wire.Happened(draft.room, *result.row)
                for link in list(subscribers):
                    link.tell(frame)
                    if failpoints.due("hub.after_partial_publish"):
                        self._leave()
                        failpoints.act("hub.after_partial_publish")
            history = self.settings.for_room(draft.room).history
            oldest, head = self.log.bounds(draft.room)
            if head - oldest >= history.size:
                self._over_size[draft.room] = None

    def _acknowledge(
        self, batch: list[tuple[Link, int, Draft]], results: list[Stored | Refusal]
    ) -> None:
        for (link, n, _), result in zip(batch, results, strict=True):
            if isinstance(result, Stored) and result.row is None:
                self._row[M.DUPLICATES] += 1
            link.tell(_outcome(n, result))

    # -- what workers ask

    def _hello(self, link: Link, frame: wire.Hello) -> None:
        link.worker = frame.worker

    def _subscribe(self, link: Link, frame: wire.Subscribe) -> None:
        room = frame.room
        self._subscribers.setdefault(room, set()).add(link)
        link.rooms.add(room)
        oldest, head = self.log.bounds(room)
        after = frame.have
        if after < 0 or head - after > frame.reach:
            after = max(head - frame.replay, 0)
        rows = self.log.events(room, after, head + 1, head - after) if head > after else []
        online = self._presence.online(room)
        people = list(self._presence.people(room)) if online <= NAMES_UP_TO else None
        rows = _fitting(rows, newest=True)
        link.tell(wire.Subscribed(room, head, oldest, rows, online, people))

    def _unsubscribe(self, link: Link, frame: wire.Unsubscribe) -> None:
        link.rooms.discard(frame.room)
        self._drop_subscriber(frame.room, link)

    def _drop_subscriber(self, room: str, link: Link) -> None:
        links = self._subscribers.get(room)
        if links:
            links.discard(link)
            if not links:
                del self._subscribers[room]

    def _read(self, link: Link, frame: wire.Read) -> None:
        self._row[M.READS] += 1
        more = False
        if frame.messages:
            found, more = self.log.messages(frame.room, frame.before, frame.limit)
            rows = _fitting(found, newest=True)
            more = more or len(rows) < len(found)
        else:
            found = self.log.events(frame.room, frame.after, frame.before, frame.limit)
            rows = _fitting(found, newest=False)
        oldest, _ = self.log.bounds(frame.room)
        link.tell(wire.Rows(frame.n, oldest, rows, more))

    def _find(self, link: Link, frame: wire.Find) -> None:
        known = self.log.find(frame.draft) or Refusal("unknown", "")
        link.tell(_outcome(frame.n, known))

    def _present(self, link: Link, frame: wire.Present) -> None:
        if frame.here:
            self._presence.appear(link.number, frame.room, frame.uid, frame.name, frame.quiet)
        else:
            self._presence.disappear(link.number, frame.room, frame.uid)

    def _named(self, link: Link, frame: wire.Named) -> None:
        for other in self._links.values():
            if other is not link:
                other.tell(frame)

    def _typing(self, link: Link, frame: wire.Typing) -> None:
        self._tell_room(frame.room, wire.Typed(frame.room, frame.uid))

    def _overview(self, link: Link, frame: wire.Overview) -> None:
        rooms = (
            {"room": name, "online": online, "head": self.log.bounds(name)[1]}
            for name, online in list(self._presence.rooms())
        )
        self._list(link, _Listing(frame.n, rooms))

    def _people(self, link: Link, frame: wire.People) -> None:
        people = list(self._presence.people(frame.room))
        self._list(link, _Listing(frame.n, ({"uid": uid, "name": name} for uid, name in people)))

    def _list(self, link: Link, listing: _Listing) -> None:
        """Say the next part, and the rest as the worker takes it."""
        part = list(itertools.islice(listing.rest, LISTED))
        more = len(part) == LISTED
        link.tell(wire.Answer(listing.n, part, more))
        if more:
            link.asked.appendleft(listing)

    def _tell_room(self, room: str, frame: wire.Presence | wire.Typed | wire.Trimmed) -> None:
        links = self._subscribers.get(room)
        for link in links or ():
            link.tell(frame)

    # -- retention

    def _trim(self) -> None:
        """A small step now and then: of what is over its size, and of what is too old.

        Neither waits for the other: there may always be rooms over their size.
        """
        try:
            until = self.loop.clock() + TRIM_STEP_S
            while self._over_size and self.loop.clock() <= until:
                name, _ = self._over_size.popitem(last=False)
                if self._trim_room(name):
                    self._over_size[name] = None
            self._trim_by_age()
        except sqlite3.Error as error:
            self._storage_trouble(error, "retention")

    def _erase(self) -> None:
        try:
            self.log.erase()
        except sqlite3.Error as error:
            self._storage_trouble(error, "erasing")

    def _trim_room(self, name: str) -> bool:
        history = self.settings.for_room(name).history
        before = self.log.bounds(name)[0]
        more = self.log.trim(name, history.size, history.keep)
        oldest = self.log.bounds(name)[0]
        if oldest != before:
            self._tell_room(name, wire.Trimmed(name, oldest))
        return more

    def _trim_by_age(self) -> None:
        names = self.log.room_names(self._age_cursor, 10)
        for name in names:
            if self._trim_room(name):
                self._over_size[name] = None
        self._age_cursor = names[-1] if names else ""
        self.log.trim_sent()  # each time: going round all rooms can take minutes

    # -- as a process

    def start(self, on_ready: Callable[[], None]) -> None:
        on_ready()  # connections to the master's listener have queued up by now

    def apply(self, settings: Settings) -> None:
        if settings.durability != self.settings.durability:
            try:
                self.log.set_durability(settings.durability)
            except sqlite3.Error as error:
                self._storage_trouble(error, "reload")
        self.settings = settings

    def drain(self) -> None:
        """The hub stops last, when there is nobody left who could send it anything."""

    def stop_now(self) -> None:
        self.loop.stop()

    def close(self) -> int:
        if self.failed:
            self.log.abandon()
            return 1
        self.log.close()
        return 0
