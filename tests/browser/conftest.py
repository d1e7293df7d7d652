"""Chromium windows, each a visitor of its own, and a server for pages of another origin."""

from __future__ import annotations

import functools
import http.server
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
DRIVER = shutil.which("chromedriver")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if CHROMIUM and DRIVER:
        return
    missing = pytest.mark.skip(reason="Chromium or its driver is not installed")
    for item in items:
        if Path(__file__).parent in Path(item.fspath).parents:
            item.add_marker(missing)


@pytest.fixture
def window(tmp_path: Path) -> Iterator[Callable[..., webdriver.Chrome]]:
    """Open windows; ``language``, ``dark``, ``size`` and ``script`` (False: none) are for looks.

    Every window has a profile of its own, so each is another guest.
    """
    opened: list[webdriver.Chrome] = []

    def make(
        url: str,
        language: str = "en",
        dark: bool = False,
        size: tuple[int, int] = (1200, 800),
        script: bool = True,
    ) -> webdriver.Chrome:
        options = webdriver.ChromeOptions()
        options.binary_location = str(CHROMIUM)
        for argument in (
            "--headless=new",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            f"--lang={language}",
            f"--window-size={size[0]},{size[1]}",
            f"--user-data-dir={tmp_path}/profile{len(opened)}",
        ):
            options.add_argument(argument)
        if os.geteuid() == 0:
            options.add_argument("--no-sandbox")
        if dark:
            options.add_argument("--force-dark-mode")
        prefs: dict[str, object] = {"intl.accept_languages": language}
        if not script:
            prefs["profile.managed_default_content_settings.javascript"] = 2
        options.add_experimental_option("prefs", prefs)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        driver = webdriver.Chrome(options=options, service=Service(DRIVER))
        opened.append(driver)
        driver.execute_cdp_cmd(
            "Emulation.setEmulatedMedia",
            {"features": [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]},
        )
        driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {
                "width": size[0],
                "height": size[1],
                "deviceScaleFactor": 1,
                "mobile": size[0] < 500,
            },
        )
        driver.get(url)
        return driver

    yield make
    for driver in opened:
        driver.quit()


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
