"""Messages that have arrived, and the one task that waits for the next."""

from collections.abc import Iterable

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.server.wires import Quiet, Record
from triows._close import CloseInfo
from triows._errors import ConnectionClosed
from triows._limits import Limits
from triows._types import Data
from triows.server._inbox import Inbox
from triows.server._line import Line

THEIRS = CloseInfo(1001, "", by_peer=True, clean=True)


class Raw(Quiet):
    """A source with messages of which it puts in as many as there is room for."""

    inbox: Inbox

    def __init__(self, messages: Iterable[Data]) -> None:
        super().__init__()
        self.messages = list(messages)

    def read_on(self) -> None:
        """Go on filling the inbox."""
        super().read_on()
        self.inbox.is_full = False
        while self.messages and not self.inbox.is_full:
            if self.inbox.is_held and not self.inbox.is_awaited:
                return
            self.inbox.put(self.messages.pop(0))


def make(messages: Iterable[Data] = (), **limits: int) -> tuple[Inbox, Line, Raw]:
    """Return an inbox, its line, and a source that has yet to put these messages in."""
    line = Line()
    source = Raw(messages)
    source.inbox = Inbox(source, line, Limits(**limits))
    return source.inbox, line, source


class TestReceive:
    """Messages come out as they went in."""

    async def test_order(self) -> None:
        """First in, first out; an empty message is a message."""
        inbox, *_ = make()
        for message in ("one", b"two", "", b""):
            inbox.put(message)

        assert ["one", b"two", "", b""] == [await inbox.receive() for _ in range(4)]

    async def test_waits(self, autojump_clock: MockClock) -> None:
        """A task that comes before the message gets it when it comes."""
        inbox, *_ = make()
        async with trio.open_nursery() as nursery:

            async def receive() -> None:
                assert "late" == await inbox.receive()
                assert 1 == trio.current_time()

            nursery.start_soon(receive)
            await trio.sleep(1)
            inbox.put("late")

    async def test_several_while_a_task_waits(self, autojump_clock: MockClock) -> None:
        """A task is woken once, and finds what has come until it runs."""
        inbox, *_ = make()
        async with trio.open_nursery() as nursery:

            async def receive() -> None:
                assert ["one", "two"] == [await inbox.receive() for _ in range(2)]

            nursery.start_soon(receive)
            await wait_all_tasks_blocked()
            inbox.put("one")
            inbox.put("two")

    async def test_one_at_a_time(self, autojump_clock: MockClock) -> None:
        """A second receiver is refused, until the first has returned."""
        inbox, *_ = make()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(inbox.receive)
            await wait_all_tasks_blocked()
            with pytest.raises(trio.BusyResourceError):
                await inbox.receive()
            inbox.put("for the first")
            with pytest.raises(trio.BusyResourceError):
                await inbox.receive()

        inbox.put("for whoever comes")
        assert "for whoever comes" == await inbox.receive()

    @pytest.mark.parametrize("is_over", [False, True])
    async def test_lets_others_run(self, *, is_over: bool) -> None:
        """Every 32nd call lets other tasks run, if the inbox is never empty, and after the end."""
        inbox, line, _ = make()
        steps = 0

        async def step() -> None:
            nonlocal steps
            while True:
                steps += 1
                await trio.lowlevel.checkpoint()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(step)
            for _ in range(320):
                if is_over:
                    line.closed = THEIRS
                    with pytest.raises(ConnectionClosed):
                        await inbox.receive()
                else:
                    inbox.put("x")
                    await inbox.receive()
            nursery.cancel_scope.cancel()

        assert steps >= 9


class TestCancel:
    """Cancelling loses no message."""

    @pytest.mark.parametrize("is_held", [False, True])
    @pytest.mark.parametrize("messages", [[], ["kept"]])
    async def test_is_looked_at_first(self, messages: list[Data], *, is_held: bool) -> None:
        """A task that is cancelled already gets nothing, though there is something."""
        inbox, *_ = make(messages)
        inbox.is_held = is_held
        if messages and not is_held:
            inbox.put("kept")
        with trio.move_on_after(0) as scope:
            await inbox.receive()
        assert scope.cancelled_caught

        if messages:
            assert "kept" == await inbox.receive()

    async def test_while_waiting(self, autojump_clock: MockClock) -> None:
        """A task that gives up waiting makes place for another."""
        inbox, *_ = make()
        with trio.move_on_after(1):
            await inbox.receive()
        inbox.put("later")

        assert "later" == await inbox.receive()

    @pytest.mark.parametrize("is_cancelled_first", [False, True])
    async def test_in_the_same_pass(
        self, autojump_clock: MockClock, *, is_cancelled_first: bool
    ) -> None:
        """Woken and cancelled at once, the task has the message or the inbox has."""
        inbox, *_ = make()
        received: list[Data] = []
        async with trio.open_nursery() as nursery:

            async def receive() -> None:
                received.append(await inbox.receive())

            nursery.start_soon(receive)
            await wait_all_tasks_blocked()
            if is_cancelled_first:
                nursery.cancel_scope.cancel()
                inbox.put("once")
            else:
                inbox.put("once")
                nursery.cancel_scope.cancel()

        if not received:
            received.append(await inbox.receive())
        assert ["once"] == received
        assert is_cancelled_first == (2 == inbox.visits)


class TestBounds:
    """The inbox says when it is full; then whoever fills it stops until it is asked to go on."""

    async def test_messages(self) -> None:
        """It is full of so many messages, and asks for more when half of them are left."""
        inbox, _, source = make(inbox_messages=4)
        for i in range(4):
            assert not inbox.is_full
            inbox.put(str(i))
        assert inbox.is_full

        await inbox.receive()
        assert 0 == source.asked
        await inbox.receive()
        assert 1 == source.asked
        assert not inbox.is_full

    async def test_bytes(self) -> None:
        """And of so many bytes, as they are on the wire; the last message may pass the bound."""
        inbox, _, source = make(inbox_bytes=10)
        inbox.put("ü" * 4)
        assert not inbox.is_full
        inbox.put(b"twenty bytes of data")
        assert inbox.is_full

        await inbox.receive()
        assert 0 == source.asked
        await inbox.receive()
        assert 1 == source.asked

    async def test_one_message(self) -> None:
        """An inbox for one message asks for the next when that one was received."""
        inbox, _, source = make(["two", "three"], inbox_messages=1)
        inbox.put("one")
        assert inbox.is_full

        assert ["one", "two", "three"] == [await inbox.receive() for _ in range(3)]
        assert 3 == source.asked
        assert not inbox.is_full

    async def test_other_limits(self) -> None:
        """The limits of a route replace those of the server."""
        inbox, *_ = make()
        inbox.set_limits(Limits(inbox_messages=1))
        inbox.put("one")

        assert inbox.is_full


class TestHeld:
    """While it is held, a message is put in only for a task that waits for it."""

    async def test_asks_for_one(self) -> None:
        """Each call asks the source, and takes what it has."""
        inbox, _, source = make(["one", "two"])
        inbox.is_held = True
        assert "one" == await inbox.receive()
        assert ["two"] == source.messages
        assert not inbox.is_awaited

        assert "two" == await inbox.receive()

    async def test_waits(self, autojump_clock: MockClock) -> None:
        """A source that has nothing is waited for."""
        inbox, *_ = make()
        inbox.is_held = True
        async with trio.open_nursery() as nursery:

            async def receive() -> None:
                assert "late" == await inbox.receive()

            nursery.start_soon(receive)
            await wait_all_tasks_blocked()
            assert inbox.is_awaited
            inbox.put("late")
            assert not inbox.is_awaited

    async def test_gives_up(self, autojump_clock: MockClock) -> None:
        """The source hears of a task that no longer waits, or it would read for nobody."""
        inbox, _, source = make()
        with trio.move_on_after(1):
            await inbox.receive()
        assert 0 == source.chosen

        inbox.is_held = True
        with trio.move_on_after(1):
            await inbox.receive()
        assert 1 == source.chosen
        assert not inbox.is_awaited

    async def test_the_end(self) -> None:
        """What had arrived before the end is received before the end."""
        inbox, line, _ = make(["last words"])
        inbox.is_held = True
        line.closed = THEIRS

        assert "last words" == await inbox.receive()
        with pytest.raises(ConnectionClosed):
            await inbox.receive()


class TestEnd:
    """After the end there is what was there before it, and then the exception."""

    async def test_what_is_left(self) -> None:
        """The connection is told of every message that is received after the end."""
        inbox, line, _ = make()
        record = Record(line)
        inbox.put("before")
        await inbox.receive()
        inbox.put("last words")
        assert 0 == record.delivered
        line.closed = THEIRS

        assert "last words" == await inbox.receive()
        assert 1 == record.delivered
        with pytest.raises(ConnectionClosed) as caught:
            await inbox.receive()
        assert (THEIRS, record) == (caught.value.info, caught.value.websocket)

    async def test_while_waiting(self, autojump_clock: MockClock) -> None:
        """A task that waits raises when it is woken after the end, not when it is woken before."""
        inbox, line, _ = make()
        inbox.wake()
        async with trio.open_nursery() as nursery:

            async def receive() -> None:
                with pytest.raises(ConnectionClosed):
                    await inbox.receive()

            nursery.start_soon(receive)
            await wait_all_tasks_blocked()
            inbox.wake()
            await wait_all_tasks_blocked()
            assert inbox.is_awaited
            line.closed = THEIRS
            inbox.wake()

    async def test_clear(self, autojump_clock: MockClock) -> None:
        """What was thrown away is gone, also for a task that was woken by it."""
        inbox, line, _ = make(inbox_messages=1)
        async with trio.open_nursery() as nursery:

            async def receive() -> None:
                with pytest.raises(ConnectionClosed):
                    await inbox.receive()

            nursery.start_soon(receive)
            await wait_all_tasks_blocked()
            inbox.put("dropped")
            line.closed = THEIRS
            inbox.clear()
            assert not inbox.is_full
