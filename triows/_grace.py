"""How long a handler may be busy elsewhere, once its connection has ended."""

from collections.abc import Callable

import trio

from triows._limits import Limits
from triows._timer import Timer


class Grace:
    """Cancels a handler that does not read what is left of its messages.

    It has `disconnect_grace` seconds from the end on, and again from each message that it
    still receives, but `stall_timeout` in all.

    Args:
        timer: Of the connection.
        limits: Of the route.
        cancel: Called when the time is over.
    """

    __slots__ = ("_cancel", "_ends", "_seconds", "_timer")

    def __init__(self, timer: Timer, limits: Limits, cancel: Callable[[], None]) -> None:
        self._timer = timer
        self._cancel = cancel
        self._seconds = limits.disconnect_grace
        self._ends = trio.current_time() + limits.stall_timeout
        self.grant()

    def grant(self) -> None:
        """Let the time start again: the handler has received a message."""
        deadline = min(trio.current_time() + self._seconds, self._ends)
        self._timer.set("disconnect_grace", deadline, self._cancel)
