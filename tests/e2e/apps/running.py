"""Small apps for the command `triows run`."""

import os
from collections.abc import AsyncIterator
from typing import Any

import trio
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket

from triows import App, Limits, websocket

app = App(__name__)

rooms = App(__name__)
rooms.channels.configure("room:*")


@app.websocket()
async def echo() -> None:
    async for message in websocket:
        await websocket.send(message)


@app.websocket()
async def pid() -> None:
    await websocket.send(str(os.getpid()))
    async for message in websocket:
        await websocket.send(message)


@app.websocket(limits=Limits(disconnect_grace=50))
async def slow() -> None:
    await websocket.accept()
    await trio.sleep_forever()


without_pool = App("without_pool")


@without_pool.lifespan
async def open_pool() -> AsyncIterator[None]:
    await _fail("no pool")
    yield


with_task = App("with_task")


@with_task.websocket()
async def fail() -> None:
    await websocket.accept()
    with_task.start_soon(_fail, "a task broke")
    await trio.sleep_forever()


async def _fail(what: str) -> None:
    raise RuntimeError(what)


async def _page(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.send_text(await websocket.receive_text())


page = Starlette(routes=[WebSocketRoute("/echo", _page)])


async def not_an_app(_: Any) -> None: ...
