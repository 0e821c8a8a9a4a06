"""The server's part of the lifespan protocol: an app is started, and stopped, and heard."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import MockClock

from triows._errors import StateError
from triows._types import ASGIApp, Event, Receive, Scope, Send
from triows.testing._lifespan import LifespanServer, raise_all


@asynccontextmanager
async def open_server(app: ASGIApp, timeout: float = 10) -> AsyncGenerator[LifespanServer]:
    """Run the app's lifespan around a block, as `client` does."""
    server = LifespanServer(app, timeout)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.run)
        yield server
        nursery.cancel_scope.cancel()


def answer(kind: str, **details: object) -> Event:
    """Return an app's answer."""
    return {"type": f"lifespan.{kind}", **details}


class TestStart:
    """The app is called with a lifespan scope, and its answer is waited for."""

    async def test_complete(self) -> None:
        """The app gets the event of the protocol, and a state to fill."""
        seen: list[object] = []

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            seen.append((scope["type"], scope["asgi"]["version"], (await receive())["type"]))
            scope["state"]["pool"] = "a pool"
            await send(answer("startup.complete"))
            await receive()

        async with open_server(app) as server:
            await server.start()

        assert [("lifespan", "3.0", "lifespan.startup")] == seen
        assert {"pool": "a pool"} == server.state

    async def test_app_that_knows_no_lifespan(self) -> None:
        """An app that raises at once is taken for one that needs no start, as servers do."""

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            assert "websocket" == scope["type"]

        async with open_server(app) as server:
            await server.start()
            await server.stop()

    async def test_app_that_just_returns(self) -> None:
        """An app that returns without a word needs no start either."""

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            pass

        async with open_server(app) as server:
            await server.start()
            await server.stop()

    async def test_failed(self) -> None:
        """A failure that the app only tells of is raised in its words."""

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await receive()
            await send(answer("startup.failed", message="no database"))

        async with open_server(app) as server:
            with pytest.raises(
                StateError, match=r"answered lifespan\.startup\.failed: no database"
            ):
                await server.start()

    async def test_failed_with_an_exception(self) -> None:
        """An exception that goes with the failure, raised or reported, is raised itself."""

        async def raising(scope: Scope, receive: Receive, send: Send) -> None:
            await receive()
            await send(answer("startup.failed"))
            raise OSError("no database")

        async def reporting(scope: Scope, receive: Receive, send: Send) -> None:
            await receive()
            scope["extensions"]["triows.errors"](OSError("no database"))
            await send(answer("startup.failed"))

        for app in (raising, reporting):
            async with open_server(app) as server:
                with pytest.raises(OSError, match="no database"):
                    await server.start()

    async def test_too_slow(self, autojump_clock: MockClock) -> None:
        """An app that does not start in time fails the test, which says where it waits."""

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await trio.sleep_forever()

        async with open_server(app) as server:
            with pytest.raises(trio.TooSlowError, match="did not start within 10 s") as caught:
                await server.start()
        assert f"{__file__}:{app.__code__.co_firstlineno + 1} in app" in str(caught.value)


class TestStop:
    """The app is asked to shut down, and what it failed with is raised."""

    async def test_complete(self) -> None:
        """The shutdown comes when it is asked for, and its end is waited for."""
        events: list[str] = []

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            for phase in ("startup", "shutdown"):
                events.append((await receive())["type"])
                await send(answer(f"{phase}.complete"))

        async with open_server(app) as server:
            await server.start()
            await trio.testing.wait_all_tasks_blocked()
            assert ["lifespan.startup"] == events
            await server.stop()

        assert ["lifespan.startup", "lifespan.shutdown"] == events

    async def test_slow_but_in_time(self, autojump_clock: MockClock) -> None:
        """An app has its time to shut down."""

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await receive()
            await send(answer("startup.complete"))
            await receive()
            await trio.sleep(9)
            await send(answer("shutdown.complete"))

        async with open_server(app) as server:
            await server.start()
            await server.stop()
        assert 9 == trio.current_time()

    async def test_failed(self) -> None:
        """A failure is raised, as an exception if one is known."""

        async def telling(scope: Scope, receive: Receive, send: Send) -> None:
            await receive()
            await send(answer("startup.complete"))
            await receive()
            await send(answer("shutdown.failed", message="could not flush"))

        async def raising(scope: Scope, receive: Receive, send: Send) -> None:
            await receive()
            await send(answer("startup.complete"))
            await receive()
            raise OSError("could not flush")

        async with open_server(telling) as server:
            await server.start()
            with pytest.raises(StateError, match=r"lifespan\.shutdown\.failed: could not flush"):
                await server.stop()
        async with open_server(raising) as server:
            await server.start()
            with pytest.raises(OSError, match="could not flush"):
                await server.stop()

    async def test_failed_before_it_was_asked(self) -> None:
        """An app that fails while it runs is heard when it is to be stopped."""
        fail = trio.Event()

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await receive()
            await send(answer("startup.complete"))
            await fail.wait()
            scope["extensions"]["triows.errors"](OSError("a task of the app"))
            await send(answer("shutdown.failed"))

        async with open_server(app) as server:
            await server.start()
            fail.set()
            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(OSError, match="a task of the app"):
                await server.stop()

    async def test_failed_after_its_answer(self) -> None:
        """What an app fails with as it returns, its answer already given, is not lost."""

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await receive()
            await send(answer("startup.complete"))
            await receive()
            try:
                await send(answer("shutdown.complete"))
                await trio.sleep_forever()
            finally:
                raise OSError("in the last moment")

        async with open_server(app) as server:
            await server.start()
            with pytest.raises(OSError, match="in the last moment"):
                await server.stop()

    async def test_too_slow(self, autojump_clock: MockClock) -> None:
        """An app that does not shut down in time fails the test, which says where it waits."""

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await receive()
            await send(answer("startup.complete"))
            await trio.sleep_forever()

        async with open_server(app) as server:
            await server.start()
            with pytest.raises(trio.TooSlowError, match="did not shut down within 10 s") as caught:
                await server.stop()
        assert f"{__file__}:{app.__code__.co_firstlineno + 3} in app" in str(caught.value)


class TestRaiseAll:
    """One error is raised as it is, several in a group; each keeps its own story."""

    def test_one(self) -> None:
        """A single error is the very object."""
        error = KeyError("mine")

        with pytest.raises(KeyError) as caught:
            raise_all([error])
        assert error is caught.value
        assert error.__cause__ is None

    def test_several(self) -> None:
        """Of several none is dropped, and exits make it a group for exits."""
        with pytest.RaisesGroup(KeyError, OSError):
            raise_all([KeyError(), OSError()])
        with pytest.RaisesGroup(KeyError, SystemExit):
            raise_all([KeyError(), SystemExit()])

    def test_consequence(self) -> None:
        """What an error led to is shown with it, as its cause; of a group too."""
        consequence = ValueError("closed with 1011")

        with pytest.raises(KeyError) as one:
            raise_all([KeyError()], consequence)
        with pytest.RaisesGroup(KeyError, OSError) as several:
            raise_all([KeyError(), OSError()], consequence)

        assert consequence is one.value.__cause__
        assert consequence is several.value.__cause__

    def test_own_cause(self) -> None:
        """An error that has a cause keeps it: it says more than what came of it."""
        error, cause = KeyError(), OSError()
        error.__cause__ = cause

        with pytest.raises(KeyError):
            raise_all([error], ValueError("closed with 1011"))
        assert cause is error.__cause__

    def test_own_context(self) -> None:
        """So does one that was raised while another was handled, wherever it is raised again."""
        error, context = KeyError(), OSError()
        error.__context__ = context

        def fail() -> None:
            raise ValueError("closed with 1011")

        try:
            fail()
        except ValueError as exc:
            with pytest.raises(KeyError):
                raise_all([error], exc)
        assert context is error.__context__
        assert error.__cause__ is None
        assert not error.__suppress_context__
