"""An echo for Autobahn|Testsuite, whose largest messages have 16 MiB."""

from triows import App, Limits, websocket

SIZE = 64 * 2**20

app = App(__name__, limits=Limits(max_message_size=SIZE, inbox_bytes=SIZE))


@app.websocket("/")
async def echo() -> None:
    """Send back every message."""
    async for message in websocket:
        await websocket.send(message)
