"""Which pages may talk to this daemon."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from wsd.protocol.http import HttpError, Request

_DEFAULT_PORTS = {"http": "80", "https": "443", "ws": "80", "wss": "443"}
# RFC 6454, 6.2: nothing behind the port, and no "*": a pattern is not an origin that matches it.
_ORIGIN = re.compile(r"([a-z]+)://([a-z0-9._~-]+|\[[0-9a-f:.]+\])(?::([0-9]{1,5}))?")


def origin_allowed(origin: str | None, host: str, patterns: Sequence[str]) -> bool:
    """Whether a page of ``origin`` may use this daemon, which it reached as ``host``.

    No Origin header at all means no browser (RFC 6454 section 7.3; browsers send it with every
    WebSocket handshake and every POST), and what is no browser carries nobody's cookies.
    """
    if origin is None or "*" in patterns:
        return True
    parts = _split(origin)
    if parts is None:
        return False
    # The daemon's own pages always may: else a site that lists its shop would shut out the page
    # behind the box's pop-out link.
    return _same(parts, host) or any(_matches(parts, pattern) for pattern in patterns)


class Page(NamedTuple):
    """Where a visitor's page is from, and the address by which it reached this daemon."""

    origin: str | None
    host: str

    def may_use(self, patterns: Sequence[str]) -> bool:
        return origin_allowed(self.origin, self.host, patterns)


@lru_cache(maxsize=1024)
def page_of(origin: str | None, host: str) -> Page:
    """One for all visitors of a page: one for each would be 200 bytes a member."""
    return Page(origin, host)


def check_origin(request: Request, patterns: Sequence[str]) -> list[tuple[str, str]]:
    """The headers that let the page behind ``request`` read the answer.  Raises HttpError.

    The answer depends on the origin, so a cache has to keep them apart.  Credentials are never
    allowed: whoever somebody is stands in the body, and cookies are of no use here.
    """
    origin = request.headers.get("origin")
    if origin is None and request.header("sec-fetch-site") in _FOREIGN and "*" not in patterns:
        # A browser that says so, and a page that hides its origin (an image, a link).
        raise bad_origin()
    if not origin_allowed(origin, request.header("host"), patterns):
        raise bad_origin()
    vary = ("Vary", "Origin")
    return [vary] if origin is None else [vary, ("Access-Control-Allow-Origin", origin)]


_FOREIGN = ("cross-site", "same-site")


def bad_origin() -> HttpError:
    """Every page may read this answer, and only this one: else a browser would tell its script no
    more than that something failed, and the box could not say what is wrong."""
    return HttpError(
        403, "bad_origin", "Pages of this origin may not connect here.",
        (("Access-Control-Allow-Origin", "*"),),
    )  # fmt: skip


@lru_cache(maxsize=1024)
def _split(origin: str) -> tuple[str, str, int] | None:
    """(scheme, host, port); None for what is not a plain origin, ``null`` included."""
    match = _ORIGIN.fullmatch(origin.lower())
    if match is None:
        return None
    scheme, host, port = match.groups()
    number = int(port or _DEFAULT_PORTS.get(scheme, "0"))
    return (scheme, host, number) if 0 < number <= 65535 else None


def _same(origin: tuple[str, str, int], host: str) -> bool:
    # The daemon may stand behind a proxy that ends TLS, so only the page knows the scheme: a
    # Host without a port is on the default port of that.
    own = _split(f"{origin[0]}://{host}")
    return own is not None and own[1:] == origin[1:]


def _matches(origin: tuple[str, str, int], pattern: str) -> bool:
    scheme, host, port = origin
    wanted = _split(pattern.replace("://*.", "://", 1))
    if wanted is None or (scheme, port) != (wanted[0], wanted[2]):
        return False
    if "://*." in pattern:
        return host.endswith("." + wanted[1])
    return host == wanted[1]
