"""Echo with Quart-Trio."""

from quart import websocket
from quart_trio import QuartTrio

app = QuartTrio(__name__)


@app.websocket("/echo")
async def echo() -> None:
    """Send back every message until the peer leaves."""
    while True:
        await websocket.send(await websocket.receive())
