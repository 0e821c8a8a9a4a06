"""What nurseries raise, taken apart and put together."""

import pytest
import trio
import trio.testing

from triows._groups import join, leaves_of, parts_of, tasks_beside, unwrap

A, B, C = ValueError("a"), OSError("b"), KeyError("c")


@pytest.mark.parametrize(
    ("group", "leaves"),
    [
        (ExceptionGroup("", [A]), [A]),
        (ExceptionGroup("", [A, B, C]), [A, B, C]),
        (ExceptionGroup("", [ExceptionGroup("", [A, ExceptionGroup("", [B])]), C]), [A, B, C]),
    ],
    ids=["single", "several", "nested"],
)
def test_leaves(group: ExceptionGroup[Exception], leaves: list[Exception]) -> None:
    """Every failure is found, however deep, in the order in which they occurred."""
    assert leaves == leaves_of(group)


async def test_beside_cancellation() -> None:
    """With `except*` the failures are taken out of a nursery's group, and the rest goes on up."""
    failures: list[Exception] = []

    async def fail_at_the_end() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise A

    with trio.CancelScope() as scope:
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(fail_at_the_end)
                await trio.testing.wait_all_tasks_blocked()
                scope.cancel()
                await trio.sleep_forever()
        except* Exception as group:
            failures = leaves_of(group)

    assert [A] == failures
    assert scope.cancelled_caught


def test_join_of_one() -> None:
    """A single failure needs no group around it."""
    assert A is join([A])


def test_join_of_several() -> None:
    """Several failures are one group, in their order."""
    joined = join([A, B])

    assert isinstance(joined, ExceptionGroup)
    assert (A, B) == joined.exceptions


async def cancelled(count: int, *failures: Exception) -> BaseExceptionGroup[BaseException]:
    """Return what comes out of so many tasks that were cancelled, beside these failures."""
    seen: list[BaseException] = []

    async def keep() -> None:
        try:
            await trio.sleep_forever()
        except trio.Cancelled as exc:
            seen.append(exc)
            raise

    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            for _ in range(count):
                nursery.start_soon(keep)
            await trio.testing.wait_all_tasks_blocked()
            scope.cancel()
    return BaseExceptionGroup("", [*seen, *failures])


async def test_many_cancelled_tasks_are_one_cancellation() -> None:
    """However many tasks were cancelled, a single `Cancelled` goes on up, without a group."""
    group = await cancelled(3)

    assert group.exceptions[0] is unwrap(group)


async def test_failures_come_before_the_cancellation() -> None:
    """So the first part tells whether there was anything but a cancellation."""
    group = await cancelled(2, A, B)

    assert [A, B, group.exceptions[0]] == parts_of(group)


def test_a_plain_exception_has_one_part() -> None:
    """What is no group consists of itself."""
    assert [A] == parts_of(A)


@pytest.mark.parametrize("depth", [1, 3])
def test_unwrapping_a_single_failure(depth: int) -> None:
    """One failure comes out of its groups, however many there are around it."""
    group: ExceptionGroup[Exception] = ExceptionGroup("", [A])
    for _ in range(depth - 1):
        group = ExceptionGroup("", [group])

    assert A is unwrap(group)


async def test_tasks_beside_a_block() -> None:
    """They end with it."""
    ended: list[str] = []

    async def serve() -> None:
        try:
            await trio.sleep_forever()
        finally:
            ended.append("served")

    async with tasks_beside("over") as nursery:
        nursery.start_soon(serve)
        await trio.testing.wait_all_tasks_blocked()

    assert ["served"] == ended


@pytest.mark.parametrize("failure", [A, ExceptionGroup("", [A, B])], ids=["plain", "group"])
async def test_a_block_that_fails(failure: Exception) -> None:
    """What it raises comes out as it is, though there is a nursery around it."""
    with pytest.raises(type(failure)) as raised:
        async with tasks_beside("over"):
            raise failure

    assert failure is raised.value


async def test_a_task_that_fails() -> None:
    """The block is cancelled, and the failure is in the group of the nursery."""

    async def fail() -> None:
        raise A

    with pytest.RaisesGroup(pytest.RaisesExc(ValueError, match="a")):
        async with tasks_beside("over") as nursery:
            nursery.start_soon(fail)
            await trio.sleep_forever()


async def test_a_block_that_is_cancelled() -> None:
    """Cancelling from outside ends both, without an error."""
    with trio.move_on_after(0) as scope:
        async with tasks_beside("over") as nursery:
            nursery.start_soon(trio.sleep_forever)
            await trio.sleep_forever()

    assert scope.cancelled_caught
