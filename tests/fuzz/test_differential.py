"""What we accept, h11 accepts, and reads the same out of it (HP-62)."""

from __future__ import annotations

from itertools import islice

from tests.corpus import cases
from tests.fuzz import differential
from tests.fuzz.differential import Reading, Result
from tests.fuzz.mutate import HTTP_SCRAPS, http_seeds, mutations

INPUTS = 5000


def test_the_corpus() -> None:
    result = Result()
    for case in cases.load():
        result.compare(case.data)
    assert result.differences == []
    assert result.counts["both accept"] > 100 and result.counts["stricter"] > 100
    unused = [name for name, *_ in differential.LENIENT if not result.counts[f"listed: {name}"]]
    assert unused == [], "nothing in the corpus needs it"


def test_mutations() -> None:
    result = Result()
    for data in islice(mutations(62, http_seeds(), HTTP_SCRAPS, most=3), INPUTS):
        result.compare(data)
    assert result.counts["inputs"] == INPUTS
    assert result.differences == []
    assert result.counts["both accept"] > INPUTS / 20


def test_a_parser_that_takes_or_reads_more_is_found_out() -> None:
    def lenient(data: bytes) -> Reading | str | None:
        return differential.ours(data.replace(b": +", b": ").replace(b"03", b"02"))

    result = Result(lenient)
    for length in (b"3", b"+3", b"03"):
        result.compare(b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: " + length + b"\r\n\r\nabc")
    accepted, misread = result.differences
    assert accepted.what.startswith("accepted; h11: bad Content-Length")
    assert "body=b'ab', rest=b'c'" in misread.what
