"""The writing side: messages leave whole and in the order of the calls.

A message goes to the wire at once, if nothing is in its way. Behind a peer that reads slowly
`send` waits before it writes anything; then it writes the whole message, and waits until the
kernel has all of it. So a `send` that is cancelled went out whole or not at all: what the
kernel has not taken of a message that was begun belongs to the wire, and still goes out.

A message that nobody waits for goes to the outbox if it cannot go out at once. Those of both
kinds leave in the order of the calls.
"""

import math
from collections.abc import Callable

import trio

from triows._close import ABNORMAL
from triows._limits import Limits
from triows._outbox import Lane, Outbox, Prepared
from triows._timer import Timer, Watchdog
from triows._transport import TURN_MASK
from triows._turnstile import Turnstile
from triows._types import Data
from triows.server._frames import encode_message
from triows.server._line import Line
from triows.server._wire import Wire

_WRITE = "send_timeout"

_ON_ITS_WAY = 0.05
"""The part of `send_timeout` in which what the peer's kernel takes may just be what arrives."""


class Outgoing:
    """Sends messages and frames over a wire, and notices a peer that does not read.

    Attributes:
        sent: Messages so far.
        encode: Makes a frame of a message.
    """

    __slots__ = (
        "_before",
        "_limits",
        "_line",
        "_outbox",
        "_timer",
        "_turn",
        "_turnstile",
        "_unblocked",
        "_waiting",
        "_watchdog",
        "_wire",
        "encode",
        "sent",
    )

    def __init__(self, wire: Wire, line: Line, timer: Timer, limits: Limits) -> None:
        self.sent = 0
        self.encode: Callable[[Data], bytes] = encode_message
        self._wire = wire
        self._line = line
        self._timer = timer
        self._limits = limits
        self._turn = 0
        self._waiting = 0  # tasks that a later call must not overtake
        # Made when a peer is slow for the first time: most never are.
        self._turnstile: Turnstile | None = None
        self._unblocked: trio.lowlevel.ParkingLot | None = None
        self._watchdog: Watchdog | None = None
        self._outbox: Outbox[Prepared] | None = None
        # How many of all messages ever put there may leave before the call that is next.
        self._before: float = math.inf

    def set_limits(self, limits: Limits) -> None:
        """Take other limits."""
        self._limits = limits

    async def send(self, message: Data) -> None:
        """Send a message; see `Transport.send`."""
        await trio.lowlevel.checkpoint_if_cancelled()
        self._turn += 1
        if self._wire.is_blocked or self._waiting or not self._turn & TURN_MASK:
            await self._send_in_line(message)
            return
        if self._line.closed is not None:
            raise self._line.ended()
        wire = self._wire
        wire.write(self.encode(message))
        self.sent += 1
        if wire.is_blocked:
            await self._wait_written()

    async def _send_in_line(self, message: Data) -> None:
        if self._turnstile is None:
            self._turnstile = Turnstile()
        earlier = 0 if self._outbox is None else self._outbox.number
        self._waiting += 1
        try:
            async with self._turnstile:
                self._before = earlier
                await trio.lowlevel.checkpoint()
                self._flush()
                await self._wait_turn()
                self._wire.write(self.encode(message))
                self.sent += 1
                await self._wait_written()
        finally:
            self._waiting -= 1
            if not self._waiting:
                self._before = math.inf
                self._flush()

    async def _wait_turn(self) -> None:
        """Wait until what is before this call has been written; no checkpoint if it has."""
        while self._is_held_up() and self._line.closed is None:
            await self._wait_unblocked()
        self._line.check_open()

    def _is_held_up(self) -> bool:
        outbox = self._outbox
        return self._wire.is_blocked or (outbox is not None and outbox.holds(self._before))

    async def _wait_written(self) -> None:
        """Wait until the kernel has what was written so far; likewise."""
        everything = self._wire.written + self._wire.unsent
        # What came later may have blocked it again by the time that this task runs.
        while self._is_blocked_before(everything) and self._line.closed is None:
            await self._wait_unblocked()
        self._line.check_open()

    def _is_blocked_before(self, count: int) -> bool:
        return self._wire.is_blocked and self._wire.written < count

    async def _wait_unblocked(self) -> None:
        if self._unblocked is None:
            self._unblocked = trio.lowlevel.ParkingLot()
        await self._unblocked.park()

    def send_nowait(self, prepared: Prepared, lane: Lane | None = None) -> bool:
        """Send a message or queue it, if there is room; see `Transport.send_nowait`."""
        if self._line.closed is not None:
            raise self._line.ended()
        if self._wire.is_blocked or self._waiting:
            return self._queue(prepared, lane)
        # As `write`: no call between, on the way of every delivery.
        self._wire.write(prepared.frame or _frame_of(prepared))
        self.sent += 1
        return True

    def _queue(self, prepared: Prepared, lane: Lane | None) -> bool:
        if self._outbox is None:
            self._outbox = Outbox(self._limits.outbox_bytes)
        return self._outbox.put(prepared, lane)

    def _flush(self) -> None:
        """Write what waits before the next call, as far as the peer reads it."""
        outbox = self._outbox
        if outbox is None or self._line.closed is not None:
            return
        while not self._wire.is_blocked and outbox.holds(self._before):
            self._write_next(outbox)

    def _write_next(self, outbox: Outbox[Prepared]) -> None:
        prepared = outbox.take()
        self.write(prepared.frame or _frame_of(prepared))
        self.sent += 1

    def finish(self, close_frame: bytes) -> None:
        """Write what waits in the outbox, and behind it the last frame."""
        outbox = self._outbox
        while outbox is not None and outbox.holds(math.inf):
            self._write_next(outbox)
        self.write(close_frame)

    def write(self, frame: bytes) -> None:
        """Write a frame, or part of the handshake, behind everything that was written."""
        self._wire.write(frame)

    def wake(self) -> None:
        """Let everybody who waits look again; after the end nothing is left to wait for."""
        self._flush()
        if self._line.closed is not None:
            self._outbox = None
        if self._unblocked is not None:
            self._unblocked.unpark_all()

    # A peer that does not read

    def watch(self) -> None:
        """See to it that the peer reads on; to be called whenever the wire becomes blocked."""
        if self._watchdog is None:
            self._watchdog = Watchdog(
                self._timer,
                _WRITE,
                self._limits.send_timeout * (1 - _ON_ITS_WAY),
                # After the end `close_timeout` is what bounds it.
                is_busy=lambda: self._wire.is_blocked and self._line.closed is None,
                progress=self._wire.delivered,
                bark=self._give_up,
            )
        if not self._watchdog.is_awake:
            begin = trio.current_time() + self._limits.send_timeout * _ON_ITS_WAY
            self._timer.set(_WRITE, begin, self._watchdog.wake)

    def _give_up(self) -> None:
        reason = f"peer has not read for {self._limits.send_timeout:g} s"
        self._line.on_overrun(ABNORMAL, reason)


def _frame_of(prepared: Prepared) -> bytes:
    return prepared.keep_frame(encode_message(prepared.message))
