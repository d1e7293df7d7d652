"""A plain socket that speaks HTTP and WebSocket frames byte by byte, and a crowd of such members.

Whatever a library would hide is visible here: what exactly arrives, when, and how it ends.
"""

from __future__ import annotations

import json
import os
import selectors
import socket
import struct
import time
from typing import Any, NamedTuple

WAIT_S = 10.0
KEY = "dGhlIHNhbXBsZSBub25jZQ=="

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


def handshake(path: str = "/chat", subprotocol: str | None = "wsd.v1", extra: str = "") -> bytes:
    protocol = f"Sec-WebSocket-Protocol: {subprotocol}\r\n" if subprotocol else ""
    return (
        f"GET {path} HTTP/1.1\r\nHost: wsd.test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n{protocol}{extra}\r\n"
    ).encode()


def frame(opcode: int, payload: bytes = b"", *, fin: bool = True, mask: bytes = b"") -> bytes:
    """A client's frame; masked with random bytes unless ``mask`` is given."""
    mask = mask or os.urandom(4)
    length = len(payload)
    head = bytes([opcode | (0x80 if fin else 0)])
    if length < 126:
        head += bytes([0x80 | length])
    elif length < 65536:
        head += b"\xfe" + struct.pack(">H", length)
    else:
        head += b"\xff" + struct.pack(">Q", length)
    pad = (mask * (length // 4 + 1))[:length]
    body = int.from_bytes(payload, "big") ^ int.from_bytes(pad, "big")
    return head + mask + body.to_bytes(length, "big")


def command(type_: str, **fields: Any) -> bytes:
    return frame(TEXT, json.dumps({"type": type_, **fields}).encode())


class Frame(NamedTuple):
    opcode: int
    payload: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.payload)

    @property
    def code(self) -> int:
        """Of a close frame."""
        return int.from_bytes(self.payload[:2], "big")

    @property
    def reason(self) -> str:
        return self.payload[2:].decode()


def split(data: bytearray) -> list[Frame]:
    """Take the whole frames off the front of what a server sent."""
    frames: list[Frame] = []
    at = 0
    while len(data) - at >= 2:
        assert not data[at] & 0x70, "a reserved bit is set"
        assert data[at] & 0x80, "the server sent a fragment"
        assert not data[at + 1] & 0x80, "the server masked a frame"
        length, start = data[at + 1], at + 2
        if length == 126:
            length, start = int.from_bytes(data[at + 2 : at + 4], "big"), at + 4
        elif length == 127:
            length, start = int.from_bytes(data[at + 2 : at + 10], "big"), at + 10
        if len(data) < start + length:
            break
        frames.append(Frame(data[at] & 15, bytes(data[start : start + length])))
        at = start + length
    del data[:at]
    return frames


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes


class Raw:
    """One connection."""

    def __init__(
        self, address: tuple[str, int] | str, *, timeout: float = WAIT_S, receive_buffer: int = 0,
        source: str = "",
    ) -> None:  # fmt: skip
        family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
        if ":" in address[0]:
            family = socket.AF_INET6
        self.sock = socket.socket(family, socket.SOCK_STREAM)
        if receive_buffer:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        if source:
            self.sock.bind((source, 0))
        self.sock.settimeout(timeout)
        self.sock.connect(address)
        self.buffer = bytearray()
        self.frames: list[Frame] = []

    def __enter__(self) -> Raw:
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()

    def send(self, data: bytes) -> Raw:
        self.sock.sendall(data)
        return self

    def more(self) -> bool:
        """Read once; False at the end of the stream.  A reset is an error, as it should be."""
        data = self.sock.recv(256 * 1024)
        self.buffer += data
        return bool(data)

    def until(self, mark: bytes) -> bytes:
        while mark not in self.buffer:
            if not self.more():
                raise EOFError(bytes(self.buffer[:300]))
        at = self.buffer.index(mark) + len(mark)
        taken = bytes(self.buffer[:at])
        del self.buffer[:at]
        return taken

    def rest(self) -> bytes:
        """Everything up to the end of the stream."""
        while self.more():
            pass
        return bytes(self.buffer)

    def ends_in_s(self) -> float:
        """How long it takes until the server ends the connection."""
        began = time.monotonic()
        self.rest()
        return time.monotonic() - began

    # -- HTTP

    def answer(self, *, head: bool = False) -> Answer:
        """One HTTP answer, its body by Content-Length."""
        lines = self.until(b"\r\n\r\n").decode("latin-1").split("\r\n")
        headers = {
            name.lower(): value.strip()
            for name, _, value in (line.partition(":") for line in lines[1:] if line)
        }
        status = int(lines[0].split()[1])
        length = 0 if head or status in (101, 204, 304) else int(headers.get("content-length", 0))
        while len(self.buffer) < length:
            if not self.more():
                raise EOFError(bytes(self.buffer[:300]))
        body = bytes(self.buffer[:length])
        del self.buffer[:length]
        return Answer(status, headers, body)

    def get(self, path: str, extra: str = "", method: str = "GET") -> Answer:
        request = f"{method} {path} HTTP/1.1\r\nHost: wsd.test\r\n{extra}\r\n"
        return self.send(request.encode()).answer(head=method == "HEAD")

    # -- WebSocket

    def upgrade(self, path: str = "/chat", subprotocol: str | None = "wsd.v1") -> Raw:
        answer = self.send(handshake(path, subprotocol)).answer()
        assert answer.status == 101, answer
        return self

    def hello(self, room: str, **fields: Any) -> Any:
        """``hello`` for one room; the welcome."""
        self.send(command("hello", id=1, rooms={room: None}, **fields))
        return self.next("welcome").json

    def frame(self) -> Frame:
        while not self.frames:
            self.frames += split(self.buffer)
            if not self.frames and not self.more():
                raise EOFError
        return self.frames.pop(0)

    def next(self, type_: str) -> Frame:
        """The next text frame whose object is of ``type_``; the others are skipped."""
        while True:
            found = self.frame()
            assert found.opcode != CLOSE, found
            if found.opcode == TEXT and found.json["type"] == type_:
                return found

    def close_frame(self) -> Frame:
        """Skip to the close frame."""
        while (found := self.frame()).opcode != CLOSE:
            pass
        return found


class Member:
    """One of a crowd: ``events`` are the payloads of stored messages, ``replies`` the rest."""

    def __init__(self, number: int, sock: socket.socket) -> None:
        self.number = number
        self.sock = sock
        self.data = bytearray()
        self.open = False
        self.events: list[bytes] = []
        self.replies: list[bytes] = []
        self.closed: Frame | None = None
        self.gone = False

    def take(self, data: bytes) -> None:
        self.data += data
        if not self.open:
            at = self.data.find(b"\r\n\r\n")
            if at < 0:
                return
            assert self.data.startswith(b"HTTP/1.1 101 "), bytes(self.data[:100])
            del self.data[: at + 4]
            self.open = True
        for opcode, payload in split(self.data):
            if payload.startswith(b'{"type":"message"'):
                self.events.append(payload)
            elif opcode == CLOSE:
                self.closed = Frame(opcode, payload)
            elif opcode == PING:
                self.sock.send(frame(PONG, payload))
            else:
                self.replies.append(payload)


class Crowd:
    """Many members of one room, served by one thread, so that the daemon gets the CPU."""

    def __init__(self, port: int, room: str, size: int) -> None:
        self._selector = selectors.DefaultSelector()
        self.members: list[Member] = []
        opening = handshake() + command("hello", id=0, rooms={room: None})
        for number in range(size):
            sock = socket.create_connection(("127.0.0.1", port), timeout=WAIT_S)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.sendall(opening)
            sock.setblocking(False)
            member = Member(number, sock)
            self.members.append(member)
            self._selector.register(sock, selectors.EVENT_READ, member)
            if number % 50 == 49:
                self.turn(0.0)

    def turn(self, timeout: float = 0.1) -> None:
        """Read whatever is there."""
        for key, _ in self._selector.select(timeout):
            member: Member = key.data
            try:
                data = member.sock.recv(1024 * 1024)
            except BlockingIOError:
                continue
            if data:
                member.take(data)
            else:
                member.gone = True
                self._selector.unregister(member.sock)

    def until(self, condition: Any, what: str, timeout: float = 60.0) -> None:
        deadline = time.monotonic() + timeout
        while not condition():
            assert time.monotonic() < deadline, f"not within {timeout} s: {what}"
            self.turn()

    def welcomed(self) -> None:
        self.until(
            lambda: all(any(b'"welcome"' in r for r in m.replies[:3]) for m in self.members),
            "everybody is welcomed",
        )

    def close(self) -> None:
        for member in self.members:
            member.sock.close()
        self._selector.close()
