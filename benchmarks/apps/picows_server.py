"""Both apps on picows: callbacks on uvloop, and no back-pressure but what one writes oneself."""

import asyncio
import sys

import uvloop
from picows import (
    WSFrame,
    WSListener,
    WSMsgType,
    WSTransport,
    WSUpgradeRequest,
    ws_create_server,
)

members: set[WSTransport] = set()


class Echo(WSListener):
    """Sends back every message until the peer leaves."""

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """Take a frame."""
        if frame.msg_type == WSMsgType.CLOSE:
            transport.send_close(frame.get_close_code(), frame.get_close_message())
            transport.disconnect()
        else:
            self.on_message(transport, frame)

    def on_message(self, transport: WSTransport, frame: WSFrame) -> None:
        """Take a frame that is a message."""
        transport.send(frame.msg_type, frame.get_payload_as_bytes())


class Fanout(Echo):
    """Sends every message to all members until the peer leaves."""

    def on_ws_connected(self, transport: WSTransport) -> None:
        """Join."""
        members.add(transport)

    def on_message(self, _transport: WSTransport, frame: WSFrame) -> None:
        """Take a frame that is a message."""
        payload = frame.get_payload_as_bytes()
        for member in members:
            member.send(frame.msg_type, payload)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        """Leave."""
        members.discard(transport)


def make_listener(request: WSUpgradeRequest) -> WSListener:
    """Return what serves a connection."""
    return Fanout() if request.path == b"/fanout" else Echo()


async def main(host: str, port: int) -> None:
    """Serve until the process is stopped."""
    server = await ws_create_server(make_listener, host, port)
    await server.serve_forever()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(sys.argv[1], int(sys.argv[2])))
