"""One request body in chunked transfer coding (RFC 9112 section 7.1)."""

from __future__ import annotations

import re

from wsd.protocol.lines import FIELD_LINE, LineBuffer
from wsd.protocol.refusal import HttpError

_MAX_SIZE_DIGITS = 8
_PLAIN_SIZE = re.compile(rb"([0-9A-Fa-f]{1,8})\r\n")
# An extension follows the size at once: RFC 9112 (7.1.1) calls space before ";" bad.
_SIZE_LINE = re.compile(r"([0-9A-Fa-f]{1,8})(;[\t -~]*)?")

_SIZE, _DATA, _TRAILER = range(3)


class ChunkedBody:
    """Takes chunks from a LineBuffer until the body is complete.

    Bounded: `max_bytes` of data, `max_extension` bytes of chunk extensions in the whole body,
    `max_trailers` trailer lines of `max_trailer_bytes` together. Extensions and trailers are
    checked and dropped; a trailer never becomes a header.
    """

    __slots__ = (
        "_body",
        "_extension_left",
        "_max_bytes",
        "_state",
        "_trailer_left",
        "_trailers_left",
        "_wanted",
    )

    def __init__(
        self, max_bytes: int, max_extension: int, max_trailers: int, max_trailer_bytes: int
    ) -> None:
        self._max_bytes = max_bytes
        self._extension_left = max_extension
        self._trailers_left = max_trailers
        self._trailer_left = max_trailer_bytes
        self._body = bytearray()
        self._state = _SIZE
        self._wanted = 0  # bytes of the chunk being read

    def read(self, lines: LineBuffer) -> bytes | None:
        """The whole body once its last line is there; None = not yet. Raises HttpError."""
        while True:
            if self._state == _SIZE:
                if not self._read_plain_chunks(lines) or not self._read_size_line(lines):
                    return None
            elif self._state == _DATA:
                if not self._read_data(lines):
                    return None
            else:
                return bytes(self._body) if self._read_trailers(lines) else None

    def _read_plain_chunks(self, lines: LineBuffer) -> bool:
        """Takes the chunks that are whole and have no extension; False = no byte is left.

        Measured on 65,536 chunks of one byte: a third of the time of going through lines.
        """
        data = lines.data
        at = 0
        while match := _PLAIN_SIZE.match(data, at):
            start = match.end()
            end = start + int(match[1], 16)
            if start == end or data[end : end + 2] != b"\r\n":
                break
            self._count(end - start)
            self._body += data[start:end]
            at = end + 2
        if at:
            del data[:at]
            lines.searched = 0
        return bool(data)

    def _read_size_line(self, lines: LineBuffer) -> bool:
        line = lines.take_line(
            _MAX_SIZE_DIGITS + self._extension_left,
            HttpError(400, "bad_chunk", "The line of a chunk's size is too long."),
        )
        if line is None:
            return False
        match = _SIZE_LINE.fullmatch(line)
        if match is None:
            raise HttpError(400, "bad_chunk", "A chunk's size must be 1 to 8 hex digits.")
        self._extension_left -= len(match[2] or "")
        if self._extension_left < 0:
            raise HttpError(400, "bad_chunk", "The chunk extensions are too long.")
        self._wanted = int(match[1], 16)
        self._count(self._wanted)
        self._state = _DATA if self._wanted else _TRAILER
        return True

    def _count(self, size: int) -> None:
        # Before the data is waited for: an announced chunk over the limit is never buffered.
        if len(self._body) + size > self._max_bytes:
            raise HttpError(413, "body_too_large", f"At most {self._max_bytes} bytes of body.")

    def _read_data(self, lines: LineBuffer) -> bool:
        data, size = lines.data, self._wanted
        if len(data) < size + 2:
            return False
        if data[size : size + 2] != b"\r\n":
            raise HttpError(400, "bad_chunk", "A chunk is longer than its size says.")
        self._body += data[:size]
        del data[: size + 2]
        self._state = _SIZE
        return True

    def _read_trailers(self, lines: LineBuffer) -> bool:
        too_long = HttpError(431, "trailers_too_large", "The trailers are too long.")
        while (line := lines.take_line(self._trailer_left, too_long)) is not None:
            if not line:
                return True
            if FIELD_LINE.fullmatch(line) is None:
                raise HttpError(400, "bad_trailer", "A trailer is not a name and a value.")
            self._trailers_left -= 1
            self._trailer_left -= len(line)
            if self._trailers_left < 0:
                raise HttpError(431, "trailers_too_large", "There are too many trailers.")
        return False
