"""Fixtures of the client's tests: daemons that come back on their port, and clients that go."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.support.daemon import Daemon
from wsd.client import Client

_rooms = itertools.count()


class Hasty(random.Random):
    """Comes back ten times as soon as others, so that the tests take less time."""

    def random(self) -> float:
        return super().random() / 10


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """One daemon for the tests that only talk; each has a room of its own in it."""
    daemon = Daemon(
        tmp_path_factory.mktemp("client") / "wsd",
        history__replay=5,
        history__recover_max=20,
        limits__text=200,
    ).start()
    yield daemon
    assert daemon.stop() == 0
    assert "Traceback" not in daemon.output, daemon.output


@pytest.fixture
def steady(make_daemon: Callable[..., Daemon]) -> Callable[..., Daemon]:
    """Starts a daemon that has the same port after each ``start``."""

    def make(**keys: object) -> Daemon:
        daemon = make_daemon(**keys)
        daemon.keys["listen"] = f'["127.0.0.1:{daemon.port}"]'
        return daemon

    return make


@pytest.fixture
def room() -> str:
    return f"room{next(_rooms)}"


@pytest.fixture
def client() -> Iterator[Callable[..., Client]]:
    """``client(daemon, "lobby", name="Ann")``: in the rooms named; closed when the test ends."""
    made: list[Client] = []

    def make(daemon: Daemon, *rooms: str, **options: Any) -> Client:
        made.append(Client(daemon.url, **{"rng": Hasty()} | options))
        for room in rooms:
            made[-1].join(room, timeout=10)
        return made[-1]

    yield make
    for one in made:
        one.close()
