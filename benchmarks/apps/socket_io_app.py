"""The fan-out with python-socketio, which is an ASGI app; the rest is the bare one's."""

import socketio

from benchmarks.apps import bare_asgi

# The clients of the benchmarks answer no pings: there is none within an hour.
server = socketio.AsyncServer(async_mode="asgi", ping_interval=3600)
app = socketio.ASGIApp(server, bare_asgi.app)


@server.event
async def message(_sid: str, text: str) -> None:
    """Send every text to all members."""
    await server.emit("message", text)
