"""The conversation on a clock of the test's: frames in, commands and events out."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wsd.client import events
from wsd.client.conversation import Conversation, Status
from wsd.client.errors import Refused, Stopped
from wsd.client.identity import Identity
from wsd.client.room import Room

Frame = dict[str, Any]


class Talk:
    """A conversation, and what a test does to it.  Chance is always 1: back-offs take longest."""

    def __init__(self, *rooms: str, max_events: int = 1000, notices: bool = False) -> None:
        self.now = 1000.0
        self.it = Conversation(
            Identity("Ann", "t0", None), lambda: 1.0, max_events=max_events, notices=notices
        )
        for name in rooms:
            self.it.join(Room(name), self.now)

    def out(self) -> list[Frame]:
        said = [json.loads(data) for data in self.it.out]
        self.it.out.clear()
        return said

    def open(self) -> Frame:
        self.it.opened(self.now)
        (hello,) = self.out()
        return hello

    def hear(self, **frame: Any) -> None:
        self.it.received(json.dumps(frame).encode(), self.now)

    def welcome(self, positions: dict[str, str] | None = None, **fields: Any) -> None:
        hello = self.open()
        rooms = {
            name: {"position": (positions or {}).get(name, "e.0"), "follows": 0,
                   "recovered": True, "online": 1, "modes": {}}
            for name in hello["rooms"]
        }  # fmt: skip
        known = {"uid": "g1", "token": "t1", "name": "Ann", "role": "guest", "ping_s": 25}
        self.hear(**{"type": "welcome", "id": hello["id"], **known, "rooms": rooms, **fields})

    def message(self, seq: int, room: str = "lobby", uid: str = "g2") -> None:
        self.hear(type="message", room=room, seq=seq, time=1.0, uid=uid, name="Bo", text=str(seq))

    def taken(self) -> list[Any]:
        found = []
        while (event := self.it.take(self.now)) is not None:
            found.append(event)
        return found

    def seqs(self) -> list[int]:
        return [event.seq for event in self.taken()]

    def after(self, seconds: float) -> None:
        self.now += seconds
        self.it.tick(self.now)


@pytest.fixture
def talk() -> Talk:
    """One that is online in the lobby, at e.0."""
    made = Talk("lobby")
    made.welcome()
    return made


# -- hello


def test_the_hello_says_who_we_are_and_what_we_have() -> None:
    talk = Talk("lobby", "tech")
    hello = talk.open()
    del hello["id"]
    rooms = {"lobby": None, "tech": None}
    assert hello == {"type": "hello", "token": "t0", "name": "Ann", "rooms": rooms}
    assert talk.it.status is Status.GREETING
    talk.it.lost(talk.now, None, "cut")
    talk.welcome({"lobby": "e.7", "tech": "e.2"})
    assert talk.it.status is Status.ONLINE
    talk.message(8)
    talk.it.lost(talk.now, None, "cut")
    hello = talk.open()
    assert hello["rooms"] == {"lobby": "e.8", "tech": "e.2"}
    assert hello["token"] == "t1"


def test_a_refused_token_is_given_up() -> None:
    talk = Talk("lobby")
    talk.hear(type="error", id=talk.open()["id"], code="auth", message="")
    assert (talk.it.status, talk.it.retry_at) == (Status.AWAY, talk.now)
    hello = talk.open()
    assert "token" not in hello
    talk.hear(type="error", id=hello["id"], code="auth", message="")
    assert talk.it.status is Status.STOPPED


def test_a_hello_that_may_be_said_again_is() -> None:
    talk = Talk("lobby")
    talk.hear(type="error", id=talk.open()["id"], code="rate", message="", retry_ms=7000)
    assert (talk.it.status, talk.it.retry_at) == (Status.AWAY, talk.now + 7)


def test_a_refused_name_is_the_callers_business() -> None:
    talk = Talk("lobby")
    talk.hear(type="error", id=talk.open()["id"], code="name_bad", message="too short")
    assert isinstance(talk.it.failure, Refused)
    assert talk.it.failure.code == "name_bad"


def test_a_hello_without_an_answer_is_given_up() -> None:
    talk = Talk("lobby")
    talk.open()
    assert talk.it.wake_at() == talk.now + 10
    talk.after(10)
    assert talk.it.status is Status.AWAY


def test_a_room_that_spoils_the_hello_does_so_once() -> None:
    talk = Talk("bad name")
    room = talk.it.rooms["bad name"]
    talk.hear(type="error", id=talk.open()["id"], code="bad", message="a room's name has")
    assert room.refusal is not None
    assert (talk.it.rooms, talk.it.status) == ({}, Status.AWAY)
    assert talk.open()["rooms"] == {}


def test_a_new_room_is_not_in_the_hello_of_one_that_has_others(talk: Talk) -> None:
    talk.it.lost(talk.now, None, "cut")
    talk.it.join(Room("bad name"), talk.now)
    talk.welcome()
    (join,) = talk.out()
    assert (join["type"], join["room"], join["after"]) == ("join", "bad name", None)
    room = talk.it.rooms["bad name"]
    talk.hear(type="error", id=join["id"], code="bad", message="a room's name has")
    assert room.refusal is not None
    assert list(talk.it.rooms) == ["lobby"]
    assert talk.taken() == []  # whoever asked for it learns it from the call


def test_a_room_of_the_servers_choice_is_left() -> None:
    talk = Talk()
    talk.welcome(rooms={"lobby": {"position": "e.3", "follows": 0, "recovered": False}})
    assert talk.out() == [{"type": "leave", "room": "lobby"}]
    talk.message(4)
    assert talk.taken() == []


def test_a_hello_that_is_refused_though_its_rooms_were_good_ends_it(talk: Talk) -> None:
    """The server takes fewer rooms than it did."""
    talk.it.lost(talk.now, None, "cut")
    talk.it.join(Room("new"), talk.now)
    talk.hear(type="error", id=talk.open()["id"], code="bad", message="at most 0 rooms")
    assert talk.it.status is Status.STOPPED


# -- events


def test_each_event_once_and_in_order(talk: Talk) -> None:
    for seq in (1, 2, 2, 1, 3):
        talk.message(seq)
    assert talk.seqs() == [1, 2, 3]


def test_a_hole_is_fetched_and_nothing_behind_it_is_given(talk: Talk) -> None:
    talk.after(5)
    talk.message(1)
    talk.message(3)
    (join,) = talk.out()
    assert (join["type"], join["room"], join["after"]) == ("join", "lobby", "e.1")
    talk.message(4)
    assert (talk.out(), talk.seqs()) == ([], [1])
    talk.hear(type="ok", id=join["id"], room="lobby", position="e.4", follows=3, recovered=True)
    for seq in (2, 3, 4, 5):
        talk.message(seq)
    assert talk.seqs() == [2, 3, 4, 5]
    talk.message(7)  # again, within a second
    assert talk.out() == []
    assert talk.it.wake_at() == talk.now + 1
    talk.after(1)
    assert [command["after"] for command in talk.out()] == ["e.5"]


def test_a_loss_at_the_very_end_shows_in_a_ping(talk: Talk) -> None:
    talk.after(5)
    talk.message(1)
    talk.hear(type="ping", heads={"lobby": 1, "elsewhere": 9})
    assert talk.out() == []
    talk.hear(type="ping", heads={"lobby": 2})
    assert [command["after"] for command in talk.out()] == ["e.1"]


def test_kinds_of_events(talk: Talk) -> None:
    talk.message(1, uid="g1")
    talk.hear(type="edit", room="lobby", seq=2, time=2.0, ref=1, text="x", new_field=1)
    talk.hear(type="delete", room="lobby", seq=3, ref=1)
    talk.hear(type="mode", room="lobby", seq=4, modes={"slow_s": 10})
    talk.hear(type="pin", room="lobby", seq=5, ref=1)  # newer than this client
    message, edit, delete, mode, other = talk.taken()
    assert isinstance(message, events.Message)
    assert message.own
    assert edit == events.Edit(room="lobby", seq=2, time=2.0, ref=1, text="x")
    assert delete == events.Delete(room="lobby", seq=3, ref=1)
    assert mode == events.Mode(room="lobby", seq=4, modes={"slow_s": 10})
    assert isinstance(other, events.Other)
    assert (other.type, other.seq, other.fields["ref"]) == ("pin", 5, 1)


@pytest.mark.parametrize("wanted", [False, True])
def test_notices(wanted: bool) -> None:
    talk = Talk("lobby", notices=wanted)
    talk.welcome()
    talk.hear(type="presence", room="lobby", online=2, joined=[["g2", "Bo"]])
    talk.hear(type="typing", room="lobby", uid="g2")
    assert talk.it.rooms["lobby"].online == 2
    told = [
        events.Presence(room="lobby", online=2, joined=[("g2", "Bo")]),
        events.Typing(room="lobby", uid="g2"),
    ]
    assert talk.taken() == (told if wanted else [])


def test_types_and_rooms_that_nobody_knows_are_ignored(talk: Talk) -> None:
    talk.hear(type="weather", room="lobby", sunny=True)
    talk.hear(type="error", code="bad", message="?")
    talk.message(1, room="elsewhere")
    talk.hear(type="ok", id=99)
    talk.hear(type="ok", room="lobby", seq=1, time=1.0)
    assert (talk.taken(), talk.out()) == ([], [])


@pytest.mark.parametrize(
    "data", [b"", b"[]", b"{", b"\xff", b'{"type":"edit","room":"lobby","seq":1}']
)
def test_what_wsd_does_not_say(talk: Talk, data: bytes) -> None:
    with pytest.raises((ValueError, events.msgspec.MsgspecError)):
        talk.it.received(data, talk.now)
    assert talk.taken() == []


def test_the_position_given_is_behind_what_was_taken(talk: Talk) -> None:
    room = talk.it.rooms["lobby"]
    talk.message(1)
    talk.message(2)
    assert (room.given, room.position) == ("e.0", "e.2")
    talk.it.take(talk.now)
    assert room.given == "e.1"


# -- requests


def test_an_answer_finds_its_question(talk: Talk) -> None:
    one = talk.it.request({"type": "rename", "name": "A"}, talk.now)
    two = talk.it.request({"type": "rename", "name": "B"}, talk.now)
    first, second = talk.out()
    talk.hear(type="ok", id=second["id"], name="B")
    assert (one.reply, two.reply) == (None, {"type": "ok", "id": second["id"], "name": "B"})
    talk.hear(type="error", id=first["id"], code="rate")
    assert one.reply is not None
    assert one.reply["code"] == "rate"


def test_without_an_answer_there_is_one_of_ours(talk: Talk) -> None:
    one = talk.it.request({"type": "rename", "name": "A"}, talk.now)
    talk.after(14.9)
    assert one.reply is None
    talk.after(0.1)
    assert one.reply == {"type": "error", "code": "timeout"}
    two = talk.it.request({"type": "rename", "name": "A"}, talk.now)
    talk.it.lost(talk.now, 1006, "cut")
    assert two.reply == {"type": "error", "code": "disconnected"}


def test_what_is_not_unicode_is_not_said(talk: Talk) -> None:
    with pytest.raises(ValueError, match="surrogates"):
        talk.it.request({"type": "say", "room": "lobby", "text": "\ud800"}, talk.now)
    assert talk.out() == []


def test_a_join_that_is_refused_later_is_told(talk: Talk) -> None:
    talk.after(5)
    talk.message(2)
    (join,) = talk.out()
    talk.hear(type="error", id=join["id"], code="banned", message="flood")
    assert talk.taken() == [events.Excluded(room="lobby", code="banned", message="flood")]
    assert talk.it.rooms == {}


def test_a_join_waits_as_it_is_told(talk: Talk) -> None:
    talk.after(5)
    talk.message(2)
    talk.hear(type="error", id=talk.out()[0]["id"], code="busy", message="", retry_ms=3000)
    talk.after(2.9)
    assert talk.out() == []
    talk.after(0.1)
    assert [command["type"] for command in talk.out()] == ["join"]


def test_a_join_without_an_answer_is_the_end_of_the_connection(talk: Talk) -> None:
    talk.after(5)
    talk.message(2)
    talk.after(15)
    assert talk.it.status is Status.AWAY


def test_events_ahead_of_the_answer_to_a_join_are_not_of_this_stay(talk: Talk) -> None:
    talk.it.leave("lobby")
    talk.it.join(Room("lobby", "e.3"), talk.now)
    leave, join = talk.out()
    assert (leave["type"], join["after"]) == ("leave", "e.3")
    talk.message(4)
    assert talk.seqs() == []
    talk.hear(type="ok", id=join["id"], room="lobby", position="e.4", follows=1, recovered=True)
    talk.message(4)
    assert talk.seqs() == [4]


def test_the_answer_to_a_join_is_for_the_stay_that_asked(talk: Talk) -> None:
    talk.after(5)
    talk.message(2)
    (old,) = talk.out()
    talk.it.leave("lobby")
    again = Room("lobby")
    talk.it.join(again, talk.now)
    talk.hear(type="ok", id=old["id"], room="lobby", position="f.2", follows=0, recovered=False)
    assert not again.inside
    assert talk.taken() == []


# -- the end, and coming back


def test_a_lost_connection_is_lost_for_its_rooms(talk: Talk) -> None:
    room = talk.it.rooms["lobby"]
    assert room.inside
    talk.it.request({"type": "rename", "name": "A"}, talk.now)
    talk.it.lost(talk.now, None, "cut")
    assert not room.inside
    assert talk.out() == []


def test_only_a_good_connection_starts_the_back_off_anew(talk: Talk) -> None:
    for lived_s, wait_s in ((1, 0.5), (1, 1), (29, 2), (31, 0.5)):
        talk.now += lived_s
        talk.it.lost(talk.now, None, "cut")
        assert talk.it.retry_at == talk.now + wait_s
        talk.now = talk.it.retry_at
        talk.welcome()


def test_the_server_says_how_often_it_pings() -> None:
    talk = Talk("lobby")
    talk.welcome(ping_s=5)
    assert talk.it.wake_at() == talk.now + 15


def test_a_join_that_went_with_its_connection_is_not_waited_for(talk: Talk) -> None:
    talk.after(5)
    talk.message(2)
    talk.it.lost(talk.now, None, "cut")
    talk.welcome()
    talk.after(20)
    assert talk.it.status is Status.ONLINE


def test_silence_is_the_end(talk: Talk) -> None:
    talk.after(20)
    talk.hear(type="ping", heads={})
    talk.after(34.9)
    assert talk.it.status is Status.ONLINE
    talk.after(0.1)
    assert talk.it.status is Status.AWAY


def test_a_bye_says_when_to_come_back(talk: Talk) -> None:
    talk.hear(type="bye", code=3001, reason="restart", retry_ms=[0, 10_000])
    assert talk.it.status is Status.ONLINE
    talk.message(1)
    assert talk.seqs() == [1]
    talk.it.lost(talk.now, 1012, "restart")
    assert talk.it.retry_at == talk.now + 10


@pytest.mark.parametrize(
    "code", [None, 1001, 1006, 1011, 1012, 3000, 3499, 4000, 4009, 4499, 4501, 5000]
)
def test_codes_to_come_back_after(talk: Talk, code: int | None) -> None:
    talk.it.lost(talk.now, code, "")
    assert (talk.it.status, talk.it.retry_at) == (Status.AWAY, talk.now + 0.5)


@pytest.mark.parametrize("code", [3500, 3999, 4500, 4502, 4999])
@pytest.mark.parametrize("by", ["close", "bye"])
def test_codes_to_stay_away_after(talk: Talk, code: int, by: str) -> None:
    if by == "bye":
        talk.hear(type="bye", code=code, reason="banned")
    talk.it.lost(talk.now, code if by == "close" else 1000, "banned" if by == "close" else "")
    assert isinstance(talk.it.failure, Stopped)
    assert (talk.it.failure.code, talk.it.failure.reason) == (code, "banned")


def test_what_lies_untaken_is_bounded_and_the_rest_fetched_later() -> None:
    talk = Talk("lobby", max_events=4)
    talk.welcome()
    for seq in range(1, 10):
        talk.message(seq)
    talk.hear(type="ping", heads={"lobby": 9})
    talk.after(5)
    assert (talk.it.waiting, talk.out()) == (4, [])
    assert talk.it.take(talk.now) is not None
    talk.after(5)
    assert talk.out() == []
    assert talk.it.take(talk.now) is not None  # half of them are gone
    talk.after(0)
    assert [command["after"] for command in talk.out()] == ["e.4"]


# -- whatever the server and the line do


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(["say", "pass", "drop", "twice", "cut", "ping", "take", "wait"]),
                max_size=80))  # fmt: skip
def test_every_event_once_and_in_order_over_any_line(steps: list[str]) -> None:
    """Events get lost, come twice, and connections break at any moment; the log answers joins."""
    talk = Talk("lobby", max_events=5)
    log, line, given_ = 0, [], []  # the room's newest number; what is on its way

    def enter(after: str | None) -> Frame:
        start = log if after is None else int(after.split(".")[1])
        line[:] = range(start + 1, log + 1)
        return {"position": f"e.{log}", "follows": log - start, "recovered": after is not None}

    def answer() -> None:
        for command in talk.out():
            assert command["type"] == "join"
            talk.hear(type="ok", id=command["id"], room="lobby", **enter(command["after"]))

    def come_back() -> None:
        talk.now = max(talk.now, talk.it.retry_at)
        hello = talk.open()
        rooms = {"lobby": enter(hello["rooms"]["lobby"])}
        talk.hear(type="welcome", id=hello["id"], uid="g1", token="t", rooms=rooms)

    come_back()
    for step in [*steps, "ping", *["take", "wait", "pass"] * 60]:
        if step == "say":
            log += 1
            line.append(log)
        elif step in ("pass", "twice") and line:
            for _ in range(2 if step == "twice" else 1):
                talk.message(line[0])
            del line[0]
        elif step == "drop" and line:
            del line[0]
        elif step == "cut":
            talk.it.lost(talk.now, None, "cut")
            come_back()
        elif step == "ping":
            talk.hear(type="ping", heads={"lobby": log})
        elif step == "take" and (event := talk.it.take(talk.now)) is not None:
            given_.append(event.seq)
        elif step == "wait":
            talk.after(1)
            talk.hear(type="ping", heads={"lobby": log})
        answer()
        assert talk.it.waiting <= 5
    assert given_ == list(range(1, log + 1))
