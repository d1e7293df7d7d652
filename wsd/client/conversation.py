"""What is said to the daemon and what comes of it: no socket and no clock of its own.

Whoever owns it opens a connection when one is wanted, tells it ``opened``, ``received`` and
``lost``, sends what stands in ``out``, and calls ``tick`` when nothing has come by ``wake_at``.
Times are seconds of a monotonic clock.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from enum import Enum
from typing import Any, Final

import msgspec

from wsd.client import errors, events
from wsd.client.backoff import Backoff
from wsd.client.errors import ClientError, Refused, Stopped
from wsd.client.events import Event, Excluded
from wsd.client.identity import Identity
from wsd.client.room import Room

log = logging.getLogger("wsd.client")

HELLO_S: Final = 10.0
REPLY_S: Final = 15.0
SILENCE_SLACK_S: Final = 10.0
"""Beyond a ping interval; longer without a word, and nobody is there."""

_to_json: Final = msgspec.json.Encoder().encode
_NEVER: Final = float("inf")

Reply = dict[str, Any]


class Status(Enum):
    """AWAY goes to GREETING (``opened``), that to ONLINE (its welcome), both back (``lost``)."""

    AWAY = "away"
    GREETING = "greeting"
    ONLINE = "online"
    STOPPED = "stopped"


class Request:
    """A command that waits for its reply; without one in time, the reply is an error of ours."""

    __slots__ = ("due", "on_reply", "reply")

    def __init__(self, due: float, on_reply: Callable[[Reply, float], None] | None) -> None:
        self.due = due
        self.on_reply = on_reply
        self.reply: Reply | None = None


class Conversation:
    """``max_events`` may lie about untaken; then a room's further events are not kept, and fetched
    again once the caller has taken half of them.  ``notices``: who comes, goes and types counts."""

    def __init__(
        self,
        identity: Identity,
        random: Callable[[], float],
        *,
        max_events: int,
        notices: bool,
    ) -> None:
        self.identity = identity
        self.rooms: dict[str, Room] = {}
        self.status = Status.AWAY
        self.failure: ClientError | None = None
        """Why it has STOPPED."""
        self.retry_at = 0.0
        """When, being AWAY, to open the next connection."""
        self.out: deque[bytes] = deque()
        self.was_welcomed = False
        self._backoff = Backoff(random)
        self._random = random
        self._max_events = max_events
        self._notices = notices
        self._events: deque[tuple[Event, str]] = deque()  # with the position that each leads to
        self._requests: dict[int, Request] = {}
        self._last_id = 0
        self._ping_s = 25.0
        self._heard_at = 0.0
        self._welcomed_at = 0.0
        self._bye: tuple[int | None, str] = None, ""

    # -- the connection

    def opened(self, now: float) -> None:
        """A WebSocket is open: the hello is in ``out``."""
        self.status = Status.GREETING
        # A room that nobody has let us into may have a name that spoils the whole hello.  Without
        # any room, the server would put us in one of its own choice.
        known = [room for room in self.rooms.values() if room.accepted]
        rooms = {room.name: room.position for room in known or self.rooms.values()}
        hello = {"type": "hello", **self.identity.introduce(), "rooms": rooms}
        self._ask(hello, now, HELLO_S, self._greeted)

    def lost(self, now: float, code: int | None, reason: str, least_s: float = 0.0) -> None:
        """The connection has ended, or could not be opened."""
        if self.status is Status.STOPPED:
            return
        if self.status is Status.ONLINE:
            self._backoff.lived(now - self._welcomed_at)
        bye_code, bye_reason = self._bye
        self._let_go(now)
        for final in (code, bye_code):
            if errors.is_final(final):
                self.stop(Stopped(reason or bye_reason or "the server said to stay away", final))
                return
        delay_s = max(least_s, self._backoff.delay_s())
        self.retry_at = now + delay_s
        # Whoever has written the address wrongly would otherwise see nothing at all.
        level = logging.INFO if self.was_welcomed else logging.WARNING
        log.log(level, "no connection: %s (%s); again in %.1f s", reason, code, delay_s)

    def stop(self, failure: ClientError) -> None:
        """The end of it all."""
        self.status, self.failure = Status.STOPPED, failure
        log.info("stopped: %s", failure)

    def _let_go(self, now: float) -> None:
        self.status = Status.AWAY
        self.out.clear()
        for room in self.rooms.values():
            room.disconnected()
        waiting = list(self._requests.values())
        self._requests.clear()
        for request in waiting:
            _answer(request, {"type": "error", "code": "disconnected"}, now)

    # -- requests

    def request(self, command: dict[str, Any], now: float) -> Request:
        """Says it now; only while ONLINE.  Raises ValueError for what cannot be written as JSON."""
        return self._ask(command, now, REPLY_S, None)

    def say(self, command: dict[str, Any]) -> None:
        """Says what has no answer; lost when there is no connection."""
        if self.status is Status.ONLINE:
            self.out.append(_to_json(command))

    def _ask(
        self,
        command: dict[str, Any],
        now: float,
        within_s: float,
        on_reply: Callable[[Reply, float], None] | None,
    ) -> Request:
        data = _to_json(command | {"id": self._last_id + 1})
        self._last_id += 1
        request = self._requests[self._last_id] = Request(now + within_s, on_reply)
        self.out.append(data)
        return request

    # -- what comes

    def received(self, data: bytes, now: float) -> None:
        """One text from the server.  Raises ValueError when it is not what wsd says."""
        frame = msgspec.json.decode(data)
        if not isinstance(frame, dict):
            raise ValueError("not an object")
        self._heard_at = now
        kind = frame.get("type")
        request = self._requests.pop(frame.get("id", 0), None)
        if request is not None:
            _answer(request, frame, now)
        elif kind == "ping":
            heads = frame.get("heads") or {}
            for room in self.rooms.values():
                room.compare_head(heads.get(room.name), now)
        elif kind == "bye":
            code = frame.get("code")
            self._bye = code if isinstance(code, int) else None, str(frame.get("reason", ""))
            self._backoff.told(frame.get("retry_ms"))
        elif kind == "error":
            log.warning("error: %s: %s", frame.get("code"), frame.get("message"))
        elif (known := self.rooms.get(frame.get("room", ""))) is not None and known.inside:
            self._event(known, frame, now)
        self._join_what_is_due(now)

    def _event(self, room: Room, frame: dict[str, Any], now: float) -> None:
        kind, seq = frame.get("type"), frame.get("seq")
        if kind in events.NOTICES:
            notice = events.notice(frame)
            if isinstance(notice, events.Presence):
                room.online = notice.online
            if self._notices and len(self._events) < self._max_events:
                self._events.append((notice, ""))
        elif isinstance(kind, str) and isinstance(seq, int) and kind not in events.NOT_STORED:
            room.lagging = room.lagging or len(self._events) >= self._max_events
            if not room.lagging and room.is_next(seq, now):
                replay = room.is_replay(seq)
                event = events.stored(frame, own_uid=self.identity.uid, replay=replay)
                self._events.append((event, f"{room.epoch}.{seq}"))
                room.seq = seq

    def take(self, now: float) -> Event | None:
        """The next event for the caller."""
        if not self._events:
            return None
        event, position = self._events.popleft()
        if position and event.room in self.rooms:
            self.rooms[event.room].given = position
        if len(self._events) <= self._max_events // 2:
            for room in self.rooms.values():
                if room.lagging:
                    room.lagging = False
                    room.want_join(now)
        return event

    @property
    def waiting(self) -> int:
        """How many events nobody has taken."""
        return len(self._events)

    # -- hello and welcome

    def _greeted(self, reply: Reply, now: float) -> None:
        if reply["type"] == "welcome":
            self._welcomed(reply, now)
            return
        error = errors.from_reply(reply)
        unknown = [room for room in self.rooms.values() if not room.accepted]
        if error.code == "disconnected":
            return
        if error.code == "auth" and self.identity.has_token:
            self.identity.forget()
            self._let_go(now)
            self.retry_at = now
        elif (wait_s := errors.wait_s(error, self._random)) is not None:
            self.lost(now, None, error.code, wait_s)
        elif error.code == "bad" and unknown and len(unknown) == len(self.rooms):
            for room in unknown:
                self._exclude(room, error)
            self._let_go(now)
            self.retry_at = now
        else:
            self._let_go(now)
            self.stop(error)

    def _welcomed(self, welcome: Reply, now: float) -> None:
        self.identity.told(welcome)
        self.status, self.was_welcomed = Status.ONLINE, True
        self._welcomed_at = now
        ping_s = welcome.get("ping_s")
        if isinstance(ping_s, int | float) and ping_s > 0:
            self._ping_s = float(ping_s)
        log.info("online as %s (%s)", self.identity.name, self.identity.uid)
        entries = welcome.get("rooms") or {}
        for room in list(self.rooms.values()):
            if room.name in entries:
                self._enter(room, entries[room.name], now)
            else:
                room.want_join(now)
        for name in entries.keys() - self.rooms.keys():
            self.say({"type": "leave", "room": name})
        self.identity.keep()  # last, since it may fail

    # -- rooms

    def join(self, room: Room, now: float) -> None:
        """Has a room entered, now or with the next hello; again from its position if it was.

        From a position all comes again, what of it lay about untaken too.
        """
        if room.position is not None:
            kept = [(event, at) for event, at in self._events if event.room != room.name]
            self._events = deque(kept)
        self.rooms[room.name] = room
        room.want_join(now)
        self._join_what_is_due(now)

    def leave(self, name: str) -> None:
        if self.rooms.pop(name, None) is not None:
            self.say({"type": "leave", "room": name})

    def _join_what_is_due(self, now: float) -> None:
        if self.status is not Status.ONLINE:
            return
        for room in self.rooms.values():
            if room.join_at is not None and room.join_at <= now and not room.joining:
                room.joining, room.join_at = True, None
                command = {"type": "join", "room": room.name, "after": room.position}
                self._ask(command, now, REPLY_S, lambda r, t, room=room: self._joined(room, r, t))  # type: ignore[misc]

    def _joined(self, room: Room, reply: Reply, now: float) -> None:
        room.joining = False
        if self.rooms.get(room.name) is not room:  # left, and perhaps joined anew, meanwhile
            return
        if reply["type"] != "error":
            self._enter(room, reply, now)
            return
        error = errors.from_reply(reply)
        if error.code == "disconnected":
            return
        if error.code == "timeout":
            self.lost(now, None, "no answer to a join")
        elif (wait_s := errors.wait_s(error, self._random)) is not None:
            room.join_at = now + wait_s
        else:
            self._exclude(room, error)

    def _enter(self, room: Room, entry: dict[str, Any], now: float) -> None:
        gap = room.entered(entry, now)
        if gap is not None:
            self._events.append((gap, gap.now))

    def _exclude(self, room: Room, error: Refused) -> None:
        room.refusal = error
        self.rooms.pop(room.name, None)
        if room.accepted:
            told = Excluded(room=room.name, code=error.code, message=error.message)
            self._events.append((told, ""))

    # -- time

    def wake_at(self) -> float:
        """When ``tick`` has something to do."""
        if self.status is Status.AWAY:
            return self.retry_at
        times = [request.due for request in self._requests.values()]
        if self.status is Status.ONLINE:
            times.append(self._heard_at + self._ping_s + SILENCE_SLACK_S)
            times += [r.join_at for r in self.rooms.values() if r.join_at is not None]
        return min(times, default=_NEVER)

    def tick(self, now: float) -> None:
        """Does what is due: what has no answer by now gets none, silence is the end, and so on.

        Only when nothing more is there to be received: a caller who was busy with other things for
        a minute has not heard what came meanwhile, and that was no silence.
        """
        for id_, request in list(self._requests.items()):
            if request.due <= now and self._requests.pop(id_, None) is not None:
                _answer(request, {"type": "error", "code": "timeout"}, now)
        if self.status is Status.ONLINE and now >= self._heard_at + self._ping_s + SILENCE_SLACK_S:
            self.lost(now, None, "silence")
        self._join_what_is_due(now)


def _answer(request: Request, reply: Reply, now: float) -> None:
    request.reply = reply
    if request.on_reply is not None:
        request.on_reply(reply, now)
