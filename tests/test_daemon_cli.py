"""The commands of the daemon's life: start, stop, restart, status, reload, check, config."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.support.daemon import Daemon, children_of, title_of
from wsd.config import load, render_default
from wsd.metrics import Scoreboard
from wsd.pidfile import running_pid

NOT_RUNNING, NOT_KNOWN = 3, 4
EX_CONFIG = 78


class Started(Daemon):
    """A daemon that is started and stopped with commands, not as a child of the tests."""

    @property
    def pid_path(self) -> Path:
        return self.directory / "run/wsd.pid"

    @property
    def pid(self) -> int:
        pid = running_pid(str(self.pid_path))
        assert pid is not None
        return pid

    @property
    def log(self) -> str:
        return (self.directory / "state/wsd.log").read_text()

    def start_it(self) -> Started:
        done = self.cli("start")
        assert done.returncode == 0, done.stderr + self.log
        found = re.fullmatch(r"wsd: serving on http://127\.0\.0\.1:(\d+)/\n", done.stdout)
        assert found, done.stdout
        self.port = int(found[1])
        return self

    def serves(self) -> bool:
        with urllib.request.urlopen(self.url, timeout=5) as answer:
            return bool(answer.status == 200)

    def end(self) -> None:
        pid = running_pid(str(self.pid_path))
        if pid is not None:
            for victim in (pid, *children_of(pid)):
                os.kill(victim, signal.SIGKILL)


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Started]:
    """Configured, not yet started."""
    daemon = Started(tmp_path)
    daemon.write_config()
    (tmp_path / "run").mkdir()
    yield daemon
    daemon.end()


def exists(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def field(pid: int, name: str) -> str:
    status = Path(f"/proc/{pid}/status").read_text()
    return next(line.split("\t")[1] for line in status.splitlines() if line.startswith(f"{name}:"))


# -- a life


def test_start_status_restart_stop(daemon: Started) -> None:
    assert daemon.cli("status").returncode == NOT_RUNNING
    daemon.start_it()
    first = daemon.pid
    assert daemon.serves()
    assert int(daemon.pid_path.read_text()) == first
    status = daemon.cli("status")
    assert status.returncode == 0
    assert f"ready, pid {first}" in status.stdout

    restarted = daemon.cli("restart")
    assert restarted.returncode == 0, restarted.stderr
    assert restarted.stdout.splitlines()[0] == "wsd: stopped"
    assert restarted.stdout.splitlines()[1].startswith("wsd: serving on http://127.0.0.1:")
    second = daemon.pid
    assert second != first and not exists(first)

    stopped = daemon.cli("stop")
    assert (stopped.returncode, stopped.stdout) == (0, "wsd: stopped\n")
    assert not exists(second)
    assert list((daemon.directory / "run").iterdir()) == []
    assert daemon.cli("status").returncode == NOT_RUNNING


def test_messages_survive_a_restart(daemon: Started) -> None:
    daemon.start_it()
    assert daemon.cli("say", "lobby", "still", "here").returncode == 0
    assert daemon.cli("restart").returncode == 0
    tail = subprocess.Popen(
        [sys.executable, "-m", "wsd", "tail", "lobby", "-c", str(daemon.path)],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert tail.stdout and "still here" in tail.stdout.readline()
    finally:
        tail.kill()
        tail.wait()


def test_stop_without_a_daemon_is_no_error(daemon: Started) -> None:
    done = daemon.cli("stop")
    assert (done.returncode, done.stderr) == (0, "wsd: not running\n")


def test_restart_without_a_daemon_starts_one(daemon: Started) -> None:
    assert daemon.cli("restart").returncode == 0
    assert daemon.pid


# -- what a daemon is


def test_it_has_let_go_of_whoever_started_it(daemon: Started) -> None:
    """A session of its own, nobody's terminal, directory or open files."""
    read, write = os.pipe()
    done = subprocess.run(
        [sys.executable, "-m", "wsd", "start", "-c", str(daemon.path)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        cwd=daemon.directory,
        pass_fds=[write],
        timeout=30,
    )
    assert done.returncode == 0, done.stderr
    os.close(write)
    assert os.read(read, 1) == b""  # end of file: nobody has the other end any more
    os.close(read)

    master = daemon.pid
    sessions = {os.getsid(pid) for pid in (master, *children_of(master))}
    assert len(sessions) == 1 and os.getsid(0) not in sessions
    for pid in (master, *children_of(master)):
        assert os.readlink(f"/proc/{pid}/cwd") == "/"
        assert field(pid, "Umask") == "0077"
        terminal = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[4]
        assert terminal == "0"
        files = {
            int(fd): os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")
        }
        log = str(daemon.directory / "state/wsd.log")
        assert (files[0], files[1], files[2]) == ("/dev/null", log, log)
        assert not [name for name in files.values() if name.startswith("pipe:")]
        held = str(daemon.pid_path) in files.values()
        assert held is (pid == master), "a child that held the lock would outlive the master's"
    assert field(master, "PPid") != str(os.getpid())


def test_processes_say_what_they_are(daemon: Started) -> None:
    daemon.start_it()
    titles = [title_of(pid) for pid in (daemon.pid, *children_of(daemon.pid))]
    assert sorted(titles) == ["wsd: hub", "wsd: master", "wsd: worker 0", "wsd: worker 1"]


def test_files_are_for_the_owner_alone(daemon: Started) -> None:
    daemon.start_it()
    for name in ("state/wsd.db", "state/wsd.log", "state/secret", "run/hub.sock", "run/admin.sock"):
        assert (daemon.directory / name).stat().st_mode & 0o077 == 0, name


def test_in_the_foreground_there_is_no_pid_file(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path).start()
    try:
        assert not (tmp_path / "run/wsd.pid").exists()
        assert os.getpgid(daemon.pid) == os.getpgid(0)  # nothing was detached
        status = daemon.cli("status")  # and the commands find it all the same
        assert status.returncode == 0 and f"pid {daemon.pid}" in status.stdout
        assert daemon.cli("stop").returncode == 0
        assert daemon.process and daemon.process.wait(5) == 0
    finally:
        daemon.kill()


# -- PID files that lie


@pytest.mark.parametrize("content", ["", "garbage\n", "999999999\n", "{live}\n"])
def test_a_stale_pid_file_is_in_nobodys_way(daemon: Started, content: str) -> None:
    other = subprocess.Popen(["sleep", "60"])
    try:
        daemon.pid_path.write_text(content.format(live=other.pid))
        assert daemon.cli("status").returncode == NOT_RUNNING
        assert daemon.cli("stop").returncode == 0
        assert daemon.pid_path.exists()  # it was not ours to remove
        daemon.start_it()
        assert daemon.serves()
        assert daemon.cli("stop").returncode == 0
        assert not daemon.pid_path.exists()
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()


def test_stop_removes_only_its_own_file(daemon: Started) -> None:
    daemon.start_it()
    pid = daemon.pid
    daemon.pid_path.unlink()
    daemon.pid_path.write_text("another's\n")
    assert daemon.cli("stop").returncode == 0  # found through the admin socket
    assert not exists(pid)
    assert daemon.pid_path.read_text() == "another's\n"


def test_of_starts_at_once_exactly_one_wins(daemon: Started) -> None:
    command = [sys.executable, "-m", "wsd", "start", "-c", str(daemon.path)]
    starts = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    outcomes = [(*start.communicate(timeout=40), start.returncode) for start in starts]
    assert sorted(code for _, _, code in outcomes) == [0, 1, 1, 1], outcomes
    for _, complaint, code in outcomes:
        if code:
            assert re.fullmatch(r"wsd: wsd is already running \(pid \d+\)\n", complaint)
    assert "cannot_start" not in daemon.log


def test_start_beside_a_running_one_is_refused(daemon: Started) -> None:
    daemon.start_it()
    again = daemon.cli("start")
    assert again.returncode == 1
    assert again.stderr == f"wsd: wsd is already running (pid {daemon.pid})\n"
    assert daemon.serves()


def test_a_killed_master_leaves_nobody_and_nothing_in_the_way(daemon: Started) -> None:
    daemon.start_it()
    family = [daemon.pid, *children_of(daemon.pid)]
    assert len(family) == 4
    os.kill(family[0], signal.SIGKILL)
    daemon.wait_for(lambda: not [pid for pid in family if exists(pid)], "the end of all", 5)
    assert daemon.pid_path.exists()
    assert daemon.cli("status").returncode == NOT_RUNNING
    daemon.start_it()
    assert daemon.serves()


# -- what is in the way of a start


def test_a_port_that_is_taken(daemon: Started) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        daemon.write_config(listen=f"127.0.0.1:{taken.getsockname()[1]}")
        began = time.monotonic()
        done = daemon.cli("start")
        assert done.returncode == 1
        assert re.fullmatch(r"wsd: .*127\.0\.0\.1:\d+: Address already in use\n", done.stderr)
        assert time.monotonic() - began < 10
    assert not daemon.pid_path.exists()


def test_a_directory_that_cannot_be_made(daemon: Started) -> None:
    (daemon.directory / "file").write_text("")
    daemon.write_config(state=str(daemon.directory / "file/state"))
    done = daemon.cli("start")
    assert done.returncode == 1
    assert re.fullmatch(r"wsd: .*/file/state: Not a directory .*\n", done.stderr)


def test_check_warns_of_a_daemon_that_no_command_would_reach(daemon: Started) -> None:
    daemon.write_config('admin: ["127.0.0.1:0"]\n')
    done = daemon.cli("check")
    assert done.returncode == 0
    assert re.fullmatch(r"wsd: warning: admin: no Unix socket, .*\n", done.stderr)


def test_a_log_that_cannot_be_written(daemon: Started) -> None:
    (daemon.directory / "state/wsd.log").mkdir(parents=True)
    done = daemon.cli("start")
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(r"wsd: .*/state/wsd.log: Is a directory\n", done.stderr)


def test_a_pid_file_that_is_a_symlink(daemon: Started) -> None:
    (daemon.directory / "precious").write_text("1234")
    daemon.pid_path.symlink_to(daemon.directory / "precious")
    done = daemon.cli("start")
    assert done.returncode == 1
    assert "wsd.pid" in done.stderr and done.stderr.count("\n") == 1
    assert (daemon.directory / "precious").read_text() == "1234"


def test_a_bad_configuration_starts_nothing(daemon: Started) -> None:
    daemon.write_config("wrokers: 3\n")
    for command in ("start", "run", "restart"):
        done = daemon.cli(command)
        assert done.returncode == EX_CONFIG
        assert "wrokers: unknown key (did you mean workers?)" in done.stderr
    assert not daemon.pid_path.exists()


def test_a_mistake_in_the_file_keeps_nobody_from_a_daemon_that_runs(daemon: Started) -> None:
    daemon.start_it()
    config = daemon.path.read_text()
    daemon.path.write_text(config + "wrokers: 3\nlimits: {text: many}\n")
    status = daemon.cli("status")
    assert status.returncode == 0 and f"ready, pid {daemon.pid}" in status.stdout
    assert "wrokers: unknown key (did you mean workers?)" in status.stderr
    assert daemon.cli("say", "lobby", "here").returncode == 0
    for command in ("reload", "restart"):
        assert daemon.cli(command).returncode == EX_CONFIG
    assert daemon.serves()
    daemon.path.write_text(config.replace("admin", "amdin") + "runtime: [a, b]\n")
    assert daemon.cli("stop").returncode == EX_CONFIG  # where it is can no longer be told
    assert daemon.serves()
    daemon.path.write_text(config + "wrokers: 3\n")
    stopped = daemon.cli("stop")
    assert (stopped.returncode, stopped.stdout) == (0, "wsd: stopped\n")
    for command in ("stop", "status", "say"):
        words = ("lobby", "here") if command == "say" else ()
        assert daemon.cli(command, *words).returncode == EX_CONFIG


@pytest.mark.parametrize("kept", ["admin.sock", "wsd.pid"])
def test_who_may_not_know_is_not_told_that_nothing_runs(daemon: Started, kept: str) -> None:
    daemon.start_it()
    pid, path = daemon.pid, daemon.directory / "run" / kept
    for name in {"admin.sock", "wsd.pid"} - {kept}:
        (daemon.directory / "run" / name).unlink()
    path.chmod(0)
    if os.geteuid() == 0:
        os.chown(path, 1, 1)
    try:
        status = without_roots_rights(daemon, "status")
        assert (status.returncode, status.stderr) == (NOT_KNOWN, "")
        assert re.fullmatch(
            r"wsd: not known: .*Permission denied; ask as root, .*\n", status.stdout
        )
        for command in ("stop", "restart"):
            refused = without_roots_rights(daemon, command)
            assert (refused.returncode, refused.stdout) == (1, "")
            assert "Permission denied; ask as root" in refused.stderr
        assert exists(pid)
    finally:
        path.chmod(0o600)
        if os.geteuid() == 0:
            os.chown(path, 0, 0)
        os.kill(pid, signal.SIGTERM)


def without_roots_rights(daemon: Started, *words: str) -> subprocess.CompletedProcess[str]:
    """A command of somebody for whom the modes of files count."""
    rights = "-dac_override,-dac_read_search"
    prefix = ["setpriv", f"--bounding-set={rights}"] if os.geteuid() == 0 else []
    command = [*prefix, sys.executable, "-m", "wsd", *words, "-c", str(daemon.path)]
    return subprocess.run(command, capture_output=True, text=True, timeout=40)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
def test_root_does_not_take_the_place_of_somebody_elses_daemon(daemon: Started) -> None:
    daemon.start_it()
    os.chown(daemon.directory / "state", 1, 1)
    again = daemon.cli("restart")
    assert (again.returncode, again.stdout) == (1, "")
    assert re.fullmatch(
        r"wsd: .*/state belongs to the user daemon, .* start as daemon\n", again.stderr
    )
    assert daemon.serves(), "it was ended, and none begun"
    assert daemon.cli("stop").returncode == 0
    assert daemon.cli("start").stderr == again.stderr
    os.chown(daemon.directory / "state", 0, 0)
    assert daemon.cli("start").returncode == 0


def test_a_tail_says_that_its_daemon_has_gone(daemon: Started) -> None:
    daemon.start_it()
    daemon.cli("say", "lobby", "here")
    command = [sys.executable, "-m", "wsd", "tail", "lobby", "-c", str(daemon.path)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as tail:
        assert tail.stdout and "here" in tail.stdout.readline()
        assert daemon.cli("stop").returncode == 0
        _, complaint = tail.communicate(timeout=10)
    assert tail.returncode == 1
    assert re.fullmatch(r"wsd: the daemon has gone, .*\n", complaint)


def test_commands_to_a_daemon_that_hangs_do_not_hang(daemon: Started) -> None:
    daemon.start_it()
    family = [daemon.pid, *children_of(daemon.pid)]
    for pid in family:
        os.kill(pid, signal.SIGSTOP)
    try:
        began = time.monotonic()
        status = daemon.cli("status")
        assert (status.returncode, time.monotonic() - began < 8) == (1, True)
        assert f"pid {family[0]} runs but does not answer" in status.stdout
    finally:
        for pid in family:
            os.kill(pid, signal.SIGCONT)


# -- reload, check, config


def test_reload(daemon: Started) -> None:
    daemon.start_it()
    assert daemon.cli("say", "lobby", "x" * 50).returncode == 0
    daemon.write_config(limits__text="20")
    done = daemon.cli("reload")
    assert (done.returncode, done.stdout) == (0, "wsd: reloaded\n")
    daemon.wait_for(lambda: daemon.cli("say", "lobby", "x" * 50).returncode == 1, "the new limit")


def test_reload_counts_relative_paths_from_where_it_was_started(tmp_path: Path) -> None:
    """Without a file, state is ./var, and the daemon has gone to / since."""
    environ = {**os.environ, "WSD__LISTEN": "127.0.0.1:0"}
    daemon = Started(tmp_path)

    def wsd(word: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "wsd", word],
            capture_output=True, text=True, cwd=tmp_path, env=environ, timeout=30,
        )  # fmt: skip

    assert wsd("start").returncode == 0
    try:
        done = wsd("reload")
        assert (done.returncode, done.stderr) == (0, "")
        assert (tmp_path / "var/wsd.db").exists()
    finally:
        assert wsd("stop").returncode == 0
    assert daemon.directory == tmp_path


def test_reload_of_a_bad_file(daemon: Started) -> None:
    daemon.start_it()
    pid = daemon.pid
    daemon.write_config("page:\n  titel: x\n")
    done = daemon.cli("reload")
    assert done.returncode == EX_CONFIG
    line = len(daemon.path.read_text().splitlines())
    complaint = f"{daemon.path}:{line}: page.titel: unknown key (did you mean page.title?)"
    assert done.stderr == f"{complaint}\n"
    os.kill(pid, signal.SIGHUP)
    daemon.wait_for(lambda: complaint in daemon.log, "the daemon's own refusal")
    assert daemon.pid == pid and daemon.serves()


def test_reload_of_what_needs_a_restart(daemon: Started) -> None:
    daemon.start_it()
    daemon.write_config(state=str(daemon.directory / "elsewhere"))
    done = daemon.cli("reload")
    assert done.returncode == 1
    assert "state: changed, and that needs a restart" in done.stderr
    assert daemon.serves()


def test_reload_without_a_daemon(daemon: Started) -> None:
    done = daemon.cli("reload")
    assert done.returncode == 1
    assert done.stderr.startswith("wsd: no daemon on unix:")


def test_check(daemon: Started) -> None:
    done = daemon.cli("check")
    assert (done.returncode, done.stdout) == (0, f"wsd: {daemon.path}: ok\n")
    daemon.write_config("poll: {hold: soon}\n")
    done = daemon.cli("check")
    assert done.returncode == EX_CONFIG
    assert done.stdout == ""
    assert re.match(rf"{re.escape(str(daemon.path))}:\d+: poll\.hold: ", done.stderr)
    assert not (daemon.directory / "state").exists()


def test_the_configuration_may_be_named_in_the_environment(daemon: Started) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "wsd", "check"],
        capture_output=True,
        text=True,
        env={**os.environ, "WSD_CONFIG": str(daemon.path)},
    )
    assert done.stdout == f"wsd: {daemon.path}: ok\n"


def test_config(daemon: Started, tmp_path: Path) -> None:
    done = daemon.cli("config")
    assert (done.returncode, done.stdout) == (0, render_default())
    effective = daemon.cli("config", "--effective", WSD__LIMITS__TEXT="77")
    assert yaml.safe_load(effective.stdout)["limits"]["text"] == 77
    (tmp_path / "effective.yaml").write_text(effective.stdout)
    again = load(str(tmp_path / "effective.yaml"))
    assert (again.limits.text, again.workers, again.state) == (77, 2, str(tmp_path / "state"))


# -- signals


def test_a_second_sigterm_does_not_wait(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path, drain__spread="20s").start()
    try:
        with socket.create_connection((daemon.host, daemon.port)) as idle:
            idle.sendall(b"GET / HTTP/1.1\r\n")  # somebody in the middle of something
            time.sleep(0.1)
            began = time.monotonic()
            daemon.signal(signal.SIGTERM)
            daemon.wait_for(lambda: "stopping now=False" in daemon.output, "the drain")
            daemon.signal(signal.SIGTERM)
            assert daemon.process and daemon.process.wait(6) == 0
            assert time.monotonic() - began < 6
    finally:
        daemon.kill()


def test_sigint_does_not_wait(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path, drain__spread="20s").start()
    try:
        began = time.monotonic()
        daemon.signal(signal.SIGINT)
        assert daemon.process and daemon.process.wait(6) == 0
        assert time.monotonic() - began < 6
    finally:
        daemon.kill()


# -- what is written about it


def test_the_documentation_lists_the_metrics() -> None:
    text = (Path(__file__).resolve().parents[1] / "docs/operations.md").read_text()
    listed = re.findall(r"^\| `(wsd_\w+)` \|", text, re.M)
    exposed = re.findall(r"^# TYPE (\w+)", Scoreboard(["master"]).exposition().decode(), re.M)
    assert sorted(listed) == sorted(exposed)
