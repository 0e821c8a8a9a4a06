"""Conditions that a connection has to meet."""

import inspect
from collections.abc import Awaitable, Callable
from typing import Any

from triows._endings import Ending
from triows._errors import Close, Reject, RouteError
from triows._pipes import Pipe


class RequirePipe(Pipe):
    """Lets a connection through to its handler only if a condition holds.

    Args:
        condition: A function without parameters, sync or async, that is called once a
            connection, before the pipes inside and the handler. `accept_timeout` bounds
            it. What it raises ends the connection as if the handler had raised it.
        otherwise: What is raised if the condition is false: a `Reject` or `Close`, of
            which each connection gets its own copy, or a function, sync or async, that
            returns one. `Reject(403)` by default.

    Raises:
        RouteError: The condition is no function, or `otherwise` is none of these.
    """

    def __init__(
        self,
        condition: Callable[[], object | Awaitable[object]],
        otherwise: Ending | Callable[[], Ending | Awaitable[Ending]] | None = None,
    ) -> None:
        if not callable(condition):
            raise RouteError(f"the condition of a RequirePipe is a function, not {condition!r}")
        if otherwise is None:
            otherwise = Reject(403)
        if not (isinstance(otherwise, Close | Reject) or callable(otherwise)):
            raise RouteError(
                "what a RequirePipe raises is a Reject, a Close or a function that returns one, "
                f"not {otherwise!r}"
            )
        self._condition = condition
        self._otherwise = otherwise

    async def open(self) -> None:
        """Raise `otherwise` unless the condition holds.

        Raises:
            TypeError: The function returned neither a `Reject` nor a `Close`.
        """
        if await _call(self._condition):
            return
        ending = self._otherwise
        if not isinstance(ending, Close | Reject):
            ending = await _call(ending)
        if not isinstance(ending, Close | Reject):
            raise TypeError(f"a RequirePipe raises a Reject or a Close, and was given {ending!r}")
        raise _copy(ending)


async def _call(function: Callable[[], Any]) -> Any:
    result = function()
    return await result if inspect.isawaitable(result) else result


def _copy(ending: Ending) -> Ending:
    """Return an ending like this one, without the traceback of who raised it last."""
    # Not by calling the class: one derived from ours may take other arguments.
    fresh = type(ending).__new__(type(ending), *ending.args)
    vars(fresh).update(vars(ending))
    if isinstance(fresh, Reject):
        fresh.headers = list(fresh.headers)
    return fresh
