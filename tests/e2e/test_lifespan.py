"""The app's own life: never a half-dead server."""

import pytest
import trio

from tests.e2e.clients import Closed, connect, read_to_end
from tests.e2e.servers import Server, on_both_servers, on_every_server, serving, starting

PROMPTLY = 10
"""Seconds in which a server starts, and ends because its app has failed, on two busy cores."""

with_an_honest_exit_status = pytest.mark.parametrize(
    ("server", "options"),
    [("hypercorn", ["--workers", "0"]), ("anycorn", [])],
    ids=["hypercorn-without-workers", "anycorn"],
)
"""Servers whose exit status is that of the process that serves.

hypercorn's own, where it has workers, is 0 also when they failed (pgjones/hypercorn#269):
a supervisor that restarts "on failure" does not restart it.
"""


async def fail_a_task(server: Server) -> dict[str, Closed]:
    """Make a task of the app fail, and return what the clients see that are connected."""
    seen: dict[str, Closed] = {}

    async def look(path: str, task_status: trio.TaskStatus[None]) -> None:
        async with connect(server.ws(path)) as connection:
            task_status.started()
            seen[path] = await read_to_end(connection)

    async with trio.open_nursery() as nursery:
        for path in ("/echo", "/waits", "/pulls_the_trigger"):
            await nursery.start(look, path)
    return seen


@on_every_server
async def test_a_task_of_the_app_fails(server: str) -> None:
    """Live connections get 1011, the failure is logged once, and the server ends by itself."""
    async with starting("lifespans:task_fails", server=server) as running:
        await running.wait_started()
        seen = await fail_a_task(running)
        with trio.fail_after(PROMPTLY):
            await running.wait_ended()

    assert seen == dict.fromkeys(["/echo", "/waits", "/pulls_the_trigger"], Closed(1011))
    # This is the line of the source that a traceback shows; the server repeats the message.
    assert running.log.count('raise RuntimeError("the app\'s task is broken")') == 1
    assert "ERROR triows.error" in running.log


@with_an_honest_exit_status
async def test_a_failed_app_is_a_failed_process(server: str, options: list[str]) -> None:
    """A process whose app has failed does not exit with 0."""
    async with starting("lifespans:task_fails", *options, server=server) as running:
        await running.wait_started()
        await fail_a_task(running)
        with trio.fail_after(PROMPTLY):
            status = await running.wait_ended()

    assert status > 0


@on_every_server
async def test_an_app_that_cannot_start(server: str) -> None:
    """The server ends by itself, and its log says once what went wrong."""
    async with starting("lifespans:startup_fails", server=server) as running:
        with trio.fail_after(PROMPTLY):
            await running.wait_ended()

    assert "ERROR triows.error: the app could not start" in running.log
    assert running.log.count('raise ConnectionRefusedError("no database at " + host)') == 1


@with_an_honest_exit_status
async def test_an_app_that_cannot_start_is_a_failed_process(
    server: str, options: list[str]
) -> None:
    """A process whose app could not start does not exit with 0."""
    async with starting("lifespans:startup_fails", *options, server=server) as running:
        with trio.fail_after(PROMPTLY):
            status = await running.wait_ended()

    assert status > 0


@on_every_server
async def test_an_app_that_fails_at_the_end(server: str) -> None:
    """What comes after the lifespan's yield may fail too; its traceback is in the log, once."""
    async with starting("lifespans:shutdown_fails", server=server) as running:
        await running.wait_started()
        running.process.terminate()
        with trio.fail_after(PROMPTLY):
            await running.wait_ended()

    assert "ERROR triows.error" in running.log
    assert running.log.count('raise RuntimeError("nothing was committed")') == 1


@on_every_server
async def test_what_the_lifespan_yields(server: str) -> None:
    """It is `websocket.state`, over any server that knows lifespans."""
    async with (
        serving("lifespans:provides", server=server) as running,
        connect(running.ws("/asks")) as connection,
    ):
        assert await connection.recv() == "the pool"


@on_both_servers
async def test_a_server_on_asyncio(server: str) -> None:
    """A server that was not told to use Trio ends at once, and its log says what to do."""
    async with starting(
        "lifespans:provides", "--worker-class", "asyncio", server=server
    ) as running:
        with trio.fail_after(PROMPTLY):
            await running.wait_ended()

    assert "triows runs on Trio: start hypercorn with --worker-class trio" in running.log
