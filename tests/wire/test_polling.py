"""Long polls with a connection for each request, four workers, and workers that die: nothing is
lost, nothing comes twice."""

from __future__ import annotations

import http.client
import json
import os
import random
import signal
import threading
import time
from typing import Any

import pytest

from tests.support.daemon import Daemon

MESSAGES = 10_000
POLLERS = 3
AT_ONCE = 4
KILL_EVERY_S = 0.35


class Visitor:
    """Asks again until an answer comes, each time over another connection."""

    def __init__(self, daemon: Daemon) -> None:
        self._address = daemon.host, daemon.port
        self.broken = 0
        self.requests = 0

    def ask(self, path: str, value: Any) -> Any:
        while True:
            self.requests += 1
            connection = http.client.HTTPConnection(*self._address, timeout=10)
            try:
                connection.request("POST", path, json.dumps(value), {"Connection": "close"})
                answer = connection.getresponse()
                body = answer.read()
                if answer.status == 200:
                    return json.loads(body)
            except (OSError, http.client.HTTPException):
                pass
            finally:
                connection.close()
            self.broken += 1
            time.sleep(0.02)


def send_all(sender: Visitor) -> None:
    (welcome,) = sender.ask("/send", {"commands": [{"type": "hello", "name": "Sender"}]})
    waiting = [
        {"type": "say", "room": "lobby", "text": str(number), "cid": f"c{number}"}
        for number in range(MESSAGES)
    ]
    while waiting:
        part = waiting[:AT_ONCE]
        replies = sender.ask("/send", {"token": welcome["token"], "commands": part})
        done = 0
        while done < len(part) and replies[done]["type"] == "ok":
            done += 1
        assert all(reply["type"] == "ok" or "retry_ms" in reply for reply in replies), replies
        waiting = waiting[done:]


def poll_all(poller: Visitor, got: list[str]) -> None:
    token, position, name = "", None, "Poller"
    while len(got) < MESSAGES:
        hello = {"type": "hello", "token": token, "name": name, "rooms": {"lobby": position}}
        welcome, *events = poller.ask("/poll", {**hello, "wait": 5})
        token, entry = welcome["token"], welcome["rooms"]["lobby"]
        assert position is None or entry["recovered"], entry
        messages = [event for event in events if event["type"] == "message"]
        assert len(messages) == entry["follows"]
        got += [message["text"] for message in messages]
        position = entry["position"]


@pytest.mark.parametrize("killing", [False, True], ids=["quiet", "workers die"])
def test_ten_thousand_messages(make_daemon: Any, killing: bool) -> None:
    daemon: Daemon = make_daemon(workers=4, history__recover_max=MESSAGES)
    sender, pollers = Visitor(daemon), [Visitor(daemon) for _ in range(POLLERS)]
    got: list[list[str]] = [[] for _ in pollers]
    threads = [
        threading.Thread(target=poll_all, args=pair, daemon=True)
        for pair in zip(pollers, got, strict=True)
    ]
    for thread in threads:
        thread.start()
    daemon.wait_for(lambda: all(poller.requests for poller in pollers), "the first polls")
    time.sleep(0.3)
    sending = threading.Thread(target=send_all, args=(sender,), daemon=True)
    sending.start()
    kills = 0
    deadline = time.monotonic() + 120
    while any(t.is_alive() for t in (sending, *threads)) and time.monotonic() < deadline:
        time.sleep(KILL_EVERY_S)
        workers = daemon.workers()
        if killing and sending.is_alive() and workers:
            os.kill(random.choice(workers), signal.SIGKILL)
            kills += 1
    broken = sum(visitor.broken for visitor in (sender, *pollers))
    polls = sum(poller.requests for poller in pollers)
    print(f"\n{polls} polls, {sender.requests} sends, {kills} kills, {broken} asked again")
    assert [len(texts) for texts in got] == [MESSAGES] * POLLERS
    expected = [str(number) for number in range(MESSAGES)]
    assert all(texts == expected for texts in got)
    assert kills > 2 if killing else not kills
