"""Our own server with very many connections, and with more than it can have."""

import resource
import time
from collections.abc import Generator
from contextlib import AsyncExitStack, contextmanager

import pytest
import trio

from benchmarks.crowd import Crowd
from tests.e2e.clients import open_bystander, open_upgraded
from tests.e2e.servers import POLL, TriowsServer, running

pytestmark = pytest.mark.timeout(120)

CONNECTIONS = 10_000

FOR_OTHERS = 500
"""File descriptors that a process needs besides its connections, at most."""

MAX_KIB = 12
"""KiB that an idle connection may take, its task and its handler included."""

KIB = 1024

PAUSE = 1.0
"""Seconds that a bystander's echo may take."""

SETTLING = 10.0
"""Seconds until connections are gone whose clients have left."""


@contextmanager
def many_descriptors(count: int) -> Generator[None]:
    """Let this process, and those it starts in the block, have so many file descriptors."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < count:
        pytest.skip(f"a process may have {hard} file descriptors here, and this needs {count}")
    if soft != resource.RLIM_INFINITY and soft < count:
        resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def wait_for_descriptors(server: TriowsServer, count: int) -> None:
    """Wait until it has no more file descriptors open than these."""
    with trio.fail_after(SETTLING):
        while server.descriptors > count:
            await trio.sleep(POLL)


async def test_ten_thousand_connections() -> None:
    """One process has them all, idle; then all of them echo; and afterwards nothing is left."""

    def crowd_in(port: int) -> Crowd:
        return Crowd(port, clients=CONNECTIONS, size=32, depth=1)

    with many_descriptors(CONNECTIONS + FOR_OTHERS):
        async with running("running:app", "--no-access-log", bound=100) as server:
            before, memory = server.descriptors, server.memory
            began = time.perf_counter()
            crowd = await trio.to_thread.run_sync(crowd_in, server.port)
            connected = time.perf_counter()
            idle = server.memory
            assert server.descriptors >= before + CONNECTIONS
            await trio.to_thread.run_sync(crowd.run, 0)
            echoed = time.perf_counter()
            used = server.memory
            await trio.to_thread.run_sync(crowd.close)
            await wait_for_descriptors(server, before)

    assert crowd.done == CONNECTIONS
    print(
        f"connected in {connected - began:.1f} s, echoed in {echoed - connected:.1f} s; "
        f"{(idle - memory) / CONNECTIONS / KIB:.1f} KiB an idle connection, "
        f"{(used - memory) / CONNECTIONS / KIB:.1f} KiB after an echo"
    )
    assert idle - memory < CONNECTIONS * MAX_KIB * KIB
    assert server.failures == []


CLIENTS = 300
ROOM = 50
"""Connections that the process has descriptors for."""


async def test_more_clients_than_file_descriptors() -> None:
    """Those that have none wait, the others go on; when some have left the next are served."""
    served = 0

    async with running("running:app") as server, open_bystander(server) as bystander:
        before = server.descriptors
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.prlimit(server.worker, resource.RLIMIT_NOFILE, (before + ROOM, hard))

        async def come() -> None:
            nonlocal served
            async with open_upgraded(server, "/echo"):
                served += 1
                await all_gone.wait()

        all_gone = trio.Event()
        async with trio.open_nursery() as nursery:
            for _ in range(CLIENTS):
                nursery.start_soon(come)
            await server.wait_for("cannot accept connections for now")
            echoes = bystander.echoes
            await trio.sleep(1)
            assert served <= ROOM
            assert bystander.echoes > echoes
            # Those that are served leave, and so make room for those that wait.
            all_gone.set()
        await wait_for_descriptors(server, before)
        async with AsyncExitStack() as stack:
            for _ in range(ROOM // 2):
                await stack.enter_async_context(open_upgraded(server, "/echo"))
        assert bystander.longest < PAUSE

    assert served == CLIENTS
    assert server.log.count("cannot accept connections for now: [Errno 24]") >= 1
    assert server.failures == []
    assert "Traceback" not in server.log
