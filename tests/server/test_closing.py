"""How a connection ends: who says what to whom, and when the socket is closed (RFC 6455 §7)."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.server.wires import UNLIMITED, MemoryWire, Quiet, Record, close, frames_in, text
from triows._close import CloseInfo
from triows._errors import ConnectionClosed, InvalidMessage, ProtocolViolation
from triows._limits import Limits
from triows._outbox import Prepared
from triows._timer import open_timer
from triows.server._closing import Closing
from triows.server._frames import CloseFrame
from triows.server._inbox import Inbox
from triows.server._line import Line
from triows.server._outgoing import Outgoing


class Side(Quiet):
    """One end of a connection: what a transport has, but for what it understands."""

    def __init__(self, room: int, *, is_lazy: bool) -> None:
        super().__init__()
        self.wire = MemoryWire(room, is_lazy=is_lazy)
        self.wire.user = self
        self.line = Line()
        self.record = Record(self.line)
        self.outgoing: Outgoing
        self.inbox: Inbox
        self.closing: Closing

    @property
    def frames(self) -> list[tuple[int, bytes]]:
        """What the peer got to read."""
        return list(frames_in(self.wire.seen))

    @property
    def told(self) -> list[CloseInfo]:
        """What the connection was told of its end."""
        return [info for _, info in self.record.gone]

    def take(self, data: bytes) -> None:
        """Hear that the peer sends no more; what it says is not understood here."""
        if not data:
            self.closing.end_of_stream()

    def blocked(self) -> None:
        """Hear that the peer does not read as fast as it is written to."""
        self.outgoing.watch()

    def unblocked(self) -> None:
        """Hear that the peer reads again."""
        self.closing.unblocked()
        self.outgoing.wake()

    def lost(self) -> None:
        """Hear that the socket is closed."""
        self.closing.lost()


@asynccontextmanager
async def open_side(room: int = UNLIMITED, *, is_lazy: bool = False) -> AsyncGenerator[Side]:
    """Have an open connection around a block."""
    side = Side(room, is_lazy=is_lazy)
    async with open_timer() as timer:
        side.inbox = Inbox(side, side.line, Limits())
        side.outgoing = Outgoing(side.wire, side.line, timer, Limits())
        side.closing = Closing(
            side.line,
            side.wire,
            side.inbox,
            side.outgoing,
            timer=timer,
            limits=Limits(),
            source=side,
        )
        yield side


def fill(side: Side) -> None:
    """Write more than the peer reads."""
    side.outgoing.write(b"\x82\x04full")
    assert side.wire.is_blocked


class TestClose:
    """This side closes."""

    async def test_close(self, autojump_clock: MockClock) -> None:
        """The peer gets the frame; its answer ends it cleanly, and the socket is closed."""
        async with open_side() as side:
            side.closing.close(4000, "enough")
            assert [close(4000, "enough")] == side.frames
            assert CloseInfo(4000, "enough", by_peer=False) == side.line.closed
            assert not side.wire.is_closed

            side.closing.hear_close(CloseFrame(1000, "other"))
            assert CloseInfo(4000, "enough", by_peer=False, clean=True) == side.line.closed
            assert side.wire.is_closed
            assert [close(4000, "enough")] == side.frames
            assert [] == side.told

    async def test_reads_on(self, autojump_clock: MockClock) -> None:
        """What lies before the answer has to be read; nobody receives it."""
        async with open_side() as side:
            side.inbox.put("unread")
            side.closing.close(1000, "")

            assert 1 == side.asked
            with pytest.raises(ConnectionClosed):
                await side.inbox.receive()

    async def test_releases_who_waits(self, autojump_clock: MockClock) -> None:
        """A receive and sends that wait raise at once."""
        async with open_side(room=1) as side, trio.open_nursery() as nursery:

            async def receive() -> None:
                with pytest.raises(ConnectionClosed):
                    await side.inbox.receive()

            async def send() -> None:
                with pytest.raises(ConnectionClosed):
                    await side.outgoing.send("x")

            for wait in (receive, send, send):
                nursery.start_soon(wait)
            await wait_all_tasks_blocked()
            side.closing.close(1000, "")

    async def test_no_answer(self, autojump_clock: MockClock) -> None:
        """A peer that does not answer in `close_timeout` is given up."""
        async with open_side() as side:
            side.closing.set_limits(Limits(close_timeout=3))
            await trio.sleep(1)
            side.closing.close(1000, "")
            await side.closing.wait_gone()

            assert 4 == trio.current_time()
            assert side.wire.is_reset
            assert CloseInfo(1000, "", by_peer=False, clean=False) == side.line.closed
            assert [] == side.told

    async def test_the_peer_leaves_instead(self, autojump_clock: MockClock) -> None:
        """One that just leaves has not closed cleanly, but is not waited for."""
        async with open_side() as side:
            side.closing.close(1000, "")
            side.wire.leave()
            await side.closing.wait_gone()

            assert 0 == trio.current_time()
            assert CloseInfo(1000, "", by_peer=False, clean=False) == side.line.closed
            assert not side.wire.is_reset

    async def test_behind_what_was_sent(self, autojump_clock: MockClock) -> None:
        """The frame comes last; a slow peer has `close_timeout` to get there, and to answer."""
        async with open_side(room=1) as side:
            side.outgoing.send_nowait(Prepared("before"))
            side.closing.close(1000, "")
            await trio.sleep(4)
            side.wire.read()
            assert [text("before"), close()] == side.frames
            await trio.sleep(4)
            assert not side.wire.is_closed
            await side.closing.wait_gone()
            assert 9 == trio.current_time()

    async def test_behind_what_the_kernel_has(self, autojump_clock: MockClock) -> None:
        """A slow peer has it for every bit that it reads of what was sent before."""
        async with open_side() as side:
            side.wire.undelivered = 90
            side.closing.close(1000, "")
            for _ in range(9):
                await trio.sleep(4)
                side.wire.undelivered -= 10
            assert not side.wire.is_closed
            side.closing.hear_close(CloseFrame(1000, ""))

            assert CloseInfo(1000, "", by_peer=False, clean=True) == side.line.closed

    async def test_behind_what_is_read_no_more(self, autojump_clock: MockClock) -> None:
        """It is given up when it has read nothing for so long."""
        async with open_side() as side:
            side.wire.undelivered = 90
            side.closing.close(1000, "")
            await trio.sleep(0.5)
            side.wire.undelivered = 80
            await trio.sleep(4)
            side.wire.undelivered = 70
            await side.closing.wait_gone()

            assert 10 == trio.current_time()
            assert side.wire.is_reset

    async def test_what_was_on_its_way(self, autojump_clock: MockClock) -> None:
        """That it arrives says nothing of a peer that does not answer."""
        async with open_side() as side:
            side.wire.undelivered = 90
            side.closing.close(1000, "")
            await trio.sleep(0.5)
            side.wire.undelivered = 0
            await side.closing.wait_gone()

            assert 5 == trio.current_time()

    async def test_behind_what_is_never_read(self, autojump_clock: MockClock) -> None:
        """A peer that does not read is given up."""
        async with open_side(room=1) as side:
            fill(side)
            side.closing.close(1000, "")
            await side.closing.wait_gone()

            assert 5 == trio.current_time()

    async def test_a_dead_peer(self, autojump_clock: MockClock) -> None:
        """One that has shown no life is told, and not waited for."""
        async with open_side() as side:
            side.line.is_dead = True
            side.closing.close(1011, "no pong")

            assert [close(1011, "no pong")] == side.frames
            assert side.wire.is_closed
            assert not side.wire.is_reset

    async def test_a_dead_peer_that_does_not_read(self, autojump_clock: MockClock) -> None:
        """Nor that it reads: it is gone at once."""
        async with open_side(room=1) as side:
            fill(side)
            side.line.is_dead = True
            side.closing.close(1011, "no pong")

            assert side.wire.is_reset

    async def test_a_socket_that_is_broken(self, autojump_clock: MockClock) -> None:
        """If the frame finds nobody, the connection is over, and nothing is set for later."""
        async with open_side() as side:
            side.wire.refuse_bytes()
            side.wire.set_reading(False)
            side.closing.close(1000, "")

            assert side.line.is_gone
            assert CloseInfo(1000, "", by_peer=False, clean=False) == side.line.closed
            await trio.sleep(100)


class TestHearClose:
    """The peer closes."""

    @pytest.mark.parametrize(
        ("frame", "answer"),
        [
            (CloseFrame(1000, ""), close(1000)),
            (CloseFrame(4001, "bye"), close(4001)),
            (CloseFrame(1005, ""), close(None)),
        ],
    )
    async def test_answer(
        self, autojump_clock: MockClock, frame: CloseFrame, answer: tuple[int, bytes]
    ) -> None:
        """Its code is the answer, and an empty frame that to an empty one; its reason is told."""
        async with open_side() as side:
            side.closing.hear_close(frame)

            ending = CloseInfo(frame.code, frame.reason, by_peer=True, clean=True)
            assert [answer] == side.frames
            assert ending == side.line.closed
            assert [ending] == side.told
            assert side.line.is_deaf
            assert side.line.is_gone

    async def test_what_came_before(self, autojump_clock: MockClock) -> None:
        """Messages that came before it are received; nothing is sent any more."""
        async with open_side() as side:
            side.inbox.put("last words")
            side.closing.hear_close(CloseFrame(1000, ""))

            assert "last words" == await side.inbox.receive()
            with pytest.raises(ConnectionClosed):
                await side.inbox.receive()
            with pytest.raises(ConnectionClosed):
                await side.outgoing.send("too late")

    async def test_does_not_read_the_answer(self, autojump_clock: MockClock) -> None:
        """A peer that closes and does not read is given up after `close_timeout`."""
        async with open_side(room=1) as side:
            fill(side)
            side.closing.hear_close(CloseFrame(1000, ""))
            await side.closing.wait_gone()

            assert 5 == trio.current_time()
            assert 1 == len(side.told)
            assert CloseInfo(1000, "", by_peer=True, clean=True) == side.line.closed

    async def test_reads_the_answer_late(self, autojump_clock: MockClock) -> None:
        """One that reads at last gets all of it, and then the socket is closed."""
        async with open_side(room=1) as side:
            fill(side)
            side.closing.hear_close(CloseFrame(1000, ""))
            await trio.sleep(4)
            side.wire.read()

            assert [(2, b"full"), close()] == side.frames
            assert side.wire.is_closed
            assert not side.wire.is_reset

    async def test_found_after_the_end(self, autojump_clock: MockClock) -> None:
        """Found among what was left when the socket broke, it changes nothing."""
        async with open_side() as side:
            side.wire.reset()
            side.closing.hear_close(CloseFrame(1000, "too late"))

            assert [CloseInfo(1006, "", by_peer=True, clean=False)] == side.told
            assert side.told == [side.line.closed]


class TestFail:
    """The peer breaks the protocol (RFC 6455 §7.1.7)."""

    @pytest.mark.parametrize(
        ("fault", "code"), [(ProtocolViolation("lies"), 1002), (InvalidMessage("garbage"), 1007)]
    )
    async def test_fail(
        self, autojump_clock: MockClock, fault: ProtocolViolation | InvalidMessage, code: int
    ) -> None:
        """It is told what it did; the socket stays until it has read that and left."""
        async with open_side() as side:
            side.inbox.put("before")
            side.closing.fail(fault)
            ending = CloseInfo(code, str(fault), by_peer=False)
            assert [close(code, str(fault))] == side.frames
            assert ([ending], fault) == (side.told, side.line.fault)
            assert side.line.is_deaf
            assert side.wire.is_shut
            assert not side.wire.is_closed
            assert "before" == await side.inbox.receive()

            side.wire.say(b"what is not understood any more")
            assert 1 == side.asked
            side.wire.leave()
            await side.closing.wait_gone()
            assert 0 == trio.current_time()
            assert [ending] == side.told

    async def test_it_stays(self, autojump_clock: MockClock) -> None:
        """One that does not leave is given up."""
        async with open_side() as side:
            side.closing.fail(ProtocolViolation("lies"))
            await side.closing.wait_gone()

            assert 5 == trio.current_time()

    async def test_a_long_reason(self, autojump_clock: MockClock) -> None:
        """What was wrong is cut to what a close frame can carry."""
        async with open_side() as side:
            side.closing.fail(ProtocolViolation("x" * 200))

            assert [close(1002, "x" * 123)] == side.frames

    async def test_after_our_close(self, autojump_clock: MockClock) -> None:
        """Garbage instead of an answer is no answer; who closed first has closed."""
        async with open_side() as side:
            side.closing.close(1000, "")
            side.closing.fail(ProtocolViolation("lies"))

            assert [close()] == side.frames
            assert CloseInfo(1000, "", by_peer=False) == side.line.closed
            assert (None, []) == (side.line.fault, side.told)
            assert side.wire.is_shut


class TestRefuse:
    """The handshake is refused."""

    async def test_refuse(self, autojump_clock: MockClock) -> None:
        """The response goes out; the socket stays until the peer has read it and left."""
        async with open_side() as side:
            side.closing.refuse(403, b"HTTP/1.1 403 ...")
            assert b"HTTP/1.1 403 ..." == side.wire.seen
            assert CloseInfo(1006, "answered with HTTP 403", by_peer=False) == side.line.closed
            assert side.wire.is_shut
            assert not side.wire.is_closed

            side.wire.leave()
            await side.closing.wait_gone()
            assert 0 == trio.current_time()
            assert [] == side.told

    async def test_releases_who_waits(self, autojump_clock: MockClock) -> None:
        """A receive that waits for the peer to leave raises at once."""
        async with open_side() as side, trio.open_nursery() as nursery:

            async def receive() -> None:
                with pytest.raises(ConnectionClosed):
                    await side.inbox.receive()

            nursery.start_soon(receive)
            await wait_all_tasks_blocked()
            side.closing.refuse(403, b"HTTP/1.1 403 ...")
            await wait_all_tasks_blocked()
            assert not nursery.child_tasks

    async def test_it_stays(self, autojump_clock: MockClock) -> None:
        """A client that does not leave, or not even reads, is given up."""
        async with open_side(room=1) as side:
            side.closing.refuse(403, b"HTTP/1.1 403 ...")
            await side.closing.wait_gone()

            assert 5 == trio.current_time()


class TestLost:
    """The peer leaves without a word."""

    @pytest.mark.parametrize("how", ["leave", "reset"])
    async def test_lost(self, autojump_clock: MockClock, how: str) -> None:
        """An end of the stream and a reset are 1006, told once, with everybody woken."""
        async with open_side() as side, trio.open_nursery() as nursery:

            async def receive() -> None:
                with pytest.raises(ConnectionClosed):
                    await side.inbox.receive()

            nursery.start_soon(receive)
            await wait_all_tasks_blocked()
            getattr(side.wire, how)()

            ending = CloseInfo(1006, "", by_peer=True, clean=False)
            assert [ending] == side.told
            assert ending == side.line.closed
            assert side.line.is_gone
            await side.closing.wait_gone()

    async def test_leaves_and_does_not_read(self, autojump_clock: MockClock) -> None:
        """What a peer has left unread is dropped with it."""
        async with open_side(room=1) as side:
            fill(side)
            side.wire.leave()

            assert side.wire.is_reset

    async def test_leaves_with_something_kept(self, autojump_clock: MockClock) -> None:
        """Also if only the last try to write it shows that it is too much."""
        async with open_side(room=1, is_lazy=True) as side:
            side.outgoing.write(b"\x82\x04full")
            assert not side.wire.is_blocked
            side.wire.leave()

            assert side.wire.is_reset

    async def test_a_wire_that_closes_later(self, autojump_clock: MockClock) -> None:
        """A wire whose last bytes are somewhere on their way has `close_timeout` for them."""

        class Slow(MemoryWire):
            """A wire as that of a stream, where a task writes."""

            def finish(self) -> None:
                """Close the socket once everything is written, which it never is."""

        async with open_side() as side:
            side.closing = Closing(
                side.line,
                Slow(),
                side.inbox,
                side.outgoing,
                timer=side.outgoing._timer,
                limits=Limits(),
                source=side,
            )
            side.closing._wire.user = side
            side.closing.end_of_stream()
            await side.closing.wait_gone()

            assert 5 == trio.current_time()


class TestAbort:
    """This side gives up."""

    async def test_abort(self, autojump_clock: MockClock) -> None:
        """The socket is closed without a word, and everybody who waits is let go."""
        async with open_side(room=1) as side, trio.open_nursery() as nursery:

            async def receive() -> None:
                with pytest.raises(ConnectionClosed):
                    await side.inbox.receive()

            async def send() -> None:
                with pytest.raises(ConnectionClosed):
                    await side.outgoing.send("stuck")

            for wait in (receive, send, send, side.closing.wait_gone, side.closing.wait_gone):
                nursery.start_soon(wait)
            await wait_all_tasks_blocked()
            side.closing.abort()

        assert side.wire.is_reset
        assert CloseInfo(1006, "", by_peer=False, clean=False) == side.line.closed
        assert [] == side.told

    async def test_after_a_close(self, autojump_clock: MockClock) -> None:
        """It ended as it was closed, and no deadline is left."""
        async with open_side() as side:
            side.closing.close(4000, "")
            side.closing.abort()
            side.closing.abort()

            assert CloseInfo(4000, "", by_peer=False, clean=False) == side.line.closed
            await trio.sleep(100)

    async def test_leave(self, autojump_clock: MockClock) -> None:
        """What the peer reads it gets, before the socket is closed."""
        async with open_side(is_lazy=True) as side:
            side.closing.close(1001, "")
            side.closing.leave()

            assert [close(1001)] == side.frames
            assert side.wire.is_closed
            assert not side.wire.is_reset

    async def test_leave_somebody_who_does_not_read(self, autojump_clock: MockClock) -> None:
        """Nothing waits for a peer that does not read."""
        for is_lazy in (False, True):
            async with open_side(room=1, is_lazy=is_lazy) as side:
                side.closing.close(1001, "")
                side.closing.leave()

                assert side.wire.is_reset

    async def test_unblocked_while_open(self, autojump_clock: MockClock) -> None:
        """A peer that reads again has all the time, as long as nothing has ended."""
        async with open_side(room=1) as side:
            fill(side)
            side.wire.read()
            await trio.sleep(100)

            assert not side.wire.is_closed
