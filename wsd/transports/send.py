"""``POST /send``: commands up, replies back in the same order.

For clients that read over a stream or by polls, or that do not read at all.  Nothing is joined
here; a command names its room.
"""

from __future__ import annotations

from typing import Any

import msgspec

from wsd.chat.commands import Entries
from wsd.chat.schema import Hello, Join, Leave, Refuse
from wsd.protocol.http import Headers, Request
from wsd.transports.context import Context
from wsd.transports.http import HttpClient
from wsd.transports.visitor import BUSY, PATIENCE_S, TOKEN_UNKNOWN, Visitor, to_json

MAX_COMMANDS = 16


class SendBody(msgspec.Struct):
    commands: list[msgspec.Raw]
    token: str = ""

    def rooms(self) -> list[str]:
        """The rooms that its commands name, as far as they can be read."""
        named: dict[str, None] = {}
        for raw in self.commands:
            try:
                head = _read_head(raw)
            except (msgspec.MsgspecError, RecursionError, UnicodeError):
                continue  # that command will be answered with an error
            named |= dict.fromkeys([head.room] if head.room is not None else head.rooms or ())
        return list(named)


class _Head(msgspec.Struct):
    room: str | None = None
    rooms: dict[str, Any] | None = None


_read_head = msgspec.json.Decoder(_Head).decode


class Sender(Visitor):
    """Carries out all commands of one request, then answers."""

    roams = True

    def __init__(
        self, context: Context, http: HttpClient, request: Request, headers: Headers
    ) -> None:
        super().__init__(context, http, request, headers)
        self._ids: list[int | None] = []
        self._replies: list[dict[str, Any] | None] = []
        self._timer = context.loop.call_later(PATIENCE_S, self._lose_patience)

    def begin(self, body: SendBody) -> None:
        """Raises Refuse when nothing of it can be done."""
        if not 1 <= len(body.commands) <= MAX_COMMANDS:
            raise Refuse("bad", f"1 to {MAX_COMMANDS} commands at once")
        if body.token:
            guest = self._context.guests.recognise(body.token)
            if guest is None:
                raise Refuse("auth", TOKEN_UNKNOWN)
            self.guest, self.known = guest, True
        # All have their place before the first is carried out: some are answered at once.
        self._ids = [None] * len(body.commands)
        self._replies = [None] * len(body.commands)
        for number, raw in enumerate(body.commands):
            self._carry_out(number, bytes(raw))

    def _carry_out(self, number: int, json: bytes) -> None:
        """Replies find their command by its ``id``, so each has its number here for one."""
        commands = self._context.commands
        command = commands.read(json)
        if isinstance(command, dict):  # the error that says what is wrong with it
            self._ids[number] = command.get("id")
            self.reply(command | {"id": number})
            return
        self._ids[number], command.id = command.id, number
        try:
            if isinstance(command, Hello):
                self._hello(command)
            elif isinstance(command, Join | Leave):
                raise Refuse("bad", "rooms are joined by a socket, a stream or a poll")
            else:
                commands.carry_out(self, command)
        except Refuse as refusal:
            commands.refuse(self, number, refusal)

    def _hello(self, command: Hello) -> None:
        commands = self._context.commands

        def entered(entries: Entries) -> None:
            # Nothing follows here: the positions are where a reader may start from.
            told = {name: e._replace(follows=0, recovered=False) for name, e in entries.items()}
            self.rooms = ()
            self.reply(commands.welcome(self, command.id, told))

        commands.greet(self, command, command.rooms or {}, entered)

    def reply(self, value: dict[str, Any]) -> None:
        number = value.pop("id")
        if self._ids[number] is not None:  # in its usual place, behind the type
            value = {"type": value.pop("type"), "id": self._ids[number], **value}
        self._replies[number] = value
        if all(reply is not None for reply in self._replies):
            self._finish()

    def _lose_patience(self) -> None:
        """The hub is away.  What was forwarded will be stored; asked again with the same ``cid``
        it is found."""
        for number, reply in enumerate(self._replies):
            if reply is None:
                self._context.commands.refuse(self, number, BUSY)

    def _finish(self) -> None:
        self.answer(to_json(self._replies))

    def _leave(self) -> None:
        self._timer.cancel()
        super()._leave()
