"""Messages that have arrived, and the one task that waits for the next."""

from typing import Protocol

import trio

from triows._limits import Limits
from triows._outbox import size_of
from triows._transport import TURN_MASK
from triows._types import Data
from triows.server._line import Line


class Source(Protocol):
    """Where messages come from.

    Attributes:
        is_resting: It goes on by itself with what it has, after others had a turn.
    """

    is_resting: bool

    def read_on(self) -> None:
        """Hear that there is room, or somebody who wants a message: go on filling the inbox."""

    def choose_reading(self) -> None:
        """Hear that nobody wants one any more."""


class Inbox:
    """What the peer has sent and nobody has received, up to the limits of the connection.

    Whoever fills it looks at `is_full` after every message, and stops. A task that was
    woken takes its message itself, and does not wait between: a cancellation finds the
    message either here or with the handler.

    Attributes:
        is_full: It has as much as it may. Set by `put`, reset by the source in `read_on`.
        is_held: Nothing is to be put in that nobody waits for; what is raw stays so.
        visits: Calls of `receive` so far.
    """

    __slots__ = (
        "_is_asking",
        "_is_receiving",
        "_line",
        "_messages",
        "_most",
        "_most_bytes",
        "_receiver",
        "_size",
        "_source",
        "is_full",
        "is_held",
        "visits",
    )

    def __init__(self, source: Source, line: Line, limits: Limits) -> None:
        self.is_full = False
        self.is_held = False
        self.visits = 0
        self._source = source
        self._line = line
        # A list: taking its first costs less than the 600 bytes of an empty deque.
        self._messages: list[Data] = []
        self._size = 0
        self._is_receiving = False
        self._is_asking = False
        self._receiver: trio.lowlevel.Task | None = None
        self.set_limits(limits)

    def set_limits(self, limits: Limits) -> None:
        """Take other limits; to be called while it is empty."""
        self._most = limits.inbox_messages
        self._most_bytes = limits.inbox_bytes

    @property
    def is_awaited(self) -> bool:
        """A task wants a message that is not there."""
        return not self._messages and (self._receiver is not None or self._is_asking)

    def put(self, message: Data) -> None:
        """Add a message, and wake the task that waits for it."""
        self._messages.append(message)
        self._size += size_of(message)
        if self._receiver is not None:
            trio.lowlevel.reschedule(self._receiver)
            self._receiver = None
        if len(self._messages) >= self._most or self._size >= self._most_bytes:
            self.is_full = True

    def _has_room(self) -> bool:
        # Half of it: reading goes on for more than one message.
        return len(self._messages) <= self._most // 2 and self._size <= self._most_bytes // 2

    async def receive(self) -> Data:
        """Return the next message; see `Transport.receive`."""
        if self._is_receiving:
            raise trio.BusyResourceError("another task is already receiving from this connection")
        self._is_receiving = True
        try:
            self.visits += 1
            if not self.visits & TURN_MASK:
                await trio.lowlevel.checkpoint()
            elif self._messages or self._line.closed is not None:
                await trio.lowlevel.checkpoint_if_cancelled()
            while not self._messages:
                # Before the end is looked at: something may have arrived before it.
                if self.is_held and await self._ask():
                    break
                if self._is_over():
                    raise self._line.ended()
                self._receiver = trio.lowlevel.current_task()
                await trio.lowlevel.wait_task_rescheduled(self._stop_waiting)
            message = self._messages.pop(0)
        finally:
            self._is_receiving = False
        self._size -= size_of(message)
        if self.is_full and self._has_room():
            self._source.read_on()
        if self._line.closed is not None:
            self._line.on_delivery()
        return message

    def _is_over(self) -> bool:
        """Return whether nothing more comes; after the end that may take a rest to be known."""
        if self._line.closed is None:
            return False
        return self._line.is_closed_here or not self._source.is_resting

    async def _ask(self) -> bool:
        """Ask for one message where none comes unasked; return whether there is one now."""
        await trio.lowlevel.checkpoint_if_cancelled()
        self._is_asking = True
        self._source.read_on()
        self._is_asking = False
        return bool(self._messages)

    def _stop_waiting(self, _: object) -> trio.lowlevel.Abort:
        self._receiver = None
        if self.is_held:
            self._source.choose_reading()
        return trio.lowlevel.Abort.SUCCEEDED

    def wake(self) -> None:
        """Let the task that waits look again."""
        if self._receiver is not None:
            trio.lowlevel.reschedule(self._receiver)
            self._receiver = None

    def clear(self) -> None:
        """Forget what nobody will receive any more."""
        self._messages.clear()
        self._size = 0
        self.is_full = False
