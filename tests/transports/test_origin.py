"""Which pages may connect (HS-30 to HS-33), and whose address counts (NX-01 to NX-06)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsd.transports.origin import (
    address_group,
    client_address,
    is_proxy,
    origin_allowed,
    parse_networks,
    plain_address,
)

ALLOWED = "https://allowed.example"


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        (ALLOWED, True),
        ("HTTPS://Allowed.Example", True),
        ("https://allowed.example:443", True),
        (None, True),  # no browser
        ("https://other.example", False),
        ("null", False),
        ("", False),
        ("https://allowed.example.evil.com", False),
        ("https://evil-allowed.example", False),
        ("https://sub.allowed.example", False),
        ("https://allowed.example:8443", False),
        ("http://allowed.example", False),
        ("wss://allowed.example", False),
        ("https://allowed.example.", False),
        ("https://allowed.example@evil.com", False),
        ("https://evil.com@allowed.example", False),
        ("https://allowed.example/", False),
        ("https://allowed.example/path", False),
        ("https://allowed.example?x", False),
        ("https://allowed.example#x", False),
        ("https://аllowed.example", False),  # a Cyrillic first letter
        ("https://xn--llowed-2bg.example", False),
        ("file://", False),
        ("file:///etc/passwd", False),
        ("chrome-extension://abcdef", False),
        ("allowed.example", False),
        ("//allowed.example", False),
        ("https://", False),
        ("https://[::1", False),
        ("https://allowed.example:99999", False),
        ("https://allowed.example:x", False),
        ("https://allowed.example, https://evil.com", False),
        ("x" * 8192, False),
        ("https://" + "a" * 8000, False),
        ("\0", False),
    ],
)
def test_hs_30_the_matrix(origin: str | None, allowed: bool) -> None:
    assert origin_allowed(origin, "chat.example", [ALLOWED]) is allowed


@pytest.mark.parametrize(
    ("origin", "host", "allowed"),
    [
        ("https://chat.example", "chat.example", True),
        ("http://chat.example", "chat.example", True),
        ("http://chat.example:8002", "chat.example:8002", True),
        ("http://Chat.Example:8002", "CHAT.example:8002", True),
        ("http://chat.example", "chat.example:80", True),
        ("http://127.0.0.1:8002", "127.0.0.1:8002", True),
        ("http://[::1]:8002", "[::1]:8002", True),
        ("https://chat.example:8443", "chat.example", False),
        ("https://chat.example", "chat.example:8443", False),
        ("http://127.0.0.1:8003", "127.0.0.1:8002", False),
        ("http://localhost:8002", "127.0.0.1:8002", False),
        ("https://evil.com", "chat.example", False),
        ("null", "chat.example", False),
        ("null", "", False),
        ("https://chat.example", "", False),
        ("https://evil.com", "chat.example@evil.com", False),
    ],
)
def test_hs_32_without_a_list_only_the_same_origin(origin: str, host: str, allowed: bool) -> None:
    assert origin_allowed(origin, host, []) is allowed


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [("https://a.x.com", True), ("https://a.b.x.com", True), ("https://x.com", False),
     ("https://evilx.com", False), ("http://a.x.com", False), ("https://a.x.com:8443", False),
     ("https://a.x.com.evil.com", False), ("https://.x.com", True)],
)  # fmt: skip
def test_hs_33_wildcards(origin: str, allowed: bool) -> None:
    assert origin_allowed(origin, "chat.example", ["https://*.x.com"]) is allowed


def test_any_origin() -> None:
    for origin in ("https://evil.com", "null", ""):
        assert origin_allowed(origin, "chat.example", ["*"])


def test_the_own_pages_may_whatever_the_list_says() -> None:
    assert origin_allowed("https://chat.example", "chat.example", [ALLOWED])
    assert not origin_allowed("https://chat.example:8443", "chat.example", [ALLOWED])


@given(st.text(max_size=60), st.text(max_size=30))
def test_no_text_breaks_the_check(origin: str, host: str) -> None:
    origin_allowed(origin, host, [ALLOWED])
    origin_allowed(origin, host, [])


# -- addresses

TRUSTED = parse_networks(["127.0.0.0/8", "::1/128", "10.0.0.0/8"])


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        ("203.0.113.9", "1.1.1.1", "203.0.113.9"),  # NX-01
        ("127.0.0.1", "1.1.1.1", "1.1.1.1"),
        ("127.0.0.1", "1.1.1.1, 2.2.2.2", "2.2.2.2"),  # NX-02: the left part is spoofed
        ("127.0.0.1", "1.1.1.1, 2.2.2.2, 10.0.0.5", "2.2.2.2"),
        ("127.0.0.1", "1.1.1.1,10.0.0.5,2.2.2.2", "2.2.2.2"),
        ("127.0.0.1", "10.0.0.7, 10.0.0.5", "10.0.0.7"),
        ("127.0.0.1", "", "127.0.0.1"),
        ("127.0.0.1", "unknown", "127.0.0.1"),
        ("127.0.0.1", "1.1.1.1, garbage", "127.0.0.1"),
        ("127.0.0.1", "1.1.1.1, garbage, 10.0.0.5", "10.0.0.5"),
        ("127.0.0.1", "2.2.2.2:4711", "2.2.2.2"),
        ("127.0.0.1", "[2001:db8::7]:4711", "2001:db8::7"),
        ("127.0.0.1", "[2001:db8::7]", "2001:db8::7"),
        ("127.0.0.1", "2001:DB8:0:0::7", "2001:db8::7"),
        ("127.0.0.1", "::ffff:2.2.2.2", "2.2.2.2"),
        ("127.0.0.1", "2.2.2.2, ", "127.0.0.1"),
        ("127.0.0.1", "\t2.2.2.2\t", "2.2.2.2"),
        ("127.0.0.1", "02.2.2.2", "127.0.0.1"),
        ("127.0.0.1", "２.2.2.2", "127.0.0.1"),
        ("127.0.0.1", "2.2.2.2\xa0", "127.0.0.1"),
        ("::1", "2.2.2.2", "2.2.2.2"),
        ("::ffff:127.0.0.1", "2.2.2.2", "2.2.2.2"),
        ("fe80::1%eth0", "2.2.2.2", "fe80::1"),
        ("127.0.0.1", ", ".join(["1.1.1.1"] * 1000 + ["2.2.2.2"]), "2.2.2.2"),
        ("127.0.0.1", ", ".join(["1.1.1.1"] + ["10.0.0.5"] * 1000), "10.0.0.5"),
        ("", "2.2.2.2", ""),  # NX-06: a Unix socket is trusted only if configured
    ],
)
def test_whose_address_counts(peer: str, forwarded: str, address: str) -> None:
    headers = {"x-forwarded-for": forwarded} if forwarded else {}
    assert client_address(peer, headers, TRUSTED) == address


def test_nx_03_and_05_other_headers_are_not_believed() -> None:
    headers = {"x-real-ip": "6.6.6.6", "cf-connecting-ip": "6.6.6.6", "forwarded": "for=6.6.6.6",
               "true-client-ip": "6.6.6.6", "x-forwarded-for": "2.2.2.2"}  # fmt: skip
    assert client_address("127.0.0.1", headers, TRUSTED) == "2.2.2.2"


def test_nx_04_what_the_client_writes_makes_no_difference() -> None:
    for spoofed in ("", "1.1.1.1, ", "127.0.0.1, ", "10.0.0.1, 127.0.0.1, ", "x, " * 50):
        headers = {"x-forwarded-for": f"{spoofed}2.2.2.2"}
        assert client_address("10.1.1.1", headers, TRUSTED) == "2.2.2.2"


def test_nobody_is_trusted() -> None:
    assert client_address("127.0.0.1", {"x-forwarded-for": "2.2.2.2"}, ()) == "127.0.0.1"


@pytest.mark.parametrize(
    ("peer", "proxy"),
    [("127.0.0.1", True), ("::1", True), ("10.9.9.9", True), ("203.0.113.9", False), ("", True)],
)
def test_is_proxy(peer: str, proxy: bool) -> None:
    assert is_proxy(peer, TRUSTED) is proxy


@given(st.text(max_size=50))
def test_no_text_breaks_an_address(text: str) -> None:
    address = plain_address(text)
    assert address == "" or plain_address(address) == address
    assert client_address("127.0.0.1", {"x-forwarded-for": text}, TRUSTED)
    address_group(address)


@pytest.mark.parametrize(
    ("address", "group"),
    [("192.0.2.1", "192.0.2.1"), ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"), ("", "")],
)
def test_groups(address: str, group: str) -> None:
    assert address_group(address) == group
