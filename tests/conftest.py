"""Fixtures that every folder of tests may use."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.daemon import Daemon
from tests.support.proxies import Proxy


@pytest.fixture
def make_daemon(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Callable[..., Daemon]]:
    """Start daemons, each in a directory of its own; they are gone when the test ends."""
    started: list[Daemon] = []

    def make(config: str = "", **keys: object) -> Daemon:
        daemon = Daemon(tmp_path / f"wsd{len(started)}", config, **keys)
        started.append(daemon)
        return daemon.start()

    yield make
    for daemon in started:
        daemon.kill()
    report = getattr(request.node, "report_call", None)
    if report is not None and report.failed:
        for daemon in started:
            print(f"--- output of the daemon in {daemon.directory}\n{daemon.output}")


@pytest.fixture
def daemon(make_daemon: Callable[..., Daemon]) -> Daemon:
    """One daemon on a free port with two workers."""
    return make_daemon()


@pytest.fixture
def make_proxy(tmp_path: Path) -> Iterator[Callable[..., Proxy]]:
    """``make_proxy(Nginx, daemon)``: one in front of the daemon; it is gone when the test ends."""
    started: list[Proxy] = []

    def make(kind: type[Proxy], daemon: Daemon, **options: Any) -> Proxy:
        if not kind.installed():
            pytest.skip(f"{kind.program} is not installed")
        directory = tmp_path / f"proxy{len(started)}"
        started.append(kind(directory, daemon.port, **options).start())
        return started[-1]

    yield make
    for proxy in started:
        proxy.stop()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if call.when == "call":
        item.report_call = report
    return report
