"""Texts that want to be more than text: as names, messages and rooms, in each page that shows them.

The corpus is hostile_texts.json, sorted by what is attacked; a run is written as [piece, times].
"""

from __future__ import annotations

import json
import re
import unicodedata
import urllib.error
import urllib.request
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import pytest
from selenium.webdriver.support.ui import WebDriverWait

from tests.browser.boxes import Box, complaints, foreign_site, tag
from tests.support.clients import V1

ROOM = "hostile"
CORPUS = [
    (attacks, text if isinstance(text, str) else "".join(piece * times for piece, times in text))
    for attacks, texts in json.loads(
        Path(__file__).with_name("hostile_texts.json").read_text()
    ).items()
    for text in texts
]
PRESENT = 95
"""Visitors with names that were taken: at most 100 are named in the list of who is here."""
TALLEST_PX = 640

# Whatever runs, opens or leads away leaves a trace.
TRIPWIRE = """
window.tripped = [];
window.trip = (...words) => tripped.push(`ran ${words}`);
for (const name of ['alert', 'confirm', 'prompt', 'print', 'open'])
  window[name] = (...words) => tripped.push(`${name} ${words}`);
document.addEventListener('securitypolicyviolation', e => tripped.push(`policy ${e.blockedURI}`));
window.addEventListener('error', e => tripped.push(`error ${e.message}`), true);
"""

# Of each row: who, what, how high, and what is wrong with it.
ROWS = r"""
const [listed, tags, rows, who, what] = arguments;
const list = root.querySelector(listed).getBoundingClientRect();
const known = new Set(tags.split(' '));
const words = e => [...e.childNodes]
  .map(n => n.nodeName === 'BR' ? '\n' : n.nodeType === 3 ? n.data : words(n)).join('');
// What is seen of an element: not more than the elements around it let through.
const seen = (e, row) => {
  let { left, right } = e.getBoundingClientRect();
  if (e !== row) for (let p = e.parentElement; ; p = p.parentElement) {
    const box = p.getBoundingClientRect();
    if (getComputedStyle(p).overflowX !== 'visible') {
      left = Math.max(left, box.left);
      right = Math.min(right, box.right);
    }
    if (p === row) break;
  }
  return { left, right };
};
let bottom = -1e9;
return [...root.querySelectorAll(rows)].map(row => {
  const wrong = [];
  for (const e of [row, ...row.querySelectorAll('*')]) {
    const { left, right } = seen(e, row);
    if (!known.has(e.tagName)) wrong.push(`an element ${e.tagName}`);
    for (const { name } of e.attributes) if (/^on|^src/.test(name)) wrong.push(`attribute ${name}`);
    if (e.href && !/^https?:[^@]*$/.test(e.href)) wrong.push(`a link to ${e.href}`);
    if (right > left && (left < list.left - 1 || right > list.right + 1))
      wrong.push(`${e.tagName} ${e.className} over the edge`);
  }
  if (row.scrollWidth > row.clientWidth + 1 && getComputedStyle(row).overflowX === 'visible')
    wrong.push(`flows over by ${row.scrollWidth - row.clientWidth}`);
  const box = row.getBoundingClientRect();
  if (box.top < bottom - 1) wrong.push('lies upon the row before');
  bottom = box.bottom;
  const [name, text] = [who, what].map(each => words(row.querySelector(each)));
  return [name, text, box.height, wrong];
});
"""
IN_THE_BOX = ("#log", "ARTICLE SPAN P BDI DIV TIME BUTTON A B", "[data-seq]", ".who .name", ".text")
IN_THE_PLAIN_PAGE = ("ul", "LI B BDI TIME I BR SPAN", "li", "b", "span")


class Said(NamedTuple):
    name: str | None
    """As the daemon took it; None if it did not."""
    text: str | None


def as_stored(text: str) -> str:
    """What is to be shown: one kind of line end, no control characters, no space around."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return "".join(c for c in text if c in "\n\t" or unicodedata.category(c) != "Cc").strip()


def has_surrogates(text: str) -> bool:
    return any("\ud800" <= c <= "\udfff" for c in text)


def ask(visitor: V1, text_: str, type_: str, **fields: object) -> dict:
    """The answer to a command with the text.  What is no UTF-8 is no command, and has no id."""
    if not has_surrogates(text_):
        return visitor.ask(type_, **fields)
    visitor.send(type_, **fields)
    return visitor.take("error")


class Crowd:
    """Everybody in the corpus comes and speaks, each answering the one before; who has no name that
    may be, or finds the list of who is here full, has it said by somebody else."""

    def __init__(self, daemon) -> None:
        self.daemon = daemon
        self.said: list[Said] = []
        self.present: list[V1] = []
        self._speaker, _ = self._come("Somebody else", ROOM)
        self._last: int | None = None

    def _come(self, name: str, room: str) -> tuple[V1, dict]:
        visitor = V1(self.daemon.ws(f"/chat?room={room}"))
        self.present.append(visitor)
        return visitor, ask(visitor, name, "hello", name=name, rooms={room: None})

    def speak(self, text: str) -> None:
        room = ROOM if len(self.present) < PRESENT else "elsewhere"
        visitor, answer = self._come(text, room)
        name = answer["name"] if answer["type"] == "welcome" and room == ROOM else None
        if answer["type"] == "error":
            assert answer["code"] == ("bad" if has_surrogates(text) else "name_bad"), (text, answer)
            self.present.pop().peer.close()
        reply = {} if self._last is None else {"reply_to": self._last}
        speaker = self._speaker if name is None else visitor
        told = ask(speaker, text, "say", room=ROOM, text=text, **reply)
        if told["type"] == "error":
            assert told["code"] == "bad", (text, told)
            assert has_surrogates(text) or not as_stored(text), text
            self.said.append(Said(name, None))
        else:
            self.said.append(Said(name, as_stored(text)))
            self._last = told["seq"]

    @property
    def names(self) -> list[str]:
        return ["Somebody else", *(one.name for one in self.said if one.name is not None)]


@pytest.fixture
def crowd(make_daemon):
    found = Crowd(make_daemon('origins: ["*"]\nhistory: {replay: 400}\n'))
    for _, text in CORPUS:
        found.speak(text)
    yield found
    for visitor in found.present:
        visitor.peer.close()


def problems(rows, said, tallest=TALLEST_PX) -> list[tuple]:
    """What is not as it should be, each with its text."""
    expected = [one for one in said if one.text is not None]
    found = []
    assert len(rows) == len(expected)
    for (name, text, height, wrong), one in zip(rows, expected, strict=True):
        if text != one.text:
            wrong.append(f"shown as {text[:80]!r}")
        if one.name is not None and name != one.name:
            wrong.append(f"name shown as {name!r}")
        if height > tallest:
            wrong.append(f"{height} px high")
        if wrong:
            found.append((one.text[:40], sorted(set(wrong))))
    return found


def nothing_ran(window, title: str) -> None:
    assert window.execute_script("return tripped") == []
    assert window.title == title
    assert complaints(window) == []
    outside = "return performance.getEntriesByType('resource').map(e => e.name)"
    assert [name for name in window.execute_script(outside) if "://127.0.0.1:" not in name] == []


def test_the_corpus() -> None:
    texts = [text for _, text in CORPUS]
    assert len(set(texts)) == len(texts) >= 100
    assert max(map(len, texts)) <= 1000


def test_all_are_shown_as_text_and_nothing_more(crowd, window):
    daemon, said = crowd.daemon, crowd.said
    spoken = sum(one.text is not None for one in said)
    assert len(crowd.names) > 60
    ann = window("about:blank", first=TRIPWIRE, size=(360, 740))
    # The page, whose policy would stop a script; the box, in a page without a policy.
    ann.get(f"{daemon.url}r/{ROOM}")
    count = "return document.querySelectorAll('[data-seq]').length"
    WebDriverWait(ann, 20).until(lambda w: w.execute_script(count) == spoken)
    script = f"const root = document; {ROWS}"
    wrong = {"page, 360 px": problems(ann.execute_script(script, *IN_THE_BOX), said)}
    nothing_ran(ann, f"{ROOM} · wsd")
    check_ink(ann)
    check_people(ann, crowd.names)
    with foreign_site() as site:
        ann.get(site.page("box.html", tag(daemon.url, room=ROOM)))
        resize(ann, 1280, 800)
        box = Box(ann).online()
        box.wait(lambda: len(box.all("[data-seq]")) == spoken)
        wrong["box, 1280 px"] = problems(box.run(ROWS, *IN_THE_BOX), said)
        nothing_ran(ann, "A shop")
        check_tripwire(ann)
    resize(ann, 360, 740)
    rows, address = [], f"{daemon.url}plain/{ROOM}?still"
    while address:
        ann.get(address)
        rows = [*reversed(ann.execute_script(script, *IN_THE_PLAIN_PAGE)), *rows]
        nothing_ran(ann, f"{ROOM} · wsd")
        older = ann.find_elements("css selector", '.ways a[href*="before="]')
        address = older[0].get_attribute("href") if older else ""
    wrong["plain page, 360 px"] = problems(rows, said)
    assert [(where, *each) for where, found in wrong.items() for each in found] == []


def check_tripwire(ann):
    """It would have noticed: here somebody does parse what was said."""
    ann.execute_script(
        "for (const text of arguments[0]) document.body.insertAdjacentHTML('beforeend', text)",
        [text for attacks, text in CORPUS if attacks == "an event handler"],
    )
    ran = "return tripped.filter(each => each.startsWith('ran')).length"
    WebDriverWait(ann, 5).until(lambda w: w.execute_script(ran) >= 4)
    ann.get("about:blank")  # nothing more of it is to come
    complaints(ann)


def check_people(ann, named):
    """Every name stands in the list of who is here, on a line of its own."""
    people = ann.execute_script(
        "const list = document.querySelector('#people-list');"
        "return [[...list.children].map(e => [e.querySelector('.name').textContent,"
        "e.getBoundingClientRect().height]), list.scrollWidth - list.clientWidth];"
    )
    names = [name for name, _ in people[0]]
    assert sorted(names[1:]) == sorted(named)
    assert max(height for _, height in people[0]) <= 100
    assert people[1] <= 0


def check_ink(ann):
    """A pile of accents is not drawn over its neighbours."""
    place = ann.execute_script(
        "const row = [...document.querySelectorAll('.text')]"
        ".find(e => /^Z\\u0300/.test(e.textContent)).closest('.message');"
        # What the neighbours pile up themselves is not what is looked at.
        "for (const e of document.querySelectorAll('.text')) if (!row.contains(e))"
        " e.style.color = 'transparent';"
        "row.scrollIntoView({block: 'center'}); row.id = 'pile';"
        "const box = row.querySelector('.bubble').getBoundingClientRect();"
        "return {x: 0, width: innerWidth, top: box.top, bottom: box.bottom};"
    )

    def around():
        clips = [
            {"x": 0, "y": place["top"] - 80, "width": place["width"], "height": 76, "scale": 1},
            {"x": 0, "y": place["bottom"] + 4, "width": place["width"], "height": 76, "scale": 1},
        ]
        return [
            ann.execute_cdp_cmd("Page.captureScreenshot", {"format": "png", "clip": clip})["data"]
            for clip in clips
        ]

    drawn = around()
    ann.execute_script("document.querySelector('#pile .text').style.visibility = 'hidden'")
    assert around() == drawn


def resize(window, width, height):
    window.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500},
    )


# ------------------------------------------------------------------ names of rooms


UNSEEN = set("\u115f\u1160\u3164\uffa0\ufe0e\ufe0f")
"""Letters and marks by their category, and yet nothing to see."""


def may_be_a_room(text: str) -> bool:
    name = unicodedata.normalize("NFC", text)
    kinds = "".join("m" if unicodedata.category(c) in ("Mn", "Mc") else
                    "l" if c.isalpha() else "." if c.isalnum() or c in "._~-" else "?"
                    for c in name)  # fmt: skip
    fits = 1 <= len(name) <= 64 and name not in (".", "..")
    return fits and not set(name) & UNSEEN and bool(re.fullmatch(r"(lm{0,2}|\.)+", kinds))


def test_as_names_of_rooms(make_daemon, window):
    daemon = make_daemon('origins: ["*"]\n', limits__rooms_per_connection=100)
    visitor = V1(daemon.ws("/chat?room=lobby"))
    visitor.ask("hello", rooms={"lobby": None})
    rooms = []
    for _, text in CORPUS:
        answer = ask(visitor, text, "join", room=text, after=None)
        if may_be_a_room(text):
            assert answer["type"] == "ok", (text, answer)
            rooms.append(text)
        else:
            assert answer["code"] == "bad", (text, answer)
            if not has_surrogates(text):
                check_refused(daemon, text)
    assert len(rooms) >= 15
    for room in rooms:
        visitor.ask("say", room=room, text=f"this is {unicodedata.normalize('NFC', room)}")
    check_rooms(daemon, window, rooms)


def check_refused(daemon, text: str) -> None:
    """Pages that there cannot be say so, and nothing of what was asked for."""
    for path in ("r", "plain"):
        address = f"{daemon.url}{path}/{quote(text, safe='')}"
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(address, timeout=10)
        assert 400 <= refused.value.code < 500, (text, refused.value.code)
        assert "html" not in refused.value.headers["Content-Type"]
        assert b"trip" not in refused.value.read()


def check_rooms(daemon, window, rooms) -> None:
    """Each is a room like any other: a box of each in one page."""
    places = "".join(tag(daemon.url, room=room) for room in rooms)
    with foreign_site() as site:
        small = "<style>wsd-chat{--wsd-height:15rem}</style>"
        page = site.page("rooms.html", places, head=small)
        ann = window("about:blank", first=TRIPWIRE, size=(500, 260 * len(rooms)))
        ann.get(page)
        for index in range(len(rooms)):
            box = Box(ann, index).online()
            box.wait(lambda box=box: box.shown)
            title = box.run("return root.querySelector('.room bdi').textContent")
            assert box.shown == [f"this is {title}"]
        nothing_ran(ann, "A shop")
