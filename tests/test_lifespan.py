"""The life of an app: its lifespan, its tasks, its live connections."""

import logging
import sys
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from types import ModuleType
from typing import Any

import pytest
import trio
import trio.testing

from tests.support import BareServer, lines, tracebacks
from triows import (
    App,
    HandshakeRejected,
    Limits,
    NotRunning,
    OutsideConnection,
    RouteError,
    StateError,
    testing,
    websocket,
)
from triows._guard import WORKER
from triows._types import ASGIApp, Event, Receive, Scope, Send


def without_lifespan(app: App) -> ASGIApp:
    """Return the app as an outer app would mount it: only its connections are passed on."""

    async def mounted(scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["type"] != "lifespan", "the outer app has a lifespan of its own"
        await app(scope, receive, send)

    return mounted


class TestLifespan:
    """`@app.lifespan`: what runs around the app."""

    async def test_an_async_generator(self, autojump_clock: trio.testing.MockClock) -> None:
        """What it yields is the state of connections; what follows runs when all have ended."""
        events: list[object] = []
        app = App(__name__)

        @app.lifespan
        async def lifespan() -> AsyncIterator[dict[str, object]]:
            events.append("up")
            yield {"pool": "pool"}
            events.append("down")

        @app.websocket("/")
        async def handler() -> None:
            await websocket.accept()
            try:
                await trio.sleep_forever()
            finally:
                events.append(websocket.state.pool)

        async with testing.client(app) as client, client.websocket("/"):
            await client.drain()

        assert ["up", "pool", "down"] == events

    async def test_an_async_context_manager(self, autojump_clock: trio.testing.MockClock) -> None:
        """A function that makes one does as well; it need not yield anything."""
        events: list[str] = []
        app = App(__name__)

        @app.lifespan
        @asynccontextmanager
        async def lifespan() -> AsyncGenerator[None]:
            events.append("up")
            yield
            events.append("down")

        async with testing.client(app):
            events.append("running")

        assert ["up", "running", "down"] == events

    def test_a_plain_async_function(self) -> None:
        """What cannot be a context manager is refused at once, where that can be seen."""
        app = App(__name__)

        async def lifespan() -> None:
            """Do nothing, and forget to yield."""

        with pytest.raises(RouteError, match="write it as an async generator"):
            app.lifespan(lifespan)  # type: ignore[arg-type]

    async def test_anything_else(self, autojump_clock: trio.testing.MockClock) -> None:
        """A function that makes no context manager is told so when the app starts."""
        app = App(__name__)
        app.lifespan(lambda: 7)  # type: ignore[arg-type]

        with pytest.raises(TypeError, match="made a int, no async context manager"):
            async with testing.client(app):
                pass

    def test_there_is_one(self) -> None:
        """A second lifespan is refused at registration."""
        app = App(__name__)

        @app.lifespan
        async def lifespan() -> AsyncIterator[None]:
            yield

        with pytest.raises(RouteError, match="has a lifespan already"):
            app.lifespan(lifespan)

    async def test_a_failure_at_startup_is_reported(
        self, autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
    ) -> None:
        """The server is told in the protocol's words, and the log has the traceback once."""
        app = App(__name__)

        @app.lifespan
        async def lifespan() -> AsyncIterator[None]:
            connect_to_nothing()
            yield

        sent = await run_lifespan(app)

        assert [{"type": "lifespan.startup.failed", "message": "ValueError: no database"}] == sent
        assert ["ValueError"] == tracebacks(caplog)
        assert "could not start" in caplog.text

    async def test_a_failure_at_shutdown_is_reported(
        self, autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
    ) -> None:
        """The same holds for what comes after the yield."""
        app = App(__name__)

        @app.lifespan
        async def lifespan() -> AsyncIterator[None]:
            yield
            raise ValueError("not saved")

        sent = await run_lifespan(app, "lifespan.shutdown")

        assert ["lifespan.startup.complete", "lifespan.shutdown.failed"] == [
            event["type"] for event in sent
        ]
        assert ["ValueError"] == tracebacks(caplog)

    async def test_a_server_that_cancels_the_lifespan(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        """Cancellation goes on up, past the developer's lifespan, which can tidy up.

        Nothing has failed: live connections get 1001.
        """
        events: list[str] = []
        app = App(__name__)

        @app.lifespan
        async def lifespan() -> AsyncIterator[None]:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.sleep_forever)
                try:
                    yield
                finally:
                    events.append("down")

        @app.websocket("/")
        async def handler() -> None:
            async for _ in websocket:
                pass

        async def run() -> None:
            with scope:
                await run_lifespan(app)

        scope = trio.CancelScope()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run)
            await trio.testing.wait_all_tasks_blocked()
            async with (
                testing.client(without_lifespan(app)) as client,
                client.websocket("/") as peer,
            ):
                scope.cancel()
                code = (await peer.wait_closed()).code

        assert scope.cancelled_caught
        assert ["down"] == events
        assert 1001 == code

    async def test_an_app_that_wants_no_guard(
        self, autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """`guard_hypercorn=False` leaves a hypercorn in this process alone."""
        worker: Any = ModuleType(WORKER)
        worker.TCPServer = object
        monkeypatch.setitem(sys.modules, WORKER, worker)

        async with App(__name__, guard_hypercorn=False).running():
            assert worker.TCPServer is object
        async with App(__name__).running():
            assert worker.TCPServer is not object

        assert worker.TCPServer is object

    async def test_a_server_without_state(self, autojump_clock: trio.testing.MockClock) -> None:
        """Connections have the lifespan's state even if the server does not carry it."""
        app = App(__name__)

        @app.lifespan
        async def lifespan() -> AsyncIterator[dict[str, str]]:
            yield {"pool": "pool"}

        sent = await run_lifespan(app, "lifespan.shutdown")

        assert "lifespan.shutdown.complete" == sent[-1]["type"]

    async def test_an_app_can_run_again(self, autojump_clock: trio.testing.MockClock) -> None:
        """A second run, as in the next test, starts afresh."""
        app = App(__name__)

        @app.websocket("/")
        async def handler() -> None:
            await websocket.send(str(bool(app.draining)))

        for _ in range(2):
            async with testing.client(app) as client, client.websocket("/") as peer:
                assert "False" == await peer.receive()
            assert app.draining


def connect_to_nothing() -> None:
    """Fail as a database does that is not there."""
    raise ValueError("no database")


async def run_lifespan(app: App, *later: str) -> list[Event]:
    """Start an app as a bare server does, then send these events; return what it said."""
    server = BareServer("lifespan.startup", *later)
    await server.serve(app, type="lifespan")
    return server.sent


class TestAppTasks:
    """`app.start_soon` and `app.nursery`."""

    async def test_they_live_as_long_as_the_app(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        """A task is cancelled when the connections have ended, before the lifespan does."""
        events: list[str] = []
        app = App(__name__)

        async def task(name: str) -> None:
            try:
                await trio.sleep_forever()
            except trio.Cancelled as exc:
                events.append(f"{name}: {exc.reason}")
                raise

        @app.lifespan
        async def lifespan() -> AsyncIterator[None]:
            app.start_soon(task, "early")
            yield
            events.append("down")

        async with testing.client(app):
            app.nursery.start_soon(task, "late")
            await trio.testing.wait_all_tasks_blocked()

        assert ["early: the app is shutting down", "late: the app is shutting down"] == sorted(
            events[:2]
        )
        assert "down" == events[2]

    async def test_an_app_whose_nursery_is_cancelled(
        self, autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
    ) -> None:
        """It cannot go on, and the server is told: better dead than half-dead."""
        app = App(__name__)

        with pytest.raises(StateError, match=r"app\.nursery was cancelled"):
            async with testing.client(app):
                app.nursery.cancel_scope.cancel()
                await trio.sleep(1)

        assert ["StateError"] == tracebacks(caplog)

    async def test_they_are_outside_of_any_connection(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        """A task a handler starts through `app.start_soon` does not inherit its `websocket`."""
        seen: list[str] = []
        app = App(__name__)

        async def task() -> None:
            with pytest.raises(OutsideConnection):
                await websocket.send("to whom?")
            seen.append("outside")

        @app.websocket("/")
        async def handler() -> None:
            app.start_soon(task)
            await websocket.accept()
            await trio.testing.wait_all_tasks_blocked()

        async with testing.client(app) as client, client.websocket("/"):
            pass

        assert ["outside"] == seen

    @pytest.mark.parametrize("whose", ["app", "lifespan"])
    async def test_one_that_fails_ends_the_app(
        self, whose: str, autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Live connections get 1011, new ones 503, and the server is told without asking.

        It makes no difference whether it runs in the app's nursery or in one of the lifespan.
        """
        app = App(__name__)
        sent: list[Event] = []
        fail = trio.Event()

        async def task() -> None:
            await fail.wait()
            raise ValueError("broken")

        @app.lifespan
        async def lifespan() -> AsyncIterator[None]:
            async with trio.open_nursery() as nursery:
                start_soon = app.start_soon if whose == "app" else nursery.start_soon
                start_soon(task)
                yield

        @app.websocket("/")
        async def handler() -> None:
            await websocket.accept()
            try:
                await trio.sleep_forever()
            finally:
                with trio.CancelScope(shield=True):
                    await trio.sleep(1)

        async def run() -> None:
            sent.extend(await run_lifespan(app))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(run)
            await trio.testing.wait_all_tasks_blocked()
            async with (
                testing.client(without_lifespan(app)) as client,
                client.websocket("/") as peer,
            ):
                fail.set()
                await trio.testing.wait_all_tasks_blocked()
                with pytest.raises(HandshakeRejected) as rejection:
                    async with client.websocket("/"):
                        pass
                code = (await peer.wait_closed()).code

        assert 503 == rejection.value.status
        assert 1011 == code
        assert [
            {"type": "lifespan.startup.complete"},
            {"type": "lifespan.shutdown.failed", "message": "ValueError: broken"},
        ] == sent
        assert ["ValueError"] == tracebacks(caplog)

    async def test_one_that_fails_while_nothing_else_runs(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        """If somebody holds the thread up just then, connections still end before what they use."""
        app = App(__name__)
        events: list[str] = []
        fail = trio.Event()

        async def task() -> None:
            await fail.wait()
            raise ValueError("broken")

        @app.lifespan
        async def lifespan() -> AsyncIterator[None]:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(task)
                try:
                    yield
                finally:
                    events.append("the pool is closed")

        @app.websocket("/")
        async def handler() -> None:
            await websocket.accept()
            try:
                await trio.sleep_forever()
            finally:
                events.append("the handler has ended")

        class Holdup(trio.abc.Instrument):
            def task_scheduled(self, task: trio.lowlevel.Task) -> None:
                if task.name.endswith(".look"):
                    autojump_clock.jump(2)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(run_lifespan, app)
            await trio.testing.wait_all_tasks_blocked()
            async with (
                testing.client(without_lifespan(app)) as client,
                client.websocket("/") as peer,
            ):
                trio.lowlevel.add_instrument(Holdup())
                fail.set()
                await peer.wait_closed()

        assert ["the handler has ended", "the pool is closed"] == events

    def test_without_a_running_app(self) -> None:
        """What needs the lifespan says that it is not running, and what to do."""
        app = App(__name__)

        with pytest.raises(NotRunning, match=r"async with app\.running\(\)"):
            app.nursery  # noqa: B018
        with pytest.raises(NotRunning, match=r"async with app\.running\(\)"):
            app.start_soon(trio.sleep_forever)


class TestRunning:
    """`app.running()`: the lifespan of an app that is mounted in another."""

    async def test_it_runs_the_lifespan(self, autojump_clock: trio.testing.MockClock) -> None:
        """Inside the block connections are served, with the lifespan's state."""
        app = App(__name__)

        @app.lifespan
        async def lifespan() -> AsyncIterator[dict[str, str]]:
            yield {"pool": "pool"}

        @app.websocket("/")
        async def handler() -> None:
            await websocket.send(websocket.state.pool)

        async with (
            testing.client(without_lifespan(app)) as client,
            app.running() as state,
            client.websocket("/") as peer,
        ):
            assert {"pool": "pool"} == state
            assert "pool" == await peer.receive()

    async def test_without_it_connections_are_refused(
        self, autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
    ) -> None:
        """A handler must not run without what the lifespan provides: 500, and the log says why."""
        app = App(__name__)

        @app.lifespan
        async def lifespan() -> AsyncIterator[None]:
            yield

        @app.websocket("/")
        async def handler() -> None:
            await websocket.accept()

        async with testing.client(without_lifespan(app)) as client:
            with pytest.raises(NotRunning, match="a connection came in") as failure:
                async with client.websocket("/"):
                    pass

        assert isinstance(failure.value.__cause__, HandshakeRejected)
        assert 500 == failure.value.__cause__.status
        assert ["NotRunning"] == tracebacks(caplog)

    async def test_without_a_lifespan_nothing_is_needed(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        """An app that provides nothing serves connections wherever it is mounted."""
        app = App(__name__)

        @app.websocket("/")
        async def handler() -> None:
            await websocket.send("hello")

        async with (
            testing.client(without_lifespan(app)) as client,
            client.websocket("/") as peer,
        ):
            assert "hello" == await peer.receive()

    async def test_it_runs_once(self, autojump_clock: trio.testing.MockClock) -> None:
        """A second run beside the first is a bug."""
        app = App(__name__)

        async with app.running():
            with pytest.raises(StateError, match="running already"):
                async with app.running():
                    pass

    async def test_a_failing_task_cancels_the_block(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        """What it failed with comes out of the block."""
        app = App(__name__)

        async def task() -> None:
            raise ValueError("broken")

        with pytest.RaisesGroup(ValueError):
            async with app.running():
                app.start_soon(task)
                await trio.sleep_forever()

    async def test_a_failing_block_drains(self, autojump_clock: trio.testing.MockClock) -> None:
        """The outer app's failure is not the inner one's: connections see 1001."""
        app = App(__name__)

        @app.websocket("/")
        async def handler() -> None:
            await websocket.accept()
            await trio.sleep_forever()

        async with (
            testing.client(without_lifespan(app)) as client,
            client.websocket("/") as peer,
        ):
            with trio.CancelScope() as scope:
                async with app.running():
                    scope.cancel()
                    await trio.lowlevel.checkpoint()
            assert 1001 == (await peer.wait_closed()).code

    async def test_connections_have_ten_seconds_to_end(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        """A handler that ignores its cancellation does not hold the app up for ever."""
        app = App(__name__)

        @app.websocket("/")
        async def handler() -> None:
            await websocket.accept()
            with trio.CancelScope(shield=True):
                await trio.sleep(60)

        async with (
            testing.client(without_lifespan(app), timeout=100) as client,
            client.websocket("/"),
        ):
            started = trio.current_time()
            async with app.running():
                pass
            elapsed = trio.current_time() - started

        assert 10 == pytest.approx(elapsed, abs=0.1)


class TestAdmission:
    """Which handshakes are welcome."""

    async def test_max_connections(
        self, autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Beyond the bound a handshake is 503 with Retry-After, until another one has left."""
        app = App(__name__, limits=Limits(max_connections=1))

        @app.websocket("/")
        async def handler() -> None:
            async for message in websocket:
                await websocket.send(message)

        async with testing.client(app) as client:
            async with client.websocket("/") as peer:
                await peer.send("x")
                await peer.receive()
                with pytest.raises(HandshakeRejected) as rejection:
                    async with client.websocket("/"):
                        pass
            async with client.websocket("/"):
                pass

        assert 503 == rejection.value.status
        assert "5" == dict(rejection.value.headers)["retry-after"]
        assert "max_connections=1 reached" in caplog.text

    async def test_max_connections_in_a_burst(self, autojump_clock: trio.testing.MockClock) -> None:
        """Handshakes of the same moment do not get past the bound together."""
        app = App(__name__, limits=Limits(max_connections=2))
        served: list[str] = []

        @app.websocket("/")
        async def handler() -> None:
            await websocket.accept()
            served.append(websocket.id)
            await trio.sleep(1)

        servers = [BareServer("websocket.connect", answers=True) for _ in range(20)]
        async with app.running(), trio.open_nursery() as nursery:
            for server in servers:
                nursery.start_soon(server.serve, app)

        assert 2 == len(served)

    async def test_a_handshake_under_way_when_the_app_ends(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        """It is waited for, and refused: no handler starts on resources that are closed."""
        app = App(__name__)
        log: list[str] = []

        @app.lifespan
        async def lifespan() -> AsyncGenerator[None]:
            yield
            log.append("closed")

        @app.websocket("/")
        async def handler() -> None:
            log.append("handler")

        server = BareServer(answers=True)
        async with trio.open_nursery() as nursery, app.running():
            nursery.start_soon(server.serve, app)
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(server.tell_later, 2, "websocket.connect")

        assert ["closed"] == log
        assert ["websocket.close"] == server.sent_types

    async def test_a_draining_app(self, autojump_clock: trio.testing.MockClock) -> None:
        """While the app is shut down, new handshakes are 503, and whoever waits for it wakes."""
        app = App(__name__)
        woken: list[str] = []

        async def mind_the_drain() -> None:
            await app.draining
            woken.append("app")

        @app.websocket("/")
        async def handler() -> None:
            await websocket.accept()
            try:
                await trio.sleep_forever()
            finally:
                with trio.CancelScope(shield=True):
                    await websocket.draining
                    await trio.sleep(1)

        async def leave(stop: trio.Event) -> None:
            async with app.running():
                app.start_soon(mind_the_drain)
                await stop.wait()

        stop = trio.Event()
        async with (
            testing.client(without_lifespan(app)) as client,
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(leave, stop)
            await trio.testing.wait_all_tasks_blocked()
            async with client.websocket("/"):
                stop.set()
                await trio.testing.wait_all_tasks_blocked()
                with pytest.raises(HandshakeRejected) as rejection:
                    async with client.websocket("/"):
                        pass

        assert 503 == rejection.value.status
        assert ["app"] == woken

    async def test_the_drain_is_one_line(
        self, autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
    ) -> None:
        """It counts the connections that the server cut off; no drain of none is logged."""
        caplog.set_level(logging.INFO)
        app = App(__name__)

        @app.websocket("/")
        async def handler() -> None:
            await websocket.accept()
            await trio.sleep_forever()

        async with testing.client(app) as client, client.websocket("/"), client.websocket("/"):
            await client.drain()
        async with testing.client(app):
            pass
        async with app.running():
            with trio.move_on_after(1):  # the guard, for one connection's failure
                await BareServer("websocket.connect").serve(app)
            await trio.sleep(3600)

        drains = [line for line in lines(caplog, logging.INFO) if "drain" in line]
        assert ["server draining: 2 connections are closed with 1001"] == drains
