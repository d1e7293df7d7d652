"""Texts and ids, and what is said of a command that is not understood."""

from __future__ import annotations

import unicodedata

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsd.chat.schema import AnyCommand, Refuse, cid_or_own, clean_text, misunderstood, room_name


def test_what_no_room_is_called_is_a_bad_command() -> None:
    assert room_name("cafe\u0301") == "café"
    with pytest.raises(Refuse) as caught:
        room_name("a b")
    assert caught.value.code == "bad"


@pytest.mark.parametrize(
    ("raw", "text"),
    [("hi", "hi"), ("  hi \n", "hi"), ("a\r\nb\rc\nd", "a\nb\nc\nd"), ("a\tb", "a\tb"),
     ("a\0b\x1b[2Jc\x7f\x9b\x85d", "ab[2Jcd"), ("<b>&amp;", "<b>&amp;"), ("😀" * 20, "😀" * 20),
     ("x" * 20, "x" * 20)],
)  # fmt: skip
def test_texts_as_they_are_stored(raw: str, text: str) -> None:
    assert clean_text(raw, 20) == text


@pytest.mark.parametrize(
    ("raw", "code"),
    [("", "bad"), (" \n\t ", "bad"), ("\0\x1b", "bad"), ("x" * 21, "too_long"),
     (" " * 21, "too_long"), ("😀" * 21, "too_long")],
)  # fmt: skip
def test_texts_that_are_refused(raw: str, code: str) -> None:
    with pytest.raises(Refuse) as caught:
        clean_text(raw, 20)
    assert caught.value.code == code


@given(st.text(max_size=30))
def test_a_clean_text_has_no_control_characters_and_stays_as_it_is(raw: str) -> None:
    try:
        text = clean_text(raw, 30)
    except Refuse:
        return
    assert clean_text(text, 30) == text
    assert not any(unicodedata.category(c) == "Cc" and c not in "\n\t" for c in text)


def test_ids_of_messages() -> None:
    assert cid_or_own("x", lambda: "own") == "x"
    assert cid_or_own("x" * 64, lambda: "own") == "x" * 64
    assert cid_or_own(None, lambda: "own") == "own"
    for raw in ("", "x" * 65):
        with pytest.raises(Refuse):
            cid_or_own(raw, lambda: "own")


def told(json: bytes) -> dict[str, object]:
    try:
        msgspec.json.decode(json, type=AnyCommand)
    except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
        return misunderstood(json, error)
    raise AssertionError("understood")


@pytest.mark.parametrize(
    ("json", "id_", "part"),
    [
        (b'{"type":"dance","id":7}', 7, "no command 'dance'"),
        (b'{"id":7}', 7, "has a type"),
        (b'{"type":5,"id":7}', 7, "has a type"),
        (b'{"type":"say","id":7,"text":"x"}', 7, "room"),
        (b'{"type":"say","id":7,"room":"a","text":5}', 7, "text"),
        (b'{"type":"say","id":true,"room":"a","text":"b"}', None, ""),
        (b'{"type":"say","id":"7","room":"a","text":"b"}', None, ""),
        (b'{"type":"say","id":1.5,"room":"a","text":"b"}', None, ""),
        (b"[1]", None, "one JSON object"),
        (b"", None, "one JSON object"),
        (b"hello", None, "one JSON object"),
        (b'{"type":"say"', None, "one JSON object"),
        (b"[" * 100_000, None, "one JSON object"),
        (b'{"type":"x","y":' + b"[" * 100_000, None, "one JSON object"),
        (b'{"type":"' + b"x" * 5000 + b'"}', None, "x" * 40),
    ],
)
def test_what_is_said_of_a_command_that_is_not_understood(
    json: bytes, id_: int | None, part: str
) -> None:
    answer = told(json)
    assert (answer["type"], answer["code"], answer.get("id")) == ("error", "bad", id_)
    assert part in str(answer["message"])
    assert len(str(answer["message"])) < 200
