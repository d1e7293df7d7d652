"""Starts the daemon as ``wsd`` does, broken on purpose as the environment says.

``WSD_CHAOS`` is a JSON object.  ``{"mutant": NAME}`` switches one protection off, so that the
checker can show that it notices.  ``{"drop": 0.05, "double": 0.05, "swap": 0.05, "cut": 0.01,
"while": FILE}`` lets the link from the hub lose, repeat, swap or cut frames with those
probabilities as long as the file exists.  ``{"count_reads": true}`` logs each question for events.
``{"large_rooms": true}`` treats small rooms in half of the cases as if they were large.

Children are forked, so what is patched here holds in all of them.
"""

from __future__ import annotations

import json
import os
import random
import secrets
import sys
from typing import Any

import msgspec

from wsd import cli, failpoints, logs
from wsd.chat import wire
from wsd.chat.room import Room
from wsd.chat.rooms import Rooms
from wsd.hub.link import HubLink
from wsd.hub.log import Log
from wsd.hub.server import Hub
from wsd.net.uring import Ring

VARIABLE = "WSD_CHAOS"


def no_dedup() -> None:
    """The log takes every draft for a new one."""
    append_one = Log._append_one

    def forgetful(self: Log, draft: Any, touched: set[str]) -> Any:
        fresh = msgspec.structs.replace(draft, cid=f"{draft.cid}/{secrets.token_hex(4)}")
        return append_one(self, fresh, touched)

    Log._append_one = forgetful  # type: ignore[method-assign]


def publish_before_commit() -> None:
    """Events and acknowledgements leave when they are inserted, and the commit comes behind."""
    commit, publish, acknowledge = Hub._commit, Hub._publish, Hub._acknowledge
    append_one, hit = Log._append_one, failpoints.hit
    now: dict[str, Any] = {"hub": None, "batch": [], "results": []}

    def note_batch(self: Hub, batch: Any) -> None:
        now.update(hub=self, batch=batch, results=[])
        commit(self, batch)

    def note_result(self: Log, draft: Any, touched: set[str]) -> Any:
        result = append_one(self, draft, touched)
        now["results"].append(result)
        return result

    def early(name: str) -> None:
        if name == "hub.before_commit":
            hub, batch, results = now["hub"], now["batch"], now["results"]
            if len(batch) == len(results):
                publish(hub, batch, results)
                acknowledge(hub, batch, results)
                hub._leave()
        hit(name)

    Hub._commit = note_batch  # type: ignore[method-assign]
    Hub._publish = lambda self, batch, results: None  # type: ignore[method-assign,assign]
    Hub._acknowledge = lambda self, batch, results: None  # type: ignore[method-assign,assign]
    Log._append_one = note_result  # type: ignore[method-assign]
    failpoints.hit = early


def no_resync() -> None:
    """A worker neither takes what it missed after a break nor looks for gaps."""
    on_subscribed, on_event = Rooms.on_subscribed, Rooms.on_event

    def take_nothing(self: Rooms, frame: wire.Subscribed) -> None:
        room = self.get(frame.room)
        if room is not None and room.ready:
            frame = msgspec.structs.replace(frame, head=room.head, events=[])
        on_subscribed(self, frame)

    def take_anything(self: Rooms, name: str, seq: int, json: bytes) -> None:
        room = self.get(name)
        if room is not None and room.ready and seq > room.head + 1:
            room.head = seq - 1
        on_event(self, name, seq, json)

    Rooms.on_subscribed = take_nothing  # type: ignore[method-assign]
    Rooms.on_event = take_anything  # type: ignore[method-assign]


MUTANTS = {
    "no_dedup": no_dedup,
    "publish_before_commit": publish_before_commit,
    "no_resync": no_resync,
}


def bus_faults(drop: float, double: float, cut: float, swap: float, switch: str) -> None:
    """Only news may be lost: a stream socket loses no answers, and nobody would ask again."""
    receive, on_data = HubLink._receive, HubLink.on_data
    held: dict[int, Any] = {}
    news = (wire.Happened, wire.Presence, wire.Typed)

    def fault(kind: str) -> None:
        logs.event(logs.warning, f"busfault kind={kind}")

    def meddle(self: HubLink, frame: Any) -> None:
        if not os.path.exists(switch):
            _let_go(self)
            receive(self, frame)
            return
        chance = random.random()
        if isinstance(frame, news):
            if chance < drop:
                fault("drop")
                return
            if chance < drop + swap and id(self) not in held:
                held[id(self)] = frame, self._connection
                return
        again = drop + swap <= chance < drop + swap + double
        receive(self, frame)
        if again:
            fault("double")
            receive(self, frame)
        _let_go(self)

    def _let_go(self: HubLink) -> None:
        if id(self) in held:
            frame, connection = held.pop(id(self))
            if connection is self._connection:
                fault("swap")
                receive(self, frame)

    def meddle_bytes(self: HubLink, data: bytes) -> None:
        connection = self._connection
        if random.random() < cut and self.up and os.path.exists(switch):
            fault("cut")
            on_data(self, data[: random.randrange(len(data))])
            if connection is not None and connection is self._connection:
                connection.abort("cut")
            return
        on_data(self, data)

    HubLink._receive = meddle  # type: ignore[method-assign]
    HubLink.on_data = meddle_bytes  # type: ignore[method-assign]


def count_reads() -> None:
    """Have the hub write a line for each time that it is asked for events."""

    def counted(name: str, kind: str) -> None:
        method = getattr(Hub, name)

        def wrapper(self: Hub, link: Any, frame: Any) -> None:
            logs.event(logs.info, "hubread", kind=kind)
            method(self, link, frame)

        setattr(Hub, name, wrapper)

    counted("_read", "read")
    counted("_subscribe", "subscribe")


def large_rooms() -> None:
    """Half of the time members are sent to together, and events wait for what is on its way."""
    spread = Rooms._spread

    def spread_largely(self: Rooms, room: Room) -> None:
        Ring.fewest = random.choice((1, 1_000))
        spread(self, room)
        room.pass_s = random.choice((0.0, random.uniform(0.001, 0.02)))

    Rooms._spread = spread_largely  # type: ignore[method-assign]


def main() -> int:
    wanted = json.loads(os.environ.get(VARIABLE, "{}"))
    if "mutant" in wanted:
        MUTANTS[wanted["mutant"]]()
    if wanted.get("large_rooms"):
        large_rooms()
    if wanted.get("count_reads"):
        count_reads()
    if "while" in wanted:
        bus_faults(
            wanted.get("drop", 0), wanted.get("double", 0), wanted.get("cut", 0),
            wanted.get("swap", 0), wanted["while"],
        )  # fmt: skip
    return cli.main(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
