"""Every command in its good and bad forms, over a real WebSocket and a real hub."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.parts import V1, Site, draft
from wsd.chat.commands import MAX_UNANSWERED
from wsd.config import RoomOverrides
from wsd.metrics import M

Make = Callable[..., Site]


@pytest.fixture
def ann(site: Site) -> V1:
    return site.join(name="Ann")


def answer(client: V1, **command: Any) -> dict[str, Any]:
    """What answers ``command``, which has an id."""
    found = [v for v in client.ask(id=99, **command) if v.get("id") == 99]
    assert len(found) == 1, found
    return found[0]


# -- hello


def test_hello(site: Site) -> None:
    client = site.v1(room="tech")
    welcome = client.say_hello(id=5, name="Ann")
    assert welcome["id"] == 5
    assert welcome["name"] == "Ann"
    assert welcome["role"] == "guest"
    assert welcome["ping_s"] == 25
    assert welcome["time"] == site.wall.now
    assert welcome["rooms"] == {
        "tech": {
            "position": f"{site.hub.log.epoch}.0", "follows": 0, "recovered": False, "online": 1,
            "modes": {},
        }
    }  # fmt: skip


def test_hello_with_rooms(site: Site) -> None:
    site.hub.log.append([draft(str(i), room="b") for i in range(9)])
    client = site.v1()
    rooms = client.say_hello(rooms={"a": None, "b": f"{site.hub.log.epoch}.7"})["rooms"]
    assert set(rooms) == {"a", "b"}
    assert (rooms["b"]["recovered"], rooms["b"]["follows"]) == (True, 2)
    assert client.events("b") == [(8, "7"), (9, "8")]


def test_hello_with_a_token_brings_the_same_guest_back(site: Site, ann: V1) -> None:
    ann.close()
    site.settle()
    again = site.join(token=ann.welcome["token"])
    assert (again.welcome["uid"], again.welcome["name"]) == (ann.welcome["uid"], "Ann")
    forged = site.join(token=ann.welcome["token"][:-2] + "xx")
    assert forged.welcome["uid"] != ann.welcome["uid"]


@pytest.mark.parametrize(
    ("hello", "code"),
    [
        ({"name": "x"}, "name_bad"),
        ({"name": "\u202eevil"}, "name_bad"),
        ({"rooms": {"a b": None}}, "bad"),
        ({"rooms": {f"r{i}": None for i in range(17)}}, "bad"),
        ({"rooms": {"a": 5}}, "bad"),
        ({"rooms": ["a"]}, "bad"),
        ({"token": 5}, "bad"),
        ({"name": ["Ann"]}, "bad"),
    ],
)
def test_bad_hellos_can_be_said_better(site: Site, hello: dict[str, Any], code: str) -> None:
    client = site.v1()
    assert client.error(type="hello", **hello) == code
    assert client.say_hello(name="Ann")["name"] == "Ann"


def test_an_empty_hello_is_for_the_room_of_the_address(site: Site) -> None:
    client = site.v1(room="tech")
    assert set(client.say_hello(rooms={}, name="")["rooms"]) == {"tech"}


def test_hello_twice(ann: V1) -> None:
    assert ann.error(type="hello") == "bad"
    assert answer(ann, type="say", room="lobby", text="still here")["seq"] == 1


def test_two_hellos_at_once(site: Site) -> None:
    client = site.v1()
    client.send(type="hello", id=1)
    client.send(type="hello", id=2)
    site.settle()
    got = [(v["type"], v["id"]) for v in client.pump() if "id" in v]
    assert got == [("welcome", 1), ("error", 2)]


@pytest.mark.parametrize(
    "command",
    [{"type": "join", "room": "a"}, {"type": "leave", "room": "lobby"},
     {"type": "say", "room": "lobby", "text": "x"},
     {"type": "edit", "room": "lobby", "seq": 1, "text": "x"},
     {"type": "delete", "room": "lobby", "seq": 1}, {"type": "rename", "name": "Bob"},
     {"type": "typing", "room": "lobby"}, {"type": "history", "room": "lobby"},
     {"type": "moderate", "room": "lobby", "action": "ban"}],
)  # fmt: skip
def test_nothing_but_hello_comes_first(site: Site, command: dict[str, Any]) -> None:
    client = site.v1()
    assert client.error(**command) == "auth"
    assert client.ask(type="pong") == []


def test_commands_behind_a_hello_wait_for_it(site: Site) -> None:
    client = site.v1()
    client.send(type="hello", id=1, rooms={"a": None, "b": None})
    client.send(type="say", id=2, room="a", text="x")
    client.send(type="say", id=3, room="b", text="y")
    site.settle()
    ids = [v["id"] for v in client.pump() if "id" in v]
    assert ids == [1, 2, 3]


# -- what is no command


@pytest.mark.parametrize(
    "data",
    [b"", b"x", b"[]", b"null", b'"say"', b"{", b"{}", b'{"type":null}', b'{"type":"nothing"}',
     b'{"type":"say","room":"lobby","text":NaN}', b'{"type":"say","room":"lobby","text":"\\ud800"}',
     b'{"type":"say","room":"lobby","text":"\\udc00x"}',
     b'{"type":"history","room":"lobby","before":1e999}',
     b'{"type":"history","room":"lobby","before":Infinity}',
     b'{"type":"history","room":"lobby","before":1.0}',
     b'{"type":"history","room":"lobby","before":true}',
     b'{"type":"history","room":"lobby","before":"5"}',
     b'{"type":"say","id":"1","room":"lobby","text":"x"}',
     b"[" * 60_000, b'{"a":' * 12_000, b'{"type":"say","x":' + b"[" * 60_000,
     b'{"type":"say","id":' + b"9" * 5000 + b',"room":"lobby","text":"x"}',
     b'{"type":"hello","type":"say"}'],
)  # fmt: skip
def test_py_01_to_08_what_is_no_command_is_answered(ann: V1, data: bytes) -> None:
    (error,) = ann.ask_raw(data)
    assert (error["type"], error["code"]) == ("error", "bad")
    assert answer(ann, type="say", room="lobby", text="alive")["seq"] == 1
    assert ann.closed is None


@pytest.mark.parametrize("id_", [0, -1, 2**31, 2**53 + 1, 2**64 - 1, 2**64, -(2**64), 10**300])
def test_ids_come_back_as_they_were(ann: V1, id_: int) -> None:
    for command in (
        {"type": "say", "room": "lobby", "text": "x"},
        {"type": "history", "room": "lobby"},
        {"type": "nonsense"},
        {"type": "rename", "name": "Anna"},
    ):
        found = [v for v in ann.ask(id=id_, **command) if "id" in v]
        assert [v["id"] for v in found] == [id_]


def test_unknown_fields_are_ignored(ann: V1) -> None:
    assert answer(ann, type="say", room="lobby", text="x", colour="red", __class__={})["seq"] == 1


@pytest.mark.parametrize("number", [2**53, 2**63, 2**64, -(2**63), -1, 0])
def test_py_05_numbers_of_messages_out_of_range(ann: V1, number: int) -> None:
    for command in (
        {"type": "say", "room": "lobby", "text": "x", "reply_to": number},
        {"type": "edit", "room": "lobby", "seq": number, "text": "x"},
        {"type": "delete", "room": "lobby", "seq": number},
    ):
        assert ann.error(**command) == "bad"
    if number > 2**53 or number < 1:
        assert ann.error(type="history", room="lobby", before=number) == "bad"


# -- say


def test_say(site: Site, ann: V1) -> None:
    bob = site.join(name="Bob")
    got = ann.ask(type="say", id=4, room="lobby", text=" hi ", reply_to=None)
    ok = next(v for v in got if v["type"] == "ok")
    message = next(v for v in got if v["type"] == "message")
    assert ok == {"type": "ok", "id": 4, "room": "lobby", "seq": 1, "time": site.wall.now}
    assert message == {
        "type": "message", "room": "lobby", "seq": 1, "time": site.wall.now,
        "uid": ann.welcome["uid"], "name": "Ann", "role": "guest", "text": "hi",
    }  # fmt: skip
    assert message in bob.pump()


def test_say_without_an_id_has_no_answer(ann: V1) -> None:
    assert [v["type"] for v in ann.ask(type="say", room="lobby", text="hi")] == ["message"]


def test_replies(ann: V1) -> None:
    ann.ask(type="say", room="lobby", text="question")
    got = ann.ask(type="say", room="lobby", text="answer", reply_to=1)
    assert got[0]["reply_to"] == 1


@pytest.mark.parametrize(
    ("text", "code"),
    [("", "bad"), ("  ", "bad"), ("\0\1", "bad"), ("x" * 1001, "too_long"),
     ("x" * 60_000, "too_long")],
)  # fmt: skip
def test_bad_texts(ann: V1, text: str, code: str) -> None:
    assert ann.error(type="say", room="lobby", text=text) == code


@pytest.mark.parametrize("room", ["other", "", "a b", "Lobby", "x" * 60_000])
def test_rooms_that_were_not_joined(ann: V1, room: str) -> None:
    assert ann.error(type="say", room=room, text="x") == "unknown_room"
    assert ann.error(type="typing", room=room) == "unknown_room"
    assert ann.error(type="leave", room=room) == "unknown_room"


def test_a_room_of_other_origins_is_not_entered_by_another_ones_address(make_site: Make) -> None:
    site = make_site(
        origins=("https://a.example",),
        rooms={"secret": RoomOverrides(origins=("https://b.example",))},
    )
    origin = "Origin: https://a.example\r\n"
    page = V1(site.websocket("/chat?room=lobby", protocol="wsd.v1", headers=origin))
    assert page.error(type="hello", rooms={"secret": None}) == "denied"
    page.say_hello()
    assert page.error(type="join", room="secret") == "denied"
    assert page.error(type="history", room="secret") == "denied"
    assert answer(page, type="join", room="other")["type"] == "ok"
    program = site.join()  # none of a browser's: it says of no page that it is one
    assert answer(program, type="join", room="secret")["type"] == "ok"


@pytest.mark.parametrize("cid", ["", "x" * 65, 5, ["a"]])
def test_bad_cids(ann: V1, cid: Any) -> None:
    assert ann.error(type="say", room="lobby", text="x", cid=cid) == "bad"


@pytest.mark.parametrize("command", [{"type": "typing", "room": "lobby"}, {"type": "pong"}])
def test_who_asks_for_a_reply_gets_one(ann: V1, command: dict[str, Any]) -> None:
    assert answer(ann, **command) == {"type": "ok", "id": 99}
    assert ann.ask(**command) == []


def test_a_cid_of_another_room_is_refused(site: Site, ann: V1) -> None:
    """An ``ok`` would name a message that is not there."""
    ann.ask(type="join", room="other")
    answer(ann, type="say", room="lobby", text="x", cid="c")
    assert ann.error(type="say", room="other", text="x", cid="c") == "bad"
    assert site.hub.log.bounds("other") == (1, 0)


def test_a_retry_of_an_untidy_text_is_the_same_while_the_guest_has_to_wait(
    make_site: Make
) -> None:
    site = make_site(limits={"every": 5.0, "burst": 2})
    ann = site.join()
    texts = [("a", "retry me  \r\n"), ("b", "x"), ("c", "y")]
    *_, last = [answer(ann, type="say", room="lobby", text=t, cid=c) for c, t in texts]
    assert last["code"] == "rate"
    again = answer(ann, type="say", room="lobby", text=texts[0][1], cid="a")
    assert (again["seq"], again["duplicate"], again.get("differs")) == (1, True, None)


def test_dl_10_a_retry_is_no_second_message(site: Site, ann: V1) -> None:
    first = answer(ann, type="say", room="lobby", text="x", cid="c" * 64)
    again = answer(ann, type="say", room="lobby", text="x", cid="c" * 64)
    assert (again["seq"], again["time"]) == (first["seq"], first["time"])
    assert again["duplicate"] is True
    assert ann.events() == [(1, "x")]
    other = answer(ann, type="say", room="lobby", text="y", cid="c" * 64)
    assert (other["seq"], other["differs"]) == (1, True)


def test_a_cid_of_somebody_else_is_no_retry(site: Site, ann: V1) -> None:
    bob = site.join()
    assert answer(ann, type="say", room="lobby", text="a", cid="c")["seq"] == 1
    assert answer(bob, type="say", room="lobby", text="b", cid="c")["seq"] == 2


def test_rate(make_site: Make) -> None:
    site = make_site(limits={"burst": 3, "every": 2.0})
    ann = site.join()
    for _ in range(3):
        assert answer(ann, type="say", room="lobby", text="x")["type"] == "ok"
    error = answer(ann, type="say", room="lobby", text="x")
    assert error["code"] == "rate"
    assert error["message"] == "one message every 2 s; trying before the time doubles the wait"
    assert 1990 <= error["retry_ms"] <= 2001
    assert answer(ann, type="say", room="lobby", text="y" * 2000)["code"] == "too_long"
    site.clock.pass_(error["retry_ms"] / 1000)
    assert answer(ann, type="say", room="lobby", text="x")["type"] == "ok"
    assert answer(ann, type="edit", room="lobby", seq=1, text="x")["code"] == "rate"
    assert answer(ann, type="delete", room="lobby", seq=1)["type"] == "ok"


def test_dl_17_a_retry_of_what_was_stored_is_accepted_whatever_is_forbidden_now(
    make_site: Make,
) -> None:
    site = make_site(limits={"burst": 1, "every": 60.0})
    ann = site.join()
    stored = answer(ann, type="say", room="lobby", text="x", cid="c")
    again = answer(ann, type="say", room="lobby", text="x", cid="c")
    assert (again["type"], again["seq"]) == ("ok", stored["seq"])
    assert answer(ann, type="say", room="lobby", text="x", cid="d")["code"] == "rate"


def test_dl_18_nothing_overtakes_a_message_that_has_to_come_again(make_site: Make) -> None:
    site = make_site(limits={"burst": 1, "every": 2.0})
    ann = site.join()
    for i in range(4):
        ann.send(type="say", id=i, room="lobby", text=str(i), cid=f"c{i}")
    site.settle()
    codes = {v["id"]: v.get("code", "ok") for v in ann.pump() if "id" in v}
    assert codes == {0: "ok", 1: "rate", 2: "rate", 3: "rate"}
    for i in range(1, 4):
        site.clock.pass_(2.01)
        assert answer(ann, type="say", room="lobby", text=str(i), cid=f"c{i}")["type"] == "ok"
    assert ann.events() == [(1, "0"), (2, "1"), (3, "2"), (4, "3")]


def test_limits_of_one_room(make_site: Make) -> None:
    from wsd.config import RoomLimits, RoomOverrides

    site = make_site(rooms={"short": RoomOverrides(limits=RoomLimits(text=5))})
    ann = site.join(rooms={"short": None, "lobby": None})
    assert ann.error(type="say", room="short", text="123456") == "too_long"
    assert answer(ann, type="say", room="lobby", text="123456")["type"] == "ok"


def test_too_many_unanswered_hold_the_reader(site: Site, ann: V1) -> None:
    for i in range(MAX_UNANSWERED + 20):
        ann.send(type="say", id=i, room="lobby", text=str(i))
    site.settle(hub=False)
    link = site.workers[0].context.link
    assert link.unanswered == MAX_UNANSWERED
    assert ann.pump() == []
    site.settle(12)
    assert [v["id"] for v in ann.pump() if v["type"] == "ok"] == list(range(MAX_UNANSWERED + 20))
    assert link.unanswered == 0
    assert [seq for seq, _ in ann.events()] == list(range(1, MAX_UNANSWERED + 21))


def test_a_client_that_goes_while_its_commands_are_under_way(site: Site, ann: V1) -> None:
    bob = site.join()
    for i in range(10):
        ann.send(type="say", id=i, room="lobby", text=str(i))
    ann.send(type="join", room="tech")
    ann.send(type="history", room="lobby")
    site.settle(2, hub=False)
    ann.close()
    site.settle(2, hub=False)
    site.settle()
    assert [seq for seq, _ in bob.events()] == list(range(1, 11))  # what was sent was sent
    assert site.workers[0].context.link.unanswered == 0
    assert len(site.workers[0].context.attendants) == 1


# -- edit and delete


def test_edit_and_delete(site: Site, ann: V1) -> None:
    bob = site.join()
    ann.ask(type="say", room="lobby", text="helo")
    assert answer(ann, type="edit", room="lobby", seq=1, text="hello")["seq"] == 2
    assert answer(ann, type="delete", room="lobby", seq=1)["seq"] == 3
    got = [v for v in bob.pump() if "seq" in v]
    assert [(v["type"], v["seq"], v.get("ref")) for v in got] == [
        ("message", 1, None), ("edit", 2, 1), ("delete", 3, 1),
    ]  # fmt: skip
    late = site.join()
    assert late.events() == [(1, ""), (2, ""), (3, "delete")]


def test_others_messages_are_not_ones_own(site: Site, ann: V1) -> None:
    ann.ask(type="say", room="lobby", text="mine")
    bob = site.join()
    assert bob.error(type="edit", room="lobby", seq=1, text="no") == "denied"
    assert bob.error(type="delete", room="lobby", seq=1) == "denied"
    assert bob.error(type="delete", room="lobby", seq=2) == "bad"
    assert bob.error(type="edit", room="lobby", seq=1, text="") == "bad"


# -- join and leave


def test_join_and_leave(site: Site, ann: V1) -> None:
    site.hub.log.append([draft(str(i), room="tech") for i in range(60)])
    ok = answer(ann, type="join", room="tech")
    assert (ok["position"], ok["follows"]) == (f"{site.hub.log.epoch}.60", 50)
    assert [seq for seq, _ in ann.events("tech")] == list(range(11, 61))
    assert answer(ann, type="leave", room="tech") == {"type": "ok", "id": 99, "room": "tech"}
    site.join(room="tech").ask(type="say", room="tech", text="unheard")
    assert ann.events("tech")[-1][0] == 60


def test_joining_again_starts_at_the_position(site: Site, ann: V1) -> None:
    for text in "abc":
        ann.ask(type="say", room="lobby", text=text)
    ann.got.clear()
    ok = answer(ann, type="join", room="lobby", after=f"{site.hub.log.epoch}.1")
    assert (ok["recovered"], ok["follows"]) == (True, 2)
    ann.ask(type="say", room="lobby", text="d")
    assert [v["seq"] for v in ann.got if v["type"] == "message"] == [2, 3, 4]


def test_names_of_rooms_in_another_normal_form(ann: V1) -> None:
    assert answer(ann, type="join", room="cafe\u0301")["room"] == "café"
    assert answer(ann, type="say", room="cafe\u0301", text="x")["room"] == "café"


@pytest.mark.parametrize("room", ["", "a b", "x" * 65, "../x", None, 5])
def test_bad_names_of_rooms(ann: V1, room: Any) -> None:
    assert ann.error(type="join", room=room) == "bad"
    assert ann.error(type="history", room=room) == "bad"


def test_rooms_limit(make_site: Make) -> None:
    site = make_site(limits={"rooms_per_connection": 3})
    ann = site.join()
    for room in ("a", "b"):
        assert answer(ann, type="join", room=room)["type"] == "ok"
    assert answer(ann, type="join", room="c")["code"] == "bad"
    assert answer(ann, type="join", room="a")["type"] == "ok"  # is in it already
    answer(ann, type="leave", room="a")
    assert answer(ann, type="join", room="c")["type"] == "ok"


def test_a_hub_that_is_away_while_rooms_are_awaited(site: Site) -> None:
    """One room is there, the other comes much later; the first may have been let go by then."""
    first = site.join(room="a")
    first.close()
    site.settle()
    client = site.v1()
    client.send(type="hello", id=1, rooms={"a": None, "b": None})
    site.pass_(45, 1, hub=False)
    site.settle()
    assert [v["id"] for v in client.pump() if "id" in v] == [1]
    answer(client, type="say", room="a", text="x")
    assert client.events("a") == [(1, "x")]


def test_the_log_is_replaced_while_rooms_are_awaited(site: Site) -> None:
    site.join(room="a")
    client = site.v1()
    client.send(type="hello", id=1, rooms={"a": None, "b": None})
    site.turn(hub=False)
    site.kill_hub()
    site.start_hub()
    site.pass_(1)
    welcome = next(v for v in client.pump() if v["type"] == "welcome")
    for entry in welcome["rooms"].values():
        assert entry["position"] == f"{site.hub.log.epoch}.0"


# -- the rest


def test_a_new_name_in_a_hello_is_told_to_the_room(site: Site, ann: V1) -> None:
    """Of somebody who is there already, in another tab."""
    bob = site.join(name="Bob")
    site.pass_(1.5)
    bob.pump()
    token = ann.welcome["token"]
    assert site.join(token=token, name="Anna").welcome["name"] == "Anna"
    site.pass_(1.5)
    told = [v["joined"] for v in bob.pump() if v["type"] == "presence"]
    assert told == [[[ann.welcome["uid"], "Anna"]]]


def test_new_names_in_hellos_count_as_such(site: Site, ann: V1) -> None:
    names = []
    for i in range(14):
        tab = site.join(token=ann.welcome["token"], name=f"Name {i}")
        names.append(tab.welcome["name"])
        tab.close()
        site.settle()
    assert names == [f"Name {min(i, 9)}" for i in range(14)]
    assert ann.error(type="rename", name="Anna") == "rate"


def test_rename(site: Site, ann: V1) -> None:
    ok = answer(ann, type="rename", name="Anna")
    assert ok["name"] == "Anna"
    assert site.join(token=ok["token"]).welcome["name"] == "Anna"
    ann.ask(type="say", room="lobby", text="x")
    assert next(v for v in ann.got if v["type"] == "message")["name"] == "Anna"
    for name in ("", "x", "x" * 25, "\u202ex", "A\nB\0"):
        assert ann.error(type="rename", name=name) == "name_bad"


def test_history(site: Site, ann: V1) -> None:
    site.hub.log.append([draft(str(i)) for i in range(300)])
    page = answer(ann, type="history", room="lobby")
    assert [m["seq"] for m in page["messages"]] == list(range(251, 301))
    assert (page["more"], page["epoch"], page["room"]) == (True, site.hub.log.epoch, "lobby")
    page = answer(ann, type="history", room="lobby", before=11, limit=10**9)
    assert ([m["seq"] for m in page["messages"]], page["more"]) == (list(range(1, 11)), False)
    assert len(answer(ann, type="history", room="lobby", limit=10**9)["messages"]) == 200
    assert answer(ann, type="history", room="not-joined")["messages"] == []
    for bad in ({"before": 0}, {"before": -5}, {"limit": 0}, {"limit": -1}, {"before": 2**60}):
        assert ann.error(type="history", room="lobby", **bad) == "bad"


def test_moderation_is_for_moderators(ann: V1) -> None:
    command = {"type": "moderate", "room": "lobby", "action": "mute", "uid": "g8", "for_s": 600}
    assert ann.error(**command) == "denied"


def test_storage_trouble_is_told_and_can_be_tried_again(site: Site, ann: V1) -> None:
    bob = site.join()
    site.hub.log._db.execute("PRAGMA max_page_count = 1")
    site.hub.log._db.execute("PRAGMA query_only = ON")
    error = answer(ann, type="say", room="lobby", text="x", cid="c")
    assert (error["code"], error["retry_ms"]) == ("storage", 1000)
    assert answer(ann, type="history", room="lobby")["messages"] == []
    site.hub.log._db.execute("PRAGMA query_only = OFF")
    site.hub.log._db.execute("PRAGMA max_page_count = 1000000")
    assert answer(ann, type="say", room="lobby", text="x", cid="c")["seq"] == 1
    assert bob.events() == [(1, "x")]


def test_a_command_never_raises(site: Site, ann: V1) -> None:
    """Every command with every field replaced by something else."""
    commands: list[dict[str, Any]] = [
        {"type": "hello", "token": "", "name": "Ann", "rooms": {}},
        {"type": "join", "room": "a", "after": "x.1"},
        {"type": "leave", "room": "a"},
        {"type": "say", "room": "lobby", "text": "x", "cid": "c", "reply_to": 1},
        {"type": "edit", "room": "lobby", "seq": 1, "text": "x", "cid": "c"},
        {"type": "delete", "room": "lobby", "seq": 1, "cid": "c"},
        {"type": "rename", "name": "Ann"}, {"type": "typing", "room": "lobby"},
        {"type": "history", "room": "lobby", "before": 1, "limit": 1},
        {"type": "moderate", "room": "lobby", "action": "x"}, {"type": "pong"},
    ]  # fmt: skip
    junk: list[Any] = [None, True, 0, -1, 2**70, 1.5, "", "x" * 3000, "\u202e\0", [], {}, [[]],
                       {"a": {}}, "lobby"]  # fmt: skip
    for command in commands:
        for field in [*command, "id", "extra"]:
            for value in junk:
                ann.send(**{**command, field: value})
        site.settle()
        ann.pump()
    assert ann.closed is None
    assert site.scoreboard.row("worker 0")[M.ERRORS] == 0
    assert answer(ann, type="join", room="tech")["type"] == "ok"
    assert json.dumps(ann.got[-1])
