"""A crowd in a process of its own: readers that only drain, or a sender that only sends.

``python -m tests.chaos.crowd drain PORT READERS`` and ``… flood PORT PER_SECOND SECONDS BYTES``.
They say ``ready`` when connected; the flood begins at a line on standard input.  Both end when
standard input does.
"""

from __future__ import annotations

import contextlib
import selectors
import subprocess
import sys
import time
from collections.abc import Iterator

from tests.chaos.faults import ROOT
from tests.chaos.small import SmallClient

FLOOD_SENDERS = 8


def drain(port: int, readers: int) -> None:
    selector = selectors.DefaultSelector()
    clients = [SmallClient(port) for _ in range(readers)]
    for client in clients:
        client.sock.setblocking(False)
        selector.register(client.sock, selectors.EVENT_READ)
    selector.register(sys.stdin, selectors.EVENT_READ)
    print("ready", flush=True)
    buffer = bytearray(1 << 20)
    while True:
        for key, _ in selector.select():
            if key.fileobj is sys.stdin:
                return
            with contextlib.suppress(BlockingIOError):
                if not key.fileobj.recv_into(buffer):  # type: ignore[union-attr]
                    raise SystemExit("a reader was thrown out")


def flood(port: int, per_second: int, seconds: float, size: int) -> None:
    # In a room of their own, senders would not be told; here they have to read what they say.
    clients = [SmallClient(port) for _ in range(FLOOD_SENDERS)]
    print("ready", flush=True)
    sys.stdin.readline()
    text = "x" * (size - 10)
    due = time.monotonic()
    end = due + seconds
    number = 0
    while due < end:
        now = time.monotonic()
        while due <= now and due < end:
            number += 1
            clients[number % FLOOD_SENDERS].send(
                {"type": "say", "room": "lobby", "text": f"{number:09} {text}", "cid": f"f{number}"}
            )
            due += 1 / per_second
        for client in clients:
            client.discard()
        time.sleep(0.002)
    print(f"sent {number}", flush=True)
    while sys.stdin.readline():
        pass


@contextlib.contextmanager
def crowd(*words: object) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.chaos.crowd", *map(str, words)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT,
    )  # fmt: skip
    assert process.stdin is not None and process.stdout is not None
    try:
        assert process.stdout.readline() == "ready\n"
        yield process
    finally:
        process.stdin.close()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


if __name__ == "__main__":
    if sys.argv[1] == "drain":
        drain(int(sys.argv[2]), int(sys.argv[3]))
    else:
        flood(int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]), int(sys.argv[5]))
