"""The reading side: who is inside the server's `receive`, and what becomes of the messages."""

import random
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from triows._asgi._link import Link
from triows._asgi._reader import UNATTENDED, Reader
from triows._close import CloseInfo
from triows._errors import ConnectionClosed, MessageTooBig, PeerError
from triows._limits import Limits
from triows._timer import open_timer
from triows._types import Data, Event, Receive


def message(data: Data) -> Event:
    """Return the event of a message, as hypercorn makes it."""
    is_text = isinstance(data, str)
    return {
        "type": "websocket.receive",
        "text": data if is_text else None,
        "bytes": None if is_text else data,
    }


class Server:
    """The server's end. It minds that one task at a time is inside, and who waits is served."""

    def __init__(self, *data: Data) -> None:
        self.events = deque(message(item) for item in data)
        self._is_busy = False
        self._news = trio.lowlevel.ParkingLot()

    def is_attended(self) -> bool:
        """Tell whether anybody is inside."""
        return self._is_busy

    def say(self, *data: Data) -> None:
        """Have messages for the app."""
        self.events += [message(item) for item in data]
        self._news.unpark_all()

    def disconnect(self, code: int) -> None:
        """Say that the peer has left."""
        self.events.append({"type": "websocket.disconnect", "code": code, "reason": ""})
        self._news.unpark_all()

    async def receive(self) -> Event:
        """Be the app's `receive`."""
        assert not self._is_busy, "two tasks are inside the server's receive"
        self._is_busy = True
        try:
            await trio.lowlevel.checkpoint()
            while not self.events:
                await self._news.park()
        finally:
            self._is_busy = False
        return self.events.popleft()


async def never_told() -> None:
    """Stand in for the way to tell the peer of a fault, where there is none."""
    raise AssertionError("there was no fault to tell the peer of")


@asynccontextmanager
async def open_reader(
    receive: Receive,
    link: Link | None = None,
    limits: Limits | None = None,
    tell_fault: Callable[[], Awaitable[None]] = never_told,
) -> AsyncGenerator[Reader]:
    """Run a reader and its watcher around a block."""
    link = link or Link()
    async with open_timer() as timer, trio.open_nursery() as nursery:
        reader = Reader(receive, link, limits or Limits(), timer, tell_fault)
        link.on_change = reader.wake
        nursery.start_soon(reader.watch)
        yield reader
        nursery.cancel_scope.cancel()


async def receive_all(reader: Reader) -> list[Data]:
    """Receive until the connection has ended."""
    received: list[Data] = []
    while True:
        try:
            received.append(await reader.receive())
        except ConnectionClosed:
            return received


def returning(event: Event) -> Receive:
    """Return the `receive` of a server that always has this event, and never waits."""

    async def receive() -> Event:
        return event

    return receive


class Steps:
    """Counts how often the scheduler came round."""

    def __init__(self) -> None:
        self.count = 0

    async def run(self) -> None:
        """Count until cancelled."""
        while True:
            self.count += 1
            await trio.lowlevel.checkpoint()


class TestReceiver:
    """The task inside `receive` is the reader."""

    async def test_messages(self, autojump_clock: MockClock) -> None:
        """Messages come in order and as they are; an empty one is a message."""
        server = Server("one", b"two", "", b"")
        async with open_reader(server.receive) as reader:
            assert ["one", b"two", "", b""] == [await reader.receive() for _ in range(4)]
            assert 4 == reader.received

    async def test_missing_keys(self, autojump_clock: MockClock) -> None:
        """A server may leave out the key that has no value (ASGI, `websocket.receive`)."""
        for data in ("text", b"bytes", "", b""):
            key = "text" if isinstance(data, str) else "bytes"
            async with open_reader(returning({"type": "websocket.receive", key: data})) as reader:
                assert data == await reader.receive()

    async def test_needs_no_other_task(self, autojump_clock: MockClock) -> None:
        """A message that the server has at hand is received without a task switch."""
        steps = Steps()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(steps.run)
            async with open_reader(returning(message("at hand"))) as reader:
                await trio.lowlevel.checkpoint()
                before = steps.count
                for _ in range(20):
                    await reader.receive()

                assert before == steps.count
            nursery.cancel_scope.cancel()

    async def test_lets_others_run(self, autojump_clock: MockClock) -> None:
        """Even if the server never waits, others run at least once in 32 calls."""
        steps = Steps()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(steps.run)
            async with open_reader(returning(message("again"))) as reader:
                before = steps.count
                for _ in range(10 * 32):
                    await reader.receive()

                assert 10 - 1 <= steps.count - before
            nursery.cancel_scope.cancel()

    async def test_lets_others_run_while_it_empties_the_inbox(
        self, autojump_clock: MockClock
    ) -> None:
        """What lies in the inbox is received without waiting, but not without others."""
        server = Server(*map(str, range(10 * 32)))
        steps = Steps()
        limits = Limits(inbox_messages=1000)
        async with (
            open_reader(server.receive, limits=limits) as reader,
            trio.open_nursery() as nursery,
        ):
            await trio.sleep(1)
            nursery.start_soon(steps.run)
            for _ in range(10 * 32):
                await reader.receive()

            assert 10 - 1 <= steps.count
            nursery.cancel_scope.cancel()

    async def test_one_receiver(self, autojump_clock: MockClock) -> None:
        """A second task that receives is told so, until the first has its message."""
        server = Server()
        async with open_reader(server.receive) as reader, trio.open_nursery() as nursery:
            nursery.start_soon(reader.receive)
            await wait_all_tasks_blocked()
            with pytest.raises(trio.BusyResourceError):
                await reader.receive()
            server.say("for the first", "for the second")
            await wait_all_tasks_blocked()

            assert "for the second" == await reader.receive()

    async def test_sees_the_peer_leave(self, autojump_clock: MockClock) -> None:
        """A receiver that waits raises when the peer leaves, and every later call does."""
        server = Server("last")
        server.disconnect(4001)
        async with open_reader(server.receive) as reader:
            assert "last" == await reader.receive()
            for _ in range(2):
                with pytest.raises(ConnectionClosed) as caught:
                    await reader.receive()
                assert CloseInfo(4001, "", by_peer=True) == caught.value.info

    @pytest.mark.parametrize(
        "error",
        [
            OSError,
            trio.BrokenResourceError,
            trio.ClosedResourceError,
            trio.BusyResourceError,
        ],
    )
    async def test_server_that_raises(
        self, autojump_clock: MockClock, error: type[Exception]
    ) -> None:
        """An error of the network out of the server's `receive` means that the peer is gone."""

        async def receive() -> Event:
            await trio.lowlevel.checkpoint()
            raise error

        async with open_reader(receive) as reader:
            with pytest.raises(ConnectionClosed) as caught:
                await reader.receive()
        assert CloseInfo(1006, "", by_peer=True) == caught.value.info

    async def test_server_that_fails(
        self, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Any other exception is the server's failure: one warning, and the peer is gone."""

        async def receive() -> Event:
            await trio.lowlevel.checkpoint()
            raise ValueError("a bug")

        async with open_reader(receive) as reader:
            with pytest.raises(ConnectionClosed):
                await reader.receive()

        assert ["the server failed, and its connection is lost: ValueError('a bug')"] == [
            record.getMessage() for record in caplog.records
        ]

    async def test_server_that_raises_to_the_watcher(self, autojump_clock: MockClock) -> None:
        """The same holds while nobody receives."""
        link = Link()

        async def receive() -> Event:
            await trio.lowlevel.checkpoint()
            raise trio.BrokenResourceError

        async with open_reader(receive, link):
            await trio.sleep(1)

            assert CloseInfo(1006, "", by_peer=True) == link.closed

    async def test_never_reads_after_the_disconnect(self, autojump_clock: MockClock) -> None:
        """The server's `receive` is left alone once it has said that the peer is gone."""
        server = Server()
        server.disconnect(1000)
        server.say("nobody reads this")
        async with open_reader(server.receive) as reader:
            assert [] == await receive_all(reader)
            await trio.sleep(60)

        assert 1 == len(server.events)

    async def test_unknown_event(self, autojump_clock: MockClock) -> None:
        """An event that ASGI may add one day is passed over."""
        server = Server()
        server.events.append({"type": "websocket.surprise"})
        server.say("known")
        async with open_reader(server.receive) as reader:
            assert "known" == await reader.receive()
            assert 1 == reader.received


class TestWatcher:
    """When nobody has been inside for a quarter of a second, the watcher reads."""

    async def test_leaves_the_server_alone_at_first(self, autojump_clock: MockClock) -> None:
        """A handler that comes back within 0.25 s never shares its reading with the watcher."""
        server = Server()
        async with open_reader(server.receive):
            await trio.sleep(UNATTENDED - 0.01)
            await wait_all_tasks_blocked()
            assert not server.is_attended()

            await trio.sleep(0.02)
            assert server.is_attended()

    async def test_every_visit_puts_it_off(self, autojump_clock: MockClock) -> None:
        """A handler that receives every 0.2 s is its own reader, however long it does."""
        server = Server(*map(str, range(20)))
        async with open_reader(server.receive) as reader:
            for i in range(20):
                assert str(i) == await reader.receive()
                await trio.sleep(0.2)
                assert not server.is_attended()

    async def test_what_it_reads_is_received_in_order(self, autojump_clock: MockClock) -> None:
        """Messages that arrive while nobody receives wait in the inbox, in order."""
        server = Server("one", "two")
        async with open_reader(server.receive) as reader:
            await trio.sleep(1)
            assert 2 == reader.received

            server.say("three")
            assert ["one", "two", "three"] == [await reader.receive() for _ in range(3)]

    async def test_sees_the_peer_leave(self, autojump_clock: MockClock) -> None:
        """A handler that only pushes is told that the peer left, within 0.25 s."""
        server = Server()
        link = Link()
        gone: list[float] = []
        link.on_peer_gone = lambda _: gone.append(trio.current_time())
        async with open_reader(server.receive, link):
            server.disconnect(1001)
            await trio.sleep(5)

        assert [UNATTENDED] == gone
        assert CloseInfo(1001, "", by_peer=True) == link.closed

    async def test_messages_before_the_disconnect_are_received(
        self, autojump_clock: MockClock
    ) -> None:
        """What arrived before the peer left is received after it, and that is noted."""
        server = Server("one", "two")
        server.disconnect(1000)
        link = Link()
        async with open_reader(server.receive, link) as reader:
            delivered: list[float] = []
            link.on_delivery = lambda: delivered.append(trio.current_time())
            await trio.sleep(1)
            assert link.is_departed

            assert ["one", "two"] == await receive_all(reader)
            assert [1, 1] == delivered

    async def test_ends_with_the_peer(self, autojump_clock: MockClock) -> None:
        """Once the peer is gone the watcher's task has ended."""
        server = Server()
        server.disconnect(1000)
        async with open_timer() as timer, trio.open_nursery() as nursery:
            reader = Reader(server.receive, Link(), Limits(), timer, never_told)
            nursery.start_soon(reader.watch)

        assert UNATTENDED == trio.current_time()

    async def test_ends_when_others_hear_of_it(self, autojump_clock: MockClock) -> None:
        """It ends at once if the writer, say, finds out that the peer is gone."""
        link = Link()
        async with open_timer() as timer, trio.open_nursery() as nursery:
            reader = Reader(Server().receive, link, Limits(), timer, never_told)
            link.on_change = reader.wake
            nursery.start_soon(reader.watch)
            await wait_all_tasks_blocked()
            link.depart()

        assert 0 == trio.current_time()

    async def test_stands_down(self, autojump_clock: MockClock) -> None:
        """It hands over what it has, and the next message is read by the receiver again."""
        server = Server()
        async with open_reader(server.receive) as reader, trio.open_nursery() as nursery:
            await trio.sleep(1)
            received: list[Data] = []

            async def receive_twice() -> None:
                received.append(await reader.receive())
                received.append(await reader.receive())

            nursery.start_soon(receive_twice)
            await wait_all_tasks_blocked()
            readers = [reader.is_received_from]

            server.say("one")
            await wait_all_tasks_blocked()
            assert ["one"] == received
            assert [False, True] == [*readers, reader.is_received_from]

            server.say("two")
        assert ["one", "two"] == received

    async def test_stands_down_for_an_event_without_a_message(
        self, autojump_clock: MockClock
    ) -> None:
        """A receiver that waits for the watcher goes on by itself whatever the watcher got."""
        server = Server()
        async with open_reader(server.receive) as reader, trio.open_nursery() as nursery:
            await trio.sleep(1)
            reader.set_reading(False)
            nursery.start_soon(reader.receive)
            await wait_all_tasks_blocked()
            server.events.append({"type": "websocket.surprise"})
            server.say("known")

        assert 1 == trio.current_time()

    async def test_takes_over_from_a_busy_receiver(self, autojump_clock: MockClock) -> None:
        """It looks less often after a receiver that came again and again, but it looks."""
        server = Server(*map(str, range(1000)))
        async with open_reader(server.receive) as reader:
            for _ in range(1000):
                await reader.receive()
                await trio.sleep(0.01)
            assert not server.is_attended()

            await trio.sleep(2)
            assert [True] == [server.is_attended()]

    async def test_takes_over_again(self, autojump_clock: MockClock) -> None:
        """After a receiver has left, the watcher is back within a quarter of a second."""
        server = Server()
        async with open_reader(server.receive) as reader:
            with trio.move_on_after(10):
                await reader.receive()
            assert not server.is_attended()

            await trio.sleep(UNATTENDED + 0.01)
            assert server.is_attended()
            assert not reader.is_received_from

    @pytest.mark.parametrize("pause", [UNATTENDED, 2 * UNATTENDED, 0.3])
    async def test_one_at_a_time(self, autojump_clock: MockClock, pause: float) -> None:
        """A receiver that comes just when the watcher does never meets it at the server's door."""
        server = Server()
        async with open_reader(server.receive) as reader:
            for i in range(0, 200, 2):
                await trio.sleep(pause)
                server.say(str(i), str(i + 1))

                assert [str(i), str(i + 1)] == [await reader.receive() for _ in range(2)]

    async def test_one_at_a_time_with_a_server_that_never_waits(
        self, autojump_clock: MockClock
    ) -> None:
        """Emptying the inbox, a receiver never meets the watcher that still fills it."""
        numbers = iter(range(10_000))
        rng = random.Random(0)
        is_busy = False

        async def receive() -> Event:
            nonlocal is_busy
            assert not is_busy
            is_busy = True
            if rng.random() < 0.5:
                await trio.lowlevel.checkpoint()
            is_busy = False
            return message(str(next(numbers)))

        async with open_reader(receive, limits=Limits(inbox_messages=5)) as reader:
            received: list[Data] = []
            for _ in range(50):
                await trio.sleep(1)
                received += [await reader.receive() for _ in range(20)]

        assert [str(i) for i in range(1000)] == received


class TestInbox:
    """What nobody has received yet; bounded, in messages and in bytes."""

    async def test_bound_in_messages(self, autojump_clock: MockClock) -> None:
        """A full inbox stops the watcher, so that the server holds the peer back."""
        server = Server(*map(str, range(10)))
        async with open_reader(server.receive, limits=Limits(inbox_messages=4)) as reader:
            await trio.sleep(1)
            assert 4 == reader.received
            assert 6 == len(server.events)
            assert not server.is_attended()

    async def test_bound_in_bytes(self, autojump_clock: MockClock) -> None:
        """Bytes are counted as they are on the wire; the message that passes the bound is kept."""
        server = Server(b"12345678", "\N{EURO SIGN}", "more", "and more")
        async with open_reader(server.receive, limits=Limits(inbox_bytes=10)) as reader:
            await trio.sleep(1)
            assert 2 == reader.received

    async def test_reading_goes_on(self, autojump_clock: MockClock) -> None:
        """With one message received there is room for one, and nothing is lost on the way."""
        server = Server(*map(str, range(10)))
        async with open_reader(server.receive, limits=Limits(inbox_messages=4)) as reader:
            await trio.sleep(1)
            assert "0" == await reader.receive()
            await trio.sleep(1)
            assert 5 == reader.received

            assert list(map(str, range(1, 10))) == [await reader.receive() for _ in range(9)]

    async def test_many_small_ones_make_no_room_for_a_large_one(
        self, autojump_clock: MockClock
    ) -> None:
        """Receiving small messages lets nothing in while a large one fills the inbox."""
        server = Server("1", "2", "3", "x" * 10, "y" * 10, "z" * 10)
        async with open_reader(server.receive, limits=Limits(inbox_bytes=10)) as reader:
            await trio.sleep(1)
            for i in range(1, 4):
                assert str(i) == await reader.receive()
                await trio.sleep(1)
                assert 4 == reader.received

            assert "x" * 10 == await reader.receive()
            await trio.sleep(1)
            assert 5 == reader.received

    async def test_a_full_inbox_hides_the_disconnect(self, autojump_clock: MockClock) -> None:
        """The disconnect behind a full inbox is seen when there is room again, and not before."""
        server = Server("one", "two")
        server.disconnect(1000)
        link = Link()
        async with open_reader(server.receive, link, Limits(inbox_messages=2)) as reader:
            await trio.sleep(10)
            assert link.closed is None

            await reader.receive()
            await trio.sleep(1)
            assert link.closed is not None

    async def test_stall(self, autojump_clock: MockClock) -> None:
        """An inbox that stays full for `stall_timeout` is reported, with the code to close with."""
        server = Server("one", "two", "three")
        link = Link()
        overruns: list[tuple[float, int, str]] = []
        link.on_overrun = lambda code, why: overruns.append((trio.current_time(), code, why))
        limits = Limits(inbox_messages=2, stall_timeout=30)
        async with open_reader(server.receive, link, limits):
            await trio.sleep(100)

        assert [(UNATTENDED + 30, 1013, "inbox unread for 30 s")] == overruns

    async def test_slow_is_not_stalled(self, autojump_clock: MockClock) -> None:
        """Every message received gives the handler another `stall_timeout`."""
        server = Server(*map(str, range(10)))
        link = Link()
        overruns: list[int] = []
        link.on_overrun = lambda code, _: overruns.append(code)
        limits = Limits(inbox_messages=2, inbox_bytes=1, stall_timeout=30)
        async with open_reader(server.receive, link, limits) as reader:
            for i in range(10):
                await trio.sleep(29)
                assert str(i) == await reader.receive()
            await trio.sleep(100)

        assert [] == overruns

    async def test_drop(self, autojump_clock: MockClock) -> None:
        """A dropped inbox is empty, has room, and no longer counts as stalled."""
        server = Server("one", "two", "three")
        link = Link()
        overruns: list[int] = []
        link.on_overrun = lambda code, _: overruns.append(code)
        async with open_reader(server.receive, link, Limits(inbox_messages=2)) as reader:
            await trio.sleep(1)
            reader.drop_inbox()
            await trio.sleep(1000)

            assert "three" == await reader.receive()
        assert [] == overruns


class TestCancellation:
    """`receive` may be cancelled anywhere, and nothing is lost."""

    async def test_is_checked_at_every_call(self, autojump_clock: MockClock) -> None:
        """A cancelled task receives nothing, even if there is something at hand."""
        server = Server("one", "two")
        async with open_reader(server.receive) as reader:
            for _ in range(40):
                with trio.CancelScope() as scope:
                    scope.cancel()
                    await reader.receive()
                assert scope.cancelled_caught
            await trio.sleep(1)
            for _ in range(40):
                with trio.CancelScope() as scope:
                    scope.cancel()
                    await reader.receive()
                assert scope.cancelled_caught

            assert ["one", "two"] == [await reader.receive() for _ in range(2)]

    async def test_while_it_reads(self, autojump_clock: MockClock) -> None:
        """A receiver cancelled inside the server leaves it to the next one."""
        server = Server()
        async with open_reader(server.receive) as reader:
            with trio.move_on_after(0.1):
                await reader.receive()
            server.say("still there")

            assert "still there" == await reader.receive()

    async def test_while_the_watcher_reads_for_it(self, autojump_clock: MockClock) -> None:
        """A receiver cancelled while the watcher reads leaves the message in the inbox."""
        server = Server()
        async with open_reader(server.receive) as reader:
            await trio.sleep(1)
            with trio.move_on_after(1):
                await reader.receive()
            server.say("kept")
            await trio.sleep(1)

            assert 1 == reader.received
            assert "kept" == await reader.receive()

    async def test_in_the_moment_of_the_arrival(self, autojump_clock: MockClock) -> None:
        """Cancelled in the same instant as the message comes, it is received then or next."""
        server = Server()
        async with open_reader(server.receive) as reader:
            for i in range(100):
                received: list[Data] = []
                with trio.CancelScope() as scope:
                    async with trio.open_nursery() as nursery:

                        async def receive(received: list[Data] = received) -> None:
                            received.append(await reader.receive())

                        nursery.start_soon(receive)
                        if i % 2:
                            await trio.sleep(1)
                        await wait_all_tasks_blocked()
                        server.say(str(i))
                        if i % 3:
                            await trio.lowlevel.checkpoint()
                        scope.cancel()
                if not received:
                    received.append(await reader.receive())

                assert [str(i)] == received

    @pytest.mark.parametrize("seed", range(5))
    async def test_under_a_stream(self, autojump_clock: MockClock, seed: int) -> None:
        """Of 1,000 messages to a receiver cancelled at random none is lost or comes twice."""
        rng = random.Random(seed)
        server = Server()
        pauses = [0, 0, 0.001, 0.1, UNATTENDED, 1]
        received: list[Data] = []

        async def talk() -> None:
            for i in range(1000):
                server.say(str(i))
                await trio.sleep(rng.choice(pauses))

        async with (
            open_reader(server.receive, limits=Limits(inbox_messages=3)) as reader,
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(talk)
            while len(received) < 1000:
                with trio.move_on_after(rng.choice(pauses)):
                    received.append(await reader.receive())
                if rng.random() < 0.3:
                    await trio.sleep(rng.choice(pauses))

        assert list(map(str, range(1000))) == received


class TestLastSeen:
    """What `idle_timeout` goes by."""

    async def test_full_inbox(self, autojump_clock: MockClock) -> None:
        """While messages are not taken the peer counts as there, and when they are again."""
        server = Server("one", "two")
        limits = Limits(inbox_messages=2, idle_timeout=10)
        async with open_reader(server.receive, limits=limits) as reader:
            await trio.sleep(20)
            assert trio.current_time() == reader.last_seen

            await reader.receive()
            emptied_at = trio.current_time()
            await trio.sleep(20)
            assert emptied_at == reader.last_seen


class TestMessageSize:
    """`max_message_size` counts the bytes of the wire."""

    @pytest.mark.parametrize("data", ["x" * 12, "\N{EURO SIGN}" * 4, b"x" * 12, "é" * 6])
    async def test_at_the_limit(self, autojump_clock: MockClock, data: Data) -> None:
        """A message of exactly the limit is received, whatever its characters take."""
        server = Server(data)
        async with open_reader(server.receive, limits=Limits(max_message_size=12)) as reader:
            assert data == await reader.receive()

    @pytest.mark.parametrize(
        "data", ["x" * 13, "\N{EURO SIGN}" * 4 + "x", b"x" * 13, "é" * 6 + "x"]
    )
    async def test_over_the_limit(self, autojump_clock: MockClock, data: Data) -> None:
        """One byte more is the peer's fault; the message is neither received nor counted."""
        server = Server(data)
        link = Link()
        told: list[PeerError | None] = []

        async def tell_fault() -> None:
            told.append(link.fault)

        limits = Limits(max_message_size=12)
        async with open_reader(server.receive, link, limits, tell_fault) as reader:
            with pytest.raises(ConnectionClosed) as caught:
                await reader.receive()
            await wait_all_tasks_blocked()
            assert CloseInfo(1009, "a message is larger than 12 bytes", by_peer=False) == (
                caught.value.info
            )
            assert 0 == reader.received
        assert [MessageTooBig] == [type(fault) for fault in told]

    async def test_seen_by_the_watcher(self, autojump_clock: MockClock) -> None:
        """What is too big is refused also while nobody receives; what came before is kept."""
        server = Server("fine", "x" * 13)
        link = Link()
        told: list[PeerError | None] = []

        async def tell_fault() -> None:
            told.append(link.fault)

        limits = Limits(max_message_size=12)
        async with open_reader(server.receive, link, limits, tell_fault) as reader:
            await trio.sleep(1)
            assert [link.fault] == told
            assert isinstance(link.fault, MessageTooBig)

            assert ["fine"] == await receive_all(reader)


class TestEagerly:
    """Where there is nobody to wait for, the watcher reads at once and keeps nothing."""

    async def test_messages_are_counted_and_dropped(self, autojump_clock: MockClock) -> None:
        """Messages to a handler that only pushes fill no inbox, however many they are."""
        server = Server(*["heartbeat"] * 1000)
        async with open_reader(server.receive) as reader:
            reader.discards = True
            reader.wake()
            await wait_all_tasks_blocked()

            assert 1000 == reader.received
            assert 0 == trio.current_time()

    async def test_sees_the_peer_leave_at_once(self, autojump_clock: MockClock) -> None:
        """The departure of the peer is not a quarter of a second late."""
        server = Server()
        link = Link()
        async with open_reader(server.receive, link) as reader:
            reader.discards = True
            reader.wake()
            await wait_all_tasks_blocked()
            server.disconnect(1001)
            await wait_all_tasks_blocked()

            assert link.is_departed
            assert 0 == trio.current_time()

    async def test_lets_others_run(self, autojump_clock: MockClock) -> None:
        """A peer that floods a server that never waits does not starve other connections."""
        async with open_reader(returning(message("flood"))) as reader:
            reader.discards = True
            reader.wake()
            for _ in range(100):
                await trio.lowlevel.checkpoint()

            assert 0 < reader.received < 200


class TestAfterOurClose:
    """Once this side has closed, messages are of no interest, but the peer's answer is."""

    async def test_later_messages_are_dropped(self, autojump_clock: MockClock) -> None:
        """A message that crosses the close is neither received nor counted."""
        server = Server()
        link = Link()
        ours = CloseInfo(1000, "", by_peer=False)
        async with open_reader(server.receive, link) as reader, trio.open_nursery() as nursery:

            async def receive() -> None:
                with pytest.raises(ConnectionClosed) as caught:
                    await reader.receive()
                assert ours == caught.value.info

            nursery.start_soon(receive)
            await wait_all_tasks_blocked()
            link.closed = ours
            reader.wake()
            server.say("too late")
            await wait_all_tasks_blocked()
            server.say("and later")
            await wait_all_tasks_blocked()

            assert 0 == reader.received
            assert not server.events

    async def test_the_receiver_inside_stays_until_the_answer(
        self, autojump_clock: MockClock
    ) -> None:
        """The receiver that is reading hears the peer's answer itself, and then raises."""
        server = Server()
        link = Link()
        async with open_reader(server.receive, link) as reader, trio.open_nursery() as nursery:

            async def receive() -> None:
                with pytest.raises(ConnectionClosed):
                    await reader.receive()

            nursery.start_soon(receive)
            await trio.sleep(1)
            link.closed = CloseInfo(1000, "", by_peer=False)
            reader.wake()
            await trio.sleep(3)
            assert reader.is_received_from

            server.disconnect(1000)
        assert link.is_departed

    async def test_the_answer_though_reading_was_stopped(self, autojump_clock: MockClock) -> None:
        """When the receiver has left, the watcher goes for the answer, stopped before or not."""
        server = Server()
        link = Link()
        async with open_reader(server.receive, link) as reader, trio.open_nursery() as nursery:

            async def receive() -> None:
                with pytest.raises(ConnectionClosed):
                    await reader.receive()

            reader.set_reading(False)
            nursery.start_soon(receive)
            await wait_all_tasks_blocked()
            link.closed = CloseInfo(1000, "", by_peer=False)
            reader.wake()
            await wait_all_tasks_blocked()
            server.say("crossed the close")
            server.disconnect(1000)
            await wait_all_tasks_blocked()

            assert link.is_departed

    async def test_wait_departed(self, autojump_clock: MockClock) -> None:
        """Waiting for the peer's departure survives wake-ups for other reasons."""
        server = Server()
        link = Link()
        async with open_reader(server.receive, link) as reader, trio.open_nursery() as nursery:
            nursery.start_soon(reader.wait_departed)
            await trio.sleep(1)
            server.say("a message")
            reader.wake()
            await trio.sleep(1)
            assert 1 == len(nursery.child_tasks)

            server.disconnect(1000)
            await wait_all_tasks_blocked()
            assert 0 == len(nursery.child_tasks)
            await reader.wait_departed()


class TestWhatIsLeft:
    """The end was heard of by writing: what came before it is still with the server."""

    ENDING = CloseInfo(4001, "bye", by_peer=True)

    @pytest.mark.parametrize("pause", [0, 1], ids=["receiver", "watcher"])
    async def test_is_received(self, autojump_clock: MockClock, pause: float) -> None:
        """Every message, whoever reads it, and each is a delivery; then how it ended."""
        server = Server("one", "two")
        server.disconnect(4001)
        link = Link()
        deliveries = []
        link.on_delivery = lambda: deliveries.append(trio.current_time())
        async with open_reader(server.receive, link) as reader:
            link.hear_of(self.ENDING)
            await trio.sleep(pause)
            assert [] == deliveries

            assert ["one", "two"] == await receive_all(reader)

        assert 2 == len(deliveries)
        assert link.is_departed
        assert self.ENDING == link.closed

    async def test_a_full_inbox(self, autojump_clock: MockClock) -> None:
        """No more is kept than may be; once nobody will receive it, it is read past."""
        server = Server("one", "two", "three")
        server.disconnect(4001)
        link = Link()
        async with open_reader(server.receive, link, Limits(inbox_messages=2)) as reader:
            link.hear_of(self.ENDING)
            await trio.sleep(1)
            assert 2 == reader.received

            reader.drop_inbox()
            reader.wake()
            await reader.wait_departed()
            assert [] == await receive_all(reader)

    async def test_one_that_is_too_large(self, autojump_clock: MockClock) -> None:
        """It is the end of what is received, and a fault."""
        server = Server("one", "x" * 11, "two")
        link = Link()
        limits = Limits(max_message_size=10)
        async with open_reader(server.receive, link, limits, trio.lowlevel.checkpoint) as reader:
            link.hear_of(self.ENDING)

            assert ["one"] == await receive_all(reader)

        assert isinstance(link.fault, MessageTooBig)


class TestSetReading:
    """Taking messages that no receiver waits for can be stopped."""

    async def test_the_watcher_stops_and_goes_on(self, autojump_clock: MockClock) -> None:
        """While reading is stopped the messages stay with the server; then they are taken."""
        server = Server()
        async with open_reader(server.receive) as reader:
            reader.set_reading(False)
            server.say("one")
            await trio.sleep(60)
            assert 0 == reader.received

            reader.set_reading(True)
            await trio.sleep(UNATTENDED)
            await wait_all_tasks_blocked()
            assert 1 == reader.received

    async def test_a_receiver_reads_all_the_same(self, autojump_clock: MockClock) -> None:
        """A receiver is not stopped: it has asked for a message."""
        server = Server("one")
        async with open_reader(server.receive) as reader:
            reader.set_reading(False)
            await trio.sleep(60)

            assert "one" == await reader.receive()


class TestLastReceived:
    """When the last message came is kept up where `idle_timeout` goes by it."""

    async def test_received(self, autojump_clock: MockClock) -> None:
        """A message counts from when it was read, not from when it was asked for."""
        server = Server()
        limits = Limits(idle_timeout=60)
        async with (
            open_reader(server.receive, limits=limits) as reader,
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(reader.receive)
            await trio.sleep(7)
            server.say("hello")
            await trio.sleep(3)

            assert 7 == reader.last_received

    async def test_kept(self, autojump_clock: MockClock) -> None:
        """A message that nobody has received yet is a sign of life too."""
        server = Server()
        async with open_reader(server.receive, limits=Limits(idle_timeout=60)) as reader:
            await trio.sleep(7)
            server.say("hello")
            await trio.sleep(3)

            assert 7 == reader.last_received

    async def test_other_events(self, autojump_clock: MockClock) -> None:
        """What is no message is no sign of life."""
        server = Server()
        server.events.append({"type": "websocket.surprise"})
        async with open_reader(server.receive, limits=Limits(idle_timeout=60)) as reader:
            await trio.sleep(7)

            assert 0 == reader.last_received

    async def test_without_an_idle_timeout(self, autojump_clock: MockClock) -> None:
        """Where nobody goes by it no message pays for the clock."""
        server = Server()
        async with open_reader(server.receive) as reader:
            await trio.sleep(7)
            server.say("hello")
            await reader.receive()

            assert 0 == reader.last_received
