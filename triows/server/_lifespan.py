"""The server's part of the lifespan protocol (ASGI, lifespan)."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import trio

from triows._draining import EXTENSION, Draining
from triows._errors import StateError
from triows._groups import join, leaves_of
from triows._logs import error_log, log_failure
from triows._types import ASGIApp, Event


class AppFailed(Exception):
    """The app could not start, or failed while it was served.

    `__cause__` is what it raised, where that is known.
    """


class Lifespan:
    """One call of an app with the lifespan scope.

    Attributes:
        state: What the app has put there; every connection gets a copy.
        draining: Set by the server when it lets its connections go.
        failed: Set when the app has failed: the server is to end, asked or unasked.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.state: dict[str, Any] = {}
        self.draining = Draining()
        self.failed = trio.Event()
        self._app = app
        self._is_told = False  # of the startup
        self._shutdown = trio.Event()
        self._started = trio.Event()  # or has shown that it knows no lifespan
        self._stopped = trio.Event()
        self._complaint = ""
        self._failures: list[Exception] = []

    async def run(self) -> None:
        """Call the app; what it raises is told by `start` and `stop`."""
        scope = {
            "type": "lifespan",
            "asgi": {"version": "3.0", "spec_version": "2.0"},
            "state": self.state,
            "extensions": {EXTENSION: self.draining, "triows.errors": self._failures.append},
        }
        try:
            await self._app(scope, self._receive, self._send)
        except* Exception as group:
            self._hear_failures(leaves_of(group))
        finally:
            self._started.set()
            self._stopped.set()

    def _hear_failures(self, failures: list[Exception]) -> None:
        if self._started.is_set():
            self._failures += failures
            self._fail("the app failed", "; ".join(map(_describe, failures)))
        elif self._is_told:
            # The server must continue then (ASGI, lifespan), but it was hardly meant.
            for failure in failures:
                log_failure("the app has no lifespan, or failed in it", failure=failure)
        else:
            error_log.debug("the app has no lifespan: %s", "; ".join(map(_describe, failures)))

    def _fail(self, what: str, why: str) -> None:
        if not self.failed.is_set():
            self._complaint = f"{what}: {why}" if why else what
            self.failed.set()
        self._started.set()
        self._stopped.set()

    async def _receive(self) -> Event:
        await trio.lowlevel.checkpoint()
        if not self._is_told:
            self._is_told = True
            return {"type": "lifespan.startup"}
        await self._shutdown.wait()
        return {"type": "lifespan.shutdown"}

    async def _send(self, event: Event) -> None:
        await trio.lowlevel.checkpoint()
        match event["type"]:
            case "lifespan.startup.complete":
                self._started.set()
            case "lifespan.startup.failed":
                self._fail("the app could not start", event.get("message", ""))
            case "lifespan.shutdown.complete":
                self._stopped.set()
            case "lifespan.shutdown.failed":
                self._fail("the app failed", event.get("message", ""))
            case kind:
                raise StateError(f"cannot send {kind!r}: the lifespan protocol has no such event")

    async def start(self, seconds: float) -> None:
        """Wait until the app has started, or has shown that it knows no lifespan.

        Raises:
            AppFailed: It could not start, or not in that time.
        """
        await self._wait(self._started, "start", seconds)

    async def stop(self, seconds: float) -> None:
        """Ask the app to shut down, and wait until it has.

        Raises:
            AppFailed: It failed, now or before, or did not end in that time.
        """
        self._shutdown.set()
        await self._wait(self._stopped, "shut down", seconds)

    async def _wait(self, answered: trio.Event, action: str, seconds: float) -> None:
        with trio.move_on_after(seconds) as scope:
            await answered.wait()
        if scope.cancelled_caught:
            raise AppFailed(f"the app did not {action} within {seconds:g} s")
        if self.failed.is_set():
            raise AppFailed(self._complaint) from (join(self._failures) if self._failures else None)


def _describe(failure: Exception) -> str:
    return f"{type(failure).__name__}: {failure}"


@asynccontextmanager
async def open_lifespan(app: ASGIApp, startup: float, shutdown: float) -> AsyncGenerator[Lifespan]:
    """Run an app's lifespan around a block.

    It is shielded: when the block is cancelled, the app is still asked to shut down, and has
    `shutdown` seconds. Both times are in seconds.

    Raises:
        AppFailed: From the start or from the end, in a group.
    """
    lifespan = Lifespan(app)
    shelter = trio.CancelScope(shield=True)

    async def live() -> None:
        with shelter:
            await lifespan.run()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(live)
        try:
            await lifespan.start(startup)
            try:
                yield lifespan
            finally:
                with trio.CancelScope(shield=True):
                    await lifespan.stop(shutdown)
        finally:
            shelter.cancel(reason="the server has ended")
