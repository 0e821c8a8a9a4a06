"""triows inside Starlette, and Starlette inside triows."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.websockets import WebSocket

from triows import App, Reject, websocket

logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")

# Two triows apps: one needs its lifespan, one has none.

chat = App("chat")
plain = App("plain")


@chat.lifespan
async def open_pool() -> AsyncIterator[dict[str, str]]:
    yield {"pool": "the pool"}


@chat.websocket("/asks/<int:number>")
async def asks(number: int) -> None:
    await websocket.send(f"{websocket.state.pool} {number} {websocket.path}")


@chat.websocket()
async def waits() -> None:
    async for _ in websocket:
        pass


@plain.websocket()
async def echo() -> None:
    async for message in websocket:
        await websocket.send(message)


@plain.websocket()
async def rejects() -> None:
    raise Reject(401, "who?")


# Inside Starlette

routes = [Mount("/chat", app=chat), Mount("/plain", app=plain)]


@asynccontextmanager
async def run_chat(_: Starlette) -> AsyncIterator[None]:
    async with chat.running():
        yield


without_running = Starlette(routes=routes)
with_running = Starlette(routes=routes, lifespan=run_chat)


# Around Starlette


async def hello(request: Request) -> PlainTextResponse:
    return PlainTextResponse(f"hello {request.path_params['name']}, from {request.url.path}")


async def shout(socket: WebSocket) -> None:
    await socket.accept()
    async for text in socket.iter_text():
        await socket.send_text(text.upper())


site = Starlette(routes=[Route("/hello/{name}", hello), WebSocketRoute("/shout", shout)])

around = App("around")
around.mount("/site", site)
around.mount("/static", StaticFiles(directory=Path(__file__).parent / "static"))


@around.websocket("/site/ours")
async def ours() -> None:
    await websocket.send("ours")
