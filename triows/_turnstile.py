"""A lock for the path of every message."""

import trio


class Turnstile:
    """Lets one task through at a time, in the order in which they came.

    Unlike `trio.Lock`, entering it while it is free is no checkpoint and costs next to
    nothing; whoever is inside must make one. A task that waits is handed the turn by
    the one that leaves, so nobody overtakes it.

    Attributes:
        is_taken: A task is inside. May be set by one that found it False, which is
            then inside; it may be reset by one that leaves and finds nobody waiting.
        waiting: Tasks that wait for their turn.
    """

    __slots__ = ("_queue", "is_taken", "waiting")

    def __init__(self) -> None:
        self.is_taken = False
        self.waiting = 0
        self._queue = trio.lowlevel.ParkingLot()

    def is_anyone_inside(self) -> bool:
        """Return `is_taken`, to be asked later."""
        return self.is_taken

    async def enter(self) -> None:
        """Wait for the turn; cancelled, it is passed on. No checkpoint if nobody is inside."""
        if self.is_taken:
            self.waiting += 1
            try:
                await self._queue.park()
            finally:
                self.waiting -= 1
        self.is_taken = True

    def leave(self) -> None:
        """Pass the turn to the task that has waited longest, or to whoever comes."""
        if not self._queue.unpark():
            self.is_taken = False

    async def __aenter__(self) -> None:
        await self.enter()

    async def __aexit__(self, *_: object) -> None:
        self.leave()
