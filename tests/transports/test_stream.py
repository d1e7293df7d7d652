"""Event streams: what they are made of, how they go on, and how they end."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from tests.support.parts import Site
from tests.support.web import Browser, ask, say, token_of
from wsd.reasons import BYE_RESTART, RESYNC, ROTATED

Make = Callable[..., Site]


class Sse(NamedTuple):
    id: str
    value: dict[str, Any]


class Stream(Browser):
    """Reads an event stream as the HTML standard has it: fields, and a blank line behind each."""

    def open(self, method: str, target: str, value: Any = None, **headers: str) -> None:
        self.send(method, target, value, **headers)
        head, _, rest = self.wire.read().partition(b"\r\n\r\n")
        self.head = head.decode()
        self.wire.data[:] = rest
        self.last_id = ""

    def events(self) -> list[Sse]:
        """What has come since the last time."""
        self.wire.read()
        *blocks, rest = bytes(self.wire.data).split(b"\n\n")
        self.wire.data[:] = rest
        found = []
        for block in blocks:
            fields = dict(
                line.split(": ", 1) for line in block.decode().split("\n") if line[:1] != ":"
            )
            self.last_id = fields.get("id", self.last_id)
            if "data" in fields:
                found.append(Sse(fields.get("id", ""), json.loads(fields["data"])))
        return found


def stream(site: Site, worker: int = 0, **hello: Any) -> Stream:
    made = Stream(site, worker)
    made.open("POST", "/stream", {"type": "hello", **hello})
    return made


def watch(site: Site, query: str = "", worker: int = 0, **headers: str) -> Stream:
    made = Stream(site, worker)
    made.open("GET", f"/stream?room=lobby{query}", **headers)
    return made


def test_head_and_welcome(site: Site) -> None:
    reader = stream(site, name="Ann", id=4)
    assert reader.head.startswith("HTTP/1.1 200 OK\r\n")
    for line in ("Content-Type: text/event-stream", "Cache-Control: no-store",
                 "X-Accel-Buffering: no", "Connection: close"):  # fmt: skip
        assert line in reader.head
    assert len(reader.wire.data) > 2048  # what makes proxies and browsers hand it on
    first = reader.events()[0].value
    assert (first["type"], first["id"], first["name"]) == ("welcome", 4, "Ann")
    assert first["token"]


def test_events_carry_their_position(site: Site) -> None:
    reader = stream(site, name="Ann")
    epoch = reader.events()[0].value["rooms"]["lobby"]["position"].partition(".")[0]
    say(site, token_of(site), "one", "two\nlines")
    messages = [event for event in reader.events() if event.value["type"] == "message"]
    assert [event.id for event in messages] == [f"{epoch}.1", f"{epoch}.2"]
    assert [event.value["text"] for event in messages] == ["one", "two\nlines"]


def test_a_native_reader_goes_on_where_it_was(make_site: Make) -> None:
    site = make_site(workers=2)
    token = token_of(site)
    say(site, token, "one", "two")
    reader = watch(site)
    assert [e.value.get("seq") for e in reader.events()] == [None, 1, 2]
    reader.wire.close()
    say(site, token, "three", worker=1)
    again = watch(site, worker=1, Last_Event_ID=reader.last_id)
    events = again.events()
    assert events[0].value["rooms"]["lobby"]["recovered"] is True
    assert [e.value.get("seq") for e in events] == [None, 3]


def test_cut_off_before_the_first_event_it_does_not_start_anew(site: Site) -> None:
    token = token_of(site)
    reader = watch(site)
    reader.events()
    assert reader.last_id.endswith(".0")
    say(site, token, "one")
    again = watch(site, Last_Event_ID=reader.last_id)
    assert [e.value.get("seq") for e in again.events()] == [None, 1]


def test_the_header_is_newer_than_the_address(site: Site) -> None:
    token = token_of(site)
    say(site, token, *"abc")
    epoch = site.hub.log.epoch
    reader = watch(site, f"&after={epoch}.1", Last_Event_ID=f"{epoch}.2")
    assert [e.value.get("seq") for e in reader.events()] == [None, 3]
    reader = watch(site, f"&after={epoch}.1")
    assert [e.value.get("seq") for e in reader.events()] == [None, 2, 3]


def test_readers_without_a_name_are_not_counted(site: Site) -> None:
    watch(site)
    watcher = site.join()
    assert watcher.welcome["rooms"]["lobby"]["online"] == 1


def test_a_guest_on_a_stream_is_in_the_room(site: Site) -> None:
    watcher = site.join()
    reader = stream(site, name="Ann")
    uid = reader.events()[0].value["uid"]
    site.pass_(2)
    assert any([uid, "Ann"] in v.get("joined", []) for v in watcher.pump())
    presence = [e for e in reader.events() if e.value["type"] == "presence"]
    assert presence and not any(event.id for event in presence)


def test_pings_are_data_and_tell_heads(site: Site) -> None:
    reader = stream(site, name="Ann")
    say(site, token_of(site), "one")
    reader.events()
    site.pass_(26)
    pings = [e.value for e in reader.events() if e.value["type"] == "ping"]
    assert pings and pings[0]["heads"] == {"lobby": 1}


def test_a_slow_reader_is_fed_from_the_log(make_site: Make) -> None:
    site = make_site(limits={"queue": 4096, "text": 4000}, history={"recover_max": 10})
    reader = watch(site)
    token = token_of(site)
    for _ in range(40):
        say(site, token, *["x" * 3000] * 16)
    got = []
    for _ in range(400):
        got += [e.value["seq"] for e in reader.events() if "seq" in e.value]
        site.settle(2)
    assert got == list(range(1, 641))


def test_it_is_rotated_with_a_word(site: Site) -> None:
    reader = stream(site, name="Ann")
    site.pass_(745, 1)
    bye = reader.events()[-1].value
    assert (bye["type"], bye["code"], bye["reason"]) == ("bye", ROTATED.code, "rotated")
    assert reader.wire.ended and not reader.wire.reset


def test_drain_says_bye_and_ends_the_answer(site: Site) -> None:
    reader = stream(site, name="Ann")
    reader.events()
    site.workers[0].drain()
    site.pass_(0.3)
    assert [e.value["code"] for e in reader.events()] == [BYE_RESTART]
    site.pass_(11)
    reader.wire.read()
    assert reader.wire.ended


def test_another_log_ends_streams(site: Site) -> None:
    reader = stream(site, name="Ann")
    reader.events()
    site.kill_hub()
    site.settle(hub=False)
    site.start_hub()
    site.pass_(2)
    assert [e.value["code"] for e in reader.events() if e.value["type"] == "bye"] == [RESYNC.code]
    reader.wire.read()
    assert reader.wire.ended


def test_who_hangs_up_is_gone(site: Site) -> None:
    reader = stream(site, name="Ann")
    room = site.workers[0].context.rooms.get("lobby")
    assert room is not None and room.guests
    reader.wire.close()
    site.settle()
    assert not room.guests and not site.workers[0].context.attendants


@pytest.mark.parametrize("hello", [{"name": "x"}, {"type": "say"}, {"rooms": {"a b": None}}])
def test_a_hello_that_cannot_be(site: Site, hello: dict[str, Any]) -> None:
    answer = ask(site, "POST", "/stream", {"type": "hello", **hello})
    assert answer.status == 400
    assert answer.value[0]["type"] == "error"


def test_hub_away_for_long_ends_it(site: Site) -> None:
    site.kill_hub()
    site.settle(hub=False)
    reader = Stream(site)
    reader.hub = False
    reader.send("POST", "/stream", {"name": "Ann"})
    site.pass_(12, hub=False)
    answer = reader.answer()
    assert answer is not None and answer.status == 503
    assert answer.value[0]["code"] == "busy"
    assert reader.wire.ended
