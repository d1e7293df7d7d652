"""Browser files on their way out: without what only their reader needs, and modules in one piece.

The source stays plain modules that run as they are.  What is cut here is comments, white space and
the length of private names; the box, 35 modules, becomes one request of a third of their size.
"""

from __future__ import annotations

import itertools
import json
import posixpath
import re
import string
from collections.abc import Iterator, Mapping

_OWN_PAGES = re.compile("plain_|noscript|description")
"""Words that only pages made by the daemon say."""

_TOKEN = re.compile(
    r"""(?P<space>\s+)
    | (?P<comment>//[^\n]* | /\*.*?\*/)
    | (?P<text>"(?:[^"\\\n]|\\.)*" | '(?:[^'\\\n]|\\.)*')
    | (?P<template>`)
    | (?P<word>[#\w$]+)
    | (?P<sign>.)""",
    re.DOTALL | re.VERBOSE,
)
_REGEX = re.compile(r"/(?:[^/\\\[\n]|\\.|\[(?:[^\]\\\n]|\\.)*\])+/\w*")
_CONSTANT = re.compile(r"[A-Z][A-Z0-9_]+")
_WORD = re.compile(r"[#\w$]")
_BEFORE_REGEX = ("return", "typeof", "case", "in", "of")
_IMPORT = re.compile(r'^import \{([^}]*)\} from "(\.[^"]+)";', re.MULTILINE)
_EXPORT = re.compile(r"^export ((?:async )?function|class|const) (\w+)", re.MULTILINE)
_EXPORT_LIST = re.compile(r"^export \{([^}]*)\};", re.MULTILINE)
_DECLARED = re.compile(r"^(?:export )?(?:async )?(?:function\*?|class) (\w+)", re.MULTILINE)
_VARIABLES = re.compile(r"^(?:export )?(?:const|let|var) (.*)", re.MULTILINE)
_LEFT = re.compile(r"^(?:import|export)\b.*", re.MULTILINE)


def lean(name: str, text: str) -> str:
    """The file ``name`` as it is sent."""
    ending = posixpath.splitext(name)[1]
    if ending == ".js":
        return lean_script(text)
    if ending == ".css":
        return lean_style(text)
    if ending == ".json":
        words = {key: word for key, word in json.loads(text).items() if not _OWN_PAGES.match(key)}
        return json.dumps(words, ensure_ascii=False, separators=(",", ":"))
    return text


def lean_style(text: str) -> str:
    text = re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)
    return re.sub(r"(?<=[:,])\s+|;?\s*([{};])\s*", r"\1", text).strip()


def lean_script(text: str) -> str:
    """A script or module without comments, needless space and long private names.

    Each of its statements must end with ``;`` or ``}``, none be empty.
    """
    pieces = list(_pieces(text))
    short = {**_short_names(pieces), "const": "let"}  # one word for both packs better
    out: list[str] = []
    gap = ""
    for piece in pieces:
        if piece.isspace() or piece.startswith(("//", "/*")):
            # A line break may end a statement, so it outranks a space.
            gap = "\n" if "\n" in piece or gap == "\n" else " "
            continue
        if piece == "}" and out[-1:] == [";"] and out[-2:-1] != [")"]:  # else that of an `if (a);`
            out.pop()
        elif out and gap:
            out.append(_needed(gap, out[-1][-1], piece[0]))
        out.append(short.get(piece, piece))
        gap = ""
    return "".join(out)


def _needed(gap: str, before: str, after: str) -> str:
    """What has to stay of the space between two characters."""
    if gap == "\n":
        joined = before in "{}([,;:=&|?" or after in ")]},.;:?="
        return "" if joined else "\n"
    glued = (_WORD.match(before) and _WORD.match(after)) or (before == after and before in "+-")
    return " " if glued else ""


def _pieces(text: str) -> Iterator[str]:
    """The tokens of a script, space and comments among them; strings and the like are one each."""
    at, last = 0, ""
    while at < len(text):
        match = _TOKEN.match(text, at)
        assert match is not None  # the last alternative takes anything
        piece = match[0]
        if match["template"]:
            piece = text[at : _template_end(text, at)]
        elif piece == "/" and _may_be_regex(last):
            regex = _REGEX.match(text, at)
            piece = regex[0] if regex else piece
        yield piece
        at += len(piece)
        if not (match["space"] or match["comment"]):
            last = piece


def _may_be_regex(last: str) -> bool:
    return last in _BEFORE_REGEX or not (_WORD.match(last[-1:]) or last[-1:] in ")]}\"'`")


def _template_end(text: str, at: int) -> int:
    """Behind the template that begins at ``at``; those inside its ``${}`` belong to it."""
    at += 1
    while text[at] != "`":
        if text[at] == "\\":
            at += 2
        elif text.startswith("${", at):
            at = _substitution_end(text, at + 2)
        else:
            at += 1
    return at + 1


def _substitution_end(text: str, at: int) -> int:
    depth = 1
    while depth:
        if text[at] == "`":
            at = _template_end(text, at)
            continue
        match = _TOKEN.match(text, at)
        assert match is not None
        depth += {"{": 1, "}": -1}.get(match[0], 0)
        at = match.end()
    return at


def _short_names(pieces: list[str]) -> dict[str, str]:
    """Private names are nobody else's, nor are constants that are not exported: their length is
    ours too."""
    code = [p for p in pieces if not p.isspace() and not p.startswith(("//", "/*"))]
    inside = "".join(p for p in code if p.startswith("`"))
    short: dict[str, str] = {}
    for sign, names in (("#", [p for p in code if p.startswith("#")]), ("$", _constants(code))):
        letters = itertools.chain(
            string.ascii_letters, map("".join, itertools.product(string.ascii_letters, repeat=2))
        )
        for name, letter in zip(dict.fromkeys(names), letters, strict=False):  # there are enough
            if name not in inside:
                short[name] = sign + letter
    return short


def _constants(code: list[str]) -> list[str]:
    """``const LIKE_THIS``, if that is never the name of a property or of an export as well."""
    around = list(zip(["", "", *code], ["", *code], code, [*code[1:], ""], strict=False))
    declared = {
        name
        for two_before, before, name, _ in around
        if before == "const" and two_before != "export" and _CONSTANT.fullmatch(name)
    }
    others = {
        name
        for _, before, name, after in around
        if before == "." or (before in "{," and after in ":,}")
    }
    return [name for name in code if name in declared - others]


_STYLE_IMPORT = re.compile(r'^@import "\./([^"]+)";', re.MULTILINE)


def bundle_style(sources: Mapping[str, str], entry: str) -> str:
    """The style sheet ``entry`` with those that it imports in their places."""
    return _STYLE_IMPORT.sub(lambda match: sources[match[1]], sources[entry])


def bundle(sources: Mapping[str, str], entry: str) -> str:
    """The module ``entry`` with all that it imports, as one module.

    All share one scope, which is 600 bytes less than one for each: a name at the top level may
    be declared once. Raises ValueError for the second time, for a way to import or export that
    is not known here, and for a circle.
    """
    parts: dict[str, str] = {}
    _add_module(sources, entry, parts, ())
    owners: dict[str, str] = {}
    for path in parts:
        for name in declared(sources[path]):
            if owners.setdefault(name, path) != path:
                raise ValueError(f"{path}: {name} is declared in {owners[name]} as well")
    # Nobody imports the others from outside, but may import the entry.
    names = ", ".join(_exported(sources[entry]))
    return "\n".join([*parts.values(), f"export {{ {names} }};" if names else ""])


def declared(text: str) -> list[str]:
    """The names that a module declares at its top level."""
    names = [match[1] for match in _DECLARED.finditer(text)]
    for match in _VARIABLES.finditer(text):  # one line may declare several
        names += re.findall(r"(?:^|, )([\w$]+)(?= = )", match[1])
    return names


def _add_module(
    sources: Mapping[str, str], name: str, parts: dict[str, str], above: tuple[str, ...]
) -> None:
    if name in above:
        raise ValueError(f"{name} imports itself, by way of {', '.join(above)}")

    def imported(match: re.Match[str]) -> str:
        if " as " in match[1]:
            raise ValueError(f"{name}: in one scope nothing has two names: {match[1].strip()}")
        path = posixpath.normpath(posixpath.join(posixpath.dirname(name), match[2]))
        if path not in parts:
            _add_module(sources, path, parts, (*above, name))
        return ""

    text = _IMPORT.sub(imported, sources[name])
    text = _EXPORT_LIST.sub("", _EXPORT.sub(r"\1 \2", text))
    left = _LEFT.search(text)
    if left:
        raise ValueError(f"{name}: cannot be put into one file with others: {left[0]}")
    parts[name] = text


def _exported(text: str) -> list[str]:
    lists = [match[1].split(",") for match in _EXPORT_LIST.finditer(text)]
    return [match[2] for match in _EXPORT.finditer(text)] + [
        name.strip() for names in lists for name in names
    ]
