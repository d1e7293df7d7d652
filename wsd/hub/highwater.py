"""How far the log had come, written beside it: shows when the log has lost its newest part.

A write-ahead log that was cut off, or a backup that was put back, opens without complaint and gives
numbers again that clients have seen on other events.  So after each commit the number of events
that there ever were is written to a small mapped file of its own.  That costs nothing and survives
every death of a process; a log that knows of fewer than this file is not the log that clients know.
"""

from __future__ import annotations

import mmap
import os
import struct

_FORM = struct.Struct("<16sQ")


class HighWater:
    """Raises OSError."""

    def __init__(self, path: str) -> None:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if os.fstat(fd).st_size < _FORM.size:
                os.ftruncate(fd, _FORM.size)
            self._map = mmap.mmap(fd, _FORM.size)
        finally:
            os.close(fd)

    def read(self) -> tuple[str, int]:
        """(epoch, events); ("", 0) in a new file."""
        epoch, count = _FORM.unpack_from(self._map)
        return epoch.rstrip(b"\0").decode("ascii", "replace"), count

    def write(self, epoch: str, count: int) -> None:
        _FORM.pack_into(self._map, 0, epoch.encode(), count)

    def close(self) -> None:
        self._map.close()
