"""Handlers for a page that tries everything out with a plain WebSocket."""

from triows import App, Close, Reject, websocket

app = App(__name__)


@app.websocket()
async def echo() -> None:
    while True:
        await websocket.send(await websocket.receive())


@app.websocket()
async def returns() -> None:
    await websocket.accept()


@app.websocket()
async def closes_unaccepted() -> None:
    raise Close(4404, "no such room: größer")


@app.websocket()
async def rejects() -> None:
    raise Reject(403, "not you")


@app.websocket()
async def fails() -> None:
    await websocket.accept()
    raise RuntimeError("on purpose")
