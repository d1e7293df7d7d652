"""The header by which a proxy says whose connection it hands on: the PROXY protocol.

Versions 1 (a line of text) and 2 (binary) of "The PROXY protocol" by Willy Tarreau, which comes
with haproxy as doc/proxy-protocol.txt; sections are that document's.
"""

from __future__ import annotations

import ipaddress
import re

LONGEST_LINE = 107
"""Bytes of a version 1 header with its line end (2.1)."""
LONGEST_BLOCK = 4096
"""Bytes behind the first 16 of version 2.  Addresses take 216 at most; the rest are extensions."""
LONGEST = 16 + LONGEST_BLOCK

_V1_START = b"PROXY "
_V2_START = b"\r\n\r\n\0\r\nQUIT\n"

_PORT = rb"(0|[1-9][0-9]{0,4})"
_LINE = re.compile(
    rb"PROXY (?:UNKNOWN(?: .*)?|(TCP[46]) ([0-9a-fA-F:.]+) ([0-9a-fA-F:.]+) %b %b)\r\n"
    % (_PORT, _PORT),
    re.DOTALL,  # behind UNKNOWN there may be anything
)
_TEXT_KINDS = {b"TCP4": ipaddress.IPv4Address, b"TCP6": ipaddress.IPv6Address}

# Family and transport, with the bytes of one address where it is one that we have a use for (2.2).
_BINARY_KINDS = {0x00: 0, 0x11: 4, 0x12: 0, 0x21: 16, 0x22: 0, 0x31: 0, 0x32: 0}
_LOCAL, _PROXY = 0x20, 0x21


class ProxyError(Exception):
    """What came is no PROXY header; ``reason`` is a stable identifier, as in HttpError."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class ProxyParser:
    """Takes the bytes that a connection begins with, up to the end of the header."""

    __slots__ = ("_data",)

    def __init__(self) -> None:
        self._data = bytearray()

    def feed(self, data: bytes) -> int:
        """Adds received bytes; returns how many of them belong to the header.

        The others are the client's, and are not kept.  Raises ProxyError.
        """
        before = len(self._data)
        self._data += data
        length = self._length()
        if length is not None:
            del self._data[length:]
        return len(self._data) - before

    def next_source(self) -> str | None:
        """The client's address, "" if the header names none, None while it is incomplete.

        None is named where the proxy itself connects (LOCAL, to see whether we are well) or does
        not know, and where the client is no TCP/IP one.  Raises ProxyError.
        """
        length = self._length()
        if length is None or len(self._data) < length:
            return None
        header = bytes(self._data)
        return _from_block(header) if header.startswith(_V2_START) else _from_line(header)

    def _length(self) -> int | None:
        """Of the whole header, in bytes; None while that is not known."""
        data = self._data
        if _V2_START.startswith(data[: len(_V2_START)]):
            if len(data) < 16:
                return None
            block = int.from_bytes(data[14:16], "big")
            if block > LONGEST_BLOCK:
                raise _bad()
            return 16 + block
        if not _V1_START.startswith(data[: len(_V1_START)]):
            raise ProxyError("no_proxy_header")
        end = data.find(b"\r\n", 0, LONGEST_LINE)
        if end < 0 and len(data) >= LONGEST_LINE:
            raise _bad()
        return None if end < 0 else end + 2


def _bad() -> ProxyError:
    return ProxyError("bad_proxy_header")


def _from_line(header: bytes) -> str:
    """Version 1 (2.1): ``PROXY TCP4 192.0.2.1 192.0.2.2 4711 443``."""
    found = _LINE.fullmatch(header)
    if found is None:
        raise _bad()
    if found[1] is None:
        return ""
    kind = _TEXT_KINDS[found[1]]
    try:
        source, _ = kind(found[2].decode()), kind(found[3].decode())
    except ValueError:
        raise _bad() from None
    if max(int(found[4]), int(found[5])) > 65535:
        raise _bad()
    return str(source)


def _from_block(header: bytes) -> str:
    """Version 2 (2.2): command, kind, length, two addresses, two ports, extensions."""
    command, kind, block = header[12], header[13], header[16:]
    if command == _LOCAL:  # the receiver MUST ignore the rest
        return ""
    size = _BINARY_KINDS.get(kind)
    if command != _PROXY or size is None or len(block) < (2 * size + 4 if size else 0):
        raise _bad()
    return str(ipaddress.ip_address(block[:size])) if size else ""
