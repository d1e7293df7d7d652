"""The long form: `bin/test fuzz --inputs N`, which is `python -m tests.fuzz.run --inputs N`.

N inputs for each target, a fifth as many for the comparison with h11, and a connection for every
fifty. Prints one table; what crashed is left in `.cache/fuzz`. The same seed makes the same run.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from tests.fuzz import guided
from tests.fuzz.differential import Result
from tests.fuzz.mutate import HTTP_SCRAPS, http_seeds, mutations
from tests.fuzz.over_wire import storm
from tests.fuzz.targets import TARGETS
from tests.support.daemon import Daemon, children_of

KEPT = guided.ROOT / ".cache" / "fuzz"


class Row(NamedTuple):
    what: str
    inputs: int
    seconds: float
    bad: int
    note: str


def run_target(name: str, inputs: int, seed: int) -> Row:
    KEPT.mkdir(parents=True, exist_ok=True)
    report = guided.fuzz(name, inputs, seed, KEPT)
    if report.crashes:
        print(report.output[-3000:], file=sys.stderr)
    return Row(name, report.inputs, report.seconds, report.crashes, f"{report.edges} branches")


def run_differential(inputs: int, seed: int) -> Row:
    result, began = Result(), time.monotonic()
    for data in islice(mutations(seed, http_seeds(), HTTP_SCRAPS, most=3), inputs):
        result.compare(data)
    for difference in result.differences[:20]:
        print(difference, file=sys.stderr)
    counts = ", ".join(f"{n} {name}" for name, n in result.counts.items() if name != "inputs")
    seconds = time.monotonic() - began
    return Row("against h11", inputs, seconds, len(result.differences), counts)


def run_wire(connections: int, seed: int) -> Row:
    with tempfile.TemporaryDirectory(prefix="wsd-fuzz-") as folder:
        daemon = Daemon(Path(folder) / "wsd", echo="true", compression="on").start()
        try:
            before, began = children_of(daemon.pid), time.monotonic()
            ends = storm(daemon, connections, seed)
            seconds = time.monotonic() - began
            died = len(set(before) - set(children_of(daemon.pid)))
            assert daemon.stop() == 0
        finally:
            daemon.kill()
    tracebacks = daemon.output.count("Traceback")
    if tracebacks:
        print(daemon.output[-3000:], file=sys.stderr)
    note = ", ".join(f"{n} {end}" for end, n in sorted(ends.items()))
    bad = died + tracebacks + ends["reset"] + ends["not let go"]
    return Row("connections", connections, seconds, bad, note)


def table(rows: list[Row]) -> str:
    cells = [("", "inputs", "seconds", "a second", "bad", "what came of them")]
    for what, inputs, seconds, bad, note in rows:
        rate = inputs / max(seconds, 0.001)
        cells.append((what, str(inputs), f"{seconds:.0f}", f"{rate:.0f}", str(bad), note))
    return "\n".join(
        f"{what:<12} {inputs:>9} {seconds:>8} {rate:>9} {bad:>4}  {note}"
        for what, inputs, seconds, rate, bad, note in cells
    )


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.run", description=__doc__)
    parser.add_argument("--inputs", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="", help="what has this in its name")
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    if missing := guided.why_missing():
        parser.error(f"{missing}: it is made for Python 3.11 to 3.13 on Linux")
    inputs, seed = options.inputs, options.seed
    runs = {name: lambda name=name: run_target(name, inputs, seed) for name in TARGETS}
    runs["against h11"] = lambda: run_differential(max(inputs // 5, 1), seed)
    runs["connections"] = lambda: run_wire(max(inputs // 50, 1), seed)
    rows = []
    for name, run in runs.items():
        if options.only in name:
            rows.append(run())
            print(table(rows[-1:]).splitlines()[1], file=sys.stderr, flush=True)
    print(table(rows))
    if options.json:
        options.json.write_text(json.dumps([row._asdict() for row in rows], indent=1))
    return int(any(row.bad or not row.inputs for row in rows))


if __name__ == "__main__":
    sys.exit(main())
