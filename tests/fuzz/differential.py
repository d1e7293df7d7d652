"""Our parser against h11: what we accept, it accepts too, and reads the same out of it (HP-62).

That it accepts more does not matter. What we accept and it does not stands in LENIENT, with the
reason.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable
from typing import NamedTuple

import h11

from wsd.protocol.http import HttpError, Request, RequestParser


def _is_empty_line_first(data: bytes, why: str) -> bool:
    return data.startswith(b"\r\n") and why == "no request line received"


def _is_trailer(data: bytes, _: str) -> bool:
    bare = _TRAILERS.sub(rb"\1\r\n", data)
    return bare != data and isinstance(theirs(bare), Reading)


_TRAILERS = re.compile(rb"(\r\n0+(?:;[^\r\n]*)?\r\n)(?:[^\r\n]+\r\n)+\r\n")

LENIENT: tuple[tuple[str, str, Callable[[bytes, str], bool]], ...] = (
    (
        "empty line first",
        "RFC 9112, 2.2: a server SHOULD ignore at least one; h11 ignores none",
        _is_empty_line_first,
    ),
    (
        "trailers about framing",
        "RFC 9110, 6.5.1: a recipient MAY discard trailers, and all are; h11 reads them as headers",
        _is_trailer,
    ),
)
"""What we accept and h11 does not: name, reason, and whether this is that."""


class Reading(NamedTuple):
    """What a parser makes of the first request in some bytes.

    `headers` are as we keep them: joined without empty ones, and without names that have an
    underscore. A coding is in lower case; there is no Host beside the one in the target of
    HTTP/1.0, for h11 has none.
    """

    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    rest: bytes
    """What stands behind it."""


class Difference(NamedTuple):
    data: bytes
    what: str


def ours(data: bytes) -> Reading | str | None:
    """The reading, or why not; None if something is missing."""
    parser = RequestParser()
    parser.feed(data)
    try:
        request = parser.next_request()
    except HttpError as error:
        return error.reason
    return None if request is None else _reading(request, parser.take_rest())


def _reading(request: Request, rest: bytes) -> Reading:
    headers = _comparable(request.headers, request.target, request.minor)
    return Reading(request.method, request.target, headers, request.body, rest)


def theirs(data: bytes) -> Reading | str | None:
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
    connection.receive_data(data)
    body = bytearray()
    request = None
    try:
        while True:
            event = connection.next_event()
            if isinstance(event, h11.Request):
                request = event
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage):
                assert request is not None
                rest = connection.trailing_data[0]
                target, minor = request.target.decode(), int(request.http_version[-1:])
                headers = _comparable(_joined(request.headers), target, minor)
                return Reading(request.method.decode(), target, headers, bytes(body), rest)
            else:
                return None
    except h11.RemoteProtocolError as error:
        return str(error)


def _joined(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    found: dict[str, list[str]] = {}
    for name, value in headers:
        if b"_" not in name:
            found.setdefault(name.decode("latin-1"), []).append(value.decode("latin-1"))
    return {
        name: ("; " if name == "cookie" else ", ").join(filter(None, values))
        for name, values in found.items()
    }


def _comparable(headers: dict[str, str], target: str, minor: int) -> dict[str, str]:
    return {
        name: value.lower() if name == "transfer-encoding" else value
        for name, value in headers.items()
        if not (name == "host" and minor == 0 and "://" in target)
    }


class Result:
    """How often which of the two accepted, and every difference that matters."""

    def __init__(self, ours: Callable[[bytes], Reading | str | None] = ours) -> None:
        self._ours = ours
        self.counts: Counter[str] = Counter()
        self.differences: list[Difference] = []

    def compare(self, data: bytes) -> None:
        mine, other = self._ours(data), theirs(data)
        self.counts["inputs"] += 1
        if not isinstance(mine, Reading):
            name = "stricter" if isinstance(other, Reading) else "both refuse or wait"
            self.counts[name] += 1
        elif isinstance(other, Reading):
            self.counts["both accept"] += 1
            if mine != other:
                self.differences.append(Difference(data, f"ours {mine}; h11's {other}"))
        elif name := next((name for name, _, is_it in LENIENT if is_it(data, str(other))), None):
            self.counts[f"listed: {name}"] += 1
        else:
            self.differences.append(Difference(data, f"accepted; h11: {other or 'unfinished'}"))
