"""The proxy: what comes out is what went in, at the pace of whoever reads, and it ends cleanly."""

import socket
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial

import pytest
import trio
from websockets.trio.client import ClientConnection

from tests.e2e.clients import Closed, Refused, connect, read_to_end, reset_on_close, see
from tests.e2e.servers import TriowsServer
from tests.examples.served import example

PIECE = bytes(range(256)) * 256
PIECES = 1024
"""64 MiB: more than all the kernel's buffers on the way take."""

QUIET = 0.3
"""Seconds without any progress after which one side is held up by the other."""

MORE = 24 << 20
"""Bytes of memory that the proxy may need beyond what it had."""

Serve = Callable[[trio.SocketStream], Awaitable[None]]


@asynccontextmanager
async def proxy(monkeypatch: pytest.MonkeyPatch, serve: Serve) -> AsyncGenerator[TriowsServer]:
    """Run the proxy to a TCP server that treats its connections so."""

    async def serve_and_close(stream: trio.SocketStream) -> None:
        async with stream:
            await serve(stream)

    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(
            partial(trio.serve_tcp, serve_and_close, 0, host="127.0.0.1")
        )
        port = listener.socket.getsockname()[1]
        monkeypatch.setenv("TARGET", f"127.0.0.1:{port}")
        async with example("tcp_proxy.py") as server:
            yield server
        nursery.cancel_scope.cancel()


async def receive_all(client: ClientConnection) -> bytes:
    """Return what the server sends until it has sent all."""
    received = bytearray()
    while piece := await client.recv():
        assert isinstance(piece, bytes)
        received += piece
    return bytes(received)


class Progress:
    """How many pieces have gone out."""

    def __init__(self) -> None:
        self.sent = 0

    async def send(self, send: Callable[[bytes], Awaitable[None]]) -> None:
        """Send all pieces."""
        for _ in range(PIECES):
            await send(PIECE)
            self.sent += 1

    async def wait_held_up(self) -> None:
        """Wait until it goes on no more."""
        before = -1
        while self.sent != before or self.sent == 0:
            before = self.sent
            await trio.sleep(QUIET)


async def test_each_side_ends_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """The client ends first and still gets the answer, or the server does and still gets all."""
    heard = []

    async def serve(stream: trio.SocketStream) -> None:
        request = b"".join([piece async for piece in stream])
        await stream.send_all(b"%d bytes" % len(request))

    async def serve_first(stream: trio.SocketStream) -> None:
        await stream.send_all(b"that is all")
        await stream.send_eof()
        heard.append(b"".join([piece async for piece in stream]))

    async with proxy(monkeypatch, serve) as server, connect(server.ws("/tcp")) as client:
        for piece in (b"one", b"two", b""):
            await client.send(piece)
        assert b"6 bytes" == await receive_all(client)
        assert Closed(1000) == await read_to_end(client)

    async with proxy(monkeypatch, serve_first) as server, connect(server.ws("/tcp")) as client:
        assert b"that is all" == await receive_all(client)
        for piece in (b"one", b"two", b""):
            await client.send(piece)
        assert Closed(1000) == await read_to_end(client)
        assert [b"onetwo"] == heard


async def test_client_that_leaves(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it sent before still reaches the server, whose connection then ends."""
    heard, ended = [], trio.Event()

    async def serve(stream: trio.SocketStream) -> None:
        heard.append(b"".join([piece async for piece in stream]))
        ended.set()

    async with proxy(monkeypatch, serve) as server:
        async with connect(server.ws("/tcp")) as client:
            for _ in range(100):
                await client.send(PIECE)
        await ended.wait()

    assert [100 * PIECE] == heard


async def test_server_that_breaks_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """The client is told so, as by any gateway."""

    async def serve(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        reset_on_close(stream)

    async with proxy(monkeypatch, serve) as server:
        assert Closed(1014, "the server broke off") == await see(server.ws("/tcp"), b"hello")
        assert 1003 == getattr(await see(server.ws("/tcp"), "text"), "code", None)


async def test_server_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """The handshake is refused."""
    with socket.socket() as unheard:
        unheard.bind(("127.0.0.1", 0))
        monkeypatch.setenv("TARGET", f"127.0.0.1:{unheard.getsockname()[1]}")
        async with example("tcp_proxy.py") as server:
            assert Refused(502, "the server cannot be reached") == await see(server.ws("/tcp"))


async def test_server_that_does_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """It holds up the client, and the proxy keeps little; once it reads, all of it comes."""
    may_read, progress = trio.Event(), Progress()

    async def serve(stream: trio.SocketStream) -> None:
        await may_read.wait()
        size = 0
        async for piece in stream:
            size += len(piece)
        await stream.send_all(b"%d bytes" % size)

    async with (
        proxy(monkeypatch, serve) as server,
        connect(server.ws("/tcp")) as client,
        trio.open_nursery() as nursery,
    ):
        before = server.memory
        nursery.start_soon(progress.send, client.send)
        await progress.wait_held_up()
        assert progress.sent < PIECES
        assert server.memory - before < MORE
        may_read.set()
        while progress.sent < PIECES:
            await trio.sleep(0.01)
        await client.send(b"")
        assert b"%d bytes" % (PIECES * len(PIECE)) == await receive_all(client)


async def test_client_that_does_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """It holds up the server, and the proxy keeps little; once it reads, all of it comes."""
    progress = Progress()

    async def serve(stream: trio.SocketStream) -> None:
        await progress.send(stream.send_all)

    async with proxy(monkeypatch, serve) as server, connect(server.ws("/tcp")) as client:
        before = server.memory
        await progress.wait_held_up()
        assert progress.sent < PIECES
        assert server.memory - before < MORE
        assert PIECES * PIECE == await receive_all(client)
