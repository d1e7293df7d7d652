"""Whether cost stays flat as members, rooms and workers grow: ``python -m bench.scale``.

Members of one room are held by generators with at most 15,000 connections each, since a process
has only so many descriptors.  For each number of members: memory a member beyond the kernel's, CPU
at rest with pings, CPU a copy with one message at a time, beside it that of ``floor.c``, and how
long a message takes to reach everybody.  There are as many floors as workers, each with its share
of the members: what the kernel takes for a ``send`` grows with the number of sockets that it has to
look for in memory.  All workers have CPU 0 together, all generators CPU 1: times are those of one
CPU.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from bench.daemon import WORDS, wsd
from bench.measure import (
    FLOOR_WORDS,
    TEXT,
    Failed,
    Figures,
    Server,
    Work,
    build,
    drive,
    drive_floor,
    free_port,
    started,
)

MEMBERS = (100, 1_000, 10_000, 50_000, 100_000)
EACH = 15_000
"""Most members of one generator, and of one worker on the average."""
SOURCES = 8
"""Addresses that they come from: one has less than 30,000 ports."""
REST_S = 50.0
"""Two pings of each member, whenever it begins."""
NEWS_S = 6.0
"""After which those who came have been told how many they are."""
TALK_S = 10.0
ROOMS = (1, 10, 100, 1_000, 10_000)


class Usage(NamedTuple):
    cpu_s: float
    kib: int


def usage(pid: int, title: str = "") -> Usage:
    """Of a process and all below it; ``title``: only of those that are called so."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                stat = (entry / "stat").read_text().rpartition(")")[2].split()
                parents[int(entry.name)] = int(stat[1])
    cpu, kib = 0.0, 0
    for one in parents:
        above: int | None = one
        while above and above != pid:
            above = parents.get(above)
        if above != pid:
            continue
        proc = Path(f"/proc/{one}")
        if title and title not in (proc / "cmdline").read_bytes().decode(errors="replace"):
            continue
        for task in (proc / "task").iterdir():
            cpu += int((task / "schedstat").read_text().split()[0]) / 1e9
        for found in (proc / "smaps_rollup").read_text().splitlines():
            if found.startswith("Pss:"):
                kib += int(found.split()[1])
    return Usage(cpu, kib)


def generator(
    wsload: Path, port: int, errors: Path, *options: str, words: Sequence[str] = WORDS
) -> subprocess.Popen[str]:
    command = [
        "taskset", "-c", "1", str(wsload), "--port", str(port), "--progress",
        "--sources", str(SOURCES), "--size", str(TEXT), *options, *words,
    ]  # fmt: skip
    with errors.open("w") as file:
        return subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=file, text=True
        )


@contextlib.contextmanager
def held(
    directory: Path, port: int, members: int, seconds: float
) -> Iterator[list[subprocess.Popen[str]]]:
    """Members who only listen, once all of them have joined; ``seconds`` from then on."""
    processes: list[subprocess.Popen[str]] = []
    try:
        while members > 0:
            size = min(members, EACH)
            members -= size
            # Those who came first wait for the others.
            more = seconds + 15.0 * math.ceil(members / EACH)
            errors = directory / f"errors {len(processes)}"
            process = generator(
                directory / "wsload", port, errors, "--members", str(size), "--publishers", "0",
                "--warmup", "0", "--settle", "1", "--seconds", str(more),
            )  # fmt: skip
            processes.append(process)
            while "measuring" not in errors.read_text():
                if process.poll() is not None:
                    raise Failed(errors.read_text()[-500:])
                time.sleep(0.1)
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.wait()


class Row(NamedTuple):
    members: int
    workers: int
    kib_a_member: float
    rest: float
    """Per cent of a CPU."""
    us_a_copy: float
    floor: float
    to_all_ms: float
    """Median over the generators of the 99.9th percentile of copies."""


def scale(directory: Path, members: int, rest_s: float) -> Row:
    workers = math.ceil(members / EACH)
    talkers = min(members // 2, 100)
    with tempfile.TemporaryDirectory() as name:
        port = free_port()
        server = wsd(Path(name), port, workers=workers)
        with started(server, port) as pid:
            before = usage(pid)
            seconds = rest_s + TALK_S + NEWS_S + 10
            with held(directory, port, members - talkers, seconds) as holders:
                time.sleep(NEWS_S)
                settled = usage(pid)
                time.sleep(rest_s)
                rested = usage(pid)
                errors = directory / "errors"
                talk = generator(
                    directory / "wsload", port, errors, "--members", str(talkers),
                    "--publishers", "1", "--window", "1",
                    "--whole", "--warmup", "1", "--seconds", str(TALK_S),
                )  # fmt: skip
                said = talk.communicate()[0]
                if talk.returncode:
                    raise Failed(errors.read_text()[-500:])
                spoken = usage(pid)
                found: list[Figures] = [json.loads(said)]
                found += [json.loads(one.communicate()[0]) for one in holders]
    if any(figures["dead"] for figures in found):
        raise Failed(f"{members}: {sum(f['dead'] for f in found):.0f} lost their connection")
    # The talkers' warming up is not counted by them, but by the others and in the daemon's time.
    copies = sum(figures["delivered"] for figures in found[1:]) * members / (members - talkers)
    return Row(
        members, workers,
        (settled.kib - before.kib) / (members - talkers),
        100 * (rested.cpu_s - settled.cpu_s) / rest_s,
        1e6 * (spoken.cpu_s - rested.cpu_s) / copies,
        floor(directory, members, workers),
        statistics.median(figures["p999_ms"] for figures in found),
    )  # fmt: skip


def floor(directory: Path, members: int, number: int) -> float:
    """CPU a copy of ``number`` floors with a share of ``members`` each, in microseconds."""
    program = str(directory / "floor")
    pids: list[int] = []
    talks: list[subprocess.Popen[str]] = []
    with contextlib.ExitStack() as stack:
        for place in range(number):
            port = free_port()
            server = Server([program, str(port), "each"], FLOOR_WORDS)
            pids.append(stack.enter_context(started(server, port)))
            talk = generator(
                directory / "wsload", port, directory / f"errors floor {place}",
                "--members", str(members // number), "--publishers", "1", "--window", "1",
                "--settle", str(2 + 3 * (number - place)), "--seconds", str(TALK_S),
                "--pid", str(pids[-1]), words=FLOOR_WORDS,
            )  # fmt: skip
            talks.append(talk)
            stack.callback(talk.wait)
            stack.callback(talk.kill)
            time.sleep(3 if number > 1 else 0)
        found: list[Figures] = [json.loads(talk.communicate()[0]) for talk in talks]
    if any(figures["dead"] for figures in found):
        raise Failed("a floor lost its members")
    cpu_us = sum(figures["cpu_us_per_copy"] * figures["delivered"] for figures in found)
    return cpu_us / sum(figures["delivered"] for figures in found)


def rooms(directory: Path, number: int) -> float:
    """CPU of the hub a message, in microseconds, at 500 messages a second."""
    hub: list[float] = []

    @contextlib.contextmanager
    def watched(pid: int) -> Iterator[None]:
        yield
        hub.append(usage(pid, "wsd: hub").cpu_s)

    work = Work("rooms", f"--rooms {number} --members 1 --rate 500 --warmup 0", "", 0)
    none = Work("joins", f"--rooms {number} --members 1 --rate 1 --warmup 0", "", 0)
    for each, seconds in ((none, 1.0), (work, TALK_S)):
        with tempfile.TemporaryDirectory() as name:
            port = free_port()
            server = wsd(Path(name), port)
            figures = drive(directory / "wsload", server, port, each, seconds, watched)
    return 1e6 * (hub[1] - hub[0]) / figures["delivered"]


def workers(directory: Path, seconds: float) -> list[tuple[int, float]]:
    """Microseconds a copy, as a ratio to the floor, by workers: one message at a time to 10,000."""
    work = Work("lone to 10,000", "--members 10000 --publishers 1 --window 1", "each", 0)
    found = []
    for number in (1, 2):
        with tempfile.TemporaryDirectory() as name:
            port = free_port()
            server = wsd(Path(name), port, workers=number)
            figures = drive(directory / "wsload", server, port, work, seconds)
        floor = drive_floor(directory, work, seconds)
        found.append((number, figures["cpu_us_per_copy"] / floor["cpu_us_per_copy"]))
    return found


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.scale", description=__doc__)
    parser.add_argument("part", nargs="*", choices=[[], "members", "rooms", "workers"])
    parser.add_argument("--members", type=int, nargs="*", default=MEMBERS)
    parser.add_argument("--rest", type=float, default=REST_S, help="seconds at rest")
    options = parser.parse_args()
    parts = options.part or ["members", "rooms", "workers"]
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        build(directory)
        try:
            if "members" in parts:
                print("   members workers  KiB a member  % CPU at rest  µs a copy     floor"
                      "  to all, ms")  # fmt: skip
                for members in options.members:
                    row = scale(directory, members, options.rest)
                    print(
                        f"{row.members:>10,}{row.workers:>8}{row.kib_a_member:>14.2f}"
                        f"{row.rest:>15.2f}{row.us_a_copy:>11.2f}{row.floor:>10.2f}"
                        f"{row.to_all_ms:>12.1f}",
                        flush=True,
                    )
            if "rooms" in parts:
                print("     rooms  µs of the hub a message")
                for number in ROOMS:
                    print(f"{number:>10,}{rooms(directory, number):>25.1f}", flush=True)
            if "workers" in parts:
                print("   workers  ratio to the floor, lone to 10,000")
                for number, ratio in workers(directory, 5.0):
                    print(f"{number:>10}{ratio:>36.2f}", flush=True)
        except Failed as error:
            raise SystemExit(str(error)) from None
    return 0


if __name__ == "__main__":
    sys.exit(main())
