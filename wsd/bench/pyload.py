"""The load generator in Python, for machines without a C compiler: ``python -m wsd.bench.pyload``.

It is ``wsload.c --whole`` over again, with those of its options that ``wsd bench`` uses: members
of rooms, the first of which publish, each as soon as it has its own message back.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import re
import resource
import selectors
import socket
import sys
import time
from pathlib import Path

MARKER = re.compile(rb"@([0-9a-f]{4})([0-9a-f]{8})([0-9a-f]{16})@")
MARKER_SIZE = 30
QUANTILES = (
    0, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999, 0.9995, 0.9998, 0.9999,
    0.99999,
)  # fmt: skip
CONNECT_BURST = 256
CONNECT_S = 120.0
QUIET_S = 10.0
PROGRESS_S = 0.1
TEXT, CLOSE, PING, PONG = 0x81, 8, 9, 0x8A


class Usage:
    """CPU seconds and KiB of memory of a process and all its descendants."""

    def __init__(self, pid: int) -> None:
        self.cpu_s = 0.0
        self.pss_kb = 0
        self.processes = 0
        self._add(pid)

    def _add(self, pid: int) -> None:
        try:
            for task in Path(f"/proc/{pid}/task").iterdir():
                self.cpu_s += int((task / "schedstat").read_text().split()[0]) / 1e9
                children = (task / "children").read_text().split()
                for child in children:
                    self._add(int(child))
            rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
        except (FileNotFoundError, ProcessLookupError):
            return
        self.processes += 1
        found = re.search(r"^Pss: +(\d+)", rollup, re.MULTILINE)
        self.pss_kb += int(found[1]) if found else 0


def frame(opcode: int, payload: bytes) -> bytes:
    """Masked with zeros, so that there is nothing to compute: masks protect proxies from what
    pages make a browser send, and there is neither here."""
    size = len(payload)
    if size < 126:
        return bytes((opcode, 0x80 | size)) + bytes(4) + payload
    return bytes((opcode, 0x80 | 126)) + size.to_bytes(2, "big") + bytes(4) + payload


class Member:
    """One connection, in room ``room`` the ``index``-th."""

    def __init__(self, load: Load, number: int) -> None:
        self.load = load
        self.number = number
        self.room, self.index = divmod(number, load.options.members)
        self.open = False
        self.next = 0
        self.awaited = 0
        self.carry = b""
        self.sock = socket.socket()
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if load.options.sources > 1:
            # An address of its own for each part: the local ports of one do not suffice.
            self.sock.bind((f"127.0.0.{2 + number % load.options.sources}", 0))
        # The loopback takes a connection at once; what then follows does not block.
        self.sock.connect(("127.0.0.1", load.options.port))
        self.send(self.load.handshake(self.fill(load.options.path)))
        self.sock.setblocking(False)

    def fill(self, template: str) -> str:
        for name, value in (("room", self.room), ("conn", self.number), ("seq", self.next)):
            template = template.replace(f"{{{name}}}", str(value))
        return template

    def send(self, data: bytes) -> None:
        # A member has one short message on its way: the socket's buffer takes it.
        self.sock.sendall(data)

    def publish(self) -> None:
        sent_ns = time.monotonic_ns()
        marker = f"@{self.index & 0xFFFF:04x}{self.next:08x}{sent_ns:016x}@"
        text = self.fill(self.load.options.message).replace("{marker}", marker)
        pad = "x" * (self.load.options.size - MARKER_SIZE)
        self.awaited = self.next
        self.next += 1
        self.load.published += 1
        self.send(frame(TEXT, text.replace("{pad}", pad).encode()))

    def on_readable(self) -> None:
        try:
            data = self.sock.recv(1 << 18)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.drop()
            return
        self.carry += data
        if not self.open:
            head, end, rest = self.carry.partition(b"\r\n\r\n")
            if not end:
                return
            if b" 101 " not in head.partition(b"\r\n")[0]:
                self.drop()
                return
            self.carry = rest
            self.open = True
            self.load.open += 1
            self.send(frame(TEXT, self.fill(self.load.options.hello).encode()))
        self.frames()

    def frames(self) -> None:
        data, at = self.carry, 0
        while len(data) - at >= 2:
            size, head = data[at + 1], 2
            if size == 126:
                size, head = int.from_bytes(data[at + 2 : at + 4], "big"), 4
            elif size == 127:
                size, head = int.from_bytes(data[at + 2 : at + 10], "big"), 10
            if len(data) < at + head + size:
                break
            opcode = data[at] & 15
            payload = data[at + head : at + head + size]
            at += head + size
            if opcode == CLOSE:
                self.drop()
                return
            if opcode == PING:
                self.send(frame(PONG, payload))
            else:
                self.on_payload(payload)
        self.carry = data[at:]

    def on_payload(self, payload: bytes) -> None:
        for publisher, seq, sent_ns in MARKER.findall(payload):
            load = self.load
            load.arrived += 1
            if load.latencies is not None:
                load.latencies.append(time.monotonic_ns() - int(sent_ns, 16))
            if self.index < load.options.publishers and int(publisher, 16) == self.index:
                if int(seq, 16) != self.awaited:
                    load.out_of_order += 1
                elif load.publishing:
                    self.publish()

    def drop(self) -> None:
        self.load.selector.unregister(self.sock)
        self.sock.close()
        self.load.open -= self.open
        self.load.dead += 1


class Load:
    """All the members, and what they have counted."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.selector = selectors.DefaultSelector()
        self.open = self.dead = self.published = self.arrived = self.out_of_order = 0
        self.publishing = False
        self.latencies: list[int] | None = None
        """Nanoseconds of each copy; None while they are not counted."""
        self.members: list[Member] = []
        self.next_progress = 0.0

    def handshake(self, path: str) -> bytes:
        key = base64.b64encode(os.urandom(16)).decode()
        return (
            f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{self.options.port}\r\n"
            "Upgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n"
            f"Sec-WebSocket-Protocol: {self.options.subprotocol}\r\n\r\n"
        ).encode()

    def turn(self, phase: str = "", done: int = 0, of: int = 0) -> None:
        for key, _ in self.selector.select(0.005):
            key.data.on_readable()
        now = time.monotonic()
        if phase and self.options.progress and now >= self.next_progress:
            self.next_progress = now + PROGRESS_S
            print(f"progress {phase} {done} {of}", file=sys.stderr, flush=True)

    def connect(self) -> None:
        total = self.options.members * self.options.rooms
        deadline = time.monotonic() + CONNECT_S
        while self.open + self.dead < total and time.monotonic() < deadline:
            asked = len(self.members)
            if asked < total and asked - self.open - self.dead < CONNECT_BURST:
                member = Member(self, asked)
                self.members.append(member)
                self.selector.register(member.sock, selectors.EVENT_READ, member)
                if asked % 16:
                    continue
            self.turn("connecting", self.open, total)

    def run_for(self, seconds: float, phase: str) -> None:
        began = time.monotonic()
        while (past := time.monotonic() - began) < seconds:
            self.turn(phase, int(past * 1000), len(self.latencies or ()))

    def start(self) -> None:
        self.publishing = True
        for member in self.members:
            if member.index < self.options.publishers and member.open:
                member.publish()

    def finish(self) -> None:
        """Publish no more, and wait until every member has every message."""
        self.publishing = False
        deadline = time.monotonic() + QUIET_S
        while (
            self.arrived < self.published * self.options.members
            and not self.dead
            and time.monotonic() < deadline
        ):
            self.turn()

    def measure(self) -> dict[str, object]:
        options = self.options
        before = Usage(options.pid)
        began = time.monotonic()
        self.connect()
        connect_s = time.monotonic() - began
        connected = Usage(options.pid)
        self.run_for(options.settle, "warming")
        idle = Usage(options.pid)
        self.start()
        self.run_for(options.warmup, "warming")
        self.finish()
        published = self.published
        a, own, began = Usage(options.pid), time.process_time(), time.monotonic()
        latencies: list[int] = []
        self.latencies = latencies
        self.start()
        self.run_for(options.seconds, "measuring")
        self.finish()
        took, own = time.monotonic() - began, time.process_time() - own
        b = Usage(options.pid)
        copies, cpu_s = len(latencies), b.cpu_s - a.cpu_s
        latencies.sort()

        def ms(q: float) -> float:
            return round(latencies[min(int(copies * q), copies - 1)] / 1e6, 3) if copies else 0.0

        return {
            "members": self.open, "rooms": options.rooms, "dead": self.dead,
            "connect_per_s": self.open / connect_s,
            "connect_cpu_us": (connected.cpu_s - before.cpu_s) * 1e6 / max(self.open, 1),
            "kb_per_member": (idle.pss_kb - before.pss_kb) / max(self.open, 1),
            "published": self.published - published, "delivered": copies,
            "published_per_s": (self.published - published) / took,
            "delivered_per_s": copies / took,
            "p50_ms": ms(0.5), "p99_ms": ms(0.99), "p999_ms": ms(0.999),
            "server_cpu": cpu_s / took, "cpu_us_per_copy": cpu_s * 1e6 / max(copies, 1),
            "generator_cpu": own / took, "out_of_order": self.out_of_order,
            "processes": b.processes, "seconds": took,
            "percentiles": [[q, ms(q)] for q in QUANTILES if copies * (1 - q) >= 1],
        }  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m wsd.bench.pyload", description=__doc__)
    for name in ("port", "pid", "members"):
        parser.add_argument(f"--{name}", type=int, required=True)
    for name in ("rooms", "publishers", "sources"):
        parser.add_argument(f"--{name}", type=int, default=1)
    parser.add_argument("--size", type=int, default=64)
    for name, default in (("seconds", 5.0), ("warmup", 1.0), ("settle", 0.5)):
        parser.add_argument(f"--{name}", type=float, default=default)
    for name in ("path", "subprotocol", "hello", "message"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--progress", action="store_true")
    parser.add_argument("--whole", action="store_true", help="as it always does")
    options = parser.parse_args()
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    print(json.dumps(Load(options).measure()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
