"""``python -m tests.hostile [NAME...] [--json FILE]``: run experiments, print one table."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

from tests.hostile.experiments import EXPERIMENTS, Figure


def shown(figure: Figure) -> str:
    value = f"{figure.value:,.2f}".rstrip("0").rstrip(".")
    bound = "" if figure.bound is None else f"≤ {figure.bound:g}"
    verdict = "" if figure.bound is None else "kept" if figure.kept else "BROKEN"
    return f"    {figure.name:<34} {value:>12} {figure.unit:<4} {bound:>9}  {verdict}"


def main() -> int:
    parser = argparse.ArgumentParser(prog="bin/test hostile --", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(EXPERIMENTS))
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there as well")
    options = parser.parse_args()
    unknown = [name for name in options.names if name not in EXPERIMENTS]
    if unknown:
        parser.error(f"there is no {unknown[0]}; there are {', '.join(EXPERIMENTS)}")
    results: dict[str, list[Figure]] = {}
    for name in options.names or EXPERIMENTS:
        run = EXPERIMENTS[name]
        print(f"{name}: {' '.join((run.__doc__ or '').split())}", flush=True)
        began = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="wsd-hostile-") as directory:
            results[name] = run(Path(directory) / "wsd")
        for figure in results[name]:
            print(shown(figure))
        print(f"    ({time.monotonic() - began:.0f} s)", flush=True)
    if options.json:
        found = {name: [f._asdict() for f in figures] for name, figures in results.items()}
        options.json.write_text(json.dumps(found, indent=1) + "\n")
    broken = [f for figures in results.values() for f in figures if not f.kept]
    kept = sum(f.bound is not None for figures in results.values() for f in figures) - len(broken)
    print(f"{kept} bounds kept, {len(broken)} broken")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
