"""Builds one worker from its parts and runs it: sockets in, rooms in the middle, the hub behind."""

from __future__ import annotations

import itertools
import random
import socket
import time
from collections.abc import Callable
from functools import partial

from wsd import logs
from wsd.chat.commands import Commands
from wsd.chat.guests import Guests
from wsd.chat.identity import Tokens, load_secret, secret_path
from wsd.chat.rates import Rates
from wsd.chat.rooms import Rooms
from wsd.config import Settings
from wsd.hub.link import HubLink
from wsd.listeners import Opening
from wsd.metrics import M, Row
from wsd.net.connection import Flusher
from wsd.net.listener import Acceptor
from wsd.net.loop import Loop
from wsd.net.tls import TlsContext, make_context
from wsd.net.uring import Ring
from wsd.shared import Shared, worker_name
from wsd.transports.admin import AdminRouter
from wsd.transports.context import SWEEP_S, Attendant, Context
from wsd.transports.http import HttpClient, Router
from wsd.transports.introduction import introduce
from wsd.transports.pages import Pages
from wsd.transports.public import PublicRouter

ROOMS_SWEEP_S = 5.0
GUESTS_SWEEP_S = 60.0
LAST_WORDS_S = 1.0
"""How long the last close frames may take to leave before a worker ends."""


class Worker:
    def __init__(
        self,
        loop: Loop,
        number: int,
        openings: list[Opening],
        hub_path: str,
        settings: Settings,
        shared: Shared,
    ) -> None:
        name = worker_name(number)
        self._loop = loop
        self._openings = openings
        self._row: Row = shared.scoreboard.row(name)
        self._acceptors: list[Acceptor] = []
        self._certificates: list[TlsContext | None] = []
        """For each place in ``listen``; a reload may replace them at any time."""
        self._leaving: list[Attendant] = []
        self._on_done: Callable[[], None] = loop.stop
        self._ring = Ring.open()
        flusher = Flusher(self._ring)
        tokens = Tokens(load_secret(secret_path(settings)), settings.identity.guest_token_life)
        guests = Guests(tokens, loop.clock, time.time)
        link = HubLink(loop, flusher, hub_path, name, self._row)
        rooms = Rooms(link, guests, settings, self._row, loop.clock, loop.call_later, self._ring)
        # The rooms write to connections, and then each of those is flushed.
        loop.at_turn_end += [rooms.end_turn, link.end_turn, flusher.flush, link.after_flush]
        commands = Commands(
            link, rooms, guests, Rates(shared.allowances, loop.clock), settings, self._row,
            loop.clock, time.time,
        )  # fmt: skip
        self.context = Context(
            loop, flusher, settings, self._row, number, shared, link, guests, rooms, commands,
            Pages(), time.time,
        )  # fmt: skip
        self._use_certificates(settings)

    def start(self, on_ready: Callable[[], None]) -> None:
        """Contact the hub, and accept connections as soon as it has answered."""
        loop, context = self._loop, self.context
        context.link.start(context.rooms)
        loop.every(SWEEP_S, context.sweep)
        loop.every(ROOMS_SWEEP_S, context.rooms.sweep)
        loop.every(GUESTS_SWEEP_S, context.guests.sweep)

        def when_up() -> None:
            if context.draining:
                return  # told to stop before it was in contact: it never opens
            if context.link.up:
                self._open()
                on_ready()
            else:
                loop.call_later(0.005, when_up)

        when_up()

    def _open(self) -> None:
        public: Router = PublicRouter(self.context)
        for opening in self._openings:
            local = opening.listener.family == socket.AF_UNIX
            router = AdminRouter(self.context, local=local) if opening.place is None else public
            accept = partial(self._accept, router, opening.place)
            self._acceptors.append(Acceptor(self._loop, opening.listener, accept, self._on_short))

    def _accept(self, router: Router, place: int | None, sock: socket.socket, peer: str) -> None:
        if place is not None and self.context.settings.listen[place].proxy_protocol:
            introduce(self.context, sock, peer, partial(self._serve, router, place))
        else:
            self._serve(router, place, sock, peer)

    def _serve(
        self, router: Router, place: int | None, sock: socket.socket, peer: str
    ) -> Attendant | None:
        tls = None if place is None else self._certificates[place]
        if tls is not None and not self.context.may_shake_hands(peer):
            self.context.turn_away(sock, "handshake_rate", "http")
            return None
        try:
            return HttpClient(self.context, router, sock, peer, tls)
        except OSError as error:  # with TLS: it was reset while it waited to be accepted
            logs.event(logs.debug, "gone_at_once", detail=str(error))
            sock.close()
            return None

    def _on_short(self, error: OSError) -> None:
        if not self._row[M.ACCEPT_PAUSES] % 40:  # about once in 10 s while it lasts
            logs.event(logs.error, "accept_paused", detail=str(error))
        self._row[M.ACCEPT_PAUSES] += 1

    # -- stopping

    def drain(self) -> None:
        """Accept no more, tell everybody, and let them go evenly over ``drain.spread``."""
        if self.context.draining:
            return
        self.context.draining = True
        self._row[M.DRAINING] = 1
        # Time to say goodbye must be left when everything has to be over.
        drain = self.context.settings.drain
        spread_s = min(drain.spread, drain.stop * 0.8)
        self._close_public()
        retry_ms = (0, int(spread_s * 1000))
        for attendant in list(self.context.attendants):
            attendant.drain(retry_ms)
        self._leaving = list(self.context.attendants)
        random.shuffle(self._leaving)
        logs.event(logs.info, "draining", connections=len(self._leaving), spread_s=spread_s)
        self._release(self._loop.clock(), spread_s, len(self._leaving))

    def _close_public(self) -> None:
        """Accept what waits, then have newcomers refused at once rather than wait for nobody.

        The master has let go of these listeners too, unless it is this worker alone that goes.
        The admin ones stay open, to say that the daemon is stopping.
        """
        for opening, acceptor in itertools.zip_longest(self._openings, self._acceptors):
            if opening.place is not None:
                if acceptor is not None:  # None: not in contact with the hub yet, so not open
                    acceptor.stop()
                opening.listener.close()

    def _release(self, began: float, spread_s: float, total: int) -> None:
        """Close as many as the time that has passed allows, then wait for the rest."""
        passed = self._loop.clock() - began
        share = 1.0 if passed >= spread_s else passed / spread_s
        while self._leaving and total - len(self._leaving) < share * total:
            self._leaving.pop().restart()
        if self._leaving or self.context.busy():
            self._loop.call_later(0.05, lambda: self._release(began, spread_s, total))
        else:
            self._on_done()

    def stop_now(self) -> None:
        """Say goodbye and end within ``LAST_WORDS_S``, whatever is still open."""
        if not self.context.draining:
            self.drain()
        for attendant in list(self.context.attendants):
            attendant.restart()
        self._loop.call_later(LAST_WORDS_S, self._on_done)

    def _use_certificates(self, settings: Settings) -> None:
        """Serve new connections with them; those that are open keep what they began with."""
        self._certificates = [
            make_context(listen.pairs) if listen.tls else None for listen in settings.listen
        ]

    def apply(self, settings: Settings) -> None:
        if settings.listen != self.context.settings.listen:
            self._use_certificates(settings)
        self.context.guests.tokens.sign_with(load_secret(secret_path(settings)))
        self.context.apply(settings)

    def close(self) -> int:
        if self._ring is not None:
            self._ring.close()
        return 0
