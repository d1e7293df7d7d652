"""What a delivered copy costs, against the floor in the same minute: ``python -m bench.run``.

Each kind of work is run on the daemon and on ``floor.c``, by turns, ``--rounds`` times; the medians
go into a table and, with ``--record``, into ``history.csv``.  The server has CPU 0, the generator
CPU 1.  CPU time of all processes of a server per copy is what holds on a busy machine; throughput
and milliseconds do not.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve().parent
SOURCES = {"wsload": HERE.parent / "wsd/bench/wsload.c", "floor": HERE / "floor.c"}
CONFIG = """\
listen: ["127.0.0.1:{port}"]
workers: {workers}
state: {directory}/state
runtime: {directory}/run
durability: {durability}
limits: {{every: 0, connections_per_address: 0, connections: 20000}}
"""
HELLO = '{"type":"hello","id":1,"rooms":{"room{room}":null}}'
SAY = (
    '{"type":"say","id":2,"room":"room{room}","cid":"c{conn}.{seq}","text":"{marker}{pad}"}'
)
WSD = ["--path", "/chat?room=room{room}", "--subprotocol", "wsd.v1", "--hello", HELLO,
       "--message", SAY]  # fmt: skip
FLOOR = ["--path", "/room{room}"]
COLUMNS = ("cpu_us_per_copy", "p50_ms", "p99_ms", "connect_cpu_us", "kb_per_member")

TITLES = (
    ("work", 16), ("us a copy", 11), ("floor", 8), ("ratio", 8), ("target", 8), ("p50 ms", 9),
    ("p99 ms", 9), ("us to connect", 15), ("KiB a member", 14),
)  # fmt: skip

Figures = dict[str, float]


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


def build(directory: Path, name: str) -> Path:
    program = directory / name
    subprocess.run(["cc", "-O2", "-o", program, SOURCES[name]], check=True)
    return program


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@contextmanager
def started(command: list[str], port: int, **keys: object) -> Iterator[int]:
    """The server that ``command`` starts, when it accepts; its process id."""
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            ["taskset", "-c", "0", *command], stdout=output, stderr=output, **keys  # type: ignore[call-overload]
        )
        try:
            for _ in range(200):
                time.sleep(0.05)
                with socket.socket() as sock:
                    if sock.connect_ex(("127.0.0.1", port)) == 0:
                        break
            else:
                output.seek(0)
                raise SystemExit(f"it does not start: {output.read().decode()}")
            time.sleep(0.5)
            yield process.pid
        finally:
            process.terminate()
            process.wait(20)


def load(
    wsload: Path, port: int, pid: int, work: Work, words: list[str], seconds: float
) -> Figures:
    command = ["taskset", "-c", "1", str(wsload), "--port", str(port), "--pid", str(pid), "--size",
               "100", "--seconds", str(seconds), *work.options.split(), *words]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    figures: Figures = json.loads(done.stdout)
    if figures["dead"] or figures["out_of_order"]:
        raise SystemExit(f"{work.name}: {figures}")
    return figures


def one_round(directory: Path, work: Work, options: argparse.Namespace) -> tuple[Figures, Figures]:
    """(daemon, floor), one after the other."""
    port = free_port()
    wsload = directory / "wsload"
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "wsd.yaml"
        path.write_text(
            CONFIG.format(
                port=port, directory=name, workers=options.workers, durability=options.durability
            )
        )
        command = [sys.executable, "-m", "wsd", "run", "-c", str(path)]
        with started(command, port, cwd=HERE.parent) as pid:
            daemon = load(wsload, port, pid, work, WSD, options.seconds)
    with started([str(directory / "floor"), str(port), work.floor], port) as pid:
        floor = load(wsload, port, pid, work, FLOOR, options.seconds)
    return daemon, floor


def median(found: list[Figures], column: str) -> float:
    return statistics.median(figures[column] for figures in found)


def summary(work: Work, pairs: list[tuple[Figures, Figures]]) -> dict[str, object]:
    daemon, floor = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    ratio = statistics.median(d["cpu_us_per_copy"] / f["cpu_us_per_copy"] for d, f in pairs)
    return {
        "work": work.name, "ratio": round(ratio, 3),
        "floor_us_per_copy": round(median(floor, "cpu_us_per_copy"), 3),
        **{column: round(median(daemon, column), 3) for column in COLUMNS},
    }  # fmt: skip


def line(work: Work, row: dict[str, object]) -> str:
    cells = [
        work.name, row["cpu_us_per_copy"], row["floor_us_per_copy"], row["ratio"],
        work.target or "-", *(row[column] for column in COLUMNS[1:]),
    ]  # fmt: skip
    return "".join(f"{cell:>{width}}" for cell, (_, width) in zip(cells, TITLES, strict=True))


def record(rows: list[dict[str, object]]) -> None:
    path = HERE / "history.csv"
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        if new:
            writer.writeheader()
        writer.writerows(rows)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.run", description=__doc__)
    parser.add_argument("work", nargs="*", choices=[[], *(work.name for work in KINDS)])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--durability", default="full")
    parser.add_argument("--record", action="store_true", help="add a row each to history.csv")
    options = parser.parse_args()
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=HERE
    ).stdout.strip()
    rows = []
    print("".join(f"{title:>{width}}" for title, width in TITLES))
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        for program in ("wsload", "floor"):
            build(directory, program)
        for work in KINDS:
            if not options.work or work.name in options.work:
                pairs = [one_round(directory, work, options) for _ in range(options.rounds)]
                row = summary(work, pairs)
                print(line(work, row), flush=True)
                rows.append({
                    "time": datetime.now(UTC).isoformat(timespec="seconds"), "commit": commit,
                    "durability": options.durability, "workers": options.workers,
                    "cpus": os.cpu_count(), **row,
                })  # fmt: skip
    if options.record:
        record(rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
