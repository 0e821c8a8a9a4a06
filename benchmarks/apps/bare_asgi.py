"""Both apps with no framework: what the server itself costs, and the least that any could."""

from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

Event: TypeAlias = dict[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Event]]
Send: TypeAlias = Callable[[Event], Awaitable[None]]

members: set[Send] = set()


async def app(scope: Event, receive: Receive, send: Send) -> None:
    """Serve one ASGI scope."""
    if scope["type"] == "websocket":
        await (fanout if scope["path"] == "/fanout" else echo)(receive, send)
    elif scope["type"] == "lifespan":
        await live(receive, send)
    else:
        await send({"type": "http.response.start", "status": 404, "headers": []})
        await send({"type": "http.response.body", "body": b""})


async def echo(receive: Receive, send: Send) -> None:
    """Send back every text until the peer leaves."""
    await receive()
    await send({"type": "websocket.accept"})
    while (event := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": event["text"]})


async def fanout(receive: Receive, send: Send) -> None:
    """Send every text to all members until the peer leaves."""
    await receive()
    await send({"type": "websocket.accept"})
    members.add(send)
    try:
        while (event := await receive())["type"] == "websocket.receive":
            message = {"type": "websocket.send", "text": event["text"]}
            for send_to_member in members:
                await send_to_member(message)
    finally:
        members.discard(send)


async def live(receive: Receive, send: Send) -> None:
    """Start and stop with the server."""
    await receive()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await send({"type": "lifespan.shutdown.complete"})
