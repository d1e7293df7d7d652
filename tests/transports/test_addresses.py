"""Whose address counts (NX-01 to NX-06)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsd.transports.addresses import (
    address_group,
    client_address,
    is_proxy,
    parse_networks,
    plain_address,
)

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
