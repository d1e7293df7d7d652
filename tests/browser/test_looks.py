"""Where things stand: nothing sticks out, and what belongs together is in line, however wide."""

from __future__ import annotations

from urllib.parse import quote

import pytest

from tests.browser.boxes import ANY_ORIGIN, WIDER_THAN_ITS_PLACE, Box, foreign_site, tag
from tests.browser.talk import TALKS, Page, ahead_of_pages, guests_of, resize
from tests.support.browser import open_window
from tests.support.daemon import Daemon

WIDTHS = (320, 360, 900, 1280)
LANGUAGES = ("en", "ar")


@pytest.fixture(scope="module")
def chat(tmp_path_factory):
    daemon = Daemon(tmp_path_factory.mktemp("chat") / "wsd", ANY_ORIGIN).start()
    yield daemon
    daemon.kill()


@pytest.fixture(scope="module")
def stage(chat, tmp_path_factory):
    """(a window, the talk of each language, a site)"""
    window = open_window("about:blank", tmp_path_factory.mktemp("profile"), mouse=True)
    with foreign_site() as site, guests_of(chat, "en") as en, guests_of(chat, "ar") as ar:
        yield window, {"en": en, "ar": ar}, site
    window.quit()


EDGES = """
    const edge = (selector) => {
      const found = [...root.querySelectorAll(selector)].at(-1).getBoundingClientRect();
      return [found.left, found.right];
    };
    const style = getComputedStyle(root.querySelector(".column"));
    const column = edge(".column");
    const inside = [column[0] + parseFloat(style.paddingLeft), column[1] - parseFloat(style.paddingRight)];
    return [inside, edge(".field")].map((each) => each.map(Math.round));
"""  # noqa: E501


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("form", ["page", "inline", "bubble", "view"])
def test_nothing_sticks_out(chat, stage, form, language):
    window, guests, site = stage
    talk = TALKS[language]
    resize(window, 1280)
    with ahead_of_pages(window, guests[language].identity):
        if form == "page":
            window.get(f"{chat.url}r/{quote(talk.room)}")
            box = Page(window)
        else:
            body = tag(chat.url, room=talk.room, title=talk.site, lang=language, mode=form)
            window.get(site.page(f"{form}-{language}.html", f'<div dir="rtl">{body}</div>'
                                 if language == "ar" else body))  # fmt: skip
            box = Box(window)
            if form == "bubble":
                box.part(".bubble-open").click()
        box.online()
        box.wait(lambda: len(box.shown) >= len(talk.yesterday + talk.today))
    for width in WIDTHS:
        resize(window, width)
        box.run("return new Promise((done) => setTimeout(done, 150))")
        assert box.run(WIDER_THAN_ITS_PLACE) == [], width
        if form != "view":
            one_line = "return root.querySelector('#text').offsetHeight"
            assert box.run(one_line) == 40, width
            column, field = box.run(EDGES)
            assert column == field, width


def test_the_page_without_script_fits_a_phone(chat, stage):
    window, *_ = stage
    resize(window, 320)
    window.get(f"{chat.url}plain/lobby")
    out = """
      const { right } = document.querySelector("form").getBoundingClientRect();
      return [...document.querySelectorAll("form *")]
        .filter((e) => e.getBoundingClientRect().right > right + .5).map((e) => e.id);
    """
    assert window.execute_script(out) == []
