"""A real Redis Cluster for tests: three tiny nodes of Debian's `redis-server` on free ports."""

import random
import shutil
import socket
import subprocess
import tempfile
from collections.abc import AsyncGenerator, Generator, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from pathlib import Path

import trio

from tests.brokers.redis_server import PATIENCE, POLL

RANGES = ((0, 5000), (5001, 11000), (11001, 16383))
"""The slots that each node has at the beginning."""


PORTS = range(10_000, 32_000)
"""Those that the kernel gives to nobody who does not name them: one that is free stays so."""


def free_ports(count: int) -> list[int]:
    """Return ports where nobody listens; a node has to be told, and cannot choose."""
    ports: list[int] = []
    for port in random.sample(PORTS, len(PORTS)):
        if len(ports) == count:
            break
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            ports.append(port)
    return ports


class Node:
    """One server of a cluster.

    Attributes:
        port: Where it listens.
        bus: Where it listens to other nodes.
    """

    def __init__(self, folder: Path, options: Sequence[str]) -> None:
        self.port, self.bus = free_ports(2)
        self._folder = folder
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it."""
        program = shutil.which("redis-server")
        assert program, "these tests need a redis-server (Debian: apt install redis-server)"
        listen = ["--bind", "127.0.0.1", "--port", str(self.port), "--cluster-port", str(self.bus)]
        cluster = ["--cluster-enabled", "yes", "--cluster-node-timeout", "500"]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [program, *listen, *cluster, "--save", "", *self._options],
                cwd=self._folder,
                stdout=log,
                stderr=log,
            )

    def kill(self) -> None:
        """Kill it at once."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(PATIENCE)
            self._process = None

    async def command(self, *words: str) -> str:
        """Have `redis-cli` ask it, and return what it prints."""
        command = ["redis-cli", "-p", str(self.port), *words]
        done = await trio.run_process(command, capture_stdout=True, check=False)
        return done.stdout.decode().strip()


class RedisCluster:
    """Some nodes that know each other.

    Attributes:
        url: That of two of them.
    """

    def __init__(self, nodes: list[Node]) -> None:
        self.nodes = nodes
        self.url = f"redis+cluster://127.0.0.1:{nodes[0].port},127.0.0.1:{nodes[1].port}"
        self._is_made = False

    async def wait_started(self) -> None:
        """Make a cluster of them, and wait until every node says so."""
        with trio.fail_after(2 * PATIENCE):
            for node in self.nodes:
                while await node.command("PING") != "PONG":
                    await trio.sleep(POLL)
            if not self._is_made:
                self._is_made = True
                for node, (first, last) in zip(self.nodes, RANGES, strict=False):
                    await node.command("CLUSTER", "ADDSLOTSRANGE", str(first), str(last))
                for node in self.nodes[1:]:
                    place = ("127.0.0.1", str(self.nodes[0].port), str(self.nodes[0].bus))
                    await node.command("CLUSTER", "MEET", *place)
            for node in self.nodes:
                while not await self._is_ready(node):
                    await trio.sleep(POLL)

    async def _is_ready(self, node: Node) -> bool:
        info = (await node.command("CLUSTER", "INFO")).split()
        count = f"cluster_known_nodes:{len(self.nodes)}"
        return {"cluster_state:ok", "cluster_slots_ok:16384", count} <= set(info)

    async def move(self, slot: int, source: Node, target: Node) -> None:
        """Move a slot with all its keys, as `redis-cli --cluster reshard` does."""
        names = [await node.command("CLUSTER", "MYID") for node in (source, target)]
        await target.command("CLUSTER", "SETSLOT", str(slot), "IMPORTING", names[0])
        await source.command("CLUSTER", "SETSLOT", str(slot), "MIGRATING", names[1])
        keys = (await source.command("CLUSTER", "GETKEYSINSLOT", str(slot), "1000")).split()
        if keys:
            place = ("127.0.0.1", str(target.port), "", "0", "5000", "KEYS", *keys)
            assert await source.command("MIGRATE", *place) == "OK"
        for node in (target, source):
            await node.command("CLUSTER", "SETSLOT", str(slot), "NODE", names[1])


@contextmanager
def redis_cluster(*options: str, replicas: int = 0) -> Generator[RedisCluster]:
    """Run a cluster around a block; it may not be one yet."""
    with tempfile.TemporaryDirectory(prefix="redis") as folder, ExitStack() as stack:
        nodes = []
        for number in range(len(RANGES) + replicas):
            place = Path(folder, str(number))
            place.mkdir()
            node = Node(place, options)
            stack.callback(node.kill)
            node.start()
            nodes.append(node)
        yield RedisCluster(nodes)


@asynccontextmanager
async def started(*options: str) -> AsyncGenerator[RedisCluster]:
    """Run a cluster around a block that is one from the beginning."""
    with redis_cluster(*options) as cluster:
        await cluster.wait_started()
        yield cluster
