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
PIECES = 640
"""40 MiB: more than all the kernel's buffers on the way take."""

QUIET = 0.3
"""Seconds without any progress after which one side is held up by the other."""

MORE = 16 << 20
"""Bytes of memory that the proxy may need beyond what it had."""


class Target:
    """The TCP server behind the proxy, whose next connections are treated as a test says."""

    treat: Callable[[trio.SocketStream], Awaitable[None]]

    async def serve(self, stream: trio.SocketStream) -> None:
        """Treat a connection, and close it."""
        async with stream:
            await self.treat(stream)


@asynccontextmanager
async def open_proxy(
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncGenerator[tuple[TriowsServer, Target]]:
    """Run the proxy and the TCP server that it is for."""
    target = Target()
    async with trio.open_nursery() as nursery:
        serve = partial(trio.serve_tcp, target.serve, 0, host="127.0.0.1")
        (listener,) = await nursery.start(serve)
        monkeypatch.setenv("TARGET", "127.0.0.1:{1}".format(*listener.socket.getsockname()))
        async with example("tcp_proxy.py") as server:
            yield server, target
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
        self.complete = trio.Event()

    async def send(self, send: Callable[[bytes], Awaitable[None]]) -> None:
        """Send all pieces."""
        for _ in range(PIECES):
            await send(PIECE)
            self.sent += 1
        self.complete.set()

    async def wait_held_up(self) -> None:
        """Wait until it goes on no more."""
        before = -1
        while self.sent != before or self.sent == 0:
            before = self.sent
            await trio.sleep(QUIET)


async def test_endings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each side may end before the other, or be gone, and nothing that was sent is cut off."""
    heard: list[bytes] = []
    ended = trio.Event()

    async def answer(stream: trio.SocketStream) -> None:
        request = b"".join([piece async for piece in stream])
        await stream.send_all(b"%d bytes" % len(request))

    async def answer_first(stream: trio.SocketStream) -> None:
        await stream.send_all(b"that is all")
        await stream.send_eof()
        heard.append(b"".join([piece async for piece in stream]))

    async def listen(stream: trio.SocketStream) -> None:
        heard.append(b"".join([piece async for piece in stream]))
        ended.set()

    async def break_off(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        reset_on_close(stream)

    async with open_proxy(monkeypatch) as (server, target):
        url = server.ws("/tcp")

        target.treat = answer
        async with connect(url) as client:
            for piece in (b"one", b"two", b""):
                await client.send(piece)
            assert b"6 bytes" == await receive_all(client)
            assert Closed(1000) == await read_to_end(client)

        target.treat = answer_first
        async with connect(url) as client:
            assert b"that is all" == await receive_all(client)
            for piece in (b"one", b"two", b""):
                await client.send(piece)
            assert Closed(1000) == await read_to_end(client)
        assert b"onetwo" == heard.pop()

        target.treat = listen
        async with connect(url) as client:
            for _ in range(50):
                await client.send(PIECE)
        await ended.wait()
        assert 50 * PIECE == heard.pop()

        target.treat = break_off
        assert Closed(1014, "the server broke off") == await see(url, b"hello")
        assert 1003 == getattr(await see(url, "text"), "code", None)


async def test_server_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """The handshake is refused."""
    with socket.socket() as unheard:
        unheard.bind(("127.0.0.1", 0))
        monkeypatch.setenv("TARGET", f"127.0.0.1:{unheard.getsockname()[1]}")
        async with example("tcp_proxy.py") as server:
            assert Refused(502, "the server cannot be reached") == await see(server.ws("/tcp"))


async def test_back_pressure(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who does not read holds up the other, the proxy keeps little, and nothing is lost."""
    may_read, up, down = trio.Event(), Progress(), Progress()

    async def read_later(stream: trio.SocketStream) -> None:
        await may_read.wait()
        size = 0
        async for piece in stream:
            size += len(piece)
        await stream.send_all(b"%d bytes" % size)

    async def write(stream: trio.SocketStream) -> None:
        await down.send(stream.send_all)

    async with open_proxy(monkeypatch) as (server, target):
        before = server.memory

        target.treat = read_later
        async with connect(server.ws("/tcp")) as client, trio.open_nursery() as nursery:
            nursery.start_soon(up.send, client.send)
            await up.wait_held_up()
            assert up.sent < PIECES
            assert server.memory - before < MORE
            may_read.set()
            await up.complete.wait()
            await client.send(b"")
            assert b"%d bytes" % (PIECES * len(PIECE)) == await receive_all(client)

        target.treat = write
        async with connect(server.ws("/tcp")) as client:
            await down.wait_held_up()
            assert down.sent < PIECES
            assert server.memory - before < MORE
            assert PIECES * PIECE == await receive_all(client)
