"""The corpus of HTTP requests: files of `requests/` into cases.  `README.md` says how they read."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

FOLDER = Path(__file__).parent / "requests"

NAME = re.compile(r"(?:HP|HS|NX)-[0-9]{2}-[a-z0-9.-]+")
REFUSERS = ("parser", "handshake", "daemon")
"""Who refuses, in the order in which a request comes by them."""

_PLAIN = re.compile(r"[ -\[\]-~]*")
_ESCAPE = re.compile(r"\\(?:x([0-9a-f]{2})|\{([0-9]+) ([^{}]*)\}|(.?))", re.DOTALL)
_LETTERS = {"r": "\r", "n": "\n", "t": "\t", "s": " ", "\\": "\\"}

_ONCE = {"status", "reason", "by", "why", "method", "target", "path", "minor", "body", "close",
         "subprotocol"}  # fmt: skip
_MANY = {"header", "query"}


class Parsed(NamedTuple):
    """What a request says, exactly: all headers and all parameters."""

    method: str
    target: str
    path: str
    query: dict[str, str]
    minor: int
    headers: dict[str, str]
    body: bytes
    keep_alive: bool


class Case(NamedTuple):
    name: str
    data: bytes
    status: int
    why: str
    reason: str = ""
    """Why it is refused; empty for a good one."""
    by: str = ""
    parsed: Parsed | None = None
    """What the parser has to make of it.  There unless the parser refuses."""
    subprotocol: str | None = None
    """What a handshake agrees on."""

    @property
    def unfinished(self) -> bool:
        """Refused for what is missing, so that nothing can be sent behind it."""
        return self.status == 408


class CorpusError(ValueError):
    """A file of the corpus cannot be read; the message says which, where and why."""


@cache
def load() -> tuple[Case, ...]:
    """All cases, by name.  Raises CorpusError."""
    requests = sorted(FOLDER.glob("*.request"))
    strays = {path.stem for path in FOLDER.iterdir()} - {path.stem for path in requests}
    if strays:
        raise CorpusError(f"no .request for {', '.join(sorted(strays))}")
    return tuple(_case(path) for path in requests)


def bad() -> list[Case]:
    return [case for case in load() if case.reason]


def good() -> list[Case]:
    return [case for case in load() if not case.reason]


def unescape(text: str, where: str) -> bytes:
    """The bytes that `text` stands for.  Raises CorpusError."""

    def replace(match: re.Match[str]) -> str:
        code, times, repeated, letter = match.groups()
        if code:
            return chr(int(code, 16))
        if times:
            return _expand(repeated, replace, where) * int(times)
        if letter not in _LETTERS:
            raise CorpusError(f"{where}: \\{letter} is no escape")
        return _LETTERS[letter]

    return _expand(text, replace, where).encode("latin-1")


def _expand(text: str, replace: object, where: str) -> str:
    plain = _ESCAPE.sub("", text)
    if not _PLAIN.fullmatch(plain):
        raise CorpusError(f"{where}: only printable ASCII may stand for itself")
    return _ESCAPE.sub(replace, text)  # type: ignore[call-overload]


def _read(path: Path) -> Iterator[tuple[str, str]]:
    """(where, line) of each line."""
    for number, line in enumerate(path.read_text("utf-8").split("\n"), 1):
        where = f"{path.name}:{number}"
        if line.endswith((" ", "\t")):
            raise CorpusError(f"{where}: a space at the end is written \\s")
        yield where, line


def _case(path: Path) -> Case:
    if not NAME.fullmatch(path.stem):
        raise CorpusError(f"{path.name}: a name is the test's id and a few words")
    data = b"".join(unescape(line, where) for where, line in _read(path))
    expect = path.with_suffix(".expect")
    if not expect.exists():
        raise CorpusError(f"{path.name} has no {expect.name}")
    fields = _fields(expect)
    reason, by = fields.get("reason", ""), fields.get("by", "")
    if bool(reason) != (by in REFUSERS):
        raise CorpusError(f"{expect.name}: a refusal has a reason, and by: one of {REFUSERS}")
    parsed = None if by == "parser" else _parsed(fields)
    return Case(
        path.stem, data, int(fields["status"]), fields["why"], reason, by, parsed,
        fields.get("subprotocol"),
    )  # fmt: skip


def _fields(path: Path) -> dict[str, str]:
    fields: dict[str, str] = {}
    for where, line in _read(path):
        if not line:
            continue
        key, _, value = line.partition(": ")
        if key.rstrip(":") in _ONCE and key not in fields:
            fields[key.rstrip(":")] = value
        elif key in _MANY:
            fields[key] = fields.get(key, "") + value + "\n"
        else:
            raise CorpusError(f"{where}: {key} is unknown or came before")
    missing = {"status", "why"} - fields.keys()
    if missing:
        raise CorpusError(f"{path.name}: no {' and no '.join(sorted(missing))}")
    return fields


def _parsed(fields: dict[str, str]) -> Parsed:
    def text(key: str, default: str) -> str:
        return unescape(fields.get(key, default), key).decode("utf-8")

    target = text("target", "/")
    return Parsed(
        text("method", "GET"),
        target,
        text("path", target),
        dict(_pairs(fields.get("query", ""), "=", "utf-8")),
        int(text("minor", "1")),
        dict(_pairs(fields.get("header", ""), ": ", "latin-1")),
        unescape(fields.get("body", ""), "body"),
        text("close", "no") == "no",
    )


def _pairs(lines: str, between: str, encoding: str) -> Iterator[tuple[str, str]]:
    for line in lines.splitlines():
        name, _, value = unescape(line, line).decode(encoding).partition(between)
        yield name.rstrip(between), value
