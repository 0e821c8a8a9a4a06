"""The transport of a connection of our own server: what a peer sees of it, and how it ends.

The peer is a `MemoryWire`, whose frames are made by `websockets`.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked
from websockets.frames import Frame, Opcode

from tests.server.wires import (
    UNLIMITED,
    MemoryWire,
    Record,
    client_frame,
    close,
    closing,
    frames_in,
    ping,
    pong,
    said,
    text,
)
from triows._close import CloseInfo
from triows._errors import ConnectionClosed, InvalidMessage, MessageTooBig, ProtocolViolation
from triows._limits import Limits
from triows._native import NativeTransport
from triows._outbox import Prepared
from triows._timer import open_timer
from triows._types import Data
from triows.server._opening import Opening
from triows.server._server_headers import ServerHeaders
from triows.server._transport import ServerTransport
from triows.server._wire import CHUNK, WireUser

KEY = "dGhlIHNhbXBsZSBub25jZQ=="

LOST = CloseInfo(1006, "", by_peer=True, clean=False)

GARBAGE = b"\xff" * 10


class Connection:
    """Both ends of a connection, and what its owner is told.

    Attributes:
        transport: This side.
        wire: The other side, with what the peer has seen.
        record: What was told.
    """

    def __init__(self, transport: ServerTransport, wire: MemoryWire) -> None:
        self.transport = transport
        self.wire = wire
        self.record = Record()
        transport.observe(
            self, self.record.note_gone, self.record.note_overrun, self.record.note_delivery
        )

    @property
    def head(self) -> bytes:
        """The response to the handshake, with its body if it was refused."""
        head, _, rest = self.wire.seen.partition(b"\r\n\r\n")
        return head if head.startswith(b"HTTP/1.1 101") else head + b"\r\n\r\n" + rest

    @property
    def frames(self) -> list[tuple[Opcode, bytes]]:
        """What the peer got to read, but for pings."""
        _, _, rest = self.wire.seen.partition(b"\r\n\r\n")
        return [frame for frame in frames_in(rest) if frame[0] is not Opcode.PING]

    @property
    def pings(self) -> list[bytes]:
        """The payloads of the pings that it got to read."""
        _, _, rest = self.wire.seen.partition(b"\r\n\r\n")
        return [data for opcode, data in frames_in(rest) if opcode is Opcode.PING]

    @property
    def told(self) -> list[CloseInfo]:
        """How it ended, as the owner was told."""
        return [info for _, info in self.record.gone]


@asynccontextmanager
async def open_handshake(
    *, limits: Limits | None = None, discard: bool = False, extensions: tuple[str, ...] = ()
) -> AsyncGenerator[Connection]:
    """Have a handshake that waits for its answer, and a route that has claimed it."""
    wire = MemoryWire()
    opening = Opening(KEY, extensions, "deflate", ServerHeaders(lambda: [(b"server", b"triows")]))
    async with open_timer() as timer:
        transport = ServerTransport(wire, opening, timer, Limits())
        wire.user = transport
        assert transport.claim(limits or Limits(), discard=discard)
        yield Connection(transport, wire)


@asynccontextmanager
async def open_connection(
    *, room: int = UNLIMITED, limits: Limits | None = None, discard: bool = False
) -> AsyncGenerator[Connection]:
    """Have an accepted connection, to whose peer so many bytes can be written before it reads."""
    async with open_handshake(limits=limits, discard=discard) as connection:
        await connection.transport.accept(None, [])
        if room < UNLIMITED:
            connection.wire.stall()
            connection.wire.read(room)
        yield connection


async def check_ended(connection: Connection, info: CloseInfo) -> None:
    """Check that nothing can be received or sent any more, and that the error says why."""
    transport = connection.transport
    assert info == transport.closed
    calls: list[Callable[[], Awaitable[object]]] = [
        transport.receive,
        lambda: transport.send("too late"),
    ]
    for call in calls:
        with pytest.raises(ConnectionClosed) as caught:
            await call()
        assert (info, connection) == (caught.value.info, caught.value.websocket)
    with pytest.raises(ConnectionClosed):
        transport.send_nowait(Prepared("too late"))


async def receive_all(connection: Connection) -> list[Data]:
    """Receive until the connection ends."""
    messages: list[Data] = []
    try:
        while True:
            messages.append(await connection.transport.receive())
    except ConnectionClosed:
        return messages


def end(connection: Connection, how: str) -> None:
    """Let the peer end the connection."""
    match how:
        case "close":
            connection.wire.say(closing())
        case "leave":
            connection.wire.leave()
        case "reset":
            connection.wire.reset()
        case "garbage":
            connection.wire.say(GARBAGE)


class TestClaim:
    """An app of ours takes the transport, with the limits of its route."""

    async def test_is_a_transport(self, autojump_clock: MockClock) -> None:
        """It has what a connection needs of the wire: the type checker reads this too."""
        async with open_connection() as connection:
            as_an_app_sees_it: NativeTransport = connection.transport
            as_a_wire_sees_it: WireUser = connection.transport
            assert as_an_app_sees_it.closed is None
            assert as_a_wire_sees_it is connection.transport

    async def test_once(self, autojump_clock: MockClock) -> None:
        """It is claimed once."""
        async with open_handshake() as connection:
            assert not connection.transport.claim(Limits(inbox_messages=1), discard=True)

    async def test_the_limits_of_the_route(self, autojump_clock: MockClock) -> None:
        """Every limit is the route's, not the server's."""
        limits = Limits(
            inbox_messages=1, outbox_bytes=1, max_message_size=10, close_timeout=1, ping_interval=3
        )
        async with open_connection(limits=limits) as connection:
            connection.wire.stall()
            sent = [connection.transport.send_nowait(Prepared(text)) for text in "abc"]
            assert [True, True, False] == sent
            connection.wire.read()
            connection.wire.say(said("one", "two"))
            assert 1 == connection.transport.received
            await trio.sleep(4)
            assert 1 == len(connection.pings)
            assert ["one", "two"] == [await connection.transport.receive() for _ in range(2)]
            await connection.transport.close(1000, "")
            await connection.transport.finish()
            assert 5 == trio.current_time()


class TestAccept:
    """The handshake is answered with 101."""

    async def test_accept(self, autojump_clock: MockClock) -> None:
        """The peer sees the subprotocol and the headers, the server's and the app's."""
        async with open_handshake() as connection:
            transport = connection.transport
            assert not transport.is_accepted
            assert transport.latency is None
            await trio.sleep(7)
            await transport.accept("v2", [(b"x-app", b"chat")])

            assert transport.is_accepted
            assert 7 == transport.last_received
            assert connection.head.startswith(b"HTTP/1.1 101 ")
            for header in (b"sec-websocket-protocol: v2", b"server: triows", b"x-app: chat"):
                assert header in connection.head

    async def test_cancelled(self, autojump_clock: MockClock) -> None:
        """Cancelled before, nothing has happened; begun, it is done at once."""
        async with open_handshake() as connection:
            with trio.move_on_after(0):
                await connection.transport.accept(None, [])
            assert (b"", False) == (connection.wire.seen, connection.transport.is_accepted)

            with trio.CancelScope() as scope:
                await connection.transport.accept(None, [])
                scope.cancel()
            assert connection.transport.is_accepted

    @pytest.mark.parametrize("how", ["leave", "reset"])
    async def test_the_peer_has_left(self, autojump_clock: MockClock, how: str) -> None:
        """Somebody who left while the handler thought about the answer gets none."""
        async with open_handshake() as connection:
            end(connection, how)
            assert [LOST] == connection.told
            with pytest.raises(ConnectionClosed):
                await connection.transport.accept(None, [])
            with pytest.raises(ConnectionClosed):
                await connection.transport.reject(403, [], b"")

            await check_ended(connection, LOST)
            assert not connection.transport.is_accepted
            assert b"" == connection.wire.seen
            await connection.transport.finish()

    async def test_the_peer_has_left_unseen(self, autojump_clock: MockClock) -> None:
        """If only the answer finds it out, the accept has happened, and the end comes next."""
        async with open_handshake() as connection:
            connection.wire.say(said("early"))
            connection.wire.refuse_bytes()
            await connection.transport.accept(None, [])

            assert connection.transport.is_accepted
            assert [LOST] == connection.told
            assert ["early"] == await receive_all(connection)
            await trio.sleep(100)
            assert [] == connection.record.overruns

    @pytest.mark.parametrize(
        "header", [(b"x-bad", b"a\r\nb"), (b"x bad", b""), (b"upgrade", b"mine")]
    )
    async def test_headers_that_cannot_be_written(
        self, autojump_clock: MockClock, header: tuple[bytes, bytes]
    ) -> None:
        """They are our caller's mistake: nothing was answered, and something else still can be."""
        async with open_handshake() as connection:
            with pytest.raises(ValueError, match="header"):
                await connection.transport.accept(None, [header])
            assert (b"", False) == (connection.wire.seen, connection.transport.is_accepted)
            assert connection.transport.closed is None

            await connection.transport.reject(500, [], b"Internal Server Error")
            assert connection.head.startswith(b"HTTP/1.1 500 ")
            assert b"server: triows" in connection.head

        async with open_handshake() as connection:
            with pytest.raises(ValueError, match="header"):
                await connection.transport.accept(None, [header])
            await connection.transport.accept(None, [])
            assert connection.transport.is_accepted

    async def test_compression(self, autojump_clock: MockClock) -> None:
        """What was agreed on holds for messages in both directions, and not for prepared ones."""
        offer = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
        async with open_handshake(extensions=(offer,)) as connection:
            transport, wire = connection.transport, connection.wire
            await transport.accept(None, [])
            assert b"permessage-deflate" in connection.head
            wire.forget()

            await transport.send("x" * 1000)
            assert len(wire.seen) < 100
            first, length, *payload = wire.seen
            # A mask of zeros makes it a client's.
            wire.say(bytes((first, length | 0x80, 0, 0, 0, 0, *payload)))
            assert "x" * 1000 == await transport.receive()

            wire.forget()
            transport.send_nowait(Prepared("plain"))
            assert [text("plain")] == frames_in(wire.seen)


class TestEarly:
    """What a client says before it has its answer."""

    async def test_is_received(self, autojump_clock: MockClock) -> None:
        """It is kept, as far as one read goes, and received after the accept."""
        async with open_handshake() as connection:
            connection.wire.say(said("one", "two")[:-3])
            connection.wire.say(said("three"))
            assert 0 == connection.transport.received
            assert not connection.wire.is_reading
            await connection.transport.accept(None, [])
            assert 1 == connection.transport.received

    async def test_is_bounded(self, autojump_clock: MockClock) -> None:
        """What follows stays with the kernel."""
        async with open_handshake(limits=Limits(inbox_messages=1000)) as connection:
            connection.wire.say(said(*["x" * 1000] * 100))
            await wait_all_tasks_blocked()
            assert CHUNK == len(connection.transport._early)

            await connection.transport.accept(None, [])
            assert ["x" * 1000] * 100 == [await connection.transport.receive() for _ in range(100)]

    async def test_fills_the_inbox(self, autojump_clock: MockClock) -> None:
        """The bounds of the inbox hold from the first message on."""
        async with open_handshake(limits=Limits(inbox_messages=2)) as connection:
            connection.wire.say(said(*"abcde"))
            await connection.transport.accept(None, [])
            assert 2 == connection.transport.received
            assert list("abcde") == [await connection.transport.receive() for _ in range(5)]

    async def test_garbage(self, autojump_clock: MockClock) -> None:
        """It is not understood before the accept, and then it is a fault."""
        async with open_handshake() as connection:
            connection.wire.say(GARBAGE)
            await connection.transport.accept(None, [])

            assert isinstance(connection.transport.fault, ProtocolViolation)
            assert connection.head.startswith(b"HTTP/1.1 101 ")

    async def test_leaves_before_the_answer(self, autojump_clock: MockClock) -> None:
        """Who has said something and left is still accepted, received, and then gone."""
        async with open_handshake() as connection:
            connection.wire.say(said("early"))
            connection.wire.leave()
            await wait_all_tasks_blocked()
            assert connection.transport.closed is None

            await connection.transport.accept(None, [])
            assert ["early"] == await receive_all(connection)
            await check_ended(connection, LOST)

    async def test_is_dropped_with_a_refusal(self, autojump_clock: MockClock) -> None:
        """A client that is refused may say what it likes; it is read, so that it can read."""
        async with open_handshake() as connection:
            connection.wire.say(said("early"))
            await connection.transport.reject(403, [], b"")
            connection.wire.say(said("more"), GARBAGE)
            connection.wire.leave()
            await wait_all_tasks_blocked()

            assert connection.wire.is_closed
            assert not connection.wire.is_reset
            assert connection.transport.fault is None


class TestReject:
    """The handshake is answered with an HTTP response."""

    async def test_reject(self, autojump_clock: MockClock) -> None:
        """The peer sees status, headers and body; for this side the connection is over."""
        async with open_handshake() as connection:
            await connection.transport.reject(401, [(b"www-authenticate", b"Bearer")], b"who?")

            assert connection.head.startswith(b"HTTP/1.1 401 ")
            assert b"www-authenticate: Bearer" in connection.head
            assert connection.head.endswith(b"\r\n\r\nwho?")
            await check_ended(connection, CloseInfo(1006, "answered with HTTP 401", by_peer=False))
            await connection.transport.close(1000, "")
            with pytest.raises(ConnectionClosed):
                await connection.transport.reject(403, [], b"")
            connection.wire.leave()
            await connection.transport.finish()
            assert 0 == trio.current_time()
            assert [] == connection.told

    async def test_cancelled(self, autojump_clock: MockClock) -> None:
        """Cancelled before, nothing has happened."""
        async with open_handshake() as connection:
            with trio.move_on_after(0):
                await connection.transport.reject(403, [], b"")

            assert (b"", None) == (connection.wire.seen, connection.transport.closed)

    async def test_what_cannot_be_written(self, autojump_clock: MockClock) -> None:
        """A header or status that is wrong raises, and another answer can be given."""
        async with open_handshake() as connection:
            with pytest.raises(ValueError, match="control character"):
                await connection.transport.reject(403, [(b"x-bad", b"\n")], b"")
            with pytest.raises(ValueError, match="status"):
                await connection.transport.reject(101, [], b"")
            await connection.transport.reject(500, [], b"")

            assert connection.head.startswith(b"HTTP/1.1 500 ")


class TestMessages:
    """Messages go both ways, whole and in order."""

    async def test_exchange(self, autojump_clock: MockClock) -> None:
        """What is sent arrives as it was, empty messages too, and is counted."""
        async with open_connection() as connection:
            transport = connection.transport
            for message in ("text", b"bytes", "", b""):
                connection.wire.say(said(message))
                assert message == await transport.receive()
                await transport.send(message)

            assert [text("text"), (2, b"bytes"), text(""), (2, b"")] == connection.frames
            assert (4, 4) == (transport.received, transport.sent)

    async def test_cut_anywhere(self, autojump_clock: MockClock) -> None:
        """A message may come in any number of reads, or several in one."""
        async with open_connection() as connection:
            for byte in said("one", "two") + said("three"):
                connection.wire.say(bytes([byte]))
            connection.wire.say(said("four", "five"))

            expected = ["one", "two", "three", "four", "five"]
            assert expected == [await connection.transport.receive() for _ in expected]

    async def test_while_a_task_waits(self, autojump_clock: MockClock) -> None:
        """A handler that waits is woken by the read that brings its message."""
        async with open_connection() as connection, trio.open_nursery() as nursery:

            async def receive() -> None:
                assert "late" == await connection.transport.receive()
                assert 1 == trio.current_time()

            nursery.start_soon(receive)
            await trio.sleep(1)
            connection.wire.say(said("late"))

    async def test_discarded(self, autojump_clock: MockClock) -> None:
        """A route that discards hears nothing of messages, but counts them as signs of life."""
        limits = Limits(idle_timeout=60, inbox_messages=1)
        async with open_connection(limits=limits, discard=True) as connection:
            connection.wire.say(said(*["heartbeat"] * 1000))
            await trio.sleep(3)
            connection.wire.say(said("heartbeat"), ping(b"still heard"))

            assert 1001 == connection.transport.received
            assert 3 == connection.transport.last_received
            assert [(10, b"still heard")] == connection.frames
            connection.wire.say(closing(4000))
            await check_ended(connection, CloseInfo(4000, "", by_peer=True, clean=True))


class TestFullInbox:
    """A handler that does not read stops the peer, not the server."""

    async def test_reading_stops(self, autojump_clock: MockClock) -> None:
        """What does not fit stays raw, and the rest with the kernel, until it is received."""
        async with open_connection(limits=Limits(inbox_messages=4)) as connection:
            connection.wire.say(said(*"abcdef"))
            connection.wire.say(said(*"ghij"))
            assert 4 == connection.transport.received
            assert not connection.wire.is_reading

            assert "ab" == "".join([str(await connection.transport.receive()) for _ in range(2)])
            # Two left and two from what was raw; full again, without a new event.
            assert 6 == connection.transport.received
            assert not connection.wire.is_reading
            assert "cdef" == "".join([str(await connection.transport.receive()) for _ in range(4)])
            assert connection.wire.is_reading
            await wait_all_tasks_blocked()
            assert 10 == connection.transport.received

    async def test_one_message(self, autojump_clock: MockClock) -> None:
        """An inbox of one message works as well, with one message raw after the other."""
        async with open_connection(limits=Limits(inbox_messages=1)) as connection:
            split = said("split")
            connection.wire.say(said(*"abc"), split[:3])
            assert 1 == connection.transport.received
            assert ["a", "b", "c"] == [await connection.transport.receive() for _ in range(3)]
            connection.wire.say(split[3:])
            assert "split" == await connection.transport.receive()

    async def test_a_read_under_way(self, autojump_clock: MockClock) -> None:
        """What a wire had begun to read when it was stopped is kept raw."""
        async with open_connection(limits=Limits(inbox_messages=1)) as connection:
            connection.wire.say(said("one"))
            connection.transport.take(said("two"))

            assert 1 == connection.transport.received
            assert ["one", "two"] == [await connection.transport.receive() for _ in range(2)]

    async def test_unread(self, autojump_clock: MockClock) -> None:
        """An inbox that stays full is reported after `stall_timeout`, with 1013, once."""
        limits = Limits(inbox_messages=2, stall_timeout=30)
        async with open_connection(limits=limits) as connection:
            await trio.sleep(1)
            connection.wire.say(said("one", "two", "three"))
            await trio.sleep(500)

            assert [(31, 1013, "inbox unread for 30 s")] == connection.record.overruns

    async def test_read_slowly(self, autojump_clock: MockClock) -> None:
        """A handler that takes a message now and then is slow, but not stalled."""
        limits = Limits(inbox_messages=64, stall_timeout=30, ping_interval=1e6)
        async with open_connection(limits=limits) as connection:
            connection.wire.say(said(*["x"] * 64))
            for _ in range(60):
                await trio.sleep(29)
                await connection.transport.receive()

            assert [] == connection.record.overruns

    async def test_read_no_more(self, autojump_clock: MockClock) -> None:
        """When it stops, it is found out, after twice that time at most."""
        limits = Limits(inbox_messages=64, stall_timeout=30, ping_interval=1e6)
        async with open_connection(limits=limits) as connection:
            connection.wire.say(said(*["x"] * 64))
            await trio.sleep(29)
            await connection.transport.receive()
            await trio.sleep(500)

            ((when, code, _),) = connection.record.overruns
            assert 1013 == code
            assert 29 + 30 <= when <= 29 + 60

    async def test_nothing_is_reported_after_the_end(self, autojump_clock: MockClock) -> None:
        """What a peer that is gone has left may be received at leisure."""
        limits = Limits(inbox_messages=2, stall_timeout=30)
        async with open_connection(limits=limits) as connection:
            connection.wire.say(said("one", "two", "three"))
            connection.wire.reset()
            await trio.sleep(500)

            assert [] == connection.record.overruns
            assert ["one", "two", "three"] == await receive_all(connection)
            assert 3 == connection.record.delivered

    @pytest.mark.parametrize(
        ("how", "info"),
        [
            ("close", CloseInfo(1000, "", by_peer=True, clean=True)),
            ("leave", LOST),
            ("garbage", CloseInfo(1002, "a frame has the unknown opcode 0xf", by_peer=False)),
        ],
    )
    async def test_an_end_behind_it(
        self, autojump_clock: MockClock, how: str, info: CloseInfo
    ) -> None:
        """An end that lies behind what nobody has room for is met when it is the next."""
        async with open_connection(limits=Limits(inbox_messages=2)) as connection:
            connection.wire.say(said(*"abc"))
            end(connection, how)
            await trio.sleep(1)
            assert connection.transport.closed is None

            assert list("abc") == await receive_all(connection)
            await check_ended(connection, info)
            assert [info] == connection.told

    async def test_an_end_that_a_wire_meets_twice(self, autojump_clock: MockClock) -> None:
        """A wire that was reading meets the end of the stream while the inbox is full."""
        async with open_connection(limits=Limits(inbox_messages=1)) as connection:
            connection.wire.say(said("one"))
            connection.transport.take(b"")
            assert connection.transport.closed is None

            connection.wire.leave()
            assert ["one"] == await receive_all(connection)
            await check_ended(connection, LOST)

    async def test_a_reset(self, autojump_clock: MockClock) -> None:
        """A reset is seen at once; what was read before it is still received."""
        async with open_connection(limits=Limits(inbox_messages=2)) as connection:
            connection.wire.say(said(*"abcdef"), closing(1000))
            connection.wire.reset()
            assert [LOST] == connection.told

            assert list("abcdef") == await receive_all(connection)
            await check_ended(connection, LOST)
            assert [LOST] == connection.told

    async def test_garbage_behind_a_reset(self, autojump_clock: MockClock) -> None:
        """What is wrong with the rest matters no more."""
        async with open_connection(limits=Limits(inbox_messages=2)) as connection:
            connection.wire.say(said(*"abc"), GARBAGE)
            connection.wire.reset()

            assert list("abc") == await receive_all(connection)
            assert connection.transport.fault is None
            assert [LOST] == connection.told

    async def test_is_no_idleness(self, autojump_clock: MockClock) -> None:
        """While nobody looks the peer counts as alive, and is given time afterwards."""
        limits = Limits(inbox_messages=1, idle_timeout=10)
        async with open_connection(limits=limits) as connection:
            connection.wire.say(said("one"))
            await trio.sleep(100)
            assert 100 == connection.transport.last_received
            await connection.transport.receive()
            await trio.sleep(5)
            assert 100 == connection.transport.last_received


class TestHeld:
    """Messages that nobody waits for can be left with the kernel."""

    async def test_without_a_receiver(self, autojump_clock: MockClock) -> None:
        """Nothing is read; and the peer is not to be blamed for what nobody reads."""
        async with open_connection(limits=Limits(idle_timeout=10)) as connection:
            connection.transport.set_reading(False)
            connection.wire.say(said("later"))
            await trio.sleep(1001)
            assert 0 == connection.transport.received
            assert 1001 == connection.transport.last_received
            assert [] == connection.record.overruns

            connection.transport.set_reading(True)
            await wait_all_tasks_blocked()
            assert 1 == connection.transport.received
            assert "later" == await connection.transport.receive()

    async def test_with_a_receiver(self, autojump_clock: MockClock) -> None:
        """Each receive takes one message, and what came with it stays raw."""
        async with open_connection() as connection:
            connection.transport.set_reading(False)
            connection.wire.say(said("one", "two"))
            assert "one" == await connection.transport.receive()
            assert 1 == connection.transport.received
            assert not connection.wire.is_reading
            assert "two" == await connection.transport.receive()
            assert not connection.wire.is_reading

    async def test_stopped_while_a_task_waits(self, autojump_clock: MockClock) -> None:
        """A task that waits gets its message; a task that no longer does stops the reading."""
        async with open_connection() as connection, trio.open_nursery() as nursery:
            nursery.start_soon(connection.transport.receive)
            await wait_all_tasks_blocked()
            connection.transport.set_reading(False)
            connection.wire.say(said("one", "two"))
            await wait_all_tasks_blocked()
            assert not nursery.child_tasks
            assert 1 == connection.transport.received

        async with open_connection() as connection:
            connection.transport.set_reading(False)
            with trio.move_on_after(1):
                await connection.transport.receive()
            assert not connection.wire.is_reading
            connection.wire.say(said("later"))
            await wait_all_tasks_blocked()
            assert 0 == connection.transport.received

    async def test_what_was_raw(self, autojump_clock: MockClock) -> None:
        """Reading goes on with what had been read, though nothing new comes."""
        async with open_connection() as connection:
            connection.transport.set_reading(False)
            connection.wire.say(said("one", "two", "three"))
            assert "one" == await connection.transport.receive()
            connection.transport.set_reading(True)

            assert ["two", "three"] == [await connection.transport.receive() for _ in range(2)]

    async def test_a_full_inbox(self, autojump_clock: MockClock) -> None:
        """To go on reading makes no room."""
        async with open_connection(limits=Limits(inbox_messages=1)) as connection:
            connection.wire.say(said("one", "two"))
            connection.transport.set_reading(False)
            connection.transport.set_reading(True)

            assert 1 == connection.transport.received
            assert not connection.wire.is_reading

    async def test_before_the_accept(self, autojump_clock: MockClock) -> None:
        """It holds from the start; what came early stays within its bound."""
        async with open_handshake() as connection:
            connection.transport.set_reading(False)
            connection.transport.set_reading(True)
            connection.wire.say(said("one"))
            connection.transport.set_reading(False)
            connection.transport.set_reading(True)
            assert not connection.wire.is_reading
            connection.transport.set_reading(False)
            await connection.transport.accept(None, [])

            assert "one" == await connection.transport.receive()

    async def test_the_end(self, autojump_clock: MockClock) -> None:
        """What was read before the peer was lost is received before the end."""
        async with open_connection() as connection:
            connection.transport.set_reading(False)
            connection.wire.say(said("one", "two", "three"))
            assert "one" == await connection.transport.receive()
            connection.wire.reset()

            assert ["two", "three"] == await receive_all(connection)

    async def test_own_close(self, autojump_clock: MockClock) -> None:
        """After a close the answer is read."""
        async with open_connection() as connection:
            connection.transport.set_reading(False)
            connection.wire.say(said("one"), closing(1000))
            await connection.transport.close(1000, "")
            await connection.transport.finish()

            assert 0 == trio.current_time()


class TestPings:
    """Pings are answered, and the peer's life is looked after."""

    async def test_is_answered(self, autojump_clock: MockClock) -> None:
        """A ping is answered with its payload, among the messages in order."""
        async with open_connection() as connection:
            await connection.transport.send("before")
            connection.wire.say(ping(b"1"), ping(b""))

            assert [text("before"), (10, b"1"), (10, b"")] == connection.frames

    async def test_while_blocked(self, autojump_clock: MockClock) -> None:
        """A peer that pings and does not read is answered once, for its last ping."""
        async with open_connection(room=1) as connection:
            connection.transport.send_nowait(Prepared("stuck"))
            for i in range(1000):
                connection.wire.say(ping(b"%d" % i))
            assert connection.wire.unsent < 10

            connection.wire.read()
            assert [text("stuck"), (10, b"999")] == connection.frames
            connection.transport.send_nowait(Prepared("once"))
            assert [text("stuck"), (10, b"999"), text("once")] == connection.frames

    async def test_after_the_end(self, autojump_clock: MockClock) -> None:
        """Behind our close frame nothing more is said, neither now nor when the peer reads."""
        async with open_connection() as connection:
            await connection.transport.close(1000, "")
            connection.wire.say(ping(b"too late"))
            assert [close()] == connection.frames

        async with open_connection(room=1) as connection:
            connection.transport.send_nowait(Prepared("stuck"))
            connection.wire.say(ping(b"too late"))
            await connection.transport.close(1000, "")
            connection.wire.read()
            assert [text("stuck"), close()] == connection.frames

    async def test_latency(self, autojump_clock: MockClock) -> None:
        """The round trip of our pings is measured; a pong out of nowhere is no mistake."""
        async with open_connection() as connection:
            connection.wire.say(pong(b"hello?"))
            await trio.sleep(20.5)
            connection.wire.say(pong(connection.pings[-1]))

            assert 0.5 == connection.transport.latency

    async def test_a_dead_peer(self, autojump_clock: MockClock) -> None:
        """It is reported after `ping_interval` + `ping_timeout`, and closed without waiting."""
        limits = Limits(ping_interval=5, ping_timeout=3)
        async with open_connection(limits=limits) as connection:
            await trio.sleep(100)
            assert [(8, 1011, "no pong for 3 s")] == connection.record.overruns

            await connection.transport.close(1011, "no pong for 3 s")
            assert [close(1011, "no pong for 3 s")] == connection.frames
            assert connection.wire.is_closed

    async def test_after_the_peer_has_left(self, autojump_clock: MockClock) -> None:
        """A handler that goes on after the end hears nothing of pings."""
        for how in ("leave", "close"):
            async with open_connection() as connection:
                end(connection, how)
                await trio.sleep(100)

                assert [] == connection.record.overruns

    async def test_a_full_inbox(self, autojump_clock: MockClock) -> None:
        """While nobody reads nobody is blamed, nor because it was so until just now."""
        limits = Limits(inbox_messages=1, stall_timeout=1000)
        async with open_connection(limits=limits) as connection:
            connection.wire.say(said("one"))
            await trio.sleep(119)
            await connection.transport.receive()
            await trio.sleep(2)
            assert [] == connection.record.overruns

            await trio.sleep(1000)
            ((when, code, _),) = connection.record.overruns
            assert (140, 1011) == (when, code)

    async def test_a_slow_peer(self, autojump_clock: MockClock) -> None:
        """A peer that is busy reading what was sent is alive, and waited for."""
        async with open_connection(room=0) as connection, trio.open_nursery() as nursery:
            nursery.start_soon(connection.transport.send, "x" * 98)
            for _ in range(90):
                await trio.sleep(10)
                connection.wire.read(1)

            assert [] == connection.record.overruns
            nursery.cancel_scope.cancel()


class TestPeerCloses:
    """The end is told once, and what arrived before it is still received."""

    @pytest.mark.parametrize(
        ("frame", "info", "answer"),
        [
            (closing(1000), CloseInfo(1000, "", by_peer=True, clean=True), close(1000)),
            (
                closing(4001, "bye"),
                CloseInfo(4001, "bye", by_peer=True, clean=True),
                close(4001),
            ),
            (closing(None), CloseInfo(1005, "", by_peer=True, clean=True), close(None)),
        ],
    )
    async def test_close(
        self,
        autojump_clock: MockClock,
        frame: bytes,
        info: CloseInfo,
        answer: tuple[Opcode, bytes],
    ) -> None:
        """The peer's code and reason are told; its code is the answer."""
        async with open_connection() as connection:
            connection.wire.say(said("last words"), frame, said("ignored"))
            assert [info] == connection.told
            with pytest.raises(ConnectionClosed):
                await connection.transport.send("too late")

            assert ["last words"] == await receive_all(connection)
            assert 1 == connection.record.delivered
            await check_ended(connection, info)
            assert [answer] == connection.frames
            await connection.transport.finish()
            assert [info] == connection.told

    async def test_nothing_follows(self, autojump_clock: MockClock) -> None:
        """What comes behind a close frame is not understood any more, while its answer waits."""
        async with open_connection(room=1) as connection:
            connection.transport.send_nowait(Prepared("stuck"))
            connection.wire.say(closing(1000))
            connection.wire.say(said("ignored"), GARBAGE)

            assert 0 == connection.transport.received
            assert connection.transport.fault is None

    async def test_a_close_after_it(self, autojump_clock: MockClock) -> None:
        """It changes nothing."""
        async with open_connection() as connection:
            connection.wire.say(closing(4001))
            await connection.transport.close(1000, "")

            assert [close(4001)] == connection.frames
            await check_ended(connection, CloseInfo(4001, "", by_peer=True, clean=True))

    @pytest.mark.parametrize("how", ["leave", "reset"])
    async def test_without_a_word(self, autojump_clock: MockClock, how: str) -> None:
        """An end without a close frame is 1006, however it came."""
        async with open_connection() as connection:
            connection.wire.say(said("last words"))
            end(connection, how)
            assert [LOST] == connection.told

            assert ["last words"] == await receive_all(connection)
            await check_ended(connection, LOST)
            await connection.transport.finish()
            assert [LOST] == connection.told

    @pytest.mark.parametrize("how", ["close", "leave", "reset"])
    async def test_releases_who_waits(self, autojump_clock: MockClock, how: str) -> None:
        """A receive and all sends that wait raise."""
        async with open_connection(room=1) as connection, trio.open_nursery() as nursery:

            async def send() -> None:
                with pytest.raises(ConnectionClosed):
                    await connection.transport.send("stuck")

            nursery.start_soon(receive_all, connection)
            for _ in range(3):
                nursery.start_soon(send)
            await wait_all_tasks_blocked()
            end(connection, how)
            await wait_all_tasks_blocked()
            assert not nursery.child_tasks

    async def test_found_by_a_write(self, autojump_clock: MockClock) -> None:
        """A write that fails does not hide what the peer has said before it left."""
        async with open_connection() as connection:
            connection.wire.refuse_bytes()
            await connection.transport.send("to nobody")
            assert connection.transport.closed is None

            connection.wire.say(said("last words"), closing(4001, "bye"))
            assert ["last words"] == await receive_all(connection)
            await check_ended(connection, CloseInfo(4001, "bye", by_peer=True, clean=True))


class TestPeerMisbehaves:
    """What breaks the protocol ends the connection, and nothing else."""

    @pytest.mark.parametrize(
        ("data", "fault", "code"),
        [
            (GARBAGE, ProtocolViolation, 1002),
            (client_frame(Opcode.TEXT, b"\xff"), InvalidMessage, 1007),
            (said("x" * 11), MessageTooBig, 1009),
        ],
    )
    async def test_fault(
        self, autojump_clock: MockClock, data: bytes, fault: type[Exception], code: int
    ) -> None:
        """The peer is told, the owner too, and what came before is received."""
        async with open_connection(limits=Limits(max_message_size=10)) as connection:
            connection.wire.say(said("fine", "also fine"), data, said("ignored"))
            assert isinstance(connection.transport.fault, fault)
            info = CloseInfo(code, str(connection.transport.fault), by_peer=False)
            assert [info] == connection.told
            assert [close(code, info.reason)] == connection.frames

            assert ["fine", "also fine"] == await receive_all(connection)
            await check_ended(connection, info)
            connection.wire.say(said("ignored"))
            connection.wire.leave()
            await connection.transport.finish()
            assert 0 == trio.current_time()
            assert 2 == connection.transport.received
            assert [info] == connection.told

    async def test_does_not_leave(self, autojump_clock: MockClock) -> None:
        """A peer that has been told and stays is given up after `close_timeout`."""
        async with open_connection() as connection:
            connection.wire.say(GARBAGE)
            await connection.transport.finish()

            assert 5 == trio.current_time()


class TestClose:
    """This side closes: the frame goes out once, and the peer's answer is awaited."""

    async def test_close(self, autojump_clock: MockClock) -> None:
        """The peer sees code and reason; its answer makes it clean."""
        async with open_connection() as connection:
            await connection.transport.send("before")
            await connection.transport.close(4000, "enough")
            assert [text("before"), close(4000, "enough")] == connection.frames
            await check_ended(connection, CloseInfo(4000, "enough", by_peer=False))

            connection.wire.say(closing(4000))
            await connection.transport.finish()
            info = CloseInfo(4000, "enough", by_peer=False, clean=True)
            await check_ended(connection, info)
            assert [] == connection.told

    async def test_the_first_code_wins(self, autojump_clock: MockClock) -> None:
        """A second close changes nothing."""
        async with open_connection() as connection:
            await connection.transport.close(4000, "first")
            await connection.transport.close(4001, "second")

            assert [close(4000, "first")] == connection.frames

    async def test_both_at_once(self, autojump_clock: MockClock) -> None:
        """Close frames that cross answer each other; each side keeps its own code."""
        async with open_connection() as connection:
            await connection.transport.close(4000, "ours")
            connection.wire.say(closing(4001, "theirs"))

            assert [close(4000, "ours")] == connection.frames
            await check_ended(connection, CloseInfo(4000, "ours", by_peer=False, clean=True))

    async def test_messages_before_the_answer(self, autojump_clock: MockClock) -> None:
        """A peer that goes on talking is read, to find its answer among the messages."""
        async with open_connection(limits=Limits(inbox_messages=2)) as connection:
            connection.wire.say(said("unread"))
            await connection.transport.close(1000, "")
            connection.wire.say(said(*["x"] * 1000), closing(1000))
            await connection.transport.finish()

            assert 0 == trio.current_time()
            assert 1 == connection.transport.received
            await check_ended(connection, CloseInfo(1000, "", by_peer=False, clean=True))

    @pytest.mark.parametrize("where", ["raw", "kernel"])
    async def test_the_answer_behind_a_full_inbox(
        self, autojump_clock: MockClock, where: str
    ) -> None:
        """A peer that has closed too, behind what nobody had room for, is not waited for."""
        async with open_connection(limits=Limits(inbox_messages=2)) as connection:
            connection.wire.say(said(*"abcd"), closing(4001) if where == "raw" else b"")
            connection.wire.say(closing(4001) if where == "kernel" else b"")
            await connection.transport.close(1000, "")
            await connection.transport.finish()

            assert 0 == trio.current_time()
            await check_ended(connection, CloseInfo(1000, "", by_peer=False, clean=True))
            await trio.sleep(1000)
            assert [] == connection.record.overruns

    async def test_without_an_answer(self, autojump_clock: MockClock) -> None:
        """A peer that does not answer is waited for `close_timeout`, and then given up."""
        async with open_connection() as connection:
            await trio.sleep(1)
            await connection.transport.close(1000, "")
            assert 1 == trio.current_time()
            await connection.transport.finish()

            assert 6 == trio.current_time()
            await check_ended(connection, CloseInfo(1000, "", by_peer=False, clean=False))
            assert [] == connection.told

    async def test_releases_who_waits(self, autojump_clock: MockClock) -> None:
        """A receive in another task raises at once."""
        async with open_connection() as connection, trio.open_nursery() as nursery:
            nursery.start_soon(receive_all, connection)
            await wait_all_tasks_blocked()
            await connection.transport.close(1000, "")
            await wait_all_tasks_blocked()
            assert not nursery.child_tasks

    async def test_cancelled(self, autojump_clock: MockClock) -> None:
        """A cancelled task closes nothing; the next does."""
        async with open_connection() as connection:
            with trio.move_on_after(0):
                await connection.transport.close(4000, "")
            assert connection.transport.closed is None
            await connection.transport.close(1000, "")

            assert [close()] == connection.frames


class TestDismiss:
    """The server closes, on its own behalf."""

    async def test_after_the_accept(self, autojump_clock: MockClock) -> None:
        """The peer is told by a close frame, the handler as of a peer that left."""
        async with open_connection() as connection:
            connection.transport.dismiss(1001, "server draining")
            connection.transport.dismiss(1011, "again")
            info = CloseInfo(1001, "server draining", by_peer=False)
            assert [close(1001, "server draining")] == connection.frames
            assert [info] == connection.told
            await check_ended(connection, info)

            connection.wire.say(closing(1001))
            await connection.transport.finish()
            assert [info] == connection.told

    async def test_before_the_accept(self, autojump_clock: MockClock) -> None:
        """The peer is told by an HTTP response, and the handler has nobody to accept."""
        async with open_handshake() as connection:
            connection.transport.dismiss(1001, "server draining")
            info = CloseInfo(1006, "answered with HTTP 503", by_peer=False)
            assert connection.head.startswith(b"HTTP/1.1 503 ")
            assert [info] == connection.told
            with pytest.raises(ConnectionClosed):
                await connection.transport.accept(None, [])
            await check_ended(connection, info)

    async def test_somebody_who_has_left(self, autojump_clock: MockClock) -> None:
        """It changes nothing after the end."""
        async with open_connection() as connection:
            connection.wire.say(closing(4001))
            connection.transport.dismiss(1001, "server draining")

            await check_ended(connection, CloseInfo(4001, "", by_peer=True, clean=True))
            assert 1 == len(connection.told)


class TestAbort:
    """Nobody waits for ever, whatever becomes of the peer."""

    async def test_abort(self, autojump_clock: MockClock) -> None:
        """The socket is closed without a word, and everybody who waits is let go."""
        async with open_connection(room=1) as connection, trio.open_nursery() as nursery:

            async def send() -> None:
                with pytest.raises(ConnectionClosed):
                    await connection.transport.send("stuck")

            nursery.start_soon(receive_all, connection)
            for wait in (send, send, connection.transport.finish, connection.transport.finish):
                nursery.start_soon(wait)
            await wait_all_tasks_blocked()
            connection.transport.abort()
            connection.transport.abort()

        info = CloseInfo(1006, "", by_peer=False, clean=False)
        await check_ended(connection, info)
        assert [] == connection.told
        assert connection.wire.is_reset

    async def test_leave(self, autojump_clock: MockClock) -> None:
        """A connection that nobody serves any more is closed with 1001, and not waited for."""
        async with open_connection() as connection:
            connection.transport.leave()

            assert [close(1001)] == connection.frames
            assert connection.wire.is_closed
            assert not connection.wire.is_reset

    async def test_leave_somebody_who_does_not_read(self, autojump_clock: MockClock) -> None:
        """One that does not read is cut off."""
        async with open_connection(room=1) as connection:
            connection.transport.leave()

            assert connection.wire.is_reset

    async def test_leave_a_handshake(self, autojump_clock: MockClock) -> None:
        """A handshake that nobody answers is refused."""
        async with open_handshake() as connection:
            connection.transport.leave()

            assert connection.head.startswith(b"HTTP/1.1 503 ")
            assert connection.wire.is_closed

    async def test_leave_what_is_over(self, autojump_clock: MockClock) -> None:
        """After the end there is nothing to do."""
        async with open_connection() as connection:
            connection.wire.say(closing(1000))
            connection.transport.leave()

            assert [close()] == connection.frames


class TestFairness:
    """What reaches no inbox has a bound too: after a megabyte of it others have a turn."""

    @pytest.mark.parametrize("what", ["pings", "messages to be dropped", "empty fragments"])
    async def test_a_rest(self, autojump_clock: MockClock, what: str) -> None:
        """A connection that is sent very much rests, and goes on where it was."""
        async with open_connection(discard=True) as connection:
            burst = {
                "pings": Frame(Opcode.PING, b"").serialize(mask=True) * 3000,
                "messages to be dropped": said("x" * 60_000) * 20,
                "empty fragments": Frame(Opcode.TEXT, b"", fin=False).serialize(mask=True)
                + Frame(Opcode.CONT, b"", fin=False).serialize(mask=True) * 3000
                + Frame(Opcode.CONT, b"").serialize(mask=True),
            }[what]
            connection.transport.take(burst)
            assert not connection.wire.is_reading
            connection.transport.take(said("last"))
            before = connection.transport.received
            await trio.sleep(1)

            assert connection.wire.is_reading
            assert before < connection.transport.received or what == "messages to be dropped"

    async def test_a_rest_that_outlasts_the_connection(self, autojump_clock: MockClock) -> None:
        """The end of a rest finds nothing to do when the connection is gone meanwhile."""
        async with open_connection(discard=True) as connection:
            connection.transport.take(Frame(Opcode.PING, b"").serialize(mask=True) * 2000)
            connection.transport.abort()
            await trio.sleep(1)

            assert connection.wire.is_closed

    async def test_pings_are_no_messages(self, autojump_clock: MockClock) -> None:
        """However many come: for `idle_timeout` the last message counts, also during a rest."""
        async with open_connection(limits=Limits(idle_timeout=60), discard=True) as connection:
            connection.wire.say(said("heartbeat"))
            await trio.sleep(30)
            connection.transport.take(Frame(Opcode.PING, b"").serialize(mask=True) * 3000)

            assert not connection.wire.is_reading
            assert 0 == connection.transport.last_received

    async def test_a_reset_during_a_rest(self, autojump_clock: MockClock) -> None:
        """What had come before it is still received, and the close that was said is the end."""
        pings = Frame(Opcode.PING, b"").serialize(mask=True) * 3000
        async with open_connection() as connection:
            transport = connection.transport
            connection.wire.say(pings, said("one", "two"), pings, closing(4001))
            connection.wire.reset()
            with trio.fail_after(1):
                assert ["one", "two"] == [await transport.receive() for _ in range(2)]
                with pytest.raises(ConnectionClosed):
                    await transport.receive()
                await transport.finish()

            assert CloseInfo(4001, "", by_peer=True, clean=True) == transport.closed
            assert [transport.closed] == connection.told

    async def test_a_reset_behind_a_full_inbox(self, autojump_clock: MockClock) -> None:
        """The connection is over at once, and what there is no room for is received later."""
        pings = Frame(Opcode.PING, b"").serialize(mask=True) * 300
        async with open_connection(limits=Limits(inbox_messages=2)) as connection:
            transport = connection.transport
            connection.wire.say(pings, said(*"abcd"))
            connection.wire.reset()
            with trio.fail_after(1):
                await transport.finish()
            assert CloseInfo(1006, "", by_peer=True, clean=False) == transport.closed

            assert list("abcd") == [await transport.receive() for _ in range(4)]

    async def test_a_rest_behind_a_reset(self, autojump_clock: MockClock) -> None:
        """What comes behind it is received, too: nobody is told of the end before."""
        pings = Frame(Opcode.PING, b"").serialize(mask=True) * 300
        async with open_connection(limits=Limits(inbox_messages=2)) as connection:
            transport = connection.transport
            connection.wire.say(said("a", "b"), pings, said("c", "d"))
            connection.wire.reset()
            with trio.fail_after(1):
                assert list("abcd") == [await transport.receive() for _ in range(4)]
                with pytest.raises(ConnectionClosed):
                    await transport.receive()

    async def test_a_close_during_a_rest(self, autojump_clock: MockClock) -> None:
        """By this side it is the end at once."""
        async with open_connection() as connection:
            connection.wire.say(Frame(Opcode.PING, b"").serialize(mask=True) * 2000)
            assert connection.transport.is_resting
            await connection.transport.close(1000, "")
            with pytest.raises(ConnectionClosed):
                await connection.transport.receive()
            assert connection.transport.is_resting

    async def test_a_held_inbox_after_a_rest(self, autojump_clock: MockClock) -> None:
        """Who has asked for no more messages gets none by the end of a rest."""
        async with open_connection() as connection:
            connection.transport.take(Frame(Opcode.PING, b"").serialize(mask=True) * 2000)
            connection.transport.set_reading(False)
            await trio.sleep(1)

            assert not connection.wire.is_reading

    async def test_a_peer_that_pings_and_reads_nothing(self, autojump_clock: MockClock) -> None:
        """It is given up like any other that does not read."""
        limits = Limits(send_timeout=5)
        async with open_connection(limits=limits) as connection:
            connection.wire.stall()
            connection.wire.say(Frame(Opcode.PING, b"x").serialize(mask=True))
            await wait_all_tasks_blocked()
            connection.wire.say(Frame(Opcode.PING, b"x").serialize(mask=True))
            await trio.sleep(10)

            assert 1 == len(connection.record.overruns)
