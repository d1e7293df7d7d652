"""A client of ``wsd.v1`` that keeps every rule for clients and writes down what happens to it.

Lean, because two dozen of them share a process with whoever torments the daemon: an asyncio
protocol of its own, one decoder for all frames, no tasks but one for each client's life.
"""

from __future__ import annotations

import asyncio
import base64
import os
import random
import socket
import struct
import time
from collections import Counter, deque
from typing import Any

import msgspec

from tests.chaos.checker import Enter, Event, Receiver, Said, Sender, Told
from wsd.protocol import frames
from wsd.protocol.frames import Opcode

WINDOW = 16
"""Messages of one sender that may wait for their ok."""
BACKOFF_S = (0.02, 0.5)
WELCOME_S = 3.0
ANSWER_S = (1.5, 4.0)
"""A client that waits longer than this for an ok takes its connection for dead."""
BYE_SCALE = 0.01
"""The window of a ``bye`` is for a real site; here it is honoured shortened."""
RETRYABLE = ("rate", "storage", "busy")


class Frame(msgspec.Struct):
    """Whatever the server may say, as far as it matters here."""

    type: str
    id: int | None = None
    room: str = ""
    seq: int = 0
    uid: str = ""
    text: str = ""
    token: str = ""
    code: Any = None
    retry_ms: Any = None
    rooms: dict[str, Any] | None = None
    position: str = ""
    follows: int = 0
    recovered: bool = False
    heads: dict[str, int] | None = None


decode = msgspec.json.Decoder(Frame).decode
encode = msgspec.json.Encoder().encode


class World:
    """What the clients of one run share."""

    def __init__(self, port: int, rng: random.Random) -> None:
        self.port = port
        self.rng = rng
        self.stopping = False
        self.held: asyncio.Event | None = None
        """Clients without a connection wait for this, but for those that have something to say."""
        self.counts: Counter[str] = Counter()
        self.acks: list[tuple[float, float]] = []
        """(when a message was sent first, when its ok came), monotonic seconds."""
        self.newest: dict[str, int] = {}
        """The highest seq of each room that anybody was told of."""
        self._events: dict[tuple[str, int], Event] = {}

    def event(self, room: str, frame: Frame) -> Event:
        """The event of a frame; one object for all who received the same."""
        event = Event(frame.seq, frame.uid, frame.text)
        known = self._events.setdefault((room, frame.seq), event)
        if known == event:
            return known
        return event

    def saw(self, room: str, seq: int) -> None:
        if seq > self.newest.get(room, 0):
            self.newest[room] = seq


class Message:
    __slots__ = ("first_at", "said")

    def __init__(self, said: Said) -> None:
        self.said = said
        self.first_at = 0.0


class Seat:
    """A client in one room."""

    __slots__ = ("epoch", "history", "joining", "position", "present", "repairing", "wanted")

    def __init__(self) -> None:
        self.epoch = ""
        self.position = -1
        """-1: never been there."""
        self.present = False
        self.wanted = True
        self.joining = False
        self.repairing = False
        """It joined again because of a gap, and nothing has followed on its position since."""
        self.history: list[Enter | Event | Told] = []

    @property
    def after(self) -> str | None:
        return f"{self.epoch}.{self.position}" if self.position >= 0 else None

    @property
    def after_pair(self) -> tuple[str, int] | None:
        return (self.epoch, self.position) if self.position >= 0 else None


class Wire(asyncio.Protocol):
    """One connection: handshake, frames in, frames out."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._buffer = b""
        self._open = False
        self._mask = os.urandom(4)
        self.transport: asyncio.Transport | None = None
        self.closed = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self._client.on_connected(self)
        sock = transport.get_extra_info("socket")
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        key = base64.b64encode(os.urandom(16)).decode()
        transport.write(
            f"GET /chat HTTP/1.1\r\nHost: 127.0.0.1:{self._client.world.port}\r\n"
            f"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Protocol: wsd.v1\r\n\r\n".encode()
        )

    def connection_lost(self, _exc: Exception | None) -> None:
        if not self.closed.done():
            self.closed.set_result(None)

    def data_received(self, data: bytes) -> None:
        data = self._buffer + data if self._buffer else data
        if not self._open:
            head, blank, rest = data.partition(b"\r\n\r\n")
            if not blank:
                self._buffer = data
                return
            if not head.startswith(b"HTTP/1.1 101"):
                self._client.world.counts["refused " + head[9:12].decode("latin-1")] += 1
                self.abort()
                return
            self._open = True
            self._client.on_open(self)
            data = rest
        self._buffer = self._take_frames(data)

    def _take_frames(self, data: bytes) -> bytes:
        at, end = 0, len(data)
        client = self._client
        while end - at >= 2:
            opcode, size = data[at] & 0x0F, data[at + 1]
            start = at + 2
            if size >= 126:
                width = 2 if size == 126 else 8
                start += width
                if end < start:
                    break
                size = int.from_bytes(data[at + 2 : start], "big")
            if end - start < size:
                break
            payload = data[start : start + size]
            at = start + size
            if opcode == Opcode.TEXT:
                try:
                    frame = decode(payload)
                except (msgspec.MsgspecError, UnicodeDecodeError):
                    client.world.counts["garbled frames"] += 1
                    self.abort()
                    return b""
                client.on_frame(self, frame)
            elif opcode == Opcode.PING:
                self._send(Opcode.PONG, payload)
            elif opcode == Opcode.CLOSE:
                client.on_close(payload)
                self._send(Opcode.CLOSE, payload[:2])
                assert self.transport is not None
                self.transport.close()
                return b""
        return data[at:]

    def send(self, value: dict[str, Any]) -> None:
        self._send(Opcode.TEXT, encode(value))

    def _send(self, opcode: int, payload: bytes) -> None:
        if self.transport is not None and not self.transport.is_closing():
            self.transport.write(frames.encode_masked(opcode, payload, self._mask))

    def abort(self) -> None:
        if self.transport is not None:
            self.transport.abort()

    def reset(self) -> None:
        """End with RST, as a broken network does."""
        if self.transport is not None and not self.transport.is_closing():
            sock = self.transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.transport.abort()

    def stop_reading(self) -> None:
        assert self.transport is not None
        self.transport.pause_reading()


class Client:
    """``copies`` of each message are sent; ``resends`` False is a broken client, for showing that
    the checker notices."""

    def __init__(
        self, world: World, name: str, rooms: list[str], *, copies: int = 1, resends: bool = True
    ) -> None:
        self.world = world
        self.name = name
        self.seats = {room: Seat() for room in rooms}
        self.uid = ""
        self.said: list[Said] = []
        self.wire: Wire | None = None
        self.welcomed = False
        self._token = ""
        self._copies = copies
        self._resends = resends
        self._rng = random.Random(world.rng.random())
        self._cid = base64.urlsafe_b64encode(self._rng.randbytes(9)).decode()
        self._id = 0
        self._asked: dict[int, Any] = {}
        self._outbox: deque[Message] = deque()
        self._unsent = 0
        """How many at the end of the outbox have not been sent on this connection."""
        self._waiting_until = 0.0
        self._failures = 0
        self._bye: tuple[int, int] | None = None
        self._connected_at = 0.0
        self._patience = self._rng.uniform(*ANSWER_S)
        self._last_answer = 0.0
        self._hello_after: dict[str, tuple[str, int] | None] = {}

    # -- life

    async def live(self) -> None:
        loop = asyncio.get_running_loop()
        while not self.world.stopping:
            wire = Wire(self)
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
            self.welcomed = False
            for seat in self.seats.values():
                seat.present = seat.joining = seat.repairing = False
            if not self.world.stopping:
                held = self.world.held
                if held is not None and not held.is_set() and not self.said:
                    await held.wait()
                    continue
                await asyncio.sleep(self._pause_s())

    def _pause_s(self) -> float:
        if self._bye is not None:
            low, high = self._bye
            self._bye = None
            return self._rng.uniform(low, high) / 1000 * BYE_SCALE
        pause = min(BACKOFF_S[0] * 2**self._failures, BACKOFF_S[1])
        self._failures += 1
        return pause * self._rng.uniform(0.5, 1.0)

    def on_connected(self, wire: Wire) -> None:
        # Not in ``live``: the welcome may be here before that task comes to run again.
        self.wire = wire
        self._connected_at = self._last_answer = time.monotonic()

    def on_open(self, wire: Wire) -> None:
        rooms = {name: seat.after for name, seat in self.seats.items() if seat.wanted}
        self._hello_after = {name: self.seats[name].after_pair for name in rooms}
        self._asked.clear()
        wire.send({"type": "hello", "id": 0, "token": self._token, "rooms": rooms})

    def on_close(self, payload: bytes) -> None:
        code = int.from_bytes(payload[:2], "big")
        self.world.counts[f"closed {code} {payload[2:].decode()}"] += 1

    def watch(self, now: float) -> None:
        """Give a connection up that has not answered for too long."""
        wire = self.wire
        if wire is None:
            return
        if not self.welcomed:
            stuck = now - self._connected_at > WELCOME_S
        else:
            stuck = bool(self._asked) and now - self._last_answer > self._patience
        if stuck:
            self.world.counts["gave up waiting"] += 1
            wire.abort()

    # -- what arrives

    def on_frame(self, wire: Wire, frame: Frame) -> None:
        kind = frame.type
        if kind == "message":
            self._on_event(wire, frame)
        elif kind == "ok":
            self._on_ok(frame)
        elif kind == "error":
            self._on_error(frame)
        elif kind == "welcome":
            self._on_welcome(wire, frame)
        elif kind == "ping":
            wire.send({"type": "pong"})
            for room, head in (frame.heads or {}).items():
                seat = self.seats[room]
                if seat.present and not seat.joining:
                    seat.history.append(Told(head))
                    if head > seat.position:
                        self.world.counts["holes seen by ping"] += 1
                        self._join(room, seat)
        elif kind == "bye":
            self._bye = (frame.retry_ms[0], frame.retry_ms[1])

    def _on_event(self, wire: Wire, frame: Frame) -> None:
        seat = self.seats[frame.room]
        world = self.world
        world.counts["deliveries"] += 1
        seat.history.append(world.event(frame.room, frame))
        if frame.seq == seat.position + 1:
            seat.position = frame.seq
            seat.repairing = False
            world.saw(frame.room, frame.seq)
        elif frame.seq <= seat.position:
            reason = "while joining" if seat.joining else "in a stay"
            world.counts[f"duplicates dropped {reason}"] += 1
        else:
            world.counts["gaps"] += 1
            if seat.joining:
                return
            if seat.repairing:  # that did not help: anew, and not at once
                wire.abort()
            else:
                seat.repairing = True
                self._join(frame.room, seat)

    def _on_welcome(self, wire: Wire, frame: Frame) -> None:
        self.welcomed = True
        self._failures = 0
        self._token = frame.token
        if self.uid and self.uid != frame.uid:
            self.world.counts["another uid"] += 1
        self.uid = frame.uid
        assert frame.rooms is not None
        for room, entry in frame.rooms.items():
            self._enter(
                room, self._hello_after[room], entry["position"], entry["follows"],
                entry["recovered"],
            )  # fmt: skip
        for room, seat in self.seats.items():  # may have changed its mind since the hello
            if seat.wanted and not seat.present and not seat.joining:
                self._join(room, seat)
            elif seat.present and not seat.wanted:
                self._leave(room)
        if not self._resends:
            self.world.counts["not resent"] += len(self._outbox) - self._unsent
            while len(self._outbox) > self._unsent:
                self._outbox.popleft()
        self._resend()

    def _enter(
        self, room: str, after: tuple[str, int] | None, position: str, follows: int, recovered: bool
    ) -> None:
        seat = self.seats[room]
        epoch, _, head = position.rpartition(".")
        entry = Enter(after, epoch, int(head), follows, recovered)
        seat.history.append(entry)
        seat.epoch = epoch
        seat.position = entry.head - follows
        seat.present = True
        seat.joining = False
        self.world.saw(room, entry.head)
        if after is not None:
            self.world.counts["recovered" if recovered else "not recovered"] += 1

    def _on_ok(self, frame: Frame) -> None:
        asked = self._asked.pop(frame.id, None)
        now = self._last_answer = time.monotonic()
        if isinstance(asked, Message):
            if not asked.said.acks:
                self.world.acks.append((asked.first_at, now))
                self._drop(asked)
            asked.said.acks.append(frame.seq)
            self.world.saw(frame.room, frame.seq)
            self._send_more()
        elif isinstance(asked, tuple) and asked[0] == "join":
            self._enter(frame.room, asked[1], frame.position, frame.follows, frame.recovered)
            if not self.seats[frame.room].wanted:
                self._leave(frame.room)
            self._send_more()
        elif isinstance(asked, tuple):
            seat = self.seats[frame.room]
            seat.present = False
            if seat.wanted and not seat.joining:
                self._join(frame.room, seat)

    def _drop(self, message: Message) -> None:
        try:
            at = self._outbox.index(message)
        except ValueError:
            return
        if at >= len(self._outbox) - self._unsent:  # an answer to an earlier try
            self._unsent -= 1
        del self._outbox[at]

    def _on_error(self, frame: Frame) -> None:
        asked = self._asked.pop(frame.id, None) if frame.id is not None else None
        self._last_answer = time.monotonic()
        self.world.counts[f"error {frame.code}"] += 1
        if isinstance(asked, Message):
            if frame.retry_ms is None and frame.code not in RETRYABLE:
                self._drop(asked)  # final: the checker finds it among the unacked
                return
            if not self._waiting_until:
                pause_s = (frame.retry_ms or 1000) / 1000
                self._waiting_until = time.monotonic() + pause_s
                wire = self.wire
                asyncio.get_running_loop().call_later(pause_s, self._try_again, wire)
        elif isinstance(asked, tuple) and asked[0] == "join":
            self.seats[frame.room].joining = False

    def _try_again(self, wire: Wire | None) -> None:
        """From the first that has no ok, in order."""
        if wire is self.wire:
            self._resend()

    # -- what it says

    def _ask(self, value: dict[str, Any], meaning: Any) -> None:
        assert self.wire is not None
        self._id += 1
        if not self._asked:
            self._last_answer = time.monotonic()
        self._asked[self._id] = meaning
        self.wire.send({**value, "id": self._id})

    def say(self, room: str) -> bool:
        """Say something new there; False when too much waits for its ok already."""
        if len(self._outbox) >= WINDOW or not self.uid:
            return False
        n = len(self.said)
        said = Said(room, f"{self._cid}.{n}", f"{self.name} {n}", [])
        self.said.append(said)
        self._outbox.append(Message(said))
        self._unsent += 1
        self._send_more()
        return True

    def _resend(self) -> None:
        # Answers to what was sent before are still taken, but nobody waits for them: the same
        # message is on its way again with another id.
        self._waiting_until = 0.0
        self._unsent = len(self._outbox)
        self._send_more()

    def _send_more(self) -> None:
        if not self.welcomed or self._waiting_until or self.wire is None:
            return
        while self._unsent:
            message = self._outbox[len(self._outbox) - self._unsent]
            seat = self.seats[message.said.room]
            if not seat.present or seat.joining:
                return
            self._unsent -= 1
            message.first_at = message.first_at or time.monotonic()
            said = message.said
            for _ in range(self._copies):
                self._ask(
                    {"type": "say", "room": said.room, "text": said.text, "cid": said.cid}, message
                )

    def _join(self, room: str, seat: Seat) -> None:
        seat.joining = True
        self._ask({"type": "join", "room": room, "after": seat.after}, ("join", seat.after_pair))

    def _leave(self, room: str) -> None:
        self._ask({"type": "leave", "room": room}, ("leave", room))

    def wander(self, room: str, there: bool) -> None:
        """Be, or no longer be, in ``room``; takes effect as soon as the connection allows."""
        seat = self.seats[room]
        if seat.wanted == there:
            return
        seat.wanted = there
        if not self.welcomed or self.wire is None or seat.joining:
            return
        busy = any(asked == ("leave", room) for asked in self._asked.values())
        if there and not seat.present and not busy:
            self._join(room, seat)
        elif not there and seat.present and not busy:
            self._leave(room)

    # -- the end

    @property
    def settled(self) -> bool:
        """Everything said is acknowledged, and everything that anybody saw is here."""
        return (
            not self._outbox
            and self.welcomed
            and all(
                seat.present and seat.position >= self.world.newest.get(room, 0)
                for room, seat in self.seats.items()
            )
        )

    def describe(self) -> str:
        seats = " ".join(f"{r}:{s.position}/{s.present}/{s.joining}" for r, s in self.seats.items())
        return (
            f"{self.name}: welcomed {self.welcomed}, outbox {len(self._outbox)}, "
            f"unsent {self._unsent}, asked {len(self._asked)}, {seats}"
        )

    def as_sender(self) -> Sender:
        return Sender(self.uid, self.said)

    def as_receiver(self) -> Receiver:
        return Receiver(self.name, {room: seat.history for room, seat in self.seats.items()})
