"""What keeps all deadlines of a connection.

A `trio.Cancelled` that comes from a scope's own deadline carries no reason, and a task for
each limit would be paid for by connections that never reach one. So whoever has a deadline
sets it here by name, with what to do when it has passed, and somebody who keeps many timers,
or one task for this one, looks when the earliest has come. Nothing on the path of a message
touches a cancel scope: a limit that moves with every message ("idle for 60 s") is set once,
looks at the clock when it fires, and sets itself again if there was life.
"""

import math
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

import trio


class Timer:
    """Named deadlines, on Trio's clock.

    Args:
        wake: Told whenever `wakes_at` has become earlier.

    Attributes:
        wakes_at: When `expire_due` is to be called next; infinity for never.
    """

    __slots__ = ("_deadlines", "_wake", "wakes_at")

    def __init__(self, wake: Callable[["Timer"], None]) -> None:
        self.wakes_at: float = math.inf
        # A list: there are two or three, and a dict would be twice as large.
        self._deadlines: list[tuple[float, str, Callable[[], None]]] = []
        self._wake = wake

    def __contains__(self, name: str) -> bool:
        return any(name == other for _, other, _ in self._deadlines)

    def set(self, name: str, deadline: float, expire: Callable[[], None]) -> None:
        """Call `expire` once, by whoever keeps the timer, when the clock reaches the deadline.

        A deadline of the same name is replaced. `expire` must not block or raise;
        it may set deadlines, its own included.
        """
        self.clear(name)
        self._deadlines.append((deadline, name, expire))
        if deadline < self.wakes_at:
            self.wakes_at = deadline
            self._wake(self)

    def clear(self, name: str) -> None:
        """Forget the deadline of that name, if there is one."""
        for i, (_, other, _) in enumerate(self._deadlines):
            if name == other:
                del self._deadlines[i]
                return

    def expire_due(self) -> None:
        """Call what is due, and move `wakes_at` to the earliest deadline that is left."""
        now = trio.current_time()
        self.wakes_at = now  # what is set meanwhile wakes nobody: it is looked at below
        for due in [entry for entry in self._deadlines if entry[0] <= now]:
            # One that fires may have cleared another, or set it anew.
            if due in self._deadlines:
                self._deadlines.remove(due)
                due[2]()
        self.wakes_at = min((at for at, _, _ in self._deadlines), default=math.inf)


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
    nap = trio.CancelScope()
    timer = Timer(lambda timer: setattr(nap, "deadline", timer.wakes_at))
    shelter = trio.CancelScope(shield=True)

    async def keep_time() -> None:
        nonlocal nap
        with shelter:
            while True:
                with nap:
                    await trio.sleep_forever()
                timer.expire_due()
                nap = trio.CancelScope(deadline=timer.wakes_at)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(keep_time)
        try:
            yield timer
        finally:
            shelter.cancel(reason="the timer is no longer needed")
