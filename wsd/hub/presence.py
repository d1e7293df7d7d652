"""Who is in which room, over all workers: counts, names, and what to announce and when.

A guest is there once, however many tabs and workers.  Leaving is announced only after an absence
of ``LINGER_S``, so reloads and reconnects are not seen by others.  Changes are gathered and told
once a second; in a large room only the count is told, and less often.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from functools import lru_cache

from wsd.chat import wire

LINGER_S = 10.0
TELL_S = 1.0
COUNT_S = 5.0
NAMES_UP_TO = 100
"""People in a room up to which their names are told; beyond, only how many they are."""


class _Person:
    __slots__ = ("links", "name")

    def __init__(self, name: str) -> None:
        self.name = name
        self.links: frozenset[int] = frozenset()

    def add(self, link: int) -> None:
        self.links = _shared(self.links | {link})

    def discard(self, link: int) -> None:
        self.links = _shared(self.links - {link})


@lru_cache(maxsize=256)
def _shared(links: frozenset[int]) -> frozenset[int]:
    """One set for all who are at the same workers; one for each takes 0.2 KiB a person."""
    return links


class _Room:
    __slots__ = ("changed", "joined", "left", "named", "people", "told_at")

    def __init__(self) -> None:
        self.people: dict[str, _Person] = {}
        self.joined: dict[str, str] = {}
        self.left: set[str] = set()
        self.changed = False
        self.named = True
        self.told_at = 0.0


class Presence:
    """``tell(room, frame)`` is called for what the workers of a room must know.

    Links are told apart by any integers of the caller's.
    """

    def __init__(
        self, clock: Callable[[], float], tell: Callable[[str, wire.Presence], None]
    ) -> None:
        self._clock = clock
        self._tell = tell
        self._rooms: dict[str, _Room] = {}
        # (room, uid) -> when their absence began; oldest first, since all wait equally long
        self._absent: OrderedDict[tuple[str, str], float] = OrderedDict()

    def appear(self, link: int, room_name: str, uid: str, name: str, quiet: bool) -> None:
        """A guest is at ``link``; ``quiet`` when that is told again after a lost contact."""
        room = self._rooms.setdefault(room_name, _Room())
        self._absent.pop((room_name, uid), None)
        person = room.people.get(uid)
        if person is None:
            person = room.people[uid] = _Person(name)
            news = not quiet
            room.changed = True
            if quiet:  # after a restart of the hub nobody knows who left meanwhile: tell them all
                room.named = False
        else:
            news = person.name != name
            person.name = name
        person.add(link)
        if news:
            room.left.discard(uid)
            room.joined[uid] = name
            room.changed = True

    def disappear(self, link: int, room_name: str, uid: str) -> None:
        room = self._rooms.get(room_name)
        person = room.people.get(uid) if room else None
        if person is None:
            return
        person.discard(link)
        if not person.links:
            self._absent[room_name, uid] = self._clock()

    def lose(self, link: int) -> None:
        """A worker is gone, and whoever was only there has begun to be absent."""
        for name, room in self._rooms.items():
            for uid, person in room.people.items():
                if link in person.links:
                    person.discard(link)
                    if not person.links:
                        self._absent[name, uid] = self._clock()

    def tick(self) -> None:
        """Call every ``TELL_S``."""
        now = self._clock()
        while self._absent:
            (name, uid), since = next(iter(self._absent.items()))
            if now - since < LINGER_S:
                break
            self._absent.popitem(last=False)
            self._remove(name, uid)
        for name, room in list(self._rooms.items()):
            if room.changed:
                self._announce(name, room, now)
            if not room.people:
                del self._rooms[name]

    def _remove(self, name: str, uid: str) -> None:
        room = self._rooms[name]
        del room.people[uid]
        if room.joined.pop(uid, None) is None:
            room.left.add(uid)
        room.changed = True

    def _announce(self, name: str, room: _Room, now: float) -> None:
        online = len(room.people)
        small = online <= NAMES_UP_TO
        if not small and now - room.told_at < COUNT_S:
            return
        if not small:
            frame = wire.Presence(name, online, [], [])
        elif not room.named:  # the names were not told for a while
            frame = wire.Presence(name, online, [], [], list(self.people(name)))
        else:
            frame = wire.Presence(name, online, list(room.joined.items()), list(room.left))
        room.named = small
        room.joined, room.left = {}, set()
        room.changed = False
        room.told_at = now
        self._tell(name, frame)

    def online(self, name: str) -> int:
        room = self._rooms.get(name)
        return len(room.people) if room else 0

    def people(self, name: str) -> Iterator[tuple[str, str]]:
        """(uid, name) of everybody in a room."""
        room = self._rooms.get(name)
        if room:
            for uid, person in room.people.items():
                yield uid, person.name

    def rooms(self) -> Iterator[tuple[str, int]]:
        """(room, people in it)"""
        for name, room in self._rooms.items():
            yield name, len(room.people)
