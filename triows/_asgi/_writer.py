"""The writing side: events go to the server one at a time, whole, in the order of the calls.

What is handed to the server's `send` is shielded: a server that waits may have encoded the
frame already, and a frame that is then lost breaks the peer's deflate context. What bounds a
write is `send_timeout`, kept by a timer that outlives the server's cancellation of the app.

Relied upon, because servers were seen to do it: after the peer has left, `send` may silently
succeed, and without a checkpoint; so every call here makes its own.
"""

from collections import deque

import trio

from triows._asgi._link import PEER_IS_GONE, TURN_MASK, Link
from triows._close import ABNORMAL
from triows._errors import ConnectionClosed
from triows._limits import Limits
from triows._timer import Timer
from triows._transport import Prepared
from triows._types import Data, Event, Send

_WRITE = "send_timeout"


class Writer:
    """Hands events to the server.

    Attributes:
        sent: Messages so far.
    """

    def __init__(
        self, send: Send, link: Link, limits: Limits, timer: Timer, nursery: trio.Nursery
    ) -> None:
        self.sent = 0
        self._asgi_send = send
        self._link = link
        self._limits = limits
        self._timer = timer
        self._nursery = nursery
        self._turn = 0
        self._lock = trio.Lock()
        self._write_scope: trio.CancelScope | None = None
        self._writing_since: float | None = None
        self._is_timed = False
        self._is_close_sent = False
        self._outbox: deque[Prepared] = deque()
        self._outbox_bytes = 0
        self._outbox_filled: trio.lowlevel.ParkingLot | None = None

    def wake(self) -> None:
        """Let the writer task look again."""
        if self._outbox_filled is not None:
            self._outbox_filled.unpark_all()

    async def send(self, message: Data) -> None:
        """Send a message; once the server has it, cancelling no longer reaches it."""
        self._turn += 1
        if self._turn & TURN_MASK:
            await trio.lowlevel.checkpoint_if_cancelled()
        else:
            await trio.lowlevel.checkpoint()
        await self.deliver(_event_of(message))
        self.sent += 1

    async def deliver(self, event: Event) -> None:
        """Hand an event to the server, after those of earlier calls."""
        try:
            self._lock.acquire_nowait()
        except trio.WouldBlock:
            await self._lock.acquire()
        try:
            if self._link.closed is not None:
                raise ConnectionClosed(self._link.closed)
            await self.write(event)
        finally:
            self._lock.release()

    async def write(self, event: Event) -> None:
        """Hand an event to the server now, whoever else is writing."""
        self._writing_since = trio.current_time()
        if not self._is_timed:
            self._time_write(self._writing_since)
        try:
            with trio.CancelScope(shield=True) as self._write_scope:
                await self._asgi_send(event)
                return
        except PEER_IS_GONE:
            self._link.depart()
        finally:
            self._writing_since = None
        assert self._link.closed is not None, "only `interrupt` and a departure cut a write short"
        raise ConnectionClosed(self._link.closed)

    def interrupt(self) -> None:
        """Cut a write short that the server makes at this moment, if the server lets it."""
        if self._write_scope is not None:
            self._write_scope.cancel(reason="the connection was aborted")

    def _time_write(self, since: float) -> None:
        self._is_timed = True
        self._timer.set(_WRITE, since + self._limits.send_timeout, self._check_write)

    def _check_write(self) -> None:
        # Set at most once in `send_timeout`, not at every write: one that began
        # since then has its own time still to come.
        self._is_timed = False
        since = self._writing_since
        if since is None:
            return
        if trio.current_time() < since + self._limits.send_timeout:
            self._time_write(since)
            return
        reason = f"peer has not read for {self._limits.send_timeout:g} s"
        self._link.on_overrun(ABNORMAL, reason)

    # The outbox

    def send_nowait(self, prepared: Prepared) -> bool:
        """Queue a message for the writer task, which starts at the first one."""
        if self._link.closed is not None:
            raise ConnectionClosed(self._link.closed)
        if self._outbox_bytes + prepared.size > self._limits.outbox_bytes:
            return False
        self._outbox.append(prepared)
        self._outbox_bytes += prepared.size
        if self._outbox_filled is None:
            self._outbox_filled = trio.lowlevel.ParkingLot()
            self._nursery.start_soon(self._flush_for_ever, self._outbox_filled)
        self._outbox_filled.unpark_all()
        return True

    async def _flush_for_ever(self, filled: trio.lowlevel.ParkingLot) -> None:
        while self._link.closed is None:
            async with self._lock:
                await self._flush()
            if self._link.closed is None and not self._outbox:
                await filled.park()

    async def _flush(self) -> None:
        while self._outbox and not self._link.is_departed:
            prepared = self._outbox.popleft()
            self._outbox_bytes -= prepared.size
            try:
                await self.write(_event_of(prepared.message))
            except ConnectionClosed:
                self._outbox.clear()
            else:
                self.sent += 1

    # The end

    async def close(self, code: int, reason: str) -> None:
        """Send what is queued, then a close frame; a second one is never sent."""
        async with self._lock:
            if self._is_close_sent or self._link.is_departed:
                return
            self._is_close_sent = True
            await self._flush()
            try:
                await self.write({"type": "websocket.close", "code": code, "reason": reason})
            except ConnectionClosed:
                self._link.is_departed = True


def _event_of(message: Data) -> Event:
    if isinstance(message, str):
        return {"type": "websocket.send", "text": message}
    return {"type": "websocket.send", "bytes": message}
