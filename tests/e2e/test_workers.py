"""`triows run --workers N`: processes that are kept up, and let go together."""

import os
import signal
import sys
from collections import Counter
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import pytest
import trio
from websockets.trio.client import ClientConnection

from tests.e2e.clients import Closed, connect, read_to_end
from tests.e2e.servers import APPS, POLL, STOP_TIMEOUT, TriowsServer, running

pytestmark = pytest.mark.timeout(60)


async def connect_to_each(
    server: TriowsServer, stack: AsyncExitStack
) -> dict[int, ClientConnection]:
    """Connect until each worker has a client, and return these clients by worker."""
    found: dict[int, ClientConnection] = {}
    while set(server.workers) - set(found):
        async with AsyncExitStack() as attempt:
            connection = await attempt.enter_async_context(connect(server.ws("/pid")))
            pid = int(await connection.recv())
            if pid not in found:
                found[pid] = connection
                stack.push_async_exit(attempt.pop_all())
    return found


async def wait_gone(*pids: int) -> None:
    """Wait until there are no such processes."""
    with trio.fail_after(STOP_TIMEOUT):
        for pid in pids:
            while is_alive(pid):
                await trio.sleep(POLL)


def is_alive(pid: int) -> bool:
    """Return whether a process runs; one that nobody has waited for does not."""
    with suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


@pytest.mark.parametrize("by_ctrl_c", [False, True], ids=["sigterm", "ctrl-c"])
async def test_drain(by_ctrl_c: bool) -> None:
    """All workers let their clients go at once; none of them sees anything but 1001."""
    seen: Counter[Closed] = Counter()
    async with running("running:app", "--workers", "3") as server:
        workers = server.workers
        async with AsyncExitStack() as stack:
            peers = [
                await stack.enter_async_context(connect(server.ws("/pid"))) for _ in range(200)
            ]
            await server.stop(by_ctrl_c=by_ctrl_c)
            for peer in peers:
                seen[await read_to_end(peer)] += 1

    assert 3 == len(workers)
    assert {Closed(1001, "server draining"): 200} == seen
    assert server.worker == server.process.pid
    assert 1 == server.log.count("listening on")
    assert server.failures == []
    await wait_gone(*workers)


async def test_worker_that_is_killed() -> None:
    """Another one comes, and the clients of the others go on."""
    async with running("running:app", "--workers", "2") as server, AsyncExitStack() as stack:
        peers = await connect_to_each(server, stack)
        victim, other = peers
        os.kill(victim, signal.SIGKILL)
        assert Closed(1006) == await read_to_end(peers[victim])

        await server.wait_for("triows: a worker was killed by SIGKILL; another one starts in 1 s")
        while len(server.workers) < 2:
            await trio.sleep(POLL)
        again = await connect_to_each(server, stack)

        assert {other} < set(again)
        await peers[other].send("still there?")
        assert "still there?" == await peers[other].recv()
    assert 1 == server.log.count("listening on")


async def test_supervisor_that_is_killed() -> None:
    """Its workers drain, and are no orphans."""
    async with running("running:app", "--workers", "2") as server, AsyncExitStack() as stack:
        peers = await connect_to_each(server, stack)
        server.was_stopped = True
        server.process.kill()

        assert [Closed(1001, "server draining")] * 2 == [
            await read_to_end(peer) for peer in peers.values()
        ]
        await wait_gone(*peers)


async def test_rooms_of_one_process() -> None:
    """An app whose rooms are of one process does not start in several, and says what to do."""
    command = ["triows", "run", "running:rooms", "--workers", "2", "--bind", "127.0.0.1:0"]
    with trio.fail_after(30):
        run = await trio.run_process(
            [sys.executable, "-m", *command], cwd=APPS, capture_stderr=True, check=False
        )

    assert run.returncode
    assert b"run one worker, or give the app a broker" in run.stderr
