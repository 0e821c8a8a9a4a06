"""A flag that can be waited for."""

import trio
import trio.testing

from triows._draining import Draining


def test_begins_as_false() -> None:
    """A server that has just started lets nobody go; no running loop is needed to say so."""
    assert not Draining()


def test_stays_true() -> None:
    """Once set it is true, however often it is set."""
    draining = Draining()
    draining.set()
    draining.set()

    assert draining


async def test_everybody_who_waits_is_woken() -> None:
    """Awaiting it returns, in every task, when it becomes true, and not before."""
    draining = Draining()
    farewells: list[str] = []

    async def say_goodbye(name: str) -> None:
        await draining
        farewells.append(name)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(say_goodbye, "a")
        nursery.start_soon(say_goodbye, "b")
        await trio.testing.wait_all_tasks_blocked()
        assert [] == farewells

        draining.set()

    assert {"a", "b"} == set(farewells)


async def test_awaiting_what_is_true_is_a_checkpoint() -> None:
    """Awaiting it when it is true returns at once, after other tasks had their turn."""
    draining = Draining()
    draining.set()

    with trio.testing.assert_checkpoints():
        await draining


async def test_waiting_can_be_cancelled() -> None:
    """A wait that is cancelled leaves it false for the others."""
    draining = Draining()

    with trio.move_on_after(0) as scope:
        await draining

    assert scope.cancelled_caught
    assert not draining
