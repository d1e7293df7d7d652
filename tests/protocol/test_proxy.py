"""PROXY headers, versions 1 and 2 (NX-10, NX-11)."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.protocol.helpers import check, cut, cuts
from wsd.protocol.proxy import LONGEST, LONGEST_BLOCK, LONGEST_LINE, ProxyError, ProxyParser

START = b"\r\n\r\n\x00\r\nQUIT\n"
V4 = bytes([192, 0, 2, 1, 192, 0, 2, 2]) + b"\x12\x67\x01\xbb"
V6 = bytes.fromhex("20010db8" + "00" * 11 + "07" + "20010db8" + "00" * 11 + "08" + "126701bb")


def block(command: int, kind: int, data: bytes, length: int | None = None) -> bytes:
    size = len(data) if length is None else length
    return START + bytes([command, kind]) + size.to_bytes(2, "big") + data


def outcomes(pieces: Sequence[bytes]) -> list[str | bytes]:
    """The address or the reason of the refusal, then all the bytes that are left to the client."""
    parser = ProxyParser()
    found: str | None = None
    rest = b""
    for piece in pieces:
        if found is not None:
            rest += piece
            continue
        try:
            used = parser.feed(piece)
            found = parser.next_source()
        except ProxyError as error:
            return [error.reason]
        rest = piece[used:]
        assert not rest or found is not None, "bytes were left over before the end"
    return [found, *([rest] if rest else [])] if found is not None else []


GOOD = {
    "tcp4": (b"PROXY TCP4 192.0.2.1 192.0.2.2 4711 443\r\n", "192.0.2.1"),
    "tcp4 longest": (b"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n",
                     "255.255.255.255"),
    "tcp4 port 0": (b"PROXY TCP4 192.0.2.1 192.0.2.2 0 0\r\n", "192.0.2.1"),
    "tcp6": (b"PROXY TCP6 2001:db8::7 2001:db8::8 4711 443\r\n", "2001:db8::7"),
    "tcp6 in capitals": (b"PROXY TCP6 2001:DB8::7 ::1 4711 443\r\n", "2001:db8::7"),
    "tcp6 longest": (b"PROXY TCP6 " + b" ".join([b"ffff:" * 7 + b"ffff"] * 2) +
                     b" 65535 65535\r\n", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
    "tcp6 mapped": (b"PROXY TCP6 ::ffff:192.0.2.1 ::1 4711 443\r\n", "::ffff:c000:201"),
    "unknown": (b"PROXY UNKNOWN\r\n", ""),
    "unknown with more": (b"PROXY UNKNOWN ffff::1 what ever \r is\xff here\r\n", ""),
    "unknown, longest": (b"PROXY UNKNOWN " + b"x" * (LONGEST_LINE - 16) + b"\r\n", ""),
    "v2 tcp4": (block(0x21, 0x11, V4), "192.0.2.1"),
    "v2 tcp6": (block(0x21, 0x21, V6), "2001:db8::7"),
    "v2 with extensions": (block(0x21, 0x11, V4 + b"\x04\x00\x03abc\x20\x00\x01x"), "192.0.2.1"),
    "v2 with an extension that is none": (block(0x21, 0x11, V4 + b"\x04\xff\xff!"), "192.0.2.1"),
    "v2 local": (block(0x20, 0x00, b""), ""),
    "v2 local with addresses": (block(0x20, 0x11, V4), ""),
    "v2 local of no kind": (block(0x20, 0xff, b"xyz"), ""),
    "v2 unspecified": (block(0x21, 0x00, b""), ""),
    "v2 unspecified with more": (block(0x21, 0x00, b"whatever"), ""),
    "v2 udp4": (block(0x21, 0x12, V4), ""),
    "v2 udp6": (block(0x21, 0x22, V6), ""),
    "v2 unix": (block(0x21, 0x31, b"/run/client".ljust(108, b"\0") + b"/run/us".ljust(108, b"\0")),
                ""),
    "v2 unix datagram": (block(0x21, 0x32, bytes(216)), ""),
    "v2 longest": (block(0x21, 0x11, V4 + bytes(LONGEST_BLOCK - len(V4))), "192.0.2.1"),
}  # fmt: skip

BAD = {
    "nothing of the kind": (b"GET / HTTP/1.1\r\n", "no_proxy_header"),
    "tls": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "no_proxy_header"),
    "lower case": (b"proxy TCP4 192.0.2.1 192.0.2.2 4711 443\r\n", "no_proxy_header"),
    "a space before": (b" PROXY UNKNOWN\r\n", "no_proxy_header"),
    "a tab behind": (b"PROXY\tUNKNOWN\r\n", "no_proxy_header"),
    "blank lines": (b"\r\n\r\n\r\n\r\n", "no_proxy_header"),
    "v2 bad signature": (START[:-1] + b"\r" + b"\x21\x11\x00\x0c" + V4, "no_proxy_header"),
    "lower tcp4": (b"PROXY tcp4 192.0.2.1 192.0.2.2 4711 443\r\n", "bad_proxy_header"),
    "udp": (b"PROXY UDP4 192.0.2.1 192.0.2.2 4711 443\r\n", "bad_proxy_header"),
    "nothing": (b"PROXY \r\n", "bad_proxy_header"),
    "unknown and on": (b"PROXY UNKNOWNX\r\n", "bad_proxy_header"),
    "tcp4 with 6": (b"PROXY TCP4 2001:db8::7 192.0.2.2 4711 443\r\n", "bad_proxy_header"),
    "tcp6 with 4": (b"PROXY TCP6 192.0.2.1 ::1 4711 443\r\n", "bad_proxy_header"),
    "bad source": (b"PROXY TCP4 192.0.2.256 192.0.2.2 4711 443\r\n", "bad_proxy_header"),
    "bad destination": (b"PROXY TCP4 192.0.2.1 192.0.2 4711 443\r\n", "bad_proxy_header"),
    "leading zero": (b"PROXY TCP4 192.0.2.01 192.0.2.2 4711 443\r\n", "bad_proxy_header"),
    "scope": (b"PROXY TCP6 fe80::1%1 ::1 4711 443\r\n", "bad_proxy_header"),
    "port 65536": (b"PROXY TCP4 192.0.2.1 192.0.2.2 65536 443\r\n", "bad_proxy_header"),
    "their port 65536": (b"PROXY TCP4 192.0.2.1 192.0.2.2 443 65536\r\n", "bad_proxy_header"),
    "port 0443": (b"PROXY TCP4 192.0.2.1 192.0.2.2 4711 0443\r\n", "bad_proxy_header"),
    "port -1": (b"PROXY TCP4 192.0.2.1 192.0.2.2 4711 -1\r\n", "bad_proxy_header"),
    "no port": (b"PROXY TCP4 192.0.2.1 192.0.2.2 4711\r\n", "bad_proxy_header"),
    "a name": (b"PROXY TCP4 localhost 192.0.2.2 4711 443\r\n", "bad_proxy_header"),
    "two spaces": (b"PROXY  TCP4 192.0.2.1 192.0.2.2 4711 443\r\n", "bad_proxy_header"),
    "a space at the end": (b"PROXY TCP4 192.0.2.1 192.0.2.2 4711 443 \r\n", "bad_proxy_header"),
    "lf only": (b"PROXY TCP4 192.0.2.1 192.0.2.2 4711 443\nGET / HTTP/1.1\r\n",
                "bad_proxy_header"),
    "no line end": (b"PROXY UNKNOWN " + b"x" * (LONGEST_LINE - 14), "bad_proxy_header"),
    "one too long": (b"PROXY UNKNOWN " + b"x" * (LONGEST_LINE - 15) + b"\r\n",
                     "bad_proxy_header"),
    "v2 version 1": (block(0x11, 0x11, V4), "bad_proxy_header"),
    "v2 version 3": (block(0x31, 0x11, V4), "bad_proxy_header"),
    "v2 unknown command": (block(0x22, 0x11, V4), "bad_proxy_header"),
    "v2 unknown family": (block(0x21, 0x41, V4), "bad_proxy_header"),
    "v2 unknown transport": (block(0x21, 0x13, V4), "bad_proxy_header"),
    "v2 family without transport": (block(0x21, 0x10, V4), "bad_proxy_header"),
    "v2 too short for tcp4": (block(0x21, 0x11, V4[:-1]), "bad_proxy_header"),
    "v2 too short for tcp6": (block(0x21, 0x21, V6[:-1]), "bad_proxy_header"),
    "v2 too long": (block(0x21, 0x11, b"", LONGEST_BLOCK + 1), "bad_proxy_header"),
    "v2 length 65535": (block(0x21, 0x11, b"", 65535), "bad_proxy_header"),
}  # fmt: skip


@pytest.mark.parametrize("name", GOOD)
def test_nx_10_nx_11_accepted(name: str) -> None:
    data, source = GOOD[name]
    assert len(data) <= LONGEST
    check(outcomes, data, [source])
    for behind in (b"GET / HTTP/1.1\r\n\r\n", data, b"\r\n", START):
        assert outcomes([data + behind]) == [source, behind]
        assert outcomes([data, behind]) == [source, behind]


@pytest.mark.parametrize("name", GOOD)
def test_nx_10_nx_11_cut_off_anywhere_it_is_incomplete(name: str) -> None:
    data, _ = GOOD[name]
    for end in range(len(data)) if len(data) < 300 else range(0, len(data), 97):
        assert outcomes([data[:end]]) == []


@pytest.mark.parametrize("name", BAD)
def test_nx_10_nx_11_refused(name: str) -> None:
    data, reason = BAD[name]
    check(outcomes, data, [reason])
    assert outcomes([data + b"GET / HTTP/1.1\r\n\r\n"]) == [reason]


SEEDS = [data for data, _ in (*GOOD.values(), *BAD.values()) if len(data) < 300]


@given(st.sampled_from(SEEDS), st.binary(max_size=4), st.integers(0, 300), cuts)
def test_the_outcome_does_not_depend_on_the_cut(
    seed: bytes, noise: bytes, at: int, places: list[int]
) -> None:
    data = seed[:at] + noise + seed[at + len(noise) :]
    whole = outcomes([data])
    assert outcomes(cut(data, places)) == whole
    assert len(whole) <= 2
