"""Handlers for our own server: what they see of the end, and peers that are slow or dead."""

import logging
from collections.abc import AsyncIterator
from typing import Any

import trio
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import Mount, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from triows import App, Limits, websocket

log = logging.getLogger("triows.error")

app = App(__name__)


@app.lifespan
async def lifespan() -> AsyncIterator[None]:
    yield
    log.info("the lifespan has ended")


@app.websocket()
async def echo() -> None:
    async for message in websocket:
        await websocket.send(message)


@app.websocket()
async def tells() -> None:
    await websocket.accept()
    async for _ in websocket:
        pass
    closed = websocket.closed
    assert closed is not None
    log.info("ended: %d %r by peer: %s clean: %s", *_parts(closed))


def _parts(closed: Any) -> tuple[object, ...]:
    return closed.code, closed.reason, closed.by_peer, closed.clean


@app.websocket(limits=Limits(ping_interval=0.5, ping_timeout=0.5))
async def minds_the_dead() -> None:
    await websocket.accept()
    await trio.sleep_forever()


@app.websocket()
async def is_patient() -> None:
    await websocket.accept()
    while True:
        began = trio.current_time()
        with trio.move_on_after(1) as scope:
            await websocket.send(bytes(1_000_000))
        if scope.cancelled_caught:
            log.info("gave up after %.1f s", trio.current_time() - began)
            await trio.sleep_forever()


@app.websocket()
async def works() -> None:
    await websocket.accept()
    async for _ in websocket:
        pass
    await trio.sleep(0.5)
    log.info("work is done")


class Counting:
    """Middleware that adds a header to every accept, and counts the messages."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self._messages = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Wrap both ways."""

        async def receive_counted() -> Any:
            event = await receive()
            self._messages += event["type"] == "websocket.receive"
            if event["type"] == "websocket.disconnect":
                reason = event.get("reason")
                log.info("after %d messages: %d %r", self._messages, event["code"], reason)
            return event

        async def send_with_header(event: Any) -> None:
            if event["type"] == "websocket.accept":
                event = {**event, "headers": [*event.get("headers", []), (b"x-counted", b"yes")]}
            await send(event)

        await self._inner(scope, receive_counted, send_with_header)


wrapped = Starlette(
    routes=[Mount("/", app)], middleware=[Middleware(Counting)], lifespan=lambda _: app.running()
)


async def _page(websocket: WebSocket) -> None:
    await websocket.accept()
    try:
        while True:
            await websocket.send_text(await websocket.receive_text())
    except WebSocketDisconnect as exc:
        log.info("Starlette was told: %d %r", exc.code, exc.reason)


starlette = Starlette(routes=[WebSocketRoute("/echo", _page)])
