"""What follows a refusal, and what an answer never is: where a file of the corpus does not do."""

from __future__ import annotations

import random
import socket
import time

import pytest

from tests.support.raw import Raw, frame, handshake

CANARY = b"GET /static/icon.svg HTTP/1.1\r\nHost: a\r\n\r\n"


# -- the end


def test_hs_11_nothing_is_served_to_who_goes_on_after_a_refusal(raw):
    """A proxy that took the refusal for a tunnel sends its next client's bytes here."""
    for refused, status in (
        (handshake().replace(b"Version: 13", b"Version: 14"), 426),
        (handshake(extra="Origin: https://evil.example\r\n"), 403),
    ):
        one = raw().send(refused)
        assert one.answer().status == status
        for _ in range(20):
            try:
                one.send(frame(1, b'{"type":"hello"}') + CANARY)
            except ConnectionError:  # it had had enough
                break
            time.sleep(0.005)
        assert one.rest() == b""


def test_hp_32_who_comes_too_many_is_not_served_behind_that(make_daemon):
    daemon = make_daemon(workers=1, limits__connections=1)
    with Raw((daemon.host, daemon.port)) as first:
        first.upgrade()
        for opening in (handshake(), CANARY, b""):
            with Raw((daemon.host, daemon.port)) as one:
                one.send(opening + CANARY)
                answer = one.answer()
                assert (answer.status, answer.headers["connection"]) == (503, "close")
                assert one.rest() == b""


def test_hp_32_a_room_that_cannot_be_and_what_follows(raw):
    one = raw().send(handshake("/chat?room=a/b") + CANARY)
    assert one.answer().status == 400
    assert one.rest() == b""


def test_hp_60_a_mebibyte_of_anything_is_let_go_at_once(raw):
    rng = random.Random(60)
    for _ in range(5):
        one = raw()
        one.sock.settimeout(5.0)
        began = time.monotonic()
        try:
            one.send(rng.randbytes(1 << 20))
            one.sock.shutdown(socket.SHUT_WR)
        except ConnectionError:
            pass
        assert one.answer().status in (400, 414)
        assert one.rest() == b""
        assert time.monotonic() - began < 4.0


# -- 100 Continue


def head(*lines: str, start: str = "POST /send HTTP/1.1") -> bytes:
    return "\r\n".join((start, "Host: a", "Expect: 100-continue", *lines, "", "")).encode()


@pytest.mark.parametrize(("framing", "body"), [
    ("Content-Length: 2", b"{}"), ("Transfer-Encoding: chunked", b"2\r\n{}\r\n0\r\n\r\n"),
])  # fmt: skip
def test_hp_14_the_body_is_asked_for_and_then_answered(raw, framing, body):
    one = raw().send(head(framing))
    assert one.until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    answer = one.send(body + CANARY).answer()
    assert answer.status == 400 and b"commands" in answer.body
    assert one.answer().status == 200


@pytest.mark.parametrize(("request_", "status"), [
    (head("Content-Length: 100000000"), 413),
    (head("Transfer-Encoding: chunked", start="POST /send HTTP/1.0"), 400),
    (head("Content-Length: 2").replace(b"100-", b"101-"), 417),
    (handshake(extra="Expect: 100-continue\r\nContent-Length: 2\r\n"), 400),
    (head(start="GET /static/icon.svg HTTP/1.1"), 200),
    (handshake(extra="Expect: 100-continue\r\n"), 101),
])  # fmt: skip
def test_hp_14_one_answer_and_not_two(raw, request_, status):
    assert raw().send(request_).answer().status == status


# -- answers


def test_hp_33_answers_without_a_body_end_where_they_end(raw):
    one = raw()
    tag = one.get("/static/icon.svg").headers["etag"]
    again = f"GET /static/icon.svg HTTP/1.1\r\nHost: a\r\nIf-None-Match: {tag}\r\n\r\n".encode()
    options = b"OPTIONS /poll HTTP/1.1\r\nHost: a\r\n\r\n"
    one.send(again + CANARY.replace(b"GET", b"HEAD") + options + again + CANARY)
    answers = [one.answer(), one.answer(head=True), *(one.answer() for _ in range(3))]
    assert [answer.status for answer in answers] == [304, 200, 204, 304, 200]
    assert [bool(answer.body) for answer in answers] == [False, False, False, False, True]
    assert "content-length" not in answers[2].headers  # RFC 9110, 8.6


@pytest.mark.parametrize("path", [
    "/chat?room={}", "/poll?wait=0&room={}", "/poll?wait=0&after={}", "/stream?room={}",
    "/rooms/{}/messages", "/rooms/lobby/messages?before={}", "/r/{}", "/plain/{}", "/static/{}",
    "/{}",
])  # fmt: skip
@pytest.mark.parametrize("evil", [
    "a%0d%0aSet-Cookie:%20evil=1", "a%0aSet-Cookie:evil", "%0d%0a%0d%0aHTTP/1.1%20200%20OK",
    "a%E5%98%8A%E5%98%8DSet-Cookie:evil",  # whose low bytes are CR and LF
])  # fmt: skip
def test_hp_36_what_is_asked_for_never_becomes_a_header(raw, path, evil):
    one = raw()
    answer = one.get(path.format(evil), "Connection: close\r\n")
    assert answer.status in (200, 400, 404, 426), answer
    assert not any("evil" in name + value for name, value in answer.headers.items()), answer
    if "content-length" in answer.headers:
        assert one.rest() == b""


def test_hp_36_an_origin_comes_back_as_it_was(make_daemon):
    daemon = make_daemon(origins='["*"]')
    for origin in ("null", "https://a.example", "x\xff\xa0y", "a: b", "*", "x" * 8000):
        with Raw((daemon.host, daemon.port)) as one:
            request = f"GET /poll?wait=0 HTTP/1.1\r\nHost: a\r\nOrigin: {origin}\r\n\r\n"
            answer = one.send(request.encode("latin-1")).answer()
            assert answer.headers["access-control-allow-origin"] == origin
