"""The forms of ``wsd.v1`` commands, and the rules for texts and ids in them."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from typing import Any

import msgspec

from wsd import names

MAX_SEQ = 2**53


class Command(msgspec.Struct, tag_field="type"):
    id: int | None = None


class Hello(Command, tag="hello"):
    token: str = ""
    name: str | None = None
    rooms: dict[str, str | None] | None = None


class Join(Command, tag="join", kw_only=True):
    room: str
    after: str | None = None


class Leave(Command, tag="leave", kw_only=True):
    room: str


class Say(Command, tag="say", kw_only=True):
    room: str
    text: str
    cid: str | None = None
    reply_to: int | None = None


class EditText(Command, tag="edit", kw_only=True):
    room: str
    seq: int
    text: str
    cid: str | None = None


class DeleteMessage(Command, tag="delete", kw_only=True):
    room: str
    seq: int
    cid: str | None = None


class Rename(Command, tag="rename", kw_only=True):
    name: str


class TypingNote(Command, tag="typing", kw_only=True):
    room: str


class History(Command, tag="history", kw_only=True):
    room: str
    before: int | None = None
    limit: int | None = None


class Moderate(Command, tag="moderate", kw_only=True):
    room: str
    action: str


class Pong(Command, tag="pong"):
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


def room_name(raw: str) -> str:
    """``raw`` as everybody writes it, if rooms may be called so.  Raises Refuse."""
    try:
        return names.room_name(raw)
    except names.NameProblem as problem:
        raise Refuse("bad", str(problem)) from None


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


def cid_or_own(raw: str | None, own: Callable[[], str]) -> str:
    """The client's id of a draft, or one of ours: then at least our own retries are recognised."""
    if raw is None:
        return own()
    if not 1 <= len(raw) <= 64 or not raw.isprintable():
        raise Refuse("bad", "a cid has 1 to 64 characters, none of control")
    return raw


def misunderstood(json: bytes, error: Exception) -> dict[str, Any]:
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
