"""Walks a table of settings: finds its rows, and fills its structs from nodes and the environment.

Which settings there are is in `config.py`; nothing here names one.
"""

import difflib
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec

from wsd.config_file import ConfigError, Entries, Node, Report, Scalar, parse, shorten
from wsd.config_values import Kind, Refused

S = TypeVar("S", bound=msgspec.Struct)


@dataclass(frozen=True)
class Key:
    """What the table says about one setting beside its Python type and default.

    `documented` is the default of a file that leaves the key out, where that differs from the
    default of the struct (which serves `wsd run` in a checkout) or depends on the machine.
    """

    kind: Kind[Any]
    help: str
    restart: bool = False
    documented: str | None = None


@dataclass(frozen=True)
class Setting:
    """One row of the table."""

    path: str
    section: type[msgspec.Struct]
    key: Key
    default: Any

    @property
    def default_text(self) -> str:
        return self.key.documented or str(self.key.kind.show(self.default))

    def of(self, settings: msgspec.Struct) -> Any:
        value: Any = settings
        for name in self.path.split("."):
            value = getattr(value, name)
        return value


Part = Key | type[msgspec.Struct]


class Table:
    """The settings of a tree of structs, `rows` by dotted name in the order of the file."""

    def __init__(self, root: type[msgspec.Struct]) -> None:
        self._parts: dict[tuple[type, str], dict[str, Part]] = {}
        self.rows: dict[str, Setting] = {}
        self.rows.update((row.path, row) for row in self._rows(root, root(), ""))

    def _rows(self, cls: type[msgspec.Struct], defaults: Any, path: str) -> Iterator[Setting]:
        for name, part in self.parts(cls).items():
            default = getattr(defaults, name)
            if isinstance(part, Key):
                yield Setting(join(path, name), cls, part, default)
            else:
                yield from self._rows(part, default, join(path, name))

    def parts(self, cls: type[msgspec.Struct], path: str = "") -> dict[str, Part]:
        """A section's fields: the key of each, or the class of a section inside it. Structs of
        overrides carry no keys of their own; theirs are the table's below `path`."""
        if (cls, path) not in self._parts:
            hints = typing.get_type_hints(cls, include_extras=True)
            parts = {name: self._part(hint, join(path, name)) for name, hint in hints.items()}
            self._parts[cls, path] = parts
        return self._parts[cls, path]

    def _part(self, hint: Any, path: str) -> Part:
        if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
            return hint
        for metadata in getattr(hint, "__metadata__", ()):
            if isinstance(metadata, Key):
                return metadata
        return self.rows[path].key

    def did_you_mean(self, name: str, section: str, siblings: list[str]) -> str:
        """A suggestion: the same name in another section, or one spelled nearly the same."""
        by_end = {path.rpartition(".")[2]: path for path in self.rows}
        found = [path for path in self.rows if path.rpartition(".")[2] == name][:2]
        if not found:
            found = [join(section, n) for n in difflib.get_close_matches(name, siblings, 1, 0.6)]
        if not found:
            found = [by_end[n] for n in difflib.get_close_matches(name, list(by_end), 1, 0.75)]
        return f" (did you mean {' or '.join(found)}?)" if found else ""


def join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


class Builder:
    """Builds structs from nodes, and remembers in `given` the node of each key that was given."""

    def __init__(
        self, table: Table, report: Report, overrides: Mapping[str, Node] | None = None
    ) -> None:
        """`overrides`, by dotted name, come before what the nodes say."""
        self.table = table
        self.report = report
        self.overrides = overrides or {}
        self.given: dict[str, Node] = {}

    def section(self, cls: type[S], node: Node | None, path: str, within: str = "") -> S:
        """An instance of `cls`; what is not given or wrong has its default."""
        entries = self.entries(node, path)
        parts = self.table.parts(cls, within)
        for name, child in entries.items():
            if name not in parts:
                hint = self.table.did_you_mean(name, within, list(parts))
                self.report.add(child, join(path, shorten(name)), f"unknown key{hint}")
        values: dict[str, Any] = {}
        for name, part in parts.items():
            at = join(path, name)
            found = self.overrides.get(at, entries.get(name))
            if not isinstance(part, Key):
                values[name] = self.section(part, found, at, join(within, name))
            elif found is not None:
                self.value(part, found, at, values)
        return cls(**values)

    def entries(self, node: Node | None, path: str) -> dict[str, Node]:
        if isinstance(node, Entries):
            return node.entries
        # A section whose keys are all commented out is left with no value; that is no mistake.
        if node is not None and not (isinstance(node, Scalar) and node.empty):
            self.report.add(node, path, "expected keys and values, like {key: value}")
        return {}

    def value(self, key: Key, node: Node, at: str, values: dict[str, Any]) -> None:
        self.given[at] = node
        try:
            values[at.rpartition(".")[2]] = key.kind.parse(node, at, self.report)
        except Refused as refused:
            self.report.add(node, at, str(refused))


PREFIX = "WSD__"


def from_environment(table: Table, environ: Mapping[str, str], report: Report) -> dict[str, Node]:
    """`WSD__LIMITS__TEXT=500` as a node for `limits.text`, and so on."""
    overrides: dict[str, Node] = {}
    for variable in sorted(environ):
        if not variable.startswith(PREFIX):
            continue
        path = variable.removeprefix(PREFIX).lower().replace("__", ".")
        file = f"environment:{shorten(variable)}"
        if variable == variable.upper() and path in table.rows:
            overrides[path] = _environment_node(file, environ[variable], report)
        else:
            hint = _variable_hint(path, list(table.rows))
            report.add(Node(file, 1), shorten(path), f"unknown key{hint}")
    return overrides


def _variable_hint(path: str, paths: list[str]) -> str:
    near = difflib.get_close_matches(path, paths, 1, 0.7)
    return f" (did you mean {PREFIX}{near[0].upper().replace('.', '__')}?)" if near else ""


def _environment_node(file: str, text: str, report: Report) -> Node:
    """Lists, mappings and quoted texts are YAML; anything else is one plain text, so that
    `WSD__ORIGINS=*` and `WSD__LISTEN=[::]:8002` mean what they seem to."""
    text = text.strip()
    if text.startswith(("[", "{", '"', "'")):
        try:
            return parse(file, text, report) or Scalar(file, 1, text)
        except ConfigError:
            pass
    return Scalar(file, 1, text, quoted=not text)
