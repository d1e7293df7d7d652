"""What a client leaves behind when it is gone: nothing, not even for the collector of cycles."""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Callable

import pytest

from tests.support.parts import Site, Wire
from tests.support.web import Browser
from wsd.protocol.frames import encode_masked


def in_half_a_request(site: Site) -> Wire:
    wire = site.socket()
    wire.send(b"GET / HTTP/1.1\r\nHo")
    return wire


def in_half_a_frame(site: Site) -> Wire:
    wire = site.join(name="Ann").ws.wire
    wire.send(encode_masked(1, b"x" * 1000, b"abcd")[:500])
    return wire


def compressing(site: Site) -> Wire:
    return site.websocket(
        "/chat?room=lobby", headers="Sec-WebSocket-Extensions: permessage-deflate\r\n"
    ).wire


def on_a_stream(site: Site) -> Wire:
    browser = Browser(site)
    browser.send("POST", "/stream", {"type": "hello", "rooms": {"lobby": None}})
    assert b'"type":"welcome"' in browser.wire.read()
    return browser.wire


def in_a_held_poll(site: Site) -> Wire:
    browser = Browser(site)
    browser.send("POST", "/poll", {"type": "hello", "rooms": {"lobby": None}})
    assert browser.answer() is None
    return browser.wire


@pytest.mark.parametrize(
    "client", [in_half_a_request, in_half_a_frame, compressing, on_a_stream, in_a_held_poll]
)
def test_a_client_that_is_gone_waits_for_no_collector(
    site: Site, client: Callable[[Site], Wire]
) -> None:
    """5,000 resets would leave megabytes until it comes."""
    for _ in range(2):  # the first makes what all of its kind share
        gc.collect()
        gc.disable()
        gc.set_debug(gc.DEBUG_SAVEALL)
        try:
            wire = client(site)
            site.settle()
            wire.close()
            site.settle()
            del wire
            gc.collect()
            left = Counter(type(garbage).__name__ for garbage in gc.garbage)
        finally:
            gc.set_debug(0)
            gc.garbage.clear()
            gc.enable()
    assert not left
