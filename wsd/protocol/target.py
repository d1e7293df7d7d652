"""What an HTTP request is about: its target (RFC 9112 section 3.2) and its Host."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from ipaddress import AddressValueError, IPv6Address
from types import MappingProxyType
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from wsd.protocol.refusal import HttpError

MAX_PARAMETERS = 64
MAX_HOST_BYTES = 255

# A reg-name without percent-encoding and sub-delims, which no DNS name has (RFC 3986, 3.2.2).
_HOST = re.compile(r"(?:[A-Za-z0-9._~-]+|\[([0-9A-Fa-f:.]+)\])(?::([0-9]{1,5}))?")
_ABSOLUTE = re.compile(r"[Hh][Tt][Tt][Pp][Ss]?://([^/?]*)(.*)")
# Bytes that every browser encodes: here they come from somebody probing.
_NEVER_RAW = re.compile(r'["#<>]')
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
# Encoded '/', '\' and controls: the next program to see the path may decode and act on them.
_TRICK_ESCAPE = re.compile(r"%(?:2[Ff]|5[Cc]|[01][0-9A-Fa-f]|7[Ff])")


@lru_cache(maxsize=256)
def is_host(text: str) -> bool:
    """Whether `text` is a host name, an IPv4 address or [IPv6], with or without a port."""
    match = _HOST.fullmatch(text)
    if match is None or len(text) > MAX_HOST_BYTES:
        return False
    address, port = match.groups()
    return (port is None or int(port) <= 65535) and (address is None or _is_ipv6(address))


def _is_ipv6(text: str) -> bool:
    try:
        IPv6Address(text)
    except AddressValueError:
        return False
    return True


class Target(NamedTuple):
    """The authority is "" unless the target is in absolute-form, which a server must accept (RFC
    9112, 3.2.2)."""

    authority: str
    path: str  # percent-decoded, never normalised
    query: Mapping[str, str]


@lru_cache(maxsize=256)  # nearly all requests are for the same few
def parse_target(method: str, target: str) -> Target:
    """What a request target says. `*` is a path for OPTIONS only (3.2.4). Raises HttpError 400."""
    authority, path, query = _split(method, target)
    return Target(authority, decode_path(path), MappingProxyType(parse_query(query)))


def _split(method: str, target: str) -> tuple[str, str, str]:
    """(authority, path, query), the last two still percent-encoded."""
    if _NEVER_RAW.search(target):
        raise HttpError(400, "bad_target", "The target holds a character that must be encoded.")
    authority = ""
    if target[0] != "/":
        if target == "*" and method == "OPTIONS":
            return "", "*", ""
        match = _ABSOLUTE.fullmatch(target)
        if match is None or not match[1]:
            raise HttpError(400, "bad_target", "The target is neither a path nor an http URL.")
        authority, target = match.groups()
        if target[:1] != "/":
            target = "/" + target
    path, _, query = target.partition("?")
    return authority, path, query


def decode_path(raw: str) -> str:
    """The path percent-decoded as UTF-8, otherwise as it was sent: nothing is normalised.

    Raises HttpError 400 for what somebody else could read as another path: a leading `//`,
    `.` and `..` segments, backslashes, and encoded slashes, backslashes and controls.
    """
    path = raw
    if "%" in raw:
        if _TRICK_ESCAPE.search(raw):
            raise HttpError(400, "bad_path", "The path hides a slash or a control character.")
        path = _unquote(raw, "bad_path")
    if path.startswith("//") or "\\" in path:
        raise HttpError(400, "bad_path", "The path has an empty first segment or a backslash.")
    if "/." in path and not {".", ".."}.isdisjoint(path.split("/")):
        raise HttpError(400, "bad_path", "The path has a dot segment.")
    return path


def parse_query(raw: str) -> dict[str, str]:
    """The parameters of a query as forms encode them: `+` is a space, the first of a name wins.

    Raises HttpError 400 for a broken escape, invalid UTF-8 or more than MAX_PARAMETERS.
    """
    query: dict[str, str] = {}
    if not raw:
        return query
    if raw.count("&") >= MAX_PARAMETERS:
        raise HttpError(400, "too_many_parameters", f"At most {MAX_PARAMETERS} parameters.")
    for piece in raw.split("&"):
        if piece:
            name, _, value = piece.partition("=")
            query.setdefault(_form_decode(name), _form_decode(value))
    return query


def _form_decode(text: str) -> str:
    text = text.replace("+", " ")
    return _unquote(text, "bad_query") if "%" in text else text


def _unquote(text: str, reason: str) -> str:
    if _BAD_ESCAPE.search(text):
        raise HttpError(400, reason, "A percent sign is not followed by two hex digits.")
    try:
        return unquote_to_bytes(text).decode("utf-8")
    except UnicodeDecodeError:
        raise HttpError(400, reason, "The encoded text is not UTF-8.") from None
