"""Runs cases of the Autobahn test suite against an address and reads what it found.

The suite judges each case twice: what was received (``behavior``) and how the connection ended
(``behaviorClose``).  Here a case has one verdict: the first of the two that is not ``OK``.
"""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tests.conformance.environment import Environment

AGENT = "wsd"

OK = "OK"
INFORMATIONAL = "INFORMATIONAL"
VERDICTS = (
    OK, INFORMATIONAL, "NON-STRICT", "FAILED", "UNCLEAN", "WRONG CODE", "FAILED BY CLIENT",
    "UNIMPLEMENTED",
)  # fmt: skip

INFORMATIONAL_CASES = {"7.1.6", "7.13.1", "7.13.2"}
"""The suite has no opinion on these, whatever happens."""

# The packages are a folder to which site adds what their .pth files say (zope needs that).
_WSTEST = """
import site, sys
site.addsitedir(sys.argv.pop(1))
from autobahntestsuite.wstest import run
run()
"""


class Verdict(NamedTuple):
    verdict: str
    close_code: int | None
    """Of the daemon's close frame; None if there was none."""


Verdicts = dict[str, Verdict]


def run_cases(
    environment: Environment,
    url: str,
    cases: Sequence[str],
    directory: Path,
    *,
    timeout_s: float,
) -> Verdicts:
    """Run ``cases`` (names or patterns like ``6.*``) one after the other, at ``url``.

    The suite's reports are left in ``directory``.  Raises AssertionError if the suite itself fails.
    """
    directory.mkdir(parents=True, exist_ok=True)
    spec = directory / "spec.json"
    spec.write_text(json.dumps(_spec(url, cases)))
    log = directory / "log"
    with log.open("w") as output:
        try:
            status = subprocess.run(
                [environment.python, "-W", "ignore", "-c", _WSTEST, environment.packages,
                 "-m", "fuzzingclient", "-s", spec.name],
                cwd=directory, stdout=output, stderr=output, stdin=subprocess.DEVNULL,
                timeout=timeout_s,
            ).returncode  # fmt: skip
        except subprocess.TimeoutExpired:
            status = f"not ended after {timeout_s} s"
    index = directory / "index.json"
    assert status == 0 and index.exists(), f"wstest: {status}\n{log.read_text()[-2000:]}"
    found: dict[str, dict[str, Any]] = json.loads(index.read_text())[AGENT]
    return {case: _verdict(entry) for case, entry in found.items()}


def _spec(url: str, cases: Sequence[str]) -> dict[str, object]:
    return {
        "outdir": ".",
        "servers": [{"agent": AGENT, "url": url}],
        "cases": list(cases),
        "exclude-cases": [],
        "exclude-agent-cases": {},
    }


def _verdict(entry: dict[str, Any]) -> Verdict:
    behavior, close = entry["behavior"], entry["behaviorClose"]
    return Verdict(close if behavior == OK else behavior, entry["remoteCloseCode"])


def count(verdicts: Verdicts) -> Counter[str]:
    return Counter(verdict.verdict for verdict in verdicts.values())


def deviations(verdicts: Verdicts) -> Verdicts:
    """The cases that were not passed strictly, in the suite's order."""
    return {
        case: verdict
        for case, verdict in sorted(verdicts.items(), key=_in_order)
        if verdict.verdict != (INFORMATIONAL if case in INFORMATIONAL_CASES else OK)
    }


def _in_order(item: tuple[str, Verdict]) -> list[int]:
    return [int(part) for part in item[0].split(".")]
