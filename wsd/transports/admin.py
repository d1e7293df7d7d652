"""What the admin listener answers: health, metrics, and what ``wsd say`` and its like ask for.

Health and metrics are open to whoever reaches the listener.  The rest is for the Unix socket
alone, where the file's permissions say who may connect: over TCP any page in a browser on this
machine could send requests.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable
from typing import Any

import msgspec

from wsd import __version__, strict_json
from wsd.chat import event as events
from wsd.chat import wire
from wsd.chat.event import MESSAGE, Draft, Event
from wsd.chat.fanout import NO_LINE
from wsd.chat.guests import NOBODY
from wsd.chat.schema import Refuse, clean_text, room_name
from wsd.metrics import M
from wsd.names import NameProblem, guest_name
from wsd.protocol.http import HttpError, Request, response
from wsd.reasons import Reason
from wsd.strict_json import JsonError
from wsd.transports.context import Context
from wsd.transports.http import HttpClient

SILENT_S = 3.0
"""Silence of the hub, whose heart beats every second, after which this daemon is not ready."""

_STATUS = {"storage": 503, "busy": 503}
Answer = Callable[[int, Any], None]


class _Lines:
    """Events as they are, one a line."""

    has_positions = False

    def event(self, event: Event) -> bytes:
        return event.json + b"\n"

    def notice(self, json: bytes) -> bytes:
        return b""


class TailClient:
    """Watches a room for ``wsd tail``, unseen, until the other end closes."""

    encoding: events.Encoding = _Lines()
    guest = NOBODY
    line = NO_LINE

    def __init__(self, context: Context, client: HttpClient, room: str) -> None:
        self._context = context
        self._room = room
        self._inside = False
        self._gone = False
        _, self._group = client.take_over()
        self.connection = client.connection
        self.connection.owner = self
        context.enrol(self)
        self.connection.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\n"
            b"Cache-Control: no-store\r\nConnection: close\r\n\r\n"
        )
        context.rooms.prepare(room, None, self._enter)

    def _enter(self) -> None:
        if self._gone:
            return
        rooms = self._context.rooms
        rooms.admit(self._room, self, rooms.entry(self._room, self, None))
        self._inside = True

    def deliver(self, data: bytes) -> bool:
        if self.connection.weight + len(data) > self._context.settings.limits.queue:
            return False
        self.connection.write(data)
        return True

    def feed(self, data: bytes) -> None:
        self.connection.on_drained = self._on_drained
        if data:
            self.connection.write(data)
        elif not self.connection.queued:
            self._context.loop.call_later(0, self._on_drained)

    def _on_drained(self) -> None:
        self.connection.on_drained = None
        self._context.rooms.drained(self._room, self)

    def close(self, reason: Reason) -> None:
        self.connection.close(reason.name)

    def on_data(self, data: bytes) -> None: ...

    def on_gone(self, reason: str) -> None:
        self._gone = True
        if self._inside:
            self._context.rooms.leave(self._room, self)
        self._context.dismiss(self)
        self._context.closed(reason, "admin")
        self._context.release_address(self._group)

    def sweep(self, now: float) -> float:
        return math.inf

    def drain(self, retry_ms: tuple[int, int]) -> None:
        self.connection.close("restart")

    def restart(self) -> None:
        self.connection.close("restart")


class AdminRouter:
    """``local``: the listener is a Unix socket."""

    limited = False

    def __init__(self, context: Context, *, local: bool) -> None:
        self._context = context
        self._local = local
        self._numbers = 0
        self._calls: dict[str, Callable[[dict[str, Any], Answer], None]] = {
            "info": self._info,
            "say": self._say,
            "rooms": self._rooms,
            "who": self._who,
        }

    def handle(self, client: HttpClient, request: Request) -> None:
        path = request.path
        if path == "/healthz":
            client.respond(_text(request, 200, "ok\n"))
        elif path == "/readyz":
            problem = self._not_ready()
            client.respond(_text(request, 503 if problem else 200, f"{problem or 'ready'}\n"))
        elif path == "/metrics":
            body = self._context.shared.scoreboard.exposition()
            headers = [("Content-Type", "text/plain; version=0.0.4; charset=utf-8")]
            client.respond(_answer(request, 200, headers, body))
        elif path.startswith("/api/v1/") and self._local:
            self._api(client, request, path.removeprefix("/api/v1/"))
        else:
            client.respond(_json(request, 404, _error("bad", "there is nothing here")))

    def _not_ready(self) -> str:
        if self._context.draining:
            return "stopping"
        if not self._context.link.up:
            return "the hub is not in contact"
        beat = self._context.shared.scoreboard.row("hub")[M.BEAT]
        return "the hub does not answer" if self._context.loop.now - beat > SILENT_S else ""

    def _api(self, client: HttpClient, request: Request, name: str) -> None:
        arguments = _arguments(request)
        if name == "tail":
            try:
                TailClient(self._context, client, _room(arguments))
            except Refuse as refusal:
                client.respond(_json(request, 400, _error(refusal.code, refusal.message)))
            return
        call = self._calls.get(name)
        if call is None:
            client.respond(_json(request, 404, _error("bad", f"there is no {name[:40]}")))
            return

        def answer(status: int, value: Any) -> None:
            client.respond(_json(request, status, value))

        try:
            call(arguments, answer)
        except Refuse as refusal:
            answer(400, _error(refusal.code, refusal.message))

    # -- calls

    def _info(self, _arguments: dict[str, Any], answer: Answer) -> None:
        rows = dict(self._context.shared.scoreboard.used_rows())
        master = rows["master"]
        answer(
            200,
            {
                "version": __version__,
                "pid": int(master[M.PID]),
                "worker": os.getpid(),
                "ready": not self._not_ready(),
                "uptime_s": round(self._context.wall() - master[M.STARTED_AT], 1),
                "connections": int(sum(row[M.CONNECTIONS] for row in rows.values())),
                "processes": [
                    {"name": name, "pid": int(row[M.PID]), "ready": bool(row[M.READY]),
                     "starts": int(row[M.STARTS])}
                    for name, row in rows.items()
                ],
                "reloads": int(master[M.RELOADS]),
                "reloads_failed": int(master[M.RELOADS_FAILED]),
                "note": self._context.shared.scoreboard.note,
            },
        )  # fmt: skip

    def _say(self, arguments: dict[str, Any], answer: Answer) -> None:
        room = _room(arguments)
        settings = self._context.settings
        text = clean_text(_string(arguments, "text"), settings.for_room(room).limits.text)
        try:
            name = guest_name(_string(arguments, "name", settings.page.title))
        except NameProblem as problem:
            raise Refuse("name_bad", str(problem)) from None
        self._numbers += 1
        cid = _string(arguments, "cid", f"{os.getpid()}.{self._numbers}.{os.urandom(6).hex()}")

        def done(outcome: wire.Outcome) -> None:
            if isinstance(outcome, wire.Done):
                answer(200, {"room": room, "seq": outcome.seq, "time": outcome.time})
            else:
                status = _STATUS.get(outcome.code, 400)
                answer(status, _error(outcome.code, outcome.message))

        draft = Draft(room, MESSAGE, "owner", name, "owner", cid, text)
        self._context.link.publish(draft, done)

    def _rooms(self, _arguments: dict[str, Any], answer: Answer) -> None:
        self._context.link.overview(
            lambda found: _answer_found(answer, found, lambda value: {"rooms": value})
        )

    def _who(self, arguments: dict[str, Any], answer: Answer) -> None:
        room = _room(arguments)
        self._context.link.people(
            room,
            lambda found: _answer_found(answer, found, lambda v: {"room": room, "people": v}),
        )


def _answer_found(
    answer: Answer, found: wire.Answer | wire.Refused, put: Callable[[Any], dict[str, Any]]
) -> None:
    if isinstance(found, wire.Refused):
        answer(_STATUS.get(found.code, 400), _error(found.code, found.message))
    else:
        answer(200, put(found.values))


_decode_object = msgspec.json.Decoder(dict[str, Any]).decode


def _arguments(request: Request) -> dict[str, Any]:
    if request.method == "GET":
        return dict(request.query)
    if request.method != "POST":
        raise HttpError(405, "method_not_allowed", "GET or POST", (("Allow", "GET, POST"),))
    try:
        return strict_json.decode(request.body or b"{}", _decode_object)
    except JsonError as error:
        raise HttpError(400, "bad_json", f"The body is one JSON object: {error}.") from None


def _string(arguments: dict[str, Any], key: str, default: str | None = None) -> str:
    value = arguments.get(key, default)
    if not isinstance(value, str):
        raise Refuse("bad", f"{key} is missing" if value is None else f"{key} is a string")
    return value


def _room(arguments: dict[str, Any]) -> str:
    return room_name(_string(arguments, "room"))


def _error(code: str, message: str) -> dict[str, Any]:
    return {"error": {"code": code, "message": message}}


def _json(request: Request, status: int, value: Any) -> bytes:
    headers = [("Content-Type", "application/json"), ("Cache-Control", "no-store")]
    body = json.dumps(value, ensure_ascii=False).encode() + b"\n"
    return _answer(request, status, headers, body)


def _text(request: Request, status: int, text: str) -> bytes:
    headers = [("Content-Type", "text/plain; charset=utf-8"), ("Cache-Control", "no-store")]
    return _answer(request, status, headers, text.encode())


def _answer(request: Request, status: int, headers: list[tuple[str, str]], body: bytes) -> bytes:
    head = request.method == "HEAD"
    return response(status, headers, body, keep_alive=request.keep_alive, head=head)
