"""Tasks of one connection that get in each other's way."""

import random

import trio
from websockets.trio.client import ClientConnection

from tests.e2e.clients import Closed, connect, read_to_end
from tests.e2e.servers import on_every_server, serving


@on_every_server
async def test_two_tasks_accept_at_once(server: str) -> None:
    """Both succeed, and so does a third accept later; there is one handshake."""
    async with (
        serving("races:app", server=server) as running,
        connect(running.ws("/accepts_twice")) as connection,
    ):
        assert await connection.recv() == "accepted"
        assert await connection.recv() == "and again"
        assert await read_to_end(connection) == Closed(1000)

    assert running.failures == []


@on_every_server
async def test_ten_tasks_accept_by_sending(server: str) -> None:
    """Ten sends that race to the implicit accept make one handshake, and all go out."""
    async with (
        serving("races:app", server=server) as running,
        connect(running.ws("/accepts_by_sending")) as connection,
    ):
        received = [await connection.recv() for _ in range(10)]
        assert await read_to_end(connection) == Closed(1000)

    assert sorted(received) == [str(number) for number in range(10)]
    assert running.failures == []


@on_every_server
async def test_two_tasks_receive_at_once(server: str) -> None:
    """The second gets `BusyResourceError`, and the first the message."""
    async with (
        serving("races:app", server=server) as running,
        connect(running.ws("/receives_twice")) as connection,
    ):
        busy = await connection.recv()
        await connection.send("the message")
        first = await connection.recv()

    assert isinstance(busy, str)
    assert busy.startswith("busy: ")
    assert first == "the first still got 'the message'"
    assert running.failures == []


@on_every_server
async def test_ten_tasks_send_at_once(server: str) -> None:
    """Messages arrive whole, each task's in its order, whichever way they mingle."""
    async with (
        serving("races:app", server=server) as running,
        connect(running.ws("/ten_send")) as connection,
    ):
        received = [str(await connection.recv()) for _ in range(200)]
        assert await read_to_end(connection) == Closed(1000)

    for name in "abcdefghij":
        of_this = [message for message in received if message.startswith(name)]
        assert of_this == [f"{name} {number} " + name * 20_000 for number in range(20)]
    assert running.failures == []


@on_every_server
async def test_a_receive_that_is_cancelled_every_millisecond(server: str) -> None:
    """Nothing is lost, doubled or out of order, whenever the cancellation falls."""
    numbers = [str(number) for number in range(500)]
    cancelled: list[int] = []

    async def send_all(connection: ClientConnection, seed: int) -> None:
        pauses = random.Random(seed)
        for number in numbers:
            await connection.send(number)
            if pauses.random() < 0.5:
                await trio.sleep(pauses.uniform(0, 0.01))

    async def converse(url: str, seed: int) -> None:
        async with connect(url) as connection, trio.open_nursery() as nursery:
            nursery.start_soon(send_all, connection, seed)
            assert numbers == [await connection.recv() for _ in numbers]
            await connection.send("how often?")
            cancelled.append(int(await connection.recv()))

    async with serving("races:app", server=server) as running, trio.open_nursery() as nursery:
        for seed in range(10):
            nursery.start_soon(converse, running.ws("/is_cancelled_all_the_time"), seed)

    assert sum(cancelled) > 50  # Many more, unless something else has the processors.
    assert running.failures == []
