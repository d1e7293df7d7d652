"""Addresses as people write them."""

from __future__ import annotations

import pytest

from wsd.client.address import Address, parse


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://chat.example", (True, "chat.example", 443, "", "chat.example", "/chat")),
        ("https://Chat.Example/", (True, "chat.example", 443, "", "chat.example", "/chat")),
        ("wss://a:8443", (True, "a", 8443, "", "a:8443", "/chat")),
        ("ws://a:443", (False, "a", 443, "", "a:443", "/chat")),
        ("http://a/shop/", (False, "a", 80, "", "a", "/shop/chat")),
        ("http://a/sh%20p/ä", (False, "a", 80, "", "a", "/sh%20p/%C3%A4/chat")),
        ("http://[::1]:8002", (False, "::1", 8002, "", "[::1]:8002", "/chat")),
        ("https://bücher.example", (True, "xn--bcher-kva.example", 443, "",
                                    "xn--bcher-kva.example", "/chat")),
        ("unix:/run/wsd/chat.sock", (False, "", 0, "/run/wsd/chat.sock", "localhost", "/chat")),
        ("unix:///run/c", (False, "", 0, "/run/c", "localhost", "/chat")),
    ],
)  # fmt: skip
def test_addresses(url: str, expected: tuple[object, ...]) -> None:
    assert parse(url) == Address(*expected)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "url",
    ["", "chat.example", "ftp://a", "https://", "http://a:0", "http://a:99999", "http://a:x",
     "https://me:secret@a", "http://a?b", "http://a#b", "unix:relative", "http://a..b",
     "http://a b/", "http://a\r\nX: y/"],
)  # fmt: skip
def test_what_is_none(url: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse(url)
