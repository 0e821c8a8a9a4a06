"""The writing side: events go to the server one at a time, whole, in the order of the calls.

A server's `send` is not shielded here, which would cost as much as the rest of this module.
hypercorn shields its writes itself, and the guard the queue before them. Should another server
let a cancellation out of its `send`, the frame may be encoded and lost, and the peer's deflate
context out of step: such a connection is given up rather than continued.

A write is bounded by `send_timeout`, kept by a timer that outlives the server's cancellation of
the app.

Relied upon, because servers were seen to do it: after the peer has left, `send` may silently
succeed, and without a checkpoint; so every call here makes its own.
"""

import contextvars
from collections.abc import Generator
from contextlib import contextmanager

import trio

from triows._asgi._link import PEER_IS_GONE, ClientDisconnected, Link
from triows._close import ABNORMAL
from triows._errors import ConnectionClosed
from triows._limits import Limits
from triows._logs import error_log
from triows._outbox import Lane, Outbox, Prepared, size_of
from triows._timer import Timer, Watchdog
from triows._transport import TURN_MASK
from triows._turnstile import Turnstile
from triows._types import Data, Event, Send

_WRITE = "send_timeout"

STEP = 64 * 1024
"""Bytes of a message that are progress. What a server has written of one cannot be seen, so a
message of several steps may take `send_timeout` for each."""

_SURELY_ONE_STEP = STEP // 4  # characters, of four bytes at most


class Writer:
    """Hands events to the server.

    Attributes:
        sent: Messages so far.
    """

    __slots__ = (
        "_asgi_send",
        "_context",
        "_is_close_sent",
        "_limits",
        "_link",
        "_nursery",
        "_outbox",
        "_outbox_filled",
        "_scopes",
        "_steps",
        "_timer",
        "_turn",
        "_turnstile",
        "_watchdog",
        "sent",
    )

    def __init__(
        self, send: Send, link: Link, limits: Limits, timer: Timer, nursery: trio.Nursery
    ) -> None:
        self.sent = 0
        self._asgi_send = send
        self._link = link
        self._limits = limits
        self._timer = timer
        self._nursery = nursery
        self._context = contextvars.copy_context()
        self._turn = 0
        self._steps = 1  # of the message that is being written
        self._turnstile = Turnstile()
        self._watchdog = Watchdog(
            timer,
            _WRITE,
            limits.send_timeout,
            is_busy=self._turnstile.is_anyone_inside,
            progress=self._writes,
            bark=self.give_up,
            patience=self._steps_to_go,
        )
        self._is_close_sent = False
        self._outbox: Outbox[Prepared] = Outbox(limits.outbox_bytes)
        self._scopes: set[trio.CancelScope] = set()
        self._outbox_filled: trio.lowlevel.ParkingLot | None = None

    def wake(self) -> None:
        """Let the writer task look again."""
        if self._outbox_filled is not None:
            self._outbox_filled.unpark_all()

    async def send(self, message: Data) -> None:
        """Send a message, after those of earlier calls."""
        # On the way of every message: the calls that are not made here are made good below.
        await trio.lowlevel.checkpoint_if_cancelled()
        earlier = self._outbox.number
        turnstile = self._turnstile
        if turnstile.is_taken:
            await turnstile.enter()
        turnstile.is_taken = True
        try:
            # Inside: a call that let others run before it would be overtaken.
            self._turn += 1
            if not self._turn & TURN_MASK:
                await trio.lowlevel.checkpoint()
            if self._outbox.count:
                await self._flush(earlier)
            if self._link.closed is not None:
                raise self._link.ended()
            if not self._watchdog.is_awake:
                self._watchdog.wake()
            event: Event
            if isinstance(message, str):
                event = {"type": "websocket.send", "text": message}
            else:
                event = {"type": "websocket.send", "bytes": message}
            if len(message) > _SURELY_ONE_STEP:
                self._steps = 1 + size_of(message) // STEP
            try:
                await self._asgi_send(event)
            except BaseException as exc:
                self._end_badly(exc)
                raise
            self._steps = min(self._steps, 1)
        finally:
            if turnstile.waiting:
                turnstile.leave()
            else:
                turnstile.is_taken = False
        self.sent += 1

    async def _write(self, event: Event) -> None:
        self._turn += 1
        if not self._watchdog.is_awake:
            self._watchdog.wake()
        try:
            await self._asgi_send(event)
        except BaseException as exc:
            self._end_badly(exc)
            raise

    def _end_badly(self, exc: BaseException) -> None:
        if isinstance(exc, UnicodeEncodeError):
            return  # A lone surrogate in the text: our caller's mistake, and nothing was sent.
        if isinstance(exc, trio.Cancelled):
            if self._link.closed is None:
                self._link.on_overrun(ABNORMAL, "a write was cancelled half-way")
        elif isinstance(exc, ClientDisconnected):
            self._link.hear_of(exc.info)
            raise self._link.ended() from exc
        elif isinstance(exc, Exception):
            if not isinstance(exc, PEER_IS_GONE):
                error_log.warning("the server failed, and its connection is lost: %r", exc)
            self._link.depart()
            raise self._link.ended() from exc

    def _writes(self) -> int:
        return self._turn

    def _steps_to_go(self) -> int:
        return self._steps

    def give_up(self) -> None:
        """Report that what is being written is stuck."""
        reason = f"peer has not read for {self._limits.send_timeout:g} s"
        self._link.on_overrun(ABNORMAL, reason)

    # Beside the messages, where a scope may cost what it does

    async def write(self, event: Event) -> None:
        """Hand over an event of the handshake or the end; only `interrupt` cuts it short."""
        with self._interruptible(shield=True) as scope:
            await self._turnstile.enter()
            try:
                await self._write(event)
            finally:
                self._turnstile.leave()
        if scope.cancelled_caught:
            raise self._link.ended()

    @contextmanager
    def _interruptible(self, *, shield: bool = False) -> Generator[trio.CancelScope]:
        with trio.CancelScope(shield=shield) as scope:
            self._scopes.add(scope)
            try:
                yield scope
            finally:
                self._scopes.discard(scope)

    def interrupt(self) -> None:
        """Give up what is being written or waits to be; messages their own tasks must cancel."""
        for scope in self._scopes:
            scope.cancel(reason="the connection was aborted")

    # The outbox

    def send_nowait(self, prepared: Prepared, lane: Lane | None = None) -> bool:
        """Queue a message for the writer task, which starts at the first one."""
        if self._link.closed is not None:
            raise self._link.ended()
        if not self._outbox.put(prepared, lane):
            return False
        if self._outbox_filled is None:
            self._outbox_filled = trio.lowlevel.ParkingLot()
            # In the connection's context: the publisher's would live as long as this task.
            self._context.run(self._nursery.start_soon, self._flush_for_ever, self._outbox_filled)
        self._outbox_filled.unpark_all()
        return True

    async def _flush_for_ever(self, filled: trio.lowlevel.ParkingLot) -> None:
        with self._interruptible():
            while self._link.closed is None:
                earlier = self._outbox.number
                async with self._turnstile:
                    await self._flush(earlier)
                if self._link.closed is None and not self._outbox.count:
                    await filled.park()

    async def _flush(self, earlier: int) -> None:
        """Write what is left of the first so many messages ever put into the outbox."""
        while self._outbox.holds(earlier) and not self._link.is_departed:
            prepared = self._outbox.take()
            self._steps = 1 + prepared.size // STEP
            try:
                await self._write(_event_of(prepared.message))
            except ConnectionClosed:
                self._outbox.clear()
            else:
                self.sent += 1
            self._steps = 1
            if self._turn & TURN_MASK:
                await trio.lowlevel.checkpoint_if_cancelled()
            else:
                await trio.lowlevel.checkpoint()

    # The end

    async def close(self, code: int, reason: str) -> None:
        """Send what is queued, then a close frame; a second one is never sent."""
        with self._interruptible():
            async with self._turnstile:
                # Cancelled before this, a second call does it all; from here on nothing is lost.
                with self._interruptible(shield=True):
                    await self._flush(self._outbox.number)
                    if not self._is_close_sent and not self._link.is_departed:
                        await self._send_close(code, reason)

    async def _send_close(self, code: int, reason: str) -> None:
        self._is_close_sent = True
        try:
            await self._write({"type": "websocket.close", "code": code, "reason": reason})
        except ConnectionClosed:
            self._link.is_departed = True


def _event_of(message: Data) -> Event:
    if isinstance(message, str):
        return {"type": "websocket.send", "text": message}
    return {"type": "websocket.send", "bytes": message}
