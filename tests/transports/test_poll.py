"""Long polls: what was missed at once, what happens a moment later, and positions that join on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.support.parts import Site, draft
from tests.support.web import Answer, Browser, ask, say, token_of

Make = Callable[..., Site]


def poll(site: Site, worker: int = 0, **body: Any) -> Answer:
    return ask(site, "POST", "/poll", {"type": "hello", **body}, worker)


def lobby(answer: Answer) -> dict[str, Any]:
    found: dict[str, Any] = answer.value[0]["rooms"]["lobby"]
    return found


def seqs(answer: Answer) -> list[int]:
    return [value["seq"] for value in answer.value if "seq" in value]


def test_a_newcomer_gets_the_newest_at_once(make_site: Make) -> None:
    site = make_site(history={"replay": 3})
    token = token_of(site)
    say(site, token, *"abcde")
    answer = poll(site, token=token)
    assert [value["type"] for value in answer.value] == ["welcome"] + ["message"] * 3
    assert seqs(answer) == [3, 4, 5]
    assert lobby(answer)["follows"] == 3
    assert lobby(answer)["position"].endswith(".5")
    assert lobby(answer)["recovered"] is False
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-accel-buffering"] == "no"


def test_positions_join_on_at_any_worker(make_site: Make) -> None:
    site = make_site(workers=3)
    token = token_of(site)
    position = lobby(poll(site, token=token, wait=0))["position"]
    got: list[int] = []
    for i in range(9):
        say(site, token, f"{i}a", f"{i}b", worker=i % 2)
        answer = poll(site, worker=i % 3, token=token, rooms={"lobby": position})
        assert lobby(answer)["recovered"] is True
        got += seqs(answer)
        position = lobby(answer)["position"]
    assert got == list(range(1, 19))


def test_a_long_replay_is_read_to_its_end(make_site: Make) -> None:
    """What is told of it first leaves a position that is within reach of ``recover_max``."""
    site = make_site(history={"replay": 300, "recover_max": 50})
    for i in range(400):
        site.workers[0].context.link.publish(draft(cid=str(i)), lambda outcome: None)
    site.settle()
    token, position, got = token_of(site), None, []
    for _ in range(4):
        answer = poll(site, token=token, wait=0, rooms={"lobby": position})
        assert lobby(answer)["recovered"] is (position is not None)
        position = lobby(answer)["position"]
        got += seqs(answer)
    assert got == list(range(276, 401))


def test_it_is_held_until_something_happens(site: Site) -> None:
    token = token_of(site)
    position = lobby(poll(site, token=token, wait=0))["position"]
    browser = Browser(site)
    browser.send("POST", "/poll", {"token": token, "rooms": {"lobby": position}})
    site.pass_(5)
    assert browser.answer() is None
    say(site, token, "one")
    assert browser.answer() is None  # a moment more, for what comes with it
    say(site, token, "two")
    site.pass_(0.05, 0.01)
    answer = browser.answer()
    assert answer is not None
    assert seqs(answer) == [1, 2]
    assert (lobby(answer)["follows"], lobby(answer)["recovered"]) == (2, True)
    assert lobby(answer)["position"].endswith(".2")


def test_it_ends_when_the_time_is_over(site: Site) -> None:
    token = token_of(site)
    position = lobby(poll(site, token=token, wait=0))["position"]
    for wait, passes in ((3, 3.0), (None, 25.0), (900, 25.0)):
        browser = Browser(site)
        browser.send("POST", "/poll", {"token": token, "rooms": {"lobby": position}, "wait": wait})
        site.pass_(passes - 0.5)
        assert browser.answer() is None
        site.pass_(0.7)
        answer = browser.answer()
        assert answer is not None
        assert [value["type"] for value in answer.value] == ["welcome"]
        assert lobby(answer)["position"] == position


def test_many_missed_come_in_parts(site: Site) -> None:
    token = token_of(site)
    position = lobby(poll(site, token=token, wait=0))["position"]
    for i in range(16):
        say(site, token, *(f"{i}.{j}" for j in range(16)))
    got = []
    for size in (100, 100, 56):
        answer = poll(site, token=token, rooms={"lobby": position}, wait=0)
        assert lobby(answer)["recovered"] is True
        assert lobby(answer)["follows"] == len(seqs(answer)) == size
        got += seqs(answer)
        position = lobby(answer)["position"]
    assert got == list(range(1, 257))


def test_several_rooms(site: Site) -> None:
    token = token_of(site)
    first = poll(site, token=token, rooms={"a": None, "b": None}, wait=0)
    positions = {name: room["position"] for name, room in first.value[0]["rooms"].items()}
    say(site, token, "in a", room="a")
    answer = poll(site, token=token, rooms=positions)
    assert [(v["room"], v["seq"]) for v in answer.value[1:]] == [("a", 1)]
    rooms = answer.value[0]["rooms"]
    assert (rooms["a"]["follows"], rooms["b"]["follows"]) == (1, 0)
    assert rooms["b"]["position"] == positions["b"]


@pytest.mark.parametrize("position", ["x.1", "nonsense", "", "-1", "9" * 40])
def test_positions_that_mean_nothing(site: Site, position: str) -> None:
    token = token_of(site)
    say(site, token, "one")
    answer = poll(site, token=token, rooms={"lobby": position})
    assert lobby(answer)["recovered"] is False
    assert seqs(answer) == [1]


def test_a_poller_is_online_until_a_while_after_its_last_poll(site: Site) -> None:
    watcher = site.join()
    token = token_of(site, "Polly")
    answer = poll(site, token=token, wait=0)
    uid = answer.value[0]["uid"]
    site.pass_(2)
    assert any([uid, "Polly"] in v.get("joined", []) for v in watcher.pump())
    site.pass_(7)
    poll(site, token=token, wait=0)
    site.pass_(8)
    assert not any(uid in v.get("left", []) for v in watcher.pump())
    site.pass_(4)
    assert any(uid in v.get("left", []) for v in watcher.pump())


def test_presence_and_typing_end_no_poll(site: Site) -> None:
    token = token_of(site)
    browser = Browser(site)
    browser.send("POST", "/poll", {"token": token})
    site.join(name="Bob").send(type="typing", room="lobby")
    site.pass_(3)
    assert browser.answer() is None


def test_get_is_for_those_who_only_read(site: Site) -> None:
    watcher = site.join()
    say(site, token_of(site), "one", "two")
    answer = ask(site, "GET", "/poll?room=lobby&wait=0")
    assert seqs(answer) == [1, 2]
    assert "uid" not in answer.value[0] and "token" not in answer.value[0]
    position = lobby(answer)["position"]
    again = ask(site, "GET", f"/poll?room=lobby&after={position}&wait=0")
    assert len(again.value) == 1 and lobby(again)["recovered"] is True
    site.pass_(3)
    assert all(v["online"] <= 1 for v in watcher.pump() if v["type"] == "presence")


@pytest.mark.parametrize("wait", ["-1", "nan", "inf", "x", "", "1e999", "5" * 20])
def test_a_wait_that_is_none(site: Site, wait: str) -> None:
    answer = ask(site, "GET", f"/poll?wait={wait}")
    assert answer.status == 400
    assert answer.value[0]["code"] == "bad"


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b'{"type":"say"}', b'{"rooms":5}', b'{"wait":"x"}', b'{"rooms":{"a b":null}}',
     b'{"name":"x"}', b'{"wait":-1}'],
)  # fmt: skip
def test_bodies_that_are_no_hello(site: Site, body: bytes) -> None:
    answer = ask(site, "POST", "/poll", body)
    assert answer.status == 400
    assert answer.value[0]["type"] == "error"


def test_who_hangs_up_is_gone_from_the_room(site: Site) -> None:
    browser = Browser(site)
    browser.send("POST", "/poll", {"name": "Ann"})
    room = site.workers[0].context.rooms.get("lobby")
    assert room is not None and len(room.guests) == 1
    browser.wire.close()
    site.settle()
    assert not room.guests and not room.live


def test_a_connection_serves_poll_after_poll(site: Site) -> None:
    token = token_of(site)
    browser = Browser(site)
    position = lobby(browser.ask("POST", "/poll", {"token": token, "wait": 0}))["position"]
    for number in range(1, 4):
        browser.send("POST", "/poll", {"token": token, "rooms": {"lobby": position}})
        say(site, token, "x")
        site.pass_(0.05, 0.01)
        answer = browser.answer()
        assert answer is not None and seqs(answer) == [number]
        position = lobby(answer)["position"]


def test_drain_ends_polls_with_a_bye(site: Site) -> None:
    browser = Browser(site)
    browser.send("POST", "/poll", {"name": "Ann"})
    site.workers[0].drain()
    site.pass_(0.2)
    answer = browser.answer()
    assert answer is not None
    assert [value["type"] for value in answer.value] == ["welcome", "bye"]
    assert answer.value[1]["retry_ms"] == [0, 10000]
    assert browser.wire.ended


def test_another_log_ends_polls(make_site: Make) -> None:
    site = make_site()
    browser = Browser(site)
    browser.send("POST", "/poll", {"name": "Ann"})
    site.kill_hub()
    site.settle(hub=False)
    site.start_hub()  # its log is in memory: another life
    site.pass_(2)
    answer = browser.answer()
    assert answer is not None and answer.status == 503
    assert answer.value[0]["code"] == "busy"


def test_hub_away_for_long(site: Site) -> None:
    site.kill_hub()
    site.settle(hub=False)
    browser = Browser(site)
    browser.hub = False
    browser.send("POST", "/poll", {"name": "Ann"})
    site.pass_(11, 0.5, hub=False)
    answer = browser.answer()
    assert answer is not None and answer.status == 503
    assert answer.headers["retry-after"] == "1"


def test_a_held_poll_is_answered_when_more_was_missed_than_one_answer_brings(
    make_site: Make,
) -> None:
    site = make_site(history={"recover_max": 20, "replay": 5})
    token = token_of(site)
    say(site, token, "first")
    position = site.workers[0].context.rooms.position(1)
    browser = Browser(site)
    body = {"type": "hello", "token": token, "rooms": {"lobby": position}, "wait": 25}
    browser.send("POST", "/poll", body)
    site.settle()
    next(iter(site.hub._links.values())).connection.abort("cut")
    site.hub_loop.turn()
    site.hub.log.append([draft(cid=str(i)) for i in range(30)])
    site.pass_(1)
    answer = browser.answer()
    assert answer is not None and lobby(answer)["position"] == position
    answer = poll(site, token=token, rooms={"lobby": position})
    assert (lobby(answer)["recovered"], seqs(answer)) == (False, [27, 28, 29, 30, 31])


def test_a_poll_behind_one_that_ends_with_the_log(make_site: Make) -> None:
    """It opens a room while all rooms are told that the log is another one."""
    site = make_site(durability="memory")
    token = token_of(site)
    browser = Browser(site)
    for room in ("lobby", "another"):
        body = {"type": "hello", "token": token, "rooms": {room: None}, "wait": 25}
        browser.send("POST", "/poll", body)
    site.settle()
    site.kill_hub()
    site.start_hub()
    site.pass_(3)
    assert site.workers[0].context.link.up
    ended = browser.answer()
    assert ended is not None and ended.value[0]["code"] == "busy"
