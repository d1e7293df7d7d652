"""The client library in Chromium, on a page of another origin: whatever is broken, removed, killed
or cut, every window is told every message once, in order."""

from __future__ import annotations

import os
import re
import shutil
import signal
import struct
import subprocess
import time
from pathlib import Path

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from tests.support.netns import Cable

DOCUMENTATION = Path(__file__).parents[2] / "docs" / "client.md"
PAGE = Path(__file__).parent / "library.html"
SHIM = Path(__file__).parents[1] / "support" / "wallclock.c"

ANY_ORIGIN = 'origins: ["*"]\n'

# What a page meets ahead of its own scripts.
NO_WEBSOCKET = "delete window.WebSocket;"
SILENT_WEBSOCKET = """
window.WebSocket = class { readyState = 0; send() {} close() {} };
"""
NO_STREAM = """
{
  const real = window.fetch;
  window.fetch = (url, options) => String(url).endsWith("/stream")
    ? new Promise((resolve, reject) => options.signal.addEventListener("abort", reject))
    : real(url, options);
}
"""
NO_STORAGE = """
for (const name of ["localStorage", "sessionStorage"]) {
  Object.defineProperty(window, name, { get() { throw new DOMException("no", "SecurityError"); } });
}
"""
WAYS = {
    "websocket": "",
    "stream": NO_WEBSOCKET,
    "poll": NO_WEBSOCKET + NO_STREAM,
}


def wait(window, condition, seconds=40.0):
    return WebDriverWait(window, seconds, poll_frequency=0.1).until(condition)


def told(window):
    return window.execute_script("return window.told?.texts ?? []")


def state(window):
    return window.execute_script("return window.client?.state.transport ?? null")


def say(window, text):
    window.execute_script("client.say('lobby', arguments[0])", text)


def wait_told(window, texts, seconds=40.0):
    wait(window, lambda w: len(told(w)) >= len(texts), seconds)
    assert told(window) == texts


@pytest.fixture
def page(elsewhere):
    """``page(daemon)``: the address of a page of another site that uses the library."""

    def serve(daemon):
        html = PAGE.read_text().replace("ADDRESS", daemon.url.rstrip("/"))
        return elsewhere("library.html", html)

    return serve


@pytest.fixture
def visitors(window, page):
    """``visitors(daemon)``: a window for each way, all connected by it."""

    def open_all(daemon):
        windows = {way: window(page(daemon), first=first) for way, first in WAYS.items()}
        for way, each in windows.items():
            wait(each, lambda w, way=way: state(w) == way)
        return windows

    return open_all


def test_the_page_in_the_documentation(make_daemon, window, elsewhere):
    daemon = make_daemon(ANY_ORIGIN)
    html = re.findall(r"```html\n(.*?)```", DOCUMENTATION.read_text(), re.DOTALL)[0]
    html = html.replace("https://chat.example/", daemon.url)
    url = elsewhere("page.html", f'<!doctype html><meta charset="utf-8">{html}')
    windows = [window(url), window(url)]
    for number, each in enumerate(windows, 1):
        each.find_element(By.ID, "text").send_keys(f"number {number}", "\n")
        for other in windows:
            wait(other, lambda w, n=number: len(w.find_elements(By.TAG_NAME, "li")) == n)
            assert other.find_elements(By.TAG_NAME, "li")[-1].text.endswith(f": number {number}")


def test_every_way_leads_to_every_other(make_daemon, visitors):
    windows = visitors(make_daemon(ANY_ORIGIN))
    texts = []
    for number in range(3):
        for way, each in windows.items():
            texts.append(f"{number} by {way}")
            say(each, texts[-1])
            for other in windows.values():
                wait_told(other, texts)


def test_with_a_websocket_that_never_answers_the_first_message_is_soon_there(
    make_daemon, window, page
):
    daemon = make_daemon(ANY_ORIGIN)
    daemon.admin("/api/v1/say", {"room": "lobby", "text": "hello"})
    each = window(page(daemon), first=SILENT_WEBSOCKET)
    wait_told(each, ["hello"])
    assert each.execute_script("return performance.now() - told.since") < 8000
    wait(each, lambda w: state(w) == "stream")  # and on from the poll that brought it
    daemon.admin("/api/v1/say", {"room": "lobby", "text": "and on"})
    wait_told(each, ["hello", "and on"])


def test_code_that_could_not_be_fetched_is_fetched_again(make_daemon, window, page):
    """What only those need who have no WebSocket comes when it is needed, over a bad line."""
    daemon = make_daemon(ANY_ORIGIN)
    each = window("about:blank", first=NO_WEBSOCKET)
    each.execute_cdp_cmd("Network.enable", {})
    each.execute_cdp_cmd("Network.setBlockedURLs", {"urls": ["*/fallbacks.js*"]})
    each.get(page(daemon))
    wait(each, lambda w: w.execute_script("return window.told?.states.includes('waiting')"))
    each.execute_cdp_cmd("Network.setBlockedURLs", {"urls": []})
    wait(each, lambda w: state(w) == "stream")


def test_storage_may_be_forbidden(make_daemon, window, page):
    each = window(page(make_daemon(ANY_ORIGIN)), first=NO_STORAGE)
    wait(each, lambda w: state(w) == "websocket")
    say(each, "hello")
    wait_told(each, ["hello"])


def test_two_windows_of_one_guest_are_one_guest(make_daemon, window, page):
    daemon = make_daemon(ANY_ORIGIN)
    each = window(page(daemon))
    wait(each, lambda w: state(w))
    uids = [each.execute_script("return client.uid")]
    each.switch_to.new_window("window")
    each.get(page(daemon))
    wait(each, lambda w: state(w))
    uids.append(each.execute_script("return client.uid"))
    assert uids[0] == uids[1] != ""
    say(each, "said once")
    for handle in each.window_handles:
        each.switch_to.window(handle)
        wait_told(each, ["said once"])
        assert each.execute_script("return client.rooms.get('lobby').online") == 1


def test_the_daemon_is_killed_and_started(make_daemon, visitors):
    daemon = make_daemon(ANY_ORIGIN)
    windows = visitors(daemon)
    daemon.write_config(listen=f'["127.0.0.1:{daemon.port}"]')
    texts = []
    for number in range(2):
        texts.append(f"before {number}")
        say(windows["websocket"], texts[-1])
        for each in windows.values():
            wait_told(each, texts)
        daemon.kill()
        texts.append(f"said while it was away {number}")
        say(windows["poll"], texts[-1])
        daemon.start()
        for each in windows.values():
            wait_told(each, texts)
    for each in windows.values():
        assert each.execute_script("return told.resets") == 1  # the first join


def test_workers_are_killed_while_all_talk(make_daemon, visitors):
    daemon = make_daemon(ANY_ORIGIN)
    windows = visitors(daemon)
    count = 0
    for number in range(4):
        for way, each in windows.items():
            for part in range(5):
                say(each, f"{way} {5 * number + part}")
                count += 1
        os.kill(daemon.workers()[number % 2], signal.SIGKILL)
        time.sleep(0.5)
    for each in windows.values():
        wait(each, lambda w: len(told(w)) >= count)
    one, *others = [told(each) for each in windows.values()]
    assert all(other == one for other in others)
    for way in windows:  # each sender's order is kept
        assert [t for t in one if t.startswith(way)] == [f"{way} {n}" for n in range(20)]


def test_the_network_is_cut(make_daemon, visitors):
    """The cable to the daemon is pulled out for 5 s, or ``WSD_CUT_S``: nobody is told of it."""
    cut_s = float(os.environ.get("WSD_CUT_S", "5"))
    with Cable() as cable:
        daemon = make_daemon(
            ANY_ORIGIN, prefix=cable.inside, listen=f'["{cable.far}:8002"]', ping__every="4s",
            ping__timeout="2s",
        )  # fmt: skip
        windows = visitors(daemon)
        texts = ["before"]
        say(windows["stream"], "before")
        for each in windows.values():
            wait_told(each, texts)
        cable.pull_out()
        for number in range(5):
            texts.append(f"while it was cut {number}")
            daemon.admin("/api/v1/say", {"room": "lobby", "text": texts[-1]})
            time.sleep(cut_s / 5)
        cable.plug_in()
        for each in windows.values():
            wait_told(each, texts, 60)
        texts.append("after")
        say(windows["poll"], "after")
        for each in windows.values():
            wait_told(each, texts)


@pytest.mark.parametrize("frozen", [False, True], ids=["hidden", "frozen"])
def test_a_page_is_hidden_and_shown_again(make_daemon, visitors, frozen):
    """Frozen is what browsers do with pages that are hidden for long, and phones with all."""
    daemon = make_daemon(ANY_ORIGIN, ping__every="2s", ping__timeout="1s")
    windows = visitors(daemon)
    for each in windows.values():
        each.minimize_window()
        wait(each, lambda w: visibility(w) == "hidden")
        if frozen:
            each.execute_cdp_cmd("Page.setWebLifecycleState", {"state": "frozen"})
    texts = []
    for number in range(6):
        texts.append(f"while it was hidden {number}")
        daemon.admin("/api/v1/say", {"room": "lobby", "text": texts[-1]})
        time.sleep(1)
    for each in windows.values():
        if frozen:
            assert told(each) == []
            each.execute_cdp_cmd("Page.setWebLifecycleState", {"state": "active"})
        each.set_window_rect(width=800, height=600)
        wait(each, lambda w: visibility(w) == "visible")
        wait_told(each, texts)
    for each in windows.values():
        texts.append("seen")
        say(each, "seen")
        for other in windows.values():
            wait_told(other, texts)


def visibility(window):
    return window.execute_script("return document.visibilityState")


@pytest.fixture
def shifted(tmp_path):
    """(environment of a browser, function that shifts its wall clock by seconds)"""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("there is no C compiler for the shim that shifts the clock")
    library, file = tmp_path / "wallclock.so", tmp_path / "shift"
    command = [compiler, "-shared", "-fPIC", "-O2", "-o", str(library), str(SHIM)]
    subprocess.run(command, check=True)
    file.write_bytes(bytes(8))

    def shift(seconds):
        with open(file, "r+b") as out:
            out.write(struct.pack("q", seconds))

    return {**os.environ, "LD_PRELOAD": str(library), "WALLCLOCK": str(file)}, shift


@pytest.mark.parametrize("way", WAYS)
def test_the_clock_of_the_computer_jumps(make_daemon, window, page, shifted, way):
    environ, shift = shifted
    daemon = make_daemon(ANY_ORIGIN, ping__every="2s", ping__timeout="1s")
    each = window(page(daemon), first=WAYS[way], environ=environ)
    wait(each, lambda w: state(w) == way)
    here = time.time()
    texts = []
    for hours in (1, -1, 24 * 365, 0):
        shift(hours * 3600)
        seen = each.execute_script("return Date.now()") / 1000 - here
        assert abs(seen - hours * 3600) < 60  # the shim works
        time.sleep(1)
        texts.append(f"{hours} hours away")
        say(each, texts[-1])
        wait_told(each, texts)
    assert each.execute_script("return told.states").count(way) == 1, "nobody was thrown out"


# Too old for the modules, as wsd.js judges it; the browser itself cannot be made older.
OLD_BROWSER = "delete Array.prototype.findLast;"


def legacy_texts(window):
    return [e.text for e in window.find_elements(By.CSS_SELECTOR, ".wsd-message .wsd-text")]


def wait_legacy_texts(window, texts):
    wait(window, lambda w: len(legacy_texts(w)) >= len(texts))
    assert legacy_texts(window) == texts


def legacy_write(window, text, field=0):
    inputs = window.find_elements(By.CSS_SELECTOR, ".wsd-legacy input")
    inputs[field].clear()
    inputs[field].send_keys(text, "\n")


def test_a_browser_without_modules_has_the_legacy_script(make_daemon, window, elsewhere):
    daemon = make_daemon(ANY_ORIGIN)
    html = f"""<!doctype html><meta charset="utf-8"><title>old</title><body><p>above</p>
        <script async src="{daemon.url}wsd.js" data-room="lobby" data-lang="zh-CN"></script>"""
    windows = [window(url, first=OLD_BROWSER) for url in (elsewhere("old.html", html), daemon.url)]
    expected = []
    for each in windows:
        wait(each, lambda w: w.find_elements(By.CSS_SELECTOR, ".wsd-list"))
    assert windows[0].find_element(By.CSS_SELECTOR, ".wsd-legacy button").text == "发送"
    for number in range(3):
        for each in windows:
            expected.append(f"<b>number {number}</b> of {each.session_id}")
            legacy_write(each, expected[-1])
            for other in windows:
                wait_legacy_texts(other, expected)
    daemon.write_config(listen=f'["127.0.0.1:{daemon.port}"]')
    daemon.kill()
    legacy_write(windows[0], "while it was away")
    daemon.start()
    expected.append("while it was away")
    for each in windows:
        wait_legacy_texts(each, expected)
    legacy_write(windows[0], "Anna", field=1)
    legacy_write(windows[0], "I am Anna")
    wait(windows[1], lambda w: w.find_elements(By.CSS_SELECTOR, ".wsd-name")[-1].text == "Anna")
