"""TLS on a connection: a handshake that never blocks, and records instead of plain bytes."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable

from wsd.net.connection import READ_BYTES, Connection, Flusher
from wsd.net.loop import READ, WRITE, Loop

TlsContext = ssl.SSLContext

RECORD_BYTES = 16 * 1024
"""The most that one record holds (RFC 8446, 5.1)."""


def make_context(certificate: str, key: str) -> TlsContext:
    """TLS 1.2 and 1.3 for one certificate.  Raises OSError (ssl.SSLError is one)."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["http/1.1"])
    context.load_cert_chain(certificate, key)
    return context


class TlsConnection(Connection):
    """The same connection with records in between.  Raises OSError if the peer is gone already.

    OpenSSL may want to read in order to write and the reverse.  Both are answered like an empty
    socket: the loop comes back when there is more, and a write is tried again with the same
    bytes, as OpenSSL demands.
    """

    __slots__ = ("_secured", "_tls")

    def __init__(
        self,
        loop: Loop,
        flusher: Flusher,
        sock: socket.socket,
        on_data: Callable[[bytes], None],
        on_gone: Callable[[str], None],
        context: TlsContext,
    ) -> None:
        self._tls = context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
        self._secured = False
        super().__init__(loop, flusher, self._tls, on_data, on_gone)
        self.send = self._send

    @property
    def ready(self) -> bool:
        return self._secured

    def _on_ready(self, mask: int) -> None:
        if not self._secured:
            self._handshake()
            return
        super()._on_ready(mask)

    def _handshake(self) -> None:
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            self._want(READ)
            return
        except ssl.SSLWantWriteError:
            self._want(WRITE)
            return
        except OSError:  # not TLS, or nothing we both speak
            self.abort("tls_failed")
            return
        self._secured = True
        # What was written meanwhile, a refusal, has waited for this.
        self._want(READ | WRITE if self.queued else READ)
        super()._on_ready(READ)

    def _receive(self) -> bytes:
        """All that is there: OpenSSL may hold records that the selector knows nothing of."""
        parts = [self._record()]
        while parts[-1] and self._tls.pending():
            parts.append(self._record())
        return b"".join(parts)

    def _record(self) -> bytes:
        try:
            return self._tls.recv(READ_BYTES)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise BlockingIOError from None
        except ssl.SSLEOFError:  # cut off without close_notify
            return b""

    def _send(self, data: bytes | memoryview) -> int:
        """A record at a time: of a larger write OpenSSL tells nothing before all of it is out, and
        a slow reader would look like one that has stopped."""
        if not self._secured:
            raise BlockingIOError
        rest, sent = memoryview(data), 0
        try:
            while sent < len(rest):
                sent += self._tls.send(rest[sent : sent + RECORD_BYTES])
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            if not sent:
                raise BlockingIOError from None
        return sent

    def _shutdown(self) -> None:
        """Say close_notify, then close our half as any other connection does."""
        try:
            self._tls._sslobj.shutdown()  # type: ignore[attr-defined]
        except (ssl.SSLError, ValueError, AttributeError):
            pass
        self._tls.shutdown(socket.SHUT_WR)
