"""The same bytes to many sockets with one system call, by io_uring (io_uring(7), Linux 6.0 on).

Of a ``send`` to a socket on this machine CPython's way into the kernel takes a fifth.  Here the
kernel is handed a queue of sends instead, all done when the call returns, and tells only of those
that did not take everything.  Where a kernel has no io_uring, or it is forbidden (containers,
``kernel.io_uring_disabled``), ``Ring.open`` gives None, and everybody gets a ``send`` of their own.

The rings are this process's memory, shared with the kernel.  No barriers are needed: the kernel
looks at what is submitted, and completes sends that never wait, in the thread that makes the call.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import socket
import struct
from array import array
from collections.abc import Iterator

from wsd import logs

ENTRIES = 1024
"""Sends for each call to the kernel."""
LARGEST = 1 << 16
"""Bytes that a send can have here."""
FEWEST = 8
"""Sends for which one call is cheaper than a ``send`` each (measured: from 6)."""

# From linux/io_uring.h; the numbers of the calls are the same on all architectures but Alpha.
_SETUP, _ENTER = 425, 426
_SETUP_SUBMIT_ALL = 1 << 7  # a send that fails does not keep back those behind it
_FEAT_SINGLE_MMAP, _FEAT_CQE_SKIP = 1 << 0, 1 << 11
_OFF_SQES = 0x10000000
_OP_SEND = 26
_CQE_SKIP_SUCCESS = 1 << 6
_PARAMS = struct.Struct("=7I12x40s40s")
_SQE_INTS, _SQE_FD, _SQE_LEN = 16, 1, 6
_SQE = struct.Struct("=BBHiQQIIQ24x")
_CQE = struct.Struct("=QiI")
# What does not fit is told as if it had failed, and nothing waits for room.
_FLAGS = socket.MSG_WAITALL | socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL


class Ring:
    """Raises OSError where the kernel does not have it."""

    largest = LARGEST
    fewest = FEWEST

    def __init__(self) -> None:
        self._syscall = ctypes.CDLL(None, use_errno=True).syscall
        params = bytearray(_PARAMS.size)
        struct.pack_into("=I", params, 8, _SETUP_SUBMIT_ALL)
        self._fd = self._call(_SETUP, ENTRIES, (ctypes.c_char * len(params)).from_buffer(params))
        try:
            self._map(params)
        except BaseException:
            os.close(self._fd)
            raise

    def _map(self, params: bytearray) -> None:
        sqes, cqes, _, _, _, features, _, *offsets = _PARAMS.unpack(params)
        if not features & _FEAT_SINGLE_MMAP or not features & _FEAT_CQE_SKIP:
            raise OSError(errno.EOPNOTSUPP, "io_uring is too old")
        sq, cq = (struct.unpack("=8I8x", part) for part in offsets)
        head, tail, _, _, _, _, self._array, _ = sq
        self._sq_head, self._sq_tail = head // 4, tail // 4
        self._cq_head, self._cq_tail, self._cqes = cq[0] // 4, cq[1] // 4, cq[5]
        self._cq_mask = cqes - 1
        size = max(self._array + sqes * 4, self._cqes + cqes * _CQE.size)
        self._rings = mmap.mmap(self._fd, size)
        self._words = memoryview(self._rings)[: size // 4 * 4].cast("I")
        for slot in range(ENTRIES):
            self._words[self._array // 4 + slot] = slot
        self._data = mmap.mmap(-1, LARGEST)
        address = ctypes.addressof(ctypes.c_char.from_buffer(self._data))
        self._entries = mmap.mmap(self._fd, ENTRIES * _SQE.size, offset=_OFF_SQES)
        for slot in range(ENTRIES):
            sqe = (_OP_SEND, _CQE_SKIP_SUCCESS, 0, -1, 0, address, 0, _FLAGS, slot)
            _SQE.pack_into(self._entries, slot * _SQE.size, *sqe)
        self._sqes = memoryview(self._entries).cast("i")
        self._size = 0

    @classmethod
    def open(cls) -> Ring | None:
        """None, and a line in the log, unless the kernel here does just what is expected of it."""
        try:
            ring = cls()
            if not ring._keeps_its_word():
                ring.close()
                raise OSError(errno.EOPNOTSUPP, "io_uring is another one than expected")
        except OSError as error:
            logs.event(logs.info, "no_io_uring", detail=str(error))
            return None
        return ring

    def close(self) -> None:
        for view in (self._words, self._sqes):
            view.release()
        for memory in (self._rings, self._entries, self._data):
            memory.close()
        os.close(self._fd)

    def _keeps_its_word(self) -> bool:
        """A send that fits is silent, one that fits in part says how much, the next says no."""
        ours, theirs = socket.socketpair()
        with ours, theirs:
            ours.setblocking(False)
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
            fd, much = ours.fileno(), bytes(LARGEST)
            if self.send([fd], b"x"):
                return False
            part = self.send([fd, fd], much)
            if len(part) != 2 or part[0][0] != 0 or part[1] != (1, -errno.EAGAIN):
                return False
            got = 0
            theirs.setblocking(False)
            try:
                while True:
                    got += len(theirs.recv(LARGEST))
            except BlockingIOError:
                pass
            return got == 1 + part[0][1]

    def _call(self, number: int, *arguments: object) -> int:
        result: int = self._syscall(number, *arguments)
        if result < 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))
        return result

    def send(self, fds: list[int], data: bytes) -> list[tuple[int, int]]:
        """Send ``data``, at most LARGEST bytes, to each of ``fds``.

        Returns (index, result) for those that did not take all of it: how much they took, or the
        negative errno.
        """
        unsent: list[tuple[int, int]] = []
        size = len(data)
        self._data[:size] = data
        if size != self._size:
            self._sqes[_SQE_LEN::_SQE_INTS] = array("i", [size]) * ENTRIES
            self._size = size
        words, done = self._words, 0
        while done < len(fds):
            tail = words[self._sq_tail]
            slot = tail % ENTRIES
            count = min(len(fds) - done, ENTRIES - slot)
            first, last = slot * _SQE_INTS, (slot + count) * _SQE_INTS
            self._sqes[first + _SQE_FD : last : _SQE_INTS] = array("i", fds[done : done + count])
            words[self._sq_tail] = (tail + count) & 0xFFFFFFFF
            try:
                self._call(_ENTER, self._fd, count, 0, 0, None, 0)
            except OSError:  # no memory for it, say: what was not begun is given back below
                pass
            begun = (words[self._sq_head] - tail) & 0xFFFFFFFF
            words[self._sq_tail] = words[self._sq_head]
            unsent += [(done + told - slot, result) for told, result in self._completions()]
            unsent += [(done + index, -errno.EAGAIN) for index in range(begun, count)]
            done += count
        return unsent

    def _completions(self) -> Iterator[tuple[int, int]]:
        words = self._words
        head, tail = words[self._cq_head], words[self._cq_tail]
        while head != tail:
            at = self._cqes + (head & self._cq_mask) * _CQE.size
            slot, result, _ = _CQE.unpack_from(self._rings, at)
            yield slot, result
            head = (head + 1) & 0xFFFFFFFF
        words[self._cq_head] = head
