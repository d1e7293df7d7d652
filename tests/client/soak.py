"""The long form of test_recovery: bots and readers, and a daemon that something happens to.

    python -m tests.client.soak --seconds 120 [--recover 500]

Four bots say numbered messages, three readers read; one of them keeps little and is slow.  Every
few seconds a process is killed or stopped, or all are, or the daemon is restarted.  At the end each
message has to be stored once, in its bot's order, and each reader to have had all of them in one
order, or been told how many it has not: where ``--recover`` is less than what is missed during a
break, there are gaps.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

from tests.support.daemon import Daemon
from wsd.client import Client, Gap, Message

QUIET_S = 25.0
"""Longer than any back-off: a reader to whom nothing has come for so long has everything."""

Said = tuple[int, str]


class Soak:
    def __init__(self, daemon: Daemon) -> None:
        self.daemon = daemon
        self.over = threading.Event()
        self.sent: list[list[Said]] = [[] for _ in range(4)]
        self.had: list[list[Said | Gap]] = [[] for _ in range(3)]
        self.harms: Counter[str] = Counter()
        self.problems: list[str] = []

    def run(self, seconds: float) -> None:
        readers = [self._thread(self._read, number) for number in range(len(self.had))]
        bots = [self._thread(self._talk, number) for number in range(len(self.sent))]
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            time.sleep(random.uniform(1, 4))
            self._harm(random.choice(["hub", "worker 0", "worker 1", "pause", "all", "restart"]))
        self.over.set()
        for thread in [*bots, *readers]:
            thread.join()

    def _thread(self, work: object, number: int) -> threading.Thread:
        def carefully() -> None:
            try:
                work(number)  # type: ignore[operator]
            except BaseException as error:
                self.problems.append(f"{work} {number}: {error!r}")

        thread = threading.Thread(target=carefully, daemon=True)
        thread.start()
        return thread

    def _talk(self, number: int) -> None:
        with Client(self.daemon.url, name=f"Bot {number}") as chat:
            chat.join("lobby")
            while not self.over.is_set():
                text = f"{number}:{len(self.sent[number])}"
                self.sent[number].append((chat.say("lobby", text).seq, text))
                time.sleep(random.uniform(0, 0.02))

    def _read(self, number: int) -> None:
        is_slow = number == 0
        with Client(self.daemon.url, max_events=50 if is_slow else 10_000) as chat:
            chat.join("lobby")
            heard_at = time.monotonic()
            while not self.over.is_set() or time.monotonic() - heard_at < QUIET_S:
                event = chat.next(timeout=1)
                if event is None:
                    continue
                heard_at = time.monotonic()
                assert isinstance(event, Message | Gap), event
                self.had[number].append(
                    (event.seq, event.text) if isinstance(event, Message) else event
                )
                if is_slow and random.random() < 0.001:
                    time.sleep(1)

    def _harm(self, kind: str) -> None:
        daemon = self.daemon
        try:
            if kind == "all":
                daemon.kill()
                daemon.start()
            elif kind == "restart":
                daemon.stop()
                daemon.start()
            elif kind == "pause":
                pid = daemon.pid_of("worker 0")
                os.kill(pid, signal.SIGSTOP)
                time.sleep(2)
                os.kill(pid, signal.SIGCONT)
            else:
                os.kill(daemon.pid_of(kind), signal.SIGKILL)
        except (AssertionError, ProcessLookupError):
            return  # it is dead already, of the harm before
        self.harms[kind] += 1

    # -- what came of it

    def judge(self) -> list[str]:
        wrong = list(self.problems)
        everything = sorted(said for sent in self.sent for said in sent)
        if [seq for seq, _ in everything] != list(range(1, len(everything) + 1)):
            wrong.append("the numbers of what was said are not 1 to its end")
        wrong += [
            f"bot {n}: out of order" for n, sent in enumerate(self.sent) if sent != sorted(sent)
        ]
        for number, had in enumerate(self.had):
            at = 0
            for one in had:
                if isinstance(one, Gap):
                    at += one.missed or 0
                elif at < len(everything) and everything[at] == one:
                    at += 1
                else:
                    wrong.append(f"reader {number}: {one} behind number {at}")
                    break
            else:
                if at != len(everything):
                    wrong.append(f"reader {number}: {len(everything) - at} are missing at the end")
        if "Traceback" in self.daemon.output:
            wrong.append("a process of the daemon met a bug")
        return wrong

    def summary(self) -> str:
        gaps = [one.missed or 0 for had in self.had for one in had if isinstance(one, Gap)]
        return (
            f"{sum(map(len, self.sent))} messages, {self.harms.total()} harms"
            f" ({', '.join(f'{kind} {count}' for kind, count in sorted(self.harms.items()))}),"
            f" {len(gaps)} gaps of {sum(gaps)} events"
        )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--recover", type=int, default=100_000, help="history.recover_max")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        keys = {"history__recover_max": options.recover, "history__size": 1_000_000}
        daemon = Daemon(Path(folder) / "wsd", **keys).start()
        daemon.keys["listen"] = f'["127.0.0.1:{daemon.port}"]'
        soak = Soak(daemon)
        try:
            soak.run(options.seconds)
        finally:
            daemon.kill()
        wrong = soak.judge()
    print(soak.summary())
    for line in wrong:
        print(line)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
