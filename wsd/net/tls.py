"""TLS on a connection: a handshake that never blocks, and records instead of plain bytes."""

from __future__ import annotations

import socket
import ssl
import sys
from collections.abc import Mapping, Sequence

from wsd import certificates
from wsd.certificates import Pair
from wsd.net.connection import READ_BYTES, Connection, Flusher, Owner
from wsd.net.loop import READ, WRITE, Loop

TlsContext = ssl.SSLContext

RECORD_BYTES = 16 * 1024
"""The most that one record holds (RFC 8446, 5.1)."""


def make_context(pairs: Sequence[Pair]) -> TlsContext:
    """TLS 1.2 and 1.3 with the certificate that a client asks for by its name (RFC 6066, 3).

    The first serves who asks for none, or for one that nobody has here.  Raises BadPair.
    """
    contexts = [_context(pair) for pair in pairs]
    if len(contexts) > 1:
        by_name: dict[str, TlsContext] = {}
        for pair, context in zip(pairs, contexts, strict=True):
            for name in pair.names:
                by_name.setdefault(name, context)

        def choose(tls: ssl.SSLObject | ssl.SSLSocket, name: str | None, _: TlsContext) -> None:
            tls.context = _for_name(by_name, (name or "").lower()) or contexts[0]

        contexts[0].sni_callback = choose
    return contexts[0]


def _context(pair: Pair) -> TlsContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    # Python asks OpenSSL to take an end without close_notify for one with it.
    context.options &= ~getattr(ssl, "OP_IGNORE_UNEXPECTED_EOF", 0)
    context.set_alpn_protocols(["http/1.1"])
    certificates.use(context, pair)
    return context


def _for_name(by_name: Mapping[str, TlsContext], name: str) -> TlsContext | None:
    """A wildcard stands for the whole first label, and nothing else (RFC 6125, 6.4.3)."""
    return by_name.get(name) or by_name.get("*." + name.partition(".")[2])


def ignore_names_that_are_no_text() -> None:
    """Keep this process from printing a trace for each of them.

    Python finds out before it calls ``sni_callback``, has the handshake fail, as it should, and
    then tells in the only way that is left to it.
    """
    usual = sys.unraisablehook

    def hook(unraisable: sys.UnraisableHookArgs) -> None:
        name_is_no_text = isinstance(unraisable.exc_value, UnicodeDecodeError)
        if not (name_is_no_text and isinstance(unraisable.object, bytes)):
            usual(unraisable)

    sys.unraisablehook = hook


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
        owner: Owner,
        context: TlsContext,
    ) -> None:
        self._tls = context.wrap_socket(
            sock, server_side=True, do_handshake_on_connect=False, suppress_ragged_eofs=False
        )
        self._secured = False
        super().__init__(loop, flusher, self._tls, owner)
        self.fd = 0

    @property
    def ready(self) -> bool:
        return self._secured

    def close(self, reason: str) -> None:
        if self._secured or self.queued:
            super().close(reason)
        else:  # nothing can be said before the handshake, and nobody is owed an answer
            self.abort(reason)

    def __call__(self, mask: int) -> None:
        if not self._secured:
            self._handshake()
            return
        super().__call__(mask)

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
        super().__call__(READ)

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
        except ssl.SSLZeroReturnError:  # close_notify
            return b""
        except ssl.SSLEOFError:
            # Cut off, perhaps by somebody in between: RFC 8446, 6.1 wants that told apart from
            # an end that the peer meant.
            self.abort("truncated")
            raise BlockingIOError from None

    def send(self, data: bytes | memoryview) -> int:
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
            self._tls.unwrap()
        except (ssl.SSLError, ValueError):  # usually that the peer has not said the same yet
            pass
        self._tls.shutdown(socket.SHUT_WR)
