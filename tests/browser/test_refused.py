"""A page that the daemon does not let in: what its visitors see, and what its owner is told."""

from __future__ import annotations

import time

from tests.browser.boxes import WIDER_THAN_ITS_PLACE, Box, requests_of, tag
from tests.browser.talk import resize


def told(window, *words):
    """Whether the console has had a line with all ``words``; it is asked only for what is new."""
    lines = [entry["message"].replace("\\", "") for entry in window.get_log("browser")]
    return any(all(word in line for word in words) for line in lines)


def test_a_refused_page_says_so_and_stays_in_its_place(make_daemon, site, window):
    chat = make_daemon()
    ann = window("about:blank")
    for mode in ("inline", "bubble", "view"):
        resize(ann, 1280)
        ann.get(site.page(f"{mode}.html", tag(chat.url, room="lobby", mode=mode)))
        box = Box(ann)
        if mode == "bubble":
            box.part(".bubble-open").click()
        box.wait(lambda box=box: box.state == "stopped")
        assert box.part("#state-text").text == "This page may not use the chat", mode
        assert box.part("#reconnect").text == "Try again"
        box.wait(lambda: told(ann, site.url.rstrip("/"), '"origins"', chat.url))
        if mode != "view":  # nothing could be said, so nothing can be written
            assert not box.part("#text").is_displayed()
            assert "your site" in box.part("#notice").text
        for width in (320, 360, 1280):
            resize(ann, width)
            time.sleep(0.15)
            assert box.run(WIDER_THAN_ITS_PLACE) == [], (mode, width)


def test_a_refused_page_does_not_insist_and_comes_in_once_it_may(make_daemon, site, window):
    chat = make_daemon()
    ann = window(site.page("patient.html", tag(chat.url, room="lobby", lang="zh-CN")))
    box = Box(ann)
    box.wait(lambda: box.state == "stopped")
    asked = len(requests_of(ann, chat.url))
    rejected = chat.metrics()["wsd_http_rejected_total.bad_origin"]
    time.sleep(3)
    assert len(requests_of(ann, chat.url)) == asked
    assert chat.metrics()["wsd_http_rejected_total.bad_origin"] == rejected > 0
    chat.write_config(origins=f'["{site.url.rstrip("/")}"]')
    assert chat.cli("reload").returncode == 0
    box.part("#reconnect").click()
    box.online()
    assert box.part("#text").is_displayed()
    box.say("here at last")
    box.sees("here at last")
