"""The way to a WebSocket: what is agreed on, and which pages may.

What is refused is in tests/corpus, how it ends in test_refusals.py.
"""

from __future__ import annotations

import pytest

from tests.support.clients import Refused, connect
from tests.support.raw import handshake


def upgrade(raw, extra: str = "", path: str = "/chat"):
    return raw().send(handshake(path, None, extra))


def test_accept_value_is_that_of_the_rfc(raw):  # HS-04
    answer = upgrade(raw).answer()
    assert answer.status == 101
    assert answer.headers["sec-websocket-accept"] == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    assert "sec-websocket-protocol" not in answer.headers
    assert "sec-websocket-extensions" not in answer.headers


@pytest.mark.parametrize("path", ["/chat", "/echo", "/chat?room=x"])
def test_without_an_upgrade_it_is_asked_for(raw, path):  # HS-01
    answer = raw().get(path)
    assert answer.status == 426
    assert answer.headers["upgrade"].lower() == "websocket"
    assert answer.headers["connection"].lower() in ("close", "upgrade, close", "close, upgrade")


@pytest.mark.parametrize(("origin", "status"), [
    ("http://wsd.test", 101),
    ("HTTP://WSD.TEST", 101),
    ("http://wsd.test:80", 101),
    ("https://wsd.test", 101),  # behind a proxy that ends TLS
    ("http://wsd.test:8080", 403),
    ("http://evil.test", 403),
    ("http://wsd.test.evil.test", 403),
    ("http://evilwsd.test", 403),
    ("http://wsd.test@evil.test", 403),
    ("http://wsd.test.", 403),
    ("http://wsd.test/", 403),
    ("null", 403),
    ("", 403),
    ("file://", 403),
    ("x" * 4000, 403),
])  # fmt: skip
@pytest.mark.parametrize("path", ["/chat", "/", "/echo"])
def test_pages_of_other_sites_may_not_connect(raw, origin, status, path):  # HS-30
    answer = upgrade(raw, f"Origin: {origin}\r\n", path).answer()
    assert answer.status == status


def test_listed_origins_beside_the_own_one(make_daemon, library):
    daemon = make_daemon(origins='["https://a.test", "https://*.b.test"]')
    own = f"http://127.0.0.1:{daemon.port}"
    allowed = (
        own,
        "https://a.test",
        "https://x.b.test",
        "https://x.y.b.test",
        "https://a.test:443",
    )
    for origin in allowed:
        connect(daemon.ws(), "wsd.v1", library=library, origin=origin).close()
    other_port = f"http://127.0.0.1:{daemon.port + 1}"
    for origin in (other_port, "http://a.test", "https://b.test", "https://evilb.test"):
        with pytest.raises(Refused) as refused:
            connect(daemon.ws(), "wsd.v1", library=library, origin=origin)
        assert refused.value.status == 403


@pytest.mark.parametrize("room", ["a%20b", "%0d%0aSet-Cookie:%20a=b", "a/b", "x" * 65, "."])
def test_a_room_that_cannot_be(raw, room):
    answer = raw().send(handshake(f"/chat?room={room}")).answer()
    assert answer.status == 400
    assert "set-cookie" not in answer.headers
