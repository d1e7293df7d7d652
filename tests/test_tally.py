"""Connections of an address are counted over all workers (LM-01, LM-04)."""

from __future__ import annotations

import os
import random
from collections import Counter

from hypothesis import assume, given
from hypothesis import strategies as st

from wsd.tally import COLUMNS, Tally


def tally_of(slots: int) -> Tally:
    tally = Tally(slots)
    for slot in range(slots):
        tally.wipe(slot)
    return tally


def count(tally: Tally, address: str) -> int:
    """How many there are, with nothing changed."""
    seen = tally.add(0, address) - 1
    tally.remove(0, address)
    return seen


def test_lm_04_one_count_for_all_workers() -> None:
    tally = tally_of(4)
    assert [tally.add(i % 4, "192.0.2.1") for i in range(10)] == list(range(1, 11))
    assert tally.add(3, "192.0.2.2") == 1
    tally.remove(2, "192.0.2.1")
    assert tally.add(0, "192.0.2.1") == 10


def test_lm_01_what_a_dead_worker_had_counted_is_given_back() -> None:
    tally = tally_of(3)
    for slot in (0, 1, 1, 2):
        tally.add(slot, "192.0.2.1")
    tally.wipe(1)
    assert count(tally, "192.0.2.1") == 2
    tally.wipe(1)
    assert tally.add(1, "192.0.2.1") == 3


def test_a_worker_that_a_reload_adds_counts_too() -> None:
    tally = Tally(8)
    tally.wipe(0)
    tally.add(0, "192.0.2.1")
    tally.wipe(1)
    assert tally.add(1, "192.0.2.1") == 2
    assert count(tally, "192.0.2.1") == 2


def test_processes_see_each_other() -> None:
    tally = tally_of(2)
    pid = os.fork()
    if not pid:
        tally.add(1, "192.0.2.1")
        os._exit(0)
    os.waitpid(pid, 0)
    assert tally.add(0, "192.0.2.1") == 2
    tally.wipe(1)
    assert count(tally, "192.0.2.1") == 1


@given(
    st.lists(st.tuples(st.integers(0, 2), st.sampled_from("abcdef"), st.booleans()), max_size=200)
)
def test_it_counts_like_a_counter(steps: list[tuple[int, str, bool]]) -> None:
    """Exactly, as long as no two addresses share a cell."""
    tally, expected = tally_of(3), [Counter[str](), Counter[str](), Counter[str]()]
    assume(len({tally._cells(address)[0] for address in "abcdef"}) == 6)
    for slot, address, comes in steps:
        if comes:
            expected[slot][address] += 1
            assert tally.add(slot, address) == sum(counter[address] for counter in expected)
        elif expected[slot][address]:
            expected[slot][address] -= 1
            tally.remove(slot, address)


def test_it_never_counts_too_few_and_seldom_too_many() -> None:
    """The figures of docs/decisions/0008: 100,000 connections of as many addresses."""
    tally = tally_of(4)
    tally._secret = b"the same in every run"
    addresses = [f"2001:db8:{i >> 16:x}:{i & 0xFFFF:x}::" for i in range(100_000)]
    for i, address in enumerate(addresses):
        tally.add(i % 4, address)
    surplus = [count(tally, a) - 1 for a in random.Random(1).sample(addresses, 2000)]
    assert min(surplus) == 0
    assert sum(surplus) / len(surplus) < 1.0
    assert max(surplus) < 10


def test_no_two_starts_put_an_address_in_the_same_cells() -> None:
    cells = {tally_of(1)._cells("192.0.2.1") for _ in range(5)}
    assert len(cells) > 1
    assert all(first < COLUMNS <= second < 2 * COLUMNS for first, second in cells)
