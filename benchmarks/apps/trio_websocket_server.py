"""Both apps on trio-websocket, which is a server too."""

import sys
from contextlib import suppress

import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, WebSocketRequest, serve_websocket

members: set[WebSocketConnection] = set()


async def handle(request: WebSocketRequest) -> None:
    """Serve one connection."""
    websocket = await request.accept()
    with suppress(ConnectionClosed):
        await (fanout if request.path == "/fanout" else echo)(websocket)


async def echo(websocket: WebSocketConnection) -> None:
    """Send back every message until the peer leaves."""
    while True:
        await websocket.send_message(await websocket.get_message())


async def fanout(websocket: WebSocketConnection) -> None:
    """Send every message to all members until the peer leaves."""
    members.add(websocket)
    try:
        while True:
            message = await websocket.get_message()
            for member in members:
                await member.send_message(message)
    finally:
        members.discard(websocket)


if __name__ == "__main__":
    trio.run(serve_websocket, handle, sys.argv[1], int(sys.argv[2]), None)
