"""The header of a frame, by itself (RFC 6455 §5.2): its bits, what they may be, and its length."""

from struct import pack

from triows._errors import ProtocolViolation

FIN = 0x80
COMPRESSED = 0x40  # RFC 7692 §6: the first reserved bit
RESERVED = 0x70
OPCODE = 0x0F
MASKED = 0x80

CONTINUATION = 0x0
TEXT = 0x1
BINARY = 0x2
CLOSE = 0x8
PING = 0x9
PONG = 0xA

WHOLE_TEXT = FIN | TEXT
WHOLE_BINARY = FIN | BINARY

SHORT = 125
"""Bytes: a longer length is not told in one byte, and no control frame has it (§5.5)."""

SHORT_HEADER = 6
"""Bytes of the header of a short frame, mask included."""

_KNOWN = frozenset({CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG})


def check_header(
    first: int, second: int, *, is_within_message: bool, may_be_compressed: bool
) -> None:
    """Check the first two bytes of a client's frame, which say all but a long length.

    Within a message means that a fragmented one has begun and not ended; frames may be
    compressed if the handshake agreed on permessage-deflate.

    Raises:
        ProtocolViolation: No client may send this here.
    """
    opcode = first & OPCODE
    if opcode not in _KNOWN:
        raise ProtocolViolation(f"a frame has the unknown opcode {opcode:#x}")
    if second < MASKED:
        raise ProtocolViolation("a frame is not masked")
    allowed = COMPRESSED if may_be_compressed and opcode in (TEXT, BINARY) else 0
    if first & RESERVED & ~allowed:
        raise ProtocolViolation("a frame has reserved bits set")
    if opcode >= CLOSE:
        if first < FIN:
            raise ProtocolViolation("a control frame is fragmented")
        if second - MASKED > SHORT:
            raise ProtocolViolation(f"a control frame is longer than {SHORT} bytes")
    elif opcode == CONTINUATION and not is_within_message:
        raise ProtocolViolation("a continuation frame continues nothing")
    elif opcode != CONTINUATION and is_within_message:
        raise ProtocolViolation("a message starts within another")


def header_size(second: int) -> int:
    """Return how many bytes a client's header has, by its second byte."""
    length = second - MASKED
    if length <= SHORT:
        return SHORT_HEADER
    return SHORT_HEADER + (2 if length == SHORT + 1 else 8)


def read_length(header: bytes) -> int:
    """Return how many bytes of payload a client's header tells.

    Raises:
        ProtocolViolation: It could be told in fewer bytes, or is beyond 63 bits (§5.2).
    """
    if len(header) == SHORT_HEADER:
        return header[1] - MASKED
    length = int.from_bytes(header[2:-4])
    if length >> 63:
        raise ProtocolViolation("a frame's length has its most significant bit set")
    if length <= (SHORT if len(header) == SHORT_HEADER + 2 else 0xFFFF):
        raise ProtocolViolation("a frame's length takes more bytes than it needs")
    return length


def long_header(first: int, length: int) -> bytes:
    """Return a server's header of a frame that is not short."""
    if length <= 0xFFFF:
        return pack("!BBH", first, SHORT + 1, length)
    return pack("!BBQ", first, SHORT + 2, length)
