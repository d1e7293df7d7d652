"""Clocks that jump and processes that pause: nobody is thrown out for it (SD-17, SD-18)."""

from __future__ import annotations

import os
import shutil
import signal
import struct
import subprocess
import time
from pathlib import Path

import pytest

from tests.support.daemon import children_of

SHIM = Path(__file__).parents[1] / "support" / "wallclock.c"
HOUR = 3600


@pytest.fixture
def set_shift(tmp_path, monkeypatch):
    """Shift the wall clock of daemons that are started from here on, by seconds."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("there is no C compiler for the shim that shifts the clock")
    library, file = tmp_path / "wallclock.so", tmp_path / "shift"
    command = [compiler, "-shared", "-fPIC", "-O2", "-o", str(library), str(SHIM)]
    subprocess.run(command, check=True)
    file.write_bytes(bytes(8))
    monkeypatch.setenv("LD_PRELOAD", str(library))
    monkeypatch.setenv("WALLCLOCK", str(file))

    def shift(seconds):
        with open(file, "r+b") as out:
            out.write(struct.pack("q", seconds))

    return shift


def test_the_wall_clock_jumps(set_shift, make_daemon, join):
    daemon = make_daemon(ping__every="1s", ping__timeout="900ms", timeouts__hello="2s")
    ann, bo = join(daemon, "lobby"), join(daemon, "lobby")
    children = set(children_of(daemon.pid))
    times, here = [], time.time()
    for jump in (0, HOUR, -HOUR, 10 * 365 * 24 * HOUR, 0):
        set_shift(jump)
        told = ann.say("lobby", f"shifted by {jump} s")
        seen = bo.take("message", when=lambda v, seq=told["seq"]: v["seq"] == seq)
        assert seen["time"] == told["time"]
        times.append(told["time"] - here)
        time.sleep(1.5)  # longer than a ping and its time limit
    assert times[0] < 60 and times[1] > HOUR - 60  # the shim works
    assert times == sorted(times)  # an event's time never goes back within a room
    assert set(children_of(daemon.pid)) == children
    back = join(daemon, "lobby", token=ann.token)
    assert back.uid == ann.uid


def test_the_whole_tree_pauses(make_daemon, join):
    """Like a laptop that sleeps: far longer than any time limit, and than a heartbeat."""
    daemon = make_daemon(ping__every="1s", ping__timeout="900ms", timeouts__hello="2s")
    ann, bo = join(daemon, "lobby"), join(daemon, "lobby")
    time.sleep(1.5)
    children = set(children_of(daemon.pid))
    tree = [daemon.pid, *children]
    for pid in tree:
        os.kill(pid, signal.SIGSTOP)
    time.sleep(float(os.environ.get("WSD_PAUSE_S", "13")))  # 60 in the long form
    for pid in tree:
        os.kill(pid, signal.SIGCONT)
    time.sleep(3)
    assert set(children_of(daemon.pid)) == children
    told = ann.say("lobby", "good morning")
    assert bo.take("message", when=lambda v: v["seq"] == told["seq"])["text"] == "good morning"
