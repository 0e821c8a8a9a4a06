"""The server's part of the lifespan protocol, in memory (ASGI, lifespan)."""

from collections.abc import Sequence
from typing import Any, NoReturn

import trio

from triows._errors import StateError
from triows._groups import join
from triows._types import ASGIApp, Event
from triows.testing._calls import Call


class LifespanServer:
    """Starts and stops one app. Its `state` is what every scope of the app gets a copy of."""

    def __init__(self, app: ASGIApp, timeout: float) -> None:
        self.state: dict[str, Any] = {}
        self._timeout = timeout
        self._answers: list[Event] = []
        self._answered = trio.Event()
        self._shutdown = trio.Event()
        self._is_started = False
        scope = {
            "type": "lifespan",
            "asgi": {"version": "3.0", "spec_version": "2.0"},
            "state": self.state,
        }
        self._call = Call(app, scope, self._receive, self._send)

    async def run(self) -> None:
        """Call the app with the lifespan scope, until it returns."""
        try:
            await self._call.run()
        finally:
            self._answered.set()

    async def start(self) -> None:
        """Wait until the app has started, or has shown that it knows no lifespan.

        Raises:
            StateError: The app reported a failure, and no exception of it is known.
        """
        await self._wait_answer("start")
        if not self._answers:
            # As servers do: an app that raises at once may not know the protocol.
            self._call.errors.clear()
        self._raise_failures()

    async def stop(self) -> None:
        """Ask the app to shut down and wait until it has; raise what it failed with."""
        if not self._call.ended.is_set():
            self._answered = trio.Event()
            self._shutdown.set()
            await self._wait_answer("shut down")
        self._call.cancel("the server has ended")
        await self._call.wait_ended(self._timeout)
        self._raise_failures()

    async def _wait_answer(self, action: str) -> None:
        with trio.move_on_after(self._timeout):
            await self._answered.wait()
            return
        raise trio.TooSlowError(
            f"the app did not {action} within {self._timeout:g} s; {self._call.whereabouts()}"
        )

    def _raise_failures(self) -> None:
        errors, self._call.errors[:] = list(self._call.errors), []
        if errors:
            raise_all(errors)
        for answer in self._answers:
            if answer["type"].endswith(".failed"):
                raise StateError(f"the app answered {answer['type']}: {answer.get('message')}")

    async def _receive(self) -> Event:
        await trio.lowlevel.checkpoint()
        if not self._is_started:
            self._is_started = True
            return {"type": "lifespan.startup"}
        await self._shutdown.wait()
        return {"type": "lifespan.shutdown"}

    async def _send(self, event: Event) -> None:
        await trio.lowlevel.checkpoint()
        self._answers.append(event)
        self._answered.set()


def raise_all(
    errors: Sequence[BaseException], consequence: BaseException | None = None
) -> NoReturn:
    """Raise the error as it is, or a group of several; without a cause it gets what it led to."""
    failure = join(errors)
    context = failure.__context__
    if consequence is not None and failure.__cause__ is None and context is None:
        failure.__cause__ = consequence
    try:
        raise failure
    finally:
        # Python has put in what the test was doing; what led to the error says more.
        failure.__context__ = context or failure.__context__
