"""The opening handshake of a WebSocket, server side (RFC 6455 section 4.2)."""

from __future__ import annotations

import hashlib
import re
from base64 import b64encode
from collections.abc import Sequence

from wsd.protocol import deflate
from wsd.protocol.deflate import Deflate
from wsd.protocol.http import HttpError, Request

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, 1.3
# Standard base64 of 16 bytes: 21 digits, one that carries the last 2 bits, two of padding.
_KEY = re.compile(r"[A-Za-z0-9+/]{21}[AQgw]==")


class Handshake:
    """What was agreed: the Sec-WebSocket-Accept value, the subprotocol and compression, if any."""

    __slots__ = ("accept", "deflate", "subprotocol")

    def __init__(self, accept: str, subprotocol: str | None, deflate: Deflate | None) -> None:
        self.accept = accept
        self.subprotocol = subprotocol
        self.deflate = deflate


def is_upgrade(request: Request) -> bool:
    """Whether the client wants a WebSocket (as one of the protocols in `Upgrade`)."""
    return "websocket" in request.tokens("upgrade")


def accept_value(key: str) -> str:
    """The Sec-WebSocket-Accept that answers an (ASCII) key (RFC 6455, 4.2.2, item 5.4)."""
    digest = hashlib.sha1(key.encode("ascii") + _GUID, usedforsecurity=False).digest()
    return b64encode(digest).decode("ascii")


def negotiate(
    request: Request, offered_here: Sequence[str], compression: bool = False
) -> Handshake:
    """Checks an upgrade request and picks the client's first subprotocol of `offered_here`, and
    with `compression` its first offer of permessage-deflate that can be met.

    Raises HttpError: 405 for another method than GET, 426 where Upgrade or Connection is
    missing or the version is not 13, 400 for the rest; a body was refused by the parser already.
    Other extensions are declined by not being in the answer (RFC 6455, 9.1).
    """
    if request.method != "GET":
        raise HttpError(
            405, "method_not_allowed", "A WebSocket begins with GET.", (("Allow", "GET"),)
        )
    if not request.minor:
        raise HttpError(400, "bad_version", "A WebSocket needs HTTP/1.1.")
    if not is_upgrade(request) or "upgrade" not in request.tokens("connection"):
        raise HttpError(426, "upgrade_required", "This address speaks WebSocket.")
    if request.header("sec-websocket-version") != "13":
        raise HttpError(426, "bad_websocket_version", "Only version 13 is spoken here.")
    key = request.header("sec-websocket-key")
    if _KEY.fullmatch(key) is None:
        raise HttpError(400, "bad_websocket_key", "Sec-WebSocket-Key is not 16 bytes in base64.")
    agreed = deflate.negotiate(request.header("sec-websocket-extensions"))
    return Handshake(
        accept_value(key),
        _choose_subprotocol(request, offered_here),
        agreed if compression else None,
    )


def _choose_subprotocol(request: Request, offered_here: Sequence[str]) -> str | None:
    # Subprotocol names are case-sensitive, so Request.tokens does not serve.
    for name in request.header("sec-websocket-protocol").split(","):
        name = name.strip(" \t")
        if name in offered_here:
            return name
    return None


def response(handshake: Handshake) -> bytes:
    """The 101 that opens the WebSocket; frames may follow at once."""
    head = (
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Accept: {handshake.accept}\r\n"
    )
    if handshake.subprotocol is not None:
        head += f"Sec-WebSocket-Protocol: {handshake.subprotocol}\r\n"
    if handshake.deflate is not None:
        head += f"Sec-WebSocket-Extensions: {handshake.deflate.answer}\r\n"
    return (head + "\r\n").encode("ascii")
