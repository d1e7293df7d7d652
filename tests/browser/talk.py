"""A conversation as a site may have it, in three languages, said by guests who are really there.

For pictures and for tests that look at the whole: two days, several guests, a quote, a mention, a
link, emoji, another script, and messages of the one who looks on.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from selenium import webdriver

from tests.browser.boxes import Box
from tests.support.clients import V1
from tests.support.daemon import Daemon

_PAUSE_S = 150.0
_DAY_S = 86_400.0


class Line(NamedTuple):
    name: str
    text: str
    answers: int | None = None
    """The place in the talk of the line that this one quotes."""


class Talk(NamedTuple):
    room: str
    site: str
    viewer: str
    """Who looks on, and has said what stands under this name."""
    yesterday: tuple[Line, ...]
    today: tuple[Line, ...]


TALKS = {
    "en": Talk(
        "harbour", "Ferry Line", "Mia",
        (
            Line("Tom", "Has anybody tried the new ferry to the island?"),
            Line("Aiko", "Yes, last Sunday. Sit on the left: the lighthouse is worth it 😍", 0),
        ),
        (
            Line("Mia", "Good morning! Is it running today, with this wind?"),
            Line("Samir", "The 9:30 left on time. The plan: https://example.com/ferry/today", 2),
            Line("Tom", "@Mia take a warm jacket, the upper deck is the best place ☀️🌊"),
            Line("林晓", "下午三点那班也很好，人少。"),
            Line("Mia", "Thank you all! See you on the pier."),
            Line("Aiko", "Bring me a shell 🐚"),
        ),
    ),
    "zh-CN": Talk(
        "码头", "海岛轮渡", "小满",
        (
            Line("阿哲", "有人坐过去海岛的新渡轮吗？"),
            Line("林晓", "上周日坐过。去的时候坐左边，可以看到灯塔，很值得 😍", 0),
        ),
        (
            Line("小满", "早上好！今天风这么大，船还开吗？"),
            Line("Samir", "9:30 那班准点开出了。今天的班次：https://example.com/ferry/today", 2),
            Line("阿哲", "@小满 记得带件厚外套，上层甲板风景最好 ☀️🌊"),
            Line("Aiko", "The 3 pm boat is quiet, too."),
            Line("小满", "谢谢大家！码头见。"),
            Line("林晓", "帮我捡个贝壳回来 🐚"),
        ),
    ),
    "ar": Talk(
        "الميناء", "خط العبّارات", "ليلى",
        (
            Line("سمير", "هل جرّب أحدكم العبّارة الجديدة إلى الجزيرة؟"),
            Line("هدى", "نعم، يوم الأحد الماضي. اجلسوا على اليسار: المنارة تستحق المشاهدة 😍", 0),
        ),
        (
            Line("ليلى", "صباح الخير! هل تبحر اليوم مع هذه الرياح؟"),
            Line("Tom", "The 9:30 left on time: https://example.com/ferry/today", 2),
            Line("سمير", "@ليلى خذي معك سترة دافئة، فالسطح العلوي أجمل مكان ☀️🌊"),
            Line("هدى", "ورحلة الساعة 3 هادئة أيضًا."),
            Line("ليلى", "شكرًا لكم جميعًا! نلتقي على الرصيف."),
            Line("سمير", "أحضري لي صدفة 🐚"),
        ),
    ),
}  # fmt: skip


class Page(Box):
    """The chat's own page, with the face of a box."""

    def run(self, script: str, *arguments: object) -> object:
        return self.window.execute_script("const root = document;" + script, *arguments)


class Guests:
    """Everybody of one talk, connected.  They have said all of it."""

    def __init__(self, daemon: Daemon, talk: Talk, shift: Callable[[float], None]) -> None:
        self.talk = talk
        names = dict.fromkeys(line.name for line in talk.yesterday + talk.today)
        self._by_name = {
            name: V1(daemon.ws()).hello({talk.room: None}, name=name) for name in names
        }
        self._said: list[int] = []
        left_s = sum(_PAUSE_S for _ in talk.today)
        for line in talk.yesterday:
            shift(-_DAY_S - left_s)
            self._say(line)
        for line in talk.today:
            shift(-left_s)
            self._say(line)
            left_s -= _PAUSE_S
        shift(0)

    def _say(self, line: Line) -> None:
        answers = {} if line.answers is None else {"reply_to": self._said[line.answers]}
        ok = self._by_name[line.name].say(self.talk.room, line.text, **answers)
        self._said.append(ok["seq"])

    def say(self, name: str, text: str) -> None:
        self._by_name[name].say(self.talk.room, text)

    @property
    def identity(self) -> str:
        """JavaScript that makes a page the window of the one who looks on."""
        viewer = self._by_name[self.talk.viewer]
        kept = {"uid": viewer.uid, "token": viewer.token, "name": self.talk.viewer}
        return f"localStorage.setItem('wsd.identity', {json.dumps(json.dumps(kept))});"

    def close(self) -> None:
        for guest in self._by_name.values():
            guest.close()


@contextmanager
def guests_of(
    daemon: Daemon, language: str, shift: Callable[[float], None] = lambda _: None
) -> Iterator[Guests]:
    """``shift`` sets the daemon's clock, by seconds from the right time."""
    guests = Guests(daemon, TALKS[language], shift)
    try:
        yield guests
    finally:
        guests.close()


@contextmanager
def ahead_of_pages(window: webdriver.Chrome, script: str) -> Iterator[None]:
    """Run ``script`` ahead of the scripts of every page that is opened meanwhile."""
    source = {"source": f"try {{ {script} }} catch {{ }}"}  # about:blank has no storage
    added = window.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", source)
    try:
        yield
    finally:
        window.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", added)


def look(window: webdriver.Chrome, *, dark: bool, still: bool = True) -> None:
    """How the reader's system is set."""
    features = [
        {"name": "prefers-color-scheme", "value": "dark" if dark else "light"},
        {"name": "prefers-reduced-motion", "value": "reduce" if still else "no-preference"},
    ]
    window.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})


def resize(window: webdriver.Chrome, width: int, height: int = 700, scale: float = 1) -> None:
    metrics = {"width": width, "height": height, "deviceScaleFactor": scale, "mobile": False}
    window.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
