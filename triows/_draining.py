"""A flag that can be waited for."""

from collections.abc import Generator
from typing import Any

import trio

EXTENSION = "triows.draining"
"""In a lifespan scope's extensions: the server's own `Draining`, set before it closes anything."""


class Draining:
    """Whether the server is letting its connections go; once true, it stays so.

    False or true where a condition is asked for (`while not websocket.draining`),
    and awaitable: `await websocket.draining` returns when it becomes true.
    """

    def __init__(self) -> None:
        self._event = trio.Event()

    def __bool__(self) -> bool:
        return self._event.is_set()

    def __await__(self) -> Generator[Any, None, None]:
        return self._event.wait().__await__()

    def set(self) -> None:
        """Make it true and wake everybody who waits. The app calls it, not handlers."""
        self._event.set()
