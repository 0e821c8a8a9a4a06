"""examples/echo.py, served as its first lines say, to clients that others wrote."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
import trio

from tests.e2e.clients import Talker, connect, open_talker
from tests.e2e.servers import ROOT, Server, on_every_server, serving

MIB = 1024 * 1024

MESSAGES: list[str | bytes] = [
    "text",
    "größer, 猫, 🦑",
    b"\x00bytes\xff",
    "",
    b"",
    "x" * MIB,
    b"\xa5" * MIB,
]

with_both_clients = pytest.mark.parametrize("client", ["websockets", "trio-websocket"])


@asynccontextmanager
async def serving_echo(server: str) -> AsyncGenerator[Server]:
    """Serve the example, and expect that nothing went wrong as long as it ran."""
    async with serving("examples.echo:app", server=server, folder=ROOT) as running:
        yield running
    assert running.failures == []
    assert "Traceback" not in running.log


@on_every_server
@with_both_clients
async def test_messages_come_back_as_they_went(server: str, client: str) -> None:
    """Every kind of message comes back with its type and content, an empty one too."""
    async with (
        serving_echo(server) as running,
        open_talker(client, running.ws("/echo")) as talker,
    ):
        for message in MESSAGES:
            await talker.send(message)

            assert await talker.receive() == message


@on_every_server
async def test_fragments_come_back_as_one_message(server: str) -> None:
    """A message that was sent in fragments is one message to the handler."""
    async with (
        serving_echo(server) as running,
        connect(running.ws("/echo")) as connection,
    ):
        await connection.send(["a", "", "猫", "b" * 70_000])
        assert await connection.recv() == "a猫" + "b" * 70_000

        await connection.send([b"\x00", b"\xff", b""])
        assert await connection.recv() == b"\x00\xff"


@on_every_server
@with_both_clients
async def test_a_thousand_messages_keep_their_order(server: str, client: str) -> None:
    """1,000 messages sent without waiting come back in the order they went."""
    numbers = [str(number) for number in range(1000)]

    async def send_all(talker: Talker) -> None:
        for number in numbers:
            await talker.send(number)

    async with (
        serving_echo(server) as running,
        open_talker(client, running.ws("/echo")) as talker,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(send_all, talker)

        received = [await talker.receive() for _ in numbers]

    assert received == numbers


@on_every_server
@with_both_clients
async def test_two_hundred_clients_at_once(server: str, client: str) -> None:
    """200 clients that are connected at the same time each get their own messages back."""
    all_connected = trio.Event()
    connected = 0

    async def converse(url: str, name: str) -> None:
        nonlocal connected
        async with open_talker(client, url) as talker:
            await talker.send(f"{name} is here")
            assert f"{name} is here" == await talker.receive()
            connected += 1
            if connected == 200:
                all_connected.set()
            await all_connected.wait()
            await talker.send(f"{name} is still here")
            assert f"{name} is still here" == await talker.receive()

    async with serving_echo(server) as running, trio.open_nursery() as nursery:
        for number in range(200):
            nursery.start_soon(converse, running.ws("/echo"), f"client {number}")
