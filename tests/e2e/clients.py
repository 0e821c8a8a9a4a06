"""Clients that others wrote, and bare sockets for what no decent client would do."""

import socket
import struct
from collections.abc import AsyncGenerator, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import trio
from trio_websocket import WebSocketConnection, open_websocket_url
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.frames import Close, Frame, Opcode
from websockets.trio.client import ClientConnection
from websockets.trio.client import connect as connect_websockets

from tests.e2e.servers import POLL, Server

UPGRADE = (
    "GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\n"
    "Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    "Sec-WebSocket-Version: 13\r\n"
)
"""The head of a handshake (RFC 6455 §1.3), but for its last, empty line."""

PAUSE = 0.005
"""Seconds between two round trips of a bystander, who is not there to be a load."""

LONGEST_PAUSE = 2.0
"""Seconds that a round trip of a bystander may take, on two busy cores."""


def connect(url: str, **options: Any) -> AbstractAsyncContextManager[ClientConnection]:
    """Connect with the `websockets` library, directly, and close on leaving."""
    return connect_websockets(url, proxy=None, **options)


class Talker(Protocol):
    """What both client libraries can do."""

    async def send(self, message: str | bytes) -> None:
        """Send a message."""

    async def receive(self) -> str | bytes:
        """Return the next message."""


class WebsocketsTalker:
    """`websockets`."""

    def __init__(self, connection: ClientConnection) -> None:
        self.send = connection.send
        self.receive = connection.recv


class TrioWebsocketTalker:
    """`trio-websocket`."""

    def __init__(self, connection: WebSocketConnection) -> None:
        self.send = connection.send_message
        self.receive = connection.get_message


@asynccontextmanager
async def open_talker(library: str, url: str) -> AsyncGenerator[Talker]:
    """Connect with one of the two libraries."""
    if library == "websockets":
        async with connect(url) as websockets_connection:
            yield WebsocketsTalker(websockets_connection)
    else:
        async with open_websocket_url(url) as trio_connection:
            yield TrioWebsocketTalker(trio_connection)


@dataclass(frozen=True, slots=True)
class Closed:
    """A client saw its connection end so; 1006 stands for an end without a close frame."""

    code: int
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Refused:
    """A client's handshake was answered so."""

    status: int
    body: str = ""


async def read_to_end(connection: ClientConnection) -> Closed:
    """Read what still comes, and return how the connection ended."""
    try:
        while True:
            await connection.recv()
    except ConnectionClosed:
        return closed(connection)


def closed(connection: ClientConnection) -> Closed:
    """Return how a connection ended that has ended."""
    code = connection.close_code
    assert code is not None, "the connection has not ended"
    return Closed(code, connection.close_reason or "")


async def see(url: str, *messages: str | bytes, **options: Any) -> Closed | Refused:
    """Connect, send the messages, and return what the server made of it."""
    try:
        async with connect(url, **options) as connection:
            for message in messages:
                await connection.send(message)
            return await read_to_end(connection)
    except InvalidStatus as exc:
        return Refused(exc.response.status_code, exc.response.body.decode())


async def see_all(server: Server, paths: Iterable[str]) -> dict[str, Closed | Refused]:
    """Return what the server makes of a connection to each path, all at once."""
    seen = {}

    async def look(path: str) -> None:
        seen[path] = await see(server.ws(path))

    async with trio.open_nursery() as nursery:
        for path in paths:
            nursery.start_soon(look, path)
    return seen


def encode(opcode: Opcode, payload: bytes, *, is_masked: bool = True) -> bytes:
    """Return a frame as a client sends it (RFC 6455 §5.2)."""
    return Frame(opcode, payload).serialize(mask=is_masked)


def encode_close(code: int, reason: str = "") -> bytes:
    """Return a close frame as a client sends it."""
    return encode(Opcode.CLOSE, Close(code, reason).serialize())


@asynccontextmanager
async def open_socket(server: Server) -> AsyncGenerator[trio.SocketStream]:
    """Connect a bare TCP socket, and drop it on leaving."""
    async with await trio.open_tcp_stream("127.0.0.1", server.port) as stream:
        yield stream


@asynccontextmanager
async def open_upgraded(server: Server, path: str) -> AsyncGenerator[trio.SocketStream]:
    """Connect a bare TCP socket that has been through the handshake."""
    async with open_socket(server) as stream:
        await stream.send_all(upgrade(server, path))
        head = await read_head(stream)
        assert head.startswith("HTTP/1.1 101"), head
        yield stream


def upgrade(server: Server, path: str, *headers: str) -> bytes:
    """Return the request of a handshake, with these header lines added."""
    head = UPGRADE.format(path=path, port=server.port)
    return (head + "".join(f"{header}\r\n" for header in headers) + "\r\n").encode("latin-1")


async def read_head(stream: trio.SocketStream) -> str:
    """Read the head of a response, byte by byte so that nothing behind it is lost."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        byte = await stream.receive_some(1)
        assert byte, f"the connection ended after {head!r}"
        head += byte
    return head.decode("latin-1")


async def drain(stream: trio.SocketStream) -> bytes:
    """Read all that comes, until the peer closes or resets the connection."""
    received = bytearray()
    try:
        async for chunk in stream:
            received += chunk
    except trio.BrokenResourceError:
        pass
    return bytes(received)


def reset_on_close(stream: trio.SocketStream) -> None:
    """Make the close of a socket an RST, as the kernel of a crashed client sends it."""
    stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


class Bystander:
    """A client that echoes beside everything else, and measures.

    Attributes:
        echoes: Round trips so far.
    """

    def __init__(self, connection: ClientConnection) -> None:
        self.echoes = 0
        self._connection = connection
        self._longest = 0.0
        self._asked_at = trio.current_time()

    @property
    def longest(self) -> float:
        """Seconds of the longest round trip, the one under way included."""
        return max(self._longest, trio.current_time() - self._asked_at)

    async def converse(self) -> None:
        """Send and receive, again and again."""
        while True:
            self._asked_at = trio.current_time()
            await self._connection.send("still there?")
            assert await self._connection.recv() == "still there?"
            self._longest = self.longest
            self.echoes += 1
            await trio.sleep(PAUSE)


@asynccontextmanager
async def open_bystander(
    server: Server, path: str = "/echo", **options: Any
) -> AsyncGenerator[Bystander]:
    """Connect a client that echoes as long as the block runs."""
    async with connect(server.ws(path), **options) as connection, trio.open_nursery() as nursery:
        bystander = Bystander(connection)
        nursery.start_soon(bystander.converse)
        yield bystander
        nursery.cancel_scope.cancel()


async def count_tasks(server: Server, **options: Any) -> int:
    """Return how many tasks the server runs; those of this question are always the same."""
    async with connect(server.ws("/tasks"), **options) as connection:
        return int(await connection.recv())


async def wait_for_tasks(server: Server, count: int) -> None:
    """Wait until the server runs no more than so many tasks."""
    while await count_tasks(server) > count:
        await trio.sleep(POLL)
