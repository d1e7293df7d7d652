"""The hub and its workers' links over a real socket: order, fan-out, retries, breaks."""

from __future__ import annotations

import random
import socket
import sqlite3
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest

from tests.support.parts import JsonLines, Listener, Site, change, draft
from wsd.chat import wire
from wsd.chat.event import Draft
from wsd.config import Settings
from wsd.hub import server
from wsd.hub.link import HubLink
from wsd.hub.server import ANSWER_QUEUE, LINK_QUEUE, Hub, RefusedSenders
from wsd.metrics import M, Scoreboard
from wsd.net.connection import NOBODY, Connection, Flusher
from wsd.net.loop import Loop

Make = Callable[..., Site]


class Worker:
    """A worker's end of the link with nothing behind it but a note of all that comes."""

    def __init__(self, site: Site, name: str) -> None:
        self.site = site
        self.loop = Loop(site.clock)
        flusher = Flusher()
        self.row = Scoreboard([name]).row(name)
        self.link = HubLink(self.loop, flusher, site.path, name, self.row)
        self.loop.at_turn_end += [self.link.end_turn, flusher.flush, self.link.after_flush]
        self.flusher = flusher
        self.rooms: dict[str, int] = {}
        self.events: list[tuple[str, int, bytes]] = []
        self.presence: list[wire.Presence] = []
        self.trimmed: list[tuple[str, int]] = []
        self.named: list[tuple[str, str, int]] = []
        self.typed: list[tuple[str, str]] = []
        self.epochs: list[str] = []
        self.subscribed: list[wire.Subscribed] = []
        self.outcomes: dict[str, Any] = {}
        site.loops.append(self.loop)
        self.link.start(self)

    # -- wsd.hub.link.Receiver

    def on_leaving(self) -> None: ...

    def on_contact(self, epoch: str) -> None:
        self.epochs.append(epoch)
        for room in self.rooms:
            self.subscribe(room)

    def on_subscribed(self, frame: wire.Subscribed) -> None:
        self.subscribed.append(frame)
        for seq, json in frame.events:
            self.on_event(frame.room, seq, json)
        self.rooms[frame.room] = max(self.rooms[frame.room], frame.head)

    def on_event(self, room: str, seq: int, json: bytes) -> None:
        if seq > self.rooms.get(room, 0):
            self.events.append((room, seq, json))
            self.rooms[room] = seq

    def on_presence(self, frame: wire.Presence) -> None:
        self.presence.append(frame)

    def on_trimmed(self, room: str, oldest: int) -> None:
        self.trimmed.append((room, oldest))

    def on_named(self, uid: str, name: str, at: int) -> None:
        self.named.append((uid, name, at))

    def on_typing(self, room: str, uid: str) -> None:
        self.typed.append((room, uid))

    # --

    def subscribe(self, room: str = "lobby") -> None:
        self.rooms.setdefault(room, 0)
        self.link.tell(wire.Subscribe(room, self.rooms[room], 50, 10_000))

    def publish(self, d: Draft) -> None:
        self.link.publish(d, lambda outcome: self.outcomes.__setitem__(d.cid, outcome))

    def cut(self) -> None:
        if self.link._connection is not None:
            self.link._connection.abort("cut")

    def texts(self, room: str = "lobby") -> list[int]:
        return [seq for name, seq, _ in self.events if name == room]


@pytest.fixture
def hall(make_site: Make) -> Site:
    return make_site(workers=0)


@pytest.fixture
def pair(hall: Site) -> tuple[Worker, Worker]:
    workers = Worker(hall, "worker 0"), Worker(hall, "worker 1")
    hall.settle()
    for worker in workers:
        worker.subscribe()
    hall.settle()
    return workers


Pair = tuple[Worker, Worker]


def test_everybody_hears_everything_in_one_order(hall: Site, pair: Pair) -> None:
    for i in range(60):
        pair[i % 2].publish(draft(str(i)))
        if i % 7 == 0:
            hall.turn()
    hall.settle()
    assert pair[0].events == pair[1].events
    assert pair[0].texts() == list(range(1, 61))
    outcomes = {**pair[0].outcomes, **pair[1].outcomes}
    assert sorted(outcome.seq for outcome in outcomes.values()) == list(range(1, 61))


def test_what_a_flush_makes_somebody_say_leaves_in_the_same_turn(hall: Site, pair: Pair) -> None:
    worker = pair[0]
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        connection = Connection(worker.loop, worker.flusher, ours, NOBODY)
        connection.on_drained = lambda: worker.publish(draft("x", cid="woken"))
        connection.write(b"all of it")
        worker.loop.turn()
        connection.on_drained = None
        hall.hub_loop.turn()
        assert hall.hub.log.bounds("lobby") == (1, 1)
        connection.abort("end")


def test_one_senders_messages_keep_their_order(hall: Site, pair: Pair) -> None:
    cids = [f"c{i}" for i in range(40)]
    for cid in cids:
        pair[0].publish(draft(cid, cid=cid))
    hall.settle()
    assert [pair[0].outcomes[cid].seq for cid in cids] == list(range(1, 41))


def test_a_turn_is_one_transaction(hall: Site, pair: Pair) -> None:
    for i in range(25):
        pair[i % 2].publish(draft(str(i)))
    hall.settle()
    row = hall.scoreboard.row("hub")
    assert (row[M.COMMITS], row[M.STORED]) == (1, 25)


def test_only_subscribers_hear(hall: Site, pair: Pair) -> None:
    pair[1].link.tell(wire.Unsubscribe("lobby"))
    hall.settle()
    pair[0].publish(draft("x"))
    pair[0].publish(draft("y", room="other"))
    hall.settle()
    assert (pair[0].texts(), pair[1].texts(), pair[0].texts("other")) == ([1], [], [])
    assert set(hall.hub._subscribers) == {"lobby"}


def test_retries_are_answered_alike(hall: Site, pair: Pair) -> None:
    pair[0].publish(draft("x", cid="c"))
    hall.settle()
    first = pair[0].outcomes.pop("c")
    pair[1].publish(draft("x", cid="c"))
    pair[0].publish(draft("y", cid="c"))
    hall.settle()
    for worker, differs in ((pair[1], False), (pair[0], True)):
        done = worker.outcomes["c"]
        assert (done.seq, done.time, done.duplicate, done.differs) == (1, first.time, True, differs)
    assert pair[0].texts() == [1]
    assert hall.scoreboard.row("hub")[M.DUPLICATES] == 2


def test_find(hall: Site, pair: Pair) -> None:
    pair[0].publish(draft("x", cid="c"))
    found: list[Any] = []
    pair[0].link.find(draft("x", cid="c"), found.append)
    pair[0].link.find(draft("x", cid="d"), found.append)
    hall.settle()
    assert (found[0].seq, found[0].duplicate) == (1, True)
    assert found[1].code == "unknown"


def test_nothing_leaves_before_the_commit(hall: Site, pair: Pair) -> None:
    """At the moment of COMMIT nobody has been told anything."""
    seen: list[int] = []
    real = hall.hub.log.append

    def watching(drafts: Any) -> Any:
        results = real(drafts)
        seen.append(sum(link.connection.queued for link in hall.hub._links.values()))
        return results

    hall.hub.log.append = watching  # type: ignore[method-assign]
    pair[0].publish(draft("x"))
    hall.settle()
    assert seen == [0]


# -- breaks


def test_a_hub_that_dies_with_publishes_unanswered(hall: Site, pair: Pair) -> None:
    epoch = pair[0].epochs[0]
    for i in range(5):
        pair[0].publish(draft(str(i), cid=f"c{i}"))
    hall.loops[0].turn()  # they are in the socket, and the hub has read none of them
    hall.kill_hub()
    hall.start_hub()
    hall.pass_(0.5)
    assert [pair[0].outcomes[f"c{i}"].seq for i in range(5)] == [1, 2, 3, 4, 5]
    assert len(pair[0].epochs) == 2
    assert pair[0].epochs[1] != epoch  # the log is in memory


@pytest.mark.parametrize("moment", ["before", "after commit", "partial fan-out", "before ok"])
def test_crash_points(make_site: Make, moment: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """RELIABILITY 6.5: whatever was under way is stored once and heard once by everybody."""
    hall = make_site(workers=0, durability="full")
    pair = Worker(hall, "worker 0"), Worker(hall, "worker 1")
    hall.settle()
    for worker in pair:
        worker.subscribe()
    pair[0].publish(draft("earlier", cid="c"))
    hall.settle()

    class Killed(Exception):
        pass

    def die(*args: Any) -> Any:
        raise Killed

    hub = hall.hub
    if moment == "before":
        monkeypatch.setattr(hub.log, "append", die)
    elif moment == "after commit":
        monkeypatch.setattr(hub, "_publish", die)
    elif moment == "partial fan-out":
        real = server.Link.tell

        def tell(self: server.Link, frame: wire.FromHub) -> None:
            real(self, frame)
            hub._leave()
            raise Killed

        monkeypatch.setattr(server.Link, "tell", tell)
    else:

        def publish_only(batch: Any, results: Any) -> None:
            type(hub)._publish(hub, batch, results)
            hub._leave()
            raise Killed

        monkeypatch.setattr(hub, "_publish", publish_only)
    for i in range(4):
        pair[i % 2].publish(draft(str(i), cid=f"c{i}"))
    for loop in hall.loops:
        loop.turn()
    with pytest.raises(Killed):
        hall.hub_loop.turn()
    monkeypatch.undo()
    hall.kill_hub()
    hall.start_hub()
    hall.pass_(1.0)
    assert pair[0].events == pair[1].events
    assert pair[0].texts() == [1, 2, 3, 4, 5]
    assert hall.hub.log.bounds("lobby") == (1, 5)
    assert {d.seq for worker in pair for d in worker.outcomes.values()} == {1, 2, 3, 4, 5}
    assert len(set(pair[0].epochs + pair[1].epochs)) == 1


@pytest.mark.parametrize("seed", range(8))
def test_dl_02_and_08_random_breaks(make_site: Make, seed: int) -> None:
    """Kills of the hub, cut links and traffic in any order: once each, one order, all answered."""
    rng = random.Random(seed)
    hall = make_site(workers=0, durability="full")
    workers = [Worker(hall, f"worker {i}") for i in range(3)]
    hall.settle()
    for worker in workers:
        worker.subscribe()
    said = 0
    for _ in range(150):
        act = rng.random()
        worker = rng.choice(workers)
        if act < 0.5:
            worker.publish(draft(str(said), uid=worker.link._worker, cid=f"c{said}"))
            said += 1
        elif act < 0.7:
            rng.choice(hall.loops).turn()
        elif act < 0.85:
            hall.hub_loop.turn()
        elif act < 0.9:
            worker.cut()
        elif act < 0.95:
            hall.kill_hub()
            hall.start_hub()
        else:
            hall.pass_(0.1)
    hall.pass_(3)
    outcomes = {cid: d.seq for worker in workers for cid, d in worker.outcomes.items()}
    assert sorted(outcomes.values()) == list(range(1, said + 1))
    for worker in workers:
        assert worker.texts() == list(range(1, said + 1))
        assert worker.events == workers[0].events
        mine = [seq for cid, seq in sorted(worker.outcomes.items(), key=lambda c: int(c[0][1:]))
                for seq in [seq.seq]]  # fmt: skip
        assert mine == sorted(mine)
        assert worker.link.unanswered == 0


def test_a_lost_link_is_made_again_with_growing_patience(hall: Site, pair: Pair) -> None:
    hall.listener.close()
    pair[0].cut()
    times = []
    real = pair[0].link._connect
    pair[0].link._connect = lambda: (times.append(hall.clock.now), real())  # type: ignore
    hall.pass_(8, 0.01)
    gaps = [b - a for a, b in pairwise(times)]
    assert all(b >= a - 0.02 for a, b in pairwise(gaps))
    assert max(gaps) <= 1.02
    assert pair[0].row[M.LINK_UP] == 0
    assert not pair[0].link.up


def test_tell_without_contact_is_dropped_and_questions_wait(hall: Site, pair: Pair) -> None:
    pair[0].cut()
    pair[0].link.tell(wire.Typing("lobby", "ann"))
    found: list[Any] = []
    pair[0].link.read("lobby", 0, 9, 9, found.append)
    assert pair[0].link.unanswered == 1
    hall.pass_(0.5)
    assert (len(found), pair[1].typed) == (1, [])
    pair[0].link.tell(wire.Typing("lobby", "ann"))
    hall.settle()
    assert pair[1].typed == [("lobby", "ann")]


def test_su_24_garbage_on_the_hubs_socket(hall: Site, pair: Pair) -> None:
    other_way = wire.encode([wire.Welcome("me")])
    for garbage in (b"GET / HTTP/1.1\r\n\r\n", b"\xff" * 100, bytes(4) * 10,
                    (3).to_bytes(4, "big") + b"abc", other_way):  # fmt: skip
        with socket.socket(socket.AF_UNIX) as stranger:
            stranger.connect(hall.path)
            stranger.send(garbage)
            hall.settle()
            assert len(hall.hub._links) == 2
    pair[0].publish(draft("x"))
    hall.settle()
    assert pair[1].texts() == [1]


def test_a_link_that_is_garbled_is_made_again(hall: Site, pair: Pair) -> None:
    hall.hub._links[1].connection.write(b"\xff" * 8)
    hall.settle()
    hall.pass_(0.2)
    pair[1].publish(draft("x"))
    hall.settle()
    assert pair[0].texts() == pair[1].texts() == [1]
    assert len(pair[0].epochs) == 2


def test_bp_06_a_worker_that_does_not_read_is_cut_off_and_resyncs(make_site: Make) -> None:
    site = make_site(2)
    member, rooms = Listener(JsonLines()), site.workers[0].context.rooms
    rooms.prepare(
        "lobby", None, lambda: rooms.admit("lobby", member, rooms.entry("lobby", member, None))
    )
    site.settle()
    hung = site.loops.pop(0)
    for i in range(300):
        site.workers[1].context.link.publish(draft("x" * 60_000, cid=str(i)), lambda outcome: None)
        for _ in range(3):
            site.turn()
        queued = [link.connection.queued for link in site.hub._links.values()]
        assert max(queued) <= LINK_QUEUE + 200_000
    assert len(site.hub._links) == 1
    site.loops.insert(0, hung)
    for _ in range(200):
        site.pass_(0.1)
        rooms.drained("lobby", member)
    assert member.seqs() == list(range(1, 301))


def test_questions_wait_while_answers_do(hall: Site, pair: Pair) -> None:
    """Many pages of history at once: answered in order, never more than a little at a time."""
    hall.hub.log.append([draft("x" * 5000) for _ in range(200)])
    got: list[int] = []
    for i in range(60):
        pair[0].link.read("lobby", 0, 999, 200, lambda rows, i=i: got.append(i), messages=True)
    most = 0
    for _ in range(3000):
        hall.turn()
        most = max(most, *(link.connection.queued for link in hall.hub._links.values()))
        if len(got) == 60:
            break
    assert got == list(range(60))
    assert most < ANSWER_QUEUE + 2_000_000
    assert len(pair[0].epochs) == 1


# -- storage trouble


def test_a_batch_that_cannot_be_stored_is_refused_and_may_come_again(
    hall: Site, pair: Pair
) -> None:
    hall.hub.log._db.execute("PRAGMA query_only = ON")
    for i in range(3):
        pair[0].publish(draft(str(i), cid=f"c{i}"))
    hall.settle()
    assert {outcome.code for outcome in pair[0].outcomes.values()} == {"storage"}
    assert pair[1].texts() == []
    assert hall.scoreboard.row("hub")[M.STORAGE_ERRORS] == 1
    hall.hub.log._db.execute("PRAGMA query_only = OFF")
    for i in range(3):
        pair[0].publish(draft(str(i), cid=f"c{i}"))
    hall.settle()
    assert [pair[0].outcomes[f"c{i}"].seq for i in range(3)] == [1, 2, 3]


def test_reading_trouble_is_answered_too(hall: Site, pair: Pair) -> None:
    hall.hub.log._db.execute("ALTER TABLE events RENAME TO hidden")
    found: list[Any] = []
    pair[0].link.read("lobby", 0, 9, 9, found.append)
    pair[0].subscribe("elsewhere")
    hall.settle()
    assert found[0].code == "storage"
    assert pair[0].link.up


def test_st_03_a_failed_sync_ends_the_hub(hall: Site, pair: Pair) -> None:
    class Failed(sqlite3.OperationalError):
        sqlite_errorcode = sqlite3.SQLITE_IOERR_FSYNC

    def fail(drafts: Any) -> Any:
        raise Failed("disk I/O error")

    hall.hub.log.append = fail  # type: ignore[method-assign]
    hall.hub_loop._running = True
    pair[0].publish(draft("x", cid="c"))
    hall.settle()
    assert (hall.hub.failed, hall.hub_loop._running) == (True, False)
    assert pair[0].outcomes["c"].code == "storage"


def test_whoever_was_refused_has_to_come_again_first() -> None:
    now = [0.0]
    refused = RefusedSenders(lambda: now[0])
    assert not refused
    refused.add(1, draft(cid="a"))
    refused.add(1, draft(cid="b"))
    assert refused.would_overtake(1, draft(cid="b"))
    assert not refused.would_overtake(2, draft(cid="b"))
    assert not refused.would_overtake(1, draft(cid="b", uid="bob"))
    assert not refused.would_overtake(1, draft(cid="a"))
    assert not refused.would_overtake(1, draft(cid="b"))
    refused.add(1, draft(cid="a"))
    now[0] += 10
    assert not refused.would_overtake(1, draft(cid="b"))


# -- subscriptions and pages


@pytest.mark.parametrize(
    ("have", "replay", "reach", "expected"),
    [(-1, 3, 100, [8, 9, 10]), (-1, 0, 100, []), (-1, 99, 100, list(range(1, 11))),
     (7, 3, 100, [8, 9, 10]), (10, 3, 100, []), (2, 3, 5, [8, 9, 10]), (2, 0, 5, []),
     (5, 3, 5, [6, 7, 8, 9, 10])],
)  # fmt: skip
def test_what_a_subscription_brings(
    hall: Site, pair: Pair, have: int, replay: int, reach: int, expected: list[int]
) -> None:
    hall.hub.log.append([draft(str(i), room="r") for i in range(10)])
    pair[0].rooms["r"] = 10
    pair[0].link.tell(wire.Subscribe("r", have, replay, reach))
    hall.settle()
    frame = pair[0].subscribed[-1]
    assert [seq for seq, _ in frame.events] == expected
    assert (frame.head, frame.oldest) == (10, 1)


def test_subscribing_to_made_up_rooms_leaves_nothing_in_the_file(hall: Site, pair: Pair) -> None:
    for i in range(50):
        pair[0].subscribe(f"made up {i}")
    hall.settle()
    assert hall.hub.log.room_names("", 99) == []


# -- presence over two links


def test_presence_over_two_links(hall: Site, pair: Pair) -> None:
    pair[0].link.tell(wire.Present("lobby", "ann", "Ann", True))
    pair[1].link.tell(wire.Present("lobby", "bob", "Bob", True))
    hall.pass_(1.5)
    for worker in pair:
        (frame,) = worker.presence
        assert (frame.online, sorted(frame.joined)) == (2, [("ann", "Ann"), ("bob", "Bob")])
        worker.presence.clear()
    people: list[Any] = []
    pair[0].link.people("lobby", people.append)
    pair[1].link.overview(people.append)
    hall.settle()
    assert people[0].values == [{"uid": "ann", "name": "Ann"}, {"uid": "bob", "name": "Bob"}]
    assert people[1].values == [{"room": "lobby", "online": 2, "head": 0}]
    hall.loops.remove(pair[0].loop)  # worker 0 dies
    pair[0].cut()
    hall.pass_(9)
    assert pair[1].presence == []
    hall.pass_(3)
    assert [frame.left for frame in pair[1].presence] == [["ann"]]


def test_a_new_name_is_told_to_all_other_workers(hall: Site, pair: Pair) -> None:
    pair[0].link.tell(wire.Named("ann", "Anna", 1_700_000_001))
    hall.settle()
    assert (pair[0].named, pair[1].named) == ([], [("ann", "Anna", 1_700_000_001)])


@pytest.mark.parametrize("count", [0, 1, 6, 7])
def test_a_long_answer_comes_in_parts(
    hall: Site, pair: Pair, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    monkeypatch.setattr(server, "LISTED", 3)
    names = [f"g{i}" for i in range(count)]
    for name in names:
        pair[0].link.tell(wire.Present("lobby", name, name.upper(), True))
        pair[0].link.tell(wire.Present(f"room{name}", name, name.upper(), True))
    found: list[Any] = []
    pair[0].link.people("lobby", found.append)
    pair[0].link.overview(found.append)
    pair[0].publish(draft("between"))
    hall.settle()
    people, rooms = found
    assert [each["uid"] for each in people.values] == names
    assert {each["room"] for each in rooms.values} == {f"room{n}" for n in names} | (
        {"lobby"} if names else set()
    )
    assert not pair[0].link.unanswered and not pair[0].link._listed


def test_the_link_breaks_in_the_middle_of_a_long_answer(
    hall: Site, pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is asked again, and nobody is listed twice."""
    monkeypatch.setattr(server, "LISTED", 1)
    monkeypatch.setattr(server, "ANSWER_QUEUE", 0)  # one part a turn
    names = [f"g{i}" for i in range(5)]
    for name in names:
        pair[1].link.tell(wire.Present("lobby", name, name, True))
    hall.settle()
    found: list[Any] = []
    pair[0].link.people("lobby", found.append)
    while not pair[0].link._listed:
        hall.turn()
    assert not found
    pair[0].cut()
    hall.pass_(1)
    (people,) = found
    assert [each["uid"] for each in people.values] == names


def test_more_rooms_than_one_packet_holds(hall: Site, pair: Pair) -> None:
    count = 100_000
    for i in range(count):
        hall.hub._presence.appear(1, f"{'room' * 40}{i}", "g", "G", False)
    found: list[Any] = []
    pair[0].link.overview(found.append)
    hall.settle(400)
    assert [len(answer.values) for answer in found] == [count]
    assert pair[0].epochs == pair[0].epochs[:1]  # never cut


# -- retention in the background


def test_retention_by_size_and_age_goes_on_by_itself(make_site: Make) -> None:
    site = make_site(history={"size": 100, "keep": 3600.0, "replay": 5, "recover_max": 5})
    link = site.workers[0].context.link
    for i in range(700):
        link.publish(draft(str(i)), lambda outcome: None)
    site.settle()
    site.pass_(2)
    assert site.hub.log.bounds("lobby") == (601, 700)
    site.wall.pass_(3601)
    site.pass_(5)
    assert site.hub.log.bounds("lobby") == (701, 700)


@pytest.mark.parametrize(("full", "a_second"), [(1, 6), (20, 6), (20, 60)])
def test_age_is_looked_at_while_full_rooms_are_busy(
    make_site: Make, monkeypatch: pytest.MonkeyPatch, full: int, a_second: int
) -> None:
    monkeypatch.setattr("wsd.hub.log.DEDUP_S", 30.0)
    site = make_site(workers=0, history={"size": 100, "keep": 60.0})
    worker = Worker(site, "worker 0")
    site.settle()
    names = [f"busy{i}" for i in range(full)]
    site.hub.log.append([draft(room=name) for name in names for _ in range(101)])
    site.hub.log.append([draft(room="quiet") for _ in range(50)])
    for i in range(100 * a_second):
        worker.publish(draft(room=names[i % full], cid=f"c{i}"))
        site.pass_(1 / a_second, 0.2)
    assert site.hub.log.bounds("quiet") == (51, 50)
    assert all(head - oldest <= 110 for oldest, head in map(site.hub.log.bounds, names))
    late = site.wall.now - 32
    assert site.hub.log._db.execute(
        "SELECT count(*) FROM sent WHERE time < ?", (late,)
    ).fetchone() == (0,)


def test_retries_are_forgotten_even_with_many_rooms(make_site: Make) -> None:
    site = make_site()
    site.hub.log.append([draft(room=f"room{i}") for i in range(3000)])
    site.wall.pass_(25 * 3600)
    site.pass_(10, 0.2)
    (left,) = site.hub.log._db.execute("SELECT count(*) FROM sent").fetchone()
    assert left == 0


def test_a_reload_of_durability_that_fails_is_survived(make_site: Make) -> None:
    site = make_site(durability="full")
    site.hub.log._db.execute("PRAGMA query_only = ON")
    site.hub.apply(change(site.settings, durability="normal"))
    assert isinstance(site.hub, Hub) and isinstance(site.hub.settings, Settings)
