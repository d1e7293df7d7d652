"""One WebSocket: frames, pings, closing and time.  What is said in them is a dialect's."""

from __future__ import annotations

import random
from abc import abstractmethod
from typing import Any

from wsd import logs
from wsd.chat.event import Event
from wsd.metrics import M
from wsd.net.connection import Connection, State
from wsd.protocol import frames
from wsd.protocol.deflate import Deflate
from wsd.protocol.frames import Opcode
from wsd.protocol.session import Closed, Failed, Ping, Pong, Session
from wsd.reasons import (
    HELLO_TIMEOUT,
    INTERNAL,
    MESSAGE_TIMEOUT,
    PING_TIMEOUT,
    RESTART,
    SLOW,
    UNSUPPORTED_DATA,
    Reason,
)
from wsd.transports.compression import Framing
from wsd.transports.context import Context
from wsd.transports.origin import Page
from wsd.transports.subscriber import Subscriber

SPARE_SESSIONS = 16


class Frames:
    """The encoding of one dialect, for all its clients that agreed on the same window."""

    has_positions = False

    def __init__(self, context: Context, bits: int) -> None:
        self.context = context
        self.frame = Framing(context.row, bits).frame
        self._compression = bits != 0
        self._sessions: list[Session] = []
        """Those that no client needs at the moment."""

    def lend(self) -> Session:
        """A session, for as long as a client has said something that is not done with.

        Most members are silent most of the time: each with one of its own would need 0.4 KiB more.
        """
        limits = self.context.settings.limits
        while self._sessions:
            session = self._sessions.pop()
            if session.max_message == limits.message and session.max_fragments == limits.fragments:
                return session  # the others are from before a reload
        return Session(limits.message, limits.fragments, compression=self._compression)

    def take_back(self, session: Session) -> None:
        if len(self._sessions) < SPARE_SESSIONS:
            self._sessions.append(session)

    def event(self, event: Event) -> bytes:
        return b""

    def notice(self, json: bytes) -> bytes:
        return b""


class WebSocketClient(Subscriber):
    """Frames, pings, closing and time; a dialect adds what is said in them."""

    __slots__ = (
        "_begun_at",
        "_closing_at",
        "_handshake",
        "_heard_at",
        "_held",
        "_leaving",
        "_page",
        "_ping_due",
        "_pinged_at",
        "_pong",
        "_processing",
        "_reason",
        "_session",
        "_waiting_for_reader",
        "encoding",
    )

    encoding_type: type[Frames] = Frames
    """What the dialect makes of events."""
    encoding: Frames

    def __init__(
        self, context: Context, connection: Connection, room: str, address: str,
        deflate: Deflate | None, page: Page,
    ) -> None:  # fmt: skip
        super().__init__(context, connection, room, address)
        self._page = page
        now = context.loop.now
        self.encoding = context.encoding(self.encoding_type, deflate.bits if deflate else 0)
        self._session: Session | None = None
        """Takes what arrives; None while nothing of that is left."""
        self._begun_at = 0.0
        """Since when the end of a frame or message is missing."""
        self._pong: bytes | None = None
        """The latest ping that could not be answered yet."""
        self._held = 0
        self._processing = False
        self._leaving = False
        self._waiting_for_reader = False
        self._handshake = b""
        self._closing_at = 0.0
        self._reason = ""
        """Why this side began to close, before the other side had its say."""
        self._heard_at = now
        self._pinged_at = 0.0
        # Spread over the whole interval, or everybody who came at once is pinged at once.
        self._ping_due = now + context.settings.ping.every * random.uniform(0.5, 1.0)

    def start(self, handshake: bytes, early: bytes) -> None:
        """Begin: ``handshake`` is our answer to theirs, ``early`` came behind that."""
        self._handshake = handshake
        self.on_open()
        if early:
            self.on_data(early)

    transport = "websocket"

    # -- what a dialect says

    def on_open(self) -> None:
        """Called once; ``accept`` from here, or later."""
        self.accept()

    def accept(self) -> None:
        """Answer the handshake: from now on the client may count on being heard and told."""
        self.connection.write(self._handshake)
        self._handshake = b""

    @abstractmethod
    def on_text(self, data: bytes) -> None:
        """A whole text message; ``data`` is valid UTF-8."""

    def on_binary(self, data: bytes) -> None:
        self.close(UNSUPPORTED_DATA)

    def reply(self, value: dict[str, Any]) -> None:
        """Answer a command; most dialects have no words for that."""

    def ping(self) -> bytes:
        """What goes out every ``ping.every`` seconds: a control frame, answered below script."""
        return PING

    def may_use(self, room: str) -> bool:
        return self._page.may_use(self._context.settings.for_room(room).origins)

    # -- input

    def on_data(self, data: bytes) -> None:
        self._heard_at = self._context.loop.now
        session = self._session
        if session is None:
            session = self._session = self.encoding.lend()
        session.receive(data)
        if self._held:  # one read more than was asked for, and then TCP slows the client down
            self.connection.pause_reading()
        else:
            self._process()

    def _process(self) -> None:
        """Handle what has arrived, one event after the other, unless the client is held."""
        session = self._session
        if self._processing or session is None:
            return
        self._processing = True
        try:
            while not self._held and not self.gone:
                event = session.next_event()
                if event is None:
                    break
                self._handle(event)
                if self.connection.queued > self._context.settings.limits.queue:
                    self._wait_for_reader()
        except Exception:  # a bug met by one client must not take the others along
            self._context.row[M.ERRORS] += 1
            logs.exception("client_failed", uid=self.guest.uid if self.known else "")
            self.close(INTERNAL)
        finally:
            self._processing = False
        if not session.unfinished:
            self._begun_at = 0.0
            if session.idle:
                self.encoding.take_back(session)
                self._session = None
        elif not self._begun_at:
            self._begun_at = self._context.loop.now

    def _handle(self, event: Any) -> None:
        kind = type(event)
        if kind is Ping:
            self._answer(event.payload)
        elif kind is Closed:
            self._finish("client_closed", event.reply)
        elif kind is Failed:
            self._finish(event.reason, event.reply)
        elif kind is not Pong and not self._closing_at:
            self._begun_at = 0.0
            if event.opcode == Opcode.TEXT:
                self.on_text(event.data)
            else:
                self.on_binary(event.data)

    def _answer(self, ping: bytes) -> None:
        """A client that takes nothing gets one pong, for its latest ping (RFC 6455, 5.5.3)."""
        if self.connection.blocked:
            self._pong = ping
            self.connection.on_drained = self._on_drained
        else:
            self.write(frames.encode(Opcode.PONG, ping))

    def hold(self) -> None:
        self._held += 1

    def release(self) -> None:
        self._held -= 1
        if not self._held and not self.gone:
            # What was not read meanwhile is not the client's delay: its pong may be there.
            self._begun_at = 0.0
            if self._pinged_at > self._heard_at:
                self._pinged_at = self._context.loop.now
            self.connection.resume_reading()
            self._process()

    def _wait_for_reader(self) -> None:
        """Handle nothing more until the client has taken what it asked for."""
        if not self._waiting_for_reader:
            self._waiting_for_reader = True
            self.hold()
            self.connection.on_drained = self._on_drained

    # -- output

    def write(self, data: bytes) -> None:
        """Send ``data``, unless a close frame has gone: behind it nothing may follow."""
        if not self._closing_at:
            self.connection.write(data)

    @property
    def deaf(self) -> bool:
        return bool(self._closing_at)

    def _on_drained(self) -> None:
        super()._on_drained()
        if self._pong is not None:
            pong, self._pong = self._pong, None
            self.write(frames.encode(Opcode.PONG, pong))
        if self._waiting_for_reader:
            self._waiting_for_reader = False
            self.release()

    # -- the end

    def close(self, reason: Reason) -> None:
        """Start the closing handshake (RFC 6455 section 7.1.2)."""
        if self._closing_at or self.gone:
            return
        self._closing_at = self._context.loop.now
        if self._handshake:  # nothing has been accepted that could be closed with a frame
            self.connection.abort(reason.name)
            return
        self.connection.seal()
        if self._session is None:
            self._session = self.encoding.lend()
        self._session.closing()
        self.connection.write(frames.encode_close(reason.code, reason.name))
        self._reason = reason.name

    def _finish(self, reason: str, reply: bytes) -> None:
        """Both sides are done: the server closes first (RFC 6455 section 7.1.1)."""
        if reply:
            self.connection.write(reply)
        self._closing_at = self._closing_at or self._context.loop.now
        self.connection.close(reason)

    def on_gone(self, reason: str) -> None:
        super().on_gone(self._reason or reason)

    # -- time

    def sweep(self, now: float) -> float:
        connection = self.connection
        settings = self._context.settings
        waiting = connection.queued
        if self._closing_at:
            if now - self._closing_at > settings.timeouts.close:
                connection.abort("close_timeout")
        elif connection.state is not State.OPEN:
            pass
        elif self._handshake:
            if now - self.opened_at > settings.timeouts.hello:
                self.close(HELLO_TIMEOUT)
        elif waiting and now - connection.progress_at > self.patience_s:
            connection.abort(SLOW.name)
        elif not self.known and now - self.opened_at > settings.timeouts.hello:
            self.close(HELLO_TIMEOUT)
        elif self._begun_at and not self._held and now - self._begun_at > settings.timeouts.body:
            self.close(MESSAGE_TIMEOUT)
        elif self._pinged_at > self._heard_at:
            if now - self._pinged_at > settings.ping.timeout and not self._has_excuse():
                self.close(PING_TIMEOUT)
        elif now >= self._ping_due:
            self._pinged_at = now
            self._ping_due = now + settings.ping.every
            connection.write(self.ping())
        if waiting or self._closing_at or self._begun_at or not self.known:
            return 0.0
        if self._pinged_at > self._heard_at:
            return min(self._ping_due, self._pinged_at + settings.ping.timeout)
        return self._ping_due

    def _has_excuse(self) -> bool:
        """A pong that did not come says nothing while this side does not read, or while the ping
        still waits behind output that the client takes slowly."""
        connection = self.connection
        return bool(self._held or (connection.queued and connection.progress_at > self._pinged_at))

    def drain(self, retry_ms: tuple[int, int]) -> None:
        pass

    def restart(self) -> None:
        if not self._leaving:
            self._leaving = True
            self.hold()
            self._leave()

    def _leave(self) -> None:
        """Close, once everything is answered that the client has asked for."""
        if self.unanswered and not self.gone:
            self._context.loop.call_later(0.01, self._leave)
        else:
            self.close(RESTART)
            self.release()  # to hear the answer to the close frame


PING = frames.encode(Opcode.PING, b"")
