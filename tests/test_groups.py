"""What nurseries raise, taken apart."""

import pytest
import trio
import trio.testing

from triows._groups import leaves_of, split_failures

A, B, C = ValueError("a"), OSError("b"), KeyError("c")
EXIT = SystemExit()

GROUPS = pytest.mark.parametrize(
    ("group", "failures"),
    [
        (ExceptionGroup("", [A]), [A]),
        (ExceptionGroup("", [A, B, C]), [A, B, C]),
        (ExceptionGroup("", [ExceptionGroup("", [A, ExceptionGroup("", [B])]), C]), [A, B, C]),
    ],
    ids=["single", "several", "nested"],
)


@GROUPS
def test_leaves(group: ExceptionGroup[Exception], failures: list[Exception]) -> None:
    """Every failure of a group is found, in the order in which they occurred."""
    assert failures == leaves_of(group)


async def test_leaves_of_nested_nurseries() -> None:
    """A failure inside of two nurseries comes in a group of a group, and is found."""
    failures: list[Exception] = []

    async def fail(exc: Exception) -> None:
        raise exc

    try:
        async with trio.open_nursery(), trio.open_nursery() as nursery:
            nursery.start_soon(fail, A)
            nursery.start_soon(trio.sleep_forever)
    except* Exception as group:
        failures = leaves_of(group)

    assert [A] == failures


@GROUPS
def test_split_group(group: ExceptionGroup[Exception], failures: list[Exception]) -> None:
    """Of a group of failures nothing is left to go on up."""
    assert (failures, None) == split_failures(group)


def test_split_failure() -> None:
    """A failure that comes without a group is one."""
    assert ([A], None) == split_failures(A)


@pytest.mark.parametrize("exc", [EXIT, KeyboardInterrupt(), GeneratorExit()])
def test_split_exit(exc: BaseException) -> None:
    """What is no failure goes on up as it is."""
    assert ([], exc) == split_failures(exc)


def test_split_group_of_exits() -> None:
    """A group of exits goes on up whole."""
    group = BaseExceptionGroup("", [EXIT, KeyboardInterrupt()])

    failures, rest = split_failures(group)

    assert [] == failures
    assert isinstance(rest, BaseExceptionGroup)
    assert group.exceptions == rest.exceptions


def test_split_mixed_group() -> None:
    """Of a mixed group the failures are taken out, and the rest goes on up."""
    group = BaseExceptionGroup("", [A, BaseExceptionGroup("", [EXIT, B]), C])

    failures, rest = split_failures(group)

    assert [A, B, C] == failures
    assert pytest.RaisesGroup(pytest.RaisesGroup(SystemExit)).matches(rest)


async def test_cancellation_goes_on_up() -> None:
    """A task that failed while it was cancelled is told apart from the cancellation."""
    failures: list[Exception] = []
    rest: BaseException | None = None

    async def fail_at_the_end() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise A

    with pytest.RaisesGroup(ValueError), trio.CancelScope() as scope:
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(fail_at_the_end)
                await trio.testing.wait_all_tasks_blocked()
                scope.cancel()
                await trio.sleep_forever()
        except BaseException as exc:
            failures, rest = split_failures(exc)
            raise

    assert [A] == failures
    assert pytest.RaisesGroup(trio.Cancelled).matches(rest)
