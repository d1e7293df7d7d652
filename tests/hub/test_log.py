"""The log on real files: order, retries, deletion, retention, restarts, and what it refuses."""

from __future__ import annotations

import json
import os
import random
import sqlite3
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.parts import Clock, draft
from wsd.chat.event import DELETE, EDIT, Draft
from wsd.hub import log as log_module
from wsd.hub.log import (
    DEDUP_S,
    SCHEMA,
    TRIM_ROWS,
    Busy,
    Corrupt,
    Log,
    LogError,
    Refusal,
    Stored,
    open_log,
)

DAY = 24 * 3600.0


class Box:
    """A directory with a log that is opened again and again, by a clock that is set."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.clock = Clock(1_700_000_000.0)
        self.log = self.open()

    def open(self, durability: str = "full") -> Log:
        self.log = Log(str(self.directory), durability, self.clock)
        return self.log

    def reopen(self, durability: str = "full") -> Log:
        self.log.close()
        return self.open(durability)

    def crash(self) -> None:
        """As a killed process leaves it: nothing is marked, the kernel lets go of the lock."""
        self.log.abandon()

    def put(self, *drafts: Draft) -> list[Any]:
        return self.log.append(drafts)

    def say(self, text: str = "hi", **keys: Any) -> Stored:
        (result,) = self.put(draft(text, **keys))
        assert isinstance(result, Stored), result
        return result

    def texts(self, room: str = "lobby") -> list[tuple[int, str]]:
        rows = self.log.events(room, 0, 1 << 53, 1 << 20)
        bodies = [json.loads(row) for _, row in rows]
        return [(body["seq"], body.get("text", body["type"])) for body in bodies]

    def bytes(self) -> bytes:
        return b"".join(path.read_bytes() for path in self.directory.iterdir() if path.is_file())


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    box = Box(tmp_path)
    yield box
    try:
        box.log.abandon()
    except OSError:
        pass


# -- numbers and order


def test_numbers_are_dense_in_each_room(box: Box) -> None:
    results = box.put(*[draft(str(i), room=("a", "b")[i % 3 == 0]) for i in range(30)])
    seqs: dict[str, list[int]] = {"a": [], "b": []}
    for i, result in enumerate(results):
        seqs[("a", "b")[i % 3 == 0]].append(result.seq)
    assert seqs == {"a": list(range(1, 21)), "b": list(range(1, 11))}
    assert box.log.bounds("a") == (1, 20)
    assert box.log.bounds("nowhere") == (1, 0)


@pytest.mark.parametrize("end", ["close", "crash"])
def test_numbers_go_on_after_a_reopen(box: Box, end: str) -> None:
    for i in range(5):
        box.say(str(i))
    if end == "close":
        box.reopen()
    else:
        box.crash()
        box.open()
    assert box.log.bounds("lobby") == (1, 5)
    assert box.say("next").seq == 6
    assert box.texts()[-1] == (6, "next")


def test_dl_16_numbers_are_not_used_again_when_the_newest_rows_go(box: Box) -> None:
    for _ in range(5):
        box.say()
    box.log._db.execute("DELETE FROM events WHERE seq > 2")
    box.reopen()
    assert box.say().seq == 6
    box.clock.pass_(40 * DAY)
    while box.log.trim("lobby", 1000, 30 * DAY):
        pass
    assert box.log.bounds("lobby") == (7, 6)
    box.reopen()
    assert box.log.bounds("lobby") == (7, 6)
    box.log._db.execute("VACUUM")
    assert box.say().seq == 7


def test_time_never_goes_back_within_a_room(box: Box) -> None:
    first = box.say("1")
    box.clock.pass_(-3600)
    second = box.say("2")
    assert second.time == first.time
    box.reopen()
    assert box.say("3").time == first.time
    assert box.say("elsewhere", room="b").time == first.time - 3600
    box.clock.pass_(3601)
    assert box.say("4").time == first.time + 1


def test_what_is_stored_is_what_is_returned(box: Box) -> None:
    stored = box.say('tab\t "quotes" \\ 你好 😀\u2028', ref=None)
    assert stored.row is not None
    assert box.log.events("lobby", 0, 2, 1) == [stored.row]
    assert json.loads(stored.row[1]) == {
        "type": "message", "room": "lobby", "seq": 1, "time": stored.time, "uid": "ann",
        "name": "Ann", "role": "guest", "text": 'tab\t "quotes" \\ 你好 😀\u2028',
    }  # fmt: skip


@pytest.mark.parametrize(
    "text", ["x'; DROP TABLE events; --", '" OR 1=1', "a\0b", "%s {} %(x)", "😀" * 16384]
)
def test_st_12_and_13_texts_are_data(box: Box, text: str) -> None:
    box.put(Draft(text[:50], "message", text, text, text, text, text))
    assert json.loads(box.log.events(text[:50], 0, 9, 9)[0][1])["text"] == text


# -- retries


def test_a_retry_is_answered_with_the_first_number(box: Box) -> None:
    first = box.say("once", cid="c1")
    box.clock.pass_(60)
    again = box.say("once", cid="c1")
    assert (again.seq, again.time, again.row, again.differs) == (1, first.time, None, False)
    assert box.texts() == [(1, "once")]


def test_a_retry_in_the_same_batch(box: Box) -> None:
    one, two, three = box.put(draft("a", cid="c"), draft("b", cid="d"), draft("a", cid="c"))
    assert (one.seq, two.seq, three.seq) == (1, 2, 1)
    assert three.row is None
    assert box.log.bounds("lobby") == (1, 2)


def test_dl_11_the_first_text_stands(box: Box) -> None:
    box.say("first", cid="c")
    again = box.say("second", cid="c")
    assert (again.seq, again.differs) == (1, True)
    assert box.texts() == [(1, "first")]


def test_dl_12_ids_belong_to_their_senders(box: Box) -> None:
    assert box.say("a", uid="ann", cid="c").seq == 1
    assert box.say("b", uid="bob", cid="c").seq == 2


def test_retries_are_recognised_after_a_crash(box: Box) -> None:
    box.say("x", cid="c")
    box.crash()
    box.open()
    assert box.say("x", cid="c").row is None


def test_a_retry_of_what_retention_removed_is_still_one(box: Box) -> None:
    box.say("x", cid="c")
    box.clock.pass_(3600)
    box.log.trim("lobby", 1000, 60)
    assert box.texts() == []
    assert box.say("x", cid="c") == Stored(1, box.clock.now - 3600, None)


def test_ids_are_forgotten_after_a_day(box: Box) -> None:
    box.say("x", cid="c")
    box.clock.pass_(DEDUP_S - 1)
    box.log.trim_sent()
    assert box.say("x", cid="c").row is None
    box.clock.pass_(2)
    box.log.trim_sent()
    assert box.say("x", cid="c").seq == 2


def test_ids_are_forgotten_in_steps(box: Box) -> None:
    box.put(*[draft(str(i)) for i in range(TRIM_ROWS + 3)])
    box.clock.pass_(DEDUP_S + 1)
    assert box.log.trim_sent() is True
    assert box.log._db.execute("SELECT count(*) FROM sent").fetchone() == (3,)
    assert box.log.trim_sent() is False
    assert box.log._db.execute("SELECT count(*) FROM sent").fetchone() == (0,)


def test_retries_of_edits_and_deletes(box: Box) -> None:
    box.say("one")
    edit = draft("two", kind=EDIT, ref=1, cid="e")
    delete = draft("", kind=DELETE, ref=1, cid="d")
    assert [r.seq for r in box.put(edit, delete)] == [2, 3]
    # Both would be refused now, if they were not known.
    assert [r.seq for r in box.put(edit, delete)] == [2, 3]


# -- edits and deletes


def test_an_edit_changes_what_history_shows(box: Box) -> None:
    box.say("one")
    (result,) = box.put(draft("two", kind=EDIT, ref=1))
    assert json.loads(result.row[1]) == {
        "type": "edit", "room": "lobby", "seq": 2, "time": result.time, "ref": 1, "text": "two",
    }  # fmt: skip
    ((_, shown),) = box.log.messages("lobby", 99, 10)[0]
    assert json.loads(shown)["text"] == "two"
    assert json.loads(shown)["edited"] is True


@pytest.mark.parametrize("kind", [EDIT, DELETE])
def test_only_ones_own_existing_messages_can_be_changed(box: Box, kind: str) -> None:
    box.say("ann's", uid="ann")
    box.say("in b", uid="ann", room="b")
    box.put(draft("x", kind=EDIT, ref=1))  # seq 2 is no message

    def refused(**keys: Any) -> str:
        (result,) = box.put(draft("!", kind=kind, **keys))
        assert isinstance(result, Refusal), result
        return result.code

    assert refused(ref=1, uid="bob") == "denied"
    assert refused(ref=2) == "bad"
    assert refused(ref=3) == "bad"
    assert refused(ref=1, room="nowhere") == "bad"
    assert refused(ref=None) == "bad"
    assert box.log.bounds("lobby") == (1, 2)
    assert box.log.bounds("nowhere") == (1, 0)
    box.put(draft("", kind=DELETE, ref=1))
    assert refused(ref=1) == "bad"


def test_a_refusal_takes_nothing_else_along(box: Box) -> None:
    box.say("ann's", uid="ann")
    results = box.put(
        draft("a"), draft("x", kind=EDIT, ref=1, uid="bob"), draft("b"),
        draft("y", kind=EDIT, ref=4),
    )  # fmt: skip
    assert [type(r) for r in results] == [Stored, Refusal, Stored, Refusal]
    assert [seq for seq, _ in box.texts()] == [1, 2, 3]


def test_edit_and_delete_of_a_message_of_the_same_batch(box: Box) -> None:
    results = box.put(
        draft("first"), draft("second", kind=EDIT, ref=1), draft("", kind=DELETE, ref=1)
    )
    assert [r.seq for r in results] == [1, 2, 3]
    assert box.texts() == [(1, ""), (2, ""), (3, "delete")]


def test_a_message_that_retention_took_is_deleted_from_its_edits(box: Box) -> None:
    box.say("first")
    box.put(draft("secret", kind=EDIT, ref=1), draft("y"))
    box.log.trim("lobby", 2, DAY)
    assert box.texts() == [(2, "secret"), (3, "y")]
    (refused,) = box.put(draft("", kind=DELETE, ref=1, uid="another"))
    assert isinstance(refused, Refusal)
    (stored,) = box.put(draft("", kind=DELETE, ref=1))
    assert isinstance(stored, Stored)
    assert box.texts() == [(2, ""), (3, "y"), (4, "delete")]
    (refused,) = box.put(draft("", kind=DELETE, ref=1))
    assert isinstance(refused, Refusal)  # nothing is left of it


def test_a_deleted_text_is_nowhere_in_the_files(box: Box) -> None:
    words = [b"Krypton", b"Xenon", b"Radon"]
    for i in range(50):
        box.say(f"filler {i} " * 20)
    box.say("my secret is Krypton")
    box.put(draft("my secret is Xenon", kind=EDIT, ref=51))
    box.put(draft("my secret is Radon", kind=EDIT, ref=51))
    assert all(word in box.bytes() for word in words)
    box.put(draft("", kind=DELETE, ref=51))
    box.log._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    assert not any(word in box.bytes() for word in words)
    assert b"filler 7" in box.bytes()


def test_texts_that_retention_removed_are_nowhere_in_the_files(box: Box) -> None:
    box.put(*[draft(f"old Krypton {i}") for i in range(100)])
    box.put(*[draft(f"new {i}") for i in range(10)])
    box.log.trim("lobby", 10, 100 * DAY)
    box.log.close()
    box.open()
    assert b"Krypton" not in box.bytes()


# -- all or nothing


def test_a_failing_insert_takes_the_whole_batch_back(box: Box) -> None:
    box.say("before")
    box.log._db.execute(
        "CREATE TRIGGER no BEFORE INSERT ON events WHEN NEW.uid = 'mallory' "
        "BEGIN SELECT RAISE(ABORT, 'disk on fire'); END"
    )
    with pytest.raises(sqlite3.Error, match="disk on fire"):
        box.put(draft("a", cid="a"), draft("b", room="new"), draft("c", uid="mallory"))
    assert box.log.bounds("lobby") == (1, 1)
    assert box.log.bounds("new") == (1, 0)
    results = box.put(draft("a", cid="a"), draft("b", room="new"))
    assert [(r.seq, r.row is None) for r in results] == [(2, False), (1, False)]
    box.crash()
    box.open()
    assert box.texts() == [(1, "before"), (2, "a")]


def test_a_failing_commit_takes_the_whole_batch_back(box: Box) -> None:
    box.say("before")
    box.log._db.execute("CREATE TABLE parent (id INTEGER PRIMARY KEY)")
    box.log._db.execute("PRAGMA foreign_keys = ON")
    box.log._db.execute(
        "CREATE TABLE child (id REFERENCES parent(id) DEFERRABLE INITIALLY DEFERRED)"
    )
    box.log._db.execute(
        "CREATE TEMP TRIGGER breaks AFTER INSERT ON main.events "
        "BEGIN INSERT INTO child VALUES (7); END"
    )
    with pytest.raises(sqlite3.IntegrityError):
        box.put(draft("a", cid="a"), draft("b", cid="b"))
    assert not box.log._db.in_transaction
    box.log._db.execute("DROP TRIGGER breaks")
    assert [r.seq for r in box.put(draft("a", cid="a"), draft("b", cid="b"))] == [2, 3]


def test_st_09_another_program_holds_the_file(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    box.log._db.execute("PRAGMA busy_timeout = 20")
    other = sqlite3.connect(box.directory / "wsd.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        box.say("x", cid="c")
    other.execute("ROLLBACK")
    other.close()
    assert box.say("x", cid="c").seq == 1


def test_an_empty_batch(box: Box) -> None:
    assert box.put() == []


def test_many_rooms_in_memory_do_not_disturb_a_batch(
    box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Made-up rooms fill the cache; when it is emptied, no numbers may be lost."""
    monkeypatch.setattr(log_module, "CACHED_ROOMS", 4)
    for _ in range(3):
        drafts = [draft(str(i), room=f"room {i % 7}") for i in range(28)]
        box.put(*drafts)
        for i in range(9):
            box.log.bounds(f"made up {i}")
    for i in range(7):
        assert [seq for seq, _ in box.texts(f"room {i}")] == list(range(1, 13))


# -- retention


def trim_all(log: Log, size: int, keep_s: float) -> int:
    steps = 0
    while log.trim("lobby", size, keep_s):
        steps += 1
    return steps


def test_retention_by_size_in_steps(box: Box) -> None:
    box.put(*[draft(str(i)) for i in range(2 * TRIM_ROWS + 100)])
    assert box.log.trim("lobby", 50, DAY) is True
    assert box.log.bounds("lobby") == (TRIM_ROWS + 1, 2 * TRIM_ROWS + 100)
    assert trim_all(box.log, 50, DAY) == 1  # and the rest, which was no whole step
    assert box.log.bounds("lobby") == (2 * TRIM_ROWS + 51, 2 * TRIM_ROWS + 100)
    assert len(box.texts()) == 50
    assert trim_all(box.log, 50, DAY) == 0


def test_retention_by_age_in_steps(box: Box) -> None:
    box.put(*[draft(str(i)) for i in range(TRIM_ROWS + 10)])
    box.clock.pass_(100)
    box.put(*[draft(str(i)) for i in range(5)])
    assert trim_all(box.log, 10_000, 200) == 0
    box.clock.pass_(101)
    assert trim_all(box.log, 10_000, 200) == 1
    assert box.log.bounds("lobby") == (TRIM_ROWS + 11, TRIM_ROWS + 15)
    box.reopen()
    assert box.log.bounds("lobby") == (TRIM_ROWS + 11, TRIM_ROWS + 15)


def test_retention_of_a_room_that_is_not_there(box: Box) -> None:
    assert box.log.trim("nowhere", 1, 1) is False
    assert box.log.room_names("", 10) == []  # and it is not there now


def test_going_round_the_rooms(box: Box) -> None:
    names = ["b", "a", "ü", "C", "aa"]
    box.put(*[draft(room=name) for name in names])
    found: list[str] = []
    while step := box.log.room_names(found[-1] if found else "", 2):
        found += step
    assert found == sorted(names, key=str.encode)


# -- reading


def test_events_since(box: Box) -> None:
    box.put(*[draft(str(i)) for i in range(1, 11)])
    assert [s for s, _ in box.log.events("lobby", 3, 8, 100)] == [4, 5, 6, 7]
    assert [s for s, _ in box.log.events("lobby", 3, 8, 2)] == [4, 5]
    assert box.log.events("lobby", 10, 11, 100) == []
    assert box.log.events("nowhere", 0, 100, 100) == []


def test_pages_of_messages(box: Box) -> None:
    box.put(*[draft(str(i)) for i in range(1, 6)])
    box.put(draft("x", kind=EDIT, ref=2))
    box.put(draft("6"))
    rows, more = box.log.messages("lobby", 100, 3)
    assert ([s for s, _ in rows], more) == ([4, 5, 7], True)
    rows, more = box.log.messages("lobby", 4, 3)
    assert ([s for s, _ in rows], more) == ([1, 2, 3], False)
    assert box.log.messages("lobby", 1, 3) == ([], False)
    assert box.log.messages("nowhere", 100, 3) == ([], False)


# -- files and lives


def test_a_second_hub_is_refused(box: Box) -> None:
    with pytest.raises(Busy, match="another hub is at work"):
        Log(str(box.directory), "full")
    box.reopen()
    box.crash()
    box.open()


def test_a_failed_start_lets_go_of_the_lock(box: Box) -> None:
    box.log.close()
    newer = sqlite3.connect(box.directory / "wsd.db")
    newer.execute(f"PRAGMA user_version = {SCHEMA + 1}")
    newer.close()
    with pytest.raises(LogError, match=f"newer wsd .schema {SCHEMA + 1}"):
        box.open()
    older = sqlite3.connect(box.directory / "wsd.db")
    older.execute(f"PRAGMA user_version = {SCHEMA}")
    older.close()
    box.open()


def test_a_directory_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(OSError):
        Log(str(tmp_path / "none"), "full")


def test_sd_16_files_are_the_owners_alone(tmp_path: Path) -> None:
    before = os.umask(0o077)  # the master's, as systemd sets it
    try:
        box = Box(tmp_path)
        box.say()
    finally:
        os.umask(before)
    for path in tmp_path.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path
    box.log.close()


def pragma(log: Log, name: str) -> Any:
    return log._db.execute(f"PRAGMA {name}").fetchone()[0]


def test_durability(box: Box) -> None:
    assert (pragma(box.log, "journal_mode"), pragma(box.log, "synchronous")) == ("wal", 2)
    assert pragma(box.log, "secure_delete") == 1
    box.reopen("normal")
    assert pragma(box.log, "synchronous") == 1
    box.log.set_durability("full")
    assert pragma(box.log, "synchronous") == 2


def test_memory_leaves_no_log_behind(tmp_path: Path) -> None:
    log = Log(str(tmp_path), "memory")
    assert [r.seq for r in log.append([draft(), draft()])] == [1, 2]
    epoch = log.epoch
    log.close()
    assert not (tmp_path / "wsd.db").exists()
    log = Log(str(tmp_path), "memory")
    assert log.bounds("lobby") == (1, 0)
    assert log.epoch != epoch
    log.close()


@pytest.mark.parametrize("durability", ["full", "normal"])
def test_the_epoch_outlives_processes(box: Box, durability: str) -> None:
    box.reopen(durability)
    epoch = box.log.epoch
    assert epoch.isalnum() and epoch.isascii()
    box.reopen(durability)
    box.say()
    box.crash()
    box.open(durability)
    assert box.log.epoch == epoch


def another_boot(box: Box) -> None:
    """The machine has lost its power: the boot that wrote last was another one."""
    db = sqlite3.connect(box.directory / "wsd.db")
    db.execute("UPDATE meta SET value = CAST(value AS INTEGER) - 86400 WHERE key = 'boot'")
    db.commit()
    db.close()


@pytest.mark.parametrize(
    ("started", "reloaded", "clean", "changes"),
    [
        ("full", "", False, False),
        ("normal", "", False, True),
        ("normal", "", True, False),
        ("full", "normal", False, True),
        ("normal", "full", False, False),
    ],
)
def test_dl_15_a_new_epoch_after_power_loss_if_commits_may_be_missing(
    box: Box, started: str, reloaded: str, clean: bool, changes: bool
) -> None:
    box.reopen(started)
    epoch = box.log.epoch
    box.say()
    if reloaded:
        box.log.set_durability(reloaded)
        box.say()
    if clean:
        box.log.close()
    else:
        box.crash()
    another_boot(box)
    box.open(started)
    assert (box.log.epoch != epoch) is changes
    box.reopen(started)  # and then it stays
    assert (box.log.epoch != epoch) is changes


def test_a_life_begins_with_a_synced_note(box: Box, tmp_path: Path) -> None:
    """The mark of an unclean life must itself survive the loss of power that it is there for."""
    box.reopen("normal")
    box.log.close()
    seen: list[tuple[str, int]] = []
    real = Log._put

    def noting(self: Log, key: str, value: str) -> None:
        seen.append((key, pragma(self, "synchronous")))
        real(self, key, value)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Log, "_put", noting)
        box.open("normal")
    assert {key for key, _ in seen} >= {"clean", "durability"}
    assert all(level == 2 for key, level in seen if key in ("clean", "durability", "boot", "epoch"))
    assert pragma(box.log, "synchronous") == 1


def test_a_backup_that_was_put_back_begins_a_new_epoch(box: Box) -> None:
    box.say("kept")
    box.log.close()
    backup = (box.directory / "wsd.db").read_bytes()
    box.open()
    epoch = box.log.epoch
    box.say("seen by clients")
    box.log.close()
    (box.directory / "wsd.db").write_bytes(backup)
    box.open()
    assert box.log.epoch != epoch
    assert box.texts() == [(1, "kept")]
    box.log.close()
    again = box.open().epoch
    assert box.reopen().epoch == again


@pytest.mark.parametrize("damage", ["garbage", "header", "page"])
def test_st_06_a_damaged_file_is_moved_aside(box: Box, damage: str) -> None:
    box.put(*[draft("x" * 500) for _ in range(100)])
    epoch = box.log.epoch
    box.log.close()
    path = box.directory / "wsd.db"
    data = bytearray(path.read_bytes())
    if damage == "garbage":
        data = bytearray(random.Random(1).randbytes(len(data)))
    elif damage == "header":
        data[:100] = bytes(100)
    else:
        for page in range(4, len(data) // 4096, 3):
            data[page * 4096 : page * 4096 + 512] = b"\xff" * 512
    path.write_bytes(data)
    log = open_log(str(box.directory), "full", thorough=True)
    assert log.epoch != epoch
    assert [r.seq for r in log.append([draft()])] == [1]
    log.close()
    (kept,) = box.directory.glob("wsd.db.corrupt-*Z")
    assert len(kept.read_bytes()) == len(data)
    box.open()


def test_check_of_a_good_file(box: Box) -> None:
    box.say()
    box.log.check()
    with pytest.raises(Corrupt):
        box.log._db.execute("PRAGMA writable_schema = ON")
        box.log._db.execute("UPDATE sqlite_master SET rootpage = 9999 WHERE name = 'events'")
        box.reopen()
        box.log.check()


def test_readers_of_the_file_disturb_nobody(box: Box) -> None:
    """`wsd export` and the like read while the hub writes."""
    box.say("1")
    reader = sqlite3.connect(f"file:{box.directory / 'wsd.db'}?mode=ro", uri=True)
    rows = reader.execute("SELECT seq FROM events")
    box.say("2")
    assert rows.fetchall() == [(1,)]
    reader.close()


def test_the_log_is_used_by_one_thread(box: Box) -> None:
    errors: list[BaseException] = []

    def elsewhere() -> None:
        try:
            box.say()
        except sqlite3.ProgrammingError as error:
            errors.append(error)

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert errors


# -- against a model


class Model:
    """What a log is, in lists and dictionaries."""

    def __init__(self) -> None:
        self.rooms: dict[str, list[dict[str, Any]]] = {}
        self.heads: dict[str, int] = {}
        self.known: dict[tuple[str, str], tuple[str, int]] = {}

    def append(self, d: Draft) -> tuple[str, int]:
        if (d.uid, d.cid) in self.known:
            room, seq = self.known[d.uid, d.cid]
            return ("again", seq) if room == d.room else ("refused", 0)
        rows = self.rooms.setdefault(d.room, [])
        if d.kind != "message":
            target = next((r for r in rows if r["seq"] == d.ref and r["kind"] == "message"), None)
            told = [target] if target else []
            if d.kind == DELETE:
                told += [r for r in rows if r["kind"] == EDIT and r["ref"] == d.ref and r["text"]]
            if not told or told[0]["gone"] or told[0]["uid"] != d.uid:
                return "refused", 0
            for row in told:
                row["text"] = d.text
            told[0]["gone"] = d.kind == DELETE
        seq = self.heads[d.room] = self.heads.get(d.room, 0) + 1
        rows.append(
            {"seq": seq, "kind": d.kind, "uid": d.uid, "ref": d.ref, "text": d.text, "gone": False}
        )
        self.known[d.uid, d.cid] = d.room, seq
        return "new", seq

    def trim(self, room: str, size: int) -> None:
        edge = self.heads.get(room, 0) - size
        self.rooms[room] = [r for r in self.rooms.get(room, []) if r["seq"] > edge]

    def shown(self, room: str) -> list[tuple[int, str]]:
        return [
            (r["seq"], "delete" if r["kind"] == DELETE else r["text"])
            for r in self.rooms.get(room, [])
        ]


rooms = st.sampled_from(["a", "b"])
uids = st.sampled_from(["ann", "bob"])
cids = st.sampled_from([f"c{i}" for i in range(12)])
refs = st.integers(1, 8)
keys = {"room": rooms, "uid": uids, "cid": cids}
some_draft = st.one_of(
    st.builds(draft, st.text(max_size=4), **keys),
    st.builds(draft, st.just("edited"), kind=st.just(EDIT), ref=refs, **keys),
    st.builds(draft, st.just(""), kind=st.just(DELETE), ref=refs, **keys),
)
steps = st.one_of(
    st.tuples(st.just("batch"), st.lists(some_draft, max_size=6)),
    st.tuples(st.just("trim"), st.tuples(rooms, st.integers(0, 6))),
    st.tuples(st.sampled_from(["reopen", "crash", "fail"]), st.none()),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(steps, max_size=12))
def test_the_log_is_the_model(
    tmp_path_factory: pytest.TempPathFactory, program: list[tuple[str, Any]]
) -> None:
    box = Box(tmp_path_factory.mktemp("log"))
    model = Model()
    for action, argument in program:
        if action == "batch":
            run_batch(box, model, argument)
        elif action == "trim":
            box.log.trim(*argument, DAY)
            model.trim(*argument)
        elif action == "fail":
            run_failing_batch(box)
        else:
            if action == "crash":
                box.crash()
            else:
                box.log.close()
            box.open()
        for room in ("a", "b"):
            shown, head = model.shown(room), model.heads.get(room, 0)
            assert box.texts(room) == shown
            assert box.log.bounds(room) == (shown[0][0] if shown else head + 1, head)
    box.log.close()


def run_batch(box: Box, model: Model, drafts: list[Draft]) -> None:
    results = box.put(*drafts)
    for d, result in zip(drafts, results, strict=True):
        what, seq = model.append(d)
        if isinstance(result, Refusal):
            assert what == "refused"
        else:
            assert (what, seq) == ("again" if result.row is None else "new", result.seq)


def run_failing_batch(box: Box) -> None:
    class Bang(Exception):
        pass

    def drafts() -> Iterator[Draft]:
        yield draft("lost", room="a")
        yield draft("lost", room="b")
        raise Bang

    with pytest.raises(Bang):
        box.log.append(drafts())
