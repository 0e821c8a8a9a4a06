"""Handlers that do not read, with small limits."""

import logging

import trio

from triows import App, Limits, websocket

logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")

app = App(
    __name__,
    limits=Limits(stall_timeout=1, inbox_messages=64, inbox_bytes=256 * 1024, close_timeout=1),
)


@app.websocket()
async def echo() -> None:
    async for message in websocket:
        await websocket.send(message)


@app.websocket()
async def never_reads() -> None:
    await websocket.accept()
    await trio.sleep_forever()


@app.websocket(incoming="discard")
async def discards() -> None:
    await websocket.accept()
    await trio.sleep_forever()
