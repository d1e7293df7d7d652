"""The beginning of a connection: shown, taken in part, and the rest left to somebody else."""

from __future__ import annotations

import socket

import pytest

from tests.support.parts import Callbacks
from wsd.net.connection import Connection, Flusher, State
from wsd.net.loop import Loop
from wsd.net.preface import Preface


class End:
    def __init__(self, loop: Loop, most: int = 100) -> None:
        ours, self.peer = socket.socketpair()
        ours.setblocking(False)
        self.shown: list[bytes] = []
        self.gone: list[str] = []
        self.connection = Preface(
            loop, Flusher(), ours, Callbacks(self.shown.append, self.gone.append), most
        )  # fmt: skip


@pytest.fixture
def end(loop: Loop) -> End:
    return End(loop)


def test_what_is_taken_is_not_shown_again(end: End, loop: Loop) -> None:
    end.peer.send(b"head")
    loop.turn()
    end.connection.take(4)
    end.peer.send(b"er and body")
    loop.turn()
    end.connection.take(2)
    loop.turn()
    assert end.shown == [b"head", b"er and body", b" and body"]


def test_no_more_is_shown_than_was_asked_for(loop: Loop) -> None:
    end = End(loop, most=3)
    end.peer.send(b"header")
    loop.turn()
    assert end.shown == [b"hea"]


def test_the_next_owner_gets_the_rest(end: End, loop: Loop) -> None:
    end.peer.send(b"header and body")
    loop.turn()
    end.connection.take(6)
    sock = end.connection.hand_on()
    assert end.connection.state is State.CLOSED
    got: list[bytes] = []
    Connection(loop, Flusher(), sock, Callbacks(got.append, end.gone.append))
    loop.turn()
    end.connection.abort("too late")  # it is nobody's to close any more
    end.peer.close()
    loop.turn()
    assert (got, end.gone) == ([b" and body"], ["eof"])


def test_an_end_before_the_end(end: End, loop: Loop) -> None:
    end.peer.close()
    loop.turn()
    assert (end.shown, end.gone) == ([], ["eof"])
