"""One task that keeps all deadlines of a connection."""

import math
from collections.abc import Callable

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from triows._timer import Timer, Watchdog, open_timer


class Calls:
    """What expired, and when."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, float]] = []

    def __call__(self, name: str) -> Callable[[], None]:
        """Return what notes the name when it is called."""
        return lambda: self.calls.append((name, trio.current_time()))


@pytest.fixture
def called() -> Calls:
    """Record what expires."""
    return Calls()


async def test_expires_once_at_its_deadline(autojump_clock: MockClock, called: Calls) -> None:
    """What was set is called when the clock reaches the deadline, once."""
    async with open_timer() as timer:
        timer.set("idle", 60, called("idle"))
        await trio.sleep(1000)

    assert [("idle", 60.0)] == called.calls


async def test_each_expires_at_its_own_time(autojump_clock: MockClock, called: Calls) -> None:
    """Deadlines may be set in any order, also while the timer sleeps."""
    async with open_timer() as timer:
        timer.set("b", 20, called("b"))
        await trio.testing.wait_all_tasks_blocked()
        timer.set("c", 30, called("c"))
        timer.set("a", 10, called("a"))
        await trio.sleep(1000)

    assert [("a", 10.0), ("b", 20.0), ("c", 30.0)] == called.calls


async def test_past_deadline(autojump_clock: MockClock, called: Calls) -> None:
    """A deadline that has passed already expires at the next opportunity, not within `set`."""
    await trio.sleep(5)
    async with open_timer() as timer:
        timer.set("late", 1, called("late"))
        assert [] == called.calls
        await trio.testing.wait_all_tasks_blocked()

    assert [("late", 5.0)] == called.calls


async def test_set_again(autojump_clock: MockClock, called: Calls) -> None:
    """A deadline of the same name is replaced, by a later or an earlier one."""
    async with open_timer() as timer:
        timer.set("later", 10, called("old"))
        timer.set("earlier", 50, called("old"))
        await trio.testing.wait_all_tasks_blocked()
        timer.set("later", 40, called("later"))
        timer.set("earlier", 30, called("earlier"))
        await trio.sleep(1000)

    assert [("earlier", 30.0), ("later", 40.0)] == called.calls


async def test_clear(autojump_clock: MockClock, called: Calls) -> None:
    """A deadline that was cleared is forgotten; clearing what is not there does nothing."""
    async with open_timer() as timer:
        timer.set("a", 10, called("a"))
        assert "a" in timer
        timer.clear("a")
        timer.clear("a")
        assert "a" not in timer
        await trio.sleep(1000)

    assert [] == called.calls


async def test_expired_is_no_longer_set(autojump_clock: MockClock, called: Calls) -> None:
    """What has expired is forgotten before it is called, so that it can set itself again."""
    async with open_timer() as timer:

        def expire() -> None:
            called("tick")()
            assert "tick" not in timer
            if trio.current_time() < 30:
                timer.set("tick", trio.current_time() + 10, expire)

        timer.set("tick", 10, expire)
        await trio.sleep(1000)

    assert [("tick", 10.0), ("tick", 20.0), ("tick", 30.0)] == called.calls


async def test_one_clears_another(autojump_clock: MockClock, called: Calls) -> None:
    """Of several that are due together, the first may clear the others."""
    async with open_timer() as timer:
        timer.set("a", 10, lambda: timer.clear("b"))
        timer.set("b", 10, called("b"))
        await trio.sleep(1000)

    assert [] == called.calls


async def test_one_moves_another(autojump_clock: MockClock, called: Calls) -> None:
    """One that expires may give another more time."""
    async with open_timer() as timer:
        timer.set("a", 10, lambda: timer.set("b", 50, called("b")))
        timer.set("b", 20, called("b"))
        await trio.sleep(1000)

    assert [("b", 50.0)] == called.calls


async def test_infinite_deadline(autojump_clock: MockClock, called: Calls) -> None:
    """A deadline of `math.inf` never comes, and can still be moved."""
    async with open_timer() as timer:
        timer.set("never", math.inf, called("never"))
        await trio.sleep(1000)
        timer.set("never", 2000, called("after all"))
        await trio.sleep(5000)

    assert [("after all", 2000.0)] == called.calls


async def test_ends_with_its_block(autojump_clock: MockClock, called: Calls) -> None:
    """What has not expired when the block is left never will, and nobody waits for it."""
    async with open_timer() as timer:
        timer.set("a", 10, called("a"))

    assert 0 == trio.current_time()
    await trio.sleep(1000)
    assert [] == called.calls


async def test_bounds_a_shielded_farewell(autojump_clock: MockClock) -> None:
    """The timer goes on while its block is cancelled: that is when farewells need a bound."""
    with trio.move_on_after(10):
        async with open_timer() as timer:
            try:
                await trio.sleep_forever()
            finally:
                with trio.CancelScope(shield=True) as farewell:
                    timer.set("farewell", trio.current_time() + 1, farewell.cancel)
                    await trio.sleep_forever()

    assert 11 == trio.current_time()


async def test_failure_of_the_block(autojump_clock: MockClock, called: Calls) -> None:
    """What the block raises comes out in a group, as from a nursery, and ends the timer."""
    with pytest.RaisesGroup(pytest.RaisesExc(ValueError, match="mine")):
        async with open_timer() as timer:
            timer.set("a", 10, called("a"))
            raise ValueError("mine")

    await trio.sleep(1000)
    assert [] == called.calls


class Work:
    """Something that is done in steps, under the eye of a watchdog."""

    def __init__(self, timer: Timer, seconds: float) -> None:
        self.is_busy = False
        self.barks: list[float] = []
        self.steps = 0
        self.watchdog = Watchdog(
            timer,
            "work",
            seconds,
            is_busy=lambda: self.is_busy,
            progress=lambda: self.steps,
            bark=self._bark,
        )

    def step(self) -> None:
        """Begin a step, as the users of a watchdog do."""
        self.is_busy = True
        self.steps += 1
        if not self.watchdog.is_awake:
            self.watchdog.wake()

    def _bark(self) -> None:
        self.barks.append(trio.current_time())


async def test_watchdog_barks_once_at_what_is_stuck(autojump_clock: MockClock) -> None:
    """Work without progress is noticed after the time, once; new progress starts it afresh."""
    async with open_timer() as timer:
        work = Work(timer, 20)
        work.step()
        await trio.sleep(100)
        assert [20.0] == work.barks
        work.step()
        await trio.sleep(100)

    assert [20.0, 120.0] == work.barks


async def test_watchdog_is_not_late(autojump_clock: MockClock) -> None:
    """A step that begins between two looks is given a quarter of the time more at most."""
    async with open_timer() as timer:
        work = Work(timer, 20)
        work.step()
        await trio.sleep(1)
        work.step()
        await trio.sleep(100)

    assert [25.0] == work.barks


async def test_watchdog_leaves_progress_alone(autojump_clock: MockClock) -> None:
    """However long the work takes, steps keep the watchdog quiet."""
    async with open_timer() as timer:
        work = Work(timer, 20)
        for _ in range(50):
            work.step()
            await trio.sleep(15)

    assert [] == work.barks


async def test_watchdog_sleeps_without_work(autojump_clock: MockClock) -> None:
    """Once the work is done, nothing looks after it until there is some again."""
    async with open_timer() as timer:
        work = Work(timer, 20)
        work.step()
        work.is_busy = False
        await trio.sleep(100)
        assert not work.watchdog.is_awake
        assert "work" not in timer
        work.step()
        await trio.sleep(100)

    assert [120.0] == work.barks
