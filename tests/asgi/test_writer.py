"""The writing side: events go to the server one at a time, whole, in the order of the calls."""

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from contextvars import ContextVar, copy_context

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from triows._asgi._link import ClientDisconnected, Link
from triows._asgi._writer import STEP, Writer
from triows._close import CloseInfo
from triows._errors import ConnectionClosed
from triows._limits import Limits
from triows._outbox import OVERHEAD, Lane, Prepared, Tally
from triows._timer import open_timer
from triows._types import Data, Event, Send

OURS = CloseInfo(1000, "", by_peer=False)

CLOSE: Event = {"type": "websocket.close", "code": 1000, "reason": ""}


class Server:
    """A server whose `send` takes so many seconds, and never returns while it is stuck."""

    def __init__(self, seconds: float = 0) -> None:
        self.events: list[Event] = []
        self.is_stuck = False
        self._seconds = seconds
        self._is_busy = False
        self._news = trio.lowlevel.ParkingLot()

    @property
    def messages(self) -> list[Data]:
        """The messages among what was sent."""
        return [event.get("text", event.get("bytes")) for event in self.events if len(event) == 2]

    def come_unstuck(self) -> None:
        """Let what was sent go out."""
        self.is_stuck = False
        self._news.unpark_all()

    async def send(self, event: Event) -> None:
        """Be the app's `send`."""
        assert not self._is_busy, "two tasks are inside the server's send"
        self._is_busy = True
        try:
            await trio.sleep(self._seconds)
            while self.is_stuck:
                await self._news.park()
        finally:
            self._is_busy = False
        self.events.append(event)


class ServerThatNeverWaits(Server):
    """As hypercorn's once the peer has left: `send` returns without a checkpoint."""

    async def send(self, event: Event) -> None:
        """Be the app's `send`."""
        self.events.append(event)


def raising(error: Exception) -> Send:
    """Return the `send` of a server that fails."""

    async def send(_: Event) -> None:
        await trio.lowlevel.checkpoint()
        raise error

    return send


@asynccontextmanager
async def open_writer(
    send: Send, link: Link | None = None, limits: Limits | None = None
) -> AsyncGenerator[Writer]:
    """Give a writer a link, a timer and a nursery around a block."""
    link = link or Link()
    async with open_timer() as timer, trio.open_nursery() as nursery:
        writer = Writer(send, link, limits or Limits(), timer, nursery)
        link.on_change = writer.wake
        yield writer
        nursery.cancel_scope.cancel()


def queue(writer: Writer, *data: Data) -> list[bool]:
    """Send each message without waiting."""
    return [writer.send_nowait(Prepared(item)) for item in data]


async def count_steps(count: Callable[[], None]) -> None:
    """Call whenever the scheduler comes round."""
    while True:
        count()
        await trio.lowlevel.checkpoint()


class TestSend:
    """Messages that a task waits for."""

    async def test_events(self, autojump_clock: MockClock) -> None:
        """Text and bytes go out under their own key, empty ones too, and are counted."""
        server = Server()
        async with open_writer(server.send) as writer:
            for data in ("text", b"bytes", "", b""):
                await writer.send(data)
            assert 4 == writer.sent

        assert [
            {"type": "websocket.send", "text": "text"},
            {"type": "websocket.send", "bytes": b"bytes"},
            {"type": "websocket.send", "text": ""},
            {"type": "websocket.send", "bytes": b""},
        ] == server.events

    async def test_concurrent_sends_keep_the_order_of_the_calls(
        self, autojump_clock: MockClock
    ) -> None:
        """What was called first goes out first, and one message at a time."""
        server = Server(seconds=1)
        async with open_writer(server.send) as writer, trio.open_nursery() as nursery:
            for i in range(10):
                nursery.start_soon(writer.send, str(i))
                await wait_all_tasks_blocked()

        assert list(map(str, range(10))) == server.messages

    @pytest.mark.parametrize("server", [Server(), ServerThatNeverWaits()])
    async def test_letting_others_run_does_not_change_the_order(
        self, autojump_clock: MockClock, server: Server
    ) -> None:
        """A call that lets others run first is not overtaken by theirs."""
        called: list[Data] = []
        async with open_writer(server.send) as writer, trio.open_nursery() as nursery:

            async def talk(name: str) -> None:
                for i in range(200):
                    called.append(f"{name}{i}")
                    await writer.send(f"{name}{i}")

            nursery.start_soon(talk, "a")
            nursery.start_soon(talk, "b")
            nursery.start_soon(talk, "c")

        assert 600 == len(called)
        assert called == server.messages

    async def test_needs_no_other_task(self, autojump_clock: MockClock) -> None:
        """A message that the server takes at once is sent without a task switch."""
        server = ServerThatNeverWaits()
        steps: list[None] = []
        async with trio.open_nursery() as nursery, open_writer(server.send) as writer:
            nursery.start_soon(count_steps, lambda: steps.append(None))
            for _ in range(20):
                await writer.send("x")

            assert [] == steps
            nursery.cancel_scope.cancel()

    async def test_lets_others_run(self, autojump_clock: MockClock) -> None:
        """Even if the server never waits, others run at least once in 32 calls."""
        server = ServerThatNeverWaits()
        steps: list[None] = []
        async with trio.open_nursery() as nursery, open_writer(server.send) as writer:
            nursery.start_soon(count_steps, lambda: steps.append(None))
            for _ in range(10 * 32):
                await writer.send("x")

            assert 10 - 1 <= len(steps)
            nursery.cancel_scope.cancel()

    async def test_lets_others_run_after_the_end(self, autojump_clock: MockClock) -> None:
        """A loop that sends on, deaf to `ConnectionClosed`, does not starve the others."""
        steps: list[None] = []
        link = Link()
        link.closed = OURS
        async with trio.open_nursery() as nursery, open_writer(Server().send, link) as writer:
            nursery.start_soon(count_steps, lambda: steps.append(None))
            for _ in range(10 * 32):
                with pytest.raises(ConnectionClosed):
                    await writer.send("x")

            assert 10 - 1 <= len(steps)
            nursery.cancel_scope.cancel()

    async def test_after_the_end(self, autojump_clock: MockClock) -> None:
        """Nothing is sent any more, and the error says how the connection ended."""
        server = Server()
        link = Link()
        async with open_writer(server.send, link) as writer:
            link.depart({"type": "websocket.disconnect", "code": 4000})
            with pytest.raises(ConnectionClosed) as caught:
                await writer.send("too late")
            assert CloseInfo(4000, "", by_peer=True) == caught.value.info
            assert 0 == writer.sent
        assert [] == server.events

    @pytest.mark.parametrize(
        "error",
        [
            OSError("no route to host"),
            trio.BrokenResourceError("connection reset"),
            trio.ClosedResourceError("closed"),
            trio.BusyResourceError("another task is using this socket"),
        ],
    )
    async def test_server_that_raises(self, autojump_clock: MockClock, error: Exception) -> None:
        """An error of the network out of the server's `send` means that the peer is gone."""
        link = Link()
        gone: list[CloseInfo] = []
        link.on_peer_gone = gone.append
        async with open_writer(raising(error), link) as writer:
            for _ in range(2):
                with pytest.raises(ConnectionClosed):
                    await writer.send("into the void")
            assert 0 == writer.sent

        assert link.is_departed
        assert [CloseInfo(1006, "", by_peer=True)] == gone

    async def test_server_that_knows_how_it_ended(self, autojump_clock: MockClock) -> None:
        """Our own server tells what the peer sent; and what came before is with it still."""
        link = Link()
        ending = CloseInfo(4001, "bye", by_peer=True, clean=True)
        async with open_writer(raising(ClientDisconnected(ending)), link) as writer:
            with pytest.raises(ConnectionClosed) as caught:
                await writer.send("x")

        assert ending == caught.value.info
        assert link.has_more
        assert not link.is_departed

    async def test_server_that_fails(
        self, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Whatever else the server fails with ends the connection, and is logged as its fault."""
        link = Link()
        async with open_writer(raising(KeyError("bug")), link) as writer:
            with pytest.raises(ConnectionClosed) as caught:
                await writer.send("x")
            assert isinstance(caught.value.__cause__, KeyError)

        assert link.is_departed
        assert ["the server failed, and its connection is lost: KeyError('bug')"] == caplog.messages

    async def test_text_that_cannot_be_encoded(
        self, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
    ) -> None:
        """A lone surrogate is our caller's mistake: nothing was sent, and nothing has ended."""
        server = Server()

        async def send(event: Event) -> None:
            event["text"].encode()
            await server.send(event)

        link = Link()
        async with open_writer(send, link) as writer:
            with pytest.raises(UnicodeEncodeError):
                await writer.send("\ud800")
            await writer.send("fine")

        assert link.closed is None
        assert ["fine"] == server.messages
        assert [] == caplog.messages

    async def test_exits(self, autojump_clock: MockClock) -> None:
        """An exit is no failure of the server's, and goes on up."""

        async def send(_: Event) -> None:
            raise SystemExit

        link = Link()
        async with open_writer(send, link) as writer:
            with pytest.raises(SystemExit):
                await writer.send("x")

        assert link.closed is None

    async def test_those_in_line_raise_when_the_peer_leaves(
        self, autojump_clock: MockClock
    ) -> None:
        """Sends that wait behind a stuck one raise as soon as it is over, and send nothing."""
        server = Server()
        server.is_stuck = True
        link = Link()
        ended: list[str] = []
        async with open_writer(server.send, link) as writer, trio.open_nursery() as nursery:

            async def send(message: str) -> None:
                try:
                    await writer.send(message)
                except ConnectionClosed:
                    ended.append(message)

            for message in ("first", "second", "third"):
                nursery.start_soon(send, message)
                await wait_all_tasks_blocked()
            link.depart()
            server.come_unstuck()

        assert ["first"] == server.messages
        assert ["second", "third"] == ended


class TestCancellation:
    """A cancelled `send` went out whole or not at all."""

    async def test_is_checked_at_every_call(self, autojump_clock: MockClock) -> None:
        """A cancelled task sends nothing, though the server would take it without waiting."""
        server = ServerThatNeverWaits()
        async with open_writer(server.send) as writer:
            for _ in range(100):
                with trio.CancelScope() as scope:
                    scope.cancel()
                    await writer.send("no")
                assert scope.cancelled_caught

        assert [] == server.messages

    async def test_once_the_server_has_it(self, autojump_clock: MockClock) -> None:
        """What the server has it finishes, if it shields its writes, as hypercorn does."""
        server = Server()

        async def send(event: Event) -> None:
            with trio.CancelScope(shield=True):
                await trio.sleep(5)
                await server.send(event)

        async with open_writer(send) as writer:
            with trio.move_on_after(1):
                await writer.send("whole")

            assert ["whole"] == server.messages
            assert 1 == writer.sent
            assert 5 == trio.current_time()

    async def test_half_way(self, autojump_clock: MockClock) -> None:
        """A server that lets a write be cut in two leaves a broken connection: it is given up."""
        link = Link()
        overruns: list[tuple[int, str]] = []
        link.on_overrun = lambda code, reason: overruns.append((code, reason))
        async with open_writer(Server(seconds=5).send, link) as writer:
            with trio.move_on_after(1) as scope:
                await writer.send("half of it")

            assert scope.cancelled_caught
            assert [(1006, "a write was cancelled half-way")] == overruns
            assert 0 == writer.sent

    async def test_half_way_after_the_end(self, autojump_clock: MockClock) -> None:
        """Where the connection has ended there is nothing to give up."""
        link = Link()
        overruns: list[int] = []
        link.on_overrun = lambda code, _: overruns.append(code)
        async with open_writer(Server(seconds=5).send, link) as writer:
            with trio.CancelScope() as scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(writer.send, "half of it")
                    await trio.sleep(1)
                    link.closed = OURS
                    scope.cancel()

            assert [] == overruns

    async def test_in_line_behind_another(self, autojump_clock: MockClock) -> None:
        """A send cancelled while another writes did not go out, and blocks nobody."""
        server = Server(seconds=5)
        async with open_writer(server.send) as writer, trio.open_nursery() as nursery:
            nursery.start_soon(writer.send, "first")
            await wait_all_tasks_blocked()
            with trio.move_on_after(1) as scope:
                await writer.send("never")
            assert scope.cancelled_caught
            await writer.send("last")

        assert ["first", "last"] == server.messages

    @pytest.mark.parametrize("turn", range(31, 34))
    async def test_while_it_lets_others_run(self, autojump_clock: MockClock, turn: int) -> None:
        """A send cancelled in the one place where it lets others run did not go out."""
        server = ServerThatNeverWaits()
        async with open_writer(server.send) as writer:
            for _ in range(turn - 1):
                await writer.send("before")
            with trio.CancelScope() as scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(writer.send, "perhaps")
                    await trio.lowlevel.checkpoint()
                    scope.cancel()

            assert writer.sent == len(server.messages)
            await writer.send("after")
            assert "after" == server.messages[-1]


class TestSendTimeout:
    """A write that makes no progress is reported; what then happens others decide."""

    async def test_stuck(self, autojump_clock: MockClock) -> None:
        """A write that the server has not taken for `send_timeout` is an overrun, with 1006."""
        server = Server()
        server.is_stuck = True
        link = Link()
        overruns: list[tuple[float, int, str]] = []
        async with open_writer(server.send, link, Limits(send_timeout=20)) as writer:
            with trio.CancelScope() as scope:

                def on_overrun(code: int, reason: str) -> None:
                    overruns.append((trio.current_time(), code, reason))
                    link.closed = CloseInfo(code, reason, by_peer=False)
                    scope.cancel()

                link.on_overrun = on_overrun
                await trio.sleep(3)
                await writer.send("stuck")

        ((when, *overrun),) = overruns
        assert [1006, "peer has not read for 20 s"] == overrun
        # How often it is looked at is nobody's business.
        assert 20 <= when - 3 <= 25
        assert [] == server.messages

    async def test_slow_is_not_stuck(self, autojump_clock: MockClock) -> None:
        """Every message has its own time: a peer that takes 15 s for each is slow, not gone."""
        server = Server(seconds=15)
        link = Link()
        overruns: list[int] = []
        link.on_overrun = lambda code, _: overruns.append(code)
        async with open_writer(server.send, link, Limits(send_timeout=20)) as writer:
            for i in range(20):
                await writer.send(str(i))
            await trio.sleep(1000)
            await writer.send("after a rest")
            await trio.sleep(1000)

        assert [] == overruns
        assert 21 == len(server.messages)

    @pytest.mark.parametrize("message", ["x" * 12 * STEP, b"x" * 12 * STEP])
    async def test_a_large_message_has_its_time(
        self, autojump_clock: MockClock, message: Data
    ) -> None:
        """What a server has written of a message cannot be seen: a megabyte may take minutes."""
        server = Server(seconds=200)
        link = Link()
        overruns: list[int] = []
        link.on_overrun = lambda code, _: overruns.append(code)
        async with open_writer(server.send, link, Limits(send_timeout=20)) as writer:
            await writer.send(message)
            writer.send_nowait(Prepared(message))
            await trio.sleep(300)
            assert [] == overruns

            server.is_stuck = True
            async with trio.open_nursery() as nursery:
                nursery.start_soon(writer.send, "small")
                await trio.sleep(30)
                assert [1006] == overruns
                server.come_unstuck()


class TestOutbox:
    """Messages that nobody waits for, written by one task of the connection."""

    async def test_order(self, autojump_clock: MockClock) -> None:
        """Queued messages go out in the order of the calls, and are counted as they do."""
        server = Server(seconds=1)
        async with open_writer(server.send) as writer:
            assert [True] * 3 == queue(writer, "one", b"two", "")
            assert 0 == writer.sent
            await trio.sleep(10)
            assert [True] == queue(writer, "four")
            await trio.sleep(10)
            assert 4 == writer.sent

        assert ["one", b"two", "", "four"] == server.messages

    async def test_bound(self, autojump_clock: MockClock) -> None:
        """A message for which there is no room is refused, and there is room again later."""
        server = Server()
        server.is_stuck = True
        limits = Limits(outbox_bytes=3 * OVERHEAD)
        async with open_writer(server.send, limits=limits) as writer:
            # The first is with the server and counts no more.
            queue(writer, "x" * 50)
            await wait_all_tasks_blocked()
            assert [True, False, True, False] == queue(
                writer, "\N{EURO SIGN}" * 20, "x" * 5, "x" * 4, ""
            )

            server.come_unstuck()
            await wait_all_tasks_blocked()
            assert [True] == queue(writer, "x" * 90)

    async def test_a_policy(self, autojump_clock: MockClock) -> None:
        """Messages of a subscription are dropped as its policy says."""
        server = Server()
        server.is_stuck = True
        tally = Tally()
        lane = Lane("drop_oldest", 2, tally)
        async with open_writer(server.send) as writer:
            queue(writer, "with the server")
            await wait_all_tasks_blocked()
            assert all(writer.send_nowait(Prepared(text), lane) for text in "abcd")
            server.come_unstuck()
            await wait_all_tasks_blocked()

        assert 2 == tally.dropped
        assert ["with the server", "c", "d"] == server.messages

    async def test_empty_messages_are_not_free(self, autojump_clock: MockClock) -> None:
        """Also messages without a byte fill the outbox of a peer that does not read."""
        server = Server()
        server.is_stuck = True
        async with open_writer(server.send, limits=Limits(outbox_bytes=10 * OVERHEAD)) as writer:
            assert 10 == sum(queue(writer, *[""] * 1000))

    async def test_a_send_comes_after_what_was_queued_before(
        self, autojump_clock: MockClock
    ) -> None:
        """A message that is sent does not overtake those queued by earlier calls."""
        server = Server()
        async with open_writer(server.send) as writer:
            queue(writer, "one", "two")
            await writer.send("three")
            queue(writer, "four")
            await writer.send("five")

        assert ["one", "two", "three", "four", "five"] == server.messages

    async def test_a_send_comes_before_what_was_queued_after(
        self, autojump_clock: MockClock
    ) -> None:
        """Messages queued while a send waits for its turn go out after it."""
        server = Server(seconds=1)
        async with open_writer(server.send) as writer, trio.open_nursery() as nursery:
            for i in range(0, 10, 2):
                nursery.start_soon(writer.send, str(i))
                await wait_all_tasks_blocked()
                queue(writer, str(i + 1))

            await trio.sleep(20)
        assert list(map(str, range(10))) == server.messages

    async def test_a_queue_that_never_ends_starves_no_send(self, autojump_clock: MockClock) -> None:
        """A send waits for what was queued before it, not for an outbox that is refilled."""
        server = Server(seconds=1)
        async with open_writer(server.send) as writer, trio.open_nursery() as nursery:

            async def publish() -> None:
                while True:
                    queue(writer, "published")
                    await trio.sleep(0.5)

            nursery.start_soon(publish)
            await trio.sleep(10)
            with trio.fail_after(30):
                await writer.send("sent")
            nursery.cancel_scope.cancel()

    async def test_lets_others_run(self, autojump_clock: MockClock) -> None:
        """A long queue to a server that never waits is written with pauses for the others."""
        server = ServerThatNeverWaits()
        steps: list[None] = []
        async with open_writer(server.send) as writer, trio.open_nursery() as nursery:
            queue(writer, *["x"] * 320)
            nursery.start_soon(count_steps, lambda: steps.append(None))
            while len(server.messages) < 320:
                await trio.lowlevel.checkpoint()

            assert 10 - 1 <= len(steps)
            nursery.cancel_scope.cancel()

    async def test_a_cancelled_send_leaves_the_queue_to_the_task(
        self, autojump_clock: MockClock
    ) -> None:
        """A send cancelled while it writes what was queued before it stops there; none is lost."""
        server = Server()

        async def send(event: Event) -> None:
            with trio.CancelScope(shield=True):
                await trio.sleep(1)
                await server.send(event)

        async with open_writer(send) as writer:
            queue(writer, *map(str, range(100)))
            with trio.move_on_after(0.5) as scope:
                await writer.send("not this")
            assert scope.cancelled_caught
            assert 1 == trio.current_time()
            await trio.sleep(200)

        assert list(map(str, range(100))) == server.messages

    async def test_after_the_end(self, autojump_clock: MockClock) -> None:
        """Once the connection has ended nothing can be queued, and the error says how it did."""
        link = Link()
        async with open_writer(Server().send, link) as writer:
            link.depart()
            with pytest.raises(ConnectionClosed) as caught:
                queue(writer, "too late")
        assert CloseInfo(1006, "", by_peer=True) == caught.value.info

    async def test_when_the_peer_leaves(self, autojump_clock: MockClock) -> None:
        """What is still queued when the peer leaves is dropped, and the task ends."""
        link = Link()
        async with open_timer() as timer, trio.open_nursery() as nursery:
            writer = Writer(raising(OSError("gone")), link, Limits(), timer, nursery)
            queue(writer, "one", "two", "three")

        assert link.is_departed
        assert 0 == writer.sent

    async def test_the_idle_task_ends_with_the_connection(self, autojump_clock: MockClock) -> None:
        """The task of an empty outbox ends when it is told that the connection did."""
        server = Server()
        link = Link()
        async with open_timer() as timer, trio.open_nursery() as nursery:
            writer = Writer(server.send, link, Limits(), timer, nursery)
            link.on_change = writer.wake
            queue(writer, "one")
            await wait_all_tasks_blocked()
            link.depart()

        assert ["one"] == server.messages

    async def test_the_task_belongs_to_the_connection(self, autojump_clock: MockClock) -> None:
        """It runs in the connection's context: a publisher's would live as long as the peer's."""
        whose: ContextVar[str] = ContextVar("whose", default="the connection's")
        seen: list[str] = []

        async def send(_: Event) -> None:
            await trio.lowlevel.checkpoint()
            seen.append(whose.get())

        def publish(writer: Writer) -> None:
            whose.set("the publisher's")
            queue(writer, "x")

        async with open_writer(send) as writer:
            copy_context().run(publish, writer)
            await wait_all_tasks_blocked()

        assert ["the connection's"] == seen


class TestClose:
    """The close frame is the last thing that goes out, and goes out once."""

    async def test_close(self, autojump_clock: MockClock) -> None:
        """Code and reason are always both there: some servers need them."""
        server = Server()
        async with open_writer(server.send) as writer:
            await writer.close(4000, "enough")

        assert [{"type": "websocket.close", "code": 4000, "reason": "enough"}] == server.events

    async def test_what_is_queued_goes_out_first(self, autojump_clock: MockClock) -> None:
        """Messages queued before the close still reach the peer."""
        server = Server(seconds=1)
        link = Link()
        async with open_writer(server.send, link) as writer:
            queue(writer, "one", "two")
            link.closed = OURS
            await writer.close(1000, "")
            assert 2 == writer.sent

        assert ["one", "two"] == server.messages
        assert CLOSE == server.events[-1]

    async def test_a_message_on_its_way_goes_out_first(self, autojump_clock: MockClock) -> None:
        """A close waits for the message that the server has, and is not cut into it."""
        server = Server(seconds=5)
        async with open_writer(server.send) as writer, trio.open_nursery() as nursery:
            nursery.start_soon(writer.send, "whole")
            await wait_all_tasks_blocked()
            await writer.close(1000, "")

        assert [{"type": "websocket.send", "text": "whole"}, CLOSE] == server.events

    async def test_twice(self, autojump_clock: MockClock) -> None:
        """A second close sends nothing, also while the first is on its way."""
        server = Server(seconds=1)
        async with open_writer(server.send) as writer:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(writer.close, 1000, "")
                nursery.start_soon(writer.close, 1000, "")
            await writer.close(1000, "")

        assert [CLOSE] == server.events

    async def test_cancelled_behind_a_stuck_message(self, autojump_clock: MockClock) -> None:
        """A close cancelled before its turn has sent nothing; a second one finishes it."""
        server = Server()
        server.is_stuck = True
        link = Link()
        async with open_writer(server.send, link) as writer, trio.open_nursery() as nursery:
            nursery.start_soon(writer.send, "stuck")
            await wait_all_tasks_blocked()
            link.closed = OURS
            with trio.move_on_after(1) as scope:
                await writer.close(1000, "")
            assert scope.cancelled_caught

            server.come_unstuck()
            await writer.close(1000, "")

        assert [{"type": "websocket.send", "text": "stuck"}, CLOSE] == server.events

    async def test_cancelled_while_it_writes_the_queue(self, autojump_clock: MockClock) -> None:
        """A close that has begun to write goes on to its end: nothing is lost on the way."""
        server = Server(seconds=1)
        link = Link()
        async with open_writer(server.send, link) as writer:
            queue(writer, *map(str, range(100)))
            link.closed = OURS
            with trio.move_on_after(10):
                await writer.close(1000, "")
            await writer.close(1000, "")

        assert list(map(str, range(100))) == server.messages
        assert 101 == len(server.events)
        assert CLOSE == server.events[-1]

    async def test_after_the_peer_has_left(self, autojump_clock: MockClock) -> None:
        """Nothing is sent to a peer that is gone: some servers would wait for it for ever."""
        server = Server()
        server.is_stuck = True
        link = Link()
        async with open_writer(server.send, link) as writer:
            link.depart()
            await writer.close(1000, "")

        assert [] == server.events

    async def test_the_peer_leaves_during_the_close(self, autojump_clock: MockClock) -> None:
        """A close frame that cannot be written ends the connection all the same."""
        link = Link()
        link.closed = OURS
        async with open_writer(raising(OSError("gone")), link) as writer:
            await writer.close(1000, "")

        assert link.is_departed

    async def test_given_up_during_the_queue(self, autojump_clock: MockClock) -> None:
        """Interrupted among the queued messages, a close does not go on with its own frame."""
        server = Server()
        server.is_stuck = True
        link = Link()
        async with open_writer(server.send, link) as writer, trio.open_nursery() as nursery:
            queue(writer, "one", "two")
            link.closed = OURS
            nursery.start_soon(writer.close, 1000, "")
            await trio.sleep(5)
            link.is_departed = True
            writer.interrupt()
            await wait_all_tasks_blocked()

            assert 0 == len(nursery.child_tasks)
        assert [] == server.events
        assert 5 == trio.current_time()

    async def test_given_up(self, autojump_clock: MockClock) -> None:
        """Interrupted in line or while its frame is with the server, a close is over."""
        server = Server()
        server.is_stuck = True
        link = Link()
        link.closed = OURS
        async with open_writer(server.send, link) as writer, trio.open_nursery() as nursery:
            nursery.start_soon(writer.close, 1000, "")
            nursery.start_soon(writer.close, 1000, "")
            await wait_all_tasks_blocked()
            link.is_departed = True
            writer.interrupt()
            await wait_all_tasks_blocked()

            assert 0 == len(nursery.child_tasks)
        assert [] == server.events


class TestWrite:
    """Events of the handshake and the end, one by one."""

    async def test_other_events(self, autojump_clock: MockClock) -> None:
        """Any event can be handed over, and is not counted as a message."""
        server = Server()
        async with open_writer(server.send) as writer:
            await writer.write({"type": "websocket.accept"})
            assert 0 == writer.sent

        assert [{"type": "websocket.accept"}] == server.events

    async def test_is_not_cancelled(self, autojump_clock: MockClock) -> None:
        """What begins or ends a connection goes out whole, whatever the server does."""
        server = Server(seconds=5)
        async with open_writer(server.send) as writer:
            with trio.move_on_after(1):
                await writer.write({"type": "websocket.accept"})

        assert [{"type": "websocket.accept"}] == server.events
        assert 5 == trio.current_time()

    async def test_interrupted(self, autojump_clock: MockClock) -> None:
        """It is cut short when the connection is given up."""
        link = Link()
        async with (
            open_writer(Server(seconds=5).send, link) as writer,
            trio.open_nursery() as nursery,
        ):

            async def write() -> None:
                with pytest.raises(ConnectionClosed) as caught:
                    await writer.write({"type": "websocket.accept"})
                assert OURS == caught.value.info

            nursery.start_soon(write)
            await trio.sleep(1)
            link.closed = OURS
            writer.interrupt()

        assert 1 == trio.current_time()

    async def test_interrupt_with_nothing_under_way(self, autojump_clock: MockClock) -> None:
        """Interrupting a writer that does not write does nothing."""
        server = Server()
        async with open_writer(server.send) as writer:
            writer.interrupt()
            await writer.write({"type": "websocket.accept"})
            writer.interrupt()
            await writer.send("one")

        assert ["one"] == server.messages
