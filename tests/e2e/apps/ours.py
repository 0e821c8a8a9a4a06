"""Handlers for our own server: what they see of the end, and peers that are slow or dead."""

import logging
from typing import Any

from triows import App, websocket

log = logging.getLogger("triows.error")

app = App(__name__)


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
