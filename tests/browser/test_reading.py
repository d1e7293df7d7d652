"""Who reads further up is left in peace, keeps the place of the keyboard, and may print all."""

from __future__ import annotations

import base64
import re
import shutil

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

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
