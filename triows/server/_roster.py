"""Who is connected to a server, and how all of them are let go."""

from collections import deque
from typing import Protocol

import trio

from triows._close import CloseInfo
from triows.server._drain import Drain


class Dismissible(Protocol):
    """A WebSocket connection, whoever serves it."""

    @property
    def closed(self) -> CloseInfo | None:
        """How it ended; None while it is open."""

    def dismiss(self, code: int, reason: str) -> None:
        """Close it on the server's behalf, without waiting; nothing, if it has ended."""


class Roster:
    """The WebSocket connections of a server, in the order in which they came.

    One is on it until its handler has ended, which is later than its own end.
    """

    def __init__(self) -> None:
        self._drain: Drain | None = None  # by which all are closed
        self._connections: dict[Dismissible, None] = {}
        self._changed = trio.lowlevel.ParkingLot()

    def __len__(self) -> int:
        return len(self._connections)

    def add(self, connection: Dismissible) -> None:
        """Put a connection on it; one that comes too late is dismissed at once."""
        self._connections[connection] = None
        if self._drain is not None:
            connection.dismiss(self._drain.code, self._drain.reason)

    def remove(self, connection: Dismissible) -> None:
        """Take one off it, which is there."""
        del self._connections[connection]
        self._changed.unpark_all()

    async def wait_none(self) -> None:
        """Wait until there is no connection; no checkpoint if there is none."""
        while self._connections:
            await self._changed.park()

    async def close_all(self, drain: Drain) -> None:
        """Close those that are there now, in batches, until nobody is left of them that waits.

        Its handshake may still be on its way to the app: who comes later is closed, too.
        """
        self._drain = drain
        waiting = deque(self._connections)
        while waiting:
            left = drain.batch
            while left and _drop_gone(waiting):
                waiting.popleft().dismiss(drain.code, drain.reason)
                left -= 1
            with trio.move_on_after(drain.interval):
                while _drop_gone(waiting):
                    await self._changed.park()


def _drop_gone(waiting: deque[Dismissible]) -> bool:
    """Forget who has ended, up to the first who has not; return whether there is one."""
    while waiting and waiting[0].closed is not None:
        waiting.popleft()
    return bool(waiting)
