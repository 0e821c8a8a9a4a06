"""Both apps with Emmett."""

from emmett import App, current, websocket
from emmett.wrappers.websocket import Websocket

app = App(__name__)

members: set[Websocket] = set()


@app.websocket()
async def echo() -> None:
    """Send back every message until the peer leaves."""
    while True:
        message = await websocket.receive()
        await websocket.send(message)


@app.websocket()
async def fanout() -> None:
    """Send every message to all members until the peer leaves."""
    ours = current.websocket
    await ours.accept()
    members.add(ours)
    try:
        while True:
            message = await ours.receive()
            for member in members:
                await member.send(message)
    finally:
        members.discard(ours)
