"""What a WebSocket session makes of frames (RELIABILITY 4.1 and 4.2)."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wsd.protocol.frames import encode_close, encode_masked
from wsd.protocol.session import Closed, Failed, Message, Ping, Pong, Session

from .helpers import assert_linear, bytewise, check, cut, cuts

MASK = bytes.fromhex("a1b2c3d4")
MAX = 1000
FRAGMENTS = 16


def text(data: bytes, fin: bool = True) -> bytes:
    return encode_masked(1, data, MASK, fin)


def more(data: bytes, fin: bool = True) -> bytes:
    return encode_masked(0, data, MASK, fin)


def binary(data: bytes, fin: bool = True) -> bytes:
    return encode_masked(2, data, MASK, fin)


def ping(data: bytes = b"") -> bytes:
    return encode_masked(9, data, MASK)


def close(payload: bytes = b"") -> bytes:
    return encode_masked(8, payload, MASK)


def code(number: int, reason: bytes = b"") -> bytes:
    return close(number.to_bytes(2, "big") + reason)


def failed(number: int, reason: str) -> Failed:
    return Failed(number, reason, encode_close(number, reason))


CANARY = text(b"canary")
SERVED = Message(1, b"canary")


def run(pieces: Sequence[bytes], max_fragments: int = FRAGMENTS) -> list[Any]:
    return events(Session(MAX, max_fragments), pieces)


def events(session: Session, pieces: Sequence[bytes]) -> list[Any]:
    found: list[Any] = []
    for piece in pieces:
        session.receive(piece)
        while (event := session.next_event()) is not None:
            found.append(event)
    return found


CASES: list[tuple[str, bytes, list[Any]]] = [
    ("nothing", b"", []),
    ("text", text(b"hi"), [Message(1, b"hi")]),
    ("empty text", text(b""), [Message(1, b"")]),
    ("UTF-8 text", text("κόσμε 😀".encode()), [Message(1, "κόσμε 😀".encode())]),
    ("binary", binary(b"\xff\0"), [Message(2, b"\xff\0")]),
    ("ping", ping(b"x"), [Ping(b"x")]),
    ("pong", encode_masked(10, b"y", MASK), [Pong(b"y")]),
    ("fragments", text(b"a", False) + more(b"", False) + more(b"b"), [Message(1, b"ab")]),
    ("binary fragments", binary(b"\xff", False) + more(b"\xfe"), [Message(2, b"\xff\xfe")]),
    ("character in two fragments", text(b"\xf0\x9f", False) + more(b"\x98\x80"),
     [Message(1, "😀".encode())]),
    ("empty fragments", text(b"", False) + more(b""), [Message(1, b"")]),
    ("two messages", text(b"a", False) + more(b"b") + binary(b"c", False) + more(b"d"),
     [Message(1, b"ab"), Message(2, b"cd")]),
    ("WS-34 ping between", text(b"a", False) + ping(b"p") + more(b"b"),
     [Ping(b"p"), Message(1, b"ab")]),
    ("WS-30 exactly max", text(b"a" * MAX) + text(b"a" * 400, False) + more(b"b" * 600),
     [Message(1, b"a" * MAX), Message(1, b"a" * 400 + b"b" * 600)]),
    ("WS-31 as many as allowed", text(b"", False) + more(b"", False) * 14 + more(b""),
     [Message(1, b"")]),
]  # fmt: skip


@pytest.mark.parametrize(("data", "expected"), [case[1:] for case in CASES],
                         ids=[case[0] for case in CASES])  # fmt: skip
def test_events(data: bytes, expected: list[Any]) -> None:
    check(run, data, expected, CANARY, [SERVED])


ENDS: list[tuple[str, bytes, list[Any]]] = [
    ("WS-10", CANARY + b"\x81\x00", [SERVED, failed(1002, "not_masked")]),
    ("WS-11", encode_masked(3, b"", MASK), [failed(1002, "bad_opcode")]),
    ("WS-22", close(b"\x03"), [failed(1002, "bad_close_payload")]),
    *((f"WS-23 {number}", code(number), [failed(1002, "bad_close_code")])
      for number in (0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535)),
    *((f"WS-24 {number}", code(number, b"why"), [Closed(number, "why", encode_close(number))])
      for number in (*range(1000, 1004), *range(1007, 1015), 3000, 3999, 4000, 4999)),
    ("WS-24 123 bytes", code(1000, b"x" * 123), [Closed(1000, "x" * 123, b"\x88\x02\x03\xe8")]),
    ("WS-24 bad reason", code(1000, b"\xff"), [failed(1007, "invalid_utf8")]),
    ("WS-24 cut reason", code(1000, b"\xe2\x82"), [failed(1007, "invalid_utf8")]),
    ("close without a code", close(), [Closed(1005, "", b"\x88\x00")]),
    ("7.1.5 close inside a message", text(b"a", False) + code(1000),
     [Closed(1000, "", encode_close(1000))]),
    ("WS-25 after a close", close() + text(b"x") + ping() + b"\xff" * 1000,
     [Closed(1005, "", b"\x88\x00")]),
    ("WS-26 two", code(1000) + code(1001), [Closed(1000, "", encode_close(1000))]),
    ("WS-30 max+1", text(b"a" * (MAX + 1)), [failed(1009, "message_too_big")]),
    ("WS-30 sum", text(b"a" * 400, False) + more(b"b" * 601), [failed(1009, "message_too_big")]),
    ("WS-31 too many", text(b"", False) + more(b"", False) * 16,
     [failed(1008, "too_many_fragments")]),
    ("WS-31 too many bytes", text(b"a", False) + more(b"b", False) * 15 + more(b"c"),
     [failed(1008, "too_many_fragments")]),
    ("WS-34 a text inside", text(b"a", False) + text(b"b"), [failed(1002, "unfinished_message")]),
    ("a binary inside", binary(b"a", False) + binary(b"\xff", False),
     [failed(1002, "unfinished_message")]),
    ("a bad text inside", text(b"a", False) + text(b"\xff"), [failed(1002, "unfinished_message")]),
    ("no start", more(b"a"), [failed(1002, "unexpected_continuation")]),
    ("no start left", text(b"a", False) + more(b"b") + more(b"c"),
     [Message(1, b"ab"), failed(1002, "unexpected_continuation")]),
    ("bad text", CANARY + text(b"a\xff"), [SERVED, failed(1007, "invalid_utf8")]),
    ("unfinished character", text(b"\xe2\x82"), [failed(1007, "invalid_utf8")]),
    ("unfinished in fragments", text(b"\xe2", False) + more(b"\x82", False) + more(b""),
     [failed(1007, "invalid_utf8")]),
]  # fmt: skip


@pytest.mark.parametrize(("data", "expected"), [case[1:] for case in ENDS],
                         ids=[case[0] for case in ENDS])  # fmt: skip
def test_ends(data: bytes, expected: list[Any]) -> None:
    check(run, data, expected, CANARY)


def test_nothing_is_kept_after_the_end() -> None:
    session = Session(MAX, FRAGMENTS)
    assert len(events(session, [close(), *[CANARY] * 3])) == 1
    assert session._reader.next_frame() is None


def test_one_event_at_a_time() -> None:
    session = Session(MAX, FRAGMENTS)
    session.receive(CANARY + b"\x81\x00")
    assert session.next_event() == SERVED  # 5.15: handled before the error behind it is found
    assert isinstance(session.next_event(), Failed)
    assert session.next_event() is None


def test_event_types() -> None:
    (message,) = run([CANARY])
    assert type(message) is Message and (message.opcode, message.data) == (1, b"canary")


# -- after our own Close ---------------------------------------------------------------------


@pytest.mark.parametrize(("data", "expected"), [
    (CANARY + text(b"\xff") + text(b"a", False) + text(b"b") + more(b"") * 99, []),
    (ping(b"p") + code(1000, b"r"), [Ping(b"p"), Closed(1000, "r", b"")]),
    (close(), [Closed(1005, "", b"")]),
    (code(1005), [Failed(1002, "bad_close_code", b"")]),
    (b"\x81\x00", [Failed(1002, "not_masked", b"")]),
    (text(b"a" * (MAX + 1)), [Failed(1009, "message_too_big", b"")]),
])  # fmt: skip
def test_closing(data: bytes, expected: list[Any]) -> None:
    def run_closing(pieces: Sequence[bytes]) -> list[Any]:
        session = Session(MAX, FRAGMENTS)
        session.closing()
        return events(session, pieces)

    check(run_closing, data, expected)


def test_closing_inside_a_message() -> None:
    fragments = text(b"a" * 900, False) + more(b"b" * 50)
    for at in range(1, len(fragments)):
        session = Session(MAX, FRAGMENTS)
        assert events(session, [fragments[:at]]) == []
        session.closing()
        rest = fragments[at:] + text(b"b" * MAX) + close()
        assert events(session, [rest]) == [Closed(1005, "", b"")]


# -- UTF-8 -----------------------------------------------------------------------------------

BAD_TEXTS = [bytes.fromhex(digits) for digits in (
    "80", "bf", "c0", "c080", "c1bf", "c2", "c220", "dfff", "e0", "e080", "e08080", "e09fbf",
    "e282", "e28220", "eda080", "edadbf", "edafbf", "edb080", "edbfbf", "eda0bdedb880", "f0",
    "f08080", "f08fbfbf", "f09f98", "f48fbf", "f4908080", "f5808080", "f888808080",
    "fc8480808080", "fe", "ff", "cebae1bdb9cf83cebcceb5eda080656469746564",
)]  # fmt: skip
GOOD_TEXTS = ["\0", "\x7f", "\x80", "߿", "ࠀ", "\ud7ff", "\ue000", "￾", "￿",
              "\U00010000", "\U0010ffff", "κόσμε", "Hello-µ@ßöäüàá-UTF-8!!"]  # fmt: skip


def fails_at(data: bytes) -> int:
    """The number of bytes after which no continuation could make `data` valid (0: none)."""
    for size in range(1, len(data) + 1):
        try:
            data[:size].decode()
        except UnicodeDecodeError as error:
            rest = data[error.start : size]
            surrogate = rest[:1] == b"\xed" and rest[1:] >= b"\xa0"
            if error.reason != "unexpected end of data" or surrogate:
                return size
    return 0


@pytest.mark.parametrize("bad", BAD_TEXTS, ids=bytes.hex)
def test_ws_33_bad_utf8(bad: bytes) -> None:
    wrong = [failed(1007, "invalid_utf8")]
    for data in (bad, b"a" + bad, bad + b"a", b"ok \xc3\xa4 " + bad + b" end"):
        check(run, text(data), wrong, CANARY)
        for at in range(len(data) + 1):
            frames = text(data[:at], False) + more(data[at:])
            check(run, frames, wrong, CANARY)


@pytest.mark.parametrize("good", GOOD_TEXTS, ids=ascii)
def test_ws_33_good_utf8(good: str) -> None:
    data = good.encode()
    for at in range(len(data) + 1):
        check(run, text(data[:at], False) + more(data[at:]), [Message(1, data)], CANARY, [SERVED])


@pytest.mark.parametrize("bad", BAD_TEXTS, ids=bytes.hex)
def test_6_4_fails_where_the_text_becomes_invalid(bad: bytes) -> None:
    data = "κόσμε".encode() + bad
    place = fails_at(data)
    if not place:  # only its end is missing
        return
    fragmented, whole = Session(MAX, 99), Session(MAX, 99)
    whole.receive(text(data + b"edited")[:6])
    assert fragmented.next_event() is whole.next_event() is None
    for at in range(len(data)):
        fragmented.receive(encode_masked(1 if at == 0 else 0, data[at : at + 1], MASK, False))
        whole.receive(text(data + b"edited")[6 + at : 7 + at])
        for session in (fragmented, whole):
            event = session.next_event()
            assert event == (failed(1007, "invalid_utf8") if at + 1 == place else None)
        if at + 1 == place:
            break


# -- any bytes -------------------------------------------------------------------------------

frames = st.builds(
    encode_masked,
    st.sampled_from([0, 0, 1, 1, 2]),
    st.sampled_from([b"", b"a", b"\xc3", b"\xa4", b"\xed\xa0", b"\xff", b"x" * 130, b"y" * 600])
    | st.binary(max_size=20),
    st.binary(min_size=4, max_size=4),
    st.booleans(),
) | st.builds(
    encode_masked,
    st.sampled_from([8, 9, 9, 10, 10]),
    st.sampled_from([b"", b"\x03\xe8", b"\x03\xe8ok"]) | st.binary(max_size=125),
    st.binary(min_size=4, max_size=4),
)


@settings(max_examples=500, deadline=None)
@given(st.lists(frames, max_size=12), st.binary(max_size=3), cuts)
def test_cutting_changes_nothing(parts: list[bytes], junk: bytes, at: list[int]) -> None:
    data = b"".join(parts) + junk
    whole = run([data], 4)
    assert run(cut(data, at), 4) == whole
    assert run(bytewise(data), 4) == whole
    for event in whole[:-1]:
        assert isinstance(event, Message | Ping | Pong)


def test_ws_27_every_split() -> None:
    rng = random.Random(27)
    session = [CANARY, text("ä😀".encode()), ping(b"x"), binary(b"\xff"), text(b"a", False), ping(),
               more("é".encode()), text(b"z" * 130)]  # fmt: skip
    data = b"".join(session * 5) + code(1000, b"bye")
    whole = run([data])
    assert len(whole) == 36
    assert run(bytewise(data)) == whole
    for at in range(len(data)):
        assert run([data[:at], data[at:]]) == whole
    for _ in range(100):
        assert run(cut(data, [rng.randrange(len(data)) for _ in range(20)])) == whole


def test_ws_35_mutations() -> None:
    rng = random.Random(35)
    seeds = [case[1] for case in (*CASES, *ENDS) if case[1]]
    for _ in range(10_000):
        data = bytearray(rng.choice(seeds)[:300] + rng.choice(seeds)[:300])
        for _ in range(rng.randrange(1, 4)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        session = Session(MAX, FRAGMENTS)
        found = events(session, [bytes(data)])
        if found and isinstance(found[-1], Failed):
            assert found[-1].code in (1002, 1007, 1008, 1009)
            assert events(session, [CANARY]) == []  # never open again


def test_ws_31_32_linear() -> None:
    def session_of(size: int, pieces: Sequence[bytes]) -> None:
        (message,) = events(Session(size, size + 2), pieces)
        assert len(message.data) == size

    assert_linear(lambda n: session_of(n, bytewise(text(b"a" * n))), 1 << 12)
    assert_linear(lambda n: session_of(n, bytewise(binary(b"a" * n))), 1 << 12)
    assert_linear(
        lambda n: session_of(n, [text(b"", False) + more(b"a", False) * n + more(b"")]), 1 << 12
    )


@pytest.mark.parametrize(
    ("data", "unfinished"),
    [
        (b"", False),
        (text(b"hi"), False),
        (text(b"hi")[:1], True),
        (text(b"hi")[:-1], True),
        (text(b"hi") + ping()[:3], True),
        (text(b"a", False), True),
        (text(b"a", False) + ping(), True),
        (text(b"a", False) + more(b"b"), False),
        (code(1000), False),
    ],
)
def test_sl_11_whether_something_is_unfinished(data: bytes, unfinished: bool) -> None:
    for pieces in ([data], bytewise(data)):
        session = Session(MAX, FRAGMENTS)
        events(session, pieces)
        assert session.unfinished is unfinished


@pytest.mark.parametrize(
    ("data", "idle"),
    [
        (b"", True),
        (text(b"whole"), True),
        (text(b"a", False) + more(b"b"), True),
        (ping(b"x"), True),
        (text(b"whole")[:4], False),
        (text(b"a", False), False),
        (text(b"whole") + text(b"next")[:1], False),
        (b"\xf1\x80abcd", False),  # it ended
    ],
)
def test_whether_it_may_serve_another_client(data: bytes, idle: bool) -> None:
    session = Session(MAX, FRAGMENTS)
    events(session, [data])
    assert session.idle is idle
    session.closing()
    assert not session.idle


def test_it_is_not_idle_while_something_waits_to_be_taken() -> None:
    session = Session(MAX, FRAGMENTS)
    session.receive(text(b"one") + text(b"two"))
    for idle in (False, False, True):
        assert session.idle is idle
        session.next_event()
