"""permessage-deflate (RELIABILITY 4.3, DF-01 to DF-14): offers, and messages whole and cut."""

from __future__ import annotations

import random
import tracemalloc
import zlib
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsd.protocol.deflate import MAX_BITS, Deflate, Deflater, Inflater, negotiate
from wsd.protocol.frames import ProtocolError, encode, encode_compressed, encode_masked, mask_bytes
from wsd.protocol.refusal import HttpError
from wsd.protocol.session import Failed, Message, Ping, Session

from .helpers import assert_linear, bytewise, check, cut, cuts
from .test_session import CANARY, MASK, SERVED, events, failed, more, ping, text

MAX = 1000
FRAGMENTS = 16
BASE = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"

# -- offers


ACCEPTED: list[tuple[str, int, str]] = [
    ("permessage-deflate", MAX_BITS, ""),
    ("permessage-deflate; client_max_window_bits", MAX_BITS, ""),
    ("permessage-deflate;client_max_window_bits=8", MAX_BITS, ""),
    ("permessage-deflate ; client_max_window_bits = 15", MAX_BITS, ""),
    ("permessage-deflate; server_no_context_takeover", MAX_BITS, ""),
    ("permessage-deflate; client_no_context_takeover; server_no_context_takeover", MAX_BITS, ""),
    ("permessage-deflate; server_max_window_bits=9", 9, "; server_max_window_bits=9"),
    ('permessage-deflate; server_max_window_bits="1\\2"', 12, "; server_max_window_bits=12"),
    ("permessage-deflate; server_max_window_bits=15", 12, "; server_max_window_bits=15"),
    # what cannot be met is passed over
    ("permessage-deflate; server_max_window_bits=8, permessage-deflate", MAX_BITS, ""),
    (",, x-webkit-deflate-frame;no_context_takeover ,\t, permessage-deflate,", MAX_BITS, ""),
    ('x; a="permessage"; b, permessage-deflate; server_max_window_bits=10', 10,
     "; server_max_window_bits=10"),
    (", ".join(["permessage-deflate; server_max_window_bits=8"] * 99 + ["permessage-deflate"]),
     MAX_BITS, ""),
]  # fmt: skip


@pytest.mark.parametrize(("header", "bits", "answer"), ACCEPTED)
def test_df_09_accepted(header: str, bits: int, answer: str) -> None:
    assert negotiate(header) == Deflate(bits, BASE + answer)


@pytest.mark.parametrize(
    "parameters",
    [
        *(f"server_max_window_bits{value}" for value in ("", "=7", "=8", "=16", "=08", "=0", "=1_2",
                                                          "=+9", "=012", "=x", '="16"')),
        *(f"client_max_window_bits={value}" for value in ("0", "7", "16", "08", "x", '"99"')),
        "server_no_context_takeover=1", "client_no_context_takeover=yes",
        "client_max_window_bits; client_max_window_bits=10",
        "server_no_context_takeover; server_no_context_takeover",
        "server_max_window_bits=9; server_max_window_bits=9", "unknown", "unknown=5",
        "permessage-deflate", "Server_No_Context_Takeover",
    ],
)  # fmt: skip
def test_df_09_df_10_declined(parameters: str) -> None:
    assert negotiate(f"permessage-deflate; {parameters}") is None


@pytest.mark.parametrize("header", ["", ",", " \t", "x", "permessage-deflate-frame", "x;y=1,z"])
def test_nothing_to_accept(header: str) -> None:
    assert negotiate(header) is None


@pytest.mark.parametrize(
    "header",
    [";", "permessage-deflate;", "permessage-deflate; =9", "permessage-deflate; a=", "a b", "a;b c",
     'a; b="', 'a; b="c', 'a; b="c d"', 'a; b=""', "a; b=c=d", "a; b;; c", "\xe4", 'a; b="\\"',
     "a/b", "permessage-deflate, ;"],
)  # fmt: skip
def test_what_is_no_list_of_extensions_is_refused(header: str) -> None:
    with pytest.raises(HttpError) as caught:
        negotiate(header)
    assert (caught.value.status, caught.value.reason) == (400, "bad_extensions")


def test_a_long_header_is_read_in_linear_time() -> None:
    negotiated = negotiate.__wrapped__
    assert_linear(lambda size: negotiated("x" + " ;a=b" * size), 2000)
    assert_linear(lambda size: negotiated("x," + " ," * size), 4000)

    def refused(size: int) -> None:
        with pytest.raises(HttpError):
            negotiated("x" + " \t" * size + "x")

    assert_linear(refused, 4000)


# -- messages


def squeeze(
    data: bytes, bits: int = 15, level: int = 6, memory: int = 8, mode: int = zlib.Z_SYNC_FLUSH
) -> bytes:
    """What a client sends: compressed by nobody's code but zlib's."""
    made = zlib.compressobj(level, zlib.DEFLATED, -bits, memory)
    return (made.compress(data) + made.flush(mode)).removesuffix(b"\x00\x00\xff\xff")


def packed(payload: bytes, fin: bool = True, opcode: int = 1) -> bytes:
    """A masked frame with RSV1."""
    first = bytes([encode_masked(opcode, b"", MASK, fin)[0] | 0x40])
    return first + encode_masked(opcode, payload, MASK, fin)[1:]


def run(pieces: Sequence[bytes]) -> list[Any]:
    return events(Session(MAX, FRAGMENTS, compression=True), pieces)


HELLO = bytes.fromhex("f248cdc9c90700")  # RFC 7692, 7.2.3.1
FINAL = bytes.fromhex("f348cdc9c90700") + b"\x00"  # 7.2.3.4
TWO_BLOCKS = bytes.fromhex("f248050000 00ffffcac9c90700")  # 7.2.3.5
STORED = bytes.fromhex("000500faff48656c6c6f00")  # 7.2.3.3
NOISE = random.Random(7692).randbytes(MAX)
LONG = b"abc " * 250

MESSAGES: list[tuple[str, bytes, list[Any]]] = [
    ("one frame", packed(HELLO), [Message(1, b"Hello")]),
    ("7.2.3.3 stored", packed(STORED), [Message(1, b"Hello")]),
    ("7.2.3.5 two blocks", packed(TWO_BLOCKS), [Message(1, b"Hello")]),
    ("fragments", packed(HELLO[:3], False) + more(HELLO[3:]), [Message(1, b"Hello")]),
    ("empty fragments", packed(b"", False) + more(HELLO, False) + more(b""),
     [Message(1, b"Hello")]),
    ("a ping between", packed(HELLO[:3], False) + ping(b"p") + more(HELLO[3:]),
     [Ping(b"p"), Message(1, b"Hello")]),
    ("UTF-8 in two fragments", packed(squeeze("ä😀".encode())[:5], False)
     + more(squeeze("ä😀".encode())[5:]), [Message(1, "ä😀".encode())]),
    ("binary", packed(squeeze(b"\xff\0"), opcode=2), [Message(2, b"\xff\0")]),
    ("DF-03 one less than the limit", packed(squeeze(LONG[:-1])), [Message(1, LONG[:-1])]),
    ("DF-03 the limit", packed(squeeze(LONG)), [Message(1, LONG)]),
    ("the limit, of what cannot be made smaller", packed(squeeze(NOISE), opcode=2),
     [Message(2, NOISE)]),
    ("the same in fragments", packed(squeeze(NOISE)[:500], False, 2) + more(squeeze(NOISE)[500:]),
     [Message(2, NOISE)]),
    ("DF-04 much that restores to nothing", packed(b"\x00\x00\x00\xff\xff" * 230 + b"\x00"),
     [Message(1, b"")]),
    ("DF-05 a last block", packed(FINAL), [Message(1, b"Hello")]),
    ("DF-05 a last block and nothing more", packed(FINAL[:-1]), [Message(1, b"Hello")]),
    ("DF-05 a last block, its zero octet apart", packed(FINAL[:-1], False) + more(b"", False)
     + more(b"\x00"), [Message(1, b"Hello")]),
    ("DF-05 a last block that the tail completes", packed(b"\x01"), [Message(1, b"")]),
    ("DF-07 not compressed", text(b"Hello"), [Message(1, b"Hello")]),
    ("DF-07 not compressed, in fragments", text(b"Hel", False) + more(b"lo"),
     [Message(1, b"Hello")]),
    ("DF-08 empty", packed(b"\x00"), [Message(1, b"")]),
    ("DF-08 one byte", packed(squeeze(b"x")), [Message(1, b"x")]),
    ("empty, as zlib flushes it a second time", packed(b""), [Message(1, b"")]),
    ("two messages", packed(HELLO) * 2, [Message(1, b"Hello")] * 2),
]  # fmt: skip


@pytest.mark.parametrize(("data", "expected"), [case[1:] for case in MESSAGES],
                         ids=[case[0] for case in MESSAGES])  # fmt: skip
def test_messages(data: bytes, expected: list[Any]) -> None:
    check(run, data, expected, CANARY, [SERVED])
    check(run, data, expected, packed(HELLO), [Message(1, b"Hello")])


BROKEN = failed(1007, "bad_deflate")
TOO_BIG = failed(1009, "message_too_big")
RESERVED = failed(1002, "reserved_bits")

ENDS: list[tuple[str, bytes, list[Any]]] = [
    ("DF-01 bomb", packed(squeeze(bytes(1 << 19))), [TOO_BIG]),
    ("DF-02 bomb in fragments", packed(squeeze(bytes(1 << 19))[:9], False)
     + more(squeeze(bytes(1 << 19))[9:], False), [TOO_BIG]),
    ("DF-03 one over the limit", packed(squeeze(LONG + b"x")), [TOO_BIG]),
    ("DF-03 one over the limit, in fragments", packed(squeeze(LONG)[:4], False)
     + more(squeeze(LONG + b"x")[4:]), [TOO_BIG]),
    ("a frame over the allowance", packed(bytes(MAX + MAX // 8 + 65))[:4], [TOO_BIG]),
    ("fragments over the allowance", packed(b"\x00\x00\x00\xff\xff" * 230, False)
     + more(b"\x00" * 100)[:2], [TOO_BIG]),
    ("not compressed over the limit", text(b"a" * (MAX + 1))[:4], [TOO_BIG]),
    ("DF-05 two last blocks", packed(FINAL[:-1] * 2), [BROKEN]),
    ("DF-05 bytes behind a last block", packed(FINAL + b"\x00"), [BROKEN]),
    ("DF-05 bytes behind a last block, in fragments", packed(FINAL[:-1], False) + more(b"\x01"),
     [BROKEN]),
    ("DF-06 reserved block type", packed(b"\xff\xff\xff"), [BROKEN]),
    ("DF-06 cut short", packed(squeeze(LONG)[:-2]), [BROKEN]),
    ("DF-06 cut short in a last block", packed(b"\x03"), [BROKEN]),
    ("DF-06 cut short, with room for one character more", packed(bytes.fromhex("936cfafa6f")),
     [BROKEN]),
    ("DF-06 cut short within a stored block", packed(STORED[:7]), [BROKEN]),
    ("DF-06 a reference to before the beginning", packed(bytes.fromhex("03130000")), [BROKEN]),
    ("DF-06 a reference to the message before", packed(HELLO) + packed(bytes.fromhex("f200110000")),
     [Message(1, b"Hello"), BROKEN]),
    ("DF-07 on a continuation", text(b"x", False) + packed(b"x", opcode=0), [RESERVED]),
    ("DF-07 on a continuation of a compressed message", packed(HELLO[:3], False)
     + packed(HELLO[3:], opcode=0), [RESERVED]),
    *((f"DF-07 on a control frame {opcode}", packed(b"", opcode=opcode), [RESERVED])
      for opcode in (8, 9, 10)),
    *((f"WS-12 RSV with deflate {bit:02x}", bytes([0x81 | bit, 0x80]) + MASK, [RESERVED])
      for bit in (0x10, 0x20, 0x50, 0x60, 0x70)),
    ("text that is not UTF-8", packed(squeeze(b"\xff")), [failed(1007, "invalid_utf8")]),
    ("a surrogate, in fragments", packed(squeeze(b"\xed\xa0\x80")[:3], False)
     + more(squeeze(b"\xed\xa0\x80")[3:]), [failed(1007, "invalid_utf8")]),
    ("too many fragments", packed(b"", False) + more(b"", False) * 16,
     [failed(1008, "too_many_fragments")]),
    ("another message within", packed(HELLO[:3], False) + packed(HELLO),
     [failed(1002, "unfinished_message")]),
]  # fmt: skip


@pytest.mark.parametrize(("data", "expected"), [case[1:] for case in ENDS],
                         ids=[case[0] for case in ENDS])  # fmt: skip
def test_ends(data: bytes, expected: list[Any]) -> None:
    check(run, data, expected, CANARY)


def test_without_an_agreement_nothing_may_be_compressed() -> None:
    plain = Session(MAX, FRAGMENTS)
    assert events(plain, [packed(HELLO)]) == [RESERVED]


def test_a_closing_session_skips_compressed_messages() -> None:
    session = Session(MAX, FRAGMENTS, compression=True)
    session.closing()
    assert events(session, [packed(HELLO) + packed(b"\xff\xff") + ping(b"p")]) == [Ping(b"p")]


def test_unmasked_as_a_client_reads_it() -> None:
    session = Session(MAX, FRAGMENTS, masked=False, compression=True)
    sent = encode_compressed(1, HELLO) + encode(1, b"plain")
    assert events(session, bytewise(sent)) == [Message(1, b"Hello"), Message(1, b"plain")]


@given(st.binary(max_size=MAX), cuts, st.integers(9, 15), st.integers(0, 9), st.integers(1, 9))
def test_whatever_zlib_makes_is_restored(
    data: bytes, at: list[int], bits: int, level: int, memory: int
) -> None:
    fragments = cut(squeeze(data, bits, level, memory), at)[:FRAGMENTS] or [b""]
    fragments[-1] = squeeze(data, bits, level, memory)[sum(map(len, fragments[:-1])) :]
    last = len(fragments) - 1
    sent = b"".join(
        packed(part, last == 0, 2) if n == 0 else more(part, n == last)
        for n, part in enumerate(fragments)
    )
    assert run([sent]) == run(cut(sent, at)) == [Message(2, data)]


@given(st.binary(max_size=300), cuts)
def test_df_06_noise_is_restored_or_refused_the_same_however_it_is_cut(
    data: bytes, at: list[int]
) -> None:
    sent = packed(data, opcode=2) + CANARY
    (first, *rest) = run([sent])
    assert isinstance(first, Failed | Message)
    assert rest == ([SERVED] if isinstance(first, Message) else [])
    assert run(cut(sent, at)) == [first, *rest]


def test_df_01_a_bomb_makes_no_more_than_the_limit() -> None:
    bomb = squeeze(bytes(64 << 20))
    assert len(bomb) < 70_000
    session = Session(64 << 10, FRAGMENTS, compression=True)
    session.receive(packed(bomb))
    tracemalloc.start()
    try:
        assert session.next_event() == TOO_BIG
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 400 << 10  # the frame, unmasked, among it


def test_df_04_a_stream_of_nothing_costs_linear_time() -> None:
    def work(size: int) -> None:
        assert Inflater(100).inflate(b"\x00\x00\x00\xff\xff" * size, False) == b""

    assert_linear(work, 10_000)


# -- what is sent


@pytest.mark.parametrize("bits", range(9, MAX_BITS + 1))
def test_each_message_stands_alone(bits: int) -> None:
    deflater = Deflater(bits)
    messages = [b"", b"x", LONG, NOISE, LONG * 100, NOISE * 9, LONG]
    first = [deflater.deflate(data) for data in messages]
    assert [deflater.deflate(data) for data in messages] == first
    for data, made in zip(messages, first, strict=True):
        restored = zlib.decompressobj(-bits)  # its window is no larger than what was agreed
        assert restored.decompress(made + b"\x00\x00\xff\xff") == data


def test_what_we_send_is_what_we_take() -> None:
    session = Session(1 << 20, 1, compression=True)
    for data in (b"", LONG, NOISE, LONG * 300):
        sent = bytearray(encode_compressed(2, Deflater(MAX_BITS).deflate(data)))
        size = {126: 4, 127: 10}.get(sent[1], 2)
        head = bytes([sent[0], sent[1] | 0x80]) + bytes(sent[2:size])
        session.receive(head + MASK + mask_bytes(bytes(sent[size:]), MASK))
        assert session.next_event() == Message(2, data)


def test_an_inflater_names_what_is_wrong() -> None:
    with pytest.raises(ProtocolError) as caught:
        Inflater(10).inflate(b"\xff", True)
    assert (caught.value.code, caught.value.reason) == (1007, "bad_deflate")
