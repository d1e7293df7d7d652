"""Running in the foreground, and as a Unix daemon of its own (``wsd start``, PEP 3143)."""

from __future__ import annotations

import io
import os
import pwd
import select
import signal
import sys
import time
from collections.abc import Callable, Collection

from daemon import DaemonContext

from wsd import logs
from wsd.config import Settings, load
from wsd.master import CannotStart, Master, make_directory
from wsd.pidfile import AlreadyRunning, PidFile

START_S = 30.0
"""How long ``start`` waits for the daemon to be ready before it reports that it is not."""

NOT_RUNNING, UNKNOWN = 3, 4  # the Linux Standard Base's status codes for init scripts


def pid_path(settings: Settings) -> str:
    return os.path.join(settings.runtime, "wsd.pid")


def serve(
    settings: Settings,
    load_again: Callable[[], Settings],
    on_ready: Callable[[list[str]], None],
    private: Collection[int] = (),
) -> int:
    """Run the master in this process; returns its exit status.  Raises CannotStart."""
    logs.setup(settings.log.level, settings.log.format, "master")
    try:
        return Master(settings, load_again, on_ready, private).run()
    except CannotStart as error:
        logs.event(logs.error, "cannot_start", detail=str(error))
        raise


def run(settings: Settings, path: str | None) -> int:
    """``wsd run``: in the foreground, without a PID file, which is how systemd wants it."""

    def say_where(addresses: list[str]) -> None:
        for address in addresses:
            print(f"wsd: serving on {address}", flush=True)

    try:
        return serve(settings, lambda: load(path), say_where)
    except CannotStart:
        return 1


def hindrance(settings: Settings) -> str:
    """Why ``wsd start`` must not even try; empty if it may.

    What a daemon of root's writes into another user's state, such as the service's, that user
    could not write again.
    """
    try:
        owner = os.stat(settings.state).st_uid
    except OSError:
        return ""
    if os.geteuid() != 0 or owner == 0:
        return ""
    try:
        name = pwd.getpwuid(owner).pw_name
    except KeyError:
        name = str(owner)
    return (
        f"{settings.state} belongs to the user {name}, and a daemon of root's would leave files"
        f" there that {name} cannot write: systemctl start wsd if it is the service's, else start"
        f" as {name}"
    )


def start(settings: Settings, path: str | None) -> int:
    """``wsd start``: returns when the daemon is ready, or has failed."""
    if why := hindrance(settings):
        print(f"wsd: {why}", file=sys.stderr)
        return 1
    path = os.path.abspath(path) if path else None
    for directory in (settings.runtime, settings.state):
        try:
            make_directory(directory)
        except CannotStart as error:
            print(f"wsd: {error}", file=sys.stderr)
            return 1
    reports, report = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reports)
        _detach_and_serve(settings, path, Report(report))
    os.close(report)
    return _hear(reports, pid, settings)


class Report:
    """What ``wsd start`` waits for: one line from the daemon, or the end of it without a word."""

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def send(self, outcome: str, text: str) -> None:
        if self.fd >= 0:
            os.write(self.fd, f"{outcome} {text}\n".encode())
            os.close(self.fd)
            self.fd = -1


def _hear(reports: int, pid: int, settings: Settings) -> int:
    log = os.path.join(settings.state, "wsd.log")
    os.waitpid(pid, 0)  # it has made the daemon, which is nobody's child, and ended
    if not select.select([reports], [], [], START_S)[0]:
        print(f"wsd: not ready after {START_S:g} s; {log} says why", file=sys.stderr)
        return 1
    with os.fdopen(reports, "rb") as lines:
        said = lines.readline()
    status, _, text = said.decode().strip().partition(" ")
    if status == "ready":
        print(f"wsd: {text}")
        return 0
    print(f"wsd: {text or f'did not start; {log} says why'}", file=sys.stderr)
    return 1


def _open_log(path: str) -> io.FileIO:
    """Appending, so that logrotate's copytruncate works.  Raises CannotStart."""
    try:
        return io.FileIO(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "ab")
    except OSError as error:
        raise CannotStart(f"{path}: {error.strerror}") from None


def _detach_and_serve(settings: Settings, path: str | None, report: Report) -> None:
    """In the child: become a daemon, hold the PID file, serve, and end the process."""
    home = os.getcwd()

    def load_again() -> Settings:
        os.chdir(home)  # what is relative in the file counts from where it was started
        try:
            return load(path)
        finally:
            os.chdir("/")

    status = 1
    try:
        log = _open_log(os.path.join(settings.state, "wsd.log"))
        context = DaemonContext(
            working_directory="/", umask=0o077, stdout=log, stderr=log, detach_process=True,
            files_preserve=[report.fd, log], signal_map={},
        )  # fmt: skip
        with context:
            log.close()  # it is standard output and standard error by now
            with PidFile(pid_path(settings)) as pidfile:
                # Children must hold neither the PID file's lock nor the report's other end.
                private = [pidfile.fd, report.fd]

                def on_ready(addresses: list[str]) -> None:
                    private.remove(report.fd)
                    report.send("ready", f"serving on {' '.join(addresses)}")

                status = serve(settings, load_again, on_ready, private)
    except (AlreadyRunning, CannotStart) as error:
        report.send("failed", str(error))
    except BaseException as error:
        report.send("failed", f"did not start: {error}")
        logs.exception("crashed")
    finally:
        os._exit(status)


def stop(settings: Settings, pid: int) -> int:
    """``wsd stop``: ask the daemon to drain, and wait until it is gone."""
    try:
        os.kill(pid, signal.SIGTERM)
    except ProcessLookupError:
        pass
    deadline = time.monotonic() + settings.drain.stop + 10
    while time.monotonic() < deadline:
        if not _alive(pid):
            print("wsd: stopped")
            return 0
        time.sleep(0.05)
    print(f"wsd: pid {pid} does not end", file=sys.stderr)
    return 1


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    try:  # a zombie has ended, whoever has not yet waited for it
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
