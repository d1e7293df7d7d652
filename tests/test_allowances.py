"""Accounts in memory that all workers share, and the rate that they keep (LM-05, LM-07)."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsd.allowances import SETS, WAYS, Account, Allowances, Rate


def test_an_account_is_kept_under_its_name() -> None:
    table = Allowances()
    account = table.account("say", "ann")
    assert account.paid_at == account.told_until == account.told_s == account.penalty_s == 0
    account.paid_at, account.told_until, account.told_s, account.penalty_s = 1.5, 2.5, 3.5, 4.5
    table.keep(account)
    found = table.account("say", "ann")
    assert (found.paid_at, found.told_until, found.told_s, found.penalty_s) == (1.5, 2.5, 3.5, 4.5)
    for other in (("say", "bob"), ("rename", "ann"), ("sayann",), ("say", "ann", "")):
        assert table.account(*other).paid_at == 0


def test_processes_see_each_other() -> None:
    table, rate = Allowances(), Rate(2, 10.0)
    pid = os.fork()
    if not pid:
        table.take(rate, 100.0, "ann")
        os._exit(0)
    os.waitpid(pid, 0)
    assert table.take(rate, 100.0, "ann") == 0
    assert table.take(rate, 100.0, "ann") == pytest.approx(10.0)


def test_the_rate() -> None:
    table, rate = Allowances(), Rate(3, 2.0)
    assert [table.take(rate, 100.0, "u") for _ in range(3)] == [0, 0, 0]
    assert table.take(rate, 100.0, "u") == pytest.approx(2.0)
    assert table.take(rate, 101.5, "u") == pytest.approx(0.5)  # asking costs nothing
    assert table.take(rate, 102.0, "u") == 0
    assert table.take(rate, 1000.0, "u") == 0  # a long rest fills it, and no more than that
    assert [table.take(rate, 1000.0, "u") > 0 for _ in range(3)] == [False, False, True]


def test_another_rate_for_the_same_account() -> None:
    """What a reload does: who has used up little under the one may go on under the other."""
    table = Allowances()
    assert [table.take(Rate(2, 10.0), 50.0, "u") > 0 for _ in range(3)] == [False, False, True]
    assert table.take(Rate(1, 1.0), 69.0, "u") == pytest.approx(1.0)
    assert table.take(Rate(1, 1.0), 70.0, "u") == 0


@given(st.integers(1, 10), st.floats(0.01, 1000), st.lists(st.floats(0, 100), max_size=60))
def test_never_more_than_burst_and_one_per_interval(
    burst: int, every_s: float, pauses: list[float]
) -> None:
    account, rate, now = Account(1), Rate(burst, every_s), 0.0
    for done, pause in enumerate(pauses, 1):
        now += pause
        wait_s = account.wait_s(rate, now)
        if wait_s > 0:
            # Whoever waits as long as told is served.
            now += wait_s + 0.001 + every_s * 1e-9
            assert account.wait_s(rate, now) <= 0
        account.pay(rate, now)
        assert done <= burst + now / every_s + 1e-6


def test_lm_05_ten_thousand_tries_bring_the_burst_and_the_rate() -> None:
    table, rate, now, done = Allowances(), Rate(20, 0.2), 100.0, 0
    for _ in range(10_000):
        done += not table.take(rate, now, "u")
        now += 0.01
    assert done == pytest.approx(20 + 5 * 100, rel=0.01)


def test_lm_07_a_million_addresses_take_no_more_memory() -> None:
    table, rate = Allowances(), Rate(5, 2.0)
    size = len(table._memory)
    for number in range(20 * SETS):  # a million would show the same, in a minute
        table.take(rate, 100.0 + number * 1e-5, f"2001:db8:{number:x}::")
    assert len(table._memory) == size < 6 * 1024 * 1024
    # The newest ones are there; of the oldest, most are not.
    newest = [f"2001:db8:{n:x}::" for n in range(20 * SETS - 1000, 20 * SETS)]
    assert all(table.account(name).paid_at for name in newest)
    oldest = [f"2001:db8:{n:x}::" for n in range(1000)]
    assert sum(bool(table.account(name).paid_at) for name in oldest) < 100


def test_who_is_forgotten_is_who_owes_least() -> None:
    table = Allowances()
    names = []
    while len(names) < WAYS + 1:  # as many as share one set
        name = f"u{len(names)}.{os.urandom(8).hex()}"
        if table.account(name).key % SETS == 0 or not names:
            names.append(name)
        if len(names) == 1 and table.account(names[0]).key % SETS:
            names.clear()
    for debt, name in enumerate(names[:WAYS], 1):
        account = table.account(name)
        account.paid_at = 100.0 + debt
        table.keep(account)
    told = table.account(names[0])
    told.told_until = 500.0  # it has paid, but has been told to wait for long
    table.keep(told)
    newcomer = table.account(names[WAYS])
    newcomer.paid_at = 50.0
    table.keep(newcomer)
    there = [bool(table.account(name).paid_at) for name in names]
    assert there == [True, False] + [True] * (WAYS - 1)
