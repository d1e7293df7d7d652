"""A thousand members of one room, and senders who try again: once, in order, to everybody."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from pathlib import Path

import pytest

from tests.support.clients import V1
from tests.support.raw import Crowd, command

TICKS = os.sysconf("SC_CLK_TCK")


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def rss_mib(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024


def processes(daemon) -> dict[str, int]:
    return {"master": daemon.pid, "hub": daemon.pid_of("hub")} | {
        f"worker {n}": daemon.pid_of(f"worker {n}") for n in range(len(daemon.workers()))
    }


def talk(crowd: Crowd, senders: int, each: int, window: int = 8) -> dict[str, float]:
    """``senders`` of the crowd say ``each`` messages, at most ``window`` of them unanswered.

    Returns the seconds from each message's sending to its ``ok``.
    """
    sent = [0] * senders
    answered = [0] * senders
    read = [len(m.replies) for m in crowd.members[:senders]]
    began: dict[str, float] = {}
    took: dict[str, float] = {}

    def step() -> bool:
        for number in range(senders):
            member = crowd.members[number]
            for reply in member.replies[read[number] :]:
                value = json.loads(reply)
                assert value["type"] != "error", value
                if value["type"] == "ok":
                    answered[number] += 1
                    name = f"{number}.{value['id']}"
                    took[name] = time.monotonic() - began[name]
            read[number] = len(member.replies)
            while sent[number] < each and sent[number] - answered[number] < window:
                sent[number] += 1
                name = f"{number}.{sent[number]}"
                began[name] = time.monotonic()
                member.sock.send(command(
                    "say", id=sent[number], room="lobby", text=f"message {name} " + "x" * 40,
                    cid=name,
                ))  # fmt: skip
        return min(answered) == each

    crowd.until(step, "every message is acknowledged")
    return took


def assert_same_for_all(crowd: Crowd, count: int) -> list[dict]:
    """Every member has the same ``count`` events, each once, in the order of their numbers."""
    crowd.until(
        lambda: all(len(m.events) >= count for m in crowd.members), f"{count} events for everybody"
    )
    first = crowd.members[0].events
    assert [json.loads(event)["seq"] for event in first] == list(range(1, count + 1))
    different = [m.number for m in crowd.members if m.events != first]
    assert different == []
    return [json.loads(event) for event in first]


@pytest.fixture
def crowd_of(request):
    crowds: list[Crowd] = []

    def make(daemon, size: int) -> Crowd:
        crowds.append(Crowd(daemon.port, "lobby", size))
        crowds[-1].welcomed()
        return crowds[-1]

    yield make
    for crowd in crowds:
        crowd.close()


def test_a_thousand_members_get_each_message_once_and_in_order(make_daemon, crowd_of):
    daemon = make_daemon()
    pids = processes(daemon)
    empty = {name: rss_mib(pid) for name, pid in pids.items()}
    crowd = crowd_of(daemon, 1000)
    shares = sorted(metric(daemon, "wsd_connections").values())[-2:]
    before = {name: cpu_s(pid) for name, pid in pids.items()}
    began = time.monotonic()
    took = sorted(talk(crowd, senders=8, each=50).values())
    events = assert_same_for_all(crowd, 400)
    seconds = time.monotonic() - began
    used = {name: cpu_s(pid) - before[name] for name, pid in pids.items()}
    for sender in range(8):  # one sender's messages keep their order
        mine = [e["text"].split()[1] for e in events if e["text"].startswith(f"message {sender}.")]
        assert mine == [f"{sender}.{n}" for n in range(1, 51)]
    copies = 400 * 1000
    print(f"\n1,000 members on 2 workers ({shares}), 400 messages, {copies:,} deliveries in "
          f"{seconds:.2f} s; acknowledged after p50 {took[200] * 1e3:.0f} ms, "
          f"p99 {took[396] * 1e3:.0f} ms")  # fmt: skip
    for name, pid in pids.items():
        print(f"  {name:<9} CPU {used[name]:5.2f} s, RSS {rss_mib(pid):5.1f} MiB "
              f"({empty[name]:.1f} before anybody came)")  # fmt: skip
    print(f"  CPU of a delivery: {sum(used.values()) / copies * 1e6:.2f} µs")
    assert processes(daemon) == pids
    assert max(rss_mib(pid) for pid in pids.values()) < 150
    assert max(shares) < 750, "the connections are not spread over the workers"


def metric(daemon, name: str) -> dict[str, float]:
    text = daemon.admin("/metrics")[1].decode()
    return {
        process: float(value)
        for process, value in re.findall(rf'^{name}{{process="([^"]+)"}} (\S+)$', text, re.M)
    }


def test_a_retry_with_the_same_cid_is_one_message(shared, room, join):
    ann = join(shared, room)
    first = ann.say(room, "once", cid="a1")
    again = ann.say(room, "once", cid="a1")
    assert (again["seq"], again["time"]) == (first["seq"], first["time"])
    # From another connection of the same guest, at whichever worker, even with another text.
    for _ in range(4):
        other = join(shared, room, token=ann.token)
        assert other.say(room, "changed", cid="a1")["seq"] == first["seq"]
    # The same cid of somebody else is something else.
    bo = join(shared, room)
    assert bo.say(room, "mine", cid="a1")["seq"] == 2
    texts = [m["text"] for m in ann.ask("history", room=room)["messages"]]
    assert texts == ["once", "mine"]


def test_many_at_once_with_the_same_cid_are_one_message(shared, room, join):
    clients = [join(shared, room)]
    clients += [join(shared, room, token=clients[0].token) for _ in range(5)]
    for client in clients:
        for number in range(20):
            client.send("say", id=number + 10, room=room, text=f"m{number}", cid=f"c{number}")
    answers = [
        [client.take("ok", when=lambda v, n=n: v["id"] == n + 10)["seq"] for n in range(20)]
        for client in clients
    ]
    assert all(answer == answers[0] for answer in answers)
    assert sorted(answers[0]) == list(range(1, 21))


def test_a_retry_after_the_hub_was_killed_is_one_message(make_daemon, join):
    daemon = make_daemon()
    ann = join(daemon, "lobby")
    for number in range(5):
        seq = ann.say("lobby", f"m{number}", cid=f"c{number}")["seq"]
        os.kill(daemon.pid_of("hub"), signal.SIGKILL)
        assert ann.say("lobby", f"m{number}", cid=f"c{number}")["seq"] == seq
        other: V1 = join(daemon, "lobby", token=ann.token)
        assert other.say("lobby", f"m{number}", cid=f"c{number}")["seq"] == seq
    assert [m["text"] for m in ann.ask("history", room="lobby")["messages"]] == [
        f"m{number}" for number in range(5)
    ]


def test_the_hub_is_killed_again_and_again_under_load(make_daemon, crowd_of):
    """What was acknowledged is there, nothing twice, and nobody's connection notices."""
    daemon = make_daemon()
    crowd = crowd_of(daemon, 60)
    kills, outages = 5, []
    for kill in range(kills):
        os.kill(daemon.pid_of("hub"), signal.SIGKILL)
        killed_at = time.monotonic()
        for number in range(8):
            member = crowd.members[number]
            for n in range(20):
                member.sock.send(command(
                    "say", id=kill * 100 + n, room="lobby", text="x", cid=f"{number}.{kill}.{n}"
                ))  # fmt: skip
        first = (kill * 160) + 1
        crowd.until(lambda first=first: len(crowd.members[0].events) >= first, "the first event")
        outages.append(time.monotonic() - killed_at)
        total = (kill + 1) * 160
        crowd.until(
            lambda total=total: all(len(m.events) >= total for m in crowd.members), "all events"
        )
    assert_same_for_all(crowd, kills * 160)
    crowd.until(
        lambda: all(
            sum(b'"type":"ok"' in reply for reply in m.replies) == kills * 20
            for m in crowd.members[:8]
        ),
        "everything is acknowledged",
    )
    assert not any(m.gone or m.closed for m in crowd.members)
    shown = ", ".join(f"{seconds:.2f}" for seconds in outages)
    print(f"\nfrom kill -9 of the hub to the next event: {shown} s")
    assert max(outages) < 3
