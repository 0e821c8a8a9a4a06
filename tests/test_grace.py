"""How long a handler may be busy elsewhere, once its connection has ended."""

import trio
from trio.testing import MockClock

from triows import Limits
from triows._grace import Grace
from triows._timer import open_timer

LIMITS = Limits(disconnect_grace=5, stall_timeout=12)


async def test_a_handler_that_is_busy(autojump_clock: MockClock) -> None:
    """It is cancelled once, when `disconnect_grace` is over."""
    cancelled: list[float] = []
    async with open_timer() as timer:
        Grace(timer, LIMITS, lambda: cancelled.append(trio.current_time()))
        await trio.sleep(100)

    assert [5] == cancelled


async def test_a_handler_that_reads(autojump_clock: MockClock) -> None:
    """Each message gives it the time again, up to `stall_timeout`."""
    cancelled: list[float] = []
    async with open_timer() as timer:
        grace = Grace(timer, LIMITS, lambda: cancelled.append(trio.current_time()))
        for _ in range(2):
            await trio.sleep(4)
            grace.grant()
        await trio.sleep(100)

    assert [12] == cancelled
