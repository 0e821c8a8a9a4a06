"""Both apps with triows, as its README would write them."""

from triows import App, Limits, channels, websocket

# The clients of the benchmarks answer no pings: there is none within an hour.
app = App(__name__, limits=Limits(ping_interval=3600))


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
