"""HTTP/1.1 requests out of bytes, and responses into bytes (RFC 9112).

Two servers that read the same bytes differently are a hole (request smuggling), so this parser
takes only what the grammar allows and refuses the rest, even where the RFC lets it be lenient.
A head that arrives in one piece is read by two regular expressions; anything else, and anything
they do not like, goes line by line, which alone decides what is wrong.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from http import HTTPStatus
from typing import Literal, NamedTuple, TypeAlias

from wsd.protocol.chunked import ChunkedBody
from wsd.protocol.lines import FIELD_LINE, FIELD_VALUE, TOKEN, LineBuffer
from wsd.protocol.refusal import HttpError
from wsd.protocol.target import is_host, parse_target

__all__ = [
    "CONTINUE",
    "REASONS",
    "Headers",
    "HttpError",
    "HttpLimits",
    "Request",
    "RequestParser",
    "error_response",
    "response",
]

REASONS: dict[int, str] = {status.value: status.phrase for status in HTTPStatus}
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

_PARSED = frozenset(("GET", "HEAD", "POST", "OPTIONS", "PUT", "DELETE", "PATCH"))
_REFUSED = frozenset(("CONNECT", "TRACE"))
_ALLOW = ("Allow", "GET, HEAD, POST, OPTIONS")

# What may come once only: a second one means that somebody on the way reads another value.
_ONCE = frozenset(
    (
        "host",
        "content-length",
        "transfer-encoding",
        "origin",
        "sec-websocket-key",
        "sec-websocket-version",
        "authorization",
        "content-type",
    )
)

_REQUEST_LINE = re.compile(r"([A-Z-]{1,32}) ([!-~]+) HTTP/([0-9])\.([0-9])\r\n")
# (name, value) of each line; from the first bad line on, everything is one ("", "").
_FIELDS = re.compile(rf"({TOKEN}):({FIELD_VALUE})\r\n|(?s:.+)")
_FIELD_NAME = re.compile(TOKEN)
_TOKEN_LIST = re.compile(rf"{TOKEN}(?:[ \t]*,[ \t]*{TOKEN})*")
_LENGTH = re.compile(r"[0-9]{1,19}")
_BREAKS_LINE = re.compile(r"[\r\n\0]")

_MAX_BLANK_LINES = 2


Headers: TypeAlias = list[tuple[str, str]]
"""Names and values of a response, in order."""


class HttpLimits(NamedTuple):
    """What one request may cost, in bytes, line ends not counted (`header_count`: in lines)."""

    request_line: int = 8192
    header_line: int = 8192
    header_total: int = 32768
    header_count: int = 100
    body: int = 65536
    chunk_extension: int = 1024  # all extensions of one body together


class Request:
    """One request; `headers` has lower-case names, and values without the space around them."""

    __slots__ = ("body", "headers", "keep_alive", "method", "minor", "path", "query", "target")

    def __init__(
        self,
        method: str,
        target: str,
        path: str,
        query: Mapping[str, str],
        minor: int,
        headers: dict[str, str],
        body: bytes = b"",
        keep_alive: bool = True,
    ) -> None:
        self.method = method
        self.target = target  # as it was received
        self.path = path  # percent-decoded, never normalised, without the query
        self.query = query
        self.minor = minor  # 1: HTTP/1.1, 0: HTTP/1.0
        self.headers = headers
        self.body = body
        self.keep_alive = keep_alive

    def __repr__(self) -> str:
        return f"<Request {self.method} {self.target}>"

    def header(self, name: str, default: str = "") -> str:
        """The value of the header with this lower-case name."""
        return self.headers.get(name, default)

    def tokens(self, name: str) -> Sequence[str]:
        """The comma-separated elements of a header, in lower case, empty ones left out."""
        value = self.headers.get(name)
        return _split_list(value) if value else ()


@lru_cache(maxsize=256)  # browsers say the same again and again
def _split_list(value: str) -> tuple[str, ...]:
    # Only SP and HT are space in HTTP; str.strip() alone would also take \x85 and \xa0.
    stripped = (element.strip(" \t") for element in value.lower().split(","))
    return tuple([element for element in stripped if element])


class RequestParser:
    """Takes the bytes of one connection and gives its requests, one after the other.

    After an error it raises the same error for ever and keeps no bytes: what was sent behind a
    bad request is never looked at.
    """

    __slots__ = (
        "_blank_lines",
        "_body_length",
        "_chunked",
        "_error",
        "_expects_continue",
        "_fields",
        "_header_bytes",
        "_limits",
        "_lines",
        "_request",
        "_start",
        "_whole_head",
    )

    def __init__(self, limits: HttpLimits = HttpLimits()) -> None:  # noqa: B008 (immutable)
        self._limits = limits
        # A head of at most this size keeps every limit on bytes.
        self._whole_head = min(limits.request_line, limits.header_line, limits.header_total)
        self._lines = LineBuffer()
        self._error: HttpError | None = None
        self._expects_continue = False
        self._blank_lines = 0
        self._header_bytes = 0
        self._start: tuple[str, str, int] | None = None  # method, target, minor
        self._fields: list[tuple[str, str]] = []
        self._request: Request | None = None  # its head is complete, its body is not
        self._body_length = 0
        self._chunked: ChunkedBody | None = None

    @property
    def stage(self) -> Literal["idle", "header", "body"]:
        """What is being waited for; "idle" while nothing of a next request has arrived."""
        if self._request is not None:
            return "body"
        return "header" if self._lines.data or self._start is not None else "idle"

    @property
    def expects_continue(self) -> bool:
        """Whether to send `CONTINUE` now; true at most once per request (reading clears it).

        True after the head of a request with `Expect: 100-continue` while no byte of its body
        has come (RFC 9110 section 10.1.1).
        """
        expected = self._expects_continue
        self._expects_continue = False
        return expected

    def feed(self, data: bytes) -> None:
        """Adds received bytes."""
        if self._error is None:
            self._expects_continue = False
            self._lines.data += data

    def take_rest(self) -> bytes:
        """Hands over and forgets the bytes not parsed yet: after an upgrade, early frames."""
        rest = bytes(self._lines.data)
        self._lines.clear()
        return rest

    def next_request(self) -> Request | None:
        """The next request, or None while it is incomplete. Raises HttpError."""
        if self._error is not None:
            raise self._error.with_traceback(None)
        try:
            return self._advance()
        except HttpError as error:
            self._error = error
            self._expects_continue = False
            self._lines.clear()
            raise

    def _advance(self) -> Request | None:
        request = self._request
        if request is None:
            if not self._lines.data:
                return None
            request = self._read_whole_head() or self._read_head_by_line()
            if request is None:
                return None
            if self._chunked is None and not self._body_length:
                return request
            self._request = request
        body = self._read_body()
        if body is None:
            return None
        request.body = body
        self._request = self._chunked = None
        self._body_length = 0
        return request

    # -- the head ----------------------------------------------------------------------------

    def _read_whole_head(self) -> Request | None:
        """The usual case: all of a small, correct head is there and nothing was looked at yet."""
        lines = self._lines
        if lines.searched or self._start is not None:
            return None
        end = lines.data.find(b"\r\n\r\n")
        if not 0 < end <= self._whole_head:
            return None
        head = lines.data[: end + 2].decode("latin-1")
        match = _REQUEST_LINE.match(head)
        if match is None:
            return None
        fields: list[tuple[str, str]] = _FIELDS.findall(head, match.end())
        if len(fields) > self._limits.header_count or (fields and not fields[-1][0]):
            return None
        method, target, major, minor = match.groups()
        _check_start(method, major, minor)
        del lines.data[: end + 4]
        return self._build(method, target, int(minor), fields)

    def _read_head_by_line(self) -> Request | None:
        if self._start is None:
            self._start = self._read_start()
            if self._start is None:
                return None
        if not self._read_fields():
            return None
        method, target, minor = self._start
        fields = self._fields
        self._start = None
        self._fields = []
        self._header_bytes = 0
        return self._build(method, target, minor, fields)

    def _read_start(self) -> tuple[str, str, int] | None:
        lines = self._lines
        while True:
            # What is not text at all (a TLS handshake, say) is refused at its first byte and
            # not when a line end happens to come.
            if lines.data and not (lines.data[0] == 0x0D or 0x21 <= lines.data[0] < 0x7F):
                raise _bad_request_line()
            line = lines.take_line(
                self._limits.request_line,
                HttpError(414, "request_line_too_long", "The address is too long."),
            )
            if line is None:
                return None
            if line:
                return _parse_start(line)
            # RFC 9112, 2.2: SHOULD ignore at least one empty line before a request.
            self._blank_lines += 1
            if self._blank_lines > _MAX_BLANK_LINES:
                raise _bad_request_line()

    def _read_fields(self) -> bool:
        """Takes header lines; True after the empty line that ends them."""
        limits, lines = self._limits, self._lines
        too_large = HttpError(431, "header_too_large", "The headers are too long.")
        while True:
            left = limits.header_total - self._header_bytes
            line = lines.take_line(min(limits.header_line, left), too_large)
            if line is None:
                return False
            if not line:
                return True
            self._header_bytes += len(line)
            if len(self._fields) == limits.header_count:
                raise HttpError(431, "too_many_headers", "There are too many headers.")
            if FIELD_LINE.fullmatch(line) is None:
                raise _bad_field(line)
            name, _, value = line.partition(":")
            self._fields.append((name, value))

    def _build(
        self, method: str, target: str, minor: int, fields: list[tuple[str, str]]
    ) -> Request:
        self._blank_lines = 0
        headers = _collect(fields)
        if minor and "host" not in headers:
            raise HttpError(400, "missing_host", "HTTP/1.1 needs a Host header.")
        authority, path, query = parse_target(method, target)
        # RFC 9112, 3.2.2 lets the absolute target win over Host. A client has no reason to send
        # two different ones, so a difference is refused.
        if authority and headers.setdefault("host", authority).lower() != authority.lower():
            raise HttpError(400, "host_mismatch", "Host is not the host of the target.")
        if "host" in headers and not is_host(headers["host"]):
            raise HttpError(400, "bad_host", "The Host header is not a host.")
        self._start_body(minor, headers)
        keep_alive = _keeps_alive(minor, headers.get("connection"))
        return Request(method, target, path, query, minor, headers, b"", keep_alive)

    # -- the body ----------------------------------------------------------------------------

    def _start_body(self, minor: int, headers: dict[str, str]) -> None:
        """Decides how the body is delimited (RFC 9112 section 6.3); none is the usual case."""
        coding = headers.get("transfer-encoding")
        length = headers.get("content-length")
        if coding is not None:
            _check_coding(coding, minor, length)
            limits = self._limits
            self._chunked = ChunkedBody(
                limits.body, limits.chunk_extension, limits.header_count, limits.header_total
            )
        elif length is not None:
            self._body_length = self._checked_length(length)
        has_body = self._chunked is not None or self._body_length > 0
        if has_body and "websocket" in _split_list(headers.get("upgrade", "")):
            # A proxy that overlooks the body would read it as the first frames, or the reverse.
            raise HttpError(400, "upgrade_with_body", "An upgrade must not have a body.")
        if "expect" in headers and minor:  # RFC 9110, 10.1.1: MUST ignore it in HTTP/1.0
            if headers["expect"].lower() != "100-continue":
                raise HttpError(417, "bad_expectation", "Only 100-continue can be expected.")
            self._expects_continue = has_body and not self._lines.data

    def _checked_length(self, text: str) -> int:
        # int() takes +1, 1_0 and other digits than ASCII, and is quadratic in their number.
        if _LENGTH.fullmatch(text) is None:
            raise HttpError(400, "bad_content_length", "Content-Length is not a plain number.")
        length = int(text)
        if length > self._limits.body:
            raise HttpError(413, "body_too_large", f"At most {self._limits.body} bytes of body.")
        return length

    def _read_body(self) -> bytes | None:
        if self._chunked is not None:
            return self._chunked.read(self._lines)
        data, length = self._lines.data, self._body_length
        if len(data) < length:
            return None
        body = bytes(data[:length])
        del data[:length]
        return body


def _bad_request_line() -> HttpError:
    return HttpError(400, "bad_request_line", "The request line is not METHOD TARGET HTTP/1.1.")


def _parse_start(line: str) -> tuple[str, str, int]:
    match = _REQUEST_LINE.fullmatch(line + "\r\n")
    if match is None:
        raise _bad_request_line()
    method, target, major, minor = match.groups()
    _check_start(method, major, minor)
    return method, target, int(minor)


def _check_start(method: str, major: str, minor: str) -> None:
    # The version first: the preface of HTTP/2 ("PRI * HTTP/2.0") is a version we do not speak.
    if major != "1" or minor not in "01":
        raise HttpError(505, "bad_version", "Only HTTP/1.1 and HTTP/1.0 are spoken here.")
    if method in _PARSED:
        return
    if method in _REFUSED:
        raise HttpError(405, "method_not_allowed", f"{method} is not allowed.", (_ALLOW,))
    raise HttpError(501, "unknown_method", "This method is not known.")


def _bad_field(line: str) -> HttpError:
    if line[0] in " \t":  # RFC 9112, 5.2: MUST reject or replace; never joined to the line before
        return HttpError(400, "folded_header", "A header must not be folded.")
    name, colon, _ = line.partition(":")
    if not colon or _FIELD_NAME.fullmatch(name) is None:
        return HttpError(400, "bad_header_name", "A header line is not a name and a value.")
    return HttpError(400, "bad_header_value", "A header holds a control character.")


def _collect(fields: list[tuple[str, str]]) -> dict[str, str]:
    headers: dict[str, str] = {}
    repeated: dict[str, list[str]] = {}
    for name, value in fields:
        name = name.lower()
        value = value.strip(" \t")
        if name in headers:
            if name in _ONCE:
                raise HttpError(400, "repeated_header", f"{name} came more than once.")
            repeated.setdefault(name, [headers[name]]).append(value)
        # CGI and its heirs turn "-" into "_", so Content_Length could pass for Content-Length
        # somewhere. Nothing here reads a name with "_": all of them are dropped.
        elif "_" not in name:
            headers[name] = value
    for name, values in repeated.items():
        # RFC 9110, 5.3: a comma joins them; RFC 6265, 5.4: but pairs of a Cookie a semicolon.
        # Empty ones are nothing (5.6.1), and would leave space at the end.
        headers[name] = ("; " if name == "cookie" else ", ").join(filter(None, values))
    return headers


def _check_coding(coding: str, minor: int, length: str | None) -> None:
    if length is not None:  # RFC 9112, 6.3: "ought to be handled as an error"
        raise HttpError(400, "length_and_coding", "Content-Length beside Transfer-Encoding.")
    if not minor:  # RFC 9112, 6.1: the framing is faulty
        raise HttpError(400, "coding_in_http_1_0", "HTTP/1.0 has no Transfer-Encoding.")
    if coding.lower() == "chunked":
        return
    if _TOKEN_LIST.fullmatch(coding):
        raise HttpError(501, "unknown_coding", "Only chunked is understood.")
    raise HttpError(400, "bad_coding", "Transfer-Encoding is malformed.")


def _keeps_alive(minor: int, connection: str | None) -> bool:
    """RFC 9112 section 9.3: 1.1 stays open unless told to close, 1.0 only when asked to."""
    if connection is None:
        return minor == 1
    if connection == "keep-alive":  # what every browser sends
        return True
    tokens = _split_list(connection)
    return "close" not in tokens and (minor == 1 or "keep-alive" in tokens)


# -- responses -------------------------------------------------------------------------------


def response(
    status: int,
    headers: Iterable[tuple[str, str]] = (),
    body: bytes = b"",
    *,
    keep_alive: bool = True,
    head: bool = False,
) -> bytes:
    """One whole response; `head` leaves out the body but not its length (RFC 9110, 9.3.2).

    204 and 304 have neither body nor length (RFC 9110, 8.6). Raises ValueError for a header
    that would break its line, or is not Latin-1.
    """
    lines = [f"HTTP/1.1 {status} {REASONS.get(status, '')}"]
    for name, value in headers:
        line = f"{name}: {value}"
        if _BREAKS_LINE.search(line):
            raise ValueError(f"header {name!r} holds CR, LF or NUL")
        lines.append(line)
    if not keep_alive:
        lines.append("Connection: close")
    if status in (204, 304):
        body = b""
    else:
        lines.append(f"Content-Length: {len(body)}")
    lines.append("\r\n")
    text = "\r\n".join(lines).encode("latin-1")
    return text if head else text + body


# A 426 names what it wants (RFC 9110, 15.5.22), and whoever sends Upgrade says so in Connection
# (7.8); a 405 says what is allowed (15.5.6).
_USUAL_HEADERS: dict[int, tuple[tuple[str, str], ...]] = {
    405: (_ALLOW,),
    426: (("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13")),
}


def error_response(error: HttpError, *, head: bool = False) -> bytes:
    """The answer to a refused request: JSON with the reason as code, and the connection closes.

    `head` leaves out the body, as of `response`.
    """
    headers = error.headers or _USUAL_HEADERS.get(error.status, ())
    content = {"error": {"code": error.reason, "message": error.detail}}
    return response(
        error.status,
        (*headers, ("Content-Type", "application/json")),
        json.dumps(content).encode(),
        keep_alive=False,
        head=head,
    )
