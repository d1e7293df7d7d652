"""The languages of the interface: each says the same things, and the setting offers each.

Which plural forms a language needs is asked of the browser's own rules in tests/web/words.test.mjs.
"""

from __future__ import annotations

import json
import re
from importlib.resources import files
from pathlib import Path

import pytest

from wsd.config import LANGUAGES
from wsd.transports.assets import make_asset
from wsd.transports.lean import lean
from wsd.transports.pages import match_language

WEB = Path(str(files("wsd") / "web"))
WORDS = {path.stem: json.loads(path.read_text()) for path in (WEB / "lang").glob("*.json")}
OTHERS = [language for language in LANGUAGES if language != "en"]
CATEGORIES = ("zero", "one", "two", "few", "many", "other")
COUNTED = [key.removesuffix("_other") for key in WORDS["en"] if key.endswith("_other")
           and f"{key.removesuffix('_other')}_one" in WORDS["en"]]  # fmt: skip

SCRIPTS = {
    "zh-CN": "[\u4e00-\u9fff]", "zh-TW": "[\u4e00-\u9fff]", "ja": "[\u3040-\u30ff\u4e00-\u9fff]",
    "ko": "[\uac00-\ud7af]", "ru": "[\u0400-\u04ff]", "ar": "[\u0600-\u06ff]",
    "hi": "[\u0900-\u097f]",
}  # fmt: skip
SAME_IN_ENGLISH = {
    "es": set(),
    "fr": {"messages", "text_label", "plain_text", "role_admin"},
    "de": {"state_online", "emoji"},
    "pt-BR": {"state_online"},
}
ONLY_SIMPLIFIED = "发讯线请时间开关网页闭输载编辑删储后显这连断"
ONLY_TRADITIONAL = "發訊線請時間開關網頁閉輸載編輯刪儲後顯這連斷"


def test_the_setting_offers_each_file() -> None:
    assert set(LANGUAGES) == set(WORDS)


@pytest.mark.parametrize("language", LANGUAGES)
def test_same_words(language: str) -> None:
    assert list(dict.fromkeys(map(family, WORDS[language]))) == list(
        dict.fromkeys(map(family, WORDS["en"]))
    )
    for key, text in WORDS[language].items():
        assert text.strip() == text != "", key
        # "one message" and "two messages" may be words of their own.
        if family(key) == key or not key.endswith(("_zero", "_one", "_two")):
            assert placeholders(text) == placeholders(WORDS["en"][in_english(key)]), key
        else:
            assert placeholders(text) <= {"{n}"}, key


def family(key: str) -> str:
    """The word without its plural category."""
    stem, _, category = key.rpartition("_")
    return stem if category in CATEGORIES and stem in COUNTED else key


def in_english(key: str) -> str:
    return key if family(key) == key else f"{family(key)}_other"


def placeholders(text: str) -> set[str]:
    return set(re.findall(r"\{[^}]*\}", text))


@pytest.mark.parametrize("language", OTHERS)
def test_nothing_is_left_in_english(language: str) -> None:
    words = {key: text for key, text in WORDS[language].items() if key != "direction"}
    if language in SCRIPTS:
        foreign = [key for key, text in words.items() if not re.search(SCRIPTS[language], text)]
        assert foreign == []
    else:
        same = {key for key, text in words.items() if text == WORDS["en"].get(key)}
        assert same == SAME_IN_ENGLISH[language]


def test_the_two_ways_to_write_chinese_are_not_mixed() -> None:
    simplified, traditional = (set("".join(WORDS[lang].values())) for lang in ("zh-CN", "zh-TW"))
    assert not simplified & set(ONLY_TRADITIONAL)
    assert not traditional & set(ONLY_SIMPLIFIED)


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_a_box_fetches_of_a_language(language: str) -> None:
    """Letters of other scripts take two or three bytes each; the rest of the box is the same."""
    small = lean(f"{language}.json", (WEB / "lang" / f"{language}.json").read_text())
    assert len(make_asset("words.json", small).packed) <= 2500


def test_the_direction_of_writing() -> None:
    assert {lang for lang, words in WORDS.items() if words["direction"] == "rtl"} == {"ar"}
    assert {words["direction"] for words in WORDS.values()} == {"ltr", "rtl"}


def test_every_word_is_used() -> None:
    """By its name, or by the beginning of it: errors and roles are looked up by what they are."""
    source = "".join(
        path.read_text() for path in WEB.rglob("*") if path.suffix in (".js", ".html")
    ) + "".join(path.read_text() for path in WEB.parent.rglob("*.py"))
    for key in WORDS["en"]:
        looked_up = key.startswith(("error_", "reason_", "role_", "state_"))
        assert looked_up or re.search(rf"\b{family(key)}\b", source), key


@pytest.mark.parametrize(
    ("tag", "language"),
    [("en-gb", "en"), ("zh", "zh-CN"), ("zh-hans-sg", "zh-CN"), ("xx", None), ("", None),
     ("enx", None), ("zh-hant", "zh-TW"), ("zh-hk", "zh-TW"), ("zh-hant-hk", "zh-TW"),
     ("zh-mo", "zh-TW"), ("zh-sg", "zh-CN"), ("pt", "pt-BR"), ("pt-pt", "pt-BR"),
     ("es-419", "es"), ("fr-ca", "fr"), ("de-at", "de"), ("ru-ua", "ru"), ("ja-jp", "ja"),
     ("ko-kr", "ko"), ("ar-eg", "ar"), ("hi-in", "hi"), ("hit", None)],
)  # fmt: skip
def test_the_language_of_a_tag(tag: str, language: str | None) -> None:
    assert match_language(tag) == language
