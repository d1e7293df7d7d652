"""One row for each process, in memory that they share."""

from __future__ import annotations

import logging
import os

import pytest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.parser import text_string_to_metric_families

from wsd import reasons
from wsd.metrics import (
    _FIRST_REASON,
    BY_REASON,
    CLOSED,
    EXPORTED,
    HTTP_REJECTED,
    REFUSED,
    M,
    Scoreboard,
)

NAMES = ["master", "hub", "worker 0", "worker 1"]


@pytest.fixture
def board() -> Scoreboard:
    board = Scoreboard(NAMES)
    for _, row in board.rows():
        row[M.STARTS] = 1
    return board


def test_rows_are_apart(board: Scoreboard) -> None:
    for i, name in enumerate(NAMES):
        for cell in M:
            board.row(name)[cell] = i * 1000 + cell
    for i, (name, row) in enumerate(board.rows()):
        assert name == NAMES[i]
        assert [row[cell] for cell in M] == [i * 1000 + cell for cell in M]
    assert board.note == ""


def test_cells_fit_and_are_used_once() -> None:
    assert len({int(cell) for cell in M}) == len(M)
    assert max(M) < _FIRST_REASON
    assert len({described.cell for described in EXPORTED}) == len(EXPORTED)
    assert len({described.name for described in EXPORTED}) == len(EXPORTED)


def test_a_child_writes_and_its_parent_reads(board: Scoreboard) -> None:
    pid = os.fork()
    if not pid:
        board.row("hub")[M.STORED] += 41
        board.row("hub")[M.STORED] += 1
        os._exit(0)
    os.waitpid(pid, 0)
    assert board.row("hub")[M.STORED] == 42
    assert board.row("worker 0")[M.STORED] == 0


def test_exposition(board: Scoreboard) -> None:
    board.row("worker 1")[M.COPIES] = 12345678
    board.row("worker 1")[M.CONNECTIONS] = 3
    families = {f.name: f for f in text_string_to_metric_families(board.exposition().decode())}
    assert set(families) == {c.name for c in (*EXPORTED, *BY_REASON)}
    for described in EXPORTED:
        family = families[described.name]
        assert family.documentation == described.help
        assert (
            family.type
            == {CounterMetricFamily: "counter", GaugeMetricFamily: "gauge"}[described.kind]
        )
        assert [s.labels["process"] for s in family.samples if s.name.startswith(described.name)]
    (copies,) = [s for s in families["wsd_copies"].samples if s.labels["process"] == "worker 1"]
    assert (copies.name, copies.value) == ("wsd_copies_total", 12345678)


def test_a_reason_has_a_label_and_a_cell_of_its_own(board: Scoreboard) -> None:
    """LG-07: there are as many labels as the registry has names, and one for what it has not."""
    rows = [board.row("worker 0"), board.row("worker 1")]
    for counters in BY_REASON:
        for i, reason in enumerate(counters.labels):
            for _ in range(i):
                counters.count(rows[i % 2], reason)
    families = {f.name: f for f in text_string_to_metric_families(board.exposition().decode())}
    for counters in BY_REASON:
        samples = [s for s in families[counters.name].samples if s.name.endswith("_total")]
        assert {s.labels[counters.label]: s.value for s in samples} == {
            reason: i for i, reason in enumerate(counters.labels)
        }
    assert HTTP_REJECTED.labels == (*reasons.HTTP, "other")
    assert REFUSED.labels == (*reasons.COMMANDS, "other")
    assert CLOSED.labels == (*reasons.CLOSED, "other")


def test_a_reason_that_is_in_no_table_is_counted_and_said(
    board: Scoreboard, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("wsd"), "propagate", True)
    row = board.row("worker 0")
    CLOSED.count(row, "by_magic")
    assert CLOSED.counts(row) == {"other": 1}
    assert [record.getMessage() for record in caplog.records] == ["unknown_reason"]


def test_counts_of_a_worker_that_is_no_more_stay(board: Scoreboard) -> None:
    REFUSED.count(board.row("worker 1"), "rate")
    board.row("worker 1")[M.STARTS] = 0
    assert b'wsd_refused_total{code="rate"} 1.0' in board.exposition()


def test_slots_that_were_never_used_are_left_out() -> None:
    board = Scoreboard(NAMES)
    board.row("hub")[M.STARTS] = 1
    assert [name for name, _ in board.used_rows()] == ["hub"]
    assert b'process="worker' not in board.exposition()


@pytest.mark.parametrize("text", ["", "configuration reloaded", "müde 张", "a\nb"])
def test_note(board: Scoreboard, text: str) -> None:
    board.note = "something long that was there before"
    board.note = text
    assert board.note == text


@pytest.mark.parametrize("text", ["x" * 5000, "张" * 5000, "x" + "😀" * 5000])
def test_a_note_that_is_too_long_is_cut(board: Scoreboard, text: str) -> None:
    board.row("worker 1")[M.BEAT] = 7.0
    board.note = text
    assert board.note.rstrip("\ufffd") == text[: len(board.note.rstrip("\ufffd"))]
    assert 200 < len(board.note) <= 1024
    assert board.row("worker 1")[M.BEAT] == 7.0
