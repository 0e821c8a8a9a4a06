"""The lifespan protocol, from the server's side (ASGI, lifespan)."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing

from tests.support import tracebacks
from triows import AppFailed, StateError
from triows._draining import EXTENSION
from triows._groups import unwrap
from triows._types import ASGIApp, Receive, Scope, Send
from triows.server._lifespan import Lifespan, open_lifespan


@asynccontextmanager
async def lifespan_of(app: ASGIApp) -> AsyncGenerator[Lifespan]:
    """Run an app's lifespan around a block; what comes out is in no groups."""
    failure: BaseException | None = None
    try:
        async with open_lifespan(app, startup=5, shutdown=7) as lifespan:
            yield lifespan
    except BaseExceptionGroup as group:
        failure = unwrap(group)
    if failure is not None:
        raise failure


async def answer(receive: Receive, send: Send, *answers: str) -> None:
    """Receive an event for each answer, and give it."""
    for kind in answers:
        await receive()
        await send({"type": f"lifespan.{kind}"})


class TestApps:
    """Apps as they are."""

    async def test_one_with_a_lifespan(self, autojump_clock: trio.testing.MockClock) -> None:
        """It is asked to start before the block, and to shut down behind it; it leaves state."""
        events: list[str] = []

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            events.append((await receive())["type"])
            scope["state"]["pool"] = "pool"
            await send({"type": "lifespan.startup.complete"})
            events.append((await receive())["type"])
            await send({"type": "lifespan.shutdown.complete"})

        async with lifespan_of(app) as lifespan:
            events.append("block")
            assert {"pool": "pool"} == lifespan.state

        assert ["lifespan.startup", "block", "lifespan.shutdown"] == events
        assert not lifespan.failed.is_set()

    async def test_the_scope(self, autojump_clock: trio.testing.MockClock) -> None:
        """It is ASGI's, and has the server's own draining in its extensions."""
        scopes: list[Scope] = []

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            scopes.append(scope)

        async with lifespan_of(app) as lifespan:
            (scope,) = scopes

        assert "lifespan" == scope["type"]
        assert {"version": "3.0", "spec_version": "2.0"} == scope["asgi"]
        assert lifespan.draining is scope["extensions"][EXTENSION]

    async def test_one_that_returns(self, autojump_clock: trio.testing.MockClock) -> None:
        """Some return at once, and some after they have started: both are served."""

        async def ignorant(scope: Scope, receive: Receive, send: Send) -> None:
            """Know nothing of it."""

        async def hasty(scope: Scope, receive: Receive, send: Send) -> None:
            await answer(receive, send, "startup.complete")

        for app in (ignorant, hasty):
            async with lifespan_of(app) as lifespan:
                await trio.sleep(1)

                assert not lifespan.failed.is_set()

    async def test_one_that_raises_at_once(
        self, autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
    ) -> None:
        """It has no lifespan, and is served; there is nothing to be said of that."""

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            assert "http" == scope["type"]

        async with lifespan_of(app) as lifespan:
            assert not lifespan.failed.is_set()

        assert [] == caplog.records

    async def test_one_that_raises_when_it_is_asked(
        self, autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
    ) -> None:
        """It is served likewise, but the log has what it probably did not mean to raise."""

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await receive()
            raise ValueError("no database")

        async with lifespan_of(app) as lifespan:
            assert not lifespan.failed.is_set()

        assert ["ValueError"] == tracebacks(caplog)
        assert "the app has no lifespan, or failed in it" in caplog.text

    async def test_one_that_talks_nonsense(self, autojump_clock: trio.testing.MockClock) -> None:
        """An event of no such type is refused, and is no answer."""

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await receive()
            with pytest.raises(StateError, match=r"cannot send 'lifespan\.startup'"):
                await send({"type": "lifespan.startup"})
            await send({"type": "lifespan.startup.complete"})

        async with lifespan_of(app):
            pass


class TestStart:
    """Apps that do not start; the block is not entered then."""

    async def test_one_that_says_so(self, autojump_clock: trio.testing.MockClock) -> None:
        """The failure has the app's own words."""

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await receive()
            await send({"type": "lifespan.startup.failed", "message": "no database"})

        with pytest.raises(AppFailed, match=r"^the app could not start: no database$") as caught:
            async with lifespan_of(app):
                pytest.fail("it has not started")

        assert caught.value.__cause__ is None

    async def test_one_that_says_so_and_raises(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        """As Starlette does; then what it raised is the cause."""

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await answer(receive, send, "startup.failed")
            raise ValueError("no database")

        with pytest.raises(AppFailed, match=r"^the app could not start$") as caught:
            async with lifespan_of(app):
                pytest.fail("it has not started")

        assert "no database" == str(caught.value.__cause__)

    async def test_one_that_reports_why(self, autojump_clock: trio.testing.MockClock) -> None:
        """As triows does, which logs its failures itself; several are a group."""

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            for failure in (ValueError("no database"), ValueError("no cache")):
                scope["extensions"]["triows.errors"](failure)
            await answer(receive, send, "startup.failed")

        with pytest.raises(AppFailed) as caught:
            async with lifespan_of(app):
                pytest.fail("it has not started")

        assert isinstance(caught.value.__cause__, ExceptionGroup)
        assert 2 == len(caught.value.__cause__.exceptions)

    async def test_one_that_is_slow(self, autojump_clock: trio.testing.MockClock) -> None:
        """It has the `startup_timeout`, and is cancelled."""

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await trio.sleep_forever()

        with pytest.raises(AppFailed, match="the app did not start within 5 s"):
            async with lifespan_of(app):
                pytest.fail("it has not started")

        assert 5 == trio.current_time()


class TestService:
    """Apps that fail while they are served."""

    async def test_one_that_says_so_unasked(self, autojump_clock: trio.testing.MockClock) -> None:
        """The server is told, and is to end; that is no further question to the app."""

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await answer(receive, send, "startup.complete")
            await trio.sleep(1)
            await send({"type": "lifespan.shutdown.failed", "message": "a task broke"})
            await trio.sleep_forever()

        with pytest.raises(AppFailed, match=r"^the app failed: a task broke$"):
            async with lifespan_of(app) as lifespan:
                await lifespan.failed.wait()

        assert 1 == trio.current_time()

    async def test_one_that_raises(self, autojump_clock: trio.testing.MockClock) -> None:
        """What it raised is the cause, and told by name."""

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await answer(receive, send, "startup.complete")
            raise ValueError("a task broke")

        with pytest.raises(AppFailed, match="the app failed: ValueError: a task broke") as caught:
            async with lifespan_of(app) as lifespan:
                await lifespan.failed.wait()

        assert isinstance(caught.value.__cause__, ValueError)


class TestStop:
    """The end."""

    async def test_one_that_fails_then(self, autojump_clock: trio.testing.MockClock) -> None:
        """It is raised from the end of the block; the first complaint counts."""

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await answer(receive, send, "startup.complete", "shutdown.failed")
            raise ValueError("not saved")

        with pytest.raises(AppFailed, match=r"^the app failed$") as caught:
            async with lifespan_of(app):
                pass

        assert "not saved" == str(caught.value.__cause__)

    async def test_one_that_is_slow(self, autojump_clock: trio.testing.MockClock) -> None:
        """It has the `shutdown_timeout`, and is cancelled."""
        cancelled: list[str] = []

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await answer(receive, send, "startup.complete")
            try:
                await trio.sleep_forever()
            except trio.Cancelled as exc:
                cancelled.append(str(exc.reason))
                raise

        with pytest.raises(AppFailed, match="the app did not shut down within 7 s"):
            async with lifespan_of(app):
                pass

        assert 7 == trio.current_time()
        assert ["the server has ended"] == cancelled

    async def test_a_block_that_is_cancelled(self, autojump_clock: trio.testing.MockClock) -> None:
        """The app is asked to shut down all the same, and has its time for it."""
        events: list[str] = []

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await answer(receive, send, "startup.complete")
            await receive()
            await trio.sleep(1)
            events.append("down")
            await send({"type": "lifespan.shutdown.complete"})

        with trio.move_on_after(1) as scope:
            async with lifespan_of(app):
                await trio.sleep_forever()

        assert scope.cancelled_caught
        assert ["down"] == events
        assert 2 == trio.current_time()

    async def test_cancelled_while_it_starts(self, autojump_clock: trio.testing.MockClock) -> None:
        """An app that has not started is not asked to shut down."""
        asked: list[str] = []

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            asked.append((await receive())["type"])
            await trio.sleep(3)
            pytest.fail("it was cancelled")

        with trio.move_on_after(1):
            async with lifespan_of(app):
                pytest.fail("it has not started")

        assert ["lifespan.startup"] == asked
        assert 1 == trio.current_time()
