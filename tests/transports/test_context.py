"""The watch over connections' time limits."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable

import pytest

from tests.support.parts import Site, Wire
from wsd.transports.context import GONE, QUIET_S, SOON_S, SWEEP_S
from wsd.transports.dialects import V1Client
from wsd.transports.http import HttpClient


def test_everybody_is_looked_at_in_every_round_whoever_comes_and_goes(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SL-01: a limit of 10 s is noticed within 11."""
    looks: dict[HttpClient, list[float]] = {}

    def look(self: HttpClient, now: float) -> float:
        looks.setdefault(self, []).append(now)
        return 0.0

    monkeypatch.setattr(HttpClient, "sweep", look)
    choose = random.Random(1)
    wires: list[Wire] = []
    for _ in range(300):
        wires += [site.socket() for _ in range(choose.randrange(8))]
        while len(wires) > 60:
            wires.pop(choose.randrange(len(wires))).close()
        site.pass_(SWEEP_S, SWEEP_S)
    pauses = [b - a for times in looks.values() for a, b in itertools.pairwise(times)]
    assert len(pauses) > 500
    assert max(pauses) <= SOON_S + SWEEP_S + 1e-6
    assert min(pauses) >= SOON_S - SWEEP_S - 1e-6


@pytest.mark.parametrize(("close", "pause"), [(5.0, QUIET_S), (1.5, 1.5), (0.1, SOON_S)])
def test_where_nothing_is_due_a_look_now_and_then_is_enough(
    make_site: Callable[..., Site], monkeypatch: pytest.MonkeyPatch, close: float, pause: float
) -> None:
    """As long as it is before the end of the shortest limit that may begin meanwhile."""
    site = make_site(timeouts={"close": close}, ping={"every": 3600.0})
    looks: list[float] = []
    sweep = V1Client.sweep

    def look(self: V1Client, now: float) -> float:
        looks.append(now)
        return sweep(self, now)

    monkeypatch.setattr(V1Client, "sweep", look)
    wire = site.join()
    site.pass_(30, SWEEP_S)
    wire.close()
    pauses = [b - a for a, b in itertools.pairwise(looks)]
    assert len(pauses) > 5
    assert all(abs(each - pause) < SWEEP_S + 1e-6 for each in pauses)


def test_those_who_have_gone_are_not_kept_for_long(site: Site) -> None:
    context = site.workers[0].context
    wires = [site.socket() for _ in range(GONE + 50)]
    site.pass_(SWEEP_S, SWEEP_S)
    for wire in wires:
        wire.close()
    site.pass_(SWEEP_S, SWEEP_S)
    assert not context.attendants
    assert not any(context._looks.values())
