"""The whole Autobahn test suite: ``python -m tests.conformance.run``.

Each run is all 517 cases against ``/echo`` of a daemon of its own: plain and over TLS, with one and
with four workers; with ``--nginx`` once more through nginx.  The table of what came out goes into
docs/conformance.md.  The suite's own reports stay in ``.cache/conformance``.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from tests.conformance import environment, suite, table
from tests.conformance.environment import CACHE, Environment
from tests.conformance.suite import Verdicts
from tests.support import certificates
from tests.support.daemon import Daemon
from tests.support.proxies import Nginx

REPORTS = CACHE / "conformance"
EVERY = "*"
ALL = 517
TIMEOUT_S = 3 * 3600.0
SKIPPED = 77
"""The exit status that says so, as automake has it."""

SETTINGS: dict[str, object] = {
    "echo": "true",
    "compression": "on",
    # Messages of up to 16 MiB (9.1.6), one of 4 MiB in frames of 64 bytes and an empty one (9.3.1).
    "limits.message": "16MiB",
    "limits.fragments": 100_000,
    # The suite takes any ping for part of the echo, and some cases take minutes.
    "ping.every": "1h",
    "timeouts.body": "10m",
}


@dataclass
class Run:
    name: str
    workers: int
    tls: bool = False
    nginx: bool = False
    verdicts: Verdicts = field(default_factory=dict)
    seconds: float = 0.0
    trouble: str = ""
    """What else went wrong: a traceback of the daemon, or of the suite."""

    @property
    def good(self) -> bool:
        return not self.trouble and not suite.deviations(self.verdicts)


RUNS = (
    Run("plain, 1 worker", 1),
    Run("plain, 4 workers", 4),
    Run("TLS, 1 worker", 1, tls=True),
    Run("TLS, 4 workers", 4, tls=True),
)

THROUGH_NGINX = Run("through nginx, 1 worker", 1, nginx=True)


def perform(run: Run, environment: Environment, cases: Sequence[str]) -> Run:
    began = time.monotonic()
    try:
        with ExitStack() as stack:
            url = _serve(run, stack)
            reports = REPORTS / run.name.replace(", ", "-").replace(" ", "-")
            shutil.rmtree(reports, ignore_errors=True)
            run.verdicts = suite.run_cases(environment, url, cases, reports, timeout_s=TIMEOUT_S)
            # A daemon that cannot be reached any more ends the suite early and in peace.
            assert cases != [EVERY] or len(run.verdicts) == ALL, "not all cases were run"
    except AssertionError as error:
        run.trouble = str(error)
    run.seconds = time.monotonic() - began
    print(table.line(run.name, run.verdicts, run.seconds), flush=True)
    return run


def _serve(run: Run, stack: ExitStack) -> str:
    """Start the daemon of ``run`` until ``stack`` ends; where it echoes."""
    directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    settings = {**SETTINGS, "workers": run.workers}
    if run.tls:
        tls = certificates.make(directory, "localhost").yaml
        settings["listen"] = f'[{{address: "127.0.0.1:0", tls: {tls}}}]'
    daemon = Daemon(directory / "wsd", **settings)
    stack.callback(_end, daemon)
    daemon.start()
    if run.nginx:
        nginx = Nginx(directory / "nginx", daemon.port)
        stack.callback(nginx.stop)
        return nginx.start().ws("/echo")
    return f"{'wss' if run.tls else 'ws'}://127.0.0.1:{daemon.port}/echo"


def _end(daemon: Daemon) -> None:
    status = daemon.stop()
    assert status == 0, f"the daemon ended with status {status}\n{daemon.output[-2000:]}"
    assert "Traceback" not in daemon.output, daemon.output


def main(arguments: Sequence[str]) -> int:
    options = _options(arguments)
    try:
        made = environment.prepare()
    except environment.Unavailable as reason:
        print(f"skipped: {reason}")
        return SKIPPED
    chosen = [*RUNS, THROUGH_NGINX] if options.nginx else RUNS
    with ThreadPoolExecutor(options.at_once) as pool:
        runs = list(pool.map(lambda run: perform(run, made, options.cases), chosen))
    for run in runs:
        _explain(run)
    if options.cases == [EVERY]:
        table.write([(run.name, run.verdicts, run.seconds) for run in runs], made)
    return 0 if all(run.good for run in runs) else 1


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.conformance.run", description=__doc__)
    parser.add_argument(
        "--at-once", type=int, default=2, metavar="N", help="runs at the same time (2)"
    )
    parser.add_argument("--nginx", action="store_true", help="one run more, through nginx")
    parser.add_argument(
        "--cases", nargs="+", default=[EVERY], metavar="CASE", help="only these, like 6.*; no table"
    )
    return parser.parse_args(arguments)


def _explain(run: Run) -> None:
    for case, verdict in suite.deviations(run.verdicts).items():
        print(f"{run.name}: {case}: {verdict.verdict}, closed with {verdict.close_code}")
    if run.trouble:
        print(f"{run.name}: {run.trouble}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
