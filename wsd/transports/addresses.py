"""Whose address counts: what proxies say of who is behind them, and what is counted as one."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from functools import lru_cache

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def parse_networks(texts: Sequence[str]) -> tuple[Network, ...]:
    return tuple(ipaddress.ip_network(text, strict=False) for text in texts)


def client_address(peer: str, headers: Mapping[str, str], trusted: Sequence[Network]) -> str:
    """The address behind the proxies that are trusted: the right-most hop that is none of them.

    What stands further left was written by whoever sent the request.  Anything that is not an
    address ends the search at the last one that was.
    """
    address = plain_address(peer)
    if not _trusted(address, trusted):
        return address
    for hop in reversed(headers.get("x-forwarded-for", "").split(",")[-32:]):
        found = plain_address(hop.strip(" \t"))
        if not found:
            break
        address = found
        if not _trusted(address, trusted):
            break
    return address


def is_proxy(peer: str, trusted: Sequence[Network]) -> bool:
    """Whether only the headers can tell the address: a trusted proxy, or a Unix socket."""
    address = plain_address(peer)
    return not address or _trusted(address, trusted)


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


def _trusted(address: str, trusted: Sequence[Network]) -> bool:
    if not address:
        return False
    ip = _parse(address)
    return any(ip in network for network in trusted)


def address_group(address: str) -> str:
    """What connections are counted by: an IPv4 address, or the /64 that an IPv6 site has."""
    if ":" not in address:
        return address
    return str(ipaddress.ip_network(f"{address}/64", strict=False))
