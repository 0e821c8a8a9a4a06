"""Both apps on websockets' server for Trio."""

import sys
from functools import partial

import trio
from websockets.trio.server import ServerConnection, broadcast, serve

members: set[ServerConnection] = set()


async def handle(websocket: ServerConnection) -> None:
    """Serve one connection."""
    assert websocket.request is not None, "the handshake is done"
    await (fanout if websocket.request.path == "/fanout" else echo)(websocket)


async def echo(websocket: ServerConnection) -> None:
    """Send back every message until the peer leaves."""
    async for message in websocket:
        await websocket.send(message)


async def fanout(websocket: ServerConnection) -> None:
    """Send every message to all members until the peer leaves."""
    members.add(websocket)
    try:
        async for message in websocket:
            await broadcast(members, message)
    finally:
        members.discard(websocket)


if __name__ == "__main__":
    host, port = sys.argv[1:]
    # The clients of the benchmarks answer no pings.
    trio.run(
        partial(serve, handle, int(port), host=host, compression=None, ping_interval=None),
    )
