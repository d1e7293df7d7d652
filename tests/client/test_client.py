"""What a caller meets: the client with the real daemon."""

from __future__ import annotations

import random
import socket
import stat
import time
from pathlib import Path

import pytest

from tests.support.certificates import make
from wsd.client import Client, ClientError, Message, Presence, Refused, Stopped, TimedOut, Typing

# -- talking


def test_a_message_comes_to_everybody_and_is_stored(shared, client, room) -> None:
    ann, bo = client(shared, room, name="Ann"), client(shared, room, name="Bo")
    sent = ann.say(room, "hello")
    told = bo.next(timeout=5)
    assert isinstance(told, Message)
    assert (told.seq, told.time, told.text) == (sent.seq, sent.time, "hello")
    assert (told.uid, told.name, told.own, told.replay) == (ann.uid, "Ann", False, False)
    answer = bo.say(room, "hello Ann", reply_to=told.seq)
    own, reply = ann.next(timeout=5), ann.next(timeout=5)
    assert isinstance(own, Message)
    assert own.own
    assert isinstance(reply, Message)
    assert (reply.seq, reply.reply_to) == (answer.seq, sent.seq)
    ann.edit(room, sent.seq, "hello, all")
    ann.delete(room, sent.seq)
    bo.next(timeout=5)
    edit, delete = bo.next(timeout=5), bo.next(timeout=5)
    assert (edit.ref, edit.text, delete.ref) == (sent.seq, "hello, all", sent.seq)
    page = bo.history(room)
    assert [(m.text, m.deleted, m.own) for m in page.messages] == [
        ("", True, False), ("hello Ann", False, True),
    ]  # fmt: skip
    assert not page.more


def test_messages_are_those_that_a_bot_answers(shared, client, room) -> None:
    ann = client(shared, room, name="Ann")
    ann.say(room, "before the bot came")
    bot = client(shared, room, name="Bot")
    bot.say(room, "its own")
    ann.say(room, "to the bot")
    assert next(bot.messages()).text == "to the bot"
    everything = client(shared, room)
    replay = [everything.next(timeout=5) for _ in range(3)]
    assert [(event.text, event.replay) for event in replay] == [
        ("before the bot came", True), ("its own", True), ("to the bot", True),
    ]  # fmt: skip


def test_notices_for_who_wants_them(shared, client, room) -> None:
    ann = client(shared, room, name="Ann", notices=True)
    bo = client(shared, room, name="Bo")
    bo.typing(room)
    came, types = set(), set()
    while bo.uid not in came or not types:
        event = ann.next(timeout=5)
        if isinstance(event, Presence):
            came |= {uid for uid, _ in event.joined}
        else:
            assert event == Typing(room=room, uid=bo.uid)
            types.add(event.uid)
    assert ann.online(room) == 2


def test_a_name_taken_and_kept(shared, client, room) -> None:
    ann = client(shared, room, name="Ann")
    assert ann.rename("Anna") == ann.name == "Anna"
    ann.say(room, "who am I?")
    assert ann.history(room).messages[-1].name == "Anna"


def test_next_without_anything(shared, client, room) -> None:
    ann = client(shared, room)
    began = time.monotonic()
    assert ann.next(timeout=0) is None
    assert time.monotonic() - began < 1
    assert ann.next(timeout=0.3) is None
    assert 0.3 <= time.monotonic() - began < 2


def test_leaving_and_joining_again(shared, client, room) -> None:
    ann, bo = client(shared, room), client(shared, room)
    bo.leave(room)
    assert bo.rooms == []
    ann.say(room, "without Bo")
    assert bo.next(timeout=0.2) is None
    with pytest.raises(Refused, match="unknown_room"):
        bo.say(room, "not heard")
    bo.join(room)
    assert bo.next(timeout=5).text == "without Bo"


def test_unicode_names_of_rooms_are_one(shared, client) -> None:
    ann, bo = client(shared, "caf\u00e9"), client(shared, "cafe\u0301")
    ann.say("cafe\u0301", "one room")
    assert next(bo.messages()).text == "one room"


# -- refusals


@pytest.mark.parametrize(
    ("text", "code"), [("x" * 201, "too_long"), ("  ", "bad"), ("\x00", "bad")]
)
def test_what_is_refused_for_good(shared, client, room, text: str, code: str) -> None:
    ann = client(shared, room)
    with pytest.raises(Refused) as refused:
        ann.say(room, text)
    assert (refused.value.code, refused.value.retry_ms) == (code, None)
    assert refused.value.cid
    assert ann.say(room, "still here").seq == 1


def test_what_others_said_cannot_be_changed(shared, client, room) -> None:
    ann, bo = client(shared, room), client(shared, room)
    sent = ann.say(room, "mine")
    with pytest.raises(Refused, match="denied"):
        bo.edit(room, sent.seq, "yours")
    with pytest.raises(Refused, match="denied"):
        bo.request({"type": "moderate", "room": room, "action": "mute", "uid": ann.uid})


def test_the_rate_is_waited_for_or_refused(make_daemon, client) -> None:
    rooms = "{once: {limits: {burst: 1, every: 1h}}}"
    daemon = make_daemon(limits__burst=2, limits__every="400ms", rooms=rooms)
    bot = client(daemon, "lobby")
    began = time.monotonic()
    for number in range(4):
        assert bot.say("lobby", str(number)).seq == number + 1
    assert time.monotonic() - began > 0.7
    other = client(daemon, "once")
    other.say("once", "the only one")
    before = daemon.metrics()["wsd_refused_total.rate"]
    for _ in range(10):  # trying again too early, which the server would punish, is left undone
        with pytest.raises(Refused) as refused:
            other.say("once", "never", timeout=10)
        assert refused.value.code == "rate"
        assert refused.value.retry_ms is not None
        assert 3_000_000 < refused.value.retry_ms <= 3_600_000
    assert daemon.metrics()["wsd_refused_total.rate"] == before + 1


def test_a_room_that_cannot_be(shared, client, room) -> None:
    new = client(shared)
    with pytest.raises(Refused, match="bad"):
        new.join("no such name")
    new.join(room)
    with pytest.raises(Refused, match="bad"):
        new.join("no such name")
    assert new.rooms == [room]
    assert new.say(room, "undisturbed").seq == 1


def test_a_name_that_nobody_may_take(shared) -> None:
    with Client(shared.url, name="x") as chat, pytest.raises(Refused, match="name_bad"):
        chat.join("lobby")


# -- who it is


def test_the_token_file_is_who_this_is(shared, client, room, tmp_path: Path) -> None:
    kept = tmp_path / "bot.token"
    one = client(shared, room, name="Bot", token_file=kept)
    uid = one.uid
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    one.rename("Robot")
    one.close()
    two = client(shared, room, token_file=kept)
    assert (two.uid, two.name) == (uid, "Robot")
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["bot.token"]


def test_a_token_that_is_not_the_servers_makes_a_new_guest(
    shared, client, room, tmp_path: Path
) -> None:
    kept = tmp_path / "bot.token"
    one = client(shared, room, token_file=kept)
    forged = kept.read_text().strip()[:-4] + "AAAA"
    kept.write_text(forged)
    two = client(shared, room, token_file=kept)
    assert two.uid != one.uid
    assert kept.read_text().strip() != forged


def test_a_token_file_that_cannot_be_kept_is_no_secret(shared, room, tmp_path: Path) -> None:
    with (
        Client(shared.url, token_file=tmp_path / "missing" / "token") as chat,
        pytest.raises(FileNotFoundError),
    ):
        chat.join(room)
    with pytest.raises(IsADirectoryError):
        Client(shared.url, token_file=tmp_path)


# -- ways to the daemon


def test_tls_and_a_unix_socket(make_daemon, tmp_path: Path) -> None:
    good, other = make(tmp_path, "localhost"), make(tmp_path, "localhost", name="other")
    path = tmp_path / "chat.sock"
    daemon = make_daemon(
        listen=f'[{{address: "127.0.0.1:0", tls: {good.yaml}}}, "unix:{path}"]', workers=1
    )
    url = f"https://localhost:{daemon.port}"
    with Client(url, tls=good.client()) as ann, Client(f"unix:{path}") as bo:
        for chat in (ann, bo):
            chat.join("lobby", timeout=10)
        for number in range(50):
            ann.say("lobby", f"{number} " + "x" * 900)
        came = [bo.next(timeout=5).text for _ in range(50)]
        assert [text.split()[0] for text in came] == [str(number) for number in range(50)]
        bo.say("lobby", "secretly")
        assert next(ann.messages()).text == "secretly"
    for context in (None, other.client()):  # what the system trusts, and somebody else
        with Client(url, tls=context) as chat, pytest.raises(Stopped, match="certificate"):
            chat.join("lobby")
    with (
        Client(url.replace("localhost", "127.0.0.1"), tls=good.client()) as chat,
        pytest.raises(Stopped, match="certificate"),
    ):
        chat.join("lobby")
    daemon.wait_for(lambda: daemon.metrics()["wsd_closed_total.client_closed"] == 2, "goodbyes")


def test_an_address_that_is_not_wsds_ends_it(shared) -> None:
    with Client(f"{shared.url}elsewhere") as chat:
        with pytest.raises(Stopped) as stopped:
            chat.join("lobby")
        assert stopped.value.code == 404
        with pytest.raises(Stopped):
            chat.next(timeout=0)


def test_nobody_there(client) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with Client(f"http://127.0.0.1:{port}") as chat:
        with pytest.raises(TimedOut):
            chat.join("lobby", timeout=0.3)
        assert chat.rooms == []
        with pytest.raises(TimeoutError):
            chat.history("lobby", timeout=0.1)
        assert chat.next(timeout=0.1) is None
        chat.close()
        with pytest.raises(ClientError, match="closed"):
            chat.join("lobby")
        assert list(chat) == []


def test_the_clock_and_the_sleep_can_be_the_callers() -> None:
    """Half an hour without a server, in no time."""
    now, slept = 0.0, []

    def sleep(seconds: float) -> None:
        nonlocal now
        slept.append(seconds)
        now += seconds

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    rng = random.Random(5)
    url = f"http://127.0.0.1:{port}"
    with Client(url, clock=lambda: now, sleep=sleep, rng=rng) as chat:
        assert chat.next(timeout=1800) is None
    assert 1799 < sum(slept) < 1801
    assert 120 < len(slept) < 300  # 10 s on average
    assert max(slept) <= 20


def test_who_looks_in_only_now_and_then_has_said_hello(make_daemon, client) -> None:
    """The call in which a connection is opened may be over before anything else happens on it."""
    daemon = make_daemon(timeouts__hello="300ms", workers=1)
    bot = client(daemon)
    bot.next(timeout=0)
    time.sleep(1.5)
    bot.join("lobby", timeout=5)
    assert daemon.metrics()["wsd_closed_total.hello_timeout"] == 0
