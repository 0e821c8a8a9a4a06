"""Our codec against two that others wrote: wsproto and websockets, by generated streams.

Where the references differ from each other or from us, on purpose or by a fault of theirs:

- Only wsproto refuses a length in more bytes than it needs; so do we (RFC 6455 §5.2).
- Only websockets refuses a close frame within a fragmented message; RFC 6455 §5.4 allows it.
- wsproto does not know close code 1014, which came after it (IANA); websockets and we do.
- What cannot be inflated is 1002 for websockets, 1007 for wsproto and for us.
- A length of 64 bits is too big (1009) for websockets, a violation for wsproto and for us.
- wsproto has no maximum size.
- wsproto inflates no longer once a control frame came within a compressed message.
- websockets' protocol leaves UTF-8 to its callers: here it is checked when a message is whole.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.frames import Close, Frame, Opcode
from websockets.protocol import State
from websockets.server import ServerProtocol
from wsproto import events as wsproto_events
from wsproto.connection import Connection, ConnectionState, ConnectionType
from wsproto.extensions import PerMessageDeflate as WsprotoDeflate

from tests.server.client_frames import (
    BINARY,
    CLOSE,
    CONTINUATION,
    MASK,
    PING,
    PONG,
    TEXT,
    events,
    frame,
    header,
)
from triows._errors import InvalidMessage, MessageTooBig, ProtocolViolation
from triows.server._deflate import Deflate
from triows.server._frames import (
    CloseFrame,
    Decoder,
    Event,
    Ping,
    Pong,
    encode_close,
    encode_message,
    encode_ping,
    encode_pong,
)

MAX = 1 << 20

quick = settings(
    max_examples=120,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@dataclass
class Outcome:
    """What became of a stream: events, and the close code it was refused with."""

    events: list[Event] = field(default_factory=list)
    code: int | None = None


def server_deflate(*, forgets: bool) -> PerMessageDeflate:
    """Return the server's side of an agreement; the client may forget after each message."""
    return PerMessageDeflate(
        remote_no_context_takeover=forgets,
        local_no_context_takeover=False,
        remote_max_window_bits=12,
        local_max_window_bits=12,
    )


def client_deflate(*, forgets: bool) -> PerMessageDeflate:
    """Return the client's side of the same agreement."""
    return PerMessageDeflate(
        remote_no_context_takeover=False,
        local_no_context_takeover=forgets,
        remote_max_window_bits=12,
        local_max_window_bits=12,
    )


def ours(
    pieces: list[bytes], deflate: PerMessageDeflate | None = None, *, max_size: int = MAX
) -> Outcome:
    """Return what our decoder makes of a stream."""
    outcome = Outcome()
    decoder = Decoder(max_size, None if deflate is None else Deflate(deflate))
    try:
        for piece in pieces:
            decoder.feed(piece)
            for event in events(decoder):
                outcome.events.append(event)
    except (ProtocolViolation, InvalidMessage, MessageTooBig) as exc:
        outcome.code = exc.code
    return outcome


def by_websockets(
    pieces: list[bytes], deflate: PerMessageDeflate | None = None, *, max_size: int = MAX
) -> Outcome:
    """Return what websockets makes of it."""
    outcome = Outcome()
    protocol = ServerProtocol(state=State.OPEN, max_size=max_size)
    protocol.extensions = [] if deflate is None else [deflate]
    parts: list[Frame] = []
    for piece in pieces:
        protocol.receive_data(piece)
        for event in protocol.events_received():
            assert isinstance(event, Frame)
            data = bytes(event.data)
            if event.opcode is Opcode.PING:
                outcome.events.append(Ping(data))
            elif event.opcode is Opcode.PONG:
                outcome.events.append(Pong(data))
            elif event.opcode is Opcode.CLOSE:
                close = Close.parse(data)
                outcome.events.append(CloseFrame(int(close.code), close.reason))
            else:
                parts.append(event)
                if event.fin:
                    whole = b"".join(bytes(part.data) for part in parts)
                    is_text = parts[0].opcode is Opcode.TEXT
                    parts.clear()
                    try:
                        outcome.events.append(whole.decode() if is_text else whole)
                    except UnicodeDecodeError:
                        outcome.code = 1007
                        return outcome
    if protocol.parser_exc is not None:
        assert protocol.close_sent is not None
        outcome.code = int(protocol.close_sent.code)
    return outcome


def by_wsproto(pieces: list[bytes], deflate: WsprotoDeflate | None = None) -> Outcome:
    """Return what wsproto makes of it."""
    outcome = Outcome()
    connection = Connection(ConnectionType.SERVER, [] if deflate is None else [deflate])
    parts: list[Any] = []
    for piece in pieces:
        connection.receive_data(piece)
        for event in connection.events():
            match event:
                case wsproto_events.Ping():
                    outcome.events.append(Ping(bytes(event.payload)))
                case wsproto_events.Pong():
                    outcome.events.append(Pong(bytes(event.payload)))
                case wsproto_events.Message():
                    parts.append(event.data)
                    if event.message_finished:
                        empty = type(event.data)()
                        outcome.events.append(empty.join(parts))
                        parts.clear()
                case wsproto_events.CloseConnection():
                    if connection.state is ConnectionState.OPEN:
                        outcome.code = int(event.code)
                        return outcome
                    outcome.events.append(CloseFrame(int(event.code), event.reason or ""))
    return outcome


def wsproto_deflate(*, forgets: bool) -> WsprotoDeflate:
    """Return wsproto's server side of an agreement."""
    extension = WsprotoDeflate(
        client_no_context_takeover=forgets, client_max_window_bits=12, server_max_window_bits=12
    )
    extension.finalize("permessage-deflate")  # this is what enables it
    return extension


# Streams of a well-behaved client

SIZES = st.sampled_from([0, 1, 2, 3, 124, 125, 126, 127, 1000, 65535, 65536])

MESSAGES = st.one_of(
    st.text(max_size=20),
    st.binary(max_size=20),
    st.builds(lambda size, unit: unit * size, SIZES, st.sampled_from(["x", "é"])),
    st.builds(lambda size, unit: (unit * size)[:size], SIZES, st.binary(min_size=1, max_size=9)),
)

CONTROLS = st.builds(
    frame,
    st.sampled_from([PING, PONG]),
    st.binary(max_size=20) | st.sampled_from([b"x" * 124, b"x" * 125]),
    mask=st.binary(min_size=4, max_size=4),
)

VALID_CODES = [*range(1000, 1004), *range(1007, 1014), 3000, 3999, 4000, 4999]

REASONS = st.text(max_size=30) | st.just("x" * 123)


@st.composite
def closes(draw: st.DrawFn) -> bytes:
    """Return the payload of a valid close frame, or none."""
    if draw(st.booleans()):
        return b""
    code: int = draw(st.sampled_from(VALID_CODES))
    return code.to_bytes(2) + draw(REASONS).encode()


@st.composite
def message_frames(
    draw: st.DrawFn, client: PerMessageDeflate | None, *, controls: bool
) -> Iterator[bytes]:
    """Return the frames of a message: maybe compressed, fragmented, with others in between."""
    message = draw(MESSAGES)
    opcode, payload = (TEXT, message.encode()) if isinstance(message, str) else (BINARY, message)
    is_compressed = client is not None and draw(st.booleans())
    if client is not None and is_compressed:
        payload = bytes(client.encode(Frame(Opcode(opcode), payload)).data)
    cuts = draw(st.lists(st.integers(0, len(payload)), max_size=3).map(sorted))
    stream: list[bytes] = []
    edges = list(pairwise([0, *cuts, len(payload)]))
    for number, (start, end) in enumerate(edges):
        if number and controls:
            stream += draw(st.lists(CONTROLS, max_size=2))
        stream.append(
            frame(
                CONTINUATION if number else opcode,
                payload[start:end],
                fin=number == len(edges) - 1,
                reserved=4 if is_compressed and not number else 0,
                mask=draw(st.binary(min_size=4, max_size=4)),
            )
        )
    return iter(stream)


@st.composite
def streams(
    draw: st.DrawFn, *, client: PerMessageDeflate | None = None, controls: bool = True
) -> bytes:
    """Return messages and control frames, often with a close frame and something after it."""
    stream = b""
    for _ in range(draw(st.integers(0, 5))):
        if draw(st.booleans()):
            stream += draw(CONTROLS)
        stream += b"".join(draw(message_frames(client, controls=controls)))
    if draw(st.booleans()):
        stream += frame(CLOSE, draw(closes())) + draw(st.binary(max_size=20))
    return stream


@st.composite
def cuts(draw: st.DrawFn, stream: bytes) -> list[bytes]:
    """Return the stream in pieces, cut at any byte boundaries."""
    if len(stream) < 3000 and draw(st.booleans()):
        step = draw(st.integers(1, 7))
        return [stream[start : start + step] for start in range(0, len(stream), step)]
    positions = draw(st.lists(st.integers(0, len(stream)), max_size=20).map(sorted))
    return [stream[start:end] for start, end in pairwise([0, *positions, len(stream)])]


@given(st.data())
@quick
def test_same_events(data: st.DataObject) -> None:
    """Messages, fragments, pings, pongs and closes are the same events for all three."""
    pieces = data.draw(cuts(data.draw(streams())))

    outcome = ours(pieces)

    assert outcome.code is None
    assert by_websockets(pieces) == outcome
    assert by_wsproto(pieces) == outcome


@given(st.data(), st.booleans())
@quick
def test_same_events_with_deflate(data: st.DataObject, forgets: bool) -> None:
    """The same with compressed messages among them, as websockets compresses them."""
    stream = data.draw(streams(client=client_deflate(forgets=forgets)))
    pieces = data.draw(cuts(stream))

    outcome = ours(pieces, server_deflate(forgets=forgets))

    assert outcome.code is None
    assert by_websockets(pieces, server_deflate(forgets=forgets)) == outcome


@given(st.data(), st.booleans())
@quick
def test_same_events_with_deflate_of_wsproto(data: st.DataObject, forgets: bool) -> None:
    """The same for wsproto, with no control frames within messages."""
    stream = data.draw(streams(client=client_deflate(forgets=forgets), controls=False))
    pieces = data.draw(cuts(stream))

    outcome = ours(pieces, server_deflate(forgets=forgets))

    assert outcome.code is None
    assert by_wsproto(pieces, wsproto_deflate(forgets=forgets)) == outcome


# Faults

UNMASKED = b"\x81\x05Hello"

FRAGMENT = frame(TEXT, b"Hel", fin=False)

FAULTS = {
    "unknown opcode": frame(3),
    "unknown control opcode": frame(11),
    "unmasked": UNMASKED,
    "first reserved bit": frame(TEXT, b"", reserved=4),
    "second reserved bit": frame(BINARY, b"", reserved=2),
    "third reserved bit": frame(PING, b"", reserved=1),
    "fragmented ping": frame(PING, b"", fin=False),
    "fragmented close": frame(CLOSE, b"\x03\xe8", fin=False),
    "long ping": frame(PING, b"x" * 126),
    "long close": frame(CLOSE, b"\x03\xe8" + b"x" * 124),
    "continuation of nothing": frame(CONTINUATION, b"x"),
    "text within a message": FRAGMENT + frame(TEXT, b"lo"),
    "binary within a message": FRAGMENT + frame(BINARY, b"lo", fin=False),
    "half a close code": frame(CLOSE, b"\x03"),
    "reason that is not UTF-8": frame(CLOSE, b"\x03\xe8\xff"),
    "text that is not UTF-8": frame(TEXT, b"\xc0\xaf"),
    "text that ends too early": frame(TEXT, b"x" * 200 + b"\xe2\x82"),
    "fragments that end too early": FRAGMENT + frame(CONTINUATION, b"\xe2\x82"),
    "surrogate": frame(TEXT, b"\xed\xa0\x80"),
}

FAULTS_OF_CODES = {
    f"close code {code}": frame(CLOSE, code.to_bytes(2))
    for code in (0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535)
}


@pytest.mark.parametrize("name", [*FAULTS, *FAULTS_OF_CODES])
@given(st.data())
@settings(quick, max_examples=10)
def test_same_faults(name: str, data: st.DataObject) -> None:
    """What all three refuse they refuse with the same code, after the same events."""
    good = b"".join(data.draw(message_frames(None, controls=True)))
    pieces = data.draw(cuts(good + {**FAULTS, **FAULTS_OF_CODES}[name]))

    outcome = ours(pieces)

    assert outcome.code in (1002, 1007)
    assert by_websockets(pieces) == outcome
    assert by_wsproto(pieces) == outcome


@pytest.mark.parametrize(
    ("fault", "we", "websockets", "wsproto"),
    [
        pytest.param(frame(TEXT, b"x" * 125, width=3), 1002, None, 1002, id="length in 3 bytes"),
        pytest.param(frame(TEXT, b"x" * 65535, width=9), 1002, None, 1002, id="length in 9 bytes"),
        pytest.param(header(BINARY, 1 << 63) + MASK, 1002, 1009, 1002, id="length of 64 bits"),
        pytest.param(FRAGMENT + frame(CLOSE), None, 1002, None, id="close within a message"),
        pytest.param(frame(CLOSE, (1014).to_bytes(2)), None, None, 1002, id="close code 1014"),
        pytest.param(frame(CLOSE, b"\0\0\xff"), 1002, 1007, 1002, id="bad code and bad reason"),
        pytest.param(frame(BINARY, bytes(MAX + 1)), 1009, 1009, None, id="too big"),
    ],
)
def test_faults_where_they_differ(
    fault: bytes, we: int | None, websockets: int | None, wsproto: int | None
) -> None:
    """Where the references do not agree we side with the RFC."""
    assert (we, websockets, wsproto) == (
        ours([fault]).code,
        by_websockets([fault]).code,
        by_wsproto([fault]).code,
    )


@pytest.mark.parametrize("reserved", [4, 5, 6])
@pytest.mark.parametrize("opcode", [CONTINUATION, PING, CLOSE])
def test_same_faults_with_deflate(opcode: int, reserved: int) -> None:
    """The bit of compressed messages is refused where it has no business."""
    fault = FRAGMENT + frame(opcode, b"", reserved=reserved)

    codes = (
        ours([fault], server_deflate(forgets=False)).code,
        by_websockets([fault], server_deflate(forgets=False)).code,
        by_wsproto([fault], wsproto_deflate(forgets=False)).code,
    )

    assert (1002, 1002, 1002) == codes


def test_data_that_cannot_be_inflated() -> None:
    """All three refuse it, websockets as a violation."""
    fault = frame(BINARY, b"\xff\xff\xff", reserved=4)

    codes = (
        ours([fault], server_deflate(forgets=False)).code,
        by_websockets([fault], server_deflate(forgets=False)).code,
        by_wsproto([fault], wsproto_deflate(forgets=False)).code,
    )

    assert (1007, 1002, 1007) == codes


def test_control_frame_within_a_compressed_message() -> None:
    """There wsproto loses its way; when this fails, it was mended and needs no exception."""
    payload = bytes(client_deflate(forgets=False).encode(Frame(Opcode.TEXT, b"Hello")).data)
    stream = (
        frame(TEXT, payload[:3], fin=False, reserved=4)
        + frame(PING)
        + frame(CONTINUATION, payload[3:])
    )

    assert [Ping(b""), "Hello"] == ours([stream], server_deflate(forgets=False)).events
    assert [Ping(b""), "Hello"] != by_wsproto([stream], wsproto_deflate(forgets=False)).events


@given(st.data(), st.sampled_from([0, 1, 125, 126, 65536]), st.integers(-2, 2))
@quick
def test_same_maximum(data: st.DataObject, size: int, more: int) -> None:
    """A message may be as large as for websockets, whole or in fragments, compressed or not."""
    message = b"x" * max(size + more, 0)
    client = data.draw(st.none() | st.just(client_deflate(forgets=False)))
    payload = message if client is None else bytes(client.encode(Frame(Opcode(2), message)).data)
    half = data.draw(st.integers(0, len(payload)))
    reserved = 0 if client is None else 4
    stream = data.draw(
        st.sampled_from(
            [
                frame(BINARY, payload, reserved=reserved),
                frame(BINARY, payload[:half], fin=False, reserved=reserved)
                + frame(CONTINUATION, payload[half:]),
            ]
        )
    )
    pieces = data.draw(cuts(stream))

    outcome = ours(pieces, client and server_deflate(forgets=False), max_size=size)

    expected = Outcome([], 1009) if len(message) > size else Outcome([message])
    assert expected == outcome
    # Of a compressed message websockets bounds each frame on the wire too, and 0 is no bound
    # for what it inflates to.
    if client is None:
        assert by_websockets(pieces, max_size=size) == outcome


# Streams of a client that is no WebSocket client, or a broken or hostile one


@st.composite
def mutations(draw: st.DrawFn, client: PerMessageDeflate | None = None) -> bytes:
    """Return a good stream with a few bytes changed, left out, put in or repeated."""
    stream = bytearray(draw(streams(client=client)))
    for _ in range(draw(st.integers(1, 5))):
        position = draw(st.integers(0, min(len(stream), 500)))
        end = position + draw(st.integers(0, 9))
        stream[position:end] = draw(
            st.binary(max_size=9) | st.just(bytes(stream[position:end] * 2))
        )
    return bytes(stream)


def padded(stream: bytes) -> bytes:
    """Return the stream and zeros: wsproto refuses some headers only when they are whole."""
    return stream + bytes(14)


@given(st.data())
@quick
def test_same_for_rubbish(data: st.DataObject) -> None:
    """Of broken streams we read the same as wsproto, and refuse them with the same code."""
    stream = padded(data.draw(mutations() | st.binary(max_size=200)))
    pieces = data.draw(cuts(stream))

    outcome = ours(pieces, max_size=1 << 63)

    if CloseFrame(1014, "") not in outcome.events:
        assert by_wsproto(pieces) == outcome


@given(st.data(), st.booleans())
@quick
def test_rubbish_however_it_is_cut(data: st.DataObject, forgets: bool) -> None:
    """Nothing but the codec's own errors comes of broken streams, and cuts change nothing."""
    client = data.draw(st.none() | st.just(client_deflate(forgets=forgets)))
    stream = data.draw(mutations(client) | st.binary(max_size=200))
    pieces = data.draw(cuts(stream))

    def outcome(pieces: list[bytes]) -> Outcome:
        return ours(pieces, client and server_deflate(forgets=forgets), max_size=1 << 40)

    assert outcome([stream]) == outcome(pieces)


@given(st.binary(max_size=100), st.booleans())
@quick
def test_rubbish_that_says_it_is_compressed(payload: bytes, forgets: bool) -> None:
    """Inflating rubbish fails in the codec's own way, too."""
    stream = frame(BINARY, payload, reserved=4) * 3
    pieces = [stream[start : start + 1] for start in range(len(stream))]

    outcome = ours([stream], server_deflate(forgets=forgets))

    assert outcome.code in (None, 1007)
    assert ours(pieces, server_deflate(forgets=forgets)) == outcome


# What we send


@given(MESSAGES)
@quick
def test_messages_for_a_client(message: str | bytes) -> None:
    """A message of ours is what websockets and wsproto would have sent."""
    opcode = Opcode.TEXT if isinstance(message, str) else Opcode.BINARY
    payload = message.encode() if isinstance(message, str) else message
    theirs = Connection(ConnectionType.SERVER)
    message_event: Any = wsproto_events.Message(data=message)

    encoded = encode_message(message)

    assert Frame(opcode, payload).serialize(mask=False) == encoded
    assert theirs.send(message_event) == encoded


@given(st.binary(max_size=125))
@quick
def test_pings_and_pongs_for_a_client(payload: bytes) -> None:
    """So are a ping and a pong."""
    assert Frame(Opcode.PING, payload).serialize(mask=False) == encode_ping(payload)
    assert Frame(Opcode.PONG, payload).serialize(mask=False) == encode_pong(payload)


@given(st.sampled_from(VALID_CODES), st.text(max_size=200))
@quick
def test_closes_for_a_client(code: int, reason: str) -> None:
    """So is a close frame; wsproto cuts a reason too."""
    theirs = Connection(ConnectionType.SERVER)

    assert theirs.send(wsproto_events.CloseConnection(code, reason)) == encode_close(code, reason)


@given(st.lists(MESSAGES, max_size=5), st.booleans())
@quick
def test_compressed_messages_for_a_client(messages: list[str | bytes], forgets: bool) -> None:
    """A client of wsproto's reads what we compress."""
    deflate = Deflate(client_deflate(forgets=forgets))
    extension = WsprotoDeflate(server_no_context_takeover=forgets, server_max_window_bits=12)
    extension.finalize("permessage-deflate")
    client = Connection(ConnectionType.CLIENT, [extension])

    for message in messages:
        client.receive_data(deflate.encode_message(message))
        (event,) = client.events()
        assert isinstance(event, wsproto_events.Message)
        assert message == event.data
