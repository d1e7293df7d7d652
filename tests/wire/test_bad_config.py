"""Wrong configurations through the real command: one clear line each, and nothing happens."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.daemon import children_of

BOMB = "a: &a [x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 8)}]\n"
    for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)

# (what is wrong, the file, its line, a word of the explanation)
BAD: list[tuple[str, bytes, int, str]] = [
    ("syntax", b"echo: true\nlimits: {text: 5\nworkers: 2\n", 3, "YAML"),
    ("unknown key", b"echo: true\nlimits:\n  txt: 5\n", 3, "did you mean limits.text"),
    ("wrong type", b"echo: true\nworkers: many\n", 2, "workers"),
    ("bounds", b"\nlimits: {burst: 0}\n", 2, "limits.burst"),
    ("duplicate key", b"echo: true\nworkers: 1\necho: false\n", 3, "echo: given twice"),
    ("tabs", b"limits:\n\ttext: 5\n", 2, "tab"),
    ("empty", b"", 1, "empty"),
    ("binary", b"echo: true\n\x00\x01\x02\xff\xfe\n", 2, "text"),
    ("YAML bomb", BOMB.encode(), 2, "bomb"),
    ("python object", b'echo: !!python/object/apply:os.system ["touch PWNED"]\n', 1, "tag"),
    (
        "certificate",
        b'listen:\n  - {address: "127.0.0.1:0", tls: {certificate: /no/c.pem, key: /etc/passwd}}\n',
        2,
        "/no/c.pem",
    ),
    ("bad size", b"limits:\n  message: 64 bananas\n", 2, "limits.message"),
    ("bad duration", b"timeouts:\n  header: soon\n", 2, "timeouts.header"),
    ("latin-1", "page: {title: gr\u00fc\u00df}\n".encode("latin-1"), 1, "UTF-8"),
    ("a list", b"- listen\n- echo\n", 1, "keys"),
    ("bad address", b"listen: 127.0.0.1:99999\n", 1, "listen"),
    ("bad network", b"trusted_proxies: [10.0.0.0/33]\n", 1, "trusted_proxies"),
    ("nested without end", b"a: " + b"[" * 500 + b"\n", 1, ""),
]
IDS = [name for name, *_ in BAD]


def run(path: Path) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "wsd", "run", "-c", str(path)],
        capture_output=True, text=True, timeout=20, cwd=path.parent,
    )  # fmt: skip


def assert_one_clear_line(done: subprocess.CompletedProcess, path: Path, line: int, word: str):
    assert done.returncode == 78, done
    assert done.stdout == ""
    said = done.stderr.splitlines()
    assert len(said) == 1, done.stderr
    assert said[0].startswith(f"{path}:{line}: "), said[0]
    assert word in said[0]
    assert len(said[0]) < 400 and "Traceback" not in said[0]


@pytest.mark.parametrize(("name", "text", "line", "word"), BAD, ids=IDS)
def test_nothing_starts_with_it(tmp_path, name, text, line, word):
    path = tmp_path / "wsd.yaml"
    path.write_bytes(text)
    began = time.monotonic()
    assert_one_clear_line(run(path), path, line, word)
    assert time.monotonic() - began < 8
    # Nothing was made, bound or run.
    assert os.listdir(tmp_path) == ["wsd.yaml"]


def test_a_file_that_cannot_be_read(tmp_path):
    assert_one_clear_line(
        run(tmp_path / "absent.yaml"), tmp_path / "absent.yaml", 1, "No such file"
    )
    folder = tmp_path / "folder.yaml"
    folder.mkdir()
    assert_one_clear_line(run(folder), folder, 1, "directory")
    if os.getuid():
        locked = tmp_path / "locked.yaml"
        locked.write_text("echo: true\n")
        locked.chmod(0)
        assert_one_clear_line(run(locked), locked, 1, "Permission denied")


def test_every_mistake_is_shown_in_the_order_of_the_file(tmp_path):
    path = tmp_path / "wsd.yaml"
    path.write_text("workers: many\nechoo: true\nlimits:\n  text: -1\n")
    done = run(path)
    assert done.returncode == 78
    lines = [int(re.match(rf"{re.escape(str(path))}:(\d+): ", line)[1])
             for line in done.stderr.splitlines()]  # fmt: skip
    assert sorted(lines) == [1, 2, 4]


def test_a_wrong_variable_is_named(daemon):
    wrong = daemon.cli("check", WSD__LIMITS__TEXT="lots")
    assert wrong.returncode == 78
    assert "WSD__LIMITS__TEXT" in wrong.stderr and wrong.stderr.count("\n") == 1
    unknown = daemon.cli("check", WSD__LIMITS__TXT="5")
    assert unknown.returncode == 78 and "did you mean" in unknown.stderr
    right = daemon.cli("config", "--effective", WSD__LIMITS__TEXT="321")
    assert "321" in right.stdout


def test_no_reload_with_it_changes_anything(make_daemon, join):
    """All of them, one after the other, with one daemon and a client that must not notice."""
    daemon = make_daemon(limits__text=30)
    good = daemon.path.read_bytes()
    client = join(daemon, "lobby")
    pids = children_of(daemon.pid)
    unreadable = [("absent", None)]
    for refused, (name, text) in enumerate(
        [(name, text) for name, text, *_ in BAD] + unreadable, start=1
    ):
        if text is None:
            daemon.path.unlink()
        else:
            # Beside what is wrong there is something that would show.
            daemon.path.write_bytes(text)
        daemon.signal(signal.SIGHUP)
        daemon.wait_for(
            lambda refused=refused: daemon.info()["reloads_failed"] == refused, f"{name} is refused"
        )
        assert str(daemon.path) in daemon.info()["note"], name
    assert client.ask("say", room="lobby", text="x" * 31)["code"] == "too_long"
    assert client.say("lobby", "x" * 30)["seq"] == 1
    assert children_of(daemon.pid) == pids
    assert not (daemon.directory / "PWNED").exists()
    # The command says what is wrong, and that it failed.
    daemon.path.write_bytes(good + b"echoo: true\n")
    done = daemon.cli("reload")
    assert done.returncode == 78
    assert "did you mean echo" in done.stderr and done.stderr.count("\n") == 1
    assert daemon.info()["reloads_failed"] == len(BAD) + 1  # it was not even tried
    # And with a good file it goes on as if nothing had been.
    daemon.path.write_bytes(good.replace(b"text: 30", b"text: 31"))
    assert daemon.cli("reload").returncode == 0
    assert client.say("lobby", "x" * 31)["seq"] == 2


def test_an_address_that_is_not_ours(tmp_path):
    path = tmp_path / "wsd.yaml"
    path.write_text(f'listen: "203.0.113.1:80"\nstate: {tmp_path}/s\nruntime: {tmp_path}/r\n')
    done = run(path)
    assert done.returncode == 1
    assert "203.0.113.1:80" in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "r" / "hub.sock").exists()


def test_a_place_for_state_that_cannot_be(tmp_path):
    (tmp_path / "file").write_text("")
    path = tmp_path / "wsd.yaml"
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    path.write_text(f'listen: "127.0.0.1:{port}"\nstate: {tmp_path}/file/x\nruntime: {tmp_path}\n')
    done = run(path)
    assert done.returncode == 1
    assert f"{tmp_path}/file/x" in done.stderr and "Traceback" not in done.stderr
