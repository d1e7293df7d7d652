"""The opening handshake of a WebSocket, client side (RFC 6455 section 4.1)."""

from __future__ import annotations

import re
from base64 import b64encode
from typing import Final, NamedTuple

from wsd.protocol.frames import CloseCode, ProtocolError
from wsd.protocol.handshake import accept_value
from wsd.protocol.lines import FIELD_LINE, FIELD_VALUE

MAX_HEAD_BYTES: Final = 16 * 1024

_STATUS_LINE = re.compile(f"HTTP/1\\.[01] ([1-5][0-9]{{2}})(?: {FIELD_VALUE})?")  # RFC 9112, 4
_HEAD_END: Final = b"\r\n\r\n"


class Answer(NamedTuple):
    """What a server answered; of a repeated header the values are joined by commas.

    `rest` is what has come behind the head: frames after a 101, else the beginning of a body.
    """

    status: int
    headers: dict[str, str]
    rest: bytes


class Opening:
    """One try to open a WebSocket: the request to send, and the answer to it.

    `key` are 16 random bytes, another 16 for each try.
    """

    __slots__ = ("_data", "_key", "_searched", "_subprotocol")

    def __init__(self, key: bytes, subprotocol: str) -> None:
        self._key = b64encode(key).decode("ascii")
        self._subprotocol = subprotocol
        self._data = bytearray()
        self._searched = 0  # so that an answer that comes byte by byte costs linear time

    def request(self, host: str, target: str, user_agent: str) -> bytes:
        """The request; `host` and `target` (path and query) as they stand in it, in ASCII."""
        lines = (
            f"GET {target} HTTP/1.1",
            f"Host: {host}",
            f"User-Agent: {user_agent}",
            "Upgrade: websocket",
            "Connection: Upgrade",
            f"Sec-WebSocket-Key: {self._key}",
            "Sec-WebSocket-Version: 13",
            f"Sec-WebSocket-Protocol: {self._subprotocol}",
        )
        return ("\r\n".join(lines) + "\r\n\r\n").encode("ascii")

    def receive(self, data: bytes) -> None:
        """Adds received bytes."""
        self._data += data

    def answer(self) -> Answer | None:
        """The answer, None while its head is incomplete.

        A 101 has been checked: the WebSocket is open. Raises ProtocolError for what is no HTTP
        response, or a 101 to something that was not asked for.
        """
        end = self._data.find(_HEAD_END, self._searched)
        if (end if end >= 0 else len(self._data)) > MAX_HEAD_BYTES:
            raise _bad("response_too_long")
        if end < 0:
            self._searched = max(0, len(self._data) - len(_HEAD_END) + 1)
            return None
        status_line, *fields = self._data[:end].decode("latin-1").split("\r\n")
        status = _STATUS_LINE.fullmatch(status_line)
        if status is None:
            raise _bad("bad_response")
        rest = bytes(self._data[end + len(_HEAD_END) :])
        answer = Answer(int(status[1]), _headers(fields), rest)
        if answer.status == 101:
            self._check(answer.headers)
        return answer

    def _check(self, headers: dict[str, str]) -> None:
        """RFC 6455, 4.1: when the client MUST fail the connection, by the list's numbers."""
        if "websocket" not in _tokens(headers, "upgrade"):  # 2
            raise _bad("not_upgraded")
        if "upgrade" not in _tokens(headers, "connection"):  # 3
            raise _bad("not_upgraded")
        if headers.get("sec-websocket-accept") != accept_value(self._key):  # 4
            raise _bad("bad_accept")
        if headers.get("sec-websocket-extensions"):  # 5: none was asked for
            raise _bad("unasked_extension")
        if headers.get("sec-websocket-protocol") != self._subprotocol:  # 6, and wsd needs it
            raise _bad("bad_subprotocol")


def _headers(lines: list[str]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for line in lines:
        if FIELD_LINE.fullmatch(line) is None:
            raise _bad("bad_response")
        name, _, value = line.partition(":")
        name, value = name.lower(), value.strip(" \t")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers


def _tokens(headers: dict[str, str], name: str) -> list[str]:
    return [token.strip(" \t").lower() for token in headers.get(name, "").split(",")]


def _bad(reason: str) -> ProtocolError:
    return ProtocolError(CloseCode.PROTOCOL_ERROR, reason)
