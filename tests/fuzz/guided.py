"""A coverage-guided fuzzer (atheris, on libFuzzer) on one target: `python -m tests.fuzz.guided`.

libFuzzer ends the process itself, so this is always a process of its own: `fuzz` starts one and
reads what it reports. The same seed makes the same inputs.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
MAX_BYTES = 2048
SLOW_S = 5
"""One input that takes longer is a crash."""


class Report(NamedTuple):
    target: str
    inputs: int
    seconds: float
    crashes: int
    edges: int
    """Branches of `wsd.protocol` that were taken."""
    output: str


def why_missing() -> str:
    """Why it cannot run here; empty if it can."""
    return "" if find_spec("atheris") else "atheris is not installed"


def fuzz(target: str, inputs: int, seed: int, artifacts: Path | None = None) -> Report:
    """Runs the fuzzer. An input that crashed is left in `artifacts`."""
    with tempfile.TemporaryDirectory(prefix="wsd-fuzz-") as folder:
        kept = artifacts or Path(folder)
        began = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-m", "tests.fuzz.guided", target, "--inputs", str(inputs),
             "--seed", str(seed), "--seeds", folder, "--artifacts", str(kept)],
            cwd=ROOT, text=True, errors="replace", stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        seconds = time.monotonic() - began
        crashes = len(list(kept.glob(f"{target}-*")))
    return Report(target, _inputs(done.stdout), seconds, max(crashes, done.returncode != 0),
                  _edges(done.stdout), done.stdout)  # fmt: skip


def _inputs(output: str) -> int:
    found = re.search(r"stat::number_of_executed_units:\s*(\d+)", output)
    return int(found[1]) if found else 0


def _edges(output: str) -> int:
    return max((int(edges) for edges in re.findall(r" cov: (\d+) ", output)), default=0)


# -- in the process of its own


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.guided", description=__doc__)
    parser.add_argument("target")
    parser.add_argument("--inputs", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seeds", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--artifacts", type=Path, required=True, metavar="FOLDER")
    options = parser.parse_args()

    import atheris

    with atheris.instrument_imports(include=["wsd.protocol"]):
        from tests.fuzz.targets import TARGETS
    target = TARGETS[options.target]
    seeds = options.seeds / "seeds"
    seeds.mkdir()
    for seed in target.seeds():
        (seeds / hashlib.sha256(seed).hexdigest()[:16]).write_bytes(seed)
    words = options.seeds / "words"
    words.write_text("".join(f'"{_escaped(scrap)}"\n' for scrap in target.scraps))
    atheris.Setup(
        [sys.argv[0], f"-runs={options.inputs}", f"-seed={options.seed}", f"-max_len={MAX_BYTES}",
         f"-timeout={SLOW_S}", f"-dict={words}", "-print_final_stats=1", "-rss_limit_mb=1024",
         f"-artifact_prefix={options.artifacts}/{options.target}-", str(seeds)],
        target.check,
    )  # fmt: skip
    atheris.Fuzz()


def _escaped(scrap: bytes) -> str:
    return "".join(f"\\x{byte:02x}" for byte in scrap)


if __name__ == "__main__":
    main()
