"""Whose address counts: what proxies say of who is behind them, and what is counted as one.

Only X-Forwarded-For and Forwarded (RFC 7239) are read, and only from peers that are trusted.  In
both, each proxy adds on the right what it has seen itself; what stands left of that was written by
whoever sent the request.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import islice

from wsd.protocol.http import HttpError
from wsd.protocol.lines import TOKEN

MAX_HOPS = 32
UNKNOWN = "unknown"
"""A peer of whom nobody knows the address, and who is not believed either."""


class Proxies:
    """The peers that are believed: networks, and "unix" for all who connect by a Unix socket."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._unix = "unix" in texts
        self._networks = [ipaddress.ip_network(text) for text in texts if text != "unix"]
        self.trust = lru_cache(maxsize=4096)(self._trust)
        """Whether a peer is believed: an address, "" for the other end of a Unix socket, or
        ``UNKNOWN``."""

    def _trust(self, peer: str) -> bool:
        if not peer:
            return self._unix
        address = plain_address(peer)
        return bool(address) and any(_parse(address) in network for network in self._networks)


def client_address(peer: str, headers: Mapping[str, str], proxies: Proxies) -> str:
    """The address behind the proxies that are trusted, the right-most hop that is none of them.

    "" if nobody knows it.  Raises HttpError where the two headers do not agree: one of them then
    comes from the client, and which one is not to be seen from here.
    """
    address = plain_address(peer)
    if not proxies.trust(peer):
        return address
    found = {
        _nearest(address, hops(headers[name]), proxies)
        for name, hops in (("x-forwarded-for", _listed), ("forwarded", _forwarded))
        if name in headers
    }
    if len(found) > 1:
        raise HttpError(400, "forwarded_conflict", "X-Forwarded-For and Forwarded differ.")
    return found.pop() if found else address


def _nearest(address: str, hops: Iterable[str], proxies: Proxies) -> str:
    """The first hop that is not trusted.  What is no address ends the search at the last one."""
    for hop in islice(hops, MAX_HOPS):
        found = plain_address(hop)
        if not found:
            break
        address = found
        if not proxies.trust(address):
            break
    return address


def _listed(value: str) -> Iterator[str]:
    """The hops of X-Forwarded-For, from the right."""
    return (hop.strip(" \t") for hop in reversed(value.rsplit(",", MAX_HOPS)))


def _forwarded(value: str) -> Iterator[str]:
    """The nodes of Forwarded, from the right; "" for an element that has none, or is malformed."""
    while value:
        value, element = _last_element(value)
        yield _node(element)


def _last_element(value: str) -> tuple[str, str]:
    """What is left of the last comma outside quotes, and what is right of it.

    From the right, because a quote that the client has left open must not hide what the proxies
    have added.  Of a well-formed element that finds the same end as reading from the left.
    """
    quoted = False
    for at in range(len(value) - 1, -1, -1):
        if value[at] == '"' and not (quoted and _is_escaped(value, at)):
            quoted = not quoted
        elif value[at] == "," and not quoted:
            return value[:at], value[at + 1 :]
    return "", value


def _is_escaped(value: str, at: int) -> bool:
    """Whether an odd number of backslashes stands before that place."""
    before = at
    while before and value[before - 1] == "\\":
        before -= 1
    return (at - before) % 2 == 1


# One pair or none, with the semicolon or end behind it (RFC 7239, 4; the space is a courtesy).
_PAIR = re.compile(rf'[ \t]*(?:({TOKEN})=({TOKEN}|"(?:[^"\\]|\\.)*")[ \t]*)?(?:;|\Z)', re.ASCII)


def _node(element: str) -> str:
    """The value of ``for`` in one element."""
    nodes: list[str] = []
    at = 0
    while at < len(element):
        pair = _PAIR.match(element, at)
        if pair is None:
            return ""
        if pair[1] and pair[1].lower() == "for":
            nodes.append(pair[2].strip('"'))
        at = pair.end()
    return nodes[0] if len(nodes) == 1 else ""


# Parsing takes 3 µs, and each connection asks twice or more; visitors come back.
_parse = lru_cache(maxsize=4096)(ipaddress.ip_address)


@lru_cache(maxsize=4096)
def plain_address(text: str) -> str:
    """``text`` in its one plain form (an IPv4-mapped one as IPv4), or "" if it is no address."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = _parse(text.partition("%")[0])
    except ValueError:
        return ""
    mapped = getattr(address, "ipv4_mapped", None)
    return str(mapped or address)


def address_group(address: str) -> str:
    """What a plain address is counted by: itself, or the /64 that an IPv6 site has."""
    if ":" not in address:
        return address
    return str(ipaddress.ip_network(f"{address}/64", strict=False))
