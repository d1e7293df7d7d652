"""What a child of the master does between the fork and its end, whatever its work is.

A child hears from the master over a socket: settings after a reload, and when to stop.  Its end
of file is the master's death.  It shows that it is alive in its row of the scoreboard.
"""

from __future__ import annotations

import ctypes
import faulthandler
import gc
import os
import signal
import socket
from collections.abc import Callable
from typing import BinaryIO, Protocol

import msgspec
import setproctitle

from wsd import logs
from wsd.config import Settings
from wsd.hub.log import Busy, LogError
from wsd.metrics import M, Row
from wsd.net.loop import READ, Loop
from wsd.net.tls import ignore_names_that_are_no_text

RELOAD = b"R"
DRAIN = b"D"
STOP = b"S"
READY = b"r"

BEAT_S = 1.0
GC_OBJECTS = 50_000
"""Objects made, less those freed, that let the collector look for cycles.  Nearly all are freed by
their count; at Python's 700, looking took a tenth of a busy worker's time."""
CANNOT_START = 75
"""Exit status of a child that will not start better the next time."""

_PR_SET_PDEATHSIG = 1


class Work(Protocol):
    """What the process is for."""

    def start(self, on_ready: Callable[[], None]) -> None: ...

    def apply(self, settings: Settings) -> None: ...

    def drain(self) -> None: ...

    def stop_now(self) -> None: ...

    def close(self) -> int:
        """Called when the loop has ended; returns the exit status."""


class Child:
    def __init__(self, name: str, row: Row, master: socket.socket) -> None:
        self.name = name
        self._row = row
        self._master = master
        self.loop = Loop()

    def live(self, make_work: Callable[[Loop], Work]) -> int:
        """Run to the end of the process; returns its exit status."""
        self._settle()
        try:
            work = make_work(self.loop)
        except Busy as error:
            logs.event(logs.error, "cannot_start", detail=str(error))
            return CANNOT_START
        except (LogError, OSError) as error:
            logs.event(logs.error, "cannot_start", detail=str(error))
            return 1
        self.loop.on_signal(signal.SIGTERM, work.drain)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        self.loop.add(self._master, READ, lambda _mask: self._obey(work))
        self._beat()
        self.loop.every(BEAT_S, self._beat)
        work.start(self._on_ready)
        gc.collect()
        gc.freeze()  # what is there by now stays: later collections need not look at it
        gc.set_threshold(GC_OBJECTS, 10, 10)
        self.loop.run()
        return work.close()

    def _settle(self) -> None:
        """Make this a process of its own.  Signals are blocked until the loop can take them."""
        setproctitle.setproctitle(f"wsd: {self.name}")
        faulthandler.enable()  # SIGABRT, and every crash, leaves a stack dump in the log
        for signum in (signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
            signal.signal(signum, signal.SIG_IGN)  # those are the master's
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        ignore_names_that_are_no_text()
        die_with_parent(signal.SIGKILL)
        self._row[M.PID] = os.getpid()
        self._row[M.STARTS] += 1

    def _beat(self) -> None:
        self._row[M.BEAT] = self.loop.clock()

    def _on_ready(self) -> None:
        self._row[M.READY] = 1
        logs.event(logs.info, "ready", pid=os.getpid())
        self._master.send(READY)

    def _obey(self, work: Work) -> None:
        try:
            order, fds, _, _ = socket.recv_fds(self._master, 64, 1)
        except BlockingIOError:
            return
        except OSError:
            order, fds = b"", []
        if not order:  # the master is dead; nobody would replace or stop this process
            logs.event(logs.error, "master_lost")
            os._exit(1)
        if order == RELOAD:
            settings = _unpacked(fds[0])
            logs.setup(settings.log.level, settings.log.format, self.name)
            work.apply(settings)
        elif order == DRAIN:
            work.drain()
        elif order == STOP:
            work.stop_now()


def packed(settings: Settings) -> BinaryIO:
    """A file in memory with ``settings``; sent as a descriptor, so that no length is too long."""
    file = os.fdopen(os.memfd_create("settings", os.MFD_CLOEXEC), "wb")
    file.write(msgspec.msgpack.encode(settings))
    file.flush()
    return file


def _unpacked(fd: int) -> Settings:
    try:
        # The offset is shared with all others who got the file.
        data = os.pread(fd, os.fstat(fd).st_size, 0)
    finally:
        os.close(fd)
    return msgspec.msgpack.decode(data, type=Settings)


def die_with_parent(signum: signal.Signals) -> None:
    """Have the kernel send ``signum`` to this process when its parent dies, however that comes.

    A parent that died before the call has to be noticed in another way: a child of the master by
    the end of file on its socket.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_PDEATHSIG, signum, 0, 0, 0)
