"""What nurseries raise, taken apart."""

import pytest
import trio
import trio.testing

from triows._groups import leaves_of

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
