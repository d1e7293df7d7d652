"""A deleted text is nowhere: not in the file, and soon not in the write-ahead log either."""

from __future__ import annotations

import shutil

from wsd.chat.event import Draft
from wsd.hub.log import Log


def draft(cid, kind="message", text="", ref=None):
    return Draft("lobby", kind, "gann", "Ann", "guest", cid, text, ref)


def test_erase_empties_the_write_ahead_log_of_what_was_deleted(tmp_path):
    log = Log(str(tmp_path), "full")
    log.erase()  # what an earlier life may have left
    secret = "a secret that was said by mistake"
    log.append([draft("1", text=secret)])
    log.append([draft("2", "edit", "another " + secret, ref=1)])
    wal = tmp_path / "wsd.db-wal"
    log.erase()
    assert secret.encode() in wal.read_bytes()  # nothing is deleted yet
    log.append([draft("3", "delete", ref=1)])
    log.erase()
    for name in ("wsd.db", "wsd.db-wal", "wsd.db-shm"):
        assert secret.encode() not in (tmp_path / name).read_bytes()
    assert log.bounds("lobby") == (1, 3)


def test_what_was_deleted_just_before_a_kill_is_erased_by_the_next_life(tmp_path):
    before, after = tmp_path / "before", tmp_path / "after"
    before.mkdir()
    after.mkdir()
    log = Log(str(before), "full")
    secret = "a secret that was said by mistake"
    log.append([draft("1", text=secret)])
    log.append([draft("2", "delete", ref=1)])
    for name in ("wsd.db", "wsd.db-wal", "wsd.high"):
        shutil.copy(before / name, after / name)
    log = Log(str(after), "full")
    assert secret.encode() in (after / "wsd.db-wal").read_bytes()
    log.erase()
    for name in ("wsd.db", "wsd.db-wal"):
        assert secret.encode() not in (after / name).read_bytes()
    assert log.bounds("lobby") == (1, 2)
