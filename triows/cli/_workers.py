"""Workers that are kept up: what dies is replaced, unless that is hopeless.

The first worker starts alone. What is wrong with the app fails there, and is reported once and
not by every worker; from then on a worker that does not come up is no fault of the target.
"""

from collections.abc import Awaitable, Callable
from typing import NoReturn, TypeAlias

import trio

from triows._groups import leaves_of
from triows.cli._logs import say
from triows.cli._processes import ending_of
from triows.cli._statuses import APP_FAILED, FAILED, MISUSED, NOT_KEPT_UP

RunWorker: TypeAlias = Callable[[Callable[[], object]], Awaitable[int]]
"""Runs a worker until it ends by itself, and returns its exit status.

Takes what is to be called when the worker serves; cancelled, it lets the worker drain.
"""

DELAYS = (1, 2, 4, 8)
"""Seconds until a worker is replaced that died quickly, the first time, the second, and so on.

After the last one it is given up.
"""

STEADY = 30.0
"""Seconds after which the death of a worker that has served is not quick."""

EXPLAINED = (FAILED, MISUSED, APP_FAILED, NOT_KEPT_UP)
"""Exit statuses of a worker that has said itself what is wrong."""


class NotKeptUp(Exception):
    """A worker was given up.

    Attributes:
        status: What the program is to exit with.
    """

    def __init__(self, status: int = NOT_KEPT_UP) -> None:
        super().__init__(status)
        self.status = status


async def supervise(count: int, run_worker: RunWorker, on_serving: Callable[[], object]) -> int:
    """Keep so many workers up, until one is given up; return the exit status for that.

    The others drain then, as all do when it is cancelled. Once all of them serve, `on_serving`
    is called.
    """
    status = 0
    try:
        async with trio.open_nursery() as nursery:
            for places in (1, count - 1):
                ups = [trio.Event() for _ in range(places)]
                for up in ups:
                    nursery.start_soon(keep_up, run_worker, up)
                for up in ups:
                    await up.wait()
            on_serving()
    except* NotKeptUp as group:
        status = max(exc.status for exc in leaves_of(group))
    return status


async def keep_up(run_worker: RunWorker, up: trio.Event) -> NoReturn:
    """Run one worker after another; the event is set when the first one serves.

    Raises:
        NotKeptUp: The first one never served, or too many died quickly, one after the other.
    """
    deaths = 0
    while True:
        began = trio.current_time()
        status, has_served = await _run_one(run_worker, up)
        if not up.is_set():
            raise _explain_start(status)
        if has_served and status == 0:
            say("a worker has ended, unasked by its supervisor; another one starts")
            continue
        is_quick = not has_served or trio.current_time() - began <= STEADY
        deaths = deaths + 1 if is_quick else 1
        ending = ending_of(status) if has_served else _early_ending_of(status)
        if deaths > len(DELAYS):
            say(f"a worker {ending}, and so did {len(DELAYS)} before it: giving up")
            raise NotKeptUp
        delay = DELAYS[deaths - 1]
        say(f"a worker {ending}; another one starts in {delay} s")
        await trio.sleep(delay)


async def _run_one(run_worker: RunWorker, up: trio.Event) -> tuple[int, bool]:
    """Run a worker, and return its exit status and whether it has served."""
    serves = trio.Event()

    def on_ready() -> None:
        serves.set()
        up.set()

    return await run_worker(on_ready), serves.is_set()


def _explain_start(status: int) -> NotKeptUp:
    if status in EXPLAINED:
        return NotKeptUp(status)
    say(f"a worker {_early_ending_of(status)}")
    return NotKeptUp()


def _early_ending_of(status: int) -> str:
    return f"{ending_of(status)} before it served"
