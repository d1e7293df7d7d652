"""The client with servers that are no daemon: strange answers, bytes in pieces, bad moments."""

from __future__ import annotations

import json
import socket
import time

import pytest

from tests.client.server import Peer, Server
from wsd.client import Client, Stopped, TimedOut
from wsd.protocol.frames import Opcode, encode


def test_answers_in_pieces_and_messages_right_behind_the_handshake() -> None:
    def script(peer: Peer) -> None:
        assert "Origin:" not in peer.head
        peer.accept(behind=b"\x89\x03abc\x01\x02{}", piece=1)  # a ping; half a message
        peer.sock.sendall(b"\x80\x01 ")
        peer.welcome()
        event = {"type": "message", "room": "lobby", "seq": 1, "uid": "g2", "name": "B"}
        text = json.dumps(event | {"text": "€"}, ensure_ascii=False).encode()
        data = encode(Opcode.TEXT, text[:-3], fin=False) + encode(Opcode.PING, b"")
        data += encode(Opcode.CONTINUATION, text[-3:])  # in the middle of a character
        for at in range(len(data)):
            peer.sock.sendall(data[at : at + 1])
        list(peer.events())
        assert peer.ended is not None
        assert peer.ended.code == 1000

    with Server(script) as server, Client(server.url) as chat:
        chat.join("lobby", timeout=5)
        assert chat.next(timeout=5).text == "€"


@pytest.mark.parametrize(
    ("answer", "code", "words"),
    [
        (("301 Moved", "Location: https://a.example/"), 301, "https://a.example/"),
        (("403 Forbidden",), 403, "403"),
        (("200 OK", "Content-Length: 0"), 200, "200"),
        (("101 Switching", "Upgrade: websocket", "Connection: upgrade"), None, "bad_accept"),
        (("hello",), None, "bad_response"),
    ],
)
def test_answers_that_waiting_does_not_cure(answer, code: int | None, words: str) -> None:
    with Server(lambda peer: peer.answer(*answer)) as server, Client(server.url) as chat:
        with pytest.raises(Stopped, match=words) as stopped:
            chat.join("lobby", timeout=10)
        assert stopped.value.code == code


def test_answers_that_waiting_cures() -> None:
    def busy(peer: Peer) -> None:
        peer.answer("503 Service Unavailable", "Retry-After: 1")

    def garbage(peer: Peer) -> None:
        peer.accept(behind=b"\xff\xff")

    def nonsense(peer: Peer) -> None:
        peer.accept()
        peer.command()
        peer.send(["not", "wsd"])
        list(peer.events())

    def good(peer: Peer) -> None:
        peer.accept()
        peer.welcome()
        list(peer.events())

    slept: list[float] = []
    with (
        Server(busy, garbage, nonsense, good) as server,
        Client(server.url, sleep=lambda s: slept.append(s) or time.sleep(s / 10)) as chat,
    ):
        chat.join("lobby", timeout=20)
    assert slept[0] > 0.99


def test_a_bad_moment_of_a_proxy_is_survived_once_it_has_worked() -> None:
    def good(peer: Peer) -> None:
        peer.accept()
        peer.welcome()

    def talks(peer: Peer) -> None:
        peer.accept()
        peer.welcome()
        say = peer.command()
        peer.send({"type": "ok", "id": say["id"], "room": "lobby", "seq": 1, "time": 1.0})
        list(peer.events())

    with (
        Server(good, lambda peer: peer.answer("404 Not Found"), talks) as server,
        Client(server.url, sleep=lambda s: time.sleep(s / 10)) as chat,
    ):
        chat.join("lobby", timeout=10)
        assert chat.say("lobby", "hello", timeout=20).seq == 1


def test_a_server_that_says_to_stay_away() -> None:
    def script(peer: Peer) -> None:
        peer.accept()
        peer.welcome()
        peer.sock.sendall(b"\x88\x08" + (4503).to_bytes(2, "big") + b"banned")
        list(peer.events())
        assert peer.ended is not None
        assert peer.ended.code == 4503

    with Server(script) as server, Client(server.url) as chat:
        chat.join("lobby", timeout=5)
        with pytest.raises(Stopped, match="banned") as stopped:
            chat.next(timeout=5)
        assert stopped.value.code == 4503


def test_a_message_without_an_answer_is_not_said_again_as_somebody_else() -> None:
    """Its cid is known together with its uid alone: it could be stored twice."""
    said = []

    def first(peer: Peer) -> None:
        peer.accept()
        peer.welcome()
        said.append(peer.command())

    def second(peer: Peer) -> None:
        peer.accept()
        peer.welcome(uid="g2")
        said.extend(event for event in peer.events() if hasattr(event, "opcode"))

    with Server(first, second) as server, Client(server.url) as chat:
        chat.join("lobby", timeout=5)
        with pytest.raises(TimedOut, match="does not know") as unsure:
            chat.say("lobby", "hello", timeout=20)
        assert unsure.value.cid == said[0]["cid"]
    assert len(said) == 1


def test_an_interrupted_call_can_be_followed_by_others() -> None:
    """Ctrl-C may come in the middle of sending: behind half a frame nothing more can be said."""

    class Interrupted(socket.socket):
        def sendall(self, data: bytes, flags: int = 0) -> None:
            self.send(data[: len(data) // 2])
            raise KeyboardInterrupt

    def first(peer: Peer) -> None:
        peer.accept()
        peer.welcome()
        assert [event for event in peer.events() if hasattr(event, "opcode")] == []

    def second(peer: Peer) -> None:
        peer.accept()
        hello = peer.welcome()
        assert hello["rooms"] == {"lobby": "e.0"}
        say = peer.command()
        peer.send({"type": "ok", "id": say["id"], "room": "lobby", "seq": 1, "time": 1.0})
        list(peer.events())

    with Server(first, second) as server, Client(server.url) as chat:
        chat.join("lobby", timeout=5)
        sock = chat._link._socket
        chat._link._socket = Interrupted(fileno=sock.detach())
        with pytest.raises(KeyboardInterrupt):
            chat.say("lobby", "never mind")
        assert chat.say("lobby", "hello", timeout=10).seq == 1
