"""What clients cost that ask for more: ``python -m bench.clients``.

``resume``: all of 5,000 clients come at once, each with the position that it had 100 messages ago.
CPU of the daemon for a client: connection, handshake, hello, the messages and what follows.
``compress``: a text of 1,000 characters to 1,000 members, one at a time, who have agreed on
compression or not.  CPU for a copy.

The daemon has CPU 0, the clients, which are this process, CPU 1.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import resource
import select
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.daemon import wsd
from bench.measure import Failed, free_port, started
from bench.scale import usage
from wsd.protocol.frames import encode_masked

PATIENCE_S = 60.0
TEXT = 1_000
WORDS = (
    "a about all and are as at be but by can come day do find for from get give go good have he "
    "her here him his how i if in into it its just know like look make man many me more my new no "
    "not now of on one only or other our out people say see she so some take tell than that the "
    "their them then there these they thing think this time to two up use very want way we well "
    "what when which who will with would year you your"
).split()


class Client:
    """One WebSocket; what it sent first is handshake and hello in one piece."""

    def __init__(self, port: int, position: str | None = None, *, compress: bool = False) -> None:
        offer = "Sec-WebSocket-Extensions: permessage-deflate\r\n" if compress else ""
        hello = {"type": "hello", "id": 1, "rooms": {"room0": position}}
        self.opening = (
            f"GET /chat?room=room0 HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\n"
            "Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: wsd.v1\r\n{offer}\r\n"
        ).encode() + frame(hello)
        self.sock = socket.create_connection(("127.0.0.1", port))
        self.sock.setblocking(False)
        self.tail = b""
        """The end of what has come."""

    def read(self) -> int:
        """Bytes that have come.  Raises Failed at the end of the connection."""
        try:
            data = self.sock.recv(1 << 16)
        except BlockingIOError:
            return 0
        if not data:
            raise Failed("a client was thrown out")
        self.tail = (self.tail + data)[-4000:]
        return len(data)


def frame(command: dict[str, Any]) -> bytes:
    return encode_masked(1, json.dumps(command).encode(), b"\0\0\0\0")


def until(clients: list[Client], wanted: bytes) -> None:
    """Read until each client's last bytes have ``wanted`` in them.  Raises Failed."""
    waiting = {client.sock.fileno(): client for client in clients}
    poll = select.epoll()
    for fd in waiting:
        poll.register(fd, select.EPOLLIN)
    deadline = time.monotonic() + PATIENCE_S
    while waiting:
        if time.monotonic() > deadline:
            raise Failed(f"{len(waiting)} clients wait for {wanted!r}")
        for fd, _ in poll.poll(1.0):
            client = waiting.get(fd)
            if client is not None and client.read() and wanted in client.tail:
                del waiting[fd]
                poll.unregister(fd)
    poll.close()


@contextmanager
def daemon(more: str = "") -> Iterator[tuple[int, int]]:
    """Process id and port."""
    with tempfile.TemporaryDirectory() as name:
        port = free_port()
        with started(wsd(Path(name), port, more=more), port) as pid:
            yield pid, port


def join(port: int, count: int, *, compress: bool = False) -> list[Client]:
    clients = []
    for _ in range(count):
        clients.append(Client(port, compress=compress))
        clients[-1].sock.send(clients[-1].opening)
    # A welcome is short, so that it comes uncompressed; the last is the latest to join.
    until(clients, b'"welcome"')
    return clients


def leave(clients: list[Client]) -> None:
    """A daemon that is told to stop waits for those who are still there."""
    for client in clients:
        client.sock.close()


def say(client: Client, text: str, cid: str) -> None:
    command = {"type": "say", "id": 2, "room": "room0", "cid": cid, "text": text}
    client.sock.send(frame(command))


def resume(count: int, missed: int) -> float:
    """CPU of the daemon for a client, in microseconds."""
    with daemon() as (pid, port):
        (writer,) = join(port, 1)
        found = re.search(rb'"position":"([^"]+)"', writer.tail)
        assert found is not None
        position = found[1].decode()
        for number in range(missed):
            say(writer, f"message {number:04} ".ljust(100, "x"), f"c{number}")
            until([writer], b'"ok"')
            writer.tail = b""
        time.sleep(0.5)
        before = usage(pid).cpu_s
        clients = [Client(port, position) for _ in range(count)]
        for client in clients:
            client.sock.send(client.opening)
        until(clients, f'"seq":{missed},'.encode())
        time.sleep(0.5)
        used = usage(pid).cpu_s - before
        leave([writer, *clients])
        return 1e6 * used / count


def compressed(members: int, messages: int, *, compress: bool) -> float:
    """CPU of the daemon for a copy, in microseconds."""
    chance = random.Random(1)
    with daemon("compression: on\n") as (pid, port):
        (writer,) = join(port, 1)
        readers = join(port, members, compress=compress)
        poll = select.epoll()
        by_fd = {client.sock.fileno(): client for client in readers}
        for fd in by_fd:
            poll.register(fd, select.EPOLLIN)
        time.sleep(1.5)  # who came is told to those who were there
        for client in readers:
            client.read()
        before = usage(pid).cpu_s
        for number in range(messages):
            text = " ".join(chance.choices(WORDS, k=TEXT))[:TEXT]
            say(writer, text, f"c{number}")
            waiting = set(by_fd)
            deadline = time.monotonic() + PATIENCE_S
            while waiting:
                if time.monotonic() > deadline:
                    raise Failed(f"{len(waiting)} members wait")
                for fd, _ in poll.poll(1.0):
                    if by_fd[fd].read():
                        waiting.discard(fd)
            until([writer], b'"ok"')
            writer.tail = b""
        used = usage(pid).cpu_s - before
        leave([writer, *readers])
        return 1e6 * used / members / messages


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.clients", description=__doc__)
    parser.add_argument("part", nargs="*", choices=[[], "resume", "compress"])
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    parts = options.part or ["resume", "compress"]
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    os.sched_setaffinity(0, {1})
    try:
        if "resume" in parts:
            each = [resume(5_000, 100) for _ in range(options.rounds)]
            print(f"resume of 100 messages, 5,000 clients: {statistics.median(each):.1f} µs each")
        if "compress" in parts:
            pairs = [
                [compressed(1_000, 200, compress=compress) for compress in (False, True)]
                for _ in range(options.rounds)
            ]
            plain, packed = (statistics.median(column) for column in zip(*pairs, strict=True))
            ratio = statistics.median(one[1] / one[0] for one in pairs)
            print(f"1,000 characters to 1,000: {plain:.2f} µs a copy, "
                  f"compressed {packed:.2f}, {ratio:.2f} times as much")  # fmt: skip
    except Failed as error:
        raise SystemExit(str(error)) from None
    return 0


if __name__ == "__main__":
    sys.exit(main())
