"""One call of the app under test: what it raised, when it ended, where it waits."""

import inspect
from collections.abc import AsyncGenerator, Awaitable, Callable

import pytest
import trio
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket
from trio.testing import MockClock, wait_all_tasks_blocked

from triows._types import ASGIApp, Receive, Scope, Send
from triows.testing._calls import Call
from triows.testing._wire import Wire


def line_of(function: Callable[..., object], text: str) -> str:
    """Return how a wait in that line of a function is told."""
    lines, first = inspect.getsourcelines(function)
    number = first + next(i for i, line in enumerate(lines) if text in line)
    return f"  {__file__}:{number} in {function.__name__}"


def call_of(app: ASGIApp, scope: Scope | None = None) -> Call:
    """Return a call of the app, not yet begun."""
    wire = Wire()
    return Call(app, scope or {}, wire.receive, wire.send)


def app_that(does: Callable[[], Awaitable[object]]) -> ASGIApp:
    """Return an app that does so, whatever it is called for."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await does()

    return app


class TestErrors:
    """What the app failed with, reported or raised."""

    async def test_none(self) -> None:
        """An app that returns has failed with nothing."""
        call = call_of(app_that(trio.lowlevel.checkpoint))
        await call.run()

        assert [] == call.errors
        assert call.ended.is_set()

    async def test_raised(self) -> None:
        """What the app raises is kept, and does not touch the others."""

        async def fail() -> None:
            raise KeyError("mine")

        call = call_of(app_that(fail))
        await call.run()

        assert [KeyError] == [type(error) for error in call.errors]
        assert call.ended.is_set()

    async def test_raised_in_a_group(self) -> None:
        """Of a group every leaf is kept."""

        async def fail() -> None:
            raise ExceptionGroup("g", [KeyError(), ExceptionGroup("h", [OSError(), ValueError()])])

        call = call_of(app_that(fail))
        await call.run()

        assert [KeyError, OSError, ValueError] == [type(error) for error in call.errors]

    async def test_reported(self) -> None:
        """What the app has logged, and not raised, it hands over by a scope extension."""

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            assert ["other", "triows.errors"] == list(scope["extensions"])
            scope["extensions"]["triows.errors"](OSError("reported"))
            raise ValueError("raised")

        scope: Scope = {"extensions": {"other": {}}}
        call = call_of(app, scope)
        await call.run()

        assert [OSError, ValueError] == [type(error) for error in call.errors]
        assert {"extensions": {"other": {}}} == scope

    async def test_exits_go_on_up(self) -> None:
        """Cancellation from outside and exits are nothing to be kept."""

        async def leave() -> None:
            raise BaseExceptionGroup("g", [SystemExit(3), ValueError("kept")])

        call = call_of(app_that(leave))
        with pytest.RaisesGroup(SystemExit):
            await call.run()
        assert ["kept"] == [str(error) for error in call.errors]
        assert call.ended.is_set()

    async def test_cancelled_from_outside(self, autojump_clock: MockClock) -> None:
        """A call whose task is cancelled has ended, and has not failed."""
        call = call_of(app_that(trio.sleep_forever))
        with trio.move_on_after(1) as scope:
            await call.run()

        assert scope.cancelled_caught
        assert call.ended.is_set()
        assert [] == call.errors


class TestEnd:
    """A call can be cancelled, and waited for."""

    async def test_cancel(self, autojump_clock: MockClock) -> None:
        """A cancelled app ends; that it was cancelled is no failure, and it is told why."""
        reasons: list[str] = []

        async def app() -> None:
            try:
                await trio.sleep_forever()
            except trio.Cancelled as exc:
                reasons.append(str(exc))
                raise

        call = call_of(app_that(app))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(call.run)
            await wait_all_tasks_blocked()
            call.cancel("server shutting down")

        assert [] == call.errors
        assert "server shutting down" in reasons[0]

    async def test_cancelled_before_it_began(self) -> None:
        """A call cancelled before its task runs is cancelled at its first checkpoint."""
        call = call_of(app_that(trio.sleep_forever))
        call.cancel("too early")
        await call.run()

        assert call.ended.is_set()

    async def test_wait_ended(self, autojump_clock: MockClock) -> None:
        """The end is waited for as long as was said."""

        async def app() -> None:
            await trio.sleep(5)

        call = call_of(app_that(app))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(call.run)
            await call.wait_ended(6)
            assert 5 == trio.current_time()
            await call.wait_ended(6)

    async def test_that_does_not_end(self, autojump_clock: MockClock) -> None:
        """An app that goes on is cancelled, and the error says where it was."""

        async def app() -> None:
            await trio.sleep_forever()

        call = call_of(app_that(app))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(call.run)
            with pytest.raises(trio.TooSlowError) as caught:
                await call.wait_ended(6)
        here = line_of(app, "sleep_forever")
        assert f"the app did not end within 6 s; the app waits at:\n{here}" == str(caught.value)


class TestWhereabouts:
    """Where an app waits is told by file, line and function of its own code."""

    async def test_before_and_after(self) -> None:
        """An app that has not begun, or has ended, waits nowhere."""
        call = call_of(app_that(trio.lowlevel.checkpoint))
        assert "the app has returned" == call.whereabouts()
        await call.run()
        assert "the app has returned" == call.whereabouts()

    async def test_innermost_line_of_the_app(self, autojump_clock: MockClock) -> None:
        """It is the app's last line on the way to the wait, not Trio's below it."""

        async def ask_the_database() -> None:
            await trio.sleep(60)

        async def handler() -> None:
            await ask_the_database()

        call = call_of(app_that(handler))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(call.run)
            await wait_all_tasks_blocked()
            here = line_of(ask_the_database, "sleep")
            assert f"the app waits at:\n{here}" == call.whereabouts()
            call.cancel("seen")

    async def test_every_task(self, autojump_clock: MockClock) -> None:
        """Tasks that the app has started are told too, and theirs."""

        async def grandchild() -> None:
            await trio.sleep_forever()

        async def child() -> None:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(grandchild)

        async def handler() -> None:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(child)
                await trio.sleep_forever()

        call = call_of(app_that(handler))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(call.run)
            await wait_all_tasks_blocked()
            lines = call.whereabouts().splitlines()
            assert line_of(handler, "sleep_forever") in lines
            assert line_of(grandchild, "sleep_forever") in lines
            call.cancel("seen")

    async def test_in_an_async_generator(self, autojump_clock: MockClock) -> None:
        """A wait inside an async generator of the app is found."""

        async def ticks() -> AsyncGenerator[int]:
            await trio.sleep(60)
            yield 1

        async def handler() -> None:
            async for _ in ticks():
                pass

        call = call_of(app_that(handler))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(call.run)
            await wait_all_tasks_blocked()
            assert line_of(ticks, "sleep") in call.whereabouts()
            call.cancel("seen")

    async def test_below_a_framework(self, autojump_clock: MockClock) -> None:
        """Of a Starlette app it is the endpoint's line, not one of Starlette's."""

        async def endpoint(websocket: WebSocket) -> None:
            await websocket.accept()
            await websocket.receive_text()

        app = Starlette(routes=[WebSocketRoute("/", endpoint)])
        scope = {"type": "websocket", "path": "/", "headers": [], "query_string": b""}
        wire = Wire()
        call = Call(app, scope, wire.receive, wire.send)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(call.run)
            await wait_all_tasks_blocked()
            here = line_of(endpoint, "receive_text")
            assert f"the app waits at:\n{here}" == call.whereabouts()
            call.cancel("seen")

    async def test_in_no_line_of_the_app(self, autojump_clock: MockClock) -> None:
        """An app that waits in its framework only is idle."""
        call = call_of(lambda *_: trio.sleep_forever())
        async with trio.open_nursery() as nursery:
            nursery.start_soon(call.run)
            await wait_all_tasks_blocked()
            assert "the app is idle" == call.whereabouts()
            call.cancel("seen")
