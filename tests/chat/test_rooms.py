"""Rooms of a worker: one encoding for all, the ring, recovery, and who falls behind.

The hub, the link and the log behind the rooms are the real ones (tests/support/parts.py).
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.parts import JsonLines, Listener, Site, draft
from wsd.chat import event as events
from wsd.chat.event import DELETE, EDIT, Event, Message, Position, parse_position, position_text
from wsd.chat.room import RING_SPARE, SHARED_CHUNKS, Room
from wsd.chat.rooms import EMPTY_ROOM_S, FEED_EVENTS, GATHER_S, Entry, Rooms
from wsd.metrics import M
from wsd.reasons import RESYNC

LINES = JsonLines()


def rooms_of(site: Site, worker: int = 0) -> Rooms:
    return site.workers[worker].context.rooms


def publish(site: Site, *texts: str, room: str = "lobby", worker: int = 0) -> None:
    for text in texts:
        site.workers[worker].context.link.publish(draft(text, room=room), lambda outcome: None)
    site.settle()


def store(site: Site, count: int, room: str = "lobby") -> None:
    """Straight into the log, as if it had been said long ago."""
    for start in range(0, count, 100):
        site.hub.log.append(
            [draft(str(i + 1), room=room) for i in range(start, min(start + 100, count))]
        )


def join(
    site: Site, after: str | None = None, *, room: str = "lobby", worker: int = 0,
    member: Listener | None = None, settle: bool = True, replay: bool = True,
) -> tuple[Listener, list[Entry]]:  # fmt: skip
    member = member or Listener(LINES)
    entries: list[Entry] = []
    rooms = rooms_of(site, worker)

    def enter() -> None:
        entries.append(rooms.entry(room, member, after, replay))
        rooms.admit(room, member, entries[0])

    rooms.prepare(room, after, enter)
    if settle:
        site.settle()
    return member, entries


def position(site: Site, seq: object) -> str:
    return f"{site.hub.log.epoch}.{seq}"


# -- one encoding


def test_an_event_is_encoded_once_for_all_members(site: Site) -> None:
    encodings = JsonLines(), JsonLines()
    members = [join(site, member=Listener(encodings[i % 2]))[0] for i in range(50)]
    publish(site, "one", "two", "three")
    assert [encoding.made for encoding in encodings] == [[1, 2, 3], [1, 2, 3]]
    assert all(member.seqs() == [1, 2, 3] for member in members)
    assert len({id(member.data[-1]) for member in members[::2]}) == 1  # the same bytes object


def test_a_turn_brings_one_piece_of_data(site: Site) -> None:
    member, _ = join(site)
    link = site.workers[0].context.link
    for i in range(20):
        link.publish(draft(str(i)), lambda outcome: None)
    site.settle()
    assert member.seqs() == list(range(1, 21))
    assert len(member.data) == 1


def test_newcomers_with_the_same_position_share_bytes_and_the_cache_is_bounded(site: Site) -> None:
    store(site, 100)
    members = [join(site, position(site, 60))[0] for _ in range(5)]
    assert len({id(member.data[0]) for member in members}) == 1
    room = rooms_of(site).get("lobby")
    assert room is not None
    for seq in range(100):
        join(site, position(site, seq))
    assert len(room._chunks) <= SHARED_CHUNKS


# -- the ring


def body(seq: int, text: str = "", room: str = "r") -> Event:
    return Event(seq, events.encode(Message(room, seq, 1.0, "u", "U", "guest", text or str(seq))))


def edit(seq: int, ref: int, text: str) -> Event:
    return Event(seq, events.encode(events.Edit("r", seq, 1.0, ref, text)))


def delete(seq: int, ref: int) -> Event:
    return Event(seq, events.encode(events.Delete("r", seq, 1.0, ref)))


def row(event: Event) -> tuple[int, bytes]:
    return event.seq, event.json


def filled(first: int, last: int) -> Room:
    room = Room("r")
    room.fill(last, first, [row(body(seq)) for seq in range(first, last + 1)])
    return room


def shown(room: Room, after: int | None = None, limit: int | None = None) -> list[Any]:
    data = room.chunk(LINES, room.first - 1 if after is None else after, limit)
    bodies = [events.decode(line) for line in data.splitlines()]
    return [(b.seq, getattr(b, "text", "-")) for b in bodies]


def test_the_ring_grows_and_is_cut() -> None:
    room = filled(1, 10)
    for seq in range(11, 40 + RING_SPARE):
        room.append(body(seq), ring_size=30)
        assert room.head == seq
        assert room.ring[0].seq == room.first
        assert len(room.ring) == room.head - room.first + 1
        assert 30 <= len(room.ring) <= 30 + RING_SPARE or seq <= 30
    assert room.first > 1
    assert shown(room, room.head - 2) == [(room.head - 1, str(room.head - 1)),
                                          (room.head, str(room.head))]  # fmt: skip
    assert shown(room, room.head) == []


def test_the_ring_reaches_back() -> None:
    room = filled(11, 20)
    room.prepend([row(body(seq)) for seq in range(6, 11)])
    assert (room.first, [seq for seq, _ in shown(room)]) == (6, list(range(6, 21)))
    room.prepend([])
    room.prepend([row(body(seq)) for seq in range(1, 5)])  # 5 is missing: no hole
    assert room.first == 6
    room.prepend([row(body(seq)) for seq in range(2, 9)])  # another answer came first
    assert (room.first, [seq for seq, _ in shown(room)]) == (2, list(range(2, 21)))
    room.prepend([row(body(seq)) for seq in range(4, 6)])  # all of it is here already
    assert room.first == 2


def test_an_empty_ring() -> None:
    room = Room("r")
    room.fill(7, 8, [])
    assert (room.first, room.head, shown(room)) == (8, 7, [])
    room.append(body(8), 30)
    assert (room.first, room.head, shown(room)) == (8, 8, [(8, "8")])


def test_changes_show_in_the_ring() -> None:
    room = filled(1, 5)
    room.append(edit(6, 3, "changed"), 30)
    room.append(edit(7, 3, "again"), 30)
    assert shown(room, 2, 2) == [(3, "again"), (4, "4")]
    assert b'"edited":true' in room.ring[2].json
    room.append(delete(8, 3), 30)
    assert shown(room, 2) == [(3, ""), (4, "4"), (5, "5"), (6, ""), (7, ""), (8, "-")]
    assert b'"deleted":true' in room.ring[2].json


def test_a_deleted_text_is_shown_to_nobody_when_its_message_has_left_the_ring() -> None:
    room = filled(5, 6)
    room.append(edit(7, 2, "secret"), 30)
    room.append(edit(8, 3, "another's"), 30)
    room.append(delete(9, 2), 30)
    assert shown(room) == [(5, "5"), (6, "6"), (7, ""), (8, "another's"), (9, "-")]


def test_live_members_are_told_the_change_itself() -> None:
    """Whoever saw the message is told of its end; only later readers are spared the text."""
    room = filled(1, 0)
    member = Listener(JsonLines())
    room.add(member)
    room.append(body(1, "seen"), 30)
    room.append(edit(2, 1, "better"), 30)
    room.append(delete(3, 1), 30)
    room.spread()
    assert [v.get("text") for v in member.values()] == ["seen", "better", None]


@pytest.mark.parametrize("ref", [0, 1, 4, 6, 7, 99])
def test_a_change_of_what_the_ring_does_not_hold(ref: int) -> None:
    room = filled(5, 6)
    if ref == 6:
        room.append(edit(7, 5, "x"), 30)
        room.append(delete(8, 7), 30)  # of an edit: nothing that is there
    else:
        room.append(delete(7, ref), 30)
    assert [seq for seq, _ in shown(room)][:2] == [5, 6]
    assert shown(room)[1] == (6, "6")


def test_the_ring_and_the_log_show_the_same(site: Site) -> None:
    rng = random.Random(4)
    join(site)
    link = site.workers[0].context.link
    for i in range(150):
        kind = rng.choice(("message", "message", EDIT, DELETE))
        ref = rng.randrange(1, i + 2) if kind != "message" else None
        link.publish(draft(f"text {i}", kind=kind, ref=ref), lambda outcome: None)
        if i % 7 == 0:
            site.settle()
    site.settle()
    room = rooms_of(site).get("lobby")
    assert room is not None
    assert [row(event) for event in room.ring] == site.hub.log.events("lobby", 0, 999, 999)


# -- recovery


def test_a_newcomer_gets_the_newest(make_site: Callable[..., Site]) -> None:
    site = make_site(history={"replay": 10})
    store(site, 100)
    member, (entry,) = join(site)
    assert (entry.position, entry.follows, entry.recovered) == (position(site, 100), 10, False)
    assert member.seqs() == list(range(91, 101))


def test_a_dialect_without_history_gets_nothing_old(site: Site) -> None:
    store(site, 5)
    member, (entry,) = join(site, replay=False)
    publish(site, "new")
    assert (entry.follows, member.seqs()) == (0, [6])


@pytest.mark.parametrize("missed", [0, 1, 9, 10, 11, 49, 500])
def test_a_position_within_reach_is_recovered(make_site: Callable[..., Site], missed: int) -> None:
    site = make_site(history={"replay": 10, "recover_max": 500})
    store(site, 600)
    member, (entry,) = join(site, position(site, 600 - missed))
    assert (entry.recovered, entry.follows) == (True, missed)
    assert member.seqs() == list(range(601 - missed, 601))
    row = site.scoreboard.row("worker 0")
    assert (row[M.RECOVERED], row[M.NOT_RECOVERED]) == (1, 0)


@pytest.mark.parametrize(
    "after",
    ["{e}.601", "{e}.99", "{e}.9223372036854775808", "{e}.-1", "{e}.1e2", "{e}.", "{e}", "",
     "x.600", "{e}.600.600", ".600", "{e}. 600", "{e}.٦٠٠", "{e}.6_0", "a" * 60_000, "\0.1",
     "{e}.+5", "{e}.999999999999999999"],
)  # fmt: skip
def test_dl_14_any_other_position_is_answered_with_the_newest(
    make_site: Callable[..., Site], after: str
) -> None:
    site = make_site(history={"replay": 10, "recover_max": 500})
    store(site, 600)
    member, (entry,) = join(site, after.format(e=site.hub.log.epoch))
    assert (entry.recovered, entry.follows) == (False, 10)
    assert member.seqs() == list(range(591, 601))
    assert site.scoreboard.row("worker 0")[M.NOT_RECOVERED] == 1


def test_dl_13_a_position_from_before_the_retained_history(make_site: Callable[..., Site]) -> None:
    site = make_site(history={"replay": 10, "recover_max": 500, "size": 20})
    store(site, 100)
    while site.hub.log.trim("lobby", 20, 1e9):
        pass
    member, (entry,) = join(site, position(site, 79))
    assert (entry.recovered, entry.follows) == (False, 10)
    member, (entry,) = join(site, position(site, 80))
    assert (entry.recovered, member.seqs()) == (True, list(range(81, 101)))


def test_retention_while_the_worker_does_not_know(make_site: Callable[..., Site]) -> None:
    site = make_site(history={"replay": 5})
    store(site, 100)
    join(site)
    while site.hub.log.trim("lobby", 20, 1e9):
        pass
    member, (entry,) = join(site, position(site, 40))  # the worker thinks that this is there
    assert entry.recovered is False
    assert member.seqs() == list(range(101 - entry.follows, 101))


def test_bp_20_many_positions_at_once_are_all_recovered(site: Site) -> None:
    """After a restart of the worker everybody comes at once, each with a position of their own:
    the answers for one must not spoil those for another."""
    store(site, 500)
    joins = [
        (seq, *join(site, position(site, seq), settle=False))
        for seq in (440, 120, 300, 121, 499, 10, 120)
    ]
    site.settle(10)
    for seq, member, entries in joins:
        assert [entry.recovered for entry in entries] == [True], seq
        assert member.seqs() == list(range(seq + 1, 501))


def test_bp_20_more_missed_than_the_link_can_hold(make_site: Callable[..., Site]) -> None:
    """All answers together are larger than what the hub lets wait for one worker."""
    site = make_site(limits={"text": 20_000})
    site.hub.log.append([draft("x" * 10_000) for _ in range(500)])
    joins = [(seq, *join(site, position(site, seq), settle=False)) for seq in range(440, 0, -40)]
    for _ in range(900):
        site.turn()
        site.clock.pass_(0.01)
    for seq, member, entries in joins:
        assert [entry.recovered for entry in entries] == [True], seq
        assert member.seqs() == list(range(seq + 1, 501))


@pytest.mark.parametrize(("at", "oldest"), [(10, 1), (399, 1), (450, 1), (10, 5)])
def test_more_missed_than_one_answer_can_hold(site: Site, at: int, oldest: int) -> None:
    """20 MB: it is asked for again and again, and is all there."""
    site.hub.log.append([draft("x" * 40_000) for _ in range(500)])
    site.hub.log.trim("lobby", 501 - oldest, 1e9)
    member, entries = join(site, position(site, at), settle=False)
    for _ in range(600):
        site.turn()
        site.clock.pass_(0.01)
    (entry,) = entries
    assert (entry.recovered, entry.follows) == (True, 500 - at)
    assert member.seqs() == list(range(at + 1, 501))
    publish(site, "next")
    assert member.seqs()[-1] == 501


def test_nothing_is_read_twice_for_the_same(site: Site) -> None:
    store(site, 500)
    asked = 0
    real = site.hub.log.events

    def counting(*args: Any) -> Any:
        nonlocal asked
        asked += 1
        return real(*args)

    site.hub.log.events = counting  # type: ignore[method-assign]
    for _ in range(50):
        join(site, position(site, 100), settle=False)
    site.settle()
    assert asked == 2  # one for the subscription, one to reach back


# -- a stream of events


@pytest.mark.parametrize("seed", range(12))
def test_dl_09_every_member_gets_every_event_once_whenever_it_joins(
    make_site: Callable[..., Site], seed: int
) -> None:
    rng = random.Random(seed)
    site = make_site(2, history={"replay": rng.choice((0, 3, 50)), "recover_max": 60})
    members: list[tuple[Listener, list[Entry], int]] = []
    said = 0
    for _ in range(250):
        act = rng.random()
        worker = rng.randrange(2)
        if act < 0.55:
            for _ in range(rng.randrange(1, 4)):
                said += 1
                site.workers[worker].context.link.publish(draft(str(said)), lambda outcome: None)
        elif act < 0.75:
            head = site.hub.log.bounds("lobby")[1]
            after = rng.choice((None, position(site, max(0, head - rng.randrange(90)))))
            members.append((*join(site, after, worker=worker, settle=False), worker))
        elif act < 0.8 and members:
            member, entries, at = members.pop(rng.randrange(len(members)))
            if entries:
                rooms_of(site, at).leave("lobby", member)
            else:
                members.append((member, entries, at))
        elif act < 0.9:
            site.hub_loop.turn()
        else:
            rng.choice(site.loops).turn()
    site.settle(10)
    assert site.hub.log.bounds("lobby")[1] == said
    for member, (entry,), _ in members:
        assert member.seqs() == list(range(entry.start + 1, said + 1))
        head = int(entry.position.rpartition(".")[2])
        assert entry.follows == head - entry.start


# -- slow readers


def test_bp_03_a_slow_member_falls_behind_and_catches_up_from_the_ring(site: Site) -> None:
    slow, _ = join(site)
    fast, _ = join(site)
    publish(site, "1")
    slow.room_left = False
    publish(site, "2", "3")
    publish(site, "4")
    assert slow.seqs() == [1]
    assert fast.seqs() == [1, 2, 3, 4]
    room = rooms_of(site).get("lobby")
    assert room is not None
    assert room.known_head(slow) == 1
    assert room.known_head(fast) == 4
    slow.room_left = True
    rooms_of(site).drained("lobby", slow)
    assert slow.seqs() == [1, 2, 3, 4]
    publish(site, "5")
    assert slow.seqs() == [1, 2, 3, 4, 5]
    assert room.behind == {}
    assert site.scoreboard.row("worker 0")[M.LAGGED] == 1


def test_a_slow_member_is_fed_in_portions(make_site: Callable[..., Site]) -> None:
    site = make_site()
    slow, _ = join(site)
    slow.room_left = False
    publish(site, *map(str, range(250)))
    steps = 0
    while rooms_of(site).get("lobby").behind:  # type: ignore[union-attr]
        rooms_of(site).drained("lobby", slow)
        steps += 1
    assert slow.seqs() == list(range(1, 251))
    assert steps == -(-250 // FEED_EVENTS)


def test_a_slow_member_catches_up_from_the_log(make_site: Callable[..., Site]) -> None:
    site = make_site(history={"replay": 5, "recover_max": 5})
    slow, _ = join(site)
    slow.room_left = False
    for start in range(0, 600, 60):
        publish(site, *map(str, range(start, start + 60)))
    room = rooms_of(site).get("lobby")
    assert room is not None and room.first > 1
    for _ in range(20):
        rooms_of(site).drained("lobby", slow)
        rooms_of(site).drained("lobby", slow)  # asked twice: told once
        publish(site, "more")  # while it is being fed
        slow.room_left = True
    assert slow.seqs() == list(range(1, 621))
    assert room.behind == {}


def test_a_slow_member_whose_history_was_removed_is_told_so(make_site: Callable[..., Site]) -> None:
    site = make_site(history={"replay": 5, "recover_max": 5})
    slow, _ = join(site)
    slow.room_left = False
    publish(site, *map(str, range(600)))
    while site.hub.log.trim("lobby", 100, 1e9):
        pass
    rooms_of(site).drained("lobby", slow)
    site.settle()
    assert slow.reason is RESYNC


def test_somebody_who_joins_with_too_much_waiting_already(site: Site) -> None:
    """Its replay must not be lost: it starts behind."""
    store(site, 20)
    member = Listener(LINES)
    member.room_left = False
    _, (entry,) = join(site, member=member)
    assert (entry.follows, member.data) == (20, [])
    assert member.fed == 1
    publish(site, "21")
    member.room_left = True
    rooms_of(site).drained("lobby", member)
    publish(site, "22")
    assert member.seqs() == list(range(1, 23))


def test_leaving_while_behind(site: Site) -> None:
    slow, _ = join(site)
    slow.room_left = False
    publish(site, "1")
    rooms_of(site).leave("lobby", slow)
    room = rooms_of(site).get("lobby")
    assert room is not None
    assert (room.live, room.behind) == ({}, {})
    assert room.empty_at is not None
    rooms_of(site).drained("lobby", slow)
    assert slow.data == []


# -- rooms come and go


def test_an_empty_room_is_let_go_after_a_while(site: Site) -> None:
    member, _ = join(site)
    rooms_of(site).leave("lobby", member)
    site.pass_(EMPTY_ROOM_S - 6, 1)
    assert rooms_of(site).get("lobby") is not None
    assert site.hub._subscribers
    join(site, room="other")
    site.pass_(12, 1)
    assert rooms_of(site).get("lobby") is None
    assert set(site.hub._subscribers) == {"other"}
    site.pass_(60, 1)
    assert rooms_of(site).get("other") is not None  # somebody is in it


def test_a_room_is_not_let_go_while_somebody_is_on_the_way_in(site: Site) -> None:
    store(site, 400)
    member, _ = join(site)
    rooms_of(site).leave("lobby", member)
    site.pass_(29, 1)
    newcomer, entries = join(site, position(site, 100), settle=False)
    site.pass_(40, 1, hub=False)  # the hub hangs
    site.settle()
    assert [entry.recovered for entry in entries] == [True]
    assert newcomer.seqs() == list(range(101, 401))


def test_gaps_on_the_link_are_filled(site: Site) -> None:
    """DL-07: should a frame ever be lost, the rooms ask for all since the last one."""
    member, _ = join(site)
    rooms = rooms_of(site)
    store(site, 5)  # behind the worker's back
    rooms.on_event("lobby", 5, b"{}")
    site.settle()
    assert member.seqs() == [1, 2, 3, 4, 5]
    rooms.on_event("lobby", 4, b"{}")  # and what comes twice is dropped
    rooms.on_event("nowhere", 9, b"{}")
    site.settle()
    assert member.seqs() == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("replay", "recover_max", "missed"), [(50, 500, 30), (50, 500, 700), (0, 0, 3), (0, 10, 600)]
)
def test_a_link_that_was_away(
    make_site: Callable[..., Site], replay: int, recover_max: int, missed: int
) -> None:
    site = make_site(history={"replay": replay, "recover_max": recover_max})
    member, _ = join(site)
    publish(site, "1")
    site.workers[0].context.link._connection.abort("cut")  # type: ignore[union-attr]
    store(site, missed)
    for _ in range(100):
        site.clock.pass_(0.05)
        site.settle(2)
        rooms_of(site).drained("lobby", member)
    publish(site, "last")
    assert member.seqs() == list(range(1, missed + 3))


def test_another_log(make_site: Callable[..., Site]) -> None:
    """The epoch changes: members with positions are sent away to come again, others stay."""
    site = make_site()
    with_position, _ = join(site)
    without = Listener(JsonLines())
    without.encoding.has_positions = False
    join(site, member=without)
    publish(site, "1", "2", "3")
    site.kill_hub()
    site.start_hub()  # in memory, so this is another log
    site.pass_(0.5)
    assert with_position.reason is RESYNC
    publish(site, "in the new log")
    assert without.reason is None
    assert without.seqs() == [1, 2, 3, 1]
    old = f"{'x' * 8}.3"
    _, (entry,) = join(site, old)
    assert (entry.recovered, entry.position) == (False, position(site, 1))


def test_positions_are_strings_that_lead_back(site: Site) -> None:
    assert parse_position(position_text("abc", 12)) == Position("abc", 12)
    assert parse_position("abc.0") == Position("abc", 0)


@settings(max_examples=300)
@given(st.text(max_size=80))
def test_no_text_breaks_the_parser_of_positions(text: str) -> None:
    found = parse_position(text)
    assert found is None or (found.seq >= 0 and found.epoch.isalnum())


def test_an_event_makes_each_encoding_once() -> None:
    one, other = JsonLines(), JsonLines()
    event = body(1)
    assert event.encoded(one) is event.encoded(one)
    event.encoded(other)
    assert (one.made, other.made) == ([1], [1])


def test_a_true_position_outlives_answers_that_are_older(make_site: Callable[..., Site]) -> None:
    """A worker that was paused finds old answers of the hub's in its socket, several of them."""
    site = make_site(workers=2)
    ann = site.join(worker=0)
    site.join(worker=1)
    rooms = site.workers[1].context.rooms
    room = rooms.get("lobby")
    assert room is not None
    for _ in range(3):  # as after gaps
        rooms._subscribe(room)
    site.loops[1].turn()
    for _ in range(3):
        site.hub_loop.turn()
    ann.send(type="say", room="lobby", text="hi")  # while that worker stands still
    for _ in range(4):
        site.loops[0].turn()
        site.hub_loop.turn()
    heads: list[int] = []
    rooms.prepare("lobby", f"{rooms.epoch}.1", lambda: heads.append(room.head))
    site.settle()
    assert heads == [1]


def test_a_position_of_the_future_is_asked_about_once(site: Site) -> None:
    site.join()
    rooms = site.workers[0].context.rooms
    room = rooms.get("lobby")
    assert room is not None
    asked, done = room.asked, []
    for seq in (5, 6, 7):  # in one turn: one question will do
        rooms.prepare("lobby", f"{rooms.epoch}.{seq}", lambda: done.append(1))
    assert room.asked == asked + 1
    site.settle()
    assert len(done) == 3 and not room.waiting


def test_a_position_that_comes_when_the_question_has_left_is_asked_about_again(site: Site) -> None:
    """The hub may have read the question before what this position speaks of was stored."""
    site.join()
    context = site.workers[0].context
    rooms = context.rooms
    room = rooms.get("lobby")
    assert room is not None
    asked, done = room.asked, []
    for seq in (5, 6):
        rooms.prepare("lobby", f"{rooms.epoch}.{seq}", lambda: done.append(1))
        context.link.end_turn()  # as when a flush wakes somebody
    assert room.asked == asked + 2
    site.settle()
    assert len(done) == 2 and not room.waiting


def test_what_retention_removed_during_a_break_is_shown_to_nobody(
    make_site: Callable[..., Site]
) -> None:
    site = make_site(history={"keep": 600.0})
    ann = site.join()
    for i in range(10):
        ann.ask(type="say", room="lobby", text=f"old {i}")
    next(iter(site.hub._links.values())).connection.abort("cut")
    site.wall.pass_(700)
    for _ in range(10):  # of the hub alone
        site.clock.pass_(0.2)
        site.hub_loop.turn()
    assert site.hub.log.bounds("lobby") == (11, 10)
    site.pass_(2)
    assert site.join().events() == []


# -- gathering


def gathering(site: Site, pass_s: float) -> tuple[Rooms, Listener]:
    """A room with a member, in which a message is on its way and an event has come."""
    member, _ = join(site)
    rooms = rooms_of(site)
    room = rooms.get("lobby")
    assert room is not None
    room.pass_s = pass_s  # the clock of the tests stands still meanwhile
    rooms.publish(draft("on its way"), lambda outcome: None)
    rooms.on_event("lobby", 1, body(1, "another", "lobby").json)
    return rooms, member


def test_a_large_room_waits_for_what_is_on_its_way(site: Site) -> None:
    """Otherwise the stored and the sent alternate, and there are twice as many sends."""
    rooms, member = gathering(site, 0.05)
    rooms.end_turn()
    assert member.data == []
    site.clock.pass_(0.049)
    rooms.end_turn()
    assert member.data == []
    site.clock.pass_(0.002)
    rooms.end_turn()
    assert member.seqs() == [1]


def test_it_does_not_wait_longer_than_for_the_last_of_them(site: Site) -> None:
    rooms, member = gathering(site, 0.05)
    room = rooms.get("lobby")
    assert room is not None and room.on_way == 1
    rooms.end_turn()
    assert member.data == []
    room.on_way = 0
    rooms.end_turn()
    assert member.seqs() == [1]


def test_the_loop_looks_up_when_the_wait_is_over(site: Site) -> None:
    rooms, member = gathering(site, 0.05)
    rooms.end_turn()
    site.clock.pass_(0.06)
    site.loops[0].turn()
    assert member.seqs() == [1]


def test_a_pass_that_was_interrupted_makes_nobody_wait_for_long(site: Site) -> None:
    """The process was stopped for a minute, say."""
    rooms, member = gathering(site, 60.0)
    rooms.end_turn()
    site.clock.pass_(GATHER_S[1] + 0.001)
    rooms.end_turn()
    assert member.seqs() == [1]


def test_a_small_room_waits_for_nothing(site: Site) -> None:
    rooms, member = gathering(site, GATHER_S[0] / 2)
    rooms.end_turn()
    assert member.seqs() == [1]


def test_who_comes_while_events_are_gathered_gets_each_once(site: Site) -> None:
    rooms, member = gathering(site, 0.05)
    rooms.end_turn()
    newcomer = Listener(LINES)
    entry = rooms.entry("lobby", newcomer, None, True)
    rooms.admit("lobby", newcomer, entry)
    site.clock.pass_(0.06)
    rooms.end_turn()
    assert newcomer.seqs() == [1]
    assert member.seqs() == [1]


def test_what_the_hub_has_answered_is_not_on_its_way(site: Site) -> None:
    join(site)
    rooms = rooms_of(site)
    room = rooms.get("lobby")
    assert room is not None
    rooms.publish(draft("one"), lambda outcome: None)
    rooms.publish(draft("two"), lambda outcome: None)
    assert room.on_way == 2
    site.settle()
    assert room.on_way == 0
