"""The commands of ``wsd.v1``: what each needs, and what it does.

A command comes from any transport as the bytes of one JSON object.  To add one: a form in
``schema``, a handler in ``Commands``, and a line in its table.
"""

from __future__ import annotations

import itertools
import secrets
import unicodedata
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol

import msgspec

from wsd import failpoints, logs, strict_json
from wsd.chat import wire
from wsd.chat.event import DELETE, EDIT, MESSAGE, Draft
from wsd.chat.guests import NOBODY, Guest, Guests
from wsd.chat.rates import Rates
from wsd.chat.room import Member
from wsd.chat.rooms import Entry, Hub, Rooms
from wsd.chat.schema import (
    MAX_SEQ,
    AnyCommand,
    Command,
    DeleteMessage,
    EditText,
    Hello,
    History,
    Join,
    Leave,
    Moderate,
    Pong,
    Refuse,
    Rename,
    Say,
    TypingNote,
    cid_or_own,
    clean_text,
    misunderstood,
    room_name,
)
from wsd.chat.wire import RETRY_S, Outcome, Page
from wsd.config import Settings
from wsd.metrics import REFUSED, M, Row
from wsd.names import NameProblem, guest_name
from wsd.reasons import INTERNAL
from wsd.strict_json import JsonError

MAX_UNANSWERED = 64
"""Commands of one client that wait for the hub; beyond, the worker stops reading that client."""

Entries = dict[str, Entry]
"""What a newcomer is told of each room that it enters."""


class Client(Member, Protocol):
    """A connection whose other end speaks commands."""

    guest: Guest
    known: bool
    """It has said ``hello``; before, ``guest`` is not there."""
    default_room: str
    rooms: tuple[str, ...]
    """That it is in; a list would take twice the memory."""
    unanswered: int
    address: str
    """What its address is counted as; "" if that is unknown."""
    refused: tuple[str, float] | None
    """The cid of a message that has to come again before another may, and until when."""
    gone: bool
    roams: bool
    """Its commands are for any room: it is in none itself, another connection of its guest is."""

    def reply(self, value: dict[str, Any]) -> None: ...

    def hold(self) -> None:
        """Handle no more input of this client until ``release``; calls add up."""

    def release(self) -> None: ...

    def may_use(self, room: str) -> bool:
        """Whether the page that it belongs to is one of the room's ``origins``."""


def _short(number: float) -> float:
    """25 rather than 25.0"""
    return int(number) if number == int(number) else number


def _entry_fields(entry: Entry) -> dict[str, Any]:
    return {
        "position": entry.position, "follows": entry.follows, "recovered": entry.recovered,
        "online": entry.online, "modes": entry.modes,
    }  # fmt: skip


class Commands:
    """Carries out the commands of all clients of this worker."""

    def __init__(
        self,
        hub: Hub,
        rooms: Rooms,
        guests: Guests,
        rates: Rates,
        settings: Settings,
        row: Row,
        clock: Callable[[], float],
        wall: Callable[[], float],
    ) -> None:
        self._hub = hub
        self._rooms = rooms
        self._guests = guests
        self._rates = rates
        self.settings = settings
        self._row = row
        self._clock = clock
        self._wall = wall
        self._decode: Callable[[bytes], AnyCommand] = msgspec.json.Decoder(AnyCommand).decode
        prefix, numbers = f"~{secrets.token_hex(6)}.", itertools.count()
        self._own_cid: Callable[[], str] = lambda: f"{prefix}{next(numbers)}"
        self._table: dict[type, Callable[[Client, Any], None]] = {
            Hello: self._hello,
            Join: self._join,
            Leave: self._leave,
            Say: self._say,
            EditText: self._edit,
            DeleteMessage: self._delete,
            Rename: self._rename,
            TypingNote: self._typing,
            History: self._history,
            Moderate: self._moderate,
            Pong: lambda client, command: self._ok(client, command, {}),
        }

    def handle(self, client: Client, json: bytes) -> None:
        """Carry out one command; whatever is wrong with it is answered, never raised."""
        command = self.read(json)
        if isinstance(command, dict):
            client.reply(command)
        else:
            self.carry_out(client, command)

    def read(self, json: bytes) -> AnyCommand | dict[str, Any]:
        """The command, or the error that answers what is none."""
        try:
            return strict_json.decode(json, self._decode)
        except JsonError as error:
            self.count_refusal("bad")
            return misunderstood(json, error)

    def carry_out(self, client: Client, command: AnyCommand) -> None:
        self._row[M.COMMANDS] += 1
        try:
            if not client.known and not isinstance(command, Hello | Pong):
                raise Refuse("auth", "say hello first")
            self._table[type(command)](client, command)
        except Refuse as refusal:
            self.refuse(client, command.id, refusal)

    def refuse(self, client: Client, id_: int | None, refusal: Refuse) -> None:
        self.count_refusal(refusal.code)
        answer: dict[str, Any] = {"type": "error"}
        if id_ is not None:
            answer["id"] = id_
        answer |= {"code": refusal.code, "message": refusal.message}
        if refusal.retry_ms is not None:
            answer["retry_ms"] = refusal.retry_ms
        client.reply(answer)

    def count_refusal(self, code: str) -> None:
        REFUSED.count(self._row, code)
        logs.limited(logs.debug, "refused", code)

    def _ok(self, client: Client, command: Command, fields: dict[str, Any]) -> None:
        if command.id is not None:
            client.reply({"type": "ok", "id": command.id, **fields})

    # -- coming and going

    def _hello(self, client: Client, command: Hello) -> None:
        def entered(entries: Entries) -> None:
            client.reply(self.welcome(client, command.id, entries))
            for name, entry in entries.items():
                self._rooms.admit(name, client, entry)

        self.greet(client, command, command.rooms or {client.default_room: None}, entered)

    def greet(
        self,
        client: Client,
        command: Hello,
        wanted: dict[str, str | None],
        entered: Callable[[Entries], None],
    ) -> None:
        """Introduce ``client`` and have it enter the rooms of ``wanted``, as soon as that can be.

        ``entered`` sends the welcome and admits the client, in the same step of the loop; nothing
        may come between.  Raises Refuse.
        """
        if client.known:
            raise Refuse("bad", "hello was said already")
        if len(wanted) > self.settings.limits.rooms_per_connection:
            raise Refuse("bad", f"at most {self.settings.limits.rooms_per_connection} rooms")
        wanted = {room_name(name): after for name, after in wanted.items()}
        for name in wanted:
            self._judge_origin(client, name)
        self.introduce(client, command.token, command.name)
        self.enter(client, wanted, entered)

    def _judge_origin(self, client: Client, room: str) -> None:
        """A room may have ``origins`` of its own, and ``client`` have come by another's address."""
        if self.settings.rooms and not client.may_use(room):
            raise Refuse("denied", "pages of this origin may not use this room")

    def enter(
        self,
        client: Client,
        wanted: dict[str, str | None],
        entered: Callable[[Entries], None],
        replay: bool = True,
    ) -> None:
        """``greet`` for somebody who is known already, or who only watches."""
        self._prepare(client, wanted, lambda: entered(self._enter(client, wanted, replay)))

    def introduce(self, client: Client, token: str, name: str | None) -> Guest:
        """Give ``client`` the guest that it is.  Raises Refuse for a name that cannot be had."""
        try:
            wish = guest_name(name) if name else None
        except NameProblem as problem:
            raise Refuse("name_bad", str(problem)) from None
        client.guest = guest = self._guests.arrive(token, wish)
        client.known = True
        if wish and wish != guest.name and self._rates.may_rename(guest.uid):
            self._guests.rename(guest, wish)
            self._rooms.renamed(guest)
        return guest

    def welcome(self, client: Client, id_: int | None, entries: Entries) -> dict[str, Any]:
        """The answer to a hello.  Whoever only watches is told nothing of who it is."""
        guest = client.guest
        welcome: dict[str, Any] = {"type": "welcome"}
        if id_ is not None:
            welcome["id"] = id_
        if guest is not NOBODY:
            welcome["uid"] = guest.uid
            welcome["token"] = self._guests.token(guest)
            welcome["name"] = guest.name
            welcome["role"] = guest.role
        welcome["ping_s"] = _short(self.settings.ping.every)
        welcome["time"] = round(self._wall(), 3)
        welcome["rooms"] = {name: _entry_fields(entry) for name, entry in entries.items()}
        return welcome

    def enter_silently(
        self, client: Client, name: str, replay: bool, first: Callable[[], None]
    ) -> None:
        """Join for the dialects that know no commands; ``first`` sends what goes ahead."""

        def entered(entries: Entries) -> None:
            first()
            self._rooms.admit(name, client, entries[name])

        self.enter(client, {name: None}, entered, replay)

    def _prepare(
        self, client: Client, wanted: dict[str, str | None], done: Callable[[], None]
    ) -> None:
        """Hold the client until all rooms can be entered, then enter them in one step."""
        if all(self._rooms.at_hand(name, after) for name, after in wanted.items()):
            self._carefully(client, done)  # as nearly always: others are in the room
            return
        client.hold()
        self._go_on_preparing(client, wanted, done)

    def _go_on_preparing(
        self, client: Client, wanted: dict[str, str | None], done: Callable[[], None]
    ) -> None:
        missing = len(wanted)

        def prepared() -> None:
            nonlocal missing
            missing -= 1
            if missing:
                return
            if client.gone:
                client.release()
            elif all(self._rooms.is_there(name) for name in wanted):
                self._carefully(client, done)
                client.release()
            else:
                self._go_on_preparing(client, wanted, done)

        for name, after in wanted.items():
            self._rooms.prepare(name, after, prepared)

    def _enter(self, client: Client, wanted: dict[str, str | None], replay: bool) -> Entries:
        entries: Entries = {}
        for name, after in wanted.items():
            if name in client.rooms:
                self._rooms.leave(name, client)
            else:
                client.rooms = (*client.rooms, name)
            entries[name] = self._rooms.entry(name, client, after, replay)
        return entries

    def _join(self, client: Client, command: Join) -> None:
        name = room_name(command.room)
        limit = self.settings.limits.rooms_per_connection
        if name not in client.rooms and len(client.rooms) >= limit:
            raise Refuse("bad", f"at most {limit} rooms at once")
        self._judge_origin(client, name)

        def done() -> None:
            entry = self._enter(client, {name: command.after}, True)[name]
            answer: dict[str, Any] = {"type": "ok"}
            if command.id is not None:
                answer["id"] = command.id
            client.reply(answer | {"room": name, **_entry_fields(entry)})
            self._rooms.admit(name, client, entry)

        self._prepare(client, {name: command.after}, done)

    def _leave(self, client: Client, command: Leave) -> None:
        name = self._joined(client, command.room)
        client.rooms = tuple(each for each in client.rooms if each != name)
        self._rooms.leave(name, client)
        self._ok(client, command, {"room": name})

    def depart(self, client: Client) -> None:
        """The connection of ``client`` has ended."""
        for name in client.rooms:
            self._rooms.leave(name, client)
        client.rooms = ()
        if client.known:
            self._guests.leave(client.guest)

    def _joined(self, client: Client, raw: str) -> str:
        if client.roams:
            return room_name(raw)
        name = raw if raw in client.rooms else unicodedata.normalize("NFC", raw[:200])
        if name not in client.rooms:
            raise Refuse("unknown_room", "join the room first")
        return name

    # -- messages

    def _say(self, client: Client, command: Say) -> None:
        self._publish(client, command, MESSAGE, command.text, command.reply_to)

    def _edit(self, client: Client, command: EditText) -> None:
        self._publish(client, command, EDIT, command.text, command.seq)

    def _delete(self, client: Client, command: DeleteMessage) -> None:
        self._publish(client, command, DELETE, None, command.seq)

    def _publish(
        self,
        client: Client,
        command: Say | EditText | DeleteMessage,
        kind: str,
        text: str | None,
        ref: int | None,
    ) -> None:
        failpoints.hit("worker.after_receive")
        room = self._joined(client, command.room)
        if ref is not None and not 0 < ref < MAX_SEQ:
            raise Refuse("bad", "that is not the number of a message")
        try:
            self._keep_order(client, command.cid)
            draft = self.draft(client, room, kind, text, ref, command.cid)
        except Refuse as refusal:
            if command.cid is None:
                raise
            self._note_refusal(client, command.cid, refusal)
            self._refuse_unless_stored(client, command, room, kind, text, ref, refusal)
            return

        def done(outcome: Outcome) -> None:
            failpoints.hit("worker.after_ok")
            if isinstance(outcome, wire.Done):
                self._stored(client, command, room, outcome)
            else:
                again = outcome.code in ("storage", "busy")
                retry_ms = int(RETRY_S * 1000) if again else None
                refusal = Refuse(outcome.code, outcome.message, retry_ms)
                self.refuse(client, command.id, refusal)

        self.publish(client, draft, done)

    def _stored(self, client: Client, command: Command, room: str, outcome: wire.Done) -> None:
        fields: dict[str, Any] = {"room": room, "seq": outcome.seq, "time": outcome.time}
        if outcome.duplicate:
            fields["duplicate"] = True
        if outcome.differs:  # the same cid with another text: the first one stands
            fields["differs"] = True
        self._ok(client, command, fields)

    def _keep_order(self, client: Client, cid: str | None) -> None:
        """Refuse what would overtake a message that this client has to send again.

        More may have been on the way when that was refused.  A client that lets the time pass
        has given the message up.
        """
        if client.refused is None:
            return
        waiting, until = client.refused
        left_s = until - self._clock()
        if cid != waiting and left_s > 0:
            message = "an earlier message has to be sent again first"
            raise Refuse("rate", message, int(left_s * 1000) + 1)
        client.refused = None

    def _note_refusal(self, client: Client, cid: str, refusal: Refuse) -> None:
        if refusal.retry_ms is not None and client.refused is None:
            client.refused = (cid, self._clock() + max(refusal.retry_ms / 1000, RETRY_S))

    def _refuse_unless_stored(
        self, client: Client, command: Say | EditText | DeleteMessage, room: str, kind: str,
        text: str | None, ref: int | None, refusal: Refuse,
    ) -> None:  # fmt: skip
        """A retry of what was accepted gets its ``ok`` whatever has become forbidden since."""
        guest = client.guest
        if text is not None:
            with suppress(Refuse):  # what the hub knows is a text as it is stored
                text = clean_text(text, self.settings.for_room(room).limits.text)
        draft = Draft(
            room, kind, guest.uid, guest.name, guest.role, command.cid or "", text or "", ref
        )

        def done(outcome: Outcome) -> None:
            if isinstance(outcome, wire.Done):
                client.refused = None
                self._stored(client, command, room, outcome)
            else:
                self.refuse(client, command.id, refusal)

        self._await(client, done, lambda answer: self._hub.find(draft, answer))

    def draft(
        self,
        client: Client,
        room: str,
        kind: str,
        text: str | None,
        ref: int | None = None,
        cid: str | None = None,
    ) -> Draft:
        """What goes to the hub, if ``client`` may say it now.  Raises Refuse.

        The order matters: what is wrong with the text is said without using up the allowance.
        """
        limits = self.settings.for_room(room).limits
        cid = cid_or_own(cid, self._own_cid)
        clean = clean_text(text, limits.text) if text is not None else ""
        guest = client.guest
        if kind == MESSAGE:
            self._rates.refuse_repeat(guest.uid, room, clean, limits)
        if kind != DELETE:
            self._rates.say(guest.uid, client.address, limits)
        return Draft(room, kind, guest.uid, guest.name, guest.role, cid, clean, ref)

    def publish(self, client: Client, draft: Draft, done: Callable[[Outcome], None]) -> None:
        """Have the hub store and publish what ``draft`` gave; ``done`` is told, if ``client`` is
        still there."""

        def ask(answer: Callable[[Outcome], None]) -> None:
            def note(outcome: Outcome) -> None:
                if isinstance(outcome, wire.Done) and draft.kind == MESSAGE:
                    self._rates.stored(draft, self.settings.for_room(draft.room).limits)
                answer(outcome)

            self._rooms.publish(draft, note)

        self._await(client, done, ask)

    def _await(
        self,
        client: Client,
        done: Callable[[Any], None],
        ask: Callable[[Callable[[Any], None]], None],
    ) -> None:
        """Ask the hub on behalf of ``client``, whose input is held while too much waits."""
        client.unanswered += 1
        if client.unanswered == MAX_UNANSWERED:
            client.hold()

        def answer(outcome: Any) -> None:
            client.unanswered -= 1
            if not client.gone:
                self._carefully(client, lambda: done(outcome))
            if client.unanswered == MAX_UNANSWERED - 1:
                client.release()

        ask(answer)

    def _carefully(self, client: Client, call: Callable[[], None]) -> None:
        """For what runs when the hub answers: a bug met by one client ends that client alone."""
        try:
            call()
        except Exception:
            self._row[M.ERRORS] += 1
            logs.exception("client_failed", uid=client.guest.uid)
            client.close(INTERNAL)

    # -- the rest

    def _rename(self, client: Client, command: Rename) -> None:
        guest = client.guest
        try:
            name = guest_name(command.name)
        except NameProblem as problem:
            raise Refuse("name_bad", str(problem)) from None
        self._rates.rename(guest.uid)
        self._guests.rename(guest, name)
        self._rooms.renamed(guest)
        self._ok(client, command, {"name": guest.name, "token": self._guests.token(guest)})

    def _typing(self, client: Client, command: TypingNote) -> None:
        room = self._joined(client, command.room)
        if self._rates.may_tell_typing(client.guest.uid):
            self._hub.tell(wire.Typing(room, client.guest.uid))
        self._ok(client, command, {})

    def _history(self, client: Client, command: History) -> None:
        room = room_name(command.room)
        before = MAX_SEQ if command.before is None else command.before
        limit = 50 if command.limit is None else command.limit
        if not 0 < before <= MAX_SEQ or limit < 1:
            raise Refuse("bad", "before and limit are positive numbers")
        self._judge_origin(client, room)
        limit = min(limit, self.settings.for_room(room).history.page_max)

        def done(page: Page) -> None:
            if isinstance(page, wire.Refused):
                self.refuse(client, command.id, Refuse(page.code, page.message, 1000))
                return
            answer: dict[str, Any] = {"type": "history"}
            if command.id is not None:
                answer["id"] = command.id
            client.reply(
                answer | {
                    "room": room,
                    "epoch": self._rooms.epoch,
                    "messages": [msgspec.Raw(json) for _, json in page.events],
                    "more": page.more,
                }
            )  # fmt: skip

        # One page at a time: it is thousands of times as long as the command that asks for it.
        client.hold()

        def ask(answer: Callable[[Page], None]) -> None:
            def go_on(page: Page) -> None:
                answer(page)
                client.release()

            self._hub.read(room, 0, before, limit, go_on, messages=True)

        self._await(client, done, ask)

    def _moderate(self, client: Client, command: Moderate) -> None:
        raise Refuse("denied", "that is for moderators")
