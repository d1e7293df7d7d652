"""systemd: telling it how the daemon is (sd_notify(3)), and having it stop one that it keeps."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from typing import NamedTuple


class Service(NamedTuple):
    """A unit that is there, and how ``systemctl`` is called for it."""

    unit: str
    systemctl: tuple[str, ...]

    def do(self, verb: str) -> int:
        """``systemctl stop`` or ``restart``: its exit status.  It says itself what is wrong."""
        return subprocess.run([*self.systemctl, verb, self.unit]).returncode


def service_of(pid: int) -> Service | None:
    """The service whose main process ``pid`` is, of the system or of a user; None if it is none's.

    The name of its control group alone does not say: a daemon that was started by hand from
    within some service, a shell of sshd's for one, is in the group of that.
    """
    try:
        with open(f"/proc/{pid}/cgroup") as file:
            groups = [line.rstrip("\n").split("/") for line in file]
    except OSError:
        return None
    for group in groups:
        if not group[-1].endswith(".service"):
            continue
        is_users = any(part.startswith("user@") for part in group[:-1])
        service = Service(group[-1], ("systemctl", "--user") if is_users else ("systemctl",))
        show = [*service.systemctl, "show", "--property=MainPID", "--value", service.unit]
        try:
            main = subprocess.run(show, capture_output=True, text=True, timeout=10).stdout.strip()
        except (OSError, subprocess.TimeoutExpired):
            continue
        if main == str(pid):
            return service
    return None


class Notifier:
    """sd_notify(3); silent where systemd is not."""

    def __init__(self) -> None:
        # Taken out of the environment: children have nothing to say there.
        self._address = os.environ.pop("NOTIFY_SOCKET", "")
        usec = os.environ.pop("WATCHDOG_USEC", "")
        self.watchdog_s = int(usec) / 1e6 if usec.isascii() and usec.isdigit() else 0.0
        """systemd kills the daemon if it is not fed for so long; 0 without a watchdog."""

    def ready(self, status: str) -> None:
        # Each line is an assignment, so a status of several lines has to become one.
        self._send("READY=1", f"STATUS={' '.join(status.splitlines())}")

    def reloading(self) -> None:
        self._send("RELOADING=1", f"MONOTONIC_USEC={int(time.monotonic() * 1e6)}")

    def stopping(self) -> None:
        self._send("STOPPING=1", "STATUS=stopping")

    def feed_watchdog(self) -> None:
        if self.watchdog_s:
            self._send("WATCHDOG=1")

    def _send(self, *lines: str) -> None:
        if not self._address:
            return
        address = self._address
        if address.startswith("@"):  # the abstract namespace of Linux
            address = "\0" + address[1:]
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
                sock.sendto("\n".join(lines).encode(), address)
        except OSError:
            pass  # systemd is being restarted; it asks again by not being fed
