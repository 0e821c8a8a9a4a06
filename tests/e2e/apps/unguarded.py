"""An echo on a hypercorn that is as it is."""

from triows import App, websocket

app = App(__name__, guard_hypercorn=False)


@app.websocket()
async def echo() -> None:
    async for message in websocket:
        await websocket.send(message)
