"""WebSocket clients: one connection each, in one of the dialects that the address chooses.

``WebSocketClient`` looks after frames, pings, closing and time; a dialect says what a message
means and how events are told.
"""

from __future__ import annotations

import random
from abc import abstractmethod
from typing import Any

import msgspec

from wsd import failpoints, logs, strict_json
from wsd.chat import event as events
from wsd.chat.event import MESSAGE, Event, Message
from wsd.chat.guests import NOBODY
from wsd.chat.schema import Refuse
from wsd.chat.wire import Outcome, Refused
from wsd.metrics import M
from wsd.net.connection import Connection, State
from wsd.protocol import frames
from wsd.protocol.frames import Opcode
from wsd.protocol.session import Closed, Failed, Ping, Pong, Session
from wsd.reasons import (
    BYE_RESTART,
    HELLO_TIMEOUT,
    INTERNAL,
    PING_TIMEOUT,
    RESTART,
    SLOW,
    UNSUPPORTED_DATA,
    Reason,
)
from wsd.strict_json import JsonError
from wsd.transports.context import Context
from wsd.transports.subscriber import Subscriber

SUBPROTOCOL = "wsd.v1"

_to_json = msgspec.json.Encoder().encode


class WebSocketClient(Subscriber):
    """Frames, pings, closing and time; a dialect adds what is said in them."""

    __slots__ = (
        "_closing_at",
        "_handshake",
        "_heard_at",
        "_held",
        "_leaving",
        "_ping_due",
        "_pinged_at",
        "_processing",
        "_reason",
        "_session",
        "_waiting_for_reader",
    )

    def __init__(
        self, context: Context, connection: Connection, room: str, address: str
    ) -> None:
        super().__init__(context, connection, room, address)
        limits = context.settings.limits
        now = context.loop.now
        self._session = Session(limits.message, limits.fragments)
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
        connection.on_data = self._on_data

    def start(self, handshake: bytes, early: bytes) -> None:
        """Begin: ``handshake`` is our answer to theirs, ``early`` came behind that."""
        self._handshake = handshake
        self.on_open()
        if early:
            self._on_data(early)

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
        return _PING

    # -- input

    def _on_data(self, data: bytes) -> None:
        self._heard_at = self._context.loop.now
        self._session.receive(data)
        if self._held:  # one read more than was asked for, and then TCP slows the client down
            self.connection.pause_reading()
        else:
            self._process()

    def _process(self) -> None:
        """Handle what has arrived, one event after the other, unless the client is held."""
        if self._processing:
            return
        self._processing = True
        try:
            while not self._held and not self.gone:
                event = self._session.next_event()
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

    def _handle(self, event: Any) -> None:
        kind = type(event)
        if kind is Ping:
            self.write(frames.encode(Opcode.PONG, event.payload))
        elif kind is Closed:
            self._finish("client_closed", event.reply)
        elif kind is Failed:
            self._finish(event.reason, event.reply)
        elif kind is not Pong and not self._closing_at:
            if event.opcode == Opcode.TEXT:
                self.on_text(event.data)
            else:
                self.on_binary(event.data)

    def hold(self) -> None:
        self._held += 1

    def release(self) -> None:
        self._held -= 1
        if not self._held and not self.gone:
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
        self._session.closing()
        self.connection.write(frames.encode_close(reason.code, reason.name))
        self._reason = reason.name

    def _finish(self, reason: str, reply: bytes) -> None:
        """Both sides are done: the server closes first (RFC 6455 section 7.1.1)."""
        if reply:
            self.connection.write(reply)
        self._closing_at = self._closing_at or self._context.loop.now
        self.connection.close(reason)

    def _on_gone(self, reason: str) -> None:
        super()._on_gone(self._reason or reason)

    # -- time

    def sweep(self, now: float) -> None:
        connection = self.connection
        settings = self._context.settings
        if self._closing_at:
            if now - self._closing_at > settings.timeouts.close:
                connection.abort("close_timeout")
            return
        if connection.state is not State.OPEN:
            return
        if self._handshake:
            if now - self.opened_at > settings.timeouts.hello:
                self.close(HELLO_TIMEOUT)
            return
        if connection.queued and now - connection.progress_at > self.patience_s:
            connection.abort(SLOW.name)
        elif not self.known and now - self.opened_at > settings.timeouts.hello:
            self.close(HELLO_TIMEOUT)
        elif self._pinged_at > self._heard_at:
            if now - self._pinged_at > settings.ping.timeout and not self._has_excuse():
                self.close(PING_TIMEOUT)
        elif now >= self._ping_due:
            self._pinged_at = now
            self._ping_due = now + settings.ping.every
            connection.write(self.ping())

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


_PING = frames.encode(Opcode.PING, b"")


# -- wsd.v1


class _JsonFrames:
    """Events and notices as they are, in a text frame each."""

    has_positions = True

    def event(self, event: Event) -> bytes:
        return frames.encode_text(event.json)

    def notice(self, json: bytes) -> bytes:
        return frames.encode_text(json)


class V1Client(WebSocketClient):
    """Speaks commands and events as JSON."""

    __slots__ = ()

    encoding = _JsonFrames()

    def on_text(self, data: bytes) -> None:
        self._context.commands.handle(self, data)

    def reply(self, value: dict[str, Any]) -> None:
        data = frames.encode_text(_to_json(value))
        if failpoints.due("worker.mid_write"):
            self.connection.write(data[: len(data) // 2])
            self.connection.flush()
            failpoints.act("worker.mid_write")
            data = data[len(data) // 2 :]  # it was only stopped, and goes on
        self.write(data)

    def ping(self) -> bytes:
        heads = self._context.rooms.heads(self.rooms, self)
        return _PING + frames.encode_text(_to_json({"type": "ping", "heads": heads}))

    def drain(self, retry_ms: tuple[int, int]) -> None:
        self.reply({"type": "bye", "code": BYE_RESTART, "reason": "restart", "retry_ms": retry_ms})


# -- the tutorial's dialects: no commands, so a client is a guest of one room from the start


class _DialectClient(WebSocketClient):
    __slots__ = ()

    replay = False

    def on_open(self) -> None:
        commands = self._context.commands
        commands.introduce(self, "", None)
        commands.enter_silently(self, self.default_room, self.replay, self.greet)

    def greet(self) -> None:
        """Send what goes ahead of the history.

        The handshake is answered only now: who is told nothing of the room and has no history to
        look at may take being connected for being there.
        """
        self.accept()

    def say(self, text: str) -> None:
        commands = self._context.commands
        try:
            draft = commands.draft(self, self.default_room, MESSAGE, text)
        except Refuse as refusal:
            commands.count_refusal(refusal.code)
            self.tell_problem(refusal.message)
            return
        commands.publish(draft, self._on_outcome)

    def _on_outcome(self, outcome: Outcome) -> None:
        if isinstance(outcome, Refused) and not self.gone:
            self._context.commands.count_refusal(outcome.code)
            self.tell_problem(outcome.message)

    def reply(self, value: dict[str, Any]) -> None:
        self.tell_problem(str(value.get("message", "")))

    @abstractmethod
    def tell_problem(self, text: str) -> None:
        """Say why something was not done, in this dialect's own form."""


class _PlainText:
    """The text of messages and nothing else."""

    has_positions = False

    def event(self, event: Event) -> bytes:
        message = _shown_message(event)
        return frames.encode_text(message.text.encode()) if message else b""

    def notice(self, json: bytes) -> bytes:
        return b""


def _shown_message(event: Event) -> Message | None:
    body = events.decode(event.json)
    return body if isinstance(body, Message) and not body.deleted else None


class TextClient(_DialectClient):
    """The tutorial's first server: text in, the same text to everybody; no history."""

    __slots__ = ()

    encoding = _PlainText()

    def on_text(self, data: bytes) -> None:
        self.say(data.decode())

    def tell_problem(self, text: str) -> None:
        self.write(frames.encode_text(f"wsd: {text}".encode()))


class _Html:
    """Messages rendered from ``message.html``, as the tutorial's Tornado server does."""

    has_positions = False

    def __init__(self) -> None:
        self.template: Any = None

    def event(self, event: Event) -> bytes:
        message = _shown_message(event)
        if message is None:
            return b""
        return frames.encode_text(self.render(message.seq, message.uid, message.name, message.text))

    def render(self, seq: int, uid: str, name: str, message: str) -> bytes:
        html: str = self.template.render(seq=seq, uid=uid, name=name, message=message)
        return html.encode()

    def notice(self, json: bytes) -> bytes:
        return b""


class _TornadoMessage(msgspec.Struct):
    message: str
    uid: Any = None  # whatever the page claims; who speaks is known from the connection


_decode_tornado = msgspec.json.Decoder(_TornadoMessage).decode


class TornadoClient(_DialectClient):
    """The tutorial's Tornado server: first the uid, then the history, then everything as HTML."""

    __slots__ = ()

    encoding = _Html()
    replay = True

    def on_open(self) -> None:
        self.encoding.template = self._context.pages.message
        super().on_open()

    def greet(self) -> None:
        super().greet()
        self.write(frames.encode_text(self.guest.uid.encode()))

    def on_text(self, data: bytes) -> None:
        try:
            said = strict_json.decode(data, _decode_tornado)
        except JsonError:
            self._context.commands.count_refusal("bad")
            self.tell_problem('a message is {"uid": …, "message": …}')
            return
        self.say(said.message)

    def tell_problem(self, text: str) -> None:
        self.write(frames.encode_text(self.encoding.render(0, "", "wsd", text)))


class EchoClient(WebSocketClient):
    """Sends every message back: for trying proxies and for conformance suites."""

    __slots__ = ()

    def on_open(self) -> None:
        super().on_open()
        self.known = True  # nobody has to introduce themselves here
        self.guest = NOBODY

    def on_text(self, data: bytes) -> None:
        self.write(frames.encode_text(data))

    def on_binary(self, data: bytes) -> None:
        self.write(frames.encode(Opcode.BINARY, data))
