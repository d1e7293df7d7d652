"""permessage-deflate: what is agreed on, and messages made smaller and restored (RFC 7692).

Both sides begin each message anew (`no_context_takeover`), whatever the client offers. A message
compressed once is then good for every client, and an idle connection keeps no state of zlib's.
"""

from __future__ import annotations

import re
import zlib
from functools import lru_cache
from typing import Final, NamedTuple

from wsd.protocol.frames import CloseCode, ProtocolError
from wsd.protocol.lines import TCHAR, TOKEN
from wsd.protocol.refusal import HttpError

MAX_BITS: Final = 12
"""log2 of the window for what is sent. A chat's texts are shorter than its 4 KiB."""

_NAME: Final = "permessage-deflate"
_TAIL: Final = b"\x00\x00\xff\xff"  # ends every flush and is left out (RFC 7692, 7.2.1)

# -- what is agreed on (RFC 7692, 7.1, in the grammar of RFC 6455, 9.1) -----------------------

# Possessive: nothing in the grammar is ambiguous, and no input makes it try twice.
_QUOTED = rf'"(?:\\?+{TCHAR})++"'
_PARAMETER = rf"[ \t]*+;[ \t]*+({TOKEN})(?:[ \t]*+=[ \t]*+({TOKEN}|{_QUOTED}))?+"
_OFFER = re.compile(rf"({TOKEN})((?:{_PARAMETER})*+)[ \t]*+(?:,[ \t,]*+|\Z)")
_PARAMETERS = re.compile(_PARAMETER)
_BITS = re.compile(r"[89]|1[0-5]")


class Deflate(NamedTuple):
    """What was agreed: `answer` goes into Sec-WebSocket-Extensions, `bits` are the window's."""

    bits: int
    answer: str


@lru_cache(maxsize=64)  # browsers have few ways to ask
def negotiate(header: str) -> Deflate | None:
    """Picks the first offer of a Sec-WebSocket-Extensions that can be met; None if none can.

    An offer with a parameter that is unknown, doubled or out of its range is passed over
    (RFC 7692, 7.1), and so is a window of 8 bits, with which zlib does not compress. Raises
    HttpError 400 for what is not a list of extensions at all (RFC 6455, 9.1).
    """
    for name, parameters in _offers(header):
        if name == _NAME and (agreed := _accept(parameters)) is not None:
            return agreed
    return None


def _offers(header: str) -> list[tuple[str, list[tuple[str, str]]]]:
    """Each extension with its parameters; the value of one without a value is empty."""
    offers = []
    at = len(header) - len(header.lstrip(" \t,"))
    while at < len(header):
        offer = _OFFER.match(header, at)
        if offer is None:
            raise HttpError(
                400, "bad_extensions", "Sec-WebSocket-Extensions is not a list of extensions."
            )
        offers.append((offer[1], [_plain(*found) for found in _PARAMETERS.findall(offer[2])]))
        at = offer.end()
    return offers


def _plain(name: str, value: str) -> tuple[str, str]:
    """RFC 6455, 9.1: a quoted value means what is left without quotes and backslashes."""
    return name, re.sub(r"\\(.)", r"\1", value[1:-1]) if value[:1] == '"' else value


def _accept(parameters: list[tuple[str, str]]) -> Deflate | None:
    bits = MAX_BITS
    answer = [_NAME, "server_no_context_takeover", "client_no_context_takeover"]
    seen = set()
    for name, value in parameters:
        if name in seen:
            return None
        seen.add(name)
        if name == "server_max_window_bits":
            if not _BITS.fullmatch(value) or value == "8":
                return None
            bits = min(bits, int(value))
            answer.append(f"{name}={value}")
        elif name == "client_max_window_bits":
            # What comes is restored with the largest window, so no answer need bound it.
            if value and not _BITS.fullmatch(value):
                return None
        elif name not in answer[1:3] or value:
            return None
    return Deflate(bits, "; ".join(answer))


# -- messages --------------------------------------------------------------------------------


class Deflater:
    """Makes messages smaller, each without reference to any other (RFC 7692, 7.2.1)."""

    __slots__ = ("_compressor",)

    def __init__(self, bits: int) -> None:
        # 27 KiB of memory instead of zlib's 256.
        self._compressor = zlib.compressobj(wbits=-bits, memLevel=5)

    def deflate(self, data: bytes) -> bytes:
        # A full flush forgets all that was said: with one compressor for all messages a window
        # need not be made for each, and none can refer to another.
        compressed = self._compressor.compress(data) + self._compressor.flush(zlib.Z_FULL_FLUSH)
        return compressed[: -len(_TAIL)]


_LARGEST_WINDOW: Final = -15  # negative: raw deflate (zlib's inflateInit2)
_END: Final = b"\x03\x00"  # an empty last block: whether it is taken for one shows where zlib is


class Inflater:
    """Restores one message from its fragments, at most `limit` bytes (RFC 7692, 7.2.2)."""

    __slots__ = ("_left", "_rest", "_started", "_stream")

    def __init__(self, limit: int) -> None:
        self._left = limit
        self._stream = zlib.decompressobj(_LARGEST_WINDOW)
        self._started = False
        self._rest = b""  # what came behind a block that called itself the last

    def inflate(self, data: bytes, final: bool) -> bytes:
        """What `data` restores to; `final`: nothing follows.

        Raises ProtocolError 1009 as soon as one byte more than the limit has been made, and 1007
        for what is no deflate stream, is cut short, or goes on behind its end.
        """
        self._started = self._started or bool(data)
        if not self._started:  # zlib has nothing to flush for an empty message, and says nothing
            return b""
        restored = self._feed(data)
        if final:
            restored += self._finish()
        return restored

    def _finish(self) -> bytes:
        restored = b""
        if not self._ended():
            restored = self._feed(_TAIL)
        if not self._ended():
            # Whatever more it makes of the empty block, it was in the middle of something.
            if self._feed(_END) or self._rest or not self._ended():
                raise _bad_deflate()
        elif self._rest not in (b"", b"\x00"):
            # RFC 7692, 7.2.3.4: a last block may end the message; a zero octet follows it.
            raise _bad_deflate()
        return restored

    def _ended(self) -> bool:
        return self._stream.eof

    def _feed(self, data: bytes) -> bytes:
        if self._stream.eof:
            self._rest = (self._rest + data)[:2]  # more than one byte is too much anyway
            return b""
        try:
            restored = self._stream.decompress(data, self._left + 1)
        except zlib.error:
            raise _bad_deflate() from None
        self._left -= len(restored)
        if self._left < 0:
            raise ProtocolError(CloseCode.MESSAGE_TOO_BIG, "message_too_big")
        self._rest = self._stream.unused_data[:2]
        return restored


def _bad_deflate() -> ProtocolError:
    return ProtocolError(CloseCode.INVALID_DATA, "bad_deflate")
