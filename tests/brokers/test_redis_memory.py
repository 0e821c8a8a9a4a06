"""The name of what a real Redis remembers."""

import tempfile
from pathlib import Path

import pytest
import trio
from coredis.exceptions import RedisError

from tests.brokers.redis_cluster import Node
from tests.brokers.redis_server import DURABLE, redis_server
from triows.brokers._redis_address import parse_url
from triows.brokers._redis_memory import memory_of


async def name_of(url: str) -> str:
    """Return what the memory of a server is called."""
    (address,), _ = parse_url(url)
    async with trio.open_nursery() as nursery:
        name = await memory_of(await address.connect(nursery))
        nursery.cancel_scope.cancel()
    return name


@pytest.mark.parametrize(
    ("options", "is_durable"),
    [
        (DURABLE, True),
        (("--appendonly", "yes"), False),
        (("--rename-command", "CONFIG", ""), False),
    ],
)
async def test_restarts(options: tuple[str, ...], is_durable: bool) -> None:
    """A server is the same one as long as its process lives, or as long as its disk does."""
    with redis_server(*options) as server:
        await server.wait_started()
        before = await name_of(server.url)
        assert before == await name_of(server.url)
        server.kill()
        server.start()
        await server.wait_started()

        assert is_durable == (before == await name_of(server.url))


async def test_replicas() -> None:
    """One where nothing can be written is none for us."""
    with redis_server() as server:
        await server.wait_started()
        await server.command("REPLICAOF", "127.0.0.1", "1")
        refusal = pytest.RaisesExc(RedisError, match="it is a replica")
        with pytest.RaisesGroup(refusal, flatten_subgroups=True):
            await name_of(server.url)
        await server.command("CONFIG", "SET", "replica-read-only", "no")
        assert await name_of(server.url)


async def test_a_node_of_a_cluster() -> None:
    """It has a disk of its own."""
    with tempfile.TemporaryDirectory() as folder:
        node = Node(Path(folder), DURABLE)
        node.start()
        try:
            with trio.fail_after(10):
                while await node.command("PING") != "PONG":
                    await trio.sleep(0.01)
            name = await name_of(f"redis://127.0.0.1:{node.port}")
            assert name == f"disk {await node.command('CLUSTER', 'MYID')}"
        finally:
            node.kill()
