"""The chat page in Chromium: windows talk, later ones see what was said, nothing gets lost."""

from __future__ import annotations

import os
import signal

import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait


def shown(window):
    """The texts in the list, in order."""
    return window.execute_script(
        "return [...document.querySelectorAll('#past [data-seq], #live [data-seq]')]"
        ".map(e => e.querySelector('.text')?.textContent ?? '')"
    )


def wait(window, condition, seconds=15):
    return WebDriverWait(window, seconds).until(condition)


def wait_online(window):
    wait(window, lambda w: state(w) == "online")


def state(window):
    return window.find_element(By.ID, "state").get_attribute("data-status")


def say(window, text):
    field = window.find_element(By.ID, "text")
    field.send_keys(text)
    field.send_keys(Keys.ENTER)


def wait_shown(window, *texts):
    wait(window, lambda w: shown(w)[-len(texts) :] == list(texts))


def errors(window):
    return [entry for entry in window.get_log("browser") if entry["level"] == "SEVERE"]


def test_two_windows_chat_and_a_third_sees_what_was_said(daemon, window):
    ann, bob = window(daemon.url), window(daemon.url)
    for each in (ann, bob):
        wait_online(each)
    say(ann, "hello from Ann")
    wait_shown(bob, "hello from Ann")
    say(bob, "hello Ann")
    wait_shown(ann, "hello from Ann", "hello Ann")
    cat = window(daemon.url)
    wait_shown(cat, "hello from Ann", "hello Ann")
    wait(ann, lambda w: w.find_element(By.ID, "people-count").text == "3")
    for each in (ann, bob, cat):
        assert errors(each) == []


def test_a_guest_is_the_same_after_a_reload(daemon, window):
    ann, bob = window(daemon.url), window(daemon.url)
    wait_online(ann)
    wait_online(bob)
    ann.find_element(By.ID, "name-open").click()
    field = ann.find_element(By.ID, "name")
    field.send_keys(Keys.CONTROL, "a")
    field.send_keys("Anna 安娜", Keys.ENTER)
    wait(ann, lambda w: w.find_element(By.ID, "name-shown").text == "Anna 安娜")
    wait(bob, lambda w: "Anna 安娜" in w.find_element(By.ID, "people-list").text)
    ann.refresh()
    wait_online(ann)
    wait(ann, lambda w: w.find_element(By.ID, "name-shown").text == "Anna 安娜")
    assert bob.find_element(By.ID, "people-count").text == "2"


@pytest.mark.parametrize(
    "text",
    [
        "<img src=x onerror=\"document.title='taken'\">",
        "<script>document.title='taken'</script>",
        "javascript:document.title='taken'",
        '"><svg onload=alert(1)>',
    ],
)
def test_text_is_shown_as_text(daemon, window, text):
    ann = window(daemon.url)
    wait_online(ann)
    say(ann, text)
    wait_shown(ann, text)
    assert "taken" not in ann.title
    assert not ann.find_elements(By.CSS_SELECTOR, "#log img, #log script, #log svg[onload]")
    assert errors(ann) == []


def test_own_messages_are_edited_and_deleted(daemon, window):
    ann, bob = window(daemon.url), window(daemon.url)
    wait_online(ann)
    wait_online(bob)
    say(ann, "frist")
    wait_shown(bob, "frist")
    ann.find_element(By.ID, "text").send_keys(Keys.ARROW_UP)
    area = wait(ann, lambda w: w.find_element(By.CSS_SELECTOR, "#log textarea"))
    area.send_keys(Keys.CONTROL, "a")
    area.send_keys("first", Keys.ENTER)
    wait(bob, lambda w: shown(w) == ["first"])
    wait(ann, lambda w: shown(w) == ["first"])


def test_nothing_is_missed_while_the_daemon_restarts(make_daemon, window, tmp_path):
    daemon = make_daemon()
    ann, bob = window(daemon.url), window(daemon.url)
    wait_online(ann)
    wait_online(bob)
    say(ann, "before")
    wait_shown(bob, "before")
    daemon.write_config(listen=f'["127.0.0.1:{daemon.port}"]')
    assert daemon.stop() == 0
    wait(bob, lambda w: state(w) != "online")
    say(ann, "said while it was away")
    daemon.start()
    wait_shown(bob, "before", "said while it was away")
    wait_shown(ann, "before", "said while it was away")


def test_a_killed_worker_costs_nobody_a_message(make_daemon, window):
    daemon = make_daemon()
    ann, bob = window(daemon.url), window(daemon.url)
    wait_online(ann)
    wait_online(bob)
    for number in range(3):
        for pid in daemon.workers():
            os.kill(pid, signal.SIGKILL)
        say(ann, f"message {number}")
        wait(bob, lambda w, n=number: shown(w) == [f"message {i}" for i in range(n + 1)])


def test_older_messages_come_by_scrolling_up(daemon, window):
    for number in range(120):
        daemon.admin("/api/v1/say", {"room": "lobby", "text": f"number {number}"})
    ann = window(daemon.url)
    wait(ann, lambda w: shown(w) and shown(w)[-1] == "number 119")

    def scrolled_to_the_start(w):
        w.execute_script("document.getElementById('log').scrollTop = 0")
        return shown(w) == [f"number {n}" for n in range(120)]

    wait(ann, scrolled_to_the_start)


def test_the_language_is_the_browsers(daemon, window):
    chinese = window(daemon.url, language="zh-CN")
    wait_online(chinese)
    assert chinese.find_element(By.TAG_NAME, "html").get_attribute("lang") == "zh-CN"
    assert "发送" in chinese.find_element(By.ID, "composer").get_attribute("innerHTML")


def test_nothing_inline_is_needed(daemon, window):
    """The policy forbids inline script and style, and the page never runs into it."""
    ann = window(daemon.url)
    wait_online(ann)
    say(ann, "see https://example.com/ for more")
    wait_shown(ann, "see https://example.com/ for more")
    link = ann.find_element(By.CSS_SELECTOR, "#log a")
    assert link.get_attribute("rel") == "noopener noreferrer nofollow ugc"
    assert errors(ann) == []
    assert not ann.execute_script(
        "return document.querySelector('style, [style*=\"expression\"], script:not([src])')"
    )


@pytest.mark.parametrize("size", [(390, 844), (320, 568)])
def test_it_fits_a_phone(daemon, window, size):
    ann = window(daemon.url, size=size)
    wait_online(ann)
    say(ann, "w" * 300)
    wait_shown(ann, "w" * 300)
    width = ann.execute_script("return document.documentElement.scrollWidth")
    assert width <= size[0]


SEQS = """return [...document.querySelectorAll('#past .message, #live .message')]
    .map(message => Number(message.dataset.seq))"""


def test_who_comes_back_from_the_far_past_reads_everything_in_order(make_daemon, window):
    """What came live stands below what is fetched after it, and the end is reached by scrolling."""
    daemon = make_daemon()

    def tell(count):
        for i in range(count):
            daemon.admin("/api/v1/say", {"room": "lobby", "text": f"number {i}"})

    tell(300)
    ann = window(daemon.url)
    wait(ann, lambda w: len(w.execute_script(SEQS)) >= 50)
    tell(300)
    wait(ann, lambda w: w.execute_script(SEQS)[-1] == 600)

    def scrolled(to):
        ann.execute_script(f"const log = document.querySelector('#log'); log.scrollTop = {to}")
        return ann.execute_script(SEQS)

    wait(ann, lambda w: scrolled("0")[0] == 1, 30)
    assert ann.execute_script(SEQS)[-1] < 600
    wait(ann, lambda w: scrolled("log.scrollHeight")[-1] == 600, 30)
    seqs = ann.execute_script(SEQS)
    assert seqs == list(range(seqs[0], 601))
    tell(1)
    wait(ann, lambda w: w.execute_script(SEQS)[-1] == 601)


def said_and_edited(window, text):
    """The editor of a message that ``window`` has just said."""
    wait_online(window)
    say(window, text)
    wait_shown(window, text)
    window.find_element(By.ID, "text").send_keys(Keys.ARROW_UP)
    return wait(window, lambda w: w.find_element(By.CSS_SELECTOR, ".editor textarea"))


def test_a_lost_connection_does_not_take_the_cursor_out_of_what_is_edited(make_daemon, window):
    daemon = make_daemon()
    ann = window(daemon.url)
    editor = said_and_edited(ann, "Main Street")
    editor.send_keys(" 5")
    for pid in daemon.workers():
        os.kill(pid, signal.SIGKILL)
    wait(ann, lambda w: state(w) != "online")
    wait_online(ann)
    ActionChains(ann).send_keys("A", Keys.ENTER).perform()
    wait_shown(ann, "Main Street 5A")


def test_no_connection_is_no_news_any_more_when_there_is_one(make_daemon, window):
    daemon = make_daemon()
    ann = window(daemon.url)
    editor = said_and_edited(ann, "hello")
    daemon.write_config(listen=f'["127.0.0.1:{daemon.port}"]')
    daemon.stop()
    wait(ann, lambda w: state(w) != "online")
    editor.send_keys("!", Keys.ENTER)
    wait(ann, lambda w: w.find_element(By.ID, "notice").is_displayed())
    daemon.start()
    wait(ann, lambda w: state(w) == "online", 40)
    wait(ann, lambda w: not w.find_element(By.ID, "notice").is_displayed(), 3)
