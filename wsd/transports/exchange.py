"""The addresses for scripts over plain HTTP: polls, streams, commands and pages of history.

Here a request is taken apart, its origin judged (CORS), and the client that answers it begun.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any, TypeVar

import msgspec

from wsd import strict_json
from wsd.chat import wire
from wsd.chat.schema import MAX_SEQ, Refuse, room_name
from wsd.chat.wire import Page
from wsd.protocol.http import Headers, HttpError, Request, response
from wsd.strict_json import JsonError
from wsd.transports.context import Context
from wsd.transports.http import HttpClient
from wsd.transports.origin import check_origin
from wsd.transports.poll import PollClient
from wsd.transports.send import SendBody, Sender
from wsd.transports.stream import ServerSentEvents, StreamClient
from wsd.transports.visitor import JSON, HelloBody, refused, to_json

METHODS = {"/poll": "GET, POST", "/stream": "GET, POST", "/send": "POST"}

# Proxies keep answers back unless told not to: nginx has a header for that.
_LIVE = [("Cache-Control", "no-store"), ("X-Accel-Buffering", "no")]
_HISTORY_AGE = "public, max-age=30"
"""Of a page that no new message can change.  An edit or a delete shows after this at the latest."""

T = TypeVar("T")


def _body(request: Request, type_: type[T]) -> T:
    """The JSON in the body, whatever its Content-Type says.  Raises Refuse."""
    try:
        return strict_json.decode(request.body, msgspec.json.Decoder(type_).decode)
    except JsonError as error:
        raise Refuse("bad", f"the body: {error}") from None


class Exchange:
    def __init__(self, context: Context) -> None:
        self._context = context
        self._events = ServerSentEvents(context.rooms)

    def handle(self, client: HttpClient, request: Request) -> bool:
        """Begin to answer; False if the address is none of these.  Raises HttpError."""
        path = request.path
        room = _room_of_history(path)
        if path not in METHODS and room is None:
            return False
        allowed = METHODS.get(path, "GET")
        if request.method == "OPTIONS":
            client.respond(self._preflight(request, allowed))
        elif request.method not in allowed.split(", "):
            raise HttpError(
                405, "method_not_allowed", f"Possible here: {allowed}.",
                (("Allow", f"{allowed}, OPTIONS"),),
            )  # fmt: skip
        elif self._context.draining:
            client.refuse(503, "restart", "The server is restarting.")
        else:
            try:
                self._begin(client, request, room)
            except Refuse as refusal:
                keep_alive = request.keep_alive
                client.respond(refused(self._context, refusal, _LIVE, keep_alive=keep_alive))
        return True

    def _begin(self, client: HttpClient, request: Request, room: str | None) -> None:
        if room is not None:
            self._history(client, request, room_name(room))
        elif request.path == "/send":
            self._send(client, request)
        elif request.path == "/poll":
            self._poll(client, request)
        else:
            self._stream(client, request)

    # -- origins

    def _judge(self, request: Request, rooms: Iterable[str]) -> Headers:
        """The headers that let a page of the request's origin read the answer.  Raises HttpError
        unless it may use all of ``rooms``; none is the site as a whole."""
        settings = self._context.settings
        patterns = [settings.for_room(name).origins for name in rooms] or [settings.origins]
        for allowed in patterns:
            headers = check_origin(request, allowed)
        return headers

    def _preflight(self, request: Request, methods: str) -> bytes:
        """What a browser asks before a script's request (Fetch, CORS-preflight fetch).

        It does not say for which room, so the origins of any room will do; the request itself is
        judged again.
        """
        settings = self._context.settings
        rooms = [settings.for_room(name).origins for name in settings.rooms]
        merged = [pattern for patterns in [settings.origins, *rooms] for pattern in patterns]
        headers = [
            *check_origin(request, merged),
            ("Access-Control-Allow-Methods", methods),
            ("Access-Control-Allow-Headers", "Content-Type, Last-Event-ID"),
            ("Access-Control-Max-Age", "86400"),
        ]
        return response(204, headers, keep_alive=request.keep_alive)

    # -- polls and streams

    def _room(self, request: Request) -> str:
        return room_name(request.query.get("room") or self._context.settings.page.default_room)

    def _hello(self, request: Request, room: str) -> tuple[HelloBody, Headers]:
        body = _body(request, HelloBody)
        rooms = [room_name(name) for name in body.rooms] if body.rooms else [room]
        return body, [*self._judge(request, rooms), *_LIVE]

    def _poll(self, client: HttpClient, request: Request) -> None:
        room, hold_s = self._room(request), self._context.settings.poll.hold
        if request.method == "GET":
            headers = [*self._judge(request, [room]), *_LIVE]
            wait_s = _seconds(request.query.get("wait"), hold_s)
            reader = PollClient(self._context, client, request, headers, wait_s)
            reader.watch(room, request.query.get("after"))
            return
        body, headers = self._hello(request, room)
        wait_s = _at_most(hold_s, body.wait)
        poller = PollClient(self._context, client, request, headers, wait_s)
        poller.attempt(lambda: poller.begin(body.hello(), room))

    def _stream(self, client: HttpClient, request: Request) -> None:
        room = self._room(request)
        if request.method == "GET":
            headers = [*self._judge(request, [room]), *_LIVE]
            after = request.headers.get("last-event-id") or request.query.get("after")
            StreamClient(self._context, client, room, headers, self._events).watch(after)
            return
        body, headers = self._hello(request, room)
        hello = body.hello()
        StreamClient(self._context, client, room, headers, self._events).begin(hello)

    def _send(self, client: HttpClient, request: Request) -> None:
        body = _body(request, SendBody)
        headers = [*self._judge(request, body.rooms()), *_LIVE]
        sender = Sender(self._context, client, request, headers)
        sender.attempt(lambda: sender.begin(body))

    # -- history

    def _history(self, client: HttpClient, request: Request, room: str) -> None:
        context = self._context
        headers = self._judge(request, [room])
        page_max = context.settings.for_room(room).history.page_max
        before = _number(request, "before", MAX_SEQ, MAX_SEQ)
        limit = min(_number(request, "limit", 50, MAX_SEQ), page_max)

        def answer(page: Page) -> None:
            if isinstance(page, wire.Refused):
                refusal = Refuse(page.code, page.message, 1000)
                keep_alive = request.keep_alive
                client.respond(refused(context, refusal, headers, keep_alive=keep_alive))
                return
            value = {
                "epoch": context.rooms.epoch,
                "messages": [msgspec.Raw(json) for _, json in page.events],
                "more": page.more,
            }
            # Only what has a number below the head is the same for ever, or nearly.
            lasting = before != MAX_SEQ and len(page.events) > 0
            client.respond(_page(request, headers, value, lasting))

        context.link.read(room, 0, before, limit, answer, messages=True)


def _room_of_history(path: str) -> str | None:
    """ROOM of ``/rooms/ROOM/messages``."""
    if path.startswith("/rooms/") and path.endswith("/messages"):
        return path[len("/rooms/") : -len("/messages")]
    return None


def _page(request: Request, headers: Headers, value: dict[str, Any], lasting: bool) -> bytes:
    body = to_json(value)
    tag = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
    headers = [
        *headers, JSON, ("ETag", tag),
        ("Cache-Control", _HISTORY_AGE if lasting else "no-cache"),
    ]  # fmt: skip
    if tag in request.header("if-none-match"):
        return response(304, headers, keep_alive=request.keep_alive)
    return response(200, headers, body, keep_alive=request.keep_alive)


def _seconds(text: str | None, longest: float) -> float:
    if text is None:
        return longest
    try:
        return _at_most(longest, float(text) if len(text) < 16 else -1.0)
    except ValueError:
        raise _bad_wait() from None


def _at_most(longest: float, wanted: float | None) -> float:
    if wanted is None:
        return longest
    if not 0 <= wanted < float("inf"):
        raise _bad_wait()
    return min(wanted, longest)


def _bad_wait() -> Refuse:
    return Refuse("bad", "wait is a number of seconds, from 0")


def _number(request: Request, name: str, default: int, highest: int) -> int:
    text = request.query.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) <= 16 and 0 < int(text) <= highest):
        raise Refuse("bad", f"{name} is a positive number")
    return int(text)
