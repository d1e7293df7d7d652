"""What rooms and guests may be called."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

GUEST_LENGTH = (2, 24)
ROOM_BOUNDS = "1 to 64 letters, digits, or _ . ~ -"

_ROOM = re.compile(r"[\w.~-]{1,64}")
# A mark belongs to the letter before it: Hindi and Thai words are hardly written without any.
# Two are enough for each of them; more are a pile.
_MAX_MARKS = 2
_MARKS = ("Mn", "Mc")
# Letters, marks and symbols that show nothing: Hangul, Khmer and Khitan fillers, the empty Braille
# cell, the grapheme joiner, Mongolian variants, the null notehead.
_BLANK = frozenset(
    "\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0\U00016fe4\U0001d159"
)
_VARIANTS = re.compile("[\ufe00-\ufe0f\U000e0100-\U000e01ef]")


class NameProblem(ValueError):
    """A name that nobody may have; the text says why."""


def room_name(raw: str) -> str:
    """``raw`` in NFC, one object for all who ask for the same.  Raises NameProblem."""
    return _room_name(raw[:200])


@lru_cache(maxsize=4096)
def _room_name(raw: str) -> str:
    name = unicodedata.normalize("NFC", raw)
    if name.isascii():
        good = _ROOM.fullmatch(name) is not None and name not in (".", "..")
    else:
        good = len(name) <= 64 and _is_room(name)
    if not good:
        raise NameProblem(f"a room's name has {ROOM_BOUNDS}")
    return name


def _is_room(name: str) -> bool:
    marks = _MAX_MARKS
    for char in name:
        if char in _BLANK or _VARIANTS.match(char):
            return False
        if _ROOM.fullmatch(char):
            marks = 0 if char.isalpha() else _MAX_MARKS
        elif unicodedata.category(char) not in _MARKS or marks == _MAX_MARKS:
            return False
        else:
            marks += 1
    return True


def guest_name(raw: str) -> str:
    """``raw`` as it will be shown: NFKC, single spaces.  Raises NameProblem.

    Control, format (bidi, zero-width) and unassigned characters are refused, since they let one
    name look like another or break the line that it stands in.
    """
    name = " ".join(unicodedata.normalize("NFKC", raw[:200]).split())
    if not GUEST_LENGTH[0] <= len(name) <= GUEST_LENGTH[1]:
        raise NameProblem(f"a name has {GUEST_LENGTH[0]} to {GUEST_LENGTH[1]} characters")
    kinds = ("Cc", "Cf", "Co", "Cn", "Cs", "Zl", "Zp")
    if any(c in _BLANK or unicodedata.category(c) in kinds for c in name):
        raise NameProblem("a name has no control or invisible characters")
    # They choose the picture of an emoji; behind anything else nobody sees them.
    if any(not _is_symbol(name[: found.start()][-1:]) for found in _VARIANTS.finditer(name)):
        raise NameProblem("a name has no control or invisible characters")
    marks = [unicodedata.category(c) in ("Mn", "Me") for c in name]
    if any(all(marks[i : i + 3]) for i in range(len(marks) - 2)):
        raise NameProblem("a name has no piles of accents")
    return name


def _is_symbol(char: str) -> bool:
    """As a heart and an arrow are."""
    return not char.isascii() and unicodedata.category(char) in ("So", "Sm")
