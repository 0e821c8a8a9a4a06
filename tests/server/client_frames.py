"""Frames as clients send them, the wrong ones too."""

from collections.abc import Iterator

from triows.server._frames import Decoder, Event

MASK = b"\x1e\xa3\x00\x7f"

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA


def xor(payload: bytes, mask: bytes = MASK) -> bytes:
    """Mask the payload, or unmask it (RFC 6455 §5.3)."""
    stretched = mask * (len(payload) // 4 + 1)
    mixed = int.from_bytes(payload) ^ int.from_bytes(stretched[: len(payload)])
    return mixed.to_bytes(len(payload))


def header(
    opcode: int, length: int, *, fin: bool = True, reserved: int = 0, width: int | None = None
) -> bytes:
    """Return a header without its mask; `width` are the bytes of the length: 1, 3 or 9."""
    if width is None:
        width = 1 if length < 126 else 3 if length < 65536 else 9
    first = fin << 7 | reserved << 4 | opcode
    if width == 1:
        return bytes((first, 0x80 | length))
    return bytes((first, 0xFE if width == 3 else 0xFF)) + length.to_bytes(width - 1)


def frame(
    opcode: int,
    payload: bytes = b"",
    *,
    fin: bool = True,
    reserved: int = 0,
    width: int | None = None,
    mask: bytes = MASK,
) -> bytes:
    """Return a masked frame; the reserved bits are 4, 2 and 1."""
    head = header(opcode, len(payload), fin=fin, reserved=reserved, width=width)
    return head + mask + xor(payload, mask)


def events(decoder: Decoder) -> Iterator[Event]:
    """Yield what the decoder has by now."""
    while (event := decoder.next_event()) is not None:
        yield event


def decode(*pieces: bytes, decoder: Decoder | None = None) -> list[Event]:
    """Return the events of bytes that arrive in these pieces."""
    decoder = Decoder(1 << 20) if decoder is None else decoder
    found: list[Event] = []
    for piece in pieces:
        decoder.feed(piece)
        found += events(decoder)
    return found
