"""One flush a turn, partial writes, and the ways in which a connection ends."""

from __future__ import annotations

import random
import socket
from typing import Any

import pytest

import wsd.net.connection
from tests.support.parts import Callbacks, Clock
from wsd.net.connection import (
    PIECE_BYTES,
    READ_BYTES,
    Connection,
    Flusher,
    LinkConnection,
    State,
)
from wsd.net.loop import Loop
from wsd.net.uring import FEWEST, Ring


class Counted(Connection):
    """Counts the calls to the kernel; everything else is the real thing."""

    __slots__ = ("sends",)

    def send(self, data: bytes | memoryview) -> int:
        self.sends = getattr(self, "sends", 0) + 1
        return super().send(data)


class End:
    """A connection under test, and its peer."""

    def __init__(self, loop: Loop, flusher: Flusher, send_buffer: int = 0) -> None:
        ours, self.peer = socket.socketpair()
        ours.setblocking(False)
        self.peer.settimeout(5)
        if send_buffer:
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)
        self.loop = loop
        self.data = b""
        self.gone: list[str] = []
        self.connection = Counted(loop, flusher, ours, Callbacks(self.on_data, self.gone.append))

    def on_data(self, data: bytes) -> None:
        self.data += data

    def drain(self) -> bytes:
        """What the peer can read now."""
        parts = []
        self.peer.setblocking(False)
        while True:
            try:
                part = self.peer.recv(1 << 16)
            except (BlockingIOError, ConnectionResetError):
                break
            if not part:
                break
            parts.append(part)
        return b"".join(parts)

    def read_all(self) -> bytes:
        """Until the end of file, the loop turning all the while."""
        parts: list[bytes] = []
        self.peer.setblocking(False)
        while True:
            self.loop.turn()
            try:
                part = self.peer.recv(1 << 16)
            except BlockingIOError:
                continue
            if not part:
                return b"".join(parts)
            parts.append(part)


@pytest.fixture
def flusher(loop: Loop) -> Flusher:
    flusher = Flusher()
    loop.at_turn_end.append(flusher.flush)
    return flusher


@pytest.fixture
def end(loop: Loop, flusher: Flusher) -> End:
    return End(loop, flusher)


def test_all_that_a_turn_wrote_leaves_with_one_send(end: End, loop: Loop) -> None:
    loop.call_later(0, lambda: [end.connection.write(b"%d," % i) for i in range(100)] and None)
    loop.turn()
    assert end.drain() == b"".join(b"%d," % i for i in range(100))
    assert end.connection.sends == 1
    loop.turn()
    assert end.connection.sends == 1


def test_what_arrives_is_handed_on(end: End, loop: Loop) -> None:
    end.peer.send(b"one")
    loop.turn()
    end.peer.send(b"two")
    loop.turn()
    assert end.data == b"onetwo"


def test_callbacks_may_be_replaced_in_mid_stream(end: End, loop: Loop) -> None:
    second: list[bytes] = []
    end.peer.send(b"first")
    loop.turn()
    end.connection.owner = Callbacks(second.append)
    end.peer.send(b"second")
    loop.turn()
    assert (end.data, second) == (b"first", [b"second"])


def test_a_write_in_mid_flush_of_another_connection_leaves_in_the_same_turn(
    loop: Loop, flusher: Flusher
) -> None:
    a, b = End(loop, flusher), End(loop, flusher)
    a.connection.on_drained = lambda: b.connection.write(b"told by a")
    a.connection.write(b"x")
    loop.turn()
    assert b.drain() == b"told by a"


@pytest.mark.parametrize("seed", range(6))
def test_bp_08_partial_writes_at_every_length_keep_order(
    loop: Loop, flusher: Flusher, seed: int
) -> None:
    """A tiny send buffer, a reader in fits and starts, writes of all lengths in between."""
    rng = random.Random(seed)
    end = End(loop, flusher, send_buffer=2304)
    expected, got, counter = bytearray(), bytearray(), 0
    for _ in range(120):
        for _ in range(rng.randrange(4)):
            size = rng.choice((1, 2, 7, 100, 1024, 2303, 2304, 2305, 4608, 9999, 60_000))
            size = max(1, size + rng.randrange(-1, 2))
            data = (b"%d." % counter) + bytes([counter % 251]) * size
            counter += 1
            end.connection.write(data)
            expected += data
        loop.turn()
        if rng.random() < 0.5:
            end.peer.setblocking(False)
            try:
                got += end.peer.recv(rng.choice((1, 100, 3000, 50_000)))
            except BlockingIOError:
                pass
        assert end.connection.queued <= len(expected) - len(got)
    end.connection.close("done")
    got += end.read_all()
    assert got == expected


@pytest.mark.parametrize("size", [*range(1, 40), 4607, 4608, 4609, 100_003])
def test_bp_08_each_length_whole(loop: Loop, flusher: Flusher, size: int) -> None:
    end = End(loop, flusher, send_buffer=2304)
    data = random.Random(size).randbytes(size)
    end.connection.write(data[: size // 2])
    end.connection.write(data[size // 2 :])
    end.connection.close("done")
    assert end.read_all() == data


def test_queued_and_progress(end: End, loop: Loop, clock: Clock) -> None:
    end.connection.write(bytes(4 << 20))
    assert end.connection.queued == 4 << 20
    loop.turn()
    left = end.connection.queued
    assert 0 < left < 4 << 20
    clock.pass_(7)
    loop.turn()
    assert end.connection.progress_at == clock.now - 7
    end.drain()
    loop.turn()
    assert end.connection.progress_at == clock.now
    assert end.connection.queued < left


def test_on_drained_comes_when_the_kernel_has_taken_all(end: End, loop: Loop) -> None:
    called: list[int] = []
    end.connection.on_drained = lambda: called.append(end.connection.queued)
    end.connection.write(bytes(3 << 20))
    loop.turn()
    assert not called
    for _ in range(100):
        end.drain()
        loop.turn()
    assert called == [0]


def test_paused_reading(end: End, loop: Loop) -> None:
    end.connection.pause_reading()
    end.connection.pause_reading()
    end.peer.send(b"wait")
    loop.turn()
    assert end.data == b""
    end.connection.write(b"writing goes on")
    loop.turn()
    assert end.drain() == b"writing goes on"
    end.connection.resume_reading()
    end.connection.resume_reading()
    loop.turn()
    assert end.data == b"wait"


def test_paused_reading_while_output_is_stuck(end: End, loop: Loop) -> None:
    end.connection.pause_reading()
    end.connection.write(bytes(4 << 20))
    loop.turn()
    end.peer.send(b"x")
    size = 0
    for _ in range(100):
        size += len(end.drain())
        loop.turn()
    assert (size, end.data) == (4 << 20, b"")
    end.connection.resume_reading()
    loop.turn()
    assert end.data == b"x"


def test_what_waits_weighs_more_than_its_bytes(end: End, loop: Loop) -> None:
    """10,000 small pieces take several times their bytes."""
    connection = end.connection
    assert connection.weight == 0
    for _ in range(3):
        connection.write(b"12345678")
    assert connection.weight == 3 * (8 + PIECE_BYTES)
    loop.turn()
    assert connection.weight == 0


# -- the end


def test_close_sends_what_is_queued_though_input_is_unread(end: End, loop: Loop) -> None:
    """RELIABILITY A.5: a plain close() would reset the connection and lose most of it."""
    left, right = tcp_pair()
    connection = Connection(
        loop, end.connection._flusher, left, Callbacks(end.on_data, end.gone.append)
    )
    right.sendall(b"never read")
    connection.pause_reading()
    loop.turn()
    connection.write(bytes(3 << 20))
    connection.close("done")
    got = 0
    right.setblocking(False)
    while True:
        loop.turn()
        try:
            part = right.recv(1 << 20)
        except BlockingIOError:
            continue
        if not part:
            break
        got += len(part)
    assert got == 3 << 20
    assert connection.state is State.LINGERING
    right.setblocking(True)
    right.sendall(b"still talking")  # is thrown away, and nothing is reset
    loop.turn()
    assert end.data == b""
    right.close()
    loop.turn()
    assert end.gone == ["done"]


def tcp_pair() -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = socket.create_connection(server.getsockname())
        accepted, _ = server.accept()
    accepted.setblocking(False)
    return accepted, client


def test_write_after_close_is_ignored(end: End, loop: Loop) -> None:
    end.connection.write(b"last words")
    end.connection.close("first")
    end.connection.write(b"too late")
    end.connection.close("second")
    loop.turn()
    end.connection.write(b"later still")
    loop.turn()
    assert end.drain() == b"last words"
    end.peer.close()
    loop.turn()
    assert end.gone == ["first"]
    end.connection.write(b"!")
    end.connection.close("third")
    end.connection.abort("fourth")
    loop.turn()
    assert end.gone == ["first"]


def test_input_behind_a_close_is_thrown_away(end: End, loop: Loop) -> None:
    end.connection.close("done")
    end.peer.send(b"GET / HTTP/1.1")
    loop.turn()
    loop.turn()
    assert end.data == b""


def test_eof_without_output_ends_at_once(end: End, loop: Loop) -> None:
    end.peer.shutdown(socket.SHUT_WR)
    loop.turn()
    assert end.gone == ["eof"]


def test_eof_with_queued_output_sends_it_first(end: End, loop: Loop) -> None:
    end.connection.write(bytes(3 << 20))
    loop.turn()
    end.peer.shutdown(socket.SHUT_WR)
    loop.turn()
    assert end.gone == []
    end.connection.write(b"ignored, since the connection is closing")
    assert len(end.read_all()) == 3 << 20
    loop.turn()
    assert end.gone == ["eof"]


def test_eof_and_an_answer_written_in_the_same_turn(end: End, loop: Loop) -> None:
    end.connection.owner = Callbacks(end.connection.write, end.gone.append)  # echo
    end.peer.send(b"question")
    end.peer.shutdown(socket.SHUT_WR)
    for _ in range(4):
        loop.turn()
    assert end.drain() == b"question"
    assert end.gone == ["eof"]


def test_a_reset_peer(end: End, loop: Loop, flusher: Flusher) -> None:
    left, right = tcp_pair()
    gone: list[str] = []
    connection = Connection(loop, flusher, left, Callbacks(end.on_data, gone.append))
    right.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    right.close()
    loop.turn()
    assert gone == ["reset"]
    connection.write(b"x")
    loop.turn()
    assert gone == ["reset"]


def test_writing_to_a_peer_that_is_gone(end: End, loop: Loop) -> None:
    end.connection.pause_reading()  # so that only the write can find it out
    end.peer.close()
    end.connection.write(b"x")
    loop.turn()
    assert end.gone == ["reset"]


def test_abort_by_the_reader_of_the_last_data(end: End, loop: Loop) -> None:
    end.connection.owner = Callbacks(lambda data: end.connection.abort("enough"), end.gone.append)
    end.connection.write(bytes(4 << 20))
    loop.turn()
    end.peer.send(b"x")
    end.drain()  # both readable and writable in one turn
    loop.turn()
    loop.turn()
    assert end.gone == ["enough"]
    assert end.connection.queued == 0


@pytest.mark.parametrize("seed", range(30))
def test_on_gone_exactly_once_whatever_happens(loop: Loop, flusher: Flusher, seed: int) -> None:
    rng = random.Random(seed)
    end = End(loop, flusher, send_buffer=rng.choice((0, 2304)))
    connection = end.connection
    steps: list[Any] = [
        lambda: connection.write(bytes(rng.randrange(1, 200_000))),
        lambda: connection.close("close"),
        lambda: connection.pause_reading(),
        lambda: connection.resume_reading(),
        lambda: end.peer.fileno() > 0 and end.peer.send(b"data"),
        end.drain,
        loop.turn,
        loop.turn,
    ]
    for _ in range(rng.randrange(20)):
        try:
            rng.choice(steps)()
        except OSError:
            pass
    end.peer.close()
    for _ in range(5):
        loop.turn()
    connection.abort("at last")
    connection.abort("again")
    loop.turn()
    assert len(end.gone) == 1


# -- past the queue, for the hot path


def test_clear_says_that_nothing_waits(loop, flusher):
    end = End(loop, flusher)
    assert end.connection.clear
    end.connection.write(b"x")
    assert not end.connection.clear
    flusher.flush()
    assert end.connection.clear


def test_what_was_not_taken_is_kept_in_order(loop, flusher):
    end = End(loop, flusher, send_buffer=4096)
    connection = end.connection
    data = b"0123456789" * 20_000
    sent = connection.send(data)
    assert 0 < sent < len(data)
    connection.keep(data, sent)
    assert not connection.clear and connection.queued == len(data) - sent
    connection.write(b"end")
    got = bytearray()
    while len(got) < len(data) + 3:
        got += end.drain()
        loop.turn()
        flusher.flush()
    assert got == data + b"end"
    assert connection.clear and not connection.queued


@pytest.mark.parametrize("last", ["seal", "close", "abort"])
def test_nothing_follows_the_last_word(loop, flusher, last):
    end = End(loop, flusher)
    connection = end.connection
    if last == "seal":
        connection.seal()
        connection.write(b"bye")
    elif last == "close":
        connection.close("over")
    else:
        connection.abort("over")
    assert not connection.clear
    flusher.flush()
    assert not connection.clear
    assert end.drain() == (b"bye" if last == "seal" else b"")


# -- what many have to send alike


class Alike:
    """Connections that are written to together, by a flusher with a ring or without."""

    def __init__(self, loop: Loop, ring: Ring | None, count: int) -> None:
        self.flusher = Flusher(ring)
        loop.at_turn_end.append(self.flusher.flush)
        self.ends = [End(loop, self.flusher, send_buffer=4608) for _ in range(count)]

    def write(self, *data: bytes) -> None:
        for end in self.ends:
            for each in data:
                end.connection.write(each)


def test_what_many_have_to_send_alike_leaves_by_one_call(loop: Loop, ring: Ring) -> None:
    alike = Alike(loop, ring, FEWEST)
    alike.write(b"ping")
    loop.turn()
    assert [end.drain() for end in alike.ends] == [b"ping"] * FEWEST
    assert not any(hasattr(end.connection, "sends") for end in alike.ends)
    assert all(end.connection.clear and not end.connection.queued for end in alike.ends)
    alike.write(b"two ", b"pieces")  # which nobody else has joined yet: as without a ring
    loop.turn()
    assert [end.drain() for end in alike.ends] == [b"two pieces"] * FEWEST
    assert [end.connection.sends for end in alike.ends] == [1] * FEWEST


def test_the_end_of_one_may_be_that_of_another(loop: Loop, ring: Ring) -> None:
    alike = Alike(loop, ring, FEWEST)
    first, last = alike.ends[0], alike.ends[-1]
    first.connection.pause_reading()
    first.peer.close()
    first.connection.owner = Callbacks(
        on_gone=lambda reason: last.connection.abort(f"with {reason}")
    )
    alike.write(b"ping")
    loop.turn()
    assert last.gone == ["with reset"]
    assert last.connection.state is State.CLOSED and not last.connection.clear


@pytest.mark.parametrize("with_ring", [True, False])
def test_nothing_is_lost_where_the_kernel_takes_a_part(
    loop: Loop, ring: Ring, monkeypatch: pytest.MonkeyPatch, with_ring: bool
) -> None:
    """Alike for who reads, who does not, who is gone, and who closes."""
    alike = Alike(loop, ring if with_ring else None, FEWEST + 4)
    gone, closing, *others = alike.ends
    gone.connection.pause_reading()  # or it would be noticed before anything is sent
    gone.peer.close()
    much = random.randbytes(40_000)
    monkeypatch.setattr(wsd.net.connection, "ALIKE_BYTES", len(much))
    alike.write(much)
    closing.connection.close("done")
    loop.turn()
    assert gone.gone == ["reset"]
    assert all(0 < end.connection.queued < len(much) for end in others)
    alike.write(b" and the rest")
    for end in (closing, *others):
        got = bytearray()
        for _ in range(100):
            got += end.drain()
            loop.turn()
        assert bytes(got) == (much if end is closing else much + b" and the rest")
    assert closing.connection.state is State.LINGERING
    assert all(end.connection.clear for end in others)


# -- between processes of one daemon


def test_what_a_turn_of_the_other_process_brought_comes_in_one(loop: Loop) -> None:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    got: list[bytes] = []
    connection = LinkConnection(loop, Flusher(), ours, Callbacks(got.append))
    sent = [random.randbytes(2 * READ_BYTES), b"and no more than that"]
    for each in sent:
        theirs.sendall(each)
        loop.turn()
    assert got == sent
    connection.abort("done")
    theirs.close()
