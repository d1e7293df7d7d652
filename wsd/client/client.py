"""What a bot or a backend calls: the conversation, joined with a socket and a clock."""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import random
import secrets
import ssl
import time
import unicodedata
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any, Final, Self

import msgspec

from wsd.client import address, errors, events
from wsd.client.conversation import Conversation, Request, Status
from wsd.client.errors import ClientError, Refused, Stopped, TimedOut
from wsd.client.events import Event, Message, Page, Sent
from wsd.client.identity import Identity
from wsd.client.link import Link, LinkLost, OpeningRefused, failure
from wsd.client.room import Room
from wsd.protocol.frames import CloseCode, ProtocolError

log = logging.getLogger("wsd.client")

MAX_EVENTS: Final = 10_000
CATCH_UP_S: Final = 0.1
"""How far a timeout is overrun while there is still something to be read."""
_MALFORMED: Final = (msgspec.MsgspecError, ValueError, TypeError, KeyError, AttributeError)


class Client:
    """One guest of one daemon, over one WebSocket, which comes back by itself.

    ``url``: ``https://chat.example``, or ``unix:/path`` of a listener.  ``name`` is a wish.
    ``token_file`` keeps who this is over runs; ``token`` does it without a file.  ``tls`` replaces
    ``ssl.create_default_context()``.  ``notices``: be given Presence and Typing too.
    ``max_events`` may lie about untaken.  ``clock``, ``sleep`` and ``rng`` are for tests.

    Every call may connect, and waits as long as it takes; with a ``timeout`` in seconds it raises
    TimedOut (an attempt to connect that is under way is not cut short: up to 10 s).  It raises
    Stopped when there is no coming back.  There is no thread: answers to the server's pings, and
    all else, happen during calls; so a client that is not called for about half a minute loses its
    connection, and nothing by it.  Use one client in each thread.
    """

    def __init__(
        self,
        url: str,
        *,
        name: str | None = None,
        token_file: str | os.PathLike[str] | None = None,
        token: str = "",
        tls: ssl.SSLContext | None = None,
        notices: bool = False,
        max_events: int = MAX_EVENTS,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        rng: random.Random | None = None,
    ) -> None:
        self._address = address.parse(url)
        self._tls = tls
        self._clock = clock
        self._sleep = sleep
        self._random = (rng or random.SystemRandom()).random
        self._talk = Conversation(
            Identity(name, token, token_file),
            self._random,
            max_events=max_events,
            notices=notices,
        )
        self._link: Link | None = None
        self._closed = False
        self._not_before = float("-inf")
        prefix, numbers = secrets.token_urlsafe(12), itertools.count(1)
        self._new_cid: Callable[[], str] = lambda: f"{prefix}.{next(numbers)}"

    # -- life

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Says goodbye.  Iterating over the client ends; every other call raises ClientError."""
        self._closed = True
        link, self._link = self._link, None
        if link is not None:
            link.close()

    # -- who and where

    @property
    def uid(self) -> str:
        """Empty before the first welcome, as ``role`` is."""
        return self._talk.identity.uid

    @property
    def name(self) -> str:
        return self._talk.identity.name

    @property
    def role(self) -> str:
        return self._talk.identity.role

    @property
    def rooms(self) -> list[str]:
        return list(self._talk.rooms)

    def position(self, room: str) -> str | None:
        """Behind the last event of ``room`` that was given; what ``join(room, after=…)`` takes."""
        return self._room(room).given

    def online(self, room: str) -> int:
        """How many people were in a room when the server last said it."""
        return self._room(room).online

    # -- rooms

    def join(self, room: str, *, after: str | None = None, timeout: float | None = None) -> None:
        """Enters a room, and is in it when this returns.

        ``after``, a position: everything since then comes first, or a Gap when that is not possible
        any more.  Without, the server's replay does, each event with ``replay`` set.
        Raises Refused, and ValueError for what is no position.
        """
        name = _normal(room)
        known = self._talk.rooms.get(name)
        if known is not None and after is None and known.inside:
            return
        if known is None or after is not None:
            known = Room(name, after)
            self._talk.join(known, self._clock())
        joining = known
        deadline = self._deadline(timeout)
        if not self._run_until(lambda: joining.inside or joining.refusal is not None, deadline):
            if not joining.accepted:
                self._talk.leave(name)
            raise TimedOut(f"{name} could not be joined in time")
        if joining.refusal is not None:
            raise joining.refusal

    def leave(self, room: str) -> None:
        """Leaves a room; events of it that were not taken yet are still given."""
        self._talk.leave(_normal(room))
        self._flush()

    # -- reading

    def next(self, timeout: float | None = None) -> Event | None:
        """The next event; None when none came in ``timeout`` seconds (0: only what is there)."""
        event = self._talk.take(self._clock())
        if event is None:
            self._run_until(lambda: self._talk.waiting > 0, self._deadline(timeout))
            event = self._talk.take(self._clock())
        return event

    def __iter__(self) -> Iterator[Event]:
        """Every event, this client's own messages and the replay of earlier ones included."""
        try:
            while not self._closed:
                event = self.next()
                if event is not None:
                    yield event
        except ClientError:
            if not self._closed:  # else by a signal handler, while this waited
                raise

    def messages(self) -> Iterator[Message]:
        """What a bot answers: messages of others, none of them from before it came."""
        for event in self:
            if isinstance(event, Message) and not (event.own or event.replay or event.deleted):
                yield event

    # -- talking

    def say(
        self,
        room: str,
        text: str,
        *,
        reply_to: int | None = None,
        cid: str | None = None,
        timeout: float | None = None,
    ) -> Sent:
        """Says something, and returns when it is stored for good: once, and after what was said
        before, whatever happens to the connection meanwhile.

        It waits as the server asks (``rate``, ``busy``, ``storage``), and says it again.  Raises
        Refused for what is not cured by that, or by waiting beyond ``timeout``, and TimedOut.  A
        ``cid`` of the caller's own makes a message safe to say again in another run, by a client
        with the same token.
        """
        command: dict[str, Any] = {"type": "say", "room": self._room(room).name, "text": text}
        if reply_to is not None:
            command["reply_to"] = reply_to
        return self._publish(command, cid, timeout)

    def edit(
        self,
        room: str,
        seq: int,
        text: str,
        *,
        cid: str | None = None,
        timeout: float | None = None,
    ) -> Sent:
        """Changes an own message; as ``say``."""
        command = {"type": "edit", "room": self._room(room).name, "seq": seq, "text": text}
        return self._publish(command, cid, timeout)

    def delete(
        self, room: str, seq: int, *, cid: str | None = None, timeout: float | None = None
    ) -> Sent:
        """Removes the text of an own message; as ``say``."""
        command = {"type": "delete", "room": self._room(room).name, "seq": seq}
        return self._publish(command, cid, timeout)

    def rename(self, name: str, *, timeout: float | None = None) -> str:
        """Takes another name; the one that the server made of it."""
        reply = self._carry_out({"type": "rename", "name": name}, timeout)
        identity = self._talk.identity
        identity.told(reply)
        identity.wish = identity.name
        identity.keep()
        return identity.name

    def history(
        self, room: str, *, before: int | None = None, limit: int = 50, timeout: float | None = None
    ) -> Page:
        """The newest ``limit`` messages below ``before``; without it, the newest of all."""
        command = {"type": "history", "room": _normal(room), "before": before, "limit": limit}
        return events.page(self._carry_out(command, timeout), self.uid)

    def typing(self, room: str) -> None:
        """Lets the others know; more often than every 3 seconds it is ignored."""
        self._talk.say({"type": "typing", "room": self._room(room).name})
        self._flush()

    def request(self, command: dict[str, Any], *, timeout: float | None = None) -> dict[str, Any]:
        """Any other command of docs/protocol.md, and the server's reply.  Without a ``cid`` it is
        not said twice: when the connection goes before the reply, it raises Refused with code
        ``disconnected``, and may have been done."""
        return self._carry_out(command, timeout, may_repeat="cid" in command)

    # -- commands, and trying them again

    def _publish(self, command: dict[str, Any], cid: str | None, timeout: float | None) -> Sent:
        command["cid"] = cid = cid or self._new_cid()
        reply = self._carry_out(command, timeout)
        return Sent(
            room=command["room"],
            seq=reply["seq"],
            time=reply["time"],
            cid=cid,
            repeated=bool(reply.get("duplicate")),
            differs=bool(reply.get("differs")),
        )

    def _carry_out(
        self, command: dict[str, Any], timeout: float | None, may_repeat: bool = True
    ) -> dict[str, Any]:
        deadline, cid, asked_as = self._deadline(timeout), str(command.get("cid", "")), ""
        if cid:
            self._await_turn(deadline, cid)
        while True:
            reply = self._ask(command, deadline, cid, asked_as)
            if reply.get("type") != "error":
                return reply
            error = errors.from_reply(reply, cid)
            wait_s = errors.wait_s(error, self._random)
            is_unsure = error.code in ("timeout", "disconnected")
            if wait_s is None or (is_unsure and not may_repeat):
                raise error
            asked_as = self.uid if is_unsure else asked_as
            again_at = self._clock() + wait_s
            if cid and error.code == "rate":
                self._not_before = again_at
            if deadline is not None and again_at > deadline:
                if is_unsure:
                    raise TimedOut(f"no answer to {command.get('type')} in time", cid)
                raise error
            self._run_until(lambda: False, again_at)

    def _await_turn(self, deadline: float | None, cid: str) -> None:
        """Waits until the server takes messages again.  Whoever tries before is put off for twice
        as long, and this one may have been told in a call whose ``timeout`` was too short."""
        if deadline is not None and self._not_before > deadline:
            retry_ms = round((self._not_before - self._clock()) * 1000)
            raise Refused("rate", "the server has asked for a pause", retry_ms, cid)
        if self._not_before > self._clock():
            self._run_until(lambda: False, self._not_before)

    def _ask(
        self, command: dict[str, Any], deadline: float | None, cid: str, asked_as: str
    ) -> dict[str, Any]:
        """The reply, which may be an error of ours.  Raises TimedOut at the deadline.

        ``asked_as``: the uid under which it was said before, without an answer.  A cid is known
        only together with its uid, so somebody else must not say it again.
        """
        talk = self._talk
        asked: Request | None = None
        if self._run_until(lambda: talk.status is Status.ONLINE, deadline):
            if cid and asked_as not in ("", self.uid):
                raise TimedOut("no answer, and the server does not know this client any more", cid)
            asked = request = talk.request(command, self._clock())
            self._run_until(lambda: request.reply is not None, deadline)
        if asked is None or asked.reply is None:
            raise TimedOut(f"no answer to {command.get('type')} in time", cid)
        return asked.reply

    def _room(self, name: str) -> Room:
        found = self._talk.rooms.get(_normal(name))
        if found is None:
            raise Refused("unknown_room", f"{name} has not been joined")
        return found

    # -- the one place in which time passes

    def _deadline(self, timeout: float | None) -> float | None:
        return None if timeout is None else self._clock() + timeout

    def _run_until(self, done: Callable[[], bool], deadline: float | None) -> bool:
        """Lets things happen until ``done`` or the deadline; whether it is done."""
        while not done():
            self._check()
            was_busy = self._step(deadline)
            if deadline is not None:
                late_s = self._clock() - deadline
                if late_s >= 0 and not (was_busy and late_s < CATCH_UP_S):
                    return done()
        return True

    def _check(self) -> None:
        if self._closed:
            raise ClientError("the client is closed")
        if self._talk.failure is not None:
            raise self._talk.failure

    def _step(self, deadline: float | None) -> bool:
        """One text of the server's, or what is due; whether there may be another at once."""
        talk, now = self._talk, self._clock()
        if talk.status is Status.AWAY:
            self._drop()
        wake_at = talk.wake_at() if deadline is None else min(talk.wake_at(), deadline)
        if talk.status is not Status.AWAY:
            return self._listen(max(0.0, wake_at - now))
        if now >= talk.retry_at:
            self._open()
        else:
            self._sleep(max(0.0, wake_at - now))
        return False

    def _listen(self, seconds: float) -> bool:
        talk, link = self._talk, self._link
        assert link is not None
        self._flush()
        try:
            data = link.receive(seconds)
            if data is not None:
                talk.received(data, self._clock())
                return True
            talk.tick(self._clock())
        except LinkLost as lost:
            talk.lost(self._clock(), lost.code, lost.reason)
        except _MALFORMED as error:
            log.warning("not what wsd says: %r", error)
            talk.lost(self._clock(), CloseCode.PROTOCOL_ERROR, "malformed")
        return False

    def _flush(self) -> None:
        """Sends what is to be said.  A connection that does not take it shows when it is read."""
        if self._link is not None:
            with contextlib.suppress(LinkLost):
                while self._talk.out:
                    self._link.send(self._talk.out.popleft())

    def _drop(self) -> None:
        link, self._link = self._link, None
        if link is not None:
            link.drop()

    def _open(self) -> None:
        """One attempt.  What waiting does not cure ends it all, unless it has worked before."""
        talk = self._talk
        try:
            self._link = Link(self._address, self._tls)
        except (OSError, ProtocolError, OpeningRefused) as error:
            why = failure(error)
            if why.is_final and not talk.was_welcomed:
                talk.stop(Stopped(why.reason, why.status))
            else:
                talk.lost(self._clock(), None, why.reason, why.least_s)
        else:
            talk.opened(self._clock())
            self._flush()  # the hello: nobody knows when the next call comes


def _normal(room: str) -> str:
    """A room's name as the server compares it.  Raises ValueError for what is not Unicode."""
    room.encode()
    return unicodedata.normalize("NFC", room)
