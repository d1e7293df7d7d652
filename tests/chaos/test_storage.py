"""A full disk and failing writes: nothing is lost, nothing is told that is not stored."""

from __future__ import annotations

import asyncio
import shutil
import time
from pathlib import Path

import pytest

from tests.chaos.checker import Enter, Event, Receiver, Said, Sender, check, read_log
from tests.chaos.faults import SmallDisk, Tree, Unavailable, small_disk
from tests.chaos.inject import inject
from tests.chaos.run import disk_phase, run_phase, table
from tests.chaos.small import SmallClient

TEXT = "x" * 900


@pytest.fixture
def disk(tmp_path: Path):
    try:
        with small_disk(tmp_path / "disk", 8) as disk:
            yield disk
    except Unavailable as error:
        pytest.skip(f"no small tmpfs here: {error}")


def test_disk_full(disk: SmallDisk, tmp_path: Path) -> None:
    tree = Tree(tmp_path / "wsd", workers=1, state=disk.path / "state")
    try:
        asyncio.run(tree.start())
        fill_and_free(disk, tree)
        assert asyncio.run(tree.stop()) == 0
    finally:
        tree.kill_all()
    assert not tree.crashes()


def fill_and_free(disk: SmallDisk, tree: Tree) -> None:
    listener, sender = SmallClient(tree.port), SmallClient(tree.port)
    said: list[Said] = []

    def say() -> dict:
        """The next message, or the one that was refused once more."""
        if not said or said[-1].acks:
            n = len(said)
            said.append(Said("lobby", f"c{n}", f"{n} {TEXT}", []))
        answer = sender.say(said[-1].text, said[-1].cid)
        if answer["type"] == "ok":
            said[-1].acks.append(answer["seq"])
        return answer

    for _ in range(20):
        assert say()["type"] == "ok"
    disk.fill(leave=64 * 1024)
    for _ in range(5000):
        answer = say()
        if answer["type"] != "ok":
            break
    assert (answer["type"], answer["code"]) == ("error", "storage")
    assert answer["retry_ms"] > 0
    stored = len(said) - 1

    disk.fill()
    for _ in range(3):
        time.sleep(0.1)
        assert say()["code"] == "storage"
    # Reading goes on, and so does what is not kept.
    page = sender.ask({"type": "history", "room": "lobby", "limit": 10})
    assert [m["seq"] for m in page["messages"]] == list(range(stored - 9, stored + 1))
    newcomer = SmallClient(tree.port)
    assert newcomer.welcome["rooms"]["lobby"]["position"].endswith(f".{stored}")
    newcomer.close()
    sender.send({"type": "typing", "room": "lobby"})
    seen = []
    while not any(value["type"] == "typing" for value in seen):
        seen.append(listener.next())
    told = [value["seq"] for value in listener.others + seen if value["type"] == "message"]
    assert told == list(range(1, stored + 1))

    disk.free()
    freed = time.monotonic()
    while say()["type"] != "ok":
        time.sleep(0.05)
        assert time.monotonic() - freed < 10
    took_s = time.monotonic() - freed
    print(f"{stored} stored, then full; {took_s:.2f} s after there was space again one more")
    assert took_s < 2.0
    for _ in range(20):
        assert say()["type"] == "ok"
    seen += listener.events(len(said))
    listener.close()
    sender.close()

    events = [Event(v["seq"], v["uid"], v["text"])
              for v in listener.others + seen if v["type"] == "message"]  # fmt: skip
    epoch = listener.welcome["rooms"]["lobby"]["position"].partition(".")[0]
    receiver = Receiver("listener", {"lobby": [Enter(None, epoch, 0, 0, False), *events]})
    notes: list[str] = []
    copy = disk.path.parent / "copy"
    copy.mkdir()
    for path in (disk.path / "state").glob("wsd.db*"):
        shutil.copy(path, copy)
    log = read_log(copy / "wsd.db")
    assert check([Sender(sender.uid, said)], [receiver], log, 2000, notes).total() == 0, notes


def test_disk_full_under_load(tmp_path: Path) -> None:
    try:
        result = asyncio.run(run_phase(disk_phase(), 7, tmp_path / "chaos", 1))
    except Unavailable as error:
        pytest.skip(f"no small tmpfs here: {error}")
    print(table([result]))
    assert result.good, "\n".join(result.notes + result.trouble)
    assert result.happened["error storage"] > 10
    assert result.acked > 200


# Each write and each sync one after the other is ``python -m tests.chaos.inject``.
@pytest.mark.parametrize(
    ("call", "error", "when", "fresh"),
    [("pwrite64", "ENOSPC", 3, True), ("pwrite64", "ENOSPC", 24, True),
     ("pwrite64", "ENOSPC", 5, False), ("pwrite64", "ENOSPC", 45, False),
     ("fdatasync", "EIO", 1, True), ("fdatasync", "EIO", 12, False)],
)  # fmt: skip
def test_failing_call(tmp_path: Path, call: str, error: str, when: int, fresh: bool) -> None:
    try:
        outcome = inject(tmp_path / "wsd", call, error, when, fresh=fresh)
    except Unavailable as problem:
        pytest.skip(str(problem))
    print(outcome)
    assert outcome.good, outcome
