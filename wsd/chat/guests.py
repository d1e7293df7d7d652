"""The guests at this worker: one object for each uid, however many connections they have."""

from __future__ import annotations

from collections.abc import Callable

from wsd.chat.identity import Claims, Tokens, friendly_name, new_uids

KEEP_S = 300.0
"""How long a guest that was renamed is remembered without a connection: one that comes back with a
token from before keeps the new name."""


class Guest:
    __slots__ = ("connections", "name", "named_at", "renamed", "role", "seen_at", "uid")

    def __init__(self, uid: str, name: str, role: str, now: float) -> None:
        self.uid = uid
        self.name = name
        self.named_at = 0
        """When it took this name, in whole seconds since 1970, as tokens have it."""
        self.renamed = False
        """Whether it has got another name since it came, of which older tokens do not know."""
        self.role = role
        self.connections = 0
        self.seen_at = now

    def call(self, name: str, at: int) -> None:
        """It has had the name ``name`` since ``at``, seconds since 1970."""
        self.renamed = self.renamed or name != self.name
        self.name, self.named_at = name, at


NOBODY = Guest("", "", "", 0.0)
"""Whoever only watches: is not counted, and says nothing."""


class Guests:
    """``clock`` gives monotonic seconds, ``wall`` seconds since 1970 for tokens."""

    def __init__(
        self, tokens: Tokens, clock: Callable[[], float], wall: Callable[[], float]
    ) -> None:
        self.tokens = tokens
        self._clock = clock
        self._wall = wall
        self._uids = new_uids()
        self._by_uid: dict[str, Guest] = {}

    def arrive(self, token: str, name: str | None) -> Guest:
        """The guest that ``token`` speaks of, or a new one, who is called ``name`` (clean, or None
        for a name of ours)."""
        claims = self.claims(token)
        uid = claims.uid if claims else next(self._uids)
        guest = self._by_uid.get(uid)
        if guest is None:
            first = claims.name if claims else name or friendly_name()
            guest = self._by_uid[uid] = Guest(uid, first, "guest", self._clock())
        if claims and claims.time >= guest.named_at:  # it may have been renamed at another worker
            guest.call(claims.name, claims.time)
        guest.connections += 1
        return guest

    def claims(self, token: str) -> Claims | None:
        """What ``token`` says, if it is a genuine one; nobody arrives by that."""
        return self.tokens.read(token, self._wall()) if token else None

    def stranger(self) -> str:
        """The token of a new guest, of whom nothing is kept."""
        return self.tokens.make(next(self._uids), friendly_name(), self._wall())

    def recognise(self, token: str) -> Guest | None:
        """The guest that ``token`` speaks of, if it is a genuine one; as ``arrive`` does it."""
        if self.claims(token) is None:
            return None
        return self.arrive(token, None)

    def rename(self, guest: Guest, name: str) -> None:
        """``name`` is clean."""
        # Tokens have whole seconds: an older one of this second must not bring the old name back.
        guest.call(name, int(self._wall()) + 1)

    def name(self, uid: str, name: str, at: int) -> Guest | None:
        """Another worker has renamed a guest.  It may come here next, with a token from before, so
        that one is remembered who is not here; None for older news than what is known."""
        guest = self._by_uid.get(uid)
        if guest is None:
            guest = self._by_uid[uid] = Guest(uid, "", "guest", self._clock())
        elif at < guest.named_at:
            return None
        guest.call(name, at)
        return guest

    def leave(self, guest: Guest) -> None:
        guest.connections -= 1
        guest.seen_at = self._clock()
        if not guest.connections and not guest.renamed:
            self._by_uid.pop(guest.uid, None)  # its token says all that is known of it

    def get(self, uid: str) -> Guest | None:
        return self._by_uid.get(uid)

    def token(self, guest: Guest) -> str:
        return self.tokens.make(guest.uid, guest.name, self._wall())

    def sweep(self) -> None:
        """Forget who has been away for long.  Call every minute or so."""
        limit = self._clock() - KEEP_S
        gone = [g for g in self._by_uid.values() if not g.connections and g.seen_at < limit]
        for guest in gone:
            del self._by_uid[guest.uid]
