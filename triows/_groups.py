"""What nurseries raise, taken apart and put together."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import TypeVar

import trio

E = TypeVar("E", bound=BaseException)


def leaves_of(group: BaseExceptionGroup[E]) -> list[E]:
    """Return the exceptions of a group and of the groups in it, in the order they occurred."""
    leaves: list[E] = []
    for exc in group.exceptions:
        leaves += leaves_of(exc) if isinstance(exc, BaseExceptionGroup) else [exc]
    return leaves


def join(failures: Sequence[BaseException]) -> BaseException:
    """Return one exception for all of them: a single one as it is, or a group."""
    if len(failures) == 1:
        return failures[0]
    return BaseExceptionGroup("several failures", failures)


def parts_of(exc: BaseException) -> list[BaseException]:
    """Return what an exception consists of: itself, or the leaves of a group.

    However many tasks were cancelled, it was one cancellation, and that is the last part.
    """
    leaves = leaves_of(exc) if isinstance(exc, BaseExceptionGroup) else [exc]
    failures = [leaf for leaf in leaves if not isinstance(leaf, trio.Cancelled)]
    cancelled = [leaf for leaf in leaves if isinstance(leaf, trio.Cancelled)]
    return [*failures, *cancelled[:1]]


def unwrap(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return what a nursery raised without its group, if that is one exception."""
    return join(parts_of(group))


@asynccontextmanager
async def tasks_beside(reason: str) -> AsyncGenerator[trio.Nursery]:
    """Open a nursery for what runs beside a block, and is cancelled when that has ended.

    What the block raises comes out as it is, in no group of the nursery's.
    """
    failure: BaseException | None = None
    async with trio.open_nursery() as nursery:
        try:
            yield nursery
        except BaseException as exc:  # noqa: ASYNC103  # raised below
            failure = exc
        nursery.cancel_scope.cancel(reason=reason)
    if failure is not None:
        raise failure
