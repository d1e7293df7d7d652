"""How much a guest may say, and how often it may do the rest: the rules, in one place.

A message needs an allowance of the guest's and one of its address's, which many guests may share.
Who is refused is told how long to wait.  Trying again before that is a breach, and doubles the
wait (5 minutes at most; after 5 quiet minutes it is forgotten).  Whoever waits as told is never
punished, nor is what was on its way when the answer was.
"""

from __future__ import annotations

from collections.abc import Callable

from wsd.allowances import Account, Allowances, Rate
from wsd.chat.event import Draft
from wsd.chat.schema import Refuse
from wsd.config import Limits

RENAMES = Rate(10, 60.0)
TYPING_NOTES = Rate(3, 3.0)

LONGEST_WAIT_S = 300.0
QUIET_S = 300.0
ON_THE_WAY_S = 1.0
"""What comes so soon after a refusal may have been sent before it was heard."""
EARLY_S = 0.05
"""Timers of browsers fire a little early, and that is no breach."""
REPEAT_FROM = 16
"""Characters of a text that is not to be said again at once; shorter ones (ok, thanks, +1) are."""


class Rates:
    """``clock`` gives monotonic seconds."""

    def __init__(self, allowances: Allowances, clock: Callable[[], float]) -> None:
        self._allowances = allowances
        self._clock = clock

    # -- messages

    def say(self, uid: str, address: str, limits: Limits) -> None:
        """Count a message or an edit.  Raises Refuse with the time to wait.

        ``address`` is what the guest's address is counted as, "" if it is unknown.
        """
        if limits.every <= 0:
            return
        now = self._clock()
        own = self._allowances.account("say", uid)
        wait_s = self._breach(own, now)
        if not wait_s:
            wait_s = self._take(own, address, limits, now)
        if wait_s:
            raise Refuse("rate", _words(limits), int(wait_s * 1000) + 1)

    def _breach(self, own: Account, now: float) -> float:
        """The wait of somebody who has been told to wait and does not; 0 for anybody else."""
        left_s = own.told_until - now
        if left_s <= EARLY_S:
            return 0.0
        told_at = own.told_until - own.told_s
        if now - told_at > min(ON_THE_WAY_S, own.told_s / 2):
            own.penalty_s = min(LONGEST_WAIT_S, 2 * max(own.penalty_s, own.told_s))
            self._tell(own, own.penalty_s, now)
            return own.penalty_s
        return left_s

    def _take(self, own: Account, address: str, limits: Limits, now: float) -> float:
        """Use an allowance of both; returns 0, or the wait if one of them has none."""
        rate = Rate(limits.burst, limits.every)
        early_s = min(EARLY_S, limits.every / 4)
        wait_s = own.wait_s(rate, now)
        share, theirs = limits.address_share, None
        if share and address:
            theirs = self._allowances.account("say from", address)
            shared = Rate(limits.burst * share, limits.every / share)
            wait_s = max(wait_s, theirs.wait_s(shared, now))
        if wait_s > early_s:
            if now - own.told_until > QUIET_S:
                own.penalty_s = 0.0
            self._tell(own, wait_s, now)
            return wait_s
        own.pay(rate, now)
        self._allowances.keep(own)
        if theirs is not None:
            theirs.pay(shared, now)
            self._allowances.keep(theirs)
        return 0.0

    def _tell(self, own: Account, wait_s: float, now: float) -> None:
        own.told_s = wait_s
        own.told_until = now + wait_s
        self._allowances.keep(own)

    # -- the same again

    def refuse_repeat(self, uid: str, room: str, text: str, limits: Limits) -> None:
        """Raises Refuse for a text that the guest has said in the room less than
        ``limits.repeat`` ago.  Only what was stored counts, so that a retry is none."""
        if not _is_watched(text, limits):
            return
        account = self._allowances.account("repeat", uid, room, text)
        if account.paid_at > self._clock():
            raise Refuse("duplicate", "you have just said that")

    def stored(self, draft: Draft, limits: Limits) -> None:
        """Note that a message was stored."""
        if _is_watched(draft.text, limits):
            account = self._allowances.account("repeat", draft.uid, draft.room, draft.text)
            account.paid_at = self._clock() + limits.repeat
            self._allowances.keep(account)

    # -- the rest

    def rename(self, uid: str) -> None:
        """Raises Refuse."""
        wait_s = self._allowances.take(RENAMES, self._clock(), "rename", uid)
        if wait_s:
            words = "ten new names, then one a minute"
            raise Refuse("rate", words, int(wait_s * 1000) + 1)

    def may_rename(self, uid: str) -> bool:
        """Count a new name that is a wish: who may not have it keeps the old one."""
        return not self._allowances.take(RENAMES, self._clock(), "rename", uid)

    def may_tell_typing(self, uid: str) -> bool:
        return not self._allowances.take(TYPING_NOTES, self._clock(), "typing", uid)


def _is_watched(text: str, limits: Limits) -> bool:
    return limits.every > 0 and limits.repeat > 0 and len(text) >= REPEAT_FROM


def _words(limits: Limits) -> str:
    return f"one message every {limits.every:g} s; trying before the time doubles the wait"
