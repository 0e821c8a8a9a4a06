"""permessage-deflate: what is agreed on, and the examples of RFC 7692."""

import zlib
from collections.abc import Sequence
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.extensions.permessage_deflate import PerMessageDeflate

from triows._errors import InvalidMessage
from triows.server._deflate import Deflate, negotiate

HELLO = bytes.fromhex("f2 48 cd c9 c9 07 00")


def agree(offer: str = "permessage-deflate") -> Deflate:
    """Return the codec that comes of an offer."""
    agreed = negotiate([offer])
    assert agreed is not None
    return agreed[1]


def inflate(deflate: Deflate, *pieces: bytes, max_length: int = 1 << 20) -> bytes:
    """Return a message that arrives in pieces."""
    *parts, last = pieces
    inflated = b"".join(deflate.decompress(part, max_length, is_last=False) for part in parts)
    return inflated + deflate.decompress(last, max_length, is_last=True)


def payload_of(frame: bytes) -> bytes:
    """Return the payload of a short frame of ours."""
    assert frame[1] == len(frame) - 2
    return frame[2:]


def ended(data: bytes) -> bytes:
    """Return data as a DEFLATE stream that ends, padded as RFC 7692 §7.2.3.4 has it."""
    compressor = zlib.compressobj(wbits=-12)
    return compressor.compress(data) + compressor.flush() + b"\x00"


@pytest.mark.parametrize(
    ("offers", "answer"),
    [
        (["permessage-deflate"], "permessage-deflate; server_max_window_bits=12"),
        (
            ["permessage-deflate; client_max_window_bits"],
            "permessage-deflate; server_max_window_bits=12; client_max_window_bits=12",
        ),
        (
            ["permessage-deflate; client_max_window_bits=10; server_max_window_bits=9"],
            "permessage-deflate; server_max_window_bits=9; client_max_window_bits=10",
        ),
        (
            ["permessage-deflate; server_no_context_takeover; client_no_context_takeover"],
            (
                "permessage-deflate; server_no_context_takeover; client_no_context_takeover; "
                "server_max_window_bits=12"
            ),
        ),
        (
            ['x-webkit-frame, permessage-deflate; server_max_window_bits="15"'],
            "permessage-deflate; server_max_window_bits=12",
        ),
        (
            ["permessage-deflate; wonders=2, permessage-deflate"],
            "permessage-deflate; server_max_window_bits=12",
        ),
        (
            ["permessage-deflate; server_max_window_bits=8", "permessage-deflate"],
            "permessage-deflate; server_max_window_bits=12",
        ),
    ],
)
def test_agreement(offers: Sequence[str], answer: str) -> None:
    """The first offer that can be met is answered, with windows of at most 4 KiB."""
    agreed = negotiate(offers)

    assert agreed is not None
    assert answer == agreed[0]


@pytest.mark.parametrize(
    "offers",
    [
        [],
        ["x-webkit-deflate-frame"],
        ["permessage-deflate; client_max_window_bits=7"],
        ["permessage-deflate; client_max_window_bits; client_max_window_bits"],
        ["permessage-deflate; server_no_context_takeover=1", "permessage-bzip2"],
    ],
)
def test_no_agreement(offers: Sequence[str]) -> None:
    """Without an acceptable offer the connection goes on uncompressed."""
    assert negotiate(offers) is None


@pytest.mark.parametrize(
    "offers",
    [
        [""],
        ["permessage-deflate;"],
        ["permessage-deflate; client_max_window_bits="],
        ["permessage-deflate client_max_window_bits"],
        ["permessage-deflate", '"'],
        ["dé"],
    ],
)
def test_malformed_offer(offers: Sequence[str]) -> None:
    """A header that is no list of extensions is an error, also after a good one."""
    with pytest.raises(ValueError, match="malformed Sec-WebSocket-Extensions"):
        negotiate(offers)


@given(st.lists(st.text()))
def test_any_offer(offers: list[str]) -> None:
    """Whatever stands in the headers, there is an answer, none, or a ValueError."""
    try:
        agreed = negotiate(offers)
    except ValueError:
        return
    assert agreed is None or agreed[0].startswith("permessage-deflate")


@pytest.mark.parametrize(
    "payload",
    [
        pytest.param("f2 48 cd c9 c9 07 00", id="7.2.3.1 one block"),
        pytest.param("00 05 00 fa ff 48 65 6c 6c 6f 00", id="7.2.3.3 not compressed"),
        pytest.param("f3 48 cd c9 c9 07 00 00", id="7.2.3.4 BFINAL"),
        pytest.param("f2 48 05 00 00 00 ff ff ca c9 c9 07 00", id="7.2.3.5 two blocks"),
    ],
)
def test_examples_of_the_rfc(payload: str) -> None:
    """Every way to compress "Hello" inflates to it, cut anywhere, and again after it."""
    message = bytes.fromhex(payload)
    deflate = agree()

    for cut in range(len(message) + 1):
        assert b"Hello" == inflate(deflate, message[:cut], message[cut:])


def test_shared_window() -> None:
    """The second "Hello" refers to the first one (RFC 7692 §7.2.3.2)."""
    deflate = agree()

    assert b"Hello" == inflate(deflate, HELLO)
    assert b"Hello" == inflate(deflate, bytes.fromhex("f2 00 11 00 00"))


@pytest.mark.parametrize("first", [HELLO, ended(b"Hello")])
def test_window_that_is_not_shared(first: bytes) -> None:
    """Where the client forgets after a message, a reference to the last one is an error."""
    deflate = agree("permessage-deflate; client_no_context_takeover")

    assert b"Hello" == inflate(deflate, first)
    with pytest.raises(InvalidMessage, match="cannot be inflated"):
        inflate(deflate, bytes.fromhex("f2 00 11 00 00"))


def test_empty_message() -> None:
    """An empty message is one byte (RFC 7692 §7.2.3.6)."""
    assert b"" == inflate(agree(), b"\x00")


@pytest.mark.parametrize(
    "offer", ["permessage-deflate", "permessage-deflate; client_no_context_takeover"]
)
def test_streams_that_end(offer: str) -> None:
    """A client that ends its stream with every message is understood (RFC 7692 §7.2.3.4)."""
    deflate = agree(offer)

    for number in range(100):
        message = b"%d" % number * 20
        assert message == inflate(deflate, ended(message))


def test_stream_goes_on_after_its_end() -> None:
    """What follows the end of a stream in the same message is a new one, cut anywhere."""
    message = ended(b"Hello")[:-1] + HELLO

    for cut in range(len(message) + 1):
        assert b"HelloHello" == inflate(agree(), message[:cut], message[cut:])


def test_many_ends_in_one_message() -> None:
    """A second end within one message is refused: each costs as much as a long message."""
    end = b"\x03\x00"

    with pytest.raises(InvalidMessage) as caught:
        inflate(agree(), end * 10_000)

    assert "BFINAL" in str(caught.value.__cause__)


def test_the_end_is_counted_by_message() -> None:
    """Each message may end a stream once, in pieces too."""
    deflate = agree()

    for _ in range(3):
        assert b"Hello" == inflate(deflate, *(bytes((byte,)) for byte in ended(b"Hello")))


def test_after_the_end_of_a_stream() -> None:
    """A client may end its stream with one message and not with the next ones."""
    deflate = agree()
    noise = Random(1).randbytes(1 << 12)
    compressor = zlib.compressobj(wbits=-12)

    assert b"Hello" == inflate(deflate, ended(b"Hello"))
    for _ in range(3):
        message = compressor.compress(noise) + compressor.flush(zlib.Z_SYNC_FLUSH)
        assert noise == inflate(deflate, message[:-4])


@pytest.mark.parametrize("is_last", [True, False])
def test_bad_data(is_last: bool) -> None:
    """What is no DEFLATE is an invalid message."""
    with pytest.raises(InvalidMessage, match="cannot be inflated") as caught:
        agree().decompress(b"\xff\xff\xff", 100, is_last=is_last)

    assert 1007 == caught.value.code


def test_bound() -> None:
    """No more is inflated than asked for, however much there is."""
    bomb = zlib.compress(bytes(1 << 20), wbits=-12)

    assert bytes(1000) == agree().decompress(bomb, 1000, is_last=False)
    assert bytes(1000) == agree().decompress(bomb, 1000, is_last=True)


def test_bound_at_the_end_of_a_stream() -> None:
    """The bound holds where a stream ends and another begins."""
    two = ended(b"Hello")[:-1] + HELLO

    for bound in range(1, 10):
        assert b"HelloHello"[:bound] == agree().decompress(two, bound, is_last=True)


def test_no_bound_is_no_choice() -> None:
    """A bound of 0 is our own mistake: zlib takes it for no bound."""
    with pytest.raises(AssertionError):
        agree().decompress(HELLO, 0, is_last=True)


@pytest.mark.parametrize(("message", "first"), [("Hello", 0xC1), (b"Hello", 0xC2)])
def test_compressed_frame(message: str | bytes, first: int) -> None:
    """A message becomes one frame with the first reserved bit set, as in RFC 7692 §7.2.3.1."""
    assert bytes((first, 7)) + HELLO == agree().encode_message(message)


def test_context_is_kept() -> None:
    """A message that was sent before takes next to nothing."""
    deflate = agree()
    message = Random(1).randbytes(100).hex()

    first, second = (deflate.encode_message(message) for _ in range(2))

    assert len(second) < len(first) / 4


def test_context_is_not_kept() -> None:
    """Where the client asked for it, each message stands for itself."""
    deflate = agree("permessage-deflate; server_no_context_takeover")

    assert deflate.encode_message("Hello") == deflate.encode_message("Hello")


def test_lone_surrogate() -> None:
    """Text that is no Unicode is refused before it reaches the context."""
    deflate = agree()

    with pytest.raises(UnicodeEncodeError):
        deflate.encode_message("\ud800")

    assert HELLO == payload_of(deflate.encode_message("Hello"))


@given(st.lists(st.binary(max_size=50)), st.booleans(), st.integers(9, 15))
def test_one_side_understands_the_other(
    messages: list[bytes], is_forgetful: bool, bits: int
) -> None:
    """What one codec compresses another inflates, with any window and whether or not it forgets."""
    ours = Deflate(
        PerMessageDeflate(
            remote_no_context_takeover=False,
            local_no_context_takeover=is_forgetful,
            remote_max_window_bits=15,
            local_max_window_bits=bits,
        )
    )
    theirs = Deflate(
        PerMessageDeflate(
            remote_no_context_takeover=is_forgetful,
            local_no_context_takeover=False,
            remote_max_window_bits=bits,
            local_max_window_bits=15,
        )
    )

    for message in messages:
        assert message == inflate(theirs, payload_of(ours.encode_message(message)))
