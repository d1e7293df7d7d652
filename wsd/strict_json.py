"""JSON that means the same to everybody who reads it (I-JSON, RFC 7493).

What a client sends is decoded by msgspec, which is strict in grammar, UTF-8, surrogates and types.
It lets four things pass that another reader, or the next step, takes otherwise or not at all; they
are refused here, before it: names that come twice in one object (RFC 7493 section 2.3), integers
that a JavaScript number does not hold and numbers that no float does (section 2.2), and nesting
that has no use but to exhaust a stack.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from math import isfinite
from typing import Any, TypeVar

import msgspec

T = TypeVar("T")

MAX_DEPTH = 32
MAX_INTEGER = 2**53 - 1

_STRING = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
# One object with no more than such objects inside, as the rooms of a hello, and with short numbers.
# Commas are the decoder's business.
_VALUE = rb"%b|-?[0-9]{1,15}|true|false|null" % _STRING
_OBJECT = rb'\{\s*+(?:"[^"\\]*+":\s*+(?:%b)[\s,]*+)*+\}'
_SHALLOW = re.compile(
    rb"\s*+%b\s*+" % (_OBJECT % (rb"%b|%b" % (_VALUE, _OBJECT % _VALUE))), re.DOTALL
)
# With or without its end, or the search would begin anew at each quote in a string that has none.
_STRINGS = re.compile(_STRING + b"?", re.DOTALL)
_ONE_KIND = bytes.maketrans(b"{}", b"[]")
_NO_BRACKETS = bytes(set(range(256)) - set(b"{}[]"))
_EXTREME = re.compile(rb"[0-9]{16}|[eE][+-]?[0-9]{3}")  # numbers without this are harmless
_names = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class JsonError(ValueError):
    """The text is no JSON, or not what it should be, or not alike to everybody; it says how."""


def decode(data: bytes, decoder: Callable[[bytes], T]) -> T:
    """What msgspec's ``decoder`` makes of ``data``.  Raises JsonError for whatever is wrong."""
    _check(data)
    try:
        return decoder(data)
    except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
        raise JsonError(str(error)) from None


def _check(data: bytes) -> None:
    """Raises JsonError for the four things.  What is no JSON at all passes, for the decoder."""
    # The usual command takes this way, in 1.4 µs; the other takes 3 and more.  Each member has one
    # `":`, strings may add to their number, and what comes twice is missing from the names.
    if _SHALLOW.fullmatch(data) is not None:
        try:
            names = _names(data)
            missing = data.count(b'":') - len(names)
            if missing:
                inner = [bytes(value) for value in names.values()]
                missing -= sum([len(_names(value)) for value in inner if value[:1] == b"{"])
            if not missing:
                return
        except msgspec.MsgspecError:
            return
    _check_depth(data)
    decoder = _usual if _EXTREME.search(data) is None else _thorough
    try:
        decoder.decode(data.decode("utf-8"))
    except JsonError:
        raise
    except ValueError:
        return


def _check_depth(data: bytes) -> None:
    if data.count(b"{") + data.count(b"[") <= MAX_DEPTH:
        return
    # What is left without strings and all else are brackets; each round takes one level off, from
    # the inside.  A loop over them in Python takes ten times as long.
    brackets = _STRINGS.sub(b"", data).translate(_ONE_KIND, _NO_BRACKETS)
    for _ in range(MAX_DEPTH):
        brackets = brackets.replace(b"[]", b"")
    if b"[" in brackets:
        raise JsonError(f"at most {MAX_DEPTH} levels of nesting")


def _object(members: list[tuple[str, Any]]) -> None:
    if len(dict(members)) < len(members):
        names = [name for name, _ in members]
        twice = next(name for name in names if names.count(name) > 1)
        raise JsonError(f"{twice[:40]!r} comes twice")


def _integer(text: str) -> None:
    # Python's int() takes a time that grows with the square of the length, and ends at 4300 digits.
    if len(text) > 17 or abs(int(text)) > MAX_INTEGER:
        raise JsonError(f"a whole number beyond {MAX_INTEGER}")


def _float(text: str) -> None:
    if not isfinite(float(text)):
        raise JsonError("a number that is too large")


def _constant(text: str) -> None:
    raise JsonError(f"{text} is no number of JSON's")


_usual = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_constant)
_thorough = json.JSONDecoder(
    object_pairs_hook=_object, parse_constant=_constant, parse_int=_integer, parse_float=_float
)
