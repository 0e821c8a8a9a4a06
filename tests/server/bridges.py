"""Connections over a bridge, for its tests: the client is at the other end of a socket pair."""

from collections import deque
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import h2.config
import h2.connection
import h11
import trio

from triows.server._bridge import Bridge


@asynccontextmanager
async def served(bridge: Bridge, already_read: bytes = b"") -> AsyncGenerator[trio.SocketStream]:
    """Have one connection served around a block, which gets the client's end, and to its end."""
    ours, theirs = trio.socket.socketpair()
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery, trio.SocketStream(theirs) as client:
            nursery.start_soon(  # noqa: ASYNC113  # its end is waited for, not its start
                bridge.serve, trio.SocketStream(ours), already_read
            )
            yield client


class HTTPClient:
    """A client of HTTP/1.1 over a stream, made of h11."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._h11 = h11.Connection(h11.CLIENT)

    async def post(self, path: str, body: bytes = b"", *, is_sent: bool = False) -> bytes:
        """Make a request, which may be sent already, and return the body of the response."""
        headers = [("Host", "example.org"), ("Content-Length", str(len(body)))]
        request = h11.Request(method="POST", target=path, headers=headers)
        data = [self._h11.send(event) for event in (request, h11.Data(body), h11.EndOfMessage())]
        if not is_sent:
            await self._stream.send_all(b"".join(part for part in data if part))
        received = b""
        self._h11.receive_data(await self._stream.receive_some())
        while not isinstance(event := self._h11.next_event(), h11.EndOfMessage):
            if event is h11.NEED_DATA:
                self._h11.receive_data(await self._stream.receive_some())
            elif isinstance(event, h11.Data):
                received += event.data
        self._h11.start_next_cycle()
        return received


class H2Client:
    """A client of HTTP/2 over a stream, made of h2."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
        self.h2.initiate_connection()
        self._events: deque[Any] = deque()

    async def flush(self) -> None:
        """Send what h2 has to send."""
        await self._stream.send_all(self.h2.data_to_send())

    async def open(self, stream_id: int, *, ends: bool, **headers: str) -> None:
        """Begin a request; names are those of pseudo-headers."""
        pairs = [(f":{name}", value) for name, value in headers.items()]
        pairs += [(":scheme", "http"), (":path", "/chat"), (":authority", "example.org")]
        if not ends:
            pairs.append(("sec-websocket-version", "13"))
        self.h2.send_headers(stream_id, pairs, end_stream=ends)
        await self.flush()

    async def wait_for(self, kind: type[Any]) -> Any:
        """Return the next event of a type, and skip those before it."""
        while True:
            while self._events:
                if isinstance(event := self._events.popleft(), kind):
                    return event
            data = await self._stream.receive_some()
            assert data, "the connection has ended"
            self._events += self.h2.receive_data(bytes(data))
            await self.flush()
