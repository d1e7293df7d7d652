"""Reads a YAML file into nodes that remember their line; knows nothing about settings.

The text is kept as written: `off`, `010` and `1:30` stay what the administrator typed, and the
kind of each setting decides what they mean. YAML 1.1's own guesses (False, 8, 90) never appear.
Nothing is ever constructed from a tag, and aliases share one node, so a file cannot make this
process run anything or grow it much beyond the file's own size.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, NoReturn

import yaml

MAX_BYTES = 1024 * 1024
MAX_DEPTH = 20
MAX_ALIASES = 100
_TOO_DEEP = f"more than {MAX_DEPTH} levels deep"
# A file of another program has an unknown key on every line; past this nobody reads on.
MAX_PROBLEMS = 100

# libyaml is ten times faster; both report the same lines.
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_STANDARD = "tag:yaml.org,2002:"
_SCALAR_TAGS = frozenset(_STANDARD + name for name in ("str", "int", "float", "bool", "null"))
# What YAML may not contain, and the Unicode line ends that PyYAML counts as lines but editors
# do not: they would make every later line number wrong.
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")
_LINE_END = re.compile("\r\n|\r|\n")
_TAB_INDENT = re.compile(r"^ *\t", re.MULTILINE)


def printable(text: str) -> str:
    """The text on one line, with control and other invisible characters escaped."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong, and where. `key` is dotted, or empty for the file as a whole."""

    file: str
    line: int
    key: str
    message: str

    def __str__(self) -> str:
        key = f"{self.key}: " if self.key else ""
        return printable(f"{self.file}:{self.line}: {key}{self.message}")


class ConfigError(Exception):
    """A configuration that cannot be used; `problems` has everything found in it."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__(problems)
        self.problems = problems

    def __str__(self) -> str:
        return "\n".join(str(problem) for problem in self.problems)


@dataclass(frozen=True, slots=True)
class Node:
    """A value and where it stands; the line of a mapping's value is that of its key."""

    file: str
    line: int


@dataclass(frozen=True, slots=True)
class Scalar(Node):
    """`quoted` also stands for an explicit `!!str`: certainly a text, never a number."""

    text: str
    quoted: bool = False

    @property
    def empty(self) -> bool:
        """True for a key without a value, and for YAML's null."""
        return not self.quoted and self.text in ("", "~", "null", "Null", "NULL")


@dataclass(frozen=True, slots=True)
class Items(Node):
    items: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Entries(Node):
    entries: dict[str, Node]


class Report:
    """Collects problems, so that one run shows all of them."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []

    def add(self, node: Node, key: str, message: str) -> None:
        self.problems.append(Problem(node.file, node.line, key, message))
        if len(self.problems) >= MAX_PROBLEMS:
            raise ConfigError(self.problems)

    def has(self, key: str) -> bool:
        """True when `key`, or something inside it, was reported."""
        inside = (f"{key}.", f"{key}[")
        return any(p.key == key or p.key.startswith(inside) for p in self.problems)

    def raise_if_any(self) -> None:
        if self.problems:
            raise ConfigError(self.problems)


def read(path: str, report: Report) -> Entries:
    """The top-level mapping of a file. What makes the file unreadable is raised at once, what
    leaves the rest readable (a duplicate key) is added to `report`."""
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        _fail(path, 1, f"cannot be read: {reason}")
    root = parse(path, _decode(path, data), report)
    if root is None:
        _fail(path, 1, "the file is empty (wsd config prints the defaults)")
    if not isinstance(root, Entries):
        _fail(path, root.line, "expected keys and values, like `echo: false`")
    return root


def parse(file: str, text: str, report: Report) -> Node | None:
    """The one document in `text`, or None when there is nothing but comments."""
    try:
        return _Composer(file, text, report).document()
    except yaml.MarkedYAMLError as error:
        _fail(file, _line_of(error, text), _explain(error))
    except (yaml.YAMLError, UnicodeError) as error:
        # The reader's complaints about characters; files were checked for those before.
        _fail(file, 1, f"not valid YAML: {error}")


def _fail(file: str, line: int, message: str, key: str = "") -> NoReturn:
    raise ConfigError([Problem(file, line, key, message)])


def _decode(path: str, data: bytes) -> str:
    """UTF-8 text without what no configuration contains; each refusal names its line."""
    if len(data) > MAX_BYTES:
        _fail(path, 1, f"the file is larger than {MAX_BYTES // 1024}KiB")
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        _fail(path, 1, "the file is UTF-16; save it as UTF-8")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = _count_lines(data[: error.start].decode("utf-8", "replace"))
        _fail(path, line, f"not UTF-8 text: byte 0x{data[error.start]:02x}")
    if found := _CONTROL.search(text):
        line = _count_lines(text[: found.start()])
        _fail(path, line, f"not a text file: character U+{ord(found.group()):04X}")
    if found := _TAB_INDENT.search(text):
        _fail(path, _count_lines(text[: found.start()]), "indented with a tab; YAML wants spaces")
    return text


def _count_lines(before: str) -> int:
    return len(_LINE_END.findall(before)) + 1


def _line_of(error: yaml.MarkedYAMLError, text: str) -> int:
    """The error's line, but not one past the end: an open bracket is noticed only there."""
    mark = error.problem_mark or error.context_mark
    if mark is None:
        return 1
    return min(mark.line + 1, _count_lines(text.rstrip()))


def _explain(error: yaml.MarkedYAMLError) -> str:
    """PyYAML's words on one line, with the advice that most of these errors need."""
    parts = ", ".join(part for part in (error.context, error.problem) if part)
    if "nesting depth" in parts:  # libyaml from 0.2.6 on gives up before `node` sees any of it
        return _TOO_DEEP
    advice = ""
    if "alias" in parts or "anchor" in parts or "cannot start any token" in parts:
        advice = ' (put quotes around a value that begins with a sign, like "*")'
    elif error.context and error.context_mark is not None:
        advice = f" (from line {error.context_mark.line + 1})"
    return f"not valid YAML: {parts}{advice}"


def _line(event: Any) -> int:
    line: int = event.start_mark.line
    return line + 1


@dataclass(slots=True)
class _Anchor:
    """A node that aliases may name. `node` is None while it is still being read."""

    node: Node | None = None


@dataclass(slots=True)
class _Composer:
    """Turns PyYAML's events into nodes.

    Events and not PyYAML's own composer, because that one recurses without a limit, forgets
    which scalars were quoted and keeps the last of two equal keys.
    """

    file: str
    text: str
    report: Report
    events: Iterator[Any] = field(init=False)
    anchors: dict[str, _Anchor] = field(default_factory=dict)
    aliases: int = 0

    def document(self) -> Node | None:
        self.events = yaml.parse(self.text, Loader=_Loader)
        next(self.events)  # the start of the stream
        if isinstance(next(self.events), yaml.StreamEndEvent):
            return None
        event = next(self.events)
        root = self.node(event, ())
        next(self.events)  # the end of the document
        after = next(self.events)
        if not isinstance(after, yaml.StreamEndEvent):
            _fail(self.file, _line(after), "a second document; one file is one")
        # `---` alone is a document holding nothing
        return None if isinstance(root, Scalar) and root.empty else root

    def node(self, event: Any, path: tuple[str, ...]) -> Node:
        line = _line(event)
        if isinstance(event, yaml.AliasEvent):
            return self.alias(event.anchor or "", line)
        if len(path) > MAX_DEPTH:
            _fail(self.file, line, _TOO_DEEP)
        self.check_tag(event, line)
        anchor = _Anchor()
        if event.anchor is not None:
            self.anchors[event.anchor] = anchor
        aliases_before = self.aliases
        node = self.content(event, line, path)
        # Only nested aliases multiply; without them a file grows by MAX_ALIASES at most.
        if event.anchor is not None and self.aliases != aliases_before:
            _fail(self.file, line, f"&{event.anchor} contains an alias: YAML bomb")
        anchor.node = node
        return node

    def content(self, event: Any, line: int, path: tuple[str, ...]) -> Node:
        if isinstance(event, yaml.ScalarEvent):
            quoted = bool(event.style) or event.tag in ("!", _STANDARD + "str")
            return Scalar(self.file, line, event.value, quoted)
        if isinstance(event, yaml.SequenceStartEvent):
            return Items(self.file, line, tuple(self.items(path)))
        return Entries(self.file, line, self.entries(path))

    def items(self, path: tuple[str, ...]) -> Iterator[Node]:
        while not isinstance(event := next(self.events), yaml.SequenceEndEvent):
            yield self.node(event, (*path, "[]"))

    def entries(self, path: tuple[str, ...]) -> dict[str, Node]:
        entries: dict[str, Node] = {}
        while not isinstance(event := next(self.events), yaml.MappingEndEvent):
            key = self.node(event, (*path, ""))
            if not isinstance(key, Scalar):
                _fail(self.file, key.line, "a key must be a word")
            inside = (*path, shorten(key.text))
            value = replace(self.node(next(self.events), inside), line=key.line)
            if (first := entries.setdefault(key.text, value)) is not value:
                dotted = ".".join(inside).replace(".[]", "[]")
                self.report.add(key, dotted, f"given twice (first on line {first.line})")
        return entries

    def alias(self, name: str, line: int) -> Node:
        anchor = self.anchors.get(name)
        if anchor is None:
            _fail(self.file, line, f'no anchor &{name} (for the text "*{name}" write the quotes)')
        if anchor.node is None:
            _fail(self.file, line, f"*{name} refers to itself: YAML bomb")
        self.aliases += 1
        if self.aliases > MAX_ALIASES:
            _fail(self.file, line, f"more than {MAX_ALIASES} aliases: YAML bomb")
        return anchor.node

    def check_tag(self, event: Any, line: int) -> None:
        if event.tag in (None, "!"):
            return
        if isinstance(event, yaml.ScalarEvent):
            fits = event.tag in _SCALAR_TAGS
        else:
            is_list = isinstance(event, yaml.SequenceStartEvent)
            fits = event.tag == _STANDARD + ("seq" if is_list else "map")
        if not fits:
            tag = event.tag.replace(_STANDARD, "!!")
            _fail(self.file, line, f"the tag {shorten(tag)} is not allowed")


def shorten(text: str, width: int = 60) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"
