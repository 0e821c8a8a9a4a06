"""SIGTERM: what the clients see, and how long it takes.

hypercorn stops to listen at once, gives connections `graceful_timeout` (3 s) to end, then
cancels them, and tells the app's lifespan last: until then triows knows nothing of it.
"""

from collections.abc import Awaitable, Callable, Iterable
from contextlib import AsyncExitStack
from functools import partial

import pytest
import trio

from tests.e2e.clients import Closed, connect, open_upgraded, read_to_end
from tests.e2e.servers import Server, on_both_servers, serving

SEND_TIMEOUT = 2
"""Seconds, in the app."""

GRACEFUL_TIMEOUT = 1
"""Seconds that the server waits before it cancels; its default is three."""

SLACK = 2
"""Seconds for two busy cores, and for the server's own steps."""

QUICKLY = ("--graceful-timeout", str(GRACEFUL_TIMEOUT))


async def see_the_end(
    server: Server, paths: Iterable[str], end: Callable[[], Awaitable[object]]
) -> dict[str, Closed]:
    """Connect a client to each path, end the server, and return what the clients saw."""
    seen: dict[str, Closed] = {}

    async with trio.open_nursery() as nursery:

        async def look(path: str, task_status: trio.TaskStatus[None]) -> None:
            async with connect(server.ws(path)) as connection:
                task_status.started()
                seen[path] = await read_to_end(connection)

        for path in paths:
            await nursery.start(look, path)
        await end()
    return seen


@on_both_servers
async def test_connections_that_are_open(server: str) -> None:
    """Every client sees 1001, whatever its handler does; the lifespan ends after the handlers."""
    paths = ["/echo", "/waits", "/pushes", "/says_goodbye"]
    async with serving("shutdown:app", *QUICKLY, server=server) as running:
        seen = await see_the_end(running, paths, running.stop)

    assert seen == dict.fromkeys(paths, Closed(1001))
    assert running.log.count("server draining: 4 connections are closed with 1001") == 1
    assert running.log.count("draining") == 1
    assert running.log.index("an echo ended while the pool was open") < running.log.index(
        "the pool is closed"
    )
    assert running.failures == []


@on_both_servers
async def test_a_handler_that_fails_when_it_is_cancelled(server: str) -> None:
    """Its failure is logged, and its client sees 1011; the server ends all the same."""
    paths = ["/fails_when_cancelled", "/echo"]
    async with serving("shutdown:app", *QUICKLY, server=server) as running:
        seen = await see_the_end(running, paths, running.stop)

    assert seen == {"/fails_when_cancelled": Closed(1011), "/echo": Closed(1001)}
    assert len(running.failures) == 1
    assert running.log.count("RuntimeError: fails_when_cancelled is broken") == 1


async def test_ctrl_c() -> None:
    """Ctrl-C, which reaches every process of the terminal, is the same as SIGTERM."""
    async with serving("shutdown:app", *QUICKLY) as running:
        press_ctrl_c = partial(running.stop, by_ctrl_c=True)
        seen = await see_the_end(running, ["/echo", "/waits"], press_ctrl_c)

    assert seen == {"/echo": Closed(1001), "/waits": Closed(1001)}
    assert running.failures == []
    assert "KeyboardInterrupt" not in running.log


@pytest.mark.parametrize("head_start", [0.0, 1.5], ids=["just-blocked", "blocked-for-long"])
async def test_clients_that_do_not_read(head_start: float) -> None:
    """A server that is blocked in writes ends within `send_timeout`; others still see 1001.

    On hypercorn only: anycorn, and hypercorn without the guard, never end.
    """
    async with serving("shutdown:app", *QUICKLY) as running, AsyncExitStack() as stack:
        for path in ["/floods"] * 3 + ["/echo"] * 3:
            await stack.enter_async_context(open_upgraded(running, path))
        await trio.sleep(head_start)
        taken: list[float] = []

        async def stop() -> None:
            taken.append(await running.stop())

        seen = await see_the_end(running, ["/echo"], stop)

    print(f"shut down in {taken[0]:.1f} s")
    assert taken[0] < max(SEND_TIMEOUT, GRACEFUL_TIMEOUT) + SLACK
    assert seen == {"/echo": Closed(1001)}
    assert running.failures == []
