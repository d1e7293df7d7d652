"""Each event once and in order, whatever dies: the client with the real daemon."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from tests.support.daemon import Daemon
from wsd.client import Client, Gap, Message, Sent

TEXTS = [f"message {number}" for number in range(200)]


class Bot:
    """Says TEXTS, one after the other, in a thread of its own."""

    def __init__(self, chat: Client, pause_s: float) -> None:
        self.chat = chat
        self.sent: list[Sent] = []
        self._pause_s = pause_s
        self._thread = threading.Thread(target=self._talk, daemon=True)
        self._thread.start()

    def _talk(self) -> None:
        for text in TEXTS:
            self.sent.append(self.chat.say("lobby", text, timeout=30))
            time.sleep(self._pause_s)

    def done(self) -> list[Sent]:
        self._thread.join(40)
        assert not self._thread.is_alive(), f"{len(self.sent)} were said"
        return self.sent


@contextmanager
def trouble(daemon: Daemon, bot: Bot, harms: list[Callable[[Daemon], None]]) -> Iterator[None]:
    """Does the first harm when 60 messages have been said, and each other one 60 later, in a
    thread beside what is read meanwhile."""

    def do() -> None:
        for number, harm in enumerate(harms, 1):
            while len(bot.sent) < 60 * number:
                time.sleep(0.005)
            harm(daemon)
            done.append(harm)

    done: list[Callable[[Daemon], None]] = []
    thread = threading.Thread(target=do, daemon=True)
    thread.start()
    yield
    thread.join(30)
    assert done == harms


def read(chat: Client, count: int) -> list[Message]:
    """The next ``count`` events, which are messages."""
    came = []
    for _ in range(count):
        event = chat.next(timeout=30)
        assert isinstance(event, Message), event
        came.append(event)
    return came


def assert_each_once_and_in_order(came: list[Message], sent: list[Sent]) -> None:
    assert [event.text for event in came] == TEXTS
    assert [event.seq for event in came] == list(range(1, len(TEXTS) + 1))
    assert [one.seq for one in sent] == [event.seq for event in came]
    assert not any(event.replay for event in came)


def kill_all(daemon: Daemon) -> None:
    daemon.kill()
    daemon.start()


def restart(daemon: Daemon) -> None:
    assert daemon.stop() == 0
    daemon.start()


def kill(*names: str) -> Callable[[Daemon], None]:
    def harm(daemon: Daemon) -> None:
        for name in names:
            os.kill(daemon.pid_of(name), signal.SIGKILL)

    return harm


@pytest.mark.parametrize(
    "harms",
    [[kill("hub"), kill("worker 0", "worker 1")], [kill_all, restart]],
    ids=["hub and workers killed", "daemon killed and restarted"],
)
def test_nothing_is_lost_or_doubled(steady, client, harms: list[Callable[[Daemon], None]]) -> None:
    daemon = steady()
    reader = client(daemon, "lobby", name="Reader")
    bot = Bot(client(daemon, "lobby", name="Bot"), 0.002)
    with trouble(daemon, bot, harms):
        came = read(reader, len(TEXTS))
    assert_each_once_and_in_order(came, bot.done())
    assert reader.next(timeout=0.2) is None


def test_what_was_stored_without_an_answer_is_not_stored_twice(
    make_daemon, client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hub or a worker dies between the commit and the ``ok``, at one message of ten."""
    points = ("hub.after_commit", "worker.mid_write")
    monkeypatch.setenv("WSD_FAILPOINT", ",".join(f"{point}:kill:0.05" for point in points))
    daemon = make_daemon()
    monkeypatch.delenv("WSD_FAILPOINT")
    bot = client(daemon, "lobby", name="Bot")
    sent = [bot.say("lobby", text, timeout=60) for text in TEXTS[:20]]
    while not all(f"failpoint name={point}" in daemon.output for point in points):
        sent.append(bot.say("lobby", "once more", timeout=60))
    assert [one.seq for one in sent] == list(range(1, len(sent) + 1))
    came = read(bot, len(sent))
    assert [event.text for event in came[:20]] == TEXTS[:20]


def test_a_message_is_safe_to_say_again_in_another_run(shared, client, room, tmp_path) -> None:
    """By the same guest with the same cid: a backend that died may say what it is unsure of."""
    options = {"token_file": tmp_path / "token", "name": "Backend"}
    first = client(shared, room, **options)
    sent = first.say(room, "order 17 is shipped", cid="order-17")
    first.close()
    again = client(shared, room, **options)
    repeated = again.say(room, "order 17 is shipped", cid="order-17")
    assert (repeated.seq, repeated.repeated, repeated.differs) == (sent.seq, True, False)
    assert again.say(room, "something else", cid="order-17").differs


# -- what cannot be made up for is told


def test_another_log_is_told(steady, client) -> None:
    daemon = steady(durability="memory")
    reader = client(daemon, "lobby")
    bot = client(daemon, "lobby", name="Bot")
    for text in TEXTS[:3]:
        bot.say("lobby", text)
    read(reader, 3)
    had = reader.position("lobby")
    kill_all(daemon)
    assert bot.say("lobby", "in another life", timeout=30).seq == 1
    gap, message = reader.next(timeout=30), reader.next(timeout=30)
    assert isinstance(gap, Gap)
    assert (gap.room, gap.had, gap.missed) == ("lobby", had, None)
    assert isinstance(message, Message)
    assert message.text == "in another life"
    assert reader.position("lobby") == f"{gap.now.split('.')[0]}.1"


def test_exactly_what_was_missed_since_a_position(shared, client, room) -> None:
    bot = client(shared, room, name="Bot")
    for number in range(30):
        bot.say(room, str(number))
    epoch = bot.position(room).split(".")[0]
    back = client(shared)
    back.join(room, after=f"{epoch}.10")  # recover_max is 20
    came = read(back, 20)
    assert [event.text for event in came] == [str(number) for number in range(10, 30)]
    assert not any(event.replay for event in came)
    assert back.position(room) == f"{epoch}.30"


def test_too_much_to_be_made_up_for_is_told(shared, client, room) -> None:
    bot = client(shared, room, name="Bot")
    for number in range(30):
        bot.say(room, str(number))
    epoch = bot.position(room).split(".")[0]
    late = client(shared)
    late.join(room, after=f"{epoch}.9")
    gap = late.next(timeout=5)
    assert gap == Gap(room=room, had=f"{epoch}.9", now=f"{epoch}.25", missed=16)
    came = read(late, 5)  # history.replay; new to this reader, and so no replay
    assert [(event.text, event.replay) for event in came] == [
        (str(n), False) for n in range(25, 30)
    ]
    # What is missing can be fetched.
    page = late.history(room, before=26, limit=16)
    assert [message.text for message in page.messages] == [str(n) for n in range(9, 25)]


def test_who_reads_nothing_keeps_little_and_misses_nothing(make_daemon, client) -> None:
    """Beyond ``max_events`` events are fetched again, when there is room for them."""
    daemon = make_daemon()
    bot = client(daemon, "lobby", "other", name="Bot", max_events=10)
    for text in TEXTS:
        bot.say("lobby", text)
    bot.say("other", "in between")
    assert bot._talk.waiting == 10
    came = [bot.next(timeout=10) for _ in range(len(TEXTS) + 1)]
    assert [event.text for event in came if event.room == "lobby"] == TEXTS
    assert [event.text for event in came if event.room == "other"] == ["in between"]
    assert bot.next(timeout=0.2) is None


def test_who_is_busy_for_long_comes_back(make_daemon, client) -> None:
    """A bot that computes does not answer pings: it loses its connection, and nothing by it."""
    daemon = make_daemon(ping__every="600ms", ping__timeout="300ms", timeouts__close="300ms")
    busy = client(daemon, "lobby", name="Busy")
    uid = busy.uid
    other = client(daemon, "lobby", name="Other")
    number = 0
    while not daemon.metrics()["wsd_closed_total.ping_timeout"]:
        other.say("lobby", TEXTS[number])
        number += 1
        time.sleep(0.05)
    assert [event.text for event in read(busy, number)] == TEXTS[:number]
    assert busy.uid == uid
