"""Which pages may connect (HS-30 to HS-33)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsd.transports.origin import origin_allowed

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
        ("https://allowed.example?", False),
        ("https://allowed.example#", False),
        ("https://allowed.example:", False),
        ("https://allowed.example:0", False),
        ("https://allowed.example:1_0", False),
        ("https://\xa0allowed.example", False),
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
