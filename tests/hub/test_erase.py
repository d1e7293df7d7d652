"""A deleted text is nowhere: not in the file, and soon not in the write-ahead log either."""

from __future__ import annotations

from wsd.chat.event import Draft
from wsd.hub.log import Log


def draft(cid, kind="message", text="", ref=None):
    return Draft("lobby", kind, "gann", "Ann", "guest", cid, text, ref)


def test_erase_empties_the_write_ahead_log_of_what_was_deleted(tmp_path):
    log = Log(str(tmp_path), "full")
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
