"""A reader that stops costs bounded memory, disturbs nobody, and loses nothing."""

from __future__ import annotations

import asyncio
import http.client
import re
import socket
import threading
import time
from pathlib import Path

from tests.chaos.crowd import crowd
from tests.chaos.faults import Tree
from tests.chaos.small import SmallClient

READERS = 98
PER_SECOND = 2000
SECONDS = 3.0
ALLOWED_KIB = 1.1 * 1024
WARM_UPS = 6


def metric(tree: Tree, name: str) -> float:
    connection = http.client.HTTPConnection("localhost", timeout=5)
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.settimeout(5)
    connection.sock.connect(str(tree.directory / "run" / "admin.sock"))
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    connection.close()
    return sum(float(value) for value in re.findall(rf"^{name}{{.*}} (\S+)$", text, re.M))


class Memory:
    """The resident memory of a process: its highest while this watches."""

    def __init__(self, pid: int) -> None:
        self._path = Path(f"/proc/{pid}/status")
        self.highest_kib = 0

    def read(self) -> int:
        found = re.search(r"VmRSS:\s+(\d+) kB", self._path.read_text())
        assert found is not None
        return int(found[1])

    def __enter__(self) -> Memory:
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def _watch(self) -> None:
        while not self._over.wait(0.05):
            self.highest_kib = max(self.highest_kib, self.read())

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()


def flood(tree: Tree, worker: int) -> tuple[int, int]:
    """Let everything pass once; the messages sent, and the worker's highest memory."""
    with crowd("flood", tree.port, PER_SECOND, SECONDS, 1024) as sender, Memory(worker) as memory:
        assert sender.stdin is not None and sender.stdout is not None
        sender.stdin.write("go\n")
        sender.stdin.flush()
        sent = int(sender.stdout.readline().split()[1])
        wait_for_quiet(tree)
    return sent, memory.highest_kib


def wait_for_quiet(tree: Tree) -> None:
    """Until the worker has nothing left to do: its counters stand still."""
    before = -1.0
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        now = metric(tree, "wsd_copies_total") + metric(tree, "wsd_commands_total")
        if now == before:
            return
        before = now
        time.sleep(0.3)
    raise AssertionError("the worker does not come to rest")


def is_steady(runs: list[int]) -> bool:
    """Whether the last two differ by less than a tenth of what is to be measured."""
    return len(runs) > 1 and abs(runs[-1] - runs[-2]) < ALLOWED_KIB / 10


def test_reader_that_stops(tmp_path: Path) -> None:
    tree = Tree(tmp_path / "wsd", workers=1, limits=", text: 2000", recover_max=500, ping_s=600)
    try:
        asyncio.run(tree.start())
        (worker,) = tree.workers()
        with crowd("drain", tree.port, READERS):
            watcher = SmallClient(tree.port, receive_buffer=64 * 1024, timeout=20.0)
            position = watcher.welcome["rooms"]["lobby"]["position"]
            assert position.endswith(".0")

            def read_all(until: int) -> list[int]:
                return [event["seq"] for event in watcher.events(until, 60)]

            total = 0
            runs: list[int] = []
            # The ring and the allocator's arenas fill first; what that takes is not the reader's.
            while not is_steady(runs) and len(runs) < WARM_UPS:
                reader = ReadAll(watcher)
                sent, highest = flood(tree, worker)
                total += sent
                assert reader.finish(total) == list(range(total - sent + 1, total + 1))
                runs.append(highest)
            assert metric(tree, "wsd_lagged_total") == 0
            sent, with_stopped = flood(tree, worker)
            lagged = metric(tree, "wsd_lagged_total")
            assert lagged == 1
            # It reads again, and gets everything that passed meanwhile, in order.
            again = read_all(total + sent)
            assert again == list(range(total + 1, total + sent + 1))
        grown = with_stopped - max(runs)
        print(f"RSS of the worker: {runs} KiB, {with_stopped} KiB with a stopped reader ({grown})")
        assert grown <= ALLOWED_KIB
    finally:
        tree.kill_all()
    assert not tree.crashes()


class ReadAll:
    """Reads in a thread, as fast as it comes."""

    def __init__(self, client: SmallClient) -> None:
        self._client = client
        self._found: list[int] = []
        self._until = 1 << 60
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        client = self._client
        client.sock.settimeout(0.2)
        while not self._found or self._found[-1] < self._until:
            try:
                value = client.next()
            except TimeoutError:
                continue
            if value["type"] == "message":
                self._found.append(value["seq"])

    def finish(self, until: int) -> list[int]:
        self._until = until
        self._thread.join(20)
        assert not self._thread.is_alive(), f"{len(self._found)} of {until}"
        self._client.sock.settimeout(20)
        return self._found
