"""The watch over connections' time limits."""

from __future__ import annotations

import itertools
import random

import pytest

from tests.support.parts import Site, Wire
from wsd.transports.context import SWEEP_S, SWEEP_SLICES
from wsd.transports.http import HttpClient


def test_everybody_is_looked_at_in_every_round_whoever_comes_and_goes(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SL-01: a limit of 10 s is noticed within 11."""
    looks: dict[HttpClient, list[float]] = {}
    monkeypatch.setattr(
        HttpClient, "sweep", lambda self, now: looks.setdefault(self, []).append(now)
    )
    choose = random.Random(1)
    wires: list[Wire] = []
    for _ in range(300):
        wires += [site.socket() for _ in range(choose.randrange(8))]
        while len(wires) > 60:
            wires.pop(choose.randrange(len(wires))).close()
        site.pass_(SWEEP_S, SWEEP_S)
    round_s = SWEEP_S * SWEEP_SLICES
    pauses = [b - a for times in looks.values() for a, b in itertools.pairwise(times)]
    assert len(pauses) > 500
    assert max(pauses) <= round_s + SWEEP_S + 1e-6
    assert min(pauses) >= round_s - SWEEP_S - 1e-6
