"""The header of a frame: what a client may say in it, and how a length is told."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.server.client_frames import (
    BINARY,
    CLOSE,
    CONTINUATION,
    MASK,
    PING,
    PONG,
    TEXT,
    header,
)
from triows._errors import ProtocolViolation
from triows.server._frame_header import check_header, header_size, long_header, read_length


def check(
    encoded: bytes, *, is_within_message: bool = False, may_be_compressed: bool = False
) -> None:
    """Check the beginning of an encoded header."""
    check_header(
        encoded[0],
        encoded[1],
        is_within_message=is_within_message,
        may_be_compressed=may_be_compressed,
    )


@pytest.mark.parametrize("fin", [True, False])
@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_a_message_starts(opcode: int, fin: bool) -> None:
    """A text or binary frame starts a message, whole or not."""
    check(header(opcode, 5, fin=fin))


@pytest.mark.parametrize("fin", [True, False])
def test_a_message_goes_on(fin: bool) -> None:
    """Within a message continuation frames follow (RFC 6455 §5.4)."""
    check(header(CONTINUATION, 70_000, fin=fin), is_within_message=True)


@pytest.mark.parametrize("is_within_message", [True, False])
@pytest.mark.parametrize("opcode", [CLOSE, PING, PONG])
def test_control_frames_come_anywhere(opcode: int, is_within_message: bool) -> None:
    """A control frame of up to 125 bytes may come at any time, also within a message."""
    check(header(opcode, 125), is_within_message=is_within_message)


@pytest.mark.parametrize("opcode", [3, 4, 5, 6, 7, 11, 12, 13, 14, 15])
def test_unknown_opcode(opcode: int) -> None:
    """Reserved opcodes mean nothing yet."""
    with pytest.raises(ProtocolViolation, match=f"unknown opcode {opcode:#x}"):
        check(header(opcode, 0))


@pytest.mark.parametrize("opcode", [TEXT, BINARY, CLOSE, PING, PONG])
def test_no_mask(opcode: int) -> None:
    """A client that does not mask its frames is refused (§5.1)."""
    first, second = header(opcode, 5)

    with pytest.raises(ProtocolViolation, match="not masked"):
        check(bytes((first, second & 0x7F)))


@pytest.mark.parametrize("reserved", range(1, 8))
@pytest.mark.parametrize("opcode", [TEXT, BINARY, CLOSE, PING, PONG])
def test_reserved_bits(opcode: int, reserved: int) -> None:
    """Without an extension no reserved bit may be set."""
    with pytest.raises(ProtocolViolation, match="reserved bits"):
        check(header(opcode, 5, reserved=reserved))


@pytest.mark.parametrize("fin", [True, False])
@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_compressed_message(opcode: int, fin: bool) -> None:
    """With deflate the first bit is set on the first frame of a compressed message."""
    check(header(opcode, 5, fin=fin, reserved=4), may_be_compressed=True)


@pytest.mark.parametrize("reserved", [1, 2, 3, 5, 6, 7])
def test_other_reserved_bits_with_deflate(reserved: int) -> None:
    """With deflate the other two bits are as forbidden as ever."""
    with pytest.raises(ProtocolViolation, match="reserved bits"):
        check(header(TEXT, 5, reserved=reserved), may_be_compressed=True)


@pytest.mark.parametrize("opcode", [CONTINUATION, CLOSE, PING, PONG])
def test_compressed_where_it_cannot_be(opcode: int) -> None:
    """Neither a control frame nor the middle of a message is marked as compressed (RFC 7692 §6)."""
    with pytest.raises(ProtocolViolation, match="reserved bits"):
        check(header(opcode, 5, reserved=4), is_within_message=True, may_be_compressed=True)


@pytest.mark.parametrize("opcode", [CLOSE, PING, PONG])
def test_fragmented_control_frame(opcode: int) -> None:
    """A control frame is one frame (RFC 6455 §5.5)."""
    with pytest.raises(ProtocolViolation, match="fragmented"):
        check(header(opcode, 5, fin=False))


@pytest.mark.parametrize("length", [126, 65536])
@pytest.mark.parametrize("opcode", [CLOSE, PING, PONG])
def test_long_control_frame(opcode: int, length: int) -> None:
    """A control frame of 126 bytes or more is seen by its second byte already."""
    with pytest.raises(ProtocolViolation, match="longer than 125"):
        check(header(opcode, length))


def test_continuation_of_nothing() -> None:
    """A continuation frame without a message is refused."""
    with pytest.raises(ProtocolViolation, match="continues nothing"):
        check(header(CONTINUATION, 5))


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_message_within_a_message(opcode: int) -> None:
    """Messages are not interleaved."""
    with pytest.raises(ProtocolViolation, match="starts within another"):
        check(header(opcode, 5), is_within_message=True)


@pytest.mark.parametrize(
    ("length", "size"),
    [(0, 6), (125, 6), (126, 8), (65535, 8), (65536, 14), (2**63 - 1, 14)],
)
def test_length(length: int, size: int) -> None:
    """A length takes one, three or nine bytes, as few as possible; then comes the mask."""
    encoded = header(BINARY, length) + MASK

    assert size == len(encoded) == header_size(encoded[1])
    assert length == read_length(encoded)


@pytest.mark.parametrize(
    ("length", "width"), [(0, 3), (125, 3), (0, 9), (125, 9), (126, 9), (65535, 9)]
)
def test_longer_than_it_needs(length: int, width: int) -> None:
    """A length in more bytes than it needs is refused (RFC 6455 §5.2)."""
    with pytest.raises(ProtocolViolation, match="more bytes than it needs"):
        read_length(header(BINARY, length, width=width) + MASK)


@pytest.mark.parametrize("length", [2**63, 2**64 - 1])
def test_64_bits(length: int) -> None:
    """A length has 63 bits."""
    with pytest.raises(ProtocolViolation, match="most significant bit"):
        read_length(header(BINARY, length) + MASK)


@given(st.integers(126, 2**63 - 1))
@example(126)
@example(65535)
@example(65536)
def test_long_header_of_ours(length: int) -> None:
    """Ours is the client's without the mask and its bit."""
    first, second, *rest = header(TEXT, length)

    assert bytes((first, second & 0x7F, *rest)) == long_header(0x81, length)
