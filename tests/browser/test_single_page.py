"""Sites that change their content without loading a page, and what their scripts see of a box."""

from __future__ import annotations

import pytest
from selenium.webdriver.common.keys import Keys

from tests.browser.boxes import Box, complaints, policy, tag
from tests.browser.test_box import open_box

SHOW = """
    document.querySelector("main").replaceChildren();
    const tag = document.createElement("script");
    tag.src = arguments[0] + "wsd.js";
    for (const [name, value] of Object.entries(arguments[1])) tag.dataset[name] = value;
    document.querySelector("main").append(tag);
"""


@pytest.fixture
def page(chat, site, window):
    """A page whose content is put into it by ``SHOW``."""
    return window(site.page("app.html", "<main></main>", policy(chat.url)))


def rooms(daemon):
    """Who has people in it, by the daemon's account."""
    lines = daemon.cli("rooms").stdout.splitlines()
    return {line.split()[0] for line in lines if line.split()[1] != "0"}


def test_a_box_that_is_taken_out_leaves_its_room(chat, page):
    """Else the visitor is seen in twenty rooms, and refused in the seventeenth."""
    for number in range(18):
        page.execute_script(SHOW, chat.url, {"room": f"room{number}"})
        box = Box(page).online()
        box.say(f"hello {number}")
        box.sees(f"hello {number}")
    chat.wait_for(lambda: rooms(chat) == {"room17"}, "only the last one has somebody", 20)
    page.execute_script(SHOW, chat.url, {"room": "room3"})
    Box(page).online().sees("hello 3")
    assert complaints(page) == []


def test_of_two_boxes_of_a_room_one_may_go(chat, site, window):
    body = "".join(f"<main>{tag(chat.url, room='lobby')}</main>" for _ in range(2))
    ann = window(site.page("two.html", body, policy(chat.url)), size=(1200, 1600))
    first, second = Box(ann, 0).online(), Box(ann, 1).online()
    first.say("to both")
    second.sees("to both")
    ann.execute_script("document.querySelector('wsd-chat').remove()")
    ann.execute_async_script("setTimeout(arguments[0], 1500)")
    left = Box(ann)
    left.say("to the one that is left")
    left.sees("to both", "to the one that is left")


@pytest.mark.parametrize("away_ms", [0, 1500])
def test_a_box_that_is_moved_goes_on(chat, site, window, away_ms):
    ann = open_box(window, site, chat, room="lobby")
    Box(ann).online().say("before")
    Box(ann).sees("before")
    ann.execute_async_script(
        """
        const [ms, done] = arguments, box = document.querySelector("wsd-chat");
        const put = () => { document.body.prepend(box); done(); };
        box.remove();
        if (ms) setTimeout(put, ms); else put();
        """,
        away_ms,
    )
    ann.execute_async_script("setTimeout(arguments[0], 1000)")
    box = Box(ann)
    box.sees("before")
    assert not box.part("#notice").is_displayed()
    box.say("behind")
    box.sees("before", "behind")


def test_the_tag_of_a_bubble_may_run_again(chat, page):
    for room in ("lobby", "lobby", "other"):
        page.execute_script(SHOW, chat.url, {"room": room, "mode": "bubble"})
        Box(page).part(".bubble-open")
        page.execute_async_script("setTimeout(arguments[0], 300)")
        hosts = "return [...document.querySelectorAll('wsd-chat')].map(e => e.dataset.room)"
        assert page.execute_script(hosts) == [room]


def test_what_is_typed_is_no_shortcut_of_the_page(chat, site, window):
    ann = open_box(window, site, chat, room="lobby")
    box = Box(ann).online()
    ann.execute_script(
        """
        window.shortcuts = [];
        function act(event) {
            if (/^(INPUT|TEXTAREA)$/.test(event.target.tagName)) return;
            shortcuts.push(event.key);
            if (event.key === "s") event.preventDefault();
        }
        for (const type of ["keydown", "keypress", "keyup"]) document.addEventListener(type, act);
        """
    )
    box.say("sessions")
    box.sees("sessions")
    assert ann.execute_script("return shortcuts") == []
    box.part("#people-open" if box.part("#people-open").is_displayed() else "#log").send_keys("?")
    assert ann.execute_script("return shortcuts")  # what is not typed is the page's


@pytest.mark.parametrize(
    ("given", "shown"),
    [("Ann", "Ann"), (" " + "Marianne " * 3, "Marianne Marianne Marian"), ("X", None), (" ", None)],
)
def test_a_suggested_name_is_no_reason_to_complain_to_the_visitor(chat, site, window, given, shown):
    ann = window(site.page("named.html", tag(chat.url, name=given), policy(chat.url)))
    box = Box(ann).online()
    box.wait(lambda: box.part("#name-shown").text)
    if shown:
        assert box.part("#name-shown").text == shown
    assert not box.part("#notice").is_displayed()


def test_any_tag_of_the_page_may_suggest_the_name(chat, site, window):
    body = tag(chat.url, room="one") + tag(chat.url, room="two", name="Given")
    ann = window(site.page("named.html", body, policy(chat.url)), size=(1200, 1600))
    for index in (0, 1):
        assert Box(ann, index).online().part("#name-shown").text == "Given"


@pytest.mark.parametrize(
    ("given", "lang"),
    [("de_DE", "de"), ("pt_BR", "pt-BR"), ("zh_TW", "zh-TW"), ("zh_Hant", "zh-TW"), ("sr", "fr")],
)
def test_languages_as_other_software_writes_them(chat, site, window, given, lang):
    """The last is none of ours: then it is the browser's that counts."""
    ann = open_box(window, site, chat, room="lobby", lang=given, language="fr")
    box = Box(ann).online()
    assert box.run("return root.querySelector('.wsd').lang") == lang


def test_a_target_that_is_no_selector(chat, site, window):
    ann = open_box(window, site, chat, room="lobby", target="##bad")
    Box(ann).online()
    told = [entry["message"] for entry in ann.get_log("browser")]
    assert any("there is no element ##bad (data-target)" in message for message in told), told
    assert complaints(ann) == []


def test_on_a_phone_who_is_here_does_not_slide_over_the_chat_at_first(chat, site, window):
    watch = """
        window.seen = new Set();
        requestAnimationFrame(function look() {
            const root = document.querySelector("wsd-chat")?.shadowRoot;
            const people = root?.querySelector(".narrow #people");
            if (people) seen.add(getComputedStyle(people).visibility);
            requestAnimationFrame(look);
        });
    """
    body = tag(chat.url, room="lobby")
    ann = window(site.page("phone.html", body, policy(chat.url)), size=(390, 800), first=watch)
    box = Box(ann).online()
    box.wait(lambda: ann.execute_script("return seen.size"))
    assert ann.execute_script("return [...seen]") == ["hidden"]
    box.part("#people-open").click()
    box.wait(lambda: box.part("#people-close").is_displayed())
    box.part("#people-close").send_keys(Keys.ENTER)
    box.wait(lambda: not box.part("#people-close").is_displayed())


def test_coming_back_to_a_page_tells_of_no_trouble(chat, site, window):
    ann = open_box(window, site, chat, room="lobby")
    Box(ann).online().say("hello")
    Box(ann).sees("hello")
    ann.get(site.page("elsewhere.html", "<p>Another page</p>"))
    ann.back()
    Box(ann).online().sees("hello")
    told = [entry["message"] for entry in ann.get_log("browser")]
    assert not [message for message in told if "no connection" in message], told
