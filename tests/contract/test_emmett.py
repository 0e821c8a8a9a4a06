"""What people who come from Emmett stumbled over there, and what triows does instead.

The details are tested where they belong; here each fault has one test that says its name.
"""

from typing import Any

import pytest
import trio
import trio.testing

from tests.support import BareServer
from triows import App, HandshakeRejected, Pipe, Reject, testing, url, websocket


class Logging(Pipe):
    """A pipe that tells what is called of it."""

    def __init__(self, log: list[str], name: str = "pipe") -> None:
        self._log = log
        self._name = name

    def open(self) -> None:
        """Log it."""
        self._log.append(f"{self._name}.open")

    def close(self) -> None:
        """Log it."""
        self._log.append(f"{self._name}.close")

    def on_pipe_success(self) -> None:
        """Log it."""
        self._log.append(f"{self._name}.success")

    def on_pipe_failure(self) -> None:
        """Log it."""
        self._log.append(f"{self._name}.failure")


@pytest.mark.parametrize("scheme", ["ws", "wss"])
async def test_scheme(autojump_clock: trio.testing.MockClock, scheme: str) -> None:
    """`websocket.scheme` is ws or wss, never http."""
    app = App(__name__)

    @app.websocket("/")
    async def handler() -> None:
        await websocket.send(websocket.scheme)

    server = BareServer("websocket.connect", answers=True)
    await server.serve(app, scheme=scheme)

    assert [scheme] == [event["text"] for event in server.sent if "text" in event]


async def test_schemes_of_a_route(autojump_clock: trio.testing.MockClock) -> None:
    """`schemes="wss"` lets wss in, and nothing else."""
    app = App(__name__)

    @app.websocket("/", schemes="wss")
    async def handler() -> None:
        await websocket.accept()

    accepted = []
    for scheme in ("ws", "wss"):
        server = BareServer("websocket.connect", answers=True)
        await server.serve(app, scheme=scheme)
        accepted.append("websocket.accept" in server.sent_types)

    assert [False, True] == accepted


async def test_a_pipe_that_does_not_open(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """The pipes that are open by then are closed."""
    log: list[str] = []

    class Failing(Pipe):
        def open(self) -> None:
            raise OSError("no database")

    app = App(__name__)
    app.pipeline = [Logging(log, "outer"), Failing(), Logging(log, "inner")]

    @app.websocket("/")
    async def handler() -> None:
        log.append("handler")

    with pytest.raises(OSError, match="no database"):
        async with testing.client(app) as client, client.websocket("/"):
            pass

    assert ["outer.open", "outer.close"] == log


async def test_hooks_run_on_disconnect(autojump_clock: trio.testing.MockClock) -> None:
    """A client that leaves ends the pipes as well."""
    log: list[str] = []
    app = App(__name__)

    @app.websocket("/", pipeline=[Logging(log)])
    async def handler() -> None:
        while True:
            await websocket.receive()

    async with testing.client(app) as client, client.websocket("/") as peer:
        await peer.send("hello")
        peer.drop()

    assert ["pipe.open", "pipe.success", "pipe.close"] == log


async def test_pipelines_set_after_routes(autojump_clock: trio.testing.MockClock) -> None:
    """`app.pipeline` holds for every route, whenever it was declared."""
    log: list[str] = []
    app = App(__name__)

    @app.websocket("/")
    async def handler() -> None:
        await websocket.accept()

    app.pipeline = [Logging(log)]
    async with testing.client(app) as client, client.websocket("/") as peer:
        await peer.wait_closed()

    assert ["pipe.open", "pipe.success", "pipe.close"] == log


async def test_injected_arguments(autojump_clock: trio.testing.MockClock) -> None:
    """What a pipe gives reaches handlers that name it, and does not break the others."""

    class Giving(Pipe):
        async def pipe(self, next_pipe: Any, **kwargs: Any) -> None:
            await next_pipe(user="joe", **kwargs)

    app = App(__name__)
    app.pipeline = [Giving()]

    @app.websocket()
    async def with_it(user: str) -> None:
        await websocket.send(user)

    @app.websocket()
    async def without_it() -> None:
        await websocket.send("nobody")

    heard = []
    async with testing.client(app) as client:
        for path in ("/with_it", "/without_it"):
            async with client.websocket(path) as peer:
                heard.append(await peer.receive())

    assert ["joe", "nobody"] == heard


async def test_urls_of_routes_with_names_of_their_own(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """`url.ws` finds a custom name, and works inside of handlers."""
    app = App(__name__)

    @app.websocket("/room/<int:number>", name="custom")
    async def handler(number: int) -> None:
        await websocket.send(url.ws("custom", number + 1))

    async with testing.client(app) as client, client.websocket("/room/7") as peer:
        assert "/room/8" == await peer.receive()


async def test_a_rejection_is_an_answer(autojump_clock: trio.testing.MockClock) -> None:
    """It has the body and the headers that it was given."""
    app = App(__name__)

    @app.websocket("/")
    async def handler() -> None:
        raise Reject(401, "who?", headers={"WWW-Authenticate": "Bearer"})

    async with testing.client(app) as client:
        with pytest.raises(HandshakeRejected) as rejection:
            async with client.websocket("/"):
                pass

    assert (401, b"who?") == (rejection.value.status, rejection.value.body)
    assert "Bearer" == dict(rejection.value.headers)["www-authenticate"]


async def test_returning_without_accept(autojump_clock: trio.testing.MockClock) -> None:
    """The client is told so, with 403, and not left to wait."""
    app = App(__name__)

    @app.websocket("/")
    async def handler() -> None:
        """Do nothing."""

    async with testing.client(app) as client:
        with pytest.raises(HandshakeRejected) as rejection:
            async with client.websocket("/"):
                pass

    assert 403 == rejection.value.status
