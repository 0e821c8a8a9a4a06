"""A publication comes back to who has published it."""

import trio
import trio.testing

from triows._channels._echo import Echo


async def test_heard_before() -> None:
    """What has come back already is there."""
    echo = Echo()
    echo.hear(3, 1)

    assert (True, 3, 1) == (echo.is_heard, echo.queued, echo.dropped)


async def test_waiting(autojump_clock: trio.testing.MockClock) -> None:
    """Who waits goes on when it comes."""
    echo = Echo()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(echo.wait)
        await trio.testing.wait_all_tasks_blocked()
        echo.hear(2, 0)

    assert 2 == echo.queued


async def test_cancelled(autojump_clock: trio.testing.MockClock) -> None:
    """Waiting can be given up."""
    with trio.move_on_after(1) as scope:
        await Echo().wait()

    assert scope.cancelled_caught
