"""The event stream: one answer without an end, read by EventSource or by script (WHATWG HTML, 9.2).

``POST /stream`` begins with a ``hello``; ``GET /stream`` is for native EventSource, which reads one
room and comes back with ``Last-Event-ID``.  Each event is one object of ``wsd.v1`` in one ``data``
line, with the position of its room as ``id``.
"""

from __future__ import annotations

import random
from typing import Any

from wsd.chat.commands import Entries
from wsd.chat.event import Event
from wsd.chat.guests import NOBODY
from wsd.chat.rooms import Rooms
from wsd.chat.schema import Hello, Refuse
from wsd.net.connection import State
from wsd.protocol.http import Headers
from wsd.reasons import BYE_RESTART, ROTATED, SLOW, Reason
from wsd.transports.context import Context
from wsd.transports.http import HttpClient
from wsd.transports.subscriber import Subscriber
from wsd.transports.visitor import BUSY, refused, to_json

ROTATE_S = 600.0
"""About how long one stream lives.  Proxies cut long answers sooner or later; a cut that we choose
is announced, and spreads the load after a restart."""

RETRY_MS = (2000, 5000)
"""When a native EventSource comes back after a cut: at random, or all would come at once."""

# Some browsers and proxies hand on nothing before so much has come.
_PADDING = b":" + b" " * 2048 + b"\n"


class ServerSentEvents:
    """Events with their position as ``id``, and notices without."""

    has_positions = True

    def __init__(self, rooms: Rooms) -> None:
        self._rooms = rooms

    def event(self, event: Event) -> bytes:
        position = self._rooms.position(event.seq)
        return b"id: %b\ndata: %b\n\n" % (position.encode(), event.json)

    def notice(self, json: bytes) -> bytes:
        return b"data: %b\n\n" % json


class StreamClient(Subscriber):
    """A subscriber that cannot say anything, over a connection that ends with the stream."""

    __slots__ = (
        "_closing_at", "_headers", "_hello_id", "_ping_due", "_rotate_at", "_started", "encoding",
    )  # fmt: skip

    transport = "stream"

    def __init__(
        self, context: Context, http: HttpClient, room: str, headers: Headers,
        encoding: ServerSentEvents,
    ) -> None:  # fmt: skip
        _, address = http.take_over()
        super().__init__(context, http.connection, room, address)
        self.encoding = encoding
        self._headers = headers
        self._started = False
        self._closing_at = 0.0
        self._hello_id: int | None = None
        now = context.loop.now
        self._ping_due = now + context.settings.ping.every * random.uniform(0.5, 1.0)
        self._rotate_at = now + ROTATE_S * random.uniform(0.8, 1.2)

    def begin(self, hello: Hello) -> None:
        self._hello_id = hello.id
        rooms = hello.rooms or {self.default_room: None}
        try:
            self._context.commands.greet(self, hello, rooms, self._entered)
        except Refuse as refusal:
            self._refuse(refusal)

    def _refuse(self, refusal: Refuse) -> None:
        self.connection.write(refused(self._context, refusal, self._headers, keep_alive=False))
        self.connection.close("refused")

    def watch(self, after: str | None) -> None:
        """Begin for somebody who is nobody."""
        self.guest = NOBODY
        self._context.commands.enter(self, {self.default_room: after}, self._entered)

    def _entered(self, entries: Entries) -> None:
        welcome = self._context.commands.welcome(self, self._hello_id, entries)
        data = b"data: %b\n\n" % to_json(welcome)
        if self.guest is NOBODY:  # cut off before the first event, it goes on from here
            (entry,) = entries.values()
            data = b"id: %b\n" % self._context.rooms.position(entry.start).encode() + data
        self.connection.write(_head(self._headers) + data)
        self._started = True
        for name, entry in entries.items():
            self._context.rooms.admit(name, self, entry)

    # -- nothing comes in

    def on_data(self, data: bytes) -> None: ...

    def reply(self, value: dict[str, Any]) -> None: ...

    def hold(self) -> None: ...

    def release(self) -> None: ...

    # -- the end

    def close(self, reason: Reason) -> None:
        self._say_bye(reason.code, reason.name, (0, 1000))
        self.connection.close(reason.name)

    def _say_bye(self, code: int, reason: str, retry_ms: tuple[int, int]) -> None:
        if self._started and not self.deaf:
            bye = {"type": "bye", "code": code, "reason": reason, "retry_ms": retry_ms}
            self.connection.write(self.encoding.notice(to_json(bye)))

    # -- time

    def sweep(self, now: float) -> float:
        connection = self.connection
        settings = self._context.settings
        if connection.state is not State.OPEN or connection.closing:
            self._closing_at = self._closing_at or now
            if now - self._closing_at > settings.timeouts.close:
                connection.abort("close_timeout")
        elif connection.queued and now - connection.progress_at > self.patience_s:
            connection.abort(SLOW.name)
        elif not self._started:
            if now - self.opened_at > settings.timeouts.hello:
                self._refuse(BUSY)
        elif now >= self._rotate_at:
            self.close(ROTATED)
        elif now >= self._ping_due:
            self._ping_due = now + settings.ping.every
            heads = self._context.rooms.heads(self.rooms, self)
            connection.write(self.encoding.notice(to_json({"type": "ping", "heads": heads})))
        elif not connection.queued:
            return min(self._rotate_at, self._ping_due)
        return 0.0

    def drain(self, retry_ms: tuple[int, int]) -> None:
        self._say_bye(BYE_RESTART, "restart", retry_ms)

    def restart(self) -> None:
        self.connection.close("restart")


def _head(headers: Headers) -> bytes:
    """The start of the answer.  Its end is the end of the connection (RFC 9112 section 6.3), so
    that events are the same bytes for all and need no chunk around them."""
    lines = ["HTTP/1.1 200 OK", *(f"{name}: {value}" for name, value in headers)]
    lines += ["Content-Type: text/event-stream", "Connection: close", "\r\n"]
    retry = f"retry: {random.randint(*RETRY_MS)}\n".encode()
    return "\r\n".join(lines).encode("latin-1") + _PADDING + retry
