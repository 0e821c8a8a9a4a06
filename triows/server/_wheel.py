"""One task for the deadlines of all connections.

Each connection has its own timer; the wheel only knows when each wants to be looked at, in
slots of `TICK` seconds. Setting and clearing a deadline touch no heap: most of them, like a
ping's, are moved again and again and rarely come.
"""

import math
from heapq import heappop, heappush
from typing import NoReturn

import trio

from triows._logs import log_failure
from triows._timer import Timer

TICK = 0.05
"""Seconds: no deadline comes early, and none more than this late."""


class WheelTimer(Timer):
    """A timer on the wheel. `slot` is the one that it waits in; -1 for none."""

    __slots__ = ("slot",)

    slot: int


class Wheel:
    """Keeps many timers, while somebody awaits `run`."""

    def __init__(self) -> None:
        self._slots: dict[int, set[WheelTimer]] = {}
        self._order: list[int] = []  # a heap of the slots
        self._nap: trio.CancelScope | None = None

    def __len__(self) -> int:
        return sum(map(len, self._slots.values()))

    def add(self) -> WheelTimer:
        """Return a new timer."""
        timer = WheelTimer(self._place)
        timer.slot = -1
        return timer

    def discard(self, timer: WheelTimer) -> None:
        """Forget a timer, whatever it has deadlines for."""
        waiting = self._slots.get(timer.slot)
        if waiting is not None:
            waiting.discard(timer)
        timer.slot = -1

    def _place(self, timer: Timer) -> None:
        assert isinstance(timer, WheelTimer), "this wheel has made it"
        self.discard(timer)
        slot = math.ceil(timer.wakes_at / TICK)
        waiting = self._slots.get(slot)
        if waiting is None:
            waiting = self._slots[slot] = set()
            heappush(self._order, slot)
            if self._nap is not None and slot == self._order[0]:
                self._nap.deadline = slot * TICK
        waiting.add(timer)
        timer.slot = slot

    async def run(self) -> NoReturn:
        """Look at the timers when they are due, until cancelled."""
        while True:
            earliest = self._order[0] * TICK if self._order else math.inf
            with trio.CancelScope(deadline=earliest) as self._nap:
                await trio.sleep_forever()
            self._turn()

    def _turn(self) -> None:
        # With a tolerance, or rounding could make a due slot not quite due, again and again.
        now = trio.current_time() / TICK + 1e-6
        while self._order and self._order[0] <= now:
            slot = heappop(self._order)
            for timer in self._slots.pop(slot):
                if timer.slot == slot:  # or one before it in this slot has ended its connection
                    self._expire(timer)

    def _expire(self, timer: WheelTimer) -> None:
        timer.slot = -1
        try:
            timer.expire_due()
        except Exception as exc:
            # The deadlines of everybody else go on.
            log_failure("a deadline of one connection failed", failure=exc)
        if timer.wakes_at < math.inf and timer.slot < 0:
            self._place(timer)
