"""Make the pictures in ``docs/pictures``: ``.venv/bin/python -m tests.browser.pictures``.

Every form of the chat, light and dark, on a desk and on a phone.  Wants a C compiler, for talk of
yesterday, and Debian's fonts-noto-core, fonts-noto-cjk and fonts-noto-color-emoji.  Words behind
the command name the pictures to make, by a part of their name; without any it makes all.
"""

from __future__ import annotations

import base64
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from selenium import webdriver

from tests.browser.boxes import ANY_ORIGIN, Box, Site, foreign_site, tag
from tests.browser.shop import shop
from tests.browser.talk import TALKS, Guests, Page, ahead_of_pages, guests_of, look
from tests.support.browser import open_window
from tests.support.daemon import Daemon

WHERE = Path(__file__).parents[2] / "docs" / "pictures"
SHIM = Path(__file__).parents[1] / "support" / "wallclock.c"
SIZES = {"desktop": (1280, 800), "phone": (390, 844)}
POP_OUT = (480, 720)
QUALITY = 82


class Shot(NamedTuple):
    form: str
    language: str
    size: str
    dark: bool

    @property
    def name(self) -> str:
        scheme = "dark" if self.dark else "light"
        return f"{self.form}-{self.language.lower()}-{self.size}-{scheme}"


def shots() -> Iterator[Shot]:
    for form in ("page", "inline", "bubble-closed", "bubble-open", "wall", "pop-out", "plain"):
        for language in ("en", "zh-CN", "ar"):
            for size in SIZES:
                for dark in (False, True):
                    if language == "ar" and form != "inline":
                        continue
                    if form == "pop-out" and size == "phone":  # there it is the page
                        continue
                    yield Shot(form, language, size, dark)


class Camera:
    """Two browsers, one with a mouse and one to be touched, and what they look at."""

    def __init__(self, folder: Path, chat: Daemon, site: Site, guests: dict[str, Guests]) -> None:
        self.chat = chat
        self.site = site
        self.guests = guests
        self.windows = {
            "desktop": open_window("about:blank", folder / "desktop", mouse=True),
            "phone": open_window("about:blank", folder / "phone", size=SIZES["phone"]),
        }
        for window in self.windows.values():
            agent = window.execute_script("return navigator.userAgent")
            self._agent = agent
            zone = {"timezoneId": late_morning()}
            window.execute_cdp_cmd("Emulation.setTimezoneOverride", zone)

    def close(self) -> None:
        for window in self.windows.values():
            window.quit()

    def take(self, shot: Shot) -> int:
        window = self.windows[shot.size]
        width, height = POP_OUT if shot.form == "pop-out" else SIZES[shot.size]
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1,
                   "mobile": shot.size == "phone"}  # fmt: skip
        window.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        language = {"userAgent": self._agent, "acceptLanguage": shot.language}
        window.execute_cdp_cmd("Network.setUserAgentOverride", language)
        look(window, dark=shot.dark)
        with ahead_of_pages(window, self.guests[shot.language].identity):
            self._arrange(window, shot)
        time.sleep(0.6)  # presence, fonts and pictures
        webp = {"format": "webp", "quality": QUALITY}
        data = base64.b64decode(window.execute_cdp_cmd("Page.captureScreenshot", webp)["data"])
        (WHERE / f"{shot.name}.webp").write_bytes(data)
        return len(data)

    def _arrange(self, window: webdriver.Chrome, shot: Shot) -> None:
        room, site, _, yesterday, today = TALKS[shot.language]
        if shot.form in ("page", "pop-out", "plain"):
            path = "plain" if shot.form == "plain" else "r"
            window.get(f"{self.chat.url}{path}/{quote(room)}")
            if shot.form != "plain":
                everything(Page(window), len(yesterday + today))
            return
        mode = {"inline": "inline", "wall": "view"}.get(shot.form, "bubble")
        chat = tag(self.chat.url, room=room, title=site, lang=shot.language, mode=mode)
        head, body = shop(shot.language, chat, beside=mode != "bubble")
        window.get(self.site.page(f"{shot.name}.html", body, head=head))
        box = Box(window)
        if shot.form == "bubble-closed":
            box.part(".bubble-open")
            return
        if mode == "bubble":
            box.part(".bubble-open").click()
        else:
            box.run("document.querySelector('wsd-chat').scrollIntoView({block: 'center'})")
        everything(box, len(yesterday + today))


def everything(box: Box, count: int) -> None:
    box.online()
    box.wait(lambda: len(box.shown) >= count)


def late_morning() -> str:
    """The time zone in which it is between ten and eleven now."""
    west = time.gmtime().tm_hour - 10
    return f"Etc/GMT{west:+d}" if west else "Etc/GMT"


@contextmanager
def own_clock(folder: Path) -> Iterator[Callable[[float], None]]:
    """A daemon that is started in here has the clock that is set by what this gives."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        print("without a C compiler all is said today", file=sys.stderr)
        yield lambda _: None
        return
    library, file = folder / "wallclock.so", folder / "shift"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, SHIM], check=True)
    file.write_bytes(bytes(8))
    os.environ.update(LD_PRELOAD=str(library), WALLCLOCK=str(file))

    def shift(seconds: float) -> None:
        with file.open("r+b") as out:
            out.write(struct.pack("q", int(seconds)))

    try:
        yield shift
    finally:
        for name in ("LD_PRELOAD", "WALLCLOCK"):
            os.environ.pop(name, None)


def main(wanted: list[str]) -> None:
    WHERE.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        with own_clock(folder) as shift:
            chat = Daemon(folder / "wsd", ANY_ORIGIN, page__title="Ferry Line").start()
            stack.callback(chat.kill)
        guests = {}
        for language in TALKS:
            guests[language] = stack.enter_context(guests_of(chat, language, shift))
        camera = Camera(folder, chat, stack.enter_context(foreign_site()), guests)
        stack.callback(camera.close)
        total = 0
        for shot in shots():
            if not wanted or any(word in shot.name for word in wanted):
                size = camera.take(shot)
                total += size
                print(f"{size:7} {shot.name}")
        print(f"{total:7} bytes in all")


if __name__ == "__main__":
    main(sys.argv[1:])
