"""Whose address counts (NX-01 to NX-06, LM-03)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.protocol.helpers import assert_linear
from wsd.protocol.http import HttpError
from wsd.transports.addresses import (
    UNKNOWN,
    Proxies,
    address_group,
    client_address,
    plain_address,
)

TRUSTED = Proxies(["127.0.0.0/8", "::1/128", "10.0.0.0/8"])


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
        (UNKNOWN, "2.2.2.2", ""),
    ],
)
def test_whose_address_counts(peer: str, forwarded: str, address: str) -> None:
    headers = {"x-forwarded-for": forwarded} if forwarded else {}
    assert client_address(peer, headers, TRUSTED) == address


def forwarded(value: str, peer: str = "127.0.0.1") -> str:
    return client_address(peer, {"forwarded": value}, TRUSTED)


@pytest.mark.parametrize(
    ("value", "address"),
    [
        ("for=2.2.2.2", "2.2.2.2"),
        ("For=2.2.2.2", "2.2.2.2"),
        ('for="2.2.2.2"', "2.2.2.2"),
        ('for="2.2.2.2:4711"', "2.2.2.2"),
        ('for="[2001:db8:cafe::17]:4711"', "2001:db8:cafe::17"),
        ('for="[2001:DB8:cafe::17]"', "2001:db8:cafe::17"),
        ('for="[::ffff:2.2.2.2]"', "2.2.2.2"),
        ("for=2.2.2.2;proto=http;by=203.0.113.43", "2.2.2.2"),
        ("proto=http;by=203.0.113.43;for=2.2.2.2", "2.2.2.2"),
        ("for=2.2.2.2; proto=http ;by=10.0.0.1 ", "2.2.2.2"),
        (";;for=2.2.2.2;", "2.2.2.2"),
        ('host="a,b;c";for=2.2.2.2', "2.2.2.2"),
        ('for=2.2.2.2;host="a\\"b,c"', "2.2.2.2"),
        ('for=2.2.2.2;host="\\\\"', "2.2.2.2"),
        ("for=1.1.1.1, for=2.2.2.2", "2.2.2.2"),
        ("for=1.1.1.1,for=2.2.2.2, for=10.0.0.5", "2.2.2.2"),
        ('for=1.1.1.1, for="10.0.0.7:1", for=10.0.0.5', "1.1.1.1"),
        # What a client has written cannot hide what the proxies added.
        ('for="1.1.1.1, for=2.2.2.2', "2.2.2.2"),
        ('for="1.1.1.1\\, for=2.2.2.2', "2.2.2.2"),
        ('x="\\", for=2.2.2.2', "2.2.2.2"),
        # An address that nobody says: the last one that is known.
        ("for=unknown", "127.0.0.1"),
        ("for=_hidden", "127.0.0.1"),
        ('for="_SEVKISEK"', "127.0.0.1"),
        ("for=1.1.1.1, for=unknown", "127.0.0.1"),
        ("for=1.1.1.1, for=_hidden, for=10.0.0.5", "10.0.0.5"),
        ("proto=https", "127.0.0.1"),
        ("", "127.0.0.1"),
        ("for=1.1.1.1,", "127.0.0.1"),
        # Malformed.
        ("2.2.2.2", "127.0.0.1"),
        ("for=", "127.0.0.1"),
        ("for = 2.2.2.2", "127.0.0.1"),
        ("for=2.2.2.2 proto=http", "127.0.0.1"),
        ("for=2001:db8::7", "127.0.0.1"),
        ("for=2.2.2.2;for=3.3.3.3", "127.0.0.1"),
        ('for="2.2.2.2', "127.0.0.1"),
        ('for="2.2.2.2"x', "127.0.0.1"),
        ("for=2.2.2.2;@=1", "127.0.0.1"),
        (", ".join(["for=1.1.1.1"] + ["for=10.0.0.5"] * 1000), "10.0.0.5"),
    ],
)
def test_rfc_7239(value: str, address: str) -> None:
    assert forwarded(value) == address


def test_forwarded_of_a_peer_that_is_not_trusted() -> None:
    assert forwarded("for=1.1.1.1", peer="203.0.113.9") == "203.0.113.9"


def test_nx_03_headers_that_differ() -> None:
    def ask(listed: str, value: str) -> str:
        headers = {"x-forwarded-for": listed, "forwarded": value}
        return client_address("127.0.0.1", headers, TRUSTED)

    assert ask("2.2.2.2", "for=2.2.2.2") == "2.2.2.2"
    assert ask("1.1.1.1, 2001:db8::7", 'for="[2001:DB8::7]:80"') == "2001:db8::7"
    assert ask("", "for=unknown") == "127.0.0.1"
    for listed, value in (
        ("2.2.2.2", "for=3.3.3.3"), ("2.2.2.2", "for=unknown"), ("2.2.2.2", "proto=https"),
        ("", "for=2.2.2.2"), ("garbage", "for=2.2.2.2"),
    ):  # fmt: skip
        with pytest.raises(HttpError) as caught:
            ask(listed, value)
        assert (caught.value.status, caught.value.reason) == (400, "forwarded_conflict")
    # Of somebody who is not believed, neither is looked at.
    headers = {"x-forwarded-for": "2.2.2.2", "forwarded": "for=3.3.3.3"}
    assert client_address("203.0.113.9", headers, TRUSTED) == "203.0.113.9"


def test_nx_05_other_headers_are_not_believed() -> None:
    headers = {"x-real-ip": "6.6.6.6", "cf-connecting-ip": "6.6.6.6", "x-client-ip": "6.6.6.6",
               "true-client-ip": "6.6.6.6", "x-forwarded": "for=6.6.6.6"}  # fmt: skip
    assert client_address("127.0.0.1", headers, TRUSTED) == "127.0.0.1"
    headers["x-forwarded-for"] = "2.2.2.2"
    assert client_address("127.0.0.1", headers, TRUSTED) == "2.2.2.2"


def test_nx_04_what_the_client_writes_makes_no_difference() -> None:
    for spoofed in ("", "1.1.1.1, ", "127.0.0.1, ", "10.0.0.1, 127.0.0.1, ", "x, " * 50):
        headers = {"x-forwarded-for": f"{spoofed}2.2.2.2"}
        assert client_address("10.1.1.1", headers, TRUSTED) == "2.2.2.2"


@given(st.text(alphabet='abfor="\\,; 12.', max_size=30))
def test_nx_04_nor_in_forwarded(spoofed: str) -> None:
    for host in ("a", '"a, b"'):
        assert forwarded(f"{spoofed}, for=2.2.2.2;host={host}", peer="10.1.1.1") == "2.2.2.2"


def test_nx_06_unix_sockets_are_trusted_by_their_word() -> None:
    headers = {"x-forwarded-for": "2.2.2.2"}
    local = Proxies(["unix"])
    assert client_address("", headers, local) == "2.2.2.2"
    assert client_address("", {}, local) == ""
    assert client_address("127.0.0.1", headers, local) == "127.0.0.1"
    assert client_address(UNKNOWN, headers, local) == ""


def test_nobody_is_trusted() -> None:
    assert client_address("127.0.0.1", {"x-forwarded-for": "2.2.2.2"}, Proxies([])) == "127.0.0.1"


@pytest.mark.parametrize(
    ("peer", "trusted"),
    [("127.0.0.1", True), ("::1", True), ("10.9.9.9", True), ("203.0.113.9", False), ("", False),
     ("::ffff:10.9.9.9", True), (UNKNOWN, False)],
)  # fmt: skip
def test_who_is_trusted(peer: str, trusted: bool) -> None:
    assert TRUSTED.trust(peer) is trusted


@pytest.mark.parametrize(
    "value",
    ["{},for=10.0.0.5", '{}"', 'x="{}', "x={}", "{}=", 'x="{}";y', "for=10.0.0.5,{}"],
)
@pytest.mark.parametrize("filling", [" ", "\\", '"', ";", ",", "=", 'a=";', 'a="",'])
def test_long_headers_take_linear_time(value: str, filling: str) -> None:
    assert_linear(lambda size: forwarded(value.format(filling * size)), 1000)


@given(st.text(max_size=50))
def test_no_text_breaks_an_address(text: str) -> None:
    address = plain_address(text)
    assert address == "" or plain_address(address) == address
    assert client_address("127.0.0.1", {"x-forwarded-for": text}, TRUSTED)
    assert forwarded(text)
    address_group(address)


@pytest.mark.parametrize(
    ("address", "group"),
    [("192.0.2.1", "192.0.2.1"), ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"), ("", "")],
)
def test_groups(address: str, group: str) -> None:
    assert address_group(address) == group


def test_lm_03_an_address_of_the_old_kind_in_the_new_ones_clothes() -> None:
    assert address_group(plain_address("::ffff:127.0.0.1")) == address_group("127.0.0.1")
    assert address_group(plain_address("fe80::1%eth0")) == "fe80::/64"
