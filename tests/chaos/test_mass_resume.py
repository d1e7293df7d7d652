"""Everybody comes back at once, each with the same hundred messages missed."""

from __future__ import annotations

import asyncio
import random
import re
import resource
import signal
import time
from pathlib import Path

from tests.chaos.checker import Enter, Event, check, read_log
from tests.chaos.client import Client, World
from tests.chaos.faults import Tree, _signal

CLIENTS = 5000
MISSED = 100
RECOVER_MAX = 500


def test_everybody_comes_back_at_once(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        asyncio.run(come_back(tmp_path, min(CLIENTS, hard - 500)))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def come_back(tmp_path: Path, number: int) -> None:
    tree = Tree(tmp_path / "wsd", workers=3, recover_max=RECOVER_MAX, chaos={"count_reads": True})
    try:
        await tree.start()
        world = World(tree.port, random.Random(1))
        sender = Client(world, "sender", ["lobby"])
        clients = [Client(world, f"c{n}", ["lobby"]) for n in range(number)]
        lives = [asyncio.create_task(sender.live())]
        for start in range(0, number, 500):  # the first coming is not the test
            group = clients[start : start + 500]
            lives += [asyncio.create_task(client.live()) for client in group]
            await until(lambda group=group: all(client.welcomed for client in group), 60)
        await until(lambda: sender.welcomed, 10)

        world.held = asyncio.Event()  # nobody but the sender comes back before this is set
        for client in clients:
            assert client.wire is not None
            client.wire.abort()
        for _ in range(MISSED):
            while not sender.say("lobby"):
                await asyncio.sleep(0.005)
        await until(lambda: sender.settled, 10)
        reads_before = len(re.findall(r" hubread ", tree.output))
        for pid in tree.workers():
            _signal(pid, signal.SIGKILL)
        await asyncio.sleep(0.2)
        began = time.monotonic()
        world.held.set()
        await until(lambda: all(client.settled for client in clients), 60)
        took_s = time.monotonic() - began
        kinds = re.findall(r" hubread .*kind=(\w+)", tree.output)[reads_before:]

        world.stopping = True
        for client in [sender, *clients]:
            if client.wire is not None:
                client.wire.abort()
        await asyncio.wait(lives, timeout=20)
        assert await tree.stop() == 0
    finally:
        tree.kill_all()
    print(
        f"{number} clients back in {took_s:.1f} s; the hub answered {kinds.count('read')} reads "
        f"and {kinds.count('subscribe')} subscriptions"
    )
    for client in clients:
        history = client.seats["lobby"].history
        entered = max(at for at, entry in enumerate(history) if isinstance(entry, Enter))
        entry = history[entered]
        assert isinstance(entry, Enter)
        assert (entry.recovered, entry.follows) == (True, MISSED), client.name
        assert sum(isinstance(e, Event) for e in history[entered:]) == MISSED, client.name
    notes: list[str] = []
    counts = check(
        [sender.as_sender()], [client.as_receiver() for client in clients],
        read_log(tree.state / "wsd.db"), RECOVER_MAX, notes,
    )  # fmt: skip
    assert counts.total() == 0, notes
    # One for each worker and position, and a few subscriptions of those workers.
    assert len(kinds) < 50
    assert not tree.crashes()


async def until(condition, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "not in time"
        await asyncio.sleep(0.05)
