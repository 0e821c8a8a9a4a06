"""How a connection has ended, told by handlers of ours and by those of Starlette."""

import logging
from collections.abc import Mapping
from typing import Any

from starlette.applications import Starlette
from starlette.endpoints import WebSocketEndpoint
from starlette.routing import Mount, WebSocketRoute
from starlette.websockets import WebSocket

from triows import App, ConnectionClosed, websocket

logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")

log = logging.getLogger("app")


def say(who: str, query: Mapping[str, Any], what: str) -> None:
    log.info("%s %s: %s", who, query.get("n"), what)


app = App(__name__)


@app.websocket()
async def receives() -> None:
    try:
        while True:
            await websocket.receive()
    except ConnectionClosed as exc:
        info = exc.info
        what = f"{info.code} {info.reason!r} by_peer={info.by_peer} clean={info.clean}"
        say("receives", websocket.query_params, what)
        raise


# The same over ASGI


async def loops(socket: WebSocket) -> None:
    await socket.accept()
    event: Mapping[str, Any] = {"type": ""}
    while event["type"] != "websocket.disconnect":
        event = await socket.receive()
    say("loops", socket.query_params, f"{event['code']} {event['reason']!r}")


class Endpoint(WebSocketEndpoint):
    """Starlette's way to write the same."""

    async def on_disconnect(self, websocket: WebSocket, close_code: int) -> None:
        """Tell the code."""
        say("endpoint", websocket.query_params, f"{close_code}")


page = Starlette(routes=[WebSocketRoute("/loops", loops), WebSocketRoute("/endpoint", Endpoint)])
mounted = Starlette(routes=[Mount("/ours", app=app), Mount("/", app=page)])
