"""permessage-deflate on the wire (RELIABILITY 4.3): with other people's clients, and its price."""

from __future__ import annotations

import random
import re
import time
import zlib
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory
from websockets.sync.client import connect

from tests.support.daemon import Daemon
from tests.support.raw import CLOSE, TEXT, Raw, command, frame, handshake

OFFER = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n"
AGREED = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    directory = tmp_path_factory.mktemp("deflate") / "wsd"
    daemon = Daemon(
        directory, workers=1, echo="true", compression="on", limits__connections_per_address=0
    ).start()
    yield daemon
    assert daemon.stop() == 0
    assert "Traceback" not in daemon.output, daemon.output


def rss_kib(daemon: Daemon) -> int:
    (worker,) = daemon.workers()
    return int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{worker}/status").read_text())[1])


def compressed_frame(data: bytes, fin: bool = True) -> bytes:
    made = zlib.compressobj(wbits=-15)
    payload = (made.compress(data) + made.flush(zlib.Z_SYNC_FLUSH))[:-4]
    sent = bytearray(frame(TEXT, payload, fin=fin))
    sent[0] |= 0x40
    return bytes(sent)


@pytest.mark.parametrize("bits", [9, 12, 15])
@pytest.mark.parametrize("server_forgets", [False, True])
@pytest.mark.parametrize("client_forgets", [False, True])
def test_df_11_another_librarys_messages(
    daemon: Daemon, bits: int, server_forgets: bool, client_forgets: bool
) -> None:
    extension = ClientPerMessageDeflateFactory(
        server_no_context_takeover=server_forgets,
        client_no_context_takeover=client_forgets,
        server_max_window_bits=bits,
        client_max_window_bits=bits,
    )
    rng = random.Random(bits)
    with connect(daemon.ws("/echo"), compression=None, extensions=[extension]) as ws:
        assert ws.response is not None
        answer = ws.response.headers["Sec-WebSocket-Extensions"]
        assert answer == f"{AGREED}; server_max_window_bits={bits}"
        for number in range(1000):
            word = f"{number} and {rng.random()} "
            said = word * rng.choice((0, 1, 1, 30, 300))
            ws.send(said)
            assert ws.recv() == said


def test_df_09_declined_the_connection_opens_all_the_same(daemon: Daemon) -> None:
    for parameter in ("server_max_window_bits=8", "unknown", "client_max_window_bits=99"):
        with Raw((daemon.host, daemon.port)) as one:
            offer = f"Sec-WebSocket-Extensions: permessage-deflate; {parameter}\r\n"
            one.send(handshake(extra=offer))
            answer = one.answer()
            assert (answer.status, answer.headers.get("sec-websocket-extensions")) == (101, None)


def test_df_01_df_02_bombs_cost_no_memory(daemon: Daemon) -> None:
    bomb = compressed_frame(bytes(64 << 20))  # 64 KiB that would be 64 MiB
    before = rss_kib(daemon)
    for _ in range(20):
        with Raw((daemon.host, daemon.port)) as one:
            one.send(handshake("/echo", None, OFFER))
            assert one.answer().status == 101
            one.send(bomb)
            assert one.close_frame().code == 1009
    for _ in range(20):  # each message within the limit, the sum over it
        with Raw((daemon.host, daemon.port)) as one:
            one.send(handshake("/echo", None, OFFER))
            assert one.answer().status == 101
            one.send(compressed_frame(bytes(60 << 10), fin=False) + frame(0, b"\0", fin=False))
            one.send(frame(0, bomb[14:], fin=False))
            assert one.close_frame().code in (1007, 1009)
    assert rss_kib(daemon) - before < 1024


def test_df_12_idle_connections_keep_no_window(daemon: Daemon) -> None:
    idle_kib = {}
    for offer in ("", OFFER):
        with ExitStack() as stack:
            before = rss_kib(daemon)
            for _ in range(500):
                one = stack.enter_context(Raw((daemon.host, daemon.port)))
                one.send(handshake(extra=offer) + command("hello", id=1, rooms={}))
                assert one.answer().status == 101
                # Not as frames: who is here may come in the same read, and be compressed.
                one.until(b'{"type":"welcome"')
            idle_kib[offer] = (rss_kib(daemon) - before) / 500
        daemon.wait_for(lambda: daemon.info()["connections"] <= 1, "nobody")
    assert idle_kib[OFFER] < idle_kib[""] + 4, idle_kib


def test_df_13_an_event_is_compressed_once(daemon: Daemon) -> None:
    text = "All that was said, said again. " * 28
    with ExitStack() as stack:
        crowd = []
        for _ in range(200):
            one = stack.enter_context(Raw((daemon.host, daemon.port)))
            one.send(handshake(extra=OFFER) + command("hello", id=1, rooms={"many": None}))
            one.answer()
            crowd.append(one)
        time.sleep(1)  # presence, which is compressed too when it is long
        before = daemon.metrics()["wsd_compressed_total"]
        crowd[0].send(command("say", room="many", text=text, id=2))
        wanted = text.strip().encode()
        for one in crowd:
            assert wanted in inflated(one)
        after = daemon.metrics()["wsd_compressed_total"]
        assert after - before == 1


def inflated(one: Raw) -> bytes:
    """The next message that was compressed."""
    data = one.buffer
    at = 0
    while True:
        while len(data) < at + 4 or len(data) < at + _size(data, at):
            assert one.more()
        size = _size(data, at)
        if data[at] & 0x40:
            payload = data[at + size - _payload(data, at) : at + size]
            made = zlib.decompressobj(-15).decompress(payload + b"\x00\x00\xff\xff")
            if b'"type":"message"' in made:
                return made
        assert data[at] & 0x0F != CLOSE
        at += size


def _payload(data: bytearray, at: int) -> int:
    size = data[at + 1]
    return int.from_bytes(data[at + 2 : at + 4], "big") if size == 126 else size


def _size(data: bytearray, at: int) -> int:
    return _payload(data, at) + (4 if data[at + 1] == 126 else 2)
