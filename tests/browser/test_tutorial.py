"""The tutorial's two pages work with nothing but their address changed."""

from __future__ import annotations

from pathlib import Path

from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

PAGES = Path(__file__).parent / "tutorial"


def page(name, address):
    return (PAGES / name).read_text().replace("ADDRESS", address)


def text_of(window, element):
    return window.find_element(By.ID, element).text


def wait_for_text(window, element, text):
    WebDriverWait(window, 10).until(lambda w: text in text_of(w, element))


def say(window, text):
    window.find_element(By.ID, "txt").send_keys(text)
    window.find_element(By.ID, "btn").click()


def test_the_page_by_hand(make_daemon, window, elsewhere):
    daemon = make_daemon('origins: ["*"]\n')
    url = elsewhere("first.html", page("first.html", f"ws://127.0.0.1:{daemon.port}"))
    one, two = window(url), window(url)
    for each in (one, two):
        wait_for_text(each, "content", "[connected]")
    say(one, "hello <b>there</b>")
    say(two, "你好")
    for each in (one, two):
        wait_for_text(each, "content", "hello <b>there</b>")
        wait_for_text(each, "content", "你好")
    # There is no history in this dialect: a third window starts empty.
    three = window(url)
    wait_for_text(three, "content", "[connected]")
    say(three, "late")
    wait_for_text(three, "content", "late")
    assert "hello" not in text_of(three, "content")
    daemon.stop()
    for each in (one, two, three):
        wait_for_text(each, "content", "[closed]")


def test_the_tornado_page(make_daemon, window, elsewhere):
    daemon = make_daemon('origins: ["*"]\n')
    url = elsewhere("tornado.html", page("tornado.html", f"ws://127.0.0.1:{daemon.port}/chat"))
    one, two = window(url), window(url)
    uids = []
    for each in (one, two):
        WebDriverWait(each, 10).until(
            lambda w: w.find_element(By.TAG_NAME, "body").get_attribute("data-uid")
        )
        uids.append(each.find_element(By.TAG_NAME, "body").get_attribute("data-uid"))
    assert uids[0] != uids[1]
    say(one, "<img src=x onerror=\"document.title='taken'\">")
    say(two, "second")
    for each in (one, two):
        wait_for_text(each, "container", "onerror")
        wait_for_text(each, "container", "second")
        assert each.title == "tornado"
        assert not each.find_elements(By.CSS_SELECTOR, "#container img")
    three = window(url)
    wait_for_text(three, "container", "second")
    shown = three.find_elements(By.CSS_SELECTOR, "#container .message")
    assert [m.get_attribute("data-uid") for m in shown] == uids


def test_a_foreign_page_needs_leave(daemon, window, elsewhere):
    url = elsewhere("first.html", page("first.html", f"ws://127.0.0.1:{daemon.port}"))
    one = window(url)
    wait_for_text(one, "content", "[closed]")
    assert "[connected]" not in text_of(one, "content")
