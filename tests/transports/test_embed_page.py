"""docs/embed.md names what a tag can say and what a style sheet can set: all of it, and no more."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path

import jinja2

from wsd.config import LANGUAGES

WEB = Path(str(files("wsd") / "web"))
PAGE = (Path(__file__).resolve().parents[2] / "docs" / "embed.md").read_text()
LOADER, BOX, STYLES = ((WEB / name).read_text() for name in ("wsd.js", "box.js", "chat.css"))
ROWS = [[cell.strip() for cell in line.strip("|").split(" | ")]
        for line in PAGE.splitlines() if line.startswith("| `")]  # fmt: skip


def test_the_attributes() -> None:
    read = set(re.findall(r'option\("([a-z-]+)"', LOADER))
    for name in re.findall(r"\bdata\.(\w+)", BOX):
        read.add(re.sub("[A-Z]", lambda match: f"-{match[0].lower()}", name))
    told = {row[0].strip("`").removeprefix("data-") for row in ROWS if row[0].startswith("`data-")}
    assert told == read


def test_the_modes() -> None:
    (modes,) = re.findall(r"const FORMS = \{([^}]*)\}", BOX)
    (row,) = [row for row in ROWS if row[0] == "`data-mode`"]
    assert set(re.findall(r"`(\w+)`: ", row[1])) == set(re.findall(r"(\w+):", modes))


def test_the_languages() -> None:
    (row,) = [row for row in ROWS if row[0] == "`data-lang`"]
    assert tuple(re.findall("`([^`]+)`", row[1].partition(";")[0])) == LANGUAGES


def test_the_properties_and_what_they_are_without() -> None:
    found = dict(re.findall(r"var\(--wsd-([\w-]+), ?([^()]+|var\(--sans\))\)", LOADER + STYLES))
    told = {}
    for row in ROWS:
        name = row[0].strip("`").removeprefix("--wsd-")
        if len(row) == 4:
            told[name], told[f"dark-{name}"] = row[1].strip("`"), row[2].strip("`")
        elif row[0].startswith("`--wsd-"):
            told[name] = row[1].strip("`")
    assert told.pop("font") == "the system's"
    assert found.pop("font") == "var(--sans)"
    assert told == found


def test_a_template_of_flask_lets_nothing_out_of_its_attribute() -> None:
    (template,) = re.findall(r"^```jinja\n(.*?)^```$", PAGE, re.S | re.M)
    made = jinja2.Environment(autoescape=True).from_string(template)
    html = made.render(product={"slug": "red-shoe"}, user={"name": '"><script>alert(1)</script>'})
    assert 'data-room="product-red-shoe"' in html
    assert html.count("<script") == 1
