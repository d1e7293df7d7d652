"""Running in the foreground, and as a Unix daemon of its own (``wsd start``, PEP 3143)."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable

from daemon import DaemonContext

from wsd import logs
from wsd.config import ConfigError, Settings, load
from wsd.master import CannotStart, Master, make_directory
from wsd.pidfile import AlreadyRunning, PidFile, running_pid

START_S = 30.0
"""How long ``start`` waits for the daemon to be ready before it reports that it is not."""

NOT_RUNNING = 3  # the Linux Standard Base's status codes for init scripts


def pid_path(settings: Settings) -> str:
    return os.path.join(settings.runtime, "wsd.pid")


def serve(
    settings: Settings,
    path: str | None,
    on_ready: Callable[[list[str]], None],
    private: tuple[int, ...] = (),
) -> int:
    """Run the master in this process; returns its exit status."""
    logs.setup(settings.log.level, settings.log.format, "master")
    try:
        return Master(settings, lambda: load(path), on_ready, private).run()
    except CannotStart as error:
        logs.event(logs.error, "cannot_start", detail=str(error))
        return 1


def run(settings: Settings, path: str | None) -> int:
    """``wsd run``: in the foreground, without a PID file, which is how systemd wants it."""

    def say_where(addresses: list[str]) -> None:
        for address in addresses:
            print(f"wsd: serving on {address}", flush=True)

    return serve(settings, path, say_where)


def start(settings: Settings, path: str | None) -> int:
    """``wsd start``: returns when the daemon is ready, or has failed."""
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
        _detach_and_serve(settings, path, report)
    os.close(report)
    return _hear(reports, pid, settings)


def _hear(reports: int, pid: int, settings: Settings) -> int:
    """Wait for what the daemon reports; a report that ends without a word is a failure."""
    signal.alarm(int(START_S))
    with os.fdopen(reports) as lines:
        said = lines.read()
    signal.alarm(0)
    os.waitpid(pid, 0)
    status, _, text = said.partition(" ")
    if status == "ready":
        print(f"wsd: {text}")
        return 0
    log = os.path.join(settings.state, "wsd.log")
    print(f"wsd: {text or f'did not start; {log} says why'}", file=sys.stderr)
    return 1


def _detach_and_serve(settings: Settings, path: str | None, report: int) -> None:
    """In the child: become a daemon, hold the PID file, serve, and end the process."""
    status = 1
    try:
        log = open(os.path.join(settings.state, "wsd.log"), "ab", buffering=0)  # noqa: SIM115
        context = DaemonContext(
            working_directory="/", umask=0o077, stdout=log, stderr=log, detach_process=True,
            files_preserve=[report, log], signal_map={},
        )  # fmt: skip
        with context, PidFile(pid_path(settings)) as pidfile:

            def on_ready(addresses: list[str]) -> None:
                os.write(report, f"ready serving on {' '.join(addresses)}".encode())
                os.close(report)

            # Children must not hold the PID file's lock when the master is gone.
            status = serve(settings, path, on_ready, (pidfile.fd,))
    except AlreadyRunning as error:
        os.write(report, f"failed {error}".encode())
    except BaseException:
        logs.exception("crashed")
    finally:
        os._exit(status)


def stop(settings: Settings, pid: int | None = None) -> int:
    """``wsd stop``: ask the daemon to drain, and wait until it is gone."""
    path = pid_path(settings)
    pid = pid or running_pid(path)
    if pid is None:
        print("wsd: not running", file=sys.stderr)
        return 0
    os.kill(pid, signal.SIGTERM)
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


def settings_or_explain(path: str | None) -> Settings | None:
    """The settings, or None after saying what is wrong with them."""
    try:
        return load(path)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return None
