"""Listening sockets: how the master makes them, and how a worker accepts from them."""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import stat
import struct
from collections.abc import Callable
from typing import Any

from wsd.net.loop import READ, Loop

BACKLOG = 4096
# While descriptors are short, accept() fails at once and the listener stays ready: a loop that
# tries again and again burns a whole core.  A pause costs the newcomer this much, nobody else.
PAUSE_S = 0.25
ACCEPTS_PER_TURN = 64

# Linux's numbers, which the socket module does not have.
_SO_ATTACH_REUSEPORT_CBPF = 51
_SO_DETACH_REUSEPORT_BPF = 68
_LOAD, _MODULO, _RETURN_A = 0x20, 0x94, 0x16  # BPF_LD|BPF_W|BPF_ABS, BPF_ALU|BPF_MOD|BPF_K, ...
_RANDOM = 0xFFFFF000 + 56  # SKF_AD_OFF + SKF_AD_RANDOM

_OUT_OF_RESOURCES = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}


def bind_tcp(host: str, port: int, count: int) -> list[socket.socket]:
    """``count`` listening sockets that share one address, one for each worker slot.

    The kernel spreads connections over them (SO_REUSEPORT).  A socket without that option is
    bound first: it fails where another daemon listens, while one of the same user with the
    option would silently take half of its connections.  Raises OSError.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        _only_v6(probe, family)
        probe.bind((host, port))
        address = probe.getsockname()
    return _listen(family, address, count)


def more_tcp(listener: socket.socket, count: int) -> list[socket.socket]:
    """``count`` more sockets on the address of ``listener``.  Raises OSError."""
    return _listen(listener.family, listener.getsockname(), count)


def _listen(family: int, address: tuple[Any, ...], count: int) -> list[socket.socket]:
    listeners: list[socket.socket] = []
    try:
        for _ in range(count):
            listener = socket.socket(family, socket.SOCK_STREAM)
            listeners.append(listener)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            _only_v6(listener, family)
            # Without it Nagle's algorithm holds back small answers for up to 40 ms; what is
            # accepted has it from here.
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            listener.bind(address)
            listener.listen(BACKLOG)
            listener.setblocking(False)
    except OSError:
        for listener in listeners:
            listener.close()
        raise
    return listeners


def steer(listener: socket.socket, count: int) -> None:
    """Give new connections to the first ``count`` sockets of the listener's address only.

    Closing a listener resets what waits in its backlog, and there is no moment in which it can be
    known to be empty, unless nothing new comes in.  So the kernel is told first, by a program
    of three instructions that picks one of the first ``count`` at random (socket(7),
    SO_ATTACH_REUSEPORT_CBPF).  0 gives all sockets their share again.  Raises OSError.
    """
    if not count:
        listener.setsockopt(socket.SOL_SOCKET, _SO_DETACH_REUSEPORT_BPF, 0)
        return
    program = b"".join(
        struct.pack("=HBBI", code, 0, 0, k)
        for code, k in ((_LOAD, _RANDOM), (_MODULO, count), (_RETURN_A, 0))
    )
    kept = ctypes.create_string_buffer(program, len(program))
    header = struct.pack("@HP", 3, ctypes.addressof(kept))  # struct sock_fprog
    listener.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_REUSEPORT_CBPF, header)


def _only_v6(sock: socket.socket, family: int) -> None:
    # "[::]:80" beside "0.0.0.0:80" must not be a conflict.
    if family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)


def bind_unix(path: str, mode: int = 0o600) -> socket.socket:
    """A listening Unix socket at ``path``, taking the place of one that nobody listens on.

    Raises OSError; a path that is no socket, or on which somebody answers, is left alone.
    """
    _remove_stale(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        # The socket file is made with its final mode: a chmod afterwards would leave a moment
        # in which others could connect.
        before = os.umask(0o777 & ~mode)
        try:
            listener.bind(path)
        finally:
            os.umask(before)
        listener.listen(BACKLOG)
        listener.setblocking(False)
    except OSError:
        listener.close()
        raise
    return listener


def _remove_stale(path: str) -> None:
    try:
        kind = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(kind):
        raise OSError(errno.EEXIST, "in the way is something that is not a socket", path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
            return
    raise OSError(errno.EADDRINUSE, "another program listens there, perhaps another wsd", path)


class Acceptor:
    """Accepts from one listener and hands each connection to ``on_accept(socket, address)``.

    The listener itself belongs to the master and is never closed here.
    """

    def __init__(
        self,
        loop: Loop,
        listener: socket.socket,
        on_accept: Callable[[socket.socket, str], None],
        on_short: Callable[[OSError], None] | None = None,
    ) -> None:
        self._loop = loop
        self._listener = listener
        self._on_accept = on_accept
        self._on_short = on_short
        self._active = False
        self._stopped = False
        self._tcp = listener.family != socket.AF_UNIX
        self.resume()

    def resume(self) -> None:
        if not self._active and not self._stopped:
            self._active = True
            self._loop.add(self._listener, READ, self._on_ready)

    def _pause(self) -> None:
        self._active = False
        self._loop.remove(self._listener)
        self._loop.call_later(PAUSE_S, self.resume)

    def stop(self) -> None:
        """Accept what waits already, then no more."""
        if self._stopped:
            return
        while self._active and self._accept_some():
            pass
        self._stopped = True
        if self._active:
            self._active = False
            self._loop.remove(self._listener)

    def _on_ready(self, _mask: int) -> None:
        self._accept_some()

    def _accept_some(self) -> bool:
        """Accept a turn's worth; returns whether there may be more."""
        for _ in range(ACCEPTS_PER_TURN):
            if not self._active:
                return False
            try:
                sock, address = self._listener.accept()
            except BlockingIOError:
                return False
            except OSError as error:
                if error.errno in _OUT_OF_RESOURCES:
                    self._pause()
                    if self._on_short is not None:
                        self._on_short(error)
                    return False
                continue  # ECONNABORTED and the like: that peer is gone, the next one may not be
            sock.setblocking(False)
            self._on_accept(sock, address[0] if self._tcp else "")
        return True
