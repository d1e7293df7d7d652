"""One blocking client for tests that do one thing at a time."""

from __future__ import annotations

import base64
import os
import socket
import time
from typing import Any

import msgspec

from wsd.protocol import frames
from wsd.protocol.frames import Opcode


class SmallClient:
    """Raises OSError; ``TimeoutError`` when nothing comes."""

    def __init__(self, port: int, rooms: dict[str, str | None] | None = None, token: str = "",
                 *, receive_buffer: int = 0, timeout: float = 10.0) -> None:  # fmt: skip
        self.sock = socket.socket()
        if receive_buffer:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.sock.settimeout(timeout)
        self.sock.connect(("127.0.0.1", port))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = bytearray()
        key = base64.b64encode(os.urandom(16)).decode()
        self.sock.sendall(
            f"GET /chat HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\n"
            f"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n"
            f"Sec-WebSocket-Protocol: wsd.v1\r\n\r\n".encode()
        )
        while b"\r\n\r\n" not in self._buffer:
            self._more()
        head, _, rest = bytes(self._buffer).partition(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 101"):
            raise ConnectionRefusedError(head.decode("latin-1"))
        self._buffer = bytearray(rest)
        self._id = 0
        rooms = {"lobby": None} if rooms is None else rooms
        self.welcome = self.ask({"type": "hello", "token": token, "rooms": rooms})
        self.token, self.uid = self.welcome["token"], self.welcome["uid"]
        self.others: list[dict[str, Any]] = []

    def _more(self) -> None:
        data = self.sock.recv(256 * 1024)
        if not data:
            raise ConnectionResetError("end of file")
        self._buffer += data

    def next(self) -> dict[str, Any]:
        buffer = self._buffer
        while True:
            while len(buffer) < 2:
                self._more()
            start, size = 2, buffer[1]
            if size >= 126:
                start = 4 if size == 126 else 10
                while len(buffer) < start:
                    self._more()
                size = int.from_bytes(buffer[2:start], "big")
            while len(buffer) < start + size:
                self._more()
            opcode, payload = buffer[0] & 0x0F, bytes(buffer[start : start + size])
            del buffer[: start + size]
            if opcode == Opcode.TEXT:
                value: dict[str, Any] = msgspec.json.decode(payload)
                if value["type"] == "ping":
                    self.send({"type": "pong"})
                return value
            if opcode == Opcode.PING:
                self.sock.sendall(frames.encode_masked(Opcode.PONG, payload, b"abcd"))
            elif opcode == Opcode.CLOSE:
                raise ConnectionResetError(f"closed: {payload!r}")

    def events(self, until: int, seconds: float = 30.0) -> list[dict[str, Any]]:
        """Messages up to the one that has the number ``until``."""
        found: list[dict[str, Any]] = [m for m in self.others if m["type"] == "message"]
        self.others = []
        deadline = time.monotonic() + seconds
        while not found or found[-1]["seq"] < until:
            assert time.monotonic() < deadline, f"{len(found)} events in {seconds} s"
            value = self.next()
            if value["type"] == "message":
                found.append(value)
        return found

    def send(self, value: dict[str, Any]) -> None:
        self.sock.sendall(frames.encode_masked(Opcode.TEXT, msgspec.json.encode(value), b"abcd"))

    def ask(self, value: dict[str, Any]) -> dict[str, Any]:
        """Send a command and wait for its answer; what else comes is kept in ``others``."""
        self._id += 1
        self.send({**value, "id": self._id})
        while True:
            answer = self.next()
            if answer.get("id") == self._id:
                return answer
            self.others.append(answer)

    def say(self, text: str, cid: str, room: str = "lobby") -> dict[str, Any]:
        return self.ask({"type": "say", "room": room, "text": text, "cid": cid})

    def discard(self) -> None:
        """Throw away what has arrived, unread, without waiting."""
        seconds = self.sock.gettimeout()
        self.sock.settimeout(0)
        try:
            while self.sock.recv(1 << 20):
                pass
        except BlockingIOError:
            pass
        finally:
            self.sock.settimeout(seconds)

    def close(self) -> None:
        self.sock.close()
