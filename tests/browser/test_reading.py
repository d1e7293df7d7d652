"""Who reads further up is left in peace, keeps the place of the keyboard, and may print all."""

from __future__ import annotations

import base64
import re
import shutil

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

from tests.browser.talk import resize
from tests.browser.test_page import say, shown, state, wait, wait_online, wait_shown

AT_THE_TOP = """
    const log = document.getElementById("log").getBoundingClientRect().top;
    const first = [...document.querySelectorAll(".message")]
        .find(e => e.getBoundingClientRect().bottom >= log);
    return [Number(first.dataset.seq), first.getBoundingClientRect().top - log];
"""
FOCUSED = "return document.activeElement.id"


def fill(daemon, count):
    for number in range(count):
        text = f"number {number} " + "and so on " * 20
        daemon.admin("/api/v1/say", {"room": "lobby", "text": text})


def show_all(window, count):
    def loaded(w):
        w.execute_script("document.getElementById('log').scrollTop = 0")
        return len(shown(w)) == count

    wait(window, loaded)


def show_all_from(window, number):
    def loaded(w):
        w.execute_script("document.getElementById('log').scrollTop = 0")
        return "".join(shown(w)[:1]).startswith(f"number {number} ")

    wait(window, lambda w: shown(w))
    wait(window, loaded, 40)


def test_another_width_leaves_the_reader_where_they_were(daemon, window):
    fill(daemon, 100)
    ann = window(daemon.url)
    wait_online(ann)
    show_all(ann, 100)
    ann.execute_script("document.querySelector('[data-seq=\"40\"]').scrollIntoView()")
    wait(ann, lambda w: w.execute_script(AT_THE_TOP)[0] in (39, 40))
    before = ann.execute_script(AT_THE_TOP)
    for width, height in ((420, 800), (1200, 500), (700, 900), (1200, 800)):
        resize(ann, width, height)
        wait(ann, lambda w, width=width: w.execute_script("return innerWidth") == width)
        seq, top = ann.execute_script(AT_THE_TOP)
        assert seq == before[0] and abs(top - before[1]) < 3, (width, seq, top)
    fill(daemon, 3)  # and what comes below does not move it
    wait(ann, lambda w: "3" in w.find_element(By.ID, "to-end").text)
    assert ann.execute_script(AT_THE_TOP)[0] == before[0]


def test_the_button_that_ends_with_the_history_hands_its_focus_on(daemon, window):
    fill(daemon, 60)
    ann = window(daemon.url)
    wait_online(ann)
    ann.execute_script("document.getElementById('older').focus({preventScroll: true})")
    assert ann.execute_script(FOCUSED) == "older"
    show_all(ann, 60)
    wait(ann, lambda w: not w.find_element(By.ID, "older").is_displayed())
    assert ann.execute_script(FOCUSED) == "log"


@pytest.mark.parametrize("label", ["Send again", "Discard"])
def test_who_is_done_with_a_refused_message_goes_on_writing(make_daemon, window, label):
    ann = window(make_daemon(limits__every="100ms").url)
    wait_online(ann)
    text = "the same words once more"
    say(ann, text)
    wait_shown(ann, text)
    say(ann, text)
    wait(ann, lambda w: w.find_elements(By.CSS_SELECTOR, ".failure button"))
    names = [b.text for b in ann.find_elements(By.CSS_SELECTOR, ".failure button")]
    button = ann.find_elements(By.CSS_SELECTOR, ".failure button")[names.index(label)]
    button.send_keys(Keys.ENTER)
    assert ann.execute_script(FOCUSED) == "text"


def test_a_new_log_that_is_empty_has_nothing_further_up(make_daemon, window):
    daemon = make_daemon()
    ann = window(daemon.url)
    wait_online(ann)
    say(ann, "of the old log")
    wait_shown(ann, "of the old log")
    daemon.write_config(listen=f'["127.0.0.1:{daemon.port}"]')
    daemon.stop()
    shutil.rmtree(daemon.directory / "state")
    daemon.start()
    wait(ann, lambda w: state(w) == "online" and not shown(w), 40)
    assert not ann.find_element(By.ID, "notice").is_displayed()


def test_all_that_is_loaded_can_be_printed(daemon, window):
    fill(daemon, 50)
    ann = window(daemon.url)
    wait(ann, lambda w: len(shown(w)) == 50)
    pdf = base64.b64decode(ann.execute_cdp_cmd("Page.printToPDF", {})["data"])
    assert len(re.findall(rb"/Type\s*/Page\b", pdf)) >= 4
    ann.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    for part in ("composer", "people", "older"):
        assert not ann.find_element(By.ID, part).is_displayed(), part


def test_reading_down_again_leaves_nothing_out(daemon, window):
    """The list holds 500 messages; what was dropped at its end comes back, and is read on."""
    fill(daemon, 620)
    ann = window(daemon.url)
    wait_online(ann)
    show_all_from(ann, 0)
    assert not shown(ann)[-1].startswith("number 619 "), "nothing was dropped"
    ann.execute_script("document.getElementById('log').scrollTop = 0")
    read = -1

    def all_is_read(w):
        nonlocal read
        numbers = [int(text.split()[1]) for text in w.execute_script(A_PAGE_DOWN)]
        assert numbers[0] <= read + 1, (read, numbers)
        read = numbers[-1]
        return read == 619

    WebDriverWait(ann, 60, poll_frequency=0.05).until(all_is_read)
    assert len(shown(ann)) <= 500
    show_all_from(ann, 0)  # and what was dropped at the beginning comes back as well


def test_the_end_of_what_is_loaded_is_not_the_end(daemon, window):
    """However fast somebody is there, the next messages come below, and do not push these away."""
    fill(daemon, 620)
    ann = window(daemon.url)
    wait_online(ann)
    show_all_from(ann, 0)
    last = shown(ann)[-1]
    assert not last.startswith("number 619 ")
    ann.execute_script("document.getElementById('pending').scrollIntoView({block: 'end'})")
    wait(ann, lambda w: shown(w)[-1:] != [last])
    ann.execute_async_script("setTimeout(arguments[0], 300)")
    assert last in ann.execute_script(A_PAGE_DOWN)
    ann.find_element(By.ID, "to-end").click()
    # The list is empty for a moment.
    wait(ann, lambda w: "".join(w.execute_script(A_PAGE_DOWN)[-1:]).startswith("number 619 "))


A_PAGE_DOWN = """
    const log = document.getElementById("log"), { top, bottom } = log.getBoundingClientRect();
    const seen = [...document.querySelectorAll(".message")].filter(e => {
        const box = e.getBoundingClientRect();
        return box.bottom > top && box.top < bottom;
    }).map(e => e.querySelector(".text").textContent);
    log.scrollTop += log.clientHeight * 0.8;
    return seen;
"""
