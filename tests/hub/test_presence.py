"""Who is in which room: one guest once, absences that nobody sees, and large rooms."""

from __future__ import annotations

import pytest

from tests.support.parts import Clock
from wsd.chat import wire
from wsd.hub.presence import COUNT_S, LINGER_S, NAMES_UP_TO, Presence


class Hall:
    """A presence and what it told."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.told: list[wire.Presence] = []
        self.presence = Presence(self.clock, lambda room, frame: self.told.append(frame))

    def here(
        self, uid: str, link: int = 1, name: str = "", room: str = "r", quiet: bool = False
    ) -> None:
        self.presence.appear(link, room, uid, name or uid.title(), quiet)

    def away(self, uid: str, link: int = 1, room: str = "r") -> None:
        self.presence.disappear(link, room, uid)

    def tick(self, seconds: float = 1.0) -> list[wire.Presence]:
        """Time passes, a second at a time; what was told meanwhile."""
        self.told.clear()
        while seconds > 0:
            self.clock.pass_(min(1.0, seconds))
            self.presence.tick()
            seconds -= 1
        return self.told


@pytest.fixture
def hall() -> Hall:
    return Hall()


def test_changes_of_a_second_are_told_together(hall: Hall) -> None:
    hall.here("ann")
    hall.here("bob", link=2)
    assert hall.told == []
    assert hall.tick() == [wire.Presence("r", 2, [("ann", "Ann"), ("bob", "Bob")], [])]
    assert hall.tick(30) == []


def test_leaving_is_told_after_a_while(hall: Hall) -> None:
    hall.here("ann")
    hall.here("bob")
    hall.tick()
    hall.away("ann")
    assert hall.tick(LINGER_S - 1) == []
    assert hall.presence.online("r") == 2
    assert hall.tick() == [wire.Presence("r", 1, [], ["ann"])]


def test_a_reload_of_the_page_is_not_seen(hall: Hall) -> None:
    hall.here("ann")
    hall.tick()
    for _ in range(5):
        hall.away("ann")
        hall.tick(LINGER_S - 1)
        hall.here("ann", link=2)
        hall.tick()
        hall.away("ann", link=2)
        hall.here("ann")
    assert hall.tick(60) == []
    assert hall.presence.online("r") == 1


def test_a_guest_with_many_tabs_is_there_once(hall: Hall) -> None:
    hall.here("ann", link=1)
    hall.here("ann", link=2)
    assert hall.tick() == [wire.Presence("r", 1, [("ann", "Ann")], [])]
    hall.away("ann", link=1)
    assert hall.tick(60) == []
    hall.away("ann", link=2)
    assert hall.tick(60) == [wire.Presence("r", 0, [], ["ann"])]
    assert list(hall.presence.rooms()) == []


def test_rename(hall: Hall) -> None:
    hall.here("ann")
    hall.tick()
    hall.here("ann", name="Anna")
    assert hall.tick() == [wire.Presence("r", 1, [("ann", "Anna")], [])]
    hall.here("ann", name="Anna")
    assert hall.tick() == []
    assert list(hall.presence.people("r")) == [("ann", "Anna")]


def test_coming_and_going_within_one_second_of_telling(hall: Hall) -> None:
    hall.here("ann")
    hall.here("bob")
    hall.tick()
    hall.away("bob")
    hall.tick(LINGER_S - 1)
    hall.clock.pass_(1.0)
    hall.here("bob", name="Bobby")  # at the last moment
    hall.told.clear()
    hall.presence.tick()
    assert hall.told == [wire.Presence("r", 2, [("bob", "Bobby")], [])]


def test_leaving_a_room_that_one_was_never_in(hall: Hall) -> None:
    hall.away("ann")
    hall.here("bob")
    hall.away("ann")
    hall.away("bob", link=9)  # another link's word counts for that link alone
    hall.tick(60)
    assert hall.presence.online("r") == 1


def test_above_the_limit_only_the_number_is_told_and_seldom(hall: Hall) -> None:
    for i in range(NAMES_UP_TO + 1):
        hall.here(f"u{i}")
    assert hall.tick() == [wire.Presence("r", 101, [], [])]
    for i in range(3):
        hall.here(f"v{i}")
        assert hall.tick() == []
    assert hall.tick(2) == [wire.Presence("r", 104, [], [])]
    assert hall.tick(COUNT_S * 3) == []


def test_when_a_large_room_gets_small_all_names_are_told(hall: Hall) -> None:
    for i in range(NAMES_UP_TO + 1):
        hall.here(f"u{i}")
    hall.tick()
    hall.away("u0")
    told = hall.tick(LINGER_S + COUNT_S)
    assert [frame.online for frame in told] == [100]
    assert told[0].people is not None and len(told[0].people) == 100
    hall.here("u1", name="New")
    assert hall.tick() == [wire.Presence("r", 100, [("u1", "New")], [])]


def test_a_lost_worker(hall: Hall) -> None:
    for uid in ("ann", "bob", "eve"):
        hall.here(uid, link=1)
    hall.here("bob", link=2)
    hall.tick()
    hall.presence.lose(1)
    hall.tick(5)
    hall.here("ann", link=3, quiet=True)  # at another worker, or at the one that came back
    assert hall.tick(LINGER_S) == [wire.Presence("r", 2, [], ["eve"])]


def test_after_a_restart_of_the_hub_everybody_is_told_everything_once(hall: Hall) -> None:
    hall.here("ann", link=1, quiet=True)
    hall.here("bob", link=2, quiet=True)
    everybody = [("ann", "Ann"), ("bob", "Bob")]
    assert hall.tick() == [wire.Presence("r", 2, [], [], everybody)]
    assert hall.tick(30) == []
    hall.here("eve")
    assert hall.tick() == [wire.Presence("r", 3, [("eve", "Eve")], [])]


def test_rooms_are_told_apart(hall: Hall) -> None:
    hall.here("ann", room="a")
    hall.here("ann", room="b")
    hall.tick()
    hall.away("ann", room="a")
    assert hall.tick(60) == [wire.Presence("a", 0, [], ["ann"])]
    assert list(hall.presence.rooms()) == [("b", 1)]


def test_a_room_that_is_made_again(hall: Hall) -> None:
    for _ in range(3):
        hall.here("ann")
        assert hall.tick() == [wire.Presence("r", 1, [("ann", "Ann")], [])]
        hall.away("ann")
        assert hall.tick(11) == [wire.Presence("r", 0, [], ["ann"])]


def test_what_is_told_adds_up(hall: Hall) -> None:
    """Whoever follows all that is told knows who is there."""
    import random

    rng = random.Random(3)
    shown: dict[str, str] = {}
    truth: dict[str, set[int]] = {}
    names: dict[str, str] = {}
    for _ in range(600):
        uid, link = f"u{rng.randrange(8)}", rng.randrange(3)
        if rng.random() < 0.55:
            names[uid] = rng.choice(("A", "B")) if rng.random() < 0.3 else names.get(uid, "A")
            hall.here(uid, link, name=names[uid])
            truth.setdefault(uid, set()).add(link)
        elif rng.random() < 0.9:
            hall.away(uid, link)
            truth.get(uid, set()).discard(link)
        else:
            hall.presence.lose(link)
            for links in truth.values():
                links.discard(link)
        for frame in hall.tick(rng.choice((0, 0, 1, 4))):
            shown.update(frame.joined)
            for gone in frame.left:
                del shown[gone]
            assert frame.online == len(shown)
    for frame in hall.tick(30):
        shown.update(frame.joined)
        for gone in frame.left:
            del shown[gone]
    assert shown == {uid: names[uid] for uid, links in truth.items() if links}
