"""The PID file of ``wsd start``: a lock that happens to hold a number.

Whether the daemon runs is decided by the kernel's lock on the open file, never by the file being
there, so a stale, empty or garbled file never blocks a start, and a number that now belongs to
another program is never believed.
"""

from __future__ import annotations

import fcntl
import os
import time
from types import TracebackType

ASK_TRIES = 10
ASK_S = 0.01


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
            if not _lock(fd):
                pid = _read(fd)
                os.close(fd)
                raise AlreadyRunning(pid)
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
            if self._is_current(self.fd):  # and not somebody else's, put there meanwhile
                os.unlink(self.path)
            os.close(self.fd)
            self.fd = -1


def _lock(fd: int) -> bool:
    """Whether the file is ours now.  Who only asks (``running_pid``) holds it for a moment."""
    for attempt in range(ASK_TRIES):
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if attempt < ASK_TRIES - 1:
                time.sleep(ASK_S)
    return False


def running_pid(path: str) -> int | None:
    """The process that holds the PID file at ``path``; None if nobody does.

    Raises PermissionError: of a file that cannot be opened nobody knows whether it is locked.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except PermissionError:
        raise
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
