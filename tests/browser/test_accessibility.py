"""axe-core finds nothing against WCAG 2.2 A and AA: every form, language and scheme of colours."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from selenium.webdriver import ActionChains

from tests.browser.boxes import ANY_ORIGIN, Box, tag
from tests.browser.talk import TALKS, Page, ahead_of_pages, guests_of, look, resize
from tests.support.browser import CHROMIUM, DRIVER, open_window
from tests.support.clients import NODE_MODULES
from tests.support.daemon import Daemon

AXE = NODE_MODULES / "axe-core" / "axe.min.js"
CONFIG = f"""{ANY_ORIGIN}
rooms:
  closed: {{origins: ["https://elsewhere.example"]}}
  quiet: {{modes: {{slow_s: 30}}}}
"""
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
    keys = {"limits__every": "10ms", "limits__burst": 1000}  # or nothing counts as said twice
    daemon = Daemon(tmp_path_factory.mktemp("chat") / "wsd", CONFIG, **keys).start()
    yield daemon
    daemon.kill()


@pytest.fixture(scope="module")
def guests(chat):
    with guests_of(chat, "en") as en, guests_of(chat, "zh-CN") as zh, guests_of(chat, "ar") as ar:
        yield {"en": en, "zh-CN": zh, "ar": ar}


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    if not (CHROMIUM and DRIVER):
        pytest.skip("Chromium or its driver is not installed")
    window = open_window("about:blank", tmp_path_factory.mktemp("profile"), mouse=True)
    window.execute_cdp_cmd(
        "Page.addScriptToEvaluateOnNewDocument", {"source": AXE.read_text(encoding="utf-8")}
    )
    yield window
    window.quit()


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


# -- what is seen only at times


def other_message(box):
    return TALKS["en"].today[-1].text


def a_failed_message(box):
    for _ in range(2):
        box.say("the very same thing twice")
    box.part(".failure")


def the_name_form(box):
    box.part("#name-open").click()
    box.wait(lambda: box.part("#name").is_displayed())


def emoji(box):
    box.part("#emoji-open").click()
    box.part(".emoji button")


def the_buttons_of_a_message(box):
    ActionChains(box.window).move_to_element(box.message(other_message(box))).perform()
    box.part(".actions button")


def an_answer(box):
    box.do(other_message(box), "Reply")
    box.wait(lambda: box.part("#answering").is_displayed())


def an_edit(box):
    box.say("with a mistake")
    box.do("with a mistake", "Edit")
    box.part(".editor textarea")


def the_question_before_deleting(box):
    box.say("to be deleted")
    box.do("to be deleted", "Delete")
    box.part(".actions.asking")


def a_deleted_message(box):
    box.say("soon gone")
    box.do("soon gone", "Delete")
    box.part(".actions .danger").click()
    box.wait(lambda: box.all(".message.deleted, .gone") or "soon gone" not in box.shown)


def names_to_mention(box):
    box.part("#text").send_keys("hello @")
    box.wait(lambda: box.all("#names li"))


def somebody_ignored(box):
    box.do(other_message(box), "Ignore")
    box.wait(lambda: box.part("#ignored-list li"))


def people_in_a_drawer(box):
    resize(box.window, 390, 700)
    box.wait(lambda: box.part("#people-open").is_displayed())
    box.part("#people-open").click()
    box.wait(lambda: box.part("#people-close").is_displayed())


def far_up(box):
    for number in range(30):
        box.run("root.querySelector('#log').scrollTop = 0")
        box.guests.say("Tom", f"and one more, number {number}")
    box.run("root.querySelector('#log').scrollTop = 0")
    box.wait(lambda: box.part("#to-end").is_displayed())


STATES = [
    a_failed_message, the_name_form, emoji, the_buttons_of_a_message, an_answer, an_edit,
    the_question_before_deleting, a_deleted_message, names_to_mention, somebody_ignored,
    people_in_a_drawer, far_up,
]  # fmt: skip


@pytest.mark.parametrize("state", STATES, ids=lambda state: state.__name__)
def test_each_state(browser, chat, site, guests, state):
    resize(browser, 1200, 800)
    with ahead_of_pages(browser, guests["en"].identity):
        box = open_form(browser, chat, site, "inline", "en")
    box.guests = guests["en"]
    state(box)
    assert faults(browser) == []


def test_a_refused_page_and_a_slow_room(browser, chat, site):
    for room in ("closed", "quiet"):
        browser.get(site.page(f"{room}.html", "<h1>A shop</h1>" + tag(chat.url, room=room)))
        box = Box(browser)
        wanted = "stopped" if room == "closed" else "online"
        box.wait(lambda box=box, wanted=wanted: box.state == wanted)
        assert faults(browser) == [], room


def test_a_lost_connection(browser, make_daemon, site):
    chat = make_daemon(ANY_ORIGIN)
    browser.get(site.page("lost.html", "<h1>A shop</h1>" + tag(chat.url, room="lobby")))
    box = Box(browser).online()
    chat.kill()
    box.wait(lambda: box.state == "waiting")
    box.say("is anybody there?")
    box.part("#pending .message")
    assert faults(browser) == []
