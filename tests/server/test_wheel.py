"""One task for the deadlines of all connections."""

import math
import signal
from collections.abc import Callable, Generator
from functools import partial

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from tests.support import tracebacks
from triows._timer import Timer
from triows.server._wheel import TICK, TURN, Wheel, WheelTimer


class Calls:
    """What expired, and when."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, float]] = []

    def __call__(self, name: str) -> Callable[[], None]:
        """Return what notes the name when it is called."""
        return lambda: self.calls.append((name, trio.current_time()))

    @property
    def names(self) -> list[str]:
        """What expired, in order."""
        return [name for name, _ in self.calls]


@pytest.fixture
def called() -> Calls:
    """Record what expires."""
    return Calls()


async def turn_for(wheel: Wheel, seconds: float) -> None:
    """Run the wheel for some seconds of the clock."""
    with trio.move_on_after(seconds):
        await wheel.run()


async def test_expires_once_at_its_deadline(autojump_clock: MockClock, called: Calls) -> None:
    """What was set is called once, when the clock has reached the deadline."""
    wheel = Wheel()
    wheel.add().set("idle", 60.0, called("idle"))
    await turn_for(wheel, 1000)

    assert [("idle", 60.0)] == called.calls
    assert 0 == len(wheel)


@pytest.mark.parametrize("deadline", [0.01, 0.049, 0.051, 7.7777, 19.999])
async def test_a_little_late_never_early(
    autojump_clock: MockClock, called: Calls, deadline: float
) -> None:
    """A deadline between two ticks is noticed at the second."""
    wheel = Wheel()
    wheel.add().set("idle", deadline, called("idle"))
    await turn_for(wheel, 1000)

    [(_, at)] = called.calls
    assert deadline <= at < deadline + TICK


async def test_timers_expire_in_the_order_of_their_deadlines(
    autojump_clock: MockClock, called: Calls
) -> None:
    """Each timer has its own time, in whatever order they were set."""
    wheel = Wheel()
    for name, deadline in ("b", 20.0), ("c", 30.0), ("a", 10.0):
        wheel.add().set(name, deadline, called(name))
    await turn_for(wheel, 1000)

    assert [("a", 10.0), ("b", 20.0), ("c", 30.0)] == called.calls


async def test_many_timers_share_a_tick(autojump_clock: MockClock, called: Calls) -> None:
    """What is due within one tick is called together."""
    wheel = Wheel()
    for i in range(100):
        wheel.add().set("ping", 10.0 + i / 10_000, called("ping"))
    assert 100 == len(wheel)
    await turn_for(wheel, 1000)

    assert ["ping"] * 100 == called.names
    assert 1 == len({at for _, at in called.calls} - {10.0})


async def test_one_timer_has_several_deadlines(autojump_clock: MockClock, called: Calls) -> None:
    """A timer is looked at when its earliest deadline has come, and waits for the next."""
    wheel = Wheel()
    timer = wheel.add()
    timer.set("late", 30.0, called("late"))
    timer.set("early", 10.0, called("early"))
    assert 1 == len(wheel)
    await turn_for(wheel, 1000)

    assert [("early", 10.0), ("late", 30.0)] == called.calls


async def test_set_while_it_sleeps(autojump_clock: MockClock, called: Calls) -> None:
    """A running wheel wakes for what is set later, whether it comes earlier or later."""
    wheel = Wheel()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(wheel.run)
        await trio.testing.wait_all_tasks_blocked()
        wheel.add().set("second", 20.0, called("second"))
        await trio.testing.wait_all_tasks_blocked()
        wheel.add().set("third", 30.0, called("third"))
        wheel.add().set("first", 10.0, called("first"))
        await trio.sleep(1000)
        nursery.cancel_scope.cancel()

    assert [("first", 10.0), ("second", 20.0), ("third", 30.0)] == called.calls


async def test_moved_deadline(autojump_clock: MockClock, called: Calls) -> None:
    """A deadline that was moved is called at its last time only."""
    wheel = Wheel()
    timer = wheel.add()
    timer.set("idle", 10.0, called("moved"))
    timer.set("idle", 40.0, called("idle"))
    await turn_for(wheel, 1000)

    assert [("idle", 40.0)] == called.calls


async def test_cleared_deadline(autojump_clock: MockClock, called: Calls) -> None:
    """A deadline that was cleared is not called, and the timer leaves the wheel in time."""
    wheel = Wheel()
    timer = wheel.add()
    timer.set("close", 10.0, called("close"))
    timer.clear("close")
    await turn_for(wheel, 11)

    assert [] == called.calls
    assert 0 == len(wheel)


async def test_sets_itself_again(autojump_clock: MockClock, called: Calls) -> None:
    """What expires may set the next deadline, also one that has passed: that comes at once."""
    wheel = Wheel()
    timer = wheel.add()

    def ping() -> None:
        called("ping")()
        timer.set("ping", trio.current_time() + 20, ping)
        timer.set("once", trio.current_time() - 5, called("once"))

    timer.set("ping", 20.0, ping)
    await turn_for(wheel, 50)

    assert ["ping", "once", "ping", "once"] == called.names
    assert [20.0, 20.0, 40.0, 40.0] == pytest.approx([at for _, at in called.calls])


@pytest.mark.timeout(5)
async def test_deadline_that_has_passed_again_and_again(
    autojump_clock: MockClock, called: Calls
) -> None:
    """Whoever always wants to be called at once is called in turn with everybody else."""
    wheel = Wheel()
    timer = wheel.add()

    def impatient() -> None:
        called("impatient")()
        timer.set("impatient", 0.0, impatient)

    async def bystander() -> None:
        for _ in range(20):
            called("bystander")()
            await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wheel.run)
        await trio.sleep(1)
        timer.set("impatient", 0.0, impatient)
        nursery.start_soon(bystander)

    assert 20 == called.names.count("bystander")
    assert 10 <= called.names.count("impatient") <= 30


@pytest.mark.timeout(5)
async def test_a_thousand_deadlines_that_have_passed(
    autojump_clock: MockClock, called: Calls
) -> None:
    """Everybody else has a turn between some of them, and an ordinary deadline comes among them."""
    wheel = Wheel()
    timers = [wheel.add() for _ in range(1000)]

    def impatient(i: int) -> None:
        called(f"{i}")()
        timers[i].set("impatient", 0.0, partial(impatient, i))

    async def bystander() -> None:
        for _ in range(2 * 1000 // TURN):
            called("bystander")()
            await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wheel.run)
        await trio.sleep(1)
        for i in range(1000):
            impatient(i)
        wheel.add().set("ordinary", trio.current_time(), called("ordinary"))
        called.calls.clear()
        assert 1001 == len(wheel)
        nursery.start_soon(bystander)

    turns = " ".join(called.names).split("bystander")
    # Trio shuffles the tasks that are ready: one may have two turns, and then the other.
    assert 2 * TURN >= max(len(turn.split()) for turn in turns)
    assert "ordinary" in called.names
    assert {1, 2, 3} >= {called.names.count(f"{i}") for i in range(1000)}


@pytest.mark.timeout(5)
async def test_rounding(autojump_clock: MockClock, called: Calls) -> None:
    """A deadline that division rounds down to a tick before it waits for the next."""
    deadline = math.nextafter(9 * TICK, math.inf)
    assert 9 == math.ceil(deadline / TICK)
    wheel = Wheel()
    wheel.add().set("idle", deadline, called("idle"))
    await turn_for(wheel, 1000)

    [(_, at)] = called.calls
    assert deadline <= at <= deadline + TICK


# Forgetting


async def test_discard(autojump_clock: MockClock, called: Calls) -> None:
    """A timer that was discarded is never looked at again, and again does no harm."""
    wheel = Wheel()
    timer, other = wheel.add(), wheel.add()
    timer.set("ping", 10.0, called("ping"))
    other.set("other", 10.0, called("other"))
    wheel.discard(timer)
    wheel.discard(timer)
    assert 1 == len(wheel)
    await turn_for(wheel, 1000)

    assert ["other"] == called.names


async def test_discard_what_waits_for_nothing(autojump_clock: MockClock) -> None:
    """A timer without a deadline may be discarded too."""
    wheel = Wheel()
    wheel.discard(wheel.add())

    assert 0 == len(wheel)


async def test_one_discards_another_of_the_same_tick(
    autojump_clock: MockClock, called: Calls
) -> None:
    """A timer that was discarded by one that expired with it is not looked at."""
    wheel = Wheel()
    first, second = wheel.add(), wheel.add()

    def discard(other: WheelTimer) -> None:
        called("one")()
        wheel.discard(other)

    first.set("first", 10.0, lambda: discard(second))
    second.set("second", 10.0, lambda: discard(first))
    await turn_for(wheel, 1000)

    assert ["one"] == called.names


async def test_discards_itself(autojump_clock: MockClock, called: Calls) -> None:
    """A timer that is discarded by what it calls does not come back for its other deadlines."""
    wheel = Wheel()
    timer = wheel.add()
    timer.set("close", 10.0, lambda: wheel.discard(timer))
    timer.set("ping", 20.0, called("ping"))
    await turn_for(wheel, 15)
    assert 0 == len(wheel)
    await turn_for(wheel, 1000)

    assert [] == called.calls


async def test_one_moves_another_of_the_same_tick(autojump_clock: MockClock, called: Calls) -> None:
    """A timer that another has given an earlier deadline is looked at in time, once for each."""
    wheel = Wheel()
    timers = [wheel.add(), wheel.add()]

    def move(other: Timer) -> None:
        called("moved")()
        other.set("early", trio.current_time() - 1, called("early"))

    timers[0].set("move", 10.0, lambda: move(timers[1]))
    timers[1].set("move", 10.0, lambda: move(timers[0]))
    await turn_for(wheel, 1000)

    assert {"moved": 2, "early": 2} == {name: called.names.count(name) for name in called.names}
    assert 10.0 == max(at for _, at in called.calls)
    assert 0 == len(wheel)


# When something goes wrong


async def test_a_deadline_that_fails(
    autojump_clock: MockClock, called: Calls, caplog: pytest.LogCaptureFixture
) -> None:
    """What a deadline raises is logged, and the other deadlines come, those of its timer too."""
    wheel = Wheel()
    timer, other = wheel.add(), wheel.add()

    def fail() -> None:
        raise LookupError

    timer.set("fail", 10.0, fail)
    timer.set("ping", 20.0, called("ping"))
    other.set("other", 10.0, called("other"))
    await turn_for(wheel, 1000)

    assert [("other", 10.0), ("ping", 20.0)] == called.calls
    assert ["LookupError"] == tracebacks(caplog)


async def test_run_again_after_cancellation(autojump_clock: MockClock, called: Calls) -> None:
    """Cancelled, the wheel forgets nothing: whoever runs it again finds what was due."""
    wheel = Wheel()
    wheel.add().set("idle", 10.0, called("idle"))
    await turn_for(wheel, 5)
    assert [] == called.calls
    await trio.sleep(20)
    await turn_for(wheel, 1)

    assert [("idle", 25.0)] == called.calls


@pytest.fixture
def ctrl_c() -> Generator[None]:
    """Let Ctrl-C raise, also where whoever has started the tests ignores it, as nohup does."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_ctrl_c_lands_elsewhere(ctrl_c: None) -> None:
    """A KeyboardInterrupt does not interrupt what expires."""
    log: list[str] = []

    def expire() -> None:
        signal.raise_signal(signal.SIGINT)
        log.append("went on")

    async def main() -> None:
        wheel = Wheel()
        wheel.add().set("idle", trio.current_time(), expire)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wheel.run)
            await trio.sleep_forever()

    with pytest.raises(BaseExceptionGroup) as caught:  # noqa: ASYNC401  # Ctrl-C is in it, among others
        trio.run(main, clock=MockClock(autojump_threshold=0))
    assert caught.group_contains(KeyboardInterrupt)
    assert ["went on"] == log
