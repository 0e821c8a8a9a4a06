"""Connections that are there when the server is told to end."""

import logging
from collections.abc import AsyncIterator

import trio

from triows import App, Limits, websocket

logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")

app = App(__name__, limits=Limits(send_timeout=2, close_timeout=1))
log = logging.getLogger("app")


@app.lifespan
async def open_pool() -> AsyncIterator[dict[str, str]]:
    yield {"pool": "the pool"}
    log.info("the pool is closed")


@app.websocket()
async def echo() -> None:
    try:
        async for message in websocket:
            await websocket.send(message)
    finally:
        log.info("an echo ended while %s was open", websocket.state["pool"])


@app.websocket()
async def waits() -> None:
    await websocket.accept()
    await trio.sleep_forever()


@app.websocket()
async def pushes() -> None:
    while True:
        await websocket.send("tick")
        await trio.sleep(0.01)


@app.websocket()
async def floods() -> None:
    while True:
        await websocket.send(bytes(100_000))


@app.websocket()
async def says_goodbye() -> None:
    await websocket.accept()
    try:
        await trio.sleep_forever()
    finally:
        with trio.move_on_after(1, shield=True):
            await websocket.send("goodbye")


@app.websocket()
async def fails_when_cancelled() -> None:
    await websocket.accept()
    try:
        await trio.sleep_forever()
    finally:
        raise RuntimeError(f"{websocket.name} is broken")
