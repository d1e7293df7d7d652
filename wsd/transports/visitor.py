"""Somebody whose one HTTP request is being answered: what commands and rooms see of them.

Over HTTP a client carries its state itself: a signed token says who it is, positions say what it
has.  So any worker answers any request, and nothing of it stays here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from wsd.chat import event as events
from wsd.chat.event import Event
from wsd.chat.fanout import NO_LINE
from wsd.chat.guests import NOBODY
from wsd.chat.schema import Hello, Refuse
from wsd.protocol.http import Headers, Request, response
from wsd.reasons import INTERNAL, Reason
from wsd.transports.context import Context
from wsd.transports.http import HttpClient

PATIENCE_S = 10.0
"""How long a request waits for the hub before it is told to come again."""

TOKEN_UNKNOWN = "the token is not one of ours, or too old: say hello"

_STATUS = {
    "auth": 401, "denied": 403, "banned": 403, "muted": 403, "rate": 429, "busy": 503,
    "storage": 503, "internal": 500,
}  # fmt: skip

to_json = msgspec.json.Encoder().encode


BUSY = Refuse("busy", "the server is busy; try again", 1000)

JSON = ("Content-Type", "application/json")


def refused(context: Context, refusal: Refuse, headers: Headers, *, keep_alive: bool) -> bytes:
    """The answer to a request of which nothing can be done: one error, in an array as ever."""
    context.commands.count_refusal(refusal.code)
    error: dict[str, Any] = {"type": "error", "code": refusal.code, "message": refusal.message}
    headers = [*headers, JSON]
    if refusal.retry_ms is not None:
        error["retry_ms"] = refusal.retry_ms
        headers.append(("Retry-After", str(-(-refusal.retry_ms // 1000))))
    status = _STATUS.get(refusal.code, 400)
    return response(status, headers, to_json([error]), keep_alive=keep_alive)


class HelloBody(msgspec.Struct):
    """What a poll or a stream begins with: a ``hello``, and for a poll how long it may wait."""

    type: str = "hello"
    id: int | None = None
    token: str = ""
    name: str | None = None
    rooms: dict[str, str | None] | None = None
    wait: float | None = None

    def hello(self) -> Hello:
        if self.type != "hello":
            raise Refuse("bad", "the body is a hello")
        return Hello(self.id, self.token, self.name, self.rooms)


class JsonList:
    """Events as elements of an array, a comma behind each."""

    has_positions = True

    def event(self, event: Event) -> bytes:
        return event.json + b","

    def notice(self, json: bytes) -> bytes:
        return b""  # or everybody's poll would end whenever somebody comes, goes or types


JSON_LIST = JsonList()


class Visitor:
    """A ``wsd.chat.commands.Client`` for as long as one request takes.

    Subclasses say what a reply, an event and the end are; here is what they have in common.
    """

    encoding: events.Encoding = JSON_LIST
    line = NO_LINE
    roams = False

    def __init__(
        self, context: Context, http: HttpClient, request: Request, headers: Headers
    ) -> None:
        self._context = context
        self._http = http
        self._request = request
        self._headers = headers
        self.guest = NOBODY
        self.known = False
        self.default_room = ""
        self.rooms: tuple[str, ...] = ()
        self.unanswered = 0
        self.address = http.address
        self.refused: tuple[str, float] | None = None
        self.gone = False
        """Answered, or the connection is gone."""
        http.waiting = self

    def attempt(self, begin: Callable[[], None]) -> None:
        """``begin``, and answer if that raises Refuse."""
        try:
            begin()
        except Refuse as refusal:
            self.refuse(refusal)

    # -- nothing of this is for somebody who only asks once

    def hold(self) -> None: ...

    def release(self) -> None: ...

    def feed(self, data: bytes) -> None: ...

    def may_use(self, room: str) -> bool:
        return True  # a request was judged for all the rooms that it names

    def deliver(self, data: bytes) -> bool:
        return True

    def reply(self, value: dict[str, Any]) -> None: ...

    def drain(self, retry_ms: tuple[int, int]) -> None: ...

    # -- the end

    def close(self, reason: Reason) -> None:
        if reason is INTERNAL:
            self.refuse(Refuse("internal", "that went wrong here"))
        else:  # the log is another one: what has been gathered means nothing any more
            self.refuse(Refuse("busy", "start again from the position that you have", 0))

    def refuse(self, refusal: Refuse) -> None:
        """Answer with one error instead."""
        keep_alive = self._request.keep_alive
        self._end(refused(self._context, refusal, self._headers, keep_alive=keep_alive))

    def answer(self, body: bytes) -> None:
        """Send the array that was asked for; whoever was a member of rooms is none any more."""
        headers = [*self._headers, JSON]
        self._end(response(200, headers, body, keep_alive=self._request.keep_alive))

    def _end(self, data: bytes) -> None:
        if not self.gone:
            self._leave()
            self._http.respond(data)

    def abandon(self) -> None:
        if not self.gone:
            self._leave()

    def _leave(self) -> None:
        self.gone = True
        self._context.commands.depart(self)
