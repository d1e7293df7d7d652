"""Messages on their way out as text frames, compressed where that was agreed and saves something.

An encoding frames each event once, so it is compressed once for all clients that agreed on the
same window.  Only what everybody in a room is told alike is compressed: a frame that holds a token
holds nobody's text, and the other way round (CRIME needs both in one).
"""

from __future__ import annotations

from wsd.metrics import M, Row
from wsd.protocol import frames
from wsd.protocol.deflate import Deflater
from wsd.protocol.frames import Opcode

COMPRESS_FROM = 512
"""Bytes; a shorter message fits into one packet either way."""


class Framing:
    """How messages become frames for the clients of one kind."""

    __slots__ = ("_deflater", "_row")

    def __init__(self, row: Row, bits: int = 0) -> None:
        self._row = row
        self._deflater = Deflater(bits) if bits else None
        """Without a window nothing is compressed."""

    def frame(self, data: bytes, opcode: Opcode = Opcode.TEXT) -> bytes:
        """A whole message as one frame; a text must be UTF-8."""
        if self._deflater is not None and len(data) >= COMPRESS_FROM:
            self._row[M.COMPRESSED] += 1
            compressed = self._deflater.deflate(data)
            if len(compressed) < len(data):
                return frames.encode_compressed(opcode, compressed)
        return frames.encode(opcode, data)
