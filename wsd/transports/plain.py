"""``/plain/ROOM``: the room for a browser without any script, or without anything else.

A form and the latest messages, in a page that loads itself again.  Who somebody is stands in the
form, and in a cookie for the loading; neither is taken from another site's form.
"""

from __future__ import annotations

import secrets
import time
from typing import Any
from urllib.parse import parse_qsl

from wsd.chat import event as events
from wsd.chat import wire
from wsd.chat.event import Message
from wsd.chat.identity import Claims
from wsd.chat.schema import MAX_SEQ, Refuse, Say, room_name
from wsd.chat.wire import Page
from wsd.protocol.http import Headers, HttpError, Request, response
from wsd.transports.context import Context
from wsd.transports.http import HttpClient
from wsd.transports.origin import check_origin
from wsd.transports.visitor import Visitor

COOKIE = "wsd"
REFRESH_S = 20
MESSAGES = 50
MAX_FIELDS = 16


def handle_plain(context: Context, client: HttpClient, request: Request) -> None:
    """Answer a request for ``/plain/ROOM``.  Raises HttpError, and Refuse for a room's name."""
    room = room_name(request.path.removeprefix("/plain/"))
    if request.method in ("GET", "HEAD"):
        View(context, client, request, room).show()
    elif request.method == "POST":
        check_origin(request, context.settings.for_room(room).origins)
        Writer(context, client, request, room).take()
    else:
        raise HttpError(
            405, "method_not_allowed", "Only GET and POST are possible here.",
            (("Allow", "GET, HEAD, POST"),),
        )  # fmt: skip


class View:
    """The page as it will be; ``show`` asks the hub for the messages, and answers."""

    def __init__(self, context: Context, client: HttpClient, request: Request, room: str) -> None:
        self._context = context
        self._client = client
        self._request = request
        self._room = room
        self.token = ""
        self.name = ""
        self.cid = secrets.token_urlsafe(12)
        self.text = ""
        self.problem = ""
        self.status = 200

    def recognise(self, token: str) -> Claims | None:
        claims = self._context.guests.claims(token)
        if claims is not None:
            self.token, self.name = token, claims.name
        return claims

    def show(self) -> None:
        if not self.token and not self.recognise(_cookie(self._request)):
            self.recognise(self._context.guests.stranger())
        before = self._request.query.get("before", "")
        valid = before.isascii() and before.isdigit() and len(before) < 16 and int(before) > 0
        self._before = int(before) if valid else MAX_SEQ
        self._context.link.read(self._room, 0, self._before, MESSAGES, self._answer, messages=True)

    def _answer(self, page: Page) -> None:
        if isinstance(page, wire.Refused):
            self.problem = self.problem or page.message
            page = wire.Rows(0, 0, [], False)
        settings = self._context.settings
        still = bool(self.problem) or "still" in self._request.query or self._before != MAX_SEQ
        answer = self._context.pages.plain(
            self._request,
            settings.page.language,
            self.status,
            self.headers(),
            title=settings.page.title,
            room=self._room,
            token=self.token,
            cid=self.cid,
            name=self.name,
            text=self.text,
            text_limit=settings.for_room(self._room).limits.text,
            problem=self.problem,
            refresh_s=0 if still else REFRESH_S,
            messages=[_shown(json) for _, json in reversed(page.events)],
            before=self._before != MAX_SEQ,
            older=page.events[0][0] if page.more else 0,
        )
        self._client.respond(answer)

    def headers(self) -> Headers:
        life_s = int(self._context.settings.identity.guest_token_life)
        cookie = f"{COOKIE}={self.token}; Path=/plain; Max-Age={life_s}; HttpOnly; SameSite=Lax"
        return [("Cache-Control", "no-store"), ("Set-Cookie", cookie)]

    def go_back(self) -> None:
        """Have the browser ask for the page anew, so that its reload button sends nothing twice."""
        # The path as it came: percent-encoded, and grammatical.
        headers = [("Location", self._request.target.partition("?")[0]), *self.headers()]
        self._client.respond(response(303, headers, keep_alive=self._request.keep_alive))


class Writer(Visitor):
    """Says what the form says, then shows the page."""

    roams = True

    def __init__(self, context: Context, client: HttpClient, request: Request, room: str) -> None:
        super().__init__(context, client, request, [])
        self._room = room
        self._view = View(context, client, request, room)
        self._has_cookie = False

    def take(self) -> None:
        view = self._view
        form = _form(self._request)
        cookie = self._context.guests.claims(_cookie(self._request))
        claims = view.recognise(form.get("token", ""))
        view.text = form.get("message", "")
        view.cid = form.get("cid", "")[:64] or view.cid
        # A page of another site cannot know a token; and one with a token of its own would have
        # this browser speak as somebody else.
        if claims is None or (cookie is not None and cookie.uid != claims.uid):
            self._show(self._words("plain_expired"), 403)
            return
        self._has_cookie = cookie is not None
        self._speak(view, form.get("name", ""))

    def _speak(self, view: View, name: str) -> None:
        try:
            self._context.commands.introduce(self, view.token, name if name.strip() else None)
        except Refuse as refusal:
            view.name = name
            self._show(refusal.message, 400)
            return
        view.token, view.name = self._context.guests.token(self.guest), self.guest.name
        if not view.text.strip():  # perhaps only another name
            self._done()
            return
        say = Say(room=self._room, text=view.text, cid=view.cid, id=0)
        self._context.commands.carry_out(self, say)

    def reply(self, value: dict[str, Any]) -> None:
        if value["type"] == "error":
            self._show(value["message"], 429 if value["code"] == "rate" else 400)
        else:
            self._done()

    def refuse(self, refusal: Refuse) -> None:
        self._show(refusal.message, 503)

    def _done(self) -> None:
        self._view.text, self._view.cid = "", secrets.token_urlsafe(12)
        self._leave()
        if self._has_cookie:
            self._view.go_back()
        else:  # it may refuse cookies: then who it is would be lost on the way
            self._view.show()

    def _show(self, problem: str, status: int) -> None:
        self._view.problem, self._view.status = problem, status
        self._leave()
        self._view.show()

    def _words(self, key: str) -> str:
        settings = self._context.settings
        words = self._context.pages.words(self._request, settings.page.language)
        return words[key]


def _form(request: Request) -> dict[str, str]:
    """The fields of a form (WHATWG URL, section 5.1).  Raises HttpError."""
    try:
        fields = parse_qsl(
            request.body.decode("ascii"), keep_blank_values=True, errors="strict",
            max_num_fields=MAX_FIELDS,
        )  # fmt: skip
    except ValueError:
        raise HttpError(400, "bad_form", "The body is not a form in UTF-8.") from None
    return dict(fields)


def _cookie(request: Request) -> str:
    for part in request.header("cookie").split(";"):
        name, _, value = part.strip(" \t").partition("=")
        if name == COOKIE:
            return value
    return ""


def _shown(json: bytes) -> dict[str, Any]:
    message = events.decode(json)
    assert isinstance(message, Message)
    moment = time.gmtime(message.time)
    return {
        "seq": message.seq,
        "name": message.name,
        "lines": message.text.split("\n"),
        "edited": message.edited,
        "deleted": message.deleted,
        "iso": time.strftime("%Y-%m-%dT%H:%M:%SZ", moment),
        "shown": time.strftime("%Y-%m-%d %H:%M UTC", moment),
    }
