"""The same few handlers on every library for WebSockets on Trio, as their documentation has it."""

import math
from collections import defaultdict
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Any, TypeAlias

import hypercorn.trio
import quart
import trio
import trio_websocket
import websockets.trio.server
from hypercorn.config import Config
from quart_trio import QuartTrio
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute

import triows
from triows._types import ASGIApp

Handler: TypeAlias = Callable[["Peer"], Awaitable[None]]
Started: TypeAlias = trio.TaskStatus[int]
Serve: TypeAlias = Callable[["House", Any], Awaitable[None]]


class Peer:
    """A client, as handlers of every library see one: it is accepted already."""

    def __init__(
        self, receive: Callable[[], Awaitable[Any]], send: Callable[[str], Awaitable[None]]
    ) -> None:
        self.receive = receive
        self.send = send


class Ending:
    """The end of a handler, which may be still to come.

    Attributes:
        at: When it was.
        by: What the handler has raised.
    """

    def __init__(self) -> None:
        self.at = math.inf
        self.by: BaseException | None = None
        self._come = trio.Event()

    def __enter__(self) -> None:
        pass

    def __exit__(self, _: object, exc: BaseException | None, __: object) -> None:
        self.at, self.by = trio.current_time(), exc
        self._come.set()

    async def seconds_to_come(self, limit: float) -> float:
        """Wait for it; return how long it took, or infinity if that is too long."""
        now = trio.current_time()
        with trio.move_on_after(limit):
            await self._come.wait()
        return max(self.at - now, 0)


class House:
    """What is served, and what becomes of it.

    Attributes:
        stop: Set when the server is asked to end.
        is_over: Set when it has ended, for whatever reason.
        endings: Those of the handlers, by name.
        heard: What they have received.
    """

    def __init__(self) -> None:
        self.stop = trio.Event()
        self.is_over = trio.Event()
        self.endings: defaultdict[str, Ending] = defaultdict(Ending)
        self.heard: list[str] = []

    async def serve(  # noqa: ASYNC128  # what serves it does
        self, serve: "Serve", *, task_status: trio.TaskStatus[int]
    ) -> None:
        """Have it served by a library, until that ends or breaks down."""
        try:
            await serve(self, task_status)
        except* Exception:
            assert not self.stop.is_set(), "it can be ended"
        finally:
            self.is_over.set()

    async def run(self, path: str, peer: Peer) -> None:
        """Run the handler of a path."""
        name = path.strip("/")
        with self.endings[name]:
            await getattr(self, name)(peer)

    # The handlers

    async def echoes(self, peer: Peer) -> None:
        """Say what comes."""
        while True:
            await peer.send(await peer.receive())

    async def fails(self, peer: Peer) -> None:
        """Have a bug."""
        raise ValueError("a bug")

    async def waits(self, peer: Peer) -> None:
        """Wait for something that never comes."""
        await trio.sleep_forever()

    async def pushes(self, peer: Peer) -> None:
        """Say something every second."""
        while True:
            await peer.send("tick")
            await trio.sleep(1)

    async def floods(self, peer: Peer) -> None:
        """Say more than anybody takes."""
        while True:
            await peer.send("x" * 100_000)
            await trio.lowlevel.checkpoint()  # hypercorn's may be none

    async def is_busy(self, peer: Peer) -> None:
        """Listen later."""
        await trio.sleep(1)
        while True:
            self.heard.append(await peer.receive())


async def on_triows(house: House, task_status: Started) -> None:
    """A triows app on triows' own server."""
    app = triows.App(__name__)

    @app.websocket("/<str:name>")
    async def handler(name: str) -> None:
        await triows.websocket.accept()
        await house.run(name, Peer(triows.websocket.receive_text, triows.websocket.send))

    async with trio.open_nursery() as nursery:
        serve = partial(triows.serve, app, bind="127.0.0.1:0", shutdown_trigger=house.stop.wait)
        (address,) = await nursery.start(serve)
        task_status.started(int(address.rpartition(":")[2]))


async def _on_hypercorn(app: ASGIApp, house: House, task_status: Started) -> None:
    config = Config()
    config.bind = ["127.0.0.1:0"]
    config.errorlog = None
    async with trio.open_nursery() as nursery:
        serve = partial(
            hypercorn.trio.serve,
            app,  # type: ignore[arg-type]
            config,
            shutdown_trigger=house.stop.wait,
        )
        (address,) = await nursery.start(serve)
        task_status.started(int(address.rpartition(":")[2]))


async def on_quart_trio(house: House, task_status: Started) -> None:  # noqa: ASYNC128  # hypercorn's `serve` does
    """A Quart-Trio app on hypercorn."""
    app = QuartTrio(__name__)

    @app.websocket("/<name>")
    async def handler(name: str) -> None:
        await quart.websocket.accept()
        await house.run(name, Peer(quart.websocket.receive, quart.websocket.send))

    await _on_hypercorn(app, house, task_status)  # type: ignore[arg-type]


async def on_starlette(house: House, task_status: Started) -> None:  # noqa: ASYNC128  # hypercorn's `serve` does
    """A Starlette app on hypercorn's trio worker."""

    async def handler(websocket: Any) -> None:
        await websocket.accept()
        peer = Peer(websocket.receive_text, websocket.send_text)
        await house.run(websocket.path_params["name"], peer)

    app = Starlette(routes=[WebSocketRoute("/{name}", handler)])
    await _on_hypercorn(app, house, task_status)


async def on_trio_websocket(house: House, task_status: Started) -> None:
    """trio-websocket's own server, which is ended by cancelling it."""

    async def handler(request: trio_websocket.WebSocketRequest) -> None:
        websocket = await request.accept()
        # It would end the server.
        with suppress(trio_websocket.ConnectionClosed):
            await house.run(request.path, Peer(websocket.get_message, websocket.send_message))

    async with trio.open_nursery() as nursery:
        serve = partial(trio_websocket.serve_websocket, handler, "127.0.0.1", 0, None)
        server = await nursery.start(serve)
        task_status.started(server.port)
        await house.stop.wait()
        nursery.cancel_scope.cancel()


async def on_websockets(house: House, task_status: Started) -> None:
    """The server for Trio of `websockets`."""

    async def handler(websocket: websockets.trio.server.ServerConnection) -> None:
        assert websocket.request is not None
        await house.run(websocket.request.path, Peer(websocket.recv, websocket.send))

    async with trio.open_nursery() as nursery:
        serve = partial(websockets.trio.server.serve, handler, 0, host="127.0.0.1")
        server = await nursery.start(serve)
        task_status.started(server.listeners[0].socket.getsockname()[1])
        await house.stop.wait()
        await server.aclose()


FIELD: dict[str, Serve] = {
    "triows": on_triows,
    "Quart-Trio": on_quart_trio,
    "Starlette": on_starlette,
    "trio-websocket": on_trio_websocket,
    "websockets.trio": on_websockets,
}
