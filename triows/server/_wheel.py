"""One task for the deadlines of all connections.

Each connection has its own timer; the wheel only knows when each wants to be looked at, in
slots of `TICK` seconds. Setting and clearing a deadline touch no heap: most of them, like a
ping's, are moved again and again and rarely come.
"""

import math
from collections import deque
from heapq import heappop, heappush
from typing import NoReturn

import trio

from triows._logs import log_failure
from triows._timer import Timer

TICK = 0.05
"""Seconds: no deadline comes early, and none more than this late."""

TURN = 64
"""Timers looked at before everybody else has a turn: each may parse a millisecond's worth."""

_NONE = -1

_EXPIRING = -2


class WheelTimer(Timer):
    """A timer on the wheel; `slot` is the one that it waits in, if that is not negative."""

    __slots__ = ("slot",)

    slot: int


class Wheel:
    """Keeps many timers, while somebody awaits `run`."""

    def __init__(self) -> None:
        self._slots: dict[int, set[WheelTimer]] = {}
        self._order: list[int] = []  # a heap of the slots
        self._past = -1  # the last slot that was looked at
        self._due: deque[tuple[int, WheelTimer]] = deque()  # of such slots, in order
        self._nap: trio.CancelScope | None = None
        self._wake = self._place  # one for all timers

    def __len__(self) -> int:
        due = sum(timer.slot == slot for slot, timer in self._due)
        return due + sum(map(len, self._slots.values()))

    def add(self) -> WheelTimer:
        """Return a new timer."""
        timer = WheelTimer(self._wake)
        timer.slot = _NONE
        return timer

    def discard(self, timer: WheelTimer) -> None:
        """Forget a timer, whatever it has deadlines for."""
        waiting = self._slots.get(timer.slot)
        if waiting is not None:
            waiting.discard(timer)
        timer.slot = _NONE

    def _place(self, timer: Timer) -> None:
        assert isinstance(timer, WheelTimer), "this wheel has made it"
        self.discard(timer)
        slot = math.ceil(timer.wakes_at / TICK)
        if slot <= self._past:
            # What has passed long ago comes with the next turn; but who is not quite due, by
            # rounding, with the next tick, or there would be turn after turn until it is.
            slot = self._past + (slot == self._past)
        waiting = self._slots.get(slot)
        if waiting is None:
            waiting = self._slots[slot] = set()
            heappush(self._order, slot)
            if self._nap is not None and slot == self._order[0]:
                self._nap.deadline = slot * TICK
        waiting.add(timer)
        timer.slot = slot

    @trio.lowlevel.enable_ki_protection
    async def run(self) -> NoReturn:
        """Look at the timers when they are due, until cancelled."""
        while True:
            with trio.CancelScope(deadline=self._earliest()) as self._nap:
                await trio.sleep_forever()
            self._turn()

    def _earliest(self) -> float:
        if self._due:
            return -math.inf
        return self._order[0] * TICK if self._order else math.inf

    def _turn(self) -> None:
        # With a tolerance, or rounding could make a due slot not quite due, again and again.
        now = trio.current_time() / TICK + 1e-6
        while self._order and self._order[0] <= now:
            slot = heappop(self._order)
            self._due.extend((slot, timer) for timer in self._slots.pop(slot))
            self._past = slot
        # What is set meanwhile waits behind those that are due: who wants to be called at once,
        # again and again, would not let this turn end, nor the others have theirs.
        for _ in range(min(TURN, len(self._due))):
            slot, timer = self._due.popleft()
            if timer.slot == slot:  # or one before it has ended its connection
                self._expire(timer)

    def _expire(self, timer: WheelTimer) -> None:
        timer.slot = _EXPIRING
        try:
            timer.expire_due()
        except Exception as exc:
            # The deadlines of everybody else go on.
            log_failure("a deadline of one connection failed", failure=exc)
        if timer.slot == _EXPIRING:  # or it was discarded
            timer.slot = _NONE
            if timer.wakes_at < math.inf:
                self._place(timer)
