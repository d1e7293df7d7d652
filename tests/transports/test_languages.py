"""The languages of the interface: each says the same things, and the setting offers each."""

from __future__ import annotations

import json
import re
from importlib.resources import files
from pathlib import Path

import pytest

from wsd.config import LANGUAGES
from wsd.transports.pages import match_language

WEB = Path(str(files("wsd") / "web"))
WORDS = {path.stem: json.loads(path.read_text()) for path in (WEB / "lang").glob("*.json")}


def test_the_setting_offers_each_file() -> None:
    assert set(LANGUAGES) == set(WORDS)


@pytest.mark.parametrize("language", LANGUAGES)
def test_same_words(language: str) -> None:
    assert list(WORDS[language]) == list(WORDS["en"])
    for key, text in WORDS[language].items():
        assert text.strip() == text != "", key
        assert placeholders(text) == placeholders(WORDS["en"][key]), key


def placeholders(text: str) -> set[str]:
    return set(re.findall(r"\{\w+\}", text))


def test_every_word_is_used() -> None:
    """By its name, or by the beginning of it: errors and roles are looked up by what they are."""
    source = "".join(
        path.read_text() for path in WEB.rglob("*") if path.suffix in (".js", ".html")
    ) + "".join(path.read_text() for path in WEB.parent.rglob("*.py"))
    for key in WORDS["en"]:
        stem = re.sub("_(one|other)$", "", key)
        looked_up = key.startswith(("error_", "reason_", "role_", "state_"))
        assert looked_up or re.search(rf"\b{stem}\b", source), key


@pytest.mark.parametrize(
    ("tag", "language"),
    [("en-gb", "en"), ("zh", "zh-CN"), ("zh-hans-sg", "zh-CN"), ("xx", None), ("", None),
     ("enx", None)],
)  # fmt: skip
def test_the_language_of_a_tag(tag: str, language: str | None) -> None:
    assert match_language(tag) == language
