"""What is said over a WebSocket: the dialects that its address and subprotocol choose among."""

from __future__ import annotations

from abc import abstractmethod
from functools import lru_cache
from typing import Any

import msgspec

from wsd import failpoints, strict_json
from wsd.chat import event as events
from wsd.chat.event import MESSAGE, Event, Message
from wsd.chat.guests import NOBODY
from wsd.chat.schema import Refuse
from wsd.chat.wire import Outcome, Refused
from wsd.protocol.frames import Opcode, encode_text
from wsd.reasons import BYE_RESTART
from wsd.strict_json import JsonError
from wsd.transports.websocket import PING, Frames, WebSocketClient

SUBPROTOCOL = "wsd.v1"

_to_json = msgspec.json.Encoder().encode


# -- wsd.v1


class _JsonFrames(Frames):
    """Events and notices as they are, in a text frame each."""

    has_positions = True

    def event(self, event: Event) -> bytes:
        return self.frame(event.json)

    def notice(self, json: bytes) -> bytes:
        return self.frame(json)


class V1Client(WebSocketClient):
    """Speaks commands and events as JSON."""

    __slots__ = ()

    encoding_type = _JsonFrames

    def on_text(self, data: bytes) -> None:
        self._context.commands.handle(self, data)

    def reply(self, value: dict[str, Any]) -> None:
        data = encode_text(_to_json(value))
        if failpoints.due("worker.mid_write"):
            self.connection.write(data[: len(data) // 2])
            self.connection.flush()
            failpoints.act("worker.mid_write")
            data = data[len(data) // 2 :]  # it was only stopped, and goes on
        self.write(data)

    def ping(self) -> bytes:
        return _ping(tuple(self._context.rooms.heads(self.rooms, self).items()))

    def drain(self, retry_ms: tuple[int, int]) -> None:
        self.reply({"type": "bye", "code": BYE_RESTART, "reason": "restart", "retry_ms": retry_ms})


@lru_cache(maxsize=256)
def _ping(heads: tuple[tuple[str, int], ...]) -> bytes:
    """The same for all who are in the same rooms, so that it is sent to them together."""
    return PING + encode_text(_to_json({"type": "ping", "heads": dict(heads)}))


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
        commands.publish(self, draft, self._on_outcome)

    def _on_outcome(self, outcome: Outcome) -> None:
        if isinstance(outcome, Refused):
            self._context.commands.count_refusal(outcome.code)
            self.tell_problem(outcome.message)

    def reply(self, value: dict[str, Any]) -> None:
        self.tell_problem(str(value.get("message", "")))

    @abstractmethod
    def tell_problem(self, text: str) -> None:
        """Say why something was not done, in this dialect's own form."""


class _PlainText(Frames):
    """The text of messages and nothing else."""

    def event(self, event: Event) -> bytes:
        message = _shown_message(event)
        return self.frame(message.text.encode()) if message else b""


def _shown_message(event: Event) -> Message | None:
    body = events.decode(event.json)
    return body if isinstance(body, Message) and not body.deleted else None


class TextClient(_DialectClient):
    """The tutorial's first server: text in, the same text to everybody; no history."""

    __slots__ = ()

    encoding_type = _PlainText

    def on_text(self, data: bytes) -> None:
        self.say(data.decode())

    def tell_problem(self, text: str) -> None:
        self.write(encode_text(f"wsd: {text}".encode()))


class _Html(Frames):
    """Messages rendered from ``message.html``, as the tutorial's Tornado server does."""

    def event(self, event: Event) -> bytes:
        message = _shown_message(event)
        if message is None:
            return b""
        return self.frame(self.render(message.seq, message.uid, message.name, message.text))

    def render(self, seq: int, uid: str, name: str, message: str) -> bytes:
        template = self.context.pages.message
        html: str = template.render(seq=seq, uid=uid, name=name, message=message)
        return html.encode()


class _TornadoMessage(msgspec.Struct):
    message: str
    uid: Any = None  # whatever the page claims; who speaks is known from the connection


_decode_tornado = msgspec.json.Decoder(_TornadoMessage).decode


class TornadoClient(_DialectClient):
    """The tutorial's Tornado server: first the uid, then the history, then everything as HTML."""

    __slots__ = ()

    encoding_type = _Html
    encoding: _Html
    replay = True

    def greet(self) -> None:
        super().greet()
        self.write(encode_text(self.guest.uid.encode()))

    def on_text(self, data: bytes) -> None:
        try:
            said = strict_json.decode(data, _decode_tornado)
        except JsonError:
            self._context.commands.count_refusal("bad")
            self.tell_problem('a message is {"uid": …, "message": …}')
            return
        self.say(said.message)

    def tell_problem(self, text: str) -> None:
        self.write(encode_text(self.encoding.render(0, "", "wsd", text)))


class EchoClient(WebSocketClient):
    """Sends every message back: for trying proxies and for conformance suites."""

    __slots__ = ()

    def on_open(self) -> None:
        super().on_open()
        self.known = True  # nobody has to introduce themselves here
        self.guest = NOBODY

    def on_text(self, data: bytes) -> None:
        self.write(self.encoding.frame(data))

    def on_binary(self, data: bytes) -> None:
        self.write(self.encoding.frame(data, Opcode.BINARY))
