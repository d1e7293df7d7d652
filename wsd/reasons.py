"""Every reason for refusing or closing something, by the one name that it has in the log line, the
metric, the answer and the close frame.

To add one: a line here, in the table where it belongs.  ``tests/test_reasons.py`` finds names in
the source that have no line here, and lines that the source has no use for; ``docs/reasons.md`` is
made by ``python -m wsd.reasons``.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Final, NamedTuple

HTTP: Final[Mapping[str, str]] = {
    # what the request is like
    "bad_request_line": "the first line is not METHOD TARGET HTTP/1.1",
    "request_line_too_long": "the first line is longer than 8 KiB",
    "bad_version": "neither HTTP/1.1 nor HTTP/1.0",
    "method_not_allowed": "a method that this address does not take",
    "unknown_method": "a method that HTTP does not have",
    "bad_target": "the target is neither a path nor an http URL",
    "bad_path": "the path hides a slash, a dot segment or a control character",
    "bad_query": "an escape in the query is broken or not UTF-8",
    "too_many_parameters": "the query has more than 64 parameters",
    "bare_line_end": "a line ends with CR or LF alone",
    "bad_header_name": "a header line is not a name, a colon and a value",
    "bad_header_value": "a header holds a control character",
    "folded_header": "a header goes on in the next line",
    "repeated_header": "a header that may come once came twice",
    "header_too_large": "a header is longer than 8 KiB, or all are longer than 32 KiB",
    "too_many_headers": "more than 100 headers",
    "missing_host": "HTTP/1.1 without Host",
    "bad_host": "Host is not a host",
    "host_mismatch": "Host is not the host of the target",
    "bad_expectation": "Expect asks for something else than 100-continue",
    "bad_content_length": "Content-Length is not a plain number",
    "body_too_large": "the body is longer than limits.message",
    "length_and_coding": "Content-Length beside Transfer-Encoding",
    "coding_in_http_1_0": "Transfer-Encoding in HTTP/1.0",
    "bad_coding": "Transfer-Encoding is malformed",
    "unknown_coding": "a Transfer-Encoding other than chunked",
    "bad_chunk": "a chunk or its size is malformed",
    "bad_trailer": "a trailer is not a name and a value",
    "trailers_too_large": "the trailers are too long or too many",
    "bad_form": "the body of the plain page is not a form in UTF-8",
    "bad_json": "the body of an administrator's call is not one JSON object",
    # a WebSocket's handshake
    "upgrade_required": "a plain request at an address that speaks WebSocket only",
    "bad_websocket_version": "a WebSocket version other than 13",
    "bad_websocket_key": "Sec-WebSocket-Key is not 16 bytes in base64",
    "upgrade_with_body": "a handshake with a body",
    "bad_extensions": "Sec-WebSocket-Extensions is not a list of extensions",
    "bad_room": "a room's name that no room can have",
    "bad_origin": "a page of an origin that origins does not name",
    "forwarded_conflict": "X-Forwarded-For and Forwarded of a trusted proxy differ",
    # limits, time and trouble
    "too_many_connections": "the worker has limits.connections already",
    "too_many_from_address": "the address has limits.connections_per_address already",
    "header_timeout": "the header was not complete within timeouts.header",
    "body_timeout": "the body was not complete within timeouts.body",
    "restart": "the server is restarting",
    "internal": "a bug of ours",
}
"""Why an HTTP request is refused; ``wsd_http_rejected_total`` counts them."""

COMMANDS: Final[Mapping[str, str]] = {
    "bad": "the command does not fit its form",
    "auth": "no hello has been said, or the token is not one of ours",
    "denied": "not this guest's to do, or a room whose origins do not name the page's",
    "rate": "more than limits.burst and limits.every allow",
    "duplicate": "the same text in the same room again, within limits.repeat",
    "too_long": "a text longer than limits.text",
    "name_bad": "a name that nobody may take",
    "unknown_room": "a room that the guest is not in",
    "storage": "the log could not be written or read",
    "busy": "the hub did not answer in time",
    "internal": "a bug of ours",
}
"""The codes of errors that answer commands; ``wsd_refused_total`` counts them."""

_closed: dict[str, str] = {
    # by the other side
    "eof": "the client closed the connection",
    "reset": "the client reset the connection, or the network did",
    "client_closed": "the client closed the WebSocket",
    # HTTP
    "answered": "the answer was the last on this connection",
    "refused": "the request was refused; wsd_http_rejected_total says why",
    "keep_alive": "no next request came within timeouts.keep_alive",
    # time
    "handshake_rate": "the address begins TLS handshakes faster than it may have connections",
    "handshake_timeout": "the TLS handshake took longer than timeouts.header",
    "write_timeout": "no output was taken for timeouts.write",
    "close_timeout": "the client did not close its side within timeouts.close",
    "tls_failed": "no TLS, or none that both sides speak",
    "proxy_not_trusted": "a PROXY header is expected, but the peer is not in trusted_proxies",
    "no_proxy_header": "a PROXY header is expected, and something else came",
    "bad_proxy_header": "a PROXY header that is malformed, or longer than 107 or 4112 bytes",
    "proxy_timeout": "the PROXY header was not complete within 5 seconds",
    "truncated": "the client's side of TLS ended without close_notify",
    # what breaks RFC 6455 or a limit
    "reserved_bits": "a frame with a reserved bit",
    "bad_opcode": "a frame of a kind that there is not",
    "fragmented_control": "a control frame in pieces",
    "control_too_long": "a control frame of more than 125 bytes",
    "not_masked": "a frame without a mask",
    "length_too_large": "a frame of 2^63 bytes or more",
    "length_not_minimal": "a length in more bytes than it needs",
    "message_too_big": "a message longer than limits.message",
    "too_many_fragments": "a message in more than limits.fragments frames",
    "unfinished_message": "a message begins before the one before has ended",
    "unexpected_continuation": "a continuation of nothing",
    "bad_close_payload": "a close frame of one byte",
    "bad_close_code": "a close code that must not be sent",
    "invalid_utf8": "a text that is not UTF-8",
    "bad_deflate": "a compressed message that cannot be restored",
}


class Reason(NamedTuple):
    """Why this side closes a WebSocket or a stream, and the close code that says so.

    Codes of 3000-3499 and 4000-4499 ask the client to come back, 3500-3999 and 4500-4999 to stay
    away; the others are registered with RFC 6455.
    """

    name: str
    code: int


def _reason(name: str, code: int, why: str) -> Reason:
    _closed[name] = why
    return Reason(name, code)


RESTART: Final = _reason("restart", 1012, "the server is restarting")
INTERNAL: Final = _reason("internal", 1011, "a bug of ours")
UNSUPPORTED_DATA: Final = _reason("unsupported_data", 1003, "a binary message")
ROTATED: Final = _reason("rotated", 3002, "a stream has lived for about ten minutes")
PING_TIMEOUT: Final = _reason("ping_timeout", 4000, "no sign of life within ping.timeout")
MESSAGE_TIMEOUT: Final = _reason(
    "message_timeout", 4000, "a message was not complete within timeouts.body"
)
SLOW: Final = _reason("slow", 4008, "no output was taken, for timeouts.write or longer")
RESYNC: Final = _reason("resync", 4009, "the log was replaced, or the client fell behind it")
HELLO_TIMEOUT: Final = _reason("hello_timeout", 4501, "no hello within timeouts.hello")

CLOSED: Final[Mapping[str, str]] = _closed
"""Why a client's connection ended; ``wsd_closed_total`` counts them."""

BYE_RESTART: Final = 3001
"""The code in the ``bye`` that goes ahead of a restart."""


def render() -> str:
    """The reference, docs/reasons.md."""
    parts = [_INTRODUCTION]
    for title, text, table in _SECTIONS:
        rows = "".join(f"| `{name}` | {why} |\n" for name, why in sorted(table.items()))
        parts.append(f"\n## {title}\n\n{text}\n\n| name | why |\n|---|---|\n{rows}")
    return "".join(parts)


_INTRODUCTION = """\
# Reasons

Made by `python -m wsd.reasons`; do not edit. A reason has one name, the same in the log, the
metric, the answer and the close frame.
"""

_SECTIONS = (
    (
        "HTTP requests refused",
        "`wsd_http_rejected_total{reason=…}`, log event `rejected`, and the `code` in the body.",
        HTTP,
    ),
    (
        "Commands refused",
        "`wsd_refused_total{code=…}`, log event `refused` at level `debug`, and the `code` of the"
        " error.",
        COMMANDS,
    ),
    (
        "Connections ended",
        "`wsd_closed_total{reason=…}`, log event `closed` at level `debug`, and the close frame"
        " where this side sends one.",
        CLOSED,
    ),
)


if __name__ == "__main__":
    sys.stdout.write(render())
