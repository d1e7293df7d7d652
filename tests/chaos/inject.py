"""The n-th write of a hub fails, for each n: ``python -m tests.chaos.inject --writes 60``.

strace gives the error to the daemon in place of the call's result.  It counts in each process
separately, so a hub that is replaced meets the error again at its own n-th call: at the start for
a small n, which must leave the file as it was, and in the midst of publishing for a greater one.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from tests.chaos.checker import Counts, Said, Sender, check, read_log
from tests.chaos.faults import Tree, Unavailable
from tests.chaos.small import SmallClient

MESSAGES = 25
SAY_S = 6.0


@dataclass
class Outcome:
    call: str
    error: str
    when: int
    fresh: bool = True
    started: bool = False
    acked: int = 0
    refused: int = 0
    hub_starts: int = 0
    injected: int = 0
    counts: Counts = field(default_factory=Counts)
    trouble: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        return not self.counts.total() and not self.trouble


def inject(directory: Path, call: str, error: str, when: int, *, fresh: bool = True) -> Outcome:
    """Have every hub's ``when``-th ``call`` fail, publish, and look at what is left.

    If not ``fresh``, there is a log already, left by a daemon that was killed.
    Raises Unavailable where strace cannot do it.
    """
    if shutil.which("strace") is None:
        raise Unavailable("strace is not installed")
    directory.mkdir(parents=True, exist_ok=True)
    record = directory / "trace"
    trace = ["strace", "-D", "-f", "-qq", "-y", "-s", "0", "-o", str(record), "--seccomp-bpf",
             "-e", f"trace={call}"]  # fmt: skip
    probe = subprocess.run([*trace, "true"], capture_output=True, text=True, check=False)
    if probe.returncode:
        raise Unavailable(f"strace does not work here: {probe.stderr.strip()[:200]}")
    outcome = Outcome(call, error, when, fresh)
    tree = Tree(directory, workers=1)
    said: list[Said] = []
    uids: list[str] = []
    try:
        if not fresh:
            asyncio.run(tree.start())
            _publish(tree, said, uids, outcome, time.monotonic() + 10)
            tree.kill_all()
        starts = tree.output.count(" hub ready ")
        tree.wrapper = [*trace, "-e", f"inject={call}:error={error}:when={when}"]
        try:
            asyncio.run(tree.start())
            outcome.started = True
            _publish(tree, said, uids, outcome, time.monotonic() + SAY_S)
        except AssertionError:
            pass  # it says that it cannot start, which is an answer too
        tree.kill_all()
        outcome.injected = record.read_text(errors="replace").count("(INJECTED)")
        outcome.hub_starts = tree.output.count(" hub ready ") - starts
        # The disk is well again: what was there is there, and it works.
        tree.wrapper = []
        asyncio.run(tree.start())
        before = outcome.acked
        _publish(tree, said, uids, outcome, time.monotonic() + 10, more=3)
        if outcome.acked < before + 3:
            outcome.trouble.append("does not publish when the disk is well again")
        if asyncio.run(tree.stop()):
            outcome.trouble.append("exit status")
        log = read_log(tree.state / "wsd.db")
        if len(set(uids)) > 1:
            outcome.trouble.append("another uid")
        acked = [s for s in said if s.acks]
        notes: list[str] = []
        outcome.counts = check([Sender(uids[0], acked)], [], log, 500, notes)
        outcome.trouble += notes
    except AssertionError as problem:
        outcome.trouble.append(str(problem)[-1500:])
    finally:
        tree.kill_all()
    return outcome


_tokens: dict[Path, str] = {}


def _publish(
    tree: Tree, said: list[Said], uids: list[str], outcome: Outcome, until: float, more: int = 0
) -> None:
    """Say everything there is to say, one after the other, and again what was refused."""
    wanted = outcome.acked + (more or MESSAGES)
    client: SmallClient | None = None
    while outcome.acked < wanted and time.monotonic() < until:
        try:
            if client is None:
                client = SmallClient(tree.port, token=_tokens.get(tree.directory, ""), timeout=2.0)
                _tokens[tree.directory] = client.token
                uids.append(client.uid)
            if not said or said[-1].acks:
                said.append(Said("lobby", f"c{len(said)}", f"text {len(said)}", []))
            answer = client.say(said[-1].text, said[-1].cid)
            if answer["type"] == "ok":
                said[-1].acks.append(answer["seq"])
                outcome.acked += 1
            elif answer.get("retry_ms") is None:
                outcome.trouble.append(f"final error: {answer}")
                return
            else:
                outcome.refused += 1
                time.sleep(0.1)
        except OSError:
            if client is not None:
                client.close()
            client = None
            time.sleep(0.05)
    if client is not None:
        client.close()


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.inject", description=__doc__)
    parser.add_argument("--writes", type=int, default=60, help="pwrite64 fails at 1 to this")
    parser.add_argument("--syncs", type=int, default=30, help="fdatasync fails at 1 to this")
    options = parser.parse_args(arguments)
    outcomes = []
    calls = [("pwrite64", "ENOSPC", n + 1) for n in range(options.writes)]
    calls += [("fdatasync", "EIO", n + 1) for n in range(options.syncs)]
    for (call, error, when), fresh in itertools.product(calls, (True, False)):
        with tempfile.TemporaryDirectory(prefix="wsd-inject-") as directory:
            outcome = inject(Path(directory), call, error, when, fresh=fresh)
        outcomes.append(outcome)
        print(
            f"{call} {error} at {when:2}, {'fresh' if fresh else 'grown'} log: "
            f"{'started' if outcome.started else 'not started'}, "
            f"{outcome.acked} acked, {outcome.refused} refused, {outcome.hub_starts} hubs, "
            f"{outcome.injected} injected, "
            f"{outcome.counts.acked_lost} lost{'' if outcome.good else f', BAD: {outcome}'}",
            flush=True,
        )  # fmt: skip
    bad = [outcome for outcome in outcomes if not outcome.good]
    print(
        f"{len(outcomes)} runs, {sum(o.injected for o in outcomes)} injected, "
        f"{sum(o.acked for o in outcomes)} acked, "
        f"{sum(o.refused for o in outcomes)} refused, {len(bad)} bad"
    )
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
