"""Handlers that end while their clients leave."""

import logging

from triows import App, websocket

logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")

app = App(__name__)


@app.websocket()
async def returns() -> None:
    await websocket.receive()


@app.websocket()
async def closes() -> None:
    await websocket.receive()
    await websocket.close(4000, "enough")


@app.websocket()
async def answers_and_returns() -> None:
    await websocket.send(await websocket.receive())


@app.websocket()
async def returns_at_once() -> None:
    await websocket.accept()
