"""Chromium windows, for tests and for the pictures in the documentation."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from selenium import webdriver
from selenium.webdriver.chrome.service import Service

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
DRIVER = shutil.which("chromedriver")

_QUIET = (
    "--headless=new",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
_MOUSE = "primaryHoverType=2,availableHoverTypes=2,primaryPointerType=4,availablePointerTypes=4"


def open_window(
    url: str,
    profile: Path,
    *,
    language: str = "en",
    dark: bool = False,
    size: tuple[int, int] = (1200, 800),
    script: bool = True,
    first: str = "",
    environ: dict[str, str] | None = None,
    any_certificate: bool = False,
    mouse: bool = False,
) -> webdriver.Chrome:
    """A window with a profile of its own, so that its guest is nobody else's.

    ``first`` is JavaScript that runs ahead of the scripts of every page; with ``any_certificate``
    nobody checks who signed the server's; with ``mouse`` there is one, which without a screen there
    is not: then nothing hovers.
    """
    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for argument in _QUIET:
        options.add_argument(argument)
    if mouse:
        options.add_argument(f"--blink-settings={_MOUSE}")
    options.accept_insecure_certs = any_certificate
    options.add_argument(f"--lang={language}")
    options.add_argument(f"--user-data-dir={profile}")
    if os.geteuid() == 0:
        options.add_argument("--no-sandbox")
    prefs: dict[str, object] = {"intl.accept_languages": language}
    if not script:
        prefs["profile.managed_default_content_settings.javascript"] = 2
    options.add_experimental_option("prefs", prefs)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER, env=environ))
    if first:
        driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": first})
    scheme = "dark" if dark else "light"
    driver.execute_cdp_cmd(
        "Emulation.setEmulatedMedia",
        {"features": [{"name": "prefers-color-scheme", "value": scheme}]},
    )
    width, height = size
    driver.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500},
    )
    driver.get(url)
    return driver
