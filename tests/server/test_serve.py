"""`triows.serve`: an app, on sockets, from its lifespan's start to its end."""

import logging
import socket
from collections.abc import AsyncGenerator
from functools import partial
from pathlib import Path

import pytest
import trio
import trio.testing
from hypercorn.config import Config, Sockets

from tests.server.serving import each_way, serving
from tests.support import lines, tracebacks
from triows import App, AppFailed, Drain, Limits, serve, websocket
from triows._types import Receive, Scope, Send


def waiting_app(log: list[str] | None = None) -> App:
    """Return an app whose handlers read until the end, and note it."""
    app = App(__name__)
    noted = [] if log is None else log

    @app.lifespan
    async def lifespan() -> AsyncGenerator[None]:
        noted.append("started")
        yield
        noted.append("stopped")

    @app.websocket("/")
    async def read() -> None:
        await websocket.accept()
        try:
            async for _ in websocket:
                pass
        finally:
            noted.append("handler ended")

    return app


class TestStart:
    """Where it listens."""

    async def test_where_it_listens(self, loopback_clock: trio.testing.MockClock) -> None:
        """`nursery.start` returns the addresses, of several binds too, with real ports."""
        app = waiting_app()
        async with trio.open_nursery() as nursery:
            bind = ["127.0.0.1:0", "[::1]:0"]
            addresses = await nursery.start(partial(serve, app, bind=bind))
            nursery.cancel_scope.cancel()

        assert ["http://127.0.0.1", "http://[::1]"] == [a.rpartition(":")[0] for a in addresses]
        assert not any(a.endswith(":0") for a in addresses)

    async def test_the_binds_of_a_config(self, loopback_clock: trio.testing.MockClock) -> None:
        """Without `bind` it is the config that says where, and it is not changed."""
        config = Config.from_mapping(bind="127.0.0.1:0", alpn_protocols=["h2"])
        before = vars(config).copy()

        async with serving(waiting_app(), config=config, bind=None) as running:
            assert running.port > 0

        assert before == vars(config)

    # hypercorn leaves the socket that it could not bind to the garbage collector.
    @pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
    async def test_a_port_in_use(self, loopback_clock: trio.testing.MockClock) -> None:
        """That is found before the app starts."""
        log: list[str] = []
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            with pytest.raises(OSError, match="in use"):
                await serve(waiting_app(log), bind=f"127.0.0.1:{taken.getsockname()[1]}")

        assert [] == log

    async def test_secure_sockets_without_a_certificate(self) -> None:
        """They cannot be served."""
        sockets = Sockets([socket.socket()], [], [])

        with pytest.raises(ValueError, match="certfile"):
            await serve(waiting_app(), sockets=sockets)

        assert -1 == sockets.secure_sockets[0].fileno()

    async def test_a_certificate_that_is_not_there(self, tmp_path: Path) -> None:
        """The sockets that were to be served are closed all the same."""
        sockets = Sockets([socket.socket()], [], [])
        config = Config()
        config.certfile = config.keyfile = str(tmp_path / "none.pem")

        with pytest.raises(FileNotFoundError):
            await serve(waiting_app(), config, sockets=sockets)

        assert -1 == sockets.secure_sockets[0].fileno()

    async def test_twice(self, loopback_clock: trio.testing.MockClock) -> None:
        """An app can be served again when it has been served."""
        app = waiting_app()
        for _ in range(2):
            async with serving(app) as running, running.connect() as client:
                await client.send("hi")


class TestEnd:
    """How it lets its connections go."""

    @each_way
    async def test_a_drain(
        self,
        way: str,
        loopback_clock: trio.testing.MockClock,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        """Clients see the drain's code and reason, handlers end, and then the lifespan."""
        caplog.set_level(logging.INFO)
        log: list[str] = []
        drain = Drain(code=4001, reason="moving", batch=1, interval=1)
        async with serving(waiting_app(log), way, drain=drain) as running:
            async with running.connect() as first, running.connect() as second:
                running.stop()
                await first.wait_closed()
                await second.wait_closed()
            await running.has_ended.wait()

        assert [(4001, "moving")] * 2 == [(c.close_code, c.close_reason) for c in (first, second)]
        assert ["started", "handler ended", "handler ended", "stopped"] == log
        assert ["server draining: 2 connections"] == lines(caplog, logging.INFO)

    async def test_a_notice(self, loopback_clock: trio.testing.MockClock) -> None:
        """Handlers that look at `draining` may end by themselves before they are closed."""
        app = App(__name__)

        @app.websocket("/")
        async def push() -> None:
            await websocket.accept()
            await websocket.draining
            assert app.draining
            await websocket.send("goodbye")

        async with serving(app, drain=Drain(notice=60)) as running, running.connect() as client:
            running.stop()
            assert "goodbye" == await client.recv()
            await client.wait_closed()
            await running.has_ended.wait()

        assert 1000 == client.close_code
        assert trio.current_time() < 10

    async def test_handlers_that_do_not_end(self, loopback_clock: trio.testing.MockClock) -> None:
        """After `grace` they are cancelled."""
        app = App(__name__, limits=Limits(disconnect_grace=1000, stall_timeout=1000))
        ended: list[float] = []

        @app.websocket("/")
        async def stay() -> None:
            await websocket.accept()
            try:
                await trio.sleep_forever()
            finally:
                ended.append(trio.current_time())

        async with serving(app, drain=Drain(grace=7)) as running, running.connect() as client:
            began = trio.current_time()
            running.stop()
            await client.wait_closed()
            await running.has_ended.wait()

        assert 1001 == client.close_code
        assert 7 <= ended[0] - began < 9

    @each_way
    async def test_cancelled(self, way: str, loopback_clock: trio.testing.MockClock) -> None:
        """It cancels the handlers, whose clients see 1001, and still ends the lifespan."""
        log: list[str] = []
        async with serving(waiting_app(log), way) as running, running.connect() as client:
            running.scope.cancel()
            await client.wait_closed()

        assert 1001 == client.close_code
        assert ["started", "handler ended", "stopped"] == log

    async def test_a_trigger_that_fails(self, loopback_clock: trio.testing.MockClock) -> None:
        """What it raises comes out as it is, and the app is shut down."""
        log: list[str] = []

        async def fail() -> None:
            raise LookupError("no such thing")

        with pytest.raises(LookupError):
            await serve(waiting_app(log), bind="127.0.0.1:0", shutdown_trigger=fail)

        assert ["started", "stopped"] == log

    async def test_without_a_trigger(self, loopback_clock: trio.testing.MockClock) -> None:
        """It serves until it is cancelled."""
        log: list[str] = []
        async with trio.open_nursery() as nursery:
            await nursery.start(partial(serve, waiting_app(log), bind="127.0.0.1:0"))
            await trio.sleep(1000)
            assert ["started"] == log
            nursery.cancel_scope.cancel()

        assert ["started", "stopped"] == log


class TestFailures:
    """What an app does to its server."""

    async def test_an_app_that_cannot_start(self, caplog: pytest.LogCaptureFixture) -> None:
        """`AppFailed`, from what it raised, which is in the log."""
        app = App(__name__)

        @app.lifespan
        async def lifespan() -> AsyncGenerator[None]:
            raise LookupError("no pool")
            yield

        with pytest.raises(AppFailed) as caught:
            await serve(app, bind="127.0.0.1:0")

        assert isinstance(caught.value.__cause__, LookupError)
        assert ["LookupError"] == tracebacks(caplog)

    @each_way
    async def test_a_task_that_fails(
        self,
        way: str,
        loopback_clock: trio.testing.MockClock,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        """Clients see 1011, and the server ends with `AppFailed`, from what the task raised."""
        app = App(__name__)

        async def fail() -> None:
            raise LookupError("no such thing")

        @app.websocket("/")
        async def break_it() -> None:
            await websocket.accept()
            app.start_soon(fail)
            await trio.sleep_forever()

        with pytest.RaisesGroup(AppFailed, flatten_subgroups=True) as caught:
            async with serving(app, way) as running, running.connect() as client:
                await client.wait_closed()

        assert 1011 == client.close_code
        assert isinstance(caught.value.exceptions[0].__cause__, LookupError)
        assert ["LookupError"] == tracebacks(caplog)

    async def test_an_app_that_fails_while_its_server_drains(
        self, loopback_clock: trio.testing.MockClock
    ) -> None:
        """Its clients see 1011 at once, whatever notice they would have had."""
        failed = trio.Event()

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await receive()
            if scope["type"] == "lifespan":
                await send({"type": "lifespan.startup.complete"})
                await failed.wait()
                await send({"type": "lifespan.shutdown.failed", "message": "no such thing"})
            else:
                await send({"type": "websocket.accept"})
                await receive()

        with pytest.RaisesGroup(AppFailed, flatten_subgroups=True):
            async with serving(app, drain=Drain(notice=1000)) as running, running.connect() as peer:
                running.stop()
                await trio.sleep(1)
                failed.set()
                await peer.wait_closed()

        assert 1011 == peer.close_code
        assert trio.current_time() < 10
