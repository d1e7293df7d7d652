"""Fixtures of the tests that talk to the real daemon over real sockets."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.support.clients import LIBRARIES, V1, Peer, connect, why_missing
from tests.support.daemon import Daemon
from tests.support.proxies import Proxy
from tests.support.raw import Raw

_rooms = itertools.count()


def assert_no_bug_met(daemon: Daemon) -> None:
    """Whatever a test did, no process may have met an exception that nobody expected."""
    assert "Traceback" not in daemon.output, daemon.output
    assert "unknown_reason" not in daemon.output, daemon.output  # one that wsd/reasons.py lacks


@pytest.fixture
def make_daemon(make_daemon: Callable[..., Daemon]) -> Iterator[Callable[..., Daemon]]:
    made: list[Daemon] = []

    def make(config: str = "", **keys: object) -> Daemon:
        made.append(make_daemon(config, **keys))
        return made[-1]

    yield make
    for daemon in made:
        assert_no_bug_met(daemon)


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """One daemon for the tests that only talk; each has a room of its own in it."""
    daemon = Daemon(
        tmp_path_factory.mktemp("shared") / "wsd",
        echo="true",
        history__replay=5,
        history__recover_max=20,
        history__page_max=10,
        limits__text=200,
    ).start()
    pids = sorted([daemon.pid, daemon.pid_of("hub"), *daemon.workers()])
    yield daemon
    after = sorted([daemon.pid, daemon.pid_of("hub"), *daemon.workers()])
    status = daemon.stop()
    assert after == pids, "a process of the daemon was replaced while tests only talked"
    assert status == 0
    assert_no_bug_met(daemon)


@pytest.fixture
def raw(shared: Daemon) -> Iterator[Callable[..., Raw]]:
    """Opens plain sockets to the shared daemon; they are closed when the test ends."""
    opened: list[Raw] = []

    def make(**options: Any) -> Raw:
        opened.append(Raw((shared.host, shared.port), **options))
        return opened[-1]

    yield make
    for one in opened:
        one.sock.close()


@pytest.fixture
def room() -> str:
    """The name of a room that no other test is in."""
    return f"room{next(_rooms)}"


@pytest.fixture(params=LIBRARIES)
def library(request: pytest.FixtureRequest) -> str:
    """Each client library in turn."""
    missing = why_missing(request.param)
    if missing:
        pytest.skip(missing)
    return request.param


@pytest.fixture
def join() -> Iterator[Callable[..., V1]]:
    """``join(daemon, room)``: a client that has said hello.  They are closed when the test ends."""
    clients: list[V1] = []

    def make(
        daemon: Daemon, *rooms: str, library: str = "websockets", after: str | None = None,
        **fields: object,
    ) -> V1:  # fmt: skip
        client = V1(daemon.ws(), library=library)
        clients.append(client)
        return client.hello(dict.fromkeys(rooms, after) or None, **fields)

    yield make
    for client in clients:
        client.close()


@pytest.fixture
def visit() -> Iterator[Callable[..., V1]]:
    """``visit(proxy, room)``: a client in that room.  They are closed when the test ends."""
    clients: list[V1] = []

    def visit(proxy: Proxy, room: str, library: str = "websockets") -> V1:
        clients.append(V1(proxy.ws(), library=library, authority=proxy.authority))
        return clients[-1].hello({room: None})

    yield visit
    for client in clients:
        client.close()


@pytest.fixture
def open_peer() -> Iterator[Callable[..., Peer]]:
    """``open_peer(url, subprotocol)``: a connection that is closed when the test ends."""
    peers: list[Peer] = []

    def make(url: str, subprotocol: str | None = None, **options: str) -> Peer:
        peers.append(connect(url, subprotocol, **options))
        return peers[-1]

    yield make
    for peer in peers:
        peer.close()
