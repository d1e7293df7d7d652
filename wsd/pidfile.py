"""The PID file of ``wsd start``: a lock that happens to hold a number.

Whether the daemon runs is decided by the kernel's lock on the open file, never by the file being
there, so a stale, empty or garbled file never blocks a start, and a number that now belongs to
another program is never believed.
"""

from __future__ import annotations

import fcntl
import os
from types import TracebackType


class AlreadyRunning(Exception):
    def __init__(self, pid: int | None) -> None:
        super().__init__(f"wsd is already running (pid {pid or 'unknown'})")
        self.pid = pid


class PidFile:
    """Held from ``__enter__`` to ``__exit__``, which removes the file.  Raises AlreadyRunning."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.fd = -1

    def __enter__(self) -> PidFile:
        while True:
            fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                pid = _read(fd)
                os.close(fd)
                raise AlreadyRunning(pid) from None
            if self._is_current(fd):
                break
            os.close(fd)  # the one before us removed the file between our open and our lock
        os.ftruncate(fd, 0)
        os.write(fd, f"{os.getpid()}\n".encode())
        self.fd = fd
        return self

    def _is_current(self, fd: int) -> bool:
        try:
            return os.path.samestat(os.fstat(fd), os.stat(self.path))
        except FileNotFoundError:
            return False

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self.fd >= 0:
            os.unlink(self.path)
            os.close(self.fd)
            self.fd = -1


def running_pid(path: str) -> int | None:
    """The process that holds the PID file at ``path``; None if nobody does."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _read(fd)
    finally:
        os.close(fd)
    return None


def _read(fd: int) -> int | None:
    text = os.pread(fd, 32, 0).strip()
    return int(text) if text.isdigit() else None
