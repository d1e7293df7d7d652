"""The daemon's listening sockets, bound for real."""

from __future__ import annotations

import os
import resource
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from wsd.config import Listen, Settings
from wsd.listeners import CannotListen, Listeners

Opened = Callable[..., Listeners]


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Opened]:
    made: list[Listeners] = []

    def open_(*listen: Listen, workers: int = 2) -> Listeners:
        made.append(Listeners())
        admin = (Listen(path=str(tmp_path / "admin.sock")),)
        settings = Settings(listen=listen, admin=admin, workers=workers)
        try:
            made[-1].open(settings, str(tmp_path / "hub.sock"))
        except CannotListen:
            made[-1].close()
            raise
        return made[-1]

    yield open_
    for listeners in made:
        listeners.close()


TCP = Listen("127.0.0.1", 0)


def port(listeners: Listeners) -> int:
    """Of the first address."""
    number: int = listeners.openings(0)[0].listener.getsockname()[1]
    return number


def test_each_worker_has_its_own_of_each_address_and_shares_the_rest(
    opened: Opened, tmp_path: Path
) -> None:
    listeners = opened(TCP, Listen(path=str(tmp_path / "chat.sock")), Listen("::1", 0))
    first, second = listeners.openings(0), listeners.openings(1)
    assert [opening.place for opening in first] == [0, 1, 2, None]
    same = [a.listener is b.listener for a, b in zip(first, second, strict=True)]
    assert same == [False, True, False, True]
    ports = [a.listener.getsockname()[1] for a in (first[0], second[0])]
    assert ports[0] == ports[1]
    assert listeners.addresses() == [
        f"http://127.0.0.1:{ports[0]}/",
        f"unix:{tmp_path}/chat.sock",
        f"http://[::1]:{first[2].listener.getsockname()[1]}/",
    ]


def test_what_cannot_be_had_is_named_and_nothing_is_left_behind(
    opened: Opened, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1]
        with pytest.raises(CannotListen, match=rf"^127.0.0.1:{number}: Address already in use$"):
            opened(TCP, Listen("127.0.0.1", number))
    with pytest.raises(CannotListen, match=r"^192.0.2.77:80: Cannot assign requested address$"):
        opened(Listen("192.0.2.77", 80))


def test_closing_removes_the_files(opened: Opened, tmp_path: Path) -> None:
    listeners = opened(TCP, Listen(path=str(tmp_path / "chat.sock")))
    assert sorted(os.listdir(tmp_path)) == ["admin.sock", "chat.sock", "hub.sock"]
    listeners.close()
    assert os.listdir(tmp_path) == []


def test_su_13_more(opened: Opened) -> None:
    listeners = opened(TCP, Listen("::1", 0))
    listeners.grow(2)
    sockets = {listeners.openings(number)[0].listener for number in range(4)}
    assert len(sockets) == 4
    assert {sock.getsockname()[1] for sock in sockets} == {port(listeners)}


def test_when_there_cannot_be_more_of_one_there_are_not_more_of_any(opened: Opened) -> None:
    """A socket that nobody accepts from would still be given its share of connections."""
    listeners = opened(TCP, Listen("::1", 0))
    before = os.listdir("/proc/self/fd")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = max(int(fd) for fd in before) + 30
    enough_for_the_first = (limit - len(before)) * 2 // 3
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    try:
        with pytest.raises(OSError, match="Too many open files"):
            listeners.grow(enough_for_the_first)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert os.listdir("/proc/self/fd") == before


def test_su_12_fewer(opened: Opened) -> None:
    listeners = opened(TCP, workers=3)
    address = ("127.0.0.1", port(listeners))
    listeners.steer(1)
    clients = [socket.create_connection(address) for _ in range(20)]
    remaining = listeners.openings(0)[0].listener
    accepted = [remaining.accept()[0] for _ in clients]
    listeners.shrink(1)
    clients.append(socket.create_connection(address))
    accepted.append(remaining.accept()[0])
    assert listeners.openings(2)[0].listener is remaining
    for sock in (*clients, *accepted):
        sock.close()


def test_nobody_new_is_let_in_at_the_end(opened: Opened, tmp_path: Path) -> None:
    listeners = opened(TCP)
    number = port(listeners)
    listeners.close_public()
    listeners.close_public()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", number))
    assert [opening.place for opening in listeners.openings(0)] == [None]
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(tmp_path / "admin.sock"))


def test_a_child_keeps_what_it_needs(opened: Opened) -> None:
    listeners = opened(TCP)
    own = {opening.listener for opening in listeners.openings(1)}
    other = listeners.openings(0)[0].listener
    listeners.close_others(own)
    assert all(sock.fileno() >= 0 for sock in own)
    assert (other.fileno(), listeners.hub and listeners.hub.fileno()) == (-1, -1)
