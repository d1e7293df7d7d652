"""What every measurement shares: building the programs, starting a server, driving it, writing it
down.

A server has CPU 0 and the generator CPU 1.  CPU time of all processes of a server per copy is what
holds on a busy machine; throughput and milliseconds do not, nor does any figure without that of
``floor.c`` in the same minute.
"""

from __future__ import annotations

import csv
import json
import os
import re
import socket
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from wsd.bench.server import stop

HERE = Path(__file__).resolve().parent
HISTORY = HERE / "history.csv"
SOURCES = {"wsload": HERE.parent / "wsd/bench/wsload.c", "floor": HERE / "floor.c"}

START_S = 10.0
TEXT = 100
"""Bytes of a message's text."""

FLOOR_WORDS = ("--path", "/room{room}")

Figures = dict[str, float]


class Failed(Exception):
    """A server did not start, or did not do the work."""


class Work(NamedTuple):
    """``floor`` is the mode of ``floor.c`` that this is compared with."""

    name: str
    options: str
    floor: str
    target: float
    """The ratio to the floor that is aimed at; 0 where there is none."""


KINDS = (
    Work("lone", "--members 1000 --publishers 1 --window 1", "each", 1.15),
    Work("busy", "--members 1000 --publishers 10 --window 4", "turn", 1.6),
    Work("small", "--rooms 200 --members 5 --publishers 5", "each", 1.5),
    Work("lone to 10,000", "--members 10000 --publishers 1 --window 1", "each", 1.15),
    Work("echo", "--members 1", "each", 0),
)


class Server(NamedTuple):
    """``command`` starts it; ``words`` are options of wsload, which then speaks as it does."""

    command: Sequence[str]
    words: Sequence[str]
    environ: Mapping[str, str] = {}


def build(directory: Path) -> None:
    """The generator and the floor."""
    for name, source in SOURCES.items():
        subprocess.run(["cc", "-O2", "-o", directory / name, source], check=True)


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@contextmanager
def started(server: Server, port: int) -> Iterator[int]:
    """The process id of ``server``, once it accepts."""
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            ["taskset", "-c", "0", *server.command],
            stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=HERE.parent,
            env={**os.environ, **server.environ},
        )  # fmt: skip
        try:
            deadline = time.monotonic() + START_S
            while not accepts(port):
                if process.poll() is not None or time.monotonic() > deadline:
                    output.seek(0)
                    said = output.read().decode(errors="replace").strip().splitlines()
                    raise Failed(f"it does not start: {said[-1] if said else 'without a word'}")
                time.sleep(0.05)
            time.sleep(0.5)
            yield process.pid
        finally:
            stop(process)


def accepts(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0


def drive(
    wsload: Path, server: Server, port: int, work: Work, seconds: float,
    beside: Callable[[int], AbstractContextManager[None]] = lambda pid: nullcontext(),
) -> Figures:  # fmt: skip
    """Start a server and have it do the work, within ``beside`` its process id.  Raises Failed."""
    with started(server, port) as pid, beside(pid):
        command = [
            "taskset", "-c", "1", str(wsload), "--port", str(port), "--pid", str(pid),
            "--size", str(TEXT), "--seconds", str(seconds), *work.options.split(), *server.words,
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise Failed(done.stderr.strip())
    figures: Figures = json.loads(done.stdout)
    if figures["dead"] or figures["out_of_order"] or not figures["delivered"]:
        raise Failed(
            f"{figures['delivered']} copies, {figures['dead']} members cut off, "
            f"{figures['out_of_order']} messages out of order"
        )
    return figures


def drive_floor(directory: Path, work: Work, seconds: float) -> Figures:
    port = free_port()
    floor = Server([str(directory / "floor"), str(port), work.floor], FLOOR_WORDS)
    return drive(directory / "wsload", floor, port, work, seconds)


Pairs = list[tuple[Figures, Figures]]
"""What a server and the floor did in the same minute."""


def summary(pairs: Pairs, columns: Sequence[str]) -> dict[str, float]:
    """Medians: of the server's ``columns``, of the floor, and of the ratio of each pair."""
    column = "cpu_us_per_copy"
    return {
        **{name: statistics.median(server[name] for server, _ in pairs) for name in columns},
        "floor": statistics.median(floor[column] for _, floor in pairs),
        "ratio": statistics.median(server[column] / floor[column] for server, floor in pairs),
    }


# -- the history


COLUMNS = (
    "time", "commit", "machine", "load", "server", "durability", "workers", "kind", "us_per_copy",
    "floor", "ratio", "p50_ms", "p99_ms",
)  # fmt: skip


def circumstances() -> dict[str, object]:
    """Of this run.  ``load`` is how many processes wanted a CPU in the minute before it: above a
    few tenths, others were at work, and only the ratio means anything."""
    git = ["git", "describe", "--always", "--dirty", "--abbrev=10", "--exclude=*"]
    done = subprocess.run(git, capture_output=True, text=True, cwd=HERE)
    found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": done.stdout.strip(),
        "machine": found[1] if found else os.uname().machine,
        "load": round(os.getloadavg()[0], 2),
    }


def record(rows: Sequence[Mapping[str, object]]) -> None:
    """Add rows to ``history.csv``; columns that one lacks stay empty."""
    new = not HISTORY.exists()
    with HISTORY.open("a", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, extrasaction="ignore", lineterminator="\n")
        if new:
            writer.writeheader()
        writer.writerows(
            {k: round(v, 3) if isinstance(v, float) else v for k, v in row.items()} for row in rows
        )
