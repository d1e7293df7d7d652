"""What of supervision needs no processes: back-off, and whom the watch takes for hung.

The rest is tried on the real daemon, with real signals.
"""

from __future__ import annotations

import os
import signal
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.parts import Clock
from wsd.child import packed
from wsd.config import Settings
from wsd.master import (
    ABORT_GRACE_S,
    BACKOFF_S,
    HUNG_S,
    STARTED_WELL_S,
    CannotStart,
    Master,
    Slot,
    make_directory,
)
from wsd.metrics import M


class Watched:
    """A master that watches children which are only rows, and notes whom it would kill."""

    def __init__(self, tmp_path: Path) -> None:
        self.clock = Clock()
        settings = Settings(state=str(tmp_path), runtime=str(tmp_path), workers=2)
        self.master = Master(settings, lambda: settings, lambda addresses: None)
        self.master._loop.close()
        self.master._loop.clock = self.clock
        self.killed: list[tuple[str, signal.Signals]] = []
        self.fed = 0
        self.master._kill = self._kill  # type: ignore[method-assign]
        self.master._notifier.feed_watchdog = self._feed  # type: ignore[method-assign]
        self.master._ticked_at = self.clock.now
        for number, slot in enumerate(self.slots):
            slot.pid = 1_000_000 + number
            slot.beat_seen_at = self.clock.now
            self.master._scoreboard.row(slot.name)[M.READY] = 1

    def _kill(self, slot: Slot, signum: signal.Signals) -> None:
        self.killed.append((slot.name, signum))

    def _feed(self) -> None:
        self.fed += 1

    @property
    def slots(self) -> list[Slot]:
        return self.master._slots

    def beat(self, *names: str) -> None:
        for name in names or ("hub", "worker 0", "worker 1"):
            self.master._scoreboard.row(name)[M.BEAT] = self.clock.now

    def second(self, *beating: str) -> None:
        self.clock.pass_(1.0)
        if beating != ("nobody",):
            self.beat(*beating)
        self.master._tick()


@pytest.fixture
def watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Watched]:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    yield Watched(tmp_path)


def test_who_beats_is_left_alone(watched: Watched) -> None:
    for _ in range(100):
        watched.second()
    assert watched.killed == []
    assert watched.fed == 100


def test_su_04_the_hung_one_is_aborted_and_then_killed(watched: Watched) -> None:
    for _ in range(int(HUNG_S) - 1):
        watched.second("hub", "worker 1")
    assert watched.killed == []
    watched.second("hub", "worker 1")
    assert watched.killed[0] == ("worker 0", signal.SIGABRT)
    watched.killed.clear()
    for _ in range(int(ABORT_GRACE_S) - 1):
        watched.second("hub", "worker 1")
    assert watched.killed == []
    watched.second("hub", "worker 1")
    assert watched.killed == [("worker 0", signal.SIGKILL)]


def test_su_05_one_who_is_slow_is_not_hung(watched: Watched) -> None:
    for _ in range(20):
        for _ in range(8):
            watched.second("hub", "worker 1")
        watched.second()
    assert watched.killed == []


@pytest.mark.parametrize("pause_s", [3.5, 30.0, 3600.0])
def test_su_06_a_pause_of_the_master_kills_nobody(watched: Watched, pause_s: float) -> None:
    """After a suspended night nobody has beaten: their silence counts from now."""
    for _ in range(9):
        watched.second("nobody")
    watched.clock.pass_(pause_s)
    watched.master._tick()
    for _ in range(int(HUNG_S) - 1):
        watched.second("nobody")
    assert watched.killed == []
    watched.second("nobody")
    assert {name for name, _ in watched.killed} == {"hub", "worker 0", "worker 1"}


def test_sd_05_the_watchdog_is_fed_while_the_hub_and_one_worker_are_well(watched: Watched) -> None:
    def fed(*beating: str) -> bool:
        before = watched.fed
        watched.second(*beating)
        return watched.fed > before

    assert fed()
    for _ in range(int(HUNG_S) - 1):
        assert fed("worker 0")
    assert not fed("worker 0")  # the hub is hung
    watched.beat()
    assert fed()
    for _ in range(int(HUNG_S) + 1):
        fed("hub", "worker 0")
    assert fed("hub", "worker 0")  # one worker is enough
    watched.slots[1].pid = 0
    assert not fed("hub", "worker 0")
    watched.slots[1].pid = 1
    assert fed("hub", "worker 0")
    watched.master._scoreboard.row("hub")[M.READY] = 0
    assert not fed()


def test_a_slot_without_a_process_is_not_watched(watched: Watched) -> None:
    watched.slots[1].pid = 0
    for _ in range(40):
        watched.second("hub", "worker 1")
    assert watched.killed == []


# -- back-off


def test_su_03_failing_starts_are_put_off_further_each_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("random.uniform", lambda a, b: 1.0)
    slot = Slot("hub")
    delays = [slot.back_off_s(0.0) for _ in range(14)]
    assert delays[:4] == [0.0, 0.1, 0.2, 0.4]
    assert delays == sorted(delays)
    assert delays[-1] == BACKOFF_S[1]
    assert slot.back_off_s(STARTED_WELL_S) == 0.0
    assert slot.back_off_s(0.0) == 0.1


def test_back_off_has_jitter_and_no_end() -> None:
    slot = Slot("hub")
    delays = [slot.back_off_s(0.0) for _ in range(5000)]  # a float would end at about 1,000
    late = delays[100:]
    assert all(0.5 * BACKOFF_S[1] <= delay <= 1.5 * BACKOFF_S[1] for delay in late)
    assert max(late) - min(late) > 10


# -- directories


def test_a_directory_is_made_for_the_owner_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        make_directory(str(tmp_path / "a"))
        make_directory(str(tmp_path / "a"))
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o700


@pytest.mark.parametrize("kind", ["file", "below a file", "dangling link"])
def test_a_directory_that_cannot_be(tmp_path: Path, kind: str) -> None:
    path: Any = tmp_path / "x"
    if kind == "dangling link":
        path.symlink_to(tmp_path / "nowhere" / "x")
    else:
        path.write_text("")
        path = path / "y" if kind == "below a file" else path
    with pytest.raises(CannotStart, match="x"):
        make_directory(str(path))


def test_a_reloads_outcome_is_said_before_it_is_counted(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``wsd reload`` waits for the count, and then says why."""
    monkeypatch.setattr("wsd.master.logs.setup", lambda *_: None)
    master = watched.master
    board = master._scoreboard
    said: dict[int, str] = {}

    class Counting(dict[int, int]):
        def __setitem__(self, cell: int, value: int) -> None:
            said[cell] = board.note

    master._row = Counting({M.RELOADS: 0, M.RELOADS_FAILED: 0})  # type: ignore[assignment]
    master._refuse_reload("listen: no such thing")
    master._apply(master._settings, packed(master._settings))
    assert said == {
        M.RELOADS_FAILED: "reload refused, nothing changed: listen: no such thing",
        M.RELOADS: "configuration reloaded",
    }
