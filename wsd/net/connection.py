"""One non-blocking stream socket: its output queue, its one flush per turn, its way to close.

A connection belongs to a ``Flusher``, which sends everything that a turn wrote with one ``send``
per connection.  Its ``owner`` is whoever speaks a protocol on it, and may be replaced when the
protocol changes (HTTP to WebSocket).
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable
from enum import Enum
from typing import Protocol

from wsd.net.loop import READ, WRITE, Loop
from wsd.net.uring import Ring

READ_BYTES = 64 * 1024
LINK_READ_BYTES = 512 * 1024
ALIKE_BYTES = 4096
"""What many have alike is short; comparing what is long would cost more than it saves."""
PIECE_BYTES = 64
"""Memory that each piece of queued output takes beside its bytes."""


class State(Enum):
    OPEN = "open"
    # Everything is written, our side is shut down, and what the peer still sends is thrown
    # away: close() with unread input would reset the connection and destroy what we just sent.
    LINGERING = "lingering"
    CLOSED = "closed"


class Flusher:
    """The connections that were written to in this turn.

    With a ``ring``, those that have the same to send get it by one call to the kernel: pings, and
    who came and went.
    """

    def __init__(self, ring: Ring | None = None) -> None:
        self.touched: list[Connection] = []
        self._ring = ring

    def flush(self) -> None:
        """Belongs behind whatever writes at the end of a turn; who writes later calls it again."""
        while self.touched:  # a flush may close a connection, and that may write to another
            touched, self.touched = self.touched, []
            if self._ring is not None and len(touched) >= self._ring.fewest:
                self._flush_alike(self._ring, touched)
            for connection in touched:
                connection.flush()

    def _flush_alike(self, ring: Ring, touched: list[Connection]) -> None:
        alike: dict[bytes, list[Connection]] = {}
        for connection in dict.fromkeys(touched):  # who has something to say and closes is in twice
            data = connection.plain_output
            if data is not None and len(data) <= ALIKE_BYTES:
                alike.setdefault(data, []).append(connection)
        for data, connections in alike.items():
            if len(connections) >= ring.fewest:
                size = len(data)
                unsent = dict(ring.send([each.fd for each in connections], data))
                for index, connection in enumerate(connections):
                    if connection.state is State.OPEN:  # the end of one may be that of another
                        connection.on_sent(data, unsent.get(index, size))


class Owner(Protocol):
    def on_data(self, data: bytes) -> None:
        """Take what has arrived."""

    def on_gone(self, reason: str) -> None:
        """The connection has ended.  Called once, and nothing after it."""


class _Nobody:
    def on_data(self, data: bytes) -> None: ...

    def on_gone(self, reason: str) -> None: ...


NOBODY = _Nobody()


class Connection:
    __slots__ = (
        "_events",
        "_flusher",
        "_loop",
        "_out",
        "_sealed",
        "_sock",
        "clear",
        "closing",
        "fd",
        "on_drained",
        "owner",
        "progress_at",
        "queued",
        "state",
    )

    def __init__(
        self,
        loop: Loop,
        flusher: Flusher,
        sock: socket.socket,
        owner: Owner,
    ) -> None:
        self._loop = loop
        self._flusher = flusher
        self._sock = sock
        self._out: list[bytes | memoryview] | None = None
        self._events = READ
        self._sealed = False
        self.state = State.OPEN
        self.clear = True
        """Nothing waits and nothing forbids to write: ``send`` may be called at once, which spares
        the queue; what it did not take is given to ``keep``."""
        self.fd = sock.fileno()
        """Its descriptor; 0 where ``send`` does more than hand bytes to the kernel."""
        self.closing = ""
        """The reason for which this side closes as soon as the output is sent."""
        self.queued = 0
        """Bytes of output that the kernel has not taken."""
        self.progress_at = loop.now
        """When the kernel last took output, in loop seconds, while some was waiting."""
        self.owner = owner
        self.on_drained: Callable[[], None] | None = None
        # Itself, since it stays there: a bound method would be one more object for each connection.
        loop.add(sock, READ, self)

    @property
    def ready(self) -> bool:
        """Whether what is written can leave: not before a handshake of the connection's own."""
        return True

    @property
    def weight(self) -> int:
        """Bytes of memory that the output takes which the kernel has not."""
        return self.queued + PIECE_BYTES * len(self._out or ())

    @property
    def blocked(self) -> bool:
        """Whether the kernel has refused to take more, and has not asked for more since."""
        return self._events & WRITE != 0

    # -- input

    def __call__(self, mask: int) -> None:
        """The loop says that the socket is ready."""
        if mask & WRITE and self.state is not State.CLOSED:
            self._on_writable()
        if mask & READ and self.state is not State.CLOSED:
            self._on_readable()

    def receive(self) -> None:
        """Take what has arrived, without waiting for the loop to come to it."""
        if self.state is State.OPEN and self._events & READ and self.ready:
            self._on_readable()

    def _on_readable(self) -> None:
        try:
            data = self._receive()
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self.abort("reset")
            return
        if not data:
            self._on_eof()
        elif self.state is State.OPEN and not self.closing:
            self.owner.on_data(data)

    def _on_eof(self) -> None:
        if not self.queued:
            self.abort("eof")
            return
        # The peer has said all it wants to say but may still read: what is queued is its answer.
        self.closing = self.closing or "eof"
        self.clear = False
        self.pause_reading()

    def pause_reading(self) -> None:
        """Let the kernel's buffer fill, so that TCP slows the peer down."""
        self._want(self._events & ~READ)

    def resume_reading(self) -> None:
        self._want(self._events | READ)

    # -- output

    def write(self, data: bytes) -> None:
        """Queue ``data``; it leaves at the end of the turn.  Ignored once the connection closes."""
        if self.closing or self.state is not State.OPEN:
            return
        if not self._out:
            self.progress_at = self._loop.now
            self._flusher.touched.append(self)
            self.clear = False
            self._out = []
        self._out.append(data)
        self.queued += len(data)

    def keep(self, data: bytes, sent: int) -> None:
        """Queue what ``send`` left of ``data``; the loop tells when the kernel takes more."""
        self.progress_at = self._loop.now
        self.clear = False
        self._out = [memoryview(data)[sent:]]
        self.queued = len(data) - sent
        self._want(self._events | WRITE)

    def seal(self) -> None:
        """What is written from here on is the last word: the connection is never clear again."""
        self._sealed = True
        self.clear = False

    def flush(self) -> None:
        """Send what is queued, with one call to the kernel.

        Does nothing while the kernel refuses more (``_on_writable`` goes on from there).
        """
        if self._events & WRITE or self.state is not State.OPEN:
            return
        self._send_queued()

    @property
    def plain_output(self) -> bytes | None:
        """What is queued, where nothing but ``send`` has to be done with it."""
        out = self._out
        if self.state is State.OPEN and self.fd and out and len(out) == 1:
            data = out[0]
            return data if type(data) is bytes else None  # the kernel has refused the rest of it
        return None

    def _send_queued(self) -> None:
        out = self._out
        if not out:
            self._on_all_sent()
            return
        data = out[0] if len(out) == 1 else b"".join(out)
        try:
            sent = self.send(data)
        except (BlockingIOError, InterruptedError):
            sent = 0
        except OSError as error:
            sent = -(error.errno or errno.EIO)
        self.on_sent(data, sent)

    def on_sent(self, data: bytes | memoryview, sent: int) -> None:
        """Of ``data``, which is all that was queued, the kernel took ``sent`` bytes; or that is the
        negative errno."""
        if sent < 0 and sent != -errno.EAGAIN:
            self.abort("reset")
            return
        if sent > 0:
            self.progress_at = self._loop.now
            self.queued -= sent
        if sent < len(data):
            self._out = [memoryview(data)[max(sent, 0) :]]
            self._want(self._events | WRITE)
            return
        self._out = None
        self._on_all_sent()

    def _on_all_sent(self) -> None:
        if self._events & WRITE:
            self._want(self._events & ~WRITE)
        if self.closing:
            self._linger()
            return
        self.clear = not self._sealed
        if self.on_drained is not None:
            self.on_drained()

    def _on_writable(self) -> None:
        self._send_queued()

    # -- the end

    def close(self, reason: str) -> None:
        """Send what is queued, then close.  Nothing more is read or written."""
        if self.closing or self.state is not State.OPEN:
            return
        self.closing = reason
        self.clear = False
        self._flusher.touched.append(self)

    def _linger(self) -> None:
        """Close our half and drain the other until the peer is done or ``abort`` is called."""
        self.state = State.LINGERING
        try:
            self._shutdown()
        except OSError:
            self.abort(self.closing)
            return
        self._want(READ)

    def abort(self, reason: str) -> None:
        """Close at once.  ``reason`` names it unless a reason for closing was given before."""
        if self.state is State.CLOSED:
            return
        self.state = State.CLOSED
        self.clear = False
        if self._events:
            self._loop.remove(self._sock)
        self._events = 0
        self._sock.close()
        self._out = None
        self.queued = 0
        # The owner has this connection as well: without each other both go with their last
        # reference, instead of waiting for the collector of cycles.
        owner, self.owner, self.on_drained = self.owner, NOBODY, None
        owner.on_gone(self.closing or reason)

    def _want(self, events: int) -> None:
        if events == self._events or self.state is State.CLOSED:
            return
        if not events:
            self._loop.remove(self._sock)
        elif not self._events:
            self._loop.add(self._sock, events, self)
        else:
            self._loop.modify(self._sock, events, self)
        self._events = events

    # -- what a secured connection does differently

    def _receive(self) -> bytes:
        return self._sock.recv(READ_BYTES)

    def send(self, data: bytes | memoryview) -> int:
        """Bytes that the kernel takes at once; raises OSError, BlockingIOError among them."""
        return self._sock.send(data)

    def _shutdown(self) -> None:
        self._sock.shutdown(socket.SHUT_WR)


class LinkConnection(Connection):
    """Between two processes of one daemon.  One read takes all that a turn of the other's brought.

    With less, a batch of events arrived in one turn and the answers to their senders in the next:
    two sends to each of them instead of one, a tenth of the cost of a message to a small room.
    """

    __slots__ = ()

    # ``recv`` would have so much memory mapped each time, for 20 µs.
    _received = memoryview(bytearray(LINK_READ_BYTES))

    def _receive(self) -> bytes:
        return bytes(self._received[: self._sock.recv_into(self._received)])
