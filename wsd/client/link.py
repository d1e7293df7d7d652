"""One WebSocket over one socket: texts up, texts down, and how it ends.  No word about chat."""

from __future__ import annotations

import secrets
import socket
import ssl
import time
from typing import Final, NamedTuple

from wsd import __version__
from wsd.client.address import Address
from wsd.protocol.frames import (
    CloseCode,
    Opcode,
    ProtocolError,
    close_payload,
    encode_masked,
)
from wsd.protocol.opening import Answer, Opening
from wsd.protocol.session import Closed, Failed, Message, Ping, Session

SUBPROTOCOL: Final = "wsd.v1"
OPEN_S: Final = 10.0
SEND_S: Final = 10.0
CLOSE_S: Final = 2.0
MAX_MESSAGE_BYTES: Final = 16 * 1024 * 1024
"""A page of history is 200 messages; of the longest, with every character escaped, 2.4 MB."""
MAX_FRAGMENTS: Final = 1024

_READ_BYTES: Final = 64 * 1024
_NOT_YET = (BlockingIOError, TimeoutError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class LinkLost(Exception):
    """It is over.  ``code`` is the close code, None when there was no closing handshake."""

    def __init__(self, code: int | None, reason: str) -> None:
        super().__init__(code, reason)
        self.code = code
        self.reason = reason


class OpeningRefused(Exception):
    """The handshake was answered with something else than 101."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(f"status {answer.status}")
        self.status = answer.status
        self.location = answer.headers.get("location", "")
        self.retry_after = answer.headers.get("retry-after", "")


class Failure(NamedTuple):
    """Why there is no connection.  ``is_final``: waiting does not cure it."""

    reason: str
    is_final: bool
    status: int | None = None
    least_s: float = 0.0
    """How long the server wants to be left alone."""


_COME_BACK: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Answers to a handshake that another time may have another one."""


def failure(error: OSError | ProtocolError | OpeningRefused) -> Failure:
    """What it means that opening a link has raised ``error``."""
    if isinstance(error, OpeningRefused):
        reason = f"the server answered with status {error.status}"
        if error.location:
            reason += f" and points to {error.location}"
        wait = error.retry_after
        least_s = min(60.0, float(wait[:4])) if wait.isascii() and wait.isdecimal() else 0.0
        return Failure(reason, error.status not in _COME_BACK, error.status, least_s)
    if isinstance(error, ProtocolError):
        return Failure(f"no WebSocket of wsd's: {error.reason}", True)
    if isinstance(error, ssl.SSLCertVerificationError):
        return Failure(f"the certificate: {error.verify_message}", True)
    if isinstance(error, ssl.SSLError) and error.reason == "WRONG_VERSION_NUMBER":
        return Failure("no TLS is spoken there", True)
    return Failure(str(error), False)


class Link:
    """Opens at once.  Raises OSError (of TLS: ssl.SSLError), ProtocolError and OpeningRefused."""

    def __init__(self, address: Address, tls: ssl.SSLContext | None) -> None:
        self._session = Session(MAX_MESSAGE_BYTES, MAX_FRAGMENTS, masked=False)
        self._broken = False
        self._half_read = False
        self._ended: LinkLost | None = None
        until = time.monotonic() + OPEN_S
        self._socket = _connect(address)
        try:
            if address.secure:
                context = tls or ssl.create_default_context()
                self._socket = context.wrap_socket(self._socket, server_hostname=address.host)
            self._open(address, until)
        except BaseException:
            self._socket.close()
            raise

    def _open(self, address: Address, until: float) -> None:
        opening = Opening(secrets.token_bytes(16), SUBPROTOCOL)
        agent = f"wsd-client/{__version__}"
        self._socket.sendall(opening.request(address.authority, address.target, agent))
        while (answer := opening.answer()) is None:
            self._socket.settimeout(max(0.01, until - time.monotonic()))
            data = self._socket.recv(_READ_BYTES)
            if not data:
                raise ConnectionResetError("closed before it answered the handshake")
            opening.receive(data)
        if answer.status != 101:
            raise OpeningRefused(answer)
        self._session.receive(answer.rest)

    # -- talking

    def send(self, text: bytes) -> None:
        """Raises LinkLost."""
        self._check()
        self._send(Opcode.TEXT, text)

    def receive(self, timeout_s: float) -> bytes | None:
        """The next text; None when none came in time.  Raises LinkLost."""
        self._check()
        # Whoever is interrupted in here may have taken bytes off the socket, or half of a frame.
        self._half_read = True
        text = self._receive(timeout_s)
        self._half_read = False
        return text

    def _receive(self, timeout_s: float) -> bytes | None:
        until = time.monotonic() + timeout_s
        while True:
            text = self._next()
            if text is not None:
                return text
            left_s = max(0.0, until - time.monotonic())
            self._socket.settimeout(left_s)  # 0: only what is there
            try:
                data = self._socket.recv(_READ_BYTES)
            except _NOT_YET:
                return None
            except OSError as error:
                raise self._lost(None, str(error)) from None
            if not data:
                raise self._lost(None, "the connection ended")
            self._session.receive(data)

    def _next(self) -> bytes | None:
        """The next text of what has come."""
        while (event := self._session.next_event()) is not None:
            if isinstance(event, Message):
                if event.opcode == Opcode.TEXT:
                    return event.data
            elif isinstance(event, Ping):
                self._send(Opcode.PONG, event.payload)
            elif isinstance(event, Closed | Failed):
                lost = self._lost(event.code, event.reason)
                self._say_goodbye(None if event.code == CloseCode.NO_STATUS else event.code)
                raise lost
        return None

    def _lost(self, code: int | None, reason: str) -> LinkLost:
        self._ended = LinkLost(code, reason)
        return self._ended

    def _check(self) -> None:
        if self._ended is not None:
            raise self._ended
        if self._broken or self._half_read:
            raise self._lost(None, "a call was interrupted")

    def _send(self, opcode: int, payload: bytes) -> None:
        frame = encode_masked(opcode, payload, secrets.token_bytes(4))
        # Whoever is interrupted in here, as by Ctrl-C, may have sent half a frame: behind that
        # nothing can be said any more.
        self._broken = True
        self._socket.settimeout(SEND_S)
        try:
            self._socket.sendall(frame)
        except OSError as error:
            raise self._lost(None, str(error)) from None
        self._broken = False

    # -- the end

    def close(self) -> None:
        """Says goodbye, waits a moment for the answer, and is gone.  Raises nothing."""
        if self._ended is None and not self._broken:
            self._session.closing()
            self._say_goodbye(CloseCode.NORMAL)
            self._await_end(time.monotonic() + CLOSE_S)
        self.drop()

    def drop(self) -> None:
        """Gone, without a word."""
        self._ended = self._ended or LinkLost(None, "dropped")
        try:
            self._socket.close()
        except OSError:
            pass

    def _say_goodbye(self, code: int | None) -> None:
        try:
            self._socket.settimeout(CLOSE_S)
            frame = encode_masked(Opcode.CLOSE, close_payload(code), secrets.token_bytes(4))
            self._socket.sendall(frame)
        except OSError:
            pass

    def _await_end(self, until: float) -> None:
        """RFC 6455, 7.1.1: the server closes first.  A socket that is closed with something unread
        resets the connection, and a reset takes along what the server has not read either."""
        try:
            while (left_s := until - time.monotonic()) > 0:
                self._socket.settimeout(left_s)
                if not self._socket.recv(_READ_BYTES):
                    return
        except OSError:
            pass


def _connect(address: Address) -> socket.socket:
    if not address.path:
        found = socket.create_connection((address.host, address.port), OPEN_S)
        found.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return found
    found = socket.socket(socket.AF_UNIX)
    try:
        found.settimeout(OPEN_S)
        found.connect(address.path)
    except BaseException:
        found.close()
        raise
    return found
