"""The writing side: messages leave whole and in the order of the calls."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.server.wires import UNLIMITED, MemoryWire, Record, frames_in, text
from triows._close import CloseInfo
from triows._errors import ConnectionClosed
from triows._limits import Limits
from triows._outbox import OVERHEAD, Lane, Prepared, Tally
from triows._timer import open_timer
from triows._types import Data
from triows.server._frames import encode_close, encode_ping
from triows.server._line import Line
from triows.server._outgoing import Outgoing

OURS = CloseInfo(1000, "", by_peer=False)
THEIRS = CloseInfo(1001, "", by_peer=True, clean=True)


class Side:
    """What a transport is for its wire, as far as writing goes."""

    def __init__(self, outgoing: Outgoing) -> None:
        self._outgoing = outgoing

    def take(self, data: bytes) -> None:
        """Hear nothing: nobody talks here."""

    def blocked(self) -> None:
        """Hear that the peer does not read as fast as it is written to."""
        self._outgoing.watch()

    def unblocked(self) -> None:
        """Hear that the peer reads again."""
        self._outgoing.wake()

    def lost(self) -> None:
        """Hear that the socket is closed."""
        self._outgoing.wake()


@asynccontextmanager
async def open_outgoing(
    room: int = UNLIMITED, *, is_lazy: bool = False, limits: Limits | None = None
) -> AsyncGenerator[tuple[Outgoing, MemoryWire, Line]]:
    """Give the writing side a wire, a line and a timer around a block."""
    wire, line = MemoryWire(room, is_lazy=is_lazy), Line()
    async with open_timer() as timer:
        outgoing = Outgoing(wire, line, timer, limits or Limits())
        wire.user = Side(outgoing)
        yield outgoing, wire, line


async def send_all(outgoing: Outgoing, *messages: Data) -> None:
    """Send each message."""
    for message in messages:
        await outgoing.send(message)


async def send_to_nobody(outgoing: Outgoing, message: Data) -> None:
    """Send a message after the end."""
    with pytest.raises(ConnectionClosed):
        await outgoing.send(message)


class TestSend:
    """Messages that a task waits for."""

    @pytest.mark.parametrize("is_lazy", [False, True])
    async def test_messages(self, autojump_clock: MockClock, *, is_lazy: bool) -> None:
        """Each message is a frame, empty ones too, and is counted."""
        async with open_outgoing(is_lazy=is_lazy) as (outgoing, wire, _):
            await send_all(outgoing, "text", b"bytes", "", b"")
            await wait_all_tasks_blocked()

            assert [text("text"), (2, b"bytes"), text(""), (2, b"")] == frames_in(wire.seen)
            assert 4 == outgoing.sent

    async def test_goes_out_at_once(self, autojump_clock: MockClock) -> None:
        """A message for which there is room is with the kernel before any other task runs."""
        async with open_outgoing() as (outgoing, wire, _), trio.open_nursery() as nursery:
            nursery.start_soon(outgoing.send, "two")
            await outgoing.send("one")
            assert [text("one")] == frames_in(wire.seen)

    async def test_another_encoding(self, autojump_clock: MockClock) -> None:
        """What was agreed on in the handshake makes the frames."""
        async with open_outgoing() as (outgoing, wire, _):
            outgoing.encode = lambda _: b"compressed"
            await outgoing.send("text")

            assert b"compressed" == wire.seen

    async def test_what_cannot_be_sent(self, autojump_clock: MockClock) -> None:
        """A lone surrogate is our caller's mistake; nothing of it goes out."""
        async with open_outgoing() as (outgoing, wire, _):
            for _ in range(32):
                with pytest.raises(UnicodeEncodeError):
                    await outgoing.send("\ud800")
            await outgoing.send("fine")

            assert [text("fine")] == frames_in(wire.seen)
            assert 1 == outgoing.sent

    @pytest.mark.parametrize("is_over", [False, True])
    async def test_lets_others_run(self, autojump_clock: MockClock, *, is_over: bool) -> None:
        """Every 32nd call lets other tasks run, also after the end."""
        steps = 0

        async def step() -> None:
            nonlocal steps
            while True:
                steps += 1
                await trio.lowlevel.checkpoint()

        async with open_outgoing() as (outgoing, _, line), trio.open_nursery() as nursery:
            if is_over:
                line.closed = THEIRS
            nursery.start_soon(step)
            for _ in range(320):
                await (send_to_nobody if is_over else send_all)(outgoing, "x")
            nursery.cancel_scope.cancel()

        assert steps >= 9

    async def test_lets_nobody_overtake(self, autojump_clock: MockClock) -> None:
        """Whoever comes while a call lets others run stands in line behind it."""
        async with open_outgoing() as (outgoing, wire, _):
            await send_all(outgoing, *["x"] * 31)
            wire.forget()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(outgoing.send, "two")
                await outgoing.send("one")

            assert [text("one"), text("two")] == frames_in(wire.seen)

    async def test_after_the_end(self, autojump_clock: MockClock) -> None:
        """Nothing is written any more, and the exception says whose connection it was."""
        async with open_outgoing() as (outgoing, wire, line):
            record = Record(line)
            line.closed = THEIRS
            with pytest.raises(ConnectionClosed) as caught:
                await outgoing.send("too late")

            assert (THEIRS, record) == (caught.value.info, caught.value.websocket)
            assert (b"", 0) == (wire.seen, outgoing.sent)


class TestSlowPeer:
    """A call waits while the peer does not read."""

    async def test_waits_until_it_is_written(self, autojump_clock: MockClock) -> None:
        """A message that the kernel has not taken wholly is waited for."""
        async with open_outgoing(room=3) as (outgoing, wire, _), trio.open_nursery() as nursery:
            nursery.start_soon(outgoing.send, "slow")
            await trio.sleep(1)
            assert 1 == len(nursery.child_tasks)

            wire.read(2)
            await trio.sleep(1)
            assert 1 == len(nursery.child_tasks)
            wire.read(1)
            await wait_all_tasks_blocked()
            assert 0 == len(nursery.child_tasks)
            assert [text("slow")] == frames_in(wire.seen)

    async def test_order(self, autojump_clock: MockClock) -> None:
        """Messages of several tasks go out whole, in the order of the calls."""
        async with open_outgoing(room=3) as (outgoing, wire, _), trio.open_nursery() as nursery:
            for i in range(10):
                nursery.start_soon(outgoing.send, f"message {i}")
                await wait_all_tasks_blocked()
            while nursery.child_tasks:
                wire.read(5)
                await wait_all_tasks_blocked()

            assert [text(f"message {i}") for i in range(10)] == frames_in(wire.seen)

    async def test_nobody_overtakes(self, autojump_clock: MockClock) -> None:
        """Whoever comes when the peer reads again is behind those that have waited for it."""
        async with open_outgoing(room=3) as (outgoing, wire, _), trio.open_nursery() as nursery:
            for message in ("one", "two", "three"):
                nursery.start_soon(outgoing.send, message)
                await wait_all_tasks_blocked()
            wire.read()
            assert not wire.is_blocked
            await outgoing.send("four")

            assert [text(m) for m in ("one", "two", "three", "four")] == frames_in(wire.seen)

    async def test_one_message_at_a_time(self, autojump_clock: MockClock) -> None:
        """What waits is not written before its turn, so that it can still be cancelled."""
        async with open_outgoing(room=3) as (outgoing, wire, _), trio.open_nursery() as nursery:
            nursery.start_soon(outgoing.send, "one")
            await wait_all_tasks_blocked()
            nursery.start_soon(outgoing.send, "two")
            await wait_all_tasks_blocked()

            assert 2 == wire.unsent
            assert 1 == outgoing.sent
            nursery.cancel_scope.cancel()

    async def test_the_end(self, autojump_clock: MockClock) -> None:
        """Everybody who waits raises: whose message is half written, and who stands in line."""
        async with open_outgoing(room=3) as (outgoing, _, line), trio.open_nursery() as nursery:
            for message in ("half", "next", "last"):
                nursery.start_soon(send_to_nobody, outgoing, message)
                await wait_all_tasks_blocked()
            line.closed = THEIRS
            outgoing.wake()

    async def test_the_end_of_what_is_written(self, autojump_clock: MockClock) -> None:
        """A message that the wire drops, because the socket broke, may be found out by the call."""
        async with open_outgoing(room=3) as (outgoing, wire, _), trio.open_nursery() as nursery:
            nursery.start_soon(outgoing.send, "dropped")
            await wait_all_tasks_blocked()
            wire.refuse_bytes()
            wire.read()
            await wait_all_tasks_blocked()

            assert not nursery.child_tasks
            assert not wire.is_closed


class TestCancel:
    """A call that is cancelled went out whole or not at all."""

    async def test_is_looked_at_first(self, autojump_clock: MockClock) -> None:
        """A task that is cancelled already sends nothing."""
        async with open_outgoing() as (outgoing, wire, _):
            with trio.move_on_after(0) as scope:
                await outgoing.send("not at all")

            assert scope.cancelled_caught
            assert (b"", 0) == (wire.seen, outgoing.sent)

    async def test_half_written(self, autojump_clock: MockClock) -> None:
        """What the kernel has not taken of a message that was begun still goes out, and first."""
        async with open_outgoing(room=3) as (outgoing, wire, _):
            with trio.move_on_after(1) as scope:
                await outgoing.send("whole")
            assert scope.cancelled_caught
            assert 1 == trio.current_time()

            async with trio.open_nursery() as nursery:
                nursery.start_soon(outgoing.send, "next")
                await wait_all_tasks_blocked()
                wire.read()
            assert [text("whole"), text("next")] == frames_in(wire.seen)
            assert 2 == outgoing.sent

    @pytest.mark.parametrize("place", [1, 2])
    async def test_in_line(self, autojump_clock: MockClock, place: int) -> None:
        """A message whose turn has not come is dropped, and those behind it move up."""
        messages = ["zero", "one", "two", "three"]
        async with open_outgoing(room=3) as (outgoing, wire, _), trio.open_nursery() as nursery:
            scopes = [trio.CancelScope() for _ in messages]

            async def send(i: int) -> None:
                with scopes[i]:
                    await outgoing.send(messages[i])

            for i in range(4):
                nursery.start_soon(send, i)
                await wait_all_tasks_blocked()
            scopes[place].cancel()
            await wait_all_tasks_blocked()
            wire.read()

        del messages[place]
        assert [text(message) for message in messages] == frames_in(wire.seen)
        assert 3 == outgoing.sent

    @pytest.mark.parametrize("place", [0, 1, 2])
    async def test_when_the_turn_comes(self, autojump_clock: MockClock, place: int) -> None:
        """Cancelled in the pass in which the peer reads again, a message is whole or not there."""
        messages = ["zero", "one", "two", "three"]
        async with open_outgoing(room=3) as (outgoing, wire, _), trio.open_nursery() as nursery:
            scopes = [trio.CancelScope() for _ in messages]

            async def send(i: int) -> None:
                with scopes[i]:
                    await outgoing.send(messages[i])

            for i in range(4):
                nursery.start_soon(send, i)
                await wait_all_tasks_blocked()
            wire.read()
            scopes[place].cancel()

        seen = frames_in(wire.seen)
        assert len(seen) == outgoing.sent
        assert [text(m) for m in messages if text(m) in seen] == seen
        assert all(text(m) in seen for i, m in enumerate(messages) if i != place)


class TestSendNowait:
    """Messages that nobody waits for."""

    async def test_goes_out(self, autojump_clock: MockClock) -> None:
        """A message goes out, and is counted."""
        async with open_outgoing() as (outgoing, wire, _):
            assert outgoing.send_nowait(Prepared("one"))
            await outgoing.send("two")
            assert outgoing.send_nowait(Prepared(b"three"))

            assert [text("one"), text("two"), (2, b"three")] == frames_in(wire.seen)
            assert 3 == outgoing.sent

    async def test_is_encoded_once(self, autojump_clock: MockClock) -> None:
        """The frame is made by the first connection, and the same for all of them."""
        prepared = Prepared("to many")
        async with open_outgoing() as (outgoing, *_):
            outgoing.send_nowait(prepared)
        frame = prepared.frame
        async with open_outgoing() as (outgoing, wire, _):
            outgoing.send_nowait(prepared)

            assert frame is prepared.frame
            assert frame == wire.seen

    async def test_is_not_compressed(self, autojump_clock: MockClock) -> None:
        """A frame for many belongs into nobody's deflate context."""
        async with open_outgoing() as (outgoing, wire, _):
            outgoing.encode = lambda _: b"compressed"
            outgoing.send_nowait(Prepared("plain"))

            assert [text("plain")] == frames_in(wire.seen)

    async def test_a_full_outbox(self, autojump_clock: MockClock) -> None:
        """Behind a peer that does not read messages are queued up to `outbox_bytes`."""
        limits = Limits(outbox_bytes=2 * OVERHEAD + 4)
        async with open_outgoing(room=5, limits=limits) as (outgoing, wire, _):
            queued = [outgoing.send_nowait(Prepared(m)) for m in ("begun", "one", "two", "3", "4")]
            assert [True, True, False, True, False] == queued
            assert 1 == outgoing.sent

            wire.read()
            assert [text(m) for m in ("begun", "one", "3")] == frames_in(wire.seen)
            assert 3 == outgoing.sent
            assert outgoing.send_nowait(Prepared("5"))

    async def test_other_limits(self, autojump_clock: MockClock) -> None:
        """The limits of a route replace those of the server."""
        async with open_outgoing(room=0) as (outgoing, *_):
            outgoing.set_limits(Limits(outbox_bytes=OVERHEAD + 1))

            assert [True, True, False] == [outgoing.send_nowait(Prepared(m)) for m in "123"]

    async def test_the_policy_of_a_subscription(self, autojump_clock: MockClock) -> None:
        """What has to go when there is no room is for its lane to say."""
        tally = Tally()
        lane = Lane("drop_oldest", 2, tally)
        async with open_outgoing(room=0) as (outgoing, wire, _):
            assert all(outgoing.send_nowait(Prepared(m), lane) for m in "abcde")
            wire.read()

            assert 2 == tally.dropped
            assert [text("a"), text("d"), text("e")] == frames_in(wire.seen)

    async def test_a_peer_that_reads_a_little(self, autojump_clock: MockClock) -> None:
        """What it reads of makes room for the next ones, in order."""
        async with open_outgoing(room=4) as (outgoing, wire, _):
            for message in "abcdefgh":
                outgoing.send_nowait(Prepared(message))
            for _ in range(10):
                wire.read(2)

            assert [text(m) for m in "abcdefgh"] == frames_in(wire.seen)
            assert 8 == outgoing.sent

    async def test_among_those_that_wait(self, autojump_clock: MockClock) -> None:
        """Messages of both kinds leave in the order of the calls."""
        async with open_outgoing(room=3) as (outgoing, wire, _), trio.open_nursery() as nursery:
            for i in range(0, 10, 2):
                nursery.start_soon(outgoing.send, str(i))
                await wait_all_tasks_blocked()
                outgoing.send_nowait(Prepared(str(i + 1)))
            for _ in range(100):
                wire.read(1)
                await wait_all_tasks_blocked()

            assert [text(str(i)) for i in range(10)] == frames_in(wire.seen)

    async def test_a_queue_that_never_ends_starves_no_send(self, autojump_clock: MockClock) -> None:
        """A send waits for what was queued before it, and for itself; not for what comes later."""
        async with open_outgoing(room=0) as (outgoing, wire, _), trio.open_nursery() as nursery:

            async def publish() -> None:
                while True:
                    outgoing.send_nowait(Prepared("published"))
                    wire.read(8)
                    await trio.sleep(1)

            nursery.start_soon(publish)
            await trio.sleep(10)
            with trio.fail_after(60):
                await send_all(outgoing, "sent", "sent", "sent")
            nursery.cancel_scope.cancel()

    async def test_a_cancelled_call_leaves_the_queue_alone(self, autojump_clock: MockClock) -> None:
        """What was queued behind a call that gives up goes out all the same."""
        async with open_outgoing(room=3) as (outgoing, wire, _):
            outgoing.send_nowait(Prepared("begun"))
            with trio.move_on_after(1):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(outgoing.send, "not this")
                    nursery.start_soon(outgoing.send, "nor this")
                    await wait_all_tasks_blocked()
                    outgoing.send_nowait(Prepared("queued"))
            wire.read()

            assert [text("begun"), text("queued")] == frames_in(wire.seen)

    async def test_while_a_call_waits_for_its_turn_only(self, autojump_clock: MockClock) -> None:
        """A message is queued behind a call that is about to go on, though nothing is blocked."""
        async with open_outgoing(room=3) as (outgoing, wire, _), trio.open_nursery() as nursery:
            outgoing.send_nowait(Prepared("begun"))
            nursery.start_soon(outgoing.send, "waits")
            await wait_all_tasks_blocked()
            wire.read()
            outgoing.send_nowait(Prepared("queued"))
            await wait_all_tasks_blocked()

            assert [text(m) for m in ("begun", "waits", "queued")] == frames_in(wire.seen)

    async def test_before_the_end(self, autojump_clock: MockClock) -> None:
        """What is queued goes out before the last frame."""
        async with open_outgoing(room=0) as (outgoing, wire, line):
            for message in "ab":
                outgoing.send_nowait(Prepared(message))
            line.closed = OURS
            outgoing.finish(encode_close(1000, ""))
            wire.read()

            assert [text("a"), text("b"), (8, b"\x03\xe8")] == frames_in(wire.seen)

    async def test_a_peer_that_has_closed(self, autojump_clock: MockClock) -> None:
        """What is queued for a peer that wants no more is dropped."""
        async with open_outgoing(room=0) as (outgoing, wire, line):
            for message in "ab":
                outgoing.send_nowait(Prepared(message))
            line.closed = THEIRS
            outgoing.wake()
            wire.read()

            assert [text("a")] == frames_in(wire.seen)

    async def test_after_the_end(self, autojump_clock: MockClock) -> None:
        """It raises as `send` does."""
        async with open_outgoing() as (outgoing, wire, line):
            line.closed = THEIRS
            with pytest.raises(ConnectionClosed):
                outgoing.send_nowait(Prepared("too late"))

            assert b"" == wire.seen


class TestSendTimeout:
    """A peer that does not read at all is reported; one that reads slowly is not."""

    @pytest.mark.parametrize("how", ["send", "cancelled", "in line", "send_nowait", "write"])
    async def test_no_progress(self, autojump_clock: MockClock, how: str) -> None:
        """It is reported once, with 1006, whoever wrote what it does not read."""
        limits = Limits(send_timeout=20)
        async with (
            open_outgoing(room=3, limits=limits) as (outgoing, _, line),
            trio.open_nursery() as nursery,
        ):
            record = Record(line)
            await trio.sleep(7)
            if how == "send_nowait":
                outgoing.send_nowait(Prepared("stuck"))
            elif how == "write":
                outgoing.write(encode_ping(b"stuck"))
            else:
                nursery.start_soon(outgoing.send, "stuck")
            if how == "cancelled":
                await wait_all_tasks_blocked()
                nursery.cancel_scope.cancel()
            if how == "in line":
                nursery.start_soon(outgoing.send, "stuck behind it")
            await trio.lowlevel.cancel_shielded_checkpoint()
            with trio.CancelScope(shield=True):
                await trio.sleep(100)

            assert [(27, 1006, "peer has not read for 20 s")] == record.overruns
            nursery.cancel_scope.cancel()

    async def test_stuck_after_the_call(self, autojump_clock: MockClock) -> None:
        """It is reported as well if the kernel refuses only what was kept for the end of a turn."""
        limits = Limits(send_timeout=20)
        async with open_outgoing(room=3, is_lazy=True, limits=limits) as (outgoing, wire, line):
            record = Record(line)
            await outgoing.send("stuck")
            assert not wire.is_blocked
            await trio.sleep(100)

            assert [(20, 1006, "peer has not read for 20 s")] == record.overruns

    async def test_slow_progress(self, autojump_clock: MockClock) -> None:
        """A peer that takes a byte now and then is waited for, however long it takes."""
        limits = Limits(send_timeout=20)
        async with (
            open_outgoing(room=0, limits=limits) as (outgoing, wire, line),
            trio.open_nursery() as nursery,
        ):
            record = Record(line)
            nursery.start_soon(outgoing.send, "x" * 98)
            for _ in range(100):
                await trio.sleep(19)
                wire.read(1)

            assert [text("x" * 98)] == frames_in(wire.seen)
            assert [] == record.overruns

    async def test_progress_in_the_kernel(self, autojump_clock: MockClock) -> None:
        """The peer reads on, though the kernel has no room yet for what is next."""
        limits = Limits(send_timeout=20)
        async with open_outgoing(room=3, limits=limits) as (outgoing, wire, line):
            record = Record(line)
            wire.undelivered = 100
            outgoing.send_nowait(Prepared("stuck"))
            for _ in range(10):
                await trio.sleep(19)
                wire.undelivered -= 1
            assert [] == record.overruns
            await trio.sleep(100)

            ((when, *_),) = record.overruns
            assert 190 + 20 <= when <= 190 + 25

    async def test_stuck_again(self, autojump_clock: MockClock) -> None:
        """A peer that stops reading for the second time has as long as the first time."""
        limits = Limits(send_timeout=20)
        async with open_outgoing(room=3, limits=limits) as (outgoing, wire, line):
            record = Record(line)
            outgoing.send_nowait(Prepared("slow"))
            await trio.sleep(10)
            wire.read(3)
            await trio.sleep(90)
            outgoing.send_nowait(Prepared("stuck"))
            await trio.sleep(100)

            ((when, *_),) = record.overruns
            assert 120 == when

    async def test_after_the_end(self, autojump_clock: MockClock) -> None:
        """Then nobody is blamed: the end has a bound of its own, `close_timeout`."""
        async with open_outgoing(room=3) as (outgoing, _, line):
            record = Record(line)
            outgoing.send_nowait(Prepared("stuck"))
            await trio.sleep(1)
            line.closed = THEIRS
            await trio.sleep(100)

            assert [] == record.overruns
