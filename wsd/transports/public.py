"""What the public listeners answer: the page, its files, and the WebSocket addresses."""

from __future__ import annotations

from wsd.chat.schema import Refuse, room_name
from wsd.protocol import handshake
from wsd.protocol.http import HttpError, Request
from wsd.transports.context import Context
from wsd.transports.dialects import (
    SUBPROTOCOL,
    EchoClient,
    TextClient,
    TornadoClient,
    V1Client,
)
from wsd.transports.exchange import Exchange
from wsd.transports.http import HttpClient
from wsd.transports.origin import check_origin, page_of
from wsd.transports.pages import not_found
from wsd.transports.plain import handle_plain
from wsd.transports.websocket import WebSocketClient

DIALECTS: dict[str, type[WebSocketClient]] = {
    "/": TextClient,
    "/chat": TornadoClient,
    "/echo": EchoClient,
}
"""What is spoken at each address by clients that ask for no subprotocol."""


class PublicRouter:
    limited = True

    def __init__(self, context: Context) -> None:
        self._context = context
        self._exchange = Exchange(context)

    def handle(self, client: HttpClient, request: Request) -> None:
        # "/" is a page as well, the other two nothing but sockets.
        if request.path in DIALECTS and (request.path != "/" or handshake.is_upgrade(request)):
            self._upgrade(client, request)
            return
        if self._exchange.handle(client, request):
            return
        if request.path.startswith("/plain/"):
            self._plain(client, request)
            return
        if request.method not in ("GET", "HEAD"):
            raise HttpError(
                405, "method_not_allowed", "Only GET is possible here.", (("Allow", "GET, HEAD"),)
            )
        client.respond(self._resource(request))

    def _plain(self, client: HttpClient, request: Request) -> None:
        try:
            handle_plain(self._context, client, request)
        except Refuse:
            client.respond(not_found(request))

    def _resource(self, request: Request) -> bytes:
        path = request.path
        if path == "/":
            return self._page(request, self._context.settings.page.default_room)
        if path.startswith("/r/"):
            return self._page(request, path.removeprefix("/r/"))
        if path.startswith("/static/"):
            return self._context.pages.static(request)
        if path == "/wsd.js":
            return self._context.pages.loader(request, self._context.settings.limits.text)
        if path == "/favicon.ico":
            request.path = "/static/icon.svg"
            return self._context.pages.static(request)
        return not_found(request)

    def _page(self, request: Request, room: str) -> bytes:
        settings = self._context.settings
        try:
            room = room_name(room)
        except Refuse:
            return not_found(request)
        limit = settings.for_room(room).limits.text
        return self._context.pages.page(request, room, settings.page, limit)

    def _upgrade(self, client: HttpClient, request: Request) -> None:
        """From HTTP to WebSocket, in the dialect that path and subprotocol ask for."""
        settings = self._context.settings
        if request.path == "/echo" and not settings.echo:
            client.respond(not_found(request))
            return
        offered = (SUBPROTOCOL,) if request.path == "/chat" else ()
        agreed = handshake.negotiate(request, offered, settings.compression == "on")
        try:
            room = room_name(request.query.get("room") or settings.page.default_room)
        except Refuse as refusal:
            raise HttpError(400, "bad_room", refusal.message) from None
        check_origin(request, settings.for_room(room).origins)
        if self._context.draining:
            client.refuse(503, "restart", "The server is restarting.")
            return
        early, group = client.take_over()
        speak = V1Client if agreed.subprotocol else DIALECTS[request.path]
        page = page_of(request.headers.get("origin"), request.header("host"))
        peer = speak(self._context, client.connection, room, group, agreed.deflate, page)
        peer.start(handshake.response(agreed), early)
