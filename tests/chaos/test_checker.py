"""The checker itself: a clean history passes, and every kind of fault in one is counted."""

from __future__ import annotations

import copy
import sqlite3
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.chaos.checker import (
    Counts,
    Enter,
    Event,
    LogContents,
    Receiver,
    Said,
    Sender,
    Told,
    check,
    read_log,
)

EPOCH = "k3f9x2aa"
RECOVER_MAX = 10


@dataclass
class History:
    """Two senders and two receivers in one room; four messages, everything as it should be."""

    senders: list[Sender]
    receivers: list[Receiver]
    log: LogContents
    notes: list[str] = field(default_factory=list)

    def check(self) -> Counts:
        return check(self.senders, self.receivers, self.log, RECOVER_MAX, self.notes)

    @property
    def stays(self) -> list[Enter | Event | Told]:
        """What the receiver got that never left."""
        return self.receivers[0].rooms["lobby"]

    @property
    def returns(self) -> list[Enter | Event | Told]:
        """What the receiver got that was away from 2 to 3."""
        return self.receivers[1].rooms["lobby"]

    def store(self, event: Event) -> None:
        self.log.events["lobby"][event.seq] = event


EVENTS = [
    Event(1, "ann", "a0"), Event(2, "bob", "b0"), Event(3, "ann", "a1"), Event(4, "bob", "b1"),
]  # fmt: skip


@pytest.fixture
def history() -> History:
    senders = [
        Sender(uid, [Said("lobby", f"{uid}.{n}", f"{uid[0]}{n}", [seq])
                     for n, seq in enumerate(seqs)])
        for uid, seqs in (("ann", (1, 3)), ("bob", (2, 4)))
    ]  # fmt: skip
    log = LogContents(
        EPOCH,
        {"lobby": 4},
        {"lobby": {event.seq: event for event in EVENTS}},
        {(s.uid, said.cid): ("lobby", said.acks[0]) for s in senders for said in s.said},
    )
    one, two, three, four = EVENTS
    stays = [Enter(None, EPOCH, 0, 0, False), one, two, Told(2), three, four]
    returns = [
        Enter(None, EPOCH, 1, 1, False), one, two,
        Enter((EPOCH, 2), EPOCH, 3, 1, True), three, four,
    ]  # fmt: skip
    receivers = [Receiver("stays", {"lobby": stays}), Receiver("returns", {"lobby": returns})]
    return copy.deepcopy(History(senders, receivers, log))


def found(counts: Counts) -> dict[str, int]:
    return {name: n for name, n in counts.as_dict().items() if n}


def test_clean(history: History) -> None:
    assert found(history.check()) == {}
    assert history.notes == []


def test_nothing_at_all() -> None:
    assert found(check([], [], LogContents(EPOCH), RECOVER_MAX)) == {}


def test_newcomer_is_owed_only_the_replay(history: History) -> None:
    history.stays[:] = [Enter(None, EPOCH, 4, 1, False), EVENTS[3]]
    assert found(history.check()) == {}


def test_acked_and_not_in_the_log(history: History) -> None:
    del history.log.events["lobby"][4]
    history.log.heads["lobby"] = 3
    for receiver in history.receivers:
        receiver.rooms["lobby"].pop()
    assert found(history.check()) == {"acked_lost": 1}


def test_acked_lost_and_delivered_all_the_same(history: History) -> None:
    del history.log.events["lobby"][4]
    history.log.heads["lobby"] = 3
    assert found(history.check()) == {"acked_lost": 1, "disagreements": 2}


def test_acked_at_a_seq_that_another_message_has(history: History) -> None:
    history.senders[0].said[1].acks = [4]
    assert found(history.check()) == {"acked_lost": 1}


def test_two_acks_that_differ(history: History) -> None:
    history.senders[0].said[1].acks = [3, 3, 2]
    assert found(history.check()) == {"acked_lost": 1, "acks_differ": 1}


def test_ack_that_the_dedup_table_contradicts(history: History) -> None:
    history.log.sent["ann", "ann.1"] = ("lobby", 1)
    assert found(history.check()) == {"acks_differ": 1}


def test_never_acked(history: History) -> None:
    history.senders[1].said[1].acks = []
    assert found(history.check()) == {"unacked": 1}


def test_stored_twice(history: History) -> None:
    again = Event(5, "ann", "a1")
    history.store(again)
    history.log.heads["lobby"] = 5
    history.stays.append(again)
    history.returns.append(again)
    assert found(history.check()) == {"duplicates": 1}


def test_same_text_of_two_senders_is_no_duplicate(history: History) -> None:
    history.senders[1].said[1].text = "a1"
    for entries in (history.stays, history.returns):
        entries[-1] = Event(4, "bob", "a1")
    history.store(Event(4, "bob", "a1"))
    assert found(history.check()) == {}


@pytest.mark.parametrize("seq", [1, 2, 3])
def test_hole_in_a_stay(history: History, seq: int) -> None:
    history.stays.remove(EVENTS[seq - 1])
    history.stays.remove(Told(2))
    assert found(history.check()) == {"missing": 1}


def test_hole_at_the_end(history: History) -> None:
    history.stays[-2:] = []
    assert found(history.check()) == {"missing": 2}


def test_hole_that_only_a_ping_shows(history: History) -> None:
    history.stays[2:4] = [Told(2)]
    assert found(history.check()) == {"missing": 1}


def test_hole_behind_recovered_true(history: History) -> None:
    history.returns[3:5] = [Enter((EPOCH, 2), EPOCH, 3, 0, True)]
    assert found(history.check()) == {"missing": 1}


def test_hole_that_recovered_false_admits(history: History) -> None:
    history.returns[3:5] = [Enter(("old", 2), EPOCH, 3, 0, False)]
    assert found(history.check()) == {}


def test_recovered_false_within_reach(history: History) -> None:
    history.returns[3:5] = [Enter((EPOCH, 2), EPOCH, 3, 0, False)]
    assert found(history.check()) == {"needless_resets": 1}


def test_recovered_false_by_a_worker_that_lags(history: History) -> None:
    history.returns[3:4] = [Enter((EPOCH, 2), EPOCH, 1, 1, False), EVENTS[0], EVENTS[1]]
    assert found(history.check()) == {"needless_resets": 1}


def test_recovered_false_for_a_position_that_never_was(history: History) -> None:
    history.stays[:1] = [Enter((EPOCH, 9), EPOCH, 0, 0, False)]
    history.stays[:1] = [Enter(None, EPOCH, 9, 0, False), *history.stays[:1]]
    assert found(history.check()) == {}


def test_follows_promises_more_than_comes(history: History) -> None:
    history.returns.remove(EVENTS[2])
    assert found(history.check()) == {"missing": 1}


def test_never_there_at_the_end(history: History) -> None:
    history.stays.clear()
    assert found(history.check()) == {"missing": 4}


def test_client_that_claims_what_it_does_not_have(history: History) -> None:
    history.returns[2:4] = [Enter((EPOCH, 2), EPOCH, 3, 1, True)]
    assert found(history.check()) == {"missing": 1}


def test_delivered_twice_in_a_stay(history: History) -> None:
    history.stays.append(EVENTS[3])
    assert found(history.check()) == {"delivered_twice": 1}


def test_delivered_twice_by_a_recovery(history: History) -> None:
    history.returns[3:4] = [Enter((EPOCH, 2), EPOCH, 3, 2, True), EVENTS[1]]
    assert found(history.check()) == {"delivered_twice": 1}


def test_repeated_behind_recovered_false_is_no_fault(history: History) -> None:
    history.returns[3:4] = [Enter(("old", 2), EPOCH, 3, 2, False), EVENTS[1]]
    assert found(history.check()) == {}


def test_out_of_order(history: History) -> None:
    history.stays[-2:] = [EVENTS[3], EVENTS[2]]
    assert found(history.check()) == {"missing": 1, "out_of_order": 1}


def test_receiver_and_log_disagree(history: History) -> None:
    history.stays[-1] = Event(4, "ann", "a1")
    assert found(history.check()) == {"disagreements": 1}


def test_two_receivers_disagree_on_what_the_log_lost(history: History) -> None:
    history.log.events["lobby"].pop(4)
    history.log.heads["lobby"] = 3
    history.stays[-1] = Event(4, "ann", "a1")
    assert found(history.check()) == {"acked_lost": 1, "disagreements": 2}


def test_epochs_mixed(history: History) -> None:
    history.stays[0] = Enter(None, "another1", 0, 0, False)
    assert found(history.check()) == {"disagreements": 1}


def test_recovered_from_another_epoch(history: History) -> None:
    history.returns[3] = Enter(("another1", 2), EPOCH, 3, 1, True)
    assert found(history.check()) == {"disagreements": 1}


def test_senders_order(history: History) -> None:
    first, second = Event(1, "ann", "a1"), Event(3, "ann", "a0")
    for event in (first, second):
        history.store(event)
        for entries in (history.stays, history.returns):
            at = next(i for i, e in enumerate(entries)
                      if isinstance(e, Event) and e.seq == event.seq)  # fmt: skip
            entries[at] = event
    history.senders[0].said[0].acks, history.senders[0].said[1].acks = [3], [1]
    history.log.sent["ann", "ann.0"] = ("lobby", 3)
    history.log.sent["ann", "ann.1"] = ("lobby", 1)
    assert found(history.check()) == {"sender_order": 1}


def test_never_sent(history: History) -> None:
    forged = Event(5, "eve", "boo")
    history.store(forged)
    history.log.heads["lobby"] = 5
    history.stays.append(forged)
    history.returns.append(forged)
    assert found(history.check()) == {"never_sent": 3}


def test_number_without_an_event(history: History) -> None:
    history.log.heads["lobby"] = 5
    assert found(history.check()) == {"log_holes": 1, "missing": 2}


def test_notes_say_where(history: History) -> None:
    history.stays.append(EVENTS[3])
    history.check()
    assert history.notes == ["delivered_twice: stays lobby: 4, being at 4"]


def test_counts_add_up() -> None:
    total = Counts(missing=2) + Counts(missing=1, unacked=4)
    assert (total.missing, total.unacked, total.total()) == (3, 4, 7)


def test_read_log(tmp_path: Path) -> None:
    db = sqlite3.connect(tmp_path / "wsd.db")
    db.executescript(
        """
        CREATE TABLE meta (key TEXT, value TEXT);
        CREATE TABLE rooms (id INTEGER PRIMARY KEY, name TEXT, head INTEGER);
        CREATE TABLE events (room INTEGER, seq INTEGER, json BLOB);
        CREATE TABLE sent (uid TEXT, cid TEXT, room INTEGER, seq INTEGER);
        INSERT INTO meta VALUES ('epoch', 'k3f9x2aa');
        INSERT INTO rooms VALUES (7, 'lobby', 2), (8, 'empty', 0);
        INSERT INTO events VALUES (7, 2, '{"type":"message","uid":"ann","text":"a0","seq":2}');
        INSERT INTO sent VALUES ('ann', 'ann.0', 7, 2);
        """
    )
    db.close()
    log = read_log(tmp_path / "wsd.db")
    assert log.epoch == EPOCH
    assert log.heads == {"lobby": 2, "empty": 0}
    assert log.events == {"lobby": {2: Event(2, "ann", "a0")}, "empty": {}}
    assert log.sent == {("ann", "ann.0"): ("lobby", 2)}


def test_read_log_refuses_a_damaged_file(tmp_path: Path) -> None:
    (tmp_path / "wsd.db").write_bytes(b"SQLite format 3\0" + b"x" * 8000)
    with pytest.raises((AssertionError, sqlite3.DatabaseError)):
        read_log(tmp_path / "wsd.db")
