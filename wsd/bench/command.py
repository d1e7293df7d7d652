"""The command ``wsd bench``: its options, what must hold before it measures, what it prints."""

from __future__ import annotations

import argparse
import json
import resource
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

from wsd import __version__
from wsd.bench.generator import MARKER, Figures, Generator, choose, run
from wsd.bench.plot import svg
from wsd.bench.server import CannotMeasure, own_daemon

SPARE_FILES = 100
"""Descriptors of a process beside its members' sockets."""

BAR = 24


def add_options(parser: argparse.ArgumentParser) -> None:
    number = _at_least(1)
    parser.add_argument(
        "--members", type=number, default=500, metavar="N", help="of each room (default 500)"
    )
    parser.add_argument("--rooms", type=number, default=1, metavar="N", help="default 1")
    parser.add_argument(
        "--senders", type=number, default=4, metavar="N",
        help="members of each room who write; each waits until it sees its message (default 4)",
    )  # fmt: skip
    parser.add_argument("--seconds", type=_seconds, default=5.0, metavar="S", help="default 5")
    parser.add_argument("--workers", type=number, default=1, metavar="N", help="default 1")
    parser.add_argument(
        "--text", type=_at_least(MARKER, 60_000), default=100, metavar="N",
        help=f"characters of a message (default 100, at least {MARKER})",
    )  # fmt: skip
    parser.add_argument(
        "--durability", choices=("full", "normal", "memory"), default="full",
        help="default full: each message is on the disk before its sender gets its ok",
    )  # fmt: skip
    parser.add_argument(
        "--generator", choices=("auto", "c", "python"), default="auto",
        help="what makes the load (default: C if there is a compiler)",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.add_argument("--svg", metavar="FILE", help="draw the latencies by percentile")


def _at_least(least: int, most: int = 1_000_000) -> Callable[[str], int]:
    def number(text: str) -> int:
        value = int(text)
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"{value} is not {least} to {most}")
        return value

    return number


def _seconds(text: str) -> float:
    value = float(text)
    if not 0.1 <= value <= 3600:
        raise argparse.ArgumentTypeError(f"{text} is not 0.1 to 3600")
    return value


def bench(options: argparse.Namespace) -> int:
    """Measure, and print; the exit status."""
    try:
        if options.svg:  # no wait for what then cannot be written
            Path(options.svg).open("a").close()
        figures, generator = _measure(options)
        report = _report(options, figures, generator)
        if options.svg:
            Path(options.svg).write_text(svg(_title(options), figures["percentiles"]))
    except (CannotMeasure, OSError) as error:
        print(f"wsd: bench: {error}", file=sys.stderr)
        return 1
    if options.json:
        print(json.dumps(report))
    else:
        print(table(options, report), end="")
    lost = report["messages"] * options.members - report["copies"]
    if lost or figures["out_of_order"]:
        print(
            f"wsd: bench: {lost} copies did not arrive within 10 s, "
            f"{figures['out_of_order']} came out of order",
            file=sys.stderr,
        )
        return 1
    return 0


def _measure(options: argparse.Namespace) -> tuple[Figures, Generator]:
    check_files(options.members * options.rooms)
    progress = Progress(sys.stderr, options.seconds)
    with tempfile.TemporaryDirectory(prefix="wsd-bench-") as name:
        directory = Path(name)
        progress.show("preparing the generator", 0, 0)
        generator = choose(directory, options.generator)
        if generator.remark:
            progress.clear()
            print(f"wsd: bench: {generator.remark}", file=sys.stderr)
        progress.show("starting a daemon", 0, 0)
        try:
            with own_daemon(
                directory, options.workers, options.durability, options.text,
                options.members * options.rooms + SPARE_FILES,
            ) as served:  # fmt: skip
                figures = run(generator, served, options, progress.on_report)
        finally:
            progress.clear()
    return figures, generator


def check_files(members: int) -> None:
    """The generator holds every member's socket, and so may one of the workers.  Sets this
    process's limit, which both inherit; raises CannotMeasure where that is not allowed."""
    needed = members + SPARE_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise CannotMeasure(
            f"{members} members need {needed} open files in one process, and the limit is {hard}: "
            f"ask for at most {max(hard - SPARE_FILES, 0)} members in all rooms, or raise the "
            f"limit (as root: ulimit -n {needed})"
        )
    if soft != resource.RLIM_INFINITY and soft < needed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


class Progress:
    """One line that is written over and over, if somebody looks on."""

    def __init__(self, out: TextIO, seconds: float) -> None:
        self.out = out
        self.seconds = seconds
        self.shown = out.isatty()

    def on_report(self, phase: str, done: int, of: int) -> None:
        if phase == "connecting":
            self.show(f"{done:,} of {of:,} members are here", done, of)
        elif phase == "measuring":
            self.show(
                f"{done / 1000:.1f} of {self.seconds:g} s, {of:,} copies", done, self.seconds * 1000
            )
        else:
            self.show("warming up", 0, 0)

    def show(self, text: str, done: float, of: float) -> None:
        if self.shown:
            full = int(BAR * min(done / of, 1)) if of else 0
            self.out.write(f"\r[{'#' * full}{'.' * (BAR - full)}] {text}\x1b[K")
            self.out.flush()

    def clear(self) -> None:
        if self.shown:
            self.out.write("\r\x1b[K")
            self.out.flush()


def _title(options: argparse.Namespace) -> str:
    return (
        f"wsd {__version__}: rooms {options.rooms}, members of each {options.members}, "
        f"workers {options.workers}, durability {options.durability}, "
        f"{options.text} characters"
    )


def _report(options: argparse.Namespace, figures: Figures, generator: Generator) -> Figures:
    return {
        "version": __version__,
        "members": options.members,
        "rooms": options.rooms,
        "senders": min(options.senders, options.members),
        "workers": options.workers,
        "durability": options.durability,
        "text": options.text,
        "generator": generator.name,
        "seconds": figures["seconds"],
        "messages": figures["published"],
        "copies": figures["delivered"],
        "messages_per_s": figures["published_per_s"],
        "copies_per_s": figures["delivered_per_s"],
        "cpu_us_per_copy": figures["cpu_us_per_copy"],
        "daemon_cpu": figures["server_cpu"],
        "generator_cpu": figures["generator_cpu"],
        "connect_cpu_us": figures["connect_cpu_us"],
        "p50_ms": figures["p50_ms"],
        "p99_ms": figures["p99_ms"],
        "p999_ms": figures["p999_ms"],
        "kib_per_member": figures["kb_per_member"],
        "percentiles": figures["percentiles"],
    }


def table(options: argparse.Namespace, report: Figures) -> str:
    """What people read; each row is one figure."""
    rows = (
        ("members of a room", "members", ",d"),
        ("rooms", "rooms", ",d"),
        ("messages", "messages", ",d"),
        ("copies", "copies", ",d"),
        ("seconds", "seconds", ".2f"),
        ("messages a second", "messages_per_s", ",.1f"),
        ("copies a second", "copies_per_s", ",.0f"),
        ("CPU µs a copy, all processes", "cpu_us_per_copy", ".2f"),
        ("CPUs the daemon used", "daemon_cpu", ".2f"),
        ("CPUs the generator used", "generator_cpu", ".2f"),
        ("delivered within, half of them (p50), ms", "p50_ms", ".2f"),
        ("delivered within, 99 % of them (p99), ms", "p99_ms", ".2f"),
        ("memory a member, KiB", "kib_per_member", ".1f"),
    )
    lines = [f"{_title(options)}, generator in {report['generator']}", ""]
    lines += [f"{name:<42}{report[key]:>14{form}}" for name, key, form in rows]
    return "\n".join([*lines, ""])
