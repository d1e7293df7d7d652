"""Position, holes and gaps of one room."""

from __future__ import annotations

from typing import Any

import pytest

from wsd.client.events import Gap
from wsd.client.room import Room, split_position


def entry(position: str, follows: int = 0, recovered: bool = False) -> dict[str, Any]:
    return {"position": position, "follows": follows, "recovered": recovered, "online": 3}


def take(room: Room, seq: int, now: float = 0.0) -> bool:
    """As the conversation does with an event."""
    is_next = room.is_next(seq, now)
    if is_next:
        room.seq = seq
    return is_next


def test_a_newcomer_takes_the_replay_and_then_live_events() -> None:
    room = Room("lobby")
    assert not take(room, 1)  # nothing before it is entered
    assert room.position is None
    assert room.entered(entry("e.10", follows=3), 0) is None
    assert (room.position, room.given, room.online) == ("e.7", "e.7", 3)
    assert [take(room, seq) for seq in (7, 8, 9, 10, 11)] == [False, True, True, True, True]
    assert [room.is_replay(seq) for seq in (8, 10, 11)] == [True, True, False]


def test_what_was_there_is_dropped_and_a_hole_asks_for_a_join() -> None:
    room = Room("lobby")
    room.entered(entry("e.5"), now=10)
    assert take(room, 6, 10.1)
    assert not take(room, 6, 10.1)
    assert room.join_at is None
    assert not take(room, 8, 10.2)
    assert room.position == "e.6"
    assert room.join_at == 11  # a second after the last
    room.entered(entry("e.8", follows=2, recovered=True), 11)
    assert room.join_at is None
    assert [take(room, seq, 12) for seq in (7, 8)] == [True, True]
    assert not take(room, 10, 15)
    assert room.join_at == 15


@pytest.mark.parametrize(
    ("back", "gap", "position"),
    [
        (entry("e.9", 4, True), None, "e.5"),
        (entry("e.5", 0, True), None, "e.5"),
        # The replay reaches back to what we have, or further: nothing is missing.
        (entry("e.9", 4, False), None, "e.5"),
        (entry("e.9", 6, False), None, "e.5"),
        # In the same log some are missing; they can be counted.
        (entry("e.90", 50, False), ("e.40", 35), "e.40"),
        # Our position is ahead of the room's end: it was never in this log.
        (entry("e.3", 2, False), ("e.1", None), "e.1"),
        # Another log: the numbers mean other events, whatever the server says.
        (entry("f.9", 4, True), ("f.5", None), "f.5"),
        (entry("f.90", 50, False), ("f.40", None), "f.40"),
    ],
)
def test_coming_back(
    back: dict[str, Any], gap: tuple[str, int | None] | None, position: str
) -> None:
    room = Room("lobby", "e.5")
    room.disconnected()
    told = room.entered(back, 0)
    if gap is None:
        assert told is None
    else:
        assert told == Gap(room="lobby", had="e.5", now=gap[0], missed=gap[1])
    assert room.position == position


def test_what_was_missed_is_no_replay_unless_the_log_is_another() -> None:
    room = Room("lobby", "e.5")
    room.entered(entry("e.90", 50, False), 0)
    assert not room.is_replay(41)
    room.entered(entry("f.90", 50, False), 0)
    assert [room.is_replay(seq) for seq in (41, 90, 91)] == [True, True, False]
    # A newcomer's replay that was cut stays one when the rest of it comes as missed.
    room.seq = 60
    room.entered(entry("f.95", 35, True), 0)
    assert [room.is_replay(seq) for seq in (61, 90, 91)] == [True, True, False]


def test_a_ping_shows_what_silence_hides() -> None:
    room = Room("lobby")
    room.compare_head(9, 0)
    assert room.join_at is None  # not entered
    room.entered(entry("e.5"), 0)
    for head in (5, 4, None, "9"):
        room.compare_head(head, 100)
        assert room.join_at is None
    room.compare_head(6, 100)
    assert room.join_at == 100


def test_a_ping_in_the_middle_of_a_replay_shows_nothing_until_it_is_stuck() -> None:
    room = Room("lobby")
    room.entered(entry("e.100", follows=50), 0)
    room.compare_head(100, 10)
    assert room.join_at is None
    take(room, 51)
    room.compare_head(101, 20)
    assert room.join_at is None
    room.compare_head(101, 30)  # nothing has come since
    assert room.join_at == 30


def test_a_lost_connection_forgets_what_was_asked_and_nothing_else() -> None:
    room = Room("lobby")
    room.entered(entry("e.5"), 0)
    take(room, 7, 0.5)
    room.disconnected()
    assert (room.join_at, room.inside, room.accepted, room.position) == (None, False, True, "e.5")


@pytest.mark.parametrize("position", ["", "5", ".5", "e.", "e.-1", "e.x", "e.٣", "e.5 "])
def test_what_is_no_position(position: str) -> None:
    with pytest.raises(ValueError, match="is no position"):
        split_position(position)
