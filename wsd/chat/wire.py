"""What hub and workers say to each other over the Unix socket.

What one end has to say at the end of a turn is a packet: a 4-byte big-endian length and a
MessagePack array of frames, each an array told apart by its first element.  One by one, encoding
and decoding them took three times as long, a twentieth of the cost of a message to a small room.
Both ends are processes of one daemon, so there are no versions and no optional parts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from wsd.chat.event import Draft

RETRY_S = 1.0
"""When a client may try again what the hub could not do now."""

PACKET_BYTES = 256 * 1024
"""A turn with more to say says it in several packets: the other end begins with the first ones."""

MAX_PACKET = 16 * 1024 * 1024
"""Bytes that a reader takes for a packet; one frame may be a whole one."""


class WireError(Exception):
    """The other end sent what no version of this code sends: the link is of no use any more."""


class _Frame(msgspec.Struct, array_like=True, tag_field="t"):
    pass


# -- worker to hub


class Hello(_Frame, tag=1):
    worker: str


class Subscribe(_Frame, tag=2):
    """``have``: newest event here, or -1.  The answer brings what came after it, or the newest
    ``replay`` events if it is -1 or too far back (``reach``)."""

    room: str
    have: int
    replay: int
    reach: int


class Unsubscribe(_Frame, tag=3):
    room: str


class Publish(_Frame, tag=4):
    n: int
    draft: Draft


class Read(_Frame, tag=5):
    """Events with ``after < seq < before``: the ``limit`` oldest of them, or with ``messages``
    the ``limit`` newest messages (a history page)."""

    n: int
    room: str
    after: int
    before: int
    limit: int
    messages: bool


class Present(_Frame, tag=6):
    """A guest appeared at this worker (``here``), took another name, or left it."""

    room: str
    uid: str
    name: str
    here: bool
    quiet: bool = False


class Named(_Frame, tag=11):
    """A guest has had another name since ``at``, seconds since 1970: said by the worker that gave
    it, and by the hub to all others, as it may be at any of them, or come there next."""

    uid: str
    name: str
    at: int


class Find(_Frame, tag=10):
    """Ask whether a draft was stored before: Done, or Refused with the code "unknown"."""

    n: int
    draft: Draft


class Typing(_Frame, tag=7):
    room: str
    uid: str


class Overview(_Frame, tag=8):
    """Ask for all rooms that have people in them."""

    n: int


class People(_Frame, tag=9):
    """Ask who is in a room."""

    n: int
    room: str


# -- hub to worker


class Welcome(_Frame, tag=20):
    epoch: str


class Subscribed(_Frame, tag=21):
    room: str
    head: int
    oldest: int
    events: list[tuple[int, bytes]]
    online: int
    people: list[tuple[str, str]] | None


class Happened(_Frame, tag=22):
    room: str
    seq: int
    json: bytes


class Done(_Frame, tag=23):
    """A draft is stored; ``duplicate``: it had been before, and ``differs``: with another text."""

    n: int
    seq: int
    time: float
    duplicate: bool = False
    differs: bool = False


class Refused(_Frame, tag=24):
    n: int
    code: str
    message: str


class Rows(_Frame, tag=25):
    n: int
    oldest: int
    events: list[tuple[int, bytes]]
    more: bool


class Presence(_Frame, tag=26):
    """``people`` is the whole list where that is shorter than telling what changed."""

    room: str
    online: int
    joined: list[tuple[str, str]]
    left: list[str]
    people: list[tuple[str, str]] | None = None


class Typed(_Frame, tag=27):
    room: str
    uid: str


class Trimmed(_Frame, tag=29):
    """Retention has removed what was older than ``oldest``."""

    room: str
    oldest: int


class Answer(_Frame, tag=28):
    """A part of a list; ``more``: another one follows."""

    n: int
    values: list[dict[str, Any]]
    more: bool = False


FromWorker = (
    Hello | Subscribe | Unsubscribe | Publish | Find | Read | Present | Named | Typing | Overview
    | People
)  # fmt: skip
FromHub = (
    Welcome | Subscribed | Happened | Done | Refused | Rows | Presence | Named | Typed | Trimmed
    | Answer
)  # fmt: skip

News = Subscribe | Unsubscribe | Present | Named | Typing
"""What a worker says without asking for an answer."""

Outcome = Done | Refused
"""What became of a draft."""

Page = Rows | Refused
"""What a read brought."""

_encoder = msgspec.msgpack.Encoder()


def encode(frames: Sequence[FromWorker | FromHub]) -> bytes:
    body = _encoder.encode(frames)
    if len(body) > PACKET_BYTES and len(frames) > 1:
        half = len(frames) // 2
        return encode(frames[:half]) + encode(frames[half:])
    return len(body).to_bytes(4, "big") + body


class Reader:
    """Cuts a stream into the frames of one direction.  Raises WireError."""

    __slots__ = ("_buffer", "_decode")

    def __init__(self, type_: Any) -> None:
        self._buffer = bytearray()
        self._decode = msgspec.msgpack.Decoder(list[type_]).decode

    def feed(self, data: bytes) -> Iterator[Any]:
        buffer = self._buffer
        buffer += data
        start = 0
        while len(buffer) - start >= 4:
            length = int.from_bytes(buffer[start : start + 4], "big")
            if length > MAX_PACKET:
                raise WireError(f"a packet of {length} bytes")
            end = start + 4 + length
            if len(buffer) < end:
                break
            try:
                frames = self._decode(memoryview(buffer)[start + 4 : end])
            except msgspec.MsgspecError as error:
                raise WireError(str(error)) from error
            start = end
            yield from frames
        del buffer[:start]
