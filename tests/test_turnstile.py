"""A lock for the path of every message."""

from contextlib import suppress

import trio
import trio.testing

from triows._turnstile import Turnstile


async def test_one_at_a_time_in_order(autojump_clock: trio.testing.MockClock) -> None:
    """Whoever waits longest is next, also before one who comes at the moment of the change."""
    turnstile = Turnstile()
    passed: list[str] = []

    async def go_through(name: str) -> None:
        await turnstile.enter()
        passed.append(name)
        await trio.sleep(1)
        turnstile.leave()
        if name == "first":
            await go_through("first again")

    async with trio.open_nursery() as nursery:
        for name in ("first", "second", "third"):
            nursery.start_soon(go_through, name)
            await trio.testing.wait_all_tasks_blocked()

    assert ["first", "second", "third", "first again"] == passed
    assert not turnstile.is_taken


async def test_a_block_of_code(autojump_clock: trio.testing.MockClock) -> None:
    """As a context manager it lets one task at a time into the block, also after a failure."""
    turnstile = Turnstile()
    log: list[str] = []

    async def go_through(name: str) -> None:
        with suppress(ValueError):
            async with turnstile:
                assert turnstile.is_anyone_inside()
                log.append(f"{name} enters")
                await trio.sleep(1)
                log.append(f"{name} leaves")
                raise ValueError

    async with trio.open_nursery() as nursery:
        for name in ("first", "second"):
            nursery.start_soon(go_through, name)
            await trio.testing.wait_all_tasks_blocked()

    assert ["first enters", "first leaves", "second enters", "second leaves"] == log
    assert not turnstile.is_anyone_inside()


async def test_free_it_is_no_checkpoint() -> None:
    """Entering a free turnstile costs nothing, not even a look at cancellation."""
    turnstile = Turnstile()

    with trio.CancelScope() as scope, trio.testing.assert_no_checkpoints():
        scope.cancel()
        await turnstile.enter()

    assert turnstile.is_taken


async def test_a_cancelled_wait_passes_the_turn_on(autojump_clock: trio.testing.MockClock) -> None:
    """Who gives up waiting is forgotten, and takes no turn from the others."""
    turnstile = Turnstile()
    passed: list[str] = []

    async def go_through(name: str, patience: float) -> None:
        with trio.move_on_after(patience):
            await turnstile.enter()
            passed.append(name)
            turnstile.leave()

    await turnstile.enter()
    async with trio.open_nursery() as nursery:
        for name, patience in (("impatient", 1), ("patient", 100)):
            nursery.start_soon(go_through, name, patience)
            await trio.testing.wait_all_tasks_blocked()
        await trio.sleep(2)
        turnstile.leave()

    assert ["patient"] == passed
    assert not turnstile.is_taken
