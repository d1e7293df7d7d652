"""The daemon that is measured: its own state, a free port of the loopback, gone afterwards."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

from wsd.child import die_with_parent

START_S = 20.0
STOP_S = 15.0

# Nothing in it may depend on what a running daemon uses.  Limits that would slow the generator,
# which is all guests at one address, are off.
CONFIG = """\
listen: ["127.0.0.1:0"]
workers: {workers}
state: {directory}/state
runtime: {directory}/run
durability: {durability}
limits:
  text: {text}
  every: 0
  address_share: 0
  connections: {connections}
  connections_per_address: 0
drain: {{spread: 0, stop: 2s}}
log: {{level: warning}}
"""


class CannotMeasure(Exception):
    """Its text is for the user."""


class Served(NamedTuple):
    pid: int
    port: int


@contextmanager
def own_daemon(
    directory: Path, workers: int, durability: str, text: int, connections: int
) -> Iterator[Served]:
    """One in ``directory``, while the context lasts.  Raises CannotMeasure."""
    path = directory / "wsd.yaml"
    path.write_text(
        CONFIG.format(
            directory=directory, workers=workers, durability=durability,
            text=max(text, 1000), connections=connections,
        )
    )  # fmt: skip
    # What the environment says is meant for the user's own daemon.
    environ = {k: v for k, v in os.environ.items() if not k.startswith("WSD_")}
    said = directory / "output"
    with said.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "wsd", "run", "-c", str(path)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=environ,
            # Whoever kills the command leaves no daemon behind.
            preexec_fn=partial(die_with_parent, signal.SIGTERM),
        )
    try:
        yield Served(process.pid, _port(process, said))
    finally:
        stop(process)


def stop(process: subprocess.Popen[bytes]) -> None:
    """End it in peace, or else by force."""
    process.terminate()
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _port(process: subprocess.Popen[bytes], said: Path) -> int:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        text = said.read_text(errors="replace")
        found = re.search(r"serving on http://127\.0\.0\.1:(\d+)/", text)
        if found:
            return int(found[1])
        if process.poll() is not None:
            raise CannotMeasure(f"the daemon did not start: {text.strip()}")
        time.sleep(0.02)
    raise CannotMeasure(f"the daemon was not ready within {START_S:g} s")
