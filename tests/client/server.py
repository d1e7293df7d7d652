"""A server that does what the daemon never does: each connection is answered by a script."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any, Self

from wsd.protocol.frames import encode_text
from wsd.protocol.handshake import accept_value
from wsd.protocol.session import Closed, Message, Session


class Peer:
    """The server's end of one connection."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        sock.settimeout(10)
        self._session = Session(1 << 20, 16)
        self.ended: Closed | None = None
        self.head = self._read_head()

    def _read_head(self) -> str:
        data = b""
        while b"\r\n\r\n" not in data:
            piece = self.sock.recv(65536)
            if not piece:
                raise ConnectionResetError
            data += piece
        return data.decode()

    def accept(self, behind: bytes = b"", piece: int = 65536) -> None:
        """Answers the handshake, ``piece`` bytes at a time, with ``behind`` after it."""
        key = next(
            line.split(": ")[1]
            for line in self.head.split("\r\n")
            if line.startswith("Sec-WebSocket-Key")
        )
        answer = (
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Accept: {accept_value(key)}\r\nSec-WebSocket-Protocol: wsd.v1\r\n\r\n"
        ).encode() + behind
        for at in range(0, len(answer), piece):
            self.sock.sendall(answer[at : at + piece])

    def answer(self, status: str, *headers: str) -> None:
        self.sock.sendall("\r\n".join([f"HTTP/1.1 {status}", *headers, "", ""]).encode())

    def send(self, value: Any) -> None:
        self.sock.sendall(encode_text(json.dumps(value).encode()))

    def events(self) -> Iterator[Any]:
        """What the client sends, as the protocol layer has it, until it ends."""
        while True:
            while (event := self._session.next_event()) is not None:
                yield event
                if isinstance(event, Closed):
                    self.ended = event
                    self.sock.sendall(event.reply)
                    return
            data = self.sock.recv(65536)
            if not data:
                return
            self._session.receive(data)

    def command(self) -> dict[str, Any]:
        """The client's next command."""
        for event in self.events():
            if isinstance(event, Message):
                return json.loads(event.data)
        raise AssertionError("the client has gone")

    def welcome(self, **fields: Any) -> dict[str, Any]:
        """Answers the hello, of whom it brings."""
        hello = self.command()
        assert hello["type"] == "hello", hello
        rooms = {
            name: {"position": "e.0", "follows": 0, "recovered": False, "online": 1, "modes": {}}
            for name in hello["rooms"]
        }
        known = {"uid": "g1", "token": "t1", "name": "Ann", "role": "guest", "ping_s": 25}
        self.send({"type": "welcome", "id": hello["id"], **known, "rooms": rooms, **fields})
        return hello


Script = Callable[[Peer], None]


class Server:
    """``scripts``: one for each connection, in order; beyond, connections are closed."""

    def __init__(self, *scripts: Script) -> None:
        self._scripts = list(scripts)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.problem: BaseException | None = None
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(10)
        if self.problem is not None and kind is None:
            raise self.problem

    def _serve(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            with sock:
                if not self._scripts:
                    continue
                try:
                    self._scripts.pop(0)(Peer(sock))
                except OSError:
                    pass  # the client may go whenever it likes
                except BaseException as problem:
                    self.problem = problem
