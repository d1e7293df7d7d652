"""The log: every event of every room in one SQLite file, written by the hub alone.

A batch of drafts is one transaction: look up each (uid, cid), number what is new, insert, commit.
``seq`` is dense in each room and never used again: it comes from the room's own row, which stays
when events are removed by retention or deleted, and never from MAX() or a rowid.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import sqlite3
import time
import zlib
from collections.abc import Callable, Iterable
from typing import NamedTuple

from wsd import failpoints, logs
from wsd.chat import event
from wsd.chat.event import DELETE, EDIT, MESSAGE, Delete, Draft, Edit, Message
from wsd.hub.highwater import HighWater

SCHEMA = 1
SUSPECT = "wsd.suspect"
"""A file of this name beside the log asks for a check at the next start."""

DEDUP_S = 24 * 3600.0
"""How long (uid, cid) are remembered: far longer than any client tries again."""

CACHED_ROOMS = 50_000
"""Rooms whose bounds are kept in memory."""

CHECKPOINT_PAGES = 4000
"""Pages of 4 KiB in the write-ahead log from which on they are brought into the file."""

CACHE_KIB = 16 * 1024
"""Memory for pages of the file, at most."""

TRIM_ROWS = 500
"""Rows that retention removes in one step, so that no publish waits long for it."""

Row = tuple[int, bytes]
"""(seq, JSON) of one stored event."""

_TABLES = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE rooms (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE,
                    head INTEGER NOT NULL, time REAL NOT NULL);
CREATE TABLE events (room INTEGER NOT NULL, seq INTEGER NOT NULL, time REAL NOT NULL,
                     kind TEXT NOT NULL, uid TEXT NOT NULL, ref INTEGER, json BLOB NOT NULL,
                     PRIMARY KEY (room, seq)) WITHOUT ROWID;
CREATE INDEX events_of_ref ON events (room, ref) WHERE ref IS NOT NULL;
CREATE TABLE sent (id INTEGER PRIMARY KEY, uid TEXT NOT NULL, cid TEXT NOT NULL,
                   room INTEGER NOT NULL, seq INTEGER NOT NULL, time REAL NOT NULL,
                   text INTEGER NOT NULL, UNIQUE (uid, cid));
"""

MIGRATIONS: dict[int, str] = {}
"""From each older schema version to the next, as SQL; run in one transaction at start."""


BUSY_S = 1.0
"""How long a commit waits for another program that has locked the file."""

CHECK_BYTES = 256 * 1024 * 1024
"""Size up to which the file is checked whole at a start of the daemon (0.3 s on a slow disk)."""


class LogError(Exception):
    """The log cannot be opened; the text says what to do."""


class Busy(LogError):
    """Another hub has the log."""


class Corrupt(LogError):
    """The file is damaged: what it says cannot be believed any more."""


class Stored(NamedTuple):
    """A draft is in the log; ``row`` is None when it had been stored before, and ``differs``
    tells that it was another text then."""

    seq: int
    time: float
    row: Row | None
    differs: bool = False


class Refusal(NamedTuple):
    """A draft that will never be stored: a final error for its sender."""

    code: str
    message: str


class _Room:
    __slots__ = ("head", "id", "oldest", "time")

    def __init__(self, id_: int, head: int, time_: float, oldest: int) -> None:
        self.id = id_
        self.head = head
        self.time = time_
        self.oldest = oldest


class Log:
    """``clock`` gives wall-clock seconds.  Every method may raise sqlite3.Error."""

    def __init__(
        self, directory: str, durability: str, clock: Callable[[], float] = time.time
    ) -> None:
        self._clock = clock
        self._rooms: dict[str, _Room] = {}
        self._lock = _lock(os.path.join(directory, "wsd.lock"))
        memory = durability == "memory"
        self.path = ":memory:" if memory else os.path.join(directory, "wsd.db")
        self._high_water: HighWater | None = None
        self._deleted = True
        """The write-ahead log may hold texts that are deleted; a start cannot know."""
        try:
            self._db = sqlite3.connect(self.path, isolation_level=None, timeout=BUSY_S)
            self._prepare(durability)
            self._mark_life(durability)
            # Each event raises one head by one, and no head ever falls.
            heads = self._db.execute("SELECT COALESCE(SUM(head), 0) FROM rooms")
            (self._events,) = heads.fetchone()
            if not memory:
                self._compare(HighWater(os.path.join(directory, "wsd.high")))
        except BaseException as error:
            os.close(self._lock)
            if isinstance(error, sqlite3.Error):
                kind = Corrupt if is_corrupt(error) else LogError
                raise kind(f"{self.path}: {error}") from error
            raise
        self.epoch = self._meta("epoch")

    def _prepare(self, durability: str) -> None:
        db = self._db
        # A failing disk makes SQLite stay in its older mode, and it says so only here.
        (mode,) = db.execute("PRAGMA journal_mode = WAL").fetchone()
        if mode not in ("wal", "memory"):
            raise LogError(
                f"{self.path}: cannot be switched to write-ahead logging (it stays in mode "
                f"{mode}): the disk fails or is full, or its file system has no shared memory"
            )
        self._synchronous("full")  # what begins a life of the log must not be forgotten
        db.execute("PRAGMA journal_size_limit = 67108864")
        # A message to a small room touches pages that the next ones touch again.  With SQLite's own
        # figures, 1,000 pages and 2 MiB, each was read and written back too soon: 25 µs a message
        # instead of 19, and one commit in fifty waited 5 ms for a checkpoint.
        db.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
        db.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
        db.execute("PRAGMA secure_delete = ON")  # what a guest deletes is gone from the file too
        (version,) = db.execute("PRAGMA user_version").fetchone()
        if version > SCHEMA:
            raise LogError(
                f"{self.path}: made by a newer wsd (schema {version}, this one knows {SCHEMA})"
            )
        db.execute("BEGIN IMMEDIATE")
        steps = [MIGRATIONS[old] for old in range(version, SCHEMA)] if version else [_TABLES]
        for statement in (s for step in steps for s in step.split(";") if s.strip()):
            if version < SCHEMA:
                db.execute(statement)
        db.execute(f"PRAGMA user_version = {SCHEMA}")
        db.execute("INSERT OR IGNORE INTO meta VALUES ('epoch', ?)", (_new_epoch(),))
        db.execute("COMMIT")

    def _compare(self, high_water: HighWater) -> None:
        """Begin a new epoch if this is not the log that clients know."""
        self._high_water = high_water
        epoch, events = high_water.read()
        if epoch != self._meta("epoch") or events > self._events:
            if epoch or self._events:  # not simply new
                logs.event(
                    logs.error, "log_replaced", known=f"{epoch}.{events}",
                    found=f"{self._meta('epoch')}.{self._events}",
                )  # fmt: skip
                self._put("epoch", _new_epoch())
            high_water.write(self._meta("epoch"), self._events)

    def check(self) -> None:
        """Read the whole file.  Raises Corrupt."""
        try:
            (found,) = self._db.execute("PRAGMA quick_check(1)").fetchone()
        except sqlite3.DatabaseError as error:
            found = str(error)
        if found != "ok":
            raise Corrupt(f"{self.path}: {found}")

    def set_durability(self, durability: str) -> None:
        """``full`` or ``normal`` from the next commit on."""
        self._synchronous("full")  # this note itself, and all that was not synced before it
        self._put("durability", durability)
        self._synchronous(durability)

    def _synchronous(self, durability: str) -> None:
        # FULL syncs the write-ahead log at each commit, NORMAL only at checkpoints.
        self._db.execute(f"PRAGMA synchronous = {'FULL' if durability == 'full' else 'NORMAL'}")

    def _mark_life(self, durability: str) -> None:
        """Begin a new epoch if the machine may have forgotten commits that were answered.

        With ``normal`` a power loss may take the newest commits along; their numbers would be
        given to other events, and a client would take those for the ones that it has.  So a
        boot other than the one that wrote last, without a clean end, starts a new epoch.
        """
        boot = str(round(time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)))
        before, clean = self._meta("boot"), self._meta("clean")
        unsafe = self._meta("durability") == "normal"
        db = self._db
        db.execute("BEGIN IMMEDIATE")
        if unsafe and clean != "yes" and abs(int(before) - int(boot)) > 60:
            self._put("epoch", _new_epoch())
        self._put("boot", boot)
        self._put("clean", "no")
        db.execute("COMMIT")
        self.set_durability(durability)

    def _meta(self, key: str) -> str:
        row = self._db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return row[0] if row else ""

    def _put(self, key: str, value: str) -> None:
        self._db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))

    def close(self) -> None:
        try:
            self._put("clean", "yes")
        except sqlite3.Error as error:  # a full disk: the next start takes it for a crash
            logs.event(logs.warning, "unclean_close", detail=str(error))
        self.abandon()

    def abandon(self) -> None:
        """Let go of the files as they are."""
        self._db.close()
        if self._high_water is not None:
            self._high_water.close()
        os.close(self._lock)

    # -- writing

    def append(self, drafts: Iterable[Draft]) -> list[Stored | Refusal]:
        """Store a batch in one transaction, in order; returns what became of each draft.

        When it raises, nothing of the batch is stored.
        """
        touched: set[str] = set()
        self._db.execute("BEGIN IMMEDIATE")
        try:
            results = [self._append_one(draft, touched) for draft in drafts]
            for name in touched:
                room = self._rooms[name]
                self._db.execute(
                    "UPDATE rooms SET head = ?, time = ? WHERE id = ?",
                    (room.head, room.time, room.id),
                )
            failpoints.hit("hub.before_commit")
            self._db.execute("COMMIT")
        except BaseException:
            for name in touched:  # their counters ran ahead of the file
                self._rooms.pop(name, None)
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise
        self._events += sum(type(each) is Stored and each.row is not None for each in results)
        if touched and self._high_water is not None:
            self._high_water.write(self.epoch, self._events)
        return results

    def _append_one(self, draft: Draft, touched: set[str]) -> Stored | Refusal:
        db = self._db
        room = self._rooms.get(draft.room) or self._load(draft.room)
        if draft.kind != MESSAGE or not room.id:
            known = self.find(draft)
            if known:
                return known
            if draft.kind != MESSAGE:
                refusal = self._change_target(room, draft)
                if refusal:
                    return refusal
            if not room.id:
                touched.add(draft.room)
                room.id = self._create(draft.room)
        seq = room.head + 1
        # A wall clock that is set back must not make a later event look earlier.
        now = max(round(self._clock(), 3), room.time)
        # Inserting looks for a retry as well: asking first would be an eighth of the hub's time.
        cursor = db.execute(
            "INSERT OR IGNORE INTO sent (uid, cid, room, seq, time, text)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            (draft.uid, draft.cid, room.id, seq, now, _fingerprint(draft)),
        )
        if not cursor.rowcount:
            known = self.find(draft)
            assert known is not None
            return known
        touched.add(draft.room)
        json = event.encode(_body(draft, seq, now))
        ref = draft.ref if draft.kind != MESSAGE else None
        db.execute(
            "INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?)",
            (room.id, seq, now, draft.kind, draft.uid, ref, json),
        )
        room.head, room.time = seq, now
        failpoints.hit("hub.in_transaction")
        return Stored(seq, now, (seq, json))

    def find(self, draft: Draft) -> Stored | Refusal | None:
        """What became of ``draft`` if it was stored before."""
        known = self._db.execute(
            "SELECT seq, time, text, room FROM sent WHERE uid = ? AND cid = ?",
            (draft.uid, draft.cid),
        ).fetchone()
        if known is None:
            return None
        if known[3] != (self._rooms.get(draft.room) or self._load(draft.room)).id:
            return Refusal("bad", "this cid is that of a message in another room")
        return Stored(known[0], known[1], None, known[2] != _fingerprint(draft))

    def _change_target(self, room: _Room, draft: Draft) -> Refusal | None:
        """Change the stored message that ``draft`` edits or deletes.

        History shows messages as they are now, and a deleted text is kept nowhere: it goes
        from the message and from every edit of it.
        """
        row = self._db.execute(
            "SELECT uid, json FROM events WHERE room = ? AND seq = ? AND kind = ?",
            (room.id, draft.ref, MESSAGE),
        ).fetchone()
        if row is None:
            # Retention may have taken the message and not yet its edits.
            if draft.kind == DELETE and self._erase_edits(room.id, draft.ref, draft.uid):
                return None
            return Refusal("bad", f"there is no message {draft.ref} in this room")
        if row[0] != draft.uid:
            return Refusal("denied", "that message is not yours")
        message = event.decode(row[1])
        assert isinstance(message, Message)
        if message.deleted:
            return Refusal("bad", f"message {draft.ref} is deleted")
        if draft.kind == EDIT:
            message.text, message.edited = draft.text, True
        else:
            message.text, message.deleted = "", True
            self._erase_edits(room.id, message.seq, draft.uid)
            self._deleted = True
        self._rewrite(room.id, message.seq, event.encode(message))
        return None

    def _erase_edits(self, room_id: int, ref: int | None, uid: str) -> bool:
        """Take the texts out of the edits of a message; False if there were none."""
        rows = self._db.execute(
            "SELECT seq, json FROM events WHERE room = ? AND ref = ? AND kind = ? AND uid = ?",
            (room_id, ref, EDIT, uid),
        ).fetchall()
        erased = False
        for seq, json in rows:
            edit = event.decode(json)
            assert isinstance(edit, Edit)
            if edit.text:
                edit.text = ""
                self._rewrite(room_id, seq, event.encode(edit))
                erased = self._deleted = True
        return erased

    def _rewrite(self, room_id: int, seq: int, json: bytes) -> None:
        self._db.execute(
            "UPDATE events SET json = ? WHERE room = ? AND seq = ?", (json, room_id, seq)
        )

    def _create(self, name: str) -> int:
        cursor = self._db.execute("INSERT INTO rooms (name, head, time) VALUES (?, 0, 0)", (name,))
        assert cursor.lastrowid
        return cursor.lastrowid

    # -- reading

    def _load(self, name: str) -> _Room:
        """What is known of a room.  One that was never written to gets its row with its first
        event, so that joining made-up rooms leaves nothing behind."""
        row = self._db.execute(
            "SELECT id, head, time FROM rooms WHERE name = ?", (name,)
        ).fetchone()
        room = _Room(row[0], row[1], row[2], 1) if row else _Room(0, 0, 0.0, 1)
        if row:
            room.oldest = self._find_oldest(room)
        if len(self._rooms) >= CACHED_ROOMS and not self._db.in_transaction:
            self._rooms.clear()  # not in mid-batch, which has numbers that the file has not
        self._rooms[name] = room
        return room

    def _find_oldest(self, room: _Room) -> int:
        (oldest,) = self._db.execute(
            "SELECT MIN(seq) FROM events WHERE room = ?", (room.id,)
        ).fetchone()
        return oldest if oldest is not None else room.head + 1

    def bounds(self, name: str) -> tuple[int, int]:
        """(oldest stored seq, newest seq); oldest is newest + 1 where nothing is stored."""
        room = self._rooms.get(name) or self._load(name)
        return room.oldest, room.head

    def events(self, name: str, after: int, before: int, limit: int) -> list[Row]:
        """The oldest ``limit`` events with ``after < seq < before``, in order."""
        room = self._rooms.get(name) or self._load(name)
        return self._db.execute(
            "SELECT seq, json FROM events WHERE room = ? AND seq > ? AND seq < ? "
            "ORDER BY seq LIMIT ?",
            (room.id, after, before, limit),
        ).fetchall()

    def messages(self, name: str, before: int, limit: int) -> tuple[list[Row], bool]:
        """The newest ``limit`` messages with ``seq < before``, oldest first, and whether there
        are older ones."""
        room = self._rooms.get(name) or self._load(name)
        rows = self._db.execute(
            "SELECT seq, json FROM events WHERE room = ? AND seq < ? AND kind = ? "
            "ORDER BY seq DESC LIMIT ?",
            (room.id, before, MESSAGE, limit + 1),
        ).fetchall()
        more = len(rows) > limit
        return rows[:limit][::-1], more

    # -- retention

    def trim(self, name: str, size: int, keep_s: float) -> bool:
        """Remove a step's worth of what is over ``size`` events or older than ``keep_s``.

        Returns whether there may be more to remove.
        """
        room = self._rooms.get(name) or self._load(name)
        if not room.id:
            return False
        edge = room.head - size
        cutoff = self._clock() - keep_s
        (aged,) = self._db.execute(
            "SELECT MAX(seq) FROM (SELECT seq, time FROM events WHERE room = ? "
            "ORDER BY seq LIMIT ?) WHERE time < ?",
            (room.id, TRIM_ROWS, cutoff),
        ).fetchone()
        furthest = room.oldest - 1 + TRIM_ROWS
        edge = min(max(edge, aged or 0), furthest)
        if edge < room.oldest:
            return False
        self._db.execute("DELETE FROM events WHERE room = ? AND seq <= ?", (room.id, edge))
        room.oldest = edge + 1
        return edge == furthest

    def erase(self) -> None:
        """Take deleted texts out of the write-ahead log as well.  Call every few seconds."""
        if self._deleted:
            # (busy, pages, pages done); busy while another program reads: then the next time
            (busy, _, _) = self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            self._deleted = bool(busy)

    def trim_sent(self) -> bool:
        """Forget a step's worth of retries that nobody will make any more."""
        cursor = self._db.execute(
            "DELETE FROM sent WHERE id IN (SELECT id FROM sent ORDER BY id LIMIT ?) AND time < ?",
            (TRIM_ROWS, self._clock() - DEDUP_S),
        )
        return cursor.rowcount == TRIM_ROWS

    def room_names(self, after: str, limit: int) -> list[str]:
        """Names of stored rooms in order, for going round all of them in steps."""
        rows = self._db.execute(
            "SELECT name FROM rooms WHERE name > ? ORDER BY name LIMIT ?", (after, limit)
        )
        return [name for (name,) in rows]


def _body(draft: Draft, seq: int, now: float) -> event.Body:
    if draft.kind == EDIT:
        assert draft.ref is not None
        return Edit(draft.room, seq, now, draft.ref, draft.text)
    if draft.kind == DELETE:
        assert draft.ref is not None
        return Delete(draft.room, seq, now, draft.ref)
    return Message(draft.room, seq, now, draft.uid, draft.name, draft.role, draft.text, draft.ref)


def _fingerprint(draft: Draft) -> int:
    """Enough to tell that a retry says something else."""
    return zlib.crc32(f"{draft.room}\0{draft.kind}\0{draft.ref}\0{draft.text}".encode())


def is_corrupt(error: sqlite3.Error) -> bool:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def is_failed_sync(error: sqlite3.Error) -> bool:
    """An fsync has failed.  What the kernel still holds of the file is unknown from then on, and
    trying again may well claim success for data that is gone: only a fresh process may go on."""
    return getattr(error, "sqlite_errorcode", 0) in (
        sqlite3.SQLITE_IOERR_FSYNC,
        sqlite3.SQLITE_IOERR_DIR_FSYNC,
    )


def open_log(directory: str, durability: str, *, thorough: bool) -> Log:
    """The log in ``directory``; a damaged one is moved aside and a new one begun.

    ``thorough`` reads the whole file first, if it is not very large.  Raises LogError.
    """
    path = os.path.join(directory, "wsd.db")
    suspect = os.path.join(directory, SUSPECT)
    try:
        log = Log(directory, durability)
        small = log.path == path and os.path.getsize(path) <= CHECK_BYTES
        try:
            if (thorough and small) or os.path.exists(suspect):
                log.check()
        except Corrupt:
            log.abandon()
            raise
    except Corrupt as error:
        _move_aside(path, str(error))
        log = Log(directory, durability)
    if os.path.exists(suspect):
        os.unlink(suspect)
    return log


def _move_aside(path: str, why: str) -> None:
    ending = time.strftime(".corrupt-%Y%m%dT%H%M%SZ", time.gmtime())
    logs.event(logs.error, "log_corrupt", detail=why, kept_as=path + ending)
    for part in ("", "-wal", "-shm"):
        if os.path.exists(path + part):
            os.rename(path + part, path + ending + part)


def _new_epoch() -> str:
    alphabet = "0123456789abcdefghijklmnopqrstuvwxyz"
    return "".join(secrets.choice(alphabet) for _ in range(8))


def _lock(path: str) -> int:
    """Hold ``path`` for as long as this process lives.

    The kernel lets go of a flock with its process, so a stale file never blocks a start.
    """
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        raise Busy(f"{path}: another hub is at work on this state") from None
    return fd
