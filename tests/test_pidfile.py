"""The PID file: the kernel's lock decides, never what the file says or that it is there."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from wsd.pidfile import AlreadyRunning, PidFile, running_pid

HOLDER = """\
import sys
from wsd.pidfile import AlreadyRunning, PidFile
sys.stdin.readline()
try:
    with PidFile(sys.argv[1]):
        print("won", flush=True)
        sys.stdin.readline()
except AlreadyRunning:
    print("lost", flush=True)
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "wsd.pid"


def holder(path: Path) -> subprocess.Popen[str]:
    """A process that takes the file at the first line and lets go of it at the second."""
    return subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def tell(process: subprocess.Popen[str]) -> None:
    assert process.stdin
    process.stdin.write("\n")
    process.stdin.flush()


def test_it_holds_our_number_and_goes_with_us(path: Path) -> None:
    with PidFile(str(path)):
        assert path.read_text() == f"{os.getpid()}\n"
        assert running_pid(str(path)) == os.getpid()
    assert not path.exists()
    assert running_pid(str(path)) is None


@pytest.mark.parametrize(
    "content",
    [b"", b"garbage\n", b"999999999\n", b"-1\n", b"0\n", b"\xff\x00\n", b"1" * 5000],
    ids=["empty", "garbage", "dead", "negative", "zero", "binary", "long"],
)
def test_a_file_that_nobody_holds_means_nothing(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    assert running_pid(str(path)) is None
    with PidFile(str(path)):
        assert path.read_text() == f"{os.getpid()}\n"


def test_the_number_of_another_program_is_not_believed(path: Path) -> None:
    other = subprocess.Popen(["sleep", "60"])
    try:
        path.write_text(f"{other.pid}\n")
        assert running_pid(str(path)) is None
        with PidFile(str(path)):
            pass
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()


def test_a_second_one_is_refused_and_told_who(path: Path) -> None:
    first = holder(path)
    tell(first)
    assert first.stdout and first.stdout.readline() == "won\n"
    with pytest.raises(AlreadyRunning) as refused, PidFile(str(path)):
        pass
    assert refused.value.pid == first.pid
    assert path.read_text() == f"{first.pid}\n"  # and the refused one left it alone
    first.kill()
    first.wait()
    assert path.exists()  # a killed one cannot remove it, and that is in nobody's way
    with PidFile(str(path)):
        pass


def test_of_many_at_once_exactly_one_wins(path: Path) -> None:
    processes = [holder(path) for _ in range(8)]
    path.write_text("4321\n")
    for process in processes:
        tell(process)
    outcomes = [process.stdout.readline() for process in processes if process.stdout]
    assert sorted(outcomes) == ["lost\n"] * 7 + ["won\n"]
    for process in processes:
        process.communicate("\n")
    assert not path.exists()


def test_whoever_only_asks_refuses_nobody(path: Path) -> None:
    """`wsd status` holds a shared lock for a moment."""
    path.write_text("")
    code = f"""
from wsd.pidfile import running_pid
while True:
    running_pid({str(path)!r})
"""
    asking = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(2)]
    try:
        for _ in range(100):
            with PidFile(str(path)):
                pass
    finally:
        for process in asking:
            process.kill()
            process.wait()


def test_a_file_that_took_its_place_is_not_removed(path: Path) -> None:
    with PidFile(str(path)):
        path.unlink()
        path.write_text("another's\n")
    assert path.read_text() == "another's\n"


def test_a_file_that_is_gone_already_is_no_trouble(path: Path) -> None:
    with PidFile(str(path)):
        path.unlink()
    assert not path.exists()


def test_a_symlink_is_not_followed(path: Path, tmp_path: Path) -> None:
    target = tmp_path / "precious"
    target.write_text("1234")
    path.symlink_to(target)
    assert running_pid(str(path)) is None
    with pytest.raises(OSError), PidFile(str(path)):
        pass
    assert target.read_text() == "1234"


def test_it_is_not_inherited(path: Path) -> None:
    with PidFile(str(path)) as held:
        assert fcntl.fcntl(held.fd, fcntl.F_GETFD) & fcntl.FD_CLOEXEC
