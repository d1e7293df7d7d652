"""What a caller is given: the events of rooms, in order, and the answers to what was asked."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from msgspec import field


class _Stored(msgspec.Struct, frozen=True, kw_only=True):
    """An event with a number: each is given once, in the order of ``seq`` within its room.

    ``replay``: it is from before this client came to the room, or it may have been given already
    under another log.  What was said during a break is not: that was missed.
    """

    room: str
    seq: int
    time: float = 0.0
    replay: bool = False


class Message(_Stored, frozen=True, kw_only=True):
    """``own``: this client said it, or another one with the same token."""

    uid: str
    name: str
    text: str
    role: str = "guest"
    reply_to: int | None = None
    edited: bool = False
    deleted: bool = False
    own: bool = False


class Edit(_Stored, frozen=True, kw_only=True):
    """The message ``ref`` has another text now."""

    ref: int
    text: str


class Delete(_Stored, frozen=True, kw_only=True):
    """The text of the message ``ref`` is gone."""

    ref: int


class Mode(_Stored, frozen=True, kw_only=True):
    modes: dict[str, Any]


class Other(_Stored, frozen=True, kw_only=True):
    """A stored event of a kind that is newer than this client."""

    type: str
    fields: dict[str, Any]


class Gap(msgspec.Struct, frozen=True, kw_only=True):
    """Events are missing here: this client was away for longer than can be made up for, or the log
    is another one.  ``had`` is the position before, ``now`` the one that what comes next follows.

    ``missed`` is their number; None when the log is another one, whose numbers mean other events.
    """

    room: str
    had: str
    now: str
    missed: int | None


class Excluded(msgspec.Struct, frozen=True, kw_only=True):
    """The server does not let this client into a room any more that it was in."""

    room: str
    code: str
    message: str


class Presence(msgspec.Struct, frozen=True, kw_only=True):
    """Who came and went, as pairs of uid and name, and uids; with ``full`` joined is everybody."""

    room: str
    online: int = 0
    joined: list[tuple[str, str]] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    full: bool = False


class Typing(msgspec.Struct, frozen=True, kw_only=True):
    room: str
    uid: str


Event = Message | Edit | Delete | Mode | Other | Gap | Excluded | Presence | Typing


class Sent(msgspec.Struct, frozen=True, kw_only=True):
    """The server has stored it, for good.

    ``repeated``: it was there already under this ``cid``; ``differs``: with another text, and the
    first one stands.
    """

    room: str
    seq: int
    time: float
    cid: str
    repeated: bool = False
    differs: bool = False


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """A piece of a room's history, oldest first; ``more``: there is something before it."""

    messages: list[Message]
    more: bool


STORED: Final[dict[str, type[Message | Edit | Delete | Mode]]] = {
    "message": Message, "edit": Edit, "delete": Delete, "mode": Mode,
}  # fmt: skip
NOTICES: Final[dict[str, type[Presence | Typing]]] = {"presence": Presence, "typing": Typing}
NOT_STORED: Final = frozenset(
    {"welcome", "ok", "error", "history", "ping", "bye", "presence", "typing"}
)
"""What never is an event of a room's log, whatever fields it has."""


def stored(
    frame: dict[str, Any], *, own_uid: str, replay: bool
) -> Message | Edit | Delete | Mode | Other:
    """Raises msgspec.ValidationError for what does not have the fields of its kind."""
    kind = STORED.get(frame["type"])
    if kind is None:
        head = {key: frame[key] for key in ("room", "seq", "time", "type") if key in frame}
        return msgspec.convert(head | {"fields": frame, "replay": replay}, Other)
    mine = kind is Message and frame.get("uid") == own_uid
    return msgspec.convert(frame | {"replay": replay, "own": mine}, kind)


def notice(frame: dict[str, Any]) -> Presence | Typing:
    """Raises msgspec.ValidationError."""
    return msgspec.convert(frame, NOTICES[frame["type"]])


def page(reply: dict[str, Any], own_uid: str) -> Page:
    """Raises msgspec.ValidationError."""
    room, messages = reply["room"], reply.get("messages", [])
    return Page(
        messages=[
            msgspec.convert(m | {"room": room, "own": m.get("uid") == own_uid}, Message)
            for m in messages
        ],
        more=bool(reply.get("more")),
    )
