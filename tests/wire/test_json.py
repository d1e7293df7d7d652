"""JSON made to hurt, at every door that takes some (RELIABILITY 4.14)."""

from __future__ import annotations

import json

import pytest

from tests.support.raw import TEXT, Raw, frame

DEEP = b"[" * 30_000 + b"]" * 30_000
HOSTILE = {
    "py_01_depth": b'{"type":"say","room":"R","text":"x","y":' + DEEP + b"}",
    "py_01_open": b"[" * 60_000,
    "py_02_surrogate": rb'{"type":"say","room":"R","text":"\ud800"}',
    "py_02_in_a_name": rb'{"type":"say","room":"R","text":"x","\udfff":1}',
    "py_03_digits": b'{"type":"say","room":"R","text":"x","reply_to":' + b"9" * 5000 + b"}",
    "py_03_id": b'{"type":"say","id":9007199254740993,"room":"R","text":"x"}',
    "py_04_nan": b'{"type":"say","room":"R","text":"x","y":NaN}',
    "py_04_infinity": b'{"type":"say","room":"R","text":"x","y":-Infinity}',
    "py_04_1e999": b'{"type":"say","room":"R","text":"x","y":1e999}',
    "py_05_int64": b'{"type":"say","room":"R","text":"x","reply_to":9223372036854775808}',
    "py_07_twice": b'{"type":"say","room":"R","room":"lobby","text":"x"}',
    "py_07_escaped": rb'{"type":"say","room":"R","text":"x","te\u0078t":"y"}',
    "py_08_true": b'{"type":"say","room":"R","text":"x","reply_to":true}',
    "py_08_text": b'{"type":"say","room":"R","text":"x","reply_to":"5"}',
    "py_08_float": b'{"type":"say","room":"R","text":"x","reply_to":1.0}',
    "no_json": b"{'type':'say'}",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_command_is_refused_and_the_connection_lives(shared, room, name):
    with Raw((shared.host, shared.port)) as raw:
        raw.upgrade().hello(room)
        raw.send(frame(TEXT, HOSTILE[name].replace(b'"R"', f'"{room}"'.encode())))
        error = raw.next("error").json
        assert error["code"] == "bad" and len(error["message"]) < 200
        raw.send(frame(TEXT, b'{"type":"say","id":7,"room":"%b","text":"well"}' % room.encode()))
        assert raw.next("ok").json["seq"] == 1


@pytest.mark.parametrize("path", ["/send", "/poll", "/stream"])
@pytest.mark.parametrize("name", HOSTILE)
def test_a_body_is_refused(shared, name, path):
    hello = b'{"type":"hello","rooms":{"R":null},"wait":0,"x":'
    body = hello + HOSTILE[name] + b"}"
    if path == "/send":
        body = b'{"commands":[{"type":"hello","rooms":{}},' + HOSTILE[name] + b"]}"
    with Raw((shared.host, shared.port)) as raw:
        head = f"POST {path} HTTP/1.1\r\nHost: wsd.test\r\nContent-Length: {len(body)}\r\n\r\n"
        answer = raw.send(head.encode() + body).answer()
    if name.startswith("py_08"):  # good JSON: one command is no good, or it stands where all goes
        assert answer.status == 200
    else:
        assert (answer.status, json.loads(answer.body)[0]["code"]) == (400, "bad")


def test_py_06_nul_and_other_controls_leave_a_text(shared, room, join):
    ann = join(shared, room)
    ann.say(room, "a\0b\x1bc\x7fd\x85e")
    assert ann.take("message")["text"] == "abcde"
    assert ann.ask("say", room=room, text="\0")["code"] == "bad"
    assert ann.ask("say", room=room, text="x", cid="a\0b")["code"] == "bad"
    assert ann.ask("rename", name="An\0n")["code"] == "name_bad"
    assert ann.ask("join", room="a\0b")["code"] == "bad"


def test_the_tornado_dialect_is_as_strict(shared, room, open_peer):
    peer = open_peer(shared.ws(f"/chat?room={room}"))
    peer.recv()  # the uid
    for said in ('"a","message":"b"', '"\\ud800"', '"x","y":1e999'):
        peer.send(f'{{"message":{said}}}')
        assert "a message is" in peer.recv()
    peer.send('{"uid":"forged","message":"well"}')
    assert "well" in peer.recv()


def test_an_administrators_body_is_read_as_strictly(shared):
    with Raw(str(shared.directory / "run" / "admin.sock")) as raw:
        body = b'{"room":"lobby","text":"a","text":"b"}'
        head = f"POST /api/v1/say HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
        answer = raw.send(head.encode() + body).answer()
    assert answer.status == 400
    assert "'text' comes twice" in json.loads(answer.body)["error"]["message"]
