"""The bytes of an HTTP connection that are not parsed yet, and how lines are taken from them."""

from __future__ import annotations

import re

from wsd.protocol.refusal import HttpError

TCHAR = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]"  # RFC 9110, 5.6.2
TOKEN = f"{TCHAR}+"
FIELD_VALUE = r"[\t -~\x80-\xff]*"  # no controls (RFC 9110, 5.5)
# A header or trailer line; no space before the colon (RFC 9112, 5.1).
FIELD_LINE = re.compile(f"{TOKEN}:{FIELD_VALUE}")

_LINE_END = re.compile(rb"[\r\n]")


class LineBuffer:
    """Unparsed bytes; `data` always begins where the next element begins.

    `searched` bytes of `data` are known to hold no line end, so that a peer who sends one byte
    at a time costs linear time. Dropping a prefix of a bytearray does not move what follows.
    """

    __slots__ = ("data", "searched")

    def __init__(self) -> None:
        self.data = bytearray()
        self.searched = 0

    def clear(self) -> None:
        """Forget everything."""
        self.data = bytearray()
        self.searched = 0

    def take_line(self, max_bytes: int, too_long: HttpError) -> str | None:
        """The next line without its CRLF as Latin-1 (one character per byte); None = not yet.

        Raises `too_long` when the line has more than `max_bytes` bytes, complete or not, and
        HttpError 400 for a CR or LF that is not part of a CRLF: RFC 9112 section 2.2 lets a
        server take a bare LF for a line end, but two servers that differ in this disagree about
        where a request ends.
        """
        data = self.data
        found = _LINE_END.search(data, self.searched)
        end = found.start() if found else len(data)
        if end > max_bytes:
            raise too_long
        if found is None or (data[end] == 0x0D and end + 1 == len(data)):
            self.searched = end
            return None
        if data[end : end + 2] != b"\r\n":
            raise HttpError(400, "bare_line_end", "A line must end with CR LF.")
        line = data[:end].decode("latin-1")
        del data[: end + 2]
        self.searched = 0
        return line
