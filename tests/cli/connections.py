"""A terminal that is none, and connections for it to talk over."""

import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial

import trio
import trio.testing
from trio_websocket import (
    ConnectionClosed,
    WebSocketConnection,
    WebSocketRequest,
    serve_websocket,
    wrap_client_stream,
    wrap_server_stream,
)
from wsproto.utilities import generate_accept_token

from triows.cli._terminal import Lines, Terminal

Serve = Callable[[trio.abc.Stream], Awaitable[None]]

MAX_SIZE = 1000
"""Bytes of the longest line and message."""


class Desk:
    """A terminal, the keys, and what can be seen.

    Attributes:
        terminal: What the code under test is given.
        notices: The lines that the user was told.
        output: What was written to the output.
        failure: What writing to the output raises.
    """

    def __init__(
        self, *, typed: bool = False, shown: bool = False, pretty: bool | None = None
    ) -> None:
        self._keys, typed_keys = trio.open_memory_channel[bytes](100)
        self.notices: list[str] = []
        self.failure: OSError | None = None
        self.output = b""
        self._more = trio.Event()
        self.terminal = Terminal(
            Lines(typed_keys.receive, MAX_SIZE),
            self._write,
            self._write_notice,
            is_typed=typed,
            is_shown=shown,
            pretty=pretty,
        )

    @property
    def printed(self) -> str:
        """The output, as text."""
        return self.output.decode()

    def type(self, data: bytes) -> None:
        """Let the next read of the input return these bytes."""
        self._keys.send_nowait(data)

    def end_input(self) -> None:
        """Let the input end, as Ctrl-D does."""
        self._keys.send_nowait(b"")

    async def wait_told(self, text: str) -> None:
        """Wait until a notice contains a text."""
        while not any(text in notice for notice in self.notices):
            await self._more.wait()

    async def wait_printed(self, text: str) -> None:
        """Wait until the output contains a text."""
        while text not in self.printed:
            await self._more.wait()

    def _write(self, data: bytes) -> None:
        if self.failure is not None:
            raise self.failure
        self.output += data
        self._notify()

    def _write_notice(self, data: bytes) -> None:
        self.notices.append(data.decode().removesuffix("\n"))
        self._notify()

    def _notify(self) -> None:
        self._more.set()
        self._more = trio.Event()


@asynccontextmanager
async def open_pair(
    *, deaf: bool = False
) -> AsyncGenerator[tuple[WebSocketConnection, WebSocketConnection]]:
    """Return both ends of a connection in memory: the client's, and the server's.

    Args:
        deaf: The server's end reads no frame.
    """
    ours, theirs = trio.testing.memory_stream_pair()
    accepted: list[WebSocketConnection] = []

    async def accept() -> None:
        async with trio.open_nursery() as reader:
            request = await wrap_server_stream(reader, theirs)
            accepted.append(await request.accept())
            if deaf:
                reader.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(accept)
        client = await wrap_client_stream(
            nursery,
            ours,  # type: ignore[arg-type] # any stream will do
            "example.com",
            "/",
            message_queue_size=10,
            max_message_size=MAX_SIZE,
        )
        await trio.testing.wait_all_tasks_blocked()
        yield client, accepted[0]
        nursery.cancel_scope.cancel()


async def refuse(request: WebSocketRequest) -> None:
    """Answer a handshake with 403."""
    await request.reject(403, body=b"not\nyou")


@asynccontextmanager
async def serving(
    handle: Callable[[WebSocketRequest], Awaitable[None]], *, tls: ssl.SSLContext | None = None
) -> AsyncGenerator[str]:
    """Serve on the loopback, and return the URL."""
    async with trio.open_nursery() as nursery:
        server = await nursery.start(serve_websocket, handle, "127.0.0.1", 0, tls)
        yield f"{'ws' if tls is None else 'wss'}://127.0.0.1:{server.port}/"
        nursery.cancel_scope.cancel()


def code_of(closed: ConnectionClosed) -> int:
    """Return the close code that an operation failed with."""
    assert closed.reason is not None
    return closed.reason.code


@asynccontextmanager
async def answering(serve: Serve) -> AsyncGenerator[str]:
    """Let a function answer whoever connects, and return the URL."""
    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(
            partial(trio.serve_tcp, serve, 0, host="127.0.0.1", handler_nursery=nursery)
        )
        yield f"ws://127.0.0.1:{listeners[0].socket.getsockname()[1]}/"
        nursery.cancel_scope.cancel()


async def read_head(stream: trio.abc.Stream) -> bytes:
    """Read the head of a request."""
    head = b""
    while b"\r\n\r\n" not in head:
        head += await stream.receive_some()
    return head


def accept(head: bytes) -> bytes:
    """Return the answer that accepts a handshake."""
    key = next(
        line.partition(b": ")[2]
        for line in head.split(b"\r\n")
        if line.lower().startswith(b"sec-websocket-key:")
    )
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + generate_accept_token(key) + b"\r\n\r\n"
    )
