"""What one WebSocket may do next: messages out of frames (RFC 6455 sections 5.4, 5.5 and 7).

Of compressed messages (RFC 7692) what is restored is judged, as if it had come that way.
"""

from __future__ import annotations

import codecs
from typing import Final, NamedTuple

from wsd.protocol.deflate import Inflater
from wsd.protocol.frames import (
    CloseCode,
    Frame,
    FrameReader,
    Opcode,
    ProtocolError,
    UnmaskedReader,
    encode_close,
    may_be_sent,
)


class Message(NamedTuple):
    """A whole message; the data of a text is valid UTF-8."""

    opcode: int
    data: bytes


class Ping(NamedTuple):
    """A ping, to be answered with a pong that has the same payload."""

    payload: bytes


class Pong(NamedTuple):
    """A pong, asked for or not."""

    payload: bytes


class Closed(NamedTuple):
    """The client's Close: code 1005 where it sent none; `reply` is the Close to send back."""

    code: int
    reason: str
    reply: bytes


class Failed(NamedTuple):
    """The client broke the protocol or a limit: `reason` names how, `reply` is our Close."""

    code: int
    reason: str
    reply: bytes


Event = Message | Ping | Pong | Closed | Failed

_new: Final = tuple.__new__  # Message(...) takes 0.1 µs longer
_CONTINUATION: Final = Opcode.CONTINUATION
_TEXT: Final = Opcode.TEXT
_CLOSE: Final = Opcode.CLOSE
_PING: Final = Opcode.PING

_Utf8Decoder = codecs.getincrementaldecoder("utf-8")


class Session:
    """Takes what one client sends and gives events, strictly in the order of the frames.

    `max_message` bounds the bytes of a message, all fragments together; `max_fragments` (at
    least 1) bounds their number, empty ones counted. With `compression` messages may be compressed;
    `max_message` holds for what they restore to, with an allowance of an eighth for what deflate
    adds to data that it cannot make smaller. After Closed or Failed nothing more is
    read or kept. For a client, whose peer is the server, `masked` is False; the replies are
    frames of a server all the same.
    """

    __slots__ = (
        "_checked",
        "_closing",
        "_ended",
        "_fragments",
        "_inflater",
        "_max_compressed",
        "_opcode",
        "_reader",
        "_utf8",
        "max_fragments",
        "max_message",
    )

    def __init__(
        self, max_message: int, max_fragments: int, masked: bool = True, compression: bool = False
    ) -> None:
        self.max_message = max_message
        self.max_fragments = max_fragments
        self._max_compressed = max_message + max_message // 8 + 64 if compression else None
        reader = FrameReader if masked else UnmaskedReader
        self._reader = reader(max_message, self._max_compressed)
        self._closing = False
        self._ended = False
        self._opcode: int = _CONTINUATION  # of the message whose fragments are coming
        self._fragments: list[bytes] = []
        self._inflater: Inflater | None = None  # of a compressed message
        # Made when a text does not come in one piece; `_checked` bytes of the frame that is
        # arriving have been through it.
        self._utf8: codecs.IncrementalDecoder | None = None
        self._checked = 0

    def receive(self, data: bytes) -> None:
        """Adds received bytes; after the end they are discarded."""
        if not self._ended:
            self._reader.feed(data)

    def closing(self) -> None:
        """Our side has sent a Close: what messages still come is skipped, replies are empty."""
        self._closing = True
        self._forget_message()

    @property
    def unfinished(self) -> bool:
        """Whether a frame or a message has begun and its end is missing."""
        return self._reader.unfinished or self._opcode != _CONTINUATION

    @property
    def idle(self) -> bool:
        """Nothing of what has come is left, so that it may serve another client."""
        return not (self._ended or self._closing or self.unfinished)

    def next_event(self) -> Event | None:
        """The next event; None when more bytes are needed, and always after the end."""
        if self._ended:
            return None
        try:
            while (frame := self._reader.next_frame()) is not None:
                if frame.opcode >= _CLOSE:
                    return self._control(frame)
                message = self._data_frame(frame)
                if message is not None:
                    return message
            self._check_begun()
        except ProtocolError as error:
            self._end()
            return Failed(error.code, error.reason, self._reply(error.code, error.reason))
        return None

    # -- data frames -------------------------------------------------------------------------

    def _data_frame(self, frame: Frame) -> Message | None:
        """Takes a frame; the message that it completes, if it does."""
        if self._closing:
            return None
        fin, opcode, payload, compressed = frame
        if fin and opcode and not self._opcode and self._utf8 is None and not compressed:
            # The usual case: a message in one piece, none of it looked at before.
            if opcode == _TEXT and not payload.isascii():
                _decode(payload)
            return _new(Message, (opcode, payload))
        self._check_order(opcode)
        if opcode != _CONTINUATION:
            self._opcode = opcode
            if compressed:
                assert self._max_compressed is not None
                self._inflater = Inflater(self.max_message)
                self._reader.max_payload = self._max_compressed
        size = len(payload)
        if self._inflater is not None:
            payload = self._inflater.inflate(payload, fin)
        self._fragments.append(payload)
        if self._opcode == _TEXT:
            self._check_text(payload[self._checked :], fin)
            self._checked = 0
        if not fin:
            self._reader.max_payload -= size
            return None
        message = Message(self._opcode, b"".join(self._fragments))
        self._forget_message()
        return message

    def _check_order(self, opcode: int) -> None:
        """RFC 6455, 5.4: the fragments of one message come without another between them."""
        open_message = self._opcode != _CONTINUATION
        if open_message == (opcode != _CONTINUATION):
            name = "unfinished_message" if open_message else "unexpected_continuation"
            raise ProtocolError(CloseCode.PROTOCOL_ERROR, name)
        if len(self._fragments) >= self.max_fragments:
            raise ProtocolError(CloseCode.POLICY_VIOLATION, "too_many_fragments")

    def _check_begun(self) -> None:
        """Judges what has come of an unfinished frame: bad UTF-8 fails without its end.

        RFC 6455, 8.1 asks to fail once text is found not to be UTF-8; Autobahn 6.4.3 and 6.4.4
        send such a frame in pieces and wait. The checks are those of `_data_frame`, in its
        order, so that the outcome does not depend on how the bytes were cut.
        """
        opcode = self._reader.begun
        if opcode is None or opcode >= _CLOSE or self._closing:
            return
        self._check_order(opcode)
        if self._inflater is not None or self._reader.begun_compressed:
            return  # restored frame by frame
        if _TEXT in (opcode, self._opcode):
            fresh = self._reader.begun_payload(self._checked)
            self._checked += len(fresh)
            self._check_text(fresh, False)

    def _check_text(self, data: bytes, final: bool) -> None:
        if self._utf8 is None:
            self._utf8 = _Utf8Decoder()
        try:
            self._utf8.decode(data, final)
        except UnicodeDecodeError:
            raise _invalid_utf8() from None
        # CPython refuses a surrogate (ED A0 80 and up) only at its third byte.
        pending = self._utf8.getstate()[0]
        if pending[:1] == b"\xed" and pending[1:] >= b"\xa0":
            raise _invalid_utf8()

    def _forget_message(self) -> None:
        self._opcode = _CONTINUATION
        self._fragments = []
        self._inflater = None
        self._utf8 = None
        self._checked = 0
        self._reader.max_payload = self.max_message

    # -- control frames and the end ----------------------------------------------------------

    def _control(self, frame: Frame) -> Ping | Pong | Closed:
        if frame.opcode == _PING:
            return Ping(frame.payload)
        if frame.opcode == _CLOSE:
            return self._close(frame.payload)
        return Pong(frame.payload)

    def _close(self, payload: bytes) -> Closed:
        """RFC 6455, 5.5.1 and 7.1.5; a Close may come in the middle of a message."""
        if not payload:
            self._end()
            return Closed(CloseCode.NO_STATUS, "", self._reply(None))
        if len(payload) == 1:
            raise ProtocolError(CloseCode.PROTOCOL_ERROR, "bad_close_payload")
        code = int.from_bytes(payload[:2], "big")
        if not may_be_sent(code):
            raise ProtocolError(CloseCode.PROTOCOL_ERROR, "bad_close_code")
        reason = _decode(payload[2:])
        self._end()
        return Closed(code, reason, self._reply(code))

    def _reply(self, code: int | None, reason: str = "") -> bytes:
        return b"" if self._closing else encode_close(code, reason)

    def _end(self) -> None:
        self._ended = True
        self._reader.clear()
        self._forget_message()


def _invalid_utf8() -> ProtocolError:
    return ProtocolError(CloseCode.INVALID_DATA, "invalid_utf8")


def _decode(data: bytes) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise _invalid_utf8() from None
