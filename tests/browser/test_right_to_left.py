"""Arabic in Chromium: mirrored, measured in pixels, and nothing reaches over an edge."""

from __future__ import annotations

from tests.browser.boxes import ANY_ORIGIN, Box, complaints, foreign_site, tag
from tests.browser.test_page import say, shown, wait, wait_online

OWN, OTHER = "رسالة مني", "رسالة من غيري"

# Every part of the frame that is seen has to be inside of it.
OVER_THE_EDGE = """
const frame = root.querySelector('.wsd').getBoundingClientRect();
const unseen = '.sr, .skip, .joined > .who, .own > .who';
return [...root.querySelectorAll('.wsd *')].filter(e => {
  const box = e.getBoundingClientRect();
  if (!box.width || getComputedStyle(e).visibility === 'hidden' || e.closest(unseen)) return false;
  return box.left < frame.left - 0.5 || box.right > frame.right + 0.5;
}).map(e => e.tagName + '.' + e.className);
"""

PLACES = """
const one = s => root.querySelector(s);
const at = s => { const box = one(s).getBoundingClientRect(); return [box.left, box.right]; };
const corners = s => {
  const style = getComputedStyle(one(s));
  return ['TopLeft', 'TopRight', 'BottomRight', 'BottomLeft']
    .map(corner => parseFloat(style[`border${corner}Radius`]));
};
const other = '.message:not(.own) > ';
return {
  column: at('.column'), own: at('.own > .bubble'), other: at(other + '.bubble'),
  seal: at(other + '.seal'), send: at('#send'), text: at('#text'), room: at('.bar .where'),
  people: at('#people'), opener: at('#people-open'), chat: at('#chat'),
  corners: ['.own > .bubble', other + '.bubble', other + '.seal', '.field'].map(corners),
};
"""


def resize(window, width, height):
    window.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500},
    )
    wait(window, lambda w: w.execute_script("return innerWidth") == width)


def run(window, script):
    return window.execute_script(f"const root = document; {script}")


def wait_inside(window, width):
    """Nothing is seen outside; what slides out of sight takes a moment."""
    wait(window, lambda w: run(w, OVER_THE_EDGE) == [])
    assert run(window, "return document.documentElement.scrollWidth") <= width


def check_places(found, wide):
    left, right = found["column"]
    # One's own stand at the end of the line, which is the left; others' and their sign do not.
    assert found["own"][0] - left < right - found["own"][1]
    assert right - found["other"][1] < found["other"][0] - left
    assert found["other"][1] <= found["seal"][0] < right
    assert found["send"][1] <= found["text"][0]
    # The one sharp corner of each shape: at the bottom left, top right, and twice bottom right.
    sharp = [corners.index(min(corners)) for corners in found["corners"]]
    assert sharp == [3, 1, 2, 2]
    if wide:
        assert found["people"][1] <= found["chat"][0] + 1
    else:
        assert found["opener"][1] <= found["room"][0]


def test_the_page_is_mirrored(daemon, window):
    daemon.admin("/api/v1/say", {"room": "lobby", "text": OTHER})
    ann = window(daemon.url, language="ar")
    wait_online(ann)
    say(ann, OWN)
    wait(ann, lambda w: shown(w) == [OTHER, OWN])
    html = ann.find_element("css selector", "html")
    assert (html.get_attribute("lang"), html.get_attribute("dir")) == ("ar", "rtl")
    assert "إرسال" in ann.find_element("id", "send").get_attribute("textContent")
    for width, height in ((1280, 800), (360, 740)):
        resize(ann, width, height)
        wide = width > 900
        wait(ann, lambda w, wide=wide: run(w, "return !root.querySelector('.narrow')") == wide)
        check_places(run(ann, PLACES), wide)
        wait_inside(ann, width)
    ann.find_element("id", "people-open").click()
    place = "return root.querySelector('#people').getBoundingClientRect().left"
    wait(ann, lambda w: run(w, place) == 0)
    wait_inside(ann, 360)
    ann.find_element("id", "people-close").click()
    check_directions(ann)
    assert complaints(ann) == []


def check_directions(ann):
    """Names and texts keep their own direction."""
    wait(ann, lambda w: run(w, "return !root.querySelector('.people-shown')"))
    say(ann, "hello (world)!")
    wait(ann, lambda w: shown(w)[-1] == "hello (world)!")
    texts = run(ann, "return [...root.querySelectorAll('[data-seq] .text')]"
                ".map(e => [e.textContent, getComputedStyle(e).direction])")  # fmt: skip
    assert texts[-2:] == [[OWN, "rtl"], ["hello (world)!", "ltr"]]
    loose = run(ann, "return [...root.querySelectorAll('.name, .room > bdi, #name-shown')]"
                ".filter(e => !getComputedStyle(e).unicodeBidi.includes('isolate'))"
                ".map(e => e.outerHTML)")  # fmt: skip
    assert loose == []


def test_the_bubble_is_at_the_left(make_daemon, window):
    chat = make_daemon(ANY_ORIGIN)
    with foreign_site() as site:
        page = site.page("arabic.html", tag(chat.url, mode="bubble", room="lobby", lang="ar-EG"))
        ann = window(page, size=(1280, 740))
        for width in (1280, 360):
            resize(ann, width, 740)
            ann.get(page)
            check_bubble(ann, width)


def check_bubble(ann, width):
    box = Box(ann)
    button = box.part(".bubble-open")
    before = button.rect
    assert before["x"] + before["width"] < width / 2
    assert button.value_of_css_property("border-bottom-left-radius") == "8px"
    button.click()
    box.online()
    assert box.part(".wsd").get_attribute("dir") == "rtl"
    panel = box.part(".wsd").rect
    if width > 900:
        assert button.rect == before
        assert panel["x"] + panel["width"] < width / 2
    else:
        assert (panel["x"], panel["width"]) == (0, width)
    box.wait(lambda: box.run(OVER_THE_EDGE) == [])
    assert ann.execute_script("return document.documentElement.scrollWidth") <= width
