"""The style sheets know the beginning and the end of a line, not left and right."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path

import pytest

WEB = Path(str(files("wsd") / "web"))

PHYSICAL = [
    r"(?:margin|padding|border|inset|scroll-\w+)-(?:left|right)\b",
    r"border-(?:top|bottom)-(?:left|right)-radius",
    r"(?:^|[;{\s])(?:left|right):",
    r"(?:text-align|float|clear|justify-\w+):\s*(?:left|right)\b",
    # Four sides or corners in one, of which the second and the last differ.
    r"(?:margin|padding|inset|border-radius):\s*[^\s;]+ ([^\s;]+) [^\s;]+ (?!\1)[^\s;]+;",
    # Three corners: the second stands for two that lie across.
    r"border-radius:\s*[^\s;]+ [^\s;]+ [^\s;]+;",
]


@pytest.mark.parametrize("sheet", sorted(WEB.glob("*.css")), ids=lambda path: path.name)
def test_no_left_and_no_right(sheet: Path) -> None:
    text = re.sub(r"/\*.*?\*/|env\([^)]*\)", "", sheet.read_text(), flags=re.DOTALL)
    for pattern in PHYSICAL:
        assert not re.search(pattern, text, re.MULTILINE), pattern
    # Where only left and right exist, a factor turns them round.
    for moved in re.findall(r"translateX\(.*|inset [^;]*px[^;]* 0 0 ", text):
        assert "var(--forward)" in moved


@pytest.mark.parametrize(
    "style",
    ["margin-left: 1px", "a { right: 0 }", "text-align: left", "border-radius: 1px 2px 3px;",
     "inset: 0 auto auto 1px;", "border-top-left-radius: 1px"],
)  # fmt: skip
def test_the_patterns_find_what_they_are_for(style: str) -> None:
    assert any(re.search(pattern, style, re.MULTILINE) for pattern in PHYSICAL)
