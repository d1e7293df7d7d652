"""What systemd is told, over a real datagram socket."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from wsd.systemd import Notifier


@pytest.fixture(params=["path", "abstract"])
def manager(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[socket.socket]:
    """systemd's end; the environment names it."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    sock.settimeout(2)
    if request.param == "path":
        address = str(tmp_path / "notify")
        sock.bind(address)
    else:
        address = f"@wsd-test-{os.getpid()}"
        sock.bind("\0" + address[1:])
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    monkeypatch.setenv("WATCHDOG_USEC", "20000000")
    yield sock
    sock.close()


def lines(sock: socket.socket) -> list[str]:
    return sock.recv(4096).decode().split("\n")


def test_what_is_said(manager: socket.socket) -> None:
    notifier = Notifier()
    assert notifier.watchdog_s == 20.0
    assert "NOTIFY_SOCKET" not in os.environ and "WATCHDOG_USEC" not in os.environ
    notifier.ready("serving")
    assert lines(manager) == ["READY=1", "STATUS=serving"]
    notifier.reloading()
    first, second = lines(manager)
    assert first == "RELOADING=1"
    key, _, value = second.partition("=")
    assert key == "MONOTONIC_USEC"
    assert abs(int(value) / 1e6 - time.monotonic()) < 5
    notifier.stopping()
    assert lines(manager)[0] == "STOPPING=1"
    notifier.feed_watchdog()
    assert lines(manager) == ["WATCHDOG=1"]


def test_a_status_cannot_say_anything_else(manager: socket.socket) -> None:
    """It quotes the file that was refused, which may hold anything."""
    Notifier().ready("refused\nSTOPPING=1\nMAINPID=1")
    assert lines(manager) == ["READY=1", "STATUS=refused STOPPING=1 MAINPID=1"]


def test_without_systemd_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    monkeypatch.delenv("WATCHDOG_USEC", raising=False)
    notifier = Notifier()
    assert notifier.watchdog_s == 0
    notifier.ready("x")
    notifier.feed_watchdog()


def test_systemd_that_is_being_restarted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "none"))
    Notifier().ready("x")


@pytest.mark.parametrize("usec", ["", "x", "-5", "1.5", "٣"])
def test_a_watchdog_that_makes_no_sense(monkeypatch: pytest.MonkeyPatch, usec: str) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", usec)
    assert Notifier().watchdog_s == 0


def test_no_watchdog_no_food(manager: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WATCHDOG_USEC")
    notifier = Notifier()
    notifier.feed_watchdog()
    notifier.stopping()
    assert lines(manager)[0] == "STOPPING=1"
