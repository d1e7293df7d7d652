"""HTTP on a connection: requests in, answers out, and the upgrade to something else.

What a request means is said by a router (``public`` or ``admin``); this file keeps the order of
requests and answers, the time limits, and the ways to refuse.
"""

from __future__ import annotations

import random
import socket
from typing import Protocol

from wsd import logs
from wsd.metrics import HTTP_REJECTED, M
from wsd.net.connection import Connection, State
from wsd.net.tls import TlsConnection, TlsContext
from wsd.protocol.http import (
    CONTINUE,
    HttpError,
    Request,
    RequestParser,
    error_response,
    response,
)
from wsd.transports.addresses import client_address, plain_address
from wsd.transports.context import Context


class Router(Protocol):
    limited: bool
    """``limits.connections`` holds here."""

    def handle(self, client: HttpClient, request: Request) -> None:
        """Answer with ``client.respond``, now or later, or take the connection over.

        May raise HttpError.
        """


class Waiting(Protocol):
    """An answer in the making."""

    def abandon(self) -> None:
        """Nobody is there to get it any more."""

    def drain(self, retry_ms: tuple[int, int]) -> None:
        """The daemon is going to stop: do not wait for news."""


class HttpClient:
    """One connection while it speaks HTTP."""

    __slots__ = (
        "_address_group",
        "_answering",
        "_asked",
        "_closing_at",
        "_context",
        "_handling",
        "_parser",
        "_peer",
        "_proxied",
        "_request",
        "_router",
        "_since",
        "_stage",
        "connection",
        "taken_over",
        "waiting",
    )

    def __init__(
        self,
        context: Context,
        router: Router,
        sock: socket.socket,
        peer: str,
        tls: TlsContext | None = None,
    ) -> None:
        self._context = context
        self._router = router
        self._peer = peer
        self._parser = RequestParser(context.http_limits)
        self._handling = False
        self._request: Request | None = None
        self._answering = False
        self._closing_at = 0.0
        self._asked = False
        self._stage = "header"
        self._since = context.loop.now
        self._address_group: str | None = None
        # A proxy has one visitor's request after another's on a connection, and keeps it idle.
        self._proxied = context.proxies.trust(peer)
        self.taken_over = False
        self.waiting: Waiting | None = None
        """Whoever works on an answer that takes its time."""
        if tls is None:
            self.connection = Connection(context.loop, context.flusher, sock, self)
        else:
            self.connection = TlsConnection(context.loop, context.flusher, sock, self, tls)
        context.enrol(self)
        # An administrator who looks why the daemon is full must not find it full.
        if not context.opened() and router.limited:
            self.refuse(503, "too_many_connections", "The server is full.")
        elif not self._proxied and not self._count_address(plain_address(peer)):
            self.refuse(503, "too_many_from_address", "Too many connections from your address.")

    def _count_address(self, address: str) -> bool:
        self._address_group = self._context.admit_address(address)
        return self._address_group is not None

    def _release_address(self) -> None:
        if self._address_group is not None:
            self._context.release_address(self._address_group)
            self._address_group = None

    @property
    def address(self) -> str:
        """What the visitor's address is counted as; "" if it is unknown."""
        return self._address_group or ""

    # -- input

    def on_data(self, data: bytes) -> None:
        self._parser.feed(data)
        if self._answering:  # what is pipelined meanwhile waits in the kernel, not here
            self.connection.pause_reading()
        else:
            self._process()

    def _process(self) -> None:
        try:
            while not self._answering and not self.taken_over and not self._closing_at:
                if self.connection.queued > self._context.settings.limits.queue:
                    self._wait_for_reader()
                    break
                request = self._parser.next_request()
                if request is None:
                    break
                self._take(request)
            if not self._answering and self._parser.expects_continue:
                self.connection.write(CONTINUE)
        except HttpError as error:
            self._reject(error)
        except Exception:
            self._context.row[M.ERRORS] += 1
            logs.exception("request_failed")
            self._reject(HttpError(500, "internal", "That went wrong here."))
        self._watch()

    def _wait_for_reader(self) -> None:
        """Read and answer no more until the client has taken what it asked for."""
        self.connection.pause_reading()
        self.connection.on_drained = self._on_drained

    def _on_drained(self) -> None:
        self.connection.on_drained = None
        self.connection.resume_reading()
        self._process()

    def _take(self, request: Request) -> None:
        self._context.row[M.HTTP_REQUESTS] += 1
        self._asked = True
        if self._proxied:
            address = client_address(self._peer, request.headers, self._context.proxies)
            if not self._count_address(address):
                self.refuse(503, "too_many_from_address", "Too many connections from your address.")
                return
        # HTTP/1.0 clients that could keep a connection open want to be told so; they are few.
        request.keep_alive = request.keep_alive and request.minor == 1
        self._request = request
        self._answering = True
        self._stage = "answer"  # so that the time of what comes next begins after it
        self._handling = True
        try:
            self._router.handle(self, request)
        finally:
            self._handling = False

    def _reject(self, error: HttpError) -> None:
        self._note_refusal(error.status, error.reason)
        self.connection.write(error_response(error, head=self._wants_head))
        self.close("refused")

    def refuse(self, status: int, reason: str, detail: str) -> None:
        """Answer that it cannot be now, and when to try again, and close."""
        self._note_refusal(status, reason)
        # At random, or all who were refused together would come again together.
        later = str(random.randint(1, 10))
        headers = [("Retry-After", later), ("Content-Type", "text/plain; charset=utf-8")]
        body = f"{detail}\n".encode()
        head = self._wants_head
        self.connection.write(response(status, headers, body, keep_alive=False, head=head))
        self.close("refused")

    @property
    def _wants_head(self) -> bool:
        """Whether the answer in hand must not have a body (RFC 9110, 9.3.2)."""
        return self._request is not None and self._request.method == "HEAD"

    def _note_refusal(self, status: int, reason: str) -> None:
        HTTP_REJECTED.count(self._context.row, reason)
        logs.limited(logs.info, "rejected", reason, status=status)

    # -- output

    def respond(self, data: bytes) -> None:
        """Send the answer to the request in hand, from within ``Router.handle`` or later.

        ``data`` is the whole of it.  What was pipelined behind the request comes next.
        """
        request, self._request = self._request, None
        self._answering = False
        self.waiting = None
        if self.connection.state is not State.OPEN:
            return
        self.connection.write(data)
        if self._proxied:
            self._release_address()
        if self._context.draining or not (request and request.keep_alive):
            self.close("answered")
        if not self._handling:
            self.connection.resume_reading()
            self._process()

    def take_over(self) -> tuple[bytes, str]:
        """Hand the connection to somebody who speaks another protocol.

        Returns the bytes that came behind the request, and the address group to release at the
        end.  The new owner sets the connection's callbacks.
        """
        self.taken_over = True
        self._context.dismiss(self)
        return self._parser.take_rest(), self.address

    # -- the end

    def close(self, reason: str) -> None:
        if not self._closing_at:
            self._closing_at = self._context.loop.now
            self.connection.close(reason)

    def on_gone(self, reason: str) -> None:
        waiting, self.waiting = self.waiting, None
        if waiting is not None:
            waiting.abandon()
        self._context.dismiss(self)
        self._context.closed(reason, "http")
        self._release_address()

    # -- time

    def _watch(self) -> None:
        """Note when the present stage began: its limit is on the whole of it, not on pauses."""
        waiting = self._answering or self.connection.on_drained is not None
        stage = "answer" if waiting else self._parser.stage
        if stage == "idle" and not self._asked:
            stage = "header"  # a new connection owes a request as much as one in mid-header
        if stage != self._stage:
            self._stage = stage
            self._since = self._context.loop.now

    def sweep(self, now: float) -> float:
        connection = self.connection
        timeouts = self._context.settings.timeouts
        if not connection.ready:
            if now - self._since > timeouts.header:
                connection.abort("handshake_timeout")
        elif connection.queued and now - connection.progress_at > timeouts.write:
            connection.abort("write_timeout")
        elif self._closing_at:
            if not connection.queued and now - self._closing_at > timeouts.close:
                connection.abort("close_timeout")
        elif self._stage == "idle":
            if now - self._since > timeouts.keep_alive:
                self.close("keep_alive")
        elif self._stage == "header":
            if now - self._since > timeouts.header:
                self._reject(HttpError(408, "header_timeout", "The request took too long."))
        elif self._stage == "body" and now - self._since > timeouts.body:
            self._reject(HttpError(408, "body_timeout", "The request took too long."))
        return 0.0

    def drain(self, retry_ms: tuple[int, int]) -> None:
        self.connection.receive()  # who has asked already is answered, and closed by that
        if self.waiting is not None:
            self.waiting.drain(retry_ms)
        elif not self._answering:
            self.close("restart")

    def restart(self) -> None:
        self.close("restart")
