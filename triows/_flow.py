"""Messages on their way through pipes, between a handler and its transport."""

from collections.abc import Sequence
from typing import Any

import trio

from triows._errors import StateError
from triows._groups import parts_of
from triows._pipes import DROPPED, Hook, apply
from triows._transport import Transport, as_message
from triows._turnstile import Turnstile
from triows._types import Data


class Flow:
    """`receive` and `send` of a connection whose pipes have something to say to messages.

    Args:
        transport: Where messages come from and go to.
        on_receive: Hooks, the first to be called first.
        on_send: Likewise.
    """

    def __init__(
        self, transport: Transport, on_receive: Sequence[Hook], on_send: Sequence[Hook]
    ) -> None:
        self._transport = transport
        self._on_receive = on_receive
        self._on_send = on_send
        self._is_receiving = False
        self._held: list[Data] = []  # a message whose way through the hooks was cancelled
        self._turnstile = Turnstile()
        self._sender: trio.lowlevel.Task | None = None

    async def receive(self) -> Any:
        """Like the transport's; a message is taken when every hook has returned."""
        if self._is_receiving:
            raise trio.BusyResourceError("another task is already receiving from this connection")
        self._is_receiving = True
        try:
            value = DROPPED
            while value is DROPPED:
                if self._held and not self._is_closed_here():
                    await trio.lowlevel.checkpoint()
                else:
                    self._held = [await self._transport.receive()]
                value = await self._take()
            return value
        finally:
            self._is_receiving = False

    async def _take(self) -> Any:
        try:
            value = await apply(self._on_receive, self._held[0])
        except BaseException as exc:
            # Together with a cancellation, the hook's own failure has used the message up.
            if not isinstance(parts_of(exc)[0], trio.Cancelled):
                self._held.clear()
            raise
        self._held.clear()
        return value

    async def send(self, value: Any) -> None:
        """Like the transport's, of what the hooks make of the value."""
        if self._sender is trio.lowlevel.current_task():
            raise StateError("cannot send in on_send: return what is to be sent")
        await self._check_open()
        async with self._turnstile:
            # It may have ended meanwhile.
            await self._check_open()
            self._sender = trio.lowlevel.current_task()
            try:
                value = await apply(self._on_send, value)
            finally:
                self._sender = None
            if value is DROPPED:
                await trio.lowlevel.checkpoint()
            else:
                await self._transport.send(as_message(value))

    async def _check_open(self) -> None:
        if self._transport.closed is not None:
            # Raises; the hooks have nothing to do any more.
            await self._transport.send("")

    def _is_closed_here(self) -> bool:
        """Return whether this side has closed: then nothing is received any more."""
        closed = self._transport.closed
        # What came before a fault of the peer is still received.
        return closed is not None and not closed.by_peer and self._transport.fault is None
