"""The daemon's parts in one process: a hub and its workers over a real Unix socket, a clock that
is set by hand, and loops that are turned by hand, so that every interleaving can be had."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from wsd.chat.event import MESSAGE, Draft, Event
from wsd.chat.fanout import NO_LINE
from wsd.chat.guests import NOBODY, Guest
from wsd.config import Limits, Settings
from wsd.hub.log import Log
from wsd.hub.server import Hub
from wsd.metrics import M
from wsd.net.listener import bind_unix
from wsd.net.loop import Loop
from wsd.protocol.frames import encode_masked
from wsd.reasons import Reason
from wsd.shared import Shared, worker_name
from wsd.transports.http import HttpClient, Router
from wsd.transports.public import PublicRouter
from wsd.worker import Worker

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
MASK = bytes.fromhex("0a1b2c3d")


class Clock:
    """Seconds, of any kind, that pass only when told to."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def pass_(self, seconds: float) -> None:
        self.now += seconds


class Callbacks:
    """The owner of a connection, in a test that wants to see what becomes of it."""

    def __init__(
        self,
        on_data: Callable[[bytes], object] = lambda data: None,
        on_gone: Callable[[str], object] = lambda reason: None,
    ) -> None:
        self.on_data = on_data
        self.on_gone = on_gone


def change(settings: Settings, **sections: Any) -> Settings:
    """``settings`` with other values: ``change(s, limits={"text": 5}, durability="full")``."""
    new = {
        name: msgspec.structs.replace(getattr(settings, name), **value)
        if isinstance(value, dict) and name != "rooms"
        else value
        for name, value in sections.items()
    }
    return msgspec.structs.replace(settings, **new)


def draft(
    text: str = "hi",
    *,
    room: str = "lobby",
    cid: str = "",
    uid: str = "ann",
    kind: str = MESSAGE,
    ref: int | None = None,
) -> Draft:
    return Draft(room, kind, uid, uid.title(), "guest", cid or os.urandom(6).hex(), text, ref)


class Site:
    """One hub and some workers.  ``settle`` turns all loops until nothing happens any more."""

    def __init__(self, directory: Path, workers: int = 1, **sections: Any) -> None:
        self.clock = Clock()
        self.wall = Clock(1_700_000_000.0)
        directory.mkdir(parents=True, exist_ok=True)
        base = Settings(
            state=str(directory), runtime=str(directory), durability="memory",
            limits=Limits(every=0.0, connections_per_address=0),
        )  # fmt: skip
        self.settings = change(base, **sections)
        self.path = str(directory / "hub.sock")
        self.listener = bind_unix(self.path)
        self.shared = Shared(workers + 1)  # with room for one more
        self.scoreboard = self.shared.scoreboard
        self.hub_loop: Loop
        self.hub: Hub
        self.start_hub()
        self.loops: list[Loop] = []
        self.workers: list[Worker] = []
        self.ready: list[str] = []
        for number in range(workers):
            self.add_worker(number)
        self.pass_(0.02, 0.01)

    # -- processes that are none

    def start_hub(self) -> None:
        self.hub_loop = Loop(self.clock)
        log = Log(self.settings.state, self.settings.durability, self.wall)
        row = self.scoreboard.row("hub")
        row[M.STARTS] += 1
        self.hub = Hub(self.hub_loop, self.listener, log, self.settings, row)

    def kill_hub(self) -> None:
        """As with SIGKILL: nothing more is written, sent or said."""
        for link in list(self.hub._links.values()):
            link.connection.owner = Callbacks()
            link.connection.abort("killed")
        self.hub_loop.close()
        self.hub.log._db.close()
        os.close(self.hub.log._lock)

    def add_worker(self, number: int) -> Worker:
        loop = Loop(self.clock)
        name = worker_name(number)
        self.shared.addresses.wipe(number)
        worker = Worker(loop, number, [], self.path, self.settings, self.shared)
        self.scoreboard.row(name)[M.STARTS] += 1
        worker.context.wall = self.wall
        worker.context.guests._wall = self.wall
        worker.context.commands._wall = self.wall
        self.loops.append(loop)
        self.workers.append(worker)
        worker.start(lambda: self.ready.append(name))
        return worker

    # -- time

    def turn(self, *, hub: bool = True) -> None:
        if hub:
            self.scoreboard.row("hub")[M.BEAT] = self.clock.now  # as wsd.child does
            self.hub_loop.turn()
        for loop in self.loops:
            loop.turn()

    def settle(self, rounds: int = 6, *, hub: bool = True) -> None:
        for _ in range(rounds):
            self.turn(hub=hub)

    def pass_(self, seconds: float, step: float = 0.1, *, hub: bool = True) -> None:
        """Let time pass in small steps, as it does."""
        end = self.clock.now + seconds
        while self.clock.now < end - 1e-9:
            by = min(step, end - self.clock.now)
            self.clock.pass_(by)
            self.wall.pass_(by)
            self.turn(hub=hub)
        self.settle(hub=hub)

    # -- clients

    def socket(
        self, worker: int = 0, peer: str = "192.0.2.1", router: Router | None = None,
        tls: Any = None,
    ) -> Wire:  # fmt: skip
        ours, theirs = socket.socketpair()
        theirs.setblocking(False)
        context = self.workers[worker].context
        HttpClient(context, router or PublicRouter(context), theirs, peer, tls)
        return Wire(self, ours)

    def websocket(
        self, path: str = "/chat", worker: int = 0, protocol: str = "", headers: str = "",
        **keys: Any,
    ) -> WebSocket:  # fmt: skip
        wire = self.socket(worker, **keys)
        offer = f"Sec-WebSocket-Protocol: {protocol}\r\n" if protocol else ""
        wire.send(
            f"GET {path} HTTP/1.1\r\nHost: chat.example\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n"
            f"{offer}{headers}\r\n".encode()
        )
        self.settle()
        wire.read()
        head, found, rest = bytes(wire.data).partition(b"\r\n\r\n")
        assert found and head.startswith(b"HTTP/1.1 101 "), head
        wire.data[:] = rest
        return WebSocket(wire)

    def v1(self, worker: int = 0, room: str = "lobby", **keys: Any) -> V1:
        return V1(self.websocket(f"/chat?room={room}", worker, "wsd.v1", **keys))

    def join(
        self, worker: int = 0, room: str = "lobby", name: str | None = None, **hello: Any
    ) -> V1:
        """A client that has said hello and taken note of its welcome."""
        client = self.v1(worker, room)
        client.say_hello(name=name, **hello)
        return client

    def close(self) -> None:
        for worker in self.workers:
            for attendant in list(worker.context.attendants):
                attendant.connection.abort("end")
            worker.close()
        for loop in [*self.loops, self.hub_loop]:
            loop.close()
        try:
            self.hub.log.close()
        except Exception:
            pass
        self.listener.close()


class Wire:
    """The peer's end of a connection: what it got so far, and whether it has ended."""

    def __init__(self, site: Site, sock: socket.socket) -> None:
        self.site = site
        self.sock = sock
        sock.setblocking(False)
        self.data = bytearray()
        self.ended = False
        self.reset = False

    def send(self, data: bytes) -> None:
        self.sock.send(data)

    def read(self) -> bytes:
        """All that has come by now, which is also kept in ``data``."""
        while not self.ended:
            try:
                part = self.sock.recv(1 << 20)
            except BlockingIOError:
                break
            except ConnectionResetError:
                self.ended = self.reset = True
                break
            if not part:
                self.ended = True
            self.data += part
        return bytes(self.data)

    def ask(self, data: bytes) -> bytes:
        """Send, let everything settle, and hand over what has come since the last time."""
        self.send(data)
        self.site.settle()
        return self.take()

    def take(self) -> bytes:
        self.read()
        data = bytes(self.data)
        self.data.clear()
        return data

    def shut(self) -> None:
        self.sock.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self.sock.close()


def frames_of(data: bytearray) -> Iterator[tuple[int, bytes]]:
    """Whole frames of a server, which are not masked, taken from the front of ``data``."""
    while len(data) >= 2:
        size, at = data[1], 2
        assert size < 128, "a server does not mask"
        if size == 126:
            size, at = int.from_bytes(data[2:4], "big"), 4
        elif size == 127:
            size, at = int.from_bytes(data[2:10], "big"), 10
        if len(data) < at + size:
            return
        assert data[0] & 0xF0 == 0x80, f"first byte {data[0]:#x}"
        opcode, payload = data[0] & 15, bytes(data[at : at + size])
        del data[: at + size]
        yield opcode, payload


class WebSocket:
    """A client's end of a WebSocket."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.site = wire.site
        self.frames: list[tuple[int, bytes]] = []

    def send(self, data: bytes | str, opcode: int = 1) -> None:
        payload = data.encode() if isinstance(data, str) else data
        self.wire.send(encode_masked(opcode, payload, MASK))

    def take(self) -> list[tuple[int, bytes]]:
        """Frames that came since the last time."""
        self.wire.read()
        return list(frames_of(self.wire.data))

    def texts(self) -> list[str]:
        return [payload.decode() for opcode, payload in self.take() if opcode == 1]

    def ask(self, data: bytes | str, opcode: int = 1) -> list[tuple[int, bytes]]:
        self.send(data, opcode)
        self.site.settle()
        return self.take()

    def close_code(self) -> int | None:
        """The code of the close frame that came, None without one."""
        for opcode, payload in self.take():
            if opcode == 8:
                return int.from_bytes(payload[:2], "big")
        return None


class V1:
    """A client that speaks ``wsd.v1``: sends objects, sorts what comes into replies and events."""

    def __init__(self, ws: WebSocket) -> None:
        self.ws = ws
        self.site = ws.site
        self.got: list[dict[str, Any]] = []
        self.closed: int | None = None
        self.welcome: dict[str, Any] = {}

    def send(self, **command: Any) -> None:
        self.ws.send(json.dumps(command))

    def pump(self) -> list[dict[str, Any]]:
        """What came since the last time."""
        new = []
        for opcode, payload in self.ws.take():
            if opcode == 8:
                self.closed = int.from_bytes(payload[:2], "big")
            elif opcode == 1:
                assert self.closed is None, "a data frame behind the close frame"
                new.append(json.loads(payload))
        self.got += new
        return new

    def ask(self, **command: Any) -> list[dict[str, Any]]:
        self.send(**command)
        self.site.settle()
        return self.pump()

    def ask_raw(self, data: bytes) -> list[dict[str, Any]]:
        self.ws.send(data)
        self.site.settle()
        return self.pump()

    def error(self, **command: Any) -> str:
        """The code of the one error that answers ``command``."""
        (answer,) = [v for v in self.ask(**command) if v["type"] != "presence"]
        assert answer["type"] == "error", answer
        return str(answer["code"])

    def say_hello(self, **hello: Any) -> dict[str, Any]:
        hello = {key: value for key, value in hello.items() if value is not None}
        for value in self.ask(type="hello", **hello):
            if value["type"] == "welcome":
                self.welcome = value
        assert self.welcome, self.got
        return self.welcome

    def events(self, room: str = "lobby") -> list[tuple[int, str]]:
        """(seq, text or kind) of all numbered events that came."""
        self.pump()
        return [
            (v["seq"], v.get("text", v["type"]))
            for v in self.got
            if v["type"] in ("message", "edit", "delete") and v["room"] == room
        ]

    def close(self) -> None:
        self.ws.wire.close()


class JsonLines:
    """An encoding for tests: the JSON as it is, one a line, and a count of what was encoded."""

    has_positions = True

    def __init__(self) -> None:
        self.made: list[int] = []

    def event(self, event: Event) -> bytes:
        self.made.append(event.seq)
        return event.json + b"\n"

    def notice(self, json: bytes) -> bytes:
        return json + b"\n"


class Listener:
    """A member of a room that keeps what it is given; ``room_left`` says how much it may get."""

    def __init__(self, encoding: JsonLines, guest: Guest = NOBODY) -> None:
        self.encoding = encoding
        self.line = NO_LINE
        self.guest = guest
        self.room_left = True
        self.data: list[bytes] = []
        self.fed = 0
        self.reason: Reason | None = None

    def deliver(self, data: bytes) -> bool:
        if self.room_left:
            self.data.append(data)
        return self.room_left

    def feed(self, data: bytes) -> None:
        self.fed += 1
        if data:
            self.data.append(data)

    def close(self, reason: Reason) -> None:
        self.reason = reason

    def values(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in b"".join(self.data).splitlines()]

    def seqs(self) -> list[int]:
        return [value["seq"] for value in self.values() if "seq" in value]


@pytest.fixture
def make_site(tmp_path: Path) -> Iterator[Callable[..., Site]]:
    made: list[Site] = []

    def make(workers: int = 1, **sections: Any) -> Site:
        made.append(Site(tmp_path / f"site{len(made)}", workers, **sections))
        return made[-1]

    yield make
    for site in made:
        site.close()


@pytest.fixture
def site(make_site: Callable[..., Site]) -> Site:
    return make_site()
