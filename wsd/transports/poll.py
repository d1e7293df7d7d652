"""Long polling: a request that is answered as soon as there is something to tell, or in the end.

``POST /poll`` is a ``hello`` with the positions that the client has; ``GET /poll`` is the same for
somebody who only reads one room.  What was missed is answered at once; else the poller is a member
of its rooms until the first event has come, a moment more for what comes with it, or ``wait`` is
over.  A lost answer is simply asked for again.
"""

from __future__ import annotations

from wsd.chat.commands import Entries
from wsd.chat.rooms import Entry
from wsd.chat.schema import Hello
from wsd.net.loop import Timer
from wsd.protocol.http import Headers, Request
from wsd.reasons import BYE_RESTART
from wsd.transports.context import Context
from wsd.transports.http import HttpClient
from wsd.transports.visitor import BUSY, PATIENCE_S, Visitor, to_json

LINGER_S = 0.03
"""What follows the first event within this time goes with it (a lively room would else cost a
request for every message)."""

MAX_EVENTS = 100
MAX_BYTES = 64 * 1024
"""What one answer brings, about; who has missed more asks again at once."""


class PollClient(Visitor):
    """``wait_s`` is how long the poll may be held; 0 is plain polling."""

    def __init__(
        self,
        context: Context,
        http: HttpClient,
        request: Request,
        headers: Headers,
        wait_s: float,
    ) -> None:
        super().__init__(context, http, request, headers)
        self._wait_s = wait_s
        self._hello_id: int | None = None
        self._parts: list[bytes] = []
        self._size = 0
        self._entries: Entries = {}
        self._tail = b""
        self._timer: Timer = context.loop.call_later(PATIENCE_S, self._lose_patience)

    def begin(self, hello: Hello, default_room: str) -> None:
        """Raises Refuse."""
        self._hello_id = hello.id
        rooms = hello.rooms or {default_room: None}
        self._context.commands.greet(self, hello, rooms, self._entered)

    def watch(self, room: str, after: str | None) -> None:
        """Begin for somebody who is nobody."""
        self._context.commands.enter(self, {room: after}, self._entered)

    def _entered(self, entries: Entries) -> None:
        self._timer.cancel()
        entries = {name: self._shortened(name, entry) for name, entry in entries.items()}
        self._entries = entries
        for name, entry in entries.items():
            self._context.rooms.admit(name, self, entry)
        if self._context.draining:
            self.drain((0, 1000))
        elif any(entry.follows for entry in entries.values()) or not self._wait_s:
            self.finish()
        else:
            self._timer = self._context.loop.call_later(self._wait_s, self.finish)

    def _shortened(self, name: str, entry: Entry) -> Entry:
        """A newcomer's replay is told in parts of ``MAX_EVENTS``, and whoever comes for the next
        one must be within reach still, when others have said something meanwhile."""
        reach = self._context.settings.for_room(name).history.recover_max
        cut = entry.follows - (MAX_EVENTS + reach // 2)
        if entry.recovered or cut <= 0:
            return entry
        return entry._replace(start=entry.start + cut, follows=entry.follows - cut)

    def _lose_patience(self) -> None:
        self.refuse(BUSY)

    # -- while it is held

    def deliver(self, data: bytes) -> bool:
        """Refused is what does not fit: it stays behind, and ``finish`` takes a part of it."""
        if self._size > MAX_BYTES or any(entry.follows for entry in self._entries.values()):
            return False
        if not self._parts:
            self._timer.cancel()
            self._timer = self._context.loop.call_later(LINGER_S, self.finish)
        self._parts.append(data)
        self._size += len(data)
        return True

    def feed(self, data: bytes) -> None:
        """It is behind, because more was missed than one answer brings: the next poll goes on."""
        if self._entries and not self._parts:
            self._timer.cancel()
            self._timer = self._context.loop.call_later(0, self.finish)

    def drain(self, retry_ms: tuple[int, int]) -> None:
        if self._entries:
            bye = {"type": "bye", "code": BYE_RESTART, "reason": "restart", "retry_ms": retry_ms}
            self._tail = to_json(bye) + b","
            self.finish()

    # -- the answer

    def finish(self) -> None:
        if self.gone:
            return
        rooms = self._context.rooms
        told: Entries = {}
        for name, entry in self._entries.items():
            if self._size <= MAX_BYTES:
                part = rooms.take(name, self, MAX_EVENTS)
                self._parts.append(part)
                self._size += len(part)
            seq = rooms.told(name, self)
            told[name] = entry._replace(position=rooms.position(seq), follows=seq - entry.start)
        welcome = self._context.commands.welcome(self, self._hello_id, told)
        parts = [to_json(welcome), b",", *self._parts, self._tail]
        self.answer(b"[" + b"".join(parts)[:-1] + b"]")

    def _leave(self) -> None:
        self._timer.cancel()
        super()._leave()
