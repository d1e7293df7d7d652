"""The same bytes to all members: by a ring, or by a ``send`` each, and whoever cannot take them."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import ClassVar

import pytest

from wsd.chat.fanout import Fanout, Line
from wsd.net.connection import Connection, Flusher
from wsd.net.loop import Loop
from wsd.net.uring import FEWEST, LARGEST, Ring


class Peer:
    """A member with a connection of its own, and the other end of that."""

    def __init__(self, loop: Loop, flusher: Flusher) -> None:
        ours, self.sock = socket.socketpair()
        ours.setblocking(False)
        self.sock.setblocking(False)
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        self.reason = ""
        self.line = Connection(loop, flusher, ours, self)
        self.got = b""
        self.willing = True

    def on_data(self, data: bytes) -> None: ...

    def on_gone(self, reason: str) -> None:
        self.reason = reason

    def deliver(self, data: bytes) -> bool:
        if self.willing:
            self.line.write(data)
        return self.willing

    def read(self) -> bytes:
        while True:
            try:
                part = self.sock.recv(1 << 20)
            except BlockingIOError:
                return self.got
            if not part:
                return self.got
            self.got += part


class Hall:
    def __init__(self, count: int, ring: Ring | None) -> None:
        self.loop = Loop()
        self.flusher = Flusher()
        self.loop.at_turn_end.append(self.flusher.flush)
        self.peers = [Peer(self.loop, self.flusher) for _ in range(count)]
        self.fanout: Fanout[Peer] = Fanout(ring)

    def send(self, data: bytes) -> None:
        members: dict[Peer, Line] = {peer: peer.line for peer in self.peers}
        self.fanout.send(members, data)

    def close(self) -> None:
        for peer in self.peers:
            peer.line.abort("end")
            peer.sock.close()
        self.loop.close()


@pytest.fixture(params=["ring", "a send each"])
def hall(request: pytest.FixtureRequest) -> Iterator[Hall]:
    ring = Ring.open() if request.param == "ring" else None
    if ring is None and request.param == "ring":
        pytest.skip("this kernel has no io_uring, or forbids it")
    hall = Hall(FEWEST + 4, ring)
    yield hall
    hall.close()
    if ring is not None:
        ring.close()


def test_everybody_gets_it_at_once(hall: Hall) -> None:
    hall.send(b"one ")
    hall.send(b"two")
    assert [peer.read() for peer in hall.peers] == [b"one two"] * len(hall.peers)
    assert (hall.fanout.slow, hall.fanout.broken) == ([], [])


def test_behind_what_waits_already(hall: Hall) -> None:
    late = hall.peers[3]
    late.line.write(b"first, ")
    hall.send(b"second")
    assert late.read() == b""
    hall.loop.turn()
    assert late.read() == b"first, second"
    assert hall.peers[4].read() == b"second"


def test_whoever_takes_a_part_gets_the_rest_later(hall: Hall) -> None:
    data = bytes(range(256)) * (LARGEST // 256)
    hall.send(data)
    hall.send(b"and more")  # which must not come before the rest
    for peer in hall.peers:
        while len(peer.got) < len(data) + len(b"and more"):
            before = len(peer.got)
            peer.read()
            hall.loop.turn()
            assert len(peer.got) > before or peer.line.queued
        assert peer.got == data + b"and more"


def test_who_does_not_take_it_is_slow_and_gets_nothing(hall: Hall) -> None:
    slow = hall.peers[5]
    slow.line.write(b"waits")
    slow.willing = False
    hall.send(b"event")
    hall.loop.turn()
    assert hall.fanout.slow == [slow]
    assert slow.read() == b"waits"
    assert all(peer.read() == b"event" for peer in hall.peers if peer is not slow)


def test_who_is_gone_is_broken(hall: Hall) -> None:
    gone, aborted = hall.peers[0], hall.peers[1]
    gone.sock.close()
    aborted.line.abort("end")
    hall.send(b"event")
    assert hall.fanout.broken == [gone.line]
    assert all(peer.read() == b"event" for peer in hall.peers[2:])


class Secured(Connection):
    """Does more than to hand bytes to the kernel, as TLS does."""

    __slots__ = ()

    sent: ClassVar[list[bytes]] = []

    def send(self, data: bytes | memoryview) -> int:
        self.sent.append(bytes(data))
        return len(data)


def test_lines_that_do_more_than_send(hall: Hall) -> None:
    secured = hall.peers[2]
    secured.line.__class__ = Secured
    secured.line.fd = 0
    Secured.sent.clear()
    hall.send(b"event")
    assert Secured.sent == [b"event"]
    assert secured.read() == b""
    assert all(peer.read() == b"event" for peer in hall.peers if peer is not secured)


def test_more_than_the_ring_takes(hall: Hall) -> None:
    data = b"x" * (LARGEST + 1)
    hall.send(data)
    peer = hall.peers[0]
    while len(peer.got) < len(data):
        peer.read()
        hall.loop.turn()
    assert peer.got == data
