"""The client with servers that are no daemon: strange answers, bytes in pieces, bad moments."""

from __future__ import annotations

import json
import signal
import socket
import threading
import time

import pytest

from tests.client.server import Peer, Server
from wsd.client import Client, ClientError, Message, Stopped, TimedOut
from wsd.protocol.frames import Opcode, encode
from wsd.protocol.session import Session

SAID = {"type": "message", "room": "lobby", "uid": "g2", "name": "B", "text": "hi", "time": 1.0}
THERE = {"position": "e.0", "follows": 0, "recovered": False, "online": 1, "modes": {}}


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


def test_reading_can_be_interrupted_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes that were taken off the socket are read nowhere: what they were comes again."""

    def first(peer: Peer) -> None:
        peer.accept()
        peer.welcome()
        peer.send({**SAID, "seq": 1})
        list(peer.events())

    def second(peer: Peer) -> None:
        peer.accept()
        assert peer.welcome(rooms={"lobby": {**THERE, "position": "e.1", "follows": 1}})["rooms"]
        peer.send({**SAID, "seq": 1})
        list(peer.events())

    receive = Session.receive

    def interrupt(session: Session, data: bytes) -> None:
        if threading.current_thread() is not threading.main_thread():  # the server's
            return receive(session, data)
        monkeypatch.undo()
        raise KeyboardInterrupt

    with Server(first, second) as server, Client(server.url) as chat:
        chat.join("lobby", timeout=5)
        monkeypatch.setattr(Session, "receive", interrupt)
        with pytest.raises(KeyboardInterrupt):
            chat.next(timeout=5)
        event = chat.next(timeout=10)
        assert isinstance(event, Message) and event.seq == 1


def test_iterating_ends_with_a_close_in_a_signal_handler() -> None:
    def only(peer: Peer) -> None:
        peer.accept()
        peer.welcome()
        list(peer.events())

    with Server(only) as server:
        chat = Client(server.url)
        chat.join("lobby", timeout=5)
        before = signal.signal(signal.SIGALRM, lambda *_: chat.close())
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        try:
            assert list(chat) == []
        finally:
            signal.signal(signal.SIGALRM, before)
        with pytest.raises(ClientError, match="closed"):
            chat.say("lobby", "too late")


def test_no_answer_before_the_timeout_is_no_refusal() -> None:
    """Who takes it for one would say it again, under another cid."""
    slept = [0.0]

    def only(peer: Peer) -> None:
        peer.accept()
        peer.welcome()
        peer.command()
        slept[0] = 10.0  # the client's machine; and the connection ends without an answer

    with Server(only) as server:
        chat = Client(server.url, clock=lambda: time.monotonic() + slept[0])
        chat.join("lobby", timeout=5)
        with pytest.raises(TimedOut) as caught:
            chat.say("lobby", "hello", cid="c1", timeout=5)
        assert caught.value.cid == "c1"


def test_what_lies_about_untaken_is_not_given_twice() -> None:
    def only(peer: Peer) -> None:
        peer.accept()
        peer.welcome()
        peer.send({**SAID, "seq": 1})
        asked = peer.command()
        for seq in (2, 3):
            peer.send({**SAID, "seq": seq})
        peer.send({"type": "ok", "id": asked["id"]})
        join = peer.command()
        assert (join["type"], join["after"]) == ("join", "e.1")
        entry = {**THERE, "position": "e.3", "follows": 2, "recovered": True}
        peer.send({"type": "ok", "id": join["id"], "room": "lobby", **entry})
        for seq in (2, 3, 4):
            peer.send({**SAID, "seq": seq})
        list(peer.events())

    with Server(only) as server, Client(server.url) as chat:
        chat.join("lobby", timeout=5)
        given = [chat.next(timeout=5)]
        chat.request({"type": "typing", "room": "lobby"}, timeout=5)
        chat.join("lobby", after=chat.position("lobby"), timeout=5)
        given += [chat.next(timeout=5) for _ in range(3)]
        assert [event.seq for event in given if isinstance(event, Message)] == [1, 2, 3, 4]


def test_a_port_without_tls_is_the_end() -> None:
    with Server() as server, socket.create_server(("127.0.0.1", 0)) as plain:

        def answer() -> None:
            sock, _ = plain.accept()
            with sock:
                sock.recv(1024)
                sock.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        threading.Thread(target=answer, daemon=True).start()
        url = f"https://127.0.0.1:{plain.getsockname()[1]}"
        with Client(url) as chat, pytest.raises(Stopped, match="no TLS is spoken there"):
            chat.join("lobby", timeout=5)
        assert server.problem is None


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
