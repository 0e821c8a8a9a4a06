"""Apps whose lifespan, or a task of it, fails."""

import logging
from collections.abc import AsyncIterator

import trio

from triows import App, websocket

logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")

# A task of the app fails, at a client's word.

task_fails = App(__name__)


@task_fails.lifespan
async def start_task() -> AsyncIterator[dict[str, trio.Event]]:
    trigger = trio.Event()
    task_fails.start_soon(fail_after, trigger)
    yield {"trigger": trigger}


async def fail_after(trigger: trio.Event) -> None:
    await trigger.wait()
    raise RuntimeError("the app's task is broken")


@task_fails.websocket()
async def echo() -> None:
    async for message in websocket:
        await websocket.send(message)


@task_fails.websocket()
async def waits() -> None:
    await websocket.accept()
    await trio.sleep_forever()


@task_fails.websocket()
async def pulls_the_trigger() -> None:
    await websocket.accept()
    websocket.state.trigger.set()
    await trio.sleep_forever()


# The app cannot start.

startup_fails = App(__name__)


@startup_fails.lifespan
async def connect() -> AsyncIterator[dict[str, str]]:
    yield {"database": await open_database("10.0.0.1")}


async def open_database(host: str) -> str:
    raise ConnectionRefusedError("no database at " + host)


# The app cannot end.

shutdown_fails = App(__name__)


@shutdown_fails.lifespan
async def forget_to_commit() -> AsyncIterator[None]:
    yield
    raise RuntimeError("nothing was committed")


# What the lifespan yields is every connection's state.

provides = App(__name__)


@provides.lifespan
async def open_pool() -> AsyncIterator[dict[str, str]]:
    yield {"pool": "the pool"}


@provides.websocket()
async def asks() -> None:
    await websocket.send(websocket.state.pool)
