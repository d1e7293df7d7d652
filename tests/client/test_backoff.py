"""How long the client waits before it comes back."""

from __future__ import annotations

import pytest

from wsd.client.backoff import Backoff


def top() -> float:
    return 1.0


def test_the_ceiling_doubles_up_to_twenty_seconds() -> None:
    backoff = Backoff(top)
    delays = [backoff.delay_s() for _ in range(40)]
    assert delays[:7] == [0.5, 1, 2, 4, 8, 16, 20]
    assert set(delays[7:]) == {20}


def test_full_jitter_reaches_down_to_nothing() -> None:
    backoff = Backoff(lambda: 0.0)
    assert [backoff.delay_s() for _ in range(5)] == [0.0] * 5


def test_only_a_good_connection_starts_it_anew() -> None:
    backoff = Backoff(top)
    for _ in range(4):
        backoff.delay_s()
    backoff.lived(29.9)
    assert backoff.delay_s() == 8
    backoff.lived(30)
    assert backoff.delay_s() == 0.5


@pytest.mark.parametrize(
    ("window", "chance", "delay_s"),
    [([0, 10_000], 0.25, 2.5), ([2_000, 4_000], 0.5, 3), ([5_000, 1_000], 1, 5), ([-5, -1], 1, 0)],
)
def test_a_bye_has_a_window_for_one_return(window: object, chance: float, delay_s: float) -> None:
    backoff = Backoff(lambda: chance)
    backoff.told(window)
    assert backoff.delay_s() == delay_s
    assert backoff.delay_s() == chance * 0.5  # after that, as ever


@pytest.mark.parametrize("window", [None, 5, [1], [1, 2, 3], ["1", "2"], {"a": 1}])
def test_what_is_no_window_is_none(window: object) -> None:
    backoff = Backoff(top)
    backoff.told(window)
    assert backoff.delay_s() == 0.5
