"""Both apps with triows, as its README would write them."""

from triows import App, channels, websocket

app = App(__name__)


@app.websocket()
async def echo() -> None:
    """Send back every message until the peer leaves."""
    while True:
        message = await websocket.receive()
        await websocket.send(message)


@app.websocket()
async def fanout() -> None:
    """Send every message to all members until the peer leaves."""
    await channels.join("all")
    async for message in websocket:
        await channels.publish("all", message)
