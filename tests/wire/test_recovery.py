"""Coming back with a position: exactly what was missed, or a clear word that it cannot be."""

from __future__ import annotations

import random
import threading

import pytest

from tests.support.clients import V1


def fill(client: V1, room: str, count: int) -> None:
    for number in range(count):
        client.say(room, f"m{number}")


@pytest.fixture
def ann(shared, room, join) -> V1:
    """Somebody who has said ten things in the room (replay is 5, recover_max 20)."""
    client = join(shared, room)
    fill(client, room, 10)
    return client


def epoch_of(client: V1, room: str) -> str:
    return client.welcome["rooms"][room]["position"].split(".")[0]


@pytest.mark.parametrize("seq", [0, 1, 4, 5, 9, 10])
def test_exactly_what_was_missed(shared, room, library, join, ann, seq):
    back = join(shared, room, library=library, after=f"{epoch_of(ann, room)}.{seq}")
    there = back.welcome["rooms"][room]
    assert (there["follows"], there["recovered"]) == (10 - seq, True)
    ann.say(room, "live")
    assert [e["seq"] for e in back.take_events(11 - seq)] == list(range(seq + 1, 12))


@pytest.mark.parametrize("position", [
    "{epoch}.11", "{epoch}.999999999999999999", "{epoch}.9999999999999999999", "{epoch}.-1",
    "{epoch}.1e1", "{epoch}.", "{epoch}", "{epoch}.٣", "{epoch}.5 ", " {epoch}.5", "{epoch}.5.5",
    "zzzzzzzz.5", "5", ".5", "", "x" * 10_000,
])  # fmt: skip
def test_any_other_position_gets_the_newest_and_is_told(shared, room, join, ann, position):
    after = position.format(epoch=epoch_of(ann, room))
    back = join(shared, room, after=after)
    there = back.welcome["rooms"][room]
    assert (there["follows"], there["recovered"]) == (5, False)
    assert [e["seq"] for e in back.take_events(5)] == [6, 7, 8, 9, 10]
    joined = back.ask("join", room=room, after=after)
    assert (joined["follows"], joined["recovered"]) == (5, False)


def test_too_far_back_is_not_recovered(shared, room, join, ann):
    fill(ann, room, 15)  # 25 in all, of which 20 may be missed
    epoch = epoch_of(ann, room)
    near = join(shared, room, after=f"{epoch}.5").welcome["rooms"][room]
    far = join(shared, room, after=f"{epoch}.4").welcome["rooms"][room]
    assert (near["follows"], near["recovered"]) == (20, True)
    assert (far["follows"], far["recovered"]) == (5, False)


def test_what_retention_has_removed_is_never_a_silent_hole(make_daemon, join):
    daemon = make_daemon(history__keep="1s")
    ann = join(daemon, "lobby")
    position = ann.welcome["rooms"]["lobby"]["position"]
    fill(ann, "lobby", 10)
    daemon.wait_for(
        lambda: ann.ask("history", room="lobby")["messages"] == [], "the old ones are removed"
    )
    fill(ann, "lobby", 1)
    told = set()
    for _ in range(8):  # whichever worker answers, the one that remembers or the other
        back = join(daemon, "lobby", after=position)
        there = back.welcome["rooms"]["lobby"]
        seqs = [e["seq"] for e in back.take_events(there["follows"])]
        assert seqs == list(range(12 - len(seqs), 12))
        assert there["recovered"] == (len(seqs) == 11), there
        told.add(there["recovered"])
    assert False in told


def test_positions_outlive_a_restart(make_daemon, join):
    daemon = make_daemon()
    ann = join(daemon, "lobby", "tech", name="Ann")
    fill(ann, "lobby", 3)
    position, token = ann.position("lobby"), ann.token
    bo = join(daemon, "lobby")
    fill(bo, "lobby", 2)
    ann.close()
    assert daemon.stop() == 0
    daemon.start()
    back = join(daemon, "lobby", after=position, token=token)
    assert (back.uid, back.welcome["name"]) == (ann.uid, "Ann")
    there = back.welcome["rooms"]["lobby"]
    missed = 5 - int(position.split(".")[1])
    assert (there["follows"], there["recovered"]) == (missed, True)
    assert back.say("lobby", "after")["seq"] == 6
    seqs = [e["seq"] for e in back.take_events(missed + 1)]
    assert seqs == list(range(6 - missed, 7))


def test_another_log_is_another_epoch(make_daemon, join):
    daemon = make_daemon(durability="memory")
    ann = join(daemon, "lobby")
    fill(ann, "lobby", 3)
    position = ann.position("lobby")
    ann.close()
    daemon.stop()
    daemon.start()
    bo = join(daemon, "lobby")
    fill(bo, "lobby", 4)
    there = join(daemon, "lobby", after=position).welcome["rooms"]["lobby"]
    assert there["recovered"] is False and there["follows"] == 4
    assert not there["position"].startswith(position.split(".")[0])


def test_no_hole_however_often_one_comes_and_goes_while_others_talk(shared, room, join):
    """The moment between what is stored and what is live is where an event could be lost."""
    talker = join(shared, room)
    stop = threading.Event()

    def talk() -> None:
        while not stop.is_set():
            talker.say(room, "x")

    thread = threading.Thread(target=talk)
    thread.start()
    try:
        position, seqs = None, []
        rng = random.Random(2)
        for _ in range(40):
            client = V1(shared.ws()).hello({room: position})
            there = client.welcome["rooms"][room]
            came = client.take_events(there["follows"] + rng.randrange(4))
            if position is not None:
                assert there["recovered"], there
            seqs += [event["seq"] for event in came]
            if came:
                position = f"{epoch_of(client, room)}.{seqs[-1]}"
            client.close()
    finally:
        stop.set()
        thread.join()
    assert seqs == list(range(seqs[0], seqs[0] + len(seqs)))
    assert len(seqs) > 40
