"""Sends by io_uring: what the kernel takes, what it does not, and where there is none."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator

import pytest

from wsd.net import uring
from wsd.net.uring import ENTRIES, LARGEST, Ring


@pytest.fixture
def pairs() -> Iterator[list[tuple[socket.socket, socket.socket]]]:
    made = [socket.socketpair() for _ in range(5)]
    for ours, theirs in made:
        ours.setblocking(False)
        theirs.setblocking(False)
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    yield made
    for pair in made:
        for sock in pair:
            sock.close()


Pairs = list[tuple[socket.socket, socket.socket]]


def read(sock: socket.socket) -> bytes:
    data = b""
    while True:
        try:
            part = sock.recv(1 << 20)
        except BlockingIOError:
            return data
        if not part:
            return data
        data += part


def test_everybody_gets_the_bytes(ring: Ring, pairs: Pairs) -> None:
    assert ring.send([ours.fileno() for ours, _ in pairs], b"hello") == []
    assert [read(theirs) for _, theirs in pairs] == [b"hello"] * 5


def test_the_queue_goes_round(ring: Ring, pairs: Pairs) -> None:
    """Its length is no multiple of 5, and the counters of the kernel go on for ever."""
    fds = [ours.fileno() for ours, _ in pairs]
    for i in range(ENTRIES):
        data = b"%d " % i
        assert ring.send(fds, data) == []
        assert [read(theirs) for _, theirs in pairs] == [data] * 5


def test_more_than_the_queue_holds_at_once(ring: Ring, pairs: Pairs) -> None:
    fds = [ours.fileno() for ours, _ in pairs] * ENTRIES
    told = {index for index, _ in ring.send(fds, b"y")}
    assert told  # some were full in the end
    for number, (_, theirs) in enumerate(pairs):
        taken = [index for index in range(number, len(fds), len(pairs)) if index not in told]
        assert len(read(theirs)) == len(taken) > 0


def test_what_is_not_taken_is_told(ring: Ring, pairs: Pairs) -> None:
    full, gone, closed, half, good = pairs
    while True:
        try:
            full[0].send(b"x" * 100)
        except BlockingIOError:
            break
    gone[1].close()
    closed_fd = closed[0].fileno()
    closed[0].close()
    data = os.urandom(LARGEST)
    good[0].setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
    fds = [full[0].fileno(), gone[0].fileno(), closed_fd, half[0].fileno(), good[0].fileno()]
    unsent = dict(ring.send(fds, data))
    assert (unsent[0], unsent[1], unsent[2]) == (-errno.EAGAIN, -errno.EPIPE, -errno.EBADF)
    assert 0 < unsent[3] < LARGEST
    assert 4 not in unsent
    assert read(half[1]) == data[: unsent[3]]
    assert read(good[1]) == data


def test_what_the_kernel_did_not_begin_is_told_as_unsent(
    ring: Ring, pairs: Pairs, monkeypatch: pytest.MonkeyPatch
) -> None:
    fds = [ours.fileno() for ours, _ in pairs]

    def refuse(number: int, *arguments: object) -> int:
        raise OSError(errno.ENOMEM, "no memory")

    with monkeypatch.context() as patched:
        patched.setattr(ring, "_call", refuse)
        assert ring.send(fds, b"lost?") == [(i, -errno.EAGAIN) for i in range(5)]
    assert ring.send(fds, b"found") == []
    assert [read(theirs) for _, theirs in pairs] == [b"found"] * 5


def test_where_it_is_forbidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uring, "_SETUP", 100_000)  # a call that no kernel has
    assert Ring.open() is None


def test_a_kernel_that_does_something_else_is_not_trusted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = len(os.listdir("/proc/self/fd"))
    monkeypatch.setattr(uring, "_CQE_SKIP_SUCCESS", 0)  # every send is told
    assert Ring.open() is None
    assert len(os.listdir("/proc/self/fd")) == before
