"""Chromium windows, each a visitor of its own, and a server for pages of another origin."""

from __future__ import annotations

import functools
import http.server
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from selenium import webdriver

from tests.browser.boxes import ANY_ORIGIN, Site, foreign_site
from tests.support.browser import CHROMIUM, DRIVER, open_window
from tests.support.daemon import Daemon


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if CHROMIUM and DRIVER:
        return
    missing = pytest.mark.skip(reason="Chromium or its driver is not installed")
    for item in items:
        if Path(__file__).parent in Path(item.fspath).parents:
            item.add_marker(missing)


@pytest.fixture
def window(tmp_path: Path) -> Iterator[Callable[..., webdriver.Chrome]]:
    """Open windows with ``open_window``; they are closed when the test ends."""
    opened: list[webdriver.Chrome] = []

    def make(url: str, **looks: object) -> webdriver.Chrome:
        opened.append(open_window(url, tmp_path / f"profile{len(opened)}", **looks))
        return opened[-1]

    yield make
    for driver in opened:
        driver.quit()


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    """Pages of another origin, with policies of their own."""
    with foreign_site() as found:
        yield found


@pytest.fixture
def chat(make_daemon: Callable[..., Daemon]) -> Daemon:
    """A daemon that lets pages of any site in."""
    return make_daemon(ANY_ORIGIN)


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Callable[[str, str], str]]:
    """Serve pages from another origin: ``elsewhere(name, html)`` returns the address."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    handler = functools.partial(_Quiet, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()

    def serve(name: str, html: str) -> str:
        (folder / name).write_text(html)
        return f"http://127.0.0.1:{server.server_address[1]}/{name}"

    yield serve
    server.shutdown()
    server.server_close()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_args: object) -> None:
        pass
