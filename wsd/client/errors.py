"""What can go wrong for a caller, and which of it is worth another try."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

RETRYABLE: Final = frozenset({"rate", "busy", "storage", "timeout", "disconnected"})
"""Errors after which the same may be asked again; every other one is final.

The last two are the client's own: no answer came, or the connection went before it did.
"""


class ClientError(Exception):
    """Everything that this package raises on purpose; ``ClientError`` itself: it is closed."""


class Refused(ClientError):
    """The server will not do it.  ``code`` is one of docs/protocol.md's.

    ``retry_ms``, where it is set, is the time after which the same may be asked again.  ``cid``
    is the message's: with it, saying the same again stores it once.
    """

    def __init__(
        self, code: str, message: str = "", retry_ms: int | None = None, cid: str = ""
    ) -> None:
        super().__init__(f"{code}: {message}" if message else code)
        self.code = code
        self.message = message
        self.retry_ms = retry_ms
        self.cid = cid


class TimedOut(ClientError, TimeoutError):
    """No answer within the caller's ``timeout``.  It may have been done all the same: to find out,
    and to have it done once, say it again with this ``cid``."""

    def __init__(self, what: str, cid: str = "") -> None:
        super().__init__(what)
        self.cid = cid


class Stopped(ClientError):
    """The end: the server said to stay away, or could not be reached in a way that waiting cures.

    ``code`` is a close code or an HTTP status, where there was one.
    """

    def __init__(self, reason: str, code: int | None = None) -> None:
        super().__init__(reason if code is None else f"{reason} ({code})")
        self.reason = reason
        self.code = code


def from_reply(reply: dict[str, Any], cid: str = "") -> Refused:
    """The error that an ``error`` of the server, or one of ours, speaks of."""
    retry_ms = reply.get("retry_ms")
    return Refused(
        str(reply.get("code", "internal")),
        str(reply.get("message", "")),
        retry_ms if isinstance(retry_ms, int) else None,
        cid,
    )


def wait_s(error: Refused, random: Callable[[], float]) -> float | None:
    """How long to wait before the same is asked again; None when that is of no use."""
    if error.code not in RETRYABLE:
        return None
    if error.retry_ms is not None:
        return max(0, error.retry_ms) / 1000
    return 0.0 if error.code in ("timeout", "disconnected") else 1 + random()


HELLO_TIMEOUT: Final = 4501


def is_final(code: int | None) -> bool:
    """Whether a close code says to stay away (docs/protocol.md, closing).

    Not so hello_timeout: it is for who never says hello.  Whoever does, and was too late for once,
    is a machine that stood still.
    """
    if code is None or code == HELLO_TIMEOUT:
        return False
    return 3500 <= code <= 3999 or 4500 <= code <= 4999
