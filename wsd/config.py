"""The one table of settings: name, type, default, kind, bounds, help, reload or restart.

Everything else about the configuration derives from the annotated structs below: loading and its
errors, overrides from the environment, the default file, the reference, what is in force, and the
list of what a reload cannot change. `config_file.py` reads YAML, `config_values.py` has the kinds
of value (`config_listen.py` that of listeners), `config_table.py` walks the table,
`config_check.py` compares settings with each other, `config_text.py` writes the files.
"""

import os
import sys
from collections.abc import Mapping
from functools import cache, cached_property
from typing import Annotated, Any, TypeVar

import msgspec

from wsd import config_text
from wsd.config_check import CrossCheck
from wsd.config_file import (
    ConfigError,
    Entries,
    Node,
    Problem,
    Report,
    Scalar,
    read,
    shorten,
)
from wsd.config_listen import Addresses, Listen
from wsd.config_table import Builder, Key, Table, from_environment
from wsd.config_values import (
    KIB,
    MIB,
    Choice,
    Count,
    Duration,
    Each,
    Flag,
    Kind,
    Mode,
    Modes,
    Path,
    Refused,
    RoomName,
    Size,
    Text,
    Workers,
    origin,
    plain_or_quoted,
    proxy,
    quote,
    usable_cpus,
)

__all__ = [
    "ConfigError",
    "Listen",
    "Problem",
    "RoomSettings",
    "Settings",
    "load",
    "load_whereabouts",
    "needs_restart",
    "render_default",
    "render_effective",
    "render_reference",
]

_MINUTE, _HOUR, _DAY = 60.0, 3600.0, 86400.0
_YEAR = 365 * _DAY

LANGUAGES = (
    "en", "zh-CN", "zh-TW", "es", "fr", "de", "pt-BR", "ru", "ja", "ko", "ar", "hi"
)  # fmt: skip
"""Of the interface; each is a file in ``wsd/web/lang``."""

ORIGINS = Each("a list of origins", origin, 'https://example.com, https://*.example.com or "*"')
PROXIES = Each("a list of networks", proxy, "an address, a network like 10.0.0.0/8, or unix")


class RoomHistory(msgspec.Struct, frozen=True):
    """Overrides of `history` for one room; None is no override. Kinds are those of the table."""

    size: int | None = None
    keep: float | None = None
    replay: int | None = None
    recover_max: int | None = None
    page_max: int | None = None


class RoomLimits(msgspec.Struct, frozen=True):
    """Overrides of those `limits` that make sense for one room."""

    text: int | None = None
    burst: int | None = None
    every: float | None = None


class RoomOverrides(msgspec.Struct, frozen=True):
    """What one entry of `rooms` says."""

    history: RoomHistory = RoomHistory()
    limits: RoomLimits = RoomLimits()
    origins: tuple[str, ...] | None = None
    modes: Annotated[dict[str, Mode], Key(Modes(), "Modes the room starts with.")] = {}


class Rooms(Kind[dict[str, RoomOverrides]]):
    """Rooms and their overrides, read with the kinds of the keys that are overridden."""

    name = "a mapping of rooms"
    bounds = "history.*, limits.text, limits.burst, limits.every, origins, modes"

    def parse(self, node: Node, key: str, report: Report) -> dict[str, RoomOverrides]:
        if not isinstance(node, Entries):
            raise Refused("expected a mapping like {lobby: {history: {size: 100}}}")
        rooms: dict[str, RoomOverrides] = {}
        for written, value in node.entries.items():
            path = f"{key}.{shorten(written)}"
            try:
                name = RoomName().read(Scalar(value.file, value.line, written, quoted=True))
                if name in rooms:
                    raise Refused("given twice, in different spellings of the same characters")
            except Refused as refused:
                report.add(value, path, str(refused))
                continue
            rooms[name] = Builder(table(), report).section(RoomOverrides, value, path)
        return rooms

    def show(self, value: dict[str, RoomOverrides]) -> str:
        if not value:
            return "{}"
        return "".join(
            f"\n  {plain_or_quoted(name) if name.isascii() else quote(name)}:"
            f" {_show_overrides(overrides)}"
            for name, overrides in value.items()
        )


def _show_overrides(overrides: msgspec.Struct, path: str = "") -> str:
    shown = []
    for name, part in table().parts(type(overrides), path).items():
        value = getattr(overrides, name)
        if value in (None, {}):
            continue
        if isinstance(part, Key):
            shown.append(f"{name}: {part.kind.show(value)}")
        elif value != part():
            shown.append(f"{name}: {_show_overrides(value, name)}")
    return "{" + ", ".join(shown) + "}"


class Page(msgspec.Struct, frozen=True):
    """The chat page."""

    title: Annotated[str, Key(Text(100), "Name of the site, shown above the chat.")] = "wsd"
    default_room: Annotated[
        str, Key(RoomName(), "Room of the page at /, and of addresses that name none.")
    ] = "lobby"
    language: Annotated[
        str,
        Key(
            Choice("auto", *LANGUAGES),
            "Language of the page; auto takes the one the browser asks for.",
        ),
    ] = "auto"


class History(msgspec.Struct, frozen=True):
    """What is kept of a room, and how much of it is sent."""

    size: Annotated[
        int, Key(Count(1, 10_000_000, "events"), "Newest events kept in each room.")
    ] = 10_000
    keep: Annotated[float, Key(Duration(1, 100 * _YEAR), "Age after which events are deleted.")] = (
        30 * _DAY
    )
    replay: Annotated[
        int, Key(Count(0, 10_000, "events"), "Events that someone new in a room is shown.")
    ] = 50
    recover_max: Annotated[
        int,
        Key(
            Count(0, 100_000, "events"),
            "Most missed events sent to a client that comes back; with more missed than this it"
            " gets the newest ones and is told so.",
        ),
    ] = 500
    page_max: Annotated[
        int, Key(Count(1, 10_000, "messages"), "Most messages in one answer of a history page.")
    ] = 200


class Limits(msgspec.Struct, frozen=True):
    """What one visitor may use."""

    text: Annotated[int, Key(Count(1, 1_000_000, "characters"), "Length of one message.")] = 1000
    message: Annotated[
        int, Key(Size(125, 64 * MIB), "One WebSocket message or request body, after inflating.")
    ] = 64 * KIB
    fragments: Annotated[
        int, Key(Count(1, 1_000_000, "frames"), "Frames that make up one WebSocket message.")
    ] = 1024
    burst: Annotated[
        int,
        Key(
            Count(1, 100_000, "messages"),
            "Messages a guest may send at once; after them one per limits.every. Who tries again"
            " before the time waits twice as long.",
        ),
    ] = 5
    every: Annotated[
        float,
        Key(
            Duration(0, _DAY, "no limit"),
            "Time in which a guest earns one more message. Without it address_share and repeat"
            " limit nothing either.",
        ),
    ] = 2.0
    address_share: Annotated[
        int,
        Key(
            Count(0, 100_000, "guests", "no limit"),
            "How many times a guest's messages all guests of one IPv4 address or IPv6 /64 together"
            " may send.",
        ),
    ] = 10
    repeat: Annotated[
        float,
        Key(
            Duration(0, _HOUR, "off"),
            "Time within which a guest may not say the same again in a room, if it is a text of"
            " 16 characters or more.",
        ),
    ] = 30.0
    connections: Annotated[
        int, Key(Count(1, 1_000_000, "connections"), "Connections of each worker.")
    ] = 10_000
    connections_per_address: Annotated[
        int,
        Key(
            Count(0, 1_000_000, "connections", "no limit"),
            "Connections from one IPv4 address or IPv6 /64, at all workers together.",
        ),
    ] = 50
    queue: Annotated[
        int,
        Key(
            Size(KIB, 1024 * MIB),
            "Output waiting for one connection. What happens in rooms may take half of it; a"
            " reader slower than that is served from the history.",
        ),
    ] = MIB
    rooms_per_connection: Annotated[
        int, Key(Count(1, 10_000, "rooms"), "Rooms that one connection may be in.")
    ] = 16


class Timeouts(msgspec.Struct, frozen=True):
    """How long a connection may take before it is closed."""

    header: Annotated[
        float,
        Key(Duration(0.1, _HOUR), "For a whole request header, and for the TLS handshake."),
    ] = 10.0
    hello: Annotated[
        float, Key(Duration(0.1, _HOUR), "For the first message after a wsd.v1 handshake.")
    ] = 10.0
    body: Annotated[
        float,
        Key(Duration(0.1, _HOUR), "For a whole request body, and for a WebSocket message begun."),
    ] = 20.0
    write: Annotated[
        float, Key(Duration(0.1, _HOUR), "For output that makes no progress at all.")
    ] = 30.0
    close: Annotated[
        float, Key(Duration(0.1, _HOUR), "For the other side's answer to a close frame.")
    ] = 5.0
    keep_alive: Annotated[
        float, Key(Duration(0.1, _HOUR), "For the next request on an idle HTTP connection.")
    ] = 30.0


class Ping(msgspec.Struct, frozen=True):
    """How silent connections are found."""

    every: Annotated[
        float, Key(Duration(0.1, _HOUR), "Time from one ping of a connection to the next.")
    ] = 25.0
    timeout: Annotated[
        float, Key(Duration(0.1, _HOUR), "For the answer; without one the connection is closed.")
    ] = 10.0


class Poll(msgspec.Struct, frozen=True):
    """Long polling."""

    hold: Annotated[
        float,
        Key(
            Duration(0, 5 * _MINUTE),
            "Longest time that a poll waits for news.",
        ),
    ] = 25.0


class Drain(msgspec.Struct, frozen=True):
    """How a stop or a restart lets clients go."""

    spread: Annotated[
        float,
        Key(Duration(0, _HOUR), "Time over which clients are spread as they come back."),
    ] = 10.0
    stop: Annotated[
        float,
        Key(Duration(0.1, _HOUR), "After this the daemon ends, whoever is still connected."),
    ] = 30.0


class Identity(msgspec.Struct, frozen=True):
    """Who a visitor is."""

    secret_file: Annotated[
        str,
        Key(
            Path(may_be_empty=True),
            "File with the secret that signs guests' tokens; empty: one is made in the state"
            " directory.",
        ),
    ] = ""
    guest_token_life: Annotated[
        float, Key(Duration(1, 100 * _YEAR), "How long a guest who stays away remains the same.")
    ] = 30 * _DAY


class Log(msgspec.Struct, frozen=True):
    """What the daemon writes about itself."""

    level: Annotated[
        str, Key(Choice("debug", "info", "warning", "error"), "Least important line written.")
    ] = "info"
    format: Annotated[
        str, Key(Choice("text", "json"), "text for people, json for machines; one line each.")
    ] = "text"


class RoomSettings(msgspec.Struct, frozen=True):
    """What holds in one room, its overrides applied."""

    history: History
    limits: Limits
    origins: tuple[str, ...]
    modes: dict[str, Mode]


class Settings(msgspec.Struct, frozen=True, dict=True):
    """Everything that can be configured. A reload sends it whole, as MessagePack, to every
    process; each swaps one reference, so nobody ever sees half of a change."""

    listen: Annotated[
        tuple[Listen, ...],
        Key(
            Addresses(),
            "Where visitors connect: HOST:PORT or unix:PATH, one or a list. Port 0 takes any free"
            " one. A mapping {address: …, tls: {certificate: FILE, key: FILE}} serves TLS; a list"
            " of such pairs after tls: serves each name its own. proxy_protocol: true expects every"
            " connection to begin with a PROXY header (version 1 or 2) of one of trusted_proxies.",
            restart=True,
        ),
    ] = (Listen("127.0.0.1", 8002),)
    admin: Annotated[
        tuple[Listen, ...],
        Key(
            Addresses(plain=True),
            "Where the administrator's commands, health checks and metrics connect. Left out, it"
            " is admin.sock in the runtime directory.",
            restart=True,
            documented='"unix:/run/wsd/admin.sock"',
        ),
    ] = ()
    workers: Annotated[
        int,
        Key(
            Workers(),
            "Processes that serve clients; auto is one for each CPU.",
            documented="auto",
        ),
    ] = msgspec.field(default_factory=usable_cpus)
    state: Annotated[
        str,
        Key(Path(), "Directory of what must survive: the log of all messages.", restart=True),
    ] = "/var/lib/wsd"
    runtime: Annotated[
        str,
        Key(Path(socket="admin.sock"), "Directory of sockets and of the PID file.", restart=True),
    ] = "/run/wsd"
    origins: Annotated[
        tuple[str, ...],
        Key(
            ORIGINS,
            "Sites whose pages may connect, beside this server's own pages."
            ' "*" is any site, https://*.example.com every subdomain.',
        ),
    ] = ()
    trusted_proxies: Annotated[
        tuple[str, ...],
        Key(
            PROXIES,
            "Who is believed in X-Forwarded-For, Forwarded and PROXY headers: your proxies, nobody"
            " else. unix is whoever connects by a Unix socket.",
        ),
    ] = ("127.0.0.0/8", "::1/128")
    echo: Annotated[
        bool,
        Key(Flag(), "Offer a WebSocket on /echo that echoes, to try proxies and clients with."),
    ] = False
    page: Page = Page()
    rooms: Annotated[
        dict[str, RoomOverrides],
        Key(
            Rooms(),
            "Overrides for single rooms, like {lobby: {limits: {text: 300}, modes: {slow_s: 10}}}.",
        ),
    ] = {}
    history: History = History()
    durability: Annotated[
        str,
        Key(
            Choice("full", "normal", "memory"),
            "full: on disk before it is acknowledged; normal: survives crashes, not power loss;"
            " memory: nothing is stored. Changing to or from memory needs a restart.",
        ),
    ] = "full"
    limits: Limits = Limits()
    timeouts: Timeouts = Timeouts()
    ping: Ping = Ping()
    poll: Poll = Poll()
    compression: Annotated[
        str,
        Key(
            Choice("off", "on", flags=("on", "off")),
            "Compressed WebSocket messages (permessage-deflate), for clients that ask for them when"
            " they connect. What is shorter than 512 bytes is sent as it is.",
        ),
    ] = "off"
    drain: Drain = Drain()
    identity: Identity = Identity()
    log: Log = Log()

    def __post_init__(self) -> None:
        if not self.admin:
            admin = (Listen(path=os.path.join(self.runtime, "admin.sock")),)
            msgspec.structs.force_setattr(self, "admin", admin)

    def for_room(self, room: str) -> RoomSettings:
        """What holds in `room`; two dictionary look-ups, as every message asks."""
        return self._with_overrides.get(room, self._without_overrides)

    @cached_property
    def _without_overrides(self) -> RoomSettings:
        return RoomSettings(self.history, self.limits, self.origins, {})

    @cached_property
    def _with_overrides(self) -> dict[str, RoomSettings]:
        return {name: self._overridden(overrides) for name, overrides in self.rooms.items()}

    def _overridden(self, overrides: RoomOverrides) -> RoomSettings:
        return RoomSettings(
            history=_replace_given(self.history, overrides.history),
            limits=_replace_given(self.limits, overrides.limits),
            origins=self.origins if overrides.origins is None else overrides.origins,
            modes=overrides.modes,
        )


S = TypeVar("S", bound=msgspec.Struct)


def _replace_given(values: S, overrides: msgspec.Struct) -> S:
    given = {k: v for k, v in msgspec.structs.asdict(overrides).items() if v is not None}
    return msgspec.structs.replace(values, **given)


@cache
def table() -> Table:
    """Every setting, in the order of the file."""
    return Table(Settings)


# What `wsd run` in a checkout uses without any file, so that it needs no root.
_CHECKOUT = {"state": "var", "runtime": "var/run"}


def load(path: str | None, environ: Mapping[str, str] = os.environ) -> Settings:
    """The settings of a file, or the embedded defaults for None, with the environment's
    overrides. Raises ConfigError with everything that is wrong; binds nothing."""
    settings, report = _build(path, environ)
    report.raise_if_any()
    return settings


def load_whereabouts(path: str | None, environ: Mapping[str, str] = os.environ) -> Settings:
    """Of a configuration with mistakes: settings that are good for finding the daemon which runs.
    Raises ConfigError where the mistakes leave even that in doubt."""
    settings, report = _build(path, environ)
    if any(report.has(key) for key in ("state", "runtime", "admin")):
        report.raise_if_any()
    return settings


def _build(path: str | None, environ: Mapping[str, str]) -> tuple[Settings, Report]:
    """What is wrong has its default in the settings, and its problem in the report. Raises
    ConfigError where nothing can be read."""
    report = Report()
    overrides: dict[str, Node] = {}
    root: Node | None = None
    if path is None:
        overrides |= {k: Scalar("embedded defaults", 1, v) for k, v in _CHECKOUT.items()}
    else:
        root = read(path, report)
    overrides |= from_environment(table(), environ, report)
    builder = Builder(table(), report, overrides)
    settings = builder.section(Settings, root, "")
    check = CrossCheck(table(), builder.given, report)
    check.orders(settings, settings.for_room)
    check.listeners(listen=settings.listen, admin=settings.admin)
    # In the file's order, which is not the table's; the environment after it.
    report.problems.sort(key=lambda problem: (problem.file != path, problem.line))
    return settings, report


def needs_restart(old: Settings, new: Settings) -> list[str]:
    """The changed keys that a reload cannot change."""
    changed = [
        path
        for path, setting in table().rows.items()
        if setting.key.restart and _bound(setting.of(old)) != _bound(setting.of(new))
    ]
    if old.durability != new.durability and "memory" in (old.durability, new.durability):
        changed.append("durability")  # it is another file, or none
    return changed


def _bound(value: Any) -> Any:
    """Of listeners only what is fixed when they are bound; certificates can be read again."""
    if isinstance(value, tuple):
        return [(listen.address, listen.tls, listen.proxy_protocol) for listen in value]
    return value


def render_default() -> str:
    """The commented default file, etc/wsd.yaml."""
    return config_text.default_file(_rows_to_write(None))


def render_effective(settings: Settings) -> str:
    """What is in force, as YAML that loads again. No key holds a secret, only paths to them."""
    return config_text.effective_file(_rows_to_write(settings))


def render_reference() -> str:
    """The reference, docs/configuration.md."""
    return config_text.reference(_rows_to_write(None))


def _rows_to_write(settings: Settings | None) -> list[config_text.Row]:
    """The table with each key's default, or with its value in `settings`."""
    return [
        config_text.Row(
            path=setting.path,
            title=(setting.section.__doc__ or "") if "." in setting.path else "",
            key=setting.key,
            text=setting.key.kind.show(setting.of(settings)) if settings else setting.default_text,
        )
        for setting in table().rows.values()
    ]


def main(arguments: list[str]) -> int:
    """`python -m wsd.config default|reference`: for `make`, which writes the files."""
    renderers = {"default": render_default, "reference": render_reference}
    if len(arguments) != 1 or arguments[0] not in renderers:
        print("usage: python -m wsd.config default|reference", file=sys.stderr)
        return 64
    sys.stdout.write(renderers[arguments[0]]())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
