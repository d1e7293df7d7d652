"""The daemon's processes as something to hurt, and the ways to hurt them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.chaos.client import Client
from tests.chaos.launcher import VARIABLE
from tests.support.daemon import children_of, title_of
from wsd import failpoints

ROOT = Path(__file__).resolve().parents[2]
START_S = 20.0
STOP_S = 20.0
STOPPED_S = (0.05, 3.0)
HANG_S = 14.0

CONFIG = """\
listen: ["127.0.0.1:{port}"]
workers: {workers}
state: {state}
runtime: {runtime}
limits: {{every: 0, connections_per_address: 0, connections: 20000{limits}}}
history: {{size: 10000000, recover_max: {recover_max}}}
drain: {{spread: 300ms, stop: 10s}}
ping: {{every: {ping_s}s, timeout: 4900ms}}
"""


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


class Tree:
    """Master, hub and workers, which can be killed and started again on one port and one state."""

    def __init__(
        self,
        directory: Path,
        *,
        workers: int = 3,
        recover_max: int = 2000,
        failpoint: str = "",
        chaos: dict[str, object] | None = None,
        state: Path | None = None,
        limits: str = "",
        ping_s: int = 5,
        wrapper: Sequence[str] = (),
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.state = state or directory / "state"
        self.port = free_port()
        self.failpoint = failpoint
        self.chaos = dict(chaos or {})
        self.wrapper = list(wrapper)
        """A command that turns into, or runs, the daemon in its own process (``strace -D``)."""
        self.output_path = directory / "output"
        self.process: subprocess.Popen[bytes] | None = None
        self._config = directory / "wsd.yaml"
        self._config.write_text(
            CONFIG.format(
                port=self.port, workers=workers, state=self.state, runtime=directory / "run",
                recover_max=recover_max, limits=limits, ping_s=ping_s,
            )
        )  # fmt: skip

    def spawn(self) -> None:
        environ = {k: v for k, v in os.environ.items() if not k.startswith("WSD_")}
        environ["PYTHONPATH"] = str(ROOT)
        environ[failpoints.VARIABLE] = self.failpoint
        environ[VARIABLE] = json.dumps(self.chaos)
        with self.output_path.open("ab") as output:
            self.process = subprocess.Popen(
                [*self.wrapper, sys.executable, "-m", "tests.chaos.launcher", "run", "-c",
                 str(self._config)],
                stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=ROOT, env=environ,
            )  # fmt: skip

    async def start(self) -> None:
        before = self.output.count(" serving ")
        self.spawn()
        deadline = time.monotonic() + START_S
        while self.output.count(" serving ") <= before:
            assert self.process is not None
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"the daemon did not start:\n{self.output[-5000:]}")
            await asyncio.sleep(0.02)

    @property
    def output(self) -> str:
        try:
            return self.output_path.read_text(errors="replace")
        except FileNotFoundError:
            return ""

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def pids(self) -> list[int]:
        """The master, and then whatever it has forked."""
        if self.process is None or self.process.poll() is not None:
            return []
        return [self.pid, *children_of(self.pid)]

    def hub(self) -> int:
        """0 while there is none."""
        return next((pid for pid in self.pids()[1:] if title_of(pid) == "wsd: hub"), 0)

    def workers(self) -> list[int]:
        return [pid for pid in self.pids()[1:] if title_of(pid).startswith("wsd: worker")]

    def stopped(self) -> list[int]:
        return [pid for pid in self.pids() if _state(pid) == "T"]

    def resume_all(self) -> None:
        for pid in self.stopped():
            _signal(pid, signal.SIGCONT)

    def kill_all(self) -> None:
        """As a power switch would, as far as processes are concerned: workers and hub at once."""
        pids = self.pids()
        for pid in pids:
            _signal(pid, signal.SIGKILL)
        if self.process is not None:
            self.process.wait(STOP_S)
        deadline = time.monotonic() + STOP_S
        while any(_state(pid) not in ("", "Z") for pid in pids[1:]):  # they are init's by now
            assert time.monotonic() < deadline, "killed processes are still there"
            time.sleep(0.002)

    async def stop(self) -> int:
        """SIGTERM, and the exit status."""
        assert self.process is not None
        self.process.terminate()
        deadline = time.monotonic() + STOP_S
        while self.process.poll() is None:
            if time.monotonic() > deadline:
                self.kill_all()
                raise AssertionError(f"the daemon did not stop:\n{self.output[-5000:]}")
            await asyncio.sleep(0.01)
        return self.process.returncode

    def failpoint_hits(self) -> Counter[str]:
        return Counter(re.findall(r"failpoint name=(\S+)", self.output))

    def bus_hits(self) -> Counter[str]:
        return Counter(re.findall(r"busfault kind=(\S+)", self.output))

    def crashes(self) -> list[str]:
        """What a daemon never says, whatever happens to it."""
        return re.findall(r".*(?:Traceback|traceback=| crashed | client_failed ).*", self.output)


def _signal(pid: int, signum: int) -> bool:
    try:
        os.kill(pid, signum)
    except ProcessLookupError:
        return False
    return True


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return ""


class Tormentor:
    """Injects faults into one tree and counts them."""

    def __init__(self, tree: Tree, clients: list[Client], rng: random.Random) -> None:
        self.tree = tree
        self.clients = clients
        self.rng = rng
        self.counts: Counter[str] = Counter()
        self.hub_kills: list[float] = []
        self._ours: set[asyncio.Task[None]] = set()
        self._stopped_by_us: set[int] = set()

    def kill_hub(self) -> None:
        pid = self.tree.hub()
        if pid and _signal(pid, signal.SIGKILL):
            self.counts["kill hub"] += 1
            self.hub_kills.append(time.monotonic())

    def kill_worker(self) -> None:
        workers = self.tree.workers()
        if workers and _signal(self.rng.choice(workers), signal.SIGKILL):
            self.counts["kill worker"] += 1

    async def kill_everything(self) -> None:
        self.tree.kill_all()
        self.counts["kill all"] += 1
        await self.tree.start()

    async def kill_master(self) -> None:
        """Only the master: the others have to notice, and to make room for the next ones."""
        orphans = self.tree.pids()[1:]
        _signal(self.tree.pid, signal.SIGKILL)
        assert self.tree.process is not None
        self.tree.process.wait(STOP_S)
        self.counts["kill master"] += 1
        await self.tree.start()
        assert all(_state(pid) in ("", "Z") for pid in orphans), "children outlive their master"

    async def restart(self) -> None:
        """As an administrator does, with SIGTERM."""
        status = await self.tree.stop()
        assert status == 0, f"exit status {status} after SIGTERM"
        self.counts["restart"] += 1
        await self.tree.start()

    def hang(self, kind: str, pid: int) -> None:
        """SIGSTOP for so long that the master has to take it for hung and replace it."""
        self.pause(kind, pid, HANG_S)

    def pause(self, kind: str, pid: int, seconds: float = 0.0) -> None:
        """SIGSTOP for a while, mostly a short one."""
        if not pid or pid in self._stopped_by_us or not _signal(pid, signal.SIGSTOP):
            return
        self.counts[f"{'hang' if seconds else 'stop'} {kind}"] += 1
        self._stopped_by_us.add(pid)
        low, high = STOPPED_S
        seconds = seconds or low * (high / low) ** self.rng.random()
        self._later(seconds, pid)

    def _later(self, seconds: float, pid: int) -> None:
        async def go_on() -> None:
            await asyncio.sleep(seconds)
            _signal(pid, signal.SIGCONT)
            self._stopped_by_us.discard(pid)

        task = asyncio.create_task(go_on())
        self._ours.add(task)
        task.add_done_callback(self._ours.discard)

    def wake_failpoints(self) -> None:
        """Those who stopped themselves at a failpoint cannot go on by themselves."""
        for pid in self.tree.stopped():
            if pid not in self._stopped_by_us:
                self._stopped_by_us.add(pid)
                self._later(self.rng.uniform(0.05, 0.5), pid)

    def reset_client(self) -> None:
        client = self.rng.choice(self.clients)
        if client.wire is None or client.wire.transport is None:
            return
        if KERNEL_RESETS:
            name = client.wire.transport.get_extra_info("sockname")
            if kernel_reset(name[1]):
                self.counts["reset (ss -K)"] += 1
                return
        client.wire.reset()
        self.counts["reset (linger 0)"] += 1

    async def close(self) -> None:
        for task in list(self._ours):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        self.tree.resume_all()


class Unavailable(Exception):
    """This machine cannot do that; the text says what."""


class SmallDisk:
    """A tmpfs that can be filled up and emptied."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._ballast = path / "ballast"

    def fill(self, leave: int = 0) -> None:
        """Take all the space there is but ``leave`` bytes."""
        with self._ballast.open("ab", buffering=0) as file:
            free = os.statvfs(self.path)
            size = free.f_bavail * free.f_frsize - leave
            with contextlib.suppress(OSError):  # the daemon writes at the same time
                while size > 0:
                    size -= file.write(bytes(min(size, 1 << 20)))

    def free(self) -> None:
        self._ballast.unlink(missing_ok=True)


@contextlib.contextmanager
def small_disk(path: Path, mebibytes: int) -> Iterator[SmallDisk]:
    """Raises Unavailable."""
    path.mkdir(parents=True, exist_ok=True)
    try:
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={mebibytes}m,mode=700", "wsd-chaos", str(path)],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
    except OSError as error:
        raise Unavailable(f"mount: {error}") from None
    if mounted.returncode:
        raise Unavailable(mounted.stderr.strip() or "mount failed")
    try:
        yield SmallDisk(path)
    finally:
        subprocess.run(["umount", "-l", str(path)], check=False)


def kernel_reset(port: int) -> bool:
    """Have the kernel destroy the client's end of a loopback connection."""
    result = subprocess.run(
        ["ss", "-K", "-H", "-t", "state", "established", f"( sport = :{port} )",
         "dst", "127.0.0.1"],
        capture_output=True, text=True, check=False, timeout=10,
    )  # fmt: skip
    return bool(result.stdout.strip())


def _kernel_resets() -> bool:
    """Whether ``ss -K`` does anything here: it needs root and CONFIG_INET_DIAG_DESTROY."""
    try:
        with (
            socket.create_server(("127.0.0.1", 0)) as server,
            socket.create_connection(server.getsockname()) as near,
            server.accept()[0] as far,
        ):
            kernel_reset(near.getsockname()[1])
            far.settimeout(0.2)
            try:
                far.recv(1)
            except ConnectionResetError:
                return True
            except TimeoutError:
                return False
            return True
    except (OSError, subprocess.SubprocessError):
        return False


KERNEL_RESETS = _kernel_resets()
