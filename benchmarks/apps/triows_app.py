"""Both apps with triows, as its README would write them."""

from triows import App, WebSocket, websocket

app = App(__name__)

members: set[WebSocket] = set()


@app.websocket()
async def echo() -> None:
    """Send back every message until the peer leaves."""
    while True:
        message = await websocket.receive()
        await websocket.send(message)


@app.websocket()
async def fanout() -> None:
    """Send every message to all members until the peer leaves."""
    ours = websocket.unwrap()
    members.add(ours)
    try:
        while True:
            message = await ours.receive()
            for member in members:
                await member.send(message)
    finally:
        members.discard(ours)
