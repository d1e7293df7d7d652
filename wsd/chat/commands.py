"""The commands of ``wsd.v1``: what each looks like, what it needs, and what it does.

A command comes from any transport as the bytes of one JSON object.  To add one: a struct, a
handler in ``Commands``, and a line in its table.
"""

from __future__ import annotations

import itertools
import re
import secrets
import unicodedata
from collections.abc import Callable
from typing import Any, Protocol

import msgspec

from wsd import failpoints, logs
from wsd.chat import wire
from wsd.chat.event import DELETE, EDIT, MESSAGE, Draft
from wsd.chat.guests import Guest, Guests
from wsd.chat.identity import NameProblem, clean_name
from wsd.chat.rooms import Entry, Hub, Member, Rooms
from wsd.chat.wire import Outcome, Page
from wsd.config import Settings
from wsd.metrics import M, Row

MAX_UNANSWERED = 64
"""Commands of one client that wait for the hub; beyond, the worker stops reading that client."""

TYPING_EVERY_S = 1.0

_ROOM = re.compile(r"[\w.~-]{1,64}")
_MAX_SEQ = 2**53


class _Command(msgspec.Struct, tag_field="type"):
    id: int | None = None


class Hello(_Command, tag="hello"):
    token: str = ""
    name: str | None = None
    rooms: dict[str, str | None] | None = None


class Join(_Command, tag="join", kw_only=True):
    room: str
    after: str | None = None


class Leave(_Command, tag="leave", kw_only=True):
    room: str


class Say(_Command, tag="say", kw_only=True):
    room: str
    text: str
    cid: str | None = None
    reply_to: int | None = None


class EditText(_Command, tag="edit", kw_only=True):
    room: str
    seq: int
    text: str
    cid: str | None = None


class DeleteMessage(_Command, tag="delete", kw_only=True):
    room: str
    seq: int
    cid: str | None = None


class Rename(_Command, tag="rename", kw_only=True):
    name: str


class TypingNote(_Command, tag="typing", kw_only=True):
    room: str


class History(_Command, tag="history", kw_only=True):
    room: str
    before: int | None = None
    limit: int | None = None


class Moderate(_Command, tag="moderate", kw_only=True):
    room: str
    action: str


class Pong(_Command, tag="pong"):
    pass


AnyCommand = (
    Hello | Join | Leave | Say | EditText | DeleteMessage | Rename | TypingNote | History
    | Moderate | Pong
)  # fmt: skip


class _Head(msgspec.Struct):
    """What is left to read of a command that is not understood."""

    type: Any = None
    id: Any = None


class Refuse(Exception):
    """A command is answered with an error; raised before anything has been done."""

    def __init__(self, code: str, message: str, retry_ms: int | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.retry_ms = retry_ms


class Client(Member, Protocol):
    """A connection whose other end speaks commands."""

    guest: Guest
    known: bool
    """It has said ``hello``; before, ``guest`` is not there."""
    default_room: str
    rooms: dict[str, None]
    unanswered: int
    typed_at: float
    gone: bool

    def reply(self, value: dict[str, Any]) -> None: ...

    def hold(self) -> None:
        """Handle no more input of this client until ``release``; calls add up."""

    def release(self) -> None: ...


def room_name(raw: str) -> str:
    """``raw`` if rooms may be called so.  Raises Refuse."""
    name = unicodedata.normalize("NFC", raw[:200])
    if not _ROOM.fullmatch(name) or name in (".", ".."):
        raise Refuse("bad", "a room's name has 1 to 64 letters, digits or . _ ~ -")
    return name


def clean_text(raw: str, limit: int) -> str:
    """``raw`` as it is stored: one kind of line end, no control characters.  Raises Refuse."""
    if len(raw) > limit:
        raise Refuse("too_long", f"a message has at most {limit} characters, this has {len(raw)}")
    text = raw.replace("\r\n", "\n").replace("\r", "\n")
    if not text.isprintable():  # rare: line ends, unusual spaces, or what has to go
        text = "".join(c for c in text if c in "\n\t" or unicodedata.category(c) != "Cc")
    text = text.strip()
    if not text:
        raise Refuse("bad", "a message has a text")
    return text


def _cid(raw: str | None, own: Callable[[], str]) -> str:
    """The client's id of a draft, or one of ours: then at least our own retries are recognised."""
    if raw is None:
        return own()
    if not 1 <= len(raw) <= 64:
        raise Refuse("bad", "a cid has 1 to 64 characters")
    return raw


def _short(number: float) -> float:
    """25 rather than 25.0"""
    return int(number) if number == int(number) else number


def _entry_fields(entry: Entry) -> dict[str, Any]:
    fields = entry._asdict()
    del fields["start"]
    return fields


class Commands:
    """Carries out the commands of all clients of this worker."""

    def __init__(
        self,
        hub: Hub,
        rooms: Rooms,
        guests: Guests,
        settings: Settings,
        row: Row,
        clock: Callable[[], float],
        wall: Callable[[], float],
    ) -> None:
        self._hub = hub
        self._rooms = rooms
        self._guests = guests
        self.settings = settings
        self._row = row
        self._clock = clock
        self._wall = wall
        self._decoder: msgspec.json.Decoder[AnyCommand] = msgspec.json.Decoder(AnyCommand)
        prefix, numbers = f"~{secrets.token_hex(6)}.", itertools.count()
        self._own_cid: Callable[[], str] = lambda: f"{prefix}{next(numbers)}"
        self._table: dict[type, Callable[[Client, Any], None]] = {
            Hello: self._hello,
            Join: self._join,
            Leave: self._leave,
            Say: self._say,
            EditText: self._edit,
            DeleteMessage: self._delete,
            Rename: self._rename,
            TypingNote: self._typing,
            History: self._history,
            Moderate: self._moderate,
            Pong: lambda client, command: None,
        }

    def handle(self, client: Client, json: bytes) -> None:
        """Carry out one command; whatever is wrong with it is answered, never raised."""
        self._row[M.COMMANDS] += 1
        try:
            command = self._decoder.decode(json)
        except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
            client.reply(_misunderstood(json, error))
            return
        try:
            if not client.known and not isinstance(command, Hello | Pong):
                raise Refuse("auth", "say hello first")
            self._table[type(command)](client, command)
        except Refuse as refusal:
            self._refuse(client, command.id, refusal)

    def _refuse(self, client: Client, id_: int | None, refusal: Refuse) -> None:
        logs.event(logs.debug, "refused", code=refusal.code)
        answer: dict[str, Any] = {"type": "error"}
        if id_ is not None:
            answer["id"] = id_
        answer |= {"code": refusal.code, "message": refusal.message}
        if refusal.retry_ms is not None:
            answer["retry_ms"] = refusal.retry_ms
        client.reply(answer)

    def _ok(self, client: Client, command: _Command, fields: dict[str, Any]) -> None:
        if command.id is not None:
            client.reply({"type": "ok", "id": command.id, **fields})

    # -- coming and going

    def _hello(self, client: Client, command: Hello) -> None:
        if client.known:
            raise Refuse("bad", "hello was said already")
        wanted = command.rooms or {client.default_room: None}
        if len(wanted) > self.settings.limits.rooms_per_connection:
            raise Refuse("bad", f"at most {self.settings.limits.rooms_per_connection} rooms")
        wanted = {room_name(name): after for name, after in wanted.items()}
        self.introduce(client, command.token, command.name)

        def done() -> None:
            entries = self._enter(client, wanted, True)
            client.reply(self._welcome(client, command.id, entries))
            for name, entry in entries.items():
                self._rooms.admit(name, client, entry)

        self._prepare(client, wanted, done)

    def introduce(self, client: Client, token: str, name: str | None) -> Guest:
        """Give ``client`` the guest that it is.  Raises Refuse for a name that cannot be had."""
        try:
            client.guest = self._guests.arrive(token, clean_name(name) if name else None)
        except NameProblem as problem:
            raise Refuse("name_bad", str(problem)) from None
        client.known = True
        return client.guest

    def _welcome(
        self, client: Client, id_: int | None, entries: dict[str, Entry]
    ) -> dict[str, Any]:
        guest = client.guest
        welcome: dict[str, Any] = {"type": "welcome"}
        if id_ is not None:
            welcome["id"] = id_
        return welcome | {
            "uid": guest.uid,
            "token": self._guests.token(guest),
            "name": guest.name,
            "role": guest.role,
            "ping_s": _short(self.settings.ping.every),
            "time": round(self._wall(), 3),
            "rooms": {name: _entry_fields(entry) for name, entry in entries.items()},
        }

    def enter_silently(
        self, client: Client, name: str, replay: bool, first: Callable[[], None]
    ) -> None:
        """Join for the dialects that know no commands; ``first`` sends what goes ahead."""

        def done() -> None:
            entries = self._enter(client, {name: None}, replay)
            first()
            self._rooms.admit(name, client, entries[name])

        self._prepare(client, {name: None}, done)

    def _prepare(
        self, client: Client, wanted: dict[str, str | None], done: Callable[[], None]
    ) -> None:
        """Hold the client until all rooms can be entered, then enter them in one step."""
        missing = len(wanted)
        client.hold()

        def prepared() -> None:
            nonlocal missing
            missing -= 1
            if not missing:
                if not client.gone:
                    done()
                client.release()

        for name, after in wanted.items():
            self._rooms.prepare(name, after, prepared)

    def _enter(
        self, client: Client, wanted: dict[str, str | None], replay: bool
    ) -> dict[str, Entry]:
        entries: dict[str, Entry] = {}
        for name, after in wanted.items():
            if name in client.rooms:
                self._rooms.leave(name, client)
            client.rooms[name] = None
            entries[name] = self._rooms.entry(name, client, after, replay)
        return entries

    def _join(self, client: Client, command: Join) -> None:
        name = room_name(command.room)
        limit = self.settings.limits.rooms_per_connection
        if name not in client.rooms and len(client.rooms) >= limit:
            raise Refuse("bad", f"at most {limit} rooms at once")

        def done() -> None:
            entry = self._enter(client, {name: command.after}, True)[name]
            answer: dict[str, Any] = {"type": "ok"}
            if command.id is not None:
                answer["id"] = command.id
            client.reply(answer | {"room": name, **_entry_fields(entry)})
            self._rooms.admit(name, client, entry)

        self._prepare(client, {name: command.after}, done)

    def _leave(self, client: Client, command: Leave) -> None:
        name = self._joined(client, command.room)
        del client.rooms[name]
        self._rooms.leave(name, client)
        self._ok(client, command, {"room": name})

    def depart(self, client: Client) -> None:
        """The connection of ``client`` has ended."""
        for name in client.rooms:
            self._rooms.leave(name, client)
        client.rooms.clear()
        if client.known:
            self._guests.leave(client.guest)

    def _joined(self, client: Client, raw: str) -> str:
        name = raw if raw in client.rooms else unicodedata.normalize("NFC", raw[:200])
        if name not in client.rooms:
            raise Refuse("unknown_room", "join the room first")
        return name

    # -- messages

    def _say(self, client: Client, command: Say) -> None:
        self._publish(client, command, MESSAGE, command.text, command.reply_to)

    def _edit(self, client: Client, command: EditText) -> None:
        self._publish(client, command, EDIT, command.text, command.seq)

    def _delete(self, client: Client, command: DeleteMessage) -> None:
        self._publish(client, command, DELETE, None, command.seq)

    def _publish(
        self,
        client: Client,
        command: Say | EditText | DeleteMessage,
        kind: str,
        text: str | None,
        ref: int | None,
    ) -> None:
        failpoints.hit("worker.after_receive")
        room = self._joined(client, command.room)
        if ref is not None and not 0 < ref < _MAX_SEQ:
            raise Refuse("bad", "that is not the number of a message")
        draft = self.draft(client.guest, room, kind, text, ref, command.cid)

        def done(outcome: Outcome) -> None:
            failpoints.hit("worker.after_ok")
            if isinstance(outcome, wire.Done):
                fields = {"room": room, "seq": outcome.seq, "time": outcome.time}
                self._ok(client, command, fields)
            else:
                retry_ms = 1000 if outcome.code in ("storage", "busy") else None
                refusal = Refuse(outcome.code, outcome.message, retry_ms)
                self._refuse(client, command.id, refusal)

        self._await(client, done, lambda answer: self._hub.publish(draft, answer))

    def draft(
        self,
        guest: Guest,
        room: str,
        kind: str,
        text: str | None,
        ref: int | None = None,
        cid: str | None = None,
    ) -> Draft:
        """What goes to the hub, if ``guest`` may say it now.  Raises Refuse.

        The order matters: what is wrong with the text is said without using up the allowance.
        """
        limits = self.settings.for_room(room).limits
        cid = _cid(cid, self._own_cid)
        clean = clean_text(text, limits.text) if text is not None else ""
        if kind != DELETE:
            wait_s = guest.take(limits.burst, limits.every, self._clock())
            if wait_s > 0:
                retry_ms = int(wait_s * 1000) + 1
                raise Refuse("rate", f"one message every {limits.every:g} s", retry_ms)
        return Draft(room, kind, guest.uid, guest.name, guest.role, cid, clean, ref)

    def _await(
        self,
        client: Client,
        done: Callable[[Any], None],
        ask: Callable[[Callable[[Any], None]], None],
    ) -> None:
        """Ask the hub on behalf of ``client``, whose input is held while too much waits."""
        client.unanswered += 1
        if client.unanswered == MAX_UNANSWERED:
            client.hold()

        def answer(outcome: Any) -> None:
            client.unanswered -= 1
            if not client.gone:
                done(outcome)
            if client.unanswered == MAX_UNANSWERED - 1:
                client.release()

        ask(answer)

    # -- the rest

    def _rename(self, client: Client, command: Rename) -> None:
        guest = client.guest
        try:
            guest.name = clean_name(command.name)
        except NameProblem as problem:
            raise Refuse("name_bad", str(problem)) from None
        self._rooms.renamed(guest)
        self._ok(client, command, {"name": guest.name, "token": self._guests.token(guest)})

    def _typing(self, client: Client, command: TypingNote) -> None:
        room = self._joined(client, command.room)
        now = self._clock()
        if now - client.typed_at >= TYPING_EVERY_S:
            client.typed_at = now
            self._hub.tell(wire.Typing(room, client.guest.uid))

    def _history(self, client: Client, command: History) -> None:
        room = room_name(command.room)
        before = _MAX_SEQ if command.before is None else command.before
        limit = 50 if command.limit is None else command.limit
        if not 0 < before <= _MAX_SEQ or limit < 1:
            raise Refuse("bad", "before and limit are positive numbers")
        limit = min(limit, self.settings.for_room(room).history.page_max)

        def done(page: Page) -> None:
            if isinstance(page, wire.Refused):
                self._refuse(client, command.id, Refuse(page.code, page.message, 1000))
                return
            answer: dict[str, Any] = {"type": "history"}
            if command.id is not None:
                answer["id"] = command.id
            client.reply(
                answer | {
                    "room": room,
                    "epoch": self._rooms.epoch,
                    "messages": [msgspec.Raw(json) for _, json in page.events],
                    "more": page.more,
                }
            )  # fmt: skip

        self._await(
            client,
            done,
            lambda answer: self._hub.read(room, 0, before, limit, answer, messages=True),
        )

    def _moderate(self, client: Client, command: Moderate) -> None:
        raise Refuse("denied", "that is for moderators")


def _misunderstood(json: bytes, error: Exception) -> dict[str, Any]:
    """The error for a command that does not fit its schema, with its ``id`` if that is legible."""
    answer: dict[str, Any] = {"type": "error"}
    detail = str(error).replace("Object", "the command").replace("`$.", "`")
    try:
        head = msgspec.json.decode(json, type=_Head)
    except (msgspec.MsgspecError, RecursionError, UnicodeError):
        return answer | {"code": "bad", "message": "a command is one JSON object"}
    if isinstance(head.id, int) and not isinstance(head.id, bool):
        answer["id"] = head.id
    if not isinstance(head.type, str):
        detail = "a command has a type"
    elif "Invalid value" in detail:
        detail = f"there is no command {head.type[:40]!r}"
    return answer | {"code": "bad", "message": detail}
