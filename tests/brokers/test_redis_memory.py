"""The names of what a real Redis remembers with."""

import tempfile
from pathlib import Path

import pytest
import trio
from coredis.exceptions import AuthorizationError, RedisError

from tests.brokers.redis_cluster import Node, free_ports
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
    ("options", "disk"),
    [
        (DURABLE, "disk"),
        (("--appendonly", "yes"), ""),
        ((*DURABLE, "--no-appendfsync-on-rewrite", "yes"), ""),
        ((*DURABLE, "--rename-command", "CONFIG", ""), "?"),
    ],
)
async def test_restarts(options: tuple[str, ...], disk: str) -> None:
    """Its process is another one then, and its disk the same, if it has everything."""
    with redis_server(*options) as server:
        await server.wait_started()
        before = await name_of(server.url)
        assert before == await name_of(server.url)
        server.kill()
        server.start()
        await server.wait_started()
        after = await name_of(server.url)

    assert before != after
    assert [disk, disk] == [before.partition(" ")[2], after.partition(" ")[2]]


async def test_who_may_not_ask() -> None:
    """Another user may; that it fails for another reason is a failure."""
    with redis_server(*DURABLE) as server:
        await server.wait_started()
        await server.command("ACL", "SETUSER", "default", "-config")
        assert (await name_of(server.url)).endswith(" ?")
        await server.command("ACL", "SETUSER", "default", "-info")
        with pytest.RaisesGroup(AuthorizationError, flatten_subgroups=True):
            await name_of(server.url)


async def test_replicas() -> None:
    """Where nothing can be written is nothing for us, and who has a copy may take over."""
    (port,) = free_ports(1)
    listen = ("--bind", "127.0.0.1", "--port", f"{port}", "--repl-diskless-sync-delay", "0")
    with redis_server(*DURABLE, *listen) as primary, redis_server(*DURABLE) as replica:
        for server in (primary, replica):
            await server.wait_started()
            before = await name_of(server.url)
            assert before.endswith(" disk")
        await replica.command("REPLICAOF", "127.0.0.1", f"{port}")
        with trio.fail_after(10):
            while "master_link_status:up" not in await replica.command("INFO", "replication"):
                await trio.sleep(0.01)
        assert (await name_of(primary.url)).endswith(" ")
        refusal = pytest.RaisesExc(RedisError, match="it is a replica")
        with pytest.RaisesGroup(refusal, flatten_subgroups=True):
            await name_of(replica.url)
        await replica.command("CONFIG", "SET", "replica-read-only", "no")
        assert (await name_of(replica.url)).endswith(" ")
        await replica.command("REPLICAOF", "NO", "ONE")
        after = await name_of(replica.url)

    assert after.endswith(" ")
    # It was a primary, and what it remembers now is what another one had.
    assert after.split() != before.split()[:1]


async def test_a_node_of_a_cluster() -> None:
    """It has a disk of its own, and no more the same once it has taken slots over."""
    with tempfile.TemporaryDirectory() as folder:
        node = Node(Path(folder), DURABLE)
        node.start()
        try:
            with trio.fail_after(10):
                while await node.command("PING") != "PONG":
                    await trio.sleep(0.01)
            own = await node.command("CLUSTER", "MYID")
            for epoch in (0, 1):
                name = await name_of(f"redis://127.0.0.1:{node.port}")
                assert name.endswith(f" disk:{own}:{epoch}")
                await node.command("CLUSTER", "BUMPEPOCH")
        finally:
            node.kill()
