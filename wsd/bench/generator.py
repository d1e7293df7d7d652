"""The load generator, as a process of its own: ``wsload.c`` where there is a C compiler, else
``pyload.py``, which takes the same options and prints the same figures.

Both count a copy when a member has the whole of it, and read the CPU time and the memory of the
daemon's processes from ``/proc``.
"""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from wsd.bench.server import CannotMeasure, Served
from wsd.child import die_with_parent

HERE = Path(__file__).resolve().parent
MARKER = 30
"""Characters of a text that the generators need: who sent it, which, and when."""

PORTS = 20_000
"""Connections from one address; the range of local ports that Linux uses is a little larger."""

HELLO = '{"type":"hello","id":1,"rooms":{"room{room}":null}}'
SAY = '{"type":"say","id":2,"room":"room{room}","cid":"c{conn}.{seq}","text":"{marker}{pad}"}'

Figures = dict[str, Any]
OnProgress = Callable[[str, int, int], None]


class Generator(NamedTuple):
    name: str
    command: list[str]
    remark: str
    """Why it is not the better one; empty if it is."""


def choose(directory: Path, wanted: str) -> Generator:
    """``wanted`` is c, python, or auto: C if that can be had.  It is made in ``directory``."""
    python = [sys.executable, "-P", "-m", "wsd.bench.pyload"]
    if wanted == "python":
        return Generator("Python", python, "")
    problem = _build(directory / "wsload")
    if not problem:
        return Generator("C", [str(directory / "wsload")], "")
    if wanted == "c":
        raise CannotMeasure(problem)
    return Generator(
        "Python",
        python,
        f"{problem}; the generator in Python costs more than the daemon itself, "
        "so that it is the generator that limits the messages a second",
    )


def _build(program: Path) -> str:
    """Empty, or why there is no program."""
    source = HERE / "wsload.c"
    compiler = next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)
    if compiler is None:
        return "there is no C compiler (cc, gcc or clang)"
    if not source.exists():
        return f"{source} is not there"
    done = subprocess.run(
        [compiler, "-O2", "-o", str(program), str(source)], capture_output=True, text=True
    )
    if done.returncode:
        return f"{compiler} cannot compile {source}: {done.stderr.strip().splitlines()[0]}"
    return ""


def run(generator: Generator, served: Served, options: Any, on_progress: OnProgress) -> Figures:
    """Drive the daemon; what the generator measured.  Raises CannotMeasure."""
    command = [
        *generator.command, "--whole", "--progress",
        "--port", str(served.port), "--pid", str(served.pid),
        "--members", str(options.members), "--rooms", str(options.rooms),
        "--publishers", str(min(options.senders, options.members)),
        "--size", str(options.text), "--seconds", str(options.seconds),
        "--warmup", str(min(options.seconds / 2, 1)), "--settle", str(min(options.seconds, 0.5)),
        "--sources", str(-(-options.members * options.rooms // PORTS)),
        "--path", "/chat?room=room{room}", "--subprotocol", "wsd.v1",
        "--hello", HELLO, "--message", SAY,
    ]  # fmt: skip
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, preexec_fn=partial(die_with_parent, signal.SIGTERM),
    )  # fmt: skip
    assert process.stdout and process.stderr
    errors = []
    try:
        for line in process.stderr:
            words = line.split()
            if words[:1] == ["progress"]:
                on_progress(words[1], int(words[2]), int(words[3]))
            else:
                errors.append(line)
        output = process.stdout.read()
        status = process.wait()
    finally:
        process.kill()
        process.wait()
    if status:
        raise CannotMeasure(f"the generator failed: {''.join(errors).strip() or status}")
    figures: Figures = json.loads(output)
    if figures["dead"]:
        raise CannotMeasure(
            f"{figures['dead']:.0f} of {options.members * options.rooms} members lost their "
            "connection, or got none"
        )
    if not figures["delivered"]:
        raise CannotMeasure(f"no message arrived within {options.seconds:g} s")
    return figures
