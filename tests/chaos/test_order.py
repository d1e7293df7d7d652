"""Nothing leaves the hub before it is on the disk: the order of its system calls shows it."""

from __future__ import annotations

import asyncio
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import msgspec
import pytest

from tests.chaos.faults import Tree
from tests.chaos.small import SmallClient

HAPPENED, DONE = 22, 23
CALL = re.compile(r"\d+ +(pwrite64|fdatasync|fsync|sendto|sendmsg|write|writev)\(\d+<([^>]*)>(.*)")


def unhex(text: str) -> bytes:
    """The bytes that strace -xx shows."""
    return bytes.fromhex("".join(re.findall(r"\\x([0-9a-f]{2})", text)))


def numbers_told(data: bytes) -> list[int]:
    """The ``seq`` of each event and each acknowledgement in the bytes of one send."""
    found, at = [], 0
    while at + 4 <= len(data):
        end = at + 4 + int.from_bytes(data[at : at + 4], "big")
        packet = msgspec.msgpack.decode(data[at + 4 : end])
        found += [frame[2] for frame in packet if frame[0] in (HAPPENED, DONE)]
        at = end
    return found


def attach(pid: int, output: Path) -> subprocess.Popen[bytes]:
    """strace on ``pid``; skips the test where that is not possible."""
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    tracer = subprocess.Popen(
        ["strace", "-f", "-y", "-xx", "-s", "1000000", "-o", str(output), "-p", str(pid),
         "-e", "trace=fdatasync,fsync,sendto,sendmsg,write,writev,pwrite64"],
        stderr=subprocess.PIPE,
    )  # fmt: skip
    assert tracer.stderr is not None
    line = tracer.stderr.readline().decode()
    if "attached" not in line:
        tracer.kill()
        tracer.wait()
        pytest.skip(f"strace cannot attach: {line.strip()}")
    return tracer


@pytest.mark.parametrize("mutant", ["", "publish_before_commit"])
def test_nothing_leaves_before_its_fdatasync(tmp_path: Path, mutant: str) -> None:
    chaos: dict[str, object] = {"mutant": mutant} if mutant else {}
    tree = Tree(tmp_path / "wsd", workers=2, chaos=chaos)
    try:
        asyncio.run(tree.start())
        number, synced, sent, early = publish_and_watch(tree, tmp_path / "trace")
    finally:
        tree.kill_all()
    print(f"{number} rounds, {synced} fdatasync, {sent} frames, {early} of them early")
    if mutant:  # this test does notice what it is for
        assert early
        return
    # Each message is told to at least one worker, and acknowledged.
    assert sent >= 2 * 4 * number
    assert synced >= number
    assert early == 0


def publish_and_watch(tree: Tree, output: Path) -> tuple[int, int, int, int]:
    """Rounds of messages, syncs of the log, frames sent, and frames sent before their sync."""
    clients = [SmallClient(tree.port) for _ in range(4)]
    tracer = attach(tree.hub(), output)
    deadline = time.monotonic() + 1.5
    number = 0
    while time.monotonic() < deadline:
        # All at once, so that some of them share a transaction.
        for client in clients:
            client.send({"type": "say", "room": "lobby", "text": f"{number}", "cid": f"c{number}",
                         "id": 1000 + number})  # fmt: skip
        for client in clients:
            while client.next().get("id") != 1000 + number:
                pass
        number += 1
    tracer.send_signal(signal.SIGINT)
    tracer.wait(10)
    for client in clients:
        client.close()

    written: set[int] = set()
    durable: set[int] = set()
    synced = sent = early = 0
    for line in output.read_text(errors="replace").splitlines():
        call = CALL.match(line)
        if call is None:
            continue
        name, file, data = call[1], unhex(call[2]).decode(errors="replace"), unhex(call[3])
        if name == "pwrite64":
            if file.endswith("wsd.db-wal"):
                written |= {int(seq) for seq in re.findall(rb'"seq":(\d+),', data)}
        elif name in ("fdatasync", "fsync"):
            if file.endswith("wsd.db-wal"):
                synced += 1
                durable |= written
        else:
            told = numbers_told(data)
            sent += len(told)
            early += len([seq for seq in told if seq not in durable])
    return number, synced, sent, early
