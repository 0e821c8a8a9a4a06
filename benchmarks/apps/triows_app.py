"""Echo with triows, as its README would write it."""

from triows import App, websocket

app = App(__name__)


@app.websocket()
async def echo() -> None:
    """Send back every message until the peer leaves."""
    while True:
        message = await websocket.receive()
        await websocket.send(message)
