"""How many connections each address has, over all workers: a count-min sketch in shared memory.

Each worker counts in a part of its own and reads the parts of all, so nobody waits for a lock, and
the master can wipe what a dead worker had counted.  An address has one cell in each of two rows of
every part; it has as many connections as the smaller of the two sums says, or fewer, if others fall
on both of its cells.  Which cells those are is a secret of this start, so that nobody can aim at
another's.  docs/decisions/0008-addresses-are-counted-in-a-sketch.md has what speaks for it.
"""

from __future__ import annotations

import mmap
import os
from functools import lru_cache
from hashlib import blake2b

COLUMNS = 1 << 16
_ROWS = 2
_CELL_BYTES = 4
_PART_BYTES = _ROWS * COLUMNS * _CELL_BYTES


class Tally:
    """The parts of ``slots`` workers.  Made by the master before it forks."""

    def __init__(self, slots: int) -> None:
        self._secret = os.urandom(16)
        self._cells = lru_cache(maxsize=4096)(self._find_cells)
        # Behind the parts, how many of them are in use: the master alone writes that.  Parts that
        # nobody has used are never looked at, and so take no memory.
        self._memory = mmap.mmap(-1, slots * _PART_BYTES + mmap.PAGESIZE)
        cells = memoryview(self._memory).cast("I")
        size = _ROWS * COLUMNS
        self._parts = [cells[slot * size : (slot + 1) * size] for slot in range(slots)]
        self._used = cells[slots * size : slots * size + 1]

    def wipe(self, slot: int) -> None:
        """Forget what the worker in ``slot`` has counted.  Called by the master, also before the
        first worker is put there."""
        if slot < self._used[0]:
            self._memory[slot * _PART_BYTES : (slot + 1) * _PART_BYTES] = bytes(_PART_BYTES)
        else:
            self._used[0] = slot + 1

    def add(self, slot: int, address: str) -> int:
        """Count one more connection of ``address`` for the worker in ``slot``.

        Returns how many there are with it.  It counts first and looks then, so that of two
        workers that do so at once at least one sees both.
        """
        first, second = self._cells(address)
        own = self._parts[slot]
        own[first] += 1
        own[second] += 1
        parts = self._parts[: self._used[0]]
        return min(sum([part[first] for part in parts]), sum([part[second] for part in parts]))

    def remove(self, slot: int, address: str) -> None:
        """Undo one ``add`` of the same worker."""
        own = self._parts[slot]
        for cell in self._cells(address):
            own[cell] -= 1

    def _find_cells(self, address: str) -> tuple[int, int]:
        digest = blake2b(address.encode(), digest_size=4, key=self._secret).digest()
        number = int.from_bytes(digest, "little")
        return number % COLUMNS, COLUMNS + number // COLUMNS
