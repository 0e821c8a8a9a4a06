"""One task that keeps all deadlines of a connection.

A `trio.Cancelled` that comes from a scope's own deadline carries no reason, and a task for
each limit would be paid for by connections that never reach one. So whoever has a deadline
sets it here by name, with what to do when it has passed, and one task sleeps until the
earliest. Nothing on the path of a message touches a cancel scope: a limit that moves with
every message ("idle for 60 s") is set once, looks at the clock when it fires, and sets
itself again if there was life.
"""

import math
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import NoReturn

import trio


class Timer:
    """Named deadlines, on Trio's clock, kept by whoever awaits `run`."""

    def __init__(self) -> None:
        self._deadlines: dict[str, tuple[float, Callable[[], None]]] = {}
        self._nap: trio.CancelScope | None = None

    def __contains__(self, name: str) -> bool:
        return name in self._deadlines

    def set(self, name: str, deadline: float, expire: Callable[[], None]) -> None:
        """Call `expire` once, from the timer's task, when the clock reaches the deadline.

        A deadline of the same name is replaced. `expire` must not block or raise;
        it may set deadlines, its own included.
        """
        self._deadlines[name] = (deadline, expire)
        if self._nap is not None and deadline < self._nap.deadline:
            self._nap.deadline = deadline

    def clear(self, name: str) -> None:
        """Forget the deadline of that name, if there is one."""
        self._deadlines.pop(name, None)

    async def run(self) -> NoReturn:
        """Keep the deadlines until cancelled."""
        while True:
            earliest = min((at for at, _ in self._deadlines.values()), default=math.inf)
            with trio.CancelScope(deadline=earliest) as self._nap:
                await trio.sleep_forever()
            self._expire_due()

    def _expire_due(self) -> None:
        now = trio.current_time()
        due = [name for name, (deadline, _) in self._deadlines.items() if deadline <= now]
        for name in due:
            # One that fires may have cleared another.
            _, expire = self._deadlines.pop(name, (now, _nothing))
            expire()


def _nothing() -> None:
    """Stand in for a deadline that was cleared while others fired."""


class Watchdog:
    """Notices that some work makes no progress, and costs the work next to nothing.

    It looks `LOOKS` times in the given time while there is work, and not at all without:
    so what is stuck is noticed after the time, or a quarter of it later.

    Args:
        timer: Looks at the work.
        name: Of its deadline in the timer.
        seconds: How long there may be no progress.
        is_busy: Tells whether there is work at the moment.
        progress: Counts the steps of the work.
        bark: Called once when the work is stuck; then it sleeps.
        patience: How many times as long the present step may take; 1 by default.

    Attributes:
        is_awake: It is looking. If not, whoever begins a step calls `wake`.
    """

    __slots__ = (
        "_bark",
        "_is_busy",
        "_looks",
        "_name",
        "_patience",
        "_progress",
        "_seconds",
        "_seen",
        "_timer",
        "is_awake",
    )

    LOOKS = 4

    def __init__(
        self,
        timer: Timer,
        name: str,
        seconds: float,
        *,
        is_busy: Callable[[], bool],
        progress: Callable[[], int],
        bark: Callable[[], None],
        patience: Callable[[], int] = lambda: 1,
    ) -> None:
        self.is_awake = False
        self._timer = timer
        self._name = name
        self._seconds = seconds
        self._is_busy = is_busy
        self._progress = progress
        self._bark = bark
        self._patience = patience
        self._seen = 0
        self._looks = 0

    def wake(self) -> None:
        """Look after the work from now on; to be called after a step was counted."""
        self.is_awake = True
        self._seen = self._progress()
        self._looks = 0
        self._look_again()

    def _look_again(self) -> None:
        self._timer.set(self._name, trio.current_time() + self._seconds / self.LOOKS, self._look)

    def _look(self) -> None:
        if not self._is_busy():
            self.is_awake = False
            return
        progress = self._progress()
        self._looks = self._looks + 1 if self._seen == progress else 0
        self._seen = progress
        if self._looks < self.LOOKS * self._patience():
            self._look_again()
        else:
            self.is_awake = False
            self._bark()


@asynccontextmanager
async def open_timer() -> AsyncGenerator[Timer]:
    """Keep a timer around a block, also while the block is being cancelled.

    What is set there bounds shielded farewells, which are made in just that moment.
    """
    timer = Timer()
    shelter = trio.CancelScope(shield=True)

    async def keep_time() -> None:
        with shelter:
            await timer.run()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(keep_time)
        try:
            yield timer
        finally:
            shelter.cancel(reason="the timer is no longer needed")
