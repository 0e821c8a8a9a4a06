"""The frame codec: whole messages out of bytes cut anywhere, and frames for a client."""

import runpy
import sys
import tracemalloc
import zlib
from dataclasses import FrozenInstanceError
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode

from tests.server.client_frames import (
    BINARY,
    CLOSE,
    CONTINUATION,
    MASK,
    PING,
    PONG,
    TEXT,
    decode,
    frame,
    header,
    xor,
)
from triows._errors import InvalidMessage, MessageTooBig, ProtocolViolation
from triows.server import _frames
from triows.server._deflate import Deflate, negotiate
from triows.server._frames import (
    CloseFrame,
    Decoder,
    Event,
    Pause,
    Ping,
    Pong,
    encode_close,
    encode_message,
    encode_ping,
    encode_pong,
)

SIZES = [0, 1, 124, 125, 126, 127, 65535, 65536, 70000]

HELLO = bytes.fromhex("f2 48 cd c9 c9 07 00")


def single_bytes(data: bytes) -> list[bytes]:
    """Return the data in the smallest pieces."""
    return [bytes((byte,)) for byte in data]


def agree(offer: str = "permessage-deflate") -> Deflate:
    """Return the codec that comes of an offer."""
    agreed = negotiate([offer])
    assert agreed is not None
    return agreed[1]


def deflated(data: bytes) -> bytes:
    """Return the data as the payload of a compressed message, the first one of a connection."""
    compressor = zlib.compressobj(wbits=-12)
    return (compressor.compress(data) + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4]


@pytest.mark.parametrize("size", SIZES)
def test_text(size: int) -> None:
    """A text message is a str, of any size."""
    assert ["x" * size] == decode(frame(TEXT, b"x" * size))


@pytest.mark.parametrize("size", SIZES)
def test_binary(size: int) -> None:
    """A binary message is bytes, of any size."""
    assert [b"\xff" * size] == decode(frame(BINARY, b"\xff" * size))


def test_unicode() -> None:
    """Text is UTF-8, of characters of every length."""
    text = "aé€𝄞\0\ufeff"

    assert [text] == decode(frame(TEXT, text.encode()))


def test_order() -> None:
    """Many frames in one read are told in their order."""
    stream = frame(TEXT, b"one") + frame(BINARY, b"two") + frame(PING, b"3") + frame(TEXT, b"four")

    assert ["one", b"two", Ping(b"3"), "four"] == decode(stream)


def test_fragments() -> None:
    """A message is whole when its final frame is there; some frames may be empty."""
    stream = (
        frame(TEXT, b"", fin=False)
        + frame(CONTINUATION, b"Hel", fin=False)
        + frame(CONTINUATION, b"", fin=False)
        + frame(CONTINUATION, b"lo")
    )

    assert ["Hello", b"next"] == decode(stream, frame(BINARY, b"next"))


@pytest.mark.parametrize(("opcode", "empty"), [(TEXT, ""), (BINARY, b"")])
def test_fragments_of_nothing(opcode: int, empty: str | bytes) -> None:
    """Empty fragments make an empty message."""
    assert [empty] == decode(frame(opcode, b"", fin=False) + frame(CONTINUATION, b""))


def test_control_frames_between_fragments() -> None:
    """Control frames come through at once, and the message goes on after them."""
    stream = (
        frame(TEXT, b"\xe2\x82", fin=False)
        + frame(PING, b"1")
        + frame(CONTINUATION, b"\xac", fin=False)
        + frame(PONG, b"2")
        + frame(PING, b"x" * 125)
        + frame(CONTINUATION, b"")
    )

    assert [Ping(b"1"), Pong(b"2"), Ping(b"x" * 125), "€"] == decode(stream)


def test_close_between_fragments() -> None:
    """A close frame may come in the middle of a message, which is then lost (RFC 6455 §5.4)."""
    stream = frame(TEXT, b"Hel", fin=False) + frame(CLOSE, b"\x03\xe9") + frame(CONTINUATION, b"lo")

    assert [CloseFrame(1001, "")] == decode(stream)


def test_byte_by_byte() -> None:
    """However slowly bytes arrive, the same comes of them."""
    stream = (
        frame(TEXT, "é€𝄞".encode())
        + frame(BINARY, b"", fin=False)
        + frame(PONG, b"")
        + frame(CONTINUATION, bytes(range(256)))
        + frame(BINARY, bytes(65536))
        + frame(CLOSE, b"\x03\xe8bye")
    )

    found = decode(*single_bytes(stream))

    assert decode(stream) == found
    whole = ["é€𝄞", Pong(b""), bytes(range(256)), bytes(65536), CloseFrame(1000, "bye")]
    assert whole == found


@given(st.binary(min_size=4, max_size=4), st.lists(st.binary(max_size=9)))
def test_mask_turns_with_the_payload(mask: bytes, pieces: list[bytes]) -> None:
    """A payload is unmasked right in pieces of any length."""
    data = b"".join(pieces)
    masked = [
        xor(data, mask)[len(b"".join(pieces[:i])) :][: len(pieces[i])] for i in range(len(pieces))
    ]

    assert [data] == decode(header(BINARY, len(data)) + mask, *masked)


def test_nothing_yet() -> None:
    """Without bytes there is no event, nor with no more than the beginning of a frame."""
    decoder = Decoder(1000)

    assert decoder.next_event() is None
    for piece in single_bytes(frame(BINARY, b"x" * 200)[:-1]):
        decoder.feed(piece)
        assert decoder.next_event() is None


def test_fed_ahead() -> None:
    """More may be fed before everything was asked for; `buffered` says what is raw."""
    one, two = frame(TEXT, b"one"), frame(TEXT, b"two")
    decoder = Decoder(1000)

    decoder.feed(one + two)
    assert "one" == decoder.next_event()
    assert len(two) == decoder.buffered
    decoder.feed(one[:4])
    assert len(two) + 4 == decoder.buffered
    decoder.feed(one[4:])

    assert ["two", "one"] == decode(decoder=decoder) + decode(b"", decoder=decoder)
    assert 0 == decoder.buffered


@pytest.mark.parametrize("fin", [True, False])
def test_data_does_not_stay_raw(fin: bool) -> None:
    """What has arrived of a data frame is taken at once; an incomplete header stays."""
    head = header(BINARY, 500, fin=fin) + MASK
    decoder = Decoder(1000)

    for piece, buffered in [(head[:1], 1), (head[1:7], 7), (head[7:], 0), (b"x" * 300, 0)]:
        assert [] == decode(piece, decoder=decoder)
        assert buffered == decoder.buffered


def test_control_frame_stays_raw() -> None:
    """A control frame is told when it is whole."""
    ping = frame(PING, b"x" * 125)
    decoder = Decoder(1000)

    assert [] == decode(*single_bytes(ping[:-1]), decoder=decoder)
    assert 130 == decoder.buffered
    assert [Ping(b"x" * 125)] == decode(ping[-1:], decoder=decoder)


@pytest.mark.timeout(10)
@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_long_message_in_small_reads(opcode: int) -> None:
    """A message of 16 MiB costs time in proportion to its size, not to its square."""
    size = 1 << 24
    stream = header(opcode, size) + bytes(4) + b"x" * size
    reads = (stream[start : start + 512] for start in range(0, len(stream), 512))

    (message,) = decode(*reads, decoder=Decoder(size))

    assert size == len(message)  # type: ignore[arg-type]


def test_small_pieces_take_no_more_memory_than_large_ones() -> None:
    """A client that sends three bytes at a time cannot blow a message up."""
    size = 30_000
    decoder = Decoder(size)
    decode(header(TEXT, size) + bytes(4), decoder=decoder)

    tracemalloc.start()
    try:
        for _ in range(size // 3 - 1):
            decode("€".encode(), decoder=decoder)
        assert tracemalloc.get_traced_memory()[0] < 2 * size
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("size", [100, 125, 126, 70_000])
def test_largest_message(size: int) -> None:
    """A message may be exactly as large as the maximum, whole or in fragments."""
    whole = frame(BINARY, bytes(size))
    fragments = frame(BINARY, bytes(size - 1), fin=False) + frame(CONTINUATION, b"\0")

    assert [bytes(size)] * 2 == decode(whole + fragments, decoder=Decoder(size))


@pytest.mark.parametrize("size", [101, 126, 70_000, 1 << 40])
def test_too_big(size: int) -> None:
    """A message that is too big is refused by its header, before any of it arrives."""
    with pytest.raises(MessageTooBig, match="larger than 100 bytes") as caught:
        decode(header(BINARY, size) + MASK, decoder=Decoder(100))

    assert 1009 == caught.value.code


def test_too_big_in_fragments() -> None:
    """The fragment that would pass the maximum is refused by its header."""
    decoder = Decoder(100)
    start = frame(TEXT, b"x" * 60, fin=False) + frame(CONTINUATION, b"x" * 40, fin=False)

    assert [] == decode(start, decoder=decoder)
    with pytest.raises(MessageTooBig):
        decode(header(CONTINUATION, 1, fin=False) + MASK, decoder=decoder)


def test_maximum_changes() -> None:
    """The maximum may be changed from one message to the next."""
    decoder = Decoder(10)

    assert [b"x" * 10] == decode(frame(BINARY, b"x" * 10), decoder=decoder)
    decoder.max_message_size = 20
    assert [b"x" * 20] == decode(frame(BINARY, b"x" * 20), decoder=decoder)
    decoder.max_message_size = 5
    with pytest.raises(MessageTooBig, match="5 bytes"):
        decode(frame(BINARY, b"x" * 6), decoder=decoder)


@pytest.mark.parametrize(
    "stream",
    [
        pytest.param(frame(3), id="unknown opcode"),
        pytest.param(frame(PING, b"", fin=False), id="fragmented control frame"),
        pytest.param(frame(PING, b"x" * 126), id="long control frame"),
        pytest.param(frame(TEXT, b"", reserved=4), id="compressed without deflate"),
        pytest.param(frame(BINARY, b"", reserved=1), id="reserved bit"),
        pytest.param(b"\x81\x02ab", id="not masked"),
        pytest.param(frame(CONTINUATION, b"x"), id="continuation of nothing"),
        pytest.param(frame(TEXT, b"", fin=False) + frame(TEXT), id="message within a message"),
        pytest.param(frame(TEXT, b"x", width=3), id="length in three bytes"),
        pytest.param(frame(TEXT, b"x" * 126, width=9), id="length in nine bytes"),
        pytest.param(header(TEXT, 1 << 63) + MASK, id="length of 64 bits"),
        pytest.param(frame(CLOSE, b"\x03"), id="half a close code"),
    ],
)
def test_violation(stream: bytes) -> None:
    """Frames that break the rules of RFC 6455 §5 are refused, however they are cut."""
    for pieces in ([stream], single_bytes(stream)):
        with pytest.raises(ProtocolViolation) as caught:
            decode(frame(TEXT, b"first"), *pieces)

        assert 1002 == caught.value.code


def test_violation_is_seen_by_two_bytes() -> None:
    """A frame is refused by its first two bytes, if they are enough to tell."""
    decoder = Decoder(1000)

    assert [] == decode(b"\x83", decoder=decoder)
    with pytest.raises(ProtocolViolation):
        decode(b"\xfe", decoder=decoder)


BAD_UTF8 = [
    b"\xff",
    b"\x80",
    b"\xc0",
    b"\xc3(",
    b"\xe0\x80",
    b"\xed\xa0",
    b"\xed\xbf",
    b"\xe2\x28",
    b"\xf0\x80",
    b"\xf4\x90",
    b"\xf5",
]


@pytest.mark.parametrize("bad", BAD_UTF8)
def test_bad_utf8_in_the_middle_of_a_frame(bad: bytes) -> None:
    """Bad UTF-8 fails at the byte that is wrong, before the rest of the message arrives."""
    stream = header(TEXT, 100) + MASK + xor("κόσμε".encode() + bad)
    decoder = Decoder(1000)

    assert [] == decode(*single_bytes(stream[:-1]), decoder=decoder)
    with pytest.raises(InvalidMessage, match="not UTF-8") as caught:
        decode(stream[-1:], decoder=decoder)

    assert 1007 == caught.value.code


@pytest.mark.parametrize("bad", BAD_UTF8)
def test_bad_utf8_across_fragments(bad: bytes) -> None:
    """Bad UTF-8 fails in the fragment that makes it so."""
    decoder = Decoder(1000)
    start = frame(TEXT, "κόσμε".encode() + bad[:-1], fin=False)

    assert [] == decode(start, decoder=decoder)
    with pytest.raises(InvalidMessage, match="not UTF-8"):
        decode(frame(CONTINUATION, bad[-1:], fin=False), decoder=decoder)


@pytest.mark.parametrize("bad", [*BAD_UTF8, b"\xe2\x82", b"\xf0"])
@pytest.mark.parametrize("size", [0, 200])
def test_bad_utf8_in_a_whole_message(bad: bytes, size: int) -> None:
    """A message of bad UTF-8, or that ends within a character, is invalid; short and long."""
    with pytest.raises(InvalidMessage, match="not UTF-8"):
        decode(frame(TEXT, b"x" * size + bad))


def test_text_ends_within_a_character() -> None:
    """A character that is not completed by the last fragment is bad UTF-8."""
    with pytest.raises(InvalidMessage, match="not UTF-8"):
        decode(frame(TEXT, b"\xe2\x82", fin=False), frame(CONTINUATION, b""))


def test_binary_is_not_checked() -> None:
    """Bytes in fragments need not be UTF-8."""
    assert [b"\xff\xe2"] == decode(frame(BINARY, b"\xff", fin=False), frame(CONTINUATION, b"\xe2"))


@pytest.mark.parametrize(
    ("payload", "close"),
    [
        (b"", CloseFrame(1005, "")),
        (b"\x03\xe8", CloseFrame(1000, "")),
        (b"\x11\x94" + "no room €".encode(), CloseFrame(4500, "no room €")),
        (b"\x0b\xb8" + b"x" * 123, CloseFrame(3000, "x" * 123)),
    ],
)
def test_close(payload: bytes, close: CloseFrame) -> None:
    """A close frame has a code and a reason, or neither: then it is 1005."""
    assert [close] == decode(frame(CLOSE, payload))


@pytest.mark.parametrize("code", [*range(1000, 1004), *range(1007, 1015), 3000, 3999, 4000, 4999])
def test_valid_close_code(code: int) -> None:
    """Codes that RFC 6455 §7.4 and IANA know, of libraries and of applications, are taken."""
    assert [CloseFrame(code, "")] == decode(frame(CLOSE, code.to_bytes(2)))


@pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1015, 1016, 2000, 2999, 5000, 65535])
def test_invalid_close_code(code: int) -> None:
    """Other codes must not be on the wire."""
    with pytest.raises(ProtocolViolation, match=f"code {code}"):
        decode(frame(CLOSE, code.to_bytes(2)))


def test_bad_utf8_in_a_reason() -> None:
    """A close reason is UTF-8 too."""
    with pytest.raises(InvalidMessage, match="close reason"):
        decode(frame(CLOSE, b"\x03\xe8\xff"))


def test_after_close() -> None:
    """What follows a close frame is ignored and not kept, whatever it is."""
    decoder = Decoder(1000)

    assert [CloseFrame(1000, "")] == decode(frame(CLOSE, b"\x03\xe8") + b"rubbish", decoder=decoder)
    assert [] == decode(frame(TEXT, b"more"), b"rubbish", decoder=decoder)
    assert 0 == decoder.buffered


def test_after_an_error() -> None:
    """To ask again after an error is our own mistake."""
    decoder = Decoder(1000)
    decoder.feed(frame(TEXT, b"\xff"))

    with pytest.raises(InvalidMessage):
        decoder.next_event()
    with pytest.raises(AssertionError):
        decoder.next_event()


def test_events_are_facts() -> None:
    """What was received cannot be changed."""
    (ping,) = decode(frame(PING, b"x"))

    with pytest.raises(FrozenInstanceError):
        ping.payload = b"y"  # type: ignore[union-attr,misc]


def test_compressed_messages() -> None:
    """Compressed messages and others follow each other, in fragments, between control frames."""
    stream = (
        frame(TEXT, HELLO, reserved=4)
        + frame(TEXT, b"plain")
        + frame(BINARY, HELLO[:3], fin=False, reserved=4)
        + frame(PING, b"")
        + frame(CONTINUATION, HELLO[3:5], fin=False)
        + frame(CONTINUATION, HELLO[5:])
        + frame(TEXT, b"\x00", reserved=4)
    )
    whole = ["Hello", "plain", Ping(b""), b"Hello", ""]

    for pieces in ([stream], single_bytes(stream)):
        assert whole == decode(*pieces, decoder=Decoder(1000, agree()))


def test_context_goes_on() -> None:
    """A compressed message may refer to the one before (RFC 7692 §7.2.3.2)."""
    second = bytes.fromhex("f2 00 11 00 00")

    found = decode(
        frame(TEXT, HELLO, reserved=4),
        frame(TEXT, second, reserved=4),
        decoder=Decoder(1000, agree()),
    )

    assert ["Hello", "Hello"] == found


def test_bad_utf8_in_a_compressed_message() -> None:
    """Compressed text fails at the wrong byte too."""
    payload = zlib.compressobj(0, wbits=-12)
    start = payload.compress(b"\xff" * 50) + payload.flush(zlib.Z_SYNC_FLUSH)

    with pytest.raises(InvalidMessage, match="not UTF-8"):
        decode(frame(TEXT, start, fin=False, reserved=4), decoder=Decoder(1000, agree()))


def test_not_compressed_though_it_says_so() -> None:
    """What cannot be inflated is an invalid message."""
    with pytest.raises(InvalidMessage, match="inflated"):
        decode(frame(TEXT, b"\xff\xff\xff", reserved=4), decoder=Decoder(1000, agree()))


@pytest.mark.parametrize("is_fragmented", [True, False])
def test_largest_compressed_message(is_fragmented: bool) -> None:
    """The maximum is that of the inflated message."""
    payload = deflated(bytes(1000))
    stream = frame(BINARY, payload, fin=not is_fragmented, reserved=4)
    if is_fragmented:
        stream += frame(CONTINUATION, b"")

    assert [bytes(1000)] == decode(stream, decoder=Decoder(1000, agree()))
    with pytest.raises(MessageTooBig):
        decode(stream, decoder=Decoder(999, agree()))


def test_compressed_data_may_be_larger() -> None:
    """A message that does not compress well may be larger on the wire than the maximum."""
    payload = b"\x00\x05\x00\xfa\xffHello\x00"

    assert ["Hello"] == decode(frame(TEXT, payload, reserved=4), decoder=Decoder(5, agree()))


@pytest.mark.parametrize("is_final", [True, False])
def test_bomb(is_final: bool) -> None:
    """Of a compression bomb no more is inflated than the maximum."""
    bomb = frame(TEXT, deflated(bytes(100 << 20)), fin=is_final, reserved=4)
    decoder = Decoder(100_000, agree())

    tracemalloc.start()
    try:
        with pytest.raises(MessageTooBig):
            decode(bomb, decoder=decoder)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def test_maximum_is_used_up() -> None:
    """A fragment that inflates to a byte too many is refused, one that inflates to none is not."""
    compressor = zlib.compressobj(wbits=-12)
    pieces = [
        compressor.compress(data) + compressor.flush(zlib.Z_SYNC_FLUSH)
        for data in (bytes(1000), b"", b"x")
    ]
    decoder = Decoder(1000, agree())

    decode(frame(BINARY, pieces[0], fin=False, reserved=4), decoder=decoder)
    decode(frame(CONTINUATION, pieces[1], fin=False), decoder=decoder)
    with pytest.raises(MessageTooBig):
        decode(frame(CONTINUATION, pieces[2], fin=False), decoder=decoder)


def test_maximum_falls_below_what_is_inflated() -> None:
    """A maximum lowered in the middle of a message ends it, and is not taken for no maximum."""
    decoder = Decoder(1000, agree())
    decode(frame(BINARY, deflated(bytes(500)), fin=False, reserved=4), decoder=decoder)
    decoder.max_message_size = 100

    with pytest.raises(MessageTooBig):
        decode(frame(CONTINUATION, b""), decoder=decoder)


@pytest.mark.parametrize("size", SIZES)
def test_encode_message(size: int) -> None:
    """A message is one unmasked frame, with a length as short as possible."""
    length = header(TEXT, size)[1:]
    length = bytes((length[0] & 0x7F,)) + length[1:]

    assert b"\x81" + length + b"x" * size == encode_message("x" * size)
    assert b"\x82" + length + b"x" * size == encode_message(b"x" * size)


@pytest.mark.parametrize("count", [2, 63, 64])
def test_encode_unicode(count: int) -> None:
    """The length of a text is that of its UTF-8."""
    encoded = encode_message("ü" * count)

    assert ("ü" * count).encode() == encoded[2 if count < 63 else 4 :]


@pytest.mark.parametrize("size", [1, 200])
def test_encode_surrogates(size: int) -> None:
    """Text that is no Unicode is our caller's mistake."""
    with pytest.raises(UnicodeEncodeError):
        encode_message("\ud800" * size)


def test_encode_ping_and_pong() -> None:
    """Pings and pongs carry up to 125 bytes."""
    assert b"\x89\x00" == encode_ping(b"")
    assert b"\x8a\x7d" + bytes(125) == encode_pong(bytes(125))


@pytest.mark.parametrize("encode", [encode_ping, encode_pong])
def test_encode_too_much(encode: Any) -> None:
    """More than 125 bytes in a control frame are our own mistake."""
    with pytest.raises(AssertionError):
        encode(bytes(126))


@pytest.mark.parametrize(
    ("code", "reason", "encoded"),
    [
        (1000, "", b"\x88\x02\x03\xe8"),
        (4401, "€", b"\x88\x05\x11\x31\xe2\x82\xac"),
        (1005, "", b"\x88\x00"),
        (1005, "unsaid", b"\x88\x00"),
        (1000, "ü" * 100, b"\x88\x7c\x03\xe8" + "ü".encode() * 61),
        (1000, "\ud800", b"\x88\x03\x03\xe8?"),
    ],
)
def test_encode_close(code: int, reason: str, encoded: bytes) -> None:
    """A close frame has the code and what fits of the reason; 1005 is an empty one."""
    assert encoded == encode_close(code, reason)


def test_without_the_c_extension(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where `websockets` has no C extension its Python code unmasks."""
    monkeypatch.setitem(sys.modules, "websockets.speedups", None)
    slow: dict[str, Any] = runpy.run_path(_frames.__file__)
    decoder: Decoder = slow["Decoder"](1000)
    found: list[Event] = decode(frame(TEXT, b"Hello"), frame(BINARY, b""), decoder=decoder)

    assert ["Hello", b""] == found
    assert "websockets.utils" == slow["apply_mask"].__module__


def test_a_pause() -> None:
    """After very many frames without an event there is a pause; then it goes on."""
    decoder = Decoder(1024)
    decoder.feed(
        Frame(Opcode.TEXT, b"", fin=False).serialize(mask=True)
        + Frame(Opcode.CONT, b"", fin=False).serialize(mask=True) * 300
        + Frame(Opcode.CONT, b"end").serialize(mask=True)
    )

    assert [Pause(), Pause(), "end", None] == [decoder.next_event() for _ in range(4)]
