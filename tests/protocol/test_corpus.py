"""The corpus of requests (tests/corpus), parser and handshake only: however the bytes are cut.

`tests/wire/test_corpus.py` sends the same files to a daemon.
"""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tests.corpus import cases
from tests.corpus.cases import Case, Parsed
from wsd import reasons
from wsd.protocol.handshake import is_upgrade, negotiate
from wsd.protocol.http import HttpError, Request, RequestParser

from .helpers import bytewise

CANARY = b"GET /canary HTTP/1.1\r\nHost: canary\r\n\r\n"
SERVED = Parsed("GET", "/canary", "/canary", {}, 1, {"host": "canary"}, b"", True)

Outcome = Parsed | tuple[int, str]


def run(pieces: Sequence[bytes]) -> list[Outcome]:
    """What comes of the pieces: requests, and (status, reason) once something is refused."""
    parser = RequestParser()
    outcomes: list[Outcome] = []
    try:
        for piece in pieces:
            parser.feed(piece)
            while (request := parser.next_request()) is not None:
                outcomes.append(parsed(request))
    except HttpError as error:
        outcomes.append((error.status, error.reason))
        assert parser.take_rest() == b"", "something is kept behind an error"
    return outcomes


def parsed(request: Request) -> Parsed:
    return Parsed(*(getattr(request, field) for field in Parsed._fields))


def expected(case: Case) -> list[Outcome]:
    if case.unfinished:
        return []
    return [case.parsed or (case.status, case.reason)]


def places(size: int) -> Sequence[int]:
    """Where to cut: everywhere, or in what is long near both ends and here and there between."""
    if size <= 1000:
        return range(1, size)
    ends = 300 if size < 100_000 else 20
    return [*range(1, ends), *range(ends, size - ends, size // 50), *range(size - ends, size)]


def named(some: list[Case]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("case", some, ids=[case.name for case in some])


@named(list(cases.load()))
def test_however_it_is_cut(case: Case) -> None:  # HP-61
    wanted = expected(case)
    assert run([case.data]) == wanted
    assert run(bytewise(case.data)) == wanted
    for at in places(len(case.data)):
        assert run([case.data[:at], case.data[at:]]) == wanted, at


@named([case for case in cases.load() if not case.unfinished])
def test_what_stands_behind_it(case: Case) -> None:
    wanted = [*expected(case), SERVED] if case.parsed else expected(case)
    assert run([case.data + CANARY]) == wanted
    assert run([case.data, CANARY]) == wanted
    assert run([*bytewise(case.data)[:-1], case.data[-1:] + CANARY]) == wanted


@named([case for case in cases.load() if case.by == "handshake" or case.status == 101])
def test_handshakes(case: Case) -> None:
    parser = RequestParser()
    parser.feed(case.data)
    request = parser.next_request()
    assert request is not None
    if case.status == 101:
        assert is_upgrade(request)
        assert negotiate(request, ["wsd.v1"]).subprotocol == case.subprotocol
        return
    with pytest.raises(HttpError) as caught:
        negotiate(request, ["wsd.v1"])
    assert (caught.value.status, caught.value.reason) == (case.status, case.reason)


def test_the_corpus_is_whole() -> None:
    assert len(cases.bad()) >= 200 and len(cases.good()) >= 60
    ids = {case.name[:5] for case in cases.load()}
    catalogue = [*range(1, 15), *range(20, 28), 34, 35, 36, *range(40, 45), 50, 52, 53, 60]
    assert {f"HP-{number:02}" for number in catalogue} <= ids
    assert {f"HS-{number:02}" for number in (*range(1, 6), 12, 20, 21, *range(30, 37))} <= ids
    data = [case.data for case in cases.load()]
    assert len(set(data)) == len(data), "two cases are the same"


def test_every_reason_of_parser_and_handshake_has_a_case() -> None:
    ours = {case.reason for case in cases.bad()}
    assert ours <= reasons.HTTP.keys()
    elsewhere = {
        "bad_form", "bad_json",  # bodies, once they are there
        "too_many_connections", "too_many_from_address", "restart", "internal",
    }  # fmt: skip
    assert reasons.HTTP.keys() - ours == elsewhere


@pytest.mark.parametrize(("text", "data"), [
    ("", b""), ("a b\\r\\n", b"a b\r\n"), ("\\x00\\xff\\t\\s\\\\", b"\0\xff\t \\"),
    ("\\{3 ab\\n}{}", b"ab\nab\nab\n{}"), ("\\{2 \\x41}\\{0 x}", b"AA"),
])  # fmt: skip
def test_how_bytes_are_written(text: str, data: bytes) -> None:
    assert cases.unescape(text, "here") == data


@pytest.mark.parametrize("text", ["\\q", "\\", "\\xg0", "\\{x}", "\\{2 x", "ä", "\t", "\r"])
def test_what_is_no_way_to_write_bytes(text: str) -> None:
    with pytest.raises(cases.CorpusError, match=r"^here: "):
        cases.unescape(text, "here")
