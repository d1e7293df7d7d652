"""One event, one line, whatever is in it (RELIABILITY LG-01 to LG-04)."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.parts import Site
from tests.support.parts import make_site as make_site
from tests.support.parts import site as site
from wsd import logs

HOSTILE = [
    "a\nb", "a\rb", "a\r\n2026-01-01T00:00:00.000Z error hub forged", "\x1b[2J", "\x9b31m", "a\0b",
    "\u2028", "\u2029", "\u0085", "\x0b\x0c\x1c\x1d\x1e", "\u202eevil", "\u2066x\u2069", "\x7f",
    "\u200b", "\ufeff", "é 张 😀", "\ud800", 'quo"te', "back\\slash", "a=b", "", " ",
    "%s %d {} %(x)s", "x" * 10_000,
]  # fmt: skip


@pytest.fixture
def stream(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """What is written to standard error; the logger is put back as it was afterwards."""
    logger = logging.getLogger("wsd")
    before = logger.handlers[:], logger.level, logger.propagate, logging.raiseExceptions
    stream = io.StringIO()
    handler = logging.StreamHandler
    # Not sys.stderr, which pytest sets anew for each phase of a test.
    monkeypatch.setattr(logging, "StreamHandler", lambda: handler(stream))
    yield stream
    logger.handlers[:], logger.level, logger.propagate, logging.raiseExceptions = before


def lines(stream: io.StringIO) -> list[str]:
    text = stream.getvalue()
    stream.seek(0)
    stream.truncate()
    assert text.endswith("\n")
    found = text.splitlines()
    assert len(found) == text.count("\n")  # splitlines knows more line ends than \n
    return found


def plain(line: str) -> bool:
    return line.isascii() and line.isprintable()


@pytest.mark.parametrize("value", HOSTILE)
@pytest.mark.parametrize("format_", ["text", "json"])
def test_lg_01_any_field_stays_in_one_line(stream: io.StringIO, format_: str, value: str) -> None:
    logs.setup("info", format_, "worker 0")
    logs.event(logs.info, "happened", detail=value, nested=[value, {value: value}])
    (line,) = lines(stream)
    assert plain(line)
    if format_ == "json":
        assert json.loads(line)["detail"] == value
        assert json.loads(line)["nested"] == [value, {value: value}]
    else:
        assert " worker.0 happened detail=" in line


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
@given(st.one_of(st.text(), st.binary(), st.integers(), st.none(), st.lists(st.text())))
def test_lg_02_any_value(stream: io.StringIO, value: object) -> None:
    for format_ in ("text", "json"):
        logs.setup("info", format_, "hub")
        logs.event(logs.warning, "x", value=value)
        (line,) = lines(stream)
        assert plain(line)
        if format_ == "json":
            json.loads(line)


def test_text(stream: io.StringIO) -> None:
    logs.setup("info", "text", "worker 0")
    logs.event(logs.info, "ready", pid=17, how="all well", empty="")
    (line,) = lines(stream)
    time, rest = line.split(" ", 1)
    assert len(time) == len("2026-01-01T00:00:00.000Z") and time[-1] == "Z"
    assert rest == 'info worker.0 ready pid=17 how="all well" empty=""'


def test_json(stream: io.StringIO) -> None:
    logs.setup("info", "json", "hub")
    logs.event(logs.error, "storage", detail="disk full", n=3)
    record = json.loads(lines(stream)[0])
    del record["time"]
    assert record == {
        "level": "error", "process": "hub", "event": "storage", "detail": "disk full", "n": 3,
    }  # fmt: skip


@pytest.mark.parametrize("format_", ["text", "json"])
def test_a_traceback_is_one_line(stream: io.StringIO, format_: str) -> None:
    logs.setup("info", format_, "hub")
    try:
        raise ValueError("first\nsecond\x1b[2J")
    except ValueError:
        logs.exception("crashed", child="x")
    (line,) = lines(stream)
    assert plain(line)
    assert "ValueError" in line and "test_logs.py" in line and "first\\nsecond" in line


def test_levels(stream: io.StringIO) -> None:
    logs.setup("warning", "text", "hub")
    logs.event(logs.info, "quiet")
    logs.event(logs.warning, "loud")
    assert len(lines(stream)) == 1
    logs.setup("debug", "text", "hub")  # again, after a reload: one handler, not two
    logs.event(logs.debug, "louder")
    assert len(lines(stream)) == 1


def test_lg_03_texts_are_no_format(stream: io.StringIO) -> None:
    logs.setup("info", "text", "hub")
    logs.event(logs.info, "100%s {0} %(process)s")
    assert "100%s {0} %(process)s" in lines(stream)[0]


def test_lg_06_a_closed_standard_error_is_survived(monkeypatch: pytest.MonkeyPatch) -> None:
    logger = logging.getLogger("wsd")
    before = logger.handlers[:], logger.level, logger.propagate, logging.raiseExceptions
    stream = io.StringIO()
    handler = logging.StreamHandler
    monkeypatch.setattr(logging, "StreamHandler", lambda: handler(stream))
    logs.setup("info", "text", "hub")
    stream.close()
    logs.event(logs.info, "nobody hears")
    logger.handlers[:], logger.level, logger.propagate, logging.raiseExceptions = before


def test_lg_04_no_token_and_no_text_is_logged(stream: io.StringIO, site: Site) -> None:
    logs.setup("debug", "text", "worker 0")
    client = site.join(name="Planted Name")
    token = client.welcome["token"]
    secret = "planted words"
    client.ask(type="say", id=1, room="lobby", text=secret, cid="planted-cid")
    client.ask(type="edit", room="lobby", seq=1, text=secret)
    client.ask(type="say", id=2, room="lobby", text=secret * 200)
    client.ask_raw(b'{"type":"say","token":"%s","text":"%s"}' % (token.encode(), secret.encode()))
    client.ask(type="nonsense", token=token, text=secret)
    again = site.join(token=token[:-1] + "x")
    again.ws.wire.send(b"\xff" * 10)
    site.socket().ask(f"GET /?token={token} HTTP/1.1\r\nX: {token}\r\n\r\n".encode())
    client.close()
    site.settle()
    text = stream.getvalue()
    assert "refused" in text and "closed" in text and "rejected" in text
    for word in (token, "planted", "Planted"):
        assert word not in text


# -- storms


def test_lg_05_a_storm_of_one_reason_is_a_few_lines_and_a_count(
    stream: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr(logs.time, "monotonic", lambda: now)
    monkeypatch.setattr(logs, "_buckets", {})
    logs.setup("info", "json", "worker 0")
    for _ in range(100_000):
        logs.limited(logs.info, "rejected", "bad_host", status=400)
    written = [json.loads(line) for line in lines(stream)]
    assert len(written) == logs.LINES_AT_ONCE
    assert written[0]["reason"] == "bad_host" and written[0]["status"] == 400
    assert all("suppressed" not in line for line in written)
    logs.limited(logs.info, "rejected", "missing_host")  # another reason has lines of its own
    assert json.loads(*lines(stream))["reason"] == "missing_host"
    now += logs.LINE_EVERY_S
    for _ in range(5):
        logs.limited(logs.info, "rejected", "bad_host", status=400)
    (line,) = lines(stream)
    assert json.loads(line)["suppressed"] == 100_000 - logs.LINES_AT_ONCE
    now += logs.LINE_EVERY_S
    logs.limited(logs.info, "rejected", "bad_host", status=400)
    assert json.loads(*lines(stream))["suppressed"] == 4


def test_what_is_below_the_level_is_not_counted_as_suppressed(
    stream: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "_buckets", {})
    logs.setup("info", "text", "worker 0")
    for _ in range(1000):
        logs.limited(logs.debug, "refused", "rate")
    logs.setup("debug", "text", "worker 0")
    logs.limited(logs.debug, "refused", "rate")
    (line,) = lines(stream)
    assert "suppressed" not in line
