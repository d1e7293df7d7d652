"""sd_notify: telling systemd how the daemon is (sd_notify(3)); silent where systemd is not."""

from __future__ import annotations

import os
import socket
import time


class Notifier:
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
