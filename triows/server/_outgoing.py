"""The writing side: messages leave whole and in the order of the calls.

A message goes to the wire at once, if nothing is in its way. Behind a peer that reads slowly
`send` waits before it writes anything; then it writes the whole message, and waits until the
kernel has all of it. So a `send` that is cancelled went out whole or not at all: what the
kernel has not taken of a message that was begun belongs to the wire, and still goes out.
"""

from collections.abc import Callable

import trio

from triows._close import ABNORMAL
from triows._limits import Limits
from triows._timer import Timer, Watchdog
from triows._transport import TURN_MASK, Prepared
from triows._turnstile import Turnstile
from triows._types import Data
from triows.server._frames import encode_message
from triows.server._line import Line
from triows.server._wire import Wire

_WRITE = "send_timeout"


class Outgoing:
    """Sends messages and frames over a wire, and notices a peer that does not read.

    Attributes:
        sent: Messages so far.
        encode: Makes a frame of a message.
    """

    __slots__ = (
        "_limits",
        "_line",
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
            await self._wait_unblocked()

    async def _send_in_line(self, message: Data) -> None:
        if self._turnstile is None:
            self._turnstile = Turnstile()
        self._waiting += 1
        try:
            async with self._turnstile:
                await trio.lowlevel.checkpoint()
                await self._wait_unblocked()
                self._wire.write(self.encode(message))
                self.sent += 1
                await self._wait_unblocked()
        finally:
            self._waiting -= 1

    async def _wait_unblocked(self) -> None:
        """Wait until the wire has nothing to write; no checkpoint if it has not."""
        while self._wire.is_blocked and self._line.closed is None:
            self.watch()
            if self._unblocked is None:
                self._unblocked = trio.lowlevel.ParkingLot()
            await self._unblocked.park()
        self._line.check_open()

    def send_nowait(self, prepared: Prepared) -> bool:
        """Queue a message, if there is room; see `Transport.send_nowait`."""
        self._line.check_open()
        frame = prepared.frame
        if frame is None:
            frame = prepared.keep_frame(encode_message(prepared.message))
        if self._wire.unsent + len(frame) > self._limits.outbox_bytes:
            return False
        self.write(frame)
        self.sent += 1
        return True

    def write(self, frame: bytes) -> None:
        """Write a frame, or part of the handshake, behind everything that was written."""
        self._wire.write(frame)
        if self._wire.is_blocked:
            self.watch()

    def wake(self) -> None:
        """Let everybody who waits look again."""
        if self._unblocked is not None:
            self._unblocked.unpark_all()

    # A peer that does not read

    def watch(self) -> None:
        """See to it that the peer reads on; to be called when the wire is blocked."""
        if self._watchdog is None:
            self._watchdog = Watchdog(
                self._timer,
                _WRITE,
                self._limits.send_timeout,
                # After the end `close_timeout` is what bounds it.
                is_busy=lambda: self._wire.is_blocked and self._line.closed is None,
                progress=lambda: self._wire.written,
                bark=self._give_up,
            )
        if not self._watchdog.is_awake:
            self._watchdog.wake()

    def _give_up(self) -> None:
        reason = f"peer has not read for {self._limits.send_timeout:g} s"
        self._line.on_overrun(ABNORMAL, reason)
