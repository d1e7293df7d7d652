"""What must hold whatever bytes come, for each thing that reads bytes of strangers.

A target takes any bytes and raises AssertionError, or whatever a bug raises. The first byte says
how the rest is used (small limits, the other role), so that a fuzzer finds out what it does.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from ipaddress import ip_address
from typing import Any, NamedTuple

from tests.corpus import cases
from tests.fuzz.mutate import FRAME_SCRAPS, HTTP_SCRAPS
from wsd import reasons
from wsd.protocol import handshake
from wsd.protocol.deflate import Inflater
from wsd.protocol.frames import CloseCode, Opcode, ProtocolError, encode, encode_masked
from wsd.protocol.http import (
    REASONS,
    HttpError,
    HttpLimits,
    Request,
    RequestParser,
    error_response,
)
from wsd.protocol.proxy import LONGEST, ProxyError, ProxyParser
from wsd.protocol.session import Closed, Event, Failed, Message, Session


class Target(NamedTuple):
    check: Callable[[bytes], None]
    seeds: Callable[[], list[bytes]]
    scraps: Sequence[bytes]


def cut(data: bytes) -> list[bytes]:
    """`data` in three pieces; where it is cut depends on nothing but the data."""
    mixed = zlib.crc32(data)
    first, second = sorted((mixed % (len(data) + 1), (mixed >> 12) % (len(data) + 1)))
    return [data[:first], data[first:second], data[second:]]


def ways_to_cut(data: bytes) -> Iterator[list[bytes]]:
    yield cut(data)
    if len(data) <= 100:  # what is longer differs in nothing but time
        yield [data[at : at + 1] for at in range(len(data))]


# -- HTTP

SMALL = HttpLimits(60, 60, 120, 5, 40, 10)


def check_http(data: bytes) -> None:
    """Requests or the documented error, the same however the bytes are cut."""
    if not data:
        return
    limits, data = SMALL if data[0] & 1 else HttpLimits(), data[1:]
    whole = http_outcomes([data], limits)
    for pieces in ways_to_cut(data):
        assert http_outcomes(pieces, limits) == whole


def http_outcomes(pieces: Sequence[bytes], limits: HttpLimits) -> list[Any]:
    parser = RequestParser(limits)
    outcomes: list[Any] = []
    try:
        for piece in pieces:
            parser.feed(piece)
            while (request := parser.next_request()) is not None:
                outcomes.append(_request_outcome(request, limits))
    except HttpError as error:
        outcomes.append(_error_outcome(error))
        assert parser.take_rest() == b"", "something is kept behind an error"
    return outcomes


def _request_outcome(request: Request, limits: HttpLimits) -> tuple[Any, ...]:
    assert len(request.body) <= limits.body
    assert len(request.headers) <= limits.header_count
    path = request.path
    assert path == "*" or (path.startswith("/") and not path.startswith("//"))
    assert not {".", ".."} & set(path.split("/")) and "\\" not in path
    for name, value in request.headers.items():
        assert name and name == name.lower() and not _CONTROLS & set(name)
        assert value == value.strip(" \t") and not _CONTROLS & set(value) - {"\t"}
    return (
        request.method, request.target, path, request.query, request.minor, request.headers,
        request.body, request.keep_alive, _handshake_outcome(request),
    )  # fmt: skip


_CONTROLS = {chr(code) for code in (*range(32), 127)}


def _handshake_outcome(request: Request) -> tuple[Any, ...]:
    if not handshake.is_upgrade(request):
        return ()
    assert not request.body and request.headers.get("transfer-encoding") is None
    try:
        agreed = handshake.negotiate(request, ["wsd.v1"], compression=True)
    except HttpError as error:
        return _error_outcome(error)
    assert handshake.response(agreed).count(b"\r\n\r\n") == 1
    return agreed.accept, agreed.subprotocol, agreed.deflate


def _error_outcome(error: HttpError) -> tuple[Any, ...]:
    assert error.status in REASONS and error.reason in reasons.HTTP
    assert error_response(error).startswith(b"HTTP/1.1 %d " % error.status)
    return error.status, error.reason


def http_seeds() -> list[bytes]:
    seeds = [case.data for case in cases.load() if len(case.data) < 600]
    return [mode + data for data in seeds for mode in (b"\0", b"\1")]


# -- frames

MESSAGE, FRAGMENTS = 300, 4
CANARY = {True: encode_masked(Opcode.TEXT, b"x", b"mask"), False: encode(Opcode.TEXT, b"x")}


def check_frames(data: bytes) -> None:
    """Events, the same however the bytes are cut; nothing after an end."""
    if not data:
        return
    mode, data = data[0], data[1:]
    whole = frame_outcomes([data], mode)
    for pieces in ways_to_cut(data):
        assert frame_outcomes(pieces, mode) == whole


def frame_outcomes(pieces: Sequence[bytes], mode: int) -> list[Event]:
    masked, closing, compression = not mode & 1, bool(mode & 2), bool(mode & 4)
    session = Session(MESSAGE, FRAGMENTS, masked, compression)
    if closing:
        session.closing()
    events: list[Event] = []
    for piece in (*pieces, b""):
        session.receive(piece)
        while (event := session.next_event()) is not None:
            check_event(event, closing)
            events.append(event)
    if events and isinstance(events[-1], Failed | Closed):
        session.receive(CANARY[masked])
        assert session.next_event() is None, "open after the end"
    return events


def check_event(event: Event, closing: bool) -> None:
    if isinstance(event, Message):
        assert not closing and len(event.data) <= MESSAGE
        if event.opcode == Opcode.TEXT:
            event.data.decode()
    elif isinstance(event, Failed):
        assert event.code in _FAILURES and event.reason in _REASONS
    if isinstance(event, Failed | Closed):
        assert event.reply == b"" if closing else 2 <= len(event.reply) <= 127


_FAILURES = {
    CloseCode.PROTOCOL_ERROR, CloseCode.INVALID_DATA, CloseCode.POLICY_VIOLATION,
    CloseCode.MESSAGE_TOO_BIG,
}  # fmt: skip
_REASONS = reasons.CLOSED.keys() | {"masked"}  # which only a client can complain of


def frame_seeds() -> list[bytes]:
    """Sessions of every kind of frame, from both sides."""
    texts = [b"hello", "ä😀".encode(), b"x" * 130, b"\xed\xa0\x80", b""]
    parts = [(1, text, True) for text in texts]
    parts += [(2, b"\0\xff", True), (9, b"ping", True), (10, b"", True), (8, b"\x03\xe8bye", True)]
    fragments = [(1, b"\xc3", False), (9, b"", True), (0, b"\xa4", False), (0, b"", True)]
    sessions = [[part] for part in parts] + [fragments, [(0, b"", False)] * 6, parts]
    seeds = []
    for session in sessions:
        clients = b"".join(encode_masked(op, data, b"mask", fin) for op, data, fin in session)
        servers = b"".join(encode(op, data, fin) for op, data, fin in session)
        seeds += [b"\0" + clients, b"\2" + clients, b"\1" + servers, b"\3" + servers]
    for stream in deflate_streams():
        for parts in ([stream], [stream[:4], stream[4:]]):
            frames = b"".join(
                encode_masked(0 if n else 1, part, b"mask", n == len(parts) - 1)
                for n, part in enumerate(parts)
            )
            seeds.append(b"\4" + bytes([frames[0] | 0x40]) + frames[1:])
    return seeds


# -- compressed messages


def check_inflater(data: bytes) -> None:
    """What zlib restores, or the documented error, however a message is cut into fragments."""
    if not data:
        return
    limit, data = 2 * data[0], data[1:]
    whole = inflater_outcome([data], limit)
    for pieces in ways_to_cut(data):
        assert inflater_outcome(pieces, limit) == whole
    if whole is not None and data:
        assert zlib.decompressobj(-15).decompress(data + _TAIL) == whole


def inflater_outcome(pieces: Sequence[bytes], limit: int) -> bytes | None:
    """None for a message that is refused; which of two reasons comes first may differ."""
    inflater = Inflater(limit)
    restored = b""
    try:
        for piece in pieces:
            restored += inflater.inflate(piece, False)
            assert len(restored) <= limit
        restored += inflater.inflate(b"", True)
    except ProtocolError as error:
        assert (error.code, error.reason) in {
            (CloseCode.INVALID_DATA, "bad_deflate"), (CloseCode.MESSAGE_TOO_BIG, "message_too_big"),
        }  # fmt: skip
        return None
    assert len(restored) <= limit
    return restored


_TAIL = b"\x00\x00\xff\xff"


def deflate_streams() -> list[bytes]:
    """Every kind of block, windows of several sizes, and ends of several kinds."""
    streams = [
        b"",
        b"\x00",
        bytes.fromhex("f248cdc9c90700"),
        bytes.fromhex("f348cdc9c9070000"),
        bytes.fromhex("000500faff48656c6c6f00"),
        b"\x00\x00\x00\xff\xff" * 4 + b"\x00",
    ]
    for text in (b"hello hello hello", "ä😀".encode() * 40, bytes(3000), bytes(range(256))):
        for level, bits, strategy in ((6, 15, 0), (0, 9, 0), (9, 12, zlib.Z_FIXED)):
            made = zlib.compressobj(level, zlib.DEFLATED, -bits, 8, strategy)
            streams.append((made.compress(text) + made.flush(zlib.Z_SYNC_FLUSH))[:-4])
    return streams


def inflater_seeds() -> list[bytes]:
    return [bytes([limit]) + stream for stream in deflate_streams() for limit in (1, 250)]


DEFLATE_SCRAPS = (
    b"\0\0\xff\xff", b"\0\0\0\xff\xff", b"\3\0", b"\0", b"\xf2\x48", b"\1\1\0\xfe\xff",
)  # fmt: skip


# -- the PROXY protocol


def check_proxy(data: bytes) -> None:
    """An address and where the header ends, or the documented error, however the bytes are cut."""
    whole = proxy_outcome([data])
    for pieces in ways_to_cut(data):
        assert proxy_outcome(pieces) == whole


def proxy_outcome(pieces: Sequence[bytes]) -> str | tuple[str, int] | None:
    """(address, bytes of the header), the reason of an error, or None if something is missing."""
    parser = ProxyParser()
    taken = 0
    try:
        for piece in pieces:
            used = parser.feed(piece)
            assert 0 <= used <= len(piece)
            taken += used
            if (source := parser.next_source()) is not None:
                assert not source or ip_address(source)
                return source, taken
            assert used == len(piece), "bytes are given back although the header goes on"
    except ProxyError as error:
        assert error.reason in reasons.CLOSED
        return error.reason
    assert taken <= LONGEST
    return None


def proxy_seeds() -> list[bytes]:
    lines = [
        b"PROXY TCP4 192.0.2.1 192.0.2.2 4711 443\r\nGET /", b"PROXY UNKNOWN\r\n",
        b"PROXY TCP6 2001:db8::1 ::1 1 65535\r\n", b"PROXY UNKNOWN anything at all\r\n",
    ]  # fmt: skip
    start = b"\r\n\r\n\0\r\nQUIT\n"
    addresses = {0x11: bytes(range(12)), 0x21: bytes(range(36)), 0x31: bytes(216), 0: b""}
    blocks = [
        start + bytes((command, kind)) + len(block).to_bytes(2, "big") + block + b"GET /"
        for command in (0x20, 0x21)
        for kind, block in (*addresses.items(), (0x11, bytes(12) + b"\x04\0\1x"))
    ]
    return lines + blocks


PROXY_SCRAPS = (
    b"\r\n", b" ", b"PROXY ", b"TCP4", b"UNKNOWN", b"65536", b"::", b"\x21\x11", b"\0\x0c",
)  # fmt: skip

TARGETS = {
    "http": Target(check_http, http_seeds, HTTP_SCRAPS),
    "frames": Target(check_frames, frame_seeds, FRAME_SCRAPS),
    "inflater": Target(check_inflater, inflater_seeds, DEFLATE_SCRAPS),
    "proxy": Target(check_proxy, proxy_seeds, PROXY_SCRAPS),
}
