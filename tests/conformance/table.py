"""The table of verdicts, for a terminal and for docs/conformance.md."""

from __future__ import annotations

import datetime
import platform
import zlib
from pathlib import Path

from tests.conformance import suite
from tests.conformance.environment import Environment, version_of
from tests.conformance.suite import VERDICTS, Verdicts

PAGE = Path(__file__).resolve().parents[2] / "docs" / "conformance.md"
BEGIN = "<!-- made by bin/test conformance: begin -->\n"
END = "<!-- made by bin/test conformance: end -->\n"

Row = tuple[str, Verdicts, float]
"""A run's name, its verdicts, and the seconds that it took."""


def line(name: str, verdicts: Verdicts, seconds: float) -> str:
    counts = suite.count(verdicts)
    told = ", ".join(f"{counts[kind]} {kind}" for kind in VERDICTS if counts[kind])
    return f"{name}: {told or 'nothing'} of {len(verdicts)} cases in {seconds:.0f} s"


def write(rows: list[Row], environment: Environment) -> None:
    """Put what came out between the marks in the page."""
    before, _, rest = PAGE.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(before + BEGIN + _section(rows, environment) + END + after)


def _section(rows: list[Row], environment: Environment) -> str:
    today = datetime.date.today().isoformat()
    lines = [
        f"{today}; Autobahn test suite 0.8.2 under Python {version_of(environment)}; wsd under"
        f" Python {platform.python_version()} with zlib {zlib.ZLIB_RUNTIME_VERSION}.",
        "",
        "| run | cases | " + " | ".join(VERDICTS) + " | minutes |",
        "|---|" + "---|" * (len(VERDICTS) + 2),
        *(_row(*row) for row in rows),
        "",
        *_deviations(rows),
    ]
    return "\n".join(lines) + "\n"


def _row(name: str, verdicts: Verdicts, seconds: float) -> str:
    counts = suite.count(verdicts)
    figures = [str(counts[kind]) for kind in VERDICTS]
    return f"| {name} | {len(verdicts)} | {' | '.join(figures)} | {seconds / 60:.0f} |"


def _deviations(rows: list[Row]) -> list[str]:
    found = [
        f"* {name}, case {case}: {verdict.verdict}, closed with {verdict.close_code}"
        for name, verdicts, _ in rows
        for case, verdict in suite.deviations(verdicts).items()
    ]
    cases = ", ".join(sorted(suite.INFORMATIONAL_CASES))
    return ["Deviations:", "", *found] if found else [f"INFORMATIONAL are {cases}; nothing else."]
