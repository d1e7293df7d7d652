"""Many connections that one thread drives: what each sends, and when and how each of them ends."""

from __future__ import annotations

import selectors
import socket
import struct
import time

from tests.support.raw import split


class Bee:
    """One connection."""

    __slots__ = ("born", "data", "ended", "next_at", "sent", "sock")

    def __init__(self, address: tuple[str, int]) -> None:
        self.sock = socket.create_connection(address, timeout=30)
        self.sock.setblocking(False)
        self.born = time.monotonic()
        self.ended = 0.0
        self.data = bytearray()
        self.sent = 0
        self.next_at = self.born

    @property
    def lived_s(self) -> float:
        return self.ended - self.born


class Swarm:
    def __init__(self, address: tuple[str, int], size: int, each_s: float = 0.0) -> None:
        """``each_s`` is the pause behind every twenty, so that they do not come all at once."""
        self._selector = selectors.DefaultSelector()
        self.bees: list[Bee] = []
        for n in range(size):
            bee = Bee(address)
            self.bees.append(bee)
            self._selector.register(bee.sock, selectors.EVENT_READ, bee)
            if n % 20 == 19:
                self.turn(each_s)

    def turn(self, timeout_s: float) -> None:
        """Read whatever comes."""
        for key, _ in self._selector.select(timeout_s):
            bee: Bee = key.data
            try:
                data = bee.sock.recv(65536)
            except BlockingIOError:
                continue
            except OSError:
                data = b""
            if data:
                bee.data += data
            else:
                bee.ended = time.monotonic()
                self._selector.unregister(bee.sock)
                bee.sock.close()

    def say(self, data: bytes) -> None:
        """All of it, from everybody."""
        for bee in self.bees:
            bee.sock.send(data)

    def trickle(self, data: bytes, pause_s: float, seconds: float) -> None:
        """A byte of ``data`` every ``pause_s`` from each, until all have ended or time is up."""
        until = time.monotonic() + seconds
        while (now := time.monotonic()) < until and not all(bee.ended for bee in self.bees):
            for bee in self.bees:
                if not bee.ended and bee.next_at <= now and bee.sent < len(data):
                    try:
                        bee.sock.send(data[bee.sent : bee.sent + 1])
                    except OSError:
                        continue  # the end is on its way
                    bee.sent += 1
                    bee.next_at = now + pause_s
            self.turn(0.05)

    def until(self, count: int, what: bytes, seconds: float = 60.0) -> None:
        """Read until ``what`` has come to so many."""
        until = time.monotonic() + seconds
        while sum(what in bee.data for bee in self.bees) < count:
            assert time.monotonic() < until, f"no {what!r} for all"
            self.turn(0.1)

    def pings_of(self) -> int:
        """WebSocket frames that are pings, taken out of what has come."""
        count = 0
        for bee in self.bees:
            _, found, rest = bytes(bee.data).partition(b"\r\n\r\n")
            if found:
                bee.data = bytearray(rest)
            count += sum(frame.opcode == 9 for frame in split(bee.data))
        return count

    def close(self) -> None:
        for bee in self.bees:
            bee.sock.close()
        self._selector.close()


def reset(sock: socket.socket) -> None:
    """Close with RST."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()
