"""Mutated bytes over real connections to a real daemon (WS-36, HP-63)."""

from __future__ import annotations

import random
import socket
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

from tests.fuzz.mutate import FRAME_SCRAPS, HTTP_SCRAPS, http_seeds, mutations
from tests.fuzz.targets import frame_seeds
from tests.support.daemon import Daemon
from tests.support.raw import command, frame, handshake

CLIENTS = 16
WAIT_S = 20.0
QUIET_S = 0.05


def storm(daemon: Daemon, connections: int, seed: int) -> Counter[str]:
    """Opens `connections`, `CLIENTS` at a time; how many ended in which way."""
    with ThreadPoolExecutor(CLIENTS) as pool:
        address = daemon.host, daemon.port
        return Counter(pool.map(lambda data: one(address, data), islice(inputs(seed), connections)))


def inputs(seed: int) -> Iterator[bytes]:
    """In turns: a request, frames behind a handshake, commands behind a handshake."""
    requests = mutations(seed, http_seeds(), HTTP_SCRAPS)
    # Their first bytes are for targets.py.
    sessions = [data[1:] for data in frame_seeds() if data[0] in (0, 4)]
    frames = mutations(seed + 1, sessions, FRAME_SCRAPS)
    commands = mutations(seed + 2, _commands(), (*FRAME_SCRAPS, *_JSON_SCRAPS))
    rng = random.Random(seed)
    while True:
        yield next(requests)
        yield handshake(*rng.choice(_DIALECTS), _OFFER) + next(frames)
        yield handshake("/chat", "wsd.v1", _OFFER) + next(commands)


_DIALECTS = (("/chat", "wsd.v1"), ("/chat", None), ("/", None), ("/echo", None))
_OFFER = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n"
_JSON_SCRAPS = (
    b'"', b"{", b"}", b"[" * 40, b"\\ud800", b"\\u0000", b"null", b"true", b"1e999", b"-1",
    b"9" * 30, b'"id":1,', b'"type":"say",', b'"rooms":{"lobby":"x.1"},',
)  # fmt: skip


def _commands() -> list[bytes]:
    hello = command("hello", id=1, name="Fuzzy", rooms={"lobby": None})
    others = [
        command("say", id=2, room="lobby", text="ä", cid="x", reply_to=1),
        command("join", id=3, room="other", after="abcdefgh.1"),
        command("leave", id=4, room="lobby"),
        command("edit", id=5, room="lobby", seq=1, text="x"),
        command("delete", id=6, room="lobby", seq=1),
        command("rename", id=7, name="Fuzzier"),
        command("typing", room="lobby"),
        command("history", id=8, room="lobby", before=5, limit=5),
        command("moderate", id=9, room="lobby", action="mute", uid="x"),
        frame(1, b'{"type":"hello"}') + frame(1, b'{"type":"say","room":"lobby","text":"x"}') * 3,
    ]
    return [hello + other for other in others] + [hello + b"".join(others)]


def one(address: tuple[str, int], data: bytes) -> str:
    """Sends it all; when nothing more comes says that this was all, and waits for the end."""
    answer = b""
    try:
        with socket.create_connection(address, timeout=WAIT_S) as sock:
            sock.sendall(data)
            sock.settimeout(QUIET_S)
            try:
                while more := sock.recv(65536):
                    answer = answer or more
            except TimeoutError:
                sock.settimeout(WAIT_S)
                sock.shutdown(socket.SHUT_WR)
                while sock.recv(65536):
                    pass
    except ConnectionError:
        return "reset"
    except TimeoutError:
        return "not let go"
    return answer[9:12].decode("latin-1") if answer.startswith(b"HTTP/1.1 ") else "no answer"
