"""Frames on the server's side: what a client's bytes say, and the bytes that answer it.

RFC 6455 §5 without I/O. The rules that this module keeps:

- A whole short message goes a short straight way: that is what servers live on.
- Frames are parsed where they lie. The payload of a data frame is unmasked, inflated, checked and
  taken out of the buffer as it arrives. So what stays raw is an incomplete header or control
  frame, 130 bytes at most, and a message costs time linear in its size however it is cut.
- A message in the making is one `bytearray`: as a list of its pieces, a client that sends them
  byte by byte could make it occupy many times `max_message_size`.
- A fault is found at the first byte that makes it one: a size in the header, bad UTF-8 in the
  middle of a character. How the bytes were cut changes no event; which fault is told can depend
  on it only for a compressed message with two, a size and another.

Where the references differ: a length must be as short as possible (§5.2; wsproto refuses others,
websockets takes them), and a close frame may come within a fragmented message (§5.4; websockets
refuses it, wsproto takes it).
"""

from codecs import utf_8_decode
from dataclasses import dataclass
from struct import pack
from typing import TypeAlias

from triows._close import NO_STATUS, cut_reason
from triows._errors import InvalidMessage, MessageTooBig, PeerError, ProtocolViolation
from triows.server._deflate import Deflate
from triows.server._frame_header import (
    CLOSE,
    COMPRESSED,
    CONTINUATION,
    FIN,
    MASKED,
    OPCODE,
    PING,
    PONG,
    SHORT,
    SHORT_HEADER,
    TEXT,
    WHOLE_BINARY,
    WHOLE_TEXT,
    check_header,
    header_size,
    long_header,
    read_length,
)

try:
    from websockets.speedups import apply_mask
except ImportError:  # it was built without its C extension
    from websockets.utils import apply_mask

# What stands in the place of the opcode of a message when there is none.
_IDLE = 0
_CLOSED = -1
_FAILED = -2

_NOT_UTF8 = "a text message is not UTF-8"

_SHORT_TEXT = tuple(bytes((WHOLE_TEXT, length)) for length in range(SHORT + 1))
_SHORT_BINARY = tuple(bytes((WHOLE_BINARY, length)) for length in range(SHORT + 1))


@dataclass(frozen=True, slots=True)
class Ping:
    """The client wants a pong with the same payload, at most 125 bytes (RFC 6455 §5.5.2)."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class Pong:
    """The client answers a ping, or says unasked that it lives (RFC 6455 §5.5.3)."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class CloseFrame:
    """The client has said its last (RFC 6455 §5.5.1).

    Attributes:
        code: 1000-1003, 1007-1014 or 3000-4999; 1005 if the frame was empty.
        reason: At most 123 bytes of UTF-8.
    """

    code: int
    reason: str


@dataclass(frozen=True, slots=True)
class Pause:
    """There is more to parse, but there was so much that others should have a turn before."""


FRAMES = 128
"""Frames without an event after which there is a pause. The empty ones of a client that sends
nothing else would take tens of milliseconds a read.
"""

_PAUSE = Pause()

Event: TypeAlias = str | bytes | Ping | Pong | CloseFrame | Pause
"""A whole message is just its `str` or `bytes`; an empty one is a message too."""


class Decoder:
    """Reads the frames of one client.

    Feed it what one read returned, then ask `next_event` until it returns None. More
    may be fed before that, at the price of a copy of what is still buffered.

    Args:
        deflate: What the handshake agreed on; None: no message may be compressed.

    Attributes:
        max_message_size: Bytes of one message, after inflation. May be changed
            between messages.
    """

    __slots__ = (
        "_data",
        "_deflate",
        "_is_compressed",
        "_is_final",
        "_left",
        "_mask",
        "_message",
        "_offset",
        "_opcode",
        "_split",
        "max_message_size",
    )

    def __init__(self, max_message_size: int, deflate: Deflate | None = None) -> None:
        self.max_message_size = max_message_size
        self._deflate = deflate
        # Raw bytes from the offset on; dropped as soon as none are left.
        self._data = b""
        self._offset = 0
        # The message in the making.
        self._opcode = _IDLE
        self._is_compressed = False
        self._message = bytearray()
        self._split = b""  # of text: the beginning of its last character
        # Its frame: how many bytes are still to come, and the mask for the next of them.
        self._left = 0
        self._mask = b""
        self._is_final = False

    @property
    def buffered(self) -> int:
        """Bytes that were fed and not yet parsed."""
        return len(self._data) - self._offset

    def feed(self, data: bytes) -> None:
        """Add bytes as they came from the socket."""
        if self._data:
            self._data = self._data[self._offset :] + data
            self._offset = 0
        else:
            self._data = data

    def next_event(self) -> Event | None:
        """Return the next message or control frame, or a pause; None if more bytes are needed.

        After a `CloseFrame` everything that follows is ignored. After an error the
        decoder must not be asked again.

        Raises:
            ProtocolViolation: The client broke the framing rules (RFC 6455 §5).
            InvalidMessage: A text or a close reason is not UTF-8, or what is
                marked as compressed is not.
            MessageTooBig: A message is larger than `max_message_size`.
        """
        data = self._data
        if not data:
            return None
        offset = self._offset
        size = len(data)
        if self._opcode == _IDLE and size - offset >= SHORT_HEADER:
            first = data[offset]
            length = data[offset + 1] - MASKED
            start = offset + SHORT_HEADER
            end = start + length
            if (
                WHOLE_TEXT <= first <= WHOLE_BINARY
                and 0 <= length <= SHORT
                and end <= size
                and length <= self.max_message_size
            ):
                payload = apply_mask(data[start:end], data[offset + 2 : start])
                try:
                    message = payload.decode() if first == WHOLE_TEXT else payload
                except UnicodeDecodeError:
                    return self._parse()  # fails likewise, and says so
                if end == size:
                    self._data = b""
                    self._offset = 0
                else:
                    self._offset = end
                return message
        return self._parse()

    def _parse(self) -> Event | None:
        """Like `next_event`, for whatever comes."""
        assert self._opcode != _FAILED, "an error is the last that a decoder says"
        frames = 0
        try:
            while self._data and self._opcode != _CLOSED:
                if not self._left:
                    frames += 1
                    if frames > FRAMES:
                        return _PAUSE
                    opcode = self._read_header()
                    if opcode is None:
                        return None
                    if opcode >= CLOSE:
                        return self._take_control(opcode)
                message = self._take_payload()
                if message is not None:
                    return message
        except PeerError:
            self._opcode = _FAILED
            raise
        self._take(self.buffered)
        return None

    def _read_header(self) -> int | None:
        """Return the opcode of the next frame; None if bytes are missing.

        A data frame's header is taken; a control frame stays until it is whole.
        """
        data, offset = self._data, self._offset
        here = len(data) - offset
        if here < 2:
            return None
        first, second = data[offset], data[offset + 1]
        check_header(
            first,
            second,
            is_within_message=self._opcode != _IDLE,
            may_be_compressed=self._deflate is not None,
        )
        opcode = first & OPCODE
        size = header_size(second)
        if opcode >= CLOSE:
            return opcode if here >= size + second - MASKED else None
        if here < size:
            return None
        if opcode != CONTINUATION:
            self._opcode = opcode
            self._is_compressed = bool(first & COMPRESSED)
        header = data[offset : offset + size]
        self._left = read_length(header)
        if not self._is_compressed:
            self._check_size(self._left)
        self._mask = header[-4:]
        self._is_final = first >= FIN
        self._take(size)
        return opcode

    def _check_size(self, more: int) -> None:
        """Check that the message may grow by so many bytes."""
        if len(self._message) + more > self.max_message_size:
            raise MessageTooBig(f"a message is larger than {self.max_message_size} bytes")

    def _take(self, count: int) -> None:
        self._offset += count
        if self._offset == len(self._data):
            self._data = b""
            self._offset = 0

    def _take_control(self, opcode: int) -> Ping | Pong | CloseFrame:
        """Return the control frame that is next and whole."""
        start = self._offset + SHORT_HEADER
        end = start + self._data[self._offset + 1] - MASKED
        payload = apply_mask(self._data[start:end], self._data[start - 4 : start])
        if opcode == CLOSE:
            frame = _read_close(payload)
            self._opcode = _CLOSED
            self._take(self.buffered)
            return frame
        self._take(end - self._offset)
        return Ping(payload) if opcode == PING else Pong(payload)

    def _take_payload(self) -> str | bytes | None:
        """Take what is here of the data frame; return the message that it completes."""
        masked = self._data[self._offset : self._offset + self._left]
        payload = apply_mask(masked, self._mask)
        is_last = self._is_final and len(masked) == self._left
        if self._is_compressed:
            payload = self._inflate(payload, is_last=is_last)
        message = self._add(payload, is_last=is_last)
        if is_last:
            self._opcode = _IDLE
        self._left -= len(masked)
        turn = len(masked) % 4
        self._mask = self._mask[turn:] + self._mask[:turn]
        self._take(len(masked))
        return message

    def _inflate(self, payload: bytes, *, is_last: bool) -> bytes:
        assert self._deflate is not None, "without it the bit that says compressed is refused"
        # One byte more than may be shows what is too big. Never below 1, whatever the
        # maximum has become meanwhile: zlib takes 0 for no bound at all.
        room = max(self.max_message_size - len(self._message), 0)
        inflated = self._deflate.decompress(payload, room + 1, is_last=is_last)
        self._check_size(len(inflated))
        return inflated

    def _add(self, payload: bytes, *, is_last: bool) -> str | bytes | None:
        """Return the message if this completes it."""
        is_text = self._opcode == TEXT
        try:
            if is_last and not self._message:
                return payload.decode() if is_text else payload
            if is_text:
                text = self._split + payload
                _, length = utf_8_decode(text, "strict", is_last)
                self._split = text[length:]
        except UnicodeDecodeError as exc:
            raise InvalidMessage(_NOT_UTF8) from exc
        # The second byte tells a surrogate; Python waits for the third.
        if b"\xed\xa0" <= self._split < b"\xee":
            raise InvalidMessage(_NOT_UTF8)
        self._message += payload
        if not is_last:
            return None
        message, self._message = self._message, bytearray()
        return message.decode() if is_text else bytes(message)


def _read_close(payload: bytes) -> CloseFrame:
    """Return what the payload of a close frame says."""
    if not payload:
        return CloseFrame(NO_STATUS, "")
    if len(payload) == 1:
        raise ProtocolViolation("a close frame has half a code")
    code = int.from_bytes(payload[:2])
    if not (1000 <= code <= 1003 or 1007 <= code <= 1014 or 3000 <= code <= 4999):
        raise ProtocolViolation(f"a close frame has the code {code}")
    try:
        return CloseFrame(code, payload[2:].decode())
    except UnicodeDecodeError as exc:
        raise InvalidMessage("a close reason is not UTF-8") from exc


def encode_message(message: str | bytes) -> bytes:
    """Return the message as one frame.

    Raises:
        UnicodeEncodeError: The text has a lone surrogate.
    """
    if isinstance(message, str):
        payload = message.encode()
        length = len(payload)
        if length <= SHORT:
            return _SHORT_TEXT[length] + payload
        return long_header(WHOLE_TEXT, length) + payload
    length = len(message)
    if length <= SHORT:
        return _SHORT_BINARY[length] + message
    return long_header(WHOLE_BINARY, length) + message


def encode_ping(payload: bytes) -> bytes:
    """Return a ping; at most 125 bytes of payload."""
    return _encode_control(PING, payload)


def encode_pong(payload: bytes) -> bytes:
    """Return a pong; the payload is that of the ping which it answers."""
    return _encode_control(PONG, payload)


def encode_close(code: int, reason: str) -> bytes:
    """Return a close frame.

    Args:
        code: Not checked: an answer repeats the client's. 1005 is said by an empty
            frame, without a reason (RFC 6455 §7.4.1).
        reason: Cut on a character to 123 bytes.
    """
    if code == NO_STATUS:
        return _encode_control(CLOSE, b"")
    return _encode_control(CLOSE, pack("!H", code) + cut_reason(reason).encode())


def _encode_control(opcode: int, payload: bytes) -> bytes:
    assert len(payload) <= SHORT, "a control frame carries at most 125 bytes (RFC 6455 §5.5)"
    return bytes((FIN | opcode, len(payload))) + payload
