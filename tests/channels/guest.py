"""A run of Trio that goes on between the calls of code that is not async."""

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from queue import SimpleQueue
from typing import Generic, TypeVar

import outcome
import trio

T = TypeVar("T")
W = TypeVar("W")

PATIENCE = 30.0
"""Seconds without anything to do after which a call is stuck."""


class Guest(Generic[W]):
    """Trio, as a guest of the calling thread: it runs while `call` waits.

    Args:
        world: Entered in the run, and left at its end.

    Attributes:
        world: What it gave.
    """

    world: W

    def __init__(self, world: Callable[[], AbstractAsyncContextManager[W]]) -> None:
        self._work: SimpleQueue[Callable[[], object]] = SimpleQueue()
        self._outcome: outcome.Outcome[None] | None = None
        self._nursery: trio.Nursery | None = None
        self._stop = trio.Event()
        trio.lowlevel.start_guest_run(
            self._run,
            world,
            run_sync_soon_threadsafe=self._work.put,
            done_callback=self._end,
        )
        self._wait(lambda: self._nursery is not None)

    async def _run(self, world: Callable[[], AbstractAsyncContextManager[W]]) -> None:
        async with world() as self.world, trio.open_nursery() as nursery:
            self._token = trio.lowlevel.current_trio_token()
            self._nursery = nursery
            await self._stop.wait()

    def _end(self, how: outcome.Outcome[None]) -> None:
        self._outcome = how

    def _wait(self, is_so: Callable[[], bool]) -> None:
        while not is_so():
            if self._outcome is not None:
                self._outcome.unwrap()
            self._work.get(timeout=PATIENCE)()

    def call(self, fn: Callable[..., Awaitable[T]], *args: object) -> T:
        """Run an async function, and return what it returns."""
        assert self._nursery is not None, "the constructor has waited for it"
        results: list[outcome.Outcome[T]] = []

        async def run() -> None:
            results.append(await outcome.acapture(fn, *args))

        self._token.run_sync_soon(self._nursery.start_soon, run)
        self._wait(lambda: bool(results))
        return results[0].unwrap()

    def close(self) -> None:
        """Leave the world, and end the run."""
        self._token.run_sync_soon(self._stop.set)
        self._wait(lambda: self._outcome is not None)
        assert self._outcome is not None
        self._outcome.unwrap()
