"""The short form: a minute of everything at once, and a few seconds for each mutant."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from tests.chaos.run import (
    ALL_MUTANTS,
    FAILPOINTS,
    Phase,
    every,
    kill_everything,
    kill_hub,
    kill_master,
    kill_worker,
    mutant_phase,
    reset_client,
    restart,
    run_phase,
    stop_hub,
    stop_worker,
    table,
)

SEED = 3


def test_mixed_faults(tmp_path: Path) -> None:
    points = ",".join(f"{name}:kill:{chance / 10}" for name, chance in FAILPOINTS.items())
    torment = every(
        0.1, 0.6, kill_hub, kill_worker, stop_hub, stop_worker, reset_client, reset_client,
        reset_client, reset_client, kill_everything, kill_master, restart,
    )  # fmt: skip
    chaos: dict[str, object] = {"drop": 0.01, "double": 0.01, "swap": 0.01, "cut": 0.001}
    phase = Phase("everything", torment, 1, points, chaos)
    result = asyncio.run(run_phase(phase, 25, tmp_path / "chaos", SEED))
    print(table([result]))
    assert result.good, "\n".join(result.notes + result.trouble)
    assert result.injected > 50
    assert result.acked > 500


@pytest.mark.parametrize("name", ALL_MUTANTS)
def test_mutant_is_flagged(name: str, tmp_path: Path) -> None:
    """Faults come by chance, so a mutant may be lucky for a while, but not for long."""
    deadline = time.monotonic() + 60
    number = 0
    while time.monotonic() < deadline:
        number += 1
        result = asyncio.run(run_phase(mutant_phase(name), 3, tmp_path / str(number), number))
        print(table([result]))
        if result.counts.total():
            return
    pytest.fail(f"{name} was never noticed")
