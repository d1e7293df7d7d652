"""The kinds of value a setting can have: how each is read, checked, described and written.

A kind turns a node of the file into a value or raises `Refused` with the words for the
administrator. `show` is its inverse: YAML text that reads back as the same value.
"""

import ipaddress
import json
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from wsd.config_file import Entries, Items, Node, Report, Scalar, shorten
from wsd.names import ROOM_BOUNDS, NameProblem, room_name

T = TypeVar("T")
KIB = 1024
MIB = 1024 * KIB
# sun_path has 108 bytes, the last of them for the NUL.
MAX_SOCKET_PATH = 107


class Refused(ValueError):
    """The value is not one of its kind; the text says why and what would be."""


class Kind(Generic[T]):
    """One kind of value. `name`, `unit` and `bounds` are for the reference."""

    name: str
    unit: str = ""
    bounds: str = ""

    def parse(self, node: Node, key: str, report: Report) -> T:
        """The value of `node`. One refusal is raised; where several parts of a value can be
        wrong, each is added to `report` and what is returned does not matter."""
        return self.read(scalar(node, self.name))

    def read(self, node: Scalar) -> T:
        raise NotImplementedError

    def show(self, value: T) -> str:
        return str(value)


def scalar(node: Node, expected: str) -> Scalar:
    if not isinstance(node, Scalar):
        found = "a list" if isinstance(node, Items) else "a mapping"
        raise Refused(f"expected {expected}, found {found}")
    if node.empty:
        raise Refused(f"no value; expected {expected}")
    return node


def quote(text: str) -> str:
    """A YAML double-quoted text; JSON's escapes are a part of YAML's."""
    return json.dumps(text, ensure_ascii=False)


# Words that YAML readers, this one or others, take for something else than a text.
_NOT_TEXT = frozenset(["null", "true", "false", "yes", "no", "on", "off", "y", "n"])


def plain_or_quoted(text: str) -> str:
    plain = re.fullmatch(r"[A-Za-z/][\w/.-]*", text, re.ASCII) and text.lower() not in _NOT_TEXT
    return text if plain else quote(text)


def show_list(texts: Sequence[str]) -> str:
    return "[" + ", ".join(texts) + "]"


def echo(node: Scalar) -> str:
    """What was written, for an error message."""
    return quote(shorten(node.text)) if node.quoted else shorten(node.text)


class Count(Kind[int]):
    """A whole number."""

    def __init__(self, low: int, high: int, unit: str, zero: str = "") -> None:
        self.low, self.high, self.unit = low, high, unit
        self.name = f"a whole number of {unit}"
        self.bounds = f"{low} to {high}" + (f" (0 = {zero})" if zero else "")

    def read(self, node: Scalar) -> int:
        if node.quoted and re.fullmatch(r"[+-]?\d+", node.text, re.ASCII):
            raise Refused(f"{echo(node)} is a text; write the number without quotes")
        if node.quoted or not re.fullmatch(r"[+-]?(0|[1-9]\d{0,17})", node.text, re.ASCII):
            raise Refused(f"{echo(node)} is not a whole number")
        in_bounds(int(node.text), self.low, self.high, echo(node), self.bounds)
        return int(node.text)


def in_bounds(value: float, low: float, high: float, written: str, bounds: str) -> None:
    if not low <= value <= high:
        raise Refused(f"{written} is out of bounds: {bounds}")


_SIZE_UNITS = {"GiB": KIB * MIB, "MiB": MIB, "KiB": KIB, "B": 1}
_SIZE = re.compile(r"(0|[1-9]\d{0,17}) ?(B|KiB|MiB|GiB)?", re.ASCII)


class Size(Kind[int]):
    """A number of bytes."""

    name = "a size"
    unit = "bytes, KiB, MiB, GiB"

    def __init__(self, low: int, high: int) -> None:
        self.low, self.high = low, high
        self.bounds = f"{self.show(low)} to {self.show(high)}"

    def read(self, node: Scalar) -> int:
        found = _SIZE.fullmatch(node.text)
        if found is None:
            raise Refused(f"{echo(node)} is not a size like 512B, 64KiB or 1MiB{self.hint(node)}")
        size = int(found[1]) * _SIZE_UNITS[found[2] or "B"]
        in_bounds(size, self.low, self.high, echo(node), self.bounds)
        return size

    @staticmethod
    def hint(node: Scalar) -> str:
        near = re.fullmatch(r"(\d+) ?([kmg])i?b?", node.text, re.ASCII | re.IGNORECASE)
        return f" (did you mean {near[1]}{near[2].upper()}iB?)" if near else ""

    def show(self, value: int) -> str:
        for name, unit in _SIZE_UNITS.items():
            if value and value % unit == 0 and value >= unit:
                return f"{value // unit}{name}"
        return f"{value}B"


_DURATION_UNITS = {"d": 86400, "h": 3600, "m": 60, "s": 1}
_DURATION = re.compile(r"(\d{1,12}(?:\.\d{1,9})?)(ms|s|m|h|d)", re.ASCII)


class Duration(Kind[float]):
    """A span of time in seconds, kept to the microsecond so that writing it loses nothing."""

    name = "a time"
    unit = "ms, s, m, h, d"

    def __init__(self, low: float, high: float, zero: str = "") -> None:
        self.low, self.high, self.zero = low, high, zero
        self.bounds = f"{self.show(low)} to {self.show(high)}"
        if zero:
            self.bounds += f" (0 = {zero})"

    def read(self, node: Scalar) -> float:
        if node.text == "0":
            seconds = 0.0
        elif found := _DURATION.fullmatch(node.text):
            # Dividing is exact where multiplying by 0.001 would not be: 100ms is 0.1.
            number, unit = float(found[1]), found[2]
            seconds = number / 1000 if unit == "ms" else number * _DURATION_UNITS[unit]
        else:
            raise Refused(f"{echo(node)} is not a time like 500ms, 25s, 10m{self.hint(node)}")
        if seconds == 0 and self.zero:
            return 0.0
        in_bounds(round(seconds, 6), self.low, self.high, echo(node), self.bounds)
        return round(seconds, 6)

    @staticmethod
    def hint(node: Scalar) -> str:
        number = re.fullmatch(r"\d+(\.\d+)?", node.text, re.ASCII)
        return f" (did you mean {node.text}s?)" if number else ""

    def show(self, value: float) -> str:
        if value == 0:
            return "0"
        for name, unit in _DURATION_UNITS.items():
            if value >= unit and value % unit == 0:
                return f"{int(value // unit)}{name}"
        if value < 1 and round(value * 1000) / 1000 == value:
            return f"{round(value * 1000)}ms"
        return f"{value:.6f}".rstrip("0") + "s"


_FLAGS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}


class Flag(Kind[bool]):
    name = "true or false"

    def read(self, node: Scalar) -> bool:
        value = None if node.quoted else _FLAGS.get(node.text.lower())
        if value is None:
            raise Refused(f"{echo(node)} is not true or false")
        return value

    def show(self, value: bool) -> str:
        return "true" if value else "false"


class Choice(Kind[str]):
    """One of a few words. `flags`: the words for true and false, where YAML reads on as true."""

    def __init__(self, *words: str, flags: tuple[str, str] | None = None) -> None:
        self.words, self.flags = words, flags
        self.name = "one of " + ", ".join(words)

    def read(self, node: Scalar) -> str:
        if node.text in self.words:
            return node.text
        if self.flags and not node.quoted and node.text.lower() in _FLAGS:
            return self.flags[0] if _FLAGS[node.text.lower()] else self.flags[1]
        raise Refused(f"{echo(node)} is not {self.name}")


class Text(Kind[str]):
    name = "a text"
    unit = "characters"

    def __init__(self, high: int) -> None:
        self.high = high
        self.bounds = f"1 to {high} characters"

    def read(self, node: Scalar) -> str:
        if not node.text.isprintable():
            raise Refused(f"{quote(shorten(node.text))} has characters that cannot be shown")
        in_bounds(len(node.text), 1, self.high, f"a length of {len(node.text)}", self.bounds)
        return node.text

    def show(self, value: str) -> str:
        return quote(value)


class RoomName(Kind[str]):
    name = "a room name"
    bounds = ROOM_BOUNDS

    def read(self, node: Scalar) -> str:
        try:
            return room_name(node.text)
        except NameProblem:
            text = quote(shorten(node.text))
            raise Refused(f"{text} is not a room name: {self.bounds}") from None

    def show(self, value: str) -> str:
        return plain_or_quoted(value)


MAX_WORKERS = 64


class Workers(Kind[int]):
    name = "a whole number of processes, or auto"
    unit = "processes"
    bounds = f"1 to {MAX_WORKERS}"

    def read(self, node: Scalar) -> int:
        return usable_cpus() if node.text == "auto" else Count(1, MAX_WORKERS, self.unit).read(node)


def usable_cpus() -> int:
    """How many workers `auto` means: the CPUs this process may use, 64 at most."""
    return max(1, min(MAX_WORKERS, len(os.sched_getaffinity(0))))


class Path(Kind[str]):
    """A file or directory; relative ones count from the current directory."""

    name = "a path"

    def __init__(self, *, may_be_empty: bool = False, socket: str = "") -> None:
        """`socket` is the longest name of a Unix socket that has to fit below the directory."""
        self.may_be_empty, self.socket = may_be_empty, socket

    def read(self, node: Scalar) -> str:
        if not node.text and self.may_be_empty:
            return ""
        check_path(node.text)
        path = os.path.abspath(node.text)
        if self.socket:
            check_socket_path(os.path.join(path, self.socket))
        return path

    def show(self, value: str) -> str:
        return plain_or_quoted(value) if value else '""'


def check_path(text: str) -> None:
    # Unprintable includes NUL, which no path can hold, and what cannot be encoded.
    if not text or not text.isprintable():
        raise Refused(f"{quote(shorten(text))} is not a path")


def check_socket_path(path: str) -> None:
    size = len(os.fsencode(path))
    if size > MAX_SOCKET_PATH:
        raise Refused(
            f"the socket {shorten(path)} has a path of {size} bytes;"
            f" the system allows {MAX_SOCKET_PATH}"
        )


@dataclass(frozen=True)
class Each(Kind[tuple[str, ...]]):
    """A list of texts, or a single one, each passed through `check`."""

    name: str
    check: Callable[[str], str] = field(repr=False)
    bounds: str = ""

    def parse(self, node: Node, key: str, report: Report) -> tuple[str, ...]:
        return tuple(each(node, key, report, lambda item, _: self.one(item)))

    def one(self, node: Node) -> str:
        return self.check(scalar(node, "a text").text)

    def show(self, value: tuple[str, ...]) -> str:
        return show_list([quote(text) for text in value])


def each(node: Node, key: str, report: Report, parse: Callable[[Node, str], T]) -> list[T]:
    """The parsed items of a list, or of a single value standing for a list of one."""
    if not isinstance(node, Items):
        return [parse(node, key)]
    values = []
    for index, item in enumerate(node.items):
        try:
            values.append(parse(item, f"{key}[{index}]"))
        except Refused as refused:
            report.add(item, f"{key}[{index}]", str(refused))
    return values


_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_HOST = re.compile(rf"{_LABEL}(?:\.{_LABEL})*", re.IGNORECASE | re.ASCII)
_ORIGIN = re.compile(
    r"(?P<scheme>[a-z][a-z0-9+.-]*)://(?P<wild>\*\.)?(?P<host>\[[^\]]*\]|[^:/?#@\[\]]+)"
    r"(?::(?P<port>[0-9]{1,5}))?",
    re.IGNORECASE | re.ASCII,
)
_DEFAULT_PORTS = {"http": 80, "https": 443}


def origin(text: str) -> str:
    """An origin as browsers send it: lower case, and no port that the scheme implies."""
    if text == "*":
        return text
    found = _ORIGIN.fullmatch(text)
    if found is None:
        raise Refused(f"{quote(shorten(text))} is not an origin{_origin_hint(text)}")
    scheme, name = found["scheme"].lower(), found["host"]
    if name.startswith("[") and found["wild"] is None:
        address = host(name[1:-1])
        name = f"[{ipaddress.IPv6Address(address)}]" if ":" in address else name
    elif not name.isascii():
        raise Refused(f"{quote(text)}: write the host as browsers send it, xn--…")
    if not name.startswith("["):
        name = host(name.lower())
    shown = f"{scheme}://{found['wild'] or ''}{name}"
    if found["port"] is None:
        return shown
    number = port(found["port"])
    return shown if _DEFAULT_PORTS.get(scheme) == number else f"{shown}:{number}"


def _origin_hint(text: str) -> str:
    without_path = re.fullmatch(r"([a-z]+://[^/]+)/.*", text, re.IGNORECASE)
    if without_path:
        return f" (did you mean {shorten(without_path[1])}?)"
    if "://" not in text and _HOST.fullmatch(text):
        return f" (did you mean https://{shorten(text)}?)"
    return ' like https://example.com, https://*.example.com or "*"'


def network(text: str) -> str:
    """An IP network in its usual spelling; a single address is a network of one."""
    try:
        return str(ipaddress.ip_network(text))
    except ValueError:
        pass
    try:
        wide = ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise Refused(f"{quote(shorten(text))} is not a network like 10.0.0.0/8") from None
    raise Refused(f"{quote(text)} has bits beyond its mask (did you mean {wide}?)")


def proxy(text: str) -> str:
    """A network of proxies, or the word for all who connect by a Unix socket."""
    return text if text == "unix" else network(text)


def host(text: str) -> str:
    """An IP address or a host name. Names are looked up by who binds, not here."""
    if ":" in text or re.fullmatch(r"[\d.]+", text, re.ASCII):
        try:
            return str(ipaddress.ip_address(text))
        except ValueError:
            raise Refused(f"{quote(shorten(text))} is not an IP address") from None
    if len(text) > 253 or not _HOST.fullmatch(text):
        raise Refused(f"{quote(shorten(text))} is not a host")
    return text


def port(text: str) -> int:
    number = int(text) if re.fullmatch(r"[0-9]{1,5}", text, re.ASCII) else -1
    if not 0 <= number <= 65535:
        raise Refused(f"{quote(shorten(text))} is not a port: 0 to 65535")
    return number


Mode = bool | int | float | str


class Modes(Kind[dict[str, Mode]]):
    """A room's modes. Their names and meanings belong to the chat, not to this file."""

    name = "a mapping of modes"
    bounds = "name: true, false, a number or a text"

    def parse(self, node: Node, key: str, report: Report) -> dict[str, Mode]:
        if not isinstance(node, Entries):
            raise Refused("expected a mapping like {slow_s: 10}")
        modes: dict[str, Mode] = {}
        for name, value in node.entries.items():
            try:
                modes[name] = self.one(name, value)
            except Refused as refused:
                report.add(value, f"{key}.{shorten(name)}", str(refused))
        return modes

    @staticmethod
    def one(name: str, node: Node) -> Mode:
        if not re.fullmatch(r"[a-z][a-z0-9_]{0,31}", name):
            raise Refused("not the name of a mode")
        if not isinstance(node, Scalar) or node.empty:
            raise Refused(f"expected {Modes.bounds}")
        if node.quoted:
            return node.text
        if node.text in ("true", "false"):
            return node.text == "true"
        if re.fullmatch(r"-?\d{1,18}", node.text, re.ASCII):
            return int(node.text)
        if re.fullmatch(r"-?\d{1,18}\.\d{1,18}", node.text, re.ASCII):
            return float(node.text)
        return node.text

    def show(self, value: dict[str, Mode]) -> str:
        shown = [f"{name}: {json.dumps(mode, ensure_ascii=False)}" for name, mode in value.items()]
        return "{" + ", ".join(shown) + "}"
