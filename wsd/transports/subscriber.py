"""One connection that stays open and hears what happens in rooms: a WebSocket or an event stream.

This is the part of a client that its rooms see (``wsd.chat.rooms.Member``) and that its commands
are carried out for (``wsd.chat.commands.Client``); how things are said is the subclass's.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from wsd.chat import event as events
from wsd.chat.guests import Guest
from wsd.net.connection import Connection
from wsd.reasons import Reason
from wsd.transports.context import Context

LAG_S = 60.0
"""How long a reader that is behind may take nothing before it is given up."""


class Subscriber(ABC):
    """``address`` is what ``Context.admit_address`` gave; it is released at the end."""

    __slots__ = (
        "_context",
        "address",
        "connection",
        "default_room",
        "gone",
        "guest",
        "known",
        "opened_at",
        "refused",
        "rooms",
        "unanswered",
    )

    transport: str
    """Its name in the log."""
    encoding: events.Encoding
    guest: Guest
    roams = False

    def __init__(self, context: Context, connection: Connection, room: str, address: str) -> None:
        self._context = context
        self.address = address
        self.connection = connection
        self.default_room = room
        self.opened_at = context.loop.now
        self.known = False
        self.gone = False
        self.rooms: tuple[str, ...] = ()
        self.unanswered = 0
        self.refused: tuple[str, float] | None = None
        connection.owner = self
        context.enrol(self)

    @property
    def deaf(self) -> bool:
        """The goodbye has been said: nothing may follow it."""
        return bool(self.connection.closing)

    # -- what happens in rooms

    @property
    def line(self) -> Connection:
        return self.connection

    def deliver(self, data: bytes) -> bool:
        connection = self.connection
        if self.deaf:
            return True
        # With what is to be added: after a delay a turn may bring a hundred events.  The other half
        # is for answers, which cannot be read from the log later.
        if connection.weight + len(data) > self._context.settings.limits.queue // 2:
            return False
        connection.write(data)
        return True

    def feed(self, data: bytes) -> None:
        connection = self.connection
        if self.deaf:
            return
        connection.on_drained = self._on_drained
        if data:
            connection.write(data)
        elif not connection.queued:
            self._context.loop.call_later(0, self._on_drained)

    def _on_drained(self) -> None:
        self.connection.on_drained = None
        for name in self.rooms:
            self._context.rooms.drained(name, self)

    @property
    def patience_s(self) -> float:
        """How long the kernel may take no output.  A reader that is behind costs no more memory
        however long it takes, so it gets more time."""
        settings = self._context.settings
        if self.connection.queued > settings.limits.queue:
            return LAG_S
        return settings.timeouts.write

    # -- commands that are carried out for it

    def may_use(self, room: str) -> bool:
        return True  # it is in the rooms that its request was judged for, and in no others

    @abstractmethod
    def reply(self, value: dict[str, Any]) -> None: ...

    @abstractmethod
    def hold(self) -> None: ...

    @abstractmethod
    def release(self) -> None: ...

    @abstractmethod
    def on_data(self, data: bytes) -> None: ...

    # -- the end

    @abstractmethod
    def close(self, reason: Reason) -> None:
        """Say why, and close."""

    def on_gone(self, reason: str) -> None:
        self.gone = True
        context = self._context
        context.dismiss(self)
        context.closed(reason, self.transport, self.guest.uid if self.known else "")
        context.release_address(self.address)
        context.commands.depart(self)

    # -- its connection's attendant (``wsd.transports.context.Attendant``)

    @abstractmethod
    def sweep(self, now: float) -> float: ...

    @abstractmethod
    def drain(self, retry_ms: tuple[int, int]) -> None: ...

    @abstractmethod
    def restart(self) -> None: ...
