"""A connection while only its beginning is read: what follows is another protocol's, or TLS's."""

from __future__ import annotations

import socket

from wsd.net.connection import Connection, Flusher, Owner, State
from wsd.net.loop import Loop


class Preface(Connection):
    """Its owner is shown what has arrived, ``most`` bytes at a time.

    It has to ``take`` what is not for the next owner of the socket, and ``hand_on`` the rest: what
    stays without an owner is shown again and again.
    """

    __slots__ = ("_most",)

    def __init__(
        self,
        loop: Loop,
        flusher: Flusher,
        sock: socket.socket,
        owner: Owner,
        most: int,
    ) -> None:
        self._most = most
        super().__init__(loop, flusher, sock, owner)

    def _receive(self) -> bytes:
        return self._sock.recv(self._most, socket.MSG_PEEK)

    def take(self, size: int) -> None:
        """Remove from the socket that many bytes, which have been shown."""
        self._sock.recv(size)

    def hand_on(self) -> socket.socket:
        """The socket, which is somebody else's from now on; ``on_gone`` is not called."""
        self.state = State.CLOSED
        if self._events:
            self._loop.remove(self._sock)
        self._events = 0
        return self._sock
