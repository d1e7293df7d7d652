"""What happens in a room: drafts that clients ask for, and the events that the hub makes of them.

An event is numbered, encoded and stored once, by the hub.  Workers hand on its JSON as it is and
look inside only for members that need another encoding.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final, Protocol

import msgspec

MESSAGE: Final = "message"
EDIT: Final = "edit"
DELETE: Final = "delete"


class Draft(msgspec.Struct, array_like=True, frozen=True):
    """An event that somebody asks for and the hub has not numbered yet.

    ``uid`` and ``cid`` together are its identity: the hub stores one of them once.  ``ref`` is
    the message that an edit or delete changes, or that a message replies to.
    """

    room: str
    kind: str
    uid: str
    name: str
    role: str
    cid: str
    text: str = ""
    ref: int | None = None


class Message(msgspec.Struct, tag_field="type", tag=MESSAGE, omit_defaults=True):
    room: str
    seq: int
    time: float
    uid: str
    name: str
    role: str
    text: str
    reply_to: int | None = None
    edited: bool = False
    deleted: bool = False


class Edit(msgspec.Struct, tag_field="type", tag=EDIT):
    room: str
    seq: int
    time: float
    ref: int
    text: str


class Delete(msgspec.Struct, tag_field="type", tag=DELETE):
    room: str
    seq: int
    time: float
    ref: int


class Mode(msgspec.Struct, tag_field="type", tag="mode"):
    room: str
    seq: int
    time: float
    modes: dict[str, Any]


Body = Message | Edit | Delete | Mode

encode = msgspec.json.Encoder().encode
_decoder: msgspec.json.Decoder[Body] = msgspec.json.Decoder(Body)


def decode(json: bytes) -> Body:
    return _decoder.decode(json)


class Event:
    """One numbered event.  Each encoding of it is made at most once, whoever needs it."""

    __slots__ = ("_encoded", "json", "seq")

    def __init__(self, seq: int, json: bytes) -> None:
        self.seq = seq
        self.json = json
        self._encoded: dict[Encoding, bytes] = {}

    def encoded(self, encoding: Encoding) -> bytes:
        data = self._encoded.get(encoding)
        if data is None:
            data = self._encoded[encoding] = encoding.event(self)
        return data


class Encoding(Protocol):
    """How one kind of client is told what happens; one object serves all clients of the kind."""

    has_positions: bool
    """Its clients know their position, so they must hear of it when the log is replaced."""

    def event(self, event: Event) -> bytes:
        """The bytes for an event; b"" when this kind of client is not told of it."""

    def notice(self, json: bytes) -> bytes:
        """The same for what has no number and is not kept: presence, typing."""


class Position(msgspec.Struct, frozen=True):
    """Where a reader stands in a room: ``seq`` in the life ``epoch`` of the log."""

    epoch: str
    seq: int


def position_text(epoch: str, seq: int) -> str:
    """A position as clients are told it."""
    return f"{epoch}.{seq}"


def parse_position(text: str) -> Position | None:
    """``"k3f9x2.1234"``; None for anything else, which is answered as a position out of reach."""
    return _parse_position(text) if len(text) <= 64 else None


@lru_cache(maxsize=1024)
def _parse_position(text: str) -> Position | None:
    epoch, dot, seq = text.rpartition(".")
    if not dot or not epoch.isalnum() or not 1 <= len(seq) <= 18:
        return None
    if not (seq.isascii() and seq.isdigit()):
        return None
    return Position(epoch, int(seq))
