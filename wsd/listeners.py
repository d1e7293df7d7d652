"""All the sockets that the daemon listens on.

They are the master's and stay open while workers die and are replaced, so nobody who waits in a
backlog is lost.  For each TCP address there are as many as workers, and the kernel spreads
connections over them; a Unix socket cannot be spread, so that all workers share it.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Collection, Iterator
from typing import NamedTuple

from wsd.config import Listen, Settings
from wsd.net.listener import bind_tcp, bind_unix, more_tcp, steer

ANYBODY, OWNER = 0o666, 0o600
"""Modes of Unix sockets.  Who may connect to a public one is said by the directory it is in."""


class CannotListen(Exception):
    """An address cannot be had; the text says which one and why."""


class Opening(NamedTuple):
    """A socket that a worker accepts from; its place in ``listen``, None for one of ``admin``."""

    listener: socket.socket
    place: int | None


class Listeners:
    """Nothing is bound before ``open``."""

    def __init__(self) -> None:
        self.hub: socket.socket | None = None
        self._public: list[list[socket.socket]] = []
        self._listen: list[Listen] = []
        self._admin: list[socket.socket] = []
        self._paths: list[str] = []

    def open(self, settings: Settings, hub_path: str) -> None:
        """Bind everything that ``settings`` names.  Raises CannotListen; ``close`` even then."""
        address = hub_path
        try:
            self.hub = self._bind_unix(hub_path, OWNER)
            for listen in settings.listen:
                address = listen.address
                self._public.append(self._bind(listen, settings.workers, ANYBODY))
                self._listen.append(listen)
            for listen in settings.admin:
                address = listen.address
                self._admin += self._bind(listen, 1, OWNER)
        except OSError as error:
            raise CannotListen(f"{address}: {error.strerror or error}") from None

    def _bind(self, listen: Listen, count: int, mode: int) -> list[socket.socket]:
        if listen.path:
            return [self._bind_unix(listen.path, mode)]
        return bind_tcp(listen.host, listen.port, count)

    def _bind_unix(self, path: str, mode: int) -> socket.socket:
        sock = bind_unix(path, mode)
        self._paths.append(path)
        return sock

    # -- who gets which

    def openings(self, number: int) -> list[Opening]:
        """Those of the worker with this number: its own of each address, and the shared ones."""
        public = [
            Opening(group[number % len(group)], place) for place, group in enumerate(self._public)
        ]
        return public + [Opening(sock, None) for sock in self._admin]

    def addresses(self) -> list[str]:
        """Where visitors find the chat page."""
        return [
            _url(listen, group[0]) for listen, group in zip(self._listen, self._public, strict=True)
        ]

    # -- more and fewer workers

    def _spread(self) -> list[list[socket.socket]]:
        return [group for group in self._public if group[0].family != socket.AF_UNIX]

    def grow(self, count: int) -> None:
        """Have ``count`` more of each.  Raises OSError, and then there are no more of any."""
        more: list[list[socket.socket]] = []
        try:
            for group in self._spread():
                more.append(more_tcp(group[0], count))
        except OSError:
            for sock in [sock for sockets in more for sock in sockets]:
                sock.close()
            raise
        for group, sockets in zip(self._spread(), more, strict=True):
            group += sockets

    def steer(self, count: int) -> None:
        """Give new connections to the first ``count`` of each only.  Raises OSError."""
        for group in self._spread():
            steer(group[0], count)

    def shrink(self, count: int) -> None:
        """Close all but the first ``count`` of each, which new connections were steered to."""
        for group in self._spread():
            while len(group) > count:  # from the end: the kernel fills a gap with the last
                group.pop().close()
            steer(group[0], 0)

    # -- the end

    def close_public(self) -> None:
        """Accept nobody new; those whom workers have to accept still are in their sockets."""
        for sock in [sock for group in self._public for sock in group]:
            sock.close()
        self._public, self._listen = [], []

    def close_others(self, kept: Collection[socket.socket]) -> None:
        """In a child: let go of all that is not its own."""
        for sock in self._all():
            if sock not in kept:
                sock.close()

    def close(self) -> None:
        """Close everything, and remove the Unix sockets' files."""
        for sock in self._all():
            sock.close()
        for path in self._paths:
            try:
                os.unlink(path)
            except OSError:
                pass

    def _all(self) -> Iterator[socket.socket]:
        yield from [self.hub] if self.hub else []
        yield from self._admin
        for group in self._public:
            yield from group


def _url(listen: Listen, sock: socket.socket) -> str:
    if listen.path:
        return listen.address
    port = sock.getsockname()[1]
    host = f"[{listen.host}]" if ":" in listen.host else listen.host
    return f"{'https' if listen.tls else 'http'}://{host}:{port}/"
