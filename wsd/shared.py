"""The memory that all processes share: the master makes it before it forks."""

from __future__ import annotations

from wsd.allowances import Allowances
from wsd.metrics import Scoreboard
from wsd.tally import Tally


def worker_name(slot: int) -> str:
    return f"worker {slot}"


class Shared:
    """Room for as many as ``workers``; a reload may ask for more than there are at the start."""

    def __init__(self, workers: int) -> None:
        names = [worker_name(slot) for slot in range(workers)]
        self.scoreboard = Scoreboard(["master", "hub", *names])
        self.addresses = Tally(workers)
        self.allowances = Allowances()
