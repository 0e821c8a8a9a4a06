"""A publication comes back to who has published it."""

import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from triows._broker import Message
from triows._channels._echo import Echo, Echoes

ONE, TWO = (Message("t", "hi", name) for name in ("one", "two"))


async def test_heard_before() -> None:
    """What has come back already is there, and what comes again changes nothing."""
    echoes = Echoes()
    echo = echoes.expect(ONE)
    echoes.hear(ONE, 3, 1)
    echoes.hear(ONE, 0, 0)

    assert (True, 3, 1) == (echo.is_heard, echo.queued, echo.dropped)


async def test_waiting(autojump_clock: MockClock) -> None:
    """Who waits goes on when it comes."""
    echoes = Echoes()
    echo, other = echoes.expect(ONE), echoes.expect(TWO)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(echo.wait)
        await wait_all_tasks_blocked()
        echoes.hear(ONE, 2, 0)

    assert (2, 0) == (echo.queued, other.queued)


async def test_given_up(autojump_clock: MockClock) -> None:
    """Who waits goes on without it; another topic's publications do not matter."""
    echoes = Echoes()
    echo = echoes.expect(ONE)
    echoes.give_up("another")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(echo.wait)
        await wait_all_tasks_blocked()
        echoes.give_up("t")

    assert not echo.is_heard


async def test_of_others() -> None:
    """What nobody here has published, or waits for any more, is heard by nobody."""
    echoes = Echoes()
    echo = echoes.expect(ONE)
    echoes.expect(TWO)
    for message in (ONE, TWO):
        echoes.forget(message)
        echoes.hear(ONE, 1, 0)

    assert not echo.is_heard
    assert {} == echoes._topics


async def test_cancelled(autojump_clock: MockClock) -> None:
    """Waiting can be given up."""
    with trio.move_on_after(1) as scope:
        await Echo().wait()

    assert scope.cancelled_caught
