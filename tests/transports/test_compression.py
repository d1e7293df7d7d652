"""Compressed WebSockets in one process: what is compressed, how often, and what never is."""

from __future__ import annotations

import json
import random
import zlib
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.parts import MASK, V1, Site, WebSocket, draft
from wsd.metrics import M
from wsd.protocol.frames import encode_masked
from wsd.protocol.session import Event, Message, Session
from wsd.transports.compression import COMPRESS_FROM

Make = Callable[..., Site]

OFFER = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n"
LONG = "All that was said, said again. " * 30 + "End"


@pytest.fixture
def site(make_site: Make) -> Site:
    return make_site(compression="on", echo=True)


def compressions(site: Site) -> float:
    return site.scoreboard.row("worker 0")[M.COMPRESSED]


class Reader:
    """Reads what a server sends, and notes which of it was compressed."""

    def __init__(self, ws: WebSocket) -> None:
        self.ws = ws
        self._session = Session(1 << 20, 16, masked=False, compression=True)
        self.compressed: list[bool] = []

    def events(self) -> list[Event]:
        self.ws.wire.read()
        data = bytes(self.ws.wire.data)
        self.ws.wire.data.clear()
        self._session.receive(data)
        found = []
        while (event := self._session.next_event()) is not None:
            found.append(event)
        at = 0
        while at < len(data):
            self.compressed.append(bool(data[at] & 0x40))
            size = {126: 4, 127: 10}.get(data[at + 1], 2)
            length = int.from_bytes(data[at + 2 : at + size], "big") if size > 2 else data[at + 1]
            at += size + length
        return found

    def values(self) -> list[Any]:
        return [json.loads(event.data) for event in self.events() if isinstance(event, Message)]


def member(site: Site, offer: str = OFFER) -> Reader:
    client = V1(site.websocket("/chat?room=lobby", 0, "wsd.v1", headers=offer))
    client.ws.send('{"type":"hello"}')
    site.settle()
    reader = Reader(client.ws)
    assert reader.values()[0]["type"] == "welcome"
    reader.compressed.clear()
    return reader


def squeezed(data: bytes) -> bytes:
    made = zlib.compressobj(wbits=-15)
    payload = (made.compress(data) + made.flush(zlib.Z_SYNC_FLUSH))[:-4]
    frame = bytearray(encode_masked(1, payload, MASK))
    frame[0] |= 0x40
    return bytes(frame)


def publish(site: Site, text: str) -> None:
    site.workers[0].context.link.publish(draft(text), lambda outcome: None)
    site.settle()


def test_df_13_once_for_all_members(site: Site) -> None:
    members = [member(site) for _ in range(200)]
    plain = site.join()
    for one in members:
        one.events()
    before = compressions(site)
    for number in range(3):
        publish(site, f"{number} {LONG}")
    assert compressions(site) - before == 3
    for one in members:
        texts = [value["text"] for value in one.values() if value["type"] == "message"]
        assert texts == [f"{number} {LONG}" for number in range(3)]
    assert plain.events()[-1][1] == f"2 {LONG}"


def test_df_13_once_for_each_window(site: Site) -> None:
    windows = ["9", "9", "12", "15", "10"]  # 12 and 15: the same window is used
    members = [member(site, f"{OFFER[:-2]}; server_max_window_bits={n}\r\n") for n in windows]
    for one in members:
        one.events()
    before = compressions(site)
    publish(site, LONG)
    assert compressions(site) - before == 3
    assert [one.values()[0]["text"] for one in members] == [LONG] * 5


def test_history_is_compressed_once_too(site: Site) -> None:
    publish(site, LONG)
    member(site)
    before = compressions(site)
    for _ in range(5):
        member(site)
    assert compressions(site) == before


def test_small_messages_are_not_compressed(site: Site) -> None:
    one = member(site)
    one.events()
    one.compressed.clear()
    publish(site, "x")
    assert (one.values()[0]["text"], one.compressed) == ("x", [False])
    publish(site, "x" * COMPRESS_FROM)
    assert len(one.values()) == 1 and one.compressed == [False, True]


def test_what_cannot_be_made_smaller_is_not_compressed(site: Site) -> None:
    echo = Reader(site.websocket("/echo", headers=OFFER))
    noise = random.Random(1).randbytes(COMPRESS_FROM)
    echo.ws.send(noise, opcode=2)
    site.settle()
    assert echo.events() == [Message(2, noise)]
    assert echo.compressed == [False] and compressions(site) == 1


def test_df_14_what_holds_a_token_is_never_compressed(site: Site) -> None:
    client = V1(site.websocket("/chat?room=lobby", 0, "wsd.v1", headers=OFFER))
    reader = Reader(client.ws)
    rooms = {f"room-{number:03}-with-a-long-name-for-a-long-welcome": None for number in range(16)}
    client.ws.send(json.dumps({"type": "hello", "rooms": rooms}))
    site.settle()
    (welcome, *_) = reader.values()
    assert len(json.dumps(welcome)) > COMPRESS_FROM and '"token"' in json.dumps(welcome)
    assert reader.compressed[0] is False


def test_commands_may_be_compressed(site: Site) -> None:
    one = member(site)
    one.ws.wire.send(squeezed(json.dumps(
        {"type": "say", "room": "lobby", "text": LONG, "id": 1, "cid": "c1"}
    ).encode()))  # fmt: skip
    site.settle()
    values = one.values()
    assert {value["type"] for value in values} >= {"ok", "message"}


@pytest.mark.parametrize(
    ("data", "code"),
    [(b"\xc1\x81" + MASK + bytes([0xFF ^ MASK[0]]), 1007), (squeezed(bytes(1 << 20)), 1009)],
)
def test_what_cannot_be_restored_ends_the_connection(site: Site, data: bytes, code: int) -> None:
    ws = site.websocket("/chat", 0, "wsd.v1", headers=OFFER)
    ws.wire.send(data)
    site.settle()
    assert ws.close_code() == code


def test_without_the_setting_nothing_is_agreed_on(make_site: Make) -> None:
    site = make_site()
    ws = site.websocket("/chat", 0, "wsd.v1", headers=OFFER)
    ws.wire.send(squeezed(b"{}"))
    site.settle()
    assert ws.close_code() == 1002


def test_the_tutorials_dialects_are_compressed_as_well(site: Site) -> None:
    text = Reader(site.websocket("/?room=lobby", headers=OFFER))
    tornado = Reader(site.websocket("/chat?room=lobby", headers=OFFER))
    site.settle()
    tornado.events()
    text.ws.send(LONG)
    site.settle()
    assert text.events() == [Message(1, LONG.encode())] and text.compressed == [True]
    (html,) = tornado.events()
    assert isinstance(html, Message) and LONG.strip()[:20].encode() in html.data
    assert tornado.compressed[-1]
