"""What another reader of JSON takes otherwise is refused (RELIABILITY 4.14, PY-01 to PY-09)."""

from __future__ import annotations

import json
import time
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsd.strict_json import MAX_DEPTH, MAX_INTEGER, JsonError, decode

KIB = 1024
SIZE = 64 * KIB  # the default of limits.message


class Say(msgspec.Struct, tag="say"):
    room: str = ""
    text: str = ""
    id: int | None = None


_as_anything = msgspec.json.Decoder().decode
_as_say = msgspec.json.Decoder(Say).decode


def refused(data: bytes) -> str:
    """The words for ``data``; "" if it is taken."""
    try:
        decode(data, _as_anything)
    except JsonError as error:
        return str(error)
    return ""


def nested(opening: str, closing: str, depth: int) -> bytes:
    return (opening * depth + "1" + closing * depth).encode()


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}"), ('[{"a":', "}]")])
def test_py_01_depth(opening: str, closing: str) -> None:
    levels = opening.count("[") + opening.count("{")
    assert not refused(nested(opening, closing, MAX_DEPTH // levels))
    for depth in (MAX_DEPTH // levels + 1, 1000, 100_000):
        assert refused(nested(opening, closing, depth)) == "at most 32 levels of nesting"


def test_py_01_brackets_in_strings_and_side_by_side_are_no_depth() -> None:
    assert not refused(json.dumps({"text": "[{" * 1000}).encode())
    assert not refused(json.dumps({"text": '\\"[{' * 1000}).encode())
    assert not refused(json.dumps([[], {}] * 1000).encode())


def test_py_01_brackets_that_do_not_end() -> None:
    for data in (b"[" * 100_000, b'{"a":' * 20_000, b"]" * 100, b'["' + b"[" * 100, b"}{" * 100):
        assert refused(data)


@pytest.mark.parametrize(
    "text", [r'"\ud800"', r'"\udfff"', r'"\ude00\ud83d"', r'{"\ud800":1}', r'"a\uD83Dxx"',
             '"\xed\xa0\x80"'],
)  # fmt: skip
def test_py_02_lone_surrogates(text: str) -> None:
    assert refused(text.encode("latin-1"))
    assert refused(f'{{"type":"say","x":{text}}}'.encode("latin-1"))


def test_py_02_pairs_of_them_are_characters() -> None:
    assert decode(rb'"\ud83d\ude00"', _as_anything) == "😀"


@pytest.mark.parametrize("shape", ["%s", '{"id":%s}', '{"x":{"y":%s}}', '{"a":[%s,1]}'])
@pytest.mark.parametrize(
    "number",
    [MAX_INTEGER + 1, -MAX_INTEGER - 1, 2**63, 2**64, -(2**63) - 1, 10**400,
     "9" * 5000, "NaN", "Infinity", "-Infinity", "1e999", "-1e309", "1e400", "01", "+1", "0x1"],
)  # fmt: skip
def test_py_03_py_04_py_05_numbers(shape: str, number: object) -> None:
    assert refused((shape % number).encode())


@pytest.mark.parametrize(
    "number", [MAX_INTEGER, -MAX_INTEGER, 0, -0.0, 1.5, 1e300, 1e-300, "1E+22", "1e-999",
               "0.12345678901234567890"],
)  # fmt: skip
def test_numbers_that_everybody_reads_alike(number: object) -> None:
    assert not refused(f'{{"id":{number}}}'.encode())


def test_long_numbers_in_a_text_are_text() -> None:
    assert not refused(b'{"text":"12345678901234567890 1e999 NaN"}')


@pytest.mark.parametrize(
    "text",
    [
        '{"a":1,"a":1}', '{"a":1,"b":2,"a":3}', '{"a":1,"\\u0061":2}', '{"x":{"a":1,"a":2}}',
        '[{"a":1,"a":2}]', '{ "a" : 1 , "a" : 2 }', '{"type":"say","text":"a","text":"b"}',
        '{"a":"\\":","a":1}', '{"a":"\\":\\":","b":1,"a":""}', '{"":1,"":2}',
        '{"room":"lobby","text":"x","room":"tech"}',
    ],
)  # fmt: skip
def test_py_07_names_that_come_twice(text: str) -> None:
    assert refused(text.encode()).endswith("comes twice")


@pytest.mark.parametrize(
    "text",
    [
        '{"a":1,"b":{"a":1}}', '[{"a":1},{"a":1}]', '{"a":"a","b":"a"}', '{"a":"\\"a\\":1"}',
        '{"a":"\\",\\"a\\":"}', "{}", '{"a":null,"A":null}', ' {"a":true}\n',
    ],
)  # fmt: skip
def test_names_that_only_seem_to(text: str) -> None:
    assert not refused(text.encode())


@pytest.mark.parametrize("value", ["true", '"5"', "1.0", "1e2", "[1]", "null1", "1.5"])
def test_py_08_nothing_else_is_an_integer(value: str) -> None:
    with pytest.raises(JsonError):
        decode(f'{{"type":"say","id":{value}}}'.encode(), _as_say)


@pytest.mark.parametrize(
    "data",
    [b"", b" ", b"{", b"}", b'{"a"}', b'{"a":1,}', b"{'a':1}", b'{"a":1} x', b'\xef\xbb\xbf{"a":1}',
     b'"\xff"', b'"\x01"', b'{"a":1}{"a":1}', b"\x00", b'"', b'"\\', b'{"a":"\\x"}',
     '{"a":1}'.encode("utf-16")],
)  # fmt: skip
def test_what_is_no_json_is_refused_by_whoever_decodes_it(data: bytes) -> None:
    assert refused(data)


def test_a_value_of_the_wrong_kind_is_named() -> None:
    with pytest.raises(JsonError, match=r"Expected `str`, got `int` - at `\$.room`"):
        decode(b'{"type":"say","room":1}', _as_say)


LONG = {
    "nested": b'{"a":' * (SIZE // 5),
    "open": b"[" * SIZE,
    "arrays": b"[" + b"[]," * (SIZE // 3) + b"1]",
    "objects": b"[" + b'{"a":1},' * (SIZE // 8) + b"1]",
    "deep and wide": b"[" * 31 + b'"[",' * (SIZE // 4) + b"1" + b"]" * 31,
    "escapes": b'{"type":"say","text":"' + b"\\n" * (SIZE // 2) + b'"}',
    "unicode escapes": b'{"type":"say","text":"' + rb"\ud83d\ude00" * (SIZE // 12) + b'"}',
    "quotes": b'{"type":"say","text":"' + b'\\":' * (SIZE // 3) + b'"}',
    "quotes without end": b'{"type":"say","text":"' + b'\\"' * (SIZE // 2),
    "brackets, then that": b"[" * 40 + b'"' + b'\\"' * (SIZE // 2),
    "names": b"{" + b",".join(b'"%d":1' % i for i in range(SIZE // 9)) + b"}",
    "one name": b"{" + b'"a":1,' * (SIZE // 6) + b'"a":1}',
    "names, one of them twice": b"{" + b"".join(b'"%d":1,' % i for i in range(7000)) + b'"7":1}',
    "digits": b'{"id":' + b"9" * SIZE + b"}",
    "decimals": b'{"id":0.' + b"9" * SIZE + b"}",
    "spaces": b"{" + b" " * SIZE + b"}",
    "commas": b'{"a":1' + b" ," * (SIZE // 2),
    "minus": b"[" + b"-" * SIZE,
}  # fmt: skip


@pytest.mark.parametrize("name", LONG)
def test_py_09_nothing_of_64_kib_takes_long(name: str) -> None:
    """Under 5 ms each on an idle machine; what is quadratic takes a hundred times as long."""
    best = 1.0
    for _ in range(5):  # a busy machine makes one slow, not all
        began = time.process_time()
        refused(LONG[name])
        best = min(best, time.process_time() - began)
    assert best < 0.020


def json_values() -> st.SearchStrategy[Any]:
    leaves = (
        st.none() | st.booleans() | st.text(max_size=10)
        | st.integers(-MAX_INTEGER, MAX_INTEGER) | st.floats(allow_nan=False, allow_infinity=False)
    )  # fmt: skip
    return st.recursive(
        leaves,
        lambda inner: (
            st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=5), inner, max_size=5)
        ),
        max_leaves=20,
    )


@given(json_values(), st.booleans(), st.sampled_from([(",", ":"), (", ", ": "), (" ,\n", " :\t")]))
def test_all_other_json_is_taken_as_it_is(
    value: Any, ascii_: bool, separators: tuple[str, str]
) -> None:
    text = json.dumps(value, ensure_ascii=ascii_, separators=separators)
    assert decode(text.encode(), _as_anything) == value


@given(
    st.lists(st.tuples(st.sampled_from("abc"), json_values()), max_size=5),
    st.sampled_from([(",", ":"), (", ", ": ")]),
)
def test_objects_are_taken_exactly_if_their_names_differ(
    members: list[tuple[str, Any]], separators: tuple[str, str]
) -> None:
    comma, colon = separators
    written = (f'"{name}"{colon}{json.dumps(value)}' for name, value in members)
    data = ("{" + comma.join(written) + "}").encode()
    twice = len({name for name, _ in members}) < len(members)
    assert bool(refused(data)) == twice


@given(st.binary(max_size=60) | st.text(alphabet='{}[]":,\\1ea .', max_size=40).map(str.encode))
def test_whatever_comes_there_is_a_value_or_the_one_error(data: bytes) -> None:
    try:
        value = decode(data, _as_anything)
    except JsonError:
        return
    assert json.loads(data) == value  # and nobody else reads it otherwise
