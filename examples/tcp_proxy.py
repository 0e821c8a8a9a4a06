"""TCP proxy: connects each client to a TCP server, as a browser cannot by itself.

    TARGET=127.0.0.1:6379 triows run examples.tcp_proxy:app

Then talk to the server, here a Redis that is sent a PING and a line feed:

    triows connect ws://127.0.0.1:8000/tcp
    /binary 50 49 4e 47 0a

Bytes go both ways in binary messages, cut as it happens. An empty message says that no more will
come from its side, and the other may go on; once both have said so, the connection is closed with
1000. A server that breaks off is 1014, one that cannot be reached HTTP 502. Nothing piles up here:
whoever does not read holds up the other.
"""

import os
from contextlib import suppress

import trio

from triows import App, Close, ConnectionClosed, Limits, Reject, websocket

HOST, _, PORT = os.environ.get("TARGET", "127.0.0.1:6379").rpartition(":")
PIECE = 64 * 1024  # bytes that are read at once
PATIENCE = 300  # seconds that one side may hold up the other

app = App(
    __name__,
    limits=Limits(
        inbox_bytes=PIECE,
        stall_timeout=PATIENCE,
        send_timeout=PATIENCE,
        ping_timeout=PATIENCE,  # who reads nothing sees no ping
    ),
)


@app.websocket()
async def tcp():
    try:
        stream = await trio.open_tcp_stream(HOST, int(PORT))
    except OSError as exc:
        raise Reject(502, "the server cannot be reached") from exc
    async with stream:
        await websocket.accept()
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(to_client, stream)
                await to_server(stream)
        except* trio.BrokenResourceError:
            raise Close(1014, "the server broke off") from None


async def to_server(stream):
    """Pass on what the client sends, until it says that it has sent all."""
    # If it leaves instead, this raises once all is passed on, which ends the other way, too.
    while message := await websocket.receive_bytes():
        await stream.send_all(message)
    await stream.send_eof()


async def to_client(stream):
    """Pass on what the server sends, and say when it has sent all."""
    # To a client that has left nothing can be sent, but it may still be heard.
    with suppress(ConnectionClosed):
        while piece := await stream.receive_some(PIECE):
            await websocket.send(piece)
        await websocket.send(b"")
