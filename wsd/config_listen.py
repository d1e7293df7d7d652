"""The kind of value that says where to listen, with certificates, and behind which proxies."""

import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

import msgspec

from wsd.certificates import BadPair, Pair, read_pair
from wsd.config_file import Entries, Items, Node, Report, Scalar, shorten
from wsd.config_values import (
    Flag,
    Kind,
    Path,
    Refused,
    check_path,
    check_socket_path,
    each,
    host,
    port,
    quote,
    scalar,
    show_list,
)

T = TypeVar("T")


class Listen(msgspec.Struct, frozen=True):
    """One address to listen on. `path` is set for a Unix socket, host and port otherwise.

    `pairs` are the certificates of a listener with TLS; the first serves whoever asks for no name
    or for one that is in none of them.
    """

    host: str = ""
    port: int = 0
    path: str = ""
    pairs: tuple[Pair, ...] = ()
    proxy_protocol: bool = False

    @property
    def address(self) -> str:
        """`127.0.0.1:8002`, `[::1]:8002` or `unix:/path`: as the configuration has it."""
        if self.path:
            return f"unix:{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def tls(self) -> bool:
        return bool(self.pairs)


def listen_address(text: str) -> Listen:
    """An address without its options."""
    if text.startswith("unix:"):
        check_path(text.removeprefix("unix:"))
        path = os.path.abspath(text.removeprefix("unix:"))
        check_socket_path(path)
        return Listen(path=path)
    found = re.fullmatch(r"(?:\[([^\]]*)\]|([^:\[\]]*)):([^:]*)", text)
    if found is None or (found[2] in ("", "*")):
        raise Refused(f"{quote(shorten(text))} is not an address{_address_hint(text)}")
    if found[1] is not None and ":" not in found[1]:
        raise Refused(f"{quote(shorten(text))}: only an IPv6 address stands in brackets")
    return Listen(host=host(found[1] or found[2]), port=port(found[3]))


def _address_hint(text: str) -> str:
    if re.fullmatch(r"\d{1,5}", text, re.ASCII):
        return f" (did you mean 127.0.0.1:{text}?)"
    if found := re.fullmatch(r"\*?:(\d{1,5})", text, re.ASCII):
        return f" (for all addresses: 0.0.0.0:{found[1]} or [::]:{found[1]})"
    if text.startswith("/"):
        return f" (did you mean unix:{shorten(text)}?)"
    name, _, number = text.rpartition(":")
    if ":" in name and "[" not in text and number.isdecimal():
        return f" (did you mean [{shorten(name)}]:{number}?)"
    return " like 127.0.0.1:8002, [::1]:8002 or unix:/run/wsd/chat.sock"


class Addresses(Kind[tuple[Listen, ...]]):
    """Where to listen. `plain`: addresses alone, without options."""

    name = "an address or a list of them"

    def __init__(self, *, plain: bool = False) -> None:
        self.plain = plain

    def parse(self, node: Node, key: str, report: Report) -> tuple[Listen, ...]:
        if isinstance(node, Items) and not node.items:
            raise Refused("the list is empty; expected at least one address")
        return tuple(each(node, key, report, lambda item, at: self.one(item, at, report)))

    def one(self, node: Node, key: str, report: Report) -> Listen:
        if isinstance(node, Entries) and not self.plain:
            return _listen_entry(_Mapping(node, key, report))
        return listen_address(scalar(node, "an address").text)

    def show(self, value: tuple[Listen, ...]) -> str:
        if self.plain and len(value) == 1:
            return quote(value[0].address)
        return show_list([_show_listen(listen) for listen in value])


def _show_listen(listen: Listen) -> str:
    options = ""
    if listen.tls:
        pairs = [
            f"{{certificate: {quote(pair.certificate)}, key: {quote(pair.key)}}}"
            for pair in listen.pairs
        ]
        options = f", tls: {pairs[0] if len(pairs) == 1 else show_list(pairs)}"
    if listen.proxy_protocol:
        options += ", proxy_protocol: true"
    address = quote(listen.address)
    return f"{{address: {address}{options}}}" if options else address


@dataclass(frozen=True)
class _Mapping:
    """A mapping whose parts are read one by one; what is wrong with one goes into the report."""

    node: Entries
    key: str
    report: Report

    def only(self, *known: str) -> None:
        for name, value in self.node.entries.items():
            if name not in known:
                self.add(value, shorten(name), f"unknown key (known here: {', '.join(known)})")

    def take(self, name: str, read: Callable[[Scalar], T], expected: str) -> T | None:
        """One part, or None after reporting that it is missing or wrong."""
        found = self.node.entries.get(name)
        if found is None:
            self.add(self.node, name, "this key is missing")
            return None
        try:
            return read(scalar(found, expected))
        except Refused as refused:
            self.add(found, name, str(refused))
            return None

    def add(self, node: Node, name: str, message: str) -> None:
        self.report.add(node, f"{self.key}.{name}", message)


def _listen_entry(mapping: _Mapping) -> Listen:
    """The long form of an address: a mapping with options."""
    mapping.only("address", "tls", "proxy_protocol")
    address = mapping.take("address", lambda n: listen_address(n.text), "an address") or Listen()
    options = mapping.node.entries
    proxied = None
    if "proxy_protocol" in options:
        proxied = mapping.take("proxy_protocol", Flag().read, Flag.name)
    pairs = _pairs(options["tls"], f"{mapping.key}.tls", mapping.report) if "tls" in options else ()
    return msgspec.structs.replace(address, pairs=pairs, proxy_protocol=bool(proxied))


def _pairs(node: Node, key: str, report: Report) -> tuple[Pair, ...]:
    """One certificate with its key, or a list of them."""
    if isinstance(node, Items) and not node.items:
        report.add(node, key, "the list is empty; expected {certificate: FILE, key: FILE}")
    defaults = (key, f"{key}[0]")
    try:
        pairs = each(node, key, report, lambda item, at: _pair(item, at, report, at in defaults))
    except Refused as refused:
        report.add(node, key, str(refused))
        return ()
    return tuple(pair for pair in pairs if pair)


def _pair(node: Node, key: str, report: Report, is_default: bool) -> Pair | None:
    if not isinstance(node, Entries):
        raise Refused("expected {certificate: FILE, key: FILE}")
    mapping = _Mapping(node, key, report)
    mapping.only("certificate", "key")
    certificate = mapping.take("certificate", Path().read, "a path")
    secret = mapping.take("key", Path().read, "a path")
    if not certificate or not secret:
        return None
    try:
        pair = read_pair(certificate, secret)
    except BadPair as bad:
        for part, text in bad.problems.items():
            mapping.add(node.entries[part], part, text)
        return None
    if not pair.names and not is_default:
        text = f"{certificate} names no host, so nobody could ask for it"
        mapping.add(node.entries["certificate"], "certificate", text)
    return pair


def certificate_warnings(listeners: Iterable[Listen], now: float) -> list[str]:
    """What is not right about certificates, but no reason not to start."""
    return [text for pair in _all_pairs(listeners) for text in pair.warnings(now)]


def newly_invalid(before: Iterable[Listen], after: Iterable[Listen], now: float) -> list[str]:
    """Why certificates that a reload would bring are worse than those in force.

    One that has expired while it served hinders nothing: what else is in the file may be urgent.
    """
    served = {pair.chain for pair in _all_pairs(before)}
    return [
        text
        for pair in _all_pairs(after)
        if pair.chain not in served and (text := pair.why_not_valid(now))
    ]


def _all_pairs(listeners: Iterable[Listen]) -> Iterator[Pair]:
    return (pair for listen in listeners for pair in listen.pairs)
