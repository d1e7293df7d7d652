"""The box in a page of another origin, whose policy names the chat host and nothing else."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

from tests.browser.boxes import (
    Box,
    complaints,
    policy,
    requests_of,
    size_of,
    tag,
)
from wsd.config import LANGUAGES
from wsd.transports.lean import declared

WEB = Path(str(files("wsd") / "web"))
LOOKS = ("size", "dark", "language", "mouse")
FAR_DOWN = "<br>" * 200
KB = 1000


def open_box(window, site, chat, name="shop.html", before="", **options):
    looks = {key: options.pop(key) for key in LOOKS if key in options}
    body = before + tag(chat.url, **options)
    return window(site.page(name, body, policy(chat.url)), **looks)


def fetched(window, chat):
    return [name.split("?")[0].split("/")[-1] for name in requests_of(window, chat.url)]


def test_two_windows_chat_through_an_inline_box(chat, site, window):
    ann, bob = (open_box(window, site, chat, room="lobby") for _ in range(2))
    one, two = Box(ann).online(), Box(bob).online()
    one.say("hello from the shop")
    two.sees("hello from the shop")
    two.say("hello <b>Ann</b>")
    one.sees("hello from the shop", "hello <b>Ann</b>")
    assert complaints(ann) == complaints(bob) == []


@pytest.mark.parametrize(("width", "place"), [(1200, "log"), (390, "people-close")])
def test_the_end_of_an_ignore_hands_its_focus_on(chat, site, window, width, place):
    looks = {"size": (width, 800), "mouse": True}
    ann, bob = (open_box(window, site, chat, room="lobby", **looks) for _ in range(2))
    one, two = Box(ann).online(), Box(bob).online()
    two.say("hello from the shop")
    one.sees("hello from the shop")
    one.do("hello from the shop", "Ignore")
    if one.part("#people-open").is_displayed():
        one.part("#people-open").click()
    one.part("#ignored-list button").send_keys(Keys.ENTER)
    assert one.run("return root.activeElement?.id") == place


def test_nothing_is_fetched_before_the_box_is_seen(chat, site, window):
    ann = open_box(window, site, chat, before=FAR_DOWN, room="lobby")
    WebDriverWait(ann, 10).until(lambda w: w.find_elements(By.TAG_NAME, "wsd-chat"))
    ann.execute_async_script("setTimeout(arguments[0], 500)")
    assert fetched(ann, chat) == ["wsd.js"]
    ann.execute_script("document.querySelector('wsd-chat').scrollIntoView()")
    Box(ann).online()
    assert sorted(fetched(ann, chat)) == ["box.js", "chat.css", "en.json", "wsd.js"]


def test_sizes_and_requests(chat, site, window):
    """4 requests of at most 34 kB, whatever the language; 2 more for those who do something."""
    ann = open_box(window, site, chat, room="lobby", lang="en")
    box = Box(ann).online()
    first = requests_of(ann, chat.url)
    assert len(first) == 4
    sizes = {name.split("/")[-1]: size_of(name) for name in first}
    assert sizes["wsd.js"] <= 5 * KB
    (words,) = [name for name in first if name.endswith("en.json")]
    for language in LANGUAGES:
        size = size_of(words.replace("en.json", f"{language}.json"))
        assert sizes["box.js"] + sizes["chat.css"] + size <= 30 * KB, language
    box.part("#emoji-open").click()
    box.part(".emoji button")
    more = set(requests_of(ann, chat.url)) - set(first)
    assert len(more) == 2
    assert sum(map(size_of, more)) <= 8 * KB
    box.say("costs no request")
    box.sees("costs no request")
    assert requests_of(ann, chat.url)[6:] == []


def test_no_name_of_the_box_hides_one_of_the_browsers(window, chat):
    """Its modules share a scope: what one declares, another must not mean the window's."""
    texts = {str(path.relative_to(WEB)): path.read_text() for path in WEB.rglob("*.js")}
    names = [name for text in texts.values() for name in declared(text)]
    assert "showText" in names
    here = window(f"{chat.url}static/icon.svg")
    assert here.execute_script("return arguments[0].filter(name => name in window)", names) == []


def test_the_bubble_opens_and_closes(chat, site, window):
    ann = open_box(window, site, chat, mode="bubble", room="lobby")
    box = Box(ann)
    bubble = box.part(".bubble-open")
    assert fetched(ann, chat) == ["wsd.js"]
    bubble.send_keys(Keys.ENTER)
    box.online()
    assert bubble.get_attribute("aria-expanded") == "true"
    focused = "return root.activeElement?.id || root.activeElement?.className"
    assert box.run(focused) == "text"
    box.say("from the bubble")
    box.sees("from the bubble")
    box.part("#text").send_keys(Keys.ESCAPE)
    assert not box.part(".panel").is_displayed()
    assert box.run(focused) == "bubble-open"
    chat.admin("/api/v1/say", {"room": "lobby", "text": "are you there?"})
    box.wait(lambda: bubble.text == "1")
    assert bubble.get_attribute("aria-label") == "Open the chat: 1 new message"
    bubble.click()
    assert box.part(".panel").is_displayed()
    box.wait(lambda: bubble.text == "")
    box.part("#close").click()
    assert not box.part(".panel").is_displayed()
    assert complaints(ann) == []


def test_the_bubble_fills_a_phone(chat, site, window):
    ann = open_box(window, site, chat, mode="bubble", room="lobby", size=(390, 844))
    box = Box(ann)
    box.part(".bubble-open").click()
    box.online()
    assert box.part(".wsd").size == {"width": 390, "height": 844}


def test_a_wall_only_shows(chat, site, window):
    ann = open_box(window, site, chat, mode="view", room="lobby")
    wall = Box(ann).online()
    chat.admin("/api/v1/say", {"room": "lobby", "text": "for everybody"})
    wall.sees("for everybody")
    assert wall.all("textarea, input, #composer") == []
    assert wall.part("#pop-out").get_attribute("href") == f"{chat.url}r/lobby"
    assert complaints(ann) == []


def test_several_boxes_in_one_page_are_one_guest(chat, site, window):
    target = '<div id="here"></div>'
    tags = (
        tag(chat.url, room="lobby") + tag(chat.url, room="tech", target="#here")
        + tag(chat.url, mode="bubble", room="lobby")
    )  # fmt: skip
    chat.admin("/api/v1/say", {"room": "lobby", "text": "before"})
    ann = window(site.page("many.html", target + tags, policy(chat.url)), size=(1200, 1600))
    tech, lobby = Box(ann, 0).online(), Box(ann, 1).online()
    if tech.run("return root.querySelector('.room').textContent") != "tech":
        tech, lobby = lobby, tech
    lobby.wait(lambda: lobby.run("return root.querySelector('#people-count').textContent") == "1")
    bubble = Box(ann, 2)
    bubble.part(".bubble-open").click()
    bubble.sees("before")
    tech.say("in tech")
    lobby.say("in the lobby")
    bubble.sees("before", "in the lobby")
    tech.sees("in tech")
    lobby.sees("before", "in the lobby")
    bubble.wait(lambda: bubble.part("#people-open-count").text == "1", seconds=5)


def test_two_windows_of_one_guest_are_one_guest(chat, site, window):
    ann = open_box(window, site, chat, room="lobby")
    Box(ann).online()
    address = ann.current_url
    first = ann.current_window_handle
    ann.switch_to.new_window("window")
    ann.get(address)
    second = Box(ann).online()
    second.say("from my second window")
    second.sees("from my second window")
    second.wait(lambda: second.run("return root.querySelector('#people-count').textContent") == "1")
    ann.switch_to.window(first)
    one = Box(ann)
    one.sees("from my second window")
    assert "own" in one.message("from my second window").get_attribute("class").split()


def test_what_the_tag_asks_for(chat, site, window):
    style = '<link rel="stylesheet" href="data:text/css,html{font-size:62.5%25}">'
    body = tag(chat.url, room="聊天", lang="zh-TW", theme="dark", name="Anna", title="Shop")
    ann = window(site.page("asked.html", body, head=style))
    box = Box(ann).online()
    root = box.part(".wsd")
    assert root.get_attribute("data-scheme") == "dark"
    assert root.get_attribute("lang").startswith("zh")
    assert box.part(".room").text.startswith("聊天")
    box.wait(lambda: box.part("#name-shown").text == "Anna")
    # The host page's rem is not ours.
    assert box.run("return getComputedStyle(root.querySelector('#text')).fontSize") == "16px"


def test_properties_of_the_site_colour_the_box(chat, site, window):
    style = '<link rel="stylesheet" href="data:text/css,wsd-chat{--wsd-accent:rgb(1,2,3)}">'
    ann = window(site.page("coloured.html", tag(chat.url, room="lobby"), head=style))
    box = Box(ann).online()
    box.part("#text").send_keys("x")
    colour = "return getComputedStyle(root.querySelector('#send')).backgroundColor"
    assert box.run(colour) == "rgb(1, 2, 3)"
