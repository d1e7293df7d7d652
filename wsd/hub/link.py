"""A worker's end of the link to the hub: publish, subscribe, ask, and start again after a break.

Whatever waits for an answer is kept, in order, until the answer comes.  After a break
the rooms say again what they are subscribed to, and then everything that waits is sent again: the
hub recognises drafts that it has stored already.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any, Protocol

from wsd import failpoints, logs
from wsd.chat import wire
from wsd.chat.event import Draft
from wsd.chat.wire import Outcome, Page
from wsd.metrics import M, Row
from wsd.net.connection import Flusher, LinkConnection
from wsd.net.loop import Loop

BACKOFF_S = (0.02, 1.0)
"""First and longest wait before connecting again."""


class Receiver(Protocol):
    """What the hub's news are for: the worker's rooms."""

    def on_leaving(self) -> None:
        """What was told leaves now: answers to it need not know of what comes from here on."""

    def on_contact(self, epoch: str) -> None:
        """The link is up; say what this worker is subscribed to, and who is here."""

    def on_subscribed(self, frame: wire.Subscribed) -> None: ...
    def on_event(self, room: str, seq: int, json: bytes) -> None: ...
    def on_presence(self, frame: wire.Presence) -> None: ...
    def on_named(self, uid: str, name: str, at: int) -> None: ...
    def on_typing(self, room: str, uid: str) -> None: ...
    def on_trimmed(self, room: str, oldest: int) -> None: ...


class HubLink:
    def __init__(self, loop: Loop, flusher: Flusher, path: str, worker: str, row: Row) -> None:
        self._loop = loop
        self._flusher = flusher
        self._path = path
        self._worker = worker
        self._row = row
        self._receiver: Receiver | None = None
        self._connection: LinkConnection | None = None
        self._reader = wire.Reader(wire.FromHub)
        self._backoff_s = BACKOFF_S[0]
        self._n = 0
        self._waiting: dict[int, tuple[wire.FromWorker, Callable[[Any], None]]] = {}
        self._listed: dict[int, list[dict[str, Any]]] = {}
        """Of answers that come in parts, what has come."""
        self._saying: list[wire.FromWorker] = []
        """What this turn has to say."""
        self._forwarding = False
        self.up = False
        """In contact: the hub has greeted us."""

    def start(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self._connect()

    @property
    def unanswered(self) -> int:
        return len(self._waiting)

    # -- what the worker says

    def publish(self, draft: Draft, done: Callable[[Outcome], None]) -> None:
        self._row[M.MESSAGES_IN] += 1
        self._forwarding = True
        self._ask(lambda n: wire.Publish(n, draft), done)

    def find(self, draft: Draft, done: Callable[[Outcome], None]) -> None:
        """What became of a draft that may have been stored before."""
        self._ask(lambda n: wire.Find(n, draft), done)

    def read(self, room: str, after: int, before: int, limit: int, done: Callable[[Page], None],
             *, messages: bool = False) -> None:  # fmt: skip
        """Events with ``after < seq < before``, or the newest ``limit`` messages before one."""
        self._ask(lambda n: wire.Read(n, room, after, before, limit, messages), done)

    def overview(self, done: Callable[[Any], None]) -> None:
        self._ask(wire.Overview, done)

    def people(self, room: str, done: Callable[[Any], None]) -> None:
        self._ask(lambda n: wire.People(n, room), done)

    def tell(self, frame: wire.News) -> None:
        """Say what needs no answer.  Without contact it is dropped: ``on_contact`` says it all."""
        if self.up and self._connection:
            self._saying.append(frame)

    def _ask(self, make: Callable[[int], wire.FromWorker], done: Callable[[Any], None]) -> None:
        self._n += 1
        frame = make(self._n)
        self._waiting[self._n] = (frame, done)
        if self.up and self._connection:
            self._saying.append(frame)

    def end_turn(self) -> None:
        """Must run at the end of a turn, before the flush."""
        saying, self._saying = self._saying, []
        if saying and self._connection and self._receiver:
            self._receiver.on_leaving()
            self._connection.write(wire.encode(saying))

    def after_flush(self) -> None:
        """Must run at the end of a turn, when what was said has left."""
        while self._saying:  # by those whom the flush woke: who goes on to speak, or is gone
            self.end_turn()
            self._flusher.flush()
        if self._forwarding:
            self._forwarding = False
            failpoints.hit("worker.after_forward")

    # -- what the hub says

    def on_data(self, data: bytes) -> None:
        connection = self._connection
        try:
            for frame in self._reader.feed(data):
                self._receive(frame)
                if self._connection is not connection:
                    return
        except wire.WireError as error:
            logs.event(logs.error, "link_garbled", detail=str(error))
            if connection:
                connection.abort("garbled")

    def _receive(self, frame: wire.FromHub) -> None:
        receiver = self._receiver
        assert receiver is not None
        if isinstance(frame, wire.Happened):
            self._row[M.EVENTS] += 1
            receiver.on_event(frame.room, frame.seq, frame.json)
        elif isinstance(frame, wire.Done | wire.Refused | wire.Rows):
            self._answered(frame)
        elif isinstance(frame, wire.Answer):
            listed = self._listed.setdefault(frame.n, [])
            listed += frame.values
            if not frame.more:
                self._answered(wire.Answer(frame.n, listed))
        elif isinstance(frame, wire.Subscribed):
            receiver.on_subscribed(frame)
        elif isinstance(frame, wire.Presence):
            receiver.on_presence(frame)
        elif isinstance(frame, wire.Named):
            receiver.on_named(frame.uid, frame.name, frame.at)
        elif isinstance(frame, wire.Typed):
            receiver.on_typing(frame.room, frame.uid)
        elif isinstance(frame, wire.Trimmed):
            receiver.on_trimmed(frame.room, frame.oldest)
        else:
            self._on_welcome(frame)

    def _answered(self, frame: wire.Done | wire.Refused | wire.Rows | wire.Answer) -> None:
        self._listed.pop(frame.n, None)
        waiting = self._waiting.pop(frame.n, None)
        if waiting is not None:
            waiting[1](frame)

    def _on_welcome(self, frame: wire.Welcome) -> None:
        assert self._receiver is not None and self._connection is not None
        self.up = True
        self._row[M.LINK_UP] = 1
        self._backoff_s = BACKOFF_S[0]
        self._saying.append(wire.Hello(self._worker))
        self._receiver.on_contact(frame.epoch)
        self._saying += [waiting for waiting, _ in self._waiting.values()]

    # -- contact

    def _connect(self) -> None:
        sock: socket.socket | None = None
        try:
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            sock.setblocking(False)
            # The listener is the master's, so this works while the hub is being replaced.
            sock.connect(self._path)
        except OSError as error:  # or this process is short of descriptors
            if sock is not None:
                sock.close()
            logs.event(logs.warning, "hub_unreachable", detail=str(error))
            self._connect_later()
            return
        self._reader = wire.Reader(wire.FromHub)
        self._connection = LinkConnection(self._loop, self._flusher, sock, self)

    def on_gone(self, reason: str) -> None:
        if self.up:
            logs.event(logs.warning, "hub_lost", reason=reason, unanswered=len(self._waiting))
        self.up = False
        self._row[M.LINK_UP] = 0
        self._connection = None
        self._saying.clear()
        self._listed.clear()
        self._connect_later()

    def _connect_later(self) -> None:
        self._loop.call_later(self._backoff_s, self._connect)
        self._backoff_s = min(self._backoff_s * 2, BACKOFF_S[1])
