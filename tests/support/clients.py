"""WebSocket clients that others wrote, behind one face, and what speaks ``wsd.v1`` on any of them.

``connect`` opens a connection with one of ``LIBRARIES``; ``V1`` talks over it.
"""

from __future__ import annotations

import base64
import json
import os
import queue
import shutil
import ssl
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import websocket  # websocket-client
import websockets.exceptions
import websockets.sync.client

ROOT = Path(__file__).resolve().parents[2]
NODE_MODULES = ROOT / ".cache" / "node" / "node_modules"
LIBRARIES = ("websockets", "websocket-client", "ws")

WAIT_S = 10.0
"""How long anything that should come may take before it counts as missing."""


class PeerClosed(Exception):
    """The server has closed the connection."""

    def __init__(self, code: int | None, reason: str = "") -> None:
        super().__init__(f"closed: {code} {reason}")
        self.code = code
        self.reason = reason


class Refused(Exception):
    """The handshake was answered with something else than 101."""

    def __init__(self, status: int) -> None:
        super().__init__(f"status {status}")
        self.status = status


class Peer(Protocol):
    subprotocol: str | None

    def send(self, data: str | bytes) -> None: ...

    def recv(self, timeout: float = WAIT_S) -> str | bytes:
        """The next message.  Raises TimeoutError and PeerClosed."""

    def close(self) -> None: ...


class _Websockets:
    def __init__(
        self, url: str, subprotocol: str | None, origin: str | None, authority: str | None
    ) -> None:
        try:
            # As a context manager: newer versions want it so, older ones allow it.
            self._ws = websockets.sync.client.connect(
                url,
                subprotocols=[subprotocol] if subprotocol else None,
                origin=origin,
                open_timeout=WAIT_S,
                close_timeout=2,
                max_queue=None,  # so that what no test reads does not hold up the close frame
                ping_interval=None,  # its own keep-alive gives up while a test pauses the daemon
                proxy=None,
                ssl=ssl.create_default_context(cafile=authority) if authority else None,
            ).__enter__()
        except websockets.exceptions.InvalidStatus as error:
            raise Refused(error.response.status_code) from None
        self.subprotocol = self._ws.subprotocol

    def send(self, data: str | bytes) -> None:
        try:
            self._ws.send(data)
        except websockets.exceptions.ConnectionClosed as closed:
            raise _closed(closed) from None

    def recv(self, timeout: float = WAIT_S) -> str | bytes:
        try:
            return self._ws.recv(timeout)
        except websockets.exceptions.ConnectionClosed as closed:
            raise _closed(closed) from None

    def close(self) -> None:
        self._ws.close()


def _closed(error: websockets.exceptions.ConnectionClosed) -> PeerClosed:
    return PeerClosed(error.rcvd.code, error.rcvd.reason) if error.rcvd else PeerClosed(None)


class _WebSocketClient:
    def __init__(
        self, url: str, subprotocol: str | None, origin: str | None, authority: str | None
    ) -> None:
        try:
            self._ws = websocket.create_connection(
                url,
                timeout=WAIT_S,
                subprotocols=[subprotocol] if subprotocol else None,
                origin=origin,
                suppress_origin=origin is None,
                http_no_proxy=["127.0.0.1", "localhost"],
                sslopt={"ca_certs": authority} if authority else None,
            )
        except websocket.WebSocketBadStatusException as error:
            raise Refused(error.status_code) from None
        except websocket.WebSocketException as error:
            raise ConnectionError(str(error)) from None
        self.subprotocol = self._ws.getsubprotocol()

    def send(self, data: str | bytes) -> None:
        if isinstance(data, str):
            self._ws.send(data)
        else:
            self._ws.send_binary(data)

    def recv(self, timeout: float = WAIT_S) -> str | bytes:
        self._ws.settimeout(timeout)
        try:
            opcode, data = self._ws.recv_data()
        except websocket.WebSocketTimeoutException:
            raise TimeoutError from None
        except websocket.WebSocketConnectionClosedException:
            raise PeerClosed(None) from None
        if opcode == websocket.ABNF.OPCODE_CLOSE:
            code = int.from_bytes(data[:2], "big") if data else None
            raise PeerClosed(code, data[2:].decode())
        return data.decode() if opcode == websocket.ABNF.OPCODE_TEXT else data

    def close(self) -> None:
        self._ws.close(timeout=2)


_NODE = """
const WebSocket = require("ws");
const [url, protocol, origin, authority] = JSON.parse(process.argv[1]);
const tell = (...words) => process.stdout.write(JSON.stringify(words) + "\\n");
const ca = authority ? require("fs").readFileSync(authority) : undefined;
const ws = new WebSocket(url, protocol ? [protocol] : [], {ca, ...(origin ? {origin} : {})});
ws.on("open", () => tell("open", ws.protocol));
ws.on("unexpected-response", (_, response) => tell("refused", response.statusCode));
ws.on("message", (data, binary) =>
  binary ? tell("binary", data.toString("base64")) : tell("text", data.toString()));
ws.on("close", (code, reason) => { tell("close", code, reason.toString()); process.exit(); });
ws.on("error", (error) => tell("error", String(error)));
require("readline").createInterface({input: process.stdin}).on("line", (line) => {
  const [what, value] = JSON.parse(line);
  if (what === "text") ws.send(value);
  else if (what === "binary") ws.send(Buffer.from(value, "base64"));
  else ws.close();
}).on("close", () => ws.terminate());
"""


class _Node:
    def __init__(
        self, url: str, subprotocol: str | None, origin: str | None, authority: str | None
    ) -> None:
        self._process = subprocess.Popen(
            ["node", "-e", _NODE, json.dumps([url, subprotocol, origin, authority])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "NODE_PATH": str(NODE_MODULES)},
        )
        self._told: queue.Queue[list[Any]] = queue.Queue()
        threading.Thread(target=self._listen, daemon=True).start()
        what, *words = self._next(WAIT_S)
        if what != "open":
            self.close()
            raise Refused(words[0]) if what == "refused" else ConnectionError(words)
        self.subprotocol = words[0] or None

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._told.put(json.loads(line))
        self._told.put(["close", None, ""])

    def _next(self, timeout: float) -> list[Any]:
        try:
            return self._told.get(timeout=timeout)
        except queue.Empty:
            raise TimeoutError from None

    def _order(self, *words: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(words) + "\n")
        self._process.stdin.flush()

    def send(self, data: str | bytes) -> None:
        if isinstance(data, str):
            self._order("text", data)
        else:
            self._order("binary", base64.b64encode(data).decode())

    def recv(self, timeout: float = WAIT_S) -> str | bytes:
        what, *words = self._next(timeout)
        if what == "text":
            return words[0]
        if what == "binary":
            return base64.b64decode(words[0])
        if what == "close":
            self._told.put(["close", *words])
            raise PeerClosed(*words)
        raise ConnectionError(words)

    def close(self) -> None:
        try:
            self._order("close")
            self._process.wait(2)
        except (OSError, subprocess.TimeoutExpired):
            self._process.kill()
            self._process.wait()


_MAKERS: dict[str, Callable[[str, str | None, str | None, str | None], Peer]] = {
    "websockets": _Websockets,
    "websocket-client": _WebSocketClient,
    "ws": _Node,
}


def why_missing(library: str) -> str:
    """What a test that needs ``library`` says when it is skipped; "" when it is there."""
    if library != "ws":
        return ""
    if not shutil.which("node"):
        return "node is not installed"
    if not (NODE_MODULES / "ws").is_dir():
        return "node's ws is not in .cache/node (bin/test installs it)"
    return ""


def connect(
    url: str,
    subprotocol: str | None = None,
    *,
    library: str = "websockets",
    origin: str | None = None,
    authority: str | None = None,
) -> Peer:
    """``authority``: the file of certificates that a ``wss:`` server is checked against."""
    return _MAKERS[library](url, subprotocol, origin, authority)


Object = dict[str, Any]


class V1:
    """Speaks ``wsd.v1``.  ``seen`` is everything that came, in order; ``take`` and ``ask`` pick
    from what nobody has picked yet."""

    def __init__(
        self, url: str, *, library: str = "websockets", authority: str | None = None
    ) -> None:
        self.peer = connect(url, "wsd.v1", library=library, authority=authority)
        self.seen: list[Object] = []
        self._kept: list[Object] = []
        self._ids = 0
        self.welcome: Object = {}

    # -- what it is

    @property
    def uid(self) -> str:
        return self.welcome["uid"]

    @property
    def token(self) -> str:
        return self.welcome["token"]

    def position(self, room: str) -> str:
        """Where this client stands: the last stored event of ``room`` that it has."""
        epoch, _, head = self.welcome["rooms"][room]["position"].rpartition(".")
        seqs = [event["seq"] for event in self.events(room)]
        return f"{epoch}.{seqs[-1] if seqs else head}"

    def events(self, room: str | None = None) -> list[Object]:
        """The stored events that have come, in order."""
        return [
            value
            for value in self.seen
            if value["type"] in ("message", "edit", "delete", "mode")
            and room in (None, value["room"])
        ]

    # -- talking

    def send(self, type_: str, **fields: Any) -> None:
        self.peer.send(json.dumps({"type": type_, **fields}))

    def receive(self, timeout: float = WAIT_S) -> Object:
        """The next object from the wire, kept for ``take``."""
        value = json.loads(self.peer.recv(timeout))
        assert isinstance(value, dict), value
        self.seen.append(value)
        self._kept.append(value)
        return value

    def take(
        self,
        type_: str | None = None,
        *,
        when: Callable[[Object], bool] = lambda value: True,
        timeout: float = WAIT_S,
    ) -> Object:
        """The first object of ``type_`` for which ``when`` holds, come already or still to come."""
        deadline = time.monotonic() + timeout
        looked_at = 0
        while True:
            for i, value in enumerate(self._kept[looked_at:], looked_at):
                if type_ in (None, value["type"]) and when(value):
                    return self._kept.pop(i)
            looked_at = len(self._kept)
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError(f"no {type_}; there was {self._kept[-5:]}")
            try:
                self.receive(left)
            except TimeoutError:
                raise TimeoutError(f"no {type_}; there was {self._kept[-5:]}") from None

    def take_events(self, count: int, timeout: float = WAIT_S) -> list[Object]:
        """The next ``count`` stored events."""
        kinds = ("message", "edit", "delete", "mode")
        return [self.take(when=lambda v: v["type"] in kinds, timeout=timeout) for _ in range(count)]

    def ask(self, type_: str, *, timeout: float = WAIT_S, **fields: Any) -> Object:
        """Send a command with an id, and give the reply that has it."""
        self._ids += 1
        id_ = self._ids
        self.send(type_, id=id_, **fields)
        return self.take(when=lambda value: value.get("id") == id_, timeout=timeout)

    def hello(self, rooms: dict[str, str | None] | None = None, **fields: Any) -> V1:
        if rooms is not None:
            fields["rooms"] = rooms
        self.welcome = self.ask("hello", **fields)
        assert self.welcome["type"] == "welcome", self.welcome
        return self

    def say(self, room: str, text: str, **fields: Any) -> Object:
        reply = self.ask("say", room=room, text=text, **fields)
        assert reply["type"] == "ok", reply
        return reply

    def quiet(self, seconds: float = 0.3) -> list[Object]:
        """Everything that comes until nothing has come for ``seconds``."""
        came: list[Object] = []
        while True:
            try:
                came.append(self.receive(seconds))
            except TimeoutError:
                return came

    def closed(self, timeout: float = WAIT_S) -> PeerClosed:
        """Read on until the server closes; how it did."""
        deadline = time.monotonic() + timeout
        while True:
            try:
                self.receive(max(0.01, deadline - time.monotonic()))
            except PeerClosed as how:
                return how

    def close(self) -> None:
        self.peer.close()
