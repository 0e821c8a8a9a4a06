"""Something that is done once, for all who wait for it."""

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from triows import BrokerUnavailable
from triows._channels._attempt import Attempt


async def test_for_all(autojump_clock: MockClock) -> None:
    """All who wait go on when it is done, or fail as it does."""
    attempt = Attempt()
    failed: list[Exception] = []

    async def wait() -> None:
        with pytest.raises(ValueError, match="on purpose") as raised:
            await attempt.wait()
        failed.append(raised.value)

    async def fail() -> None:
        await trio.sleep(1)
        raise ValueError("on purpose")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(attempt.run, fail)
        nursery.start_soon(wait)
        nursery.start_soon(wait)
    done = Attempt()
    await done.run(trio.lowlevel.checkpoint)
    await done.wait()

    assert 2 == len(failed)
    assert 1 == trio.current_time()


async def test_given_up(autojump_clock: MockClock) -> None:
    """It goes on while one waits, and ends when nobody does; who comes then sees that it ended."""
    attempt = Attempt()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(attempt.run, trio.sleep_forever)
        nursery.start_soon(attempt.wait)
        with trio.move_on_after(1):
            await attempt.wait()
        await wait_all_tasks_blocked()
        assert 2 == len(nursery.child_tasks)
        nursery.cancel_scope.cancel()
    other = Attempt()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(other.run, trio.sleep_forever)
        with trio.move_on_after(1):
            await other.wait()
        await other.wait()

    assert 2 == trio.current_time()


async def test_cancelled(autojump_clock: MockClock) -> None:
    """Where its task is cancelled nobody waits for ever."""
    attempt = Attempt()

    async def wait() -> None:
        with pytest.raises(BrokerUnavailable, match="the app is shutting down"):
            await attempt.wait()

    async with trio.open_nursery() as waiting, trio.open_nursery() as nursery:
        waiting.start_soon(wait)
        nursery.start_soon(attempt.run, trio.sleep_forever)
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
