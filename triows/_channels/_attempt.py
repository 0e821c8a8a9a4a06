"""Telling the broker of a topic, for all who wait for that.

The first one who needs it has it begun, in a task of the hub: so nobody who is cancelled takes it
away from the others, and all of them fail when it does, instead of one after the other. When none
of them waits any more it is given up.
"""

from collections.abc import Awaitable, Callable

import trio

from triows._errors import BrokerUnavailable


class Attempt:
    """One attempt to do something that several tasks wait for."""

    def __init__(self) -> None:
        self._waiting = 0
        self._scope = trio.CancelScope()
        self._end = trio.Event()
        self._failure: Exception | None = None

    async def run(self, fn: Callable[[], Awaitable[object]]) -> None:
        """Make it. What it raises is for those who wait."""
        try:
            with self._scope:
                await fn()
        except Exception as exc:
            self._failure = exc
        except BaseException:
            self._failure = BrokerUnavailable("the app is shutting down")
            raise
        finally:
            self._end.set()

    async def wait(self) -> None:
        """Wait for its end, which may be that it was given up before.

        Cancelled, it goes on if others wait.

        Raises:
            Exception: What it has raised.
        """
        self._waiting += 1
        try:
            await self._end.wait()
        finally:
            self._waiting -= 1
            if not self._waiting:
                self._scope.cancel(reason="nobody waits for it")
        if self._failure is not None:
            raise self._failure
