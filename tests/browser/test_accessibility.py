"""axe-core finds nothing against WCAG 2.2 A and AA: every form, language and scheme of colours."""

from __future__ import annotations

from urllib.parse import quote

import pytest

from tests.browser.boxes import ANY_ORIGIN, Box, foreign_site, tag
from tests.browser.talk import TALKS, ahead_of_pages, guests_of, look, resize
from tests.support.browser import CHROMIUM, DRIVER, open_window
from tests.support.clients import NODE_MODULES
from tests.support.daemon import Daemon

AXE = NODE_MODULES / "axe-core" / "axe.min.js"
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22a", "wcag22aa"]
LANGUAGES = ["en", "zh-CN", "ar"]
FORMS = ["page", "inline", "bubble closed", "bubble open", "wall", "plain"]

pytestmark = pytest.mark.skipif(not AXE.exists(), reason="npm could not install axe-core")

# A change of the scheme shows two frames later.  The plain page reloads itself: it says so, and has
# a button that stops it (WCAG 2.2.1), which axe does not look for.
RUN = """
    const done = arguments[arguments.length - 1];
    const options = {
      runOnly: arguments[0], resultTypes: ["violations"],
      rules: { "meta-refresh": { enabled: false } },
    };
    const run = () => axe.run(document, options).then(
      ({ violations }) => done(violations.flatMap(({ id, nodes }) => nodes.map(
        ({ target, failureSummary }) => `${id}: ${target.flat().join(" ")}: ${failureSummary}`))),
      (error) => done([String(error)]));
    requestAnimationFrame(() => requestAnimationFrame(run));
"""


@pytest.fixture(scope="module")
def chat(tmp_path_factory):
    keys = {"limits__burst": 1000, "limits__repeat": "0"}
    daemon = Daemon(tmp_path_factory.mktemp("chat") / "wsd", ANY_ORIGIN, **keys).start()
    yield daemon
    daemon.kill()


@pytest.fixture(scope="module")
def guests(chat):
    with guests_of(chat, "en") as en, guests_of(chat, "zh-CN") as zh, guests_of(chat, "ar") as ar:
        yield {"en": en, "zh-CN": zh, "ar": ar}


@pytest.fixture(scope="module")
def site():
    with foreign_site() as found:
        yield found


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    if not (CHROMIUM and DRIVER):
        pytest.skip("Chromium or its driver is not installed")
    window = open_window("about:blank", tmp_path_factory.mktemp("profile"))
    window.execute_cdp_cmd(
        "Page.addScriptToEvaluateOnNewDocument", {"source": AXE.read_text(encoding="utf-8")}
    )
    yield window
    window.quit()


class Page(Box):
    """The chat's own page, with the face of a box."""

    def run(self, script, *arguments):
        return self.window.execute_script("const root = document;" + script, *arguments)


def open_form(browser, chat, site, form, language):
    """The page with the box, as soon as it shows the talk."""
    room = TALKS[language].room
    if form in ("page", "plain"):
        browser.get(f"{chat.url}{'r' if form == 'page' else 'plain'}/{quote(room)}")
        box = Page(browser)
        if form == "plain":
            return box
    else:
        mode = {"wall": "view", "inline": "inline"}.get(form, "bubble")
        body = "<h1>A shop</h1>" + tag(chat.url, room=room, lang=language, mode=mode)
        browser.get(site.page(f"{mode}-{language}.html", body))
        box = Box(browser)
        if form == "bubble closed":
            box.part(".bubble-open")
            return box
        if form == "bubble open":
            box.part(".bubble-open").click()
    box.online()
    box.wait(lambda: len(box.shown) >= len(TALKS[language].today))
    return box


def faults(browser):
    """What is wrong, in the light and in the dark."""
    found = []
    for dark in (False, True):
        look(browser, dark=dark)
        found += browser.execute_async_script(RUN, RULES)
    return found


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("form", FORMS)
def test_each_form(browser, chat, site, guests, form, language):
    resize(browser, 1200, 800)
    accept = {"userAgent": browser.execute_script("return navigator.userAgent"),
              "acceptLanguage": language}  # fmt: skip
    browser.execute_cdp_cmd("Network.setUserAgentOverride", accept)
    with ahead_of_pages(browser, guests[language].identity):
        open_form(browser, chat, site, form, language)
    assert faults(browser) == []
