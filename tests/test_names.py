"""Names that rooms and guests may have."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsd.names import NameProblem, guest_name, room_name


@pytest.mark.parametrize(
    ("raw", "name"),
    [("lobby", "lobby"), ("a.b~c-d_e", "a.b~c-d_e"), ("聊天", "聊天"), ("cafe\u0301", "café"),
     ("x" * 64, "x" * 64), ("...", "..."), ("e\u0301" * 64, "é" * 64),
     ("चर्चा", "चर्चा"), ("ห้องแชท", "ห้องแชท"), ("ক্ৰীড়া", unicodedata.normalize("NFC", "ক্ৰীড়া")),
     ("x\u0302\u0323", "x\u0323\u0302")],
)  # fmt: skip
def test_names_of_rooms(raw: str, name: str) -> None:
    assert room_name(raw) == name


@pytest.mark.parametrize(
    "raw",
    ["", ".", "..", "a b", "a/b", "a\\b", "a%2fb", "x" * 65, "a\n", "a\0", "a\u202eb", "a\u200bb",
     "<script>", '"', "'", "x" * 10**6, "a?b", "a#b", "😀", "lobby\ud800",
     "\u3164\u3164", "lobby\u115f", "\u1160", "a\uffa0b",
     "\u0302x", "1\u0302", ".\u0302", "x" + "\u0336" * 3, "x\u034f", "x\ufe0f", "x\U000e0101",
     "क\u200dष", "x\u20dd", "चर्चा" * 13],
)  # fmt: skip
def test_what_no_room_is_called(raw: str) -> None:
    with pytest.raises(NameProblem):
        room_name(raw)


@given(st.text(st.characters(categories=["L", "M", "N", "P"]), max_size=20))
def test_a_room_name_stays_as_it_is(raw: str) -> None:
    try:
        name = room_name(raw)
    except NameProblem:
        return
    assert room_name(name) == name


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        ("Ann", "Ann"),
        ("  Ann   Lee ", "Ann Lee"),
        ("Ａｎｎ", "Ann"),
        ("ﬁfi", "fifi"),
        ("张伟", "张伟"),
        ("e\u0301le\u0300ve", "élève"),
        ("Ann\tLee\n", "Ann Lee"),
        ("👩 Ann", "👩 Ann"),
        ("❤\ufe0f Ann", "❤\ufe0f Ann"),
        ("<b>Ann", "<b>Ann"),
        ("x" * 24, "x" * 24),
        ("नमस्ते", "नमस्ते"),
        ("ข้าว", "ข้าว"),
    ],
)
def test_names_as_they_will_be_shown(raw: str, clean: str) -> None:
    assert guest_name(raw) == clean
    assert guest_name(clean) == clean


@pytest.mark.parametrize(
    "raw",
    ["", " ", "x", "x" * 25, "x" * 100_000, "Ann\0", "Ann\x1b[2J", "Ann\x7f", "Ann\x9b",
     "\u202eAnn", "Ann\u200b", "A\u200dnn", "\ufeffAnn", "Ann\u2066x", "Ann\u00ad", "Ann\ue000",
     "Ann\U000e0041", "Ann\u0378", "a" + "\u0301" * 9, "Z\u0336\u0310\u0313a", "ﷺ" * 3,
     "\u3164\u3164", "Ann\u115f", "\u2800\u2800\u2800", "A\u034fn", "\uffa0\uffa0",
     "Ann\ufe0f", "4nn4\ufe0e", "Ann\U000e0101", "Ann.\ufe0f", "An\u030a\u0323\ufe0f",
     "\ufe0fAnn", "Ann+\ufe0f", "❤\ufe0f\ufe0f Ann"],
)  # fmt: skip
def test_names_that_nobody_may_take(raw: str) -> None:
    with pytest.raises(NameProblem):
        guest_name(raw)


@given(st.text(max_size=60))
def test_a_guest_name_stays_as_it_is(raw: str) -> None:
    try:
        name = guest_name(raw)
    except NameProblem:
        return
    assert guest_name(name) == name
    assert len(name.splitlines()) == 1
