"""What every transport of one worker shares, and the watch over its connections' time limits."""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

import msgspec

from wsd import logs
from wsd.allowances import Rate
from wsd.chat.commands import Commands
from wsd.chat.guests import Guests
from wsd.chat.rooms import Rooms
from wsd.config import Settings
from wsd.hub.link import HubLink
from wsd.metrics import CLOSED, M, Row
from wsd.net.connection import Connection, Flusher
from wsd.net.loop import Loop
from wsd.protocol.http import HttpLimits
from wsd.shared import Shared
from wsd.transports.addresses import Proxies, address_group, plain_address
from wsd.transports.pages import Pages

T = TypeVar("T")

HANDSHAKES_AT_ONCE = 4
"""TLS handshakes that an address may begin at once, in multiples of its limit of connections."""
HANDSHAKE_EVERY_S = 0.05
"""Then one each time that this has passed: 2 % of a core with P-256 keys, which take 0.8 ms."""

SWEEP_S = 0.1
SOON_S = 0.8
"""Every connection is looked at as often as this: a limit of 10 s ends within 11."""
QUIET_S = 4.0
"""Or, where nothing is going to be due, as often as this, and as the shortest time limit: looking
at 10,000 idle members every 0.8 s took 2 % of a core."""
GONE = 1_000
"""Connections that have ended and still wait to be looked at, at most."""


class Attendant(Protocol):
    """Whoever speaks a protocol on a connection."""

    connection: Connection

    def sweep(self, now: float) -> float:
        """Close what is over its time, send what is due.

        Returns until when nothing more of that can be due, but for what begins after this; 0.0 is
        fine.
        """

    def drain(self, retry_ms: tuple[int, int]) -> None:
        """The daemon is going to stop: say so.  A connection without work closes at once."""

    def restart(self) -> None:
        """The time of this connection has come: close it, so that it comes back elsewhere."""


@dataclass(eq=False)
class Context:
    loop: Loop
    flusher: Flusher
    settings: Settings
    row: Row
    number: int
    """Of this worker, from 0."""
    shared: Shared
    link: HubLink
    guests: Guests
    rooms: Rooms
    commands: Commands
    pages: Pages
    wall: Callable[[], float]
    draining: bool = False
    attendants: dict[Attendant, None] = field(default_factory=dict)
    """Everybody, in the order in which they came."""
    proxies: Proxies = field(init=False)
    http_limits: HttpLimits = field(init=False)
    _encodings: dict[tuple[Any, int], Any] = field(default_factory=dict)
    _looks: dict[int, list[Attendant]] = field(default_factory=dict)
    """Who is to be looked at in which of the coming sweeps; some may have gone meanwhile."""
    _newcomers: dict[Attendant, None] = field(default_factory=dict)
    """Who came since the last sweep.  Most end at once: a request, and a WebSocket in its place."""
    _sweeps: int = 0
    _gone: int = 0
    _quiet_s: float = field(init=False)

    def __post_init__(self) -> None:
        self.apply(self.settings)

    def apply(self, settings: Settings) -> None:
        """Put other settings in force, for everybody who is connected too."""
        self.settings = settings
        self.rooms.settings = settings
        self.commands.settings = settings
        self.guests.tokens.life_s = settings.identity.guest_token_life
        self.proxies = Proxies(settings.trusted_proxies)
        self.http_limits = HttpLimits(body=settings.limits.message)
        limits_s = (*msgspec.structs.astuple(settings.timeouts), settings.ping.timeout)
        self._quiet_s = max(SOON_S, min(QUIET_S, *limits_s))

    def busy(self) -> bool:
        """Whether somebody is connected, or waits for an answer of the hub's."""
        return bool(self.attendants or self.link.unanswered)

    def encoding(self, kind: Callable[[Context, int], T], bits: int) -> T:
        """The one ``kind(self, bits)`` there is: members that share it share what it makes."""
        made: T | None = self._encodings.get((kind, bits))
        if made is None:
            made = self._encodings[kind, bits] = kind(self, bits)
        return made

    # -- who is connected

    def enrol(self, attendant: Attendant) -> None:
        self.attendants[attendant] = self._newcomers[attendant] = None

    def dismiss(self, attendant: Attendant) -> None:
        if attendant in self.attendants:
            del self.attendants[attendant]
            if attendant in self._newcomers:
                del self._newcomers[attendant]
            else:
                self._gone += 1

    def opened(self) -> bool:
        """Count a new connection; False if there are too many already (it counts all the same)."""
        self.row[M.ACCEPTED] += 1
        self.row[M.CONNECTIONS] += 1
        return bool(self.row[M.CONNECTIONS] <= self.settings.limits.connections)

    def turn_away(self, sock: socket.socket, reason: str, transport: str) -> None:
        """Close a new connection without a word."""
        self.opened()
        sock.close()
        self.closed(reason, transport)

    def handed_on(self) -> None:
        """Count no more a connection that is going to be counted anew, as another attendant's."""
        self.row[M.ACCEPTED] -= 1
        self.row[M.CONNECTIONS] -= 1

    def closed(self, reason: str, transport: str, uid: str = "") -> None:
        """Count and log the end of a connection, and why (a name in ``reasons.CLOSED``)."""
        self.row[M.CONNECTIONS] -= 1
        CLOSED.count(self.row, reason)
        logs.event(logs.debug, "closed", reason=reason, transport=transport, uid=uid)

    def admit_address(self, address: str) -> str | None:
        """Count one more connection of ``address``, which may be unknown ("").

        Returns what to hand to ``release_address`` when it ends, or None if it has too many.
        """
        limit = self.settings.limits.connections_per_address
        group = address_group(address)
        if group and self.shared.addresses.add(self.number, group) > limit > 0:
            self.release_address(group)
            return None
        return group

    def release_address(self, group: str) -> None:
        if group:
            self.shared.addresses.remove(self.number, group)

    def may_shake_hands(self, peer: str) -> bool:
        """Whether ``peer`` may begin another TLS handshake, the dearest thing to be had unasked.

        A limit on open connections alone would not bound what opening and closing them costs.
        """
        limit = self.settings.limits.connections_per_address
        group = address_group(plain_address(peer))
        if not limit or not group or self.proxies.trust(peer):
            return True
        rate = Rate(HANDSHAKES_AT_ONCE * limit, HANDSHAKE_EVERY_S)
        return not self.shared.allowances.take(rate, self.loop.now, "handshake", group)

    # -- time

    def _look_after(self, seconds: float, attendant: Attendant) -> None:
        self._looks.setdefault(self._sweeps + round(seconds / SWEEP_S), []).append(attendant)

    def sweep(self) -> None:
        """Look after those whose time it is.  Call every ``SWEEP_S``."""
        self._sweeps += 1
        now = self.loop.now
        for attendant in self._newcomers:
            self._look_after(SOON_S, attendant)
        self._newcomers.clear()
        for attendant in self._looks.pop(self._sweeps, ()):
            if attendant in self.attendants:
                quiet_s = attendant.sweep(now) - now
                self._look_after(min(max(quiet_s, SOON_S), self._quiet_s), attendant)
            else:
                self._gone -= 1
        if self._gone > GONE:  # they keep their memory until then
            self._gone = 0
            for number, attendants in self._looks.items():
                self._looks[number] = [each for each in attendants if each in self.attendants]
