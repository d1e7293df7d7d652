"""What each guest and each address may still do, over all workers: a table in shared memory.

A guest has tabs, and requests, at several workers, and one allowance.  So every worker reads and
writes the same accounts, without a lock: two that serve one guest in the same microsecond may let
one message too many through, once.

The table is bounded: an account has its place in one set of ``WAYS``, found by a hash that is keyed
with a secret of this start; when a set is full, the account forgotten is the one that soonest means
nothing any more.  docs/decisions/0009-allowances-are-shared.md has what that costs.
"""

from __future__ import annotations

import mmap
import os
import struct
from hashlib import blake2b
from typing import NamedTuple

SETS = 1 << 14
WAYS = 8
_KEYS = struct.Struct(f"{WAYS}Q")
_STATE = struct.Struct("4d")
_SET_BYTES = _KEYS.size + WAYS * _STATE.size


class Rate(NamedTuple):
    """``burst`` at once, and one more for every ``every_s`` seconds (above 0) that pass."""

    burst: int
    every_s: float


class Account:
    """What is known of somebody.  Times are seconds of the monotonic clock, which is the machine's.

    All that was done is paid for at ``paid_at``: each thing done moves that by its rate's
    ``every_s`` (the generic cell rate algorithm, ITU-T I.371 annex A).  The rest is what was said
    to somebody who did too much; the rules are in ``wsd.chat.rates``.
    """

    __slots__ = ("key", "paid_at", "penalty_s", "told_s", "told_until")

    def __init__(
        self,
        key: int,
        paid_at: float = 0.0,
        told_until: float = 0.0,
        told_s: float = 0.0,
        penalty_s: float = 0.0,
    ) -> None:
        self.key = key
        self.paid_at = paid_at
        self.told_until = told_until
        self.told_s = told_s
        self.penalty_s = penalty_s

    def wait_s(self, rate: Rate, now: float) -> float:
        """How long it has to wait before it may do something; 0 or less is not at all."""
        return self.paid_at - now - (rate.burst - 1) * rate.every_s

    def pay(self, rate: Rate, now: float) -> None:
        self.paid_at = max(self.paid_at, now) + rate.every_s


class Allowances:
    """Made by the master before it forks."""

    def __init__(self) -> None:
        self._secret = os.urandom(16)
        self._memory = mmap.mmap(-1, SETS * _SET_BYTES)

    def account(self, *whose: str) -> Account:
        """The account under that name, or a new one; ``keep`` it when it has been changed."""
        name = "\0".join(whose).encode()
        digest = blake2b(name, digest_size=8, key=self._secret).digest()
        key = int.from_bytes(digest, "little") or 1  # 0 is an empty place
        keys = _KEYS.unpack_from(self._memory, key % SETS * _SET_BYTES)
        if key not in keys:
            return Account(key)
        return Account(key, *self._state(key, keys.index(key)))

    def keep(self, account: Account) -> None:
        key = account.key
        start = key % SETS * _SET_BYTES
        keys = _KEYS.unpack_from(self._memory, start)
        way = keys.index(key) if key in keys else self._make_room(key)
        _STATE.pack_into(
            self._memory, start + _KEYS.size + way * _STATE.size,
            account.paid_at, account.told_until, account.told_s, account.penalty_s,
        )  # fmt: skip
        # Behind what it stands for: a worker that is killed in between leaves nobody a wrong one.
        struct.pack_into("Q", self._memory, start + way * 8, key)

    def take(self, rate: Rate, now: float, *whose: str) -> float:
        """Do one thing of what ``whose`` names; returns 0, or the seconds to wait instead."""
        account = self.account(*whose)
        wait_s = account.wait_s(rate, now)
        if wait_s > 0:
            return wait_s
        account.pay(rate, now)
        self.keep(account)
        return 0.0

    def _state(self, key: int, way: int) -> tuple[float, ...]:
        start = key % SETS * _SET_BYTES + _KEYS.size
        return _STATE.unpack_from(self._memory, start + way * _STATE.size)

    def _make_room(self, key: int) -> int:
        """A place in the set of ``key``: an empty one, or that of whom it matters least."""

        def matters_until(way: int) -> float:
            paid_at, told_until, _, _ = self._state(key, way)
            return max(paid_at, told_until)

        return min(range(WAYS), key=matters_until)
