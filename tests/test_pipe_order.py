"""The order of everything that pipes do, for each way in which a connection can end.

There are three pipes: A on the app, B on a module and C on the route. Every test asserts the
whole log of their hooks, and what the peer saw.
"""

import logging
import math
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
import trio.testing

from tests.support import BareServer, tracebacks
from triows import App, Close, HandshakeRejected, Limits, Pipe, Reject, testing, websocket
from triows._pipes import Next
from triows._rules import OnDisconnect

Drive = Callable[[testing.Client, testing.Peer], Awaitable[None]]

INWARDS = "A.open B.open C.open A.pipe B.pipe C.pipe handler"
CLOSED = "C.close B.close A.close"
SUCCESS = f"C.out C.success B.out B.success A.out A.success {CLOSED}"


def outwards(exc: str, outcome: str) -> str:
    """Return what is logged when every pipe sees the same exception."""
    return " ".join([*(f"{pipe}.out:{exc} {pipe}.{outcome}" for pipe in "CBA"), CLOSED])


class Story:
    """An app with three pipes, and the log of what happened in it.

    Args:
        slow: The entry of the log after which a pipe takes its time.
        seconds: How long.
    """

    def __init__(
        self,
        *,
        slow: str = "",
        seconds: float = math.inf,
        limits: Limits | None = None,
        on_disconnect: OnDisconnect = "drain",
    ) -> None:
        self.log: list[str] = []
        self.failures: list[str] = []
        self.app = App(__name__)
        self._slow = slow
        self._seconds = seconds
        self._limits = limits
        self._on_disconnect = on_disconnect

    async def note(self, entry: str) -> None:
        """Add an entry to the log, and take the time that it is to take."""
        self.log.append(entry)
        if entry == self._slow:
            await trio.sleep(self._seconds)

    def declare(self, handler: Callable[[], Awaitable[object]]) -> None:
        """Put the handler at /, inside the three pipes."""

        async def logged() -> None:
            await self.note("handler")
            await handler()

        module = self.app.module(__name__, "module", pipeline=[Logging("B", self)])
        module.websocket(
            "/",
            name="handler",
            pipeline=[Logging("C", self)],
            limits=self._limits,
            on_disconnect=self._on_disconnect,
        )(logged)
        self.app.pipeline.append(Logging("A", self))

    async def tell(
        self, handler: Callable[[], Awaitable[object]], drive: Drive | None = None
    ) -> int | None:
        """Run it with one peer; return the close code or HTTP status that this one saw."""
        self.declare(handler)
        seen: int | None = None
        try:
            async with (
                testing.client(self.app, timeout=60) as client,
                client.websocket("/") as peer,
            ):
                await (drive or wait_closed)(client, peer)
                if peer.closed is not None and peer.closed.by_peer:
                    seen = peer.closed.code
        except HandshakeRejected as exc:
            return exc.status
        except Exception as exc:
            self.failures.append(type(exc).__name__)
            if isinstance(exc.__cause__, HandshakeRejected):
                return exc.__cause__.status
        return seen


class Logging(Pipe):
    """Logs every hook, and what comes out of the pipes inside of it."""

    def __init__(self, name: str, story: Story) -> None:
        self.name = name
        self.story = story

    async def open(self) -> None:
        """Log."""
        await self.story.note(f"{self.name}.open")

    async def close(self) -> None:
        """Log."""
        await self.story.note(f"{self.name}.close")

    async def pipe(self, next_pipe: Next, **kwargs: Any) -> None:
        """Log the way in and the way out."""
        await self.story.note(f"{self.name}.pipe")
        try:
            await next_pipe(**kwargs)
        except BaseException as exc:
            self.story.log.append(f"{self.name}.out:{type(exc).__name__}")
            raise
        await self.story.note(f"{self.name}.out")

    async def on_pipe_success(self) -> None:
        """Log."""
        await self.story.note(f"{self.name}.success")

    async def on_pipe_failure(self) -> None:
        """Log."""
        await self.story.note(f"{self.name}.failure")


async def wait_closed(client: testing.Client, peer: testing.Peer) -> None:
    """Do nothing but wait for the end."""
    await peer.wait_closed()


async def leave(client: testing.Client, peer: testing.Peer) -> None:
    """Close, as soon as the app is waiting."""
    await trio.testing.wait_all_tasks_blocked()
    await peer.close()


async def vanish(client: testing.Client, peer: testing.Peer) -> None:
    """Be gone without a close frame, as soon as the app is waiting."""
    await trio.testing.wait_all_tasks_blocked()
    peer.drop()


async def drain(client: testing.Client, peer: testing.Peer) -> None:
    """Shut the server down, as soon as the app is waiting."""
    await trio.testing.wait_all_tasks_blocked()
    await client.drain()


async def receive_all() -> None:
    """Be a handler that receives until it cannot."""
    while True:
        await websocket.receive()


async def accept_and_sleep() -> None:
    """Be a handler that is busy elsewhere."""
    await websocket.accept()
    await trio.sleep_forever()


class TestTheHandlerEnds:
    """By itself."""

    async def test_returns(self, autojump_clock: trio.testing.MockClock) -> None:
        """In through A, B and C, and out in the other direction; close 1000."""
        story = Story()

        assert 1000 == await story.tell(lambda: websocket.send("hello"))
        assert f"{INWARDS} {SUCCESS}" == " ".join(story.log)

    async def test_returns_without_accepting(self, autojump_clock: trio.testing.MockClock) -> None:
        """It has returned, which is a success for the pipes, though the peer sees 403."""
        story = Story()

        assert 403 == await story.tell(trio.lowlevel.checkpoint)
        assert f"{INWARDS} {SUCCESS}" == " ".join(story.log)

    @pytest.mark.parametrize(("is_accepted", "seen"), [(False, 500), (True, 1011)])
    async def test_fails(
        self,
        autojump_clock: trio.testing.MockClock,
        caplog: pytest.LogCaptureFixture,
        is_accepted: bool,
        seen: int,
    ) -> None:
        """Each pipe sees the exception itself, and there is one traceback."""
        story = Story()

        async def handler() -> None:
            if is_accepted:
                await websocket.accept()
            raise ValueError

        assert seen == await story.tell(handler)
        assert f"{INWARDS} {outwards('ValueError', 'failure')}" == " ".join(story.log)
        assert ["ValueError"] == story.failures == tracebacks(caplog)

    @pytest.mark.parametrize("is_accepted", [False, True])
    async def test_raises_close(
        self,
        autojump_clock: trio.testing.MockClock,
        caplog: pytest.LogCaptureFixture,
        is_accepted: bool,
    ) -> None:
        """`Close` is a failure for the pipes, but none for the log."""
        story = Story()

        async def handler() -> None:
            if is_accepted:
                await websocket.accept()
            raise Close(4404)

        assert 4404 == await story.tell(handler)
        assert f"{INWARDS} {outwards('Close', 'failure')}" == " ".join(story.log)
        assert [] == tracebacks(caplog)

    async def test_raises_reject(
        self, autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
    ) -> None:
        """`Reject` likewise."""
        story = Story()

        async def handler() -> None:
            raise Reject(401)

        assert 401 == await story.tell(handler)
        assert f"{INWARDS} {outwards('Reject', 'failure')}" == " ".join(story.log)
        assert [] == tracebacks(caplog)

    async def test_closes_and_goes_on(self, autojump_clock: trio.testing.MockClock) -> None:
        """The end that a handler caused itself is a success when it comes out of it."""
        story = Story()

        async def handler() -> None:
            await websocket.close(4000)
            await websocket.send("too late")

        assert 4000 == await story.tell(handler)
        assert f"{INWARDS} {outwards('ConnectionClosed', 'success')}" == " ".join(story.log)

    async def test_two_tasks_see_the_end(
        self, autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
    ) -> None:
        """A group of nothing but this connection's end is no more than that end."""
        story = Story()

        async def handler() -> None:
            await websocket.accept()
            websocket.nursery.start_soon(send_at_the_end)
            await receive_all()

        async def send_at_the_end() -> None:
            try:
                await trio.sleep_forever()
            finally:
                with trio.CancelScope(shield=True):
                    await websocket.send("too late")

        assert None is await story.tell(handler, leave)
        assert f"{INWARDS} {outwards('ExceptionGroup', 'success')}" == " ".join(story.log)
        assert [] == tracebacks(caplog)


class TestThePeerLeaves:
    """Before accept, and after it."""

    async def test_before_accept(
        self, autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
    ) -> None:
        """A handler that then wants to accept hears that it ended: a success, status 499."""
        caplog.set_level(logging.INFO)
        story = Story()

        async def handler() -> None:
            await trio.sleep(1)
            await websocket.accept()

        story.declare(handler)
        async with story.app.running():
            server = BareServer("websocket.connect", "websocket.disconnect")
            await server.serve(story.app)

        assert [] == server.sent
        assert f"{INWARDS} {outwards('ConnectionClosed', 'success')}" == " ".join(story.log)
        assert '"WS /" 499 -' in caplog.text

    async def test_before_accept_while_a_pipe_opens(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        """The grace of `disconnect_grace` holds for pipes too; then the open ones are closed."""
        story = Story(slow="B.open")
        story.declare(receive_all)

        async with story.app.running():
            await BareServer("websocket.connect", "websocket.disconnect").serve(story.app)

        assert "A.open B.open A.close" == " ".join(story.log)

    async def test_before_the_server_called_the_app(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        """No pipe opens for a peer that is gone."""
        story = Story()
        story.declare(receive_all)

        async with story.app.running():
            await BareServer("websocket.disconnect").serve(story.app)

        assert [] == story.log

    @pytest.mark.parametrize("go", [leave, vanish])
    async def test_while_the_handler_receives(
        self, autojump_clock: trio.testing.MockClock, go: Drive
    ) -> None:
        """`ConnectionClosed` goes through all pipes, and is a success for each."""
        story = Story()

        assert None is await story.tell(receive_all, go)
        assert f"{INWARDS} {outwards('ConnectionClosed', 'success')}" == " ".join(story.log)

    async def test_while_the_handler_is_busy(self, autojump_clock: trio.testing.MockClock) -> None:
        """A handler that does not notice is cancelled after its grace: a failure."""
        story = Story()

        assert None is await story.tell(accept_and_sleep, leave)
        assert f"{INWARDS} {outwards('Cancelled', 'failure')}" == " ".join(story.log)
        assert 5 <= trio.current_time() < 6

    async def test_while_the_handler_is_busy_and_cancelled_at_once(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        """With `on_disconnect="cancel"` there is no grace."""
        story = Story(on_disconnect="cancel")

        assert None is await story.tell(accept_and_sleep, leave)
        assert f"{INWARDS} {outwards('Cancelled', 'failure')}" == " ".join(story.log)
        assert trio.current_time() < 1

    async def test_while_the_handler_is_busy_and_left_alone(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        """With `on_disconnect="raise"` it ends when it ends."""
        story = Story(on_disconnect="raise")

        async def handler() -> None:
            await websocket.accept()
            await trio.sleep(7)

        assert None is await story.tell(handler, leave)
        assert f"{INWARDS} {SUCCESS}" == " ".join(story.log)

    async def test_with_a_message_too_big(self, autojump_clock: trio.testing.MockClock) -> None:
        """What the peer must not do is no success, though the handler sees the same exception."""
        story = Story(limits=Limits(max_message_size=1))

        async def send_much(client: testing.Client, peer: testing.Peer) -> None:
            await peer.send("too much")
            await peer.wait_closed()

        assert 1009 == await story.tell(receive_all, send_much)
        assert f"{INWARDS} {outwards('ConnectionClosed', 'failure')}" == " ".join(story.log)


class TestTheServerDrains:
    """Cancellation from outside."""

    async def test_in_the_handler(self, autojump_clock: trio.testing.MockClock) -> None:
        """The peer is told 1001 when all pipes are closed."""
        story = Story()

        assert 1001 == await story.tell(receive_all, drain)
        assert f"{INWARDS} {outwards('Cancelled', 'failure')}" == " ".join(story.log)

    async def test_hooks_of_the_end_are_not_cancelled(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        """A hook that takes its time has it, though the server is in a hurry."""
        story = Story(slow="B.close", seconds=2)

        assert 1001 == await story.tell(receive_all, drain)
        assert f"{INWARDS} {outwards('Cancelled', 'failure')}" == " ".join(story.log)
        assert 2 == trio.current_time()


class TestALimitCancels:
    """In each phase."""

    async def test_in_open(self, autojump_clock: trio.testing.MockClock) -> None:
        """Only what has opened is closed, and no outcome is heard."""
        story = Story(slow="B.open")

        assert 503 == await story.tell(receive_all)
        assert "A.open B.open A.close" == " ".join(story.log)
        assert 10 == trio.current_time()

    async def test_in_pipe_before_the_rest(self, autojump_clock: trio.testing.MockClock) -> None:
        """Outcomes are heard by those whose `pipe` was entered; all three are closed."""
        story = Story(slow="B.pipe")

        assert 503 == await story.tell(receive_all)
        assert (
            "A.open B.open C.open A.pipe B.pipe B.failure A.out:Cancelled A.failure "
            "C.close B.close A.close"
        ) == " ".join(story.log)

    @pytest.mark.parametrize(("is_accepted", "seen"), [(False, 503), (True, 1001)])
    async def test_in_the_handler(
        self, autojump_clock: trio.testing.MockClock, is_accepted: bool, seen: int
    ) -> None:
        """Every pipe sees the cancellation."""
        story = Story(limits=Limits(max_lifetime=20))

        async def handler() -> None:
            if is_accepted:
                await websocket.accept()
            await trio.sleep_forever()

        assert seen == await story.tell(handler)
        assert f"{INWARDS} {outwards('Cancelled', 'failure')}" == " ".join(story.log)
        assert (20 if is_accepted else 10) == trio.current_time()

    async def test_in_pipe_after_the_rest(self, autojump_clock: trio.testing.MockClock) -> None:
        """A pipe that was cancelled has failed, the one inside of it has not."""
        story = Story(slow="B.out", limits=Limits(max_lifetime=3))

        assert 1001 == await story.tell(lambda: websocket.send("hello"))
        assert (
            f"{INWARDS} C.out C.success B.out B.failure A.out:Cancelled A.failure "
            "C.close B.close A.close"
        ) == " ".join(story.log)
        assert 3 == trio.current_time()

    @pytest.mark.parametrize("slow", ["B.success", "B.close"])
    async def test_in_hooks_of_the_end(
        self, autojump_clock: trio.testing.MockClock, slow: str
    ) -> None:
        """They are not cancelled; what the peer is told is that the limit was reached."""
        story = Story(slow=slow, seconds=4, limits=Limits(max_lifetime=3))

        assert 1001 == await story.tell(lambda: websocket.send("hello"))
        assert f"{INWARDS} {SUCCESS}" == " ".join(story.log)
        assert 4 == trio.current_time()

    async def test_hooks_of_the_end_have_a_limit_of_their_own(
        self, autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
    ) -> None:
        """After `pipe_close_timeout` a hook is cancelled, the others run, and it is an error."""
        story = Story(slow="B.success", limits=Limits(pipe_close_timeout=3))

        assert 1011 == await story.tell(lambda: websocket.send("hello"))
        assert (
            f"{INWARDS} C.out C.success B.out B.success A.out:TooSlowError A.failure "
            "C.close B.close A.close"
        ) == " ".join(story.log)
        assert ["TooSlowError"] == story.failures == tracebacks(caplog)
        assert 3 == trio.current_time()
