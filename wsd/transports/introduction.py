"""Connections that begin with a PROXY header: who may send one, and whose connection it then is."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import TypeAlias

from wsd import logs
from wsd.net.connection import Connection
from wsd.net.preface import Preface
from wsd.protocol.proxy import LONGEST, ProxyError, ProxyParser
from wsd.transports.addresses import UNKNOWN
from wsd.transports.context import Attendant, Context

PROXY_S = 5.0
"""How long a proxy may take for its header.  It sends it at once, in one piece."""

Serve: TypeAlias = Callable[[socket.socket, str], Attendant | None]
"""Takes over the socket of a client with this address; None if it is gone already."""


def introduce(context: Context, sock: socket.socket, peer: str, serve: Serve) -> None:
    """``serve`` the connection as soon as its PROXY header has said whose it is.

    Only trusted proxies are believed, and whoever connects by a Unix socket: that one was made for
    a proxy.  From anybody else the header would be a way to be counted as somebody else.
    """
    if not peer or context.proxies.trust(peer):
        Introduction(context, sock, peer, serve)
        return
    _warn("proxy_not_trusted", peer)
    context.turn_away(sock, "proxy_not_trusted", "proxy")


def _warn(reason: str, peer: str) -> None:
    logs.limited(logs.warning, "proxy_refused", reason, peer=peer)


class Introduction:
    """One connection before its header is complete."""

    __slots__ = (
        "_context",
        "_parser",
        "_peer",
        "_preface",
        "_serve",
        "_since",
        "_successor",
        "connection",
    )

    def __init__(self, context: Context, sock: socket.socket, peer: str, serve: Serve) -> None:
        self._context = context
        self._peer = peer
        self._serve = serve
        self._since = context.loop.now
        self._parser = ProxyParser()
        self._successor: Attendant | None = None
        self._preface = Preface(context.loop, context.flusher, sock, self, LONGEST)
        self.connection: Connection = self._preface
        context.enrol(self)
        context.opened()

    def on_data(self, data: bytes) -> None:
        try:
            self._preface.take(self._parser.feed(data))
            source = self._parser.next_source()
        except ProxyError as error:
            self.connection.abort(error.reason)
            return
        if source is not None:
            self._hand_on(source or UNKNOWN)

    def _hand_on(self, source: str) -> None:
        sock = self._preface.hand_on()
        self._context.dismiss(self)
        self._context.handed_on()
        self._successor = self._serve(sock, source)

    def on_gone(self, reason: str) -> None:
        self._context.dismiss(self)
        self._context.closed(reason, "proxy")
        if reason not in ("eof", "reset", "restart"):  # or it looked whether the port is open
            _warn(reason, self._peer)

    def sweep(self, now: float) -> float:
        if now - self._since > PROXY_S:
            self.connection.abort("proxy_timeout")
        return self._since + PROXY_S

    def drain(self, retry_ms: tuple[int, int]) -> None:
        self.connection.receive()  # who has been introduced already is served to the end
        if self._successor is not None:
            self._successor.drain(retry_ms)
        else:
            self.restart()

    def restart(self) -> None:
        self.connection.abort("restart")
