"""An app of ours behind middleware that looks at the events, all of them or those of one way."""

import logging
from collections import Counter

import trio
from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.middleware import Middleware
from starlette.routing import Mount
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from triows import App, ConnectionClosed, websocket

logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")

log = logging.getLogger("app")
inner = App("inner")


@inner.websocket()
async def echo() -> None:
    try:
        while True:
            await websocket.send(await websocket.receive())
    except ConnectionClosed as exc:
        log.info("the handler was told %s", exc.info)
        raise


@inner.websocket()
async def talks() -> None:
    try:
        while True:
            await websocket.send("news")
            await trio.sleep(0.01)
    except ConnectionClosed as exc:
        left = [message async for message in websocket]
        log.info("the handler was told %s, and was left %s", exc.info, left)
        raise


@inner.websocket()
async def rejects() -> None:
    await websocket.reject(401, "who?")


class Receiving:
    """Counts what comes."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Call the app, with a `receive` that looks."""
        if scope["type"] != "websocket":
            await self._app(scope, receive, send)
            return
        seen: Counter[str] = Counter()

        async def look() -> Message:
            event = await receive()
            seen[event["type"]] += 1
            if event["type"] == "websocket.disconnect":
                log.info("middleware was told %s %r", event["code"], event["reason"])
            return event

        await self._app(scope, look, send)
        log.info("middleware has seen come: %s", dict(seen))


class Sending:
    """Counts what goes, and adds a header to the answer of a handshake."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Call the app, with a `send` that looks."""
        if scope["type"] != "websocket":
            await self._app(scope, receive, send)
            return
        seen: Counter[str] = Counter()

        async def look(event: Message) -> None:
            seen[event["type"]] += 1
            if event["type"] in ("websocket.accept", "websocket.http.response.start"):
                MutableHeaders(scope=event)["x-middleware"] = "was here"
            await send(event)

        await self._app(scope, receive, look)
        log.info("middleware has seen go: %s", dict(seen))


both = Sending(Receiving(inner))
receiving = Receiving(inner)
sending = Sending(inner)
starlette = Starlette(
    routes=[Mount("/", app=inner)], middleware=[Middleware(Sending), Middleware(Receiving)]
)
