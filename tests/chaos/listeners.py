"""Listeners that come over plain HTTP: an event stream, and long polls with a connection each.

They keep the same rules and the same history as ``Client``; only the wire is another.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any, ClassVar

import msgspec

from tests.chaos.client import Client, Frame, Seat, decode, encode

HOLD_S = 1.0
"""How long a poll waits here: short, so that a lost one is asked for again soon."""

_decode_list = msgspec.json.Decoder(list[Frame]).decode


class Exchange(asyncio.Protocol):
    """One request and its answer, on a connection of its own."""

    path = ""
    extra: ClassVar[dict[str, Any]] = {}

    def __init__(self, client: HttpListener) -> None:
        self._client = client
        self._buffer = b""
        self._open = False
        self.answered = False
        """A poll that was answered as it should be."""
        self.transport: asyncio.Transport | None = None
        self.closed = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        client = self._client
        client.on_connected(self)
        body = encode({"type": "hello", **client.hello(), **self.extra})
        transport.write(
            f"POST {self.path} HTTP/1.1\r\nHost: 127.0.0.1:{client.world.port}\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode()
            + body
        )

    def connection_lost(self, _exc: Exception | None) -> None:
        self.at_end()
        if not self.closed.done():
            self.closed.set_result(None)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if not self._open:
            head, blank, rest = self._buffer.partition(b"\r\n\r\n")
            if not blank:
                return
            if not head.startswith(b"HTTP/1.1 200"):
                self._client.world.counts[f"{self.path} {head[9:12].decode('latin-1')}"] += 1
                self.abort()
                return
            self._open = True
            self._buffer = rest
        self.take()

    def take(self) -> None:
        """Look at what has come."""

    def at_end(self) -> None:
        """The connection has ended."""

    def send(self, value: dict[str, Any]) -> None:
        """Nothing can be said here, not even pong."""

    def abort(self) -> None:
        if self.transport is not None:
            self.transport.abort()

    reset = abort


class Stream(Exchange):
    path = "/stream"

    def take(self) -> None:
        *blocks, self._buffer = self._buffer.split(b"\n\n")
        for block in blocks:
            for line in block.split(b"\n"):
                if line.startswith(b"data: "):
                    self._client.on_frame(self, decode(line[6:]))  # type: ignore[arg-type]


class Poll(Exchange):
    path = "/poll"
    extra: ClassVar[dict[str, Any]] = {"wait": HOLD_S}

    def at_end(self) -> None:
        """An answer that was cut off is no answer: it is asked for again."""
        try:
            frames = _decode_list(self._buffer) if self._open else []
        except msgspec.MsgspecError:
            self._client.world.counts["polls cut off"] += 1
            return
        for frame in frames:
            self._client.on_frame(self, frame)  # type: ignore[arg-type]
        self.answered = bool(frames)


class HttpListener(Client):
    """Listens over event streams, or by polls."""

    def __init__(self, *args: Any, wire: type[Exchange], **keys: Any) -> None:
        super().__init__(*args, **keys)
        self._wire = wire

    def hello(self) -> dict[str, Any]:
        self._hello_after = {name: seat.after_pair for name, seat in self.seats.items()}
        rooms = {name: seat.after for name, seat in self.seats.items()}
        return {"token": self._token, "rooms": rooms}

    async def live(self) -> None:
        loop = asyncio.get_running_loop()
        while not self.world.stopping:
            wire = self._wire(self)
            try:
                await asyncio.wait_for(
                    loop.create_connection(lambda wire=wire: wire, "127.0.0.1", self.world.port),
                    2.0,
                )
            except (OSError, TimeoutError):
                self.world.counts["connect failed"] += 1
            else:
                await wire.closed
            self.wire = None
            if not wire.answered:
                self.welcomed = False
                if not self.world.stopping:
                    await asyncio.sleep(self._pause_s())

    def watch(self, now: float) -> None:
        wire = self.wire
        silent = not self.welcomed or isinstance(wire, Poll)
        if wire is not None and silent and now - self._connected_at > HOLD_S + 2.0:
            self.world.counts["gave up waiting"] += 1
            wire.abort()

    def on_connected(self, wire: Any) -> None:
        self.wire = wire
        self._connected_at = self._last_answer = time.monotonic()

    def _join(self, room: str, seat: Seat) -> None:
        """After a gap: ask for everything from the position again."""
        if self.wire is not None:
            self.wire.abort()

    def wander(self, room: str, there: bool) -> None:
        """These stay where they are."""
