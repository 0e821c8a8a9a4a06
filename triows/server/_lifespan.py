"""The server's part of the lifespan protocol (ASGI, lifespan)."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import trio

from triows._draining import EXTENSION, Draining
from triows._groups import leaves_of
from triows._logs import error_log
from triows._types import ASGIApp, Event


class AppFailed(Exception):
    """The app could not start, or failed while it was served; it has said so in the log.

    `__cause__` is what it raised, where that is known.
    """


class Lifespan:
    """One call of an app with the lifespan scope.

    Attributes:
        state: What the app has put there; every connection gets a copy.
        draining: Set by the server when it lets its connections go.
        ended: The app is finished with, asked or unasked.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.state: dict[str, Any] = {}
        self.draining = Draining()
        self.ended = trio.Event()
        self._app = app
        self._is_started = False
        self._answer: Event | None = None
        self._answered = trio.Event()
        self._shutdown = trio.Event()
        self._failures: list[Exception] = []

    async def run(self) -> None:
        """Call the app; an exception of one that has not answered means it has no lifespan."""
        scope = {
            "type": "lifespan",
            "asgi": {"version": "3.0", "spec_version": "2.0"},
            "state": self.state,
            "extensions": {EXTENSION: self.draining, "triows.errors": self._failures.append},
        }
        try:
            await self._app(scope, self._receive, self._send)
        except* Exception as group:
            if self._answer is not None:
                self._failures += leaves_of(group)
                self._answer = {"type": "lifespan.shutdown.failed", "message": str(group)}
            else:
                error_log.debug("the app has no lifespan: %r", group)
        finally:
            self.ended.set()
            self._answered.set()

    async def _receive(self) -> Event:
        await trio.lowlevel.checkpoint()
        if not self._is_started:
            self._is_started = True
            return {"type": "lifespan.startup"}
        await self._shutdown.wait()
        return {"type": "lifespan.shutdown"}

    async def _send(self, event: Event) -> None:
        await trio.lowlevel.checkpoint()
        self._answer = event
        self._answered.set()
        if event["type"] != "lifespan.startup.complete":
            self.ended.set()

    async def start(self, seconds: float) -> None:
        """Wait until the app has started, or has shown that it knows no lifespan.

        Raises:
            AppFailed: It could not start, or not in that time.
        """
        await self._wait("start", seconds)

    async def stop(self, seconds: float) -> None:
        """Ask the app to shut down, and wait until it has.

        Raises:
            AppFailed: It failed, now or before, or did not end in that time.
        """
        if not self.ended.is_set():
            self._answered = trio.Event()
            self._shutdown.set()
            await self._wait("shut down", seconds)
        self.raise_failure()

    async def _wait(self, action: str, seconds: float) -> None:
        with trio.move_on_after(seconds) as scope:
            await self._answered.wait()
        if scope.cancelled_caught:
            raise AppFailed(f"the app did not {action} within {seconds:g} s")
        self.raise_failure()

    def raise_failure(self) -> None:
        """Raise what the app has reported, if it has."""
        answer = self._answer
        if answer is None or not answer["type"].endswith(".failed"):
            return
        cause = None
        if self._failures:
            several = len(self._failures) > 1
            cause = (
                ExceptionGroup("the app failed", self._failures) if several else self._failures[0]
            )
        raise AppFailed(f"the app failed: {answer.get('message') or cause!r}") from cause


@asynccontextmanager
async def open_lifespan(app: ASGIApp, startup: float, shutdown: float) -> AsyncGenerator[Lifespan]:
    """Run an app's lifespan around a block.

    It is shielded: when the block is cancelled, the app is still asked to shut down, and has
    `shutdown` seconds. Both times are in seconds.

    Raises:
        AppFailed: From the start, from the end, and from `raise_failure` in between.
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
