"""What becomes of a log that is damaged, cut off, put back, or that the disk lets down."""

from __future__ import annotations

import os
import shutil
import sqlite3

import pytest

from wsd.chat.event import Draft
from wsd.hub.highwater import HighWater
from wsd.hub.log import SUSPECT, Corrupt, Log, is_corrupt, is_failed_sync, open_log
from wsd.hub.server import RefusedSenders

DB = "wsd.db"


def fill(log, count=200, room="lobby"):
    for n in range(count):
        text = f"text {n} " * 9
        log.append([Draft(room, "message", "gann", "Ann", "guest", f"{room}.{n}", text)])


def whole_file(directory):
    """Everything in the one file, as after a clean end."""
    with sqlite3.connect(directory / DB) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()


@pytest.fixture
def stopped(tmp_path):
    """A log with 200 events that ended cleanly, and its epoch."""
    log = open_log(str(tmp_path), "full", thorough=True)
    fill(log)
    epoch = log.epoch
    log.close()
    whole_file(tmp_path)
    return epoch


def damage_page(path):
    with open(path, "r+b") as file:
        file.seek(5 * 4096)
        file.write(b"\xa5" * 8192)


def damage_header(path):
    with open(path, "r+b") as file:
        file.write(b"not a database at all, no")


def cut_in_half(path):
    os.truncate(path, os.path.getsize(path) // 2 // 4096 * 4096)


@pytest.mark.parametrize("damage", [damage_page, damage_header, cut_in_half])
def test_a_damaged_file_is_moved_aside(tmp_path, stopped, damage):
    damage(tmp_path / DB)
    log = open_log(str(tmp_path), "full", thorough=True)
    assert log.epoch != stopped
    assert log.bounds("lobby") == (1, 0)
    fill(log, 1)
    log.close()
    kept = [name for name in os.listdir(tmp_path) if name.startswith("wsd.db.corrupt-")]
    assert len([name for name in kept if name.endswith("Z")]) == 1


def test_an_empty_file_is_a_new_log_to_everybody(tmp_path, stopped):
    open(tmp_path / DB, "w").close()
    log = open_log(str(tmp_path), "full", thorough=True)
    assert log.epoch != stopped
    assert log.bounds("lobby") == (1, 0)


def test_a_suspect_file_is_checked_though_nobody_asked(tmp_path, stopped):
    damage_page(tmp_path / DB)
    (tmp_path / SUSPECT).touch()
    log = open_log(str(tmp_path), "full", thorough=False)
    assert log.epoch != stopped
    assert not (tmp_path / SUSPECT).exists()


def test_an_innocent_suspect_is_kept(tmp_path, stopped):
    (tmp_path / SUSPECT).touch()
    log = open_log(str(tmp_path), "full", thorough=False)
    assert (log.epoch, log.bounds("lobby")) == (stopped, (1, 200))
    assert not (tmp_path / SUSPECT).exists()


def test_damage_met_at_work_is_known_as_such(tmp_path, stopped):
    size = os.path.getsize(tmp_path / DB)
    log = Log(str(tmp_path), "full")
    with open(tmp_path / DB, "r+b") as file:
        file.seek(4 * 4096)
        file.write(b"\xa5" * (size - 4 * 4096))
    log.abandon()
    log = Log(str(tmp_path), "full")
    with pytest.raises(sqlite3.DatabaseError) as caught:
        log.events("lobby", 0, 1000, 1000)
    assert is_corrupt(caught.value)


def test_a_failed_sync_is_known_as_such():
    error = sqlite3.OperationalError("disk I/O error")
    assert not is_failed_sync(error)
    error.sqlite_errorcode = sqlite3.SQLITE_IOERR_FSYNC
    assert is_failed_sync(error)


def copy_as_after_a_kill(source, target, *names):
    for name in names:
        shutil.copy(source / name, target / name)


def test_a_cut_write_ahead_log_begins_a_new_epoch(tmp_path):
    alive, after = tmp_path / "alive", tmp_path / "after"
    alive.mkdir()
    after.mkdir()
    log = open_log(str(alive), "full", thorough=True)
    fill(log, 50)
    copy_as_after_a_kill(alive, after, DB, DB + "-wal", "wsd.high")
    os.truncate(after / (DB + "-wal"), os.path.getsize(after / (DB + "-wal")) // 2)
    cut = open_log(str(after), "full", thorough=True)
    assert cut.bounds("lobby")[1] < 50
    assert cut.epoch != log.epoch


def test_a_kill_alone_changes_nothing(tmp_path):
    alive, after = tmp_path / "alive", tmp_path / "after"
    alive.mkdir()
    after.mkdir()
    log = open_log(str(alive), "full", thorough=True)
    fill(log, 50)
    copy_as_after_a_kill(alive, after, DB, DB + "-wal", "wsd.high")
    again = open_log(str(after), "full", thorough=True)
    assert (again.epoch, again.bounds("lobby")) == (log.epoch, (1, 50))


@pytest.mark.parametrize("with_high_water", [True, False])
def test_a_backup_put_back_begins_a_new_epoch(tmp_path, stopped, with_high_water):
    backup = tmp_path / "backup"
    backup.mkdir()
    shutil.copy(tmp_path / DB, backup / DB)
    log = open_log(str(tmp_path), "full", thorough=True)
    fill(log, 3, room="later")
    log.close()
    for ending in ("", "-wal", "-shm"):
        if (tmp_path / (DB + ending)).exists():
            os.unlink(tmp_path / (DB + ending))
    shutil.copy(backup / DB, tmp_path / DB)
    if not with_high_water:  # put back on another machine
        os.unlink(tmp_path / "wsd.high")
    restored = open_log(str(tmp_path), "full", thorough=True)
    assert restored.epoch != stopped
    assert restored.bounds("lobby") == (1, 200)
    fill(restored, 1, room="new")
    restored.close()
    assert open_log(str(tmp_path), "full", thorough=True).epoch == restored.epoch


def test_high_water_is_what_was_written(tmp_path):
    mark = HighWater(str(tmp_path / "high"))
    assert mark.read() == ("", 0)
    mark.write("k3f9x2ab", 2**40)
    mark.close()
    assert HighWater(str(tmp_path / "high")).read() == ("k3f9x2ab", 2**40)


def test_check_finds_nothing_in_a_sound_file(tmp_path, stopped):
    Log(str(tmp_path), "full").check()


def test_check_raises_corrupt(tmp_path, stopped):
    damage_page(tmp_path / DB)
    with pytest.raises(Corrupt):
        Log(str(tmp_path), "full").check()


class TestRefusedSenders:
    def draft(self, cid, uid="gann"):
        return Draft("lobby", "message", uid, "Ann", "guest", cid, "text")

    def setup_method(self):
        self.now = 100.0
        self.refused = RefusedSenders(lambda: self.now)

    def test_what_came_after_waits_for_what_was_refused(self):
        self.refused.add(1, self.draft("a"))
        assert self.refused.would_overtake(1, self.draft("b"))
        assert not self.refused.would_overtake(1, self.draft("a"))
        assert not self.refused.would_overtake(1, self.draft("b"))
        assert not self.refused

    def test_the_first_refused_is_waited_for(self):
        self.refused.add(1, self.draft("a"))
        self.refused.add(1, self.draft("b"))
        assert self.refused.would_overtake(1, self.draft("b"))

    def test_others_do_not_wait(self):
        self.refused.add(1, self.draft("a"))
        assert not self.refused.would_overtake(1, self.draft("b", uid="gbob"))
        assert not self.refused.would_overtake(2, self.draft("b"))

    def test_a_message_that_was_given_up_holds_nobody_for_long(self):
        self.refused.add(1, self.draft("a"))
        self.refused.expire()
        assert self.refused
        self.now += 2.5
        assert not self.refused.would_overtake(1, self.draft("b"))

    def test_nothing_is_kept_for_those_who_never_come_back(self):
        self.refused.add(1, self.draft("a"))
        self.now += 2.5
        self.refused.expire()
        assert not self.refused
