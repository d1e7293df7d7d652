"""What a delivered copy costs, against the floor in the same minute: ``python -m bench.run``.

Each kind of work is run on the daemon and on ``floor.c``, by turns, ``--rounds`` times; the medians
go into a table and into ``history.csv``.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from bench.daemon import wsd
from bench.measure import (
    KINDS,
    Failed,
    Figures,
    Work,
    build,
    circumstances,
    drive,
    drive_floor,
    free_port,
    record,
    summary,
)

COLUMNS = ("cpu_us_per_copy", "p50_ms", "p99_ms", "connect_cpu_us", "kb_per_member")
TITLES = (
    ("work", 16), ("us a copy", 11), ("floor", 8), ("ratio", 8), ("target", 8), ("p50 ms", 9),
    ("p99 ms", 9), ("us to connect", 15), ("KiB a member", 14),
)  # fmt: skip


def one_round(directory: Path, work: Work, options: argparse.Namespace) -> tuple[Figures, Figures]:
    """(daemon, floor), one after the other."""
    with tempfile.TemporaryDirectory() as name:
        port = free_port()
        server = wsd(Path(name), port, options.durability, options.workers)
        daemon = drive(directory / "wsload", server, port, work, options.seconds)
    return daemon, drive_floor(directory, work, options.seconds)


def line(work: Work, row: dict[str, float]) -> str:
    figures = [row[name] for name in ("cpu_us_per_copy", "floor", "ratio")]
    cells = [
        work.name, *(f"{figure:.3f}" for figure in figures), work.target or "-",
        *(f"{row[column]:.3f}" for column in COLUMNS[1:]),
    ]  # fmt: skip
    return "".join(f"{cell:>{width}}" for cell, (_, width) in zip(cells, TITLES, strict=True))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.run", description=__doc__)
    parser.add_argument("work", nargs="*", choices=[[], *(work.name for work in KINDS)])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--durability", default="full")
    parser.add_argument("--no-record", action="store_true", help="add nothing to history.csv")
    options = parser.parse_args()
    shared = {
        **circumstances(), "server": "wsd",
        "durability": options.durability, "workers": options.workers,
    }  # fmt: skip
    rows: list[dict[str, object]] = []
    print("".join(f"{title:>{width}}" for title, width in TITLES))
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        build(directory)
        for work in KINDS:
            if options.work and work.name not in options.work:
                continue
            try:
                pairs = [one_round(directory, work, options) for _ in range(options.rounds)]
            except Failed as error:
                raise SystemExit(f"{work.name}: {error}") from None
            row = summary(pairs, COLUMNS)
            print(line(work, row), flush=True)
            rows.append({**shared, "kind": work.name, "us_per_copy": row["cpu_us_per_copy"], **row})
    if not options.no_record:
        record(rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
